"""What the sampler sees is the market: no bias, and other readers find the same in the same files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vastnb.sandbox import Sandbox
from vastnb.services.history import history
from vastnb.services.history.packing import pack
from vastnb.services.history.store import store_of
from vastnb.services.sampling import sample
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query
from vastnb.vast.types.sizes import nominal_gb

MODELS = ("RTX 4090", "RTX 3090", "H100 SXM")
START = "2026-06-01T09:00:00+00:00"


def test_the_samplers_medians_are_those_of_the_whole_market(make_client: Callable[..., Client]) -> None:
    """20,000 offers over three weeks; a pass each 6 hours sees some 130 offers of a model that has 1,200."""
    true: dict[str, list[Any]] = {name: [] for name in MODELS}
    with Sandbox(offers=20_000, seed=3, start=START) as box:
        client, most = make_client(box, cache={"backend": "off"}), 0
        for _ in range(21 * 4):
            sample(MODELS, max_requests=2, client=client)
            for name in MODELS:
                whole = box.offers(parse_query(f'gpu_name="{name}"').to_api())
                most = max(most, len(whole))
                true[name] += [(offer["gpu_ram"], offer["dph_total"] / offer["num_gpus"]) for offer in whole]
            box.clock.step(hours=6)
        seen = history(by="model", days=None, client=client)
    assert most > 8 * 128
    for name in MODELS:
        market = pd.DataFrame(true[name], columns=["ram", "usd"])
        medians = market.groupby(market.ram.map(nominal_gb)).usd.median()
        found = seen[seen.gpu_name == name].set_index("gpu_ram_nominal_gb").usd_per_gpu_hour_median
        assert found.to_dict() == pytest.approx(medians.to_dict(), rel=0.02), name


def test_dask_finds_the_same_in_the_same_files_with_processes(
    make_client: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process of pytest-xdist lacks it, and what it starts asks for it.
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    distributed = pytest.importorskip("distributed")
    dataframe = pytest.importorskip("dask.dataframe")
    with Sandbox(offers=600, seed=7, start=START) as box:
        client = make_client(box, cache={"backend": "off"})
        for _ in range(30):
            sample(["RTX 4090", "H100 SXM"], client=client)
            box.clock.step(hours=2)
    store = store_of(client)
    pack(store, today=True)
    ours = history(by="day", days=None, client=client).set_index(["time", "gpu_name", "gpu_ram_nominal_gb"])

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster),
    ):
        offers = dataframe.read_parquet(f"{store.folder}/offers")
        assert offers.npartitions == 3
        keys = ["date", "gpu_name", "gpu_ram_nominal_gb"]
        of_day = offers.map_partitions(lambda day: day.groupby(keys, observed=True).usd_per_gpu_hour.median()).compute()

    assert of_day.tolist() == pytest.approx(ours.usd_per_gpu_hour_median.tolist())
    assert [str(date) for date in of_day.index.get_level_values("date")] == [f"{t:%Y-%m-%d}" for t, *_ in ours.index]
