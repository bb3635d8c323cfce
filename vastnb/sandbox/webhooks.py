"""Notifications: which there are, who wants them where, and which of them the lives of rented machines give rise to.

Unlike the real service the sandbox delivers to this computer only, and so takes ``http://`` addresses of it as well.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from . import wire
from .books import MICRO_USD, Books
from .postman import Letter, Postman
from .rentals import Rentals
from .rentals.rental import Moment, Rental
from .replies import Answer, Request, decoded, refusal, reply

MOST_WEBHOOKS = 4
LOW_CREDIT_USD = 5.0
"""Below this much credit an account is warned, once until it has more again."""
_FIRST_ID = 4_001
_LONGEST_URL, _LONGEST_NAME = 2048, 120
_MOST_DATA_BYTES = 4096
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ENDED = frozenset({"stopping", "ending", "stopped"})
_RESTARTED = frozenset({"rebooting", "recycling"})

TYPES: dict[str, tuple[str, str]] = {
    "low_credit": ("billing", "Low balance notifications"),
    "billing_failed": ("billing", "Failed payments"),
    "payment_receipt": ("billing", "Payment receipts"),
    "instance_created": ("instance", "Instance created"),
    "instance_started": ("instance", "Instance started"),
    "instance_stopped": ("instance", "Instance stopped"),
    "instance_offline": ("instance", "Instance offline"),
    "instance_online": ("instance", "Instance online again"),
    "outbid": ("instance", "Instance outbid"),
    "upcoming_downtime": ("instance", "Planned downtime of a machine"),
}
"""The renter's notifications that the documentation names: slug -> topic and display name."""


@dataclass(frozen=True)
class Webhook:
    """One address that notifications are delivered to."""

    id: int
    account_id: int
    url: str
    event_types: tuple[str, ...]
    secret: str
    created_at: float
    updated_at: float
    name: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return it as it is listed: without the secret."""
        return {
            "id": self.id,
            "user_id": self.account_id,
            "name": self.name,
            "webhook_url": self.url,
            "event_types": list(self.event_types),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


class Notices:
    """The webhooks of all accounts, the handlers that manage them, and what is sent to them."""

    def __init__(self, *, rentals: Rentals, books: Books) -> None:
        self._rentals, self._books = rentals, books
        self._lock = threading.RLock()
        self._hooks: dict[int, Webhook] = {}
        self._seen: dict[int, Moment] = {}
        self._warned: set[int] = set()
        self._next_id = _FIRST_ID
        self.postman = Postman()
        rentals.settled = self._settled
        root = "/api/v0/webhooks/"
        self.handlers: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/api/v0/notification-types/"): self.types,
            ("GET", root): self.table,
            ("POST", root): self.create,
            ("PUT", f"{root}{{id}}/"): self.update,
            ("DELETE", f"{root}{{id}}/"): self.delete,
            ("POST", f"{root}{{id}}/rotate-secret/"): self.rotate,
            ("POST", f"{root}{{id}}/test/"): self.test,
        }

    # --- what renters ask

    def types(self, request: Request) -> Answer:
        """Answer the notifications that there are."""
        rows = [
            {"key": f"client:{slug}", "slug": slug, "context": "client", "topic": topic, "category": topic, "display_name": name,
             "default_preferences": {"email": True, "webhooks": False}, "mandatory_email": slug == "billing_failed"}
            for slug, (topic, name) in TYPES.items()
        ]  # fmt: skip
        return reply({"success": True, "notification_types": rows})

    def table(self, request: Request) -> Answer:
        """Answer the account's webhooks."""
        return reply({"success": True, "webhooks": [hook.shown() for hook in self._own(request)]})

    def create(self, request: Request) -> Answer:
        """Make a webhook, and tell its secret this once."""
        body = decoded(request.body)
        wrong = _wrong(body, required=("webhook_url", "event_types"))
        if wrong:
            return refusal(400, "invalid_args", wrong)
        with self._lock:
            if len(self._own(request)) >= MOST_WEBHOOKS:
                return refusal(400, "too_many_webhooks", f"At most {MOST_WEBHOOKS} webhooks are allowed")
            account, now = self._books.owner(request.key).id, self._rentals.clock.now()
            hook = Webhook(self._next_id, account, "", (), _new_secret(), now, now)
            self._next_id += 1
            self._remember(account)
            return self._changed(hook, body, with_secret=True)

    def update(self, request: Request) -> Answer:
        """Change a webhook."""
        body, hook = decoded(request.body), self._find(request, -1)
        wrong = _wrong(body)
        if hook is None or wrong:
            return _unknown() if hook is None else refusal(400, "invalid_args", wrong)
        return self._changed(replace(hook, updated_at=self._rentals.clock.now()), body)

    def delete(self, request: Request) -> Answer:
        """End a webhook."""
        hook = self._find(request, -1)
        if hook is None:
            return _unknown()
        with self._lock:
            self._hooks.pop(hook.id, None)
        return reply({"success": True})

    def rotate(self, request: Request) -> Answer:
        """Renew a webhook's secret, and tell it this once."""
        hook = self._find(request, -2)
        if hook is None:
            return _unknown()
        return self._changed(
            replace(hook, secret=_new_secret(), updated_at=self._rentals.clock.now()), {}, with_secret=True
        )

    def test(self, request: Request) -> Answer:
        """Send a delivery that is not sent again."""
        hook = self._find(request, -2)
        if hook is None:
            return _unknown()
        self._send([hook], "webhook_test", "Test webhook", "This is a test delivery.", None, is_test=True)
        return reply({"success": True, "msg": "Test webhook delivered"})

    def _own(self, request: Request) -> list[Webhook]:
        return self._of(self._books.owner(request.key).id)

    def _of(self, account_id: int) -> list[Webhook]:
        with self._lock:
            return [hook for hook in self._hooks.values() if hook.account_id == account_id]

    def _find(self, request: Request, part: int) -> Webhook | None:
        number = request.path.rstrip("/").split("/")[part]
        return next((hook for hook in self._own(request) if str(hook.id) == number), None)

    def _changed(self, hook: Webhook, body: dict[str, Any], *, with_secret: bool = False) -> Answer:
        kinds = body.get("event_types", hook.event_types)
        hook = replace(
            hook,
            url=body.get("webhook_url", hook.url),
            name=body.get("name", hook.name),
            event_types=tuple(dict.fromkeys(kinds)),
        )
        with self._lock:
            self._hooks[hook.id] = hook
        told = hook.shown() | ({"webhook_secret": hook.secret} if with_secret else {})
        return reply({"success": True, "webhook": told, "enabled_notification_preferences": list(hook.event_types)})

    # --- what is sent

    def notify(self, account_id: int, slug: str, subject: str, message: str, data: dict[str, Any] | None) -> None:
        """Notify an account, if it wants to know."""
        wanting = [hook for hook in self._of(account_id) if f"client:{slug}" in hook.event_types]
        self._send(wanting, slug, subject, message, data)

    def _send(
        self, hooks: Iterable[Webhook], slug: str, subject: str, message: str, data: dict[str, Any] | None,
        *, at: float | None = None, is_test: bool = False,
    ) -> None:  # fmt: skip
        """Send one event to webhooks of one account."""
        hooks, event_id = list(hooks), secrets.token_hex(16)
        too_long = data is not None and len(wire.encode(data)) > _MOST_DATA_BYTES
        for hook in hooks:
            content = {
                "event_id": event_id,
                "user_id": hook.account_id,
                "notif_type": slug,
                "subject": subject,
                "message": message,
                "data": None if too_long else data,
                "data_truncated": too_long,
                "timestamp": self._rentals.clock.now() if at is None else at,
            }
            letter = Letter(
                event_id, hook.id, self._now(hook, "url"), self._now(hook, "secret"), wire.encode(content), is_test
            )
            self.postman.send(letter)

    def _now(self, hook: Webhook, name: str) -> Callable[[], str]:
        return lambda: str(getattr(self._hooks.get(hook.id, hook), name))

    def _settled(self) -> None:
        """Notify of what has happened since this was last asked."""
        with self._lock:
            accounts = {hook.account_id for hook in self._hooks.values()}
        for account_id in sorted(accounts):
            for slug, rental, at in self._news(account_id):
                topic = f"{TYPES[slug][1]}: instance {rental.id}"
                data = {
                    "instance_id": rental.id,
                    "label": rental.label,
                    "machine_id": rental.contract.offer["machine_id"],
                }
                wanting = [hook for hook in self._of(account_id) if f"client:{slug}" in hook.event_types]
                self._send(wanting, slug, topic, f"{topic}. {rental.said or ''}".strip(), data, at=at)
            self._warn(account_id)

    def _news(self, account_id: int) -> list[tuple[str, Rental, float]]:
        """Return what is new in the lives of an account's machines, in the order of time."""
        with self._rentals.lock, self._lock:
            found = []
            for rental in self._rentals.contracts.all(account_id):
                last = self._seen.get(rental.id)
                if rental.moments and rental.moments[-1] != last:
                    found += [(slug, rental, at) for slug, at in _told(rental, last)]
                    self._seen[rental.id] = rental.moments[-1]
        return sorted(found, key=lambda news: news[2])

    def _remember(self, account_id: int) -> None:
        """Take what there is as told: a webhook hears of what comes after it was made."""
        self._news(account_id)
        self._is_low(account_id)

    def _warn(self, account_id: int) -> None:
        was_warned = account_id in self._warned
        if self._is_low(account_id) and not was_warned:
            left = self._rentals.credit_micro_usd(account_id) / MICRO_USD
            words = f"Your balance is ${left:.2f}, below ${LOW_CREDIT_USD:.2f}."
            data = {"balance": left, "threshold": LOW_CREDIT_USD}
            self.notify(account_id, "low_credit", "Warning: your credit balance is getting low", words, data)

    def _is_low(self, account_id: int) -> bool:
        low = self._rentals.credit_micro_usd(account_id) < LOW_CREDIT_USD * MICRO_USD
        (self._warned.add if low else self._warned.discard)(account_id)
        return low


def _told(rental: Rental, last: Moment | None) -> Iterator[tuple[str, float]]:
    """Yield the notifications of a machine's life after a moment, ``None`` for its whole life."""
    before = last
    if last is None:
        yield "instance_created", rental.contract.created_at
    for moment in rental.moments:
        if last is not None and (moment.at < last.at or moment == last):
            continue
        if rental.gone_at is None or moment.at < rental.gone_at:
            slug = _slug(before, moment)
            if slug:
                yield slug, moment.at
        before = moment


def _slug(before: Moment | None, now: Moment) -> str:
    """Return which notification a step in a machine's life is, empty for none."""
    was, is_offline = before.phase if before is not None else "", now.status.actual == "offline"
    was_offline = before is not None and before.status.actual == "offline"
    if is_offline != was_offline:
        return "instance_offline" if is_offline else "instance_online"
    if now.phase == "outbid" and was not in ("", "outbid"):
        return "outbid"
    if now.phase == "running" and was not in (*_RESTARTED, "running"):
        return "instance_started"
    return "instance_stopped" if now.phase in _ENDED and was not in (*_ENDED, "") else ""


def _new_secret() -> str:
    return f"whsec_{secrets.token_hex(24)}"


def _unknown() -> Answer:
    return refusal(404, "not_found", "Webhook not found")


def _wrong(body: Any, required: Iterable[str] = ()) -> str:
    """Return what is wrong with a body that makes or changes a webhook, empty if nothing is."""
    if not isinstance(body, dict):
        return "Invalid json body"
    for name in required:
        if name not in body:
            return f"{name} is required"
    if "webhook_url" in body and not _is_address(body["webhook_url"]):
        return "webhook_url must be a valid https:// URL of at most 2048 characters"
    kinds = body.get("event_types", ["client:outbid"])
    known = {f"client:{slug}" for slug in TYPES}
    if not isinstance(kinds, list) or not kinds or not all(isinstance(kind, str) and kind in known for kind in kinds):
        return "event_types must contain at least one valid notification type key"
    called = body.get("name")
    if called is not None and not (isinstance(called, str) and len(called) <= _LONGEST_NAME and called.isprintable()):
        return "name must be at most 120 characters, without control characters"
    return ""


def _is_address(url: Any) -> bool:
    if not isinstance(url, str) or len(url) > _LONGEST_URL:
        return False
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_whole and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))
