"""What may stand behind a rented machine: nothing (the sandbox makes its states up), or something that really runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Instance(NamedTuple):
    """A rented machine at the moment of a change."""

    id: int
    account_id: int
    api_key: str
    """``CONTAINER_API_KEY``: may only act on this machine."""
    at: float
    """Epoch seconds of the sandbox's clock."""
    row: Mapping[str, Any]
    """As the list of instances answers it, secrets included."""
    env: Mapping[str, str]
    """The variables of its account, which every container has."""
    ssh_keys: tuple[str, ...]
    """The public keys that may log in."""


class Backend(Protocol):
    """What is told of the lives of rented machines.

    Calls come one after another in the order of the sandbox's time, from the thread that stepped the clock or served the
    request: they must return soon, and may not wait for a request to the sandbox.
    """

    def opened(self, url: str) -> None:
        """Take note that the sandbox listens at ``url``."""

    def started(self, instance: Instance) -> None:
        """Take note that the container runs: the first time, after a stop, or after a reboot."""

    def stopped(self, instance: Instance) -> None:
        """Take note that the container ended, its disk stays: stop, reboot, eviction, host offline."""

    def gone(self, instance: Instance) -> None:
        """Take note that the machine was destroyed with its disk; ``stopped`` came before if it ran."""

    def admitted(self, instance_id: int, keys: tuple[str, ...], before: tuple[str, ...]) -> None:
        """Take note that other public keys may log in than before."""

    def shown(self, instance_id: int) -> Mapping[str, Any]:
        """Return the fields of its row that this backend knows better (``ssh_host``, ``ssh_port``, ``ports``, ...)."""

    def output(self, instance_id: int) -> bytes | None:
        """Return what its container has printed so far, ``None`` if no real one stands behind it."""

    def disk(self, instance_id: int) -> Path | None:
        """Return where its file system is on this computer, ``None`` if it has none."""

    def closed(self) -> None:
        """End everything: the sandbox stops."""
