"""Which contracts there are: living and past ones, by number, account and machine."""

from .rental import Rental
from .volumes import FREED_AFTER_S, Volume

FIRST_CONTRACT_ID = 800_000_001
"""Real ids are far below, those of the sandbox's offers above."""


class Registry:
    """All contracts of one sandbox run."""

    def __init__(self) -> None:
        self.volumes: dict[int, Volume] = {}
        self._live: dict[int, Rental] = {}
        self._past: dict[int, Rental] = {}
        self._here: dict[int, dict[int, Rental]] = {}
        self._next_id = FIRST_CONTRACT_ID

    def next_id(self) -> int:
        """Return the number of the next contract, of whatever kind."""
        self._next_id += 1
        return self._next_id - 1

    def add(self, rental: Rental) -> None:
        """Take up a new contract."""
        self._live[rental.id] = rental
        self._here.setdefault(rental.contract.machine, {})[rental.id] = rental

    def drop(self, rental: Rental, *, keep: bool = True) -> None:
        """Put a contract among the past ones, or forget it."""
        del self._live[rental.id], self._here[rental.contract.machine][rental.id]
        if keep:
            self._past[rental.id] = rental

    def find(self, number: int, account_id: int | None = None) -> Rental | None:
        """Return a living contract, of one account or of any."""
        rental = self._live.get(number)
        return rental if rental and account_id in (None, rental.contract.account_id) else None

    def here(self, machine: int) -> list[Rental]:
        """Return the living contracts on a host's machine, oldest first."""
        return list(self._here.get(machine, {}).values())

    def living(self, account_id: int | None = None) -> list[Rental]:
        """Return the living contracts, oldest first."""
        return [r for r in self._live.values() if account_id in (None, r.contract.account_id)]

    def all(self, account_id: int | None = None) -> list[Rental]:
        """Return every contract there ever was, oldest first."""
        found = [r for r in (*self._past.values(), *self._live.values()) if account_id in (None, r.contract.account_id)]
        return sorted(found, key=lambda rental: rental.id)

    def volumes_of(self, account_id: int, *, living: bool = False) -> list[Volume]:
        """Return an account's volumes, oldest first, all or the living ones."""
        own = [volume for volume in self.volumes.values() if volume.account_id == account_id]
        return [volume for volume in own if volume.gone_at is None] if living else own

    def users_of(self, volume: Volume, now: float) -> list[int]:
        """Return the machines that use a volume at ``now``, or did until a moment before."""
        return [
            rental.id
            for rental in self.all(volume.account_id)
            if rental.contract.volume_id == volume.id
            and (rental.gone_at is None or now < rental.gone_at + FREED_AFTER_S)
        ]
