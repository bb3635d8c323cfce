"""What a launch panel shows in each of its phases: a state becomes words, a front end only draws them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd

from vastnb.api.widgets.agreements import Agreement, Candidate, gpus_of, place_of
from vastnb.api.widgets.panel import Snapshot
from vastnb.errors import VastError
from vastnb.infra.config import VAST_URL
from vastnb.services.costs import Quote
from vastnb.services.instances import Instance, Progress
from vastnb.services.instances.spending import Bill
from vastnb.vast.client import FIRST_SANDBOX_ID
from vastnb.vast.render import Card, card_html, card_text, plain

__all__ = ["ACTIVE", "Phase", "State", "in_words", "snapshot", "view"]

Phase = Literal[
    "empty", "offer", "checking", "agreed", "renting", "lost", "waiting", "machine", "leaving", "ending", "ended"
]
"""
* ``empty``: there is no offer; ``offer``: there is one; ``checking``: it is read anew; ``agreed``: it may be confirmed;
* ``renting``: the paying request is under way; ``lost``: its answer was lost;
* ``waiting``: the machine starts; ``machine``: there is one; ``leaving``: its end may be confirmed;
* ``ending``: it is being destroyed; ``ended``: it is gone.
"""
ACTIVE: frozenset[Phase] = frozenset({"renting", "lost", "waiting", "machine", "leaving", "ending"})
"""In these money may be spent: another offer is not looked at."""
_STEPS = ("rented", "provisioning", "loading", "running")
_LONGEST = 60
_IN_A_CELL = ("image", "template", "disk_gb", "bid_usd_per_hour", "runtype", "max_usd", "max_hours", "at_end")


@dataclass(frozen=True, slots=True)
class State:
    """All that a panel knows."""

    phase: Phase = "empty"
    hint: str = ""
    """What to do while there is no offer."""
    candidates: tuple[Candidate, ...] = ()
    count: int = 0
    picked: Candidate | None = None
    row: pd.DataFrame | None = None
    quote: Quote | None = None
    before: Quote | None = None
    """What was quoted before the price changed."""
    agreement: Agreement | None = None
    refusal: str = ""
    """Why it cannot be rented as it is wanted."""
    gone: bool = False
    """Whether the offer is no longer there."""
    balance_usd: float | None = None
    query: str = ""
    """What can be searched for again."""
    url: str = ""
    """The service that was asked."""
    practice: bool = False
    machine: Instance | None = None
    progress: Progress | None = None
    bill: Bill | None = None
    note: str = ""


def view(state: State) -> dict[str, Any]:
    """What the front end draws: JSON-safe, all words finished.

    Returns
    -------
    dict
        ``phase``, ``title``, ``about``, ``badges``, ``prices`` (rows of label, an hour, the job), ``facts`` and ``details`` (rows of
        label and value), ``warnings``, ``choices``, ``steps``, ``main`` and ``others`` (buttons), ``copy`` (a line to copy).
    """
    of_machine = state.machine is not None and state.phase not in ("offer", "agreed", "empty")
    made = _machine_view(state, state.machine) if of_machine and state.machine is not None else _offer_view(state)
    return {"phase": state.phase, "note": state.note, "badges": _badges(state), **made}


def _badges(state: State) -> list[list[str]]:
    seen = state.machine.seen_at if state.machine is not None else state.quote.seen_at if state.quote else None
    offered = state.picked.offer_id if state.picked is not None else 0
    if state.practice or offered >= FIRST_SANDBOX_ID:
        place = [["Sandbox: practice, not real", "practice"]]
    else:
        place = [["Vast.ai" if state.url == VAST_URL else plain(state.url), ""]] if state.url else []
    return [*place, *([[f"as of {seen:%Y-%m-%d %H:%M:%S} UTC", ""]] if seen is not None else [])]


# ------------------------------------------------------------ an offer


def _offer_view(state: State) -> dict[str, Any]:
    quote, agreement = state.quote, state.agreement
    return {
        "title": _offered(state),
        "about": _about(state),
        "prices": _prices(quote) if quote else [],
        "facts": [[name, value] for name, value in _terms(state)] if agreement else [],
        "details": [list(ending) for ending in _endings(agreement)] if agreement else [],
        "warnings": list(_warnings(state)),
        "choices": _choices(state),
        "steps": [],
        "copy": "",
        **_offer_buttons(state),
    }


def _offered(state: State) -> str:
    known = state.quote or (state.picked.agreed if state.picked is not None else None)
    if known is not None:
        return gpus_of(known)
    return state.hint if state.picked is None else f"Offer {state.picked.offer_id}"


def _about(state: State) -> str:
    if state.row is None or state.quote is None:
        return "" if state.picked is None else state.picked.words
    row = state.row.iloc[0]
    parts = [
        _known(row, "gpu_ram_nominal_gb", lambda v: f"{v:g} GB"),
        _known(row, "geolocation", place_of),
        _known(row, "reliability", lambda v: f"{v:.1%} reliable"),
        _known(row, "inet_down_mbps", lambda v: f"{v:,.0f} Mbit/s down"),
        "interruptible" if state.quote.rental == "bid" else "",
        f"offer {state.quote.offer_id}",
    ]
    return " · ".join(part for part in parts if part)


def _known(row: Any, name: str, words: Any) -> str:
    value = row.get(name)
    return "" if value is None or pd.isna(value) else str(words(value))


def _prices(quote: Quote) -> list[list[str]]:
    disk = None if quote.disk_usd is None else quote.disk_usd / quote.job.hours
    traffic = _sum(quote.download_usd, quote.upload_usd)
    rows = [["GPU", usd(quote.gpu_usd_per_hour, 3), usd(quote.gpu_usd)], ["Disk", usd(disk, 3), usd(quote.disk_usd)]]
    if quote.job.download_gb or quote.job.upload_gb:
        rows.append(["Traffic", "", usd(traffic)])
    return [*rows, ["Together", usd(quote.usd_per_hour, 3), usd(quote.usd_total)]]


def usd(amount: float | None, digits: int = 2) -> str:
    """An amount of dollars; one that is not known says so."""
    return "unknown" if amount is None else f"${amount:,.{digits}f}"


def _sum(*amounts: float | None) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _terms(state: State) -> Iterator[tuple[str, str]]:
    agreement, balance = state.agreement, state.balance_usd
    if agreement is None:
        return
    plan = agreement.plan
    if plan.most_usd is None or state.row is None:
        yield "At most", "nothing bounds it"
    else:
        yield "At most", f"{usd(plan.most_usd)} in all, {_traffic(agreement, state.row.iloc[0])}"
    yield "Ends", _end(agreement)
    if balance is not None:
        left = "" if plan.most_usd is None else f", at least {usd(balance - plan.most_usd)} after it"
        yield "Balance", f"{usd(balance)} now{left}"


def _traffic(agreement: Agreement, row: Any) -> str:
    """More traffic than was named ends a machine only if there is a cap in dollars."""
    job = agreement.quote.job
    free = all(_known(row, name, float) == "0.0" for name in ("inet_down_usd_per_gb", "inet_up_usd_per_gb"))
    if "max_usd" in agreement.arguments or free:
        return "traffic included"
    return "with the traffic named here" if job.download_gb or job.upload_gb else "without traffic"


def _end(agreement: Agreement) -> str:
    plan = agreement.plan
    if plan.ends_at is None:
        return "only when you destroy it"
    if agreement.arguments.get("at_end") == "stop":
        return f"stops itself {moment(plan.ends_at, plan.now)}; its disk goes on costing until you destroy it"
    return f"destroys itself {moment(plan.ends_at, plan.now)}, with its disk; or earlier, when you do"


def moment(seconds: float, now: float) -> str:
    """A moment by the service's clock; its date only if it is not today's."""
    then = datetime.fromtimestamp(seconds, UTC)
    today = then.date() == datetime.fromtimestamp(now, UTC).date()
    return f"{then:%H:%M} UTC" if today else f"{then:%Y-%m-%d %H:%M} UTC"


def _endings(agreement: Agreement) -> Iterator[tuple[str, str]]:
    for ending in agreement.plan.endings:
        yield f"when {ending.state}", str(ending).partition(": ")[2]


def _warnings(state: State) -> Iterator[str]:
    quote, before = state.quote, state.before
    if state.gone:
        yield "This offer is gone: somebody rented it, or the host took it back. Nothing was rented."
    if before is not None and quote is not None:
        yield (
            f"The price changed: {usd(before.usd_per_hour, 3)} → {usd(quote.usd_per_hour, 3)} an hour, "
            f"{usd(before.usd_total)} → {usd(quote.usd_total)} for the job. Nothing was rented; press again if that is right."
        )
    if state.refusal:
        yield state.refusal
    most = state.agreement.plan.most_usd if state.agreement is not None else None
    if most is not None and state.balance_usd is not None and most > state.balance_usd:
        yield f"The balance of {usd(state.balance_usd)} is less than this can cost, {usd(most)}."
    yield from quote.uncertain if quote is not None else ()


def _choices(state: State) -> dict[str, Any]:
    if len(state.candidates) < 2 or state.picked is None:
        return {}
    more = (
        f"the {len(state.candidates)} cheapest of {state.count:,}"
        if state.count > len(state.candidates)
        else f"{state.count}"
    )
    return {
        "label": f"Offer ({more}, cheapest first)",
        "options": [[c.offer_id, c.words] for c in state.candidates],
        "chosen": state.picked.offer_id,
    }


def _offer_buttons(state: State) -> dict[str, Any]:
    agreement = state.agreement
    if state.phase == "agreed" and agreement is not None:
        return {
            "main": {"do": "rent", "words": _confirm(agreement), "token": agreement.plan.label.token},
            "others": [["back", "Back"]],
        }
    if state.phase in ("renting", "ending"):
        return {"main": None, "others": [["cancel", "Cancel: end it"]] if state.phase == "renting" else []}
    if state.phase == "lost":
        return {"main": {"do": "look", "words": "Look for it"}, "others": [["cancel", "End it if it turns up"]]}
    if state.gone:
        is_last = state.picked is None or not state.candidates or state.candidates[-1].offer_id == state.picked.offer_id
        more = [] if is_last else [["next", "Next offer"]]
        return {"main": {"do": "search", "words": "Search again"}, "others": more}
    if state.phase in ("offer", "checking") and agreement is not None:
        do = (
            "check" if state.phase == "offer" else ""
        )  # the button stays while the offer is read, and so does the focus
        return {"main": {"do": do, "words": f"Rent for {usd(agreement.plan.usd_per_hour, 3)}/h"}, "others": []}
    again = {"do": "search", "words": "Search again"} if state.phase == "empty" and state.query else None
    return {"main": again, "others": []}


def _confirm(agreement: Agreement) -> str:
    plan = agreement.plan
    most = f"{usd(plan.usd_per_hour, 3)}/h" if plan.most_usd is None else f"at most {usd(plan.most_usd)}"
    if plan.ends_at is None:
        return f"Confirm: {most}, nothing ends it but you"
    act = "stops" if agreement.arguments.get("at_end") == "stop" else "ends"
    return f"Confirm: {most}, {act} itself {moment(plan.ends_at, plan.now)}"


def in_words(error: VastError) -> str:
    """An error in a line."""
    return f"{error.message}{f' ({error.hint})' if error.hint else ''}"


# ------------------------------------------------------------ a machine


def _machine_view(state: State, machine: Instance) -> dict[str, Any]:
    called = machine.name or f"machine {machine.id}"
    return {
        "title": f"{called} {_doing(state, machine)}",
        "about": " · ".join(_whereabouts(machine)),
        "prices": [],
        "facts": [[name, value] for name, value in _machine_facts(state, machine) if value],
        "details": [],
        "warnings": [],
        "choices": {},
        "steps": _steps(machine) if state.phase in ("waiting", "machine", "leaving") else [],
        "copy": (machine.ssh_command or "") if machine.state == "running" and state.phase != "ended" else "",
        **_machine_buttons(state, machine),
    }


def _doing(state: State, machine: Instance) -> str:
    if state.phase == "ended":
        return "is gone"
    return "is being ended" if state.phase == "ending" else f"is {machine.state}"


def _whereabouts(machine: Instance) -> Iterator[str]:
    record = machine.record
    yield f"machine {machine.id}"
    if record is not None:
        yield f"{record.num_gpus} × {plain(record.gpu_name or '?', _LONGEST)}"
        if record.geolocation:
            yield place_of(record.geolocation)


def _machine_facts(state: State, machine: Instance) -> Iterator[tuple[str, str]]:
    if state.phase == "ended":
        yield from _bill_facts(state.bill)
        return
    progress, hourly = state.progress, machine.usd_per_hour
    yield "Costs", f"{usd(hourly, 3)} an hour"
    if progress is not None:
        yield "So far", f"{usd(progress.usd, 4)} after {clock(progress.elapsed_s)}"
        yield "Says", plain(progress.message, 200) if machine.state != "running" else ""
    ends = machine.ends_at
    yield (
        "Ends",
        "only when you destroy it"
        if ends is None
        else f"by itself, {moment(ends.timestamp(), machine.seen_at.timestamp())}",
    )


def _bill_facts(bill: Bill | None) -> Iterator[tuple[str, str]]:
    if bill is not None:
        yield "Final bill", usd(bill.usd_total, 3)
        parts = {"GPU": bill.gpu_usd, "disk": bill.disk_usd, "download": bill.download_usd, "upload": bill.upload_usd}
        yield "Of which", ", ".join(f"{name} {usd(amount, 3)}" for name, amount in parts.items() if amount)
        yield "Quoted", "" if bill.quoted_usd is None else f"{usd(bill.quoted_usd)} for the whole job"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _steps(machine: Instance) -> list[list[str]]:
    if machine.state not in _STEPS:
        return []
    at = _STEPS.index(machine.state)
    return [
        [word, "done" if n < at or at == len(_STEPS) - 1 else "now" if n == at else "next"]
        for n, word in enumerate(_STEPS)
    ]


def _machine_buttons(state: State, machine: Instance) -> dict[str, Any]:
    if state.phase == "waiting":
        return {"main": None, "others": [["cancel", "Cancel: end it"]]}
    if state.phase == "leaving":
        return {"main": {"do": "destroy", "words": "Confirm: end it; its disk is lost"}, "others": [["back", "Back"]]}
    if state.phase == "machine":
        waits = [["wait", "Wait for it"]] if machine.state in _STEPS[1:3] else []
        return {
            "main": None,
            "others": [*waits, ["refresh", "Look again"], ["leave", "Destroy…"], ["another", "Rent another"]],
        }
    return {"main": None, "others": [["another", "Back to the offer"]] if state.phase == "ended" else []}


# ------------------------------------------------------------ without a front end


def snapshot(state: State) -> Snapshot:
    """The same for readers without a front end, with the line that does it in a cell."""
    shown = view(state)
    doing = {"offer": "not rented", "agreed": "not rented", "renting": "being rented", "lost": "answer lost"}
    parts = [f"LaunchPanel: {shown['title']}", doing.get(state.phase, ""), *(words for words, _ in shown["badges"])]
    prices = [
        (label, f"{hour} an hour, {job} for the job" if hour else f"{job} for the job")
        for label, hour, job in shown["prices"]
    ]
    about = [("about", shown["about"])] if shown["about"] else []
    in_a_cell = [("in a cell", _line(state.agreement))] if state.agreement is not None and state.machine is None else []
    notes = [*shown["warnings"], *([state.note] if state.note else [])]
    rows = [*about, *prices, *((name.lower(), value) for name, value in shown["facts"]), *in_a_cell]
    reach = [("reach it", shown["copy"])] if shown["copy"] else []
    card = Card(" · ".join(part for part in parts if part), [*rows, *reach], notes)
    return Snapshot(card_text(card), card_html(card))


def _line(agreement: Agreement) -> str:
    """What rents the same in a cell; the price is the cap."""
    given = {"name": agreement.name, **{n: v for n, v in agreement.arguments.items() if n in _IN_A_CELL}}
    cap = math.ceil(agreement.plan.usd_per_hour * 1000) / 1000
    said = "".join(f", {name}={value!r}" for name, value in {**given, "max_usd_per_hour": cap}.items())
    return f"vastnb.launch({agreement.quote.offer_id}{said})"
