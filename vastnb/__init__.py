"""vastnb: the Vast.ai GPU market in a notebook.

``%load_ext vastnb``, then ``df = %vast search gpu_name=RTX_4090 num_gpus>=2``; or the same as functions: ``vastnb.search(...)``.

Importing this module loads nothing heavy: each public name brings what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vastnb import errors
    from vastnb.api.magics import load_ipython_extension, unload_ipython_extension
    from vastnb.api.widgets import FleetPanel, HealthPanel, LaunchPanel, OfferSelector
    from vastnb.infra.config import Settings
    from vastnb.sandbox import Sandbox
    from vastnb.services import handlers
    from vastnb.services.alerts import alert, alerts, drop_alert
    from vastnb.services.catalogue import show
    from vastnb.services.costs import Quote, cheapest_for, compare, frontier, quote, sensitivity, usd_per_job
    from vastnb.services.events import Event, events, on
    from vastnb.services.health import health
    from vastnb.services.history import history, import_history
    from vastnb.services.instances import Instance, LaunchSpec, audit, instance, instances, launch, rent
    from vastnb.services.instances.keeping import keeps
    from vastnb.services.many import searches
    from vastnb.services.market import market
    from vastnb.services.offers import fields, gpus, search
    from vastnb.services.pictures import plot
    from vastnb.services.sampling import sample
    from vastnb.services.session import use
    from vastnb.services.spending import reconcile, spend
    from vastnb.services.sync import stop_watching, watch
    from vastnb.services.usage import cache_info, calls, clear_cache
    from vastnb.services.webhooks import verify_webhook
    from vastnb.vast.client import Client
    from vastnb.vast.query import parse_query
    from vastnb.version import __version__

__all__ = [
    "Client",
    "Event",
    "FleetPanel",
    "HealthPanel",
    "Instance",
    "LaunchPanel",
    "LaunchSpec",
    "OfferSelector",
    "Quote",
    "Sandbox",
    "Settings",
    "__version__",
    "alert",
    "alerts",
    "audit",
    "cache_info",
    "calls",
    "cheapest_for",
    "clear_cache",
    "compare",
    "drop_alert",
    "errors",
    "events",
    "fields",
    "frontier",
    "gpus",
    "handlers",
    "health",
    "history",
    "import_history",
    "instance",
    "instances",
    "keeps",
    "launch",
    "load_ipython_extension",
    "market",
    "on",
    "parse_query",
    "plot",
    "quote",
    "reconcile",
    "rent",
    "sample",
    "search",
    "searches",
    "sensitivity",
    "show",
    "spend",
    "stop_watching",
    "unload_ipython_extension",
    "usd_per_job",
    "use",
    "verify_webhook",
    "watch",
]

_HOMES = {
    **dict.fromkeys(
        ("Instance", "LaunchSpec", "audit", "instance", "instances", "launch", "rent"), "vastnb.services.instances"
    ),
    **dict.fromkeys(
        ("Quote", "cheapest_for", "compare", "frontier", "quote", "sensitivity", "usd_per_job"), "vastnb.services.costs"
    ),
    "Client": "vastnb.vast.client",
    "LaunchPanel": "vastnb.api.widgets",
    "HealthPanel": "vastnb.api.widgets",
    "OfferSelector": "vastnb.api.widgets",
    "FleetPanel": "vastnb.api.widgets",
    "Sandbox": "vastnb.sandbox",
    "Settings": "vastnb.infra.config",
    "__version__": "vastnb.version",
    **dict.fromkeys(("alert", "alerts", "drop_alert"), "vastnb.services.alerts"),
    **dict.fromkeys(("stop_watching", "watch"), "vastnb.services.sync"),
    "cache_info": "vastnb.services.usage",
    "clear_cache": "vastnb.services.usage",
    "calls": "vastnb.services.usage",
    "Event": "vastnb.services.events",
    "events": "vastnb.services.events",
    "fields": "vastnb.services.offers",
    "gpus": "vastnb.services.offers",
    "health": "vastnb.services.health",
    "history": "vastnb.services.history",
    "import_history": "vastnb.services.history",
    "keeps": "vastnb.services.instances.keeping",
    "load_ipython_extension": "vastnb.api.magics",
    "market": "vastnb.services.market",
    "on": "vastnb.services.events",
    "parse_query": "vastnb.vast.query",
    "plot": "vastnb.services.pictures",
    "reconcile": "vastnb.services.spending",
    "sample": "vastnb.services.sampling",
    "search": "vastnb.services.offers",
    "searches": "vastnb.services.many",
    "show": "vastnb.services.catalogue",
    "spend": "vastnb.services.spending",
    "unload_ipython_extension": "vastnb.api.magics",
    "use": "vastnb.services.session",
    "verify_webhook": "vastnb.services.webhooks",
}
_MODULES = {"errors": "vastnb.errors", "handlers": "vastnb.services.handlers"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'vastnb' has no attribute {name!r}{_meant(name)}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def _meant(name: str) -> str:
    """What to use instead; what Python and IPython probe for is nobody's guess."""
    if name.startswith("_"):
        return ""
    from vastnb.api.commands.meant import name_hint

    hint = name_hint(name, __all__)
    return f"; {hint}" if hint else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
