"""A self-check: what documentation cannot tell, tried with one cheap machine.

Is the label kept, how long does a list lag, how long do states take, does the watchdog end its own machine, is the bill what the
quote said?

It spends real money on a real account, a few cents, and never more than its cap. The report holds no secrets, names or addresses,
so that it can be shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vastnb.errors import BudgetError, VastError
from vastnb.services.instances.fleet import Fleet, fleet_of
from vastnb.services.instances.handle import Instance
from vastnb.services.instances.labels import read_label
from vastnb.services.instances.launching import launch_on

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = ["selfcheck"]

_LIFE_S = 600.0
_LOOKS = 60
_PAUSE_S = 10.0
_LATE_S = 180.0
_PRICE_SHARE = 0.05
"""Share by which a bill of minutes may differ from its quote: seconds are rounded somewhere."""


def selfcheck(*, max_usd: float = 0.25, live: bool = False, client: Client | None = None) -> pd.DataFrame:
    """Rent the cheapest machine for some minutes, and report what only a real account can tell.

    Parameters
    ----------
    max_usd
        What it may cost at most.
    live
        Say so for a real account: it spends real money.
    client
        Another client than the default one.

    Returns
    -------
    DataFrame
        Columns check, seen, ok: one row for each question. The machine is gone when it returns.

    Raises
    ------
    BudgetError
        A real account without ``live=True``, or nothing that fits under the cap.
    """
    from vastnb.vast.types.frames import frame_of

    fleet = fleet_of(client)
    if not fleet.client.settings.local and not live:
        raise BudgetError("a self-check spends real money, a few cents", hint="vastnb selfcheck --live --max-usd 0.25")
    report = _Report()
    _run(fleet, max_usd, report)
    frame = frame_of(
        "selfcheck", {name: [row[n] for row in report.rows] for n, name in enumerate(("check", "seen", "ok"))}
    )
    frame.attrs["vastnb"] = {
        "kind": "selfcheck", "source": "sandbox" if fleet.client.settings.local else "vast", "url": fleet.client.settings.url,
        "account": fleet.client.account_name,
    }  # fmt: skip
    return frame


@dataclass
class _Report:
    rows: list[tuple[str, str, bool]] = field(default_factory=list)

    def add(self, check: str, seen: str, ok: bool) -> None:
        self.rows.append((check, seen, ok))

    @contextmanager
    def asking(self, check: str) -> Iterator[None]:
        """A question whose answer may be an error; the next ones are asked all the same."""
        try:
            yield
        except VastError as error:
            self.add(check, f"{type(error).__name__}: {error.code}", False)


def _run(fleet: Fleet, max_usd: float, report: _Report) -> None:
    from vastnb.services.costs import quote
    from vastnb.services.offers import search

    offers = search("num_gpus=1 reliability>0.98", order="usd_per_hour", disk_gb=10, limit=20, client=fleet.client)
    quotes: Any = quote(offers, hours=_LIFE_S / 3600, disk_gb=10)
    fits = quotes[quotes.usd_total * 2 <= max_usd]
    if fits.empty:
        raise BudgetError(f"no machine is cheap enough for max_usd={max_usd:g}", cap="max_usd", limit_usd=max_usd)
    began = fleet.look().now
    machine: Any = launch_on(fleet, fits, max_hours=_LIFE_S / 3600, max_usd=max_usd, label="selfcheck")
    try:
        _look_at_it(fleet, machine, report, began)
    finally:
        with report.asking("it is gone at the end"):
            bill = machine.destroy()
            report.add("it is gone at the end", "the list lacks it", True)
            _compare(bill.usd_total, machine.plan.usd_per_hour, fleet.look().now - began, report)


def _look_at_it(fleet: Fleet, machine: Instance, report: _Report, began: float) -> None:
    with report.asking("the list shows a new machine"):
        seen = _until(fleet, lambda: any(r.id == machine.id for r in fleet.machines.table().records))
        report.add("the list shows a new machine", f"after {seen:.0f} s", seen < _LATE_S)
    with report.asking("the label is kept"):
        found = [r for r in fleet.machines.table().records if r.id == machine.id]
        label = read_label(found[0].label) if found else None
        report.add(
            "the label is kept", "as it was sent" if label is not None else "not as it was sent", label is not None
        )
    with report.asking("a list by label finds it"):
        filtered = fleet.machines.table(label=found[0].label).records if found else []
        report.add("a list by label finds it", f"{len(filtered)} machine(s)", [r.id for r in filtered] == [machine.id])
    with report.asking("it runs"):
        states: list[str] = []
        machine.wait(timeout_s=_LIFE_S, on_progress=lambda progress: states.append(progress.phase))
        ran = " → ".join(dict.fromkeys(states))
        report.add("it runs", f"{ran} in {machine.seen_at.timestamp() - began:.0f} s", True)
    with report.asking("its watchdog ends it"):
        late = _until(
            fleet, lambda: all(r.id != machine.id for r in fleet.machines.table().records), after=machine.ends_at
        )
        report.add(
            "its watchdog ends it", f"{late:.0f} s after its time" if late < _LATE_S else "not in time", late < _LATE_S
        )


def _until(fleet: Fleet, happened: Any, *, after: Any = None) -> float:
    """Seconds, by the service's clock, from now (or from `after`) until something has happened; three minutes at most."""
    start = after.timestamp() if after is not None else fleet.machines.table().seen_at.timestamp()
    for _ in range(_LOOKS + int(_LIFE_S / _PAUSE_S)):
        now = fleet.machines.table().seen_at.timestamp()
        if happened():
            return max(0.0, now - start)
        if now - start > _LATE_S:
            break
        fleet.pause(_PAUSE_S)
    return float("inf")


def _compare(billed: float, usd_per_hour: float, lived_s: float, report: _Report) -> None:
    """A bill is at most its price times the time that it lived; the image's download comes on top."""
    most = usd_per_hour * lived_s / 3600 * (1 + _PRICE_SHARE) + 0.01
    report.add("the bill is what the quote said", f"${billed:.4f}, at most ${most:.4f} expected", billed <= most)
