"""A large market behind a page cap: the ten cheapest are right, or the frame says that it is not whole."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vastnb.errors import QueryError
from vastnb.sandbox import Sandbox
from vastnb.services.offers import search
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query

MakeClient = Callable[..., Client]
MODELS = ["RTX 4090", "RTX 5090", "H100 SXM", "RTX 3090", "RTX 3060", "A100 SXM4"]


def condition(rng: random.Random) -> tuple[str, Callable[[dict[str, Any]], Any]]:
    """One condition as text, and what it means, written without any of our code."""
    kind = rng.choice(["gpu", "count", "ram", "price", "reliability", "down", "country", "none"])
    if kind == "gpu":
        name = rng.choice(MODELS)
        return f"gpu_name={name.replace(' ', '_')}", lambda t: t["gpu_name"] == name
    if kind == "count":
        n = rng.choice([1, 2, 4, 8])
        return f"num_gpus>={n}", lambda t: t["num_gpus"] >= n
    if kind == "ram":
        gb = rng.choice([10, 24, 40, 80])
        return f"gpu_ram>={gb}", lambda t: t["gpu_ram"] >= gb * 1000
    if kind == "price":
        usd = rng.choice([0.2, 0.5, 1, 5])
        return f"dph<{usd}", lambda t: t["dph_total"] < usd
    if kind == "reliability":
        return "reliability>=0.99", lambda t: t["reliability"] >= 0.99
    if kind == "down":
        return "inet_down>=1000", lambda t: t["inet_down"] >= 1000
    if kind == "country":
        codes = rng.sample(["US", "CA", "DE", "NO", "VN", "CN"], 2)
        return f"geolocation in [{','.join(codes)}]", lambda t: np.isin([str(g)[-2:] for g in t["geolocation"]], codes)
    return "", lambda t: np.ones(len(t["id"]), bool)


def judge(sandbox: Sandbox, client: Client, rng: random.Random) -> bool:
    parts = [condition(rng) for _ in range(rng.randint(1, 3))]
    text = " ".join(words for words, _ in parts)
    before = sandbox.requests("/bundles")

    with contextlib.suppress(QueryError):  # two models at once: refused before anything is sent
        parse_query(text)
        return judged(sandbox, search(text, client=client), text, parts, before)
    assert sandbox.requests("/bundles") == before
    return True


def judged(sandbox: Sandbox, frame: Any, text: str, parts: list[Any], before: int) -> bool:
    assert sandbox.requests("/bundles") - before <= 5, text
    table = sandbox.market.table(sandbox.clock.now(), allocated_storage=10.0, kind="on-demand")
    right = (np.asarray(table["verification"]) == "verified") & np.asarray(table["rentable"], bool)
    for _, meets in parts:
        right &= np.asarray(meets(table))
    prices = np.sort(np.asarray(table["dph_total"], float)[right])
    said = frame.attrs["vastnb"]
    if said["complete"]:
        assert len(frame) == right.sum(), text
    assert frame.usd_per_hour.tolist()[:10] == pytest.approx(prices[: min(10, len(frame))].tolist()), text
    assert len(frame) >= min(10, right.sum()), text
    return bool(said["complete"])


def run_seeds(make_client: MakeClient, seeds: range, offers: int) -> tuple[int, int]:
    whole = total = 0
    for seed in seeds:
        with Sandbox(offers=offers, seed=seed, start="2026-06-01") as sandbox:
            client, rng = make_client(sandbox, cache={"backend": "off"}), random.Random(seed)
            for _ in range(3):
                whole += judge(sandbox, client, rng)
                total += 1
    return whole, total


def test_the_ten_cheapest_are_right_or_the_frame_says_that_it_is_not_whole(make_client: MakeClient) -> None:
    whole, total = run_seeds(make_client, range(100), 20_000)

    assert total == 300
    assert 0 < whole < total
