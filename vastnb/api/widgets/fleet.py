"""Follow all machines of the account: what they do and cost, what should be known of them, and orders to them.

1. The front end asks for a look (``look``) while somebody sees the panel, and says how long it may wait for the next; nothing runs here
   in between.
2. A look runs beside the kernel's loop. `Glances` asks the service only if no panel of the user has done so lately.
3. An order is asked for first (``ask``): what it costs or loses is said, under a number. ``do`` with that number carries it out, once.
4. An order waits for the one before it, and is never dropped for a newer one; then the panel looks, so that the row follows. One that
   brings files home first may take long, and keeps no other waiting.
5. What is done on a machine that somebody has opened goes to its `Bench`, beside all that.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import traitlets

from vastnb.api.widgets.benches import Bench
from vastnb.api.widgets.machines import ORDERS, asked_first, row_of, snapshot, told
from vastnb.api.widgets.panel import Panel, Snapshot
from vastnb.errors import InputError, NotFoundError, VastError
from vastnb.services.glances import Glance, Glances
from vastnb.services.instances import Instance
from vastnb.services.instances.fleet import fleet_of

if TYPE_CHECKING:
    from vastnb.vast.client import Client

__all__ = ["FleetPanel"]

_SHORTEST_S, _LONGEST_S = 2.0, 3600.0
_SOONEST_S = 1.0
_EVENTS = 6


class _Order(NamedTuple):
    """What somebody has confirmed."""

    asked: dict[str, Any]
    value: float
    glances: Glances
    """The account in which it was asked: the session may have changed since."""
    fetch: str = ""
    """What is brought home before the machine is destroyed."""
    to: str = "."


class FleetPanel(Panel):
    """All machines of the account: state, GPU use, disk, price, time left, what should be known; and stop, start, extend, bid, destroy.

    A machine that is opened shows its jobs and brings files home.

    Shown in a notebook it looks by itself while it is in sight, and not otherwise. All panels of all kernels of a user together ask as
    often as one would.

    Parameters
    ----------
    interval_s
        How old what is shown may be, 2 to 3600.
    client
        Another client than that of the session in force.

    Raises
    ------
    InputError
        An interval that there is not.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> panel = vastnb.FleetPanel()
    >>> panel.look()
    >>> print(repr(panel).splitlines()[0])
    FleetPanel · no machines · balance $100.00 · as of 2026-06-01 00:00:00 UTC
    """

    front = ("bench", "fleet")

    _about = traitlets.Dict().tag(sync=True)
    """What is said of all together; its ``due_s``: when the front end should ask again."""
    _rows: Any = traitlets.List().tag(sync=True)
    _events: Any = traitlets.List().tag(sync=True)
    _confirm = traitlets.Dict().tag(sync=True)
    """What is asked before an order, with its number; empty: nothing is."""
    _doing = traitlets.Dict().tag(sync=True)
    """Orders that are not carried out yet, by the machine's number."""
    _outcomes: Any = traitlets.List().tag(sync=True)
    """What became of the last orders, until that was read or another is given."""
    _opened = traitlets.Dict().tag(sync=True)
    """The parts of each machine that somebody has opened, by its number."""
    _words = traitlets.Dict(ORDERS).tag(sync=True)

    def __init__(self, *, interval_s: float = 10.0, client: Client | None = None) -> None:
        if not _SHORTEST_S <= interval_s <= _LONGEST_S:
            raise InputError(f"interval_s must be {_SHORTEST_S:g} to {_LONGEST_S:g}, got {interval_s!r}")
        self.interval_s = interval_s
        self._client = client
        self._glances: Glances | None = None
        self._glance = Glance()
        self._orders: deque[_Order] = deque()
        self._benches: dict[int, Bench] = {}
        self._asked = 0
        super().__init__(_about=told(self._glance, url="", account=""))

    # ------------------------------------------------------------ looking

    def look(self) -> None:
        """Look now and show it; the panel does so by itself while it is in sight.

        Raises
        ------
        VastError
            The machines cannot be listed; what was seen last stays on the screen.
        """
        self._look(0.0, insist=True)
        self._keep()
        if self._glances is not None and self._glances.error is not None:
            raise self._glances.error

    def _look(self, max_age_s: float, *, insist: bool) -> None:
        glances = self._there()
        glance, events = glances.newest(max_age_s, insist=insist), glances.happened(_EVENTS)
        with self._lock:
            if not self._closed and glances is self._glances:
                self._show(glances, glance, events)

    def _there(self) -> Glances:
        """The machines of the session in force; where that is another now, nothing of the last one stays."""
        fleet = fleet_of(self._client)
        with self._lock:
            if self._glances is None or self._glances.fleet.client is not fleet.client:
                self._glances = Glances(fleet)
                self._glance, self._confirm, self._outcomes = Glance(), {}, []
                self._benches, self._opened = {}, {}
            return self._glances

    def _show(self, glances: Glances, glance: Glance, events: list[dict[str, Any]]) -> None:
        client, now = glances.fleet.client, glances.clock()
        self._glance = glance
        shown = {machine.id for machine in glance.machines}
        self._benches = {number: bench for number, bench in self._benches.items() if number in shown}
        with self.hold_sync():
            self._draw_opened()
            self._rows = [row_of(machine, glance) for machine in glance.machines]
            self._events = events
            self._about = {
                **told(glance, url=client.settings.url, account=client.account_name),
                "age_s": max(0.0, now - glance.looked_at),
                "due_s": max(_SOONEST_S, glance.due_in_s(self.interval_s, now)),
                "interval_s": self.interval_s,
                "turn": self._about.get("turn", 0) + 1,
            }

    # ------------------------------------------------------------ orders

    def _ask(self, message: dict[str, Any]) -> None:
        machine = next((m for m in self._glance.machines if m.id == message["id"]), None)
        if machine is None or message["order"] not in ORDERS or str(machine.id) in self._doing:
            self._confirm = {}
            return
        self._asked += 1
        self._confirm = {
            **asked_first(machine, message["order"], self._glance),
            "number": self._asked,
            "force": not machine.ours,
        }

    def _do(self, message: dict[str, Any]) -> None:
        """Carry out what was asked under this number; a second click finds nothing asked any more."""
        asked = self._confirm
        if not asked or asked["number"] != message["number"] or self._glances is None:
            return
        self._confirm = {}
        if not self._doing:
            self._outcomes = []
        fetch = str(message.get("fetch") or "") if asked["order"] == "destroy" else ""
        order = _Order(asked, float(message.get("value") or 0), self._glances, fetch, str(message.get("to") or "."))
        doing = "bringing home" if fetch else ORDERS[asked["order"]].lower()
        self._doing = {**self._doing, str(asked["id"]): f"{doing} …"}
        if fetch:
            self._begin(lambda: self._carry_out_alone(order))
        else:
            self._orders.append(order)
            self._start("", self._turn)

    def _turn(self, *, insist: bool = False) -> None:
        """Carry out all orders that wait, then look; also those that came meanwhile, for a panel that is closed begins nothing."""
        while True:
            at_once = insist or bool(self._orders)
            while self._orders:
                self._carry_out(self._orders.popleft())
            self._look(0.0 if at_once else self.interval_s, insist=at_once)
            if not self._orders:
                return

    def _carry_out_alone(self, order: _Order) -> None:
        self._carry_out(order)
        self._start("", lambda: self._turn(insist=True))

    def _carry_out(self, order: _Order) -> None:
        outcome = []
        try:
            outcome.append(_outcome(order))
        finally:
            with self._lock:
                self._outcomes = [*self._outcomes, *outcome]
                self._doing = {
                    number: words for number, words in self._doing.items() if number != str(order.asked["id"])
                }

    # ------------------------------------------------------------ machines that are opened

    def _at(self, message: dict[str, Any]) -> Bench:
        """The bench of the machine that a message names."""
        number, glances = int(message["id"]), self._glances
        if number not in self._benches:
            if glances is None or all(machine.id != number for machine in self._glance.machines):
                raise NotFoundError(f"there is no machine {number}")
            self._benches[number] = Bench(
                lambda: _instance(glances, number), begin=self._begin, changed=self._draw_opened
            )
        return self._benches[number]

    def _begin(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread of its own, beside looks and orders."""

        def act() -> None:
            with self._showing_errors():
                work()

        here = contextvars.copy_context()  # ipykernel 7.0 sends nothing from a thread that has none
        threading.Thread(target=here.run, args=(act,), name=type(self).__name__, daemon=True).start()

    def _draw_opened(self) -> None:
        with self._lock:
            if not self._closed:
                self._opened = {str(number): dict(bench.parts) for number, bench in self._benches.items()}

    # ------------------------------------------------------------ the front end's doors

    def _doors(self) -> Mapping[str, Callable[[dict[str, Any]], None]]:
        return {
            "look": lambda _: self._start("", self._turn),
            "now": lambda _: self._start("Looking", lambda: self._turn(insist=True)),
            "ask": self._ask,
            "do": self._do,
            "never mind": lambda _: self.set_trait("_confirm", {}),
            "seen": lambda _: self.set_trait("_outcomes", []),
            "left": lambda _: self._keep(),
            "jobs": lambda m: self._at(m).look(),
            "log": lambda m: self._at(m).read(str(m["job"]), errors=bool(m["errors"])),
            "no log": lambda m: self._at(m).close_log(),
            "stop job": lambda m: self._at(m).stop(str(m["job"])),
            "measure": lambda m: self._at(m).measure(str(m["source"]), str(m["to"]) or "."),
            "bring": lambda m: self._at(m).bring(m["number"]),
            "give up": lambda m: self._at(m).give_up(),
        }

    def _snapshot(self) -> Snapshot:
        return snapshot(self._glance, self._about)


def _outcome(order: _Order) -> dict[str, Any]:
    """What became of an order, in words."""
    called = order.asked["called"]
    try:
        return {"words": f"{called}: {_act(order)}", "bad": False, "hint": None}
    except NotFoundError:
        return {"words": f"{called} is gone already.", "bad": False, "hint": None}
    except VastError as error:
        return {"words": f"{called}: {type(error).__name__}: {error.message}", "bad": True, "hint": error.hint}


def _instance(glances: Glances, number: int) -> Instance:
    record, row, sight = glances.fleet.find(number)
    return Instance(glances.fleet, record, row, sight.now)


def _act(order: _Order) -> str:
    what, force = order.asked["order"], order.asked["force"]
    machine = _instance(order.glances, order.asked["id"])
    if what == "destroy":
        bill = machine.destroy(fetch=order.fetch or None, to=order.to, force=force)
        home = f" {order.fetch} is in {Path(order.to).expanduser().absolute()}." if order.fetch else ""
        return f"destroyed. {bill}.{home}"
    if what == "extend":
        return f"ends itself {machine.extend(order.value).ends_at:%Y-%m-%d %H:%M:%S} UTC."
    if what == "bid":
        return f"you bid ${order.value:.3f} an hour; it is {machine.change_bid(order.value, force=force).state}."
    changed = machine.stop(force=force) if what == "stop" else machine.start(force=force)
    return f"{changed.state}."
