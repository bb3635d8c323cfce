"""Answers kept in any requests-cache backend, below httpx.

requests-cache is used through its documented parts only (`BaseCache`, `SQLiteCache`, the serializer pipeline). Its own
key, its pickle and its session are not used; `docs/caching.md` says why.

* `keys`: which requests are the same request.
* `store`: entries in and out of a backend; a backend that fails is a miss.
* `local`: the SQLite file of one user, private and never waited for.
* `transport`: the policy: fresh, stale, one flight for many callers.
"""

from vastnb.infra.cache.keys import identity
from vastnb.infra.cache.local import open_local, open_memory
from vastnb.infra.cache.store import Entry, Store
from vastnb.infra.cache.transport import CachingTransport

__all__ = ["CachingTransport", "Entry", "Store", "identity", "open_local", "open_memory"]
