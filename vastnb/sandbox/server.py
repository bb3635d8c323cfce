"""The sandbox's HTTP server: tornado in a daemon thread, on 127.0.0.1 only.

The path of a request:

1. a Host header that is not loopback is refused (no web page may reach the sandbox by DNS rebinding);
2. ``/_sandbox/...`` is control: the key is needed, faults and limits do not apply;
3. the request is logged; then latency, strict limits, and a fault of the answer, if one waits;
4. :class:`~.answers.Service` makes the answer; it is sent as it is or spoilt.

This is the only module with sockets, and the only asynchronous one.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tornado.httpserver
import tornado.httputil
import tornado.iostream
import tornado.web

from . import endpoints
from .answers import Service
from .books import key_digest
from .control import Control
from .failures import SPOILT, STATUSES, too_frequent_json, too_frequent_text
from .faults import Fault
from .limits import Limits
from .log import Log, Record
from .replies import Answer, Request, loggable, refusal

ADDRESS = "127.0.0.1"
MARK = "X-Vastnb-Sandbox"
"""The header by which a client knows a sandbox; its value is the run id."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_CONTROL = "/_sandbox/"
_MAX_BODY_BYTES = 16 * 1024 * 1024
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Site:
    """What the server serves, and how."""

    service: Service
    control: Control
    run_id: str
    log: Log
    limits: Limits | None
    latency_s: float
    gzip: bool


class Server:
    """The listening server; :meth:`start` and :meth:`stop` may be called from any thread."""

    def __init__(self, site: Site, *, port: int = 0) -> None:
        self._site, self._port = site, port
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event, threading.Thread] | None = None

    def start(self) -> int:
        """Listen, and return the port; an ``OSError`` if the port is not to be had."""
        listening = socket.create_server((ADDRESS, self._port), backlog=128)
        listening.setblocking(False)
        port: int = listening.getsockname()[1]
        # A selector loop on every system: the proactor of Windows would add a thread of its own.
        loop, stopping, ready = asyncio.SelectorEventLoop(), asyncio.Event(), threading.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_until_complete(self._serve(listening, ready, stopping))
            finally:
                loop.close()

        thread = threading.Thread(target=run, name=f"vastnb-sandbox-{port}", daemon=True)
        self._running = (loop, stopping, thread)
        thread.start()
        ready.wait()
        return port

    def stop(self) -> None:
        """Close every connection, and return when thread and sockets are gone."""
        if self._running is None:
            return
        loop, stopping, thread = self._running
        self._running = None
        loop.call_soon_threadsafe(stopping.set)
        thread.join(_STOP_TIMEOUT_S)

    async def _serve(self, listening: socket.socket, ready: threading.Event, stopping: asyncio.Event) -> None:
        application = tornado.web.Application(
            [(r".*", _Handler)],
            site=self._site,
            stopping=stopping,
            compress_response=self._site.gzip,
            log_function=_quiet,
        )
        server = tornado.httpserver.HTTPServer(application, max_body_size=_MAX_BODY_BYTES)
        server.add_sockets([listening])
        ready.set()
        await stopping.wait()
        server.stop()
        await server.close_all_connections()
        await _end(asyncio.all_tasks() - {asyncio.current_task()})


async def _end(tasks: Any) -> None:
    """End what still runs, so that closing the loop leaves nothing behind."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _quiet(handler: tornado.web.RequestHandler) -> None:
    """Log nothing: the sandbox keeps its own log, and the notebook's output is not ours."""


class _Handler(tornado.web.RequestHandler):
    """Every request, whatever its path."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")

    @property
    def _site(self) -> Site:
        site: Site = self.settings["site"]
        return site

    def initialize(self) -> None:
        self._left = asyncio.Event()
        self._record: Record | None = None

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Date", tornado.httputil.format_timestamp(self._site.service.clock.now()))
        self.set_header(MARK, self._site.run_id)

    def compute_etag(self) -> str | None:
        return None

    def on_connection_close(self) -> None:
        self._left.set()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self._send(refusal(status_code, "sandbox_error", self._reason))

    async def _go(self) -> None:
        host = tornado.httputil.split_host_and_port(self.request.host.lower())[0].strip("[]")
        request = self._read()
        if host not in _LOOPBACK:
            self._send(refusal(403, "forbidden_host", "the sandbox answers to loopback names only"))
        elif request.path.startswith(_CONTROL):
            self._send(self._site.control.answer(request))
        else:
            await self._live(request)

    get = head = post = put = delete = patch = options = _go

    def _read(self) -> Request:
        query = {name: values[-1].decode(errors="replace") for name, values in self.request.query_arguments.items()}
        sent = self.request.headers.get("Authorization", "").strip()
        key = sent.removeprefix("Bearer").strip() or None
        return Request(self.request.method or "", self.request.path, query, self.request.body, key)

    async def _live(self, request: Request) -> None:
        site = self._site
        digest = key_digest(request.key) if request.key else None
        record = Record(request.method, request.path, loggable(request), 0, digest, site.service.clock.now())
        self._record = record
        site.log.append(record)
        endpoint = endpoints.find(request.method, request.path)
        if site.latency_s and await self._client_left(site.latency_s):
            self._drop()
        elif (early := self._early(endpoint, digest)) is not None:
            self._send(early)
        elif (fault := site.service.faults.take_answer(request.method, request.path)) is not None:
            await self._fail(fault, lambda: site.service.answer(endpoint, request))
        else:
            self._send(site.service.answer(endpoint, request))

    def _early(self, endpoint: endpoints.Endpoint | None, digest: str | None) -> Answer | None:
        limits = self._site.limits
        refused = limits.check(endpoint, f"{digest} {self.request.remote_ip}") if limits and endpoint else None
        if refused is None:
            return None
        if not refused.is_search:
            return too_frequent_text(refused.threshold)
        return too_frequent_json(self._site.service.clock.now(), limit=refused.threshold, retry_after=refused.wait_s)

    async def _fail(self, fault: Fault, act: Callable[[], Answer]) -> None:
        """Act or not, and answer as the fault wants it."""
        name, options = fault.name, fault.options
        if name == "cut-after" or options.get("acts"):
            act()
        elif name == "late-commit":
            self._site.service.rentals.later(options["seconds"], act)
        if name == "hang" or (name == "slow" and await self._client_left(options["seconds"])):
            await self._client_left(None)
            self._drop()
        elif name in ("cut-before", "cut-after", "late-commit"):
            self._drop()
        elif name == "cut-body":
            await self._cut(act())
        elif name in STATUSES:
            self._send(STATUSES[name](self._site.service.clock.now(), options))
        else:
            answers = [act() for _ in range(2 if name == "doubled-request" else 1)]
            answer = answers[-1 if options.get("told") == "second" else 0]
            self._send(SPOILT[name](answer) if name in SPOILT else answer)

    def _send(self, answer: Answer) -> None:
        if self._record is not None:
            self._record.status = answer.status
        self.set_status(answer.status)
        self.set_header("Content-Type", answer.content_type)
        for name, text in answer.headers.items():
            self.set_header(name, text)
        self.finish(answer.body)

    def _drop(self) -> None:
        """Close the connection without an answer."""
        self.detach().close()

    async def _cut(self, answer: Answer) -> None:
        """Send the head and half of the body by hand: tornado would not let an answer end early."""
        lines = [f"HTTP/1.1 {answer.status} OK", f"Content-Type: {answer.content_type}", f"{MARK}: {self._site.run_id}"]
        head = "\r\n".join([*lines, f"Content-Length: {len(answer.body)}", "\r\n"]).encode()
        stream = self.detach()
        with contextlib.suppress(tornado.iostream.StreamClosedError):
            await stream.write(head + answer.body[: len(answer.body) // 2])
        stream.close()

    async def _client_left(self, timeout_s: float | None) -> bool:
        """Wait for the client to leave or the sandbox to stop, and return whether that came before the time."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._left, self.settings["stopping"])]
        done, pending = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        return bool(done)
