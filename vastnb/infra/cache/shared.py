"""A Redis that a team shares: every entry signed, every call given up after half a second.

The only module that may import ``redis``, and only when a shared cache is opened: it is the extra ``vastnb[redis]``.

Whoever can write into that Redis cannot make vastnb believe or run anything. An entry is signed together with the key it is
kept for, so a forged or copied one is a miss; its age is judged by its reader, so an old one that is put back does not last.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import SecretStr
from requests_cache import CachedResponse, RedisCache, RedisDict

from vastnb.errors import ConfigError
from vastnb.infra.cache.codec import EntryCodec, serializer

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["namespace", "open_shared"]

_PATIENCE_S = 0.5
_LEVEL = 1
_SCANNED_AT_ONCE = 1000


class _SharedDict(RedisDict):
    """Looks for its keys in large steps, and keeps nothing for ever."""

    def __setitem__(self, key: str, item: CachedResponse) -> None:
        # RedisDict leaves out the time to live of what is over already: such an entry would never go. And it calls SETEX,
        # which redis-py 8 warns of.
        seconds = item.expires_delta or 0
        if seconds > 0:
            self.connection.set(f"{self.namespace}:{key}", self.serialize(item), ex=seconds)

    def keys(self) -> Iterator[str]:  # type: ignore[override]  # as RedisDict does, which its base class would not
        """The keys, without the namespace."""
        for found in self.connection.scan_iter(f"{self.namespace}:*", count=_SCANNED_AT_ONCE):
            yield found.decode().removeprefix(f"{self.namespace}:")


class _SharedCache(RedisCache):
    kind: ClassVar[str] = "redis"

    def __init__(self, space: str, connection: Redis, secret: str, where: str) -> None:
        codec: dict[str, Any] = {"serializer": serializer(EntryCodec(secret, _LEVEL)), "ttl_offset": 0}
        super().__init__(space, connection=connection, **codec)
        self.responses = _SharedDict(space, connection=connection, **codec)
        self.where = where


def namespace(account: str, *, file: Path, local: bool) -> str:
    """What all keys of one account in Redis begin with.

    A service on this computer is a sandbox or a test: the same address is another service on another computer, or for another
    user of this one. Its entries are as far apart as the `file` they would be kept in here.
    """
    if not local:
        return f"vastnb:{account}"
    place = json.dumps([platform.node(), str(file.absolute())]).encode()
    return f"vastnb:local-{hashlib.blake2b(place, digest_size=12).hexdigest()}"


def open_shared(url: SecretStr, signing_key: SecretStr, space: str) -> RedisCache:
    """The part `space` of the Redis at `url`; nothing is sent before the first use.

    Parameters
    ----------
    url
        As `CacheSettings.redis_url`.
    signing_key
        What entries are signed with.
    space
        The `namespace`.

    Raises
    ------
    ConfigError
        The package ``redis`` is not there.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # Its own retries would wait for seconds; an answer that does not come is a miss.
        connection = Redis.from_url(
            url.get_secret_value(),
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
        )
        return _SharedCache(space, connection, signing_key.get_secret_value(), _place(url, space))
    except ImportError as error:
        raise ConfigError(
            "cache.backend is redis, and the package redis is not installed",
            original=error,
            hint='pip install "vastnb[redis]", then restart the kernel',
        ) from error


def _place(url: SecretStr, space: str) -> str:
    parts = urlsplit(url.get_secret_value())
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}/{parts.path.strip('/') or 0} {space}:*"
