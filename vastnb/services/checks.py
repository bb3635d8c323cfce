"""What a check says, and a report of several: typed, as text, as HTML and as JSON. And how things are tried that may never answer.

Whoever checks measures first (`tried`, `together`), and judges what was seen in a pure function (`fine`, `odd`, `failed`, `left_out`).
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from vastnb.errors import AnswerTimeoutError, VastError
from vastnb.infra.monitoring import share_of
from vastnb.vast.render import Card, card_html, card_text, plain
from vastnb.version import __version__

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PATIENCE", "Check", "HealthReport", "Tried", "failed", "fine", "left_out", "odd", "together", "tried"]

PATIENCE = 0.1
"""The share of the time-out of requests that a check waits for one answer: three seconds of thirty."""
Status = Literal["ok", "warn", "fail", "skipped"]
_MARKS: Mapping[Status, str] = {"ok": "✓ ok", "warn": "! warn", "fail": "✗ fail", "skipped": "– skipped"}


class Check(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: Status
    seen: str = Field(description="what was seen, in words")
    remedy: str = Field(
        "", description="what to do, as a sentence or a line to paste; empty where nothing is to be done"
    )
    p50_ms: float | None = Field(None, description="half of the tries took no longer")
    p95_ms: float | None = Field(None, description="19 of 20 tries took no longer; of fewer, all")

    def __str__(self) -> str:
        return f"{_MARKS[self.status]}: {self.seen}{self._pace()}"

    def _pace(self) -> str:
        if self.p50_ms is None or self.p95_ms is None:
            return ""
        same = f"{self.p50_ms:.1f}" == f"{self.p95_ms:.1f}"
        return f" · {self.p50_ms:.1f} ms" if same else f" · half within {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms"


class HealthReport(BaseModel):
    """What works and what does not, of an account or of a machine.

    ``word`` sums it up: ``unhealthy`` if a check failed, ``degraded`` if one warns, else ``healthy``. What was left out counts for nothing.
    """

    model_config = ConfigDict(frozen=True)

    subject: str = Field(description="what was looked at")
    checks: tuple[Check, ...]
    at: datetime = Field(description="when, by the service's clock; by this computer's if the service did not answer")
    source: str = Field(description="whom the answers come from")
    version: str = Field(__version__, description="of vastnb")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def word(self) -> Literal["healthy", "degraded", "unhealthy"]:
        """All in one word."""
        statuses = {check.status for check in self.checks}
        return "unhealthy" if "fail" in statuses else "degraded" if "warn" in statuses else "healthy"

    @property
    def exit_status(self) -> int:
        """For a shell: 1 if it is unhealthy."""
        return int(self.word == "unhealthy")

    def __getitem__(self, name: str) -> Check:
        """The check of this name."""
        return {check.name: check for check in self.checks}[name]

    def to_json(self) -> str:
        """For machines."""
        return self.model_dump_json(indent=1)

    def to_frame(self) -> pd.DataFrame:
        """A row a check; columns as documented under ``health``."""
        from vastnb.vast.types.frames import frame_of

        names = ("check", "status", "seen", "remedy", "p50_ms", "p95_ms")
        rows = [{"check": check.name, **check.model_dump()} for check in self.checks]
        frame = frame_of("health", {name: [row[name] for row in rows] for name in names})
        frame.attrs["vastnb"] = {"kind": "health", "returned": len(frame)}
        return frame

    def __repr__(self) -> str:
        return card_text(self._card())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return card_html(self._card())

    def _card(self) -> Card:
        parts = [part for check in self.checks for part in _parts(check)]
        return Card(f"{self.word}: {self.subject} · {self.source} · {self.at:%Y-%m-%d %H:%M:%S} UTC", parts)


def _parts(check: Check) -> list[tuple[str, str]]:
    return [(check.name, str(check)), *([("", f"→ {check.remedy}")] if check.remedy else [])]


# -------------------------------------------------------- judging


def fine(name: str, seen: str, ms: Sequence[float] = ()) -> Check:
    """It is as it should be."""
    return _check(name, "ok", seen, "", ms)


def odd(name: str, seen: str, remedy: str, ms: Sequence[float] = ()) -> Check:
    """It works, and something should be done."""
    return _check(name, "warn", seen, remedy, ms)


def failed(name: str, seen: str, remedy: str, ms: Sequence[float] = ()) -> Check:
    """It does not work."""
    return _check(name, "fail", seen, remedy, ms)


def left_out(name: str, why: str, remedy: str = "") -> Check:
    """It could not be looked at, or need not."""
    return _check(name, "skipped", why, remedy, ())


def _check(name: str, status: Status, seen: str, remedy: str, ms: Sequence[float]) -> Check:
    ordered = sorted(ms)
    p50, p95 = (round(share_of(ordered, share), 2) if ordered else None for share in (0.5, 0.95))
    return Check(name=name, status=status, seen=plain(seen), remedy=plain(remedy), p50_ms=p50, p95_ms=p95)


# -------------------------------------------------------- measuring


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of something that was tried: a value or an error, and how long it took."""

    value: Any = None
    error: VastError | None = None
    ms: float = 0.0
    ended_at: float = 0.0
    """This computer's clock, seconds since 1970."""


def tried(work: Callable[[], Any]) -> Tried:
    """Try `work`; an error of ours is what came of it."""
    started = time.perf_counter()
    try:
        value, error = work(), None
    except VastError as problem:
        value, error = None, problem
    return Tried(value, error, (time.perf_counter() - started) * 1000, time.time())


def together(
    works: Mapping[str, Callable[[], Any]], *, within_s: float, after: Callable[[], object] = lambda: None
) -> dict[str, Tried]:
    """Try several things at once, and wait for them no longer than this: what came of each.

    Parameters
    ----------
    works
        By name. One that has not ended in time goes on by itself, and what comes of it is thrown away.
    within_s
        Seconds.
    after
        Done when the last has ended, in whose thread it is.
    """
    found: dict[str, Tried] = {}
    left, lock, done = [*works], threading.Lock(), threading.Event()

    def run(name: str) -> None:
        try:
            found[name] = tried(works[name])
        finally:
            with lock:
                left.remove(name)
                last = not left
            if last:
                after()
                done.set()

    for name in works:
        here = contextvars.copy_context()
        threading.Thread(target=here.run, args=(run, name), name=f"vastnb-health-{name}", daemon=True).start()
    done.wait(within_s)
    late = Tried(error=AnswerTimeoutError(f"nothing came within {within_s:g} s"))
    return {name: found.get(name, late) for name in works}
