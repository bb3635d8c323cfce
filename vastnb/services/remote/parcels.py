"""Values as bytes, and back, for a cell that runs elsewhere: Arrow for frames, npy for arrays, JSON and text for the rest.

The same file is used here and on the machine, where nothing of vastnb is installed: it imports nothing of ours, runs on
Python 3.8, and brings numpy, pandas and pyarrow only where a value is theirs. Nothing that could run code is read, unless
pickle is asked for.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from typing import Any, BinaryIO

__all__ = ["LITTLE_BYTES", "carry", "outcome", "pack", "receive", "unpack", "watch"]

LITTLE_BYTES = 100_000
"""What goes along with a message, instead of by a file."""
_UNNAMED = "vastnb: no name"
"""The column of a series without a name."""
_outcomes: dict[str, list[str] | None] = {}
_MOST_OUTCOMES = 100


def pack(value: Any, file: BinaryIO, *, pickle: bool = False) -> str:
    """Write a value to a file; the kind of what was written. What no other kind takes is pickled, if that is asked for.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        It cannot be carried without pickle, or what it needs is not installed.
    """
    try:
        return _pack(value, file)
    except (TypeError, ValueError, NotImplementedError):
        if not pickle:
            raise
    import pickle as pickling

    file.seek(0)
    file.truncate()
    pickling.dump(value, file, protocol=4)
    return "pickle"


def _pack(value: Any, file: BinaryIO) -> str:
    for is_theirs, kind, write in _WRITERS:
        if is_theirs(value):
            write(value, file)
            return kind
    file.write(json.dumps(_plain(value)).encode())
    return "json"


def unpack(kind: str, path: str, *, pickle: bool = False) -> Any:
    """The value in a file.

    Raises
    ------
    TypeError
        It is a pickle that was not asked for, or what it needs is not installed here.
    """
    if kind == "pickle" and not pickle:
        raise TypeError("a pickle is not read unless it was asked for")
    return _READERS[kind](path)


# -------------------------------------------------------- on the machine


def carry(name: str, names: dict[str, Any], folder: str, *, pickle: bool) -> str:
    """What has a name, as JSON: its kind, and itself if it is little, else the file it was written to; or why it cannot be."""
    if name not in names:
        return json.dumps({"problem": "there is no " + name + " there"})
    path = os.path.join(os.path.expanduser(folder), "out-" + name)  # noqa: PTH111, PTH118 as long as Python 3.8 is met
    try:
        with open(path, "w+b") as file:  # noqa: PTH123
            kind = pack(names[name], file, pickle=pickle)
            size = file.seek(0, os.SEEK_END)
            if size > LITTLE_BYTES:
                return json.dumps({"kind": kind, "size": size, "path": path})
            file.seek(0)
            little = base64.b64encode(file.read()).decode()
        os.remove(path)  # noqa: PTH107
    except Exception as error:  # noqa: BLE001 a value is the user's: it may raise anything while it is written
        _remove(path)
        return json.dumps({"problem": str(error) or type(error).__name__})
    return json.dumps({"kind": kind, "size": size, "little": little})


def receive(name: str, names: dict[str, Any], kind: str, path: str, *, pickle: bool, little: str | None = None) -> str:
    """Give a name to the value in a file, which is written before if the value is little; why it cannot be, as JSON."""
    path = os.path.expanduser(path)  # noqa: PTH111
    try:
        if little is not None:
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(base64.b64decode(little))
        names[name] = unpack(kind, path, pickle=pickle)
    except Exception as error:  # noqa: BLE001 as above
        return json.dumps({"problem": str(error) or type(error).__name__})
    finally:
        if little is not None:  # of another it may be told again, and who sent it removes it
            _remove(path)
    return "{}"


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)  # noqa: PTH107


def watch(shell: Any) -> str:
    """Remember how cells end, for somebody whose connection was lost meanwhile; the Python's version."""
    if getattr(shell, "vastnb_watches", "") != __name__:
        shell.vastnb_watches = __name__
        shell.events.register("pre_run_cell", lambda *_: _note(shell, None))
        shell.events.register("post_run_cell", lambda result: _note(shell, _ending(result)))
    return json.dumps(".".join(map(str, sys.version_info[:3])))


def outcome(message: str) -> str:
    """How the cell of a message ended, as JSON: nothing if it never began, else the error's name and words, if there was one."""
    return json.dumps(_outcomes.get(message, "never began"))


def _note(shell: Any, ending: list[str] | None) -> None:
    kernel = shell.kernel
    parent = kernel.get_parent() if hasattr(kernel, "get_parent") else kernel._parent_header  # noqa: SLF001 the old name
    _outcomes[parent["header"]["msg_id"]] = ending
    while len(_outcomes) > _MOST_OUTCOMES:
        del _outcomes[next(iter(_outcomes))]


def _ending(result: Any) -> list[str]:
    error = result.error_before_exec or result.error_in_exec
    return [] if error is None else [type(error).__name__, str(error)]


# -------------------------------------------------------- kinds


def _is(module: str, name: str) -> Any:
    """Whether a value is of a type that only who uses it has imported."""

    def check(value: Any) -> bool:
        found = getattr(sys.modules.get(module), name, None)
        return found is not None and isinstance(value, found)

    return check


def _is_array(value: Any) -> bool:
    return (_is("numpy", "ndarray")(value) or _is("numpy", "generic")(value)) and not value.dtype.hasobject


def _write_frame(frame: Any, file: BinaryIO) -> None:
    arrow = _arrow()
    _write_table(arrow.Table.from_pandas(frame), file)


def _write_series(series: Any, file: BinaryIO) -> None:
    _write_frame(series.to_frame(_UNNAMED if series.name is None else series.name), file)


def _write_polars(frame: Any, file: BinaryIO) -> None:
    _arrow()
    _write_table(frame.to_arrow(), file)


def _write_table(table: Any, file: BinaryIO) -> None:
    arrow = _arrow()
    # Traffic is billed, and random numbers cost zstd nearly no time.
    packed = "zstd" if arrow.Codec.is_available("zstd") else None
    with arrow.ipc.new_file(file, table.schema, options=arrow.ipc.IpcWriteOptions(compression=packed)) as writer:
        writer.write_table(table)


def _read_table(path: str) -> Any:
    arrow = _arrow()
    with arrow.memory_map(path) as source:
        return arrow.ipc.open_file(source).read_all()


def _read_frame(path: str) -> Any:
    return _read_table(path).to_pandas()


def _read_series(path: str) -> Any:
    series = _read_frame(path).iloc[:, 0]
    return series.rename(None) if series.name == _UNNAMED else series


def _read_polars(path: str) -> Any:
    import polars as pl

    return pl.from_arrow(_read_table(path))


def _write_array(array: Any, file: BinaryIO) -> None:
    import numpy as np

    np.save(file, array, allow_pickle=False)


def _read_array(path: str) -> Any:
    import numpy as np

    array = np.load(path, allow_pickle=False)
    return array[()] if array.ndim == 0 else array


def _write_tensor(tensor: Any, file: BinaryIO) -> None:
    _write_array(tensor.detach().cpu().numpy(), file)


def _write_text(text: str, file: BinaryIO) -> None:
    file.write(text.encode("utf-8", "surrogatepass"))


def _read_text(path: str) -> str:
    return _read_bytes(path).decode("utf-8", "surrogatepass")


def _write_bytes(value: Any, file: BinaryIO) -> None:
    file.write(value)


def _read_bytes(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def _read_json(path: str) -> Any:
    return json.loads(_read_bytes(path))


def _read_pickle(path: str) -> Any:
    import pickle

    return pickle.loads(_read_bytes(path))  # noqa: S301 only if it was asked for


def _arrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        raise TypeError("a frame is carried by pyarrow, and there is none in " + sys.executable) from None
    return pa


def _plain(value: Any) -> Any:
    """A value that JSON gives back as it was, but for tuples, which are lists then."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return [_plain(part) for part in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _plain(part) for key, part in value.items()}
    if _is("numpy", "number")(value) or _is("numpy", "bool_")(value):
        return value.item()
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} is not carried without pickle")


_WRITERS: tuple[tuple[Any, str, Any], ...] = (
    (_is("pandas", "DataFrame"), "frame", _write_frame),
    (_is("pandas", "Series"), "series", _write_series),
    (_is("polars", "DataFrame"), "polars", _write_polars),
    (_is("pyarrow", "Table"), "table", _write_table),
    (_is_array, "array", _write_array),
    (_is("torch", "Tensor"), "array", _write_tensor),
    (lambda value: type(value) is str, "text", _write_text),
    (lambda value: type(value) in (bytes, bytearray), "bytes", _write_bytes),
)
_READERS: dict[str, Any] = {
    "frame": _read_frame,
    "series": _read_series,
    "polars": _read_polars,
    "table": _read_table,
    "array": _read_array,
    "text": _read_text,
    "bytes": _read_bytes,
    "json": _read_json,
    "pickle": _read_pickle,
}
