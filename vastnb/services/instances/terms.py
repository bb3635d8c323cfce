"""What a launch may cost and when its machine ends: `Terms`, and the `Plan` that comes of them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vastnb.errors import BudgetError, InputError
from vastnb.services import budget, watchdog
from vastnb.services.costs import Quote
from vastnb.services.instances.labels import Label, new_token, write_label
from vastnb.services.instances.spec import LaunchSpec
from vastnb.vast.render import Card, card_html, card_text

__all__ = ["ADVERTISED", "Plan", "Terms", "plan_of", "terms_of"]

ADVERTISED = ("inet_down_mbps", "inet_up_mbps", "dlperf", "reliability")
"""Figures of an offer that its machine has too."""
_SHOWN = 400
"""Characters of an on-start script that a plan shows."""


class Terms(BaseModel):
    """The caps of one launch, and what happens at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_usd_per_hour: float | None = Field(None, gt=0, description="dollars an hour, GPUs and disk")
    max_usd: float | None = Field(
        None, gt=0, description="dollars in all, traffic included; the machine ends itself before"
    )
    max_hours: float | None = Field(None, gt=0, le=100_000, description="hours from now; then the machine ends itself")
    at_end: Literal["destroy", "stop"] = Field(
        "destroy", description="what it does then; a stopped one goes on costing its disk"
    )
    before_end: str | None = Field(None, description="a shell command that it runs before, for a limited time")
    idle_minutes: float | None = Field(
        None, gt=0, description="it also ends after so long without GPU use, once there was some"
    )
    on_outbid: Literal["wait", "raise", "destroy", "move"] = Field(
        "wait",
        description="for an interruptible machine: what is done when somebody bids more (while somebody waits for it; to move it, "
        "while something keeps it)",
    )
    max_bid_usd_per_hour: float | None = Field(
        None, gt=0, description="up to which bid on_outbid='raise' and 'move' go"
    )

    @property
    def has_cap(self) -> bool:
        """Whether they bound the price at all."""
        return self.max_usd_per_hour is not None or self.max_usd is not None

    @property
    def watches(self) -> bool:
        """Whether something on the machine must end it."""
        return (self.max_usd, self.max_hours, self.idle_minutes) != (None, None, None)


def terms_of(**values: Any) -> Terms:
    """Terms of these values.

    Raises
    ------
    InputError
        One of them cannot be right.
    """
    try:
        return Terms(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{first['loc'][0]}: {first['msg']}, got {first['input']!r}", original=error) from error


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """A launch as it would be: what it costs, what is sent, who ends it when."""

    quote: Quote
    body: Mapping[str, Any]
    """The request, secrets hidden."""
    request: Mapping[str, Any] = field(repr=False)
    """The request as it is sent."""
    label: Label
    now: float
    """The service's clock when the offer was read, seconds since 1970."""
    usd_per_hour: float
    most_usd: float | None
    """The most that it can cost before it ends itself; None if nothing bounds it."""
    ends_at: float | None
    """When it ends itself, by the service's clock, seconds since 1970."""
    endings: Sequence[watchdog.Ending]
    advertised: Mapping[str, float] = field(default_factory=dict)
    """What the offer said of its host, by the names of `ADVERTISED`."""

    def __repr__(self) -> str:
        return card_text(self._card())

    def _repr_html_(self) -> str:
        return card_html(self._card())

    def _short_body(self) -> dict[str, Any]:
        """The request; of a long script its length."""
        script = self.body.get("onstart", "")
        return {**self.body, "onstart": f"({len(script):,} characters)"} if len(script) > _SHOWN else dict(self.body)

    def _card(self) -> Card:
        ends = (
            "nothing ends it but you"
            if self.ends_at is None
            else f"by itself, {datetime.fromtimestamp(self.ends_at, UTC):%Y-%m-%d %H:%M} UTC"
        )
        return Card(
            f"A launch as it would be, of offer {self.quote.offer_id}; nothing was rented",
            [
                ("costs", f"${self.usd_per_hour:.3f} an hour"),
                ("at most", "nothing bounds it" if self.most_usd is None else f"${self.most_usd:,.2f} in all"),
                ("ends", ends),
                *((f"when {ending.state}", str(ending).partition(": ")[2]) for ending in self.endings),
                ("request", json.dumps(self._short_body(), indent=1)),
            ],
            [repr(self.quote)],
        )


def plan_of(offer: Mapping[Any, Any], quote: Quote, spec: LaunchSpec, terms: Terms, name: str, *, url: str) -> Plan:
    """What to send for `spec` on an offer, so that `terms` hold.

    Parameters
    ----------
    offer, quote
        As they are now: a row of a search, and its quote.
    spec, terms
        What is wanted.
    name
        What the machine is called, if anything.
    url
        Where the machine reaches the service.

    Raises
    ------
    BudgetError
        A cap of `terms` does not hold.
    """
    now, price = offer["seen_at"].timestamp(), _priced(quote, terms)
    traffic = (quote.download_usd or 0.0) + (quote.upload_usd or 0.0)
    bound = budget.bound(usd_per_hour=price, traffic_usd=traffic, max_usd=terms.max_usd, max_hours=terms.max_hours)
    ends_at = now + bound.hours * 3600 if bound.hours is not None else None
    guard = _guard(offer, terms, bound, ends_at, url) if terms.watches and spec.runtype != "args" else None
    until = int(ends_at) if guard is not None and ends_at is not None else None
    label = Label(new_token(), name, until, spec.label)
    onstart = watchdog.packed(watchdog.script(guard, spec.onstart) if guard is not None else spec.onstart)
    request = spec.body(label=write_label(label), onstart=onstart)
    return Plan(
        quote=quote, body=spec.redacted(request), request=request, label=label, now=now, usd_per_hour=price,
        most_usd=bound.most_usd if guard is not None and terms.at_end == "destroy" else None,
        ends_at=ends_at if guard is not None else None,
        endings=watchdog.endings(guard, spec.runtype, usd_per_hour=price, disk_usd_per_hour=price - (quote.gpu_usd_per_hour or 0.0)),
        advertised={name: float(offer[name]) for name in ADVERTISED if math.isfinite(offer[name])},
    )  # fmt: skip


def _guard(
    offer: Mapping[str, Any], terms: Terms, bound: budget.Bound, ends_at: float | None, url: str
) -> watchdog.Watchdog:
    return watchdog.Watchdog(
        ends_at=ends_at,
        at_end=terms.at_end,
        before_end=terms.before_end,
        idle_minutes=terms.idle_minutes,
        max_traffic_usd=bound.traffic_usd if terms.max_usd is not None else None,
        usd_per_gb_down=_known(offer["inet_down_usd_per_gb"]),
        usd_per_gb_up=_known(offer["inet_up_usd_per_gb"]),
        url=url,
    )


def _known(price: Any) -> float:
    """A price; one that is not known counts as nothing, and the quote says that it is not known."""
    return float(price) if price == price else 0.0  # noqa: PLR0124


def _priced(quote: Quote, terms: Terms) -> float:
    """Dollars an hour, if they are known and under the cap."""
    price = quote.usd_per_hour
    if price is None:
        raise BudgetError(f"the price of offer {quote.offer_id} is not known", cap="max_usd_per_hour")
    if terms.max_usd_per_hour is not None and price > terms.max_usd_per_hour:
        raise BudgetError(
            f"max_usd_per_hour is ${terms.max_usd_per_hour:.3f}; offer {quote.offer_id} costs ${price:.3f}/h with its disk, "
            f"${price - terms.max_usd_per_hour:.3f} more", cap="max_usd_per_hour", limit_usd=terms.max_usd_per_hour, needed_usd=price,
        )  # fmt: skip
    return price
