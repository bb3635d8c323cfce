"""The last look that all panels share: one asks, the others read, and nothing is made of what cannot be read."""

from __future__ import annotations

import itertools
import stat
import subprocess
import sys
import threading
from typing import Any, Self

import pytest
from renting import Yard

from vastnb.services.glances import Glance, Glances
from vastnb.services.instances import Instance
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on

LIST, USER, CHARGES = "/api/v1/instances/", "/users/current/", "/charges/"


class Clock:
    """A clock that all kernels of a test go by."""

    def __init__(self) -> None:
        self.now = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now

    def step(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def glances(kernel: Fleet, clock: Clock) -> Glances:
    return Glances(kernel, clock=clock)


def rented(there: Yard, kernel: Fleet, **options: Any) -> Instance:
    offers = there.offers(kernel, "num_gpus=1", rental="bid")
    price = float(offers.min_bid_usd_per_hour[0]) * 1.1
    given = {"name": "lora", "image": "a/b:1", "max_hours": 5, "bid_usd_per_hour": price, **options}
    made = launch_on(kernel, offers.iloc[0], **given)
    assert isinstance(made, Instance)
    return made.wait()


def shown(glance: Glance) -> list[tuple[str, str]]:
    return [(machine.name, machine.phase) for machine in glance.machines]


def age_s(glance: Glance, clock: Clock) -> float:
    return clock() - glance.looked_at


def test_what_is_shown_of_a_machine_is_what_the_service_tells(there: Yard, kernel: Fleet, glances: Glances) -> None:
    machine = rented(there, kernel)

    (seen,) = glances.newest(10).machines

    record = machine.refresh().record
    assert record is not None
    assert (seen.id, seen.name, seen.phase, seen.ours, seen.is_bid) == (machine.id, "lora", "running", True, True)
    same = ("gpu_name", "gpu_util", "gpu_temp_c", "gpu_ram_used_gb", "disk_gb", "disk_used_gb", "min_bid_usd_per_hour")
    assert [getattr(seen, name) for name in same] == [getattr(record, name) for name in same]
    assert (seen.usd_per_hour, seen.ends_at) == (machine.usd_per_hour, machine.ends_at and machine.ends_at.timestamp())


# --- one asks for all -----------------------------------------------------------------------------------------------------


def test_the_panels_of_three_kernels_ask_as_often_as_one_would(there: Yard, kernel: Fleet, clock: Clock) -> None:
    rented(there, kernel)
    panels = [Glances(there.kernel(), clock=clock) for _ in range(3)] + [Glances(kernel, clock=clock)]
    there.sandbox.log.clear()

    for _ in range(60):
        ages = [age_s(panel.newest(10), clock) for panel in panels]
        assert max(ages) < 10
        clock.step(1)

    assert there.sandbox.requests(LIST) == 6
    assert (there.sandbox.requests(USER), there.sandbox.requests(CHARGES)) == (1, 1)


def test_nobody_asks_while_nobody_wants_to_see(there: Yard, glances: Glances, clock: Clock) -> None:
    glances.newest(10)
    before, threads = len(there.sandbox.log), threading.active_count()

    clock.step(3600)

    assert (len(there.sandbox.log), threading.active_count()) == (before, threads)


PROGRAM = """
import sys
from pathlib import Path
from vastnb import Client, Settings
from vastnb.services.glances import Glances
from vastnb.services.instances.fleet import Fleet
url, key, folder = sys.argv[1:]
client = Client(Settings(url=url, api_key=key, pacing="off"), cache_folder=Path(folder))
glances = Glances(Fleet(client))
print("ready", flush=True)
for line in sys.stdin:
    print(glances.newest(float(line)).at > 0, flush=True)
"""


class Kernels:
    """Processes that look when they are told to, all in one state folder."""

    def __init__(self, there: Yard, count: int) -> None:
        words = [sys.executable, "-c", PROGRAM, there.sandbox.url, there.sandbox.api_key, str(there.folder / "home")]
        self.running = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            for _ in range(count)
        ]

    def tell(self, max_age_s: float) -> None:
        for process in self.running:
            assert process.stdin is not None
            process.stdin.write(f"{max_age_s}\n")

    def heard(self) -> list[str]:
        return [process.stdout.readline().strip() for process in self.running if process.stdout is not None]

    def __enter__(self) -> Self:
        assert set(self.heard()) == {"ready"}
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


def test_processes_that_want_to_see_at_the_same_moment_make_one_request(there: Yard) -> None:
    with Kernels(there, 3) as kernels:
        kernels.tell(3600)
        kernels.heard()
        kernels.tell(3600)

        assert kernels.heard() == ["True"] * 3
        assert there.sandbox.requests(LIST) == 1


def test_one_that_died_while_it_asked_keeps_nobody_from_asking(there: Yard, kernel: Fleet) -> None:
    there.sandbox.faults.add("hang", path=LIST)
    arrived = threading.Event()
    with Kernels(there, 1) as kernels:
        kernels.tell(0)
        while there.sandbox.faults.waiting() != []:
            arrived.wait(0.02)
        other = Glances(kernel)
        assert other.newest(0) == Glance()  # it is being asked: nothing to show yet, and no second request

        kernels.running[0].kill()
        kernels.running[0].wait()

        assert other.newest(0).at > 0


# --- what cannot be read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["502-html", "garbage", "cut-body", "success-false", "truncated-json", "auth-401"])
def test_a_list_that_cannot_be_read_never_reads_as_everything_gone(
    fault: str, there: Yard, kernel: Fleet, glances: Glances, clock: Clock
) -> None:
    rented(there, kernel)
    before = glances.newest(10)
    there.sandbox.faults.add(fault, path=LIST)
    clock.step(10)

    after = glances.newest(10)

    assert (after.machines, after.at, after.looked_at) == (before.machines, before.at, before.looked_at)
    assert after.problem is not None
    assert type(glances.error).__name__ == after.problem.name
    clock.step(10)
    mended = glances.newest(10)
    assert (mended.problem, mended.failures, glances.error, age_s(mended, clock)) == (None, 0, None, 0)


def test_a_service_that_is_down_is_asked_less_and_less_by_all_together(
    there: Yard, kernel: Fleet, clock: Clock
) -> None:
    panels = [Glances(kernel, clock=clock), Glances(there.kernel(), clock=clock)]
    there.sandbox.faults.add("503", path=LIST, times=None)
    tries: list[float] = []
    began = clock()

    for _ in range(700):
        for panel in panels:
            panel.newest(2)
        tries += [clock() - began] * (there.sandbox.requests(LIST) - len(tries))
        clock.step(1)
    assert tries == [0, 5, 15, 35, 75, 155, 315, 615]

    panels[0].newest(2, insist=True)
    assert there.sandbox.requests(LIST) == len(tries) + 1


def test_money_that_may_not_be_seen_keeps_nobody_from_seeing_the_machines(
    there: Yard, kernel: Fleet, glances: Glances
) -> None:
    rented(there, kernel)
    there.sandbox.faults.add("auth-403", path=CHARGES)

    glance = glances.newest(10)

    assert shown(glance) == [("lora", "running")]
    assert (glance.problem, glance.machines[0].charged_usd) == (None, None)
    assert glance.balance_usd == pytest.approx(100, abs=0.01)


def test_a_machine_that_vanishes_is_said_to_be_gone_for_two_minutes(
    there: Yard, kernel: Fleet, glances: Glances, clock: Clock
) -> None:
    machine = rented(there, kernel)
    glances.newest(10)
    there.kernel(folder="elsewhere").machines.destroy(machine.id)
    there.pause(60)

    seen = []
    for _ in range(14):
        clock.step(10)
        seen.append(shown(glances.newest(10)))

    assert seen == [[("lora", "gone")]] * 12 + [[]] * 2


# --- what is kept ---------------------------------------------------------------------------------------------------------


def test_the_use_of_the_gpus_is_kept_for_an_hour_a_point_a_minute_and_survives_a_restart(
    there: Yard, kernel: Fleet, clock: Clock
) -> None:
    rented(there, kernel)
    for _ in range(160):
        Glances(there.kernel() if clock() % 100 < 30 else kernel, clock=clock).newest(10)
        clock.step(30)
        there.pause(30)

    (machine,) = Glances(kernel, clock=clock).newest(10).machines

    minutes = [minute for minute, _ in machine.uses]
    assert minutes == list(range(minutes[-1] - 59, minutes[-1] + 1))
    assert {0 <= use <= 1 for _, use in machine.uses} == {True}
    assert len({use for _, use in machine.uses}) > 30
    assert machine.uses[-1][1] == pytest.approx(machine.gpu_util, abs=1e-3)


def test_where_nobody_looked_or_nothing_ran_there_is_no_point(
    there: Yard, kernel: Fleet, glances: Glances, clock: Clock
) -> None:
    machine = rented(there, kernel)
    for step in (60, 600, 60, 60):
        glances.newest(0)
        clock.step(step)
        there.pause(step)
    machine.stop()
    there.pause(60)

    (seen,) = glances.newest(0).machines

    minutes = [minute for minute, _ in seen.uses]
    assert [b - a for a, b in itertools.pairwise(minutes)] == [1, 10, 1]
    assert seen.phase == "stopped"


def test_balance_and_charges_are_asked_once_a_minute_and_when_a_machine_is_new_or_gone(
    there: Yard, kernel: Fleet, glances: Glances, clock: Clock
) -> None:
    def looked(seconds: float) -> int:
        clock.step(seconds)
        there.pause(seconds)
        glances.newest(0)
        return there.sandbox.requests(USER)

    assert [looked(20) for _ in range(7)] == [1, 1, 1, 2, 2, 2, 3]
    machine = rented(there, kernel)
    assert [looked(10) for _ in range(2)] == [4, 4]
    machine.destroy()
    assert looked(10) == 5


def test_the_file_is_private_and_holds_no_secret(there: Yard, kernel: Fleet, glances: Glances) -> None:
    rented(there, kernel, env={"HF_TOKEN": "hf_secret"})
    tokens = {str(row[name]) for row in there.machines for name in ("jupyter_token",) if row.get(name)}
    glances.newest(0)

    file = kernel.client.state_folder / "events.sqlite"
    content = b"".join(part.read_bytes() for part in file.parent.glob("events.sqlite*"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"lora" in content
    assert [word for word in (there.sandbox.api_key, "hf_secret", *tokens) if word.encode() in content] == []


def test_a_look_in_a_form_of_another_version_counts_as_none(there: Yard, glances: Glances) -> None:
    glances.newest(0)
    with glances._open() as queue:
        queue.exchange("glance", lambda text: text.replace('"form":2', '"form":1'))

    assert glances.newest(3600).at > 0
    assert there.sandbox.requests(LIST) == 2
