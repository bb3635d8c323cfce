"""The calls about rented machines: list, make, change, end. One request each, none of which decides anything.

What pays (`create`) is sent once, over a connection of its own, and never repeated here; what is to be done when its answer is
lost is decided in `services.instances`. Lists are always asked anew: money is not counted from a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from vastnb.errors import NotFoundError, ResponseError
from vastnb.vast.client import Client
from vastnb.vast.types.records import InstanceRecord

__all__ = ["Listing", "Machines"]

_PAGE = 25
_MOST_PAGES = 200
_MOST_CHARGES = 500


class Listing(NamedTuple):
    """The machines of an account at one moment."""

    records: list[InstanceRecord]
    seen_at: datetime
    sandbox: bool


class Machines:
    """The rented machines of one account.

    Parameters
    ----------
    client
        The connection.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def table(self, *, label: str | None = None) -> Listing:
        """All machines, or those labelled exactly `label`, oldest first.

        Raises
        ------
        ResponseError
            The list cannot be read. It is never taken for an empty one.
        """
        records: list[InstanceRecord] = []
        params: dict[str, Any] = {"limit": _PAGE, "order_by": [{"col": "id", "dir": "asc"}], "select_filters": {}}
        if label is not None:
            params["select_filters"] = {"label": {"eq": label}}
        for _ in range(_MOST_PAGES):
            told = self.client.told("instances", params=params, refresh=True)
            rows = self.client.rows_of("instances", told.content)
            records += [_read(row, f"$.instances[{number}]") for number, row in enumerate(rows)]
            token = told.content.get("next_token")
            if not token:
                return Listing(records, told.seen_at, told.sandbox)
            params = {**params, "after_token": token}
        raise ResponseError("instances: the list does not end", path="$.next_token")

    def get(self, instance_id: int) -> tuple[InstanceRecord | None, datetime]:
        """One machine, None if there is none of this id, and the service's clock."""
        told = self.client.told("instance", at=instance_id, params={"owner": "me"}, refresh=True)
        found = told.content.get("instances") if isinstance(told.content, dict) else 0
        if found is None:
            return None, told.seen_at
        if not isinstance(found, dict):
            raise ResponseError("instance: expected an object", path="$.instances")
        return _read(found, "$.instances"), told.seen_at

    def create(self, offer_id: int, body: Mapping[str, Any]) -> Any:
        """Rent an offer. Sent once; the answer as it came."""
        return self.client.told("create", at=offer_id, json=dict(body)).content

    def change(self, instance_id: int, **fields: Any) -> None:
        """Set ``state`` (running, stopped) or ``label``."""
        self.client.told("manage", at=instance_id, json=fields)

    def bid(self, instance_id: int, usd_per_hour: float) -> None:
        """Bid anew for an interruptible machine, for all its GPUs together."""
        self.client.told("bid", at=instance_id, json={"client_id": "me", "price": usd_per_hour})

    def reboot(self, instance_id: int) -> None:
        """Restart the container; its disk stays."""
        self.client.told("reboot", at=instance_id, json={})

    def request_logs(self, instance_id: int, *, tail: int, grep: str = "", daemon: bool = False) -> str:
        """Have a machine's log uploaded, or its host's log of it; where it will be."""
        body = {"tail": str(tail), **({"filter": grep} if grep else {}), **({"daemon_logs": "true"} if daemon else {})}
        content = self.client.told("request logs", at=instance_id, json=body).content
        url = content.get("result_url") if isinstance(content, dict) else None
        if not isinstance(url, str) or not url:
            raise ResponseError("request logs: expected an address", path="$.result_url")
        return url

    def register_key(self, public_key: str) -> None:
        """Let a public ssh key in to every machine that is rented from now on."""
        self.client.told("create ssh-key", json={"ssh_key": public_key})

    def attach_key(self, instance_id: int, public_key: str) -> None:
        """Let a public ssh key in to one machine."""
        self.client.told("attach ssh-key", at=instance_id, json={"ssh_key": public_key})

    def destroy(self, instance_id: int) -> None:
        """Ask for the end of a machine and its disk. One that is not there is no error: only a list shows what is."""
        try:
            self.client.told("destroy", at=instance_id, json={})
        except NotFoundError:
            return

    def charges(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """What was charged for each contract between two moments, as the service tells it."""
        return list(self._charge_pages({"gte": int(since.timestamp()), "lte": int(until.timestamp())}))

    def _charge_pages(self, days: Mapping[str, int]) -> Iterator[dict[str, Any]]:
        params: dict[str, Any] = {"select_filters": {"day": dict(days)}, "limit": _MOST_CHARGES, "latest_first": False}
        for _ in range(_MOST_PAGES):
            content = self.client.told("charges", params=params, refresh=True).content
            yield from self.client.rows_of("charges", content)
            token = content.get("next_token")
            if not token:
                return
            params = {**params, "after_token": token}
        raise ResponseError("charges: the list does not end", path="$.next_token")

    def volumes(self) -> list[dict[str, Any]]:
        """Rented volumes, as the service tells them."""
        return self.client.rows_of("own volumes", self.client.told("own volumes", refresh=True).content)


def _read(row: Mapping[str, Any], path: str) -> InstanceRecord:
    try:
        return InstanceRecord.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join([path, *map(str, first["loc"])])
        raise ResponseError(f"instances: {where}: {first['msg']}", path=where, original=error) from None
