"""The requests that rent, change and end machines, and those that show them; each as a function of a request.

Who may ask has been checked before. A machine of another account is one that does not exist.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from vastnb.sandbox import tables
from vastnb.sandbox.books import MICRO_USD, Books
from vastnb.sandbox.faults import Faults
from vastnb.sandbox.market import View
from vastnb.sandbox.replies import Answer, Request, decoded, refusal, reply

from . import terms, volumes
from .engine import Rentals
from .guard import Handler, content, guarded
from .rental import Rental
from .rows import KINDS, filterable
from .terms import RefusedError, Wish, bad

PAGE_CAP = 25
"""Instances in one page; documented."""
_PAGE_IF_NONE = 5
"""Documented for a limit of 0 and below."""
_GONE = "Instance with that ID does not exist."
_DISCOUNTS = ((3.0, 0.3), (1.0, 0.2))
"""Months prepaid, and the share of the GPU's price that is given for it; from the help of the official client."""


class Desk:
    """The handlers."""

    def __init__(
        self,
        *,
        rentals: Rentals,
        books: Books,
        faults: Faults,
        select: Callable[[Any], tuple[View, Any]],
        template: Callable[[Any], Mapping[str, Any] | None],
    ) -> None:
        self._rentals, self._books, self._faults, self._select = rentals, books, faults, select
        self._template = template
        self.handlers: dict[tuple[str, str], Handler] = {
            (method, path): guarded(rentals, handler)
            for method, path, handler in (
                ("PUT", "/api/v0/asks/{id}/", self.create),
                ("POST", "/api/v0/asks/bulk/", self.create_many),
                ("PUT", "/api/v0/launch_instance/", self.launch),
                ("GET", "/api/v1/instances/", self.instances),
                ("GET", "/api/v0/instances/{id}/", self.instance),
                ("GET", "/api/v0/instances/filters/", self.instance_filters),
                ("PUT", "/api/v0/instances/{id}/", self.manage),
                ("PUT", "/api/v0/instances/", self.manage_many),
                ("POST", "/api/v0/instances/start/", self.start_many),
                ("DELETE", "/api/v0/instances/{id}/", self.destroy),
                ("DELETE", "/api/v0/instances/", self.destroy_many),
                ("PUT", "/api/v0/instances/reboot/{id}/", self.reboot),
                ("PUT", "/api/v0/instances/recycle/{id}/", self.recycle),
                ("PUT", "/api/v0/instances/bid_price/{id}/", self.change_bid),
                ("PUT", "/api/v0/instances/prepay/{id}/", self.prepay),
                ("GET", "/api/v0/instances/balance/{id}/", self.deposit),
            )
        }

    # --- rent

    def create(self, request: Request) -> Answer:
        """Rent an offer."""
        return self._create_as(request.last_part, decoded(request.body), request)

    def create_many(self, request: Request) -> Answer:
        """Rent several offers with one body; the shape of the answer is a guess."""
        body = content(request)
        made = [guarded(self._rentals, partial(self._create_as, str(one), body))(request) for one in _ids(body, "ids")]
        answers = [decoded(answer.body) for answer in made]
        created = [answer["new_contract"] for answer in answers if "new_contract" in answer]
        success = all(answer["success"] for answer in answers)
        return reply({"success": success, "new_contracts": created, "results": answers})

    def launch(self, request: Request) -> Answer:
        """Rent the best offer of a search."""
        body = content(request)
        query = body.get("q")
        if not isinstance(query, dict):
            raise bad("Invalid args: q must be a search")
        view, found = self._select(query)
        if not len(found):
            raise RefusedError(404, "no_such_ask", "No offers found that match the search.")
        return self._create_as(str(view["id"][found[0]]), body, request)

    def _create_as(self, ask_id: str, body: Any, request: Request) -> Answer:
        account, rentals = self._books.owner(request.key), self._rentals
        if not ask_id.isdecimal():
            raise bad("error 400/3467: Invalid args: 'id' is required and must be a valid offer ID")
        number = int(ask_id)
        wish = terms.wish(body, self._template)
        slot = self._rentable(number, wish)
        rentals.till.check_credit(account.id, rentals.now)
        volume_id = self._volume(account.id, wish, slot)
        fault = self._faults.take_rented(request.method, request.path)
        wreck = "insufficient-bid" in fault
        rental = rentals.create(
            account,
            slot,
            replace(wish, wants_running=False) if wreck else wish,
            volume_id=volume_id,
            lag_s=fault.get("listing-lag", {}).get("seconds"),
            stuck="stuck-loading" in fault,
        )
        if wreck or (wish.wants_running and not rental.holds):
            return self._unavailable(rental, keep=wreck or not wish.cancel_unavail)
        answer = {"success": True, "new_contract": rental.id, "instance_api_key": rental.contract.api_key}
        return reply(answer)

    def _rentable(self, ask_id: int, wish: Wish) -> int:
        """Return the slot of an offer that can be rented now."""
        market, now = self._rentals.market, self._rentals.now
        slot = market.slot(ask_id, now)
        offer = None if slot is None else market.offer(slot, now, wish.disk_gb, "on-demand")
        if slot is None or offer is None:
            raise _unknown(ask_id)
        if not offer["rentable"]:
            raise _unknown(ask_id) if market.taken.isdisjoint(offer["gpu_ids"]) else _taken(ask_id)
        if wish.disk_gb > offer["disk_space"]:
            raise bad(f"Invalid args: disk must be at most {offer['disk_space']:g} GB", ask_id=ask_id)
        return slot

    def _volume(self, account_id: int, wish: Wish, slot: int) -> int | None:
        """Return the volume that a wish wants linked, perhaps a new one; it must be on the machine of the slot."""
        rentals, info = self._rentals, wish.volume
        if info is None:
            return None
        machine_id = int(rentals.market.layout.machines["machine_id"][rentals.market.layout.slots["machine"][slot]])
        if info.get("create_new"):
            offer = volumes.offer(rentals.market, info["volume_id"], info.get("size"), rentals.now)
        else:
            linked = rentals.contracts.volumes.get(info["volume_id"])
            if linked is None or linked.account_id != account_id or linked.gone_at is not None:
                raise RefusedError(404, "no_such_volume", "Volume with that ID does not exist.")
            offer = dict(linked.offer)
        if offer["machine_id"] != machine_id:
            raise bad("Invalid args: the volume is on another machine than the offer")
        if not info.get("create_new"):
            return int(info["volume_id"])
        return rentals.add_volume(account_id, offer, info.get("size"), info.get("name")).id

    def _unavailable(self, rental: Rental, *, keep: bool) -> Answer:
        """Answer a rental that cannot run now: undone, or kept as a stopped one that bills its disk."""
        ask_id = int(rental.contract.offer["id"])
        if not keep:
            self._rentals.forget(rental)
            if (rental.contract.wish.volume or {}).get("create_new"):
                self._rentals.end_volume(self._rentals.contracts.volumes[rental.contract.volume_id or 0])
            raise _taken(ask_id)
        msg = "Your bid is below the minimum bid; the instance is stopped until it is not."
        return reply(
            {"success": False, "error": "insufficient_bid", "msg": msg, "new_contract": rental.id, "ask_id": ask_id}
        )

    # --- show

    def instances(self, request: Request) -> Answer:
        """Answer a page of the list."""
        listed = {rental.id: rental for rental in self._own(request) if rental.listed_at <= self._rentals.now}
        found = tables.select([filterable(rental) for rental in listed.values()], KINDS, request.query)
        page, token = tables.page(found, KINDS, _limited(request.query), PAGE_CAP)
        counts = Counter(row["label"] or "" for row in found)
        return reply(
            {
                "success": True,
                "instances_found": len(page),
                "total_instances": len(found),
                "label_counts": dict(sorted(counts.items())),
                "next_token": token,
                "instances": tables.columns([self._rentals.row(listed[row["id"]]) for row in page], request.query),
            }
        )

    def instance(self, request: Request) -> Answer:
        """Answer one machine, null for one that is gone or never was."""
        number = request.last_part
        rental = self._find(request, int(number)) if number.isdecimal() else None
        row = None if rental is None else self._rentals.row(rental)
        # Observed: which volumes are linked is told by the list alone.
        return reply({"instances": row and {name: value for name, value in row.items() if name != "volume_info"}})

    def instance_filters(self, request: Request) -> Answer:
        """Answer what instances can be filtered by: the combinations that there are."""
        names = ("actual_status", "verification", "gpu_name")
        rows = {tuple(filterable(rental)[name] for name in names) for rental in self._own(request)}
        filters = [dict(zip(names, row, strict=True)) for row in sorted(rows, key=str)]
        return reply({"success": True, "filters": filters})

    # --- change

    def manage(self, request: Request) -> Answer:
        """Start, stop or label a machine."""
        body = content(request)
        rental = self._wanted(request)
        state = body.get("state")
        if state not in (None, "running", "stopped") or (state is None and "label" not in body):
            raise bad("Invalid args: expected a state (running or stopped) or a label")
        if "label" in body:
            rental.label = terms.label(body["label"])
        return self._answered(self._set_state([rental], state)) if state else reply({"success": True})

    def manage_many(self, request: Request) -> Answer:
        """Start or stop several machines."""
        body = content(request)
        state = body.get("state")
        if state not in ("running", "stopped"):
            raise bad("Invalid args: expected a state, running or stopped")
        return self._answered(self._set_state(self._all_wanted(request, _ids(body, "ids")), state))

    def start_many(self, request: Request) -> Answer:
        """Start several machines: the documented form of its own."""
        return self._answered(self._set_state(self._all_wanted(request, _ids(content(request), "ids")), "running"))

    def _set_state(self, rentals: Iterable[Rental], state: str) -> list[Rental]:
        """Start or stop machines, and return those that could not have their GPUs."""
        if state == "running":
            return [rental for rental in rentals if not self._rentals.start(rental)]
        for rental in rentals:
            self._rentals.stop(rental)
        return []

    @staticmethod
    def _answered(queued: list[Rental]) -> Answer:
        if not queued:
            return reply({"success": True})
        return refusal(
            200, "resources_unavailable", "Required resources are currently unavailable, state change queued"
        )

    def destroy(self, request: Request) -> Answer:
        """End a machine and its disk."""
        self._rentals.destroy(self._wanted(request))
        return reply({"success": True})

    def destroy_many(self, request: Request) -> Answer:
        """End several machines."""
        for rental in self._all_wanted(request, _ids(content(request), "instance_ids")):
            self._rentals.destroy(rental)
        return reply({"success": True})

    def reboot(self, request: Request) -> Answer:
        """Restart a container."""
        self._rentals.restart(self._wanted(request), "rebooting")
        return reply({"success": True})

    def recycle(self, request: Request) -> Answer:
        """Make a container anew."""
        self._rentals.restart(self._wanted(request), "recycling")
        return reply({"success": True})

    def change_bid(self, request: Request) -> Answer:
        """Bid anew; without a price a winning one is bid."""
        price = content(request).get("price")
        self._rentals.set_bid(self._wanted(request), None if price is None else terms.bid(price))
        return reply({"success": True})

    def prepay(self, request: Request) -> Answer:
        """Move credit into a machine, which lowers its price."""
        amount, rental = content(request).get("amount"), self._wanted(request)
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not amount > 0:
            raise bad("Invalid args: amount must be above 0")
        micro_usd = round(amount * MICRO_USD)
        if micro_usd > self._rentals.credit_micro_usd(rental.contract.account_id):
            return reply({"success": False, "msg": "Insufficient credit"}, 411)
        months = amount / (rental.usd_per_hour * 720)
        allowed = float(rental.contract.offer["credit_discount_max"])
        discount = min(allowed, next((share for least, share in _DISCOUNTS if months >= least), 0.0))
        self._rentals.till.prepay(rental, micro_usd, discount, self._rentals.now)
        return reply({"success": True, "timescale": months, "discount_rate": discount})

    def deposit(self, request: Request) -> Answer:
        """Answer what is left of what was prepaid."""
        rental = self._wanted(request)
        left = rental.deposit_left_micro_usd(self._rentals.now)
        months = left / MICRO_USD / (rental.usd_per_hour * 720)
        return reply(
            {
                "success": True,
                "refundable_deposit": left / MICRO_USD,
                "total_discount": rental.discount,
                "discount_months": int(months),
            }
        )

    # --- small parts

    def _own(self, request: Request) -> list[Rental]:
        return self._rentals.contracts.living(self._books.owner(request.key).id)

    def _find(self, request: Request, number: int) -> Rental | None:
        return self._rentals.contracts.find(number, self._books.owner(request.key).id)

    def _wanted(self, request: Request) -> Rental:
        number = request.last_part
        if not number.isdecimal():
            raise bad("invalid instance_id")
        return self._all_wanted(request, [int(number)])[0]

    def _all_wanted(self, request: Request, numbers: list[int]) -> list[Rental]:
        found = [self._find(request, number) for number in numbers]
        if None in found:
            raise RefusedError(404, "no_such_instance", _GONE)
        return [rental for rental in found if rental is not None]


def _unknown(ask_id: int) -> RefusedError:
    msg = f"error 404/3603: no_such_ask Instance type by id {ask_id} is not available."
    return RefusedError(404, "invalid_args", msg, ask_id=ask_id)


def _taken(ask_id: int) -> RefusedError:
    msg = f"error 410/3907: no_such_ask Instance type {ask_id} is no longer available."
    return RefusedError(410, "no_such_ask", msg, ask_id=ask_id)


def _ids(body: Mapping[str, Any], name: str) -> list[int]:
    numbers = body.get(name)
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
        raise bad(f"Invalid args: {name} must be a list of ids")
    return numbers


def _limited(query: Mapping[str, str]) -> dict[str, str]:
    """Return a query whose limit counts as documented."""
    limit = tables.integer(query, "limit")
    return dict(query) if limit is None else {**query, "limit": str(limit if limit > 0 else _PAGE_IF_NONE)}
