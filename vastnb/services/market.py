"""The market in figures: prices, supply and demand of groups of machines, from a frame of offers or as the service counts them.

`vastnb.gpus` draws a sample of the whole market with searches; this counts what is in the frame at hand, or asks for figures that
the service may keep for hosts (``vastnb.show`` has them as they come).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vastnb.errors import InputError
from vastnb.services.catalogue import show
from vastnb.services.costs.derived import derived, kept, labels, need, numbers

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["market"]

_GROUPS: dict[str, tuple[str, ...]] = {
    "gpu": ("gpu_name", "gpu_ram_nominal_gb"),
    "country": ("country",),
    "verification": ("verification",),
}
_SHARES = {"min": 0, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}
_NO_PRICE = "a price is not told, or is zero"
_ONLY_FREE = "Rented machines are not in this frame; search with rentable=any to count them."


def market(
    offers: pd.DataFrame | None = None,
    *,
    by: str | Sequence[str] = "gpu",
    refresh: bool = False,
    client: Client | None = None,
) -> pd.DataFrame:
    """Prices, supply and demand by GPU model, country or verification.

    Parameters
    ----------
    offers
        A frame of offers; without it, the service's own figures are asked for: prices and machines of each GPU model, or machines
        of each country or verification.
    by
        ``"gpu"`` (model and memory size), ``"country"``, ``"verification"``, or several of them.
    refresh
        Without a frame: ask the service even if a fresh answer is here.
    client
        Without a frame: another client than the default one.

    Returns
    -------
    DataFrame
        One row a group, most machines first, columns as in the columns page; what cannot be known from the source is NA. Prices are
        of one GPU: of a frame, with the disk that it was searched with, each offer counting once; of the service, without disk,
        of verified machines.

    Raises
    ------
    InputError
        No such group, or no frame of offers.
    ModeError, AuthError, PermissionDeniedError
        Without a frame: the service's figures need an account, and may be kept for hosts; the hint says what to do instead.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> df = vastnb.search("gpu_name in [RTX_4090,RTX_3090]")
    >>> vastnb.market(df, by="verification").group.tolist()
    ['verified']
    >>> vastnb.market().columns[:3].tolist()
    ['group', 'offers', 'machines']

    Source: ``GET /api/v0/metrics/gpu/current/``, ``/metrics/gpu/locations/``.
    """
    words = (by,) if isinstance(by, str) else tuple(by)
    unknown = [word for word in words if word not in _GROUPS]
    if unknown or not words:
        raise InputError(f"by must be of {', '.join(_GROUPS)}, got {by!r}")
    if offers is not None:
        return _of_offers(offers, [name for word in words for name in _GROUPS[word]])
    if words == ("gpu",):
        return _of_models(show("metrics", refresh=refresh, client=client, verified="yes"))
    places = show("locations", refresh=refresh, client=client)
    return _of_places(places, [name for word in words for name in _GROUPS[word] if name != "gpu_ram_nominal_gb"])


def _of_offers(offers: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    need(offers, *names, "usd_per_gpu_hour", "machine_id", "num_gpus")
    price = numbers(offers, "usd_per_gpu_hour")
    stay, notes = kept(len(offers), [(~(price > 0), _NO_PRICE)])
    those = offers[stay].assign(_price=price[stay], group=labels(offers, names)[stay])
    groups = those.groupby("group", sort=True)
    free, counts_rented = _free_machines(those)
    frame = (
        groups[names]
        .first()
        .assign(
            offers=groups.size(),
            machines=groups["machine_id"].nunique(),
            gpus=_distinct_gpus(those),
            machines_free=free,
            **{f"usd_per_gpu_hour_{name}": groups["_price"].quantile(share) for name, share in _SHARES.items()},
        )
    )
    frame["rented_share"] = 1 - frame["machines_free"] / frame["machines"] if counts_rented else np.nan
    return _ranked(frame, offers, [*notes, *([] if counts_rented or those.empty else [_ONLY_FREE])])


def _free_machines(offers: pd.DataFrame) -> tuple[pd.Series, bool]:
    """By group, the machines of which some offer can be rented; and whether there are others in the frame at all."""
    if "rentable" not in offers:
        return offers.groupby("group")["machine_id"].nunique(), False
    open_ones = offers[offers["rentable"].fillna(False).astype(bool)]
    free = open_ones.groupby("group")["machine_id"].nunique().reindex(offers["group"].unique(), fill_value=0)
    return free, len(open_ones) < len(offers)


def _distinct_gpus(offers: pd.DataFrame) -> pd.Series:
    """By group, GPUs: those that several chunks of a machine share are counted once."""
    if "gpu_ids" in offers:
        ids = offers.assign(gpu=offers["gpu_ids"].str.split(",")).explode("gpu")
        return ids.groupby("group")["gpu"].nunique()
    return offers.groupby(["group", "machine_id"])["num_gpus"].max().groupby("group").sum()


def _of_models(metrics: pd.DataFrame) -> pd.DataFrame:
    frame = metrics.assign(machines_free=metrics["available"], rented_share=metrics["usage"])
    return _ranked(frame.assign(group=labels(metrics, ["gpu_name"])).set_index("group"), metrics, [])


def _of_places(places: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Machines of each group, of a frame with one row a machine."""
    verification = places["verified"].map({True: "verified", False: "unverified"})
    those = places.assign(verification=verification, free=~places["rented"].fillna(True).astype(bool))
    groups = those.assign(group=labels(those, names)).groupby("group", sort=True)
    frame = (
        groups[names]
        .first()
        .assign(machines=groups.size(), gpus=groups["num_gpus"].sum(), machines_free=groups["free"].sum())
    )
    return _ranked(frame.assign(rented_share=1 - frame["machines_free"] / frame["machines"]), places, [])


def _ranked(groups: pd.DataFrame, of: pd.DataFrame, notes: Sequence[str]) -> pd.DataFrame:
    """Groups as a frame with the pinned columns, most machines first."""
    from vastnb.vast.types import KINDS

    ranked = groups.sort_values("machines", ascending=False, kind="stable").reset_index()
    whole = ranked.reindex(columns=[column.name for column in KINDS["market groups"]])
    return derived("market groups", whole, of, notes)
