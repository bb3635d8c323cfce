"""Records of others, put into the history: what they said comes out again, and bad ones are clear errors."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vastnb import errors
from vastnb.sandbox import Sandbox
from vastnb.services.history import history, import_history
from vastnb.vast.client import Client
from vastnb.vast.types import KINDS
from vastnb.vast.types.sizes import nominal_gb

MINEBTX = {
    "gpu_ram_mb": "gpu_ram",
    "gpu_total_ram_mb": "gpu_total_ram",
    "cpu_ram_mb": "cpu_ram",
    "disk_space_gb": "disk_space",
    "duration_s": "duration",
    "time_remaining_s": "time_remaining",
    "internet_down_mbps": "inet_down",
    "internet_up_mbps": "inet_up",
}
OFFER = {
    "id": 1,
    "machine_id": 7,
    "gpu_name": "RTX 4090",
    "num_gpus": 2,
    "ram_mb": 24564,
    "dph_base": 0.6,
    "dph_total": 0.61,
}


@pytest.fixture
def there(make_client: Callable[..., Client], sandbox: Sandbox) -> Client:
    return make_client(sandbox)


def answer(at: Any, *offers: dict[str, Any]) -> dict[str, Any]:
    return {"at": at, "offers": [{**OFFER, **offer} for offer in offers]}


def brought(path: Path, client: Client, **options: Any) -> pd.DataFrame:
    return import_history(
        path, {"ram_mb": "gpu_ram"}, **{"seen_at": "at", "holds": "sample", "client": client} | options
    )


def test_a_real_record_of_two_months_gives_the_medians_that_pandas_makes_of_it(
    there: Client, shared_records: Path
) -> None:
    file = shared_records / "real_data" / "minebtx" / "history.jsonl.gz"

    frame = import_history(file, MINEBTX, seen_at="fetched_at", holds="sample", client=there)

    assert (len(frame), frame.offers.sum(), frame.attrs["vastnb"]["notes"]) == (590, 47_111, [])
    with gzip.open(file, "rt") as lines:
        rows = [{**offer, "at": said["fetched_at"]} for said in map(json.loads, lines) for offer in said["offers"]]
    plain = pd.DataFrame(rows)
    plain["usd"] = plain.dph_total / plain.num_gpus
    plain["day"] = pd.to_datetime(plain["at"], utc=True).dt.floor("D")
    plain["gb"] = plain.gpu_ram_mb.map(nominal_gb)
    wanted = plain.groupby(["day", "gpu_name", "gb"], as_index=False).usd.agg(["median", "size"])
    got = history(days=None, by="day", client=there).sort_values(["time", "gpu_name", "gpu_ram_nominal_gb"])
    assert got.gpu_name.tolist() == wanted.gpu_name.tolist()
    assert got.time.tolist() == wanted.day.tolist()
    assert got.n.tolist() == wanted["size"].tolist()
    assert got.usd_per_gpu_hour_median.tolist() == pytest.approx(wanted["median"].tolist(), rel=1e-9)


def test_importing_again_changes_nothing(there: Client, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(
        json.dumps(
            [answer("2026-05-01T10:00:00Z", {}), answer("2026-05-01T10:00:00Z", {}), answer(1_777_640_400, {"id": 2})]
        )
    )

    first, again = brought(file, there), brought(file, there)

    pd.testing.assert_frame_equal(first, again)
    assert first.columns.tolist() == [c.name for c in KINDS["snapshots"]]
    assert first.seen_at.tolist() == [
        pd.Timestamp("2026-05-01 10:00", tz="UTC"),
        pd.Timestamp("2026-05-01 13:00", tz="UTC"),
    ]
    frame = history("RTX 4090", days=None, by="model", client=there)
    assert (frame.n.tolist(), frame.gpu_ram_nominal_gb.tolist(), frame.supply.isna().tolist()) == ([2], [24], [True])
    assert frame.usd_per_gpu_hour_median[0] == pytest.approx(0.305)


def test_what_holds_the_whole_market_counts_for_supply(there: Client, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    file.write_text(
        "\n".join(
            json.dumps(answer(f"2026-05-01T{hour}:00:00Z", *({"id": n} for n in range(hour)))) for hour in (10, 12)
        )
    )

    brought(file, there, holds="whole")

    assert history(days=None, by="day", client=there).supply.tolist() == [11]
    assert history(days=None, by="hour", client=there).supply.tolist() == [10, 12]


def test_a_table_has_an_offer_a_line_and_may_use_our_names_and_units(there: Client, tmp_path: Path) -> None:
    file = tmp_path / "old.csv.gz"
    with gzip.open(file, "wt", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["when", "offer_id", "machine", "card", "gpus", "gb", "price", "static_ip"])
        rows.writerow(["2026-05-01 10:00", 1, 7, "RTX 4090", 2, 24.564, 0.61, "true"])
        rows.writerow(["2026-05-01 10:00", 2, 8, "RTX 4090", 1, 24.564, "", "false"])
        rows.writerow(["2026-05-02 10:00", 1, 7, "RTX 4090", 2, 24.564, 0.65, "true"])
    mapping = {"offer_id": "offer_id", "machine": "machine_id", "card": "gpu_name", "gpus": "num_gpus", "gb": "gpu_ram_gb", "price": "usd_per_hour"}  # fmt: skip

    frame = import_history(file, mapping, seen_at="when", holds="sample", client=there)

    assert frame.offers.tolist() == [2, 1]
    days = history(days=None, by="day", client=there)
    assert (days.n.tolist(), days.usd_per_gpu_hour_median.tolist()) == ([1, 1], pytest.approx([0.305, 0.325]))
    assert days.gpu_ram_nominal_gb.tolist() == [24, 24]
    life = history(machine=7, days=None, client=there)
    assert (life.usd_per_hour.tolist(), life.seen.tolist()) == ([0.61, 0.65], [1, 1])


def test_prices_that_are_none_count_nowhere(there: Client, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    odd = ({"dph_total": 0}, {"dph_total": None}, {"dph_total": -1}, {"num_gpus": 0}, {"dph_base": None})
    file.write_text(json.dumps([answer(1_777_640_400, *({"id": n, **offer} for n, offer in enumerate(odd)))]))

    brought(file, there)

    assert history(days=None, by="model", client=there).n.tolist() == [1]


def test_half_written_lines_and_files_are_left_out_and_named(there: Client, tmp_path: Path) -> None:
    line = json.dumps(answer("2026-05-01T10:00:00Z", {}))
    plain, packed = tmp_path / "old.jsonl", tmp_path / "old.jsonl.gz"
    plain.write_text(f"{line}\n\n{line[:50]}")
    packed.write_bytes(gzip.compress(f"{line}\n".encode() * 1000)[:-20])

    of_plain, of_packed = brought(plain, there), brought(packed, there)

    assert (of_plain.offers.tolist(), of_plain.attrs["vastnb"]["notes"]) == (
        [1],
        ["Line 3 is not JSON and was left out."],
    )
    assert of_packed.attrs["vastnb"]["notes"][-1] == "The file ends in the middle; what is before that was read."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("old.json", "{", "not JSON"),
        ("old.json", "[1]", "answer 1: expected a list of offers"),
        ("old.json", '{"at": 1}', "answer 1: expected a list of offers"),
        ("old.json", '{"at": "soon", "offers": []}', "answer 1: at: expected a time, got 'soon'"),
        ("old.json", '{"offers": []}', "expected a time, got None"),
        ("old.json", '{"at": 1, "offers": [{"num_gpus": "many"}]}', "answer 1: .*num_gpus"),
        ("old.csv", "a,b\n1,2\n", "no column 'at'"),
        ("old.txt", "", r"expected \.json"),
        ("absent.json", None, "cannot be read"),
    ],
)
def test_a_record_that_cannot_be_right_is_an_error_that_names_the_place(
    there: Client, tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(errors.InputError, match=words):
        brought(tmp_path / name, there)
    assert history(days=None, client=there).empty
