"""What a machine looks like: the card of its handle, and how far it is, for whoever waits for it. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

from vastnb.services.instances.states import Phase
from vastnb.services.instances.terms import Plan
from vastnb.vast.render import Card, plain
from vastnb.vast.types.records import InstanceRecord

__all__ = ["Progress", "Shown", "card_of", "per_hour"]


class Progress(NamedTuple):
    """How far a machine is, for whoever shows it."""

    instance_id: int
    name: str
    phase: Phase | str
    elapsed_s: float
    usd: float | None
    """What it cost so far, by its prices; None if they are not known."""
    message: str
    """The service's last words about it."""
    is_last: bool = False

    def __str__(self) -> str:
        called = self.name or f"machine {self.instance_id}"
        usd = "" if self.usd is None else f", ${self.usd:.4f} so far"
        return (
            f"{called}: {self.phase} after {_clock(self.elapsed_s)}{usd}{f' · {self.message}' if self.message else ''}"
        )


class Shown(Protocol):
    """What a card tells of a machine."""

    id: int
    plan: Plan | None

    @property
    def name(self) -> str:
        """What it is called, or nothing."""

    @property
    def record(self) -> InstanceRecord | None:
        """What the service tells."""

    @property
    def state(self) -> str:
        """What it does."""

    @property
    def seen_at(self) -> datetime:
        """When it was last looked at."""

    @property
    def usd_per_hour(self) -> float | None:
        """What it costs now."""

    @property
    def ends_at(self) -> datetime | None:
        """When it ends itself."""

    @property
    def ssh_command(self) -> str | None:
        """How it is reached."""


def card_of(machine: Shown, most_usd: float | None) -> Card:
    """The card of a machine that may cost `most_usd` in all."""
    called = f"{machine.name}: machine {machine.id}" if machine.name else f"machine {machine.id}"
    return Card(f"{called}, {machine.state}", [(name, value) for name, value in _parts(machine, most_usd) if value])


def _parts(machine: Shown, most_usd: float | None) -> list[tuple[str, str]]:
    record, gone = machine.record, machine.state == "gone"
    gpus = "" if record is None else f"{record.num_gpus} x {plain(record.gpu_name or '?')}"
    ends = "nothing ends it but you" if machine.ends_at is None else f"by itself, {machine.ends_at:%Y-%m-%d %H:%M} UTC"
    return [
        ("GPUs", gpus),
        ("place", plain(record.geolocation or "") if record is not None else ""),
        ("costs", "" if gone else per_hour(machine.usd_per_hour)),
        ("ends", "" if gone else ends),
        ("at most", "" if gone or most_usd is None else f"${most_usd:,.2f} in all"),
        ("image", plain(record.image or "") if record is not None else ""),
        ("reach it", machine.ssh_command or "" if machine.state == "running" else ""),
        *_endings(machine),
        ("says", plain(record.status_msg or "") if record is not None and machine.state != "running" else ""),
        ("seen", f"{machine.seen_at:%Y-%m-%d %H:%M:%S} UTC"),
    ]


def _endings(machine: Shown) -> list[tuple[str, str]]:
    """Who ends it in which state: said once, when it was just rented."""
    if machine.plan is None or machine.state not in ("provisioning", "loading"):
        return []
    return [(f"when {ending.state}", str(ending).partition(": ")[2]) for ending in machine.plan.endings]


def per_hour(usd: float | None) -> str:
    """A price of an hour, in words."""
    return "an unknown price" if usd is None else f"${usd:.3f} an hour"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
