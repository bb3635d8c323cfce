"""Which rows of an answer stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vastnb.vast.query import Query, kept_rows

__all__ = ["Judge"]


class Judge:
    """Which rows of an answer stay: those that meet the query, and of an offer that is repeated the first."""

    def __init__(self, query: Query) -> None:
        self._query, self._seen = query, set[Any]()
        self.rows: list[bool] = []
        self.contradicting = 0

    def __call__(self, columns: Mapping[str, Sequence[Any]], count: int) -> list[bool]:
        """Judge the next rows, given as columns of wire values."""
        """Judge the next rows, given as columns of wire values."""
        kept = kept_rows(self._query, columns, count)
        self.contradicting += kept.contradicting
        ids = columns.get("ask_contract_id") or columns.get("id") or [None] * count
        fresh = [stays and self._first(offer_id) for offer_id, stays in zip(ids, kept.rows, strict=True)]
        self.rows += fresh
        return fresh

    def _first(self, offer_id: Any) -> bool:
        if offer_id is None or offer_id in self._seen:
            return offer_id is None
        self._seen.add(offer_id)
        return True
