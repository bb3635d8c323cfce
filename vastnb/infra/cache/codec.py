"""Entries as bytes, and back. Never pickle: reading a cache cannot run code."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import zlib
from datetime import UTC, datetime
from typing import Any

from requests_cache import CachedRequest, CachedResponse, SerializerPipeline, Stage

from vastnb.infra.cache.entry import LARGEST_BODY, Entry

__all__ = ["EntryCodec", "response_of", "serializer"]

log = logging.getLogger("vastnb.cache")
# requests-cache logs what it cannot do as errors; for us that is a miss, and `Store` says so once.
logging.getLogger("requests_cache").addHandler(logging.NullHandler())

_MAGIC = b"VNB2"
"""Another form of entries needs another `keys._SCHEMA` too, or two versions that share a cache spoil each other's entries."""
_MAC_BYTES = 32
_WORTH_PACKING = 512


class EntryCodec:
    """`CachedResponse` <-> bytes: magic, signature, length of the head, head as JSON, body as it came or packed.

    Parameters
    ----------
    secret
        What entries are signed with; without it they are not, which does for a file that only its user can write.
    level
        How hard zlib tries on bodies above 512 bytes; 0 leaves them as they are.
    """

    def __init__(self, secret: str | None = None, level: int = 0) -> None:
        # A key of blake2b has at most 64 bytes; a longer secret counts whole this way.
        self._key = None if secret is None else hashlib.blake2b(secret.encode(), person=b"vastnb-signing").digest()
        self._level = level

    def dumps(self, response: CachedResponse) -> bytes:
        """The bytes of `response`."""
        return b"".join(self.parts(response))

    def parts(self, response: CachedResponse) -> list[bytes]:
        """The bytes of `response` in pieces, the body not copied."""
        body = response.content or b""
        packed = self._level > 0 and len(body) > _WORTH_PACKING
        head = json.dumps(
            {
                "status": response.status_code,
                "headers": dict(response.headers),
                "url": response.url,
                "created": response.created_at.timestamp(),
                "expires": response.expires_unix,
                "length": len(body),
                "packed": packed,
            },
            separators=(",", ":"),
        ).encode()
        signed = [len(head).to_bytes(4, "big"), head, zlib.compress(body, self._level) if packed else body]
        return [_MAGIC, self._signature(*signed), *signed]

    def loads(self, value: Any) -> CachedResponse | None:
        """The response, or None for what is no entry of ours: raising would make requests-cache log an error of its own."""
        try:
            return self._read(memoryview(value.encode("latin-1", "replace") if isinstance(value, str) else value))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, zlib.error) as error:
            log.debug("no entry of ours: %s: %s", type(error).__name__, error)
            return None

    def _read(self, raw: memoryview) -> CachedResponse:
        if raw[:4] != _MAGIC:
            raise ValueError("another form")
        begin = 4 + (_MAC_BYTES if self._key else 0)
        if not hmac.compare_digest(raw[4:begin], self._signature(raw[begin:])):
            raise ValueError("not signed with this key")
        start = begin + 4 + int.from_bytes(raw[begin : begin + 4], "big")
        head = json.loads(bytes(raw[begin + 4 : start]))
        if head["packed"]:
            body = zlib.decompressobj().decompress(raw[start:], min(head["length"], LARGEST_BODY) + 1)
        else:
            body = bytes(raw[start:])
        if len(body) != head["length"]:
            raise ValueError("not of the length that it states")
        return response_of(Entry(head["status"], tuple(head["headers"].items()), body, head["created"]), head)

    def _signature(self, *signed: bytes | memoryview) -> bytes:
        if self._key is None:
            return b""
        mac = hashlib.blake2b(key=self._key, digest_size=_MAC_BYTES, person=b"vastnb-" + _MAGIC)
        for part in signed:
            mac.update(part)
        return mac.digest()


def serializer(codec: EntryCodec) -> SerializerPipeline:
    """`codec` as requests-cache backends that store bytes want it."""
    return SerializerPipeline([Stage(codec)], name="vastnb-entry", is_binary=True)


def response_of(entry: Entry, head: dict[str, Any]) -> CachedResponse:
    """`entry` as requests-cache keeps it; `head` has its `url` and when it `expires`."""
    expires = head["expires"]
    made = CachedResponse(
        content=entry.body,
        status_code=entry.status,
        url=head["url"],
        encoding="utf-8",
        created_at=datetime.fromtimestamp(entry.created, UTC),
        expires=None if expires is None else datetime.fromtimestamp(expires, UTC),
        request=CachedRequest(method="", url=head["url"]),
    )
    made.headers.update(entry.headers)
    return made
