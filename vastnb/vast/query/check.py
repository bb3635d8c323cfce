"""The filter applied once more, here, to what the service answered: what contradicts the query is not shown and not rented.

It works on wire values, before any unit is converted. A value that is absent contradicts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vastnb.vast.query.joined import TESTS
from vastnb.vast.query.parse import Query, Residual
from vastnb.vast.query.values import version_number
from vastnb.vast.types.sizes import nominal_gb

__all__ = ["Kept", "kept_rows", "rows_meeting"]

Columns = Mapping[str, Sequence[Any]]
_LARGEST = 1e15


@dataclass(frozen=True, slots=True)
class Kept:
    """Which rows of an answer stay, and why the others do not."""

    rows: list[bool]
    contradicting: int
    """Rows that the service should not have sent."""
    residual: int
    """Rows that it could not have known to leave out."""


def kept_rows(query: Query, columns: Columns, count: int) -> Kept:
    """Judge the `count` rows of an answer.

    Parameters
    ----------
    query
        What was asked.
    columns
        Wire fields by name, each with `count` values.
    count
        How many rows there are.
    """
    right = [kind in (None, "gpu") for kind in columns.get("resource_type", [None] * count)]
    for name, operators in query.filters.items():
        met = rows_meeting(name, operators, columns, count)
        right = [a and b for a, b in zip(right, met, strict=True)]
    stay = list(right)
    for residual in query.residuals:
        stay = [a and b for a, b in zip(stay, _residual_met(residual, columns, count), strict=True)]
    return Kept(stay, count - sum(right), sum(right) - sum(stay))


def rows_meeting(name: str, operators: Mapping[str, Any], columns: Columns, count: int) -> list[bool]:
    """For each row, whether the field `name` meets all of `operators`."""
    values = _wire_values(name, columns, count)
    met = [True] * count
    for word, bound in operators.items():
        test = TESTS[word]
        met = [a and _meets(test, value, bound) for a, value in zip(met, values, strict=True)]
    return met


def _meets(test: Callable[[Any, Any], bool], value: Any, bound: Any) -> bool:
    if value is None:
        return True
    try:
        return test(_number(value) if isinstance(bound, (int, float)) else value, bound)
    except TypeError:  # a text where a number belongs: the decoding of the frame reports it with its place
        return True


def _number(value: Any) -> Any:
    """A number that was sent as text is a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _wire_values(name: str, columns: Columns, count: int) -> Sequence[Any]:
    computed = _COMPUTED.get(name)
    if computed is not None:
        return computed(columns, count)
    return columns.get(name, [None] * count)


def _column(columns: Columns, count: int, *names: str) -> Sequence[Any]:
    return next((columns[name] for name in names if name in columns), [None] * count)


def _verified(columns: Columns, count: int) -> Sequence[Any]:
    words = _column(columns, count, "verification")
    return [None if word is None else word == "verified" for word in words]


_CODE = re.compile(r"(?:^|[,\s])([A-Z]{2})$")
"""Only the last two letters of what a host wrote are safe, and only if they stand alone: ``Norway`` is no country ``ay``."""


def _countries(columns: Columns, count: int) -> Sequence[Any]:
    places = _column(columns, count, "geolocation")
    return [found[1] if isinstance(place, str) and (found := _CODE.search(place)) else None for place in places]


def _drivers(columns: Columns, count: int) -> Sequence[Any]:
    return [_driver(text) for text in _column(columns, count, "driver_version")]


def _driver(text: Any) -> int | None:
    try:
        return version_number(text) if isinstance(text, str) else None
    except ValueError:
        return None


_COMPUTED: dict[str, Callable[[Columns, int], Sequence[Any]]] = {
    "verified": _verified,
    "geolocation": _countries,
    "driver_version": _drivers,
    "datacenter": lambda c, n: [None if v is None else v == 1 for v in _column(c, n, "hosting_type")],
    "external": lambda c, n: [bool(v) for v in _column(c, n, "external")],
    "ask_contract_id": lambda c, n: _column(c, n, "ask_contract_id", "id"),
    "reliability": lambda c, n: _column(c, n, "reliability", "reliability2"),
    "ubuntu_version": lambda c, n: [None if v is None else str(v) for v in _column(c, n, "os_version")],
}
"""Filter fields that are not fields of the answer, or that an old answer calls otherwise."""


def _residual_met(residual: Residual, columns: Columns, count: int) -> list[bool]:
    bound: Any = list(residual.values) if residual.operator in ("in", "notin") else residual.values[0]
    return [_meets(TESTS[residual.operator], v, bound) for v in _residual_values(residual.what, columns, count)]


def _residual_values(what: str, columns: Columns, count: int) -> list[float | None]:
    gpu_ram = _numbers(columns, count, "gpu_ram")
    if what == "gpu_ram":
        return [None if mb is None else nominal_gb(mb) for mb in gpu_ram]
    if what == "gpu_total_ram":
        gpus = _numbers(columns, count, "num_gpus")
        return [None if mb is None or n is None else nominal_gb(mb) * n for mb, n in zip(gpu_ram, gpus, strict=True)]
    cpu_ram, share = _numbers(columns, count, "cpu_ram"), _numbers(columns, count, "gpu_frac")
    return [None if mb is None or f is None else mb * f / 1000 for mb, f in zip(cpu_ram, share, strict=True)]


def _numbers(columns: Columns, count: int, name: str) -> list[float | None]:
    """What is no number is left to the decoding of the frame, which reports it with its place."""
    values = _column(columns, count, name)
    return [v if isinstance(v, int | float) and abs(v) < _LARGEST else None for v in values]
