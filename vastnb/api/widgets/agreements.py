"""What a launch panel offers: the offers that may be meant, and what a wish would cost on one of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vastnb.api.widgets.wishes import arguments, job_in, name_for
from vastnb.errors import InputError, LaunchError, VastError
from vastnb.services import costs
from vastnb.services.costs.quoting import job_of, priced
from vastnb.services.instances import Plan
from vastnb.services.instances.launching import parted
from vastnb.services.instances.spec import check_name, spec_of
from vastnb.services.instances.terms import plan_of, terms_of
from vastnb.vast.render import plain

__all__ = ["OFFERED", "Agreement", "Candidate", "candidates", "gpus_of", "place_of", "query_of", "quote_in", "reckoned"]

OFFERED = 20
"""Of many offers so many can be chosen from, the cheapest."""
_NEEDED = frozenset(
    {
        "offer_id", "rental", "seen_at", "gpu_usd_per_hour", "min_bid_usd_per_hour", "storage_usd_per_gb_month",
        "inet_down_usd_per_gb", "inet_up_usd_per_gb",
    }
)  # fmt: skip
"""Columns without which an offer must be read anew before it can be priced."""
_OVER_THE_LOWEST = 1.1
"""A bid that just runs now is the first to be outbid."""
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer that may be meant."""

    offer_id: int
    words: str
    rental: str = "on-demand"
    row: pd.DataFrame | None = None
    """As the market told it, one row; None if only its id is known."""
    agreed: costs.Quote | None = None
    """What the user was quoted."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What would be rented: everything that `vastnb.launch` is given, and what comes of it."""

    quote: costs.Quote
    name: str
    arguments: Mapping[str, Any]
    plan: Plan


def candidates(what: Any, wish: Mapping[str, Any]) -> tuple[list[Candidate], int]:
    """The offers that `what` stands for, cheapest first, at most `OFFERED` of them, and how many there are.

    Parameters
    ----------
    what
        An offer's id, a `Quote`, a frame of offers or quotes, or a row of one.
    wish
        For whose job they are compared.

    Raises
    ------
    InputError
        It stands for none.
    """
    if isinstance(what, pd.Series):
        row = what.to_frame().T
        row.attrs = dict(what.attrs)
        what = row
    if isinstance(what, pd.DataFrame):
        told = _of_quotes(what) if "usd_total" in what.columns else _of_offers(what, wish)
        return told, len(what)
    if isinstance(what, costs.Quote):
        return [Candidate(what.offer_id, _words(what), what.rental, agreed=what)], 1
    if isinstance(what, bool) or not hasattr(what, "__index__"):
        raise InputError(
            f"LaunchPanel takes an offer's id or row, a frame, a quote, a selector or a query, got {type(what).__name__}"
        )
    rental = "bid" if wish.get("bid_usd_per_hour") is not None else "on-demand"
    return [Candidate(int(what), f"offer {int(what)}", rental)], 1


def quote_in(what: Any) -> costs.Quote | None:
    """The quote that `what` is or begins with, if it is one."""
    if isinstance(what, costs.Quote):
        return what
    if isinstance(what, pd.Series) and "usd_total" in what.index:
        return costs.quote_of_row(what)
    if isinstance(what, pd.DataFrame) and "usd_total" in what.columns and len(what):
        row = what.iloc[0]
        row.attrs = dict(what.attrs)
        return costs.quote_of_row(row)
    return None


def query_of(what: Any) -> str:
    """What was searched for, if `what` is the answer."""
    about = what.attrs.get("vastnb", {}) if isinstance(what, pd.DataFrame) else {}
    return str(about.get("query", "")) if about.get("kind") == "offers" else ""


def _of_quotes(quotes: pd.DataFrame) -> list[Candidate]:
    first = quotes.sort_values("usd_total", kind="stable").head(OFFERED)
    made = [costs.quote_of_row(row) for _, row in first.iterrows()]
    return [Candidate(q.offer_id, _words(q), q.rental, agreed=q) for q in made]


def _of_offers(offers: pd.DataFrame, wish: Mapping[str, Any]) -> list[Candidate]:
    if offers.empty:
        return []
    job = job_of(**{name: value for name, value in job_in(wish).items() if name != "bid_usd_per_hour"})
    once = offers.drop_duplicates("offer_id")
    first = once.iloc[priced(once, job)["usd_total"].argsort(kind="stable")].head(OFFERED)
    first.attrs = dict(offers.attrs)
    return [_told(first.iloc[[n]].copy(), quote) for n, quote in enumerate(costs.quotes_of(first, job))]


def _told(row: pd.DataFrame, quote: costs.Quote) -> Candidate:
    place = place_of(row["geolocation"].iloc[0]) if "geolocation" in row else ""
    words = " · ".join(part for part in (_words(quote), place) if part)
    return Candidate(quote.offer_id, words, quote.rental, row if set(row.columns) >= _NEEDED else None)


def place_of(geolocation: Any) -> str:
    """Where a machine stands, as the service tells it: region and country, either of which may be empty."""
    return plain(str(geolocation), _LONGEST).strip(" ,")


def _words(quote: costs.Quote) -> str:
    total = "price unknown" if quote.usd_total is None else f"${quote.usd_total:,.2f} for {quote.job.hours:g} h"
    return f"{total} · {gpus_of(quote)} · offer {quote.offer_id}"


def gpus_of(quote: costs.Quote) -> str:
    """How many GPUs of which model."""
    return f"{quote.num_gpus or '?'} × {plain(quote.gpu_name or 'unknown GPU', _LONGEST)}"


# ------------------------------------------------------------ what it costs


def bid_for(row: pd.DataFrame) -> float:
    """A bid for an interruptible machine if nobody says: somewhat over what runs now, in tenths of a cent."""
    return math.ceil(float(row["min_bid_usd_per_hour"].iloc[0]) * _OVER_THE_LOWEST * 1000) / 1000


def reckoned(row: pd.DataFrame, wish: Mapping[str, Any], *, url: str = "") -> tuple[costs.Quote, Agreement | VastError]:
    """What a wish costs on an offer, and what would be agreed or why it cannot be.

    Parameters
    ----------
    row
        The offer, a frame of one row.
    wish
        What is wanted.
    url
        Where the machine reaches the service.

    Raises
    ------
    InputError
        The job cannot be right.
    """
    bid = row["rental"].iloc[0] == "bid"
    wish = {**({"bid_usd_per_hour": bid_for(row)} if bid else {}), **wish}
    (quote,) = costs.quotes_of(row, job_of(**job_in(wish)))
    try:
        return quote, _agreed(row, quote, wish, url)
    except (InputError, LaunchError) as refusal:
        return quote, refusal


def _agreed(row: pd.DataFrame, quote: costs.Quote, wish: Mapping[str, Any], url: str) -> Agreement:
    """With an end: that of the job, if none was said."""
    if quote.rental == "reserved":
        raise InputError("this offer is quoted as reserved; vastnb rents on demand and interruptible machines")
    given = {"max_hours": quote.job.hours, **arguments(wish), "disk_gb": quote.job.disk_gb}
    runs, ends, _ = parted(given)
    name = check_name(wish.get("name") or name_for(quote))
    plan = plan_of(row.iloc[0].to_dict(), quote, spec_of(**runs), terms_of(**ends), name, url=url)
    return Agreement(quote, name, {**runs, **ends}, plan)
