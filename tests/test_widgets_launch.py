"""The launch panel without a browser: the front end's messages come in, its state goes out, the sandbox's books are looked at."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from IPython.utils.capture import capture_output
from ipywidgets.widgets.widget import _instances

import vastnb
from vastnb.api.widgets.agreements import candidates
from vastnb.api.widgets.launch_card import State, snapshot, view
from vastnb.errors import InputError

_numbers = itertools.count()
PAYING = {"path": "/asks/", "method": "PUT"}
LISTING = {"path": "/instances/", "method": "GET"}


@pytest.fixture
def box() -> Any:
    """The sandbox of the session, a fresh one: it stands still, and what waits steps its clock."""
    start = datetime(2026, 6, 1, 9, tzinfo=UTC) + timedelta(seconds=next(_numbers))
    return vastnb.use("sandbox", offers=400, seed=7, start=start.isoformat()).sandbox


@pytest.fixture
def frame(box: Any) -> pd.DataFrame:
    return vastnb.search("num_gpus=1")


@pytest.fixture
def panel(frame: pd.DataFrame) -> Iterator[vastnb.LaunchPanel]:
    made = vastnb.LaunchPanel(frame, name="lora", hours=3)
    yield made
    settle(made)
    made.close()


def said(panel: Any, **message: Any) -> None:
    """What the front end says, as it arrives from the comm."""
    panel._handle_custom_msg(message, [])


def settle(panel: vastnb.LaunchPanel) -> None:
    while (worker := panel._worker) is not None:
        worker.join(30)


def done(panel: vastnb.LaunchPanel, **message: Any) -> str:
    """A click, and the phase that it ends in."""
    said(panel, **message)
    settle(panel)
    return str(panel._view["phase"])


def rent(panel: vastnb.LaunchPanel) -> None:
    """The button, for the second time."""
    said(panel, do="rent", token=panel._view["main"]["token"])


def rented(panel: vastnb.LaunchPanel) -> str:
    """Both clicks, and the phase that they end in."""
    assert done(panel, do="check") == "agreed"
    rent(panel)
    settle(panel)
    return str(panel._view["phase"])


def orders(box: Any) -> int:
    """How many paying requests arrived."""
    return sum(r.method == "PUT" and "/asks/" in r.path for r in tuple(box.log))


def arrived(box: Any) -> None:
    """Wait until the paying request is there."""
    while not orders(box):
        threading.Event().wait(0.005)


def alive(box: Any) -> list[int]:
    return [row["id"] for row in box.instances]


def on_phase(panel: vastnb.LaunchPanel, phase: str, act: Any) -> None:
    """Do something as soon as this phase is on the screen."""

    def seen(change: Any) -> None:
        if change["new"]["phase"] == phase:
            panel.unobserve(seen, "_view")
            act()

    panel.observe(seen, "_view")


# ---------------------------------------------------------------- what is shown before anything is asked


def test_a_frame_is_quoted_without_a_request(box: Any, frame: pd.DataFrame) -> None:
    asked = box.requests()
    panel = vastnb.LaunchPanel(frame, hours=10, disk_gb=50, download_gb=20)

    cheapest = vastnb.quote(frame, hours=10, disk_gb=50, download_gb=20).iloc[0]
    assert panel.quote is not None
    assert (panel.quote.offer_id, panel.quote.usd_total) == (cheapest.offer_id, cheapest.usd_total)
    assert panel._view["prices"][-1] == ["Together", f"${cheapest.usd_per_hour:,.3f}", f"${cheapest.usd_total:,.2f}"]
    assert panel._view["main"] == {"do": "check", "words": f"Rent for ${cheapest.usd_per_hour:,.3f}/h"}
    assert box.requests() == asked


def test_of_500_offers_the_cheapest_is_taken_and_others_can_be_chosen(frame: pd.DataFrame) -> None:
    many = pd.concat([frame, frame.assign(offer_id=frame.offer_id + 10_000_000)], ignore_index=True).head(500)
    many.attrs = dict(frame.attrs)
    panel = vastnb.LaunchPanel(many)

    choices = panel._view["choices"]
    assert choices["label"] == f"Offer (the 20 cheapest of {len(many)}, cheapest first)"
    assert [offer for offer, _ in choices["options"]] == vastnb.quote(many).offer_id.head(20).tolist()
    said(panel, do="pick", offer_id=choices["options"][7][0])
    assert panel.quote is not None
    assert (panel._view["choices"]["chosen"], panel.quote.offer_id) == (choices["options"][7][0],) * 2


def test_a_wish_changes_the_quote_at_once_and_one_that_cannot_be_right_takes_the_button_away(
    panel: vastnb.LaunchPanel, box: Any
) -> None:
    asked = box.requests()
    said(panel, do="set", values={"hours": 10, "max_hours": 2, "name": "other"})
    assert panel.quote is not None
    assert (panel.quote.job.hours, panel._view["facts"][1][1][:15]) == (10, "destroys itself")

    for values, words in [
        ({"hours": -1}, "hours: Input should be greater than 0, got -1"),
        ({"hours": 3, "max_usd": 0.0001}, "max_usd=0.0001 is"),
        ({"max_usd": "", "env": "A=1\nB"}, "env: line 2 is no NAME=value"),
        ({"env": "", "name": "a b"}, "name must be up to 64 letters"),
        ({"name": "", "image": "pytorch"}, "image: must name its tag"),
    ]:
        said(panel, do="set", values=values)
        assert (panel._view["main"], panel._view["warnings"][0][: len(words)]) == (None, words)
    said(panel, do="set", values={"image": None})
    assert panel._view["main"]["do"] == "check"
    assert (panel._error, box.requests()) == (None, asked)


def test_an_agreement_is_taken_back_when_something_else_is_wanted(panel: vastnb.LaunchPanel, box: Any) -> None:
    assert done(panel, do="check") == "agreed"
    token = panel._view["main"]["token"]

    said(panel, do="set", values={"hours": 20})
    said(panel, do="rent", token=token)
    assert panel._view["phase"] == "offer"
    assert done(panel, do="check") == "agreed"
    said(panel, do="rent", token=token)
    settle(panel)

    assert (panel._view["phase"], orders(box)) == ("agreed", 0)


def test_whatever_stands_for_an_offer_is_read_when_it_is_shown(frame: pd.DataFrame) -> None:
    offer, quotes = frame.iloc[2], vastnb.quote(frame, hours=5, disk_gb=30)
    wanted: list[tuple[Any, int, float]] = [
        (offer, int(offer.offer_id), 1), (int(offer.offer_id), int(offer.offer_id), 1),
        (vastnb.quote(offer, hours=7), int(offer.offer_id), 7), (quotes, int(quotes.offer_id[0]), 5), (quotes.iloc[3], int(quotes.offer_id[3]), 5),
        ("num_gpus=1", int(frame.offer_id[0]), 1),
    ]  # fmt: skip
    for what, offer_id, hours in wanted:
        panel = vastnb.LaunchPanel(what)
        panel.refresh()
        assert panel.quote is not None
        assert (panel.quote.offer_id, panel.quote.job.hours, panel._view["main"]["do"]) == (offer_id, hours, "check")
        panel.close()


def test_without_an_offer_it_says_what_to_give() -> None:
    assert repr(vastnb.LaunchPanel()).startswith("LaunchPanel: No offer yet. Give one: vastnb.LaunchPanel(")
    with pytest.raises(InputError, match="got list"):
        vastnb.LaunchPanel([1, 2])
    with pytest.raises(InputError, match="launch has no argument max_houres") as refused:
        vastnb.LaunchPanel(max_houres=3)
    assert refused.value.hint == "did you mean max_hours?"


def test_a_search_that_finds_nothing_says_why(box: Any) -> None:
    panel = vastnb.LaunchPanel("gpu_name=RTX_4090 dph<0.01")
    panel.refresh()

    assert panel._view["title"] == "No offer is there."
    assert "dph<0.01: removes" in panel._view["note"]
    assert panel._view["main"] == {"do": "search", "words": "Search again"}


def test_a_bid_is_over_what_runs_now_and_can_be_changed(box: Any) -> None:
    bids = vastnb.search("num_gpus=1", rental="bid")
    panel = vastnb.LaunchPanel(bids.iloc[[0]], name="spot")

    assert panel.quote is not None
    assert panel.quote.job.bid_usd_per_hour == pytest.approx(bids.min_bid_usd_per_hour[0] * 1.1, abs=0.001)
    assert (panel._form["bids"], panel._view["about"].count("interruptible")) == (True, 1)
    said(panel, do="set", values={"bid_usd_per_hour": 0.5})
    assert rented(panel) == "machine"
    assert (box.instances[0]["is_bid"], box.instances[0]["dph_base"]) == (True, 0.5)
    panel.close()


def test_what_is_reserved_is_not_rented(frame: pd.DataFrame) -> None:
    panel = vastnb.LaunchPanel(frame.assign(rental="reserved"))

    assert panel._view["main"] is None
    assert "reserved" in panel._view["warnings"][0]


def test_secrets_stay_in_the_kernel(frame: pd.DataFrame, box: Any) -> None:
    panel = vastnb.LaunchPanel(frame, env={"WANDB_KEY": "s3cret-1"})
    assert panel._form["env"] == ["WANDB_KEY"]
    said(panel, do="set", values={"env": "HF_TOKEN=s3cret-2\nMODE=x"})
    assert panel._form["env"] == ["HF_TOKEN", "MODE"]
    assert rented(panel) == "machine"

    told = str(panel.get_state()) + repr(panel) + str(panel._repr_mimebundle_())
    assert "s3cret" not in told
    assert {"HF_TOKEN": "s3cret-2", "MODE": "x"}.items() <= dict(box.instances[0]["extra_env"]).items()
    panel.close()


# ---------------------------------------------------------------- renting


def test_two_clicks_rent_a_machine_and_wait_until_it_runs(panel: vastnb.LaunchPanel, box: Any) -> None:
    seen: list[str] = []
    panel.observe(lambda change: seen.append(change["new"]["title"]), "_view")
    assert done(panel, do="check") == "agreed"
    assert panel._view["main"]["words"].startswith("Confirm: at most $")
    assert panel._view["main"]["words"].endswith("ends itself 12:00 UTC")
    assert orders(box) == 0

    rent(panel)
    settle(panel)

    assert panel.instance is not None
    assert (panel.instance.state, panel.instance.name, panel._error) == ("running", "lora", None)
    assert (alive(box), orders(box)) == ([panel.instance.id], 1)
    assert [title for title, _ in itertools.groupby(seen)][-1] == "lora is running"
    assert panel._view["copy"] == panel.instance.ssh_command
    assert [at for _, at in panel._view["steps"]] == ["done"] * 4


def test_ten_quick_clicks_rent_one_machine(panel: vastnb.LaunchPanel, box: Any) -> None:
    for _ in range(10):
        said(panel, do="check")
    settle(panel)
    token = panel._view["main"]["token"]
    for _ in range(10):
        said(panel, do="rent", token=token)
        said(panel, do="check")
    settle(panel)

    assert (len(alive(box)), orders(box), panel._view["phase"]) == (1, 1, "machine")


def test_while_a_machine_is_being_rented_nothing_else_is_begun(frame: pd.DataFrame, box: Any) -> None:
    selector = vastnb.OfferSelector(frame)
    panel = vastnb.LaunchPanel(selector, name="lora")
    said(selector, do="select", rows=[0], version=selector._table["version"])
    assert done(panel, do="check") == "agreed"
    box.faults.add("slow", seconds=0.3, **PAYING)
    rent(panel)
    arrived(box)

    said(selector, do="select", rows=[5], version=selector._table["version"])
    for message in (
        {"do": "set", "values": {"hours": 99}},
        {"do": "search"},
        {"do": "check"},
        {"do": "back"},
        {"do": "another"},
        {"do": "wait"},
    ):
        said(panel, **message)
    settle(panel)

    assert (orders(box), panel._view["phase"]) == (1, "machine")
    assert panel.quote is not None
    assert panel.quote.offer_id == frame.offer_id[0]
    panel.close()
    selector.close()


def test_a_confirmation_that_a_busy_kernel_gets_late_rents_nothing(panel: vastnb.LaunchPanel, box: Any) -> None:
    now = [0.0]
    panel._deal._clock = lambda: now[0]
    assert done(panel, do="check") == "agreed"
    now[0] = 61

    rent(panel)
    settle(panel)

    assert (panel._view["phase"], orders(box)) == ("offer", 0)
    assert "came too late" in panel._view["note"]


def test_progress_is_told_at_most_ten_times_a_second(panel: vastnb.LaunchPanel) -> None:
    moments = itertools.count()
    panel._deal._clock = lambda: next(moments) / 40
    told: list[Any] = []
    panel.observe(lambda change: told.append(change["new"]["facts"]), "_view")
    assert rented(panel) == "machine"

    spent = next(moments) / 40
    assert 3 < len(told) <= spent * 10 + 12  # changes of phase are told at once


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("phase", ["waiting", "machine"])
def test_cancel_and_destroy_really_end_it(panel: vastnb.LaunchPanel, box: Any, phase: str) -> None:
    if phase == "waiting":
        on_phase(panel, "waiting", lambda: said(panel, do="cancel"))
        assert rented(panel) == "ended"
    else:
        assert rented(panel) == "machine"
        box.clock.step(hours=1)
        said(panel, do="destroy")  # not without having been asked
        settle(panel)
        assert len(alive(box)) == 1
        said(panel, do="leave")
        assert panel._view["main"]["words"] == "Confirm: end it; its disk is lost"
        assert done(panel, do="destroy") == "ended"

    billed = sum(line["micro_usd"] for line in box.bill() if line["micro_usd"] > 0) / 1e6
    assert (alive(box), orders(box)) == ([], 1)
    assert float(panel._view["facts"][0][1].removeprefix("$")) == pytest.approx(billed, abs=0.01)
    assert panel._view["note"].startswith("It was seen to be gone")
    assert panel.instance is not None
    assert panel.instance.state == "gone"


def test_cancel_while_the_paying_request_is_under_way_ends_what_comes_of_it(
    panel: vastnb.LaunchPanel, box: Any
) -> None:
    box.faults.add("slow", seconds=0.3, **PAYING)
    assert done(panel, do="check") == "agreed"
    rent(panel)
    arrived(box)
    assert done(panel, do="cancel") == "ended"

    assert (alive(box), orders(box)) == ([], 1)


def test_cancel_before_anything_was_sent_rents_nothing(panel: vastnb.LaunchPanel, box: Any) -> None:
    assert done(panel, do="check") == "agreed"
    with panel._lock:  # the panel's thread cannot begin before both clicks are there
        rent(panel)
        said(panel, do="cancel")
    settle(panel)

    assert (alive(box), orders(box), panel._view["phase"]) == ([], 0, "offer")
    assert "Nothing was rented" in panel._view["note"]


def test_cancel_spares_a_machine_of_this_name_that_was_rented_elsewhere_meanwhile(
    panel: vastnb.LaunchPanel, frame: pd.DataFrame, box: Any
) -> None:
    assert done(panel, do="check") == "agreed"
    other = vastnb.launch(frame.iloc[3], name="lora", max_hours=3)
    seen = len(box.log)
    box.faults.add("slow", seconds=0.3, **LISTING)
    rent(panel)
    while len(box.log) == seen:
        threading.Event().wait(0.005)

    assert (done(panel, do="cancel"), alive(box)) == ("machine", [other.id])
    assert panel._view["note"] == "lora lives: this is it. Nothing was rented."


def test_an_end_that_cannot_be_seen_is_said_and_can_be_tried_again(panel: vastnb.LaunchPanel, box: Any) -> None:
    assert rented(panel) == "machine"
    box.faults.add("503", times=None, **LISTING)
    said(panel, do="leave")

    assert done(panel, do="destroy") == "machine"
    assert panel._error["name"] == "DestroyUncertainError"
    assert panel.instance is not None
    box.faults.clear()
    said(panel, do="leave")
    assert (done(panel, do="destroy"), panel._error, alive(box)) == ("ended", None, [])


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("when", ["before the check", "before the order"])
def test_a_price_that_rises_is_shown_beside_the_old_one_and_asked_about(
    panel: vastnb.LaunchPanel, box: Any, when: str
) -> None:
    assert panel.quote is not None
    before = panel.quote
    if when == "before the order":
        assert done(panel, do="check") == "agreed"
    box.reprice(before.offer_id, 1.5)

    if when == "before the order":
        rent(panel)
        settle(panel)
    else:
        done(panel, do="check")

    assert (panel._view["phase"], orders(box), panel._error) == ("offer", 0, None)
    assert panel.quote.usd_per_hour is not None
    assert before.usd_per_hour is not None
    assert f"${before.usd_per_hour:.3f} → ${panel.quote.usd_per_hour:.3f} an hour" in panel._view["warnings"][0]
    assert rented(panel) == "machine"
    assert box.instances[0]["dph_total"] == pytest.approx(panel.quote.usd_per_hour)


def test_an_offer_that_is_gone_offers_the_next_and_a_search(
    panel: vastnb.LaunchPanel, frame: pd.DataFrame, box: Any
) -> None:
    assert panel.quote is not None
    vastnb.launch(panel.quote, name="faster")
    assert done(panel, do="check") == "offer"
    assert panel._view["warnings"][0].startswith("This offer is gone")
    assert panel._view["main"]["do"] == "search"
    assert panel._view["others"] == [["next", "Next offer"]]
    gone = panel.quote.offer_id

    said(panel, do="next")
    assert panel.quote.offer_id == vastnb.quote(frame, hours=3).offer_id[1]
    said(panel, do="pick", offer_id=gone)
    done(panel, do="check")
    assert done(panel, do="search") == "offer"
    assert panel.quote.offer_id != gone
    assert rented(panel) == "machine"


def test_a_balance_that_is_too_small_is_said_and_a_refusal_shown(panel: vastnb.LaunchPanel, box: Any) -> None:
    panel.refresh()
    said(panel, do="set", values={"hours": 5000})
    assert panel._view["warnings"][0].startswith("The balance of $100.00 is less than this can cost, $")
    said(panel, do="set", values={"hours": 3})
    box.faults.add("success-false", error="insufficient_credit", **PAYING)

    assert rented(panel) == "offer"
    assert (panel._error["name"], alive(box)) == ("InsufficientCreditError", [])


def test_an_answer_that_was_lost_is_looked_for_until_it_is_certain(panel: vastnb.LaunchPanel, box: Any) -> None:
    seen: list[Any] = []
    panel.observe(lambda change: seen.append(change["new"]), "_view")
    box.faults.add("cut-before", **PAYING)

    assert rented(panel) == "offer"
    assert (orders(box), alive(box), panel._error) == (1, [], None)
    assert panel._view["note"] == "It is certain by now: there is no such machine. Nothing was rented."
    (lost, *_) = [shown for shown in seen if shown["phase"] == "lost"]
    assert lost["note"].startswith("The answer to the one paying request was lost, and it is not sent again.")
    assert rented(panel) == "machine"


@pytest.mark.parametrize("wanted", ["look", "cancel"])
def test_a_machine_whose_answer_was_lost_with_the_service_is_found_when_that_is_back(
    frame: pd.DataFrame, box: Any, wanted: str
) -> None:
    vastnb.use(
        "sandbox",
        sandbox={"offers": 400, "seed": 7, "start": vastnb.services.session.current().settings.sandbox.start},
        timeout_s=1,
        retries=0,
    )
    panel = vastnb.LaunchPanel(frame, name="lora", hours=3)
    assert done(panel, do="check") == "agreed"
    box.faults.add("hang", acts=True, **PAYING)
    rent(panel)
    arrived(box)
    box.faults.add("503", times=None, **LISTING)
    settle(panel)

    assert (panel._view["phase"], panel._error["name"]) == ("lost", "ServerError")
    assert panel._view["main"] == {"do": "look", "words": "Look for it"}
    assert panel.instance is None
    box.faults.clear()
    made = alive(box)
    assert done(panel, do=wanted) == {"look": "machine", "cancel": "ended"}[wanted]
    assert (orders(box), panel._error) == (1, None)
    assert panel.instance is not None
    assert (made, alive(box)) == ([panel.instance.id], made if wanted == "look" else [])
    panel.close()


def test_a_service_that_goes_down_in_the_middle_loses_no_machine(panel: vastnb.LaunchPanel, box: Any) -> None:
    on_phase(panel, "waiting", lambda: box.faults.add("503", times=None, **LISTING))
    assert rented(panel) == "machine"
    assert panel._error["name"] == "ServerError"
    assert panel._view["others"] == [
        ["wait", "Wait for it"],
        ["refresh", "Look again"],
        ["leave", "Destroy…"],
        ["another", "Rent another"],
    ]

    box.faults.clear()
    assert done(panel, do="wait") == "machine"
    assert panel.instance is not None
    assert (panel.instance.state, panel._error) == ("running", None)


def test_a_machine_that_never_runs_is_said_and_still_there_to_be_ended(panel: vastnb.LaunchPanel, box: Any) -> None:
    box.faults.add("stuck-loading")
    assert rented(panel) == "machine"
    assert panel._error["name"] == "NotRunningError"
    assert len(alive(box)) == 1

    said(panel, do="leave")
    assert (done(panel, do="destroy"), alive(box)) == ("ended", [])


def test_an_error_of_somebody_who_observes_is_shown_and_stops_nothing(panel: vastnb.LaunchPanel, box: Any) -> None:
    panel.log.disabled = True
    panel.observe(lambda _: {}["no such key"], "instance")
    assert rented(panel) == "machine"
    panel.log.disabled = False

    assert panel._error == {"name": "KeyError", "message": "'no such key'", "hint": None}
    assert panel.instance is not None
    assert panel.instance.state == "running"


# ---------------------------------------------------------------- one name, one machine


def test_the_same_cell_again_shows_the_living_machine(frame: pd.DataFrame, box: Any) -> None:
    made = vastnb.launch(frame.iloc[0], name="lora", max_hours=3)  # as before a restart of the kernel
    asked = orders(box)
    panel = vastnb.LaunchPanel(frame, name="lora", hours=3)

    assert done(panel, do="shown") == "machine"
    assert panel.instance is not None
    assert (panel.instance.id, panel.instance.state, orders(box)) == (made.id, "running", asked)
    assert panel._view["note"] == "lora lives: this is it. Nothing was rented."
    assert done(panel, do="another") == "offer"
    assert panel._form["values"]["name"] == "lora-2"
    assert panel._view["warnings"][0].startswith("This offer is gone")
    panel.close()


def test_a_name_that_lives_by_the_time_of_the_check_rents_nothing(
    panel: vastnb.LaunchPanel, frame: pd.DataFrame, box: Any
) -> None:
    made = vastnb.launch(frame.iloc[1], name="lora", max_hours=3)

    assert done(panel, do="check") == "machine"
    assert panel.instance is not None
    assert (panel.instance.id, orders(box)) == (made.id, 1)


def test_two_panels_on_one_machine(panel: vastnb.LaunchPanel, frame: pd.DataFrame) -> None:
    assert rented(panel) == "machine"
    other = vastnb.LaunchPanel(frame, name="lora", hours=3)
    assert done(other, do="shown") == "machine"
    said(panel, do="leave")
    assert done(panel, do="destroy") == "ended"

    assert done(other, do="refresh") == "ended"
    assert other._view["note"] == "The machine is gone."
    assert other._view["facts"] == panel._view["facts"]
    assert done(other, do="another") == "offer"
    assert (other.instance, other._view["main"]["do"]) == (None, "check")
    other.close()


# ---------------------------------------------------------------- beside a selector


def test_it_follows_what_is_chosen_in_a_selector(frame: pd.DataFrame) -> None:
    selector = vastnb.OfferSelector(frame, hours=7, disk_gb=40)
    panel = vastnb.LaunchPanel(selector)
    assert (panel._view["title"], panel._view["main"]) == ("No offer chosen yet. Choose one in the selector.", None)

    said(selector, do="select", rows=[4, 2], version=selector._table["version"])
    assert panel.quote is not None
    assert (panel.quote.offer_id, panel.quote.job.hours, panel.quote.job.disk_gb) == (
        vastnb.quote(selector.value).offer_id[0],
        7,
        40,
    )
    said(selector, do="ask", hours=2, disk_gb=8)
    assert (panel.quote.job.hours, panel.quote.job.disk_gb) == (2, 8)
    said(selector, do="select", rows=[], version=selector._table["version"])
    assert panel.quote is None
    panel.close()
    said(selector, do="select", rows=[1], version=selector._table["version"])
    assert (panel.quote, selector._error) == (None, None)
    selector.close()


def test_a_selector_that_is_on_no_screen_yet_is_shown_above(ip: Any, frame: pd.DataFrame) -> None:
    selector = vastnb.OfferSelector(frame)
    ip.push({"panel": vastnb.LaunchPanel(selector)})

    with capture_output() as first:
        ip.run_cell("panel")
    with capture_output() as again:
        ip.run_cell("panel")

    assert [shown.data["text/plain"].partition(":")[0] for shown in first.outputs] == ["OfferSelector", "LaunchPanel"]
    assert [shown.data["text/plain"].partition(":")[0] for shown in again.outputs] == ["LaunchPanel"]


# ---------------------------------------------------------------- without a front end, and at the end


def test_readers_without_a_front_end_see_the_price_and_the_line_that_does_it(frame: pd.DataFrame, box: Any) -> None:
    panel = vastnb.LaunchPanel(frame.iloc[0], name="lora", hours=3)
    data, _ = panel._repr_mimebundle_()

    text = data["text/plain"]
    assert text.startswith(
        f"LaunchPanel: 1 × {frame.gpu_name[0]} · not rented · Sandbox: practice, not real · as of 2026-06-01 09:"
    )
    assert "<table" in data["text/html"]
    line = text.partition("in a cell  ")[2].splitlines()[0]
    made = eval(line, {"vastnb": vastnb})
    assert (made.name, made.plan.quote.offer_id, len(alive(box))) == ("lora", frame.offer_id[0], 1)


def test_words_of_hosts_are_plain_and_escaped(frame: pd.DataFrame) -> None:
    odd = frame.head(1).assign(gpu_name="<script>alert(1)</script>", geolocation="\u202eRTL\x1b[31m" + "A" * 10_000)
    panel = vastnb.LaunchPanel(odd)

    shown = [panel._view["title"], panel._view["about"]]
    assert all(text.isprintable() and len(text) < 200 for text in shown)
    assert "<script" not in panel._repr_mimebundle_()[0]["text/html"]
    assert panel._form["usual"]["name"] == "script-alert-1-script"


def test_a_panel_that_is_closed_waits_no_longer_and_its_machine_lives(frame: pd.DataFrame, box: Any) -> None:
    panel = vastnb.LaunchPanel(frame, name="lora")
    on_phase(panel, "waiting", panel.close)
    assert done(panel, do="check") == "agreed"
    rent(panel)
    settle(panel)

    assert (panel._worker, len(alive(box))) == (None, 1)
    assert vastnb.instance("lora").state in ("provisioning", "loading")


def test_twenty_that_come_and_go_leave_no_thread_and_no_comm(frame: pd.DataFrame) -> None:
    selector = vastnb.OfferSelector(frame)
    before, comms = threading.active_count(), len(_instances)
    for _ in range(20):
        panel = vastnb.LaunchPanel(selector, name="lora")
        said(panel, do="shown")
        settle(panel)
        panel.close()

    assert (threading.active_count(), len(_instances)) == (before, comms)
    assert not selector._trait_notifiers.get("value", {}).get("change")
    selector.close()


# ---------------------------------------------------------------- a state becomes words


def test_each_phase_has_its_words_and_buttons() -> None:
    shown = view(State(hint="nothing yet"))

    assert shown == {
        "phase": "empty", "note": "", "badges": [], "title": "nothing yet", "about": "", "prices": [], "facts": [], "details": [],
        "warnings": [], "choices": {}, "steps": [], "copy": "", "main": None, "others": [],
    }  # fmt: skip
    assert snapshot(State(hint="nothing yet")).text == "LaunchPanel: nothing yet"
    assert view(State(phase="renting"))["others"] == [["cancel", "Cancel: end it"]]
    assert view(State(phase="lost", note="x"))["main"] == {"do": "look", "words": "Look for it"}
    assert view(State(gone=True, phase="offer"))["main"] == {"do": "search", "words": "Search again"}


def test_candidates_are_the_cheapest_for_the_job(frame: pd.DataFrame) -> None:
    for wish in ({"hours": 1.0}, {"hours": 1.0, "download_gb": 5000.0}):
        found, count = candidates(frame, wish)
        assert [c.offer_id for c in found] == vastnb.quote(frame, **wish).offer_id.head(20).tolist()
        assert count == len(frame)
