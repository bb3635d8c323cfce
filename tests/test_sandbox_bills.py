"""What the sandbox bills: a second biller, written from docs/sandbox.md alone, agrees to the last millionth of a dollar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_doors import START, Renter, offers

from vastnb.sandbox import Sandbox

BILLED_GPU = ("running", "rebooting", "recycling")
DAY_S = 86400


# --- the second biller


def billionths(usd: float) -> int:
    return int(Fraction(usd) * 10**9 + Fraction(1, 2))


def half_up(usd_millionths: Fraction) -> int:
    return int(usd_millionths + Fraction(1, 2))


class Biller:
    """Adds up what was used, by the rules of the page."""

    def __init__(self) -> None:
        self.used: defaultdict[tuple[int, str, int], Fraction] = defaultdict(Fraction)

    def seconds(self, contract: int, item: str, since: float, until: float, usd_per_hour: float) -> None:
        """Count time at a price, split at midnight UTC."""
        while since < until:
            day = int(since // DAY_S)
            end = min(until, (day + 1) * DAY_S)
            self.used[contract, item, day] += Fraction(end - since) * billionths(usd_per_hour) / 3600
            since = end

    def traffic(self, contract: int, item: str, at: float, gb: float, usd_per_gb: float) -> None:
        """Count what was moved."""
        self.used[contract, item, int(at // DAY_S)] += Fraction(round(gb * 2**30), 2**30) * billionths(usd_per_gb)

    def instance(
        self, row: dict[str, Any], history: list[dict[str, Any]], bids: list[tuple[float, float]], now: float
    ) -> None:
        """Count an instance: ``bids`` are (since when, dollars per hour), the first one at its creation."""
        ends = [*(moment["at"] for moment in history[1:]), now]
        gone = history[-1]["disk_billed"] is False and history[-1]["actual_status"] != "offline"
        for number, (moment, end) in enumerate(zip(history, ends, strict=True)):
            is_last = number == len(history) - 1
            if moment["actual_status"] == "offline" or (is_last and gone):
                continue
            self.seconds(row["id"], "disk", moment["at"], end, row["storage_cost"] * row["disk_space"] / 720)
            if moment["actual_status"] in BILLED_GPU:
                changes = [*(at for at, _ in bids[1:]), float("inf")]
                for (since, usd), until in zip(bids, changes, strict=True):
                    self.seconds(row["id"], "gpu", max(since, moment["at"]), min(until, end), usd)

    def lines(self) -> dict[tuple[int, str, int], int]:
        """Return what is owed in millionths of a dollar, for each contract, item and day."""
        return {key: half_up(billionths_ / 1000) for key, billionths_ in self.used.items()}


def charged(sandbox: Sandbox, key: str | None = None) -> dict[tuple[int, str, int], int]:
    """Return the sandbox's own lines."""
    return {
        (line["contract_id"], line["item"], int(line["at"] // DAY_S)): line["micro_usd"]
        for line in sandbox.bill(key)
        if line["item"] in ("gpu", "disk", "bwd", "bwu")
    }


def without_nothing(lines: dict[Any, int]) -> dict[Any, int]:
    return {key: micro for key, micro in lines.items() if micro}


# --- random lives

ACTION = st.one_of(
    st.tuples(st.sampled_from(["stop", "start", "reboot", "recycle", "destroy"]), st.integers(0, 3), st.none()),
    st.tuples(st.just("bid"), st.integers(0, 3), st.sampled_from([0.9, 1.0, 1.1, 2.0])),
    st.tuples(st.just("outbid"), st.integers(0, 3), st.none()),
    st.tuples(st.just("offline"), st.integers(0, 3), st.sampled_from([5.0, 600.0, 90000.0])),
    st.tuples(st.just("down"), st.integers(0, 3), st.floats(0, 50)),
    st.tuples(st.just("up"), st.integers(0, 3), st.floats(0, 3)),
)
WAIT = st.sampled_from([0.25, 3.0, 17.0, 61.0, 900.0, 5000.0, 40000.0, 3 * 86400.0])


class Story:
    """Four machines, two of them interruptible, and what is done to them; the biller takes down what it needs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.renter, self.biller = sandbox, Renter(sandbox), Biller()
        found = offers(sandbox)[:4]
        self.ids = [
            self.renter.rent(o, **({"price": o["min_bid"] * 1.05} if n % 2 else {})) for n, o in enumerate(found)
        ]
        self.rows = {number: self.renter.show(number) or {} for number in self.ids}
        self.bids = {number: [(sandbox.clock.now(), row["dph_base"])] for number, row in self.rows.items()}

    def act(self, name: str, which: int, value: float | None) -> None:
        """Do something to a machine, if it is still there."""
        number, renter, now = self.ids[which], self.renter, self.sandbox.clock.now()
        if renter.show(number) is None:
            return
        row = self.rows[number]
        if name in ("stop", "start"):
            renter.state(number, {"stop": "stopped", "start": "running"}[name])
        elif name in ("reboot", "recycle"):
            renter.good("PUT", f"/api/v0/instances/{name}/{number}/", {})
        elif name == "destroy":
            renter.destroy(number)
        elif name == "bid" and row["is_bid"]:
            price = row["min_bid"] * float(value or 0)
            renter.good("PUT", f"/api/v0/instances/bid_price/{number}/", {"price": price})
            self.bids[number].append((now, price))
        elif name == "outbid" and row["is_bid"]:
            self.sandbox.outbid(number)
        elif name == "offline":
            self.sandbox.offline(number, seconds=value)
        elif name in ("down", "up"):
            self.sandbox.traffic(number, **{f"{name}_gb": value})
            self.biller.traffic(number, f"bw{name[0]}", now, float(value or 0), row[f"inet_{name}_cost"])

    def owed(self) -> dict[Any, int]:
        """Return what the second biller says."""
        for number in self.ids:
            self.biller.instance(
                self.rows[number], self.sandbox.history(number), self.bids[number], self.sandbox.clock.now()
            )
        return self.biller.lines()


def steps(seconds: float, pieces: int) -> list[float]:
    """Return a wait in some pieces, each a multiple of 1/1024 s."""
    piece = int(seconds * 1024 / pieces) / 1024
    return [piece] * (pieces - 1) + [seconds - piece * (pieces - 1)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(st.tuples(WAIT, ACTION, st.sampled_from([1, 2, 7])), min_size=1, max_size=14))
def test_a_second_biller_agrees_whatever_happens_and_however_the_clock_is_stepped(plan: list[Any]) -> None:
    bills = []
    for in_pieces in (False, True):
        with Sandbox(offers=40, seed=11, start=START, credit_usd=1e6) as sandbox:
            story = Story(sandbox)
            before = story.renter.credit
            for seconds, action, pieces in plan:
                for step in steps(seconds, pieces) if in_pieces else [seconds]:
                    sandbox.clock.step(seconds=step)
                    if in_pieces:
                        assert story.renter.credit <= before
                story.act(*action)
            sandbox.clock.step(hours=5)
            lines = charged(sandbox)
            assert without_nothing(lines) == without_nothing(story.owed())
            assert round(1e12 - story.renter.credit * 1e6) == sum(lines.values())
            bills.append(lines)
    assert bills[0] == bills[1]


# --- by hand


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(offers=80, seed=3, start=START) as sandbox:
        yield sandbox


@pytest.fixture
def renter(sandbox: Sandbox) -> Renter:
    return Renter(sandbox)


def running(sandbox: Sandbox, renter: Renter, **body: Any) -> dict[str, Any]:
    """Rent the cheapest offer and return its row once it runs."""
    number = renter.rent(offers(sandbox)[0], **body)
    sandbox.clock.step(minutes=20)
    row = renter.show(number) or {}
    assert row["actual_status"] == "running"
    return row


def test_an_hour_of_running_costs_the_offers_price(sandbox: Sandbox, renter: Renter) -> None:
    row = running(sandbox, renter)
    before = renter.credit
    sandbox.clock.step(hours=1)
    assert before - renter.credit == pytest.approx(row["dph_total"], abs=2e-6)
    assert row["dph_total"] == pytest.approx(row["dph_base"] + row["storage_cost"] * 20 / 720)


def test_loading_bills_the_disk_alone(sandbox: Sandbox, renter: Renter) -> None:
    sandbox.faults.add("stuck-loading")
    row = renter.show(renter.rent(offers(sandbox)[0])) or {}
    sandbox.clock.step(hours=2)
    assert 100 - renter.credit == pytest.approx(2 * row["storage_total_cost"], abs=2e-6)
    shown = renter.show(row["id"]) or {}
    assert shown["instance"]["gpuCostPerHour"] == 0 and shown["instance"]["totalHour"] == row["storage_total_cost"]


def test_traffic_costs_the_offers_price_per_gb_and_is_shown_in_mb(sandbox: Sandbox, renter: Renter) -> None:
    row = running(sandbox, renter)
    assert (row["inet_down_billed"], row["inet_up_billed"]) == (None, None)
    before = renter.credit
    sandbox.traffic(row["id"], down_gb=3, up_gb=0.5)
    assert before - renter.credit == pytest.approx(3 * row["inet_down_cost"] + 0.5 * row["inet_up_cost"], abs=2e-6)
    row = renter.show(row["id"]) or {}
    assert (row["inet_down_billed"], row["inet_up_billed"]) == (3 * 1024, 512)


def test_without_credit_machines_stop_and_without_a_card_they_are_destroyed(sandbox: Sandbox) -> None:
    for can_pay, chosen in zip((True, False), offers(sandbox)[-2:], strict=True):
        renter = Renter(sandbox, sandbox.add_account(credit_usd=5.0, can_pay=can_pay))
        number = renter.rent(chosen)
        row = renter.show(number) or {}
        sandbox.clock.step(hours=5.0 / row["dph_total"] * 0.9)
        assert (renter.show(number) or {})["actual_status"] == "running"
        sandbox.clock.step(hours=2)
        shown = renter.show(number)
        if can_pay:
            assert shown is not None
            assert (shown["cur_state"], shown["status_msg"]) == ("stopped", "stopped: the account has no credit left")
            assert -0.1 < renter.credit < 0
            assert renter.state(number, "running").body["error"] == "insufficient_credit"
        else:
            assert shown is None and renter.credit == pytest.approx(0, abs=1e-5)
        assert renter.create(offers(sandbox)[3]).body["error"] == "insufficient_credit"


def test_the_moment_the_money_ends_does_not_depend_on_the_steps() -> None:
    ends = []
    for pieces in (1, 50):
        with Sandbox(offers=40, seed=11, start=START, credit_usd=2) as sandbox:
            renter = Renter(sandbox)
            numbers = [renter.rent(offer) for offer in offers(sandbox)[:3]]
            for step in steps(4 * 86400.0, pieces):
                sandbox.clock.step(seconds=step)
            ends.append([(m["at"], m["phase"]) for number in numbers for m in sandbox.history(number)])
            assert any(phase == "stopping" for _, phase in ends[-1])
    assert ends[0] == ends[1]


def test_what_is_prepaid_lowers_the_price_and_is_refunded(sandbox: Sandbox, renter: Renter) -> None:
    offer = next(o for o in offers(sandbox) if o["credit_discount_max"] >= 0.2 and o["dph_base"] * 720 < 90)
    number = renter.rent(offer)
    sandbox.clock.step(minutes=20)
    row, before = renter.show(number) or {}, renter.credit
    amount = round(row["dph_base"] * 720 * 1.01, 2)
    told = renter.good("PUT", f"/api/v0/instances/prepay/{number}/", {"amount": amount})
    assert told["discount_rate"] == 0.2 and told["timescale"] == pytest.approx(1.01, abs=0.01)
    assert renter.credit == pytest.approx(before - amount)
    sandbox.clock.step(hours=10)
    used = 10 * (row["dph_base"] * 0.8 + row["storage_total_cost"])
    deposit = renter.good("GET", f"/api/v0/instances/balance/{number}/")
    assert deposit["refundable_deposit"] == pytest.approx(amount - used, abs=1e-5)
    assert (deposit["total_discount"], deposit["discount_months"]) == (0.2, 0)
    assert renter.credit == pytest.approx(before - amount)
    renter.destroy(number)
    assert renter.credit == pytest.approx(before - used, abs=1e-5)
    assert sum(line["micro_usd"] for line in sandbox.bill() if not line.get("prepaid")) == round(-renter.credit * 1e6)
    told = renter.ask("PUT", f"/api/v0/instances/prepay/{renter.rent(offers(sandbox)[0])}/", {"amount": 1000})
    assert (told.status, told.body["msg"]) == (411, "Insufficient credit")


def test_a_deposit_that_is_used_up_leaves_the_account_to_pay(sandbox: Sandbox, renter: Renter) -> None:
    row = running(sandbox, renter)
    before = renter.credit
    renter.good("PUT", f"/api/v0/instances/prepay/{row['id']}/", {"amount": row["dph_total"]})
    sandbox.clock.step(hours=3)
    assert before - renter.credit == pytest.approx(3 * row["dph_total"], abs=1e-5)
    assert renter.good("GET", f"/api/v0/instances/balance/{row['id']}/")["refundable_deposit"] == pytest.approx(
        0, abs=1e-5
    )


def test_when_deposit_and_credit_are_used_up_the_machine_stops(sandbox: Sandbox) -> None:
    renter = Renter(sandbox, sandbox.add_account(credit_usd=9))
    number = renter.rent(offers(sandbox)[-1])
    sandbox.clock.step(minutes=20)
    left = renter.credit
    renter.good("PUT", f"/api/v0/instances/prepay/{number}/", {"amount": left})
    row = renter.show(number) or {}
    assert renter.credit == 0 and (row["actual_status"], row["credit_balance"]) == ("running", left)
    sandbox.clock.step(hours=left / row["dph_total"] - 0.01)
    assert (renter.show(number) or {})["actual_status"] == "running"
    sandbox.clock.step(hours=1)
    row = renter.show(number) or {}
    assert (row["cur_state"], row["credit_balance"]) == ("stopped", None)
    assert -0.2 < renter.credit < 0


def test_what_was_refused_costs_nothing_ever(sandbox: Sandbox) -> None:
    renter = Renter(sandbox, sandbox.add_account(credit_usd=0.01))
    offer = next(o for o in offers(sandbox) if o["avail_vol_ask_id"])
    volume = {"mount_path": "/data", "create_new": True, "volume_id": offer["avail_vol_ask_id"], "size": 5}
    assert renter.create(offer, price=0.001, cancel_unavail=True, volume_info=volume).status == 410
    sandbox.clock.step(days=20)
    assert renter.credit == 0.01 and renter.good("GET", "/api/v0/volumes/")["volumes"] == []
    assert renter.create(offers(sandbox)[0]).status == 200


# --- statements


def test_charges_are_told_per_contract_with_their_items(sandbox: Sandbox, renter: Renter) -> None:
    row = running(sandbox, renter, label="job")
    sandbox.traffic(row["id"], down_gb=10, up_gb=1)
    sandbox.clock.step(days=2)
    renter.destroy(row["id"])
    now = int(sandbox.clock.now())
    told = renter.good("GET", "/api/v0/charges/", select_filters={"day": {"gte": now - 7 * DAY_S, "lte": now}})

    assert (told["success"], told["count"], told["total"], told["next_token"]) == (True, 1, 1, None)
    (charge,) = told["results"]
    spent = 100 - renter.credit
    assert (charge["type"], charge["source"]) == ("instance", f"instance-{row['id']}")
    assert charge["metadata"] == {"label": "job"}
    assert charge["description"] == f"Instance {row['id']} Charges - 3 days"
    assert charge["amount"] == round(spent, 3)
    assert [item["type"] for item in charge["items"]] == ["gpu", "disk", "bwd", "bwu"]
    assert sum(item["amount"] for item in charge["items"]) == pytest.approx(spent, abs=1e-9)
    assert charge["items"][2]["description"] == f"10.000 GB at ${row['inet_down_cost']:.3f}/GB"
    assert charge["items"][1]["description"].startswith("48.333 hours at $")
    assert (charge["start"], charge["end"]) == (int(row["start_date"]), now)


def test_charges_of_a_day_are_those_of_that_day(sandbox: Sandbox, renter: Renter) -> None:
    row = running(sandbox, renter)
    sandbox.clock.step(days=3)
    midnight = int(sandbox.clock.now() // DAY_S) * DAY_S
    day = {"gte": midnight - DAY_S, "lte": midnight - 1}
    (charge,) = renter.good("GET", "/api/v0/charges/", select_filters={"day": day})["results"]
    assert charge["amount"] == pytest.approx(24 * row["dph_total"], abs=0.0006)
    assert (
        renter.good("GET", "/api/v0/charges/", select_filters={"day": day, "type": {"in": ["volume"]}})["results"] == []
    )
    for wrong in ({}, {"day": {"gte": 1}}, {"day": {"gte": "x", "lte": 2}}):
        told = renter.ask("GET", "/api/v0/charges/", select_filters=wrong)
        assert (told.status, told.body["success"]) == (400, False) and "Must provide both" in told.body["msg"]


def test_charges_come_in_pages_the_newest_contract_first(sandbox: Sandbox, renter: Renter) -> None:
    numbers = [renter.rent(offer) for offer in offers(sandbox)[:7]]
    sandbox.clock.step(hours=1)
    day = {"day": {"gte": 0, "lte": int(sandbox.clock.now())}}
    seen, token = [], ""
    while token is not None:
        more = {"after_token": token} if token else {}
        page = renter.good("GET", "/api/v0/charges/", select_filters=day, limit=3, **more)
        assert page["total"] == 7
        seen += [charge["source"] for charge in page["results"]]
        token = page["next_token"]
    assert seen == [f"instance-{number}" for number in reversed(numbers)]
    oldest = renter.good("GET", "/api/v0/charges/", select_filters=day, latest_first=False, format="tree")
    assert [charge["source"] for charge in oldest["results"]] == seen[::-1]
    told = renter.ask("GET", "/api/v0/charges/", select_filters=day, after_token="zz")
    assert told == (400, {"error": "invalid_token", "msg": "Invalid pagination token"})


def test_invoices_are_what_was_paid_in(sandbox: Sandbox, renter: Renter) -> None:
    running(sandbox, renter)
    now = sandbox.clock.now()
    told = renter.good("GET", "/api/v1/invoices/", select_filters={"when": {"gte": now - 3600, "lte": now}})
    (invoice,) = told["results"]
    assert (invoice["type"], invoice["amount"], invoice["source"]) == ("credit", -100.0, "stripe")
    assert invoice["metadata"]["service"] == "stripe_payments"
    none = renter.good(
        "GET", "/api/v1/invoices/", select_filters={"when": {"gte": 0, "lte": now}, "service": {"in": ["bitpay"]}}
    )
    assert (none["total"], none["results"]) == (0, [])
    told = renter.good("GET", "/api/v1/invoices/", select_filters={})
    assert told == {
        "success": False,
        "error": "Invalid date range",
        "count": 0,
        "total": 0,
        "results": [],
        "next_token": None,
    }
    (found,) = renter.good("GET", "/api/v0/invoices/", select_filters={"amount_cents": {"gt": 3000}}, select_cols=["*"])
    assert found["amount_cents"] == 10_000
    old = renter.good("GET", "/api/v0/users/me/invoices/", owner="me", sdate=now - DAY_S, edate=now)
    charges = [row for row in old["invoices"] if row["type"] == "charge"]
    assert sum(float(row["amount"]) for row in charges) == pytest.approx(100 - renter.credit, abs=1e-6)
    assert [row["amount"] for row in old["invoices"] if row["type"] == "payment"] == ["100.0"]


def test_statements_refuse_what_cannot_be_meant(sandbox: Sandbox, renter: Renter) -> None:
    running(sandbox, renter)
    day = {"gte": 0, "lte": 2e9}
    for path, query in (
        ("/api/v0/charges/", {"select_filters": {"day": day, "type": "instance"}}),
        ("/api/v0/charges/", {"select_filters": [1]}),
        ("/api/v0/charges/", {"select_filters": {"day": day}, "limit": 0}),
        ("/api/v1/invoices/", {"select_filters": {"when": day, "service": {"like": "x"}}}),
        ("/api/v0/users/me/invoices/", {"sdate": "yesterday"}),
        ("/api/v0/invoices/", {"select_filters": {"nope": {"eq": 1}}}),
    ):
        assert renter.ask("GET", path, **query).status == 400, (path, query)
    assert renter.ask("POST", "/api/v0/contracts/fetch/", {"contract_ids": 5}).status == 400


def test_contracts_are_found_by_label(sandbox: Sandbox, renter: Renter) -> None:
    first, second = (renter.rent(offer, label=label) for offer, label in zip(offers(sandbox), "ab", strict=False))
    renter.destroy(second)
    found = renter.good("POST", "/api/v0/contracts/fetch/", {"label": "b", "contract_ids": [first, second]})[
        "contracts"
    ]
    assert [(row["id"], row["type"]) for row in found] == [(second, "instance")]
