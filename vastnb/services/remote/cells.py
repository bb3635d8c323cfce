"""One cell on a machine: values go there, it runs, values come back.

1. What is pushed is packed into a file here, sent over the connection, and given its name there.
2. The cell runs in its `Kernel`.
3. What is pulled is packed into a file there, fetched, and unpacked here. A transfer that breaks goes on where it was.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from vastnb.errors import CellError, InputError
from vastnb.services.remote.connection import Connection
from vastnb.services.remote.failures import failed
from vastnb.services.remote.kernels import Kernel, OnMessage
from vastnb.services.remote.outputs import Bounded
from vastnb.services.remote.parcels import LITTLE_BYTES, pack, unpack

__all__ = ["CellRan", "Prices", "run_cell"]

_FOLDER = "~/.vastnb/kernels/{name}"
_TRIES = 5
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = r"(?:Cell In|Input In) ?\[{}\], line (\d+)"
"""How IPython names a place in its nth cell."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a machine costs; None where it does not say."""

    usd_per_hour: float | None = None
    inet_down_usd_per_gb: float | None = None
    inet_up_usd_per_gb: float | None = None

    def of(self, seconds: float, pushed: int, pulled: int) -> float | None:
        """What seconds and bytes cost together."""
        parts = (
            (self.usd_per_hour, seconds / 3600),
            (self.inet_down_usd_per_gb, pushed / 1e9),
            (self.inet_up_usd_per_gb, pulled / 1e9),
        )
        if any(price is None and amount for price, amount in parts):
            return None
        return sum((price or 0.0) * amount for price, amount in parts)


@dataclass(frozen=True, slots=True, repr=False)
class CellRan:
    """What came of a cell."""

    values: dict[str, Any]
    """What was pulled."""
    seconds: float
    """Transfers included."""
    usd: float | None
    """What the machine cost meanwhile, traffic of what was pushed and pulled included; None if its prices are not known."""
    pushed_bytes: int
    pulled_bytes: int
    file: Path | None = None
    """All that it printed, if that was too much to show."""

    def __repr__(self) -> str:
        usd = "" if self.usd is None else f", ${self.usd:.4f}"
        moved = [
            f"{way} {size / 1e6:,.1f} MB"
            for way, size in (("pushed", self.pushed_bytes), ("pulled", self.pulled_bytes))
            if size >= 50_000
        ]
        return f"{self.seconds:.2f} s{usd}{''.join(f', {part}' for part in moved)}"


def run_cell(
    kernel: Kernel, code: str, *, push: Mapping[str, Any], pull: Sequence[str], pickle: bool, on_message: OnMessage,
    prices: Prices, spools: Path,
) -> CellRan:  # fmt: skip
    """Push, run, pull.

    Parameters
    ----------
    kernel
        The Python it runs in.
    code
        The cell.
    push
        Values by the names they get there.
    pull
        Names there whose values come back.
    pickle
        Whether what no safe format takes may be pickled, both ways.
    on_message
        Told what the cell shows, in Jupyter's messages; of huge output, the beginning and the end.
    prices
        What the machine costs.
    spools
        The folder for output that is too much to show.

    Raises
    ------
    CellError
        The cell raised, or was interrupted; or a value could not be carried.
    ReachError
        The machine is not reached any more.
    """
    for name in (*push, *pull):
        if not name.isidentifier():
            raise InputError(f"expected a variable's name, got {name!r}")
    began = time.perf_counter()
    kernel.open()
    pushed = sum([_push(kernel, name, value, pickle) for name, value in push.items()])
    shown = Bounded(on_message, spools)
    try:
        reply = kernel.execute(code, shown.take)
    finally:
        shown.close()
    if reply["status"] != "ok":
        raise _failure(kernel, code, reply, time.perf_counter() - began)
    pulled = {name: _pull(kernel, name, pickle) for name in pull}
    moved, seconds = sum(size for _, size in pulled.values()), time.perf_counter() - began
    return CellRan(
        {name: value for name, (value, _) in pulled.items()}, seconds, prices.of(seconds, pushed, moved), pushed, moved, shown.file
    )  # fmt: skip


# -------------------------------------------------------- what a cell raised


def _failure(kernel: Kernel, code: str, reply: Mapping[str, Any], seconds: float) -> CellError:
    name, words = reply.get("ename", reply["status"]), reply.get("evalue", "")
    traceback = tuple(reply.get("traceback", ()))
    where = _place(code, reply)
    number = kernel.connection.address.instance_id
    if name == "KeyboardInterrupt":
        return CellError(
            f"interrupted after {seconds:.1f} s{where}", code="interrupted", instance_id=number, traceback=traceback, ename=name,
            hint="its Python lives on, with what it holds",
        )  # fmt: skip
    return CellError(
        f"{name}: {words}{where}", instance_id=number, ename=name, evalue=words, traceback=traceback,
        hint="%tb shows the machine's traceback" if traceback else "its traceback was lost; %tb in a cell there shows it",
    )  # fmt: skip


def _place(code: str, reply: Mapping[str, Any]) -> str:
    """The last line of the cell that its traceback names, with its words."""
    traceback = _COLOURS.sub("", "\n".join(reply.get("traceback", ())))
    numbers = re.findall(_PLACE.format(reply.get("execution_count", 0)), traceback)
    lines = code.splitlines()
    number = int(numbers[-1]) if numbers else 0
    return f"\n  line {number} of the cell: {lines[number - 1].strip()}" if 0 < number <= len(lines) else ""


# -------------------------------------------------------- values


def _push(kernel: Kernel, name: str, value: Any, pickle: bool) -> int:
    """Send a value and give it its name; its size in bytes."""
    path = f"{_FOLDER.format(name=kernel.name)}/in-{name}"
    with _room_here(kernel.connection, f"{name} is not pushed"), tempfile.TemporaryFile() as file:
        try:
            kind = pack(value, file, pickle=pickle)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise _not_carried(kernel.connection, f"{name} is not pushed: {error}", error) from error
        size, little = file.seek(0, os.SEEK_END), None
        file.seek(0)
        if size <= LITTLE_BYTES:
            little = base64.b64encode(file.read()).decode()
        else:
            _send(kernel.connection, file, size, path)
    told = kernel.evaluate(f"receive({name!r}, globals(), {kind!r}, {path!r}, pickle={pickle}, little={little!r})")
    if little is None:
        kernel.connection.run(f"rm -f {path}")
    if "problem" in told:
        raise _not_carried(kernel.connection, f"{name} arrived, and could not be read there: {told['problem']}")
    return size


def _pull(kernel: Kernel, name: str, pickle: bool) -> tuple[Any, int]:
    """A value of the machine, and its size in bytes."""
    told = kernel.evaluate(f"carry({name!r}, globals(), {_FOLDER.format(name=kernel.name)!r}, pickle={pickle})")
    if "problem" in told:
        raise _not_carried(kernel.connection, f"{name} is not pulled: {told['problem']}")
    with _room_here(kernel.connection, f"{name} is not pulled"), tempfile.NamedTemporaryFile() as file:
        if "little" in told:
            Path(file.name).write_bytes(base64.b64decode(told["little"]))
        else:
            _fetch(kernel.connection, told["path"], told["size"], file.file)
            kernel.connection.run(f"rm -f {shlex.quote(told['path'])}")
        try:
            return unpack(told["kind"], file.name, pickle=pickle), told["size"]
        except (TypeError, ValueError, NotImplementedError, ImportError, OSError) as error:
            raise _not_carried(
                kernel.connection, f"{name} was pulled, and could not be read here: {error}", error
            ) from error


@contextmanager
def _room_here(connection: Connection, what: str) -> Iterator[None]:
    """Inside, an error of this computer's disk is said to be one."""
    try:
        yield
    except OSError as error:
        raise _not_carried(
            connection, f"{what}: this computer cannot keep it: {error}", error, hint=f"make room in {tempfile.gettempdir()}"
        ) from error  # fmt: skip


def _not_carried(
    connection: Connection, what: str, error: Exception | None = None, *, hint: str | None = None
) -> CellError:
    hints = {
        "pyarrow": "pip install pyarrow",
        "pickle": "--pickle (pickle=True) carries it; a pickle from a machine can run code here",
        "No space left": "the machine's disk is full: remove something there",
    }
    hint = hint or next((hint for word, hint in hints.items() if word in what), None)
    return CellError(what, code="not_carried", hint=hint, original=error, instance_id=connection.address.instance_id)


def _send(connection: Connection, file: BinaryIO, size: int, path: str) -> None:
    """Write a file of this computer to one of the machine; all of it again if the connection breaks.

    What an earlier try left on its way over there may still arrive: it is written beside, and counted.
    """
    for left in reversed(range(_TRIES)):
        file.seek(0)
        part = f"{path}.{left}"
        script = (
            f"cat >{part} && [ $(wc -c <{part}) -eq {size} ] && mv {part} {path}; code=$?; rm -f {part}; exit $code"
        )
        if _moved(connection, script, left, stdin=file):
            return


def _fetch(connection: Connection, path: str, size: int, file: IO[bytes]) -> None:
    """Write a file of the machine to one of this computer; what is there already is not fetched again."""
    for left in reversed(range(_TRIES)):
        _require_room(file, size - file.seek(0, os.SEEK_END))
        if _moved(connection, f"tail -c +{file.tell() + 1} {shlex.quote(path)}", left, stdout=file):
            break
    file.seek(0, os.SEEK_END)
    if file.tell() != size:
        number = connection.address.instance_id
        raise _not_carried(connection, f"{file.tell():,} of {size:,} bytes arrived from machine {number}")


def _require_room(file: IO[bytes], size: int) -> None:
    """Raise if a disk of this computer is full: ssh, which writes there, only says that its connection is lost."""
    disk = os.fstatvfs(file.fileno())
    if disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _moved(connection: Connection, script: str, tries_left: int, **ends: Any) -> bool:
    """Whether the bytes went; a connection that breaks for the last time is an error, and so is a full disk there."""
    process = connection.stream(script, stderr=subprocess.PIPE, **ends)
    try:
        _, said = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode == 0:
        return True
    if failed(process.returncode):
        failure = connection.failure(said)
        if failure.retryable and tries_left:
            return False
        raise failure
    number = connection.address.instance_id
    raise _not_carried(connection, f"machine {number}: {said.decode(errors='replace').strip()}")
