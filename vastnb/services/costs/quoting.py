"""What a job will cost: GPU, disk, traffic and time stopped, each part by itself. Pure, but for looking up an offer by its id.

The prices are the offer's own: GPUs by the hour while it runs, disk by the hour as long as the machine exists (a month has 720
hours), traffic by the gigabyte. What the service does not say is not guessed: a part that cannot be priced is NA, and so is the
total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vastnb.errors import InputError
from vastnb.services.arguments import only_known
from vastnb.services.session import current

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["LEAST_DISK_GB", "Job", "Quote", "differences", "hours_left", "job_of", "priced", "quote", "quote_of_row"]

LEAST_DISK_GB = 8
"""Less cannot be rented."""
_HOURS_A_MONTH = 720
_SAME = ("offer_id", "machine_id", "gpu_name", "num_gpus", "rental", "account", "url")
_PRICED = ("usd_per_hour", "gpu_usd", "disk_usd", "download_usd", "upload_usd", "idle_usd", "usd_total")
_SAME_PRICE = 1e-9
"""Share by which the same price may differ from itself after arithmetic."""
_NEEDED = (
    "offer_id",
    "gpu_usd_per_hour",
    "storage_usd_per_gb_month",
    "inet_down_usd_per_gb",
    "inet_up_usd_per_gb",
    "rental",
)
_TOLD = ("offer_id", "machine_id", "gpu_name", "num_gpus", "rental", "seen_at")
_NAMED = ("hours", "disk_gb", "download_gb", "upload_gb", "idle_hours")


class Job(BaseModel):
    """What is to be paid for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hours: float = Field(1, gt=0, le=100_000, description="hours that the machine runs")
    disk_gb: float = Field(10, ge=LEAST_DISK_GB, le=100_000, description="disk, as long as the machine exists")
    download_gb: float = Field(0, ge=0, le=10_000_000, description="data to the machine")
    upload_gb: float = Field(0, ge=0, le=10_000_000, description="data from the machine")
    idle_hours: float = Field(0, ge=0, le=100_000, description="hours that it stands stopped, its disk kept")
    bid_usd_per_hour: float | None = Field(
        None, gt=0, description="for an interruptible machine: the bid, for all GPUs"
    )


class Quote(BaseModel):
    """The price of a job on one offer, and what it was made of.

    ``usd_total`` is the sum of the parts; None where a part could not be priced. ``uncertain`` says what may change it.
    """

    model_config = ConfigDict(frozen=True)

    offer_id: int
    machine_id: int | None = None
    gpu_name: str | None
    num_gpus: int | None
    rental: str
    job: Job
    account: str | None = Field(None, description="for whom it was made, as `vastnb.search` names it")
    url: str | None = Field(None, description="where it was made")
    usd_per_hour: float | None = Field(description="GPUs and disk, while it runs")
    gpu_usd: float | None
    disk_usd: float | None
    download_usd: float | None
    upload_usd: float | None
    idle_usd: float | None
    usd_total: float | None
    uncertain: tuple[str, ...]
    seen_at: datetime | None

    @property
    def gpu_usd_per_hour(self) -> float | None:
        """GPUs alone, while it runs."""
        return None if self.gpu_usd is None else self.gpu_usd / self.job.hours

    def __repr__(self) -> str:
        total = "unknown" if self.usd_total is None else f"${self.usd_total:,.2f}"
        parts = {"GPU": self.gpu_usd, "disk": self.disk_usd, "download": self.download_usd, "upload": self.upload_usd,
                 "stopped": self.idle_usd}  # fmt: skip
        said = ", ".join(f"{name} {'?' if usd is None else f'${usd:,.2f}'}" for name, usd in parts.items() if usd != 0)
        lines = [f"{total} for {self.job.hours:g} h on {self.num_gpus} x {self.gpu_name} ({self.rental}): {said}"]
        return "\n".join([*lines, *self.uncertain])


@only_known
def quote(
    what: pd.DataFrame | pd.Series | int,
    *,
    hours: float = 1,
    disk_gb: float = 10,
    download_gb: float = 0,
    upload_gb: float = 0,
    idle_hours: float = 0,
    bid_usd_per_hour: float | None = None,
    rental: str = "on-demand",
    client: Client | None = None,
) -> pd.DataFrame | Quote:
    """What a job costs on an offer, or on each offer of a frame.

    Parameters
    ----------
    what
        A frame of offers, one row of it, or an offer's id (which is then asked for anew).
    hours
        Hours that the machine runs.
    disk_gb
        Disk, in GB, at least 8; it is paid for as long as the machine exists, stopped or not.
    download_gb, upload_gb
        Data to and from the machine, in GB.
    idle_hours
        Hours that the machine stands stopped.
    bid_usd_per_hour
        For an interruptible machine: the bid for all its GPUs together; without it the lowest that runs now.
    rental
        For an id: ``on-demand``, ``bid`` or ``reserved``. Rows know theirs.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame or Quote
        For a frame, one row an offer, cheapest first: offer_id, gpu_name, num_gpus, usd_total, usd_per_hour, the parts gpu_usd,
        disk_usd, download_usd, upload_usd, idle_usd, what is uncertain, rental, hours, disk_gb, seen_at. For a row or an id, a
        `Quote`. What cannot be priced is NA (None).

    Raises
    ------
    InputError
        A number out of range, or something that is no offer.
    OfferGoneError
        No offer has this id any more.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> df = vastnb.search("gpu_name=RTX_4090")
    >>> q = vastnb.quote(df, hours=10, disk_gb=50, download_gb=100, upload_gb=5)
    >>> bool((q.usd_total > 0).all()), vastnb.quote(df.iloc[0], hours=10).job.hours
    (True, 10.0)
    """
    import pandas as pd

    job = job_of(hours=hours, disk_gb=disk_gb, download_gb=download_gb, upload_gb=upload_gb, idle_hours=idle_hours,
               bid_usd_per_hour=bid_usd_per_hour)  # fmt: skip
    if isinstance(what, pd.DataFrame):
        return _framed(what, job)
    if isinstance(what, pd.Series):
        row = what.to_frame().T
        row.attrs = dict(what.attrs)
        return quotes_of(row, job)[0]
    if isinstance(what, bool) or not isinstance(what, int):
        raise InputError(
            f"quote takes a frame of offers, a row of one or an offer's id, got {type(what).__name__}",
            hint='search first: vastnb.quote(vastnb.search("..."), hours=...)',
        )
    there = client if client is not None else current().client
    return quotes_of(there.get_offer(what, rental=rental, disk_gb=disk_gb), job)[0]


def quotes_of(offers: pd.DataFrame, job: Job) -> list[Quote]:
    """The quotes of a job on each offer of a frame, in its order."""
    about = offers.attrs.get("vastnb", {})
    return [
        _quote_of({str(n): v for n, v in row.items()}, job, about) for row in priced(offers, job).to_dict("records")
    ]


def job_of(**numbers: Any) -> Job:
    """A `Job`, or an `InputError` that says which number is out of range."""
    from pydantic import ValidationError

    try:
        return Job(**numbers)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{first['loc'][0]}: {first['msg']}, got {first['input']!r}", original=error) from error


def _framed(offers: pd.DataFrame, job: Job) -> pd.DataFrame:
    frame = priced(offers, job).sort_values("usd_total", ignore_index=True, kind="stable")
    about = offers.attrs.get("vastnb", {})
    frame.attrs["vastnb"] = {
        "kind": "quotes",
        "job": job.model_dump(),
        "returned": len(frame),
        **{name: about[name] for name in ("source", "url", "account") if name in about},
    }
    return frame


def _quote_of(values: Mapping[str, Any], job: Job, about: Mapping[str, Any]) -> Quote:
    known = {name: None if _absent(value) else value for name, value in values.items() if name in Quote.model_fields}
    uncertain = tuple(known["uncertain"].split("; ")) if known["uncertain"] else ()
    return Quote(
        **{**known, "job": job, "uncertain": uncertain, "account": about.get("account"), "url": about.get("url")}
    )


def quote_of_row(row: pd.Series) -> Quote:
    """The quote that a row of `quote`'s frame is.

    Raises
    ------
    InputError
        It is no such row.
    """
    about = row.attrs.get("vastnb", {})
    job = about.get("job") or {name: row[name] for name in Job.model_fields if name in row.index}
    lacking = [name for name in ("offer_id", "usd_total", "usd_per_hour", "rental", "disk_gb") if name not in row.index]
    if lacking:
        raise InputError(f"this is no row of vastnb.quote: there is no column {lacking[0]}")
    return _quote_of({str(name): row[name] for name in row.index}, job_of(**job), about)


def differences(agreed: Quote, now: Quote) -> list[str]:
    """What is not as it was agreed, or dearer, in words; nothing where it is the same or cheaper.

    Parameters
    ----------
    agreed, now
        Two quotes. Of the same job, each part is compared; of different ones, the price of the GPUs, unless one is a bid.
    """
    found = [
        f"{name} is {getattr(now, name)}, not {getattr(agreed, name)}"
        for name in _SAME
        if getattr(agreed, name) is not None and getattr(agreed, name) != getattr(now, name)
    ]
    for name in _PRICED if agreed.job == now.job else ("gpu_usd_per_hour",) if now.rental != "bid" else ():
        before, after = getattr(agreed, name), getattr(now, name)
        if before is not None and (after is None or after > before * (1 + _SAME_PRICE)):
            found.append(f"{name} is {'unknown' if after is None else f'${after:,.4f}'}, not ${before:,.4f}")
    return found


def _absent(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ in ("NAType", "NaTType")  # noqa: PLR0124


def priced(offers: pd.DataFrame, job: Job, hours: Any = None) -> pd.DataFrame:
    """The quotes of a job, one row an offer, in the order of `offers`.

    Parameters
    ----------
    hours
        An array, where the job takes a time of its own on each offer.
    """
    from vastnb.vast.types.frames import frame_of

    lacking = [name for name in _NEEDED if name not in offers.columns]
    if lacking:
        raise InputError(
            f"these are no offers of vastnb: there is no column {lacking[0]}", hint="vastnb.search(...) gives some"
        )
    offers = offers.copy(deep=False)
    offers.attrs = {}  # pandas copies them with every column that is taken
    parts, usd_per_hour = _parts(offers, job, job.hours if hours is None else hours)
    count = len(offers)
    told = {name: offers[name] if name in offers else [None] * count for name in _TOLD}
    named = {name: np.full(count, getattr(job, name)) for name in _NAMED}
    named |= {} if hours is None else {"hours": hours}
    uncertain = _uncertain(offers, job, parts, named["hours"])
    total = {"usd_total": sum(parts.values()), "usd_per_hour": usd_per_hour, "uncertain": uncertain}
    return frame_of("quotes", {**parts, **told, **total, **named})


def _parts(offers: pd.DataFrame, job: Job, hours: Any) -> tuple[dict[str, Any], Any]:
    """The parts of the price, as arrays, and dollars an hour."""
    gpu = _gpu_price(offers, job)
    disk = _numbers(offers, "storage_usd_per_gb_month") * job.disk_gb / _HOURS_A_MONTH
    parts = {
        "gpu_usd": gpu * hours,
        "disk_usd": disk * hours,
        "download_usd": _traffic(_numbers(offers, "inet_down_usd_per_gb"), job.download_gb),
        "upload_usd": _traffic(_numbers(offers, "inet_up_usd_per_gb"), job.upload_gb),
        "idle_usd": disk * job.idle_hours if job.idle_hours else disk * 0,
    }
    return parts, gpu + disk


def _numbers(offers: pd.DataFrame, name: str) -> Any:
    return offers[name].astype("float64").to_numpy()


def _gpu_price(offers: pd.DataFrame, job: Job) -> Any:
    """Dollars an hour for the GPUs: the list price, or for an interruptible machine the bid."""
    price = _numbers(offers, "gpu_usd_per_hour")
    if job.bid_usd_per_hour is None:
        return price
    if not (offers["rental"] == "bid").all():
        raise InputError("a bid goes with offers that were searched for with rental='bid'")
    return price * 0 + job.bid_usd_per_hour


def _traffic(usd_per_gb: Any, gb: float) -> Any:
    """No traffic costs nothing, whatever it would cost."""
    return usd_per_gb * gb if gb else np.zeros(len(usd_per_gb))


def _uncertain(offers: pd.DataFrame, job: Job, parts: Mapping[str, Any], hours: Any) -> Any:
    """What may change each price, in words."""
    said = np.full(len(offers), "", dtype=object)
    for where, words in _doubts(offers, job, parts, hours):
        doubted = np.flatnonzero(where)
        if len(doubted):
            before = said[doubted]
            more = words if isinstance(words, str) else words(doubted)
            said[doubted] = before + np.where(before == "", "", "; ").astype(object) + more
    return said


_Doubt = tuple[Any, Callable[[Any], Any] | str]
"""Where it holds, and what it says there: the same of all, or for the rows of these numbers a text each."""


def _doubts(offers: pd.DataFrame, job: Job, parts: Mapping[str, Any], hours: Any) -> Iterator[_Doubt]:
    for name, usd in parts.items():
        yield np.isnan(usd), f"no price for {name.removesuffix('_usd')}"
    bids = (offers["rental"] == "bid").to_numpy(bool)
    yield from _bid_doubts(offers, job, bids)
    if job.idle_hours:
        yield ~bids, "while it is stopped its GPUs may go to somebody else"
    if "disk_max_gb" in offers:
        room = _numbers(offers, "disk_max_gb")
        yield room < job.disk_gb, lambda n: _texts("only {:.0f} GB of disk there", room[n])
    if {"available_until", "seen_at"} <= set(offers.columns):
        left = hours_left(offers)
        yield left < hours + job.idle_hours, lambda n: _texts("the host takes it back in {:.0f} h", left[n])


def _bid_doubts(offers: pd.DataFrame, job: Job, bids: Any) -> Iterator[_Doubt]:
    known = job.bid_usd_per_hour is not None and "min_bid_usd_per_hour" in offers
    lowest = _numbers(offers, "min_bid_usd_per_hour") if known else np.full(len(offers), np.nan)
    low = bids & (lowest > (job.bid_usd_per_hour or 0))
    yield low, lambda n: _texts("the bid is below the lowest that runs now, ${:.3f}", lowest[n])
    yield bids & ~low, "who bids more stops it"


def _texts(form: str, numbers: Any) -> Any:
    return np.array([form.format(number) for number in numbers.tolist()], dtype=object)


def hours_left(offers: pd.DataFrame) -> Any:
    """Hours until the host takes each machine back, as an array; NaN where it does not say."""
    import pandas as pd

    until, seen = (pd.to_datetime(offers[name], utc=True) for name in ("available_until", "seen_at"))
    return (until - seen).dt.total_seconds().to_numpy() / 3600
