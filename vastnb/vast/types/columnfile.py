"""A finished frame in a file: a JSON head and the columns' buffers behind it, nothing that could run.

A fresh kernel gets its frame back without parsing JSON. Files are written beside and moved into place, so that a reader sees a
whole one or none; one that is cut, foreign or from another version is no file. Texts need pyarrow, as pandas does for speed;
without it nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from vastnb.infra.files import write_whole

try:
    import pyarrow as pa
except ImportError:
    pa = None

__all__ = ["read", "write"]

_MAGIC = b"VNBFRAME1\n"
_ALIGNED = 64
_Buffers = list[bytes | memoryview]


def write(path: Path, frame: pd.DataFrame, head: Mapping[str, Any]) -> bool:
    """Write `frame` and a JSON-safe `head` to `path`; whether that was possible.

    A full disk or a place that cannot be written is no error: the frame is only kept for speed.
    """
    bare = frame.copy(deep=False)
    bare.attrs = {}  # or pandas would copy them, at every depth, for each column
    packed = [_packed(name, bare[name]) for name in bare.columns]
    if any(column is None for column in packed):
        return False
    buffers: _Buffers = [b for column in packed if column is not None for b in column[1]]
    columns = [column[0] for column in packed if column is not None]
    about = json.dumps({"rows": len(frame), "head": dict(head), "columns": columns}, separators=(",", ":")).encode()
    parts: _Buffers = [_MAGIC, len(about).to_bytes(8, "little"), about]
    parts.append(bytes(-sum(map(len, parts)) % _ALIGNED))
    for buffer in buffers:
        parts += [buffer, bytes(-len(buffer) % _ALIGNED)]
    try:
        write_whole(path, parts)
    except OSError:
        return False
    return True


def read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The frame and the head at `path`, or None if there is no such file or it is not whole."""
    try:
        raw = bytearray(path.read_bytes())
        if raw[: len(_MAGIC)] != _MAGIC:
            return None
        start = len(_MAGIC) + 8
        end = start + int.from_bytes(raw[len(_MAGIC) : start], "little")
        about = orjson.loads(memoryview(raw)[start:end])
        return _unpacked(memoryview(raw), end + -end % _ALIGNED, about), about["head"]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _packed(name: str, column: pd.Series) -> tuple[dict[str, Any], _Buffers] | None:
    kind = str(column.dtype)
    pack = _PACKERS.get(kind)
    found = pack(column) if pack is not None else None
    if found is None:
        return None
    return {"name": name, "kind": kind, "sizes": [len(b) for b in found]}, found


def _pack_masked(kind: str) -> Callable[[pd.Series], _Buffers]:
    fill: Any = 0 if kind == "int64" else False

    def pack(column: pd.Series) -> _Buffers:
        return [_raw(column.to_numpy(dtype=kind, na_value=fill)), _raw(column.isna().to_numpy())]

    return pack


def _raw(array: Any) -> memoryview | bytes:
    """The bytes of `array`, not copied where they lie together."""
    return np.ascontiguousarray(array).data.cast("B") if array.size else b""


def _pack_texts(column: pd.Series) -> _Buffers | None:
    if pa is None:
        return None
    array = pa.array(column.tolist() if column.empty else column.array, pa.large_string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if array.offset:
        array = pa.concat_arrays([array])
    offsets, data = array.buffers()[1:]
    absent = np.asarray(array.is_null().to_numpy(zero_copy_only=False), np.bool_)
    if offsets is None or offsets.size < 8 * (len(array) + 1):
        return [bytes(8), b"", b""]
    return [
        memoryview(offsets)[: 8 * (len(array) + 1)],
        memoryview(data) if data is not None else b"",
        _raw(absent),
    ]


def _pack_objects(column: pd.Series) -> _Buffers | None:
    try:
        return [orjson.dumps(column.tolist())]
    except TypeError:
        return None


_PACKERS: dict[str, Callable[[pd.Series], _Buffers | None]] = {
    "float64": lambda c: [_raw(c.to_numpy())],
    "Int64": _pack_masked("int64"),
    "boolean": _pack_masked("bool"),
    "str": _pack_texts,
    "datetime64[us, UTC]": lambda c: [_raw(c.dt.tz_localize(None).to_numpy().view("int64"))],
    "object": _pack_objects,
}


def _unpacked(raw: memoryview, at: int, about: Mapping[str, Any]) -> pd.DataFrame:
    made: dict[str, Any] = {}
    rows = int(about["rows"])
    for column in about["columns"]:
        buffers = []
        for size in column["sizes"]:
            if at + size > len(raw):
                raise ValueError("the file is cut")
            buffers.append(raw[at : at + size])
            at += size + -size % _ALIGNED
        made[column["name"]] = _UNPACKERS[column["kind"]](buffers, rows)
    return pd.DataFrame(made, index=pd.RangeIndex(rows))


def _view(buffer: memoryview, dtype: Any, rows: int) -> Any:
    return np.frombuffer(buffer, dtype, rows)


def _unpack_texts(buffers: list[memoryview], rows: int) -> Any:
    if pa is None:
        raise ValueError("texts need pyarrow")
    absent = _view(buffers[2], np.bool_, rows)
    valid = pa.py_buffer(np.packbits(~absent, bitorder="little").tobytes()) if absent.any() else None
    array = pa.Array.from_buffers(pa.large_string(), rows, [valid, pa.py_buffer(buffers[0]), pa.py_buffer(buffers[1])])
    array.validate(full=True)
    return pd.arrays.ArrowStringArray(pa.chunked_array([array]), dtype=pd.StringDtype("pyarrow", na_value=np.nan))  # type: ignore[call-arg]


def _unpack_objects(buffers: list[memoryview], rows: int) -> Any:
    made = np.empty(rows, dtype=object)
    made[:] = orjson.loads(buffers[0])
    return made


_UNPACKERS: dict[str, Callable[[list[memoryview], int], Any]] = {
    "float64": lambda b, n: _view(b[0], np.float64, n),
    "Int64": lambda b, n: pd.arrays.IntegerArray(_view(b[0], np.int64, n), _view(b[1], np.bool_, n)),
    "boolean": lambda b, n: pd.arrays.BooleanArray(_view(b[0], np.bool_, n), _view(b[1], np.bool_, n)),
    "str": _unpack_texts,
    "datetime64[us, UTC]": lambda b, n: pd.DatetimeIndex(_view(b[0], "M8[us]", n)).tz_localize("UTC").array,
    "object": _unpack_objects,
}
