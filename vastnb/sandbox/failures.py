"""The answers that faults make: error statuses in Vast's shapes, and good answers spoilt on the way."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .replies import HTML_TYPE, TEXT_TYPE, Answer, refusal, reply

_GATEWAY = (
    b"<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n</body>\r\n</html>\r\n"
)
_HTML_200 = (
    b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>\n"
)
_GARBAGE = bytes(range(128, 256)) * 2 + b"\x00\xff{]"
_DAY_S = 86400


def too_frequent_json(now: float, *, limit: float, retry_after: float) -> Answer:
    """Return the 429 that was recorded on the search endpoint in 2026."""
    wait = max(1, math.ceil(retry_after))
    body = {"error": "HTTPTooManyRequests", "msg": "API requests too frequent", "retry_after": wait, "limit": limit}
    headers = {"x_ratelimit_limit": str(limit), "x_ratelimit_remaining": "0", "x_ratelimit_reset": str(int(now) + wait)}
    return reply(body | {"remaining": 0}, 429, retry_after=str(wait), **headers)


def too_frequent_text(threshold: float) -> Answer:
    """Return the documented plain-text 429."""
    return Answer(429, f"API requests too frequent: endpoint threshold={threshold:.1f}".encode(), TEXT_TYPE)


def _quota(now: float, options: dict[str, Any]) -> Answer:
    midnight = (int(now) // _DAY_S + 1) * _DAY_S
    answer = refusal(429, "search_quota_exceeded", "Daily search quota exceeded")
    return replace(answer, headers={"x-ratelimit-reset": str(midnight), "x-ratelimit-remaining": "0"})


def _detail(now: float, options: dict[str, Any]) -> Answer:
    return reply({"detail": f"API requests too frequent endpoint threshold={options['threshold']:.1f}"}, 429)


def _coded(now: float, options: dict[str, Any]) -> Answer:
    threshold = options["threshold"]
    return refusal(429, "rate_limit_exceeded", f"API requests too frequent endpoint threshold={threshold:.1f}")


def _gateway(status: int, reason: bytes) -> Answer:
    return Answer(status, _GATEWAY % (status, reason), "text/html")


STATUSES: dict[str, Callable[[float, dict[str, Any]], Answer]] = {
    "429-record": lambda now, options: too_frequent_json(now, limit=5.0, retry_after=options["retry_after"]),
    "429-detail": _detail,
    "429-coded": _coded,
    "429-text": lambda now, options: too_frequent_text(options["threshold"]),
    "429-quota": _quota,
    "500": lambda now, options: refusal(500, "internal_error", "Internal Server Error"),
    "502-html": lambda now, options: _gateway(502, b"502 Bad Gateway"),
    "503": lambda now, options: Answer(503, b"", "text/html"),
    "504": lambda now, options: _gateway(504, b"504 Gateway Time-out"),
    "auth-401": lambda now, options: refusal(401, "auth_error", "Invalid user key"),
    "auth-403": lambda now, options: refusal(403, "not_authorized", "Your key is not authorized for this action"),
    "auth-404": lambda now, options: refusal(404, "auth_error", "Invalid user key"),
    "success-false": lambda now, options: refusal(200, options["error"], "The request could not be carried out"),
}
"""Faults that answer something else instead: name -> (now, options) -> answer."""

SPOILT: dict[str, Callable[[Answer], Answer]] = {
    "garbage": lambda answer: replace(answer, status=200, body=_GARBAGE),
    "html-200": lambda answer: Answer(200, _HTML_200, HTML_TYPE),
    "truncated-json": lambda answer: replace(answer, status=200, body=answer.body[: max(1, len(answer.body) // 2)]),
}
"""Faults that spoil the right answer."""
