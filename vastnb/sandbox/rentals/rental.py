"""One rented machine: the contract, which never changes, and where its life has got to."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vastnb.sandbox.market import Market

from .meters import DISK, GPU, Meter, nano
from .phases import CONTAINED, GPU_BILLED, HOLDING, STATUSES, Status, spans
from .terms import Wish

STOPPED_DELETED_S = 48 * 3600.0
"""How long after its end a contract is kept; documented."""
BID_MARGIN = 0.001
"""Dollars per hour by which others outbid."""


@dataclass(frozen=True)
class Contract:
    """What was agreed when a machine was rented."""

    id: int
    account_id: int
    created_at: float
    machine: int
    """Its number in the market's layout."""
    start: int
    """Its first GPU, counted on the machine."""
    gpu_ids: tuple[int, ...]
    """Counted over the whole market, from 1."""
    offer: Mapping[str, Any]
    """The offer as it was then, priced for the wished disk."""
    wish: Wish
    api_key: str
    jupyter_token: str
    spans: Mapping[str, float]
    volume_id: int | None

    @property
    def end_date(self) -> float:
        """When the host takes it back."""
        return float(self.offer["end_date"])

    @property
    def is_bid(self) -> bool:
        """Whether it is interruptible."""
        return self.wish.bid is not None


def agreed(
    market: Market,
    slot: int,
    wish: Wish,
    *,
    number: int,
    account_id: int,
    volume_id: int | None,
    now: float,
    secret: str,
) -> Contract:
    """Return the contract for the offer of a slot as it is at ``now``; ``secret`` makes its keys."""
    slots = market.layout.slots
    offer = market.offer(slot, now, wish.disk_gb, "bid" if wish.bid is not None else "on-demand")
    first, count, machine = (int(slots[name][slot]) for name in ("first_gpu", "num_gpus", "machine"))
    keys = [hashlib.sha256(f"{secret} {kind} {number}".encode()).hexdigest() for kind in ("container", "jupyter")]
    return Contract(
        id=number,
        account_id=account_id,
        created_at=now,
        machine=machine,
        start=int(slots["start"][slot]),
        gpu_ids=tuple(range(first + 1, first + 1 + count)),
        offer=offer,
        wish=wish,
        api_key=keys[0],
        jupyter_token=keys[1],
        spans=spans(market.seed, number, image=wish.image, machine=machine, inet_down=float(offer["inet_down"])),
        volume_id=volume_id,
    )


@dataclass(frozen=True)
class Moment:
    """A point in a machine's life at which something changed."""

    at: float
    phase: str
    status: Status
    usd_per_hour: float
    """What its GPUs cost then, billed or not."""
    gpu_billed: bool
    disk_billed: bool

    def shown(self) -> dict[str, Any]:
        """Return it as a dict, its four words under the names of a row."""
        return {
            "at": self.at,
            "actual_status": self.status.actual,
            "cur_state": self.status.contract,
            "intended_status": self.status.intended,
            "next_state": self.status.following,
            "phase": self.phase,
            "usd_per_hour": self.usd_per_hour,
            "gpu_billed": self.gpu_billed,
            "disk_billed": self.disk_billed,
        }


@dataclass(eq=False)
class Rental:
    """A rented machine; :class:`~.engine.Rentals` alone changes it."""

    contract: Contract
    meter: Meter
    label: str | None
    bid: float | None
    listed_at: float
    """From when the list shows it."""
    stuck: bool = False
    """Whether it never gets through loading."""
    phase: str = ""
    until: float | None = None
    """When its phase ends by itself."""
    waiting_since: float = 0.0
    offline: bool = False
    forced_until: float | None = None
    """Until when it is offline by order."""
    rival: float = 0.0
    """What somebody outside the market bids for its GPUs."""
    pulled: bool = False
    """Whether its container exists."""
    expired: bool = False
    said: str | None = None
    """Why it is as it is, if that is not the usual."""
    discount: float = 0.0
    deposit_micro_usd: int = 0
    running_since: float | None = None
    gone_at: float | None = None
    moments: list[Moment] = field(default_factory=list)
    alarm: float | None = None
    flip: tuple[tuple[Any, ...], float] | None = None

    @property
    def id(self) -> int:
        """The contract's."""
        return self.contract.id

    @property
    def usd_per_hour(self) -> float:
        """What its GPUs cost: what was agreed, or what is bid."""
        return float(self.contract.offer["dph_base"]) if self.bid is None else self.bid

    @property
    def holds(self) -> bool:
        """Whether it has its GPUs."""
        return self.phase in HOLDING

    @property
    def waits(self) -> bool:
        """Whether it would run if it could have its GPUs."""
        return self.phase in ("queued", "outbid")

    @property
    def contained(self) -> bool:
        """Whether its container runs."""
        return self.phase in CONTAINED and not self.offline

    @property
    def gpu_billed(self) -> bool:
        """Whether its GPUs are billed."""
        return self.gone_at is None and not self.offline and self.phase in GPU_BILLED

    @property
    def status(self) -> Status:
        """The four words."""
        status = STATUSES[self.phase]
        return status._replace(actual="offline") if self.offline else status

    def deposit_left_micro_usd(self, now: float) -> int:
        """Return what is left of what was prepaid."""
        return max(0, self.deposit_micro_usd - self.meter.deposit_micro_usd(now))

    def rates(self) -> dict[str, int]:
        """Return what it uses now: item -> billionths of a dollar per hour."""
        if self.gone_at is not None or self.offline:
            return {}
        gpu = nano(self.usd_per_hour * (1 - self.discount)) if self.gpu_billed else 0
        return {GPU: gpu, DISK: nano(float(self.contract.offer["storage_total_cost"]))}

    def remember(self, at: float) -> None:
        """Write down what it is now."""
        rates = self.rates()
        while self.moments and self.moments[-1].at == at:
            self.moments.pop()
        self.moments.append(
            Moment(at, self.phase, self.status, self.usd_per_hour, bool(rates.get(GPU)), bool(rates.get(DISK)))
        )
