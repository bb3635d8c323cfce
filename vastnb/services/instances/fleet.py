"""The machines of one account, with the record of what was bought: what launch, lists and handles all act through."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from vastnb.errors import NotFoundError
from vastnb.services import session
from vastnb.services.budget import Cost, Spent, check
from vastnb.services.instances.buying import Buyer
from vastnb.services.instances.labels import read_label
from vastnb.services.instances.spending import midnight_before, spent, usd_per_hour_now
from vastnb.services.instances.states import phase_of
from vastnb.services.journal import Journal, Rental
from vastnb.services.practice import act_for_watchdog
from vastnb.services.remote import address_of, key_file
from vastnb.vast.client import Client
from vastnb.vast.client.machines import Listing, Machines
from vastnb.vast.types.records import InstanceRecord

__all__ = ["Fleet", "Sight", "fleet_of", "ssh_command"]

_LISTED_AFTER_S = 60.0
"""A new machine may be missing from the list for some seconds."""
_EACH = frozenset({"all", "*", "everything"})
"""Nothing stops or ends all at once: machines of other programs would be among them."""


class Sight(NamedTuple):
    """What is there at one moment."""

    listing: Listing
    rows: dict[int, Rental]
    """The journal's row of each machine that is ours."""
    waiting: list[Rental]
    """Rentals whose answer was lost, and whose machine may still turn up."""

    @property
    def now(self) -> float:
        """The service's clock, seconds since 1970."""
        return self.listing.seen_at.timestamp()

    def named(self, name: str) -> tuple[InstanceRecord, Rental] | None:
        """The machine that goes by `name`, the oldest if there are several."""
        for record in self.listing.records:
            row = self.rows.get(record.id)
            if row is not None and row.name == name:
                return record, row
        return None


class Fleet:
    """The machines of one account.

    Parameters
    ----------
    client
        The connection.
    pause
        Waits so many seconds by the service's clock.
    on_end
        Told which machine is to end itself when, and how; for a practice market, where no script runs on it.
    """

    def __init__(
        self,
        client: Client,
        *,
        pause: Callable[[float], None] = time.sleep,
        on_end: Callable[[int, float, str], None] | None = None,
    ) -> None:
        self.client, self.pause, self.on_end = client, pause, on_end
        self.machines = Machines(client)
        self.journal = Journal(client.state_folder / "journal.sqlite", client.account)
        self.buyer = Buyer(self.machines, self.journal, pause)

    def look(self) -> Sight:
        """List the machines, and bring the journal up to date with what is seen.

        What earlier calls left unsettled is settled; machines of vastnb that were made on another computer are taken up;
        those that are gone are noted as ended.
        """
        listing = self.machines.table()
        waiting = self.buyer.sweep(listing)
        self._take_up(listing)
        rows = {row.instance_id: row for row in self.journal.rows("created") if row.instance_id is not None}
        listed = {record.id for record in listing.records}
        for instance_id, row in list(rows.items()):
            if instance_id not in listed:
                self._note_end(row, listing)
                del rows[instance_id]
        return Sight(listing, rows, waiting)

    def allowance(self, sight: Sight, new: Cost) -> Callable[[Sequence[Rental]], None]:
        """A check of the profile's caps with `new` in addition; given the journal's rows, other kernels' among them."""
        caps, now = self.client.settings.budget, sight.now
        running = [_cost(record, sight.rows.get(record.id)) for record in sight.listing.records]
        paid, listed = self._spent(now), {record.id for record in sight.listing.records}

        def allow(rows: Sequence[Rental]) -> None:
            coming = [Cost(r.usd_per_hour, r.ends_at, r.most_usd) for r in rows if r.instance_id not in listed]
            check(caps, new, others=[*running, *coming], spent=paid, now=now)

        return allow

    def _spent(self, now: float) -> Spent:
        """What was charged, as far as the caps need it."""
        caps, until = self.client.settings.budget, datetime.fromtimestamp(now + 1, UTC)
        rows = self.journal.rows() if caps.max_usd_total is not None else []
        first = datetime.fromtimestamp(min((row.sent_at for row in rows), default=now), UTC)
        ever = self.machines.charges(first, until) if rows else []
        today = self.machines.charges(midnight_before(now), until) if caps.max_usd_per_day is not None else []
        return spent(today, ever, {row.instance_id for row in rows if row.instance_id is not None})

    def _take_up(self, listing: Listing) -> None:
        known = {row.token for row in self.journal.rows()}
        for record in listing.records:
            label = read_label(record.label)
            if label is not None and label.token not in known:
                self.journal.add(_found(record, label.token, label.name, label.until, listing))

    def _note_end(self, row: Rental, listing: Listing) -> None:
        """A machine that the list lacks, and that is too old for a list that lags, is gone."""
        if listing.seen_at.timestamp() - row.sent_at > _LISTED_AFTER_S:
            self.journal.update(row.token, state="ended")

    def find(self, what: int | str) -> tuple[InstanceRecord, Rental | None, Sight]:
        """The machine of this id or name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        sight = self.look()
        by_name = sight.named(str(what))
        if by_name is not None and not isinstance(what, int):
            return *by_name, sight
        for record in sight.listing.records:
            if str(record.id) == str(what):
                return record, sight.rows.get(record.id), sight
        names = ", ".join(sorted({row.name for row in sight.rows.values() if row.name}))
        hint = f"there are {names}" if names else "%vast ps lists what there is"
        raise NotFoundError(f"there is no machine {what}", hint=f"name each one: {hint}" if what in _EACH else hint)


def _cost(record: InstanceRecord, row: Rental | None) -> Cost:
    """What a machine may still cost; one that was made elsewhere has no end."""
    phase = phase_of(record, was_stopped=row is not None and row.was_stopped)
    usd_per_hour = usd_per_hour_now(record, phase) or 0.0
    return Cost(usd_per_hour) if row is None else Cost(usd_per_hour, row.ends_at, row.most_usd)


def _found(record: InstanceRecord, token: str, name: str, until: int | None, listing: Listing) -> Rental:
    return Rental(
        token=token,
        label=record.label or "",
        offer_id=0,
        sent_at=record.start_date or listing.seen_at.timestamp(),
        state="created",
        name=name,
        machine_id=record.machine_id,
        rental="bid" if record.is_bid else "on-demand",
        usd_per_hour=record.usd_per_hour or 0.0,
        ends_at=until,
        instance_id=record.id,
        note="found in the list; it was rented on another computer",
    )


def fleet_of(client: Client | None = None) -> Fleet:
    """The machines of the session in force, or of another client."""
    if client is not None:
        return Fleet(client)
    there = session.current()
    return Fleet(there.client, pause=session.pause, on_end=act_for_watchdog if there.sandbox is not None else None)


def ssh_command(fleet: Fleet, record: InstanceRecord | None) -> str | None:
    """How to reach a machine by ssh; None while it tells no address."""
    address = address_of(record) if record is not None else None
    if address is None:
        return None
    client = fleet.client
    return address.command(None if client.settings.local else key_file(client.state_folder))
