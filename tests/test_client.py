"""The client through its door: real HTTP to the sandbox, every way an answer can fail, and no secret anywhere."""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vastnb import errors
from vastnb.infra._httpx import proxy_for
from vastnb.infra.config import Settings, load_settings
from vastnb.sandbox import Sandbox
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query

MakeClient = Callable[..., Client]


def test_a_search_gives_the_offers_of_the_service_in_its_order(client: Client, sandbox: Sandbox) -> None:
    query = parse_query("gpu_name=RTX_4090 num_gpus>=2", limit=10)

    frame = client.search_offers(query)

    assert frame.offer_id.tolist() == [offer["id"] for offer in sandbox.offers(query.to_api())][:10]


def test_both_documented_forms_give_the_same(client: Client) -> None:
    forms = [client.search_offers("num_gpus=4", form=form, limit=20).offer_id.tolist() for form in ("bundles", "asks")]

    assert forms[0] == forms[1] != []


def test_raw_keeps_official_names_and_values(client: Client, sandbox: Sandbox) -> None:
    frame = client.search_offers("num_gpus=1", raw=True, limit=3)

    truth = sandbox.offers(parse_query("num_gpus=1").to_api())[:3]
    assert sorted(frame.columns) == sorted(truth[0])
    assert frame.dph_total.tolist() == [offer["dph_total"] for offer in truth]


def test_one_offer_is_asked_anew(client: Client, sandbox: Sandbox) -> None:
    offer = sandbox.offers({"rentable": {"eq": True}})[0]

    frames = [client.get_offer(offer["id"]) for _ in range(2)]

    assert [f.offer_id.tolist() for f in frames] == [[offer["id"]]] * 2
    assert sandbox.requests("/bundles") == 2


def test_an_offer_that_is_gone_says_so(client: Client) -> None:
    with pytest.raises(errors.OfferGoneError, match="offer 987654321"):
        client.get_offer(987654321)


def test_a_live_account_refuses_an_offer_of_the_sandbox() -> None:
    live = Client(Settings(api_key="k"))

    with pytest.raises(errors.SandboxOfferError):
        live.get_offer(900_000_001)


def test_gpu_names_and_the_account(client: Client, sandbox: Sandbox) -> None:
    assert "RTX 4090" in client.gpu_names()
    assert client.user().email == "sandbox@example.com"
    assert client.user().credit_usd == 100.0


@pytest.mark.parametrize(
    ("fault", "error", "code", "retryable"),
    [
        ("auth-404", errors.AuthError, "auth_error", False),
        ("auth-401", errors.AuthError, "auth_error", False),
        ("auth-403", errors.PermissionDeniedError, "not_authorized", False),
        ("429-record", errors.RateLimitError, "rate_limited", True),
        ("429-detail", errors.RateLimitError, "rate_limited", True),
        ("429-coded", errors.RateLimitError, "rate_limited", True),
        ("429-text", errors.RateLimitError, "rate_limited", True),
        ("429-quota", errors.QuotaError, "search_quota_exceeded", False),
        ("500", errors.ServerError, "server_error", True),
        ("502-html", errors.ServerError, "server_error", True),
        ("503", errors.ServerError, "server_error", True),
        ("504", errors.ServerError, "server_error", True),
        ("cut-before", errors.NetworkError, "network", True),
        ("cut-after", errors.NetworkError, "network", True),
        ("cut-body", errors.NetworkError, "network", True),
        ("garbage", errors.ResponseError, "bad_response", False),
        ("html-200", errors.ResponseError, "bad_response", False),
        ("truncated-json", errors.ResponseError, "bad_response", False),
        ("trailing-text", errors.ResponseError, "bad_response", False),
        ("null-offers", errors.ResponseError, "bad_response", False),
        ("wrong-types", errors.ResponseError, "bad_response", False),
        ("success-false", errors.InvalidRequestError, "invalid_request", False),
    ],
)
def test_every_failure_has_its_error(
    client: Client, sandbox: Sandbox, fault: str, error: type[errors.ApiError], code: str, retryable: bool
) -> None:
    sandbox.faults.add(fault)

    with pytest.raises(errors.VastError) as raised:
        client.search_offers(parse_query("num_gpus=1", defaults=False))

    assert type(raised.value) is error
    assert (raised.value.code, raised.value.retryable) == (code, retryable)
    assert raised.value.endpoint == "POST /api/v0/bundles/"
    assert raised.value.hint
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "fault", ["garbage", "html-200", "truncated-json", "trailing-text", "null-offers", "wrong-types"]
)
def test_an_unreadable_answer_is_not_given_twice(client: Client, sandbox: Sandbox, fault: str) -> None:
    sandbox.faults.add(fault)
    with pytest.raises(errors.ResponseError):
        client.search_offers("num_gpus=1")

    assert len(client.search_offers("num_gpus=1")) > 0
    assert sandbox.requests("/bundles") == 2


def test_an_older_answer_stands_in_with_a_warning(
    make_client: MakeClient, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with make_client(sandbox) as before:
        names = before.gpu_names()
    assert not caplog.records
    sandbox.faults.add("503", times=None)

    again = make_client(sandbox, retries=0).gpu_names(refresh=True)

    assert again == names
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("gpu names: no answer came; an older one of 20")


def test_a_service_that_does_not_answer_is_given_up_in_time(make_client: MakeClient, sandbox: Sandbox) -> None:
    sandbox.faults.add("hang")
    client = make_client(sandbox, retries=0, timeout_s=0.2)

    with pytest.raises(errors.AnswerTimeoutError):
        client.search_offers()


def test_a_search_survives_what_passes_by_itself(make_client: MakeClient, sandbox: Sandbox) -> None:
    sandbox.faults.add("cut-after")
    client = make_client(sandbox, retries=1)

    assert len(client.search_offers("num_gpus=1")) > 0
    assert sandbox.requests("/bundles") == 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_service_there_is_a_network_error(make_client: MakeClient) -> None:
    client = make_client(f"http://127.0.0.1:{free_port()}", retries=0)

    with pytest.raises(errors.NetworkError) as raised:
        client.search_offers()

    assert raised.value.hint is not None
    assert "HTTPS_PROXY" in raised.value.hint


def test_a_proxy_of_the_environment_is_used_and_no_proxy_goes_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    assert proxy_for("https://console.vast.ai") == os.environ["HTTPS_PROXY"]
    with Client(Settings(retries=0)) as client, pytest.raises(errors.NetworkError):
        client.search_offers(limit=1)

    monkeypatch.setenv("NO_PROXY", "vast.ai")
    assert proxy_for("https://console.vast.ai") is None


def test_a_service_on_this_computer_needs_no_proxy(
    make_client: MakeClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")

    assert len(make_client(sandbox, retries=0).search_offers(limit=1)) == 1


def test_the_key_goes_to_its_own_origin_only(make_client: MakeClient, sandbox: Sandbox) -> None:
    client = make_client(sandbox)
    client.search_offers(limit=1)
    with Sandbox(offers=50, api_key=sandbox.api_key) as other:
        client._http().get(f"{other.url}/api/v0/users/current/")

    assert [record.key_digest is not None for record in other.log] == [False]
    assert sandbox.log[-1].key_digest is not None


def test_a_redirect_is_an_error_and_is_not_followed(make_client: MakeClient, sandbox: Sandbox) -> None:
    from vastnb.infra._httpx import httpx
    from vastnb.vast.client.answers import error_of

    response = httpx.Response(308, headers={"location": "https://console.vast.ai/api/v0/bundles/"})

    problem = error_of(response, "POST /api/v0/bundles/")

    assert isinstance(problem, errors.ResponseError)
    assert "https://console.vast.ai/api/v0/bundles/" in str(problem)


@pytest.mark.parametrize("fault", ["auth-404", "cut-after", "502-html", "garbage", "hang"])
def test_no_error_log_repr_or_file_holds_the_key(
    make_client: MakeClient, sandbox: Sandbox, fault: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    client = make_client(sandbox, retries=0, timeout_s=0.3)
    caplog.set_level(logging.DEBUG)
    client.search_offers(limit=2)
    sandbox.faults.add(fault)

    with pytest.raises(errors.VastError) as raised:
        client.search_offers(limit=3)

    seen = [repr(client), repr(client.settings), str(client.settings), caplog.text, repr(raised.value)]
    seen += traceback.format_exception(raised.value)
    frames = [f for link in _chain(raised.value) for f, _ in traceback.walk_tb(link.__traceback__)]
    seen += [repr(value) for frame in frames for value in frame.f_locals.values()]
    assert [text for text in seen if sandbox.api_key in text] == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if sandbox.api_key.encode() in path.read_bytes()] == []


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def test_a_service_that_repeats_the_key_does_not_get_it_shown(make_client: MakeClient, sandbox: Sandbox) -> None:
    client = make_client(sandbox)
    told = errors.AuthError(f"no such key: {sandbox.api_key}")

    assert str(client._without_key(told)) == "no such key: ***"


def test_an_account_is_needed_and_nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", "somebodys-key")
    client = Client(load_settings())

    with pytest.raises(errors.ModeError) as raised:
        client.user()

    assert raised.value.hint is not None
    assert "%vast use sandbox" in raised.value.hint
    assert "%vast use production" in raised.value.hint


def test_an_account_is_needed_and_there_is_no_key(make_client: MakeClient, sandbox: Sandbox) -> None:
    with pytest.raises(errors.AuthError, match="needs an API key"):
        make_client(sandbox, api_key=None).user()
    assert sandbox.requests() == 0


def test_a_wrong_key_is_refused_by_the_service(make_client: MakeClient, sandbox: Sandbox) -> None:
    with pytest.raises(errors.AuthError):
        make_client(sandbox, api_key="wrong").search_offers()


def test_the_account_is_named_without_its_key(make_client: MakeClient, sandbox: Sandbox) -> None:
    names = [make_client(sandbox, api_key=key).account_name for key in (None, "a-key", "a-key", "b-key")]

    assert names[0] == "none"
    assert names[1] == names[2] != names[3]
    assert not any("a-key" in name for name in names)


@pytest.mark.parametrize(
    "fault", ["nulls", "nan", "new-fields", "absurd", "hostile", "missing-fields", "offers-object"]
)
def test_odd_offers_are_read(client: Client, sandbox: Sandbox, fault: str) -> None:
    query = parse_query("num_gpus>=1", defaults=False)
    expected = client.search_offers(query, refresh=True).offer_id.tolist()
    sandbox.faults.add(fault)

    frame: Any = client.search_offers(query, refresh=True)

    assert frame.offer_id.tolist() == (expected[:1] if fault == "offers-object" else expected)
    assert str(frame.usd_per_hour.dtype) == "float64"


def test_rows_that_contradict_the_query_and_repeated_ones_are_left_out(client: Client, sandbox: Sandbox) -> None:
    query = parse_query("gpu_name=RTX_4090")
    expected = client.page(query, refresh=True).frame.offer_id.tolist()
    sandbox.faults.add("contradicting", count=3)

    page = client.page(query, refresh=True)

    assert (page.frame.offer_id.tolist(), page.contradicting) == (expected, 3)
    sandbox.faults.add("duplicate-ids", count=2)
    assert client.page(query, refresh=True).frame.offer_id.tolist() == expected


def test_a_closed_client_opens_again(client: Client) -> None:
    client.search_offers(limit=1)
    client.close()
    client.close()

    assert len(client.search_offers(limit=1)) == 1
