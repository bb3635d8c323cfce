"""The durable queue: events, what each handler has done with them, and notes that change together with them."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from vastnb.infra.processes import is_gone, new_mark
from vastnb.infra.statefiles import open_state, transaction, usable

if TYPE_CHECKING:
    from vastnb.vast.client import Client

__all__ = ["Claim", "Event", "Handler", "Queue", "queue_of"]

_SCHEMA = 1
_WHAT = "the record of events"
_CLAIM_S = 3600.0
"""A handler that takes longer is taken for dead: a process number may have been given out again."""
_FORGOTTEN_S = 7 * 86_400.0
"""A handler that no kernel registered for so long is not waited for."""
_KEPT = 100_000
"""Events that are kept; of more, the oldest go."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the account or one of its machines."""

    id: str
    """The same event never comes twice: later ones of this id are dropped."""
    kind: str
    """Like ``instance.outbid`` or ``account.low_credit``."""
    subject: str
    """The number of the machine; empty if it is about the account, or if the service did not say."""
    at: datetime
    """When, by the service's clock."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What else is known; JSON."""


Handler = Callable[[Event], object]


class Claim(NamedTuple):
    """An event that a handler is about to deal with, and for the how manieth time."""

    number: int
    event: Event
    tries: int


class _Open(NamedTuple):
    """An event that a handler has not dealt with, and how far it is; `due`: since when it is claimed, or when it may be tried."""

    number: int
    id: str
    kind: str
    subject: str
    at: float
    data: str
    tries: int
    state: str | None
    owner: str
    due: float

    def event(self) -> Event:
        """As it was published."""
        return Event(self.id, self.kind, self.subject, datetime.fromtimestamp(self.at, UTC), orjson.loads(self.data))


_TABLES = f"""
create table if not exists events (
  number integer primary key autoincrement, account text not null, id text not null, kind text not null, subject text not null,
  at real not null, data text not null, source text not null, received_at real not null, unique (account, id));
create table if not exists subscriptions (
  account text not null, handler text not null, kinds text not null, after_number integer not null, seen_at real not null,
  primary key (account, handler, kinds));
create table if not exists deliveries (
  number integer not null, handler text not null, state text not null, tries integer not null, due real not null,
  owner text not null, reason text not null, primary key (number, handler)) without rowid;
create table if not exists notes (
  account text not null, name text not null, value text not null, revision integer not null, primary key (account, name));
pragma user_version = {_SCHEMA};
"""
_OPEN = """
select e.number, e.id, e.kind, e.subject, e.at, e.data, coalesce(d.tries, 0), d.state, d.owner, d.due
from events e join subscriptions s on s.account = e.account and s.handler = :handler and s.kinds = :kinds
left join deliveries d on d.number = e.number and d.handler = :handler
where e.account = :account and e.number > s.after_number and ({matching}) and coalesce(d.state, '') not in ('done', 'dead')
order by e.number
"""


class Queue:
    """The events of one account, in a file that all processes of the user share.

    Parameters
    ----------
    path
        The file; it is made, readable by its owner only, when it is first needed.
    account
        An `identity`: several accounts may share the file.
    clock
        This computer's clock, seconds since 1970.

    Raises
    ------
    StateError
        From each method: the file cannot be used.
    """

    def __init__(self, path: Path, account: str, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self.account, self.clock = path, account, clock
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._me = new_mark()
        self._mine: set[tuple[int, str]] = set()

    def add(self, events: Iterable[Event], *, source: str, note: tuple[str, str, int] | None = None) -> list[Event]:
        """Write events to disk; those that are new.

        Parameters
        ----------
        events
            Those whose id is known already are dropped.
        source
            Who says so: ``webhook``, ``watcher`` or ``user``.
        note
            A name, a text and the revision of the note that it replaces, in the same transaction: if that is no longer the
            revision, nothing is written at all.
        """
        with self._transaction(durable=True) as db:
            if note is not None and not self._replace_note(db, *note):
                return []
            new = [event for event in events if self._insert(db, event, source)]
            if new:
                db.execute("delete from events where number <= (select max(number) from events) - ?", (_KEPT,))
                db.execute("delete from deliveries where number < (select min(number) from events)")
        return new

    def note(self, name: str) -> tuple[str, int]:
        """What is noted under a name, empty if nothing, and its revision."""
        with self._transaction() as db:
            return self._note(db, name)

    def exchange(self, name: str, change: Callable[[str], str]) -> str:
        """Replace what is noted under a name by what `change` makes of it, in one transaction; the new text."""
        with self._transaction() as db:
            before, revision = self._note(db, name)
            value = change(before)
            self._replace_note(db, name, value, revision)
        return value

    def subscribe(self, handler: str, kinds: Sequence[str]) -> None:
        """Let a handler of this name see what is written from now on; one that is known goes on where it was."""
        sql = """insert into subscriptions values (:account, :handler, :kinds,
                   coalesce((select min(after_number) from subscriptions where account = :account and handler = :handler),
                            (select max(number) from events), 0), :now)
                 on conflict do update set seen_at = excluded.seen_at"""
        with self._transaction(durable=True) as db:
            db.execute(sql, {**self._key(handler, kinds), "now": self.clock()})

    def claim(self, handler: str, kinds: Sequence[str]) -> Claim | None:
        """The oldest event that this handler has still to deal with, now its caller's; None if there is none."""
        with self._transaction() as db:
            rows = self._open(db, handler, kinds)
            if not rows:
                self._move_on(db, handler, kinds)
            now = self.clock()
            free = next((row for row in rows if self._is_free(row, handler, now)), None)
            if free is None:
                return None
            self._set(db, (free.number, handler), state="claimed", tries=free.tries + 1, due=now)
            self._mine.add((free.number, handler))
        return Claim(free.number, free.event(), free.tries + 1)

    def settle(self, claim: Claim, handler: str, *, failed: str = "", pause_s: float | None = None) -> None:
        """Note how it went: done; or why not, and after how long it is tried again, None for never."""
        state = "done" if not failed else "dead" if pause_s is None else "again"
        with self._transaction() as db:
            due = self.clock() + (pause_s or 0.0)
            self._set(db, (claim.number, handler), state=state, tries=claim.tries, due=due, reason=failed)
        self._mine.discard((claim.number, handler))

    def depth(self, handler: str | None = None) -> int:
        """How many events are still to be dealt with, by one handler or by all that were registered in the last days."""
        sql = "select handler, kinds from subscriptions where account = ?1 and ?2 in (handler, '') and seen_at > ?3"
        with self._transaction() as db:
            found = db.execute(sql, (self.account, handler or "", self.clock() - _FORGOTTEN_S)).fetchall()
            return len({(name, row.number) for name, kinds in found for row in self._open(db, name, kinds.split("\n"))})

    def rows(self, kind: str = "*", subject: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """The newest events, newest first, with what became of them."""
        sql = """select number, id, kind, subject, at, data, source, received_at from events
                 where account = ? and kind glob ? and (? is null or subject = ?) order by number desc limit ?"""
        names = ("number", "event_id", "kind", "subject", "at", "data", "source", "received_at")
        with self._transaction() as db:
            found = db.execute(sql, (self.account, kind, subject, subject, limit)).fetchall()
            rows = [dict(zip(names, row, strict=True)) for row in found]
            for row in rows:
                sql = "select handler, state, tries, reason from deliveries where number = ? order by handler"
                row["deliveries"] = db.execute(sql, (row["number"],)).fetchall()
        return rows

    def close(self) -> None:
        """Close the file. A later call opens it again."""
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def _insert(self, db: sqlite3.Connection, event: Event, source: str) -> bool:
        data = orjson.dumps(dict(event.data), default=str).decode()
        values = (self.account, event.id, event.kind, event.subject, event.at.timestamp(), data, source, self.clock())
        sql = "insert or ignore into events (account, id, kind, subject, at, data, source, received_at) values (?, ?, ?, ?, ?, ?, ?, ?)"
        return bool(db.execute(sql, values).rowcount)

    def _note(self, db: sqlite3.Connection, name: str) -> tuple[str, int]:
        found = db.execute("select value, revision from notes where account = ? and name = ?", (self.account, name))
        value, revision = found.fetchone() or ("", 0)
        return value, revision

    def _replace_note(self, db: sqlite3.Connection, name: str, value: str, revision: int) -> bool:
        if self._note(db, name)[1] != revision:
            return False
        db.execute("insert or replace into notes values (?, ?, ?, ?)", (self.account, name, value, revision + 1))
        return True

    def _key(self, handler: str, kinds: Sequence[str]) -> dict[str, Any]:
        return {"account": self.account, "handler": handler, "kinds": "\n".join(kinds)}

    def _open(self, db: sqlite3.Connection, handler: str, kinds: Sequence[str]) -> list[_Open]:
        """What a handler has not dealt with, oldest first."""
        matching = " or ".join(f"e.kind glob :kind{i}" for i in range(len(kinds)))
        given = {f"kind{i}": kind for i, kind in enumerate(kinds)} | self._key(handler, kinds)
        return [_Open(*row) for row in db.execute(_OPEN.format(matching=matching), given)]

    def _move_on(self, db: sqlite3.Connection, handler: str, kinds: Sequence[str]) -> None:
        """Look no more at what there is now: so looking stays quick."""
        sql = """update subscriptions set after_number = (select max(number) from events) where account = :account
                 and handler = :handler and kinds = :kinds and after_number < (select max(number) from events)"""
        db.execute(sql, self._key(handler, kinds))

    def _is_free(self, row: _Open, handler: str, now: float) -> bool:
        """Whether nobody is at it, and it is time for it."""
        if row.state == "claimed":
            return (row.number, handler) not in self._mine and (is_gone(row.owner) or now - row.due > _CLAIM_S)
        return row.state is None or row.due <= now

    def _set(
        self, db: sqlite3.Connection, key: tuple[int, str], *, state: str, tries: int, due: float, reason: str = ""
    ) -> None:
        values = (*key, state, tries, due, self._me, reason)
        db.execute("insert or replace into deliveries values (?, ?, ?, ?, ?, ?, ?)", values)

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when it ends if it is `durable`."""
        with self._lock, usable(self.path, what=_WHAT, hint="make room, or mend its permissions"):
            if self._db is None:
                self._db = open_state(self.path, what=_WHAT, schema=_SCHEMA, tables=_TABLES, write_ahead=True)
            # That a handler is done may be forgotten in a power cut (it is then told twice); an event may not.
            self._db.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
            with transaction(self._db) as db:
                yield db


def queue_of(client: Client) -> Queue:
    """The events of a client's account."""
    return Queue(client.state_folder / "events.sqlite", client.account)
