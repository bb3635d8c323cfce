"""How fast a search is, beside the official SDK with pandas, on one server on this computer.

    python tests/benchmarks/search_speed.py [--quick]

1. `reading`: the bytes of an answer into a typed DataFrame.
2. `cold`: a search over TLS, with nothing kept; and what both sides take of memory, each in a fresh process.
3. `kept`: the same search again: in the kernel, in a fresh client from disk, from twenty threads, from Redis.

In each table all ways take turns, in another order each round, after a `gc.collect`; medians are printed. Imports are not part of any
number here: `fresh_kernel.py` measures those. ``--cpu`` counts the processor's time of this process instead of the wall's, which tells
more on a busy machine; the server's and other processes' are not in it.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import importlib
import json
import math
import os
import platform
import random
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import orjson
import pandas as pd
import requests.adapters
from loopback import Loopback, prepare

import vastnb
from vastnb.infra.pacing import Pacer
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query
from vastnb.vast.types import frames

KEY = "0123456789abcdef" * 4
ROUNDS = {64: 61, 1000: 25, 5000: 11, 20000: 7}
NOW = datetime(2026, 6, 1, tzinfo=UTC)
AIM_READING = {64: "6 ms", 1000: "2.4 x orjson", 5000: "1.6 x orjson", 20000: "1.6 x orjson"}
AIM_COLD = {64: "8 x", 1000: "3.5 x", 5000: "2.8 x"}
AIM_DISK_MS = {64: 4, 1000: 6, 20000: 40}

Ways = dict[str, Callable[[], Any]]
clock = time.perf_counter


def medians(ways: Ways, rounds: int) -> dict[str, float]:
    """Milliseconds of each way: all of them in turn, in another order each round; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = random.Random(0)
    for number in range(rounds + 1):
        for name in order.sample(list(ways), len(ways)):
            gc.collect()
            started = clock()
            made = ways[name]()
            took = clock() - started
            del made  # what it costs to throw the result away is not part of either side
            if number:
                times[name].append(took * 1000)
    return {name: statistics.median(took) for name, took in times.items()}


def told(title: str, *columns: str) -> None:
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))


def row(*cells: Any) -> None:
    print("| " + " | ".join(f"{c:,.2f}" if isinstance(c, float) else str(c) for c in cells) + " |")


def settings(url: str, **cache: Any) -> vastnb.Settings:
    """Pacing is off: ten searches a minute are all that the service allows, and here it would be all that is measured."""
    return vastnb.Settings(url=url, api_key=KEY, pacing="off", cache={"offers_ttl_s": 3600, "max_mb": 2000, **cache})


def official(url: str) -> Callable[[], pd.DataFrame]:
    """The SDK's way, with its defaults and our order."""
    from vastai import VastAI

    client = VastAI(api_key=KEY, server_url=url)
    return lambda: pd.DataFrame(client.search_offers(query="", order="dph"))


# ---------------------------------------------------------------- 1


def read(body: bytes) -> pd.DataFrame:
    return frames.read_offers(body, rental="on-demand", seen_at=NOW, watch="dph_total").frame


def reading(folder: Path, sizes: dict[int, int]) -> None:
    told(
        "1. Bytes into a DataFrame, ms",
        "offers", "MB", "read_offers, typed", "orjson.loads", "json + DataFrame, untyped", "ours / orjson", "json way / ours", "aim",
    )  # fmt: skip
    for size, rounds in sizes.items():
        body = (folder / f"n{size}.json").read_bytes()
        took = medians(
            {
                "ours": lambda body=body: read(body),
                "orjson": lambda body=body: orjson.loads(body),
                "theirs": lambda body=body: pd.DataFrame(json.loads(body)["offers"]),
            },
            rounds,
        )
        ours, fast, theirs = took.values()
        row(size, len(body) / 1e6, ours, fast, theirs, ours / fast, theirs / ours, AIM_READING[size] + ", 2 x")


# ---------------------------------------------------------------- 2


def cold(folder: Path, server: Loopback, sizes: dict[int, int]) -> None:
    told(
        "2. A search over TLS, nothing kept before, ms (SDK / this)",
        "offers", "SDK + DataFrame, untyped", "one page", "one page, cache off", "vastnb.search, 2 requests", "httpx + read_offers",
        "http.client + read_offers", "aim",
    )  # fmt: skip
    for size, rounds in sizes.items():
        url = server.url(size)
        keeping = Client(settings(url), cache_folder=folder / "cold")
        passing = Client(settings(url, backend="off"), cache_folder=folder / "cold")
        with keeping, passing, bare(folder, url) as (by_httpx, by_http):
            took = medians(
                {
                    "official": official(url),
                    "page": lambda c=keeping: c.search_offers("", refresh=True),
                    "off": lambda c=passing: c.search_offers("", refresh=True),
                    "whole": lambda c=keeping: vastnb.search(refresh=True, client=c),
                    "httpx": lambda ask=by_httpx: read(ask()),
                    "http.client": lambda ask=by_http: read(ask()),
                },
                rounds,
            )
        theirs = took.pop("official")
        row(size, theirs, *(f"{ms:,.1f} ({theirs / ms:.1f} x)" for ms in took.values()), AIM_COLD.get(size, ""))
    print(f"\nThe pacer's bookkeeping for one request, pacing on: {pacing_ms(folder):.2f} ms")


@contextmanager
def bare(folder: Path, url: str) -> Iterator[tuple[Callable[[], bytes], Callable[[], bytes]]]:
    """The same question through a kept connection of httpx, and of `http.client`: the least there is."""
    context = ssl.create_default_context(cafile=str(folder / "bundle.pem"))
    body = json.dumps(parse_query("").to_api()).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    host, _, path = url.removeprefix("https://").partition("/")
    plain = http.client.HTTPSConnection(host, context=context)

    def ask() -> bytes:
        plain.request("POST", f"/{path}/api/v0/bundles/", body, headers)
        return plain.getresponse().read()

    with httpx.Client(verify=context, trust_env=False) as client:
        yield lambda: client.post(f"{url}/api/v0/bundles/", content=body, headers=headers).content, ask
    plain.close()


def pacing_ms(folder: Path) -> float:
    pacer = Pacer(folder / "pacing.sqlite")

    def once() -> None:
        pacer.claim("a question", 30.0)
        pacer.reserve("an account", ((5, 10.0), (10, 60.0)))
        pacer.drop_claim("a question")
        pacer.release("an account")

    took = medians({"once": once}, 31)["once"] * 3 / 4  # giving the slot back is no part of a request
    pacer.shut()
    return took


def memory(folder: Path, server: Loopback, sizes: dict[int, int]) -> None:
    told(
        "Peak memory of that in a fresh process, MiB above what it had before (after one search of 64)",
        "offers", "SDK + DataFrame", "one page", "one page, cache off", "vastnb.search", "SDK / one page", "SDK / vastnb.search", "aim",
    )  # fmt: skip
    for size in sizes:
        if size > 64:
            found = {way: peak(folder, server, way, size) for way in ("official", "page", "off", "whole")}
            theirs = found["official"]
            row(size, *(f"{mib:.0f}" for mib in found.values()), theirs / found["page"], theirs / found["whole"], "3 x")


def peak(folder: Path, server: Loopback, way: str, size: int) -> float:
    def once() -> float:
        command = [sys.executable, __file__, "--peak", way, server.url(64), server.url(size), str(folder)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return statistics.median(once() for _ in range(3))


def measure_peak(way: str, small: str, large: str, folder: Path) -> None:
    """In the fresh process: print how far it grew."""
    # Ours loads it a moment after its first answer. Here all ways have it before: what is counted is what a search takes.
    importlib.import_module("requests_cache")
    trust(folder)
    with tempfile.TemporaryDirectory() as cache:
        for url in (small, large):
            gc.collect()
            before = status_mib("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
            searching = peak_way(way, url, Path(cache))
            made = searching()
            grown = status_mib("VmHWM") - before
            assert len(made) >= 64
            del made
    print(grown)


def peak_way(way: str, url: str, cache: Path) -> Callable[[], Any]:
    if way == "official":
        return official(url)
    client = Client(settings(url, backend="off" if way == "off" else "sqlite"), cache_folder=cache)
    return (lambda: vastnb.search(client=client)) if way == "whole" else (lambda: client.search_offers(""))


def status_mib(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


# ---------------------------------------------------------------- 3


def again(folder: Path, server: Loopback, sizes: dict[int, int], redis_url: str | None) -> None:
    told(
        "3. The same search again, ms",
        "offers", "in the kernel", "fresh client, frame on disk", "aim", "fresh client, answer on disk", "fresh client, Redis",
        "fresh client, asking the server, cache off",
    )  # fmt: skip
    for size, rounds in sizes.items():
        of, place = settings(server.url(size)), folder / "again"
        ways = {
            "frame": fresh(of, place, vastnb_search),
            "answer": fresh(of, place, one_page),
        }
        if redis_url is not None:
            shared = settings(of.url, backend="redis", redis_url=redis_url, signing_key="for the benchmarks only")
            ways["redis"] = fresh(shared, place, one_page)
        for fill in ways.values():
            fill()
        asked = server.asked()
        with Client(of, cache_folder=place) as here:
            took = medians({"kernel": lambda c=here: vastnb_search(c), **ways}, rounds)
        assert server.asked() == asked, "something was asked that should have been kept"
        off = settings(of.url, backend="off")
        cold_ms = medians({"cold": fresh(off, place, one_page)}, max(3, rounds // 4))["cold"]
        redis = took.get("redis", math.nan)
        row(size, f"{took['kernel']:.3f}", took["frame"], AIM_DISK_MS.get(size, ""), took["answer"], redis, cold_ms)


def vastnb_search(client: Client) -> pd.DataFrame:
    return vastnb.search(client=client)


def one_page(client: Client) -> pd.DataFrame:
    return client.search_offers("")


def fresh(of: vastnb.Settings, place: Path, act: Callable[[Client], pd.DataFrame]) -> Callable[[], pd.DataFrame]:
    """As a fresh kernel does it once its imports are there: nothing in memory, no connection, no open file."""

    def once() -> pd.DataFrame:
        with Client(of, cache_folder=place) as client:
            return act(client)

    return once


def threads(folder: Path, server: Loopback, sizes: dict[int, int]) -> None:
    told(
        "Twenty threads ask the same at once, nothing kept",
        "offers",
        "requests",
        "ms",
        "ms for one thread",
        "ms of the SDK",
    )
    for size in [s for s in sizes if s <= 5000]:
        with Client(settings(server.url(size)), cache_folder=folder / f"threads{size}") as client:
            client.search_offers("num_gpus>=1")  # opens the connection
            before = server.asked()
            took = at_once(lambda c=client: c.search_offers(""))
            requests_made = server.asked() - before
            alone = medians({"one": lambda c=client: c.search_offers("", refresh=True)}, 5)["one"]
        row(size, requests_made, took, alone, at_once(official(server.url(size))))


def at_once(act: Callable[[], Any], count: int = 20) -> float:
    start, failed = threading.Barrier(count + 1), list[BaseException]()

    def one() -> None:
        start.wait()
        try:
            act()
        except BaseException as error:
            failed.append(error)

    crowd = [threading.Thread(target=one) for _ in range(count)]
    for thread in crowd:
        thread.start()
    start.wait()
    started = time.perf_counter()
    for thread in crowd:
        thread.join()
    assert not failed, failed[0]
    return (time.perf_counter() - started) * 1000


@contextmanager
def redis_server(folder: Path) -> Iterator[str | None]:
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        next(line for line in process.stdout if "Ready to accept connections" in line)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


# ---------------------------------------------------------------- all of it


def trust(folder: Path) -> None:
    """Both sides load the public authorities and ours. The SDK does not ask the environment for a bundle, so it is told here."""
    bundle = str(folder / "bundle.pem")
    os.environ["SSL_CERT_FILE"] = bundle
    requests.adapters.DEFAULT_CA_BUNDLE_PATH = bundle


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    packages = ("pandas", "numpy", "pyarrow", "orjson", "httpx", "requests", "vastai")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores ({cpu}), Python {platform.python_version()}, vastnb {vastnb.__version__}, {versions}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="64 and 1,000 offers, fewer rounds")
    parser.add_argument("--cpu", action="store_true", help="the processor's time instead of the wall's")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak is not None:
        measure_peak(*asked.peak[:3], Path(asked.peak[3]))
        return
    if asked.cpu:
        global clock
        clock = time.process_time
    sizes = {size: max(3, rounds // 3) for size, rounds in ROUNDS.items() if size <= 1000} if asked.quick else ROUNDS
    print(machine())
    with tempfile.TemporaryDirectory() as there:
        folder = Path(there)
        prepare(folder, tuple(sizes))
        trust(folder)
        with Loopback(folder) as server, redis_server(folder) as redis_url:
            reading(folder, sizes)
            cold(folder, server, sizes)
            memory(folder, server, sizes)
            again(folder, server, sizes, redis_url)
            threads(folder, server, sizes)


if __name__ == "__main__":
    main()
