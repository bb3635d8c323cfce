"""What is so now: who looks, since when, what is due, what waits, and what is wrong. Asks nobody but the state folder."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vastnb.infra.processes import new_mark
from vastnb.services import session
from vastnb.services.alerts import alerts_of
from vastnb.services.events import Queue, queue_of
from vastnb.services.instances.keeps import Folder, Keep, Keeps
from vastnb.services.sync.lease import Held, held
from vastnb.services.sync.sampler import has_work, passed_of, plan_of
from vastnb.services.sync.watcher import latest

__all__ = ["KeepStatus", "SyncStatus", "last_look", "sync_status"]


class KeepStatus(BaseModel):
    """A folder of a machine that is copied home. Times by the service's clock, UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance_id: int = Field(description="the machine")
    name: str = Field(description="what it is called; empty if it has no name")
    source: str = Field(description="the folder there")
    to: str = Field(description="its last whole copy here")
    state: str = Field(description="as the column of `vastnb.keeps`")
    copied_at: datetime | None = Field(description="when the last whole copy came; None if none has")
    next_at: datetime | None = Field(description="when the next is due; None if none is to come, or it is the first")
    problem: str = Field(description="why the last try failed; empty if it did not")
    kept_by: str | None = Field(description="computer and process; None if nobody copies")

    def __str__(self) -> str:
        by = f", by {self.kept_by}" if self.kept_by is not None else "; nobody copies now, vastnb sync would"
        due = f", next {_said(self.next_at)}" if self.next_at is not None else ""
        problem = f"; {self.problem}" if self.problem else ""
        called = f"{self.name} ({self.instance_id})" if self.name else f"machine {self.instance_id}"
        return f"{called} {self.source}: {self.state}, copied {_said(self.copied_at)}{due}{by}{problem}."


class SyncStatus(BaseModel):
    """Who looks at machines and market for all kernels of a user, and how it goes. Times by this computer's clock, UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    watched_by: str | None = Field(description="computer and process; None if nobody watches")
    here: bool = Field(description="whether it is this process")
    since: datetime | None = Field(description="since when")
    looked_at: datetime | None = Field(description="when it last looked, or tried to")
    every_s: float | None = Field(description="how long from look to look")
    problem: str = Field(description="why it could not look; empty if it could")
    last_look: datetime | None = Field(description="when the machines were last seen, by the service's clock")
    machines: int = Field(description="how many there were")
    models: tuple[str, ...] = Field(description="GPU models that are looked at on the market")
    alerts: int = Field(description="price alerts")
    market_every_s: float = Field(description="how long from pass to pass over the market")
    market_looked_at: datetime | None = Field(description="when the last pass began")
    next_market_look_at: datetime | None = Field(description="when the next is due; None if nothing is planned")
    market_problem: str = Field(description="why the last pass was not whole; empty if it was")
    queue_depth: int = Field(description="events that handlers have still to deal with")
    keeps: tuple[KeepStatus, ...] = Field(description="folders that are copied home from machines that are there")

    @property
    def exit_status(self) -> int:
        """What a shell is told: 1 if nobody looks, or it cannot, or something is not copied home."""
        is_kept = all(keep.kept_by is not None and not keep.problem for keep in self.keeps)
        return int(self.watched_by is None or bool(self.problem or self.market_problem) or not is_kept)

    def to_json(self) -> str:
        """All of it, for machines."""
        return self.model_dump_json(indent=1)

    def __str__(self) -> str:
        return "\n".join((self._watching(), self._market(), self._waiting(), *(f"Kept: {keep}" for keep in self.keeps)))

    __repr__ = __str__

    def _watching(self) -> str:
        if self.watched_by is None:
            last = f"; last look {_said(self.last_look)}" if self.last_look is not None else ""
            return f"Nobody watches{last}."
        who = "This process" if self.here else self.watched_by
        problem = f"; it cannot look: {self.problem}" if self.problem else ""
        return f"{who} watches since {_said(self.since)}, every {self.every_s:g} s; last look {_said(self.looked_at)}{problem}."

    def _market(self) -> str:
        if self.next_market_look_at is None:
            return "Market: nothing is planned."
        what = ", ".join((*self.models, *([f"price alerts: {self.alerts}"] if self.alerts else [])))
        problem = f"; last time: {self.market_problem}" if self.market_problem else ""
        return (
            f"Market: {what}, every {self.market_every_s / 60:g} min; next {_said(self.next_market_look_at)}{problem}."
        )

    def _waiting(self) -> str:
        return f"Machines: {self.machines}. Events that wait for handlers: {self.queue_depth}."


def _said(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else "never"


def sync_status() -> SyncStatus:
    """Who watches, and how it goes.

    Raises
    ------
    StateError
        The file of events cannot be used.
    """
    queue = queue_of(session.current().client)
    try:
        return _status(queue, time.time())
    finally:
        queue.close()


def _status(queue: Queue, now: float) -> SyncStatus:
    lease, plan, passed = held(queue, now), plan_of(queue), passed_of(queue)
    seen, _ = latest(queue)
    known = alerts_of(queue)
    return SyncStatus(
        **_of_lease(lease),
        last_look=_time(seen.at) if seen is not None else None,
        machines=len(seen.machines) if seen is not None else 0,
        models=plan.models,
        alerts=len(known),
        market_every_s=plan.every_s,
        market_looked_at=_time(passed.at) if passed.at else None,
        next_market_look_at=_time(max(passed.next_at, now)) if has_work(queue) else None,
        market_problem=passed.problem,
        queue_depth=queue.depth(),
        keeps=tuple(_of_keep(keep, folder, now) for keep in Keeps(queue).open() for folder in keep.folders),
    )


def _of_keep(keep: Keep, folder: Folder, now: float) -> KeepStatus:
    return KeepStatus(
        instance_id=keep.instance_id, name=keep.name, source=folder.source, to=folder.to, state=keep.state, copied_at=folder.last_copy,
        next_at=keep.next_copy(folder), problem=folder.problem or keep.problem,
        kept_by=_called(keep.owner) if keep.is_held(now) else None,
    )  # fmt: skip


def _of_lease(lease: Held | None) -> dict[str, Any]:
    if lease is None:
        return {"watched_by": None, "here": False, "since": None, "looked_at": None, "every_s": None, "problem": ""}
    (computer, process), me = _place(lease.owner), _place(new_mark())
    return {
        "watched_by": _called(lease.owner),
        "here": (computer, process) == me,
        "since": _time(lease.since),
        "looked_at": _time(lease.at),
        "every_s": lease.interval_s,
        "problem": lease.problem,
    }


def _called(mark: str) -> str:
    computer, process = _place(mark)
    return f"Process {process} on {computer}"


def _place(mark: str) -> tuple[str, str]:
    computer, process, _ = mark.rsplit(" ", 2)
    return computer, process


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def last_look(queue: Queue) -> str | None:
    """When the machines were last looked at, by the service's clock, as ISO text; None if never."""
    seen, _ = latest(queue)
    return _time(seen.at).isoformat() if seen is not None else None
