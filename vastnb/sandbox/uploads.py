"""Files that Vast puts where a signed URL fetches them: a stand-in for its bucket on S3.

The URL is of another origin than the API's (``localhost``, not ``127.0.0.1``). It needs no key and refuses a request
that brings one: a client that sends its key to whoever is named in an answer has lost it. The first who asks comes too
early, as most do; from then on the file is there.
"""

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .clock import Clock
from .replies import TEXT_TYPE, Answer, Request

FOLDER = "/vast.ai/instance_logs/"
_XML_TYPE = "application/xml"
_EARLY_ASKS = 1
_VALID_S = 3600
_MOST_KEPT = 1000


@dataclass
class _File:
    content: bytes
    signature: str
    expires_at: int
    early_asks_left: int = _EARLY_ASKS


class Uploads:
    """The bucket; ``url`` returns where the sandbox listens."""

    def __init__(self, *, clock: Clock, url: Callable[[], str]) -> None:
        self._clock, self._url = clock, url
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}

    def put(self, content: bytes) -> str:
        """Upload a file, and return its signed URL; the oldest of many files is forgotten."""
        path = f"{FOLDER}{secrets.token_hex(20)}.log"
        file = _File(content, secrets.token_urlsafe(20), int(self._clock.now()) + _VALID_S)
        with self._lock:
            self._files[path] = file
            if len(self._files) > _MOST_KEPT:
                del self._files[next(iter(self._files))]
        origin = self._url().replace("127.0.0.1", "localhost")
        return f"{origin}{path}?AWSAccessKeyId=SANDBOX&Signature={file.signature}&Expires={file.expires_at}"

    def fetch(self, request: Request) -> Answer:
        """Answer a request for a file as S3 does."""
        if request.key is not None:
            return _refusal(400, "InvalidArgument", "Only one auth mechanism allowed")
        with self._lock:
            file = self._files.get(request.path)
            signature = request.query.get("Signature", "").encode(errors="replace")
            if file is None or not hmac.compare_digest(signature, file.signature.encode()):
                return _refusal(403, "AccessDenied", "Access Denied")
            if self._clock.now() > file.expires_at:
                return _refusal(403, "AccessDenied", "Request has expired")
            if file.early_asks_left:
                file.early_asks_left -= 1
                return _refusal(404, "NoSuchKey", "The specified key does not exist.")
        return Answer(200, file.content, TEXT_TYPE)


def _refusal(status: int, code: str, message: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, text.encode(), _XML_TYPE)
