"""`Job`: a command that runs on a machine by itself, as it was when last looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from vastnb.errors import NotFoundError
from vastnb.services.arguments import unknown_attribute
from vastnb.services.remote import scripts
from vastnb.services.remote.connection import Connection
from vastnb.services.remote.running import GRACE_S, OnOutput, Ran, end, follow
from vastnb.vast.render import Card, card_html, card_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Job", "JobRow", "jobs_frame", "read_jobs"]

State = Literal["running", "done", "failed", "stopped", "lost"]


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job, as the machine tells it."""

    job_id: str
    command: str
    state: State
    code: int | None
    began_at: float
    """By the machine's clock, seconds since 1970."""
    ended_at: float | None
    stdout_bytes: int
    stderr_bytes: int


def read_jobs(told: bytes) -> list[JobRow]:
    """What `scripts.listing` prints, oldest first."""
    _, *records = told.decode(errors="replace").split("\x1e")
    rows = [_row(record.split("\x1f", 7)) for record in records if record]
    return sorted(rows, key=lambda row: row.began_at)  # within a second they come in their order


def _row(fields: list[str]) -> JobRow:
    job_id, began, end, alive, stopped, out, err, command = fields
    code, _, ended = end.partition(" ")
    is_over = code.isdecimal()
    state: State = _ended(int(code), stopped == "1") if is_over else "running" if alive == "1" else "lost"
    return JobRow(
        job_id, command.rstrip("\n"), state, int(code) if is_over else None, float(began or 0),
        float(ended.strip() or 0) if is_over else None, int(out), int(err),
    )  # fmt: skip


def _ended(code: int, was_stopped: bool) -> State:
    if was_stopped:
        return "stopped"
    return "failed" if code else "done"


def jobs_frame(rows: list[JobRow]) -> pd.DataFrame:
    """Jobs as a frame."""
    from vastnb.vast.types.frames import frame_of

    columns = {
        "job_id": [row.job_id for row in rows],
        "state": [row.state for row in rows],
        "code": [row.code for row in rows],
        "command": [row.command for row in rows],
        "began_at": [_time(row.began_at) for row in rows],
        "ended_at": [None if row.ended_at is None else _time(row.ended_at) for row in rows],
        "stdout_bytes": [row.stdout_bytes for row in rows],
        "stderr_bytes": [row.stderr_bytes for row in rows],
    }
    frame = frame_of("jobs", columns)
    frame.attrs["vastnb"] = {"kind": "jobs"}
    return frame


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Job:
    """A command on a machine that needs nobody to wait for it. Attributes are what was last seen; `refresh` looks again.

    Attributes
    ----------
    id, command, state, code
        Its name, what it runs, ``running``, ``done``, ``failed``, ``stopped`` or ``lost`` (the machine was started anew), and
        its exit status.
    """

    def __init__(self, connect: Callable[[], Connection], row: JobRow, spools: Path) -> None:
        self._connect, self._row, self._spools = connect, row, spools

    @property
    def id(self) -> str:
        """Its name."""
        return self._row.job_id

    @property
    def command(self) -> str:
        """What it runs."""
        return self._row.command

    @property
    def state(self) -> State:
        """What it does."""
        return self._row.state

    @property
    def code(self) -> int | None:
        """Its exit status; None while it runs, and if it is not known."""
        return self._row.code

    if not TYPE_CHECKING:  # a checker would take every name for one that is there

        def __getattr__(self, name: str) -> Any:
            raise unknown_attribute(self, name)

    def __repr__(self) -> str:
        return card_text(self._card())

    def _repr_html_(self) -> str:
        return card_html(self._card())

    def _card(self) -> Card:
        row = self._row
        ended = "" if row.ended_at is None else f"{row.ended_at - row.began_at:.0f} s"
        shown = {
            "runs": row.command, "exit status": "" if row.code is None else str(row.code), "took": ended,
            "printed": f"{row.stdout_bytes:,} bytes" if row.stdout_bytes else "", "errors": f"{row.stderr_bytes:,} bytes" if row.stderr_bytes else "",
        }  # fmt: skip
        return Card(f"job {row.job_id}, {row.state}", [(name, text) for name, text in shown.items() if text])

    def refresh(self) -> Self:
        """Look again; itself.

        Raises
        ------
        NotFoundError
            The machine has no such job any more.
        """
        self._row = find_job(self._connect(), self.id)
        return self

    def log(self, tail: int = 100, *, errors: bool = False) -> str:
        """The last lines of what it printed, or of its errors."""
        done = self._connect().run(scripts.tail(self.id, "err" if errors else "out", tail))
        return done.stdout.decode(errors="replace")

    def wait(self, *, timeout_s: float | None = None, on_output: OnOutput | None = None) -> Ran:
        """Wait until it ends, with all that it printed from its beginning; what came of it.

        Ctrl-C and a time-out end the waiting alone.
        """
        ran = follow(
            self._connect(), self.id, timeout_s=timeout_s, on_output=on_output, spools=self._spools, is_detached=True
        )
        self.refresh()
        return ran

    def stop(self, *, grace_s: float = GRACE_S) -> Self:
        """End it and all that it started, hard if it does not within `grace_s` seconds; itself."""
        end(self._connect(), self.id, grace_s=grace_s)
        return self.refresh()

    def forget(self) -> None:
        """End it if it runs, and remove what the machine keeps of it."""
        connection = self._connect()
        end(connection, self.id)
        connection.run(scripts.forget(self.id))


def find_job(connection: Connection, job_id: str) -> JobRow:
    """The job of this name.

    Raises
    ------
    NotFoundError
        There is none.
    """
    known = read_jobs(connection.run(scripts.listing()).stdout)
    for row in known:
        if row.job_id == job_id:
            return row
    raise NotFoundError(
        f"machine {connection.address.instance_id} has no job {job_id}",
        hint=f"it has {', '.join(row.job_id for row in known)}" if known else "jobs() lists what it has: nothing",
    )
