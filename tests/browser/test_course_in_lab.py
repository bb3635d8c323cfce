"""The course as a learner takes it: each notebook in JupyterLab, run from top to bottom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import lab as driving

pytestmark = pytest.mark.browser
COURSE = sorted((Path(__file__).parents[2] / "notebooks").glob("0*.ipynb"))
PICTURES = {
    "01-search-the-market": "selector = vastnb.OfferSelector(",
    "02-rent-a-machine": "panel = vastnb.LaunchPanel(",
    "03-what-am-i-paying-for": "fleet = vastnb.FleetPanel()",
    "04-what-would-my-training-run-cost": "picture = vastnb.plot(market)",
    "05-when-are-gpus-cheap": "picture = vastnb.plot(usual)",
    "06-let-the-machine-tell-you": "handlers.rebid(",
    "07-train-somewhere-else": "%%vast run training --pull curve",
}
"""Of each notebook, the cell that stands for it in docs/course.md."""


def blank(notebook: Path, copy: Path) -> int:
    """A copy as it was before it ever ran, so that what is shown then is of this run; how many of its cells are to fail."""
    book = json.loads(notebook.read_text("utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        cell.update(outputs=[], execution_count=None)
    copy.write_text(json.dumps(book), "utf-8")
    return sum("raises-exception" in cell["metadata"].get("tags", ()) for cell in cells)


@pytest.mark.parametrize("notebook", COURSE, ids=lambda path: path.stem)
def test_a_notebook_of_the_course_runs_and_checks_itself(lab_page: Any, notebook: Path) -> None:
    failing = blank(notebook, lab_page.root / notebook.name)
    driving.open_notebook(lab_page, notebook.name)
    driving.run_all(lab_page)

    shown = lab_page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    assert shown.locator(".jp-OutputArea-output", has_text="All as it should be.").count() == 1
    assert len(driving.errors(lab_page)) == failing
    assert lab_page.wishes == []
    driving.close_up(lab_page, PICTURES[notebook.stem], f"course-{notebook.stem}.png")
    driving.close_notebook(lab_page)
