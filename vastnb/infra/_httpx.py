"""The one import of httpx, and the wire itself.

The maintained fork (httpx2) has the same names: to move to it, change the one import below. No httpx type leaves `infra` and
`vast.client`.

What is here is the lowest part of every call, in this order:

1. `Signer` adds the API key, for one origin only. Everything above it (cache, retry, pacing, logs) never sees the key.
2. `Wire` sends, and reads the whole body before it returns: a body that is cut is then an error of *this* request, which the
   retry above can see, and the answer no longer hangs on its connection.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic import SecretStr

__all__ = ["FRESH", "LOST", "UNSENT", "Signer", "Wire", "httpx", "open_wire", "proxy_for"]

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors after which not one byte of the request has left: even a paying call may be sent again."""
LOST = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
"""Errors after which nobody knows whether the service acted."""

FRESH = "fresh_connection"
"""The extension of a request that is to go over a connection of its own."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_NOT_KEPT = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class Wire(httpx.BaseTransport):
    """Sends a request and returns its answer complete, decoded and free of its connection.

    Parameters
    ----------
    opener
        Makes the transport below, at the first request: it loads the certificates, which an answer from a cache does not need.
    """

    def __init__(self, opener: Callable[[], httpx.BaseTransport]) -> None:
        self._opener, self._lock = opener, threading.Lock()
        self._opened: httpx.BaseTransport | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` once; one with the extension `FRESH` over a connection of its own.

        A kept connection may have died unnoticed, and nobody would know whether what was sent on it arrived.
        """
        started = time.perf_counter()
        fresh = bool(request.extensions.get(FRESH))
        transport = self._opener() if fresh else self._transport()
        try:
            response = transport.handle_request(request)
            try:
                body = response.read()
            finally:
                response.close()
        finally:
            if fresh:
                transport.close()
        headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in _NOT_KEPT]
        answer = httpx.Response(response.status_code, headers=headers, content=body)
        answer.elapsed = timedelta(seconds=time.perf_counter() - started)
        return answer

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _transport(self) -> httpx.BaseTransport:
        with self._lock:
            if self._opened is None:
                self._opened = self._opener()
            return self._opened


class Signer(httpx.BaseTransport):
    """Adds ``Authorization`` on the way out, for one origin only.

    It signs a copy: the request that the layers above hold stays without the key, so no log, cache entry or traceback of
    theirs can contain it.
    """

    def __init__(self, inner: httpx.BaseTransport, api_key: SecretStr | None, url: str) -> None:
        self._inner = inner
        self._api_key = api_key
        self._origin = _origin(httpx.URL(url))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, signed if it goes to our origin."""
        if self._api_key is None or _origin(request.url) != self._origin:
            return self._inner.handle_request(request)
        headers = httpx.Headers(request.headers)
        headers["Authorization"] = f"Bearer {self._api_key.get_secret_value()}"
        signed = httpx.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )
        try:
            return self._inner.handle_request(signed)
        except httpx.HTTPError as error:
            _forget_frames_below(error)
            raise

    def close(self) -> None:
        """Close the wire."""
        self._inner.close()

    def __repr__(self) -> str:
        return "<Signer>"


def open_wire(url: str) -> Wire:
    """A wire to `url`, through the proxy of the environment if there is one.

    ``httpx.Client(transport=...)`` ignores ``HTTPS_PROXY`` and ``NO_PROXY``, so they are looked up here.
    """
    proxy = proxy_for(url)
    limits = httpx.Limits(max_keepalive_connections=4, keepalive_expiry=60)
    # Loading the certificates takes 20 ms, and plain HTTP (to this computer only) needs none.
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if httpx.URL(url).scheme == "http" else True
    return Wire(lambda: httpx.HTTPTransport(proxy=proxy, limits=limits, verify=verify))


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`, or None; a service on this computer needs none."""
    target = httpx.URL(url)
    if target.host in _LOOPBACK or proxy_bypass(target.host):
        return None
    proxies = getproxies()
    return proxies.get(target.scheme) or proxies.get("all")


def _forget_frames_below(error: BaseException) -> None:
    """Cut the frames off what `error` came from: their variables hold the signed request."""
    link = error.__cause__ or error.__context__
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
