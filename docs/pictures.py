"""``python docs/pictures.py`` draws the pictures of the page on analysing, in a sandbox with a fixed start."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

IMAGES = Path(__file__).resolve().parent / "images"
START = "2026-06-01T09:00"
DAYS, STEP_HOURS = 7, 2


def main() -> None:
    """Draw all of them."""
    mpl.use("agg")
    with tempfile.TemporaryDirectory(prefix="vastnb-pictures-") as home:
        os.environ |= {f"XDG_{kind}_HOME": home for kind in ("CONFIG", "CACHE", "STATE", "DATA")}
        draw()


def draw() -> None:
    """Each picture as the page makes it."""
    import vastnb
    from vastnb.services import practice

    vastnb.use("sandbox", start=START)
    market = vastnb.search("num_gpus<=4", max_requests=20)
    save(vastnb.plot(market), "frontier")
    save(vastnb.plot(vastnb.cheapest_for(market, vram_gb=48, hours=10, disk_gb=200, download_gb=100)), "parts")
    save(vastnb.plot(vastnb.market(by="country")), "supply")
    for _ in range(DAYS * 24 // STEP_HOURS):
        practice.step(f"{STEP_HOURS}h")
        vastnb.search("gpu_name in [RTX_5090,RTX_3090]", refresh=True, max_requests=20)
    save(vastnb.plot(vastnb.history(["RTX 5090", "RTX 3090"], days=DAYS, by="hour")), "history")


def save(axes: Axes, name: str) -> None:
    """A file of the docs."""
    axes.figure.savefig(IMAGES / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main()
