"""Webhooks: only what is signed gets in, what got in is on disk, and nothing that handlers do delays an answer."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import re
import signal
import socket
import stat
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vastnb
from vastnb.api import webhook
from vastnb.api.commands import run
from vastnb.errors import ConfigError, InputError, NewerStateError, StateError, WebhookError
from vastnb.infra.config import Settings
from vastnb.services import session
from vastnb.services.events import Bus, queue_of
from vastnb.services.handlers import post
from vastnb.services.webhooks import Secrets, event_of, verify_webhook
from vastnb.vast.client import Client

NOW = 1_780_000_000
SECRET, OLD_SECRET = "whsec-of-the-tests", "whsec-before"


def body_of(event_id: str = "7e9a", **more: Any) -> bytes:
    told = {"event_id": event_id, "user_id": 123, "notif_type": "outbid", "subject": "Outbid", "message": "Instance 12345 was outbid",
            "data": None, "data_truncated": False, "timestamp": NOW - 1.5}  # fmt: skip
    return json.dumps({**told, **more}).encode()


def headers_of(body: bytes, *, secret: str = SECRET, at: int | str = NOW, **more: str) -> dict[str, str]:
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Vast-Timestamp": str(at),
        "X-Vast-Signature-256": f"sha256={signature}",
        "X-Vast-Delivery-Attempt": "1",
        **more,
    }


# --- verify -------------------------------------------------------------------------------------------------------------


def test_a_signed_delivery_is_read_and_becomes_an_event() -> None:
    body = body_of(data={"instance_id": 77, "min_bid": 0.5})

    event = event_of(verify_webhook(headers_of(body), body, SECRET, now=NOW + 10))

    assert (event.id, event.kind, event.subject, event.at.timestamp()) == ("7e9a", "instance.outbid", "77", NOW - 1.5)
    assert event.data == {
        "message": "Instance 12345 was outbid", "title": "Outbid", "notif_type": "outbid", "instance_id": 77, "min_bid": 0.5,
    }  # fmt: skip


def test_headers_in_any_case_and_one_of_several_secrets_will_do() -> None:
    body = body_of()
    headers = {name.lower(): value for name, value in headers_of(body, secret=OLD_SECRET).items()}

    assert verify_webhook(headers, body, [SECRET, OLD_SECRET], now=NOW).event_id == "7e9a"


@pytest.mark.parametrize(
    ("told", "kind", "subject"),
    [
        ({"notif_type": "low_credit", "message": "Your balance is low"}, "account.low_credit", ""),
        ({"notif_type": "something_new", "message": None, "subject": None}, "vast.something_new", ""),
        ({"notif_type": "instance_stopped", "message": "Your instance #4711 stopped"}, "instance.stopped", "4711"),
        ({"notif_type": "outbid", "user_id": "odd", "timestamp": "odd", "data": [1]}, "instance.outbid", "12345"),
    ],
)
def test_what_vast_tells_in_our_words(told: dict[str, Any], kind: str, subject: str) -> None:
    body = body_of(**told)

    event = event_of(verify_webhook(headers_of(body), body, SECRET, now=NOW))

    assert (event.kind, event.subject) == (kind, subject)


def refused(headers: dict[str, str], body: bytes, now: float = NOW) -> str:
    with pytest.raises(WebhookError) as raised:
        verify_webhook(headers, body, [SECRET, OLD_SECRET], now=now)
    assert raised.value.code == "webhook"
    return raised.value.reason


def test_a_wrong_signature_is_refused_however_it_is_wrong() -> None:
    body = body_of()
    good = headers_of(body)["X-Vast-Signature-256"]

    for wrong in (
        "",
        "sha256=",
        good.upper(),
        good[:-1],
        good + "0",
        good.removeprefix("sha256="),
        f"{good}, {good}",
        "sha1" + good[6:],
        "ü" * 71,
    ):
        assert refused(headers_of(body, **{"X-Vast-Signature-256": wrong}), body) == "signature"
    assert refused(headers_of(body, secret="another"), body) == "signature"
    assert refused(headers_of(body), body + b" ") == "signature"
    assert refused({}, body) == "signature"


@pytest.mark.parametrize("at", ["", "1e9", " 1780000000", "+1780000000", "1780000000.0", "-5", "١٧٨٠٠٠٠٠٠٠", "9" * 40])
def test_a_time_that_is_no_whole_number_is_refused(at: str) -> None:
    body = body_of()
    assert refused(headers_of(body, at=at), body) == "signature"


@pytest.mark.parametrize(("age", "good"), [(300, True), (-300, True), (301, False), (-301, False), (10**8, False)])
def test_300_seconds_are_the_limit_in_both_directions(age: int, good: bool) -> None:
    body = body_of()
    if good:
        assert verify_webhook(headers_of(body), body, SECRET, now=NOW + age).event_id == "7e9a"
    else:
        assert refused(headers_of(body), body, now=NOW + age) == "age"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"{}", b"\xff\xfe", body_of(event_id=""), body_of(event_id=7), body_of("x" * 999), body_of(notif_type="<b>"), b"[" * 100_000])  # fmt: skip
def test_a_signed_body_that_is_no_notification_is_refused(body: bytes) -> None:
    assert refused(headers_of(body), body) == "body"


def test_an_event_id_beside_the_signed_one_is_refused() -> None:
    body = body_of()
    assert refused(headers_of(body, **{"X-Vast-Event-Id": "another"}), body) == "body"


@pytest.mark.parametrize("secret", ["", [], [""], [SECRET, ""], None, [None]])
def test_no_secret_lets_nothing_in(secret: Any) -> None:
    body = body_of()
    with pytest.raises((InputError, TypeError)):
        verify_webhook(headers_of(body, secret=""), body, secret, now=NOW)


_TEXT = st.text([chr(code) for code in (*range(32, 127), *range(160, 256))], max_size=90)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=300) | st.just(body_of()),
    st.dictionaries(st.sampled_from(["X-Vast-Timestamp", "X-Vast-Signature-256", "x-vast-event-id", "Host"]), _TEXT | st.just(str(NOW))),
)  # fmt: skip
def test_nothing_that_is_not_signed_is_believed(body: bytes, headers: dict[str, str]) -> None:
    assert refused(headers, body) == "signature"


# --- the secrets --------------------------------------------------------------------------------------------------------


def test_secrets_are_private_kept_by_account_and_the_one_before_stays_good_for_an_hour(tmp_path: Path) -> None:
    file = tmp_path / "state" / "webhooks.json"
    mine, other = Secrets(file, "mine"), Secrets(file, "other")
    mine.keep(42, OLD_SECRET, NOW)
    other.keep(43, "theirs", NOW)
    mine.keep(42, SECRET, NOW)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert mine.good(NOW + 3599) == [SECRET, OLD_SECRET]
    assert mine.good(NOW + 3601) == [SECRET]
    assert (mine.known(), other.good(NOW)) == ({42}, ["theirs"])
    mine.forget(42)
    assert (mine.good(NOW), other.good(NOW)) == ([], ["theirs"])
    assert [path.name for path in file.parent.iterdir()] == ["webhooks.json"]


def test_a_file_of_secrets_that_cannot_be_read_is_a_state_error(tmp_path: Path) -> None:
    file = tmp_path / "webhooks.json"
    for text, kind in (("{", StateError), ("[]", StateError), ('{"schema": 99, "accounts": {}}', NewerStateError)):
        file.write_text(text)
        with pytest.raises(kind):
            Secrets(file, "mine").good(NOW)


# --- the endpoint -------------------------------------------------------------------------------------------------------


class Box:
    """An endpoint that listens, and the account behind it."""

    def __init__(self, folder: Path) -> None:
        self.client = Client(Settings(url="http://127.0.0.1:9", api_key="0123456789"), cache_folder=folder)
        self.secrets = Secrets(self.client.state_folder / "webhooks.json", self.client.account)
        self.queue = queue_of(self.client)
        self.now = [float(NOW)]
        self.open()

    def open(self) -> None:
        self._server = webhook.Server(webhook.Endpoint(self.client, clock=lambda: self.now[0]))
        self.url = self._server.start()

    def close(self) -> None:
        self._server.stop()
        self.queue.close()

    def ask(
        self, body: bytes = b"", headers: dict[str, str] | None = None, method: str = "POST", path: str = "/webhook"
    ) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.url).port or 0, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def deliver(self, body: bytes, **how: Any) -> int:
        status: int = self.ask(body, headers_of(body, **how))[0]
        return status

    @property
    def ids(self) -> list[str]:
        return [row["event_id"] for row in self.queue.rows()]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def open_box(box: Box) -> Box:
    box.secrets.keep(42, SECRET, NOW)
    return box


def test_without_a_secret_there_is_nothing_there(box: Box) -> None:
    assert box.deliver(body_of()) == 404
    assert [box.ask(method="GET", path=path)[0] for path in ("/", "/webhook", "/webhook/health", "/health")] == [
        404,
        404,
        404,
        404,
    ]
    box.secrets.keep(42, SECRET, NOW)
    assert box.deliver(body_of()) == 204


def test_an_accepted_delivery_is_on_disk_and_a_second_one_changes_nothing(open_box: Box) -> None:
    assert [open_box.deliver(body_of()) for _ in range(2)] == [204, 204]

    assert open_box.ids == ["7e9a"]
    assert open_box.queue.rows()[0]["source"] == "webhook"


def test_each_refusal_has_the_status_that_makes_vast_repeat_what_should_be(open_box: Box) -> None:
    body = body_of()
    assert open_box.deliver(body, secret="wrong") == 401
    assert open_box.deliver(body, at=NOW - 301) == 408
    assert open_box.deliver(b"{}") == 400
    assert open_box.deliver(body_of(message="x" * webhook.MOST_BYTES)) == 413
    status, _, headers = open_box.ask(method="GET")
    assert (status, headers["Allow"]) == (405, "POST")
    assert open_box.ask(body, headers_of(body), method="PUT")[0] == 405
    assert open_box.ask(body, headers_of(body), path="/elsewhere")[0] == 404
    assert open_box.ids == []


def test_a_long_body_that_does_not_say_so_is_refused(open_box: Box) -> None:
    body = body_of(message="x" * webhook.MOST_BYTES)
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(open_box.url).port or 0, timeout=20)
    pieces = (body[i : i + 9000] for i in range(0, len(body), 9000))
    connection.request("POST", "/webhook", pieces, headers_of(body), encode_chunked=True)

    assert connection.getresponse().status == 413
    connection.close()


def test_what_cannot_be_written_is_refused_so_that_vast_comes_again(open_box: Box) -> None:
    open_box.queue.path.write_bytes(b"no database at all, but long enough" * 99)

    assert open_box.deliver(body_of()) == 503
    status, told, _ = open_box.ask(method="GET", path="/webhook/health")
    assert (status, json.loads(told)["checks"]["queue"]["ok"]) == (503, False)
    open_box.queue.path.unlink()
    assert open_box.deliver(body_of()) == 204


def test_a_replay_does_nothing_even_after_a_restart(open_box: Box) -> None:
    body = body_of()
    assert open_box.deliver(body) == 204
    open_box.close()
    open_box.open()

    assert open_box.deliver(body) == 204
    assert open_box.ids == ["7e9a"]
    open_box.now[0] += 301
    assert open_box.deliver(body) == 408


def test_a_new_secret_is_good_at_once_and_the_one_before_for_what_is_on_its_way(open_box: Box) -> None:
    open_box.secrets.keep(42, "renewed", NOW)

    assert (open_box.deliver(body_of("1")), open_box.deliver(body_of("2"), secret="renewed")) == (204, 204)
    open_box.now[0] += 3601
    assert open_box.deliver(body_of("3"), at=NOW + 3601) == 401


def test_health_tells_version_depth_and_latency(open_box: Box) -> None:
    open_box.queue.subscribe("h", ["*"])
    open_box.deliver(body_of())

    status, told, headers = open_box.ask(method="GET", path="/health")

    health = json.loads(told)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert (health["ok"], health["version"], health["queue_depth"], health["last_sync"]) == (
        True,
        vastnb.__version__,
        1,
        None,
    )
    assert health["checks"]["queue"]["latency_ms"] >= 0
    assert SECRET not in told.decode()


def test_the_server_says_nothing_of_itself_nor_of_why_a_signature_is_wrong(open_box: Box) -> None:
    status, told, headers = open_box.ask(body_of(), headers_of(body_of(), secret="wrong"))

    assert (status, json.loads(told)) == (401, {"success": False, "msg": "the signature is missing or wrong"})
    assert "Server" not in headers


@settings(
    max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    body=st.binary(max_size=500) | st.just(body_of()),
    headers=st.dictionaries(
        st.sampled_from(["X-Vast-Timestamp", "X-Vast-Signature-256", "X-Vast-Event-Id", "Content-Type", "Cookie", "Transfer-Encoding-X"]),
        _TEXT | st.just(str(NOW)),
    ),
    method=st.sampled_from(["POST", "POST", "GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"]),
    path=st.sampled_from(["/webhook", "/webhook/", "/webhook?x=1", "/health", "/webhook/health", "/", "//webhook", "/webhook/../x"]),
)  # fmt: skip
def test_whatever_is_sent_nothing_breaks_and_nothing_gets_in(
    open_box: Box, body: bytes, headers: dict[str, str], method: str, path: str
) -> None:
    status = open_box.ask(
        body, {name: value.encode("latin-1").decode("latin-1") for name, value in headers.items()}, method, path
    )[0]

    assert 200 <= status < 500
    assert status != 204
    assert open_box.ids == []


def test_bytes_that_are_no_http_break_nothing(open_box: Box) -> None:
    for junk in (
        b"\0" * 99,
        b"POST /webhook HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhook HTTP/9\r\n\r\n",
        b"GET " + b"x" * 70_000,
    ):
        with socket.create_connection(("127.0.0.1", urlsplit(open_box.url).port or 0), 20) as line:
            line.sendall(junk)
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(1000)
        assert b" 5" not in answer[:13]
    assert open_box.deliver(body_of()) == 204


# --- a storm ------------------------------------------------------------------------------------------------------------

SERVER = """
import sys
from pathlib import Path
from vastnb import Client, Settings
from vastnb.api.webhook import serve
client = Client(Settings(url="http://127.0.0.1:9", api_key="0123456789"), cache_folder=Path(sys.argv[1]))
serve(client, address="127.0.0.1", port=int(sys.argv[2]), on_ready=lambda url: print(url, flush=True))
"""


class Storm:
    """Deliveries at full speed, 30 % doubled and 10 % wrongly signed, while the endpoint is killed at random points."""

    def __init__(self, folder: Path, count: int, seed: int) -> None:
        self.folder, self.lock = folder, threading.Lock()
        self.accepted, self.told = Counter[str](), Counter[str]()
        self.ids = [f"event-{number}" for number in range(count)]
        self.chance = chance = random.Random(seed)
        self.jobs = [(name, SECRET) for name in (*self.ids, *chance.sample(self.ids, count * 3 // 10))]
        self.jobs += [(f"forged-{number}", "wrong") for number in range(count // 10)]
        chance.shuffle(self.jobs)
        self.waiting = list(self.jobs)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def serve(self) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SERVER, str(self.folder), str(self.port)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "/webhook" in process.stdout.readline()
        process.stdout.close()
        return process

    def handle(self, event: Any) -> None:
        with self.lock:
            self.told[event.id] += 1

    def work(self) -> None:
        while True:
            with self.lock:
                if not self.waiting:
                    return
                name, secret = self.waiting.pop()
            self.send(name, secret)

    def send(self, name: str, secret: str) -> None:
        body = body_of(name)
        status = 0
        while status not in (204, 401):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request("POST", "/webhook", body, headers_of(body, secret=secret, at=int(time.time())))
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException):
                continue  # it was killed: Vast comes again
            finally:
                connection.close()
        with self.lock:
            self.accepted[name] += status == 204

    def run(self, kills: int) -> None:
        running = self.serve()
        workers = [threading.Thread(target=self.work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for left in sorted(self.chance.sample(range(len(self.jobs)), kills), reverse=True):
            while len(self.waiting) > left:
                workers[0].join(0.01)
            running.kill()
            running.wait()
            running = self.serve()
        for worker in workers:
            worker.join()
        running.terminate()
        assert running.wait(20) == 0


def weather(folder: Path, count: int, kills: int) -> None:
    storm = Storm(folder, count, seed=count)
    client = Client(Settings(url="http://127.0.0.1:9", api_key="0123456789"), cache_folder=folder)
    Secrets(client.state_folder / "webhooks.json", client.account).keep(42, SECRET, time.time())
    with Bus(queue_of(client), poll_s=0.05) as bus:
        bus.on(["*"], storm.handle, name="count")

        storm.run(kills)

        assert bus.wait(120)
        written = [row["event_id"] for row in bus.queue.rows(limit=count * 2)]
    assert {name for name, times in storm.accepted.items() if times} == set(storm.ids)
    assert sorted(written) == sorted(storm.ids)
    assert storm.told == dict.fromkeys(storm.ids, 1)


def test_300_deliveries_through_two_kills_are_each_handled_and_counted_once(tmp_path: Path) -> None:
    weather(tmp_path / "state", 300, kills=2)


@pytest.mark.campaign
def test_10000_deliveries_through_twenty_kills_are_each_handled_and_counted_once(tmp_path: Path) -> None:
    weather(tmp_path / "state", 10_000, kills=20)


def test_answers_come_within_50_ms_whatever_handlers_do(open_box: Box) -> None:
    with Bus(queue_of(open_box.client), poll_s=0.05) as bus:
        for number in range(3):
            bus.on(["*"], lambda _: threading.Event().wait(0.05), name=f"slow {number}")
        rounds = [p99(open_box, start) for start in (0, 100, 200)]
    assert min(rounds) < 0.05, rounds


def p99(box: Box, start: int) -> float:
    times = []
    for number in range(start, start + 100):
        began = time.perf_counter()
        assert box.deliver(body_of(f"event-{number}")) == 204
        times.append(time.perf_counter() - began)
    return statistics.quantiles(times, n=100)[98]


# --- next to the notebook -----------------------------------------------------------------------------------------------


def test_jupyter_that_was_told_to_takes_deliveries_once_a_secret_is_there(
    private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jupyter_server")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(private_home / "jupyter"))
    others = dict.fromkeys(
        ("jupyterlab", "jupyterlab_jupytext", "jupyter_lsp", "jupyter_server_terminals", "notebook", "notebook_shim"),
        False,
    )
    (private_home / "jupyter").mkdir()
    config = {"ServerApp": {"jpserver_extensions": others}}
    (private_home / "jupyter/jupyter_server_config.json").write_text(json.dumps(config))
    monkeypatch.setenv("JUPYTER_SERVER_ALLOW_UNAUTHENTICATED_ACCESS", "no")
    monkeypatch.setenv("VAST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("VAST_API_KEY", "0123456789")
    client = Client(vastnb.Settings(url="http://127.0.0.1:9", api_key="0123456789"))
    secrets = Secrets(client.state_folder / "webhooks.json", client.account)

    file = webhook.enable(True)
    with Jupyter(private_home) as ask:
        assert ask(body_of()) == 404
        secrets.keep(42, SECRET, time.time())
        assert ask(body_of()) == 204
        assert ask(body_of(), secret="wrong") == 401
    queue = queue_of(client)
    assert [row["event_id"] for row in queue.rows()] == ["7e9a"]
    queue.close()

    assert webhook.enable(False) == file
    assert not file.exists()


class Jupyter:
    """A Jupyter Server of the test's own, and a way to deliver to it."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> Callable[..., int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        words = [sys.executable, "-m", "jupyter_server", "--no-browser", f"--port={self._port}", "--ip=127.0.0.1", "--allow-root",
                 f"--ServerApp.root_dir={self._home}", "--IdentityProvider.token=x", "--ServerApp.base_url=/user/me/"]  # fmt: skip
        self._process = subprocess.Popen(words, stderr=subprocess.PIPE, env=dict(os.environ), text=True)
        assert self._process.stderr is not None
        said = []
        while not said or "is running at" not in said[-1]:
            said.append(self._process.stderr.readline())
            assert said[-1], said
        while not self._listens():  # it says so a moment too early
            assert self._process.poll() is None
        self._drain = threading.Thread(target=self._process.stderr.read)
        self._drain.start()
        return self._ask

    def _listens(self) -> bool:
        with socket.socket() as line:
            return line.connect_ex(("127.0.0.1", self._port)) == 0

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _ask(self, body: bytes, secret: str = SECRET) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(
                "POST", "/user/me/vastnb/webhook", body, headers_of(body, secret=secret, at=int(time.time()))
            )
            return connection.getresponse().status
        finally:
            connection.close()


def test_installing_alone_enables_nothing() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

    assert "jupyter" not in json.dumps(project["tool"]["hatch"]["build"])
    assert set(project["project"]["entry-points"]) == {"pytest11"}


# --- outgoing -----------------------------------------------------------------------------------------------------------


class Sink:
    """Somebody else's server, that keeps what it is sent."""

    def __init__(self) -> None:
        import http.server

        sink = self
        self.seen: list[tuple[dict[str, str], Any]] = []
        self.status = 200

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.seen.append((dict(self.headers), json.loads(body)))
                self.send_response(sink.status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/T0/SECRET"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


def test_post_tells_somebody_else_without_any_key(sink: Sink) -> None:
    event = event_of(verify_webhook(headers_of(body_of()), body_of(), SECRET, now=NOW))

    post(sink.url)(event)
    post(sink.url, form="slack")(event)
    post(sink.url, form="discord")(event)

    whole, slack, discord = (content for _, content in sink.seen)
    assert (whole["id"], whole["kind"], whole["subject"]) == ("7e9a", "instance.outbid", "12345")
    assert slack == {"text": "instance.outbid (machine 12345): Instance 12345 was outbid"}
    assert discord["allowed_mentions"] == {"parse": []}
    assert all("authorization" not in map(str.lower, headers) for headers, _ in sink.seen)


@pytest.mark.parametrize(("status", "again"), [(302, False), (404, False), (429, True), (500, True)])
def test_a_refusal_names_the_host_and_not_the_secret_address(sink: Sink, status: int, again: bool) -> None:
    sink.status = status
    event = event_of(verify_webhook(headers_of(body_of()), body_of(), SECRET, now=NOW))

    with pytest.raises(vastnb.errors.ApiError, match=f"POST to 127.0.0.1 was answered with {status}") as raised:
        post(sink.url)(event)

    assert (raised.value.retryable, len(sink.seen)) == (again, 1)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "ftp://example.com", "hooks", "https://", "https://[::1", "file:///etc/passwd"]
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InputError, match="expected an address like"):
        post(url)


def test_two_addresses_are_two_handlers() -> None:
    names = {post(f"https://hooks.slack.com/services/{number}").__qualname__ for number in range(3)}

    assert len(names) == 3
    assert not any("services" in name for name in names)


# --- the words ----------------------------------------------------------------------------------------------------------


def test_webhooks_in_a_notebook_from_serving_to_the_event(ip: Any) -> None:
    ip.run_cell("%vast use sandbox start=2026-06-01 offers=50").raise_error()
    url = re.search(r"http://\S+/webhook", str(ip.run_line_magic("vast", "webhook serve")))
    assert url is not None

    made = str(ip.run_line_magic("vast", f"webhook create {url[0]} --name mine"))
    number = re.search(r"Webhook (\d+)", made)
    assert number is not None
    assert ip.run_line_magic("vast", "webhook").webhook_id.tolist() == [int(number[1])]
    assert "client:outbid" in ip.run_line_magic("vast", "webhook types").key.tolist()
    assert str(ip.run_line_magic("vast", f"webhook rotate {number[1]}")).startswith("It has a new secret")
    assert str(ip.run_line_magic("vast", f"webhook test {number[1]}")) == "Test webhook delivered"
    assert session.current().sandbox.wait_for_deliveries()
    frame = ip.run_line_magic("vast", "events")
    assert (frame.kind.tolist(), frame.source.tolist()) == (["webhook.test"], ["webhook"])
    assert str(ip.run_line_magic("vast", f"webhook delete {number[1]}")) == "It is gone."
    assert ip.run_line_magic("vast", "webhook list").empty
    webhook.stop_here()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("webhook tset", "no such word"),
        ("webhook test", "needs the webhook's number"),
        ("webhook test x", "expected a number, got x"),
        ("webhook create", "needs the public https address"),
        ("webhook keep 42", "standard input"),
        ("webhook enable", "endpoint of its own"),
    ],
)
def test_words_that_cannot_be_right_say_what_would_be(ip: Any, words: str, said: str) -> None:
    ip.run_cell("%vast use sandbox start=2026-06-01 offers=50").raise_error()

    with pytest.raises(vastnb.errors.VastError, match=said):
        run(words.split(), "notebook")


def test_serving_in_a_shell_with_a_secret_from_standard_input(private_home: Path) -> None:
    env = {**os.environ, "VAST_URL": "http://127.0.0.1:9", "VAST_API_KEY": "0123456789"}
    words = [sys.executable, "-m", "vastnb", "webhook"]
    kept = subprocess.run(
        [*words, "keep", "42"], input=f"{SECRET}\n", capture_output=True, text=True, env=env, check=True
    )
    assert kept.stdout == "It is kept on this computer.\n"
    with subprocess.Popen([*words, "serve", "--port", "0"], stdout=subprocess.PIPE, env=env, text=True) as shell:
        assert shell.stdout is not None
        url = re.search(r"http://127.0.0.1:(\d+)/webhook", shell.stdout.readline())
        assert url is not None
        body = body_of()
        request = urllib.request.Request(url[0], body, headers_of(body, at=int(time.time())))
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 204
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(20) == 0


def test_a_port_that_is_taken_is_a_config_error(open_box: Box) -> None:
    port = urlsplit(open_box.url).port or 0

    with pytest.raises(ConfigError, match="cannot listen on"):
        webhook.Server(webhook.Endpoint(open_box.client), port=port).start()
