"""Sizes of GPU memory: what a maker prints on the box for what a driver reports."""

from __future__ import annotations

import math

__all__ = ["nominal_gb", "nominal_range_mb"]

_SIZES_GB = (1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 22, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 256, 288)
_SLACK = 0.02
"""Drivers may report a few MB more than the size."""
_USABLE = 0.925
"""The least part of a printed size that a driver leaves: 44.99 of 48, 22.49 of 24."""


def nominal_gb(mb: float) -> float:
    """The size a maker prints on the box for `mb` of usable memory: 24 for 24,564 MB and for 23,028 MB."""
    gib = mb / 1024
    size = next((s for s in _SIZES_GB if s >= gib - _SLACK), None)
    return float(size) if size is not None and gib >= _USABLE * size else float(round(gib))


def nominal_range_mb(size_gb: float) -> tuple[int, int]:
    """The least and the most usable memory, in MB, that `nominal_gb` may call `size_gb`."""
    smaller = max((s for s in _SIZES_GB if s < size_gb), default=0)
    low = max((smaller + _SLACK) * 1024, _USABLE * size_gb * 1024) if size_gb in _SIZES_GB else math.inf
    return math.floor(min(low, (size_gb - 0.5) * 1024)), math.ceil((size_gb + 0.5) * 1024)
