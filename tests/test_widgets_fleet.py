"""The fleet panel without a browser: what it says, orders that are asked first, and nothing left of one that is closed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comm import get_comm_manager
from IPython.utils.capture import capture_output
from ipywidgets.widgets.widget import _instances
from remote_ground import until
from renting import Yard

import vastnb
from vastnb.api.widgets.machines import ORDERS, asked_first, row_of, snapshot, told
from vastnb.errors import AuthError, InputError, ModeError
from vastnb.services.events import Event, queue_of
from vastnb.services.glances import Glance, SeenMachine
from vastnb.services.instances import Instance
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on

AT = 1_780_304_400.0  # 2026-06-01 09:00 UTC
MINUTE = int(AT // 60)
RUNNING = SeenMachine(7, "running", ours=True, name="lora", gpu_name="RTX 4090", num_gpus=2, usd_per_hour=0.5, disk_usd_per_hour=0.01,
               disk_gb=100, disk_used_gb=20, started_at=AT - 3600, ends_at=AT + 7200, charged_usd=0.4)  # fmt: skip


def seen(*machines: SeenMachine, **more: Any) -> Glance:
    return Glance(**{"at": AT, "looked_at": 1.0, "machines": machines, "balance_usd": 12.0, "money_at": AT, **more})


def warned(machine: SeenMachine) -> list[tuple[str, str]]:
    return [tuple(warning) for warning in row_of(machine, seen(machine))["warnings"]]


# --- what it says: pure ---------------------------------------------------------------------------------------------------


def test_a_row_says_what_a_machine_does_costs_and_how_long_it_lives() -> None:
    machine = replace(
        RUNNING, gpu_util=0.87, gpu_temp_c=64.2, gpu_ram_used_gb=21.43, gpu_ram_gb=24.0, geolocation="Sweden, SE"
    )

    row = row_of(machine, seen(machine, money_at=AT - 360))

    assert row == {
        "id": 7, "name": "lora", "what": "2 × RTX 4090 · Sweden, SE · 7", "state": "running", "tone": "good", "use": "87%", "line": "",
        "gpu": "64 °C · 21.4 of 24 GB", "disk": "20.0 of 100 GB", "full": 0.2, "age": "1 h 00 min old", "usd_per_hour": "$0.500/h",
        "usd": "$0.45 so far", "left": "2 h 00 min left", "ends": "it destroys itself 2026-06-01 11:00:00 UTC", "warnings": [],
        "orders": ["stop", "extend", "destroy"], "opens": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "warnings"),
    [
        ({"phase": "outbid", "min_bid_usd_per_hour": 0.3124}, [("bad", "somebody bids more: $0.312/h would do now"), ("warn", "its disk costs $0.24 a day")]),
        ({"phase": "stopped"}, [("warn", "its disk costs $0.24 a day")]),
        ({"phase": "failed", "message": "manifest unknown"}, [("bad", "it will not run by itself: manifest unknown")]),
        ({"phase": "offline", "message": "success"}, [("bad", "its host is not heard of; it will not run by itself")]),
        ({"phase": "loading", "started_at": AT - 1380, "message": "Pulling"}, [("bad", "stuck: loading for 23 min: Pulling")]),
        ({"phase": "loading", "started_at": AT - 60}, []),
        ({"uses": ((MINUTE - 20, 0.9), *((MINUTE - n, 0.01) for n in range(12, -1, -1)))}, [("warn", "GPU under 5% for 12 min")]),
        ({"uses": ((MINUTE - 9, 0.0), (MINUTE, 0.0))}, []),
        ({"uses": tuple((MINUTE - n, 0.0 if n != 5 else 0.4) for n in range(30, -1, -1))}, []),
        ({"disk_used_gb": 94.0}, [("warn", "disk 94% full")]),
        ({"ends_at": None}, [("warn", "nothing ends it")]),
        ({"ends_at": AT - 1}, [("bad", "it should have ended itself")]),
        ({"host_ends_at": AT + 5 * 3600}, [("warn", "its host takes it back in 5 h 00 min")]),
        ({"ours": False}, [("note", "not made by vastnb")]),
        ({"phase": "gone", "gone_at": 5.0}, [("note", "no longer listed; nothing is billed")]),
    ],
)  # fmt: skip
def test_what_should_be_known_of_a_machine_is_said(changed: dict[str, Any], warnings: list[tuple[str, str]]) -> None:
    assert warned(replace(RUNNING, **changed)) == warnings


def test_the_line_of_the_gpu_use_has_gaps_where_nobody_looked() -> None:
    machine = replace(
        RUNNING, uses=((MINUTE - 70, 0.5), (MINUTE - 59, 0.5), (MINUTE - 57, 1.0), (MINUTE - 3, 0.0), (MINUTE, 0.25))
    )

    assert row_of(machine, seen(machine))["line"] == "M0 8h0L2 0M56 16h0M59 12h0"


def test_the_sums_say_what_all_cost_and_how_long_the_balance_lasts() -> None:
    stopped = replace(RUNNING, id=8, phase="stopped", usd_per_hour=0.01)

    def sums(*machines: SeenMachine, **more: Any) -> list[str]:
        return list(told(seen(*machines, **more), url="https://console.vast.ai", account="a")["sums"])

    assert sums(RUNNING, stopped) == ["2 machines", "$0.510 an hour, $12.24 a day", "balance $12.00, lasts 23 h 31 min"]
    assert sums(replace(RUNNING, usd_per_hour=None)) == [
        "1 machine",
        "1 of unknown price",
        "balance $12.00",
    ]
    assert sums(balance_usd=None) == ["no machines", "balance not known"]
    assert sums(RUNNING, balance_usd=-1.0)[-1] == "balance -$1.00"


@pytest.mark.parametrize(("phase", "orders"), [("running", "stop extend destroy"), ("outbid", "extend bid destroy"), ("stopped", "start extend destroy"),
                                               ("gone", "")])  # fmt: skip
def test_what_can_be_ordered_depends_on_what_it_does(phase: str, orders: str) -> None:
    machine = replace(RUNNING, phase=phase, gone_at=5.0 if phase == "gone" else None)

    assert row_of(machine, seen(machine))["orders"] == orders.split()


def test_before_an_order_it_is_said_what_is_lost_and_what_is_still_billed() -> None:
    def lines(order: str, machine: SeenMachine = RUNNING) -> list[str]:
        return list(asked_first(machine, order, seen(machine))["lines"])

    assert lines("destroy") == ["Its disk is deleted with all that is on it (20.0 GB); nobody can bring it back.", "What runs on it ends.",
                                "Charged so far: $0.40. Nothing is billed for it afterwards."]  # fmt: skip
    assert lines("stop")[:2] == ["What runs on it ends.", "Its disk stays and is billed: $0.010 an hour."]
    assert "each hour more costs $0.500" in lines("extend")[0]
    assert lines("destroy", replace(RUNNING, ours=False))[-1] == "It was not made by vastnb: somebody else may need it."
    outbid = replace(RUNNING, phase="outbid", bid_usd_per_hour=0.25, min_bid_usd_per_hour=0.3)
    assert lines("bid", outbid)[0] == "You bid $0.250 an hour; $0.300 would do now."
    asked = asked_first(outbid, "bid", seen(outbid))
    assert (asked["title"], asked["field"]["value"]) == ("Bid again for lora?", 0.306)
    assert all(asked_first(RUNNING, order, seen(RUNNING))["lines"] for order in ORDERS)


def test_without_a_front_end_there_is_the_table_of_the_instances_with_its_time() -> None:
    glance = seen(RUNNING, replace(RUNNING, id=8, name="<script>alert(1)</script>", ours=False), is_practice=True)

    kept = snapshot(glance, told(glance, url="http://127.0.0.1:1", account="a"))

    first, *rest = kept.text.splitlines()
    assert (
        first
        == "FleetPanel · 2 machines · $1.000 an hour, $24.00 a day · balance $12.00, lasts 12 h 00 min · as of 2026-06-01 09:00:00 UTC"
    )
    assert "2026-06-01 11:00:00" in rest[2]
    assert rest[-1] == "2 machines · sandbox: practice, not real"
    assert told(glance, url="http://127.0.0.1:1", account="a")["source"] == "Sandbox: practice, not real"
    assert "<script>" not in kept.html
    assert "&lt;script&gt;alert(1)" in kept.html
    assert snapshot(Glance(), told(Glance(), url="", account="")).text.startswith("FleetPanel · not looked yet")


# --- against the sandbox --------------------------------------------------------------------------------------------------


@pytest.fixture
def make_panel(kernel: Fleet) -> Iterator[Callable[..., vastnb.FleetPanel]]:
    made: list[vastnb.FleetPanel] = []

    def make(client: Any = None) -> vastnb.FleetPanel:
        made.append(vastnb.FleetPanel(client=client or kernel.client))
        return made[-1]

    yield make
    for panel in made:
        panel.close()


@pytest.fixture
def panel(make_panel: Callable[..., vastnb.FleetPanel]) -> vastnb.FleetPanel:
    return make_panel()


def rented(there: Yard, kernel: Fleet, name: str = "lora", number: int = 0, **options: Any) -> Instance:
    offers = there.offers(kernel, "num_gpus=1", rental="bid")
    price = float(offers.min_bid_usd_per_hour[number]) * 1.1
    given = {"name": name, "image": "a/b:1", "max_hours": 5, "bid_usd_per_hour": price, **options}
    made = launch_on(kernel, offers.iloc[number], **given)
    assert isinstance(made, Instance)
    return made.wait()


def said(panel: vastnb.FleetPanel, **message: Any) -> None:
    """What the front end says, as it arrives from the comm; until what it starts is done."""
    panel._handle_custom_msg(message, [])
    while (worker := panel._worker) is not None:
        worker.join(10)


def states(panel: vastnb.FleetPanel) -> dict[str, str]:
    return {row["name"]: row["state"] for row in panel._rows}


def ordered(panel: vastnb.FleetPanel, machine: Instance, order: str, value: float | None = None) -> str:
    """Ask for an order and confirm it; what became of it."""
    said(panel, do="ask", id=machine.id, order=order)
    said(panel, do="do", number=panel._confirm["number"], value=value)
    assert (panel._confirm, panel._doing, panel._error) == ({}, {}, None)
    return str(panel._outcomes[-1]["words"])


def test_nobody_is_asked_before_it_is_in_sight(there: Yard, panel: vastnb.FleetPanel) -> None:
    assert panel._repr_mimebundle_() is not None
    assert "not looked yet" in repr(panel)
    assert there.sandbox.requests() == 0

    said(panel, do="look")

    assert panel._about["sums"][0] == "no machines"
    assert there.sandbox.requests() == 2  # the machines, and the balance


def test_the_row_follows_a_machine_through_orders_to_its_end(
    there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    machine = rented(there, kernel)
    said(panel, do="look")
    assert states(panel) == {"lora": "running"}

    assert ordered(panel, machine, "extend", 2) == "lora: ends itself 2026-06-01 16:00:00 UTC."
    there.sandbox.outbid(machine.id)
    there.pause(60)
    said(panel, do="now")
    assert states(panel) == {"lora": "outbid"}
    said(panel, do="ask", id=machine.id, order="bid")
    bid = panel._confirm["field"]["value"]
    assert f"you bid ${bid:.3f} an hour" in ordered(panel, machine, "bid", bid)
    there.pause(60)
    said(panel, do="now")
    assert states(panel) == {"lora": "running"}
    assert "stopp" in ordered(panel, machine, "stop")
    there.pause(60)
    ordered(panel, machine, "start")
    there.pause(60)
    said(panel, do="now")
    assert states(panel) == {"lora": "running"}

    assert ordered(panel, machine, "destroy").startswith("lora: destroyed. $")
    assert (states(panel), panel._rows[0]["orders"]) == ({"lora": "gone"}, [])
    assert there.machines == []


def test_ten_clicks_and_two_panels_destroy_once(
    there: Yard, kernel: Fleet, make_panel: Callable[..., vastnb.FleetPanel]
) -> None:
    machine = rented(there, kernel)
    panels = [make_panel(), make_panel(there.kernel().client)]
    for panel in panels:
        said(panel, do="look")
        said(panel, do="ask", id=machine.id, order="destroy")
    number = panels[0]._confirm["number"]

    for _ in range(10):
        panels[0]._handle_custom_msg({"do": "do", "number": number}, [])
    said(panels[0], do="look")
    said(panels[1], do="do", number=panels[1]._confirm["number"])

    assert sum(record.method == "DELETE" for record in there.sandbox.log) == 1
    assert panels[1]._outcomes[0]["words"] == "lora is gone already."
    assert states(panels[1]) == {"lora": "gone"}


def test_orders_that_come_while_one_is_carried_out_are_all_carried_out(
    there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    machines = [rented(there, kernel, name, number) for number, name in enumerate(("one", "two", "three"))]
    said(panel, do="look")
    there.sandbox.faults.add("slow", seconds=0.2, times=2)

    for machine in machines:
        panel._handle_custom_msg({"do": "ask", "id": machine.id, "order": "destroy"}, [])
        panel._handle_custom_msg({"do": "do", "number": panel._confirm["number"]}, [])
        panel._handle_custom_msg({"do": "look"}, [])
    assert set(panel._doing.values()) == {"destroy …"}
    said(panel, do="now")

    assert (there.machines, panel._doing) == ([], {})
    assert [outcome["words"].partition(":")[0] for outcome in panel._outcomes] == ["one", "two", "three"]
    said(panel, do="seen")
    assert panel._outcomes == []


def test_what_a_cap_or_the_service_refuses_is_said_in_the_panel(
    there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    machine = rented(there, kernel, max_usd=0.2)
    said(panel, do="look")

    assert "BudgetError: max_usd=0.2 is" in ordered(panel, machine, "extend", 100)
    assert panel._outcomes[0]["bad"]
    assert panel._outcomes[0]["hint"].startswith("extend(100")
    there.sandbox.faults.add("500", method="DELETE", times=None)
    there.sandbox.faults.add("500", path="/api/v1/instances/", times=None)
    assert "ServerError" in ordered(panel, machine, "destroy")
    assert (states(panel), panel._about["problem"]["name"]) == ({"lora": "running"}, "ServerError")


def test_a_machine_of_the_console_is_ended_only_after_that_was_said(
    there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    offer = there.offers(kernel, "num_gpus=1").iloc[0]
    kernel.machines.create(int(offer.offer_id), {"image": "a/b:1", "disk": 10, "label": "by hand"})
    there.pause(60)
    said(panel, do="look")
    (row,) = panel._rows
    assert (row["name"], "extend" in row["orders"]) == ("by hand", False)

    said(panel, do="ask", id=row["id"], order="destroy")
    assert "not made by vastnb" in panel._confirm["lines"][-1]
    said(panel, do="never mind")
    assert (panel._confirm, len(there.machines)) == ({}, 1)
    said(panel, do="ask", id=row["id"], order="destroy")
    said(panel, do="do", number=panel._confirm["number"])

    assert there.machines == []


def test_the_list_and_the_audit_say_of_a_machine_what_the_panel_says(
    there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    machine = rented(there, kernel)
    there.sandbox.outbid(machine.id)
    there.pause(60)
    said(panel, do="look")

    words = [words for _, words in panel._rows[0]["warnings"]]
    assert len(words) == 2
    assert vastnb.instances(client=kernel.client).note.tolist() == ["; ".join(words)]
    assert vastnb.audit(client=kernel.client).why.tolist() == ["; ".join(words)]


def test_rows_stay_when_the_service_is_down_and_look_raises(
    there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    rented(there, kernel)
    panel.look()
    there.sandbox.faults.add("auth-401", path="/api/v1/instances/", times=1)

    with pytest.raises(AuthError):
        panel.look()

    assert states(panel) == {"lora": "running"}
    assert panel._about["problem"]["name"] == "AuthError"
    assert "no newer look: AuthError" in repr(panel)
    panel.look()
    assert panel._about["problem"] is None


def test_without_a_key_it_says_what_to_choose_from() -> None:
    panel = vastnb.FleetPanel()

    said(panel, do="look")

    assert panel._about["problem"]["name"] == "ModeError"
    assert panel._about["problem"]["hint"]
    with pytest.raises(ModeError):
        panel.look()
    panel.close()


def test_a_file_of_state_that_cannot_be_used_is_shown(kernel: Fleet, panel: vastnb.FleetPanel) -> None:
    file = kernel.client.state_folder / "events.sqlite"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("no database " * 100)

    said(panel, do="look")
    assert panel._error["name"] == "StateError"
    file.unlink()
    said(panel, do="look")

    assert (panel._error, panel._about["looked"]) == (None, True)


def test_another_session_is_followed_and_its_orders_are_not_those_of_the_last() -> None:
    vastnb.use("sandbox", offers=300, start="2026-06-01")
    vastnb.launch(vastnb.search("num_gpus=1", limit=5), name="lora", image="a/b:1", max_hours=2).wait()
    panel = vastnb.FleetPanel()
    panel.look()
    number = panel._rows[0]["id"]
    said(panel, do="ask", id=number, order="destroy")
    said(panel, do="jobs", id=number)
    until(lambda: not panel._opened[str(number)]["jobs"]["busy"])
    assert panel._confirm
    assert "nothing really runs on machine" in panel._opened[str(number)]["jobs"]["problem"]["message"]

    vastnb.use("sandbox", offers=300, start="2026-07-01")
    said(panel, do="look")

    assert (panel._rows, panel._confirm, panel._opened) == ([], {}, {})
    assert panel._about["at"] == "2026-07-01 00:00:00 UTC"
    panel.close()


def test_words_of_strangers_are_short_and_printable(there: Yard, kernel: Fleet, panel: vastnb.FleetPanel) -> None:
    offer = there.offers(kernel, "num_gpus=1").iloc[0]
    label = "<script>alert(1)</script>\u202e\x1b[31m" + "A" * 10_000
    kernel.machines.create(int(offer.offer_id), {"image": "a/b:1", "disk": 10, "label": label[:256]})
    there.pause(60)

    said(panel, do="look")

    (row,) = panel._rows
    assert row["name"].startswith("<script>alert(1)</script>AAA")
    assert row["name"].isprintable()
    assert len(row["name"]) <= 120
    assert "<script>" not in panel._snapshot().html


def test_fifty_machines_are_two_requests_and_a_small_message(
    there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    offers = there.offers(kernel, "num_gpus=1").head(50)
    for offer in offers.offer_id:
        kernel.machines.create(int(offer), {"image": "a/b:1", "disk": 10})
    there.pause(60)
    there.sandbox.log.clear()

    said(panel, do="look")

    assert (len(panel._rows), there.sandbox.requests("/api/v1/instances/")) == (50, 2)
    assert len(str(panel._rows)) < 50_000


def test_what_happened_is_listed_newest_first(there: Yard, kernel: Fleet, panel: vastnb.FleetPanel) -> None:
    queue = queue_of(kernel.client)
    at = kernel.look().listing.seen_at
    queue.add(
        [Event(str(n), "instance.outbid", "7", at, {"message": f"lora: outbid {n}"}) for n in range(9)],
        source="watcher",
    )
    queue.close()

    said(panel, do="look")

    assert [event["message"] for event in panel._events] == [f"lora: outbid {n}" for n in range(8, 2, -1)]


def test_the_notebook_keeps_the_last_state_when_the_panel_is_left(
    ip: Any, there: Yard, kernel: Fleet, panel: vastnb.FleetPanel
) -> None:
    rented(there, kernel)
    ip.push({"panel": panel})
    with capture_output() as shown:
        ip.run_cell("panel")
        said(panel, do="look")
        said(panel, do="left")
        said(panel, do="left")

    first, kept = (output.data["text/plain"] for output in shown.outputs)
    assert "not looked yet" in first
    assert "lora" in kept


@pytest.mark.parametrize("interval_s", [1, 3601, -5])
def test_an_interval_that_there_is_not_is_refused(interval_s: float) -> None:
    with pytest.raises(InputError, match="interval_s must be 2 to 3600"):
        vastnb.FleetPanel(interval_s=interval_s)


def open_files() -> int:
    here = Path("/proc/self/fd")
    return len(list(here.iterdir())) if here.exists() else 0


def test_twenty_panels_that_were_opened_and_closed_leave_nothing(there: Yard, kernel: Fleet) -> None:
    rented(there, kernel)

    def one(make: Callable[..., Any], **message: Any) -> None:
        panel = make(client=kernel.client)
        with capture_output():
            panel._ipython_display_()
        said(panel, **message)
        panel.close()

    def both() -> None:
        one(vastnb.FleetPanel, do="look")
        one(vastnb.OfferSelector, do="search", line="num_gpus=1", seq=1)

    def left() -> tuple[int, int, int, int]:
        gc.collect()
        comms = get_comm_manager().comms
        return threading.active_count(), len(_instances), len(comms), open_files()

    both()
    before = left()
    for _ in range(20):
        both()

    assert left() == before
