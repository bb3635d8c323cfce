"""What an answer that is not a success means: the one place where statuses, bodies and network errors become our errors.

Vast's bodies vary (``error`` and ``msg``, only one of them, ``message``, ``detail``, plain text, a gateway's HTML), and one
status means several things (a bad key is 404, 401 or 403). So the body's code is asked first, then its words, then the status.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from vastnb import errors
from vastnb.errors import ApiError
from vastnb.infra._httpx import UNSENT, httpx
from vastnb.infra.calls import pause_asked_s
from vastnb.vast.render import plain

__all__ = ["STATUS_ERRORS", "error_of", "network_error"]

_CODES: dict[str, type[ApiError]] = {
    "auth_error": errors.AuthError,
    "unauthorized": errors.AuthError,
    "not_authorized": errors.PermissionDeniedError,
    "not_allowed": errors.PermissionDeniedError,
    "search_quota_exceeded": errors.QuotaError,
    "rate_limit_exceeded": errors.RateLimitError,
    "HTTPTooManyRequests": errors.RateLimitError,
    "no_such_ask": errors.OfferGoneError,
    "no_such_instance": errors.NotFoundError,
    "not_found": errors.NotFoundError,
    "invalid_id": errors.NotFoundError,
    "insufficient_credit": errors.InsufficientCreditError,
    "deprecated_endpoint": errors.EndpointGoneError,
    "invalid_request": errors.InvalidRequestError,
    "invalid_args": errors.InvalidRequestError,
    "invalid_price": errors.InvalidRequestError,
}
_WORDS: tuple[tuple[re.Pattern[str], type[ApiError]], ...] = (
    (re.compile(r"\bno_such_ask\b"), errors.OfferGoneError),
    (
        re.compile(r"invalid user key|invalid or missing api key|credentials were not provided", re.IGNORECASE),
        errors.AuthError,
    ),
    (re.compile(r"requests too frequent", re.IGNORECASE), errors.RateLimitError),
    (re.compile(r"insufficient credit|lacks credit", re.IGNORECASE), errors.InsufficientCreditError),
)
STATUS_ERRORS: dict[int, type[ApiError]] = {
    400: errors.InvalidRequestError,
    401: errors.AuthError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.ServerError,
    409: errors.InvalidRequestError,
    410: errors.EndpointGoneError,
    411: errors.InvalidRequestError,
    422: errors.InvalidRequestError,
    429: errors.RateLimitError,
    483: errors.InvalidRequestError,
    500: errors.ServerError,
    502: errors.ServerError,
    503: errors.ServerError,
    504: errors.ServerError,
}
"""What a status means when its body says nothing."""


@dataclass(frozen=True, slots=True)
class _Told:
    code: str
    words: str
    fields: dict[str, Any] | None = None


def error_of(response: httpx.Response, endpoint: str) -> ApiError | None:
    """The error that `response` is, or None if it is a success.

    Parameters
    ----------
    response
        A complete answer.
    endpoint
        What was asked, for the message.
    """
    told = _told(response)
    if 200 <= response.status_code < 300 and told is None:
        return None
    if told is None:
        told = _Told("", "")
    return _made(_kind(response.status_code, told), response, told, endpoint)


def _told(response: httpx.Response) -> _Told | None:
    """What the body says went wrong; None for a body that reports no failure."""
    ok = 200 <= response.status_code < 300
    head = response.content[:200].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html")):
        return _Told("html", "a web page instead of an answer")
    if ok and not (head.startswith(b"{") and b'"success"' in response.content[:4000]):
        return None
    body = _json(response)
    if ok:
        return _from_body(body) if isinstance(body, dict) and body.get("success") is False else None
    return _from_body(body) if isinstance(body, dict) else _Told("", plain(response.text[:2000]))


def _json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _from_body(body: dict[str, Any]) -> _Told:
    words = next((str(body[name]) for name in ("msg", "message", "detail") if body.get(name)), "")
    return _Told(str(body.get("error") or ""), plain(words), body)


def _kind(status: int, told: _Told) -> type[ApiError]:
    """The body's code, unless it is vague; then its words; then the status."""
    by_status = STATUS_ERRORS.get(status, errors.ServerError if status >= 500 else errors.ResponseError)
    if told.code == "html":  # a gateway's page hides what the service said, but not the status
        return by_status if status == 429 or status >= 500 else errors.ResponseError
    by_code = _CODES.get(told.code)
    if by_code is not None and by_code is not errors.InvalidRequestError:
        return by_code
    for pattern, kind in _WORDS:
        if pattern.search(told.words):
            return kind
    if status < 300 or (by_code is not None and status not in (401, 403, 429)):
        return errors.InvalidRequestError
    return by_status


def _made(kind: type[ApiError], response: httpx.Response, told: _Told, endpoint: str) -> ApiError:
    said = told.words or told.code or "no explanation"
    more: dict[str, Any] = {"status": response.status_code, "endpoint": endpoint, "told": told.fields}
    if issubclass(kind, errors.RateLimitError):
        more["retry_after_s"] = pause_asked_s(response)
    if kind is errors.ResponseError and told.code == "html":
        more["hint"] = "is the URL right? %vast config shows it; a login page of a network looks like this too"
    if 300 <= response.status_code < 400:
        said = f"sent us on to {plain(response.headers.get('location', 'nowhere'))}"
        more["hint"] = "set url to the address it names, if you trust it"
    return kind(f"{endpoint}: {said} (HTTP {response.status_code})", **more)


def network_error(error: httpx.HTTPError, endpoint: str) -> ApiError:
    """Our error for one of the wire's. The wire's own frames are cut off: their variables hold the signed request."""
    cause = error.with_traceback(None)
    words = plain(str(error)) or type(error).__name__
    about: dict[str, Any] = {"endpoint": endpoint, "original": cause, "unsent": isinstance(error, UNSENT)}
    if isinstance(error, httpx.TimeoutException):
        return errors.AnswerTimeoutError(f"{endpoint}: no answer in time", **about)
    if isinstance(error, httpx.ProxyError):
        return errors.NetworkError(
            f"{endpoint}: the proxy refused: {words}", hint="HTTPS_PROXY names it; NO_PROXY goes around it", **about
        )
    if "CERTIFICATE" in words.upper():
        return errors.NetworkError(
            f"{endpoint}: the certificate was refused: {words}", retryable=False,
            hint="behind a company proxy, SSL_CERT_FILE must name its certificate", **about,
        )  # fmt: skip
    return errors.NetworkError(f"{endpoint}: no answer ({words})", **about)
