"""Every call of this process, measured: what was asked, what came, how long it took, and where the time went.

`CallLog` keeps the last ones in memory and writes each to the logger ``vastnb.calls`` (DEBUG; INFO for failures). Neither ever
sees the API key: both are fed above the signer, and a filter takes out what looks like a key in words of a stranger.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CallLog", "CallRecord", "redacted", "share_of"]

log = logging.getLogger("vastnb.calls")

_KEPT = 5000
_SECRETS = re.compile(r"(?i)(bearer\s+|api_?key[=:\s\"']+|token[=:\s\"']+)[A-Za-z0-9._-]{8,}|\b[0-9a-f]{64}\b")


def redacted(text: str) -> str:
    """`text` with everything that looks like a key or token replaced by ``***``."""
    return _SECRETS.sub(lambda found: (found[1] or "") + "***", text)


def share_of(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of them, least first, do not pass."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


class _Redaction(logging.Filter):
    """Redacts what a log record says."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, redacted."""
        record.msg, record.args = redacted(record.getMessage()), ()
        return True


log.addFilter(_Redaction())


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call."""

    at: float
    """Its beginning, in seconds since 1970 by this computer's clock."""
    operation: str
    endpoint: str
    status: int | None
    """None if no answer came."""
    latency_ms: float
    """From the call to the answer, waiting included."""
    from_cache: bool
    stale: bool
    repeats: int
    waited_s: float
    size: int
    """Bytes of the answer."""
    error: str
    """The code of the error, empty for a success."""


class CallLog:
    """The last calls, oldest first; safe to use from several threads."""

    def __init__(self) -> None:
        self._records: deque[CallRecord] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def add(self, record: CallRecord) -> None:
        """Keep `record` and log it."""
        with self._lock:
            self._records.append(record)
        level = logging.INFO if record.error else logging.DEBUG
        if log.isEnabledFor(level):
            log.log(
                level,
                "%s: %s, status %s, %.0f ms%s%s%s",
                record.operation,
                record.error or "ok",
                record.status,
                record.latency_ms,
                ", from the cache" if record.from_cache else "",
                f", {record.repeats} repeats" if record.repeats else "",
                f", waited {record.waited_s:.1f} s" if record.waited_s else "",
            )

    def all(self) -> list[CallRecord]:
        """Every record that is kept."""
        with self._lock:
            return list(self._records)
