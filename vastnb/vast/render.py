"""Frames and records -> text and HTML. Pure and deterministic; every word of a stranger is made printable and escaped.

A short table is made of the columns that have a heading (`Column.head`) and of those that the user added. It reads well
without its style sheet (GitHub drops it) and follows the theme where there is one.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from vastnb.vast.types.columns import FIELDS, Column
from vastnb.vast.types.kinds import KINDS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Card", "card_html", "card_text", "frame_html", "frame_text", "is_ours", "plain", "source_of"]

_UNPRINTABLE = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
_LONGEST_LINE = 300
_LONGEST_CELL = 32
_ROWS_SHOWN = 20
_ADDED_SHOWN = 6
_LONG = frozenset(
    {
        "offers",
        "quotes",
        "job costs",
        "calls",
        "benchmarks",
        "trends",
        "locations",
        "volumes",
        "history",
        "machine life",
    }
)
"""Kinds of frame that are cut after the first rows."""
_NOUNS = {
    "instances": ("no machines", "machine", "machines"),
    "audit": ("nothing that costs", "thing that costs", "things that cost"),
}
_EMPTY = {
    "calls": "No calls yet.",
    "call summary": "No calls yet.",
    "events": "No such events yet.",
    "alerts": "No price alerts.",
    "webhooks": "No webhooks.",
}
_TRAFFIC = {"download_gb": "GB down", "upload_gb": "GB up", "idle_hours": "h stopped"}
_OPEN = '<div class="vastnb-frame tex2jax_ignore mathjax_ignore">'
"""Two dollar signs in a line are no formula."""
_STYLE = """<style>
.vastnb-frame table.dataframe { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0; }
.vastnb-frame table.dataframe th, .vastnb-frame table.dataframe td {
  padding: 0.25em 0.6em; text-align: right; white-space: nowrap; max-width: none; }
.vastnb-frame table.dataframe th { vertical-align: bottom; }
.vastnb-frame table.dataframe th small { font-weight: normal; color: var(--jp-content-font-color2, #666); }
.vastnb-frame table.dataframe th.vastnb-text, .vastnb-frame table.dataframe td.vastnb-text { text-align: left; }
.vastnb-frame p { margin: 0.4em 0.6em; color: var(--jp-content-font-color2, #555); }
.vastnb-frame p.vastnb-note { color: var(--jp-warn-color0, #b26a00); }
</style>"""


def plain(text: str, longest: int = _LONGEST_LINE) -> str:
    """`text` of a stranger in one printable line of bounded length: no escape codes, no marks that turn the line around."""
    line = " ".join(_UNPRINTABLE.sub("", text[: 20 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def is_ours(frame: Any) -> bool:
    """Whether `frame` came from us and still holds what our table needs: pandas hands ``attrs`` on to anything made of it."""
    about = getattr(frame, "attrs", {}).get("vastnb")
    if not isinstance(about, dict) or about.get("kind") not in KINDS:
        return False
    needed = [c.name for c in KINDS[about["kind"]] if c.head]
    return all(list(frame.columns).count(name) == 1 for name in needed)


@dataclass(frozen=True, slots=True)
class _Cells:
    heads: tuple[tuple[str, str], ...]
    """Heading and unit of each column."""
    left: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int


def frame_html(frame: pd.DataFrame) -> str:
    """The short table, as HTML."""
    cells = _cells(frame)
    head = "".join(_th(name, unit, left) for (name, unit), left in zip(cells.heads, cells.left, strict=True))
    body = "\n".join(
        "<tr>" + "".join(_td(t, left) for t, left in zip(row, cells.left, strict=True)) + "</tr>" for row in cells.rows
    )
    table = (
        f'<table border="1" class="dataframe">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'
        if cells.rows
        else ""
    )
    lines = [f"<p>{html.escape(line)}</p>" for line in _captions(frame, cells)]
    notes = [f'<p class="vastnb-note">{html.escape(line)}</p>' for line in _notes(frame)]
    return "\n".join(part for part in (f"{_STYLE}\n{_OPEN}", table, *lines, *notes, "</div>") if part)


def frame_text(frame: pd.DataFrame) -> str:
    """The short table, as plain text."""
    cells = _cells(frame)
    lines: list[str] = []
    if cells.rows:
        names = [name for name, _ in cells.heads]
        units = [unit for _, unit in cells.heads]
        widths = [max(map(len, column)) for column in zip(names, units, *cells.rows, strict=True)]
        lines = [_line(row, widths, cells.left) for row in (names, units, *cells.rows)]
        lines = [line for number, line in enumerate(lines) if line.strip() or number != 1]
    return "\n".join([*lines, *_captions(frame, cells), *_notes(frame)])


class Card(NamedTuple):
    """A single thing: what it is, its parts with a value each, and what should be known about it."""

    title: str
    parts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


def card_text(card: Card) -> str:
    """A card, as plain text."""
    width = max((len(name) for name, _ in card.parts), default=0)
    return "\n".join([card.title, *(f"  {name:{width}}  {value}" for name, value in card.parts), *card.notes])


def card_html(card: Card) -> str:
    """A card, as HTML."""
    rows = "\n".join(
        f'<tr><th class="vastnb-text">{html.escape(name)}</th><td class="vastnb-text">{html.escape(value)}</td></tr>'
        for name, value in card.parts
    )
    table = f'<table border="1" class="dataframe"><tbody>\n{rows}\n</tbody></table>' if rows else ""
    notes = [f'<p class="vastnb-note">{html.escape(note)}</p>' for note in card.notes]
    title = f"<p><strong>{html.escape(card.title)}</strong></p>"
    return "\n".join(part for part in (f"{_STYLE}\n{_OPEN}", title, table, *notes, "</div>") if part)


def _line(row: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    padded = (t.ljust(w) if is_left else t.rjust(w) for t, w, is_left in zip(row, widths, left, strict=True))
    return "  ".join(padded).rstrip()


def _th(name: str, unit: str, left: bool) -> str:
    kind = ' class="vastnb-text"' if left else ""
    small = f"<br><small>{html.escape(unit)}</small>" if unit else ""
    return f"<th{kind}>{html.escape(name)}{small}</th>"


def _td(text: str, left: bool) -> str:
    return f'<td class="vastnb-text">{html.escape(text)}</td>' if left else f"<td>{html.escape(text)}</td>"


def _cells(frame: pd.DataFrame) -> _Cells:
    kind = frame.attrs["vastnb"]["kind"]
    shown = [c for c in KINDS[kind] if c.head and not _says_nothing(c, frame)] + _added(frame, kind)
    part = frame.head(_ROWS_SHOWN if kind in _LONG else len(frame))
    columns = [_formatted(column, part[column.name].tolist()) for column in shown]
    return _Cells(
        heads=tuple((column.head, "" if column.form.endswith("%") else column.unit) for column in shown),
        left=tuple(column.dtype in ("str", "boolean") for column in shown),
        rows=tuple(zip(*columns, strict=True)),
        more=len(frame) - len(part),
    )


def _says_nothing(column: Column, frame: pd.DataFrame) -> bool:
    """A column in which every machine is verified, as it is by default; the caption says it."""
    return column.name == "verification" and _all_verified(frame)


def _all_verified(frame: pd.DataFrame) -> bool:
    return bool((frame["verification"] == "verified").all())


def _added(frame: pd.DataFrame, kind: str) -> list[Column]:
    """Columns that the user put there: what they added they want to see."""
    known = {c.name for c in (*KINDS[kind], *FIELDS)} | set(frame.attrs["vastnb"].get("unknown_fields", ()))
    names = [name for name in frame.columns if isinstance(name, str) and name not in known]
    return [
        Column(name, "float64" if frame[name].dtype.kind in "iuf" else "str", "", head=plain(name, 24), form=".4g")
        for name in names[:_ADDED_SHOWN]
    ]


def _formatted(column: Column, values: Sequence[Any]) -> list[str]:
    known = [v for v in values if not _absent(v)]
    form = _form(column, known)
    return ["–" if _absent(v) else form(v) for v in values]


def _absent(value: Any) -> bool:
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float) and math.isnan(value))
    )


def _form(column: Column, known: Sequence[Any]) -> Callable[[Any], str]:
    if column.dtype == "boolean":
        return lambda v: "yes" if v else ""
    if column.dtype.startswith("datetime"):
        return lambda v: f"{v:%Y-%m-%d %H:%M:%S}"
    if column.form == "usd":
        digits = _money_digits(known)
        return lambda v: f"{v:,.{digits}f}"
    if column.form and column.dtype in ("float64", "Int64"):
        return lambda v: format(v, column.form)
    return lambda v: plain(str(v), _LONGEST_LINE if column.form == "long" else _LONGEST_CELL)


def _money_digits(known: Sequence[float]) -> int:
    """As many digits as the cheapest needs: a tenth of a cent in $0.168, none of it in $12.40."""
    least = min((v for v in known if v > 0), default=10.0)
    return 4 if least < 0.1 else 3 if least < 5 else 2


def _captions(frame: pd.DataFrame, cells: _Cells) -> list[str]:
    about = frame.attrs["vastnb"]
    kind, count = about["kind"], len(frame)
    if kind == "offers":
        return [_offered(frame, cells)]
    if kind == "gpus":
        models = "1 model" if count == 1 else f"{count:,} models"
        return [f"{models}, seen in {about['offers']:,} offers, {_priced(about)} · {source_of(about)}"]
    if kind == "quotes":
        return [_quoted(about, count)]
    if kind in _NOUNS:
        none, one, many = _NOUNS[kind]
        counted = f"{count:,} {one if count == 1 else many}" if count else none
        return [f"{counted} · {source_of(about)}", *about.get("summary", ())]
    if "source" in about:
        first = f", the first {len(cells.rows)} shown" if cells.more else ""
        return [f"{count:,} {kind}{first} · {source_of(about)}"]
    nothing = _EMPTY.get(kind) or f"Nothing has {plain(about.get('word', ''))!r} in its name or meaning."
    return [] if count else [nothing]


def _offered(frame: pd.DataFrame, cells: _Cells) -> str:
    about = frame.attrs["vastnb"]
    if not len(frame):
        return f"No offers for: {plain(about['query']) or 'the defaults'} · {source_of(about)}"
    count = f"{len(frame):,}" if len(frame) == about["returned"] else f"{len(frame):,} of {about['returned']:,}"
    noun = "offer" if about["returned"] == 1 else "offers"
    first = f", the first {len(cells.rows)} shown" if cells.more else ""
    verified = ", all verified" if _all_verified(frame) and len(frame) > 1 else ""
    return f"{count} {noun}{verified}{first} · {_priced(about)} · {source_of(about)}"


def _quoted(about: dict[str, Any], count: int) -> str:
    job = about["job"]
    parts = [f"{job['hours']:g} h", f"{job['disk_gb']:g} GB of disk"]
    parts += [f"{job[name]:g} {words}" for name, words in _TRAFFIC.items() if job[name]]
    where = f" · {source_of(about)}" if "source" in about else ""
    first = f", the {_ROWS_SHOWN} cheapest shown" if count > _ROWS_SHOWN else ""
    return f"{count:,} {'quote' if count == 1 else 'quotes'} for {', '.join(parts)}{first}{where}"


def _priced(about: dict[str, Any]) -> str:
    return f"{about['rental']}, with {about['disk_gb']:g} GB of disk, without traffic"


def source_of(about: Mapping[str, Any]) -> str:
    """Where prices come from: a line that nothing priced is shown without."""
    if about["source"] == "sandbox":
        return "sandbox: practice, not real"
    account = "no account" if about["account"] == "none" else f"account {about['account']}"
    return f"Vast.ai, {account}" if about["url"] == "https://console.vast.ai" else f"{plain(about['url'])}, {account}"


def _notes(frame: pd.DataFrame) -> list[str]:
    about = frame.attrs["vastnb"]
    notes = [plain(note) for note in about.get("notes", ())]
    if about.get("stale"):
        notes.append(f"The service did not answer; this is {_age(about['fetched_at'])} old.")
    if about.get("complete") is False:
        notes.append(_incomplete(about))
    dropped = about.get("dropped_by_recheck", 0)
    if dropped:
        notes.append(f"{dropped} left out: the service sent them although they do not meet the query.")
    return notes + [plain(line) for line in about.get("why_empty", ())]


def _incomplete(about: dict[str, Any]) -> str:
    if about["kind"] == "gpus":
        return "A sample: the service caps its answers. A narrower query is counted whole."
    (name, direction), *_ = about["body"]["order"]
    first = "cheapest" if (name, direction) == ("dph_total", "asc") else f"first by {name}"
    return f"Incomplete: the service caps its answers, these are the {first}. A narrower query comes whole."


def _age(fetched_at: str) -> str:
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(fetched_at)).total_seconds())
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
