"""`Bounded`: what a cell shows, the beginning and the end of it if it is huge; then all of it is in a file."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from vastnb.services.remote.kernels import OnMessage
from vastnb.services.remote.screen import Screen

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
        self._screen, self._last, self._left_out = Screen(), "", 0
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
        room = _MOST_CHARS - self._screen.chars
        if room >= 0:
            self._screen.take(text)
            self._printed.append(text)
            if self._screen.chars <= _MOST_CHARS:
                self._tell(name, text)
                return
            self._tell(name, text[:room])
            self._open()
            text = text[room:]
        else:
            self._write(text)
        behind = self._last + text
        self._last = behind[-_LAST_CHARS:]
        self._left_out += len(behind) - len(self._last)

    def _tell(self, name: str, text: str) -> None:
        self._on_message("stream", {"name": name, "text": text})

    def _open(self) -> None:
        try:
            self._file, self.file = _new_file(self._folder, ".txt")
        except OSError as error:
            self._unkept(error)
            return
        self._tell("stdout", f"\n[... too much to show; all of it is in {self.file} ...]\n")
        self._write("".join(self._printed))
        self._printed.clear()

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(text.encode("utf-8", "surrogatepass"))
            self._file.flush()
        except OSError as error:
            self._unkept(error)

    def _unkept(self, error: OSError) -> None:
        """The cell runs on, and its end is shown; half a file would only fill the disk."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self.file is not None:
            self.file.unlink()
        self._file = self.file = None
        self._tell("stderr", f"\n[... too much to show, and it cannot be kept on this computer: {error} ...]\n")

    def _kept_apart(self, data: dict[str, Any]) -> str:
        """Write the largest form of a picture or table to a file; words about it."""
        kind = max(data, key=lambda mime: len(str(data[mime])))
        is_base64 = kind.startswith("image/") and not kind.endswith("+xml")
        whole = base64.b64decode(data[kind]) if is_base64 else str(data[kind]).encode("utf-8", "surrogatepass")
        words = f"{kind} of {len(whole) / 1e6:,.0f} MB, too much to show"
        try:
            file, path = _new_file(self._folder, f".{kind.partition('/')[2].partition('+')[0]}")
            with file:
                file.write(whole)
        except OSError as error:
            return f"[{words}, and it cannot be kept on this computer: {error}]\n"
        return f"[{words}: it is in {path}]\n"

    def close(self) -> None:
        """Show the end of what was printed, if not all was shown."""
        if self._file is not None:
            self._file.close()
        if self._last:
            words = f"[... {self._left_out:,} characters ...]\n" if self._left_out else ""
            self._tell("stdout", f"{words}{self._last}")


def _size(data: dict[str, Any]) -> int:
    return sum(len(part) if isinstance(part, str) else len(str(part)) for part in data.values())


def _new_file(folder: Path, suffix: str) -> tuple[BinaryIO, Path]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, path = tempfile.mkstemp(suffix, "cell-", folder)
    return os.fdopen(number, "wb"), Path(path)
