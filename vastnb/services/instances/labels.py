"""The label of a machine: the service keeps it and lists it, so it says whose the machine is, on any computer. Pure.

``vnb-0123456789abcdef name=lora-7b until=1780000000 my text``: a token that nobody else has (it stands in for the idempotency key
that the service lacks), the name that the machine goes by, when it ends itself, and a text of the user's.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

__all__ = ["Label", "new_token", "read_label", "write_label"]

_LONGEST = 256
_OURS = re.compile(
    r"(vnb-[0-9a-f]{16})(?: name=([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?(?: until=(\d{1,12}))?(?: (.*))?", re.DOTALL
)


class Label(NamedTuple):
    """A label, taken apart."""

    token: str
    name: str = ""
    until: int | None = None
    """When the machine ends itself, by the service's clock, seconds since 1970."""
    text: str = ""


def new_token() -> str:
    """A token that nobody else has: 64 random bits."""
    return f"vnb-{secrets.token_hex(8)}"


def write_label(label: Label) -> str:
    """A label as one text, of at most 256 characters."""
    name = f" name={label.name}" if label.name else ""
    until = f" until={label.until}" if label.until is not None else ""
    text = f" {label.text}" if label.text else ""
    return f"{label.token}{name}{until}{text}"[:_LONGEST]


def read_label(text: str | None) -> Label | None:
    """A label of ours, taken apart; None for any other."""
    match = _OURS.fullmatch(text or "")
    if match is None:
        return None
    token, name, until, rest = match.groups()
    return Label(token, name or "", int(until) if until else None, rest or "")
