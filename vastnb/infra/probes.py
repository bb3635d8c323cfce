"""Whether something answers at an address, and how quickly: a connection, a TLS handshake, the first line of a greeting.

Nothing is sent but what a connection needs. What a host says is a stranger's word.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from vastnb.errors import AnswerTimeoutError, NetworkError
from vastnb.infra._httpx import httpx

__all__ = ["Handshake", "connect", "greeting", "handshake"]

_GREETING_BYTES = 255
"""No longer a line is allowed where SSH greets."""


class Handshake(NamedTuple):
    """A TLS handshake, the certificate checked as every request checks it."""

    ms: float
    version: str
    valid_until: datetime


def connect(host: str, port: int, *, timeout_s: float) -> float:
    """How many milliseconds a connection takes.

    Raises
    ------
    NetworkError
        There is none.
    """
    started = time.perf_counter()
    with _connected(host, port, timeout_s):
        return (time.perf_counter() - started) * 1000


def handshake(host: str, port: int, *, timeout_s: float) -> Handshake:
    """A TLS handshake, without the connection before it.

    Raises
    ------
    NetworkError
        There is no connection, or no TLS, or the certificate is refused.
    """
    context = httpx.create_ssl_context()
    with _connected(host, port, timeout_s) as plain:
        started = time.perf_counter()
        with context.wrap_socket(plain, server_hostname=host) as secure:
            ms = (time.perf_counter() - started) * 1000
            until = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
            return Handshake(ms, secure.version() or "?", datetime.fromtimestamp(until, UTC))


def greeting(host: str, port: int, *, timeout_s: float) -> tuple[float, bytes]:
    """How many milliseconds until a server has said its first line, and the line.

    Raises
    ------
    NetworkError
        There is no connection, or nothing is said.
    """
    started = time.perf_counter()
    with _connected(host, port, timeout_s) as plain:
        said = plain.recv(_GREETING_BYTES)
        return (time.perf_counter() - started) * 1000, said.partition(b"\n")[0]


@contextmanager
def _connected(host: str, port: int, timeout_s: float) -> Iterator[socket.socket]:
    """A connection; what goes wrong with it, inside too, is our error."""
    where = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as made:
            yield made
    except TimeoutError as error:
        raise AnswerTimeoutError(f"{where} does not answer within {timeout_s:g} s", original=error) from error
    except socket.gaierror as error:
        raise NetworkError(f"the name {host} is not known here", original=error) from error
    except ssl.SSLCertVerificationError as error:
        said = f"the certificate of {where} was refused: {error.verify_message}"
        hint = "is this computer's date right? Behind a company proxy, SSL_CERT_FILE must name its certificate"
        raise NetworkError(said, original=error, hint=hint, retryable=False) from error
    except OSError as error:
        raise NetworkError(f"{where}: {error.strerror or error}", original=error) from error
