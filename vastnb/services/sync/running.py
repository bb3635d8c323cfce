"""The part of this process: one watcher, one sampler and one keeper for the session in force, each in a thread of its own."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vastnb.errors import InputError, VastError
from vastnb.services import session
from vastnb.services.events import Bus, Event, default_bus
from vastnb.services.instances import Keeper
from vastnb.services.instances.fleet import Fleet, fleet_of
from vastnb.services.sync.sampler import Sampler, has_work, plan_of, put_plan
from vastnb.services.sync.status import SyncStatus, sync_status
from vastnb.services.sync.watcher import INTERVAL_S, Watcher

__all__ = ["look_now", "start_watching", "stop_watching", "watch"]

_SHORTEST_S, _LONGEST_S = 2.0, 3600.0
_JOIN_S = 5.0


class _Running(NamedTuple):
    watcher: Watcher
    bus: Bus
    threads: tuple[threading.Thread, ...]
    stopping: threading.Event

    def stop(self) -> None:
        """End it; a request that is on its way is not waited for longer than some seconds."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(_JOIN_S)


_running: _Running | None = None
_lock = threading.Lock()


def watch(
    models: str | Sequence[str] = (), *, every_s: float | None = None, interval_s: float = INTERVAL_S
) -> SyncStatus:
    """Watch your machines and the market from now on, in the background; what changes becomes events.

    If a kernel or daemon of yours watches already, this one only stands by. What there is when it returns is what later looks are
    compared with. It goes on until `stop_watching`, or this process ends.

    Parameters
    ----------
    models
        GPU models that are looked at for the `history`, such as ``["RTX 4090", "H100"]``, instead of those planned before; none leaves the
        plan as it is.
    every_s
        How long from pass to pass over the market, for models and price alerts, 60 to 86400; None keeps what was planned, at first 900.
    interval_s
        How long from look to look at the machines, 2 to 3600.

    Returns
    -------
    SyncStatus
        Who watches, and how it goes.

    Raises
    ------
    InputError, QueryError
        The plan cannot be kept.
    ConfigError
        There are models, and the extra ``history`` is not installed.
    VastError
        The first look failed.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.watch("RTX 4090", every_s=900).models
    ('RTX 4090',)
    >>> vastnb.stop_watching()
    True
    """
    if models or every_s is not None:
        queue = default_bus().queue
        named = [models] if isinstance(models, str) else models
        put_plan(queue, named or plan_of(queue).models, every_s=every_s)
    start_watching(interval_s=interval_s)
    return sync_status()


def start_watching(
    *,
    interval_s: float = INTERVAL_S,
    tell: Callable[[Event], object] = lambda event: None,  # noqa: ARG005
    patient: bool = False,
) -> Watcher:
    """Watch the machines of the session in force, and the market by the plan, as `watch` does.

    Parameters
    ----------
    interval_s
        As for `watch`.
    tell
        Told of each event that is published here.
    patient
        Whether to go on if the first look fails for a reason that may pass.

    Raises
    ------
    VastError
        The first look failed.
    """
    import pandas as pd  # noqa: F401  # in the cell: imported in a thread it would show every frame as in a terminal

    global _running
    if not _SHORTEST_S <= interval_s <= _LONGEST_S:
        raise InputError(f"interval_s must be {_SHORTEST_S:g} to {_LONGEST_S:g}, got {interval_s!r}")
    bus = default_bus()
    with _lock:
        before = _running
        if before is not None and before.bus is bus and before.threads[0].is_alive():
            return before.watcher
        fleet = fleet_of()
        watcher = Watcher(fleet, bus, interval_s=interval_s, tell=tell)
        _first_look(watcher, fleet, patient=patient)
        _running = _started(watcher, Sampler(fleet.client, bus, tell=tell), Keeper(fleet, bus.queue), bus)
    if before is not None:
        before.stopping.set()
    return watcher


def _first_look(watcher: Watcher, fleet: Fleet, *, patient: bool) -> None:
    _require_work(fleet, watcher.bus)
    try:
        watcher.look_in_turn()
    except VastError as error:
        if not (patient and error.retryable):
            watcher.lease.release()
            raise
        watcher.failed(error)


def _require_work(fleet: Fleet, bus: Bus) -> None:
    """Without a key there are no machines; then the market must be asked for, or else the error says what is missing."""
    if fleet.client.settings.api_key is None and not has_work(bus.queue):
        fleet.look()


def _started(watcher: Watcher, sampler: Sampler, keeper: Keeper, bus: Bus) -> _Running:
    stopping = threading.Event()
    threads = (
        threading.Thread(target=watcher.run, args=(stopping, watcher.interval_s), name="vastnb-watcher", daemon=True),
        threading.Thread(target=sampler.run, args=(stopping, watcher.lease), name="vastnb-sampler", daemon=True),
        threading.Thread(target=keeper.run, args=(stopping, bus.is_in_force), name="vastnb-keeper", daemon=True),
    )
    for thread in threads:
        thread.start()
    return _Running(watcher, bus, threads, stopping)


def look_now() -> list[Event]:
    """Look once at the machines, and at the market by the plan, whether or not somebody watches; wait for the handlers of this process.

    Returns
    -------
    list of Event
        What is new. The first look of all only remembers.

    Raises
    ------
    VastError
        Something could not be looked at.
    """
    fleet, bus = fleet_of(), default_bus()
    _require_work(fleet, bus)
    found = Watcher(fleet, bus).look()
    if has_work(bus.queue):
        found += Sampler(session.current().client, bus).look()
    bus.wait()
    return found


@atexit.register
def stop_watching() -> bool:
    """Watch no more in this kernel; whether it did."""
    global _running
    with _lock:
        before, _running = _running, None
    if before is None:
        return False
    before.stop()
    return True
