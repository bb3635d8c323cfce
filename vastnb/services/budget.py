"""What renting may cost: pure checks of a new machine against the caps. Whoever calls them asks first and sends afterwards.

Two kinds of cap: those of one launch (`Caps`, given with it) and those of a profile (`BudgetSettings`, for all machines
together). Those of the profile are checked against everything that costs, what was made in the console included, and against
what other kernels are about to rent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vastnb.errors import BudgetError
from vastnb.infra.config import BudgetSettings

__all__ = ["Bound", "Cost", "Spent", "bound", "check"]

_DAY_S = 86_400.0
_NOTHING_MORE = 1e-9
"""Dollars by which floating-point sums may differ."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Something that costs by the hour until it ends."""

    usd_per_hour: float
    ends_at: float | None = None
    """By the service's clock, seconds since 1970; None if nothing ends it."""
    most_usd: float | None = None
    """The most it can still cost; None if nothing bounds it."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was charged so far."""

    today_usd: float = 0.0
    """The whole account, since midnight UTC."""
    usd_total: float = 0.0
    """All machines of vastnb, from the first on."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How long a machine may run and how much of its money may go into traffic, so that its caps hold."""

    hours: float | None
    traffic_usd: float | None
    most_usd: float | None
    """The most it can cost; None if nothing bounds it."""


def bound(*, usd_per_hour: float, traffic_usd: float, max_usd: float | None, max_hours: float | None) -> Bound:
    """How caps on dollars and hours share the money.

    Parameters
    ----------
    usd_per_hour
        GPUs and disk, while it runs.
    traffic_usd
        What the traffic that was asked for will cost.
    max_usd
        The most it may cost, traffic included.
    max_hours
        The longest it may run.

    Raises
    ------
    BudgetError
        The traffic alone, or the first minutes, would cost more than `max_usd`.
    """
    if max_usd is None:
        most = None if max_hours is None else usd_per_hour * max_hours + traffic_usd
        return Bound(max_hours, None if max_hours is None else traffic_usd or None, most)
    affordable = (max_usd - traffic_usd) / usd_per_hour if usd_per_hour > 0 else float("inf")
    if affordable <= 0:
        raise BudgetError(
            f"max_usd={max_usd:g} is ${traffic_usd - max_usd:,.2f} too little for the traffic alone", cap="max_usd",
            limit_usd=max_usd, needed_usd=traffic_usd, hint="raise max_usd, or move less",
        )  # fmt: skip
    if max_hours is None:
        return Bound(affordable, traffic_usd or None, max_usd)
    if affordable < max_hours:
        needed = usd_per_hour * max_hours + traffic_usd
        raise BudgetError(
            f"max_usd={max_usd:g} is ${needed - max_usd:,.2f} too little for {max_hours:g} h at ${usd_per_hour:.3f}/h and the traffic",
            cap="max_usd", limit_usd=max_usd, needed_usd=needed, hint="raise max_usd, or lower max_hours",
        )  # fmt: skip
    return Bound(max_hours, max_usd - usd_per_hour * max_hours, max_usd)


def check(caps: BudgetSettings, new: Cost, *, others: Iterable[Cost], spent: Spent, now: float) -> None:
    """Raise unless all caps of the profile hold with one more machine.

    Parameters
    ----------
    caps
        Those of the profile; what is None does not hold.
    new
        The machine.
    others
        Everything else that costs now, or may.
    spent
        What was charged so far.
    now
        The service's clock, seconds since 1970.

    Raises
    ------
    BudgetError
        Which cap, and by how much.
    """
    together = [*others, new]
    _hold("budget.max_usd_per_hour", caps.max_usd_per_hour, new.usd_per_hour, "this machine costs an hour")
    midnight = _next_midnight(now)
    today = spent.today_usd + sum(_between(cost, now, midnight) for cost in together)
    _hold(
        "budget.max_usd_per_day", caps.max_usd_per_day, today, "today, with what was charged and what runs, would cost"
    )
    tomorrow = sum(_between(cost, midnight, midnight + _DAY_S) for cost in together)
    _hold("budget.max_usd_per_day", caps.max_usd_per_day, tomorrow, "tomorrow, with what runs, would cost")
    if caps.max_usd_total is not None and any(cost.most_usd is None for cost in together):
        raise BudgetError(
            "budget.max_usd_total is set, and a machine without an end has no highest cost", cap="budget.max_usd_total",
            limit_usd=caps.max_usd_total, hint="give max_hours or max_usd; end or limit what runs without one",
        )  # fmt: skip
    total = spent.usd_total + sum(cost.most_usd or 0.0 for cost in together)
    _hold("budget.max_usd_total", caps.max_usd_total, total, "all machines of vastnb together could cost")


def _hold(cap: str, limit: float | None, needed: float, what: str) -> None:
    if limit is not None and needed > limit + _NOTHING_MORE:
        raise BudgetError(
            f"{cap} is ${limit:,.2f}; {what} ${needed:,.2f}, ${needed - limit:,.2f} more", cap=cap, limit_usd=limit,
            needed_usd=needed, hint="%vast audit shows what costs; the cap is in the settings (%vast config)",
        )  # fmt: skip


def _between(cost: Cost, start: float, end: float) -> float:
    """Dollars that it can cost between two moments."""
    until = end if cost.ends_at is None else min(end, cost.ends_at)
    running = cost.usd_per_hour * max(0.0, until - start) / 3600
    return running if cost.most_usd is None else min(running, cost.most_usd)


def _next_midnight(now: float) -> float:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day + timedelta(days=1)).timestamp()
