"""The sandbox's time: one number that stands still until somebody moves it.

Prices, offers and bills are functions of this clock, so a test or a tutorial that steps it sees the same market
every time. It knows nothing of the market: who wants to follow it subscribes.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

_TICKS_PER_S = 1024
"""Times are multiples of 1/1024 s: sums and differences with whole-second dates are then exact in a float."""
_LATEST_S = 2.0**36
"""Year 4147; dates beyond year 9999 could not be written."""

Start = float | str | datetime | None


class Clock:
    """A settable clock in epoch seconds, safe to use from several threads.

    Parameters
    ----------
    start
        Where it begins: epoch seconds, an ISO 8601 text (UTC unless it says otherwise), an aware datetime, or
        ``None`` for the wall clock's now.
    monotonic
        What :meth:`run` measures elapsed seconds with.
    """

    def __init__(self, start: Start = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.RLock()
        self._monotonic = monotonic
        self._base_s = start_s(start)
        self._speed = 0.0
        self._since = 0.0
        self._followers: list[Callable[[float], object]] = []

    @property
    def speed(self) -> float:
        """Sandbox seconds per real second; 0 while the clock stands still."""
        with self._lock:
            return self._speed

    def now(self) -> float:
        """Return the sandbox's time in epoch seconds, a multiple of 1/1024 s."""
        with self._lock:
            elapsed_s = (self._monotonic() - self._since) * self._speed if self._speed else 0.0
            return _tick(min(self._base_s + elapsed_s, _LATEST_S))

    def step(self, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Move forward and return the new time; a negative step is a ``ValueError``."""
        step_s = seconds + 60 * minutes + 3600 * hours + 86400 * days
        if not 0 <= step_s < _LATEST_S:
            raise ValueError(f"a clock steps forward, up to year 4147, got {step_s} s; to go back make a new sandbox")
        with self._lock:
            self._base_s = min(self._base_s + step_s, _LATEST_S)
            now, followers = self.now(), tuple(self._followers)
        for follower in followers:
            follower(now)
        return now

    def run(self, speed: float = 60.0) -> None:
        """Let the clock run by itself at ``speed`` sandbox seconds per real second."""
        if not 0 < speed < float("inf"):
            raise ValueError(f"speed must be above 0, got {speed}; stop() makes the clock stand still")
        with self._lock:
            self._base_s, self._since, self._speed = self.now(), self._monotonic(), float(speed)

    def stop(self) -> None:
        """Make the clock stand still where it is."""
        with self._lock:
            self._base_s, self._speed = self.now(), 0.0

    def subscribe(self, follower: Callable[[float], object]) -> None:
        """Call ``follower(now)`` after each step, in the thread that stepped."""
        with self._lock:
            self._followers.append(follower)

    def __repr__(self) -> str:
        moving = f"running x{self.speed:g}" if self.speed else "standing still"
        return f"Clock({datetime.fromtimestamp(self.now(), UTC).isoformat()}, {moving})"


def start_s(start: Start) -> float:
    """Return ``start`` (see :class:`Clock`) in epoch seconds."""
    if start is None:
        return _tick(time.time())
    if isinstance(start, str):
        start = datetime.fromisoformat(start)
        start = start if start.tzinfo else start.replace(tzinfo=UTC)
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ValueError(f"start must be an aware datetime, got {start!r} without a time zone")
        start = start.timestamp()
    if isinstance(start, bool) or not 0 <= start < 2**32:
        raise ValueError(f"start must be epoch seconds from 0 to 2**32, got {start!r}")
    return _tick(float(start))


def _tick(seconds: float) -> float:
    return int(seconds * _TICKS_PER_S) / _TICKS_PER_S
