"""Rent a machine with two clicks: what it costs, who ends it when, and how far it is.

1. The front end says that it is ``shown``; what is not known yet is looked up.
2. ``check`` reads the offer anew, and its price is on the button. ``rent`` names what was checked.
3. Each door opens in some phases only, and changes the phase before it starts work. So of ten clicks one finds its phase; and once a
   machine is being rented no door gives the panel's thread other work, but the one that ends the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from vastnb.api.widgets import wishes
from vastnb.api.widgets.agreements import quote_in
from vastnb.api.widgets.deals import Deal
from vastnb.api.widgets.launch_card import ACTIVE, Phase, State, snapshot, view
from vastnb.api.widgets.panel import Panel, Snapshot
from vastnb.api.widgets.selector import OfferSelector
from vastnb.services.costs import Quote
from vastnb.services.instances import Instance

if TYPE_CHECKING:
    from vastnb.vast.client import Client

__all__ = ["LaunchPanel"]

_FOLLOWED = ["value", "hours", "disk_gb"]
_OPEN: tuple[Phase, ...] = ("empty", "offer", "agreed")
"""In these phases something else can be wanted."""


class LaunchPanel(Panel):
    """Rent one machine: its price, a button, how far it is, and its end.

    Nothing is rented before the button was pressed twice; the second time it says the most that it can cost and when it ends itself.
    A machine of this name that lives is shown instead of an offer, also after the kernel was restarted.

    Parameters
    ----------
    what
        What to rent: an offer's id or row, a frame of offers or quotes (the cheapest, and the others to choose from), a `Quote`, an
        `OfferSelector` (what is chosen in it, from then on; it is shown above), or conditions of a search, as text.
    name
        What the machine is called; without one, after its GPUs.
    image
        Docker image with its tag; without one, Vast's own.
    hours
        Hours of the job. It ends itself then, unless `max_hours` says otherwise. Without them, those of the quote or the
        selector, or 1.
    disk_gb, download_gb, upload_gb
        Disk and traffic of the job, in GB.
    client
        Another client than the default one.
    **wanted
        The others of `vastnb.launch`: max_usd, max_usd_per_hour, max_hours, bid_usd_per_hour, env, onstart, runtype, label ...

    Attributes
    ----------
    instance : Instance or None
        The machine, as soon as there is one. Can be observed; so can `quote`.
    quote : Quote or None
        What the job costs on the offer that is shown.

    Raises
    ------
    InputError
        Something that cannot be right.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> panel = vastnb.LaunchPanel("gpu_name=RTX_4090 num_gpus=1", hours=3)
    >>> panel.refresh()
    >>> panel.quote.job.hours, panel.instance is None
    (3.0, True)
    """

    front = ("launch",)

    _selector: OfferSelector | None = None

    quote = traitlets.Instance(Quote, allow_none=True)
    instance = traitlets.Instance(Instance, allow_none=True)

    _view = traitlets.Dict().tag(sync=True)
    _form = traitlets.Dict().tag(sync=True)
    """What the fields hold. Values of environment variables stay in the kernel."""

    def __init__(
        self,
        what: Any = None,
        *,
        name: str = "",
        image: str | None = None,
        hours: float | None = None,
        disk_gb: float | None = None,
        download_gb: float | None = None,
        upload_gb: float | None = None,
        client: Client | None = None,
        **wanted: Any,
    ) -> None:
        job = {"hours": hours, "disk_gb": disk_gb, "download_gb": download_gb, "upload_gb": upload_gb}
        given = {"name": name, "image": image, **job, **wanted}
        wish = wishes.wish_of({**_job_of(what), **{n: v for n, v in given.items() if v is not None}})
        self._selector = what if isinstance(what, OfferSelector) else None
        self._shown = False
        state = State(hint=_hint(what), query=what if isinstance(what, str) else "")
        self._deal = Deal(
            state, wish, on_change=self._draw, on_work=self._say, is_over=lambda: self._closed, lock=self._lock,
            client=client,
        )  # fmt: skip
        super().__init__()
        self._draw()
        if self._selector is not None:
            self._deal.offer(self._selector.value)
            self._selector.observe(self._follow, _FOLLOWED)
        elif what is not None and not state.query:
            self._deal.offer(what)

    # ------------------------------------------------------------ what is on the screen

    def _draw(self) -> None:
        with self._lock, self.hold_sync():
            self._view, self._form = view(self._deal.state), self._fields()
        with self._showing_errors():
            self.quote, self.instance = self._deal.state.quote, self._deal.state.machine

    def _say(self, words: str) -> None:
        self._busy = words

    def _fields(self) -> dict[str, Any]:
        state = self._deal.state
        bids = state.picked is not None and state.picked.rental == "bid"
        return {**wishes.form(self._deal.wish, state.quote), "bids": bids, "open": state.phase in _OPEN}

    def _snapshot(self) -> Snapshot:
        return snapshot(self._deal.state)

    def _ipython_display_(self) -> None:
        """A selector that is on no screen yet is shown above."""
        if self._selector is not None and not self._selector.is_shown:
            self._selector._ipython_display_()
        super()._ipython_display_()

    def refresh(self) -> None:
        """Read the offer, the balance and whether a machine of this name lives; the panel does so by itself when it is shown.

        Raises
        ------
        ApiError
            The service refuses or does not answer.
        """
        self._shown = True
        self._deal.look()
        self._keep()

    def close(self) -> None:
        """Take the panel away. A machine that it rented lives on."""
        if self._selector is not None and not self._closed:
            self._selector.unobserve(self._follow, _FOLLOWED)
        super().close()

    # ------------------------------------------------------------ the front end's doors

    def _doors(self) -> Mapping[str, Callable[[dict[str, Any]], None]]:
        deal = self._deal
        return {
            "shown": lambda _: self._show_first(),
            "left": lambda _: self._keep(),
            "set": self._in(_OPEN, lambda m: deal.want(m["values"])),
            "pick": self._in(("offer", "agreed"), lambda m: self._pick(m["offer_id"])),
            "next": self._in(("offer",), lambda _: self._take_next()),
            "search": self._in(("empty", "offer"), lambda _: self._start("Searching", deal.search)),
            "check": self._in(("offer",), lambda _: self._check()),
            "rent": self._in(("agreed",), lambda m: self._rent(m["token"])),
            "back": self._in(("agreed", "leaving"), lambda _: self._go_back()),
            "cancel": self._in(("renting", "lost", "waiting"), lambda _: self._end()),
            "look": self._in(("lost",), lambda _: self._start("Looking for the machine", deal.find)),
            "wait": self._in(("machine",), lambda _: self._wait()),
            "refresh": self._in(("machine",), lambda _: self._start("Looking", deal.look_again)),
            "leave": self._in(("machine",), lambda _: deal.become(phase="leaving")),
            "destroy": self._in(("leaving",), lambda _: self._end()),
            "another": self._in(("machine", "ended"), lambda _: self._another()),
        }

    def _in(
        self, phases: tuple[Phase, ...], door: Callable[[dict[str, Any]], None]
    ) -> Callable[[dict[str, Any]], None]:
        """A door that is open in these phases only: what was clicked in a picture that has changed does nothing."""

        def entered(message: dict[str, Any]) -> None:
            if self._deal.state.phase in phases:
                self._error = None
                door(message)

        return entered

    def _show_first(self) -> None:
        if not self._shown:
            self._shown = True
            self._start("Looking", self._deal.look)

    def _follow(self, change: Any) -> None:
        """The selector's choice, or its job, is another one."""
        with self._showing_errors(), self._lock:
            if self._deal.state.phase in ACTIVE or self._closed:
                return
            if change["name"] != "value":
                self._deal.want({change["name"]: change["new"]})
            self._deal.offer(change["owner"].value)
            self._read_soon()

    def _pick(self, offer_id: int) -> None:
        known = {candidate.offer_id: candidate for candidate in self._deal.state.candidates}
        self._deal.pick(known[offer_id])
        self._read_soon()

    def _take_next(self) -> None:
        self._deal.pick(self._deal.following())
        self._read_soon()

    def _read_soon(self) -> None:
        """What is not known of an offer, or of its account, is looked up once it is on a screen."""
        state = self._deal.state
        if self._shown and state.picked is not None and (state.row is None or state.balance_usd is None):
            self._start("Looking", self._deal.look)

    def _check(self) -> None:
        agreement = self._deal.state.agreement
        if agreement is not None:
            self._deal.become(phase="checking", note="")
            self._start("Reading the offer once more", lambda: self._deal.check(agreement))

    def _rent(self, token: str) -> None:
        agreement = self._deal.state.agreement
        if agreement is not None and token == agreement.plan.label.token and self._deal.confirm():
            self._start("Renting", lambda: self._deal.rent(agreement))

    def _go_back(self) -> None:
        self._deal.become(phase="offer" if self._deal.state.phase == "agreed" else "machine")

    def _wait(self) -> None:
        self._deal.become(phase="waiting")
        self._start("Waiting until it runs", self._deal.wait)

    def _end(self) -> None:
        self._deal.cancel()
        self._start("Ending the machine", self._deal.end)

    def _another(self) -> None:
        self._deal.another()
        if self._selector is not None:
            self._deal.offer(self._selector.value)
        self._start("Looking", self._deal.look)


def _job_of(what: Any) -> dict[str, Any]:
    """The job that comes with a quote or a selector."""
    if isinstance(what, OfferSelector):
        return {"hours": what.hours, "disk_gb": what.disk_gb}
    quote = quote_in(what)
    return wishes.job_of_quote(quote) if quote is not None else {}


def _hint(what: Any) -> str:
    """What to do while there is no offer."""
    if what is None:
        return "No offer yet. Give one: vastnb.LaunchPanel(vastnb.search(...)), or a selector, an id, a quote."
    if isinstance(what, OfferSelector):
        return "No offer chosen yet. Choose one in the selector."
    return "Not searched yet." if isinstance(what, str) else "No offer is there."
