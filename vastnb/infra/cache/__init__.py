"""Answers kept in any requests-cache backend, below httpx.

requests-cache is used through its documented parts only (`BaseCache`, `SQLiteCache`, `RedisCache`, the serializer pipeline). Its
own key, its pickle and its session are not used; `docs/caching.md` says why.

* `keys`: which requests are the same request.
* `entry`, `codec`: what is kept of an answer, and its bytes.
* `store`: entries in and out of a backend; a backend that fails is a miss.
* `late`: a store whose backend is opened after the first answer.
* `local`: the SQLite file of one user, private and never waited for.
* `large`, `files`: long entries as files beside it, whole or not there.
* `shared`: the Redis of a team, where every entry is signed.
* `transport`: the policy: fresh, stale, one flight for many callers.

Loading this package does not load requests-cache.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vastnb.errors import ConfigError
from vastnb.infra.cache.entry import Entry
from vastnb.infra.cache.keys import identity, tag_prefix
from vastnb.infra.cache.late import LateStore, may_hold
from vastnb.infra.cache.store import Store, StoreInfo
from vastnb.infra.cache.transport import CachingTransport
from vastnb.infra.config import CacheSettings

if TYPE_CHECKING:
    from requests_cache import BaseCache

__all__ = ["CachingTransport", "Entry", "Store", "StoreInfo", "identity", "market_store", "memory_store", "tag_prefix"]


def market_store(settings: CacheSettings, file: Path, *, account: str, local: bool) -> Store:
    """Where `settings` say that public market data is kept.

    Parameters
    ----------
    settings
        Which backend, and what it needs.
    file
        The file of the backend ``sqlite``.
    account
        The `identity` of the account.
    local
        Whether the service is on this computer.

    Raises
    ------
    ConfigError
        The backend is ``redis``, and something it needs is not there.
    """
    if settings.backend == "sqlite":
        return LateStore(partial(_open_local, file, settings.max_mb), partial(may_hold, file))
    if settings.backend != "redis":
        return memory_store()
    from vastnb.infra.cache.shared import namespace, open_shared

    if settings.redis_url is None or settings.signing_key is None:
        raise ConfigError("cache.backend redis needs cache.redis_url and cache.signing_key")
    return Store(open_shared(settings.redis_url, settings.signing_key, namespace(account, file=file, local=local)))


def memory_store() -> Store:
    """A store that lives as long as this process."""
    return LateStore(_open_memory, lambda _key: False)


def _open_local(file: Path, max_mb: int) -> BaseCache:
    from vastnb.infra.cache.local import open_local

    return open_local(file, max_mb=max_mb)


def _open_memory() -> BaseCache:
    from vastnb.infra.cache.local import open_memory

    return open_memory()
