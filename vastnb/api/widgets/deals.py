"""One launch, from an offer to the last bill: the state of it, and the work that changes it. Knows no widgets.

All that is rented goes through `vastnb.launch`, so a deal is as safe as a cell:

1. `look` finds out what is not known yet: the offer, the balance, whether a machine of this name lives.
2. `check` has `launch` plan it (``dry_run``): the offer is read anew, and what is confirmed is what it costs now.
3. `rent` rents what was planned, and waits until it runs.
4. `cancel`, from any other thread, makes the next word of the wait its last; `end` then destroys what there is, and sees that it is gone.
5. An answer that was lost is looked for by name (`find`) until it is certain what became of it; nothing is sent again.

Works run one at a time, in whichever thread; only `cancel` may come beside one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from vastnb.api.widgets import agreements, wishes
from vastnb.api.widgets.agreements import Agreement, Candidate
from vastnb.api.widgets.launch_card import ACTIVE, Phase, State, in_words
from vastnb.errors import (
    InputError,
    LaunchUncertainError,
    NotFoundError,
    OfferGoneError,
    PriceChangedError,
    VastError,
)
from vastnb.services import offers
from vastnb.services.costs import Quote, differences
from vastnb.services.instances import Instance, Progress, launch
from vastnb.services.instances.fleet import Fleet, fleet_of
from vastnb.vast.render import plain

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["Deal"]

_EVERY_S = 0.1
"""A progress is told at most so often."""
_CONFIRMED_WITHIN_S = 60.0
"""A confirmation that a busy kernel gets later than this was meant for another moment."""
_REQUESTS = 2
"""Of a search: the cheapest are enough, and a reason if there is none; the service allows ten searches a minute."""
_LOOK_AGAIN_S = 5.0
_JOB = frozenset({"hours", "disk_gb", "download_gb", "upload_gb"})
_STARTING = ("provisioning", "loading")
_NOTHING = "Nothing was rented."
_SEEN_GONE = "It was seen to be gone: nothing of it costs any more. The service's bill may be some minutes behind."
_LIVES = "{name} lives: this is it. " + _NOTHING
_LOST = (
    "The answer to the one paying request was lost, and it is not sent again. If there is a machine, it is called {name}: it is being "
    "looked for, and every later look finds it by that name. Until this is settled nothing else is rented."
)


class _NoLongerAwaited(Exception):  # noqa: N818 - no error, it ends a wait
    """Somebody cancelled, or the panel is gone."""


class Deal:
    """One launch.

    Parameters
    ----------
    state
        What is known at first.
    wish
        What is wanted, by the names of `vastnb.launch`'s arguments.
    on_change
        Called whenever `state` is another one.
    on_work
        Told what is being done, in words.
    lock
        Held while `state` changes. It is that of the panel: with one of its own, its two threads could wait for each other.
    is_over
        Whether nobody looks any more. Then nothing is awaited; a machine lives on.
    client
        Another client than the default one.
    clock
        Seconds, for what is confirmed too late and what is told too often.
    """

    def __init__(
        self,
        state: State,
        wish: dict[str, Any],
        *,
        on_change: Callable[[], None],
        on_work: Callable[[str], None],
        is_over: Callable[[], bool],
        lock: threading.RLock,
        client: Client | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state, self.wish = state, wish
        self._on_change, self._on_work, self._is_over = on_change, on_work, is_over
        self._client, self._clock = client, clock
        self._lock = lock
        self._cancelled = threading.Event()
        self._offered: Any = None
        self._in_doubt = False
        """Whether a paying request may have been sent of whose machine nothing is known."""
        self._checked_at, self._changed_at = 0.0, 0.0

    # ------------------------------------------------------------ its state

    def become(self, **changes: Any) -> None:
        """Another state."""
        with self._lock:
            self.state = replace(self.state, **changes)
            self._changed_at = self._clock()
        self._on_change()

    def _unless_cancelled(self, **changes: Any) -> None:
        """What a work leaves behind; who cancelled sees its end instead."""
        with self._lock:
            self.become(**{**changes, **({"phase": "ending"} if self._cancelled.is_set() else {})})

    def cancel(self) -> None:
        """From now on it is wanted ended: nothing more is awaited. `end` must follow."""
        self._cancelled.set()
        self.become(phase="ending", note="")

    # ------------------------------------------------------------ what is offered

    def offer(self, what: Any) -> None:
        """Offer what `what` stands for; what was picked of it before stays picked."""
        self._offered = what
        found, count = agreements.candidates(what, self.wish)
        picked = next((c for c in found if self._is_picked(c)), found[0] if found else None)
        self.pick(picked, candidates=tuple(found), count=count)

    def _is_picked(self, candidate: Candidate) -> bool:
        return self.state.picked is not None and self.state.picked.offer_id == candidate.offer_id

    def pick(self, picked: Candidate | None, **more: Any) -> None:
        """Take this offer, or none."""
        row = picked.row if picked is not None else None
        clean: dict[str, Any] = {"row": row, "machine": None, "bill": None, "gone": False, "before": None, "note": ""}
        phase: Phase = "empty" if picked is None else "offer"
        self.become(phase=phase, picked=picked, **clean, **more, **self._reckoned(row))

    def following(self) -> Candidate | None:
        """The next cheapest offer after the one that is picked."""
        known = self.state.candidates
        place = next((n for n, candidate in enumerate(known) if self._is_picked(candidate)), -1) + 1
        return known[place] if place < len(known) else self.state.picked

    def want(self, values: dict[str, Any]) -> None:
        """Something else is wanted; what was checked before is no longer agreed."""
        self.wish = wishes.changed(self.wish, values)
        phase: Phase = "empty" if self.state.picked is None else "offer"
        self.become(phase=phase, note="", **self._reckoned(self.state.row))
        if not _JOB.isdisjoint(values) and self._offered is not None and not self.state.refusal:
            self.become(candidates=tuple(agreements.candidates(self._offered, self.wish)[0]))

    def _reckoned(self, row: pd.DataFrame | None) -> dict[str, Any]:
        """What the wish costs on an offer, or why it cannot be had, as a part of the state."""
        quote, made, refusal = None, None, ""
        if row is not None:
            try:
                quote, agreed = agreements.reckoned(row, self.wish, url=self.state.url)
                made, refusal = (agreed, "") if isinstance(agreed, Agreement) else (None, in_words(agreed))
            except InputError as error:
                refusal = in_words(error)
        return {"quote": quote, "agreement": made, "refusal": refusal}

    # ------------------------------------------------------------ work: what is there

    def look(self) -> None:
        """Find out what is not known yet: the offer, then the account."""
        if self.state.phase == "empty" and self.state.query:
            self.search()
        if self.state.picked is not None and self.state.row is None:
            self._read(self.state.picked)
        name = self.state.agreement.name if self.state.agreement is not None else self.wish.get("name")
        if name and self.state.phase not in ACTIVE:
            self._look_at_account(str(name))

    def search(self) -> None:
        """Offers as the query describes them, or like the one that is gone."""
        quote, disk_gb = self.state.quote, wishes.job_in(self.wish)["disk_gb"]
        like = f'gpu_name="{quote.gpu_name}" num_gpus={quote.num_gpus}' if quote is not None else ""
        bid = "bid_usd_per_hour" in self.wish or (quote is not None and quote.rental == "bid")
        query, rental = self.state.query or agreements.query_of(self._offered) or like, "bid" if bid else "on-demand"
        asked = {"rental": rental, "disk_gb": disk_gb, "refresh": True, "max_requests": _REQUESTS}
        found = offers.search(query, client=self._client, **asked)
        why = found.attrs.get("vastnb", {}).get("why_empty", ())
        with self._lock:
            if self.state.phase not in ACTIVE and not self._is_over():
                self.become(query=query, hint="No offer is there.")
                self.offer(found)
                self.become(note=". ".join(map(plain, why)))

    def _read(self, picked: Candidate) -> None:
        client, disk_gb = self._fleet().client, wishes.job_in(self.wish)["disk_gb"]
        try:
            row = client.get_offer(picked.offer_id, rental=picked.rental, disk_gb=disk_gb)
        except OfferGoneError:
            self._apply(picked, gone=True)
            return
        self._apply(picked, row=row, url=client.settings.url, practice=client.settings.local)
        if picked.agreed is not None and self.state.quote is not None and differences(picked.agreed, self.state.quote):
            self._apply(picked, before=picked.agreed)

    def _apply(self, picked: Candidate, **found: Any) -> None:
        """What was found out about an offer, if it is still the one."""
        with self._lock:
            if self._is_picked(picked) and self.state.phase not in ACTIVE:
                self.become(phase="offer", **found, **self._reckoned(found.get("row", self.state.row)))

    def _look_at_account(self, name: str) -> None:
        fleet = self._fleet()
        balance, sight = fleet.client.user(refresh=True).left_usd, fleet.look()
        self.become(balance_usd=balance, url=fleet.client.settings.url, practice=fleet.client.settings.local)
        living = sight.named(name)
        if living is not None:
            self._have(Instance(fleet, *living, sight.now), _LIVES.format(name=name))
        elif any(row.name == name for row in sight.waiting):
            self._in_doubt = True
            self.become(phase="lost", note=_LOST.format(name=name))
        self._go_on()

    def _fleet(self) -> Fleet:
        return fleet_of(self._client)

    # ------------------------------------------------------------ work: renting

    def check(self, agreement: Agreement) -> None:
        """Read the offer anew: what is confirmed is what it costs now."""
        with self._falling_back(agreement):
            made = launch(
                agreement.quote, name=agreement.name, dry_run=True, client=self._client, **agreement.arguments
            )
            if isinstance(made, Instance):
                self._have(made, _LIVES.format(name=agreement.name))
            elif self.state.agreement is agreement:
                self._checked_at = self._clock()
                self.become(phase="agreed", quote=made.quote, agreement=replace(agreement, quote=made.quote, plan=made))
        self._go_on()

    def confirm(self) -> bool:
        """Whether what was checked may be rented now: then it is being rented from this moment on."""
        if self._clock() - self._checked_at > _CONFIRMED_WITHIN_S:
            self.become(phase="offer", note=f"The confirmation came too late, the kernel was busy. {_NOTHING}")
            return False
        self._cancelled.clear()
        self.become(phase="renting", before=None)
        return True

    def rent(self, agreement: Agreement) -> None:
        """Rent what was agreed, and wait until it runs."""
        if self._cancelled.is_set():
            return  # the work that ends it follows
        self._in_doubt = True
        with self._falling_back(agreement):
            made = launch(agreement.quote, name=agreement.name, client=self._client, **agreement.arguments)
            machine = cast("Instance", made)
            if machine.plan is None:  # rented elsewhere since the check: not to be ended by who cancels a rental
                self._cancelled.clear()
            self._have(machine, "" if machine.plan is not None else _LIVES.format(name=agreement.name))
        self._go_on()

    @contextmanager
    def _falling_back(self, agreement: Agreement) -> Iterator[None]:
        """What is refused leads back to the offer; what is uncertain does not."""
        try:
            yield
        except VastError as error:
            if self.state.agreement is agreement:
                self._refused(agreement, error)
        finally:
            if self.state.phase == "checking" and self.state.agreement is agreement:
                self.become(phase="offer")
            elif self._in_doubt:
                self._unless_cancelled(phase="lost", note=_LOST.format(name=agreement.name))

    def _refused(self, agreement: Agreement, error: VastError) -> None:
        if isinstance(error, LaunchUncertainError):
            self.become(refusal=error.message)
            return
        self._in_doubt = False
        self._unless_cancelled(phase="offer")
        if isinstance(error, OfferGoneError):
            self.become(gone=True, agreement=None)
        elif isinstance(error, PriceChangedError):
            self._read_again(agreement.quote, error)
        else:
            raise error

    def _read_again(self, before: Quote, error: PriceChangedError) -> None:
        """Show what it costs now beside what it cost; `error` if that is not what differs."""
        if self.state.picked is not None:
            self._read(self.state.picked)
        now = self.state.quote
        if now is not None and differences(before, now):
            self.become(before=before)
        elif not self.state.gone:
            raise error

    # ------------------------------------------------------------ work: the machine

    def _have(self, machine: Instance, note: str) -> None:
        """There is a machine, and from now on it is what is shown."""
        self._in_doubt = False
        phase: Phase = "waiting" if machine.state in _STARTING else "machine"
        self._unless_cancelled(phase=phase, machine=machine, progress=None, bill=None, note=note)

    def _go_on(self) -> None:
        """What follows by itself."""
        if self.state.phase == "lost":
            self.find()
        elif self.state.phase == "waiting":
            self.wait()

    def wait(self) -> None:
        """Wait until it runs."""
        machine = self._machine()
        self._on_work("Waiting until it runs")
        try:
            machine.wait(on_progress=self._tell)
        except _NoLongerAwaited:
            pass
        except NotFoundError:
            self._gone(machine)
        finally:
            if self.state.phase == "waiting":
                self._unless_cancelled(phase="machine")

    def _tell(self, progress: Progress) -> None:
        if self._is_over() or self._cancelled.is_set():
            raise _NoLongerAwaited
        if progress.is_last or self._clock() - self._changed_at >= _EVERY_S:
            self.become(progress=progress)

    def find(self) -> None:
        """Look until it is certain what became of a request whose answer was lost."""
        name = self.state.agreement.name if self.state.agreement is not None else str(self.wish.get("name", ""))
        self._on_work("Looking for the machine")
        fleet = self._fleet()
        sight = fleet.look()
        while sight.waiting and not self._is_over():
            fleet.pause(_LOOK_AGAIN_S)
            sight = fleet.look()
        found = sight.named(name)
        if found is not None:
            self._have(Instance(fleet, *found, sight.now), "It turned up: this is the machine.")
            self._go_on()
        elif not self._is_over():
            self._in_doubt = False
            self.become(phase="offer", refusal="", note=f"It is certain by now: there is no such machine. {_NOTHING}")

    def look_again(self) -> None:
        """What the machine does now."""
        machine = self._machine()
        try:
            machine.refresh()
        except NotFoundError:
            self._gone(machine)
        else:
            self.become(note="")

    def _machine(self) -> Instance:
        machine = self.state.machine
        assert machine is not None
        return machine

    def _gone(self, machine: Instance) -> None:
        self.become(phase="ended", note="The machine is gone.")
        self.become(bill=machine.bill())

    def end(self) -> None:
        """Destroy what there is by now, and see that it is gone."""
        if not self._cancelled.is_set():
            return
        try:
            if self.state.machine is None and self._in_doubt:
                self.find()
            if self.state.machine is not None:
                bill = self.state.machine.destroy()
                self.become(phase="ended", bill=bill, progress=None, note=_SEEN_GONE)
        finally:
            self._cancelled.clear()
            if self.state.phase == "ending":
                kept: Phase = "machine" if self.state.machine is not None else "lost" if self._in_doubt else "offer"
                self.become(phase=kept, note=_NOTHING if kept == "offer" else "")

    def another(self) -> None:
        """Offer one more; it needs another name if this one lives."""
        state = self.state
        if state.phase == "machine" and state.machine is not None and state.machine.name:
            self.wish = {**self.wish, "name": wishes.numbered(state.machine.name)}
        self.become(machine=None, progress=None)
        self.pick(None if state.picked is None or state.query else replace(state.picked, row=None))
