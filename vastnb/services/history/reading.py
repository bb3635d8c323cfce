"""What GPUs cost over time: `history`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from vastnb.errors import InputError, NewerStateError, StateError
from vastnb.services.arguments import only_known
from vastnb.services.history.figures import database
from vastnb.services.history.packing import pack
from vastnb.services.history.store import Store, pinned, require, store_of
from vastnb.services.history.window import Window, beginning, newest
from vastnb.services.session import current
from vastnb.vast.query import RENTALS
from vastnb.vast.query.names import gpu_canonical

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["By", "history"]

By = Literal["hour", "day", "clock", "model"]
_SPANS = {"hour": "hour", "day": "day", "clock": "hour", "model": "all"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GROUP = ["gpu_name", "gpu_ram_nominal_gb"]
_FEW_DAYS, _FEW_HOURS = 3, 12
"""Below these, a cheapest hour would be chance."""
_CHEAPEST = 3
_SAID = 3
"""Models whose cheapest hours are said below the table; the frame's attrs have them all."""

_LIFE = """
with life as (
  select *, usd_per_hour is distinct from lag(usd_per_hour) over offer as turn from offers
  where machine_id = ? and epoch_us(seen_at) >= ? window offer as (partition by offer_id, rental, disk_gb order by seen_at)
), runs as (
  select *, sum(turn::int) over (partition by offer_id, rental, disk_gb order by seen_at) as run from life
)
select epoch_us(min(seen_at)) as from_at, epoch_us(max(seen_at)) as until_at, offer_id, any_value(gpu_name) as gpu_name,
  any_value(num_gpus) as num_gpus, any_value(usd_per_hour) as usd_per_hour,
  arg_max(min_bid_usd_per_hour, seen_at) as min_bid_usd_per_hour, count(*) as seen, rental, disk_gb
from runs group by offer_id, rental, disk_gb, run order by from_at, offer_id, rental, disk_gb
"""


@only_known
def history(
    gpu_name: str | Sequence[str] = "",
    *,
    days: float | None = 14,
    by: By = "hour",
    rental: str = "on-demand",
    machine: int | None = None,
    client: Client | None = None,
) -> pd.DataFrame:
    """What GPUs cost over time, and how many there were: from the answers that searches and samples left behind.

    Only answers count whose offers no price chose: a `search` for all offers of a model, whole, or a `sample`. One for what
    is under half a dollar is kept, and counts in nothing but the life of a machine.

    Parameters
    ----------
    gpu_name
        A model, several, or all without it.
    days
        How far back; None for everything there is. On a service on this computer, back from the newest answer.
    by
        ``"hour"``, ``"day"`` (UTC), ``"clock"`` (the hours of a day, each the median of that hour on all days) or
        ``"model"`` (the whole time).
    rental
        ``"on-demand"``, ``"bid"`` or ``"reserved"``: what the prices are for.
    machine
        The life of one machine instead, by its ``machine_id``: every offer of it, one row for each time it kept its price.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        RangeIndex, in order of time, one row for each model and nominal memory; columns and dtypes as in the columns page, also
        when empty: then ``attrs["vastnb"]["notes"]`` says what to run.

    Raises
    ------
    ConfigError
        The extra ``history`` is not installed.
    StateError, NewerStateError
        The store cannot be used.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01", seed=1)
    >>> _ = vastnb.sample("RTX 4090")
    >>> df = vastnb.history("RTX 4090")
    >>> set(df.gpu_name), bool(df.usd_per_gpu_hour_median.between(0.1, 1).all())
    ({'RTX 4090'}, True)
    """
    _check(days, by, rental)
    require()
    there = client if client is not None else current().client
    names = _named(gpu_name)
    store = store_of(there)
    notes = _packed(store)
    window = _window(store, there, days, "hour" if by in ("hour", "clock") else "day")
    about = {"query": ", ".join(names), "rental": rental, "by": by, **_whence(there, window)}
    if machine is not None:
        return _life(window, machine, {**about, "machine": machine, "notes": notes})
    frame = _figured(window, names, by, rental)
    cheapest = _cheapest(frame) if _SPANS[by] == "hour" else {}
    notes += [f"{model}: cheapest at {_hours(hours)} h UTC." for model, hours in list(cheapest.items())[:_SAID]]
    notes += [] if len(frame) else _nothing(window, names, rental, newest(store))
    if by == "clock":
        frame = _by_clock(frame)
    about |= {"returned": len(frame), "n": int(frame["n"].sum()), "cheapest_hours_utc": cheapest, "notes": notes}
    frame.attrs["vastnb"] = {"kind": "history", **about}
    return frame


def _named(gpu_name: str | Sequence[str]) -> list[str]:
    """Models as Vast writes them."""
    given = [gpu_name] if isinstance(gpu_name, str) else gpu_name
    names = [name.replace("_", " ").strip() for name in given]
    return [gpu_canonical(name) or name for name in names if name]


def _hours(hours: Sequence[int]) -> str:
    return ", ".join(f"{hour:02d}" for hour in hours)


def _check(days: float | None, by: str, rental: str) -> None:
    if days is not None and not 0 < days <= 36525:
        raise InputError(f"days must be above 0 and at most 36525, got {days}")
    if by not in _SPANS:
        raise InputError(f"by must be one of {', '.join(_SPANS)}, got {by!r}")
    if rental not in RENTALS:
        raise InputError(f"rental must be one of {', '.join(RENTALS)}, got {rental!r}")


def _packed(store: Store) -> list[str]:
    """Pack what is over; a full disk does not keep anybody from reading."""
    if store.folder.is_dir():
        store.name()
    try:
        pack(store)
    except NewerStateError:
        raise
    except StateError as error:
        return [f"Not packed: {error.message}"]
    return []


def _window(store: Store, client: Client, days: float | None, span: str) -> Window:
    """The last `days`. A service on this computer has a clock of its own: there they end with what it said last."""
    if days is None:
        return Window.of(store, _EPOCH)
    end = newest(store) if client.settings.local else None
    return Window.of(store, beginning(end or datetime.now(UTC), days * 86400, span))


def _whence(client: Client, window: Window) -> dict[str, Any]:
    sandbox = client.settings.profile == "sandbox"
    return {
        "source": "sandbox" if sandbox else "vast",
        "url": client.settings.url,
        "account": client.account_name,
        "since": window.start.isoformat(timespec="seconds"),
    }


def _figured(window: Window, names: Sequence[str], by: By, rental: str) -> pd.DataFrame:
    condition, values = "rental = ?", [rental, *names]
    if names:
        condition += f" and gpu_name in ({', '.join('?' * len(names))})"
    made = window.made("all", condition, values) if by == "model" else window.figures(_SPANS[by], condition, values)
    frame = made.to_pandas()
    frame["hour_utc"] = frame["time"].dt.hour if _SPANS[by] == "hour" else None
    return pinned(frame.assign(time=None) if by == "model" else frame, "history")


def _by_clock(frame: pd.DataFrame) -> pd.DataFrame:
    """Each hour of the day: the median of what it was on each day, so that a day with many answers counts no more than another."""
    prices = {c: "median" for c in frame.columns if c.startswith("usd")}
    groups = frame.groupby([*_GROUP, "hour_utc", "rental"], dropna=False, as_index=False)
    made = groups.agg({**prices, "supply": "mean", "n": "sum", "snapshots": "sum", "usd_per_gpu_hour_min": "min"})
    return pinned(made.assign(time=None), "history")


def _cheapest(frame: pd.DataFrame) -> dict[str, list[int]]:
    """The three hours of the day (UTC) in which each model was cheapest, where there are enough to tell, the first the cheapest."""
    if frame["time"].dt.normalize().nunique() < _FEW_DAYS:
        return {}
    found = {}
    for (name, ram), part in frame.groupby(_GROUP):
        clock = part.groupby("hour_utc")["usd_per_gpu_hour_median"].median().sort_values(kind="stable")
        if len(clock) >= _FEW_HOURS:
            found[f"{name} {ram:g} GB"] = [int(hour) for hour in clock.index[:_CHEAPEST]]
    return found


def _nothing(window: Window, names: Sequence[str], rental: str, last: datetime | None) -> list[str]:
    """Why there is nothing, and what to run."""
    model = names[0] if names else "RTX 4090"
    run = f'vastnb.sample("{model}") or %vast history {model.replace(" ", "_")} --sample takes the first; more make a history.'
    if last is not None and last < window.start:
        return [
            f"Nothing as new as that: the newest answer is of {last:%Y-%m-%d}. days=None goes back to the first.",
            run,
        ]
    table = window.snapshots().to_pylist()
    mine = [row for row in table if row["rental"] == rental and _asks(row["models"], names)]
    why = Counter(row["why"] for row in mine if row["holds"] == "part")
    left = [f"{count:,} answers cannot count: {reason}." for reason, count in why.most_common(3)]
    first = f"Nothing that counts is recorded of {', '.join(names) or 'the market'} ({rental}) in this time."
    return [first, *left, run]


def _asks(models: str, names: Sequence[str]) -> bool:
    return not models or not names or not set(models.split("|")).isdisjoint(names)


def _life(window: Window, machine: int, about: dict[str, Any]) -> pd.DataFrame:
    import pyarrow as pa

    with database() as db:
        window.offers(db)
        table = db.sql(_LIFE, params=[int(machine), int(window.start.timestamp() * 1e6)]).to_arrow_table()
    stamp = pa.timestamp("us", "UTC")
    for name in ("from_at", "until_at"):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(stamp))
    frame = pinned(table.to_pandas(), "machine life")
    notes = about["notes"] if len(frame) else [*about["notes"], f"Machine {machine} was not seen in this time."]
    frame.attrs["vastnb"] = {"kind": "machine life", **about, "returned": len(frame), "notes": notes}
    return frame
