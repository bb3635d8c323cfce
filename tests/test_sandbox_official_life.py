"""A whole life of rented machines driven by the official client, unchanged: the CLI as a process, and the SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_doors import offers
from test_sandbox_official import SECRET, cli

from vastnb.sandbox import Sandbox

vastai = pytest.importorskip("vastai", reason="the official client is not installed")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    # It starts at the wall clock's now: `show invoices-v1` asks for the last seven days of that.
    with Sandbox(offers=300, seed=21, api_key=SECRET) as sandbox:
        yield sandbox


class Shell:
    """The installed command, in a home of its own."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        self.sandbox, self.home = sandbox, home
        for kind in ("config", "cache", "state"):
            (home / kind / "vastai").mkdir(parents=True)

    def run(self, *words: object) -> str:
        """Run a command that must succeed, and return what it printed, without colours."""
        done = cli(self.sandbox, self.home, *map(str, words))
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)

    def raw(self, *words: object) -> Any:
        """Run a command with ``--raw``, and return its JSON."""
        return json.loads(self.run(*words, "--raw"))


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> Shell:
    return Shell(sandbox, tmp_path / "official")


def test_the_command_drives_a_machine_through_its_life(sandbox: Sandbox, shell: Shell) -> None:
    offer = offers(sandbox)[0]
    words = [
        "--image",
        "a/b:1",
        "--disk",
        24,
        "--env",
        "-e A=b -p 80:80",
        "--onstart-cmd",
        "echo hi",
        "--ssh",
        "--direct",
    ]
    told = shell.raw("create", "instance", offer["id"], "--bid_price", offer["min_bid"] * 3, *words)
    number = told["new_contract"]
    assert told["success"] and sandbox.instances[0]["id"] == number
    sandbox.clock.step(minutes=20)

    (listed,) = shell.raw("show", "instances")
    assert (listed["id"], listed["actual_status"], listed["is_bid"]) == (number, "running", True)
    assert listed["extra_env"] == {"A": "b", "-p 80:80": "1"}
    assert (listed["image_runtype"], listed["onstart"], listed["disk_space"]) == ("ssh_direc ssh_proxy", "echo hi", 24)
    table = shell.run("show", "instances")
    assert str(number) in table and "Total: 1 instances" in table and "--status:       running" in table
    assert shell.run("label", "instance", number, "my_job").strip() == f"label for {number} set to my_job."
    sandbox.outbid(number)
    assert "bid price changed" in shell.run("change", "bid", number, "--price", offer["min_bid"] * 9)
    sandbox.clock.step(minutes=2)
    shown = shell.raw("show", "instance", number)
    assert (shown["label"], shown["actual_status"]) == ("my_job", "running")
    assert shown["dph_base"] == pytest.approx(offer["min_bid"] * 9)
    assert f"stopping instance {number}." in shell.run("stop", "instance", number)
    sandbox.clock.step(minutes=1)
    assert sandbox.instances[0]["actual_status"] == "exited"
    assert f"starting instance {number}." in shell.run("start", "instance", number)
    sandbox.clock.step(hours=3)
    assert f"destroying instance {number}." in shell.run("destroy", "instance", number, "-y")
    assert sandbox.instances == []

    spent = sum(line["micro_usd"] for line in sandbox.bill() if line["item"] != "deposit")
    now = int(sandbox.clock.now())
    (charge,) = shell.raw("show", "invoices-v1", "--charges", "-s", now - 86400, "-e", now)["results"]
    assert (charge["source"], charge["amount"]) == (f"instance-{number}", round(spent / 1e6, 3))
    assert charge["metadata"]["label"] == "my_job"
    assert shell.raw("show", "user")["credit"] == pytest.approx(100 - spent / 1e6)


@pytest.fixture
def official(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HOME", str(tmp_path))
    return vastai.VastAI(api_key=SECRET, server_url=sandbox.url)


def test_the_sdk_changes_prepays_and_reads_the_bills(sandbox: Sandbox, official: Any) -> None:
    number = official.create_instance(id=offers(sandbox)[0]["id"], image="a/b", disk=20, label="x")["new_contract"]
    sandbox.clock.step(minutes=20)
    for change in (
        official.reboot_instance,
        official.stop_instance,
        official.start_instance,
        official.recycle_instance,
    ):
        assert change(id=number)["success"]
        sandbox.clock.step(minutes=20)
    assert official.label_instance(id=number, label="y")["success"]
    assert official.prepay_instance(id=number, amount=2)["success"]
    assert official.show_deposit(id=number)["refundable_deposit"] == 2
    assert official.show_instance(id=number)["label"] == "y"
    assert official.show_invoices_v1(charges=False, end_date=int(sandbox.clock.now()))["count"] == 2
    with pytest.warns(DeprecationWarning, match="deprecated"):
        rows = official.show_invoices(end_date="2100-01-01")["invoices"]
    assert {row["type"] for row in rows} == {"charge", "payment"}
    ask_id = next(offer["avail_vol_ask_id"] for offer in offers(sandbox) if offer["avail_vol_ask_id"])
    name = official.create_volume(id=ask_id, size=10)["volume_name"]
    (volume,) = official.show_volumes()
    assert f"V.{volume['id']}" == name and official.delete_volume(id=volume["id"])["success"]
    assert official.destroy_instance(id=number)["success"]


def test_the_sdk_asks_again_when_an_answer_is_lost_and_two_machines_are_paid(sandbox: Sandbox, official: Any) -> None:
    offer = offers(sandbox)[2]
    sandbox.faults.add("cut-after", path="/asks/")

    told = official.create_instance(id=offer["id"], image="a/b", price=offer["min_bid"] * 2)

    first, second = sandbox.instances
    assert told["new_contract"] == second["id"] and first["cur_state"] == "running"
    for row in official.show_instances():
        official.destroy_instance(id=row["id"])
    assert official.show_instances() == []
