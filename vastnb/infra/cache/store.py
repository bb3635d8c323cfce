"""A requests-cache backend seen as a store of plain entries.

It never raises: a backend that is locked, full, corrupt or gone costs a miss and one warning in the log, and after three
failures in a row of one kind (reading, writing, dropping) that kind is left alone for a minute. Entries are never pickled:
reading a cache cannot run code.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from requests.structures import CaseInsensitiveDict
from requests_cache import BaseCache, CachedRequest, CachedResponse, SerializerPipeline, Stage

__all__ = ["Entry", "Store", "serializer"]

log = logging.getLogger("vastnb.cache")
# requests-cache logs entries it cannot read as errors; for us an old format is a plain miss.
logging.getLogger("requests_cache").addHandler(logging.NullHandler())

_MAGIC = b"VNB1"
_FAILURES = 3
_PAUSE_S = 60.0
_LARGEST_BODY = 64 << 20
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    created: float
    """When the request was sent, in seconds since 1970."""


class _EntryCodec:
    """`CachedResponse` <-> bytes: magic, length of the head, head as JSON, body as it came."""

    def dumps(self, response: CachedResponse) -> bytes:
        body = response.content or b""
        head = json.dumps(
            {
                "status": response.status_code,
                "headers": dict(response.headers),
                "url": response.url,
                "created": response.created_at.timestamp(),
                "expires": response.expires_unix,
                "length": len(body),
            },
            separators=(",", ":"),
        ).encode()
        return _MAGIC + len(head).to_bytes(4, "big") + head + body

    def loads(self, value: Any) -> CachedResponse:
        raw = value.encode("latin-1", "replace") if isinstance(value, str) else bytes(value)
        if raw[:4] != _MAGIC:
            raise ValueError("not an entry of vastnb")
        start = 8 + int.from_bytes(raw[4:8], "big")
        head, body = json.loads(raw[8:start]), raw[start:]
        if len(body) != head["length"]:
            raise ValueError("truncated cache entry")
        return _response(Entry(head["status"], tuple(head["headers"].items()), body, head["created"]), head)


def serializer() -> SerializerPipeline:
    """The codec for requests-cache backends that store bytes."""
    return SerializerPipeline([Stage(_EntryCodec())], name="vastnb-entry", is_binary=True)


def _response(entry: Entry, head: dict[str, Any]) -> CachedResponse:
    expires = head["expires"]
    return CachedResponse(
        content=entry.body,
        status_code=entry.status,
        headers=CaseInsensitiveDict(entry.headers),
        url=head["url"],
        encoding="utf-8",
        created_at=datetime.fromtimestamp(entry.created, UTC),
        expires=None if expires is None else datetime.fromtimestamp(expires, UTC),
        request=CachedRequest(method="", url=head["url"]),
    )


class Store:
    """Entries by key, in `backend`.

    Parameters
    ----------
    backend
        Any requests-cache backend; those that store bytes must have been given `serializer`.
    clock
        Seconds that never go back.
    """

    def __init__(self, backend: BaseCache, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.backend = backend
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._off_until: dict[str, float] = {}

    def load(self, key: str) -> Entry | None:
        """The entry at `key`, or None."""

        def read() -> Entry | None:
            kept = self.backend.responses.get(key)
            if kept is None:
                return None
            return Entry(
                kept.status_code, tuple(kept.headers.items()), kept.content or b"", kept.created_at.timestamp()
            )

        return self._guarded("reading", read, None)

    def save(self, key: str, entry: Entry, *, keep_s: float, url: str) -> None:
        """Keep `entry` at `key` for `keep_s` seconds from its creation."""
        if len(entry.body) > _LARGEST_BODY:
            return

        def write() -> None:
            self.backend.responses[key] = _response(entry, {"expires": entry.created + keep_s, "url": url})

        self._guarded("writing", write, None)

    def drop(self, prefix: str) -> None:
        """Forget all entries whose key begins with `prefix`."""

        def remove() -> None:
            found = [key for key in self.backend.responses if key.startswith(prefix)]
            if found:
                self.backend.responses.bulk_delete(found)

        self._guarded("dropping", remove, None)

    def close(self) -> None:
        """Close the backend."""
        self._guarded("closing", self.backend.close, None)

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
        count = self._failures[what] = self._failures.get(what, 0) + 1
        level = logging.WARNING if count == 1 else logging.DEBUG
        log.log(level, "%s the cache failed (%s: %s); going on without it", what, type(error).__name__, error)
        if count >= _FAILURES:
            self._off_until[what], self._failures[what] = self._clock() + _PAUSE_S, 0
