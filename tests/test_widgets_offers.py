"""What a selector computes: controls from a query, rows that meet one, columns for the browser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vastnb.api.widgets.conditions import CONTROLS, meeting, options_of, read, unanswerable
from vastnb.api.widgets.packing import DEFAULT_COLUMNS, columns_of, packed
from vastnb.errors import CommandError, QueryError
from vastnb.sandbox import Sandbox
from vastnb.vast.query import parse_query
from vastnb.vast.types import FIELDS, OFFERS
from vastnb.vast.types.frames import empty_frame, offers_frame

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def market() -> Any:
    """Some 1,400 offers, verified or not, without a server."""
    return Sandbox(offers=1000, seed=5, start="2026-06-01")


@pytest.fixture(scope="module")
def frame(market: Sandbox) -> pd.DataFrame:
    return offers_frame(market.offers({}), rental="on-demand", seen_at=NOW)


@pytest.mark.parametrize(
    ("text", "state", "rest"),
    [
        ("", {}, ""),
        ("gpu_name=rtx4090", {"gpu_name": {"in": ["RTX 4090"]}}, ""),
        ("gpu in [RTX_4090, 'H100 SXM']", {"gpu_name": {"in": ["RTX 4090", "H100 SXM"]}}, ""),
        ("gpu_name!=RTX_4090", {}, "gpu_name!=RTX_4090"),
        ("num_gpus>=2 num_gpus<=4", {"num_gpus": {">=": 2, "<=": 4}}, ""),
        ("num_gpus = 2", {"num_gpus": {"=": 2}}, ""),
        ("num_gpus>2 num_gpus>=2", {"num_gpus": {">": 2}}, "num_gpus>=2"),
        ("gpu_ram>=24GB", {"gpu_ram_gb": {">=": 24}}, ""),
        ("gpu_ram=24", {}, "gpu_ram=24"),
        ("gpu_ram_nominal_gb>=24", {}, "gpu_ram_nominal_gb>=24"),
        ("dph<$0.5", {"usd_per_hour": {"<": 0.5}}, ""),
        ("reliability>98.5% inet_down>=1Gbps", {"reliability": {">": 0.985}, "inet_down_mbps": {">=": 1000}}, ""),
        ("geolocation in [us,CA]", {"country": {"in": ["US", "CA"]}}, ""),
        ("region=EU", {}, "region=EU"),
        ("georegion=true geolocation=EU", {}, "georegion=true geolocation=EU"),
        ("datacenter=true", {"datacenter": {"=": True}}, ""),
        ("datacenter=false", {}, "datacenter=false"),
        ("num_gpus>=2 num_gpus=any", {}, ""),
        ("verified=any, cuda>=12.4 disk_space>=100", {"disk_max_gb": {">=": 100}}, "verified=any cuda>=12.4"),
    ],
)
def test_controls_show_what_they_can_and_leave_the_rest_as_written(text: str, state: Any, rest: str) -> None:
    shown = read(text)

    assert (shown.state, shown.rest) == (state, rest)


def test_a_query_that_is_none_is_refused_whole() -> None:
    with pytest.raises(QueryError, match="no such field"):
        read("num_gpus>=2 gpu_nme=4090")


def test_each_control_stands_for_a_column_and_a_field_that_can_be_asked() -> None:
    for control in CONTROLS:
        value = {"choice": "US", "range": "1", "flag": "true"}[control.kind]
        sign = "=" if control.kind != "range" else ">="
        assert list(read(f"{control.ask}{sign}{value}").state) == [control.column]


@pytest.mark.parametrize(
    "text",
    [
        "gpu_name in [RTX_4090,RTX_3090] num_gpus>=2",
        "dph<0.5 reliability>=0.99 geolocation notin [US,CN]",
        "datacenter=true verified=true driver_version>=550",
        "gpu_ram>=24 compute_cap>=8.9 cuda>=12 cpu_ram>64 disk_space>200 duration>3",
        "region=EU static_ip=true inet_up>=500 dlperf_usd>100",
    ],
)
def test_the_same_rows_meet_a_query_here_as_on_the_market(market: Sandbox, frame: pd.DataFrame, text: str) -> None:
    body = parse_query(text, defaults=False).to_api()
    there = {
        offer["id"] for offer in market.offers({name: body[name] for name in body if name not in ("type", "order")})
    }

    here = frame[np.array(meeting(frame, text), dtype=bool)]

    assert there
    assert set(here.offer_id) == there


def test_what_the_wire_cannot_say_is_met_too(frame: pd.DataFrame) -> None:
    stay = np.array(meeting(frame, "gpu_ram=24 cpu_ram_gb>=32"), dtype=bool)

    assert stay.any()
    assert set(frame[stay].gpu_ram_nominal_gb) == {24.0}
    assert (stay == ((frame.gpu_ram_nominal_gb == 24) & (frame.cpu_ram_gb >= 32)).to_numpy()).all()


def test_what_is_absent_meets_nothing_and_a_column_that_is_not_there_is_named(frame: pd.DataFrame) -> None:
    odd = frame.head(3).assign(reliability=[0.5, None, 0.99]).drop(columns=["country", "geolocation"])

    assert meeting(odd, "reliability>=0.9 geolocation=US") == [False, False, True]
    assert unanswerable(odd, "reliability>=0.9 geolocation=US verified=true") == ["geolocation=US"]


def test_a_pasted_line_gives_query_rental_and_disk() -> None:
    line = "df = %vast search gpu_name='RTX 4090' geolocation in [US, CA] -b --storage 50"

    assert options_of(line) == {
        "query": "gpu_name='RTX 4090' geolocation in [US, CA]",
        "rental": "bid",
        "disk_gb": 50.0,
    }
    assert options_of("") == {"query": "", "rental": "on-demand", "disk_gb": 10.0}


@pytest.mark.parametrize(("line", "message"), [("--limit 5", "no use for limit"), ("--storge 5", "storge"), ("-n", "no use for no-default")])  # fmt: skip
def test_an_option_without_a_meaning_here_is_refused(line: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        options_of(line)


# ---------------------------------------------------------------- columns for the browser


def values(column: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(column["data"], dtype=f"<{column['type']}")


def by_name(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in table["columns"]}


def test_what_is_packed_is_what_the_frame_holds(frame: pd.DataFrame) -> None:
    columns = by_name(packed(frame, [c.name for c in columns_of(frame)]))

    assert values(columns["offer_id"]).tolist() == frame.offer_id.tolist()
    assert np.allclose(values(columns["usd_per_hour"]), frame.usd_per_hour, rtol=1e-6)
    assert [columns["gpu_name"]["words"][code] for code in values(columns["gpu_name"])] == frame.gpu_name.tolist()
    assert (values(columns["datacenter"]) == frame.datacenter.astype(int)).all()
    assert values(columns["seen_at"])[0] == NOW.timestamp()
    assert {name for name, c in columns.items() if len(values(c)) != len(frame)} == set()


def test_numbers_take_no_more_room_than_they_need(frame: pd.DataFrame) -> None:
    columns = by_name(packed(frame, ["num_gpus", "offer_id", "direct_ports", "usd_per_hour", "country", "datacenter"]))

    assert {n: c["type"] for n, c in columns.items()} == {
        "num_gpus": "u1", "offer_id": "i4", "direct_ports": "u2", "usd_per_hour": "f4", "country": "u1", "datacenter": "u1",
    }  # fmt: skip


def test_what_is_absent_stays_absent() -> None:
    frame = empty_frame("offers").reindex([0]).assign(num_gpus=pd.array([None], dtype="Int64"))

    columns = by_name(packed(frame, [c.name for c in OFFERS]))

    assert np.isnan(values(columns["num_gpus"])[0])
    assert np.isnan(values(columns["available_until"])[0])
    assert (values(columns["datacenter"])[0], values(columns["gpu_name"])[0]) == (2, 0)


def test_an_empty_frame_has_all_columns_and_no_rows() -> None:
    table = packed(empty_frame("offers"), [c.name for c in OFFERS])

    assert (table["rows"], len(table["columns"])) == (0, len(OFFERS))


def test_columns_of_the_user_are_shown_whatever_their_type() -> None:
    mine = pd.DataFrame({"offer_id": [1, 2**40], "flag": [True, False], "when": pd.to_datetime(["2026-01-01", None]), "any": [{"a": 1}, None],
                         "score": [1.5, -2.0], "count": [1, -1], 7: [0, 0]})  # fmt: skip

    columns = by_name(packed(mine, [c.name for c in columns_of(mine)]))

    assert {n: (c["type"], c["kind"]) for n, c in columns.items()} == {
        "offer_id": ("f8", "number"), "flag": ("u1", "flag"), "when": ("f8", "time"), "any": ("u1", "text"), "score": ("f4", "number"),
        "count": ("f4", "number"),
    }  # fmt: skip
    assert columns["any"]["words"] == [None, "{'a': 1}"]


def test_words_of_strangers_are_printable_and_short(frame: pd.DataFrame) -> None:
    odd = frame.head(1).assign(geolocation="\x1b[31m\u202e" + "A" * 100_000 + "<script>")

    (word,) = by_name(packed(odd, ["geolocation"]))["geolocation"]["words"][1:]

    assert len(word) == 60
    assert word.isprintable()


def test_every_column_is_packed_and_5000_offers_stay_far_below_a_megabyte(frame: pd.DataFrame) -> None:
    many = pd.concat([frame] * 4, ignore_index=True).head(5000)
    shown = packed(many, [*DEFAULT_COLUMNS, *(c.column for c in CONTROLS), "dlperf"], many.usd_per_hour)

    assert {c.name for c in columns_of(frame)} >= {c.name for c in OFFERS}
    assert {c.name for c in columns_of(frame)} <= {c.name for c in (*OFFERS, *FIELDS)} | set(frame.columns)
    assert len(many) == 5000
    assert sum(len(c["data"]) for c in shown["columns"]) < 250_000
