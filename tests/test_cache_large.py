"""Long answers are files of their own beside the SQLite file: whole or not there, private, and held to the same size."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from test_cache import World, told

from vastnb.infra._httpx import httpx
from vastnb.infra.cache import Entry, Store
from vastnb.infra.cache.large import WORTH_A_FILE, LargeEntries
from vastnb.infra.cache.local import open_local

LONG = b'{"offers": ["' + b"x" * WORTH_A_FILE + b'"]}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "c" / "http.sqlite"


def long_answers(file: Path) -> list[Path]:
    return sorted(file.with_name("http.sqlite.large").glob("*"))


def kept(store: Store, key: str, body: bytes, *, age_s: float = 0.0, keep_s: float = 600.0) -> None:
    store.save(key, Entry(200, (("etag", "x"),), body, time.time() - age_s), keep_s=keep_s, url="http://127.0.0.1/")


def found(store: Store, key: str) -> bytes | None:
    entry = store.load(key)
    return None if entry is None else entry.body


def answered(world: World, body: bytes) -> httpx.Response:
    world.service.answer = httpx.Response(200, content=body)
    return world.ask()


def test_a_long_answer_is_a_private_file_that_the_next_kernel_finds(file: Path) -> None:
    before = os.umask(0)
    try:
        answered(World(open_local(file)), LONG)
    finally:
        os.umask(before)

    next_kernel = World(open_local(file))
    again = next_kernel.ask()

    [path] = long_answers(file)
    assert (again.content == LONG, told(again)[1], next_kernel.service.asked) == (True, True, 0)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert file.stat().st_size < 100_000


def test_what_is_told_of_the_store_counts_long_entries(file: Path) -> None:
    store = Store(open_local(file))
    kept(store, "long", LONG, age_s=60)
    kept(store, "short", b"{}")

    info = store.info()

    assert (info.entries, len(store.backend.responses), sorted(store.backend.responses)) == (2, 2, ["long", "short"])
    assert info.size_bytes is not None
    assert info.oldest is not None
    assert info.newest is not None
    assert info.size_bytes > len(LONG)
    assert 59 < (info.newest - info.oldest).total_seconds() < 62


def test_an_answer_that_became_short_or_long_is_there_once(file: Path) -> None:
    store = Store(open_local(file))
    seen = []
    for body in (LONG, b"{}", LONG + b" ", LONG):
        kept(store, "k", body)
        seen.append((found(store, "k") == body, len(store.backend.responses), len(long_answers(file))))

    assert seen == [(True, 1, 1), (True, 1, 0), (True, 1, 1), (True, 1, 1)]


@pytest.mark.parametrize("how", ["drop", "clear"])
def test_long_answers_are_forgotten_with_the_others(file: Path, how: str) -> None:
    store = Store(open_local(file))
    for key in ("v1-me-offers-1", "v1-me-catalogue-2"):
        kept(store, key, LONG)

    store.drop("v1-me-offers-") if how == "drop" else store.clear()

    assert found(store, "v1-me-offers-1") is None
    assert len(long_answers(file)) == len(store.backend.responses) == (1 if how == "drop" else 0)


class Bomb:
    """Would make a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def spoilt(whole: bytes, how: str, trap: Path) -> bytes:
    return {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "garbage": os.urandom(len(whole)),
        "pickled": pickle.dumps(Bomb(trap)),
        "of another version": b"VNB9" + whole[4:],
        "of another key": whole.replace(b"-offers-", b"-OFFERS-", 1),
    }[how]


@pytest.mark.parametrize("how", ["cut", "empty", "garbage", "pickled", "of another version", "of another key"])
def test_a_spoilt_long_answer_is_a_miss_with_one_warning_and_is_usable_again(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    world = World(open_local(file))
    answered(world, LONG)
    [path] = long_answers(file)
    path.write_bytes(spoilt(path.read_bytes(), how, tmp_path / "ran"))

    answers = [told(world.ask())[1] for _ in range(2)]

    assert answers == [False, True]
    assert [record.levelname for record in caplog.records if record.name == "vastnb.cache"] == ["WARNING"]
    assert not (tmp_path / "ran").exists()


def test_long_answers_are_held_to_the_size_of_the_cache_the_oldest_go_first(file: Path) -> None:
    store = Store(open_local(file, max_mb=5))
    kept(store, "over", LONG, age_s=1, keep_s=0.5)
    sizes = []
    for number in range(30):
        kept(store, f"k{number:02}", LONG, age_s=30 - number)
        sizes.append(sum(path.stat().st_size for path in long_answers(file)))

    names = sorted(store.backend.responses)
    assert names == [f"k{number:02}" for number in range(30 - len(names), 30)]
    assert max(sizes) < 6_000_000


def test_what_a_killed_kernel_left_half_written_goes_after_a_minute(file: Path) -> None:
    store = Store(open_local(file))
    kept(store, "k", LONG)
    left = [file.with_name("http.sqlite.large") / f".{name}.entry" for name in ("old", "new")]
    for path in left:
        path.write_bytes(b"half")
    os.utime(left[0], (time.time() - 61,) * 2)

    for number in range(50):
        kept(store, f"short {number}", b"{}")

    assert [path.exists() for path in left] == [False, True]
    assert len(store.backend.responses) == 51


def test_where_no_file_can_be_made_a_long_answer_is_a_miss_and_short_ones_are_kept(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(open_local(file))
    file.with_name("http.sqlite.large").write_text("in the way")

    statuses = [answered(world, LONG).status_code for _ in range(2)]
    world.now += 1
    answered(world, b'{"offers": [1]}')

    assert (statuses, told(world.ask())[:2]) == ([200, 200], ([1], True))
    assert [record.getMessage().split()[0] for record in caplog.records] == ["writing"]


def test_a_writer_that_is_killed_ever_again_leaves_whole_answers(file: Path) -> None:
    program = f"""
import os, pathlib, random, time, zlib
from vastnb.infra.cache import Entry, Store
from vastnb.infra.cache.local import open_local
store = Store(open_local(pathlib.Path({str(file)!r})))
print("ready", flush=True)
while True:
    body = random.randbytes(random.randrange(1000, 3_000_000))
    store.save(f"k{{random.randrange(4)}}", Entry(200, (("x-sum", str(zlib.crc32(body))),), body, time.time()), keep_s=600, url="u")
"""
    for number in range(4):
        writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        until = time.monotonic() + 0.1 + 0.05 * number
        store, seen = Store(open_local(file)), 0
        while time.monotonic() < until or not seen:
            for key in list(store.backend.responses):
                entry = store.load(key)
                seen += entry is not None
                assert entry is None or zlib.crc32(entry.body) == int(dict(entry.headers)["x-sum"])
        writer.kill()
        writer.wait(10)
        writer.stdout.close()
        store.close()

    assert all(store.load(key) for key in store.backend.responses)


def test_names_of_files_hold_any_key(tmp_path: Path) -> None:
    large = LargeEntries(tmp_path / "d" / "c")
    keys = ["v1-a-offers-0f", "../up", "a/b\\c", "ü %2F", "young, but over"]
    for key in keys:
        large.put(key, [key.encode(), b"!"])

    assert [large.get(key) for key in keys] == [key.encode() + b"!" for key in keys]
    assert sorted(large.keys()) == sorted(keys)
    assert {path.parent for path in tmp_path.rglob("*.entry")} == {tmp_path / "d" / "c.large"}
