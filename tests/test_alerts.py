"""Price alerts: told once when a price is reached, kept for good, judged by whoever looks at the market."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from renting import Yard

import vastnb
from vastnb.errors import InputError, NotFoundError, QueryError, VastError
from vastnb.services import alerts
from vastnb.services.alerts import Alert, Cheapest, judge
from vastnb.services.events import Event, Queue, queue_of
from vastnb.services.instances.fleet import Fleet
from vastnb.vast.render import frame_text

AT = "2026-06-01T09:00:00+00:00"
QUERY = "gpu_name=RTX_4090 num_gpus>=2"


# --- pure ---------------------------------------------------------------------------------------------------------------


def told(prices: list[float | None], below: float = 1.0) -> list[float | None]:
    """The prices at which the event was published."""
    wanted, found = Alert("a", QUERY, below), list[float | None]()
    for usd in prices:
        wanted, event = judge(wanted, Cheapest(AT, usd, {"offer_id": 7}))
        if event is not None:
            found.append(usd)
        assert wanted.times == len(found)
    return found


@pytest.mark.parametrize(
    ("prices", "when"),
    [
        ([1.2, 0.9, 0.8, 0.7], [0.9]),
        ([1.0], [1.0]),
        ([0.9, 1.01, 0.9, 1.04, 0.9], [0.9]),
        ([0.9, 1.06, 0.8], [0.9, 0.8]),
        ([0.9, None, 0.9], [0.9, 0.9]),
        ([1.01, 1.04, 1.2, None], []),
    ],
    ids=["once", "exactly", "trembling", "missed in between", "nothing in between", "never"],
)
def test_a_price_is_told_once_until_it_was_missed(prices: list[float | None], when: list[float | None]) -> None:
    assert told(prices) == when


@given(st.lists(st.none() | st.floats(0.5, 1.5), max_size=30))
def test_between_two_that_are_told_the_price_was_missed_by_5_percent(prices: list[float | None]) -> None:
    state, expected = False, []
    for usd in prices:
        if usd is None or usd > 1.05:
            state = False
        elif usd <= 1.0 and not state:
            state = True
            expected.append(usd)
    assert told(prices) == expected


def test_the_event_says_what_is_to_be_had_and_where() -> None:
    offer = {"offer_id": 7, "gpu_name": "RTX 4090", "usd_per_hour": 0.38}

    _, event = judge(Alert("cheap", QUERY, 0.4), Cheapest(AT, 0.38, offer))

    assert event == Event(
        f"price {AT} 1 cheap", "market.price", "", datetime(2026, 6, 1, 9, tzinfo=UTC),
        {"message": "cheap: $0.380/h for offer 7, wanted at most $0.4/h", "alert": "cheap", "query": QUERY,
         "rental": "on-demand", "disk_gb": 10, "below_usd_per_hour": 0.4, **offer},
    )  # fmt: skip


# --- at the sandbox -----------------------------------------------------------------------------------------------------


_SEEDS = itertools.count(1)


@pytest.fixture
def here() -> Any:
    """A session in a sandbox of its own, whose prices the test sets."""
    return vastnb.use("sandbox", start="2026-06-01T09:00", offers=400, seed=next(_SEEDS))


@pytest.fixture
def queue(here: Any) -> Iterator[Queue]:
    made = queue_of(here.client)
    yield made
    made.close()


def test_a_price_that_falls_is_told_once_and_again_after_it_rose(here: Any, queue: Queue) -> None:
    cheapest = vastnb.search(QUERY).iloc[0]
    below = float(cheapest.usd_per_hour) * 0.9
    vastnb.alert(QUERY, below_usd_per_hour=below)
    seen = []

    for factor in (1.0, 0.8, 1.0, 2.0, 0.5):
        here.sandbox.reprice(int(cheapest.offer_id), factor)
        seen.append([event.data["offer_id"] for event in alerts.look(here.client, queue)])

    offer = int(cheapest.offer_id)
    assert seen == [[], [offer], [], [], [offer]]
    rows = vastnb.events("market.*")
    assert rows.kind.tolist() == ["market.price"] * 2
    assert vastnb.alerts()[["name", "reached", "times"]].values.tolist() == [[QUERY, True, 2]]
    assert vastnb.alerts().usd_per_hour[0] == vastnb.search(QUERY, refresh=True).usd_per_hour[0]


def test_each_alert_costs_one_request_and_nothing_on_offer_is_no_price(here: Any, queue: Queue) -> None:
    vastnb.alert("gpu_name=RTX_4090", below_usd_per_hour=0.01)
    vastnb.alert("gpu_name=RTX_4090 num_gpus>=999", below_usd_per_hour=100.0)
    before = here.sandbox.requests("/bundles/")

    assert alerts.look(here.client, queue) == []

    assert here.sandbox.requests("/bundles/") == before + 2
    assert vastnb.alerts().usd_per_hour.isna().tolist() == [False, True]


def test_an_answer_that_cannot_be_read_changes_no_alert_and_what_was_asked_before_counts(
    there: Yard, kernel: Fleet
) -> None:
    with_state = queue_of(kernel.client)
    with_state.exchange("price alerts", lambda _: alerts._written([Alert("a", QUERY, 99.0), Alert("b", QUERY, 99.0)]))
    there.sandbox.faults.add("slow", path="/bundles/", seconds=0.0)  # the first request meets this, the second the next
    there.sandbox.faults.add("garbage", path="/bundles/")

    with pytest.raises(VastError):
        alerts.look(kernel.client, with_state)

    assert [(kept.name, kept.reached) for kept in alerts.alerts_of(with_state)] == [("a", True), ("b", False)]
    assert [event.data["alert"] for event in alerts.look(kernel.client, with_state)] == ["b"]
    with_state.close()


def test_the_same_again_changes_nothing_and_another_price_begins_anew(here: Any, queue: Queue) -> None:
    vastnb.alert(QUERY, below_usd_per_hour=99)
    assert len(alerts.look(here.client, queue)) == 1

    assert vastnb.alert(QUERY, below_usd_per_hour=99).reached
    assert alerts.look(here.client, queue) == []
    assert not vastnb.alert(QUERY, below_usd_per_hour=98).reached
    assert vastnb.alert(QUERY, below_usd_per_hour=97, name="mine").name == "mine"
    assert vastnb.alerts().name.tolist() == [QUERY, "mine"]


def test_an_alert_outlives_its_kernel_and_is_dropped_by_its_name(here: Any, queue: Queue) -> None:
    vastnb.alert(QUERY, below_usd_per_hour=0.4, rental="bid", disk_gb=50)

    assert alerts.alerts_of(queue) == [Alert(QUERY, QUERY, 0.4, "bid", 50)]
    with pytest.raises(NotFoundError, match="no price alert mine") as raised:
        vastnb.drop_alert("mine")
    assert QUERY in (raised.value.hint or "")
    vastnb.drop_alert(QUERY)
    assert vastnb.alerts().empty


@pytest.mark.parametrize("below", [0, -1, float("nan"), float("inf")])
def test_a_price_that_cannot_be_is_refused(here: Any, below: float) -> None:
    with pytest.raises(InputError, match="below_usd_per_hour must be above 0"):
        vastnb.alert(QUERY, below_usd_per_hour=below)


def test_what_is_no_query_is_refused_and_so_are_too_many(here: Any) -> None:
    with pytest.raises(QueryError):
        vastnb.alert("gpu_nme=x", below_usd_per_hour=1)
    with pytest.raises(InputError, match="needs a name"):
        vastnb.alert("", below_usd_per_hour=1)
    for number in range(50):
        vastnb.alert("", below_usd_per_hour=1, name=str(number))
    with pytest.raises(InputError, match="50 price alerts"):
        vastnb.alert("", below_usd_per_hour=1, name="one more")


def test_alerts_in_a_notebook(ip: Any) -> None:
    ip.run_cell("%vast use sandbox start=2026-06-01 offers=200").raise_error()

    said = str(ip.run_line_magic("vast", f"watch price {QUERY} --below 50 --name cheap"))
    told = str(ip.run_line_magic("vast", "watch --once"))

    assert said.startswith("cheap: the event market.price comes when an offer costs at most $50/h.\nThis kernel looks")
    assert told == "Nothing new." or "market.price cheap: $" in told  # this kernel's sampler may have been quicker
    assert len(vastnb.events("market.price")) == 1
    assert ip.run_line_magic("vast", "watch price").name.tolist() == ["cheap"]
    assert str(ip.run_line_magic("vast", "watch price cheap --stop")) == "It is forgotten."
    assert frame_text(ip.run_line_magic("vast", "watch price")).endswith("No price alerts.")
    with pytest.raises(vastnb.errors.CommandError, match="needs a price"):
        ip.run_line_magic("vast", f"watch price {QUERY}")
    ip.run_line_magic("vast", "watch --stop")
