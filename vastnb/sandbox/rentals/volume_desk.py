"""The requests that rent, show and end volumes."""

from vastnb.sandbox.books import Books
from vastnb.sandbox.replies import Answer, Request, decoded, reply

from . import volumes
from .engine import Rentals
from .guard import Handler, content, guarded
from .terms import RefusedError, bad
from .volumes import Volume


class VolumeDesk:
    """The handlers."""

    def __init__(self, *, rentals: Rentals, books: Books) -> None:
        self._rentals, self._books = rentals, books
        self.handlers: dict[tuple[str, str], Handler] = {
            ("PUT", "/api/v0/volumes/"): guarded(rentals, self.create),
            ("GET", "/api/v0/volumes/"): guarded(rentals, self.show),
            ("DELETE", "/api/v0/volumes/"): guarded(rentals, self.delete),
        }

    def create(self, request: Request) -> Answer:
        """Rent a volume."""
        body, account = content(request), self._books.owner(request.key)
        offer = volumes.offer(self._rentals.market, body.get("id"), body.get("size"), self._rentals.now)
        self._rentals.till.check_credit(account.id, self._rentals.now)
        volume = self._rentals.add_volume(account.id, offer, body.get("size"), body.get("name"))
        return reply({"success": True, "volume_name": f"V.{volume.id}"})

    def show(self, request: Request) -> Answer:
        """Answer the account's volumes; all of them are local."""
        own = [] if request.query.get("type") == "network_volume" else self._own(request)
        rows = [
            volume.row(self._rentals.now, self._rentals.contracts.users_of(volume, self._rentals.now)) for volume in own
        ]
        return reply({"volumes": rows})

    def delete(self, request: Request) -> Answer:
        """End a volume that no instance uses."""
        body = decoded(request.body)
        number = str((body if isinstance(body, dict) else request.query).get("id", request.query.get("id")))
        if not number.isdecimal():
            raise bad("Please provide a valid volume ID.")
        found = [volume for volume in self._own(request) if volume.id == int(number)]
        if not found:
            raise RefusedError(404, "no_such_volume", "Volume with that ID does not exist.")
        if self._rentals.contracts.users_of(found[0], self._rentals.now):
            raise bad("Volume is in use by an instance; destroy that first.")
        self._rentals.end_volume(found[0])
        return reply({"success": True})

    def _own(self, request: Request) -> list[Volume]:
        return self._rentals.contracts.volumes_of(self._books.owner(request.key).id, living=True)
