"""The launch panel as it is used: from an empty cell to a running machine and its end, in a real JupyterLab on the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from . import lab as driving
from .test_selector_in_lab import kernel, until

pytestmark = pytest.mark.browser
CELL = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell"
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden) .vastnb-launch"
USE = """import vastnb
_ = vastnb.use('sandbox', offers=600, seed=3, start='2026-06-01T09:00')
box = vastnb.services.session.current().sandbox
rented = lambda: sum(r.method == 'PUT' and '/asks/' in r.path for r in box.log)"""
RUN = "box.clock.run(25)"
"""So that the states on the way can be seen: a poll of five seconds takes a fifth of one."""
OFFERS = "vastnb.search('gpu_name=RTX_4090 num_gpus=1')"


@pytest.fixture
def show(notebook: Callable[[list[str]], Any]) -> Callable[..., Any]:
    """``show(arguments, *before)``: the page with a panel on it, after its first look."""

    def open_(arguments: str, *before: str) -> Any:
        page = notebook([USE, *before, f"panel = vastnb.LaunchPanel({arguments})\npanel"])
        assert driving.errors(page) == []
        page.locator(f"{PANEL}[aria-busy=false] .vastnb-badge", has_text="Sandbox").wait_for()
        return page

    return open_


def button(page: Any, words: str) -> Any:
    return page.locator(f"{PANEL} .vastnb-buttons button:not([aria-disabled=true])", has_text=words)


def title(page: Any, words: str) -> Any:
    return page.locator(f"{PANEL} h3", has_text=words)


def test_from_an_empty_cell_to_a_running_machine_in_four_clicks_and_its_end(notebook: Any) -> None:
    page = notebook([USE, RUN, ""])
    page.locator(f"{CELL} .cm-content").last.click()
    page.keyboard.insert_text(
        "panel = vastnb.LaunchPanel(vastnb.OfferSelector('gpu_name=RTX_4090 num_gpus=1', hours=3), name='lora-7b')\npanel"
    )
    page.evaluate(
        "() => { window.clicks = 0; document.addEventListener('click', () => { window.clicks += 1; }, true); }"
    )
    page.locator(
        "jp-button[data-command='notebook:run-cell-and-select-next'], button[data-command='notebook:run-cell-and-select-next']"
    ).last.click()
    page.locator("tr[data-place]").nth(2).click()
    button(page, "Rent for").click()
    button(page, "Confirm: at most").wait_for()
    driving.portrait(page, PANEL, "launch-confirm")
    button(page, "Confirm: at most").click()
    page.locator(f"{PANEL} .vastnb-now", has_text="loading").wait_for()
    driving.portrait(page, PANEL, "launch-loading", "light")
    title(page, "lora-7b is running").wait_for()
    assert page.evaluate("window.clicks") == 4

    machine, offer = kernel(page, "[panel.instance.id, int(panel._selector.value.offer_id[0])]")
    assert kernel(page, "[rented(), [row['id'] for row in box.instances], panel.quote.offer_id]") == [
        1,
        [machine],
        offer,
    ]
    assert page.get_by_label("how to reach it").input_value() == kernel(page, "panel.instance.ssh_command")
    driving.portrait(page, PANEL, "launch-running", "dark")
    button(page, "Destroy").click()
    button(page, "Confirm: end it").click()
    title(page, "lora-7b is gone").wait_for()
    billed = "sum(line['micro_usd'] for line in box.bill() if line['micro_usd'] > 0) / 1e6"
    final = float(page.locator(f"{PANEL} dd").first.inner_text().removeprefix("$"))
    assert final == pytest.approx(kernel(page, billed), abs=0.01)
    assert kernel(page, "[len(box.instances), rented()]") == [0, 1]
    assert (page.wishes, page.dialogs) == ([], [])
    driving.portrait(page, PANEL, "launch-ended", "light")


def test_ten_quick_clicks_rent_one_machine_and_a_double_click_none(show: Any) -> None:
    page = show(f"{OFFERS}, name='lora-7b'")
    for _ in range(10):
        page.locator(f"{PANEL} button.vastnb-main").click(force=True, no_wait_after=True)
    button(page, "Confirm").wait_for()
    assert kernel(page, "rented()") == 0

    page.evaluate(
        f"() => {{ const b = document.querySelector('{PANEL} button.vastnb-main'); for (let n = 0; n < 10; n++) b.click(); }}"
    )
    title(page, "lora-7b is running").wait_for()
    assert kernel(page, "[rented(), len(box.instances)]") == [1, 1]


def test_cancel_ends_the_machine_and_the_keyboard_alone_is_enough(show: Any) -> None:
    page = show(f"{OFFERS}, name='lora-7b'", RUN)
    page.get_by_label("Name", exact=True).focus()
    order = []
    for _ in range(10):
        order.append(
            page.evaluate(
                "document.activeElement.labels?.[0]?.firstChild.textContent ?? document.activeElement.textContent"
            )
        )
        page.keyboard.press("Tab")
    assert order[:8] == [
        "Name",
        "Image",
        "Job, hours",
        "Disk, GB",
        "Download, GB",
        "Upload, GB",
        "More",
        "Who ends it when",
    ]
    assert order[8].startswith("Rent for $")

    page.locator(f"{PANEL} button.vastnb-main").focus()
    page.keyboard.press("Enter")
    button(page, "Confirm").wait_for()
    page.keyboard.press("Escape")
    button(page, "Rent for").wait_for()
    page.keyboard.press("Enter")
    button(page, "Confirm").wait_for()
    page.keyboard.press("Enter")
    page.locator(f"{PANEL} .vastnb-now", has_text="loading").wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H3"  # where the button was there is none any more
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    title(page, "lora-7b is gone").wait_for()
    assert kernel(page, "[len(box.instances), rented()]") == [0, 1]
    assert page.locator(CELL).count() == 3  # no key reached the notebook


def test_an_offer_that_vanishes_and_one_that_gets_dearer_are_said(show: Any) -> None:
    page = show(f"{OFFERS}, name='lora-7b'")
    driving.portrait(page, PANEL, "launch-offer")
    kernel(page, "vastnb.launch(panel.quote, name='faster').id")
    button(page, "Rent for").click()
    page.locator(f"{PANEL} .vastnb-warnings", has_text="This offer is gone").wait_for()
    driving.portrait(page, PANEL, "launch-gone", "light")
    button(page, "Next offer").click()
    button(page, "Rent for").wait_for()
    kernel(page, "box.reprice(panel.quote.offer_id, 1.3)")
    button(page, "Rent for").click()
    page.locator(f"{PANEL} .vastnb-warnings", has_text="→").wait_for()
    driving.portrait(page, PANEL, "launch-dearer", "dark")
    assert kernel(page, "rented()") == 1

    kernel(page, "box.faults.add('success-false', error='insufficient_credit', path='/asks/', method='PUT')")
    button(page, "Rent for").click()
    button(page, "Confirm").click()
    page.locator(f"{PANEL} .vastnb-error", has_text="InsufficientCreditError").wait_for()
    driving.portrait(page, PANEL, "launch-error", "light")
    assert kernel(page, "[len(box.instances), panel.instance is None]") == [1, True]


def test_what_a_host_wrote_does_not_run_and_breaks_no_layout(show: Any) -> None:
    odd = f"odd = {OFFERS}.head(3).assign(gpu_name='<script>alert(1)</script>', geolocation='\\u202e<img src=x onerror=alert(2)>' + 'A' * 10_000)"
    page = show("odd, name='lora-7b'", odd)

    assert page.locator(f"{PANEL} h3").inner_text() == "1 × <script>alert(1)</script>"
    assert page.locator(f"{PANEL} :is(script, img, iframe)").count() == 0
    page.set_viewport_size({"width": 740, "height": 1300})
    page.wait_for_function(f"() => document.querySelector('{PANEL}').clientWidth < 500")
    room = page.locator(PANEL).evaluate("root => [root.scrollWidth, root.clientWidth, root.clientHeight]")
    assert room[0] <= room[1]
    assert room[2] < 900
    page.set_viewport_size({"width": 1280, "height": 1300})
    assert page.dialogs == []


def test_an_error_in_a_callback_is_visible_and_more_can_be_wanted_in_a_narrow_window(show: Any) -> None:
    broken = "def look(change):\n    raise KeyError('in a callback')"
    page = show(f"{OFFERS}, name='lora-7b'", broken)
    kernel(page, "panel.observe(look, 'quote')")
    page.get_by_label("Job, hours").fill("8")
    page.locator(f"{PANEL} .vastnb-error", has_text="KeyError: 'in a callback'").wait_for()
    kernel(page, "panel.unobserve_all('quote')")

    page.set_viewport_size({"width": 740, "height": 1300})
    page.locator(f"{PANEL} .vastnb-fold", has_text="More").click()
    page.get_by_label("At most, $ in all").fill("1")
    page.locator(f"{PANEL} .vastnb-warnings", has_text="max_usd=1 is").wait_for()
    page.get_by_label("At most, $ in all").fill("20")
    page.get_by_label("Environment, NAME=value").fill("HF_TOKEN=s3cret\nMODE=x")
    page.locator(f"{PANEL} small", has_text="set: HF_TOKEN, MODE").wait_for()
    until(page, "panel._deal.wish.get('max_usd')", 20)
    driving.portrait(page, PANEL, "launch-narrow", "light")
    page.set_viewport_size({"width": 1280, "height": 1300})
    assert "s3cret" not in kernel(page, "str(panel.get_state())")
