"""Tab in a real JupyterLab: what the popup offers, and what Enter inserts."""

from __future__ import annotations

from typing import Any

import pytest

from vastnb.vast.query import GPU_NAMES

from . import lab as driving

pytestmark = pytest.mark.browser
POPUP = ".jp-Completer:not(.lm-mod-hidden)"
CELL = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell"
LOAD = "%load_ext vastnb"
PROFILES = ["sandbox", "development", "staging", "production"]


def tab(page: Any, text: str) -> list[str]:
    """Type `text` into the last cell of the notebook, press Tab, and read the popup."""
    editor = page.locator(f"{CELL} .cm-content").last
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    for number, line in enumerate(text.split("\n")):
        if number:
            page.keyboard.press("Enter")
        page.keyboard.type(line)
    page.keyboard.press("Tab")
    popup = page.locator(POPUP)
    popup.wait_for(timeout=10_000)
    return popup.locator(".jp-Completer-match").all_inner_texts()


def enter(page: Any) -> str:
    """Take what is chosen; what the cell says then."""
    page.keyboard.press("Enter")
    page.locator(POPUP).wait_for(state="hidden")
    return str(page.locator(f"{CELL} .cm-content").last.inner_text())


def test_words_fields_models_and_profiles_are_offered_on_tab(notebook: Any) -> None:
    page = notebook([LOAD, ""])

    assert tab(page, "%vast sea") == ["search"]
    assert enter(page) == "%vast search"
    assert tab(page, "df = %vast search geo") == ["geolocation="]
    assert enter(page) == "df = %vast search geolocation="
    assert tab(page, "%vast use ")[:4] == PROFILES  # JupyterLab adds the words of the cell where nothing is typed yet
    assert enter(page) == "%vast use sandbox"
    assert tab(page, "%%vast search\nnum_gpus>=2   # a pair\ngpu_name=H100") == ["H100_NVL", "H100_PCIE", "H100_SXM"]
    assert enter(page).endswith("\ngpu_name=H100_NVL")
    assert page.wishes == []


def test_models_are_offered_by_a_part_of_their_name_and_countries_by_theirs(notebook: Any) -> None:
    page = notebook([LOAD, ""])
    models = [name.replace(" ", "_") for name in GPU_NAMES if name.startswith("RTX 4")]

    assert sorted(tab(page, "%vast search gpu_name=RTX_4")) == sorted(models)
    cell = page.locator(CELL).last.bounding_box()
    popup = page.locator(POPUP).bounding_box()
    clip = {
        "x": cell["x"],
        "y": cell["y"] - 40,
        "width": 720,
        "height": popup["y"] + popup["height"] + 20 - cell["y"] + 40,
    }
    driving.picture(page, "completion.png", clip=clip)
    page.keyboard.press("Escape")

    assert tab(page, "%vast search gpu_name in [H100_SXM, rtx_4090") == ["RTX_4090", "RTX_4090D"]
    assert enter(page) == "%vast search gpu_name in [H100_SXM, RTX_4090"
    assert tab(page, "%vast search gpu_name=4090") == ["RTX_4090", "RTX_4090D"]
    page.keyboard.press("Escape")
    assert tab(page, "%vast search country=ger") == ["DE"]
    assert driving.errors(page) == []
