"""A machine whose own end falls within the fetch of its results: it lasts as long as its money does, and then keeps its disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from remote_ground import require_programs
from renting import Yard, yard

from vastnb.errors import BudgetError, CopyError
from vastnb.sandbox.machines import Machines
from vastnb.services import notices
from vastnb.services.instances import Instance
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.lasting import Lasting
from vastnb.services.instances.launching import launch_on


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Yard]:
    require_programs()
    with yard(tmp_path, machines=Machines(grace_s=0.1, ssh=True)) as made:
        yield made


def kernel(place: Yard, **settings: Any) -> Fleet:
    """One whose machines end themselves by the sandbox's clock."""

    def on_end(instance_id: int, at: float, at_end: str) -> None:
        place.sandbox.ends_itself(instance_id, at, stop=at_end == "stop")

    return Fleet(place.kernel(timeout_s=15.0, **settings).client, pause=place.pause, on_end=on_end)


def found(fleet: Fleet) -> Instance:
    record, row, sight = fleet.find("work")
    return Instance(fleet, record, row, sight.now)


def rented(place: Yard, *, budget: Any = None, **caps: Any) -> tuple[Fleet, Any]:
    """A machine with results on it, which ends itself."""
    fleet = kernel(place, budget=budget or {})
    machine: Any = launch_on(fleet, place.offers(fleet, "num_gpus=1 dph>0.2"), name="work", **caps)
    machine.wait().run("mkdir out && head -c 300000 /dev/zero >out/a && echo 42 >out/b")
    return fleet, machine


def until_end(place: Yard, machine: Instance, *, minutes: float) -> None:
    """Let time pass until so long before its end."""
    assert machine.ends_at is not None
    place.sandbox.clock.step(seconds=machine.ends_at.timestamp() - place.sandbox.clock.now() - 60 * minutes)


def once(act: Callable[[], object]) -> Callable[[Any], None]:
    left = [act]

    def told(_moving: object) -> None:
        if left:
            left.pop()()

    return told


def test_an_end_that_falls_within_the_fetch_is_put_off(
    place: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, machine = rented(place, max_hours=2)
    until_end(place, machine, minutes=5)
    monkeypatch.setattr(notices, "show_progress", once(lambda: place.pause(1200)))
    bill = machine.destroy(fetch="out/", to=tmp_path / "home/")

    assert bill.is_final
    assert place.machines == []
    assert (tmp_path / "home" / "b").read_text() == "42\n"
    assert (tmp_path / "home" / "a").stat().st_size == 300_000


def test_an_end_that_must_not_be_put_off_leaves_the_machine_stopped(
    place: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, machine = rented(place, max_hours=1, budget={"max_usd_per_day": 0.21})
    with pytest.raises(BudgetError, match="max_usd_per_day"):
        machine.extend(hours=4)
    until_end(place, machine, minutes=1)
    monkeypatch.setattr(notices, "show_progress", once(lambda: place.pause(600)))
    with pytest.raises(CopyError, match="was not destroyed") as caught:
        machine.destroy(fetch="out/", to=tmp_path / "home/")
    place.pause(7200)

    assert "it is stopped, and its disk costs: extend(hours=1), start()" in str(caught.value.hint)
    assert [row["actual_status"] for row in place.machines] == ["exited"]
    found(kernel(place)).extend(hours=4).start()
    place.pause(600)
    found(kernel(place)).destroy(fetch="out/", to=tmp_path / "home/")
    assert (tmp_path / "home" / "b").read_text() == "42\n"


def lasted(place: Yard, fleet: Fleet, machine: Instance, *, hours: float, traffic_usd: float = 0.0) -> Instance:
    """After something was fetched for so long."""
    (row,) = (row for row in fleet.journal.rows() if row.instance_id == machine.id)
    until = place.sandbox.clock.now() + hours * 3600

    def wait(seconds: float) -> bool:
        place.pause(seconds)
        return place.sandbox.clock.now() > until

    with Lasting(fleet, row, wait=wait) as lasting:
        lasting.pay(traffic_usd)
    return found(fleet)


def test_it_lasts_as_long_as_it_is_needed(place: Yard) -> None:
    fleet, machine = rented(place, max_hours=1)
    until_end(place, machine, minutes=5)
    after = lasted(place, fleet, machine, hours=2)

    assert after.state == "running"
    assert after.ends_at is not None
    assert 0 < (after.ends_at - after.seen_at).total_seconds() <= 1800
    place.pause(1800)
    assert place.machines == []


@pytest.mark.parametrize("traffic_usd", [0.0, 0.1])
def test_it_lasts_no_longer_than_its_money(place: Yard, traffic_usd: float) -> None:
    fleet, machine = rented(place, max_hours=1, max_usd=0.5)
    until_end(place, machine, minutes=5)
    after = lasted(place, fleet, machine, hours=3, traffic_usd=traffic_usd)

    assert after.state == "stopped"
    assert after.ends_at is not None
    assert 0.3 < after.bill().usd_total + traffic_usd <= 0.5


def test_a_machine_that_stops_itself_needs_nothing(place: Yard) -> None:
    fleet, machine = rented(place, max_hours=1, at_end="stop")
    until_end(place, machine, minutes=1)
    after = lasted(place, fleet, machine, hours=0.01)

    assert after.ends_at == machine.ends_at
