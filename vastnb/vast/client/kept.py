"""Finished frames, kept so that nothing is parsed twice: in this process, and on disk for the next kernel.

A frame is handed out as a shallow copy: pandas copies what its owner changes, so the kept one stays as it was. Only public
market data is kept here.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KeptFrames"]

_IN_MEMORY = 32
_ON_DISK = 64
_SUFFIX = ".frame"


class KeptFrames:
    """Frames by what was asked, each until a time.

    Parameters
    ----------
    folder
        Where they lie on disk; None keeps them in this process only.
    clock
        Seconds since 1970.
    """

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self.hits = 0
        self._frames: dict[str, tuple[float, pd.DataFrame]] = {}
        self._lock = threading.Lock()

    def get(self, question: Any) -> pd.DataFrame | None:
        """The frame that answers `question` (anything JSON-safe), if it is fresh."""
        key = _digest(question)
        with self._lock:
            found = self._frames.get(key)
        if found is None:
            found = self._read(key)
            if found is not None:
                self._remember(key, *found)
        if found is None or self._clock() >= found[0]:
            return None
        self.hits += 1
        return _handed_out(found[1])

    def put(self, question: Any, frame: pd.DataFrame, until: float) -> None:
        """Keep `frame` as the answer to `question` until a time."""
        key = _digest(question)
        self._remember(key, until, _handed_out(frame))
        if self._folder is not None:
            self._write(self._folder, key, until, frame)

    def info(self) -> tuple[str, int, int]:
        """Where they lie, how many there are, and how many bytes they take on disk."""
        files = self._files()
        size = sum(path.stat().st_size for path in files if path.exists())
        return str(self._folder or "this process"), len(files) or len(self._frames), size

    def clear(self) -> None:
        """Forget every frame."""
        with self._lock:
            self._frames.clear()
        for path in self._files():
            with suppress(OSError):
                path.unlink()

    def _remember(self, key: str, until: float, frame: pd.DataFrame) -> None:
        with self._lock:
            self._frames.pop(key, None)
            while len(self._frames) >= _IN_MEMORY:
                self._frames.pop(next(iter(self._frames)))
            self._frames[key] = (until, frame)

    def _read(self, key: str) -> tuple[float, pd.DataFrame] | None:
        if self._folder is None:
            return None
        from vastnb.vast.types import columnfile

        found = columnfile.read(self._folder / (key + _SUFFIX))
        if found is None or not isinstance(found[1].get("until"), (int, float)):
            return None
        frame, head = found
        frame.attrs.update(head["attrs"])
        return float(head["until"]), frame

    def _write(self, folder: Path, key: str, until: float, frame: pd.DataFrame) -> None:
        from vastnb.vast.types import columnfile

        columnfile.write(folder / (key + _SUFFIX), frame, {"until": until, "attrs": frame.attrs})
        for path in self._files()[_ON_DISK:]:
            with suppress(OSError):
                path.unlink()

    def _files(self) -> list[Path]:
        """Those on disk, the newest first."""
        if self._folder is None:
            return []
        with suppress(OSError):
            return sorted(self._folder.glob("*" + _SUFFIX), key=lambda p: p.stat().st_mtime, reverse=True)
        return []


def _handed_out(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.copy(deep=False)


def _digest(question: Any) -> str:
    return hashlib.blake2b(json.dumps(question, sort_keys=True).encode(), digest_size=16).hexdigest()
