"""What to make of offers: the cheapest way to do a job, the best there is, what changes the price. Pure functions on frames.

Each takes a frame of offers (``df.pipe(frontier)``), never changes it, and gives a frame with pinned columns. An offer without a
price, or with one of zero, is in no ranking: it is left out, and ``attrs["vastnb"]["notes"]`` says how many were.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vastnb.errors import InputError
from vastnb.services.arguments import only_known
from vastnb.services.costs.derived import about_of, derived, kept, labels, need, numbers
from vastnb.services.costs.quoting import LEAST_DISK_GB, Job, hours_left, job_of, priced

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cheapest_for", "compare", "frontier", "sensitivity", "usd_per_job"]

_MODEL = ("gpu_name", "gpu_ram_nominal_gb")
_NO_PRICE = "a price is not told, or is zero"
_LITTLE = "not enough GPU memory"
_FACTORS = (0.5, 2.0, 4.0)
_VARIED = ("hours", "disk_gb", "download_gb", "upload_gb")
_NAMED_IN_NOTES = 5


def cheapest_for(
    offers: pd.DataFrame,
    *,
    vram_gb: float = 0,
    gpu_ram_gb: float = 0,
    hours: float = 1,
    disk_gb: float = 10,
    download_gb: float = 0,
    upload_gb: float = 0,
    idle_hours: float = 0,
    bid_usd_per_hour: float | None = None,
) -> pd.DataFrame:
    """The cheapest way to do a job with each kind of machine: model, memory size and number of GPUs.

    Parameters
    ----------
    offers
        A frame of offers.
    vram_gb, gpu_ram_gb
        GPU memory that is needed, all GPUs together and of each, in GB as printed on the box.
    hours, disk_gb, download_gb, upload_gb, idle_hours, bid_usd_per_hour
        The job, as for `quote`.

    Returns
    -------
    DataFrame
        One row a kind of machine, cheapest first, columns as in the columns page. Offers with too little memory or disk, without a
        price, or that the host takes back too soon, are left out. A row can be launched, as one of `quote`.

    Raises
    ------
    InputError
        A number out of range, or no frame of offers.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> ways = vastnb.search("num_gpus<=4").pipe(vastnb.cheapest_for, vram_gb=48, hours=10, disk_gb=100)
    >>> bool((ways.vram_total_gb >= 48).all()), ways.usd_total.is_monotonic_increasing
    (True, True)
    """
    need(offers, *_MODEL, "num_gpus")
    _check(vram_gb=vram_gb, gpu_ram_gb=gpu_ram_gb)
    job = job_of(hours=hours, disk_gb=disk_gb, download_gb=download_gb, upload_gb=upload_gb, idle_hours=idle_hours,
                 bid_usd_per_hour=bid_usd_per_hour)  # fmt: skip
    frame = priced(offers, job)
    size = numbers(offers, "gpu_ram_nominal_gb")
    frame["gpu_ram_nominal_gb"], frame["vram_total_gb"] = size, size * numbers(offers, "num_gpus")
    frame["reliability"], frame["country"] = numbers(offers, "reliability"), _texts(offers, "country")
    little = ~((frame["vram_total_gb"] >= vram_gb) & (size >= gpu_ram_gb)).to_numpy()
    stay, notes = kept(len(frame), [(little, _LITTLE), *_unfit(offers, frame, job)])
    able = frame[stay].sort_values("usd_total", kind="stable")
    kind = able.groupby([*_MODEL, "num_gpus"], dropna=False, sort=False)
    best = able.assign(offers=kind["usd_total"].transform("size")).loc[kind.cumcount() == 0]
    notes = [note for note in notes if best.empty or not note.endswith(_LITTLE)]
    choices = derived("choices", best, offers, notes)
    choices.attrs["vastnb"]["job"] = job.model_dump()
    return choices


def _unfit(offers: pd.DataFrame, quotes: pd.DataFrame, job: Job) -> Iterator[tuple[Any, str]]:
    yield ~_sellable(quotes), _NO_PRICE
    yield numbers(offers, "disk_max_gb") < job.disk_gb, "not enough disk"
    if {"available_until", "seen_at"} <= set(offers.columns):
        yield hours_left(offers) < quotes["hours"].to_numpy() + job.idle_hours, "the host takes it back too soon"


def _sellable(quotes: pd.DataFrame) -> Any:
    return (quotes["usd_total"].notna() & (quotes["gpu_usd"] > 0)).to_numpy()


def _texts(frame: pd.DataFrame, name: str) -> Any:
    return frame[name].to_numpy() if name in frame else [None] * len(frame)


def _check(**amounts: float) -> None:
    for name, value in amounts.items():
        if not (isinstance(value, (int, float)) and 0 <= value < math.inf):
            raise InputError(f"{name} must be a number from 0, got {value!r}")


def frontier(
    frame: pd.DataFrame,
    *,
    less: str | Sequence[str] = "usd_per_hour",
    more: str | Sequence[str] = ("dlperf", "reliability"),
) -> pd.DataFrame:
    """The rows that no other beats: what is not here, something here is at least as good in everything and better in something.

    Parameters
    ----------
    frame
        Offers, or any frame with these columns.
    less
        Columns of which less is better.
    more
        Columns of which more is better.

    Returns
    -------
    DataFrame
        Rows of `frame`, as they are, by the first column. Rows that lack one of the values, or whose price is zero, are left out.

    Raises
    ------
    InputError
        No such column, or one without numbers.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> best = vastnb.search("gpu_ram>=24").pipe(vastnb.frontier)
    >>> best.usd_per_hour.is_monotonic_increasing
    True
    """
    downs, ups = _names(less), _names(more)
    need(frame, *downs, *ups)
    values = np.column_stack([*(_measure(frame, n) for n in downs), *(-_measure(frame, n) for n in ups)])
    money = [n for n, name in enumerate(downs) if "usd" in name]
    free = (values[:, money] <= 0).any(axis=1)
    stay, notes = kept(len(frame), [(np.isnan(values).any(axis=1), "a value is missing"), (free, "the price is zero")])
    rows = np.flatnonzero(stay)
    best: pd.DataFrame = frame.iloc[rows[_undominated(values[rows])]].reset_index(drop=True)
    about = about_of(frame)
    if about:
        best.attrs["vastnb"] = {**about, "notes": [*about.get("notes", ()), *notes]}
    return best


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names)
    if not found:
        raise InputError("frontier needs at least one column on each side")
    return found


def _measure(frame: pd.DataFrame, name: str) -> Any:
    try:
        return numbers(frame, name)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no column of numbers", original=error) from error


def _undominated(costs: Any) -> Any:
    """Rows of `costs` (less is better) that none beats, in lexical order: the first one left is always such a row."""
    left = np.lexsort(costs.T[::-1])
    found = [np.empty(0, np.intp)]
    while len(left):
        rest = costs[left]
        found.append(left[(rest == rest[0]).all(axis=1)])
        left = left[~(rest >= rest[0]).all(axis=1)]
    return np.concatenate(found)


def usd_per_job(
    offers: pd.DataFrame,
    units_per_s: Mapping[str, float] | pd.Series[float],
    *,
    units: float,
    scaling: float = 1,
    setup_hours: float = 0,
    disk_gb: float = 10,
    download_gb: float = 0,
    upload_gb: float = 0,
    bid_usd_per_hour: float | None = None,
) -> pd.DataFrame:
    """What a job of so many tokens, steps or images costs on each offer, by the rate that you measured on each GPU model.

    Parameters
    ----------
    offers
        A frame of offers.
    units_per_s
        Your rate on one GPU, in units a second, by GPU model: ``{"RTX 4090": 2900, "A100 SXM4": 5200}``, or a Series.
    units
        Units of the whole job.
    scaling
        What each further GPU of a machine adds, as a share of the first one's rate, 0 to 1.
    setup_hours
        Hours before the first unit, paid as well: the image, the packages, the data.
    disk_gb, download_gb, upload_gb, bid_usd_per_hour
        The rest of the job, as for `quote`.

    Returns
    -------
    DataFrame
        One row an offer of the models with a rate, cheapest first, columns as in the columns page. A row can be launched.

    Raises
    ------
    InputError
        A number out of range, or no offer of the models that have a rate.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> df = vastnb.search("gpu_name in [RTX_4090,RTX_3090] num_gpus=1")
    >>> cost = vastnb.usd_per_job(df, {"RTX 4090": 2900, "RTX 3090": 1500}, units=1e8, setup_hours=0.2)
    >>> bool((cost.usd_total > 0).all()), cost.usd_total.is_monotonic_increasing
    (True, True)
    """
    need(offers, *_MODEL, "num_gpus")
    _check(scaling=scaling, setup_hours=setup_hours, units=units)
    if scaling > 1 or units == 0:
        raise InputError(f"scaling must be 0 to 1 and units above 0, got {scaling!r} and {units!r}")
    job = job_of(disk_gb=disk_gb, download_gb=download_gb, upload_gb=upload_gb, bid_usd_per_hour=bid_usd_per_hour)
    rates = _rates(units_per_s)
    known = offers["gpu_name"].isin(list(rates))
    if len(offers) and not known.any():
        raise _no_offer_of(rates, offers)
    those = offers[known]
    rate = those["gpu_name"].map(rates).to_numpy(float) * (1 + scaling * (numbers(those, "num_gpus") - 1))
    frame = priced(those, job, units / rate / 3600 + setup_hours)
    frame["units_per_s"], frame["units_per_usd"] = rate, units / frame["usd_total"]
    frame["gpu_ram_nominal_gb"] = numbers(those, "gpu_ram_nominal_gb")
    stay, notes = kept(len(frame), [(~_sellable(frame), _NO_PRICE)])
    ranked = frame[stay].sort_values("usd_total", kind="stable")
    return derived("job costs", ranked, offers, [*_without_rate(offers[~known]), *notes])


def _rates(units_per_s: Any) -> dict[str, float]:
    try:
        rates = {str(name).replace("_", " "): float(rate) for name, rate in units_per_s.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("units_per_s must be rates by GPU model: {'RTX 4090': 2900}", original=error) from error
    for name, rate in rates.items():
        if not 0 < rate < math.inf:
            raise InputError(f"the rate of {name} must be above 0, got {rate!r}")
    return rates


def _no_offer_of(rates: Mapping[str, float], offers: pd.DataFrame) -> InputError:
    there = offers["gpu_name"].dropna().unique().tolist()
    near = [word for name in rates for word in difflib.get_close_matches(name, there, 1)]
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(there)[:_NAMED_IN_NOTES])}"
    return InputError(f"no offer here is of a model with a rate: {', '.join(rates) or 'none given'}", hint=hint)


def _without_rate(offers: pd.DataFrame) -> list[str]:
    models = offers["gpu_name"].value_counts(dropna=True).index.tolist()
    if not models:
        return []
    more = "" if len(models) <= _NAMED_IN_NOTES else f" and {len(models) - _NAMED_IN_NOTES} more models"
    return [f"{len(offers):,} offers left out, no rate for {', '.join(models[:_NAMED_IN_NOTES])}{more}"]


@only_known
def compare(offers: pd.DataFrame, *, by: str | Sequence[str] = _MODEL, to: str | None = None) -> pd.DataFrame:
    """Price, speed and value of groups of offers, each beside one of them.

    Parameters
    ----------
    offers
        A frame of offers.
    by
        Columns whose values make a group: GPU model and memory, or ``"country"``, ``"rental"``, ``["gpu_name", "num_gpus"]`` ...
    to
        The group that is 1, such as ``"RTX 4090"``; without it, the one with the most offers.

    Returns
    -------
    DataFrame
        One row a group, best value first, columns as in the columns page. Medians, and ratios of medians.

    Raises
    ------
    InputError
        No such column or group.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> beside = vastnb.search("gpu_name in [RTX_4090,RTX_3090]").pipe(vastnb.compare, to="RTX 3090")
    >>> beside.set_index("group").price_ratio["RTX 3090 24 GB"].item()
    1.0
    """
    names = _names(by)
    need(offers, *names, "usd_per_gpu_hour")
    price = numbers(offers, "usd_per_gpu_hour")
    stay, notes = kept(len(offers), [(~(price > 0), _NO_PRICE)])
    those = offers[stay]
    measured = {
        "usd_per_gpu_hour": price[stay],
        "dlperf_per_gpu": numbers(those, "dlperf") / numbers(those, "num_gpus"),
        "dlperf_per_usd": numbers(those, "dlperf_per_usd"),
        "reliability": numbers(those, "reliability"),
    }
    groups = those.assign(**measured, group=labels(those, names)).groupby("group", sort=True)
    frame = groups[list(measured)].median().assign(offers=groups.size()).reset_index()
    beside, base = _beside(frame, to)
    ratios = {"price_ratio": "usd_per_gpu_hour", "speed_ratio": "dlperf_per_gpu", "value_ratio": "dlperf_per_usd"}
    frame = frame.assign(**{ratio: frame[name] / base[name] for ratio, name in ratios.items()})
    ranked = frame.sort_values("value_ratio", ascending=False, kind="stable")
    return derived("groups", ranked, offers, [*beside, *notes])


def _beside(groups: pd.DataFrame, to: str | None) -> tuple[list[str], Any]:
    """What is said of the group that is 1, and its values."""
    if groups.empty:
        return [], groups.reindex([0]).iloc[0]
    if to is None:
        row = groups.iloc[int(groups["offers"].to_numpy().argmax())]
        return [f"Ratios are to {row['group']}."], row
    name = to.replace("_", " ")
    exact = groups[groups["group"] == name]
    found = exact if len(exact) else groups[groups["group"].str.startswith(name + " ")]
    if len(found) != 1:
        near = found["group"].tolist() or difflib.get_close_matches(name, groups["group"].tolist(), 3, 0.3)
        raise InputError(
            f"{len(found)} groups are called {to}", hint=f"to= one of: {', '.join(near)}" if near else None
        )
    return [f"Ratios are to {found['group'].iloc[0]}."], found.iloc[0]


def sensitivity(
    offers: pd.DataFrame,
    *,
    hours: float = 1,
    disk_gb: float = 10,
    download_gb: float = 0,
    upload_gb: float = 0,
    factors: Sequence[float] = _FACTORS,
) -> pd.DataFrame:
    """How the price of a job changes with its hours, disk and traffic, and whether another offer would then be cheaper.

    Parameters
    ----------
    offers
        A frame of offers, which may have one row.
    hours, disk_gb, download_gb, upload_gb
        The job, as for `quote`.
    factors
        What each of them is multiplied with, one at a time.

    Returns
    -------
    DataFrame
        First the job itself, then one row for each variation, columns as in the columns page. Nothing is varied that is 0, and no
        disk is smaller than the least that can be rented.

    Raises
    ------
    InputError
        A number out of range, or no frame of offers.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> df = vastnb.search("gpu_name=RTX_4090 num_gpus=1")
    >>> vastnb.sensitivity(df, hours=10, disk_gb=50, factors=[2]).varied.tolist()
    ['', 'hours', 'disk_gb']
    """
    need(offers, "gpu_name", "num_gpus")
    job = {"hours": hours, "disk_gb": disk_gb, "download_gb": download_gb, "upload_gb": upload_gb}
    totals, notes = _totals(offers, job_of(**job))
    if np.isnan(totals).all():
        return derived("variations", {}, offers, notes)
    base = int(np.nanargmin(totals))
    rows = [_varied(offers, base, job, name, value) for name, value in _variations(job, factors)]
    frame = derived("variations", {name: [row[name] for row in rows] for name in rows[0]}, offers, notes)
    frame["change_usd"] = frame["usd_total"] - totals[base]
    frame["change"] = frame["usd_total"] / totals[base] - 1
    return frame


def _totals(offers: pd.DataFrame, job: Job) -> tuple[Any, list[str]]:
    """What the job costs on each offer, NaN on one that cannot do it."""
    quotes = priced(offers, job)
    stay, notes = kept(len(offers), _unfit(offers, quotes, job))
    return np.where(stay, quotes["usd_total"], math.nan), notes


def _variations(job: Mapping[str, float], factors: Sequence[float]) -> Iterator[tuple[str, float]]:
    yield "", math.nan
    for name in _VARIED:
        for factor in factors:
            if job[name] and not (name == "disk_gb" and job[name] * factor < LEAST_DISK_GB):
                yield name, job[name] * factor


def _varied(offers: pd.DataFrame, base: int, job: Mapping[str, float], name: str, value: float) -> dict[str, Any]:
    totals, _ = _totals(offers, job_of(**(job if not name else {**job, name: value})))
    found = {"varied": name, "value": value, "staying_usd": totals[base], "change_usd": math.nan, "change": math.nan}
    if np.isnan(totals).all():
        return {**found, "usd_total": math.nan, "offer_id": None, "gpu_name": None, "num_gpus": None}
    best = int(np.nanargmin(totals))
    told = {column: offers[column].iloc[best] for column in ("offer_id", "gpu_name", "num_gpus")}
    return {**found, "usd_total": totals[best], **told}
