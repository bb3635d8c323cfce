"""JSON of the wire into frames: fixed columns and dtypes, nothing lost, nothing invented."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vastnb.errors import ResponseError
from vastnb.vast.types import FIELDS, KINDS, OFFERS
from vastnb.vast.types.frames import decode, empty_frame, offers_frame, pieces, read_offers

NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
PINNED = {column.name: column.dtype for column in OFFERS}
OFFER: dict[str, Any] = {
    "ask_contract_id": 12, "id": 12, "gpu_name": "RTX 4090", "num_gpus": 2, "gpu_ram": 24564, "gpu_total_ram": 49128,
    "dph_total": 0.8, "dph_base": 0.79, "min_bid": 0.4, "compute_cap": 890, "cuda_max_good": 12.4, "cpu_ram": 128000,
    "gpu_frac": 0.5, "geolocation": "Texas, US", "hosting_type": 1, "verification": "verified", "reliability": 0.99,
    "inet_down": 900.5, "end_date": 1790000000.5, "static_ip": True, "direct_port_count": 4, "driver_version": "550.90.07",
}  # fmt: skip


def framed(*rows: dict[str, Any]) -> pd.DataFrame:
    body = json.dumps({"offers": list(rows)}).encode()
    return read_offers(body, rental="on-demand", seen_at=NOW).frame


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(frame[name].dtype) for name in PINNED}


def test_an_offer_has_our_names_and_units() -> None:
    row = framed(OFFER).iloc[0]

    assert {name: row[name] for name in ("offer_id", "gpu_ram_gb", "gpu_ram_nominal_gb", "vram_total_gb")} == {
        "offer_id": 12, "gpu_ram_gb": 24.564, "gpu_ram_nominal_gb": 24.0, "vram_total_gb": 49.128,
    }  # fmt: skip
    assert (row.usd_per_gpu_hour, row.compute_cap, row.cpu_ram_gb) == (0.4, 8.9, 64.0)
    assert (row.country, bool(row.datacenter), row.rental) == ("US", True, "on-demand")
    assert row.available_until == pd.Timestamp("2026-09-21T14:13:20.5Z")
    assert row.seen_at == pd.Timestamp(NOW)


def test_columns_dtypes_and_order_are_the_same_with_rows_without_and_with_nothing_but_an_id() -> None:
    full, bare, empty = framed(OFFER), framed({"id": 1}), empty_frame("offers")

    for frame in (full, bare, empty):
        assert list(frame.columns)[: len(PINNED)] == list(PINNED)
        assert dtypes(frame) == PINNED
        assert isinstance(frame.index, pd.RangeIndex)


def test_what_is_absent_is_na_and_never_zero() -> None:
    row = framed({"id": 1}).drop(columns=["offer_id", "rental", "seen_at"]).iloc[0]

    assert row.isna().all()


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("inet_up", -1788679061267.4, "inet_up_mbps"),
        ("cuda_max_good", 580.173, "cuda_max"),
        ("reliability", 1.7, "reliability"),
        ("dph_total", -0.1, "usd_per_hour"),
        ("disk_bw", math.inf, "disk_mbps"),
    ],
)
def test_an_impossible_value_is_na(field: str, value: float, column: str) -> None:
    frame = framed(OFFER | {field: value})

    assert frame[column].isna().all()


def test_a_field_nobody_knows_is_kept_behind_ours_under_its_own_name() -> None:
    new = {"a_flag": True, "a_number": 1.5, "a_count": 3, "a_text": "x", "a_list": [1, 2], "rental": "theirs"}

    frame = framed(OFFER | new)

    assert {name: str(frame[name].dtype) for name in new if name != "rental"} == {
        "a_flag": "boolean", "a_number": "float64", "a_count": "Int64", "a_text": "str", "a_list": "object",
    }  # fmt: skip
    assert (frame.vast_rental[0], frame.rental[0]) == ("theirs", "on-demand")


def test_rows_with_different_fields_in_different_order_make_one_frame() -> None:
    swapped = dict(reversed(list(OFFER.items())))
    lacking = {name: value for name, value in OFFER.items() if name != "gpu_frac"}

    frame = framed(OFFER, swapped, lacking)

    assert frame.offer_id.tolist() == [12, 12, 12]
    assert frame.gpu_frac.isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("gpu_ram", "much", "$.offers[1].gpu_ram"),
        ("num_gpus", 1.5, "$.offers[1].num_gpus"),
        ("static_ip", "perhaps", "$.offers[1].static_ip"),
        ("gpu_name", ["RTX"], "$.offers[1].gpu_name"),
        ("dph_total", {"usd": 1}, "$.offers[1].dph_total"),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error_with_its_place(field: str, value: Any, path: str) -> None:
    with pytest.raises(ResponseError) as error:
        framed(OFFER, OFFER | {field: value})

    assert error.value.path == path
    assert path in str(error.value)


def test_numbers_written_as_text_are_numbers() -> None:
    row = framed(OFFER | {"dph_total": "0.5", "num_gpus": "4", "os_version": 18.04}).iloc[0]

    assert (row.usd_per_hour, row.num_gpus, row.os_version) == (0.5, 4, "18.04")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "$"),
        (b"<html>", "$"),
        (b'{"offers": [{"id": 1}', "$"),
        (b"[]", "$"),
        (b'{"asks": []}', "$"),
        (b'{"offers": null}', "$.offers"),
        (b'{"offers": [1]}', "$.offers[0]"),
        (b'{"offers": [{"id": 1}]} and more', "$"),
    ],
)
def test_an_answer_of_another_shape_is_an_error_with_its_place(body: bytes, path: str) -> None:
    with pytest.raises(ResponseError) as error:
        decode(body, "offers")

    assert error.value.path == path


def test_nan_in_json_and_one_object_for_a_list_are_read() -> None:
    body = b'{"offers": {"id": 1, "score": NaN, "dlperf": Infinity}}'

    frame = read_offers(body, rental="bid", seen_at=NOW).frame

    assert frame[["offer_id"]].values.tolist() == [[1]]
    assert frame[["score", "dlperf"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("place", "country"),
    [("Quebec, CA", "CA"), (", US", "US"), ("Quebec,CA", "CA"), ("US", "US"), ("Norway", None), ("", None), (None, None),
     ("x" * 1_000_000 + ", DE", "DE"), ("<b>, US", "US"), ("Tokyo, jp", None)],
)  # fmt: skip
def test_a_country_is_the_last_two_letters_of_what_a_host_wrote(place: str | None, country: str | None) -> None:
    found = framed({"id": 1, "geolocation": place}).country[0]

    assert (None if pd.isna(found) else found) == country


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


@given(rows=st.lists(st.dictionaries(st.sampled_from([*OFFER, "new"]), JSON_VALUES), max_size=4))
def test_any_values_give_a_typed_frame_or_an_error_with_a_place(rows: list[dict[str, Any]]) -> None:
    path = ""
    try:
        frame = offers_frame(rows, rental="bid", seen_at=NOW)
    except ResponseError as error:
        path = error.path
    else:
        assert (len(frame), dtypes(frame)) == (len(rows), PINNED)
    assert path == "" or path.startswith("$.offers")


def test_every_column_has_a_meaning_and_every_measure_a_unit() -> None:
    without_unit = {"dlperf", "dlperf_per_usd", "compute_cap", "cpu_cores", "flops_per_usd", "machine_cpu_cores",
                    "reliability_mult", "score", "pci_gen", "dlperf_per_usd_median", "value", "tflops_per_usd",
                    "supply", "gpu_util", "gpu_frac", "cuda_max", "reliability"}  # fmt: skip
    columns = [c for kind in KINDS.values() for c in kind] + list(FIELDS)

    assert [c.name for c in columns if not c.meaning] == []
    assert {c.name for c in columns if c.dtype == "float64" and not c.unit} <= without_unit


# ---------------------------------------------------------------- a long answer is read in pieces


def long_answer(count: int, **changes: Any) -> tuple[bytes, list[dict[str, Any]]]:
    rows = [
        OFFER | {"ask_contract_id": n, "id": n, "pad": "x" * 3000, "dph_total": n / 7} | changes for n in range(count)
    ]
    return json.dumps({"offers": rows}).encode(), rows


def test_a_long_answer_in_pieces_is_the_same_as_in_one() -> None:
    body, rows = long_answer(900)

    count = sum(1 for _ in pieces(body, "offers"))

    assert count > 3
    pd.testing.assert_frame_equal(
        read_offers(body, rental="bid", seen_at=NOW).frame, offers_frame(rows, rental="bid", seen_at=NOW)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu_name": 'a}, {"ask_contract_id": 1'},
        {"cpu_name": 'a}, {\\"ask_contract_id\\": 1}'},
        {"extra": [{"ask_contract_id": 1, "gpu_name": "y"}, {"ask_contract_id": 2}]},
        {"extra": {"ask_contract_id": [{"ask_contract_id": 1}, {"ask_contract_id": 1}]}},
        {"cpu_name": "ü" * 50},
        {"score": float("nan")},
    ],
)
def test_what_looks_like_a_border_between_offers_and_is_none_changes_nothing(changes: dict[str, Any]) -> None:
    body, rows = long_answer(600, **changes)

    frame = read_offers(body, rental="bid", seen_at=NOW).frame

    pd.testing.assert_frame_equal(frame, offers_frame(json.loads(body)["offers"], rental="bid", seen_at=NOW))
    assert len(frame) == len(rows)


def test_pieces_with_different_fields_make_one_frame() -> None:
    _, rows = long_answer(900)
    for row in rows[400:]:
        row["late"] = 1.5
        del row["gpu_frac"]
    body = json.dumps({"offers": rows}).encode()

    frame = read_offers(body, rental="bid", seen_at=NOW).frame

    assert frame.late.isna().tolist() == [True] * 400 + [False] * 500
    assert frame.gpu_frac.isna().tolist() == [False] * 400 + [True] * 500


def test_a_wrong_value_far_down_is_reported_with_its_place() -> None:
    _, rows = long_answer(900)
    rows[700]["num_gpus"] = "many"

    with pytest.raises(ResponseError) as error:
        read_offers(json.dumps({"offers": rows}).encode(), rental="bid", seen_at=NOW)

    assert error.value.path == "$.offers[700].num_gpus"


def test_rows_are_judged_and_a_field_is_watched_across_pieces() -> None:
    body, _ = long_answer(900)

    read = read_offers(
        body, rental="bid", seen_at=NOW, judge=lambda c, _: [n % 2 == 0 for n in c["id"]], watch="dph_total"
    )

    assert (read.received, len(read.frame), read.frame.offer_id.tolist()[-1]) == (900, 450, 898)
    assert read.watched == [n / 7 for n in range(900)]
