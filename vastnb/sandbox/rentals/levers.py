"""What tests and lessons do to rented machines that no renter could: the sandbox's own controls.

Each finds its instance by id, acts at the sandbox's now, and returns when that has been told to the backend.
"""

from collections.abc import Callable
from typing import Any

from .engine import Rentals
from .meters import BYTES_PER_GB
from .rental import Rental

_FOREVER_S = 1e9
_LOOKS_AGAIN_S = 60.0


class Levers:
    """The controls."""

    def __init__(self, rentals: Rentals) -> None:
        self._rentals = rentals
        self._ends: dict[int, float] = {}

    def outbid(self, instance_id: int, usd_per_hour: float | None = None) -> None:
        """Bid more for an interruptible instance's GPUs, until its own bid is at least that."""
        self._act(instance_id, lambda rental: self._rentals.outbid(rental, usd_per_hour))

    def offline(self, instance_id: int, seconds: float | None = None) -> None:
        """Let the host of an instance vanish, for a time or for good."""
        self._act(instance_id, lambda rental: self._rentals.take_offline(rental, _positive(seconds or _FOREVER_S)))

    def stick(self, instance_id: int) -> None:
        """Let an instance never get through loading."""
        self._act(instance_id, self._rentals.stick)

    def ends_itself(self, instance_id: int, at: float, stop: bool = False) -> None:
        """Let an instance end itself at a time, as a script on it would: once it runs, then or later."""

        def plan(rental: Rental) -> None:
            self._ends[rental.id] = _positive(at)
            self._rentals.later(max(0.0, at - self._rentals.now), lambda: self._end(rental, at, stop))

        self._act(instance_id, plan)

    def _end(self, rental: Rental, at: float, stop: bool) -> None:
        if self._ends.get(rental.id) != at or self._rentals.contracts.find(rental.id) is None:
            return
        if rental.phase != "running":
            self._rentals.later(_LOOKS_AGAIN_S, lambda: self._end(rental, at, stop))
            return
        (self._rentals.stop if stop else self._rentals.destroy)(rental)

    def traffic(self, instance_id: int, down_gb: float = 0.0, up_gb: float = 0.0) -> None:
        """Let an instance move data over the internet, all at once."""
        down, up = (round(_positive(size) * BYTES_PER_GB) for size in (down_gb, up_gb))
        self._act(instance_id, lambda rental: self._rentals.carry(rental, down_bytes=down, up_bytes=up))

    def reprice(self, offer_id: int, factor: float) -> None:
        """Multiply what the machine of an offer asks, on demand and at least, from now on."""
        with self._rentals.lock:
            slot = self._rentals.market.slot(offer_id, self._rentals.catch_up())
            if slot is None:
                raise ValueError(f"there is no offer {offer_id} now")
            self._rentals.market.reprice(slot, _positive(factor))
            self._rentals.look_again(slot)
        self._rentals.tell()

    def history(self, instance_id: int) -> list[dict[str, Any]]:
        """Return every change in the life of an instance, gone ones included."""
        with self._rentals.lock:
            self._rentals.catch_up()
            found = [rental for rental in self._rentals.contracts.all() if rental.id == instance_id]
        if not found:
            raise ValueError(f"there never was an instance {instance_id}")
        return [moment.shown() for moment in found[0].moments]

    def _act(self, instance_id: int, act: Callable[[Rental], None]) -> None:
        with self._rentals.lock:
            self._rentals.catch_up()
            rental = self._rentals.contracts.find(instance_id)
            if rental is None:
                raise ValueError(f"there is no instance {instance_id} now")
            act(rental)
        self._rentals.tell()


def _positive(number: float) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e12:
        raise ValueError(f"expected a number from 0, got {number!r}")
    return float(number)
