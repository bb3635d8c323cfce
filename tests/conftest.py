"""What all tests share: no test sees the user's home, keys or settings, and none reaches past this computer."""

from __future__ import annotations

import atexit
import builtins
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from remote_ground import Ground, ground
from renting import Yard, yard

from vastnb.infra.config import Settings
from vastnb.sandbox import Sandbox
from vastnb.services.instances.fleet import Fleet
from vastnb.vast.client import Client

settings.register_profile("vastnb", deadline=None)  # how long one example takes says more of the computer than of us
settings.load_profile("vastnb")

START = "2026-06-01T09:00:00+00:00"


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, settings and cache folder of the test's own, and a working folder that is empty."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        ours = name.startswith(("VAST", "XDG_")) and not name.startswith("VASTNB_TEST_")
        if ours or name.upper() in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.chdir(home)
    return home


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but this computer is an error of the test."""
    connect = socket.socket.connect

    def guarded(sock: socket.socket, address: Any) -> Any:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    """The default session is the one global state: each test begins without one."""
    from vastnb.services import session

    yield
    if session._current is not None:
        session._current.client.close()
        session._current = None


@pytest.fixture(scope="session")
def _shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(offers=600, seed=7, start=START, api_key="0123456789abcdef-SECRET-KEY-OF-THE-TESTS") as running:
        yield running


@pytest.fixture
def sandbox(_shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    """A market of 600 offers that stands still at `START`; shared, so tests that step its clock make their own."""
    _shared_sandbox.faults.clear()
    _shared_sandbox.log.clear()
    yield _shared_sandbox
    _shared_sandbox.faults.clear()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Yard]:
    """A sandbox of the test's own, whose clock may be stepped, to rent in."""
    with yard(tmp_path) as made:
        yield made


@pytest.fixture
def kernel(there: Yard) -> Fleet:
    """A kernel that rents in it."""
    return there.kernel()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A machine that really runs, shared by the tests of a file: each uses files of its own on it."""
    with ground(tmp_path_factory.mktemp("ground")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Ground]:
    """A machine that really runs, of the test's own: to be stopped or spoiled."""
    with ground(tmp_path) as made:
        yield made


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """``make_client(sandbox, timeout_s=1, ...)``: clients that are closed at the end, with one cache folder."""
    made: list[Client] = []

    def make(service: Sandbox | str, *, api_key: str | None = "", on_wait: Any = None, **settings: Any) -> Client:
        url = service if isinstance(service, str) else service.url
        key = (None if isinstance(service, str) else service.api_key) if api_key == "" else api_key
        client = Client(Settings(url=url, api_key=key, **settings), on_wait=on_wait, cache_folder=tmp_path / "cache")
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., Client], sandbox: Sandbox) -> Client:
    """A client of the shared sandbox that repeats nothing, so that a test sees each failure."""
    return make_client(sandbox, retries=0)


@pytest.fixture
def ip(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real IPython shell with vastnb loaded."""
    monkeypatch.delattr(builtins, "_", raising=False)  # doctests leave one, and IPython then sets none of its own
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "vastnb")
    yield shell
    shell.run_line_magic("unload_ext", "vastnb")
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture(scope="session")
def shared_records() -> Path:
    """The recorded answers of the real service, where they are present."""
    named = os.environ.get("VASTNB_TEST_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    if not (folder / "real_data").is_dir():
        pytest.skip("the recorded answers are not on this machine (VASTNB_TEST_SHARED or ../shared)")
    return folder
