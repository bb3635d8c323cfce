"""The record of what was bought: one row for each intent to rent, on disk before a byte is sent.

A row is written (and the caps are checked, in the same transaction) before the one paying call; how it ended is written behind
it. A row says which process wrote it, so that another kernel leaves a call that is still under way alone, and settles what a
dead one left behind. Losing the file loses nothing that the labels of the machines do not still say.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from vastnb.errors import NameTakenError
from vastnb.infra.processes import is_alive
from vastnb.infra.statefiles import open_state, transaction, usable

__all__ = ["COSTING", "Journal", "Rental", "State", "notebook_of_kernel"]

State = Literal["pending", "unknown", "created", "refused", "absent", "ended"]
"""
* ``pending``: about to be sent, or being sent, by the process that the row names;
* ``unknown``: sent, and the answer was lost;
* ``created``: a machine exists, or existed when last seen;
* ``refused``: certainly nothing was rented;
* ``absent``: the answer was lost, and the machine did not turn up for as long as it may take;
* ``ended``: the machine is gone.
"""
COSTING: tuple[State, ...] = ("pending", "unknown", "created")
"""States in which something may cost."""
_SCHEMA = 1
_LEASE_S = 900.0
"""A call cannot be under way longer: what seems to is a process number that was given out again."""
_WHAT = "the journal"
_sending: set[str] = set()
"""Tokens whose call this process has under way."""


@dataclass(frozen=True, slots=True)
class Rental:
    """One intent to rent."""

    token: str
    """Nobody else's: it is part of the machine's label."""
    label: str
    offer_id: int
    sent_at: float
    """The service's clock, seconds since 1970."""
    state: State = "pending"
    name: str = ""
    machine_id: int | None = None
    rental: str = "on-demand"
    spec: dict[str, Any] = field(default_factory=dict)
    """What runs on it, without secrets."""
    terms: dict[str, Any] = field(default_factory=dict)
    """The caps it was rented with, and what happens at its end."""
    query: str = ""
    """The conditions of the search that found it; empty where it was named otherwise."""
    quote: dict[str, Any] = field(default_factory=dict)
    """What it was expected to cost."""
    usd_per_hour: float = 0.0
    """Agreed: GPUs and disk."""
    most_usd: float | None = None
    """The most it can cost before it ends itself; None if nothing ends it."""
    ends_at: float | None = None
    """When it ends itself, by the service's clock."""
    instance_id: int | None = None
    was_stopped: bool = False
    """Whether vastnb stopped it: the service does not tell that from an eviction."""
    note: str = ""
    notebook: str = ""
    """The notebook that rented it; empty where that is not known."""
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=platform.node)
    written_at: float = field(default_factory=time.time)
    """This computer's clock."""

    @property
    def is_in_flight(self) -> bool:
        """Whether somebody may still be sending it."""
        if self.state != "pending" or time.time() - self.written_at > _LEASE_S:
            return False
        if self.host != platform.node():
            return True
        return self.token in _sending if self.pid == os.getpid() else is_alive(self.pid)


def notebook_of_kernel() -> str:
    """The notebook of this kernel, as whoever started the kernel named it; empty where nobody did."""
    named = os.environ.get("JPY_SESSION_NAME") or getattr(sys.modules.get("__main__"), "__vsc_ipynb_file__", "")
    return named if isinstance(named, str) else ""


_TABLE = f"""
create table if not exists rentals (
  account text not null, token text primary key, name text not null, state text not null, row text not null);
create unique index if not exists living_names on rentals (account, name)
  where name != '' and state in ('pending', 'unknown', 'created');
pragma user_version = {_SCHEMA};
"""


class Journal:
    """The rentals of one account.

    Parameters
    ----------
    path
        The file; it is made, readable by its owner only, when it is first needed.
    account
        An `identity`: several accounts may share the file.

    Raises
    ------
    StateError
        From each method: the file cannot be used. Then nothing may be sent.
    """

    def __init__(self, path: Path, account: str) -> None:
        self.path, self.account = path, account
        self._lock = threading.Lock()

    @contextmanager
    def intent(self, rental: Rental, allow: Callable[[Sequence[Rental]], None]) -> Iterator[None]:
        """Write down an intent, unless `allow` raises; inside, it is under way.

        Parameters
        ----------
        rental
            The new row.
        allow
            Given the rows that may cost; it and the writing are one transaction, so that two kernels cannot both pass.

        Raises
        ------
        NameTakenError
            Another kernel has just begun one of this name.
        """
        _sending.add(rental.token)
        try:
            with self._transaction() as db:
                allow([row for row in self._rows(db) if row.state in COSTING])
                try:
                    self._insert(db, rental)
                except sqlite3.IntegrityError as error:
                    raise NameTakenError(f"another kernel is renting {rental.name} just now", original=error) from error
            yield
        finally:
            _sending.discard(rental.token)

    def add(self, rental: Rental) -> None:
        """Write down a machine that this journal did not know: it was rented on another computer. Again changes nothing."""
        with self._transaction() as db:
            rows = self._rows(db)
            if any(row.name == rental.name and row.state in COSTING for row in rows):
                rental = replace(rental, name="")
            if all(row.token != rental.token for row in rows):
                self._insert(db, rental)

    def update(self, token: str, **changes: Any) -> Rental:
        """Write down what became of a rental; the row as it then is."""
        with self._transaction() as db:
            (before,) = (row for row in self._rows(db) if row.token == token)
            after = replace(before, **changes)
            try:
                self._replace(db, after)
            except sqlite3.IntegrityError:  # it turned up late, and its name has gone to another
                after = replace(after, name="")
                self._replace(db, after)
        return after

    def rows(self, *states: State) -> list[Rental]:
        """The rentals in these states, or all, oldest first."""
        with self._transaction() as db:
            return [row for row in self._rows(db) if not states or row.state in states]

    def _rows(self, db: sqlite3.Connection) -> list[Rental]:
        found = db.execute("select row from rentals where account = ? order by rowid", (self.account,))
        return [Rental(**orjson.loads(row)) for (row,) in found.fetchall()]

    def _replace(self, db: sqlite3.Connection, row: Rental) -> None:
        values = (row.name, row.state, _stored(row), row.token)
        db.execute("update rentals set name = ?, state = ?, row = ? where token = ?", values)

    def _insert(self, db: sqlite3.Connection, rental: Rental) -> None:
        values = (self.account, rental.token, rental.name, rental.state, _stored(rental))
        db.execute("insert into rentals values (?, ?, ?, ?, ?)", values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when it ends."""
        with (
            self._lock,
            usable(self.path, what=_WHAT, hint="vastnb rents nothing without it: make room, or mend its permissions"),
            closing(open_state(self.path, what=_WHAT, schema=_SCHEMA, tables=_TABLE)) as db,
            transaction(db),
        ):
            yield db


def _stored(rental: Rental) -> str:
    return orjson.dumps(rental, option=orjson.OPT_SERIALIZE_NUMPY).decode()  # a bid taken from a frame
