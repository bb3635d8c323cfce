"""What the sandbox answers: each served endpoint as a function of a request, without any socket.

1. the key is checked (:meth:`Service.refuse`);
2. the endpoint's handler makes an :class:`Answer`;
3. anything else is the console's HTML page, as on the real service.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import filters, market, oddities
from .books import Books
from .clock import Clock
from .endpoints import Endpoint
from .faults import Faults
from .keys import Keys
from .logs import Logs
from .models import MODELS
from .reads import Reads
from .rentals import Backend, Desk, Rentals, Statements, VolumeDesk
from .replies import Answer, Request, console_page, decoded, refusal, reply
from .shelf import Shelf
from .uploads import FOLDER, Uploads
from .webhooks import Notices

_CONTAINERS = frozenset({("GET", "/api/v0/instances/{id}/"), ("PUT", "/api/v0/instances/{id}/"),
                         ("DELETE", "/api/v0/instances/{id}/")})  # fmt: skip
"""What the key of a container may ask, about its own machine."""
_PUBLIC = frozenset({"/api/v0/bundles/", "/api/v0/search/asks/", "/api/v0/gpu_names/unique/", "/api/v0/gpu_types/"})
"""What works without a key."""


class Service:
    """The handlers, with what they answer from."""

    def __init__(
        self,
        *,
        market: market.Market,
        clock: Clock,
        books: Books,
        faults: Faults,
        rentals: Rentals,
        page_cap: int,
        defaults: str,
        machines: Backend | None = None,
        url: Callable[[], str] = str,
        notices: Notices | None = None,
    ) -> None:
        self.market, self.clock, self.books, self.faults, self.rentals = market, clock, books, faults, rentals
        self.page_cap, self.defaults = page_cap, defaults
        self.uploads = Uploads(clock=clock, url=url)
        shelf = Shelf(books=books, clock=clock)
        self.handlers: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", "/api/v0/bundles/"): self.bundles,
            ("GET", "/api/v0/bundles/"): self.bundles,
            ("PUT", "/api/v0/search/asks/"): self.search_asks,
            ("GET", "/api/v0/gpu_names/unique/"): self.gpu_names,
            ("GET", "/api/v0/gpu_types/"): self.gpu_types,
            ("GET", "/api/v0/users/current/"): self.current_user,
            ("GET", "/api/v0/instances/"): self.deprecated_instances,
            **Reads(market=market, clock=clock, books=books, templates=shelf.rows, defaults=defaults).handlers,
            **shelf.handlers,
            **Statements(rentals=rentals, books=books).handlers,
            **VolumeDesk(rentals=rentals, books=books).handlers,
            **Keys(rentals=rentals, books=books, clock=clock, machines=machines).handlers,
            **Logs(rentals=rentals, books=books, uploads=self.uploads, machines=machines).handlers,
            **(notices or Notices(rentals=rentals, books=books)).handlers,
            **Desk(rentals=rentals, books=books, faults=faults, select=self._select, template=shelf.find).handlers,
        }

    def answer(self, endpoint: Endpoint | None, request: Request) -> Answer:
        """Return the answer to a request."""
        if request.method == "GET" and request.path.startswith(FOLDER):
            return self.uploads.fetch(request)
        handler = self.handlers.get((endpoint.method, endpoint.path)) if endpoint else None
        if endpoint is None or handler is None:
            return console_page()
        return self.refuse(endpoint, request) or handler(request)

    def refuse(self, endpoint: Endpoint, request: Request) -> Answer | None:
        """Return why the key of a request does not do, or ``None``."""
        if request.key is None:
            return None if endpoint.path in _PUBLIC else refusal(401, "auth_error", "Invalid user key")
        instance = self.books.instance_of(request.key)
        if instance is not None:
            own = (endpoint.method, endpoint.path) in _CONTAINERS and request.last_part == str(instance)
            return None if own else refusal(403, "not_authorized", "Your key is not authorized for this action")
        # Observed on every path, search included: a key that is sent must be right.
        return None if self.books.account(request.key) else refusal(404, "auth_error", "Invalid user key")

    def bundles(self, request: Request) -> Answer:
        """Answer a search with the filters at the top level (or in ``?q=``, as old clients send them)."""
        body = request.query.get("q", "{}") if request.method == "GET" else request.body
        return self._search(request, decoded(body))

    def search_asks(self, request: Request) -> Answer:
        """Answer a search in the form ``{"select_cols": [...], "q": {...}}``."""
        body = decoded(request.body)
        if not isinstance(body, dict) or not isinstance(body.get("q"), dict):
            return reply(filters.BadRequestError("Invalid json body").body, 400)
        return self._search(request, body["q"], body.get("select_cols"))

    def gpu_names(self, request: Request) -> Answer:
        """Answer the names of all GPU models."""
        return reply({"success": True, "gpu_names": sorted(model.name for model in MODELS)})

    def gpu_types(self, request: Request) -> Answer:
        """Answer the GPU models with their usual memory."""
        types = [{"canonical_name": model.name, "gpu_ram_mb": model.gpu_ram_mb[0][0]} for model in MODELS]
        return reply({"success": True, "gpu_types": types})

    def current_user(self, request: Request) -> Answer:
        """Answer the account of the key."""
        self.rentals.advance()
        return reply(self.books.user(self.books.owner(request.key)))

    def deprecated_instances(self, request: Request) -> Answer:
        """Answer the old list as Vast does since 2026."""
        return refusal(410, "deprecated_endpoint", "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead.")

    def _select(self, body: Any) -> tuple[market.View, Any]:
        query = filters.parse(body, defaults=self.defaults)
        return filters.select(self.market, query, self.clock.now())

    def _search(self, request: Request, body: Any, columns: Any = None) -> Answer:
        try:
            view, found = self._select(body)
        except filters.BadRequestError as bad:
            return reply(bad.body, 400)
        limit = body.get("limit")
        page = found[: self.page_cap if limit is None else min(limit, self.page_cap)]
        offers = [_selected(offer, columns) for offer in market.rows(view, page)]
        return self._odd(request, oddities.Search(offers, lambda count: _others(view, found, count)))

    def _odd(self, request: Request, search: oddities.Search) -> Answer:
        faults = self.faults.take_offers(request.method, request.path)
        answer = reply(oddities.apply(faults, search) if faults else {"offers": search.offers})
        if any(fault.name == "trailing-text" for fault in faults):
            return Answer(200, answer.body + oddities.TRAILING_TEXT)
        return answer


def offers(market_: market.Market, body: Any, now: float, defaults: str) -> list[dict[str, Any]]:
    """Return every offer that a search body asks for, in order, whatever its limit or the page cap."""
    return market.rows(*filters.select(market_, filters.parse(body, defaults=defaults), now))


def _selected(offer: dict[str, Any], columns: Any) -> dict[str, Any]:
    if not isinstance(columns, list) or "*" in columns:
        return offer
    return {str(name): offer.get(str(name)) for name in columns}


def _others(view: market.View, found: Any, count: int) -> list[dict[str, Any]]:
    return market.rows(view, np.setdiff1d(np.arange(len(view)), found)[:count])
