"""A requests-cache backend seen as a store of plain entries.

It never raises: a backend that is locked, full, corrupt or gone costs a miss and one warning in the log, and after three
failures in a row of one kind (reading, writing, dropping, ...) that kind is left alone for a minute. What is no entry of ours, or
was kept for another key, is a miss as well.

requests-cache itself is loaded with the backend, not with this module: see `late`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from vastnb.infra.cache.entry import LARGEST_BODY, Entry

if TYPE_CHECKING:
    from requests_cache import BaseCache

__all__ = ["Store", "StoreInfo", "nothing"]

log = logging.getLogger("vastnb.cache")

_KEPT_FOR = "x-vastnb-key"
"""The header that holds the key an entry was kept for, so that a signature covers the key too."""
_FAILURES = 3
_PAUSE_S = 60.0
_ABSENT: Any = object()
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds; None is what could not be found out."""

    backend: str
    where: str
    """A path or an address, without secrets."""
    entries: int | None = None
    size_bytes: int | None = None
    """Of the files; elsewhere of the bodies."""
    oldest: datetime | None = None
    newest: datetime | None = None


def nothing() -> None:
    """Do nothing."""


class Store:
    """Entries by key, in `backend`.

    Parameters
    ----------
    backend
        Any requests-cache backend, or what opens one when it is first needed; those that store bytes must have been given a
        `codec.serializer`.
    clock
        Seconds that never go back.

    Attributes
    ----------
    hits, misses
        How often `load` found an entry, of whatever age, and how often it did not.
    """

    def __init__(
        self, backend: BaseCache | Callable[[], BaseCache], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.hits = self.misses = 0
        self._backend, self._opening = backend, threading.Lock()
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._off_until: dict[str, float] = {}
        self._odd = 0
        self._lock = threading.Lock()

    @property
    def backend(self) -> BaseCache:
        """The backend, opened."""
        with self._opening:
            if callable(self._backend):
                self._backend = self._backend()
            return self._backend

    @property
    def is_open(self) -> bool:
        """Whether the backend has been opened."""
        return not callable(self._backend)

    def load(self, key: str, *, again: bool = False) -> Entry | None:
        """The entry at `key`, or None; that it is missing is not counted where it is looked for `again`."""

        def read() -> Entry | None:
            kept = self.backend.responses.get(key, _ABSENT)
            if kept is _ABSENT:
                return None
            if kept is None or kept.headers.get(_KEPT_FOR) != key:
                self._found_odd()
                return None
            headers = tuple((name, value) for name, value in kept.headers.items() if name != _KEPT_FOR)
            return Entry(kept.status_code, headers, kept.content or b"", kept.created_at.timestamp())

        return self._counted(self._guarded("reading", read, None), again)

    def save(self, key: str, entry: Entry, *, keep_s: float, url: str, then: Callable[[], object] = nothing) -> None:
        """Keep `entry` at `key` for `keep_s` seconds from its creation; call `then` when that is done, or failed."""
        bound = Entry(entry.status, (*entry.headers, (_KEPT_FOR, key)), entry.body, entry.created)

        def write() -> None:
            from vastnb.infra.cache.codec import response_of

            self.backend.responses[key] = response_of(bound, {"expires": entry.created + keep_s, "url": url})

        if len(entry.body) <= LARGEST_BODY:
            self._guarded("writing", write, None)
        then()

    def drop(self, prefix: str) -> None:
        """Forget all entries whose key begins with `prefix`."""

        def remove() -> None:
            found = [key for key in self.backend.responses if key.startswith(prefix)]
            if found:
                self.backend.responses.bulk_delete(found)

        self._guarded("dropping", remove, None)

    def clear(self) -> None:
        """Forget all entries; of a shared cache, those of this account."""
        self._guarded("clearing", self.backend.clear, None)

    def info(self) -> StoreInfo:
        """What the store holds. Reads every entry."""
        from requests_cache import DictStorage

        responses = self.backend.responses
        memory = isinstance(responses, DictStorage)
        kind = "memory" if memory else getattr(self.backend, "kind", type(self.backend).__name__)
        where = "this process" if memory else getattr(self.backend, "where", self.backend.cache_name)

        def look() -> StoreInfo:
            keys = list(responses)
            read = [(kept.created_at, kept.size) for kept in map(responses.get, keys) if kept is not None]
            times = [created for created, _ in read]
            size = responses.size() if hasattr(responses, "size") else sum(body for _, body in read)
            return StoreInfo(kind, where, len(keys), size, min(times, default=None), max(times, default=None))

        return self._guarded("listing", look, StoreInfo(kind, where))

    def close(self) -> None:
        """Close the backend."""
        if self.is_open:
            self._guarded("closing", self.backend.close, None)

    def _counted(self, entry: Entry | None, again: bool) -> Entry | None:
        with self._lock:
            self.hits += entry is not None
            self.misses += entry is None and not again
        return entry

    def _guarded(self, what: str, act: Callable[[], _T], otherwise: _T) -> _T:
        """One breaker for each kind of operation: a lock that only writers feel costs the readers nothing."""
        if self._clock() < self._off_until.get(what, 0.0):
            return otherwise
        try:
            done = act()
        except Exception as error:  # any backend, any of its errors: that is the promise of this class
            self._failed(what, error)
            return otherwise
        self._failures[what] = 0
        return done

    def _failed(self, what: str, error: Exception) -> None:
        """Count a failure; the first one of a trouble is told, whatever kinds of operation feel it."""
        level = logging.DEBUG if self._in_trouble() else logging.WARNING
        count = self._failures[what] = self._failures.get(what, 0) + 1
        log.log(level, "%s the cache failed (%s: %s); going on without it", what, type(error).__name__, error)
        if count >= _FAILURES:
            self._off_until[what], self._failures[what] = self._clock() + _PAUSE_S, 0

    def _in_trouble(self) -> bool:
        now = self._clock()
        return any(self._failures.values()) or any(until > now for until in self._off_until.values())

    def _found_odd(self) -> None:
        self._odd += 1
        level = logging.WARNING if self._odd == 1 else logging.DEBUG
        log.log(
            level,
            "an entry in the cache is not one of ours, was changed or moved, or is of another version; ignoring it",
        )
