"""A frame survives what data scientists do with frames, without losing an offer's id, rental or time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vastnb.services.offers import search
from vastnb.vast.client import Client

MUST_TRAVEL = ["offer_id", "rental", "seen_at"]


@pytest.fixture(params=["num_gpus=4", "gpu_name=Nothing_Like_It"], ids=["full", "empty"])
def frame(request: pytest.FixtureRequest, client: Client) -> pd.DataFrame:
    return search(request.param, client=client)


def same(found: pd.DataFrame, frame: pd.DataFrame) -> None:
    assert found["offer_id"].tolist() == frame["offer_id"].tolist()
    assert found["rental"].tolist() == frame["rental"].tolist()
    assert pd.to_datetime(found["seen_at"], utc=True).tolist() == frame["seen_at"].tolist()


def test_parquet_keeps_every_dtype(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "f.parquet")

    found = pd.read_parquet(tmp_path / "f.parquet")

    pd.testing.assert_frame_equal(found, frame)


def test_polars_and_back(frame: pd.DataFrame) -> None:
    polars = pytest.importorskip("polars")

    there = polars.from_pandas(frame)

    assert str(there.schema["offer_id"]) == "Int64"
    assert str(there.schema["seen_at"]) == "Datetime(time_unit='us', time_zone='UTC')"
    same(there.to_pandas(), frame)


def test_duckdb_reads_it_in_place(frame: pd.DataFrame) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as db:
        db.execute("set timezone = 'UTC'")
        db.register("frame", frame)

        rows = db.execute("select offer_id, rental, epoch_us(seen_at) from frame").fetchall()
        kinds = dict(db.execute("select column_name, column_type from (describe frame)").fetchall())

    assert (kinds["offer_id"], kinds["rental"], kinds["seen_at"]) == ("BIGINT", "VARCHAR", "TIMESTAMP WITH TIME ZONE")
    found = pd.DataFrame(rows, columns=MUST_TRAVEL)
    same(found.assign(seen_at=pd.to_datetime(found.seen_at, unit="us", utc=True)), frame)


def test_altair_takes_it(frame: pd.DataFrame) -> None:
    altair = pytest.importorskip("altair")

    chart: Any = (
        altair.Chart(frame).mark_point().encode(x="usd_per_hour", y="dlperf", tooltip=["offer_id", "rental", "seen_at"])
    )
    rows = next(iter(chart.to_dict()["datasets"].values()))

    assert [row["offer_id"] for row in rows] == frame.offer_id.tolist()
    assert {row["rental"] for row in rows} == set(frame.rental)


def test_merge_keeps_them(frame: pd.DataFrame) -> None:
    other = pd.DataFrame({"country": frame["country"].unique(), "tax": 0.2}).astype({"country": "str"})

    merged = frame.merge(other, on="country", how="left")

    same(merged, frame)


def test_concat_keeps_them_and_their_dtypes(client: Client) -> None:
    parts = [search("num_gpus=8", rental=rental, client=client) for rental in ("on-demand", "bid")]

    both = pd.concat([*parts, search("gpu_name=Nothing", client=client)], ignore_index=True)

    assert both.offer_id.tolist() == [i for part in parts for i in part.offer_id]
    assert both.groupby("rental").size().to_dict() == {p.rental[0]: len(p) for p in parts}
    assert {str(both[name].dtype) for name in MUST_TRAVEL} == {"Int64", "str", "datetime64[us, UTC]"}


def test_csv_and_json_keep_them(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "f.csv", index=False)
    frame.to_json(tmp_path / "f.json", orient="records", date_format="iso")

    same(pd.read_csv(tmp_path / "f.csv"), frame)
    if len(frame):
        same(pd.read_json(tmp_path / "f.json"), frame)
