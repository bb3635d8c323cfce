"""The text of a query cut into conditions, each with its place. Knows the grammar, not the fields.

::

    query     = condition*          (blanks, commas, "and" and "&" between them mean nothing)
    condition = name op value
    op        = "=" "==" "!=" "<" "<=" ">" ">=" in notin nin eq neq gt gte lt lte "not in" "not eq"
    value     = "[" item ("," item)* "]" | "'...'" | '"..."' | characters without blanks and without = < >

A list goes with in and notin; with the others it may hold one value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vastnb.errors import QueryError
from vastnb.vast.query.names import gpu_canonical

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
    r"\s*([=<>!]+|(?:not\s+in|not\s+eq|noteq|notin|nin|neq|eq|gte?|lte?|in)(?=[\s\[\"']|$))\s*", re.IGNORECASE
)
_BARE = re.compile(r"[^\s,](?:(?![,&][A-Za-z_]\w*\s*[=<>!])\S)*")
"""Up to a blank, or to a comma or & behind which the next condition begins."""
_COMMAS = re.compile(r"[\s,]*")
_BLANKS = re.compile(r"\s*")
_ITEM = re.compile(r"[^,\]]+")
_COMPARISON = re.compile(r"[=<>]")
_QUOTES = "\"'"
_MEANT = {"=>": ">=", "=<": "<=", "<>": "!=", "=!": "!=", "!": "!=", "!==": "!=", "===": "=="}
"""What a sign that is no operator stands for elsewhere."""


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
        raise _unknown_operator(text, found)
    many = operator in ("in", "notin")
    values, end = _values(text, found.end(), many=many)
    if len(values) > 1 and not many:
        raise _one_value(text, name[0], found, end)
    return Clause(name[0], operator, values, many, at, found.end(), end)


def _unknown_operator(text: str, found: re.Match[str]) -> QueryError:
    message, at = f"no such operator: {found[1]}", found.start(1)
    if found[1] in _MEANT:
        return QueryError(message, text=text, position=at, suggestion=_MEANT[found[1]])
    return QueryError(message, text=text, position=at, hint="there are: = != < <= > >= in notin")


def _one_value(text: str, name: str, operator: re.Match[str], end: int) -> QueryError:
    at = operator.end()
    message = f"{operator[1]} takes one value, not a list"
    word = {"eq": "in", "neq": "notin"}.get(OPERATORS[" ".join(operator[1].lower().split())])
    if word is None:
        return QueryError(message, text=text, position=at, hint="a list goes with in or notin")
    return QueryError(message, text=text, position=at, suggestion=f"{name} {word} {text[at:end]}")


def _no_operator(text: str, name: re.Match[str]) -> QueryError:
    rest = text[name.end() : name.end() + 20].strip()
    hint = "write a condition such as num_gpus>=2"
    gpu = gpu_canonical(name[0]) or gpu_canonical(text[name.start() :])
    if gpu is not None:
        hint = f'did you mean gpu_name="{gpu}"?'
    elif name[0].lower() == "or":
        hint = "all conditions must hold; for one of several values: gpu_name in [RTX_4090,RTX_3090]"
    elif name.start() > 0 and not rest.startswith(tuple("=<>!")):
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
    _refuse_comparison(text, at, bare[0])
    word = bare[0].rstrip(",&") or bare[0]
    items = tuple(item for item in word.split(",") if item) if many else (word,)
    return items, at + len(bare[0])


def _refuse_comparison(text: str, at: int, value: str) -> None:
    """Two conditions without a blank between them would otherwise be one with an odd value, which no offer meets."""
    found = _COMPARISON.search(value)
    if found is not None:
        raise QueryError(
            f"unexpected {found[0]} in a value",
            text=text,
            position=at + found.start(),
            hint="put blanks between conditions, and quotes around a value that holds = < or >",
        )


def _list(text: str, at: int) -> tuple[tuple[str, ...], int]:
    items: list[str] = []
    place = _end(_COMMAS, text, at + 1)
    while place < len(text) and text[place] != "]":
        item, place = _item(text, place)
        items.append(item)
        place = _end(_COMMAS, text, place)
    if place >= len(text):
        raise QueryError("the bracket is not closed", text=text, position=at)
    if not items:
        raise QueryError("the list is empty", text=text, position=at)
    return tuple(items), place + 1


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a match of `pattern`, which may be empty, ends."""
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _item(text: str, at: int) -> tuple[str, int]:
    if text[at] in _QUOTES:
        value, end = _quoted(text, at)
        end = _end(_BLANKS, text, end)
        if text[end : end + 1] not in (",", "]", ""):
            raise QueryError("expected , or ] after a quoted value", text=text, position=end)
        return value, end
    end = _end(_ITEM, text, at)
    _refuse_comparison(text, at, text[at:end])
    return text[at:end].strip(), end


def _quoted(text: str, at: int) -> tuple[str, int]:
    end = text.find(text[at], at + 1)
    if end < 0:
        raise QueryError("the quote is not closed", text=text, position=at)
    value = text[at + 1 : end]
    if not value.strip():
        raise QueryError("the value is empty", text=text, position=at)
    return value, end + 1
