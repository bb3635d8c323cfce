"""The one table of an offer's fields: what each is, and how it follows from the layout and the state of the market.

A column is computed when somebody filters by it, sorts by it or shows it, and at most once per view. The order of
operations in the formulas is Vast's, so that its identities hold to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import catalog
from .chance import Ints
from .layout import Layout
from .models import MODELS

Array = NDArray[Any]

HOURS_PER_MONTH = 720
STANDINGS = ("verified", "unverified", "deverified")
_DRIVERS = catalog.DRIVERS + catalog.AMD_DRIVERS
_SXM = tuple("SXM" in model.name or model.name in ("H200", "B200", "B300") for model in MODELS)
_PCIE_GB_S_PER_LANE = 0.1
STALE_DRIVER_VERS = 580126020


@dataclass(frozen=True)
class Words:
    """A text column: each row's index into ``vocabulary``, -1 for null."""

    codes: Ints
    vocabulary: tuple[str, ...]

    def decoded(self) -> Array:
        """Return the column as an object array of str and None."""
        return np.array([*self.vocabulary, None], dtype=object)[self.codes]


class Source(Protocol):
    """What the formulas may look at: the rows of one view of the market."""

    layout: Layout
    now: float
    allocated_storage: float
    kind: str

    def __getitem__(self, name: str) -> Array:
        """Return another numeric column."""

    def host(self, name: str) -> Array:
        """Return a column of the hosts, per row."""

    def machine(self, name: str) -> Array:
        """Return a column of the machines, per row."""

    def slot(self, name: str) -> Array:
        """Return a column of the slots, per row."""

    def model(self, name: str) -> Array:
        """Return a figure of the GPU model, per row."""


def driver_number(version: str) -> int | None:
    """Return ``"535.86.05"`` as 535086005 (missing parts are 0), or ``None`` if it is no version."""
    parts = version.strip().split(".")
    if not 1 <= len(parts) <= 3 or not all(part.isdecimal() for part in parts):
        return None
    major, minor, patch = (int(part) for part in (*parts, "0", "0")[:3])
    return major * 1_000_000 + minor * 1000 + patch


def country(geolocation: str) -> str:
    """Return the two-letter code at the end of a geolocation."""
    return geolocation[-2:].upper()


def _null_unless(known: Array, values: Array) -> Array:
    return np.where(known, values, np.nan)


def _dph_base(v: Source) -> Array:
    return v["min_bid"] if v.kind == "bid" else v["on_demand_base"]


def _discount_rate(v: Source) -> Array:
    rate = v["credit_discount_max"] if v.kind == "reserved" else 0.0
    return _null_unless(v["verified"], np.zeros(len(v["verified"])) + rate)


def _driver_vers(v: Source) -> Array:
    numbers = np.array([float(driver_number(d.version) or 0) for d in _DRIVERS])
    whole = np.array([d.version.count(".") == 2 for d in _DRIVERS])
    driver = v.machine("driver")
    stale = np.where(v.machine("stale_driver"), STALE_DRIVER_VERS, numbers[driver])
    return _null_unless(whole[driver], stale)


def _cuda(v: Source) -> Array:
    return np.array([d.cuda or np.nan for d in _DRIVERS])[v.machine("driver")]


def _nvlink(v: Source) -> Array:
    linked = np.array(_SXM)[v.machine("model")] & (v["num_gpus"] > 1)
    return np.where(linked, np.where(v["machine_id"] % 2, 478.1160888671875, 318.7440185546875), 0.0)


def _per(value: Array, amount: Array) -> Array:
    """Return value / amount, and 0 where there is nothing (disk offers have no GPU)."""
    return np.divide(value, amount, out=np.zeros(len(value)), where=amount != 0)


def _pcie_bw(v: Source) -> Array:
    per_lane = _PCIE_GB_S_PER_LANE * 2 ** v["pci_gen"]
    return _null_unless(
        v.machine("pcie_bw_known"), np.round(per_lane * v["gpu_lanes"] * v.machine("bandwidth_noise"), 1)
    )


def _score(v: Source) -> Array:
    scale = v["reliability_mult"] * (0.65 + 0.05 * np.log2(np.maximum(v["num_gpus"], 1)))
    return v["dlperf_per_dphtotal"] * scale * v.machine("score_noise") * v.slot("score_noise")


def _geolocode() -> Array:
    # One number per country, as observed; the numbers are ours.
    return np.array([int.from_bytes(country(place.name).encode(), "big") * 104_729 % 2**31 for place in catalog.PLACES])


Formula = Callable[[Source], Array]

NUMBERS: dict[str, tuple[str, Formula]] = {
    "ask_contract_id": ("int", lambda v: v["id"]),
    "avail_vol_ask_id": ("int", lambda v: _null_unless(v.machine("volumes"), v["volume_id"])),
    "avail_vol_dph": ("float", lambda v: _null_unless(v.machine("volumes"), v["storage_cost"] / HOURS_PER_MONTH)),
    "avail_vol_size": ("float", lambda v: _null_unless(v.machine("volumes"), np.floor(v.machine("disk_gb") * 0.8))),
    "bundle_id": ("int", lambda v: 1 + (v.slot("number") * 1_103_515_245 + 657_956) % (2**31 - 1)),
    "bw_nvlink": ("float", _nvlink),
    "compute_cap": ("int", lambda v: v.model("compute_cap")),
    "cpu_cores": ("int", lambda v: v.machine("cpu_cores")),
    "cpu_cores_effective": ("float", lambda v: v["cpu_cores"] * v["gpu_frac"]),
    "cpu_ghz": ("float", lambda v: _null_unless(v.machine("cpu_ghz_known"), v.machine("cpu_ghz"))),
    "cpu_ram": ("int", lambda v: v.machine("cpu_ram") * v["num_gpus"] // v.machine("num_gpus")),
    "credit_discount_max": ("float", lambda v: v.host("credit_discount_max")),
    "cuda_max_good": ("float", _cuda),
    "direct_port_count": ("int", lambda v: v.machine("ports") * v["num_gpus"] // v.machine("num_gpus")),
    "discount_rate": ("float", _discount_rate),
    "discounted_dph_total": ("float", lambda v: v["dph_total"] - v["discounted_hourly"]),
    "discounted_hourly": ("float", lambda v: v["dph_base"] * np.nan_to_num(v["discount_rate"])),
    "disk_bw": ("float", lambda v: v.machine("disk_bw")),
    "disk_space": ("float", lambda v: v.machine("disk_gb") * v["gpu_frac"]),
    "dlperf": ("float", lambda v: v.model("dlperf") * v.machine("dlperf_noise") * v["num_gpus"] ** 0.97),
    "dlperf_per_dphtotal": ("float", lambda v: v["dlperf"] / v["dph_total"]),
    "dph_base": ("float", _dph_base),
    "dph_total": ("float", lambda v: v["dph_base"] + v["storage_total_cost"]),
    "dph_total_adj": ("float", lambda v: v["dph_total"] + 1.25 * v["inet_down_cost"]),
    "driver_vers": ("int", _driver_vers),
    "duration": ("float", lambda v: v["end_date"] - v.now),
    "end_date": ("float", lambda v: v.machine("end_date")),
    "expected_reliability": ("float", lambda v: np.zeros(len(v["id"]))),
    "flops_per_dphtotal": ("float", lambda v: v["total_flops"] / v["dph_total"]),
    "geolocode": ("int", lambda v: _geolocode()[v.host("place")]),
    "gpu_display_active": ("bool", lambda v: v.machine("display")),
    "gpu_frac": ("float", lambda v: v["num_gpus"] / v.machine("num_gpus")),
    "gpu_lanes": ("int", lambda v: v.machine("gpu_lanes")),
    "gpu_max_power": ("float", lambda v: v.model("power_w")),
    "gpu_max_temp": ("float", lambda v: v.machine("max_temp")),
    "gpu_mem_bw": ("float", lambda v: np.round(v.model("mem_bw_gb_s") * v.machine("bandwidth_noise"), 1)),
    "gpu_ram": ("int", lambda v: v.machine("gpu_ram")),
    "gpu_total_ram": ("int", lambda v: v["gpu_ram"] * v["num_gpus"]),
    "has_avx": ("int", lambda v: np.where(v.machine("old_cpu"), 0, 1)),
    "host_id": ("int", lambda v: v.host("host_id")),
    "hosting_type": ("int", lambda v: v.host("datacenter").astype(np.int64)),
    "id": ("int", lambda v: v.slot("offer_id")),
    "inet_down": ("float", lambda v: v.machine("inet_down")),
    "inet_down_cost": ("float", lambda v: v.host("down_usd_per_tb") / 1024),
    "inet_up": ("float", lambda v: v.machine("inet_up")),
    "inet_up_cost": ("float", lambda v: v.host("up_usd_per_tb") / 1024),
    "internet_down_cost_per_tb": ("float", lambda v: v["inet_down_cost"] * 1024),
    "internet_up_cost_per_tb": ("float", lambda v: v["inet_up_cost"] * 1024),
    "is_bid": ("bool", lambda v: np.zeros(len(v["id"]), dtype=bool)),
    "is_vm_deverified": ("bool", lambda v: v.machine("vm_deverified")),
    "machine_id": ("int", lambda v: v.machine("machine_id")),
    "min_bid": ("float", lambda v: v.machine("host_bid") * v["num_gpus"] / 0.75),
    "num_gpus": ("int", lambda v: v.slot("num_gpus")),
    "pci_gen": ("float", lambda v: v.machine("pci_gen")),
    "pcie_bw": ("float", _pcie_bw),
    "reliability": ("float", lambda v: v.machine("reliability_now")),
    "reliability2": ("float", lambda v: v["reliability"]),
    "reliability_mult": ("float", lambda v: np.round(v["reliability"] ** 9.94, 7)),
    "rentable": ("bool", lambda v: v.slot("rentable")),
    "rented": ("bool", lambda v: np.zeros(len(v["id"]), dtype=bool)),
    "rn": ("int", lambda v: np.ones(len(v["id"]), dtype=np.int64)),
    "score": ("float", _score),
    "sla_r_claim": ("float", lambda v: np.zeros(len(v["id"]))),
    "start_date": ("float", lambda v: _null_unless(v.machine("start_known") & v["rentable"], v.machine("seen_at"))),
    "static_ip": ("bool", lambda v: v.host("static_ip")),
    "storage_cost": ("float", lambda v: v.host("storage_cost")),
    "storage_total_cost": ("float", lambda v: v["storage_cost"] * v.allocated_storage / HOURS_PER_MONTH),
    "target_reliability": ("float", lambda v: np.zeros(len(v["id"]))),
    "total_flops": ("float", lambda v: v.model("tflops") * v["num_gpus"] * v.machine("flops_noise")),
    "vericode": ("int", lambda v: v.machine("vericode")),
    "vms_enabled": ("bool", lambda v: v.machine("vms")),
    "vram_costperhour": ("float", lambda v: _per(v["dph_base"], v["gpu_total_ram"]) * 1024),
}
"""Numeric fields: JSON type (NaN becomes null) and formula."""

HIDDEN: dict[str, Formula] = {
    "on_demand_base": lambda v: v.machine("host_price") * v["num_gpus"] / 0.75,
    "volume_id": lambda v: v.machine("volume_id"),
    "verified": lambda v: v.machine("standing") == 0,
    "datacenter": lambda v: v["hosting_type"] == 1,
    "external": lambda v: np.zeros(len(v["id"]), dtype=bool),
    "driver_number": lambda v: np.array([driver_number(d.version) or 0 for d in _DRIVERS])[v.machine("driver")],
    "ubuntu_number": lambda v: np.array([*(float(name) for name, _ in catalog.UBUNTU), np.nan])[v.machine("ubuntu")],
}
"""What formulas and filters use and no answer shows."""


def _names(values: tuple[str, ...], codes: Callable[[Source], Array]) -> Callable[[Source], Words]:
    return lambda v: Words(codes(v).astype(np.int64), values)


_ADDRESSES = tuple(f"{net}.{last}" for net in ("192.0.2", "198.51.100", "203.0.113") for last in range(1, 255))
_ARCHES = ("nvidia", "amd")

TEXTS: dict[str, Callable[[Source], Words]] = {
    "cpu_arch": _names(("amd64", "arm64"), lambda v: v.model("compute_cap") * 0 + v["is_grace"]),
    "cpu_name": _names(tuple(cpu.name for cpu in catalog.CPUS), lambda v: v.machine("cpu")),
    "disk_name": _names(catalog.DISKS, lambda v: v.machine("disk")),
    "driver_version": _names(tuple(d.version for d in _DRIVERS), lambda v: v.machine("driver")),
    "geolocation": _names(tuple(place.name for place in catalog.PLACES), lambda v: v.host("place")),
    "gpu_arch": _names(_ARCHES, lambda v: np.array([_ARCHES.index(m.gpu_arch) for m in MODELS])[v.machine("model")]),
    "gpu_name": _names(tuple(model.name for model in MODELS), lambda v: v.machine("model")),
    "mobo_name": _names(catalog.BOARDS, lambda v: v.machine("board")),
    "os_version": _names(tuple(name for name, _ in catalog.UBUNTU), lambda v: v.machine("ubuntu")),
    "public_ipaddr": _names(_ADDRESSES, lambda v: v.host("address")),
    "resource_type": _names(("gpu", "disk"), lambda v: np.zeros(len(v["id"]))),
    "verification": _names(STANDINGS, lambda v: v.machine("standing")),
}
"""Text fields; -1 is null."""

HIDDEN["is_grace"] = lambda v: np.array([m.name.startswith("GH") for m in MODELS])[v.machine("model")].astype(np.int64)

CONSTANTS: dict[str, Any] = {
    "bundled_results": None,
    "cluster_id": None,
    "external": None,
    "hostname": None,
    "logo": "/static/logos/vastai_small2.png",
    "nw_disk_avg_bw": None,
    "nw_disk_max_bw": None,
    "nw_disk_min_bw": None,
    "sla_broker_rate": None,
    "sla_sigma_x": None,
    "time_remaining": "",
    "time_remaining_isbid": "",
    "webpage": None,
}
"""Fields that are the same in every offer of the records."""

NESTED = ("gpu_ids", "instance", "search")
FIELDS: tuple[str, ...] = tuple(sorted({*NUMBERS, *TEXTS, *CONSTANTS, *NESTED}))
"""The fields of an offer as Vast answers it since 2026-06, in the order it writes them."""
