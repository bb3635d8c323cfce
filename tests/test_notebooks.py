"""The tutorials as they are read without a kernel."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"


def widgets(notebook: Any) -> list[Any]:
    return [o.data for cell in notebook.cells for o in cell.get("outputs", ()) if WIDGET in o.get("data", ())]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_exported_page_shows_what_each_widget_held(path: Path) -> None:
    nbconvert = pytest.importorskip("nbconvert")
    notebook = nbformat.read(path, 4)
    page = html.unescape(nbconvert.HTMLExporter().from_notebook_node(notebook)[0])

    shown = widgets(notebook)
    for data in shown:
        words = re.findall("<(?:b|p|td|th)[^>]*>([^<>]{8,})<", html.unescape(data["text/html"]))
        assert words
        assert all(said in page for said in words)
        assert data["text/plain"].strip()


def test_the_first_three_tutorials_show_widgets() -> None:
    assert all(widgets(nbformat.read(path, 4)) for path in NOTEBOOKS[:3])
