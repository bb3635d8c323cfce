"""Requests spaced for all kernels together, on a stepped clock; a dead or stopped kernel blocks nobody."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vastnb.errors import QuotaError, RateLimitError
from vastnb.infra._httpx import httpx
from vastnb.infra.cache import CachingTransport, Store
from vastnb.infra.cache.local import open_memory
from vastnb.infra.calls import Answer, Call, Effect, Keep, Limit, Wait, answer_of
from vastnb.infra.pacing import Pacer, PacingTransport

SEARCH = ((5, 10.0), (10, 60.0))
TEXT_429 = b"API requests too frequent: endpoint threshold=4.5"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pacer(tmp_path: Path, clock: Clock) -> Any:
    made = Pacer(tmp_path / "p" / "pacing.sqlite", clock=clock)
    yield made
    made.shut()


def let_through(pacer: Pacer, clock: Clock, limits: Any, gaps: list[float]) -> list[float]:
    """When requests that come with these gaps between them are let through."""
    times = []
    for gap in gaps:
        clock.now += gap
        clock.now += pacer.reserve("me search", limits)
        times.append(clock.now)
    return times


@given(gaps=st.lists(st.floats(0, 30), min_size=1, max_size=60))
def test_no_window_ever_holds_more_than_the_limit_allows(gaps: list[float]) -> None:
    pacer, clock = Pacer(None), Clock()
    pacer._clock = clock

    times = let_through(pacer, clock, SEARCH, gaps)

    pacer.shut()
    for count, seconds in SEARCH:
        assert all(times[i + count] - times[i] > seconds for i in range(len(times) - count))


def test_a_burst_passes_at_once_and_a_long_run_at_the_allowed_rate(pacer: Pacer, clock: Clock) -> None:
    start = clock.now
    times = [t - start for t in let_through(pacer, clock, SEARCH, [0.0] * 40)]

    assert times[:5] == [0.0] * 5
    assert times[5] == pytest.approx(11.0)
    assert times[-1] == pytest.approx(3 * 66.0 + 11.0, rel=0.02)


def test_two_kernels_never_take_the_same_slot(pacer: Pacer, tmp_path: Path, clock: Clock) -> None:
    other = Pacer(tmp_path / "p" / "pacing.sqlite", clock=clock)

    waits = [p.reserve("me", ((1, 2.0),)) for p in (pacer, other, pacer, other)]

    assert waits == pytest.approx([0.0, 2.25, 4.5, 6.75])
    other.shut()


def test_between_reading_and_taking_a_slot_no_other_kernel_gets_in(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (Pacer(tmp_path / "pacing.sqlite", clock=clock) for _ in range(2))
    second.reserve("you", ())
    others: list[Future[float]] = []

    class Limits(tuple[Limit, ...]):
        """Looked at when the slots have been read: then the other kernel comes."""

        __slots__ = ()

        def __iter__(self) -> Iterator[Limit]:
            if not others:
                others.append(pool.submit(second.reserve, "me", ((1, 2.0),)))
                wait(others, timeout=0.3)
            return super().__iter__()

    with ThreadPoolExecutor(1) as pool:
        waits = [first.reserve("me", Limits([(1, 2.0)])), others[0].result(5)]

    assert waits == pytest.approx([0.0, 2.25])
    assert caplog.records == []
    first.shut()
    second.shut()


@pytest.mark.parametrize(("seconds", "apart"), [(1.0, 1.25), (2.0, 2.25), (5.5, 6.05), (60.0, 66.0)])
def test_requests_are_a_tenth_and_at_least_a_quarter_of_a_second_further_apart_than_asked(
    pacer: Pacer, seconds: float, apart: float
) -> None:
    assert [pacer.reserve("me", ((1, seconds),)) for _ in range(2)] == pytest.approx([0.0, apart])


def test_endpoints_and_accounts_are_apart_and_a_push_back_of_the_account_holds_for_all(pacer: Pacer) -> None:
    assert [pacer.reserve(b, ((1, 2.0),), shared="me") for b in ("me a", "me b", "you a")] == [0.0, 0.0, 0.0]

    pacer.push_back("me", 7.0)

    assert pacer.reserve("me c", ((1, 2.0),), shared="me") == pytest.approx(7.0)
    assert pacer.reserve("you c", ((1, 2.0),), shared="you") == 0.0


def test_a_clock_that_was_set_back_blocks_nobody(pacer: Pacer, clock: Clock) -> None:
    pacer.reserve("me", ((1, 2.0),))
    pacer.push_back("me", 60.0)

    clock.now -= 86400.0

    assert pacer.reserve("me", ((1, 2.0),)) == 0.0


def test_a_slot_that_is_given_back_is_free(pacer: Pacer) -> None:
    pacer.reserve("me", ((1, 2.0),))
    pacer.release("me")

    assert pacer.reserve("me", ((1, 2.0),)) == 0.0


@pytest.mark.parametrize("damage", ["garbage", "directory", "foreign schema"])
def test_a_file_that_cannot_be_used_paces_this_kernel_alone_with_one_warning(
    tmp_path: Path, clock: Clock, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pacing.sqlite"
    if damage == "directory":
        path.mkdir()
    elif damage == "garbage":
        path.write_bytes(os.urandom(8192))
    else:
        with sqlite3.connect(path) as db:
            db.execute("create table slots (x)")
        db.close()
    pacer = Pacer(path, clock=clock)

    waits = [pacer.reserve("me", ((1, 2.0),)) for _ in range(2)]

    assert waits == pytest.approx([0.0, 2.25])
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    pacer.shut()


def test_the_file_is_private(pacer: Pacer, tmp_path: Path) -> None:
    pacer.reserve("me", ((1, 2.0),))

    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "p").iterdir()} == {0o600}


# ---------------------------------------------------------------- in the path of a request


class Service(httpx.BaseTransport):
    def __init__(self, *answers: httpx.Response) -> None:
        self.answers, self.asked = list(answers), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return self.answers.pop(0) if self.answers else httpx.Response(200, json={"offers": [self.asked]})


def paced(pacer: Pacer, clock: Clock, service: Service, **options: Any) -> PacingTransport:
    return PacingTransport(service, pacer, "me", sleep=clock.sleep, clock=clock, **options)


def request(limits: Any = ((1, 4.0),), **extensions: Any) -> httpx.Request:
    call = Call("search", Effect.READ, Keep.DISK, ttl_s=30, tag="offers", limits=limits)
    return httpx.Request("POST", "http://127.0.0.1/", json={}, extensions={"vastnb": call, **extensions})


def test_a_wait_is_told_with_its_reason_and_counted(pacer: Pacer, clock: Clock) -> None:
    told: list[Wait] = []
    transport = paced(pacer, clock, Service(), on_wait=told.append)

    first, second = (transport.handle_request(request()) for _ in range(2))

    assert [answer_of(r).waited_s for r in (first, second)] == pytest.approx([0.0, 4.4])
    assert [(w.endpoint, round(w.seconds, 1), w.reason) for w in told] == [
        ("search", 4.4, "the service allows search 1 times in 4 s")
    ]


def test_after_a_wait_the_cache_is_looked_at_again(pacer: Pacer, clock: Clock) -> None:
    service = Service()
    transport = paced(pacer, clock, service)
    transport.handle_request(request())
    kept = httpx.Response(200, json={}, extensions={"vastnb": Answer(1.0, from_cache=True)})

    found = transport.handle_request(request(**{"vastnb.look": lambda: kept}))

    assert (found is kept, service.asked) == (True, 1)
    assert pacer.reserve("me search", ((1, 4.0),)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("refusal", "seconds"),
    [
        (httpx.Response(429, content=TEXT_429), 6.75),
        (httpx.Response(429, json={"detail": "API requests too frequent endpoint threshold=2.0"}), 3.0),
        (
            httpx.Response(
                429, json={"error": "HTTPTooManyRequests", "retry_after": 10}, headers={"retry-after": "10"}
            ),
            10.0,
        ),
        (httpx.Response(429, content=b""), 6.0),
    ],
)
def test_a_429_in_every_shape_slows_all_kernels(
    tmp_path: Path, clock: Clock, refusal: httpx.Response, seconds: float
) -> None:
    kernels = [Pacer(tmp_path / "p.sqlite", clock=clock) for _ in range(2)]
    paced(kernels[0], clock, Service(refusal)).handle_request(request())

    waits = [k.reserve("me search", ((1, 4.0),)) for k in kernels]

    assert waits[0] == pytest.approx(max(seconds, 4.4))
    assert waits[1] > waits[0]
    for kernel in kernels:
        kernel.shut()


def test_a_429_of_the_shared_budget_slows_every_endpoint(pacer: Pacer, clock: Clock) -> None:
    refusal = httpx.Response(429, headers={"retry-after": "10", "x-ratelimit-remaining": "0"})
    paced(pacer, clock, Service(refusal)).handle_request(request())

    assert pacer.reserve("me user", ((1, 1.0),), shared="me") == pytest.approx(10.0)


def test_the_daily_quota_ends_searching_until_midnight_by_the_clock_of_the_service(pacer: Pacer, clock: Clock) -> None:
    refusal = httpx.Response(
        429, json={"error": "search_quota_exceeded"}, headers={"date": "Mon, 01 Jun 2026 23:00:00 GMT"}
    )
    service = Service(refusal)
    transport = paced(pacer, clock, service)
    transport.handle_request(request())

    with pytest.raises(QuotaError) as raised:
        transport.handle_request(request())
    clock.now += 3601
    after = transport.handle_request(request())

    assert raised.value.retry_after_s == pytest.approx(3600)
    assert (after.status_code, service.asked) == (200, 2)


def test_a_wait_that_is_too_long_is_refused_at_once_and_takes_no_slot(pacer: Pacer, clock: Clock) -> None:
    transport = paced(pacer, clock, Service(), longest_wait_s=5.0)
    transport.handle_request(request(((1, 50.0),)))

    for _ in range(3):
        with pytest.raises(RateLimitError) as raised:
            transport.handle_request(request(((1, 50.0),)))
        assert raised.value.retry_after_s == pytest.approx(55.0)


def test_a_sandbox_that_does_not_mind_is_not_paced(pacer: Pacer, clock: Clock) -> None:
    easy = httpx.Response(200, json={}, headers={"x-vastnb-sandbox": "abc"})
    strict = httpx.Response(200, json={}, headers={"x-vastnb-sandbox": "abc; strict"})

    for account, first, expected in (("a", easy, 0.0), ("b", strict, 4.4)):
        transport, start = PacingTransport(Service(first), pacer, account, sleep=clock.sleep, clock=clock), clock.now
        transport.handle_request(request())
        transport.handle_request(request())
        assert clock.now - start == pytest.approx(expected)
    for _ in range(20):  # each asks once before it knows; nothing of that counts for the next
        start = clock.now
        PacingTransport(Service(easy), pacer, "a", sleep=clock.sleep, clock=clock).handle_request(request())
        assert clock.now == start


def test_ctrl_c_during_a_wait_ends_it_at_once(pacer: Pacer, clock: Clock) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    service = Service()
    transport = PacingTransport(service, pacer, "me", sleep=interrupted, clock=clock)
    transport.handle_request(request())

    with pytest.raises(KeyboardInterrupt):
        transport.handle_request(request())
    assert service.asked == 1


# ---------------------------------------------------------------- two kernels, one question


def kernel(
    tmp_path: Path, clock: Clock, service: httpx.BaseTransport, backend: Any, sleep: Callable[[float], None]
) -> CachingTransport:
    pacing = PacingTransport(service, Pacer(tmp_path / "p.sqlite", clock=clock), "me", sleep=sleep, clock=clock)
    return CachingTransport(pacing, "me", disk=Store(backend), memory=Store(open_memory()), clock=clock)


def test_what_another_kernel_is_asking_is_waited_for_and_not_asked_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, other, backend, asked_by_other = os.getpid(), os.getppid(), open_memory(), Service()
    waits, kept = threading.Event(), threading.Event()

    def wait(_seconds: float) -> None:
        waits.set()
        assert kept.wait(5)

    second = kernel(tmp_path, clock, asked_by_other, backend, wait)

    class Overlapped(Service):
        """While this request is under way, the second kernel (a thread with another process id) comes to ask the same."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answers.append(pool.submit(lambda: second.handle_request(same_question).json()))
            assert waits.wait(5)
            return super().handle_request(request)

    same_question, slow, main = request(SEARCH), Overlapped(), threading.get_ident()
    answers: list[Future[Any]] = []
    monkeypatch.setattr(os, "getpid", lambda: me if threading.get_ident() == main else other)
    first = kernel(tmp_path, clock, slow, backend, clock.sleep)
    with ThreadPoolExecutor(1) as pool:
        answer = first.handle_request(request(SEARCH))
        kept.set()
        assert (answer.json(), answers[0].result(5)) == ({"offers": [1]}, {"offers": [1]})
    assert (slow.asked, asked_by_other.asked) == (1, 0)
    first.close()
    second.close()


def test_a_question_is_claimed_for_ten_seconds_longer_than_its_asker_waits_for_a_slot(
    tmp_path: Path, clock: Clock
) -> None:
    claimed: list[float] = []

    def look(seconds: float = 0.0) -> None:
        with sqlite3.connect(tmp_path / "p.sqlite") as db:
            claimed.append(db.execute("select max(until) from flights").fetchone()[0] - clock.now)
        db.close()
        clock.sleep(seconds)

    class Looking(Service):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            look()
            return super().handle_request(request)

    asking = kernel(tmp_path, clock, Looking(), open_memory(), look)
    for number in range(2):
        question = request()
        asking.handle_request(httpx.Request("POST", question.url, json={"n": number}, extensions=question.extensions))
    asking.close()

    assert claimed == pytest.approx([10.0, 14.4, 10.0])


def test_a_claim_of_a_dead_kernel_or_of_one_that_hangs_too_long_is_taken_over(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "p.sqlite"
    claim = f"import sys; from vastnb.infra.pacing import Pacer; print(Pacer(__import__('pathlib').Path({str(path)!r}), clock=lambda: {clock.now}).claim('q', 30.0))"
    assert subprocess.run([sys.executable, "-c", claim], capture_output=True, text=True, check=True).stdout == "True\n"
    pacer = Pacer(path, clock=clock)
    assert pacer.claim("q", 30.0)

    with sqlite3.connect(path) as db:
        db.execute("update flights set pid = ?", (os.getppid(),))
    db.close()
    assert not pacer.claim("q", 30.0)
    clock.now += 31
    assert pacer.claim("q", 30.0)
    pacer.drop_claim("q")
    pacer.shut()


def test_a_stopped_kernel_that_holds_the_lock_hangs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "pacing.sqlite"
    Pacer(path).reserve("warm", ())
    program = textwrap.dedent(f"""
        import sqlite3, sys, time
        db = sqlite3.connect({str(path)!r}, isolation_level=None)
        db.execute("begin immediate")
        print("held", flush=True)
        time.sleep(60)
    """)
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    try:
        pacer = Pacer(path)
        waits = [pacer.reserve("me", ((1, 2.0),)) for _ in range(3)]
        assert waits == pytest.approx([0.0, 2.25, 4.5], abs=0.2)
        assert time.monotonic() - started < 3
        pacer.shut()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
