"""Entries for the user's own ssh: a file for each machine, in a folder that the user's ssh config includes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vastnb.errors import StateError

__all__ = ["forget_entry", "write_entry"]


def write_entry(folder: Path, instance_id: int, host: str, options: Mapping[str, str], *, users: Path) -> None:
    """Let ``ssh HOST`` reach a machine, for editors too.

    Parameters
    ----------
    folder
        The state folder.
    instance_id, host
        The machine, and what it is called there.
    options
        How it is reached, in the words of an ssh config.
    users
        The user's ssh config; a line that includes ours is put before all else in it, once.

    Raises
    ------
    StateError
        One of the files cannot be written.
    """
    lines = [f"Host {host}", *(f"    {name} {value}" for name, value in options.items())]
    try:
        _replace(_entry(folder, instance_id), "\n".join([*lines, ""]))
        _include(users, f'Include "{folder / "ssh" / "config.d"}/*"')
    except OSError as error:
        raise StateError(f"the ssh config cannot be written: {error}", original=error) from error


def forget_entry(folder: Path, instance_id: int) -> None:
    """Remove the entry of a machine that is gone, if it has one."""
    _entry(folder, instance_id).unlink(missing_ok=True)


def _entry(folder: Path, instance_id: int) -> Path:
    return folder / "ssh" / "config.d" / str(instance_id)


def _include(users: Path, line: str) -> None:
    """Only what stands before the first host holds for all."""
    before = users.read_text("utf-8") if users.exists() else ""
    if line not in before.splitlines():
        _replace(users.resolve(), f"{line}\n{before}")


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, new = tempfile.mkstemp(dir=path.parent)  # for its owner alone
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(text)
    Path(new).replace(path)
