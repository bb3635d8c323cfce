"""``python -m tests.browser.kernels [7.0.1 ...]``: the browser flows once on each ipykernel that hands callbacks out in its own way.

7.0 runs them on the kernel's main thread, 7.3 in threads of subshells beside a running cell, 7.4 on the main thread again, also
while a cell awaits. Each gets a fresh environment, with the JupyterLab of its time. Some ten minutes on 2 cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = {
    "7.0.1": ("ipykernel==7.0.1", "jupyterlab==4.4.9", "ipywidgets==8.1.7"),
    "7.3.0": ("ipykernel==7.3.0",),
    "7.4.0": ("ipykernel==7.4.0",),
}


def main(wanted: list[str]) -> int:
    """Run the flows on the kernels named, or on all; how many failed."""
    unknown = set(wanted) - set(KERNELS)
    if unknown:
        print("kernels:", *KERNELS)
        return 2
    failed = [version for version in wanted or KERNELS if not passes(version)]
    print("failed on:", *failed) if failed else print("green on all")
    return len(failed)


def passes(version: str) -> bool:
    """Whether the flows pass on this kernel."""
    print(f"== ipykernel {version}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vastnb-kernel-") as folder:
        python = Path(folder, "bin", "python")
        venv.create(folder, with_pip=True)
        pins = KERNELS[version]
        subprocess.run([python, "-m", "pip", "install", "-q", "-e", ".[lab,docs,test]", *pins], cwd=ROOT, check=True)
        return subprocess.run([python, "-m", "tests", "browser"], cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
