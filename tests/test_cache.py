"""The cache: one contract for every backend; a broken one is a miss, never an error and never a hang."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from requests_cache import FileCache

from vastnb.infra._httpx import httpx
from vastnb.infra.cache import CachingTransport, Entry, Store, StoreInfo, identity
from vastnb.infra.cache.codec import EntryCodec, serializer
from vastnb.infra.cache.keys import cache_key
from vastnb.infra.cache.local import open_local, open_memory
from vastnb.infra.cache.shared import open_shared
from vastnb.infra.calls import Answer, Call, Effect, Keep, answer_of

OFFERS = Call("search", Effect.READ, Keep.DISK, ttl_s=30, stale_if_error_s=600, tag="offers")
REFRESH = Call("search", Effect.READ, Keep.DISK, ttl_s=30, stale_if_error_s=600, tag="offers", refresh=True)
NOTHING_ELSE: dict[str, Any] = {}
SIGNING_KEY = "what the team signs with"


class Service(httpx.BaseTransport):
    """Counts, and answers what it was last told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: httpx.Response | Exception | None = None
        self.gate: threading.Event | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.gate is not None:
            assert self.gate.wait(5)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, json={"offers": [self.asked]})


class World:
    """A caching transport over a counting service, with clocks that are stepped."""

    def __init__(self, backend: Any, account: str = "me", service: Service | None = None) -> None:
        # A Redis drops by its own clock what is over: the time must be today's.
        self.now, self.ticks, self.service = float(int(time.time())), 0.0, service or Service()
        self.store = Store(backend, clock=lambda: self.ticks)
        self.cache = CachingTransport(
            self.service, account, disk=self.store, memory=Store(open_memory()), clock=lambda: self.now
        )

    def ask(self, body: Any = NOTHING_ELSE, call: Call = OFFERS, url: str = "http://127.0.0.1/s/") -> httpx.Response:
        return self.cache.handle_request(httpx.Request("POST", url, json=body, extensions={"vastnb": call}))


class RedisServer:
    """Debian's redis-server, on a free port of this computer, with nothing kept on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            why = "there is no redis-server (apt-get install redis-server)"
            pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
        arguments = [program, "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "no", *options]
        for _ in range(3):  # somebody else may take the free port first
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            self.process = subprocess.Popen([*arguments, "--port", str(self.port)], stdout=subprocess.PIPE, text=True)
            said: list[str] = []
            for line in iter(self.process.stdout.readline, ""):  # type: ignore[union-attr]
                said.append(line)
                if "Ready to accept connections" in line:
                    self.url = f"redis://127.0.0.1:{self.port}/0"
                    return
            self.close()
        pytest.fail(f"redis-server does not start: {''.join(said)}")

    def send(self, number: int) -> None:
        """Send the server a signal."""
        self.process.send_signal(number)

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def contents(self, **credentials: str) -> dict[bytes, bytes]:
        """All that it holds."""
        with Redis(port=self.port, **credentials) as client:
            return {key: client.get(key) for key in client.scan_iter()}

    def put(self, key: bytes, value: bytes) -> None:
        with Redis(port=self.port) as client:
            client.set(key, value)


@pytest.fixture(scope="session")
def _shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> RedisServer:
    """An empty Redis; shared, so tests that stop one start their own."""
    with Redis(port=_shared_redis.port) as client:
        client.flushall()
    return _shared_redis


@pytest.fixture(params=["sqlite", "memory", "redis", "files"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "sqlite":
        made: Any = open_local(tmp_path / "c" / "http.sqlite")
    elif request.param == "redis":
        server = request.getfixturevalue("redis_server")
        made = open_shared(SecretStr(server.url), SecretStr(SIGNING_KEY), "vastnb:me")
    else:
        made = (
            FileCache(tmp_path / "files", serializer=serializer(EntryCodec()))
            if request.param == "files"
            else open_memory()
        )
    yield made
    made.close()


@pytest.fixture
def world(backend: Any) -> Iterator[World]:
    made = World(backend)
    yield made
    made.cache.close()


def told(response: httpx.Response) -> tuple[Any, bool, bool]:
    answer = answer_of(response)
    return response.json()["offers"], answer.from_cache, answer.stale


# ---------------------------------------------------------------- the contract


def test_the_same_question_is_answered_from_the_cache(world: World) -> None:
    first, second = world.ask(), world.ask()

    assert (told(first), told(second)) == (([1], False, False), ([1], True, False))
    assert answer_of(second).fetched_at == world.now


def test_the_order_of_filters_means_nothing_and_the_order_of_sorting_does(world: World) -> None:
    world.ask({"num_gpus": {"gte": 1, "lte": 4}, "order": [["a", "asc"], ["b", "asc"]]})

    same = world.ask({"order": [["a", "asc"], ["b", "asc"]], "num_gpus": {"lte": 4, "gte": 1}})
    other = world.ask({"order": [["b", "asc"], ["a", "asc"]], "num_gpus": {"lte": 4, "gte": 1}})

    assert [told(r)[1] for r in (same, other)] == [True, False]


def test_an_answer_is_fresh_for_its_time_and_not_longer(world: World) -> None:
    world.ask()

    world.now += 29.9
    fresh = world.ask()
    world.now += 0.2
    again = world.ask()

    assert [told(r)[:2] for r in (fresh, again)] == [([1], True), ([2], False)]


def test_a_clock_that_went_back_makes_an_entry_old(world: World) -> None:
    world.ask()
    world.now -= 3600

    assert told(world.ask())[:2] == ([2], False)


def test_refresh_asks_and_keeps_the_new_answer(world: World) -> None:
    world.ask()

    refreshed, after = world.ask(call=REFRESH), world.ask()

    assert [told(r)[:2] for r in (refreshed, after)] == [([2], False), ([2], True)]


def test_two_accounts_never_share_an_answer(backend: Any) -> None:
    service = Service()
    mine, theirs = World(backend, identity("key a", "u"), service), World(backend, identity("key b", "u"), service)

    mine.ask()

    assert told(theirs.ask())[:2] == ([2], False)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={}),
        httpx.Response(200, json={"success": False}),
        httpx.Response(200, content=b'{"offers": ['),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b""),
        httpx.Response(404, json={"error": "auth_error"}),
        httpx.Response(200, content=b'{"offers": [' + b'{"id": 1}, ' * 9_999),
        httpx.Response(200, content=b'{"success" : false, "detail": [' + b"1, " * 99_999 + b"1]}"),
    ],
)
def test_what_is_no_good_answer_is_not_kept(world: World, answer: httpx.Response) -> None:
    world.service.answer = answer
    world.ask()
    world.service.answer = None

    assert told(world.ask())[1] is False


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("gone"), httpx.ReadTimeout("late"), httpx.Response(503), httpx.Response(429)]
)
def test_when_no_answer_comes_an_old_one_stands_in_and_says_so(world: World, failure: Any) -> None:
    world.ask()
    world.now += 300
    world.service.answer = failure

    response = world.ask()

    assert told(response) == ([1], True, True)
    assert world.now - answer_of(response).fetched_at == 300


def test_an_answer_that_is_too_old_does_not_stand_in(world: World) -> None:
    world.ask()
    world.now += 631
    world.service.answer = httpx.ConnectError("gone")

    with pytest.raises(httpx.ConnectError):
        world.ask()


def test_a_refusal_is_not_covered_by_an_old_answer(world: World) -> None:
    world.ask()
    world.now += 60
    world.service.answer = httpx.Response(404, json={"error": "auth_error"})

    assert world.ask().status_code == 404


def test_forgetting_a_tag_leaves_the_others(world: World) -> None:
    names = Call("names", Effect.READ, Keep.DISK, ttl_s=30, tag="catalogue")
    world.ask()
    world.ask(call=names)

    world.cache.invalidate("offers")

    assert [told(world.ask())[1], told(world.ask(call=names))[1]] == [False, True]


def test_an_answer_under_way_when_the_market_changed_is_not_kept(world: World) -> None:
    world.service.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(world.ask)
        while not world.service.asked:
            time.sleep(0)
        world.cache.invalidate("offers")
        world.service.gate.set()
        under_way.result()

    assert told(world.ask())[:2] == ([2], False)


def test_what_may_not_touch_a_disk_does_not(backend: Any) -> None:
    world = World(backend)
    account = Call("user", Effect.READ, Keep.MEMORY, ttl_s=2, tag="account")

    world.ask(call=account)

    assert told(world.ask(call=account))[1] is True
    assert len(backend.responses) == 0


@pytest.mark.parametrize("effect", [Effect.UNSAFE, Effect.IDEMPOTENT])
def test_a_call_with_an_effect_is_never_answered_from_a_cache(world: World, effect: Effect) -> None:
    call = Call("create", effect, Keep.DISK, ttl_s=30)

    assert [told(world.ask(call=call))[0] for _ in range(3)] == [[1], [2], [3]]


def test_the_store_tells_what_it_holds_and_how_often_it_helped(backend: Any) -> None:
    world = World(backend)
    empty = world.store.info()
    world.ask({"limit": 1})
    world.now += 7
    world.ask({"limit": 2})
    world.ask({"limit": 2})

    info = world.store.info()

    assert (empty.entries, empty.oldest, empty.newest) == (0, None, None)
    times = [datetime.fromtimestamp(moment, UTC) for moment in (world.now - 7, world.now)]
    assert (info.entries, info.oldest, info.newest) == (2, *times)
    assert info.size_bytes is not None
    assert info.size_bytes >= 2 * len(b'{"offers":[1]}')
    assert (world.store.hits, world.store.misses) == (1, 2)


def test_a_cleared_store_is_empty_and_is_usable_again(world: World) -> None:
    for number in range(5):
        world.ask({"limit": number})

    world.store.clear()

    assert world.store.info().entries == 0
    assert [told(world.ask({"limit": 1}))[1] for _ in range(2)] == [False, True]


def test_an_entry_that_was_copied_to_another_key_is_a_miss(world: World) -> None:
    world.ask({"limit": 1})
    world.ask({"limit": 2})
    responses = world.store.backend.responses
    one, other = sorted(responses)
    responses[one] = responses[other]

    assert sorted(told(world.ask({"limit": number}))[1] for number in (1, 2)) == [False, True]


def test_sixteen_threads_share_a_store(world: World) -> None:
    entry = Entry(200, (("etag", "x"),), b'{"offers": []}' * 99, world.now)

    def work(number: int) -> list[Entry | None]:
        for key in (f"k{number}", "k"):
            world.store.save(key, entry, keep_s=60, url="http://127.0.0.1/")
        return [world.store.load(f"k{number}"), world.store.load("k")]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(work, range(64)))

    assert found == [[entry, entry]] * 64


# ---------------------------------------------------------------- one flight


def gather(count: int, act: Callable[[], Any], world: World) -> list[Any]:
    """`count` threads in `act` at once; the service answers when all of them wait."""
    world.service.gate = threading.Event()
    inside = threading.Semaphore(0)

    def counted() -> Any:
        inside.release()
        return act()

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(counted) for _ in range(count)]
        for _ in range(count):
            inside.acquire()
        world.service.gate.set()
        return [f.exception() or f.result() for f in futures]


def test_twenty_callers_with_one_question_make_one_request(world: World) -> None:
    answers = gather(20, world.ask, world)

    assert world.service.asked == 1
    assert {tuple(r.json()["offers"]) for r in answers} == {(1,)}


def test_an_error_reaches_all_who_waited_for_it(world: World) -> None:
    world.service.answer = httpx.ConnectError("gone")

    errors = gather(5, world.ask, world)

    assert {type(e) for e in errors} == {httpx.ConnectError}


def test_a_ctrl_c_of_one_caller_does_not_interrupt_the_others(world: World) -> None:
    calls = iter([KeyboardInterrupt()])

    class Once(Service):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            for interrupt in calls:
                raise interrupt
            return super().handle_request(request)

    world.cache._inner = Once()

    with pytest.raises(KeyboardInterrupt):
        world.ask()
    assert told(world.ask())[0] == [1]


# ---------------------------------------------------------------- keys


def test_no_secret_is_part_of_a_key_or_an_entry(world: World, tmp_path: Path) -> None:
    secret = "SECRET0123456789"
    with_key = httpx.Request("GET", f"http://127.0.0.1/x?api_key={secret}&a=1")
    without = httpx.Request("GET", "http://127.0.0.1/x?a=1")

    world.ask(url=f"http://127.0.0.1/s/?api_key={secret}")

    assert cache_key(with_key, "me", "t") == cache_key(without, "me", "t")
    assert all(secret.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_parts_of_a_request_cannot_run_together() -> None:
    keys = {
        cache_key(httpx.Request(m, url, content=content), "me", "t")
        for m, url, content in [
            ("GET", "http://h/a", b"b"), ("GET", "http://h/ab", b""), ("POST", "http://h/a", b"b"),
            ("GET", "http://h/a?b=", b""), ("GET", "http://h:81/a", b"b"), ("GET", "https://h/a", b"b"),
        ]
    }  # fmt: skip

    assert len(keys) == 6


# ---------------------------------------------------------------- the file


def test_the_file_and_its_folder_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        World(open_local(tmp_path / "c" / "http.sqlite")).ask()
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "c").iterdir()}
    assert (modes, stat.S_IMODE((tmp_path / "c").stat().st_mode)) == ({0o600}, 0o700)


def test_a_second_process_finds_the_answers_of_the_first(tmp_path: Path) -> None:
    World(open_local(tmp_path / "http.sqlite")).ask()

    assert told(World(open_local(tmp_path / "http.sqlite")).ask())[1] is True


def spoil(path: Path, how: str) -> None:
    size = path.stat().st_size
    if how == "garbage":
        path.write_bytes(os.urandom(size))
    elif how == "cut in half":
        os.truncate(path, size // 2)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "scribbled":
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(size - 4096))
    elif how == "of another version":
        with sqlite3.connect(path) as connection:
            connection.execute("update responses set value = ?", (b"VNB9 something newer",))
        connection.close()
    elif how == "pickled":
        with sqlite3.connect(path) as connection:
            connection.execute("update responses set value = ?", (b"cos\nsystem\n(S'touch /tmp/never'\ntR.",))
        connection.close()


@pytest.mark.parametrize("how", ["garbage", "cut in half", "empty", "scribbled", "of another version", "pickled"])
def test_a_spoilt_file_is_a_miss_and_is_usable_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "http.sqlite"
    first = World(open_local(path))
    for number in range(30):
        first.ask({"limit": number})
    first.cache.close()
    spoil(path, how)

    world = World(open_local(path))

    assert [told(world.ask({"limit": n}))[1] for n in range(30)] == [False] * 30
    assert [told(world.ask({"limit": n}))[1] for n in range(30)] == [True] * 30


def test_a_folder_in_place_of_the_file_means_memory_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "http.sqlite").mkdir()

    world = World(open_local(tmp_path / "http.sqlite"))

    assert [told(world.ask())[1] for _ in range(2)] == [False, True]
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_a_place_where_no_folder_can_be_made_means_memory(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a file")

    world = World(open_local(tmp_path / "c" / "http.sqlite"))

    assert [told(world.ask())[1] for _ in range(2)] == [False, True]


def test_where_a_store_is_kept_is_told_and_stays_what_it_is_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "http.sqlite"
    file, memory = Store(open_local(path)), Store(open_memory())
    file.backend.responses.close()
    path.unlink()
    path.mkdir()

    assert file.info() == StoreInfo("sqlite", str(path))
    assert memory.info() == StoreInfo("memory", "this process", 0, 0)


def kept(store: Store, name: str, *, age_s: float, body: bytes, keep_s: float = 3600) -> None:
    store.save(name, Entry(200, (), body, time.time() - age_s), keep_s=keep_s, url="http://127.0.0.1/")


def test_a_file_that_is_too_large_loses_what_is_over_and_then_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "http.sqlite"
    first = Store(open_local(path))
    for number in range(40):
        kept(first, f"age {number:02}", age_s=number, body=bytes(50_000))
    kept(first, "young, but over", age_s=1, body=bytes(50_000), keep_s=0.5)
    first.close()
    store = Store(open_local(path, max_mb=1))

    kept(store, "new", age_s=0, body=bytes(50_000))

    names = sorted(store.backend.responses)
    assert names == [*(f"age {number:02}" for number in range(len(names) - 1)), "new"]
    assert 10 <= len(names) <= 16


def test_a_file_that_writes_fill_is_held_to_its_size(tmp_path: Path) -> None:
    path = tmp_path / "http.sqlite"
    store = Store(open_local(path, max_mb=1))

    for number in range(400):
        kept(store, f"k{number:03}", age_s=400 - number, body=os.urandom(60_000))

    names = sorted(store.backend.responses)
    assert names == [f"k{number:03}" for number in range(400 - len(names), 400)]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 12_000_000
    store.clear()
    assert path.stat().st_size < 100_000


def test_a_file_is_looked_at_once_in_fifty_small_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    store = Store(open_local(tmp_path / "http.sqlite"))
    monkeypatch.setattr(store.backend.responses, "_trim", lambda: looks.append(number))

    for number in range(120):
        kept(store, f"k{number}", age_s=0, body=b"{}")

    assert looks == [0, 50, 100]


class Failing:
    """A backend whose operations raise, and which counts them."""

    def __init__(self, error: Exception) -> None:
        self.error, self.tried = error, 0
        self.responses = self

    def _fail(self, *_: Any) -> Any:
        self.tried += 1
        raise self.error

    get = __setitem__ = __iter__ = bulk_delete = clear = close = _fail
    cache_name = "it"


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database is locked"), OSError("disk full"), ValueError("signature")]
)
def test_a_failing_backend_costs_nothing_but_misses_one_warning_and_three_tries(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Failing(error)
    now = [0.0]
    store = Store(backend, clock=lambda: now[0])  # type: ignore[arg-type]
    cache = CachingTransport(Service(), "me", disk=store, memory=Store(open_memory()))

    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            request = httpx.Request("POST", "http://127.0.0.1/", json={}, extensions={"vastnb": OFFERS})
            assert cache.handle_request(request).status_code == 200

    assert backend.tried == 6
    assert [r.getMessage().split()[0] for r in caplog.records] == ["reading"]
    now[0] = 61.0
    store.load("k")
    assert backend.tried == 7
    assert store.info() == StoreInfo("Failing", "it")
    store.clear()
    store.drop("k")
    store.close()
    assert backend.tried == 11


def test_a_lock_that_another_process_holds_is_not_waited_for_longer_than_a_second(tmp_path: Path) -> None:
    path = tmp_path / "http.sqlite"
    world = World(open_local(path))
    world.ask()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    read = world.ask()
    written = world.ask({"limit": 1})

    assert (told(read)[1], written.status_code) == (True, 200)
    assert time.monotonic() - started < 3
    other.execute("ROLLBACK")
    other.close()


def test_a_full_disk_is_a_miss(tmp_path: Path) -> None:
    world = World(open_local(tmp_path / "http.sqlite"))
    with world.store.backend.responses.connection() as connection:
        connection.execute("PRAGMA max_page_count = 8")

    statuses = {world.ask({"limit": number}).status_code for number in range(60)}

    assert statuses == {200}


def test_an_interrupt_inside_a_write_leaves_no_lock(tmp_path: Path) -> None:
    cache = open_local(tmp_path / "http.sqlite")
    with pytest.raises(KeyboardInterrupt), cache.responses.connection(commit=True):
        raise KeyboardInterrupt
    store = Store(cache)

    store.save("k", Entry(200, (), b"{}", time.time()), keep_s=60, url="u")

    kept = store.load("k")
    assert kept is not None
    assert kept.body == b"{}"


def test_an_answer_tells_when_it_was_asked_for() -> None:
    assert answer_of(httpx.Response(200)) != answer_of(httpx.Response(200, extensions={"vastnb": Answer(1.0)}))
