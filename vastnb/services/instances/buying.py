"""Renting exactly once. The service has no idempotency key, so the label is made into one.

1. What an earlier call left unsettled is settled first (`Buyer.sweep`).
2. A token that nobody else has goes into the label; the intent is in the journal, on disk, before a byte is sent.
3. One request, over a connection of its own. Its answer is a clear yes, a clear no, or *unknown*.
4. It is sent again only when it certainly had no effect: never sent at all, or refused as too early (429) and no machine of that
   label in the list.
5. *Unknown* is settled by listing, never by sending again. Two machines of one label are a request doubled on the way: the
   younger goes.
6. What cannot be settled stays in the journal, stops further rentals, and is looked for by every later kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from vastnb.errors import (
    ApiError,
    LaunchError,
    LaunchUncertainError,
    NetworkError,
    RateLimitError,
    ResponseError,
    StateError,
    VastError,
)
from vastnb.services.instances.labels import read_label
from vastnb.services.journal import Journal, Rental
from vastnb.vast.client.machines import Listing, Machines
from vastnb.vast.types.records import InstanceRecord

__all__ = ["Buyer", "Outcome", "outcome_of"]

_LOOKS_S = (0, 1, 2, 4, 8, 15, 30, 60)
"""Pauses before the looks for a machine whose request was answered by nothing."""
_TRIES = 4
_BUSY_PAUSE_S = 12.0
"""The documented penalty for a rental that came too early."""
_LATE_S = float(sum(_LOOKS_S))
"""A request cannot take effect later than this."""
_REFUSALS = frozenset({400, 401, 402, 403, 404, 410})


class Outcome(NamedTuple):
    """How a request to rent ended."""

    kind: Literal["made", "refused", "busy", "unsent", "unknown"]
    instance_id: int | None = None
    """The machine; of a refusal, one that was made all the same."""
    error: VastError | None = None


def outcome_of(answer: Any, error: ApiError | None = None) -> Outcome:
    """What the answer to a request to rent means: a clear yes, a clear no, or anything else."""
    if error is None:
        made = isinstance(answer, Mapping) and answer.get("success") is True and type(answer.get("new_contract")) is int
        return Outcome("made", answer["new_contract"]) if made else Outcome("unknown", error=_unread(answer))
    if isinstance(error, RateLimitError):
        return Outcome("unsent" if error.status is None else "busy", error=error)
    if isinstance(error, NetworkError | ResponseError):
        unsent = isinstance(error, NetworkError) and error.unsent
        return Outcome("unsent" if unsent else "unknown", error=error)
    if error.status is None:
        return Outcome("unsent", error=error)
    told = error.told or {}
    says_no = told.get("success") is False or (error.status in _REFUSALS and bool({"error", "msg"} & set(told)))
    if error.status not in {200, *_REFUSALS} or not says_no:
        return Outcome("unknown", error=error)
    wreck = told.get("new_contract")
    return Outcome("refused", wreck if type(wreck) is int else None, error)


def _unread(answer: Any) -> ResponseError:
    return ResponseError(f"create: expected success and new_contract, got {type(answer).__name__}")


class Buyer:
    """Rents through one account.

    Parameters
    ----------
    machines
        The account's machines.
    journal
        Its record.
    pause
        Waits so many seconds.
    """

    def __init__(self, machines: Machines, journal: Journal, pause: Callable[[float], None]) -> None:
        self.machines, self.journal, self._pause = machines, journal, pause

    def buy(self, rental: Rental, body: Mapping[str, Any], allow: Callable[[Sequence[Rental]], None]) -> Rental:
        """Rent `rental`'s offer with the request `body`; its row, with the machine's id.

        Parameters
        ----------
        rental
            What is intended; its label is that of `body`.
        body
            The request.
        allow
            Raises if the caps do not hold; asked in the same transaction that writes the intent down.

        Raises
        ------
        LaunchError, ApiError
            Certainly nothing was rented.
        LaunchUncertainError
            It is not known whether something was.
        StateError
            The journal cannot be used.
        """
        with self.journal.intent(rental, allow):
            try:
                return self._sent(rental, body)
            except VastError:
                raise
            except BaseException as stop:  # Ctrl-C, a bug: nobody knows, so the row must say so
                self.journal.update(rental.token, state="unknown", note=f"interrupted by {type(stop).__name__}")
                stop.add_note(f"A machine labelled {rental.label!r} may have been rented: %vast audit looks for it.")
                raise

    def _sent(self, rental: Rental, body: Mapping[str, Any]) -> Rental:
        outcome, in_doubt = Outcome("unsent"), False
        for attempt in range(_TRIES):
            if attempt:
                self._pause(_BUSY_PAUSE_S * attempt)
                found = self._look(rental)
                if found:
                    return self._settled(rental, found)
                if found is None:  # a refusal whose effect nobody could check is not sent again
                    return self._lost(rental, outcome)
            outcome = self._once(rental, body)
            if outcome.kind != "busy":
                break
            in_doubt = True
        if outcome.kind == "made":
            return self._made(rental, outcome)
        if (
            outcome.kind == "unknown" or in_doubt
        ):  # what was refused as too early may have been carried out all the same
            return self._lost(rental, outcome)
        self._refused(rental, outcome)
        raise outcome.error or LaunchError(f"offer {rental.offer_id} was not rented")

    def _once(self, rental: Rental, body: Mapping[str, Any]) -> Outcome:
        try:
            answer = self.machines.create(rental.offer_id, body)
        except ApiError as error:
            return outcome_of(None, error)
        return outcome_of(answer)

    def _made(self, rental: Rental, outcome: Outcome) -> Rental:
        """A clear yes; a look by label also shows a second machine, of a request that was doubled on the way."""
        row = self._written(rental, state="created", instance_id=outcome.instance_id)
        found = self._look(rental)
        return self._settled(rental, found) if found else row

    def _refused(self, rental: Rental, outcome: Outcome) -> None:
        """A clear no. A bid that was too low may have left a machine behind, stopped and billed: it goes."""
        if outcome.instance_id is not None or rental.rental == "bid":
            left = {record.id for record in self._look(rental) or ()} | ({outcome.instance_id} - {None})
            for instance_id in sorted(i for i in left if i is not None):
                self._written(rental, state="created", instance_id=instance_id, note="made although it was refused")
                self.machines.destroy(instance_id)
                self._gone_or_raise(rental, instance_id)
        self._written(rental, state="refused", note=str(outcome.error))

    def _gone_or_raise(self, rental: Rental, instance_id: int) -> None:
        found = self._look(rental)
        if found is None or any(record.id == instance_id for record in found):
            raise LaunchUncertainError(
                f"offer {rental.offer_id} was refused, but left machine {instance_id} behind, and it could not be ended",
                label=rental.label, offer_id=rental.offer_id, hint=f"vastnb.instance({instance_id}).destroy()",
            )  # fmt: skip

    def _lost(self, rental: Rental, outcome: Outcome) -> Rental:
        """The answer was lost: look until the machine turns up, or could no longer."""
        self._written(rental, state="unknown", note=str(outcome.error))
        looks = 0
        for seconds in _LOOKS_S:
            if seconds:
                self._pause(seconds)
            found = self._look(rental)
            if found:
                return self._settled(rental, found)
            looks += found is not None
        if looks > 1:
            self._written(rental, state="absent")
        seen = "no such machine is listed so far" if looks else "the machines cannot be listed"
        raise LaunchUncertainError(
            f"the answer for offer {rental.offer_id} was lost ({outcome.error}), and {seen}; a machine labelled {rental.label!r} may "
            "exist and cost", label=rental.label, offer_id=rental.offer_id, original=outcome.error,
        )  # fmt: skip

    def _look(self, rental: Rental) -> list[InstanceRecord] | None:
        """The machines with its label; None if they cannot be listed."""
        try:
            return self.machines.table(label=rental.label).records
        except ApiError:
            return None

    def _settled(self, rental: Rental, found: Sequence[InstanceRecord]) -> Rental:
        """One machine for one intent: what else carries its label was made on the way, seconds ago, and goes."""
        first, *extra = sorted(record.id for record in found)
        row = self._written(rental, state="created", instance_id=first, note="")
        for instance_id in extra:
            self.machines.destroy(instance_id)
        return row

    def _written(self, rental: Rental, **changes: Any) -> Rental:
        try:
            return self.journal.update(rental.token, **changes)
        except StateError as error:
            machine = changes.get("instance_id")
            what = f"machine {machine} runs and costs" if machine else "a machine may run and cost"
            raise LaunchUncertainError(
                f"{what}, and it could not be written down: {error}",
                label=rental.label,
                offer_id=rental.offer_id,
                original=error,
            ) from error

    # ------------------------------------------------------------ what earlier calls left

    def sweep(self, listing: Listing) -> list[Rental]:
        """Settle what earlier calls, of any kernel, left behind: take over what turned up, give up what cannot any more.

        Returns
        -------
        list
            Rentals that may still turn up; nothing new may be rented before they are settled.
        """
        now, labelled = listing.seen_at.timestamp(), _by_token(listing.records)
        waiting = []
        for row in self.journal.rows():
            found = labelled.get(row.token, [])
            if row.is_in_flight or (row.state in ("refused", "ended") and not found):
                continue
            if found and (row.state != "created" or len(found) > 1):
                self._settled(row, found)
            elif row.state in ("pending", "unknown"):
                if now - row.sent_at <= _LATE_S:
                    waiting.append(row)
                else:
                    self._written(row, state="absent")
        return waiting


def _by_token(records: Sequence[InstanceRecord]) -> dict[str, list[InstanceRecord]]:
    found: dict[str, list[InstanceRecord]] = {}
    for record in records:
        label = read_label(record.label)
        if label is not None:
            found.setdefault(label.token, []).append(record)
    return found
