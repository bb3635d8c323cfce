"""Tables of small rows asked by query parameters: ``select_filters``, ``select_cols``, ``order_by`` and pages.

For what is not the market of offers (templates, benchmarks): the rows are dicts, made before they are asked for.

1. :func:`select` keeps the rows that ``select_filters`` wants, in the order of ``order_by``;
2. :func:`page` cuts a page and names the next one;
3. :func:`columns` keeps the fields that ``select_cols`` names.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import wire
from .filters import BadRequestError, Condition, Field, compare, conditions, normal

Row = dict[str, Any]
_BAD = "Error in query parameters: "
_DIRECTIONS = ("asc", "desc")
_NULLS: dict[str, Any] = {"flag": False, "exact": ""}


def select(rows: list[Row], kinds: Mapping[str, str], query: Mapping[str, str]) -> list[Row]:
    """Return the rows that a query wants, in its order (by default and between equals as they come).

    Parameters
    ----------
    rows
        Dicts that have every key of ``kinds``.
    kinds
        What can be filtered and ordered by: key -> ``number``, ``bool``, ``text``, ``exact`` (a text in which
        underscores are no blanks, and null the empty one: the official client asks for ``label in [null]``) or ``flag``
        (a bool that null in a filter means false for: the client writes ``private=None`` for public).
    query
        The query parameters.

    Raises
    ------
    BadRequestError
        If a parameter cannot be used, or names a key that is not among ``kinds``.
    """
    kept = np.ones(len(rows), dtype=bool)
    for key, tests in _filters(query).items():
        for condition in _conditions(key, _kind(kinds, key), tests):
            kept &= _matches(rows, condition)
    return _ordered([rows[index] for index in np.flatnonzero(kept)], _order(query, kinds))


def columns(rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    """Return rows with the fields of ``select_cols``: all by default, null for one that there is not."""
    names = _json(query, "select_cols", ["*"])
    if not isinstance(names, list):
        raise BadRequestError(f"{_BAD}select_cols must be a list")
    return rows if "*" in names else [{str(name): row.get(str(name)) for name in names} for row in rows]


def page(rows: list[Row], kinds: Mapping[str, str], query: Mapping[str, str], cap: int) -> tuple[list[Row], str | None]:
    """Return one page of selected rows, which have an ``id``, and the token of the next one, ``None`` after the last.

    A token holds the last row's place in the order: what comes or goes before it shifts nothing, and that row may be
    gone. It belongs to one set of filters and one order.
    """
    order, start = _order(query, kinds), 0
    if query.get("after_token"):
        last = _seen(query, [key for key, _ in order])
        start = next(at for at, row in enumerate(_ordered([*rows, last], order)) if row is last)
    rest = rows[start:]
    size = min(_limit(query, cap), cap)
    return rest[:size], _token(query, rest[size - 1], [key for key, _ in order]) if size < len(rest) else None


def integer(query: Mapping[str, str], name: str) -> int | None:
    """Return a whole-number parameter, ``None`` if it is absent."""
    text = query.get(name, "").strip()
    if not text:
        return None
    if not text.removeprefix("-").isdecimal() or len(text) > 15:
        raise BadRequestError(f"{name}: Input should be a valid integer", code=None)
    return int(text)


def _json(query: Mapping[str, str], name: str, default: Any) -> Any:
    text = query.get(name, "")
    try:
        return wire.decode(text) if text else default
    except (ValueError, RecursionError):
        raise BadRequestError(f"{_BAD}{name} is not JSON") from None


def _filters(query: Mapping[str, str]) -> Mapping[str, Any]:
    filters = _json(query, "select_filters", {})
    if not isinstance(filters, Mapping):
        raise BadRequestError(f"{_BAD}select_filters must be an object")
    return filters


def _kind(kinds: Mapping[str, str], key: str) -> str:
    if key not in kinds:
        raise BadRequestError(f"{_BAD}{key} is not a valid search key")
    return kinds[key]


def _conditions(key: str, kind: str, tests: Any) -> list[Condition]:
    if kind in _NULLS and isinstance(tests, Mapping):
        null = _NULLS[kind]
        tests = {op: [one or null for one in v] if isinstance(v, list) else v or null for op, v in tests.items()}
    kind = "bool" if kind == "flag" else kind
    return conditions(key, Field(kind, key), tests)


def _matches(rows: list[Row], condition: Condition) -> Any:
    values = [row[condition.field.column] for row in rows]
    known = np.array([value is not None for value in values], dtype=bool)
    if condition.field.kind == "exact":
        return np.asarray(compare(condition, np.array([value or "" for value in values], dtype=object)), dtype=bool)
    if condition.field.kind == "text":
        texts = ["" if value is None else normal(str(value)) for value in values]
        return known & compare(condition, np.array(texts, dtype=object)).astype(bool)
    return known & compare(condition, np.array([value or 0 for value in values], dtype=np.float64))


def _order(query: Mapping[str, str], kinds: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Return (key, whether descending) of ``order_by``: a bare column, or ``[{"col": ..., "dir": ...}]``."""
    text = query.get("order_by", "")
    if not text.lstrip().startswith("["):
        return [(key, False) for key in ([text.strip()] if text.strip() else []) if _kind(kinds, key)]
    order = []
    for entry in _json(query, "order_by", []):
        if not isinstance(entry, Mapping) or entry.get("dir", "asc") not in _DIRECTIONS:
            raise BadRequestError(f'{_BAD}order_by: expected {{"col": ..., "dir": "asc" or "desc"}}')
        order.append((str(entry.get("col")), entry.get("dir") == "desc"))
    return [(key, descending) for key, descending in order if _kind(kinds, key)]


def _limit(query: Mapping[str, str], cap: int) -> int:
    limit = integer(query, "limit")
    if limit is not None and limit < 1:
        raise BadRequestError(f"limit: {limit} is not at least 1")
    return cap if limit is None else limit


def _ordered(rows: list[Row], order: list[tuple[str, bool]]) -> list[Row]:
    """Return rows in an order, equals by id; null comes last."""
    found = sorted(rows, key=lambda row: row["id"])
    for key, descending in reversed(order):
        null = [row for row in found if row[key] is None]
        known = [row for row in found if row[key] is not None]
        found = sorted(known, key=lambda row, key=key: row[key], reverse=descending) + null  # type: ignore[misc]
    return found


def _digest(query: Mapping[str, str]) -> str:
    asked = json.dumps([query.get("select_filters", ""), query.get("order_by", "")])
    return hashlib.sha256(asked.encode()).hexdigest()[:12]


def _token(query: Mapping[str, str], row: Row, keys: list[str]) -> str:
    place = {"of": _digest(query), "values": {key: row[key] for key in ("id", *keys)}}
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _seen(query: Mapping[str, str], keys: list[str]) -> Row:
    """Return the place of the last row that was seen, by its token."""
    text = query["after_token"]
    try:
        place = wire.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        last: Row = dict(place["values"])
        if place["of"] == _digest(query) and {"id", *keys} == set(last):
            return last
    except (ValueError, KeyError, TypeError):
        pass
    raise BadRequestError("Invalid pagination token", code="invalid_token")
