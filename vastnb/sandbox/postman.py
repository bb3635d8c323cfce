"""Signed deliveries on their way: sent by a thread of its own, sent again where that is documented, and only to this computer.

The documentation says what is sent again, not when: the pauses are ours. They pass in real time, and the signature's time is the
wall clock's, because whoever receives a delivery compares it with that; the time of the event inside is the sandbox's.
"""

import hashlib
import heapq
import hmac
import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_TIMEOUT_S = 10.0
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each further attempt."""
_STOP_S = 12.0


@dataclass
class Letter:
    """One delivery, until it is accepted or given up."""

    event_id: str
    webhook_id: int
    url: Callable[[], str]
    secret: Callable[[], str]
    """Asked at each attempt: it may have been renewed."""
    body: bytes
    is_test: bool = False
    attempts: list[int | None] = field(default_factory=list)
    """The status of each answer so far, ``None`` where none came."""
    state: str = "waiting"
    """``waiting``, ``accepted`` or ``failed``."""

    def shown(self) -> dict[str, Any]:
        """Return it as a dict, without its secret."""
        return {
            "event_id": self.event_id,
            "webhook_id": self.webhook_id,
            "body": self.body.decode(),
            "attempts": list(self.attempts),
            "state": self.state,
        }


class Postman:
    """Sends letters; its thread lives from the first one until :meth:`stop`."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        """Every letter there ever was, oldest first."""
        self._news = threading.Condition()
        self._due: list[tuple[float, int, Letter]] = []
        self._sent, self._open = 0, 0
        self._thread: threading.Thread | None = None
        self._stopping = False

    def send(self, letter: Letter) -> None:
        """Take a letter, and return at once."""
        with self._news:
            self.letters.append(letter)
            self._open += 1
            self._put(letter, 0.0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="vastnb-sandbox-webhooks", daemon=True)
                self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until every letter is accepted or given up, and return whether that came before the time."""
        with self._news:
            return self._news.wait_for(lambda: not self._open, timeout_s)

    def stop(self) -> None:
        """Send nothing more, and return when the thread is gone."""
        with self._news:
            self._stopping, thread = True, self._thread
            self._news.notify_all()
        if thread is not None:
            thread.join(_STOP_S)

    def _put(self, letter: Letter, pause_s: float) -> None:
        self._sent += 1
        heapq.heappush(self._due, (time.monotonic() + pause_s, self._sent, letter))
        self._news.notify_all()

    def _work(self) -> None:
        while (letter := self._next()) is not None:
            status = _attempt(letter)
            with self._news:
                letter.attempts.append(status)
                count = len(letter.attempts)
                if _is_worth_repeating(status) and not letter.is_test and count <= len(RETRY_S):
                    self._put(letter, RETRY_S[count - 1])
                    continue
                letter.state = "accepted" if status is not None and 200 <= status < 300 else "failed"
                self._open -= 1
                self._news.notify_all()

    def _next(self) -> Letter | None:
        """Wait for the next letter that is due, ``None`` when it is time to stop."""
        with self._news:
            while not self._stopping:
                now = time.monotonic()
                if self._due and self._due[0][0] <= now:
                    return heapq.heappop(self._due)[2]
                self._news.wait(self._due[0][0] - now if self._due else None)
        return None


def _is_worth_repeating(status: int | None) -> bool:
    return status is None or status in (408, 429) or status >= 500


def _attempt(letter: Letter) -> int | None:
    """Post a letter, and return the status of the answer, ``None`` if none came; 403 for an address that is not to be reached."""
    address, stamp = urlsplit(letter.url()), str(int(time.time()))
    if address.scheme != "http" or address.hostname not in _LOOPBACK:
        return 403
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Vast-Webhooks/1.0",
        "X-Vast-Event-Id": letter.event_id,
        "X-Vast-Delivery-Attempt": str(len(letter.attempts) + 1),
        "X-Vast-Timestamp": stamp,
        "X-Vast-Signature-256": f"sha256={signature(letter.secret(), stamp, letter.body)}",
    }
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=_TIMEOUT_S)
    try:
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("POST", path, letter.body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def signature(secret: str, stamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of a time, a dot and a body, in hexadecimal digits."""
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
