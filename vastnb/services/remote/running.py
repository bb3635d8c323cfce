"""Commands on a machine: each is a job there, which this end starts once and follows for as long as it takes.

1. Start and follow are one script, sent over one connection. The start does nothing if the job is there already.
2. If the connection breaks, the same is sent again, with how much of the output has come. Nothing runs twice, nothing is lost.
3. When the job has ended and all its output is here, the machine forgets it.
4. Ctrl-C and a time-out end the job there; a kernel that dies does not, and `jobs` shows what it left.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vastnb.errors import CopyError, InputError, ReachError, StateError, WaitTimeoutError
from vastnb.services import notices
from vastnb.services.remote import scripts
from vastnb.services.remote.connection import Connection, readable
from vastnb.services.remote.screen import Screen
from vastnb.services.remote.spool import Spool

__all__ = ["OnOutput", "Ran", "Shown", "begin", "end", "follow", "new_token", "start"]

OnOutput = Callable[[str, str], None]
"""Told ``stdout`` or ``stderr``, and the text that came."""
_SILENT_S = 30.0
"""A machine that sends no sign of life for so long is not reached any more."""
_MOST_COMMAND = 100_000
"""Linux takes a word of 128 KiB."""
_MOST_SHOWN = 200_000
_END_S = 15.0
_AGAIN_S = 0.2
GRACE_S = 8.0
"""A command that is told to end has so long to do it."""


@dataclass(frozen=True, slots=True, repr=False)
class Ran:
    """What came of a command."""

    code: int
    """Its exit status; by convention 0 is well."""
    stdout: str
    """What it printed; of much, the beginning and the end."""
    stderr: str
    seconds: float
    stdout_file: Path | None = None
    """All that it printed, as bytes, if that is much or no text."""
    stderr_file: Path | None = None

    @property
    def exit_status(self) -> int:
        """The same, for a shell that asked."""
        return self.code

    def __repr__(self) -> str:
        files = [str(file) for file in (self.stdout_file, self.stderr_file) if file is not None]
        whole = f"; all that it printed: {', '.join(files)}" if files else ""
        return f"exit status {self.code} after {self.seconds:.1f} s{whole}"


class Shown:
    """Shows what a command prints, until that is more than anybody reads."""

    def __init__(self, show: OnOutput) -> None:
        self._show, self._screen = show, Screen()

    def __call__(self, stream: str, text: str) -> None:
        """Show a part."""
        room = _MOST_SHOWN - self._screen.chars
        if room <= 0:
            return
        self._screen.take(text)
        is_too_much = self._screen.chars >= _MOST_SHOWN
        self._show(stream, text[:room] if is_too_much else text)
        if is_too_much:
            self._show(stream, "\n[... it prints more than is shown; the result says where all of it is ...]\n")


def new_token() -> str:
    """A name for a job that no other has."""
    return secrets.token_hex(4)


def start(command: str, *, token: str, cwd: str) -> str:
    """The script that starts a job once, in a folder of the machine.

    Raises
    ------
    InputError
        No command, or one that no machine could take.
    """
    if not command.strip() or "\0" in command:
        raise InputError(f"expected a command of the machine's shell, got {command!r}")
    if len(command.encode()) > _MOST_COMMAND:
        raise InputError(f"a command may have {_MOST_COMMAND:,} bytes; put() a script and run that")
    return scripts.begin(token, command, cwd)


def begin(connection: Connection, script: str) -> None:
    """Start a job, and be sure that it was.

    Raises
    ------
    ReachError
        The machine was not reached for too long.
    CopyError
        Its disk is full.
    """
    done = connection.run(script)
    if done.code:
        raise _not_kept(connection, done.stderr)


def _not_kept(connection: Connection, said: bytes) -> CopyError:
    return CopyError(
        f"machine {connection.address.instance_id} took no command: {said.decode(errors='replace').strip()}", code="disk_full",
        instance_id=connection.address.instance_id, hint="its disk cannot be enlarged: remove something",
    )  # fmt: skip


def follow(
    connection: Connection, token: str, *, begin: str = "", timeout_s: float | None = None, on_output: OnOutput | None = None,
    spools: Path, is_detached: bool = False,
) -> Ran:  # fmt: skip
    """Follow a job until it ends.

    Parameters
    ----------
    connection
        The machine.
    token
        The job.
    begin
        The script that starts it, sent with each attempt.
    timeout_s
        For how long; then the job is ended.
    on_output
        Told what it prints, as it comes; without one, a door shows it.
    spools
        The folder for what is much.
    is_detached
        Whether the job is left alone: it runs on when it is not waited for any more, and stays listed when it has ended.

    Raises
    ------
    WaitTimeoutError
        It took too long, and was ended.
    ReachError
        The machine was not reached for too long. The job goes on.
    """
    if on_output is None and notices.show_output is not None:
        on_output = Shown(notices.show_output)
    following = _Following(connection, token, begin=begin, on_output=on_output, spools=spools, is_detached=is_detached)
    began = time.monotonic()
    try:
        ended = following.until(None if timeout_s is None else began + timeout_s)
    except KeyboardInterrupt as stop:
        stop.add_note(_left(connection, token, is_detached))
        raise
    finally:
        following.drop()
    if ended is None:
        words = _left(connection, token, is_detached)
        raise WaitTimeoutError(
            f"a command on machine {connection.address.instance_id} did not end in {timeout_s:g} s. {words}",
            instance_id=connection.address.instance_id, hint="detach=True lets it run by itself; timeout_s=... gives it longer",
        )  # fmt: skip
    return following.ran(ended, time.monotonic() - began)


def end(connection: Connection, token: str, *, grace_s: float = GRACE_S) -> bool:
    """End a job and all that it started; whether it is seen to have ended."""
    return connection.run(scripts.stop(token, grace_s), timeout_s=2 * grace_s + _END_S).code == 0


def _left(connection: Connection, token: str, is_detached: bool) -> str:
    """End a job that is not waited for any more, as far as the machine can be reached; what became of it, in words."""
    if is_detached:
        return f"It goes on there: job({token!r})."
    try:
        is_ended = end(connection, token)
    except ReachError:
        is_ended = False
    return "It was ended there." if is_ended else f"It may still run there: job({token!r}).stop() ends it."


class _Following:
    """The output of one job, over as many connections as it takes."""

    def __init__(
        self, connection: Connection, token: str, *, begin: str, on_output: OnOutput | None, spools: Path, is_detached: bool
    ) -> None:  # fmt: skip
        self._connection, self._token, self._begin, self._is_detached = connection, token, begin, is_detached
        self._tell = on_output or (lambda _stream, _text: None)
        self._spools = {"o": Spool(spools / f"{token}.out"), "e": Spool(spools / f"{token}.err")}
        self._kept: list[tuple[str, Path | None]] = []
        self._heard_at = time.monotonic()

    def drop(self) -> None:
        """Let go of the files."""
        for spool in self._spools.values():
            spool.drop()

    def until(self, deadline: float | None) -> str | None:
        """How it ended; None at the deadline."""
        self._heard_at = time.monotonic()
        while True:
            said: bytes = b""
            script = self._begin + scripts.follow(self._token, self._spools["o"].size, self._spools["e"].size)
            with self._connection.stream(
                script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as channel:
                try:
                    ended = self._read(channel, deadline)
                    if ended is not None:
                        self._keep()
                        return self._taken(channel, ended)
                    if deadline is not None and time.monotonic() >= deadline:
                        return None
                finally:
                    said = self._hung_up(channel)
            self._lost(channel.returncode, said)

    def _read(self, channel: subprocess.Popen[bytes], deadline: float | None) -> str | None:
        """Take what comes until the job has ended; None if the connection has, or at the deadline."""
        assert channel.stdout is not None
        frames, quiet_at = _Frames(), time.monotonic()
        while deadline is None or time.monotonic() < deadline:
            if not readable(channel.stdout, 0.2):
                if time.monotonic() - quiet_at > _SILENT_S:
                    self._connection.close()
                    return None
                continue
            chunk = os.read(channel.stdout.fileno(), 1 << 16)
            if not chunk:
                return None
            self._heard_at = quiet_at = time.monotonic()
            for kind, part in frames.feed(chunk):
                if kind == "x":
                    return part.decode(errors="replace")
                self._take(kind, part)
        return None

    def _take(self, kind: str, part: bytes) -> None:
        try:
            text = self._spools[kind].write(part)
        except OSError as error:
            raise self._unkept(error) from error
        if text:
            self._tell("stdout" if kind == "o" else "stderr", text)

    def _keep(self) -> None:
        """Write to the end what it printed, before the machine forgets that."""
        try:
            self._kept = [spool.close() for spool in self._spools.values()]
        except OSError as error:
            raise self._unkept(error) from error

    def _unkept(self, error: OSError) -> StateError:
        return StateError(
            f"what a command on machine {self._connection.address.instance_id} prints cannot be kept here: {error}",
            original=error, hint=f"make room; the machine has it: job({self._token!r}).wait()",
        )  # fmt: skip

    def _taken(self, channel: subprocess.Popen[bytes], ended: str) -> str:
        """Let the machine forget the job."""
        assert channel.stdin is not None
        if not self._is_detached:
            try:
                channel.stdin.write(b"taken\n")
                channel.stdin.close()
                channel.wait(_SILENT_S)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                return ended  # it stays listed there, as ended
        return ended

    @staticmethod
    def _hung_up(channel: subprocess.Popen[bytes]) -> bytes:
        assert channel.stderr is not None
        channel.terminate()
        return channel.stderr.read()

    def _lost(self, code: int | None, said: bytes) -> None:
        """Go on only where a broken connection is what went wrong, and not for ever."""
        if code == scripts.NOT_KEPT:
            raise _not_kept(self._connection, said)
        if time.monotonic() - self._heard_at > self._connection.patience_s:
            problem = self._connection.failure(said)
            problem.hint = f"it goes on there: job({self._token!r}).wait()"
            raise problem
        self._connection.pause(_AGAIN_S)
        if b"Permission denied" in said or b"host key" in said.lower():
            raise self._connection.failure(said)

    def ran(self, ended: str, seconds: float) -> Ran:
        """What came of it."""
        (stdout, stdout_file), (stderr, stderr_file) = self._kept
        code = ended.split(maxsplit=1)[0]
        if not code.isdecimal():
            raise ReachError(
                f"machine {self._connection.address.instance_id} was started anew, or what it keeps of jobs was removed: "
                f"how the command ended is not known", code="lost", instance_id=self._connection.address.instance_id,
            )  # fmt: skip
        return Ran(int(code), stdout, stderr, seconds, stdout_file, stderr_file)


class _Frames:
    """The parts of what `scripts.follow` sends; those of output come as they arrive. A shell may say something of its own first."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind, self._due = "", 0

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bytes]]:
        """Take more; what is complete."""
        self._rest += chunk
        while self._rest:
            if self._due:
                part, self._rest = self._rest[: self._due], self._rest[self._due :]
                self._due -= len(part)
                yield self._kind, part
                continue
            line, newline, rest = self._rest.partition(b"\n")
            if not newline:
                return
            self._rest = rest
            kind, _, value = line.partition(b" ")
            if kind in (b"o", b"e") and value.isdigit():
                self._kind, self._due = kind.decode(), int(value)
            elif kind == b"x":
                yield "x", value
