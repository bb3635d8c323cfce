"""`Instance`: one rented machine, and what can be done with it. Its attributes are what was last seen; only methods ask."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vastnb.errors import (
    ApiError,
    BudgetError,
    CopyError,
    DestroyUncertainError,
    InputError,
    MachineError,
    NotOursError,
    NotRunningError,
    VastError,
    WaitTimeoutError,
)  # fmt: skip
from vastnb.services import notices
from vastnb.services.arguments import only_known
from vastnb.services.checks import HealthReport
from vastnb.services.instances.celling import Celling
from vastnb.services.instances.checking import Sighting, checked
from vastnb.services.instances.keeping import Keeping
from vastnb.services.instances.keeps import DESTROYED
from vastnb.services.instances.labels import Label, read_label, write_label
from vastnb.services.instances.lasting import Lasting, move_end
from vastnb.services.instances.looks import Progress, per_hour
from vastnb.services.instances.spending import Bill, bill_of
from vastnb.services.instances.states import phase_of, verdict
from vastnb.services.journal import Rental
from vastnb.services.remote import Copied, Moving, forget_entry
from vastnb.vast.render import plain
from vastnb.vast.types.records import InstanceRecord

if TYPE_CHECKING:
    from vastnb.services.instances.fleet import Fleet
    from vastnb.services.instances.terms import Plan

__all__ = ["Instance"]

_POLL_S = 5.0
_STARTING_S = 180.0
"""For so long after a start a machine may seem to have exited."""
_STUCK_S = 900.0
_LOOKS_S = (0, 1, 2, 4, 8, 15, 30)
_OVERBID = 1.02


class Instance(Celling, Keeping):
    """A rented machine. `vastnb.launch` and `vastnb.instance` give one.

    Attributes are what was last seen (`seen_at`); `refresh` looks again.
    """

    def __init__(
        self,
        fleet: Fleet,
        record: InstanceRecord | None,
        row: Rental | None,
        now: float,
        *,
        plan: Plan | None = None,
        again: Callable[[float], Instance] | None = None,
    ) -> None:
        super().__init__(fleet, record, row, now, plan=plan)
        self._again = again

    # -------------------------------------------------------- looking

    def health(self) -> HealthReport:
        """Look again, and check it: its state against what was asked, SSH, Jupyter, GPUs, disk, what was quoted, time and cost.

        Takes some seconds at most. If the service does not answer, it is judged by what was last seen, and the report says so.
        """
        problem: ApiError | None = None
        try:
            self.refresh()
        except ApiError as error:
            problem = error
        called = f"{self.name}: machine {self.id}" if self.name else f"machine {self.id}"
        return checked(self._fleet.client, called, Sighting(self._record, self._row, self._now, problem))

    def bill(self) -> Bill:
        """What was charged for it so far, by item."""
        began = self._record.start_date if self._record is not None and self._record.start_date else None
        since = began if began is not None else (self._row.sent_at if self._row is not None else self._now)
        charges = self._fleet.machines.charges(
            datetime.fromtimestamp(since - 86_400, UTC), datetime.fromtimestamp(self._now + 60, UTC)
        )
        quoted = self._row.quote.get("usd_total") if self._row is not None else None
        return bill_of(self.id, charges, quoted_usd=quoted, is_final=self.state == "gone")

    def wait(
        self, *, timeout_s: float = 1800, replace: int = 0, stuck_s: float = _STUCK_S,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Self:  # fmt: skip
        """Wait until it runs; itself.

        Parameters
        ----------
        timeout_s
            How long at most.
        replace
            How often a machine that stays in loading is destroyed and another rented, within the same caps; itself is then that
            one, and the progress says so.
        stuck_s
            For how long it may load before it counts as stuck.
        on_progress
            Told how far it is; without one, a notebook shows it.

        Raises
        ------
        NotRunningError
            It will not run by itself: it failed, exited, was stopped or outbid, or its host is gone.
        WaitTimeoutError
            It does not run yet. It exists, and costs.
        """
        tell = on_progress or notices.show_progress or (lambda _progress: None)
        began, replaced = self._now, 0
        try:
            while (found := self._verdict(began, stuck_s)) != "ready":
                tell(self._progress(began))
                if found == "stuck" and replaced < replace:
                    began, replaced = self._replaced(), replaced + 1
                elif found in ("dead", "stuck") and not self._bid_again():
                    raise self._wont_run(found)
                elif self._now - began > timeout_s:
                    raise WaitTimeoutError(
                        f"machine {self.id} is {self.state} after {timeout_s:.0f} s; it costs {per_hour(self.usd_per_hour)}",
                        instance_id=self.id, hint=f"vastnb.instance({self.name or self.id!r}).wait() waits on, .destroy() ends it",
                    )  # fmt: skip
                self._fleet.pause(_POLL_S)
                self.refresh()
        except KeyboardInterrupt as stop:
            stop.add_note(f"Machine {self.id} still exists, and costs {per_hour(self.usd_per_hour)}.")
            tell(
                self._progress(
                    began, f"no longer waited for; it still costs {per_hour(self.usd_per_hour)}", is_last=True
                )
            )
            raise
        tell(self._progress(began, is_last=True))
        return self

    def _verdict(self, began: float, stuck_s: float) -> str:
        if self._record is None:
            return "wait"
        phase = phase_of(self._record, was_stopped=self._row is not None and self._row.was_stopped)
        return verdict(phase, waited_s=self._now - began, start_s=_STARTING_S, stuck_s=stuck_s)

    def _progress(self, began: float, message: str | None = None, *, is_last: bool = False) -> Progress:
        said = plain(self._record.status_msg or "") if self._record is not None else ""
        usd = self.usd_per_hour
        since = self._row.sent_at if self._row is not None else began
        return Progress(
            self.id, self.name, self.state, self._now - began, None if usd is None else usd * (self._now - since) / 3600,
            said if message is None else message, is_last,
        )  # fmt: skip

    def _wont_run(self, found: str) -> NotRunningError:
        said = plain(self._record.status_msg or "") if self._record is not None else ""
        why = f" ({said})" if said else ""
        what = "has been loading for too long" if found == "stuck" else f"is {self.state}, and will not run by itself"
        return NotRunningError(
            f"machine {self.id} {what}{why}; it costs {per_hour(self.usd_per_hour)}", instance_id=self.id,
            hint=f"vastnb.instance({self.name or self.id!r}).destroy() ends it, .start() starts it again; wait(replace=2) takes another",
        )  # fmt: skip

    def _bid_again(self) -> bool:
        """Raise the bid of a machine that was outbid, as far as its terms go; whether that was done."""
        terms = self._row.terms if self._row is not None else {}
        record = self._record
        if self.state != "outbid" or record is None or record.min_bid_usd_per_hour is None:
            return False
        if terms.get("on_outbid") == "destroy":
            self.destroy()
            return False
        bid = record.min_bid_usd_per_hour * _OVERBID
        if terms.get("on_outbid") != "raise" or bid > (terms.get("max_bid_usd_per_hour") or 0.0):
            return False
        self.change_bid(bid)
        return True

    def _replaced(self) -> float:
        """Destroy this machine, which is stuck, and become another within the same caps; since when that one is awaited."""
        if self._again is None:
            raise self._wont_run("stuck")
        self.destroy()
        other = self._again(self._now)
        self.__dict__.update(other.__dict__)
        return self._now

    # -------------------------------------------------------- changing

    def stop(self, *, force: bool = False) -> Self:
        """Stop it; its disk stays, and is billed. Its GPUs may go to somebody else."""
        self._require_ours(force)
        self._fleet.machines.change(self.id, state="stopped")
        self._note(was_stopped=True)
        return self.refresh()

    def start(self, *, force: bool = False) -> Self:
        """Start it again; it may have to wait for GPUs that somebody else has.

        Raises
        ------
        MachineError
            Its end has passed: it would end itself at once.
        """
        row = self._require_ours(force)
        if row is not None and row.ends_at is not None and row.ends_at <= self._now:
            raise MachineError(
                f"machine {self.id} was to end {self.ends_at:%Y-%m-%d %H:%M} UTC, and would end itself at once",
                instance_id=self.id,
                hint="extend(hours=...) first",
            )
        self._fleet.machines.change(self.id, state="running")
        self._note(was_stopped=False)
        return self.refresh()

    def reboot(self, *, force: bool = False) -> Self:
        """Restart the container; the disk stays."""
        self._require_ours(force)
        self._fleet.machines.reboot(self.id)
        return self.refresh()

    def rename(self, label: str, *, force: bool = False) -> Self:
        """Give it another text; what vastnb finds it by stays."""
        self._require_ours(force)
        before = read_label(self._record.label) if self._record is not None else None
        self._relabel(before._replace(text=label) if before is not None else label)
        return self

    @only_known
    def extend(self, hours: float, *, max_usd: float | None = None) -> Self:
        """Let it live longer than it was rented for.

        Parameters
        ----------
        hours
            How much longer.
        max_usd
            The new cap in all, needed where it was rented with one that would not hold.

        Raises
        ------
        BudgetError
            A cap does not hold.
        """
        row = self._require_ours(force=False)
        if not 0 < hours <= 100_000:
            raise InputError(f"hours must be more than 0, got {hours!r}")
        if row is None or row.ends_at is None:
            raise MachineError(f"machine {self.id} has no end that could be moved", instance_id=self.id)
        more = hours * row.usd_per_hour
        most = None if row.most_usd is None else row.most_usd + more
        cap = max_usd if max_usd is not None else row.terms.get("max_usd")
        if cap is not None and most is not None and most > cap + 1e-9:
            raise BudgetError(
                f"max_usd={cap:g} is ${most - cap:,.2f} too little for {hours:g} h more", cap="max_usd", limit_usd=cap, needed_usd=most,
                hint=f"extend({hours:g}, max_usd={most:.2f})",
            )  # fmt: skip
        ends_at = row.ends_at + hours * 3600
        label, terms = self._record.label if self._record is not None else row.label, {**row.terms, "max_usd": cap}
        self._row, label = move_end(self._fleet, row, label or "", ends_at, most_usd=most, terms=terms)
        if self._record is not None:
            self._record = self._record.model_copy(update={"label": label})
        return self

    def change_bid(self, usd_per_hour: float, *, force: bool = False) -> Self:
        """Bid anew for an interruptible machine, dollars an hour for all its GPUs together.

        Raises
        ------
        BudgetError
            With its disk it would cost more than it was rented for at most.
        """
        row = self._require_ours(force)
        record = self._record
        if record is not None and not record.is_bid:
            raise InputError(f"machine {self.id} was rented on demand; there is no bid to change")
        cap = row.terms.get("max_usd_per_hour") if row is not None else None
        disk = (record.disk_usd_per_hour or 0.0) if record is not None else 0.0
        if cap is not None and usd_per_hour + disk > cap + 1e-9:
            raise BudgetError(
                f"max_usd_per_hour is ${cap:.3f}; with this bid and its disk it would cost ${usd_per_hour + disk:.3f}/h",
                cap="max_usd_per_hour", limit_usd=cap, needed_usd=usd_per_hour + disk,
            )  # fmt: skip
        self._fleet.machines.bid(self.id, usd_per_hour)
        self._note(usd_per_hour=usd_per_hour + disk)
        return self.refresh()

    @only_known
    def destroy(self, *, fetch: str | None = None, to: str | Path = ".", force: bool = False) -> Bill:
        """End it and its disk; its final bill.

        Parameters
        ----------
        fetch
            A file or folder on it that is brought home first, and compared there. An end of its own that falls within that is put off,
            as far as ``max_usd`` goes. If it fails the machine is kept, stopped.
        to
            Where it goes, as in `get`.
        force
            Also if vastnb did not make it.

        Raises
        ------
        CopyError
            Not all of `fetch` came; the machine is kept, and the hint says what it costs.
        DestroyUncertainError
            It could not be seen that it is gone.
        """
        self._require_ours(force)
        if fetch is not None:
            self._bring_home(fetch, to)
        self._note(note=DESTROYED)
        problem: Exception | None = None
        for seconds in _LOOKS_S:
            if seconds:
                self._fleet.pause(seconds)
            try:
                self._fleet.machines.destroy(self.id)
                if self._is_gone():
                    break
            except ApiError as error:
                problem = error
        else:
            raise DestroyUncertainError(
                f"machine {self.id} was asked to end, and it could not be seen that it is gone",
                instance_id=self.id,
                original=problem,
            )
        self._note(state="ended")
        self._record = None
        forget_entry(self._fleet.client.state_folder, self.id)
        return self.bill()

    def _bring_home(self, source: str, to: str | Path) -> None:
        """Get what the machine must not end without; where that fails it is stopped, so that its disk alone costs."""
        try:
            changed = self._got_in_time(source, to).changed
            if changed:
                raise CopyError(f"{', '.join(changed[:3])} changed while copied", code="changed", files=changed)
        except VastError as error:
            raise CopyError(
                f"machine {self.id} was not destroyed, for {source} is not whole in {to}: {error}", code="kept", instance_id=self.id,
                hint=self._kept(), original=error,
            ) from error  # fmt: skip

    def _got_in_time(self, source: str, to: str | Path) -> Copied:
        """Get what the machine must not end itself without."""
        if self._row is None:
            return self.get(source, to, checksum=True)
        tell = notices.show_progress
        with Lasting(self._fleet, self._row) as lasting:

            def told(moving: Moving) -> None:
                lasting.pay(moving.usd or 0.0)
                if tell is not None:
                    tell(moving)

            return self.get(source, to, checksum=True, on_progress=told)

    def _kept(self) -> str:
        """Stop the machine if it runs; what it does now, and what to do next."""
        try:
            if self.state == "running":
                self.stop(force=True)
        except ApiError:
            return f"it still runs and costs; vastnb.instance({self.name or self.id!r}).destroy() ends it, and its files with it"
        is_late = self.ends_at is not None and self.ends_at < self.seen_at + timedelta(minutes=10)
        first = "extend(hours=1), " if is_late else ""
        return (
            f"it is {self.state}, and its disk costs: {first}start() and destroy(fetch=...) again, or destroy() without"
        )

    def _is_gone(self) -> bool:
        """Whether a list that can be read lacks it."""
        listing = self._fleet.machines.table()
        self._now = listing.seen_at.timestamp()
        return all(record.id != self.id for record in listing.records)

    def _require_ours(self, force: bool) -> Rental | None:
        if self._row is None and not force:
            raise NotOursError(f"machine {self.id} was not made by vastnb", instance_id=self.id)
        return self._row

    def _relabel(self, label: Label | str) -> None:
        text = write_label(label) if isinstance(label, Label) else label
        self._fleet.machines.change(self.id, label=text)
        if self._record is not None:
            self._record = self._record.model_copy(update={"label": text})
