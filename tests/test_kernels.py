"""Several kernels of one user, as real processes with one cache folder and one pacing file, before one strict sandbox."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from requests_cache import BaseCache, DictStorage

from vastnb.infra._httpx import httpx, open_wire
from vastnb.infra.cache import CachingTransport, Store, identity
from vastnb.infra.cache.local import open_local
from vastnb.infra.calls import Call, Effect, Keep, answer_of
from vastnb.infra.config import Settings
from vastnb.infra.pacing import Pacer, PacingTransport
from vastnb.sandbox import Sandbox
from vastnb.services.offers import search
from vastnb.vast.client import Client
from vastnb.vast.types import OFFERS

QUERIES = ("num_gpus=1 limit10", "num_gpus=2 limit10", "num_gpus=4 limit10", "num_gpus=8 limit10")
LONGEST_S = 40.0
"""No answer may take longer: 30 s are waited for a limit and not more, and some for the answer."""

PRELUDE = """
import json, os, random, signal, sys, time, zlib
import vastnb
from vastnb.infra.cache import Entry
from vastnb.errors import RateLimitError
from vastnb.services.session import current

def say(**words):
    os.write(1, (json.dumps(words) + "\\n").encode())

def digest(frame):
    types = repr([(name, str(kind)) for name, kind in frame.dtypes.items()])
    return zlib.crc32((types + frame.to_json(date_format="iso")).encode())

def ask(query, **options):
    conditions, _, limit = query.partition(" limit")
    return vastnb.search(conditions, limit=int(limit), **options)

client = current().client
"""

HAMMER = """
seed, seconds, shared, own, body = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
chance = random.Random(seed)

def raw():
    conditions, _, limit = own.partition(" limit")
    return client.search_offers(conditions, limit=int(limit))

def anew():
    client.kept.clear()
    return ask(own)

def entry():
    # Large entries, so that a kernel is often killed in the middle of one.
    key, content = f"{seed}-{chance.randrange(8)}", chance.randbytes(chance.randrange(1, body))
    client.stores["market data"].save(
        key, Entry(200, (("x-sum", str(zlib.crc32(content))),), content, time.time()), keep_s=600, url="u")

def bank():
    return len(client.gpu_names(refresh=True)), client.user(refresh=True).id

def ready():
    say(ready=True)

client._http()
acts = [(lambda: ask(shared), shared), (lambda: ask(own), own), (raw, own), (anew, own), (entry, ""), (bank, "bank")]
weights = [30, 30, 10, 5, 10, 0.3]
until = time.monotonic() + seconds
first = [*acts[:2], (ready, "")]
while first or time.monotonic() < until:
    act, name = first.pop(0) if first else chance.choices(acts, weights)[0]
    began = time.monotonic()
    try:
        came = act()
    except RateLimitError as error:
        say(limited=str(error), ours=error.status is None)
        continue
    took = round(time.monotonic() - began, 3)
    if hasattr(came, "columns"):
        say(asked=name, came=digest(came), rows=len(came), took=took)
    elif act is not ready:
        say(asked=name or "entry", rows=-1, took=took)
say(done=True)
"""


@dataclass
class Kernel:
    """One process; what it says is in a file, so that it never waits for a reader."""

    process: subprocess.Popen[bytes]
    said: Path
    complained: Path
    killed: bool = False

    def lines(self) -> list[dict[str, Any]]:
        """What it has said; a killed one may have been cut off in its last line."""
        return [json.loads(line) for line in self.said.read_bytes().split(b"\n")[:-1]]

    def wait_for(self, word: str, count: int = 1, seconds: float = 30.0) -> dict[str, Any]:
        """The line number `count` with `word` in it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = [line for line in self.lines() if word in line]
            if len(found) >= count:
                return found[count - 1]
            assert self.process.poll() is None or word in self.said.read_text(), self.complained.read_text()
            time.sleep(0.01)
        raise AssertionError(f"nothing said of {word!r} in {seconds} s: {self.lines()[-3:]}")

    def kill(self) -> None:
        self.killed = True
        self.process.kill()
        self.process.wait(10)


@dataclass
class Kernels:
    """Starts kernels in the settings of this test, and ends those that are left."""

    folder: Path
    started: list[Kernel] = field(default_factory=list)

    def start(self, program: str, *words: object, **options: Any) -> Kernel:
        said, complained = (self.folder / f"kernel-{len(self.started)}.{end}" for end in ("out", "err"))
        with said.open("wb") as out, complained.open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-c", PRELUDE + textwrap.dedent(program), *map(str, words)],
                stdout=out, stderr=err, stdin=options.get("stdin", subprocess.DEVNULL),
            )  # fmt: skip
        self.started.append(Kernel(process, said, complained))
        return self.started[-1]

    def complaints(self) -> list[str]:
        return [text for kernel in self.started if (text := kernel.complained.read_text())]

    def end(self) -> None:
        for kernel in self.started:
            if kernel.process.poll() is None:
                kernel.process.send_signal(signal.SIGCONT)
                kernel.kill()
            if kernel.process.stdin is not None:
                kernel.process.stdin.close()


@pytest.fixture
def kernels(tmp_path: Path) -> Iterator[Kernels]:
    made = Kernels(tmp_path)
    yield made
    made.end()


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A strict sandbox that the kernels find by the environment, as a user's would find Vast."""
    with Sandbox(offers=300, seed=5, start="2026-06-01", strict=True) as running:
        monkeypatch.setenv("VAST_URL", running.url)
        monkeypatch.setenv("VAST_API_KEY", running.api_key)
        yield running


def refused(sandbox: Sandbox) -> int:
    assert sandbox.limits is not None
    return sandbox.limits.refused


def cache_folder(home: Path, sandbox: Sandbox) -> Path:
    return home / "cache" / "vastnb" / "local" / identity(sandbox.api_key, sandbox.url)


def hammered(kernels: Kernels, count: int, seconds: float, *, body: int, every: tuple[float, float]) -> list[Kernel]:
    """Let `count` kernels ask for `seconds`; the first is killed ever again, and another takes its place."""
    chance = random.Random(1)
    until = time.monotonic() + seconds + 1.0
    others = [kernels.start(HAMMER, n, seconds, QUERIES[0], QUERIES[n], body) for n in range(1, count)]
    victim = kernels.start(HAMMER, 0, seconds, QUERIES[0], QUERIES[1], body)
    kills = 0
    while time.monotonic() < until - 1.5:
        begun = time.monotonic()
        while time.monotonic() < begun + 2.5 and not any("ready" in line for line in victim.lines()):
            time.sleep(0.01)  # it may wait for a slot, and is killed then as well
        time.sleep(chance.uniform(*every))
        victim.kill()
        kills += 1
        left = max(0.5, until - time.monotonic())
        victim = kernels.start(HAMMER, 100 + kills, left, QUERIES[0], QUERIES[1], body)
    for kernel in (*others, victim):
        kernel.process.wait(LONGEST_S + 10.0)
    return [*others, victim]


def said(kernels: Kernels) -> list[dict[str, Any]]:
    return [line for kernel in kernels.started for line in kernel.lines()]


def check_answers(kernels: Kernels, lasting: list[Kernel], sandbox: Sandbox) -> Counter[str]:
    """Every answer was the whole typed frame, nobody complained, nobody was refused; how often what was asked."""
    lines = said(kernels)
    frames = [line for line in lines if line.get("rows", -1) >= 0]
    seen = {(line["asked"], line["rows"], line["came"]) for line in frames}
    assert [kernel.process.returncode for kernel in lasting] == [0] * len(lasting), kernels.complaints()
    assert all(kernel.lines()[-1] == {"done": True} for kernel in lasting)
    assert kernels.complaints() == []
    assert sorted(name for name, _, _ in seen) == sorted(dict.fromkeys(line["asked"] for line in frames)), seen
    assert {(name, rows, digest) for name, rows, digest in seen} == expected(sandbox, {name for name, _, _ in seen})
    assert max(line["took"] for line in lines if "took" in line) < LONGEST_S
    assert [line for line in lines if line.get("ours") is False] == []
    assert refused(sandbox) == 0
    return Counter(line["asked"] for line in lines if "asked" in line)


def expected(sandbox: Sandbox, names: set[str]) -> set[tuple[str, int, int]]:
    """What a client that shares nothing with anybody gets, of the same market without limits."""
    found = set()
    with Sandbox(offers=300, seed=5, start="2026-06-01") as other:
        settings = Settings(url=other.url, api_key=other.api_key, cache={"backend": "off"})
        with Client(settings) as client:
            for name in names:
                conditions, _, limit = name.partition(" limit")
                frame = search(conditions, limit=int(limit), client=client)
                assert list(frame.columns)[: len(OFFERS)] == [column.name for column in OFFERS]
                types = repr([(column, str(kind)) for column, kind in frame.dtypes.items()])
                text = types + str(frame.to_json(date_format="iso"))
                found.add((name, len(frame), zlib.crc32(text.encode())))
    return found


def check_file(file: Path) -> tuple[int, int]:
    """The cache is sound and every entry in it whole; how many there are, and how many of ours."""
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    backend: Any = open_local(file)
    store = Store(backend)
    keys = sorted(backend.responses)
    ours = 0
    for key in keys:
        entry = store.load(key)
        assert entry is not None, f"torn: {key}"
        total = dict(entry.headers).get("x-sum")
        ours += total is not None
        assert total is None or int(total) == zlib.crc32(entry.body), f"torn: {key}"
        assert total is not None or json.loads(entry.body), f"torn: {key}"
    assert (store.hits, store.misses) == (len(keys), 0)
    backend.close()
    return len(keys), ours


# ---------------------------------------------------------------- all at once


def test_kernels_that_ask_at_once_while_one_is_killed_get_whole_answers_and_no_refusal(
    kernels: Kernels, strict: Sandbox, private_home: Path
) -> None:
    lasting = hammered(kernels, 3, 4.5, body=60_000, every=(0.2, 0.5))

    counts = check_answers(kernels, lasting, strict)

    assert sum(kernel.killed for kernel in kernels.started) >= 2
    assert min(counts[name] for name in (*QUERIES[:3], "entry")) > 10
    assert check_file(cache_folder(private_home, strict) / "http.sqlite")[1] > 8


@pytest.mark.campaign
def test_four_kernels_for_half_a_minute_with_one_killed_ever_again(
    kernels: Kernels, strict: Sandbox, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASTNB_CACHE__OFFERS_TTL_S", "12")
    monkeypatch.setenv("VASTNB_CACHE__MAX_MB", "20")

    lasting = hammered(kernels, 4, 30.0, body=600_000, every=(0.1, 1.5))

    counts = check_answers(kernels, lasting, strict)
    folder = cache_folder(private_home, strict)
    entries, ours = check_file(folder / "http.sqlite")
    lines = said(kernels)
    print(
        f"{sum(kernel.killed for kernel in kernels.started)} killed; answers {dict(counts)}; "
        f"{sum('limited' in line for line in lines)} limited by ourselves; "
        f"longest {max(line['took'] for line in lines if 'took' in line):.1f} s; "
        f"{strict.requests()} requests, {strict.requests('bundles')} of them searches, {refused(strict)} refused; "
        f"{entries} entries kept, {ours} of the hammer, {(folder / 'http.sqlite').stat().st_size / 1e6:.1f} MB"
    )
    assert sum(kernel.killed for kernel in kernels.started) >= 5


# ---------------------------------------------------------------- one question

ONE_QUESTION = """
say(ready=True)
for line in sys.stdin:
    frame = ask(line.strip())
    say(came=digest(frame), rows=len(frame), again=frame.attrs["vastnb"]["from_cache"])
"""


def test_two_kernels_with_one_question_make_one_request(kernels: Kernels, strict: Sandbox) -> None:
    both = [kernels.start(ONE_QUESTION, stdin=subprocess.PIPE) for _ in range(2)]
    for kernel in both:
        kernel.wait_for("ready")

    for number, query in enumerate(QUERIES, 1):
        strict.log.clear()
        for kernel in both:
            os.write(kernel.process.stdin.fileno(), query.encode() + b"\n")  # type: ignore[union-attr]
        answers = [kernel.wait_for("came", number) for kernel in both]
        assert (answers[0]["came"], answers[0]["rows"]) == (answers[1]["came"], 10)
        assert sorted(answer["again"] for answer in answers) == [False, True]
        assert strict.requests() == 1

    assert (kernels.complaints(), refused(strict)) == ([], 0)


class _OnceLate(DictStorage):
    """Finds nothing the first time, and lets the other kernel ask and be answered right after that."""

    then: Callable[[], object] | None = None

    def get(self, key: str, default: Any = None) -> Any:
        found = super().get(key, default)
        then, self.then = self.then, None
        if then is not None:
            then()
        return found


def test_what_another_kernel_was_answered_a_moment_ago_is_not_asked_again(tmp_path: Path, strict: Sandbox) -> None:
    made: Any = _OnceLate
    backend, responses = BaseCache(), made()
    backend.responses = responses
    call = Call("search", Effect.READ, Keep.DISK, ttl_s=30, tag="offers", limits=((5, 10.0),))

    def kernel() -> CachingTransport:
        paced = PacingTransport(open_wire(strict.url), Pacer(tmp_path / "pacing.sqlite"), "me")
        return CachingTransport(paced, "me", disk=Store(backend), memory=Store(BaseCache()))

    def request() -> httpx.Request:
        return httpx.Request("POST", f"{strict.url}/api/v0/bundles/", json={}, extensions={"vastnb": call})

    first, second = kernel(), kernel()
    answers = []
    responses.then = lambda: answers.append(first.handle_request(request()))
    answers.append(second.handle_request(request()))

    assert [answer_of(answer).from_cache for answer in answers] == [False, True]
    assert answers[0].content == answers[1].content
    assert strict.requests() == 1
    first.close()
    second.close()


# ---------------------------------------------------------------- a stopped kernel

STOPPED = {
    "cache": """
        ask("num_gpus=1 limit10")
        with client.stores["market data"].backend.responses.connection(commit=True):
            say(holds=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        say(came=len(ask("num_gpus=1 limit10", refresh=True)))
    """,
    "pacing": """
        ask("num_gpus=1 limit10")
        def stop(db, now):
            say(holds=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        client._pacer._do(stop)
        say(came=len(ask("num_gpus=1 limit10", refresh=True)))
    """,
}
"""A kernel that is stopped in the middle of a transaction of its own, and goes on when it is let."""

ASKS = """
begun = time.monotonic()
rows = [len(ask(query)) for query in sys.argv[1:]]
say(came=rows, took=time.monotonic() - begun)
"""


@pytest.mark.parametrize("lock", STOPPED)
def test_a_stopped_kernel_that_holds_a_lock_hangs_nobody(
    kernels: Kernels, strict: Sandbox, lock: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(Settings(url=strict.url, api_key=strict.api_key)) as here:
        here.gpu_names()  # a kernel that had its files open before
        holder = kernels.start(STOPPED[lock])
        holder.wait_for("holds")
        fresh = kernels.start(ASKS, *QUERIES[1:3])
        began = time.monotonic()
        rows = len(search("num_gpus=8", limit=10, client=here))
        took = time.monotonic() - began
        answer = fresh.wait_for("came")
        fresh.process.wait(20)  # it keeps its answers after it has shown them

    holder.process.send_signal(signal.SIGCONT)
    assert (rows, answer["came"], holder.wait_for("came")["came"]) == (10, [10, 10], 10)
    assert (took < 4, answer["took"] < 6) == (True, True)
    assert refused(strict) == 0
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert fresh.complained.read_text().count("\n") == 1


@pytest.mark.campaign
def test_a_kernel_that_is_stopped_while_it_asks_keeps_nobody_longer_than_one_answer_may_take(
    kernels: Kernels, strict: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASTNB_TIMEOUT_S", "2")
    strict.faults.add("slow", seconds=1.5)
    stopped = kernels.start(ASKS, QUERIES[0])
    until = time.monotonic() + 20
    while not strict.requests("bundles") and time.monotonic() < until:
        time.sleep(0.01)
    stopped.process.send_signal(signal.SIGSTOP)

    answer = kernels.start(ASKS, QUERIES[0]).wait_for("came")

    assert (answer["came"], answer["took"] < 2 + 5 + 2) == ([10], True)
    assert refused(strict) == 0
