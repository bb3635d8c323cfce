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

from vastnb.sandbox import Sandbox, benchmarks, metrics, reads, templates
from vastnb.sandbox.endpoints import ENDPOINTS

vastai = pytest.importorskip("vastai", reason="the official client is not installed")

SECRET = "official-test-key"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@laptop"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(offers=1500, seed=21, start="2026-06-15T08:00:00Z", api_key=SECRET, ssh_keys=[SSH_KEY]) as sandbox:
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


# The other reads.

VOLUMES = {"verified": {"eq": True}, "external": {"eq": False}, "disk_space": {"gte": 1}}


def volumes(sandbox: Sandbox, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the truth of a volume search, whatever its limit."""
    return reads.volume_rows(*reads.volumes(sandbox.market, body, sandbox.clock.now(), "recorded"))


def figures(sandbox: Sandbox) -> metrics.Metrics:
    return metrics.Metrics(sandbox.market)


def test_the_cli_drives_the_other_reads(sandbox: Sandbox, home: Path) -> None:
    now = sandbox.clock.now()
    every = benchmarks.rows(sandbox.market, now)
    trends = figures(sandbox).history(metrics.Choice("all"), ("RTX 4090",), range(int(now) - 7200, int(now) + 1, 3600))
    supply, pricing = trends["RTX 4090"]["supply_demand"], trends["RTX 4090"]["pricing"]
    cases: list[tuple[list[str], Any]] = [
        (["search", "templates", "use_ssh=True recommended=true count_created>10000"],
         [r for r in templates.rows(now) if r["use_ssh"] and r["recommended"] and r["count_created"] > 10_000]),
        (["search", "benchmarks", "--raw"], every),
        (["search", "benchmarks", "--raw", "--limit", "4", "gpu_name=RTX_4090 value>100.0"],
         {"benchmarks_found": 4, "success": True,
          "benchmarks": [r for r in every if r["gpu_name"] == "RTX 4090" and r["value"] > 100][:4]}),
        (["search", "volumes", "--raw", "disk_space>500 inet_up>300 duration>=5", "-o", "storage_cost", "--limit", "9"],
         volumes(sandbox, VOLUMES | {"disk_space": {"gte": 1, "gt": 500}, "inet_up": {"gt": 300},
                                     "duration": {"gte": 5 * 86400}, "order": [["storage_cost", "asc"]]})[:9]),
        (["metrics", "gpu", "--raw", "--verified", "true", "--datacenter", "true"],
         {"success": True, "gpus": figures(sandbox).current(now, metrics.Choice("yes", "secure_cloud"))}),
        (["show", "gpu-trends", "RTX_4090", "--raw", "--start", str(int(now) - 7200), "--step", "3600"],
         {"RTX 4090": {"stats": trends["RTX 4090"]["stats"], "rows": [
             {"date": f"2026-06-15 {6 + n:02}:00:00", "timestamp": supply["timestamps"][n]}
             | {name: values[n] for name, values in (supply | pricing).items() if name != "timestamps"}
             for n in range(3)]}}),
        (["show", "gpu-locations", "--raw", "--state", "available", "--gpu", "H100_SXM"],
         {"success": True, "locations": [r for r in figures(sandbox).locations(now)
                                         if r["gpu_name"] == "H100 SXM" and not r["rented"]]}),
        (["show", "ssh-keys", "--raw"], sandbox.books.ssh_keys(sandbox.books.owner(SECRET).id)),
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda words: cli(sandbox, home, *words), [words for words, _ in cases]))

    for run, (words, truth) in zip(runs, cases, strict=True):
        assert run.returncode == 0, (words, run.stderr)
        answer = json.loads(run.stdout)
        if "--limit" in words and "benchmarks" in words:
            assert answer.pop("next_token")
        assert answer == json.loads(json.dumps(truth)) and truth, words
    assert len(every) > benchmarks.PAGE_CAP


def test_the_cli_prints_its_tables_of_the_other_reads(sandbox: Sandbox, home: Path) -> None:
    words = [
        ["show", "gpu-metrics"],
        ["show", "gpu-trends"],
        ["search", "volumes"],
        ["search", "benchmarks", "value<50"],
    ]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda words: cli(sandbox, home, *words), words))

    for run, words_, mark in zip(
        runs, words, ("RTX_4090", "=== RTX 5090 ===", "verified", "vastai/comfy"), strict=True
    ):
        assert run.returncode == 0 and mark in run.stdout and "Traceback" not in run.stderr, (words_, run.stderr)


def test_the_sdk_drives_the_other_reads(sandbox: Sandbox, official: Any) -> None:
    every = benchmarks.rows(sandbox.market, sandbox.clock.now())
    newest = [{"col": "last_update", "dir": "desc"}]

    found = official.search_templates(query="name=ComfyUI")
    assert [row["image"] for row in found] == ["vastai/comfy"]
    assert official.search_benchmarks(all_pages=True) == every
    page = official.search_benchmarks(query={"num_gpus": {"gte": 4}}, order=newest, limit=3)
    assert page == sorted((r for r in every if r["num_gpus"] >= 4), key=lambda r: r["last_update"], reverse=True)[:3]
    assert (
        official.search_volumes(query="gpu_arch=nvidia", order="disk_space-", limit=5, storage=20)
        == volumes(
            sandbox,
            VOLUMES | {"gpu_arch": {"eq": "nvidia"}, "order": [["disk_space", "desc"]], "allocated_storage": 20},
        )[:5]
    )
    assert [row["key"] for row in official.show_ssh_keys()] == [SSH_KEY]


def test_the_sdk_sees_the_refusals_of_the_other_reads() -> None:
    import requests

    with Sandbox(offers=10, api_key=SECRET, metrics="needs-machine") as host:
        client = vastai.VastAI(api_key=SECRET, server_url=host.url)
        assert gpu_current(client) == {"success": True, "gpus": [], "needs_machine": True}
        with pytest.raises(requests.HTTPError, match="404"):
            client.show_ssh_keys()
    with Sandbox(offers=10, api_key=SECRET, metrics="refused") as renter:
        client = vastai.VastAI(api_key=SECRET, server_url=renter.url)
        with pytest.raises(requests.HTTPError, match="403"):
            gpu_current(client)


def gpu_current(official: Any) -> Any:
    from vastai.api.metrics import gpu_current

    return gpu_current(official.client)


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
