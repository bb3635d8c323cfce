"""What the tests of work on a machine share: a sandbox whose machines one really logs in to, and connections that break."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from renting import Yard, yard

from vastnb.errors import NotFoundError, NotRunningError
from vastnb.sandbox.machines import Machines
from vastnb.services.instances import Instance
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on

_PROGRAMS = ("ssh", "ssh-keygen", "sshd", "rsync")


def require_programs() -> None:
    """Skip where OpenSSH or rsync is missing, except in CI."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    if os.name != "posix":
        missing.append("process groups")
    if missing and os.environ.get("CI"):
        pytest.fail(f"there is no {', '.join(missing)}")
    if missing:
        pytest.skip(f"there is no {', '.join(missing)} (apt-get install openssh-server rsync)")


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Look again and again at what another process does, and return what was seen at last."""
    give_up_at, pause = time.monotonic() + timeout_s, threading.Event()
    while not (seen := condition()):
        assert time.monotonic() < give_up_at, "it did not come"
        pause.wait(0.01)
    return seen


class Ground:
    """One rented machine that really runs, seen from a kernel."""

    def __init__(self, place: Yard, machines: Machines) -> None:
        self.yard, self.machines = place, machines
        self.kernel = place.kernel(timeout_s=15.0)
        offers = place.offers(self.kernel, "num_gpus=1 inet_down_cost>0.001 inet_up_cost>0.001")
        self.machine: Any = launch_on(self.kernel, offers, name="work", max_hours=20)
        self.machine.wait()

    def again(self, fleet: Fleet | None = None) -> Instance:
        """The machine, seen from another kernel."""
        kernel = fleet or self.yard.kernel(timeout_s=15.0)
        record, row, sight = kernel.find("work")
        return Instance(kernel, record, row, sight.now)

    @property
    def disk(self) -> Path:
        """The machine's file system; its home is ``root``."""
        found = self.machines.disk(self.machine.id)
        assert found is not None
        return found

    @property
    def home(self) -> Path:
        return self.disk / "root"

    @property
    def folder(self) -> Path:
        """Where the kernel keeps its state."""
        return Path(self.kernel.client.state_folder)

    @property
    def ssh_processes(self) -> list[int]:
        """What of ssh and rsync runs for this machine on this side: the kept connection goes by its socket, the rest by the key."""
        marks = str(self.folder), str(self.machine.connect()._socket)
        return [pid for mark in marks for pid in processes(mark)]


def processes(mark: str) -> list[int]:
    """The processes of this computer that have `mark` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (entry / "cmdline").read_bytes().replace(b"\0", b" "):
                found.append(int(entry.name))
    return found


@contextmanager
def ground(folder: Path, **options: Any) -> Iterator[Ground]:
    """A `Ground` that is cleared at the end."""
    require_programs()
    machines = Machines(grace_s=1.0, ssh=True)
    with yard(folder, machines=machines, **options) as place:
        made = Ground(place, machines)
        try:
            yield made
        finally:
            with contextlib.suppress(NotFoundError, NotRunningError):
                made.again().connect().close()


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[], None]]:
    """A file system of 400 KB at a place, and what fills it to the last byte; skips where nobody may mount one."""
    place.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a disk that is really full needs a file system of its own, which only root may mount")

    def fill() -> None:
        with contextlib.suppress(OSError), (place / "filler").open("wb", 0) as filler:
            while True:
                filler.write(bytes(4096))

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Cutter:
    """Breaks connections at random points, as long as it is in force: kills whatever ssh of this test is there.

    Parameters
    ----------
    ground
        Whose connections.
    seed
        The same seed waits the same times.
    most
        Breaks so often at most.
    """

    def __init__(self, ground: Ground, seed: int, *, most: int, longest_s: float = 1.0) -> None:
        self._chance, self._most = random.Random(seed), most
        self._ground, self._longest_s, self.cuts = ground, longest_s, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        while self.cuts < self._most and not self._over.wait(self._chance.uniform(0.02, self._longest_s)):
            self.cuts += self.cut()

    def cut(self) -> bool:
        """Break what there is; whether there was something."""
        victims = self._ground.ssh_processes
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(victims)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
