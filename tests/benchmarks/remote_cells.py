"""What a cell on a machine costs beside its own work: ``python tests/benchmarks/remote_cells.py``.

The machine is a practice one: sshd and Python on this computer, so there is no distance; a real one adds its round trips and its
line. An empty cell is run through ``%%vast run`` in an IPython shell; a frame of 200 MB is pulled, in turns with scp of as many
bytes over a connection that is kept open as well. Medians. The aim for an empty cell is 50 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import vastnb

CELLS = 200
PULLS = 7
AIM_MS = 50
MAKE = "import numpy as np, pandas as pd\nframe = pd.DataFrame(np.random.default_rng(0).random((2_500_000, 10)))"


def seconds(act: Callable[[], Any]) -> float:
    """How long `act` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def shell() -> Any:
    """A notebook's IPython, without its display."""
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell.instance(config=config)
    made.run_line_magic("load_ext", "vastnb")
    return made


def cells(ip: Any) -> list[float]:
    """Milliseconds of empty cells."""
    return sorted(1000 * seconds(lambda: ip.run_cell_magic("vast", "run work", "pass\n")) for _ in range(CELLS))


def scp(machine: Any, source: str) -> None:
    """Copy a file of the machine's home, as the user's own scp would."""
    _, *options, host = machine.connect().words()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["scp", "-q", *options, f"{host}:{source}", str(Path(folder, "copied"))], check=True)


def pulls(machine: Any) -> tuple[int, float, float]:
    """The bytes of a frame, and the seconds of a pull and of scp."""
    machine.cell(MAKE)
    size = machine.cell("", pull=["frame"]).pulled_bytes
    machine.run(f"head -c {size} /dev/urandom >bytes")
    pulled, copied = [], []
    for _ in range(PULLS):
        pulled.append(seconds(lambda: machine.cell("", pull=["frame"])))
        copied.append(seconds(lambda: scp(machine, "bytes")))
    return size, statistics.median(pulled), statistics.median(copied)


def main() -> None:
    """Measure, and say it."""
    ip = shell()
    vastnb.use("sandbox", offers=100, start="2026-06-01", machines=True)
    machine: Any = vastnb.launch("num_gpus=1", name="work", max_hours=5)
    machine.wait()
    print(f"the first cell: {seconds(lambda: ip.run_cell_magic('vast', 'run work', 'pass')):.2f} s")
    took = cells(ip)
    print(
        f"an empty cell: {statistics.median(took):.1f} ms, 95% within {took[CELLS * 95 // 100]:.1f} ms; aim {AIM_MS} ms"
    )
    size, pulled, copied = pulls(machine)
    print(
        f"a frame of {size / 1e6:.0f} MB: pulled in {pulled:.2f} s ({size / 1e6 / pulled:.0f} MB/s), scp {copied:.2f} s"
    )
    machine.end_kernel()
    ip.run_line_magic("vast", "run work --end-kernel")
    machine.destroy()


if __name__ == "__main__":
    main()
