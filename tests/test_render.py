"""How our frames look: units, digits, captions; escaped and the same every time."""

from __future__ import annotations

import html.parser
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vastnb.sandbox import Sandbox
from vastnb.services.offers import fields, gpus, search
from vastnb.vast.client import Client
from vastnb.vast.render import frame_html, frame_text, is_ours, plain
from vastnb.vast.types.frames import offers_frame


def frame(*rows: dict[str, Any], **about: Any) -> pd.DataFrame:
    made = offers_frame(list(rows), rental="on-demand", seen_at=datetime(2026, 6, 1, tzinfo=UTC))
    made.attrs["vastnb"] = {
        "kind": "offers", "query": "q", "body": {"order": [["dph_total", "asc"]]}, "rental": "on-demand", "disk_gb": 10.0,
        "source": "vast", "url": "https://console.vast.ai", "account": "none", "fetched_at": "2026-06-01T00:00:00+00:00",
        "returned": len(rows), "complete": True, "dropped_by_recheck": 0, "notes": [], **about,
    }  # fmt: skip
    return made


ROW = {"id": 31, "gpu_name": "RTX 4090", "num_gpus": 2, "gpu_ram": 24564, "dph_total": 1.25, "reliability": 0.9987,
       "inet_down": 12345.6, "dlperf_per_dphtotal": 210.4, "cpu_cores_effective": 16, "cpu_ram": 128000, "gpu_frac": 0.5,
       "geolocation": "Texas, US", "verification": "verified"}  # fmt: skip


def test_plain_text_shows_units_digits_and_what_the_price_is_for() -> None:
    text = frame_text(frame(ROW, ROW | {"id": 32, "dph_total": 0.305}))

    assert text.splitlines() == [
        "Offer  GPU       GPUs  VRAM  Price  Per GPU    Down  Reliability  DLPerf/$  CPUs  RAM  Country",
        "                         GB    $/h      $/h  Mbit/s                                GB",
        "   31  RTX 4090     2    24  1.250    0.625  12,346        99.9%       210    16   64  US",
        "   32  RTX 4090     2    24  0.305    0.152  12,346        99.9%       210    16   64  US",
        "2 offers, all verified · on-demand, with 10 GB of disk, without traffic · Vast.ai, no account",
    ]


@pytest.mark.parametrize(
    ("prices", "shown"),
    [
        ((0.0294, 1.5), ["0.0294", "1.5000"]),
        ((0.168,), ["0.168"]),
        ((12.4, 55.125), ["12.40", "55.12"]),
        ((1106.67,), ["1,106.67"]),
    ],
)
def test_money_has_the_digits_that_matter(prices: tuple[float, ...], shown: list[str]) -> None:
    lines = frame_text(frame(*[ROW | {"dph_total": price, "num_gpus": 1} for price in prices])).splitlines()[2:-1]

    assert [line.split()[5] for line in lines] == shown


def test_a_column_tells_verified_from_not_where_it_matters() -> None:
    text = frame_text(frame(ROW, ROW | {"id": 32, "verification": "unverified"}))

    assert "Checked" in text.splitlines()[0]
    assert "all verified" not in text


def test_absent_values_are_a_dash() -> None:
    assert frame_text(frame({"id": 1})).splitlines()[2].split() == ["1", *["–"] * 12]


def test_only_the_first_rows_are_shown_and_that_is_said() -> None:
    many = frame(*[ROW | {"id": number} for number in range(50)])

    text = frame_text(many)

    assert text.splitlines()[-1].startswith("50 offers, all verified, the first 20 shown")
    assert len(text.splitlines()) == 23
    assert frame_html(many).count("<tr>") == 21


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({"source": "sandbox"}, "sandbox: practice, not real"),
        ({"account": "key 3fa2b1"}, "Vast.ai, account key 3fa2b1"),
        ({"url": "http://127.0.0.1:1", "account": "none"}, "http://127.0.0.1:1, no account"),
        ({"complete": False}, "Incomplete: the service caps its answers, these are the cheapest."),
        ({"complete": False, "body": {"order": [["score", "desc"]]}}, "these are the first by score"),
        ({"dropped_by_recheck": 3}, "3 left out: the service sent them although they do not meet the query."),
        ({"notes": ["no GPU named X was seen before"]}, "no GPU named X was seen before"),
        ({"rental": "bid", "disk_gb": 200.0}, "bid, with 200 GB of disk"),
    ],
)
def test_what_a_reader_must_know_is_said(about: dict[str, Any], line: str) -> None:
    made = frame(ROW, **about)

    assert line in frame_text(made)
    assert line in frame_html(made)


def test_age_is_shown_only_for_an_answer_that_stands_in() -> None:
    made = frame(ROW, stale=True, fetched_at=datetime.now(UTC).isoformat())

    assert "The service did not answer; this is 0 s old." in frame_text(made)
    assert "old" not in frame_text(frame(ROW))


def test_an_empty_answer_shows_its_reasons_and_no_table() -> None:
    made = frame(query="gpu_name=X", why_empty=["dph<0.1: removes 15, leaves 0"])

    assert frame_text(made).splitlines() == [
        "No offers for: gpu_name=X · Vast.ai, no account",
        "dph<0.1: removes 15, leaves 0",
    ]
    assert "<table" not in frame_html(made)


HOSTILE = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>, US", "\x1b[31mred\x1b[0m", "a\u202egnp.exe", "x" * 1_000_000,
           "&lt;b&gt;", "\x00\x07", "'\"><b>", "a\nb\r\nc"]  # fmt: skip


class Tags(html.parser.HTMLParser):
    """Collects the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.add(tag)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_host_wrote_is_shown_as_text_and_does_nothing(text: str) -> None:
    made = frame(
        ROW | {"gpu_name": text, "geolocation": text, "verification": text}, query=text, notes=[text], why_empty=[text]
    )
    page = Tags()

    page.feed(frame_html(made))

    assert page.found <= {"style", "div", "table", "thead", "tbody", "tr", "th", "td", "br", "small", "p"}
    assert len(frame_html(made)) < 6000
    assert not any(mark in frame_text(made) for mark in ("\x1b", "\x00", "\u202e", "\r"))


@given(st.text())
def test_plain_is_one_printable_line_of_bounded_length(text: str) -> None:
    shown = plain(text, 40)

    assert len(shown) <= 40
    assert shown.splitlines() in ([], [shown])
    assert "\x1b" not in shown


def test_columns_that_the_user_added_are_shown_and_new_ones_of_the_service_are_not() -> None:
    made = frame(ROW | {"tomorrow": 1.5}, unknown_fields=["tomorrow"])
    made["usd_per_epoch"] = made.usd_per_hour * 3

    head = frame_text(made).splitlines()[0]

    assert "usd_per_epoch" in head
    assert "tomorrow" not in head


def test_a_part_of_a_frame_says_that_it_is_one() -> None:
    made = frame(ROW, ROW | {"id": 32})

    assert "1 of 2 offers" in frame_text(made.head(1))


def test_what_pandas_made_of_a_frame_is_not_ours() -> None:
    made = frame(ROW, ROW)

    assert is_ours(made)
    assert is_ours(made.sort_values("dlperf"))
    assert not is_ours(made[["offer_id", "usd_per_hour"]])
    assert not is_ours(made.groupby("country").mean(numeric_only=True))
    assert not is_ours(made.merge(made, on="gpu_name", suffixes=("_a", "_b")))
    assert not is_ours(pd.DataFrame({"a": [1]}))
    assert not is_ours(pd.concat([made, made], axis=1))


def test_the_same_frame_looks_the_same_every_time(make_client: Callable[..., Client], sandbox: Sandbox) -> None:
    pages = [frame_html(search("num_gpus=4", client=make_client(sandbox))) for _ in range(2)]

    assert pages[0] == pages[1]
    assert sandbox.url not in pages[0]
    assert sandbox.api_key not in pages[0]


def test_models_and_fields_have_their_tables(client: Client) -> None:
    models, words = frame_text(gpus("gpu_name=RTX_4090", client=client)), frame_text(fields("reliab"))

    assert "model" in models.splitlines()[-1]
    assert words.splitlines()[1].split()[:2] == ["reliability", "reliability"]
    assert "Nothing has 'xyzzy'" in frame_text(fields("xyzzy"))


def test_json_of_attrs_survives_a_frame_written_to_parquet(client: Client, tmp_path: Any) -> None:
    made = search("num_gpus=8", client=client)

    made.to_parquet(tmp_path / "offers.parquet")

    assert json.dumps(pd.read_parquet(tmp_path / "offers.parquet").attrs) == json.dumps(made.attrs)
