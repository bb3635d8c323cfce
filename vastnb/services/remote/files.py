"""Files to a machine and from it, by rsync over its connection.

1. What would be copied is measured first: files and bytes. Whoever pays is asked then, and may refuse.
2. It is copied. rsync compares a checksum of each file that it has copied with that of the other side. If the connection
   breaks, it goes on where it was: a file that has come in part waits in a folder beside its place, never under its name.
3. It is measured again. What differs now has changed while it was copied, and is copied again; what still differs is told.

Nothing is ever removed on either side, and owners stay as they are made: the machine is a stranger's.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from vastnb.errors import CopyError, InputError
from vastnb.services.remote.connection import Connection, require
from vastnb.services.remote.failures import is_full

__all__ = ["Copied", "Copy", "Moving", "Way"]

Way = Literal["put", "get"]
_PARTIAL = ".vastnb-partial"
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_BROKEN = frozenset({10, 12, 20, 30, 35, 255})
"""rsync's exit statuses where the other side is not heard any more."""
_PARTLY, _VANISHED, _NOT_FOUND = 23, 24, 127
_ROUNDS = 3
_NAMED = 5
_TELL_S = 0.2
"""rsync tells of each file, and a thousand small ones are copied in less than a second."""
_PROGRESS = re.compile(rb"\s*(\d+)\s+\d+%")
_STATS = {"files": rb"Number of regular files transferred: (\d+)", "size": rb"Total transferred file size: (\d+)"}


class Moving(NamedTuple):
    """How far a copy is, for whoever shows it."""

    what: str
    done_bytes: int
    total_bytes: int
    usd: float | None
    """The traffic of all of it; None if its price is not known."""
    elapsed_s: float
    is_last: bool = False

    def __str__(self) -> str:
        price = "" if self.usd is None else f", ${self.usd:.4f} of traffic"
        speed = f", {sized(self.done_bytes / self.elapsed_s)}/s" if self.elapsed_s > 1 and self.done_bytes else ""
        return f"{self.what}: {sized(self.done_bytes)} of {sized(self.total_bytes)}{speed}{price}"


@dataclass(frozen=True, slots=True, repr=False)
class Copied:
    """What was copied."""

    files: int
    """Those that were not there already, or not the same."""
    size_bytes: int
    seconds: float
    usd: float | None
    """What its traffic costs, by the machine's prices; None if they are not known."""
    changed: tuple[str, ...] = ()
    """Files that changed while they were copied, so that a copy may be of no one moment."""

    def __repr__(self) -> str:
        if not self.files:
            return "everything was there already"
        price = "" if self.usd is None else f", ${self.usd:.4f} of traffic"
        changed = f"; changed while they were copied: {_named(self.changed)}" if self.changed else ""
        return f"{_counted(self.files)}, {sized(self.size_bytes)} in {self.seconds:.1f} s{price}{changed}"


def sized(size: float) -> str:
    """A number of bytes, as one says it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} GB" if size < 1000 else f"{size:,.0f} GB"


class Copy:
    """One copy, to a machine or from it.

    Parameters
    ----------
    connection
        The machine.
    way
        ``put`` (to it) or ``get`` (from it).
    source, to
        As for rsync: with a slash at its end, what is in a folder; without one, the folder itself.
    checksum
        Compare what files hold, not only their sizes and times.

    Raises
    ------
    InputError
        A path that cannot be one.
    """

    def __init__(
        self, connection: Connection, way: Way, source: str | Path, to: str | Path, *, checksum: bool = False
    ) -> None:
        self.way: Way = way
        self._connection, self._checksum = connection, checksum
        if way == "put":
            self._theirs, self._here = _remote(to), _local(source)
            if not self._here.exists():
                raise InputError(f"there is no file or folder {source}")
            self._ends = (_as_written(self._here, source), self._there(self._theirs))
        else:
            self._theirs, self._here = _remote(source), _local(to)
            self._ends = (self._there(self._theirs), _as_written(self._here, to))
        self._makes_folder = str(to).endswith("/")
        self._vanished: set[str] = set()

    def run(self, allow: Callable[[int], float | None], on_progress: Callable[[Moving], None] | None = None) -> Copied:
        """Measure, ask, copy, look.

        Parameters
        ----------
        allow
            Told how many bytes it would take; their price, or raises.
        on_progress
            Told how far it is, a few times a second.

        Raises
        ------
        CopyError
            It was not copied, or not whole.
        ReachError
            The machine was not reached for too long.
        """
        require("rsync")
        began, tell = time.monotonic(), on_progress or (lambda _moving: None)
        self._make_room()  # without it, rsync cannot tell what it would do
        files, size = self._measure()
        usd = allow(size)
        what = f"{self.way} {_counted(files)}"

        reached, told_at = 0, float("-inf")

        def moved(done: int, *, is_last: bool = False) -> None:
            nonlocal reached, told_at
            reached, now = min(done, size), time.monotonic()
            if is_last or now - told_at >= _TELL_S:
                told_at = now
                tell(Moving(what, reached, size, usd, now - began, is_last))

        moved(0)
        try:
            changed = self._copy(moved)
            moved(size)
        except OSError as error:
            self._fail(_PARTLY, str(error).encode())
        finally:
            moved(reached, is_last=True)
        return Copied(files, size, time.monotonic() - began, usd, changed)

    # ------------------------------------------------------------ the three steps

    def _measure(self) -> tuple[int, int]:
        """How many files would be copied, and how many bytes."""
        told = self._repeated(["-n", "--stats"])
        found = {name: re.search(pattern, told) for name, pattern in _STATS.items()}
        return tuple(int(match[1]) if match else 0 for match in found.values())  # type: ignore[return-value]

    def _copy(self, moved: Callable[[int], None]) -> tuple[str, ...]:
        """Copy until nothing differs any more; what still does in the end, and what has gone meanwhile."""
        changed: tuple[str, ...] = ()
        with tempfile.TemporaryDirectory(prefix=".vastnb-", dir=self._landing, ignore_cleanup_errors=True) as landing:
            own = ["--temp-dir", landing] if self.way == "get" else []
            for _ in range(_ROUNDS):
                self._repeated([*own, "--info=progress2,name0"], moved)
                changed = tuple(_itemized(self._repeated(["-n", "--itemize-changes"])))
                if not changed:
                    break
        return (*changed, *sorted(self._vanished))

    def _make_room(self) -> None:
        """Make the folder that is copied into."""
        if self.way == "get":
            folder = self._here if self._makes_folder else self._here.parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self._fail(_PARTLY, str(error).encode())
            return
        folder_there = self._theirs if self._makes_folder else os.path.dirname(self._theirs)  # noqa: PTH120 not of here
        done = self._connection.run(f"mkdir -p -- {shlex.quote(folder_there or '.')}")
        if done.code:
            self._fail(_PARTLY, done.stderr)

    @property
    def _landing(self) -> Path | None:
        """Where files of a `get` come in, on the disk where they go; a kernel that is killed leaves no half files elsewhere."""
        if self.way == "put":
            return None
        return (self._here if self._here.is_dir() else self._here.parent).absolute()

    # ------------------------------------------------------------ rsync

    def _repeated(self, options: Sequence[str], moved: Callable[[int], None] | None = None) -> bytes:
        """Run rsync until it comes to its end; what it printed."""
        heard_at = time.monotonic()
        while True:
            self._connection.open()
            code, told, said, has_moved = self._once(options, moved)
            if code in (0, _VANISHED):
                self._vanished |= set(_files_in(said.decode(errors="replace"))) if code else set()
                return told
            if has_moved:
                heard_at = time.monotonic()
            is_broken = (code in _BROKEN or code < 0) and not is_full(said.decode(errors="replace"))
            if not is_broken or time.monotonic() - heard_at > self._connection.patience_s:
                self._fail(code, said)

    def _once(self, options: Sequence[str], moved: Callable[[int], None] | None) -> tuple[int, bytes, bytes, bool]:
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(  # noqa: S603
                self._words(options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
                start_new_session=True, env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
            assert process.stdout is not None
            told, done = bytearray(), 0
            try:
                while chunk := os.read(process.stdout.fileno(), 1 << 16):
                    told += chunk
                    done = _progress(chunk, done)
                    if moved is not None:
                        moved(done)
                process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
                process.stdout.close()
            said.seek(0)
            return process.returncode, bytes(told), said.read(), done > 0

    def _words(self, options: Sequence[str]) -> list[str]:
        # Of an option's quotes rsync understands its own alone: doubled inside, no backslash.
        shell = " ".join("'" + word.replace("'", "''") + "'" for word in self._connection.words()[:-1])
        kept = ["-rlt", "--executability", f"--partial-dir={_PARTIAL}", "--secluded-args", "--no-h"]
        contents = ["--checksum"] if self._checksum else []
        return ["rsync", *kept, *contents, *options, "-e", shell, "--", *self._ends]

    def _there(self, path: str) -> str:
        return f"{self._connection.address.alias}:{path}"

    def _fail(self, code: int, said: bytes) -> NoReturn:
        text = said.decode(errors="replace")
        if code == 255 and "rsync" not in text:
            raise self._connection.failure(said)
        lines = [
            line.removeprefix("rsync: ") for line in text.splitlines() if line and not line.startswith("rsync error")
        ]
        number, first = self._connection.address.instance_id, lines[0] if lines else f"rsync ended with status {code}"
        if is_full(text):
            where = f"machine {number}" if self.way == "put" else "this computer"
            raise CopyError(
                f"the disk of {where} is full: {first}", code="disk_full", instance_id=number, files=_files_in(text),
                hint="make room, and run it again: it goes on where it was",
            )  # fmt: skip
        if code == _NOT_FOUND or "command not found" in text or "rsync: not found" in text:
            raise CopyError(
                f"there is no rsync on machine {number}", code="no_program", instance_id=number,
                hint="run('apt-get update && apt-get install -y rsync') puts it there",
            )  # fmt: skip
        is_refusal = code in (_PARTLY, 1, 2, 3, 11)
        raise CopyError(
            f"{self.way} was not done whole: {first}", code="refused" if is_refusal else "copy", instance_id=number, files=_files_in(text),
            retryable=not is_refusal, hint="the rest was copied; run it again when that is mended" if is_refusal else None,
        )  # fmt: skip


def _remote(path: str | Path) -> str:
    """A path on a machine; from its home on, if it does not begin with a slash."""
    text = _checked(path, "on the machine", "/workspace/data")
    return text.removeprefix("~/") if text.startswith("~/") else "." if text == "~" else text


def _local(path: str | Path) -> Path:
    return Path(_checked(path, "on this computer", "/mnt/c/data")).expanduser()


def _checked(path: str | Path, where: str, example: str) -> str:
    text = str(path)
    if not text or "\0" in text:
        raise InputError(f"expected a path {where}, got {text!r}")
    if _WINDOWS.match(text):
        raise InputError(f"a path {where} is like {example}, got {text}")
    return text


def _as_written(path: Path, written: str | Path) -> str:
    """An absolute path, so that no name in it looks like an option or a host; with its slash, which says what is meant."""
    return f"{path.absolute()}/" if str(written).endswith("/") else str(path.absolute())


def _progress(chunk: bytes, before: int) -> int:
    """How many bytes were copied, from what rsync prints."""
    found = [int(match[1]) for match in (_PROGRESS.match(line) for line in re.split(rb"[\r\n]", chunk)) if match]
    return found[-1] if found else before


def _itemized(told: bytes) -> list[str]:
    """The files that differ, from what rsync prints of what it would do."""
    lines = told.decode(errors="replace").splitlines()
    return [line.split(" ", 1)[1] for line in lines if line[:2] in (">f", "<f")]


def _files_in(said: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(re.findall(r'"([^"]+)"', said)))


def _counted(files: int) -> str:
    return f"{files:,} file{'' if files == 1 else 's'}"


def _named(files: Sequence[str]) -> str:
    more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
    return ", ".join(files[:_NAMED]) + more
