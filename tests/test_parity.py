"""vastnb and the official client, asking the same of one service, get the same offers in the same order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vastnb.sandbox import Sandbox
from vastnb.services.offers import search
from vastnb.vast.client import Client

vastai = pytest.importorskip("vastai", reason="the official client is not installed")

CASES = [
    ("gpu_name=RTX_4090 num_gpus>=2", [], {"order": "score-"}),
    ("gpu_ram>=24 dph<0.5 geolocation in [US,CA]", ["-o", "dph"], {"order": "dph"}),
    ("reliability>0.99 verified=any", ["-o", "num_gpus-,dph", "--limit", "40"], {"order": "num_gpus-,dph", "limit": 40}),
    ("num_gpus=1", ["-b", "-o", "dph", "--storage", "100", "--limit", "25"], {"rental": "bid", "order": "dph", "disk_gb": 100, "limit": 25}),
    ("", ["-n", "--limit", "10"], {"defaults": False, "order": "score-", "limit": 10}),
    ("num_gpus>=4", ["-r", "--limit", "7"], {"rental": "reserved", "order": "score-", "limit": 7}),
]  # fmt: skip


def official_cli(sandbox: Sandbox, home: Path, *words: str) -> list[int]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VAST")} | {
        "HOME": str(home), "VASTAI_NO_UPDATE_CHECK": "1", "VAST_URL": sandbox.url, "VAST_API_KEY": sandbox.api_key,
    }  # fmt: skip
    program = "from vastai.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "search", "offers", *words, "--raw"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [offer["id"] for offer in json.loads(done.stdout)]


def official_sdk(sandbox: Sandbox, query: str, **options: object) -> list[int]:
    client = vastai.VastAI(api_key=sandbox.api_key, server_url=sandbox.url)
    return [offer["id"] for offer in client.search_offers(query=query, **options)]


@pytest.mark.parametrize("new", [[], ["--new"]], ids=["bundles", "new"])
@pytest.mark.parametrize(("query", "flags", "ours"), CASES[:4])
def test_the_official_cli_and_ours_agree(
    sandbox: Sandbox,
    client: Client,
    private_home: Path,
    query: str,
    flags: list[str],
    ours: dict[str, object],
    new: list[str],
) -> None:
    theirs = official_cli(sandbox, private_home, query, *flags, *new)

    mine = search(query, client=client, **{"disk_gb": 5, **ours})  # type: ignore[arg-type]

    assert theirs
    assert mine.offer_id.tolist()[: len(theirs)] == theirs
    assert len(theirs) == min(64, len(mine))


@pytest.mark.parametrize(("query", "flags", "ours"), CASES)
def test_the_official_sdk_and_ours_agree(
    sandbox: Sandbox, client: Client, query: str, flags: list[str], ours: dict[str, object]
) -> None:
    options = {"type": ours.get("rental", "on-demand"), "order": ours["order"], "limit": ours.get("limit"),
               "storage": float(str(ours.get("disk_gb", 5))), "no_default": ours.get("defaults") is False}  # fmt: skip

    theirs = official_sdk(sandbox, query, **options)

    mine = search(query, client=client, **{"disk_gb": 5, **ours})  # type: ignore[arg-type]
    assert mine.offer_id.tolist()[: len(theirs)] == theirs != []
