"""What an answer may be used for. Pure.

A price statistic may count only offers that no price chose: of a search for what is under half a dollar, every median is under
half a dollar. What a user's other conditions chose (a country, a number of GPUs) is not the market of a model either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

__all__ = ["Holds", "Judgement", "judged"]

Holds = Literal["whole", "sample", "part"]

_NO_FILTERS = frozenset({"order", "type", "allocated_storage", "limit"})
_AS_USUAL: dict[str, Any] = {
    "verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}, "rented": {"eq": False},
}  # fmt: skip
_NEUTRAL = frozenset({"gpu_ram", "compute_cap", "cpu_arch", "gpu_arch", "ask_contract_id", "machine_id"})
"""Conditions that leave prices as they are in each group of `history`, but not its supply."""
_BY_IDENTITY = frozenset({"ask_contract_id", "machine_id"})
"""Orders in which the first so many are not the cheapest."""
_PRICED = re.compile(r"dph|bid|cost|usd|score|discount|price")
_NOT_SENT = re.compile(r"cpu_ram|total_ram|vram_total")
"""Conditions that the client applies to the answer: they may be missing in what was sent."""


class Judgement(NamedTuple):
    """What an answer holds, of which models, and why not more."""

    holds: Holds
    models: tuple[str, ...] = ()
    """Empty for all."""
    why: str = ""


def judged(body: Mapping[str, Any], query: str, *, complete: bool) -> Judgement:
    """What the answer to `body` (written as `query`) may be used for.

    Parameters
    ----------
    body
        As sent: filters at the top level, order, type, limit.
    query
        The same as the user wrote it.
    complete
        Whether the answer was whole, as asked.
    """
    filters = {name: value for name, value in body.items() if name not in _NO_FILTERS}
    models = _models(filters.pop("gpu_name", {}))
    odd = [name for name, value in filters.items() if _AS_USUAL.get(name) != value and name not in _NEUTRAL]
    odd += ["cpu_ram"] if _NOT_SENT.search(query) and not odd else []
    odd += [name for name in _AS_USUAL if name not in filters and name != "rented"]
    if odd:
        priced = [name for name in odd if _PRICED.search(name)]
        return Judgement("part", models or (), f"chosen by {', '.join(priced or odd)}")
    first = (body.get("order") or [["score", "desc"]])[0][0]
    whole = complete and "limit" not in body
    if not whole and first not in _BY_IDENTITY:
        return Judgement("part", models or (), f"not all of it: the first by {first}")
    if not whole or models is None or not _NEUTRAL.isdisjoint(filters):
        return Judgement("sample", models or ())
    return Judgement("whole", models)


def _models(operators: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The models asked for, empty for all; None where that is said in another way than by their names."""
    if not operators:
        return ()
    if set(operators) == {"eq"}:
        return (operators["eq"],)
    return tuple(operators["in"]) if set(operators) == {"in"} else None
