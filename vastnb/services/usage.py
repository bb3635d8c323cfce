"""What this kernel asked, what it cost in time, and where the limits stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vastnb.infra.monitoring import share_of
from vastnb.services.session import current

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.infra.cache import Store
    from vastnb.infra.monitoring import CallRecord
    from vastnb.vast.client import Client

__all__ = ["cache_info", "calls", "clear_cache"]


def calls(*, summary: bool = False, client: Client | None = None) -> pd.DataFrame:
    """The calls of this kernel, measured.

    Parameters
    ----------
    summary
        One row an operation, with median and 95 % of its latency, instead of one row a call.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        Oldest first: at, operation, endpoint, status, latency_ms, from_cache, stale, repeats, waited_s, size_bytes, error;
        or, summed up, operation, calls, from_cache, errors, repeats, p50_ms, p95_ms, waited_s. The last 5,000 calls are kept.
        Searches that were answered from a finished frame of this kernel made no call.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> _ = vastnb.search("num_gpus=8", refresh=True)
    >>> vastnb.calls().operation.iloc[-1]
    'search offers'
    """
    from vastnb.vast.types.frames import frame_of

    there = client if client is not None else current().client
    records = there.log.all()
    kind = "call summary" if summary else "calls"
    frame = frame_of(kind, _summed(records) if summary else _listed(records))
    frame.attrs["vastnb"] = {"kind": kind, "returned": len(frame), "notes": _limits(there)}
    return frame


def cache_info(*, client: Client | None = None) -> pd.DataFrame:
    """What is kept, where, and how often it helped this kernel.

    Parameters
    ----------
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        One row a store: holds, backend, entries, size_mb, hits, misses, oldest_at, newest_at, where. Finished frames are those
        that need no parsing; market data are answers as they came; account data stay in this process, for seconds.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> _ = vastnb.search("num_gpus=8"), vastnb.search("num_gpus=8")
    >>> vastnb.cache_info().holds.tolist()
    ['finished frames', 'market data', 'account data']
    """
    from vastnb.vast.types.frames import frame_of

    there = client if client is not None else current().client
    where, count, size = there.kept.info()
    rows = [
        {"holds": "finished frames", "backend": "files", "entries": count, "size_mb": size / 1e6, "hits": there.kept.hits,
         "where": where},
        *(_row_of(holds, store) for holds, store in there.stores.items()),
    ]  # fmt: skip
    names = ("holds", "backend", "entries", "size_mb", "hits", "misses", "oldest_at", "newest_at", "where")
    frame = frame_of("cache", {name: [row.get(name) for row in rows] for name in names})
    frame.attrs["vastnb"] = {"kind": "cache", "returned": len(frame)}
    return frame


def _row_of(holds: str, store: Store) -> dict[str, Any]:
    info = store.info()
    return {
        "holds": holds,
        "backend": info.backend,
        "entries": info.entries,
        "size_mb": None if info.size_bytes is None else info.size_bytes / 1e6,
        "hits": store.hits,
        "misses": store.misses,
        "oldest_at": info.oldest,
        "newest_at": info.newest,
        "where": info.where,
    }


def clear_cache(*, client: Client | None = None) -> pd.DataFrame:
    """Forget everything that is kept for this account; what is left, as `cache_info`.

    Parameters
    ----------
    client
        Another client than the default one.
    """
    there = client if client is not None else current().client
    there.kept.clear()
    for store in there.stores.values():
        store.clear()
    return cache_info(client=there)


def _listed(records: Sequence[CallRecord]) -> dict[str, list[Any]]:
    return {
        "at": [datetime.fromtimestamp(r.at, UTC) for r in records],
        "size_bytes": [r.size for r in records],
        **{
            name: [getattr(r, name) for r in records]
            for name in (
                "operation",
                "endpoint",
                "status",
                "latency_ms",
                "from_cache",
                "stale",
                "repeats",
                "waited_s",
                "error",
            )
        },
    }


def _summed(records: Sequence[CallRecord]) -> dict[str, list[Any]]:
    groups: dict[str, list[CallRecord]] = {}
    for record in records:
        groups.setdefault(record.operation, []).append(record)
    rows = [_sum(name, group) for name, group in sorted(groups.items())]
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _sum(operation: str, group: Sequence[CallRecord]) -> dict[str, Any]:
    asked = sorted(r.latency_ms for r in group if not r.from_cache)
    return {
        "operation": operation,
        "calls": len(group),
        "from_cache": sum(r.from_cache for r in group),
        "errors": sum(bool(r.error) for r in group),
        "repeats": sum(r.repeats for r in group),
        "p50_ms": share_of(asked, 0.5),
        "p95_ms": share_of(asked, 0.95),
        "waited_s": sum(r.waited_s for r in group),
    }


def _limits(client: Client) -> list[str]:
    return [
        f"{name}: today's quota is used up until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"
        for name, until in client.closed_until().items()
    ]
