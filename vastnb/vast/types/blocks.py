"""Arrays of the wire -> a frame: all numbers in one block, converted from wire units into ours in one go.

Given arrays, pandas would look at each of a hundred columns and copy it; for 64 offers that takes longer than to read them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import internals  # type: ignore[attr-defined]

from vastnb.vast.types.columns import Column

__all__ = ["Made", "assembled"]

_LARGEST = sys.float_info.max

Made = dict[str, tuple[Any, Column | None]]
"""Arrays in wire units by the name of their column, and what the column table says of it, if it knows it."""


def assembled(made: Made, count: int) -> pd.DataFrame:
    """`made` as a frame of `count` rows, in its order; what is impossible is NA."""
    blocks, numbers = [], list[int]()
    for place, (array, _) in enumerate(made.values()):
        if isinstance(array, np.ndarray) and array.dtype == np.float64:
            numbers.append(place)
        else:
            blocks.append((array.reshape(1, -1) if isinstance(array, np.ndarray) else array, np.array([place])))
    if numbers:
        every = list(made.values())
        blocks.append((_measures([every[place] for place in numbers]), np.array(numbers)))
    frame: pd.DataFrame = internals.create_dataframe_from_blocks(blocks, pd.RangeIndex(count), pd.Index(list(made)))
    return frame


def _measures(made: Sequence[tuple[Any, Column | None]]) -> Any:
    """Numbers of all columns in one array, in our units: one row a column, as pandas has its blocks."""
    block = np.array([array for array, _ in made])
    columns = [column for _, column in made]
    factors = [1.0 if column is None else column.factor for column in columns]
    block *= _upright(f if f >= 1 else 1.0 for f in factors)
    # 24564 / 1000 is 24.564, and 24564 * 0.001 is not.
    block /= _upright(1.0 if f >= 1 else round(1 / f) for f in factors)
    lows = _upright(-math.inf if c is None else -_LARGEST if c.low is None else c.low for c in columns)
    highs = _upright(math.inf if c is None else _LARGEST if c.high is None else c.high for c in columns)
    possible = (block >= lows) & (block <= highs)
    if not possible.all():
        block[~possible] = np.nan
    return block


def _upright(values: Iterable[float]) -> Any:
    return np.array([*values], np.float64)[:, None]
