"""A copy of a machine's folder that is whole or not there.

1. It comes in beside its place, in a folder that begins with what the last whole copy holds.
2. Checksums of both sides are compared, file by file. What the copy before had and the machine has no more goes.
3. It takes the place of the copy before, which goes only then. If that is cut, `mend` ends it.

Files of the user's own in that place stay. Knows nothing of how files get here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

__all__ = ["Landing", "read_sums", "sums_script"]

_SUMS = """
cd -- {source} || exit 1
s=$(command -v sha256sum || echo shasum -a 256)
find . -type f ! -path '*/.vastnb-partial/*' -exec $s {{}} +
"""


def sums_script(source: str) -> str:
    """What prints the checksums of a folder on a machine."""
    return _SUMS.format(source=shlex.quote(source.removeprefix("~/") or "."))


def read_sums(told: bytes) -> dict[str, str]:
    """What `sums_script` prints: paths within the folder, and their checksums."""
    found = {}
    for line in os.fsdecode(told).splitlines():
        digest, _, path = line.partition(" ")
        path = path[1:].removeprefix("./")
        if digest.startswith("\\"):  # so the program marks a name that holds a backslash or a new line
            digest, path = digest[1:], path.replace("\\n", "\n").replace("\\\\", "\\")
        found[path] = digest
    return found


class Landing:
    """The place of one copy.

    Parameters
    ----------
    to
        The folder that always is the last whole copy, once there was one.
    """

    def __init__(self, to: Path) -> None:
        self.to = to
        self.new, self._old, self._kept = (to.with_name(f".{to.name}.vastnb{end}") for end in ("-new", "-old", ""))

    def mend(self) -> None:
        """End what was cut while one copy took the place of another."""
        if self._old.exists() and not self.to.exists():
            self._old.rename(self.to)
        self._rescue()
        shutil.rmtree(self._old, ignore_errors=True)

    def _rescue(self) -> None:
        """What the user put into the copy before while this one came."""
        known = self.sums
        for file in self._old.rglob("*"):
            path = file.relative_to(self._old)
            if file.is_file() and str(path) not in known and not (self.to / path).exists():
                (self.to / path).parent.mkdir(parents=True, exist_ok=True)
                _linked(str(file), str(self.to / path))

    def begin(self) -> None:
        """Make ready for a copy; one that was cut goes on where it was."""
        self.mend()
        if self.new.exists():
            return
        self.to.parent.mkdir(parents=True, exist_ok=True)
        if self.to.exists():
            shutil.copytree(self.to, self.new, symlinks=True, copy_function=_linked)
        else:
            self.new.mkdir()

    def is_whole(self, theirs: Mapping[str, str]) -> bool:
        """Whether what came is what the machine has; what it has no more goes."""
        for path in self.sums.keys() - theirs.keys():
            if _is_inside(self.new, path):
                (self.new / path).unlink(missing_ok=True)
        return _sums_of(self.new, theirs) == theirs

    def swap(self, theirs: Mapping[str, str]) -> None:
        """Let what came take the place of the copy before."""
        if self.to.exists():
            self.to.rename(self._old)
        self.new.rename(self.to)
        self.mend()
        # Written last: cut before, it lacks what is new, and so too little is removed.
        beside = self._kept.with_name(f"{self._kept.name}-sums")
        beside.write_bytes(orjson.dumps({os.fsencode(path).hex(): digest for path, digest in theirs.items()}))
        beside.replace(self._kept)

    def held(self) -> dict[str, str]:
        """The checksums of what is in its place."""
        return _sums_of(self.to, [str(path.relative_to(self.to)) for path in self.to.rglob("*") if path.is_file()])

    @property
    def sums(self) -> dict[str, str]:
        """The checksums of the last whole copy; empty if there was none."""
        with contextlib.suppress(OSError, ValueError):
            return {
                os.fsdecode(bytes.fromhex(path)): sha for path, sha in orjson.loads(self._kept.read_bytes()).items()
            }
        return {}


def _sums_of(folder: Path, wanted: Iterable[str]) -> dict[str, str]:
    found = {}
    for path in filter(lambda path: _is_inside(folder, path), wanted):
        with contextlib.suppress(OSError), (folder / path).open("rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _is_inside(folder: Path, path: str) -> bool:
    """Whether a path is one in this folder. The machine is a stranger's: it may name ``..``, or go through a link that it sent."""
    there = folder / path
    return there.parent.resolve().is_relative_to(folder.resolve()) and not there.is_symlink()


def _linked(source: str, to: str) -> None:
    """The same file under another name where the disk can do that: rsync replaces files, and writes into none."""
    try:
        os.link(source, to, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, to, follow_symlinks=False)
