"""Ready-made handlers of events: tell somebody, stop, destroy, bid again. Each function makes one, for `vastnb.on`.

``vastnb.on("instance.outbid")(handlers.rebid(max_usd_per_hour=0.4))``

An event says that something happened, not what is so by now: what acts on a machine looks at it first, so that an event that is
told twice, or late, does nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from vastnb.errors import BudgetError, InputError, NotFoundError
from vastnb.services.budget import Cost
from vastnb.services.events import Event, Handler
from vastnb.services.instances import Instance, instance
from vastnb.services.instances.fleet import Fleet, Sight, fleet_of
from vastnb.services.instances.states import phase_of
from vastnb.services.journal import Rental
from vastnb.vast.client.external import host_of, send_external
from vastnb.vast.types.records import InstanceRecord

__all__ = ["destroy", "post", "rebid", "stop"]

_OVERBID = 1.02
"""A bid that only equals the least one is outbid by the next."""


def post(url: str, *, form: Literal["slack", "discord", "event"] | None = None) -> Handler:
    """A handler that sends the event to an address, without any key of Vast's.

    Parameters
    ----------
    url
        Like the incoming webhook of a Slack or Discord channel.
    form
        ``slack`` and ``discord`` send a line of text, ``event`` the whole event as JSON; without it, what the host suggests.

    Raises
    ------
    InputError
        The address cannot be sent to.
    """
    host = host_of(url)
    chosen = form or _form_of(host)

    def send(event: Event) -> None:
        send_external(url, _content(event, chosen))

    digest = hashlib.blake2b(f"{chosen} {url}".encode(), digest_size=4).hexdigest()
    return _named(send, f"post {host} {digest}")


def stop(machine: int | str | None = None) -> Handler:
    """A handler that stops a machine: this one, or the one that the event is about. Its disk stays, and is billed."""
    return _named(lambda event: _act(event, machine, lambda found: found.stop()), f"stop {machine or ''}")


def destroy(machine: int | str | None = None) -> Handler:
    """A handler that ends a machine and its disk: this one, or the one that the event is about."""
    return _named(lambda event: _act(event, machine, lambda found: found.destroy()), f"destroy {machine or ''}")


def rebid(*, max_usd_per_hour: float | None = None) -> Handler:
    """A handler that bids again for a machine that was outbid, as little as will do.

    It bids for machines of vastnb only, and keeps all caps: this one, those that the machine was rented with, and those of the
    profile. While one does not hold it raises, and so is tried again some times: the price may fall.

    Parameters
    ----------
    max_usd_per_hour
        The highest bid for all GPUs together; without it, the ``max_bid_usd_per_hour`` that the machine was rented with.

    Raises
    ------
    BudgetError
        From the handler: a cap does not hold.
    """

    def bid(event: Event) -> None:
        fleet = fleet_of()
        for machine in _outbid(fleet, fleet.look(), event.subject):
            usd = (machine.record.min_bid_usd_per_hour or 0.0) * _OVERBID
            _require_caps(machine, usd, max_usd_per_hour)
            machine.handle.change_bid(usd)

    return _named(bid, "rebid" if max_usd_per_hour is None else f"rebid {max_usd_per_hour:g}")


def _named(handler: Handler, name: str) -> Handler:
    """Two made by the same function are two handlers."""
    handler.__qualname__ = name.strip()
    return handler


def _act(event: Event, machine: int | str | None, act: Callable[[Instance], object]) -> None:
    wanted = machine if machine is not None else event.subject
    if isinstance(wanted, str) and wanted.isdecimal():  # a number, even if a machine goes by such a name
        wanted = int(wanted)
    if wanted == "":
        raise InputError(
            f"the event {event.kind} does not say which machine it is about", hint="name one: stop('lora-7b')"
        )
    try:
        act(instance(wanted))
    except NotFoundError:  # it is gone, which is more than was asked for
        return


class _Outbid(NamedTuple):
    """A machine of ours that is outbid, as it was seen."""

    fleet: Fleet
    sight: Sight
    record: InstanceRecord
    row: Rental

    @property
    def handle(self) -> Instance:
        """What acts on it."""
        return Instance(self.fleet, self.record, self.row, self.sight.now)


def _outbid(fleet: Fleet, sight: Sight, subject: str) -> Iterator[_Outbid]:
    """Those that are outbid now: the one that the event is about, or all if it does not say."""
    for record in sight.listing.records:
        row = sight.rows.get(record.id)
        if row is None or subject not in ("", str(record.id)):
            continue
        if phase_of(record, was_stopped=row.was_stopped) == "outbid":
            yield _Outbid(fleet, sight, record, row)


def _require_caps(machine: _Outbid, usd: float, most: float | None) -> None:
    fleet, sight, record, row = machine
    cap = most if most is not None else row.terms.get("max_bid_usd_per_hour")
    if cap is None:
        raise InputError(f"rebid has no cap for machine {record.id}", hint="handlers.rebid(max_usd_per_hour=...)")
    if usd > cap + 1e-9:
        raise BudgetError(
            f"max_usd_per_hour={cap:g} is too little: ${usd:.3f} must be bid for machine {record.id} now",
            cap="max_usd_per_hour", limit_usd=cap, needed_usd=usd,
        )  # fmt: skip
    price = usd + (record.disk_usd_per_hour or 0.0)
    others = [other for other in sight.listing.records if other.id != record.id]
    without = sight._replace(listing=sight.listing._replace(records=others))
    fleet.allowance(without, Cost(price, row.ends_at, row.most_usd))(fleet.journal.rows("pending", "unknown"))
    _require_total(machine, price)


def _require_total(machine: _Outbid, price: float) -> None:
    """What it may cost in all was reckoned with the price that it had."""
    total, ends_at = machine.row.terms.get("max_usd"), machine.row.ends_at
    if total is None or ends_at is None:
        return
    needed = machine.handle.bill().usd_total + price * max(0.0, ends_at - machine.sight.now) / 3600
    if needed > total + 1e-9:
        raise BudgetError(
            f"max_usd={total:g} is ${needed - total:,.2f} too little for machine {machine.record.id} until its end at ${price:.3f}/h",
            cap="max_usd", limit_usd=total, needed_usd=needed,
        )  # fmt: skip


def _form_of(host: str) -> str:
    if host == "hooks.slack.com":
        return "slack"
    return "discord" if host in ("discord.com", "discordapp.com") else "event"


def _content(event: Event, form: str) -> dict[str, Any]:
    if form == "event":
        return {
            "id": event.id,
            "kind": event.kind,
            "subject": event.subject,
            "at": event.at.isoformat(),
            "data": dict(event.data),
        }
    about = f" (machine {event.subject})" if event.subject else ""
    text = f"{event.kind}{about}: {event.data.get('message') or event.at.isoformat()}"
    # Names of machines are other people's texts: they must not call a whole channel together.
    return {"text": text.replace("<", "‹")} if form == "slack" else {"content": text, "allowed_mentions": {"parse": []}}
