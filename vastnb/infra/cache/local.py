"""The SQLite file of one user: private, bounded in waiting, and replaced by memory when it cannot be used.

requests-cache 1.3 retries ``BEGIN IMMEDIATE`` for ever, whatever the error: a read-only file, or a suspended laptop that
holds the lock, would hang every kernel. `_PatientDict` waits a second and then raises, which `Store` turns into a miss.

It does not grow for ever: what is over, then what is oldest, makes room for what comes (`_TrimmedDict`). Long entries are files
beside it (`large`).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple

from requests_cache import BaseCache, CachedResponse, SQLiteCache, SQLiteDict

from vastnb.infra.cache.codec import EntryCodec, serializer
from vastnb.infra.cache.large import WORTH_A_FILE, LargeEntries
from vastnb.infra.statefiles import transaction

__all__ = ["open_local", "open_memory"]

log = logging.getLogger("vastnb.cache")
_BUSY_MS = 1000
_WRITES_BETWEEN_LOOKS = 50
_FULL_AGAIN = 0.8
"""How much of what it may hold is left after it was trimmed."""
_HALF_WRITTEN_S = 60.0


class _PatientDict(SQLiteDict):
    """Waits for a lock as long as SQLite's busy time-out, then raises; rolls back on any exception, Ctrl-C included."""

    def __init__(self, path: Path, table_name: str, codec: EntryCodec | None = None) -> None:
        self._write_lock = threading.RLock()
        super().__init__(
            path,
            table_name=table_name,
            serializer=serializer(codec) if codec is not None else None,
            wal=True,
            busy_timeout=_BUSY_MS,
            timeout=_BUSY_MS / 1000,
        )

    @contextmanager
    def connection(self, commit: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection of this thread; with `commit`, inside a write transaction."""
        with super().connection() as connection:
            if not commit:
                yield connection
                return
            with self._write_lock:
                if connection.in_transaction:
                    yield connection
                else:
                    with transaction(connection):
                        yield connection


class _Row(NamedTuple):
    """An entry as it is sorted: those that are over before those that live, then by age."""

    lives: bool
    created: float
    key: str
    size: int


def _to_go(rows: Iterable[_Row], excess: float) -> list[str]:
    """The keys of what is over, and of the oldest of the rest until `excess` bytes are free."""
    keys, freed = [], 0
    for row in sorted(rows):
        if row.lives and freed >= excess:
            break
        keys.append(row.key)
        freed += row.size
    return keys


class _TrimmedDict(_PatientDict):
    """Keeps long entries beside the file, looks at the size of all now and then, and makes room where it is too large."""

    def __init__(self, path: Path, table_name: str, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._codec = EntryCodec()
        self._large = LargeEntries(path)
        # A process that writes but once, as a shell command does, looks as well.
        self._writes, self._bytes = _WRITES_BETWEEN_LOOKS, 0
        super().__init__(path, table_name, self._codec)

    def __getitem__(self, key: str) -> CachedResponse:
        try:
            return super().__getitem__(key)  # type: ignore[no-any-return, no-untyped-call]
        except KeyError:
            kept = self._large.get(key)
            if kept is None:
                raise
            return self.deserialize(key, kept)  # type: ignore[no-any-return]

    def __setitem__(self, key: str, value: CachedResponse) -> None:
        if value.size >= WORTH_A_FILE:
            self._large.put(key, self._codec.parts(value))
            super().bulk_delete([key])  # type: ignore[no-untyped-call]
        else:
            super().__setitem__(key, value)  # type: ignore[no-untyped-call]
            self._large.delete([key])
        self._writes, self._bytes = self._writes + 1, self._bytes + value.size
        if self._writes >= _WRITES_BETWEEN_LOOKS or self._bytes > self._max_bytes / 10:
            self._writes = self._bytes = 0
            self._trim()

    def __iter__(self) -> Iterator[str]:
        return iter({*super().__iter__(), *self._large.keys()})  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def bulk_delete(self, keys: Iterable[str]) -> None:  # type: ignore[override]  # by value nobody deletes
        """Delete the entries of `keys`, as far as they exist."""
        keys = list(keys)
        self._large.delete(keys)
        super().bulk_delete(keys)  # type: ignore[no-untyped-call]

    def clear(self) -> None:
        """Delete all entries and give their room back; other kernels never find the table gone."""
        self.bulk_delete(self)
        with self.connection() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self) -> int:
        """Bytes of the file and of those beside it."""
        return int(super().size()) + self._large.size()

    def _trim(self) -> None:
        self._large.sweep(time.time() - _HALF_WRITTEN_S)
        if self.size() <= self._max_bytes:
            return
        used = self._used_bytes() + self._large.size()
        if used > self._max_bytes:
            self.bulk_delete(_to_go(map(self._row, list(self)), used - _FULL_AGAIN * self._max_bytes))

    def _used_bytes(self) -> int:
        """The size of the file without the room that deleted entries left: only VACUUM would make it smaller."""
        with self.connection() as connection:
            pages, free, size = (
                connection.execute(f"PRAGMA {what}").fetchone()[0]
                for what in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    def _row(self, key: str) -> _Row:
        kept = self.get(key)
        if kept is None:
            return _Row(lives=False, created=0.0, key=key, size=0)
        return _Row(not kept.is_expired, kept.created_at.timestamp(), key, kept.size)


class _PatientCache(SQLiteCache):
    kind: ClassVar[str] = "sqlite"
    responses: _TrimmedDict

    def __init__(self, path: Path, max_bytes: int) -> None:
        BaseCache.__init__(self, cache_name=str(path))
        self.responses = _TrimmedDict(path, "responses", max_bytes=max_bytes)
        self.redirects = _PatientDict(path, "redirects")
        self.where = str(path)

    def clear(self) -> None:
        """Delete all entries. Where that fails the file stays; SQLiteCache would delete it under other kernels."""
        self.responses.clear()


def open_memory() -> BaseCache:
    """A cache that lives as long as this process."""
    return BaseCache()


def open_local(path: Path, *, max_mb: int = 200) -> BaseCache:
    """The cache file at `path`, made private; a corrupt file is set aside, an unusable place means memory.

    Parameters
    ----------
    path
        The file; its folder is made with mode 0700, the file with 0600.
    max_mb
        Megabytes that it may hold.
    """
    try:
        _make_private(path)
        try:
            _check(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            _set_aside(path, error)
            _make_private(path)
            _check(path)
        return _PatientCache(path, max_mb * 1_000_000)
    except (OSError, sqlite3.Error) as error:
        log.warning("the cache file %s cannot be used (%s); keeping answers in memory", path, error)
        return open_memory()


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _check(path: Path) -> None:
    connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    log.warning("the cache file %s is corrupt (%s); set aside as %s", path, error, aside.name)
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
