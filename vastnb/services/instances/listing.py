"""All machines of the account as a table, and the audit: everything that costs money now, and the line that ends it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vastnb.services.instances.fleet import Fleet, Sight, fleet_of, ssh_command
from vastnb.services.instances.remarks import Facts, facts_of, remarks
from vastnb.services.instances.spending import usd_per_hour_now
from vastnb.services.instances.states import Phase, phase_of
from vastnb.services.journal import Rental
from vastnb.vast.render import plain
from vastnb.vast.types.records import InstanceRecord

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["audit", "instances"]

_HOURS_A_MONTH = 720


def instances(*, client: Client | None = None) -> pd.DataFrame:
    """The machines of the account: those of vastnb, and those that were made in the console.

    Returns
    -------
    DataFrame
        A row a machine, oldest first; columns as documented under ``instances``, none of them secret.

    Raises
    ------
    ApiError
        They cannot be listed; never an empty frame instead.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> len(vastnb.instances())
    0
    """
    from vastnb.vast.types.frames import frame_of

    fleet = fleet_of(client)
    sight = fleet.look()
    rows = [_row(fleet, record, sight.rows.get(record.id), sight) for record in sight.listing.records]
    frame = frame_of("instances", _columns("instances", rows))
    frame.attrs["vastnb"] = _about("instances", fleet, sight, rows)
    return frame


def audit(*, client: Client | None = None) -> pd.DataFrame:
    """Everything that costs money now, dearest first, with the line that ends it; and how long the balance lasts.

    It needs no record of this computer: what was made in the console, or on another computer, is in it.

    Returns
    -------
    DataFrame
        A row for each machine, stopped or not, each volume, and each rental whose answer was lost; columns as documented under
        ``audit``. What it all costs and when the balance ends is said below it.

    Raises
    ------
    ApiError
        Something cannot be listed; never an empty frame instead.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.audit().empty
    True
    """
    from vastnb.vast.types.frames import frame_of

    fleet = fleet_of(client)
    sight = fleet.look()
    rows = [_costing(record, sight.rows.get(record.id), sight.now) for record in sight.listing.records]
    rows += [_volume(volume) for volume in fleet.machines.volumes()]
    rows.sort(key=lambda row: -(row["usd_per_hour"] or 0.0))
    rows += [_lost(rental) for rental in sight.waiting]
    frame = frame_of("audit", _columns("audit", rows))
    frame.attrs["vastnb"] = _about("audit", fleet, sight, rows)
    frame.attrs["vastnb"]["summary"] = _sums(fleet, sight, rows)
    return frame


def _columns(kind: str, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    from vastnb.vast.types.kinds import KINDS

    return {column.name: [row.get(column.name) for row in rows] for column in KINDS[kind]}


def _about(kind: str, fleet: Fleet, sight: Sight, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kind": kind,
        "source": "sandbox" if sight.listing.sandbox else "vast",
        "url": fleet.client.settings.url,
        "account": fleet.client.account_name,
        "seen_at": sight.listing.seen_at.isoformat(),
        "returned": len(rows),
        "notes": [_lost(rental)["why"] for rental in sight.waiting],
    }


def _row(fleet: Fleet, record: InstanceRecord, rental: Rental | None, sight: Sight) -> dict[str, Any]:
    phase = _phase(record, rental)
    same = {name: getattr(record, name) for name in ("gpu_name", "num_gpus", "gpu_util", "disk_used_gb", "disk_gb", "disk_usd_per_hour",
            "min_bid_usd_per_hour", "gpu_temp_c", "image", "label", "geolocation", "machine_id")}  # fmt: skip
    return {
        **{name: plain(value) if isinstance(value, str) else value for name, value in same.items()},
        "instance_id": record.id,
        "name": rental.name if rental is not None else None,
        "state": phase,
        "usd_per_hour": usd_per_hour_now(record, phase),
        "ends_at": _moment(rental.ends_at if rental is not None else None),
        "note": _said(facts_of(record, rental, phase, sight.now), with_end=False),
        "ours": rental is not None,
        "rental": "bid" if record.is_bid else "on-demand",
        "status_msg": plain(record.status_msg or ""),
        "ssh": ssh_command(fleet, record),
        "started_at": _moment(record.start_date),
        "host_ends_at": _moment(record.end_date),
        "seen_at": sight.listing.seen_at,
    }


def _said(facts: Facts, *, with_end: bool = True) -> str:
    return "; ".join(remark.words for remark in remarks(facts, with_end=with_end))


def _costing(record: InstanceRecord, rental: Rental | None, now: float) -> dict[str, Any]:
    phase = _phase(record, rental)
    price = usd_per_hour_now(record, phase)
    facts = facts_of(record, rental, phase, now)
    name = rental.name if rental is not None and rental.name else None
    force = "" if rental is not None else "force=True"
    return {
        "what": f"{phase} machine",
        "id": record.id,
        "name": name,
        "usd_per_hour": price,
        "usd_per_day": None if price is None else price * 24,
        "since": _moment(record.start_date),
        "why": _said(facts),
        "end": f"vastnb.instance({name or record.id!r}).destroy({force})"
        if name is None
        else f'vastnb.instance("{name}").destroy()',
        "ours": rental is not None,
        "ends_at": _moment(facts.ends_at),
    }


def _volume(volume: dict[str, Any]) -> dict[str, Any]:
    """A volume costs as long as it exists, whether a machine uses it or not."""
    size, price = volume.get("disk_space") or volume.get("size"), volume.get("storage_cost")
    hourly = size * price / _HOURS_A_MONTH if isinstance(size, int | float) and isinstance(price, int | float) else None
    return {
        "what": "volume",
        "id": volume.get("id"),
        "name": plain(str(volume.get("label") or "")) or None,
        "usd_per_hour": hourly,
        "usd_per_day": None if hourly is None else hourly * 24,
        "since": _moment(volume.get("start_date")),
        "why": "" if volume.get("instances") else "no machine uses it",
        "end": f"vastai delete volume {volume.get('id')}",
        "ours": False,
    }


def _lost(rental: Rental) -> dict[str, Any]:
    return {
        "what": "lost answer",
        "name": rental.name or None,
        "since": _moment(rental.sent_at),
        "why": f"whether offer {rental.offer_id} was rented is not known yet; its machine would be labelled {rental.label!r}",
        "ours": True,
    }


def _sums(fleet: Fleet, sight: Sight, rows: list[dict[str, Any]]) -> list[str]:
    """What it costs together, and how long the balance lasts."""
    hourly = sum(row.get("usd_per_hour") or 0.0 for row in rows)
    unknown = sum(row.get("usd_per_hour") is None for row in rows)
    balance = fleet.client.user(refresh=True).left_usd
    left = "unknown" if balance is None else f"${balance:,.2f}"
    if not rows:
        return [f"Nothing costs anything now. The balance is {left}."]
    said = [f"Together ${hourly:.3f} an hour, ${hourly * 24:,.2f} a day; the balance is {left}"]
    if hourly > 0 and balance is not None:
        ends = datetime.fromtimestamp(min(sight.now + balance / hourly * 3600, 4e9), UTC)
        said[0] += f", and ends {ends:%Y-%m-%d %H:%M} UTC at this rate"
    return [said[0] + ".", *([f"{unknown} of unknown price."] if unknown else [])]


def _phase(record: InstanceRecord, rental: Rental | None) -> Phase:
    return phase_of(record, was_stopped=rental is not None and rental.was_stopped)


def _moment(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(min(seconds, 4e9), UTC) if isinstance(seconds, int | float) else None
