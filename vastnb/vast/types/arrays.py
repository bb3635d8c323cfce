"""Values -> arrays, one kind of column each. What is of the wrong kind is an error here and gets its place from the caller."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

try:
    import pyarrow as pa
except ImportError:  # pandas keeps texts as objects then
    pa = None

__all__ = ["MAKERS", "Maker", "inferred"]

_LARGEST_EXACT = 2**53
_NUMBERS = {int, float, type(None)}
_TRUTHS = {bool, type(None)}


class Maker(NamedTuple):
    """How values become a column."""

    part: Callable[[Sequence[Any]], Any]
    """Values of one piece into an array; `ValueError`, `TypeError` or `OverflowError` if one is of the wrong kind."""
    whole: Callable[[list[Any]], Any]
    """The arrays of all pieces into a column."""
    wanted: str

    def of(self, values: Sequence[Any]) -> Any:
        """A column of one piece."""
        return self.whole([self.part(values)])


def _floats(values: Sequence[Any]) -> Any:
    return _flat(np.array(values, dtype=np.float64))


def _flat(array: Any) -> Any:
    if array.ndim != 1:
        raise ValueError("a list where a single value belongs")
    return array


def _ints(values: Sequence[Any]) -> tuple[Any, Any]:
    """Never truncated: 4.0 is 4, 4.5 is an error."""
    array = _flat(np.array(values)) if len(values) else np.empty(0, np.int64)
    if array.dtype.kind == "i":
        return array.astype(np.int64, copy=False), np.zeros(len(values), np.bool_)
    if set(map(type, values)) <= _NUMBERS:  # in one go, if all of them fit
        floats = np.array(values, np.float64)
        gone = np.isnan(floats)
        floats[gone] = 0
        if np.all((np.abs(floats) < _LARGEST_EXACT) & (np.floor(floats) == floats)):
            return floats.astype(np.int64), gone
    absent = np.fromiter((v is None or (isinstance(v, float) and math.isnan(v)) for v in values), np.bool_, len(values))
    known = [0 if gone else v for v, gone in zip(values, absent, strict=True)]
    numbers = np.array(
        [int(v) if isinstance(v, (int, float)) and v == int(v) else int(str(v)) for v in known], np.int64
    )
    if any(isinstance(v, float) and abs(v) >= _LARGEST_EXACT for v in known):
        raise ValueError("too large to be exact")
    return numbers, absent


def _flags(values: Sequence[Any]) -> tuple[Any, Any]:
    array = _flat(np.array(values)) if len(values) else np.empty(0, np.bool_)
    if array.dtype.kind == "b":
        return array, np.zeros(len(values), np.bool_)
    if not set(map(type, values)) <= _TRUTHS and any(v is not None and v not in (0, 1) for v in values):
        raise ValueError("not true or false")
    return (
        np.fromiter((bool(v) for v in values), np.bool_, len(values)),
        np.fromiter((v is None for v in values), np.bool_, len(values)),
    )


def _texts(values: Sequence[Any]) -> Any:
    if pa is not None:
        try:
            return pa.array(values, pa.large_string())
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    if any(isinstance(v, (list, dict)) for v in values):
        raise TypeError("not a text")
    words = [v if v is None or isinstance(v, str) else str(v) for v in values]
    return words if pa is None else pa.array(words, pa.large_string())


def _joined_texts(parts: list[Any]) -> Any:
    if pa is None:
        return pd.array([word for part in parts for word in part], dtype="str")
    whole = pa.chunked_array(parts, pa.large_string())
    return pd.arrays.ArrowStringArray(whole, dtype=pd.StringDtype("pyarrow", na_value=np.nan))  # type: ignore[call-arg]


def _seconds(values: Sequence[Any]) -> Any:
    """Times as seconds since 1970, as ISO text, or as datetimes."""
    if not set(map(type, values)) <= _NUMBERS and any(isinstance(v, (str, datetime)) for v in values):
        return _floats([_second(v) for v in values])
    return _floats(values)


def _second(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
    return value.timestamp() if isinstance(value, datetime) else value


def _times(parts: list[Any]) -> Any:
    seconds = np.concatenate(parts)
    known = np.isfinite(seconds) & (np.abs(seconds) < 1e11)
    stamps = np.round(np.where(known, seconds, 0) * 1e6).astype("int64").astype("M8[us]")
    stamps[~known] = np.datetime64("NaT")
    return pd.DatetimeIndex(stamps).tz_localize("UTC").array


MAKERS: dict[str, Maker] = {
    "float64": Maker(_floats, np.concatenate, "a number"),
    "Int64": Maker(
        _ints,
        lambda p: pd.arrays.IntegerArray(np.concatenate([a for a, _ in p]), np.concatenate([b for _, b in p])),
        "a whole number",
    ),
    "boolean": Maker(
        _flags,
        lambda p: pd.arrays.BooleanArray(np.concatenate([a for a, _ in p]), np.concatenate([b for _, b in p])),
        "true or false",
    ),
    "str": Maker(_texts, _joined_texts, "a text"),
    "datetime64[us, UTC]": Maker(_seconds, _times, "seconds since 1970"),
}


def inferred(values: Sequence[Any]) -> Any:
    """A field nobody knows yet: the plainest dtype that holds all of its values."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {bool}:
        return MAKERS["boolean"].of(values)
    if kinds == {int} and all(v is None or abs(v) < 2**63 for v in values):
        return MAKERS["Int64"].of(values)
    if kinds and kinds <= {int, float}:
        return _floats(values)
    if kinds == {str}:
        return MAKERS["str"].of(values)
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
