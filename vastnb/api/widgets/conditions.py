"""The query of a selector as its controls show it, and which rows of a frame meet it. Pure.

The text of the query is the truth. `read` says what of it the controls can show; what they cannot show is kept as written (`rest`).
The other way, from controls to text, is the front end's (`front/selector.js`): it happens while somebody types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vastnb.api.commands import COMMANDS, parser_for, split_line
from vastnb.api.widgets.packing import numbers
from vastnb.errors import CommandError
from vastnb.vast.query import Query, kept_rows, parse_query
from vastnb.vast.query.scan import Clause, scan
from vastnb.vast.query.values import to_wire
from vastnb.vast.types import FIELDS, OFFERS, Column, asked_as

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONTROLS", "Control", "Shown", "meeting", "options_of", "read", "unanswerable"]

_SIGNS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<", "eq": "="}
_LOW, _HIGH = frozenset({">=", ">", "="}), frozenset({"<=", "<", "="})
_ANY = frozenset({"any", "*", "?"})
_BEFORE = re.compile(r"^.*?(?:%+vast|vastnb)\s+search\s*")
"""What a line of a notebook or a shell has before the query."""
_USED = frozenset({"query", "rental", "storage"})
_STANDS_FOR = {"verified": "verification", "datacenter": "hosting_type", "ubuntu_version": "os_version"}
"""Filter fields that are read off another field of the answer."""


@dataclass(frozen=True, slots=True)
class Control:
    """One filter on the screen."""

    column: str
    label: str
    kind: Literal["choice", "range", "flag"]
    ask: str
    """How the front end writes it in the query."""
    unit: str = ""
    ends: tuple[Literal["low", "high"], ...] = ()
    """For a range: which ends have a field."""
    scale: float = 1.0
    """The column's number times this is what the field shows."""
    step: float | str = "any"
    hint: str = ""


CONTROLS: tuple[Control, ...] = (
    Control("gpu_name", "GPU", "choice", "gpu_name", hint="models, with the offers that fit and their price for one GPU"),
    Control("num_gpus", "GPUs", "range", "num_gpus", "", ("low", "high"), step=1, hint="how many GPUs the offer has"),
    Control("gpu_ram_gb", "VRAM", "range", "gpu_ram", "GB", ("low",), hint="memory of one GPU, at least"),
    Control("usd_per_hour", "Price", "range", "dph", "$/h", ("high",), hint="GPUs and disk together, at most"),
    Control("reliability", "Reliability", "range", "reliability", "%", ("low",), scale=100, hint="at least"),
    Control("inet_down_mbps", "Download", "range", "inet_down", "Mbit/s", ("low",), hint="speed to the machine, at least"),
    Control("country", "Country", "choice", "geolocation", hint="countries, with the offers that fit"),
    Control("datacenter", "Data centre", "flag", "datacenter", hint="only machines in a data centre"),
    Control("disk_max_gb", "Disk", "range", "disk_space", "GB"),
)  # fmt: skip
"""The filters, in the order of the screen; the last has no field of its own, it goes with the disk that is asked for."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the controls show of a query."""

    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Column -> sign -> value: ``{"num_gpus": {">=": 2}, "gpu_name": {"in": ["RTX 4090"]}, "datacenter": {"=": True}}``."""
    rest: str = ""
    """The conditions that no control can show, as written."""

    def to_json(self) -> dict[str, Any]:
        """JSON-safe, for the front end."""
        return asdict(self)


def read(text: str) -> Shown:
    """What the controls show of the query `text`.

    Raises
    ------
    QueryError
        It is no query.
    """
    parse_query(text)
    clauses = list(scan(text))
    regions = any(clause.name.lower() == "georegion" for clause in clauses)
    shown, rest = Shown(), []
    for clause in clauses:
        control, column = _control(clause)
        plain = control is not None and not (regions and control.column == "country")
        if not plain or not _taken(shown.state, control, column, clause):
            rest.append(" ".join(text[clause.start : clause.end].split()).rstrip(",&"))
    return Shown(shown.state, " ".join(rest))


def options_of(line: str) -> dict[str, Any]:
    """What stands behind ``%vast search``: the query, ``rental`` and ``disk_gb``.

    Raises
    ------
    CommandError
        An option that no command has, or that a selector has no use for.
    """
    parser = parser_for(COMMANDS["search"])
    said = vars(parser.parse_intermixed_args(split_line(_BEFORE.sub("", line))))
    unused = [name for name, value in vars(parser.parse_args([])).items() if name not in _USED and said[name] != value]
    if unused:
        raise CommandError(
            f"a selector has no use for {unused[0].replace('_', '-')}", hint="conditions, --type and --storage go here"
        )
    return {"query": " ".join(said["query"]), "rental": said["rental"], "disk_gb": said["storage"]}


def _control(clause: Clause) -> tuple[Any, Any]:
    """The control that shows conditions on this field, and its column."""
    names = asked_as()
    column = names.get(clause.name) or names.get(clause.name.lower())
    if column is None or clause.name.lower() == "gpu_ram_nominal_gb":  # sizes as printed: not what the control compares
        return None, None
    return next((c for c in CONTROLS if c.column == column.name), None), column


def _taken(state: dict[str, dict[str, Any]], control: Control, column: Column, clause: Clause) -> bool:
    """Whether `control` can show the condition; then it is in `state`."""
    if clause.operator == "eq" and clause.values[0].lower() in _ANY:
        state.pop(control.column, None)
        return True
    values = [_value(column, text) for text in clause.values]
    if control.kind == "range":
        return None not in values and _taken_bound(state, control, clause.operator, values[0])
    wanted = {"in": values} if control.kind == "choice" else {"=": values[0]}
    right = clause.operator in ("eq", "in") and None not in values and values != [False]
    if right:
        right = state.setdefault(control.column, wanted) is wanted
    return right


def _taken_bound(state: dict[str, dict[str, Any]], control: Control, operator: str, value: Any) -> bool:
    """One bound a side: a second one stays text, and both hold. ``gpu_ram=24`` means a printed size, which is no bound."""
    sign = _SIGNS.get(operator)
    present = set(state.get(control.column, ()))
    sides = [side for side in (_LOW, _HIGH) if sign in side]
    if sign is None or any(present & side for side in sides) or (sign == "=" and control.column != "num_gpus"):
        return False
    state.setdefault(control.column, {})[sign] = value
    return True


def _value(column: Column, text: str) -> Any:
    value = to_wire(column, text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(f"{value * column.factor:.12g}")


class _Wire(Mapping[str, Sequence[Any]]):
    """A frame of ours as columns of wire values, each made when it is looked at: queries are judged in wire units."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._sources = {c.source: c for c in (*OFFERS, *FIELDS) if c.source and c.name in frame.columns}
        for source, name in (("geolocation", "country"), ("hosting_type", "datacenter")):
            if name in frame.columns:
                self._sources[source] = next(c for c in OFFERS if c.name == name)

    def __getitem__(self, source: str) -> Sequence[Any]:
        column = self._sources[source]
        series = self._frame[column.name]
        if column.dtype in ("float64", "Int64"):
            series = (numbers(series) / column.factor).round(6)
        values: list[Any] = series.astype(object).where(series.notna(), None).tolist()
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def meeting(frame: pd.DataFrame, text: str) -> list[bool]:
    """For each row of `frame`, whether it meets the query. What is not known meets no condition, as on the market.

    Raises
    ------
    QueryError
        It is no query.
    """
    query, wire = parse_query(text, defaults=False), _Wire(frame)
    met = kept_rows(query, wire, len(frame)).rows
    for source in _asked_of(query):
        if source in wire:
            met = [meets and value is not None for meets, value in zip(met, wire[source], strict=True)]
    return met


def _asked_of(query: Query) -> dict[str, str]:
    """The fields of the answer that a query looks at, and the words that do; one that asks for the unknown is left out."""
    unknown = {name for name, operators in query.filters.items() if None in operators.values()}
    return {_STANDS_FOR.get(name, name): words for name, words in query.written.items() if name not in unknown}


def unanswerable(frame: pd.DataFrame, text: str) -> list[str]:
    """The conditions of a query for which `frame` has no column."""
    wire = _Wire(frame)
    return [words for source, words in _asked_of(parse_query(text, defaults=False)).items() if source not in wire]
