"""The last look at the account's machines, shared by all who show them: one asks, the others read.

1. `Glances.newest` reads what was seen last. While that is new enough, nobody is asked.
2. Otherwise whoever takes the lease asks, for all kernels of the user; the others go on with what there is.
3. What cannot be read changes no machine: the last ones stay, with their time and the reason why there are no newer ones, and the next
   try waits longer each time.

Nothing runs here by itself: while nobody wants to see, nobody asks. In the file is what a panel shows, and nothing secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from vastnb.errors import RateLimitError, VastError
from vastnb.infra.processes import is_gone, new_mark
from vastnb.services.events import Queue, queue_of
from vastnb.services.instances.fleet import Fleet, Sight
from vastnb.services.instances.labels import read_label
from vastnb.services.instances.spending import bill_of, usd_per_hour_now
from vastnb.services.instances.states import phase_of
from vastnb.services.journal import Rental
from vastnb.vast.render import plain
from vastnb.vast.types.records import InstanceRecord

__all__ = ["Glance", "Glances", "Problem", "SeenMachine"]

_NOTE, _LEASE = "glance", "lease of the glance"
_FORM = 2
"""Of what is kept; a look in another form is none."""
_LEASE_S = 300.0
"""No look takes longer: a process number may have been given out again."""
_LONGEST_PAUSE_S = 300.0
_MONEY_S = 60.0
"""Balance and charges are asked less often than the machines; in between, they are reckoned."""
_GONE_S = 120.0
"""A machine that is no longer listed is shown for so long, so that nobody looks for it."""
_HISTORY_MIN = 60
_LONGEST_TEXT = 120


@dataclass(frozen=True, slots=True)
class SeenMachine:
    """A machine as it was seen: all that is shown of it."""

    id: int
    phase: str
    ours: bool
    """Whether vastnb made it."""
    name: str = ""
    label: str = ""
    """The text of its label that is not ours."""
    gpu_name: str = ""
    num_gpus: int | None = None
    gpu_ram_gb: float | None = None
    geolocation: str = ""
    message: str = ""
    """The service's words about it."""
    is_bid: bool = False
    usd_per_hour: float | None = None
    """As it is now; None if that is not known."""
    disk_usd_per_hour: float | None = None
    bid_usd_per_hour: float | None = None
    min_bid_usd_per_hour: float | None = None
    inet_up_usd_per_gb: float | None = None
    """What it costs to bring files home."""
    gpu_util: float | None = None
    gpu_ram_used_gb: float | None = None
    gpu_temp_c: float | None = None
    disk_gb: float | None = None
    disk_used_gb: float | None = None
    started_at: float | None = None
    ends_at: float | None = None
    """When it ends itself; times of machines are the service's, seconds since 1970."""
    at_end: str = ""
    host_ends_at: float | None = None
    charged_usd: float | None = None
    """What it was charged until the glance's `money_at`."""
    uses: tuple[tuple[int, float], ...] = ()
    """The use of its GPUs, 0 to 1, in minutes since 1970, oldest first; at most an hour of it."""
    gone_at: float | None = None
    """This computer's clock when a look lacked it; None while it is there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the machines could not be listed."""

    name: str
    message: str
    hint: str | None = None

    @classmethod
    def of(cls, error: VastError) -> Problem:
        """The problem that an error tells of; of one that passes by itself without its hint, for who shows it looks again by itself."""
        return cls(type(error).__name__, plain(error.message), None if error.retryable else error.hint)


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen at the last look that could be read, and what became of the last try."""

    at: float = 0.0
    """The service's clock, seconds since 1970; 0 if there was no look yet."""
    looked_at: float = 0.0
    """This computer's clock at the same moment."""
    machines: tuple[SeenMachine, ...] = ()
    waiting: tuple[str, ...] = ()
    """Labels of rentals whose answer was lost."""
    is_practice: bool = False
    balance_usd: float | None = None
    money_at: float = 0.0
    """The service's clock when balance and charges were asked; 0 if they were not."""
    tried_at: float = 0.0
    """This computer's clock at the last try."""
    pause_s: float = 0.0
    """How long nobody should try again, after failures."""
    failures: int = 0
    problem: Problem | None = None
    """Why the last try failed; None if it did not."""

    def due_in_s(self, max_age_s: float, now: float) -> float:
        """How long until somebody should ask, if what is shown may be `max_age_s` old; `now` by this computer's clock."""
        return 0.0 if self.tried_at > now else max(0.0, self.tried_at + max(max_age_s, self.pause_s) - now)


class Glances:
    """The last look at the machines of one account.

    Parameters
    ----------
    fleet
        The machines.
    clock
        This computer's clock, seconds since 1970.

    Raises
    ------
    StateError
        From each method: the file that is shared cannot be used.
    """

    def __init__(self, fleet: Fleet, *, clock: Callable[[], float] = time.time) -> None:
        self.fleet, self.clock = fleet, clock
        self._me = new_mark()
        self.error: VastError | None = None
        """Why the last look that this one made failed; None if it did not."""

    def newest(self, max_age_s: float, *, insist: bool = False) -> Glance:
        """The last look, after a new one if that is older than `max_age_s` and nobody else is at it.

        Parameters
        ----------
        max_age_s
            How old it may be.
        insist
            Ask also where tries failed so often that the next should wait.
        """

        def is_due(glance: Glance) -> bool:
            return (replace(glance, pause_s=0.0) if insist else glance).due_in_s(max_age_s, self.clock()) <= 0

        with self._open() as queue:
            glance = _read(queue.note(_NOTE)[0])
            if not is_due(glance) or not self._take_lease(queue):
                return glance
            try:
                glance = _read(queue.note(_NOTE)[0])
                if is_due(glance):
                    glance = self._ask(glance)
                    queue.exchange(_NOTE, lambda _: _written(glance))
            finally:
                queue.exchange(_LEASE, lambda text: "" if text and orjson.loads(text)[0] == self._me else text)
        return glance

    def happened(self, limit: int) -> list[dict[str, Any]]:
        """The newest events of the account, newest first: ``number``, ``kind``, ``subject``, ``at`` and ``message``."""
        with self._open() as queue:
            rows = queue.rows(limit=limit)
        return [
            {**{name: row[name] for name in ("number", "kind", "subject", "at")},
             "message": plain(str(orjson.loads(row["data"]).get("message") or ""))}
            for row in rows
        ]  # fmt: skip

    @contextmanager
    def _open(self) -> Iterator[Queue]:
        """The file, open only while it is used: a panel that nobody looks at keeps none open."""
        queue = queue_of(self.fleet.client)
        try:
            yield queue
        finally:
            queue.close()

    def _take_lease(self, queue: Queue) -> bool:
        now = self.clock()
        mine = orjson.dumps([self._me, now + _LEASE_S]).decode()

        def take(text: str) -> str:
            owner, until = orjson.loads(text) if text else ("", 0.0)
            return mine if not owner or until < now or is_gone(owner) else text

        return queue.exchange(_LEASE, take) == mine

    def _ask(self, before: Glance) -> Glance:
        self.error = None
        try:
            sight = self.fleet.look()
        except VastError as error:
            self.error = error
            return _failed(before, error, self.clock())
        after = _looked(before, sight, self.clock())
        return self._with_money(after) if _is_money_old(before, after) else after

    def _with_money(self, glance: Glance) -> Glance:
        """What is left and what was charged; what a key may not see is unknown."""
        unknown = tuple(replace(machine, charged_usd=None) for machine in glance.machines)
        tried = replace(glance, money_at=glance.at, balance_usd=None, machines=unknown)
        with suppress(VastError):
            tried = replace(tried, balance_usd=self.fleet.client.user(refresh=True).left_usd)
        with suppress(VastError):
            charges = self._charges(glance) if glance.machines else []
            charged = [replace(m, charged_usd=bill_of(m.id, charges).usd_total) for m in glance.machines]
            tried = replace(tried, machines=tuple(charged))
        return tried

    def _charges(self, glance: Glance) -> list[dict[str, Any]]:
        since = min(machine.started_at or glance.at for machine in glance.machines) - 86_400
        until = datetime.fromtimestamp(glance.at + 60, UTC)
        return self.fleet.machines.charges(datetime.fromtimestamp(since, UTC), until)


def _looked(before: Glance, sight: Sight, now: float) -> Glance:
    """The glance after a look that could be read."""
    known = {machine.id: machine for machine in before.machines}
    machines = [
        _seen(record, sight.rows.get(record.id), sight.now, known.get(record.id)) for record in sight.listing.records
    ]
    return Glance(
        at=sight.now,
        looked_at=now,
        machines=(*machines, *_gone(known, {machine.id for machine in machines}, now)),
        waiting=tuple(rental.label for rental in sight.waiting),
        is_practice=sight.listing.sandbox,
        balance_usd=before.balance_usd,
        money_at=before.money_at,
        tried_at=now,
    )


def _failed(before: Glance, error: VastError, now: float) -> Glance:
    """The glance after a look that could not be read: nothing but the reason is new."""
    asked = error.retry_after_s if isinstance(error, RateLimitError) else None
    pause = max(asked or 0.0, min(_LONGEST_PAUSE_S, 5.0 * 2.0 ** min(before.failures, 10)))
    return replace(before, tried_at=now, failures=before.failures + 1, pause_s=pause, problem=Problem.of(error))


def _is_money_old(before: Glance, after: Glance) -> bool:
    """Also when a machine is new, or has gone: then the balance is what is looked at."""
    return _listed(before) != _listed(after) or not 0 <= after.at - after.money_at < _MONEY_S


def _listed(glance: Glance) -> set[int]:
    return {machine.id for machine in glance.machines if machine.gone_at is None}


def _seen(record: InstanceRecord, rental: Rental | None, now: float, before: SeenMachine | None) -> SeenMachine:
    phase = phase_of(record, was_stopped=rental is not None and rental.was_stopped)
    label = read_label(record.label)
    same = {name: getattr(record, name) for name in ("num_gpus", "gpu_ram_gb", "disk_usd_per_hour", "min_bid_usd_per_hour", "inet_up_usd_per_gb",
            "gpu_util", "gpu_ram_used_gb", "gpu_temp_c", "disk_gb", "disk_used_gb")}  # fmt: skip
    return SeenMachine(
        **same,
        id=record.id,
        phase=phase,
        ours=rental is not None,
        name=rental.name if rental is not None else "",
        label=plain((label.text if label is not None else record.label) or "", _LONGEST_TEXT),
        gpu_name=plain(record.gpu_name or "", _LONGEST_TEXT),
        geolocation=plain(record.geolocation or "", _LONGEST_TEXT),
        message=plain(record.status_msg or "", _LONGEST_TEXT),
        is_bid=bool(record.is_bid),
        usd_per_hour=usd_per_hour_now(record, phase),
        bid_usd_per_hour=record.gpu_usd_per_hour if record.is_bid else None,
        started_at=record.start_date,
        ends_at=rental.ends_at if rental is not None else None,
        at_end=str(rental.terms.get("at_end") or "") if rental is not None else "",
        host_ends_at=record.end_date,
        charged_usd=before.charged_usd if before is not None else None,
        uses=_uses(before.uses if before is not None else (), now, record.gpu_util if phase == "running" else None),
    )


def _uses(before: Iterable[tuple[int, float]], now: float, use: float | None) -> tuple[tuple[int, float], ...]:
    """A point a minute, the last one seen in it; what was not seen is left out."""
    minute = int(now // 60)
    kept = tuple((at, seen) for at, seen in before if minute - _HISTORY_MIN < at < minute + (use is None))
    return kept if use is None else (*kept, (minute, round(use, 3)))


def _gone(known: Mapping[int, SeenMachine], listed: set[int], now: float) -> list[SeenMachine]:
    """Those that the list lacks now, for as long as they are shown."""
    lacked = [
        replace(m, phase="gone", usd_per_hour=0.0, gone_at=m.gone_at or now)
        for m in known.values()
        if m.id not in listed
    ]
    return [machine for machine in lacked if machine.gone_at is not None and 0 <= now - machine.gone_at < _GONE_S]


def _written(glance: Glance) -> str:
    return orjson.dumps({"form": _FORM, **asdict(glance)}).decode()


def _read(text: str) -> Glance:
    content = orjson.loads(text) if text else {}
    if content.pop("form", None) != _FORM:
        return Glance()
    machines = [
        SeenMachine(**{**m, "uses": tuple((at, use) for at, use in m["uses"])}) for m in content.pop("machines")
    ]
    problem, waiting = content.pop("problem"), tuple(content.pop("waiting"))
    return Glance(**content, machines=tuple(machines), waiting=waiting, problem=Problem(**problem) if problem else None)
