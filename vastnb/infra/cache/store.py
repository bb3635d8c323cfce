"""A requests-cache backend seen as a store of plain entries.

It never raises: a backend that is locked, full, corrupt or gone costs a miss and one warning in the log, and after three
failures in a row of one kind (reading, writing, dropping, ...) that kind is left alone for a minute. Entries are never pickled:
reading a cache cannot run code. What is no entry of ours, or was kept for another key, is a miss as well.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from requests.structures import CaseInsensitiveDict
from requests_cache import BaseCache, CachedRequest, CachedResponse, DictStorage, SerializerPipeline, Stage

__all__ = ["Entry", "Store", "StoreInfo", "serializer"]

log = logging.getLogger("vastnb.cache")
# requests-cache logs what it cannot do as errors; for us that is a miss, and this module says so once.
logging.getLogger("requests_cache").addHandler(logging.NullHandler())

_MAGIC = b"VNB2"
"""Another form of entries needs another `keys._SCHEMA` too, or two versions that share a cache spoil each other's entries."""
_MAC_BYTES = 32
_WORTH_PACKING = 512
_LARGEST_BODY = 64 << 20
_KEPT_FOR = "x-vastnb-key"
"""The header that holds the key an entry was kept for, so that a signature covers the key too."""
_FAILURES = 3
_PAUSE_S = 60.0
_ABSENT: Any = object()
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    created: float
    """When the request was sent, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds; None is what could not be found out."""

    backend: str
    where: str
    """A path or an address, without secrets."""
    entries: int | None = None
    size_bytes: int | None = None
    """Of the file; elsewhere of the bodies."""
    oldest: datetime | None = None
    newest: datetime | None = None


class _EntryCodec:
    """`CachedResponse` <-> bytes: magic, signature, length of the head, head as JSON, body as it came or packed.

    Parameters
    ----------
    secret
        What entries are signed with; without it they are not, which does for a file that only its user can write.
    level
        How hard zlib tries on bodies above 512 bytes; 0 leaves them as they are.
    """

    def __init__(self, secret: str | None = None, level: int = 0) -> None:
        # A key of blake2b has at most 64 bytes; a longer secret counts whole this way.
        self._key = None if secret is None else hashlib.blake2b(secret.encode(), person=b"vastnb-signing").digest()
        self._level = level

    def dumps(self, response: CachedResponse) -> bytes:
        body = response.content or b""
        packed = self._level > 0 and len(body) > _WORTH_PACKING
        head = json.dumps(
            {
                "status": response.status_code,
                "headers": dict(response.headers),
                "url": response.url,
                "created": response.created_at.timestamp(),
                "expires": response.expires_unix,
                "length": len(body),
                "packed": packed,
            },
            separators=(",", ":"),
        ).encode()
        signed = len(head).to_bytes(4, "big") + head + (zlib.compress(body, self._level) if packed else body)
        return _MAGIC + self._signature(signed) + signed

    def loads(self, value: Any) -> CachedResponse | None:
        """The response, or None for what is no entry of ours: raising would make requests-cache log an error of its own."""
        try:
            return self._read(value.encode("latin-1", "replace") if isinstance(value, str) else bytes(value))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, zlib.error) as error:
            log.debug("no entry of ours: %s: %s", type(error).__name__, error)
            return None

    def _read(self, raw: bytes) -> CachedResponse:
        if raw[:4] != _MAGIC:
            raise ValueError("another form")
        begin = 4 + (_MAC_BYTES if self._key else 0)
        if not hmac.compare_digest(raw[4:begin], self._signature(raw[begin:])):
            raise ValueError("not signed with this key")
        start = begin + 4 + int.from_bytes(raw[begin : begin + 4], "big")
        head, body = json.loads(raw[begin + 4 : start]), raw[start:]
        if head["packed"]:
            body = zlib.decompressobj().decompress(body, min(head["length"], _LARGEST_BODY) + 1)
        if len(body) != head["length"]:
            raise ValueError("not of the length that it states")
        return _response(Entry(head["status"], tuple(head["headers"].items()), body, head["created"]), head)

    def _signature(self, signed: bytes) -> bytes:
        if self._key is None:
            return b""
        return hashlib.blake2b(signed, key=self._key, digest_size=_MAC_BYTES, person=b"vastnb-" + _MAGIC).digest()


def serializer(secret: str | None = None, *, level: int = 0) -> SerializerPipeline:
    """The codec for requests-cache backends that store bytes.

    Parameters
    ----------
    secret
        What entries are signed with; needed where others can write.
    level
        How hard bodies above 512 bytes are packed, 0 (not) to 9.
    """
    return SerializerPipeline([Stage(_EntryCodec(secret, level))], name="vastnb-entry", is_binary=True)


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

    Attributes
    ----------
    hits, misses
        How often `load` found an entry, of whatever age, and how often it did not.
    """

    def __init__(self, backend: BaseCache, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.backend = backend
        self.hits = self.misses = 0
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._off_until: dict[str, float] = {}
        self._odd = 0
        self._lock = threading.Lock()

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

        entry = self._guarded("reading", read, None)
        with self._lock:
            self.hits += entry is not None
            self.misses += entry is None and not again
        return entry

    def save(self, key: str, entry: Entry, *, keep_s: float, url: str) -> None:
        """Keep `entry` at `key` for `keep_s` seconds from its creation."""
        if len(entry.body) > _LARGEST_BODY:
            return
        bound = Entry(entry.status, (*entry.headers, (_KEPT_FOR, key)), entry.body, entry.created)

        def write() -> None:
            self.backend.responses[key] = _response(bound, {"expires": entry.created + keep_s, "url": url})

        self._guarded("writing", write, None)

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
