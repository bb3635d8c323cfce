"""The sandbox as a server: what each endpoint answers, every fault at the socket, limits, control, start and stop."""

import gzip
import http.client
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from vastnb.sandbox import Sandbox, serve
from vastnb.sandbox.answers import Service
from vastnb.sandbox.books import Account, BillLine, Books
from vastnb.sandbox.columns import FIELDS
from vastnb.sandbox.endpoints import ENDPOINTS, find
from vastnb.sandbox.faults import ANSWER, KINDS, OFFERS, Faults
from vastnb.sandbox.limits import Limits
from vastnb.sandbox.log import LENGTH, Log, Record
from vastnb.sandbox.oddities import FIELDS_2019
from vastnb.sandbox.pytest_plugin import vastnb_sandbox  # noqa: F401 - the fixture, registered or not

START = "2026-06-01T12:00:00Z"
SEARCH = "/api/v0/bundles/"


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    sandbox: Sandbox,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = "",
    timeout: float = 20,
    **headers: str,
) -> Reply:
    """Ask once on a new connection, as the account unless another key (or none) is given."""
    key = sandbox.api_key if key == "" else key
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1]), timeout=timeout)
    try:
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(offers=300, seed=3, start=START) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Iterator[Sandbox]:
    """The module's sandbox, with no fault and no log of an earlier test."""
    shared.faults.clear()
    shared.log.clear()
    yield shared
    shared.faults.clear()


# Answers.


@pytest.mark.parametrize("path", [SEARCH, "/api/v0/bundles"])
@pytest.mark.parametrize("key", ["", None])
def test_a_search_answers_the_first_page_of_the_truth_with_or_without_key(
    sandbox: Sandbox, path: str, key: str | None
) -> None:
    body = {"verified": {"eq": True}, "order": [["dph_total", "asc"]], "allocated_storage": 20.0, "type": "on-demand"}

    reply = ask(sandbox, "POST", path, body, key=key)

    truth = sandbox.offers(body)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.headers["X-Vastnb-Sandbox"] == sandbox.run_id
    assert parsedate_to_datetime(reply.headers["Date"]).timestamp() == sandbox.clock.now()
    assert reply.json == {"offers": truth[:64]} and len(truth) > 64
    assert list(reply.json["offers"][0]) == sorted(FIELDS)


def test_all_ways_to_search_give_the_same_answer(sandbox: Sandbox) -> None:
    body = {"gpu_name": {"in": ["RTX_4090", "RTX 5090"]}, "num_gpus": {"gte": "2"}, "limit": 5}
    new = ask(sandbox, "PUT", "/api/v0/search/asks/", {"select_cols": ["*"], "q": body})
    old = ask(sandbox, "GET", f"{SEARCH}?q={quote(json.dumps(body))}")
    now = ask(sandbox, "POST", SEARCH, body)

    assert new.json == old.json == now.json and len(now.json["offers"]) == 5
    some = ask(sandbox, "PUT", "/api/v0/search/asks", {"select_cols": ["id", "nonsense"], "q": body}).json["offers"]
    assert some == [{"id": offer["id"], "nonsense": None} for offer in now.json["offers"]]
    assert [record.body for record in sandbox.log][:3] == [{"select_cols": ["*"], "q": body}, body, body]


@pytest.mark.parametrize(("limit", "count"), [(None, 64), (10_000, 64), (3, 3), (0, 0)])
def test_a_page_is_capped_whatever_the_limit(sandbox: Sandbox, limit: int | None, count: int) -> None:
    assert len(ask(sandbox, "POST", SEARCH, {"limit": limit}).json["offers"]) == count


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("POST", SEARCH, b"{oops", {"error": "invalid_request", "msg": "Invalid json body"}),
        ("POST", SEARCH, b"", {"error": "invalid_request", "msg": "Invalid json body"}),
        ("POST", SEARCH, b"\xff\xfe", {"error": "invalid_request", "msg": "Invalid json body"}),
        ("POST", SEARCH, b"[" * 100_000, {"error": "invalid_request", "msg": "Invalid json body"}),
        ("POST", SEARCH, b'{"limit": {"eq": 5}}', {"msg": "limit: Input should be a valid integer"}),
        ("PUT", "/api/v0/search/asks/", b'{"q": 5}', {"error": "invalid_request", "msg": "Invalid json body"}),
        ("GET", f"{SEARCH}?q=no", None, {"error": "invalid_request", "msg": "Invalid json body"}),
    ],
)
def test_a_bad_search_is_a_400(sandbox: Sandbox, method: str, path: str, body: bytes | None, answer: Any) -> None:
    reply = ask(sandbox, method, path, body)
    assert (reply.status, reply.json) == (400, answer)


def test_the_search_follows_the_clock_and_the_kind_of_rental() -> None:
    with Sandbox(offers=200, start=START) as sandbox:
        before = ask(sandbox, "POST", SEARCH, {}).json
        again = ask(sandbox, "POST", SEARCH, {}).json
        sandbox.clock.step(days=2)
        after = ask(sandbox, "POST", SEARCH, {}).json
        bids = ask(sandbox, "POST", SEARCH, {"type": "bid"}).json["offers"]
        reserved = ask(sandbox, "POST", SEARCH, {"type": "reserved", "discount_rate": {"gt": 0}}).json["offers"]
    assert before == again != after
    assert all(offer["dph_base"] == offer["min_bid"] and offer["is_bid"] is False for offer in bids)
    assert reserved
    for offer in reserved:
        assert offer["discounted_dph_total"] == offer["search"]["discountedTotalPerHour"] < offer["dph_total"]


@pytest.mark.parametrize(
    ("method", "path", "status", "answer"),
    [
        ("GET", "/api/v0/instances/7/?owner=me", 200, {"instances": None}),
        ("GET", "/api/v0/instances/seven/", 200, {"instances": None}),
        (
            "GET",
            "/api/v0/instances/",
            410,
            {
                "success": False,
                "error": "deprecated_endpoint",
                "msg": "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead.",
            },
        ),
        (
            "GET",
            "/api/v1/instances",
            200,
            {
                "success": True,
                "instances_found": 0,
                "total_instances": 0,
                "label_counts": {},
                "instances": [],
                "next_token": None,
            },
        ),
        ("GET", "/api/v0/instances/filters/", 200, {"success": True, "filters": []}),
    ],
)
def test_the_account_endpoints_answer_as_documented(
    sandbox: Sandbox, method: str, path: str, status: int, answer: Any
) -> None:
    reply = ask(sandbox, method, path)
    assert (reply.status, reply.json) == (status, answer)
    unsigned = ask(sandbox, method, path, key=None)
    assert (unsigned.status, unsigned.json["error"]) == (401, "auth_error")


def test_the_current_user_is_the_account_of_the_key(sandbox: Sandbox) -> None:
    user = ask(sandbox, "GET", "/api/v0/users/current").json
    assert {
        "id",
        "key_id",
        "email",
        "balance",
        "ssh_key",
        "sid",
        "username",
        "can_pay",
        "host_agreement_accepted",
    } <= set(user)
    assert user["credit"] == 100.0
    assert sandbox.api_key not in json.dumps(user)


def test_the_gpu_names_and_types_are_those_of_the_market(sandbox: Sandbox) -> None:
    names = ask(sandbox, "GET", "/api/v0/gpu_names/unique/", key=None).json
    types = ask(sandbox, "GET", "/api/v0/gpu_types/", key=None).json
    assert names["success"] is True and {offer["gpu_name"] for offer in sandbox.offers()} <= set(names["gpu_names"])
    assert {"canonical_name": "RTX 4090", "gpu_ram_mb": 24564} in types["gpu_types"]


@pytest.mark.parametrize("path", [SEARCH, "/api/v0/users/current/", "/api/v1/instances/", "/api/v0/gpu_names/unique/"])
def test_a_wrong_key_is_refused_everywhere(sandbox: Sandbox, path: str) -> None:
    method = "POST" if path == SEARCH else "GET"
    reply = ask(sandbox, method, path, {} if method == "POST" else None, key="wrong")
    assert (reply.status, reply.json) == (404, {"success": False, "error": "auth_error", "msg": "Invalid user key"})


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/v0/offers/"), ("GET", "/"), ("DELETE", SEARCH), ("PUT", "/api/v0/team/")]
)
def test_an_unknown_path_answers_the_consoles_page(sandbox: Sandbox, method: str, path: str) -> None:
    reply = ask(sandbox, method, path)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert reply.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", "localhost.evil", "[::2]"])
def test_a_host_header_that_is_not_loopback_is_refused(sandbox: Sandbox, host: str) -> None:
    reply = ask(sandbox, "GET", "/_sandbox/info", Host=host)
    assert (reply.status, reply.json["error"]) == (403, "forbidden_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1234", "[::1]:9"])
def test_loopback_names_are_answered(sandbox: Sandbox, host: str) -> None:
    assert ask(sandbox, "POST", SEARCH, {}, Host=host).status == 200


def test_no_answer_lets_a_web_page_read_it(sandbox: Sandbox) -> None:
    reply = ask(sandbox, "POST", SEARCH, {}, Origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert "Access-Control-Allow-Origin" not in ask(sandbox, "OPTIONS", SEARCH, Origin="https://evil.example").headers


def test_gzip_compresses_for_those_who_accept_it() -> None:
    with Sandbox(offers=100, gzip=True, start=START) as sandbox:
        packed = ask(sandbox, "POST", SEARCH, {}, Accept_Encoding="gzip")
        plain = ask(sandbox, "POST", SEARCH, {})
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Content-Type"] == "application/json"


def test_latency_delays_every_answer() -> None:
    with Sandbox(offers=10, latency_s=0.05) as sandbox:
        started = time.monotonic()
        ask(sandbox, "GET", "/api/v0/users/current/")
        assert time.monotonic() - started >= 0.05


# The log.


def test_the_log_tells_who_asked_what_and_how_it_ended_without_the_key(sandbox: Sandbox) -> None:
    ask(sandbox, "POST", SEARCH, {"limit": 1})
    ask(sandbox, "GET", "/api/v0/users/current/?api_key=secret", key=None)
    ask(sandbox, "POST", SEARCH, b"\xffno")

    first, second, third = sandbox.log[-3:]
    assert (first.method, first.path, first.body, first.status) == ("POST", SEARCH, {"limit": 1}, 200)
    assert first.at == sandbox.clock.now() and first.key_digest and second.key_digest is None
    assert (second.path, second.body, second.status) == ("/api/v0/users/current/", None, 401)
    assert third.status == 400
    assert (sandbox.requests(), sandbox.requests("bundles"), sandbox.requests("nowhere")) == (3, 2, 0)
    told = repr(list(sandbox.log)) + repr(sandbox) + repr(sandbox.books.account(sandbox.api_key))
    assert sandbox.api_key not in told and "secret" not in told


# Faults.


def raw(sandbox: Sandbox, path: str = SEARCH, body: bytes = b"{}") -> bytes:
    """Ask on a bare socket and return everything that comes until the server closes."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1])), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


STATUS_FAULTS: dict[str, tuple[int, dict[str, str], Any]] = {
    "429-record": (
        429,
        {"retry-after": "10", "x-ratelimit-limit": "5.0", "x-ratelimit-remaining": "0"},
        {
            "error": "HTTPTooManyRequests",
            "msg": "API requests too frequent",
            "retry_after": 10,
            "limit": 5.0,
            "remaining": 0,
        },
    ),
    "429-detail": (429, {}, {"detail": "API requests too frequent endpoint threshold=2.0"}),
    "429-coded": (
        429,
        {},
        {"success": False, "error": "rate_limit_exceeded", "msg": "API requests too frequent endpoint threshold=3.0"},
    ),
    "429-text": (
        429,
        {"content-type": "text/plain; charset=utf-8"},
        b"API requests too frequent: endpoint threshold=4.5",
    ),
    "429-quota": (
        429,
        {"x-ratelimit-reset": "1780358400"},
        {"success": False, "error": "search_quota_exceeded", "msg": "Daily search quota exceeded"},
    ),
    "500": (500, {}, {"success": False, "error": "internal_error", "msg": "Internal Server Error"}),
    "502-html": (502, {"content-type": "text/html"}, None),
    "503": (503, {}, b""),
    "504": (504, {"content-type": "text/html"}, None),
    "auth-401": (401, {}, {"success": False, "error": "auth_error", "msg": "Invalid user key"}),
    "auth-403": (
        403,
        {},
        {"success": False, "error": "not_authorized", "msg": "Your key is not authorized for this action"},
    ),
    "auth-404": (404, {}, {"success": False, "error": "auth_error", "msg": "Invalid user key"}),
    "success-false": (
        200,
        {"content-type": "application/json"},
        {"success": False, "error": "unavailable", "msg": "The request could not be carried out"},
    ),
}


@pytest.mark.parametrize("name", STATUS_FAULTS)
def test_a_status_fault_answers_in_its_recorded_shape_once(sandbox: Sandbox, name: str) -> None:
    status, headers, body = STATUS_FAULTS[name]
    sandbox.faults.add(name, path="bundles")

    assert ask(sandbox, "GET", "/api/v0/users/current/").status == 200
    reply = ask(sandbox, "POST", SEARCH, {})

    assert reply.status == status
    assert {key: reply.headers[key] for key in headers} == headers
    if body is None:
        assert reply.body.startswith(b"<html>")
    else:
        assert (reply.body if isinstance(body, bytes) else reply.json) == body
    assert reply.headers["X-Vastnb-Sandbox"] == sandbox.run_id
    assert ask(sandbox, "POST", SEARCH, {}).json["offers"]


def test_every_fault_of_the_answer_is_tested_here() -> None:
    others = {"cut-before", "cut-after", "cut-body", "hang", "slow", "garbage", "html-200", "truncated-json"}
    others |= {"late-commit", "doubled-request"}  # in test_sandbox_life
    assert {name for name, kind in KINDS.items() if kind.stage == ANSWER} == others | set(STATUS_FAULTS)
    assert {name for name, kind in KINDS.items() if kind.stage == OFFERS} == set(ODDITIES)


@pytest.mark.parametrize(("name", "acts"), [("cut-before", False), ("cut-after", True)])
def test_a_cut_closes_the_connection_before_or_after_acting(sandbox: Sandbox, name: str, acts: bool) -> None:
    sandbox.faults.add(name)
    sandbox.faults.add("nulls")  # is taken only by a search that is carried out

    assert raw(sandbox) == b""

    assert [record.status for record in sandbox.log] == [0]
    assert bool(sandbox.faults.waiting()) is not acts


@pytest.mark.parametrize("name", ["500", "504", "429-text", "hang"])
@pytest.mark.parametrize("acts", [True, False])
def test_a_fault_can_hide_that_the_request_was_carried_out(sandbox: Sandbox, name: str, acts: bool) -> None:
    sandbox.faults.add(name, acts=acts)
    sandbox.faults.add("nulls")
    if name == "hang":
        with pytest.raises(TimeoutError):
            ask(sandbox, "POST", SEARCH, {}, timeout=0.2)
    else:
        assert ask(sandbox, "POST", SEARCH, {}).status != 200
    assert bool(sandbox.faults.waiting()) is not acts


def test_cut_body_promises_all_and_sends_half(sandbox: Sandbox) -> None:
    whole = ask(sandbox, "POST", SEARCH, {}, key=None).body
    sandbox.faults.add("cut-body")

    head, _, body = raw(sandbox).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: %d" % len(whole) in head
    assert body == whole[: len(whole) // 2]
    sandbox.faults.add("cut-body")
    with pytest.raises(http.client.IncompleteRead):
        ask(sandbox, "POST", SEARCH, {})


def test_truncated_json_is_complete_by_its_headers(sandbox: Sandbox) -> None:
    whole = ask(sandbox, "POST", SEARCH, {}).body
    sandbox.faults.add("truncated-json")
    reply = ask(sandbox, "POST", SEARCH, {})
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.body == whole[: len(whole) // 2]


def test_garbage_and_html_come_with_status_200(sandbox: Sandbox) -> None:
    sandbox.faults.add("garbage")
    sandbox.faults.add("html-200")
    garbage, page = ask(sandbox, "POST", SEARCH, {}), ask(sandbox, "POST", SEARCH, {})
    assert (garbage.status, garbage.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(UnicodeDecodeError):
        garbage.body.decode()
    assert (page.status, page.body[:15]) == (200, b"<!DOCTYPE html>")


def test_a_hanging_request_ends_when_the_client_leaves_and_others_are_answered(sandbox: Sandbox) -> None:
    sandbox.faults.add("hang")
    with pytest.raises(TimeoutError):
        ask(sandbox, "POST", SEARCH, {}, timeout=0.2)
    assert ask(sandbox, "POST", SEARCH, {}).status == 200
    assert [record.status for record in sandbox.log] == [0, 200]


def test_stop_ends_a_hanging_request() -> None:
    with Sandbox(offers=10) as sandbox:
        sandbox.faults.add("hang")
        waiting: list[BaseException | Reply] = []

        def wait() -> None:
            try:
                waiting.append(ask(sandbox, "POST", SEARCH, {}))
            except (http.client.RemoteDisconnected, ConnectionError) as gone:
                waiting.append(gone)

        thread = threading.Thread(target=wait)
        thread.start()
        deadline = time.monotonic() + 10
        while not sandbox.log and time.monotonic() < deadline:
            pass
    thread.join(10)
    assert isinstance(waiting[0], http.client.RemoteDisconnected | ConnectionError)


def test_a_slow_answer_comes_after_its_seconds(sandbox: Sandbox) -> None:
    sandbox.faults.add("slow", seconds=0.3)
    with pytest.raises(TimeoutError):
        ask(sandbox, "POST", SEARCH, {}, timeout=0.1)
    sandbox.faults.add("slow", seconds=0.05)
    assert ask(sandbox, "POST", SEARCH, {}).json["offers"]


def test_faults_are_counted_and_last_until_cleared(sandbox: Sandbox) -> None:
    sandbox.faults.add("503", times=2)
    sandbox.faults.add("500", times=None, method="post")
    statuses = [ask(sandbox, "POST", SEARCH, {}).status for _ in range(4)]
    assert statuses == [503, 503, 500, 500]
    assert ask(sandbox, "GET", "/api/v0/users/current/").status == 200
    sandbox.faults.clear()
    assert ask(sandbox, "POST", SEARCH, {}).status == 200


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"name": "502"}, ValueError, "unknown fault '502': did you mean '502-html'"),
        ({"name": "slow", "second": 1}, TypeError, "fault 'slow' has no option 'second': did you mean 'seconds'"),
        ({"name": "garbage", "acts": True}, TypeError, "known: none"),
        ({"name": "500", "times": 0}, ValueError, "times must be a whole number from 1, or None, got 0"),
    ],
)
def test_a_fault_that_does_not_exist_is_refused(call: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Faults().add(**call)


def test_every_fault_says_in_a_line_what_it_does() -> None:
    names = Faults().names()
    assert {"listing-lag", "doubled-request"} < set(names) and len(names) == len(KINDS)
    assert all(meaning and "\n" not in meaning for meaning in names.values())
    faults = Faults()
    faults.add("listing-lag", seconds=3)
    assert faults.take_answer("GET", "/") is None and len(faults.waiting()) == 1


# Oddities of the offers.


def _nulls(good: list[Any], odd: list[Any]) -> None:
    assert odd[0]["cpu_ghz"] is None and odd[0]["geolocation"] is None and odd[0]["id"] == good[0]["id"]
    assert odd[1] == good[1]


def _nan(good: list[Any], odd: list[Any]) -> None:
    assert math.isnan(odd[0]["inet_down"]) and odd[0]["inet_up"] == -math.inf and odd[1] == good[1]


def _absurd(good: list[Any], odd: list[Any]) -> None:
    assert (odd[0]["cuda_max_good"], odd[0]["compute_cap"], odd[0]["end_date"]) == (580.173, 243, 4102462754.0)
    assert odd[0]["inet_up"] < 0 and odd[0]["duration"] > 75 * 365 * 86400 and odd[1] == good[1]


def _hostile(good: list[Any], odd: list[Any]) -> None:
    assert "<script>" in odd[0]["gpu_name"] and "\x1b[" in odd[0]["cpu_name"] and "\u202e" in odd[0]["mobo_name"]
    assert len(odd[0]["geolocation"]) > 1_000_000 and "<img" in odd[2]["geolocation"] and odd[1] == good[1]


def _wrong_types(good: list[Any], odd: list[Any]) -> None:
    assert odd[0]["dph_total"] == str(good[0]["dph_total"]) and odd[0]["gpu_name"] == [good[0]["gpu_name"]]
    assert odd[1] == good[1]


def _missing(good: list[Any], odd: list[Any]) -> None:
    assert {frozenset(offer) for offer in odd} == {FIELDS_2019}


def _new(good: list[Any], odd: list[Any]) -> None:
    assert all(offer["liquid_cooled"] is True and offer["fabric"]["links"] == [4, 4] for offer in odd)


def _contradicting(good: list[Any], odd: list[Any]) -> None:
    assert odd[3:] == good and not any(offer["verification"] == "verified" for offer in odd[:3])


def _duplicates(good: list[Any], odd: list[Any]) -> None:
    assert odd == [*good, *good[:2]]


def _object(good: list[Any], odd: Any) -> None:
    assert odd == good[0]


def _null(good: list[Any], odd: Any) -> None:
    assert odd is None


ODDITIES: dict[str, Any] = {
    "nulls": _nulls,
    "nan": _nan,
    "absurd": _absurd,
    "hostile": _hostile,
    "wrong-types": _wrong_types,
    "missing-fields": _missing,
    "new-fields": _new,
    "contradicting": _contradicting,
    "duplicate-ids": _duplicates,
    "offers-object": _object,
    "null-offers": _null,
    "trailing-text": None,
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_in_the_next_answer_with_offers(sandbox: Sandbox, name: str) -> None:
    body = {"verified": {"eq": True}, "limit": 10}
    good = ask(sandbox, "POST", SEARCH, body)
    sandbox.faults.add(name)

    assert ask(sandbox, "GET", "/api/v0/users/current/").status == 200
    odd = ask(sandbox, "POST", SEARCH, body)

    assert (odd.status, odd.headers["Content-Type"]) == (200, "application/json")
    if name == "trailing-text":
        assert odd.body == good.body + b"\nMachine ID 24126 not found or not rentable.\n"
    else:
        ODDITIES[name](good.json["offers"], odd.json["offers"])
    assert ask(sandbox, "POST", SEARCH, body).body == good.body


def test_oddities_add_up_whatever_their_order_and_an_empty_answer_survives_them(sandbox: Sandbox) -> None:
    for name in ("null-offers", *ODDITIES):
        sandbox.faults.add(name)
    assert ask(sandbox, "POST", SEARCH, {}).body.startswith(b'{"offers":null}')
    for name in ODDITIES:
        if name not in ("null-offers", "offers-object", "trailing-text", "contradicting"):
            sandbox.faults.add(name)
    assert ask(sandbox, "POST", SEARCH, {"id": {"eq": 1}}).json == {"offers": []}
    sandbox.faults.add("nulls", fields=["dph_total"])
    sandbox.faults.add("duplicate-ids", count=1)
    offers = ask(sandbox, "POST", SEARCH, {"limit": 2}).json["offers"]
    assert [offer["dph_total"] is None for offer in offers] == [True, False, True]


# Limits.


def test_strict_limits_hold_the_documented_interval_per_endpoint_and_identity() -> None:
    now = [0.0]
    limits = Limits(monotonic=lambda: now[0])
    user, listing = find("GET", "/api/v0/secrets/"), find("GET", "/api/v1/instances/")
    assert user and listing

    assert limits.check(user, "a") is None and limits.check(listing, "a") is None and limits.check(user, "b") is None
    now[0] = 4.9
    refused = limits.check(user, "a")
    assert refused and (refused.threshold, refused.is_search) == (5.0, False)
    assert refused.wait_s == pytest.approx(0.1)
    now[0] = 5.0
    assert limits.check(user, "a") is None
    assert limits.refused == 1


def test_an_early_create_has_to_wait_out_its_penalty() -> None:
    now = [0.0]
    limits = Limits(monotonic=lambda: now[0])
    create = find("PUT", "/api/v0/asks/900000001/")
    assert create

    accepted = []
    for now[0] in (0.0, 4.5, 5.0, 16.9, 28.0, 40.0):
        accepted.append(limits.check(create, "a") is None)
    assert accepted == [True, True, False, False, False, True]


def test_the_eleventh_search_of_a_minute_is_refused_in_the_recorded_shape() -> None:
    now = [1000.0]
    with Sandbox(offers=10, strict=True, start=START) as sandbox:
        assert sandbox.limits is not None
        sandbox.limits._monotonic = lambda: now[0]
        replies = [ask(sandbox, "POST", SEARCH, {}) for _ in range(11)]
        assert [reply.status for reply in replies] == [200] * 10 + [429]
        assert replies[-1].json == {
            "error": "HTTPTooManyRequests",
            "msg": "API requests too frequent",
            "retry_after": 60,
            "limit": 10.0,
            "remaining": 0,
        }
        assert replies[-1].headers["retry-after"] == "60"
        assert ask(sandbox, "PUT", "/api/v0/search/asks/", {"q": {}}).status == 429
        assert ask(sandbox, "POST", SEARCH, {}, key=None).status == 200
        now[0] += 60
        assert ask(sandbox, "POST", SEARCH, {}).status == 200
        first, early = (ask(sandbox, "GET", "/api/v1/instances/") for _ in range(2))
        assert first.status == 200
        assert (early.status, early.body) == (429, b"API requests too frequent: endpoint threshold=1.0")
        assert sandbox.limits.refused == 3


# Control.


def test_another_process_can_move_the_clock_and_set_faults_with_the_key() -> None:
    with Sandbox(offers=10, start=START) as sandbox:
        before = sandbox.clock.now()
        assert ask(sandbox, "GET", "/_sandbox/clock").json == {"now": before, "speed": 0.0}
        assert ask(sandbox, "POST", "/_sandbox/clock", {"step_s": 90}).json["now"] == before + 90 == sandbox.clock.now()
        assert ask(sandbox, "POST", "/_sandbox/clock", {"run": 2}).json["speed"] == 2.0
        assert ask(sandbox, "POST", "/_sandbox/clock", {"stop": True}).json["speed"] == 0.0
        added = ask(
            sandbox, "POST", "/_sandbox/faults", {"name": "slow", "seconds": 0.0, "path": "x", "times": None}
        ).json
        assert added["waiting"] == [
            {"name": "slow", "path": "x", "method": "", "times": None, "options": {"seconds": 0.0}}
        ]
        assert set(ask(sandbox, "GET", "/_sandbox/faults").json["names"]) == set(KINDS)
        assert ask(sandbox, "DELETE", "/_sandbox/faults").json == {"waiting": []}
        ask(sandbox, "POST", SEARCH, {"limit": 1})
        log = ask(sandbox, "GET", "/_sandbox/log").json["log"]
        assert [(record["path"], record["status"]) for record in log] == [(SEARCH, 200)]
        info = ask(sandbox, "GET", "/_sandbox/info").json
        assert (info["run_id"], info["offers"], info["requests"]) == (sandbox.run_id, 10, 1)


@pytest.mark.parametrize("key", [None, "wrong"])
def test_control_needs_the_key(sandbox: Sandbox, key: str | None) -> None:
    for method, path in (("GET", "clock"), ("POST", "clock"), ("GET", "log"), ("DELETE", "faults"), ("GET", "info")):
        assert ask(sandbox, method, f"/_sandbox/{path}", key=key).status == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "clock", {}, 400),
        ("POST", "clock", {"jump": 5}, 400),
        ("POST", "clock", {"step_s": -5}, 400),
        ("POST", "clock", {"step_s": "5"}, 400),
        ("POST", "clock", [1], 400),
        ("POST", "clock", b"no", 400),
        ("POST", "faults", {}, 400),
        ("POST", "faults", {"name": "nope"}, 400),
        ("POST", "faults", {"name": "slow", "speed": 1}, 400),
        ("GET", "nowhere", None, 404),
        ("DELETE", "clock", None, 404),
    ],
)
def test_control_says_what_it_does_not_understand(
    sandbox: Sandbox, method: str, path: str, body: Any, status: int
) -> None:
    reply = ask(sandbox, method, f"/_sandbox/{path}", body)
    assert reply.status == status and reply.json["msg"]


# Books.


def test_books_find_accounts_by_key_and_keep_money_in_whole_micro_dollars() -> None:
    one = Account(id=1, email="a@example.com", api_key="k1", credit_usd=0.3)
    books = Books(one, Account(id=2, email="b@example.com", api_key="k2", credit_usd=5))
    for _ in range(3):
        books.book(BillLine(1, 0.0, "gpu", 100_000))

    assert books.account("k1") is one and books.account("nope") is None
    assert (books.credit_micro_usd(1), books.credit_micro_usd(2)) == (0, 5_000_000)
    assert books.user(one)["credit"] == 0.0


# Endpoints.


def test_what_the_table_calls_served_is_served_and_nothing_else(sandbox: Sandbox) -> None:
    keys = [(endpoint.method, endpoint.path) for endpoint in ENDPOINTS]
    assert len(set(keys)) == len(keys)
    assert all(path.endswith("/") and path.startswith("/api/v") for _, path in keys)
    assert {e.basis for e in ENDPOINTS} == {"recorded", "documented", "client only"}
    service = Service(
        market=sandbox.market,
        clock=sandbox.clock,
        books=sandbox.books,
        faults=sandbox.faults,
        rentals=sandbox.rentals,
        page_cap=1,
        defaults="",
    )
    assert {key for key, e in zip(keys, ENDPOINTS, strict=True) if e.state == "served"} == set(service.handlers)
    for endpoint in ENDPOINTS:
        reply = ask(
            sandbox, endpoint.method, endpoint.path.replace("{id}", "5"), {} if endpoint.method != "GET" else None
        )
        assert reply.body.startswith(b"<!DOCTYPE") is (endpoint.state != "served"), endpoint


# Starting and stopping.


def test_stop_leaves_no_thread_and_no_socket_and_can_be_said_twice() -> None:
    before = threading.active_count()
    sandbox = Sandbox(offers=10)
    assert sandbox.start() is sandbox and sandbox.start() is sandbox
    port = int(sandbox.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as idle:
        sandbox.stop()
        sandbox.stop()
        assert idle.recv(1) == b""
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pass
    with pytest.raises(RuntimeError, match="was stopped"):
        sandbox.start()


def test_it_listens_on_loopback_at_the_port_asked_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Sandbox(offers=10, port=port) as sandbox:
        assert sandbox.url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError):
            Sandbox(offers=10, port=port).start()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"offer": 5}, TypeError, "Sandbox\\(\\) has no keyword 'offer': did you mean 'offers'"),
        ({"page_cap": 0}, ValueError, "page_cap must be a whole number from 1, got 0"),
        ({"defaults": "any"}, ValueError, "defaults must be one of recorded, openapi, got 'any'"),
        ({"latency_s": -1}, ValueError, "latency_s must be"),
        ({"credit_usd": float("nan")}, ValueError, "credit_usd must be"),
        ({"port": 70000}, ValueError, "port must be"),
        ({"api_key": "two words"}, ValueError, "api_key must be printable ASCII"),
        ({"start": "yesterday"}, ValueError, "yesterday"),
    ],
)
def test_a_wrong_option_is_refused_with_the_value(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Sandbox(**wrong)


def test_the_repr_tells_where_it_is_but_never_the_key() -> None:
    sandbox = Sandbox(offers=10, api_key="a-secret-key")
    assert "not started" in repr(sandbox)
    with pytest.raises(RuntimeError, match="before it is started"):
        _ = sandbox.url
    with sandbox:
        assert sandbox.url in repr(sandbox) and "a-secret-key" not in repr(sandbox)
    assert "stopped" in repr(sandbox)
    assert Sandbox(offers=10).api_key != Sandbox(offers=10).api_key


def test_the_log_is_bounded_and_takes_whatever_clients_send(sandbox: Sandbox) -> None:
    log = Log(Record("GET", "/", None, 200, None, 0.0) for _ in range(LENGTH))
    log.append(Record("GET", "/last", None, 200, None, 0.0))
    assert len(log) == LENGTH and log[-1].path == "/last"
    for body in (b'{"limit": %s}' % (b"9" * 400), b'{"gpu_name": {"eq": "\\ud800"}}', b"x" * 200_000, b"9" * 5000):
        assert ask(sandbox, "POST", SEARCH, body).status in (200, 400)
    told = ask(sandbox, "GET", "/_sandbox/log").json["log"]
    assert [record["body"] for record in told][1:3] == [{"gpu_name": {"eq": "\ud800"}}, "(200000 bytes)"]


def test_many_clients_at_once_are_all_answered(sandbox: Sandbox) -> None:
    replies: list[int] = []

    def many() -> None:
        replies.extend(ask(sandbox, "POST", SEARCH, {"limit": n}).status for n in range(1, 11))

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [200] * 80 and len(sandbox.log) == 80


def test_importing_the_sandbox_loads_neither_numpy_nor_tornado() -> None:
    script = """
import sys, types, pathlib
package = types.ModuleType("vastnb")
package.__path__ = [sys.argv[1]]
sys.modules["vastnb"] = package
import vastnb.sandbox, vastnb.sandbox.pytest_plugin
vastnb.sandbox.Sandbox()
assert not {"numpy", "tornado", "asyncio"} & set(sys.modules)
import vastnb.sandbox.server, vastnb.sandbox.market
others = {name for name in sys.modules if name.startswith("vastnb.")}
assert all(name.startswith("vastnb.sandbox") for name in others), others
"""
    package = Path(sys.modules["vastnb"].__path__[0])
    subprocess.run([sys.executable, "-c", script, str(package)], check=True, timeout=60)


def test_serve_runs_until_it_is_told_to_end_and_says_when_it_is_ready() -> None:
    seen: list[str] = []

    def ready(sandbox: Sandbox) -> None:
        seen.append(str(ask(sandbox, "POST", SEARCH, {}).status))
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM), threading.active_count()
    serve(on_ready=ready, offers=10)
    assert seen == ["200"]
    assert (signal.getsignal(signal.SIGTERM), threading.active_count()) == before


def test_the_fixture_points_the_environment_at_a_fresh_sandbox(
    vastnb_sandbox: Sandbox,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert os.environ["VAST_URL"] == vastnb_sandbox.url
    assert os.environ["VAST_API_KEY"] == vastnb_sandbox.api_key
    assert Path.home().is_relative_to(tmp_path) and os.environ["XDG_CONFIG_HOME"].startswith(str(tmp_path))
    assert ask(vastnb_sandbox, "GET", "/api/v0/users/current/").status == 200
    assert len(vastnb_sandbox.log) == 1
