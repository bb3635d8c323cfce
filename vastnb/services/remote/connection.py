"""`Connection`: one machine, reached by the computer's own ssh. The one place where ssh is started.

1. The first use logs in, and waits while the machine does not answer yet. The host's key is written down then; another one is
   an error from then on.
2. What follows goes through that connection, without another login; a minute after the last use it closes by itself. All
   kernels of a user share it.
3. If it breaks, the next use logs in again. Whether what was under way is repeated is its caller's to say.

The user's own ssh settings are not read: what they add (agents, forwards, a terminal) has no place on a stranger's machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vastnb.errors import ReachError, StateError
from vastnb.services.remote.address import Address
from vastnb.services.remote.failures import failed, failure_of, no_program
from vastnb.services.remote.keys import key_file, public_key

__all__ = ["Connection", "Done"]

_LINGERING = {"ControlMaster": "auto", "ControlPersist": "60"}
_APART: dict[str, Any] = {"start_new_session": True}
"""Ctrl-C in a terminal reaches all processes of its group, and is ours to act on."""
_LOGIN_S = 15
_ALIVE_S = 10
"""A connection that is silent for three times as long is lost."""
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a short command."""

    code: int
    stdout: bytes
    stderr: bytes


class Connection:
    """A machine, reached by ssh.

    Parameters
    ----------
    address
        Where it is.
    folder
        The state folder, where the key pair and the known host keys are.
    patience_s
        For how long a machine may not answer before that is an error.
    pause
        Waits so many seconds.
    admit
        Lets vastnb's public key in to the machine; asked once, if the machine does not take it.
    check
        Raises if the machine is known not to run any more; asked while it does not answer.
    """

    def __init__(
        self,
        address: Address,
        folder: Path,
        *,
        patience_s: float = 120.0,
        pause: Callable[[float], None] = time.sleep,
        admit: Callable[[str], None] | None = None,
        check: Callable[[], object] | None = None,
    ) -> None:
        self.address, self.patience_s, self.pause = address, patience_s, pause
        self._folder, self._admit, self._check = folder, admit, check

    # ------------------------------------------------------------ what one does with it

    def run(self, script: str, *, input: bytes = b"", timeout_s: float = 60.0) -> Done:
        """Run a short script of the machine's shell, whole output in memory.

        It is sent again if the connection breaks: for what may run twice. What may not, is a job.

        Raises
        ------
        ReachError
            The machine cannot be reached, or it took longer than `timeout_s`.
        """
        give_up_at = time.monotonic() + self.patience_s
        while True:
            self.open()
            done = self._once(script, input, timeout_s)
            if not failed(done.code):
                return done
            problem = self.failure(done.stderr)
            if not problem.retryable or time.monotonic() > give_up_at:
                raise problem
            self.pause(_PAUSES_S[0])

    def _once(self, script: str, input: bytes, timeout_s: float) -> Done:
        words = [*self.words(), script]
        try:
            done = subprocess.run(words, input=input, capture_output=True, timeout=timeout_s, check=False, **_APART)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise ReachError(
                f"machine {self.address.instance_id} did not answer in {timeout_s:g} s", code="lost", retryable=True,
                instance_id=self.address.instance_id, original=error,
            ) from error  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def stream(self, script: str, **pipes: Any) -> subprocess.Popen[bytes]:
        """A script of the machine's shell as a process of this computer: ``stdin``, ``stdout``, ``stderr`` as for `Popen`.

        It ends with status 255 if the connection breaks; what it ran on the machine may go on.
        """
        self.open()
        return subprocess.Popen([*self.words(), script], **{"stdin": subprocess.DEVNULL, **_APART, **pipes})  # noqa: S603

    def forward(self, ends: Mapping[int | str, int | str], *, timeout_s: float = 30.0) -> ExitStack:
        """Let ends on this computer lead to ends on the machine, until what is returned is closed; that keeps nothing of this alive.

        Parameters
        ----------
        ends
            Local to remote, each a port of the loopback address or the path of a Unix socket. It has a connection of its
            own, which ends with this process.

        Raises
        ------
        ReachError
            The tunnel does not open, a local port that is taken included.
        """
        self.open()
        pairs = [word for ours, theirs in ends.items() for word in ("-L", f"{_end(ours)}:{_end(theirs)}")]
        options = _options({"ControlPath": "none", "ExitOnForwardFailure": "yes", "StreamLocalBindUnlink": "yes"})
        words = ["ssh", *options, *pairs, *self.words()[1:], "echo ready; exec cat >/dev/null"]
        tunnel = subprocess.Popen(  # noqa: S603
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **_APART
        )
        with ExitStack() as opened:
            opened.callback(_hang_up, tunnel)
            self._await_ready(tunnel, timeout_s)
            return opened.pop_all()

    def _await_ready(self, tunnel: subprocess.Popen[bytes], timeout_s: float) -> None:
        assert tunnel.stdout is not None
        assert tunnel.stderr is not None
        told = b""  # a shell may say something of its own first
        while b"ready\n" not in told:
            more = os.read(tunnel.stdout.fileno(), 4096) if readable(tunnel.stdout, timeout_s) else b""
            if not more:
                tunnel.terminate()
                raise self.failure(tunnel.stderr.read())
            told += more

    # ------------------------------------------------------------ the connection itself

    def open(self) -> None:
        """Log in, if nobody has; wait while the machine does not answer yet.

        Raises
        ------
        ReachError
            No ssh here, another host key than before, a key that is refused, or no answer for too long.
        """
        if self._is_open():
            return
        began, tries = time.monotonic(), 0
        while (problem := self._login()) is not None:
            if problem.code == "key_refused" and self._admit is not None:
                admit, self._admit = self._admit, None
                admit(public_key(self._folder))
            elif not problem.retryable or time.monotonic() - began > self.patience_s:
                raise problem
            elif self._check is not None:
                self._check()
            self.pause(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1

    def _is_open(self) -> bool:
        """Whether somebody listens at the socket; that of a connection which was killed is taken away."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
            except FileNotFoundError:
                return False
            except ConnectionRefusedError:
                self._socket.unlink(missing_ok=True)
                return False
            return True

    def _login(self) -> ReachError | None:
        """Log in and leave the connection open behind; what went wrong."""
        if not key_file(self._folder).exists():
            public_key(self._folder)
        self._hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file, not a pipe: what stays open behind would hold a pipe's end.
        with tempfile.TemporaryFile() as said:
            words = ["ssh", *_options(_LINGERING), *self.words()[1:], "true"]
            code = subprocess.call(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, **_APART)  # noqa: S603
            said.seek(0)
            return self.failure(said.read()) if failed(code) else None

    def close(self) -> None:
        """End it now, for all kernels: the machine is gone, or is to be reached anew."""
        if self._is_open():
            words = [*self.words()[:-1], "-O", "exit", self.address.alias]
            subprocess.call(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603

    def forget_host_key(self) -> None:
        """Take the next host key that answers for the machine's."""
        self._hosts.unlink(missing_ok=True)

    def failure(self, said: bytes) -> ReachError:
        """The error for what ssh said when it failed."""
        return failure_of(self.address, said.decode(errors="replace"))

    # ------------------------------------------------------------ words for ssh

    def words(self) -> list[str]:
        """The command up to the machine's name; a script may follow. For rsync, all but the last word.

        Raises
        ------
        ReachError
            There is no ssh on this computer.
        """
        require("ssh")
        return ["ssh", "-F", "none", *_options(self.options | self._quiet), self.address.alias]

    @property
    def options(self) -> dict[str, str]:
        """What an ssh config file needs to reach the machine, in its words."""
        return {
            "HostName": self.address.host,
            "Port": str(self.address.port),
            "User": self.address.user,
            "IdentityFile": _path(key_file(self._folder)),
            "IdentitiesOnly": "yes",
            "HostKeyAlias": self.address.alias,
            "UserKnownHostsFile": _path(self._hosts),
            "StrictHostKeyChecking": "accept-new",
            "ServerAliveInterval": str(_ALIVE_S),
            "ServerAliveCountMax": "3",
        }

    @property
    def _quiet(self) -> dict[str, str]:
        """What holds for a program that nobody talks to."""
        return {
            "ControlPath": _path(self._socket),
            "ControlMaster": "no",
            "BatchMode": "yes",
            "PreferredAuthentications": "publickey",
            "IdentityAgent": "none",
            "GlobalKnownHostsFile": "none",
            "UpdateHostKeys": "no",
            "ConnectTimeout": str(_LOGIN_S),
            "LogLevel": "ERROR",
        }

    @property
    def _hosts(self) -> Path:
        return self._folder / "ssh" / "hosts" / self.address.alias

    @property
    def _socket(self) -> Path:
        """Its path must stay short of a hundred characters."""
        whose = f"{self._folder}\n{self.address}".encode()
        return _sockets() / hashlib.sha256(whose).hexdigest()[:16]


def require(program: str) -> None:
    """Raise `ReachError` if this computer has no such program, or is one where it cannot be used."""
    if os.name != "posix":
        raise ReachError("work on a machine needs Linux, macOS or WSL", code="no_program")
    if shutil.which(program) is None:
        raise no_program(program)


def readable(pipe: Any, timeout_s: float) -> bool:
    """Whether something, or the end, is there to be read in time."""
    import select

    return bool(select.select([pipe], [], [], timeout_s)[0])


def _hang_up(tunnel: subprocess.Popen[bytes]) -> None:
    with tunnel:
        tunnel.terminate()


def _end(end: int | str) -> str:
    return f"127.0.0.1:{end}" if isinstance(end, int) else end


def _options(values: Mapping[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in ("-o", f"{name}={value}")]


def _path(path: Path) -> str:
    """A path in ssh's words, where blanks separate and % stands for something."""
    return '"' + str(path).replace("%", "%%") + '"'


def _sockets() -> Path:
    """A private folder with a short name."""
    running = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(running if running and Path(running).is_dir() else tempfile.gettempdir()) / f"vastnb-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise StateError(
            f"the folder {folder} belongs to somebody else", hint="set XDG_RUNTIME_DIR to a folder of yours"
        )
    return folder
