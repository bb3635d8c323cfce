"""Commands on a machine, against a real ssh server: what they print, how they end, and that broken connections lose nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from remote_ground import Cutter, Ground, processes, require_programs, small_disk, until
from renting import yard

import vastnb
from vastnb.errors import (
    CopyError,
    InputError,
    MachineError,
    NotFoundError,
    NotRunningError,
    ReachError,
    StateError,
    WaitTimeoutError,
)
from vastnb.sandbox.machines import Machines
from vastnb.services.instances.launching import launch_on
from vastnb.services.remote import Address, Connection, address_of, running
from vastnb.vast.types.records import InstanceRecord


def kept(shared: Ground) -> list[str]:
    """The jobs that the machine keeps."""
    return sorted(path.parent.name for path in (shared.home / ".vastnb" / "jobs").glob("*/end"))


# Commands.


def test_a_command_gives_status_output_errors_and_tells_both_as_they_come(shared: Ground) -> None:
    heard: list[tuple[str, str]] = []
    shared.machine.run("mkdir -p 'some folder'")
    done = shared.machine.run(
        "pwd; echo it\\'s no >&2\nexit 3", cwd="some folder", on_output=lambda *told: heard.append(told)
    )
    assert (done.code, done.stdout, done.stderr) == (3, f"{shared.home}/some folder\n", "it's no\n")
    assert sorted(heard) == [("stderr", done.stderr), ("stdout", done.stdout)]
    assert repr(done).startswith("exit status 3 after ")


def test_it_has_the_variables_of_its_container_and_our_umask_is_not_its(shared: Ground) -> None:
    done = shared.machine.run("umask; echo $CONTAINER_ID; cat")
    umask = os.umask(0o22)
    os.umask(umask)
    assert done.stdout == f"{umask:04o}\n{shared.machine.id}\n"


def test_a_folder_that_is_not_there_is_the_commands_failure(shared: Ground) -> None:
    done = shared.machine.run("echo never", cwd="/no/such folder")
    assert (done.code, done.stdout, done.stderr) == (1, "", "there is no folder /no/such folder\n")


def test_much_output_is_whole_in_a_file_and_bounded_in_memory(shared: Ground) -> None:
    done = shared.machine.run("seq 1 2000000")
    assert done.stdout_file is not None
    assert done.stdout_file.read_bytes() == b"".join(b"%d\n" % n for n in range(1, 2_000_001))
    assert len(done.stdout) < 250_000 and done.stdout.startswith("1\n2\n") and done.stdout.endswith("\n2000000\n")
    assert str(done.stdout_file) in done.stdout and str(done.stdout_file) in repr(done)
    assert done.stdout_file.stat().st_mode & 0o777 == 0o600


def test_output_that_is_no_text_is_whole_in_a_file(shared: Ground) -> None:
    data = bytes(range(256)) * 300
    (shared.home / "binary").write_bytes(data)
    done = shared.machine.run("cat binary")
    assert done.stdout_file is not None and done.stdout_file.read_bytes() == data
    assert isinstance(done.stdout, str)


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(shared: Ground) -> None:
    with pytest.raises(WaitTimeoutError, match=r"did not end in 0.5 s. It was ended there") as caught:
        shared.machine.run("sleep 1234.5 & sleep 1234.5; echo never", timeout_s=0.5)
    assert not processes("sleep 1234.5")
    assert "detach=True" in str(caught.value.hint)


def test_ctrl_c_ends_it_there(shared: Ground) -> None:
    def interrupt(stream: str, text: str) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        shared.machine.run("echo up; sleep 2345.5 & sleep 2345.5", on_output=interrupt)
    assert caught.value.__notes__ == ["It was ended there."]
    assert not processes("sleep 2345.5")


@pytest.mark.parametrize("command", ["", " \n", "echo \0", "x" * 200_000])
def test_what_is_no_command_is_refused_here(shared: Ground, command: str) -> None:
    with pytest.raises(InputError):
        shared.machine.run(command)


def test_a_start_that_arrives_when_all_is_over_starts_nothing(shared: Ground) -> None:
    connection, token = shared.machine.connect(), "late0001"
    begin = running.start("echo $$ >>late", token=token, cwd=".")
    assert running.follow(connection, token, begin=begin, spools=shared.folder).code == 0
    until(lambda: token not in kept(shared))
    running.begin(connection, begin)
    assert token not in kept(shared) and len((shared.home / "late").read_text().split()) == 1


def test_what_a_shell_says_at_each_login_is_not_taken_for_output(own: Ground, tmp_path: Path) -> None:
    session = own.disk.parent / "sshd" / "session"
    session.write_text(session.read_text().replace("exec env", "echo 'o hello'; echo Welcome; exec env"))
    assert own.machine.run("echo in").stdout == "in\n"
    job = own.machine.run("echo in", detach=True)
    assert own.machine.jobs()["job_id"].tolist() == [job.id] and job.wait().stdout == "in\n"
    with own.machine.connect().forward({str(tmp_path / "end"): 9}):
        assert (tmp_path / "end").is_socket()


def test_a_machine_that_cannot_keep_a_job_says_so(own: Ground) -> None:
    (own.home / ".vastnb").touch()
    with pytest.raises(CopyError, match="cannot be written: is the disk full") as caught:
        own.machine.run("true")
    assert caught.value.code == "disk_full"


def test_a_disk_that_is_really_full_there_takes_no_command_and_one_that_fills_it_ends(own: Ground) -> None:
    with small_disk(own.home / ".vastnb") as fill:
        done = own.machine.run("seq 1 1000000")
        assert done.code == 1 and done.stdout.startswith("1\n2\n")
        fill()
        with pytest.raises(CopyError, match=r"took no command: .*No space left on device") as caught:
            own.machine.run("touch ran")
        assert caught.value.code == "disk_full" and "remove something" in str(caught.value.hint)
        (own.home / ".vastnb" / "filler").unlink()
        assert own.machine.run("echo in").stdout == "in\n"
    assert not (own.home / "ran").exists()


def test_what_a_disk_that_is_full_here_cannot_keep_the_machine_still_has(own: Ground) -> None:
    with small_disk(own.folder / "output") as fill:
        fill()
        for command, size in (("seq 1 1000000", 6_888_896), (r"printf '\0\1'", 2)):
            with pytest.raises(StateError, match=r"cannot be kept here: .*No space left on device"):
                own.machine.run(command)
            until(lambda command=command: own.machine.jobs().set_index("command")["state"][command] == "done")
            assert own.machine.jobs().set_index("command")["stdout_bytes"][command] == size
    job = own.machine.job(own.machine.jobs().set_index("command")["job_id"]["seq 1 1000000"])
    assert job.wait().stdout_file.read_bytes() == b"".join(b"%d\n" % n for n in range(1, 1_000_001))


# Jobs.


def test_a_detached_job_is_there_for_any_later_kernel(shared: Ground) -> None:
    job = shared.machine.run(
        "echo one; while [ ! -f go ]; do sleep 0.02; done; echo two; echo no >&2; exit 5", detach=True
    )
    assert job.state == "running" and job.code is None

    machine = shared.again()
    row = machine.jobs().set_index("job_id").loc[job.id]
    assert (row["state"], row["command"].partition(";")[0], row["ended_at"] is None) == ("running", "echo one", False)
    again = machine.job(job.id)
    (shared.home / "go").touch()
    done = again.wait()

    assert (done.code, done.stdout, done.stderr) == (5, "one\ntwo\n", "no\n")
    assert (again.state, again.code, again.log(1), again.log(errors=True)) == ("failed", 5, "two\n", "no\n")
    assert job.refresh().state == "failed" and "exit status  5" in repr(job)
    job.forget()
    with pytest.raises(NotFoundError, match=f"no job {job.id}"):
        again.refresh()


def test_waiting_for_a_job_may_be_given_up(shared: Ground) -> None:
    job = shared.machine.run("sleep 3456.5", detach=True)
    with pytest.raises(WaitTimeoutError, match="It goes on there"):
        job.wait(timeout_s=0.3)
    assert job.refresh().state == "running"
    assert job.stop().state == "stopped" and not processes("sleep 3456.5")
    job.forget()


def test_a_job_that_will_not_end_is_killed(shared: Ground) -> None:
    job = shared.machine.run("trap '' TERM; echo up; while :; do sleep 0.05; done", detach=True)
    until(lambda: job.log() == "up\n")
    assert (job.stop(grace_s=0.3).state, job.code) == ("stopped", 137)
    job.forget()


def test_a_job_whose_machine_was_started_anew_is_lost(own: Ground) -> None:
    job = own.machine.run("echo up; sleep 600", detach=True)
    until(lambda: job.log() == "up\n")
    own.machine.stop()
    own.machines.settle()
    own.machine.start()
    own.machine.wait()
    assert (job.refresh().state, job.code, job.log()) == ("lost", None, "up\n")
    with pytest.raises(ReachError, match="is not known"):
        job.wait()


# Connections that break.


@pytest.mark.parametrize("seed", range(4))
def test_a_connection_that_breaks_again_and_again_loses_nothing_and_repeats_nothing(shared: Ground, seed: int) -> None:
    _cut_through_commands(shared, seed, cuts=5)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
def test_the_same_for_long(shared: Ground, seed: int) -> None:
    _cut_through_commands(shared, 100 + seed, cuts=10)


def _cut_through_commands(shared: Ground, seed: int, cuts: int) -> None:
    """Commands that write down that they run, and print, until the connection has broken so often."""
    script = "echo $$ >>runs; for n in $(seq 1 40); do seq $n 100 $((n + 20000)); sleep 0.01; done"
    expected = "".join(f"{k}\n" for n in range(1, 41) for k in range(n, n + 20_001, 100))
    runs, before = 0, kept(shared)
    (shared.home / "runs").unlink(missing_ok=True)
    with Cutter(shared, seed, most=cuts) as cutter:
        while cutter.cuts < cuts:
            done = shared.machine.run(script)
            assert (done.code, done.stdout) == (0, expected)
            runs += 1
    assert len((shared.home / "runs").read_text().split()) == runs
    ended = shared.machine.jobs()["state"].tolist()
    assert len(ended) - len(before) <= cuts and "running" not in ended[len(before) :]


@pytest.mark.parametrize("seed", range(2))
def test_a_job_that_is_begun_over_a_breaking_connection_is_begun_once(shared: Ground, seed: int) -> None:
    (shared.home / "begun").unlink(missing_ok=True)
    jobs = []
    with Cutter(shared, seed, most=1000, longest_s=1.5) as cutter:
        while cutter.cuts < 5:
            jobs.append(until(lambda: begun(shared)))
    for job in jobs:
        job.wait()
        job.forget()
    assert len((shared.home / "begun").read_text().split()) == len(jobs)


def begun(shared: Ground) -> Any:
    return shared.machine.run("echo $$ >>begun", detach=True)


def test_a_far_machine_and_a_network_that_fails_are_stood_in_for(tmp_path: Path) -> None:
    require_programs()
    machines = Machines(grace_s=1.0, ssh=True, latency_s=0.1)
    with yard(tmp_path, machines=machines) as place:
        far = Ground(place, machines)
        far.machine.run("true")
        began = time.monotonic()
        far.machine.connect().run("true")
        assert time.monotonic() - began > 0.2

        cuts: list[int] = []
        done = far.machine.run(
            "echo $$ >>runs; for n in $(seq 30); do echo $n; sleep 0.1; done",
            on_output=lambda *_: cuts.append(machines.cut(far.machine.id)) if len(cuts) < 2 else None,
        )
        assert done.stdout.split() == [str(n) for n in range(1, 31)] and cuts[0]
        assert len((far.home / "runs").read_text().split()) == 1
        far.machine.connect().close()


# Reaching it.


def test_another_host_key_than_before_is_an_error_until_it_is_taken(own: Ground) -> None:
    own.machine.run("true")
    own.machine.stop()
    own.machines.settle()
    (own.disk.parent / "sshd" / "host_key").unlink()
    own.machine.start()
    own.machine.wait()

    with pytest.raises(ReachError, match="another host key") as caught:
        own.machine.run("echo in")
    assert (caught.value.code, caught.value.retryable) == ("host_key", False)
    own.machine.connect().forget_host_key()
    assert own.machine.run("echo in").stdout == "in\n"


def test_a_machine_that_was_rented_without_vastnbs_key_gets_it(shared: Ground, tmp_path: Path) -> None:
    stranger = shared.again(shared.yard.kernel(folder="elsewhere"))
    assert stranger.run("echo in").stdout == "in\n"
    key = Path(stranger.connect()._folder) / "ssh" / "id_ed25519"
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_vastnbs_key_is_registered_once_before_anything_is_rented(tmp_path: Path) -> None:
    with yard(tmp_path, ssh_keys=[]) as place:
        kernel = place.kernel()
        for _ in range(2):
            launch_on(kernel, place.offers(kernel), max_hours=1)
        asked = [(r.method, r.path) for r in place.sandbox.log if "/ssh/" in r.path or "/asks/" in r.path]
        assert [path for method, path in asked if method == "POST"] == ["/api/v0/ssh/"]
        assert asked.index(("POST", "/api/v0/ssh/")) < [method for method, _ in asked].index("PUT")


def test_your_own_ssh_knows_a_machine_for_as_long_as_it_is_there(own: Ground) -> None:
    users = Path.home() / ".ssh" / "config"
    users.parent.mkdir()
    users.write_text("Host mine\n    Port 1\n")
    assert own.machine.ssh_config() == own.machine.ssh_config() == "vast-work"
    assert users.read_text().splitlines()[1:] == ["Host mine", "    Port 1"] and users.stat().st_mode & 0o777 == 0o600
    own.machine.connect().open()  # A machine that runs may still be starting its server, and a plain ssh does not wait.
    done = subprocess.run(
        ["ssh", "-F", str(users), "vast-work", "echo in"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "in\n", done.stderr
    own.machine.connect().close()
    own.machine.destroy()
    assert not list((own.folder / "ssh" / "config.d").iterdir())


def test_a_refused_key_is_an_error_at_once(shared: Ground, tmp_path: Path) -> None:
    with pytest.raises(ReachError, match="does not take vastnb's ssh key") as caught:
        Connection(address_of(shared.machine.record), tmp_path, patience_s=60).open()
    assert (caught.value.code, caught.value.retryable) == ("key_refused", False)


def test_a_port_that_is_not_open_is_waited_for_and_given_up_in_the_end(shared: Ground, tmp_path: Path) -> None:
    real = address_of(shared.machine.record)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    closed = Address(real.instance_id, "127.0.0.1", port)
    with pytest.raises(ReachError, match=r"does not answer to ssh .*refused") as caught:
        Connection(closed, tmp_path, patience_s=0, pause=lambda _: None).open()
    assert (caught.value.code, caught.value.retryable) == ("unreachable", True)
    opened: list[Any] = []

    def open_now(_seconds: float) -> None:
        if not opened:
            opened.append(_relay(port, real.port))

    late = Connection(closed, shared.folder, patience_s=60, pause=open_now)
    assert late.run("echo in").stdout == b"in\n"
    late.close()
    opened[0].close()


def _relay(port: int, to: int) -> socket.socket:
    """A server at `port` that passes on to another."""
    server = socket.create_server(("127.0.0.1", port), reuse_port=False)

    def pump(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                ours, _ = server.accept()
            except OSError:
                return
            theirs = socket.create_connection(("127.0.0.1", to))
            for pair in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return server


def test_a_tunnel_leads_to_the_machine_and_ends(shared: Ground, tmp_path: Path) -> None:
    end = tmp_path / "end"
    with socket.create_server(("127.0.0.1", 0)) as there:
        with shared.machine.connect().forward({str(end): there.getsockname()[1]}):
            with socket.socket(socket.AF_UNIX) as here:
                here.connect(str(end))
                other, _ = there.accept()
                with other:
                    other.sendall(b"x")
                    assert here.recv(1) == b"x"
            assert processes(f"-L {end}")
        assert not processes(f"-L {end}")


def test_without_ssh_the_error_says_what_to_install(shared: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ReachError, match="no ssh on this computer") as caught:
        shared.machine.run("true")
    assert caught.value.code == "no_program" and "apt-get install openssh-client" in str(caught.value.hint)


def test_without_ssh_all_that_needs_none_works(there: Any, kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    machine = launch_on(kernel, there.offers(kernel), name="a", max_hours=2).wait()
    assert machine.logs(tail=5) and machine.ssh_command.startswith("ssh -")
    assert machine.stop().state != machine.start().wait().state == "running"
    assert machine.destroy().is_final


def test_a_machine_that_does_not_run_is_not_waited_for(own: Ground) -> None:
    other = own.again()
    other.stop()
    own.yard.pause(600)
    own.machines.settle()
    with pytest.raises(NotRunningError, match="is stopped"):
        own.machine.run("true")
    with pytest.raises(NotRunningError, match=r"is stopped, and nothing can be done"):
        own.machine.run("true")
    own.machine.start()
    own.machine.wait()


def test_a_machine_that_somebody_else_ends_is_gone_and_not_waited_for(own: Ground) -> None:
    def end(_stream: str, _text: str) -> None:
        own.again().destroy()
        own.machines.settle()

    with pytest.raises(NotFoundError, match="is gone"):
        own.machine.run("echo up; sleep 600", on_output=end)
    with pytest.raises(NotFoundError, match="is gone"):
        own.machine.run("true")


def test_two_kernels_work_on_one_machine_at_once(shared: Ground, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "common").write_bytes(data)

    def work(number: int, machine: Any) -> tuple[str, int]:
        told = "".join(machine.run(f"for n in 1 2 3; do echo {number}.$n; sleep 0.05; done").stdout for _ in range(5))
        machine.put(tmp_path / "common", "at once/", on_progress=lambda _: None)
        return told, machine.get("at once/", tmp_path / f"back {number}/", on_progress=lambda _: None).files

    with ThreadPoolExecutor(2) as pool:
        told = [pool.submit(work, number, shared.again()) for number in range(2)]
    assert [job.result() for job in told] == [(f"{n}.1\n{n}.2\n{n}.3\n" * 5, 1) for n in range(2)]
    assert {path.read_bytes() for path in tmp_path.rglob("common")} == {data}
    assert [path.name for path in (shared.home / "at once").iterdir()] == ["common"]


def test_machines_of_a_sandbox_where_nothing_runs_are_never_looked_for_elsewhere(there: Any, kernel: Any) -> None:
    machine = launch_on(kernel, there.offers(kernel), name="a", max_hours=1).wait()
    with pytest.raises(MachineError, match="nothing really runs") as caught:
        machine.run("true")
    assert "machines=True" in str(caught.value.hint)


def test_in_practice_machines_run_if_one_says_so() -> None:
    require_programs()
    vastnb.use("sandbox", offers=100, start="2026-06-01", machines=True)
    with vastnb.rent("num_gpus=1", max_hours=1) as machine:
        assert machine.run("echo $CONTAINER_ID").stdout == f"{machine.id}\n"
    vastnb.use("sandbox", offers=100, start="2026-06-01")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ssh_host": "ssh4.vast.ai", "ssh_port": 12345}, ("ssh4.vast.ai", 12345)),
        ({"ssh_host": "ssh4.vast.ai", "ssh_port": 12345, "image_runtype": "jupyter_direc ssh_proxy"}, ("ssh4.vast.ai", 12346)),
        (
            {"ssh_host": "ssh4.vast.ai", "ssh_port": 1, "public_ipaddr": "1.2.3.4", "ports": {"22/tcp": [{"HostPort": "20022"}]}},
            ("1.2.3.4", 20022),
        ),
        ({"ssh_host": "ssh4.vast.ai", "ssh_port": 7, "public_ipaddr": "1.2.3.4", "ports": {"22/tcp": []}}, ("ssh4.vast.ai", 7)),
        ({"public_ipaddr": "1.2.3.4", "ports": {"80/tcp": [{"HostPort": "1"}]}}, None),
    ],
)  # fmt: skip
def test_an_open_port_is_taken_before_the_proxy(fields: dict[str, Any], expected: Any) -> None:
    found = address_of(InstanceRecord(id=5, **fields))
    assert (found and (found.host, found.port)) == expected
    assert found is None or found.command(Path("/a key")) == f"ssh -i '/a key' -p {found.port} root@{found.host}"
