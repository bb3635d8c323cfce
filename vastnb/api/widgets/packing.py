"""A frame as the browser gets it: narrow binary columns, some 3 bytes a cell, instead of text. Pure.

Numbers are 32 bit floats or the smallest integers that hold them, texts are numbers of words in a list; only columns that are shown,
filtered by or drawn are sent. Words of hosts are made printable and short here, and set as text in the browser.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vastnb.vast.render import plain
from vastnb.vast.types import FIELDS, OFFERS, Column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["DEFAULT_COLUMNS", "JOB", "columns_of", "numbers", "packed", "told"]

JOB = Column("job_usd", "float64", "price of the whole job: GPUs and disk for its hours, without traffic", "$", head="Job", form=".2f")  # fmt: skip
DEFAULT_COLUMNS = (
    "gpu_name", "num_gpus", "gpu_ram_nominal_gb", "usd_per_hour", "job_usd", "reliability", "inet_down_mbps", "dlperf_per_usd",
    "country",
)  # fmt: skip
_LONGEST_WORD = 60
_LARGEST_INTEGER = {"u1": 2**8, "u2": 2**16, "i4": 2**31}
_FORMS: dict[str, dict[str, Any]] = {
    "d": {"useGrouping": False},
    "g": {"maximumSignificantDigits": 6},
    ".3g": {"maximumSignificantDigits": 3},
    ".4g": {"maximumSignificantDigits": 4},
    ".1%": {"style": "percent", "minimumFractionDigits": 1, "maximumFractionDigits": 1},
}
"""Our formats as the browser's `Intl.NumberFormat` takes them; others are a number of digits behind the point."""


def columns_of(frame: pd.DataFrame) -> list[Column]:
    """The columns of `frame` that can be shown, ours first and in our order; those that the user added follow."""
    ours = {c.name: c for c in (*OFFERS, *FIELDS)}
    named = [name for name in frame.columns if isinstance(name, str)]
    known = [column for name, column in ours.items() if name in frame.columns]
    return [*known, *(_added(frame, name) for name in named if name not in ours)]


def _added(frame: pd.DataFrame, name: str) -> Column:
    kind = frame[name].dtype.kind
    dtype: Any = {"i": "float64", "u": "float64", "f": "float64", "b": "boolean", "M": "datetime64[us, UTC]"}.get(
        kind, "str"
    )
    return Column(name, dtype, "a column of yours", head=plain(name, 24), form=".4g")


def packed(frame: pd.DataFrame, names: Iterable[str], job_usd: pd.Series | None = None) -> dict[str, Any]:
    """The columns `names` of `frame`, those that it has, and the price of the job.

    Returns
    -------
    dict
        ``rows``, and ``columns``: of each its name, head, unit, meaning, kind (``number``, ``flag``, ``time`` or ``text``), the bytes
        of its values with their type, and what its kind needs: a format, or the list of words.
    """
    known = {column.name: column for column in columns_of(frame)}
    made = [_packed(known[name], frame[name]) for name in dict.fromkeys(names) if name in known]
    if job_usd is not None:
        made.append(_packed(JOB, job_usd))
    return {"rows": len(frame), "columns": made}


def _packed(column: Column, values: pd.Series) -> dict[str, Any]:
    kind = _kind(column)
    return {**told(column), "kind": kind, **_PACKERS[kind](column, values)}


def told(column: Column) -> dict[str, str]:
    """What a column is called, its unit, and what it means."""
    head = column.head or column.name
    unit = "" if column.form.endswith("%") else column.unit
    return {"name": column.name, "head": head, "unit": unit, "meaning": column.meaning}


def _kind(column: Column) -> str:
    if column.dtype.startswith("datetime"):
        return "time"
    return {"boolean": "flag", "float64": "number", "Int64": "number"}.get(column.dtype, "text")


def numbers(values: pd.Series) -> pd.Series:
    """As 64 bit floats; what is absent or no number is NaN."""
    import pandas as pd

    return pd.to_numeric(values, errors="coerce").astype("float64")


def _number(column: Column, values: pd.Series) -> dict[str, Any]:
    array = numbers(values).to_numpy()
    data = _buffer(array, _integer_type(array) if column.dtype == "Int64" else "f4")
    return {**data, "format": _format(column.form)}


def _format(form: str) -> dict[str, Any]:
    digits = 3 if form == "usd" else int(form[-2]) if form.endswith("f") else 0
    return _FORMS.get(form, {"minimumFractionDigits": digits, "maximumFractionDigits": digits})


def _integer_type(array: np.ndarray[Any, Any]) -> str:
    """The smallest that holds all of `array` exactly; where a value is absent that is a float."""
    if not len(array) or array.min() >= 0:  # false for NaN
        top = array.max() if len(array) else 0
        return next((name for name, below in _LARGEST_INTEGER.items() if top < below), "f8")
    return "f8"


def _flag(_: Column, values: pd.Series) -> dict[str, Any]:
    """0 no, 1 yes, 2 not known."""
    return _buffer(values.astype("boolean").astype("Int64").fillna(2).to_numpy(), "u1")


def _time(_: Column, values: pd.Series) -> dict[str, Any]:
    """Seconds since 1970."""
    import pandas as pd

    times = pd.to_datetime(values, utc=True)
    return _buffer((times - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(), "f8")


def _text(_: Column, values: pd.Series) -> dict[str, Any]:
    """Numbers of words; 0 is not known."""
    codes, words = values.astype("str").factorize()
    short = [plain(str(word), _LONGEST_WORD) for word in words]
    return {**_buffer(codes + 1, _integer_type(codes + 1)), "words": [None, *short]}


def _buffer(array: np.ndarray[Any, Any], kind: str) -> dict[str, Any]:
    return {"type": kind, "data": array.astype(f"<{kind}").tobytes()}


_PACKERS = {"number": _number, "flag": _flag, "time": _time, "text": _text}
