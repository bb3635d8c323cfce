"""`launch`: rent a machine, once, for what was agreed.

1. What is wanted is checked without asking anybody: spec, terms, offers.
2. The machines are listed: what earlier launches left unsettled is settled; a living machine of the same name is returned.
3. The offer is read anew, past the cache, and compared with what was agreed: offer, machine, account, place, price, caps.
4. `plan_of` makes the request; ``dry_run`` ends here.
5. `Buyer.buy` checks the profile's caps, writes the intent down and sends it, once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vastnb.errors import (
    ApiError,
    BudgetError,
    InputError,
    InsufficientCreditError,
    InvalidRequestError,
    LaunchError,
    NameTakenError,
    OfferGoneError,
    PriceChangedError,
    SandboxOfferError,
    VastError,
)  # fmt: skip
from vastnb.services import budget
from vastnb.services.arguments import unknown_argument
from vastnb.services.costs import Job, Quote, differences, quote_of_row, quotes_of
from vastnb.services.instances.admission import register_key
from vastnb.services.instances.fleet import Fleet, Sight, fleet_of
from vastnb.services.instances.handle import Instance
from vastnb.services.instances.labels import write_label
from vastnb.services.instances.spec import LaunchSpec, check_name, spec_of
from vastnb.services.instances.terms import Plan, Terms, plan_of, terms_of
from vastnb.services.journal import Rental, notebook_of_kernel
from vastnb.vast.client import FIRST_SANDBOX_ID
from vastnb.vast.query import DEFAULT_DISK_GB, DEFAULT_ORDER

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["launch", "offers_for", "parted"]

_OFFERS_TRIED = 5
_OTHER_KERNEL_S = 0.2
_SPEC = frozenset(LaunchSpec.model_fields)
_TERMS = frozenset(Terms.model_fields)
_JOB = frozenset({"hours", "download_gb", "upload_gb"})


@dataclass(frozen=True, slots=True)
class _Offer:
    """One offer that may be rented, and what was agreed about it."""

    offer_id: int
    rental: str
    agreed: Quote | None = None
    is_quoted: bool = False
    """Whether the user asked for the quote, and so fixed the price."""
    query: str = ""
    """What must still hold for it."""


@dataclass(frozen=True, slots=True)
class _Wish:
    spec: LaunchSpec
    terms: Terms
    name: str
    job: dict[str, Any]


def launch(
    what: Quote | pd.Series | pd.DataFrame | int | str,
    *,
    name: str = "",
    new: bool = False,
    dry_run: bool = False,
    hours: float | None = None,
    download_gb: float = 0,
    upload_gb: float = 0,
    client: Client | None = None,
    **wanted: Any,
) -> Instance | Plan:
    """Rent a machine, exactly once, for what was agreed.

    With `name`, a machine of that name that lives is returned instead: running a notebook again rents nothing.

    Parameters
    ----------
    what
        A `Quote` or a row of `vastnb.quote`'s frame (the price is then fixed), an offer's row or id, or a frame of either: of a
        frame the first offer that is to be had. Text is conditions of a search: the cheapest that meets them.
    name
        What the machine is called from now on, on every computer.
    new
        Rent another one although one of this name lives; it gets a number behind its name.
    dry_run
        Ask, check and return the `Plan`, with the exact request (secrets hidden); rent nothing.
    hours, download_gb, upload_gb
        What the job is expected to take, for the quote; a quote given knows its own.
    **wanted
        What is to run: image (with its tag), template, disk_gb, bid_usd_per_hour, env, secrets, ports, onstart, runtype (ssh,
        jupyter, args), args, volume, label, cancel_unavail. What it may cost: max_usd_per_hour, max_usd (in all, traffic
        included), max_hours, at_end (destroy, stop), before_end, idle_minutes.

    Returns
    -------
    Instance or Plan
        The machine; it may still be starting (`Instance.wait`).

    Raises
    ------
    InputError
        Something that cannot be right; nothing was asked.
    BudgetError, PriceChangedError, NameTakenError, OfferGoneError
        Nothing was rented: a cap, another price or machine than agreed, a name in use, nothing left to rent.
    LaunchUncertainError
        The answer was lost, and it is not known whether a machine was rented.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> q = vastnb.quote(vastnb.search("gpu_name=RTX_4090"), hours=2, disk_gb=20)
    >>> i = vastnb.launch(q.iloc[0], name="demo", max_hours=3)
    >>> i.wait().state, vastnb.launch(q.iloc[1], name="demo", max_hours=3).id == i.id
    ('running', True)
    >>> i.destroy().is_final
    True
    """
    job = {"hours": hours, "download_gb": download_gb, "upload_gb": upload_gb}
    offers = offers_for(what, wanted, client=client)
    return launch_on(fleet_of(client), offers, name=name, new=new, dry_run=dry_run, **job, **wanted)


def offers_for(
    what: Any, wanted: Mapping[str, Any], *, order: str = DEFAULT_ORDER, client: Client | None = None
) -> Any:
    """`what`, or the offers that meet it if it is text: with the disk, and for the bid, that are `wanted`."""
    if not isinstance(what, str):
        return what
    from vastnb.services.offers import search

    rental = "on-demand" if wanted.get("bid_usd_per_hour") is None else "bid"
    disk_gb = wanted.get("disk_gb") or DEFAULT_DISK_GB
    return search(what, rental=rental, disk_gb=disk_gb, order=order, client=client)


def launch_on(
    fleet: Fleet, what: Any, *, name: str = "", new: bool = False, dry_run: bool = False, **wanted: Any
) -> Instance | Plan:
    """`launch`, through a fleet."""
    offers = list(_offers(what))
    wish = _wish(offers[0], name, wanted)
    _check_asked(fleet, offers, wish)
    sight = _settled(fleet)
    living = sight.named(wish.name) if wish.name else None
    if living is not None and not new:
        return _again(fleet, *living, wish, sight)
    if living is not None:
        wish = replace(wish, name=_numbered(wish.name, sight))
    if wish.spec.runtype == "ssh" and not dry_run:
        register_key(fleet)
    return _first_to_be_had(fleet, offers, wish, sight, dry_run=dry_run)


# ------------------------------------------------------------ what is wanted


def _offers(what: Any) -> Iterator[_Offer]:
    import pandas as pd

    if isinstance(what, Quote):
        yield _Offer(what.offer_id, what.rental, what, is_quoted=True)
    elif isinstance(what, pd.Series):
        row = what.to_frame().T
        row.attrs = dict(what.attrs)
        yield from _offers_of_frame(row)
    elif isinstance(what, pd.DataFrame):
        if what.empty:
            raise InputError("this frame has no offers", hint="search for something that is there")
        yield from _offers_of_frame(what.head(_OFFERS_TRIED))
    elif isinstance(what, bool) or not hasattr(what, "__index__"):
        raise InputError(f"launch takes a quote, an offer's row or id, or a frame of them, got {type(what).__name__}")
    else:
        yield _Offer(int(what), "")


def _offers_of_frame(frame: pd.DataFrame) -> Iterator[_Offer]:
    if "usd_total" in frame.columns:
        for _, row in frame.iterrows():
            made = quote_of_row(row)
            yield _Offer(made.offer_id, made.rental, made, is_quoted=True)
        return
    about = frame.attrs.get("vastnb", {})
    query = about.get("query", "") if about.get("kind") == "offers" else ""
    for seen in quotes_of(frame, Job()):
        yield _Offer(seen.offer_id, seen.rental, seen, query=query)


def _wish(first: _Offer, name: str, wanted: dict[str, Any]) -> _Wish:
    runs, ends, job = parted(wanted)
    spec = spec_of(**{**_fixed_by_quote(first, {**runs, **job}), **runs})
    terms = terms_of(**ends)
    job = {"hours": terms.max_hours or 1.0, **job}
    if terms.on_outbid == "move":
        _check_movable(spec, name)
    return _Wish(spec, terms, check_name(name) if name else "", job)


def _check_movable(spec: LaunchSpec, name: str) -> None:
    """Whoever moves a machine has what is written down of it, and knows it by its name."""
    if not name or spec.bid_usd_per_hour is None:
        raise InputError(
            "on_outbid='move' goes with a name and a bid", hint="launch(..., name='spot', bid_usd_per_hour=...)"
        )
    if spec.secrets:
        raise InputError(
            f"on_outbid='move' does not go with secrets, which are not written down: {', '.join(sorted(spec.secrets))}",
            hint="set them as variables of the account: each of its machines has those",
        )


def parted(wanted: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What is to run, what it may cost, and what the job takes: the arguments of `launch`, but for those that were not given.

    Raises
    ------
    InputError
        `launch` has no such argument.
    """
    given = {argument: value for argument, value in wanted.items() if value is not None}
    known = _SPEC | _TERMS | _JOB
    if not known.issuperset(given):
        raise unknown_argument("launch", min(set(given) - known), known | {"name", "new", "dry_run"})
    runs, ends, job = ({n: v for n, v in given.items() if n in kind} for kind in (_SPEC, _TERMS, _JOB))
    return runs, ends, job


def _fixed_by_quote(offer: _Offer, given: dict[str, Any]) -> dict[str, Any]:
    """What a quote fixes; anything else that is asked for beside it is a difference."""
    if offer.agreed is None or not offer.is_quoted:
        return {}
    job = offer.agreed.job.model_dump()
    for name in sorted({"disk_gb", "bid_usd_per_hour", *_JOB} & set(given)):
        if given[name] != job[name] and not (name in _JOB and not given[name]):
            raise PriceChangedError(
                f"the quote is for {name}={job[name]}, not {given[name]}", hint="quote again, with what you want"
            )
    return {"disk_gb": job["disk_gb"], "bid_usd_per_hour": job["bid_usd_per_hour"]}


def _check_asked(fleet: Fleet, offers: Sequence[_Offer], wish: _Wish) -> None:
    """What can be refused without asking the service."""
    settings = fleet.client.settings
    settings.require_mode()
    for offer in offers:
        if offer.offer_id >= FIRST_SANDBOX_ID and not settings.local:
            raise SandboxOfferError(f"offer {offer.offer_id} is one of the sandbox, and this account is a real one")
        if offer.rental == "reserved":
            raise InputError(
                f"offer {offer.offer_id} is quoted as reserved; vastnb rents on demand and interruptible machines"
            )
        if offer.rental == "bid" and wish.spec.bid_usd_per_hour is None:
            raise InputError(
                f"offer {offer.offer_id} was searched for with rental='bid', and there is no bid: without one it would be rented on demand",
                hint="give bid_usd_per_hour=..., dollars an hour for all its GPUs together, or search without rental='bid'",
            )  # fmt: skip
        if offer.rental not in ("", "bid") and wish.spec.bid_usd_per_hour is not None:
            raise InputError("a bid goes with offers that were searched for with rental='bid'")
    capped = wish.terms.has_cap or settings.budget.max_usd_per_hour is not None or offers[0].is_quoted
    if not capped and not settings.local:
        seen = offers[0].agreed.usd_per_hour if offers[0].agreed is not None else None
        raise BudgetError(
            "a real account rents nothing without a quote or a cap", cap="max_usd_per_hour",
            hint=f"vastnb.launch({offers[0].offer_id}, ..., max_usd_per_hour={seen or 0.5:.3f})",
        )  # fmt: skip


# ------------------------------------------------------------ what is there already


def _settled(fleet: Fleet) -> Sight:
    """What is there, when nothing that was asked for earlier can still turn up."""
    sight = fleet.look()
    while sight.waiting:
        fleet.pause(5.0)
        sight = fleet.look()
    return sight


def _again(fleet: Fleet, record: Any, row: Rental, wish: _Wish, sight: Sight) -> Instance:
    """The living machine of this name, unless something else was asked for."""
    shown = wish.spec.shown()
    other = [
        f"{name} {row.spec[name]!r}, not {value!r}"
        for name, value in shown.items()
        if row.spec and row.spec.get(name) != value
    ]
    if other:
        raise NameTakenError(
            f"{row.name} is machine {record.id}, and it was rented with {'; '.join(other)}",
            hint="take another name, say new=True for a second machine, or destroy the first",
        )  # fmt: skip
    return Instance(fleet, record, row, sight.now)


def _numbered(name: str, sight: Sight) -> str:
    used = {row.name for row in sight.rows.values()}
    return next(numbered for n in range(2, len(used) + 3) if (numbered := f"{name[:60]}-{n}") not in used)


# ------------------------------------------------------------ renting


def _first_to_be_had(
    fleet: Fleet, offers: Sequence[_Offer], wish: _Wish, sight: Sight, *, dry_run: bool
) -> Instance | Plan:
    """The first of the offers that is to be had as agreed; the next is tried only after a certain refusal."""
    refusals: list[VastError] = []
    for offer in offers:
        try:
            plan = _planned(fleet, offer, wish)
            return plan if dry_run else _rented(fleet, offer, wish, plan, sight)
        except (OfferGoneError, PriceChangedError, BudgetError, InvalidRequestError) as refusal:
            if isinstance(refusal, InsufficientCreditError) or str(refusal.__dict__.get("cap", "")).startswith(
                "budget."
            ):
                raise
            refusals.append(refusal)
        except NameTakenError:
            return _other_kernels(fleet, wish)
    if len(refusals) == 1:
        raise refusals[0]
    said = "; ".join(f"{offer.offer_id}: {refusal.message}" for offer, refusal in zip(offers, refusals, strict=True))
    raise type(refusals[-1])(f"none of {len(refusals)} offers was to be had: {said}")


def _planned(fleet: Fleet, offer: _Offer, wish: _Wish) -> Plan:
    """The offer as it is now, compared with what was agreed."""
    client, bid = fleet.client, wish.spec.bid_usd_per_hour
    rental = offer.rental or ("bid" if bid is not None else "on-demand")
    frame = client.get_offer(offer.offer_id, rental=rental, disk_gb=wish.spec.disk_gb, query=offer.query)
    row = frame.iloc[0]
    job = offer.agreed.job.model_dump() if offer.agreed is not None and offer.is_quoted else wish.job
    (now,) = quotes_of(frame, Job(**{**job, "disk_gb": wish.spec.disk_gb, "bid_usd_per_hour": bid}))
    changed = differences(offer.agreed, now) if offer.agreed is not None else []
    if changed:
        raise PriceChangedError(f"offer {offer.offer_id}: {'; '.join(changed)}")
    if bid is not None:
        now = _bid_checked(client, now, bid, row)
    return plan_of(row.to_dict(), now, wish.spec, wish.terms, wish.name, url=client.settings.url)


def _bid_checked(client: Client, now: Quote, bid: float, row: pd.Series) -> Quote:
    """The quote of a bid that can win; with a warning where it is no cheaper than renting on demand."""
    floor = row["min_bid_usd_per_hour"]
    if floor > bid:
        raise PriceChangedError(
            f"offer {now.offer_id}: at least ${floor:.3f}/h must be bid now, for all its GPUs together, got {bid:g}",
            hint="a bid that is too low can leave a machine behind that never runs and is billed",
        )
    try:
        on_demand = client.get_offer(now.offer_id)["gpu_usd_per_hour"][0]
    except OfferGoneError:  # its GPUs run for somebody who bids less
        return now
    if bid < on_demand:
        return now
    dear = f"on demand its GPUs cost ${on_demand:.3f}/h, no more than this bid, and nobody can outbid that"
    return now.model_copy(update={"uncertain": (*now.uncertain, dear)})


def _rented(fleet: Fleet, offer: _Offer, wish: _Wish, plan: Plan, sight: Sight) -> Instance:
    rental = Rental(
        token=plan.label.token, label=write_label(plan.label), offer_id=offer.offer_id, sent_at=plan.now, name=wish.name,
        machine_id=plan.quote.machine_id, rental=plan.quote.rental, spec=wish.spec.shown(), query=offer.query,
        terms=wish.terms.model_dump(mode="json"), quote={**plan.quote.model_dump(mode="json"), "advertised": dict(plan.advertised)}, usd_per_hour=plan.usd_per_hour,
        most_usd=plan.most_usd, ends_at=plan.ends_at, notebook=notebook_of_kernel(),
    )  # fmt: skip
    new = budget.Cost(plan.usd_per_hour, plan.ends_at, plan.most_usd)
    bought = fleet.buyer.buy(rental, plan.request, fleet.allowance(sight, new))
    if fleet.on_end is not None and plan.ends_at is not None and bought.instance_id is not None:
        fleet.on_end(bought.instance_id, plan.ends_at, wish.terms.at_end)
    machine = Instance(fleet, None, bought, plan.now, plan=plan, again=_another(fleet, offer, wish, plan))
    with contextlib.suppress(ApiError):  # it is rented, whether it can be looked at just now or not
        machine.refresh()
    return machine


def _another(fleet: Fleet, offer: _Offer, wish: _Wish, plan: Plan) -> Callable[[float], Instance]:
    """Rents another machine of the same kind within the same caps, for one that is stuck; not one of those that were tried."""
    tried = {plan.quote.machine_id}

    def again(now: float) -> Instance:
        from vastnb.services.offers import search

        terms = _remaining(wish.terms, plan, now)
        model = f'gpu_name="{plan.quote.gpu_name}" num_gpus={plan.quote.num_gpus}'
        found = search(
            offer.query or model, rental=plan.quote.rental, disk_gb=wish.spec.disk_gb, refresh=True, client=fleet.client
        )
        fits = found[~found["machine_id"].isin(tried) & (found["usd_per_hour"] <= (terms.max_usd_per_hour or 0.0))]
        if fits.empty:
            raise OfferGoneError("no other machine is to be had within the same caps")
        other = _first_to_be_had(fleet, list(_offers(fits)), replace(wish, terms=terms), fleet.look(), dry_run=False)
        assert isinstance(other, Instance)
        tried.add(other.plan.quote.machine_id if other.plan is not None else None)
        return other

    return again


def _remaining(terms: Terms, plan: Plan, now: float) -> Terms:
    """What is left of the caps for the next machine."""
    gone_h = (now - plan.now) / 3600
    hours = None if terms.max_hours is None else max(terms.max_hours - gone_h, 0.01)
    usd = None if terms.max_usd is None else max(terms.max_usd - gone_h * plan.usd_per_hour, 0.01)
    cap = terms.max_usd_per_hour or plan.usd_per_hour
    return terms.model_copy(update={"max_hours": hours, "max_usd": usd, "max_usd_per_hour": cap})


def _other_kernels(fleet: Fleet, wish: _Wish) -> Instance:
    """Another kernel rents a machine of this name at this moment: wait for what becomes of it."""
    while any(row.name == wish.name and row.is_in_flight for row in fleet.journal.rows("pending")):
        time.sleep(_OTHER_KERNEL_S)
    sight = _settled(fleet)
    living = sight.named(wish.name)
    if living is None:
        raise LaunchError(
            f"another kernel tried to rent {wish.name} just now and did not get it", retryable=True, hint="run it again"
        )
    return _again(fleet, *living, wish, sight)
