"""What happens to one machine of the market over time: its lowest bid, who else rents it, and its outages.

A function of (seed, machine, time) like the market itself, looked up for many times at once.
"""

import numpy as np

from .chance import Floats, Ints
from .market import Market, State

_MINUTE_S = 60
_PERIODS = ("bid", "reprice", "busy", "repair", "away")


class Course:
    """A machine at some times, one entry for each; worked out when asked for.

    Parameters
    ----------
    market
        Whose machine.
    machine
        Its number in the layout.
    times
        Epoch seconds, each rounded down to its minute as offers are.
    """

    def __init__(self, market: Market, machine: int, times: Floats) -> None:
        self._state = State(market, times // _MINUTE_S * _MINUTE_S, machine)

    @property
    def host_bid(self) -> Floats:
        """What its host wants at least for one GPU and hour; a renter bids ``host_bid * num_gpus / 0.75``."""
        return np.asarray(self._state.prices["host_bid"])

    @property
    def busy(self) -> Ints:
        """How many of its GPUs others have rented, counted from the first."""
        return self._state.busy

    @property
    def down_since(self) -> Floats:
        """When its outage began, -inf where there is none."""
        return self._state.down_since


def turns(market: Market, machine: int, after: float, until: float) -> Floats:
    """Return the minutes after ``after``, up to ``until``, in which a machine's course may change, in order."""
    machines, hosts = market.layout.machines, market.layout.hosts
    host = machines["host"][machine]
    found = []
    for name in _PERIODS:
        table, row = (hosts, host) if name == "away" else (machines, machine)
        length_s, phase_s = table[f"{name}_s"][row], table[f"{name}_phase"][row]
        first, last = np.floor((after + phase_s) / length_s), np.floor((until + phase_s) / length_s)
        found.append(np.arange(first, last + 1) * length_s - phase_s)
    minutes = np.unique(np.ceil(np.concatenate(found) / _MINUTE_S) * _MINUTE_S)
    return minutes[(minutes > after) & (minutes <= until)]
