"""One value of a query, as written, into what goes on the wire. Pure; raises `ValueError` with the reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from vastnb.vast.query.names import COUNTRY_NAMES, country_code, gpu_canonical
from vastnb.vast.types.columns import Ask, Column

__all__ = ["Wire", "seconds_of", "to_wire", "version_number"]

Wire = float | int | bool | str | None
_NUMBER = re.compile(r"\$?\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%$/]*)")
_UNITS: dict[str, dict[str, float]] = {
    "memory": {"": 1, "mb": 1e-3, "gb": 1, "tb": 1e3, "mib": 1e-3, "gib": 1, "tib": 1e3, "m": 1e-3, "g": 1, "t": 1e3},
    "disk": {"": 1, "mb": 1e-3, "gb": 1, "tb": 1e3, "mib": 1e-3, "gib": 1, "tib": 1e3, "m": 1e-3, "g": 1, "t": 1e3},
    "time": {
        "": 1, "s": 1 / 86400, "min": 1 / 1440, "h": 1 / 24, "hour": 1 / 24, "hours": 1 / 24, "d": 1, "day": 1, "days": 1,
        "w": 7, "week": 7, "weeks": 7, "month": 30, "months": 30, "year": 365, "years": 365,
    },
    "speed": {"": 1, "kbps": 1e-3, "mbps": 1, "gbps": 1e3, "mbit": 1, "gbit": 1e3, "mbit/s": 1, "gbit/s": 1e3, "mb/s": 8},
    "money": {"": 1, "$": 1, "usd": 1, "$/h": 1, "usd/h": 1, "$/hr": 1, "/h": 1, "/hr": 1, "/hour": 1},
    "share": {"": 1, "%": 0.01},
    "": {"": 1},
}  # fmt: skip
"""A GiB is a GB here: Vast calls 24,564 MiB 24.564 GB, and who writes 24GiB means that card."""
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NULL = frozenset({"None", "none", "null"})
_CUDA_SCALE_BELOW = 20
_LARGEST_EXACT = 2**53


def to_wire(column: Column, text: str) -> Wire:
    """What `text` means for `column`, in the wire's unit.

    Raises
    ------
    ValueError
        It means nothing there; the message says what would.
    """
    ask = column.ask
    if ask is None:
        raise ValueError("the service cannot filter by it")
    if text in _NULL:
        return None
    reader = _READERS.get(ask.kind)
    return reader(text) if reader is not None else _number(column.name, ask, text)


def seconds_of(text: str) -> float:
    """A time as written (``30min``, ``2h``, ``3days``; a bare number is seconds) in seconds.

    Raises
    ------
    ValueError
        It is no time.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        return float(text)
    return float(_number("", Ask("", factor=86400, unit="time"), text))


def version_number(text: str) -> int:
    """A driver version as the service compares it: 535.86.05 is 535086005; missing parts count as 0."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 3 or not all(part.isdigit() and len(part) <= 9 for part in parts):
        raise ValueError("expected a version like 535.86.05")
    if len(parts) == 1 and int(parts[0]) >= 1_000_000:
        return int(parts[0])
    major, minor, patch = (*(int(part) for part in parts), 0, 0)[:3]
    return major * 1_000_000 + minor * 1000 + patch


def _number(name: str, ask: Ask, text: str) -> float | int:
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a number{_with_unit(ask.unit)}")
    units = _UNITS[ask.unit]
    unit = found[2].lower()
    if unit not in units:
        known = ", ".join(u for u in units if u) or "none"
        raise ValueError(f"no unit {found[2]!r} here; known: {known}")
    if "$" in text and ask.unit != "money":
        raise ValueError("it is not an amount of money")
    value = float(found[1].replace("_", "")) * units[unit] * ask.factor
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    if unit or ask.factor != 1:
        value = float(f"{value:.12g}")  # 57% is 0.57, not 0.5700000000000001
    if name == "compute_cap" and value < _CUDA_SCALE_BELOW:
        value = round(value * 100, 6)
    return _whole(value, exact=ask.kind in ("integer", "offer"))


def _whole(value: float, *, exact: bool) -> float | int:
    if value.is_integer() and abs(value) < _LARGEST_EXACT:
        return int(value)
    if exact:
        raise ValueError("expected a whole number")
    return value


def _with_unit(unit: str) -> str:
    examples = {
        "memory": "24 or 24GB",
        "disk": "100 or 1TB",
        "time": "days, 3days or 12h",
        "speed": "500 or 1Gbps",
        "money": "0.5 or $0.5",
        "share": "0.98 or 98%",
    }
    return f" ({examples[unit]})" if unit in examples else ""


def _flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("expected true or false")


def _country(text: str) -> str:
    code = country_code(text)
    if code is None:
        named = COUNTRY_NAMES.get(text.lower())
        raise ValueError("expected a two-letter country code" + (f": {text} is {named}" if named else " such as US"))
    return code


def _words(text: str) -> str:
    words = text.replace("_", " ").strip()
    if not words:
        raise ValueError("the value is empty")
    return words


_READERS: dict[str, Callable[[str], Wire]] = {
    "flag": lambda text: _flag(_words(text)),
    "country": lambda text: _country(_words(text)),
    "gpu": lambda text: gpu_canonical(_words(text)) or _words(text),
    "version": version_number,
    "text": _words,
}
