"""The watcher: looks at the account's machines, one for all, and publishes what changed."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict

import orjson

from vastnb.errors import RateLimitError, VastError
from vastnb.services.events import Bus, Event, Queue
from vastnb.services.instances.fleet import Fleet, Sight
from vastnb.services.sync.lease import Lease
from vastnb.services.sync.looking import Machine, Snapshot, changes, snapshot

log = logging.getLogger("vastnb.sync")

__all__ = ["INTERVAL_S", "Watcher", "latest"]

INTERVAL_S = 30.0
_LONGEST_PAUSE_S = 600.0
_SOON_S = 0.1
"""After this much more a lease that was not renewed is another's."""
_NOTE = "watcher"


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
        self._fleet, self.bus, self.interval_s, self._tell, self._jitter = fleet, bus, interval_s, tell, jitter
        self._clock = clock
        self.lease = Lease(bus.queue, interval_s=interval_s, clock=clock)
        self._failures = 0
        self.problem = ""
        """Why the last look failed; empty if it did not."""

    def turn(self) -> float:
        """Look, if it is this watcher's turn; how many seconds until the next."""
        try:
            self.look_in_turn()
        except VastError as error:
            return self.failed(error)
        if self._failures:
            log.info("the watcher could look again")
        self._failures, self.problem = 0, ""
        left = self.lease.until - self._clock() + _SOON_S
        return self.interval_s if self.lease.is_mine else min(self.interval_s, max(_SOON_S, left))

    def look_in_turn(self) -> None:
        """Look, if it is this watcher's turn.

        Raises
        ------
        VastError
            The machines cannot be listed; then nothing is written.
        """
        if self.lease.hold():
            self.look()

    def look(self) -> list[Event]:
        """Look now; what is new. The first look of all only remembers. Without a key there are no machines to look at.

        Raises
        ------
        VastError
            The machines cannot be listed; then nothing is written.
        """
        if self._fleet.client.settings.api_key is None:
            return []
        before, revision = latest(self.bus.queue)
        sight = self._fleet.look()
        after = snapshot(sight, self._balance(sight), before)
        found = changes(before, after) if before is not None else []
        new = self.bus.queue.add(found, source="watcher", note=(_NOTE, orjson.dumps(asdict(after)).decode(), revision))
        self.bus.wake()
        for event in new:
            self._tell(event)
        return new

    def run(self, stopping: threading.Event, pause_s: float = 0.0) -> None:
        """Look again and again until told to stop, or another account is in force; then let another watcher go on at once."""
        while not stopping.wait(pause_s) and self.bus.is_in_force():
            pause_s = self.turn()
        self.lease.release()

    def failed(self, error: VastError) -> float:
        """Note why a look failed, for `sync_status`; how many seconds until the next, more after each failure in a row."""
        self._failures += 1
        self.problem = f"{type(error).__name__}: {error}"
        log.warning("the watcher could not look: %s", self.problem)
        pause_s = self._pause_s(error)
        try:
            if self.lease.is_mine:
                self.lease.hold(pause_s=pause_s, problem=self.problem)
        except VastError as full:  # the file that the lease lies in may be what cannot be used
            log.warning("%s", full)
        return pause_s

    def _balance(self, sight: Sight) -> float | None:
        """What is left, if anything costs."""
        if not sight.listing.records:
            return None
        return self._fleet.client.user(refresh=True).left_usd

    def _pause_s(self, error: VastError) -> float:
        """Longer after each failure in a row, and not in step with other watchers."""
        asked = error.retry_after_s if isinstance(error, RateLimitError) else None
        grown = min(_LONGEST_PAUSE_S, self.interval_s * 2.0 ** min(self._failures, 10))
        return max(asked or 0.0, grown * (0.5 + 0.5 * self._jitter()))


def latest(queue: Queue) -> tuple[Snapshot | None, int]:
    """The last look at the machines, whoever took it, and the revision of its note; None if there was none."""
    text, revision = queue.note(_NOTE)
    if not text:
        return None, revision
    content = orjson.loads(text)
    machines = {number: Machine(**machine) for number, machine in content.pop("machines").items()}
    return Snapshot(**content, machines=machines), revision
