"""Files that a reader sees whole or not at all, whoever is killed while they are written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts`, one behind the other, as the private file `path`: a reader sees a whole one or none.

    Raises
    ------
    OSError
        It could not be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
        # Over an older file ext4 would first write the new one out, which takes four times as long.
        path.unlink(missing_ok=True)
        Path(beside).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(beside).unlink()
        raise
