"""The SQLite file of one user: private, bounded in waiting, and replaced by memory when it cannot be used.

requests-cache 1.3 retries ``BEGIN IMMEDIATE`` for ever, whatever the error: a read-only file, or a suspended laptop that
holds the lock, would hang every kernel. `_PatientDict` waits a second and then raises, which `Store` turns into a miss.

The file does not grow for ever: what is over, then what is oldest, makes room for what comes (`_TrimmedDict`).
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

from vastnb.infra.cache.store import serializer

__all__ = ["open_local", "open_memory"]

log = logging.getLogger("vastnb.cache")
_BUSY_MS = 1000
_WRITES_BETWEEN_LOOKS = 50
_FULL_AGAIN = 0.8
"""How much of what it may hold is left in a file after it was trimmed."""


class _PatientDict(SQLiteDict):
    """Waits for a lock as long as SQLite's busy time-out, then raises; rolls back on any exception, Ctrl-C included."""

    def __init__(self, path: Path, table_name: str, *, with_codec: bool) -> None:
        self._write_lock = threading.RLock()
        super().__init__(
            path,
            table_name=table_name,
            serializer=serializer() if with_codec else None,
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
                    with _transaction(connection):
                        yield connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


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
    """Looks at the size of its file now and then, and makes room where it is too large."""

    def __init__(self, path: Path, table_name: str, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # A process that writes but once, as a shell command does, looks as well.
        self._writes, self._bytes = _WRITES_BETWEEN_LOOKS, 0
        super().__init__(path, table_name, with_codec=True)

    def __setitem__(self, key: str, value: CachedResponse) -> None:
        super().__setitem__(key, value)  # type: ignore[no-untyped-call]
        self._writes, self._bytes = self._writes + 1, self._bytes + value.size
        if self._writes >= _WRITES_BETWEEN_LOOKS or self._bytes > self._max_bytes / 10:
            self._writes = self._bytes = 0
            self._trim()

    def clear(self) -> None:
        """Delete all entries and give their room back; other kernels never find the table gone."""
        self.bulk_delete(list(self))  # type: ignore[no-untyped-call]
        with self.connection() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _trim(self) -> None:
        if self.size() <= self._max_bytes:
            return
        used = self._used_bytes()
        if used > self._max_bytes:
            keys = _to_go(map(self._row, list(self)), used - _FULL_AGAIN * self._max_bytes)
            self.bulk_delete(keys)  # type: ignore[no-untyped-call]

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
        self.redirects = _PatientDict(path, "redirects", with_codec=False)
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
