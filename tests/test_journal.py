"""The record of what was bought: durable, one living machine a name, safe among kernels."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from vastnb.errors import BudgetError, NameTakenError, NewerStateError, StateError
from vastnb.services.journal import Journal, Rental

NOW = 1_780_000_000.0


def rental(number: int = 1, name: str = "", **more: object) -> Rental:
    token = f"vnb-{number:016x}"
    return Rental(token=token, label=token, offer_id=900_000_000 + number, sent_at=NOW, name=name, **more)  # type: ignore[arg-type]


def passes(_rows: Sequence[Rental]) -> None:
    """No cap."""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "journal.sqlite", "an account")


def test_a_row_is_on_disk_before_anything_is_sent_and_comes_back_as_it_was(journal: Journal) -> None:
    row = rental(name="lora", spec={"image": "a:1"}, terms={"max_usd": 2.5}, usd_per_hour=0.4, ends_at=NOW + 60)
    with journal.intent(row, passes):
        again = Journal(journal.path, journal.account)
        assert again.rows() == [row]
        assert again.rows()[0].is_in_flight
    assert not journal.rows()[0].is_in_flight


def test_the_file_and_its_folder_are_private(journal: Journal) -> None:
    with journal.intent(rental(), passes):
        pass

    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_what_a_cap_refuses_is_not_written(journal: Journal) -> None:
    def refuses(_rows: Sequence[Rental]) -> None:
        raise BudgetError("too dear")

    with pytest.raises(BudgetError), journal.intent(rental(), refuses):
        pass

    assert journal.rows() == []


def test_the_check_sees_what_may_cost_and_only_that(journal: Journal) -> None:
    for number, state in enumerate(("created", "refused", "absent", "ended", "unknown"), 1):
        with journal.intent(rental(number), passes):
            journal.update(rental(number).token, state=state)
    seen: list[str] = []

    with journal.intent(rental(9), lambda rows: seen.extend(row.state for row in rows)):
        pass

    assert seen == ["created", "unknown"]


def test_two_kernels_cannot_begin_one_name(journal: Journal) -> None:
    with journal.intent(rental(1, "lora"), passes):
        with pytest.raises(NameTakenError), journal.intent(rental(2, "lora"), passes):
            pass
        with journal.intent(rental(3), passes), journal.intent(rental(4), passes):
            pass
    journal.update(rental(1).token, state="ended")

    with journal.intent(rental(5, "lora"), passes):
        pass
    assert [row.name for row in journal.rows()] == ["lora", "", "", "lora"]


def test_a_machine_that_turns_up_after_its_name_was_given_on_is_kept_without_it(journal: Journal) -> None:
    with journal.intent(rental(1, "lora"), passes):
        journal.update(rental(1).token, state="absent")
    with journal.intent(rental(2, "lora"), passes):
        journal.update(rental(2).token, state="created", instance_id=2)

    late = journal.update(rental(1).token, state="created", instance_id=1)

    assert (late.name, late.instance_id) == ("", 1)


def test_accounts_share_the_file_and_nothing_else(journal: Journal) -> None:
    other = Journal(journal.path, "another")
    with journal.intent(rental(1, "lora"), passes), other.intent(rental(2, "lora"), passes):
        pass

    assert [row.token for row in journal.rows()] == [rental(1).token]
    assert [row.token for row in other.rows()] == [rental(2).token]


def test_of_many_threads_one_begins_a_name(journal: Journal) -> None:
    begun, refused, start = [], [], threading.Barrier(8)

    def begin(number: int) -> None:
        start.wait()
        try:
            with journal.intent(rental(number, "lora"), passes):
                begun.append(number)
        except NameTakenError:
            refused.append(number)

    threads = [threading.Thread(target=begin, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(begun), len(refused)) == (1, 7)


def test_the_row_of_a_dead_process_is_not_under_way(journal: Journal) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    with journal.intent(rental(1, pid=int(done.stdout)), passes), journal.intent(rental(2, pid=os.getppid()), passes):
        pass
    with (
        journal.intent(rental(3, host="another computer"), passes),
        journal.intent(rental(4, written_at=NOW - 1e6), passes),
    ):
        dead, parent, elsewhere, old = journal.rows()

    assert [row.is_in_flight for row in (dead, parent, elsewhere, old)] == [False, True, True, False]


@pytest.mark.parametrize("place", ["folder", "garbage"])
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(journal: Journal, place: str) -> None:
    journal.path.parent.mkdir()
    if place == "folder":
        journal.path.mkdir()
    else:
        journal.path.write_bytes(b"no database " * 100)

    with pytest.raises(StateError, match=r"journal\.sqlite"), journal.intent(rental(), passes):
        pass


def test_a_full_disk_is_an_error_and_writes_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    with journal.intent(rental(1), passes):
        pass
    connect = sqlite3.connect

    def full(*args: object, **options: object) -> sqlite3.Connection:
        db = connect(*args, **options)  # type: ignore[call-overload]
        db.execute(f"pragma max_page_count = {db.execute('pragma page_count').fetchone()[0]}")
        return db  # type: ignore[no-any-return]

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(StateError, match="full"), journal.intent(rental(2, spec={"image": "x" * 100_000}), passes):
        pass

    monkeypatch.undo()
    assert len(journal.rows()) == 1


def test_a_newer_file_is_left_alone(journal: Journal) -> None:
    with journal.intent(rental(), passes):
        pass
    db = sqlite3.connect(journal.path)
    db.execute("pragma user_version = 99")
    db.close()

    with pytest.raises(NewerStateError):
        journal.rows()
