"""The fleet panel as it is used: it follows its machines, orders are asked first, and nobody asks for what nobody sees."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from remote_ground import require_programs

from . import lab as driving
from .test_selector_in_lab import kernel, until

pytestmark = pytest.mark.browser
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden) .vastnb"
USE = """import vastnb
from vastnb.services import session
_ = vastnb.use('sandbox', offers=600, seed=3, start='2026-06-01')
box = session.current().sandbox"""
RENT = """def rent(name, number=0):
    offer = vastnb.search('num_gpus=1', rental='bid').iloc[number]
    return vastnb.launch(offer, name=name, image='a/b:1', max_hours=5, bid_usd_per_hour=float(offer.min_bid_usd_per_hour) * 1.1).wait()
lora = rent('lora')"""
MANY = """made = [rent(name, number) for number, name in enumerate(('eval-7b', 'crawl', 'render-farm'), 3)]
free = vastnb.search('num_gpus>=2', limit=3)
made += [vastnb.launch(offer, name=name, image='a/b:1', **caps).wait() for name, (_, offer), caps in
         zip(['train-70b', 'stopped-for-now'], free.iterrows(), [{'max_usd_per_hour': 99}, {'max_hours': 2}])]
box.outbid(made[0].id); box.offline(made[1].id); made[-1].stop()
stuck = vastnb.launch(vastnb.search('num_gpus=1').iloc[3], name='stuck', image='a/b:1', max_hours=9)
box.stick(stuck.id)
box.clock.step(seconds=1500)"""
HOSTILE = """words = ["<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "\\u202eelif.exe \u05e9\u05dc\u05d5\u05dd", "A" * 120]
for word, (_, offer) in zip(words, vastnb.search('num_gpus=1', limit=9).iterrows()):
    machine = vastnb.launch(offer, image='a/b:1', max_hours=2, label=word[:120])
box.clock.step(seconds=90)"""
WATCH = """from vastnb.services.events import default_bus
from vastnb.services.instances.fleet import fleet_of
from vastnb.services.sync import Watcher
watcher = Watcher(fleet_of(), default_bus())
_ = watcher.look()"""
USE_REAL = USE.replace("start=", "machines=True, start=")
WORK = """lora = vastnb.launch(vastnb.search('num_gpus=1 inet_up_cost>0.005'), name='lora', image='a/b:1', max_hours=5).wait()
write = "mkdir -p out; head -c 30000000 /dev/urandom >out/weights.bin; echo done >out/log.txt"
lora.run("echo 'for n in 1 2 3; do echo epoch $n: loss 0.$((90 / n)); done; exec sleep ${1:-0}' >train.sh;" + write)
lora.run("bash train.sh", detach=True).wait()
lora.run("bash eval.sh --split test", detach=True).wait()
_ = lora.run("bash train.sh 600", detach=True)"""
HOSTILE_JOB = """lora.run("# <script>alert(3)</script>\\necho '<img src=x onerror=alert(4)>\u202e'; echo '<b>no GPU</b>' >&2; exit 1", detach=True).wait().code"""
SHOW = "panel = vastnb.FleetPanel(interval_s={})\npanel"


@pytest.fixture
def show(notebook: Callable[[list[str]], Any]) -> Callable[..., Any]:
    """``show(*cells)``: the page with a panel on it, after its first look."""

    def open_(*cells: str, interval_s: float = 2, use: str = USE) -> Any:
        page = notebook([use, *cells, SHOW.format(interval_s)])
        assert driving.errors(page) == []
        page.locator(f"{PANEL} .vastnb-badge", has_text="practice").wait_for()
        return page

    return open_


def row(page: Any, name: str) -> Any:
    """The row of a machine."""
    return page.locator(f"{PANEL} tbody tr").filter(has=page.locator("td:first-child b", has_text=name)).first


def state(page: Any, name: str, wanted: str) -> None:
    """Wait until the row of a machine says so."""
    row(page, name).locator(".vastnb-badge", has_text=wanted).wait_for()


def looks(url: str, key: str) -> int:
    """How often the machines of a sandbox were listed, as the sandbox counts."""
    request = urllib.request.Request(f"{url}/_sandbox/log", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return sum(record["path"] == "/api/v1/instances/" for record in json.load(answer)["log"])


def portrait(page: Any, name: str) -> None:
    """Keep pictures of the panel for the documentation, light and dark, if VASTNB_TEST_PICTURES names a folder."""
    folder = os.environ.get("VASTNB_TEST_PICTURES")
    for theme in ("light", "dark") if folder else ():
        page.evaluate(
            "t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t})",
            f"JupyterLab {theme.title()}",
        )
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        page.wait_for_function("dark => (document.body.dataset.jpThemeLight === 'false') === dark", arg=theme == "dark")
        page.locator(PANEL).first.screenshot(path=str(Path(str(folder)) / f"fleet-{name}-{theme}.png"))
    if folder:
        page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")


def test_the_panel_follows_a_machine_that_is_outbid_and_bids_again(show: Any) -> None:
    page = show(RENT, WATCH)
    state(page, "lora", "running")
    kernel(page, "[box.outbid(lora.id), box.clock.step(seconds=60), watcher.look()][:0]")
    state(page, "lora", "outbid")
    assert "somebody bids more" in row(page, "lora").inner_text()
    page.locator(f"{PANEL} .vastnb-happened li", has_text="lora: outbid, it was running").wait_for()
    assert page.locator(f"{PANEL} .vastnb-happened .vastnb-badge", has_text="new").count() == 1
    portrait(page, "outbid")

    row(page, "lora").get_by_role("button", name="Bid again").click()
    field = page.get_by_label("bid, $/h")
    field.wait_for()
    assert page.evaluate("document.activeElement.type") == "number"
    field.press("Enter")
    page.locator(f"{PANEL} .vastnb-outcome", has_text="lora: you bid $").wait_for()
    kernel(page, "[box.clock.step(seconds=60)][:0]")

    state(page, "lora", "running")
    assert kernel(page, "box.instances[0]['actual_status']") == "running"
    assert driving.errors(page) == []


def test_ten_clicks_on_destroy_end_one_machine_and_the_bill_is_shown(show: Any) -> None:
    page = show(RENT)
    state(page, "lora", "running")
    row(page, "lora").get_by_role("button", name="Destroy").click()
    dialog = page.get_by_role("alertdialog", name="Destroy lora?")
    dialog.wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Destroy lora"
    assert kernel(page, "len(box.instances)") == 1

    page.keyboard.press("Enter")
    sure = page.get_by_role("button", name="Destroy for good")
    sure.wait_for()
    portrait(page, "confirm")
    sure.evaluate("button => { for (let n = 0; n < 10; n++) button.click(); }")
    page.locator(f"{PANEL} .vastnb-outcome", has_text="lora: destroyed. $").wait_for()

    state(page, "lora", "gone")
    assert kernel(page, "[box.instances, sum(r.method == 'DELETE' for r in box.log)]") == [[], 1]
    bill = kernel(page, "sum(line['micro_usd'] for line in box.bill() if line['micro_usd'] > 0) / 1e6")
    left = kernel(page, "session.current().client.user(refresh=True).credit_usd")
    assert bill > 0
    assert 100 - left == pytest.approx(bill, abs=1e-6)


def test_jobs_are_read_files_come_home_and_the_machine_ends_after_the_rest_did(show: Any) -> None:
    require_programs()
    page = show(WORK, use=USE_REAL)
    state(page, "lora", "running")
    opened = page.locator(f"{PANEL} .vastnb-bench")
    row(page, "lora").get_by_role("button", name="jobs and files of lora").click()
    jobs = opened.locator(".vastnb-jobs > li")
    jobs.nth(2).wait_for()
    assert [jobs.nth(n).locator(".vastnb-badge").inner_text() for n in range(3)] == ["running", "failed", "done"]
    jobs.nth(1).get_by_role("button", name="Errors").click()
    opened.locator(".vastnb-log", has_text="eval.sh: No such file").wait_for()
    jobs.nth(0).get_by_role("button", name="Output").click()
    opened.locator(".vastnb-log", has_text="epoch 3: loss 0.30").wait_for()

    opened.get_by_label("Bring home").fill("nothing-there")
    opened.get_by_label("Bring home").press("Enter")
    opened.locator(".vastnb-error", has_text="No such file").wait_for()
    opened.get_by_label("Bring home").fill("out")
    opened.get_by_label("to", exact=True).fill("results/")
    opened.get_by_role("button", name="See the price").click()
    bring = opened.get_by_role("button", name="Bring it home")
    bring.wait_for()
    assert "2 files, 30 MB: $" in opened.locator(".vastnb-answer").inner_text()
    portrait(page, "jobs")
    jobs.nth(0).get_by_role("button", name="Stop job").click()
    jobs.nth(0).get_by_role("button", name="Really stop it").click()
    jobs.nth(0).locator(".vastnb-badge", has_text="stopped").wait_for()
    bring.click()
    opened.locator(".vastnb-answer", has_text="2 files, 30 MB in").wait_for()
    assert kernel(page, "__import__('os').path.getsize('results/out/weights.bin')") == 30_000_000

    assert kernel(page, HOSTILE_JOB) == 1
    opened.get_by_role("button", name="Look again").click()
    jobs.nth(3).wait_for()
    jobs.nth(0).get_by_role("button", name="Output").click()
    opened.locator(".vastnb-log", has_text="<img src=x onerror=alert(4)>").wait_for()
    assert "<script>alert(3)</script>" in jobs.nth(0).locator("code").inner_text()
    assert page.locator(f"{PANEL} :is(script, img, iframe, h1, .vastnb-log b)").count() == 0
    page.set_viewport_size({"width": 740, "height": 1500})
    page.wait_for_function(f"() => document.querySelector('{PANEL}').clientWidth < 500")
    room = page.locator(PANEL).evaluate("root => [root.scrollWidth, root.clientWidth]")
    assert room[0] <= room[1]
    page.set_viewport_size({"width": 1280, "height": 1300})

    row(page, "lora").get_by_role("button", name="Destroy").click()
    page.get_by_role("alertdialog").get_by_label("first bring home").fill("out/")
    page.get_by_role("alertdialog").get_by_label("to", exact=True).fill("last/")
    portrait(page, "fetch")
    page.get_by_role("button", name="Destroy for good").click()
    page.locator(f"{PANEL} .vastnb-outcome", has_text="lora: destroyed. $").wait_for()

    assert kernel(page, "[box.instances, sorted(__import__('os').listdir('last'))]") == [[], ["log.txt", "weights.bin"]]
    assert (page.dialogs, page.wishes, driving.errors(page)) == ([], [], [])


def test_what_strangers_wrote_does_not_run_and_fits_into_a_narrow_window(show: Any) -> None:
    page = show(HOSTILE)
    row(page, "<img").get_by_role("button", name="Destroy").click()
    page.get_by_role("alertdialog").wait_for()
    page.set_viewport_size({"width": 740, "height": 1500})
    page.wait_for_function(f"() => document.querySelector('{PANEL}').clientWidth < 500")

    assert row(page, "<script>").count() == 1
    assert page.locator(f"{PANEL} :is(script, img, iframe, h1)").count() == 0
    assert (page.dialogs, page.wishes) == ([], [])
    room = page.locator(PANEL).evaluate("root => [root.scrollWidth, root.clientWidth]")
    assert room[0] <= room[1]
    machines = page.locator(f"{PANEL} tbody tr:not(.vastnb-asking, .vastnb-opened)")
    assert max(machines.evaluate_all("rows => rows.map(row => row.offsetHeight)")) < 240
    portrait(page, "hostile")
    page.set_viewport_size({"width": 1280, "height": 1300})


def test_nobody_asks_while_nobody_sees_it_and_a_restarted_kernel_is_said(show: Any) -> None:
    page = show("")
    place = kernel(page, "[box.url, box.api_key]")
    until(page, "box.requests('/api/v1/instances/') >= 2", True)
    portrait(page, "empty")
    notebook, other = page.evaluate(
        """() => { const { shell } = window.jupyterapp; const here = shell.currentWidget.id;
           return [here, [...shell.widgets('main')].find(widget => widget.id !== here).id]; }"""
    )

    page.evaluate("id => window.jupyterapp.shell.activateById(id)", other)
    page.wait_for_function("id => document.getElementById(id).offsetParent === null", arg=notebook)
    before = looks(*place)
    page.wait_for_timeout(4500)  # two looks long
    after = looks(*place)
    page.evaluate("id => window.jupyterapp.shell.activateById(id)", notebook)
    page.wait_for_function("id => window.jupyterapp.shell.currentWidget?.id === id", arg=notebook)

    assert after - before <= 1  # one may have been under way
    until(page, f"box.requests('/api/v1/instances/') > {after}", True)

    page.complaints.clear()
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart().then(() => null)"
    )
    page.locator(f"{PANEL} .vastnb-error", has_text="No kernel: the kernel was restarted").wait_for()
    assert [said for said in page.complaints if "Cannot send" in said] == []


def test_many_machines_with_their_warnings_and_a_service_that_goes_down(show: Any) -> None:
    page = show(RENT, MANY)
    state(page, "stuck", "loading")
    kernel(page, "[(box.clock.step(seconds=60), panel.look()) for _ in range(50)][:0]")
    row(page, "stuck").locator("li", has_text="stuck: loading for 1 h").wait_for()
    portrait(page, "many")
    page.set_viewport_size({"width": 740, "height": 1800})
    page.wait_for_function(f"() => document.querySelector('{PANEL}').clientWidth < 500")
    portrait(page, "narrow")
    page.set_viewport_size({"width": 1280, "height": 1300})

    kernel(page, "box.faults.add('502-html', path='/instances/', times=None)")
    problem = page.locator(f"{PANEL} .vastnb-error", has_text="ServerError")
    problem.wait_for()

    assert page.locator(f"{PANEL} tbody tr:not(.vastnb-asking, .vastnb-opened)").count() == 7
    assert "What was seen last stays below; the panel looks again by itself." in problem.inner_text()
    portrait(page, "error")
