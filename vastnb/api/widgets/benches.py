"""A machine that somebody has opened in the fleet panel: its jobs and its files, and the slow work on them.

1. Nothing is looked up before somebody asks: ssh takes its time.
2. Each part (``jobs``, ``files``) does one thing at a time, in a thread that ends with it. What is clicked meanwhile does nothing.
3. What is brought home is measured first, by the same call that brings it: its price is said, and agreed to under a number. If it
   costs more by then, that is said, and asked for, again.

What goes wrong is said in the part in which it went wrong. Prices and caps are the service's.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from vastnb.errors import VastError
from vastnb.services.instances import Instance
from vastnb.services.remote import Moving
from vastnb.services.remote.files import sized
from vastnb.vast.render import plain

__all__ = ["Bench", "job_told", "log_told"]

Part = Literal["jobs", "files"]
_JOBS_SHOWN = 30
_TAIL, _LONGEST_LINE, _LONGEST_COMMAND = 60, 500, 2000
_TONES = {"running": "good", "failed": "bad", "lost": "bad"}
_PAUSE_S = 0.2
_DEARER_USD = 0.01
"""More than that above what was agreed to is asked for again: what a job writes grows meanwhile."""


class _Said(Exception):  # noqa: N818 nothing went wrong
    """Ends a copy before it begins: what it would be is to be said first."""

    def __init__(self, moving: Moving) -> None:
        super().__init__(moving)
        self.moving = moving


class _GivenUp(Exception):  # noqa: N818 nothing went wrong
    """Ends a copy in its middle."""


class Bench:
    """One machine, opened.

    Parameters
    ----------
    find
        Looks for the machine; raises where it is gone.
    begin
        Does work in a thread of its own.
    changed
        Told after each change of `parts`.
    """

    def __init__(
        self,
        find: Callable[[], Instance],
        *,
        begin: Callable[[Callable[[], None]], None],
        changed: Callable[[], None],
    ) -> None:
        self._find, self._begin, self._changed = find, begin, changed
        self._lock, self._given_up = threading.Lock(), threading.Event()
        self._asked = 0
        self.parts: dict[Part, dict[str, Any]] = {"jobs": {}, "files": {}}
        """What is shown of each part; JSON."""

    # ------------------------------------------------------------ jobs

    def look(self) -> None:
        """Look at its jobs."""
        self._do("jobs", "Looking", lambda: _jobs_of(self._find()))

    def read(self, job_id: str, *, errors: bool) -> None:
        """Read the last lines of what a job printed, or of its errors."""

        def work() -> dict[str, Any]:
            lines = log_told(self._find().job(job_id).log(_TAIL, errors=errors))
            return {"log": {"job": job_id, "errors": errors, "text": "\n".join(lines)}}

        self._do("jobs", "Reading", work)

    def close_log(self) -> None:
        """Show no log any more."""
        self._note("jobs", log=None)

    def stop(self, job_id: str) -> None:
        """End a job and all that it started."""

        def work() -> dict[str, Any]:
            machine = self._find()
            machine.job(job_id).stop()
            return _jobs_of(machine)

        self._do("jobs", "Stopping it", work)

    # ------------------------------------------------------------ files

    def measure(self, source: str, to: str) -> None:
        """Measure what would be brought home, and say what that costs; what costs nothing is brought."""

        def work() -> dict[str, Any]:
            return self._brought(source, to, _say_first)

        self._do("files", "Measuring", work, offer=None, said="")

    def bring(self, number: int) -> None:
        """Bring home what was measured under this number."""
        offer = self.parts["files"].get("offer")
        if offer is None or offer["number"] != number:
            return
        self._given_up.clear()
        told_at = [0.0]

        def tell(moving: Moving) -> None:
            if self._given_up.is_set():
                raise _GivenUp
            if offer["usd"] is not None and (moving.usd or 0.0) > offer["usd"] + _DEARER_USD:
                raise _Said(moving)
            if time.monotonic() - told_at[0] > _PAUSE_S:
                told_at[0] = time.monotonic()
                self._note("files", busy=str(moving))

        def work() -> dict[str, Any]:
            return self._brought(offer["source"], offer["to"], tell)

        self._do("files", "Bringing it home", work, offer=None, copying=True)

    def give_up(self) -> None:
        """Stop the copy that is under way, or do not begin it."""
        self._given_up.set()
        self._note("files", offer=None, stopping=True)

    def _brought(self, source: str, to: str, tell: Callable[[Moving], None]) -> dict[str, Any]:
        place = Path(to).expanduser().absolute()
        try:
            copied = self._find().get(source, to, on_progress=tell)
        except _Said as said:
            self._asked += 1
            offer = {"number": self._asked, "source": source, "to": to, "usd": said.moving.usd}
            return {"offer": {**offer, "words": _measured(said.moving), "place": str(place)}}
        except _GivenUp:
            return {"said": "Stopped. What has come stays; the same again goes on where it was."}
        return {"said": f"{copied!r}; in {place}"}

    # ------------------------------------------------------------ one thing at a time

    def _do(self, part: Part, words: str, work: Callable[[], dict[str, Any]], **first: Any) -> None:
        if self.parts[part].get("busy"):
            return
        self._note(part, **first, busy=words, problem=None, stopping=False)

        def act() -> None:
            done: dict[str, Any] = {}
            try:
                done = work()
            except VastError as error:
                done = {"problem": {"name": type(error).__name__, "message": plain(error.message), "hint": error.hint}}
            finally:
                self._note(part, **{"busy": "", "copying": False, **done})

        self._begin(act)

    def _note(self, part: Part, **changes: Any) -> None:
        with self._lock:
            self.parts[part] = {**self.parts[part], **changes}
        self._changed()  # not inside: whoever draws waits for the panel, which may wait for us


def _say_first(moving: Moving) -> None:
    if moving.total_bytes:
        raise _Said(moving)


def _jobs_of(machine: Instance) -> dict[str, Any]:
    frame = machine.jobs()
    jobs = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return {
        "looked": True,
        "rows": [job_told({str(name): value for name, value in job.items()}) for job in reversed(jobs[-_JOBS_SHOWN:])],
        "more": max(0, len(jobs) - _JOBS_SHOWN),
    }


# ---------------------------------------------------------------- what is said: pure


def job_told(job: dict[str, Any]) -> dict[str, Any]:
    """What is said of a job; JSON.

    Parameters
    ----------
    job
        A row of `Instance.jobs`; None where something is not known.
    """
    return {
        "id": job["job_id"],
        "state": job["state"],
        "tone": _TONES.get(job["state"], "calm"),
        "code": "" if job["code"] is None else f"exit status {job['code']}",
        "command": plain(job["command"], _LONGEST_COMMAND),
        "when": _when(job["began_at"], job["ended_at"]),
        "out": sized(job["stdout_bytes"]) if job["stdout_bytes"] else "",
        "err": sized(job["stderr_bytes"]) if job["stderr_bytes"] else "",
    }


def _measured(moving: Moving) -> str:
    usd = moving.usd
    if usd is None:
        price = "the price of its traffic is not known"
    elif not usd:
        price = "its traffic costs nothing"
    else:
        price = f"${usd:.4f} of traffic" if usd >= 0.00005 else "less than $0.0001 of traffic"
    return f"{moving.what.removeprefix('get ')}, {sized(moving.total_bytes)}: {price}"


def _when(began: datetime, ended: datetime | None) -> str:
    since = f"{began:%Y-%m-%d %H:%M:%S} UTC"
    if ended is None:
        return f"since {since}"
    minutes, seconds = divmod(int((ended - began).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    took = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
    return f"{since}, took {took}"


def log_told(text: str) -> Iterator[str]:
    """The lines of a log, printable and of bounded length; of a progress bar, which writes over itself, the last state."""
    for line in text.split("\n"):
        last = line.rstrip("\r").rpartition("\r")[2]
        shown = "".join(
            piece if piece.isspace() else plain(piece, _LONGEST_LINE)
            for piece in re.split(r"([ \t]+)", last[:_LONGEST_LINE])
        )
        yield shown + ("…" if len(last) > _LONGEST_LINE else "")
