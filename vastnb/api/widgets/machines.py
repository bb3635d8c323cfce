"""What the fleet panel says: of each machine, of all together, and of what an order would cost or lose. Pure.

And what it shows to readers without a front end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from vastnb.api.widgets.panel import Snapshot
from vastnb.services.glances import Glance, SeenMachine
from vastnb.services.instances.remarks import IDLE, Facts, remarks, timespan
from vastnb.vast.render import frame_html, frame_text, source_of
from vastnb.vast.types.frames import frame_of
from vastnb.vast.types.kinds import KINDS

__all__ = ["ORDERS", "asked_first", "row_of", "snapshot", "told"]

ORDERS = {"stop": "Stop", "start": "Start", "extend": "Extend", "bid": "Bid again", "destroy": "Destroy"}
"""What can be asked of a machine, and the word on its button."""
_JOINED_MIN = 2
"""Minutes without a look that a line still bridges."""
_SPAN_MIN, _HEIGHT = 60, 16
_OVERBID = 1.02


def row_of(machine: SeenMachine, glance: Glance) -> dict[str, Any]:
    """What the row of a machine says; JSON.

    Parameters
    ----------
    machine
        The machine.
    glance
        The look at which it was seen.
    """
    use = machine.gpu_util if machine.phase == "running" else None
    return {
        "id": machine.id,
        "name": _called(machine),
        "what": _what(machine),
        "state": machine.phase,
        "tone": _tone(machine.phase),
        "use": _percent(use),
        "line": _line(machine.uses, int(glance.at // 60)),
        "gpu": _gpu(machine),
        "disk": _disk(machine),
        "full": _share(machine),
        "age": f"{timespan(glance.at - machine.started_at)} old" if machine.started_at else "",
        "usd_per_hour": _price(machine.usd_per_hour),
        "usd": _so_far(machine, glance),
        "left": _left(machine, glance.at),
        "ends": _ends(machine),
        "warnings": [list(warning) for warning in _warnings(machine, glance.at)],
        "orders": _orders(machine),
        "opens": machine.phase == "running",
    }


def told(glance: Glance, *, url: str, account: str) -> dict[str, Any]:
    """What the line above the machines says; JSON.

    Parameters
    ----------
    glance
        The last look.
    url, account
        Whom it was asked of, and the name of the account.
    """
    where = {"source": "sandbox" if glance.is_practice else "vast", "url": url, "account": account}
    here = [machine for machine in glance.machines if machine.gone_at is None]
    return {
        "looked": glance.at > 0,
        "practice": glance.is_practice,
        "where": where,
        "source": source_of(where).capitalize() if glance.is_practice else source_of(where),
        "at": _moment(glance.at) if glance.at else "",
        "sums": _sums(here, glance) if glance.at else [],
        "waiting": [f"not known yet whether {label} was rented" for label in glance.waiting],
        "problem": None if glance.problem is None else {
            "name": glance.problem.name, "message": glance.problem.message, "hint": glance.problem.hint,
        },
    }  # fmt: skip


def asked_first(machine: SeenMachine, order: str, glance: Glance) -> dict[str, Any]:
    """What is asked before an order is carried out: what it costs, what is lost; JSON."""
    lines = [*_CONSEQUENCES[order](machine, glance)]
    if not machine.ours:
        lines.append("It was not made by vastnb: somebody else may need it.")
    return {
        "id": machine.id,
        "order": order,
        "called": _called(machine),
        "title": f"{ORDERS[order]}{' for' if order == 'bid' else ''} {_called(machine)}?",
        "lines": lines,
        "button": "Destroy for good" if order == "destroy" else ORDERS[order],
        "field": _field(machine, order),
        "fetch": _fetching(machine) if order == "destroy" else "",
    }


def snapshot(glance: Glance, about: dict[str, Any]) -> Snapshot:
    """The machines as `vastnb.instances` shows them, with their time."""
    title = " · ".join(
        ["FleetPanel", *about["sums"], *([f"as of {about['at']}"] if about["looked"] else ["not looked yet"])]
    )
    if about["problem"] is not None:
        title += f" · no newer look: {about['problem']['name']}: {about['problem']['message']}"
    if not about["looked"]:
        return Snapshot.of(
            title,
            "panel.look() asks now; so does vastnb.instances().",
            "<p>panel.look() asks now; so does vastnb.instances().</p>",
        )
    rows = [_listed(machine, glance) for machine in glance.machines]
    frame = frame_of("instances", {c.name: [row.get(c.name) for row in rows] for c in KINDS["instances"]})
    frame.attrs["vastnb"] = {"kind": "instances", **about["where"], "returned": len(rows), "notes": about["waiting"]}
    return Snapshot.of(title, frame_text(frame), frame_html(frame))


def _listed(machine: SeenMachine, glance: Glance) -> dict[str, Any]:
    """A machine as a row of the frame."""
    same = {name: getattr(machine, name) for name in ("name", "gpu_name", "num_gpus", "usd_per_hour", "gpu_util", "disk_used_gb", "disk_gb",
            "ours", "disk_usd_per_hour", "min_bid_usd_per_hour", "gpu_temp_c", "label", "geolocation")}  # fmt: skip
    ends = None if machine.ends_at is None else datetime.fromtimestamp(machine.ends_at, UTC)
    words = "; ".join(words for _, words in _warnings(machine, glance.at))
    return {**same, "instance_id": machine.id, "state": machine.phase, "ends_at": ends, "note": words}


# ---------------------------------------------------------------- one machine


def _called(machine: SeenMachine) -> str:
    return machine.name or machine.label or f"machine {machine.id}"


def _what(machine: SeenMachine) -> str:
    gpus = f"{machine.num_gpus or '?'} × {machine.gpu_name}" if machine.gpu_name else ""
    number = str(machine.id) if machine.name or machine.label else ""
    return _joined(gpus, machine.geolocation, "bid" if machine.is_bid else "", number)


def _gpu(machine: SeenMachine) -> str:
    used = _measure(machine.gpu_ram_used_gb, "{:.1f}")
    memory = f"{used} of {machine.gpu_ram_gb:.0f} GB" if used and machine.gpu_ram_gb else ""
    return _joined(_measure(machine.gpu_temp_c, "{:.0f} °C"), memory)


def _tone(phase: str) -> str:
    if phase == "running":
        return "good"
    return "bad" if phase in ("outbid", "exited", "failed", "unknown", "offline") else "calm"


def _line(uses: tuple[tuple[int, float], ...], minute: int) -> str:
    """The use of the last hour as the path of a picture of 60 by 16; where nobody looked it has a gap."""
    parts, last = [], None
    for at, use in uses:
        if not 0 <= (x := at - minute + _SPAN_MIN - 1) < _SPAN_MIN:
            continue
        y = f"{_HEIGHT * (1 - min(use, 1.0)):.3g}"
        parts.append(f"L{x} {y}" if last is not None and at - last <= _JOINED_MIN else f"M{x} {y}h0")
        last = at
    return "".join(parts)


def _share(machine: SeenMachine) -> float | None:
    return (
        None
        if machine.disk_used_gb is None or not machine.disk_gb
        else round(machine.disk_used_gb / machine.disk_gb, 3)
    )


def _disk(machine: SeenMachine) -> str:
    if machine.disk_gb is None:
        return ""
    used = "" if machine.disk_used_gb is None else f"{machine.disk_used_gb:.1f} of "
    return f"{used}{machine.disk_gb:.0f} GB"


def _spent(machine: SeenMachine, glance: Glance) -> float | None:
    """What was charged, and what it has cost since at its price now."""
    if machine.charged_usd is None:
        return None
    return machine.charged_usd + (machine.usd_per_hour or 0.0) * max(0.0, glance.at - glance.money_at) / 3600


def _so_far(machine: SeenMachine, glance: Glance) -> str:
    spent = _spent(machine, glance)
    return "" if spent is None else f"{_usd(spent)} so far"


def _last(machine: SeenMachine) -> float | None:
    """When it ends, by itself or by its host."""
    return min((at for at in (machine.ends_at, machine.host_ends_at) if at), default=None)


def _left(machine: SeenMachine, now: float) -> str:
    last = _last(machine)
    if last is None or machine.gone_at is not None:
        return ""
    return f"{timespan(last - now)} left" if last > now else "over"


def _ends(machine: SeenMachine) -> str:
    own = (
        f"it {machine.at_end or 'destroy'}s itself {_moment(machine.ends_at)}"
        if machine.ends_at
        else "nothing ends it but you"
    )
    host = f"its host takes it back {_moment(machine.host_ends_at)}" if machine.host_ends_at else ""
    return "; ".join(filter(None, (own, host)))


def _warnings(machine: SeenMachine, now: float) -> Iterator[tuple[str, str]]:
    """What should be known about it, each with its weight: ``bad``, ``warn`` or ``note``; most important first."""
    if machine.gone_at is not None:
        yield "note", "no longer listed; nothing is billed"
        return
    same = {name: getattr(machine, name) for name in Facts._fields if name not in ("now", "idle_min")}
    yield from remarks(Facts(**same, now=now, idle_min=_idle_min(machine.uses, now)))


def _idle_min(uses: tuple[tuple[int, float], ...], now: float) -> int:
    """For how many minutes up to now its GPUs were seen idle, without a gap."""
    last = first = int(now // 60)
    for at, use in reversed(uses):
        if use >= IDLE or first - at > _JOINED_MIN:
            break
        first = at
    return last - first


def _orders(machine: SeenMachine) -> list[str]:
    if machine.gone_at is not None:
        return []
    able = {
        "stop": machine.phase in ("loading", "provisioning", "running", "exited"),
        "start": machine.phase in ("stopped", "exited"),
        "bid": machine.phase == "outbid",
        "extend": machine.ours and machine.ends_at is not None,
        "destroy": True,
    }
    return [order for order in ORDERS if able[order]]


# ---------------------------------------------------------------- what an order means


def _of_stop(machine: SeenMachine, _: Glance) -> Iterator[str]:
    yield "What runs on it ends."
    disk = _measure(machine.disk_usd_per_hour, "${:,.3f}", unknown="an unknown price")
    yield f"Its disk stays and is billed: {disk} an hour."
    yield "Its GPUs may go to somebody else: then a start has to wait for them."


def _of_start(machine: SeenMachine, _: Glance) -> Iterator[str]:
    yield "Its GPUs are billed again. Where somebody else has them it waits."
    if machine.ends_at is None:
        yield "Nothing ends it but you."


def _of_extend(machine: SeenMachine, _: Glance) -> Iterator[str]:
    price = _measure(machine.usd_per_hour, "${:,.3f}", unknown="an unknown price")
    yield f"It {machine.at_end or 'destroy'}s itself {_moment(machine.ends_at or 0)}; each hour more costs {price} as it is now."


def _of_bid(machine: SeenMachine, _: Glance) -> Iterator[str]:
    yield f"You bid {_measure(machine.bid_usd_per_hour, '${:,.3f}', unknown='?')} an hour; ${machine.min_bid_usd_per_hour or 0:.3f} would do now."
    yield f"That is for its GPUs; its disk costs {_measure(machine.disk_usd_per_hour, '${:,.3f}', unknown='?')} an hour besides."


def _of_destroy(machine: SeenMachine, glance: Glance) -> Iterator[str]:
    used = "" if machine.disk_used_gb is None else f" ({machine.disk_used_gb:.1f} GB)"
    yield f"Its disk is deleted with all that is on it{used}; nobody can bring it back."
    if machine.phase == "running":
        yield "What runs on it ends."
    spent = _spent(machine, glance)
    yield (
        f"Charged so far: {_usd(spent)}. Nothing is billed for it afterwards."
        if spent is not None
        else "Nothing is billed for it afterwards."
    )


_CONSEQUENCES: dict[str, Callable[[SeenMachine, Glance], Iterator[str]]] = {
    "stop": _of_stop, "start": _of_start, "extend": _of_extend, "bid": _of_bid, "destroy": _of_destroy,
}  # fmt: skip


def _field(machine: SeenMachine, order: str) -> dict[str, Any] | None:
    """The number that an order needs."""
    if order == "extend":
        return {"label": "hours more", "value": 1, "step": 0.5}
    if order == "bid":
        return {
            "label": "bid, $/h",
            "value": round((machine.min_bid_usd_per_hour or 0.0) * _OVERBID + 0.0005, 3),
            "step": 0.001,
        }
    return None


def _fetching(machine: SeenMachine) -> str:
    """What it costs to bring files home before the machine ends; empty where nothing can be brought."""
    if machine.phase != "running":
        return ""
    price = machine.inet_up_usd_per_gb
    if price is None:
        return "the price of its traffic is not known"
    if not price:
        return "its traffic costs nothing"
    used = machine.disk_used_gb
    return f"${price:.4f} a GB" + (f", {_usd(price * used)} for all that is on it" if used else "")


# ---------------------------------------------------------------- all together, and words


def _sums(here: list[SeenMachine], glance: Glance) -> list[str]:
    hourly = sum(machine.usd_per_hour or 0.0 for machine in here)
    unknown = sum(machine.usd_per_hour is None for machine in here)
    balance = (
        None
        if glance.balance_usd is None
        else glance.balance_usd - hourly * max(0.0, glance.at - glance.money_at) / 3600
    )
    costs = f"${hourly:,.3f} an hour, {_usd(hourly * 24)} a day" if hourly else "nothing costs" if not unknown else ""
    costs = ", ".join(filter(None, (costs, f"{unknown} of unknown price" if unknown else "")))
    lasts = f", lasts {timespan(balance / hourly * 3600)}" if balance is not None and hourly > 0 and balance > 0 else ""
    left = "balance not known" if balance is None else f"balance {_usd(balance)}{lasts}"
    return [f"{len(here)} machine{'s' if len(here) > 1 else ''}", costs, left] if here else ["no machines", left]


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(min(seconds, 4e9), UTC):%Y-%m-%d %H:%M:%S} UTC"


def _usd(value: float | None) -> str:
    if value is None:
        return ""
    if value < 0:
        return f"-{_usd(-value)}"
    return f"${value:,.2f}" if value >= 0.1 or value == 0 else f"${value:.3f}"


def _price(usd_per_hour: float | None) -> str:
    return "nothing" if usd_per_hour == 0 else _measure(usd_per_hour, "${:,.3f}/h", unknown="unknown price")


def _percent(value: float | None) -> str:
    return _measure(value, "{:.0%}")


def _measure(value: float | None, form: str, *, unknown: str = "") -> str:
    return unknown if value is None else form.format(value)


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)
