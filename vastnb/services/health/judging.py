"""What to make of what was seen: one check for each thing, in the order in which one would look for a trouble. Pure.

What depends on something that does not work is left out: it would only say the same again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from vastnb.errors import (
    AuthError,
    NetworkError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    ResponseError,
    ServerError,
    VastError,
)
from vastnb.infra.config import Settings
from vastnb.services.checks import Check, Tried, failed, fine, left_out, odd
from vastnb.services.health.measuring import ASKED, Seen
from vastnb.services.instances.spending import usd_per_hour_now
from vastnb.services.instances.states import phase_of
from vastnb.vast.client import Told
from vastnb.vast.types.records import User
from vastnb.version import __version__

__all__ = ["judged", "notebook"]

_SKEW_S, _SKEW_TOO_FAR_S = 5.0, 300.0
"""A signed delivery that seems older than the second is refused."""
_SLOW_MS = 2000.0
_CERTIFICATE_DAYS = 7
_LOW_HOURS = 24.0
_RECENT_S = 600.0
_LITTLE_GB, _NO_ROOM_GB = 2.0, 0.2
_MANY_EVENTS = 100
_OF_ACCOUNT = ASKED[2:]
_RIGHTS = {"search offers": "misc", "user": "user_read", "instances": "instance_read"}
"""What a key must be permitted for each question; as documented in 2026."""
_KEYS = "Vast's console, under Keys"
_NO_ANSWER = "the service did not answer"
_NO_WAY = "there is no connection"
_ALONE = (NetworkError, ServerError, ResponseError)
"""Errors after which nobody knows whether the service works."""


def judged(seen: Seen) -> list[Check]:
    """The checks, each by what it needs."""
    return [
        _settings(seen.settings, seen.account),
        _network(seen),
        _tls(seen),
        _clock(seen),
        _api(seen),
        _key(seen),
        _permissions(seen),
        _balance(seen),
        _search(seen),
        _limits(seen),
        _cache(seen),
        _disk(seen),
        _journal(seen),
        _events(seen),
        _watcher(seen),
        *notebook(seen.versions),
    ]


def _settings(settings: Settings, account: str) -> Check:
    profile = f"profile {settings.profile}" if settings.profile is not None else "no profile was chosen"
    source = settings.sources.get("api_key", "given")
    key = f"{account}, from {source}" if settings.api_key is not None and settings.profile != "sandbox" else ""
    return fine("settings", " · ".join(part for part in (profile, settings.url, key) if part))


# -------------------------------------------------------- the way to the service


def _network(seen: Seen) -> Check:
    found, through = seen.tries["network"], " through a proxy" if seen.proxy is not None else ""
    if found.error is not None:
        remedy = (
            "HTTPS_PROXY names the proxy; NO_PROXY goes around it"
            if through
            else "is this computer online? %vast config shows the URL"
        )
        return failed("network", found.error.message + through, remedy)
    return fine("network", f"{len(found.value)} connections{through}", found.value)


def _tls(seen: Seen) -> Check:
    found = seen.tries.get("tls")
    if found is None:
        return left_out("tls", "through a proxy" if seen.proxy is not None else "plain http, to this computer only")
    if seen.tries["network"].error is not None:
        return left_out("tls", _NO_WAY)
    if found.error is not None:
        return failed("tls", found.error.message, found.error.hint or "")
    days = (found.value.valid_until.timestamp() - found.ended_at) / 86_400
    said = f"{found.value.version}, the certificate holds {int(days):,} days"
    if days < _CERTIFICATE_DAYS:
        return odd("tls", said, "it is the service's to renew; is this computer's date right?", [found.value.ms])
    return fine("tls", said, [found.value.ms])


def _clock(seen: Seen) -> Check:
    """A time in an answer is cut to the second, and is of the middle of the call."""
    if seen.is_practice:
        return left_out("clock", "the sandbox has a clock of its own")
    if not seen.told:
        return left_out("clock", "no good answer told the time")
    offs = [found.ended_at - found.ms / 2000 - told.seen_at.timestamp() - 0.5 for told, found in seen.told]
    off = min(offs, key=abs)
    said = f"this computer's clock is {abs(off):,.0f} s {'fast' if off > 0 else 'slow'}"
    if abs(off) > _SKEW_TOO_FAR_S:
        return failed(
            "clock", f"{said}; signed webhooks would be refused", "set it by a time server: timedatectl set-ntp true"
        )
    if abs(off) > _SKEW_S:
        return odd(
            "clock", said, "set it by a time server: timedatectl set-ntp true; for money the service's clock counts"
        )
    return fine("clock", f"within {_SKEW_S:g} s of the service's")


def _api(seen: Seen) -> Check:
    asked = [seen.tries[name] for name in ASKED if name in seen.tries and _was_sent(seen.tries[name])]
    good = [found for found in asked if not isinstance(found.error, _ALONE)]
    ms = [found.ms for found in good]
    said = f"{len(good)} of {len(asked)} requests answered"
    if not asked:
        return left_out("api", "not asked, to keep the service's limits", "check again in a minute")
    if not good and seen.tries["network"].error is not None:
        return left_out("api", _NO_WAY)
    if not good:
        error = next((found.error for found in asked if found.error is not None), None)
        return failed("api", error.message if error is not None else _NO_ANSWER, _after(error))
    if len(good) < len(asked):
        error = next(found.error for found in asked if isinstance(found.error, _ALONE))
        return odd("api", f"{said}; {error.message if error is not None else ''}", _after(error), ms)
    if sorted(ms)[len(ms) // 2] > _SLOW_MS:
        return odd("api", f"{said}, slowly", "calls take long and may time out; %vast calls shows which", ms)
    return fine("api", said, ms)


def _was_sent(found: Tried) -> bool:
    """Whether the service was asked at all, and not held back for the sake of its limits."""
    return not (isinstance(found.error, RateLimitError) and found.error.status is None)


def _after(error: VastError | None) -> str:
    hint = error.hint if error is not None else None
    return hint or "wait a minute and check again; https://status.vast.ai may know more"


# -------------------------------------------------------- the account


def _key(seen: Seen) -> Check:
    if (missing := _without_account("key", seen)) is not None:
        return missing
    errors = [seen.tries[name].error for name in _OF_ACCOUNT]
    refused = next((error for error in errors if isinstance(error, AuthError)), None)
    if refused is not None:
        return failed("key", refused.message, refused.hint or f"make a new one in {_KEYS}")
    if not _accepted(seen):
        return left_out("key", _NO_ANSWER)
    user = _user(seen)
    return fine("key", f"accepted{f', user {user.id}' if user is not None else ''}")


def _accepted(seen: Seen) -> bool:
    """Whether the service knows the key."""
    errors = [seen.tries[name].error for name in _OF_ACCOUNT]
    return any(error is None or isinstance(error, PermissionDeniedError) for error in errors)


def _without_account(name: str, seen: Seen) -> Check | None:
    """What a check that needs an account says where none was given; how to give one is said once."""
    if "user" in seen.tries:
        return None
    if name != "key":
        return left_out(name, "needs an account")
    if not seen.settings.said:
        why = "it was not said whether to practise or to use an account"
        return left_out(name, why, "%vast use sandbox, or %vast use production")
    source = seen.settings.sources.get("api_key", "none was found")
    return left_out(name, f"there is no API key ({source})", f"make one in {_KEYS}; VAST_API_KEY holds it")


def _user(seen: Seen) -> User | None:
    told = seen.tries["user"].value
    try:
        return User.model_validate(told.content) if isinstance(told, Told) else None
    except ValidationError:
        return None


def _permissions(seen: Seen) -> Check:
    if (missing := _without_account("permissions", seen)) is not None:
        return missing
    if not _accepted(seen):
        return left_out("permissions", "the key was not accepted, or the service did not answer")
    lacking = [right for name, right in _RIGHTS.items() if isinstance(seen.tries[name].error, PermissionDeniedError)]
    if lacking:
        return odd(
            "permissions",
            f"the key lacks {', '.join(lacking)}",
            f"make one with them, and with instance_write to rent, in {_KEYS}",
        )
    rights = _rights(seen)
    if rights is None:
        return fine("permissions", "it may read the account, its machines and the market; what else is not told")
    return fine("permissions", "it may do everything" if rights == "all" else f"it may read; its rights are: {rights}")


def _rights(seen: Seen) -> str | None:
    """What the account's list of keys says of the key that asked."""
    told, user = seen.tries["api keys"].value, _user(seen)
    content = told.content if isinstance(told, Told) else None
    rows = content.get("apikeys") if isinstance(content, dict) else content
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    mine = [row["rights"] for row in known if user is not None and row.get("id") == user.key_id and row.get("rights")]
    return str(mine[0]) if mine else None


def _balance(seen: Seen) -> Check:
    if (missing := _without_account("balance", seen)) is not None:
        return missing
    user, listing = _user(seen), seen.tries["instances"].value
    if user is None or (left := user.left_usd) is None:
        return left_out("balance", "the account could not be read")
    if listing is None:
        return odd("balance", f"${left:,.2f} left; what runs could not be listed", "%vast audit")
    return _lasting(left, sum(usd_per_hour_now(record, phase_of(record)) or 0.0 for record in listing.records))


def _lasting(left: float, usd_per_hour: float) -> Check:
    """How long the money lasts."""
    said = f"${left:,.2f} left"
    if usd_per_hour <= 0:
        if left <= 0:
            return odd(
                "balance", f"{said}, and nothing can be rented without", "add credit in Vast's console, under Billing"
            )
        return fine("balance", f"{said}, and no machine costs now")
    hours = max(0.0, left) / usd_per_hour
    said = f"{said}, at ${usd_per_hour:,.3f} an hour for machines it lasts {f'{hours:,.0f} h' if hours < 72 else f'{hours / 24:,.0f} days'}"
    if hours <= 0:
        return failed(
            "balance", f"{said}: machines are stopped or destroyed", "add credit in Vast's console, under Billing, now"
        )
    if hours < _LOW_HOURS:
        return odd("balance", said, "add credit in Vast's console, under Billing; %vast audit shows what costs")
    return fine("balance", said)


def _search(seen: Seen) -> Check:
    found = seen.tries["search offers"]
    if found.error is not None:
        return _not_searched(found.error, seen)
    offers = found.value.content.get("offers") if isinstance(found.value.content, dict) else None
    if not isinstance(offers, list):
        return failed(
            "search", "an answer came that holds no list of offers", "%vast search num_gpus=1 --refresh says more"
        )
    if not offers:
        return odd(
            "search", "it works, and found no offer at all", "%vast search num_gpus=1 --refresh says more", [found.ms]
        )
    return fine("search", "it works", [found.ms])


def _not_searched(error: VastError, seen: Seen) -> Check:
    if isinstance(error, RateLimitError) and error.status is None and not isinstance(error, QuotaError):
        return left_out(
            "search", "not tried, to keep the service's limit", f"check again in {error.retry_after_s or 60:.0f} s"
        )
    if isinstance(error, RateLimitError):
        return odd("search", error.message, error.hint or "older answers are still there: %vast cache")
    if isinstance(error, NetworkError) and not seen.answers:
        return left_out("search", _NO_ANSWER)
    if isinstance(error, AuthError) and "user" in seen.tries:
        return left_out("search", "the key was not accepted")
    return failed("search", error.message, _after(error))


def _limits(seen: Seen) -> Check:
    if seen.closed_until:
        name, until = max(seen.closed_until.items(), key=lambda pair: pair[1])
        said = f"{name}: today's quota is used up until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"
        return odd("limits", said, "older answers are still there: %vast cache")
    if seen.settings.pacing == "off":
        return fine("limits", "requests are not spaced; no quota is used up")
    latest = max((call.at for call in seen.calls), default=0.0)
    recent = [call for call in seen.calls if latest - call.at < _RECENT_S and not call.from_cache]
    refused = sum(call.error == RateLimitError.code for call in recent)
    if refused:
        return odd(
            "limits",
            f"{refused} of the last {len(recent)} calls came too soon",
            "ask less often; %vast calls shows what asks",
        )
    return fine("limits", "requests are spaced, no quota is used up")


# -------------------------------------------------------- what is kept on this computer


def _cache(seen: Seen) -> Check:
    found, wanted = seen.tries["cache"], seen.settings.cache.backend
    if found.error is not None:
        return odd("cache", found.error.message, "searches work without it, slower; %vast config shows its settings")
    if wanted == "off":
        return left_out("cache", "it is switched off")
    info = found.value.info
    size = "" if info.size_bytes is None else f", {info.size_bytes / 1e6:,.1f} MB"
    said = f"{info.backend}: {info.entries or 0:,} answers{size}"
    if not found.value.returned:
        return odd(
            "cache",
            f"{said}; what is written cannot be read again",
            "%vast cache --clear; is there room, and may you write there?",
        )
    if info.backend != wanted:
        return odd(
            "cache",
            f"{wanted} cannot be used; answers are kept in this process alone",
            "is there room, and may you write there? %vast cache",
        )
    return fine("cache", f"{said}, read and written", [found.value.ms])


def _disk(seen: Seen) -> Check:
    found = seen.tries["disk"]
    if found.error is not None:
        return odd("disk", found.error.message, "may you read that folder?")
    least = min(found.value, key=lambda room: room.free_gb)
    said = f"{least.free_gb:,.1f} GB free in {least.path}"
    if least.free_gb < _NO_ROOM_GB:
        return failed("disk", said, "make room: without it nothing can be rented, because it could not be written down")
    return (
        odd("disk", said, "make room; %vast cache --clear frees some")
        if least.free_gb < _LITTLE_GB
        else fine("disk", said)
    )


def _journal(seen: Seen) -> Check:
    found = seen.tries["journal"]
    if found.error is not None:
        return failed("journal", found.error.message, found.error.hint or "vastnb rents nothing without it")
    return fine("journal", f"read and written; rentals that may cost: {found.value}")


def _events(seen: Seen) -> Check:
    found = seen.tries["events"]
    if found.error is not None:
        return odd("events", found.error.message, found.error.hint or "")
    if found.value.depth > _MANY_EVENTS:
        return odd(
            "events",
            f"{found.value.depth:,} wait for their handlers",
            "does a kernel run that registered them? %vast events",
        )
    return fine("events", f"read and written; waiting for handlers: {found.value.depth}")


def _watcher(seen: Seen) -> Check:
    found = seen.tries["events"]
    if found.error is not None:
        return left_out("watcher", "the record of events cannot be used")
    looked = (
        f"last look {found.value.last_look:%Y-%m-%d %H:%M:%S} UTC"
        if found.value.last_look is not None
        else "no look yet"
    )
    if found.value.problem:
        return odd(
            "watcher",
            f"it cannot look: {found.value.problem}; {looked}",
            "the checks above say what is wrong; it tries again by itself",
        )
    if not found.value.is_watched:
        return left_out("watcher", f"nobody watches the machines, {looked}; %vast watch does")
    return fine("watcher", looked)


# -------------------------------------------------------- the notebook


def notebook(versions: Mapping[str, str | None]) -> Iterator[Check]:
    """The checks of what is installed."""
    here = {name: version for name, version in versions.items() if version is not None}

    def told(*names: str) -> str:
        return ", ".join(f"{name} {here[name]}" for name in names if name in here)

    if "ipykernel" in here:
        yield fine("kernel", told("Python", "ipython", "ipykernel"))
    else:
        yield left_out(
            "kernel", f"{told('Python', 'ipython')}; there is no ipykernel here", 'pip install "vastnb[lab]"'
        )
    if "anywidget" in here and "ipywidgets" in here:
        yield fine("widgets", told("anywidget", "ipywidgets", "jupyterlab_widgets", "jupyterlab"))
    else:
        yield odd(
            "widgets",
            told("anywidget", "ipywidgets") or "not installed",
            "pip install anywidget, also where JupyterLab is; then restart the kernel",
        )
    yield fine("vastnb", __version__)
