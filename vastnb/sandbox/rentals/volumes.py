"""Rented volumes: disks of a host's machine that outlive the instances which use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vastnb.sandbox.market import Market
from vastnb.sandbox.reads import VOLUME_FIELDS, volume_rows

from .meters import DISK, Meter, nano
from .terms import RefusedError, bad

DEFAULT_GB = 15
FREED_AFTER_S = 30.0
"""How long a volume is still in use after its instance was destroyed; observed."""
_SHOWN = tuple(name for name in VOLUME_FIELDS if name not in ("ask_contract_id", "duration", "end_date", "id"))


@dataclass(eq=False)
class Volume:
    """A rented volume; it is billed for every second it exists."""

    id: int
    account_id: int
    created_at: float
    offer: Mapping[str, Any]
    size_gb: float
    label: str
    meter: Meter
    gone_at: float | None = None

    @property
    def nano_per_hour(self) -> int:
        """What it costs."""
        return nano(float(self.offer["storage_total_cost"]))

    def turn(self, at: float) -> None:
        """Begin to be billed, or end."""
        self.meter.turn(at, {DISK: self.nano_per_hour} if self.gone_at is None else {})

    def row(self, now: float, users: list[int]) -> dict[str, Any]:
        """Return it as the list of volumes answers it; ``users`` are the instances that use it."""
        same = {name: self.offer[name] for name in _SHOWN}
        own = {
            "cluster_id": None,
            "disk_space": self.size_gb,
            "duration": float(self.offer["end_date"]) - now,
            "end_date": self.offer["end_date"],
            "id": self.id,
            "instances": [{"id": number} for number in users],
            "label": self.label,
            "public_ipaddr": self.offer["public_ipaddr"],
            "start_date": self.created_at,
            "status": "active",
            "type": "local_volume",
        }
        return dict(sorted((same | own).items()))


def offer(market: Market, offer_id: Any, size: Any, now: float) -> dict[str, Any]:
    """Return a volume offer, priced for a size in GB, with its ``public_ipaddr``.

    Raises
    ------
    RefusedError
        If there is no such offer, or it is too small.
    """
    size = DEFAULT_GB if size is None else size
    if isinstance(size, bool) or not isinstance(size, int | float) or size < 1:
        raise bad("Invalid args: size must be at least 1 GB")
    view = market.view(now, float(size), "volume")
    found = np.flatnonzero(view["ask_contract_id"] == offer_id) if isinstance(offer_id, int) else np.array([], int)
    if not len(found):
        msg = f"error 404/3603: no_such_ask Volume offer by id {offer_id} is not available."
        raise RefusedError(404, "invalid_args", msg, ask_id=offer_id)
    row = volume_rows(view, found)[0]
    if size > row["disk_space"]:
        raise bad(f"Invalid args: size must be at most {row['disk_space']:g} GB")
    words = view.words("public_ipaddr")
    return row | {"public_ipaddr": words.vocabulary[words.codes[found[0]]]}
