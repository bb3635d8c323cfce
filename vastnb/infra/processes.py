"""Which processes live, and waiting for the end of this one."""

from __future__ import annotations

import os
import platform
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["is_alive", "is_gone", "new_mark", "until_ended"]


def is_alive(pid: int) -> bool:
    """Whether a process of this computer lives; where asking would be Ctrl-C for it (Windows), it counts as alive."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def new_mark() -> str:
    """A text that nobody else has, by which this process can put its name on what it is at."""
    return f"{platform.node()} {os.getpid()} {secrets.token_hex(4)}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark is known to live no more; of another computer that is not known."""
    host, pid, _ = mark.rsplit(" ", 2)
    return host == platform.node() and not is_alive(int(pid))


@contextmanager
def until_ended() -> Iterator[Callable[[], None]]:
    """Inside, Ctrl-C and SIGTERM end nothing by themselves; what is given waits for one of them. For the main thread."""
    ended = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: ended.set()) for number in numbers]

    def wait() -> None:
        while not ended.wait(0.5):  # with a time-out, because a wait without one cannot be interrupted on Windows
            pass

    try:
        yield wait
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
