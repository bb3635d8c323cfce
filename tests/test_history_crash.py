"""A killed kernel, a full disk, several writers, torn files: what was written down is there, once, and the next run repairs the rest."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from vastnb import errors
from vastnb.services.history import spool
from vastnb.services.history.packing import pack
from vastnb.services.history.store import FORMAT_KEY, Store, arrow_schema, packing
from vastnb.services.history.window import Window
from vastnb.vast.types.frames import offers_frame

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2026, 6, 1, tzinfo=UTC)
WRITER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_history_crash import answers, store_in
from vastnb.services.history import spool
from vastnb.services.history.packing import pack
store, first = store_in(sys.argv[1]), int(sys.argv[2])
for number, seen in enumerate(answers(first, 10_000), first):
    spool.put(store, [seen])
    print(number, seen.snapshot.snapshot, flush=True)
    if number % 8 == 7:
        pack(store, today=number % 16 == 15)
"""


def store_in(folder: Path | str) -> Store:
    return Store(Path(folder) / "history", str(Path(folder) / "history"))


def answers(first: int, count: int, *, offers: int = 120) -> Iterator[spool.Seen]:
    """Answers two hours apart, each with other prices."""
    for number in range(first, first + count):
        at = START + timedelta(hours=2 * number)
        rows = [
            {"id": n, "machine_id": n // 3, "gpu_name": "RTX 4090", "gpu_ram": 24564, "num_gpus": 1,
             "dph_total": 0.3 + n / 1000 + number / 1e6, "dph_base": 0.3}
            for n in range(offers)
        ]  # fmt: skip
        frame = offers_frame(rows, rental="on-demand", seen_at=at)
        yield spool.snapshot_of(frame, seen_at=at, holds="whole", models="RTX 4090", body=f'{{"n":{number}}}')


def rows_of(store: Store) -> dict[int, int]:
    """Rows of each answer, as a reader finds them."""
    from vastnb.services.history.figures import database

    with database() as db:
        Window.of(store, EPOCH).offers(db)
        return dict(db.sql("select snapshot, count(*) from offers group by all").fetchall())


def is_repaired(store: Store) -> bool:
    """After a run that was not killed: everything packed once, no leftovers."""
    pack(store, today=True)
    dataset = store.dataset()
    days = [pq.read_table(path, columns=["snapshot", "offer_id"]) for _, path in dataset.files("offers")]
    seen = [pair for day in days for pair in zip(*(column.to_pylist() for column in day.columns), strict=True)]
    left = [
        path
        for path in store.folder.rglob("*")
        if path.is_file() and ("spool" in path.parts or ".writing" in path.parts)
    ]
    return len(seen) == len(set(seen)) and left == []


def killed(folder: Path, chance: random.Random, rounds: int) -> None:
    store, said = store_in(folder), dict[int, int]()
    for _ in range(rounds):
        command = [sys.executable, "-c", WRITER, str(folder), str(max(said, default=-1) + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            with suppress(subprocess.TimeoutExpired):
                writer.wait(timeout=chance.uniform(0, 0.6))
            writer.send_signal(signal.SIGKILL)
            lines = [line.split() for line in (first + writer.stdout.read()).splitlines() if line.count(" ")]
        said.update((int(number), int(snapshot)) for number, snapshot in lines)
        found = rows_of(store)
        assert set(said.values()) <= set(found)
        assert set(found.values()) == {120}
        assert len(found) <= len(said) + rounds  # what was written and not yet said
    assert is_repaired(store)
    assert set(said.values()) <= set(rows_of(store))


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_while_writing_or_packing_nothing_that_was_said_is_lost_or_doubled(tmp_path: Path) -> None:
    killed(tmp_path, random.Random(20), 20)


@pytest.mark.campaign
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_two_hundred_times_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    for seed in range(10):
        killed(tmp_path / str(seed), random.Random(seed), 20)


# ---------------------------------------------------------------- every point of packing


class Dead(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("step", range(6))
def test_packing_that_ends_at_any_of_its_writes_is_done_again_by_the_next(tmp_path: Path, step: int) -> None:
    """Six writes: three new files under another name, and three that take their place."""
    store = store_in(tmp_path)
    spool.put(store, answers(0, 3))
    pack(store, today=True)
    spool.put(store, answers(3, 3))
    spool.close(store)
    before = rows_of(store)
    left = [step]

    def dying(event: str, args: tuple[Any, ...]) -> None:
        """An audit hook sees each opening and renaming."""
        writes = event == "os.rename" or (event == "open" and ".writing" in str(args[0]))
        if writes and str(tmp_path) in str(args[0]) and left:
            if left[0] == 0:
                left.clear()
                raise Dead
            left[0] -= 1

    with auditing(dying), pytest.raises(Dead):
        pack(store, today=True)

    assert rows_of(store) == before
    assert is_repaired(store)
    assert rows_of(store) == before


_hooks: list[Any] = []


class auditing:  # noqa: N801
    """A hook on what Python does, for a while; the interpreter keeps hooks for ever, so there is one."""

    def __init__(self, hook: Any) -> None:
        self.hook = hook

    def __enter__(self) -> None:
        if not _hooks:
            sys.addaudithook(lambda event, args: [hook(event, args) for hook in _hooks[1:]] and None)
            _hooks.append(None)
        _hooks.append(self.hook)

    def __exit__(self, *exc: object) -> None:
        _hooks.remove(self.hook)


# ---------------------------------------------------------------- writers


def test_writers_of_several_processes_and_threads_do_not_disturb_each_other_nor_packing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    program = WRITER.replace("10_000", "40")
    others = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(first)], stdout=subprocess.DEVNULL) for first in (0, 1000)]  # fmt: skip
    threads = [
        threading.Thread(target=lambda first=first: spool.put(store, answers(first, 20))) for first in (2000, 3000)
    ]
    for thread in threads:
        thread.start()
    while any(other.poll() is None for other in others):
        pack(store)
    for thread in threads:
        thread.join()

    assert [other.returncode for other in others] == [0, 0]
    assert len(rows_of(store)) == 120
    assert is_repaired(store)
    assert len(rows_of(store)) == 120


def test_one_at_a_time_packs(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    spool.put(store, answers(0, 3))

    with packing(store) as first:
        assert first
        assert pack(store, today=True) == []
    assert pack(store, today=True) == ["2026-06-01"]


def test_a_stream_that_is_still_written_stays_and_counts_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    spool.put(store, answers(0, 3))
    spool.close(store)
    (path,) = spool.streams(store, "2026-06-01")
    content = path.read_bytes()
    living = path.with_name(f"{path.name.split('.')[0]}.{os.getppid()}.00.arrows")
    living.write_bytes(content[:-8])  # not ended, and its process lives
    path.unlink()

    for _ in range(2):
        pack(store, today=True)

    assert living.exists()
    assert len(rows_of(store)) == 3


# ---------------------------------------------------------------- torn and full


def test_a_stream_torn_anywhere_gives_its_whole_answers(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    spool.put(store, answers(0, 3, offers=5))
    spool.close(store)
    (path,) = spool.streams(store, "2026-06-01")
    content = path.read_bytes()
    found = []
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        found.append(len(spool.read([path])))

    assert found == sorted(found)
    assert set(found) == {0, 1, 2, 3}


def test_a_full_disk_takes_back_the_piece_and_the_next_answer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    spool.put(store, answers(0, 1))
    write, room = os.write, [5000]

    def full(fd: int, piece: Any) -> int:
        room[0] -= len(piece)
        if room[0] <= 0:
            write(fd, bytes(piece[:100]))
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, piece)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.StateError, match="No space left"):
        spool.put(store, answers(1, 1))
    monkeypatch.undo()
    assert len(rows_of(store)) == 1

    spool.put(store, answers(2, 1))
    assert len(rows_of(store)) == 2


@pytest.mark.skipif(os.name == "nt", reason="no limit on the size of files")
def test_a_disk_that_is_full_for_packing_keeps_the_streams(tmp_path: Path) -> None:
    import resource

    store = store_in(tmp_path)
    spool.put(store, answers(0, 3))
    before = rows_of(store)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))  # a write beyond that fails like one to a full disk
    try:
        with pytest.raises(errors.StateError, match="cannot be written"):
            pack(store, today=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    assert rows_of(store) == before
    assert is_repaired(store)
    assert rows_of(store) == before


def test_files_of_a_newer_vastnb_are_named_and_left(tmp_path: Path) -> None:
    import pyarrow as pa

    store = store_in(tmp_path)
    spool.put(store, answers(0, 3))
    pack(store, today=True)
    ((_, path),) = store.dataset().files("offers")
    newer = pq.read_table(path).replace_schema_metadata({FORMAT_KEY: b"99"})
    pq.write_table(newer, path)
    spool.put(store, answers(3, 1))

    with pytest.raises(errors.NewerStateError, match="99"):
        pack(store, today=True)
    assert pq.read_table(path).equals(newer)
    stream = store.spool / "2026-06-01" / "other.1.ab.arrows"
    with pa.ipc.new_stream(stream, arrow_schema("observations").with_metadata({FORMAT_KEY: b"99"})):
        pass
    with pytest.raises(errors.NewerStateError, match="99"):
        spool.read([stream])


def test_the_oldest_days_make_room_and_their_figures_stay(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    spool.put(store, answers(0, 60))
    small = Store(store.folder, store.url, max_bytes=20_000)

    pack(small, today=True)

    days = [date for date, _ in store.dataset().files("offers")]
    assert 1 <= len(days) < 5
    assert days[-1] == "2026-06-05"
    assert len(Window.of(store, EPOCH).figures("day", "true", [])) == 5


def test_streams_that_nobody_packs_make_room_too(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    small = Store(store.folder, store.url, max_bytes=60_000)

    for date in range(6):
        spool.put(small, answers(12 * date, 6))

    left = spool.dates(store)
    assert left[-1] == "2026-06-06"
    assert 1 < len([date for date in left if spool.streams(store, date)]) < 6
