"""Every kind of frame and its columns: those of the wire, and those that are made here."""

from __future__ import annotations

from vastnb.vast.types.analysed import CHOICES, COMPARED, JOB_COSTS, MARKET, VARIATIONS
from vastnb.vast.types.catalogue import (
    ACCOUNT,
    BENCHMARKS,
    LOCATIONS,
    METRICS,
    SSH_KEYS,
    TEMPLATES,
    TRENDS,
    VOLUMES,
)
from vastnb.vast.types.columns import OFFERS, Column, number
from vastnb.vast.types.happened import ALERTS, EVENTS, NOTIFICATION_TYPES, WEBHOOKS
from vastnb.vast.types.observed import HISTORY, MACHINE_LIFE, OBSERVATIONS, SAMPLES, SNAPSHOTS
from vastnb.vast.types.paid import RECONCILED, SPENT_BY_CONTRACT, SPENT_BY_DAY, SPENT_BY_GROUP
from vastnb.vast.types.rented import AUDIT, INSTANCES, JOBS, KEEPS

__all__ = ["GPUS", "KINDS"]

GPUS: tuple[Column, ...] = (
    Column("gpu_name", "str", "GPU model", head="GPU"),
    number("gpu_ram_nominal_gb", "", "the size printed on the box", "GB", head="VRAM", form="g"),
    Column("offers", "Int64", "offers seen", head="Offers", form="d"),
    Column("gpus", "Int64", "GPUs on the machines of those offers, each counted once", head="GPUs", form="d"),
    number("usd_per_gpu_hour_min", "", "cheapest", "$/h", head="From", form="usd"),
    number("usd_per_gpu_hour_p10", "", "a tenth is cheaper", "$/h", head="10 %", form="usd"),
    number("usd_per_gpu_hour_median", "", "half is cheaper", "$/h", head="Median", form="usd"),
    number("usd_per_gpu_hour_p90", "", "nine tenths are cheaper", "$/h", head="90 %", form="usd"),
    number("dlperf_per_usd_median", "", "`dlperf` for a dollar an hour, median", "", head="DLPerf/$", form=".0f"),
    Column("seen_at", "datetime64[us, UTC]", "the service's clock when it answered", "UTC"),
)
"""Columns of `vastnb.gpus`."""

FIELD_TABLE: tuple[Column, ...] = (
    Column("field", "str", "what to write in a query", head="Field"),
    Column("column", "str", "the column it filters", head="Column"),
    Column("unit", "str", "unit of the number in the query", head="Unit"),
    Column("meaning", "str", "what it is", head="Meaning", form="long"),
    Column("also", "str", "other names", head="Also", form="long"),
)
"""Columns of `vastnb.fields`."""

CONFIG_TABLE: tuple[Column, ...] = (
    Column("setting", "str", "its name", head="Setting", form="long"),
    Column("value", "str", "in force now", head="Value", form="long"),
    Column("source", "str", "where it comes from", head="From", form="long"),
    Column("meaning", "str", "what it does", head="Meaning", form="long"),
)
"""Columns of ``%vast config``."""

HEALTH_TABLE: tuple[Column, ...] = (
    Column("check", "str", "what was looked at", head="Check"),
    Column("status", "str", "ok, warn, fail or skipped", head="Status"),
    Column("seen", "str", "what was seen, in words", head="Seen", form="long"),
    Column("remedy", "str", "what to do; empty where nothing is to be done", head="Remedy", form="long"),
    number("p50_ms", "", "half of the tries took no longer", "ms", head="p50", form=".1f"),
    number("p95_ms", "", "19 of 20 tries took no longer; of fewer, all", "ms", head="p95", form=".1f"),
)
"""Columns of a health report's frame."""

FAULT_TABLE: tuple[Column, ...] = (
    Column("fault", "str", "its name", head="Fault", form="long"),
    Column("meaning", "str", "what happens", head="Meaning", form="long"),
)
"""Columns of ``%vast sandbox --fault list``."""

CALLS: tuple[Column, ...] = (
    Column("at", "datetime64[us, UTC]", "when it began, by this computer's clock", "UTC", head="At"),
    Column("operation", "str", "what was asked", head="Operation"),
    Column("endpoint", "str", "method and path"),
    Column("status", "Int64", "HTTP status; NA if no answer came", head="Status", form="d"),
    number("latency_ms", "", "from the call to the answer, waiting included", "ms", head="Latency", form=",.1f"),
    Column("from_cache", "boolean", "answered without asking the service", head="From cache"),
    Column("stale", "boolean", "an old answer that stood in for one that did not come"),
    Column("repeats", "Int64", "how often it was sent again", head="Repeats", form="d"),
    number("waited_s", "", "of it, waiting for the service's limits", "s", head="Waited", form=".1f"),
    Column("size_bytes", "Int64", "length of the answer", "bytes"),
    Column("error", "str", "code of the error, empty for a success", head="Error"),
)
"""Columns of `vastnb.calls`."""

CALL_SUMMARY: tuple[Column, ...] = (
    Column("operation", "str", "what was asked", head="Operation"),
    Column("calls", "Int64", "how often", head="Calls", form="d"),
    Column("from_cache", "Int64", "of them answered without asking the service", head="From cache", form="d"),
    Column("errors", "Int64", "of them failed", head="Errors", form="d"),
    Column("repeats", "Int64", "how often one was sent again", head="Repeats", form="d"),
    number("p50_ms", "", "median latency of those that asked the service", "ms", head="Median", form=",.1f"),
    number("p95_ms", "", "latency that 95 % of them kept", "ms", head="95 %", form=",.1f"),
    number("waited_s", "", "waiting for the service's limits, together", "s", head="Waited", form=".1f"),
)
"""Columns of `vastnb.calls` with ``summary=True``."""

CACHE: tuple[Column, ...] = (
    Column("holds", "str", "what is kept there", head="Holds"),
    Column("backend", "str", "in what", head="In"),
    Column("entries", "Int64", "how many", head="Entries", form=",d"),
    number("size_mb", "", "how much", "MB", head="Size", form=",.1f"),
    Column("hits", "Int64", "answered from there in this kernel", head="Hits", form=",d"),
    Column("misses", "Int64", "not found there in this kernel", head="Misses", form=",d"),
    Column("oldest_at", "datetime64[us, UTC]", "when the oldest was fetched", "UTC", head="Oldest"),
    Column("newest_at", "datetime64[us, UTC]", "when the newest was fetched", "UTC", head="Newest"),
    Column("where", "str", "a path or an address", head="Where", form="long"),
)
"""Columns of `vastnb.cache_info`."""

QUOTES: tuple[Column, ...] = (
    Column("offer_id", "Int64", "the offer", head="Offer", form="d"),
    Column("gpu_name", "str", "GPU model", head="GPU"),
    Column("num_gpus", "Int64", "GPUs in the offer", head="GPUs", form="d"),
    number("usd_total", "", "all parts together; NA if one cannot be priced", "$", head="Total", form=".2f"),
    number("usd_per_hour", "", "GPUs and disk, while it runs", "$/h", head="Price", form="usd"),
    number("gpu_usd", "", "GPUs, for the hours", "$", head="GPU", form=".2f"),
    number("disk_usd", "", "disk, for the hours", "$", head="Disk", form=".2f"),
    number("download_usd", "", "data to the machine", "$", head="Download", form=".2f"),
    number("upload_usd", "", "data from the machine", "$", head="Upload", form=".2f"),
    number("idle_usd", "", "disk, for the hours that it stands stopped", "$", head="Stopped", form=".2f"),
    Column("uncertain", "str", "what may change the price", head="Uncertain", form="long"),
    Column("rental", "str", "on-demand, bid or reserved"),
    number("hours", "", "hours that it runs", "h"),
    number("disk_gb", "", "disk", "GB"),
    number("download_gb", "", "data to the machine", "GB"),
    number("upload_gb", "", "data from the machine", "GB"),
    number("idle_hours", "", "hours that it stands stopped", "h"),
    Column("machine_id", "Int64", "the machine of the offer"),
    Column("seen_at", "datetime64[us, UTC]", "the service's clock when it told the price", "UTC"),
)
"""Columns of `vastnb.quote`."""

SELFCHECK: tuple[Column, ...] = (
    Column("check", "str", "what was asked", head="Check", form="long"),
    Column("seen", "str", "what came", head="Seen", form="long"),
    Column("ok", "boolean", "whether it is as vastnb needs it", head="As needed"),
)
"""Columns of ``vastnb selfcheck``."""

KINDS: dict[str, tuple[Column, ...]] = {
    "selfcheck": SELFCHECK,
    "audit": AUDIT,
    "jobs": JOBS,
    "keeps": KEEPS,
    "instances": INSTANCES,
    "spending groups": SPENT_BY_GROUP,
    "spending days": SPENT_BY_DAY,
    "spending contracts": SPENT_BY_CONTRACT,
    "reconciled launches": RECONCILED,
    "cache": CACHE,
    "calls": CALLS,
    "call summary": CALL_SUMMARY,
    "offers": OFFERS,
    "gpus": GPUS,
    "quotes": QUOTES,
    "choices": CHOICES,
    "job costs": JOB_COSTS,
    "groups": COMPARED,
    "variations": VARIATIONS,
    "market groups": MARKET,
    "fields": FIELD_TABLE,
    "config": CONFIG_TABLE,
    "faults": FAULT_TABLE,
    "health": HEALTH_TABLE,
    "templates": TEMPLATES,
    "benchmarks": BENCHMARKS,
    "metrics": METRICS,
    "trends": TRENDS,
    "locations": LOCATIONS,
    "volumes": VOLUMES,
    "ssh-keys": SSH_KEYS,
    "user": ACCOUNT,
    "events": EVENTS,
    "alerts": ALERTS,
    "webhooks": WEBHOOKS,
    "notification types": NOTIFICATION_TYPES,
    "history": HISTORY,
    "machine life": MACHINE_LIFE,
    "samples": SAMPLES,
    "snapshots": SNAPSHOTS,
    "observations": OBSERVATIONS,
}
"""The pinned columns of each kind of frame."""
