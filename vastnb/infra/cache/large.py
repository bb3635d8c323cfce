"""Long entries as files of their own, beside the SQLite file.

SQLite takes six times as long for a blob of some megabytes, and copies it twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from vastnb.infra.files import write_whole

__all__ = ["WORTH_A_FILE", "LargeEntries"]

WORTH_A_FILE = 1 << 19
"""Bytes of a body from which a file is faster."""
_SUFFIX = ".entry"
_ABSENT = (FileNotFoundError, NotADirectoryError)


class LargeEntries:
    """Bytes by key, each in a private file in a folder beside `file`, which is made when it is needed."""

    def __init__(self, file: Path) -> None:
        self._folder = file.with_name(file.name + ".large")

    def path(self, key: str) -> Path:
        """Where the entry of `key` is, if there is one."""
        return self._folder / (quote(key, safe=" ").replace(".", "%2E") + _SUFFIX)

    def get(self, key: str) -> bytes | None:
        """The entry of `key`, or None."""
        try:
            return self.path(key).read_bytes()
        except _ABSENT:
            return None

    def put(self, key: str, parts: Iterable[bytes]) -> None:
        """Keep `parts`, one behind the other, as the entry of `key`."""
        write_whole(self.path(key), parts)

    def delete(self, keys: Iterable[str]) -> None:
        """Forget the entries of `keys`."""
        for key in keys:
            with suppress(*_ABSENT):
                self.path(key).unlink()

    def keys(self) -> list[str]:
        """The keys that have an entry."""
        names = (path.name for path in self._files())
        return [unquote(name.removesuffix(_SUFFIX)) for name in names if not name.startswith(".")]

    def size(self) -> int:
        """How many bytes all files have."""
        total = 0
        for path in self._files():
            with suppress(*_ABSENT):  # another kernel has made room
                total += path.stat().st_size
        return total

    def sweep(self, before: float) -> None:
        """Delete what a killed process left half written before a time, in seconds since 1970."""
        for path in self._files():
            with suppress(OSError):
                if path.name.startswith(".") and path.stat().st_mtime < before:
                    path.unlink()

    def _files(self) -> list[Path]:
        return list(self._folder.glob("*" + _SUFFIX))
