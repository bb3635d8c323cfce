"""The part of the market that does not move: hosts, their machines, and the chunks that each machine is offered in.

1. Hosts are drawn (country, datacenter or not, habits), each with a number of machines.
2. Machines are drawn (model, size, processor, disk, network, verification).
3. Each machine is cut into slots: the whole machine, halves, ... single GPUs, which overlap.

Everything is a dict of numpy columns, drawn from one generator: the same (seed, offers) gives the same bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import catalog
from .chance import Ints, between, pick
from .models import MODELS, SIZES

Columns = dict[str, NDArray[Any]]

MAX_GPUS = 16
MAX_SLOTS = 7

_MACHINES_PER_HOST = (
    (1, 0.555),
    (2, 0.17),
    (3, 0.11),
    (4, 0.05),
    (5, 0.03),
    (8, 0.025),
    (12, 0.03),
    (20, 0.02),
    (46, 0.01),
)
_SLOTS_PER_MACHINE = (0.44, 0.27, 0.15, 0.08, 0.035, 0.015, 0.01)
_TARDY_DAYS = (4.0, 25.0)
"""How long an offer stays listed before its host lists it anew."""


@dataclass(frozen=True)
class Layout:
    """The fixed structure of a market."""

    hosts: Columns
    machines: Columns
    slots: Columns
    gpus: int
    """Number of GPUs; a slot's are ``first_gpu`` up to ``first_gpu + num_gpus``."""


def build(seed: int, slots: int) -> Layout:
    """Return a layout with about ``slots`` slots, never fewer than two thirds of that."""
    rng = np.random.Generator(np.random.PCG64(seed))
    # A machine has one slot or more, about 1.5 on average.
    count = int(slots / 1.5) + 1
    hosts, owner = _hosts(rng, count)
    machines = _machines(rng, hosts, owner)
    cut = _slots(rng, machines)
    machines["first_gpu"] = np.concatenate(([0], np.cumsum(machines["num_gpus"])[:-1]))
    cut["first_gpu"] = machines["first_gpu"][cut["machine"]] + cut["start"]
    return Layout(hosts, machines, cut, int(machines["num_gpus"].sum()))


def _weighted(rng: np.random.Generator, count: int, table: ArrayLike) -> NDArray[Any]:
    values, weights = np.asarray(table, dtype=np.float64).T
    return np.asarray(values[pick(rng.random(count), weights)])


def _ids(rng: np.random.Generator, count: int, low: int, high: int) -> Ints:
    """Return ``count`` different ids in rising order, denser than ``high`` only if they must be."""
    gaps = rng.integers(1, max(2, 2 * (high - low) // max(count, 1)), count)
    return np.asarray(low + np.cumsum(gaps), dtype=np.int64)


def _hosts(rng: np.random.Generator, machines: int) -> tuple[Columns, Ints]:
    sizes = _weighted(rng, machines, _MACHINES_PER_HOST).astype(np.int64)
    count = int(np.searchsorted(np.cumsum(sizes), machines)) + 1
    owner = np.repeat(np.arange(count), sizes[:count])[:machines]
    datacenter = rng.random(count) < 0.16
    places = np.array([[place.home, place.datacenter] for place in catalog.PLACES])
    share = rng.random(count)
    hosts: Columns = {
        "host_id": rng.permutation(_ids(rng, count, 1000, 650_000)),
        "datacenter": datacenter,
        "place": np.where(datacenter, pick(share, places[:, 1]), pick(share, places[:, 0])),
        "habit": rng.normal(0.0, 0.55, count),
        "storage_cost": _weighted(rng, count, catalog.STORAGE_USD_PER_GB_MONTH) / 0.75,
        "down_usd_per_tb": _weighted(rng, count, catalog.USD_PER_TB) / 0.75,
        "up_usd_per_tb": _weighted(rng, count, catalog.USD_PER_TB) / 0.75,
        "static_ip": rng.random(count) < np.where(datacenter, 0.7, 0.45),
        "credit_discount_max": _weighted(rng, count, catalog.CREDIT_DISCOUNTS),
        "address": rng.integers(0, 762, count),
        "taste": _models(rng, datacenter),
        "away_s": rng.uniform(2, 14, count) * 86400,
        "away_phase": rng.uniform(0, 14, count) * 86400,
    }
    # Most hosts charge the same both ways.
    hosts["up_usd_per_tb"] = np.where(share < 0.5, hosts["down_usd_per_tb"], hosts["up_usd_per_tb"])
    return hosts, owner


def _models(rng: np.random.Generator, datacenter: NDArray[np.bool_]) -> Ints:
    weights = np.array([[model.popularity, model.datacenter] for model in MODELS])
    share = rng.random(len(datacenter))
    in_center = pick(share, weights[:, 0] * np.where(weights[:, 1] > 0, 4.0, 0.35))
    at_home = pick(share, weights[:, 0] * np.where(weights[:, 1] > 0, 0.35, 1.0))
    return np.where(datacenter, in_center, at_home)


def _machines(rng: np.random.Generator, hosts: Columns, owner: Ints) -> Columns:
    count = len(owner)
    datacenter = hosts["datacenter"][owner]
    model = np.where(rng.random(count) < 0.6, hosts["taste"][owner], _models(rng, datacenter))
    if count >= 3 * len(MODELS):
        # Rare cards would be missing from small markets, and a tutorial that names one would find nothing.
        model[rng.permutation(count)[: len(MODELS)]] = np.arange(len(MODELS))
    machines: Columns = {
        "machine_id": rng.permutation(_ids(rng, count, 1000, 150_000)),
        "host": owner,
        "model": model,
        "num_gpus": _sizes(rng, model),
        "gpu_ram": _memory(rng, model),
    }
    machines |= _verification(rng, datacenter)
    machines |= _computer(rng, machines)
    machines |= _network(rng, machines)
    machines |= _habits(rng, count)
    return machines


def _sizes(rng: np.random.Generator, model: Ints) -> Ints:
    share, sizes = rng.random(len(model)), np.ones(len(model), dtype=np.int64)
    shape = np.array([list(SIZES).index(row.sizes) for row in MODELS])[model]
    for number, table in enumerate(SIZES.values()):
        values, weights = np.array(table).T
        sizes = np.where(shape == number, values[pick(share, weights)], sizes)
    return sizes.astype(np.int64)


def _memory(rng: np.random.Generator, model: Ints) -> Ints:
    widest = max(len(row.gpu_ram_mb) for row in MODELS)
    table = np.array([(row.gpu_ram_mb + ((0, 0.0),) * widest)[:widest] for row in MODELS])
    edges = np.cumsum(table[:, :, 1], axis=1)[model]
    variant = (rng.random(len(model))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
    return np.asarray(table[model, variant, 0], dtype=np.int64)


def _verification(rng: np.random.Generator, datacenter: NDArray[np.bool_]) -> Columns:
    share = rng.random(len(datacenter))
    verified, deverified = np.where(datacenter, 0.74, 0.395), np.where(datacenter, 0.22, 0.115)
    standing = np.where(share < verified, 0, np.where(share < verified + deverified, 2, 1))
    codes = _weighted(rng, len(share), catalog.DEVERIFIED_CODES)
    chance = rng.random(len(share))
    reliability = np.choose(standing, [between(chance, spread, log=False) for spread in catalog.RELIABILITY.values()])
    return {
        "standing": standing,
        "vericode": np.choose(standing, [np.ones_like(codes), np.zeros_like(codes), codes]).astype(np.int64),
        "reliability": reliability,
        "vm_deverified": rng.random(len(share)) < 0.3,
    }


def _computer(rng: np.random.Generator, machines: Columns) -> Columns:
    model, gpus, count = machines["model"], machines["num_gpus"], len(machines["model"])
    threads = np.array([cpu.threads for cpu in catalog.CPUS])
    share = rng.random(count)
    desktop = pick(share, [cpu.desktop for cpu in catalog.CPUS])
    server = pick(share, [cpu.server for cpu in catalog.CPUS])
    center = np.array([row.datacenter for row in MODELS])[model]
    cpu = np.where((gpus > 2) | (center & (rng.random(count) < 0.8)), server, desktop)
    chance = rng.random(count)
    ram_gb = np.where(center, between(chance, catalog.CPU_RAM_GB_PER_GPU[True]),
                      between(chance, catalog.CPU_RAM_GB_PER_GPU[False]))  # fmt: skip
    newest = np.array([row.compute_cap >= 1000 for row in MODELS])[model]
    return {
        "cpu": np.where(rng.random(count) < 0.012, -1, cpu),
        "cpu_cores": threads[cpu],
        "cpu_ghz": np.array([row.ghz for row in catalog.CPUS])[cpu],
        "cpu_ghz_known": rng.random(count) >= 0.037,
        "cpu_ram": np.minimum(ram_gb * gpus * 1006, 4_108_000).astype(np.int64),
        "board": np.where(rng.random(count) < 0.042, -1, rng.integers(0, len(catalog.BOARDS), count)),
        "disk": rng.integers(0, len(catalog.DISKS), count),
        "disk_gb": np.round(between(rng.random(count), catalog.DISK_GB_PER_GPU) * gpus, 1),
        "disk_bw": np.round(between(rng.random(count), catalog.DISK_MB_S), 1),
        "ubuntu": np.where(rng.random(count) < 0.009, -1, pick(rng.random(count), [w for _, w in catalog.UBUNTU])),
        "pci_gen": np.where(
            newest & (rng.random(count) < 0.6), 5.0, rng.choice([2.0, 3.0, 4.0], count, p=[0.05, 0.45, 0.5])
        ),
        "gpu_lanes": rng.choice([16, 8, 4, 1], count, p=[0.6, 0.26, 0.07, 0.07]),
        "pcie_bw_known": rng.random(count) >= 0.005,
        "driver": _drivers(rng, model),
    }


def _drivers(rng: np.random.Generator, model: Ints) -> Ints:
    """Return indices into DRIVERS, or behind its end for AMD_DRIVERS."""
    share = rng.random(len(model))
    every = pick(share, [row.weight for row in catalog.DRIVERS])
    newest = pick(share, [row.weight * row.blackwell for row in catalog.DRIVERS])
    amd = len(catalog.DRIVERS) + pick(share, [row.weight for row in catalog.AMD_DRIVERS])
    blackwell = np.array([row.compute_cap >= 1000 and row.gpu_arch == "nvidia" for row in MODELS])[model]
    return np.where(np.array([row.gpu_arch == "amd" for row in MODELS])[model], amd, np.where(blackwell, newest, every))


def _network(rng: np.random.Generator, machines: Columns) -> Columns:
    count, share = len(machines["model"]), rng.random(len(machines["model"]))
    down = np.where(machines["standing"] == 0, between(share, catalog.DOWN_MBPS[True]),
                    between(share, catalog.DOWN_MBPS[False]))  # fmt: skip
    down = np.where(rng.random(count) < 0.02, 0.0, down)
    return {
        "inet_down": np.round(down, 1),
        "inet_up": np.round(down * between(rng.random(count), catalog.UP_SHARE_OF_DOWN), 1),
        "ports": between(rng.random(count), catalog.PORTS).astype(np.int64) * (rng.random(count) >= 0.02),
    }


def _habits(rng: np.random.Generator, count: int) -> Columns:
    """Return what a machine's behaviour in time depends on; ``*_s`` are periods, ``*_phase`` their offsets."""
    hours: dict[str, tuple[float, float]] = {
        "reprice": (6, 72),
        "busy": (3, 60),
        "bid": (0.2, 8),
        "heartbeat": (2, 28),
        "repair": (24, 144),
        "relist": (24 * _TARDY_DAYS[0], 24 * _TARDY_DAYS[1]),
    }
    habits: Columns = {f"{name}_s": rng.uniform(low, high, count) * 3600 for name, (low, high) in hours.items()}
    habits |= {f"{name}_phase": rng.uniform(0, high, count) * 3600 for name, (_, high) in hours.items()}
    flags = {"display": 0.03, "vms": 0.08, "volumes": 0.85, "old_cpu": 0.05, "start_known": 0.9, "stale_driver": 0.03}
    habits |= {name: rng.random(count) < share for name, share in flags.items()}
    return habits | {
        "price_z": np.clip(rng.normal(0.0, 1.0, count), -2.5, 2.5),
        "dlperf_noise": np.exp(rng.normal(0.0, 0.1, count)),
        "flops_noise": 1.0 + rng.normal(0.0, 0.012, count),
        "bandwidth_noise": rng.uniform(0.93, 1.0, count),
        "score_noise": np.exp(rng.normal(0.0, 0.22, count)),
        "max_temp": rng.choice(
            [98.0, 103.0, 97.0, 90.0, 58.0, 53.0, 43.0, 31.0], count, p=[0.45, 0.1, 0.05, 0.05, 0.1, 0.1, 0.1, 0.05]
        ),
    }


def _slots(rng: np.random.Generator, machines: Columns) -> Columns:
    template = np.zeros((MAX_GPUS + 1, MAX_SLOTS, 2), dtype=np.int64)
    most = np.ones(MAX_GPUS + 1, dtype=np.int64)
    for gpus in range(1, MAX_GPUS + 1):
        chunks = _chunks(gpus)
        most[gpus], template[gpus, : len(chunks)] = len(chunks), chunks
    owned = machines["num_gpus"]
    counts = np.minimum(pick(rng.random(len(owned)), _SLOTS_PER_MACHINE) + 1, most[owned])
    machine = np.repeat(np.arange(len(owned)), counts)
    rank = np.arange(len(machine)) - np.repeat(np.cumsum(counts) - counts, counts)
    start, size = template[owned[machine], rank].T
    return {
        "machine": machine,
        "start": start,
        "num_gpus": size,
        "score_noise": np.exp(rng.normal(0, 0.02, len(start))),
    }


def _chunks(gpus: int) -> list[tuple[int, int]]:
    """Return the (first GPU, number) of the chunks that a machine may be offered in, the commonest first.

    Halving goes from the end, since the first GPUs of a machine are the first ones rented.
    """
    chunks, size = [(0, gpus)], gpus // 2
    while size >= 1:
        chunks.append((gpus - size, size))
        size //= 2
    for size in (gpus // 2, gpus // 4, 1):
        heads = [(start, size) for start in range(0, gpus, max(size, 1)) if 0 < size <= gpus - start]
        chunks += [chunk for chunk in heads if chunk not in chunks]
    return chunks[:MAX_SLOTS]
