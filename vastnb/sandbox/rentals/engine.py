"""The lives of rented machines, moved by requests and by the sandbox's clock.

1. :meth:`Rentals.advance` takes one event after the other, in the order of their times, up to now: a phase ends, the
   market turns, a contract ends, the money is gone, a late request arrives;
2. an event moves one machine into another phase (:meth:`Rentals._enter`), which turns its meter;
3. :meth:`Rentals._settle` then shares out the GPUs of the host's machine: on-demand first, then the highest bids;
4. what the backend must know is told when the state is consistent, in order.

Each event happens at its own time, however far the clock was stepped, so the state at a time does not depend on the steps.
"""

import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from vastnb.sandbox.books import Account, Books
from vastnb.sandbox.clock import Clock
from vastnb.sandbox.course import Course
from vastnb.sandbox.market import Market

from . import rows as shown
from .backend import Backend, Instance
from .meters import DOWN, UP, Meter, nano
from .outlook import flip, floor
from .phases import CONTAINED, FOLLOWING, HOLDING
from .registry import Registry
from .rental import BID_MARGIN, STOPPED_DELETED_S, Rental, agreed
from .terms import RefusedError, Wish
from .till import Till
from .volumes import DEFAULT_GB, Volume

_NO_CREDIT = "stopped: the account has no credit left"


class Rentals:
    """All contracts of one sandbox run, safe to use from several threads."""

    def __init__(
        self, *, market: Market, clock: Clock, books: Books, secret: str, backend: Backend | None, listing_lag_s: float
    ) -> None:
        self.market, self.clock, self.books, self.now = market, clock, books, clock.now()
        self.lock, self._telling = threading.RLock(), threading.RLock()
        self._secret, self._backend, self._lag_s = secret, backend, listing_lag_s
        self.contracts = Registry()
        self.till = Till(books, self.contracts)
        self._held: dict[int, frozenset[int]] = {}
        self._courses: dict[int, tuple[tuple[float, float], Course]] = {}
        self._alarms: list[tuple[float, int]] = []
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._untold: deque[tuple[str, Instance]] = deque()
        self._moving, self._count = False, itertools.count()
        self.settled: Callable[[], None] = lambda: None
        """Called when something may have happened and the state is consistent."""
        books.charged = self._charged_micro_usd
        clock.subscribe(lambda now: self.advance())

    # --- time

    def advance(self) -> None:
        """Let everything happen that is due by now, and tell the backend."""
        with self.lock:
            self.catch_up()
        self.tell()

    def catch_up(self) -> float:
        """Let everything happen that is due by now, and return now."""
        with self.lock:
            # A late request that is carried out on the way finds the time at which it arrives.
            if not self._moving:
                self._moving = True
                try:
                    self._catch_up(self.clock.now())
                finally:
                    self._moving = False
            return self.now

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Carry ``act`` out in ``seconds`` of the sandbox's clock."""
        with self.lock:
            heapq.heappush(self._later, (self.catch_up() + seconds, next(self._count), act))

    def _catch_up(self, now: float) -> None:
        while (due := self._next_due()) <= now:
            self.now = max(self.now, due)
            if self._later and self._later[0][0] <= due:
                heapq.heappop(self._later)[2]()
            elif self._alarms and self._alarms[0][0] <= due:
                self._wake(*heapq.heappop(self._alarms))
            else:
                self._run_dry()
        self.now = max(self.now, now)

    def _next_due(self) -> float:
        return min(
            [*self.till.next_empty(), *(queue[0][0] for queue in (self._alarms, self._later) if queue)],
            default=math.inf,
        )

    def _wake(self, at: float, number: int) -> None:
        rental = self.contracts.find(number)
        if rental is None or rental.alarm != at:
            return
        rental.alarm = None
        if self.now >= rental.contract.end_date and not self._end(rental):
            return
        is_back = rental.forced_until is not None and self.now >= rental.forced_until
        if is_back:
            rental.forced_until = None
        went_on = rental.until is not None and self.now >= rental.until
        if went_on:
            self._enter(rental, FOLLOWING[rental.phase])
        turned = rental.flip is None or rental.flip[1] <= self.now
        if turned or is_back or not (went_on and rental.holds):
            self._settle(rental.contract.machine)
        self._set_alarm(rental)

    def _end(self, rental: Rental) -> bool:
        """End an expired contract, and return whether it is still kept."""
        if self.now >= rental.contract.end_date + STOPPED_DELETED_S:
            self._remove(rental, "the contract has ended")
            return False
        if not rental.expired:
            rental.expired = True
            rental.said = "stopped: the contract has ended"
            self._enter(rental, "stopped")
        return True

    def _set_alarm(self, rental: Rental) -> None:
        end = rental.contract.end_date
        times = [end + STOPPED_DELETED_S if rental.expired else end, flip(self.market, rental, self.now)]
        times += [at for at in (rental.until, rental.forced_until) if at is not None]
        at = min(times)
        if rental.alarm != at:
            rental.alarm = at
            heapq.heappush(self._alarms, (at, rental.id))

    # --- what renters do

    def create(
        self,
        account: Account,
        slot: int,
        wish: Wish,
        *,
        volume_id: int | None = None,
        lag_s: float | None = None,
        stuck: bool = False,
    ) -> Rental:
        """Rent the offer of a slot, which has been checked; a bid that is too low comes as outbid."""
        contract = agreed(
            self.market,
            slot,
            wish,
            number=self.contracts.next_id(),
            account_id=account.id,
            volume_id=volume_id,
            now=self.now,
            secret=self._secret,
        )
        purse = self.till.purse(account.id, self.now)
        rental = Rental(contract, Meter(self.now, purse), wish.label, wish.bid, self.now, stuck=stuck)
        rental.listed_at += self._lag_s if lag_s is None else lag_s
        self.contracts.add(rental)
        self.books.lend(contract.api_key, account.id, rental.id)
        rental.waiting_since = self.now
        first = "outbid" if rental.bid is not None else "provisioning"
        self._enter(rental, first if wish.wants_running else "stopped")
        self._settle(contract.machine)
        self._set_alarm(rental)
        return rental

    def start(self, rental: Rental) -> bool:
        """Want a machine to run, and return whether it could have its GPUs."""
        if rental.expired:
            raise RefusedError(400, "invalid_args", "The contract of this instance has ended.")
        self.till.check_credit(rental.contract.account_id, self.now)
        if not rental.waits and (not rental.holds or rental.phase in ("stopping", "ending")):
            rental.waiting_since, rental.said = self.now, None
            self._enter(rental, "queued")
            self._settle(rental.contract.machine)
            self._set_alarm(rental)
        return rental.holds

    def stop(self, rental: Rental) -> None:
        """Want a machine not to run."""
        rental.said = None
        if rental.phase == "running" and not rental.offline:
            self._enter(rental, "stopping")
        elif rental.phase not in ("stopping", "ending", "stopped"):
            self._enter(rental, "stopped")
        self._settle(rental.contract.machine)
        self._set_alarm(rental)

    def restart(self, rental: Rental, phase: str) -> None:
        """Reboot or recycle a running machine without losing its GPUs; any other is left as it is."""
        if rental.contained:
            rental.pulled = phase == "rebooting"
            self._enter(rental, phase)
            self._set_alarm(rental)

    def destroy(self, rental: Rental) -> None:
        """End a contract, its disk and its deposit."""
        self._remove(rental, "destroyed by its renter")

    def forget(self, rental: Rental) -> None:
        """Undo a contract that was just made and never ran: as if it had been refused."""
        rental.gone_at = self.now
        rental.meter.turn(self.now, rental.rates())
        self.contracts.drop(rental, keep=False)
        self.books.revoke(rental.contract.api_key)

    def set_bid(self, rental: Rental, usd_per_hour: float | None) -> None:
        """Bid anew; ``None``: a winning bid."""
        if rental.bid is None:
            raise RefusedError(400, "invalid_args", "Bids can only be changed on interruptible instances.")
        rental.bid = usd_per_hour or round(self.min_bid(rental) + BID_MARGIN, 6)
        self._changed(rental)
        self._settle(rental.contract.machine)
        self._set_alarm(rental)

    def add_volume(self, account_id: int, offer: Mapping[str, Any], size: Any, name: Any) -> Volume:
        """Rent a volume, whose offer has been checked."""
        number = self.contracts.next_id()
        volume = Volume(
            id=number,
            account_id=account_id,
            created_at=self.now,
            offer=offer,
            size_gb=float(DEFAULT_GB if size is None else size),
            label=str(name or f"V.{number}"),
            meter=Meter(self.now, self.till.purse(account_id, self.now)),
        )
        volume.turn(self.now)
        self.contracts.volumes[number] = volume
        return volume

    def end_volume(self, volume: Volume) -> None:
        """End a volume that no machine uses."""
        volume.gone_at = self.now
        volume.turn(self.now)

    # --- what happens to them

    def outbid(self, rental: Rental, usd_per_hour: float | None) -> None:
        """Let somebody bid more for its GPUs, until its own bid is above that."""
        if rental.bid is None:
            raise ValueError(f"instance {rental.id} is rented on demand: nobody can outbid it")
        rental.rival = rental.bid + 10 * BID_MARGIN if usd_per_hour is None else usd_per_hour
        self._settle(rental.contract.machine)
        self._set_alarm(rental)

    def take_offline(self, rental: Rental, seconds: float) -> None:
        """Let its host vanish for a while."""
        rental.forced_until = self.now + seconds
        self._settle(rental.contract.machine)
        self._set_alarm(rental)

    def carry(self, rental: Rental, *, down_bytes: int, up_bytes: int) -> None:
        """Let it move bytes over the internet."""
        for item, size, price in ((DOWN, down_bytes, "inet_down_cost"), (UP, up_bytes, "inet_up_cost")):
            rental.meter.carry(self.now, item, size, nano(float(rental.contract.offer[price])))
        self._run_dry()

    def stick(self, rental: Rental) -> None:
        """Let it never get through loading."""
        rental.stuck = True
        if rental.phase == "loading":
            rental.until = None
        self._set_alarm(rental)

    def look_again(self, slot: int) -> None:
        """See to the machine of a slot, whose prices changed."""
        machine = int(self.market.layout.slots["machine"][slot])
        self._settle(machine)
        for rental in self.contracts.here(machine):
            self._set_alarm(rental)

    def _run_dry(self) -> None:
        for account in self.till.run_dry(self.now):
            self._bankrupt(account)

    def _bankrupt(self, account: Account) -> None:
        for rental in [rental for rental in self.contracts.living(account.id) if not rental.meter.prepaid]:
            if not account.can_pay:
                self._remove(rental, "destroyed: the account has no credit and no card")
            elif rental.phase in HOLDING - {"stopping", "ending"} or rental.waits:
                self.stop(rental)
                rental.said = _NO_CREDIT
        for volume in [] if account.can_pay else self.contracts.volumes_of(account.id, living=True):
            self.end_volume(volume)

    # --- how they are moved

    def _enter(self, rental: Rental, phase: str) -> None:
        rental.phase = phase
        rental.pulled = rental.pulled or phase in CONTAINED
        span = rental.contract.spans.get(phase)
        frozen = span is None or rental.offline or (phase == "loading" and rental.stuck)
        rental.until = None if frozen or span is None else self.now + span
        self._changed(rental)

    def _changed(self, rental: Rental) -> None:
        """Turn the meter and write the change down; tell the backend when the container came or went."""
        rental.meter.turn(self.now, rental.rates())
        rental.remember(self.now)
        if rental.contained and rental.running_since is None:
            rental.running_since, rental.said = self.now, None
            self._note("started", rental)
        elif not rental.contained and rental.running_since is not None:
            rental.running_since = None
            self._note("stopped", rental)

    def _begin(self, rental: Rental) -> None:
        rental.said = None
        self._enter(rental, "accepted" if rental.pulled else "provisioning")

    def _settle(self, machine: int) -> None:
        """Share out the GPUs of one machine as the market and the bids are now."""
        here = self.contracts.here(machine)
        if here:
            found = self._course(machine)
            for rental in here:
                self._notice(rental, bool(found.down_since[0] > rental.contract.created_at))
            taken = self._serve_on_demand(here, found)
            self._hold(machine, frozenset(taken))
            self._serve_bids(here, taken, found)
        else:
            self._hold(machine, frozenset())

    def _notice(self, rental: Rental, is_down: bool) -> None:
        offline = is_down or rental.forced_until is not None
        if offline == rental.offline:
            return
        rental.offline = offline
        if offline or not rental.holds:
            rental.until = None
            self._changed(rental)
        else:
            # Documented: what was offline never runs again by itself.
            rental.said = "stopped: its host was offline"
            self._enter(rental, "stopped")
        self._set_alarm(rental)

    def _course(self, machine: int) -> Course:
        """Return a machine as it is in this minute; looked up once for all who ask."""
        key = (self.now // 60, self.market.repriced[machine])
        if self._courses.get(machine, (None, None))[0] != key:
            self._courses[machine] = (key, Course(self.market, machine, np.array([self.now])))
        return self._courses[machine][1]

    def _serve_on_demand(self, here: Iterable[Rental], found: Course) -> set[int]:
        on_demand = [rental for rental in here if rental.bid is None]
        taken = {gpu for rental in on_demand if rental.holds for gpu in rental.contract.gpu_ids}
        waiting = [rental for rental in on_demand if rental.waits and not rental.offline]
        for rental in sorted(waiting, key=lambda r: (r.waiting_since, r.id)):
            if rental.contract.start >= found.busy[0] and taken.isdisjoint(rental.contract.gpu_ids):
                taken.update(rental.contract.gpu_ids)
                self._begin(rental)
                self._set_alarm(rental)
        return taken

    def _serve_bids(self, here: Iterable[Rental], taken: set[int], found: Course) -> None:
        bidding = [rental for rental in here if rental.bid is not None and not rental.offline]
        for rental in sorted(bidding, key=lambda r: (-(r.bid or 0.0), r.id)):
            if rental.phase in ("stopping", "ending", "stopped"):
                continue
            least = max(float(floor(rental.contract, found.host_bid)[0]), rental.rival)
            wins = (rental.bid or 0.0) >= least and taken.isdisjoint(rental.contract.gpu_ids)
            if wins:
                taken.update(rental.contract.gpu_ids)
            if wins and rental.waits:
                self._begin(rental)
            elif not wins and rental.holds:
                rental.said = "stopped: outbid"
                self._enter(rental, "outbid")
            else:
                continue
            self._set_alarm(rental)

    def _hold(self, machine: int, gpu_ids: frozenset[int]) -> None:
        before = self._held.get(machine, frozenset())
        if before - gpu_ids:
            self.market.release(before - gpu_ids)
        if gpu_ids - before:
            self.market.take(gpu_ids - before)
        self._held[machine] = gpu_ids

    def _remove(self, rental: Rental, why: str) -> None:
        rental.gone_at, rental.said, rental.phase = self.now, why, "stopped"
        rental.discount = 0.0
        self._changed(rental)
        self.contracts.drop(rental)
        self.books.revoke(rental.contract.api_key)
        self.till.refund(rental, self.now)
        self._note("gone", rental)
        self._settle(rental.contract.machine)

    # --- what is known of them

    def rows(self) -> list[dict[str, Any]]:
        """Return every living machine as the list answers it."""
        with self.lock:
            self.catch_up()
            found = [self.row(rental) for rental in self.contracts.living()]
        self.tell()
        return found

    def row(self, rental: Rental) -> dict[str, Any]:
        """Return a machine as the list of instances answers it."""
        volume = self.contracts.volumes.get(rental.contract.volume_id or 0)
        row = shown.row(rental, self.now, self.market.seed, self.min_bid(rental)) | {
            "volume_info": [] if volume is None else [{"id": volume.id, "label": volume.label, "type": "local_volume"}]
        }
        return row if self._backend is None else row | dict(self._backend.shown(rental.id))

    def min_bid(self, rental: Rental) -> float:
        """Return what must be bid now for its GPUs, in dollars per hour."""
        contract = rental.contract
        found = self._course(contract.machine)
        others = [
            max(other.usd_per_hour, rental.bid or 0.0) + BID_MARGIN
            for other in self.contracts.here(contract.machine)
            if other is not rental and other.holds and not set(other.contract.gpu_ids).isdisjoint(contract.gpu_ids)
        ]
        return max(float(floor(contract, found.host_bid)[0]), rental.rival, *others, 0.0)

    def credit_micro_usd(self, account_id: int) -> int:
        """Return what an account has left."""
        return self.books.credit_micro_usd(account_id)

    def _charged_micro_usd(self, account_id: int) -> int:
        with self.lock:
            return self.till.charged_micro_usd(account_id, self.now)

    def _note(self, what: str, rental: Rental) -> None:
        if self._backend is not None:
            contract = rental.contract
            told = Instance(
                id=contract.id,
                account_id=contract.account_id,
                api_key=contract.api_key,
                at=self.now,
                row=self.row(rental),
                env=self.books.secrets(contract.account_id),
                ssh_keys=tuple(self.books.admitted(contract.id).values()),
            )
            self._untold.append((what, told))

    def tell(self) -> None:
        """Tell what happened; without the lock on the state, which the backend's processes may need."""
        if self._moving:
            return
        self.settled()
        with self._telling:
            while self._backend is not None and self._untold:
                what, instance = self._untold.popleft()
                getattr(self._backend, what)(instance)
