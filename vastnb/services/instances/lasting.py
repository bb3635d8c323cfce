"""A machine that does not end itself while its files are brought home: its end is put off, a little at a time, within ``max_usd``.

Where that is not allowed the machine is stopped shortly before its end: its disk then stays, and costs, with all that is on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from vastnb.errors import BudgetError, VastError
from vastnb.services.budget import Cost
from vastnb.services.instances.labels import read_label, write_label
from vastnb.services.instances.spending import bill_of
from vastnb.services.journal import Rental

if TYPE_CHECKING:
    from vastnb.services.instances.fleet import Fleet

log = logging.getLogger("vastnb.lasting")
log.addHandler(logging.NullHandler())  # a background thread writes into no cell

__all__ = ["Lasting", "move_end", "usd_left"]

_LOOK_S = 30.0
_AHEAD_S = 1800.0
"""What dies while it fetches leaves a machine that lives so much longer at most."""
_ENOUGH_S = 900.0
_STOP_S = 120.0
"""A stop must have taken effect before the machine's own clock says that it is over."""
_LATE_S = 300.0
"""Charges may come some minutes late."""


class Lasting:
    """While it is in force, a machine does not destroy itself.

    Parameters
    ----------
    fleet
        The machines.
    row
        What the journal says of this one.
    wait
        Waits some seconds; whether it is over.
    """

    def __init__(self, fleet: Fleet, row: Rental, *, wait: Callable[[float], bool] | None = None) -> None:
        self._fleet, self._row, self._first_end = fleet, row, row.ends_at
        self._over, self._lock, self._traffic_usd = threading.Event(), threading.Lock(), 0.0
        self._wait = wait or self._over.wait
        self._thread = threading.Thread(target=self._work, name="vastnb-lasting", daemon=True)

    def __enter__(self) -> Self:
        if self._row.ends_at is not None and self._row.terms.get("at_end") != "stop":
            self._try()
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def pay(self, traffic_usd: float) -> None:
        """Leave so much for the traffic of what is fetched."""
        if traffic_usd != self._traffic_usd:
            self._traffic_usd = traffic_usd
            if self._row.ends_at != self._first_end:
                self._try(anew=True)

    def _work(self) -> None:
        while not self._wait(_LOOK_S):
            self._try()

    def _try(self, *, anew: bool = False) -> None:
        try:
            with self._lock:
                self._look(anew)
        except VastError as error:
            log.warning("the end of machine %s could not be put off: %s", self._row.instance_id, error)

    def _look(self, anew: bool) -> None:
        row = self._row
        assert row.instance_id is not None
        assert row.ends_at is not None
        record, seen_at = self._fleet.machines.get(row.instance_id)
        now = seen_at.timestamp()
        left_s = row.ends_at - now
        if record is None or row.was_stopped or (left_s > _ENOUGH_S and not anew):
            return
        try:
            self._put_off(record.label or row.label, now)
        except BudgetError:
            if left_s >= _STOP_S:
                raise
            self._fleet.machines.change(row.instance_id, state="stopped")
            self._row = self._fleet.journal.update(row.token, was_stopped=True)

    def _put_off(self, label: str, now: float) -> None:
        """As far ahead as the money goes; never before the end that was agreed."""
        row = self._row
        ends_at, cap = now + _AHEAD_S, row.terms.get("max_usd")
        if cap is not None:
            ends_at = min(
                ends_at, now + 3600 * (usd_left(self._fleet, row, now) - self._traffic_usd) / row.usd_per_hour
            )
        ends_at = max(ends_at, self._first_end or 0.0)
        if ends_at < now + _STOP_S:
            raise BudgetError(f"nothing is left of max_usd={cap:g}", cap="max_usd", limit_usd=cap)
        if row.ends_at is not None and abs(ends_at - row.ends_at) < _LOOK_S:
            return
        more = (ends_at - (row.ends_at or now)) * row.usd_per_hour / 3600
        most = None if row.most_usd is None else max(row.most_usd, min(row.most_usd + more, cap or row.most_usd + more))
        self._row, _ = move_end(self._fleet, row, label, ends_at, most_usd=most)


def move_end(fleet: Fleet, row: Rental, label: str, ends_at: float, **noted: Any) -> tuple[Rental, str]:
    """Let a machine end itself at another time; its row and its label, as they then are.

    Raises
    ------
    BudgetError
        A cap of the profile does not hold.
    """
    assert row.instance_id is not None
    sight = fleet.look()
    later = {row.instance_id: replace(row, ends_at=ends_at, **noted)}
    allow = fleet.allowance(sight._replace(rows=sight.rows | later), Cost(0.0, most_usd=0.0))
    allow(fleet.journal.rows("pending", "unknown"))
    read = read_label(label)
    if read is not None:
        label = write_label(read._replace(until=int(ends_at)))
        fleet.machines.change(row.instance_id, label=label)
    if fleet.on_end is not None:
        fleet.on_end(row.instance_id, ends_at, row.terms.get("at_end", "destroy"))
    return fleet.journal.update(row.token, ends_at=ends_at, **noted), label


def usd_left(fleet: Fleet, row: Rental, now: float) -> float:
    """What is left of a machine's ``max_usd``, what may come late being counted."""
    since, until = (datetime.fromtimestamp(at, UTC) for at in (row.sent_at - 86_400, now + 60))
    assert row.instance_id is not None
    charged = bill_of(row.instance_id, fleet.machines.charges(since, until)).usd_total
    late = row.usd_per_hour * min(_LATE_S, now - row.sent_at) / 3600
    return float(row.terms["max_usd"]) - charged - late
