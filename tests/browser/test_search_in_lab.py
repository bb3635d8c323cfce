"""What a data scientist sees: a real JupyterLab, a real browser, the sandbox."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import lab as driving

pytestmark = pytest.mark.browser
TABLE = ".jp-NotebookPanel:not(.lm-mod-hidden) .vastnb-frame"
USE = "%load_ext vastnb\n%vast use sandbox offers=600 seed=3 start=2026-06-01"


def test_the_run_command_ends_in_notebook_01_and_it_runs(new_page: Callable[[], Any], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vastnb", "lab", "--no-browser"]
    with driving.Lab(tmp_path, command) as lab:
        page = new_page()
        page.goto(f"{lab.url}lab/tree/01-search-the-market.ipynb?token={lab.token}", wait_until="domcontentloaded")
        page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook").wait_for(timeout=60_000)
        page.wait_for_function(driving.KERNEL_READY, timeout=60_000, polling=50)
        driving.run_all(page)

        assert page.locator(TABLE).count() >= 7
        assert [e.splitlines()[0] for e in driving.errors(page)] == ["QueryError: no such field: gpu_nme"]
        assert page.locator(".jp-OutputArea-output", has_text="All as it should be.").count() == 1
        assert (page.wishes, page.dialogs) == ([], [])
        driving.picture(page, "lab.png")
        driving.picture(page, "search.png", cells=(1, 4))
        page.context.close()


def test_a_frame_is_a_tidy_table_with_numbers_to_the_right_and_words_to_the_left(notebook: Any) -> None:
    page = notebook([USE, "df = %vast search gpu_name=RTX_4090 num_gpus>=2 --limit 5\ndf"])

    table = page.locator(TABLE).first
    assert table.locator("tbody tr").count() == 5
    heads = table.locator("th").all_inner_texts()
    assert heads[:5] == ["Offer", "GPU", "GPUs", "VRAM\nGB", "Price\n$/h"]
    aligned = [
        table.locator("tbody tr").first.locator("td").nth(i).evaluate("e => getComputedStyle(e).textAlign")
        for i in (0, 1, 4)
    ]
    assert aligned == ["right", "left", "right"]
    assert "sandbox: practice, not real" in table.locator("p").first.inner_text()
    width, room = table.locator("table").bounding_box()["width"], table.bounding_box()["width"]
    assert width <= room


def test_a_foreign_frame_keeps_its_own_look(notebook: Any) -> None:
    page = notebook([USE, "import pandas as pd\npd.DataFrame({'a': [1, 2]})"])

    assert page.locator(TABLE).count() == 0
    assert page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) table.dataframe tbody th").all_inner_texts() == [
        "0",
        "1",
    ]


def test_what_a_host_wrote_does_not_run(notebook: Any) -> None:
    page = notebook(
        [
            USE,
            (
                "import vastnb\nbox = vastnb.services.session.current().sandbox\nbox.faults.add('hostile')\n"
                "df = vastnb.search(defaults=False, limit=20)\ndf"
            ),
            "df[['gpu_name', 'geolocation']].head(2).map(len).sum().sum()",
        ]
    )

    shown = page.locator(TABLE).inner_text()
    assert "<script>alert('gpu')</script>" in shown
    assert page.dialogs == []
    assert page.locator(f"{TABLE} script, {TABLE} img, {TABLE} h1").count() == 0


def test_an_error_is_one_line_and_a_hint(notebook: Any) -> None:
    page = notebook([USE, "%vast search gpu_nme=RTX_4090"])

    (shown,) = driving.errors(page)
    assert shown.splitlines() == [
        "QueryError: no such field: gpu_nme",
        "  gpu_nme=RTX_4090",
        "  ^",
        "  → did you mean gpu_name?",
    ]


def test_an_empty_answer_explains_itself(notebook: Any) -> None:
    page = notebook([USE, "%vast search gpu_name=RTX_4090 dph<0.01"])

    assert "dph<0.01: removes" in page.locator(f"{TABLE} .vastnb-note").last.inner_text()
