"""What the market will do to a rented machine, looked up far ahead so that a step of the clock costs little."""

import numpy as np

from vastnb.sandbox.chance import Floats
from vastnb.sandbox.course import Course, turns
from vastnb.sandbox.market import Market

from .rental import Contract, Rental

_LOOK_AHEAD_S = 30 * 86400.0


def flip(market: Market, rental: Rental, now: float) -> float:
    """Return when the market next turns for a machine, or when to look again if it does not for long."""
    key = (rental.bid, rental.phase == "queued", market.repriced[rental.contract.machine])
    if rental.flip is None or rental.flip[0] != key or rental.flip[1] <= now:
        until = now + _LOOK_AHEAD_S
        times = turns(market, rental.contract.machine, now, until)
        words = _words(market, rental, np.append(times, now))
        differs = np.flatnonzero((words[:-1] != words[-1]).any(axis=1))
        rental.flip = (key, float(times[differs[0]]) if len(differs) else until)
    return rental.flip[1]


def floor(contract: Contract, host_bid: Floats) -> Floats:
    """Return what must be bid for a contract's GPUs, to the bit an offer's ``min_bid``."""
    return np.asarray(host_bid * len(contract.gpu_ids) / 0.75)


def _words(market: Market, rental: Rental, times: Floats) -> Floats:
    """Return what the market says of a machine at each time: offline, outbid, re-let (as far as it matters to it)."""
    contract, found = rental.contract, Course(market, rental.contract.machine, times)
    never = np.zeros(len(times), dtype=bool)
    outbid = never if rental.bid is None else floor(contract, found.host_bid) > rental.bid
    relet = found.busy > contract.start if rental.phase == "queued" and rental.bid is None else never
    return np.stack([found.down_since > contract.created_at, outbid, relet], axis=1)
