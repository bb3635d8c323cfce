"""What one call may do, and the repeating of those that may be repeated.

A `Call` travels with its request (``request.extensions["vastnb"]``); an `Answer` comes back with the response. What is not
declared counts as unsafe: it is never cached and never repeated.

Decisions are pure functions (`may_repeat_after_error`, `may_repeat_after_status`, `wait_before_repeat_s`);
`RetryTransport` only obeys.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from vastnb.infra._httpx import LOST, UNSENT, httpx

__all__ = [
    "Answer",
    "Call",
    "Effect",
    "Keep",
    "Limit",
    "RetryPolicy",
    "RetryTransport",
    "Wait",
    "answer_of",
    "call_of",
    "pause_asked_s",
]

_THRESHOLD = re.compile(r"threshold\s*=\s*([0-9.]+)")
_LONGEST_PAUSE_S = 60.0
_BUSY = frozenset({429, 502, 503, 504})


class Effect(Enum):
    """What a repeat of the call would do."""

    READ = "read"
    """Nothing: a GET, or one of the search POSTs."""
    IDEMPOTENT = "idempotent"
    """The same end state: destroying, stopping, labelling."""
    UNSAFE = "unsafe"
    """Perhaps spend again: renting, prepaying, making keys, and everything undeclared."""


class Keep(Enum):
    """Where an answer may be kept."""

    NOWHERE = "nowhere"
    MEMORY = "memory"
    """For seconds, in this process: answers that hold tokens or account data."""
    DISK = "disk"
    """Public market data only."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a request waits, and for how long."""

    endpoint: str
    seconds: float
    reason: str


Limit = tuple[int, float]
"""So many requests in so many seconds."""


@dataclass(frozen=True, slots=True)
class Call:
    """How one request is cached and repeated."""

    endpoint: str = "undeclared"
    effect: Effect = Effect.UNSAFE
    keep: Keep = Keep.NOWHERE
    ttl_s: float = 0.0
    stale_if_error_s: float = 0.0
    tag: str = "other"
    refresh: bool = False
    limits: tuple[Limit, ...] = ()
    """The service's rate limits for it; all of them hold."""

    @property
    def cacheable(self) -> bool:
        """Whether an answer may be kept at all."""
        return self.effect is Effect.READ and self.keep is not Keep.NOWHERE and self.ttl_s > 0


@dataclass(frozen=True, slots=True)
class Answer:
    """How an answer came about."""

    fetched_at: float = field(default_factory=time.time)
    """When the request was sent, in seconds since 1970 by this computer's clock."""
    from_cache: bool = False
    stale: bool = False
    """Older than it should be, shown because the service did not answer."""
    repeats: int = 0
    waited_s: float = 0.0


def call_of(request: httpx.Request) -> Call:
    """The call that `request` was declared as."""
    declared = request.extensions.get("vastnb")
    return declared if isinstance(declared, Call) else Call()


def answer_of(response: httpx.Response) -> Answer:
    """How `response` came about."""
    told = response.extensions.get("vastnb")
    return told if isinstance(told, Answer) else Answer()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Full jitter between attempts, bounded in number and in time."""

    attempts: int = 4
    base_s: float = 0.5
    longest_s: float = 8.0
    budget_s: float = 45.0


def may_repeat_after_error(effect: Effect, error: Exception) -> bool:
    """Whether the call may be sent again after `error`."""
    if isinstance(error, UNSENT):
        return True
    return effect is not Effect.UNSAFE and isinstance(error, LOST)


def may_repeat_after_status(effect: Effect, response: httpx.Response) -> bool:
    """Whether the call may be sent again after this answer. A paying call never is: its caller looks first."""
    if effect is Effect.UNSAFE or response.status_code not in _BUSY:
        return False
    return b"search_quota_exceeded" not in response.content[:2000]


def pause_asked_s(response: httpx.Response) -> float | None:
    """How long a 429 asks us to wait, in seconds: its header, its body, or 1.5 times the threshold it names."""
    for value in (response.headers.get("retry-after"), _body_value(response, "retry_after")):
        try:
            return min(_LONGEST_PAUSE_S, max(0.0, float(str(value))))
        except ValueError:
            continue
    named = _THRESHOLD.search(response.text[:2000])
    return 1.5 * float(named.group(1)) if named else None


def _body_value(response: httpx.Response, name: str) -> object:
    try:
        body = json.loads(response.content)
    except ValueError:
        return None
    return body.get(name) if isinstance(body, dict) else None


def wait_before_repeat_s(
    policy: RetryPolicy, repeat: int, response: httpx.Response | None, rng: random.Random
) -> float:
    """How long to wait before the repeat number `repeat` (from 0), in seconds."""
    asked = pause_asked_s(response) if response is not None and response.status_code == 429 else None
    jitter = rng.uniform(0, min(policy.longest_s, policy.base_s * 2**repeat))
    return jitter if asked is None else asked + 0.1 * jitter


class RetryTransport(httpx.BaseTransport):
    """Sends again what may be sent again.

    Parameters
    ----------
    inner
        The transport below.
    policy
        How often, and how long to wait.
    on_wait
        Told of each wait before it.
    sleep, clock, rng
        Time and chance, for tests.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport,
        policy: RetryPolicy,
        *,
        on_wait: Callable[[Wait], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._inner, self._policy, self._on_wait = inner, policy, on_wait
        self._sleep, self._clock = sleep, clock
        self._rng = rng if rng is not None else random.Random()  # noqa: S311

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, again where that is safe, until it is answered or the policy ends."""
        call, started, waited = call_of(request), self._clock(), 0.0
        for repeat in range(max(1, self._policy.attempts)):
            response, error = self._once(request)
            if error is None and response is not None and not may_repeat_after_status(call.effect, response):
                return _told(response, repeat, waited)
            if error is not None and not may_repeat_after_error(call.effect, error):
                raise error
            wait = wait_before_repeat_s(self._policy, repeat, response, self._rng)
            last = repeat + 1 >= self._policy.attempts
            if last or self._clock() - started + wait > self._policy.budget_s:
                break
            if self._on_wait is not None:
                self._on_wait(Wait(call.endpoint, wait, "the service is busy or did not answer"))
            self._sleep(wait)
            waited += wait
        if error is not None:
            raise error
        assert response is not None
        return _told(response, repeat, waited)

    def _once(self, request: httpx.Request) -> tuple[httpx.Response | None, Exception | None]:
        try:
            return self._inner.handle_request(request), None
        except httpx.TransportError as error:
            return None, error

    def close(self) -> None:
        """Close the transport below."""
        self._inner.close()


def _told(response: httpx.Response, repeats: int, waited_s: float) -> httpx.Response:
    told = answer_of(response)
    response.extensions["vastnb"] = replace(told, repeats=repeats, waited_s=told.waited_s + waited_s)
    return response
