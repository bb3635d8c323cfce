"""Things that go wrong on request: by name, for the next so many answers.

A fault of the *answer* replaces, delays or mutilates what is sent; a fault of the *offers* changes the data in it
(see :mod:`oddities`). Adding one touches nothing: the server takes it when a fitting request comes.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ANSWER, OFFERS, RENTED = "answer", "offers", "rented"

_ACTS = {"acts": False}


class Kind(NamedTuple):
    """A fault that can be added."""

    stage: str
    """What it spoils: the ``answer``, the ``offers`` in it, or what is ``rented``."""
    meaning: str
    options: dict[str, Any]
    """Names and defaults of its options; ``acts``: whether the request is carried out all the same."""


KINDS: dict[str, Kind] = {
    "429-record": Kind(
        ANSWER, "429 as recorded in 2026: JSON, retry-after and x-ratelimit headers", _ACTS | {"retry_after": 10}
    ),
    "429-detail": Kind(ANSWER, '429 with {"detail": ...}', _ACTS | {"threshold": 2.0}),
    "429-coded": Kind(ANSWER, "429 with success, error and msg", _ACTS | {"threshold": 3.0}),
    "429-text": Kind(ANSWER, "429 in plain text, without headers", _ACTS | {"threshold": 4.5}),
    "429-quota": Kind(ANSWER, "429 search_quota_exceeded: the daily quota, until midnight UTC", _ACTS),
    "500": Kind(ANSWER, "500 in JSON", _ACTS),
    "502-html": Kind(ANSWER, "502 with the gateway's HTML", _ACTS),
    "503": Kind(ANSWER, "503 with an empty body", _ACTS),
    "504": Kind(ANSWER, "504 with the gateway's HTML", _ACTS),
    "auth-401": Kind(ANSWER, "401 auth_error", _ACTS),
    "auth-403": Kind(ANSWER, "403 not_authorized: the key lacks the scope", _ACTS),
    "auth-404": Kind(ANSWER, "404 auth_error: what a revoked key gets", _ACTS),
    "cut-before": Kind(ANSWER, "the connection is closed without acting", {}),
    "cut-after": Kind(ANSWER, "the request is carried out, then the connection is closed without an answer", {}),
    "cut-body": Kind(ANSWER, "the connection is closed after half the body", {}),
    "hang": Kind(ANSWER, "no answer until the client leaves or the sandbox stops", _ACTS),
    "slow": Kind(ANSWER, "the answer comes late", {"seconds": 1.0}),
    "garbage": Kind(ANSWER, "200 application/json, but bytes that are no text", {}),
    "html-200": Kind(ANSWER, "200 with an HTML page", {}),
    "truncated-json": Kind(ANSWER, "200 with the first half of the JSON, complete by its headers", {}),
    "success-false": Kind(ANSWER, '200 with {"success": false, ...}', _ACTS | {"error": "unavailable"}),
    "late-commit": Kind(
        ANSWER,
        "the connection is closed, and the request is carried out later by the sandbox's clock",
        {"seconds": 5.0},
    ),
    "doubled-request": Kind(
        ANSWER, "a gateway delivers the request twice; told is the first answer, or the second", {"told": "first"}
    ),
    "listing-lag": Kind(RENTED, "a new instance is missing from the list for a while", {"seconds": 10.0}),
    "stuck-loading": Kind(RENTED, "a new instance never gets through loading", {}),
    "insufficient-bid": Kind(
        RENTED, "success is false, and all the same there is a stopped instance that bills its disk", {}
    ),
    "nulls": Kind(OFFERS, "null in fields of every other offer", {"fields": None}),
    "nan": Kind(OFFERS, "literal NaN and Infinity in the JSON", {}),
    "new-fields": Kind(OFFERS, "fields that no client knows yet", {}),
    "absurd": Kind(OFFERS, "impossible values, as recorded: negative speed, CUDA 580.173, 75 years", {}),
    "hostile": Kind(OFFERS, "host texts with script, terminal codes, right-to-left marks, and one of 1 MB", {}),
    "wrong-types": Kind(OFFERS, "numbers as strings, strings as lists, in every other offer", {}),
    "missing-fields": Kind(OFFERS, "only the fields of 2019", {}),
    "contradicting": Kind(OFFERS, "first some offers that do not match the filters", {"count": 3}),
    "duplicate-ids": Kind(OFFERS, "the first offers once more at the end", {"count": 2}),
    "offers-object": Kind(OFFERS, "offers is one object, as in the documentation's example", {}),
    "trailing-text": Kind(OFFERS, "a line of text after the JSON", {}),
    "null-offers": Kind(OFFERS, "offers is null", {}),
}


@dataclass
class Fault:
    """A fault that waits for its request."""

    name: str
    path: str
    method: str
    times: int | None
    options: dict[str, Any] = field(default_factory=dict)

    def fits(self, method: str, path: str) -> bool:
        """Whether a request meets this fault."""
        return self.path in path and self.method.upper() in ("", method)


class Faults:
    """The faults in force, safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, name: str, *, path: str = "", method: str = "", times: int | None = 1, **options: Any) -> None:
        """Let the next fitting requests meet a fault.

        Parameters
        ----------
        name
            One of :meth:`names`.
        path, method
            Only requests whose path contains ``path`` and whose method is ``method``; empty: any.
        times
            How many requests; ``None``: all until :meth:`clear`.
        options
            What this fault can be told, see :data:`KINDS`.

        Raises
        ------
        ValueError, TypeError
            If there is no such fault or option; the message names the nearest.
        """
        if name not in KINDS:
            raise ValueError(f"unknown fault {name!r}{nearest(name, KINDS)}")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise ValueError(f"times must be a whole number from 1, or None, got {times!r}")
        known = KINDS[name].options
        for option in options:
            if option not in known:
                raise TypeError(f"fault {name!r} has no option {option!r}{nearest(option, known)}")
        with self._lock:
            self._waiting.append(Fault(name, path, method, times, known | options))

    def clear(self) -> None:
        """Let everything go right again."""
        with self._lock:
            self._waiting.clear()

    @staticmethod
    def names() -> dict[str, str]:
        """Return every fault with a line on what it does."""
        return {name: kind.meaning for name, kind in KINDS.items()}

    def waiting(self) -> list[dict[str, Any]]:
        """Return the faults in force, in the order they were added."""
        with self._lock:
            return [{**vars(fault), "options": dict(fault.options)} for fault in self._waiting]

    def take_answer(self, method: str, path: str) -> Fault | None:
        """Return the first fault of the answer that a request meets, and count it."""
        found = self._take(ANSWER, method, path, most=1)
        return found[0] if found else None

    def take_offers(self, method: str, path: str) -> list[Fault]:
        """Return all faults of the offers that a search meets, and count them."""
        return self._take(OFFERS, method, path, most=len(KINDS) * 100)

    def take_rented(self, method: str, path: str) -> dict[str, dict[str, Any]]:
        """Return the faults that a new instance meets, by name with their options, and count them."""
        return {fault.name: fault.options for fault in self._take(RENTED, method, path, most=len(KINDS))}

    def _take(self, stage: str, method: str, path: str, *, most: int) -> list[Fault]:
        with self._lock:
            fitting = [f for f in self._waiting if KINDS[f.name].stage == stage and f.fits(method, path)][:most]
            for fault in fitting:
                fault.times = None if fault.times is None else fault.times - 1
            self._waiting = [fault for fault in self._waiting if fault.times != 0]
            return fitting


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, or all of them."""
    from difflib import get_close_matches

    known = list(known)
    longer = [one for one in known if name and one.startswith(name)]
    near = longer or get_close_matches(name, known, n=1, cutoff=0.4)
    return f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"
