"""What a search asks besides its conditions: whose prices, for how much disk, in which order, how many."""

from __future__ import annotations

import difflib
import math
from typing import Literal

from vastnb.errors import QueryError
from vastnb.vast.types.columns import FIELDS, OFFERS, Column

__all__ = [
    "DEFAULT_DISK_GB",
    "DEFAULT_ORDER",
    "RENTALS",
    "UNFILTERED",
    "Order",
    "Rental",
    "disk_of",
    "limit_of",
    "order_of",
    "rental_of",
]

Rental = Literal["on-demand", "bid", "reserved"]
RENTALS: dict[str, Rental] = {
    "on-demand": "on-demand", "ondemand": "on-demand", "bid": "bid", "interruptible": "bid", "spot": "bid",
    "reserved": "reserved",
}  # fmt: skip
DEFAULT_DISK_GB = 10.0
DEFAULT_ORDER = "usd_per_hour"
UNFILTERED = frozenset(c.name for c in (*OFFERS, *FIELDS) if c.ask is None)
"""Columns that the service neither filters nor sorts by."""
_ORDER_ALSO = {"score": "score", "gpu_usd_per_hour": "dph_base", "dph_base": "dph_base", "available_until": "end_date",
               "end_date": "end_date"}  # fmt: skip
Order = tuple[tuple[str, str], ...]


def rental_of(rental: str) -> Rental:
    """What the prices are for, whichever of its names was used."""
    known = RENTALS.get(str(rental).lower().replace("_", "-").replace(" ", "-"))
    if known is None:
        raise QueryError(f"no such rental: {rental!r}", hint="there are: on-demand, bid, reserved")
    return known


def disk_of(disk_gb: float) -> float:
    """The disk to be priced, in GB."""
    try:
        number = float(disk_gb)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 100_000:
        raise QueryError(f"disk_gb must be a number from 0 to 100000, got {disk_gb!r}")
    return number


def limit_of(limit: float | None) -> int | None:
    """How many offers at most; None means all."""
    if limit is None:
        return None
    try:
        number = 0 if isinstance(limit, bool) or int(limit) != limit else int(limit)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1:
        raise QueryError(f"limit must be a whole number from 1, got {limit!r}", hint="limit=None means all")
    return number


def order_of(order: str, names: dict[str, Column]) -> Order:
    """Fields of the wire and their directions; `names` are the columns by what a query may call them."""
    parsed = []
    for word in (part.strip() for part in order.split(",")):
        if word:
            name = word.strip("+-")
            parsed.append((_order_field(name, names), "desc" if word.strip("-") != word else "asc"))
    if not parsed:
        raise QueryError("order is empty", hint="for example order='usd_per_hour' or 'dlperf_per_usd-'")
    return tuple(parsed)


def _order_field(name: str, names: dict[str, Column]) -> str:
    if name in _ORDER_ALSO:
        return _ORDER_ALSO[name]
    column = names.get(name)
    if column is not None and column.ask is not None:
        return column.ask.field
    if name in UNFILTERED:
        raise QueryError(f"the service cannot sort by {name}", hint=f"search first, then df.sort_values({name!r})")
    near = difflib.get_close_matches(name, [*names, *_ORDER_ALSO], 1, 0.6)
    raise QueryError(f"no such column to sort by: {name}", suggestion=near[0] if near else None)
