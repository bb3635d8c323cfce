"""What goes to others than the service: unsigned, over a wire of its own, sent once, no redirect followed.

The address of an incoming webhook is a secret, so errors name its host alone.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from vastnb.errors import ApiError, InputError, NotFoundError
from vastnb.infra._httpx import httpx, open_wire
from vastnb.vast.client.answers import network_error
from vastnb.version import __version__

__all__ = ["host_of", "send_external", "status_from"]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MOST_BYTES = 100_000_000
_WORTH_REPEATING = frozenset({408, 425, 429})


def host_of(url: str) -> str:
    """The host of an address that may be sent to.

    Raises
    ------
    InputError
        It is no https address, nor http on this computer.
    """
    try:
        parts = urlsplit(url)
        host, scheme = parts.hostname or "", parts.scheme
    except ValueError:
        host = scheme = ""
    if not host or not (scheme == "https" or (scheme == "http" and host in _LOOPBACK)):
        raise InputError("expected an address like https://hooks.example.com/... to send to")
    return host


def status_from(url: str, *, timeout_s: float) -> int:
    """The status with which a web server answers, whatever it is.

    Raises
    ------
    NetworkError
        No answer came.
    """
    what = f"GET from {host_of(url)}"
    # A machine's own server signs its certificate itself. Nothing secret is sent, and nothing that it says is believed.
    unchecked = httpx.HTTPTransport(verify=False)
    with httpx.Client(transport=unchecked, timeout=timeout_s, trust_env=False) as http:
        try:
            with http.stream("GET", url) as answer:
                return answer.status_code
        except httpx.HTTPError as error:
            raise network_error(error, what) from error


def fetch_external(url: str, *, timeout_s: float = 30.0) -> bytes:
    """What is at an address outside of the service; the address may be a secret, and no key goes there.

    Raises
    ------
    NotFoundError
        It is not there, or not yet.
    ApiError
        It was refused, or is longer than anybody needs.
    NetworkError
        No answer came.
    """
    what = f"GET from {host_of(url)}"
    try:
        with _open(url, timeout_s) as http:
            response = http.get(url)
    except httpx.HTTPError as error:
        raise network_error(error, what) from error
    status = response.status_code
    if status == httpx.codes.NOT_FOUND:
        raise NotFoundError(f"{what} found nothing", status=status, endpoint=what, retryable=True)
    if status != httpx.codes.OK or len(response.content) > _MOST_BYTES:
        raise ApiError(
            f"{what} was answered with {status} and {len(response.content):,} bytes", status=status, endpoint=what,
            retryable=status >= 500 or status in _WORTH_REPEATING,
        )  # fmt: skip
    return response.content


def send_external(url: str, content: Any, *, timeout_s: float = 10.0) -> None:
    """Post JSON to an address outside of the service.

    Raises
    ------
    ApiError
        It did not accept it.
    NetworkError
        No answer came.
    """
    what = f"POST to {host_of(url)}"
    try:
        with _open(url, timeout_s) as http:
            status = http.post(url, json=content).status_code
    except httpx.HTTPError as error:
        raise network_error(error, what) from error
    if not 200 <= status < 300:
        raise ApiError(
            f"{what} was answered with {status}", status=status, endpoint=what,
            retryable=status >= 500 or status in _WORTH_REPEATING,
        )  # fmt: skip


def _open(url: str, timeout_s: float) -> httpx.Client:
    agent = {"User-Agent": f"vastnb/{__version__}"}
    return httpx.Client(transport=open_wire(url), timeout=timeout_s, headers=agent, trust_env=False)
