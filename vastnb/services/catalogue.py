"""What else the service tells: templates, benchmarks, figures of the market, volumes, ssh keys, the account. Each as a frame."""

from __future__ import annotations

import base64
import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vastnb.errors import InvalidRequestError, NotFoundError, PermissionDeniedError, ResponseError
from vastnb.services.session import current
from vastnb.vast.query import parse_filters
from vastnb.vast.types import KINDS

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["SHOWN", "show"]

_PAGES = 25
_VOLUMES = 1000
_HOSTS_ONLY = "Vast shows these figures to hosts; vastnb.gpus() draws a sample of the market with searches"


def show(
    what: str,
    query: str = "",
    *,
    limit: int | None = None,
    refresh: bool = False,
    client: Client | None = None,
    **options: str,
) -> pd.DataFrame:
    """What the service tells about something other than offers.

    Parameters
    ----------
    what
        ``templates``, ``benchmarks``, ``metrics`` (the market now), ``trends`` (the market in time), ``locations``, ``volumes``,
        ``ssh-keys`` or ``user``.
    query
        For templates, benchmarks and volumes: conditions, as for `search`. For trends: names of GPU models, with commas.
    limit
        At most so many rows.
    refresh
        Ask the service even if a fresh answer is here.
    client
        Another client than the default one.
    **options
        For metrics and trends: ``verified`` (yes, no, all), ``hosting_type`` (all, secure_cloud, community), ``num_gpus``
        (all, 1, 2, 4, 8); for trends also ``start``, ``end`` (seconds since 1970) and ``step`` (seconds).

    Returns
    -------
    DataFrame
        RangeIndex, columns and dtypes as in the columns page, also when empty.

    Raises
    ------
    ModeError, AuthError
        All of it needs an account.
    PermissionDeniedError
        The account may not see it; the hint says what to do instead.
    QueryError, ApiError
        As `search`.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.show("templates", "recommended=true").columns[:3].tolist()
    ['template_id', 'name', 'image']

    Source: ``GET /api/v0/template/``, ``/benchmarks/``, ``/metrics/gpu/...``, ``/ssh/``, ``/users/current/``,
    ``POST /api/v0/volumes/search/``.
    """
    if what not in SHOWN:
        near = difflib.get_close_matches(what, SHOWN, 1, 0.4)
        raise InvalidRequestError(
            f"nothing to show called {what!r}",
            hint=f"did you mean {near[0]}?" if near else f"there are: {', '.join(SHOWN)}",
        )
    from vastnb.vast.types.frames import records_frame

    there = client if client is not None else current().client
    if options and what not in ("metrics", "trends"):
        raise InvalidRequestError(f"show {what}: no such option: {', '.join(options)}")
    asked = _Asked(query, limit, refresh, options)
    rows, seen = SHOWN[what](there, asked)
    frame = records_frame(what, rows if limit is None else rows[:limit])
    frame.attrs["vastnb"] = {
        "kind": what,
        "query": query,
        "source": "sandbox" if seen else "vast",
        "url": there.settings.url,
        "account": there.account_name,
        "returned": len(frame),
        "notes": asked.notes,
        "unknown_fields": [name for name in frame.columns if name not in {column.name for column in KINDS[what]}],
    }
    return frame


@dataclass(frozen=True, slots=True)
class _Asked:
    query: str
    limit: int | None
    refresh: bool
    options: dict[str, str]
    notes: list[str] = field(default_factory=list)
    """For the reader of the frame: what it lacks."""


_Rows = tuple[list[dict[str, Any]], bool]


def _templates(client: Client, asked: _Asked) -> _Rows:
    filters = parse_filters(asked.query, KINDS["templates"])
    return client.rows("templates", params={"select_filters": filters}, refresh=asked.refresh)


def _benchmarks(client: Client, asked: _Asked) -> _Rows:
    """All pages, or as many as `limit` needs."""
    params: dict[str, Any] = {"select_filters": parse_filters(asked.query, KINDS["benchmarks"])}
    rows: list[dict[str, Any]] = []
    for _ in range(_PAGES):
        answer, sandbox = client.fields("benchmarks", params=params, refresh=asked.refresh)
        rows += client.rows_of("benchmarks", answer)
        if not answer.get("next_token") or (asked.limit is not None and len(rows) >= asked.limit):
            break
        params = {**params, "after_token": answer["next_token"]}
    else:
        asked.notes.append(f"Incomplete: only the first {_PAGES} pages were asked for. A query makes it fewer.")
    return rows, sandbox


def _volumes(client: Client, asked: _Asked) -> _Rows:
    body = {
        **parse_filters(asked.query, KINDS["volumes"]),
        "limit": asked.limit or _VOLUMES,
        "order": [["storage_cost", "asc"]],
    }
    rows, sandbox = client.rows("volumes", json=body, refresh=asked.refresh)
    if asked.limit is None and len(rows) >= _VOLUMES:
        asked.notes.append(f"Incomplete: only the {_VOLUMES:,} cheapest were asked for. A query makes it fewer.")
    return rows, sandbox


def _metrics(client: Client, asked: _Asked) -> _Rows:
    answer, sandbox = _for_hosts(client, "metrics", {"verified": "all", **asked.options}, asked.refresh)
    return client.rows_of("metrics", answer), sandbox


def _trends(client: Client, asked: _Asked) -> _Rows:
    models = {"gpu_name": asked.query.replace("_", " ")} if asked.query else {}
    answer, sandbox = _for_hosts(client, "trends", {"verified": "all", **models, **asked.options}, asked.refresh)
    try:
        return [row for name, series in (answer.get("gpus") or {}).items() for row in _moments(name, series)], sandbox
    except (AttributeError, LookupError, TypeError) as error:
        raise ResponseError("trends: expected series for each model", path="$.gpus", original=error) from error


def _moments(name: str, series: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a moment, of supply and of prices, which need not be told for the same ones."""
    rows: dict[Any, dict[str, Any]] = {}
    for part in ("supply_demand", "pricing"):
        columns = series.get(part) or {}
        for number, moment in enumerate(columns.get("timestamps") or ()):
            row = rows.setdefault(moment, {"gpu_name": name, "timestamp": moment})
            row.update({field: values[number] for field, values in columns.items() if field != "timestamps"})
    return [rows[moment] for moment in sorted(rows)]


def _locations(client: Client, asked: _Asked) -> _Rows:
    answer, sandbox = _for_hosts(client, "locations", {}, asked.refresh)
    return client.rows_of("locations", answer), sandbox


def _for_hosts(client: Client, what: str, params: dict[str, Any], refresh: bool) -> tuple[dict[str, Any], bool]:
    """Figures that Vast may keep for hosts: the refusal has two shapes, and says what to do instead."""
    try:
        answer, sandbox = client.fields(what, params=params, refresh=refresh)
    except PermissionDeniedError as error:
        error.hint = _HOSTS_ONLY
        raise
    if answer.get("needs_machine"):
        raise PermissionDeniedError(f"{what}: this account has no machine on the market", hint=_HOSTS_ONLY)
    return answer, sandbox


def _ssh_keys(client: Client, asked: _Asked) -> _Rows:
    try:
        rows, sandbox = client.rows("ssh-keys", refresh=asked.refresh)
    except NotFoundError as error:
        if "No SSH keys" not in str(error):
            raise
        return [], client.settings.profile == "sandbox"  # the service says 404 where there are none
    return [{**row, **_parts_of(str(row.get("key") or ""))} for row in rows], sandbox


def _parts_of(key: str) -> dict[str, str | None]:
    """A public key as people tell keys apart: algorithm, comment, fingerprint."""
    kind, _, rest = key.strip().partition(" ")
    body, _, comment = rest.partition(" ")
    try:
        digest = hashlib.sha256(base64.b64decode(body, validate=True)).digest()
    except ValueError:
        return {"kind": kind or None, "comment": None, "fingerprint": None}
    fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    return {"kind": kind, "comment": comment or None, "fingerprint": fingerprint}


def _user(client: Client, asked: _Asked) -> _Rows:
    answer, sandbox = client.fields("user", refresh=asked.refresh)
    return [{name: answer.get(name) for name in ("id", "email", "username", "credit", "balance")}], sandbox


SHOWN: dict[str, Callable[[Client, _Asked], _Rows]] = {
    "templates": _templates,
    "benchmarks": _benchmarks,
    "metrics": _metrics,
    "trends": _trends,
    "locations": _locations,
    "volumes": _volumes,
    "ssh-keys": _ssh_keys,
    "user": _user,
}
"""What can be shown, and how it is asked for."""
