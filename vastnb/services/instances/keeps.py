"""What is to be kept of which machine, beside the events of the account: so that any kernel or daemon goes on with it.

A `Keep` is one machine's: the folders that are copied home, and the job that goes on elsewhere when the machine is moved. Whoever
works at one holds it, so that no other does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from vastnb.infra.processes import is_gone, new_mark
from vastnb.services.events import Queue

__all__ = ["DESTROYED", "PATIENCE_S", "Folder", "Keep", "Keeps", "Stage"]

Stage = Literal["kept", "leaving", "arriving", "over"]
"""
* ``kept``: its folders are copied while it runs;
* ``leaving``: the machine is given up, and another one is looked for;
* ``arriving``: another one is rented, and does not have the files yet;
* ``over``: the machine is gone.
"""
DESTROYED = "destroyed by vastnb"
"""What the journal notes of a machine that its owner wants to end: it was not lost."""
PATIENCE_S = 900.0
"""For how long a host that is not heard of is waited for, unless it is said."""
_NOTE = "keeps"
_HELD_S = 120.0
_WORKING_S = 6 * 3600.0
"""A copy cannot take longer: what seems to is a process number that was given out again."""
_MOST_OVER = 20
_NOTICED_S = 600.0
"""So long after its host has gone a machine may still seem to run."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a machine that is copied home. Times are the service's clock, seconds since 1970."""

    source: str
    to: str
    every_s: float
    copied_at: float | None = None
    same_at: float | None = None
    """When both sides were last the same: a copy came, or was put on another machine."""
    files: int = 0
    size_bytes: int = 0
    """Of the last whole copy."""
    moved_bytes: int = 0
    """By all copies."""
    usd: float = 0.0
    """Their traffic."""
    problem: str = ""
    """Why the last try was not whole; empty if it was."""
    was_cut: bool = False
    """Whether the last try failed because the machine was not reached any more."""
    next_at: float = 0.0

    @property
    def last_copy(self) -> datetime | None:
        """When the last whole copy came, by the service's clock."""
        return None if self.copied_at is None else datetime.fromtimestamp(self.copied_at, UTC)

    def is_behind(self, ran_at: float) -> bool:
        """Whether a machine that last ran at a time has more than was to be lost with it: its disk is not given up then."""
        if self.same_at is None:
            return False
        return bool(self.problem and not self.was_cut) or ran_at - self.same_at > 2 * self.every_s + _NOTICED_S


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept of one machine."""

    instance_id: int
    name: str = ""
    folders: tuple[Folder, ...] = ()
    command: str = ""
    """The job's; empty if there is none."""
    cwd: str = "."
    job_id: str = ""
    is_started: bool = False
    """Whether the job of this name was started. It is named first: so nothing is started twice."""
    is_job_over: bool = False
    then: str = "keep"
    """What becomes of the machine when the job has ended and all is copied: ``keep`` or ``destroy``."""
    stage: Stage = "kept"
    patience_s: float = PATIENCE_S
    """For how long it is waited for when its host is not heard of."""
    ran_at: float = 0.0
    """When it was last seen to run."""
    lost_at: float | None = None
    """Since when its host is not heard of, or it does not run again after that; None if it does."""
    gone_at: float | None = None
    """Since when it is not there any more, and nobody here ended it."""
    machines: tuple[int, ...] = ()
    """All that it was on, this one included."""
    problem: str = ""
    """Why the machine could not be looked after; empty if it could."""
    owner: str = ""
    held_until: float = 0.0
    """By this computer's clock."""

    @property
    def state(self) -> str:
        """In one word what is done: the stage, and whether its job is over or its host is lost."""
        if self.stage == "kept" and self.is_job_over:
            return "job over"
        return "lost" if self.stage in ("kept", "arriving") and self.lost_at is not None else self.stage

    def is_held(self, now: float) -> bool:
        """Whether somebody works at it, by this computer's clock."""
        return self.owner != "" and self.held_until >= now and not is_gone(self.owner)

    def next_copy(self, folder: Folder) -> datetime | None:
        """When the next copy of one of its folders is due, by the service's clock; None if none is to come, or it is the first."""
        is_to_come = self.state in ("kept", "lost", "arriving") and folder.next_at
        return datetime.fromtimestamp(folder.next_at, UTC) if is_to_come else None

    def folder(self, source: str, **changes: Any) -> Keep:
        """With one of its folders changed."""
        changed = (replace(folder, **changes) if folder.source == source else folder for folder in self.folders)
        return replace(self, folders=tuple(changed))


class Keeps:
    """All that is kept of one account's machines.

    Parameters
    ----------
    queue
        Where it lies.

    Raises
    ------
    StateError
        From each method: the file cannot be used.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue, self._me = queue, new_mark()

    def all(self) -> list[Keep]:
        """Everything, oldest first."""
        return _read(self._queue.note(_NOTE)[0])

    def open(self) -> list[Keep]:
        """What is not over."""
        return [keep for keep in self.all() if keep.stage != "over"]

    def of(self, instance_id: int) -> Keep | None:
        """That of a machine, also of one that it was moved from."""
        return next((keep for keep in reversed(self.all()) if instance_id in keep.machines), None)

    def put(self, keep: Keep) -> None:
        """Write one down, in place of what there is of the same machine."""
        self._change(lambda there: [*(other for other in there if other.machines[0] != keep.machines[0]), keep])

    def update(self, keep: Keep, change: Callable[[Keep], Keep]) -> Keep | None:
        """Change what there is now of `keep`, if there still is; what was written."""
        written: list[Keep] = []

        def changed(there: Keep) -> Keep:
            if there.machines[0] != keep.machines[0]:
                return there
            written.append(change(there))
            return written[-1]

        self._change(lambda there: [changed(other) for other in there])
        return written[-1] if written else None

    def remove(self, keep: Keep) -> None:
        """Forget one."""
        self._change(lambda there: [other for other in there if other.machines[0] != keep.machines[0]])

    # ------------------------------------------------------------ who works at it

    def hold(self, keep: Keep, *, is_working: bool = False) -> Keep | None:
        """Be the one who works at it, for some minutes or as long as a copy may take; None if another is, or it is no more."""
        now = self._queue.clock()
        until = now + (_WORKING_S if is_working else _HELD_S)

        def taken(there: Keep) -> Keep:
            is_free = there.owner == self._me or not there.is_held(now)
            return replace(there, owner=self._me, held_until=until) if is_free else there

        held = self.update(keep, taken)
        return held if held is not None and held.owner == self._me else None

    def release(self) -> None:
        """Let others work at what was held here."""
        self._change(lambda there: [replace(k, owner="", held_until=0.0) if k.owner == self._me else k for k in there])

    def _change(self, change: Callable[[list[Keep]], list[Keep]]) -> None:
        self._queue.exchange(_NOTE, lambda text: _written(change(_read(text))))


def _read(text: str) -> list[Keep]:
    rows = orjson.loads(text) if text else []
    return [
        Keep(**row | {"folders": tuple(Folder(**folder) for folder in row["folders"]), "machines": tuple(row["machines"])})
        for row in rows
    ]  # fmt: skip


def _written(keeps: list[Keep]) -> str:
    over = [keep for keep in keeps if keep.stage == "over"]
    forgotten = over[: max(0, len(over) - _MOST_OVER)]
    return orjson.dumps([keep for keep in keeps if keep not in forgotten]).decode()
