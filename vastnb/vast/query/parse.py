"""Text -> `Query` -> the body that is sent. Pure: nothing here asks anybody.

The language is the official client's and more; `docs/query-differences.md` lists where the two differ and why. The order of work:

1. `scan` cuts the text into clauses.
2. Each clause becomes filters on the wire, and where the wire cannot say it, a `Residual` that is applied to the answer.
3. Filters on one field are joined (all must hold); what cannot hold is refused here.
4. Defaults fill in what was not said.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from vastnb.errors import QueryError
from vastnb.vast.query.joined import ORDERED, contradicts, tighten
from vastnb.vast.query.names import REGIONS, gpu_canonical, gpu_suggestions, region_codes
from vastnb.vast.query.options import (
    DEFAULT_DISK_GB,
    DEFAULT_ORDER,
    UNFILTERED,
    Order,
    Rental,
    disk_of,
    limit_of,
    order_of,
    rental_of,
)
from vastnb.vast.query.scan import Clause, scan
from vastnb.vast.query.values import Wire, to_wire
from vastnb.vast.types.columns import Column, asked_as
from vastnb.vast.types.sizes import nominal_range_mb

__all__ = ["Filters", "Query", "Residual", "parse_filters", "parse_query"]

_DEFAULTS: dict[str, dict[str, Any]] = {"verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}}
_REPLACES = {"verification": "verified"}
"""A condition on the key makes the default on the value meaningless."""
_ANY = frozenset({"any", "*", "?"})
_SORTED_KINDS = frozenset({"number", "integer", "offer", "version"})
_SORTED_TEXTS = frozenset({"ubuntu_version"})
"""Two digits on each side of the point: their order as text is their order in time."""
Filters = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Residual:
    """A condition that the wire cannot say: on `nominal` sizes in GB, or on the own share of a machine's memory."""

    what: Literal["gpu_ram", "gpu_total_ram", "cpu_ram_gb"]
    operator: str
    values: tuple[float, ...]
    text: str

    @property
    def field(self) -> str:
        """The filter field that comes nearest to it."""
        return "cpu_ram" if self.what == "cpu_ram_gb" else self.what


@dataclass(frozen=True, slots=True)
class Query:
    """A search, checked and complete: what will be sent, and what will be checked again when the answer is here."""

    text: str
    filters: Filters
    written: Mapping[str, str]
    """Each filtered field that the user wrote, and the words for it."""
    rental: Rental = "on-demand"
    disk_gb: float = DEFAULT_DISK_GB
    order: Order = (("dph_total", "asc"),)
    limit: int | None = None
    residuals: tuple[Residual, ...] = ()
    notes: tuple[str, ...] = ()

    def to_api(self) -> dict[str, Any]:
        """The body of ``POST /api/v0/bundles/``: filters at the top level, then order, type, storage and limit.

        Returns
        -------
        dict
            JSON-ready. Memory in MB, durations in seconds, as the wire has them.
        """
        body: dict[str, Any] = copy.deepcopy(self.filters)
        body["order"] = [list(pair) for pair in self.order]
        body["type"] = self.rental
        body["allocated_storage"] = self.disk_gb
        if self.limit is not None:
            body["limit"] = self.limit
        return body


@dataclass
class _Draft:
    text: str
    filters: Filters = field(default_factory=dict)
    written: dict[str, list[str]] = field(default_factory=dict)
    residuals: list[Residual] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped_defaults: set[str] = field(default_factory=set)


def parse_query(
    text: str = "",
    *,
    rental: str = "on-demand",
    disk_gb: float = DEFAULT_DISK_GB,
    order: str = DEFAULT_ORDER,
    limit: int | None = None,
    defaults: bool = True,
) -> Query:
    """Read a search as written.

    Parameters
    ----------
    text
        Conditions such as ``gpu_name=RTX_4090 num_gpus>=2 gpu_ram>=24 dph<0.5 geolocation in [US,CA]``. All must hold. Empty
        means the defaults alone.
    rental
        ``on-demand``, ``bid`` (interruptible) or ``reserved``: what the prices are for.
    disk_gb
        Disk that the prices include, in GB, 0 to 100,000 (a rental needs at least 8).
    order
        Columns to sort by, with ``-`` before or after a name for descending: ``"dlperf_per_usd-,usd_per_hour"``.
    limit
        At most so many offers; None means all.
    defaults
        Whether verified, rentable and not external are assumed where not said otherwise.

    Returns
    -------
    Query
        ``.to_api()`` is the body that is sent.

    Raises
    ------
    QueryError
        With a caret under the place and, where there is one, the nearest thing that would be right.

    Examples
    --------
    >>> import vastnb
    >>> vastnb.parse_query("gpu_ram>=24GB dph<$0.5").to_api()["gpu_ram"]
    {'gte': 24000}
    """
    draft = _Draft(text)
    names = asked_as()
    clauses = list(scan(text))
    as_region = _wants_regions(text, clauses)
    for clause in clauses:
        _add(draft, clause, names, as_region=as_region)
    if defaults:
        for name, operators in _DEFAULTS.items():
            if name not in draft.filters and name not in draft.dropped_defaults:
                draft.filters[name] = dict(operators)
    return Query(
        text=text.strip(),
        filters={name: draft.filters[name] for name in _wire_order(draft.filters)},
        written={name: " ".join(words) for name, words in draft.written.items()},
        rental=rental_of(rental),
        disk_gb=disk_of(disk_gb),
        order=order_of(order, names),
        limit=limit_of(limit),
        residuals=tuple(draft.residuals),
        notes=tuple(draft.notes),
    )


def parse_filters(text: str, columns: Sequence[Column]) -> Filters:
    """Conditions on something other than offers, as filters on the wire.

    Parameters
    ----------
    text
        As for `parse_query`; empty means no condition.
    columns
        What can be asked for.

    Raises
    ------
    QueryError
        As `parse_query`.
    """
    draft, names = _Draft(text), asked_as(columns)
    for clause in scan(text):
        if clause.name.lower() in ("verified", "region") and "verification" in names:
            _add(draft, clause, names, as_region=False)
            continue
        column = _column(text, clause, names, hint=f"there are: {', '.join(names)}")
        if column.ask is not None:
            _add_plain(draft, clause, column.ask.field, column)
    return draft.filters


def _wire_order(filters: Filters) -> list[str]:
    return [*(n for n in filters if n in _DEFAULTS), *(n for n in filters if n not in _DEFAULTS)]


def _wants_regions(text: str, clauses: list[Clause]) -> bool:
    """The official SDK's ``georegion=true``: then ``geolocation=EU`` is a region."""
    said = [c for c in clauses if c.name.lower() == "georegion"]
    for clause in said:
        if clause.operator != "eq" or clause.values[0].lower() not in ("true", "false"):
            raise QueryError("georegion is true or false", text=text, position=clause.value_at)
    return any(c.values[0].lower() == "true" for c in said)


def _add(draft: _Draft, clause: Clause, names: dict[str, Column], *, as_region: bool) -> None:
    name = clause.name.lower()
    if name == "georegion":
        return
    if name == "region" or (as_region and name == "geolocation" and region_codes(clause.values[0])):
        _add_region(draft, clause)
    elif name == "cpu_ram_gb":
        _add_share(draft, clause, names["cpu_ram"])
    elif name == "verified":
        _add_plain(draft, clause, "verified", names["static_ip"])
    else:
        column = _column(draft.text, clause, names)
        if column.ask is not None:
            _add_plain(draft, clause, column.ask.field, column)


def _column(text: str, clause: Clause, names: dict[str, Column], hint: str = "%vast fields lists them all") -> Column:
    column = names.get(clause.name) or names.get(clause.name.lower())
    if column is not None:
        return column
    if clause.name.lower() in UNFILTERED:
        raise QueryError(
            f"the service cannot filter by {clause.name}",
            text=text,
            position=clause.start,
            hint=f"search first, then df[df.{clause.name.lower()} ...]",
        )
    known = [*names, "verified", "region", "cpu_ram_gb"]
    near = difflib.get_close_matches(clause.name.lower(), known, 1, 0.6)
    raise QueryError(
        f"no such field: {clause.name}",
        text=text,
        position=clause.start,
        suggestion=near[0] if near else None,
        **({} if near else {"hint": hint}),
    )


def _add_plain(draft: _Draft, clause: Clause, field_name: str, column: Column) -> None:
    if _is_any(clause):
        _clear(draft, clause, field_name)
        return
    _check_operator(draft.text, clause, column)
    values = [_value(draft.text, clause, column, text) for text in clause.values]
    if column.name == "gpu_name":
        _check_gpus(draft, clause, values)
    if (
        column.ask is not None
        and column.ask.unit == "share"
        and any(isinstance(v, (int, float)) and v > 1 for v in values)
    ):
        draft.notes.append(f"{clause.name} is a share from 0 to 1: did you mean {clause.values[0]}%?")
    if column.name == "num_gpus" and clause.operator == "eq" and values == [0]:
        raise QueryError("num_gpus must be at least 1", text=draft.text, position=clause.value_at)
    if _is_nominal(clause, column, values):
        _add_nominal(draft, clause, field_name, [float(v) / 1000 for v in cast("list[float]", values)])
    else:
        _join(draft, clause, field_name, clause.operator, values if clause.many else values[0])


def _is_any(clause: Clause) -> bool:
    return len(clause.values) == 1 and clause.values[0].lower() in _ANY


def _is_nominal(clause: Clause, column: Column, values: list[Wire]) -> bool:
    """Whether sizes as printed are meant: 24 is one, 24.564 is what a driver reported."""
    if column.ask is None or not column.ask.nominal or None in values:
        return False
    if clause.operator in ORDERED:
        return clause.name.lower() == "gpu_ram_nominal_gb"
    return all(float(cast("float", mb)) % 1000 == 0 for mb in values)


def _value(text: str, clause: Clause, column: Column, written: str) -> Wire:
    try:
        value = to_wire(column, written)
    except ValueError as error:
        raise QueryError(
            f"{clause.name}: {error}, got {written!r}", text=text, position=clause.value_at, original=error
        ) from error
    if value is None and clause.operator in ORDERED:
        raise QueryError(f"{written} has no order: use = or !=", text=text, position=clause.value_at)
    return value


def _check_operator(text: str, clause: Clause, column: Column) -> None:
    ask = column.ask
    if ask is None or clause.operator not in ORDERED:
        return
    if ask.kind not in _SORTED_KINDS and ask.field not in _SORTED_TEXTS:
        raise QueryError(
            f"{clause.name} has no order: use =, !=, in or notin", text=text, position=clause.start + len(clause.name)
        )


def _clear(draft: _Draft, clause: Clause, field_name: str) -> None:
    if clause.operator != "eq":
        raise QueryError("any goes with = only", text=draft.text, position=clause.value_at)
    draft.filters.pop(field_name, None)
    draft.written.pop(field_name, None)
    draft.residuals = [r for r in draft.residuals if r.field != field_name]
    draft.dropped_defaults.add(_REPLACES.get(field_name, field_name))


def _add_nominal(draft: _Draft, clause: Clause, field_name: str, sizes: list[float]) -> None:
    """``gpu_ram=24`` means the size on the box: the wire gets the range around it, the answer is checked exactly."""
    what = cast("Literal['gpu_ram', 'gpu_total_ram']", field_name)
    _add_residual(draft, clause, what, sizes)
    low, high = _range_mb(what, sizes, exact=clause.operator not in ORDERED)
    if clause.operator in ("eq", "in", "gt", "gte"):
        _join(draft, clause, field_name, "gte", low)
    if clause.operator in ("eq", "in", "lt", "lte"):
        _join(draft, clause, field_name, "lte", high)


def _range_mb(what: str, sizes: list[float], *, exact: bool) -> tuple[int, int]:
    """Holds every amount of memory that is sold as one of `sizes`; unless `exact`, also what is sold as more, or as less."""
    if what == "gpu_total_ram":
        return math.floor(min(sizes) * 1024 * 0.9), math.ceil(max(sizes) * 1024 * 1.02)
    if not exact:
        return math.floor(min(0.925 * sizes[0], sizes[0] - 0.5) * 1024), math.ceil((sizes[0] + 0.5) * 1024)
    ranges = [nominal_range_mb(size) for size in sizes]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _add_share(draft: _Draft, clause: Clause, machine_ram: Column) -> None:
    """The service knows the whole machine's memory only, which is never less than the offer's share of it."""
    if _is_any(clause):
        _clear(draft, clause, "cpu_ram")
        return
    if clause.operator not in ORDERED:
        raise QueryError(
            "cpu_ram_gb is a share with many decimals: use > or <",
            text=draft.text,
            position=clause.start + len("cpu_ram_gb"),
        )
    value = cast("float", _value(draft.text, clause, machine_ram, clause.values[0]))
    _add_residual(draft, clause, "cpu_ram_gb", [value / 1000])
    if clause.operator in ("gt", "gte"):
        _join(draft, clause, "cpu_ram", clause.operator, value)


def _add_residual(
    draft: _Draft, clause: Clause, what: Literal["gpu_ram", "gpu_total_ram", "cpu_ram_gb"], values: list[float]
) -> None:
    residual = Residual(what, clause.operator, tuple(values), _words_of(draft, clause))
    draft.residuals.append(residual)
    _say(draft, clause, residual.field)
    present: dict[str, Any] = {}
    for known in draft.residuals:
        if known.what == what:
            many = known.operator in ("in", "notin")
            tighten(present, known.operator, list(known.values) if many else known.values[0])
    _refuse_contradiction(draft, clause, residual.field, present)


def _add_region(draft: _Draft, clause: Clause) -> None:
    if _is_any(clause):
        _clear(draft, clause, "geolocation")
        return
    word = {"eq": "in", "in": "in", "neq": "notin", "notin": "notin"}.get(clause.operator)
    unknown = [value for value in clause.values if not region_codes(value)]
    if word is None or unknown:
        raise QueryError(
            f"no such region: {unknown[0]}" if unknown else "a region goes with =, !=, in or notin",
            text=draft.text,
            position=clause.value_at,
            hint=f"there are: {', '.join(REGIONS)}; countries go with geolocation",
        )
    codes = sorted({code for value in clause.values for code in region_codes(value)})
    _join(draft, clause, "geolocation", word, codes)


def _check_gpus(draft: _Draft, clause: Clause, names: list[Wire]) -> None:
    if not clause.many and "," in clause.values[0]:
        word = "in" if clause.operator == "eq" else "notin"
        raise QueryError(
            "one condition takes one GPU name, not a list",
            text=draft.text,
            position=clause.value_at,
            suggestion=f"{clause.name} {word} [{clause.values[0]}]",
        )
    for name in names:
        if isinstance(name, str) and gpu_canonical(name) is None:
            near = gpu_suggestions(name)
            meant = f"; did you mean {', '.join(near)}?" if near else ""
            draft.notes.append(f"no GPU named {name} was seen before{meant}")


def _join(draft: _Draft, clause: Clause, field_name: str, word: str, value: Any) -> None:
    """Add one condition to those on its field; all of them must be able to hold."""
    draft.dropped_defaults.add(_REPLACES.get(field_name, field_name))
    present = draft.filters.setdefault(field_name, {})
    _say(draft, clause, field_name)
    tighten(present, word, value)
    _refuse_contradiction(draft, clause, field_name, present)


def _words_of(draft: _Draft, clause: Clause) -> str:
    return " ".join(draft.text[clause.start : clause.end].split()).rstrip(",&")


def _say(draft: _Draft, clause: Clause, field_name: str) -> None:
    words, said = _words_of(draft, clause), draft.written.setdefault(field_name, [])
    if said[-1:] != [words]:
        said.append(words)


def _refuse_contradiction(draft: _Draft, clause: Clause, field_name: str, present: Mapping[str, Any]) -> None:
    if contradicts(present):
        words = " ".join(draft.written[field_name])
        raise QueryError(f"no offer can meet this: {words}", text=draft.text, position=clause.start)
