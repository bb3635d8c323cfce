"""The benchmarks of the sandbox: what workers measured on the market's machines.

Which machine was measured with which template never changes, so a row keeps its id; each is measured anew every few
weeks, at the price of that moment. Like the market, a pure function of (seed, time).
"""

from typing import Any, NamedTuple

import numpy as np

from . import templates
from .chance import between, normal, period, unit
from .market import Market, State
from .models import MODELS

PAGE_CAP = 200
"""Rows in one answer; documented by the official client."""
KINDS: dict[str, str] = {
    "contract_id": "number",
    "dph_base": "number",
    "gpu_name": "text",
    "id": "number",
    "image": "text",
    "last_update": "number",
    "launch_args": "text",
    "machine_id": "number",
    "num_gpus": "number",
    "template_hash": "text",
    "template_id": "number",
    "type": "text",
    "value": "number",
}
"""The fields of a benchmark, as the official client knows them (the documentation has an older set)."""

FIRST_ID = 50_001
_FIRST_CONTRACT = 800_000_000
_SHARE = 0.06
_DAYS = ((0.0, 12.0), (1.0, 45.0))
NUM_GPUS_POWER = 0.97
"""How DLPerf grows with the number of GPUs, in the market as here."""


class Measure(NamedTuple):
    """What a template's workers measure, in a unit of its own."""

    template: int
    """Its place in :data:`.templates.TEMPLATES`."""
    type: str
    per_dlperf: float
    launch_args: str


MEASURES: tuple[Measure, ...] = (
    Measure(0, "training", 11.5, "--workload resnet50 --batch-size 256"),
    Measure(2, "image", 0.42, "--workflow sdxl --steps 20"),
    Measure(3, "llm", 34.0, "--model Qwen/Qwen3-8B --max-model-len 16384"),
    Measure(5, "llm", 21.0, "--model-id Qwen/Qwen3-4B"),
)
"""The names of the types and the scales are ours: nothing is recorded."""


def rows(market: Market, now: float) -> list[dict[str, Any]]:
    """Return all benchmarks as they are known at ``now``, by id."""
    found = [row for number in range(len(MEASURES)) for row in _rows(market, now, number)]
    return sorted(found, key=lambda row: row["id"])


def _rows(market: Market, now: float, number: int) -> list[dict[str, Any]]:
    measure, seed, machines = MEASURES[number], market.seed, market.layout.machines
    who = np.arange(len(machines["model"])) * len(MEASURES) + number
    length = between(unit(seed, "bench every", who), _DAYS) * 86400
    phase = unit(seed, "bench phase", who) * length
    epoch = period(now, length, phase)
    measured_at = np.floor(epoch * length - phase)
    model, gpus = machines["model"], machines["num_gpus"]
    dlperf = np.array([row.dlperf for row in MODELS])[model] * machines["dlperf_noise"] * gpus**NUM_GPUS_POWER
    columns = {
        "contract_id": _FIRST_CONTRACT + (unit(seed, "bench contract", who, epoch) * 90_000_000).astype(np.int64),
        "dph_base": State(market, measured_at // 60 * 60).prices["host_price"] * gpus / 0.75,
        "id": FIRST_ID + who,
        "last_update": measured_at,
        "machine_id": machines["machine_id"],
        "model": model,
        "num_gpus": gpus,
        "value": np.round(measure.per_dlperf * dlperf * np.exp(0.05 * normal(seed, "bench", who, epoch)), 2),
    }
    kept = np.flatnonzero(unit(seed, "benched", who) < _SHARE)
    values = zip(*(column[kept].tolist() for column in columns.values()), strict=True)
    return [_row(measure, dict(zip(columns, row, strict=True))) for row in values]


def _row(measure: Measure, figures: dict[str, Any]) -> dict[str, Any]:
    template = templates.TEMPLATES[measure.template]
    template_id, template_hash = templates.identity(measure.template)
    return figures | {
        "gpu_name": MODELS[figures.pop("model")].name,
        "image": f"{template.image}:{template.tag}",
        "launch_args": measure.launch_args,
        "template_hash": template_hash,
        "template_id": template_id,
        "type": measure.type,
    }
