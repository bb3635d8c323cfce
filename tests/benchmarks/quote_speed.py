"""How fast a large market is priced and analysed: ``python tests/benchmarks/quote_speed.py``.

Medians of 21 rounds, in milliseconds, after a `gc.collect` each; the offers are the sandbox's. *Gaps* takes a twentieth of every
price away, so that there is something to say about most offers. The aim is 50 ms for 20,000 offers.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

import vastnb
from vastnb.sandbox import Sandbox
from vastnb.vast.types.frames import offers_frame

ROUNDS = 21
AIM_MS = 50
START = datetime(2026, 6, 1, tzinfo=UTC)
JOB: dict[str, Any] = {"hours": 10, "disk_gb": 50, "download_gb": 100, "upload_gb": 5, "idle_hours": 48}
GAPS = ("gpu_usd_per_hour", "storage_usd_per_gb_month", "inet_down_usd_per_gb", "inet_up_usd_per_gb")


def market(size: int) -> pd.DataFrame:
    """A frame of `size` offers."""
    with Sandbox(offers=size * 11 // 10, seed=1, start=START.isoformat()) as sandbox:
        rows = sandbox.offers({})[:size]
    assert len(rows) == size
    return offers_frame(rows, rental="on-demand", seen_at=START)


def with_gaps(offers: pd.DataFrame) -> pd.DataFrame:
    """`offers` of which a twentieth of each price is not told."""
    chance = np.random.default_rng(0)
    return offers.assign(**{name: offers[name].where(chance.random(len(offers)) >= 0.05) for name in GAPS})


def median_ms(act: Callable[[], Any]) -> float:
    """Milliseconds of `act`, the first round left out."""
    took = []
    for _ in range(ROUNDS + 1):
        gc.collect()
        started = time.perf_counter()
        act()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took[1:])


def analyses(offers: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    """What follows from a price."""
    rates = dict.fromkeys(offers["gpu_name"].unique(), 1000.0)
    return {
        "cheapest_for": lambda: vastnb.cheapest_for(offers, vram_gb=48, **JOB),
        "usd_per_job": lambda: vastnb.usd_per_job(offers, rates, units=1e8),
        "frontier": lambda: vastnb.frontier(offers),
        "compare": lambda: vastnb.compare(offers),
        "sensitivity": lambda: vastnb.sensitivity(offers, hours=10, disk_gb=50, download_gb=100),
        "market": lambda: vastnb.market(offers),
    }


def main() -> None:
    """Print two tables; the second is of the largest market."""
    print("| offers | quote | with gaps | as bids | aim |\n| --- | --- | --- | --- | --- |")
    for size in (64, 1000, 20_000):
        offers = market(size)
        frames = (offers, with_gaps(offers), offers.assign(rental="bid"))
        took = [median_ms(lambda frame=frame: vastnb.quote(frame, **JOB)) for frame in frames]
        print(f"| {size:,} | {' | '.join(f'{ms:.1f}' for ms in took)} | {AIM_MS if size == 20_000 else ''} |")
    print(f"\n| {size:,} offers | ms |\n| --- | --- |")
    for name, act in analyses(offers).items():
        print(f"| {name} | {median_ms(act):.0f} |")


if __name__ == "__main__":
    main()
