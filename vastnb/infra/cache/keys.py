"""Cache keys: the same question has the same key, two accounts never do, and no secret is part of one.

One JSON array is hashed, so that no two parts can run together; the members of JSON bodies are sorted at every depth (lists
keep their order: an order of sorting is significant); the account comes in as a digest of its key.
"""

from __future__ import annotations

import hashlib
import json

from vastnb.infra._httpx import httpx

__all__ = ["cache_key", "identity", "tag_prefix"]

_SCHEMA = "v1"
_SECRET_PARAMS = frozenset({"api_key", "apikey", "access_token"})


def identity(api_key: str | None, url: str) -> str:
    """A short digest of one account at one service; the key cannot be found from it."""
    digest = hashlib.blake2b(digest_size=12, person=b"vastnb-identity")
    digest.update(json.dumps([url.rstrip("/"), api_key]).encode())
    return digest.hexdigest()


def tag_prefix(account: str, tag: str) -> str:
    """What all keys of one account and tag begin with."""
    return f"{_SCHEMA}-{account}-{tag}-"


def cache_key(request: httpx.Request, account: str, tag: str) -> str:
    """The key of `request` for `account` (an `identity`), below `tag`."""
    url = request.url
    params = sorted((k, v) for k, v in url.params.multi_items() if k.lower() not in _SECRET_PARAMS)
    body = _canonical(request.content, request.headers.get("content-type", ""))
    parts = [request.method, url.scheme, url.host, url.port, url.path, params, body]
    digest = hashlib.blake2b(json.dumps(parts, ensure_ascii=False).encode(), digest_size=20).hexdigest()
    return tag_prefix(account, tag) + digest


def _canonical(content: bytes, content_type: str) -> str:
    if not content:
        return ""
    if content_type.partition(";")[0].strip().lower() == "application/json":
        try:
            return json.dumps(json.loads(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        except ValueError:
            pass
    return "raw:" + hashlib.blake2b(content, digest_size=32).hexdigest()
