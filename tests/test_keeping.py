"""What is kept of a machine: whole copies, whoever makes them; jobs that are started again; moves that are cut in the middle."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from remote_ground import Cutter, Ground, ground, require_programs, until
from renting import Yard, yard

import vastnb
from vastnb.errors import CommandError, InputError, NotOursError, ServerError
from vastnb.sandbox.machines import Machines
from vastnb.services.events import Queue, queue_of
from vastnb.services.instances import Instance, Keeper
from vastnb.services.instances.fleet import fleet_of
from vastnb.services.instances.keeper import stop_keeper
from vastnb.services.instances.keeps import Keep, Keeps
from vastnb.services.instances.launching import launch_on
from vastnb.services.remote.landing import Landing, read_sums


class Kept:
    """A machine whose folder ``ckpt`` is to be kept, and a keeper that turns when it is told to."""

    def __init__(self, there: Ground, to: Path) -> None:
        self.there, self.to, self.machine = there, to, there.machine
        self.queue: Queue = queue_of(there.kernel.client)
        self.keeper = Keeper(there.kernel, self.queue)
        self.folder = there.home / "ckpt"
        self.folder.mkdir(exist_ok=True)

    def keep(self, **more: Any) -> None:
        self.machine.keep("ckpt", to=self.to, every="10min", **more)
        stop_keeper()

    def turn(self, minutes: float = 10) -> Any:
        """The next turn; what is told of the folder."""
        self.there.yard.pause(60 * minutes)
        self.keeper.turn()
        return self.machine.keeps().iloc[0]

    @property
    def kinds(self) -> list[str]:
        return [row["kind"].removeprefix("instance.") for row in self.queue.rows()[::-1]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A machine that the tests of this file share."""
    with ground(tmp_path_factory.mktemp("ground")) as made:
        yield made


@pytest.fixture
def kept(shared: Ground, tmp_path: Path) -> Iterator[Kept]:
    made = Kept(shared, tmp_path / "copy")
    made.keep()
    yield made
    made.machine.stop_keeping()
    made.queue.close()
    for file in made.folder.rglob("*"):
        if file.is_file():
            file.unlink()


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


# --- copies -----------------------------------------------------------------------------------------------------------------


def test_a_copy_is_what_the_machine_has_and_files_of_ones_own_stay(kept: Kept) -> None:
    (kept.folder / "epoch 1.pt").write_text("one")
    (kept.folder / "best\nof.pt").write_text("best")
    told = kept.turn()
    (kept.to / "my notes").write_text("mine")
    (kept.folder / "epoch 1.pt").unlink()
    (kept.folder / "epoch 2.pt").write_text("two")

    assert (told.state, told.files, told.problem) == ("kept", 2, "")
    assert kept.turn(minutes=5).copied_at == told.copied_at
    assert kept.turn(minutes=6).copied_at > told.copied_at
    assert files(kept.to) == {"epoch 2.pt": "two", "best\nof.pt": "best", "my notes": "mine"}
    assert [p.name for p in kept.to.parent.iterdir() if p.name.startswith(".copy.vastnb-")] == []


def test_what_goes_on_changing_is_no_copy_and_the_one_before_stays(kept: Kept) -> None:
    (kept.folder / "a").write_text("whole")
    kept.turn()
    job = kept.machine.run("cd ckpt; while :; do date >>a; done", detach=True)
    until(lambda: files(kept.folder) != {"a": "whole"})
    told = kept.turn()
    again = kept.turn(minutes=2)
    job.forget()

    assert "changing" in told.problem
    assert "changing" in again.problem
    assert files(kept.to) == {"a": "whole"}
    assert kept.kinds[-1] == "not_kept"
    assert kept.turn(minutes=2).problem == ""
    assert files(kept.to) == files(kept.folder)


def test_a_folder_that_is_not_there_is_told_and_others_are_copied(kept: Kept, tmp_path: Path) -> None:
    kept.machine.keep("none", to=tmp_path / "none")
    stop_keeper()
    (kept.folder / "a").write_text("whole")
    kept.turn()

    told = kept.machine.keeps().set_index("source").problem
    assert told["ckpt"] == ""
    assert "No such file" in told["none"]
    assert kept.machine.stop_keeping("none").source.tolist() == ["ckpt"]


def test_a_place_that_cannot_be_written_is_told(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept.machine.keep("ckpt", to=tmp_path / "file" / "copy")
    stop_keeper()

    assert "FileExistsError" in kept.turn().problem


@pytest.mark.parametrize("seed", range(3))
def test_broken_connections_leave_whole_copies(kept: Kept, seed: int) -> None:
    (kept.folder / "big").write_bytes(b"%d" % seed * 3_000_000)
    with Cutter(kept.there, seed, most=3, longest_s=0.8):
        told = kept.turn()

    assert told.problem == ""
    assert files(kept.to) == files(kept.folder)


def test_traffic_that_the_cap_does_not_allow_is_not_moved(tmp_path: Path) -> None:
    with ground(tmp_path) as there:
        offers = there.yard.offers(there.kernel, "num_gpus=1 inet_up_cost>0.001")
        machine: Any = launch_on(there.kernel, offers, name="poor", max_usd=1)
        machine.wait().run("mkdir ckpt && head -c 5000000 /dev/zero >ckpt/a")
        machine.keep("ckpt", to=tmp_path / "to")
        stop_keeper()
        queue = queue_of(there.kernel.client)
        Keeper(there.kernel, queue).turn()
        queue.close()

        assert "max_usd" in machine.keeps().problem[0]
        assert not (tmp_path / "to").exists()


# --- who does it ------------------------------------------------------------------------------------------------------------

HOLDER = """
import pathlib, sys, time
from vastnb.services.events import Queue
from vastnb.services.instances.keeps import Keeps
keeps = Keeps(Queue(pathlib.Path(sys.argv[1]), sys.argv[2]))
print(keeps.hold(keeps.all()[0], is_working=True) is not None, flush=True)
time.sleep(600)
"""


def test_one_process_works_at_it_until_it_dies(kept: Kept) -> None:
    (kept.folder / "a").write_text("whole")
    words = [sys.executable, "-c", HOLDER, str(kept.queue.path), kept.queue.account]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        first = kept.turn()
        other.kill()
        other.wait()

    assert first.files == 0
    assert kept.turn().files == 1


def test_this_kernel_copies_in_the_background_and_a_watching_one_goes_on(tmp_path: Path) -> None:
    require_programs()
    there = vastnb.use("sandbox", start="2026-06-01T09:00", offers=400, machines=True)
    machine = vastnb.launch(vastnb.search("num_gpus=1"), name="work", max_hours=9)
    assert isinstance(machine, vastnb.Instance)
    machine.wait().run("mkdir ckpt && echo 1 >ckpt/a")
    machine.keep("ckpt", to=tmp_path / "to")
    until(lambda: files(tmp_path / "to") == {"a": "1\n"})
    stop_keeper()
    machine.run("echo 2 >ckpt/a")
    there.sandbox.clock.step(minutes=20)
    vastnb.watch()
    until(lambda: files(tmp_path / "to") == {"a": "2\n"})
    vastnb.stop_watching()
    machine.destroy()


def test_what_is_kept_is_said_and_told_through_the_doors(ip: Any, tmp_path: Path) -> None:
    require_programs()

    def vast(line: str) -> Any:
        return ip.run_line_magic("vast", line)

    vast("use sandbox start=2026-06-01T09:00 offers=400 seed=5 machines=true")
    vastnb.launch(vastnb.search("num_gpus=1"), name="work", max_hours=9).wait()  # type: ignore[union-attr]
    vast("run work 'mkdir ckpt logs && echo 1 >ckpt/a'")
    job = vast("run work --detach sleep 300").id
    vast(f"keep work ckpt --to {tmp_path}/to --every 20min --job {job} --patience 1h")
    vast(f"keep work none --to {tmp_path}/none")
    stop_keeper()
    fleet = fleet_of()
    queue = queue_of(fleet.client)
    keeper = Keeper(fleet, queue)
    keeper.turn()

    told = vast("keeps work").set_index("source")
    assert (told.to["ckpt"], told.name["ckpt"], told.state["ckpt"]) == (f"{tmp_path}/to", "work", "kept")
    assert told.next_at["ckpt"] - told.copied_at["ckpt"] == timedelta(minutes=20)
    assert vast("keeps another").empty
    status = vast("watch --status")
    ckpt, none = str(status).splitlines()[-2:]
    assert ckpt.startswith("Kept: work (800000001) ckpt: kept, copied 2026-06-01 09:")
    assert "copied never" in none and "No such file" in none
    assert status.exit_status == 1

    assert vast("keep work none/ --stop").source.tolist() == ["ckpt"]
    over = threading.Event()
    over.set()
    keeper.run(over)
    queue.close()
    assert [keep.kept_by for keep in (*status.keeps, *vast("watch --status").keeps)] == [
        f"Process {os.getpid()} on {platform.node()}"
    ] * 2 + [None]
    assert vast("keep work --stop").empty and vast("keeps").empty
    with pytest.raises(CommandError, match="where it is to come home"):
        vast("keep work ckpt")


# --- jobs -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Kept]:
    with ground(tmp_path) as there:
        made = Kept(there, tmp_path / "results")
        yield made
        made.queue.close()


def test_a_job_that_was_lost_is_started_again_and_its_end_brings_all_home(own: Kept) -> None:
    job = own.machine.run(
        "echo begun >>begun; until [ -e ~/go ]; do sleep 0.02; done; echo 42 >answer", cwd="ckpt", detach=True
    )
    own.keep(job=job, cwd="ckpt", then="destroy")
    own.turn()
    own.machine.stop()
    own.there.yard.pause(600)
    own.machine.start()
    own.there.yard.pause(600)
    own.turn()
    until(lambda: (own.folder / "begun").read_text() == "begun\nbegun\n")
    (own.there.home / "go").touch()

    def ended() -> bool:
        return bool(own.turn(minutes=1).state == "over")

    until(ended)
    assert own.there.yard.machines == []
    assert files(own.to) == {"begun": "begun\nbegun\n", "answer": "42\n"}
    assert [kind for kind in own.kinds if kind != "copied"] == ["job_started", "job_ended"]


# --- moves that are cut -----------------------------------------------------------------------------------------------------


@pytest.fixture
def spot(tmp_path: Path) -> Iterator[Yard]:
    require_programs()
    with yard(tmp_path, machines=Machines(grace_s=0.1, ssh=True)) as place:
        yield place


def outbid(place: Yard, to: Path, **more: Any) -> tuple[Any, Keeper, Queue]:
    """A machine that was outbid after its folder came home."""
    machine, keeper, queue = movable(place, to, **more)
    place.sandbox.outbid(machine.id)
    return machine, keeper, queue


def movable(place: Yard, to: Path, **more: Any) -> tuple[Any, Keeper, Queue]:
    """A machine whose folder came home, and that may be moved."""
    fleet = place.kernel(timeout_s=15.0)
    offers = place.offers(fleet, "num_gpus=1 dph<0.3", rental="bid")
    bid = round(float(offers.min_bid_usd_per_hour.iloc[0]) * 1.3, 3)
    given = {"bid_usd_per_hour": bid, "max_bid_usd_per_hour": 0.4, "max_hours": 30, "on_outbid": "move", **more}
    machine: Any = launch_on(fleet, offers, name="spot", **given)
    machine.wait().run("mkdir ckpt && echo 1 >ckpt/a")
    machine.keep("ckpt", to=to)
    stop_keeper()
    queue = queue_of(fleet.client)
    keeper = Keeper(fleet, queue)
    keeper.turn()
    return machine, keeper, queue


def living(place: Yard) -> Instance:
    fleet = place.kernel(timeout_s=15.0)
    record, row, sight = fleet.find("spot")
    return Instance(fleet, record, row, sight.now)


def until_settled(place: Yard, keeper: Keeper, machine: Instance) -> Any:
    for _ in range(5):
        keeper.turn()
        place.pause(900)
    return machine.keeps().iloc[0]


FAULTS: dict[str, Callable[[Yard], object]] = {
    "the answer to the order is lost": lambda place: place.sandbox.faults.add("cut-after", path="/asks/", method="PUT"),
    "the order never arrives": lambda place: place.sandbox.faults.add(
        "cut-before", path="/asks/", method="PUT", times=2
    ),
    "the end is refused": lambda place: place.sandbox.faults.add("503", path="/instances/", method="DELETE", times=20),
    "the list cannot be read": lambda place: place.sandbox.faults.add("500", path="/instances/", method="GET", times=3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_move_that_goes_wrong_goes_on_and_never_are_there_two(spot: Yard, tmp_path: Path, fault: str) -> None:
    machine, keeper, queue = outbid(spot, tmp_path / "to")
    FAULTS[fault](spot)
    turns = 0
    while (told := machine.keeps().iloc[0]).moves == 0 or told.state != "kept":
        turns += 1
        assert turns < 9
        with contextlib.suppress(ServerError):
            keeper.turn()
        assert len(spot.machines) <= 1
        spot.pause(900)

    assert (told.state, told.problem) == ("kept", "")
    (row,) = spot.machines
    assert row["id"] == told.instance_id != machine.id
    assert living(spot).run("cat ckpt/a").stdout == "1\n"
    queue.close()


def test_a_keeper_that_died_before_it_wrote_down_what_it_rented_rents_nothing_more(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = outbid(spot, tmp_path / "to")
    assert until_settled(spot, keeper, machine).moves == 1
    (rented,) = spot.machines
    requests, keeps = spot.rent_requests, Keeps(queue)
    keeps.update(
        keeps.all()[0], lambda now: replace(now, stage="leaving", instance_id=machine.id, machines=(machine.id,))
    )
    told = until_settled(spot, keeper, machine)

    assert (told.state, told.moves, told.instance_id) == ("kept", 1, rented["id"])
    assert spot.rent_requests == requests
    queue.close()


def test_without_an_offer_within_the_caps_the_machine_stays(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = outbid(spot, tmp_path / "to", max_bid_usd_per_hour=0.002)
    told = until_settled(spot, keeper, machine)

    assert (told.state, told.moves, told.instance_id) == ("kept", 0, machine.id)
    assert "no other machine is to be had" in told.problem
    queue.close()


def test_a_machine_whose_last_copy_failed_is_not_given_up(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = outbid(spot, tmp_path / "to")
    machine.refresh().change_bid(0.4)
    spot.sandbox.outbid(machine.id, 0.0)
    spot.pause(1200)
    machine.refresh().run("rm -r ckpt && echo 1 >ckpt")
    keeper.turn()
    spot.sandbox.outbid(machine.id)
    told = until_settled(spot, keeper, machine)

    assert told.instance_id == machine.id
    assert files(tmp_path / "to") == {"a": "1\n"}
    queue.close()


@pytest.mark.parametrize("how", ["stop_keeping", "destroy"])
def test_who_wants_no_other_machine_while_one_is_looked_for_gets_none(spot: Yard, tmp_path: Path, how: str) -> None:
    machine, keeper, queue = outbid(spot, tmp_path / "to")
    requests = spot.rent_requests
    spot.sandbox.faults.add("slow", path="/bundles/", seconds=3.0)
    turning = threading.Thread(target=keeper.turn)
    turning.start()
    until(lambda: not spot.sandbox.faults.waiting())
    getattr(living(spot), how)()
    turning.join()
    keeper.turn()

    assert spot.rent_requests == requests
    assert [row["id"] for row in spot.machines] == ([machine.id] if how == "stop_keeping" else [])
    queue.close()


# --- hosts that are lost ----------------------------------------------------------------------------------------------------


def turned(place: Yard, keeper: Keeper, machine: Instance, *, minutes: float) -> Any:
    """What is told after turns every five minutes, in which there never are two machines."""
    for _ in range(int(minutes / 5)):
        place.pause(300)
        with contextlib.suppress(ServerError):
            keeper.turn()
        assert len(place.machines) <= 1
    return machine.keeps().iloc[0]


def billed(place: Yard, began: datetime) -> float:
    charges = place.kernel().machines.charges(began, began + timedelta(days=3))
    return float(sum(row["amount"] for row in charges))


def test_a_machine_whose_host_never_comes_back_is_moved_after_some_patience(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = movable(spot, tmp_path / "to", max_hours=None, max_usd=1.0, upload_gb=0.1, download_gb=0.1)
    began, requests = machine.seen_at, spot.rent_requests
    spot.sandbox.offline(machine.id)
    first = turned(spot, keeper, machine, minutes=15)

    assert (first.state, first.instance_id, spot.rent_requests) == ("lost", machine.id, requests)
    assert "its job goes on elsewhere from 2026-06-01 09:" in first.problem

    told = turned(spot, keeper, machine, minutes=30)
    assert (told.state, told.moves, told.problem) == ("kept", 1, "")
    assert living(spot).id == told.instance_id != machine.id
    assert living(spot).run("cat ckpt/a").stdout == "1\n"
    rows = {row.instance_id: row for row in spot.kernel().journal.rows()}
    assert billed(spot, began) > 0
    assert billed(spot, began) + (rows[told.instance_id].most_usd or 9) <= 1.0 + living(spot).bill().usd_total
    queue.close()


def test_a_machine_whose_host_comes_back_in_time_goes_on_with_its_disk(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = movable(spot, tmp_path / "to")
    machine.run("echo later >ckpt/a")
    requests = spot.rent_requests
    spot.sandbox.offline(machine.id, seconds=700)
    assert turned(spot, keeper, machine, minutes=10).state == "lost"
    told = turned(spot, keeper, machine, minutes=20)

    assert (told.state, told.moves, told.problem) == ("kept", 0, "")
    assert spot.rent_requests == requests
    assert files(tmp_path / "to") == {"a": "later\n"}
    assert "instance.back" in {row["kind"] for row in queue.rows()}
    queue.close()


def test_a_host_that_comes_back_during_the_move_costs_nothing_more(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = movable(spot, tmp_path / "to")
    spot.sandbox.offline(machine.id, seconds=1400)
    turned(spot, keeper, machine, minutes=15)
    spot.sandbox.faults.add("503", path="/instances/", method="DELETE", times=14)
    leaving = turned(spot, keeper, machine, minutes=10)
    assert (leaving.state, "could not be seen" in leaving.problem) == ("leaving", True)
    assert [(row["id"], row["cur_state"]) for row in spot.machines] == [(machine.id, "stopped")]

    told = turned(spot, keeper, machine, minutes=30)
    assert (told.state, told.moves) == ("kept", 1)
    queue.close()


def test_without_an_offer_a_lost_machine_stays_and_is_started_when_it_is_back(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = movable(spot, tmp_path / "to")
    spot.sandbox.offline(machine.id, seconds=5000)
    fleet = spot.kernel()
    row = next(row for row in fleet.journal.rows() if row.instance_id == machine.id)
    fleet.journal.update(row.token, terms={**row.terms, "max_bid_usd_per_hour": 0.002})
    told = turned(spot, keeper, machine, minutes=60)
    assert (told.state, "no other machine is to be had" in told.problem) == ("lost", True)

    told = turned(spot, keeper, machine, minutes=60)
    assert (told.state, told.instance_id, told.problem) == ("kept", machine.id, "")
    queue.close()


@pytest.mark.parametrize("who", ["its host", "its owner"])
def test_a_lost_machine_that_is_gone_is_moved_unless_its_owner_ended_it(spot: Yard, tmp_path: Path, who: str) -> None:
    machine, keeper, queue = movable(spot, tmp_path / "to")
    requests = spot.rent_requests
    spot.sandbox.offline(machine.id)
    turned(spot, keeper, machine, minutes=5)
    if who == "its owner":
        living(spot).destroy()
    else:
        spot.kernel().machines.destroy(machine.id)
    first = turned(spot, keeper, machine, minutes=10)
    told = turned(spot, keeper, machine, minutes=30)

    assert "gone with its host" in first.problem or who == "its owner"
    assert (first.state, told.state, told.moves) == (("over", "over", 0) if who == "its owner" else ("lost", "kept", 1))
    assert spot.rent_requests - requests == told.moves
    queue.close()


@pytest.mark.parametrize("how", ["outbid", "offline"])
def test_a_machine_that_waits_longer_than_its_caps_is_ended(spot: Yard, tmp_path: Path, how: str) -> None:
    machine, keeper, queue = movable(spot, tmp_path / "to", max_hours=2)
    getattr(spot.sandbox, how)(machine.id)
    spot.pause(7200)
    told = turned(spot, keeper, machine, minutes=30)

    assert (told.state, spot.machines) == ("over", [])
    assert "nothing is left of the caps" in queue.rows()[0]["data"]
    queue.close()


def test_a_machine_that_is_outbid_while_it_is_copied_is_moved(spot: Yard, tmp_path: Path) -> None:
    machine, keeper, queue = movable(spot, tmp_path / "to", upload_gb=1)
    machine.run("head -c 30000000 /dev/urandom >ckpt/b")
    spot.pause(600)
    turning = threading.Thread(target=keeper.turn)
    turning.start()
    until(lambda: any(tmp_path.glob(".to.vastnb-new/.vastnb-*/*")))
    spot.sandbox.outbid(machine.id)
    turning.join()
    cut = machine.keeps().iloc[0]
    told = until_settled(spot, keeper, machine)

    assert cut.problem
    assert (told.state, told.moves) == ("kept", 1)
    assert living(spot).run("ls ckpt").stdout == "a\n"
    queue.close()


def test_a_host_that_is_not_heard_of_is_told_of_a_machine_that_stays(own: Kept) -> None:
    own.keep()
    own.turn()
    own.there.yard.sandbox.offline(own.machine.id)

    assert own.turn().problem.endswith("is offline: nothing is copied")


# --- bad input --------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_kept_is_refused(kept: Kept, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every"):
        kept.machine.keep("other", to=tmp_path / "x", every="1s")
    with pytest.raises(InputError, match="patience"):
        kept.machine.keep("other", to=tmp_path / "x", patience="soon")
    with pytest.raises(InputError, match="a folder on the machine"):
        kept.machine.keep("~/", to=tmp_path / "x")
    with pytest.raises(InputError, match="job"):
        kept.machine.keep("other", to=tmp_path / "x", then="destroy")
    with pytest.raises(InputError, match="already"):
        kept.machine.keep("other", to=kept.to)
    strange = Instance(kept.there.kernel, kept.machine.record, None, 0.0)
    with pytest.raises(NotOursError):
        strange.keep("ckpt", to=tmp_path / "x")


@pytest.mark.parametrize(
    ("more", "match"),
    [({"name": ""}, "name"), ({"bid_usd_per_hour": None}, "bid"), ({"env": {"API_TOKEN": "x"}}, "API_TOKEN")],
)
def test_what_could_not_be_moved_is_not_rented(there: Yard, more: dict[str, Any], match: str) -> None:
    fleet = there.kernel()
    offers = there.offers(fleet, "num_gpus=1", rental="bid")
    given = {"name": "spot", "bid_usd_per_hour": 1.0, "on_outbid": "move", **more}
    with pytest.raises(InputError, match=match):
        launch_on(fleet, offers, **given)
    assert there.rent_requests == 0


def test_a_machine_that_names_paths_outside_reaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    landing = Landing(tmp_path / "to")
    landing.begin()
    (landing.new / "link").symlink_to(tmp_path)
    (landing.new / "a").write_text("a")
    mine, digest = (hashlib.sha256(text).hexdigest() for text in (b"mine", b"a"))
    for evil in ("../mine", str(tmp_path / "mine"), "link/mine"):
        assert not landing.is_whole({"a": digest, evil: mine})
    landing.swap({"a": digest, "../mine": mine, "link/mine": mine})
    landing.begin()

    assert landing.is_whole({"a": digest})
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_swap_that_was_cut_is_ended(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "to")
    landing.begin()
    (landing.new / "a").write_text("a")
    landing.swap({"a": "?"})
    landing.to.rename(tmp_path / ".to.vastnb-old")
    landing.mend()

    assert files(landing.to) == {"a": "a"}


def test_checksums_are_read_whatever_files_are_called() -> None:
    told = b"aa  ./b c\n\\bb  ./new\\nline\ncc *./d\n\\dd  ./back\\\\slash\n"
    assert read_sums(told) == {"b c": "aa", "new\nline": "bb", "d": "cc", "back\\slash": "dd"}


def test_many_that_are_over_are_forgotten_one_by_one(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "events.sqlite", "me")
    keeps = Keeps(queue)
    for number in range(30):
        keeps.put(Keep(number, machines=(number,), stage="over"))
    keeps.put(Keep(99, machines=(99,)))

    assert [keep.instance_id for keep in keeps.all()] == [*range(10, 30), 99]
    queue.close()
