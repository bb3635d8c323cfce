"""What may be sent again, and how long to wait: by endpoint class, with a stepped clock and no sleep."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from vastnb.infra._httpx import httpx
from vastnb.infra.calls import (
    Call,
    Effect,
    RetryPolicy,
    RetryTransport,
    Wait,
    answer_of,
    may_repeat_after_error,
    may_repeat_after_status,
    pause_asked_s,
)

READ = Call("search", Effect.READ)
UNSAFE = Call("create", Effect.UNSAFE)
TEXT_429 = b"API requests too frequent: endpoint threshold=4.5"


class Service(httpx.BaseTransport):
    """Answers what it is told to, one after the other, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def send(service: Service, call: Call, policy: RetryPolicy | None = None) -> tuple[Any, list[float]]:
    waits: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    transport = RetryTransport(
        service, policy or RetryPolicy(), sleep=sleep, clock=lambda: now[0], rng=random.Random(1)
    )
    request = httpx.Request("POST", "http://127.0.0.1/x", extensions={"vastnb": call})
    try:
        return transport.handle_request(request), waits
    except httpx.TransportError as error:
        return error, waits


LOST = [httpx.ReadTimeout("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x"), httpx.WriteError("x")]
UNSENT = [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x")]


@pytest.mark.parametrize("error", LOST)
def test_after_a_lost_answer_only_calls_without_effect_are_sent_again(error: Exception) -> None:
    assert [may_repeat_after_error(effect, error) for effect in Effect] == [True, True, False]


@pytest.mark.parametrize("error", UNSENT)
def test_what_never_left_may_be_sent_again_whatever_it_does(error: Exception) -> None:
    assert all(may_repeat_after_error(effect, error) for effect in Effect)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 410, 429, 500, 502, 503, 504])
def test_statuses_that_pass_by_themselves_are_asked_again_but_never_by_a_paying_call(status: int) -> None:
    response = httpx.Response(status, content=b"{}")

    found = [may_repeat_after_status(effect, response) for effect in Effect]

    busy = status in (429, 502, 503, 504)
    assert found == [busy, busy, False]


def test_the_daily_quota_is_not_asked_again() -> None:
    response = httpx.Response(429, json={"error": "search_quota_exceeded"})

    assert not may_repeat_after_status(Effect.READ, response)


def test_a_search_is_asked_again_until_it_is_answered() -> None:
    service = Service(httpx.ReadError("cut"), httpx.Response(503), httpx.Response(200, json={}))

    response, waits = send(service, READ)

    assert (response.status_code, service.asked, len(waits)) == (200, 3, 2)
    assert answer_of(response).repeats == 2
    assert answer_of(response).waited_s == pytest.approx(sum(waits))


@pytest.mark.parametrize("answer", [*LOST, httpx.Response(429), httpx.Response(502), httpx.Response(500)])
def test_a_paying_call_is_sent_once(answer: Any) -> None:
    service = Service(answer, httpx.Response(200))

    send(service, UNSAFE)

    assert service.asked == 1


def test_an_undeclared_call_counts_as_paying() -> None:
    service = Service(httpx.ReadError("cut"), httpx.Response(200))

    error, _ = send(service, Call())

    assert (type(error), service.asked) == (httpx.ReadError, 1)


def test_attempts_are_bounded_and_the_last_answer_comes_back() -> None:
    service = Service(*[httpx.Response(503) for _ in range(9)])

    response, waits = send(service, READ, RetryPolicy(attempts=4))

    assert (response.status_code, service.asked, len(waits)) == (503, 4, 3)


def test_time_is_bounded() -> None:
    service = Service(*[httpx.Response(429, headers={"retry-after": "30"}) for _ in range(9)])

    response, waits = send(service, READ, RetryPolicy(attempts=9, budget_s=45))

    assert (response.status_code, service.asked) == (429, 2)
    assert sum(waits) <= 45


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (httpx.Response(429, headers={"retry-after": "10"}, content=b"x"), 10.0),
        (httpx.Response(429, json={"error": "HTTPTooManyRequests", "retry_after": 7}), 7.0),
        (httpx.Response(429, json={"detail": "API requests too frequent endpoint threshold=2.0"}), 3.0),
        (httpx.Response(429, content=TEXT_429), 6.75),
        (httpx.Response(429, headers={"retry-after": "99999"}), 60.0),
        (httpx.Response(429, headers={"retry-after": "soon"}, content=b""), None),
        (httpx.Response(429, content=b"<html>"), None),
        (httpx.Response(429, content=b"[1]"), None),
    ],
)
def test_a_429_in_every_shape_says_how_long_to_wait(response: httpx.Response, seconds: float | None) -> None:
    assert pause_asked_s(response) == seconds


def test_what_a_429_asks_for_is_waited() -> None:
    service = Service(httpx.Response(429, content=TEXT_429), httpx.Response(200))

    _, waits = send(service, READ)

    assert 6.75 <= waits[0] <= 6.75 + 0.1 * RetryPolicy().base_s


def test_waits_are_told() -> None:
    told: list[Wait] = []
    service = Service(httpx.Response(503), httpx.Response(200))
    transport = RetryTransport(
        service,
        RetryPolicy(),
        sleep=lambda _: None,
        on_wait=told.append,
        rng=random.Random(1),
    )

    transport.handle_request(httpx.Request("GET", "http://127.0.0.1/", extensions={"vastnb": READ}))

    assert [wait.endpoint for wait in told] == ["search"]


def test_ctrl_c_during_a_wait_ends_it_at_once() -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    service = Service(httpx.Response(503), httpx.Response(200))
    transport = RetryTransport(service, RetryPolicy(), sleep=interrupted)
    asked: Callable[[], Any] = lambda: transport.handle_request(  # noqa: E731
        httpx.Request("GET", "http://127.0.0.1/", extensions={"vastnb": READ})
    )

    with pytest.raises(KeyboardInterrupt):
        asked()
    assert service.asked == 1
