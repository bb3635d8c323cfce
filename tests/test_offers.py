"""Search that can be trusted: whole or said not to be, checked again, explained when empty, parsed once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import vastnb
from vastnb import errors
from vastnb.sandbox import Sandbox
from vastnb.services import offers
from vastnb.services.offers import gpus, search
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query
from vastnb.vast.types import OFFERS

MakeClient = Callable[..., Client]
PINNED = [column.name for column in OFFERS]


def about(frame: pd.DataFrame) -> dict[str, Any]:
    return dict(frame.attrs["vastnb"])


def truth(sandbox: Sandbox, text: str, **options: Any) -> list[int]:
    """The whole answer, in order, as the sandbox knows it."""
    return [offer["id"] for offer in sandbox.offers(parse_query(text, **options).to_api())]


def test_a_small_answer_is_whole_with_one_request(client: Client, sandbox: Sandbox) -> None:
    frame = search("gpu_name=RTX_4090 num_gpus>=2", client=client)

    assert frame.offer_id.tolist() == truth(sandbox, "gpu_name=RTX_4090 num_gpus>=2")
    assert (about(frame)["complete"], about(frame)["requests"], sandbox.requests()) == (True, 1, 1)


def test_an_answer_larger_than_a_page_is_fetched_whole(client: Client, sandbox: Sandbox) -> None:
    frame = search("num_gpus<=2 dph<0.6", client=client)

    expected = truth(sandbox, "num_gpus<=2 dph<0.6")
    assert 64 < len(expected) < 300
    assert sorted(frame.offer_id) == sorted(expected)
    assert frame.usd_per_hour.is_monotonic_increasing
    assert about(frame)["complete"] is True


def test_an_answer_larger_than_may_be_asked_for_says_so_and_begins_right(client: Client, sandbox: Sandbox) -> None:
    frame = search(client=client, max_requests=3)

    assert sandbox.requests("/bundles") == 3
    assert about(frame)["complete"] is False
    assert len(frame) > 150
    assert set(frame.offer_id) == set(truth(sandbox, "")[: len(frame)])


@pytest.mark.parametrize("limit", [1, 10, 64, 65, 150])
def test_a_limit_is_kept_and_is_a_whole_answer(client: Client, sandbox: Sandbox, limit: int) -> None:
    frame = search("num_gpus<=2", limit=limit, client=client)

    assert len(frame) == limit
    assert frame.usd_per_hour.tolist() == sorted(frame.usd_per_hour)
    assert set(frame.offer_id) <= set(truth(sandbox, "num_gpus<=2")[: limit + 5])
    assert about(frame)["complete"] is True


def test_other_orders_are_continued_too(client: Client, sandbox: Sandbox) -> None:
    frame = search("num_gpus=1", order="score-", limit=100, client=client)

    assert frame.offer_id.tolist() == truth(sandbox, "num_gpus=1", order="score-")[:100]


def test_an_order_by_a_column_that_can_be_absent_is_never_called_whole_in_parts(client: Client) -> None:
    frame = search("num_gpus<=2 dph<0.6", order="inet_down_cost", client=client)

    assert about(frame)["requests"] > 1
    assert about(frame)["complete"] is False


def test_a_page_of_one_price_cannot_be_continued_and_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    page = client.page(parse_query("num_gpus=1"))
    flat = replace(page, values=[0.5] * page.received)

    class OnePrice:
        account_name, settings, kept = "none", client.settings, client.kept
        state_folder = client.state_folder

        def page(self, *_: Any, **__: Any) -> Any:
            return flat

    frame = search("num_gpus=1", client=OnePrice())  # type: ignore[arg-type]

    assert (about(frame)["complete"], about(frame)["requests"]) == (False, 2)


def test_rows_that_contradict_the_query_are_dropped_and_counted(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add("contradicting", count=3)

    frame = search("gpu_name=RTX_4090 num_gpus>=2", client=client)

    assert frame.offer_id.tolist() == truth(sandbox, "gpu_name=RTX_4090 num_gpus>=2")
    assert about(frame)["dropped_by_recheck"] == 3


def test_the_nominal_size_selects_the_same_rows_as_the_frame(client: Client) -> None:
    by_query = search("gpu_ram=24 dph<0.3", client=client)
    by_frame = search("dph<0.3", client=client, max_requests=9)

    assert about(by_frame)["complete"]
    assert sorted(by_query.offer_id) == sorted(by_frame[by_frame.gpu_ram_nominal_gb == 24].offer_id)


def test_a_query_in_gb_selects_the_same_rows_as_the_frame(client: Client) -> None:
    by_query = search("gpu_ram>=24 dph<0.3", client=client)
    by_frame = search("dph<0.3", client=client, max_requests=9)

    assert sorted(by_query.offer_id) == sorted(by_frame[by_frame.gpu_ram_gb >= 24].offer_id)


def test_what_the_frame_says_of_itself_is_json(client: Client, sandbox: Sandbox) -> None:
    frame = search("gpu_name=RTX_4090", disk_gb=50, limit=3, client=client)

    said = json.loads(json.dumps(about(frame)))
    assert said == about(frame)
    assert {name: said[name] for name in ("kind", "query", "rental", "disk_gb", "source", "url", "returned", "complete")} == {
        "kind": "offers", "query": "gpu_name=RTX_4090", "rental": "on-demand", "disk_gb": 50.0, "source": "sandbox",
        "url": sandbox.url, "returned": 3, "complete": True,
    }  # fmt: skip
    assert sandbox.api_key not in json.dumps(said)
    assert said["seen_at"] == "2026-06-01T09:00:00+00:00"


def test_seen_at_is_the_clock_of_the_service(client: Client) -> None:
    frame = search("num_gpus=8", limit=2, client=client)

    assert frame.seen_at.tolist() == [pd.Timestamp("2026-06-01T09:00:00Z")] * 2


def test_the_disk_and_the_rental_are_in_the_price(client: Client, sandbox: Sandbox) -> None:
    small, large = (search("gpu_name=RTX_4090", disk_gb=gb, client=client) for gb in (10, 500))
    both = small.merge(large, on="offer_id", suffixes=("", "_large"))
    bids = search("gpu_name=RTX_4090", rental="bid", client=client)

    dearer = both.usd_per_hour_large - both.usd_per_hour
    assert dearer.to_numpy() == pytest.approx((both.storage_usd_per_gb_month * 490 / 720).to_numpy())
    assert (bids.gpu_usd_per_hour == bids.min_bid_usd_per_hour).all()
    assert set(bids.rental) == {"bid"}


# ---------------------------------------------------------------- empty answers


def test_an_empty_answer_has_all_columns_and_says_which_condition_is_to_blame(client: Client, sandbox: Sandbox) -> None:
    frame = search("gpu_name=RTX_4090 dph<0.01 num_gpus>=1", client=client)

    count = len(truth(sandbox, "gpu_name=RTX_4090"))
    assert (len(frame), list(frame.columns)[: len(PINNED)]) == (0, PINNED)
    first, price, number = about(frame)["why_empty"]
    assert first.startswith(f"of the {min(count, 64)}")
    assert (price, number) == (
        f"dph<0.01: removes {min(count, 64)}, leaves 0",
        f"num_gpus>=1: removes 0, leaves {min(count, 64)}",
    )


def test_an_unknown_gpu_is_not_refused_but_suggested(client: Client) -> None:
    frame = search("gpu_name=RTX_4099", client=client)

    assert about(frame)["notes"] == [
        "no GPU named RTX 4099 was seen before; did you mean RTX 4090, RTX 4090D, RTX 5090, RTX 4080?"
    ]
    assert about(frame)["why_empty"] == ["gpu_name=RTX_4099: nothing of it is on the market, verified or not"]


def test_an_answer_that_is_empty_for_being_unverified_says_so(client: Client, sandbox: Sandbox) -> None:
    everything = {o["gpu_name"] for o in sandbox.offers({"rentable": {"eq": True}})}
    checked = {o["gpu_name"] for o in sandbox.offers(parse_query("").to_api())}
    name = min(everything - checked).replace(" ", "_")

    frame = search(f"gpu_name={name}", client=client)

    assert len(frame) == 0
    assert "try verified=any" in about(frame)["why_empty"][0]


def test_an_explanation_costs_no_more_requests_than_allowed(client: Client, sandbox: Sandbox) -> None:
    search("gpu_name=RTX_4090 dph<0.01", client=client, max_requests=1)

    assert sandbox.requests("/bundles") == 1


def test_an_unreadable_answer_is_an_error_and_never_an_empty_market(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add("null-offers")

    with pytest.raises(errors.ResponseError):
        search("num_gpus=1", client=client)


# ---------------------------------------------------------------- asked once


def test_the_second_search_in_a_kernel_asks_nobody_and_parses_nothing(
    client: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search("num_gpus<=2 dph<0.6", client=client)
    asked = sandbox.requests()
    monkeypatch.setattr(Client, "page", lambda *_, **__: pytest.fail("asked again"))

    second = search("num_gpus<=2 dph<0.6", client=client)

    pd.testing.assert_frame_equal(first, second)
    assert (about(first)["from_cache"], about(second)["from_cache"], sandbox.requests()) == (False, True, asked)


def test_a_frame_that_its_owner_changes_is_not_the_one_that_is_kept(client: Client) -> None:
    first = search("num_gpus=8", client=client)
    first.loc[0, "usd_per_hour"] = 0.0
    first["mine"] = 1
    first.attrs["vastnb"]["query"] = "changed"

    second = search("num_gpus=8", client=client)

    assert (second.usd_per_hour > 0).all()
    assert "mine" not in second.columns
    assert about(second)["query"] == "num_gpus=8"


def test_another_kernel_is_answered_from_the_disk(make_client: MakeClient, sandbox: Sandbox) -> None:
    search("num_gpus=8", client=make_client(sandbox))

    again = search("num_gpus=8", client=make_client(sandbox))

    assert (about(again)["from_cache"], sandbox.requests()) == (True, 1)


def test_refresh_asks_again(client: Client, sandbox: Sandbox) -> None:
    search("num_gpus=8", client=client)

    frame = search("num_gpus=8", client=client, refresh=True)

    assert (about(frame)["from_cache"], sandbox.requests()) == (False, 2)


def test_when_the_service_fails_an_older_answer_stands_in_and_says_so(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    first = search("num_gpus=8", client=make_client(sandbox))
    sandbox.faults.add("503", times=None)

    again = search("num_gpus=8", client=make_client(sandbox, retries=0), refresh=True)

    assert again.offer_id.tolist() == first.offer_id.tolist()
    assert (about(again)["stale"], about(again)["from_cache"]) == (True, True)


def test_the_clock_of_the_sandbox_makes_what_is_kept_old() -> None:
    session = vastnb.use("sandbox", offers=300, seed=3, start="2026-06-01")
    before = vastnb.search("num_gpus=1")

    session.sandbox.clock.step(days=2)
    after = vastnb.search("num_gpus=1")

    assert before.offer_id.tolist() != after.offer_id.tolist()
    assert after.seen_at[0] == pd.Timestamp("2026-06-03T00:00:00Z")


# ---------------------------------------------------------------- models and fields


def test_models_have_counts_and_prices(client: Client, sandbox: Sandbox) -> None:
    frame = gpus("gpu_name=RTX_4090", client=client)

    rows = sandbox.offers(parse_query("gpu_name=RTX_4090", defaults=True).to_api())
    sizes = frame.gpu_ram_nominal_gb.tolist()
    assert set(frame.gpu_name) == {"RTX 4090"}
    assert set(sizes) <= {24.0, 48.0}
    assert int(frame.offers.sum()) == len(rows)
    assert int(frame.gpus.sum()) == len({gpu for row in rows for gpu in row["gpu_ids"]})
    assert (frame.usd_per_gpu_hour_min <= frame.usd_per_gpu_hour_median).all()


def test_all_models_are_a_sample_and_say_so(client: Client, sandbox: Sandbox) -> None:
    frame = gpus(client=client)

    assert len(frame) > 30
    assert sandbox.requests("/bundles") == 5
    assert about(frame)["complete"] is False
    assert frame.usd_per_gpu_hour_median.is_monotonic_increasing


def test_a_price_in_the_query_leaves_bands_out(client: Client, sandbox: Sandbox) -> None:
    frame = gpus("dph<0.1", client=client)

    assert (frame.usd_per_gpu_hour_min < 0.1).all()
    assert sandbox.requests("/bundles") == 1


def test_no_model_is_an_empty_frame_with_its_columns(client: Client) -> None:
    frame = gpus("gpu_ram>=999", client=client)

    assert (len(frame), frame.columns[0]) == (0, "gpu_name")


def test_every_field_that_can_be_asked_is_listed() -> None:
    table = offers.fields()

    for name in table.field:
        if name != "region":
            parse_query(f"{name}=any")
    assert table.field.is_unique
    assert vastnb.fields("no such thing").empty
