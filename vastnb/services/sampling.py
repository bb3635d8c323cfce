"""One polite pass over the market: for each model a search in the order of offers' ids, so that no price chooses what is seen.

Where a model has more offers than a pass may ask for, the next pass goes on behind the last one seen; after the last offer it
begins again. All passes together see every offer as often as any other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from vastnb.errors import InputError, RateLimitError
from vastnb.services.history.judging import judged
from vastnb.services.history.packing import pack
from vastnb.services.history.store import Store, require, store_of
from vastnb.services.offers import search
from vastnb.services.session import current
from vastnb.vast.query.names import gpu_canonical

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["sample"]

log = logging.getLogger("vastnb.history")


def sample(
    models: str | Sequence[str],
    *,
    rental: str = "on-demand",
    max_requests: int = 5,
    client: Client | None = None,
) -> pd.DataFrame:
    """Look at the market once, for the history: all offers of some GPU models, or the next part of them.

    It waits where the service's limits say so, and stops when the day's searches are used up. Done every quarter of an hour,
    it makes a `history`.

    Parameters
    ----------
    models
        GPU models, such as ``"RTX 4090"``.
    rental
        What the prices are for.
    max_requests
        How often the service may be asked for each model, 1 to 20; it answers with 64 to 80 offers.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        One row a model, in their order: gpu_name, offers, requests, holds, note.

    Raises
    ------
    ConfigError
        The extra ``history`` is not installed, or the setting ``history.enabled`` is off.
    QueryError, NetworkError, ServerError, ResponseError
        As `search`.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01", seed=1)
    >>> vastnb.sample(["RTX 4090", "H100 SXM"]).holds.tolist()
    ['whole', 'whole']
    """
    from vastnb.vast.types.frames import frame_of

    require()
    there = client if client is not None else current().client
    if not there.settings.history.enabled:
        raise InputError(
            "nothing is written down: the setting history.enabled is off", hint="%vast use ... history.enabled=true"
        )
    names = [
        gpu_canonical(name) or name.replace("_", " ") for name in ([models] if isinstance(models, str) else models)
    ]
    store = store_of(there)
    rows = _pass(store, there, names, rental, max_requests)
    pack(store)
    frame = frame_of("samples", {column: [row[column] for row in rows] for column in rows[0]} if rows else {})
    frame.attrs["vastnb"] = {"kind": "samples", "word": "", "returned": len(frame)}
    return frame


def _pass(store: Store, client: Client, names: Sequence[str], rental: str, most: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    stopped = ""
    for name in names:
        row = {"gpu_name": name, "offers": 0, "requests": 0, "holds": "", "note": stopped}
        if not stopped:
            try:
                row |= _one(store, client, name, rental, most)
            except RateLimitError as error:
                stopped = row["note"] = f"not asked for: {error.message}"
        rows.append(row)
    return rows


def _one(store: Store, client: Client, name: str, rental: str, most: int) -> dict[str, Any]:
    """Look at one model, from where the last pass ended."""
    key, places = f"{name}|{rental}", _places(store)
    behind = places.get(key)
    query = f'gpu_name="{name}"' + (f" offer_id>{behind}" if behind is not None else "")
    frame = search(query, rental=rental, order="offer_id", max_requests=most, refresh=True, client=client)
    about = frame.attrs["vastnb"]
    last = None if about["complete"] or frame.empty else int(frame["offer_id"].max())
    _put_places(store, {**places, key: last} if last is not None else {k: v for k, v in places.items() if k != key})
    holds = judged(about["body"], about["query"], complete=about["complete"]).holds
    note = (
        ""
        if holds == "whole"
        else "a part of them; the next pass goes on behind it"
        if last
        else "the last part of them"
    )
    return {"offers": len(frame), "requests": about["requests"], "holds": holds, "note": note}


def _places(store: Store) -> dict[str, int]:
    """The id behind which each model's next pass begins."""
    try:
        found = orjson.loads((store.folder / "places.json").read_bytes())
        return {str(key): int(value) for key, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # it begins at the first again: nothing is lost
        return {}


def _put_places(store: Store, places: dict[str, int]) -> None:
    store.put("places.json", orjson.dumps(places))
