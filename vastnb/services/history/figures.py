"""Statistics of offers that were seen, in SQL. DuckDB reads Arrow tables and Parquet files alike, and holds at most 2 GB.

Prices that are no price (zero, negative, NaN) count nowhere. Percentiles interpolate, as pandas does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["DAY_US", "HOUR_US", "database", "figures", "rollup_schema"]

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

_FIGURES = """
with counted as (
  select epoch_us(seen_at) // {span} as slot, * from offers
  where holds != 'part' and usd_per_gpu_hour > 0 and isfinite(usd_per_gpu_hour) and {condition}
), passes as (
  select epoch_us(seen_at) // {span} as slot, rental, models, count(*) as passes from snapshots
  where holds = 'whole' group by all
), known as (
  select distinct slot, rental, gpu_name from counted
), covering as (
  select slot, rental, gpu_name, sum(passes) as passes from known join passes using (slot, rental)
  where models = '' or list_contains(string_split(models, '|'), gpu_name) group by all
), made as (
  select slot, gpu_name, gpu_ram_nominal_gb, rental,
    quantile_cont(usd_per_gpu_hour, [0.1, 0.5, 0.9]) as q, min(usd_per_gpu_hour) as least,
    count(*) as n, count(distinct snapshot) as snapshots, count(*) filter (holds = 'whole') as in_whole
  from counted group by all
)
select slot * {span} as time_us, gpu_name, gpu_ram_nominal_gb, rental, n, snapshots,
  q[1] as usd_per_gpu_hour_p10, q[2] as usd_per_gpu_hour_median, q[3] as usd_per_gpu_hour_p90,
  least as usd_per_gpu_hour_min, in_whole / passes as supply
from made left join covering using (slot, rental, gpu_name)
order by all
"""
"""One row a slot of time, model, nominal memory and rental. Supply is what the answers that held all of a model had, on average."""


def rollup_schema() -> Any:
    """The Arrow schema of `figures` and of the files below ``rollups/``, which also say of which ``span`` a row is."""
    import pyarrow as pa

    from vastnb.services.history.store import FORMAT, FORMAT_KEY

    prices = [(f"usd_per_gpu_hour_{name}", pa.float64()) for name in ("p10", "median", "p90", "min")]
    return pa.schema(
        [
            ("span", pa.string()),
            ("time", pa.timestamp("us", "UTC")),
            ("gpu_name", pa.string()),
            ("gpu_ram_nominal_gb", pa.float64()),
            ("rental", pa.string()),
            ("n", pa.int64()),
            ("snapshots", pa.int64()),
            *prices,
            ("supply", pa.float64()),
        ],
        metadata={FORMAT_KEY: str(FORMAT).encode()},
    )


@contextmanager
def database() -> Iterator[Any]:
    """A DuckDB in memory, bounded, that writes nothing to disk."""
    import duckdb

    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": ""}) as db:
        yield db


def figures(db: Any, span: str, condition: str = "true", values: list[Any] | None = None) -> Any:
    """The statistics of the relations ``offers`` and ``snapshots`` of `db`.

    Parameters
    ----------
    db
        A `database` that has them.
    span
        ``hour``, ``day``, or ``all``: one slot for everything.
    condition, values
        SQL that chooses rows, and its parameters.

    Returns
    -------
    pyarrow.Table
        As `rollup_schema`.
    """
    import pyarrow as pa

    length = {"hour": HOUR_US, "day": DAY_US, "all": 1 << 62}[span]
    made = db.sql(_FIGURES.format(span=length, condition=condition), params=values or []).to_arrow_table()
    schema = rollup_schema()
    columns = [
        pa.repeat(pa.scalar(span), len(made)) if f.name == "span" else made["time_us" if f.name == "time" else f.name]
        for f in schema
    ]
    return pa.table([column.cast(f.type) for column, f in zip(columns, schema, strict=True)], schema=schema)
