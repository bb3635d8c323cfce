"""How the sandbox's tests of rented machines ask it: real HTTP, as a renter does."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

from vastnb.sandbox import Sandbox

START = "2026-06-01T09:00:00+00:00"


class Told(NamedTuple):
    """An answer; ``status`` is 0 where the connection ended without one."""

    status: int
    body: Any


class Renter:
    """One account of a sandbox, over a connection for each request."""

    def __init__(self, sandbox: Sandbox, key: str | None = None) -> None:
        self.sandbox, self.key = sandbox, key or sandbox.api_key

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = 20, **query: Any) -> Told:
        """Ask once."""
        asked = {k: v if isinstance(v, str) else json.dumps(v) for k, v in query.items()}
        where = path + ("?" + urlencode(asked) if asked else "")
        data = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", int(self.sandbox.url.rsplit(":", 1)[1]), timeout=timeout)
        try:
            connection.request(method, where, data, {"Authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            text = answer.read()
        except (http.client.HTTPException, OSError):
            return Told(0, None)
        finally:
            connection.close()
        try:
            return Told(answer.status, json.loads(text))
        except ValueError:
            return Told(answer.status, text)

    def good(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Ask for what must be granted, and return the answer's body."""
        told = self.ask(method, path, body, **query)
        assert told.status == 200, told
        return told.body

    def create(self, offer: dict[str, Any], **body: Any) -> Told:
        """Rent an offer."""
        return self.ask("PUT", f"/api/v0/asks/{offer['id']}/", {"client_id": "me", "image": "a/b:1", "disk": 20} | body)

    def rent(self, offer: dict[str, Any], **body: Any) -> int:
        """Rent an offer that must be had, and return the instance's id."""
        told = self.create(offer, **body)
        assert (told.status, told.body["success"]) == (200, True), told
        return int(told.body["new_contract"])

    def state(self, instance_id: int, state: str) -> Told:
        """Start or stop an instance."""
        return self.ask("PUT", f"/api/v0/instances/{instance_id}/", {"state": state})

    def destroy(self, instance_id: int) -> Told:
        """End an instance."""
        return self.ask("DELETE", f"/api/v0/instances/{instance_id}/", {})

    def show(self, instance_id: int) -> dict[str, Any] | None:
        """Return one instance, or ``None``."""
        row: dict[str, Any] | None = self.good("GET", f"/api/v0/instances/{instance_id}/", owner="me")["instances"]
        return row

    def listed(self, **query: Any) -> list[dict[str, Any]]:
        """Return the first page of instances."""
        rows: list[dict[str, Any]] = self.good("GET", "/api/v1/instances/", **query)["instances"]
        return rows

    @property
    def credit(self) -> float:
        """What is left."""
        return float(self.good("GET", "/api/v0/users/current/")["credit"])


def offers(sandbox: Sandbox, **filters: Any) -> list[dict[str, Any]]:
    """Return rentable offers that stay for a month, cheapest first, no two of one machine."""
    body = {
        "rentable": {"eq": True},
        "order": [["dph_total", "asc"]],
        "duration": {"gte": 40 * 86400},
        "disk_space": {"gte": 40},
    } | filters
    machines: dict[int, dict[str, Any]] = {}
    for offer in sandbox.offers(body):
        machines.setdefault(offer["machine_id"], offer)
    return list(machines.values())


def words(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return the four words of a row."""
    return tuple(row[name] for name in ("actual_status", "cur_state", "intended_status", "next_state"))
