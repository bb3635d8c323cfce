"""What the tests of renting share: a sandbox that stands still, and kernels that rent through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vastnb.infra.config import Settings
from vastnb.sandbox import Sandbox
from vastnb.services.costs import quote
from vastnb.services.instances.fleet import Fleet
from vastnb.services.offers import search
from vastnb.vast.client import Client

START = "2026-06-01T09:00:00+00:00"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGsaEb73p96+V0MTJJ6NwS8ZBaRaJEwmo+wwnsGFOVFZ tests"


class Yard:
    """A sandbox, and as many kernels as are asked for: each has its own connection, all share one state folder."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.sandbox = Sandbox(**{"offers": 400, "seed": 7, "start": START, "ssh_keys": [KEY], **options})
        self.folder, self._clients = folder, list[Client]()

    def kernel(self, *, folder: str = "home", **settings: Any) -> Fleet:
        """Another kernel; `folder` names the computer."""
        given = {
            "url": self.sandbox.url,
            "api_key": self.sandbox.api_key,
            "retries": 0,
            "timeout_s": 2.0,
            "pacing": "off",
            "cache": {"backend": "memory"},
            **settings,
        }
        client = Client(Settings(**given), cache_folder=self.folder / folder)
        self._clients.append(client)
        return Fleet(client, pause=self.pause)

    def pause(self, seconds: float) -> None:
        """By the sandbox's clock."""
        self.sandbox.clock.step(seconds=seconds)

    def offers(self, fleet: Fleet, text: str = "num_gpus=1", **options: Any) -> Any:
        """A frame of offers."""
        return search(text, client=fleet.client, refresh=True, **options)

    def quotes(self, fleet: Fleet, text: str = "num_gpus=1", **job: Any) -> Any:
        """A frame of quotes, cheapest first."""
        return quote(self.offers(fleet, text), **{"hours": 2, "disk_gb": 20, **job})

    @property
    def machines(self) -> list[dict[str, Any]]:
        """What exists on the server, whoever sees it."""
        return self.sandbox.instances

    @property
    def rent_requests(self) -> int:
        """How many paying calls arrived."""
        return sum(r.method == "PUT" and "/asks/" in r.path and "search" not in r.path for r in tuple(self.sandbox.log))

    def close(self) -> None:
        """Stop everything."""
        for client in self._clients:
            client.close()
        self.sandbox.stop()


@contextmanager
def yard(folder: Path, **options: Any) -> Iterator[Yard]:
    """A running `Yard`."""
    made = Yard(folder, **options)
    made.sandbox.start()
    try:
        yield made
    finally:
        made.close()
