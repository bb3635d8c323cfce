"""Choose offers: filters, a table and a picture of price and performance; what is chosen is a frame.

1. The front end says what is asked (``ask``), what is chosen (``select``) or that the market is to be asked (``search``).
2. `_question` answers with what the controls show; the front end has filtered by itself meanwhile.
3. A search runs beside the kernel's loop; its frame is packed and sent as one message.
4. What is chosen refers to rows of the frame that was on the screen, so a choice names its table: one for an older table is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import traitlets

from vastnb.api.widgets import about
from vastnb.api.widgets.conditions import CONTROLS, meeting, options_of, read, unanswerable
from vastnb.api.widgets.packing import DEFAULT_COLUMNS, JOB, columns_of, packed, told
from vastnb.api.widgets.panel import Panel, Snapshot
from vastnb.errors import InputError
from vastnb.services import costs, offers
from vastnb.vast.query import DEFAULT_DISK_GB, RENTALS, parse_query
from vastnb.vast.query.options import rental_of
from vastnb.vast.types.frames import empty_frame

if TYPE_CHECKING:
    from vastnb.vast.client import Client

__all__ = ["OfferSelector"]

_POINT = ("usd_per_hour", "dlperf")
_ALWAYS = (*(control.column for control in CONTROLS), *_POINT, "usd_per_gpu_hour", "offer_id")
"""Columns that are filtered by, drawn or named, shown or not."""
_REQUESTS_WITHOUT_CONDITIONS = 2
"""The cheapest of the whole market are seldom what is wanted; the service allows ten searches a minute."""
_PRICED = ("gpu_usd_per_hour", "storage_usd_per_gb_month", "inet_down_usd_per_gb", "inet_up_usd_per_gb", "rental")


class OfferSelector(Panel):
    """Choose offers on the market, or in a frame of yours.

    Shown in a notebook it asks the market by itself, once. Nothing is asked before, and afterwards only when Search is pressed; filters
    work on what is there at once.

    Parameters
    ----------
    what
        A query, as for `search`; or a frame of offers, which is then filtered on this computer and nobody is asked.
    query
        The query, if `what` is a frame.
    rental
        ``on-demand``, ``bid`` or ``reserved``: what the prices are for.
    disk_gb
        Disk that the prices include, in GB, at least 8.
    hours
        Hours of the job whose price is shown.
    client
        Another client than the default one.

    Attributes
    ----------
    value : DataFrame
        The chosen offers, in the order of the frame. Can be observed.
    query : str
        The query as it is now. Can be set and observed; so can `rental`, `disk_gb` and `hours`.
    frame : DataFrame
        All offers that are there.

    Raises
    ------
    QueryError, InputError
        Something asked for cannot be right.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> selector = vastnb.OfferSelector("gpu_name=RTX_4090 num_gpus>=2", hours=10)
    >>> selector.search()
    >>> set(selector.frame.gpu_name), len(selector.value)
    ({'RTX 4090'}, 0)
    """

    front = ("table", "scatter", "selector")

    query = traitlets.Unicode()
    rental = traitlets.Unicode("on-demand")
    disk_gb = traitlets.Float(DEFAULT_DISK_GB)
    hours = traitlets.Float(1.0)
    value = traitlets.Instance(pd.DataFrame)

    _question = traitlets.Dict().tag(sync=True)
    _table = traitlets.Dict().tag(sync=True)
    _about = traitlets.Dict().tag(sync=True)
    _selected: Any = traitlets.List().tag(sync=True)
    _columns = traitlets.List(list(DEFAULT_COLUMNS)).tag(sync=True)
    _models = traitlets.Dict().tag(sync=True)
    """GPU models of the whole market: how many offers, and the price of a GPU from and to."""
    _fixed = traitlets.Dict().tag(sync=True)
    """What does not change: the controls, and the names of the columns drawn."""

    def __init__(
        self,
        what: str | pd.DataFrame = "",
        *,
        query: str = "",
        rental: str = "on-demand",
        disk_gb: float = DEFAULT_DISK_GB,
        hours: float = 1.0,
        client: Client | None = None,
    ) -> None:
        self._client = client
        self.market = isinstance(what, str)
        self.frame = empty_frame("offers") if isinstance(what, str) else _checked(what)
        self._asked: dict[str, Any] | None = None
        self._version = 0
        self._seq = 0
        super().__init__(
            query=what if isinstance(what, str) else query,
            rental=rental,
            disk_gb=disk_gb,
            hours=hours,
            value=self.frame.iloc[:0],
            _fixed={
                "controls": [asdict(c) for c in CONTROLS],
                "point": _POINT,
                "rentals": list(dict.fromkeys(RENTALS.values())),
            },
        )
        self._show(self.frame)

    # ------------------------------------------------------------ what is asked

    @traitlets.validate("query")
    def _query_right(self, proposal: Any) -> str:
        return parse_query(proposal["value"]).text

    @traitlets.validate("rental")
    def _rental_right(self, proposal: Any) -> str:
        return rental_of(proposal["value"])

    @traitlets.validate("disk_gb", "hours")
    def _number_right(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        least = 8 if name == "disk_gb" else 0.01
        if not least <= value <= 100_000:
            raise InputError(f"{name} must be {least:g} to 100000, got {value:g}")
        return float(value)

    @traitlets.observe("query", "rental", "disk_gb", "hours")
    def _asked_changed(self, change: Any) -> None:
        if self._table:  # not while it is made
            self._show_question()
            if change["name"] in ("disk_gb", "hours"):
                self._pack()

    def _show_question(self) -> None:
        shown = read(self.query)
        fits = bytes(meeting(self.frame, shown.rest)) if shown.rest else b""
        self._question = {
            **shown.to_json(), **self._asking(), "hours": self.hours, "fits": fits, "seq": self._seq,
            "unanswerable": [] if self.frame.empty else unanswerable(self.frame, self.query),
        }  # fmt: skip

    def _asking(self) -> dict[str, Any]:
        return {"query": self.query, "rental": self.rental, "disk_gb": self.disk_gb}

    # ------------------------------------------------------------ what is there

    def search(self, *, refresh: bool = False) -> None:
        """Ask the market what `query` says and show the answer; the button Search does the same without holding up the kernel.

        Parameters
        ----------
        refresh
            Ask the service even if a fresh answer is here.

        Raises
        ------
        InputError
            The selector shows a frame of yours.
        ApiError
            As `vastnb.search`.
        """
        self._search(refresh=refresh)
        self._keep()

    def _search(self, *, refresh: bool) -> None:
        if not self.market:
            raise InputError("this selector shows a frame of yours", hint="vastnb.OfferSelector() asks the market")
        asked = self._asking()
        most = 5 if self.query else _REQUESTS_WITHOUT_CONDITIONS
        found = offers.search(**asked, refresh=refresh, max_requests=most, client=self._client)
        with self._lock:
            if not self._closed:
                self._asked = asked
                self._show(found)

    def _show(self, frame: pd.DataFrame) -> None:
        """Put another frame on the screen; what was chosen of the last and is still there stays chosen."""
        chosen = [] if self.value.empty else list(self.value["offer_id"])
        with self.hold_sync():
            self.frame = frame
            self._version += 1
            self._selected = [n for n, offer in enumerate(frame["offer_id"]) if offer in chosen] if chosen else []
            self._about = about.told(frame, asked=self._asked, market=self.market)
            self._show_question()
            self._pack()
        self._choose()

    def _pack(self) -> None:
        columns = columns_of(self.frame)
        table = packed(self.frame, [*self._columns, *_ALWAYS], self._job_usd())
        choices = [told(column) for column in (JOB, *columns)]
        self._table = {**table, "version": self._version, "hours": self.hours, "choices": choices}

    def _job_usd(self) -> pd.Series | None:
        """The price of the job for each row; the quotes know rows by their ids, which a frame of yours may hold twice."""
        if self.frame.empty or any(name not in self.frame.columns for name in _PRICED):
            return None
        numbered = self.frame[list(_PRICED)].assign(offer_id=range(len(self.frame)))
        quotes: Any = costs.quote(numbered, hours=self.hours, disk_gb=self.disk_gb)
        made: pd.Series = quotes.set_index("offer_id")["usd_total"].reindex(range(len(self.frame)))
        return made

    def _choose(self) -> None:
        chosen = self.frame.iloc[self._selected]
        self.value = chosen.reset_index(drop=True) if self.market else chosen

    # ------------------------------------------------------------ the front end's doors

    def _doors(self) -> Mapping[str, Callable[[dict[str, Any]], None]]:
        return {
            "ask": self._ask,
            "line": self._take_line,
            "search": self._search_soon,
            "models": lambda _: self._start("Counting the models of the market", self._count_models),
            "select": self._select,
            "columns": self._choose_columns,
            "left": lambda _: self._keep(),
        }

    def _ask(self, message: dict[str, Any]) -> None:
        self._seq = message.get("seq", self._seq)
        for name in ("rental", "disk_gb", "hours", "query"):
            setattr(self, name, message.get(name, getattr(self, name)))
        self._show_question()
        self._error = None

    def _take_line(self, message: dict[str, Any]) -> None:
        self._seq = message["seq"]
        self._ask(options_of(message["line"]))

    def _search_soon(self, message: dict[str, Any]) -> None:
        self._take_line(message)
        again = self._asking() == self._asked
        self._start("Searching", lambda: self._search(refresh=again))

    def _select(self, message: dict[str, Any]) -> None:
        if message["version"] == self._table["version"]:
            self._selected = sorted(message["rows"])
            self._choose()

    def _choose_columns(self, message: dict[str, Any]) -> None:
        self._columns = message["names"]
        self._pack()

    def _count_models(self) -> None:
        models = offers.gpus(rental=self.rental, client=self._client)
        parts = models.groupby("gpu_name")
        self._models = {
            str(name): [
                int(part["offers"].sum()),
                part["usd_per_gpu_hour_min"].min(),
                part["usd_per_gpu_hour_p90"].max(),
            ]
            for name, part in parts
        }

    # ------------------------------------------------------------ without a front end

    def _snapshot(self) -> Snapshot:
        fitting = self.frame[np.array(meeting(self.frame, self.query), dtype=bool)]
        return about.snapshot(self._about, self.query, fitting, self.frame.iloc[self._selected])


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    hint = "vastnb.search(...) gives a frame of offers"
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"OfferSelector takes a query or a frame of offers, got {type(frame).__name__}", hint=hint)
    if not frame.columns.is_unique:
        raise InputError("the frame has two columns of one name", hint="df.loc[:, ~df.columns.duplicated()]")
    lacking = [name for name in ("offer_id", "gpu_name", "usd_per_hour") if name not in frame.columns]
    if lacking:
        raise InputError(f"these are no offers of vastnb: there is no column {lacking[0]}", hint=hint)
    return frame
