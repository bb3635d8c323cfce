"""`Kernel`: a Python that lives on a machine and runs cells, an ipykernel reached through a tunnel.

1. The first cell finds the Python of its name on the machine, or starts one, detached (`pythons`), and connects (`line`).
2. A cell is sent once. What it shows comes back while it runs; Ctrl-C interrupts it there, and its answer is waited for.
3. If the connection breaks, the cell runs on. It is reached anew and asked how the cell ended; what it showed meanwhile is lost.
4. It ends with `end` or with its machine, not with this process.
"""

from __future__ import annotations

import ast
import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from vastnb.errors import CellError, ReachError
from vastnb.services.remote import pythons
from vastnb.services.remote.connection import Connection, Done
from vastnb.services.remote.failures import is_full
from vastnb.services.remote.line import Line

__all__ = ["Kernel", "OnMessage"]

OnMessage = Callable[[str, dict[str, Any]], None]
"""Told the type of a Jupyter message, and its content."""
_POLL_S = 0.2
_LAST_S = 5.0
"""For how long what a cell showed may come after its answer."""
_START_S = 120.0
_INSTALL_S = 900.0
_MOST_PRESSES = 2


class _LostError(Exception):
    """The tunnel is gone, and somebody waits for an answer."""


class Kernel:
    """A Python of a machine.

    Parameters
    ----------
    connection
        The machine.
    name
        What the Python is called there, see `pythons.name_of`.
    python
        The program it is started from, on the machine; without one, what is found.
    say
        Told what is worth knowing while it is started or reached anew.
    pause
        Waits so many seconds.
    """

    def __init__(
        self, connection: Connection, name: str, *, python: str = "", say: Callable[[str], None] = lambda _words: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.connection, self.name, self.python, self.say = connection, name, python, say
        self._pause = pause
        self._line: Line | None = None
        self._presses = _Presses()
        self._had_one = False

    # ------------------------------------------------------------ cells

    def execute(self, code: str, on_message: OnMessage) -> dict[str, Any]:
        """Run a cell; its answer as Jupyter words it: ``status``, and of an error ``ename``, ``evalue`` and ``traceback``.

        Raises
        ------
        ReachError
            The machine cannot be reached any more; the cell may run on.
        CellError
            There is no Python; or it ended; or Ctrl-C came twice, and the cell runs on.
        """
        self.open()
        with self._presses:
            asked = self._there.execute(code)
            try:
                return self._answer(asked, {asked: on_message})
            except _LostError:
                return self._outcome(asked, on_message)

    def _outcome(self, asked: str, on_message: OnMessage) -> dict[str, Any]:
        """How a cell ended that was running when the connection was lost."""
        self.say("The connection was lost. The cell runs on; reaching it again ...")
        began = time.monotonic()
        self._reach_again()
        self.say(f"It is reached again after {time.monotonic() - began:.0f} s; what it showed meanwhile is lost.")
        told = self.evaluate(f"outcome({asked!r})", {asked: on_message})
        if told == "never began":
            raise ReachError("the connection was lost before the cell began", code="lost", retryable=True, hint="run it again",
                             instance_id=self.connection.address.instance_id)  # fmt: skip
        return {"status": "error", "ename": told[0], "evalue": told[1], "traceback": []} if told else {"status": "ok"}

    def evaluate(self, call: str, heard: Mapping[str, OnMessage] | None = None) -> Any:
        """What a function of `parcels` gives over there. It may be called twice, if the connection breaks.

        Parameters
        ----------
        call
            The call, as source.
        heard
            Who is told what cells show meanwhile, by the id of the cell.
        """
        with self._presses:
            while True:
                asked = self._there.execute("", silent=True, expression=f"__import__({pythons.MODULE!r}).{call}")
                try:
                    reply = self._answer(asked, heard or {})
                except _LostError:
                    self._reach_again()
                else:
                    return self._value(reply)

    def _value(self, reply: dict[str, Any]) -> Any:
        told = reply.get("user_expressions", {}).get("value", reply)
        if told.get("status") != "ok":
            words = f"{told.get('ename', 'aborted')}: {told.get('evalue', '')}"
            raise self._error(
                f"its Python did not do what a cell needs: {words}",
                code="interrupted" if self._presses.count else "cell",
            )
        return json.loads(ast.literal_eval(told["data"]["text/plain"]))

    def _answer(self, asked: str, heard: Mapping[str, OnMessage]) -> dict[str, Any]:
        """The reply to what was asked, when all that it showed has come."""
        reply: dict[str, Any] | None = None
        is_idle, quiet_since = False, time.monotonic()
        while reply is None or not (is_idle or time.monotonic() - quiet_since > _LAST_S):
            self._heed_presses()
            messages = self._there.messages(_POLL_S)
            if messages:
                quiet_since = time.monotonic()
            elif reply is None:
                self._require_living()
            for channel, message in messages:
                parent, kind, content = message["parent_header"].get("msg_id"), message["msg_type"], message["content"]
                if channel == "iopub" and parent in heard:
                    heard[parent](kind, content)
                if parent == asked and kind == "execute_reply":
                    reply = content
                is_idle = is_idle or (parent == asked and content.get("execution_state") == "idle")
        return reply

    def _heed_presses(self) -> None:
        """Ctrl-C interrupts the cell over there; a second one leaves it alone."""
        if self._presses.count > 1:
            raise self._error(
                "no longer waited for: the cell did not end when it was interrupted, and may run on there", code="left",
                hint="the next cell waits for it; --end-kernel ends this Python",
            )  # fmt: skip
        if self._presses.count and not self._presses.heeded:
            self._presses.heeded = True
            self._there.ask("interrupt_request")

    def _require_living(self) -> None:
        if self._there.beats:
            return
        if not self._there.is_open:
            raise _LostError
        try:
            done = self.connection.run(pythons.reach(self.name, start=False), input=pythons.SOURCE)
        except ReachError as error:
            raise _LostError from error
        if done.code == pythons.GONE:
            self.close()
            raise self._gone()

    def _gone(self) -> CellError:
        return self._error(
            "its Python ended while a cell ran, and what it held is gone", code="kernel_gone",
            hint="often its memory was full; the next cell starts a new one",
        )  # fmt: skip

    # ------------------------------------------------------------ the Python over there

    def open(self) -> Self:
        """Connect, if nobody has; find the Python, or start it; itself.

        Raises
        ------
        CellError
            There is no Python on the machine, or none that can run cells.
        """
        if self.is_open:
            return self
        first = self._connect(start=True)
        version = self.evaluate("watch(get_ipython())")
        if first != "living":
            again = " What the one before held is gone." if self._had_one else ""
            self.say(f"A new Python {version} ({first}).{again}")
        elif not self._had_one:
            self.say(f"The Python {version} that is there from before, with what it holds.")
        self._had_one = True
        return self

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as this computer knows."""
        return self._line is not None and self._line.is_open

    def _connect(self, *, start: bool) -> str:
        """Connect; ``living``, or where the Python is that had to be started."""
        self.close()
        done = self.connection.run(
            pythons.reach(self.name, start=start, python=self.python), input=pythons.SOURCE, timeout_s=_START_S
        )
        said = done.stdout.decode(errors="replace")
        if done.code == pythons.NO_IPYKERNEL:
            self._install(said.strip())
            return self._connect(start=start)
        if done.code:
            raise self._wont_start(done, said.strip())
        first, _, info = said.partition("\n")
        self._line = Line(self.connection, json.loads(info))
        return first

    def _install(self, python: str) -> None:
        self.say(f"{python} has no ipykernel. Installing it there, once, beside it ...")
        done = self.connection.run(pythons.install(python), timeout_s=_INSTALL_S)
        if done.code:
            raise self._error(
                f"{python} has no ipykernel, and it could not be installed: {_last(done.stderr)}", code="no_ipykernel",
                hint=f"install it there ({python} -m pip install ipykernel), or take an image that has it; --shell needs none",
            )  # fmt: skip

    def _wont_start(self, done: Done, said: str) -> CellError:
        if done.code == pythons.GONE:
            return self._gone()
        if done.code == pythons.NO_PYTHON:
            what = f"there is no {self.python}" if self.python else "there is no Python"
            return self._error(what, code="no_python", hint="take an image that has Python 3; --shell runs bash")
        if done.code == pythons.OTHER:
            asked, self.python = self.python, ""  # a cell that asks for none takes what lives
            return self._error(
                f"its Python was started from {said}, and not from {asked}", code="no_python",
                hint="--kernel NAME starts another one beside it; --end-kernel ends it, with what it holds",
            )  # fmt: skip
        last = _last(done.stderr)
        hint = "its disk is full: remove something there" if is_full(last) else None
        return self._error(f"its Python did not start: {last}", code="kernel_gone", hint=hint)

    def _reach_again(self) -> None:
        give_up_at = time.monotonic() + self.connection.patience_s
        while True:
            self._heed_presses_unreached()
            try:
                self._connect(start=False)
            except ReachError as error:
                if not error.retryable or time.monotonic() > give_up_at:
                    raise
                self._pause(1.0)
            else:
                return

    def _heed_presses_unreached(self) -> None:
        if self._presses.count and not self._presses.heeded:
            raise self._error(
                "no longer waited for: the machine is not reached, and the cell may run on there", code="left"
            )

    @property
    def _there(self) -> Line:
        if self._line is None:
            raise _LostError
        return self._line

    def close(self) -> None:
        """Take the connection away; the Python lives on."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def end(self) -> None:
        """End the Python, whatever it does.

        Raises
        ------
        CellError
            It did not end.
        """
        self.close()
        self._had_one = False
        if self.connection.run(pythons.end(self.name)).code:
            raise self._error("its Python did not end", code="kernel_gone", hint="reboot() the machine")

    def _error(self, what: str, *, code: str, hint: str | None = None) -> CellError:
        number = self.connection.address.instance_id
        return CellError(f"machine {number}: {what}", code=code, hint=hint, instance_id=number)


class _Presses:
    """Counts Ctrl-C inside, instead of raising anywhere: a message half taken would be lost. Who insists is heard at once."""

    def __init__(self) -> None:
        self.count, self.heeded = 0, False
        self._depth = 0
        self._before: Any = None

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth > 1 or threading.current_thread() is not threading.main_thread():
            return
        self.count, self.heeded = 0, False
        self._before = signal.signal(signal.SIGINT, self._press)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _press(self, *_: object) -> None:
        self.count += 1
        if self.count > _MOST_PRESSES:
            raise KeyboardInterrupt


def _last(said: bytes) -> str:
    """The last thing that a program said."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it did not say why"
