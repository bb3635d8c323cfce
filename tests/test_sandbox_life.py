"""Rented machines of the sandbox: what a create request makes, the states it goes through, and who may act on it."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_doors import START, Renter, offers, words

from vastnb.sandbox import Sandbox, templates
from vastnb.sandbox.rentals import Instance

UP, DOWN = ("running", "running", "running"), ("stopped", "stopped", "stopped")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(offers=150, seed=3, start=START) as sandbox:
        yield sandbox


@pytest.fixture
def renter(sandbox: Sandbox) -> Renter:
    return Renter(sandbox)


def course(sandbox: Sandbox, instance_id: int) -> list[tuple[Any, ...]]:
    """Return the four words that an instance has had, in order."""
    return [words(moment) for moment in sandbox.history(instance_id)]


def run(sandbox: Sandbox, instance_id: int) -> None:
    """Step until an instance runs."""
    for _ in range(60):
        if next(row for row in sandbox.instances if row["id"] == instance_id)["actual_status"] == "running":
            return
        sandbox.clock.step(seconds=20)
    raise AssertionError("it never ran")


# --- what is made


def test_an_offer_is_rented_at_its_price_of_now_and_vanishes(sandbox: Sandbox, renter: Renter) -> None:
    offer = offers(sandbox)[0]
    told = renter.create(offer, label="job_1", disk=30, env={"A": "b", "-p 8080:80": "1"}, onstart="echo hi")

    assert told.status == 200
    assert sorted(told.body) == ["instance_api_key", "new_contract", "success"]
    assert len(told.body["instance_api_key"]) == 64 and int(told.body["instance_api_key"], 16) > 0
    row = renter.show(told.body["new_contract"])
    assert row is not None
    priced = sandbox.market.offer(
        sandbox.market.slot(offer["id"], sandbox.clock.now()) or 0, sandbox.clock.now(), 30, "on-demand"
    )
    assert (row["dph_base"], row["dph_total"]) == (offer["dph_base"], priced["dph_total"])
    assert row["storage_total_cost"] == offer["storage_cost"] * 30 / 720
    assert (row["label"], row["disk_space"], row["is_bid"], row["onstart"]) == ("job_1", 30, False, "echo hi")
    assert row["extra_env"] == [["A", "b"], ["-p 8080:80", "1"]]
    assert row["ssh_port"] == 10_000 + row["id"] % 10_000 and row["ssh_host"] == f"ssh{row['ssh_idx']}.vast.ai"
    left = sandbox.offers({"rentable": {"eq": True}})
    assert not any(set(other["gpu_ids"]) & set(offer["gpu_ids"]) for other in left)
    assert (again := renter.create(offer)).status == 410 and "no_such_ask" in again.body["msg"]


@pytest.mark.parametrize(
    ("body", "error", "part"),
    [
        ({"disk": 7}, "invalid_args", "at least 8"),
        ({"disk": 10**7}, "invalid_args", "at most"),
        ({"disk": "20"}, "invalid_args", "disk"),
        ({"image": ""}, "invalid_args", "image"),
        ({"image": None}, "invalid_args", "image"),
        ({"onstart": "x" * 4049}, "invalid_args", "4048"),
        ({"label": "x" * 257}, "invalid_args", "256"),
        ({"label": 5}, "invalid_args", "label"),
        ({"price": 0.0001}, "invalid_price", "0.001"),
        ({"price": 129}, "invalid_price", "128"),
        ({"price": True}, "invalid_price", "bid"),
        ({"env": "-x 1"}, "invalid_args", "env"),
        ({"env": "-e 'A"}, "invalid_args", "env"),
        ({"args": "x"}, "invalid_args", "args"),
        ({"target_state": "asleep"}, "invalid_args", "target_state"),
        ({"template_hash_id": "no"}, "invalid_template", "no"),
        ({"volume_info": {"volume_id": 1}}, "invalid_args", "mount_path"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_400_and_makes_nothing(
    sandbox: Sandbox, renter: Renter, body: dict[str, Any], error: str, part: str
) -> None:
    told = renter.create(offers(sandbox)[0], **body)

    assert (told.status, told.body["success"], told.body["error"]) == (400, False, error)
    assert part in told.body["msg"]
    assert sandbox.instances == [] and renter.credit == 100.0


@pytest.mark.parametrize(("ask_id", "status"), [("1", 404), ("999999999", 404), ("9" * 30, 404), ("x", 400)])
def test_an_offer_that_is_not_there_is_a_404_in_the_shape_of_2026(renter: Renter, ask_id: str, status: int) -> None:
    told = renter.ask("PUT", f"/api/v0/asks/{ask_id}/", {"image": "a/b"})

    assert (told.status, told.body["error"]) == (status, "invalid_args")
    if status == 404:
        msg = f"error 404/3603: no_such_ask Instance type by id {ask_id} is not available."
        assert told.body == {"success": False, "error": "invalid_args", "msg": msg, "ask_id": int(ask_id)}


def test_an_offer_that_others_rent_is_a_404(sandbox: Sandbox, renter: Renter) -> None:
    assert renter.create(sandbox.offers({"rentable": {"eq": False}})[0]).status == 404


def test_without_credit_nothing_is_rented(sandbox: Sandbox) -> None:
    poor = Renter(sandbox, sandbox.add_account(credit_usd=0))
    told = poor.create(offers(sandbox)[0])
    assert (told.status, told.body["error"]) == (400, "insufficient_credit")


def test_a_template_is_merged_with_what_is_sent(sandbox: Sandbox, renter: Renter) -> None:
    template_id, hash_id = templates.identity(0)
    number = renter.rent(offers(sandbox)[0], image=None, disk=None, template_hash_id=hash_id, env={"JUPYTER_DIR": "/x"})
    row = renter.show(number) or {}

    assert (row["image_uuid"], row["template_id"]) == ("vastai/pytorch:2.6.0-cuda-12.4.1-py311", template_id)
    assert (row["disk_space"], row["image_runtype"], row["template_hash_id"]) == (32.0, "jupyter", hash_id)
    assert ["JUPYTER_DIR", "/x"] in row["extra_env"] and ["-p 6006:6006", "1"] in row["extra_env"]


def test_environment_as_flags_of_docker_is_kept_as_pairs(sandbox: Sandbox, renter: Renter) -> None:
    number = renter.rent(
        offers(sandbox)[0],
        env="-e TZ=PDT -e 'A=b c' -p 5000:5000/udp -h box",
        runtype="jupyter_direc ssh_direc ssh_proxy",
    )
    run(sandbox, number)
    row = renter.show(number) or {}

    assert row["extra_env"] == [["TZ", "PDT"], ["A", "b c"], ["-p 5000:5000/udp", "1"], ["-h box", "1"]]
    assert sorted(row["ports"]) == ["22/tcp", "5000/udp", "8080/tcp"]
    assert [sorted(entry) for entry in row["ports"]["22/tcp"]] == [["HostIp", "HostPort"]] * 2


def test_several_are_made_changed_and_ended_at_once(sandbox: Sandbox, renter: Renter) -> None:
    first, second, third = offers(sandbox)[:3]
    body = {"image": "a/b", "disk": 10, "ids": [first["id"], 5, second["id"]]}
    told = renter.good("POST", "/api/v0/asks/bulk/", body)

    assert not told["success"] and [answer["success"] for answer in told["results"]] == [True, False, True]
    made = told["new_contracts"]
    assert [row["id"] for row in renter.listed()] == made
    assert renter.good("PUT", "/api/v0/instances/", {"state": "stopped", "ids": made}) == {"success": True}
    assert {row["cur_state"] for row in renter.listed()} == {"stopped"}
    assert renter.good("POST", "/api/v0/instances/start/", {"ids": made}) == {"success": True}
    sandbox.clock.step(seconds=5)
    assert {row["cur_state"] for row in renter.listed()} == {"running"}
    assert renter.ask("DELETE", "/api/v0/instances/", {"instance_ids": [*made, 7]}).status == 404
    assert renter.good("DELETE", "/api/v0/instances/", {"instance_ids": made}) == {"success": True}
    assert renter.listed() == []
    query = {
        "num_gpus": {"eq": third["num_gpus"]},
        "order": [["dph_total", "asc"]],
        "rentable": {"eq": True},
        "limit": 3,
    }
    launched = renter.good("PUT", "/api/v0/launch_instance/", {"image": "a/b", "disk": 16, "q": query})
    assert [row["id"] for row in renter.listed()] == [launched["new_contract"]]


ODD = [None, True, 0, -1, 1.5, "", "x", [], [1], ["a"], {"a": 1}, 1e308, 10**30, {"in": 5}, {"gte": "x", "lte": []}]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_sent_is_answered_and_touches_no_other_machine(sandbox: Sandbox, renter: Renter, seed: int) -> None:
    rnd = random.Random(seed)
    *chosen, offered = offers(sandbox)[:3]
    kept = [renter.rent(offer) for offer in chosen]
    paths = [
        ("PUT", f"/api/v0/asks/{offered['id']}/"), ("POST", "/api/v0/asks/bulk/"), ("PUT", "/api/v0/launch_instance/"),
        ("PUT", f"/api/v0/instances/{kept[0]}/"), ("PUT", "/api/v0/instances/"), ("POST", "/api/v0/instances/start/"),
        ("DELETE", "/api/v0/instances/"), ("PUT", f"/api/v0/instances/bid_price/{kept[0]}/"), ("PUT", "/api/v0/volumes/"),
        ("PUT", f"/api/v0/instances/prepay/{kept[0]}/"), ("DELETE", "/api/v0/volumes/"),
    ]  # fmt: skip
    names = ["image", "env", "price", "disk", "label", "onstart", "runtype", "args", "args_str", "target_state", "ids",
             "volume_info", "template_hash_id", "jupyter_dir", "state", "instance_ids", "amount", "id", "size", "q"]  # fmt: skip
    for _ in range(120):
        method, path = rnd.choice(paths)
        body = {name: rnd.choice(ODD) for name in rnd.sample(names, rnd.randrange(1, 6))} | {"image": "a/b"}
        sent = body if rnd.random() < 0.9 else rnd.choice(ODD)
        assert renter.ask(method, path, sent).status in (200, 400, 404, 410, 411), (method, path, sent)
    assert set(kept) <= {row["id"] for row in sandbox.instances}


# --- states and their times


def test_a_machine_is_made_loaded_run_stopped_started_and_ended_in_the_observed_states(
    sandbox: Sandbox, renter: Renter
) -> None:
    number = renter.rent(offers(sandbox)[0])
    assert words(renter.show(number) or {}) == (None, *UP)
    run(sandbox, number)
    assert renter.state(number, "stopped").body == {"success": True}
    sandbox.clock.step(minutes=1)
    assert renter.state(number, "running").body == {"success": True}
    sandbox.clock.step(minutes=2)
    renter.good("PUT", f"/api/v0/instances/reboot/{number}/", {})
    sandbox.clock.step(minutes=1)
    renter.good("PUT", f"/api/v0/instances/recycle/{number}/", {})
    sandbox.clock.step(minutes=30)
    assert renter.destroy(number).body == {"success": True}

    assert course(sandbox, number) == [
        (None, *UP), ("created", *UP), ("loading", *UP), ("running", *UP),
        ("running", "running", "stopped", "stopped"), ("exited", "running", "stopped", "stopped"), ("exited", *DOWN),
        ("exited", "stopped", "running", "running"), ("exited", *UP), ("running", *UP),
        ("rebooting", *UP), ("running", *UP), ("recycling", *UP), ("loading", *UP), ("running", *UP), ("exited", *DOWN),
    ]  # fmt: skip
    assert renter.show(number) is None and renter.listed() == []
    for method, path in (("DELETE", f"/{number}/"), ("PUT", f"/{number}/"), ("PUT", f"/reboot/{number}/")):
        told = renter.ask(method, f"/api/v0/instances{path}", {"state": "stopped"})
        assert (told.status, told.body["error"]) == (404, "no_such_instance")


def test_how_long_each_state_lasts(sandbox: Sandbox, renter: Renter) -> None:
    numbers = [renter.rent(offer, image=f"a/{n}") for n, offer in enumerate(offers(sandbox)[:24])]
    sandbox.clock.step(hours=1)
    until_running = []
    for number in numbers:
        moments = sandbox.history(number)
        if moments[3]["actual_status"] == "running":
            until_running.append(moments[3]["at"] - moments[0]["at"])
    assert len(until_running) >= 22
    assert all(30 <= seconds <= 1000 for seconds in until_running)
    assert sum(seconds <= 60 for seconds in until_running) >= 6 and sum(seconds > 90 for seconds in until_running) >= 6

    number = next(n for n in numbers if (renter.show(n) or {})["actual_status"] == "running")
    stopped_at = sandbox.clock.now()
    renter.state(number, "stopped")
    sandbox.clock.step(minutes=5)
    started_at = sandbox.clock.now()
    renter.state(number, "running")
    sandbox.clock.step(minutes=5)
    late = [(moment["at"], moment["phase"]) for moment in sandbox.history(number) if moment["at"] >= stopped_at]
    assert late[:4] == [
        (stopped_at, "stopping"),
        (stopped_at + 4, "ending"),
        (stopped_at + 6, "stopped"),
        (started_at, "accepted"),
    ]
    assert late[4][0] - started_at == pytest.approx(3.4, abs=0.001)
    assert 40 <= late[5][0] - started_at <= 70 and late[5][1] == "running"


def test_the_life_does_not_depend_on_how_the_clock_is_stepped() -> None:
    lives = []
    for steps in ([86400.0 * 9], [3600.0] * 216, [11.0] * 300 + [86400.0 * 9 - 3300]):
        with Sandbox(offers=120, seed=5, start=START) as sandbox:
            renter = Renter(sandbox)
            found = offers(sandbox)
            numbers = [renter.rent(offer) for offer in found[:3]]
            numbers += [renter.rent(offer, price=offer["min_bid"] * 1.02) for offer in found[3:9]]
            for seconds in steps:
                sandbox.clock.step(seconds=seconds)
            lives.append([[(m["at"], m["phase"]) for m in sandbox.history(number)] for number in numbers])
            bills = [(line["item"], line["micro_usd"]) for line in sandbox.bill()]
            lives[-1].append(bills)
    assert lives[0] == lives[1] == lives[2]
    assert any(phase == "outbid" for life in lives[0][3:9] for _, phase in life)


def test_a_stopped_machine_gives_its_gpus_back_and_waits_when_they_are_let(sandbox: Sandbox, renter: Renter) -> None:
    other = Renter(sandbox, sandbox.add_account())
    offer = offers(sandbox)[0]
    number = renter.rent(offer)
    run(sandbox, number)
    renter.state(number, "stopped")
    sandbox.clock.step(seconds=10)
    theirs = other.rent(offer)

    told = renter.state(number, "running")

    assert (told.status, told.body["success"]) == (200, False)
    assert told.body["msg"] == "Required resources are currently unavailable, state change queued"
    sandbox.clock.step(minutes=5)
    assert words(renter.show(number) or {}) == ("exited", "stopped", "running", "running")
    other.destroy(theirs)
    sandbox.clock.step(minutes=2)
    assert words(renter.show(number) or {}) == ("running", *UP)


def test_a_stuck_machine_loads_for_ever(sandbox: Sandbox, renter: Renter) -> None:
    sandbox.faults.add("stuck-loading")
    first, second = (renter.rent(offer) for offer in offers(sandbox)[:2])
    sandbox.stick(second)
    sandbox.clock.step(hours=5)
    assert [row["actual_status"] for row in sandbox.instances] == ["loading", "loading"]
    assert [line for line in sandbox.bill() if line["item"] == "gpu"] == []
    renter.destroy(first)
    assert [row["id"] for row in renter.listed()] == [second]


def test_a_contract_ends_with_its_offer_and_is_deleted_two_days_later(sandbox: Sandbox, renter: Renter) -> None:
    offer = next(o for o in offers(sandbox, duration={"gte": 2 * 86400}) if o["duration"] < 9 * 86400)
    number = renter.rent(offer)
    sandbox.clock.step(seconds=offer["end_date"] - sandbox.clock.now())
    assert words(renter.show(number) or {}) == ("exited", *DOWN)
    assert renter.state(number, "running").status == 400
    assert "ended" in (renter.show(number) or {})["status_msg"]
    sandbox.clock.step(hours=47)
    assert renter.show(number) is not None
    sandbox.clock.step(hours=2)
    assert renter.show(number) is None


def test_a_host_that_vanishes_takes_its_machines_offline_and_they_do_not_run_by_themselves(
    sandbox: Sandbox, renter: Renter
) -> None:
    number, stopped = (renter.rent(offer) for offer in offers(sandbox)[:2])
    for one in (number, stopped):
        run(sandbox, one)
    renter.state(stopped, "stopped")
    sandbox.clock.step(minutes=1)
    spent = renter.credit
    sandbox.offline(number, seconds=3600)
    assert words(renter.show(number) or {}) == ("offline", *UP)
    sandbox.offline(stopped, seconds=3600)
    sandbox.clock.step(minutes=30)
    assert renter.credit == spent
    assert words(renter.show(stopped) or {}) == ("offline", *DOWN)
    assert renter.state(stopped, "running").body["success"] is False
    sandbox.clock.step(minutes=35)
    assert words(renter.show(number) or {}) == ("exited", *DOWN)
    assert (renter.show(number) or {})["status_msg"] == "stopped: its host was offline"
    assert words(renter.show(stopped) or {}) == ("running", *UP)
    sandbox.offline(number)
    sandbox.clock.step(days=3)
    assert (renter.show(number) or {})["actual_status"] == "offline"
    assert renter.destroy(number).status == 200


def test_outages_of_the_market_reach_rented_machines() -> None:
    with Sandbox(offers=400, seed=2, start=START) as sandbox:
        renter = Renter(sandbox)
        numbers = [renter.rent(offer) for offer in offers(sandbox)[:60]]
        sandbox.clock.step(days=12)
        out = [number for number in numbers if any(m["actual_status"] == "offline" for m in sandbox.history(number))]
        assert 2 <= len(out) <= 20
        for number in out:
            at = next(m["at"] for m in sandbox.history(number) if m["actual_status"] == "offline")
            assert at % 60 == 0 or at == sandbox.clock.now()


# --- bids


def test_a_bid_that_is_too_low_comes_as_a_stopped_machine_that_bills_its_disk(sandbox: Sandbox, renter: Renter) -> None:
    offer = offers(sandbox)[0]
    told = renter.create(offer, price=offer["min_bid"] * 0.9)

    assert (told.status, told.body["success"], told.body["error"]) == (200, False, "insufficient_bid")
    number = told.body["new_contract"]
    row = renter.show(number) or {}
    assert words(row) == ("exited", *DOWN)
    assert row["is_bid"] and row["min_bid"] > row["dph_base"] == pytest.approx(offer["min_bid"] * 0.9)
    sandbox.clock.step(minutes=1)
    assert 0 < 100 - renter.credit < 0.01
    refused = renter.create(offer, price=offer["min_bid"] * 0.9, cancel_unavail=True)
    assert (refused.status, refused.body["error"]) == (410, "no_such_ask")
    assert [row["id"] for row in sandbox.instances] == [number]


def test_two_bids_on_one_offer_are_accepted_and_the_higher_one_runs(sandbox: Sandbox, renter: Renter) -> None:
    other = Renter(sandbox, sandbox.add_account())
    offer = offers(sandbox)[0]
    first = renter.rent(offer, price=offer["min_bid"] * 1.5)
    run(sandbox, first)
    low = other.create(offer, price=offer["min_bid"] * 1.5)
    assert low.body["success"] is False and low.body["new_contract"]

    second = other.rent(offer, price=offer["min_bid"] * 1.6)

    row = renter.show(first) or {}
    assert words(row) == ("exited", *DOWN) and row["min_bid"] > row["dph_base"]
    other.destroy(second)
    sandbox.clock.step(minutes=2)
    assert words(renter.show(first) or {}) == ("running", *UP)
    # On-demand goes before any bid.
    third = other.rent(offer)
    row = renter.show(first) or {}
    assert words(row) == ("exited", *DOWN) and row["min_bid"] > row["dph_base"]
    assert not (other.show(third) or {})["is_bid"]


def test_an_outbid_machine_comes_back_when_its_bid_is_raised(sandbox: Sandbox, renter: Renter) -> None:
    offer = offers(sandbox)[0]
    number = renter.rent(offer, price=offer["min_bid"] * 1.3)
    run(sandbox, number)
    sandbox.outbid(number, usd_per_hour=offer["min_bid"] * 2)
    row = renter.show(number) or {}
    assert words(row) == ("exited", *DOWN) and row["min_bid"] == offer["min_bid"] * 2
    for price, wanted in ((offer["min_bid"] * 1.9, "exited"), (offer["min_bid"] * 2, "running")):
        renter.good("PUT", f"/api/v0/instances/bid_price/{number}/", {"client_id": "me", "price": price})
        sandbox.clock.step(minutes=2)
        assert (renter.show(number) or {})["actual_status"] == wanted
    sandbox.outbid(number)
    renter.good("PUT", f"/api/v0/instances/bid_price/{number}/", {"client_id": "me", "price": None})
    sandbox.clock.step(minutes=2)
    assert (renter.show(number) or {})["actual_status"] == "running"
    assert renter.ask("PUT", f"/api/v0/instances/bid_price/{number}/", {"price": 0}).body["error"] == "invalid_price"
    other = renter.rent(offers(sandbox)[0])
    assert renter.ask("PUT", f"/api/v0/instances/bid_price/{other}/", {"price": 1}).status == 400
    with pytest.raises(ValueError, match="on demand"):
        sandbox.outbid(other)


def test_the_market_outbids_and_gives_back_as_its_lowest_bid_moves(sandbox: Sandbox, renter: Renter) -> None:
    numbers = {renter.rent(o, price=o["min_bid"] * 1.01): o for o in offers(sandbox)[:12]}
    seen = set()
    for _ in range(30):
        sandbox.clock.step(minutes=90)
        now = {offer["machine_id"]: offer for offer in sandbox.offers()}
        for row in sandbox.instances:
            phase = sandbox.history(row["id"])[-1]["phase"]
            offer = now.get(row["machine_id"])
            if row["actual_status"] != "offline" and phase != "stopped" and offer is not None:
                per_gpu = offer["min_bid"] / offer["num_gpus"]
                assert row["min_bid"] == pytest.approx(per_gpu * row["num_gpus"])
                assert (phase == "outbid") is (row["min_bid"] > row["dph_base"])
                seen.add(phase)
    assert {"outbid", "running"} <= seen
    assert any(len(sandbox.history(number)) > 6 for number in numbers)


def test_a_price_raised_between_search_and_create_is_what_is_agreed(sandbox: Sandbox, renter: Renter) -> None:
    first, second = offers(sandbox)[:2]
    bid = renter.rent(second, price=second["min_bid"] * 1.5)
    sandbox.reprice(first["id"], 3)
    number = renter.rent(first)
    assert (renter.show(number) or {})["dph_base"] == pytest.approx(first["dph_base"] * 3, rel=0.02)
    sandbox.reprice(second["id"], 2)
    assert (renter.show(bid) or {})["cur_state"] == "stopped"
    with pytest.raises(ValueError, match="no offer 5"):
        sandbox.reprice(5, 2)


# --- the list


def test_the_list_is_cut_into_pages_filtered_ordered_and_counted(sandbox: Sandbox, renter: Renter) -> None:
    numbers = [renter.rent(o, label=["a_1", "a 1", None][n % 3]) for n, o in enumerate(offers(sandbox)[:60])]
    sandbox.clock.step(minutes=20)
    seen: list[int] = []
    token = ""
    while token is not None:
        page = renter.good("GET", "/api/v1/instances/", limit=30, **({"after_token": token} if token else {}))
        assert (page["total_instances"], page["instances_found"]) == (60, len(page["instances"]))
        seen += [row["id"] for row in page["instances"]]
        assert len(page["instances"]) <= 25
        token = page["next_token"]
    assert seen == numbers
    assert page["label_counts"] == {"": 20, "a 1": 20, "a_1": 20}
    wanted = renter.good(
        "GET", "/api/v1/instances/", select_filters={"label": {"eq": "a_1"}}, select_cols=["id", "label", "nope"]
    )
    assert wanted["instances"] == [{"id": n, "label": "a_1", "nope": None} for n in numbers[::3]]
    assert wanted["label_counts"] == {"a_1": 20}
    assert len(renter.listed(select_filters={"label": {"in": [None]}})) == 20
    assert len(renter.listed(limit=0)) == 5 and len(renter.listed(limit=-3)) == 5
    newest = renter.listed(order_by=[{"col": "id", "dir": "desc"}], limit=2)
    assert [row["id"] for row in newest] == numbers[:-3:-1]
    names = {row["gpu_name"] for row in sandbox.instances}
    for name in names:
        found = renter.good("GET", "/api/v1/instances/", select_filters={"gpu_name": {"eq": name.replace(" ", "_")}})
        assert found["total_instances"] == sum(row["gpu_name"] == name for row in sandbox.instances)
    assert renter.ask("GET", "/api/v1/instances/", select_filters={"dph_total": {"gt": 0}}) == (
        400,
        {"error": "invalid_request", "msg": "Error in query parameters: dph_total is not a valid search key"},
    )
    assert renter.ask("GET", "/api/v1/instances/", after_token="zz").body["error"] == "invalid_token"
    assert len(sandbox.instances) == 60


def test_a_page_goes_on_behind_the_last_one_even_when_that_is_gone(sandbox: Sandbox, renter: Renter) -> None:
    numbers = [renter.rent(offer) for offer in offers(sandbox)[:9]]
    first = renter.good("GET", "/api/v1/instances/", limit=4)
    for number in (numbers[0], numbers[3]):
        renter.destroy(number)
    second = renter.good("GET", "/api/v1/instances/", limit=4, after_token=first["next_token"])
    assert [row["id"] for row in second["instances"]] == numbers[4:8]


def test_a_machine_is_relabelled(sandbox: Sandbox, renter: Renter) -> None:
    number = renter.rent(offers(sandbox)[0], label="one")
    assert renter.good("PUT", f"/api/v0/instances/{number}/", {"label": "two"}) == {"success": True}
    assert (renter.show(number) or {})["label"] == "two"
    for body in ({}, {"state": "asleep"}, {"label": "x" * 300}):
        assert renter.ask("PUT", f"/api/v0/instances/{number}/", body).status == 400
    assert renter.ask("PUT", "/api/v0/instances/seven/", {"label": "x"}).status == 400


def test_new_machines_are_listed_late_if_that_is_wanted(sandbox: Sandbox, renter: Renter) -> None:
    sandbox.faults.add("listing-lag", seconds=8)
    number = renter.rent(offers(sandbox)[0])
    assert renter.listed() == [] and renter.show(number) is not None
    assert len(sandbox.instances) == 1
    sandbox.clock.step(seconds=8)
    assert [row["id"] for row in renter.listed()] == [number]
    with Sandbox(offers=60, seed=3, start=START, listing_lag_s=5) as slow:
        renter = Renter(slow)
        renter.rent(offers(slow)[0])
        assert renter.listed() == []
        slow.clock.step(seconds=5)
        assert len(renter.listed()) == 1


# --- who may act


def test_another_accounts_machine_does_not_exist(sandbox: Sandbox, renter: Renter) -> None:
    other = Renter(sandbox, sandbox.add_account(credit_usd=7))
    number = renter.rent(offers(sandbox)[0])

    assert other.credit == 7 and other.listed() == [] and other.show(number) is None
    for method, path in (("DELETE", ""), ("PUT", ""), ("PUT", "reboot/"), ("PUT", "bid_price/"), ("PUT", "prepay/")):
        told = other.ask(method, f"/api/v0/instances/{path}{number}/", {"state": "stopped", "price": 1, "amount": 1})
        assert (told.status, told.body["error"]) == (404, "no_such_instance")
    assert [row["id"] for row in sandbox.instances] == [number]


def test_a_containers_key_may_only_act_on_its_own_machine(sandbox: Sandbox, renter: Renter) -> None:
    mine, other = offers(sandbox)[:2]
    theirs = renter.rent(other)
    told = renter.create(mine).body
    number, inside = told["new_contract"], Renter(sandbox, told["instance_api_key"])

    assert (inside.show(number) or {})["id"] == number
    assert inside.good("PUT", f"/api/v0/instances/{number}/", {"label": "x"}) == {"success": True}
    assert inside.state(number, "stopped").status == inside.state(number, "running").status == 200
    denied = {"success": False, "error": "not_authorized", "msg": "Your key is not authorized for this action"}
    for method, path in (
        ("DELETE", f"/api/v0/instances/{theirs}/"), ("PUT", f"/api/v0/instances/{theirs}/"),
        ("GET", f"/api/v0/instances/{theirs}/"), ("GET", "/api/v1/instances/"), ("GET", "/api/v0/users/current/"),
        ("PUT", f"/api/v0/asks/{mine['id']}/"), ("PUT", f"/api/v0/instances/reboot/{number}/"),
        ("DELETE", "/api/v0/instances/"), ("GET", "/api/v0/charges/"), ("POST", "/api/v0/bundles/"),
    ):  # fmt: skip
        assert inside.ask(method, path, {}) == (403, denied), (method, path)
    assert inside.ask("GET", "/_sandbox/instances").status == 401
    assert inside.destroy(number).body == {"success": True}
    assert (
        inside.destroy(number).status == 404
        and inside.ask("GET", f"/api/v0/instances/{number}/").body["error"] == "auth_error"
    )
    assert [row["id"] for row in sandbox.instances] == [theirs]


# --- faults


PAYING = ["create", "destroy", "stop"]
ACTS = {"cut-after", "cut-body", "garbage", "html-200", "truncated-json", "slow", "doubled-request"}


@pytest.mark.parametrize("call", PAYING)
def test_every_fault_of_the_answer_on_calls_that_pay_or_end(call: str) -> None:
    from vastnb.sandbox.faults import ANSWER, KINDS

    names = [name for name, kind in KINDS.items() if kind.stage == ANSWER and name != "hang"]
    with Sandbox(offers=300, seed=3, start=START) as sandbox:
        renter = Renter(sandbox)
        for name, offer in zip(names, offers(sandbox), strict=False):
            number = None if call == "create" else renter.rent(offer)
            sandbox.faults.add(name, **({"seconds": 0.01} if name == "slow" else {}))
            told = {
                "create": lambda offer=offer: renter.create(offer),
                "destroy": lambda number=number: renter.destroy(number),
                "stop": lambda number=number: renter.state(number, "stopped"),
            }[call]()
            done = {
                "create": lambda: len(sandbox.instances) == 1,
                "destroy": lambda: sandbox.instances == [],
                "stop": lambda: [row["intended_status"] for row in sandbox.instances] == ["stopped"],
            }[call]
            assert done() is (name in ACTS), (name, told)
            if name == "late-commit":
                assert told.status == 0
                sandbox.clock.step(seconds=4.5)
                assert not done()
                sandbox.clock.step(seconds=3600)
                assert done()
                if call == "create":
                    assert sandbox.instances[0]["start_date"] == sandbox.clock.now() - 3599.5
            for row in sandbox.instances:
                assert renter.destroy(row["id"]).status == 200
            assert sandbox.faults.waiting() == []


def test_a_client_that_left_a_hanging_request_has_rented_if_it_acted(sandbox: Sandbox, renter: Renter) -> None:
    for offer, acts in zip(offers(sandbox), (False, True), strict=False):
        sandbox.faults.add("hang", acts=acts)
        path, body = f"/api/v0/asks/{offer['id']}/", {"image": "a/b"}
        assert renter.ask("PUT", path, body, timeout=0.3).status == 0
        assert len(sandbox.instances) == int(acts)


def test_strict_limits_hold_for_paying_calls_and_what_they_refuse_is_not_done() -> None:
    with Sandbox(offers=100, seed=3, start=START, strict=True) as sandbox:
        renter = Renter(sandbox)
        first, second = offers(sandbox)[:2]
        number = renter.rent(first)
        assert renter.create(second) == (429, b"API requests too frequent: endpoint threshold=4.5")
        assert renter.destroy(number).status == 200
        assert renter.destroy(number).status == 429
        assert sandbox.instances == []
        assert [(record.method, record.status) for record in sandbox.log] == [
            ("PUT", 200), ("PUT", 429), ("DELETE", 200), ("DELETE", 429),
        ]  # fmt: skip


@pytest.mark.parametrize("name", ["503", "429-record", "success-false", "502-html", "504", "429-text"])
def test_a_fault_that_acts_rents_although_the_answer_is_an_error(sandbox: Sandbox, renter: Renter, name: str) -> None:
    sandbox.faults.add(name, acts=True)
    assert renter.create(offers(sandbox)[0]).status in (200, 429, 502, 503, 504)
    assert len(sandbox.instances) == 1


def test_a_doubled_request_pays_twice_where_the_offer_allows_it(sandbox: Sandbox, renter: Renter) -> None:
    first, second = offers(sandbox)[:2]
    sandbox.faults.add("doubled-request")
    number = renter.rent(first)
    assert [row["id"] for row in sandbox.instances] == [number]
    renter.destroy(number)
    sandbox.faults.add("doubled-request", told="second")
    assert renter.create(second).status == 410
    assert len(sandbox.instances) == 1
    sandbox.faults.add("doubled-request")
    renter.rent(first, price=first["min_bid"] * 2)
    assert len(sandbox.instances) == 3


def test_the_wreck_of_an_insufficient_bid_is_left_even_with_cancel_unavail(sandbox: Sandbox, renter: Renter) -> None:
    sandbox.faults.add("insufficient-bid", path="/asks/")
    told = renter.create(offers(sandbox)[0], cancel_unavail=True)
    assert told.body["success"] is False
    row = renter.show(told.body["new_contract"]) or {}
    assert words(row) == ("exited", *DOWN)
    sandbox.clock.step(hours=1)
    assert 100 - renter.credit == pytest.approx(row["storage_total_cost"], abs=1e-6)


# --- volumes


def test_a_volume_is_rented_linked_billed_and_ended(sandbox: Sandbox, renter: Renter) -> None:
    offer = next(o for o in offers(sandbox) if o["avail_vol_ask_id"])
    told = renter.good("PUT", "/api/v0/volumes/", {"id": offer["avail_vol_ask_id"], "size": 40, "name": "data"})
    number = int(told["volume_name"].removeprefix("V."))
    instance = renter.rent(offer, volume_info={"mount_path": "/data", "create_new": False, "volume_id": number})
    (volume,) = renter.good("GET", "/api/v0/volumes/", owner="me", type="all_volume")["volumes"]

    assert (volume["id"], volume["label"], volume["disk_space"], volume["machine_id"]) == (
        number,
        "data",
        40,
        offer["machine_id"],
    )
    assert (
        volume["instances"] == [{"id": instance}] and volume["storage_total_cost"] == offer["storage_cost"] * 40 / 720
    )
    assert renter.listed()[0]["volume_info"] == [{"id": number, "label": "data", "type": "local_volume"}]
    assert renter.ask("DELETE", "/api/v0/volumes/", id=number).status == 400
    renter.destroy(instance)
    assert renter.ask("DELETE", "/api/v0/volumes/", {"id": number}).status == 400
    sandbox.clock.step(hours=10)
    charged = sum(line["micro_usd"] for line in sandbox.bill() if line["contract_id"] == number)
    assert charged == round(volume["storage_total_cost"] * 10 * 1e6)
    assert renter.good("DELETE", "/api/v0/volumes/", id=number) == {"success": True}
    sandbox.clock.step(hours=10)
    assert renter.good("GET", "/api/v0/volumes/")["volumes"] == []
    assert sum(line["micro_usd"] for line in sandbox.bill() if line["contract_id"] == number) == charged
    assert renter.ask("DELETE", "/api/v0/volumes/", id=number).body["error"] == "no_such_volume"


def test_a_volume_must_be_where_the_machine_is(sandbox: Sandbox, renter: Renter) -> None:
    here, there = [o for o in offers(sandbox) if o["avail_vol_ask_id"]][:2]
    info = {"mount_path": "/data", "create_new": True, "volume_id": here["avail_vol_ask_id"], "size": 20, "name": "v"}
    assert renter.create(there, volume_info=info).status == 400
    assert renter.create(here, volume_info=info | {"volume_id": 5}).status == 404
    assert renter.create(here, volume_info=info | {"create_new": False}).body["error"] == "no_such_volume"
    assert sandbox.instances == []
    renter.rent(here, volume_info=info)
    assert [row["label"] for row in renter.good("GET", "/api/v0/volumes/")["volumes"]] == ["v"]


# --- control and what stands behind


def test_the_controls_work_over_http(sandbox: Sandbox, renter: Renter) -> None:
    offer = offers(sandbox)[0]
    number = renter.rent(offer, price=offer["min_bid"] * 1.5)
    run(sandbox, number)
    key = renter.good("POST", "/_sandbox/accounts", {"credit_usd": 3})["accounts"]
    assert Renter(sandbox, key).credit == 3
    renter.good("POST", "/_sandbox/traffic", {"instance_id": number, "down_gb": 2})
    renter.good("POST", "/_sandbox/outbid", {"instance_id": number})
    assert renter.good("GET", "/_sandbox/instances")["instances"] == json.loads(json.dumps(sandbox.instances))
    assert renter.good("GET", "/_sandbox/bill")["bill"] == sandbox.bill()
    assert renter.good("POST", "/_sandbox/history", {"instance_id": number})["history"] == sandbox.history(number)
    for body in ({"instance_id": 7}, {}, {"instance_id": number, "seconds": -1}):
        assert renter.ask("POST", "/_sandbox/offline", body).status == 400
    renter.good("POST", "/_sandbox/offline", {"instance_id": number, "seconds": 60})
    assert (renter.show(number) or {})["actual_status"] == "offline"
    renter.good("POST", "/_sandbox/reprice", {"offer_id": offer["id"], "factor": 2})


class Witness:
    """A backend that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, float]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self._note(name, *args)

    def _note(self, name: str, *args: Any) -> Any:
        if args and isinstance(args[0], Instance):
            assert args[0].row["id"] == args[0].id and len(args[0].api_key) == 64
            self.told.append((name, args[0].id, args[0].at))
        return {"ssh_host": "127.0.0.1"} if name == "shown" else None


def test_a_backend_is_told_in_the_order_of_time_however_far_the_clock_is_stepped() -> None:
    told = []
    for steps in ([3600.0], [10.0] * 360):
        witness: Any = Witness()
        with Sandbox(offers=60, seed=3, start=START, machines=witness) as sandbox:
            renter = Renter(sandbox)
            first, second = (renter.rent(offer) for offer in offers(sandbox)[:2])
            for seconds in steps:
                sandbox.clock.step(seconds=seconds)
            assert (renter.show(first) or {})["ssh_host"] == "127.0.0.1"
            renter.good("PUT", f"/api/v0/instances/reboot/{first}/", {})
            renter.state(second, "stopped")
            sandbox.clock.step(minutes=2)
            renter.destroy(first)
            told.append(witness.told)
    assert told[0] == told[1]
    assert [at for _, _, at in told[0]] == sorted(at for _, _, at in told[0])
    assert [name for name, number, _ in told[0] if number == first] == [
        "started",
        "stopped",
        "started",
        "stopped",
        "gone",
    ]
    assert [name for name, number, _ in told[0] if number == second] == ["started", "stopped"]


def test_two_clients_never_get_one_offer_both(sandbox: Sandbox) -> None:
    renters = [Renter(sandbox), Renter(sandbox, sandbox.add_account())]
    chosen = offers(sandbox)[:20]
    got: list[list[int]] = [[], []]

    def race(who: int) -> None:
        got[who] = [offer["id"] for offer in chosen if renters[who].create(offer).status == 200]

    threads = [threading.Thread(target=race, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got[0] + got[1]) == sorted(offer["id"] for offer in chosen)


# --- the records


def test_every_recorded_field_of_an_instance_is_in_the_row_with_its_type(
    sandbox: Sandbox, renter: Renter, shared_records: Path
) -> None:
    number = renter.rent(offers(sandbox)[0], label="x")
    run(sandbox, number)
    sandbox.traffic(number, down_gb=1, up_gb=1)
    running = renter.show(number) or {}
    renter.state(number, "stopped")
    sandbox.clock.step(minutes=1)
    stopped = renter.show(number) or {}
    texts = [path.read_text() for path in sorted((shared_records / "real_data").rglob("*instance*.json"))]
    records = [record for text in texts for record in _instances(json.loads(text))]
    assert len(records) >= 4
    dated = {"extra_env"}  # a dict until 2024, pairs since
    for record in records:
        for name, value in record.items():
            if name in dated:
                continue
            seen = [row[name] for row in (running, stopped) if name in row]
            assert seen, name
            kinds = {_kind(one) for one in seen}
            assert _kind(value) in kinds | {"null"} or kinds == {"null"}, (name, value, seen)


def _instances(found: Any) -> list[dict[str, Any]]:
    rows = found if isinstance(found, list) else found.get("instances", [found])
    return [row for row in rows if "actual_status" in row]


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
