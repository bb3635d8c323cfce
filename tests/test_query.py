"""The query language: what is refused and in which words, units, sizes, places, order, and the check of the answer."""

from __future__ import annotations

import json
import operator
import string
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vastnb.errors import QueryError
from vastnb.vast.query import GPU_NAMES, REGIONS, Query, Residual, kept_rows, parse_query, seconds_of
from vastnb.vast.query.check import Kept, rows_meeting
from vastnb.vast.query.values import version_number
from vastnb.vast.types.columns import FIELDS, OFFERS
from vastnb.vast.types.sizes import nominal_gb, nominal_range_mb

DEFAULTS = {"verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}}


def filters(query: str) -> dict[str, Any]:
    """What a query alone asks, without the defaults."""
    return parse_query(query, defaults=False).filters


def refused(query: str, **options: Any) -> QueryError:
    with pytest.raises(QueryError) as caught:
        parse_query(query, **options)
    return caught.value


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, str, int, str | None]] = [
    # the query, what is wrong, where, and the hint
    ("gpu_nme=RTX_4090", "no such field: gpu_nme", 0, "did you mean gpu_name?"),
    ("num_gpus>=2 reliabilty>0.9", "no such field: reliabilty", 12, "did you mean reliability?"),
    ("verifed=true", "no such field: verifed", 0, "did you mean verified?"),
    ("xyzzy=1", "no such field: xyzzy", 0, "%vast fields lists them all"),
    ("chunked=true", "no such field: chunked", 0, "%vast fields lists them all"),
    ("usd_per_gpu_hour<0.3", "the service cannot filter by usd_per_gpu_hour", 0,
     "search first, then df[df.usd_per_gpu_hour ...]"),
    ("Score>10", "the service cannot filter by Score", 0, "search first, then df[df.score ...]"),
    ("gpu_lanes=16", "the service cannot filter by gpu_lanes", 0, "search first, then df[df.gpu_lanes ...]"),
    ("num_gpus=>2", "no such operator: =>", 8, "did you mean >=?"),
    ("num_gpus<>2", "no such operator: <>", 8, "did you mean !=?"),
    ("num_gpus !2", "no such operator: !", 9, "did you mean !=?"),
    ("num_gpus=<=2", "no such operator: =<=", 8, "there are: = != < <= > >= in notin"),
    ("num_gpus", "expected an operator after num_gpus", 8, "write a condition such as num_gpus>=2"),
    ("num_gpus ~ 2", "expected an operator after num_gpus", 8, "write a condition such as num_gpus>=2"),
    ("gpu_name=RTX 4090", "expected the name of a field", 13,
     'a value with blanks needs quotes or underscores: gpu_name="RTX 4090" or gpu_name=RTX_4090'),
    ("gpu_name=Titan Xp", "expected an operator after Xp", 17,
     'a value with blanks needs quotes or underscores: gpu_name="RTX 4090" or gpu_name=RTX_4090'),
    ('"RTX 4090"', "expected the name of a field", 0, 'one condition is name, operator, value: gpu_name="RTX 4090"'),
    ("dph<1 or num_gpus=1", "expected an operator after or", 8,
     "all conditions must hold; for one of several values: gpu_name in [RTX_4090,RTX_3090]"),
    ("num_gpus>=", "expected a value", 10, None),
    ("geolocation in", "expected a value", 14, None),
    ("gpu_name=,", "expected a value", 9, None),
    ("geolocation in [US,CA", "the bracket is not closed", 15, None),
    ("geolocation in []", "the list is empty", 15, None),
    ("geolocation in [ , ]", "the list is empty", 15, None),
    ('gpu_name="RTX 4090', "the quote is not closed", 9, None),
    ("gpu_name=' '", "the value is empty", 9, None),
    ('gpu_name in ["RTX 4090" H100]', "expected , or ] after a quoted value", 24, None),
    ("gpu_name=__", "gpu_name: the value is empty, got '__'", 9, None),
    ("num_gpus>=2num_gpus<4", "unexpected < in a value", 19,
     "put blanks between conditions, and quotes around a value that holds = < or >"),
    ("gpu_name in [A,B dph<1]", "unexpected < in a value", 20,
     "put blanks between conditions, and quotes around a value that holds = < or >"),
    ("gpu_name!=[A,B]", "!= takes one value, not a list", 10, "did you mean gpu_name notin [A,B]?"),
    ("gpu_name not eq [A,B]", "not eq takes one value, not a list", 16, "did you mean gpu_name notin [A,B]?"),
    ("num_gpus>=[1,2]", ">= takes one value, not a list", 10, "a list goes with in or notin"),
    ("gpu_name!=A,B", "one condition takes one GPU name, not a list", 10, "did you mean gpu_name notin [A,B]?"),
    ("dph<abc", "dph: expected a number (0.5 or $0.5), got 'abc'", 4, None),
    ("dph<1,5", "dph: expected a number (0.5 or $0.5), got '1,5'", 4, None),
    ("gpu_ram>=lots", "gpu_ram: expected a number (24 or 24GB), got 'lots'", 9, None),
    ("disk_space>big", "disk_space: expected a number (100 or 1TB), got 'big'", 11, None),
    ("duration>soon", "duration: expected a number (days, 3days or 12h), got 'soon'", 9, None),
    ("inet_up>fast", "inet_up: expected a number (500 or 1Gbps), got 'fast'", 8, None),
    ("reliability>good", "reliability: expected a number (0.98 or 98%), got 'good'", 12, None),
    ("dlperf>x", "dlperf: expected a number, got 'x'", 7, None),
    ("dph<inf", "dph: expected a number (0.5 or $0.5), got 'inf'", 4, None),
    ("dph<1e999", "dph: expected a finite number, got '1e999'", 4, None),
    ("gpu_ram>=24km", "gpu_ram: no unit 'km' here; known: mb, gb, tb, mib, gib, tib, m, g, t, got '24km'", 9, None),
    ("dlperf>5GB", "dlperf: no unit 'GB' here; known: none, got '5GB'", 7, None),
    ("gpu_ram>=$24", "gpu_ram: it is not an amount of money, got '$24'", 9, None),
    ("num_gpus>=2.5", "num_gpus: expected a whole number, got '2.5'", 10, None),
    ("id=9007199254740993", "id: expected a whole number, got '9007199254740993'", 3, None),
    ("num_gpus = 0", "num_gpus must be at least 1", 11, None),
    ("verified=maybe", "verified: expected true or false, got 'maybe'", 9, None),
    ("geolocation=Germany",
     "geolocation: expected a two-letter country code: Germany is DE, got 'Germany'", 12, None),
    ("country in [US,united_states]",
     "country: expected a two-letter country code: united states is US, got 'united_states'", 11, None),
    ("geolocation=Atlantis", "geolocation: expected a two-letter country code such as US, got 'Atlantis'", 12, None),
    ("driver_version>=new", "driver_version: expected a version like 535.86.05, got 'new'", 16, None),
    ("driver_version=1.2.3.4", "driver_version: expected a version like 535.86.05, got '1.2.3.4'", 15, None),
    ("gpu_name>RTX_3090", "gpu_name has no order: use =, !=, in or notin", 8, None),
    ("geolocation<US", "geolocation has no order: use =, !=, in or notin", 11, None),
    ("verified>=1", "verified has no order: use =, !=, in or notin", 8, None),
    ("dph<None", "None has no order: use = or !=", 4, None),
    ("gpu_ram>=null", "null has no order: use = or !=", 9, None),
    ("cpu_ram_gb>=None", "None has no order: use = or !=", 12, None),
    ("cpu_ram_gb=64", "cpu_ram_gb is a share with many decimals: use > or <", 10, None),
    ("cpu_ram_gb in [32,64]", "cpu_ram_gb is a share with many decimals: use > or <", 10, None),
    ("gpu_name!=any", "any goes with = only", 10, None),
    ("gpu_name in [any]", "any goes with = only", 12, None),
    ("region=XX", "no such region: XX", 7, "there are: AF, AS, EU, NA, LA, OC; countries go with geolocation"),
    ("region>EU", "a region goes with =, !=, in or notin", 7,
     "there are: AF, AS, EU, NA, LA, OC; countries go with geolocation"),
    ("georegion=maybe", "georegion is true or false", 10, None),
]  # fmt: skip


@pytest.mark.parametrize(("query", "problem", "place", "hint"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_query_that_cannot_be_right_is_refused_with_a_caret(
    query: str, problem: str, place: int, hint: str | None
) -> None:
    error = refused(query)

    assert error.message == f"{problem}\n  {query}\n  {' ' * place}^"
    assert (error.text, error.position, error.hint) == (query, place, hint)


@pytest.mark.parametrize(
    "name",
    sorted({c.name for c in (*OFFERS, *FIELDS) if c.ask is None} - {"geolocation", "cpu_ram_gb", "gpu_ram_nominal_gb"}),
)
def test_a_column_that_the_service_cannot_filter_by_says_how_to_do_it(name: str) -> None:
    error = refused(f"{name}=1")

    assert error.message.splitlines()[0] == f"the service cannot filter by {name}"
    assert error.hint == f"search first, then df[df.{name} ...]"


def test_the_caret_stays_under_its_place_in_a_query_of_several_lines() -> None:
    error = refused("num_gpus>=2\ndph<abc")

    assert error.message.splitlines()[1:] == ["  num_gpus>=2 dph<abc", "                  ^"]


# --- values ---------------------------------------------------------------------------------------------------------

VALUES: list[tuple[str, str, Any]] = [
    ("gpu_ram>=24", "gpu_ram", 24_000),
    ("gpu_ram>=24GB", "gpu_ram", 24_000),
    ("gpu_ram>=24gb", "gpu_ram", 24_000),
    ("gpu_ram>='24 GB'", "gpu_ram", 24_000),
    ("gpu_ram>=24g", "gpu_ram", 24_000),
    ("gpu_ram>=24GiB", "gpu_ram", 24_000),
    ("gpu_ram>=24564MB", "gpu_ram", 24_564),
    ("gpu_ram>=24564MiB", "gpu_ram", 24_564),
    ("gpu_ram>=24.564", "gpu_ram", 24_564),
    ("vram>=24", "gpu_ram", 24_000),
    ("gpu_ram_gb>=22.5", "gpu_ram", 22_500),
    ("gpu_total_ram>=0.1TB", "gpu_total_ram", 100_000),
    ("vram_total_gb>=96", "gpu_total_ram", 96_000),
    ("cpu_ram>=64", "cpu_ram", 64_000),
    ("machine_cpu_ram_gb>=64", "cpu_ram", 64_000),
    ("disk_space>=500", "disk_space", 500),
    ("disk_max_gb>=1.5TB", "disk_space", 1500),
    ("disk_space>=2t", "disk_space", 2000),
    ("duration>=3", "duration", 259_200),
    ("duration>=3days", "duration", 259_200),
    ("duration>=7h", "duration", 25_200),
    ("duration>=90min", "duration", 5400),
    ("duration>=45s", "duration", 45),
    ("duration>=2weeks", "duration", 1_209_600),
    ("duration>=1month", "duration", 2_592_000),
    ("inet_down>=500", "inet_down", 500),
    ("inet_down_mbps>=1Gbps", "inet_down", 1000),
    ("inet_up>=250kbps", "inet_up", 0.25),
    ("inet_up>=100MB/s", "inet_up", 800),
    ("dph<0.5", "dph_total", 0.5),
    ("dph<.5", "dph_total", 0.5),
    ("dph<1e-1", "dph_total", 0.1),
    ("dph<+2", "dph_total", 2),
    ("dph<$0.5", "dph_total", 0.5),
    ("dph<$0.5/h", "dph_total", 0.5),
    ("price<0.5$/hr", "dph_total", 0.5),
    ("usd_per_hour<0.5usd", "dph_total", 0.5),
    ("dph<1_000", "dph_total", 1000),
    ("min_bid_usd_per_hour<0.2", "min_bid", 0.2),
    ("storage_usd_per_gb_month<0.15", "storage_cost", 0.15),
    ("reliability>0.98", "reliability", 0.98),
    ("reliability>98%", "reliability", 0.98),
    ("reliability>57%", "reliability", 0.57),
    ("reliability>'99.5 %'", "reliability", 0.995),
    ("compute_cap>=8.9", "compute_cap", 890),
    ("compute_cap>=890", "compute_cap", 890),
    ("compute_cap>=12", "compute_cap", 1200),
    ("cuda>=12.4", "cuda_max_good", 12.4),
    ("cuda_max>=12", "cuda_max_good", 12),
    ("cpu_cores>=16", "cpu_cores", 16),
    ("machine_cpu_cores>=16", "cpu_cores", 16),
    ("cpu_cores_effective>=8.5", "cpu_cores_effective", 8.5),
    ("driver_version>=535.86.05", "driver_version", 535_086_005),
    ("driver_version>=550.120", "driver_version", 550_120_000),
    ("driver_version>=535", "driver_version", 535_000_000),
    ("driver_version>=535086005", "driver_version", 535_086_005),
    ("ubuntu_version>=22.04", "ubuntu_version", "22.04"),
    ("num_gpus>=2.0", "num_gpus", 2),
    ("direct_ports>=4", "direct_port_count", 4),
    ("id>=900000001", "ask_contract_id", 900_000_001),
    ("offer_id>=900000001", "ask_contract_id", 900_000_001),
]  # fmt: skip


@pytest.mark.parametrize(("query", "field", "value"), VALUES)
def test_a_number_goes_out_in_the_unit_of_the_wire(query: str, field: str, value: Any) -> None:
    [(name, operators)] = filters(query).items()

    assert (name, [*operators.values()]) == (field, [value])
    assert type(next(iter(operators.values()))) is type(value)


EQUAL: list[tuple[str, dict[str, Any]]] = [
    ("gpu_name=RTX_4090", {"gpu_name": {"eq": "RTX 4090"}}),
    ('gpu_name="RTX 4090"', {"gpu_name": {"eq": "RTX 4090"}}),
    ("gpu_name='rtx 4090'", {"gpu_name": {"eq": "RTX 4090"}}),
    ("gpu=rtx4090", {"gpu_name": {"eq": "RTX 4090"}}),
    ("GPU_NAME = h100-sxm", {"gpu_name": {"eq": "H100 SXM"}}),
    ("gpu_name in [RTX_4090, 'RTX 3090' ,\"h100 nvl\"]", {"gpu_name": {"in": ["RTX 4090", "RTX 3090", "H100 NVL"]}}),
    ("gpu_name in RTX_4090,RTX_3090", {"gpu_name": {"in": ["RTX 4090", "RTX 3090"]}}),
    ("gpu_name in RTX_4090,RTX_3090,num_gpus>=2",
     {"gpu_name": {"in": ["RTX 4090", "RTX 3090"]}, "num_gpus": {"gte": 2}}),
    ("gpu_name=None", {"gpu_name": {"eq": None}}),
    ("geolocation=us", {"geolocation": {"eq": "US"}}),
    ("country not in [cn,VN]", {"geolocation": {"notin": ["CN", "VN"]}}),
    ("static_ip=TRUE datacenter=0", {"static_ip": {"eq": True}, "datacenter": {"eq": False}}),
    ("external!=true", {"external": {"neq": True}}),
    ("cpu_arch=arm64", {"cpu_arch": {"eq": "arm64"}}),
    ('mobo_name="a=b<c"', {"mobo_name": {"eq": "a=b<c"}}),
    ("num_gpus>=2&dph<1", {"num_gpus": {"gte": 2}, "dph_total": {"lt": 1}}),
    ("num_gpus>=2 and dph<1", {"num_gpus": {"gte": 2}, "dph_total": {"lt": 1}}),
    ("\n num_gpus>=2 ,\n\tdph<1 \n", {"num_gpus": {"gte": 2}, "dph_total": {"lt": 1}}),
    ("num_gpus>=2 num_gpus<=4 num_gpus!=3", {"num_gpus": {"gte": 2, "lte": 4, "neq": 3}}),
    ("num_gpus>=2 num_gpus>=4 num_gpus>=3", {"num_gpus": {"gte": 4}}),
    ("dph<1 dph_total<0.5 price<2", {"dph_total": {"lt": 0.5}}),
    ("num_gpus in [1,2,4] num_gpus in [2,4,8]", {"num_gpus": {"in": [2, 4]}}),
    ("num_gpus notin [1] num_gpus notin [2,1]", {"num_gpus": {"notin": [1, 2]}}),
    ("num_gpus!=1 num_gpus!=2 num_gpus!=4", {"num_gpus": {"notin": [1, 2], "neq": 4}}),
    ("num_gpus=2 num_gpus=2", {"num_gpus": {"eq": 2}}),
    ("num_gpus=2 num_gpus in [1,2]", {"num_gpus": {"eq": 2, "in": [1, 2]}}),
]  # fmt: skip


@pytest.mark.parametrize(("query", "sent"), EQUAL, ids=[case[0] for case in EQUAL])
def test_a_query_means_these_filters(query: str, sent: dict[str, Any]) -> None:
    assert filters(query) == sent


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("30min", 1800), ("2h", 7200), ("3days", 259_200), ("1 week", 604_800), ("45s", 45)],
)
def test_a_time_is_read_as_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "3 parsecs", "$5", "h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number|no unit|not an amount"):
        seconds_of(text)


def test_driver_versions_are_in_the_order_of_their_numbers() -> None:
    versions = ["450.80.2", "535", "535.86", "535.86.05", "535.104.05", "550.54.15", "550.120", "580.95.05"]

    assert sorted(versions, key=version_number) == versions


# --- defaults, any, the whole body ----------------------------------------------------------------------------------


def test_an_empty_query_means_the_defaults() -> None:
    assert parse_query().to_api() == {
        **DEFAULTS, "order": [["dph_total", "asc"]], "type": "on-demand", "allocated_storage": 10.0,
    }  # fmt: skip


def test_the_whole_body() -> None:
    query = parse_query(
        "num_gpus>=2 verified=any", rental="interruptible", disk_gb=50, order="dlperf_per_usd-,dph", limit=20
    )

    assert query.to_api() == {
        "external": {"eq": False}, "rentable": {"eq": True}, "num_gpus": {"gte": 2},
        "order": [["dlperf_per_dphtotal", "desc"], ["dph_total", "asc"]],
        "type": "bid", "allocated_storage": 50.0, "limit": 20,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("verified=any", ["external", "rentable"]),
        ("verified=* external=? rentable=ANY", []),
        ("verified = 'any'", ["external", "rentable"]),
        ("verification=any", ["external", "rentable"]),
        ("verified=any verified=true", ["verified", "external", "rentable"]),
        ("num_gpus>=2 num_gpus=any", ["verified", "external", "rentable"]),
        ("gpu_ram=24 gpu_ram=any", ["verified", "external", "rentable"]),
        ("region=EU region=any", ["verified", "external", "rentable"]),
        ("cpu_ram_gb>=64 cpu_ram_gb=any", ["verified", "external", "rentable"]),
        ("geolocation=any", ["verified", "external", "rentable"]),
    ],
)
def test_any_takes_back_a_condition_or_a_default(query: str, left: list[str]) -> None:
    parsed = parse_query(query)

    assert (list(parsed.filters), dict(parsed.written), parsed.residuals) == (
        left, {"verified": "verified=true"} if "verified=true" in query else {}, (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("verified=false", {"verified": {"eq": False}}),
        ("verified!=true", {"verified": {"neq": True}}),
        ("verification=deverified", {"verification": {"eq": "deverified"}}),
        ("verification in [verified,unverified]", {"verification": {"in": ["verified", "unverified"]}}),
        ("verification!=deverified verified=true", {"verified": {"eq": True}, "verification": {"neq": "deverified"}}),
    ],
)
def test_a_condition_takes_the_place_of_its_default(query: str, sent: dict[str, Any]) -> None:
    assert parse_query(query).filters == {**sent, "external": {"eq": False}, "rentable": {"eq": True}}


def test_without_defaults_only_what_was_written_is_sent() -> None:
    assert parse_query("num_gpus=1", defaults=False).filters == {"num_gpus": {"eq": 1}}


def test_the_body_is_json_and_a_copy() -> None:
    query = parse_query("gpu_ram=24 geolocation in [US,CA] dph<0.5 cluster_id!=None driver_version>=550", limit=3)
    before = json.dumps(query.to_api())

    body = query.to_api()
    body["geolocation"]["in"].append("XX")
    body["gpu_ram"]["gte"] = 0
    body["order"][0][1] = "desc"

    assert json.dumps(query.to_api()) == before


def test_the_defaults_are_not_shared_between_queries() -> None:
    first = parse_query("")
    first.filters["verified"]["eq"] = False

    assert parse_query("").filters == DEFAULTS


# --- rental, disk, limit, order -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "rental"),
    [("on-demand", "on-demand"), ("ondemand", "on-demand"), ("On Demand", "on-demand"), ("on_demand", "on-demand"),
     ("bid", "bid"), ("interruptible", "bid"), ("spot", "bid"), ("reserved", "reserved")],
)  # fmt: skip
def test_a_rental_has_several_names(word: str, rental: str) -> None:
    assert parse_query(rental=word).to_api()["type"] == rental


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"rental": "free"}, "no such rental: 'free'", "there are: on-demand, bid, reserved"),
        ({"disk_gb": -1}, "disk_gb must be a number from 0 to 100000, got -1", None),
        ({"disk_gb": 100_001}, "disk_gb must be a number from 0 to 100000, got 100001", None),
        ({"disk_gb": float("nan")}, "disk_gb must be a number from 0 to 100000, got nan", None),
        ({"disk_gb": "much"}, "disk_gb must be a number from 0 to 100000, got 'much'", None),
        ({"disk_gb": None}, "disk_gb must be a number from 0 to 100000, got None", None),
        ({"limit": 0}, "limit must be a whole number from 1, got 0", "limit=None means all"),
        ({"limit": -3}, "limit must be a whole number from 1, got -3", "limit=None means all"),
        ({"limit": 2.5}, "limit must be a whole number from 1, got 2.5", "limit=None means all"),
        ({"limit": True}, "limit must be a whole number from 1, got True", "limit=None means all"),
        ({"limit": "20"}, "limit must be a whole number from 1, got '20'", "limit=None means all"),
        ({"limit": float("inf")}, "limit must be a whole number from 1, got inf", "limit=None means all"),
        ({"limit": float("nan")}, "limit must be a whole number from 1, got nan", "limit=None means all"),
        ({"order": ""}, "order is empty", "for example order='usd_per_hour' or 'dlperf_per_usd-'"),
        ({"order": " , "}, "order is empty", "for example order='usd_per_hour' or 'dlperf_per_usd-'"),
        ({"order": "dhp"}, "no such column to sort by: dhp", "did you mean dph?"),
        ({"order": "qqqqqq"}, "no such column to sort by: qqqqqq", None),
        ({"order": "usd_per_gpu_hour"}, "the service cannot sort by usd_per_gpu_hour",
         "search first, then df.sort_values('usd_per_gpu_hour')"),
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str, hint: str | None) -> None:
    error = refused("num_gpus=1", **options)

    assert (error.message, error.hint) == (message, hint)


@pytest.mark.parametrize(("limit", "sent"), [(1, 1), (20.0, 20), (10**9, 10**9)])
def test_a_limit_is_a_whole_number(limit: Any, sent: int) -> None:
    body = parse_query(limit=limit).to_api()

    assert (body["limit"], type(body["limit"])) == (sent, int)


@pytest.mark.parametrize("disk_gb", [0, 8, 10.5, 100_000])
def test_a_disk_within_bounds_is_sent(disk_gb: float) -> None:
    assert parse_query(disk_gb=disk_gb).to_api()["allocated_storage"] == disk_gb


@pytest.mark.parametrize(
    ("order", "sent"),
    [
        ("usd_per_hour", [["dph_total", "asc"]]),
        ("dph-", [["dph_total", "desc"]]),
        ("-dph", [["dph_total", "desc"]]),
        ("+dph", [["dph_total", "asc"]]),
        ("dlperf_per_usd-, usd_per_hour ,", [["dlperf_per_dphtotal", "desc"], ["dph_total", "asc"]]),
        ("score-", [["score", "desc"]]),
        ("gpu_usd_per_hour", [["dph_base", "asc"]]),
        ("available_until-", [["end_date", "desc"]]),
        ("offer_id", [["ask_contract_id", "asc"]]),
        ("country", [["geolocation", "asc"]]),
    ],
)
def test_an_order_goes_out_by_the_names_of_the_wire(order: str, sent: list[list[str]]) -> None:
    assert parse_query(order=order).to_api()["order"] == sent


# --- GPUs and places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GPU_NAMES)
def test_a_known_gpu_is_found_however_it_is_written(name: str) -> None:
    squeezed, snake = name.lower().replace(" ", ""), name.replace(" ", "_")

    parsed = [parse_query(f"gpu_name={written}", defaults=False) for written in (squeezed, snake, f'"{name}"')]

    assert [(p.filters, p.notes) for p in parsed] == [({"gpu_name": {"eq": name}}, ())] * 3


@pytest.mark.parametrize(
    ("query", "notes"),
    [
        ("gpu_name=RTX_6090", ("no GPU named RTX 6090 was seen before; did you mean RTX 5090, RTX 4090, RTX 3090, RTX A6000?",)),
        ("gpu_name=H100", ("no GPU named H100 was seen before; did you mean H100 NVL, H100 PCIE, H100 SXM, H200?",)),
        ("gpu_name=Zorkmid", ("no GPU named Zorkmid was seen before",)),
        ("gpu_name in [RTX_4090,Zorkmid]", ("no GPU named Zorkmid was seen before",)),
        ("gpu_name=None", ()),
        ("gpu_name=any", ()),
    ],
)  # fmt: skip
def test_an_unknown_gpu_is_sent_with_a_note(query: str, notes: tuple[str, ...]) -> None:
    assert parse_query(query).notes == notes


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("region=NA", {"in": ["BM", "CA", "GL", "US"]}),
        ("region=na", {"in": ["BM", "CA", "GL", "US"]}),
        ("region in [NA]", {"in": ["BM", "CA", "GL", "US"]}),
        ("region!=NA", {"notin": ["BM", "CA", "GL", "US"]}),
        ("region notin [NA]", {"notin": ["BM", "CA", "GL", "US"]}),
        ("georegion=true geolocation=NA", {"in": ["BM", "CA", "GL", "US"]}),
        ("geolocation=NA georegion=True", {"in": ["BM", "CA", "GL", "US"]}),
        ("georegion=false geolocation=NA", {"eq": "NA"}),
        ("geolocation=NA", {"eq": "NA"}),
        ("region=NA geolocation!=GL", {"in": ["BM", "CA", "GL", "US"], "neq": "GL"}),
        ("region=NA geolocation=US", {"in": ["BM", "CA", "GL", "US"], "eq": "US"}),
    ],
)
def test_a_region_is_its_countries(query: str, sent: dict[str, Any]) -> None:
    assert filters(query) == {"geolocation": sent}


def test_the_official_name_of_latin_america_is_known_too() -> None:
    assert filters("georegion=true geolocation=LC") == filters("region=LA")


def test_a_country_is_in_one_region_only() -> None:
    codes = [code for region in REGIONS.values() for code in region]

    assert len(codes) == len(set(codes))
    assert all(len(code) == 2 and code.isupper() for code in codes)


# --- conditions together --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "num_gpus=1 num_gpus=2",
        "num_gpus=1 num_gpus!=1",
        "num_gpus=1 num_gpus>1",
        "num_gpus=4 num_gpus<=2",
        "num_gpus=1 num_gpus in [2,4]",
        "num_gpus=1 num_gpus notin [1]",
        "num_gpus>4 num_gpus<2",
        "num_gpus>4 num_gpus<4",
        "num_gpus>=4 num_gpus<4",
        "num_gpus>4 num_gpus<=4",
        "num_gpus>=4 num_gpus<=4 num_gpus!=4",
        "num_gpus in [1,2] num_gpus in [4,8]",
        "num_gpus in [1,2] num_gpus>2",
        "num_gpus in [1,2] num_gpus!=1 num_gpus!=2",
        "num_gpus in [1,2] num_gpus notin [2,1]",
        "dph<0.5 usd_per_hour>=0.5",
        "gpu_name=RTX_4090 gpu_name=RTX_3090",
        "gpu_name=RTX_4090 gpu_name!='rtx 4090'",
        "geolocation=US geolocation notin [US,CA]",
        "region=EU geolocation=US",
        "region=EU region=NA",
        "verified=true verified=false",
        "verified!=true verified!=false",
        "static_ip notin [true,false]",
        "driver_version>=550 driver_version<535.86.05",
        "ubuntu_version>=22.04 ubuntu_version<20.04",
        "compute_cap>=8.9 compute_cap<890",
        "duration>=3days duration<12h",
        "gpu_ram=24 gpu_ram=48",
        "gpu_ram=24 gpu_ram!=24",
        "gpu_ram=24 gpu_ram notin [24,48]",
        "gpu_ram in [16,48] gpu_ram=24",
        "gpu_ram in [16,24] gpu_ram in [32,48]",
        "gpu_ram=24 gpu_ram>=32",
        "gpu_ram=24 gpu_ram<16",
        "gpu_ram=24 gpu_ram_nominal_gb>24",
        "gpu_ram_nominal_gb>24 gpu_ram_nominal_gb<=24",
        "gpu_total_ram=48 gpu_total_ram=96",
        "cpu_ram_gb>=64 cpu_ram_gb<32",
        "cpu_ram_gb>=64 cpu_ram<32",
    ],
)
def test_what_no_offer_can_meet_is_refused_in_the_words_of_the_query(query: str) -> None:
    error = refused(query)

    assert error.message.splitlines()[0] == f"no offer can meet this: {query}"


@pytest.mark.parametrize(
    "query",
    [
        "num_gpus>=4 num_gpus<=4",
        "num_gpus>4 num_gpus>=4",
        "num_gpus in [1,2] num_gpus!=1",
        "verified!=true",
        "gpu_ram=24 gpu_ram<24.2",
        "gpu_ram=24 gpu_ram!=48",
        "gpu_ram in [16,24] gpu_ram in [24,48]",
        "gpu_ram_nominal_gb>=24 gpu_ram_nominal_gb<=24",
        "cpu_ram_gb>=32 cpu_ram_gb<64",
        "cluster_id!=None cluster_id!=3",
    ],
)
def test_what_an_offer_may_meet_is_sent(query: str) -> None:
    assert parse_query(query).filters != DEFAULTS


def test_only_conditions_on_the_same_field_are_named() -> None:
    error = refused("gpu_name=H200 num_gpus>4 dph<1 num_gpus<2")

    assert error.message.splitlines()[0] == "no offer can meet this: num_gpus>4 num_gpus<2"
    assert error.position == 31


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("num_gpus>=2, dph<1", {"num_gpus": "num_gpus>=2", "dph_total": "dph<1"}),
        ("num_gpus >= 2  num_gpus<=4", {"num_gpus": "num_gpus >= 2 num_gpus<=4"}),
        ("gpu_ram=24", {"gpu_ram": "gpu_ram=24"}),
        ("gpu_ram>=16 gpu_ram!=24", {"gpu_ram": "gpu_ram>=16 gpu_ram!=24"}),
        ("gpu_ram in [16,24] gpu_ram!=16", {"gpu_ram": "gpu_ram in [16,24] gpu_ram!=16"}),
        ("cpu_ram_gb<64", {"cpu_ram": "cpu_ram_gb<64"}),
        ("region=EU geolocation!=DE", {"geolocation": "region=EU geolocation!=DE"}),
    ],
)
def test_the_users_own_words_for_a_field_are_kept(query: str, written: dict[str, str]) -> None:
    assert dict(parse_query(query).written) == written


# --- sizes ----------------------------------------------------------------------------------------------------------

RECORDED_MB = {
    3: [3072], 4: [4096], 6: [6138], 8: [7979, 8188], 11: [11_178, 11_264], 12: [12_227], 16: [15_360, 16_311],
    20: [20_475], 22: [22_528], 24: [23_028, 24_234, 24_467, 24_564], 32: [32_607, 32_760], 40: [39_936, 40_960],
    48: [46_068, 46_080, 48_935, 49_140], 64: [65_247], 80: [81_559, 81_920], 94: [95_830], 96: [97_887],
    141: [143_771], 180: [183_359], 288: [275_040],
}  # fmt: skip
"""Memory that cards reported, by the size they were sold with."""


@pytest.mark.parametrize(("gb", "mb"), [(gb, mb) for gb, several in RECORDED_MB.items() for mb in several])
def test_a_recorded_card_is_found_by_the_size_on_its_box(gb: int, mb: int) -> None:
    low, high = nominal_range_mb(nominal_gb(mb))
    query = parse_query(f"gpu_ram={gb}", defaults=False)

    assert nominal_gb(mb) == gb
    assert low <= mb <= high
    assert kept_rows(query, {"gpu_ram": [mb]}, 1) == Kept([True], 0, 0)


@pytest.mark.parametrize(
    ("query", "sent", "residual"),
    [
        ("gpu_ram=24", {"gpu_ram": {"gte": 22_732, "lte": 25_088}}, ("gpu_ram", "eq", (24.0,))),
        ("gpu_ram=24GiB", {"gpu_ram": {"gte": 22_732, "lte": 25_088}}, ("gpu_ram", "eq", (24.0,))),
        ("gpu_ram in [16,24]", {"gpu_ram": {"gte": 15_155, "lte": 25_088}}, ("gpu_ram", "in", (16.0, 24.0))),
        ("gpu_ram!=24", {}, ("gpu_ram", "neq", (24.0,))),
        ("gpu_ram notin [16,24]", {}, ("gpu_ram", "notin", (16.0, 24.0))),
        ("gpu_ram_nominal_gb=24", {"gpu_ram": {"gte": 22_732, "lte": 25_088}}, ("gpu_ram", "eq", (24.0,))),
        ("gpu_ram_nominal_gb>=24", {"gpu_ram": {"gte": 22_732}}, ("gpu_ram", "gte", (24.0,))),
        ("gpu_ram_nominal_gb<24", {"gpu_ram": {"lte": 25_088}}, ("gpu_ram", "lt", (24.0,))),
        ("gpu_total_ram=48", {"gpu_total_ram": {"gte": 44_236, "lte": 50_136}}, ("gpu_total_ram", "eq", (48.0,))),
        ("cpu_ram_gb>=64", {"cpu_ram": {"gte": 64_000}}, ("cpu_ram_gb", "gte", (64.0,))),
        ("cpu_ram_gb>64", {"cpu_ram": {"gt": 64_000}}, ("cpu_ram_gb", "gt", (64.0,))),
        ("cpu_ram_gb<64", {}, ("cpu_ram_gb", "lt", (64.0,))),
    ],
)
def test_what_the_wire_cannot_say_goes_out_wider_and_is_checked_here(
    query: str, sent: dict[str, Any], residual: tuple[Any, ...]
) -> None:
    parsed = parse_query(query, defaults=False)

    assert (parsed.filters, parsed.residuals) == (sent, (Residual(*residual, query),))


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("gpu_ram>=24", {"gte": 24_000}),
        ("gpu_ram=24.564", {"eq": 24_564}),
        ("gpu_ram=24564MB", {"eq": 24_564}),
        ("gpu_ram!=24.564", {"neq": 24_564}),
        ("gpu_ram in [24.564,22.528]", {"in": [24_564, 22_528]}),
        ("gpu_ram=None", {"eq": None}),
    ],
)
def test_what_is_no_size_on_a_box_is_taken_exactly(query: str, sent: dict[str, Any]) -> None:
    parsed = parse_query(query, defaults=False)

    assert (parsed.filters, parsed.residuals) == ({"gpu_ram": sent}, ())


SIGNS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


RECORDED = st.sampled_from(sorted(mb for several in RECORDED_MB.values() for mb in several))


@pytest.mark.parametrize("sign", SIGNS)
@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(mb=RECORDED, gb=st.integers(2, 300))
def test_the_wire_lets_through_every_card_of_a_nominal_size(sign: str, mb: int, gb: int) -> None:
    query = parse_query(f"gpu_ram_nominal_gb{sign}{gb}", defaults=False)

    kept = kept_rows(query, {"gpu_ram": [mb]}, 1)

    assert kept.rows == [SIGNS[sign](nominal_gb(mb), gb)]
    assert kept.rows == [False] or kept.contradicting == 0


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(mb=st.integers(600, 300_000), gb=st.integers(1, 300))
@example(mb=1547, gb=2)
@example(mb=5700, gb=6)
def test_the_wire_lets_through_memory_of_any_amount(sign: str, mb: int, gb: int) -> None:
    query = parse_query(f"gpu_ram_nominal_gb{sign}{gb}", defaults=False)

    assert kept_rows(query, {"gpu_ram": [mb]}, 1).rows == [SIGNS[sign](nominal_gb(mb), gb)]


@pytest.mark.parametrize("mb", [1547, 22_600, 295_000])
def test_memory_that_no_card_reported_yet_is_in_the_range_of_its_size(mb: int) -> None:
    low, high = nominal_range_mb(nominal_gb(mb))

    assert low <= mb <= high


# --- the answer is checked again ------------------------------------------------------------------------------------

OFFERS_SEEN: dict[str, list[Any]] = {
    "resource_type": ["gpu", "gpu", "gpu", None, "gpu"],
    "gpu_name": ["RTX 4090", "RTX 3090", "H200", None, "RTX 4090"],
    "num_gpus": [1, 2, 8, None, 4],
    "gpu_ram": [24_564, 24_234, 143_771, None, 49_140],
    "gpu_frac": [0.125, 1.0, 1.0, None, 0.5],
    "cpu_ram": [515_000, 64_000, 1_800_000, None, 128_000],
    "dph_total": [0.31, 0.42, 18.0, None, 1.5],
    "verification": ["verified", "unverified", "deverified", None, "verified"],
    "hosting_type": [0, 1, 1, None, 0],
    "external": [None, None, False, None, True],
    "geolocation": ["California, US", ", SE", "Norway", None, "Quebec,CA"],
    "driver_version": ["550.120", "535.86.05", "garbage", None, "580.95.05"],
    "os_version": ["22.04", "20.04", 24.04, None, "22.04"],
    "reliability2": [0.99, 0.95, 0.999, None, 0.5],
    "id": [11, 12, 13, None, 15],
    "has_avx": [1, 0, 1, None, 1],
    "static_ip": [True, False, True, None, False],
    "cluster_id": [None, 3, None, None, 4],
}


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", "YYYYY"),
        ("gpu_name=RTX_4090", "Y..YY"),
        ("gpu_name!=RTX_4090", ".YYY."),
        ("gpu_name in [H200,RTX_3090]", ".YYY."),
        ("gpu_name notin [H200,RTX_3090]", "Y..YY"),
        ("num_gpus>=2 num_gpus<8", ".Y.YY"),
        ("num_gpus>2", "..YYY"),
        ("num_gpus<=2", "YY.Y."),
        ("dph<0.42", "Y..Y."),
        ("gpu_ram>=24.5", "Y.YYY"),
        ("gpu_ram=24", "YY.Y."),
        ("gpu_ram!=24", "..YYY"),
        ("gpu_ram in [24,48]", "YY.YY"),
        ("gpu_ram=24.564", "Y..Y."),
        ("gpu_total_ram=48", ".Y.Y."),
        ("cpu_ram_gb>=64", "YYYYY"),
        ("cpu_ram_gb>64", "Y.Y" + "Y."),
        ("cpu_ram_gb<64.1", ".Y.YY"),
        ("verified=true", "Y..YY"),
        ("verified=false", ".YYY."),
        ("verification=deverified", "..YY."),
        ("datacenter=true", ".YYY."),
        ("external=false", "YYYY."),
        ("geolocation=US", "Y.YY."),
        ("geolocation notin [US,CA]", ".YYY."),
        ("region=NA", "Y.YYY"),
        ("driver_version>=550", "Y.YYY"),
        ("driver_version<550.120", ".YYY."),
        ("ubuntu_version=22.04", "Y..YY"),
        ("ubuntu_version>=22.04", "Y.YYY"),
        ("ubuntu_version=24.04", "..YY."),
        ("reliability>0.98", "Y.YY."),
        ("id in [11,15]", "Y..YY"),
        ("has_avx=true", "Y.YYY"),
        ("static_ip!=true", ".Y.YY"),
        ("cluster_id=None", "Y.YY."),
        ("machine_id=7", "YYYYY"),
        ("gpu_name=RTX_4090 num_gpus>=4 dph<1", "...Y."),
    ],
)
def test_rows_that_contradict_the_query_do_not_stay(query: str, rows: str) -> None:
    kept = kept_rows(parse_query(query, defaults=False), OFFERS_SEEN, 5)

    assert "".join("Y" if stays else "." for stays in kept.rows) == rows
    assert kept.contradicting + kept.residual == rows.count(".")


def test_rows_the_service_should_not_have_sent_are_told_from_those_it_could_not_know() -> None:
    columns = {"gpu_ram": [24_564, 23_500, 48_935, 22_528], "num_gpus": [1, 1, 1, 1]}

    kept = kept_rows(parse_query("gpu_ram in [16,24]", defaults=False), columns, 4)

    assert kept == Kept([True, True, False, False], contradicting=1, residual=1)


def test_offers_of_disk_do_not_stay() -> None:
    kept = kept_rows(parse_query("", defaults=False), {"resource_type": ["gpu", "disk", None]}, 3)

    assert kept == Kept([True, False, True], contradicting=1, residual=0)


def test_an_answer_without_a_field_contradicts_nothing() -> None:
    query = parse_query(
        "gpu_name=H200 num_gpus>=8 gpu_ram=141 cpu_ram_gb>=64 verified=true geolocation=US static_ip=true"
    )

    assert kept_rows(query, {"id": [1, 2]}, 2) == Kept([True, True], 0, 0)


@pytest.mark.parametrize("wrong", ["24GB", [24_564], {"mb": 24_564}, float("nan"), float("inf"), 10**400, True])
@pytest.mark.parametrize("query", ["gpu_ram=24", "gpu_ram!=24", "gpu_total_ram=48", "cpu_ram_gb>=64"])
def test_a_value_of_the_wrong_kind_is_left_to_the_frame_to_report(query: str, wrong: Any) -> None:
    """The frame says where it is; the check must not fail before, whatever it then decides."""
    columns = {name: [wrong] for name in ("gpu_ram", "num_gpus", "cpu_ram", "gpu_frac", "gpu_total_ram")}

    kept = kept_rows(parse_query(query, defaults=False), columns, 1)

    assert kept.rows in ([True], [False])


def test_one_condition_can_be_judged_alone() -> None:
    assert rows_meeting("num_gpus", {"gte": 2, "neq": 8}, {"num_gpus": [1, 2, 8, None]}, 4) == [
        False,
        True,
        False,
        True,
    ]


# --- any text -------------------------------------------------------------------------------------------------------

PIECES = ["num_gpus", "gpu_ram", "gpu_name", "dph", "verified", "geolocation", "region", "driver_version", "cpu_ram_gb",
          "duration", "=", "!=", ">=", "<", " in ", " notin ", "[", "]", ",", "'", '"', " ", "\n", "any", "None", "true",
          "RTX_4090", "US", "24", "24GB", "0.5", "$", "1e999", "-1", "é", "²", "and", "&", "EU", "_"]  # fmt: skip


def outcome(text: str) -> Query | QueryError:
    try:
        return parse_query(text)
    except QueryError as error:
        return error


@pytest.mark.parametrize("texts", [st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
                                   st.text(string.printable, max_size=40)], ids=["unicode", "pieces", "printable"])  # fmt: skip
def test_any_text_is_a_query_or_a_query_error(texts: st.SearchStrategy[str]) -> None:
    read = {True: 0, False: 0}

    @settings(max_examples=500, derandomize=True, deadline=None, database=None)
    @given(texts)
    @example("gpu_name=None gpu_ram>=None")
    @example("driver_version=²")
    def holds(text: str) -> None:
        found = outcome(text)
        read[isinstance(found, Query)] += 1
        if isinstance(found, Query):
            assert json.loads(json.dumps(found.to_api())) == found.to_api()
        else:
            assert found.position is None or 0 <= found.position <= len(text)

    holds()
    assert all(read.values())


LONG = {
    "a list": "machine_id notin [" + "1," * 50_000 + "2]",
    "an open list": "gpu_name in [" + "a," * 50_000,
    "conditions": "num_gpus>=1 " * 10_000,
    "other conditions": " ".join(f"machine_id!={n}" for n in range(2000)),
    "nominal sizes": "gpu_ram!=24 " * 1000,
    "commas": "gpu_name=x" + "," * 100_000,
    "ampersands": "gpu_name=x" + "&" * 100_000,
    "blanks": "num_gpus" + " " * 100_000 + "=1",
    "quotes": "'" * 100_000,
    "brackets": "gpu_name in " + "[" * 100_000,
    "signs": "num_gpus" + "=" * 100_000,
    "digits": "dph<" + "1" * 100_000,
    "points": "driver_version=" + "1." * 50_000,
    "a word": "a" * 100_000,
    "ands": "and " * 25_000,
    "unknown GPUs": "gpu_name in [" + ",".join(f"zz{n}" for n in range(1000)) + "]",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_takes_no_long_time(text: str) -> None:
    started = time.perf_counter()

    outcome(text)

    assert time.perf_counter() - started < 2


def test_a_share_above_one_is_sent_and_doubted() -> None:
    query = parse_query("reliability>98")

    assert query.filters["reliability"] == {"gt": 98}
    assert query.notes == ("reliability is a share from 0 to 1: did you mean 98%?",)
    assert parse_query("reliability>98%").notes == ()
