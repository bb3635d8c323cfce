"""What is kept of an answer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LARGEST_BODY", "Entry"]

LARGEST_BODY = 64 << 20
"""Longer answers are not kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    created: float
    """When the request was sent, in seconds since 1970."""
