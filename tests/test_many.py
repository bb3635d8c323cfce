"""Several searches from one answer: the same frames as one by one, with fewer requests."""

from __future__ import annotations

import pytest

from vastnb.errors import QueryError
from vastnb.sandbox import Sandbox
from vastnb.services.many import searches
from vastnb.services.offers import search
from vastnb.vast.client import Client

FEW = ["gpu_name=H100_SXM num_gpus=8", "gpu_name=H200 num_gpus=8 reliability>0.9", "gpu_name=B200 num_gpus=8 dph<100"]


def same_as_one_by_one(client: Client, queries: list[str], **options: object) -> None:
    together = searches(queries, client=client, **options)  # type: ignore[arg-type]
    for query, frame in zip(queries, together, strict=True):
        alone = search(query, client=client, **options)  # type: ignore[arg-type]
        assert frame.offer_id.tolist() == alone.offer_id.tolist(), query
        assert list(frame.columns)[:38] == list(alone.columns)[:38]
        assert (frame.dtypes[:38] == alone.dtypes[:38]).all()
        assert frame.attrs["vastnb"]["query"] == query
        assert frame.attrs["vastnb"]["complete"] == alone.attrs["vastnb"]["complete"]


def test_what_has_much_in_common_is_asked_once(client: Client, sandbox: Sandbox) -> None:
    frames = searches(FEW, client=client)

    assert sandbox.requests("/bundles") == 1
    body = sandbox.log[-1].body
    assert body["gpu_name"] == {"in": ["H100 SXM", "H200", "B200"]}
    assert body["num_gpus"] == {"eq": 8}
    assert "reliability" not in body
    assert [f.attrs["vastnb"]["complete"] for f in frames] == [True] * 3
    same_as_one_by_one(client, FEW)


@pytest.mark.parametrize(
    "queries",
    [
        ["num_gpus>=8 dph<20", "num_gpus=4 dph<5", "num_gpus>=4 gpu_ram=80"],
        ["gpu_ram=80 num_gpus=1", "gpu_ram=40 num_gpus=2"],
        ["gpu_name=RTX_4090 verified=any", "gpu_name=RTX_4090"],
        ["gpu_name=RTX_4090 region=EU", "gpu_name=RTX_4090 geolocation in [US,CA]"],
        ["gpu_name=RTX_4090", "reliability>0.99 num_gpus=8"],
        ["gpu_name=No_Such_Card", "gpu_name=RTX_5090 num_gpus=4"],
    ],
)
def test_they_are_the_same_frames_as_one_by_one(client: Client, queries: list[str]) -> None:
    same_as_one_by_one(client, queries)
    same_as_one_by_one(client, queries, limit=3, disk_gb=100, rental="bid")


def test_it_never_costs_more_than_one_request_more_each(client: Client, sandbox: Sandbox) -> None:
    searches(["num_gpus=1", "num_gpus=2"], client=client)

    assert sandbox.requests("/bundles") <= 2 + 2 * 5


def test_one_or_none_are_plain_searches(client: Client, sandbox: Sandbox) -> None:
    assert searches([], client=client) == []
    assert len(searches(["num_gpus=8"], client=client)[0]) > 0
    assert sandbox.requests("/bundles") == 1


def test_one_wrong_query_and_nothing_is_sent(client: Client, sandbox: Sandbox) -> None:
    with pytest.raises(QueryError):
        searches(["num_gpus=8", "num_gpu=8"], client=client)
    assert sandbox.requests() == 0
