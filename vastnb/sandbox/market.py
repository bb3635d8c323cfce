"""The market of offers as a function of (seed, time).

What stands still is in the layout; what moves is hashed from (seed, who, number of the period), so the state at a
time does not depend on how the clock got there. The path of a question:

1. :meth:`Market.view` finds the state of the minute (who is listed, busy, at what price) and the rows listed in it;
2. filters look at whole columns of that view;
3. :meth:`Market.rows` turns the few rows of a page into dicts.
"""

import functools
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import catalog, layout
from .chance import Floats, Ints, between, normal, period, unit
from .columns import CONSTANTS, FIELDS, HIDDEN, NUMBERS, TEXTS, Array, Formula, Words
from .models import MODELS

FIRST_ID = 900_000_001
"""Real offer ids are far below: no sandbox id can be taken for one of the real market."""
_ID_END = 2**31
MAX_OFFERS = 200_000
KINDS = ("on-demand", "bid", "reserved")
_DAY_S = 86400.0
_PRICES = ("host_price", "host_bid")
_DATES = ("end_date", "seen_at", "reliability_now")
_KEPT_VIEWS = 8
_PARTS = (
    "discountTotalHour", "discountedTotalPerHour", "diskHour", "gpuCostPerHour", "slaPremiumPerHour", "totalHour",
)  # fmt: skip


class State:
    """Who is listed, busy and priced how, during one minute; each part is worked out when it is asked for.

    Parameters
    ----------
    market
        Whose state.
    minute
        Epoch seconds; an array gives each machine a time of its own.
    machine
        The number of one machine at all these times, instead of each machine at its own.
    """

    def __init__(self, market: "Market", minute: float | Floats, machine: int | None = None) -> None:
        self._market, self._seed, self._at = market, market.seed, minute
        machines = market.layout.machines
        if machine is None:
            self._machines, self._number = machines, np.arange(len(machines["model"]))
        else:
            self._number = np.full(len(np.atleast_1d(minute)), machine)
            self._machines = {name: column[self._number] for name, column in machines.items()}

    @functools.cached_property
    def prices(self) -> layout.Columns:
        """``host_price`` and ``host_bid`` per machine: what the host gets for one GPU and hour."""
        return self._prices(self._machines)

    @functools.cached_property
    def dates(self) -> layout.Columns:
        """``end_date``, ``seen_at`` and ``reliability_now`` per machine."""
        return self._dates(self._machines)

    @functools.cached_property
    def listed(self) -> NDArray[np.bool_]:
        """Which slots are listed; all of a machine or none."""
        return self._listed_and_rentable[0]

    @functools.cached_property
    def rentable(self) -> NDArray[np.bool_]:
        """Which slots nobody else has rented."""
        return self._listed_and_rentable[1]

    @functools.cached_property
    def offer_id(self) -> Ints:
        """The id of each slot's offer."""
        return self._ids(self._machines)

    @functools.cached_property
    def busy(self) -> Ints:
        """How many GPUs of each machine others have rented, counted from its first."""
        return self._busy(self._machines)

    @functools.cached_property
    def down_since(self) -> Floats:
        """When the outage of each machine or its host began, -inf where both are up."""
        return self._down_since(self._machines)

    @functools.cached_property
    def _listed_and_rentable(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return self._offered(np.isneginf(self.down_since), self.busy)

    def _period(self, table: layout.Columns, name: str) -> Ints:
        return period(self._at, table[f"{name}_s"], table[f"{name}_phase"])

    def _started(self, table: layout.Columns, name: str) -> Floats:
        return np.asarray(self._period(table, name) * table[f"{name}_s"] - table[f"{name}_phase"])

    def _prices(self, machines: layout.Columns) -> layout.Columns:
        seed, epoch, market = self._seed, self._period(machines, "reprice"), self._market
        model = machines["model"]
        mood = normal(seed, "reprice", self._number, epoch) * 0.3 + machines["price_z"] * 0.78
        mood = (mood + market.layout.hosts["habit"][machines["host"]]) * market.figures["spread"][model]
        mood = mood + market.demand(model, self._started(machines, "reprice")) - 0.06 * (machines["standing"] > 0)
        memory = np.sqrt(machines["gpu_ram"] / market.figures["gpu_ram"][model])
        price = 0.75 * market.figures["usd_per_gpu_hour"][model] * memory * np.exp(mood)
        # Hosts type round prices, and get three quarters of what the renter pays.
        step = np.select([price >= 3, price >= 0.15], [0.05, 0.01], 0.002)
        price = np.round(np.maximum(np.round(price / step) * step, 0.01) * market.repriced[self._number], 3)
        share = between(unit(seed, "min_bid", self._number, self._period(machines, "bid")), catalog.MIN_BID_SHARE)
        return {"host_price": price, "host_bid": np.maximum(np.round(price * share, 3), 0.001)}

    def _dates(self, machines: layout.Columns) -> layout.Columns:
        epoch = self._period(machines, "relist")
        relisted = (epoch + 1) * machines["relist_s"] - machines["relist_phase"]
        more = between(unit(self._seed, "duration", self._number, epoch), catalog.DURATION_S)
        drift = normal(self._seed, "reliable", self._number, np.atleast_1d(self._at // _DAY_S))
        wear = (1 - machines["reliability"]) * np.exp(0.1 * drift)
        return {
            # An offer outlives its listing, so no listed offer has ever ended.
            "end_date": np.round(relisted + np.maximum(more - machines["relist_s"] / 2, 3600.0)),
            "seen_at": self._started(machines, "heartbeat"),
            "reliability_now": np.round(np.clip(1 - wear, 0.5, 0.9999925), 7),
        }

    def _down_since(self, machines: layout.Columns) -> Floats:
        hosts = {name: self._market.layout.hosts[name][machines["host"]] for name in ("away_s", "away_phase")}
        away = unit(self._seed, "host up", machines["host"], self._period(hosts, "away")) < 0.04
        broken = unit(self._seed, "up", self._number, self._period(machines, "repair")) < 0.03
        return np.maximum(
            np.where(away, self._started(hosts, "away"), -np.inf),
            np.where(broken, self._started(machines, "repair"), -np.inf),
        )

    def _busy(self, machines: layout.Columns) -> Ints:
        epoch, gpus = self._period(machines, "busy"), machines["num_gpus"]
        wanted = self._market.demand(machines["model"], self._started(machines, "busy"))
        busy = unit(self._seed, "busy", self._number, epoch) < np.clip(0.31 * np.exp(2.5 * wanted), 0.03, 0.9)
        some = 1 + np.floor(unit(self._seed, "how many", self._number, epoch) * gpus).astype(np.int64)
        whole = unit(self._seed, "whole", self._number, epoch) < 0.6
        return np.where(busy, np.where(whole, gpus, some), 0)

    def _offered(self, up: NDArray[np.bool_], busy: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        slots, wanted = self._market.layout.slots, self._market.offers
        machine = slots["machine"]
        listed, free = up[machine], slots["start"] >= busy[machine]
        if (short := wanted - int((listed & free).sum())) > 0:
            # Demand swings: some machines stay on so that the promised number of offers is always there.
            gain = np.bincount(machine[~(listed & free)], minlength=len(up))
            order = np.argsort(~up, kind="stable")
            kept = order[: int(np.searchsorted(np.cumsum(gain[order]), short)) + 1]
            held = np.isin(machine, kept)
            listed, free = listed | held, free | held
        return listed, listed & free

    def _ids(self, machines: layout.Columns) -> Ints:
        slots = self._market.layout.slots
        number, count = np.arange(len(slots["machine"])), len(slots["machine"])
        # number + epoch * count is different for every (slot, listing): an id never comes to mean something else.
        epoch = self._period(machines, "relist") % self._market.id_epochs
        return FIRST_ID + epoch[slots["machine"]] * count + number


class View:
    """The listed offers at one moment, for one kind of rental and one size of disk.

    Columns are made when they are asked for and kept.
    """

    def __init__(self, market: "Market", state: State, now: float, allocated_storage: float, kind: str) -> None:
        self.layout, self.now, self.allocated_storage, self.kind = market.layout, now, allocated_storage, kind
        self._market, self._state = market, state
        self._slots = self._listed()
        self._machines = self.layout.slots["machine"][self._slots]
        self._hosts = self.layout.machines["host"][self._machines]
        self._columns: dict[str, Array] = {}
        self._texts: dict[str, Words] = {}

    def _listed(self) -> Ints:
        return np.flatnonzero(self._state.listed)

    def _formula(self, name: str) -> Formula:
        return HIDDEN[name] if name in HIDDEN else NUMBERS[name][1]

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, name: str) -> Array:
        """Return a numeric column, NaN where the field is null."""
        if name not in self._columns:
            self._columns[name] = self._formula(name)(self)
        return self._columns[name]

    def words(self, name: str) -> Words:
        """Return a text column."""
        if name not in self._texts:
            self._texts[name] = TEXTS[name](self)
        return self._texts[name]

    def host(self, name: str) -> Array:
        """Return a column of the hosts, per row."""
        return np.asarray(self.layout.hosts[name][self._hosts])

    def machine(self, name: str) -> Array:
        """Return a column of the machines, per row."""
        if name == "volume_id":
            return _ID_END - len(self.layout.machines["host"]) + self._machines
        return np.asarray(self._table(name)[name][self._machines])

    def _table(self, name: str) -> layout.Columns:
        if name in _PRICES:
            return self._state.prices
        return self._state.dates if name in _DATES else self.layout.machines

    def slot(self, name: str) -> Array:
        """Return a column of the slots, per row."""
        if name == "number":
            return self._slots
        if name == "offer_id":
            return self._state.offer_id[self._slots]
        if name == "rentable":
            return self._market.untaken(self._state.rentable)[self._slots]
        return np.asarray(self.layout.slots[name][self._slots])

    def model(self, name: str) -> Array:
        """Return a figure of the GPU model, per row."""
        return np.asarray(self._market.figures[name][self.machine("model")])

    def gpu_ids(self, index: int) -> list[int]:
        """Return the ids of the GPUs of one row."""
        first, count = int(self.slot("first_gpu")[index]), int(self["num_gpus"][index])
        return list(range(first + 1, first + 1 + count))


class SlotView(View):
    """One slot alone, listed or not: an offer that is about to be rented."""

    def __init__(self, market: "Market", slot: int, now: float, allocated_storage: float, kind: str) -> None:
        self._slot_number = slot
        super().__init__(market, market.state(now), now, allocated_storage, kind)

    def _listed(self) -> Ints:
        return np.array([self._slot_number])


class VolumeView(View):
    """The volume offers: one for each listed machine that lets disk, whether its GPUs are free or not."""

    def _listed(self) -> Ints:
        slots = self.layout.slots
        first = np.concatenate(([True], slots["machine"][1:] != slots["machine"][:-1]))
        return np.flatnonzero(self._state.listed & first & self.layout.machines["volumes"][slots["machine"]])

    def _formula(self, name: str) -> Formula:
        own = {"id": HIDDEN["volume_id"], "disk_space": NUMBERS["avail_vol_size"][1]}
        return own.get(name) or super()._formula(name)


class DiskView(VolumeView):
    """What a search for ``num_gpus == 0`` finds: machines that let their disk without a GPU."""

    def _formula(self, name: str) -> Formula:
        nothing = ("num_gpus", "gpu_ram", "cpu_ram", "compute_cap", "total_flops", "dlperf", "bw_nvlink")
        if name in nothing:
            return lambda v: np.zeros(len(self), dtype=np.int64)
        fixed = {"cpu_cores": 256, "gpu_frac": 1.0, "min_bid": 0.01, "on_demand_base": 0.01}
        if name in fixed:
            return lambda v: np.full(len(self), fixed[name])
        # The whole disk, unlike a volume offer.
        return NUMBERS[name][1] if name == "disk_space" else super()._formula(name)

    def words(self, name: str) -> Words:
        """Return a text column; there is no GPU to name."""
        if name == "gpu_name":
            return Words(np.full(len(self), -1), ())
        return (
            Words(np.ones(len(self), dtype=np.int64), ("gpu", "disk"))
            if name == "resource_type"
            else super().words(name)
        )


_DISKLIKE: dict[str, type[View]] = {"disk": DiskView, "volume": VolumeView}
"""The views beside the :data:`KINDS` of rental."""


class Market:
    """All offers of the sandbox.

    Parameters
    ----------
    offers
        How many are rentable at least at any time; some 40 % more are listed and rented by others.
    seed
        The same seed gives the same market, to the bit.
    """

    def __init__(self, *, offers: int = 2000, seed: int = 0) -> None:
        if isinstance(offers, bool) or not isinstance(offers, int) or not 1 <= offers <= MAX_OFFERS:
            raise ValueError(f"offers must be a whole number from 1 to {MAX_OFFERS}, got {offers!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be a whole number from 0, got {seed!r}")
        self.offers, self.seed = offers, seed
        self.layout = layout.build(seed, int(offers * 1.62) + 40)
        self.figures = _figures()
        self.id_epochs = (_ID_END - FIRST_ID - len(self.layout.machines["host"])) // len(self.layout.slots["machine"])
        self.repriced = np.ones(len(self.layout.machines["model"]))
        self._taken = np.zeros(self.layout.gpus, dtype=bool)
        self._lock = threading.RLock()
        self._state: tuple[float, State] | None = None
        self._views: dict[tuple[float, float, str], View] = {}
        self._phases = np.stack([unit(seed, f"cycle {n}", np.arange(len(MODELS))) for n in range(4)]) * 2 * np.pi

    def demand(self, model: Ints, at: Floats) -> Floats:
        """Return how much more than usual a model is wanted at a time, as a logarithm around 0."""
        cycles = ((1, 0.03), (7, 0.04), (37, 0.06), (113, 0.08))
        waves = [
            size * np.sin(2 * np.pi * at / (days * _DAY_S) + phase[model])
            for (days, size), phase in zip(cycles, self._phases, strict=True)
        ]
        return np.asarray(np.sum(waves, axis=0))

    def view(self, now: float, allocated_storage: float = 8.0, kind: str = "on-demand") -> View:
        """Return the offers listed at ``now`` (epoch seconds), priced for a disk of ``allocated_storage`` GB."""
        if kind not in (*KINDS, *_DISKLIKE):
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        key = (now, allocated_storage, kind)
        with self._lock:
            if key not in self._views:
                if len(self._views) >= _KEPT_VIEWS:
                    self._views.pop(next(iter(self._views)))
                make, shown = (_DISKLIKE[kind], "on-demand") if kind in _DISKLIKE else (View, kind)
                self._views[key] = make(self, self.state(now), now, allocated_storage, shown)
            return self._views[key]

    def state(self, now: float) -> State:
        """Return the state of the minute that ``now`` is in."""
        minute = now // 60 * 60
        with self._lock:
            if self._state is None or self._state[0] != minute:
                self._state = (minute, State(self, minute))
            return self._state[1]

    def table(self, now: float, allocated_storage: float = 8.0, kind: str = "on-demand") -> dict[str, Array]:
        """Return every column that can be filtered, row by row as in :meth:`view`.

        Numbers are NaN where null, texts ``None``; ``verified``, ``datacenter`` and ``external`` are booleans.
        """
        view = self.view(now, allocated_storage, kind)
        numbers = {name: view[name] for name in (*NUMBERS, "verified", "datacenter", "external")}
        return numbers | {name: view.words(name).decoded() for name in TEXTS}

    def rows(
        self, indices: Sequence[int] | Ints, now: float, allocated_storage: float = 8.0, kind: str = "on-demand"
    ) -> list[dict[str, Any]]:
        """Return the offers of these rows of :meth:`view` as Vast writes them, keys sorted."""
        return rows(self.view(now, allocated_storage, kind), np.asarray(indices, dtype=np.int64))

    def find(self, offer_id: int, now: float) -> int | None:
        """Return the row of an offer in :meth:`view`, or ``None`` if it is not listed at ``now``."""
        found = np.flatnonzero(self.view(now)["id"] == offer_id)
        return int(found[0]) if len(found) else None

    def slot(self, offer_id: int, now: float) -> int | None:
        """Return the slot behind an offer, or ``None`` if it is not listed at ``now``."""
        number = (offer_id - FIRST_ID) % len(self.layout.slots["machine"])
        state = self.state(now)
        return number if state.offer_id[number] == offer_id and state.listed[number] else None

    def offer(self, slot: int, now: float, allocated_storage: float, kind: str) -> dict[str, Any]:
        """Return the offer of one slot at ``now``, as in :meth:`rows`."""
        return rows(SlotView(self, slot, now, allocated_storage, kind), np.array([0]))[0]

    def reprice(self, slot: int, factor: float) -> None:
        """Multiply what the machine of a slot asks, on demand and at least, from now on."""
        with self._lock:
            self.repriced[self.layout.slots["machine"][slot]] *= factor
            self._state = None
            self._views.clear()

    @property
    def taken(self) -> frozenset[int]:
        """The ids of the GPUs that renters of this sandbox hold."""
        with self._lock:
            return frozenset((np.flatnonzero(self._taken) + 1).tolist())

    def take(self, gpu_ids: Iterable[int]) -> None:
        """Mark GPUs as rented here: every offer that needs one of them stops being rentable."""
        self._mark(gpu_ids, True)

    def release(self, gpu_ids: Iterable[int]) -> None:
        """Give GPUs back to the market."""
        self._mark(gpu_ids, False)

    def untaken(self, rentable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return ``rentable`` (per slot) without the slots that need a taken GPU."""
        with self._lock:
            before = np.concatenate(([0], np.cumsum(self._taken)))
        first = self.layout.slots["first_gpu"]
        return np.asarray(rentable & (before[first + self.layout.slots["num_gpus"]] == before[first]))

    def _mark(self, gpu_ids: Iterable[int], taken: bool) -> None:
        with self._lock:
            self._taken[np.fromiter(gpu_ids, dtype=np.int64) - 1] = taken
            self._views.clear()


def rows(view: View, indices: Ints) -> list[dict[str, Any]]:
    """Return rows of a view as offers, keys sorted, types as in the records."""
    columns: dict[str, list[Any]] = {name: [value] * len(indices) for name, value in CONSTANTS.items()}
    columns |= {name: _json(kind, view[name][indices]) for name, (kind, _) in NUMBERS.items()}
    columns |= {name: [_word(view.words(name), code) for code in view.words(name).codes[indices]] for name in TEXTS}
    # As in the records: the whole number 0 where there is no discount rate, else a float.
    hourly = zip(columns["discounted_hourly"], columns["discount_rate"], strict=True)
    columns["discounted_hourly"] = [0 if rate is None else value for value, rate in hourly]
    columns["gpu_ids"] = [view.gpu_ids(index) for index in indices]
    columns["search"], columns["instance"] = _hourly(columns)
    return [dict(zip(FIELDS, row, strict=True)) for row in zip(*(columns[name] for name in FIELDS), strict=True)]


def _json(kind: str, values: Array) -> list[Any]:
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        if kind == "int":
            values = np.where(known, values, 0).astype(np.int64)
        return [value if ok else None for value, ok in zip(values.tolist(), known.tolist(), strict=True)]
    return list(values.astype(float).tolist() if kind == "float" else values.tolist())


def _word(words: Words, code: int) -> str | None:
    return words.vocabulary[code] if code >= 0 else None


def _hourly(columns: dict[str, list[Any]]) -> tuple[list[Any], list[Any]]:
    """Return the nested ``search`` (what it costs running) and ``instance`` (stopped: its disk alone)."""
    names = ("dph_base", "storage_total_cost", "dph_total", "discounted_hourly", "discounted_dph_total")
    search, instance = [], []
    for base, disk, total, less, paid in zip(*(columns[name] for name in names), strict=True):
        search.append(dict(zip(_PARTS, (less, paid, disk, base, 0.0, total), strict=True)))
        instance.append(dict(zip(_PARTS, (0, disk, disk, 0, 0, disk), strict=True)))
    return search, instance


def _figures() -> dict[str, Array]:
    names = ("compute_cap", "tflops", "dlperf", "mem_bw_gb_s", "power_w", "usd_per_gpu_hour", "spread")
    figures = {name: np.array([getattr(model, name) for model in MODELS]) for name in names}
    return figures | {"gpu_ram": np.array([model.gpu_ram_mb[0][0] for model in MODELS])}
