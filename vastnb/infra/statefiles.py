"""SQLite files that hold what must not be lost: private, with a schema version, each change one transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vastnb.errors import NewerStateError, StateError

__all__ = ["open_private", "open_state", "transaction", "usable"]

_BUSY_S = 5.0


def open_private(path: Path, *, timeout_s: float) -> sqlite3.Connection:
    """A connection to a file that its owner alone can read; it is made, with its folder, if it is not there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def open_state(path: Path, *, what: str, schema: int, tables: str, write_ahead: bool = False) -> sqlite3.Connection:
    """A connection to a file of state.

    Parameters
    ----------
    path
        The file.
    what
        What it holds, for messages: ``"the journal"``.
    schema
        The version that this vastnb writes.
    tables
        The script that makes it where it is not yet there, and sets ``user_version``.
    write_ahead
        Whether readers are not to wait for a writer.

    Raises
    ------
    NewerStateError
        A newer vastnb wrote it.
    """
    db = open_private(path, timeout_s=_BUSY_S)
    try:
        db.execute("pragma synchronous = full")
        version = db.execute("pragma user_version").fetchone()[0]
        if version < schema:  # others may be making it at the same moment: each waits for its turn
            db.executescript(f"begin immediate; {tables}; commit;")
        if write_ahead and version <= schema:
            _write_ahead(db)
    except BaseException:
        db.close()
        raise
    if version > schema:
        db.close()
        raise NewerStateError(f"{what} {path} was written by a newer vastnb")
    return db


def _write_ahead(db: sqlite3.Connection) -> None:
    """Readers hinder it: whoever opens the file later tries again, and it works without as well."""
    db.execute("pragma busy_timeout = 0")
    with suppress(sqlite3.OperationalError):
        db.execute("pragma journal_mode = wal")
    db.execute(f"pragma busy_timeout = {_BUSY_S * 1000:.0f}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction that writes; rolled back on any exception, Ctrl-C included."""
    db.execute("begin immediate")
    try:
        yield db
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


@contextmanager
def usable(path: Path, *, what: str, hint: str) -> Iterator[None]:
    """Raise `StateError`, which names the file, where it cannot be used."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StateError(f"{what} {path} cannot be used: {error}", original=error, hint=hint) from error
