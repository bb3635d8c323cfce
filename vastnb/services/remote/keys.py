"""vastnb's own ssh key pair: made when it is first needed, private, never sent anywhere but its public half."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from vastnb.errors import StateError
from vastnb.services.remote.failures import no_program

__all__ = ["key_file", "public_key"]


def key_file(folder: Path) -> Path:
    """Where the private key of a state folder is, made or not."""
    return folder / "ssh" / "id_ed25519"


def public_key(folder: Path) -> str:
    """The public half of the key pair in a state folder; the pair is made if there is none.

    Raises
    ------
    ReachError
        There is no ssh-keygen to make one.
    StateError
        It cannot be made or read.
    """
    private = key_file(folder)
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise no_program("ssh-keygen")
    try:
        if not private.exists():
            _make(keygen, private)
        private.chmod(0o600)
        # Read off the private half: a file beside it could belong to another.
        return _told([keygen, "-y", "-P", "", "-f", str(private)])
    except (OSError, subprocess.CalledProcessError) as error:
        raise StateError(
            f"the ssh key {private} cannot be used: {error}", original=error, hint="move it away, and another is made"
        ) from error


def _make(keygen: str, private: Path) -> None:
    """Make it elsewhere and move it: another kernel may be doing the same, and whoever is first wins."""
    private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=private.parent) as folder:
        new = Path(folder) / private.name
        _told([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "vastnb", "-f", str(new)])
        with contextlib.suppress(FileExistsError):
            os.link(new, private)


def _told(words: list[str]) -> str:
    done = subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL, text=True)  # noqa: S603 ssh-keygen
    return done.stdout.strip()
