"""Answers kept in any requests-cache backend, below httpx.

requests-cache is used through its documented parts only (`BaseCache`, `SQLiteCache`, `RedisCache`, the serializer pipeline). Its
own key, its pickle and its session are not used; `docs/caching.md` says why.

* `keys`: which requests are the same request.
* `store`: entries in and out of a backend; a backend that fails is a miss.
* `local`: the SQLite file of one user, private and never waited for.
* `shared`: the Redis of a team, where every entry is signed.
* `transport`: the policy: fresh, stale, one flight for many callers.
"""

from pathlib import Path

from requests_cache import BaseCache

from vastnb.errors import ConfigError
from vastnb.infra.cache.keys import identity
from vastnb.infra.cache.local import open_local, open_memory
from vastnb.infra.cache.store import Entry, Store, StoreInfo
from vastnb.infra.cache.transport import CachingTransport
from vastnb.infra.config import CacheSettings

__all__ = ["CachingTransport", "Entry", "Store", "StoreInfo", "identity", "open_backend", "open_local", "open_memory"]


def open_backend(settings: CacheSettings, file: Path, *, account: str, local: bool) -> BaseCache:
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
        return open_local(file, max_mb=settings.max_mb)
    if settings.backend != "redis":
        return open_memory()
    from vastnb.infra.cache.shared import namespace, open_shared

    if settings.redis_url is None or settings.signing_key is None:
        raise ConfigError("cache.backend redis needs cache.redis_url and cache.signing_key")
    return open_shared(settings.redis_url, settings.signing_key, namespace(account, file=file, local=local))
