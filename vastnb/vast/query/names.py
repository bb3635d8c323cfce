"""Names that queries use and that Vast does not spell out: GPU models, countries, regions.

Written from figures of the market; none of the lists limits what can be asked: a new GPU model or country passes with a note.
"""

from __future__ import annotations

import difflib
import re

__all__ = [
    "COUNTRY_NAMES",
    "GPU_NAMES",
    "REGIONS",
    "country_code",
    "gpu_canonical",
    "gpu_suggestions",
    "region_codes",
]

GPU_NAMES: tuple[str, ...] = tuple(
    """A10|A10g|A16|A30|A40|A100 PCIE|A100 SXM4|A100X|A800 PCIE|B200|B300|B300 SXM6 AC|GH200 SXM|GTX 1050|GTX 1050 Ti|GTX 1060
    |GTX 1070|GTX 1070 Ti|GTX 1080|GTX 1080 Ti|GTX 1650|GTX 1650 S|GTX 1650 Ti|GTX 1660|GTX 1660 S|GTX 1660 Ti|H100 NVL|H100 PCIE
    |H100 SXM|H200|H200 NVL|InstinctMI250X|InstinctMI300X|L4|L40|L40S|P106-100|Q RTX 4000|Q RTX 5000|Q RTX 6000|Q RTX 8000
    |Quadro K2200|Quadro P2000|Quadro P4000|Radeon Pro VII|Radeon VII|RTX 2060|RTX 2060S|RTX 2070|RTX 2070S|RTX 2080|RTX 2080S
    |RTX 2080 Ti|RTX 3050|RTX 3060|RTX 3060 Ti|RTX 3060 laptop|RTX 3070|RTX 3070 Ti|RTX 3070 laptop|RTX 3080|RTX 3080 Ti|RTX 3090
    |RTX 3090 Ti|RTX 4000Ada|RTX 4060|RTX 4060 Ti|RTX 4060 laptop|RTX 4070|RTX 4070 Ti|RTX 4070 laptop|RTX 4070S|RTX 4070S Ti
    |RTX 4080|RTX 4080S|RTX 4090|RTX 4090D|RTX 4500Ada|RTX 5000Ada|RTX 5060|RTX 5060 Ti|RTX 5070|RTX 5070 Ti|RTX 5080|RTX 5090
    |RTX 5880Ada|RTX 6000Ada|RTX A2000|RTX A4000|RTX A4500|RTX A5000|RTX A6000|RTX PRO 4000|RTX PRO 4500|RTX PRO 5000|RTX PRO 6000 S
    |RTX PRO 6000 WS|RX 6800|RX 7900 XTX|Tesla K80|Tesla M40|Tesla P4|Tesla P40|Tesla P100|Tesla T4|Tesla V100|Titan RTX|Titan V
    |Titan Xp""".replace("\n", "")
    .replace("    ", "")
    .split("|")
)
"""GPU models seen on the market, as Vast writes them."""

_REGION_CODES = {
    "AF": "DZ AO BJ BW BF BI CM CV CF TD KM CG CD CI DJ EG GQ ER SZ ET GA GM GH GN GW KE LS LR LY MG MW ML MR MU MA MZ NA NE NG RW ST"
    " SN SC SL SO ZA SS SD TZ TG TN UG ZM ZW RE",
    "AS": "AF AM AZ BH BD BT BN KH CN CY GE HK IN ID IR IQ IL JP JO KZ KW KG LA LB MO MY MV MN MM NP KP OM PK PS PH QA SA SG KR LK SY"
    " TW TJ TH TL TR TM AE UZ VN YE",
    "EU": "AL AD AT BY BE BA BG HR CZ DK EE FI FR DE GI GR GG HU IS IE IM IT JE XK LV LI LT LU MT MD MC ME NL MK NO PL PT RO RU SM RS"
    " SK SI ES SE CH UA GB VA",
    "NA": "US CA GL BM",
    "LA": "AG AR BS BB BZ BO BR CL CO CR CU DM DO EC SV GD GT GY HT HN JM MX NI PA PY PE PR KN LC VC SR TT UY VE",
    "OC": "AU FJ KI MH FM NR NZ NC PF PG PW WS SB TO TV VU GU",
}
REGIONS: dict[str, tuple[str, ...]] = {region: tuple(codes.split()) for region, codes in _REGION_CODES.items()}
"""Countries of a region: AF Africa, AS Asia, EU Europe, NA northern America, LA Latin America, OC Oceania."""

_REGION_ALSO = {
    "LC": "LA", "AFRICA": "AF", "ASIA": "AS", "EUROPE": "EU", "NORTH AMERICA": "NA", "LATIN AMERICA": "LA", "SOUTH AMERICA": "LA",
    "OCEANIA": "OC",
}  # fmt: skip
"""As the official SDK and people call them."""

COUNTRY_NAMES: dict[str, str] = {
    "argentina": "AR", "australia": "AU", "austria": "AT", "belgium": "BE", "brazil": "BR", "bulgaria": "BG", "canada": "CA",
    "chile": "CL", "china": "CN", "croatia": "HR", "czechia": "CZ", "denmark": "DK", "england": "GB", "estonia": "EE",
    "finland": "FI", "france": "FR", "germany": "DE", "greece": "GR", "hong kong": "HK", "hungary": "HU", "iceland": "IS",
    "india": "IN", "indonesia": "ID", "ireland": "IE", "israel": "IL", "italy": "IT", "japan": "JP", "kazakhstan": "KZ",
    "korea": "KR", "south korea": "KR", "latvia": "LV", "lithuania": "LT", "malaysia": "MY", "mexico": "MX", "netherlands": "NL",
    "the netherlands": "NL", "new zealand": "NZ", "norway": "NO", "poland": "PL", "portugal": "PT", "romania": "RO", "russia": "RU",
    "serbia": "RS", "singapore": "SG", "slovakia": "SK", "slovenia": "SI", "south africa": "ZA", "spain": "ES", "sweden": "SE",
    "switzerland": "CH", "taiwan": "TW", "thailand": "TH", "turkey": "TR", "uae": "AE", "uk": "GB", "ukraine": "UA",
    "united kingdom": "GB", "united states": "US", "usa": "US", "vietnam": "VN",
}  # fmt: skip
"""Names that people write, for the hint: the service knows two-letter codes only."""


def country_code(value: str) -> str | None:
    """The two-letter code that `value` is, or None."""
    return value.upper() if re.fullmatch(r"[A-Za-z]{2}", value) else None


def region_codes(value: str) -> tuple[str, ...]:
    """The countries of the region that `value` names, empty if it names none."""
    name = value.upper().replace("_", " ")
    return REGIONS.get(_REGION_ALSO.get(name, name), ())


def _squeezed(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()


_CANONICAL = {_squeezed(name): name for name in GPU_NAMES}


def gpu_canonical(name: str) -> str | None:
    """The model as Vast writes it (``rtx4090`` is ``RTX 4090``), or None if it is not one we have seen."""
    return _CANONICAL.get(_squeezed(name))


def gpu_suggestions(name: str) -> list[str]:
    """Models that `name` may have meant, the likeliest first; at most four."""
    squeezed = _squeezed(name)
    inside = [known for key, known in _CANONICAL.items() if squeezed and squeezed in key]
    near = difflib.get_close_matches(squeezed, list(_CANONICAL), 4, 0.6)
    return list(dict.fromkeys([*inside, *(_CANONICAL[key] for key in near)]))[:4]
