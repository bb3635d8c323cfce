"""Strict mode: the documented minimum interval per endpoint and identity, and ten searches per minute.

An early request is answered 429 in the shape documented for it. Not documented, and so chosen here: a refused
request does not start a new interval, except that an early create has to wait out its penalty from then on.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from .endpoints import Endpoint

SEARCHES_PER_MINUTE = 10
CREATE_PENALTY_S = 12.0
_WINDOW_S = 60.0
_SEARCHES = frozenset({"/api/v0/bundles/", "/api/v0/search/asks/"})
_CREATE = ("PUT", "/api/v0/asks/{id}/")


class Refusal(NamedTuple):
    """Why a request came too early."""

    threshold: float
    """Seconds between two requests, or searches per minute."""
    wait_s: float
    """When it would be accepted."""
    is_search: bool


class Limits:
    """The rate limits of the documentation, per endpoint and identity.

    Parameters
    ----------
    monotonic
        Returns seconds; the wall clock's by default, since the limits protect a real server.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._free_at: dict[tuple[str, str, str], float] = {}
        self._searches: dict[str, deque[float]] = {}
        self.refused = 0

    def check(self, endpoint: Endpoint, identity: str) -> Refusal | None:
        """Count a request, and return why it is refused or ``None``."""
        with self._lock:
            now = self._monotonic()
            is_search = endpoint.path in _SEARCHES
            refusal = self._search(identity, now) if is_search else self._interval(endpoint, identity, now)
            self.refused += refusal is not None
            return refusal

    def _search(self, identity: str, now: float) -> Refusal | None:
        recent = self._searches.setdefault(identity, deque())
        while recent and now - recent[0] >= _WINDOW_S:
            recent.popleft()
        if len(recent) >= SEARCHES_PER_MINUTE:
            return Refusal(float(SEARCHES_PER_MINUTE), recent[0] + _WINDOW_S - now, True)
        recent.append(now)
        return None

    def _interval(self, endpoint: Endpoint, identity: str, now: float) -> Refusal | None:
        key = (endpoint.method, endpoint.path, identity)
        free_at = self._free_at.get(key, -math.inf)
        if now >= free_at:
            self._free_at[key] = now + endpoint.min_interval_s
            return None
        if key[:2] == _CREATE:
            self._free_at[key] = free_at = now + CREATE_PENALTY_S
        return Refusal(endpoint.min_interval_s, free_at - now, False)
