"""The tree of errors, how one shows itself, and which of them each documented failure of the service becomes."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from vastnb import errors
from vastnb.errors import ApiError, QueryError, RateLimitError, ResponseError, VastError
from vastnb.infra._httpx import httpx
from vastnb.vast.client.answers import STATUS_ERRORS, error_of, network_error

CLASSES = [getattr(errors, name) for name in errors.__all__]
ASKED = "POST /api/v0/bundles/"


# --- the tree -------------------------------------------------------------------------------------------------------


def drawn_tree() -> dict[str, str | None]:
    """Each class that the module's docstring draws, and the one it hangs on."""
    found: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([ │├└─]*)([A-Z]\w+Error)\b", line)
        if match:
            depth = len(match[1])
            above = [(d, name) for d, name in above if d < depth]
            found[match[2]] = above[-1][1] if above else None
            above.append((depth, match[2]))
    return found


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    real = {cls.__name__: cls.__base__.__name__ if cls is not VastError else None for cls in CLASSES}

    assert drawn_tree() == real


def test_every_error_of_the_module_is_exported_in_order() -> None:
    defined = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]

    assert sorted(defined) == errors.__all__


def test_each_class_has_a_code_of_its_own() -> None:
    codes = [vars(cls)["code"] for cls in CLASSES]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_only_what_waiting_or_repeating_helps_is_retryable() -> None:
    retryable = {cls.__name__ for cls in CLASSES if cls.retryable}

    assert retryable == {
        "NetworkError", "AnswerTimeoutError", "RateLimitError", "ServerError", "WaitTimeoutError", "DestroyUncertainError",
    }  # fmt: skip


def test_nothing_of_ours_is_imported_by_the_errors() -> None:
    source = inspect.getsource(errors)

    assert re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE) == ["__future__", "traceback", "typing"]


# --- one error ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES, ids=errors.__all__)
def test_an_error_holds_what_it_was_given(cls: type[VastError]) -> None:
    cause = OSError("wire")

    error = cls("what came", code="mine", retryable=True, original=cause, hint="do this")

    assert (str(error), error.message, error.code, error.retryable, error.original, error.hint) == (
        "what came", "what came", "mine", True, cause, "do this",
    )  # fmt: skip
    assert error.args == ("what came",)


@pytest.mark.parametrize("cls", CLASSES, ids=errors.__all__)
def test_an_error_has_the_defaults_of_its_class(cls: type[VastError]) -> None:
    error = cls("what came")

    assert (error.code, error.retryable, error.original, error.hint) == (
        cls.code, cls.retryable, None, cls.default_hint,
    )  # fmt: skip


@pytest.mark.parametrize("cls", CLASSES, ids=errors.__all__)
def test_only_the_message_may_be_given_without_its_name(cls: type[VastError]) -> None:
    with pytest.raises(TypeError):
        cls("what came", "code")  # type: ignore[call-arg, misc]
    with pytest.raises(TypeError):
        cls("what came", hnit="do this")  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, ApiError)])
def test_an_error_of_the_service_says_status_and_endpoint(cls: type[ApiError]) -> None:
    told, untold = cls("no", status=418, endpoint=ASKED), cls("no")

    assert [(e.status, e.endpoint) for e in (told, untold)] == [(418, ASKED), (None, "")]


def test_the_facts_of_some_errors() -> None:
    assert (RateLimitError("no", retry_after_s=2.5).retry_after_s, RateLimitError("no").retry_after_s) == (2.5, None)
    assert (ResponseError("no", path="$.offers[3]").path, ResponseError("no").path) == ("$.offers[3]", "$")
    assert (QueryError("no").text, QueryError("no").position, QueryError("no").suggestion) == ("", None, None)


def test_a_query_error_draws_a_caret_and_suggests() -> None:
    error = QueryError("no such field: gpu_nme", text="dph<1 gpu_nme=A", position=6, suggestion="gpu_name")

    assert error.message == "no such field: gpu_nme\n  dph<1 gpu_nme=A\n        ^"
    assert (error.hint, error.text, error.position) == ("did you mean gpu_name?", "dph<1 gpu_nme=A", 6)


def test_a_hint_beats_a_suggestion() -> None:
    assert QueryError("no", suggestion="this", hint="that").hint == "that"


@pytest.mark.parametrize("cls", CLASSES, ids=errors.__all__)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_survives_the_way_to_another_process(cls: type[VastError], copied: Any) -> None:
    more: dict[str, Any] = {"text": "dph<x", "position": 4} if cls is QueryError else {}
    error = cls("what came", hint="do this", **more)

    again = copied(error)

    assert type(again) is cls
    assert vars(again) == vars(error)


# --- in a notebook --------------------------------------------------------------------------------------------------


def raised(error: VastError) -> VastError:
    try:
        raise error from OSError("the wire broke")
    except VastError as caught:
        return caught


def test_it_shows_one_line_and_a_hint_and_all_of_it_when_asked_again() -> None:
    error = raised(errors.NetworkError("no answer"))

    first, second = error._render_traceback_(), error._render_traceback_()

    assert first == ["NetworkError: no answer", f"  → {errors.NetworkError.default_hint}"]
    assert "Traceback (most recent call last)" in second[0] + second[-1] + "".join(second)
    assert "OSError: the wire broke" in "".join(second)
    assert 'raise error from OSError("the wire broke")' in "".join(second)


def test_without_a_hint_it_shows_one_line() -> None:
    assert raised(VastError("what came"))._render_traceback_() == ["VastError: what came"]


def test_each_error_shows_itself_in_short_the_first_time() -> None:
    shown = [raised(VastError("what came"))._render_traceback_() for _ in range(2)]

    assert shown == [["VastError: what came"]] * 2


@pytest.mark.parametrize("cls", CLASSES, ids=errors.__all__)
def test_a_message_is_words_without_a_traceback(cls: type[VastError]) -> None:
    error = raised(cls("what came", original=OSError("the wire broke")))

    assert "Traceback" not in error.message + str(error) + repr(error)
    assert "the wire broke" not in error.message


# --- the service's failures -----------------------------------------------------------------------------------------

HTML = "<!DOCTYPE html>\n<html><head><title>502</title></head><body>Bad Gateway</body></html>"
FAILURES: list[tuple[str, int, Any, str, str]] = [
    # what happened, status, body, class, words in the message
    ("list retired", 410, {"success": False, "error": "deprecated_endpoint",
     "msg": "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."}, "EndpointGoneError", "is deprecated"),
    ("key, 404", 404, {"error": "auth_error", "msg": "Invalid user key"}, "AuthError", "Invalid user key"),
    ("key, 404, msg only", 404, {"msg": "Invalid user key"}, "AuthError", "Invalid user key"),
    ("key, 401", 401, {"success": False, "error": "auth_error", "msg": "Invalid user key"}, "AuthError", "Invalid"),
    ("key, unauthorized", 401, {"success": False, "error": "unauthorized", "msg": "Invalid or missing API key"},
     "AuthError", "Invalid or missing API key"),
    ("key, detail", 401, {"detail": "Authentication credentials were not provided."}, "AuthError", "not provided"),
    ("key, nothing said", 401, {"success": False}, "AuthError", "no explanation"),
    ("key, 403", 403, {"success": False, "error": "auth_error", "msg": "This action requires login."}, "AuthError",
     "requires login"),
    ("scope", 403, {"error": "not_authorized", "msg": "Not authorized to view logs for this instance"},
     "PermissionDeniedError", "view logs"),
    ("host only", 403, {"success": False, "error": "not_allowed", "msg": "Hosts can only rent their own machines"},
     "PermissionDeniedError", "their own machines"),
    ("host only, msg", 403, {"msg": "error 403/3586: Offer 7 is not your own."}, "PermissionDeniedError", "3586"),
    ("offer unknown 2025", 404, {"success": False, "error": "no_such_ask", "ask_id": 1234567,
     "msg": "Instance type by id 1234567 is not available"}, "OfferGoneError", "is not available"),
    ("offer unknown 2026", 404, {"success": False, "error": "invalid_args", "ask_id": 1234567,
     "msg": "error 404/3603: no_such_ask Instance type by id 1234567 is not available."}, "OfferGoneError", "3603"),
    ("offer taken, 410", 410, {"success": False, "error": "no_such_ask",
     "msg": "error 410/3907: no_such_ask Instance type 1234567 is no longer available."}, "OfferGoneError", "3907"),
    ("offer taken, 400", 400, {"error": "invalid_args", "msg": "no_such_ask"}, "OfferGoneError", "no_such_ask"),
    ("offer taken, msg only", 400, {"success": False, "msg": "no_such_ask"}, "OfferGoneError", "no_such_ask"),
    ("offer taken, 200", 200, {"success": False, "error": "no_such_ask", "msg": "gone"}, "OfferGoneError", "gone"),
    ("credit", 400, {"success": False, "error": "insufficient_credit", "msg": "Your account lacks credit"},
     "InsufficientCreditError", "lacks credit"),
    ("credit, msg only", 400, {"success": False, "msg": "Your account lacks credit"}, "InsufficientCreditError",
     "lacks credit"),
    ("credit, 411", 411, {"success": False, "msg": "Insufficient credit"}, "InsufficientCreditError", "Insufficient"),
    ("price", 400, {"error": "invalid_price", "msg": "Please set a bid price >= 0.001 and <= 128.0"},
     "InvalidRequestError", "bid price"),
    ("ssh key for vm", 400, {"success": False, "error": "no_ssh_key_for_vm"}, "InvalidRequestError", "no_ssh_key_for_vm"),
    ("args", 400, {"success": False, "error": "invalid_args", "msg": "error 400/3467: Invalid args"},
     "InvalidRequestError", "3467"),
    ("rented all the same", 200, {"success": False, "new_contract": 7, "msg": "bid too low"}, "InvalidRequestError",
     "bid too low"),
    ("queued", 200, {"success": False, "msg": "Required resources are currently unavailable, state change queued"},
     "InvalidRequestError", "state change queued"),
    ("instance gone", 404, {"success": False, "error": "not_found", "msg": "Instance not found"}, "NotFoundError",
     "Instance not found"),
    ("instance gone, newer", 404, {"success": False, "error": "no_such_instance", "msg": "No such instance."},
     "NotFoundError", "No such instance"),
    ("instance id", 404, {"error": "invalid_id", "msg": "Invalid instance id."}, "NotFoundError", "Invalid instance id"),
    ("ssh key gone", 400, {"success": False, "error": "no_ssh_key", "msg": "No ssh key provided"},
     "InvalidRequestError", "No ssh key"),
    ("no ssh keys", 404, "No SSH keys found for the user.", "NotFoundError", "No SSH keys found"),
    ("bad json", 400, {"error": "invalid_request", "msg": "Invalid json body"}, "InvalidRequestError", "json body"),
    ("bad filter", 400, {"msg": "limit: Input should be a valid integer"}, "InvalidRequestError", "valid integer"),
    ("bad key of a filter", 400, {"error": "invalid_request",
     "msg": "Error in query parameters: dph_total is not a valid search key"}, "InvalidRequestError", "search key"),
    ("dates", 400, {"msg": "Must provide both 'day' gte and lte filters"}, "InvalidRequestError", "Must provide both"),
    ("user exists", 409, {"error": "user_exists", "msg": "user already exists."}, "InvalidRequestError", "exists"),
    ("unprocessable", 422, {"detail": [{"loc": ["body"], "msg": "bad"}]}, "InvalidRequestError", "bad"),
    ("command", 483, {"success": False, "error": "invalid_args", "msg": "Invalid json_body"}, "InvalidRequestError",
     "Invalid json_body"),
    ("status and message", 404, {"status": "failure", "message": "No user was removed from the team."},
     "NotFoundError", "No user was removed"),
    ("error only", 400, {"error": "Invalid endpoint or missing required parameters"}, "InvalidRequestError",
     "Invalid endpoint"),
    ("500", 500, {"success": False, "error": "delete_ssh_from_instance", "msg": "Error deleting SSH key"},
     "ServerError", "Error deleting"),
    *((f"gateway {status}, {kind}", status, body, "ServerError", words) for status in (502, 503, 504) for kind, body, words
      in (("html", HTML, "a web page"), ("empty", "", "no explanation"), ("text", "upstream timed out", "upstream"))),
    ("an unknown 5xx", 599, "", "ServerError", "no explanation"),
    ("too slow", 408, "", "ServerError", "no explanation"),
    ("console's page", 200, HTML, "ResponseError", "a web page"),
    ("a login page", 403, "<html><body>log in</body></html>", "ResponseError", "a web page"),
    ("a teapot", 418, "", "ResponseError", "no explanation"),
]  # fmt: skip


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    if isinstance(body, str):
        return httpx.Response(status, text=body, headers=headers)
    return httpx.Response(status, json=body, headers=headers)


@pytest.mark.parametrize(("status", "body", "name", "words"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
def test_a_failure_of_the_service_is_this_error(status: int, body: Any, name: str, words: str) -> None:
    error = error_of(answer(status, body), ASKED)

    assert error is not None
    assert (type(error).__name__, error.code, error.retryable) == (
        name, getattr(errors, name).code, getattr(errors, name).retryable,
    )  # fmt: skip
    assert (error.status, error.endpoint) == (status, ASKED)
    assert error.message.startswith(f"{ASKED}: ")
    assert error.message.endswith(f" (HTTP {status})")
    assert words in error.message


def test_a_gateways_page_does_not_hide_that_requests_are_too_frequent() -> None:
    assert type(error_of(answer(429, HTML, {"retry-after": "2"}), ASKED)) is RateLimitError


def test_a_vague_code_does_not_hide_what_the_status_says() -> None:
    body = {"success": False, "error": "invalid_args", "msg": "error 403/3586: Offer 7 is not your own."}

    assert type(error_of(answer(403, body), ASKED)) is errors.PermissionDeniedError


BUSY: list[tuple[str, Any, dict[str, str], float | None]] = [
    ("recorded 2026", {"error": "HTTPTooManyRequests", "msg": "API requests too frequent", "retry_after": 10, "limit": 5.0,
     "remaining": 0}, {"retry-after": "10", "x-ratelimit-limit": "5.0", "x-ratelimit-remaining": "0"}, 10.0),
    ("body alone", {"error": "HTTPTooManyRequests", "msg": "API requests too frequent", "retry_after": 7}, {}, 7.0),
    ("header alone", {"error": "HTTPTooManyRequests", "msg": "API requests too frequent"}, {"retry-after": "3"}, 3.0),
    ("detail", {"detail": "API requests too frequent endpoint threshold=2.0"}, {}, 3.0),
    ("team", {"success": False, "error": "rate_limit_exceeded",
     "msg": "API requests too frequent endpoint threshold=3.0"}, {}, 4.5),
    ("text", "API requests too frequent", {}, None),
    ("text with threshold", "API requests too frequent: endpoint threshold=4.5", {}, 6.75),
    ("a date", "API requests too frequent", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
    ("an hour", "API requests too frequent", {"retry-after": "3600"}, 60.0),
    ("empty", "", {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "pause_s"), [b[1:] for b in BUSY], ids=[b[0] for b in BUSY])
def test_too_many_requests_says_how_long_to_wait(body: Any, headers: dict[str, str], pause_s: float | None) -> None:
    error = error_of(answer(429, body, headers), ASKED)

    assert type(error) is RateLimitError
    assert (error.code, error.retryable, error.retry_after_s) == ("rate_limited", True, pause_s)


def test_the_days_quota_is_not_worth_a_repeat() -> None:
    error = error_of(answer(429, {"error": "search_quota_exceeded", "msg": "Daily search quota exceeded"}), ASKED)

    assert type(error) is errors.QuotaError
    assert (error.code, error.retryable) == ("search_quota_exceeded", False)
    assert error.hint == "the quota starts again at midnight UTC; frames already fetched stay usable"


def test_a_success_that_says_requests_are_too_frequent_is_believed() -> None:
    error = error_of(answer(200, {"success": False, "msg": "API requests too frequent"}), ASKED)

    assert type(error) is RateLimitError


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_being_sent_elsewhere_names_the_address_and_does_not_follow(status: int) -> None:
    error = error_of(answer(status, "", {"location": "https://console.vast.ai/api/v0/"}), ASKED)

    assert type(error) is ResponseError
    assert error.message == f"{ASKED}: sent us on to https://console.vast.ai/api/v0/ (HTTP {status})"
    assert error.hint == "set url to the address it names, if you trust it"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"offers": []}),
        (200, {"instances": None}),
        (200, {"success": True, "new_contract": 7}),
        (200, {"success": None}),
        (200, [1, 2]),
        (200, ""),
        (201, {"success": True}),
        (204, ""),
        (200, {"offers": [{"cpu_name": '"success": false'}]}),
    ],
)
def test_a_success_is_no_error(status: int, body: Any) -> None:
    assert error_of(answer(status, body), ASKED) is None


def test_words_of_the_service_are_one_printable_line_of_bounded_length() -> None:
    hostile = "\x1b[31mred\x1b[0m\n\u202eevil\u200b " + "x" * 5000

    error = error_of(answer(400, {"msg": hostile}), ASKED)

    assert error is not None
    assert error.message.startswith(f"{ASKED}: red evil xxx")
    assert error.message.isprintable()
    assert len(error.message) < 400


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "7",
        '"text"',
        "{",
        "{}",
        '{"msg": null}',
        '{"msg": 7, "error": []}',
        "\x00",
        '{"error": {"a": 1}}',
    ],
)
@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 429, 500])
def test_any_body_is_read_without_a_crash(status: int, body: str) -> None:
    error = error_of(httpx.Response(status, content=body.encode()), ASKED)

    assert (error is None) == (status == 200)


@pytest.mark.parametrize("status", sorted(STATUS_ERRORS))
def test_a_status_alone_is_an_error(status: int) -> None:
    error = error_of(answer(status, ""), ASKED)

    assert type(error) is STATUS_ERRORS[status]


def documented(folder: Path) -> str:
    return (folder / "vast-api" / "openapi.yaml").read_text("utf-8")


def test_every_documented_status_has_an_error(shared_records: Path) -> None:
    statuses = {
        int(s) for s in re.findall(r"""^ +['"]?([1-5]\d\d)['"]?:\s*$""", documented(shared_records), re.MULTILINE)
    }

    assert {200, 400, 401, 403, 404, 410, 429} <= statuses
    assert statuses - {200} <= set(STATUS_ERRORS)


def test_every_documented_code_of_a_failure_has_an_error_of_its_kind(shared_records: Path) -> None:
    """No code of the documentation falls through to `ApiError` or `ResponseError`, which say nothing to a caller."""
    written = r"^ +error:\s+(?:type: string\s+example: )?['\"]?([a-z]+_[a-z_]+)['\"]?\s*$"
    codes = set(re.findall(written, documented(shared_records), re.MULTILINE))

    found = {code: error_of(answer(400, {"success": False, "error": code}), ASKED) for code in codes}

    assert {"auth_error", "no_such_ask", "rate_limit_exceeded"} <= codes
    assert {type(error) for error in found.values()}.isdisjoint({ApiError, ResponseError, type(None)})


def test_the_recorded_rate_limit_is_read(shared_records: Path) -> None:
    record = json.loads((shared_records / "real_data" / "http_429_bundles_2026-07-25.json").read_text("utf-8"))

    error = error_of(answer(record["status"], record["body"], record["headers"]), ASKED)

    assert type(error) is RateLimitError
    assert (error.retry_after_s, error.message) == (10.0, f"{ASKED}: API requests too frequent (HTTP 429)")


# --- the wire's failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "name", "retryable", "hint"),
    [
        (httpx.ConnectError("refused"), "NetworkError", True, "check the network"),
        (httpx.ReadError("reset"), "NetworkError", True, "check the network"),
        (httpx.RemoteProtocolError("cut"), "NetworkError", True, "check the network"),
        (httpx.ConnectTimeout("slow"), "AnswerTimeoutError", True, "raise timeout_s"),
        (httpx.ReadTimeout(""), "AnswerTimeoutError", True, "raise timeout_s"),
        (httpx.ProxyError("407"), "NetworkError", True, "HTTPS_PROXY"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), "NetworkError", False, "SSL_CERT_FILE"),
    ],
)
def test_an_error_of_the_wire_is_ours(error: httpx.HTTPError, name: str, retryable: bool, hint: str) -> None:
    ours = network_error(error, ASKED)

    assert (type(ours).__name__, ours.retryable, ours.status, ours.endpoint) == (name, retryable, None, ASKED)
    assert ours.original is error
    assert ours.message.startswith(f"{ASKED}: ")
    assert hint in str(ours.hint)
