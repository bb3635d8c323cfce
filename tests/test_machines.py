"""A rented machine: waiting, stopping, ending, its bill; the list and the audit; against the sandbox over HTTP."""

from __future__ import annotations

import itertools
import signal
import threading
from typing import Any

import pytest
from renting import START, Yard

import vastnb
from vastnb import errors
from vastnb.sandbox import Sandbox
from vastnb.services.instances import Instance, Progress, listing
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on
from vastnb.vast.render import frame_html, frame_text
from vastnb.vast.types import KINDS

SEEDS = itertools.count(100)
"""Another seed is another sandbox: no test finds the machines of the one before."""


@pytest.fixture
def machine(there: Yard, kernel: Fleet) -> Instance:
    return rented(kernel, there.quotes(kernel).iloc[0], name="lora", max_hours=3)


def rented(kernel: Fleet, what: Any, **options: Any) -> Instance:
    made = launch_on(kernel, what, **options)
    assert isinstance(made, Instance)
    return made


def named(kernel: Fleet, what: str | int) -> Instance:
    record, row, sight = kernel.find(what)
    return Instance(kernel, record, row, sight.now)


def on_server(there: Yard, machine: Instance) -> dict[str, Any]:
    (row,) = (row for row in there.machines if row["id"] == machine.id)
    return row


# --- waiting --------------------------------------------------------------------------------------------------------------


def test_waiting_ends_when_it_runs_and_tells_how_far_it_is(machine: Instance) -> None:
    told: list[Progress] = []

    assert machine.wait(on_progress=told.append) is machine

    assert machine.state == "running"
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases[-2:] == ["loading", "running"]
    assert [progress.is_last for progress in told] == [False] * (len(told) - 1) + [True]
    assert told[-1].usd is not None
    assert 0 < told[-1].usd < 0.1
    assert all(a.elapsed_s <= b.elapsed_s for a, b in itertools.pairwise(told))


def test_waiting_ends_at_once_on_what_never_recovers(there: Yard, machine: Instance) -> None:
    machine.wait()
    there.sandbox.offline(machine.id)

    with pytest.raises(errors.NotRunningError, match="offline") as caught:
        machine.refresh().wait()

    assert caught.value.instance_id == machine.id
    assert "lora" in (caught.value.hint or "")


def test_waiting_has_an_end(there: Yard, machine: Instance) -> None:
    there.sandbox.stick(machine.id)

    with pytest.raises(errors.WaitTimeoutError, match=r"after 60 s; it costs \$"):
        machine.wait(timeout_s=60)

    assert len(there.machines) == 1


def test_a_machine_that_is_stuck_is_replaced_only_when_asked(there: Yard, kernel: Fleet) -> None:
    cap = float(there.offers(kernel).usd_per_hour[0]) * 3
    machine = rented(kernel, there.offers(kernel).iloc[0], name="lora", max_usd_per_hour=cap, max_hours=3)
    first, ends_at = machine.id, machine.ends_at
    there.sandbox.stick(first)
    with pytest.raises(errors.NotRunningError, match="loading for too long"):
        machine.wait()

    machine.wait(replace=2)

    assert machine.id != first
    assert machine.name == "lora"
    assert [row["id"] for row in there.machines] == [machine.id]
    assert on_server(there, machine)["dph_total"] <= cap
    assert machine.ends_at is not None
    assert ends_at is not None
    assert abs((machine.ends_at - ends_at).total_seconds()) < 5


def test_ctrl_c_while_waiting_says_what_still_costs(there: Yard, machine: Instance) -> None:
    told: list[Progress] = []

    def interrupted(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        machine.wait(on_progress=interrupted)

    assert told[-1].is_last
    assert "still costs $" in told[-1].message
    assert "still exists" in " ".join(caught.value.__notes__)
    assert len(there.machines) == 1


def test_an_outbid_machine_bids_again_as_far_as_its_terms_go(there: Yard, kernel: Fleet) -> None:
    bids = there.offers(kernel, rental="bid")
    floor = float(bids.min_bid_usd_per_hour[0])
    machine = rented(
        kernel, bids.iloc[0], bid_usd_per_hour=floor * 1.1, on_outbid="raise", max_bid_usd_per_hour=floor * 2
    )
    machine.wait()
    there.sandbox.outbid(machine.id, floor * 1.5)
    assert machine.refresh().state == "outbid"

    machine.wait()

    assert machine.state == "running"
    assert floor * 1.5 <= on_server(there, machine)["dph_base"] <= floor * 2
    there.sandbox.outbid(machine.id, floor * 3)
    with pytest.raises(errors.NotRunningError, match="outbid"):
        machine.refresh().wait()


def test_an_outbid_machine_is_destroyed_if_that_was_said(there: Yard, kernel: Fleet) -> None:
    bids = there.offers(kernel, rental="bid")
    floor = float(bids.min_bid_usd_per_hour[0])
    machine = rented(kernel, bids.iloc[0], bid_usd_per_hour=floor * 1.1, on_outbid="destroy").wait()
    there.sandbox.outbid(machine.id, floor * 1.5)

    with pytest.raises(errors.NotRunningError):
        machine.refresh().wait()

    assert there.machines == []


# --- stopping, ending --------------------------------------------------------------------------------------------------------


def test_a_stop_is_told_from_an_eviction(there: Yard, kernel: Fleet) -> None:
    bids = there.offers(kernel, rental="bid")
    floor = float(bids.min_bid_usd_per_hour[0])
    stopped = rented(kernel, bids.iloc[0], name="stopped", bid_usd_per_hour=floor * 1.1).wait().stop()
    there.sandbox.clock.step(minutes=5)
    there.sandbox.outbid(stopped.id, floor * 1.5)

    assert stopped.refresh().state == "stopped"
    assert named(there.kernel(), "stopped").state == "stopped"


def test_a_stopped_machine_costs_its_disk_and_starts_again(there: Yard, machine: Instance) -> None:
    machine.wait()
    running = machine.usd_per_hour
    machine.stop()
    there.sandbox.clock.step(minutes=5)
    machine.refresh()

    assert machine.state == "stopped"
    assert machine.usd_per_hour == pytest.approx(on_server(there, machine)["storage_total_cost"])
    assert machine.start().wait().usd_per_hour == running


def test_destroying_gives_the_final_bill_when_a_list_lacks_the_machine(there: Yard, machine: Instance) -> None:
    machine.wait()
    there.sandbox.clock.step(hours=2)

    bill = machine.destroy()

    lines = [line for line in there.sandbox.bill() if line["contract_id"] == machine.id]
    assert bill.usd_total == pytest.approx(sum(line["micro_usd"] for line in lines) / 1e6, abs=0.002)
    assert bill.is_final
    assert (machine.state, there.machines) == ("gone", [])
    with pytest.raises(errors.NotFoundError):
        machine.refresh()
    assert machine.destroy().usd_total == bill.usd_total


def test_what_cannot_be_seen_to_be_gone_is_not_called_gone(there: Yard, machine: Instance) -> None:
    there.sandbox.faults.add("503", path="/v1/instances/", times=None)

    with pytest.raises(errors.DestroyUncertainError) as caught:
        machine.destroy()

    assert caught.value.instance_id == machine.id
    assert machine.state != "gone"


def test_a_machine_of_the_console_is_touched_only_with_force(there: Yard, kernel: Fleet) -> None:
    offer_id = int(there.offers(kernel).offer_id[0])
    made = kernel.machines.create(offer_id, {"client_id": "me", "image": "a:1", "disk": 10, "label": "by hand"})[
        "new_contract"
    ]
    machine = named(kernel, made)

    for verb in ("stop", "start", "reboot", "destroy"):
        with pytest.raises(errors.NotOursError):
            getattr(machine, verb)()
    machine.rename("mine now", force=True)
    assert on_server(there, machine)["label"] == "mine now"
    machine.destroy(force=True)
    assert there.machines == []


def test_extending_moves_the_end_on_the_machine_too(there: Yard, machine: Instance) -> None:
    before = machine.ends_at

    machine.extend(hours=2)

    assert before is not None
    assert machine.ends_at is not None
    assert (machine.ends_at - before).total_seconds() == 7200
    assert f"until={machine.ends_at.timestamp():.0f}" in on_server(there, machine)["label"]
    assert named(there.kernel(folder="laptop"), "lora").ends_at == machine.ends_at


def test_a_machine_whose_end_has_passed_is_started_only_with_another_end(there: Yard, kernel: Fleet) -> None:
    machine = rented(kernel, there.quotes(kernel).iloc[0], max_hours=1, at_end="stop").wait().stop()
    there.sandbox.clock.step(hours=2)

    with pytest.raises(errors.MachineError, match="would end itself at once"):
        machine.refresh().start()

    assert machine.extend(hours=5).start().wait().state == "running"


def test_extending_keeps_to_the_caps(there: Yard, kernel: Fleet) -> None:
    price = float(there.quotes(kernel).usd_per_hour[0])
    machine = rented(kernel, there.quotes(kernel).iloc[0], max_usd=price * 3, max_hours=2)

    with pytest.raises(errors.BudgetError, match="max_usd"):
        machine.extend(hours=5)
    assert machine.extend(hours=5, max_usd=price * 9).ends_at is not None

    capped = there.kernel(budget={"max_usd_total": price * 10})
    with pytest.raises(errors.BudgetError, match="max_usd_total"):
        named(capped, machine.id).extend(hours=50, max_usd=price * 99)


def test_a_bid_is_changed_within_the_cap(there: Yard, kernel: Fleet) -> None:
    bids = there.offers(kernel, rental="bid")
    floor = float(bids.min_bid_usd_per_hour[0])
    machine = rented(kernel, bids.iloc[0], bid_usd_per_hour=floor * 1.1, max_usd_per_hour=floor * 2)

    machine.change_bid(floor * 1.3)
    assert on_server(there, machine)["dph_base"] == pytest.approx(floor * 1.3)
    with pytest.raises(errors.BudgetError):
        machine.change_bid(floor * 5)
    with pytest.raises(errors.InputError, match="on demand"):
        rented(kernel, there.offers(kernel).iloc[-1]).change_bid(1.0)


def test_a_name_or_a_number_finds_it_and_nothing_else_does(there: Yard, kernel: Fleet, machine: Instance) -> None:
    assert named(kernel, "lora").id == named(kernel, machine.id).id == named(kernel, str(machine.id)).id == machine.id
    with pytest.raises(errors.NotFoundError) as caught:
        named(kernel, "lara")
    assert caught.value.hint == "there are lora"
    with pytest.raises(errors.NotFoundError) as caught:
        named(kernel, "all")
    assert caught.value.hint == "name each one: there are lora"


# --- the list and the audit ------------------------------------------------------------------------------------------------------


@pytest.fixture
def session() -> Sandbox:
    """The sandbox of the default session; waiting steps its clock."""
    made = vastnb.use("sandbox", offers=400, seed=next(SEEDS), start=START)
    return made.sandbox


def test_the_list_has_its_columns_and_no_secret(session: Sandbox) -> None:
    i = vastnb.launch(vastnb.search("num_gpus=1"), name="lora", max_hours=3, env={"HF_TOKEN": "hf_secret"})

    frame = vastnb.instances()

    assert {c.name: c.dtype for c in KINDS["instances"]} == {name: str(frame[name].dtype) for name in frame.columns}
    assert frame.instance_id.tolist() == [i.id]  # type: ignore[union-attr]
    assert (frame.name[0], bool(frame.ours[0]), frame.rental[0]) == ("lora", True, "on-demand")
    said = frame_text(frame) + frame_html(frame) + frame.to_json(date_format="iso")
    token = session.instances[0]["jupyter_token"]
    assert "hf_secret" not in said
    assert token not in said


def test_more_machines_than_a_page_are_all_listed(session: Sandbox) -> None:
    offers = vastnb.search("num_gpus=1").drop_duplicates("machine_id").head(30)
    for offer_id in offers.offer_id:
        vastnb.launch(int(offer_id), disk_gb=8)

    assert len(vastnb.instances()) == 30
    assert vastnb.instances().instance_id.is_monotonic_increasing


def test_a_list_that_cannot_be_read_is_an_error_and_never_empty() -> None:
    session = vastnb.use("sandbox", offers=400, seed=next(SEEDS), start=START, retries=0).sandbox
    for fault in ("503", "garbage", "html-200", "truncated-json", "success-false", "429-text", "cut-body"):
        session.faults.add(fault, path="/v1/instances/")
        with pytest.raises(errors.ApiError):
            vastnb.instances()
        session.faults.clear()


def test_the_audit_has_all_that_costs_and_the_line_that_ends_it(session: Sandbox) -> None:
    offers = vastnb.search("num_gpus=1").drop_duplicates("machine_id")
    bounded: Any = vastnb.launch(offers.iloc[0], name="bounded", max_hours=100)
    forgotten: Any = vastnb.launch(offers.iloc[1], name="forgotten")
    stopped: Any = vastnb.launch(offers.iloc[2], name="stopped").wait()
    session.clock.step(minutes=20)
    stopped.refresh().stop()
    fleet = Fleet(vastnb.services.session.current().client)
    by_hand = fleet.machines.create(int(offers.offer_id.iloc[3]), {"client_id": "me", "image": "a:1", "disk": 10})[
        "new_contract"
    ]
    session.clock.step(hours=2)

    frame = vastnb.audit()

    rows = {int(row["id"]): row for row in frame.to_dict("records")}
    assert set(rows) == {bounded.id, forgotten.id, stopped.id, by_hand}
    assert "nothing ends it" in rows[forgotten.id]["why"]
    assert "nothing ends it" not in rows[bounded.id]["why"]
    assert "its disk costs" in rows[stopped.id]["why"]
    assert "not made by vastnb" in rows[by_hand]["why"]
    server = {row["id"]: row for row in session.instances}
    assert rows[stopped.id]["usd_per_hour"] == pytest.approx(server[stopped.id]["storage_total_cost"])
    assert rows[by_hand]["usd_per_hour"] == pytest.approx(server[by_hand]["dph_total"])
    assert "the balance is $" in frame_text(frame)
    for row in rows.values():
        eval(row["end"], {"vastnb": vastnb})
    assert session.instances == []
    assert vastnb.audit().empty


def test_the_audit_needs_no_record_of_this_computer(there: Yard, kernel: Fleet) -> None:
    rented(kernel, there.offers(kernel), name="lora", max_hours=3)
    laptop = there.kernel(folder="laptop")

    frame = listing.audit(client=laptop.client)

    assert frame.name.tolist() == ["lora"]
    assert frame.ends_at.notna().all()


# --- for the length of a block -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "exception", "interrupt", "exit"])
def test_a_rented_block_leaves_nothing_behind(session: Sandbox, how: str) -> None:
    raised = {"exception": ValueError, "interrupt": KeyboardInterrupt, "exit": SystemExit}.get(how)

    def block() -> None:
        with vastnb.rent("num_gpus=1", max_hours=1, max_usd_per_hour=5) as i:
            assert i.state == "running"
            assert len(session.instances) == 1
            if raised is not None:
                raise raised

    if raised is None:
        block()
    else:
        with pytest.raises(raised):
            block()
    assert session.instances == []


def test_threads_may_use_one_fleet(there: Yard, kernel: Fleet) -> None:
    offers = there.offers(kernel).drop_duplicates("machine_id")
    machines: list[Instance] = []
    threads = [threading.Thread(target=lambda n=n: machines.append(rented(kernel, offers.iloc[n]))) for n in range(4)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {machine.id for machine in machines} == {row["id"] for row in there.machines}
    assert len(machines) == 4
