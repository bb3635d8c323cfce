"""The table of a selector in a real JupyterLab, beside itables, ipydatagrid and a plain HTML table of the same frame.

    pip install itables ipydatagrid && python -m tests.benchmarks.selector_speed [rounds]

From the repository's root, with Chromium. The frame is there already; what is timed is one cell, from its start to rows on the
screen (two frames drawn after the first row is in the page), all that came over the notebook's socket meanwhile, and then in the page:
from a click on a heading to rows in another order, from a filter to what it leaves. A way that is not installed is left out. The ways
take turns; medians are printed. Imports are done before.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from playwright.sync_api import sync_playwright

from tests.browser import lab as driving

SIZES = (64, 1000, 5000)
BEFORE = """import datetime, gc
import vastnb
from vastnb.sandbox import Sandbox
from vastnb.vast.types.frames import offers_frame
from vastnb.api.widgets.packing import DEFAULT_COLUMNS
rows = Sandbox(offers=4000, seed=0, start="2026-06-01").offers()
names = [name for name in DEFAULT_COLUMNS if name != "job_usd"] + ["offer_id", "usd_per_gpu_hour", "dlperf", "gpu_ram_gb"]
frames = {n: offers_frame(rows[:n], rental="on-demand", seen_at=datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)) for n in SIZES}
_ = vastnb.OfferSelector(frames[64])""".replace("SIZES", repr(SIZES))
"""All ways but ours show 12 columns; ours has 15 and can be told to show any of the others."""
ROOM = "__import__('pathlib').Path('/proc/self/status').read_text().split('VmRSS:')[1].split()[0]"
NOTEBOOK = ".jp-NotebookPanel:not(.lm-mod-hidden)"


class Way(NamedTuple):
    """How a frame is shown, and where its parts are in the page."""

    needs: str
    imports: str
    cell: str
    row: str
    heading: str = ""
    field: str = ""
    wanted: str = ""


WAYS: dict[str, Way] = {
    "OfferSelector": Way("anywidget", "", "vastnb.OfferSelector(frames[{n}], hours=10)", ".vastnb tr[data-place]", ".vastnb th:nth-child(5) button", "input[aria-label='GPUs at most']", "1"),
    "itables, widget": Way("itables", "from itables.widget import ITable", "ITable(frames[{n}][names], maxBytes=0)", "table.dataTable tbody tr:nth-child(3)", "table.dataTable thead th:nth-child(5) .dt-column-order", ".dt-search input", "3090"),
    "ipydatagrid": Way("ipydatagrid", "from ipydatagrid import DataGrid", "DataGrid(frames[{n}][names])", ".ipydatagrid-widget canvas, .lm-DataGrid canvas"),
    "plain HTML": Way("pandas", "from IPython.display import HTML", "HTML(frames[{n}][names].to_html())", "table.dataframe tbody tr:nth-child(3)"),
}  # fmt: skip
RUN = """async ([row, heading, field, wanted]) => {
  const within = (what) => document.querySelector('NOTEBOOK .jp-Cell:last-child').querySelector(what);
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const until = async (met) => {
    const start = performance.now();
    while (!met()) {
      if (performance.now() - start > 30000) throw new Error(`nothing came: ${met}`);
      await new Promise((done) => setTimeout(done, 0));
    }
    await frame();
  };
  const timed = async (act, met) => { const start = performance.now(); act(); await until(met); return performance.now() - start; };
  const words = () => within(row)?.textContent;
  const shown = await timed(() => window.jupyterapp.commands.execute('notebook:run-cell'), () => within(row));
  let sorted = NaN, filtered = NaN;
  await new Promise((done) => setTimeout(done, 1500));
  if (heading) {
    for (let i = 0; i < 2; i++) {  // ascending is how they are; the second click turns it around
      const before = words();
      const took = await timed(() => within(heading).click(), () => i === 0 || words() !== before);
      sorted = i ? took : sorted;
    }
    const before = words();
    filtered = await timed(() => { const f = within(field); f.value = wanted; f.dispatchEvent(new Event('input', {bubbles: true})); f.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})); }, () => words() !== before);
  }
  return [shown, sorted, filtered];
}""".replace("NOTEBOOK", NOTEBOOK)


def ask(page: Any, code: str, expression: str = "None") -> str:
    """Run `code` in the kernel of the open notebook; what `expression` is then."""
    return str(
        page.evaluate(
            """async ([code, expression]) => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
           const reply = await kernel.requestExecute({code, user_expressions: {it: expression}}, false).done;
           const it = reply.content.user_expressions?.it; if (!it?.data) throw new Error(JSON.stringify(reply.content)); return it.data['text/plain']; }""",
            [code, expression],
        )
    )


def measured(page: Any, root: Path, way: Way, size: int) -> list[float]:
    """Milliseconds to show, to sort and to filter, kB over the socket, MiB in the kernel and in the page."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(way.cell.format(n=size))])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, root / "speed.ipynb")
    page.evaluate(
        """async () => { const w = await window.jupyterapp.commands.execute('docmanager:open', {path: 'speed.ipynb'});
           await w.context.ready; await w.revealed; await w.sessionContext.ready; }"""
    )
    page.wait_for_function(driving.KERNEL_READY, timeout=60_000, polling=50)
    ask(page, f"{BEFORE}\n{way.imports}\ngc.collect()")
    kernel_kb, page_b = int(ask(page, "", ROOM).strip("'")), used(page)
    page.got = 0
    times = page.evaluate(RUN, [way.row, way.heading, way.field, way.wanted])
    made = [
        *times,
        page.got / 1000,
        (int(ask(page, "", ROOM).strip("'")) - kernel_kb) / 1024,
        (used(page) - page_b) / 2**20,
    ]
    page.evaluate(
        """async () => { const w = window.jupyterapp.shell.currentWidget; await w.sessionContext.shutdown(); w.context.model.dirty = false; w.dispose(); }"""
    )
    return made


def used(page: Any) -> float:
    """Bytes of the page's heap that are in use."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    return float(devtools.send("Runtime.getHeapUsage")["usedSize"])


def counted(page: Any) -> Any:
    """Count what comes over the page's sockets."""
    page.got = 0

    def note(data: Any) -> None:
        page.got += len(data)

    page.on("websocket", lambda socket: socket.on("framereceived", note))
    return page


def main(rounds: int) -> None:
    """Print a table of medians."""
    ways = {name: way for name, way in WAYS.items() if importlib.util.find_spec(way.needs)}
    found: dict[tuple[str, int], list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as root, driving.Lab(Path(root)) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=driving.CHROMIUM, args=driving.CHROMIUM_ARGS)
        page = counted(browser.new_context(viewport={"width": 1280, "height": 1300}).new_page())
        page.set_default_timeout(60_000)
        page.goto(f"{lab.url}lab?reset&token={lab.token}", wait_until="domcontentloaded")
        page.locator(".jp-Launcher").wait_for()
        for number in range(rounds + 1):
            for name, way in ways.items():
                for size in SIZES:
                    numbers = measured(page, Path(root), way, size)
                    if number:  # the first round loads the front ends
                        found.setdefault((name, size), []).append(numbers)
        browser.close()
    packages = [w.needs for w in ways.values()] + ["jupyterlab", "ipykernel"]
    told = ", ".join(f"{package} {version(package)}" for package in packages)
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {told}; {rounds} rounds, medians\n"
    )
    print(
        "| way | offers | to rows on the screen, ms | sort, ms | filter, ms | over the socket, kB | kernel, MiB | page, MiB |"
    )
    print("| --- " * 8 + "|")
    for (name, size), rows in sorted(found.items(), key=lambda item: item[0][1]):
        middle = [statistics.median(column) for column in zip(*rows, strict=True)]
        cells = [f"{value:,.1f}" if abs(value) < 10 else f"{value:,.0f}" for value in middle]
        print(f"| {name} | {size:,} | {' | '.join('' if cell == 'nan' else cell for cell in cells)} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
