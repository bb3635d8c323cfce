"""Records that others kept: JSON, JSON lines or CSV, packed or not, into the history."""

from __future__ import annotations

import csv
import gzip
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from vastnb.errors import InputError, ResponseError
from vastnb.services.history import spool
from vastnb.services.history.judging import Holds
from vastnb.services.history.packing import pack, table_of
from vastnb.services.history.spool import Seen
from vastnb.services.history.store import pinned, require, store_of
from vastnb.services.session import current
from vastnb.vast.types import FIELDS, OFFERS

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["import_history"]

_HOLDS = ("whole", "sample", "part")
_SOURCES = {c.name: c for c in (*OFFERS, *FIELDS) if c.source}
_AT_ONCE = 200
"""Answers that are in memory together."""
_TRUE, _FALSE = ("true", "True"), ("false", "False")


def import_history(
    path: str | Path,
    mapping: Mapping[str, str] | None = None,
    *,
    seen_at: str = "seen_at",
    offers: str = "offers",
    holds: Holds = "part",
    rental: str = "on-demand",
    disk_gb: float = 10.0,
    client: Client | None = None,
) -> pd.DataFrame:
    """Recorded answers, put into the history. What is there already is not put there again.

    Parameters
    ----------
    path
        ``.json`` (an answer, or a list of answers), ``.jsonl`` (one a line) or ``.csv`` (one offer a line; those of one time are
        an answer); with ``.gz`` behind it, packed.
    mapping
        The record's names of fields, and which field of Vast (``gpu_ram``, in Vast's units) or column of ours (``gpu_ram_gb``)
        each is. What has Vast's name needs none.
    seen_at
        Where the record says when an answer came: ISO text or seconds since 1970.
    offers
        Where an answer has its offers; for CSV it is not used.
    holds
        What its answers hold, which only you know: ``"whole"`` (all offers of the market, as `search` asks for them: then they
        count for supply too), ``"sample"`` (some, that no price chose) or ``"part"`` (they count for single machines only).
    rental
        What the prices are for.
    disk_gb
        The disk that they include.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        One row an answer, oldest first; columns and dtypes as in the columns page. ``attrs["vastnb"]["notes"]`` says which
        lines could not be read.

    Raises
    ------
    InputError
        No such file, an answer without time or offers, a field that is no number where one belongs.

    Examples
    --------
    >>> import json, pathlib, vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> offer = {"id": 1, "machine_id": 7, "gpu_name": "RTX 4090", "num_gpus": 1, "ram_mb": 24564, "dph_base": 0.3, "dph_total": 0.3}
    >>> _ = pathlib.Path("old.json").write_text(json.dumps([{"at": "2026-05-31T12:00:00Z", "offers": [offer]}]))
    >>> vastnb.import_history("old.json", {"ram_mb": "gpu_ram"}, seen_at="at", holds="sample").offers.tolist()
    [1]
    """
    require()
    if holds not in _HOLDS:
        raise InputError(f"holds must be one of {', '.join(_HOLDS)}, got {holds!r}")
    there = client if client is not None else current().client
    file, store = Path(path), store_of(there)
    bad: list[str] = []
    known = {"holds": holds, "rental": rental, "disk_gb": disk_gb, "complete": holds == "whole", "origin": file.name}
    form = _Form(seen_at, offers, mapping or {}, known)
    answers = (_seen(number, answer, form) for number, answer in _answers(file, form, bad))
    done: dict[int, Seen] = {}
    while some := list(itertools.islice(answers, _AT_ONCE)):
        spool.put(store, some)
        done.update((seen.snapshot.snapshot, Seen(seen.snapshot, None)) for seen in some)
    pack(store, today=True)
    return _listed(list(done.values()), bad, file.name)


@dataclass(frozen=True, slots=True)
class _Form:
    """How a record is to be read, and what is known of each of its answers."""

    seen_at: str
    offers: str
    mapping: Mapping[str, str]
    known: dict[str, Any]


def _listed(done: list[Seen], bad: list[str], name: str) -> pd.DataFrame:
    frame = pinned(table_of(done).sort_by("seen_at").to_pandas(), "snapshots")
    frame.attrs["vastnb"] = {"kind": "snapshots", "word": name, "returned": len(frame), "notes": bad}
    return frame


# ---------------------------------------------------------------- files into answers


def _answers(file: Path, form: _Form, bad: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each answer in a record; lines that cannot be read are noted in `bad`."""
    kind = file.suffixes[-2] if file.suffix == ".gz" and len(file.suffixes) > 1 else file.suffix
    if kind not in (".json", ".jsonl", ".ndjson", ".csv"):
        raise InputError(f"{file.name}: expected .json, .jsonl or .csv, or one of them with .gz")
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            if kind == ".csv":
                yield from _of_table(csv.DictReader(lines), file, form)
            elif kind == ".json":
                yield from _of_document(lines.read(), file)
            else:
                yield from _of_lines(lines, bad)
    except EOFError:
        bad.append("The file ends in the middle; what is before that was read.")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}", original=error) from error


def _of_lines(lines: Iterable[str], bad: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                yield number, orjson.loads(line)
        except orjson.JSONDecodeError:
            bad.append(f"Line {number} is not JSON and was left out.")


def _of_document(text: str, file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{file.name}: not JSON: {error}", original=error) from error
    yield from enumerate(found if isinstance(found, list) else [found], 1)


def _of_table(rows: csv.DictReader[str], file: Path, form: _Form) -> Iterator[tuple[int, dict[str, Any]]]:
    if form.seen_at not in (rows.fieldnames or ()):
        raise InputError(f"{file.name}: no column {form.seen_at!r}; it has {', '.join(rows.fieldnames or ())}")
    together: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        together.setdefault(row[form.seen_at], []).append(
            {name: _value(text) for name, text in row.items() if name != form.seen_at}
        )
    for number, (at, found) in enumerate(together.items(), 1):
        yield number, {form.seen_at: at, form.offers: found}


def _value(text: str | None) -> Any:
    """What a cell says: nothing, true or false, a number, or a text."""
    if not text:
        return None
    if text in _TRUE + _FALSE:
        return text in _TRUE
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


# ---------------------------------------------------------------- an answer of a record into one of ours


def _seen(number: int, answer: Any, form: _Form) -> Seen:
    from vastnb.vast.types.frames import offers_frame

    where = f"answer {number}"
    rows = answer.get(form.offers) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{where}: expected a list of offers in {form.offers!r}")
    at = _time(answer.get(form.seen_at), f"{where}: {form.seen_at}")
    try:
        frame = offers_frame([_as_wire(row, form.mapping) for row in rows], rental=form.known["rental"], seen_at=at)
    except ResponseError as error:
        hint = "mapping names the field of Vast for each"
        raise InputError(f"{where}: {error.message}", original=error, hint=hint) from error
    return spool.snapshot_of(frame, seen_at=at, **form.known)


def _as_wire(row: dict[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """An offer under Vast's names and in its units."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        target = mapping.get(name, name)
        column = _SOURCES.get(target) if target in mapping.values() else None
        if column is None:
            made[target] = value
        else:
            made[column.source] = (
                value / column.factor if isinstance(value, (int, float)) and column.factor != 1 else value
            )
    return made


def _time(value: Any, where: str) -> datetime:
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            found = datetime.fromisoformat(value)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        return datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise InputError(f"{where}: expected a time, got {value!r}", original=error) from error
