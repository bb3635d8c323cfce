"""The selector as it is used: filters, sorting, choosing, with mouse and keyboard, in a real JupyterLab on the sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from . import lab as driving

pytestmark = pytest.mark.browser
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
SELECTOR = f"{PANEL} .vastnb"
ROW = f"{SELECTOR} tr[data-place]"
USE = "import vastnb\n_ = vastnb.use('sandbox', offers=2000, seed=3, start='2026-06-01')"
SHOW = "selector = vastnb.OfferSelector({})\nselector"
KEPT = """words => !window.jupyterapp.shell.currentWidget.content.widgets.at(-1).model.outputs.get(0).data['text/plain'].includes(words)"""
FAULT = "vastnb.services.session.current().sandbox.faults.add({!r}, times=None)"


@pytest.fixture
def show(notebook: Callable[[list[str]], Any]) -> Callable[..., Any]:
    """``show(arguments, *before)``: the page with a selector on it, and what it says after its first search."""

    def open_(arguments: str = "", *before: str) -> Any:
        page = notebook([USE, *before, SHOW.format(arguments)])
        assert driving.errors(page) == []
        page.locator(f"{SELECTOR} .vastnb-badge, {SELECTOR} .vastnb-error:not([hidden])").first.wait_for()
        page.locator(f"{SELECTOR}[aria-busy=false]").wait_for()
        page.wait_for_function(KEPT, arg="not searched yet")
        return page

    return open_


def kernel(page: Any, expression: str) -> Any:
    """What the kernel of the open notebook says `expression` is, through JSON."""
    text = page.evaluate(
        """async expression => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
           const reply = await kernel.requestExecute({code: '', user_expressions: {it: expression}}, true).done;
           const it = reply.content.user_expressions.it; return it.data ? it.data['text/plain'] : it.evalue; }""",
        f"__import__('json').dumps({expression})",
    )
    return json.loads(text.strip("'").encode().decode("unicode_escape"))


def until(page: Any, expression: str, wanted: Any) -> None:
    """Wait until the kernel says so: what is clicked reaches it a moment later."""
    for _ in range(100):
        if kernel(page, expression) == wanted:
            return
        page.wait_for_timeout(50)
    assert kernel(page, expression) == wanted


def cells(page: Any, number: int) -> list[str]:
    """One column of the rows in sight."""
    texts: list[str] = page.locator(ROW).evaluate_all(f"rows => rows.map(row => row.cells[{number}].textContent)")
    return texts


def line(page: Any, wanted: str) -> str:
    """The text of the query; what the kernel sends back may stand there a moment later."""
    box = page.get_by_label("query, as after %vast search")
    for _ in range(100):
        if box.input_value() == wanted:
            break
        page.wait_for_timeout(50)
    return str(box.input_value())


def badges(page: Any) -> list[str]:
    texts: list[str] = page.locator(f"{SELECTOR} .vastnb-badge").all_inner_texts()
    return texts


def test_search_sort_and_choose_with_the_mouse(show: Any) -> None:
    page = show("hours=10")
    assert badges(page)[0] == "Sandbox: practice, not real"
    assert "incomplete" in badges(page)

    page.locator("summary", has_text="GPU").first.click()
    page.get_by_label("find in GPU").fill("h100")
    page.locator(".vastnb-list label", has_text="H100 SXM").locator("input").check()
    page.keyboard.press("Escape")
    page.get_by_label("GPUs at least").fill("2")
    page.get_by_label("Price at most").fill("12.5")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(f"{SELECTOR} .vastnb-badge", has_text=re.compile("^complete")).wait_for()

    asked = "gpu_name=H100_SXM num_gpus>=2 dph<=12.5"
    assert line(page, asked) == asked
    page.get_by_role("button", name="DLPerf/$").click()
    page.get_by_role("button", name="DLPerf/$").click()
    shown = [int(text) for text in cells(page, 8)]
    assert shown == sorted(shown, reverse=True)
    assert page.get_by_role("columnheader", name="DLPerf/$").get_attribute("aria-sort") == "descending"
    page.locator(ROW).nth(1).click()
    page.locator(ROW).nth(3).locator("td").first.click()

    until(page, "len(selector.value)", 2)
    best = "selector.frame.sort_values('dlperf_per_usd', ascending=False, kind='stable').offer_id.iloc[[1, 3]].tolist()"
    assert set(kernel(page, "selector.value.offer_id.tolist()")) == set(kernel(page, best))
    assert kernel(page, "selector.query") == asked
    found = f"vastnb.search({asked!r}).offer_id.tolist() == selector.frame.offer_id.tolist()"
    assert kernel(page, found) is True
    assert "2 chosen" in page.locator(f"{SELECTOR} .vastnb-foot").inner_text()
    assert (page.wishes, page.dialogs) == ([], [])
    driving.portrait(page, SELECTOR, "selector-chosen")


def test_models_have_counts_and_prices_also_those_that_are_not_on_the_screen(show: Any) -> None:
    page = show("'gpu_name=RTX_4090'")
    page.locator("summary", has_text="GPU").first.click()
    page.locator(".vastnb-list label", has_text="H200").first.wait_for()
    (chosen, told), *_ = [
        label.locator("span, small").all_inner_texts() for label in page.locator(".vastnb-list label").all()[:1]
    ]

    count, low = kernel(page, "[len(selector.frame), float(selector.frame.usd_per_gpu_hour.min())]")
    assert (chosen, told.split("–")[0]) == ("RTX 4090", f"{count} · ${low:.2f}")
    assert (
        page.locator(".vastnb-list label", has_text="H200").first.locator("small").inner_text().startswith("not here")
    )
    driving.portrait(page, SELECTOR, "selector-models")
    page.get_by_label("find in GPU").press("Escape")
    assert page.locator(f"{SELECTOR} details[open]").count() == 0
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_the_text_of_the_query_moves_the_controls_and_the_controls_the_text(show: Any) -> None:
    page = show("'num_gpus>=1'")
    text = page.get_by_label("query, as after %vast search")

    text.fill(
        "%vast search gpu_name in [RTX_4090,RTX_3090] num_gpus=2 reliability>98% cuda>=12 --storage 50 --type bid"
    )
    text.press("Enter")
    until(page, "[selector.rental, selector.disk_gb]", ["bid", 50])
    page.locator(f"{SELECTOR} .vastnb-badge", has_text=re.compile("^complete")).wait_for()

    assert page.get_by_label("GPUs at least").input_value() == page.get_by_label("GPUs at most").input_value() == "2"
    assert page.get_by_label("Reliability at least").input_value() == "98"
    assert page.locator("summary", has_text="GPU").first.locator("b").inner_text() == "RTX 4090, RTX 3090"
    page.get_by_label("GPUs at most").fill("4")
    page.get_by_label("disk, GB").fill("10")
    page.locator(f"{SELECTOR} select").select_option("on-demand")
    wanted = "cuda>=12 gpu_name in [RTX_4090,RTX_3090] num_gpus>=2 num_gpus<=4 reliability>0.98"
    until(page, "selector.query", wanted)
    assert line(page, wanted) == wanted
    assert "filters changed: Search asks the market" in badges(page)


def test_filters_narrow_what_is_there_without_a_request(show: Any) -> None:
    page = show("'num_gpus>=1'")
    asked = kernel(page, "vastnb.services.session.current().sandbox.requests()")

    page.get_by_label("Reliability at least").fill("99.5")
    page.get_by_label("Data centre").check()

    until(page, "selector.query", "num_gpus>=1 reliability>=0.995 datacenter=true")
    fitting = kernel(page, "int(((selector.frame.reliability >= 0.995) & selector.frame.datacenter).sum())")
    assert any(text.startswith(f"{fitting} of ") for text in badges(page))
    assert kernel(page, "vastnb.services.session.current().sandbox.requests()") == asked


def test_the_keyboard_alone_is_enough(show: Any) -> None:
    page = show("'gpu_name=RTX_4090'")
    grid = page.get_by_role("grid", name="Offers")
    page.locator(ROW).first.click()
    until(page, "len(selector.value)", 1)

    for key in ("Escape", "ArrowDown", "ArrowDown", " ", "Shift+ArrowDown", "End", " "):
        page.keyboard.press(key)

    last = kernel(page, "len(selector.frame) - 1")
    until(page, "selector._selected", [2, 3, last])
    active = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
    assert active.get_attribute("aria-rowindex") == str(last + 2) == grid.get_attribute("aria-rowcount")
    assert active.get_attribute("aria-selected") == "true"
    assert page.evaluate("document.activeElement.getAttribute('role')") == "grid"
    page.keyboard.press("Control+a")
    until(page, "len(selector.value)", last + 1)
    page.keyboard.press("Escape")
    until(page, "len(selector.value)", 0)
    assert page.locator(f"{PANEL} .jp-Cell").count() == 2  # no key reached the notebook


def test_points_of_the_picture_choose_rows(show: Any) -> None:
    page = show("'gpu_name=RTX_4090'")
    picture = page.locator(f"{SELECTOR} svg")
    box = picture.bounding_box()
    spot = picture.locator(".vastnb-dots").evaluate(
        "path => path.getAttribute('d').match(/M([\\d.]+) ([\\d.]+)/).slice(1).map(Number)"
    )
    scale = box["width"] / picture.evaluate("svg => svg.viewBox.baseVal.width")

    page.mouse.click(box["x"] + spot[0] * scale, box["y"] + spot[1] * scale)
    until(page, "len(selector.value)", 1)
    page.mouse.move(box["x"] + 25, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 30, steps=3)
    page.mouse.up()

    drawn = kernel(page, "int((selector.frame.dlperf > 0).sum())")
    until(page, "len(selector.value)", drawn)


def test_what_a_host_wrote_does_not_run(show: Any) -> None:
    page = show("'verified=any'", FAULT.format("hostile"))
    page.locator("summary", has_text="Columns").click()
    for name in ("geolocation", "cpu_name", "mobo_name", "verification"):
        page.locator(".vastnb-list label").filter(has_text=name).first.locator("input").check()
    page.locator("summary", has_text="GPU").first.click()
    page.locator(".vastnb-list label", has_text="<script>").first.wait_for()
    page.keyboard.press("Escape")
    page.locator(f"{SELECTOR} svg").hover()

    assert "<script>alert('gpu')</script>" in cells(page, 1)
    assert page.locator(f"{SELECTOR} :is(script, img, h1, iframe)").count() == 0
    assert page.dialogs == []
    assert max(len(text) for text in page.locator(ROW).all_inner_texts()) < 400
    driving.portrait(page, SELECTOR, "selector-hostile")


def test_an_empty_answer_explains_itself(show: Any) -> None:
    page = show("'gpu_name=RTX_4090 dph<0.01'")

    why = page.locator(f"{SELECTOR} .vastnb-empty")
    why.wait_for()
    assert "dph<0.01: removes" in why.inner_text()
    driving.portrait(page, SELECTOR, "selector-empty")


def test_errors_are_shown_in_the_widget_and_go_when_it_works_again(show: Any) -> None:
    page = show("'gpu_name=RTX_4090'")
    text = page.get_by_label("query, as after %vast search")
    text.fill("gpu_nme=RTX_4090")
    text.press("Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()

    assert alert.inner_text().splitlines() == [
        "QueryError: no such field: gpu_nme",
        "  gpu_nme=RTX_4090",
        "  ^",
        "→ did you mean gpu_name?",
    ]
    assert line(page, "gpu_nme=RTX_4090") == "gpu_nme=RTX_4090"
    driving.portrait(page, SELECTOR, "selector-error")
    kernel(page, FAULT.format("auth-401"))
    text.fill("gpu_name=RTX_3090")
    text.press("Enter")
    page.locator(".vastnb-error", has_text="AuthError").wait_for()
    kernel(page, "vastnb.services.session.current().sandbox.faults.clear()")
    page.get_by_role("button", name="Search", exact=True).click()
    alert.wait_for(state="hidden")
    assert driving.errors(page) == []


def test_a_search_that_takes_long_says_so_and_the_kernel_stays_free(show: Any) -> None:
    page = show("'gpu_name=RTX_4090'")
    kernel(page, "vastnb.services.session.current().sandbox.faults.add('slow', seconds=3)")
    page.get_by_role("button", name="Refresh", exact=True).click()
    page.get_by_text("Searching…").wait_for()

    assert kernel(page, "6 * 7") == 42
    assert page.locator(SELECTOR).get_attribute("aria-busy") == "true"
    driving.portrait(page, SELECTOR, "selector-busy")
    page.locator(f"{SELECTOR}[aria-busy=false]").wait_for()


def test_5000_offers_are_sorted_and_filtered_with_few_of_them_in_the_page(show: Any) -> None:
    many = ("from vastnb.sandbox import Sandbox\nfrom vastnb.vast.types.frames import offers_frame\nimport datetime\n"
            "frame = offers_frame(Sandbox(offers=4000, seed=0, start='2026-06-01').offers()[:5000], rental='on-demand',"
            " seen_at=datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC))")  # fmt: skip
    page = show("frame, hours=10", many)
    assert "5,000 offers" in badges(page)

    page.get_by_role("button", name="Price").click()
    page.locator(f"{SELECTOR} .vastnb-scroll").evaluate("box => { box.scrollTop = 70000; }")
    page.wait_for_function(f"() => Number(document.querySelector('{ROW}').dataset.place) > 2000")

    place = int(page.locator(ROW).first.get_attribute("data-place"))
    prices = kernel(page, f"frame.usd_per_hour.sort_values().iloc[{place}:{place + 3}].round(3).tolist()")
    assert [float(text.replace(",", "")) for text in cells(page, 4)[:3]] == prices
    assert page.locator(ROW).count() < 25
    page.locator(f"{SELECTOR} .vastnb-scroll").evaluate("box => { box.scrollTop = 100000; }")
    page.get_by_label("Price at most").fill("0.2")
    until(page, "selector.query", "dph<=0.2")
    assert f"{kernel(page, 'int((frame.usd_per_hour <= 0.2).sum())'):,} of 5,000 offers fit" in badges(page)
    assert page.locator(ROW).count() >= 10
    assert page.get_by_role("button", name="Search", exact=True).is_hidden()
    driving.portrait(page, SELECTOR, "selector-5000")


def test_the_notebook_keeps_what_was_chosen_last_without_drawing_the_widget_twice(show: Any, lab_page: Any) -> None:
    page = show("'gpu_name=RTX_4090'")
    page.evaluate(f"() => {{ window.before = document.querySelector('{SELECTOR}'); }}")
    page.locator(ROW).nth(2).click()
    until(page, "len(selector.value)", 1)
    page.locator(f"{PANEL} .jp-Cell .cm-content").first.click()
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.get(0).data['text/plain'].includes('1 of ')"
    )

    assert page.evaluate(
        f"() => window.before === document.querySelector('{SELECTOR}') && document.querySelectorAll('{SELECTOR}').length === 1"
    )
    assert page.locator(f"{ROW}[aria-selected=true]").count() == 1
    page.get_by_role("grid", name="Offers").focus()
    kernel(page, "selector.search(refresh=True)")
    until(page, "vastnb.services.session.current().sandbox.requests() > 2", True)
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "grid"
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    name = page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    saved = nbformat.read(lab_page.root / name, as_version=4)
    saved.cells[0].source += "\n# changed, so nobody trusts it"
    nbformat.write(saved, lab_page.root / f"copy-of-{name}")
    page.evaluate(
        "async p => { const w = await window.jupyterapp.commands.execute('docmanager:open', {path: p}); await w.context.ready; await w.revealed; }",
        f"copy-of-{name}",
    )
    page.locator(f"{PANEL} b", has_text="OfferSelector: gpu_name=RTX_4090 · 1 of ").wait_for()
    assert page.locator(f"{PANEL} .vastnb-frame tbody tr").count() == 1
    page.evaluate("window.jupyterapp.shell.currentWidget.close()")


def test_a_narrow_window_has_everything_below_one_another(show: Any) -> None:
    page = show("'gpu_name=RTX_4090'")
    page.set_viewport_size({"width": 740, "height": 1500})
    page.wait_for_function(f"() => document.querySelector('{SELECTOR}').clientWidth < 500")

    room = page.locator(SELECTOR).evaluate("root => [root.scrollWidth, root.clientWidth]")
    assert room[0] <= room[1]
    driving.portrait(page, SELECTOR, "selector-narrow")
    page.set_viewport_size({"width": 1280, "height": 1300})
