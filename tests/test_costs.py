"""What a job costs, against an arithmetic written here from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vastnb
from vastnb import errors
from vastnb.sandbox import Sandbox
from vastnb.services.costs import Quote, quote
from vastnb.services.offers import search
from vastnb.vast.client import Client
from vastnb.vast.render import frame_text
from vastnb.vast.types import KINDS

JOB: dict[str, Any] = {"hours": 10, "disk_gb": 50, "download_gb": 100, "upload_gb": 5, "idle_hours": 48}


def bill(offer: dict[str, Any], job: dict[str, Any], gpu_usd_per_hour: float) -> float:
    """GPUs while it runs; disk as long as it exists, a month of 720 hours; traffic by the GB."""
    disk = offer["storage_cost"] * job["disk_gb"] / 720 * (job["hours"] + job["idle_hours"])
    traffic = offer["inet_down_cost"] * job["download_gb"] + offer["inet_up_cost"] * job["upload_gb"]
    return float(gpu_usd_per_hour * job["hours"] + disk + traffic)


def test_every_quote_is_what_the_documentation_says(client: Client, sandbox: Sandbox) -> None:
    offers = {o["id"]: o for o in sandbox.offers({"gpu_name": {"eq": "RTX 4090"}})}

    frame = quote(search("gpu_name=RTX_4090", client=client), **JOB)

    assert isinstance(frame, pd.DataFrame)
    expected = [bill(offers[i], JOB, offers[i]["dph_base"]) for i in frame.offer_id]
    assert frame.usd_total.tolist() == pytest.approx(expected)
    assert frame.usd_total.is_monotonic_increasing
    parts = ["gpu_usd", "disk_usd", "download_usd", "upload_usd", "idle_usd"]
    assert frame[parts].sum(axis=1).tolist() == pytest.approx(frame.usd_total.tolist())
    assert {c.name: c.dtype for c in KINDS["quotes"]} == {n: str(frame[n].dtype) for n in frame.columns}


def test_the_hourly_price_is_that_of_a_search_with_the_same_disk(client: Client) -> None:
    frame = search("gpu_name=RTX_4090", disk_gb=50, client=client)

    quoted = quote(frame, disk_gb=50)

    assert isinstance(quoted, pd.DataFrame)
    both = frame.merge(quoted, on="offer_id", suffixes=("", "_quoted"))
    assert both.usd_per_hour_quoted.tolist() == pytest.approx(both.usd_per_hour.tolist())


def test_a_row_and_an_id_give_the_same_single_quote(client: Client) -> None:
    frame = search("gpu_name=RTX_4090", client=client)

    by_row, by_id = quote(frame.iloc[0], **JOB), quote(int(frame.offer_id[0]), client=client, **JOB)

    assert isinstance(by_row, Quote)
    assert by_row == by_id
    assert by_row.usd_total == pytest.approx(
        by_row.gpu_usd + by_row.disk_usd + by_row.download_usd + by_row.upload_usd + by_row.idle_usd
    )  # type: ignore[operator]
    assert repr(by_row).startswith(f"${by_row.usd_total:,.2f} for 10 h on")


def test_a_bid_is_the_price_of_the_gpus_and_is_doubted_when_too_low(client: Client, sandbox: Sandbox) -> None:
    offers = {o["id"]: o for o in sandbox.offers({"gpu_name": {"eq": "RTX 4090"}})}
    frame = search("gpu_name=RTX_4090", rental="bid", client=client)

    lowest, mine = quote(frame, **JOB), quote(frame, bid_usd_per_hour=0.001, **JOB)

    assert isinstance(lowest, pd.DataFrame)
    assert isinstance(mine, pd.DataFrame)
    assert lowest.usd_total.tolist() == pytest.approx(
        [bill(offers[i], JOB, offers[i]["min_bid"]) for i in lowest.offer_id]
    )
    assert mine.usd_total.tolist() == pytest.approx([bill(offers[i], JOB, 0.001) for i in mine.offer_id])
    assert lowest.uncertain.str.contains("who bids more stops it").all()
    assert mine.uncertain.str.contains("below the lowest that runs now").all()


def test_what_has_no_price_is_na_and_said(client: Client) -> None:
    frame = search("gpu_name=RTX_4090", limit=3, client=client)
    frame.loc[0, "inet_down_usd_per_gb"] = math.nan
    frame.loc[1, "gpu_usd_per_hour"] = math.nan

    with_traffic = quote(frame, **JOB).set_index("offer_id")  # type: ignore[union-attr]
    without = quote(frame, hours=10).set_index("offer_id")  # type: ignore[union-attr]

    first, second, third = frame.offer_id
    assert with_traffic.usd_total.isna().to_dict() == {first: True, second: True, third: False}
    assert without.usd_total.isna().to_dict() == {first: False, second: True, third: False}
    assert "no price for download" in with_traffic.uncertain[first]
    assert quote(frame.iloc[1]).usd_total is None


def test_what_may_go_wrong_is_said(client: Client) -> None:
    frame = search("gpu_name=RTX_4090", limit=1, client=client)

    doubts = quote(frame.iloc[0], hours=90_000, disk_gb=90_000, idle_hours=5).uncertain

    assert any("GB of disk there" in doubt for doubt in doubts)
    assert any("the host takes it back in" in doubt for doubt in doubts)
    assert any("GPUs may go to somebody else" in doubt for doubt in doubts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hours": 0}, "hours: Input should be greater than 0, got 0"),
        ({"hours": -1}, "hours"),
        ({"hours": math.nan}, "hours"),
        ({"disk_gb": 4}, "disk_gb: Input should be greater than or equal to 8, got 4"),
        ({"download_gb": -5}, "download_gb"),
        ({"bid_usd_per_hour": 0.5}, "a bid goes with offers that were searched for with rental='bid'"),
    ],
)
def test_a_number_out_of_range_is_refused(client: Client, options: dict[str, float], message: str) -> None:
    frame = search("gpu_name=RTX_4090", limit=1, client=client)

    with pytest.raises(errors.InputError) as raised:
        quote(frame, **options)

    assert message in str(raised.value)


@pytest.mark.parametrize("what", ["900000001", None, True, pd.DataFrame({"a": [1]}), [1]])
def test_what_is_no_offer_is_refused(what: Any) -> None:
    with pytest.raises(errors.InputError):
        quote(what)


def test_no_offers_are_no_quotes(client: Client) -> None:
    frame = quote(search("gpu_name=Nothing", client=client), hours=3)

    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 0
    assert frame_text(frame) == "0 quotes for 3 h, 10 GB of disk · sandbox: practice, not real"


@given(
    hours=st.floats(0.01, 1e4),
    disk=st.floats(8, 1e4),
    down=st.floats(0, 1e5),
    up=st.floats(0, 1e5),
    idle=st.floats(0, 1e4),
)
def test_more_of_anything_never_costs_less(hours: float, disk: float, down: float, up: float, idle: float) -> None:
    offer = pd.DataFrame(
        {"offer_id": [1], "gpu_usd_per_hour": [0.5], "storage_usd_per_gb_month": [0.2], "inet_down_usd_per_gb": [0.01],
         "inet_up_usd_per_gb": [0.02], "rental": ["on-demand"]}
    )  # fmt: skip

    def total(**job: float) -> float:
        return float(quote(offer, **job).usd_total[0])  # type: ignore[union-attr, arg-type]

    job = {"hours": hours, "disk_gb": disk, "download_gb": down, "upload_gb": up, "idle_hours": idle}
    assert all(total(**{**job, name: value * 1.5}) >= total(**job) for name, value in job.items())


def test_the_magic_quotes_a_query_and_an_id(ip: Any, capsys: Any) -> None:
    ip.run_cell("%vast use sandbox offers=400 seed=3 start=2026-06-01")
    ip.run_cell("q = %vast quote gpu_name=RTX_4090 --hours 10 --storage 50 --download 100")
    frame = ip.user_ns["q"]

    ip.run_cell(f"one = %vast quote {frame.offer_id[0]} --hours 10 --storage 50 --download 100")

    assert frame.attrs["vastnb"]["job"]["download_gb"] == 100
    assert ip.user_ns["one"].usd_total == pytest.approx(frame.usd_total[0])
    assert vastnb.quote is quote


def test_a_query_in_place_of_offers_is_told_where_it_goes() -> None:
    with pytest.raises(errors.InputError, match="got str") as caught:
        quote("gpu_name=RTX_4090", hours=3)
    assert "vastnb.search" in str(caught.value.hint)


def test_a_value_too_many_is_answered_with_the_names() -> None:
    with pytest.raises(errors.InputError, match="search takes query, got 2 values") as caught:
        vastnb.search("gpu_name=RTX_4090", 100)
    assert "disk_gb=..." in str(caught.value.hint)
