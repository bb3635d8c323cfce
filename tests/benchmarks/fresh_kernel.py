"""From a fresh kernel to a frame on the screen, imports included: vastnb beside the official SDK with pandas.

    python tests/benchmarks/fresh_kernel.py [repeats]

Both ask one sandbox for the same search, each time in a new ipykernel, in turn. What is timed is one cell, from the request to
the kernel's idle message. Also: what ``%load_ext vastnb`` costs in a running kernel.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time

from jupyter_client.manager import KernelManager

from vastnb.sandbox import Sandbox

OURS = """%load_ext vastnb
df = %vast search gpu_name=RTX_4090 num_gpus>=1
df"""
THEIRS = """from vastai import VastAI
import pandas as pd
df = pd.DataFrame(VastAI(api_key=KEY, server_url=URL).search_offers(query="gpu_name=RTX_4090 num_gpus>=1", order="dph"))
df"""
LOAD_EXT = """import time
_started = time.perf_counter()
get_ipython().run_line_magic("load_ext", "vastnb")
print((time.perf_counter() - _started) * 1000)"""


def timed(cell: str, before: str = "pass") -> tuple[float, str]:
    """Seconds that `cell` takes in a fresh kernel, and what it printed."""
    manager = KernelManager(kernel_name="python3", transport="ipc")
    manager.start_kernel(stderr=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    client = manager.blocking_client()
    client.start_channels()
    printed: list[str] = []

    def note(message: dict[str, object]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            printed.append(content["text"])  # type: ignore[index]
        if message["msg_type"] == "error":
            raise RuntimeError(content)

    try:
        client.wait_for_ready(timeout=60)
        client.execute_interactive(before, timeout=60, output_hook=note)
        started = time.perf_counter()
        client.execute_interactive(cell, timeout=60, output_hook=note)
        return time.perf_counter() - started, "".join(printed)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main(repeats: int) -> None:
    """Print medians and the ratio."""
    ours, theirs, load = [], [], []
    with Sandbox(offers=2000, seed=0, start="2026-06-01") as sandbox, tempfile.TemporaryDirectory() as home:
        os.environ.update(VAST_URL=sandbox.url, VAST_API_KEY=sandbox.api_key, XDG_CACHE_HOME=home, XDG_CONFIG_HOME=home,
                          VASTNB_CACHE__BACKEND="sqlite", PYDEVD_DISABLE_FILE_VALIDATION="1")  # fmt: skip
        for number in range(repeats + 1):
            os.environ["XDG_CACHE_HOME"] = f"{home}/{number}"  # a cold cache each time
            a, _ = timed(OURS)
            b, _ = timed(THEIRS, f"URL, KEY = {sandbox.url!r}, {sandbox.api_key!r}")
            _, printed = timed(LOAD_EXT)
            if number:  # the first round warms the disk
                ours.append(a), theirs.append(b), load.append(float(printed))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {repeats} rounds, medians"
    )
    print(f"vastnb, fresh kernel to frame        {statistics.median(ours):.2f} s")
    print(f"vastai SDK + pandas, the same        {statistics.median(theirs):.2f} s")
    print(f"ratio (median of rounds)             {statistics.median(ratios):.2f}")
    print(f"%load_ext vastnb in a running kernel {statistics.median(load):.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
