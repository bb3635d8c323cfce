"""How requests about rented machines are carried out: one at a time, at the sandbox's now, refusals as answers."""

from collections.abc import Callable
from typing import Any

from vastnb.sandbox.filters import BadRequestError
from vastnb.sandbox.replies import Answer, Request, decoded, reply

from .engine import Rentals
from .terms import RefusedError, bad

Handler = Callable[[Request], Answer]


def guarded(rentals: Rentals, handler: Handler) -> Handler:
    """Return a handler that finds everything that was due done, and is alone with it."""

    def answer(request: Request) -> Answer:
        try:
            with rentals.lock:
                rentals.catch_up()
                return handler(request)
        except RefusedError as refused:
            return reply(refused.body, refused.status)
        except BadRequestError as wrong:
            return reply(wrong.body, 400)
        finally:
            rentals.tell()

    return answer


def content(request: Request) -> dict[str, Any]:
    """Return the JSON object in a request's body; refused if there is none."""
    body = decoded(request.body)
    if not isinstance(body, dict):
        raise bad("Invalid json body")
    return body
