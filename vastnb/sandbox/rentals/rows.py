"""A rented machine as the list of instances answers it: the fields of the records of 2024 and 2026, with their types."""

from typing import Any

from vastnb.sandbox.books import MICRO_USD
from vastnb.sandbox.chance import unit

from .meters import DOWN, UP
from .rental import Rental

_SAME = (
    "bw_nvlink", "compute_cap", "cpu_arch", "cpu_cores", "cpu_cores_effective", "cpu_name", "cpu_ram",
    "credit_discount_max", "cuda_max_good", "direct_port_count", "disk_bw", "disk_name", "dlperf", "driver_version",
    "end_date", "geolocation", "gpu_arch", "gpu_display_active", "gpu_frac", "gpu_lanes", "gpu_mem_bw", "gpu_name",
    "gpu_ram", "has_avx", "host_id", "inet_down", "inet_down_cost", "inet_up", "inet_up_cost",
    "internet_down_cost_per_tb", "internet_up_cost_per_tb", "logo", "machine_id", "mobo_name", "num_gpus", "os_version",
    "pci_gen", "pcie_bw", "public_ipaddr", "reliability2", "score", "static_ip", "storage_cost", "storage_total_cost",
    "total_flops", "verification",
)  # fmt: skip
"""Fields that are those of the offer."""
_FIXED: dict[str, Any] = {
    "bundle_id": None,
    "client_run_time": 1.1,
    "country_code": None,
    "external": False,
    "host_run_time": 2592000.0,
    "hosting_type": None,
    "rentable": True,
    "uptime_mins": None,
    "webpage": None,
}
KINDS: dict[str, str] = {
    "actual_status": "exact",
    "cur_state": "exact",
    "end_date": "number",
    "geolocation": "text",
    "gpu_name": "text",
    "host_id": "number",
    "id": "number",
    "image_runtype": "exact",
    "image_uuid": "exact",
    "intended_status": "exact",
    "is_bid": "bool",
    "label": "exact",
    "machine_id": "number",
    "next_state": "exact",
    "start_date": "number",
    "template_hash_id": "exact",
    "template_id": "number",
    "verification": "exact",
}
"""What instances can be filtered and ordered by: columns of the contract, no computed field."""
_STATUSES = {"actual_status": 0, "cur_state": 1, "intended_status": 2, "next_state": 3}
_BYTES_PER_MB = 2**20
_FIRST_PORT = 20_000


def filterable(rental: Rental) -> dict[str, Any]:
    """Return what a machine can be filtered by, without the rest of its row."""
    contract, status = rental.contract, rental.status
    own = _asked(rental) | {
        "id": contract.id,
        "is_bid": contract.is_bid,
        "label": rental.label,
        "start_date": contract.created_at,
        **{name: status[at] for name, at in _STATUSES.items()},
    }
    return {name: own[name] if name in own else contract.offer[name] for name in KINDS}


def row(rental: Rental, now: float, seed: int, min_bid: float) -> dict[str, Any]:
    """Return a machine at ``now``; ``min_bid`` is what must be bid for its GPUs."""
    contract, offer = rental.contract, rental.contract.offer
    same = {name: offer[name] for name in _SAME}
    live = _uses(rental, now, seed) | _prices(rental, now) | _reached(rental) | _asked(rental)
    row = _FIXED | same | live
    row |= {name: rental.status[at] for name, at in _STATUSES.items()}
    row |= {
        "duration": contract.end_date - now,
        "gpu_totalram": offer["gpu_total_ram"],
        "id": contract.id,
        "label": rental.label,
        "min_bid": min_bid,
        "start_date": contract.created_at,
        "status_msg": _said(rental),
        "time_remaining": "Unlimited" if rental.contained else "",
        "time_remaining_isbid": "Unlimited" if rental.contained else "",
        "volume_info": [],
    }
    return dict(sorted(row.items()))


def ports(rental: Rental) -> dict[str, list[dict[str, str]]]:
    """Return the ports of a running container as docker writes them."""
    return {
        name: [{"HostIp": host, "HostPort": str(_FIRST_PORT + number)} for host in ("0.0.0.0", "::")]  # noqa: S104 as docker shows it; nothing listens
        for number, name in enumerate(_ports(rental), rental.id % 1000 * 20)
    }


def _ports(rental: Rental) -> list[str]:
    wish = rental.contract.wish
    names = [] if wish.runtype == "args" else ["22/tcp"]
    names += ["8080/tcp"] if "jupyter" in wish.runtype else []
    for name, _ in wish.env:
        if name.startswith("-p "):
            inside = name.removeprefix("-p ").rpartition(":")[2]
            names.append(inside if "/" in inside else f"{inside}/tcp")
    return list(dict.fromkeys(names))


def _asked(rental: Rental) -> dict[str, Any]:
    """Return what its renter wished."""
    wish, contract = rental.contract.wish, rental.contract
    template_id, hash_id, name = wish.template or (None, None, None)
    return {
        "disk_space": wish.disk_gb,
        "extra_env": [list(pair) for pair in wish.env],
        "image_args": list(wish.args),
        "image_runtype": wish.runtype,
        "image_uuid": wish.image,
        "jupyter_token": contract.jupyter_token,
        "onstart": wish.onstart,
        "template_hash_id": hash_id,
        "template_id": template_id,
        "template_name": name,
    }


def _reached(rental: Rental) -> dict[str, Any]:
    """Return how it is reached; ports only while its container runs."""
    number = rental.id % 9 + 1
    found = ports(rental)
    numbers = [int(entry[0]["HostPort"]) for entry in found.values()] if rental.contained else []
    reached: dict[str, Any] = {
        "direct_port_end": max(numbers, default=-1),
        "direct_port_start": min(numbers, default=-1),
        "local_ipaddrs": f"192.168.1.{rental.contract.machine % 250 + 2} 172.17.0.1 \n",
        "machine_dir_ssh_port": 10_000 + rental.contract.machine % 50_000,
        "ssh_host": f"ssh{number}.vast.ai",
        "ssh_idx": str(number),
        "ssh_port": 10_000 + rental.id % 10_000,
    }
    return reached | ({"ports": found} if rental.contained else {})


def _prices(rental: Rental, now: float) -> dict[str, Any]:
    offer, base = rental.contract.offer, rental.usd_per_hour
    disk = float(offer["storage_total_cost"])
    total = base + disk
    gpu_now = base if rental.gpu_billed else 0
    hourly = {"discountTotalHour": 0, "discountedTotalPerHour": 0, "diskHour": disk}
    memory = float(offer["gpu_total_ram"])
    return {
        "credit_balance": rental.deposit_left_micro_usd(now) / MICRO_USD if rental.meter.prepaid else None,
        "credit_discount": rental.discount or None,
        "dlperf_per_dphtotal": offer["dlperf"] / total,
        "dph_base": base,
        "dph_total": total,
        "flops_per_dphtotal": offer["total_flops"] / total,
        "instance": hourly | {"gpuCostPerHour": gpu_now, "totalHour": gpu_now + disk},
        "is_bid": rental.contract.is_bid,
        "search": hourly | {"gpuCostPerHour": base, "totalHour": total, "discountedTotalPerHour": total},
        "vram_costperhour": total / memory if memory else 0.0,
    }


def _uses(rental: Rental, now: float, seed: int) -> dict[str, Any]:
    """Return what it is busy with: made up from its id and the minute, nothing while its container does not run."""
    down, up = (rental.meter.traffic_bytes(item) / _BYTES_PER_MB for item in (DOWN, UP))
    billed = {"inet_down_billed": down or None, "inet_up_billed": up or None}
    if not rental.contained:
        idle = dict.fromkeys(("gpu_temp", "gpu_util", "mem_limit", "mem_usage", "vmem_usage"))
        return billed | idle | {"cpu_util": 0.0, "disk_usage": -1, "disk_util": -1}
    offer, minute = rental.contract.offer, int(now // 60)
    load, noise, fill = (float(unit(seed, name, rental.id, minute)[0]) for name in ("load", "noise", "fill"))
    used_gb = min(rental.contract.wish.disk_gb, 2.0 + (now - rental.contract.created_at) / 3600 * 0.05 + fill * 0.01)
    return billed | {
        "cpu_util": round(4 + 40 * load, 6),
        "disk_usage": used_gb,
        "disk_util": used_gb / rental.contract.wish.disk_gb,
        "gpu_temp": round(38 + 32 * load + 2 * noise, 6),
        "gpu_util": round(100 * load, 6),
        "mem_limit": float(offer["cpu_ram"]) / 1000,
        "mem_usage": float(offer["cpu_ram"]) / 1000 * (0.02 + 0.3 * load),
        "vmem_usage": float(offer["gpu_ram"]) / 1000 * (0.05 + 0.85 * load),
    }


def _said(rental: Rental) -> str | None:
    if rental.said is not None:
        return rental.said
    image = rental.contract.wish.image.replace(":", "_")
    kind = (
        "args"
        if rental.contract.wish.runtype == "args"
        else "jupyter"
        if "jupyter" in rental.contract.wish.runtype
        else "ssh"
    )
    texts = {
        "created": "created",
        "loading": f"{rental.id % 0xFFFFFF:012x}: Pull complete\n",
        "running": f"success, running {image}/{kind}",
        "stopping": f"success, running {image}/{kind}",
        "queued": "Required resources are currently unavailable, state change queued",
    }
    return texts.get(rental.phase, None if not rental.pulled else f"success, stopped {image}/{kind}")
