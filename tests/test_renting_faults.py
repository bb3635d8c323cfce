"""Faults on every paying and ending call: nobody pays twice, nothing bought is lost track of, nothing that exists is called gone.

The campaign (``pytest -m campaign tests/test_renting_faults.py``) runs the same mixes 10,000 times, and 500 killed processes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from renting import Yard, yard

from vastnb import errors
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on

LOST = ("cut-after", "cut-body", "garbage", "truncated-json", "html-200", "late-commit", "cut-before", "hang")
REFUSED = ("success-false", "auth-404", "auth-401", "auth-403")
BUSY = ("429-record", "429-detail", "429-coded", "429-text", "429-quota")
BROKEN = ("500", "502-html", "503", "504")
EITHER_WAY = tuple(f"{name} acts" for name in (*BROKEN, *BUSY, "hang"))
LATE = ("slow", "stuck-loading")
RENTING = (*LOST, *REFUSED, *BUSY, *BROKEN, *EITHER_WAY, *LATE, "doubled-request", "listing-lag", "insufficient-bid")
LISTING = (
    "429-text",
    "500",
    "502-html",
    "503",
    "cut-before",
    "cut-body",
    "garbage",
    "truncated-json",
    "html-200",
    "success-false",
)


def add(there: Yard, fault: str, path: str, method: str, **options: Any) -> None:
    name, _, acts = fault.partition(" ")
    there.sandbox.faults.add(name, path=path, method=method, **({"acts": True} if acts else {}), **options)


def try_to_rent(kernel: Fleet, offers: Any, **options: Any) -> str:
    try:
        launch_on(kernel, offers, **options)
    except errors.LaunchUncertainError as error:
        return "uncertain" if error.label.startswith("vnb-") else "uncertain of what?"
    except errors.VastError:
        return "refused"
    return "rented"


def settle(there: Yard) -> Fleet:
    """All faults over, everything late has happened, and one more kernel has looked."""
    there.sandbox.faults.clear()
    there.sandbox.clock.step(minutes=10)
    kernel = there.kernel(timeout_s=5)
    kernel.look()
    kernel.look()
    return kernel


def check_invariants(there: Yard) -> None:
    """Machines on the server are those in the journal; no token was used twice; nothing is open without a name for it."""
    kernel = settle(there)
    rows = kernel.journal.rows()
    on_server = {row["id"] for row in there.machines}
    assert on_server == {row.instance_id for row in rows if row.state == "created"}
    tokens = [row["label"].split()[0] for row in there.machines]
    assert len(tokens) == len(set(tokens))
    assert {row.state for row in rows} <= {"created", "refused", "absent", "ended"}


@pytest.mark.parametrize("rental", ["on-demand", "bid"])
@pytest.mark.parametrize("fault", RENTING)
def test_a_fault_of_renting_makes_at_most_one_machine_that_is_known(there: Yard, fault: str, rental: str) -> None:
    kernel, offers = there.kernel(timeout_s=0.3), there.offers(there.kernel(timeout_s=10), rental=rental)
    bid = {"bid_usd_per_hour": float(offers.min_bid_usd_per_hour[0]) * 1.5} if rental == "bid" else {}
    add(there, fault, "/asks/", "PUT", **({"seconds": 0.1} if fault == "slow" else {}))

    outcome = try_to_rent(kernel, offers.iloc[0], name="lora", **bid)

    check_invariants(there)
    assert len(there.machines) <= 1
    if fault in (
        *BUSY,
        "cut-after",
        "cut-body",
        "garbage",
        "truncated-json",
        "doubled-request",
        "listing-lag",
        *LATE,
        *EITHER_WAY,
    ):
        assert (outcome, len(there.machines)) == ("rented", 1)
    if fault in (*REFUSED, "insufficient-bid"):
        assert (outcome, len(there.machines)) == ("refused", 0)


@pytest.mark.parametrize("fault", LISTING)
def test_a_lost_answer_and_a_list_that_fails_are_uncertain_and_taken_over_later(there: Yard, fault: str) -> None:
    kernel, offers = there.kernel(timeout_s=0.3), there.offers(there.kernel(timeout_s=10))
    kernel.look()
    there.sandbox.faults.add("cut-after", path="/asks/", method="PUT")
    real_list = kernel.machines.table
    listed = iter([True])

    def first_then_faults(**options: Any) -> Any:
        if next(listed, False):
            found = real_list(**options)
            there.sandbox.faults.add(fault, path="/v1/instances/", times=None)
            return found
        return real_list(**options)

    kernel.machines.table = first_then_faults  # type: ignore[method-assign]
    with pytest.raises(errors.LaunchUncertainError) as caught:
        launch_on(kernel, offers.iloc[0], name="lora")
    assert caught.value.label in str(caught.value)

    with pytest.raises(errors.ApiError):
        launch_on(there.kernel(timeout_s=0.3), offers.iloc[1], name="other")
    assert there.rent_requests == 1
    check_invariants(there)
    assert len(there.machines) == 1


@pytest.mark.parametrize("fault", [*LISTING, *LOST, *BUSY, *BROKEN, "500 acts", "503 acts"])
def test_nothing_is_called_destroyed_that_exists(there: Yard, fault: str) -> None:
    kernel = there.kernel(timeout_s=0.3)
    machine = launch_on(kernel, there.offers(there.kernel(timeout_s=10)).iloc[0], name="lora")
    add(there, fault, "/instances/", "", times=3)

    try:
        machine.destroy()  # type: ignore[union-attr]
    except errors.VastError:
        return
    assert there.machines == []


@pytest.mark.parametrize("fault", [*LOST, *BUSY, *BROKEN, "success-false"])
@pytest.mark.parametrize("verb", ["stop", "start", "reboot", "rename"])
def test_a_fault_of_another_call_is_an_error_or_what_was_asked(there: Yard, fault: str, verb: str) -> None:
    kernel = there.kernel(timeout_s=0.3)
    machine: Any = launch_on(kernel, there.offers(there.kernel(timeout_s=10)).iloc[0], name="lora")
    there.sandbox.clock.step(minutes=10)
    add(there, fault, "/instances/", "PUT")

    try:
        getattr(machine, verb)(*(["text"] if verb == "rename" else []))
    except errors.VastError:
        pass
    else:
        there.sandbox.clock.step(minutes=10)
        (row,) = there.machines
        assert row["intended_status"] == ("stopped" if verb == "stop" else "running")
    check_invariants(there)


# --- mixes ----------------------------------------------------------------------------------------------------------------


def mix(folder: Path, seed: int) -> None:
    """Some rentals by two kernels while anything may fail, and everything accounted for at the end."""
    rnd = random.Random(seed)
    with yard(folder, offers=60, seed=seed % 7) as there:
        kernels = [there.kernel(timeout_s=0.15), there.kernel(timeout_s=0.15)]
        patient = there.kernel(timeout_s=10)
        offers = {rental: there.offers(patient, rental=rental) for rental in ("on-demand", "bid")}
        calls = [rent_something(there, rnd, rnd.choice(kernels), offers, number) for number in range(3)]
        check_invariants(there)
        bought = {row.token for row in settle(there).journal.rows("created")}
        for outcome, tokens in calls:
            assert len(bought & tokens) <= {"rented": 1, "uncertain": 1, "refused": 0}[outcome]
        for row in settle(there).journal.rows("created"):
            for fault in rnd.choices((*LISTING, *BROKEN), k=rnd.randrange(3)):
                add(there, fault, "/instances/", "")
            assert row.instance_id is not None
            end(rnd.choice(kernels), row.instance_id, there)
        check_invariants(there)


def rent_something(
    there: Yard, rnd: random.Random, kernel: Fleet, market: dict[str, Any], number: int
) -> tuple[str, set[str]]:
    """One launch under some faults: how it ended, and the tokens that it wrote down."""
    rental = rnd.choice(["on-demand", "bid"])
    offers = market[rental]
    first = rnd.randrange(len(offers))
    bid = (
        {"bid_usd_per_hour": float(offers.min_bid_usd_per_hour[first : first + 3].max()) * 1.5}
        if rental == "bid"
        else {}
    )
    before = {row.token for row in kernel.journal.rows()}
    for fault in rnd.choices(RENTING, k=rnd.randrange(4)):
        add(there, fault, "/asks/", "PUT", **late(fault, rnd))
    for fault in rnd.choices(LISTING, k=rnd.randrange(4)):
        add(there, fault, "/v1/instances/", "GET")
    outcome = try_to_rent(kernel, offers[first : first + 3], name=rnd.choice(["", f"m{number}", "same"]), **bid)
    there.sandbox.faults.clear()
    return outcome, {row.token for row in kernel.journal.rows()} - before


def late(fault: str, rnd: random.Random) -> dict[str, float]:
    return {"seconds": rnd.choice([3.0, 20.0, 50.0])} if fault in ("late-commit", "listing-lag") else {}


def end(kernel: Fleet, instance_id: int, there: Yard) -> None:
    from vastnb.services.instances.handle import Instance

    try:
        record, row, sight = kernel.find(instance_id)
        Instance(kernel, record, row, sight.now).destroy()
    except errors.VastError:
        return
    assert all(row["id"] != instance_id for row in there.machines)


@pytest.mark.parametrize("block", range(10))
def test_whatever_fails_in_a_mix_everything_is_accounted_for(tmp_path: Path, block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        mix(tmp_path / str(seed), seed)


@pytest.mark.campaign
@pytest.mark.parametrize("block", range(100))
def test_ten_thousand_mixes(tmp_path: Path, block: int) -> None:
    for seed in range(1000 + block * 100, 1100 + block * 100):
        mix(tmp_path / str(seed), seed)


# --- killed processes --------------------------------------------------------------------------------------------------------

CHILD = """
import sys, pathlib
sys.path[:0] = [sys.argv[1]]
from vastnb.infra.config import Settings
from vastnb.vast.client import Client
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on
client = Client(Settings(url=sys.argv[2], api_key=sys.argv[3], timeout_s=20, retries=0), cache_folder=pathlib.Path(sys.argv[4]))
print("ready", flush=True)
launch_on(Fleet(client), int(sys.argv[5]), name="lora", max_hours=1)
print("rented", flush=True)
"""


def killed(folder: Path, number: int) -> None:
    """A process is killed at a moment of its own choice around the paying call; another one finds what it left."""
    rnd = random.Random(number)
    with yard(folder, offers=60, latency_s=0.01) as there:
        kernel = there.kernel(timeout_s=5)
        offer_id = int(there.offers(kernel).offer_id[0])
        arguments = [
            str(Path(__file__).parent),
            there.sandbox.url,
            there.sandbox.api_key,
            str(there.folder / "home"),
            str(offer_id),
        ]
        if rnd.random() < 0.5:
            there.sandbox.faults.add("hang", path="/asks/", method="PUT", acts=rnd.random() < 0.7)
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rnd.uniform(0, 0.15))
        os.kill(child.pid, rnd.choice([signal.SIGKILL, signal.SIGINT]))
        child.communicate()
        there.sandbox.faults.clear()

        again = launch_on(there.kernel(timeout_s=5), there.offers(kernel).iloc[1], name="lora", max_hours=1)

        assert [row["id"] for row in there.machines] == [again.id]  # type: ignore[union-attr]
        check_invariants(there)


@pytest.mark.parametrize("number", range(20))
def test_a_killed_process_leaves_one_machine_that_the_next_takes_over(tmp_path: Path, number: int) -> None:
    killed(tmp_path, number)


@pytest.mark.campaign
@pytest.mark.parametrize("number", range(100, 600))
def test_five_hundred_killed_processes(tmp_path: Path, number: int) -> None:
    killed(tmp_path, number)
