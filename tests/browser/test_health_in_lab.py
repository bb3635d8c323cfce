"""The health panel as it is used, in a real JupyterLab on the sandbox: it looks by itself, finds what breaks, and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from . import lab as driving
from .test_selector_in_lab import FAULT, PANEL, kernel

pytestmark = pytest.mark.browser
HEALTH = f"{PANEL} .vastnb"
USE = "import vastnb\n_ = vastnb.use('sandbox', offers=300, seed=3, start='2026-06-01T09:00', timeout_s=300)"
RENT = """df = vastnb.search("gpu_name=RTX_4090 num_gpus=1")
machine = vastnb.launch(df.iloc[0], name="lora-7b", max_hours=3)
_ = machine.wait(on_progress=lambda progress: None)"""


def test_it_looks_by_itself_and_again_when_asked(notebook: Callable[[list[str]], Any]) -> None:
    page = notebook([USE, "panel = vastnb.HealthPanel()\npanel"])
    page.locator(f"{HEALTH} .vastnb-is-healthy").wait_for()
    assert driving.errors(page) == []
    assert page.locator(f"{HEALTH} tbody tr").count() == len(kernel(page, "[c.name for c in panel.report.checks]"))
    driving.portrait(page, HEALTH, "health-healthy")

    kernel(page, FAULT.format("auth-404"))
    page.get_by_role("button", name="Check again").focus()
    page.keyboard.press("Enter")
    page.locator(f"{HEALTH} .vastnb-is-unhealthy").wait_for()

    first = page.locator(f"{HEALTH} tbody tr").first
    assert first.locator("td, th").all_inner_texts()[:2] == ["✗fail", "key"]
    assert "make a new one in Vast's console" in first.locator(".vastnb-remedy").inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Check again"
    assert kernel(page, "panel.report.word") == "unhealthy"
    kept = "() => window.jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.get(0).data['text/plain'].startsWith('unhealthy: ')"
    page.locator(f"{PANEL} .jp-Cell .cm-content").first.click()
    page.wait_for_function(kept)
    driving.portrait(page, HEALTH, "health-unhealthy")

    page.set_viewport_size({"width": 740, "height": 1700})
    page.wait_for_function(f"() => document.querySelector('{HEALTH}').clientWidth < 500")
    room = page.locator(HEALTH).evaluate("root => [root.scrollWidth, root.clientWidth]")
    assert room[0] <= room[1]
    driving.portrait(page, HEALTH, "health-narrow")
    page.set_viewport_size({"width": 1280, "height": 1300})
    kernel(page, "vastnb.services.session.current().sandbox.faults.clear()")
    page.get_by_role("button", name="Check again").click()
    page.locator(f"{HEALTH} .vastnb-is-healthy").wait_for()
    assert (page.wishes, page.dialogs) == ([], [])


def test_a_machine_that_goes_offline_is_unhealthy_and_says_what_to_do(notebook: Callable[[list[str]], Any]) -> None:
    page = notebook([USE, RENT, "panel = vastnb.HealthPanel(machine)\npanel"])
    page.locator(f"{HEALTH} .vastnb-is-healthy").wait_for()
    assert driving.errors(page) == []
    driving.portrait(page, HEALTH, "health-machine")

    kernel(page, "vastnb.services.session.current().sandbox.offline(machine.id)")
    kernel(page, "vastnb.services.session.current().sandbox.faults.add('slow', seconds=2)")
    page.get_by_role("button", name="Check again").click()
    page.get_by_text("Checking…").wait_for()
    assert kernel(page, "6 * 7") == 42
    page.locator(f"{HEALTH} .vastnb-is-unhealthy").wait_for()

    assert "its host is gone" in page.locator(f"{HEALTH} .vastnb-remedy").first.inner_text()
    driving.portrait(page, HEALTH, "health-offline")


def test_an_error_is_shown_in_the_panel(notebook: Callable[[list[str]], Any]) -> None:
    page = notebook([USE, "panel = vastnb.HealthPanel('nobody')\npanel"])

    page.locator(f"{HEALTH} .vastnb-error", has_text="NotFoundError: there is no machine nobody").wait_for()

    assert page.locator(f"{HEALTH} tbody tr").count() == 0
    driving.portrait(page, HEALTH, "health-error")
