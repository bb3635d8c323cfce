"""What should be known of a machine: one set of limits and words for lists, the audit and the fleet panel. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from vastnb.services.instances.states import Phase
from vastnb.services.journal import Rental
from vastnb.vast.render import plain
from vastnb.vast.types.records import InstanceRecord

__all__ = ["IDLE", "Facts", "Remark", "facts_of", "remarks", "timespan"]

IDLE, _IDLE_MIN = 0.05, 10
"""GPUs are idle below this share of their time; where their use of the last hour is known, after so many minutes."""
_NEARLY_FULL = 0.9
_STUCK_S = 900.0
_SOON_S = 86_400.0
_WORKING = ("provisioning", "loading", "running", "stopping", "exited", "unknown")
"""Phases in which GPUs may be billed."""
_WAITING = ("stopped", "outbid", "queued")
"""Phases in which only the disk is billed."""
_WEIGHTS = ("bad", "warn", "note")


class Remark(NamedTuple):
    """One thing that should be known."""

    weight: Literal["bad", "warn", "note"]
    words: str


class Facts(NamedTuple):
    """What remarks are made of. Times are the service's, seconds since 1970; None where something is not known."""

    phase: Phase | str
    now: float
    ours: bool
    """Whether vastnb made it."""
    message: str
    """The service's words about it."""
    started_at: float | None
    ends_at: float | None
    """When it ends itself; None if nothing ends it."""
    host_ends_at: float | None
    disk_usd_per_hour: float | None
    min_bid_usd_per_hour: float | None
    gpu_util: float | None
    idle_min: int | None
    """For how many minutes its GPUs were seen idle; None if they were looked at once."""
    disk_gb: float | None
    disk_used_gb: float | None


def facts_of(record: InstanceRecord, rental: Rental | None, phase: Phase, now: float) -> Facts:
    """The facts of one look."""
    return Facts(
        phase=phase, now=now, ours=rental is not None, message=plain(record.status_msg or ""), started_at=record.start_date,
        ends_at=rental.ends_at if rental is not None else None, host_ends_at=record.end_date,
        disk_usd_per_hour=record.disk_usd_per_hour, min_bid_usd_per_hour=record.min_bid_usd_per_hour,
        gpu_util=record.gpu_util, idle_min=None, disk_gb=record.disk_gb, disk_used_gb=record.disk_used_gb,
    )  # fmt: skip


def remarks(facts: Facts, *, with_end: bool = True) -> list[Remark]:
    """What should be known of a machine, most important first.

    Parameters
    ----------
    facts
        What is known of it.
    with_end
        Also who ends it: left out where a column says so.
    """
    end = _of_end(facts) if with_end else ()
    found = [*_of_state(facts), *end, *_of_use(facts), *_of_disk(facts), *_of_host(facts)]
    return sorted(found, key=lambda remark: _WEIGHTS.index(remark.weight))


def _of_state(facts: Facts) -> Iterator[Remark]:
    said = f": {facts.message}" if facts.message else ""
    age_s = facts.now - (facts.started_at or facts.now)
    if facts.phase == "outbid":
        price = facts.min_bid_usd_per_hour
        yield Remark("bad", "somebody bids more" + (f": ${price:.3f}/h would do now" if price is not None else ""))
    elif facts.phase in ("exited", "failed"):
        yield Remark("bad", f"it will not run by itself{said}")
    elif facts.phase in ("unknown", "offline"):
        yield Remark("bad", "its host is not heard of; it will not run by itself")
    elif facts.phase in ("provisioning", "loading") and age_s > _STUCK_S:
        yield Remark("bad", f"stuck: loading for {timespan(age_s)}{said}")


def _of_use(facts: Facts) -> Iterator[Remark]:
    if facts.phase != "running":
        return
    if facts.idle_min is not None:
        if facts.idle_min >= _IDLE_MIN:
            yield Remark("warn", f"GPU under {IDLE:.0%} for {facts.idle_min} min")
    elif facts.gpu_util is not None and facts.gpu_util < IDLE:
        yield Remark("warn", f"GPU under {IDLE:.0%} now")


def _of_disk(facts: Facts) -> Iterator[Remark]:
    if facts.phase in _WAITING and facts.disk_usd_per_hour:
        a_day = facts.disk_usd_per_hour * 24
        yield Remark("warn", f"its disk costs ${a_day:.{2 if a_day >= 0.1 else 3}f} a day")
    if facts.disk_gb and facts.disk_used_gb is not None and facts.disk_used_gb >= _NEARLY_FULL * facts.disk_gb:
        yield Remark("warn", f"disk {facts.disk_used_gb / facts.disk_gb:.0%} full")


def _of_host(facts: Facts) -> Iterator[Remark]:
    if facts.host_ends_at is not None and 0 < facts.host_ends_at - facts.now < _SOON_S:
        yield Remark("warn", f"its host takes it back in {timespan(facts.host_ends_at - facts.now)}")


def _of_end(facts: Facts) -> Iterator[Remark]:
    if facts.ends_at is not None and facts.ends_at < facts.now:
        yield Remark("bad", "it should have ended itself")
    if facts.ends_at is None and facts.phase in _WORKING:
        yield Remark("warn", "nothing ends it")
    if not facts.ours:
        yield Remark("note", "not made by vastnb")


def timespan(seconds: float) -> str:
    """A span of time, as one says it."""
    minutes = int(max(0.0, seconds) // 60)
    days, hours = divmod(minutes // 60, 24)
    if days >= 100:
        return f"{days:,} d"
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min"
