"""What is kept of a machine: copies of its folders that come home in the background. `Instance` is one of these.

Here one says what is wanted; `keeper` does it, in this kernel or another, or in the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vastnb.errors import InputError, NotOursError
from vastnb.services import session
from vastnb.services.arguments import only_known
from vastnb.services.events import queue_of
from vastnb.services.instances.keeps import Folder, Keep, Keeps
from vastnb.services.instances.working import Working
from vastnb.services.remote import Job
from vastnb.vast.query import seconds_of

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.services.instances.fleet import Fleet
    from vastnb.vast.client import Client

__all__ = ["Keeping", "background", "keeps"]

_LEAST_S, _MOST_S = 30.0, 7 * 86_400.0
_MOST_COMMAND = 2_000
"""A list of jobs tells no more of a command."""
_TOLD = (
    "source", "to", "state", "copied_at", "next_at", "files", "size_gb", "every_s", "instance_id", "name", "usd", "moves", "problem",
)  # fmt: skip
background: list[Callable[[Fleet], object]] = []
"""What begins to work in this process when something is to be kept; the keeper puts itself here, which needs `Instance`."""


class Keeping(Working):
    """The part of `Instance` whose folders come home by themselves."""

    @only_known
    def keep(
        self, source: str, *, to: str | Path, every: str = "10min", job: Job | None = None, cwd: str = ".",
        then: Literal["keep", "destroy"] = "keep", patience: str | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Copy a folder of the machine home, again and again, from now on.

        Each copy is whole or not there: it is compared by checksums before it takes the place of the one before. This kernel copies
        in the background while it lives; another kernel that keeps something, `%vast watch` and ``vastnb sync`` go on with it.

        Rented with ``on_outbid="move"``, the machine is given up when it is outbid, or its host is not heard of for too long; another
        one is rented within what is left of its caps, the copies are put there, and `job` is started again.

        Parameters
        ----------
        source
            The folder on the machine, from its home on.
        to
            The folder here that always is the last whole copy.
        every
            How long from copy to copy, such as ``10min``; half a minute at least.
        job
            What is started again if the machine was moved or started anew. It must go on by itself from what is in the folder.
        cwd
            The folder it was started in.
        then
            What becomes of the machine when `job` has ended and all is copied: it stays, or is destroyed.
        patience
            How long a host that is not heard of is waited for before the machine is given up, such as ``30min``; without it, as was
            said before, or ``15min``.

        Returns
        -------
        DataFrame
            As `keeps`.

        Raises
        ------
        InputError
            Something that cannot be.
        NotOursError
            The machine was not made by vastnb.
        """
        import pandas as pd  # noqa: F401  # in the cell: imported in a thread it would show every frame as in a terminal

        if self._row is None:
            raise NotOursError(f"machine {self.id} was not made by vastnb, and is not kept", instance_id=self.id)
        folder = Folder(_checked(source), str(Path(to).expanduser().absolute()), _seconds("every", every))
        given = _given(job, cwd, then)
        if patience is not None:
            given["patience_s"] = _seconds("patience", patience)
        with self._all_kept() as keeps:
            there = keeps.of(self.id) or Keep(self.id, self._row.name, machines=(self.id,))
            keeps.put(_with(there, folder, **given))
        for begin in background:
            begin(self._fleet)
        return self.keeps()

    def keeps(self) -> pd.DataFrame:
        """What is kept of the machine, and how it goes; also of one that it was moved to since.

        Returns
        -------
        DataFrame
            Columns as in the columns page, also when it is empty.
        """
        with self._all_kept() as keeps:
            there = keeps.of(self.id)
        return _frame([there] if there is not None else [])

    def stop_keeping(self, source: str | None = None) -> pd.DataFrame:
        """Copy a folder no more, or none at all; what was copied stays. What is still kept."""
        which = None if source is None else _checked(source)
        with self._all_kept() as keeps:
            there = keeps.of(self.id)
            if there is not None:
                left = tuple(folder for folder in there.folders if which not in (None, folder.source))
                if left:
                    keeps.update(there, lambda now: replace(now, folders=left))
                else:
                    keeps.remove(there)
        return self.keeps()

    @contextmanager
    def _all_kept(self) -> Iterator[Keeps]:
        with closing(queue_of(self._fleet.client)) as queue:
            yield Keeps(queue)


def keeps(machine: str | int | None = None, *, client: Client | None = None) -> pd.DataFrame:
    """What is kept of all machines, or of one, and how it goes; also of those that are gone.

    It asks nobody: what was written down is told.

    Parameters
    ----------
    machine
        Its name or id, also that of one that it was moved from.

    Returns
    -------
    DataFrame
        A row a folder, oldest machine first; columns as documented under ``keeps``.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.keeps().empty
    True
    """
    with closing(queue_of(client or session.current().client)) as queue:
        every = Keeps(queue).all()
    return _frame([keep for keep in every if machine is None or str(machine) in (keep.name, *map(str, keep.machines))])


def _frame(found: list[Keep]) -> pd.DataFrame:
    from vastnb.vast.types.frames import frame_of

    rows = [_told(keep, folder) for keep in found for folder in keep.folders]
    frame = frame_of("keeps", {name: [row[i] for row in rows] for i, name in enumerate(_TOLD)})
    frame.attrs["vastnb"] = {"kind": "keeps"}
    return frame


def _with(keep: Keep, folder: Folder, **given: Any) -> Keep:
    others = [other for other in keep.folders if other.source != folder.source]
    same = next((other for other in keep.folders if (other.source, other.to) == (folder.source, folder.to)), folder)
    if any(other.to == folder.to for other in others):
        raise InputError(f"another folder of the machine is copied to {folder.to} already")
    return replace(keep, folders=(*others, replace(same, every_s=folder.every_s, next_at=0.0)), problem="", **given)


def _given(job: Job | None, cwd: str, then: str) -> dict[str, Any]:
    """What is said of the job, if one is."""
    if then not in ("keep", "destroy"):
        raise InputError(f"then must be 'keep' or 'destroy', got {then!r}")
    if job is None and then == "destroy":
        raise InputError("then='destroy' goes with a job: without one nobody knows when", hint="keep(..., job=job)")
    if job is None:
        return {}
    if len(job.command.encode()) >= _MOST_COMMAND:
        raise InputError(
            f"a job that is started again has less than {_MOST_COMMAND:,} bytes", hint="put() a script, and run that"
        )
    return {
        "command": job.command,
        "cwd": cwd,
        "job_id": job.id,
        "is_job_over": False,
        "is_started": True,
        "then": then,
    }


def _checked(source: str) -> str:
    path = source.removeprefix("~/").rstrip("/")
    if not path or path in (".", "~") or "\0" in path:
        raise InputError(f"expected a folder on the machine, such as /workspace/ckpt, got {source!r}")
    return path


def _seconds(name: str, said: str) -> float:
    try:
        seconds = seconds_of(said)
    except ValueError as error:
        raise InputError(f"{name}: {error}, got {said!r}", hint="for example 10min or 1h", original=error) from error
    if not _LEAST_S <= seconds <= _MOST_S:
        raise InputError(f"{name} must be {_LEAST_S:g} s to {_MOST_S / 86_400:g} days, got {said!r}")
    return seconds


def _told(keep: Keep, folder: Folder) -> tuple[Any, ...]:
    return (
        folder.source, folder.to, keep.state, folder.last_copy, keep.next_copy(folder), folder.files, folder.size_bytes / 1e9,
        folder.every_s, keep.instance_id, keep.name or None, folder.usd, len(keep.machines) - 1, folder.problem or keep.problem,
    )  # fmt: skip
