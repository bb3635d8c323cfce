"""What goes to others than the service: unsigned, over a wire of its own, sent once, no redirect followed.

The address of an incoming webhook is a secret, so errors name its host alone.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from vastnb.errors import ApiError, InputError
from vastnb.infra._httpx import httpx, open_wire
from vastnb.vast.client.answers import network_error
from vastnb.version import __version__

__all__ = ["host_of", "send_external", "status_from"]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
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
    agent = {"User-Agent": f"vastnb/{__version__}"}
    with httpx.Client(transport=open_wire(url), timeout=timeout_s, headers=agent, trust_env=False) as http:
        try:
            status = http.post(url, json=content).status_code
        except httpx.HTTPError as error:
            raise network_error(error, what) from error
    if not 200 <= status < 300:
        raise ApiError(
            f"{what} was answered with {status}", status=status, endpoint=what,
            retryable=status >= 500 or status in _WORTH_REPEATING,
        )  # fmt: skip
