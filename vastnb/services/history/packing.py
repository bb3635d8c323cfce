"""Streams into Parquet: one sorted file a day, with the figures of its hours.

Sorted by model, machine, offer and time, a price that stays costs next to nothing. For each day, in this order:

1. the answers that the day's file does not have yet are put into it (a new file, which takes the place of the old one);
2. the month's list of answers and its figures are written anew, from the day's file;
3. streams to which nobody writes any more are taken away.

A process that is killed between two steps, or in one, leaves nothing half done that the next run would not do again: each step
looks at what is there, and an answer has its own number.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from vastnb.services.history import spool
from vastnb.services.history.figures import database, figures, rollup_schema
from vastnb.services.history.spool import Seen
from vastnb.services.history.store import Dataset, Store, arrow_schema, packing

__all__ = ["pack", "table_of"]

log = logging.getLogger("vastnb.history")
_LONG = 1 << 20
"""Bytes of streams that take as long to read as a chart may take; some hundred answers."""
_SORTED = [(name, "ascending") for name in ("gpu_name", "machine_id", "offer_id", "rental", "seen_at")]


def pack(store: Store, *, today: bool = False) -> list[str]:
    """Pack the days that are over.

    Parameters
    ----------
    store
        Whose streams.
    today
        The newest day too; without it, only if its streams have become long to read.

    Returns
    -------
    list of str
        The days that were packed; none if another process is packing.

    Raises
    ------
    NewerStateError
        A newer vastnb wrote something of it; it is left as it is.
    StateError
        A file cannot be read or written; the streams are left as they are.
    """
    days = spool.dates(store)
    days = days if today or _is_long(store, days) else days[:-1]
    if not days:
        return []
    with packing(store) as allowed:
        if not allowed:
            return []
        name, dataset = store.name(), store.dataset()
        dataset.sweep(name)
        for date in days:
            _pack_day(store, dataset, name, date)
        _make_room(dataset, store.max_bytes, name)
    return days


def _is_long(store: Store, days: Sequence[str]) -> bool:
    return bool(days) and sum(path.stat().st_size for path in spool.streams(store, days[-1])) > _LONG


def _pack_day(store: Store, dataset: Dataset, name: str, date: str) -> None:
    spool.close(store, date)
    paths = spool.streams(store, date)
    over = [path for path in paths if spool.is_over(path)]
    answers = spool.read(paths)
    if answers:
        day = _day(dataset, name, date, answers)
        snapshots = _month(dataset, name, date, answers)
        _roll_up(dataset, name, date, day, snapshots)
    for path in over:
        path.unlink()
    with suppress(OSError):  # somebody still writes there
        (store.spool / date).rmdir()


def _day(dataset: Dataset, name: str, date: str, answers: Sequence[Seen]) -> Any:
    """The rows of the day, those of `answers` included, as they then are in its file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    path = dataset.path("offers", date, name)
    before = dataset.read(path)
    known = set() if before is None else set(pc.unique(before["snapshot"]).to_pylist())
    new = [seen.batch for seen in answers if seen.snapshot.snapshot not in known and len(seen.batch)]
    schema = arrow_schema("observations")
    if before is not None and not new:
        return before
    whole = pa.concat_tables(
        [*([before.cast(schema)] if before is not None else []), pa.Table.from_batches(new, schema)]
    )
    whole = whole.sort_by(_SORTED)
    if len(whole):
        dataset.write(path, whole, name)
    return whole


def _month(dataset: Dataset, name: str, date: str, answers: Sequence[Seen]) -> Any:
    """The month's list of answers, `answers` included."""
    import pyarrow as pa

    path = dataset.path("snapshots", date[:7], name)
    before = dataset.read(path)
    known = set() if before is None else set(before["snapshot"].to_pylist())
    new = table_of([seen for seen in answers if seen.snapshot.snapshot not in known])
    if before is not None and not len(new):
        return before
    whole = new if before is None else pa.concat_tables([before.cast(new.schema), new])
    whole = whole.sort_by("seen_at")
    dataset.write(path, whole, name)
    return whole


def _roll_up(dataset: Dataset, name: str, date: str, day: Any, snapshots: Any) -> None:
    """Write the month's figures, those of `date` anew."""
    import pyarrow as pa
    import pyarrow.compute as pc

    path = dataset.path("rollups", date[:7], name)
    parts = [table for table in (dataset.read(path),) if table is not None]
    parts = [t.cast(rollup_schema()).filter(pc.not_equal(pc.strftime(t["time"], "%Y-%m-%d"), date)) for t in parts]
    with database() as db:
        db.register("offers", day)
        db.register("snapshots", snapshots)
        parts += [figures(db, span) for span in ("hour", "day")]
    dataset.write(path, pa.concat_tables(parts).sort_by([("span", "ascending"), ("time", "ascending")]), name)


def table_of(answers: Sequence[Seen]) -> Any:
    """The answers, without their offers, as an Arrow table."""
    import pyarrow as pa

    return pa.Table.from_pylist([asdict(seen.snapshot) for seen in answers], arrow_schema("snapshots"))


def _make_room(dataset: Dataset, most: float, name: str) -> None:
    """Take the oldest days away while there is more than `most` bytes; their figures stay."""
    days = [path for _, path in dataset.files("offers") if path.endswith(f"/{name}.parquet")]
    sizes = [dataset.fs.size(path) for path in days]
    total = sum(sizes)
    for path, size in zip(days[:-1], sizes, strict=False):
        if total <= most:
            return
        dataset.remove(path)
        total -= size
        log.warning(
            "the history may hold %.0f MB (history.max_mb): %s was taken away; its figures stay", most / 1e6, path
        )
