"""What an account was charged and what it paid in, as the service tells it: charges, invoices, contracts by label.

The lines are made by the meters (see :mod:`.meters`); here they are summed by contract, cut into pages and described.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from vastnb.sandbox import filters, tables, wire
from vastnb.sandbox.books import MICRO_USD, BillLine, Books
from vastnb.sandbox.replies import Answer, Request, reply

from .engine import Rentals
from .guard import Handler, content, guarded
from .meters import DISK, DOWN, GPU, UP, Line

MOST_CHARGES = 500
"""Contracts in one page of charges; documented."""
_CHARGES, _INVOICES = 100, 60
_DAY_S = 86400
_FIRST_INVOICE_ID = 2_000_001
_TYPES = {"deposit": "credit", "prepay": "reserved", "refund": "refund"}
_ITEMS = (GPU, DISK, DOWN, UP)
_NAMES = {GPU: "GPU", DISK: "Storage", DOWN: "Internet download", UP: "Internet upload"}
_INVOICE_KINDS = {
    "id": "number", "user_id": "number", "when": "number", "paid_on": "number", "amount_cents": "number",
    "is_credit": "bool", "service": "exact",
}  # fmt: skip


class Charged(NamedTuple):
    """A contract that costs money: an instance or a volume."""

    kind: str
    id: int
    start: float
    end: float | None
    label: str | None
    template_id: int | None
    lines: list[Line]


class Statements:
    """The handlers."""

    def __init__(self, *, rentals: Rentals, books: Books) -> None:
        self._rentals, self._books = rentals, books
        self.handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/api/v0/charges/"): guarded(rentals, self.charges),
            ("GET", "/api/v1/invoices/"): guarded(rentals, self.invoices),
            ("GET", "/api/v0/users/me/invoices/"): guarded(rentals, self.old_invoices),
            ("GET", "/api/v0/invoices/"): guarded(rentals, self.search_invoices),
            ("POST", "/api/v0/contracts/fetch/"): guarded(rentals, self.contracts),
        }

    def charges(self, request: Request) -> Answer:
        """Answer what was charged per contract between two days."""
        wanted = _object(request.query, "select_filters")
        days = _range(wanted.get("day"))
        if days is None:
            return reply(
                {"success": False, "msg": "Must provide both 'day' gte and lte filters for instance charges"}, 400
            )
        first, last = int(days[0] // _DAY_S), int(days[1] // _DAY_S)
        rows = [
            {"id": contract.id, "row": _charge(contract, lines, self._rentals.now)}
            for contract in charged(self._rentals, self._books.owner(request.key).id)
            if _wants(wanted.get("type"), contract.kind)
            and (lines := [line for line in contract.lines if first <= line.day <= last])
        ]
        return _paged(rows, request.query, _CHARGES, MOST_CHARGES)

    def invoices(self, request: Request) -> Answer:
        """Answer what was paid in, and what moved between the account and its contracts."""
        wanted = _object(request.query, "select_filters")
        times = _range(wanted.get("when"))
        if times is None:
            nothing = {"count": 0, "total": 0, "results": [], "next_token": None}
            return reply({"success": False, "error": "Invalid date range"} | nothing)
        lines = self._booked(request)
        rows = [
            {"id": number, "row": _invoice(number, line)}
            for number, line in lines
            if times[0] <= int(line.at) <= times[1] and _wants(wanted.get("service"), _service(line))
        ]
        return _paged(rows, request.query, _INVOICES, MOST_CHARGES)

    def search_invoices(self, request: Request) -> Answer:
        """Answer invoices by their fields, as ``search invoices`` asks; the shape is a guess."""
        rows = [
            {
                "amount_cents": round(-line.micro_usd / 10_000),
                "id": number,
                "is_credit": line.micro_usd < 0,
                "paid_on": line.at,
                "service": _service(line),
                "user_id": line.account_id,
                "when": line.at,
            }
            for number, line in self._booked(request)
        ]
        return reply(tables.select(rows, _INVOICE_KINDS, request.query))

    def old_invoices(self, request: Request) -> Answer:
        """Answer charges and payments in one list, as ``show invoices`` asks."""
        account_id, now = self._books.owner(request.key).id, self._rentals.now
        since, until = _time(request.query, "sdate", 0.0), _time(request.query, "edate", now)
        rows = [_payment(number, line) for number, line in self._booked(request) if line.kind == "deposit"]
        if request.query.get("inc_charges", "true").lower() not in ("false", "0"):
            for contract in charged(self._rentals, account_id):
                rows += [_old_charge(contract, line, now) for line in contract.lines]
        rows = [row for row in rows if since <= row["timestamp"] <= until]
        credit = self._rentals.credit_micro_usd(account_id) / MICRO_USD
        total = round(sum(float(row["amount"]) for row in rows if row["type"] == "charge"), 6)
        current = {"charges": total, "service_fee": 0.0, "total": total, "credit": credit}
        return reply({"invoices": sorted(rows, key=lambda row: row["timestamp"]), "current": current})

    def contracts(self, request: Request) -> Answer:
        """Answer which contracts have a label, or are among some ids."""
        body = content(request)
        label, numbers = body.get("label"), body.get("contract_ids") or []
        if not isinstance(numbers, list):
            raise filters.BadRequestError("contract_ids: Input should be a valid list")
        found = [
            {"id": contract.id, "label": contract.label, "type": contract.kind, "start_date": contract.start}
            for contract in charged(self._rentals, self._books.owner(request.key).id)
            if (label is None or contract.label == label) and (not numbers or contract.id in numbers)
        ]
        return reply({"success": True, "contracts": found})

    def _booked(self, request: Request) -> list[tuple[int, BillLine]]:
        """Return the account's own lines of the ledger, each with the number of its invoice."""
        account_id = self._books.owner(request.key).id
        numbered = enumerate(tuple(self._books.ledger), _FIRST_INVOICE_ID)
        return [(number, line) for number, line in numbered if line.account_id == account_id and line.micro_usd]


def charged(rentals: Rentals, account_id: int) -> list[Charged]:
    """Return every contract of an account with what it has cost, oldest first."""
    now = rentals.now
    found = [
        Charged(
            "instance", r.id, r.contract.created_at, r.gone_at, r.label, (r.contract.wish.template or (None,))[0],
            r.meter.lines(now),
        )
        for r in rentals.contracts.all(account_id)
    ]  # fmt: skip
    found += [
        Charged("volume", volume.id, volume.created_at, volume.gone_at, volume.label, None, volume.meter.lines(now))
        for volume in rentals.contracts.volumes_of(account_id)
    ]
    return sorted(found, key=lambda contract: contract.id)


def bill(rentals: Rentals, books: Books, account_id: int) -> list[dict[str, Any]]:
    """Return every line of an account's bill: charges are positive, and all lines together are minus its credit."""
    with rentals.lock:
        rentals.catch_up()
        return _bill(rentals, books, account_id)


def _bill(rentals: Rentals, books: Books, account_id: int) -> list[dict[str, Any]]:
    lines = [
        {"at": line.at, "item": line.kind, "contract_id": line.instance_id, "micro_usd": line.micro_usd}
        for line in tuple(books.ledger)
        if line.account_id == account_id
    ]
    for contract in charged(rentals, account_id):
        lines += [
            {
                "at": float(line.day * _DAY_S),
                "contract_id": contract.id,
                "day": datetime.fromtimestamp(line.day * _DAY_S, UTC).date().isoformat(),
                "item": line.item,
                "micro_usd": line.micro_usd,
                "prepaid": line.prepaid,
                "quantity": line.quantity,
            }
            for line in contract.lines
        ]
    return lines


def _charge(contract: Charged, lines: Iterable[Line], now: float) -> dict[str, Any]:
    lines = list(lines)
    start, end = int(contract.start), int(contract.end if contract.end is not None else now)
    days = len({line.day for line in lines})
    metadata = {"template_id": contract.template_id, "label": contract.label}
    return {
        "start": start,
        "end": end,
        "type": contract.kind,
        "source": f"{contract.kind}-{contract.id}",
        "description": f"{contract.kind.capitalize()} {contract.id} Charges - {days} day{'s' * (days != 1)}",
        "amount": round(sum(line.micro_usd for line in lines) / MICRO_USD, 3),
        "metadata": {name: value for name, value in metadata.items() if value is not None},
        "items": [
            _item(item, found, start, end)
            for item in _ITEMS
            if (found := [line for line in lines if line.item == item])
        ],
    }


def _item(item: str, lines: list[Line], start: int, end: int) -> dict[str, Any]:
    usd, quantity = sum(line.micro_usd for line in lines) / MICRO_USD, sum(line.quantity for line in lines)
    size, unit = (quantity / 3600, "hour") if item in (GPU, DISK) else (quantity, "GB")
    words = "hours" if unit == "hour" else unit
    return {
        "start": start,
        "end": end,
        "type": item,
        "source": None,
        "description": f"{size:.3f} {words} at ${usd / size if size else 0.0:.3f}/{unit}",
        "amount": usd,
        "metadata": {},
        "items": [],
    }


def _service(line: BillLine) -> str:
    return "stripe_payments" if line.kind == "deposit" else "instance_prepay"


def _invoice(number: int, line: BillLine) -> dict[str, Any]:
    text = "Credit" if line.instance_id is None else f"Instance {line.instance_id} {line.kind}"
    return {
        "start": line.at,
        "end": line.at,
        "type": _TYPES[line.kind],
        "source": "stripe" if line.kind == "deposit" else f"instance-{line.instance_id}",
        "description": text,
        "amount": line.micro_usd / MICRO_USD,
        "metadata": {"invoice_id": number, "service": _service(line)},
        "items": [],
    }


def _payment(number: int, line: BillLine) -> dict[str, Any]:
    return {
        "id": number, "type": "payment", "timestamp": line.at, "description": "Credit", "quantity": "", "rate": "",
        "amount": str(-line.micro_usd / MICRO_USD),
    }  # fmt: skip


def _old_charge(contract: Charged, line: Line, now: float) -> dict[str, Any]:
    size = line.quantity / 3600 if line.item in (GPU, DISK) else line.quantity
    return {
        "type": "charge",
        "timestamp": min(now, float((line.day + 1) * _DAY_S)),
        "description": f"{contract.kind.capitalize()} {contract.id} {_NAMES[line.item]}",
        "quantity": f"{size:.3f}",
        "rate": f"{line.micro_usd / MICRO_USD / size if size else 0.0:.4f}",
        "amount": f"{line.micro_usd / MICRO_USD:.6f}",
        "instance_id": contract.id,
    }


def _paged(rows: list[tables.Row], query: Mapping[str, str], usual: int, most: int) -> Answer:
    latest_first = query.get("latest_first", "true").lower() not in ("false", "0")
    order = json.dumps([{"col": "id", "dir": "desc" if latest_first else "asc"}])
    query = {"limit": str(usual), **query, "order_by": order}
    page, token = tables.page(rows[::-1] if latest_first else rows, {"id": "number"}, query, most)
    results = [row["row"] for row in page]
    return reply({"success": True, "count": len(page), "total": len(rows), "next_token": token, "results": results})


def _time(query: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(query.get(name) or default)
    except ValueError:
        raise filters.BadRequestError(f"Error in query parameters: {name} must be a time") from None


def _object(query: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = wire.decode(query.get(name) or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise filters.BadRequestError(f"Error in query parameters: {name} must be an object")
    return found


def _range(tests: Any) -> tuple[float, float] | None:
    """Return the ends of a range of times, ``None`` if one is missing or they are no times."""
    if not isinstance(tests, dict):
        return None
    ends = [tests.get("gte", tests.get("gt")), tests.get("lte", tests.get("lt"))]
    times = [float(end) for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    return (times[0], times[1]) if len(times) == 2 and times[0] <= times[1] else None


def _wants(tests: Any, value: str) -> bool:
    if tests is None:
        return True
    asked = filters.conditions("filter", filters.Field("exact", "filter"), tests)
    return all(filters.compare(one, np.array([value], dtype=object))[0] for one in asked)
