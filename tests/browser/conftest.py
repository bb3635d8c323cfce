"""One browser and one JupyterLab for all flows; each test opens a notebook of its own, which has a kernel of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import lab as driving


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium; where there is none the tests skip, except in CI."""
    if not Path(driving.CHROMIUM).exists():
        if os.environ.get("CI"):
            pytest.fail(f"no Chromium at {driving.CHROMIUM}")
        pytest.skip(f"no Chromium at {driving.CHROMIUM} (apt-get install chromium, or set CHROMIUM)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=driving.CHROMIUM, args=driving.CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def new_page(chromium: Any) -> Callable[[], Any]:
    """``new_page()``: a page that notes its errors, its dialogs and every wish for something from outside."""

    def make() -> Any:
        context = chromium.new_context(viewport={"width": 1280, "height": 1300})
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.wishes, page.complaints, page.dialogs = [], [], []

        def refuse(route: Any) -> None:
            page.wishes.append(route.request.url)
            route.abort()

        context.route(re.compile(r"^https?://(?!127\.0\.0\.1|localhost)"), refuse)
        page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: page.complaints.append(str(e)))
        page.on("dialog", lambda d: (page.dialogs.append(d.message), d.dismiss()))
        return page

    return make


@pytest.fixture(scope="session")
def lab_page(new_page: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A JupyterLab, loaded once."""
    with driving.Lab(tmp_path_factory.mktemp("root")) as lab:
        page = new_page()
        page.goto(f"{lab.url}lab?reset&token={lab.token}", wait_until="domcontentloaded")
        page.locator(".jp-Launcher").wait_for(timeout=60_000)
        page.root = lab.root
        yield page
        page.context.close()


@pytest.fixture
def notebook(lab_page: Any, request: pytest.FixtureRequest) -> Iterator[Callable[[list[str]], Any]]:
    """``notebook(cells)``: the page with these cells open in a new notebook, all run."""
    import nbformat

    def open_(cells: list[str]) -> Any:
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        name = re.sub(r"\W+", "-", request.node.name) + ".ipynb"
        nbformat.write(made, lab_page.root / name)
        driving.open_notebook(lab_page, name)
        driving.run_all(lab_page)
        return lab_page

    yield open_
    driving.close_notebook(lab_page)
