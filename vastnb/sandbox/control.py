"""Control over HTTP, for other processes: the clock, the faults, the log and what this sandbox is.

Everything needs the sandbox's bearer key, and lives under ``/_sandbox/``:

- ``clock``: GET; POST ``{"step_s": 60}``, ``{"run": 60}`` (speed) or ``{"stop": true}``;
- ``faults``: GET; POST ``{"name": ..., "path": ..., "times": ...}`` and the fault's options; DELETE clears;
- ``log`` and ``info``: GET;
- ``instances`` and ``bill``: GET, of all accounts and of the one account of the key;
- ``outbid``, ``offline``, ``traffic``, ``stick``, ``history`` and ``reprice``: POST, their arguments in the body;
- ``accounts``: POST ``{"credit_usd": ..., "can_pay": ...}`` opens another account and answers its key.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import wire
from .books import Books
from .clock import Clock
from .faults import Faults
from .replies import Answer, Request, refusal, reply


class Control:
    """The handlers of ``/_sandbox/``."""

    def __init__(
        self,
        *,
        clock: Clock,
        faults: Faults,
        books: Books,
        log: Iterable[Any],
        info: Callable[[], dict[str, Any]],
        shows: Mapping[str, Callable[[str], Any]],
        levers: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._clock, self._faults, self._books, self._log, self._info = clock, faults, books, log, info
        self._handlers: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "clock"): lambda body: self._time(),
            ("POST", "clock"): self._move,
            ("GET", "faults"): lambda body: {"names": faults.names(), "waiting": faults.waiting()},
            ("POST", "faults"): self._add,
            ("DELETE", "faults"): lambda body: self._clear(),
            ("GET", "log"): lambda body: {"log": [dict(vars(record)) for record in tuple(self._log)]},
            ("GET", "info"): lambda body: self._info(),
        }
        self._shows, self._levers = shows, levers

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request under ``/_sandbox/``."""
        if not request.key or self._books.account(request.key) is None:
            return refusal(401, "auth_error", "the sandbox's control needs its bearer key")
        handler = self._handler(request, request.key)
        if handler is None:
            return refusal(404, "not_found", f"no control {request.method} {request.path}")
        try:
            return reply(handler(_object(request.body)))
        except (ValueError, TypeError) as bad:
            return refusal(400, "invalid_request", str(bad))

    def _handler(self, request: Request, key: str) -> Callable[[dict[str, Any]], Any] | None:
        name = request.last_part
        if request.method == "GET" and name in self._shows:
            return lambda body: {name: self._shows[name](key)}
        if request.method == "POST" and name in self._levers:
            return lambda body: {name: self._levers[name](**body)}
        return self._handlers.get((request.method, name))

    def _time(self) -> dict[str, Any]:
        return {"now": self._clock.now(), "speed": self._clock.speed}

    def _move(self, body: dict[str, Any]) -> dict[str, Any]:
        unknown = set(body) - {"step_s", "run", "stop"}
        if unknown or not body:
            raise ValueError(f"expected step_s, run or stop, got {', '.join(sorted(unknown)) or 'nothing'}")
        if body.get("stop"):
            self._clock.stop()
        if "step_s" in body:
            self._clock.step(seconds=_number(body["step_s"]))
        if "run" in body:
            self._clock.run(_number(body["run"]))
        return self._time()

    def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(body.get("name"), str):
            raise ValueError("expected the name of a fault")
        self._faults.add(**body)
        return {"waiting": self._faults.waiting()}

    def _clear(self) -> dict[str, Any]:
        self._faults.clear()
        return {"waiting": []}


def _object(body: bytes) -> dict[str, Any]:
    content = wire.decode(body) if body else {}
    if not isinstance(content, dict):
        raise ValueError("expected a JSON object")
    return content


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")
    return value
