"""Rented machines that really run: behind each is a shell on this computer with the on-start script, in a private folder.

1. The container starts, for the first time, after a stop or a reboot: its shell runs the on-start script anew, in the same
   folder, with the variables that Vast documents.
2. It ends: its processes get SIGTERM, and after a grace whatever is left is killed, also what left their group.
3. The machine is gone: its folder is removed. The sandbox stops: so is everything.

It runs what a renter wants run, with the rights of whoever started the sandbox: it is a stand-in, not a container. It
runs in real time, while the sandbox's clock is stepped; a script reads that clock in the ``Date`` header of any answer.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .rentals import Instance
from .sshd import ADDRESS, Sshd, authorize, program

URL = "VAST_URL"
"""The variable by which a script finds the sandbox; the official client reads it too."""
PROC = "VASTNB_WATCHDOG_PROC"
"""The variable by which a watchdog of vastnb's finds what it counts."""
_MOST_OUTPUT_BYTES = 4 * 2**20
_KILL_TIMEOUT_S = 10.0
_LONE = re.compile("[\ud800-\udfff]")
"""Half a character, which JSON can carry and no variable."""
_KEEPER = """\
trap 'exit 143' TERM
exec 3<&0 4>&2 </dev/null 2>/dev/null
(cat <&3 && kill -s KILL 0) &
[ $# -eq 0 ] || "$@" 2>&4 3<&- 4>&- &
[ ! -f onstart.sh ] || "$0" onstart.sh 2>&4 3<&- 4>&-
wait
"""
"""What the container's first process does: it says nothing and outlives the on-start script, but not the sandbox, which holds its input."""


class Machines:
    """What stands behind the machines of one sandbox: ``Sandbox(machines=Machines())``.

    Linux and macOS; an ``OSError`` elsewhere. Only on Linux do processes that left their group end with the machine.

    Parameters
    ----------
    grace_s
        Real seconds between SIGTERM and the kill.
    ssh
        Whether one can log in to them (see :mod:`sshd`); an ``OSError`` if there is no OpenSSH server.
    latency_s
        Real seconds by which all that goes through ssh comes later, each way.
    """

    def __init__(self, *, grace_s: float = 3.0, ssh: bool = False, latency_s: float = 0.0) -> None:
        if os.name != "posix":
            raise OSError("machines that really run need process groups: on Linux and macOS, not here")
        if ssh:
            program()
        self._grace_s, self._ssh, self._latency_s = grace_s, ssh, latency_s
        self._lock = threading.RLock()
        self._url = ""
        self._machines: dict[int, _Machine] = {}
        self._ending: list[threading.Thread] = []

    def opened(self, url: str) -> None:
        """Get ready for machines of the sandbox at ``url``."""
        with self._lock:
            if self._url:
                raise RuntimeError("these machines belong to a sandbox already; make a Machines() for each")
            self._url, self._root = url, Path(tempfile.mkdtemp(prefix="vastnb-machines-"))
            # For a process that ends without stopping its sandbox.
            self._at_exit = weakref.finalize(self, _end_all, self._machines, self._root, os.getpid())

    def started(self, instance: Instance) -> None:
        """Run a container: its processes of before, should any be left, are killed first."""
        with self._lock:
            if self._is_open:
                if instance.id not in self._machines:
                    folder = self._root / str(instance.id)
                    self._machines[instance.id] = _Machine(folder, ssh=self._ssh, latency_s=self._latency_s)
                self._machines[instance.id].start(instance, self._url)

    def stopped(self, instance: Instance) -> None:
        """End a container; its disk stays, unless it is made anew."""
        with self._lock:
            machine = self._machines.get(instance.id)
            if machine is not None:
                self._in_the_background(partial(machine.finish, machine.terminate(), self._grace_s))
                machine.clean = instance.row["actual_status"] == "recycling"

    def gone(self, instance: Instance) -> None:
        """Remove what is left of a machine."""
        with self._lock:
            machine = self._machines.pop(instance.id, None)
            if machine is not None:
                self._in_the_background(partial(machine.remove, machine.terminate(), self._grace_s))

    def admitted(self, instance_id: int, keys: tuple[str, ...], before: tuple[str, ...]) -> None:
        """Let other public keys log in than before."""
        with self._lock:
            machine = self._machines.get(instance_id)
            if machine is not None:
                with contextlib.suppress(OSError):
                    authorize(machine.authorized_keys, keys, before)

    def shown(self, instance_id: int) -> Mapping[str, Any]:
        """Return where one logs in; nothing if one cannot."""
        # Without a lock: a row may be wanted while a machine starts, and this only reads.
        machine = self._machines.get(instance_id)
        return {} if machine is None else machine.address

    def output(self, instance_id: int) -> bytes | None:
        """Return what a machine's processes have printed, the last megabytes of it."""
        with self._lock:
            machine = self._machines.get(instance_id)
            return None if machine is None else machine.output()

    def disk(self, instance_id: int) -> Path | None:
        """Return the folder that is a machine's file system, with ``root`` (its home), ``workspace`` and ``tmp``."""
        with self._lock:
            machine = self._machines.get(instance_id)
            return None if machine is None else machine.disk

    def cut(self, instance_id: int) -> int:
        """Break every connection to a machine, as a network does; what was run over them goes on. Return how many (on Linux)."""
        with self._lock:
            machine = self._machines.get(instance_id)
            return 0 if machine is None else machine.cut()

    def settle(self) -> None:
        """Return when everything that was told to end has ended."""
        for thread in tuple(self._ending):
            thread.join()

    def closed(self) -> None:
        """End and remove everything; the sandbox has stopped."""
        with self._lock:
            if not self._is_open:
                return
            self._at_exit.detach()
            for machine in self._machines.values():
                self._in_the_background(partial(machine.finish, machine.terminate(), self._grace_s))
            self._machines.clear()
            root = self._root
        self.settle()
        shutil.rmtree(root, ignore_errors=True)

    @property
    def _is_open(self) -> bool:
        return bool(self._url) and self._at_exit.alive

    def _in_the_background(self, act: Callable[[], object]) -> None:
        """Do what must wait for processes: the one who ends a machine may be one of them, and wants his answer."""
        thread = threading.Thread(target=act, name="vastnb-machine-ending", daemon=True)
        thread.start()
        self._ending = [*(one for one in self._ending if one.is_alive()), thread]


class _Machine:
    """One machine's folder and, while its container runs, its processes."""

    def __init__(self, folder: Path, *, ssh: bool, latency_s: float) -> None:
        self._lock = threading.RLock()
        self._folder, self.disk, self._log = folder, folder / "disk", folder / "output.log"
        self._home = self.disk / "root"
        self.authorized_keys = self._home / ".ssh" / "authorized_keys"
        self._sshd = Sshd(folder / "sshd", self.authorized_keys, latency_s) if ssh else None
        self.address: dict[str, Any] = {}
        """The fields of its row that tell where one logs in."""
        self._keeper: subprocess.Popen[bytes] | None = None
        self.clean = False
        """Whether its next container begins with an empty disk."""

    def start(self, instance: Instance, url: str) -> None:
        """Run its container; on the sandbox's clock the grace of an earlier one is over."""
        self.finish(self.terminate(signal.SIGKILL), 0)
        if self.clean:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.clean = False
        self._folder.mkdir(exist_ok=True)
        try:
            self._run(instance, url)
        except OSError as error:
            # A script can make its own disk one on which no other starts.
            with self._log.open("a") as log:
                log.write(f"the container cannot be started: {error}\n")

    def _run(self, instance: Instance, url: str) -> None:
        for folder in (self._home, self.disk / "workspace", self.disk / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        shell = shutil.which("bash") or "/bin/sh"
        self._write_script(instance)
        authorize(self.authorized_keys, instance.ssh_keys)
        server = self._serve(instance)
        variables = environment(instance._replace(row={**instance.row, **self.address}), self.disk, url)
        if server is not None:
            variables = {PROC: str(self._own_proc())} | variables
            server.prepare(variables, shell)
        with self._log.open("ab") as log:
            self._keeper = subprocess.Popen(  # noqa: S603 the renter's script is what this is for
                [shell, "-c", _KEEPER, shell, *(server.command if server else ())],
                cwd=self._home,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _own_proc(self) -> Path:
        """Make a ``/proc`` without traffic: a container counts its own, and this computer's is everybody's."""
        proc = self._folder / "proc"
        for name, text in (("net/dev", "eth0: " + "0 " * 16), ("1/stat", "1 (init) S " + "0 " * 40)):
            (proc / name).parent.mkdir(parents=True, exist_ok=True)
            (proc / name).write_text(f"{text}\n")
        return proc

    def _serve(self, instance: Instance) -> Sshd | None:
        """Return the server that lets in to a container, ``None`` if it has none; note its address."""
        ports = dict(instance.row.get("ports", {}))
        if self._sshd is None or "22/tcp" not in ports:
            return None
        port = self._sshd.port
        ports["22/tcp"] = [{"HostIp": ADDRESS, "HostPort": str(port)}]
        self.address = {"public_ipaddr": ADDRESS, "ssh_host": ADDRESS, "ssh_port": port, "ports": ports}
        return self._sshd

    def _write_script(self, instance: Instance) -> None:
        """Write the on-start script as the row has it now; a container that runs an image's own command has none."""
        script, path = instance.row["onstart"], self._home / "onstart.sh"
        if script and instance.row["image_runtype"] != "args":
            path.write_text(script, encoding="utf-8", errors="replace")
            path.chmod(0o700)
        else:
            path.unlink(missing_ok=True)

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> "subprocess.Popen[bytes] | None":
        """Tell its processes to end, and return the first of them."""
        self.address.pop("ports", None)
        keeper = self._keeper
        if keeper is not None:
            self._signal(keeper, number)
        return keeper

    def finish(self, keeper: "subprocess.Popen[bytes] | None", grace_s: float) -> None:
        """Return when they are no more: killed if they are not in time, or with the first of them, as docker does."""
        with self._lock:
            # By the time it comes to this, others may run there.
            if keeper is None or keeper.stdin is None or keeper is not self._keeper:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(grace_s)
            self._signal(keeper, signal.SIGKILL)
            keeper.wait()
            if self._sshd is not None:
                self._sshd.close()
            keeper.stdin.close()
            give_up_at = time.monotonic() + _KILL_TIMEOUT_S
            while (left := _living_in(self._home)) and time.monotonic() < give_up_at:
                _send(left, signal.SIGKILL)
                time.sleep(0.005)
            self._keeper = None

    def remove(self, keeper: "subprocess.Popen[bytes] | None", grace_s: float) -> None:
        """Finish, and remove its folder."""
        self.finish(keeper, grace_s)
        shutil.rmtree(self._folder, ignore_errors=True)

    def cut(self) -> int:
        """Kill what serves its connections, but for what waits for new ones."""
        if self._keeper is None:
            return 0
        serving = [pid for pid in _below(self._keeper.pid) if _serves(pid)]
        _send(serving, signal.SIGKILL)
        return len(serving)

    def output(self) -> bytes:
        """Return the end of its log."""
        with contextlib.suppress(FileNotFoundError), self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _MOST_OUTPUT_BYTES))
            return log.read()
        return b""

    def _signal(self, keeper: subprocess.Popen[bytes], number: signal.Signals) -> None:
        # Once it has been waited for, its number may be another process's.
        below = _below(keeper.pid) if keeper.returncode is None else set()
        pids = below.union(_living_in(self._home))
        strays = [pid for pid in pids if _group(pid) != keeper.pid]
        # macOS answers "not permitted" where only ended processes are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(keeper.pid, number)
        _send(strays, number)


def environment(instance: Instance, disk: Path, url: str) -> dict[str, str]:
    """Return the variables of a container: the account's, over them the renter's, over them those that Vast documents.

    Nothing of the environment of whoever started the sandbox gets in but ``PATH``, with the sandbox's own Python first.
    """
    row = instance.row
    label = f"C.{instance.id}"
    renters = {name: value for name, value in row["extra_env"] if not name.startswith("-")}
    own = {
        "CONTAINER_API_KEY": instance.api_key,
        "CONTAINER_ID": str(instance.id),
        "CONTAINER_LABEL": label,
        "DATA_DIRECTORY": str(disk / "workspace"),
        "GPU_COUNT": str(row["num_gpus"]),
        "HOME": str(disk / "root"),
        "JUPYTER_TOKEN": row["jupyter_token"],
        "PUBLIC_IPADDR": row["public_ipaddr"],
        "SSH_PUBLIC_KEY": "\n".join(instance.ssh_keys),
        "TMPDIR": str(disk / "tmp"),
        "VAST_CONTAINERLABEL": label,
        URL: url,
    }
    for port, entries in row.get("ports", {}).items():
        number, _, kind = port.partition("/")
        own[f"VAST_{kind.upper()}_PORT_{number}"] = entries[0]["HostPort"]
    # A kernel often has no path to the Python that it runs in, and another may lack what a practice run imports.
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    # What a machine installs is its own, and goes with it: the Python belongs to whoever started the sandbox.
    packages = str(disk / "packages")
    usual = {"PATH": programs, "LANG": "C.UTF-8", "PIP_TARGET": packages, "PYTHONPATH": packages}
    given = {name: value for name, value in (usual | dict(instance.env) | renters).items() if _can_be_set(name, value)}
    return given | own


def _can_be_set(name: str, value: str) -> bool:
    return bool(name) and "=" not in name and "\0" not in name + value and not _LONE.search(name + value)


def _living_in(home: Path) -> list[int]:
    """Return the processes that a container started, by their ``HOME``; nothing where there is no ``/proc``."""
    mark, found = b"HOME=" + os.fsencode(home), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _below(pid: int) -> set[int]:
    """Return the descendants of a process, which may have another ``HOME``, as an SSH session; nothing without ``/proc``."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _serves(pid: int) -> bool:
    """Whether a process is the part of an SSH server that serves one connection: it says so where others have their words."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return words.startswith(b"sshd: ") and b"[listener]" not in words
    return False


def _group(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return -1


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _end_all(machines: dict[int, _Machine], root: Path, owner: int) -> None:
    # A fork of the process that started them runs this at its own exit too.
    if os.getpid() == owner:
        for machine in machines.values():
            machine.finish(machine.terminate(signal.SIGKILL), 0)
        shutil.rmtree(root, ignore_errors=True)
