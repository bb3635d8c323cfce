"""Health: what works and what does not, with what to do; against the sandbox over HTTP, against nobody, and in a shell."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from renting import yard

import vastnb
from vastnb.api.cli import main
from vastnb.infra.config import Settings
from vastnb.sandbox import Sandbox
from vastnb.sandbox.machines import Machines
from vastnb.services.checks import HealthReport, Tried, fine, odd
from vastnb.services.health.judging import judged
from vastnb.services.health.measuring import Seen
from vastnb.services.instances.checking import Sighting
from vastnb.services.instances.checking import judged as judged_machine
from vastnb.services.instances.launching import launch_on
from vastnb.services.journal import Rental
from vastnb.vast.client import Client, Told
from vastnb.vast.client.external import status_from
from vastnb.vast.types.records import InstanceRecord

NAMES = ["settings", "network", "tls", "clock", "api", "key", "permissions", "balance", "search", "limits", "cache", "disk",
         "journal", "events", "watcher", "kernel", "widgets", "vastnb"]  # fmt: skip
ANY: dict[str, Any] = {"pacing": "off", "timeout_s": 300}
"""Patience for a computer that is busy: checks wait a tenth of it."""


def statuses(report: HealthReport) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


@contextmanager
def server(answer: Any) -> Iterator[str]:
    """Somebody who listens; ``answer(connection)`` deals with each who comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def nobody() -> str:
    """The URL of a service that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


# ---------------------------------------------------------------- the account


def test_all_is_well_and_five_requests_were_enough(make_client: Any, sandbox: Sandbox) -> None:
    report = vastnb.health(client=make_client(sandbox, profile="sandbox", timeout_s=300))

    assert [check.name for check in report.checks] == NAMES
    skipped = {"tls", "clock", "watcher"}
    assert statuses(report) == {name: "skipped" if name in skipped else "ok" for name in NAMES}
    assert (report.word, report.exit_status, report.source) == ("healthy", 0, "sandbox: practice, not real")
    assert report.at == datetime(2026, 6, 1, 9, tzinfo=UTC)
    assert sorted((request.method, request.path) for request in sandbox.log) == [
        ("GET", "/api/v0/auth/apikeys/"),
        ("GET", "/api/v0/gpu_names/unique/"),
        ("GET", "/api/v0/users/current/"),
        ("GET", "/api/v1/instances/"),
        ("POST", "/api/v0/bundles/"),
    ]
    for name in ("network", "api", "search", "cache"):
        assert 0 < report[name].p50_ms <= report[name].p95_ms < 1000  # type: ignore[operator]


@pytest.mark.parametrize(
    ("fault", "path", "name", "status", "words", "word"),
    [
        ("500", "", "api", "fail", "Internal Server Error", "unhealthy"),
        ("garbage", "", "api", "fail", "expected", "unhealthy"),
        ("cut-before", "", "api", "fail", "no answer", "unhealthy"),
        ("html-200", "", "api", "fail", "a web page", "unhealthy"),
        ("503", "bundles", "api", "warn", "4 of 5 requests answered", "unhealthy"),
        ("503", "bundles", "search", "fail", "503", "unhealthy"),
        ("null-offers", "bundles", "search", "fail", "no list of offers", "unhealthy"),
        ("auth-404", "", "key", "fail", "Invalid user key", "unhealthy"),
        ("auth-404", "", "permissions", "skipped", "not accepted", "unhealthy"),
        ("auth-403", "v1/instances", "permissions", "warn", "lacks instance_read", "degraded"),
        ("auth-403", "v1/instances", "balance", "warn", "could not be listed", "degraded"),
        ("auth-403", "users/current", "key", "ok", "accepted", "degraded"),
        ("auth-403", "apikeys", "permissions", "ok", "what else is not told", "healthy"),
        ("429-text", "bundles", "search", "warn", "too frequent", "degraded"),
        ("429-quota", "bundles", "search", "warn", "quota", "degraded"),
        ("500", "instances", "balance", "warn", "could not be listed", "degraded"),
    ],
)
def test_what_fails_is_named_with_a_remedy_and_stops_no_other(
    make_client: Any, sandbox: Sandbox, fault: str, path: str, name: str, status: str, words: str, word: str
) -> None:
    sandbox.faults.add(fault, path=path, times=None)

    report = vastnb.health(client=make_client(sandbox, **ANY))

    assert words in report[name].seen
    assert (report[name].status, report.word) == (status, word)
    assert [check.name for check in report.checks if check.status in ("warn", "fail") and not check.remedy] == []
    assert [check.name for check in report.checks] == NAMES
    assert {report[local].status for local in ("network", "cache", "disk", "journal", "events")} == {"ok"}


@pytest.mark.parametrize("answer", ["never", "byte by byte"])
def test_a_server_that_hangs_is_unhealthy_within_twice_the_patience(make_client: Any, answer: str) -> None:
    over = threading.Event()

    def slowly(connection: socket.socket) -> None:
        with connection:
            while not over.wait(0.05):
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\n"[:1] if answer == "byte by byte" else b"")
                except OSError:
                    return

    with server(slowly) as url:
        started = time.monotonic()
        report = vastnb.health(client=make_client(url, api_key="0123456789", pacing="off", timeout_s=5))
        took = time.monotonic() - started
        over.set()
        for thread in threading.enumerate():
            if thread.name.startswith("vastnb-health"):
                thread.join(5)

    assert took < 10
    assert (report.word, report["api"].status, report["network"].status) == ("unhealthy", "fail", "ok")
    assert {report[name].status for name in ("key", "permissions", "balance", "search")} == {"skipped"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vastnb-health")]


def test_without_a_network_one_thing_is_said_once(make_client: Any, nobody: str) -> None:
    report = vastnb.health(client=make_client(nobody, api_key="0123456789", **ANY))

    assert [check.name for check in report.checks if check.status == "fail"] == ["network"]
    assert "Connection refused" in report["network"].seen
    assert report["api"].seen == "there is no connection"


def test_a_proxy_that_does_not_answer_is_named(make_client: Any, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", nobody)

    report = vastnb.health(client=make_client("https://vast.invalid", api_key=None, timeout_s=300))

    assert (report["network"].status, report["tls"].seen) == ("fail", "through a proxy")
    assert report["network"].seen.endswith("Connection refused through a proxy")
    assert "NO_PROXY" in report["network"].remedy


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate with")
@pytest.mark.parametrize(
    ("trusted", "status", "words"), [(True, "warn", "holds 3 days"), (False, "fail", "was refused")]
)
def test_a_certificate_is_checked_as_for_every_request(
    make_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, status: str, words: str
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "4",
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    def secure(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as made:
            made.recv(1)

    with server(secure) as url:
        report = vastnb.health(client=make_client(url.replace("http:", "https:"), api_key=None, timeout_s=300))

    assert (report["tls"].status, words in report["tls"].seen) == (status, True)
    assert report["network"].status == "ok"


@pytest.mark.parametrize(
    ("said", "key", "words", "remedy"),
    [
        (False, "its own", "not said whether", "%vast use sandbox"),
        (False, None, "not said whether", "%vast use sandbox"),
        (True, None, "no API key", "VAST_API_KEY"),
    ],
)
def test_without_an_account_what_needs_one_is_left_out(
    sandbox: Sandbox, tmp_path: Path, said: bool, key: str | None, words: str, remedy: str
) -> None:
    settings = Settings(url=sandbox.url, api_key=sandbox.api_key if key else None, said=said, **ANY)
    with Client(settings, cache_folder=tmp_path) as client:
        report = vastnb.health(client=client)

    assert (words in report["key"].seen, remedy in report["key"].remedy) == (True, True)
    assert {report[name].seen for name in ("permissions", "balance")} == {"needs an account"}
    assert (report.word, report.subject, sandbox.requests()) == ("healthy", "without an account", 2)


def test_settings_that_cannot_be_read_are_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_TIMEOUT_S", "soon")

    report = vastnb.health()

    assert list(statuses(report).items()) == [
        ("settings", "fail"),
        ("kernel", "ok"),
        ("widgets", "ok"),
        ("vastnb", "ok"),
    ]
    assert "timeout_s (from environment)" in report["settings"].seen


def test_a_folder_that_cannot_be_written_is_found(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    settings = Settings(url=sandbox.url, api_key=sandbox.api_key, **ANY)
    with Client(settings, cache_folder=tmp_path / "file") as client:
        report = vastnb.health(client=client)

    assert {name: report[name].status for name in ("cache", "journal", "events", "disk", "search")} == {
        "cache": "warn", "journal": "fail", "events": "warn", "disk": "ok", "search": "ok",
    }  # fmt: skip
    assert "kept in this process alone" in report["cache"].seen
    assert report["watcher"].status == "skipped"


def test_the_kept_answers_stay_and_none_is_added(make_client: Any, sandbox: Sandbox) -> None:
    client = make_client(sandbox, timeout_s=300)
    vastnb.search("num_gpus=1", client=client)
    before = vastnb.cache_info(client=client)

    report = vastnb.health(client=client)

    after = vastnb.cache_info(client=client)
    assert before.entries.tolist() == after.entries.tolist()
    assert report["cache"].seen.startswith(f"sqlite: {before.entries[1]} answers")


def test_the_pace_that_all_kernels_share_is_kept(make_client: Any) -> None:
    with Sandbox(offers=20, seed=7, strict=True) as strict:
        client = make_client(strict, timeout_s=60)
        for _ in range(5):
            client.told("search offers", json={}, refresh=True)
        report = vastnb.health(client=client)

    assert report["search"].status == "skipped"
    assert report["search"].remedy.startswith("check again in ")
    assert report["limits"].status == "ok"
    assert [request.status for request in strict.log if request.status == 429] == []


def test_a_quota_that_is_used_up_is_known_without_asking(make_client: Any) -> None:
    with Sandbox(offers=20, seed=7, strict=True) as strict:
        client = make_client(strict, retries=0, timeout_s=300)
        strict.faults.add("429-quota", path="bundles")
        with pytest.raises(vastnb.errors.QuotaError):
            vastnb.search("num_gpus=1", client=client)
        report = vastnb.health(client=client)

    assert sum("bundles" in request.path for request in strict.log) == 1
    assert (report["limits"].status, report["search"].status, report.word) == ("warn", "warn", "degraded")
    assert "used up until" in report["limits"].seen


def test_money_is_told_as_the_hours_that_it_lasts(tmp_path: Path) -> None:
    with yard(tmp_path, credit_usd=3.0) as there:
        kernel = there.kernel(timeout_s=300)
        assert vastnb.health(client=kernel.client)["balance"].seen == "$3.00 left, and no machine costs now"
        quote = there.quotes(kernel).iloc[0]
        vastnb.launch(quote, max_hours=1, client=kernel.client)
        usd = float(quote.usd_per_hour)

        report = vastnb.health(client=kernel.client)

        low = 3 / usd < 24
        assert report["balance"].status == ("warn" if low else "ok")
        assert f"at ${usd:.3f} an hour for machines it lasts" in report["balance"].seen
        there.pause(3 / usd * 3600 + 60)
        assert vastnb.health(client=kernel.client)["balance"].status in ("warn", "fail")


# ---------------------------------------------------------------- judging


def seen(off_s: float = 0.0, **changes: Any) -> Seen:
    """What is seen of a real service whose clock differs by `off_s` from this computer's."""
    at = datetime(2026, 6, 1, 9, tzinfo=UTC)
    there = Tried(Told({"offers": [{}]}, False, at), None, 10.0, at.timestamp() + 0.5 + off_s)
    tries = {
        "network": Tried([1.0]),
        "gpu names": there,
        "search offers": there,
        **{name: Tried(error=vastnb.errors.StateError("gone")) for name in ("cache", "journal", "events")},
        "disk": Tried([]),
    }
    return replace(Seen(Settings(said=False), "none", tries), **changes)


@pytest.mark.parametrize(
    ("off_s", "status", "words"),
    [
        (0.0, "ok", "within 5 s"),
        (-4.0, "ok", "within 5 s"),
        (20.0, "warn", "20 s fast"),
        (-20.0, "warn", "20 s slow"),
        (400.0, "fail", "signed webhooks would be refused"),
    ],
)
def test_a_clock_is_judged_by_the_services(off_s: float, status: str, words: str) -> None:
    from vastnb.services.health import judging

    check = judging._clock(seen(off_s))

    assert (check.status, words in check.seen) == (status, True)


@pytest.mark.parametrize(("free_gb", "status"), [(50.0, "ok"), (1.0, "warn"), (0.1, "fail")])
def test_little_room_on_the_disk_is_told_before_there_is_none(free_gb: float, status: str, tmp_path: Path) -> None:
    from vastnb.services.health import judging
    from vastnb.services.health.measuring import Room

    there = seen()
    rooms = Tried([Room(tmp_path, 80.0), Room(tmp_path / "state", free_gb)])

    assert judging._disk(replace(there, tries={**there.tries, "disk": rooms})).status == status


def test_packages_that_are_missing_are_named_with_what_to_install() -> None:
    there = seen(versions={"Python": "3.11.2", "ipython": "9.0"}, tries={**seen().tries, "disk": Tried([_room()])})

    checks = {check.name: check for check in judged(there)}

    assert (checks["kernel"].status, checks["kernel"].remedy) == ("skipped", 'pip install "vastnb[lab]"')
    assert (checks["widgets"].status, "pip install anywidget" in checks["widgets"].remedy) == ("warn", True)


def _room() -> Any:
    from vastnb.services.health.measuring import Room

    return Room(Path("/"), 50.0)


# ---------------------------------------------------------------- what it looks like


def test_a_report_is_text_html_json_and_a_frame() -> None:
    checks = (
        fine("api", "<script>alert(1)</script>", [3.0, 1.0, 2.0]),
        odd("disk", "1 GB\x1b[31m free", "make <b>room</b>"),
    )
    report = HealthReport(
        subject="the account", checks=checks, at=datetime(2026, 6, 1, 9, tzinfo=UTC), source="Vast.ai"
    )

    assert str(report).splitlines() == [
        "degraded: the account · Vast.ai · 2026-06-01 09:00:00 UTC",
        "  api   ✓ ok: <script>alert(1)</script> · half within 2.0 ms, p95 3.0 ms",
        "  disk  ! warn: 1 GB free",
        "        → make <b>room</b>",
    ]
    html = report._repr_html_()
    assert ("<script>" in html, "<b>" in html, "&lt;script&gt;" in html) == (False, False, True)
    told = json.loads(report.to_json())
    assert (told["word"], told["checks"][0]["p95_ms"], told["version"]) == ("degraded", 3.0, vastnb.__version__)
    frame = report.to_frame()
    assert frame.columns.tolist() == ["check", "status", "seen", "remedy", "p50_ms", "p95_ms"]
    assert frame.status.tolist() == ["ok", "warn"]
    with pytest.raises(ValueError, match="frozen"):
        report.subject = "another"


def test_no_secret_is_in_a_report(make_client: Any, sandbox: Sandbox) -> None:
    sandbox.faults.add("auth-401", times=None)
    report = vastnb.health(client=make_client(sandbox, **ANY))

    assert sandbox.api_key not in report.to_json() + str(report) + report._repr_html_()


# ---------------------------------------------------------------- in a notebook and in a shell


def test_the_magic_returns_the_report(ip: Any) -> None:
    ip.run_cell("%vast use sandbox offers=50 start=2026-06-01 timeout_s=300")
    result = ip.run_cell("report = %vast health\nreport")

    assert result.result.word == "healthy"


@pytest.mark.parametrize(("fault", "status"), [("", 0), ("auth-403", 0), ("500", 1)])
def test_the_exit_status_tells_whether_it_is_unhealthy(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str, status: int
) -> None:
    monkeypatch.setenv("VAST_URL", sandbox.url)
    monkeypatch.setenv("VAST_API_KEY", sandbox.api_key)
    monkeypatch.setenv("VASTNB_TIMEOUT_S", "300")
    if fault:
        sandbox.faults.add(fault, path="users/current" if status == 0 else "", times=None)

    assert main(["health", "--json"]) == status

    told = json.loads(capsys.readouterr().out)
    assert told["word"] == {"": "healthy", "auth-403": "degraded", "500": "unhealthy"}[fault]


def test_ctrl_c_ends_it_at_once(private_home: Path) -> None:
    asked = threading.Event()

    def never(connection: socket.socket) -> None:
        with connection:
            if connection.recv(10):
                asked.set()
            connection.recv(10_000)

    with server(never) as url:
        words = [sys.executable, "-m", "vastnb", "health"]
        environment = {**os.environ, "VAST_URL": url, "VAST_API_KEY": "0123456789", "VASTNB_TIMEOUT_S": "300"}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert asked.wait(20)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert time.monotonic() - started < 20


# ---------------------------------------------------------------- a machine


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    """A kernel with a running machine ``lora``, and the sandbox that it is in."""
    with yard(tmp_path) as there:
        fleet = there.kernel(timeout_s=300)
        machine: Any = launch_on(fleet, there.quotes(fleet).iloc[0], name="lora", max_hours=3)
        yield there, machine.wait()


def test_a_machine_that_runs_as_it_should_is_healthy_and_strangers_ports_are_left_alone(kernel: Any) -> None:
    there, machine = kernel

    report = machine.health()

    skipped = {"ssh", "jupyter"}  # a practice machine names a host that is not this computer
    names = ["state", "ssh", "jupyter", "gpu", "disk", "figures", "quote", "time", "cost"]
    assert statuses(report) == {name: "skipped" if name in skipped else "ok" for name in names}
    assert (report.word, report.subject) == ("healthy", f"lora: machine {machine.id}")
    assert report.at.timestamp() == there.sandbox.clock.now()
    assert report["time"].seen.endswith("in 3.0 h")
    assert "as quoted" in report["quote"].seen
    assert machine.plan.advertised["dlperf"] == machine.record.dlperf


def test_the_words_and_the_method_say_the_same(kernel: Any, ip: Any) -> None:
    there, _ = kernel
    vastnb.use(url=there.sandbox.url, api_key=there.sandbox.api_key, timeout_s=300)

    report = ip.run_cell(f"%vast health {there.machines[0]['id']}").result

    assert report.word == "healthy"


@pytest.mark.parametrize(
    ("happens", "name", "status", "words", "word"),
    [
        ("stop", "state", "ok", "stopped, as was asked", "healthy"),
        ("stop", "ssh", "skipped", "it is stopped", "healthy"),
        ("offline", "state", "fail", "offline; it will not run", "unhealthy"),
        ("late", "time", "warn", "in 0.5 h", "degraded"),
        ("gone", "state", "fail", "is gone", "unhealthy"),
        ("down", "service", "fail", "could not be looked at again", "unhealthy"),
        ("down", "state", "ok", "running", "unhealthy"),
    ],
)
def test_what_becomes_of_a_machine_is_named(
    kernel: Any, happens: str, name: str, status: str, words: str, word: str
) -> None:
    there, machine = kernel
    if happens == "stop":
        machine.stop()
        there.pause(120)
    elif happens == "offline":
        there.sandbox.offline(machine.id)
    elif happens == "late":
        there.pause((machine.ends_at - machine.seen_at).total_seconds() - 1800)
    elif happens == "gone":
        machine.destroy()
    else:
        there.sandbox.faults.add("503", times=None)

    report = machine.health()

    assert (report[name].status, words in report[name].seen, report.word) == (status, True, word)
    assert status in ("ok", "skipped") or report[name].remedy


@pytest.mark.parametrize("for_s", [60, 1200])
def test_loading_is_fine_until_it_takes_too_long(tmp_path: Path, for_s: int) -> None:
    with yard(tmp_path) as there:
        fleet = there.kernel(timeout_s=300)
        machine: Any = launch_on(fleet, there.quotes(fleet).iloc[0], max_hours=3)
        there.sandbox.stick(machine.id)
        there.pause(for_s)

        report = machine.health()

    assert report["state"].status == ("ok" if for_s < 900 else "warn")


@pytest.mark.skipif(shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") is None, reason="there is no OpenSSH server")
def test_a_machine_that_answers_by_ssh_says_so(tmp_path: Path) -> None:
    with yard(tmp_path, machines=Machines(grace_s=0.5, ssh=True)) as there:
        fleet = there.kernel(timeout_s=300)
        machine: Any = launch_on(fleet, there.quotes(fleet).iloc[0], max_hours=3)

        machine.wait()
        deadline = time.monotonic() + 20
        while (check := machine.health()["ssh"]).status != "ok" and time.monotonic() < deadline:
            assert check.remedy  # its server starts in real time

    assert (check.status, check.seen[:15]) == ("ok", "SSH-2.0-OpenSSH")
    assert 0 < check.p50_ms < 2000


def record(**changes: Any) -> InstanceRecord:
    """A machine of the real service that runs."""
    row = {
        "id": 1, "actual_status": "running", "cur_state": "running", "intended_status": "running", "dph_base": 0.4, "dph_total": 0.41,
        "storage_total_cost": 0.01, "gpu_name": "RTX 4090", "num_gpus": 1, "gpu_util": 95.0, "gpu_temp": 60.0, "disk_space": 50.0,
        "disk_usage": 10.0, "inet_down": 800.0, "inet_up": 400.0, "dlperf": 60.0, "reliability2": 0.99, "ssh_host": "1.2.3.4",
        "ssh_port": 22, "public_ipaddr": "1.2.3.4", "image_runtype": "ssh", "end_date": 1e9, **changes,
    }  # fmt: skip
    return InstanceRecord.model_validate(row)


RENTED = Rental(
    "token",
    "label",
    7,
    0.0,
    state="created",
    usd_per_hour=0.41,
    ends_at=7200.0,
    quote={
        "gpu_name": "RTX 4090",
        "num_gpus": 1,
        "advertised": {"inet_down_mbps": 800.0, "inet_up_mbps": 400.0, "dlperf": 60.0, "reliability": 0.99},
    },
)


@pytest.mark.parametrize(
    ("changes", "now", "name", "status", "words"),
    [
        ({}, 60.0, "gpu", "ok", "1 x RTX 4090: 95% in use, 60 °C"),
        ({"gpu_util": 0.0}, 60.0, "gpu", "ok", "0% in use"),
        ({"gpu_util": None, "gpu_temp": None}, 60.0, "gpu", "warn", "no figures"),
        ({"gpu_temp": 95.0}, 60.0, "gpu", "warn", "95 °C"),
        ({"disk_usage": 48.0}, 60.0, "disk", "warn", "48.0 of 50 GB"),
        ({"disk_usage": -1}, 60.0, "disk", "skipped", "not told"),
        ({"reliability2": 0.7}, 60.0, "figures", "warn", "reliability 70.0%; its offer said reliability 0.99"),
        ({"inet_down": 0.0}, 60.0, "figures", "warn", "0 Mbit/s down"),
        ({"inet_down": 790.0, "dlperf": 58.0}, 60.0, "figures", "ok", "790 Mbit/s down"),
        ({"inet_down": 90.0}, 60.0, "figures", "warn", "its offer said inet_down_mbps 800"),
        ({"dlperf": 30.0, "reliability2": 0.93}, 60.0, "figures", "warn", "its offer said dlperf 60, reliability 0.99"),
        ({"gpu_name": "<script>alert(1)</script>"}, 60.0, "quote", "fail", "1 x RTX 4090 was quoted"),
        ({"dph_total": 0.5}, 60.0, "quote", "warn", "$0.410 an hour was agreed"),
        ({}, 3700.0, "time", "warn", "it ends itself"),
        ({"end_date": 3600.0}, 60.0, "time", "warn", "its host takes it back"),
        ({}, 7600.0, "time", "fail", "should have ended itself"),
        ({"dph_total": None}, 60.0, "cost", "warn", "not known"),
    ],
)
def test_a_machine_is_judged_by_its_figures(
    changes: dict[str, Any], now: float, name: str, status: str, words: str
) -> None:
    checks = {check.name: check for check in judged_machine(Sighting(record(**changes), RENTED, now), {})}

    assert (checks[name].status, words in checks[name].seen) == (status, True)


@pytest.mark.parametrize(
    ("name", "found", "status"),
    [
        ("ssh", Tried([(2.0, b"SSH-2.0-OpenSSH_9.2")]), "ok"),
        ("ssh", Tried([(2.0, b"HTTP/1.1 400 \x1b[31m")]), "fail"),
        ("ssh", Tried(error=vastnb.errors.NetworkError("1.2.3.4:22: Connection refused")), "fail"),
        ("jupyter", Tried(200, ms=20.0), "ok"),
        ("jupyter", Tried(502, ms=20.0), "warn"),
        ("jupyter", Tried(error=vastnb.errors.NetworkError("no answer")), "warn"),
    ],
)
def test_what_answers_on_its_ports_is_judged(name: str, found: Tried, status: str) -> None:
    checks = {check.name: check for check in judged_machine(Sighting(record(), RENTED, 60.0), {name: found})}

    assert checks[name].status == status
    assert status == "ok" or checks[name].remedy


def test_what_a_jupyter_answers_is_its_status_whatever_its_certificate(sandbox: Sandbox, nobody: str) -> None:
    sandbox.faults.add("503")
    assert status_from(f"{sandbox.url}/api", timeout_s=2) == 503
    with pytest.raises(vastnb.errors.NetworkError):
        status_from(nobody, timeout_s=2)
