"""What was spent, and how it compares with what was quoted: `spend` and `reconcile`.

1. The service tells for a range of days what each contract (a machine, a volume) was charged, by item. The items are exact, the
   sum of a contract is rounded: here the items are added up.
2. `spend` groups them. By day it asks again for single days, but only for contracts that lived on several.
3. `reconcile` sets each launch of the journal beside its bill. A bill tells hours and gigabytes in words, so a difference is
   split into what was used more or less, and what a unit cost more or less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from vastnb.errors import InputError, ResponseError
from vastnb.services.arguments import only_known
from vastnb.services.instances.fleet import Fleet, Sight, fleet_of
from vastnb.services.instances.labels import read_label
from vastnb.services.instances.spending import ITEMS, midnight_before, usd_of
from vastnb.services.journal import Rental
from vastnb.vast.render import plain

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["By", "Charge", "charge_of", "reconcile", "reconciled", "spend"]

By = Literal["name", "label", "day", "gpu", "instance", "notebook"]
_MOST_DAYS = 366
_DAY = timedelta(days=1)
_AMOUNTS = (*ITEMS.values(), "other_usd")
_ROUNDED = 0.000_51
"""How far the sum of a contract may be from its items: it is told to three decimals. So are hours and gigabytes."""
_CENT = 0.01
_SAID = 0.000_05
"""What rounds to nothing in four decimals is not said."""
_NOT_EXACT_USD = 2e-5
"""Amounts are rounded to a millionth, for each item and day."""
_SOURCE = re.compile(r"([a-z_]+)-(\d+)")
_QUANTITY = re.compile(r"([\d,]*\.?\d+) (?:hours?|GB) at ")


@dataclass(frozen=True, slots=True)
class Charge:
    """What one contract was charged in some days."""

    what: str
    """``machine``, ``volume``, or the service's word for anything else."""
    id: int | None
    source: str
    label: str
    from_at: datetime | None
    until_at: datetime | None
    usd: Mapping[str, float]
    """By item; together what was charged."""
    used: Mapping[str, float]
    """Hours or gigabytes by item; NaN where the service does not say."""
    is_whole: bool
    """Whether the items come to the sum that the service tells."""

    @property
    def usd_total(self) -> float:
        """All items together."""
        return math.fsum(self.usd.values())


class _Known(NamedTuple):
    """What is known of a machine besides its charges."""

    name: str = ""
    gpu_name: str = ""
    notebook: str = ""


@only_known
def spend(days: int = 30, *, by: By = "name", client: Client | None = None) -> pd.DataFrame:
    """What the account was charged, added up: machines of vastnb, machines of the console, and volumes.

    Parameters
    ----------
    days
        Today and the days before it, 1 to 366 in all; a day is one of UTC, by the service's clock.
    by
        ``"name"``, ``"label"`` (of a machine of vastnb, your part of it), ``"day"``, ``"gpu"``, ``"instance"`` or ``"notebook"``.
        By day takes a request for each day on which something lived that was charged on several days; the others take one.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        RangeIndex, dearest first, by day in order of time; columns as in the columns page under the spending of days, contracts
        and groups, also when empty. ``usd_total`` is the sum of the other amounts. Below it is said up to when.

    Raises
    ------
    InputError
        A number of days or a grouping that there is not.
    ApiError, ResponseError
        The charges cannot be had or read; never an empty frame instead.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.spend(days=7, by="day").empty
    True

    Source: ``GET /api/v0/charges/``.
    """
    if by not in get_args(By):
        raise InputError(f"by must be one of {', '.join(get_args(By))}, got {by!r}")
    fleet, sight, first = _place(days, client)
    charges = _charges(fleet, first, sight.listing.seen_at)
    notes = _notes(charges, sight, first, days)
    known = _known(fleet, sight)
    if by == "day":
        daily = list(_daily(fleet, charges, first, sight.listing.seen_at))
        notes += _unequal(charges, daily)
        return _frame("spending days", _by_day(daily), fleet, sight, notes)
    if by == "instance":
        return _frame("spending contracts", _by_contract(charges, known), fleet, sight, notes)
    return _frame("spending groups", _by_group(charges, by, known), fleet, sight, notes)


def reconcile(days: int = 30, *, client: Client | None = None) -> pd.DataFrame:
    """Each launch beside its bill: what was quoted, what was billed, and why they differ.

    Parameters
    ----------
    days
        Launches of today and the days before it, 1 to 366 days in all (UTC, by the service's clock).
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        A row for each launch of this computer's record whose machine was charged, oldest first; columns as in the columns page
        under reconciled launches, also when empty. ``why`` names each difference, from the item that it is in; its amounts add
        up to ``difference_usd``. Of a machine that lives, the bill is that so far.

    Raises
    ------
    InputError
        A number of days that there is not.
    ApiError, ResponseError
        The charges cannot be had or read.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.reconcile().columns[2:6].tolist()
    ['quoted_usd', 'billed_usd', 'difference_usd', 'why']

    Source: ``GET /api/v0/charges/``.
    """
    fleet, sight, first = _place(days, client)
    launches = [row for row in fleet.journal.rows() if row.instance_id is not None]
    recent = [row for row in launches if row.sent_at >= first.timestamp()]
    charges = _charges(fleet, first, sight.listing.seen_at)
    bills = {charge.id: charge for charge in charges if charge.what == "machine"}
    rows = [
        reconciled(row, bills[row.instance_id], final=row.instance_id not in sight.rows)
        for row in recent
        if row.instance_id in bills
    ]
    older = sum(row.instance_id in bills for row in launches) - len(rows)
    return _frame("reconciled launches", rows, fleet, sight, _summed(rows, len(recent), older, days))


# ------------------------------------------------------------ asking


def _place(days: int, client: Client | None) -> tuple[Fleet, Sight, datetime]:
    """The account's machines, what is seen of them, and the first of so many days."""
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= _MOST_DAYS:
        raise InputError(f"days must be a whole number, 1 to {_MOST_DAYS}, got {days!r}")
    fleet = fleet_of(client)
    sight = fleet.look()
    return fleet, sight, midnight_before(sight.now) - (days - 1) * _DAY


def _charges(fleet: Fleet, since: datetime, until: datetime) -> list[Charge]:
    return [charge_of(row) for row in fleet.machines.charges(since, until)]


def charge_of(row: Mapping[str, Any]) -> Charge:
    """A row of the service's charges. What is told for no item that is known is ``other_usd``, so that nothing is lost.

    Raises
    ------
    ResponseError
        It is not made as documented, or an amount is no number.
    """
    usd, used, told = dict.fromkeys(_AMOUNTS, 0.0), dict.fromkeys(ITEMS.values(), 0.0), usd_of(row)
    items, about = row.get("items") or [], row.get("metadata") or {}
    if not isinstance(about, dict) or not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ResponseError(
            "charges: expected a list of items, and an object that describes them", path="$.results[*].items"
        )
    for item in items:
        name = ITEMS.get(item.get("type"), "other_usd")
        usd[name] += usd_of(item)
        if name in used:
            used[name] += _quantity(item)
    if not items:
        usd["other_usd"] = told
    source = str(row.get("source") or "")
    found = _SOURCE.fullmatch(source)
    kind = str(row.get("type") or (found[1] if found else "other"))
    return Charge(
        what="machine" if kind == "instance" else plain(kind), id=int(found[2]) if found else None, source=source,
        label=str(about.get("label") or ""), from_at=_moment(row.get("start")),
        until_at=_moment(row.get("end")), usd=usd, used=used, is_whole=abs(sum(usd.values()) - told) <= _ROUNDED,
    )  # fmt: skip


def _quantity(item: Mapping[str, Any]) -> float:
    """Hours or gigabytes: ``96.000 hours at $0.389/hour``."""
    found = _QUANTITY.match(str(item.get("description") or ""))
    return float(found[1].replace(",", "")) if found else math.nan


def _daily(
    fleet: Fleet, charges: Sequence[Charge], first: datetime, now: datetime
) -> Iterator[tuple[datetime, Charge]]:
    """What was charged on each day. Of a contract that lived on one day alone that is known already."""
    spans = [(charge, _days_of(charge, first, now)) for charge in charges]
    long = {charge.source for charge, span in spans if len(span) > 1}
    yield from ((span[0], charge) for charge, span in spans if charge.source not in long)
    for day in sorted({day for charge, span in spans if charge.source in long for day in span}):
        of_day = _charges(fleet, day, day + _DAY - timedelta(seconds=1))
        yield from ((day, charge) for charge in of_day if charge.source in long)


def _days_of(charge: Charge, first: datetime, now: datetime) -> list[datetime]:
    since = midnight_before(max(charge.from_at or first, first).timestamp())
    until = midnight_before(min(charge.until_at or now, now).timestamp())
    return [since + number * _DAY for number in range(max((until - since).days, 0) + 1)]


def _known(fleet: Fleet, sight: Sight) -> dict[int, _Known]:
    """Name, GPU and notebook of each machine of which they are known: from the record, or because it lives."""
    found = {record.id: _Known(gpu_name=plain(record.gpu_name or "")) for record in sight.listing.records}
    for row in fleet.journal.rows():
        if row.instance_id is not None:
            gpu_name = row.quote.get("gpu_name") or found.get(row.instance_id, _Known()).gpu_name
            found[row.instance_id] = _Known(row.name, gpu_name, row.notebook)
    return found


def _moment(seconds: Any) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return datetime.fromtimestamp(min(max(seconds, 0), 4e9), UTC)


# ------------------------------------------------------------ adding up


def _sums(charges: Iterable[Charge]) -> dict[str, float]:
    """The amounts of some charges, and all together."""
    found = list(charges)
    sums = {name: math.fsum(charge.usd[name] for charge in found) for name in _AMOUNTS}
    return {**sums, "usd_total": math.fsum(sums.values())}


def _by_day(daily: Iterable[tuple[datetime, Charge]]) -> list[dict[str, Any]]:
    days: dict[datetime, list[Charge]] = {}
    for day, charge in daily:
        days.setdefault(day, []).append(charge)
    return [{"day": day, **_sums(found), "contracts": len(found)} for day, found in sorted(days.items())]


def _by_contract(charges: Iterable[Charge], known: Mapping[int, _Known]) -> list[dict[str, Any]]:
    rows = []
    for charge in charges:
        about = _about(charge, known)
        rows.append({
            "instance_id": charge.id, "what": charge.what, **about._asdict(), "label": _label(charge), **_sums([charge]),
            "from_at": charge.from_at, "until_at": charge.until_at,
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row["usd_total"])


def _by_group(charges: Iterable[Charge], by: By, known: Mapping[int, _Known]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Charge]] = {}
    for charge in charges:
        groups.setdefault((_group(charge, by, known), charge.what), []).append(charge)
    rows = [
        {"group": group, "what": what, **_sums(found), "contracts": len(found)}
        for (group, what), found in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row["usd_total"], row["group"]))


def _group(charge: Charge, by: By, known: Mapping[int, _Known]) -> str:
    """What a charge is counted under; what is no machine has neither a name nor GPUs, and is called what it is."""
    if charge.what != "machine":
        return charge.what
    about = _about(charge, known)
    return {"name": about.name, "gpu": about.gpu_name, "notebook": about.notebook}.get(by, _label(charge))


def _about(charge: Charge, known: Mapping[int, _Known]) -> _Known:
    """What is known of a machine. The name in its label is the one it had, whoever has that name by now."""
    if charge.what != "machine" or charge.id is None:
        return _Known()
    about, label = known.get(charge.id, _Known()), read_label(charge.label)
    return about._replace(name=label.name) if label is not None and label.name else about


def _label(charge: Charge) -> str:
    ours = read_label(charge.label)
    return plain(ours.text if ours is not None else charge.label)


def _notes(charges: Sequence[Charge], sight: Sight, first: datetime, days: int) -> list[str]:
    """The sum, up to when it counts, and what is not told yet or does not fit."""
    total = math.fsum(charge.usd_total for charge in charges)
    said = [f"Together ${total:,.2f} in {days} {'day' if days == 1 else 'days'}, {first:%Y-%m-%d} to {sight.listing.seen_at:%Y-%m-%d %H:%M} UTC."]  # fmt: skip
    if charges or sight.listing.records:
        said.append("Charges may come late: the last hours can still grow.")
    told = {charge.id for charge in charges if charge.what == "machine"}
    missing = [str(record.id) for record in sight.listing.records if record.id not in told]
    said += [f"Nothing is told yet for machine {', '.join(missing)}."] if missing else []
    odd = [plain(charge.source) for charge in charges if not charge.is_whole]
    return said + ([f"The items do not come to the sum that the service tells for {', '.join(odd)}."] if odd else [])


def _unequal(charges: Iterable[Charge], daily: Iterable[tuple[datetime, Charge]]) -> list[str]:
    """Charges that came in between the two questions, or that the service tells of no day."""
    whole, days = _sums(charges)["usd_total"], _sums(charge for _, charge in daily)["usd_total"]
    return [f"The days come to ${days:,.2f}, all together to ${whole:,.2f}."] if abs(whole - days) > _CENT / 2 else []


def _frame(
    kind: str, rows: Sequence[Mapping[str, Any]], fleet: Fleet, sight: Sight, notes: Sequence[str]
) -> pd.DataFrame:
    from vastnb.vast.types import KINDS
    from vastnb.vast.types.frames import frame_of

    frame = frame_of(kind, {column.name: [row.get(column.name) for row in rows] for column in KINDS[kind]})
    frame.attrs["vastnb"] = {
        "kind": kind,
        "source": "sandbox" if sight.listing.sandbox else "vast",
        "url": fleet.client.settings.url,
        "account": fleet.client.account_name,
        "seen_at": sight.listing.seen_at.isoformat(),
        "returned": len(rows),
        "notes": list(notes),
    }
    return frame


# ------------------------------------------------------------ quoted and billed


class _Item(NamedTuple):
    """One item, quoted and billed: dollars, and hours or gigabytes. None where it is not known."""

    name: str
    quoted_usd: float | None
    quoted: float | None
    billed_usd: float
    billed: float
    usage: str
    """What was used, with places for both quantities."""
    unit: str

    @property
    def difference_usd(self) -> float:
        """Billed less quoted; what was not quoted is a difference whole."""
        return self.billed_usd - (self.quoted_usd or 0.0)


def reconciled(row: Rental, bill: Charge, *, final: bool) -> dict[str, Any]:
    """A launch beside its bill: the values of a row of `reconcile`."""
    items = _items(row, bill)
    quoted = row.quote.get("usd_total")
    amounts = {f"{item.name}_quoted_usd": item.quoted_usd for item in items}
    amounts |= {f"{item.name}_billed_usd": item.billed_usd for item in items}
    gpu, _, idle = items[:3]
    return {
        "instance_id": row.instance_id, "name": _about(bill, {}).name or row.name, "quoted_usd": quoted, "billed_usd": bill.usd_total,
        "difference_usd": None if quoted is None else bill.usd_total - quoted, "why": _why(items, bill, row),
        "final": final, **amounts, "other_billed_usd": bill.usd["other_usd"],
        "hours_quoted": gpu.quoted, "hours_billed": gpu.billed, "idle_hours_quoted": idle.quoted, "idle_hours_billed": idle.billed,
        "rental": row.rental, "gpu_name": row.quote.get("gpu_name"), "launched_at": _moment(row.sent_at),
    }  # fmt: skip


def _items(row: Rental, bill: Charge) -> list[_Item]:
    """The items of a launch. A bill has one sum for the disk: it is divided by the hours that the GPUs were billed."""
    usd, used, quote, job = bill.usd, bill.used, row.quote, row.quote.get("job") or {}
    hours, exists = used["gpu_usd"], used["disk_usd"]
    idle = max(exists - hours, 0.0) if exists == exists else math.nan  # noqa: PLR0124
    idle_usd = usd["disk_usd"] * idle / exists if exists > 0 else 0.0
    idle_usd = 0.0 if math.isnan(idle_usd) else idle_usd
    billed = {
        "gpu": (usd["gpu_usd"], hours), "disk": (usd["disk_usd"] - idle_usd, min(hours, exists)), "idle": (idle_usd, idle),
        "download": (usd["download_usd"], used["download_usd"]), "upload": (usd["upload_usd"], used["upload_usd"]),
    }  # fmt: skip
    return [
        _Item(name, quote.get(f"{name}_usd"), job.get(field), *billed[name], usage, unit)
        for name, field, usage, unit in _LINES
    ]


_LINES = (
    ("gpu", "hours", "GPUs ran {} h, {} h quoted", "h"),
    ("disk", "hours", "disk for {} h with GPUs, {} h quoted", "h"),
    ("idle", "idle_hours", "disk for {} h without GPUs, {} h quoted", "h"),
    ("download", "download_gb", "{} GB downloaded, {} GB quoted", "GB"),
    ("upload", "upload_gb", "{} GB uploaded, {} GB quoted", "GB"),
)
"""Each item: what the job calls its quantity, and the words for it."""
_WORDS = {"gpu": "GPUs", "disk": "disk", "idle": "disk without GPUs", "download": "download", "upload": "upload"}


def _why(items: Sequence[_Item], bill: Charge, row: Rental) -> str:
    """Each difference in words, with its amount."""
    if not row.quote:
        return "its quote is not known here: it was rented on another computer"
    parts = [part for item in items for part in _differences(item, bid=row.rental == "bid")]
    parts.append(("charged for something else", bill.usd["other_usd"]))
    said = [f"{words}: {usd:+,.4f}" for words, usd in parts if abs(usd) >= _SAID]
    return "; ".join(said) or "as quoted"


def _differences(item: _Item, *, bid: bool) -> list[tuple[str, float]]:
    """The difference in an item: of what was used, and of what a unit cost."""
    words = _WORDS[item.name]
    if item.quoted_usd is None or item.quoted is None:
        return [(f"{words} had no price in the quote", item.billed_usd)]
    if math.isnan(item.billed):
        return [(f"{words} cost ${item.billed_usd:,.4f}, ${item.quoted_usd:,.4f} quoted", item.difference_usd)]
    usage = item.usage.format(*(f"{size:,.3f}".rstrip("0").rstrip(".") for size in (item.billed, item.quoted)))
    if not item.quoted or not item.billed:
        return [(usage, item.difference_usd)]
    before, after = item.quoted_usd / item.quoted, item.billed_usd / item.billed
    if _is_same_price(item, before, after):
        return [(usage, item.difference_usd)]
    more = (item.billed - item.quoted) * before
    changed = " (the bid was changed)" if bid and item.name == "gpu" else ""
    price = f"{words} at ${after:,.4f}/{item.unit}, ${before:,.4f} quoted{changed}"
    return [(usage, more), (price, item.difference_usd - more)]


def _is_same_price(item: _Item, before: float, after: float) -> bool:
    """Whether two prices differ by no more than what is rounded in a bill: its quantity and its amount."""
    return abs(after - before) * item.billed <= before * _ROUNDED + _NOT_EXACT_USD


def _summed(rows: Sequence[Mapping[str, Any]], launches: int, older: int, days: int) -> list[str]:
    """What all launches come to, and which are not among them."""
    both = [row for row in rows if row["quoted_usd"] is not None]
    quoted, billed = (math.fsum(row[name] for row in both) for name in ("quoted_usd", "billed_usd"))
    said = [f"Quoted ${quoted:,.2f}, billed ${billed:,.2f}."] if both else []
    if any(not row["final"] for row in rows):
        said.append("What is not final lives: its bill is that so far.")
    if launches > len(rows):
        said.append(f"{launches - len(rows)} of {launches} launches are left out: nothing is charged for them yet.")
    return said + ([f"{older} launched before these {days} days are left out."] if older else [])
