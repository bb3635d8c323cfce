"""Cells on a machine as a data scientist sees them in a real JupyterLab: a plot, a frame brought home, an error, a progress bar, an interrupt."""

from __future__ import annotations

from typing import Any

import pytest
from remote_ground import require_programs

from . import lab as driving

pytestmark = pytest.mark.browser
CELL = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell"
USE = "%load_ext vastnb\n%vast use sandbox offers=600 seed=3 start=2026-06-01 machines=true"
LAUNCH = "%vast launch num_gpus=1 --name lora-7b --max-hours 3 --wait"
PLOT = """%%vast run lora-7b --push rate --pull losses
import matplotlib.pyplot as plt, pandas as pd
losses = pd.DataFrame({"step": range(50), "loss": [rate ** n for n in range(50)]})
losses.plot(x="step", y="loss", figsize=(5, 2.5))
plt.show()
losses.head(2)"""
RAISES = """%%vast run lora-7b
def loss(row):
    return 1 / row["weight"]
loss({"weight": 0})"""
BAR = """%%vast run lora-7b
import sys, time
for done in range(101):
    print(f"\\rtrained {done:3}% {'#' * (done // 4)}", end="", file=sys.stderr, flush=True)
    time.sleep(0.01)
print(file=sys.stderr)"""
LONG = """%%vast run lora-7b
import time
kept = "kept"
print("begun")
while True:
    time.sleep(0.1)"""


def run_last(page: Any, source: str) -> Any:
    """Write a cell at the end and run it, without waiting for its end; its place in the page."""
    page.evaluate(
        """async s => { const nb = window.jupyterapp.shell.currentWidget.content;
           nb.activeCellIndex = nb.widgets.length - 1;
           await window.jupyterapp.commands.execute('notebook:insert-cell-below');
           nb.activeCell.model.sharedModel.setSource(s);
           window.jupyterapp.commands.execute('notebook:run-cell'); }""",
        source,
    )
    return page.locator(CELL).last


def test_a_plot_a_frame_an_error_a_progress_bar_and_an_interrupt(notebook: Any) -> None:
    require_programs()
    page = notebook([USE, LAUNCH, "rate = 0.9", PLOT, "losses.tail(1)"])

    assert driving.errors(page) == []
    plot = page.locator(CELL).nth(3)
    assert plot.locator("img[src^='data:image/png']").count() == 1
    assert plot.locator("table").count() == 1
    assert " s, $" in plot.inner_text()
    assert "0.005726" in page.locator(CELL).nth(4).inner_text()  # 0.9 to the 49th, counted there

    failed = run_last(page, RAISES)
    failed.get_by_text("CellError").wait_for()
    said = failed.inner_text()
    assert "ZeroDivisionError: division by zero" in said and "line 2 of the cell" in said
    assert "Traceback" not in said and said.count("\n") < 15

    bar = run_last(page, BAR)
    bar.get_by_text("trained 100%").wait_for()
    bar.get_by_text(" s, $").wait_for()
    assert bar.locator(".jp-OutputArea-output").first.inner_text().split() == ["trained", "100%", "#" * 25]
    saved = page.evaluate("window.jupyterapp.shell.currentWidget.context.model.toJSON().cells.at(-1).outputs")
    assert ["".join(output["text"]).count("trained") for output in saved if output["output_type"] == "stream"] == [1]

    endless = run_last(page, LONG)
    endless.get_by_text("begun", exact=True).wait_for()
    page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    endless.get_by_text("interrupted after").wait_for()
    assert "line 5 of the cell" in endless.inner_text()
    driving.picture(page, "remote-cells.png")

    after = run_last(page, "%%vast run lora-7b\nprint(kept)")
    after.get_by_text("kept", exact=True).first.wait_for()
    after.get_by_text(" s, $").wait_for()
    run_last(page, "%vast destroy lora-7b").get_by_text("for machine").wait_for()
    assert page.wishes == []
