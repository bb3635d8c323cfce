"""A port in front of another, from which everything comes a little later: a far machine, on this computer."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

_CHUNK = 1 << 18


class Relay:
    """Passes on what comes to ``port``, both ways, each part ``latency_s`` after it came.

    Parameters
    ----------
    address, port
        Where it listens.
    to
        The port behind it, of the same address.
    latency_s
        Real seconds, for each way.
    """

    def __init__(self, address: str, port: int, to: int, latency_s: float) -> None:
        self._behind, self._latency_s = (address, to), latency_s
        self._server = socket.create_server((address, port))
        _in_the_background(self._accept)

    def close(self) -> None:
        """Take no more connections; those that are open end with the other side."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._server.accept()
                try:
                    theirs = socket.create_connection(self._behind)
                except OSError:
                    ours.close()
                    continue
                _in_the_background(partial(self._pass_on, ours, theirs))
                _in_the_background(partial(self._pass_on, theirs, ours))

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                time.sleep(self._latency_s)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _in_the_background(act: Callable[[], None]) -> None:
    threading.Thread(target=act, name="vastnb-relay", daemon=True).start()
