"""What the store holds of a stretch of time, packed or not, each answer once.

Streams are read before the packed files are listed: what is packed in between is found twice, and taken once, never missed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from vastnb.services.history import spool
from vastnb.services.history.figures import database, figures, rollup_schema
from vastnb.services.history.packing import table_of
from vastnb.services.history.spool import Seen
from vastnb.services.history.store import Dataset, Store, arrow_schema

__all__ = ["Window", "beginning", "newest"]

_COUNTED = ["snapshot", "seen_at", "models", "rental", "holds"]


@dataclass(frozen=True)
class Window:
    """A stretch of time of a store."""

    loose: list[Seen]
    """What is not packed, or just was."""
    dataset: Dataset
    start: datetime

    @classmethod
    def of(cls, store: Store, start: datetime) -> Window:
        """What `store` holds since `start`."""
        first = f"{start:%Y-%m-%d}"
        days = [date for date in spool.dates(store) if date >= first]
        paths = [path for date in days for path in spool.streams(store, date)]
        return cls(spool.read(paths), store.dataset(), start)

    @cached_property
    def packed(self) -> list[tuple[str, str]]:
        """Date and path of the packed days."""
        return self.dataset.files("offers", f"{self.start:%Y-%m-%d}")

    @cached_property
    def mixed(self) -> set[str]:
        """The days whose figures have to be made now: not all packed, or by several stores."""
        parts = Counter(date for date, _ in self.packed)
        return {seen.snapshot.date for seen in self.loose} | {date for date, count in parts.items() if count > 1}

    def snapshots(self, columns: list[str] | None = None, dates: set[str] | None = None) -> Any:
        """The answers, without their offers, as an Arrow table; with `dates`, those of the months of these days."""
        import pyarrow as pa

        schema = arrow_schema("snapshots")
        months = {date[:7] for date in dates} if dates is not None else None
        files = self.dataset.files("snapshots", f"{self.start:%Y-%m}")
        found = [self.dataset.read(path, columns) for month, path in files if months is None or month in months]
        wanted = pa.schema([schema.field(name) for name in columns]) if columns else schema
        packed = [table.cast(wanted) for table in found if table is not None]
        known = {number for table in packed for number in table["snapshot"].to_pylist()} if self.loose else set()
        new = table_of([seen for seen in self.loose if seen.snapshot.snapshot not in known]).select(wanted.names)
        return pa.concat_tables([*packed, new.cast(wanted)])

    def offers(self, db: Any, dates: set[str] | None = None) -> None:
        """Make ``offers`` known to `db`: all rows, or those of some days."""
        import pyarrow as pa

        paths = [path for date, path in self.packed if dates is None or date in dates]
        late = {seen.snapshot.date for seen in self.loose}
        known: set[int] = set()
        if paths:
            self.dataset.relation(db, paths).create_view("packed")
        again = [path for date, path in self.packed if date in late]
        if again:
            numbers = self.dataset.relation(db, again).project("snapshot").distinct().fetchall()
            known = {number for (number,) in numbers}
        new = [seen.batch for seen in self.loose if seen.snapshot.snapshot not in known]
        db.register("loose", pa.Table.from_batches(new, arrow_schema("observations")))
        db.execute(f"create view offers as {'from packed union all by name ' if paths else ''}from loose")

    def figures(self, span: str, condition: str, values: list[Any]) -> Any:
        """Statistics by hour or day: from the packed figures where they say it all, else made now."""
        import pyarrow as pa

        parts = [rollup_schema().empty_table(), self._rolled_up(span, condition, values)]
        if self.mixed:
            parts.append(self.made("hour" if span == "hour" else "day", condition, values, self.mixed))
        return pa.concat_tables(parts).sort_by([(n, "ascending") for n in ("time", "gpu_name", "gpu_ram_nominal_gb")])

    def made(self, span: str, condition: str, values: list[Any], dates: set[str] | None = None) -> Any:
        """Statistics made of all rows."""
        since = int(self.start.timestamp() * 1e6)
        with database() as db:
            self.offers(db, dates)
            db.register("snapshots", self.snapshots(_COUNTED, dates))
            return figures(db, span, f"epoch_us(seen_at) >= {since} and {condition}", values)

    def _rolled_up(self, span: str, condition: str, values: list[Any]) -> Any:
        paths = [path for _, path in self.dataset.files("rollups", f"{self.start:%Y-%m}")]
        if not paths:
            return rollup_schema().empty_table()
        since = int(self.start.timestamp() * 1e6)
        with database() as db:
            self.dataset.relation(db, paths).create_view("rollups")
            names = ", ".join(f.name if f.name != "time" else "epoch_us(time) as time" for f in rollup_schema())
            query = f"select {names} from rollups where span = ? and epoch_us(time) >= {since} and {condition}"  # noqa: S608
            table = db.sql(query, params=[span, *values]).to_arrow_table().cast(rollup_schema())
        return self._without(table, self.mixed)

    @staticmethod
    def _without(table: Any, dates: set[str]) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not dates:
            return table
        days = pc.strftime(table["time"], "%Y-%m-%d")
        return table.filter(pc.invert(pc.is_in(days, pa.array(sorted(dates)))))


def newest(store: Store) -> datetime | None:
    """When the newest answer of a store came, None if there is none."""
    import pyarrow.compute as pc

    dataset, days = store.dataset(), spool.dates(store)
    times = [seen.snapshot.seen_at for seen in spool.read(spool.streams(store, days[-1]))] if days else []
    months = dataset.files("snapshots")
    table = dataset.read(months[-1][1], ["seen_at"]) if months else None
    return max([*times, *([pc.max(table["seen_at"]).as_py()] if table is not None else [])], default=None)


def beginning(end: datetime, seconds: float, span: str) -> datetime:
    """So many seconds before `end`, at the beginning of an hour or a day."""
    start = datetime.fromtimestamp(max(0.0, end.timestamp() - seconds), UTC)
    start = start.replace(minute=0, second=0, microsecond=0)
    return start if span == "hour" else start.replace(hour=0)
