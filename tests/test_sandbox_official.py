"""The official client against the sandbox, unchanged: the CLI as a process, the SDK, and the endpoints they call."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from vastnb.sandbox import Sandbox
from vastnb.sandbox.endpoints import ENDPOINTS

vastai = pytest.importorskip("vastai", reason="the official client is not installed")

SECRET = "official-test-key"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(offers=1500, seed=21, start="2026-06-15T08:00:00Z", api_key=SECRET) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for kind in ("config", "cache", "state"):
        # The CLI makes its folders without regard for another one that starts at the same moment.
        (home / kind / "vastai").mkdir(parents=True)
    return home


def cli(sandbox: Sandbox, home: Path, *words: str, key: str = SECRET) -> subprocess.CompletedProcess[str]:
    """Run the official CLI with a home of its own."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("VAST")}
    environment |= {"HOME": str(home), "USERPROFILE": str(home), "VASTAI_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    environment |= {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "STATE", "DATA")}
    environment |= {"VAST_URL": sandbox.url, "VAST_API_KEY": key, "PYTHONIOENCODING": "utf-8", "COLUMNS": "400"}
    # What the installed script does; `python -m vastai.cli.main` would import the parser twice and know no command.
    command = [sys.executable, "-c", "from vastai.cli.main import main; main()", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )


DEFAULTS = {"verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}}
BEST = {"order": [["score", "desc"]], "type": "on-demand", "allocated_storage": 5.0}

SEARCHES: list[tuple[list[str], dict[str, Any]]] = [
    ([], DEFAULTS | BEST),
    (["gpu_name=RTX_4090 num_gpus>=2 reliability>0.98"],
     DEFAULTS | BEST | {"gpu_name": {"eq": "RTX 4090"}, "num_gpus": {"gte": 2}, "reliability": {"gt": 0.98}}),
    (["gpu_ram>=24 dph<0.5 geolocation in [US,CA] driver_version>=535.86.05", "-o", "dph", "--limit", "7"],
     DEFAULTS | BEST | {"gpu_ram": {"gte": 24000.0}, "dph_total": {"lt": 0.5}, "geolocation": {"in": ["US", "CA"]},
                        "driver_version": {"gte": "535.86.05"}, "order": [["dph_total", "asc"]], "limit": 7}),
    (["-b", "--storage", "100", "-o", "dph_total-", "cuda_vers>=12.8 datacenter=true static_ip=true"],
     DEFAULTS | {"type": "bid", "allocated_storage": 100.0, "order": [["dph_total", "desc"]],
                 "cuda_max_good": {"gte": 12.8}, "datacenter": {"eq": True}, "static_ip": {"eq": True}}),
    (["-r", "verified=any duration>=20 inet_down>500 ubuntu_version=22.04"],
     {"external": {"eq": False}, "rentable": {"eq": True}, "type": "reserved", "order": [["score", "desc"]],
      "allocated_storage": 5.0, "duration": {"gte": 20 * 86400.0}, "inet_down": {"gt": 500},
      "os_version": {"eq": 22.04}}),
    (["-n", 'gpu_name in ["RTX 5090",H200] verified=false rentable=false'],
     BEST | {"gpu_name": {"in": ["RTX 5090", "H200"]}, "verified": {"eq": False}, "rentable": {"eq": False}}),
    (["--new", "num_gpus=4 gpu_arch=nvidia geolocation notin [CN,VN]"],
     DEFAULTS | BEST | {"num_gpus": {"eq": 4}, "gpu_arch": {"eq": "nvidia"}, "geolocation": {"notin": ["CN", "VN"]}}),
    (["--new", "-n", "id=900000001"], BEST | {"id": {"eq": 1}}),
]  # fmt: skip


def test_the_cli_finds_the_sandboxs_truth_in_its_order(sandbox: Sandbox, home: Path) -> None:
    with ThreadPoolExecutor(2) as pool:  # a start of the CLI takes a second, most of it imports
        runs = list(
            pool.map(lambda words: cli(sandbox, home, "search", "offers", "--raw", *words), [w for w, _ in SEARCHES])
        )

    for run, (words, body) in zip(runs, SEARCHES, strict=True):
        assert run.returncode == 0, (words, run.stderr)
        truth = sandbox.offers(body)[: body.get("limit", 64)]
        assert json.loads(run.stdout) == truth, words
        assert truth or "id" in body
    assert {record.status for record in sandbox.log} == {200}
    assert {record.path for record in sandbox.log} >= {"/api/v0/bundles/", "/api/v0/search/asks/"}


def test_the_cli_prints_its_table_and_knows_the_user(sandbox: Sandbox, home: Path) -> None:
    listed = cli(sandbox, home, "search", "offers", "num_gpus=1", "-o", "dph", "--limit", "3")
    user = cli(sandbox, home, "show", "user", "--raw")
    wrong = cli(sandbox, home, "search", "offers", key="wrong")

    truth = sandbox.offers(DEFAULTS | {"num_gpus": {"eq": 1}, "order": [["dph_total", "asc"]]})[:3]
    lines = re.sub(r"\x1b\[[0-9;]*m", "", listed.stdout).splitlines()
    lines = [line for line in lines if line.strip()]
    assert [line.split()[1] for line in lines[1:4]] == [str(offer["id"]) for offer in truth], listed.stderr
    assert truth[0]["gpu_name"].replace(" ", "_") in lines[1]
    assert json.loads(user.stdout)["credit"] == 100.0
    assert "404" in wrong.stderr and "Invalid user key" in wrong.stderr


def test_the_cli_lists_no_instances(sandbox: Sandbox, home: Path) -> None:
    listed = cli(sandbox, home, "show", "instances", "--raw")
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout) in ([], {"instances": []}) or json.loads(listed.stdout)["instances"] == []


@pytest.fixture
def official(sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
    return vastai.VastAI(api_key=SECRET, server_url=sandbox.url)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (None, DEFAULTS | {"rented": {"eq": False}}),
        ("gpu_name=RTX_5090 num_gpus<=4", DEFAULTS | {"gpu_name": {"eq": "RTX 5090"}, "num_gpus": {"lte": 4}}),
        ("gpu_total_ram>=80 verified=any", {"rentable": {"eq": True}, "gpu_total_ram": {"gte": 80000}}),
        ({"gpu_name": {"in": ["L40S"]}}, DEFAULTS | {"gpu_name": {"in": ["L40S"]}, "rented": {"eq": False}}),
    ],
)
@pytest.mark.parametrize("method", ["search_offers", "search_offers_new"])
def test_the_sdk_finds_the_sandboxs_truth_in_its_order(
    sandbox: Sandbox, official: Any, method: str, query: Any, body: dict[str, Any]
) -> None:
    found = getattr(official, method)(query=query)
    truth = sandbox.offers(body | BEST)[:64]
    # The SDK adds a key of its own.
    assert found == [offer | {"datacenter": offer["hosting_type"] == 1} for offer in truth] and truth


def test_the_sdk_orders_limits_and_sees_errors(sandbox: Sandbox, official: Any) -> None:
    found = official.search_offers(query="num_gpus=8", order="dph_total", limit=4, type="bid", storage=40)
    body = DEFAULTS | {"num_gpus": {"eq": 8}, "type": "bid", "allocated_storage": 40, "order": [["dph_total", "asc"]]}
    assert [offer["id"] for offer in found] == [offer["id"] for offer in sandbox.offers(body)[:4]]
    assert official.show_user()["email"] == "sandbox@example.com"
    import requests

    sandbox.faults.add("auth-403")
    with pytest.raises(requests.HTTPError, match="403"):
        official.search_offers(query="num_gpus=8")


# The table of endpoints is complete.

_CALL = re.compile(r"\bclient\.(get|post|put|delete)\(\s*f?[\"'](/[^\"'?]*)")
_PATH = re.compile(r"(/api/v\d/[^\"'?`\s)]+/)")


@cache
def called() -> set[tuple[str, str]]:
    """The method and path of every call in the sources of the installed client (``client.get("/...")``)."""
    found = set()
    for source in Path(vastai.__file__).parent.rglob("*.py"):
        for method, path in _CALL.findall(source.read_text(encoding="utf-8")):
            found.add((method.upper(), _plain(path if path.startswith("/api/") else f"/api/v0{path}")))
    return found


def _plain(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{id}", path).rstrip("/") + "/"


def test_every_endpoint_that_the_official_client_calls_is_in_the_table() -> None:
    known = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert len(called()) > 100
    assert called() - known == set()


def test_every_other_api_path_in_the_clients_sources_is_in_the_table_too() -> None:
    paths = set()
    for source in Path(vastai.__file__).parent.rglob("*.py"):
        paths |= {_plain(path) for path in _PATH.findall(source.read_text(encoding="utf-8"))}
    assert "/api/v0/gpu_names/unique/" in paths
    assert paths - {endpoint.path for endpoint in ENDPOINTS} == set()
