"""A machine that is opened in the fleet panel: its jobs, its files, and what goes wrong with them; on machines that really run."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from remote_ground import Ground, until

import vastnb
from vastnb.api.widgets.benches import job_told, log_told

# --- what it says: pure ---------------------------------------------------------------------------------------------------

BEGAN = datetime(2026, 6, 1, 9, tzinfo=UTC)
JOB = {"job_id": "a1", "state": "running", "code": None, "command": "python train.py", "began_at": BEGAN, "ended_at": None,
       "stdout_bytes": 1200, "stderr_bytes": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, {"tone": "good", "code": "", "when": "since 2026-06-01 09:00:00 UTC", "out": "1.2 kB", "err": ""}),
        ({"state": "failed", "code": 3, "ended_at": BEGAN + timedelta(seconds=65)}, {"tone": "bad", "code": "exit status 3", "when": "2026-06-01 09:00:00 UTC, took 1 min 05 s"}),
        ({"state": "done", "code": 0, "ended_at": BEGAN + timedelta(hours=26)}, {"tone": "calm", "code": "exit status 0", "when": "2026-06-01 09:00:00 UTC, took 26 h 00 min"}),
        ({"command": "echo '\x1b[31m\u202e<b>'\nexit 1"}, {"command": "echo '<b>' exit 1"}),
    ],
)  # fmt: skip
def test_of_a_job_its_state_its_time_and_what_it_printed_is_said(changed: dict[str, Any], said: dict[str, Any]) -> None:
    told = job_told({**JOB, **changed})

    assert {name: told[name] for name in said} == said


def test_a_log_keeps_its_indents_and_of_a_progress_bar_the_last_state() -> None:
    text = '  File "a.py"\n10%\r50%\r100%|##|\r\n\x1b[31mred\x1b[0m  \u202etxt\n' + "x" * 600

    assert list(log_told(text)) == ['  File "a.py"', "100%|##|", "red  txt", "x" * 500 + "…"]


# --- on a machine ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def panel(own: Ground) -> Iterator[vastnb.FleetPanel]:
    made = vastnb.FleetPanel(client=own.kernel.client)
    said(made, do="look")
    yield made
    made.close()


def said(panel: vastnb.FleetPanel, **message: Any) -> None:
    """What the front end says, as it arrives from the comm; until what it starts is done."""
    panel._handle_custom_msg(message, [])
    until(lambda: panel._worker is None)


def part(panel: vastnb.FleetPanel, machine: Any, name: str, **message: Any) -> dict[str, Any]:
    """What a part of an opened machine shows after a message, once it is done."""
    panel._handle_custom_msg({"id": machine.id, **message}, [])
    until(lambda: not panel._opened[str(machine.id)][name].get("busy"))
    found: dict[str, Any] = panel._opened[str(machine.id)][name]
    return found


def brought(panel: vastnb.FleetPanel, machine: Any, source: str, to: str) -> dict[str, Any]:
    """What is shown after something was measured, agreed to and brought home."""
    offer = part(panel, machine, "files", do="measure", source=source, to=to)["offer"]
    return part(panel, machine, "files", do="bring", number=offer["number"])


def large(file: Path) -> None:
    """A file that takes a moment to copy, and little room on the machine."""
    file.write_bytes(os.urandom(1_000_000))
    os.truncate(file, 400_000_000)


def test_jobs_are_looked_up_when_somebody_opens_the_machine_and_not_before(
    own: Ground, panel: vastnb.FleetPanel
) -> None:
    own.machine.run("echo one; echo two; echo bad >&2; exit 3", detach=True).wait()
    long = own.machine.run("echo begun; exec sleep 600", detach=True)
    own.machine.connect().close()
    said(panel, do="now")
    assert (panel._opened, own.ssh_processes) == ({}, [])
    assert [row["opens"] for row in panel._rows] == [True]

    newest, oldest = part(panel, own.machine, "jobs", do="jobs")["rows"]

    assert (newest["id"], newest["state"], newest["code"]) == (long.id, "running", "")
    assert (oldest["state"], oldest["code"], oldest["out"], oldest["err"]) == (
        "failed",
        "exit status 3",
        "8 bytes",
        "4 bytes",
    )
    assert oldest["command"].startswith("echo one; echo two")
    log = part(panel, own.machine, "jobs", do="log", job=oldest["id"], errors=False)["log"]
    assert (log["job"], log["text"]) == (oldest["id"], "one\ntwo\n")
    log = part(panel, own.machine, "jobs", do="log", job=oldest["id"], errors=True)["log"]
    assert log["text"] == "bad\n"
    assert part(panel, own.machine, "jobs", do="no log")["log"] is None


def test_a_job_is_stopped_from_the_panel(own: Ground, panel: vastnb.FleetPanel) -> None:
    job = own.machine.run("echo $$ >pid; exec sleep 600", detach=True)
    pid = int(until(lambda: (own.home / "pid").exists() and (own.home / "pid").read_text()))

    (row,) = part(panel, own.machine, "jobs", do="stop job", job=job.id)["rows"]

    assert row["state"] == "stopped"
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_files_come_home_after_their_price_was_said_and_agreed_to(
    own: Ground, panel: vastnb.FleetPanel, private_home: Path
) -> None:
    (own.home / "out").mkdir()
    (own.home / "out" / "weights.bin").write_bytes(os.urandom(60_000_000))
    price = own.machine.record.inet_up_usd_per_gb * 6e7 / 1e9

    offer = part(panel, own.machine, "files", do="measure", source="out", to="results/")["offer"]

    home = private_home / "results" / "out" / "weights.bin"
    assert offer["words"] == f"1 file, 60 MB: ${price:.4f} of traffic"
    assert offer["place"] == str(private_home / "results")
    assert not home.exists()
    assert part(panel, own.machine, "files", do="bring", number=offer["number"] + 1)["offer"] == offer
    done = part(panel, own.machine, "files", do="bring", number=offer["number"])
    assert done["said"].startswith("1 file, 60 MB in ")
    assert home.read_bytes() == (own.home / "out" / "weights.bin").read_bytes()
    again = part(panel, own.machine, "files", do="measure", source="out", to="results/")
    assert (again["offer"], again["said"]) == (None, f"everything was there already; in {private_home / 'results'}")


def test_what_has_become_much_dearer_is_asked_again(own: Ground, panel: vastnb.FleetPanel) -> None:
    (own.home / "out").write_bytes(b"a")
    offer = part(panel, own.machine, "files", do="measure", source="out", to=".")["offer"]
    with (own.home / "out").open("r+b") as grown:
        grown.truncate(int(5e10))  # sparse: it has no bytes on the disk

    again = part(panel, own.machine, "files", do="bring", number=offer["number"])

    assert again["offer"]["number"] == offer["number"] + 1
    assert "1 file, 50 GB: $" in again["offer"]["words"]
    assert not Path("out").exists()
    assert part(panel, own.machine, "files", do="give up")["offer"] is None


def test_a_copy_that_is_under_way_can_be_stopped_and_goes_on_later(own: Ground, panel: vastnb.FleetPanel) -> None:
    def stopped() -> bool:
        Path("out").unlink(missing_ok=True)  # a copy may have been quicker than the click
        offer = part(panel, own.machine, "files", do="measure", source="out", to=".")["offer"]
        panel._handle_custom_msg({"do": "bring", "id": own.machine.id, "number": offer["number"]}, [])
        until(lambda: panel._opened[str(own.machine.id)]["files"]["busy"] != "Bringing it home")
        said = part(panel, own.machine, "files", do="give up")["said"]
        return said.startswith("Stopped.") and not Path("out").exists()

    large(own.home / "out")
    until(stopped)

    assert brought(panel, own.machine, "out", ".")["said"].startswith("1 file, 400 MB")
    assert filecmp.cmp("out", own.home / "out", shallow=False)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [("nothing-there", "CopyError", "No such file"), ("", "InputError", "a path on the machine")],
)
def test_what_cannot_be_brought_is_said_beside_the_files(
    own: Ground, panel: vastnb.FleetPanel, source: str, name: str, message: str
) -> None:
    problem = part(panel, own.machine, "files", do="measure", source=source, to=".")["problem"]

    assert problem["name"] == name
    assert message in problem["message"]
    assert panel._error is None


def test_without_ssh_on_this_computer_the_parts_say_what_to_install(
    own: Ground, panel: vastnb.FleetPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    for name, message in (("jobs", {"do": "jobs"}), ("files", {"do": "measure", "source": "out", "to": "."})):
        problem = part(panel, own.machine, name, **message)["problem"]
        assert problem["name"] == "ReachError"
        assert "on this computer" in problem["message"]
        assert "apt-get install" in problem["hint"]
    assert [row["state"] for row in panel._rows] == ["running"]


def test_a_machine_that_does_not_run_or_is_gone_is_said_and_its_panel_goes_on(
    own: Ground, panel: vastnb.FleetPanel
) -> None:
    own.machine.stop()
    assert part(panel, own.machine, "jobs", do="jobs")["problem"]["name"] == "NotRunningError"
    own.machine.destroy()
    own.yard.pause(90)
    assert part(panel, own.machine, "jobs", do="jobs")["problem"]["name"] == "NotFoundError"

    said(panel, do="now")
    assert [(row["state"], row["opens"]) for row in panel._rows] == [("gone", False)]
    said(panel, do="jobs", id=1)
    assert panel._error["message"] == "there is no machine 1"


def test_a_copy_keeps_no_look_and_no_order_waiting(own: Ground, panel: vastnb.FleetPanel) -> None:
    large(own.home / "out")
    offer = part(panel, own.machine, "files", do="measure", source="out", to=".")["offer"]
    panel._handle_custom_msg({"do": "bring", "id": own.machine.id, "number": offer["number"]}, [])
    turn = panel._about["turn"]

    said(panel, do="ask", id=own.machine.id, order="extend")
    said(panel, do="do", number=panel._confirm["number"], value=1)

    assert "ends itself" in panel._outcomes[0]["words"]
    assert panel._about["turn"] > turn
    assert panel._opened[str(own.machine.id)]["files"]["busy"]
    part(panel, own.machine, "files", do="give up")


# --- home, and gone -------------------------------------------------------------------------------------------------------


def destroyed(panel: vastnb.FleetPanel, machine: Any, **given: Any) -> dict[str, Any]:
    """What became of a machine that was destroyed by the panel."""
    said(panel, do="ask", id=machine.id, order="destroy")
    turn = panel._about["turn"]
    said(panel, do="do", number=panel._confirm["number"], **given)
    until(lambda: panel._outcomes and panel._about["turn"] > turn)  # it looks when all is done
    until(lambda: panel._worker is None)
    (outcome,) = panel._outcomes
    return dict(outcome)


def test_before_a_machine_is_destroyed_its_files_come_home(
    own: Ground, panel: vastnb.FleetPanel, private_home: Path
) -> None:
    (own.home / "out").mkdir()
    (own.home / "out" / "a").write_text("made there")
    price = own.machine.record.inet_up_usd_per_gb
    said(panel, do="ask", id=own.machine.id, order="destroy")
    assert panel._confirm["fetch"].startswith(f"${price:.4f} a GB")

    outcome = destroyed(panel, own.machine, fetch="out", to="results/")

    assert not outcome["bad"]
    assert outcome["words"].endswith(f"out is in {private_home / 'results'}.")
    assert (private_home / "results" / "out" / "a").read_text() == "made there"
    assert own.yard.machines == []
    assert [row["state"] for row in panel._rows] == ["gone"]


def test_a_machine_whose_files_do_not_come_home_is_kept_and_stopped(own: Ground, panel: vastnb.FleetPanel) -> None:
    outcome = destroyed(panel, own.machine, fetch="nothing-there", to=".")

    assert outcome["bad"]
    assert f"machine {own.machine.id} was not destroyed, for nothing-there is not whole" in outcome["words"]
    assert "its disk costs: start() and destroy(fetch=...) again" in outcome["hint"]
    assert [row["state"] for row in panel._rows] in (["stopping"], ["stopped"])
    said(panel, do="ask", id=own.machine.id, order="destroy")
    assert panel._confirm["fetch"] == ""
