"""The sandbox's log of requests: who asked what, and how it ended."""

from dataclasses import dataclass
from typing import Any

LENGTH = 10_000


@dataclass
class Record:
    """One request of the log; ``status`` is 0 while it is open and where no answer was sent."""

    method: str
    path: str
    body: Any
    """The JSON sent, or the text where it is none; ``None`` without a body."""
    status: int
    key_digest: str | None
    """A short name for the key, ``None`` without one."""
    at: float
    """Epoch seconds of the sandbox's clock."""


class Log(list[Record]):
    """A list that forgets its oldest records beyond :data:`LENGTH`."""

    def append(self, record: Record) -> None:
        """Add a record."""
        super().append(record)
        del self[:-LENGTH]
