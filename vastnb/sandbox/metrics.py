"""The market in figures: supply, demand and prices per GPU model, now and over time, and where the machines are.

Everything is counted in machines, as the documentation has it. A machine is *rented* when it is listed and none of
its offers is rentable, *available* when one of them is; so each figure can be counted again from a search. Prices are
per GPU and hour on demand, without disk: ``dph_base / num_gpus``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .catalog import PLACES
from .chance import Floats, Ints
from .filters import BadRequestError
from .market import Market, State
from .models import MODELS
from .places import CITIES
from .tables import integer

NAMES: tuple[str, ...] = tuple(model.name for model in MODELS)
DEFAULT_NAMES = ("RTX 5090", "RTX 4090", "RTX 3090")
DEFAULT_SPAN_S = 86_400
DEFAULT_STEP_S = 4_320
"""Makes the documented "roughly 20 data points" of a day."""
MIN_STEP_S = 60
MAX_POINTS, MIN_MAX_POINTS = 500, 25
_MOST_WORK = 1_000_000
"""Offers times points in one history: beyond it the step is raised, so that no question holds the server up."""
SHARES: dict[str, float] = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}
_SERIES = ("p10", "median", "p90")
_BUCKETS = ("1", "2", "4", "8")
_USUAL_DAYS, _USUAL_SAMPLES = 30, 20
_UNRENTABLE = 0
"""Machines listed but neither rentable nor rented: the official client shows them, the sandbox has none."""

Mask = NDArray[np.bool_]


class Choice(NamedTuple):
    """Which machines are looked at."""

    verified: str = "yes"
    hosting_type: str = "all"
    num_gpus: str = "all"


_CHOICES: dict[str, tuple[str, ...]] = {
    "verified": ("yes", "no", "all"),
    "hosting_type": ("all", "secure_cloud", "community"),
    "num_gpus": ("all", *_BUCKETS, "other"),
}


def choice(query: Mapping[str, str]) -> Choice:
    """Return the choice of a query, with the documented defaults."""
    found = Choice()._replace(**{name: query[name] for name in _CHOICES if query.get(name)})
    for name, known in _CHOICES.items():
        if getattr(found, name) not in known:
            raise BadRequestError(f"{name}: Input should be one of {', '.join(known)}")
    return found


def names(query: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPU models that a query asks for; one that there is not is no error."""
    asked = [name.replace("_", " ").strip() for name in query.get("gpu_name", "").split(",")]
    asked = [name for name in asked if name] or list(DEFAULT_NAMES)
    return NAMES if "all" in asked else tuple(dict.fromkeys(name for name in asked if name in NAMES))


def points(query: Mapping[str, str], now: float, offers: int) -> range:
    """Return the times of a history (epoch seconds): the last day by default, none after ``now``, not too many."""
    last = int(now)
    end = integer(query, "end")
    end = last if end is None else min(end, last)
    start = integer(query, "start")
    start = max(0, end - DEFAULT_SPAN_S) if start is None else start
    if not 0 <= start <= end:
        raise BadRequestError(f"start: {start} is not from 0 to the end, {end}")
    step = integer(query, "step")
    most = max(MIN_MAX_POINTS, min(MAX_POINTS, _MOST_WORK // offers))
    least = max(MIN_STEP_S, math.ceil((end - start) / (most - 1)))
    return range(start, end + 1, max(DEFAULT_STEP_S if step is None else step, least))


def percentiles(values: Floats, groups: Ints, count: int, shares: Sequence[float]) -> Floats:
    """Return the percentiles of each group, one row per share and NaN for an empty group, interpolated linearly."""
    values = values[np.lexsort((values, groups))]
    sizes = np.bincount(groups, minlength=count)
    first, some = np.cumsum(sizes) - sizes, sizes > 0
    found = np.full((len(shares), count), np.nan)
    for row, share in enumerate(shares):
        rank = share * (sizes[some] - 1)
        low = np.floor(rank).astype(np.int64)
        below = values[first[some] + low]
        above = values[first[some] + np.minimum(low + 1, sizes[some] - 1)]
        found[row, some] = below + (above - below) * (rank - low)
    return found


class Metrics:
    """The figures of one market."""

    def __init__(self, market: Market) -> None:
        self._market = market
        machines, slots = market.layout.machines, market.layout.slots
        self._model, self._gpus = machines["model"], machines["num_gpus"]
        self._verified = machines["standing"] == 0
        self._datacenter = market.layout.hosts["datacenter"][machines["host"]]
        self._first = np.flatnonzero(np.concatenate(([True], slots["machine"][1:] != slots["machine"][:-1])))
        self._usual: tuple[float, Ints, Ints] | None = None

    def current(self, now: float, chosen: Choice) -> list[dict[str, Any]]:
        """Return the snapshot at ``now``: one row per GPU model that is listed, by name."""
        mask = self._mask(chosen)
        state = self._market.state(now)
        rented, available = self._machines(state, self._market.untaken(state.rentable))
        counts = self._counts(rented & mask, available & mask)
        prices = self._prices(state, available & mask, tuple(SHARES.values()))
        usual = self._usual_usage(now, mask)
        listed = np.flatnonzero(sum(counts.values())).tolist()
        rows = [self._row(model, counts, prices[:, model], usual[model]) for model in listed]
        return sorted(rows, key=lambda row: row["gpu_name"])

    def history(self, chosen: Choice, wanted: tuple[str, ...], points: range) -> dict[str, Any]:
        """Return the series of each wanted model that such machines exist of, at ``points`` (epoch seconds).

        What this sandbox's own renters hold is not in it: the past of the market does not depend on them.
        """
        models = np.array([NAMES.index(name) for name in wanted], dtype=np.int64)
        mask = self._mask(chosen) & np.isin(self._model, models)
        there = np.bincount(self._model[mask], minlength=len(MODELS))
        moments = [self._moment(State(self._market, point // 60 * 60), mask) for point in points]
        series = {name: np.stack([moment[name] for moment in moments]) for name in moments[0]}
        return {NAMES[model]: _series(model, points, series) for model in models if there[model]}

    def locations(self, now: float) -> list[dict[str, Any]]:
        """Return one row per machine that is listed at ``now``."""
        state = self._market.state(now)
        rented, available = self._machines(state, self._market.untaken(state.rentable))
        place = self._market.layout.hosts["place"][self._market.layout.machines["host"]]
        return [self._location(machine, PLACES[place[machine]].name, bool(rented[machine]))
                for machine in np.flatnonzero(rented | available).tolist()]  # fmt: skip

    def _location(self, machine: int, place: str, rented: bool) -> dict[str, Any]:
        city = CITIES[place]
        return {
            "city": city.name,
            "country_code": place[-2:],
            "datacenter": bool(self._datacenter[machine]),
            "gpu_name": NAMES[self._model[machine]],
            "latitude": city.latitude,
            "longitude": city.longitude,
            "num_gpus": int(self._gpus[machine]),
            "rented": rented,
            "state": "rented" if rented else "available",
            "verified": bool(self._verified[machine]),
        }

    def _mask(self, chosen: Choice) -> Mask:
        mask = np.ones(len(self._model), dtype=bool)
        if chosen.verified != "all":
            mask &= self._verified == (chosen.verified == "yes")
        if chosen.hosting_type != "all":
            mask &= self._datacenter == (chosen.hosting_type == "secure_cloud")
        if chosen.num_gpus == "other":
            mask &= ~np.isin(self._gpus, [int(bucket) for bucket in _BUCKETS])
        elif chosen.num_gpus != "all":
            mask &= self._gpus == int(chosen.num_gpus)
        return mask

    def _machines(self, state: State, rentable: Mask) -> tuple[Mask, Mask]:
        """Return which machines are rented and which are available."""
        available = np.logical_or.reduceat(rentable, self._first)
        return state.listed[self._first] & ~available, available

    def _counts(self, rented: Mask, available: Mask) -> dict[str, Ints]:
        return {
            f"{what}_{standing}": np.bincount(self._model[machines & which], minlength=len(MODELS))
            for what, machines in (("rented", rented), ("avail", available))
            for standing, which in (("verified", self._verified), ("unverified", ~self._verified))
        }

    def _prices(self, state: State, machines: Mask, shares: Sequence[float]) -> Floats:
        return percentiles(state.prices["host_price"][machines] / 0.75, self._model[machines], len(MODELS), shares)

    def _moment(self, state: State, mask: Mask) -> dict[str, Any]:
        rented, available = self._machines(state, state.rentable)
        found: dict[str, Any] = self._counts(rented & mask, available & mask)
        for name, machines in (("rented", rented & mask), ("avail", available & mask)):
            prices = self._prices(state, machines, tuple(SHARES[share] for share in _SERIES))
            found |= {f"{name}_{share}": row for share, row in zip(_SERIES, prices, strict=True)}
        return found

    def _usual_usage(self, now: float, mask: Mask) -> Floats:
        """Return each model's share of rented machines over 30 days, in percent."""
        hour = now // 3600 * 3600
        if self._usual is None or self._usual[0] != hour:
            self._usual = (hour, *self._seen(hour))
        _, rented, listed = self._usual
        used, all_ = (np.bincount(self._model, weights=seen * mask, minlength=len(MODELS)) for seen in (rented, listed))
        return np.asarray(100 * used / np.maximum(all_, 1))

    def _seen(self, hour: float) -> tuple[Ints, Ints]:
        """Return how often each machine was seen rented, and listed, in the samples of the 30 days before ``hour``."""
        rented, listed = np.zeros((2, len(self._model)), dtype=np.int64)
        for number in range(_USUAL_SAMPLES):
            # Every 36 hours: at midnight and noon by turns, so that the day's cycle cancels out.
            state = State(self._market, hour - number * _USUAL_DAYS * 86400 / _USUAL_SAMPLES)
            busy, free = self._machines(state, state.rentable)
            rented, listed = rented + busy, listed + (busy | free)
        return rented, listed

    def _row(self, model: int, counts: dict[str, Ints], prices: Floats, usual: float) -> dict[str, Any]:
        n = {name: int(column[model]) for name, column in counts.items()}
        rented, available = (n[f"{what}_verified"] + n[f"{what}_unverified"] for what in ("rented", "avail"))
        usd = {f"price_{name}": _usd(price) for name, price in zip(SHARES, prices.tolist(), strict=True)}
        shares = {"usage": round(100 * rented / (rented + available), 2), "usage_30d": round(float(usual), 2)}
        total = {"total": rented + available, "available": available, "unavailable": _UNRENTABLE}
        return {"gpu_name": NAMES[model]} | total | n | shares | usd | _stats(model, usd["price_median"])


def _series(model: int, points: range, series: dict[str, Any]) -> dict[str, Any]:
    counts = {name: column[:, model].tolist() for name, column in series.items() if name.endswith("verified")}
    prices = {name: [_usd(price) for price in column[:, model].tolist()]
              for name, column in series.items() if name not in counts}  # fmt: skip
    unrentable = {f"unavail_{standing}": [_UNRENTABLE] * len(points) for standing in ("verified", "unverified")}
    times = {"timestamps": list(points)}
    return {
        "pricing": times | prices,
        "stats": _stats(model, prices["avail_median"][-1]),
        "supply_demand": times | counts | unrentable | {"total": np.sum(list(counts.values()), axis=0).tolist()},
    }


def _stats(model: int, usd_per_hour: float | None) -> dict[str, float | None]:
    """Return what one GPU of a model can do, and for a dollar at that price."""
    figures = {"tflops": float(MODELS[model].tflops), "dlperf": float(MODELS[model].dlperf)}
    per_dollar = {f"{name}_per_dollar": round(value / usd_per_hour, 2) if usd_per_hour else None
                  for name, value in figures.items()}  # fmt: skip
    return figures | per_dollar


def _usd(price: float) -> float | None:
    """Return a price in millionths of a dollar, ``None`` where nothing is offered."""
    return None if math.isnan(price) else round(price, 6)
