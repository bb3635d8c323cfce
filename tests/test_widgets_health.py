"""The health panel without a browser: the button comes in as a message, the report goes out, the notebook keeps a copy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ipywidgets.widgets.widget import _instances
from renting import yard

import vastnb
from vastnb.errors import NotFoundError
from vastnb.sandbox import Sandbox
from vastnb.services.instances.launching import launch_on
from vastnb.vast.client import Client


@pytest.fixture
def client(make_client: Any, sandbox: Sandbox) -> Client:
    """Patient, for a computer that is busy."""
    made: Client = make_client(sandbox, profile="sandbox", timeout_s=300)
    return made


@pytest.fixture
def panel(client: Client) -> Iterator[vastnb.HealthPanel]:
    made = vastnb.HealthPanel(client=client)
    yield made
    made.close()


def pressed(panel: vastnb.HealthPanel) -> None:
    """The button, until the answer or the error is on the screen."""
    panel._handle_custom_msg({"do": "check"}, [])
    while (worker := panel._worker) is not None:
        worker.join(30)


def test_nobody_is_asked_before_it_is_on_a_screen(panel: vastnb.HealthPanel, sandbox: Sandbox) -> None:
    assert repr(panel).strip() == "HealthPanel: not checked yet"
    assert (panel.report, panel._told, sandbox.requests()) == (None, None, 0)


def test_the_button_shows_a_report_that_can_be_observed(panel: vastnb.HealthPanel) -> None:
    seen: list[str] = []
    panel.observe(lambda change: seen.append(change["new"].word), "report")

    pressed(panel)

    assert (seen, panel._error, panel._busy) == (["healthy"], None, "")
    assert panel._told["word"] == panel.report.word
    assert panel._told["about"] == ["the account", "sandbox: practice, not real", "2026-06-01 09:00:00 UTC"]
    assert {check["name"] for check in panel._told["checks"]} == {check.name for check in panel.report.checks}


def test_troubles_come_first_and_go_when_all_is_well_again(panel: vastnb.HealthPanel, sandbox: Sandbox) -> None:
    sandbox.faults.add("auth-404", times=None)
    pressed(panel)

    first = panel._told["checks"][0]
    assert (panel._told["word"], first["name"], first["status"]) == ("unhealthy", "key", "fail")
    assert "make a new one" in first["remedy"]
    assert [check["status"] for check in panel._told["checks"]].count("fail") == 1

    sandbox.faults.clear()
    assert panel.check().word == "healthy" == panel._told["word"]


def test_a_machine_by_itself_its_name_or_its_number(tmp_path: Path) -> None:
    with yard(tmp_path) as there:
        kernel = there.kernel(timeout_s=300)
        machine: Any = launch_on(kernel, there.quotes(kernel).iloc[0], name="lora", max_hours=3)
        machine.wait()

        panels = [vastnb.HealthPanel(what, client=kernel.client) for what in (machine, "lora", machine.id)]
        reports = [panel.check() for panel in panels]
        unknown = vastnb.HealthPanel("nobody", client=kernel.client)
        pressed(unknown)

        assert {report.subject for report in reports} == {f"lora: machine {machine.id}"}
        assert {report.word for report in reports} == {"healthy"}
        assert (unknown._error["name"], unknown.report) == ("NotFoundError", None)
        with pytest.raises(NotFoundError):
            unknown.check()
        for panel in (*panels, unknown):
            panel.close()


def test_the_notebook_keeps_text_and_html_beside_the_widget(panel: vastnb.HealthPanel) -> None:
    panel.check()

    data, _ = panel._repr_mimebundle_()

    assert data["text/plain"].startswith("healthy: the account · sandbox: practice, not real · 2026-06-01 09:00:00 UTC")
    assert data["text/html"] == panel.report._repr_html_()
    assert panel.model_id not in data["text/html"] + data["text/plain"]


def test_an_answer_that_comes_after_the_end_is_thrown_away(client: Client, sandbox: Sandbox) -> None:
    panel = vastnb.HealthPanel(client=client)
    sandbox.faults.add("slow", seconds=0.3)
    panel._handle_custom_msg({"do": "check"}, [])
    worker = panel._worker
    panel.close()

    assert worker is not None
    worker.join(30)
    assert (worker.is_alive(), panel.report) == (False, None)


def test_twenty_that_come_and_go_leave_no_thread_and_no_comm(client: Client) -> None:
    vastnb.HealthPanel(client=client).close()
    before, comms = threading.active_count(), len(_instances)
    for number in range(20):
        panel = vastnb.HealthPanel(client=client)
        if number < 3:
            pressed(panel)
        panel.close()

    assert threading.active_count() == before
    assert len(_instances) == comms
