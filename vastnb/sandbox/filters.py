"""The filter language on the server's side: which offers a search body asks for, and in what order.

1. :func:`parse` reads the body into a :class:`Query` or raises :class:`BadRequestError` with the answer's body;
2. :func:`select` tests whole columns of the market and sorts what is left.

It shares nothing with the package's own query language: a bug in one must not be excused by the other.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chance import Ints
from .columns import NUMBERS, TEXTS, Array, Words, country, driver_number
from .market import Market, View

DEFAULTS = ("recorded", "openapi")
_DOCUMENTED_DEFAULTS: dict[str, dict[str, Any]] = {
    "verified": {"eq": True},
    "rentable": {"eq": True},
    "rented": {"eq": False},
}
_TYPES = {"on-demand": "on-demand", "ondemand": "on-demand", "bid": "bid", "reserved": "reserved"}
_NO_FILTERS = frozenset({"order", "type", "limit", "allocated_storage", "disable_bundling", "q", "select_cols"})
_DEFAULT_STORAGE_GB = 8.0

Mask = NDArray[np.bool_]
Value = float | str | None


class BadRequestError(ValueError):
    """A search that is answered 400.

    Attributes
    ----------
    body
        The JSON of the answer.
    """

    def __init__(self, msg: str, *, code: str | None = "invalid_request") -> None:
        super().__init__(msg)
        self.body: dict[str, Any] = {"error": code, "msg": msg} if code else {"msg": msg}


class Field(NamedTuple):
    """How a filter key is compared: the kind of its values, and the column behind it."""

    kind: str
    column: str


FIELDS: dict[str, Field] = {
    **{name: Field("bool" if kind == "bool" else "number", name) for name, (kind, _) in NUMBERS.items()},
    **{name: Field("text", name) for name in TEXTS},
    **{name: Field("nothing", name) for name in ("cluster_id", "nw_disk_min_bw", "nw_disk_avg_bw", "nw_disk_max_bw")},
    "verified": Field("bool", "verified"),
    "datacenter": Field("bool", "datacenter"),
    "external": Field("bool", "external"),
    "geolocation": Field("country", "geolocation"),
    "driver_version": Field("version", "driver_number"),
    "ubuntu_version": Field("number", "ubuntu_number"),
    "os_version": Field("number", "ubuntu_number"),
    "cuda_vers": Field("number", "cuda_max_good"),
    # Observed: a search by id finds nothing, ask_contract_id does.
    "id": Field("nothing", "id"),
}
"""Every key that can be filtered or sorted by; ``nothing`` is a field that no value matches."""


class Condition(NamedTuple):
    """One comparison of a column with a value, or with several for ``in`` and ``notin``."""

    field: Field
    op: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Query:
    """A search body, understood."""

    conditions: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]
    """(key, whether descending), the most important first."""
    limit: int | None
    allocated_storage: float
    kind: str

    @property
    def wants_disks(self) -> bool:
        """Whether this asks for offers without a GPU: ``num_gpus`` equal to 0 finds disks."""
        return any(c.field.column == "num_gpus" and c.op == "eq" and c.values == (0.0,) for c in self.conditions)


def parse(body: Any, *, defaults: str = "recorded") -> Query:
    """Return the query of a search body.

    Parameters
    ----------
    body
        The decoded JSON, filters at its top level.
    defaults
        What an absent filter on verified, rentable and rented means: ``recorded``: any (a recorded answer to such a
        search holds unverified offers); ``openapi``: true, true and false.

    Raises
    ------
    BadRequestError
        If the body cannot be used.
    """
    if not isinstance(body, Mapping):
        raise BadRequestError("Invalid json body")
    # What Vast does with a filter on a field that it does not have is not known; here it is ignored, as in ``order``.
    filters = {key: value for key, value in body.items() if key not in _NO_FILTERS}
    if defaults == "openapi":
        filters = _DOCUMENTED_DEFAULTS | filters
    return Query(
        conditions=tuple(
            c for key, tests in filters.items() if key in FIELDS for c in conditions(key, FIELDS[key], tests)
        ),
        order=_order(body.get("order")),
        limit=_limit(body.get("limit")),
        allocated_storage=_storage(body.get("allocated_storage")),
        kind=_kind(body.get("type")),
    )


def select(market: Market, query: Query, now: float, kind: str | None = None) -> tuple[View, Ints]:
    """Return the view that a query looks at (or the one of ``kind``) and the rows it finds there, all, in order."""
    view = market.view(now, query.allocated_storage, kind or ("disk" if query.wants_disks else query.kind))
    kept = np.ones(len(view), dtype=bool)
    for condition in query.conditions:
        kept &= _matches(view, condition)
    found = np.flatnonzero(kept)
    keys = [view["id"][found]]
    for name, descending in reversed(query.order):
        keys += _sort_keys(view, FIELDS[name], found, descending)
    return view, found[np.lexsort(keys)]


def conditions(key: str, field: Field, tests: Any) -> list[Condition]:
    """Return the comparisons of one filter, ``{op: value, ...}`` on ``field``; :class:`BadRequestError` if unusable."""
    if not isinstance(tests, Mapping):
        raise BadRequestError(f"{key}: expected an object of operator and value, got {_short(tests)}")
    return [_condition(key, field, op, value) for op, value in tests.items()]


def _condition(key: str, field: Field, op: str, value: Any) -> Condition:
    if op in ("in", "notin"):
        if not isinstance(value, list):
            raise BadRequestError(f"{key}: operator {op} needs a list, got {_short(value)}")
        return Condition(field, op, tuple(_value(key, field.kind, one) for one in value))
    if op not in _COMPARISONS:
        raise BadRequestError(f"{key}: {_short(op)} is not a valid operator")
    return Condition(field, op, (_value(key, field.kind, value),))


def _value(key: str, kind: str, value: Any) -> Value:
    if value is None:
        return None
    if isinstance(value, bool | int | float | str):
        read = _READERS[kind](value)
        if read is not None:
            return read
    raise BadRequestError(f"{key}: {_short(value)} is not a valid value")


def _number(value: float | str) -> float | None:
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("true", "false"):
            return float(text == "true")
        try:
            value = float(text)
        except ValueError:
            return None
    return float(value) if abs(value) <= 2**1000 and math.isfinite(value) else None


def _truth(value: float | str) -> float | None:
    number = _number(value)
    return number if number in (0.0, 1.0) else None


def _text(value: float | str) -> str:
    return normal(str(value))


def _version(value: float | str) -> float | None:
    text = str(value).strip()
    # The client writes 535.86.05 as 535086005.
    number = int(text) if text.isdecimal() and len(text) > 6 else driver_number(text)
    return None if number is None else float(number)


_READERS: dict[str, Callable[[float | str], Value]] = {
    "number": _number,
    "bool": _truth,
    "text": _text,
    "exact": str,
    "country": lambda value: str(value).strip().upper(),
    "version": _version,
    "nothing": str,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _matches(view: View, condition: Condition) -> Mask:
    """Return which rows satisfy a condition; null never does, on either side."""
    kind, column = condition.field
    if kind == "nothing":
        return np.zeros(len(view), dtype=bool)
    if kind in ("text", "country"):
        return _text_matches(view.words(column), condition, country if kind == "country" else normal)
    values = view[column].astype(np.float64)
    return np.asarray(compare(condition, values) & ~np.isnan(values))


def compare(condition: Condition, values: Array) -> Array:
    """Return which values satisfy a condition; the caller sees to nulls among them."""
    op, wanted = condition.op, condition.values
    if op in ("in", "notin"):
        known = [value for value in wanted if value is not None]
        # x NOT IN (..., NULL) is never true, as in SQL.
        inside = np.isin(values, np.array(known, dtype=values.dtype)) if known else np.zeros(len(values), dtype=bool)
        return inside if op == "in" else ~inside & (len(known) == len(wanted))
    if wanted[0] is None:
        return np.zeros(len(values), dtype=bool)
    return np.asarray(_COMPARISONS[op](values, wanted[0]), dtype=bool)


def _text_matches(words: Words, condition: Condition, key: Callable[[str], str]) -> Mask:
    # The vocabulary is short: compare each word once, then look the rows up.
    vocabulary = np.array([key(word) for word in words.vocabulary], dtype=object)
    matching = np.append(compare(condition, vocabulary), False)
    return np.asarray(matching[words.codes], dtype=bool)


def normal(text: str) -> str:
    """Return a text as it is compared: the client writes blanks as underscores."""
    return text.replace("_", " ").strip()


def _sort_keys(view: View, field: Field, found: Ints, descending: bool) -> list[Array]:
    """Return the keys of one order entry, the least important first: value, then nulls behind."""
    if field.column in TEXTS:
        words = view.words(field.column)
        ranks = np.append(np.argsort(np.argsort(words.vocabulary)), -1) if words.vocabulary else np.full(1, -1)
        values = np.where(words.codes < 0, np.nan, ranks[words.codes])[found]
    elif field.kind == "nothing" and field.column != "id":
        return []
    else:
        values = view[field.column][found].astype(np.float64)
    null = np.isnan(values)
    values = np.where(null, 0.0, values)
    return [-values if descending else values, null]


def _order(order: Any) -> tuple[tuple[str, bool], ...]:
    if order is None:
        return (("score", True),)
    if not isinstance(order, list):
        raise BadRequestError(f"order: expected a list of [field, direction], got {_short(order)}")
    for entry in order:
        pair = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
        if not (pair and entry[1] in ("asc", "desc")):
            raise BadRequestError(f'order: expected [field, "asc" or "desc"], got {_short(entry)}')
    return tuple((entry[0], entry[1] == "desc") for entry in order if entry[0] in FIELDS)


def _limit(limit: Any) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise BadRequestError("limit: Input should be a valid integer", code=None)
    if limit < 0:
        raise BadRequestError(f"limit: {limit} is negative")
    return limit


def _storage(storage: Any) -> float:
    if storage is None:
        return _DEFAULT_STORAGE_GB
    number = None if not isinstance(storage, int | float | str) else _number(storage)
    if number is None or isinstance(storage, bool) or not 0 <= number <= 1e9:
        raise BadRequestError(f"allocated_storage: {_short(storage)} is not a valid number of GB")
    return number


def _kind(kind: Any) -> str:
    if kind is None:
        return "on-demand"
    if not isinstance(kind, str) or kind not in _TYPES:
        raise BadRequestError(f"type: {_short(kind)} is not one of ondemand, bid, reserved")
    return _TYPES[kind]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
