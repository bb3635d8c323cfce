"""The webhook endpoint: stand-alone, or next to the notebook as an extension of Jupyter Server.

A delivery passes, in this order:

1. as long as there is no secret, everything is 404: nothing was set up here;
2. a body that is too long is 413, whatever it says;
3. `verify_webhook` looks at the raw bytes: a wrong signature is 401 and a wrong body 400, which Vast does not send again; one that
   is signed and too old is 408, which it does, with a new time;
4. the event is on disk before the answer; where it cannot be written the answer is 503, and Vast comes again;
5. the answer is 204, for one that was here before too. Handlers run elsewhere: however slow, they delay no answer.

Jupyter Server loads this module only after ``vastnb webhook enable``.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import tornado.httpserver
import tornado.web

from vastnb.errors import ConfigError, InputError, StateError, WebhookError
from vastnb.infra.config import load_settings
from vastnb.infra.processes import until_ended
from vastnb.services import session
from vastnb.services.events import Queue, queue_of
from vastnb.services.sync import last_look
from vastnb.services.webhooks import Delivery, Secrets, event_of, verify_webhook
from vastnb.vast.client import Client
from vastnb.version import __version__

log = logging.getLogger("vastnb.webhook")
log.addHandler(logging.NullHandler())  # a background thread writes into no cell

__all__ = ["MOST_BYTES", "Endpoint", "Server", "enable", "serve", "serve_here", "stop_here"]

MOST_BYTES = 64 * 1024
"""Vast's deliveries stay far below: details of more than 4 kB are dropped."""
_STATUSES = {"signature": 401, "age": 408, "body": 400}
_EXTENSION, _SECTION = "vastnb.api.webhook", "VastnbWebhook"
_STOP_S = 5.0


class Endpoint:
    """What a delivery is checked with and written to.

    Parameters
    ----------
    client
        Whose account it is.
    clock
        This computer's clock, seconds since 1970.
    """

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.time) -> None:
        self.queue: Queue = queue_of(client)
        self.clock = clock
        self._secrets = Secrets(client.state_folder / "webhooks.json", client.account)
        # One thread: a file that is locked for a while must not stop the server, and the order stays.
        self._writer = ThreadPoolExecutor(1, "vastnb-webhook")

    @property
    def secrets(self) -> list[str]:
        """The secrets that are good now; read anew each time, for they may be renewed meanwhile."""
        return self._secrets.good(self.clock())

    async def accept(self, delivery: Delivery) -> None:
        """Write a delivery to disk."""
        write = partial(self.queue.add, [event_of(delivery)], source="webhook")
        await asyncio.get_running_loop().run_in_executor(self._writer, write)

    async def health(self) -> dict[str, Any]:
        """Whether all is well, and how quick."""
        started = time.perf_counter()
        checks: dict[str, Any] = {"secret": {"ok": bool(self.secrets)}}
        try:
            loop = asyncio.get_running_loop()
            depth, looked = await loop.run_in_executor(
                self._writer, lambda: (self.queue.depth(), last_look(self.queue))
            )
            checks["queue"] = {"ok": True, "latency_ms": round((time.perf_counter() - started) * 1000, 2)}
        except StateError as error:
            depth, looked = None, None
            log.warning("%s", error)
            checks["queue"] = {"ok": False, "error": "it cannot be used"}
        ok = all(check["ok"] for check in checks.values())
        return {"ok": ok, "version": __version__, "queue_depth": depth, "last_sync": looked, "checks": checks}

    def close(self) -> None:
        """Finish what is being written."""
        self._writer.shutdown()
        self.queue.close()


class _Handler(tornado.web.RequestHandler):
    """What both have: nothing but what was asked for is answered, and nothing is told of this server."""

    def initialize(self, endpoint: Callable[[], Endpoint]) -> None:
        self.endpoint = endpoint()

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def check_xsrf_cookie(self) -> None:
        """A delivery is known by its signature, and carries no cookie."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002
        self.answer(status_code, self._reason)

    def answer(self, status: int, why: str) -> None:
        """Refuse, and say why."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"success": False, "msg": why}))

    def prepare(self) -> None:
        """Be as if not there until somebody has set a webhook up."""
        try:
            is_set_up = bool(self.endpoint.secrets)
        except StateError as error:
            log.warning("%s", error)
            self.answer(503, "the secrets cannot be read")
            return
        if not is_set_up:
            self.answer(404, "there is no webhook here")


@tornado.web.stream_request_body
class _Deliveries(_Handler):
    def initialize(self, endpoint: Callable[[], Endpoint]) -> None:
        super().initialize(endpoint)
        self._body = bytearray()

    def prepare(self) -> None:
        super().prepare()
        told = self.request.headers.get("Content-Length", "0")
        if not self._finished and (not told.isdecimal() or int(told) > MOST_BYTES):
            self.answer(413, f"more than {MOST_BYTES} bytes")

    def data_received(self, chunk: bytes) -> None:
        """Keep no more than one byte too many."""
        self._body += chunk[: MOST_BYTES + 1 - len(self._body)]

    async def post(self) -> None:
        """Take a delivery."""
        body = bytes(self._body)
        if len(body) > MOST_BYTES:
            self.answer(413, f"more than {MOST_BYTES} bytes")
            return
        try:
            delivery = verify_webhook(self.request.headers, body, self.endpoint.secrets, self.endpoint.clock())
            await self.endpoint.accept(delivery)
        except WebhookError as error:
            log.warning("refused a delivery: %s", error)
            self.answer(_STATUSES[error.reason], str(error))
        except StateError as error:
            log.warning("%s", error)
            self.answer(503, "it could not be written down")
        else:
            self.set_status(204)
            self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", "POST")
        super().write_error(status_code, **kwargs)


class _Health(_Handler):
    async def get(self) -> None:
        """Tell whether all is well."""
        told = await self.endpoint.health()
        self.set_status(200 if told["ok"] else 503)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(told))


for _method in (_Deliveries.post, _Health.get):
    # So that Jupyter Server lets a delivery in without a login: its signature is what is asked for.
    setattr(_method, "__allow_unauthenticated", True)


def _routes(path: str, endpoint: Callable[[], Endpoint]) -> list[tuple[str, type[_Handler], dict[str, Any]]]:
    given = {"endpoint": endpoint}
    return [(rf"{path}/?", _Deliveries, given), (rf"{path}/health/?", _Health, given)]


# -------------------------------------------------------- stand-alone


class Server:
    """The endpoint on a port of its own, in a thread of its own.

    Parameters
    ----------
    endpoint
        What it serves.
    address, port
        Where it listens; port 0 is any.
    """

    def __init__(self, endpoint: Endpoint, *, address: str = "127.0.0.1", port: int = 0) -> None:
        self._endpoint, self._address, self._port = endpoint, address, port
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event, threading.Thread] | None = None

    def start(self) -> str:
        """Listen; the URL.

        Raises
        ------
        ConfigError
            The port is not to be had.
        """
        try:
            listening = socket.create_server((self._address, self._port), backlog=128)
        except OSError as error:
            raise ConfigError(
                f"the webhook cannot listen on {self._address}:{self._port}: {error}", original=error
            ) from error
        listening.setblocking(False)
        port = listening.getsockname()[1]
        loop, stopping, ready = asyncio.SelectorEventLoop(), asyncio.Event(), threading.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_until_complete(self._serve(listening, ready, stopping))
            finally:
                loop.close()

        thread = threading.Thread(target=run, name=f"vastnb-webhook-{port}", daemon=True)
        self._running = (loop, stopping, thread)
        thread.start()
        ready.wait()
        return f"http://{self._address}:{port}/webhook"

    def stop(self) -> None:
        """Close every connection, and return when nothing is left."""
        if self._running is not None:
            loop, stopping, thread = self._running
            self._running = None
            loop.call_soon_threadsafe(stopping.set)
            thread.join(_STOP_S)
            self._endpoint.close()

    async def _serve(self, listening: socket.socket, ready: threading.Event, stopping: asyncio.Event) -> None:
        routes = [*_routes("/webhook", lambda: self._endpoint), *_routes("", lambda: self._endpoint)[1:]]
        application = tornado.web.Application(list(routes), log_function=_quiet)
        server = tornado.httpserver.HTTPServer(application, max_body_size=16 * MOST_BYTES, max_header_size=MOST_BYTES)
        server.add_sockets([listening])
        ready.set()
        await stopping.wait()
        server.stop()
        await server.close_all_connections()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _quiet(handler: tornado.web.RequestHandler) -> None:
    """Log nothing but what was refused."""


def serve(client: Client, *, address: str, port: int, on_ready: Callable[[str], object]) -> None:
    """Serve until SIGINT or SIGTERM: the stand-alone command, for the main thread."""
    server = Server(Endpoint(client), address=address, port=port)
    with until_ended() as wait:
        on_ready(server.start())
        try:
            wait()
        finally:
            server.stop()


_here: Server | None = None


def serve_here(client: Client, *, address: str, port: int) -> str:
    """Serve in the background until this process ends, or serves elsewhere; the URL."""
    stop_here()
    server = Server(Endpoint(client), address=address, port=port)
    url = server.start()
    global _here
    _here = server
    return url


@atexit.register
def stop_here() -> None:
    """Serve no more in the background."""
    global _here
    server, _here = _here, None
    if server is not None:
        server.stop()


# -------------------------------------------------------- next to the notebook


def enable(on: bool) -> Path:
    """Let the user's Jupyter Server load the endpoint at its next start, or no more; the file that says so, and for which profile.

    Raises
    ------
    InputError
        There is no Jupyter here, or the notebook is in the sandbox.
    """
    try:
        from jupyter_core.paths import jupyter_config_dir
    except ImportError as error:
        raise InputError(
            "there is no Jupyter here to enable it in", hint='pip install "vastnb[lab]"', original=error
        ) from error
    file = Path(jupyter_config_dir()) / "jupyter_server_config.d" / "vastnb-webhook.json"
    if not on:
        file.unlink(missing_ok=True)
        return file
    profile = session.current().settings.profile
    if profile == "sandbox":
        raise InputError("the sandbox of a notebook has an endpoint of its own", hint="%vast webhook serve")
    content = {"ServerApp": {"jpserver_extensions": {_EXTENSION: True}}, _SECTION: {"profile": profile}}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1), "utf-8")
    return file


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": _EXTENSION}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Add ``<base URL>vastnb/webhook`` to the user's Jupyter Server."""
    profile = server.config.get(_SECTION, {}).get("profile")
    made: list[Endpoint] = []

    def endpoint() -> Endpoint:
        if not made:
            made.append(Endpoint(Client(load_settings(profile))))
        return made[0]

    base = server.web_app.settings["base_url"].rstrip("/")
    server.web_app.add_handlers(".*$", _routes(f"{base}/vastnb/webhook", endpoint))
    log.info("vastnb: the webhook is at %s/vastnb/webhook", base)
