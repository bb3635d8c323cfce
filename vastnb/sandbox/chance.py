"""Repeatable chance: numbers that are a pure function of (seed, what, who, when).

Whatever moves with time in the market is drawn here and not from a generator, because a generator has a history:
with a hash the market of next month is known without living through the days in between.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def splitmix64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the splitmix64 hash of each word (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        words = words + _GAMMA
        words = (words ^ (words >> np.uint64(30))) * _MIX_1
        words = (words ^ (words >> np.uint64(27))) * _MIX_2
        return words ^ (words >> np.uint64(31))


def unit(seed: int, salt: str, who: ArrayLike, when: ArrayLike = 0) -> Floats:
    """Return numbers in [0, 1) that depend on the arguments alone.

    Parameters
    ----------
    seed
        The market's seed.
    salt
        What the number is for, in ASCII; two uses with the same salt would move together.
    who, when
        Integers, broadcast against each other: a machine and the number of its period, say.
    """
    word = splitmix64(_salted(seed, salt) ^ _words(who))
    word = splitmix64(word ^ _words(when))
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, salt: str, who: ArrayLike, when: ArrayLike = 0) -> Floats:
    """Return roughly normal numbers (mean 0, deviation 1) in the manner of :func:`unit`."""
    # The sum of three uniforms is bounded (|z| <= 3): no price can run away.
    thirds = [unit(seed, f"{salt}.{part}", who, when) for part in range(3)]
    return 2.0 * (thirds[0] + thirds[1] + thirds[2] - 1.5)


def between(share: Floats, quantiles: tuple[tuple[float, float], ...], *, log: bool = True) -> Floats:
    """Return the values that have the given shares of a distribution below them.

    Parameters
    ----------
    share
        Numbers in [0, 1].
    quantiles
        Pairs (share, value), both rising, from share 0 to 1.
    log
        Whether values are interpolated on a log scale.
    """
    shares, values = np.array(quantiles).T
    if log:
        return np.asarray(np.exp(np.interp(share, shares, np.log(values))))
    return np.asarray(np.interp(share, shares, values))


def pick(share: Floats, weights: ArrayLike) -> Ints:
    """Return for each share in [0, 1) the index of the weight it falls into."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    found: Ints = np.searchsorted(edges / edges[-1], share, side="right").astype(np.int64)
    return found


def period(now: float | Floats, length_s: NDArray[Any], phase_s: NDArray[Any]) -> Ints:
    """Return the number of the period of ``length_s`` that each one is in at ``now`` (one for all, or one for each)."""
    return np.asarray(np.floor((now + phase_s) / length_s), dtype=np.int64)


@functools.lru_cache(maxsize=4096)
def _salted(seed: int, salt: str) -> NDArray[np.uint64]:
    word = splitmix64(np.array([seed % 2**64], dtype=np.uint64))
    for start in range(0, len(salt), 8):
        word = splitmix64(word ^ np.uint64(int.from_bytes(salt[start : start + 8].encode(), "little")))
    return word


def _words(numbers: ArrayLike) -> NDArray[np.uint64]:
    return np.atleast_1d(np.asarray(numbers, dtype=np.int64)).view(np.uint64)
