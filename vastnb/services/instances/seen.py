"""`Seen`: a rented machine as it was when last looked at. Attributes ask nobody; `refresh` looks again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from vastnb.errors import MachineError, NotFoundError
from vastnb.services.arguments import unknown_attribute
from vastnb.services.instances.fleet import Fleet, ssh_command
from vastnb.services.instances.labels import read_label
from vastnb.services.instances.looks import card_of
from vastnb.services.instances.spending import usd_per_hour_now
from vastnb.services.instances.states import Phase, phase_of
from vastnb.services.instances.terms import Plan
from vastnb.services.journal import Rental
from vastnb.vast.render import Card, card_html, card_text
from vastnb.vast.types.records import InstanceRecord

__all__ = ["Seen"]


class Seen:
    """The part of `Instance` that tells what was last seen of it."""

    def __init__(
        self, fleet: Fleet, record: InstanceRecord | None, row: Rental | None, now: float, *, plan: Plan | None = None
    ) -> None:
        self._fleet, self._record, self._row, self._now = fleet, record, row, now
        self.plan = plan
        """What was agreed, where this kernel rented it."""
        self.id: int = record.id if record is not None else _id_of(row)

    @property
    def name(self) -> str:
        """What it is called; empty if it was given no name."""
        return self._row.name if self._row is not None else ""

    @property
    def record(self) -> InstanceRecord | None:
        """What the service tells of it; None while it is not listed yet, and when it is gone."""
        return self._record

    @property
    def state(self) -> Phase | str:
        """What it does, in one word: running, loading, stopped, outbid, gone ..."""
        if self._record is None:
            return "gone" if self._row is not None and self._row.state == "ended" else "provisioning"
        return phase_of(self._record, was_stopped=self._row is not None and self._row.was_stopped)

    @property
    def seen_at(self) -> datetime:
        """The service's clock when it was last looked at."""
        return datetime.fromtimestamp(self._now, UTC)

    @property
    def usd_per_hour(self) -> float | None:
        """What it costs an hour as it is now; None if its price is not known."""
        if self._record is None:
            return self._row.usd_per_hour if self._row is not None and self._row.state != "ended" else 0.0
        return usd_per_hour_now(self._record, phase_of(self._record))

    @property
    def ends_at(self) -> datetime | None:
        """When it ends itself; None if nothing ends it."""
        ends = self._row.ends_at if self._row is not None else None
        return None if ends is None else datetime.fromtimestamp(ends, UTC)

    @property
    def label(self) -> str:
        """The text that was given with it."""
        label = read_label(self._record.label) if self._record is not None else None
        return label.text if label is not None else (self._record.label or "" if self._record is not None else "")

    @property
    def ssh_command(self) -> str | None:
        """How to reach it by ssh with vastnb's key, or None while it cannot be; ``%vast ssh`` also pins its host key."""
        return ssh_command(self._fleet, self._record)

    if not TYPE_CHECKING:  # a checker would take every name for one that is there

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # one of ours, which raised this error itself
                return object.__getattribute__(self, name)
            raise unknown_attribute(self, name)

    def __repr__(self) -> str:
        return card_text(self._card())

    def _repr_html_(self) -> str:
        return card_html(self._card())

    def _card(self) -> Card:
        return card_of(self, self._row.most_usd if self._row is not None else None)

    def refresh(self) -> Self:
        """Look again; itself.

        Raises
        ------
        NotFoundError
            It is gone.
        """
        record, seen_at = self._fleet.machines.get(self.id)
        self._now = seen_at.timestamp()
        self._record = record if record is not None else (self._record if self._may_lag() else None)
        if record is None and not self._may_lag():
            self._note(state="ended")
            raise NotFoundError(f"machine {self.id} is gone")
        return self

    def _may_lag(self) -> bool:
        """A machine that was just made may not be shown yet."""
        return self._row is not None and self._now - self._row.sent_at < 60

    def _note(self, **changes: Any) -> None:
        if self._row is not None:
            self._row = self._fleet.journal.update(self._row.token, **changes)


def _id_of(row: Rental | None) -> int:
    if row is None or row.instance_id is None:
        raise MachineError("a machine without an id")
    return row.instance_id
