"""The SQLite file of one user: private, bounded in waiting, and replaced by memory when it cannot be used.

requests-cache 1.3 retries ``BEGIN IMMEDIATE`` for ever, whatever the error: a read-only file, or a suspended laptop that
holds the lock, would hang every kernel. `_PatientDict` waits a second and then raises, which `Store` turns into a miss.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requests_cache import BaseCache, SQLiteCache, SQLiteDict

from vastnb.infra.cache.store import serializer

__all__ = ["open_local", "open_memory"]

log = logging.getLogger("vastnb.cache")
_BUSY_MS = 1000


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


class _PatientCache(SQLiteCache):
    def __init__(self, path: Path) -> None:
        BaseCache.__init__(self, cache_name=str(path))
        self.responses = _PatientDict(path, "responses", with_codec=True)
        self.redirects = _PatientDict(path, "redirects", with_codec=False)


def open_memory() -> BaseCache:
    """A cache that lives as long as this process."""
    return BaseCache()


def open_local(path: Path) -> BaseCache:
    """The cache file at `path`, made private; a corrupt file is set aside, an unusable place means memory.

    Parameters
    ----------
    path
        The file; its folder is made with mode 0700, the file with 0600.
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
        return _PatientCache(path)
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
