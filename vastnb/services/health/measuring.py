"""What is measured for a report: the way to the service, what it answers, what is kept here. Judges nothing.

At most five requests, each sent once, in the pace that all kernels share: names of GPUs, one offer, the account, its machines (one more for
each 25 of them) and its keys; the last three only where it was said that the account is meant. Beside them three connections and a TLS
handshake, which ask nothing.
"""

from __future__ import annotations

import importlib.metadata
import platform
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from vastnb.errors import StateError
from vastnb.infra import probes
from vastnb.infra._httpx import proxy_for
from vastnb.infra.cache import Entry, Store, StoreInfo, tag_prefix
from vastnb.infra.config import Settings
from vastnb.infra.monitoring import CallRecord
from vastnb.services.checks import PATIENCE, Tried, together, tried
from vastnb.services.events import Queue, queue_of
from vastnb.services.journal import COSTING, Journal
from vastnb.services.sync import last_look
from vastnb.services.sync.lease import held
from vastnb.vast.client import Client, Told
from vastnb.vast.client.machines import Machines
from vastnb.vast.query import parse_query

__all__ = ["ASKED", "Events", "Kept", "Room", "Seen", "look", "versions"]

ASKED = ("gpu names", "search offers", "user", "instances", "api keys")
"""What is asked of the service; the last three of the account."""
_CONNECTIONS = 3
_PACKAGES = ("ipython", "ipykernel", "anywidget", "ipywidgets", "jupyterlab_widgets", "jupyterlab")
_KEEP_S = 60.0


class Room(NamedTuple):
    """Room in a folder."""

    path: Path
    free_gb: float


class Kept(NamedTuple):
    """What an entry written into the cache came back as, and what the cache holds; it was opened before it was timed."""

    info: StoreInfo
    returned: bool
    ms: float


class Events(NamedTuple):
    """How the record of events stands, and whoever fills it by looking."""

    depth: int
    last_look: datetime | None
    is_watched: bool
    problem: str
    """Why the watcher could not look; empty if it could."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen; what is missing was not tried."""

    settings: Settings
    account: str
    """A name for it that does not give the key away."""
    tries: Mapping[str, Tried] = field(default_factory=dict)
    calls: tuple[CallRecord, ...] = ()
    """The calls of this kernel so far, oldest first."""
    closed_until: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)
    proxy: str | None = None

    @property
    def answers(self) -> list[Tried]:
        """What the service answered."""
        return [self.tries[name] for name in ASKED if name in self.tries and self.tries[name].error is None]

    @property
    def is_practice(self) -> bool:
        """Whether a sandbox was asked."""
        return self.settings.profile == "sandbox" or any(told.sandbox for told, _ in self.told)

    @property
    def told(self) -> list[tuple[Told, Tried]]:
        """Answers with their time."""
        return [(t.value, t) for t in self.answers if isinstance(t.value, Told)]


def look(client: Client) -> Seen:
    """Try everything. Takes some seconds at most, also where nothing answers.

    Raises
    ------
    ConfigError
        The settings name a cache that cannot be had.
    """
    settings = client.settings
    patience_s = settings.timeout_s * PATIENCE
    probe = client.impatient(patience_s)
    closed = probe.closed_until()
    works = {**_way(settings, patience_s), **_questions(probe), **_files(client, probe)}
    tries = together(works, within_s=2 * patience_s, after=probe.close)
    for call in probe.log.all():
        tries[call.operation] = replace(tries[call.operation], ms=call.latency_ms - call.waited_s * 1000)
    tries["disk"] = tried(lambda: _rooms(client, tries["cache"].value))
    return Seen(
        settings, client.account_name, tries, tuple(client.log.all()), closed, versions(), proxy_for(settings.url)
    )  # fmt: skip


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that a notebook and its widgets need; None for one that is not here."""
    return {"Python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _way(settings: Settings, patience_s: float) -> dict[str, Callable[[], Any]]:
    """To the service, or to the proxy before it."""
    proxy = proxy_for(settings.url)
    parts = urlsplit(proxy or settings.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    ways: dict[str, Callable[[], Any]] = {
        "network": lambda: [probes.connect(host, port, timeout_s=patience_s) for _ in range(_CONNECTIONS)]
    }
    if proxy is None and parts.scheme == "https":
        ways["tls"] = lambda: probes.handshake(host, port, timeout_s=patience_s)
    return ways


def _questions(probe: Client) -> dict[str, Callable[[], Any]]:
    body = parse_query("", limit=1).to_api()
    questions: dict[str, Callable[[], Any]] = {
        "gpu names": lambda: probe.told("gpu names"),
        "search offers": lambda: probe.told("search offers", json=body),
    }
    if probe.settings.said and probe.settings.api_key is not None:
        questions["user"] = lambda: probe.told("user")
        questions["instances"] = lambda: Machines(probe).table()
        questions["api keys"] = lambda: probe.told("api keys")
    return questions


def _files(client: Client, probe: Client) -> dict[str, Callable[[], Any]]:
    journal = Journal(client.state_folder / "journal.sqlite", client.account)
    return {
        "cache": lambda: _kept(probe.stores["market data"], probe),
        "journal": lambda: len(journal.rows(*COSTING)),
        "events": lambda: _events(queue_of(client)),
    }


def _kept(store: Store, probe: Client) -> Kept:
    info, prefix = store.info(), tag_prefix(probe.account, "health")
    written = Entry(200, (), secrets.token_bytes(16), time.time())
    started = time.perf_counter()
    store.save(prefix + "written", written, keep_s=_KEEP_S, url=probe.settings.url)
    found = store.load(prefix + "written")
    took = (time.perf_counter() - started) * 1000
    store.drop(prefix)
    return Kept(info, found is not None and found.body == written.body, took)


def _events(queue: Queue) -> Events:
    try:
        lease, looked = held(queue, time.time()), last_look(queue)
        last = datetime.fromisoformat(looked) if looked is not None else None
        return Events(queue.depth(), last, lease is not None, lease.problem if lease is not None else "")
    finally:
        queue.close()


def _rooms(client: Client, kept: Kept | None) -> list[Room]:
    """The folders that files of ours are in, or would be."""
    files = [
        client.state_folder,
        *([Path(kept.info.where)] if kept is not None and kept.info.backend == "sqlite" else []),
    ]
    try:
        there = {next(folder for folder in (file, *file.absolute().parents) if folder.is_dir()) for file in files}
        return [Room(folder, shutil.disk_usage(folder).free / 1e9) for folder in sorted(there)]
    except OSError as error:
        raise StateError(f"the room in {files[0]} cannot be found out: {error}", original=error) from error
