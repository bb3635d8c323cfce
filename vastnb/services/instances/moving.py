"""Another machine in place of one that is outbid, or whose host is lost, within what is left of its caps. Never are there two at once.

1. `offer_for` looks whether one is to be had at all: as long as none is, the machine stays. Its disk costs, and it may run again.
2. The machine is destroyed first, and seen to be gone: nobody can read its disk meanwhile, so waiting saves nothing. One whose
   host comes back later would run and cost beside the other.
3. `rent_for` rents through `launch`, under the same name: a machine of that name that lives is taken, whoever rented it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from vastnb.errors import (
    BudgetError,
    InputError,
    InvalidRequestError,
    OfferGoneError,
    PriceChangedError,
)
from vastnb.services.instances.handle import Instance
from vastnb.services.instances.lasting import usd_left
from vastnb.services.instances.launching import launch_on
from vastnb.services.instances.spec import HIDDEN
from vastnb.services.instances.terms import Plan
from vastnb.services.journal import Rental

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.services.instances.fleet import Fleet

__all__ = ["offer_for", "rent_for"]

_TRIED = 5
_LEAST_OVER, _OVER = 1.02, 1.1
"""A bid that only equals the least one is outbid by the next."""


def offer_for(fleet: Fleet, row: Rental, now: float) -> Plan:
    """How another machine in place of this one would be rented.

    Raises
    ------
    OfferGoneError
        None is to be had within what is left of the caps.
    BudgetError
        Nothing is left of them.
    InputError
        It cannot be rented again from what was written down.
    """
    plan = _first(fleet, row, now, lambda offer, wanted: launch_on(fleet, offer, new=True, dry_run=True, **wanted))
    assert isinstance(plan, Plan)
    return plan


def rent_for(fleet: Fleet, row: Rental, now: float) -> Instance:
    """Another machine in place of this one, which is gone. Errors as `offer_for`, and as `launch`."""
    living = fleet.look().named(row.name)
    if living is not None:
        return Instance(fleet, *living, now)
    other = _first(fleet, row, now, lambda offer, wanted: launch_on(fleet, offer, **wanted))
    assert isinstance(other, Instance)
    return other


def _first(
    fleet: Fleet, row: Rental, now: float, ask: Callable[[pd.DataFrame, dict[str, Any]], Instance | Plan]
) -> Instance | Plan:
    wanted, refusals = _wanted(fleet, row, now), []
    for offer, bid in _offers(fleet, row):
        try:
            return ask(offer, {**wanted, "bid_usd_per_hour": bid})
        except (OfferGoneError, PriceChangedError, BudgetError, InvalidRequestError) as refusal:
            refusals.append(refusal.message)
    why = f": {'; '.join(refusals)}" if refusals else ""
    raise OfferGoneError(f"no other machine is to be had now within the caps of {row.name}{why}")


def _offers(fleet: Fleet, row: Rental) -> Iterator[tuple[pd.DataFrame, float]]:
    """Offers of other machines, cheapest first, and what to bid: a tenth more than must be, as far as is allowed."""
    from vastnb.services.offers import search

    model = f'gpu_name="{row.quote.get("gpu_name")}" num_gpus={row.quote.get("num_gpus")}'
    found = search(row.query or model, rental="bid", disk_gb=row.spec["disk_gb"], refresh=True, client=fleet.client)
    most = float(row.terms.get("max_bid_usd_per_hour") or row.spec["bid_usd_per_hour"])
    others = found[(found["machine_id"] != row.machine_id) & (found["min_bid_usd_per_hour"] * _LEAST_OVER <= most)]
    for number in range(min(_TRIED, len(others))):
        offer = others.iloc[[number]]
        least = float(offer["min_bid_usd_per_hour"].iloc[0])
        yield offer, min(most, math.ceil(least * _OVER * 1000) / 1000)


def _wanted(fleet: Fleet, row: Rental, now: float) -> dict[str, Any]:
    """What `launch` is asked for: the same again, under what is left of the caps."""
    if not row.spec or HIDDEN in row.spec.get("env", {}).values():
        raise InputError(
            f"{row.name} cannot be moved: what it was rented with is not known here, or has secrets that are not written down"
        )
    spec = {name: value for name, value in row.spec.items() if value not in (None, "", [], {})}
    spec |= {name: tuple(spec[name]) for name in ("ports", "args") if name in spec}
    terms = {name: value for name, value in row.terms.items() if value is not None}
    if "max_usd" in terms:
        terms["max_usd"] = usd_left(fleet, row, now)
    if "max_hours" in terms and row.ends_at is not None:
        terms["max_hours"] = (row.ends_at - now) / 3600
    if min(terms.get("max_usd", 1.0), terms.get("max_hours", 1.0)) <= 0.01:
        raise BudgetError(f"nothing is left of the caps of {row.name}")
    job = row.quote.get("job", {})
    traffic = {name: job.get(name) or 0 for name in ("download_gb", "upload_gb")}
    return {"name": row.name, **traffic, **spec, **terms}
