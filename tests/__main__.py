"""``python -m tests``: everything that must be green, in order, until the first step that is not.

``python -m tests lint unit`` runs some steps, ``python -m tests --list`` names them. The exit status is that of the step that
failed. Doctests are part of ``unit`` (`test_doctests`); notebooks and browser tests have a process of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PYTEST = ["-m", "pytest", "-q"]

SPREAD = [*PYTEST, "--dist", "loadfile", "-n"]
"""So many processes follow. Many tests wait, so that two cores have enough for three; each process has its own JupyterLab."""
SITE = ["-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"]
STEPS: dict[str, list[str]] = {
    "format": ["-m", "ruff", "format", "--check"],
    "lint": ["-m", "ruff", "check"],
    "types": ["-m", "mypy"],
    "imports": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    "unit": [*SPREAD, "3", "-m", "not campaign and not live and not browser", "tests"],
    "notebooks": [*PYTEST, "-p", "no:cacheprovider", "--nbval", "notebooks"],
    "browser": [*SPREAD, "2", "-m", "browser", "tests/browser"],
    "pages": ["docs/generate.py", "--check"],
    "site": SITE,
}
"""Each step, and what this Python is given for it."""


def main(words: list[str]) -> int:
    """Run the steps named by `words`, or all."""
    unknown = [word for word in words if word not in STEPS]
    if unknown:
        print("steps:", *STEPS)
        return 0 if unknown == ["--list"] else 2
    started = time.perf_counter()
    for step in words or STEPS:
        status = run(step)
        if status:
            print(f"FAILED: {step}; again with: python -m tests {step}", flush=True)
            return status
    print(f"All green in {time.perf_counter() - started:.0f} s.", flush=True)
    return 0


def run(step: str) -> int:
    """Run one step, say how long it took, return its exit status."""
    reason = missing(step)
    if reason:
        print(f"== {step}: {reason}", flush=True)
        return 1 if os.environ.get("CI") == "true" else 0
    print(f"== {step}", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="vastnb-tests-") as home:
        status = subprocess.call([sys.executable, *arguments(step)], cwd=ROOT, env=environment(Path(home)))
    print(f"== {step}: {'ok' if status == 0 else 'failed'}, {time.perf_counter() - started:.0f} s", flush=True)
    return status


def missing(step: str) -> str:
    """Why a step cannot run on this computer, or nothing."""
    if step == "browser" and not any(map(shutil.which, BROWSERS)):
        return "skipped, there is no Chromium (apt-get install chromium fonts-noto-color-emoji)"
    return ""


def arguments(step: str) -> list[str]:
    """What Python is given for a step."""
    sanitize = Path("tests", "nbval_sanitize.cfg")
    if step == "notebooks" and (ROOT / sanitize).exists():
        return [*STEPS[step], "--nbval-sanitize-with", str(sanitize)]
    return STEPS[step]


def environment(home: Path) -> dict[str, str]:
    """Without the caller's keys and settings: kernels that a step starts must not see them either."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VAST") or "_TEST_" in name}
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "STATE", "DATA")}
    return kept | folders | {"IPYTHONDIR": str(home / "ipython"), "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
