"""A real JupyterLab as a child process, and the waits that make driving it reliable.

What was learned the hard way: ``--port=0`` and the server's own runtime file instead of a guessed port; every folder private,
so that nothing of the user's leaks in; the waits ask the application (``--expose-app-in-browser``), not the page, because the
page says "idle" while the kernel is still connecting and a Run All clicked then is lost.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from PIL import Image, ImageChops, ImageOps
from playwright.sync_api import Error as PlaywrightError

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]  # fmt: skip
_OVERRIDES: dict[str, Any] = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}
KERNEL_READY = """() => { const s = window.jupyterapp?.shell.currentWidget?.sessionContext; const k = s?.session?.kernel;
    return !!s?.isReady && k?.connectionStatus === 'connected' && k.status === 'idle'; }"""
ALL_RUN = """() => { const nb = window.jupyterapp.shell.currentWidget; if (!nb?.content?.widgets) return false;
    const cells = nb.content.widgets.filter(c => c.model.type === 'code' && c.model.sharedModel.getSource().trim());
    const busy = cells.some(c => c.node.querySelector('.jp-InputPrompt').textContent.includes('*'));
    return cells.every(c => c.model.executionCount) && !busy && nb.sessionContext.session?.kernel?.status === 'idle'; }"""

MARGIN = 12
"""Pixels around what a close-up shows."""

SEAM = 24
"""How far a colour may be from the ground, of 255, and still be where a border falls between two pixels."""

ROOT = Path(__file__).parents[2]


class Lab:
    """A JupyterLab on a free port of this computer.

    Parameters
    ----------
    command
        What starts it; options of ours are appended. None starts ``jupyter lab`` on `root`.
    root
        The folder it works in.
    theme
        ``light`` or ``dark``.
    """

    def __init__(self, root: Path, command: list[str] | None = None, *, theme: str = "light") -> None:
        self.root, self.theme = root, theme
        self._command = command or [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--allow-root",
            f"--ServerApp.root_dir={root}",
        ]
        self._options = [] if command else [
            "--no-browser", "--ip=127.0.0.1", "--port=0", "--expose-app-in-browser", "--KernelManager.transport=ipc",
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="vastnb-lab-")
        there = Path(self._folder.name)
        overrides = _OVERRIDES | (
            {"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}} if self.theme == "dark" else {}
        )
        (there / "config/labconfig").mkdir(parents=True)
        (there / "config/labconfig/default_setting_overrides.json").write_text(json.dumps(overrides))
        options = {"ServerApp": {"ip": "127.0.0.1", "port": 0, "open_browser": False}, "KernelManager": {"transport": "ipc"},
                   "LabApp": {"expose_app_in_browser": True, "news_url": None}}  # fmt: skip
        (there / "config/jupyter_server_config.json").write_text(json.dumps(options))
        self._log = (there / "log").open("wb")
        self._process = subprocess.Popen(
            [*self._command, *self._options], cwd=self.root, env=_private(there), stdin=subprocess.DEVNULL,
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.url, self.token = self._address(there)
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
        self._folder.cleanup()

    def _address(self, there: Path) -> tuple[str, str]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError((there / "log").read_text(errors="replace"))
            for info in (there / "runtime").glob("jpserver-*.json"):
                try:
                    said = json.loads(info.read_text())
                    urllib.request.urlopen(f"{said['url']}api/status?token={said['token']}", timeout=5).close()
                except (ValueError, OSError):
                    continue
                return said["url"], said["token"]
            time.sleep(0.05)
        raise TimeoutError((there / "log").read_text(errors="replace"))


def _private(there: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("VAST", "JUPYTER"))}
    return kept | {
        "JUPYTER_CONFIG_DIR": str(there / "config"), "JUPYTER_DATA_DIR": str(there / "data"),
        "JUPYTER_RUNTIME_DIR": str(there / "runtime"), "IPYTHONDIR": str(there / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(there / "lab/settings"), "JUPYTERLAB_WORKSPACES_DIR": str(there / "lab/workspaces"),
        "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }  # fmt: skip


def open_notebook(page: Any, path: str) -> None:
    """Open a notebook of the lab's folder, and wait for its kernel."""
    page.evaluate(
        """async p => { const w = await window.jupyterapp.commands.execute('docmanager:open', {path: p});
           await w.context.ready; await w.revealed; await w.sessionContext.ready; }""",
        path,
    )
    page.wait_for_function(KERNEL_READY, timeout=60_000, polling=50)


def close_notebook(page: Any) -> None:
    """Close the notebook that is open, and end its kernel."""
    page.evaluate(
        """async () => { const w = window.jupyterapp.shell.currentWidget;
           if (w?.sessionContext) { await w.sessionContext.shutdown(); w.context.model.dirty = false; w.dispose(); } }"""
    )


def run_all(page: Any) -> None:
    """Run > Run All Cells by the menu, as a person does, and wait for the end."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    try:
        page.wait_for_function(ALL_RUN, timeout=60_000, polling=50)
    except PlaywrightError as late:
        late.add_note(f"a cell that fails stops the others; complaints: {errors(page)}")
        raise


def errors(page: Any) -> list[str]:
    """What the cells of the open notebook complain about."""
    bad = "[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error']"
    found: list[str] = page.locator(
        f".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output:is({bad})"
    ).all_inner_texts()
    return found


def pictures() -> Path | None:
    """The folder that VASTNB_TEST_PICTURES names, seen from the repository: each test has a working folder of its own."""
    named = os.environ.get("VASTNB_TEST_PICTURES")
    return ROOT / named if named else None


def picture(
    page: Any, name: str, *, cells: tuple[int, int] | None = None, clip: dict[str, float] | None = None
) -> None:
    """Keep a screenshot where VASTNB_TEST_PICTURES says, for the documentation: the page, some cells, or a part of it."""
    folder = pictures()
    if not folder:
        return
    page.evaluate(
        "document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer')?.scrollTo(0, 0)"
    )
    if cells is not None:
        boxes = [page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell").nth(i).bounding_box() for i in cells]
        clip = {
            "x": boxes[0]["x"],
            "y": boxes[0]["y"],
            "width": boxes[0]["width"],
            "height": boxes[1]["y"] - boxes[0]["y"],
        }
    page.screenshot(path=str(folder / name), clip=clip)


def close_up(page: Any, cell: str, name: str) -> None:
    """Keep a picture of the cell whose source holds `cell` and of what it shows, without what it printed: that may name folders."""
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    code = panel.locator(".jp-CodeCell").filter(has=page.locator(".jp-InputArea", has_text=cell))
    assert code.locator(".jp-OutputArea-output").count() > 0
    folder = pictures()
    if folder:
        code.evaluate("cell => cell.scrollIntoView({block: 'center', behavior: 'instant'})")
        code.locator(".jp-OutputArea-child").filter(has=page.locator("[data-mime-type$='stdout']")).evaluate_all(
            "printed => printed.forEach(child => child.remove())"
        )
        trimmed(code.screenshot()).save(folder / name, optimize=True)


def trimmed(shot: bytes) -> Image.Image:
    """A screenshot without the empty ground around what is in it, and without the pale seams at its edges."""
    whole = ImageOps.crop(Image.open(io.BytesIO(shot)).convert("RGB"), 1)
    ground = whole.getpixel((0, 0))
    apart = ImageChops.difference(whole, Image.new("RGB", whole.size, ground)).convert("L")
    held = whole.crop(apart.point(lambda step: 255 * (step > SEAM)).getbbox())
    return ImageOps.expand(held, MARGIN, ground).quantize(128, dither=Image.Dither.NONE)


def portrait(page: Any, widget: str, name: str, *themes: str) -> None:
    """Keep pictures of a widget for the documentation, light and dark, if VASTNB_TEST_PICTURES names a folder."""
    folder = pictures()
    for theme in (themes or ("light", "dark")) if folder else ():
        _change_theme(page, theme)
        page.locator(widget).first.screenshot(path=str(folder / f"{name}-{theme}.png"))
    if folder:
        _change_theme(page, "light")


def _change_theme(page: Any, theme: str) -> None:
    page.evaluate(
        "t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t})", f"JupyterLab {theme.title()}"
    )
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.wait_for_function("dark => (document.body.dataset.jpThemeLight === 'false') === dark", arg=theme == "dark")
