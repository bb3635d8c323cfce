"""The watchdog: its real script, in every shell and with every tool, against a service whose clock the test turns."""

from __future__ import annotations

import itertools
import json
import os
import random
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vastnb.errors import InputError
from vastnb.services import watchdog
from vastnb.services.instances.labels import Label, write_label
from vastnb.services.watchdog import Watchdog, endings, packed, script

KEY = "5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0ffee5ec2"
END = 1_900_000_000
HOUR = 3600
SHELLS = ["dash", "bash", "busybox"]
TOOLS = ["curl", "wget", "python3"]
NEEDED = ["cat", "chmod", "date", "mktemp", "mv", "rm", "sed", "setsid", "sleep"]
PATIENCE_S = 20
MINE = Label("vnb-0123456789abcdef", name="lora-7b", until=END - 2 * HOUR, text='say "hi\\" until=1999999999')
NUMBERS = itertools.count(1)


class Service:
    """What the watchdog talks to: one machine, and a clock that stands still until the test turns it."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.now = float(END - HOUR)
        self.label: str | None = write_label(MINE)
        self.status = 200
        self.silent = False
        self.asked: list[tuple[str, ...]] = []
        self.on_delete: Callable[[], None] = lambda: None
        self.held: threading.Event | None = None
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def methods(self) -> list[str]:
        return [method for method, *_ in self.asked]

    def wait(self, method: str, count: int = 1) -> None:
        """Until so many requests of this method came in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.methods().count(method) >= count, PATIENCE_S), self.asked

    def wait_more(self, method: str, more: int = 1) -> None:
        """Until so many more came than now."""
        self.wait(method, self.methods().count(method) + more)

    def pass_time(self, seconds: float) -> None:
        """Some seconds of requests."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.wait_more("GET")

    def note(self, *request: str) -> None:
        with self._changed:
            self.asked.append(request)
            self._changed.notify_all()

    def answer(self, method: str) -> bytes:
        if method != "GET" or self.status != 200:
            return b'{"success": true}'
        trap = 'echo "label": "x until=1999999999" until=1999999999'
        return json.dumps({"instances": {"id": 1, "label": self.label, "onstart": trap, "extra_env": []}}).encode()


def handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if self.command == "DELETE":
                service.on_delete()
            answer = service.answer(self.command)
            service.note(self.command, self.path, self.headers["Authorization"], self.headers["Content-Type"], body)
            if service.held:
                service.held.wait(PATIENCE_S)
            if service.silent:
                return
            self.send_response_only(service.status)
            self.send_header("Server", "gunicorn")
            self.send_header("Date", formatdate(service.now, usegmt=True))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST = do_DELETE = do  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


class Machine:
    """A container: a folder of programs, a home, the documented variables, and all that runs in it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.home, self.programs = name, folder / "machine", folder / "programs"
        self.home.mkdir()
        self.programs.mkdir()
        self.env = {
            "HOME": str(self.home), "PATH": str(self.programs), "CONTAINER_ID": name, "CONTAINER_API_KEY": KEY,
            "VASTNB_WATCHDOG_POLL_S": "0", "LIMIT": "99999", "limit": "1", "later": "9", "ran": "x",
        }  # fmt: skip
        self.install("dash", "curl")

    def install(self, shell: str, *tools: str) -> None:
        """Programs of a distribution with this shell, and these tools; busybox brings its own programs."""
        for program in [*NEEDED, "sh"]:
            real = shell if program == "sh" or shell == "busybox" else program
            self.add(program, found(real))
        for tool in tools:
            self.add(tool.removeprefix("busybox-"), found("busybox" if tool.startswith("busybox-") else tool))
        for tool in {*TOOLS} - {tool.removeprefix("busybox-") for tool in tools}:
            (self.programs / tool).unlink(missing_ok=True)

    def add(self, name: str, real: str | Path) -> None:
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).symlink_to(real)

    def write_program(self, name: str, text: str) -> None:
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def boot(self, text: str, *, shell: str = "sh") -> subprocess.CompletedProcess[str]:
        """Run an on-start script."""
        onstart = self.home / "onstart.sh"
        onstart.write_text(text, "utf-8")
        return subprocess.run(
            [self.programs / shell, onstart], env=self.env, cwd=self.home, capture_output=True, timeout=PATIENCE_S,
            check=False, encoding="utf-8", start_new_session=True,
        )  # fmt: skip

    def running(self) -> dict[int, str]:
        """Its processes and their command lines."""
        mine = f"CONTAINER_ID={self.name}\0".encode()
        alive = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mine in (folder / "environ").read_bytes():
                    alive[int(folder.name)] = (folder / "cmdline").read_text("utf-8").replace("\0", " ")
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                pass
        return alive

    def watchdogs(self) -> list[int]:
        return [pid for pid, line in self.running().items() if "vastnb-watchdog" in line and is_leader(pid)]

    def stop(self) -> None:
        """Everything in it dies at once."""
        while self.running():
            for pid in self.running():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def is_leader(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def found(program: str) -> str:
    if program == "python3":
        return os.path.realpath(sys.executable)
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service(f"{os.getpid()}{next(NUMBERS)}")
    yield service
    if service.held:
        service.held.set()
    service.close()


@pytest.fixture
def machine(tmp_path: Path, service: Service) -> Iterator[Machine]:
    machine = Machine(tmp_path, service.machine)
    yield machine
    machine.stop()


def dog(service: Service, **values: Any) -> Watchdog:
    return Watchdog(**{"ends_at": END, "url": service.url} | values)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("shell", SHELLS)
def test_it_ends_the_machine_at_its_time_and_not_before(
    shell: str, tool: str, machine: Machine, service: Service
) -> None:
    machine.install(shell, tool)
    machine.boot(script(dog(service)))
    service.wait_more("GET", 3)
    early = service.methods()
    service.now = END + 1

    service.wait("DELETE")

    assert set(early) == {"GET"}
    assert {(path, key) for _, path, key, *_ in service.asked} == {
        (f"/api/v0/instances/{machine.name}/", f"Bearer {KEY}")
    }


@pytest.mark.parametrize("tool", TOOLS)
def test_it_stops_the_machine_if_that_was_asked_for(tool: str, machine: Machine, service: Service) -> None:
    machine.install("dash", tool)
    service.now = END + 1
    machine.boot(script(dog(service, at_end="stop")))

    service.wait("PUT")

    request = next(request for request in service.asked if request[0] == "PUT")
    assert request[3:] == ("application/json", '{"state":"stopped"}')


@pytest.mark.parametrize("tool", TOOLS)
def test_the_key_is_in_no_command_line_and_no_file(tool: str, machine: Machine, service: Service) -> None:
    machine.install("dash", tool)
    service.held = threading.Event()
    done = machine.boot(script(dog(service)))
    service.wait("GET")
    lines = machine.running().values()
    (asking,) = [line for line in lines if line.split(" ")[0].endswith(tool)]
    configs = [Path(word.split("=")[1]) for word in asking.split() if word.startswith("--config=")]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in configs]
    service.held.set()
    service.wait("GET", 2)

    assert KEY not in "".join(lines)
    assert modes == [0o600] * (tool == "wget")
    assert not any(path.exists() for path in configs)
    assert not any(KEY in path.read_text("utf-8") for path in machine.home.iterdir())
    assert (done.stdout, done.stderr) == ("", "")


def test_a_tool_that_cannot_ask_is_passed_over(machine: Machine, service: Service) -> None:
    service.now = END + 1
    machine.install("busybox", "busybox-wget")
    machine.boot(script(dog(service)))
    machine.write_program("curl", "exit 7")
    machine.add("python3", found("python3"))

    service.wait("DELETE")

    assert {key for _, _, key, *_ in service.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("clock", [1_000_000_000, 2_100_000_000], ids=["behind", "ahead"])
def test_the_clock_is_the_services(clock: int, machine: Machine, service: Service) -> None:
    machine.write_program("date", f"echo {clock}")
    machine.boot(script(dog(service)))
    service.wait_more("GET", 3)
    early = service.methods()
    service.now = END + 1

    service.wait("DELETE")

    assert set(early) == {"GET"}


def test_without_an_answer_the_machines_clock_decides_and_it_never_gives_up(machine: Machine, service: Service) -> None:
    service.silent = True
    machine.write_program("date", f"echo {END + 60}")
    machine.boot(script(dog(service)))
    service.wait("DELETE", 3)
    service.silent = False
    service.now = END + 120

    service.wait_more("DELETE")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_answer_without_a_label_changes_nothing(status: int, machine: Machine, service: Service) -> None:
    service.status, service.now = status, END + 1
    machine.boot(script(dog(service)))

    service.wait("DELETE", 2)


def test_a_second_start_leaves_one(machine: Machine, service: Service) -> None:
    text = script(dog(service))
    machine.boot(text)
    machine.boot(text)
    for _ in range(100):
        service.wait_more("GET")
        if len(machine.watchdogs()) == 1:
            break
    service.now = END + 1

    service.wait("DELETE")

    assert len(machine.watchdogs()) == 1


def test_it_outlives_a_stop_and_a_start(machine: Machine, service: Service) -> None:
    text = script(dog(service))
    machine.boot(text)
    service.wait("GET")
    machine.stop()
    machine.boot(text)
    service.wait_more("GET")
    service.now = END + 1

    service.wait("DELETE")


def test_without_a_place_to_write_it_ends_the_machine(machine: Machine, service: Service) -> None:
    machine.env["HOME"] = "/nowhere"
    service.now = END + 1
    machine.boot(script(dog(service)))

    service.wait("DELETE")


@pytest.mark.parametrize("spoilt", ["", "x y z\n", "1 2\n", "\0" * 40 + "\n", "1 0 99999999999999999999 0 0 0\n"])
def test_a_spoilt_file_of_its_own_does_not_stop_it(spoilt: str, machine: Machine, service: Service) -> None:
    (machine.home / f".vastnb-watchdog-{machine.name}").write_text(spoilt)
    service.now = END + 1
    machine.boot(script(dog(service, max_traffic_usd=9, usd_per_gb_down=0, usd_per_gb_up=0)))

    service.wait("DELETE")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_later_end_in_the_label_is_honoured(shell: str, machine: Machine, service: Service) -> None:
    machine.install(shell, "curl")
    machine.boot(script(dog(service)))
    service.wait_more("GET", 3)
    service.label = write_label(MINE._replace(until=END + HOUR))
    service.now = END + 10
    service.wait_more("GET", 3)
    service.status = 500
    service.wait_more("GET", 3)
    early = service.methods()
    service.now = END + HOUR + 1

    service.wait("DELETE")

    assert set(early) == {"GET"}


def test_a_later_end_is_honoured_in_the_last_moment(machine: Machine, service: Service) -> None:
    machine.env["VASTNB_WATCHDOG_POLL_S"] = "30"
    service.now = END - 2
    machine.boot(script(dog(service)))
    service.wait("GET")
    service.label = write_label(MINE._replace(until=END + HOUR))

    service.wait("GET", 2)

    assert service.methods() == ["GET"] * 2


@pytest.mark.parametrize(
    "label", [None, write_label(MINE._replace(until=END - HOUR)), "vnb-0 xuntil=1999999999", "vnb-0 until=1999999999x"]
)
def test_nothing_else_in_the_label_moves_the_end(label: str | None, machine: Machine, service: Service) -> None:
    service.label, service.now = label, END + 1
    machine.boot(script(dog(service)))

    service.wait("DELETE")


def test_what_comes_before_the_end_comes_once_and_first(machine: Machine, service: Service) -> None:
    service.now, service.status = END - 100, 500
    saved = machine.home / "saved"
    seen: list[str] = []
    service.on_delete = lambda: seen.append(saved.read_text())
    text = script(dog(service, before_end='echo it\\\'s >> "$HOME/saved"\necho done >> saved'))
    machine.boot(text)
    service.wait("DELETE", 2)
    machine.stop()
    machine.boot(text)

    service.wait_more("DELETE")

    assert set(seen) == {"it's\ndone\n"}


def test_what_comes_before_the_end_is_killed_in_time_with_its_children(machine: Machine, service: Service) -> None:
    service.now = END - 1
    machine.boot(script(dog(service, before_end="sleep 1001 & sleep 1002", before_end_timeout_s=30)))

    service.wait("DELETE")

    assert not [line for line in machine.running().values() if "sleep 100" in line]


def test_an_extension_comes_in_while_the_command_runs(machine: Machine, service: Service) -> None:
    service.now = END - 100
    command = f"echo ran >> ran; curl -s -XPOST {service.url}/begun; while [ ! -e go ]; do sleep 0.02; done"
    machine.boot(script(dog(service, before_end=command)))
    service.wait("POST")
    service.label = write_label(MINE._replace(until=END + HOUR))
    (machine.home / "go").touch()
    service.wait_more("GET", 3)
    early = service.methods()
    service.now = END + HOUR - 1

    service.wait("DELETE")

    assert "DELETE" not in early
    assert (machine.home / "ran").read_text() == "ran\n" * 2


def write_proc(machine: Machine, *, boot: int, down_gb: float, up_gb: float) -> None:
    """What the kernel tells of process 1 and of the network."""
    proc = machine.home / "proc"
    machine.env["VASTNB_WATCHDOG_PROC"] = str(proc)
    for folder in ("1", "net"):
        (proc / folder).mkdir(parents=True, exist_ok=True)
    (proc / "1" / "stat").write_text(f"1 (a (b) c) S {'0 ' * 18}{boot} {'0 ' * 30}\n")
    (proc / "net" / "dev").write_text(
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
        "    lo: 900000000000 1 0 0 0 0 0 0 900000000000 1 0 0 0 0 0 0\n"
        f"  eth0:{down_gb * 1e9:.0f}    7654321    0    0    0     0          0         0 {up_gb * 1e9:.0f}  765    0    0    0     0       0          0\n"
    )


@pytest.mark.parametrize("down_gb", [0.1, 0.4], ids=["less than before", "more than before"])
@pytest.mark.parametrize("shell", SHELLS)
def test_traffic_is_counted_across_boots_and_ends_the_machine(
    shell: str, down_gb: float, machine: Machine, service: Service
) -> None:
    machine.install(shell, "curl")
    text = script(dog(service, max_traffic_usd=0.7 + down_gb, usd_per_gb_down=1.0, usd_per_gb_up=2.0))
    write_proc(machine, boot=4711, down_gb=0.3, up_gb=0.2)
    machine.boot(text)
    service.wait_more("GET", 3)
    machine.stop()
    machine.boot(text)
    service.wait_more("GET", 3)
    machine.stop()
    write_proc(machine, boot=4712, down_gb=down_gb - 0.01, up_gb=0)
    machine.boot(text)
    service.wait_more("GET", 3)
    early = service.methods()
    write_proc(machine, boot=4712, down_gb=down_gb + 0.01, up_gb=0)

    service.wait("DELETE")

    assert set(early) == {"GET"}


def test_a_machine_whose_gpus_idle_after_use_ends(machine: Machine, service: Service) -> None:
    gpus = machine.home / "gpus"
    machine.write_program("nvidia-smi", f"cat {gpus}")
    gpus.write_text("0\n0\n")
    machine.boot(script(dog(service, ends_at=None, idle_minutes=1 / 60)))
    service.pass_time(1.1)
    gpus.write_text("0\n37\n")
    service.wait_more("GET", 3)
    gpus.write_text("[N/A]\n0\n")
    service.pass_time(1.1)
    early = service.methods()
    gpus.write_text("0\n0\n")

    service.wait("DELETE")

    assert set(early) == {"GET"}


def test_a_broken_gpu_does_not_hold_up_the_end(machine: Machine, service: Service) -> None:
    machine.write_program("nvidia-smi", "exec sleep 1000")
    machine.boot(script(dog(service, idle_minutes=1)))
    service.wait("GET")
    service.now = END + 1

    service.wait("DELETE")


USERS = {
    "empty": "",
    "no newline at its end": "echo hi",
    "exit code": "echo out\necho err >&2\nexit 7\n",
    "quotes": "echo 'it'\\''s' \"$HOME\" `echo a` $(echo b)\ncat <<'X'\n$no 'quotes' \\n\nX\n",
    "stops at an error": "#!/bin/sh -eu\necho one\nfalse\necho two\n",
    "own name and arguments": 'echo "${0##*/}" $# "$?"\n',
    "waits for its own": "(exit 3) & wait $!\necho $?\nwait\necho waited\n",
    "trap": "trap 'echo bye' EXIT\necho hi\n",
    "kills its group": "echo hi\ntrap 'exit 5' TERM\nkill 0\nsleep 1\n",
    "becomes another": "exec sh -c 'echo $0; exit 4' other\n",
    "variables": 'set | grep -c "^\\(s\\|VASTNB_WATCHDOG\\)="\n',
    "long": "# " + "x" * 4000 + "\necho ü long\nexit 9\n",
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("text", USERS.values(), ids=USERS)
def test_the_users_script_runs_as_if_alone(text: str, shell: str, machine: Machine, service: Service) -> None:
    machine.install(shell, "curl")
    for program in ("base64", "gzip", "grep"):
        machine.add(program, found(program))
    watched = machine.boot(packed(script(dog(service), text)))

    alone = machine.boot(text)
    assert (watched.stdout, watched.stderr, watched.returncode) == (alone.stdout, alone.stderr, alone.returncode)
    service.wait("GET")


@pytest.mark.parametrize("long", [False, True], ids=["short", "packed"])
def test_another_interpreter_runs_its_own(long: bool, machine: Machine, service: Service) -> None:
    for program in ("base64", "gzip"):
        machine.add(program, found(program))
    text = f"#!{sys.executable}\nimport sys\nprint('it''s', \"ü\", flush=True)\nsys.exit(6)\n" + "# x" * 1500 * long

    done = machine.boot(packed(script(dog(service), text)))

    assert (done.stdout, done.stderr, done.returncode) == ("its ü\n", "", 6)
    service.wait("GET")


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200))
def test_a_packed_script_is_the_same_script(text: str) -> None:
    long = f"# {'x' * 5000}\nprintf %s {shlex.quote(text)}\nexit 3\n"

    done = subprocess.run(["sh", "-c", packed(long)], capture_output=True, check=False)

    assert (done.stdout, done.stderr, done.returncode) == (text.encode(), b"", 3)


LONG = "#!/bin/sh\n" + "echo a line of some length\n" * 300


@pytest.mark.parametrize("has", [("base64", "gzip"), ("python3",), ("python",)], ids=" ".join)
@pytest.mark.parametrize("shell", SHELLS)
def test_unpacking_takes_what_is_there(has: tuple[str, ...], shell: str, machine: Machine) -> None:
    machine.add("sh", found(shell))
    for program in has:
        real = program if shell != "busybox" or program.startswith("python") else "busybox"
        machine.add(program, found("python3" if program == "python" else real))

    done = machine.boot(packed(LONG))

    assert done.stdout == "a line of some length\n" * 300
    assert (done.stderr, done.returncode) == ("", 0)


def test_without_anything_to_unpack_with_it_says_so(machine: Machine) -> None:
    done = machine.boot(packed(LONG))

    assert (done.stdout, done.returncode) == ("", 127)
    assert done.stderr == "vastnb: no gzip, no Python: on-start script not run\n"


def test_packing_keeps_to_the_services_length() -> None:
    assert packed("x" * 4048) == "x" * 4048
    assert len(packed(LONG)) < 500
    assert packed(LONG).startswith("#!/bin/sh\n")
    with pytest.raises(InputError, match=r"has 6000 characters, packed 4\d{3}; the service takes 4048"):
        packed(random.Random(1).randbytes(3000).hex())


FULL = {
    "before_end": "tar c out | ssh me@home 'cat > out.tar'", "max_traffic_usd": 2, "usd_per_gb_down": 0.01, "usd_per_gb_up": 0.02,
    "idle_minutes": 30,
}  # fmt: skip


def test_a_watchdog_leaves_room_for_the_user() -> None:
    user = Path(__file__).read_text("utf-8")

    assert len(script(Watchdog(ends_at=END))) < 3000
    assert len(packed(script(Watchdog(ends_at=END), user[:2500]))) <= 4048
    assert len(packed(script(Watchdog(ends_at=END, **FULL), user[:1200]))) <= 4048


def test_the_script_is_plain_sh() -> None:
    source = Path(watchdog.__file__).with_suffix(".sh")

    done = subprocess.run([found("shellcheck"), "--shell=sh", source], capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("", 0)
    assert "'" not in "".join(
        line for line in source.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")
    )


def test_who_ends_a_machine_is_told_for_every_state() -> None:
    rows = endings(Watchdog(ends_at=END, **FULL), "ssh", usd_per_hour=0.5, disk_usd_per_hour=0.01)

    assert [(row.state, row.usd_worst_per_day) for row in rows] == [
        ("loading", 12), ("running", 12), ("stopped", 0.24), ("exited", 12), ("offline", 0), ("unknown", 12),
    ]  # fmt: skip
    assert str(rows[1]) == (
        "running: destroys itself at 2030-03-17 17:46 UTC or after $2.00 of traffic or after 30 min without GPU use; "
        "$12.00/day at worst"
    )


@pytest.mark.parametrize(("guard", "runtype"), [(None, "ssh"), (Watchdog(ends_at=END), "args")])
def test_without_a_watchdog_only_the_user_ends_a_machine(guard: Watchdog | None, runtype: str) -> None:
    rows = endings(guard, runtype, usd_per_hour=None, disk_usd_per_hour=None)

    assert {row.ended_by.split(":")[0] for row in rows} == {"only you"}
    assert str(rows[1]) == "running: only you; price unknown"


def test_traffic_cannot_be_limited_without_its_prices() -> None:
    with pytest.raises(InputError, match="max_traffic_usd cannot hold without usd_per_gb_down and usd_per_gb_up"):
        Watchdog(ends_at=END, max_traffic_usd=1, usd_per_gb_down=0.01)
