"""JSON as it goes over the wire: sorted keys, by orjson where that is installed."""

import contextlib
import json
from typing import Any

try:
    import orjson
except ImportError:  # an extra for speed: the answers are the same without it
    orjson = None  # type: ignore[assignment]


def encode(content: Any) -> bytes:
    """Return ``content`` as JSON with sorted keys; NaN and infinities, which JSON lacks, as Python's literals."""
    if orjson is not None and not _has_literals(content):
        # Integers beyond 64 bits and lone surrogates, which get into the log with what clients send, are refused.
        with contextlib.suppress(TypeError):
            return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    try:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def decode(text: bytes | str) -> Any:
    """Return the content of a JSON text; a ``ValueError`` if it is none."""
    return json.loads(text)


class Literals(list[Any]):
    """A list whose numbers may be NaN or infinite: marks an answer for the encoder that can write them."""


def _has_literals(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("offers"), Literals)
