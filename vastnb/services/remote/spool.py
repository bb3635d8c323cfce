"""All that a command printed: in memory while it is little, whole in a file if it is much or no text."""

from __future__ import annotations

import codecs
import contextlib
import os
from pathlib import Path
from typing import BinaryIO

__all__ = ["Spool"]

_MOST_BYTES = 1_000_000
_SHOWN_BYTES = 100_000
"""Of what is in a file, so much of its beginning and of its end is text."""


class Spool:
    """The bytes of one stream.

    Parameters
    ----------
    path
        The file, if one is needed; made then, for its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = bytearray()
        self._file: BinaryIO | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.size = 0

    def write(self, chunk: bytes) -> str:
        """Take more bytes; the text that they complete."""
        self.size += len(chunk)
        if self._file is None and len(self._kept) + len(chunk) > _MOST_BYTES:
            self._open()
        if self._file is None:
            self._kept += chunk
        else:
            self._file.write(chunk)
        return self._decoder.decode(chunk)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb")
        self._file.write(self._kept)
        self._kept.clear()

    def close(self) -> tuple[str, Path | None]:
        """The text, and the file that holds all of it if the text does not."""
        if self._file is None and not _is_text(self._kept):
            self._open()
        if self._file is None:
            return self._kept.decode(), None
        self._file.close()
        return self._outline(), self._path

    def drop(self) -> None:
        """Let go of the file, if there is one; what is in it stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _outline(self) -> str:
        with self._path.open("rb") as whole:
            first = whole.read(_SHOWN_BYTES)
            if self.size <= 2 * _SHOWN_BYTES:
                return (first + whole.read()).decode(errors="replace")
            whole.seek(-_SHOWN_BYTES, os.SEEK_END)
            last = whole.read()
        left_out = self.size - 2 * _SHOWN_BYTES
        words = f"\n[... {left_out:,} bytes are left out here, {self._path} has all ...]\n"
        return first.decode(errors="replace") + words + last.decode(errors="replace")


def _is_text(kept: bytes | bytearray) -> bool:
    try:
        return "\0" not in kept.decode()
    except UnicodeDecodeError:
        return False
