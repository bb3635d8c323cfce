"""What goes in and out of the handlers: a request, an answer, and the commonest shapes of answers."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import wire

JSON_TYPE = "application/json"
"""Exactly: the official client refuses a charset behind it."""
TEXT_TYPE = "text/plain; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"
_MOST_LOGGED = 100_000
_LOGGED = frozenset(
    (
        "select_filters", "select_cols", "order_by", "limit", "after_token",
        "gpu_name", "verified", "hosting_type", "num_gpus", "start", "end", "step",
    )
)  # fmt: skip
"""Query parameters that a log may show; others could be a key."""

_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Console</title></head>
<body><div id="root">This is the sandbox's stand-in for the console's page: there is no such API path.</div></body>
</html>
"""


class Request(NamedTuple):
    """A request as the handlers see it."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    key: str | None

    @property
    def last_part(self) -> str:
        """The last part of the path: an id, where the endpoint has one."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Answer:
    """A status, a body and its type."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)


def reply(content: Any, status: int = 200, **headers: str) -> Answer:
    """Return a JSON answer; ``retry_after="10"`` becomes the header ``retry-after``."""
    return Answer(
        status, wire.encode(content), headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def refusal(status: int, error: str, msg: str) -> Answer:
    """Return an error in the commonest of Vast's shapes."""
    return reply({"success": False, "error": error, "msg": msg}, status)


def console_page() -> Answer:
    """Return what an unknown path answers: HTTP 200 and HTML."""
    return Answer(200, _PAGE, HTML_TYPE)


def decoded(body: bytes | str) -> Any:
    """Return the JSON of a body, ``None`` (which no endpoint accepts) if it is not JSON."""
    try:
        return wire.decode(body)
    except (ValueError, RecursionError):
        return None


def loggable(request: Request) -> Any:
    """Return a request's body for the log: JSON decoded, else text, else its known query parameters, else ``None``."""
    body: bytes | str = request.query.get("q", request.body)
    if not body:
        return {name: text for name, text in request.query.items() if name in _LOGGED} or None
    if len(body) > _MOST_LOGGED:
        return f"({len(body)} bytes)"
    try:
        return wire.decode(body)
    except (ValueError, RecursionError):
        return body if isinstance(body, str) else body.decode(errors="replace")
