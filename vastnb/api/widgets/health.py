"""Whether all is well, in the notebook: one word, a row for each check, and a button that looks again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from vastnb.api.widgets.panel import Panel, Snapshot
from vastnb.services.checks import HealthReport
from vastnb.services.health import health
from vastnb.services.instances import Instance, instance

if TYPE_CHECKING:
    from vastnb.vast.client import Client

__all__ = ["HealthPanel"]

_NOT_YET = Snapshot.of("HealthPanel: not checked yet", "", "")


class HealthPanel(Panel):
    """Whether all is well: of the account, or of a machine.

    Shown in a notebook it checks by itself, once; afterwards when *Check again* is pressed.

    Parameters
    ----------
    machine
        A machine, its name or its number; without it, the account and all that it takes to use it.
    client
        Another client than the default one; a machine that is given knows its own.

    Attributes
    ----------
    report : HealthReport
        What the last check found; None before the first. Can be observed.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> panel = vastnb.HealthPanel()
    >>> panel.check().word
    'healthy'
    """

    front = ("health",)

    report: Any = traitlets.Instance(HealthReport, allow_none=True)

    _told: Any = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    def __init__(self, machine: Instance | str | int | None = None, *, client: Client | None = None) -> None:
        self._machine, self._client = machine, client
        super().__init__()

    def check(self) -> HealthReport:
        """Check now, and show what was found; the button does the same without holding up the kernel.

        Raises
        ------
        VastError
            There is no such machine, or its list cannot be read.
        """
        self._check()
        self._keep()
        found: HealthReport = self.report
        return found

    def _check(self) -> None:
        report = self._looked()
        with self._lock:
            if not self._closed:
                self._told = told(report)
                self.report = report

    def _looked(self) -> HealthReport:
        if self._machine is None:
            return health(client=self._client)
        if not isinstance(self._machine, Instance):
            self._machine = instance(self._machine, client=self._client)
        return self._machine.health()

    def _doors(self) -> Mapping[str, Callable[[dict[str, Any]], None]]:
        return {
            "check": lambda _: self._start("Checking", self._check),
            "left": lambda _: self._keep(),
        }

    def _snapshot(self) -> Snapshot:
        return _NOT_YET if self.report is None else Snapshot(repr(self.report), self.report._repr_html_())


def told(report: HealthReport) -> dict[str, Any]:
    """What the front end draws of a report, troubles first. JSON-safe."""
    order = ("fail", "warn", "ok", "skipped")
    return {
        "word": report.word,
        "about": [report.subject, report.source, f"{report.at:%Y-%m-%d %H:%M:%S} UTC"],
        "checks": [check.model_dump() for check in sorted(report.checks, key=lambda check: order.index(check.status))],
    }
