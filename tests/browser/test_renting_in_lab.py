"""Renting as a data scientist sees it: the plan, the wait, the list, the audit, the end, in a real JupyterLab."""

from __future__ import annotations

from typing import Any

import pytest

from . import lab as driving
from .test_completion_in_lab import enter, tab

pytestmark = pytest.mark.browser
OUTPUT = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output"
USE = "%load_ext vastnb\n%vast use sandbox offers=600 seed=3 start=2026-06-01"
LAUNCH = "%vast launch gpu_name=RTX_4090 num_gpus=1 --name lora-7b --max-usd-per-hour 2 --max-hours 3"


def test_a_machine_is_planned_rented_listed_and_ended(notebook: Any) -> None:
    page = notebook(
        [
            USE,
            f"{LAUNCH} --dry-run",
            f"{LAUNCH} --wait",
            "%vast ps",
            "%vast audit",
            f"{LAUNCH}\nimport vastnb; len(vastnb.instances())",
            "%vast destroy lora-7b",
            "%vast audit",
        ]
    )

    said = page.locator(OUTPUT).all_inner_texts()
    whole = "\n".join(said)
    assert driving.errors(page) == []
    assert "nothing was rented" in whole
    assert "destroys itself at 2026-06-01 03:00 UTC" in whole
    assert sum("lora-7b: running after" in text for text in said) == 1  # the line of the wait changed in place
    assert "by itself, 2026-06-01 03:00 UTC" in whole
    assert "1 machine · sandbox: practice, not real" in whole
    assert 'vastnb.instance("lora-7b").destroy()' in whole
    assert any(text.strip() == "1" for text in said)  # the same name again rented nothing
    assert "Nothing costs anything now." in whole
    assert page.locator(f"{OUTPUT} mjx-container, {OUTPUT} .MathJax").count() == 0  # dollars are no formulas
    assert "Together $0.269 an hour, $6.4" in whole
    driving.picture(page, "renting.png", cells=(2, 5))


def test_names_of_machines_are_offered_on_tab(notebook: Any) -> None:
    page = notebook([USE, f"{LAUNCH};", ""])

    assert tab(page, "%vast destroy lo") == ["lora-7b"]
    assert enter(page) == "%vast destroy lora-7b"
    assert page.wishes == []
