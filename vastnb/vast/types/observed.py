"""The column tables of the price observatory: what is kept of the market, and what is made of it."""

from __future__ import annotations

from vastnb.vast.types.columns import Column, number

__all__ = ["HISTORY", "MACHINE_LIFE", "OBSERVATIONS", "SAMPLES", "SNAPSHOTS"]

OBSERVATIONS: tuple[Column, ...] = (
    Column("snapshot", "Int64", "the answer it was in: a hash of it"),
    Column("seen_at", "datetime64[us, UTC]", "the service's clock when it answered", "UTC"),
    Column("gpu_name", "str", "GPU model"),
    number("gpu_ram_nominal_gb", "", "the size printed on the box", "GB"),
    Column("machine_id", "Int64", "the host's machine"),
    Column("offer_id", "Int64", "the offer"),
    Column("host_id", "Int64", "the host"),
    Column("num_gpus", "Int64", "GPUs in the offer"),
    Column("rental", "str", "on-demand, bid or reserved"),
    Column("holds", "str", "what its snapshot holds: whole, sample or part"),
    number("usd_per_hour", "", "GPUs and the asked disk", "$/h"),
    number("gpu_usd_per_hour", "", "the GPUs alone", "$/h"),
    number("usd_per_gpu_hour", "", "one GPU, with 10 GB of disk whatever was asked for, so that all answers compare", "$/h"),
    number("min_bid_usd_per_hour", "", "lowest bid that ran, for the whole machine", "$/h"),
    number("storage_usd_per_gb_month", "", "price of disk", "$/GB/month"),
    number("inet_down_usd_per_gb", "", "price of data to the machine", "$/GB"),
    number("inet_up_usd_per_gb", "", "price of data from the machine", "$/GB"),
    number("inet_down_mbps", "", "download speed, to 1 Mbit/s", "Mbit/s"),
    number("inet_up_mbps", "", "upload speed, to 1 Mbit/s", "Mbit/s"),
    number("reliability", "", "0 to 1, to four decimals", ""),
    number("dlperf", "", "the service's measure of deep learning speed, to a tenth", ""),
    number("cpu_cores", "", "your share of its threads", ""),
    number("cpu_ram_gb", "", "your share of its memory, to a tenth", "GB"),
    number("disk_max_gb", "", "disk that can be had, to 1 GB", "GB"),
    number("gpu_frac", "", "share of the machine's GPUs", ""),
    number("cuda_max", "", "newest CUDA", ""),
    Column("driver_version", "str", "driver"),
    Column("country", "str", "two letters"),
    Column("datacenter", "boolean", "whether it is in a data centre"),
    Column("verification", "str", "verified, unverified or deverified"),
    Column("static_ip", "boolean", "whether its address stays"),
    number("disk_gb", "", "disk that `usd_per_hour` includes", "GB"),
)  # fmt: skip
"""Columns of the Parquet files below ``offers/``: one row an offer in an answer."""

SNAPSHOTS: tuple[Column, ...] = (
    Column("snapshot", "Int64", "a hash of the answer"),
    Column("seen_at", "datetime64[us, UTC]", "the service's clock when it answered", "UTC", head="Seen"),
    Column("query", "str", "what was asked, as written", head="Query"),
    Column("body", "str", "what was sent, as JSON: filters and order"),
    Column("models", "str", "GPU models it was asked for, with | between them; empty for all"),
    Column("rental", "str", "on-demand, bid or reserved", head="Rental"),
    number("disk_gb", "", "disk that the prices include", "GB"),
    Column("holds", "str", "whole: all offers of its models; sample: offers that no price chose; part: anything else, which counts in no statistics",
           head="Holds"),
    Column("why", "str", "why it is only a part, if it is", head="Why", form="long"),
    Column("complete", "boolean", "whether the answer was whole, as asked"),
    Column("offers", "Int64", "offers in it", head="Offers", form="d"),
    Column("requests", "Int64", "requests it took"),
    Column("origin", "str", "vast, sandbox, or where it was imported from"),
)  # fmt: skip
"""Columns of the Parquet files below ``snapshots/``, and of `vastnb.import_history`."""

HISTORY: tuple[Column, ...] = (
    Column("time", "datetime64[us, UTC]", "beginning of the hour or day; NA by clock and by model", "UTC", head="Time"),
    Column("hour_utc", "Int64", "hour of the day, 0 to 23; NA by day and by model", "UTC", head="Hour", form="d"),
    Column("gpu_name", "str", "GPU model", head="GPU"),
    number("gpu_ram_nominal_gb", "", "the size printed on the box", "GB", head="VRAM", form="g"),
    number("usd_per_gpu_hour_p10", "", "a tenth of the prices was lower: one GPU, with 10 GB of disk", "$/h", head="10 %", form="usd"),
    number("usd_per_gpu_hour_median", "", "half were lower", "$/h", head="Median", form="usd"),
    number("usd_per_gpu_hour_p90", "", "nine tenths were lower", "$/h", head="90 %", form="usd"),
    number("usd_per_gpu_hour_min", "", "the lowest", "$/h", form="usd"),
    number("supply", "", "offers at a time, on average; NA if no answer held all of them", "", head="Supply", form=".0f"),
    Column("n", "Int64", "prices behind the figures", head="n", form=",d"),
    Column("snapshots", "Int64", "answers they come from", head="Answers", form=",d"),
    Column("rental", "str", "what the prices are for"),
)  # fmt: skip
"""Columns of `vastnb.history`."""

MACHINE_LIFE: tuple[Column, ...] = (
    Column("from_at", "datetime64[us, UTC]", "when it was first seen so", "UTC", head="From"),
    Column("until_at", "datetime64[us, UTC]", "when it was last seen so", "UTC", head="Until"),
    Column("offer_id", "Int64", "the offer", head="Offer", form="d"),
    Column("gpu_name", "str", "GPU model", head="GPU"),
    Column("num_gpus", "Int64", "GPUs in the offer", head="GPUs", form="d"),
    number("usd_per_hour", "", "its price, with the asked disk", "$/h", head="Price", form="usd"),
    number("min_bid_usd_per_hour", "", "lowest bid", "$/h", head="Bid from", form="usd"),
    Column("seen", "Int64", "how often it was seen so", head="Seen", form=",d"),
    Column("rental", "str", "what the price is for", head="Rental"),
    number("disk_gb", "", "disk that the price includes", "GB"),
)  # fmt: skip
"""Columns of `vastnb.history` with ``machine=``: one row for each time that an offer kept its price."""

SAMPLES: tuple[Column, ...] = (
    Column("gpu_name", "str", "GPU model", head="GPU"),
    Column("offers", "Int64", "offers seen", head="Offers", form="d"),
    Column("requests", "Int64", "requests made", head="Requests", form="d"),
    Column("holds", "str", "whole, or sample where there are more offers than one pass may ask for; empty if none was made", head="Holds"),
    Column("note", "str", "what should be known about it", head="Note", form="long"),
)  # fmt: skip
"""Columns of `vastnb.sample`."""
