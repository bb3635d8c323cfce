"""How large and how fast the price observatory is: a user's year, and a market that is written down whole.

    python tests/benchmarks/history_speed.py [--days 7.5] [--year 365] [--beside 288]

1. `year`: five GPU models every quarter of an hour.
2. `stress`: 5,000 offers every five minutes, 5 % of them changed each time (4 % repriced, 1 % replaced); by default a quarter of 30
   days, 10.8 million rows.
3. `beside`: the first snapshots of the same market in a plain SQLite table and in one Parquet file each.

Medians of seven, files in the system's cache; memory is the growth of the peak of a fresh process. Aims are beside the numbers.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from vastnb.infra.config import Settings
from vastnb.services.history import history, spool
from vastnb.services.history.packing import pack
from vastnb.services.history.store import Store, store_of
from vastnb.vast.client import Client

START = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = np.array(
    ["RTX 4090", "RTX 3090", "RTX 5090", "H100 SXM", "A100 SXM4", "RTX 3060", "RTX A6000", "L40S", "H200", "RTX 4080"]
    + [f"Model {n}" for n in range(30)],
    dtype=object,
)
MEMORY = np.array([24, 24, 32, 80, 80, 12, 48, 48, 141, 16] + [16] * 30, float)


class Market:
    """Offers that change a little with each step."""

    def __init__(self, counts: list[int], *, repriced: float, replaced: float) -> None:
        self.chance = np.random.default_rng(3)
        self.model = np.repeat(np.arange(len(counts)), counts)
        self.shares, self.next = (repriced, replaced), 10_000_000
        self.columns = self._new(self.model)

    def _new(self, model: Any) -> dict[str, Any]:
        chance, count = self.chance, len(model)
        gpus = chance.choice([1, 1, 1, 1, 2, 2, 4, 4, 8], count)
        made = {
            "offer_id": np.arange(self.next, self.next + count),
            "machine_id": chance.integers(200, 60_000, count),
            "host_id": chance.integers(1000, 9000, count),
            "num_gpus": gpus,
            "gpu_usd_per_hour": gpus * MEMORY[model] / 24 * (0.15 + 0.5 * chance.random(count)),
            "storage_usd_per_gb_month": chance.choice([0.1, 0.15, 0.2, 0.25, 0.3], count),
            "inet_down_usd_per_gb": chance.choice([0, 0.002, 0.005, 0.01, 0.02], count),
            "inet_up_usd_per_gb": chance.choice([0, 0.002, 0.005, 0.01, 0.02], count),
            "inet_down_mbps": 4000 * chance.random(count),
            "inet_up_mbps": 2000 * chance.random(count),
            "reliability": 1 - np.abs(chance.normal(0, 0.01, count)),
            "dlperf": gpus * 40 * (0.7 + 0.5 * chance.random(count)),
            "cpu_cores": chance.choice([8.0, 16, 32, 64, 128], count),
            "cpu_ram_gb": chance.choice([32.0, 64, 128, 256], count),
            "disk_max_gb": 4000 * chance.random(count),
            "gpu_frac": gpus / 8,
            "cuda_max": chance.choice([12.2, 12.4, 12.8, 13.0], count),
            "driver": chance.integers(0, 4, count),
            "place": chance.integers(0, 5, count),
            "static_ip": chance.random(count) < 0.6,
        }
        self.next += count
        return made

    def step(self) -> None:
        """Some offers cost something else, some are others."""
        count = len(self.model)
        repriced, replaced = (int(count * share) for share in self.shares)
        chosen = self.chance.choice(count, repriced + replaced, replace=False)
        gone = chosen[:replaced]
        for name, values in self._new(self.model[gone]).items():
            self.columns[name] = self.columns[name].copy()
            self.columns[name][gone] = values
        factor = np.exp(self.chance.normal(0, 0.05, repriced))
        self.columns["gpu_usd_per_hour"][chosen[replaced:]] *= factor

    def frame(self) -> pd.DataFrame:
        """As a search gives it."""
        columns = dict(self.columns)
        columns["driver_version"] = np.array(["535.1", "550.2", "565.3", "580.4"], object)[columns.pop("driver")]
        columns["country"] = np.array(["US", "CA", "SE", "PL", "JP"], object)[columns.pop("place")]
        frame = pd.DataFrame(columns)
        frame["gpu_name"], frame["gpu_ram_nominal_gb"] = MODELS[self.model], MEMORY[self.model]
        frame["usd_per_hour"] = frame.gpu_usd_per_hour + 10 * frame.storage_usd_per_gb_month / 720
        frame["min_bid_usd_per_hour"] = frame.gpu_usd_per_hour / 2
        frame["verification"], frame["datacenter"] = "verified", frame.static_ip
        whole = ["offer_id", "machine_id", "host_id", "num_gpus"]
        texts = ["gpu_name", "driver_version", "country", "verification"]
        return frame.astype({**dict.fromkeys(whole, "Int64"), **dict.fromkeys(texts, "str"), "static_ip": "boolean"})


def observed(market: Market, minutes: int, days: float, models: str) -> Iterator[tuple[datetime, pd.DataFrame]]:
    """Moments and what was on the market then."""
    for number in range(int(days * 24 * 60 / minutes)):
        yield START + timedelta(minutes=minutes * number), market.frame()
        market.step()


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=7.5)
    parser.add_argument("--year", type=float, default=365)
    parser.add_argument("--beside", type=int, default=288)
    parser.add_argument("--ask", nargs=2, help="used by itself: one question in a fresh process")
    args = parser.parse_args()
    if args.ask:
        ask_once(Path(args.ask[0]), args.ask[1])
        return
    print(
        f"Python {platform.python_version()}, DuckDB {duckdb.__version__}, pyarrow {pa.__version__}, {os.cpu_count()} cores"
    )
    folder = Path(tempfile.mkdtemp(prefix="vastnb-history-"))
    try:
        year(folder / "year", args.year)
        stress(folder / "stress", args.days)
        beside(folder / "beside", args.beside)
    finally:
        shutil.rmtree(folder)


# ---------------------------------------------------------------- ours


def client_in(folder: Path) -> Client:
    """A client whose history is in `folder`, at a service that is never asked."""
    return Client(Settings(url="http://127.0.0.1:9", history={"max_mb": 100_000}), cache_folder=folder)


def built(folder: Path, market: Market, minutes: int, days: float, models: str) -> tuple[Client, int]:
    """A store of so many days, packed each time that a day is over."""
    client = client_in(folder)
    store: Store = store_of(client)
    writing, packing, rows, day = [], [], 0, ""
    for at, frame in observed(market, minutes, days, models):
        if f"{at:%Y-%m-%d}" != day and day:
            packing.append(timed(lambda: pack(store)))
        day = f"{at:%Y-%m-%d}"
        rows += len(frame)
        writing.append(timed(lambda at=at, frame=frame: put(store, at, frame, models)))
    packing.append(timed(lambda: pack(store, today=True)))
    size = sum(path.stat().st_size for path in store.folder.rglob("*.parquet"))
    print(f"{rows:,} rows in {len(writing):,} snapshots: {size / 1e6:.1f} MB, {size / rows:.2f} bytes a row")
    print(f"append {1000 * statistics.median(writing):.2f} ms; packing a day {statistics.median(packing):.2f} s")
    return client, size


def put(store: Store, at: datetime, frame: pd.DataFrame, models: str) -> None:
    """What `offers.search` does with a fresh answer."""
    spool.put(store, [spool.snapshot_of(frame, seen_at=at, holds="whole", models=models, body=f'{{"at":"{at}"}}')])


QUESTIONS: dict[str, Callable[[Client], Any]] = {
    "one model by hour": lambda c: history("RTX 4090", days=None, client=c),
    "one model by day": lambda c: history("RTX 4090", days=None, by="day", client=c),
    "one model by hour of the day": lambda c: history("RTX 4090", days=None, by="clock", client=c),
    "one model, the whole time, exactly": lambda c: history("RTX 4090", days=None, by="model", client=c),
    "all models by hour": lambda c: history(days=None, client=c),
    "one machine's life": lambda c: history(machine=busiest(c), days=None, client=c),
}
_busiest: dict[Path, int] = {}


def busiest(client: Client) -> int:
    """The machine that was seen most."""
    folder = store_of(client).folder
    if folder not in _busiest:
        files = f"{folder}/offers/*/*.parquet"
        query = f"select machine_id from read_parquet('{files}') group by all order by count(*) desc, 1 limit 1"
        _busiest[folder] = duckdb.sql(query).fetchall()[0][0]
    return _busiest[folder]


def exactly(client: Client) -> Any:
    """All models by hour from all rows, as `history` would without its figures."""
    from vastnb.services.history.window import Window

    return Window.of(store_of(client), START).made("hour", "true", [])


def asked(client: Client, folder: Path, aims: dict[str, str], questions: dict[str, Callable[[Client], Any]]) -> None:
    """Each question: time here, memory in a fresh process."""
    print("\n| question | ms | MB | aim |\n|---|---|---|---|")
    busiest(client)
    for name, question in questions.items():
        question(client)
        ms = 1000 * statistics.median(timed(lambda question=question: question(client)) for _ in range(7))
        done = subprocess.run(
            [sys.executable, __file__, "--ask", str(folder), name], capture_output=True, text=True, check=True
        )
        print(f"| {name} | {ms:.0f} | {float(done.stdout):.0f} | {aims.get(name, '')} |")
    print()


def ask_once(folder: Path, name: str) -> None:
    """Ask one question and print by how many MB the peak grew."""
    client = client_in(folder)
    busiest(client)
    before = peak_mb()
    {**QUESTIONS, "all models by hour, exactly": exactly}[name](client)
    print(peak_mb() - before)


def peak_mb() -> float:
    """The most memory that this process has had."""
    said = Path("/proc/self/status").read_text("ascii")
    return int(said.partition("VmHWM:")[2].split()[0]) / 1024


def year(folder: Path, days: float) -> None:
    """A user's year."""
    print(f"\n## A user's year: 5 models every 15 minutes, {days:g} days")
    market = Market([140, 80, 100, 30, 25], repriced=0.005, replaced=0.01)
    client, _ = built(folder, market, 15, days, "|".join(MODELS[:5]))
    print("aims: under 50 MB; any chart under 200 ms")
    asked(client, folder, dict.fromkeys(list(QUESTIONS), "200"), QUESTIONS)


def stress(folder: Path, days: float) -> None:
    """A whole market."""
    print(f"\n## Stress: 5,000 offers every 5 minutes, {days:g} days")
    market = Market([125] * 40, repriced=0.04, replaced=0.01)
    client, size = built(folder, market, 5, days, "")
    print(f"30 days would be {size * 30 / days / 1e9:.2f} GB (aim: under 0.5; append: under 5 ms)")
    share = days / 30
    aims = {
        "one machine's life": f"{200 * share:.0f} (200 for 30 days)",
        "one model by hour": "1000 for 30 days",
        "all models by hour": "50",
        "all models by hour, exactly": f"{8000 * share:.0f} (8000 for 30 days)",
    }
    asked(client, folder, aims, {**QUESTIONS, "all models by hour, exactly": exactly})


# ---------------------------------------------------------------- others


def beside(folder: Path, count: int) -> None:
    """The same market in plain forms."""
    folder.mkdir()
    market = Market([125] * 40, repriced=0.04, replaced=0.01)
    frames = [(at, frame) for at, frame in observed(market, 5, count / 288, "")]
    rows = sum(len(frame) for _, frame in frames)
    print(
        f"\n## Beside: {rows:,} rows\n\n| form | append ms | bytes a row | all models by hour s | one machine s |\n|---|---|---|---|---|"
    )
    for name, form in {"SQLite": plain_sqlite, "Parquet, a file a snapshot": plain_parquet, "vastnb": ours}.items():
        append, size, by_hour, machine = form(folder / name.split(",")[0], frames)
        print(f"| {name} | {append * 1000:.1f} | {size / rows:.1f} | {by_hour:.2f} | {machine:.3f} |")


Form = tuple[float, int, float, float]


def plain_sqlite(file: Path, frames: list[tuple[datetime, pd.DataFrame]]) -> Form:
    """One table, no index; medians by pandas."""
    with sqlite3.connect(file) as db:
        db.execute("pragma journal_mode = wal")

        def add(at: datetime, frame: pd.DataFrame) -> None:
            frame.assign(seen_at=int(at.timestamp())).to_sql("offers", db, if_exists="append", index=False)
            db.commit()

        append = statistics.median([timed(lambda at=at, f=f: add(at, f)) for at, f in frames])
        db.execute("pragma wal_checkpoint(truncate)")
        query = "select gpu_name, seen_at / 3600 as hour, usd_per_hour / num_gpus as usd from offers"
        started = time.perf_counter()
        pd.read_sql(query, db).groupby(["gpu_name", "hour"]).usd.median()
        by_hour = time.perf_counter() - started
        number = int(frames[0][1].machine_id[0])
        machine = timed(lambda: pd.read_sql(f"select * from offers where machine_id = {number}", db))
    return append, file.stat().st_size, by_hour, machine


def plain_parquet(folder: Path, frames: list[tuple[datetime, pd.DataFrame]]) -> Form:
    """A file for each snapshot, read by DuckDB."""
    folder.mkdir()
    add = [timed(lambda at=at, f=f: f.assign(seen_at=at).to_parquet(folder / f"{at:%s}.parquet")) for at, f in frames]
    files = f"read_parquet('{folder}/*.parquet')"
    by_hour = timed(
        lambda: duckdb.sql(
            f"select gpu_name, epoch_us(seen_at) // 3600000000 as hour, median(usd_per_hour / num_gpus) from {files} group by all"
        ).df()
    )
    number = int(frames[0][1].machine_id[0])
    machine = timed(lambda: duckdb.sql(f"select * from {files} where machine_id = {number}").df())
    return statistics.median(add), sum(p.stat().st_size for p in folder.iterdir()), by_hour, machine


def ours(folder: Path, frames: list[tuple[datetime, pd.DataFrame]]) -> Form:
    """A store of ours; by hour from its figures."""
    client = client_in(folder)
    store = store_of(client)
    append = statistics.median([timed(lambda at=at, f=f: put(store, at, f, "")) for at, f in frames])
    pack(store, today=True)
    size = sum(path.stat().st_size for path in store.folder.rglob("*.parquet"))
    number = int(frames[0][1].machine_id[0])
    by_hour = timed(lambda: history(days=None, client=client))
    return append, size, by_hour, timed(lambda: history(machine=number, days=None, client=client))


def timed(act: Callable[[], Any]) -> float:
    """Seconds that `act` takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
