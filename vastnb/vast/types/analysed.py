"""The column tables of what is worked out from offers: choices, costs of a job, groups compared, variations, the market."""

from __future__ import annotations

from vastnb.vast.types.columns import Column, number

__all__ = ["CHOICES", "COMPARED", "JOB_COSTS", "MARKET", "VARIATIONS"]

_OFFER = (
    Column("offer_id", "Int64", "the offer", head="Offer", form="d"),
    Column("gpu_name", "str", "GPU model", head="GPU"),
    Column("num_gpus", "Int64", "GPUs in the offer", head="GPUs", form="d"),
    number("gpu_ram_nominal_gb", "", "memory of one GPU, the size printed on the box", "GB", head="VRAM", form="g"),
)
_PARTS = (
    number("gpu_usd", "", "GPUs, for the hours", "$", form=".2f"),
    number("disk_usd", "", "disk, for the hours", "$", form=".2f"),
    number("download_usd", "", "data to the machine", "$", form=".2f"),
    number("upload_usd", "", "data from the machine", "$", form=".2f"),
    number("idle_usd", "", "disk, for the hours that it stands stopped", "$", form=".2f"),
)
_JOB = (
    Column("rental", "str", "on-demand, bid or reserved"),
    number("disk_gb", "", "disk", "GB"),
    number("download_gb", "", "data to the machine", "GB"),
    number("upload_gb", "", "data from the machine", "GB"),
    number("idle_hours", "", "hours that it stands stopped", "h"),
    Column("machine_id", "Int64", "the machine of the offer"),
    Column("seen_at", "datetime64[us, UTC]", "the service's clock when it told the price", "UTC"),
)
_UNCERTAIN = Column("uncertain", "str", "what may change the price", head="Uncertain", form="long")

CHOICES: tuple[Column, ...] = (
    *_OFFER,
    number("vram_total_gb", "", "memory of all its GPUs, the sizes printed on the boxes", "GB", head="VRAM, all", form="g"),
    number("usd_total", "", "the job, all parts together", "$", head="Total", form=".2f"),
    number("usd_per_hour", "", "GPUs and disk, while it runs", "$/h", head="Price", form="usd"),
    Column("offers", "Int64", "offers of this model, size and number that can do it", head="Offers", form=",d"),
    number("reliability", "", "of this offer", "0..1", head="Reliability", form=".1%"),
    Column("country", "str", "country, two letters", head="Country"),
    _UNCERTAIN,
    *_PARTS,
    number("hours", "", "hours that it runs", "h"),
    *_JOB,
)  # fmt: skip
"""Columns of `cheapest_for`: each row is a quote too."""

JOB_COSTS: tuple[Column, ...] = (
    *_OFFER,
    number("usd_total", "", "the job, all parts together", "$", head="Total", form=".2f"),
    number("hours", "", "hours that it runs", "h", head="Hours", form=",.2f"),
    number("usd_per_hour", "", "GPUs and disk, while it runs", "$/h", head="Price", form="usd"),
    number("units_per_s", "", "your rate, for all GPUs of the offer", "1/s", head="Rate", form=",.6g"),
    number("units_per_usd", "", "units of the job divided by `usd_total`", "1/$", head="For a dollar", form=",.0f"),
    _UNCERTAIN,
    *_PARTS,
    *_JOB,
)
"""Columns of `usd_per_job`: each row is a quote too."""

COMPARED: tuple[Column, ...] = (
    Column("group", "str", "what its offers have in common", head="Group"),
    Column("offers", "Int64", "offers in it", head="Offers", form=",d"),
    number("usd_per_gpu_hour", "", "price of one GPU, median", "$/h", head="Per GPU", form="usd"),
    number("price_ratio", "", "the same, beside the group compared with", "x", head="Price", form=".2f"),
    number("dlperf_per_gpu", "", "Vast's score of one GPU, median", "score", head="DLPerf", form=".1f"),
    number("speed_ratio", "", "the same, beside the group compared with", "x", head="Speed", form=".2f"),
    number("dlperf_per_usd", "", "score for a dollar an hour, median", "", head="DLPerf/$", form=".0f"),
    number("value_ratio", "", "the same, beside the group compared with", "x", head="Value", form=".2f"),
    number("reliability", "", "median", "0..1", head="Reliability", form=".1%"),
)
"""Columns of `compare`."""

VARIATIONS: tuple[Column, ...] = (
    Column("varied", "str", "what is not as you said: hours, disk_gb, download_gb, upload_gb; empty for the job itself", head="Varied"),
    number("value", "", "what it is instead, in its own unit", "", head="Value", form=",g"),
    number("usd_total", "", "the cheapest offer then", "$", head="Total", form=".2f"),
    number("change_usd", "", "more than the job as you said", "$", head="More", form="+.3f"),
    number("change", "", "the same as a share", "share", head="Share", form="+.0%"),
    Column("offer_id", "Int64", "the cheapest offer then", head="Offer", form="d"),
    Column("gpu_name", "str", "its GPU model", head="GPU"),
    Column("num_gpus", "Int64", "its GPUs", head="GPUs", form="d"),
    number("staying_usd", "", "what the offer costs then that is cheapest for the job as you said; NA if it cannot do it", "$", head="Staying", form=".2f"),
)  # fmt: skip
"""Columns of `sensitivity`."""

MARKET: tuple[Column, ...] = (
    Column("group", "str", "what its machines have in common", head="Group"),
    Column("offers", "Int64", "offers; NA where machines are counted", head="Offers", form=",d"),
    Column("machines", "Int64", "machines", head="Machines", form=",d"),
    Column("gpus", "Int64", "their GPUs, each counted once", head="GPUs", form=",d"),
    Column("machines_free", "Int64", "machines that can be rented", head="Free", form=",d"),
    number("rented_share", "", "share of the machines that is rented; NA if only free ones are known", "0..1", head="Rented", form=".0%"),
    number("usd_per_gpu_hour_min", "", "cheapest", "$/h", form="usd"),
    number("usd_per_gpu_hour_p10", "", "a tenth is cheaper", "$/h", head="10 %", form="usd"),
    number("usd_per_gpu_hour_p25", "", "a quarter is cheaper", "$/h", form="usd"),
    number("usd_per_gpu_hour_median", "", "half is cheaper", "$/h", head="Median", form="usd"),
    number("usd_per_gpu_hour_p75", "", "three quarters are cheaper", "$/h", form="usd"),
    number("usd_per_gpu_hour_p90", "", "nine tenths are cheaper", "$/h", head="90 %", form="usd"),
    Column("gpu_name", "str", "GPU model; NA unless grouped by it, as the next three"),
    number("gpu_ram_nominal_gb", "", "the size printed on the box", "GB", form="g"),
    Column("country", "str", "country, two letters"),
    Column("verification", "str", "Vast's check: verified, unverified, deverified"),
)  # fmt: skip
"""Columns of `market`."""
