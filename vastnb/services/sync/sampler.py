"""Looks at the market by a plan: some GPU models for the history, and the price alerts.

The plan and when the next pass is due lie beside the events of the account, so that whoever holds the lease goes on with them. A pass leaves
at least every other slot of the service's limits to the user's own searches.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import orjson

from vastnb.errors import InputError, VastError
from vastnb.services import alerts
from vastnb.services.events import Bus, Event, Queue
from vastnb.services.history.store import require
from vastnb.services.sampling import sample
from vastnb.services.sync.lease import Lease
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query
from vastnb.vast.query.names import GPU_NAMES, gpu_canonical

log = logging.getLogger("vastnb.sync")

__all__ = ["Passed", "Plan", "Sampler", "has_work", "passed_of", "plan_of", "put_plan"]

_PLAN, _PASSED = "plan of the market", "pass over the market"
_SHORTEST_S, _LONGEST_S = 60.0, 86_400.0
_APART_S = 12.0
"""From search to search: the service allows ten a minute, and half of them are left to the user."""
_PATIENCE_S = 2.0
"""How soon another process's plan is seen."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What of the market is to be looked at."""

    models: tuple[str, ...] = ()
    every_s: float = 900.0
    """From the beginning of a pass to that of the next; price alerts are judged at the same times."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The last pass; times by this computer's clock, seconds since 1970."""

    at: float = 0.0
    """When it began; 0 if there was none."""
    next_at: float = 0.0
    failures: int = 0
    problem: str = ""
    """Why it is not whole; empty if it is."""


def put_plan(queue: Queue, models: Sequence[str], *, every_s: float | None = None) -> Plan:
    """Look at these models from now on; no models: at none. Whoever holds the lease begins at once.

    Parameters
    ----------
    queue
        Where the plan lies.
    models
        GPU models, such as ``"RTX 4090"``, or families of them, such as ``"H100"``.
    every_s
        60 to 86400, and long enough for all of them; None keeps what was planned.

    Raises
    ------
    InputError, QueryError
        It cannot be done in that time, or one of them cannot be a name.
    ConfigError
        The extra ``history`` is not installed.
    """
    before = plan_of(queue)
    named = tuple(dict.fromkeys(model for name in models for model in _meant(name)))
    plan = Plan(named, before.every_s if every_s is None else float(every_s))
    least = max(_SHORTEST_S, len(plan.models) * _APART_S)
    if not least <= plan.every_s <= _LONGEST_S:
        raise InputError(
            f"{len(plan.models)} models can be looked at every {least:g} to {_LONGEST_S:g} s, got {plan.every_s:g} s"
        )
    if plan.models:
        require()
    for model in plan.models:
        parse_query(f'gpu_name="{model}"')
    queue.exchange(_PLAN, lambda _: orjson.dumps(asdict(plan)).decode())
    queue.exchange(_PASSED, lambda text: _written(replace(_read(text), next_at=0.0)))
    return plan


def _meant(name: str) -> list[str]:
    """The model of this name, or all of its family: there are an H100 PCIE and an H100 SXM. Next year's cards are not known yet."""
    plain = name.replace("_", " ").strip()
    known, has_number = gpu_canonical(plain), any(map(str.isdigit, plain))
    family = [model for model in GPU_NAMES if has_number and model.startswith(f"{plain} ")]
    return [known] if known else family or [plain]


def plan_of(queue: Queue) -> Plan:
    """The plan that lies beside these events."""
    text, _ = queue.note(_PLAN)
    told = orjson.loads(text) if text else {}
    return Plan(**(told | {"models": tuple(told.get("models", ()))}))


def has_work(queue: Queue) -> bool:
    """Whether there is anything to look for on the market."""
    return bool(plan_of(queue).models or alerts.alerts_of(queue))


def passed_of(queue: Queue) -> Passed:
    """The last pass of the account, whoever made it."""
    return _read(queue.note(_PASSED)[0])


def _read(text: str) -> Passed:
    return Passed(**orjson.loads(text)) if text else Passed()


def _written(passed: Passed) -> str:
    return orjson.dumps(asdict(passed)).decode()


class Sampler:
    """Looks at the market of one account while its lease is held.

    Parameters
    ----------
    client
        The connection.
    bus
        Where events go, and where the plan lies.
    clock
        This computer's clock, seconds since 1970.
    jitter
        A number from 0 to 1, each time another.
    tell
        Told of each event that this sampler publishes.
    """

    def __init__(
        self,
        client: Client,
        bus: Bus,
        *,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        tell: Callable[[Event], object] = lambda event: None,  # noqa: ARG005
    ) -> None:
        self._client, self._bus, self._clock, self._jitter, self._tell = client, bus, clock, jitter, tell
        self._stopping = threading.Event()

    def run(self, stopping: threading.Event, lease: Lease) -> None:
        """Look again and again, whenever it is due and the lease is held, until told to stop, or another account is in force."""
        self._stopping, pause_s = stopping, 0.0
        while not stopping.wait(pause_s) and self._bus.is_in_force():
            pause_s = _PATIENCE_S
            if lease.is_mine:
                try:
                    pause_s = self.turn()
                except VastError as error:  # the file of events: the watcher tells why
                    log.warning("%s", error)

    def turn(self) -> float:
        """Look, if it is due; how many seconds until the next turn."""
        plan, passed, now = plan_of(self._bus.queue), passed_of(self._bus.queue), self._clock()
        left = passed.next_at - now
        if 0 < left <= plan.every_s:  # more is a clock that was set back
            return min(left, _PATIENCE_S)
        if has_work(self._bus.queue):
            try:
                self.look()
            except (VastError, OSError) as error:
                log.warning("the market could not be looked at: %s", error)
        return _PATIENCE_S

    def look(self) -> list[Event]:
        """Look now; what is new. After a failure the next pass is due sooner, and later after each in a row.

        Raises
        ------
        VastError, OSError
            The market cannot be looked at or written down, or only a part of it.
        """
        queue, now = self._bus.queue, self._clock()
        plan, before = plan_of(queue), passed_of(queue)
        # Noted before it begins: a daemon that dies in each pass must not use up the day's searches.
        begun = Passed(now, now + plan.every_s, before.failures, before.problem)
        queue.exchange(_PASSED, lambda _: _written(begun))
        try:
            found, left_out = self._pass(plan.models)
        except (VastError, OSError) as error:
            failures = before.failures + 1
            due = now + self._pause_s(plan.every_s, failures)
            self._note(replace(begun, next_at=due, failures=failures, problem=f"{type(error).__name__}: {error}"))
            raise
        due = now if self._stopping.is_set() else begun.next_at  # who takes over begins anew
        self._note(replace(begun, next_at=due, failures=0, problem=left_out))
        return found

    def _pass(self, models: Sequence[str]) -> tuple[list[Event], str]:
        """What is new; and what was left out and why, empty if nothing."""
        for model in models:
            row = sample(model, client=self._client).iloc[0]
            if not row["requests"]:
                return [], f"from {model} on {row['note']}"
            if self._stopping.wait(self._apart_s(int(row["requests"]))):
                return [], "it was stopped"
        found = alerts.look(self._client, self._bus.queue, pause=lambda: self._stopping.wait(self._apart_s(1)))
        self._bus.wake()
        for event in found:
            self._tell(event)
        log.info("looked at the market")
        return found, ""

    def _apart_s(self, requests: int) -> float:
        """A service on this computer has no other users."""
        return 0.0 if self._client.settings.local else _APART_S * requests

    def _pause_s(self, every_s: float, failures: int) -> float:
        """Longer after each failure in a row, and not in step with others."""
        return min(every_s, _SHORTEST_S * 2.0 ** min(failures - 1, 12)) * (0.5 + 0.5 * self._jitter())

    def _note(self, passed: Passed) -> None:
        """What somebody wants at once since it began is not put off."""

        def put(text: str) -> str:
            return _written(replace(passed, next_at=min(passed.next_at, _read(text).next_at)))

        self._bus.queue.exchange(_PASSED, put)
