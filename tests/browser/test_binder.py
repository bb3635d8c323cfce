"""What Binder builds, as near as that goes without containers: the pins of its base, the same steps, the server, the browser.

``python -m pytest -m campaign tests/browser/test_binder.py`` takes some three minutes and asks the package index: the pins are
read from the wheel of ``jupyter-repo2docker``, which is what Binder runs.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from remote_ground import require_programs

from . import lab as driving

ROOT = Path(__file__).parents[2]
LOCK = "repo2docker/buildpacks/conda/environment.py-{}-linux-64.lock"
PINNED = (
    "ipykernel",
    "ipython",
    "ipywidgets",
    "jupyter_client",
    "jupyter_server",
    "jupyterhub-base",
    "jupyterlab",
    "notebook",
)


def python_of_binder() -> str:
    """The version that ``runtime.txt`` names; without it Binder takes an older one."""
    named = re.fullmatch(r"python-(3\.\d+)", (ROOT / "binder/runtime.txt").read_text("utf-8").strip())
    assert named is not None
    return named[1]


def pins(wheel: Path) -> list[str]:
    """What Binder's base brings of Jupyter, as pip names it."""
    lock = zipfile.ZipFile(wheel).read(LOCK.format(python_of_binder())).decode()
    found = {name: re.search(rf"/{name}-(\d[\w.]*)-[^/]*\.conda", lock) for name in PINNED}
    return [f"{name.removesuffix('-base')}=={version[1]}" for name, version in found.items() if version]


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run_and_check(page: Any) -> None:
    """Run the notebook in front from top to bottom; its last cell checks it."""
    driving.run_all(page)

    shown = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output", has_text="All as it should be.")
    assert shown.count() == 1


def test_binder_takes_a_python_that_the_package_supports() -> None:
    least = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"].removeprefix(">=")

    assert tuple(map(int, python_of_binder().split("."))) >= tuple(map(int, least.split(".")))
    assert os.access(ROOT / "binder/postBuild", os.X_OK)


@pytest.mark.campaign
def test_what_binder_builds_opens_on_notebook_01_and_runs_the_first_and_the_last(
    new_page: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_programs()  # apt.txt brings them there
    repo, environment, pip = tmp_path / "repo", tmp_path / "environment", [tmp_path / "environment/bin/pip", "-q"]
    repo.mkdir()
    subprocess.run(f"git archive HEAD | tar -x -C {repo}", shell=True, cwd=ROOT, check=True)
    venv.create(environment, with_pip=True)
    subprocess.run([*pip, "download", "--no-deps", "-d", tmp_path, "jupyter-repo2docker"], check=True)
    base = pins(next(tmp_path.glob("jupyter_repo2docker-*.whl")))
    assert len(base) == len(PINNED)

    subprocess.run([*pip, "install", *base], check=True)
    subprocess.run([*pip, "install", "-r", "binder/requirements.txt"], cwd=repo, check=True)
    kept = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    monkeypatch.setenv("PATH", f"{environment / 'bin'}:{os.environ['PATH']}")
    start = f"binder/postBuild && exec jupyter lab --allow-root --port={free_port()}"  # Binder's server cannot say which it took
    with driving.Lab(repo, ["bash", "-c", start]) as lab:
        page = new_page()
        page.goto(f"{lab.url}?token={lab.token}", wait_until="domcontentloaded")
        page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook").wait_for(timeout=60_000)
        page.wait_for_function(driving.KERNEL_READY, timeout=60_000, polling=50)
        assert page.url.endswith("/lab/tree/notebooks/01-search-the-market.ipynb")
        run_and_check(page)
        driving.open_notebook(page, "notebooks/07-train-somewhere-else.ipynb")
        run_and_check(page)

        assert (page.wishes, page.dialogs) == ([], [])
        page.context.close()
    assert [pin for pin in base if pin.replace("_", "-") not in kept.replace("_", "-")] == []
