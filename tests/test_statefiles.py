"""Files of state: made by many at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vastnb.infra.statefiles import open_state, transaction, usable

TABLES = "create table if not exists seen (name text primary key); pragma user_version = 1;"


FILES = 20


def see(folder: Path, gate: threading.Barrier, write_ahead: bool) -> None:
    for number in range(FILES):
        path = folder / f"{number}.sqlite"
        gate.wait(30)
        with usable(path, what="it", hint=""):
            db = open_state(path, what="it", schema=1, tables=TABLES, write_ahead=write_ahead)
            with transaction(db):
                db.execute("insert into seen values (?)", (threading.current_thread().name,))
            db.close()


@pytest.mark.parametrize("write_ahead", [False, True])
def test_those_who_make_it_at_the_same_moment_all_write(tmp_path: Path, write_ahead: bool) -> None:
    folder, gate = tmp_path / "folder", threading.Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(see, folder, gate, write_ahead) for _ in range(4)]:
            done.result()

    for number in range(FILES):
        path = folder / f"{number}.sqlite"
        db = open_state(path, what="it", schema=1, tables=TABLES, write_ahead=write_ahead)
        assert db.execute("select count(*) from seen").fetchone() == (4,)
        assert db.execute("pragma journal_mode").fetchone() == ("wal" if write_ahead else "delete",)
        db.close()
        assert path.stat().st_mode & 0o777 == 0o600


def test_who_reads_while_another_opens_it_keeps_that_one_from_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    reader = open_state(path, what="it", schema=1, tables=TABLES)
    reader.execute("begin")
    reader.execute("select * from seen").fetchall()

    opened = open_state(path, what="it", schema=1, tables=TABLES, write_ahead=True)

    reader.execute("commit")
    with transaction(opened):
        opened.execute("insert into seen values ('it')")
    assert reader.execute("select name from seen").fetchall() == [("it",)]
    opened.close()
    reader.close()
