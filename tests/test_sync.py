"""The watcher: what changed between two looks, one that looks for all, and nothing made of what cannot be read."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from renting import Yard, yard

import vastnb
from vastnb.errors import InputError, VastError
from vastnb.services import session
from vastnb.services.events import Bus, Event, default_bus, queue_of
from vastnb.services.handlers import destroy, rebid, stop
from vastnb.services.instances import Instance
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on
from vastnb.services.sync import Machine, Snapshot, Watcher, changes, last_look

AT = 1_780_000_000.0


@pytest.fixture
def make_watcher(there: Yard) -> Iterator[Callable[..., Watcher]]:
    made: list[Bus] = []

    def make(fleet: Fleet | None = None, **options: Any) -> Watcher:
        fleet = fleet or there.kernel()
        made.append(Bus(queue_of(fleet.client), poll_s=0.05))
        return Watcher(fleet, made[-1], jitter=lambda: 1.0, **options)

    yield make
    for bus in made:
        bus.close()


def rented(there: Yard, kernel: Fleet, *, bid: bool = True, **options: Any) -> Instance:
    offers = there.offers(kernel, "num_gpus=1", rental="bid" if bid else "on-demand")
    price = float(offers.min_bid_usd_per_hour[0]) * 1.1
    given = {"name": "lora", "image": "a/b:1", "max_hours": 5, **options}
    made = launch_on(kernel, offers.iloc[0], **(given | ({"bid_usd_per_hour": price} if bid else {})))
    assert isinstance(made, Instance)
    return made.wait()


def kinds(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.subject) for event in events]


# --- pure ---------------------------------------------------------------------------------------------------------------


def seen(number: int = 1, low: bool = False, **machines: Machine) -> Snapshot:
    return Snapshot(AT + number, number, {name.strip("m"): m for name, m in machines.items()}, 5.0, low)


def test_what_changed_is_told_in_words_that_name_the_machine() -> None:
    before = seen(1, m7=Machine("running", "lora", 0.4), m8=Machine("running"))
    after = seen(2, low=True, m7=Machine("outbid", "lora", 0.01, 0.5, False, "evicted"), m9=Machine("loading"))

    found = changes(before, after)

    assert kinds(found) == [("instance.outbid", "7"), ("instance.gone", "8"), ("instance.created", "9"), ("instance.loading", "9"), ("account.low_credit", "")]  # fmt: skip
    assert found[0].data["message"] == "lora: outbid, it was running: evicted"
    assert found[0].data["min_bid_usd_per_hour"] == 0.5
    assert len({event.id for event in found}) == len(found)


def test_a_machine_that_one_look_lacks_is_not_gone() -> None:
    running, lacking = seen(1, m7=Machine("running")), seen(2, m7=Machine("running", missed=1))

    assert changes(running, lacking) == []
    assert changes(lacking, seen(3, m7=Machine("running"))) == []
    assert kinds(changes(lacking, seen(3))) == [("instance.gone", "7")]


def test_a_full_disk_is_told_once() -> None:
    room, full = seen(1, m7=Machine("running")), seen(2, m7=Machine("running", disk_full=True))

    assert kinds(changes(room, full)) == [("instance.disk_nearly_full", "7")]
    assert changes(full, full) == []


_MACHINES = st.dictionaries(
    st.integers(1, 6).map(str),
    st.builds(Machine, st.sampled_from(["running", "outbid", "stopped", "offline"]), disk_full=st.booleans()),
)


@given(st.lists(st.builds(Snapshot, st.just(AT), st.integers(1, 9), _MACHINES, st.none(), st.booleans()), min_size=1))
def test_nothing_changed_is_nothing_told_and_told_events_give_the_state_back(looks: list[Snapshot]) -> None:
    state: dict[str, str] = {n: m.phase for n, m in looks[0].machines.items()}
    for before, after in itertools.pairwise(looks):
        for event in changes(before, after):
            word = event.kind.removeprefix("instance.")
            if word == "gone":
                del state[event.subject]
            elif word in ("running", "outbid", "stopped", "offline"):
                state[event.subject] = word
        assert state == {n: m.phase for n, m in after.machines.items()}
        assert changes(after, after) == []


# --- against the sandbox ------------------------------------------------------------------------------------------------


def test_the_life_of_a_machine_becomes_events(there: Yard, kernel: Fleet, make_watcher: Callable[..., Watcher]) -> None:
    watcher = make_watcher(kernel)
    assert watcher.look() == []
    machine = rented(there, kernel)
    number = str(machine.id)

    assert kinds(watcher.look()) == [("instance.created", number), ("instance.running", number)]
    there.sandbox.outbid(machine.id)
    there.pause(60)
    assert kinds(watcher.look()) == [("instance.outbid", number)]
    assert watcher.look() == []
    machine.destroy()
    assert watcher.look() == []
    assert kinds(watcher.look()) == [("instance.gone", number)]


def test_a_stop_by_its_owner_is_no_eviction(there: Yard, kernel: Fleet, make_watcher: Callable[..., Watcher]) -> None:
    machine, watcher = rented(there, kernel), make_watcher(kernel)
    watcher.look()

    machine.stop()
    there.pause(60)

    assert [kind for kind, _ in kinds(watcher.look())] in (["instance.stopped"], ["instance.stopping"])


def test_a_balance_that_runs_out_is_told_once(
    there: Yard, make_watcher: Callable[..., Watcher], tmp_path: Path
) -> None:
    with yard(tmp_path / "poor", credit_usd=0.5) as poor:
        fleet = poor.kernel()
        with Bus(queue_of(fleet.client)) as bus:
            watcher = Watcher(fleet, bus)
            watcher.look()
            rented(poor, fleet, bid=False)

            assert ("account.low_credit", "") in kinds(watcher.look())
            assert watcher.look() == []


@pytest.mark.parametrize(
    "fault",
    ["502-html", "garbage", "cut-body", "cut-before", "success-false", "html-200", "truncated-json", "429-text"],
)
def test_what_cannot_be_read_never_reads_as_everything_gone(
    fault: str, there: Yard, kernel: Fleet, make_watcher: Callable[..., Watcher]
) -> None:
    rented(there, kernel)
    watcher = make_watcher(kernel)
    watcher.look()

    for _ in range(3):
        there.sandbox.faults.add(fault, path="/api/v1/instances/", times=1)
        assert watcher.turn() > watcher.interval_s / 2
        assert watcher.problem
    assert watcher.turn() == watcher.interval_s
    assert (watcher.problem, watcher.look()) == ("", [])


def test_errors_in_a_row_make_the_pauses_longer(there: Yard, make_watcher: Callable[..., Watcher]) -> None:
    watcher = make_watcher(interval_s=30)
    there.sandbox.stop()

    assert [watcher.turn() for _ in range(6)] == [60, 120, 240, 480, 600, 600]


def test_what_happened_while_nobody_watched_is_told(
    there: Yard, kernel: Fleet, make_watcher: Callable[..., Watcher]
) -> None:
    machine = rented(there, kernel)
    make_watcher().look()
    there.sandbox.offline(machine.id)
    there.pause(600)

    assert [kind for kind, _ in kinds(make_watcher().look())] in (["instance.offline"], ["instance.unknown"])


# --- one for all --------------------------------------------------------------------------------------------------------


def test_of_several_watchers_one_looks_and_another_goes_on(there: Yard, make_watcher: Callable[..., Watcher]) -> None:
    now = [AT]
    watchers = [make_watcher(clock=lambda: now[0]) for _ in range(3)]
    there.sandbox.log.clear()

    for _ in range(4):
        for watcher in watchers:
            watcher.turn()
        now[0] += 30
    assert [watcher.lease.is_mine for watcher in watchers] == [True, False, False]
    assert there.sandbox.requests("/instances/") == 4

    now[0] += 31  # the first is suspended
    for watcher in watchers[1:]:
        watcher.turn()
    assert [watcher.lease.is_mine for watcher in watchers[1:]] == [True, False]
    watchers[0].turn()
    assert not watchers[0].lease.is_mine

    watchers[1].lease.release()
    assert watchers[2].turn() == 30
    assert watchers[2].lease.is_mine


def test_another_goes_on_two_intervals_after_the_last_sign_of_life(make_watcher: Callable[..., Watcher]) -> None:
    now = [AT]
    leader, other = (make_watcher(clock=lambda: now[0], interval_s=30) for _ in range(2))
    leader.turn()
    now[0] += 1

    pauses = list[float]()
    while not other.lease.is_mine:
        now[0] += pauses[-1] if pauses else 0.0
        pauses.append(other.turn())

    assert pauses[:-1] == [30, pytest.approx(29.1)]
    assert now[0] - AT == pytest.approx(60.1)


PROGRAM = """
import sys
from pathlib import Path
from vastnb import Client, Settings
from vastnb.services.events import Bus, queue_of
from vastnb.services.instances.fleet import Fleet
from vastnb.services.sync import Watcher
url, key, folder = sys.argv[1:]
client = Client(Settings(url=url, api_key=key, pacing="off"), cache_folder=Path(folder))
watcher = Watcher(Fleet(client), Bus(queue_of(client)))
watcher.turn()
print(watcher.lease.is_mine, flush=True)
sys.stdin.read()
"""


def test_when_the_one_that_looks_is_killed_another_takes_over_at_once(
    there: Yard, kernel: Fleet, make_watcher: Callable[..., Watcher]
) -> None:
    words = [sys.executable, "-c", PROGRAM, there.sandbox.url, there.sandbox.api_key, str(there.folder / "home")]
    other = make_watcher(kernel)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "True\n"
        other.turn()
        stands_by = not other.lease.is_mine
        leader.kill()
        leader.wait()
    machine = rented(there, kernel)

    other.turn()

    assert (stands_by, other.lease.is_mine) == (True, True)
    rows = queue_of(kernel.client).rows()
    assert sorted((row["kind"], row["subject"]) for row in rows) == [
        ("instance.created", str(machine.id)), ("instance.running", str(machine.id)),
    ]  # fmt: skip


def test_two_that_look_at_once_publish_a_change_once(
    there: Yard, kernel: Fleet, make_watcher: Callable[..., Watcher]
) -> None:
    watchers = [make_watcher() for _ in range(4)]
    watchers[0].look()
    machine = rented(there, kernel)
    barrier, found = threading.Barrier(4), list[Event]()

    def look(watcher: Watcher) -> None:
        barrier.wait()
        found.extend(watcher.look())

    threads = [threading.Thread(target=look, args=(watcher,)) for watcher in watchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(kinds(found)) == [("instance.created", str(machine.id)), ("instance.running", str(machine.id))]


# --- from event to act --------------------------------------------------------------------------------------------------


@pytest.fixture
def in_force(there: Yard, kernel: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """The session is that of the yard's kernel, as after ``vastnb.use``."""
    monkeypatch.setattr(session, "_current", session.Session(kernel.client.settings, kernel.client, there.sandbox))
    bus = default_bus()
    yield bus
    bus.close()


def test_outbid_seen_by_the_watcher_is_bid_again_within_the_cap(there: Yard, kernel: Fleet, in_force: Bus) -> None:
    machine = rented(there, kernel)
    in_force.on(["instance.outbid"], rebid(max_usd_per_hour=50.0), name="rebid")
    watcher = Watcher(kernel, in_force)
    watcher.look()

    there.sandbox.outbid(machine.id)
    there.pause(60)
    watcher.look()

    assert in_force.wait(30)
    there.pause(600)
    assert machine.refresh().state == "running"
    assert [row["deliveries"][0][:2] for row in in_force.queue.rows("instance.outbid")] == [("rebid", "done")]


@pytest.mark.parametrize("terms", [{"max_usd_per_hour": 0.9}, {}], ids=["its own", "the handler's"])
def test_no_bid_above_a_cap(terms: dict[str, Any], there: Yard, kernel: Fleet, in_force: Bus) -> None:
    machine = rented(there, kernel, **terms)
    watcher = Watcher(kernel, in_force)
    watcher.look()
    there.sandbox.outbid(machine.id, 5.0)
    there.pause(60)
    (event,) = watcher.look()
    bids = there.sandbox.requests("/bid_price/")

    with pytest.raises(VastError, match="max_usd_per_hour"):
        rebid(max_usd_per_hour=20.0 if terms else 1.0)(event)

    assert there.sandbox.requests("/bid_price/") == bids


def test_an_old_event_does_nothing_to_a_machine_that_runs(there: Yard, kernel: Fleet, in_force: Bus) -> None:
    machine = rented(there, kernel)
    event = Event("1", "instance.outbid", str(machine.id), machine.seen_at)

    rebid(max_usd_per_hour=9.0)(event)

    assert there.sandbox.requests("/bid_price/") == 0


def test_stop_and_destroy_act_on_the_machine_of_the_event_or_on_a_named_one(
    there: Yard, kernel: Fleet, in_force: Bus
) -> None:
    machine = rented(there, kernel)
    event, silent = (
        Event("1", "instance.disk_nearly_full", subject, machine.seen_at) for subject in (str(machine.id), "")
    )

    stop()(event)
    there.pause(60)
    assert machine.refresh().state == "stopped"
    with pytest.raises(InputError, match="does not say which machine"):
        destroy()(silent)
    destroy("lora")(silent)
    destroy()(event)

    assert there.machines == []


def test_watching_in_a_notebook(ip: Any) -> None:
    ip.run_cell("%vast use sandbox start=2026-06-01 offers=50").raise_error()
    assert last_look(default_bus().queue) is None

    said = ip.run_line_magic("vast", "watch --interval 5")
    again = ip.run_line_magic("vast", "watch")

    assert "Watching every 5 s" in str(said)
    assert "Watching every 5 s" in str(again)
    assert last_look(default_bus().queue) == "2026-06-01T00:00:00+00:00"
    assert "watches no more" in str(ip.run_line_magic("vast", "watch --stop"))
    assert "did not watch" in str(ip.run_line_magic("vast", "watch --stop"))
    assert not any(thread.name == "vastnb-watcher" for thread in threading.enumerate())
    with pytest.raises(InputError, match="interval_s must be 2 to 3600"):
        vastnb.watch(interval_s=0.1)


def test_watching_in_a_shell_tells_each_event_runs_handlers_of_a_file_and_ends_cleanly(
    there: Yard, kernel: Fleet, private_home: Path
) -> None:
    (private_home / "mine.py").write_text(
        "import vastnb\n@vastnb.on('instance.running', name='mine')\ndef mine(event):\n    open('seen', 'w').write(event.subject)\n"
    )
    words = [sys.executable, "-m", "vastnb", "watch", "--interval", "2", "--handlers", "mine.py"]
    env = {**os.environ, "VAST_URL": there.sandbox.url, "VAST_API_KEY": there.sandbox.api_key, "VASTNB_PACING": "off"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=env, text=True) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "Watching every 2 s until Ctrl-C.\n"
        machine = rented(there, kernel)

        said = shell.stdout.readline() + shell.stdout.readline()

        assert said.splitlines()[0].split()[2] == "instance.created"
        assert said.splitlines()[1].split()[2] == "instance.running"
        with Bus(queue_of(vastnb.Client(vastnb.Settings(url=there.sandbox.url, api_key=there.sandbox.api_key)))) as bus:
            bus.on(["nothing"], lambda _: None, name="nobody")
            while bus.queue.depth("mine"):
                assert shell.poll() is None
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(20) == 0
    assert (private_home / "seen").read_text() == str(machine.id)
