"""Every recorded answer of the real service loads into the pinned columns: no row lost, no field lost, no value invented."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vastnb.vast.query import kept_rows, parse_query
from vastnb.vast.types import DROPPED, FIELDS, OFFERS
from vastnb.vast.types.frames import offers_frame, read_offers, table_of
from vastnb.vast.types.records import User

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PINNED = {column.name: column.dtype for column in OFFERS}
MINEBTX = {"gpu_ram_mb": "gpu_ram", "gpu_total_ram_mb": "gpu_total_ram", "duration_s": "duration", "time_remaining_s": "time_remaining",
           "internet_down_mbps": "inet_down", "internet_up_mbps": "inet_up", "cpu_ram_mb": "cpu_ram",
           "disk_space_gb": "disk_space"}  # fmt: skip
"""The names that its recorder changed, back to the API's (FACTS a.2)."""


def offers_in(path: Path) -> list[dict[str, Any]]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode()
    rows, _ = json.JSONDecoder().raw_decode(text, text.index("[" if path.suffix == ".txt" else text.lstrip()[0]))
    return rows["offers"] if isinstance(rows, dict) and "offers" in rows else rows if isinstance(rows, list) else [rows]


def recorded_searches(records: Path) -> list[Path]:
    return [
        *sorted((records / "real_data" / "vast-cli").glob("search_*")),
        *sorted((records / "real_data").glob("search_*.json")),
    ]


def checked(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = table_of(rows)
    frame = offers_frame(rows, rental="on-demand", seen_at=NOW)
    assert {name: str(frame[name].dtype) for name in PINNED} == PINNED
    assert list(frame.columns)[: len(PINNED)] == list(PINNED)
    assert len(frame) == len(rows)
    ids = [row.get("ask_contract_id", row.get("id")) for row in rows]
    assert frame.offer_id.tolist() == ids
    sources = {c.source: c.name for c in (*OFFERS, *FIELDS)}
    lost = [n for n in table.columns if n not in DROPPED and sources.get(n, n) not in frame.columns]
    assert lost == []
    return frame


def test_every_recorded_search_loads(shared_records: Path) -> None:
    paths = recorded_searches(shared_records)

    assert len(paths) >= 8
    for path in paths:
        checked(offers_in(path))


def test_values_of_the_largest_record_are_those_of_pandas(shared_records: Path) -> None:
    rows = offers_in(shared_records / "real_data/vast-cli/search_2024-11-05_all_verified-any.json.gz")
    frame, plain = checked(rows), pd.DataFrame(rows)

    assert len(frame) == 1396
    assert frame.usd_per_hour.tolist() == plain.dph_total.tolist()
    assert frame.gpu_ram_gb.tolist() == (plain.gpu_ram / 1000).tolist()
    assert frame.cpu_cores.tolist() == plain.cpu_cores_effective.tolist()
    assert (frame.inet_up_mbps.isna() == (plain.inet_up < 0)).all()
    assert frame.verification.value_counts().to_dict() == {"verified": 629, "unverified": 583, "deverified": 184}
    body = json.dumps({"offers": rows}).encode()
    assert read_offers(body, rental="on-demand", seen_at=NOW).unknown == ()


@pytest.mark.parametrize(
    "text", ["gpu_ram=24", "gpu_name=RTX_4090 num_gpus>=2", "geolocation in [US,CA] verified=true", "cpu_ram_gb>=64"]
)
def test_the_recheck_agrees_with_pandas_on_the_record(shared_records: Path, text: str) -> None:
    rows = offers_in(shared_records / "real_data/vast-cli/search_2024-11-05_all_verified-any.json.gz")
    frame = checked(rows)
    table = table_of(rows)

    kept = kept_rows(parse_query(text, defaults=False), table.columns, table.count)

    by_pandas = {
        "gpu_ram=24": frame.gpu_ram_nominal_gb == 24,
        "gpu_name=RTX_4090 num_gpus>=2": (frame.gpu_name == "RTX 4090") & (frame.num_gpus >= 2),
        "geolocation in [US,CA] verified=true": frame.country.isin(["US", "CA"]) & (frame.verification == "verified"),
        "cpu_ram_gb>=64": frame.cpu_ram_gb >= 64,
    }[text]
    assert kept.rows == by_pandas.tolist()


def test_the_two_months_of_snapshots_load(shared_records: Path) -> None:
    count = 0
    with gzip.open(shared_records / "real_data/minebtx/history.jsonl.gz", "rt") as lines:
        for line in lines:
            rows = [
                {MINEBTX.get(name, name): value for name, value in row.items()} for row in json.loads(line)["offers"]
            ]
            count += len(checked(rows))

    assert count == 47_111


@pytest.mark.parametrize(
    ("told", "left"),
    [({"balance": -1.5, "credit": 4.0}, 2.5), ({"credit": 4.0}, 4.0), ({"balance": 0.0}, 0.0), ({}, None)],
)
def test_what_is_left_is_the_sum_and_unknown_is_not_zero(told: dict[str, float], left: float | None) -> None:
    assert User.model_validate({"id": 7, **told}).left_usd == left
