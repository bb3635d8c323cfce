"""The course as a learner takes it: each notebook in JupyterLab, run from top to bottom; 01 is started by `vastnb lab` elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import lab as driving

pytestmark = pytest.mark.browser
COURSE = sorted((Path(__file__).parents[2] / "notebooks").glob("0[2-9]-*.ipynb"))


def blank(notebook: Path, copy: Path) -> None:
    """A copy as it was before it ever ran: what is shown then is of this run."""
    cells = json.loads(notebook.read_text("utf-8"))
    for cell in cells["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    copy.write_text(json.dumps(cells), "utf-8")


@pytest.mark.parametrize("notebook", COURSE, ids=lambda path: path.stem)
def test_a_notebook_of_the_course_runs_and_checks_itself(lab_page: Any, notebook: Path) -> None:
    blank(notebook, lab_page.root / notebook.name)
    driving.open_notebook(lab_page, notebook.name)
    driving.run_all(lab_page)

    shown = lab_page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    assert shown.locator(".jp-OutputArea-output", has_text="All as it should be.").count() == 1
    assert driving.errors(lab_page) == []
    assert lab_page.wishes == []
    driving.picture(lab_page, f"course-{notebook.stem}.png")
    driving.close_notebook(lab_page)
