"""Every endpoint the client asks: what a repeat would do, where its answer may be kept, and which documented limit it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vastnb.infra.calls import Call, Effect, Keep
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
        return Call(self.name, self.effect, kept, ttl, stale, self.tag, refresh)


_READ, _DISK, _MEMORY = Effect.READ, Keep.DISK, Keep.MEMORY

ENDPOINTS: dict[str, Endpoint] = {
    e.name: e
    for e in (
        Endpoint("search offers", "POST", "/api/v0/bundles/", _READ, _DISK, "offers", "offers", False),
        Endpoint("search asks", "PUT", "/api/v0/search/asks/", _READ, _DISK, "offers", "offers", False),
        Endpoint("gpu names", "GET", "/api/v0/gpu_names/unique/", _READ, _DISK, "catalogue", "catalogue", False),
        Endpoint("show user", "GET", "/api/v0/users/current/", _READ, _MEMORY, "account", "account", True),
    )
}
"""By the name that logs and messages use."""
