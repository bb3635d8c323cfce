"""What else the service tells: typed frames with fixed columns, and refusals that say what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

from vastnb import errors
from vastnb.sandbox import Sandbox
from vastnb.services import catalogue
from vastnb.services.catalogue import SHOWN, show
from vastnb.vast.client import Client
from vastnb.vast.query import parse_filters
from vastnb.vast.render import frame_html, frame_text, is_ours
from vastnb.vast.types import KINDS
from vastnb.vast.types.frames import empty_frame

MakeClient = Callable[..., Client]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8vqvZ0k0t9o3b6C7nZ1mKk4p2zqv0mJm1b0n6QxY3d me@laptop"


@pytest.fixture(scope="module")
def market() -> Iterator[Sandbox]:
    with Sandbox(offers=600, seed=7, start="2026-06-01T09:00:00+00:00", ssh_keys=[KEY]) as running:
        yield running


@pytest.fixture
def there(make_client: MakeClient, market: Sandbox) -> Client:
    market.faults.clear()
    return make_client(market, retries=0)


@pytest.mark.parametrize("what", list(SHOWN))
def test_each_is_a_typed_frame_with_its_columns_and_its_table(there: Client, what: str) -> None:
    frame = show(what, client=there)

    pinned = {c.name: c.dtype for c in KINDS[what]}
    assert list(frame.columns)[: len(pinned)] == list(pinned)
    assert {name: str(frame[name].dtype) for name in pinned} == pinned
    assert len(frame) > 0
    assert is_ours(frame)
    first = (
        ", the first 20 shown" if len(frame) > 20 and what in ("benchmarks", "trends", "locations", "volumes") else ""
    )
    assert frame_text(frame).splitlines()[-1] == f"{len(frame):,} {what}{first} · sandbox: practice, not real"
    assert "<table" in frame_html(frame)


@pytest.mark.parametrize("what", list(SHOWN))
def test_an_empty_one_has_the_same_columns(what: str) -> None:
    frame = empty_frame(what)

    assert {c.name: c.dtype for c in KINDS[what]} == {n: str(frame[n].dtype) for n in frame.columns}


def test_templates_are_filtered_by_the_service(there: Client) -> None:
    everything, some = show("templates", client=there), show("templates", "recommended=true rentals>1000", client=there)

    assert (
        some.template_id.tolist()
        == everything[everything.recommended & (everything.rentals > 1000)].template_id.tolist()
    )
    assert 0 < len(some) < len(everything)


def test_benchmarks_come_from_all_pages_once(there: Client, make_client: MakeClient) -> None:
    with Sandbox(offers=3000, seed=7, start="2026-06-01") as large:
        frame = show("benchmarks", client=make_client(large))

        assert large.requests("/benchmarks") > 1
    assert frame.benchmark_id.is_unique
    assert len(frame) > 200
    assert set(show("benchmarks", "gpu_name=RTX_4090", client=there).gpu_name) == {"RTX 4090"}
    assert len(show("benchmarks", limit=5, client=there)) == 5


def test_volumes_use_the_words_of_offers(there: Client) -> None:
    frame = show("volumes", "disk_space>=1TB region=EU verified=true", client=there)

    assert (frame.disk_max_gb >= 1000).all()
    assert set(frame.verification) == {"verified"}
    assert frame.storage_usd_per_gb_month.is_monotonic_increasing


def test_trends_are_one_row_a_model_and_moment(there: Client) -> None:
    frame = show("trends", "RTX_4090,RTX_3090", step="3600", client=there)

    assert set(frame.gpu_name) == {"RTX 4090", "RTX 3090"}
    assert not frame.duplicated(["gpu_name", "at"]).any()
    assert frame[frame.gpu_name == "RTX 4090"]["at"].diff().dropna().unique().tolist() == [pd.Timedelta(hours=1)]
    assert frame.available_usd_per_gpu_hour_median.notna().all()


def test_metrics_agree_with_the_offers(there: Client, market: Sandbox) -> None:
    frame = show("metrics", client=there).set_index("gpu_name")

    machines = {o["machine_id"] for o in market.offers({"gpu_name": {"eq": "RTX 4090"}})}
    assert frame.loc["RTX 4090", "machines"] == len(machines)


def test_ssh_keys_are_told_apart_by_comment_and_fingerprint(there: Client) -> None:
    (row,) = show("ssh-keys", client=there).itertuples()

    assert (row.kind, row.comment, row.public_key) == ("ssh-ed25519", "me@laptop", KEY)
    assert row.fingerprint.startswith("SHA256:")
    assert len(row.fingerprint) == 7 + 43


def test_no_ssh_keys_are_an_empty_frame_and_no_error(make_client: MakeClient, sandbox: Sandbox) -> None:
    assert show("ssh-keys", client=make_client(sandbox)).empty


@pytest.mark.parametrize("what", ["metrics", "trends", "locations"])
@pytest.mark.parametrize("how", ["refused", "needs-machine"])
def test_figures_that_are_for_hosts_say_what_to_do_instead(make_client: MakeClient, what: str, how: Any) -> None:
    with Sandbox(offers=50, metrics=how) as sandbox, pytest.raises(errors.PermissionDeniedError) as raised:
        show(what, client=make_client(sandbox))

    assert raised.value.hint is not None
    assert "vastnb.gpus()" in raised.value.hint


@pytest.mark.parametrize(
    ("what", "query", "options", "error", "hint"),
    [
        ("template", "", {}, errors.InvalidRequestError, "did you mean templates?"),
        ("templates", "pirce<3", {}, errors.QueryError, None),
        ("templates", "dph<3", {}, errors.QueryError, "there are: id"),
        ("templates", "", {"verified": "yes"}, errors.InvalidRequestError, None),
        ("benchmarks", "num_gpus=two", {}, errors.QueryError, None),
        ("metrics", "", {"verified": "perhaps"}, errors.InvalidRequestError, None),
    ],
)
def test_what_cannot_be_shown_is_said(
    there: Client, what: str, query: str, options: dict[str, str], error: type[Exception], hint: str | None
) -> None:
    with pytest.raises(error) as raised:
        show(what, query, client=there, **options)

    if hint is not None:
        assert hint in str(raised.value.hint)  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", [w for w in SHOWN if w != "ssh-keys"])
@pytest.mark.parametrize(
    "fault", ["success-false", "garbage", "truncated-json", "html-200", "auth-404", "429-text", "503"]
)
def test_a_failure_is_an_error_and_never_an_empty_frame(there: Client, market: Sandbox, what: str, fault: str) -> None:
    market.faults.add(fault)

    with pytest.raises(errors.ApiError):
        show(what, client=there, refresh=True)


WRONG: list[Any] = [
    None,
    3,
    [1],
    {"gpus": 1},
    {"gpus": {"RTX 4090": 3}},
    {"gpus": {"H200": {"pricing": {"timestamps": [1, 2], "median": [1.0]}}}},
]


# An account without any known field is a row of nothing, as every other field that is missing.
@pytest.mark.parametrize(
    ("what", "answer"), [(w, a) for w in SHOWN for a in WRONG if not (w == "user" and isinstance(a, dict))]
)
def test_a_wrong_typed_answer_is_an_error_that_says_so(
    there: Client, monkeypatch: pytest.MonkeyPatch, what: str, answer: Any
) -> None:
    monkeypatch.setattr(there, "answer", lambda *_args, **_options: (answer, True))

    with pytest.raises(errors.ResponseError, match=f"^{what}: expected "):
        show(what, client=there)


@pytest.mark.parametrize(("what", "cap", "offers"), [("benchmarks", "_PAGES", 1500), ("volumes", "_VOLUMES", 600)])
def test_what_was_cut_off_says_so(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, what: str, cap: str, offers: int
) -> None:
    with Sandbox(offers=offers, seed=7, start="2026-06-01T09:00:00+00:00") as larger:
        there = make_client(larger)
        assert "Incomplete" not in frame_text(show(what, client=there))
        monkeypatch.setattr(catalogue, cap, 1)

        assert "Incomplete: only the " in frame_text(show(what, client=there, refresh=True))
        assert "Incomplete" not in frame_text(show(what, client=there, limit=1))


def test_account_data_reaches_no_file(make_client: MakeClient, market: Sandbox, tmp_path: Any) -> None:
    client = make_client(market)
    for what in ("ssh-keys", "user", "templates"):
        show(what, client=client)
    client.close()

    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"vastai/pytorch" in content for content in files)
    assert not any(b"me@laptop" in content or b"sandbox@example.com" in content for content in files)


def test_filters_are_those_of_the_wire() -> None:
    assert parse_filters("use_ssh=true recommended_disk_space<=1TB name=vLLM", KINDS["templates"]) == {
        "use_ssh": {"eq": True}, "recommended_disk_space": {"lte": 1000}, "name": {"eq": "vLLM"},
    }  # fmt: skip
