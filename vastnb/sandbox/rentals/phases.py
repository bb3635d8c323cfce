"""The states of a rented machine and how long each lasts: pure, and the one table of both.

What is shown is a tuple of four words: what the container does, what the contract is, what the renter wants, and what
comes next. Sources: observed tuples and timings; where they contradict each other, the choice is named here.
"""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

from vastnb.sandbox.chance import unit


class Status(NamedTuple):
    """The four words of a row."""

    actual: str | None
    contract: str
    intended: str
    following: str


_UP = ("running", "running", "running")
_DOWN = ("stopped", "stopped", "stopped")

STATUSES: dict[str, Status] = {
    "provisioning": Status(None, *_UP),
    "created": Status("created", *_UP),
    "loading": Status("loading", *_UP),
    "running": Status("running", *_UP),
    # It still looks alive for some seconds after a stop, and then the contract is the last to know.
    "stopping": Status("running", "running", "stopped", "stopped"),
    "ending": Status("exited", "running", "stopped", "stopped"),
    "stopped": Status("exited", *_DOWN),
    # A start is accepted some seconds before the contract runs; until the container does, it looks like a crash.
    "accepted": Status("exited", "stopped", "running", "running"),
    "starting": Status("exited", *_UP),
    "queued": Status("exited", "stopped", "running", "running"),
    # Nothing but the prices tells an eviction from a stop by the renter.
    "outbid": Status("exited", *_DOWN),
    "rebooting": Status("rebooting", *_UP),
    "recycling": Status("recycling", *_UP),
}
"""Each phase as it is shown."""

FOLLOWING = {
    "provisioning": "created",
    "created": "loading",
    "loading": "running",
    "stopping": "ending",
    "ending": "stopped",
    "accepted": "starting",
    "starting": "running",
    "rebooting": "running",
    "recycling": "loading",
}
"""Phases that end by themselves, and what comes after."""

HOLDING = frozenset(STATUSES) - {"stopped", "queued", "outbid"}
"""Phases in which the GPUs are held."""
COMING = frozenset({"provisioning", "created", "loading", "accepted", "starting"})
CONTAINED = frozenset({"running", "stopping"})
"""Phases in which the container runs."""
LOADING_IS_BILLED = False
"""Whether GPUs are billed before the container first runs: told both ways, and recorded as not."""
GPU_BILLED = frozenset({"running", "stopping", "rebooting", "recycling"}) | (COMING if LOADING_IS_BILLED else set())

_IMAGE_GB = (2.0, 14.0)
_MBPS = (50.0, 900.0)
_LONGEST_PULL_S = 900.0
_TICKS_PER_S = 1024


def spans(seed: int, number: int, *, image: str, machine: int, inet_down: float) -> Mapping[str, float]:
    """Return the seconds that each phase of :data:`FOLLOWING` lasts for one contract.

    Every other image is on the machine already: it runs 30 to 60 s after it was rented. The others are downloaded first.
    """
    share = [float(unit(seed, f"span {name}", number)[0]) for name in ("provide", "create", "load", "start", "boot")]
    name = zlib.crc32(image.encode())
    cached = unit(seed, "cached", name, machine)[0] < 0.5
    size_gb = _IMAGE_GB[0] + (_IMAGE_GB[1] - _IMAGE_GB[0]) * float(unit(seed, "size", name)[0])
    pull_s = 0.0 if cached else size_gb * 8000 / min(max(inet_down, _MBPS[0]), _MBPS[1])
    seconds = {
        "provisioning": 3 + 3 * share[0],
        "created": 2 + 2 * share[1],
        "loading": 26 + 22 * share[2] + min(pull_s, _LONGEST_PULL_S),
        "stopping": 4.0,
        "ending": 2.0,
        "accepted": 3.4,
        "starting": 40 + 25 * share[3],
        "rebooting": 8 + 8 * share[4],
        "recycling": 6 + 4 * share[4],
    }
    return {phase: int(length * _TICKS_PER_S) / _TICKS_PER_S for phase, length in seconds.items()}
