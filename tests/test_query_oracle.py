"""The official client's own parser as the oracle: the same filters, but for the differences that the docs page lists."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vastnb.errors import QueryError
from vastnb.vast.query import GPU_NAMES, parse_query

official = pytest.importorskip("vastai.api.query", reason="the official client is not installed")

PAGE = Path(__file__).parents[1] / "docs" / "query-differences.md"
DEFAULTS: dict[str, dict[str, Any]] = {"verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}}


def theirs(query: str) -> dict[str, Any]:
    """What the official command line would send."""
    seed = {name: dict(operators) for name, operators in DEFAULTS.items()}
    fields, alias, factors = official.offers_fields, official.offers_alias, official.offers_mult
    return official.parse_query(query, seed, fields, alias, factors)


def ours(query: str) -> dict[str, Any]:
    return parse_query(query).filters


def normal(value: Any) -> Any:
    """Numbers as numbers, however they are written; True is 1. Twelve digits, as the last one depends on the order of factors."""
    if isinstance(value, dict):
        return {name: normal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return float(f"{number:.12g}") if math.isfinite(number) else value


# --- the documentation's own examples -------------------------------------------------------------------------------

EXAMPLES = [
    "reliability > 0.98 num_gpus=1 gpu_name=RTX_3090",
    "compute_cap > 610 total_flops > 5 datacenter=True",
    "reliability>0.99 num_gpus=4 geolocation in [TW,SE]",
    'reliability>0.99 gpu_name in ["RTX 4090", "RTX 3090"] geolocation notin [CN,VN]',
    "disk_space>146 duration>24 gpu_ram>10 cuda_vers>=12.1 direct_port_count>=2 driver_version >= 535.86.05",
    "reliability > 0.99  num_gpus>=4 verified=False",
    "cpu_arch=arm64",
]


@pytest.mark.parametrize("query", [*EXAMPLES, "", "external=false rentable=true verified=true"])
def test_an_example_of_the_official_help_is_read_as_the_official_client_reads_it(query: str) -> None:
    assert normal(ours(query)) == normal(theirs(query))


def test_these_are_all_examples_of_the_official_help() -> None:
    folder = Path(importlib.util.find_spec("vastai").submodule_search_locations[0])
    source = (folder / "cli" / "commands" / "offers.py").read_text("utf-8")

    assert re.findall(r"vastai search offers '([^']*)'", source) == EXAMPLES


ORDERS = [
    "score-",
    "dph",
    "dph_total-",
    "-reliability",
    "num_gpus,total_flops-",
    " gpu_ram- , cuda_vers+",
    "+dlperf_usd",
]


@pytest.mark.parametrize(
    "order", [*ORDERS, *sorted({*official.offers_fields, *official.offers_alias} - {"id", "verified"})]
)
def test_an_order_is_read_as_the_official_client_reads_it(order: str) -> None:
    assert parse_query(order=order).to_api()["order"] == official.parse_order(order)


# --- the documented differences -------------------------------------------------------------------------------------

SIZE = "no card reports exactly 24,000 MB: `=` here means the size on the box, and the answer is checked exactly"
LIST = "the official parser cannot read a list of sizes"
ALL = "all conditions must hold; there the last one of a kind replaces the others"
UNKNOWN = "an unknown field is sent there with a warning; here it is an error, and nothing is sent"
OWN = "our column names are names in a query"
DEFAULT = "a condition on a field takes the place of its default; there both are sent"
DRIVER = "a version is compared as the service counts: 535.86.05 is 535086005; missing parts count as 0"
NUMBER = "what is no number finds nothing"
QUOTES = "both kinds of quotes are quotes, and what stands in them is one value"
BETWEEN = "blanks of all kinds, commas, `and` and `&` may stand between conditions"
UNIT = "a number may have its unit"
ORDERLESS = "names and flags have no order"
WORD = "a text is a text, whatever it looks like; None means absent, also in a list and in small letters"
BLANK = "blanks around a value are not part of it"
NONE = "None is not more or less than anything, and absent sizes may be asked for"

DIFFERENCES: list[tuple[str, str, str, str]] = [
    ("gpu_ram=24", '{"gpu_ram": {"eq": 24000.0}}', '{"gpu_ram": {"gte": 22732, "lte": 25088}}, then checked', SIZE),
    ("gpu_ram!=24", '{"gpu_ram": {"neq": 24000.0}}', "{}, then checked", SIZE),
    ("gpu_total_ram=48", '{"gpu_total_ram": {"eq": 48000.0}}', '{"gpu_total_ram": {"gte": 44236, "lte": 50136}}, then checked', SIZE),
    ("gpu_ram in [24,48]", "TypeError", '{"gpu_ram": {"gte": 22732, "lte": 49664}}, then checked', LIST),
    ("cpu_ram in [64,128]", "TypeError", '{"cpu_ram": {"in": [64000, 128000]}}', LIST),
    ("cpu_ram_gb>=64", '{"cpu_ram_gb": {"gte": "64"}}', '{"cpu_ram": {"gte": 64000}}, then checked', "your share of the memory; the service knows the whole machine's only"),
    ("gpu_ram_nominal_gb>=24", '{"gpu_ram_nominal_gb": {"gte": "24"}}', '{"gpu_ram": {"gte": 22732}}, then checked', OWN),
    ("usd_per_hour<0.5", '{"usd_per_hour": {"lt": "0.5"}}', '{"dph_total": {"lt": 0.5}}', OWN),
    ("reliability2>0.98", '{"reliability2": {"gt": "0.98"}}', '{"reliability": {"gt": 0.98}}', "the field's old name"),
    ("id=123", '{"id": {"eq": "123"}}', '{"ask_contract_id": {"eq": 123}}', "a filter on `id` finds nothing; offers answer to `ask_contract_id`"),
    ("gpu_nam=RTX_4090", '{"gpu_nam": {"eq": "RTX 4090"}}', "refused: no such field: gpu_nam (did you mean gpu_name?)", UNKNOWN),
    ("NUM_GPUS>=2", '{"NUM_GPUS": {"gte": "2"}}', '{"num_gpus": {"gte": 2}}', "capitals in a field's name do not matter"),
    ("compute_cap>=8.9", '{"compute_cap": {"gte": "8.9"}}', '{"compute_cap": {"gte": 890}}', "the wire has compute capability times 100; under 20 it is meant plain"),
    ("num_gpus>=4 num_gpus>=2", '{"num_gpus": {"gte": "2"}}', '{"num_gpus": {"gte": 4}}', ALL),
    ("gpu_name!=RTX_3090 gpu_name!=RTX_4090", '{"gpu_name": {"neq": "RTX 4090"}}', '{"gpu_name": {"notin": ["RTX 3090", "RTX 4090"]}}', ALL),
    ("geolocation=US geolocation=CA", '{"geolocation": {"eq": "CA"}}', "refused: no offer can meet this: geolocation=US geolocation=CA", ALL),
    ("num_gpus>4 num_gpus<2", '{"num_gpus": {"gt": "4", "lt": "2"}}', "refused: no offer can meet this: num_gpus>4 num_gpus<2", "what cannot hold is not asked"),
    ("verified!=true", '{"verified": {"eq": true, "neq": true}}', '{"verified": {"neq": true}}', DEFAULT),
    ("rentable in [true,false]", '{"rentable": {"eq": true, "in": ["true", "false"]}}', '{"rentable": {"in": [true, false]}}', DEFAULT + "; true and false are flags in a list too"),
    ("verification=deverified", '{"verified": {"eq": true}, "verification": {"eq": "deverified"}}', '{"verification": {"eq": "deverified"}}', "it says what `verified` says, so that default goes"),
    ("verification=any", '{"verified": {"eq": true}}', "{}", "it says what `verified` says, so that default goes"),
    ("driver_version>=550.120", "ValueError", '{"driver_version": {"gte": 550120000}}', DRIVER),
    ("driver_version>=535", '{"driver_version": {"gte": "535"}}', '{"driver_version": {"gte": 535000000}}', DRIVER),
    ("driver_version in [535.86.05,550.54.15]", "AttributeError", '{"driver_version": {"in": [535086005, 550054015]}}', DRIVER),
    ('driver_version="535.86.05"', "ValueError", '{"driver_version": {"eq": 535086005}}', QUOTES),
    ("gpu_name=rtx4090", '{"gpu_name": {"eq": "rtx4090"}}', '{"gpu_name": {"eq": "RTX 4090"}}', "a known GPU is found however it is written"),
    ("geolocation=us", '{"geolocation": {"eq": "us"}}', '{"geolocation": {"eq": "US"}}', "the service knows capital codes only"),
    ("geolocation=Germany", '{"geolocation": {"eq": "Germany"}}', "refused: geolocation: expected a two-letter country code: Germany is DE, got 'Germany'", "the service knows capital codes only"),
    ("region=OC", '{"region": {"eq": "OC"}}', '{"geolocation": {"in": ["AU", "FJ", "FM", "GU", "KI", "MH", "NC", "NR", "NZ", "PF", "PG", "PW", "SB", "TO", "TV", "VU", "WS"]}}', "a region is a list of countries"),
    ("georegion=true geolocation=NA", '{"georegion": {"eq": true}, "geolocation": {"eq": "NA"}}', '{"geolocation": {"in": ["BM", "CA", "GL", "US"]}}', "the official SDK reads this as a region too, with other lists; its command line does not"),
    ("gpu_name='RTX 4090'", "ValueError", '{"gpu_name": {"eq": "RTX 4090"}}', QUOTES),
    ("geolocation not in ['CN','VN']", """{"geolocation": {"notin": ["'CN'", "'VN'"]}}""", '{"geolocation": {"notin": ["CN", "VN"]}}', QUOTES + " (the official help writes it so)"),
    ('mobo_name in ["A,B"]', '{"mobo_name": {"in": ["A", "B"]}}', '{"mobo_name": {"in": ["A,B"]}}', QUOTES),
    ('gpu_name="any"', '{"gpu_name": {"eq": "any"}}', "{}", "any is any, with quotes and in capitals"),
    ("static_ip=ANY", '{"static_ip": {"eq": "ANY"}}', "{}", "any is any, with quotes and in capitals"),
    ("static_ip=yes", '{"static_ip": {"eq": "yes"}}', '{"static_ip": {"eq": true}}', "a flag is true, yes, on, 1, or false, no, off, 0, in any capitals"),
    ("dph<cheap", '{"dph_total": {"lt": "cheap"}}', "refused: dph: expected a number (0.5 or $0.5), got 'cheap'", NUMBER),
    ("num_gpus>=1.5", '{"num_gpus": {"gte": "1.5"}}', "refused: num_gpus: expected a whole number, got '1.5'", "counts and ids are whole numbers"),
    ("num_gpus=0", '{"num_gpus": {"eq": "0"}}', "refused: num_gpus must be at least 1", "the service then answers offers of disk, without a GPU"),
    ("dph<1_000", '{"dph_total": {"lt": "1 000"}}', '{"dph_total": {"lt": 1000}}', "in a number an underscore parts thousands"),
    ("dph<$0.5", '{"dph_total": {"lt": "$0.5"}}', '{"dph_total": {"lt": 0.5}}', UNIT),
    ("gpu_ram>=24GB", "ValueError", '{"gpu_ram": {"gte": 24000}}', UNIT),
    ("duration>=12h", "ValueError", '{"duration": {"gte": 43200}}', UNIT),
    ("inet_down>1Gbps", '{"inet_down": {"gt": "1Gbps"}}', '{"inet_down": {"gt": 1000}}', UNIT),
    ("reliability>98%", '{"reliability": {"gt": "98%"}}', '{"reliability": {"gt": 0.98}}', UNIT),
    ("gpu_name>RTX_3090", '{"gpu_name": {"gt": "RTX 3090"}}', "refused: gpu_name has no order: use =, !=, in or notin", ORDERLESS),
    ("has_avx>=1", '{"has_avx": {"gte": "1"}}', "refused: has_avx has no order: use =, !=, in or notin", ORDERLESS),
    ("num_gpus>=2,dph<1", '{"num_gpus": {"gte": "2,dph<1"}}', '{"num_gpus": {"gte": 2}, "dph_total": {"lt": 1}}', BETWEEN),
    ("num_gpus>=2 and dph<1", "ValueError", '{"num_gpus": {"gte": 2}, "dph_total": {"lt": 1}}', BETWEEN),
    ("num_gpus>=2\tdph<1", '{"num_gpus": {"gte": "2\\tdph<1"}}', '{"num_gpus": {"gte": 2}, "dph_total": {"lt": 1}}', BETWEEN),
    ("num_gpus>=2dph<1", '{"num_gpus": {"gte": "2dph<1"}}', "refused: unexpected < in a value (put blanks between conditions, and quotes around a value that holds = < or >)", "a blank was forgotten"),
    ("gpu_name=[RTX_4090,RTX_3090]", '{"gpu_name": {"eq": "RTX 4090,RTX 3090"}}', "refused: = takes one value, not a list (did you mean gpu_name in [RTX_4090,RTX_3090]?)", "no GPU has such a name"),
    ("gpu_name=RTX_4090,RTX_3090", '{"gpu_name": {"eq": "RTX 4090,RTX 3090"}}', "refused: one condition takes one GPU name, not a list (did you mean gpu_name in [RTX_4090,RTX_3090]?)", "no GPU has such a name"),
    ("num_gpus IN [1,2]", "ValueError", '{"num_gpus": {"in": [1, 2]}}', "capitals in an operator do not matter"),
    ("gpu_name=[ RTX_4090 ]", '{"gpu_name": {"eq": " RTX 4090 "}}', '{"gpu_name": {"eq": "RTX 4090"}}', BLANK),
    ("mobo_name=_X570_", '{"mobo_name": {"eq": " X570 "}}', '{"mobo_name": {"eq": "X570"}}', BLANK),
    ("mobo_name=_", '{"mobo_name": {"eq": " "}}', "refused: mobo_name: the value is empty, got '_'", BLANK),
    ("mobo_name=true", '{"mobo_name": {"eq": true}}', '{"mobo_name": {"eq": "true"}}', WORD),
    ("mobo_name=none", '{"mobo_name": {"eq": "none"}}', '{"mobo_name": {"eq": null}}', WORD),
    ("mobo_name in [None,X570]", '{"mobo_name": {"in": ["None", "X570"]}}', '{"mobo_name": {"in": [null, "X570"]}}', WORD),
    ("duration=None", "ValueError", '{"duration": {"eq": null}}', NONE),
    ("dph>None", '{"dph_total": {"gt": null}}', "refused: None has no order: use = or !=", NONE),
]  # fmt: skip
"""A query, what the official client sends or how it fails, what we send or say, and why."""


def outcome(read: Callable[[str], dict[str, Any]], query: str) -> Any:
    """The filters, or the error."""
    try:
        return read(query)
    except QueryError as error:
        return f"refused: {error.message.splitlines()[0]}" + (f" ({error.hint})" if error.hint else "")
    except (ValueError, TypeError, AttributeError) as error:
        return type(error).__name__


def said(found: Any, other: Any) -> str:
    """An outcome in short: without the defaults that both send."""
    if isinstance(found, str):
        return found
    others = other if isinstance(other, dict) else DEFAULTS
    return json.dumps({n: ops for n, ops in found.items() if ops != DEFAULTS.get(n) or ops != others.get(n)})


def row(query: str, official_sends: str, ours_sends: str, why: str) -> str:
    errors = {
        "ValueError": "an error",
        "TypeError": "a crash (`TypeError`)",
        "AttributeError": "a crash (`AttributeError`)",
    }
    sent, then = ours_sends.removesuffix(", then checked"), ours_sends.endswith(", then checked")
    refused = sent.removeprefix("refused: ")
    mine = f"refused: `{refused}`" if refused != sent else f"`{sent}`" + ", then checks the answer" * then
    tab = query.replace("\t", "→")
    return f"| `{tab}` | {errors.get(official_sends, f'`{official_sends}`')} | {mine} | {why} |"


@pytest.mark.parametrize(("query", "official_sends", "ours_sends", "why"), DIFFERENCES)
def test_a_documented_difference_is_one(query: str, official_sends: str, ours_sends: str, why: str) -> None:
    them, us = outcome(theirs, query), outcome(ours, query)

    checked = isinstance(us, dict) and parse_query(query).residuals
    assert (said(them, us), said(us, them) + ", then checked" * bool(checked)) == (official_sends, ours_sends)
    assert normal(them) != normal(us) or checked


def test_the_page_lists_each_difference() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]

    assert rows == [row(*difference) for difference in DIFFERENCES]


# --- any query of the common grammar --------------------------------------------------------------------------------

SCALED = ("cpu_ram", "duration", "gpu_ram", "gpu_total_ram")
WHOLE = ("direct_port_count", "host_id", "machine_id", "num_gpus", "cluster_id")
FLAGS = ("datacenter", "gpu_display_active", "has_avx", "rented", "static_ip", "vms_enabled", *DEFAULTS)
TEXTS = ("cpu_arch", "gpu_arch", "mobo_name", "ubuntu_version", "verification")
OTHER = {"gpu_name": "gpu", "geolocation": "country", "driver_version": "version", "compute_cap": "capability"}
NUMBERS = (
    "bw_nvlink", "cpu_cores", "cpu_cores_effective", "cpu_ghz", "cuda_max_good", "disk_bw", "disk_space", "dlperf",
    "dlperf_per_dphtotal", "dph_total", "flops_per_dphtotal", "gpu_frac", "gpu_max_power", "gpu_max_temp", "gpu_mem_bw",
    "inet_down", "inet_down_cost", "inet_up", "inet_up_cost", "min_bid", "pci_gen", "pcie_bw", "reliability",
    "storage_cost", "total_flops",
)  # fmt: skip
KINDS: dict[str, str] = {
    **dict.fromkeys(SCALED, "scaled"), **dict.fromkeys(WHOLE, "whole"), **dict.fromkeys(FLAGS, "flag"),
    **dict.fromkeys(TEXTS, "text"), **dict.fromkeys(NUMBERS, "number"), **OTHER,
}  # fmt: skip
NAMES = {field: [field, *(a for a, f in official.offers_alias.items() if f == field)] for field in KINDS}
SIGNS = {
    "eq": ["=", "==", "eq"], "neq": ["!=", "neq", "not eq", "noteq"], "gt": [">", "gt"], "gte": [">=", "gte"],
    "lt": ["<", "lt"], "lte": ["<=", "lte"], "in": ["in"], "notin": ["notin", "not in", "nin"],
}  # fmt: skip
ORDERED = ("gt", "gte", "lt", "lte")
WORDS = {"true", "false", "none", "null", "any", "nan", "inf", "infinity"}
GPUS = [*GPU_NAMES, "RTX 6090", "H300 SXM9", "MI 450X"]
COUNTRIES = ["US", "CA", "SE", "TW", "CN", "VN", "NO", "NA", "XK"]

_plain = st.text("abzABZ0189-./+()®", min_size=1, max_size=6).filter(lambda t: t.lower() not in WORDS)
_texts = st.one_of(
    st.sampled_from(["amd64", "arm64", "nvidia", "22.04", "20.04", "ROMED8-2T", "X570 Taichi WS", "007", "unverified"]),
    st.lists(_plain, min_size=1, max_size=3).map(" ".join),
)
_pools = {"gpu": st.sampled_from(GPUS), "country": st.sampled_from(COUNTRIES), "text": _texts}
_several = {kind: st.lists(pool, min_size=2, max_size=4, unique_by=normal) for kind, pool in _pools.items()}
_one_of = cache(st.sampled_from)
_from_to = cache(st.integers)
_fields = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5, unique=True)
_operators = cache(lambda known: st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))


@dataclass(frozen=True)
class Clause:
    field: str
    text: str
    sign: str
    bare: bool
    """Whether a comma may follow the value."""


class Writer:
    """Draws the parts of a query; each method gives one part as text."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw

    def pick(self, *choices: Any) -> Any:
        return self.draw(_one_of(choices))

    def blanks(self) -> str:
        return self.pick("", "", " ", "  ")

    def number(self, number: Decimal) -> str:
        text = f"{number:f}"
        forms = [text, f"{text}0" if "." in text else f"{text}.0", f"{number:E}"]
        if number >= 0:
            forms += [f"+{text}", f"0{text}"]
        if text.startswith("0."):
            forms.append(text[1:])
        return self.pick(*forms)

    def value(self, value: Any, *, in_list: bool) -> tuple[str, bool]:
        """`value` in one of the ways to write it, and whether that is without quotes."""
        if isinstance(value, Decimal):
            text = self.number(value)
        else:
            text = value if in_list and self.pick(True, False) else value.replace(" ", "_")
        if self.pick(True, False, False, False):
            return f'"{self.pick(text, text.replace("_", " "))}"', False
        return text, True

    def operand(self, values: list[Any], *, many: bool, quotes: bool) -> tuple[str, bool]:
        """One value, or a list in one of the ways to write it; and whether a comma may follow."""
        ways = ("brackets", "brackets", "bare") if many else ("one", "one", "one", "brackets")
        if quotes and self.pick(*ways) == "brackets":
            items = [self.value(value, in_list=True)[0] for value in values]
            padded = [self.blanks() + item + self.blanks() for item in items] if many else items[:1]
            return f"[{','.join(padded)}{self.pick('', '', ',')}]", False
        if many or not quotes:
            return ",".join(v.replace(" ", "_") if isinstance(v, str) else self.number(v) for v in values), True
        return self.value(values[0], in_list=False)

    def clause(self, field: str, operator: str, values: list[Any], *, quotes: bool = True) -> Clause:
        sign = self.pick(*SIGNS[operator])
        value, bare = self.operand(values, many=operator in ("in", "notin"), quotes=quotes)
        blank = " " * sign[0].isalpha()
        text = f"{self.pick(*NAMES[field])}{self.blanks()}{blank}{sign}{blank}{self.blanks()}{value}"
        return Clause(field, text, sign, bare)

    def clauses(self, field: str) -> list[Clause]:
        """Conditions on one field, each operator at most once."""
        kind, case = KINDS[field], self.draw(_from_to(0, 9))
        anything = Clause(field, f"{field}{self.blanks()}={self.blanks()}{self.pick('any', '?', '*')}", "=", True)
        if case == 0:
            return [anything]
        if case == 1 and kind != "scaled" and field not in DEFAULTS:
            return [self.clause(field, self.pick("eq", "neq"), [self.pick("None", "null")], quotes=False)]
        operands = self.operands(field)
        chosen = self.draw(_operators(tuple(operands)))
        made = [self.clause(field, operator, operands[operator], quotes=kind != "version") for operator in chosen]
        return [anything, *made] if case == 2 else made

    def operands(self, field: str) -> dict[str, list[Any]]:
        """For each operator, values that one and the same offer meets: no query made of them contradicts itself."""
        kind = KINDS[field]
        if kind == "flag":
            return self.flags(field)
        if kind == "version":
            return self.versions()
        if kind in _several:
            one, *others = self.draw(_several[kind])
            return {"eq": [one], "neq": [others[0]], "in": [*others, one], "notin": [*others, others[0]]}
        found = self.bounds(kind)
        if kind == "scaled":  # the official parser fails at a list of sizes
            found = {operator: found[operator] for operator in ("eq", "neq", *ORDERED)}
        if field in ("gpu_ram", "gpu_total_ram"):  # a whole number of GB is a size as printed here
            found = {operator: v for operator, v in found.items() if operator in ORDERED or v[0] != int(v[0])}
        return found

    def bounds(self, kind: str) -> dict[str, list[Any]]:
        if kind in ("whole", "capability"):
            lowest = 10 if kind == "whole" else 100
            number, step = Decimal(self.draw(_from_to(lowest, 999))), Decimal(self.draw(_from_to(1, 9)))
        else:
            number, step = (Decimal(self.draw(_from_to(low, 99_999))) / 100 for low in (-999, 1))
        above, below = number + step, number - step
        return {
            "eq": [number], "neq": [above], "gt": [below], "gte": [number], "lt": [above], "lte": [number],
            "in": [above, number, below], "notin": [above, below, above],
        }  # fmt: skip

    def versions(self) -> dict[str, list[Any]]:
        major, minor, patch = (self.draw(_from_to(low, high)) for low, high in ((300, 900), (0, 250), (0, 99)))
        above, below = f"{major + 1}.{minor}.{patch}", f"{major - 1}.0{minor % 10}.0"
        one = self.pick(f"{major}.{minor}.{patch:02}", str(major * 1_000_000 + minor * 1000 + patch))
        return {"eq": [one], "neq": [above], "gt": [below], "gte": [one], "lt": [above], "lte": [one]}

    def flags(self, field: str) -> dict[str, list[Any]]:
        one, other = self.pick(*itertools.permutations([("true", "True", "1"), ("false", "False", "0")]))
        found = {"eq": [self.pick(*one)], "neq": [self.pick(*other)]}
        return {"eq": found["eq"]} if field in DEFAULTS else found


@st.composite
def queries(draw: Callable[[Any], Any]) -> tuple[str, list[Clause]]:
    writer, fields = Writer(draw), draw(_fields)
    clauses = [part for field in fields for part in writer.clauses(field)]
    if "verification" in fields and "verified" not in fields:  # else it would replace a default here, and not there
        clauses.append(writer.clause("verified", "eq", ["true"]))
    clauses = draw(st.permutations(clauses))
    gaps = [writer.pick(" ", " ", "  ", ", ") if part.bare else writer.pick(" ", "   ") for part in clauses]
    text = "".join(part.text + gap for part, gap in zip(clauses, gaps, strict=True))
    return writer.blanks() + (text if writer.pick(True, False) else text.rstrip(" ,")), clauses


def test_every_official_field_is_in_the_grammar_of_these_tests() -> None:
    assert set(KINDS) | {"id"} == official.offers_fields


def test_any_query_of_the_common_grammar_gives_the_same_filters() -> None:
    fields: set[str] = set()
    signs: set[str] = set()

    @settings(max_examples=1000, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(queries())
    def agree(made: tuple[str, list[Clause]]) -> None:
        query, clauses = made
        fields.update(part.field for part in clauses)
        signs.update(part.sign for part in clauses)
        assert normal(ours(query)) == normal(theirs(query)), query

    agree()
    assert fields == set(KINDS)
    assert signs == {sign for several in SIGNS.values() for sign in several}


@pytest.mark.campaign
def test_twenty_thousand_queries_give_the_same_filters() -> None:
    @settings(max_examples=20_000, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(queries())
    def agree(made: tuple[str, list[Clause]]) -> None:
        assert normal(ours(made[0])) == normal(theirs(made[0])), made[0]

    agree()
