"""Vast's signed notifications: whether to believe one (pure), what event it is, and the account's webhooks with their secrets.

A secret is told once, when a webhook is made or its secret is renewed. It goes straight into a file that only its owner can read,
and is shown nowhere. What listens is `vastnb.api.webhook`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from vastnb.errors import InputError, NewerStateError, ResponseError, StateError, WebhookError
from vastnb.services import session
from vastnb.services.events import Event

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["Delivery", "Secrets", "Webhooks", "event_of", "verify_webhook"]

_WINDOW_S = 300
_LATEST_S = 4e9
_OLD_SECRET_S = 3600.0
"""What was sent before a secret was renewed may still be on its way."""
_LONGEST_URL, _LONGEST_NAME = 2048, 120
_KINDS = {
    "outbid": "instance.outbid",
    "instance_created": "instance.created",
    "instance_started": "instance.running",
    "instance_stopped": "instance.stopped",
    "instance_offline": "instance.offline",
    "instance_online": "instance.online",
    "upcoming_downtime": "instance.upcoming_downtime",
    "low_credit": "account.low_credit",
    "billing_failed": "account.billing_failed",
    "payment_receipt": "account.payment_receipt",
    "webhook_test": "webhook.test",
}
"""Vast's documented slugs, in the words of `services.sync`; others become ``vast.<slug>``."""
_ID_FIELDS = ("instance_id", "contract_id")
_IN_WORDS = re.compile(r"\b(?:instance|contract)\b\W{0,3}(?:id\W{0,3})?(\d{3,12})\b", re.IGNORECASE)
"""Which fields tell the machine is not documented: its number is looked for in these, and then in the words."""


class Delivery(BaseModel):
    """A notification that was found to be Vast's own."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    event_id: str = Field(min_length=1, max_length=200)
    notif_type: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$", description="what happened, in Vast's words")
    user_id: int | None = None
    subject: str | None = None
    message: str | None = None
    data: dict[str, Any] | None = None
    timestamp: float | None = Field(None, ge=0, le=_LATEST_S, description="when it happened, seconds since 1970")
    signed_at: int = Field(0, description="when it was sent, seconds since 1970")

    @field_validator("user_id", "subject", "message", "data", "timestamp", mode="wrap")
    @classmethod
    def _or_unknown(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """A signed event is not lost for an odd detail."""
        try:
            return handler(value)
        except ValidationError:
            return None


def verify_webhook(
    headers: Mapping[str, str], raw_body: bytes, secret: str | Sequence[str], now: float | None = None
) -> Delivery:
    """A delivery, if it is signed with one of the secrets, not older than 300 seconds, and whole.

    Parameters
    ----------
    headers
        Of the request; upper or lower case does not matter.
    raw_body
        The body's bytes exactly as they came.
    secret
        One secret, or several: while one is renewed both are good.
    now
        This computer's clock, seconds since 1970; None asks it.

    Raises
    ------
    WebhookError
        It must not be believed; ``reason`` says whether for its signature, its age or its body.

    Examples
    --------
    >>> import hashlib, hmac, vastnb
    >>> body = b'{"event_id": "7e9a", "notif_type": "outbid"}'
    >>> signature = hmac.new(b"secret", b"1780000000." + body, hashlib.sha256).hexdigest()
    >>> headers = {"X-Vast-Timestamp": "1780000000", "X-Vast-Signature-256": f"sha256={signature}"}
    >>> vastnb.verify_webhook(headers, body, "secret", now=1780000010).notif_type
    'outbid'
    """
    given = {name.lower(): value for name, value in headers.items()}
    stamp = given.get("x-vast-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", stamp) or not _is_signed(given, stamp, raw_body, _good_secrets(secret)):
        raise WebhookError("the signature is missing or wrong", reason="signature")
    age_s = (time.time() if now is None else now) - int(stamp)
    if abs(age_s) > _WINDOW_S:
        raise WebhookError(
            f"sent {age_s:.0f} s ago; {_WINDOW_S} s are allowed", reason="age", hint="check this computer's clock"
        )
    return _read(given, raw_body, int(stamp))


def _good_secrets(secret: str | Sequence[str]) -> list[bytes]:
    several = [secret] if isinstance(secret, str) else list(secret)
    if not several or not all(isinstance(one, str) and one for one in several):
        raise InputError("verify_webhook needs a secret: an empty one would let everything in")
    return [one.encode() for one in several]


def _is_signed(given: Mapping[str, str], stamp: str, raw_body: bytes, good: list[bytes]) -> bool:
    """Whether one of the secrets made the signature; all are tried, in a time that tells nothing of them."""
    claimed = given.get("x-vast-signature-256", "").encode("utf-8", "replace")
    signed = stamp.encode() + b"." + raw_body
    made = [b"sha256=" + hmac.new(one, signed, hashlib.sha256).hexdigest().encode() for one in good]
    return sum([hmac.compare_digest(claimed, one) for one in made]) > 0


def _read(given: Mapping[str, str], raw_body: bytes, signed_at: int) -> Delivery:
    try:
        content = orjson.loads(raw_body)
        found = Delivery.model_validate({**content, "signed_at": signed_at})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise WebhookError(
            f"the body is not a notification: {'.'.join(map(str, first['loc']))}: {first['msg']}", reason="body", original=error
        ) from None  # fmt: skip
    except (ValueError, TypeError) as error:
        raise WebhookError("the body is not a JSON object", reason="body", original=error) from error
    # The header is not signed: by it alone a delivery could come twice.
    if given.get("x-vast-event-id", found.event_id) != found.event_id:
        raise WebhookError("the header X-Vast-Event-Id and the body's event_id differ", reason="body")
    return found


def event_of(delivery: Delivery) -> Event:
    """The event that a delivery tells."""
    at = delivery.timestamp if delivery.timestamp is not None else float(delivery.signed_at)
    kind = _KINDS.get(delivery.notif_type, f"vast.{delivery.notif_type}")
    data = {
        "message": delivery.message or delivery.subject or "",
        "title": delivery.subject or "",
        "notif_type": delivery.notif_type,
        **(delivery.data or {}),
    }
    return Event(delivery.event_id, kind, _machine_of(delivery), datetime.fromtimestamp(min(at, _LATEST_S), UTC), data)


def _machine_of(delivery: Delivery) -> str:
    for name in _ID_FIELDS:
        value = (delivery.data or {}).get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    found = _IN_WORDS.search(f"{delivery.subject or ''} {delivery.message or ''}")
    return found[1] if found else ""


# -------------------------------------------------------- secrets


class Secrets:
    """The secrets of an account's webhooks, in a file that only its owner can read.

    Parameters
    ----------
    path
        The file; several accounts may share it.
    account
        An `identity`.
    """

    _SCHEMA = 1

    def __init__(self, path: Path, account: str) -> None:
        self.path, self._account = path, account

    def good(self, now: float) -> list[str]:
        """Every secret by which a delivery may be signed."""
        mine = self._all()["accounts"].get(self._account, {})
        return [
            one["secret"] for several in mine.values() for one in several if one["until"] is None or one["until"] > now
        ]

    def known(self) -> set[int]:
        """The webhooks whose secret is here."""
        return {int(number) for number in self._all()["accounts"].get(self._account, {})}

    def keep(self, webhook_id: int, secret: str, now: float) -> None:
        """Keep a webhook's new secret; the one before stays good for an hour."""
        content = self._all()
        mine = content["accounts"].setdefault(self._account, {})
        before = [
            {**one, "until": now + _OLD_SECRET_S} for one in mine.get(str(webhook_id), ()) if one["until"] is None
        ]
        mine[str(webhook_id)] = [{"secret": secret, "until": None}, *before]
        self._write(content)

    def forget(self, webhook_id: int) -> None:
        """Forget a webhook's secrets."""
        content = self._all()
        if content["accounts"].get(self._account, {}).pop(str(webhook_id), None) is not None:
            self._write(content)

    def _all(self) -> dict[str, Any]:
        try:
            content = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {"schema": self._SCHEMA, "accounts": {}}
        except (OSError, ValueError) as error:
            raise StateError(f"the secrets of webhooks in {self.path} cannot be read", original=error) from error
        if not isinstance(content, dict) or not isinstance(content.get("accounts"), dict):
            raise StateError(f"the secrets of webhooks in {self.path} cannot be read: it holds something else")
        if content.get("schema", 0) > self._SCHEMA:
            raise NewerStateError(f"{self.path} was written by a newer vastnb")
        return content

    def _write(self, content: dict[str, Any]) -> None:
        part = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(orjson.dumps(content))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StateError(f"the secrets of webhooks cannot be written to {self.path}", original=error) from error


# -------------------------------------------------------- the account's webhooks


class Webhooks:
    """The webhooks of an account.

    Parameters
    ----------
    client
        The connection; None for that of the session in force.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.client = client or session.current().client
        self.secrets = Secrets(self.client.state_folder / "webhooks.json", self.client.account)

    def kinds(self) -> pd.DataFrame:
        """What the service can notify of; columns as documented under ``notification types``."""
        from vastnb.vast.types.frames import records_frame

        content = self.client.told("notification types", refresh=True).content
        return self._framed(
            "notification types", records_frame("notification types", _rows(content, "notification_types"))
        )

    def table(self) -> pd.DataFrame:
        """The webhooks that there are; columns as documented under ``webhooks``."""
        from vastnb.vast.types.frames import frame_of

        rows, known = _rows(self.client.told("webhooks", refresh=True).content, "webhooks"), self.secrets.known()
        columns = {
            "webhook_id": [row.get("id") for row in rows],
            "name": [row.get("name") for row in rows],
            "url": [row.get("webhook_url") for row in rows],
            "kinds": [", ".join(map(str, row.get("event_types") or ())) for row in rows],
            "has_secret": [row.get("id") in known for row in rows],
            "created_at": [_moment(row.get("created_at")) for row in rows],
        }
        return self._framed("webhooks", frame_of("webhooks", columns))

    def create(self, url: str, kinds: Sequence[str], name: str | None = None) -> int:
        """Make a webhook, and keep its secret; its number.

        Parameters
        ----------
        url
            Where the service is to deliver: a public https address.
        kinds
            What it notifies of, like ``client:outbid``.
        name
            A name for it.
        """
        sent = {"webhook_url": self._checked(url), "event_types": _checked_kinds(kinds), "name": _checked_name(name)}
        return self._keep(self.client.told("create webhook", json=sent).content)

    def change(self, webhook_id: int, **changes: Any) -> None:
        """Change its ``url``, ``kinds`` or ``name``."""
        names = {"url": "webhook_url", "kinds": "event_types", "name": "name"}
        checks = {"url": self._checked, "kinds": _checked_kinds, "name": _checked_name}
        sent = {names[name]: checks[name](value) for name, value in changes.items() if value is not None}
        self.client.told("update webhook", at=webhook_id, json=sent)

    def rotate(self, webhook_id: int) -> None:
        """Give it a new secret, and keep that; deliveries that are under way stay good."""
        self._keep(self.client.told("rotate webhook secret", at=webhook_id, json={}).content)

    def test(self, webhook_id: int) -> str:
        """Let the service send a delivery at once; its words about it."""
        content = self.client.told("test webhook", at=webhook_id, json={}).content
        return str(content.get("msg", "")) if isinstance(content, dict) else ""

    def delete(self, webhook_id: int) -> None:
        """End it, and forget its secret."""
        self.client.told("delete webhook", at=webhook_id, json={})
        self.secrets.forget(webhook_id)

    def _keep(self, content: Any) -> int:
        webhook = content.get("webhook") if isinstance(content, dict) else None
        number, secret = (
            (webhook.get("id"), webhook.get("webhook_secret")) if isinstance(webhook, dict) else (None, None)
        )
        if not isinstance(number, int) or not isinstance(secret, str) or not secret:
            raise ResponseError("webhook: expected its number and its secret", path="$.webhook")
        self.secrets.keep(number, secret, time.time())
        return number

    def _checked(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            fits = parts.scheme == "https" or (parts.scheme == "http" and self.client.settings.local)
            fits = fits and bool(parts.hostname) and len(url) <= _LONGEST_URL
        except ValueError:
            fits = False
        if not fits:
            raise InputError(
                f"a webhook needs a public https address of at most {_LONGEST_URL} characters, got {url[:200]!r}",
                hint="the page on webhooks says how to get one",
            )
        return url

    def _framed(self, kind: str, frame: pd.DataFrame) -> pd.DataFrame:
        frame.attrs["vastnb"] = {"kind": kind, "account": self.client.account_name, "returned": len(frame)}
        return frame


def _checked_kinds(kinds: Sequence[str]) -> list[str]:
    if isinstance(kinds, str) or not kinds:
        raise InputError(
            f"a webhook needs kinds like client:outbid, got {kinds!r}", hint="%vast webhook types lists them"
        )
    return list(kinds)


def _checked_name(name: str | None) -> str | None:
    if name is not None and (len(name) > _LONGEST_NAME or not name.isprintable()):
        raise InputError(f"a webhook's name has at most {_LONGEST_NAME} printable characters, got {name[:200]!r}")
    return name


def _rows(content: Any, key: str) -> list[dict[str, Any]]:
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ResponseError(f"{key}: expected a list of objects", path=f"$.{key}")
    return rows


def _moment(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(min(seconds, _LATEST_S), UTC) if isinstance(seconds, int | float) else None
