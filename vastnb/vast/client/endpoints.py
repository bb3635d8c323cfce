"""Every endpoint the client asks: what a repeat would do, where its answer may be kept, and which documented limit it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vastnb.infra.calls import Call, Effect, Keep, Limit
from vastnb.infra.config import CacheSettings

__all__ = ["ENDPOINTS", "Endpoint"]

Freshness = Literal["offers", "catalogue", "account", "never"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table."""

    name: str
    method: str
    path: str
    effect: Effect
    keep: Keep
    freshness: Freshness
    tag: str
    account: bool
    """Whether it needs a key, and so needs it said where this notebook runs."""
    limits: tuple[Limit, ...]
    """Documented, or recorded: so many requests in so many seconds."""
    bucket: str = ""
    """What it shares its limits with; its own name if empty."""

    def call(self, cache: CacheSettings, *, refresh: bool = False) -> Call:
        """How a request to it is cached and repeated under these settings."""
        ttl = {
            "offers": cache.offers_ttl_s,
            "catalogue": cache.catalogue_ttl_s,
            "account": cache.account_ttl_s,
            "never": 0.0,
        }[self.freshness]
        kept = Keep.NOWHERE if cache.backend == "off" else self.keep
        stale = cache.stale_if_error_s if kept is Keep.DISK else 0.0
        return Call(self.bucket or self.name, self.effect, kept, ttl, stale, self.tag, refresh, self.limits)


_READ, _DISK, _MEMORY, _NOWHERE = Effect.READ, Keep.DISK, Keep.MEMORY, Keep.NOWHERE
_SAME, _PAYS = Effect.IDEMPOTENT, Effect.UNSAFE
_QUICK: tuple[Limit, ...] = ((1, 1.0),)
_SLOW: tuple[Limit, ...] = ((1, 3.0),)
_SEARCH: tuple[Limit, ...] = ((5, 10.0), (10, 60.0))
"""Recorded in 2026 as 5 in 10 s; documented as 10 a minute."""

ENDPOINTS: dict[str, Endpoint] = {
    e.name: e
    for e in (
        Endpoint("search offers", "POST", "/api/v0/bundles/", _READ, _DISK, "offers", "offers", False, _SEARCH),
        Endpoint("search asks", "PUT", "/api/v0/search/asks/", _READ, _DISK, "offers", "offers", False, _SEARCH,
                 "search offers"),
        Endpoint("volumes", "POST", "/api/v0/volumes/search/", _READ, _DISK, "offers", "offers", True, ((1, 5.5),)),
        Endpoint("gpu names", "GET", "/api/v0/gpu_names/unique/", _READ, _DISK, "catalogue", "catalogue", False, _QUICK),
        Endpoint("templates", "GET", "/api/v0/template/", _READ, _DISK, "catalogue", "catalogue", True, _SLOW),
        Endpoint("benchmarks", "GET", "/api/v0/benchmarks/", _READ, _DISK, "catalogue", "catalogue", True, _SLOW),
        Endpoint("metrics", "GET", "/api/v0/metrics/gpu/current/", _READ, _DISK, "catalogue", "catalogue", True, _SLOW),
        Endpoint("trends", "GET", "/api/v0/metrics/gpu/history/", _READ, _DISK, "catalogue", "catalogue", True, _SLOW),
        Endpoint("locations", "GET", "/api/v0/metrics/gpu/locations/", _READ, _DISK, "catalogue", "catalogue", True, _SLOW),
        Endpoint("ssh-keys", "GET", "/api/v0/ssh/", _READ, _MEMORY, "account", "account", True, _QUICK),
        Endpoint("user", "GET", "/api/v0/users/current/", _READ, _MEMORY, "account", "account", True, _QUICK),
        Endpoint("api keys", "GET", "/api/v0/auth/apikeys/", _READ, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("instances", "GET", "/api/v1/instances/", _READ, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("instance", "GET", "/api/v0/instances/{id}/", _READ, _NOWHERE, "never", "account", True, ((1, 2.0),)),
        Endpoint("charges", "GET", "/api/v0/charges/", _READ, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("own volumes", "GET", "/api/v0/volumes/", _READ, _NOWHERE, "never", "account", True, ((1, 5.5),)),
        Endpoint("create", "PUT", "/api/v0/asks/{id}/", _PAYS, _NOWHERE, "never", "account", True, ((1, 4.5),)),
        Endpoint("manage", "PUT", "/api/v0/instances/{id}/", _SAME, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("bid", "PUT", "/api/v0/instances/bid_price/{id}/", _SAME, _NOWHERE, "never", "account", True, ((1, 5.5),)),
        Endpoint("reboot", "PUT", "/api/v0/instances/reboot/{id}/", _PAYS, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("destroy", "DELETE", "/api/v0/instances/{id}/", _SAME, _NOWHERE, "never", "account", True, _SLOW),
        Endpoint("request logs", "PUT", "/api/v0/instances/request_logs/{id}/", _SAME, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("create ssh-key", "POST", "/api/v0/ssh/", _PAYS, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("attach ssh-key", "POST", "/api/v0/instances/{id}/ssh/", _SAME, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("notification types", "GET", "/api/v0/notification-types/", _READ, _MEMORY, "account", "account", True, _QUICK),
        Endpoint("webhooks", "GET", "/api/v0/webhooks/", _READ, _MEMORY, "account", "account", True, _QUICK),
        Endpoint("create webhook", "POST", "/api/v0/webhooks/", _PAYS, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("update webhook", "PUT", "/api/v0/webhooks/{id}/", _SAME, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("delete webhook", "DELETE", "/api/v0/webhooks/{id}/", _SAME, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("rotate webhook secret", "POST", "/api/v0/webhooks/{id}/rotate-secret/", _PAYS, _NOWHERE, "never", "account", True, _QUICK),
        Endpoint("test webhook", "POST", "/api/v0/webhooks/{id}/test/", _PAYS, _NOWHERE, "never", "account", True, _QUICK),
    )
}  # fmt: skip
"""By the name that logs and messages use."""
