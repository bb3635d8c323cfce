"""Files to a machine and from it, against a real ssh server: whole, also when connections break, and paid for within the caps."""

from __future__ import annotations

import os
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from remote_ground import Cutter, Ground, small_disk, until

from vastnb.errors import BudgetError, CopyError, InputError, NotFoundError, ReachError
from vastnb.services.instances import renting
from vastnb.services.instances.launching import launch_on
from vastnb.services.instances.traffic import price_of
from vastnb.services.journal import Rental
from vastnb.services.remote import Copied, Moving
from vastnb.vast.types.records import InstanceRecord

ODD = (
    "a b",
    "it's",
    'quo"ted',
    "-rf",
    "*",
    "$(touch hit)",
    "new\nline",
    "ünï☃",
    "host:file",
    "back\\slash",
    "~",
    ".hidden",
    "#x#",
)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, whole."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def filled(folder: Path, seed: int, *, files: int, size: int) -> Path:
    """A folder with files that nobody could guess."""
    chance = random.Random(seed)
    for number in range(files):
        path = folder / f"part {number % 3}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(size)))
    return folder


def test_a_folder_goes_there_and_comes_back_with_what_it_costs(shared: Ground, tmp_path: Path) -> None:
    source, told = filled(tmp_path / "src", 1, files=7, size=100_000), list[Moving]()
    total = sum(p.stat().st_size for p in source.rglob("*.bin"))
    sent = shared.machine.put(source, "there/", on_progress=told.append)
    came = shared.machine.get("there/src/", tmp_path / "back/")

    record = shared.machine.record
    assert (sent.files, sent.size_bytes, sent.changed) == (7, total, ())
    assert sent.usd == pytest.approx(record.inet_down_usd_per_gb * total / 1e9)
    assert came.usd == pytest.approx(record.inet_up_usd_per_gb * total / 1e9)
    assert tree(shared.home / "there" / "src") == tree(source) == tree(tmp_path / "back")
    assert (told[0].done_bytes, told[0].total_bytes, told[0].usd) == (0, total, sent.usd)
    assert told[-1].is_last and [m.is_last for m in told].count(True) == 1
    assert str(told[0]).startswith("put 7 files: 0 bytes of ") and str(told[0]).endswith("of traffic")


def test_what_is_there_already_is_not_copied_again_unless_it_differs_inside(shared: Ground, tmp_path: Path) -> None:
    source = tmp_path / "one.txt"
    source.write_text("first")
    shared.machine.put(source, "again/")
    there = shared.home / "again" / "one.txt"
    assert repr(shared.machine.put(source, "again/")) == "everything was there already"

    stamps = there.stat()
    there.write_text("fIrst")
    os.utime(there, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    assert shared.machine.put(source, "again/").files == 0
    assert shared.machine.put(source, "again/", checksum=True).files == 1
    assert there.read_text() == "first"


def test_one_file_may_get_another_name(shared: Ground, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)")
    shared.machine.put(tmp_path / "train.py", "renamed/job.py")
    shared.machine.get("~/renamed/job.py", tmp_path / "home" / "again.py")
    assert (
        (shared.home / "renamed" / "job.py").read_text() == (tmp_path / "home" / "again.py").read_text() == "print(1)"
    )


def test_odd_names_stay_what_they_are(shared: Ground, tmp_path: Path) -> None:
    source = tmp_path / "odd"
    source.mkdir()
    for name in ODD:
        (source / name).write_text(name)
        shared.machine.put(source / name, f"odd-{len(name)}/")
    shared.machine.put(f"{source}/", "odd names $HOME/")
    shared.machine.get("odd names $HOME/", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(source) == tree(shared.home / "odd names $HOME")
    assert not (shared.home / "hit").exists()


@pytest.mark.parametrize("path", ["", "a\0b", r"C:\data", "C:/data", r"\\server\share"])
def test_paths_that_cannot_be_one_are_refused(shared: Ground, tmp_path: Path, path: str) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InputError):
        shared.machine.put(tmp_path / "x", path)
    with pytest.raises(InputError):
        shared.machine.get(path, tmp_path)
    with pytest.raises(InputError):
        shared.machine.get(".", path)


def test_what_is_not_there_or_may_not_be_written_is_an_error_with_its_name(shared: Ground, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        shared.machine.put(tmp_path / "missing")
    with pytest.raises(CopyError, match=r"missing.* No such file") as caught:
        shared.machine.get("missing", tmp_path)
    assert (caught.value.code, caught.value.retryable) == ("refused", False)
    (shared.home / "in the way").touch()
    (tmp_path / "x").touch()
    with pytest.raises(CopyError, match="in the way") as caught:
        shared.machine.put(tmp_path / "x", "in the way/x/")
    (tmp_path / "y").touch()
    with pytest.raises(CopyError, match="y"):
        shared.machine.get("in the way", tmp_path / "y" / "z/")


@pytest.mark.parametrize("where", ["there", "here"])
def test_a_full_disk_is_said_to_be_the_one_that_is_full(shared: Ground, tmp_path: Path, where: str) -> None:
    """rsync's own message about a full disk, from the side that receives: a stand-in for rsync prints it."""
    fake = tmp_path / "bin" / "rsync"
    fake.parent.mkdir()
    fake.write_text("""#!/bin/sh
case "$*" in *--stats*) echo "Number of regular files transferred: 1"; echo "Total transferred file size: 5"; exit;; esac
echo 'rsync: [receiver] write failed on "/x/y": No space left on device (28)' >&2
exit 11
""")
    fake.chmod(0o755)
    (tmp_path / "f").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
        act, words = (
            (shared.machine.put, [tmp_path / "f"]) if where == "there" else (shared.machine.get, ["x", tmp_path])
        )
        with pytest.raises(CopyError) as caught:
            act(*words)
    disk = f"machine {shared.machine.id}" if where == "there" else "this computer"
    assert str(caught.value).startswith(f"the disk of {disk} is full") and caught.value.code == "disk_full"
    assert caught.value.files == ("/x/y",)


@pytest.mark.parametrize("way", ["put", "get"])
def test_a_disk_that_is_really_full_gets_no_file_cut_short_and_goes_on_when_there_is_room(
    shared: Ground, tmp_path: Path, way: str
) -> None:
    ours, theirs = tmp_path / f"from {way}", shared.home / f"full {way}"
    source, to = (ours, theirs) if way == "put" else (theirs, ours)
    filled(source, 7, files=30, size=60_000)

    def copy() -> Copied:
        if way == "put":
            return shared.machine.put(f"{ours}/", f"{theirs.name}/")
        return shared.machine.get(f"{theirs.name}/", f"{ours}/")

    with small_disk(to):
        with pytest.raises(CopyError, match=r"the disk of .* is full: .*No space left on device") as caught:
            copy()
        whole = tree(source)
        came = {path: held for path, held in tree(to).items() if not path.startswith(".") and "/." not in path}
    assert (caught.value.code, caught.value.retryable) == ("disk_full", False) and "make room" in str(caught.value.hint)
    assert came.items() <= whole.items() and any(came.values())
    copy()
    assert tree(to) == whole


def test_a_file_that_changes_all_the_time_is_told(shared: Ground, tmp_path: Path) -> None:
    source = filled(tmp_path / "growing", 3, files=2, size=5_000_000)
    growing = source / "part 0" / "0.bin"

    over = threading.Event()

    def grow() -> None:
        while not over.wait(0.002):
            with growing.open("ab") as file:
                file.write(b"more")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(grow)
        copied = shared.machine.put(source, "grown/")
        over.set()
    assert copied.changed == ("growing/part 0/0.bin",) and "changed while they were copied" in repr(copied)


def test_without_rsync_here_the_error_says_what_to_install(shared: Ground, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").symlink_to(str(shutil.which("ssh")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "bin"))
        with pytest.raises(ReachError, match="no rsync on this computer") as caught:
            shared.machine.put(tmp_path / "bin")
    assert caught.value.code == "no_program" and "apt-get install rsync" in str(caught.value.hint)


def test_without_rsync_there_the_error_says_how_to_put_it_there(own: Ground, tmp_path: Path) -> None:
    session = own.disk.parent / "sshd" / "session"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mkdir").symlink_to(str(shutil.which("mkdir")))
    session.write_text(session.read_text().replace(' "$@"\n', f' PATH="{tmp_path}/bin" "$@"\n'))
    (tmp_path / "f").touch()
    with pytest.raises(CopyError, match=f"there is no rsync on machine {own.machine.id}") as caught:
        own.machine.put(tmp_path / "f")
    assert caught.value.code == "no_program" and "apt-get install -y rsync" in str(caught.value.hint)


def test_a_file_that_goes_while_it_is_copied_is_told(shared: Ground, tmp_path: Path) -> None:
    source = filled(tmp_path / "going", 4, files=40, size=2_000_000)

    last = source / "part 2" / "8.bin"

    def remove() -> None:
        until(lambda: list((shared.home / "gone").rglob("*.bin")))
        last.unlink()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(remove)
        copied = shared.machine.put(source, "gone/")
    assert copied.changed == (str(last),) and "changed while they were copied" in repr(copied)


def test_a_thousand_small_files_are_told_of_a_few_times(shared: Ground, tmp_path: Path) -> None:
    source, told = filled(tmp_path / "small", 6, files=1000, size=100), list[Moving]()
    copied = shared.machine.put(source, "many/", on_progress=told.append)
    assert copied.files == 1000 and len(told) <= copied.seconds / 0.2 + 2


def test_a_machine_that_ends_while_files_go_there_is_gone(own: Ground, tmp_path: Path) -> None:
    def end(moving: Moving) -> None:
        if not moving.is_last:
            own.again().destroy()
            own.machines.settle()

    (tmp_path / "f").write_bytes(os.urandom(1_000_000))
    with pytest.raises(NotFoundError, match="is gone"):
        own.machine.put(tmp_path / "f", on_progress=end)


# Connections that break.


@pytest.mark.parametrize("way", ["put", "get"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_connection_that_breaks_again_and_again_cuts_no_file_short(
    shared: Ground, tmp_path: Path, way: str, seed: int
) -> None:
    _cut_through_copies(shared, tmp_path, way, seed, cuts=5)


@pytest.mark.campaign
@pytest.mark.parametrize("way", ["put", "get"])
@pytest.mark.parametrize("seed", range(10, 20))
def test_the_same_for_long(shared: Ground, tmp_path: Path, way: str, seed: int) -> None:
    _cut_through_copies(shared, tmp_path, way, seed, cuts=10)


def _cut_through_copies(shared: Ground, tmp_path: Path, way: str, seed: int, cuts: int) -> None:
    """Copies of new files until the connection has broken so often; each must be whole, with nothing left beside it."""
    rounds = 0
    with Cutter(shared, seed, most=cuts, longest_s=1.0) as cutter:
        while cutter.cuts < cuts:
            name = f"cut {way} {seed} {rounds}"
            ours, theirs = tmp_path / name, shared.home / name
            filled(ours if way == "put" else theirs, 100 * seed + rounds, files=20, size=2_000_000)
            done: Copied = shared.machine.put(ours) if way == "put" else shared.machine.get(name, tmp_path)
            assert done.changed == () and tree(ours) == tree(theirs)
            rounds += 1
    assert not list(tmp_path.glob(".vastnb*")) and not list(shared.home.glob(".vastnb-partial"))


# Money.


def test_traffic_beyond_the_cap_is_refused_before_a_byte_is_copied(shared: Ground, tmp_path: Path) -> None:
    kernel = shared.kernel
    offers = shared.yard.offers(kernel, "num_gpus=1 inet_down_cost>0.01")
    cap = offers["usd_per_hour"][0] + 0.05
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10_000_000_000)
    machine: Any = launch_on(kernel, offers, max_hours=1, max_usd=cap).wait()

    with pytest.raises(BudgetError, match="max_usd leaves") as caught:
        machine.put(tmp_path / "huge", "x/")
    assert caught.value.cap == "max_usd" and caught.value.needed_usd > caught.value.limit_usd
    assert not list((machine_disk(shared, machine) / "root" / "x").iterdir())
    machine.connect().close()
    machine.destroy()


def machine_disk(shared: Ground, machine: Any) -> Path:
    disk = shared.machines.disk(machine.id)
    assert disk is not None
    return disk


def test_what_was_moved_before_counts() -> None:
    record = InstanceRecord(id=1, inet_down_cost=0.02, inet_up_cost=0.05, inet_down_billed=10_000, inet_up_billed=4_000)
    row = Rental(token="t", label="", offer_id=1, sent_at=0.0, ends_at=7200.0, usd_per_hour=0.5, terms={"max_usd": 1.5})
    assert price_of(10**9, record, row, to_machine=True, is_over_allowed=False) == pytest.approx(0.02)
    with pytest.raises(BudgetError, match=r"leaves \$0.50 .* \$0.40 is used; this would cost \$0.15"):
        price_of(3 * 10**9, record, row, to_machine=False, is_over_allowed=False)
    assert price_of(10**9, InstanceRecord(id=1), row, to_machine=True, is_over_allowed=False) is None


# The end of a machine.


def test_results_are_home_and_compared_before_a_machine_ends(own: Ground, tmp_path: Path) -> None:
    results = tree(filled(own.home / "out", 5, files=5, size=50_000))
    bill = own.machine.destroy(fetch="out", to=tmp_path / "home/")
    assert bill.is_final and tree(tmp_path / "home" / "out") == results
    with pytest.raises(NotFoundError):
        own.again()


def test_a_machine_whose_results_do_not_come_home_is_kept_stopped(own: Ground, tmp_path: Path) -> None:
    with pytest.raises(CopyError, match="was not destroyed") as caught:
        own.machine.destroy(fetch="out", to=tmp_path)
    assert caught.value.code == "kept" and "its disk costs" in str(caught.value.hint)
    own.yard.pause(600)
    assert own.again().state == "stopped"


def test_a_rent_brings_its_results_home_whatever_ends_it(shared: Ground, tmp_path: Path) -> None:
    client = shared.kernel.client

    def work() -> Any:
        with renting.rent(
            shared.yard.offers(shared.kernel), wait=False, max_hours=1, client=client, fetch="out", to=tmp_path
        ) as machine:
            shared.yard.pause(1800)
            machine.run("echo result >out")
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        work()
    assert (tmp_path / "out").read_text() == "result\n"
    assert [row["id"] for row in shared.yard.machines] == [shared.machine.id]
