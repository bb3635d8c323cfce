"""Calls measured: what was asked, what came, how long it took; and never a key."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from vastnb import errors
from vastnb.infra.monitoring import CallLog, CallRecord, redacted
from vastnb.sandbox import Sandbox
from vastnb.services.offers import search
from vastnb.services.usage import cache_info, calls, clear_cache
from vastnb.vast.client import Client
from vastnb.vast.render import frame_text
from vastnb.vast.types import KINDS


def test_every_call_is_measured_whatever_became_of_it(client: Client, sandbox: Sandbox) -> None:
    client.search_offers("num_gpus=8")
    client.search_offers("num_gpus=8")
    sandbox.faults.add("auth-404")
    with pytest.raises(errors.AuthError):
        client.search_offers("num_gpus=4")
    sandbox.faults.add("cut-before")
    with pytest.raises(errors.NetworkError):
        client.user()

    frame = calls(client=client)

    assert list(frame.columns) == [c.name for c in KINDS["calls"]]
    assert frame.operation.tolist() == ["search offers"] * 3 + ["user"]
    assert frame.from_cache.tolist() == [False, True, False, False]
    assert frame.status.fillna(0).tolist() == [200, 200, 404, 0]
    assert frame.error.tolist() == ["", "", "auth_error", "network"]
    assert (frame.latency_ms > 0).all()
    assert (frame.size_bytes[:2] > 1000).all()


def test_repeats_are_counted(make_client: Callable[..., Client], sandbox: Sandbox) -> None:
    client = make_client(sandbox, retries=1)
    sandbox.faults.add("cut-after")

    client.search_offers("num_gpus=8")

    assert calls(client=client).repeats.tolist() == [1]


def test_a_summary_has_shares_of_latency_of_those_that_asked(client: Client) -> None:
    for number in range(20):
        client.log.add(record("search offers", latency_ms=float(number + 1)))
    client.log.add(record("search offers", latency_ms=0.1, from_cache=True))
    client.log.add(record("user", error="network", status=None))

    frame = calls(summary=True, client=client).set_index("operation")

    assert frame.loc["search offers"].to_dict() == {
        "calls": 21, "from_cache": 1, "errors": 0, "repeats": 0, "p50_ms": 10.0, "p95_ms": 19.0, "waited_s": 0.0,
    }  # fmt: skip
    assert frame.loc["user", "errors"] == 1


def record(operation: str, **changes: object) -> CallRecord:
    plain = {"at": 1.0, "operation": operation, "endpoint": "GET /", "status": 200, "latency_ms": 1.0, "from_cache": False,
             "stale": False, "repeats": 0, "waited_s": 0.0, "size": 10, "error": ""}  # fmt: skip
    return CallRecord(**{**plain, **changes})  # type: ignore[arg-type]


def test_no_calls_are_an_empty_table_that_says_so(client: Client) -> None:
    assert len(calls(client=client)) == 0
    assert frame_text(calls(client=client)) == "No calls yet."
    assert len(calls(summary=True, client=client)) == 0


def test_a_used_up_quota_is_shown_with_its_end(make_client: Callable[..., Client]) -> None:
    with Sandbox(offers=50, strict=True, start="2026-06-01T23:00:00Z") as strict:
        client = make_client(strict, retries=0)
        strict.faults.add("429-quota")
        for _ in range(2):
            with pytest.raises(errors.QuotaError):
                client.search_offers()

        assert strict.requests("/bundles") == 1
        assert "today's quota is used up until" in frame_text(calls(client=client))


def test_failures_are_logged_and_nothing_that_looks_like_a_key_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "vastnb.calls")
    log = CallLog()

    log.add(record("search offers"))
    log.add(record("user", error="auth_error Bearer abcdef0123456789"))

    assert [r.levelname for r in caplog.records] == ["DEBUG", "INFO"]
    assert "abcdef0123456789" not in caplog.text


@pytest.mark.parametrize(
    "text",
    ["Authorization: Bearer 0123456789abcdef", "?api_key=0123456789abcdef", '"api_key": "0123456789abcdef"', "0123456789abcdef" * 4,
     "jupyter_token=0123456789abcdef"],
)  # fmt: skip
def test_what_looks_like_a_secret_is_taken_out(text: str) -> None:
    assert "0123456789abcdef" not in redacted(text)
    assert "***" in redacted(text)


# ---------------------------------------------------------------- what is kept


def test_what_is_kept_is_shown_and_can_be_forgotten(client: Client, sandbox: Sandbox) -> None:
    for _ in range(2):
        search("num_gpus=8", client=client)
    client.search_offers("num_gpus=8", limit=3)
    client.user()

    info = cache_info(client=client).set_index("holds")

    assert info.loc["finished frames", ["entries", "hits"]].tolist() == [1, 1]
    assert info.loc["market data", ["backend", "entries", "misses"]].tolist() == ["sqlite", 2, 2]
    assert info.loc["account data", "entries"] == 1
    assert info.loc["market data", "size_mb"] > 0
    assert "Finished" not in frame_text(cache_info(client=client)).splitlines()[0]
    left = clear_cache(client=client)
    assert left.entries.tolist() == [0, 0, 0]
    asked = sandbox.requests()
    search("num_gpus=8", client=client)
    assert sandbox.requests() == asked + 1


def test_a_cache_that_is_not_open_yet_is_shown_too(client: Client) -> None:
    assert cache_info(client=client).holds.tolist() == ["finished frames"]
