"""JSON of the wire -> columns -> `DataFrame`, column by column: no object is made for a row.

1. `decode` parses the body and turns rows into columns of wire values, whatever the order of their fields.
2. The caller may judge rows by those (`vast.query.kept_rows`).
3. `offers_frame` converts units and dtypes by the column table, adds what is computed, keeps what is unknown.

What is absent is NA. What is impossible (a negative speed, CUDA 580) is NA. What is no number where a number belongs is a
`ResponseError` with its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd

from vastnb.errors import ResponseError
from vastnb.vast.types.columns import DROPPED, FIELDS, KINDS, OFFERS, Column
from vastnb.vast.types.sizes import nominal_gb

__all__ = ["WireTable", "decode", "empty_frame", "frame_of", "offers_frame", "raw_frame"]

_LARGEST_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class WireTable:
    """An answer's rows as columns of wire values, in the answer's order."""

    columns: Mapping[str, Sequence[Any]]
    count: int
    rows: list[dict[str, Any]]


def decode(body: bytes, key: str) -> WireTable:
    """The rows below `key` of a JSON answer.

    Raises
    ------
    ResponseError
        Not JSON, no such key, not a list of objects.
    """
    data = _parsed(body)
    if not isinstance(data, dict) or key not in data:
        raise ResponseError(f"expected an object with {key!r}, got {_short(data)}", path="$")
    rows = data[key]
    if isinstance(rows, dict):  # the documentation's example of a search has one object here
        rows = [rows]
    if not isinstance(rows, list):
        raise ResponseError(f"expected a list, got {_short(rows)}", path=f"$.{key}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ResponseError(f"expected an object, got {_short(row)}", path=f"$.{key}[{number}]")
    return table_of(rows)


def table_of(rows: list[dict[str, Any]]) -> WireTable:
    """Rows into columns; a field that some rows lack is None there."""
    if not rows:
        return WireTable({}, 0, rows)
    names = tuple(rows[0])
    if all(map(names.__eq__, map(tuple, rows))):
        return WireTable(dict(zip(names, zip(*map(dict.values, rows), strict=True), strict=True)), len(rows), rows)
    every = dict.fromkeys(name for row in rows for name in row)
    return WireTable({name: [row.get(name) for row in rows] for name in every}, len(rows), rows)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body)  # accepts NaN and Infinity, which Vast's answers have held
    except ValueError as error:
        start = body[:60].decode("utf-8", "replace")
        raise ResponseError(f"expected JSON, got {start!r}", original=error) from error


def offers_frame(table: WireTable, *, rental: str, seen_at: datetime) -> pd.DataFrame:
    """A frame of offers: the pinned columns, then known further fields, then unknown ones under their own names.

    Parameters
    ----------
    table
        Wire values.
    rental
        What the prices are for.
    seen_at
        The service's clock when it answered, UTC.

    Returns
    -------
    DataFrame
        RangeIndex, one row an offer; columns and dtypes as in `docs/columns.md`, also when empty.

    Raises
    ------
    ResponseError
        A value of the wrong kind, with its place.
    """
    made: dict[str, Any] = {}
    for column in OFFERS:
        made[column.name] = _pinned(column, table, rental, seen_at)
    for column in FIELDS:
        if column.source in table.columns:
            values = table.columns[column.source]
            made[column.name] = _converted(column, _joined(values) if column.name == "gpu_ids" else values)
    known = {c.source for c in (*OFFERS, *FIELDS)} | set(DROPPED) | {"ask_contract_id", "gpu_total_ram"}
    for name, values in table.columns.items():
        if name not in known:
            made[_free_name(name, made)] = _inferred(values)
    return pd.DataFrame(made, index=pd.RangeIndex(table.count), copy=False)


def _joined(values: Sequence[Any]) -> list[str | None]:
    """Lists as text: a frame must survive Parquet, altair and ``drop_duplicates``."""
    return [",".join(map(str, v)) if isinstance(v, list) else None for v in values]


def unknown_fields(table: WireTable) -> list[str]:
    """Fields of the answer that no table of ours knows."""
    known = {c.source for c in (*OFFERS, *FIELDS)} | set(DROPPED)
    return [name for name in table.columns if name not in known]


def raw_frame(table: WireTable) -> pd.DataFrame:
    """The answer as it came: official names, values and units, pandas' own dtypes."""
    return pd.DataFrame(table.rows)


def frame_of(kind: str, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A frame of `kind` from finished values, with the pinned columns, order and dtypes."""
    made = {c.name: _typed(c, columns.get(c.name, ())) for c in KINDS[kind]}
    return pd.DataFrame(made, copy=False)


def empty_frame(kind: str) -> pd.DataFrame:
    """A frame of `kind` without rows."""
    return frame_of(kind, {})


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    return f"vast_{name}" if name in taken else name


def _pinned(column: Column, table: WireTable, rental: str, seen_at: datetime) -> Any:
    computed = _COMPUTED.get(column.name)
    if computed is not None:
        return _typed(column, computed(table), limits=True)
    if column.name == "rental":
        return _typed(column, [rental] * table.count)
    if column.name == "seen_at":
        stamp = np.datetime64(seen_at.astimezone(UTC).replace(tzinfo=None), "us")
        return pd.DatetimeIndex(np.full(table.count, stamp)).tz_localize("UTC").array
    return _converted(column, table.columns.get(column.source, [None] * table.count))


def _converted(column: Column, values: Sequence[Any]) -> Any:
    return _typed(column, values, factor=column.factor, limits=True)


def _typed(column: Column, values: Sequence[Any], *, factor: float = 1.0, limits: bool = False) -> Any:
    try:
        array = _MAKERS[column.dtype](values)
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong_value(column, values, error) from error
    if column.dtype == "float64":
        if factor != 1.0:
            array = array * factor if factor >= 1 else array / round(1 / factor)
        if limits:
            array = _within(column, array)
    return array


def _within(column: Column, array: Any) -> Any:
    bad = ~np.isfinite(array)
    if column.low is not None:
        bad |= array < column.low
    if column.high is not None:
        bad |= array > column.high
    return np.where(bad, np.nan, array) if bad.any() else array


def _floats(values: Sequence[Any]) -> Any:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError("a list where a number belongs")
    return array


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _integers(values: Sequence[Any]) -> Any:
    """Never truncated: 4.0 is 4, 4.5 is an error."""
    absent = np.fromiter((_is_absent(v) for v in values), np.bool_, len(values))
    if absent.any():
        values = [0 if gone else v for v, gone in zip(values, absent, strict=True)]
    array = np.array(values) if len(values) > 0 else np.empty(0, np.int64)
    if array.dtype.kind == "f":
        if not (
            np.isfinite(array).all() and (array == np.floor(array)).all() and (np.abs(array) < _LARGEST_EXACT).all()
        ):
            raise ValueError("not a whole number")
    elif array.dtype.kind not in "iub":
        array = np.array([int(str(v)) for v in values], np.int64)
    return pd.arrays.IntegerArray(array.astype(np.int64), absent)


def _flags(values: Sequence[Any]) -> Any:
    absent = np.fromiter((v is None for v in values), np.bool_, len(values))
    if any(v is not None and v not in (0, 1) for v in values):
        raise ValueError("not true or false")
    return pd.arrays.BooleanArray(np.fromiter((bool(v) for v in values), np.bool_, len(values)), absent)


def _texts(values: Sequence[Any]) -> Any:
    if any(isinstance(v, (list, dict)) for v in values):
        raise TypeError("not a text")
    return pd.array([v if v is None or isinstance(v, str) else str(v) for v in values], dtype="str")


def _times(values: Sequence[Any]) -> Any:
    if len(values) and isinstance(values[0], datetime):
        return pd.DatetimeIndex(list(values)).as_unit("us").array
    seconds = _floats(values)
    known = np.isfinite(seconds) & (np.abs(seconds) < 1e11)
    stamps = np.where(known, np.round(np.where(known, seconds, 0) * 1e6), 0).astype("int64").astype("M8[us]")
    stamps[~known] = np.datetime64("NaT")
    return pd.DatetimeIndex(stamps).tz_localize("UTC").array


_MAKERS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "float64": _floats,
    "Int64": _integers,
    "boolean": _flags,
    "str": _texts,
    "datetime64[us, UTC]": _times,
}


def _inferred(values: Sequence[Any]) -> Any:
    """A field nobody knows yet: the plainest dtype that holds all of its values."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {bool}:
        return _flags(values)
    if kinds == {int} and all(v is None or abs(v) < 2**63 for v in values):
        return _integers(values)
    if kinds and kinds <= {int, float}:
        return _floats(values)
    if kinds == {str}:
        return _texts(values)
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _wrong_value(column: Column, values: Sequence[Any], error: Exception) -> ResponseError:
    make = _MAKERS[column.dtype]
    for number, value in enumerate(values):
        try:
            make([value])
        except (ValueError, TypeError, OverflowError):
            path = f"$.offers[{number}].{column.source or column.name}"
            return ResponseError(
                f"{path}: expected {_WANTED[column.dtype]}, got {_short(value)}", path=path, original=error
            )
    return ResponseError(f"{column.name}: {error}", path=f"$.offers[*].{column.source}", original=error)


_WANTED = {
    "float64": "a number",
    "Int64": "a whole number",
    "boolean": "true or false",
    "str": "a text",
    "datetime64[us, UTC]": "seconds since 1970",
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _get(table: WireTable, *names: str) -> Sequence[Any]:
    return next((table.columns[name] for name in names if name in table.columns), [None] * table.count)


def _measure(table: WireTable, field: str) -> Any:
    """One wire field as numbers, NaN where it is absent."""
    return _typed(Column(field, "float64", "", source=field), _get(table, field))


def _nominal(table: WireTable) -> Any:
    mb = _measure(table, "gpu_ram")
    sizes = {size: nominal_gb(size) if 0 < size < math.inf else math.nan for size in set(mb.tolist())}
    return np.array([sizes.get(size, math.nan) for size in mb.tolist()])


def _vram_total(table: WireTable) -> Any:
    if "gpu_total_ram" in table.columns:
        return _measure(table, "gpu_total_ram") / 1000
    return _measure(table, "gpu_ram") * _measure(table, "num_gpus") / 1000


def _per_gpu(table: WireTable) -> Any:
    gpus = _measure(table, "num_gpus")
    return np.divide(_measure(table, "dph_total"), gpus, out=np.full(table.count, np.nan), where=gpus > 0)


def _cpu_share(table: WireTable) -> Any:
    return _measure(table, "cpu_ram") * _measure(table, "gpu_frac") / 1000


def _countries(table: WireTable) -> list[str | None]:
    return [_country(place) for place in _get(table, "geolocation")]


def _country(place: Any) -> str | None:
    """Only the last two letters of what a host wrote are safe."""
    if not isinstance(place, str):
        return None
    code = place[-2:]
    alone = len(place) == 2 or place[-3:-2] in (" ", ",")
    return code if alone and len(code) == 2 and code.isascii() and code.isalpha() and code.isupper() else None


def _datacenters(table: WireTable) -> list[bool | None]:
    return [None if v is None else v == 1 for v in _get(table, "hosting_type")]


_COMPUTED: dict[str, Callable[[WireTable], Any]] = {
    "offer_id": lambda t: _get(t, "ask_contract_id", "id"),
    "gpu_ram_nominal_gb": _nominal,
    "vram_total_gb": _vram_total,
    "usd_per_gpu_hour": _per_gpu,
    "cpu_ram_gb": _cpu_share,
    "country": _countries,
    "datacenter": _datacenters,
    "reliability": lambda t: _get(t, "reliability", "reliability2"),
}
"""Columns that are made of several wire fields, or of one under several names."""
