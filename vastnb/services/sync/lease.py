"""Which of a user's kernels and daemons looks: one at a time, and another when that one dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

from vastnb.errors import StateError
from vastnb.infra.processes import is_gone, new_mark

if TYPE_CHECKING:
    from vastnb.services.events import Queue

__all__ = ["Held", "Lease", "held"]

log = logging.getLogger("vastnb.sync")
log.addHandler(logging.NullHandler())  # a background thread writes into no cell

_NAME = "lease of the watcher"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it is written down; times by this computer's clock, seconds since 1970."""

    owner: str
    """Computer, process and a number of its own."""
    since: float
    at: float
    """When its owner last said that it lives."""
    until: float
    """When it is free if its owner says so no more."""
    interval_s: float
    problem: str = ""
    """Why its owner could not look; empty if it could."""


class Lease:
    """The lease of one account, for one that may take it.

    Parameters
    ----------
    queue
        Where it lies.
    interval_s
        How long from look to look; who is silent for two of them is taken for dead.
    clock
        This computer's clock, seconds since 1970.
    """

    def __init__(self, queue: Queue, *, interval_s: float, clock: Callable[[], float] = time.time) -> None:
        self._queue, self._interval_s, self._clock = queue, interval_s, clock
        self._me = new_mark()
        self.is_mine = False
        """Whether it was, when last asked for."""
        self.until = 0.0
        """When it is free unless its owner is heard of before."""

    def hold(self, *, pause_s: float = 0.0, problem: str = "") -> bool:
        """Take it, or hold it longer; whether it is ours.

        Parameters
        ----------
        pause_s
            How long nothing will be heard, beyond what is usual.
        problem
            Why the last look failed.
        """
        now = self._clock()

        def take(text: str) -> str:
            there = _read(text)
            if there is not None and not self._is_free(there, now):
                return text
            since = there.since if there is not None and there.owner == self._me else now
            until = now + max(pause_s, self._interval_s) + self._interval_s
            return orjson.dumps(asdict(Held(self._me, since, now, until, self._interval_s, problem))).decode()

        was_mine, there = self.is_mine, _read(self._queue.exchange(_NAME, take))
        self.is_mine, self.until = self._is_mine(there), there.until if there is not None else now
        if self.is_mine != was_mine:
            log.info("this process looks" if self.is_mine else "another process looks")
        return self.is_mine

    def release(self) -> None:
        """Give it back, if it is ours."""
        self.is_mine = False
        try:
            self._queue.exchange(_NAME, lambda text: "" if self._is_mine(_read(text)) else text)
        except StateError as error:
            log.warning("%s", error)

    def _is_mine(self, there: Held | None) -> bool:
        return there is not None and there.owner == self._me

    def _is_free(self, there: Held, now: float) -> bool:
        """Who cannot look lets another try, that may have a better connection."""
        return self._is_mine(there) or bool(there.problem) or there.until < now or is_gone(there.owner)


def held(queue: Queue, now: float) -> Held | None:
    """The lease as it is; None if nobody holds it any more."""
    there = _read(queue.note(_NAME)[0])
    return None if there is None or there.until < now or is_gone(there.owner) else there


def _read(text: str) -> Held | None:
    """What cannot be read is no lease: at worst one look too many is made."""
    try:
        return Held(**orjson.loads(text)) if text else None
    except (ValueError, TypeError):
        return None
