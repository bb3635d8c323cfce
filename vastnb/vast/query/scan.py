"""The text of a query cut into conditions, each with its place. Knows the grammar, not the fields.

::

    query     = condition*          (blanks, commas, "and" and "&" between them mean nothing)
    condition = name op value
    op        = "=" "==" "!=" "<" "<=" ">" ">=" in notin nin eq neq gt gte lt lte "not in" "not eq"
    value     = "[" item ("," item)* "]" | "'...'" | '"..."' | characters without blanks
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vastnb.errors import QueryError

__all__ = ["OPERATORS", "Clause", "scan"]

OPERATORS: dict[str, str] = {
    "=": "eq", "==": "eq", "eq": "eq",
    "!=": "neq", "neq": "neq", "not eq": "neq", "noteq": "neq",
    ">": "gt", "gt": "gt", ">=": "gte", "gte": "gte",
    "<": "lt", "lt": "lt", "<=": "lte", "lte": "lte",
    "in": "in", "notin": "notin", "not in": "notin", "nin": "notin",
}  # fmt: skip
"""Every operator as written, and as it goes on the wire."""

_BETWEEN = re.compile(r"(?:\s|,|&|\band\b(?!\s*[=!<>]))+", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*")
_OPERATOR = re.compile(
    r"\s*([=<>!]+|(?:not\s+in|not\s+eq|noteq|notin|nin|neq|eq|gte?|lte?|in)(?=[\s\[]))\s*", re.IGNORECASE
)
_BARE = re.compile(r"[^\s,]+(?:,(?![A-Za-z_]\w*\s*[=<>!])[^\s,]*)*")
_QUOTES = "\"'"


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition as written."""

    name: str
    operator: str
    """As it goes on the wire."""
    values: tuple[str, ...]
    many: bool
    start: int
    value_at: int
    end: int


def scan(text: str) -> Iterator[Clause]:
    """The conditions of `text`, in order.

    Raises
    ------
    QueryError
        With the place, at the first thing that is not a condition.
    """
    at = _skip(text, 0)
    while at < len(text):
        clause = _clause(text, at)
        yield clause
        at = _skip(text, clause.end)


def _skip(text: str, at: int) -> int:
    between = _BETWEEN.match(text, at)
    return between.end() if between else at


def _clause(text: str, at: int) -> Clause:
    name = _NAME.match(text, at)
    if name is None:
        raise QueryError("expected the name of a field", text=text, position=at, hint=_loose_value_hint(text, at))
    found = _OPERATOR.match(text, name.end())
    if found is None:
        raise _no_operator(text, name)
    operator = OPERATORS.get(" ".join(found[1].lower().split()))
    if operator is None:
        raise QueryError(
            f"no such operator: {found[1]}",
            text=text,
            position=found.start(1),
            hint="there are: = != < <= > >= in notin",
        )
    many = operator in ("in", "notin")
    values, end = _values(text, found.end(), many=many)
    return Clause(name[0], operator, values, many, at, found.end(), end)


def _no_operator(text: str, name: re.Match[str]) -> QueryError:
    rest = text[name.end() :].strip()
    hint = "write a condition such as num_gpus>=2"
    if name.start() > 0 and not rest.startswith(tuple("=<>!")):
        hint = 'a value with blanks needs quotes or underscores: gpu_name="RTX 4090" or gpu_name=RTX_4090'
    return QueryError(f"expected an operator after {name[0]}", text=text, position=name.end(), hint=hint)


def _loose_value_hint(text: str, at: int) -> str | None:
    if text[at : at + 1] in _QUOTES:
        return 'one condition is name, operator, value: gpu_name="RTX 4090"'
    return 'a value with blanks needs quotes or underscores: gpu_name="RTX 4090" or gpu_name=RTX_4090'


def _values(text: str, at: int, *, many: bool) -> tuple[tuple[str, ...], int]:
    if at >= len(text):
        raise QueryError("expected a value", text=text, position=at)
    if text[at] == "[":
        return _list(text, at)
    if text[at] in _QUOTES:
        value, end = _quoted(text, at)
        return (value,), end
    bare = _BARE.match(text, at)
    if bare is None:
        raise QueryError("expected a value", text=text, position=at)
    word = bare[0].rstrip(",") or bare[0]
    items = tuple(item for item in word.split(",") if item) if many else (word,)
    return items, at + len(bare[0])


def _list(text: str, at: int) -> tuple[tuple[str, ...], int]:
    items: list[str] = []
    place = at + 1
    while True:
        place += len(text[place:]) - len(text[place:].lstrip(" \t\n,"))
        if place >= len(text):
            raise QueryError("the bracket is not closed", text=text, position=at)
        if text[place] == "]":
            break
        item, place = _item(text, place)
        items.append(item)
    if not items:
        raise QueryError("the list is empty", text=text, position=at)
    return tuple(items), place + 1


def _item(text: str, at: int) -> tuple[str, int]:
    if text[at] in _QUOTES:
        return _quoted(text, at)
    end = next((place for place in range(at, len(text)) if text[place] in ",]"), len(text))
    return text[at:end].strip(), end


def _quoted(text: str, at: int) -> tuple[str, int]:
    end = text.find(text[at], at + 1)
    if end < 0:
        raise QueryError("the quote is not closed", text=text, position=at)
    value = text[at + 1 : end]
    if not value.strip():
        raise QueryError("the value is empty", text=text, position=at)
    return value, end + 1
