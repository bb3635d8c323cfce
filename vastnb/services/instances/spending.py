"""What machines cost now, and what was charged for them. Pure, but for asking for the charges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vastnb.errors import ResponseError
from vastnb.services.budget import Spent
from vastnb.services.instances.states import Phase
from vastnb.vast.types.records import InstanceRecord

__all__ = ["ITEMS", "Bill", "bill_of", "midnight_before", "spent", "usd_of", "usd_per_hour_now"]

ITEMS = {"gpu": "gpu_usd", "disk": "disk_usd", "bwd": "download_usd", "bwu": "upload_usd"}
"""The service's words for what is charged."""


class Bill(BaseModel):
    """What was charged for one machine, by item, in dollars."""

    model_config = ConfigDict(frozen=True)

    instance_id: int
    gpu_usd: float = 0.0
    disk_usd: float = 0.0
    download_usd: float = 0.0
    upload_usd: float = 0.0
    usd_total: float = 0.0
    quoted_usd: float | None = Field(None, description="what its quote said for the whole job")
    is_final: bool = Field(
        False, description="whether the machine is gone; the service may still be some minutes behind"
    )

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        parts = {"GPU": self.gpu_usd, "disk": self.disk_usd, "download": self.download_usd, "upload": self.upload_usd}
        items = ", ".join(f"{name} ${usd:,.4f}" for name, usd in parts.items() if usd)
        so_far = "" if self.is_final else " so far"
        return f"${self.usd_total:,.4f}{so_far} for machine {self.instance_id}{f': {items}' if items else ''}"


def usd_per_hour_now(record: InstanceRecord, phase: Phase) -> float | None:
    """What a machine costs an hour as it is, None if its price is not known.

    Whether GPUs are billed while an image is fetched is told both ways: they are counted.
    """
    if phase == "offline":
        return 0.0
    return record.disk_usd_per_hour if phase in ("stopped", "outbid", "queued") else record.usd_per_hour


def bill_of(instance_id: int, charges: Iterable[Mapping[str, Any]], **more: Any) -> Bill:
    """The bill of one machine.

    Raises
    ------
    ResponseError
        A charge is no number.
    """
    sums = dict.fromkeys((*ITEMS.values(), "usd_total"), 0.0)
    for row in charges:
        if row.get("source") != f"instance-{instance_id}":
            continue
        sums["usd_total"] += usd_of(row)
        for item in row.get("items") or ():
            name = ITEMS.get(item.get("type"))
            if name is not None:
                sums[name] += usd_of(item)
    return Bill(instance_id=instance_id, **sums, **more)


def spent(
    charges_today: Iterable[Mapping[str, Any]], charges_ever: Iterable[Mapping[str, Any]], ours: set[int]
) -> Spent:
    """What the account was charged today, and what `ours` were charged ever."""
    sources = {f"instance-{instance_id}" for instance_id in ours}
    return Spent(
        today_usd=sum(map(usd_of, charges_today)),
        usd_total=sum(usd_of(row) for row in charges_ever if row.get("source") in sources),
    )


def midnight_before(now: float) -> datetime:
    """The beginning of the day (UTC)."""
    return datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def usd_of(row: Mapping[str, Any]) -> float:
    """The amount of a charge, or of an item of one.

    Raises
    ------
    ResponseError
        It is no number.
    """
    amount = row.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise ResponseError("charges: expected an amount in dollars", path="$.results[*].amount")
    return float(amount)
