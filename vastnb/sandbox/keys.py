"""The keys and variables of an account: public SSH keys, API keys, and the environment of all its containers.

A public key lets in to the machines that are rented after it was registered; to others it is attached. (One page of the
documentation says that a new key reaches existing machines too; the official client says that it does not.) What an
API key permits is kept, and permits everything.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from .books import Account, Books, public_key
from .clock import Clock
from .rentals import Backend, Rentals
from .rentals.guard import content, guarded
from .rentals.terms import RefusedError, bad
from .replies import Answer, Request, reply

Handler = Callable[[Request], Answer]
MOST_SECRETS = 100
"""A limit is documented, its number is not."""
_MOST_SECRET = 4096
_NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_VALUE = re.compile(r"[a-zA-Z0-9_\-.]+")
"""Documented."""


class Keys:
    """The handlers."""

    def __init__(self, *, rentals: Rentals, books: Books, clock: Clock, machines: Backend | None) -> None:
        self._rentals, self._books, self._clock, self._machines = rentals, books, clock, machines
        self._permissions: dict[int, Any] = {}
        self.handlers: dict[tuple[str, str], Handler] = {
            (method, path): guarded(rentals, handler)
            for method, path, handler in (
                ("POST", "/api/v0/ssh/", self.create_ssh_key),
                ("PUT", "/api/v0/ssh/{id}/", self.update_ssh_key),
                ("DELETE", "/api/v0/ssh/{id}/", self.delete_ssh_key),
                ("GET", "/api/v0/instances/{id}/ssh/", self.attached),
                ("POST", "/api/v0/instances/{id}/ssh/", self.attach),
                ("DELETE", "/api/v0/instances/{id}/ssh/{id}/", self.detach),
                ("GET", "/api/v0/secrets/", self.secrets),
                ("POST", "/api/v0/secrets/", self.create_secret),
                ("PUT", "/api/v0/secrets/", self.update_secret),
                ("DELETE", "/api/v0/secrets/", self.delete_secret),
                ("GET", "/api/v0/auth/apikeys/", self.api_keys),
                ("GET", "/api/v0/auth/apikeys/{id}/", self.api_key),
                ("POST", "/api/v0/auth/apikeys/", self.create_api_key),
                ("DELETE", "/api/v0/auth/apikeys/{id}/", self.delete_api_key),
            )
        }

    # --- public keys

    def create_ssh_key(self, request: Request) -> Answer:
        """Register a public key."""
        row = self._books.add_ssh_key(self._account(request).id, _public_key(request), self._clock.now())
        row["public_key"] = row.pop("key")
        return reply({"success": True, "key": row})

    def update_ssh_key(self, request: Request) -> Answer:
        """Replace a public key."""
        return reply({"success": True, "key": self._change_ssh_key(request, _public_key(request))})

    def delete_ssh_key(self, request: Request) -> Answer:
        """Remove a public key from the account; machines that it was registered for keep it."""
        self._change_ssh_key(request, None)
        return reply({"success": True})

    def _change_ssh_key(self, request: Request, key: str | None) -> dict[str, Any]:
        number = _number(request.last_part)
        found = self._books.change_ssh_key(self._account(request).id, number, key)
        if found is None:
            raise bad("No ssh key provided", "no_ssh_key")
        return found

    def attached(self, request: Request) -> Answer:
        """Answer the public keys that log in to a machine: a text that holds JSON, as documented."""
        admitted = self._books.admitted(self._instance(request, request.path))
        rows = [{"id": number, "public_key": key} for number, key in admitted.items()]
        return reply({"success": True, "ssh_keys": json.dumps(rows)})

    def attach(self, request: Request) -> Answer:
        """Let a public key log in to a machine."""
        instance_id, key = self._instance(request, request.path), _public_key(request)
        with self._told(instance_id):
            self._books.admit(instance_id, self._account(request).id, key)
        return reply({"success": True, "msg": "SSH key attached successfully"})

    def detach(self, request: Request) -> Answer:
        """Let a public key log in to a machine no more."""
        instance_id = self._instance(request, request.path.rstrip("/").rpartition("/")[0])
        with self._told(instance_id):
            found = self._books.turn_away(instance_id, _number(request.last_part))
        if not found:
            raise RefusedError(404, "no_such_ssh_key", "SSH key not found.")
        return reply({"success": True, "msg": "SSH key removed from instance."})

    @contextmanager
    def _told(self, instance_id: int) -> Iterator[None]:
        """Tell what stands behind a machine which keys were changed meanwhile."""
        before = tuple(self._books.admitted(instance_id).values())
        yield
        if self._machines is not None:
            self._machines.admitted(instance_id, tuple(self._books.admitted(instance_id).values()), before)

    def _instance(self, request: Request, path: str) -> int:
        """Return the number in a path that ends in ``/{id}/ssh``."""
        number = _number(path.rstrip("/").split("/")[-2])
        if self._rentals.contracts.find(number, self._account(request).id) is None:
            raise RefusedError(404, "no_such_instance", "Instance not found.")
        return number

    # --- variables

    def secrets(self, request: Request) -> Answer:
        """Answer the variables; it is the client that hides their values."""
        return reply({"success": True, "secrets": self._books.secrets(self._account(request).id)})

    def create_secret(self, request: Request) -> Answer:
        """Set a new variable."""
        account, (name, value) = self._account(request), _pair(request)
        known = self._books.secrets(account.id)
        if name in known:
            raise bad(f"Environment variable {name} already exists.", "existing_key")
        if len(known) >= MOST_SECRETS:
            raise bad(f"At most {MOST_SECRETS} environment variables are allowed.", "max_secrets")
        self._books.set_secret(account.id, name, value)
        return reply({"success": True, "msg": "Environment variable added successfully"})

    def update_secret(self, request: Request) -> Answer:
        """Change a variable."""
        name, value = _pair(request)
        self._books.set_secret(self._known(request, name), name, value)
        return reply({"success": True, "msg": "Environment variable updated successfully"})

    def delete_secret(self, request: Request) -> Answer:
        """Remove a variable."""
        name = content(request).get("key")
        if not isinstance(name, str) or not name:
            raise bad("'key' is required.", "missing_input")
        self._books.set_secret(self._known(request, name.upper()), name.upper(), None)
        return reply({"success": True, "msg": "Environment variable deleted successfully"})

    def _known(self, request: Request, name: str) -> int:
        """Return the account that has a variable."""
        account = self._account(request)
        if name not in self._books.secrets(account.id):
            raise bad(f"Environment variable {name} does not exist.", "nonexistent_key")
        return account.id

    # --- API keys

    def api_keys(self, request: Request) -> Answer:
        """Answer the account's keys, not what they are."""
        return reply({"apikeys": [self._shown(one) for one in self._books.keys(self._account(request).id)]})

    def api_key(self, request: Request) -> Answer:
        """Answer one of the account's keys."""
        return reply(self._shown(self._key(request)))

    def create_api_key(self, request: Request) -> Answer:
        """Make a key; it is shown this once."""
        body = content(request)
        if not isinstance(body.get("name"), str) or not body["name"]:
            raise bad("Invalid args: 'name' is required")
        permissions, key = body.get("permissions") or False, token_hex(32)
        if not isinstance(permissions, dict | bool):
            raise bad("Invalid permission format", "invalid_permissions")
        number = self._books.add_key(self._account(request).id, key)
        self._permissions[number] = permissions
        return reply({"id": number, "key": key, "permissions": permissions})

    def delete_api_key(self, request: Request) -> Answer:
        """Let a key act no more."""
        self._books.remove_key(self._key(request).api_key)
        return reply("Successfully Deleted API Key")

    def _key(self, request: Request) -> Account:
        number = _number(request.last_part)
        found = [one for one in self._books.keys(self._account(request).id) if one.key_id == number]
        if not found:
            raise RefusedError(404, "not_found", "API Key not found.")
        return found[0]

    def _shown(self, one: Account) -> dict[str, Any]:
        rights = "restricted" if self._permissions.get(one.key_id) else "all"
        return {"id": one.key_id, "user_id": one.id, "rights": rights, "team_id": None, "team_name": None}

    def _account(self, request: Request) -> Account:
        return self._books.owner(request.key)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise bad("Invalid request parameters", "invalid_request")
    return int(text)


def _public_key(request: Request) -> str:
    key = content(request).get("ssh_key")
    if not key:
        raise bad("No ssh key provided", "no_ssh_key")
    try:
        return public_key(key)
    except ValueError as wrong:
        raise bad(str(wrong), "invalid_ssh_key") from None


def _pair(request: Request) -> tuple[str, str]:
    """Return the name and value of a variable in a request."""
    body = content(request)
    name, value = body.get("key"), body.get("value")
    if not isinstance(name, str) or not isinstance(value, str) or not name or not value:
        raise bad("Both 'key' and 'value' are required.", "missing_input")
    if len(value) > _MOST_SECRET:
        raise bad(f"A value has at most {_MOST_SECRET} characters.", "input_too_long")
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise bad("Invalid characters in the name or the value.", "invalid_characters")
    return name.upper(), value
