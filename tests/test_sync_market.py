"""The sampler: looks at the market by a plan that outlives its process, within the limits, and delays no look at the machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from renting import Yard

import vastnb
from vastnb.api.cli import main
from vastnb.errors import AuthError, CommandError, InputError, NotFoundError, QueryError, VastError
from vastnb.services import alerts, session, sync
from vastnb.services.events import Bus, queue_of
from vastnb.services.history.spool import dates
from vastnb.services.history.store import store_of
from vastnb.services.instances.fleet import Fleet
from vastnb.services.sync import Plan, Sampler, Watcher, plan_of, put_plan
from vastnb.services.sync.sampler import passed_of
from vastnb.vast.client import Client

AT = 1_780_000_000.0


class Kernel:
    """One kernel's sampler, its clock in the test's hands."""

    def __init__(self, fleet: Fleet, now: list[float]) -> None:
        self.fleet, self.bus, self.now = fleet, Bus(queue_of(fleet.client), poll_s=0.05), now
        self.queue = self.bus.queue
        self.sampler = Sampler(fleet.client, self.bus, clock=lambda: self.now[0], jitter=lambda: 1.0)


@pytest.fixture
def make_kernel(there: Yard) -> Iterator[Callable[..., Kernel]]:
    made, now = list[Kernel](), [AT]

    def make(**settings: Any) -> Kernel:
        made.append(Kernel(there.kernel(**settings), now))
        return made[-1]

    yield make
    for one in made:
        one.bus.close()


@pytest.fixture
def mine(make_kernel: Callable[..., Kernel]) -> Kernel:
    return make_kernel()


def searches(there: Yard) -> int:
    return there.sandbox.requests("/bundles/")


# --- the plan -----------------------------------------------------------------------------------------------------------


def test_a_plan_outlives_its_kernel_and_knows_families_and_cards_of_next_year(mine: Kernel) -> None:
    put_plan(mine.queue, ["rtx_4090", "H100", "RTX 4090", "RTX 6090"], every_s=600)

    assert plan_of(mine.queue) == Plan(("RTX 4090", "H100 NVL", "H100 PCIE", "H100 SXM", "RTX 6090"), 600)
    assert put_plan(mine.queue, ["A10"]) == Plan(("A10",), 600)


@pytest.mark.parametrize(
    ("models", "every_s"), [(["A10"], 59), (["A10"], 86_401), ([f"GPU {n}" for n in range(80)], 900)]
)
def test_a_plan_that_cannot_be_kept_is_refused(mine: Kernel, models: list[str], every_s: float) -> None:
    with pytest.raises(InputError, match="models can be looked at every"):
        put_plan(mine.queue, models, every_s=every_s)
    assert plan_of(mine.queue) == Plan()


def test_what_can_be_no_name_is_refused_before_it_spoils_each_pass(mine: Kernel) -> None:
    with pytest.raises(QueryError):
        put_plan(mine.queue, ["A10", 'A"10'])
    assert plan_of(mine.queue) == Plan()


# --- passes -------------------------------------------------------------------------------------------------------------


def test_a_pass_is_made_when_it_is_due_and_not_before(there: Yard, mine: Kernel) -> None:
    put_plan(mine.queue, ["RTX 4090", "RTX 3090"], every_s=600)

    made = []
    for _ in range(13):
        before = searches(there)
        assert mine.sampler.turn() <= 2
        made.append(searches(there) > before)
        mine.now[0] += 100

    assert made == [True, *[False] * 5] * 2 + [True]
    assert dates(store_of(mine.fleet.client)) == ["2026-06-01"]
    assert passed_of(mine.queue).next_at == AT + 1800


def test_without_a_plan_or_an_alert_nobody_is_asked(there: Yard, mine: Kernel) -> None:
    put_plan(mine.queue, [])
    mine.sampler.turn()
    assert searches(there) == 0


def test_a_kernel_that_takes_over_goes_on_where_the_other_was(
    there: Yard, mine: Kernel, make_kernel: Callable[..., Kernel]
) -> None:
    put_plan(mine.queue, ["RTX 4090"], every_s=600)
    mine.sampler.turn()
    other, before = make_kernel(), searches(there)

    other.sampler.turn()
    assert searches(there) == before
    mine.now[0] += 600
    other.sampler.turn()
    assert searches(there) > before


def test_a_new_plan_begins_at_once_even_while_a_pass_is_made(there: Yard, mine: Kernel) -> None:
    put_plan(mine.queue, ["RTX 4090"])
    mine.sampler.turn()
    put_plan(mine.queue, ["RTX 3090"])
    before = searches(there)

    mine.sampler.turn()

    assert searches(there) > before


def test_a_pass_that_was_stopped_is_made_anew_by_who_takes_over(
    there: Yard, mine: Kernel, make_kernel: Callable[..., Kernel]
) -> None:
    put_plan(mine.queue, ["RTX 4090", "RTX 3090"])
    stopping, lease = threading.Event(), Watcher(mine.fleet, mine.bus).lease
    assert lease.hold()
    there.sandbox.faults.add("slow", path="/bundles/", seconds=0.5)
    thread = threading.Thread(target=mine.sampler.run, args=(stopping, lease))
    thread.start()
    while not passed_of(mine.queue).at:
        assert thread.is_alive()
    stopping.set()
    thread.join()
    assert (passed_of(mine.queue).problem, searches(there)) == ("it was stopped", 1)

    make_kernel().sampler.turn()

    assert passed_of(mine.queue).problem == ""
    assert searches(there) > 1


def test_a_clock_that_was_set_back_puts_nothing_off(there: Yard, mine: Kernel) -> None:
    put_plan(mine.queue, ["RTX 4090"], every_s=600)
    mine.sampler.turn()
    mine.now[0] -= 86_400
    before = searches(there)

    mine.sampler.turn()

    assert searches(there) > before


def test_after_errors_in_a_row_the_pauses_grow_up_to_the_usual_one(there: Yard, mine: Kernel) -> None:
    put_plan(mine.queue, ["RTX 4090"], every_s=900)
    pauses = []
    for _ in range(6):
        there.sandbox.faults.add("502-html", path="/bundles/")
        mine.sampler.turn()
        passed = passed_of(mine.queue)
        pauses.append(passed.next_at - mine.now[0])
        assert passed.problem.startswith("ServerError")
        mine.now[0] = passed.next_at
    assert pauses == [60, 120, 240, 480, 900, 900]

    mine.sampler.turn()

    passed = passed_of(mine.queue)
    assert (passed.failures, passed.problem, passed.next_at - mine.now[0]) == (0, "", 900)


def test_when_the_days_searches_are_used_up_it_says_so_and_comes_again_as_planned(there: Yard, mine: Kernel) -> None:
    put_plan(mine.queue, ["RTX 4090", "RTX 3090"], every_s=900)
    there.sandbox.faults.add("429-quota", path="/bundles/")

    mine.sampler.turn()

    passed = passed_of(mine.queue)
    assert passed.problem.startswith("from RTX 4090 on not asked for: ")
    assert passed.next_at == AT + 900
    assert searches(there) == 1


def test_alerts_are_judged_in_each_pass_and_tell_the_handlers(there: Yard, mine: Kernel) -> None:
    mine.queue.exchange("price alerts", lambda _: alerts._written([alerts.Alert("cheap", "gpu_name=RTX_4090", 99.0)]))
    seen = list[str]()
    mine.bus.on(["market.*"], lambda event: seen.append(event.data["alert"]), name="seen")

    for _ in range(3):
        mine.sampler.turn()
        mine.now[0] += 900

    assert mine.bus.wait(10)
    assert seen == ["cheap"]
    assert searches(there) == 3


def test_a_market_that_hangs_delays_no_look_at_the_machines(there: Yard, make_kernel: Callable[..., Kernel]) -> None:
    mine = make_kernel(timeout_s=20.0)
    put_plan(mine.queue, ["RTX 4090"])
    there.sandbox.faults.add("hang", path="/bundles/", times=None)
    watcher, stopping = Watcher(mine.fleet, mine.bus), threading.Event()
    assert watcher.turn() == watcher.interval_s
    thread = threading.Thread(target=mine.sampler.run, args=(stopping, watcher.lease))
    thread.start()
    while not searches(there):
        assert thread.is_alive()

    looks = [watcher.turn() for _ in range(3)]

    assert thread.is_alive()
    assert (looks, there.sandbox.requests("/instances/")) == ([watcher.interval_s] * 3, 4)
    stopping.set()
    there.sandbox.faults.clear()
    there.sandbox.stop()
    thread.join()


def test_only_who_holds_the_lease_looks(there: Yard, mine: Kernel, make_kernel: Callable[..., Kernel]) -> None:
    other = make_kernel()
    put_plan(mine.queue, ["RTX 4090"])
    leader, second, stopping = Watcher(mine.fleet, mine.bus), Watcher(other.fleet, other.bus), threading.Event()
    leader.turn()
    second.turn()
    threads = [
        threading.Thread(target=kernel.sampler.run, args=(stopping, watcher.lease))
        for kernel, watcher in ((mine, leader), (other, second))
    ]
    for thread in threads:
        thread.start()
    while not passed_of(mine.queue).at:
        assert all(thread.is_alive() for thread in threads)
    stopping.set()
    for thread in threads:
        thread.join()

    searched = [
        kernel for kernel in (mine, other) if "search offers" in {c.operation for c in kernel.fleet.client.log.all()}
    ]
    assert searched == [mine]


# --- through the doors --------------------------------------------------------------------------------------------------


def test_watching_the_market_in_a_notebook(ip: Any) -> None:
    ip.run_cell("%vast use sandbox start=2026-06-01T09:00 offers=900").raise_error()

    said = str(ip.run_line_magic("vast", 'watch market "RTX 4090" RTX 3090, H100_SXM --every 20min'))
    told = str(ip.run_line_magic("vast", "watch --once"))
    status = ip.run_line_magic("vast", "watch --status")

    assert (
        said
        == "RTX 4090, RTX 3090, H100 SXM: to be looked at every 20 min, for the history.\nThis kernel looks, from now on."
    )
    assert told == "Nothing new."
    assert (status.here, status.models, status.market_every_s) == (True, ("RTX 4090", "RTX 3090", "H100 SXM"), 1200)
    assert str(status).startswith("This process watches since ")
    assert "\nMarket: RTX 4090, RTX 3090, H100 SXM, every 20 min; next " in str(status)
    assert set(vastnb.history(days=None, by="model").gpu_name) == {"RTX 4090", "RTX 3090", "H100 SXM"}
    ip.run_line_magic("vast", "watch --stop")
    assert ip.run_line_magic("vast", "watch --status").watched_by is None
    assert "No GPU models" in str(ip.run_line_magic("vast", "watch market --stop"))
    assert str(ip.run_line_magic("vast", "watch market")).splitlines()[1] == "Market: nothing is planned."


def test_watching_without_magics() -> None:
    vastnb.use("sandbox", start="2026-06-01T09:00", offers=300, seed=99)

    first = vastnb.watch(["RTX 4090", "RTX 3090"], every_s=600)
    again = vastnb.watch(every_s=1200)

    assert (first.here, first.models, first.market_every_s) == (True, ("RTX 4090", "RTX 3090"), 600)
    assert (again.models, again.market_every_s, again.since) == (first.models, 1200, first.since)
    assert vastnb.stop_watching()
    assert not vastnb.stop_watching()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("watch markt A10", "no such word: markt"),
        ("watch market A10 --every soon", "watch --every"),
        ("watch market A10 --every 5s", "models can be looked at every 60"),
        ("watch price A10 --stop", "no price alert A10"),
    ],
)
def test_words_that_cannot_be_right_say_what_would_be(ip: Any, line: str, said: str) -> None:
    ip.run_cell("%vast use sandbox start=2026-06-01 offers=50").raise_error()

    with pytest.raises((CommandError, InputError, NotFoundError), match=said):
        ip.run_line_magic("vast", line)


def test_without_a_key_the_market_can_be_watched_but_no_machines(
    there: Yard, make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(there.sandbox.url)
    monkeypatch.setattr(session, "_current", session.Session(client.settings, client))
    with pytest.raises(AuthError):
        sync.look_now()
    queue = queue_of(client)
    put_plan(queue, ["RTX 4090"])
    queue.close()

    assert sync.look_now() == []

    assert searches(there) > 0
    assert there.sandbox.requests("/instances/") == 0


def test_what_cannot_be_looked_at_is_said_to_who_asked_for_it_now(mine: Kernel, there: Yard) -> None:
    put_plan(mine.queue, ["RTX 4090"])
    there.sandbox.faults.add("garbage", path="/bundles/")

    with pytest.raises(VastError):
        mine.sampler.look()


# --- as a daemon --------------------------------------------------------------------------------------------------------


@contextmanager
def daemon(there: Yard, key: str = "") -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "vastnb", "sync", "--interval", "2"]
    env = {**os.environ, "VAST_URL": there.sandbox.url, "VAST_API_KEY": key or there.sandbox.api_key}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True) as shell:
        yield shell
        shell.kill()


def test_a_daemon_that_cannot_look_yet_goes_on_tells_alerts_and_ends_cleanly(
    there: Yard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAST_URL", there.sandbox.url)
    monkeypatch.setenv("VAST_API_KEY", there.sandbox.api_key)
    assert main(["sync", "--status"]) == 1
    assert capsys.readouterr().out.startswith("Nobody watches.\n")
    assert main(["watch", "market", "RTX 4090"]) == 0
    assert main(["watch", "price", "gpu_name=RTX_4090", "--below", "99", "--name", "cheap"]) == 0
    assert capsys.readouterr().out.splitlines()[1::2] == ["Nobody looks yet: vastnb sync does."] * 2
    there.sandbox.faults.add("502-html", path="/instances/", times=9)

    with daemon(there) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "Watching every 2 s until Ctrl-C.\n"
        assert "market.price cheap: $" in shell.stdout.readline()
        there.sandbox.faults.clear()
        assert main(["sync", "--status", "--json"]) in (0, 1)
        status = json.loads(capsys.readouterr().out)
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(20) == 0
        assert shell.stderr is not None
        log = shell.stderr.read()

    assert (status["watched_by"].split()[1], status["models"], status["alerts"]) == (str(shell.pid), ["RTX 4090"], 1)
    assert "the watcher could not look: ServerError: GET /api/v1/instances/" in log
    assert main(["sync", "--status"]) == 1
    assert capsys.readouterr().out.startswith("Nobody watches")


def test_a_key_that_is_wrong_ends_the_daemon_with_the_reason(there: Yard) -> None:
    with daemon(there, key="0" * 40) as shell:
        assert shell.wait(30) == 1
        assert shell.stderr is not None
        assert "AuthError" in shell.stderr.read()


def test_looking_once_in_a_shell_is_for_cron(
    there: Yard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAST_URL", there.sandbox.url)
    monkeypatch.setenv("VAST_API_KEY", there.sandbox.api_key)
    assert main(["watch", "price", "gpu_name=RTX_4090", "--below", "99"]) == 0
    capsys.readouterr()

    assert main(["sync", "--once"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("2026-06-01 09:00:00 market.price gpu_name=RTX_4090: $")
