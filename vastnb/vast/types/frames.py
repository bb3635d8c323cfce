"""JSON of the wire -> columns -> `DataFrame`, column by column: no object is made for a row.

1. `pieces` cuts a long body at the borders of offers: half a megabyte at a time is decoded, put into columns and forgotten,
   which is faster than the whole (it stays in the processor's cache) and takes a tenth of the memory.
2. `table_of` turns the rows of a piece into columns of wire values; the caller may judge rows by those.
3. `MAKERS` turn each column of each piece into arrays; at the end the pieces are joined, what is computed added, and what is
   unknown kept.
4. `assembled` converts units by the column table and makes the frame (`blocks`).

What is absent is NA. What is impossible (a negative speed, CUDA 580) is NA. What is no number where a number belongs is a
`ResponseError` with its place.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd

from vastnb.errors import ResponseError
from vastnb.vast.types.arrays import MAKERS, Maker, inferred
from vastnb.vast.types.blocks import Made, assembled
from vastnb.vast.types.columns import DROPPED, FIELDS, OFFERS, Column
from vastnb.vast.types.kinds import KINDS
from vastnb.vast.types.sizes import nominal_gb

__all__ = [
    "OffersRead",
    "WireTable",
    "decode",
    "empty_frame",
    "frame_of",
    "offers_frame",
    "raw_frame",
    "read_offers",
    "records_frame",
    "table_of",
]

_PIECE_BYTES = 1 << 19
_WHOLE_BELOW = 3 * _PIECE_BYTES
_KNOWN = {c.source for c in (*OFFERS, *FIELDS)} | set(DROPPED) | {"gpu_total_ram"}
_TEXT = "str"

Judge = Callable[[Mapping[str, Sequence[Any]], int], list[bool]]


@dataclass(frozen=True, slots=True)
class WireTable:
    """Rows as columns of wire values, in the answer's order."""

    columns: Mapping[str, Sequence[Any]]
    count: int


@dataclass(frozen=True, slots=True)
class OffersRead:
    """An answer to a search, read."""

    frame: pd.DataFrame
    """The rows that were judged good."""
    received: int
    watched: list[float]
    """The wire values of one field, of all rows; empty if any is no number."""
    unknown: tuple[str, ...]
    """Fields that no table of ours knows."""


# ---------------------------------------------------------------- bytes into columns of wire values


def decode(body: bytes, key: str) -> list[dict[str, Any]]:
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
    return rows


def table_of(rows: list[dict[str, Any]]) -> WireTable:
    """Rows into columns; a field that some rows lack is None there."""
    if not rows:
        return WireTable({}, 0)
    names = tuple(rows[0])
    if all(map(names.__eq__, map(tuple, rows))):
        return WireTable(dict(zip(names, zip(*map(dict.values, rows), strict=True), strict=True)), len(rows))
    every = dict.fromkeys(name for row in rows for name in row)
    return WireTable({name: [row.get(name) for row in rows] for name in every}, len(rows))


def pieces(body: bytes, key: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of `decode`, some half megabyte of JSON at a time.

    A cut is made only between ``}`` and ``{"<first field>":``, which cannot stand inside a text; if it stood inside a nested
    list, the piece before it would not be JSON, and `ValueError` is raised: then the body has to be read whole.
    """
    prefix = b'{"%b":' % key.encode()
    start = body.find(b"[") + 1
    end = body.rfind(b"]")
    first_field = body[start : body.find(b":", start) + 1].lstrip()
    plain = body[:start].replace(b" ", b"") == prefix + b"[" and body[end:].strip() == b"]}"
    if len(body) < _WHOLE_BELOW or not plain or not first_field.startswith(b'{"'):
        yield decode(body, key)
        return
    border = next(
        (b for b in (b"}, " + first_field, b"}," + first_field) if body.find(b, start, start + 65536) > 0), None
    )
    if border is None:
        raise ValueError("no border between offers")
    at = start
    while at < end:
        cut = body.find(border, at + _PIECE_BYTES, end)
        upto = end if cut < 0 else cut + 1
        yield orjson.loads(b"[%b]" % body[at:upto])
        at = end if cut < 0 else cut + len(border) - len(first_field)


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


# ---------------------------------------------------------------- columns of wire values into a frame


def read_offers(
    body: bytes, *, rental: str, seen_at: datetime, judge: Judge | None = None, watch: str = ""
) -> OffersRead:
    """An answer to a search as a frame of offers.

    Parameters
    ----------
    body
        The answer.
    rental
        What the prices are for.
    seen_at
        The service's clock when it answered, UTC.
    judge
        Given columns of wire values and their length, says which rows stay.
    watch
        A field whose wire values are wanted too.

    Raises
    ------
    ResponseError
        Another shape than documented, or a value of the wrong kind, with its place.
    """
    with _without_collector():
        try:
            return _read(pieces(body, "offers"), rental, seen_at, judge, watch)
        except (ValueError, TypeError, AttributeError):  # a cut that was none, or NaN: read it whole
            return _read(iter([decode(body, "offers")]), rental, seen_at, judge, watch)


def offers_frame(rows: list[dict[str, Any]], *, rental: str, seen_at: datetime) -> pd.DataFrame:
    """Rows as a frame of offers: the pinned columns, then known further fields, then unknown ones under their own names.

    Returns
    -------
    DataFrame
        RangeIndex, one row an offer; columns and dtypes as in `docs/columns.md`, also when empty.
    """
    return _read(iter([rows]), rental, seen_at, None, "").frame


def raw_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The answer as it came: official names, values and units, pandas' own dtypes."""
    return pd.DataFrame(rows)


def frame_of(kind: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """A frame of `kind` from finished values, with the pinned columns, order and dtypes.

    A `Series` is only cast, as far as it is not what it should be: it is not looked at value by value.
    """
    made: dict[str, Any] = {}
    for column in KINDS[kind]:
        values = columns.get(column.name, ())
        made[column.name] = (
            values.astype(column.dtype).array if isinstance(values, pd.Series) else _whole(column, values)
        )
    return pd.DataFrame(made)


def records_frame(kind: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of the wire as a frame of `kind`: the pinned columns, then unknown fields under their own names."""
    table = table_of(rows)
    columns = KINDS[kind]
    made: Made = {c.name: (_whole(c, table.columns.get(c.source, [None] * table.count)), c) for c in columns}
    known = {c.source for c in columns} | set(DROPPED)
    _add_unknown(made, {name: values for name, values in table.columns.items() if name not in known})
    return assembled(made, table.count)


def empty_frame(kind: str) -> pd.DataFrame:
    """A frame of `kind` without rows."""
    return frame_of(kind, {})


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of new objects and no garbage: the collector would only look through them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Parts:
    """The arrays of each field, piece by piece."""

    def __init__(self) -> None:
        self.count = 0
        self.parts: dict[str, list[Any]] = {}
        self.unknown: dict[str, list[Any]] = {}
        self.countries: list[str | None] = []
        self._country_of: dict[Any, str | None] = {}

    def add(self, table: WireTable) -> None:
        for field in dict.fromkeys((*self.parts, *self.unknown, *table.columns)):
            values = table.columns.get(field)
            self._add(field, values if values is not None else [None] * table.count)
        self._add_countries(table)
        self.count += table.count

    def _add(self, field: str, values: Sequence[Any]) -> None:
        dtype = _DTYPES.get(field)
        if dtype is not None:
            if field not in self.parts:
                self.parts[field] = [_part(field, dtype, [None] * self.count)]
            self.parts[field].append(_part(field, dtype, _joined(values) if field == "gpu_ids" else values, self.count))
        elif field not in DROPPED:
            if field not in self.unknown:
                self.unknown[field] = [None] * self.count
            self.unknown[field].extend(values)

    def _add_countries(self, table: WireTable) -> None:
        known = self._country_of
        for place in table.columns.get("geolocation", [None] * table.count):
            if not isinstance(place, str):
                self.countries.append(None)
                continue
            if place not in known:
                known[place] = _country(place)
            self.countries.append(known[place])

    def whole(self, field: str) -> Any:
        """The whole of one field, in wire units; None if no row had it."""
        parts = self.parts.get(field)
        return None if parts is None else MAKERS[_DTYPES[field]].whole(parts)

    def measure(self, *fields: str) -> Any:
        """The whole of the first of `fields` that came, as numbers in wire units; NaN where it is absent."""
        for field in fields:
            found = self.whole(field)
            if found is not None:
                return found.to_numpy(np.float64, na_value=np.nan) if hasattr(found, "to_numpy") else found
        return np.full(self.count, np.nan)


def _read(
    chunks: Iterator[list[dict[str, Any]]], rental: str, seen_at: datetime, judge: Judge | None, watch: str
) -> OffersRead:
    parts, keep = _Parts(), list[bool]()
    for rows in chunks:
        table = table_of(rows)
        parts.add(table)
        keep += judge(table.columns, table.count) if judge is not None else [True] * table.count
    frame = _assembled(parts, rental, seen_at)
    if not all(keep):
        frame = frame[np.array(keep, bool)].reset_index(drop=True)
    watched = parts.measure(watch) if watch in parts.parts and _DTYPES[watch] != _TEXT else np.empty(0)
    values = [] if np.isnan(watched).any() else watched.tolist()
    return OffersRead(frame, parts.count, values, tuple(name for name in parts.unknown))


def _assembled(parts: _Parts, rental: str, seen_at: datetime) -> pd.DataFrame:
    made: Made = {column.name: (_pinned(column, parts, rental, seen_at), column) for column in OFFERS}
    for column in FIELDS:
        if column.source in parts.parts:
            made[column.name] = parts.whole(column.source), column
    _add_unknown(made, parts.unknown)
    return assembled(made, parts.count)


def _add_unknown(made: Made, unknown: Mapping[str, Sequence[Any]]) -> None:
    for name, values in unknown.items():
        made[f"vast_{name}" if name in made else name] = inferred(values), None


def _pinned(column: Column, parts: _Parts, rental: str, seen_at: datetime) -> Any:
    """A pinned column, in wire units."""
    computed = _COMPUTED.get(column.name)
    if computed is not None:
        return computed(parts)
    if column.name == "rental":
        return MAKERS[_TEXT].of([rental] * parts.count)
    if column.name == "seen_at":
        stamp = np.datetime64(seen_at.astimezone(UTC).replace(tzinfo=None), "us")
        return pd.DatetimeIndex(np.full(parts.count, stamp)).tz_localize("UTC").array
    found = parts.whole(column.source)
    return _whole(column, [None] * parts.count) if found is None else found


def _joined(values: Sequence[Any]) -> list[str | None]:
    """Lists as text: a frame must survive Parquet, altair and ``drop_duplicates``."""
    return [",".join(map(str, v)) if isinstance(v, list) else None for v in values]


def _country(place: str) -> str | None:
    """Only the last two letters of what a host wrote are safe."""
    code = place[-2:]
    alone = len(place) == 2 or place[-3:-2] in (" ", ",")
    return code if alone and len(code) == 2 and code.isascii() and code.isalpha() and code.isupper() else None


def _nominal(parts: _Parts) -> Any:
    mb = parts.measure("gpu_ram").tolist()
    sizes = {size: nominal_gb(size) if 0 < size < math.inf else math.nan for size in set(mb)}
    return np.array([sizes.get(size, math.nan) for size in mb], np.float64)


def _vram_total(parts: _Parts) -> Any:
    if "gpu_total_ram" in parts.parts:
        return parts.measure("gpu_total_ram")
    return parts.measure("gpu_ram") * parts.measure("num_gpus")


def _per_gpu(parts: _Parts) -> Any:
    gpus = parts.measure("num_gpus")
    return np.divide(parts.measure("dph_total"), gpus, out=np.full(parts.count, np.nan), where=gpus > 0)


def _offer_ids(parts: _Parts) -> Any:
    found = parts.whole("ask_contract_id")
    found = parts.whole("id") if found is None else found
    return MAKERS["Int64"].of([None] * parts.count) if found is None else found


def _datacenters(parts: _Parts) -> Any:
    kinds = parts.measure("hosting_type")
    return pd.arrays.BooleanArray(kinds == 1, np.isnan(kinds))


_COMPUTED: dict[str, Callable[[_Parts], Any]] = {
    "offer_id": _offer_ids,
    "gpu_ram_nominal_gb": _nominal,
    "vram_total_gb": _vram_total,
    "usd_per_gpu_hour": _per_gpu,
    "cpu_ram_gb": lambda p: p.measure("cpu_ram") * p.measure("gpu_frac") / 1000,
    "country": lambda p: MAKERS[_TEXT].of(p.countries),
    "datacenter": _datacenters,
    "reliability": lambda p: p.measure("reliability", "reliability2"),
}
"""Columns that are made of several wire fields, or of one under several names."""


_DTYPES: dict[str, str] = {
    **{c.source: c.dtype for c in (*OFFERS, *FIELDS) if c.source},
    "id": "Int64",
    "gpu_total_ram": "float64",
    "hosting_type": "float64",
    "reliability2": "float64",
}
"""The dtype in which each known wire field is read."""


def _part(field: str, dtype: str, values: Sequence[Any], offset: int = 0) -> Any:
    maker = MAKERS[dtype]
    try:
        return maker.part(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong_value(field, maker, values, offset, error) from error


def _whole(column: Column, values: Sequence[Any]) -> Any:
    return MAKERS[column.dtype].whole([_part(column.name, column.dtype, values)])


def _wrong_value(field: str, maker: Maker, values: Sequence[Any], offset: int, error: Exception) -> ResponseError:
    for number, value in enumerate(values):
        try:
            maker.part([value])
        except (ValueError, TypeError, OverflowError):
            path = f"$.offers[{offset + number}].{field}"
            return ResponseError(f"{path}: expected {maker.wanted}, got {_short(value)}", path=path, original=error)
    return ResponseError(f"{field}: {error}", path=f"$.offers[*].{field}", original=error)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
