"""What rented things cost, in whole numbers: no rounding is ever added up.

Time is counted in 1/1024 s, prices in billionths of a dollar; their products are added exactly and rounded once for
each contract, item and UTC day. So a bill does not depend on how often somebody looked or stepped the clock.
"""

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

TICKS_PER_S = 1024
BYTES_PER_GB = 2**30
NANO = 1_000_000_000
_TICKS_PER_HOUR = 3600 * TICKS_PER_S
_TICKS_PER_DAY = 86400 * TICKS_PER_S
_GRAINS_PER_MICRO = _TICKS_PER_HOUR * 1000
"""A grain is a billionth of a dollar per hour, for one tick."""

GPU, DISK, DOWN, UP = "gpu", "disk", "bwd", "bwu"
"""The items of a bill, in the words of the service."""
_UNITS = {GPU: _TICKS_PER_HOUR, DISK: _TICKS_PER_HOUR, DOWN: BYTES_PER_GB, UP: BYTES_PER_GB}
"""How many of what is counted has the price."""


class Line(NamedTuple):
    """What one contract owes for one item and day."""

    day: int
    """UTC days since 1970."""
    item: str
    prepaid: bool
    """Whether the deposit of the contract pays, and not the account's credit."""
    quantity: float
    """Seconds, or GB of traffic."""
    micro_usd: int


def nano(usd: float) -> int:
    """Return dollars in whole billionths, rounded half up."""
    return int(Fraction(usd) * NANO + Fraction(1, 2))


def tick(at: float) -> int:
    """Return a time of the sandbox's clock in ticks."""
    return int(at * TICKS_PER_S)


class Purse:
    """Money that runs out: of an account, or of a prepaid contract."""

    def __init__(self, at: float) -> None:
        self._left, self._rate, self._since = 0, 0, tick(at)

    def pay_in(self, micro_usd: int) -> None:
        """Add money (or take some away)."""
        self._left += micro_usd * _GRAINS_PER_MICRO

    def spend(self, grains: int) -> None:
        """Take what was used at once."""
        self._left -= grains

    def change_rate(self, at: float, by: int) -> None:
        """Let it run out faster or slower from ``at`` on."""
        self._left -= self._rate * (tick(at) - self._since)
        self._since, self._rate = tick(at), self._rate + by

    def has_money(self, at: float) -> bool:
        """Whether anything is left."""
        return self._left - self._rate * (tick(at) - self._since) > 0

    def empty_at(self) -> float | None:
        """Return when it will be empty; ``None`` if it does not run out or is empty already."""
        if self._left <= 0 or self._rate <= 0:
            return None
        return (self._since - (-self._left // self._rate)) / TICKS_PER_S


class Meter:
    """What one contract has used.

    Parameters
    ----------
    at
        When it began.
    purse
        Who pays.
    """

    def __init__(self, at: float, purse: Purse) -> None:
        self.purse, self.prepaid = purse, False
        self._since = tick(at)
        self._rates: Mapping[str, int] = {}
        self._used: defaultdict[tuple[int, str, bool], list[int]] = defaultdict(lambda: [0, 0])
        self._closed = (self._since // _TICKS_PER_DAY, 0)

    def turn(self, at: float, rates: Mapping[str, int], *, purse: Purse | None = None, prepaid: bool = False) -> None:
        """Use at other rates (item -> billionths of a dollar per hour) from ``at`` on, perhaps out of another purse."""
        self._accrue(at)
        self.purse.change_rate(at, -sum(self._rates.values()))
        if purse is not None:
            self.purse, self.prepaid = purse, prepaid
        self._rates = {item: rate for item, rate in rates.items() if rate}
        self.purse.change_rate(at, sum(self._rates.values()))

    def carry(self, at: float, item: str, size: int, nano_per_gb: int) -> None:
        """Use traffic: ``size`` bytes at a price per GB."""
        self._add(tick(at) // _TICKS_PER_DAY, item, size, nano_per_gb)
        self.purse.spend(nano_per_gb * size * _TICKS_PER_HOUR // BYTES_PER_GB)

    def traffic_bytes(self, item: str) -> int:
        """Return the traffic of an item so far."""
        return sum(used[0] for (_, name, _), used in self._used.items() if name == item)

    def lines(self, until: float) -> list[Line]:
        """Return everything used before ``until``, by day and item."""
        self._accrue(until)
        return [
            Line(
                day, item, prepaid, size / (TICKS_PER_S if item in (GPU, DISK) else BYTES_PER_GB), _micro(item, product)
            )
            for (day, item, prepaid), (size, product) in sorted(self._used.items())
        ]

    def micro_usd(self, until: float) -> int:
        """Return what the account's credit has paid, whole days remembered."""
        self._accrue(until)
        today = tick(until) // _TICKS_PER_DAY
        day, total = self._closed
        if today > day:
            total += self._paid(range(day, today))
            self._closed = (today, total)
        return total + self._paid(range(today, today + 1))

    def deposit_micro_usd(self, until: float) -> int:
        """Return what its deposit has paid."""
        return sum(line.micro_usd for line in self.lines(until) if line.prepaid)

    def _paid(self, days: range) -> int:
        keys = ((day, item, False) for day in days for item in _UNITS)
        return sum(_micro(key[1], self._used[key][1]) for key in keys if key in self._used)

    def _accrue(self, until: float) -> None:
        end = tick(until)
        while self._since < end:
            day = self._since // _TICKS_PER_DAY
            stop = min(end, (day + 1) * _TICKS_PER_DAY)
            for item, rate in self._rates.items():
                self._add(day, item, stop - self._since, rate)
            self._since = stop

    def _add(self, day: int, item: str, size: int, price: int) -> None:
        used = self._used[day, item, self.prepaid]
        used[0] += size
        used[1] += size * price


def _micro(item: str, product: int) -> int:
    """Return what the sum of sizes times prices is in micro-dollars, rounded half up."""
    unit = _UNITS[item] * 1000
    return (2 * product + unit) // (2 * unit)
