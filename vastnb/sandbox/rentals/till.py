"""Whose money pays for what: the credit of accounts, the deposits of contracts, and when either is used up."""

from vastnb.sandbox.books import Account, BillLine, Books

from .meters import Purse
from .registry import Registry
from .rental import Rental
from .terms import RefusedError


class Till:
    """The purses of one sandbox run."""

    def __init__(self, books: Books, contracts: Registry) -> None:
        self._books, self._contracts = books, contracts
        self._purses: dict[int, Purse] = {}

    def purse(self, account_id: int, now: float) -> Purse:
        """Return the credit of an account as it runs out."""
        if account_id not in self._purses:
            self._purses[account_id] = Purse(now)
            self._purses[account_id].pay_in(self._books.booked_micro_usd(account_id))
        return self._purses[account_id]

    def next_empty(self) -> list[float]:
        """Return when the purses that run out will be empty."""
        return [at for purse in self._purses.values() if (at := purse.empty_at()) is not None]

    def check_credit(self, account_id: int, now: float) -> None:
        """Refuse what an account without credit asks for."""
        if self._books.credit_micro_usd(account_id) <= 0 or not self.purse(account_id, now).has_money(now):
            raise RefusedError(400, "insufficient_credit", "Your account lacks credit; see the billing page.")

    def charged_micro_usd(self, account_id: int, now: float) -> int:
        """Return what an account's contracts have cost it so far."""
        meters = [one.meter for one in self._contracts.all(account_id)]
        meters += [one.meter for one in self._contracts.volumes_of(account_id)]
        return sum(meter.micro_usd(now) for meter in meters)

    def prepay(self, rental: Rental, micro_usd: int, discount: float, now: float) -> None:
        """Move money from the account into the contract, which then pays a lower price out of it."""
        purse = rental.meter.purse if rental.meter.prepaid else Purse(now)
        self._books.book(BillLine(rental.contract.account_id, now, "prepay", micro_usd, rental.id))
        self.purse(rental.contract.account_id, now).pay_in(-micro_usd)
        purse.pay_in(micro_usd)
        self._purses[rental.id] = purse
        rental.deposit_micro_usd += micro_usd
        rental.discount = discount
        rental.meter.turn(now, rental.rates(), purse=purse, prepaid=True)

    def refund(self, rental: Rental, now: float) -> None:
        """Give what is left of a deposit back to the account."""
        if self._purses.pop(rental.id, None) is not None:
            left = rental.deposit_left_micro_usd(now)
            self._books.book(BillLine(rental.contract.account_id, now, "refund", -left, rental.id))
            self.purse(rental.contract.account_id, now).pay_in(left)

    def run_dry(self, now: float) -> list[Account]:
        """Let empty deposits pay no more, and return the accounts whose credit is used up."""
        empty = [owner for owner, purse in self._purses.items() if not purse.has_money(now)]
        for rental in [rental for owner in empty if (rental := self._contracts.find(owner))]:
            del self._purses[rental.id]
            rental.discount = 0.0
            account = self.purse(rental.contract.account_id, now)
            rental.meter.turn(now, rental.rates(), purse=account, prepaid=False)
        known = [
            (account, self._purses[account.id]) for account in self._books.accounts() if account.id in self._purses
        ]
        for _, purse in known:
            purse.change_rate(now, 0)
        return [account for account, purse in known if not purse.has_money(now)]
