"""Oddities of data: what offers can look like in an answer that is otherwise in order.

Each is a function of the offers; those that stand for single odd hosts change every other offer, so that good ones
remain beside them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from .faults import Fault
from .wire import Literals

Offer = dict[str, Any]

FIELDS_2019 = frozenset(
    [
        "bundle_id",
        "compute_cap",
        "cpu_cores",
        "cpu_cores_effective",
        "cpu_name",
        "cpu_ram",
        "cuda_max_good",
        "disk_bw",
        "disk_name",
        "disk_space",
        "dlperf",
        "dlperf_per_dphtotal",
        "dph_base",
        "dph_total",
        "duration",
        "end_date",
        "external",
        "flops_per_dphtotal",
        "gpu_display_active",
        "gpu_frac",
        "gpu_lanes",
        "gpu_mem_bw",
        "gpu_name",
        "gpu_ram",
        "has_avx",
        "host_id",
        "id",
        "inet_down",
        "inet_down_cost",
        "inet_up",
        "inet_up_cost",
        "is_bid",
        "logo",
        "machine_id",
        "min_bid",
        "mobo_name",
        "num_gpus",
        "pci_gen",
        "pcie_bw",
        "reliability2",
        "rentable",
        "rented",
        "start_date",
        "storage_cost",
        "storage_total_cost",
        "total_flops",
        "webpage",
    ]
)
_NULLS = (
    "cpu_cores_effective", "cpu_ghz", "cpu_name", "cuda_max_good", "discount_rate", "disk_name", "dlperf",
    "driver_vers", "driver_version", "duration", "end_date", "geolocation", "inet_down", "inet_up", "min_bid",
    "mobo_name", "os_version", "pcie_bw", "reliability", "reliability2", "score", "start_date", "static_ip",
)  # fmt: skip
_ABSURD: Offer = {
    "compute_cap": 243,
    "cpu_ghz": 25.5,
    "cuda_max_good": 580.173,
    "duration": 2371642795.0,
    "end_date": 4102462754.0,
    "gpu_max_temp": -5.0,
    "inet_down": -512.0,
    "inet_up": -1788679061267.4,
}
_NEW: Offer = {
    "carbon_g_per_kwh": 41.5,
    "fabric": {"topology": "ring", "links": [4, 4]},
    "gpu_generation": "blackwell",
    "liquid_cooled": True,
    "tenancy": None,
}
_HOSTILE: Offer = {
    "cpu_name": "\x1b[2J\x1b[31mAMD EPYC\x1b[0m \x07",
    "disk_name": "=cmd|' /C calc'!A0\r\n\t\"quoted\", comma",
    "geolocation": "<img src=x onerror=alert(1)>, US",
    "gpu_name": "<script>alert('gpu')</script>",
    "mobo_name": "\u202egnp.exe\u2066 \u200f\u0000{{7*7}}${7*7}",
    "public_ipaddr": "javascript:alert(document.cookie)",
    "verification": "</td></tr></table><h1>verified</h1>",
}
HUGE_TEXT_BYTES = 1_000_000
TRAILING_TEXT = b"\nMachine ID 24126 not found or not rentable.\n"


class Search(NamedTuple):
    """What the oddities may know of the search that is answered."""

    offers: list[Offer]
    others: Callable[[int], list[Offer]]
    """Returns up to so many offers that do not match."""


def apply(faults: list[Fault], search: Search) -> dict[str, Any]:
    """Return the answer to a search with the oddities of ``faults`` in it, in their order."""
    offers: Any = search.offers
    for fault in sorted(faults, key=lambda fault: fault.name in _WHOLE):
        change = _WHOLE.get(fault.name) or (lambda offers, _: offers)
        if fault.name in _CHANGES and isinstance(offers, list):
            change = _CHANGES[fault.name]
        offers = change(offers, (fault, search))
    if any(fault.name == "nan" for fault in faults) and isinstance(offers, list):
        offers = Literals(offers)
    return {"offers": offers}


Context = tuple[Fault, Search]


def _every_other(change: Callable[[Offer], Offer]) -> Callable[[list[Offer], Context], list[Offer]]:
    return lambda offers, _: [offer if number % 2 else offer | change(offer) for number, offer in enumerate(offers)]


def _nulls(offers: list[Offer], context: Context) -> list[Offer]:
    fields = context[0].options["fields"] or _NULLS
    return _every_other(lambda offer: dict.fromkeys(fields))(offers, context)


def _nan(offer: Offer) -> Offer:
    return {
        "dlperf_per_dphtotal": float("inf"),
        "inet_down": float("nan"),
        "inet_up": float("-inf"),
        "pcie_bw": float("nan"),
    }


def _hostile(offers: list[Offer], context: Context) -> list[Offer]:
    offers = _every_other(lambda offer: _HOSTILE)(offers, context)
    return [offers[0] | {"geolocation": "A" * HUGE_TEXT_BYTES + ", US"}, *offers[1:]] if offers else offers


def _wrong_types(offer: Offer) -> Offer:
    numbers = ("dph_total", "num_gpus", "gpu_ram", "reliability2", "inet_down", "id", "duration")
    lists = ("gpu_name", "geolocation", "verification")
    strings = {name: str(offer[name]) for name in numbers if name in offer}
    return strings | {name: [offer[name]] for name in lists if name in offer} | {"static_ip": "yes", "rentable": 1}


def _only_2019(offers: list[Offer], _: Context) -> list[Offer]:
    return [{name: value for name, value in offer.items() if name in FIELDS_2019} for offer in offers]


def _contradicting(offers: list[Offer], context: Context) -> list[Offer]:
    fault, search = context
    return [*search.others(fault.options["count"]), *offers]


def _duplicates(offers: list[Offer], context: Context) -> list[Offer]:
    return [*offers, *(dict(offer) for offer in offers[: context[0].options["count"]])]


_CHANGES: dict[str, Callable[[list[Offer], Context], list[Offer]]] = {
    "nulls": _nulls,
    "nan": _every_other(_nan),
    "new-fields": lambda offers, _: [offer | _NEW for offer in offers],
    "absurd": _every_other(lambda offer: _ABSURD),
    "hostile": _hostile,
    "wrong-types": _every_other(_wrong_types),
    "missing-fields": _only_2019,
    "contradicting": _contradicting,
    "duplicate-ids": _duplicates,
}
_WHOLE: dict[str, Callable[[Any, Context], Any]] = {
    "offers-object": lambda offers, _: offers[0] if isinstance(offers, list) and offers else {},
    "null-offers": lambda offers, _: None,
}
