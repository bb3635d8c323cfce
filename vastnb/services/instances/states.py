"""What a machine does, in one word, from the four states that the service tells. Pure.

The service's words: ``actual_status`` is the container's (None while it is being made), ``cur_state`` the contract's,
``intended_status`` what was asked for. Seen together they tell more than each: a machine that runs but is meant to be stopped is
stopping; one that has ended but is meant to run has just been started, or has crashed.
"""

from __future__ import annotations

import re
from typing import Literal

from vastnb.vast.types.records import InstanceRecord

__all__ = ["DEAD", "Phase", "phase_of", "verdict"]

Phase = Literal[
    "provisioning", "loading", "running", "stopping", "stopped", "outbid", "queued", "exited", "failed", "unknown", "offline"
]  # fmt: skip
"""
* ``provisioning``: the contract is made, the container is not; ``loading``: the image is fetched;
* ``running``; ``stopping``; ``stopped``: by its owner, its disk is billed;
* ``outbid``: an interruptible machine that somebody bid more for, its disk is billed;
* ``queued``: started, and waiting for GPUs that somebody else has;
* ``exited``: the container ended, or is about to start again; ``failed``: the container cannot be made;
* ``unknown``: the machine has not been heard of lately; ``offline``: the host is gone.
"""
DEAD: frozenset[Phase] = frozenset({"exited", "failed", "unknown", "offline", "stopped", "outbid"})
"""None of these becomes running by itself."""
_FAILED = re.compile(
    r"runtime create failed|failed to (?:create|pull|start)|manifest (?:unknown|for .* not found)|no such image"
    r"|pull access denied|invalid reference|error response from daemon|no space left",
    re.IGNORECASE,
)


def phase_of(record: InstanceRecord, *, was_stopped: bool = False) -> Phase:
    """What a machine does.

    Parameters
    ----------
    record
        What the service tells of it.
    was_stopped
        Whether its owner is known to have stopped it; the service does not tell that from an eviction.
    """
    status, contract, intended = record.actual_status, record.cur_state, record.intended_status
    if status in ("offline", "unknown"):
        return "offline" if status == "offline" else "unknown"
    if contract == "stopped":
        if intended == "running" or record.next_state == "running":
            return "queued"
        return "outbid" if not was_stopped and _is_outbid(record) else "stopped"
    if intended == "stopped":
        return "stopping"
    if status == "running":
        return "running"
    return _beginning(record)


def verdict(
    phase: Phase, *, waited_s: float, start_s: float, stuck_s: float
) -> Literal["ready", "dead", "stuck", "wait"]:
    """What somebody who waits for a machine to run should make of its phase.

    Parameters
    ----------
    phase
        What it does.
    waited_s
        For how long it has not been running.
    start_s
        For so long after a start it may seem to have exited.
    stuck_s
        For how long it may take to load.
    """
    if phase == "running":
        return "ready"
    if phase in DEAD and not (phase == "exited" and waited_s < start_s):
        return "dead"
    return "stuck" if phase in ("provisioning", "loading") and waited_s > stuck_s else "wait"


def _beginning(record: InstanceRecord) -> Phase:
    """Its phase on the way to running."""
    if _FAILED.search(record.status_msg or ""):
        return "failed"
    if record.actual_status in ("exited", "stopped"):
        return "exited"
    return "provisioning" if record.actual_status is None else "loading"


def _is_outbid(record: InstanceRecord) -> bool:
    """An eviction and a stop by the owner look the same, but for the price that must be bid now."""
    bid, floor = record.gpu_usd_per_hour, record.min_bid_usd_per_hour
    return bool(record.is_bid) and bid is not None and floor is not None and floor > bid
