"""``python -m tests.versions lowest|httpx2``: the unit tests with other versions of what the package stands on.

``lowest``
    The lowest version of every dependency that pyproject.toml allows, extras for users included; what only tests need is new.
``httpx2``
    The maintained fork of httpx in its place: the one import is changed in a copy. It may fail, and then says what would.

A fresh environment each; it asks the package index, and takes some ten minutes. More words go to pytest instead of the whole
suite: ``python -m tests.versions lowest tests/test_query.py``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("lab", "history", "dask", "redis", "plots")
UNIT = ["-q", "-n", "2", "--dist", "loadfile", "-m", "not campaign and not live and not browser", "tests"]
UNNEEDED = ("mypy", "pandas-stubs", "types-requests", "ruff")


def main(words: list[str]) -> int:
    """Make the environment, run the tests, return pytest's exit status."""
    if words[:1] not in (["lowest"], ["httpx2"]):
        print(__doc__)
        return 2
    pins, tools = bounds()
    with tempfile.TemporaryDirectory(prefix="vastnb-versions-") as folder:
        copy, python = Path(folder, "copy"), str(Path(folder, "environment/bin/python"))
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".*_cache", "__pycache__", ".hypothesis", "_build", "dist")
        )
        wanted = pins if words[0] == "lowest" else [*(pin.replace("==", ">=") for pin in pins), with_fork(copy)]
        venv.create(Path(folder, "environment"), with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted, *tools], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "-e", "."], cwd=copy, check=True)
        subprocess.run([python, "-m", "pip", "freeze", "--exclude-editable"], check=True)
        return subprocess.run([python, "-m", "pytest", *(words[1:] or UNIT)], cwd=copy, check=False).returncode


def bounds() -> tuple[list[str], list[str]]:
    """The lowest versions as pins, and what else the tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    ours = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    pins = {named(line): re.sub(r">=([\d.]+).*", r"==\1", line) for line in ours}
    return sorted(pins.values()), [line for line in extras["test"] if named(line) not in {*pins, *UNNEEDED}]


def named(requirement: str) -> str:
    """The package that a requirement is about."""
    return re.split(r"[<>=]", requirement)[0]


def with_fork(copy: Path) -> str:
    """Change the one import in a copy of the repository; the package that it needs."""
    module = copy / "vastnb/infra/_httpx.py"
    changed, count = re.subn(
        r"^import httpx\b.*$", "import httpx2 as httpx", module.read_text("utf-8"), flags=re.MULTILINE
    )
    assert count == 1, "httpx is imported in one line"
    module.write_text(changed, "utf-8")
    return "httpx2"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
