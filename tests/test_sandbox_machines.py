"""Machines of the sandbox that really run: their on-start scripts, what they may ask, and that nothing is left of them."""

import getpass
import http.client
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vastnb.sandbox import Sandbox
from vastnb.sandbox.machines import Machines

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs process groups")

START = "2026-06-01T12:00:00Z"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@laptop"


def ask(sandbox: Sandbox, method: str, path: str, body: Any = None, *, key: str = "") -> tuple[int, Any]:
    """Ask once, as the account unless another key is given, and return status and JSON."""
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=20)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Authorization": f"Bearer {key or sandbox.api_key}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def until(condition: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """Look again and again at what another process does, and return what was seen at last."""
    give_up_at, pause = time.monotonic() + timeout_s, threading.Event()
    while not (seen := condition()):
        assert time.monotonic() < give_up_at, "it did not come"
        pause.wait(0.01)
    return seen


class Yard:
    """A sandbox whose machines really run."""

    def __init__(self, **options: Any) -> None:
        self.machines = Machines(grace_s=options.pop("grace_s", 5.0), ssh=options.pop("ssh", False))
        self.sandbox = Sandbox(offers=60, seed=5, start=START, ssh_keys=[PUBLIC_KEY], machines=self.machines, **options)

    def rent(self, onstart: str = "", **more: Any) -> int:
        """Rent the cheapest offer and return its instance's number; it runs once the clock is stepped."""
        offer = self.sandbox.offers({"order": [["dph_total", "asc"]], "rentable": {"eq": True}})[0]
        body = {"image": "ubuntu:24.04", "disk": 10, "runtype": "ssh_direct", "onstart": onstart} | more
        status, answer = ask(self.sandbox, "PUT", f"/api/v0/asks/{offer['id']}/", body)
        assert status == 200, answer
        return int(answer["new_contract"])

    def run(self, onstart: str = "", **more: Any) -> int:
        """Rent, and step the clock until it runs."""
        number = self.rent(onstart, **more)
        self.sandbox.clock.step(minutes=30)
        assert self.row(number)["actual_status"] == "running"
        return number

    def row(self, number: int) -> dict[str, Any]:
        return next(row for row in self.sandbox.instances if row["id"] == number)

    def manage(self, number: int, state: str) -> None:
        """Start or stop, and step the clock until it is so."""
        status, answer = ask(self.sandbox, "PUT", f"/api/v0/instances/{number}/", {"state": state})
        assert (status, answer) == (200, {"success": True})
        self.sandbox.clock.step(minutes=5)

    def printed(self, number: int) -> str:
        return (self.machines.output(number) or b"").decode()

    def file(self, number: int, name: str) -> Path:
        disk = self.machines.disk(number)
        assert disk is not None
        return disk / name


@pytest.fixture
def yard() -> Iterator[Yard]:
    made = Yard()
    with made.sandbox:
        yield made


def alive(pid: str) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_the_on_start_script_runs_with_the_documented_variables_and_nothing_of_ours(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAST_API_KEY", "of-the-host")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-host")
    status, _ = ask(yard.sandbox, "POST", "/api/v0/secrets/", {"key": "hf_token", "value": "hf_1"})
    assert status == 200
    env = {"GREETING": "good day, $HOME", "CONTAINER_ID": "mine", "-p 8000:8000/udp": "1"}

    number = yard.run("env -0 >env; echo here > /dev/stderr; printf done", env=env)

    until(lambda: yard.printed(number).endswith("done"))
    text = yard.file(number, "root/env").read_text()
    seen = dict(line.split("=", 1) for line in text.split("\0") if line)
    row, disk = yard.row(number), yard.file(number, "")
    ports = {name.partition("/")[0]: entries[0]["HostPort"] for name, entries in row["ports"].items()}
    for name in ("_", "SHLVL", "OLDPWD"):
        seen.pop(name, None)
    assert seen.pop("CONTAINER_API_KEY") not in ("", yard.sandbox.api_key)
    assert seen == {
        "CONTAINER_ID": str(number),
        "CONTAINER_LABEL": f"C.{number}",
        "DATA_DIRECTORY": str(disk / "workspace"),
        "GPU_COUNT": str(row["num_gpus"]),
        "GREETING": "good day, $HOME",
        "HF_TOKEN": "hf_1",
        "HOME": str(disk / "root"),
        "JUPYTER_TOKEN": row["jupyter_token"],
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PIP_TARGET": str(disk / "packages"),
        "PUBLIC_IPADDR": row["public_ipaddr"],
        "PWD": str(disk / "root"),
        "PYTHONPATH": str(disk / "packages"),
        "SSH_PUBLIC_KEY": PUBLIC_KEY,
        "TMPDIR": str(disk / "tmp"),
        "VAST_CONTAINERLABEL": f"C.{number}",
        "VAST_TCP_PORT_22": ports["22"],
        "VAST_UDP_PORT_8000": ports["8000"],
        "VAST_URL": yard.sandbox.url,
    }
    assert yard.printed(number) == "here\ndone"


def test_a_start_runs_the_script_again_in_the_same_folder_and_a_recycle_in_an_empty_one(yard: Yard) -> None:
    number = yard.run('echo "$CONTAINER_ID" >>starts; echo up')
    until(lambda: yard.printed(number).count("up") == 1)

    yard.manage(number, "stopped")
    yard.machines.settle()
    yard.manage(number, "running")
    until(lambda: yard.printed(number).count("up") == 2)
    ask(yard.sandbox, "PUT", f"/api/v0/instances/reboot/{number}/")
    yard.sandbox.clock.step(minutes=5)
    until(lambda: yard.printed(number).count("up") == 3)
    assert yard.file(number, "root/starts").read_text() == f"{number}\n" * 3

    ask(yard.sandbox, "PUT", f"/api/v0/instances/recycle/{number}/")
    yard.sandbox.clock.step(minutes=30)
    until(lambda: yard.printed(number) == "up\n")
    assert yard.file(number, "root/starts").read_text() == f"{number}\n"


@pytest.mark.parametrize("escape", ["", "setsid ", "nohup "])
def test_a_stop_ends_everything_that_the_script_started(yard: Yard, escape: str) -> None:
    if escape == "setsid " and not (shutil.which("setsid") and Path("/proc/self/environ").exists()):
        pytest.skip("what leaves its group is found through /proc only")
    number = yard.run(f"{escape}sleep 600 & echo $! >>pids\necho $$ >>pids\nsleep 600")
    pids = until(lambda: two_lines(yard.file(number, "root/pids")))
    assert all(map(alive, pids))

    yard.manage(number, "stopped")
    yard.machines.settle()

    assert not any(map(alive, pids))


def two_lines(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return lines if len(lines) == 2 else []


def test_a_script_may_clean_up_before_it_ends_and_one_that_will_not_end_is_killed() -> None:
    for grace_s, script, said in (
        (10.0, "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.05; done", "bye"),
        (0.2, "trap '' TERM; echo $$ >pid; echo up; while :; do sleep 0.05; done", "up"),
    ):
        yard = Yard(grace_s=grace_s)
        with yard.sandbox:
            number = yard.run(script)
            until(lambda yard=yard, number=number: yard.printed(number))
            yard.manage(number, "stopped")
            yard.machines.settle()
            assert yard.printed(number).split()[-1] == said
            if grace_s < 1:  # the kernel takes a moment to take a killed process away
                pid = yard.file(number, "root/pid").read_text().strip()
                until(lambda pid=pid: not alive(pid))


def test_a_start_does_not_wait_for_the_grace_of_the_stop_before() -> None:
    yard = Yard(grace_s=600.0)
    with yard.sandbox:
        number = yard.run("trap '' TERM; echo $$; while :; do sleep 0.05; done")
        first = until(lambda: yard.printed(number)).split()
        yard.manage(number, "stopped")
        yard.manage(number, "running")
        both = until(lambda: len(yard.printed(number).split()) == 2 and yard.printed(number).split())
        assert both[0] == first[0] and not alive(both[0]) and alive(both[1])
        ask(yard.sandbox, "DELETE", f"/api/v0/instances/{number}/")
        os.kill(int(both[1]), signal.SIGKILL)


def test_nothing_is_left_when_the_sandbox_stops(yard: Yard) -> None:
    numbers = [yard.run("sleep 600 & echo $! >>pids; echo $$ >>pids; wait") for _ in range(3)]
    pids = [pid for number in numbers for pid in until(lambda n=number: two_lines(yard.file(n, "root/pids")))]
    folder = yard.file(numbers[0], "").parents[1]
    assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700

    yard.sandbox.stop()

    assert not any(map(alive, pids)) and not folder.exists()
    yard.sandbox.clock.step(days=1)
    assert yard.machines.output(numbers[0]) is None and not folder.exists()


def test_nothing_is_left_of_a_process_that_does_not_stop_its_sandbox(tmp_path: Path) -> None:
    program = """
import json, sys, urllib.request
from vastnb.sandbox import Sandbox
from vastnb.sandbox.machines import Machines
sandbox = Sandbox(offers=30, machines=Machines()).start()
offer = sandbox.offers({"rentable": {"eq": True}})[0]
body = json.dumps({"image": "x", "runtype": "ssh", "onstart": sys.argv[1]}).encode()
request = urllib.request.Request(f"{sandbox.url}/api/v0/asks/{offer['id']}/", body, method="PUT")
request.add_header("Authorization", f"Bearer {sandbox.api_key}")
urllib.request.urlopen(request).read()
sandbox.clock.step(minutes=30)
if sys.argv[2] == "exits":
    sys.stdin.read()
else:
    import os, signal
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for how in ("exits", "is killed"):
        pids = tmp_path / how
        script = f"sleep 600 & echo $! >>'{pids}'; echo $HOME >>'{pids}'; wait"
        child = subprocess.Popen([sys.executable, "-c", program, script, how], stdin=subprocess.PIPE)
        pid, home = until(lambda pids=pids: two_lines(pids))
        child.communicate(timeout=20)
        until(lambda pid=pid: not alive(pid))
        assert Path(home).exists() is (how == "is killed")
        shutil.rmtree(Path(home).parents[2], ignore_errors=True)


def test_a_machine_without_a_script_and_one_that_runs_an_images_own_command_run_none(yard: Yard) -> None:
    plain, own = yard.run(""), yard.run("echo never", runtype="args", args=["--serve"])
    assert yard.printed(plain) == yard.printed(own) == ""
    assert not yard.file(own, "root/onstart.sh").exists()


# A machine that ends itself.

ENDINGS = {
    "curl": 'curl -s -X DELETE -H "Authorization: Bearer $CONTAINER_API_KEY" '
    '"$VAST_URL/api/v0/instances/$CONTAINER_ID/"',
    "python": f'{sys.executable} -c "import os, urllib.request as u; e = os.environ; '
    "r = u.Request(e['VAST_URL'] + '/api/v0/instances/' + e['CONTAINER_ID'] + '/', method='DELETE'); "
    "r.add_header('Authorization', 'Bearer ' + e['CONTAINER_API_KEY']); u.urlopen(r)\"",
}


def gone(yard: Yard, number: int) -> bool:
    return all(row["id"] != number for row in yard.sandbox.instances)


def owed(yard: Yard) -> float:
    _, user = ask(yard.sandbox, "GET", "/api/v0/users/current/")
    return float(100.0 - user["credit"])


@pytest.mark.parametrize("tool", list(ENDINGS))
def test_a_machine_destroys_itself_and_the_bill_stops(yard: Yard, tool: str) -> None:
    if tool == "curl" and not shutil.which("curl"):
        pytest.skip("there is no curl")
    number = yard.run(f"while [ ! -f go ]; do sleep 0.02; done; {ENDINGS[tool]}")
    yard.sandbox.clock.step(hours=1)
    folder = yard.file(number, "")

    yard.file(number, "root/go").touch()
    until(lambda: gone(yard, number))
    bill = owed(yard)
    yard.sandbox.clock.step(days=7)
    yard.machines.settle()

    assert bill > 0 and owed(yard) == bill
    assert not folder.exists()


@pytest.mark.parametrize("between", ["a stop and a start", "a reboot"])
def test_it_does_so_after_a_stop_and_a_start_and_after_a_reboot(yard: Yard, between: str) -> None:
    number = yard.run(f"[ -f go ] && {ENDINGS['python']}; echo stays")
    until(lambda: yard.printed(number))
    yard.file(number, "root/go").touch()
    if between == "a reboot":
        ask(yard.sandbox, "PUT", f"/api/v0/instances/reboot/{number}/")
        yard.sandbox.clock.step(minutes=5)
    else:
        yard.manage(number, "stopped")
        assert not gone(yard, number)
        yard.manage(number, "running")
    until(lambda: gone(yard, number))
    bill = owed(yard)
    yard.sandbox.clock.step(days=7)
    assert owed(yard) == bill > 0


def test_a_script_reads_the_sandboxs_clock_in_the_date_of_any_answer(yard: Yard) -> None:
    number = yard.run(
        "while [ ! -f go ]; do sleep 0.02; done; "
        f'{sys.executable} -c "import os, urllib.request as u; '
        "print(u.urlopen(os.environ['VAST_URL'] + '/api/v0/gpu_types/').headers['Date'])\""
    )
    yard.sandbox.clock.step(days=1)
    yard.file(number, "root/go").touch()
    until(lambda: yard.printed(number))
    assert yard.printed(number) == "Tue, 02 Jun 2026 12:30:00 GMT\n"


def test_the_key_of_a_container_acts_on_its_own_machine_only(yard: Yard) -> None:
    one, other = yard.run('printf "$CONTAINER_API_KEY"'), yard.run("")
    key = until(lambda: yard.printed(one))

    assert ask(yard.sandbox, "GET", f"/api/v0/instances/{one}/", key=key)[1]["instances"]["id"] == one
    for method, path, body in (
        ("DELETE", f"/api/v0/instances/{other}/", None),
        ("PUT", f"/api/v0/instances/{other}/", {"state": "stopped"}),
        ("GET", f"/api/v0/instances/{other}/", None),
        ("PUT", f"/api/v0/instances/request_logs/{other}/", {}),
        ("PUT", f"/api/v0/instances/reboot/{other}/", None),
        ("DELETE", "/api/v0/instances/", {"instance_ids": [other]}),
        ("GET", "/api/v1/instances/", None),
        ("GET", "/api/v0/ssh/", None),
        ("POST", "/api/v0/ssh/", {"ssh_key": PUBLIC_KEY}),
        ("GET", "/api/v0/secrets/", None),
        ("POST", "/api/v0/auth/apikeys/", {"name": "more"}),
        ("GET", "/api/v0/users/current/", None),
    ):
        assert ask(yard.sandbox, method, path, body, key=key)[0] == 403, (method, path)
    assert {row["id"] for row in yard.sandbox.instances} == {one, other}
    assert yard.row(other)["intended_status"] == "running"

    assert ask(yard.sandbox, "DELETE", f"/api/v0/instances/{one}/", key=key) == (200, {"success": True})
    assert ask(yard.sandbox, "GET", f"/api/v0/instances/{one}/", key=key)[0] == 404


def test_a_script_that_spoils_its_own_disk_spoils_nothing_else(yard: Yard) -> None:
    number = yard.run('rm -rf "$HOME"; touch "$HOME"; echo done')
    until(lambda: yard.printed(number))
    yard.manage(number, "stopped")
    yard.manage(number, "running")
    said = yard.printed(number).splitlines()[-1]
    assert said.startswith("the container cannot be started: ")
    assert ask(yard.sandbox, "POST", f"/api/v0/instances/{number}/ssh/", {"ssh_key": f"{PUBLIC_KEY}2"})[0] == 200
    folder = yard.file(number, "")
    assert ask(yard.sandbox, "DELETE", f"/api/v0/instances/{number}/") == (200, {"success": True})
    yard.machines.settle()
    assert not folder.exists()


def test_what_no_variable_can_hold_is_left_out(yard: Yard) -> None:
    env = {"": "1", "A=B": "1", "NUL": "a\0b", "HALF": "\ud83d", "GOOD": "\N{SNOWMAN}", "LONG": "x" * 200_000}
    number = yard.run("echo '\ud83d' $GOOD; env | grep -c HALF", env=dict(list(env.items())[:5]))
    until(lambda: "0" in yard.printed(number))
    assert yard.printed(number) == "? \N{SNOWMAN}\n0\n"
    assert "cannot be started" in yard.printed(yard.run("echo up", env=env))


def test_what_a_machine_installs_is_its_own(yard: Yard, tmp_path: Path) -> None:
    wheel = tmp_path / "only_there-1.0-py3-none-any.whl"
    about = "only_there-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("only_there.py", "print('there')")
        packed.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: only-there\nVersion: 1.0\n")
        packed.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr(f"{about}/RECORD", "")

    number = yard.run(f"python -m pip install -q --no-index {wheel}; python -c 'import only_there'; echo over")

    until(lambda: "over" in yard.printed(number))
    assert "there\n" in yard.printed(number)
    assert importlib.util.find_spec("only_there") is None


def test_one_set_of_machines_belongs_to_one_sandbox(yard: Yard) -> None:
    with pytest.raises(RuntimeError, match="make a Machines"):
        Sandbox(offers=10, machines=yard.machines).start()


# Machines that one logs in to.

needs_sshd = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh", "ssh-keygen")))
    or not shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin"),
    reason="there is no OpenSSH server",
)


class Client:
    """An SSH client with a key pair of its own."""

    def __init__(self, folder: Path, name: str = "key") -> None:
        self._key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)
        self.public_key = self._key.with_suffix(".pub").read_text().strip()

    def words(self, row: dict[str, Any], program: str = "ssh") -> list[str]:
        """The command that reaches a machine by the fields of its row."""
        options = ["-F", "none", "-i", str(self._key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
        options += ["-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={self._key}.hosts"]
        port = ["-p" if program == "ssh" else "-P", str(row["ssh_port"])]
        return [program, *options, *port, *([f"{getpass.getuser()}@{row['ssh_host']}"] if program == "ssh" else [])]

    def run(self, row: dict[str, Any], command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command as soon as the server listens."""
        words = [*self.words(row), command]

        def tried() -> Any:
            done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False)
            return None if b"Connection refused" in done.stderr else done

        found: subprocess.CompletedProcess[bytes] = until(tried)
        return found


@pytest.fixture
def ssh_yard(tmp_path: Path) -> Iterator[tuple[Yard, Client]]:
    made, client = Yard(ssh=True), Client(tmp_path)
    with made.sandbox:
        status, _ = ask(made.sandbox, "POST", "/api/v0/ssh/", {"ssh_key": client.public_key})
        assert status == 200
        yield made, client


@needs_sshd
def test_a_registered_key_logs_in_to_the_machines_home_with_its_variables(ssh_yard: tuple[Yard, Client]) -> None:
    yard, client = ssh_yard
    number = yard.run("echo up", env={"GREETING": 'it\'s "good"\nday', "-p 80:80": "1"})
    row = yard.row(number)
    direct = row["ports"]["22/tcp"][0]
    assert (row["ssh_host"], row["public_ipaddr"], str(row["ssh_port"])) == ("127.0.0.1", *direct.values())
    assert "80/tcp" in row["ports"]

    done = client.run(row, 'pwd; printf "%s|" "$GREETING" "$CONTAINER_ID" "$VAST_TCP_PORT_22" "$HOME"; exit 7')

    home = yard.file(number, "root")
    said = f'{home}\nit\'s "good"\nday|{number}|{row["ssh_port"]}|{home}|'
    assert (done.returncode, done.stdout.decode()) == (7, said), done.stderr
    (home / "data").write_bytes(bytes(range(256)) * 4000)
    copy = yard.file(number, "tmp/copy")
    batch = f"put {home / 'data'} ../tmp/copy\n"
    subprocess.run(
        [*client.words(row, "sftp"), "-b", "-", f"{getpass.getuser()}@127.0.0.1"],
        input=batch.encode(),
        check=True,
        capture_output=True,
    )
    assert copy.read_bytes() == (home / "data").read_bytes()


@needs_sshd
def test_only_registered_and_attached_keys_log_in(ssh_yard: tuple[Yard, Client], tmp_path: Path) -> None:
    yard, _ = ssh_yard
    number, stranger = yard.run("echo 'ssh-rsa AAAA own' >>.ssh/authorized_keys; echo up"), Client(tmp_path, "other")
    until(lambda: yard.printed(number))
    row, path = yard.row(number), f"/api/v0/instances/{number}/ssh/"
    assert b"Permission denied" in stranger.run(row, "true").stderr

    assert ask(yard.sandbox, "POST", path, {"ssh_key": stranger.public_key})[0] == 200
    assert stranger.run(row, "true").returncode == 0
    keys = json.loads(ask(yard.sandbox, "GET", path)[1]["ssh_keys"])
    (known,) = [key["id"] for key in keys if key["public_key"] == stranger.public_key]
    assert ask(yard.sandbox, "DELETE", f"{path}{known}/")[0] == 200
    assert stranger.run(row, "true").returncode == 255
    assert "ssh-rsa AAAA own" in yard.file(number, "root/.ssh/authorized_keys").read_text()


@needs_sshd
def test_a_stop_cuts_connections_and_a_start_has_the_same_port_and_host_key(ssh_yard: tuple[Yard, Client]) -> None:
    yard, client = ssh_yard
    number = yard.run("")
    row = yard.row(number)
    assert client.run(row, "echo kept >file").returncode == 0
    busy = subprocess.Popen(
        [*client.words(row), "echo $$; sleep 600"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    idle = subprocess.Popen([*client.words(row), "-N"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert busy.stdout is not None
    pid = busy.stdout.readline().decode().strip()

    yard.manage(number, "stopped")
    yard.machines.settle()

    assert busy.wait(10) == idle.wait(10) == 255 and not alive(pid)
    busy.stdout.close()
    assert "ports" not in yard.row(number)
    yard.manage(number, "running")
    again = yard.row(number)
    assert again["ssh_port"] == row["ssh_port"]
    assert client.run(again, "cat file").stdout == b"kept\n"


@needs_sshd
def test_a_machine_for_an_images_own_command_has_no_server(ssh_yard: tuple[Yard, Client]) -> None:
    yard, _ = ssh_yard
    row = yard.row(yard.run("", runtype="args"))
    assert row["ssh_host"] != "127.0.0.1" and "22/tcp" not in row["ports"]
