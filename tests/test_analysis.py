"""Cost analysis and market statistics, against plain loops written here."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vastnb import errors
from vastnb.sandbox import Sandbox
from vastnb.services.catalogue import show
from vastnb.services.costs import cheapest_for, compare, frontier, quote, quote_of_row, sensitivity, usd_per_job
from vastnb.services.market import market
from vastnb.services.offers import search
from vastnb.vast.client import Client
from vastnb.vast.render import frame_html, frame_text
from vastnb.vast.types import KINDS
from vastnb.vast.types.frames import offers_frame

JOB: dict[str, Any] = {"hours": 10, "disk_gb": 50, "download_gb": 100, "upload_gb": 5, "idle_hours": 12}
RATES = {"RTX 4090": 2900.0, "RTX 3090": 1500.0}
ANALYSES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "choices": lambda df: cheapest_for(df, vram_gb=24, **JOB),
    "job costs": lambda df: usd_per_job(df, RATES, units=1e8, setup_hours=0.5, disk_gb=50),
    "groups": compare,
    "variations": lambda df: sensitivity(df, hours=10, disk_gb=50, download_gb=100),
    "market groups": market,
}


@pytest.fixture
def offers(client: Client) -> pd.DataFrame:
    return search("gpu_name in [RTX_4090,RTX_3090,RTX_5090,RTX_A6000]", client=client)


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(frame[name].dtype) for name in frame.columns}


def totals(offers: pd.DataFrame, **job: float) -> dict[int, float]:
    quoted = quote(offers, **job)
    assert isinstance(quoted, pd.DataFrame)
    return dict(zip(quoted.offer_id.tolist(), quoted.usd_total.tolist(), strict=True))


# ---------------------------------------------------------------- what all of them promise


@pytest.mark.parametrize("kind", ANALYSES)
def test_columns_are_pinned_and_nothing_given_is_changed(offers: pd.DataFrame, kind: str) -> None:
    before, attrs = offers.copy(deep=True), str(offers.attrs)

    found = offers.pipe(ANALYSES[kind])

    assert len(found) > 0
    assert dtypes(found) == {c.name: c.dtype for c in KINDS[kind]}
    assert found.index.equals(pd.RangeIndex(len(found)))
    pd.testing.assert_frame_equal(offers, before)
    assert str(offers.attrs) == attrs
    assert frame_text(found).splitlines()[-1] != ""
    assert "sandbox: practice, not real" in frame_html(found)


@pytest.mark.parametrize("kind", ANALYSES)
def test_no_offers_give_no_rows_and_the_same_columns(offers: pd.DataFrame, kind: str) -> None:
    found = offers.head(0).pipe(ANALYSES[kind])

    assert len(found) == 0
    assert dtypes(found) == {c.name: c.dtype for c in KINDS[kind]}
    assert frame_text(found).startswith(f"0 {kind}")


@pytest.mark.parametrize("kind", ANALYSES)
def test_a_frame_from_a_file_with_any_index_gives_the_same(offers: pd.DataFrame, kind: str, tmp_path: Any) -> None:
    offers.to_csv(tmp_path / "offers.csv", index=False)
    read = pd.read_csv(tmp_path / "offers.csv")
    read.index = pd.Index(["a"] * len(read))

    expected, found = offers.pipe(ANALYSES[kind]), read.pipe(ANALYSES[kind])

    pd.testing.assert_frame_equal(found, expected)
    assert "kind" not in found.attrs["vastnb"]


@pytest.mark.parametrize("kind", ANALYSES)
@pytest.mark.parametrize("price", [0.0, math.nan, None])
def test_an_offer_without_a_price_is_in_no_ranking_and_said(offers: pd.DataFrame, kind: str, price: Any) -> None:
    worst = offers.copy()
    cheapest = worst.usd_per_hour.idxmin()
    worst.loc[cheapest, ["usd_per_hour", "gpu_usd_per_hour", "usd_per_gpu_hour"]] = price

    found = worst.pipe(ANALYSES[kind])

    assert "offer_id" not in found or worst.offer_id[cheapest] not in set(found.offer_id)
    assert re.search(r"1 of \d+ left out: a price is not told, or is zero", frame_text(found))


@pytest.mark.parametrize("what", [None, [1], "RTX 4090", pd.DataFrame({"a": [1]})])
@pytest.mark.parametrize("analysis", [*(a for a in ANALYSES.values() if a is not market), frontier])
def test_what_is_no_frame_of_offers_is_refused(analysis: Any, what: Any) -> None:
    with pytest.raises(errors.InputError):
        analysis(what)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda df: cheapest_for(df, hours=-1), "hours"),
        (lambda df: cheapest_for(df, vram_gb=-1), "vram_gb must be a number from 0, got -1"),
        (lambda df: cheapest_for(df, gpu_ram_gb=math.nan), "gpu_ram_gb"),
        (lambda df: cheapest_for(df, disk_gb=4), "disk_gb"),
        (lambda df: usd_per_job(df, RATES, units=0), "units above 0"),
        (lambda df: usd_per_job(df, RATES, units=math.inf), "units"),
        (lambda df: usd_per_job(df, RATES, units=1, scaling=1.5), "scaling must be 0 to 1"),
        (lambda df: usd_per_job(df, RATES, units=1, setup_hours=-1), "setup_hours"),
        (lambda df: usd_per_job(df, {"RTX 4090": 0}, units=1), "the rate of RTX 4090 must be above 0"),
        (lambda df: usd_per_job(df, {"RTX 4090": "fast"}, units=1), "rates by GPU model"),
        (lambda df: usd_per_job(df, [2900], units=1), "rates by GPU model"),
        (lambda df: usd_per_job(df, {"RTX 409": 1}, units=1), "no offer here is of a model with a rate: RTX 409"),
        (lambda df: usd_per_job(df, {}, units=1), "none given"),
        (lambda df: sensitivity(df, hours=-3), "hours"),
        (lambda df: sensitivity(df, factors=[-1]), "hours"),
        (lambda df: compare(df, by="colour"), "there is no column colour"),
        (lambda df: compare(df, to="GTX 1"), "0 groups are called GTX 1"),
        (lambda df: market(df, by="colour"), "by must be of gpu, country, verification, got 'colour'"),
        (lambda df: market(df, by=[]), "by must be of"),
        (lambda df: market(df.drop(columns="machine_id")), "there is no column machine_id"),
        (lambda df: market("RTX 4090"), "expected a frame, got str"),
        (lambda df: frontier(df, less=()), "at least one column"),
        (lambda df: frontier(df, more="gpu_name"), "gpu_name is no column of numbers"),
    ],
)
def test_a_wrong_argument_is_refused(offers: pd.DataFrame, act: Any, message: str) -> None:
    with pytest.raises(errors.InputError) as raised:
        act(offers)

    assert message in str(raised.value)


def test_a_mistyped_model_has_a_hint(offers: pd.DataFrame) -> None:
    with pytest.raises(errors.InputError) as raised:
        usd_per_job(offers, {"RTX4090": 1}, units=1)

    assert raised.value.hint == "did you mean RTX 4090?"


def test_what_comes_from_an_incomplete_answer_says_so(offers: pd.DataFrame) -> None:
    offers.attrs["vastnb"]["complete"] = False

    assert "From an incomplete answer" in frame_text(compare(offers))


@pytest.mark.parametrize("kind", ANALYSES)
def test_the_recorded_market_is_analysed_with_all_its_oddities(shared_records: Path, kind: str) -> None:
    record = shared_records / "real_data/vast-cli/search_2024-11-05_all_verified-any.json.gz"
    answer = json.loads(gzip.decompress(record.read_bytes()))
    rows = answer["offers"] if isinstance(answer, dict) else answer
    offers = offers_frame(rows, rental="on-demand", seen_at=datetime(2024, 11, 5, tzinfo=UTC))

    found = offers.pipe(ANALYSES[kind])

    assert len(offers) == 1396
    assert len(found) > 4
    assert dtypes(found) == {c.name: c.dtype for c in KINDS[kind]}


# ---------------------------------------------------------------- cheapest_for


def test_the_cheapest_of_each_kind_of_machine_is_found(offers: pd.DataFrame) -> None:
    prices = totals(offers, **JOB)
    best: dict[tuple[str, float, int], tuple[float, int]] = {}
    for row in offers.to_dict("records"):
        left = (row["available_until"] - row["seen_at"]).total_seconds() / 3600
        fits = row["gpu_ram_nominal_gb"] * row["num_gpus"] >= 48 and row["disk_max_gb"] >= 50 and left >= 22
        if fits and prices[row["offer_id"]] > 0:
            key = (row["gpu_name"], row["gpu_ram_nominal_gb"], row["num_gpus"])
            best[key] = min(best.get(key, (math.inf, 0)), (prices[row["offer_id"]], row["offer_id"]))

    found = cheapest_for(offers, vram_gb=48, **JOB)

    assert len(best) > 3
    keys = zip(found.gpu_name, found.gpu_ram_nominal_gb, found.num_gpus, strict=True)
    assert dict(zip(keys, found.usd_total, strict=True)) == {key: pytest.approx(usd) for key, (usd, _) in best.items()}
    assert found.usd_total.is_monotonic_increasing
    assert (found.vram_total_gb >= 48).all()


def test_memory_of_each_gpu_can_be_asked_for(offers: pd.DataFrame) -> None:
    found = cheapest_for(offers, vram_gb=48, gpu_ram_gb=32)

    assert set(found.gpu_name) == {"RTX 5090", "RTX A6000"} | set(
        offers.gpu_name[(offers.gpu_name == "RTX 4090") & (offers.gpu_ram_nominal_gb == 48)]
    )


def test_offers_that_cannot_do_the_job_are_left_out_and_said(offers: pd.DataFrame) -> None:
    found = cheapest_for(offers, hours=10, disk_gb=90_000)

    assert len(found) == 0
    assert "not enough disk" in frame_text(found)


def test_no_traffic_needs_no_price_of_it(offers: pd.DataFrame) -> None:
    offers["inet_down_usd_per_gb"] = math.nan

    assert len(cheapest_for(offers)) > 0
    assert len(cheapest_for(offers, download_gb=1)) == 0


def test_a_row_is_a_quote_that_a_launch_takes(offers: pd.DataFrame) -> None:
    chosen = cheapest_for(offers, **JOB).iloc[0]
    costed = usd_per_job(offers, RATES, units=1e8, setup_hours=0.5, disk_gb=50).iloc[0]

    by_quote = quote(offers[offers.offer_id == chosen.offer_id].iloc[0], **JOB)
    by_hours = quote(offers[offers.offer_id == costed.offer_id].iloc[0], hours=costed.hours, disk_gb=50)

    unnamed = {"account", "url"}
    assert quote_of_row(chosen).model_dump(exclude=unnamed) == by_quote.model_dump(exclude=unnamed)  # type: ignore[union-attr]
    assert quote_of_row(costed).model_dump(exclude=unnamed) == by_hours.model_dump(exclude=unnamed)  # type: ignore[union-attr]


def test_the_cheapest_interruptible_machine_keeps_its_bid(client: Client) -> None:
    bids = search("gpu_name=RTX_3090", rental="bid", client=client)

    chosen = cheapest_for(bids, hours=10, bid_usd_per_hour=0.5).iloc[0]

    assert chosen.gpu_usd == 5
    assert quote_of_row(chosen).job.bid_usd_per_hour == 0.5


# ---------------------------------------------------------------- frontier


@given(st.lists(st.tuples(*[st.integers(1, 6)] * 3), max_size=40))
def test_the_frontier_is_what_nothing_beats(points: list[tuple[int, int, int]]) -> None:
    frame = pd.DataFrame(points, columns=["usd_per_hour", "dlperf", "reliability"], dtype="float64")

    found = frontier(frame)

    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        worth = [(-p[0], p[1], p[2]) for p in (a, b)]
        return worth[0] != worth[1] and all(x >= y for x, y in zip(*worth, strict=True))

    best = sorted(p for p in points if not any(beats(other, p) for other in points))
    assert sorted(map(tuple, found.to_numpy().tolist())) == best
    assert found.usd_per_hour.is_monotonic_increasing


def test_the_frontier_keeps_rows_as_they_are_and_leaves_out_what_cannot_be_judged(offers: pd.DataFrame) -> None:
    offers.loc[0, "dlperf"] = math.nan
    offers.loc[1, "usd_per_hour"] = 0

    found = frontier(offers)

    assert list(found.columns) == list(offers.columns)
    assert not {offers.offer_id[0], offers.offer_id[1]} & set(found.offer_id)
    same = offers.set_index("offer_id").loc[found.offer_id].reset_index()
    pd.testing.assert_frame_equal(found, same[found.columns], check_index_type=False)
    assert f"1 of {len(offers)} left out: a value is missing" in frame_text(found)
    assert f"1 of {len(offers)} left out: the price is zero" in frame_text(found)


def test_the_frontier_of_any_columns(offers: pd.DataFrame) -> None:
    found = frontier(offers, less="usd_per_gpu_hour", more="inet_down_mbps")

    assert found.usd_per_gpu_hour.is_monotonic_increasing
    assert found.inet_down_mbps.is_monotonic_increasing
    assert found.inet_down_mbps.max() == offers.inet_down_mbps.max()


# ---------------------------------------------------------------- usd_per_job


def test_a_job_costs_its_hours_at_your_rate(offers: pd.DataFrame) -> None:
    found = usd_per_job(offers, RATES, units=1e8, scaling=0.9, setup_hours=0.5, disk_gb=50, download_gb=20)

    by_id = offers.set_index("offer_id")
    assert set(found.gpu_name) == set(RATES)
    for row in found.to_dict("records"):
        offer = by_id.loc[row["offer_id"]]
        rate = RATES[row["gpu_name"]] * (1 + 0.9 * (int(offer.num_gpus) - 1))
        hours = 1e8 / rate / 3600 + 0.5
        hourly = offer.gpu_usd_per_hour + offer.storage_usd_per_gb_month * 50 / 720
        assert (row["units_per_s"], row["hours"]) == pytest.approx((rate, hours))
        assert row["usd_total"] == pytest.approx(hourly * hours + offer.inet_down_usd_per_gb * 20)
        assert row["units_per_usd"] == pytest.approx(1e8 / row["usd_total"])
    assert found.usd_total.is_monotonic_increasing
    assert "no rate for RTX 5090" in frame_text(found)


def test_rates_may_be_a_series_and_written_as_in_a_query(offers: pd.DataFrame) -> None:
    by_dict = usd_per_job(offers, {"RTX_4090": 2900}, units=1e8)
    by_series = usd_per_job(offers, pd.Series({"RTX 4090": 2900}), units=1e8)

    pd.testing.assert_frame_equal(by_dict, by_series)


def test_a_slow_machine_that_is_taken_back_is_doubted(offers: pd.DataFrame) -> None:
    found = usd_per_job(offers, {"RTX 4090": 0.001}, units=1e6)

    ends = offers.set_index("offer_id").available_until.loc[found.offer_id]
    hours_left = (ends - offers.seen_at[0]).dt.total_seconds().to_numpy() / 3600
    doubted = found.uncertain.str.contains("the host takes it back in").tolist()
    assert doubted == (hours_left < found.hours.to_numpy()).tolist()
    assert any(doubted)


# ---------------------------------------------------------------- compare, sensitivity


def test_groups_are_medians_and_ratios_of_them(offers: pd.DataFrame) -> None:
    found = compare(offers, to="RTX 3090").set_index("group")

    for name in ("RTX 3090", "RTX A6000"):
        rows = offers[offers.gpu_name == name]
        row = found.loc[f"{name} {rows.gpu_ram_nominal_gb.iloc[0]:g} GB"]
        assert row.offers == len(rows)
        assert row.usd_per_gpu_hour == pytest.approx(np.median(rows.usd_per_hour / rows.num_gpus.astype(float)))
        assert row.dlperf_per_gpu == pytest.approx(np.median(rows.dlperf / rows.num_gpus.astype(float)))
    base, other = found.loc["RTX 3090 24 GB"], found.loc["RTX A6000 48 GB"]
    assert (base.price_ratio, base.speed_ratio, base.value_ratio) == (1, 1, 1)
    assert other.price_ratio == pytest.approx(other.usd_per_gpu_hour / base.usd_per_gpu_hour)
    assert found.value_ratio.is_monotonic_decreasing


def test_any_column_makes_groups_and_the_largest_is_compared_with(offers: pd.DataFrame) -> None:
    found = compare(offers, by=["country", "num_gpus"])

    sizes = offers.groupby(["country", "num_gpus"]).size()
    country, gpus = sizes.idxmax()
    assert dict(zip(found.group, found.offers, strict=True)) == {f"{c}, {n}": size for (c, n), size in sizes.items()}
    assert found.attrs["vastnb"]["notes"][0].startswith("Ratios are to ")
    assert found.set_index("group").loc[f"{country}, {gpus}"].offers == found.offers.max()


def test_what_has_no_country_is_a_group_of_its_own(offers: pd.DataFrame) -> None:
    offers.loc[:2, "country"] = None

    assert "unknown" in set(compare(offers, by="country").group)


def test_each_amount_is_varied_by_itself(offers: pd.DataFrame) -> None:
    job = {"hours": 10, "disk_gb": 20, "download_gb": 100}

    found = sensitivity(offers, **job, factors=[0.25, 3])

    assert list(zip(found.varied, found["value"].fillna(0), strict=True)) == [
        ("", 0), ("hours", 2.5), ("hours", 30), ("disk_gb", 60), ("download_gb", 25), ("download_gb", 300),
    ]  # fmt: skip
    base = found.iloc[0]
    for row in found.to_dict("records"):
        prices = totals(offers, **{**job, **({row["varied"]: row["value"]} if row["varied"] else {})})
        assert row["usd_total"] == pytest.approx(prices[row["offer_id"]])
        assert row["staying_usd"] == pytest.approx(prices[base.offer_id])
        assert row["usd_total"] <= row["staying_usd"]
        assert row["change_usd"] == pytest.approx(row["usd_total"] - base.usd_total)
        assert row["change"] == pytest.approx(row["usd_total"] / base.usd_total - 1)


def test_a_variation_that_no_offer_can_do_has_no_price(offers: pd.DataFrame) -> None:
    found = sensitivity(offers, hours=1, disk_gb=10, factors=[1, 8000]).iloc[[3, 4]]

    assert found.usd_total.isna().tolist() == [False, True]
    assert found.offer_id.isna().tolist() == [False, True]


# ---------------------------------------------------------------- market


def test_prices_supply_and_demand_are_counted_from_a_frame(client: Client) -> None:
    offers = search("gpu_name in [RTX_4090,RTX_3090] rentable=any", max_requests=20, client=client)

    found = market(offers).set_index("group")

    assert offers.attrs["vastnb"]["complete"]
    assert len(found) > 1
    for (name, size), rows in offers.groupby(["gpu_name", "gpu_ram_nominal_gb"]):
        row = found.loc[f"{name} {size:g} GB"]
        machines = {m: part.rentable.any() for m, part in rows.groupby("machine_id")}
        gpus = {gpu for ids in rows.gpu_ids for gpu in ids.split(",")}
        assert (row.offers, row.machines, row.gpus) == (len(rows), len(machines), len(gpus))
        assert row.machines_free == sum(machines.values())
        assert row.rented_share == pytest.approx(1 - row.machines_free / row.machines)
        shares = [row[f"usd_per_gpu_hour_{p}"] for p in ("min", "p10", "p25", "median", "p75", "p90")]
        assert shares == pytest.approx(np.quantile(rows.usd_per_gpu_hour, [0, 0.1, 0.25, 0.5, 0.75, 0.9]))
        assert (row.gpu_name, row.gpu_ram_nominal_gb) == (name, size)
        assert pd.isna(row.country)
    assert found.machines.is_monotonic_decreasing


def test_of_a_frame_of_free_machines_nothing_is_said_about_rented_ones(offers: pd.DataFrame) -> None:
    found = market(offers, by=["country", "verification"])

    assert found.rented_share.isna().all()
    assert "search with rentable=any" in frame_text(found)
    assert set(found.group) == {f"{country}, verified" for country in offers.country}


def test_the_services_own_figures_of_models(client: Client) -> None:
    told = show("metrics", client=client, verified="yes").set_index("gpu_name")

    found = market(client=client).set_index("gpu_name")

    assert dtypes(found.reset_index()) | {"gpu_name": "str"} == {c.name: c.dtype for c in KINDS["market groups"]}
    assert found.usd_per_gpu_hour_median.to_dict() == pytest.approx(told.usd_per_gpu_hour_median.to_dict(), nan_ok=True)
    assert found.machines_free.to_dict() == told.available.to_dict()
    assert found.rented_share.to_dict() == pytest.approx(told.usage.to_dict())


def test_the_services_own_figures_of_places(client: Client) -> None:
    told = show("locations", client=client)

    found = market(by=["country", "verification"], client=client).set_index("group")

    us = told[(told.country == "US") & told.verified]
    row = found.loc["US, verified"]
    assert (row.machines, row.gpus, row.machines_free) == (len(us), us.num_gpus.sum(), (~us.rented).sum())
    assert found.machines.sum() == len(told)


@pytest.mark.parametrize("by", ["gpu", "country"])
def test_figures_that_the_service_keeps_for_hosts_are_refused_with_a_way_out(make_client: Any, by: str) -> None:
    with Sandbox(offers=50, metrics="refused") as sandbox, pytest.raises(errors.PermissionDeniedError) as raised:
        market(by=by, client=make_client(sandbox))

    assert "vastnb.gpus()" in str(raised.value.hint)
