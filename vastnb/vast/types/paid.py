"""The column tables of what was paid: spending, and bills beside their quotes."""

from __future__ import annotations

from vastnb.vast.types.columns import Column, number

__all__ = ["RECONCILED", "SPENT_BY_CONTRACT", "SPENT_BY_DAY", "SPENT_BY_GROUP"]

_AMOUNTS: tuple[Column, ...] = (
    number("usd_total", "", "all of it", "$", head="Total", form=",.2f"),
    number("gpu_usd", "", "GPUs", "$", head="GPU", form=",.2f"),
    number("disk_usd", "", "disks, of stopped machines and of volumes too", "$", head="Disk", form=",.2f"),
    number("download_usd", "", "data to the machines", "$", head="Download", form=",.2f"),
    number("upload_usd", "", "data from the machines", "$", head="Upload", form=",.2f"),
    number("other_usd", "", "charged for anything else, or for what the service does not say", "$"),
)
_WHAT = Column("what", "str", "machine, volume, or another word of the service's", head="What")

SPENT_BY_DAY: tuple[Column, ...] = (
    Column("day", "datetime64[us, UTC]", "the day, from midnight to midnight", "UTC", head="Day"),
    *_AMOUNTS,
    Column("contracts", "Int64", "machines and volumes that were charged for", head="Charged", form=",d"),
)
"""Columns of `vastnb.spend` with ``by="day"``."""

SPENT_BY_CONTRACT: tuple[Column, ...] = (
    Column("instance_id", "Int64", "the machine, or the volume", head="Machine", form="d"),
    _WHAT,
    Column("name", "str", "what vastnb calls it; empty for what it did not make", head="Name"),
    Column("gpu_name", "str", "GPU model; empty where it is not known any more", head="GPU"),
    *_AMOUNTS,
    Column("label", "str", "its label; of a machine of vastnb, your part of it", head="Label"),
    Column("notebook", "str", "the notebook that rented it; empty where that is not known"),
    Column("from_at", "datetime64[us, UTC]", "its beginning, as told with the charges", "UTC"),
    Column("until_at", "datetime64[us, UTC]", "its end, or the last that was charged", "UTC"),
)
"""Columns of `vastnb.spend` with ``by="instance"``."""

SPENT_BY_GROUP: tuple[Column, ...] = (
    Column("group", "str", "the name, label, GPU model or notebook; empty where there is none", head="Spent on", form="long"),
    _WHAT,
    *_AMOUNTS,
    Column("contracts", "Int64", "machines or volumes in it", head="Charged", form=",d"),
)  # fmt: skip
"""Columns of `vastnb.spend` by name, label, GPU or notebook."""

RECONCILED: tuple[Column, ...] = (
    Column("instance_id", "Int64", "the machine", head="Machine", form="d"),
    Column("name", "str", "what vastnb calls it", head="Name"),
    number("quoted_usd", "", "what its quote said for the whole job; NA if a part had no price", "$", head="Quoted", form=",.4f"),
    number("billed_usd", "", "what was charged so far", "$", head="Billed", form=",.4f"),
    number("difference_usd", "", "billed less quoted", "$", head="Difference", form="+,.4f"),
    Column("why", "str", "where the difference comes from, item by item; the amounts add up to it", head="Why", form="long"),
    Column("final", "boolean", "whether the machine is gone", head="Final"),
    number("gpu_quoted_usd", "", "GPUs, quoted", "$"),
    number("gpu_billed_usd", "", "GPUs, billed", "$"),
    number("disk_quoted_usd", "", "disk while it runs, quoted", "$"),
    number("disk_billed_usd", "", "disk for as long as its GPUs were billed, billed", "$"),
    number("idle_quoted_usd", "", "disk while it stands stopped, quoted", "$"),
    number("idle_billed_usd", "", "disk for the other time that it existed: stopped, outbid or loading, billed", "$"),
    number("download_quoted_usd", "", "data to the machine, quoted", "$"),
    number("download_billed_usd", "", "data to the machine, billed", "$"),
    number("upload_quoted_usd", "", "data from the machine, quoted", "$"),
    number("upload_billed_usd", "", "data from the machine, billed", "$"),
    number("other_billed_usd", "", "billed for anything else", "$"),
    number("hours_quoted", "", "hours that it was to run", "h"),
    number("hours_billed", "", "hours that its GPUs were billed", "h"),
    number("idle_hours_quoted", "", "hours that it was to stand stopped", "h"),
    number("idle_hours_billed", "", "other hours that its disk was billed", "h"),
    Column("rental", "str", "on-demand or bid"),
    Column("gpu_name", "str", "GPU model"),
    Column("launched_at", "datetime64[us, UTC]", "when it was rented", "UTC"),
)  # fmt: skip
"""Columns of `vastnb.reconcile`."""
