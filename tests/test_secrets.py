"""The API key is in nothing that stays or is shown, and goes nowhere but to the service it belongs to."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import test_cache
from test_cache import SIGNING_KEY, RedisServer

from vastnb import errors
from vastnb.api.cli import main
from vastnb.infra._httpx import httpx
from vastnb.infra.config import Settings, config_file
from vastnb.sandbox import Sandbox
from vastnb.services.catalogue import SHOWN, show
from vastnb.services.offers import gpus, search
from vastnb.services.session import config_table, current, use
from vastnb.services.usage import cache_info, calls
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query

_shared_redis, redis_server = test_cache._shared_redis, test_cache.redis_server
KEY = "vnb+never/shown=recognisable~QZX7"
"""Unlike what `monitoring.redacted` looks for, so that nothing is found clean because it was cleaned."""
ENCODED = [base64.b64encode(b"Bearer " + KEY.encode())[12:-4].decode(), base64.b64encode(KEY.encode())[:-4].decode(),
           KEY.encode().hex(), "recognisable~QZX7", "never/shown", "never%2Fshown"]  # fmt: skip
FAULTS = ("429-text", "429-quota", "500", "502-html", "auth-401", "auth-403", "auth-404", "cut-before", "cut-after",
          "cut-body", "hang", "garbage", "html-200", "truncated-json", "success-false")  # fmt: skip


def shows(text: str | bytes) -> bool:
    """Whether the key is in `text`, as it is or in another writing."""
    words = text if isinstance(text, str) else text.decode("latin-1")
    return any(form in words for form in ENCODED)


def files_that_show(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path.relative_to(folder)) for path in files if shows(path.read_bytes()) or shows(str(path))]


def words_of(value: Any) -> list[str]:
    """Every way in which a notebook or a log may write down `value`."""
    return [repr(value), str(value), f"{value}", json.dumps(value, default=repr)]


@pytest.fixture(scope="module")
def _keyed_sandbox() -> Iterator[Sandbox]:
    with Sandbox(
        offers=300, seed=3, start="2026-06-01", api_key=KEY, ssh_keys=["ssh-ed25519 AAAAC3Nz me@here"]
    ) as made:
        yield made


@pytest.fixture
def keyed(_keyed_sandbox: Sandbox) -> Iterator[Sandbox]:
    """A sandbox whose one account has the recognisable key."""
    _keyed_sandbox.faults.clear()
    _keyed_sandbox.log.clear()
    yield _keyed_sandbox
    _keyed_sandbox.faults.clear()


@pytest.fixture
def record_all(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Everything that any logger says from now on, at DEBUG; each record with all that it holds."""
    from vastnb.infra import _httpx, cache, calls, monitoring, pacing  # noqa: F401  # their loggers exist from here on

    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "requests_cache", "urllib3", "redis",
                 "asyncio", "vastnb"):  # fmt: skip
        caplog.set_level(logging.DEBUG, logger=name)
    return lambda: [f"{record.getMessage()} {record.__dict__!r} {record.exc_text}" for record in caplog.records]


def ask_everything(client: Client) -> list[Any]:
    """A day's work: what it gave."""
    shown = [show(what, client=client) for what in SHOWN]
    found = [search("num_gpus=2", limit=5, client=client), search("num_gpus=2", limit=5, client=client)]
    return [*shown, *found, gpus("num_gpus=8", client=client), client.user(), client.gpu_names(), calls(client=client),
            calls(summary=True, client=client), cache_info(client=client)]  # fmt: skip


# ---------------------------------------------------------------- what stays


def kept_entries(client: Client) -> list[str]:
    """Every entry of every store of `client`, unpacked, with whatever hangs on it."""
    found = []
    for store in client.stores.values():
        responses = store.backend.responses
        for key in list(responses):
            kept = responses[key]
            found += [key, repr(vars(kept)), repr(vars(kept.request)), repr(kept.headers), str(kept.content)]
    return found


@pytest.mark.parametrize("backend", ["sqlite", "memory", "redis", "off"])
def test_no_file_entry_log_or_repr_holds_the_key(
    backend: str,
    keyed: Sandbox,
    make_client: Callable[..., Client],
    record_all: Callable[[], list[str]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    server: RedisServer | None = request.getfixturevalue("redis_server") if backend == "redis" else None
    shared = {"redis_url": server.url, "signing_key": SIGNING_KEY} if server else {}
    client = make_client(keyed, cache={"backend": backend, **shared})

    given = ask_everything(client)
    entries = kept_entries(client)

    seen = [word for value in given for word in words_of(value)]
    seen += [repr(value.attrs) for value in given if hasattr(value, "attrs")]
    parts = [
        client,
        client.settings,
        client.kept,
        client.log.all(),
        client.stores,
        client._pacer,
        *(client._opened or ()),
    ]
    seen += [word for part in parts for word in (repr(part), str(part))]
    layer: Any = client._opened[1] if client._opened else None
    while layer is not None:
        seen.append(repr(layer))
        layer = getattr(layer, "_inner", None)
    assert len(entries) > 30 or (backend, entries) == ("off", [])
    assert [text[:200] for text in (*seen, *entries, *record_all()) if shows(text)] == []
    if server is not None:
        assert [key for key, value in server.contents().items() if shows(key) or shows(value)] == []
        assert len(server.contents()) > 5
    client.close()
    assert backend != "sqlite" or list(tmp_path.rglob("http.sqlite"))
    assert backend in ("memory", "off") or list(tmp_path.rglob("*.frame"))
    assert (files_that_show(tmp_path) if backend != "off" else []) == []


def test_no_public_object_shows_the_key(keyed: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_URL", keyed.url)
    monkeypatch.setenv("VAST_API_KEY", KEY)
    there = current()
    page = there.client.page(parse_query("num_gpus=1", limit=3))
    settings = there.settings

    seen = [word for thing in (there, there.client, settings, keyed, page, page.frame) for word in words_of(thing)]
    seen += [repr(keyed.info()), repr(keyed.log), repr(keyed.books), repr(vars(keyed.books)), repr(vars(there))]
    seen += [repr(settings.model_dump()), settings.model_dump_json(), repr(settings.sources), repr(dict(settings))]
    seen += [config_table().to_csv(), repr(config_table().attrs), config_table().to_html(), repr(vars(there.client))]
    seen += [str(pickle.dumps(page.frame)), repr(page.answer), there.client.account, there.client.account_name]
    assert settings.key == KEY
    assert [text[:200] for text in seen if shows(text)] == []


def test_a_sandbox_of_this_kernel_keeps_its_key_to_itself() -> None:
    there = use("sandbox", seed=9, offers=100)
    search("num_gpus=1")

    key = there.sandbox.api_key
    seen = [
        repr(there),
        repr(there.client),
        repr(there.sandbox),
        config_table().to_csv(),
        repr(search("num_gpus=1").attrs),
    ]
    folder = there.client._folder()

    assert [text for text in seen if key in text] == []
    assert [path for path in folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()] == []


def test_no_file_of_settings_that_we_write_holds_the_key(
    keyed: Sandbox, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASTNB_URL", keyed.url)
    monkeypatch.setenv("VASTNB_API_KEY", KEY)
    (private_home / "vastnb.toml").write_text("[default]\nretries = 1\n")

    statuses = [main(words) for words in (["init", "work"], ["config", "--trust"], ["config"], ["show", "user"])]

    assert statuses == [0, 0, 0, 0]
    assert {"config.toml", "first.ipynb", "trusted.json"} <= {path.name for path in private_home.rglob("*")}
    assert files_that_show(private_home) == []


# ---------------------------------------------------------------- what goes wrong


def chain(error: BaseException) -> list[BaseException]:
    """The error, its causes, its contexts and its originals, each once."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        link = waiting.pop()
        if isinstance(link, BaseException) and link not in found:
            found.append(link)
            waiting += [link.__cause__, link.__context__, getattr(link, "original", None)]
    return found


def headers_of(values: Iterable[Any]) -> list[str]:
    """The headers of the requests and answers among `values`: their repr leaves them out, a debugger shows them."""
    return [repr(value.headers.raw) for value in values if isinstance(value, httpx.Request | httpx.Response)]


def told_by(error: BaseException, *, requests: bool = True) -> list[str]:
    """All that a report about `error` could show: messages, attributes, tracebacks, and the variables of their frames."""
    seen = []
    for link in chain(error):
        seen += [str(link), repr(link), repr(vars(link)), *traceback.format_exception(link)]
        # The first frame is the test itself, which knows the key.
        frames = [frame for frame, _ in traceback.walk_tb(link.__traceback__) if frame.f_code.co_filename != __file__]
        seen += [f"{name} = {value!r}" for frame in frames for name, value in frame.f_locals.items()]
        if requests:
            seen += headers_of([*vars(link).values(), *(each for frame in frames for each in frame.f_locals.values())])
        notes = traceback.TracebackException.from_exception(link, capture_locals=True).stack
        seen += [repr(each.locals) for each in notes if each.filename != __file__]
    return seen


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_holds_the_key(
    fault: str, keyed: Sandbox, make_client: Callable[..., Client], record_all: Callable[[], list[str]]
) -> None:
    client = make_client(keyed, retries=0, timeout_s=0.3, cache={"backend": "memory"}, pacing="off")
    keyed.faults.add(fault, times=2)
    errors_seen = []
    for ask in (lambda: search("num_gpus=1", client=client), client.user):
        with pytest.raises(errors.VastError) as raised:
            ask()
        errors_seen.append(raised.value)

    seen = [text for error in errors_seen for text in told_by(error)]
    assert len(seen) > 20
    assert [text[:300] for text in (*seen, *record_all()) if shows(text)] == []


def nobody_listens() -> str:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.mark.parametrize(
    "act",
    [
        lambda url: Client(Settings(url=nobody_listens(), api_key=KEY, retries=0, pacing="off")).user(),
        lambda url: Client(Settings(url="https://127.0.0.1:" + url.rpartition(":")[2], api_key=KEY, retries=0,
                                    timeout_s=0.3)).user(),
        lambda url: Settings(url=url, api_key=KEY, timeout_s=-1),
        lambda url: Settings(url="nonsense", api_key=KEY),
        lambda url: Settings(url=url, api_key=KEY + " "),
        lambda url: use(url=url, api_key=KEY + "\n"),
        lambda url: use(url=url, api_key=KEY, timout_s=3),
        lambda url: use(url=url, api_key=KEY, cache={"api_key": KEY}),
        lambda url: use(url=url, api_key=[KEY]),
        lambda url: use(url=url + "/?api_key=" + KEY),
        lambda url: use(url=f"http://{KEY}@127.0.0.1:1"),
        lambda url: search("nmu_gpus=1", client=Client(Settings(url=url, api_key=KEY))),
    ],
)  # fmt: skip
def test_no_error_before_an_answer_holds_the_key(act: Callable[[str], object], keyed: Sandbox) -> None:
    with pytest.raises((errors.VastError, ValueError)) as raised:
        act(keyed.url)

    shown = [text for link in chain(raised.value) for text in (str(link), repr(link), repr(getattr(link, "hint", "")))]
    shown += getattr(raised.value, "_render_traceback_", list)()
    assert [text[:300] for text in shown if shows(text)] == []


def test_ctrl_c_while_an_answer_is_waited_for_shows_no_key(keyed: Sandbox, make_client: Callable[..., Client]) -> None:
    client = make_client(keyed, timeout_s=20, retries=0)
    keyed.faults.add("hang")

    main = threading.get_ident()

    def is_waiting() -> bool:
        """Whether the request is on its way, and its answer is waited for."""
        frame = sys._current_frames()[main]
        names = [each.f_code.co_name for each, _ in traceback.walk_stack(frame)]
        return "_receive_event" in names and keyed.requests("users/current") > 0

    def interrupt() -> None:
        while not is_waiting():
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt) as raised:
        client.user()

    # What was under way has its headers still; nothing that is shown names them.
    assert [text[:300] for text in told_by(raised.value, requests=False) if shows(text)] == []


# ---------------------------------------------------------------- a notebook

CELLS: list[tuple[str, str]] = [
    ("import logging\nlogging.basicConfig(level=logging.DEBUG, force=True)\n%load_ext vastnb", ""),
    ("%vast config", ""),
    ("%vast use production", ""),
    ("%vast config", ""),
    ("df = %vast search gpu_name=RTX_4090 num_gpus>=2\ndf", ""),
    ("df.attrs", ""),
    *((f"%vast show {what}", "") for what in SHOWN),
    ("%vast calls", ""),
    ("%vast calls --all", ""),
    ("%vast cache", ""),
    ("from vastnb.services.session import current\nprint(current().settings, vars(current().client))\ncurrent()", ""),
    ("%vast search nmu_gpus=8", ""),
    ("%vast saerch num_gpus=8", ""),
    ("%vast use production timout_s=3", ""),
    ("%vast sandbox --step 2h", ""),
    *(("%vast search num_gpus=8 --refresh", fault) for fault in FAULTS),
    ("%tb", ""),
    ("%xmode Verbose\n%vast show user --refresh", "auth-404"),
    ("%tb", ""),
    ("%xmode Context\n%vast search num_gpus=4", "cut-before"),
    ("%tb", ""),
    ("%vast cache --clear", ""),
    ("print('the end')", ""),
]  # fmt: skip


def test_no_output_of_a_notebook_holds_the_key(
    keyed: Sandbox, private_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    for name, value in {"VASTNB_URL": keyed.url, "VASTNB_API_KEY": KEY, "VASTNB_RETRIES": "0", "VASTNB_TIMEOUT_S": "1",
                        "PYDEVD_DISABLE_FILE_VALIDATION": "1"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    made: Any = nbformat.v4
    notebook = made.new_notebook(cells=[made.new_code_cell(cell) for cell, _ in CELLS])

    def before(cell: Any, cell_index: int) -> None:
        keyed.faults.clear()
        if CELLS[cell_index][1]:
            keyed.faults.add(CELLS[cell_index][1])

    NotebookClient(
        notebook, timeout=60, allow_errors=True, on_cell_execute=before,
        extra_arguments=["--KernelManager.transport=ipc"],
    ).execute()  # fmt: skip

    outputs = [(cell.source, output) for cell in notebook.cells for output in cell.outputs]
    failed = [source for source, output in outputs if output.output_type == "error" and source != "%tb"]
    assert notebook.cells[-1].outputs[0].text == "the end\n"
    assert len(failed) == 4 + len(FAULTS) + 2, failed
    assert "DEBUG:vastnb" in json.dumps(notebook)
    assert [source for source, output in outputs if shows(json.dumps(output, ensure_ascii=False))] == []
    assert files_that_show(tmp_path) == []
    assert any(path.name == "http.sqlite" for path in private_home.rglob("*"))


# ---------------------------------------------------------------- where it goes


class Stranger:
    """A server that is not the key's, and writes down all that it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            location = ""

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                told.append(f"{self.command} {self.path} {self.headers} {body!r}")
                self.send_response(307 if self.location else 200)
                if self.location:
                    self.send_header("Location", self.location + self.path)
                self.send_header("Content-Length", "31")
                self.end_headers()
                self.wfile.write(b'{"offers": [], "gpu_names": []}')

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.handler = Handler
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.close()


def key_in_the_environment(name: str) -> Callable[[Path, pytest.MonkeyPatch], None]:
    return lambda home, patch: patch.setenv(name, KEY)


def key_in_a_file(*names: str) -> Callable[[Path, pytest.MonkeyPatch], None]:
    def put(home: Path, patch: pytest.MonkeyPatch) -> None:
        file = home.joinpath(*names)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(KEY)

    return put


def key_in_netrc(home: Path, patch: pytest.MonkeyPatch) -> None:
    (home / ".netrc").write_text(f"default login me password {KEY}\n")
    (home / ".netrc").chmod(0o600)


HOLDERS = {
    "VAST_API_KEY": key_in_the_environment("VAST_API_KEY"),
    "VASTNB_API_KEY": key_in_the_environment("VASTNB_API_KEY"),
    "another service's": key_in_the_environment("OPENAI_API_KEY"),
    "a variable without a meaning": key_in_the_environment("API_KEY"),
    "the official file": key_in_a_file("config", "vastai", "vast_api_key"),
    "the old official file": key_in_a_file(".vast_api_key"),
    "netrc": key_in_netrc,
}


@pytest.mark.parametrize("way", ["profile", "argument"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_key_that_is_not_the_services_is_not_sent_to_it(
    holder: str, way: str, stranger: Stranger, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HOLDERS[holder](private_home, monkeypatch)
    file = config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[profiles.elsewhere]\nurl = "{stranger.url}"\nretries = 0\n')

    there = use("elsewhere") if way == "profile" else use(url=stranger.url)
    search("num_gpus=1")
    there.client.gpu_names()
    with pytest.raises(errors.AuthError):
        there.client.user()

    assert there.settings.api_key is None
    assert len(stranger.told) >= 1
    assert [text for text in stranger.told if shows(text) or "authorization" in text.lower()] == []
    assert not shows(config_table().to_csv())


def test_the_key_of_the_environment_does_not_go_to_the_practice_market(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", KEY)
    there = use("sandbox", offers=100, seed=11)
    search("num_gpus=1")
    show("user")

    digests = {record.key_digest for record in there.sandbox.log}
    assert there.settings.key == there.sandbox.api_key != KEY
    assert len(digests) == 1
    with Sandbox(api_key=KEY, offers=50) as other, Client(Settings(url=other.url, api_key=KEY)) as client:
        client.user()
        assert digests.isdisjoint(record.key_digest for record in other.log)


def test_a_file_that_came_with_a_folder_does_not_lead_the_key_away(
    stranger: Stranger, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAST_API_KEY", KEY)
    (private_home / "vastnb.toml").write_text(
        f'profile = "production"\n[profiles.production]\nurl = "{stranger.url}"\n'
    )

    with pytest.raises(errors.ConfigError) as raised:
        search("num_gpus=1")

    assert stranger.told == []
    assert [text for text in told_by(raised.value) if shows(text)] == []


def test_a_redirect_does_not_lead_the_key_away(make_client: Callable[..., Client], stranger: Stranger) -> None:
    service = Stranger()
    service.handler.location = stranger.url
    client = make_client(service.url, api_key=KEY, retries=0)

    with pytest.raises(errors.VastError) as raised:
        client.user()

    service.close()
    assert any(KEY in text for text in service.told)
    assert stranger.told == []
    assert [text for text in told_by(raised.value) if shows(text)] == []


def test_a_service_that_repeats_the_key_does_not_get_it_shown(
    make_client: Callable[..., Client], record_all: Callable[[], list[str]], tmp_path: Path
) -> None:
    service = Stranger()
    client = make_client(service.url, api_key=KEY, retries=0)
    service.handler.do_GET = repeats_what_it_was_told  # type: ignore[method-assign,assignment]

    with pytest.raises(errors.AuthError) as raised:
        client.user()

    service.close()
    assert "no such key: Bearer ***" in str(raised.value)
    shown = [*map(str, chain(raised.value)), *traceback.format_exception(raised.value), *record_all()]
    assert [text for text in shown if shows(text)] == []


def repeats_what_it_was_told(handler: BaseHTTPRequestHandler) -> None:
    body = json.dumps({"error": "auth_error", "msg": f"no such key: {handler.headers['authorization']}"}).encode()
    handler.send_response(401)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
