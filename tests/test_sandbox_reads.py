"""The sandbox's other reads: templates, benchmarks, market metrics, volume offers and SSH keys."""

import http.client
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vastnb.sandbox import Sandbox, benchmarks, metrics, reads, tables, templates
from vastnb.sandbox.books import Account, Books
from vastnb.sandbox.catalog import PLACES
from vastnb.sandbox.filters import BadRequestError
from vastnb.sandbox.market import Market
from vastnb.sandbox.places import CITIES

START = "2026-06-01T12:00:00Z"
API = "/api/v0/"
TEMPLATES, BENCHMARKS, SSH, VOLUMES = "template/", "benchmarks/", "ssh/", "volumes/search/"
CURRENT, HISTORY, LOCATIONS = "metrics/gpu/current/", "metrics/gpu/history/", "metrics/gpu/locations/"
GETS = (TEMPLATES, BENCHMARKS, CURRENT, HISTORY, LOCATIONS, SSH)
KEYS = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@laptop", "ecdsa-sha2-nistp256 AAAAE2VjZHNh me@desk")
ANY = {"verified": "all"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(offers=1500, seed=5, start=START, ssh_keys=KEYS) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Iterator[Sandbox]:
    """The module's sandbox, with no fault and no log of an earlier test."""
    shared.faults.clear()
    shared.log.clear()
    yield shared
    shared.faults.clear()


def ask(
    sandbox: Sandbox, path: str, query: dict[str, Any] | None = None, *, body: Any = None, key: str | None = ""
) -> tuple[int, Any]:
    """Ask as the account (or with another key or none) and return status and content; a body makes it a POST."""
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in (query or {}).items()}
    key = sandbox.api_key if key == "" else key
    connection = http.client.HTTPConnection("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1]), timeout=20)
    try:
        connection.request(
            "GET" if body is None else "POST",
            f"{API}{path}?{urlencode(query)}" if query else API + path,
            None if body is None else json.dumps(body).encode(),
            {} if key is None else {"Authorization": f"Bearer {key}"},
        )
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if response.headers["Content-Type"] == "application/json" else text
    finally:
        connection.close()


def good(sandbox: Sandbox, path: str, query: dict[str, Any] | None = None, **options: Any) -> Any:
    status, content = ask(sandbox, path, query, **options)
    assert status == 200, content
    return content


# What holds for all.


@pytest.mark.parametrize("path", [*GETS, VOLUMES])
def test_every_read_needs_a_right_key_and_takes_a_path_without_slash(sandbox: Sandbox, path: str) -> None:
    body = {} if path == VOLUMES else None
    msg = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
    assert ask(sandbox, path, body=body, key=None) == (401, msg)
    assert ask(sandbox, path, body=body, key="wrong") == (404, msg)
    assert good(sandbox, path, body=body) == good(sandbox, path.rstrip("/"), body=body)


def test_strict_limits_hold_for_the_reads_that_have_one() -> None:
    with Sandbox(offers=10, strict=True, ssh_keys=KEYS) as sandbox:
        seen = {path: [ask(sandbox, path)[0] for _ in range(2)] for path in GETS}
        volumes = [ask(sandbox, VOLUMES, body={})[0] for _ in range(2)]
        refused = ask(sandbox, TEMPLATES)
    limited = {path: [200, 429] for path in (TEMPLATES, BENCHMARKS, CURRENT, HISTORY, LOCATIONS)}
    assert seen == limited | {SSH: [200, 200]} and volumes == [200, 200]
    assert refused == (429, b"API requests too frequent: endpoint threshold=3.0")


def test_the_log_shows_what_was_asked_and_no_key(sandbox: Sandbox) -> None:
    good(sandbox, TEMPLATES, {"select_filters": {"use_ssh": {"eq": True}}, "api_key": "secret"})
    good(sandbox, SSH)
    assert [record.body for record in sandbox.log] == [{"select_filters": '{"use_ssh": {"eq": true}}'}, None]


def test_faults_of_the_answer_meet_these_reads_too(sandbox: Sandbox) -> None:
    sandbox.faults.add("429-text", path="metrics")
    assert ask(sandbox, TEMPLATES)[0] == 200
    assert [ask(sandbox, CURRENT)[0] for _ in range(2)] == [429, 200]


# Templates.


def test_the_templates_have_the_documented_envelope_and_fields(sandbox: Sandbox) -> None:
    answer = good(sandbox, TEMPLATES, {"select_cols": ["*"], "select_filters": {}})

    rows = answer["templates"]
    assert set(answer) == {"success", "templates_found", "templates"} and answer["success"] is True
    assert answer["templates_found"] == len(rows) == len(templates.TEMPLATES) >= 12
    assert rows == templates.rows(sandbox.clock.now()) and set(templates.KINDS) <= set(rows[0])
    assert len({row["hash_id"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    assert all(len(row["hash_id"]) == 32 and row["tag"] and ":" not in row["image"] for row in rows)
    assert not any(row["private"] for row in rows)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"name": {"eq": "PyTorch_(Vast)"}}, lambda row: row["name"] == "PyTorch (Vast)"),
        ({"use_ssh": {"eq": "false"}}, lambda row: not row["use_ssh"]),
        ({"count_created": {"gt": "50000"}, "recommended": {"eq": True}},
         lambda row: row["count_created"] > 50000 and row["recommended"]),
        ({"recommended_disk_space": {"gte": 32, "lt": 64}}, lambda row: 32 <= row["recommended_disk_space"] < 64),
        ({"image": {"in": ["nvidia/cuda", "vastai/comfy"]}}, lambda row: row["image"] in ("nvidia/cuda", "vastai/comfy")),
        ({"creator_id": {"notin": ["1"]}}, lambda row: True),
        ({"docker_login_repo": {"eq": "x"}}, lambda row: False),
        ({"docker_login_repo": {"neq": "x"}}, lambda row: False),
        ({"private": {"eq": None}}, lambda row: True),
        ({"private": {"eq": True}}, lambda row: False),
    ],
)  # fmt: skip
def test_templates_are_filtered(sandbox: Sandbox, filters: dict[str, Any], wanted: Any) -> None:
    found = good(sandbox, TEMPLATES, {"select_filters": filters})["templates"]
    assert found == [row for row in templates.rows(sandbox.clock.now()) if wanted(row)]


def test_templates_are_ordered_and_cut_to_columns(sandbox: Sandbox) -> None:
    ids = good(sandbox, TEMPLATES, {"order_by": "name", "select_cols": ["id", "name", "nonsense"]})["templates"]
    back = good(sandbox, TEMPLATES, {"order_by": [{"col": "use_ssh", "dir": "desc"}, {"col": "count_created"}]})

    rows = templates.rows(sandbox.clock.now())
    assert ids == [{"id": row["id"], "name": row["name"], "nonsense": None}
                   for row in sorted(rows, key=lambda row: row["name"])]  # fmt: skip
    assert back["templates"] == sorted(rows, key=lambda row: (not row["use_ssh"], row["count_created"]))


def test_the_use_of_a_template_grows_with_the_clock() -> None:
    before, after = (templates.rows(moment) for moment in (1_780_000_000.0, 1_780_000_000.0 + 86400))
    grown = [later["count_created"] - row["count_created"] for row, later in zip(before, after, strict=True)]
    assert all(abs(more - template.per_day) <= 1 for more, template in zip(grown, templates.TEMPLATES, strict=True))
    assert all(row["created_at"] <= row["recent_create_date"] <= 1_780_000_000 for row in before)
    assert templates.rows(0.0)[0]["count_created"] == 0


@pytest.mark.parametrize(
    ("query", "msg"),
    [
        ({"select_filters": "{"}, "Error in query parameters: select_filters is not JSON"),
        ({"select_filters": "[1]"}, "Error in query parameters: select_filters must be an object"),
        ({"select_filters": {"readme": {"eq": "x"}}}, "Error in query parameters: readme is not a valid search key"),
        ({"select_filters": {"id": 5}}, "id: expected an object of operator and value, got 5"),
        ({"select_filters": {"id": {"like": 5}}}, "id: 'like' is not a valid operator"),
        ({"select_filters": {"id": {"gt": "x"}}}, "id: 'x' is not a valid value"),
        ({"select_filters": {"private": "yes"}}, "private: expected an object of operator and value, got 'yes'"),
        ({"select_cols": "5"}, "Error in query parameters: select_cols must be a list"),
        ({"order_by": "nonsense"}, "Error in query parameters: nonsense is not a valid search key"),
        ({"order_by": [{"col": "id", "dir": "up"}]},
         'Error in query parameters: order_by: expected {"col": ..., "dir": "asc" or "desc"}'),
        ({"order_by": "[1"}, "Error in query parameters: order_by is not JSON"),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_used_is_a_400(sandbox: Sandbox, query: dict[str, Any], msg: str) -> None:
    assert ask(sandbox, TEMPLATES, query) == (400, {"error": "invalid_request", "msg": msg})


# Benchmarks.


def pages(sandbox: Sandbox, query: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Follow the tokens to the last page."""
    found, token = [], None
    while not found or token:
        answer = good(sandbox, BENCHMARKS, query | ({"after_token": token} if token else {}))
        assert set(answer) == {"success", "benchmarks", "benchmarks_found", "next_token"}
        assert answer["benchmarks_found"] == len(answer["benchmarks"])
        found.append(answer["benchmarks"])
        token = answer["next_token"]
    return found


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ({}, 200),
        ({"limit": 1000}, 200),
        ({"limit": 64, "order_by": [{"col": "type", "dir": "desc"}]}, 64),
        ({"limit": "37", "order_by": [{"col": "gpu_name", "dir": "asc"}, {"col": "value", "dir": "desc"}]}, 37),
        ({"limit": 7, "select_filters": {"type": {"eq": "image"}}}, 7),
    ],
)
def test_paging_returns_each_benchmark_once_and_in_order(sandbox: Sandbox, query: dict[str, Any], size: int) -> None:
    found = pages(sandbox, query)

    rows = [row for page in found for row in page]
    every = benchmarks.rows(sandbox.market, sandbox.clock.now())
    wanted = [row for row in every if "select_filters" not in query or row["type"] == "image"]
    assert sorted(rows, key=lambda row: row["id"]) == wanted and len(wanted) > size
    assert {len(page) for page in found[:-1]} == {size} and 0 < len(found[-1]) <= size
    for entry in reversed(query.get("order_by", [])):
        wanted = sorted(wanted, key=lambda row, name=entry["col"]: row[name], reverse=entry["dir"] == "desc")
    assert rows == wanted


def test_benchmarks_agree_with_the_machines_and_templates_of_the_market(sandbox: Sandbox) -> None:
    rows = benchmarks.rows(sandbox.market, sandbox.clock.now())
    offers = sandbox.offers()
    whole = {offer["machine_id"]: offer for offer in offers if offer["gpu_frac"] == 1}
    images = {row["id"]: row for row in templates.rows(0.0)}

    assert len(rows) > 200 and all(set(row) == set(benchmarks.KINDS) for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    scale = {measure.launch_args: measure.per_dlperf for measure in benchmarks.MEASURES}
    for row in (row for row in rows if row["machine_id"] in whole):
        offer, template = whole[row["machine_id"]], images[row["template_id"]]
        assert (row["gpu_name"], row["num_gpus"]) == (offer["gpu_name"], offer["num_gpus"])
        assert 0.8 < row["value"] / offer["dlperf"] / scale[row["launch_args"]] < 1.25
        assert (row["template_hash"], row["image"]) == (template["hash_id"], f"{template['image']}:{template['tag']}")
        assert row["last_update"] <= sandbox.clock.now() < row["last_update"] + 46 * 86400


def test_the_price_of_a_benchmark_is_that_of_its_machine_then() -> None:
    market, now = Market(offers=200, seed=9), 1_780_000_000.0
    known = 0
    for row in benchmarks.rows(market, now):
        table = market.table(row["last_update"])
        whole = (table["machine_id"] == row["machine_id"]) & (table["num_gpus"] == row["num_gpus"])
        assert set(table["dph_base"][whole]) <= {row["dph_base"]}
        known += whole.any()
    assert known > 5


def test_benchmarks_are_a_function_of_seed_and_time_and_keep_their_ids() -> None:
    market, now = Market(offers=200, seed=9), 1_780_000_000.0
    first, later = benchmarks.rows(market, now), benchmarks.rows(market, now + 20 * 86400)
    assert first == benchmarks.rows(Market(offers=200, seed=9), now) != later
    same = ("id", "machine_id", "gpu_name", "num_gpus", "template_id", "type")
    assert [[row[name] for name in same] for row in first] == [[row[name] for name in same] for row in later]


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({"limit": "ten"}, {"msg": "limit: Input should be a valid integer"}),
        ({"limit": 0}, {"error": "invalid_request", "msg": "limit: 0 is not at least 1"}),
        ({"after_token": "zz"}, {"error": "invalid_token", "msg": "Invalid pagination token"}),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_cut_is_a_400(sandbox: Sandbox, query: dict[str, Any], body: Any) -> None:
    assert ask(sandbox, BENCHMARKS, query) == (400, body)


def test_a_token_of_another_query_is_refused(sandbox: Sandbox) -> None:
    token = good(sandbox, BENCHMARKS, {"limit": 5})["next_token"]
    other = ask(sandbox, BENCHMARKS, {"limit": 5, "after_token": token, "order_by": "value"})
    assert other == (400, {"error": "invalid_token", "msg": "Invalid pagination token"})


OPS = {
    "eq": lambda a, b: a == b, "neq": lambda a, b: a != b, "gt": lambda a, b: a > b, "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b, "in": lambda a, b: a in b, "notin": lambda a, b: a not in b,
}  # fmt: skip
ROWS = [
    {"id": number, "n": None if number % 5 == 0 else number % 4, "t": None if number % 7 == 0 else "abc"[number % 3]}
    for number in range(40)
]
CONDITION = st.one_of(
    st.tuples(st.just("n"), st.sampled_from(sorted(set(OPS) - {"in", "notin"})), st.integers(-1, 4)),
    st.tuples(st.just("n"), st.sampled_from(["in", "notin"]), st.lists(st.integers(0, 4), max_size=3)),
    st.tuples(st.just("t"), st.sampled_from(["eq", "neq", "gt", "lte"]), st.sampled_from("abcd")),
    st.tuples(st.just("t"), st.sampled_from(["in", "notin"]), st.lists(st.sampled_from("abcd"), max_size=3)),
)


@settings(deadline=None)
@given(st.lists(CONDITION, max_size=3, unique_by=lambda one: one[0]), st.sampled_from(["n", "t"]), st.booleans(),
       st.integers(1, 50))  # fmt: skip
def test_tables_agree_with_a_brute_force(conditions: Any, order: str, descending: bool, limit: int) -> None:
    direction = "desc" if descending else "asc"
    query = {
        "select_filters": json.dumps({key: {op: value} for key, op, value in conditions}),
        "order_by": json.dumps([{"col": order, "dir": direction}]),
        "limit": str(limit),
    }
    kinds = {"id": "number", "n": "number", "t": "text"}
    found = tables.select(ROWS, kinds, query)

    wanted = [
        row for row in ROWS if all(row[key] is not None and OPS[op](row[key], value) for key, op, value in conditions)
    ]
    known = sorted((r for r in wanted if r[order] is not None), key=lambda r: r[order], reverse=descending)
    assert found == known + [row for row in wanted if row[order] is None]
    paged, token = tables.page(found, kinds, query, 200)
    while token:
        # The last row that was seen may be gone by then.
        left = found[len(paged) :] if limit % 2 else found
        more, token = tables.page(left, kinds, query | {"after_token": token}, 200)
        paged = paged + more
    assert paged == found


# Metrics.

CHOICES: list[dict[str, str]] = [
    {},
    {"verified": "all"},
    {"verified": "no", "hosting_type": "community"},
    {"verified": "yes", "hosting_type": "secure_cloud", "num_gpus": "8"},
    {"verified": "all", "num_gpus": "other"},
]
SHARES = {"p10": 10, "p25": 25, "median": 50, "p75": 75, "p90": 90}


def machines(offers: list[dict[str, Any]], chosen: dict[str, str]) -> dict[str, dict[int, dict[str, Any]]]:
    """Count the machines of a search by GPU model: whether rentable, verified, and at what price per GPU."""
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for offer in offers:
        size = round(offer["num_gpus"] / offer["gpu_frac"])
        verified = offer["verification"] == "verified"
        fits = [
            {"yes": verified, "no": not verified, "all": True}[chosen.get("verified", "yes")],
            {"secure_cloud": offer["hosting_type"] == 1, "community": offer["hosting_type"] == 0, "all": True}[
                chosen.get("hosting_type", "all")
            ],
            chosen.get("num_gpus", "all") in ("all", str(size) if size in (1, 2, 4, 8) else "other"),
        ]
        if all(fits):
            one = found[offer["gpu_name"]].setdefault(offer["machine_id"], {"rentable": False, "verified": verified})
            one["rentable"] |= offer["rentable"]
            one["price"] = offer["dph_base"] / offer["num_gpus"]
    return found


def counted(of_model: dict[int, dict[str, Any]]) -> dict[str, int]:
    names = {(False, True): "rented_verified", (False, False): "rented_unverified"}
    names |= {(True, True): "avail_verified", (True, False): "avail_unverified"}
    counts = dict.fromkeys(names.values(), 0)
    for one in of_model.values():
        counts[names[one["rentable"], one["verified"]]] += 1
    return counts


def prices(of_model: dict[int, dict[str, Any]], rentable: bool) -> list[float]:
    return [one["price"] for one in of_model.values() if one["rentable"] is rentable]


@pytest.mark.parametrize("chosen", CHOICES)
def test_current_metrics_are_those_of_a_count_over_the_offers(sandbox: Sandbox, chosen: dict[str, str]) -> None:
    answer = good(sandbox, CURRENT, chosen)

    truth = machines(sandbox.offers(), chosen)
    assert set(answer) == {"success", "gpus"} and answer["success"] is True
    assert [row["gpu_name"] for row in answer["gpus"]] == sorted(truth)
    for row in answer["gpus"]:
        of_model = truth[row["gpu_name"]]
        counts = counted(of_model)
        assert {name: row[name] for name in counts} == counts
        assert (row["total"], row["available"]) == (len(of_model), sum(one["rentable"] for one in of_model.values()))
        assert row["usage"] == pytest.approx(100 * (1 - row["available"] / row["total"]), abs=0.01)
        assert 0 <= row["usage_30d"] <= 100 and row["unavailable"] == 0
        free = prices(of_model, True)
        for name, share in SHARES.items():
            price = row[f"price_{name}"]
            assert price == pytest.approx(np.percentile(free, share), abs=1e-6) if free else price is None
        for name in ("tflops", "dlperf"):
            per_dollar = row[f"{name}_per_dollar"]
            assert (
                per_dollar == pytest.approx(row[name] / row["price_median"], abs=0.01) if free else per_dollar is None
            )


def test_the_usage_of_30_days_is_an_average_of_usages() -> None:
    market, now = Market(offers=400, seed=2), 1_780_000_000.0
    rows = {row["gpu_name"]: row for row in metrics.Metrics(market).current(now, metrics.Choice("all"))}
    seen: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for number in range(20):
        moment = now // 3600 * 3600 - number * 36 * 3600
        for row in metrics.Metrics(market).current(moment, metrics.Choice("all")):
            seen[row["gpu_name"]][0] += row["rented_verified"] + row["rented_unverified"]
            seen[row["gpu_name"]][1] += row["total"]
    rented, listed = seen["RTX 4090"]
    assert rows["RTX 4090"]["usage_30d"] == pytest.approx(100 * rented / listed, abs=0.01)


@pytest.mark.parametrize("chosen", CHOICES)
def test_each_point_of_a_history_is_a_count_over_the_offers_of_then(chosen: dict[str, str]) -> None:
    with Sandbox(offers=1500, seed=5, start=START) as sandbox:
        first = int(sandbox.clock.now())
        times, offers = [first], [sandbox.offers()]
        for _ in range(3):
            times.append(int(sandbox.clock.step(hours=7)))
            offers.append(sandbox.offers())
        wanted = {"gpu_name": "RTX_4090, A100 SXM4,nonsense,RTX 4090", "start": first, "end": times[-1], "step": 25200}
        gpus = good(sandbox, HISTORY, chosen | wanted)["gpus"]

    truth = [machines(then, chosen) for then in offers]
    assert set(gpus) <= {"RTX 4090", "A100 SXM4"} and ("RTX 4090" in gpus or chosen.get("hosting_type"))
    for name, of_gpu in gpus.items():
        assert set(of_gpu) == {"supply_demand", "pricing", "stats"}
        assert of_gpu["supply_demand"]["timestamps"] == of_gpu["pricing"]["timestamps"] == times
        for number, then in enumerate(truth):
            supply = {series: values[number] for series, values in of_gpu["supply_demand"].items()}
            counts = counted(then[name])
            unrentable = {"unavail_verified": 0, "unavail_unverified": 0}
            assert supply == counts | unrentable | {"total": len(then[name]), "timestamps": times[number]}
            for kind, rentable in (("rented", False), ("avail", True)):
                usd = prices(then[name], rentable)
                for share in ("p10", "median", "p90"):
                    price = of_gpu["pricing"][f"{kind}_{share}"][number]
                    assert price == pytest.approx(np.percentile(usd, SHARES[share]), abs=1e-6) if usd else price is None


def test_a_history_ends_in_the_present(sandbox: Sandbox) -> None:
    now = {row["gpu_name"]: row for row in good(sandbox, CURRENT, ANY)["gpus"]}
    gpus = good(sandbox, HISTORY, ANY)["gpus"]

    assert set(gpus) == {"RTX 5090", "RTX 4090", "RTX 3090"}
    for name, of_gpu in gpus.items():
        times = of_gpu["pricing"]["timestamps"]
        assert len(times) == 21 and (times[0], times[-1]) == (times[-1] - 86400, sandbox.clock.now())
        last = {series: values[-1] for series, values in (of_gpu["supply_demand"] | of_gpu["pricing"]).items()}
        assert {series: now[name][series] for series in counted({})} == {series: last[series] for series in counted({})}
        assert (last["avail_p10"], last["avail_median"]) == (now[name]["price_p10"], now[name]["price_median"])
        assert of_gpu["stats"] == {key: now[name][key] for key in of_gpu["stats"]} and len(of_gpu["stats"]) == 4


def test_a_history_of_all_models_has_those_of_the_snapshot(sandbox: Sandbox) -> None:
    gpus = good(sandbox, HISTORY, ANY | {"gpu_name": "all"})["gpus"]
    assert {row["gpu_name"] for row in good(sandbox, CURRENT, ANY)["gpus"]} <= set(gpus)
    assert good(sandbox, HISTORY, {"gpu_name": "nonsense"})["gpus"] == {}


@pytest.mark.parametrize(
    ("query", "offers", "wanted"),
    [
        ({}, 2000, range(913_600, 1_000_001, 4320)),
        ({"step": "3600"}, 2000, range(913_600, 1_000_001, 3600)),
        ({"step": "1"}, 2000, range(913_600, 1_000_001, 174)),
        ({"step": "1", "start": "999000"}, 2000, range(999_000, 1_000_001, 60)),
        ({"start": "0", "end": "86400", "step": "60"}, 40_000, range(0, 86_401, 3600)),
        ({"end": "9999999999"}, 2000, range(913_600, 1_000_001, 4320)),
        ({"end": "100"}, 2000, range(0, 101, 4320)),
        ({"start": "1000000"}, 2000, range(1_000_000, 1_000_001, 4320)),
    ],
)
def test_the_points_of_a_history_stay_in_bounds(query: dict[str, str], offers: int, wanted: range) -> None:
    assert metrics.points(query, 1_000_000.75, offers) == wanted


@pytest.mark.parametrize(
    "query",
    [{"start": "x"}, {"end": "1.5"}, {"step": "1e3"}, {"start": "2000000"}, {"start": "-5"}, {"end": "-5"},
     {"start": "9" * 30}],
)  # fmt: skip
def test_a_span_that_cannot_be_is_a_400(query: dict[str, str]) -> None:
    with pytest.raises(BadRequestError, match=r"start|end|step"):
        metrics.points(query, 1_000_000.0, 2000)


@pytest.mark.parametrize("path", [CURRENT, HISTORY])
@pytest.mark.parametrize("query", [{"verified": "true"}, {"hosting_type": "datacenter"}, {"num_gpus": "3"}])
def test_a_choice_that_is_not_documented_is_a_400(sandbox: Sandbox, path: str, query: dict[str, str]) -> None:
    status, body = ask(sandbox, path, query)
    assert (status, body["error"]) == (400, "invalid_request") and next(iter(query)) in body["msg"]


def test_the_locations_are_the_listed_machines(sandbox: Sandbox) -> None:
    answer = good(sandbox, LOCATIONS)

    rows = answer["locations"]
    where = {offer["machine_id"]: offer for offer in sandbox.offers()}
    assert set(answer) == {"success", "locations"} and len(rows) == len(where)
    totals = {row["gpu_name"]: (row["total"], row["available"]) for row in good(sandbox, CURRENT, ANY)["gpus"]}
    for name, counts in totals.items():
        of_model = [row for row in rows if row["gpu_name"] == name]
        assert (len(of_model), sum(not row["rented"] for row in of_model)) == counts
    assert all(row["state"] == ("rented" if row["rented"] else "available") for row in rows)
    for field, offered in (
        ("country_code", lambda offer: offer["geolocation"][-2:]),
        ("verified", lambda offer: offer["verification"] == "verified"),
        ("datacenter", lambda offer: offer["hosting_type"] == 1),
        ("num_gpus", lambda offer: round(offer["num_gpus"] / offer["gpu_frac"])),
    ):
        assert sorted(row[field] for row in rows) == sorted(offered(offer) for offer in where.values())


def test_every_place_of_the_catalog_is_on_the_map() -> None:
    assert set(CITIES) == {place.name for place in PLACES}
    assert all(-90 <= city.latitude <= 90 and -180 <= city.longitude <= 180 for city in CITIES.values())


def test_a_renter_who_takes_a_machine_changes_the_figures() -> None:
    with Sandbox(offers=300, seed=5, start=START) as sandbox:
        offer = next(o for o in sandbox.offers({"rentable": {"eq": True}}) if o["gpu_frac"] == 1)
        rows = [{row["gpu_name"]: row for row in good(sandbox, CURRENT, ANY)["gpus"]}[offer["gpu_name"]]]
        sandbox.market.take(offer["gpu_ids"])
        rows += [{row["gpu_name"]: row for row in good(sandbox, CURRENT, ANY)["gpus"]}[offer["gpu_name"]]]
    assert [row["available"] for row in rows] == [rows[0]["available"], rows[0]["available"] - 1]
    assert rows[0]["total"] == rows[1]["total"]


@pytest.mark.parametrize(
    ("path", "empty"), [(CURRENT, {"gpus": []}), (HISTORY, {"gpus": {}}), (LOCATIONS, {"locations": []})]
)
def test_an_account_may_be_without_metrics(path: str, empty: dict[str, Any]) -> None:
    with Sandbox(offers=10, metrics="needs-machine") as sandbox:
        assert ask(sandbox, path) == (200, {"success": True, "needs_machine": True} | empty)
        assert ask(sandbox, TEMPLATES)[0] == 200
    with Sandbox(offers=10, metrics="refused") as sandbox:
        status, body = ask(sandbox, path, {"verified": "nonsense"})
        assert (status, body["error"]) == (403, "not_authorized") and "machine_read" in body["msg"]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 100)), max_size=40), st.floats(0, 1))
def test_percentiles_agree_with_numpys(pairs: list[tuple[int, float]], share: float) -> None:
    groups, values = np.array([g for g, _ in pairs], dtype=np.int64), np.array([v for _, v in pairs], dtype=np.float64)
    found = metrics.percentiles(values, groups, 5, [share])[0]
    for group, value in enumerate(found):
        of_group = values[groups == group]
        assert np.isnan(value) if not len(of_group) else value == pytest.approx(np.percentile(of_group, 100 * share))


# Volume offers.

WANTED = {"verified": {"eq": True}, "external": {"eq": False}, "disk_space": {"gte": 1}}


def test_volume_offers_agree_with_the_offers_of_their_machines(sandbox: Sandbox) -> None:
    body = {"order": [["storage_cost", "asc"]], "limit": 100_000, "allocated_storage": 50.0}
    answer = good(sandbox, VOLUMES, body=body)

    rows = answer["offers"]
    assert set(answer) == {"offers"} and all(tuple(row) == reads.VOLUME_FIELDS for row in rows)
    assert [row["storage_cost"] for row in rows] == sorted(row["storage_cost"] for row in rows)
    volumes = {row["id"]: row for row in rows}
    offered = {offer["avail_vol_ask_id"]: offer for offer in sandbox.offers() if offer["avail_vol_ask_id"]}
    assert set(volumes) == set(offered) and len(volumes) == len(rows)
    same = sorted(set(reads.VOLUME_FIELDS) - {"id", "ask_contract_id", "bundle_id", "disk_space", "external",
                                              "storage_total_cost", "start_date"})  # fmt: skip
    for number, offer in offered.items():
        row = volumes[number]
        assert [row[name] for name in same] == [offer[name] for name in same]
        assert (row["ask_contract_id"], row["disk_space"]) == (number, offer["avail_vol_size"])
        assert row["storage_cost"] / 720 == offer["avail_vol_dph"] and row["external"] is False
        assert row["storage_total_cost"] == row["storage_cost"] * 50.0 / 720


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (WANTED, lambda row: row["verification"] == "verified"),
        ({"disk_space": {"gt": "500"}, "inet_up": {"gt": 500}}, lambda r: r["disk_space"] > 500 and r["inet_up"] > 500),
        ({"geolocation": {"in": ["US", "SE"]}}, lambda row: row["geolocation"][-2:] in ("US", "SE")),
        ({"cuda_vers": {"gte": 12.8}}, lambda row: (row["cuda_max_good"] or 0) >= 12.8),
        ({"duration": {"gte": 20 * 86400.0}}, lambda row: row["duration"] >= 20 * 86400),
        ({"cluster_id": {"eq": 1}}, lambda row: False),
        ({"driver_version": {"gte": "575.0.0"}, "gpu_arch": {"eq": "nvidia"}},
         lambda row: int(row["driver_version"].split(".")[0]) >= 575),
    ],
)  # fmt: skip
def test_volume_offers_are_filtered(sandbox: Sandbox, filters: dict[str, Any], wanted: Any) -> None:
    every = good(sandbox, VOLUMES, body={"limit": 100_000, "order": [["machine_id", "asc"]]})["offers"]
    found = good(sandbox, VOLUMES, body=filters | {"limit": 100_000, "order": [["machine_id", "asc"]]})["offers"]
    assert found == [row for row in every if wanted(row)]


def test_volume_offers_are_found_by_id_limited_and_priced_for_one_gb(sandbox: Sandbox) -> None:
    first = good(sandbox, VOLUMES, body={})["offers"]
    in_query = good(sandbox, VOLUMES, {"q": {"limit": 3}}, body={})["offers"]
    one = good(sandbox, VOLUMES, body={"id": {"eq": first[7]["id"]}})["offers"]

    assert len(first) == reads.VOLUMES_LIMIT and in_query == first[:3] and one == [first[7]]
    assert all(row["storage_total_cost"] == row["storage_cost"] / 720 for row in first)
    assert len(good(sandbox, VOLUMES, body={"limit": 70})["offers"]) == 70
    sandbox.faults.add("nulls")
    assert good(sandbox, VOLUMES, body={})["offers"] == first
    assert [fault["name"] for fault in sandbox.faults.waiting()] == ["nulls"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ([1], {"success": False, "error": "invalid_request", "msg": "Invalid query: [1], must be dict of conditions"}),
        ({"limit": "5"}, {"msg": "limit: Input should be a valid integer"}),
        ({"disk_space": 5},
         {"error": "invalid_request", "msg": "disk_space: expected an object of operator and value, got 5"}),
    ],
)  # fmt: skip
def test_a_volume_search_that_cannot_be_used_is_a_400(sandbox: Sandbox, body: Any, answer: Any) -> None:
    assert ask(sandbox, VOLUMES, body=body) == (400, answer)


def test_the_documented_defaults_hold_for_volumes_too() -> None:
    with Sandbox(offers=300, defaults="openapi", start=START) as sandbox:
        rows = good(sandbox, VOLUMES, body={"limit": 1000})["offers"]
    assert {row["verification"] for row in rows} == {"verified"}


# SSH keys.


def test_the_accounts_ssh_keys_are_listed_as_documented(sandbox: Sandbox) -> None:
    rows = good(sandbox, SSH)
    assert [row["key"] for row in rows] == list(KEYS) and len({row["id"] for row in rows}) == 2
    assert rows[0] == {"id": rows[0]["id"], "user_id": good(sandbox, "users/current/")["id"], "key": KEYS[0],
                       "created_at": START, "deleted_at": None}  # fmt: skip
    assert good(sandbox, "users/current/")["ssh_key"] == KEYS[0]


def test_no_ssh_keys_is_a_404_until_one_is_added() -> None:
    with Sandbox(offers=10, start=START) as sandbox:
        none = ask(sandbox, SSH)
        account = sandbox.books.owner(sandbox.api_key)
        added = sandbox.books.add_ssh_key(account.id, f" {KEYS[1]}\n", sandbox.clock.now())
        one = ask(sandbox, SSH)
    assert none == (404, {"success": False, "error": "not_found", "msg": "No SSH keys found for the user."})
    assert one == (200, [added]) and added["key"] == KEYS[1]


def test_keys_of_another_account_are_not_listed() -> None:
    books = Books(Account(1, "a@example.com", "one", 0), Account(2, "b@example.com", "two", 0))
    books.add_ssh_key(1, KEYS[0], 0.0)
    assert books.ssh_keys(2) == [] and [row["user_id"] for row in books.ssh_keys(1)] == [1]


@pytest.mark.parametrize(
    "keys",
    [KEYS[0], ["-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END"], [""], ["ssh-rsa"], [5], ["ssh-rsa A\nssh-rsa B"]],
)
def test_what_is_no_public_key_is_refused_and_not_shown(keys: Any) -> None:
    with pytest.raises(ValueError, match=r"must be") as caught:
        Sandbox(ssh_keys=keys)
    assert "PRIVATE" not in str(caught.value)


def test_an_unknown_access_to_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match=r"metrics must be one of allowed, needs-machine, refused, got 'no'"):
        Sandbox(metrics="no")
