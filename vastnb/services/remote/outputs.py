"""`Bounded`: what a cell shows, the beginning and the end of it if it is huge; then all of it is in a file."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from vastnb.services.remote.kernels import OnMessage

__all__ = ["Bounded"]

_MOST_CHARS = 100_000
"""Of text that a cell prints."""
_LAST_CHARS = 10_000
_MOST_BUNDLE = 20_000_000
"""Of one picture or table, in characters: a notebook is one file."""


class Bounded:
    """Passes Jupyter's messages on, while they are not too much.

    Parameters
    ----------
    on_message
        Told the type of a message, and its content.
    folder
        Where the file is made, if one is needed.
    """

    def __init__(self, on_message: OnMessage, folder: Path) -> None:
        self._on_message, self._folder = on_message, folder
        self._printed: list[str] = []
        self._chars, self._last = 0, ""
        self._file: BinaryIO | None = None
        self.file: Path | None = None
        """All that was printed, if it was too much."""

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """One message more."""
        if kind == "stream":
            self._take_text(content["name"], content["text"])
        elif "data" in content and _size(content["data"]) > _MOST_BUNDLE:
            self._on_message("stream", {"name": "stdout", "text": self._kept_apart(content["data"])})
        else:
            self._on_message(kind, content)

    def _take_text(self, name: str, text: str) -> None:
        room = _MOST_CHARS - self._chars
        self._chars += len(text)
        if room > 0:
            self._printed.append(text)
            self._on_message("stream", {"name": name, "text": text[:room]})
        if self._chars <= _MOST_CHARS:
            return
        if self._file is None:
            self._open()
        else:
            self._write(text)
        self._last = (self._last + text[max(room, 0) :])[-_LAST_CHARS:]

    def _open(self) -> None:
        self._file, self.file = _new_file(self._folder, ".txt")
        self._on_message(
            "stream", {"name": "stdout", "text": f"\n[... too much to show; all of it is in {self.file} ...]\n"}
        )
        self._write("".join(self._printed))
        self._printed.clear()

    def _write(self, text: str) -> None:
        assert self._file is not None
        self._file.write(text.encode("utf-8", "surrogatepass"))

    def _kept_apart(self, data: dict[str, Any]) -> str:
        """Write the largest form of a picture or table to a file; words about it."""
        kind = max(data, key=lambda mime: len(str(data[mime])))
        is_base64 = kind.startswith("image/") and not kind.endswith("+xml")
        whole = base64.b64decode(data[kind]) if is_base64 else str(data[kind]).encode("utf-8", "surrogatepass")
        file, path = _new_file(self._folder, f".{kind.partition('/')[2].partition('+')[0]}")
        with file:
            file.write(whole)
        return f"[{kind} of {len(whole) / 1e6:,.0f} MB, too much to show: it is in {path}]\n"

    def close(self) -> None:
        """Show the end of what was printed, if not all was shown."""
        if self._file is not None:
            self._file.close()
            left_out = self._chars - _MOST_CHARS - len(self._last)
            words = f"[... {left_out:,} characters ...]\n" if left_out else ""
            self._on_message("stream", {"name": "stdout", "text": f"{words}{self._last}"})


def _size(data: dict[str, Any]) -> int:
    return sum(len(part) if isinstance(part, str) else len(str(part)) for part in data.values())


def _new_file(folder: Path, suffix: str) -> tuple[BinaryIO, Path]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, path = tempfile.mkstemp(suffix, "cell-", folder)
    return os.fdopen(number, "wb"), Path(path)
