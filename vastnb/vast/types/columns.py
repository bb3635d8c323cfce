"""The column tables: one for each kind of frame, the single source of names, dtypes, units, meanings, query names and display.

A `Column` says how a wire field becomes ours (`source`, `factor`) and how ours is asked for in a query (`ask`). Wire units
are Vast's (memory in MB, durations in seconds, compute capability times 100); they are converted here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["DROPPED", "FIELDS", "OFFERS", "Ask", "Column", "asked_as", "number"]

Dtype = Literal["float64", "Int64", "boolean", "str", "datetime64[us, UTC]", "object"]
Kind = Literal["number", "integer", "flag", "text", "version", "country", "gpu", "offer"]
Unit = Literal["", "memory", "disk", "time", "speed", "money", "share"]


@dataclass(frozen=True, slots=True)
class Ask:
    """How a column is asked for: the filter field on the wire and how a value in the query becomes one on the wire."""

    field: str
    kind: Kind = "number"
    factor: float = 1.0
    """The query's number times this is the wire's."""
    unit: Unit = ""
    names: tuple[str, ...] = ()
    """What else it is called in a query, besides the field and the column."""
    nominal: bool = False
    """Whether ``=`` means the size a maker prints on the box (24 for 24,564 MB)."""
    own_name: bool = True
    """Whether the column's name may be written in a query; not where the official client means something else by it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame."""

    name: str
    dtype: Dtype
    meaning: str
    unit: str = ""
    source: str = ""
    """The field in Vast's answer; empty if computed here."""
    factor: float = 1.0
    """The wire's number times this is ours."""
    ask: Ask | None = None
    head: str = ""
    """The heading in the short table; empty: not shown there."""
    form: str = ""
    """How the short table writes it: a format specification, ``usd``, or ``long`` for a text that is not cut."""
    low: float | None = None
    high: float | None = None
    """Values outside are impossible and become NA."""


def number(
    name: str, source: str, meaning: str, unit: str = "", *, factor: float = 1.0, ask: Ask | None = None,
    head: str = "", form: str = ".4g", low: float | None = None, high: float | None = None,
) -> Column:  # fmt: skip
    """A column of measures."""
    return Column(name, "float64", meaning, unit, source, factor, ask, head, form, low, high)


OFFERS: tuple[Column, ...] = (
    Column(
        "offer_id",
        "Int64",
        "the offer; it keeps its machine and its GPUs, not what it costs",
        "",
        "ask_contract_id",
        1.0,
        Ask("ask_contract_id", "offer", names=("id",)),
        "Offer",
        "d",
    ),
    Column("gpu_name", "str", "GPU model", "", "gpu_name", 1.0, Ask("gpu_name", "gpu", names=("gpu",)), "GPU"),
    Column("num_gpus", "Int64", "GPUs in the offer", "", "num_gpus", 1.0, Ask("num_gpus", "integer"), "GPUs", "d"),
    number(
        "gpu_ram_gb",
        "gpu_ram",
        "memory of one GPU, 1 GB = 1000 MB as Vast counts",
        "GB",
        factor=0.001,
        ask=Ask("gpu_ram", factor=1000, unit="memory", names=("gpu_ram_nominal_gb", "vram"), nominal=True),
        low=0,
    ),
    number(
        "gpu_ram_nominal_gb",
        "",
        "the size printed on the box (24 for 24,564 MB)",
        "GB",
        head="VRAM",
        form="g",
    ),
    number(
        "vram_total_gb",
        "gpu_total_ram",
        "memory of all GPUs together",
        "GB",
        factor=0.001,
        ask=Ask("gpu_total_ram", factor=1000, unit="memory", nominal=True),
        low=0,
    ),
    number(
        "usd_per_hour",
        "dph_total",
        "price of GPUs and the asked disk together, without traffic",
        "$/h",
        ask=Ask("dph_total", unit="money", names=("dph", "price")),
        head="Price",
        form="usd",
        low=0,
    ),
    number("gpu_usd_per_hour", "dph_base", "price of the GPUs alone", "$/h", form="usd", low=0),
    number("usd_per_gpu_hour", "", "`usd_per_hour` divided by `num_gpus`", "$/h", head="Per GPU", form="usd"),
    number(
        "min_bid_usd_per_hour",
        "min_bid",
        "lowest bid that runs now, for the whole machine",
        "$/h",
        ask=Ask("min_bid", unit="money"),
        form="usd",
        low=0,
    ),
    number(
        "storage_usd_per_gb_month",
        "storage_cost",
        "price of disk, also while stopped",
        "$/GB/month",
        ask=Ask("storage_cost", unit="money"),
        form=".3f",
        low=0,
    ),
    number(
        "inet_down_usd_per_gb",
        "inet_down_cost",
        "price of data to the machine",
        "$/GB",
        ask=Ask("inet_down_cost", unit="money"),
        form=".4f",
        low=0,
    ),
    number(
        "inet_up_usd_per_gb",
        "inet_up_cost",
        "price of data from the machine",
        "$/GB",
        ask=Ask("inet_up_cost", unit="money"),
        form=".4f",
        low=0,
    ),
    number(
        "inet_down_mbps",
        "inet_down",
        "measured speed to the machine",
        "Mbit/s",
        ask=Ask("inet_down", unit="speed"),
        head="Down",
        form=",.0f",
        low=0,
    ),
    number(
        "inet_up_mbps",
        "inet_up",
        "measured speed from the machine",
        "Mbit/s",
        ask=Ask("inet_up", unit="speed"),
        form=",.0f",
        low=0,
    ),
    number(
        "reliability",
        "reliability",
        "share of time the machine was up, as Vast expects it",
        "0..1",
        ask=Ask("reliability", unit="share", names=("reliability2",)),
        head="Reliability",
        form=".1%",
        low=0,
        high=1,
    ),
    number("dlperf", "dlperf", "Vast's deep learning score of the offer", "score", ask=Ask("dlperf"), form=".1f"),
    number(
        "dlperf_per_usd",
        "dlperf_per_dphtotal",
        "`dlperf` for a dollar an hour",
        "",
        ask=Ask("dlperf_per_dphtotal", names=("dlperf_usd", "dlperf_per_dollar")),
        head="DLPerf/$",
        form=".0f",
    ),
    number("tflops", "total_flops", "peak of all GPUs, 32 bit", "TFLOPS", ask=Ask("total_flops"), form=".1f"),
    number(
        "compute_cap",
        "compute_cap",
        "CUDA compute capability (8.9)",
        "",
        factor=0.01,
        ask=Ask("compute_cap"),
        form=".1f",
        low=1,
        high=20,
    ),
    number(
        "cuda_max",
        "cuda_max_good",
        "newest CUDA its driver can run",
        "version",
        ask=Ask("cuda_max_good", names=("cuda_vers", "cuda")),
        form=".1f",
        low=1,
        high=100,
    ),
    number(
        "cpu_cores",
        "cpu_cores_effective",
        "your share of the machine's CPU threads",
        "",
        ask=Ask("cpu_cores_effective", own_name=False),
        head="CPUs",
        form=".0f",
        low=0,
    ),
    number("cpu_ram_gb", "", "your share of the machine's memory", "GB", head="RAM", form=".0f"),
    number(
        "disk_max_gb",
        "disk_space",
        "largest disk you can ask for",
        "GB",
        ask=Ask("disk_space", unit="disk"),
        form=",.0f",
        low=0,
    ),
    number(
        "disk_mbps", "disk_bw", "measured reading speed of the disk", "MB/s", ask=Ask("disk_bw"), form=",.0f", low=0
    ),
    number("gpu_frac", "gpu_frac", "share of the machine's GPUs", "0..1", ask=Ask("gpu_frac"), form=".3g"),
    Column("country", "str", "country, two letters", "", "", 1.0, Ask("geolocation", "country"), "Country"),
    Column("geolocation", "str", "place as the host wrote it", "", "geolocation"),
    Column("datacenter", "boolean", "whether it stands in a data centre", "", "", 1.0, Ask("datacenter", "flag")),
    Column(
        "verification",
        "str",
        "Vast's check: verified, unverified, deverified",
        "",
        "verification",
        1.0,
        Ask("verification", "text"),
        "Checked",
    ),
    Column("static_ip", "boolean", "whether its address stays", "", "static_ip", 1.0, Ask("static_ip", "flag")),
    Column(
        "direct_ports",
        "Int64",
        "ports that can be opened",
        "",
        "direct_port_count",
        1.0,
        Ask("direct_port_count", "integer"),
        "",
        "d",
    ),
    Column("driver_version", "str", "GPU driver", "", "driver_version", 1.0, Ask("driver_version", "version")),
    Column("available_until", "datetime64[us, UTC]", "when the host takes it back", "UTC", "end_date"),
    Column("machine_id", "Int64", "the machine", "", "machine_id", 1.0, Ask("machine_id", "integer"), "", "d"),
    Column("host_id", "Int64", "its owner", "", "host_id", 1.0, Ask("host_id", "integer"), "", "d"),
    Column("rental", "str", "what the price is for: on-demand, bid or reserved"),
    Column("seen_at", "datetime64[us, UTC]", "the service's clock when it answered", "UTC"),
)
"""The pinned columns of a frame of offers, in order."""

FIELDS: tuple[Column, ...] = (
    Column("bundle_id", "Int64", "group of equal offers", "", "bundle_id"),
    Column("bundled_results", "Int64", "not documented", "", "bundled_results"),
    number("bw_nvlink", "bw_nvlink", "NVLink speed", "GB/s", ask=Ask("bw_nvlink")),
    Column("cluster_id", "Int64", "local network of machines", "", "cluster_id", 1.0, Ask("cluster_id", "integer")),
    Column("cpu_arch", "str", "CPU architecture (amd64, arm64)", "", "cpu_arch", 1.0, Ask("cpu_arch", "text")),
    number("cpu_ghz", "cpu_ghz", "CPU clock", "GHz", ask=Ask("cpu_ghz")),
    Column("cpu_name", "str", "CPU model", "", "cpu_name"),
    number("machine_cpu_cores", "cpu_cores", "CPU threads of the whole machine", "", ask=Ask("cpu_cores")),
    number(
        "machine_cpu_ram_gb", "cpu_ram", "memory of the whole machine", "GB", factor=0.001,
        ask=Ask("cpu_ram", factor=1000, unit="memory"), low=0,
    ),
    number("credit_discount_max", "credit_discount_max", "largest discount for prepaying", "0..1"),
    number("discount_rate", "discount_rate", "discount now", "0..1"),
    number("discounted_hourly", "discounted_hourly", "not documented", "$/h"),
    number("discounted_dph_total", "discounted_dph_total", "price with the discount", "$/h"),
    Column("disk_name", "str", "disk model", "", "disk_name"),
    number("dph_total_adj", "dph_total_adj", "price with 1.25 GB of traffic an hour", "$/h"),
    Column("driver_vers", "Int64", "driver as one number; can be stale", "", "driver_vers"),
    number(
        "duration_s", "duration", "how long the host offers it from now", "s",
        ask=Ask("duration", factor=86400, unit="time", own_name=False),
    ),
    Column("external", "boolean", "offer of another market", "", "external", 1.0, Ask("external", "flag")),
    number("flops_per_usd", "flops_per_dphtotal", "TFLOPS per dollar and hour", "",
            ask=Ask("flops_per_dphtotal", names=("flops_usd",))),
    Column("geolocode", "Int64", "place as a number", "", "geolocode"),
    Column("gpu_arch", "str", "maker of the GPU (nvidia, amd)", "", "gpu_arch", 1.0, Ask("gpu_arch", "text")),
    Column("gpu_display_active", "boolean", "whether a screen hangs on it", "", "gpu_display_active", 1.0,
           Ask("gpu_display_active", "flag", names=("display_active",))),
    Column("gpu_ids", "str", "the GPUs, joined by commas; chunks of one machine share them", "", "gpu_ids"),
    Column("gpu_lanes", "Int64", "PCIe lanes of a GPU", "", "gpu_lanes"),
    number("gpu_max_power", "gpu_max_power", "power limit of a GPU", "W", ask=Ask("gpu_max_power")),
    number("gpu_max_temp", "gpu_max_temp", "temperature limit; some hosts report the current one", "°C",
            ask=Ask("gpu_max_temp")),
    number("gpu_mem_bw", "gpu_mem_bw", "memory speed of a GPU", "GB/s", ask=Ask("gpu_mem_bw")),
    Column("has_avx", "boolean", "whether the CPU has AVX", "", "has_avx", 1.0, Ask("has_avx", "flag")),
    Column("is_bid", "boolean", "always false in recorded answers", "", "is_bid"),
    Column("is_vm_deverified", "boolean", "not documented", "", "is_vm_deverified"),
    Column("mobo_name", "str", "mainboard", "", "mobo_name", 1.0, Ask("mobo_name", "text")),
    Column("os_version", "str", "Ubuntu release of the host", "", "os_version", 1.0,
           Ask("ubuntu_version", "text", names=("os_version",))),
    number("pci_gen", "pci_gen", "PCIe generation", "", ask=Ask("pci_gen")),
    number("pcie_bw", "pcie_bw", "measured PCIe speed", "GB/s", ask=Ask("pcie_bw")),
    Column("public_ipaddr", "str", "address of the host", "", "public_ipaddr"),
    number("reliability_mult", "reliability_mult", "not documented", ""),
    Column("rentable", "boolean", "whether it can be rented now", "", "rentable", 1.0, Ask("rentable", "flag")),
    Column("rented", "boolean", "rented by you", "", "rented", 1.0, Ask("rented", "flag")),
    Column("resource_type", "str", "gpu, or disk for offers without one", "", "resource_type"),
    number("score", "score", "Vast's own order, higher first", ""),
    Column("listed_at", "datetime64[us, UTC]", "not documented; minutes to a day before the answer", "UTC", "start_date"),
    number("storage_usd_per_hour", "storage_total_cost", "price of the asked disk", "$/h"),
    Column("vericode", "Int64", "the check as a number", "", "vericode"),
    Column("vms_enabled", "boolean", "whether it can run virtual machines", "", "vms_enabled", 1.0,
           Ask("vms_enabled", "flag")),
    number("vram_costperhour", "vram_costperhour", "`gpu_usd_per_hour` per GB of GPU memory", "$/h/GB"),
)  # fmt: skip
"""Further known fields of an offer: in the frame when the answer has them, after the pinned ones."""

DROPPED: dict[str, str] = {
    "id": "the same as offer_id",
    "hosting_type": "shown as datacenter",
    "reliability2": "the same as reliability",
    "internet_down_cost_per_tb": "inet_down_usd_per_gb times 1024",
    "internet_up_cost_per_tb": "inet_up_usd_per_gb times 1024",
    "search": "parts of usd_per_hour",
    "instance": "storage_usd_per_hour again",
    "logo": "a picture of Vast's",
    "webpage": "always null",
    "hostname": "always null",
    "rn": "always 1",
    "time_remaining": "always empty",
    "time_remaining_isbid": "always empty",
}
"""Wire fields that a frame leaves out, and why; ``raw=True`` has them."""


def asked_as(columns: Sequence[Column] = (*OFFERS, *FIELDS)) -> dict[str, Column]:
    """Every name that a query on `columns` may use, and the column it filters."""
    names: dict[str, Column] = {}
    for column in columns:
        if column.ask is not None:
            own = (column.name,) if column.ask.own_name else ()
            for name in (column.ask.field, *column.ask.names, *own):
                names.setdefault(name, column)
    return names
