"""Several conditions on one field: what they mean together, and whether any value can meet them all. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ORDERED", "TESTS", "contradicts", "tighten"]

ORDERED = frozenset({"gt", "gte", "lt", "lte"})
"""Operators that need an order."""

TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, allowed: value in allowed,
    "notin": lambda value, refused: value not in refused,
}
"""What each operator of the wire means."""


def tighten(present: dict[str, Any], word: str, value: Any) -> None:
    """Add one more condition to `present`, in place: both must hold."""
    if word not in present:
        present[word] = value
    elif word in ("gt", "gte"):
        present[word] = max(present[word], value)
    elif word in ("lt", "lte"):
        present[word] = min(present[word], value)
    elif word == "in":
        present["in"] = [v for v in present["in"] if v in value]
    elif word == "notin":
        present["notin"] = list(dict.fromkeys([*present["notin"], *value]))
    elif present[word] != value:
        _another(present, word, value)


def _another(present: dict[str, Any], word: str, value: Any) -> None:
    if word == "eq":
        present["in"] = []
    else:
        first = present.pop("neq")
        tighten(present, "notin", [first, value])


def contradicts(present: Mapping[str, Any]) -> bool:
    """Whether no value can meet all of `present`."""
    lows = [present[word] for word in ("gt", "gte") if word in present]
    highs = [present[word] for word in ("lt", "lte") if word in present]
    if lows and highs and max(lows) > min(highs):
        return True
    point = [max(lows)] if lows and highs and max(lows) == min(highs) else None
    allowed = present.get("in", [present["eq"]] if "eq" in present else point)
    if allowed is not None:
        return not any(_passes(value, present) for value in allowed)
    refused = [*present.get("notin", []), *([present["neq"]] if "neq" in present else [])]
    return {value for value in refused if isinstance(value, bool)} == {True, False}


def _passes(value: Any, present: Mapping[str, Any]) -> bool:
    return all(TESTS[word](value, bound) for word, bound in present.items() if value is not None or word not in ORDERED)
