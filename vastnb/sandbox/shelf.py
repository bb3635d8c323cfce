"""All templates: the public ones, and those that accounts make and delete."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from . import templates
from .books import Books
from .clock import Clock
from .rentals.guard import content
from .rentals.terms import RefusedError, bad
from .replies import Answer, Request, refusal, reply

FIRST_OWN_ID = 790_001
_DEFAULTS: dict[str, Any] = {
    "args_str": "",
    "desc": "",
    "docker_login_repo": None,
    "env": "",
    "extra_filters": {},
    "href": None,
    "jup_direct": False,
    "jupyter_dir": None,
    "onstart": "",
    "private": False,
    "readme": "",
    "readme_visible": True,
    "recommended_disk_space": 8.0,
    "repo": None,
    "runtype": "args",
    "ssh_direct": False,
    "tag": "latest",
    "use_jupyter_lab": False,
    "use_ssh": False,
    "volume_info": None,
}
"""What a template is unless its author says otherwise."""


class Shelf:
    """The templates of one sandbox run, with the handlers that change them."""

    def __init__(self, *, books: Books, clock: Clock) -> None:
        self._books, self._clock = books, clock
        self._lock = threading.Lock()
        self._own: dict[int, dict[str, Any]] = {}
        self._next_id = FIRST_OWN_ID
        self.handlers: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", "/api/v0/template/"): _refusing(self.create),
            ("DELETE", "/api/v0/template/"): _refusing(self.delete),
        }

    def rows(self, account_id: int) -> list[dict[str, Any]]:
        """Return the templates that an account sees, by id."""
        with self._lock:
            own = [dict(row) for row in self._own.values() if row["creator_id"] == account_id or not row["private"]]
        return templates.rows(self._clock.now()) + own

    def find(self, hash_id: Any) -> Mapping[str, Any] | None:
        """Return a template by its hash, which lets anybody rent by it."""
        with self._lock:
            known = [*templates.rows(self._clock.now()), *self._own.values()]
        return next((row for row in known if row["hash_id"] == hash_id), None)

    def create(self, request: Request) -> Answer:
        """Make a template; one with the same content is found again."""
        account, now = self._books.owner(request.key), self._clock.now()
        wanted = _wanted(content(request))
        text = json.dumps([account.id, wanted], sort_keys=True)
        hash_id = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        with self._lock:
            same = [row for row in self._own.values() if row["hash_id"] == hash_id]
            row = same[0] if same else wanted | {
                "count_created": 0,
                "created_at": now,
                "creator_id": account.id,
                "default_tag": "latest",
                "hash_id": hash_id,
                "id": self._next_id,
                "recent_create_date": now,
                "recommended": False,
            }  # fmt: skip
            self._own[row["id"]] = row
            self._next_id += not same
        shown = {name: row[name] for name in ("id", "hash_id", "name")}
        msg = f"Template Created Successfully! New Template ID: {row['id']}"
        return reply({"success": True, "msg": msg, "template": shown})

    def delete(self, request: Request) -> Answer:
        """Delete a template of the account, by its number or its hash."""
        body, account = content(request), self._books.owner(request.key)
        wanted = str(body.get("hash_id") or body.get("template_id"))
        with self._lock:
            for number, row in self._own.items():
                if wanted in (str(number), row["hash_id"]) and row["creator_id"] == account.id:
                    del self._own[number]
                    return reply({"success": True})
        return refusal(404, "not_found", "Template not found")


def _refusing(handler: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        try:
            return handler(request)
        except RefusedError as refused:
            return reply(refused.body, refused.status)

    return answer


def _wanted(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the body of a request wants its template to be."""
    for name in ("name", "image"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise bad(f"Template {name} is required")
    image, colon, tag = body["image"].strip().rpartition(":")
    split = {"image": image, "tag": tag} if colon and "/" not in tag else {"image": body["image"].strip()}
    given = {name: body[name] for name in _DEFAULTS if body.get(name) is not None} | split
    wanted: dict[str, Any] = _DEFAULTS | {"name": body["name"].strip()} | given
    # The official client sends it as a text.
    wanted["recommended_disk_space"] = _number(wanted["recommended_disk_space"])
    for name, value in wanted.items():
        usual = _DEFAULTS.get(name)
        if usual is not None and not isinstance(value, type(usual)):
            raise bad(f"{name}: Input should be a valid {type(usual).__name__}")
    return wanted


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise bad("recommended_disk_space: Input should be a valid number") from None
