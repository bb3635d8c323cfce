"""Search the market: a frame that holds the whole answer or says that it does not, and an empty one that says why.

1. What this process has fetched and finished is answered from memory.
2. `fetch` asks page by page: a full page is continued behind its last row, at most `max_requests` times.
3. Each page was checked against the filter by the client; here the pages are joined and judged complete or not.
4. An empty answer is explained by one or two broader searches (`_why_empty`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vastnb.errors import QueryError
from vastnb.services.arguments import only_known
from vastnb.services.history.spool import spool
from vastnb.services.session import current
from vastnb.vast.query import DEFAULT_DISK_GB, DEFAULT_ORDER, Query, kept_rows, parse_query
from vastnb.vast.types import FIELDS, OFFERS, asked_as

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client, Page

__all__ = ["Fetched", "about", "fetch", "fields", "gpus", "search"]

_ASKED_A_PAGE = 1000
"""More than any page holds: the service answers with its own cap (64 and 80 were seen)."""
_SHORTEST_CAPPED_PAGE = 50
"""Recorded pages of 51 rows were not the end of their market, so only a shorter one counts as the end."""
_NEVER_NULL = frozenset({"dph_total", "dph_base", "num_gpus", "gpu_ram", "ask_contract_id", "score", "min_bid"})
_BANDS_USD_PER_HOUR = (0, 0.12, 0.3, 0.8, 2.5, 100_000)
"""Each holds about a fifth of the offers of 2026."""


@dataclass
class Fetched:
    """The pages of one search."""

    pages: list[Page] = field(default_factory=list)
    complete: bool = False
    skewed: bool = False
    """The service cut by other values than it shows: parts may not make a whole."""

    @property
    def rows(self) -> int:
        """How many offers there are."""
        return sum(len(page.frame) for page in self.pages)


@only_known
def search(
    query: str | Query = "",
    *,
    rental: str = "on-demand",
    disk_gb: float = DEFAULT_DISK_GB,
    order: str = DEFAULT_ORDER,
    limit: int | None = None,
    refresh: bool = False,
    raw: bool = False,
    defaults: bool = True,
    max_requests: int = 5,
    client: Client | None = None,
) -> pd.DataFrame:
    """Offers on the market, cheapest first.

    Parameters
    ----------
    query
        Conditions such as ``"gpu_name=RTX_4090 num_gpus>=2 gpu_ram>=24 dph<0.5"``; empty means all that are verified and
        can be rented. `fields` lists what can be asked.
    rental
        ``"on-demand"``, ``"bid"`` (interruptible) or ``"reserved"``: what the prices are for.
    disk_gb
        Disk that `usd_per_hour` includes, in GB.
    order
        Columns to sort by, with a trailing ``-`` for descending.
    limit
        At most so many offers; None means the whole answer.
    refresh
        Ask the service even if a fresh answer is here.
    raw
        Official names, values and units instead of ours.
    defaults
        Whether verified, rentable and not external are assumed where not said otherwise.
    max_requests
        How often the service may be asked for one search, 1 to 20; its own limit is 10 searches a minute.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        One row an offer, RangeIndex; columns and dtypes as in the columns page, also when empty. ``attrs["vastnb"]`` says
        what was asked, of whom, when, and whether the frame is complete.

    Raises
    ------
    QueryError
        The query cannot be right; nothing was sent.
    RateLimitError, QuotaError, NetworkError, ServerError, ResponseError
        The service refused, could not be reached, or answered what it should not.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> df = vastnb.search("gpu_name=RTX_4090 num_gpus>=2", limit=3)
    >>> list(df.gpu_name.unique())
    ['RTX 4090']

    Source: ``POST /api/v0/bundles/``.
    """
    asked = _asked(query, rental=rental, disk_gb=disk_gb, order=order, limit=limit, defaults=defaults)
    if not 1 <= max_requests <= 20:
        raise QueryError(f"max_requests must be 1 to 20, got {max_requests}")
    there = client if client is not None else current().client
    question = ["offers", asked.text, asked.to_api(), [asdict(r) for r in asked.residuals], max_requests, raw]
    if not refresh and (kept := _kept(there, question)) is not None:
        return kept
    fetched = fetch(there, asked, max_requests, refresh=refresh, raw=raw)
    frame = _joined(fetched, asked, there, raw=raw)
    if frame.empty and asked.written:
        frame.attrs["vastnb"]["why_empty"] = _why_empty(there, asked, max_requests - len(fetched.pages))
    _keep(there, question, frame, fetched.pages)
    if not raw and not any(page.answer.from_cache for page in fetched.pages):
        spool(frame, there)
    return frame


def _asked(query: str | Query, *, limit: int | None, **options: Any) -> Query:
    if isinstance(query, str):
        return parse_query(query, limit=limit, **options)
    return query if limit is None else replace(query, limit=limit)


def fetch(client: Client, query: Query, max_requests: int, *, refresh: bool = False, raw: bool = False) -> Fetched:
    """Ask until the end, the limit or `max_requests`."""
    fetched = Fetched()
    seen: set[Any] = set()
    name, direction = query.order[0]
    bound: float | None = None
    while len(fetched.pages) < max_requests:
        body = _body(query, bound)
        answer = client.page(query, body=body, refresh=refresh, raw=raw)
        page = _only_new(answer, seen, raw=raw)
        fetched.pages.append(page)
        values = page.values
        fetched.skewed |= bound is not None and _outside(values, bound, direction)
        if query.limit is not None and fetched.rows >= query.limit:
            fetched.complete = not fetched.skewed
            break
        if page.received < min(_SHORTEST_CAPPED_PAGE, body["limit"]):
            fetched.complete = bound is None or (name in _NEVER_NULL and not fetched.skewed)
            break
        if not values or values[-1] == bound:  # cannot be continued: no number to go on from, or a page of one price
            break
        bound = values[-1]
    return fetched


def _outside(values: Sequence[float], bound: float, direction: str) -> bool:
    return any(v < bound if direction == "asc" else v > bound for v in values)


def _body(query: Query, bound: float | None) -> dict[str, Any]:
    """What to send: the search itself, or what of it follows the value `bound` of the first column of the order."""
    body = query.to_api()
    body["limit"] = _ASKED_A_PAGE if query.limit is None or bound is not None else min(query.limit, _ASKED_A_PAGE)
    if bound is not None:
        name, direction = query.order[0]
        operators = dict(body.get(name, {}))
        if direction == "asc":
            operators["gte"] = max(bound, operators.get("gte", bound))
        else:
            operators["lte"] = min(bound, operators.get("lte", bound))
        body[name] = operators
    return body


def _only_new(page: Page, seen: set[Any], *, raw: bool) -> Page:
    """`page` without the offers of earlier pages: the bound of a part includes its own edge, for equal prices."""
    if page.frame.empty:
        return page
    ids = page.frame["id" if raw else "offer_id"]
    fresh = ~ids.isin(seen)
    seen.update(ids.tolist())
    return page if fresh.all() else replace(page, frame=page.frame[fresh])


def _joined(fetched: Fetched, query: Query, client: Client, *, raw: bool) -> pd.DataFrame:
    import pandas as pd

    parts = [page.frame for page in fetched.pages]
    frame = parts[0] if len(parts) == 1 else pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
    if query.limit is not None and len(frame) > query.limit:
        frame = frame.iloc[: query.limit]
    frame = frame.reset_index(drop=True)
    frame.attrs["vastnb"] = about(fetched, query, client, len(frame), raw=raw)
    return frame


def about(fetched: Fetched, query: Query, client: Client, returned: int, *, raw: bool = False) -> dict[str, Any]:
    """JSON-safe, and all that a reader needs to judge the frame."""
    answers = [page.answer for page in fetched.pages]
    return {
        "kind": "raw offers" if raw else "offers",
        "query": query.text,
        "body": query.to_api(),
        "rental": query.rental,
        "disk_gb": query.disk_gb,
        "source": "sandbox" if all(page.sandbox for page in fetched.pages) else "vast",
        "url": client.settings.url,
        "account": client.account_name,
        "fetched_at": datetime.fromtimestamp(min(a.fetched_at for a in answers), UTC).isoformat(
            timespec="milliseconds"
        ),
        "seen_at": min(page.seen_at for page in fetched.pages).isoformat(timespec="seconds"),
        "from_cache": all(a.from_cache for a in answers),
        "stale": any(a.stale for a in answers),
        "requests": len(fetched.pages),
        "returned": returned,
        "complete": fetched.complete,
        "dropped_by_recheck": sum(page.contradicting for page in fetched.pages),
        "unknown_fields": sorted({name for page in fetched.pages for name in page.unknown}),
        "notes": list(query.notes),
    }


def _kept(client: Client, question: Any) -> pd.DataFrame | None:
    frame = client.kept.get(question)
    if frame is not None:
        frame.attrs["vastnb"] = {**frame.attrs["vastnb"], "from_cache": True}
    return frame


def _keep(client: Client, question: Any, frame: pd.DataFrame, pages: Sequence[Page]) -> None:
    if client.settings.cache.backend != "off" and not any(page.answer.stale for page in pages):
        until = min(page.answer.fetched_at for page in pages) + client.settings.cache.offers_ttl_s
        client.kept.put(question, frame, until)


def _why_empty(client: Client, query: Query, requests_left: int) -> list[str]:
    """Which condition removed how many, from at most two broader searches; nothing if none may be made."""
    if requests_left < 1:
        return ["not looked into: the requests allowed for one search are used up"]
    anchors = {name: ops for name, ops in query.filters.items() if name == "gpu_name" or name not in query.written}
    page = client.page(replace(query, filters=anchors, residuals=(), limit=None))
    if page.received == 0:
        return _nothing_of_it(client, query, requests_left - 1)
    return _removed(query, page)


def _nothing_of_it(client: Client, query: Query, requests_left: int) -> list[str]:
    names = {name: ops for name, ops in query.filters.items() if name == "gpu_name"}
    if requests_left < 1 or not names:
        return ["the market has nothing verified and rentable at all"]
    page = client.page(replace(query, filters=names, residuals=(), limit=None))
    words = query.written.get("gpu_name", "gpu_name")
    if page.received == 0:
        return [f"{words}: nothing of it is on the market, verified or not"]
    return [f"verified, rentable: removed all {page.received}{_or_more(page)} of {words} (try verified=any)"]


def _removed(query: Query, page: Page) -> list[str]:
    """How many rows of a broader search each condition alone would leave out."""
    from vastnb.vast.types.frames import decode, table_of

    columns = table_of(decode(page.body, "offers")).columns
    lines = [f"of the {page.received}{_or_more(page)} cheapest without these conditions, each alone would do this:"]
    for name, words in query.written.items():
        if name != "gpu_name":
            stay = sum(kept_rows(_alone(query, name), columns, page.received).rows)
            lines.append(f"{words}: removes {page.received - stay}, leaves {stay}")
    return lines


def _alone(query: Query, name: str) -> Query:
    residuals = tuple(r for r in query.residuals if name == ("cpu_ram" if r.what == "cpu_ram_gb" else r.what))
    return replace(query, filters={name: query.filters[name]} if name in query.filters else {}, residuals=residuals)


def _or_more(page: Page) -> str:
    return " or more" if page.received >= _SHORTEST_CAPPED_PAGE else ""


def fields(word: str = "") -> pd.DataFrame:
    """What can be asked in a query.

    Parameters
    ----------
    word
        Only fields whose name or meaning has this in it.

    Returns
    -------
    DataFrame
        Columns field, column, unit, meaning, also; no request is made.

    Examples
    --------
    >>> import vastnb
    >>> vastnb.fields("reliab").field.tolist()
    ['reliability']
    """
    from vastnb.vast.types.frames import frame_of

    rows = [row for row in _field_rows() if word.lower() in " ".join(row).lower()]
    names = ("field", "column", "unit", "meaning", "also")
    frame = frame_of("fields", {name: [row[i] for row in rows] for i, name in enumerate(names)})
    frame.attrs["vastnb"] = {"kind": "fields", "word": word}
    return frame


def _field_rows() -> list[tuple[str, str, str, str, str]]:
    names = asked_as()
    rows = []
    for column in (*OFFERS, *FIELDS):
        if column.ask is not None:
            also = [n for n, c in names.items() if c is column and n != column.ask.field]
            unit = {"memory": "GB", "time": "days"}.get(column.ask.unit, column.unit)
            rows.append((column.ask.field, column.name, unit, column.meaning, ", ".join(also)))
    rows.append(("verified", "verification", "", "true or false: whether Vast has checked the machine", ""))
    rows.append(("region", "country", "", "AF, AS, EU, NA, LA or OC", "georegion=true geolocation=EU"))
    rows.append(("cpu_ram_gb", "cpu_ram_gb", "GB", "your share of the machine's memory", ""))
    return sorted(rows)


@only_known
def gpus(
    query: str = "",
    *,
    rental: str = "on-demand",
    refresh: bool = False,
    client: Client | None = None,
) -> pd.DataFrame:
    """GPU models on the market, with counts and prices of one GPU.

    Parameters
    ----------
    query
        Conditions, as for `search`.
    rental
        What the prices are for.
    refresh
        Ask the service even if a fresh answer is here.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        One row a model and memory size, cheapest first: gpu_name, gpu_ram_nominal_gb, offers, gpus, and the minimum, 10 %,
        median and 90 % of `usd_per_gpu_hour`. The service caps its answers, so this is a sample of some 300 offers, and
        ``attrs["vastnb"]["complete"]`` is false, unless the query is narrow.

    Raises
    ------
    QueryError, ApiError
        As `search`.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> "RTX 4090" in set(vastnb.gpus().gpu_name)
    True
    """
    import pandas as pd

    parts = list(_bands(query, rental, refresh, client))
    offers = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    frame = _by_model(offers)
    about = {**parts[0].attrs["vastnb"], "kind": "gpus", "query": query, "returned": len(frame), "offers": len(offers)}
    about.pop("why_empty", None)
    frame.attrs["vastnb"] = {**about, "complete": all(part.attrs["vastnb"]["complete"] for part in parts)}
    return frame


def _bands(query: str, rental: str, refresh: bool, client: Client | None) -> Iterator[pd.DataFrame]:
    """The market in bands of price, each a sample that its order (by id) does not tilt towards cheap or dear."""
    parse_query(query, rental=rental)
    for low, high in itertools.pairwise(_BANDS_USD_PER_HOUR):
        try:
            asked = parse_query(f"{query} dph>={low} dph<{high}", rental=rental, order="id")
        except QueryError:  # the query's own price leaves this band out
            continue
        yield search(asked, refresh=refresh, max_requests=1, client=client)


def _by_model(offers: pd.DataFrame) -> pd.DataFrame:
    from vastnb.vast.types.frames import frame_of

    rows = [_of_model(part) for _, part in offers.groupby(["gpu_name", "gpu_ram_nominal_gb"], sort=False, dropna=False)]
    columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    return frame_of("gpus", columns).sort_values("usd_per_gpu_hour_median", ignore_index=True)


def _of_model(part: pd.DataFrame) -> dict[str, Any]:
    price = part["usd_per_gpu_hour"]
    return {
        "gpu_name": part["gpu_name"].iloc[0],
        "gpu_ram_nominal_gb": part["gpu_ram_nominal_gb"].iloc[0],
        "offers": len(part),
        "gpus": _distinct_gpus(part),
        "usd_per_gpu_hour_min": price.min(),
        "usd_per_gpu_hour_p10": price.quantile(0.1),
        "usd_per_gpu_hour_median": price.median(),
        "usd_per_gpu_hour_p90": price.quantile(0.9),
        "dlperf_per_usd_median": part["dlperf_per_usd"].median(),
        "seen_at": part["seen_at"].min().to_pydatetime(),
    }


def _distinct_gpus(part: pd.DataFrame) -> int:
    """GPUs of a model, those that several chunks of a machine share counted once."""
    if "gpu_ids" not in part.columns:
        return int(part.groupby("machine_id")["num_gpus"].max().sum())
    return len({gpu for ids in part["gpu_ids"].dropna() for gpu in ids.split(",")})
