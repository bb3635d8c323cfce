"""What ssh's words mean: its exit status is 255 for everything. Pure."""

from __future__ import annotations

import re

from vastnb.errors import ReachError
from vastnb.services.remote.address import Address

__all__ = ["failed", "failure_of", "is_full", "no_program"]

_SSH_FAILED = 255
_MEANINGS: tuple[tuple[str, str, str, str | None], ...] = (
    (
        r"HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key .* differs",
        "host_key",
        "answers with another host key than before: it was made anew, or somebody else answers",
        "if you recycled it, or trust it all the same: forget_host_key() on the machine, then again",
    ),
    (
        r"Permission denied|Too many authentication failures|UNPROTECTED PRIVATE KEY",
        "key_refused",
        "does not take vastnb's ssh key",
        "a machine takes the keys that were registered when it was rented",
    ),
    (
        r"Connection refused|timed out|No route to host|Network is unreachable|Could not resolve|kex_exchange_identification",
        "unreachable",
        "does not answer to ssh",
        "a machine that has just begun to run may need a minute; %vast logs shows what it does",
    ),
)
_TRY_AGAIN = frozenset({"unreachable", "lost"})


def failed(status: int) -> bool:
    """Whether ssh itself, and not the command, failed or was killed."""
    return status == _SSH_FAILED or status < 0


def failure_of(address: Address, said: str) -> ReachError:
    """The error for what ssh `said` when it failed."""
    code, meaning, hint = _meaning(said)
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    what = f"machine {address.instance_id} at {address.host}:{address.port} {meaning}"
    return ReachError(
        f"{what} ({last})" if last else what, code=code, retryable=code in _TRY_AGAIN, hint=hint, instance_id=address.instance_id
    )  # fmt: skip


def _meaning(said: str) -> tuple[str, str, str | None]:
    for pattern, code, meaning, hint in _MEANINGS:
        if re.search(pattern, said):
            return code, meaning, hint
    return "lost", "was reached, and the connection was lost", "run it again: it goes on where it was"


def is_full(said: str) -> bool:
    """Whether a program says that there is no room for what it writes."""
    return re.search(r"No space left|quota exceeded", said) is not None


def no_program(name: str) -> ReachError:
    """The error where this computer lacks `name`."""
    package = "rsync" if name == "rsync" else "openssh-client"
    return ReachError(
        f"there is no {name} on this computer, and what works on a machine needs it", code="no_program",
        hint=f"Debian, Ubuntu: apt-get install {package}; conda: conda install -c conda-forge {'rsync' if name == 'rsync' else 'openssh'}. "
        "Logs, lists, start, stop and destroy work without it",
    )  # fmt: skip
