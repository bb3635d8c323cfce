"""Caps: pure arithmetic, each refusal with its cap and by how much."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from vastnb.errors import BudgetError
from vastnb.infra.config import BudgetSettings
from vastnb.services.budget import Cost, Spent, bound, check

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
usd = st.floats(0.01, 50)


def refused(
    caps: BudgetSettings, new: Cost, *others: Cost, spent: Spent | None = None, now: float = NOON
) -> BudgetError | None:
    try:
        check(caps, new, others=others, spent=spent or Spent(), now=now)
    except BudgetError as error:
        return error
    return None


def test_without_caps_everything_passes() -> None:
    assert refused(BudgetSettings(), Cost(1e6), Cost(1e6)) is None


def test_the_cap_of_an_hour_holds_for_one_machine() -> None:
    caps = BudgetSettings(max_usd_per_hour=1)

    assert refused(caps, Cost(1.0), Cost(5.0)) is None
    error = refused(caps, Cost(1.25))
    assert error is not None
    assert (error.cap, error.limit_usd, error.needed_usd) == ("budget.max_usd_per_hour", 1, 1.25)
    assert "$0.25 more" in error.message


def test_the_cap_of_a_day_counts_what_was_charged_and_what_runs_until_midnight() -> None:
    caps = BudgetSettings(max_usd_per_day=30)

    assert (
        refused(caps, Cost(1.0, ends_at=NOON + 6 * 3600), Cost(1.0), spent=Spent(today_usd=12)) is None
    )  # 12 + 12 + 6
    error = refused(caps, Cost(1.0, ends_at=NOON + 7 * 3600), Cost(1.0), spent=Spent(today_usd=12))
    assert error is not None
    assert (error.cap, error.needed_usd) == ("budget.max_usd_per_day", 31)


def test_the_cap_of_a_day_holds_tomorrow_too() -> None:
    late = datetime(2026, 6, 1, 23, tzinfo=UTC).timestamp()

    error = refused(BudgetSettings(max_usd_per_day=20), Cost(1.0), now=late)

    assert error is not None
    assert error.needed_usd == 24
    assert "tomorrow" in error.message


def test_the_cap_in_all_needs_an_end_for_every_machine() -> None:
    caps = BudgetSettings(max_usd_total=10)

    assert refused(caps, Cost(1.0, NOON + 3600, 1.0), Cost(1.0, NOON + 3600, 4.0), spent=Spent(usd_total=5)) is None
    open_ended, too_much = refused(caps, Cost(1.0)), refused(caps, Cost(1.0, NOON, 6.0), spent=Spent(usd_total=5))
    assert open_ended is not None
    assert "max_hours" in (open_ended.hint or "")
    assert too_much is not None
    assert too_much.needed_usd == 11


@given(usd_per_hour=usd, traffic=st.floats(0, 20), max_usd=usd, hours=st.floats(0.1, 500))
def test_whatever_is_allowed_costs_at_most_its_cap(
    usd_per_hour: float, traffic: float, max_usd: float, hours: float
) -> None:
    for max_hours in (None, hours):
        try:
            made = bound(usd_per_hour=usd_per_hour, traffic_usd=traffic, max_usd=max_usd, max_hours=max_hours)
        except BudgetError:
            assert traffic + usd_per_hour * (max_hours or 0) >= max_usd * (1 - 1e-9)
            continue
        assert made.hours is not None
        assert made.hours * usd_per_hour + (made.traffic_usd or 0) <= max_usd * (1 + 1e-9)
        assert (made.traffic_usd or 0) >= traffic * (1 - 1e-9)
        assert made.most_usd == max_usd
        assert max_hours is None or made.hours == max_hours


def test_hours_alone_bound_the_money_and_nothing_bounds_nothing() -> None:
    hours = bound(usd_per_hour=0.5, traffic_usd=1, max_usd=None, max_hours=4)
    nothing = bound(usd_per_hour=0.5, traffic_usd=1, max_usd=None, max_hours=None)

    assert (hours.hours, hours.most_usd) == (4, 3)
    assert (nothing.hours, nothing.most_usd) == (None, None)
    assert bound(usd_per_hour=0, traffic_usd=0, max_usd=1, max_hours=None).hours == math.inf
