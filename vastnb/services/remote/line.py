"""`Line`: a tunnel to a Python that lives on a machine, and a Jupyter client at this end of it.

The ends here are sockets in a private folder: ports of this computer would show a cell's output to all its users.
"""

from __future__ import annotations

import socket
import tempfile
import time
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vastnb.errors import ReachError
from vastnb.services.remote.connection import Connection

__all__ = ["Line", "Message"]

Message = tuple[str, dict[str, Any]]
"""The channel it came on, and what came."""
_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
_HEARD_S = 30.0


class Line:
    """A Python of a machine that can be asked, and heard.

    Parameters
    ----------
    connection
        The machine.
    info
        The Python's connection file.

    Raises
    ------
    ReachError
        The tunnel does not open, or nothing is heard through it.
    """

    def __init__(self, connection: Connection, info: Mapping[str, Any]) -> None:
        client = _client()
        with ExitStack() as ends:
            folder = ends.enter_context(tempfile.TemporaryDirectory(prefix="vastnb-"))
            here = {f"{name}_port": number for number, name in enumerate(_CHANNELS, 1)}
            self._heart = Path(folder, f"k-{here['hb_port']}")
            ends.enter_context(
                connection.forward({f"{folder}/k-{here[name]}": int(info[name]) for name in here})
            )  # fmt: skip
            client.load_connection_info({**info, **here, "transport": "ipc", "ip": f"{folder}/k"})
            client.start_channels(stdin=False)
            ends.callback(client.context.destroy, linger=0)
            ends.callback(client.stop_channels)
            self._client = client
            self._poller = _poller(client)
            self._await_heard(connection)
            # A machine that nobody holds any more is not told so: its tunnel must not outlive it.
            self._close = weakref.finalize(self, ends.pop_all().close)

    def _await_heard(self, connection: Connection) -> None:
        """Return when something was heard: who listens too late misses what comes first."""
        give_up_at, asked = time.monotonic() + _HEARD_S, set[str]()
        while time.monotonic() < give_up_at:
            asked.add(self.ask("kernel_info_request"))
            heard = self.messages(0.1)
            if any(
                channel == "iopub" and message["parent_header"].get("msg_id") in asked for channel, message in heard
            ):
                return
        raise ReachError(
            f"machine {connection.address.instance_id} was reached, and its Python does not answer", code="lost", retryable=True,
            instance_id=connection.address.instance_id,
        )  # fmt: skip

    @property
    def is_open(self) -> bool:
        """Whether the tunnel stands, as far as this computer knows."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._heart))
            except OSError:
                return False
        return True

    @property
    def beats(self) -> bool:
        """Whether its heart was heard within the last seconds."""
        return bool(self._client.hb_channel.is_beating())

    def execute(self, code: str, *, silent: bool = False, expression: str = "") -> str:
        """Send a cell, and an expression to evaluate after it; the id of what was sent."""
        sent: str = self._client.execute(
            code, silent=silent, user_expressions={"value": expression} if expression else {}, allow_stdin=False
        )
        return sent

    def ask(self, what: str) -> str:
        """Send a request without content that is answered while a cell runs; its id."""
        message = self._client.session.msg(what, {})
        self._client.control_channel.send(message)
        return str(message["header"]["msg_id"])

    def messages(self, wait_s: float) -> list[Message]:
        """What came, after waiting for so long at most."""
        ready = dict(self._poller.poll(int(wait_s * 1000)))
        channels = {
            "iopub": self._client.iopub_channel,
            "shell": self._client.shell_channel,
            "control": self._client.control_channel,
        }
        return [(name, channel.get_msg(timeout=0)) for name, channel in channels.items() if channel.socket in ready]

    def close(self) -> None:
        """Take the tunnel away; the Python lives on."""
        self._close()


def _client() -> Any:
    try:
        from jupyter_client.blocking.client import BlockingKernelClient
    except ImportError as error:
        raise ReachError(
            "remote cells need jupyter_client here",
            code="no_program",
            original=error,
            hint="pip install jupyter_client",
        ) from error
    return BlockingKernelClient()


def _poller(client: Any) -> Any:
    import zmq

    poller = zmq.Poller()
    for channel in (client.iopub_channel, client.shell_channel, client.control_channel):
        poller.register(channel.socket, zmq.POLLIN)
    return poller
