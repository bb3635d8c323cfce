"""What matters of the machines at one moment, and what happened between two; pure.

A machine counts as gone when two looks lack it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from vastnb.services.events import Event
from vastnb.services.instances.fleet import Sight
from vastnb.services.instances.spending import usd_per_hour_now
from vastnb.services.instances.states import phase_of
from vastnb.vast.render import plain

__all__ = ["Machine", "Snapshot", "changes", "snapshot"]

_DISK_FULL, _DISK_ROOM = 0.9, 0.85
"""The disk is told of again only after there was room in between."""
_LOW_HOURS, _ENOUGH_HOURS = 24.0, 36.0
_MISSED_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Machine:
    """What matters of one machine."""

    phase: str
    name: str = ""
    usd_per_hour: float | None = None
    min_bid_usd_per_hour: float | None = None
    disk_full: bool = False
    message: str = ""
    missed: int = 0
    """How many looks in a row have lacked it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was there at one moment."""

    at: float
    """The service's clock, seconds since 1970."""
    number: int = 1
    """How many looks there were."""
    machines: Mapping[str, Machine] = field(default_factory=dict)
    """By their numbers."""
    hours_left: float | None = None
    """How long the balance lasts at what the machines cost; None if nothing costs, or it is not known."""
    low_credit: bool = False


def snapshot(sight: Sight, balance_usd: float | None, before: Snapshot | None) -> Snapshot:
    """What matters of a listing.

    Parameters
    ----------
    sight
        The machines as they are.
    balance_usd
        What the account has left; None if it is not known.
    before
        The snapshot before this one.
    """
    known = before.machines if before is not None else {}
    machines = {str(r.id): _machine(r, sight, known.get(str(r.id))) for r in sight.listing.records}
    hourly = sum(machine.usd_per_hour or 0.0 for machine in machines.values())
    hours = balance_usd / hourly if balance_usd is not None and hourly > 0 else None
    was_low = before.low_credit if before is not None else False
    low = hours is not None and hours < (_ENOUGH_HOURS if was_low else _LOW_HOURS)
    number = before.number + 1 if before is not None else 1
    return Snapshot(sight.now, number, machines | _missing(known, machines), hours, low)


def _machine(record: Any, sight: Sight, before: Machine | None) -> Machine:
    row = sight.rows.get(record.id)
    phase = phase_of(record, was_stopped=row is not None and row.was_stopped)
    used = record.disk_used_gb / record.disk_gb if record.disk_used_gb is not None and record.disk_gb else 0.0
    full = used > (_DISK_ROOM if before is not None and before.disk_full else _DISK_FULL)
    price = usd_per_hour_now(record, phase)
    name = row.name if row is not None else ""
    return Machine(phase, name, price, record.min_bid_usd_per_hour, full, plain(record.status_msg or ""))


def _missing(known: Mapping[str, Machine], machines: Mapping[str, Machine]) -> dict[str, Machine]:
    """Those that this look lacks, for as long as they may come back."""
    lacked = {n: Machine(**{**asdict(m), "missed": m.missed + 1}) for n, m in known.items() if n not in machines}
    return {number: machine for number, machine in lacked.items() if machine.missed < _MISSED_LOOKS}


def changes(before: Snapshot, after: Snapshot) -> list[Event]:
    """What happened between two snapshots, in the order of the machines' numbers."""
    found = [event for number in _numbers(before, after) for event in _of_machine(number, before, after)]
    if after.low_credit and not before.low_credit:
        hours = after.hours_left or 0.0
        said = {"message": f"The balance lasts {hours:.0f} h at what the machines cost now", "hours_left": hours}
        found.append(_event("account.low_credit", "", after, said))
    return found


def _numbers(before: Snapshot, after: Snapshot) -> list[str]:
    return sorted({*before.machines, *after.machines}, key=int)


def _of_machine(number: str, before: Snapshot, after: Snapshot) -> Iterator[Event]:
    old, new = before.machines.get(number), after.machines.get(number)
    if new is None:
        yield _event("instance.gone", number, after, _told(number, "gone", old, old))
        return
    if new.missed:
        return
    if old is None:
        yield _event("instance.created", number, after, _told(number, new.phase, None, new))
    if old is None or old.phase != new.phase:
        yield _event(f"instance.{new.phase}", number, after, _told(number, new.phase, old, new))
    if new.disk_full and not (old is not None and old.disk_full):
        yield _event("instance.disk_nearly_full", number, after, _told(number, "its disk is nearly full", old, new))


def _told(number: str, what: str, old: Machine | None, new: Machine | None) -> dict[str, Any]:
    called = (new.name if new is not None else "") or f"machine {number}"
    said = f": {new.message}" if new is not None and new.message else ""
    return {
        "message": f"{called}: {what}{f', it was {old.phase}' if old is not None else ''}{said}",
        "name": new.name if new is not None else "",
        "was": old.phase if old is not None else None,
        "usd_per_hour": new.usd_per_hour if new is not None else None,
        "min_bid_usd_per_hour": new.min_bid_usd_per_hour if new is not None else None,
    }


def _event(kind: str, subject: str, after: Snapshot, data: dict[str, Any]) -> Event:
    return Event(f"look {after.number} {kind} {subject}", kind, subject, datetime.fromtimestamp(after.at, UTC), data)
