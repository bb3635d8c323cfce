"""The watcher: looks at the account's machines again and again, and publishes what changed, where nobody can call us.

1. `snapshot` takes from a listing what matters, `changes` compares two of them: both are pure.
2. `Watcher.turn` looks once. The snapshot and its events are written in one transaction, and only if no other watcher was quicker:
   so nothing is missed and nothing comes twice, whoever looks.
3. Of all kernels and daemons of a user one looks: it holds a lease in the state folder, and another takes it when that one dies.
4. What cannot be read changes nothing: an error is never taken for an empty list, and a machine counts as gone when two looks lack it.
"""

from __future__ import annotations

import atexit
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from vastnb.errors import InputError, RateLimitError, StateError, VastError
from vastnb.infra.processes import is_gone, new_mark
from vastnb.services.events import Bus, Event, Queue, default_bus
from vastnb.services.instances.fleet import Fleet, Sight, fleet_of
from vastnb.services.instances.spending import usd_per_hour_now
from vastnb.services.instances.states import phase_of
from vastnb.vast.render import plain

log = logging.getLogger("vastnb.sync")
log.addHandler(logging.NullHandler())  # a background thread writes into no cell

__all__ = ["Machine", "Snapshot", "Watcher", "changes", "last_look", "snapshot", "stop_watching", "watch"]

INTERVAL_S = 30.0
_SHORTEST_S, _LONGEST_S = 2.0, 3600.0
_LONGEST_PAUSE_S = 600.0
_NOTE, _LEASE = "watcher", "lease of the watcher"
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


# -------------------------------------------------------- looking again and again


class _Held(NamedTuple):
    owner: str
    until: float


class Watcher:
    """Looks at the machines of one account, while no other watcher of the user does.

    Parameters
    ----------
    fleet
        The machines.
    bus
        Where events go.
    interval_s
        How long from look to look; the service allows one a second, and more would tell little.
    clock
        This computer's clock, seconds since 1970.
    jitter
        A number from 0 to 1, each time another.
    tell
        Told of each event that this watcher publishes.
    """

    def __init__(
        self,
        fleet: Fleet,
        bus: Bus,
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        tell: Callable[[Event], object] = lambda event: None,  # noqa: ARG005
    ) -> None:
        self._fleet, self._bus, self.interval_s, self._tell = fleet, bus, interval_s, tell
        self._clock, self._jitter = clock, jitter
        self._me = new_mark()
        self._failures = 0
        self.is_leader = False
        """Whether it is this one that looks."""
        self.problem = ""
        """Why the last look failed; empty if it did not."""

    def turn(self) -> float:
        """Look, if it is this watcher's turn; how many seconds until the next."""
        try:
            self.look_in_turn()
            self._failures, self.problem = 0, ""
            return self.interval_s
        except VastError as error:
            self._failures += 1
            self.problem = f"{type(error).__name__}: {error}"
            log.warning("the watcher could not look: %s", self.problem)
            return self._pause_s(error)

    def look_in_turn(self) -> None:
        """Look, if it is this watcher's turn.

        Raises
        ------
        VastError
            The machines cannot be listed; then nothing is written.
        """
        self.is_leader = self._hold_lease()
        if self.is_leader:
            self.look()

    def look(self) -> list[Event]:
        """Look now; what is new. The first look of all only remembers.

        Raises
        ------
        VastError
            The machines cannot be listed; then nothing is written.
        """
        text, revision = self._bus.queue.note(_NOTE)
        before = _read(text) if text else None
        sight = self._fleet.look()
        after = snapshot(sight, self._balance(sight), before)
        found = changes(before, after) if before is not None else []
        new = self._bus.queue.add(found, source="watcher", note=(_NOTE, orjson.dumps(asdict(after)).decode(), revision))
        self._bus.wake()
        for event in new:
            self._tell(event)
        return new

    def run(self, stopping: threading.Event, pause_s: float = 0.0) -> None:
        """Look again and again until told to stop, or another account is in force; then let another watcher go on at once."""
        while not stopping.wait(pause_s) and self._bus.is_in_force():
            pause_s = self.turn()
        self.release()

    def release(self) -> None:
        """Give the lease back."""
        self.is_leader = False
        try:
            self._bus.queue.exchange(_LEASE, lambda text: "" if text and _held(text).owner == self._me else text)
        except StateError as error:
            log.warning("%s", error)

    def _hold_lease(self) -> bool:
        """Take the lease, or hold it longer; whether it is this watcher's."""
        now = self._clock()
        mine = orjson.dumps([self._me, now + 2 * self.interval_s]).decode()

        def take(text: str) -> str:
            held = _held(text) if text else _Held("", 0.0)
            return mine if held.owner in ("", self._me) or held.until < now or is_gone(held.owner) else text

        return self._bus.queue.exchange(_LEASE, take) == mine

    def _balance(self, sight: Sight) -> float | None:
        """What is left, if anything costs."""
        if not sight.listing.records:
            return None
        user = self._fleet.client.user(refresh=True)
        return (user.credit_usd or 0.0) + (user.balance_usd or 0.0)

    def _pause_s(self, error: VastError) -> float:
        """Longer after each failure in a row, and not in step with other watchers."""
        asked = error.retry_after_s if isinstance(error, RateLimitError) else None
        grown = min(_LONGEST_PAUSE_S, self.interval_s * 2.0 ** min(self._failures, 10))
        return max(asked or 0.0, grown * (0.5 + 0.5 * self._jitter()))


def last_look(queue: Queue) -> str | None:
    """When the account was last looked at, by the service's clock, as ISO text; None if never."""
    text, _ = queue.note(_NOTE)
    return datetime.fromtimestamp(_read(text).at, UTC).isoformat() if text else None


def _read(text: str) -> Snapshot:
    content = orjson.loads(text)
    machines = {number: Machine(**machine) for number, machine in content.pop("machines").items()}
    return Snapshot(**content, machines=machines)


def _held(text: str) -> _Held:
    return _Held(*orjson.loads(text))


# -------------------------------------------------------- the session's own

_running: tuple[Watcher, Bus, threading.Thread, threading.Event] | None = None
_lock = threading.Lock()


def watch(*, interval_s: float = INTERVAL_S, tell: Callable[[Event], object] = lambda event: None) -> Watcher:  # noqa: ARG005
    """Watch the machines of the session in force from now on, in the background; what changes becomes events.

    If a kernel or daemon of the user watches already, this one only stands by. What there is when it returns is what later looks
    are compared with.

    Raises
    ------
    VastError
        The first look failed.
    """
    global _running
    if not _SHORTEST_S <= interval_s <= _LONGEST_S:
        raise InputError(f"interval_s must be {_SHORTEST_S:g} to {_LONGEST_S:g}, got {interval_s!r}")
    bus = default_bus()
    with _lock:
        if _running is not None and _running[1] is bus and _running[2].is_alive():
            return _running[0]
        watcher, stopping = Watcher(fleet_of(), bus, interval_s=interval_s, tell=tell), threading.Event()
        try:
            watcher.look_in_turn()
        except VastError:
            watcher.release()
            raise
        thread = threading.Thread(target=watcher.run, args=(stopping, interval_s), name="vastnb-watcher", daemon=True)
        before, _running = _running, (watcher, bus, thread, stopping)
    if before is not None:
        before[3].set()
    thread.start()
    return watcher


@atexit.register
def stop_watching() -> bool:
    """Watch no more in this kernel; whether it did."""
    global _running
    with _lock:
        before, _running = _running, None
    if before is None:
        return False
    before[3].set()
    before[2].join(5.0)
    return True
