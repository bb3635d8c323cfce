"""A spot run from end to end: outbid and its host lost in a day, with the notebook closed at times, and its results come home."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from remote_ground import require_programs, until
from renting import Yard, yard

from vastnb.sandbox.machines import Machines
from vastnb.services.events import Queue, queue_of
from vastnb.services.instances import Instance, Keeper
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.keeper import stop_keeper
from vastnb.services.instances.launching import launch_on

MAX_USD, STEPS = 2.0, 14
TICKS_A_COPY = 3
JOB = f"""
cd work
n=$(cat step 2>/dev/null || echo 0)
while [ $n -lt {STEPS} ]; do
  until [ -e ~/tick-$((n + 1)) ]; do sleep 0.01; done
  n=$((n + 1))
  head -c 20000 /dev/urandom >weights && echo $n >step.new && mv step.new step
done
sha256sum <weights >sum
"""


@dataclass(frozen=True)
class Troubles:
    """What happens in a day, by the number of the turn."""

    outbid: Collection[int]
    closed: Collection[int]
    lost: Mapping[int, float | None] = field(default_factory=dict)
    """For how many seconds; None is for ever."""


FIVE_TIMES = Troubles(outbid=(4, 9, 14, 19, 24), closed=(3, 8, 14, 22, 26))


def at_random(seed: int) -> Troubles:
    chance = random.Random(seed)
    outbid, closed, lost = (chance.sample(range(3, 36), k) for k in (5, 5, 4))
    return Troubles(outbid, closed, {turn: chance.choice((600.0, 3000.0, 6000.0, None)) for turn in lost})


class Day:
    """A spot run, and whoever keeps it at the time: one notebook after the other, or the daemon."""

    def __init__(self, place: Yard, machines: Machines) -> None:
        self.yard, self.machines = place, machines
        self._wake_up()

    def _wake_up(self) -> None:
        self.fleet: Fleet = self.yard.kernel(timeout_s=15.0)
        self.queue: Queue = queue_of(self.fleet.client)
        self.keeper = Keeper(self.fleet, self.queue)

    def launch(self) -> Instance:
        offers = self.yard.offers(self.fleet, "num_gpus=1 dph<0.3 inet_up_cost>0.001", rental="bid")
        bid = round(float(offers.min_bid_usd_per_hour.iloc[0]) * 1.3, 3)
        made = launch_on(
            self.fleet, offers, name="spot", bid_usd_per_hour=bid, max_bid_usd_per_hour=0.3, max_usd=MAX_USD, on_outbid="move",
            upload_gb=1, download_gb=1,
        )  # fmt: skip
        assert isinstance(made, Instance)
        return made.wait()

    def close(self) -> None:
        """The notebook is closed, and another process goes on."""
        over = threading.Event()
        over.set()
        self.keeper.run(over)
        self.queue.close()
        self._wake_up()

    @property
    def work(self) -> Path | None:
        """The job's folder on the machine, if it runs."""
        (row,) = self.yard.machines
        disk = self.machines.disk(row["id"])
        return disk / "root" / "work" if disk is not None and row["actual_status"] == "running" else None

    def step(self) -> int:
        """Let the job do one step, if it is there; how far it is."""
        work = self.work
        if work is None or not (work / "step").exists():
            return 0
        number = said(work) + 1
        for earlier in range(1, number + 1):
            (work.parent / f"tick-{earlier}").touch()
        until(lambda: said(work) == number or number > STEPS)
        return said(work)


def said(work: Path) -> int:
    return int((work / "step").read_text())


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    require_programs()
    machines = Machines(grace_s=0.1, ssh=True)
    with yard(tmp_path, machines=machines) as place:
        made = Day(place, machines)
        yield made
        made.queue.close()


def test_a_spot_run_that_is_outbid_five_times_brings_its_results_home(day: Day, tmp_path: Path) -> None:
    assert moves_of(day, tmp_path / "results", FIVE_TIMES) >= 5


def test_a_spot_run_whose_host_is_lost_brings_its_results_home(day: Day, tmp_path: Path) -> None:
    assert moves_of(day, tmp_path / "results", Troubles((9,), (5, 13), {4: None, 12: 600.0})) >= 2


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
def test_a_spot_run_in_a_day_full_of_troubles_brings_its_results_home(day: Day, tmp_path: Path, seed: int) -> None:
    moves_of(day, tmp_path / "results", at_random(seed))


def moves_of(day: Day, home: Path, troubles: Troubles) -> int:
    """Let a day go by, and see that all is well at its end; how often the run was moved."""
    first = day.launch()
    began = first.seen_at
    first.run("mkdir work && echo 0 >work/step")
    first.keep("work", to=home, every="2h", job=first.run(JOB, detach=True), then="destroy")
    stop_keeper()

    reached, seen, turns = 0, {first.id}, 0
    while True:
        day.keeper.turn()
        turns += 1
        assert turns <= 72
        assert len(day.yard.machines) <= 1
        if not day.yard.machines:
            break
        step = day.step()
        if step and day.yard.machines[0]["id"] not in seen:
            seen.add(day.yard.machines[0]["id"])
            assert step > reached - TICKS_A_COPY
        reached = max(reached, step)
        if turns in troubles.outbid:
            day.yard.sandbox.outbid(day.yard.machines[0]["id"])
        if turns in troubles.lost:
            day.yard.sandbox.offline(day.yard.machines[0]["id"], troubles.lost[turns])
        if turns in troubles.closed:
            day.close()
        day.yard.pause(2400)

    kept = first.keeps().iloc[0]
    assert (kept.state, kept.problem) == ("over", "")
    assert said(home) == STEPS
    assert (home / "sum").read_text().split()[0] == hashlib.sha256((home / "weights").read_bytes()).hexdigest()
    charges = day.fleet.machines.charges(began, began + timedelta(days=4))
    assert 0 < sum(row["amount"] for row in charges) <= MAX_USD
    return int(kept.moves)
