"""Price alerts: tell, once, when something becomes as cheap as one wants it.

An alert is a query and a price. Each look at the market asks for the cheapest offer of the query, and `judge` decides (pure): the event
``market.price`` is published when the price is reached, and again only after it was missed by 5 % or nothing was on offer.

Alerts lie beside the events of the account, so that they outlive the kernel and any watcher of the user judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from vastnb.errors import InputError, NotFoundError, VastError
from vastnb.services.events import Event, Queue, queue_of
from vastnb.services.offers import search
from vastnb.services.session import current
from vastnb.vast.query import DEFAULT_DISK_GB, parse_query

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["Alert", "Cheapest", "alert", "alerts", "alerts_of", "drop_alert", "judge", "look"]

_NOTE = "price alerts"
_MISSED_BY = 1.05
"""A price that only trembles around the limit is told of once."""
_MOST = 50


@dataclass(frozen=True, slots=True)
class Alert:
    """What is to be told of, and how far it is."""

    name: str
    """Its own; the query, if no other was given."""
    query: str
    below_usd_per_hour: float
    """For all GPUs of the offer, with the disk."""
    rental: str = "on-demand"
    disk_gb: float = DEFAULT_DISK_GB
    reached: bool = False
    """Whether the price was reached, and not missed since: then it is not told of again."""
    times: int = 0
    """How often it was told of."""
    usd_per_hour: float | None = None
    """The cheapest at the last look; None if there was nothing, or no look yet."""
    looked_at: str | None = None
    """When that was, by the service's clock."""


@dataclass(frozen=True, slots=True)
class Cheapest:
    """The cheapest offer of a query at one moment."""

    at: str
    """By the service's clock, ISO text."""
    usd_per_hour: float | None
    """None if there is no offer at all."""
    offer: Mapping[str, Any]
    """Which one it is."""


def judge(alert: Alert, cheapest: Cheapest) -> tuple[Alert, Event | None]:
    """What becomes of an alert, and what is to be told."""
    usd = cheapest.usd_per_hour
    is_reached = usd is not None and usd <= alert.below_usd_per_hour * (_MISSED_BY if alert.reached else 1.0)
    is_news = is_reached and not alert.reached
    after = replace(alert, reached=is_reached, times=alert.times + is_news, usd_per_hour=usd, looked_at=cheapest.at)
    return after, _event(after, cheapest) if is_news else None


def _event(alert: Alert, cheapest: Cheapest) -> Event:
    said = f"{alert.name}: ${cheapest.usd_per_hour:.3f}/h for offer {cheapest.offer['offer_id']}, wanted at most ${alert.below_usd_per_hour:g}/h"
    data = {"message": said, "alert": alert.name, "query": alert.query, "rental": alert.rental, "disk_gb": alert.disk_gb,
            "below_usd_per_hour": alert.below_usd_per_hour, **cheapest.offer}  # fmt: skip
    number = f"price {cheapest.at} {alert.times} {alert.name}"
    return Event(number, "market.price", "", datetime.fromisoformat(cheapest.at), data)


def look(client: Client, queue: Queue, *, pause: Callable[[], bool] = lambda: False) -> list[Event]:
    """Ask for the cheapest offer of each alert, one request each, and publish what is new.

    Parameters
    ----------
    client, queue
        Who is asked, and where alerts and events lie.
    pause
        Waits after each request; whether to ask no more.

    Raises
    ------
    VastError
        The market cannot be asked; what was asked before that is judged.
    """
    seen: dict[str, Cheapest] = {}
    problem: VastError | None = None
    for wanted in alerts_of(queue):
        try:
            found = _cheapest(wanted, client)
        except VastError as error:
            problem = error
            break
        if found is not None:
            seen[wanted.name] = found
        if pause():
            break
    new = _judge_all(queue, seen)
    if problem is not None:
        raise problem
    return new


def _cheapest(wanted: Alert, client: Client) -> Cheapest | None:
    """None if one request could not tell."""
    options: dict[str, Any] = {"rental": wanted.rental, "disk_gb": wanted.disk_gb}
    frame = search(wanted.query, refresh=True, max_requests=1, client=client, **options)
    about = frame.attrs["vastnb"]
    if about["stale"] or (frame.empty and not about["complete"]):
        return None
    if frame.empty:
        return Cheapest(about["seen_at"], None, {})
    first = frame.iloc[0]
    told = ("offer_id", "machine_id", "gpu_name", "num_gpus", "usd_per_hour")
    offer = {name: first[name].item() if hasattr(first[name], "item") else first[name] for name in told}
    return Cheapest(about["seen_at"], float(first["usd_per_hour"]), offer)


def _judge_all(queue: Queue, seen: Mapping[str, Cheapest]) -> list[Event]:
    """Alerts and events change together; if somebody changed the alerts meanwhile, the next look judges them."""
    text, revision = queue.note(_NOTE)
    judged = [judge(wanted, seen[wanted.name]) if wanted.name in seen else (wanted, None) for wanted in _read(text)]
    events = [event for _, event in judged if event is not None]
    return queue.add(events, source="watcher", note=(_NOTE, _written([wanted for wanted, _ in judged]), revision))


def alert(
    query: str,
    *,
    below_usd_per_hour: float,
    rental: str = "on-demand",
    disk_gb: float = DEFAULT_DISK_GB,
    name: str | None = None,
) -> Alert:
    """Have the event ``market.price`` published when an offer costs as little as this.

    It is kept until `drop_alert`, and judged at each look at the market of ``%vast watch`` or ``vastnb sync``, in whatever kernel that
    runs. The same again changes nothing.

    Parameters
    ----------
    query
        Conditions, as for `search`.
    below_usd_per_hour
        For all GPUs of the offer and the disk, above 0.
    rental
        ``"on-demand"``, ``"bid"`` or ``"reserved"``.
    disk_gb
        Disk that the price includes, in GB.
    name
        What it is called; without one, its query. One of the same name is replaced.

    Raises
    ------
    QueryError, InputError
        It cannot be right.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.alert("gpu_name=RTX_4090 num_gpus>=2", below_usd_per_hour=0.4).reached
    False
    """
    parse_query(query, rental=rental, disk_gb=disk_gb)
    if not 0 < below_usd_per_hour < float("inf"):
        raise InputError(f"below_usd_per_hour must be above 0, got {below_usd_per_hour!r}")
    wanted = Alert((name or query).strip(), query, float(below_usd_per_hour), rental, float(disk_gb))
    if not wanted.name:
        raise InputError("an alert without a query needs a name")

    def put(known: list[Alert]) -> list[Alert]:
        if any(_is_same(wanted, other) for other in known):
            return known
        if len(known) >= _MOST:
            raise InputError(f"there are {_MOST} price alerts already", hint="vastnb.drop_alert(name)")
        return [*(other for other in known if other.name != wanted.name), wanted]

    return next(kept for kept in _change(put) if kept.name == wanted.name)


def _is_same(wanted: Alert, other: Alert) -> bool:
    return wanted == replace(other, reached=False, times=0, usd_per_hour=None, looked_at=None)


def alerts() -> pd.DataFrame:
    """The price alerts of the account, and how far each is.

    Returns
    -------
    DataFrame
        A row an alert; columns as documented under ``alerts``.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> _ = vastnb.alert("gpu_name=H100_SXM", below_usd_per_hour=1.2, name="cheap")
    >>> "cheap" in set(vastnb.alerts().name)
    True
    """
    from vastnb.vast.types.frames import frame_of

    client = current().client
    known = _change(lambda found: found)
    rows = [asdict(kept) | {"looked_at": _time(kept.looked_at)} for kept in known]
    names = rows[0] if rows else {}
    frame = frame_of("alerts", {column: [row[column] for row in rows] for column in names})
    frame.attrs["vastnb"] = {"kind": "alerts", "account": client.account_name, "returned": len(frame)}
    return frame


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def drop_alert(name: str) -> None:
    """Forget a price alert.

    Raises
    ------
    NotFoundError
        There is none of this name.
    """

    def without(known: list[Alert]) -> list[Alert]:
        rest = [other for other in known if other.name != name]
        if len(rest) == len(known):
            names = ", ".join(other.name for other in known)
            raise NotFoundError(f"there is no price alert {name}", hint=f"there are: {names}" if names else None)
        return rest

    _change(without)


def alerts_of(queue: Queue) -> list[Alert]:
    """The price alerts that lie beside these events."""
    return _read(queue.note(_NOTE)[0])


def _change(change: Callable[[list[Alert]], list[Alert]]) -> list[Alert]:
    queue = queue_of(current().client)
    try:
        return _read(queue.exchange(_NOTE, lambda text: _written(change(_read(text)))))
    finally:
        queue.close()


def _read(text: str) -> list[Alert]:
    return [Alert(**told) for told in orjson.loads(text)] if text else []


def _written(known: list[Alert]) -> str:
    return orjson.dumps([asdict(kept) for kept in known]).decode() if known else ""
