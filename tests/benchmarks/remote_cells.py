"""What work on a machine costs beside the work itself: ``python tests/benchmarks/remote_cells.py``.

The machine is a practice one: sshd and Python on this computer, so there is no distance; a real one adds its round trips and its
line. An empty cell is run through ``%%vast run`` in an IPython shell; a frame of 200 MB is pulled, in turns with scp of as many
bytes over a connection that is kept open as well. `Instance.run` takes turns with a plain ssh, `put` and `get` with a plain rsync,
over that connection too. Medians. The aim for an empty cell is 50 ms.
"""

from __future__ import annotations

import random
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
COMMANDS = 50
COPIES = 7
FILES = 1_000
MOST_BYTES = 8_000
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


def in_turns(times: int, *acts: Callable[[], Any]) -> list[float]:
    """The median seconds of each, which take turns."""
    took = [[seconds(act) for act in acts] for _ in range(times)]
    return [statistics.median(of_one) for of_one in zip(*took, strict=True)]


def commands(machine: Any) -> list[float]:
    """The seconds of an empty command through `Instance.run`, and through ssh."""
    words = [*machine.connect().words(), "true"]
    return in_turns(COMMANDS, lambda: machine.run("true"), lambda: subprocess.run(words, check=True))


def quiet(_progress: Any) -> None:
    """Show nothing."""


def copies(machine: Any, folder: Path) -> dict[str, list[float]]:
    """The seconds of `Instance.put` and `get`, and of rsync, for many small files that are nowhere yet."""
    *ssh, host = machine.connect().words()
    shell, chance = " ".join("'" + word + "'" for word in ssh), random.Random(0)
    for number in range(FILES):
        path = folder / "src" / f"{number % 20}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(MOST_BYTES)))
    machine.put(f"{folder}/src/", "there/", on_progress=quiet)
    new = (str(number) for number in range(10_000))

    def rsync(source: str, to: str) -> None:
        subprocess.run(["rsync", "-rlt", "-e", shell, source, to], check=True)

    return {
        "put": in_turns(
            COPIES,
            lambda: machine.put(f"{folder}/src/", f"{next(new)}/", on_progress=quiet),
            lambda: rsync(f"{folder}/src/", f"{host}:{next(new)}/"),
        ),
        "get": in_turns(
            COPIES,
            lambda: machine.get("there/", f"{folder}/{next(new)}/", on_progress=quiet),
            lambda: rsync(f"{host}:there/", f"{folder}/{next(new)}/"),
        ),
    }


def main() -> None:
    """Measure, and say it."""
    ip = shell()
    vastnb.use("sandbox", offers=100, start="2026-06-01", machines=True)
    machine: Any = vastnb.launch("num_gpus=1", name="work", max_hours=5)
    machine.wait(on_progress=quiet)
    print(f"the first cell: {seconds(lambda: ip.run_cell_magic('vast', 'run work', 'pass')):.2f} s")
    took = cells(ip)
    print(
        f"an empty cell: {statistics.median(took):.1f} ms, 95% within {took[CELLS * 95 // 100]:.1f} ms; aim {AIM_MS} ms"
    )
    ran, plain = commands(machine)
    print(f"an empty command: run {1000 * ran:.0f} ms, ssh {1000 * plain:.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        for way, (ours, theirs) in copies(machine, Path(folder)).items():
            print(f"{FILES:,} small files: {way} {ours:.2f} s, rsync {theirs:.2f} s")
    size, pulled, copied = pulls(machine)
    print(
        f"a frame of {size / 1e6:.0f} MB: pulled in {pulled:.2f} s ({size / 1e6 / pulled:.0f} MB/s), scp {copied:.2f} s"
    )
    machine.end_kernel()
    ip.run_line_magic("vast", "run work --end-kernel")
    machine.destroy()


if __name__ == "__main__":
    main()
