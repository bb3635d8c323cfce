"""Several searches at once: one broad search where its answer holds them all, each by itself where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vastnb.services.offers import about, fetch, search
from vastnb.services.session import current
from vastnb.vast.query import DEFAULT_DISK_GB, DEFAULT_ORDER, Query, kept_rows, parse_query

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.services.offers import Fetched
    from vastnb.vast.client import Client

__all__ = ["searches"]


def searches(
    queries: Sequence[str],
    *,
    rental: str = "on-demand",
    disk_gb: float = DEFAULT_DISK_GB,
    order: str = DEFAULT_ORDER,
    limit: int | None = None,
    refresh: bool = False,
    client: Client | None = None,
) -> list[pd.DataFrame]:
    """Several searches with as few requests as possible: the service allows ten a minute.

    What all queries have in common is asked once; if that answer is whole, each query is answered from it. Otherwise, and
    where they have nothing in common, each is asked by itself.

    Parameters
    ----------
    queries
        Conditions, as for `search`.
    rental, disk_gb, order, limit, refresh, client
        As for `search`, for each of them.

    Returns
    -------
    list of DataFrame
        One for each query, in their order, as `search` returns them.

    Raises
    ------
    QueryError, ApiError
        As `search`.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> both = vastnb.searches(["gpu_name=H100_SXM", "gpu_name=H200"])
    >>> [set(df.gpu_name) for df in both]
    [{'H100 SXM'}, {'H200'}]
    """
    there = client if client is not None else current().client
    asked = [parse_query(q, rental=rental, disk_gb=disk_gb, order=order, limit=limit) for q in queries]
    broad = _in_common(asked)
    if broad is not None:
        fetched = fetch(there, broad, min(5, len(asked)), refresh=refresh)
        if fetched.complete:
            return [_from(fetched, query, there) for query in asked]
    return [search(query, refresh=refresh, client=there) for query in asked]


def _in_common(queries: Sequence[Query]) -> Query | None:
    """The narrowest search that holds all of `queries`, or None if it would be no narrower than the market."""
    if len(queries) < 2:
        return None
    shared = set(queries[0].filters).intersection(*(query.filters for query in queries))
    filters = {
        name: _widened([query.filters[name] for query in queries]) for name in queries[0].filters if name in shared
    }
    filters = {name: operators for name, operators in filters.items() if operators}
    narrows = any(name in query.written for name in filters for query in queries)
    return (
        replace(queries[0], text="", filters=filters, written={}, residuals=(), limit=None, notes=())
        if narrows
        else None
    )


def _widened(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Operators that hold wherever one of `parts` holds."""
    if all(part == parts[0] for part in parts):
        return dict(parts[0])
    allowed = [part.get("in", [part["eq"]] if "eq" in part else None) for part in parts]
    if all(values is not None for values in allowed):
        return {"in": list(dict.fromkeys(value for values in allowed for value in values or ()))}
    wide: dict[str, Any] = {}
    lows = [max((part[o] for o in ("gt", "gte", "eq") if o in part), default=None) for part in parts]
    highs = [min((part[o] for o in ("lt", "lte", "eq") if o in part), default=None) for part in parts]
    if all(_is_number(low) for low in lows):
        wide["gte"] = min(lows)  # type: ignore[type-var]
    if all(_is_number(high) for high in highs):
        wide["lte"] = max(highs)  # type: ignore[type-var]
    return wide


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _from(fetched: Fetched, query: Query, client: Client) -> pd.DataFrame:
    """The rows of a broad answer that meet `query`, as if they had been asked for."""
    import pandas as pd

    from vastnb.vast.types.frames import decode, offers_frame, table_of

    parts, seen, contradicting = [], set[Any](), 0
    for page in fetched.pages:
        rows = decode(page.body, "offers")
        table = table_of(rows)
        kept = kept_rows(query, table.columns, table.count)
        chosen = [row for row, stays in zip(rows, kept.rows, strict=True) if stays and row.get("id") not in seen]
        seen.update(row.get("id") for row in chosen)
        contradicting += page.contradicting
        parts.append(offers_frame(chosen, rental=query.rental, seen_at=page.seen_at))
    frame = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    frame = frame.head(query.limit).reset_index(drop=True) if query.limit is not None else frame
    frame.attrs["vastnb"] = {**about(fetched, query, client, len(frame)), "dropped_by_recheck": contradicting}
    return frame
