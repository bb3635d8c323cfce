"""Files of state: made by many at the same moment."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from vastnb.infra.statefiles import open_state, transaction, usable

TABLES = "create table if not exists seen (name text primary key); pragma user_version = 1;"


def see(path: Path, gate: object, write_ahead: bool) -> None:
    gate.wait()  # type: ignore[attr-defined]
    for number in range(5):
        with usable(path, what="it", hint=""):
            db = open_state(path, what="it", schema=1, tables=TABLES, write_ahead=write_ahead)
            with transaction(db):
                db.execute("insert into seen values (?)", (f"{multiprocessing.current_process().pid} {number}",))
            db.close()


@pytest.mark.parametrize("write_ahead", [False, True])
def test_processes_that_make_it_at_the_same_moment_all_write(tmp_path: Path, write_ahead: bool) -> None:
    start = multiprocessing.get_context("spawn")
    gate = start.Barrier(6)
    path = tmp_path / "folder" / "state.sqlite"
    processes = [start.Process(target=see, args=(path, gate, write_ahead)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)

    assert [process.exitcode for process in processes] == [0] * 6
    db = open_state(path, what="it", schema=1, tables=TABLES, write_ahead=write_ahead)
    assert db.execute("select count(*) from seen").fetchone() == (30,)
    assert db.execute("pragma journal_mode").fetchone() == ("wal" if write_ahead else "delete",)
    db.close()
    assert path.stat().st_mode & 0o777 == 0o600
