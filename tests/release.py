"""``python -m tests.release``: whether this version may go out. It asks the package index, and takes some four minutes.

1. Everything is committed, and the changelog gives this version a date (``--draft`` lets both pass).
2. Wheel and source archive are built into ``dist``; the archive builds the same wheel.
3. The wheel, with its extra ``lab``, in an environment and a home folder that are empty: its version, the folder of
   ``vastnb init`` with its test, and the course, outputs compared.
4. After ``pip uninstall`` nothing of it is left but what the user made and what killed kernels leave, at the places that
   docs/SETUP.md names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
STARTED = time.perf_counter()
OTHERS = (
    ".cache/fontconfig",
    ".cache/matplotlib",
    ".cache/pip",
    ".config/matplotlib",
    ".ipython",
    ".jupyter",
    ".local/share/jupyter",
    ".rustup",
)
"""What pip, Jupyter and matplotlib leave in a home folder; pip asks a Rust that is there for its version."""

PYTESTS = f"-pytest-{pytest.__version__}.pyc"
"""The end of names under which pytest keeps its own compiled copies of plugins; pip does not know them."""


def main(words: list[str]) -> int:
    """Take the four steps; the exit status says whether all of them went well."""
    if set(words) - {"--draft"}:
        print(__doc__)
        return 2
    with tempfile.TemporaryDirectory(prefix="vastnb-release-") as folder:
        there = Path(folder)
        complaints = [] if words else unready()
        say("built", wheel := built(there))
        complaints += tried(wheel, there)
    print(*(f"NOT YET: {complaint}" for complaint in complaints), sep="\n", end="\n" if complaints else "")
    say("it may go out" if not complaints else "it may not go out", DIST)
    return min(len(complaints), 1)


def say(what: str, which: object) -> None:
    """A line at once, with the time since the beginning."""
    print(f"{time.perf_counter() - STARTED:5.0f} s  {what}: {which}", flush=True)


def unready() -> list[str]:
    """What in the repository speaks against a release."""
    changes = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    version = re.search(r'__version__ = "(.+)"', (ROOT / "vastnb/version.py").read_text("utf-8"))
    assert version is not None
    dated = re.search(
        rf"^## {re.escape(version[1])} \(\d{{4}}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    found = ["there are changes that are not committed"] if changes else []
    return found if dated else [*found, f"CHANGELOG.md gives {version[1]} no date"]


def built(there: Path) -> Path:
    """The wheel in ``dist``, the source archive beside it; the archive must build the same."""
    for old in (*DIST.glob("vastnb-*.whl"), *DIST.glob("vastnb-*.tar.gz")):
        old.unlink()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", DIST], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    with tarfile.open(next(DIST.glob("vastnb-*.tar.gz"))) as archive:
        archive.extractall(there, filter="data")
    source = next(there.glob("vastnb-*"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(there / "again")]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    wheel = next(DIST.glob("vastnb-*.whl"))
    assert held(wheel) == held(next((there / "again").glob("*.whl"))), "the source archive builds another wheel"
    return wheel


def held(wheel: Path) -> dict[str, int]:
    """The files of a wheel, and their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def tried(wheel: Path, there: Path) -> list[str]:
    """What went wrong with the wheel in an empty environment."""
    environment, home, passing = there / "environment", there / "home", there / "tmp"
    home.mkdir()
    passing.mkdir()
    venv.create(environment, with_pip=True)
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("VAST", "XDG_", "JUPYTER", "PYTHON"))
    }
    env |= {"HOME": str(home), "TMPDIR": str(passing), "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}

    def run(*words: object) -> bool:
        done = subprocess.run(
            [str(word) for word in words], cwd=home, env=env, capture_output=True, text=True, check=False
        )
        say(
            "ok" if done.returncode == 0 else f"failed: {done.stdout[-2000:]}{done.stderr[-2000:]}",
            " ".join(map(str, words)),
        )
        return done.returncode == 0

    course = next((environment / "lib").glob("python*")) / "site-packages/vastnb/notebooks"
    steps: list[tuple[object, ...]] = [
        ("pip", "install", "-q", f"{wheel}[lab]"),
        ("vastnb", "--version"),
        ("vastnb", "init", "project"),
        ("pip", "install", "-q", "nbval"),
        ("python", "-m", "pytest", "-q", "project"),
        ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", course),
        ("pip", "uninstall", "-q", "-y", "vastnb"),
    ]
    failed = [f"{step[0]} {step[1]} failed" for step in steps if not run(*step)]
    return [*failed, *left_behind(environment, home), *left_in(passing)]


def left_in(passing: Path) -> list[str]:
    """What is still in the folder for temporary files, and is not what docs/SETUP.md tells of: nbval kills its kernels."""
    told = re.findall(r"`/tmp/([^`]+)`", (ROOT / "docs/SETUP.md").read_text("utf-8"))
    told += ["tmp*"]  # a tutorial makes a folder of its own
    names = sorted(path.name for path in passing.iterdir())
    say("in the folder for temporary files", ", ".join(names))
    return [f"left behind: {name}" for name in names if not any(map(partial(fnmatch, name), told))]


def left_behind(environment: Path, home: Path) -> list[str]:
    """Files that are still there, and that no page tells of."""
    there = (path for path in environment.rglob("*") if path.is_file() and not path.name.endswith(PYTESTS))
    ours = [path for path in there if "vastnb" in path.relative_to(environment).as_posix().lower()]
    told = re.findall(r"`~/([\w./-]+)`", (ROOT / "docs/SETUP.md").read_text("utf-8"))
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    kept = [name for name in files if not name.startswith((*OTHERS, *told, "project/"))]
    say("in the home folder", ", ".join(sorted({"/".join(name.split("/")[:3]) for name in files})))
    return [f"left behind: {path}" for path in (*ours, *kept)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
