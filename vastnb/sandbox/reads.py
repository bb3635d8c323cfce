"""What else a renter can read: templates, benchmarks, market metrics, volume offers and SSH keys.

Like the search (see :mod:`answers`), each is a function of a request; the key has been checked before.
"""

from collections.abc import Callable
from typing import Any

from . import benchmarks, filters, metrics, tables, templates
from .books import METRICS, Account, Books
from .clock import Clock
from .filters import BadRequestError
from .market import Market, View, rows
from .replies import Answer, Request, decoded, refusal, reply

VOLUMES_LIMIT = 64
"""Volume offers in one answer if the request does not say; documented."""
VOLUME_FIELDS = (
    "ask_contract_id", "bundle_id", "cpu_arch", "cpu_ghz", "cpu_name", "cuda_max_good", "disk_bw", "disk_name",
    "disk_space", "driver_vers", "driver_version", "duration", "end_date", "external", "geolocation", "geolocode",
    "gpu_arch", "host_id", "id", "inet_down", "inet_up", "machine_id", "mobo_name", "reliability", "reliability2",
    "reliability_mult", "start_date", "static_ip", "storage_cost", "storage_total_cost", "vericode", "verification",
    "vms_enabled",
)  # fmt: skip
"""The documented fields of a volume offer; their types are those of the recorded offers."""
_VOLUME_GB = 1.0
"""What a volume is priced for if the request does not say."""
Handler = Callable[[Request], Answer]


class Reads:
    """The handlers, with what they answer from."""

    def __init__(
        self,
        *,
        market: Market,
        clock: Clock,
        books: Books,
        templates: Callable[[int], list[dict[str, Any]]],
        defaults: str,
    ) -> None:
        self._market, self._clock, self._books, self._defaults = market, clock, books, defaults
        self._templates = templates
        self._metrics: metrics.Metrics | None = None
        self.handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/api/v0/template/"): _checked(self.templates),
            ("GET", "/api/v0/benchmarks/"): _checked(self.benchmarks),
            ("GET", "/api/v0/metrics/gpu/current/"): self._metered("gpus", [], self.gpu_current),
            ("GET", "/api/v0/metrics/gpu/history/"): self._metered("gpus", {}, self.gpu_history),
            ("GET", "/api/v0/metrics/gpu/locations/"): self._metered("locations", [], self.gpu_locations),
            ("POST", "/api/v0/volumes/search/"): _checked(self.volumes),
            ("GET", "/api/v0/ssh/"): self.ssh_keys,
        }

    def templates(self, request: Request) -> Answer:
        """Answer the public templates and the account's own."""
        found = tables.select(self._templates(self._account(request).id), templates.KINDS, request.query)
        shown = tables.columns(found, request.query)
        return reply({"success": True, "templates_found": len(found), "templates": shown})

    def benchmarks(self, request: Request) -> Answer:
        """Answer a page of the benchmarks."""
        found = tables.select(benchmarks.rows(self._market, self._clock.now()), benchmarks.KINDS, request.query)
        page, token = tables.page(found, benchmarks.KINDS, request.query, benchmarks.PAGE_CAP)
        shown = tables.columns(page, request.query)
        return reply({"success": True, "benchmarks_found": len(page), "benchmarks": shown, "next_token": token})

    def gpu_current(self, request: Request) -> Answer:
        """Answer supply, demand and prices of now."""
        chosen = metrics.choice(request.query)
        return reply({"success": True, "gpus": self.metrics.current(self._clock.now(), chosen)})

    def gpu_history(self, request: Request) -> Answer:
        """Answer supply, demand and prices over time."""
        now, query = self._clock.now(), request.query
        chosen, points = metrics.choice(query), metrics.points(query, now, self._market.offers)
        return reply({"success": True, "gpus": self.metrics.history(chosen, metrics.names(query), points)})

    def gpu_locations(self, request: Request) -> Answer:
        """Answer where the machines are."""
        return reply({"success": True, "locations": self.metrics.locations(self._clock.now())})

    def volumes(self, request: Request) -> Answer:
        """Answer a search for volume offers, its filters in the body (or in ``?q=``)."""
        body = decoded(request.query.get("q") or request.body or b"{}")
        if not isinstance(body, dict):
            return refusal(400, "invalid_request", f"Invalid query: {body}, must be dict of conditions")
        view, found = volumes(self._market, body, self._clock.now(), self._defaults)
        limit = VOLUMES_LIMIT if body.get("limit") is None else body["limit"]
        return reply({"offers": volume_rows(view, found[:limit])})

    def ssh_keys(self, request: Request) -> Answer:
        """Answer the account's SSH keys; none is a 404, as documented."""
        keys = self._books.ssh_keys(self._account(request).id)
        return reply(keys) if keys else refusal(404, "not_found", "No SSH keys found for the user.")

    @property
    def metrics(self) -> metrics.Metrics:
        """The market in figures, prepared when first asked for."""
        if self._metrics is None:
            self._metrics = metrics.Metrics(self._market)
        return self._metrics

    def _metered(self, name: str, nothing: Any, handler: Handler) -> Handler:
        """Return a handler of metrics for the accounts that see them; whether renters do is not known for sure."""

        def answer(request: Request) -> Answer:
            allowed, needs_machine, _ = METRICS
            access = self._account(request).metrics
            if access == allowed:
                return _checked(handler)(request)
            if access == needs_machine:
                return reply({"success": True, name: nothing, "needs_machine": True})
            return refusal(403, "not_authorized", "This endpoint needs the permission machine_read")

        return answer

    def _account(self, request: Request) -> Account:
        return self._books.owner(request.key)


def volumes(market: Market, body: dict[str, Any], now: float, defaults: str) -> tuple[View, Any]:
    """Return the view of the volume offers and the rows that a search body finds there, all of them, in order."""
    # By the id of an offer of GPUs nothing is found; that this holds for volumes too is nowhere said.
    body = {"ask_contract_id" if key == "id" else key: tests for key, tests in body.items() if key != "type"}
    query = filters.parse({"allocated_storage": _VOLUME_GB} | body, defaults=defaults)
    return filters.select(market, query, now, "volume")


def volume_rows(view: View, found: Any) -> list[dict[str, Any]]:
    """Return rows of the view of volumes as Vast documents them."""
    offers = [offer | {"external": False} for offer in rows(view, found)]
    return [{name: offer[name] for name in VOLUME_FIELDS} for offer in offers]


def _checked(handler: Handler) -> Handler:
    def answer(request: Request) -> Answer:
        try:
            return handler(request)
        except BadRequestError as bad:
            return reply(bad.body, 400)

    return answer
