"""The keeper: copies home what is to be kept, starts jobs again, and moves machines that are outbid or lost. In the background.

A turn takes each `Keep` that no other process works at, with one look at the machines for all:

1. ``leaving``: the machine that is given up is destroyed, another one rented;
2. ``arriving``: it runs, so the copies are put there and compared;
3. ``kept``: a job that is not started is, what is due is copied;
4. a machine that may be moved is given up when it is outbid; when its host is not heard of, after some patience. One that comes
   back before is started again, with its disk as it was.

Each step is written down before the next begins, and does nothing if it is done already: whoever goes on, goes on there.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vastnb.errors import ApiError, BudgetError, CopyError, MachineError, NotFoundError, NotRunningError, VastError
from vastnb.services import session
from vastnb.services.events import Event, Queue, queue_of
from vastnb.services.instances import keeping, moving
from vastnb.services.instances.handle import Instance
from vastnb.services.instances.keeps import DESTROYED, Folder, Keep, Keeps
from vastnb.services.instances.states import phase_of
from vastnb.services.journal import Rental
from vastnb.services.remote import running
from vastnb.services.remote.jobs import find_job
from vastnb.services.remote.landing import Landing, read_sums, sums_script

if TYPE_CHECKING:
    from vastnb.services.instances.fleet import Fleet, Sight
    from vastnb.services.remote.jobs import JobRow
    from vastnb.vast.types.records import InstanceRecord

log = logging.getLogger("vastnb.keeper")
log.addHandler(logging.NullHandler())  # a background thread writes into no cell

__all__ = ["Keeper", "stop_keeper"]

_PAUSE_S = 30.0
_IDLE_S = 5.0
_AGAIN_S = 60.0
_ROUNDS = 3
_SUMS_S = 3600.0
_JOIN_S = 5.0
_LOST = ("offline", "unknown")


class Keeper:
    """Keeps what is to be kept of one account's machines.

    Parameters
    ----------
    fleet
        The machines.
    queue
        Where it is written down, and where events go.
    """

    def __init__(self, fleet: Fleet, queue: Queue) -> None:
        self._fleet, self._queue, self._keeps = fleet, queue, Keeps(queue)

    def run(self, stopping: threading.Event, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Turn again and again until told to stop, or it shall not go on; then let another."""
        pause_s = 0.0
        while not stopping.wait(pause_s) and goes_on():
            try:
                pause_s = self.turn()
            except VastError as error:
                log.warning("nothing can be kept: %s", error)
                pause_s = _PAUSE_S
        try:
            self._keeps.release()
        except VastError as error:
            log.warning("%s", error)

    def turn(self) -> float:
        """Do what is due; how many seconds until the next turn.

        Raises
        ------
        VastError
            The machines cannot be listed, or what is written down cannot be used.
        """
        held = [keep for keep in map(self._keeps.hold, self._keeps.open()) if keep is not None]
        if not held:
            return _IDLE_S
        sight = self._fleet.look()
        for keep in held:
            self._look_after(keep, sight)
        return min([_PAUSE_S, *(folder.every_s / 4 for keep in held for folder in keep.folders)])

    def _look_after(self, keep: Keep, sight: Sight) -> None:
        """One machine; what goes wrong with it is noted, and tried again."""
        self._keeps.hold(keep, is_working=True)
        try:
            self._step(keep, sight)
            problem = ""
        except (VastError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem and not keep.problem:
            self._tell("instance.not_kept", keep, sight.now, problem)
        if problem != keep.problem:
            self._changed(keep, problem=problem)
        self._keeps.hold(keep)

    def _step(self, keep: Keep, sight: Sight) -> None:
        record = next((record for record in sight.listing.records if record.id == keep.instance_id), None)
        row = self._row(keep)
        if keep.stage == "leaving":
            self._leave(keep, row, sight)
        elif record is None:
            if row.state == "ended":
                self._vanished(keep, row, sight)
        else:
            self._at(keep, record, row, sight)

    def _at(self, keep: Keep, record: InstanceRecord, row: Rental, sight: Sight) -> None:
        """What is due at a machine that is there."""
        phase = phase_of(record, was_stopped=row.was_stopped)
        machine = Instance(self._fleet, record, row, sight.now)
        if phase == "running":
            keep = self._changed(keep, ran_at=sight.now, lost_at=None, gone_at=None)
            settled = self._settle_in(keep, machine, sight.now) if keep.stage == "arriving" else keep
            self._keep(settled, machine, sight.now)
        elif phase == "outbid" and _may_move(keep, row):
            self._give_up(keep, row, sight, "it is outbid, and its disk cannot be read")
        elif _may_move(keep, row) and (keep.lost_at is not None or _is_lost(record)):
            self._await(keep, machine, row, sight)
        elif phase in _LOST:
            raise MachineError(
                f"machine {keep.instance_id} is {phase}: nothing is copied", instance_id=keep.instance_id
            )

    def _row(self, keep: Keep) -> Rental:
        for row in self._fleet.journal.rows():
            if row.instance_id == keep.instance_id:
                return row
        raise NotFoundError(f"the journal does not know machine {keep.instance_id}")

    # ------------------------------------------------------------ copies, and the job

    def _keep(self, keep: Keep, machine: Instance, now: float) -> None:
        """Start the job if it is not, copy what is due; when the job has ended, all of it."""
        job = self._job(keep, machine, now)
        is_over = job is not None and job.state != "running"
        due = [folder for folder in keep.folders if is_over or folder.next_at <= now]
        are_whole = [self._copy(keep, folder, machine, now) for folder in due]
        if job is not None and is_over and all(are_whole):
            self._finish(keep, job, machine, now)

    def _job(self, keep: Keep, machine: Instance, now: float) -> JobRow | None:
        """The job as it is; one that is not started yet, or was lost when the machine was started anew, is started."""
        if not keep.command or keep.is_job_over:
            return None
        if keep.is_started:
            job = find_job(machine.connect(), keep.job_id)
            if job.state != "lost":
                return job
            keep = self._changed(keep, job_id=running.new_token(), is_started=False)
        running.begin(machine.connect(), running.start(keep.command, token=keep.job_id, cwd=keep.cwd))
        self._changed(keep, is_started=True)
        self._tell("instance.job_started", keep, now, "its job was started again")
        return None

    def _copy(self, keep: Keep, folder: Folder, machine: Instance, now: float) -> bool:
        """One folder, whole, or its copy stays as it was; whether it is."""
        try:
            done = self._taken(folder, machine)
        except (VastError, OSError) as error:
            problem, due = f"{type(error).__name__}: {error}", now + min(folder.every_s, _AGAIN_S)
            self._changed(keep, folder.source, problem=problem, was_cut=_is_cut(error), next_at=due)
            if not folder.problem:
                self._tell("instance.not_kept", keep, now, problem)
            return False
        self._changed(
            keep, folder.source, copied_at=now, same_at=now, next_at=now + folder.every_s, problem="", files=done.files, size_bytes=done.size_bytes,
            moved_bytes=folder.moved_bytes + done.moved_bytes, usd=folder.usd + done.usd,
        )  # fmt: skip
        self._tell("instance.copied", keep, now, f"{folder.source} is whole in {folder.to}: {done.files:,} files")
        return True

    def _taken(self, folder: Folder, machine: Instance) -> Folder:
        """Copy until both sides are the same; how much that was."""
        landing, moved, usd = Landing(Path(folder.to)), 0, 0.0
        landing.begin()
        for attempt in range(_ROUNDS):
            copied = machine.get(f"{folder.source}/", f"{landing.new}/", checksum=attempt > 0, on_progress=_nobody)
            moved, usd = moved + copied.size_bytes, usd + (copied.usd or 0.0)
            theirs = _sums(machine, folder.source)
            if landing.is_whole(theirs):
                landing.swap(theirs)
                size = sum((landing.to / path).stat().st_size for path in theirs)
                return replace(folder, files=len(theirs), size_bytes=size, moved_bytes=moved, usd=usd)
        raise CopyError(f"{folder.source} went on changing while it was copied", code="changed", instance_id=machine.id)

    def _finish(self, keep: Keep, job: JobRow, machine: Instance, now: float) -> None:
        """The job has ended, and all is copied."""
        ends = keep.then == "destroy" and job.state != "stopped"
        if ends:
            machine.destroy()
        self._changed(keep, is_job_over=True, stage="over" if ends else keep.stage)
        self._tell("instance.job_ended", keep, now, f"its job is {job.state} (status {job.code}), its folders are home")

    # ------------------------------------------------------------ another machine

    def _await(self, keep: Keep, machine: Instance, row: Rental, sight: Sight) -> None:
        """Wait for a machine whose host is not heard of; start it when it is back. When that takes too long, give it up."""
        since = sight.now if keep.lost_at is None else keep.lost_at
        keep = self._changed(keep, lost_at=since, gone_at=None)
        is_enough = sight.now >= since + keep.patience_s
        if machine.state == "stopped":
            try:
                machine.start()
            except (ApiError, MachineError):
                if not is_enough:
                    raise
            else:
                self._changed(keep, lost_at=sight.now)
                self._tell("instance.back", keep, sight.now, "its host is back, and it was started again")
                return
        if not is_enough:
            raise MachineError(
                f"machine {machine.id} is {machine.state} since {_clock(since)}: if it does not run, its job goes on elsewhere "
                f"from {_clock(since + keep.patience_s)} on", instance_id=machine.id,
            )  # fmt: skip
        self._give_up(keep, row, sight, f"its host is not heard of since {_clock(since)}")

    def _vanished(self, keep: Keep, row: Rental, sight: Sight) -> None:
        """A machine that is not there any more: it is over, unless it was lost before and nobody here ended it."""
        if keep.lost_at is None or not _may_move(keep, row):
            self._changed(keep, stage="over")
            return
        since = sight.now if keep.gone_at is None else keep.gone_at
        keep = self._changed(keep, gone_at=since)
        if sight.now < since + keep.patience_s:
            raise MachineError(
                f"machine {keep.instance_id} is gone with its host: its job goes on elsewhere from "
                f"{_clock(since + keep.patience_s)} on, unless it is not kept any more", instance_id=keep.instance_id,
            )  # fmt: skip
        self._give_up(keep, row, sight, f"it is gone with its host since {_clock(since)}")

    def _give_up(self, keep: Keep, row: Rental, sight: Sight, why: str) -> None:
        """Leave a machine, if another one is to be had and what it did is home, or if nothing is left of its caps."""
        behind = [folder for folder in keep.folders if folder.is_behind(keep.ran_at) and keep.gone_at is None]
        if behind:
            raise CopyError(
                f"machine {keep.instance_id} stays, although {why}: {behind[0].source} is not home as it was last "
                f"({behind[0].problem or 'its copy is too old'})", code="kept", instance_id=keep.instance_id,
                hint="change_bid() lets one that is outbid run again, destroy() gives it up",
            )  # fmt: skip
        message = ""
        try:
            plan = moving.offer_for(self._fleet, row, sight.now)
            message = f"{why}: it goes, and offer {plan.quote.offer_id} comes in its place"
        except BudgetError:
            if row.terms.get("at_end") == "stop":
                raise
        if not self._is_wanted(keep) or not _may_move(keep, self._row(keep)):
            return
        if message:
            self._tell("instance.moving", keep, sight.now, message)
        self._leave(self._changed(keep, stage="leaving"), row, sight)

    def _leave(self, keep: Keep, row: Rental, sight: Sight) -> None:
        record = next((record for record in sight.listing.records if record.id == keep.instance_id), None)
        if record is not None or row.note != DESTROYED:  # one that is not listed may come back with its host, and cost
            Instance(self._fleet, record, row, sight.now).destroy()
        if not self._is_wanted(keep):
            return
        try:
            other = moving.rent_for(self._fleet, row, sight.now)
        except BudgetError as error:
            self._changed(keep, stage="over")
            self._tell("instance.not_kept", keep, sight.now, f"{error}: it ended, and no other came in its place")
            return
        self._changed(
            keep, stage="arriving", instance_id=other.id, machines=(*keep.machines, other.id), job_id=running.new_token(), is_started=False,
            lost_at=None, gone_at=None,
        )  # fmt: skip

    def _is_wanted(self, keep: Keep) -> bool:
        """Whether it is still kept: looking for an offer takes time, in which its owner may have said otherwise."""
        return self._keeps.hold(keep, is_working=True) is not None

    def _settle_in(self, keep: Keep, machine: Instance, now: float) -> Keep:
        """Put the copies on the machine, and see that they are whole there."""
        for folder in keep.folders:
            landing = Landing(Path(folder.to))
            landing.mend()
            if not landing.to.exists():
                continue
            machine.put(f"{folder.to}/", f"{folder.source}/", checksum=True, on_progress=_nobody)
            there = _sums(machine, folder.source)
            wrong = tuple(path for path, digest in landing.held().items() if there.get(path) != digest)
            if wrong:
                raise CopyError(
                    f"{folder.to} is not whole on machine {machine.id}", instance_id=machine.id, files=wrong
                )
            self._changed(keep, folder.source, same_at=now, next_at=now + folder.every_s)
        self._tell("instance.moved", keep, now, f"it goes on as machine {machine.id}, which has its files")
        return self._changed(keep, stage="kept")

    # ------------------------------------------------------------ what is written down

    def _changed(self, keep: Keep, source: str | None = None, **changes: object) -> Keep:
        """Write down what is so now, of the whole or of one folder; it as it then is."""

        def change(there: Keep) -> Keep:
            return there.folder(source, **changes) if source is not None else replace(there, **changes)  # type: ignore[arg-type]

        return self._keeps.update(keep, change) or keep

    def _tell(self, kind: str, keep: Keep, now: float, message: str) -> None:
        called = keep.name or f"machine {keep.instance_id}"
        data = {"message": f"{called}: {message}", "name": keep.name}
        number = f"{kind} {keep.instance_id} {now:.3f} {message}"
        self._queue.add(
            [Event(number, kind, str(keep.instance_id), datetime.fromtimestamp(now, UTC), data)], source="keeper"
        )


def _may_move(keep: Keep, row: Rental) -> bool:
    """Whether another machine may come in the place of this one, which is meant to run."""
    is_meant_to_run = not row.was_stopped and row.note != DESTROYED
    return row.terms.get("on_outbid") == "move" and is_meant_to_run and not keep.is_job_over


def _is_lost(record: InstanceRecord) -> bool:
    """Whether it is its host's doing that a machine does not run: without it, it would."""
    with_host = record.model_copy(update={"actual_status": "exited"})
    return phase_of(record) in _LOST and phase_of(with_host) != "stopped"


def _is_cut(error: Exception) -> bool:
    """Whether the machine was not reached any more, and nothing else was wrong."""
    return isinstance(error, NotRunningError) or (isinstance(error, VastError) and error.retryable)


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _sums(machine: Instance, source: str) -> dict[str, str]:
    done = machine.connect().run(sums_script(source), timeout_s=_SUMS_S)
    if done.code:
        raise CopyError(
            f"{source} cannot be read whole on machine {machine.id}", code="refused", instance_id=machine.id
        )
    return read_sums(done.stdout)


def _nobody(_moving: object) -> None:
    """A background thread shows nothing."""


# ------------------------------------------------------------ the part of this process

_lock = threading.Lock()
_running: dict[int, tuple[threading.Thread, threading.Event]] = {}
"""By client."""


def _begin(fleet: Fleet) -> None:
    """Keep in this process, from now on, what is to be kept of the account."""
    with _lock:
        before = _running.get(id(fleet.client))
        if before is not None and before[0].is_alive():
            return
        stopping, there = threading.Event(), session.in_force()
        is_sessions = there is not None and there.client is fleet.client
        args = (stopping, lambda: session.in_force() is there) if is_sessions else (stopping,)
        thread = threading.Thread(target=_work, args=(fleet, *args), name="vastnb-keeper", daemon=True)
        _running[id(fleet.client)] = thread, stopping
        thread.start()


def _work(fleet: Fleet, *until: Any) -> None:
    with closing(queue_of(fleet.client)) as queue:
        Keeper(fleet, queue).run(*until)


keeping.background.append(_begin)


@atexit.register
def stop_keeper() -> None:
    """Keep nothing more in this process; others go on."""
    with _lock:
        there: Sequence[tuple[threading.Thread, threading.Event]] = tuple(_running.values())
        _running.clear()
    for _, stopping in there:
        stopping.set()
    for thread, _ in there:
        thread.join(_JOIN_S)
