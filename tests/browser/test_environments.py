"""Other places than JupyterLab: Notebook 7, marimo, plain IPython and papermill, as their newest versions install today.

``python -m pytest -m campaign tests/browser/test_environments.py`` takes some three minutes and asks the package index. What
it shows is the table of docs/environments.md.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import lab as driving
from .test_binder import ROOT, free_port

pytestmark = pytest.mark.campaign
CELLS = [
    "%load_ext vastnb\n%vast use sandbox start=2026-06-01T09:00",
    "%vast search gpu_name=RTX_4090 num_gpus>=2 dph<0.8",
    "import vastnb\nvastnb.OfferSelector('gpu_name=RTX_4090 num_gpus>=2')",
    "vastnb.launch('gpu_name=RTX_4090 num_gpus=1', name='a', max_hours=1).wait()",
]
MARIMO = """import marimo
app = marimo.App()

@app.cell
def _():
    import vastnb
    vastnb.use("sandbox", start="2026-06-01T09:00")
    return (vastnb,)

@app.cell
def _(vastnb):
    vastnb.launch("gpu_name=RTX_4090 num_gpus=1", name="a", max_hours=1).wait()

@app.cell
def _(vastnb):
    vastnb.OfferSelector("gpu_name=RTX_4090 num_gpus>=2")
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has them all."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    wanted = ["-q", f"{ROOT}[lab]", "notebook", "marimo", "papermill"]
    subprocess.run([folder / "bin/pip", "install", *wanted], check=True)
    return folder / "bin"


@pytest.fixture
def path(programs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`programs`, found first."""
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs


def test_notebook_7_draws_tables_and_widgets(new_page: Callable[[], Any], path: Path, tmp_path: Path) -> None:
    import nbformat

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, tmp_path / "try.ipynb")
    with driving.Lab(tmp_path, ["jupyter", "notebook", "--allow-root", "--expose-app-in-browser"]) as lab:
        page = new_page()
        page.goto(f"{lab.url}notebooks/try.ipynb?token={lab.token}", wait_until="domcontentloaded")
        page.wait_for_function(driving.KERNEL_READY, timeout=60_000, polling=50)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.get_by_text("43 offers", exact=True).wait_for(timeout=60_000)
        page.get_by_text("a: machine 800000001, running").wait_for(timeout=60_000)

        assert page.locator(".vastnb-frame").first.locator("tbody tr").count() == 8
        assert page.wishes == []
        page.context.close()


def test_marimo_draws_cards_and_widgets(new_page: Callable[[], Any], path: Path, tmp_path: Path) -> None:
    (tmp_path / "try.py").write_text(MARIMO)
    port = free_port()
    command = ["marimo", "run", "try.py", "--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            answering(f"http://127.0.0.1:{port}/health")
            page = new_page()
            page.goto(f"http://127.0.0.1:{port}/", wait_until="domcontentloaded")
            page.get_by_text("a: machine 800000001, running").wait_for(timeout=60_000)
            page.get_by_text("43 offers", exact=True).wait_for(timeout=60_000)
            page.context.close()
        finally:
            server.terminate()


def answering(url: str) -> None:
    """Wait until a server is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


def test_plain_ipython_shows_text(path: Path) -> None:
    done = subprocess.run(
        ["ipython", "--no-banner", "--colors=nocolor"],
        input="\n".join(CELLS),
        capture_output=True,
        text=True,
        check=True,
    )

    for shown in (
        "8 offers, all verified",
        "OfferSelector: gpu_name=RTX_4090 num_gpus>=2",
        "a: machine 800000001, running",
    ):
        assert shown in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_papermill_runs_a_tutorial(path: Path, tmp_path: Path) -> None:
    course = ROOT / "notebooks/03-what-am-i-paying-for.ipynb"

    subprocess.run(["papermill", "--no-progress-bar", course, tmp_path / "out.ipynb"], check=True, capture_output=True)

    assert "All as it should be." in (tmp_path / "out.ipynb").read_text("utf-8")
