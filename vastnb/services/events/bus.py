"""Who is told of events: handlers by name, each in a thread of its own; and the bus of the session in force."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from vastnb.errors import InputError, StateError
from vastnb.services import session
from vastnb.services.events.queue import Claim, Event, Handler, Queue, queue_of

if TYPE_CHECKING:
    from vastnb.vast.client import Client

log = logging.getLogger("vastnb.events")
log.addHandler(logging.NullHandler())  # a background thread writes into no cell

__all__ = ["Bus", "default_bus", "on"]

_POLL_S = 1.0
"""How soon a kernel sees what another process wrote."""
_PAUSES_S = (1.0, 10.0, 60.0, 600.0)
_LONGEST_REASON = 500
_JOIN_S = 5.0


class Bus:
    """Runs handlers, each in a thread of its own, until it is closed.

    Parameters
    ----------
    queue
        Where events are kept.
    is_in_force
        Asked before each event: when it says no, handlers wait. A handler of one account must not act in another.
    poll_s
        How soon events of other processes are seen.
    pauses_s
        How long to wait before each further try of a handler that raised; after the last the event is left as dead.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        is_in_force: Callable[[], bool] = lambda: True,
        poll_s: float = _POLL_S,
        pauses_s: Sequence[float] = _PAUSES_S,
    ) -> None:
        self.queue, self.is_in_force, self._poll_s, self._pauses_s = queue, is_in_force, poll_s, tuple(pauses_s)
        self._news, self._version = threading.Condition(), 0
        self._running: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def publish(self, *events: Event, source: str = "user") -> list[Event]:
        """Write events to disk, and tell the handlers; those that are new."""
        new = self.queue.add(events, source=source)
        self.wake()
        return new

    def wake(self) -> None:
        """Let handlers look at once."""
        with self._news:
            self._version += 1
            self._news.notify_all()

    def on(self, kinds: Sequence[str], handler: Handler, *, name: str) -> None:
        """Call `handler` for each event of these kinds that is written from now on; one of the same name is replaced."""
        self.queue.subscribe(name, kinds)
        self.off(name)
        stopping = threading.Event()
        work = lambda: self._work(name, tuple(kinds), handler, stopping)  # noqa: E731
        thread = threading.Thread(target=work, name=f"vastnb-{name}", daemon=True)
        self._running[name] = (thread, stopping)
        thread.start()

    def off(self, name: str) -> None:
        """Call the handler of this name no more; what it is doing it ends."""
        thread, stopping = self._running.pop(name, (None, None))
        if thread is None or stopping is None:
            return
        stopping.set()
        self.wake()
        if thread is not threading.current_thread():
            thread.join(_JOIN_S)

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until the handlers have dealt with everything; whether they have."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while any(map(self.queue.depth, tuple(self._running))):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(min(left, self._poll_s))
        return True

    def close(self) -> None:
        """End all handlers."""
        for _, stopping in self._running.values():
            stopping.set()
        for name in tuple(self._running):
            self.off(name)
        self.queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _work(self, name: str, kinds: tuple[str, ...], handler: Handler, stopping: threading.Event) -> None:
        while not stopping.is_set():
            version = self._version
            try:
                claim = self.queue.claim(name, kinds) if self.is_in_force() else None
                if claim is not None:
                    self._handle(claim, name, handler)
                    self.wake()
                    continue
            except StateError as error:  # a full disk may be mended while the notebook runs
                log.warning("%s: %s", name, error)
            with self._news:
                if version == self._version and not stopping.is_set():
                    self._news.wait(self._poll_s)

    def _handle(self, claim: Claim, name: str, handler: Handler) -> None:
        if claim.tries > len(self._pauses_s) + 1:
            self.queue.settle(claim, name, failed="its process ended each time that it was handled")
            return
        try:
            handler(claim.event)
        except (Exception, SystemExit) as error:
            pause = self._pauses_s[claim.tries - 1] if claim.tries <= len(self._pauses_s) else None
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            log.warning("%s failed for %s %s, try %d: %s", name, claim.event.kind, claim.event.id, claim.tries, reason)
            self.queue.settle(claim, name, failed=reason, pause_s=pause)
        else:
            self.queue.settle(claim, name)


_lock = threading.Lock()
_default: tuple[Client, Bus] | None = None


def default_bus() -> Bus:
    """The bus of the session in force. After another ``use`` it is another, and the handlers of the first are ended."""
    global _default
    client = session.current().client
    with _lock:
        before = _default
        if before is None or before[0] is not client:
            _default = client, Bus(queue_of(client), is_in_force=lambda: _is_in_force(client))
        bus = _default[1] if _default is not None else None
    if before is not None and before[1] is not bus:
        before[1].close()
    assert bus is not None
    return bus


def _is_in_force(client: Client) -> bool:
    there = session.in_force()
    return there is not None and there.client is client


@atexit.register
def _close() -> None:
    if _default is not None:
        _default[1].close()


def on(*kinds: str, name: str | None = None) -> Callable[[Handler], Handler]:
    """A decorator: call the function for each event of these kinds, in a thread of its own.

    It sees what happens from its first registration on, also what happened while no kernel ran. It is called at least once for
    each event; if it raises, again after some pauses. Kernels that register the same name share the work.

    Parameters
    ----------
    *kinds
        Like ``instance.outbid``; ``instance.*`` and ``*`` stand for several.
    name
        What it is known by; without one, its module and name.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> @vastnb.on("instance.outbid", "account.low_credit")
    ... def tell(event):
    ...     seen.append(event.kind)
    """
    if not kinds or not all(isinstance(kind, str) and kind for kind in kinds):
        raise InputError(f"on needs kinds of events, got {kinds!r}", hint='for example @vastnb.on("instance.outbid")')

    def register(handler: Handler) -> Handler:
        known_by = name or _name_of(handler)
        default_bus().on(kinds, handler, name=known_by)
        return handler

    return register


def _name_of(handler: Handler) -> str:
    own = getattr(handler, "__qualname__", type(handler).__qualname__)
    return f"{getattr(handler, '__module__', '')}.{own}"
