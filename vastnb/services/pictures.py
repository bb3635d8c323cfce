"""Pictures of frames: one call each, drawn by matplotlib through pandas.

Pure functions of a frame: nothing is asked, nothing is random. Each gives matplotlib's axes, to be changed or saved; in a notebook the
picture shows itself and stays in it, as a static image. Colours can be told apart without seeing red or green; the background is
transparent and the writing grey, so that a picture is readable on white and on black.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vastnb.errors import ConfigError, InputError
from vastnb.services.costs.analysis import frontier
from vastnb.services.costs.derived import about_of, labels, need, numbers
from vastnb.services.market import market
from vastnb.vast.render import plain, source_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot", "price_band", "price_parts", "price_performance", "spend_by_day", "supply"]

_PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
"""Okabe and Ito's, without black and yellow, which vanish on a dark or a white page."""
_MARKERS = "os^Dvp"
_GREY = "#7a7a7a"
"""As far from white as from the black of a dark theme."""
_WIDTH, _HEIGHT = 8.4, 4.4
_MOST_GROUPS = len(_PALETTE)
_MOST_BARS = 15
_PARTS = {
    "gpu_usd": "GPUs",
    "disk_usd": "disk",
    "download_usd": "download",
    "upload_usd": "upload",
    "idle_usd": "disk while stopped",
}
_TOTALS = ("usd_total", "usd")


def plot(frame: pd.DataFrame, picture: str | None = None, *, ax: Axes | None = None) -> Axes:
    """The picture of a frame.

    Parameters
    ----------
    frame
        Any frame with the pinned columns.
    picture
        ``"frontier"`` (offers: price and performance), ``"supply"`` (offers by country, or what `market` gave), ``"parts"`` (quotes, choices,
        costs of a job), ``"history"``, ``"spend"``; without it, what suits the columns.
    ax
        Axes to draw on, for several pictures in one.

    Returns
    -------
    matplotlib.axes.Axes
        ``.figure.savefig("picture.png")`` keeps it.

    Raises
    ------
    InputError
        No such picture, or a frame that lacks its columns or has no rows for it.
    ConfigError
        matplotlib is not installed.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> axes = vastnb.search("gpu_ram>=24").pipe(vastnb.plot)
    >>> axes.get_xlabel()
    'price of GPUs and disk, $/h'
    """
    need(frame)
    name = picture or _suiting(frame)
    if name not in _PICTURES:
        raise InputError(f"no such picture: {name}", hint=f"there are: {', '.join(_PICTURES)}")
    return _PICTURES[name](frame, ax=ax)


def _suiting(frame: pd.DataFrame) -> str:
    for name, columns in _SUITS.items():
        if columns <= set(frame.columns):
            return name
    raise InputError("there is no picture of a frame with these columns", hint=f"say which: {', '.join(_PICTURES)}")


def price_performance(offers: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Offers by price and performance, and the line of those that none beats.

    Parameters
    ----------
    offers
        A frame of offers.
    ax
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    need(offers, "usd_per_hour", "dlperf", "gpu_name", "num_gpus")
    those = offers[(numbers(offers, "usd_per_hour") > 0) & (numbers(offers, "dlperf") > 0)]
    axes = _axes(ax, those, f"Price and performance of {len(those):,} offers")
    models = those["gpu_name"].value_counts().index[:_MOST_GROUPS].tolist()
    rest = those[~those["gpu_name"].isin(models)]
    groups = [*([("other models", rest, _GREY, ".")] if len(rest) else []),
              *((name, those[those["gpu_name"] == name], *look) for name, *look in zip(models, _PALETTE, _MARKERS, strict=False))]  # fmt: skip
    for name, part, color, marker in groups:
        part.plot.scatter("usd_per_hour", "dlperf", ax=axes, color=color, marker=marker, s=22, alpha=0.75, linewidths=0,
                          label=_said(name), backend="matplotlib")  # fmt: skip
    _frontier_line(axes, frontier(those, less="usd_per_hour", more="dlperf"))
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(left=those["usd_per_hour"].min() / 3)  # room for the name of the cheapest
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
    return _finished(axes, "price of GPUs and disk, $/h", "DLPerf, Vast's score of deep learning")


def _frontier_line(axes: Axes, best: pd.DataFrame) -> None:
    best.plot.line(x="usd_per_hour", y="dlperf", ax=axes, color=_GREY, linewidth=1.2, drawstyle="steps-post", label="nothing is better for less",
              backend="matplotlib")  # fmt: skip
    price, score = np.log10(best["usd_per_hour"].to_numpy()), np.log10(best["dlperf"].to_numpy())
    called, named = _machines(best), list[int]()
    for row in reversed(range(len(best))):
        if all(abs(price[row] - price[n]) > 0.5 or abs(score[row] - score[n]) > 0.25 for n in named):
            named.append(row)
            axes.annotate(called[row], (10 ** price[row], 10 ** score[row]), xytext=(-4, 5), textcoords="offset points",
                          ha="right", size=8, color=_GREY)  # fmt: skip


def supply(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Machines of each country or other group, free and rented where that is known.

    Parameters
    ----------
    frame
        A frame of offers, which are counted by country, or what `market` gave.
    ax
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    counted = frame if "machines" in frame else market(frame, by="country")
    need(counted, "group", "country", "machines", "machines_free", "rented_share")
    bars = counted[["group", "machines", "machines_free", "rented_share"]].set_index("group")
    if len(bars) > _MOST_BARS:
        rest = bars.iloc[_MOST_BARS - 1 :]
        bars.loc[f"{len(rest)} others", ["machines", "machines_free"]] = rest[["machines", "machines_free"]].sum()
        bars = bars.drop(index=rest.index)
    by = " by country" if counted["country"].notna().any() else ""
    axes = _axes(ax, frame, f"{int(counted['machines'].sum()):,} machines{by}", rows=len(bars))
    parts = bars[["machines_free"]].astype("float64").rename(columns={"machines_free": "free"})
    if counted["rented_share"].notna().any():
        parts["rented"] = bars["machines"].astype("float64") - parts["free"]
    _stacked(axes, parts)
    return _finished(axes, "machines", "", values_on="x")


def price_parts(quotes: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What the price of a job is made of, for the first rows of a frame of quotes.

    Parameters
    ----------
    quotes
        What `quote`, `cheapest_for` or `usd_per_job` gave.
    ax
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    need(quotes, "usd_total", "gpu_usd", "disk_usd", "gpu_name", "num_gpus", "offer_id")
    shown = quotes[quotes["usd_total"].notna()].head(_MOST_BARS)
    parts = _parts_of(shown)
    parts.index = [f"{name}  {offer}" for name, offer in zip(_machines(shown), shown["offer_id"], strict=True)]
    axes = _axes(ax, shown, f"What the job costs{_job_of(shown)}", rows=len(parts))
    _stacked(axes, parts)
    for row, total in enumerate(shown["usd_total"].tolist()):
        axes.annotate(
            f"{total:,.2f}", (total, row), xytext=(4, 0), textcoords="offset points", va="center", size=8, color=_GREY
        )
    axes.margins(x=0.1)
    return _finished(axes, "$ for the job", "", values_on="x")


def _job_of(quotes: pd.DataFrame) -> str:
    """The job in words, where it is one for all rows."""
    if "hours" not in quotes or quotes["hours"].nunique() != 1:
        return ""
    return f": {quotes['hours'].iloc[0]:g} h, {quotes['disk_gb'].iloc[0]:g} GB of disk" if "disk_gb" in quotes else ""


def _parts_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The parts of a price that are not zero everywhere, or else its total, as numbers."""
    import pandas as pd

    parts = pd.DataFrame({words: numbers(frame, name) for name, words in _PARTS.items() if name in frame}).fillna(0)
    parts = parts[[name for name in parts.columns if (parts[name] != 0).any()]]
    total = next((name for name in _TOTALS if name in frame), None)
    if parts.empty and total is not None:
        return pd.DataFrame({"all together": numbers(frame, total)})
    return parts


def price_band(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The median price of a GPU in time, and the band that eight tenths of the prices lie in.

    Parameters
    ----------
    history
        What `vastnb.history` gave by hour, by day or by clock. Where nothing is known there is a gap.
    ax
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    need(history, "time", "hour_utc", "gpu_name", "gpu_ram_nominal_gb", "usd_per_gpu_hour_p10", "usd_per_gpu_hour_median", "usd_per_gpu_hour_p90")  # fmt: skip
    when = "time" if history["time"].notna().any() else "hour_utc"
    those = history[history[when].notna()]
    several = ["rental"] if "rental" in those and those["rental"].nunique() > 1 else []
    those = those.assign(group=labels(those, ["gpu_name", "gpu_ram_nominal_gb", *several]))
    groups = those["group"].value_counts(sort=False).index[:_MOST_GROUPS]
    axes = _axes(ax, those, "Price of one GPU: median, and 10 to 90 %")
    for name, color in zip(groups, _PALETTE, strict=False):
        _band(axes, _whole_steps(those[those["group"] == name], when), _said(name), color)
    if when == "time":
        _short_dates(axes)
    return _finished(axes, "UTC" if when == "time" else "hour of the day, UTC", "$/h for one GPU")


def _short_dates(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set(color=_GREY, size=9)
    axes.tick_params(axis="x", rotation=0)


def _band(axes: Axes, part: pd.DataFrame, name: str, color: str) -> None:
    part.plot(
        y="median",
        ax=axes,
        color=color,
        linewidth=1.6,
        marker=".",
        markersize=4,
        label=name,
        x_compat=True,
        backend="matplotlib",
    )
    axes.fill_between(
        part.index.to_numpy(), part["p10"].to_numpy(), part["p90"].to_numpy(), color=color, alpha=0.22, linewidth=0
    )


def _whole_steps(part: pd.DataFrame, when: str) -> pd.DataFrame:
    """Figures by time, with a row of nothing in each gap: a line must not bridge what was not seen."""
    figures = part[["usd_per_gpu_hour_p10", "usd_per_gpu_hour_median", "usd_per_gpu_hour_p90"]].set_axis(
        ["p10", "median", "p90"], axis=1
    )
    at = part[when].dt.tz_localize(None) if when == "time" else part[when].astype("int64")
    figures = figures.set_axis(at.to_numpy(), axis=0).sort_index()
    figures = figures[~figures.index.duplicated()]
    steps = figures.index[1:] - figures.index[:-1]
    if not len(steps):
        return figures
    gaps = figures.index[:-1][steps > steps.min()] + steps.min()
    return figures.reindex(figures.index.union(gaps))


def spend_by_day(spend: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What was spent each day, by what it was for.

    Parameters
    ----------
    spend
        A frame with the columns `day` and `gpu_usd`, `disk_usd`, `download_usd`, `upload_usd`, or a total in dollars. A day with
        several rows is added up, one without any is empty.
    ax
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    import pandas as pd

    need(spend, "day")
    days = pd.to_datetime(spend["day"], utc=True).dt.tz_localize(None).dt.normalize()
    parts = _parts_of(spend).set_axis(days, axis=0).groupby(level=0).sum().asfreq("D", fill_value=0)
    axes = _axes(ax, spend, f"Spent in {len(parts):,} days: ${parts.to_numpy().sum():,.2f}")
    parts.set_axis([f"{day:%d %b}" for day in parts.index], axis=0).plot.bar(stacked=True, ax=axes, color=list(_PALETTE), width=0.85, rot=0, backend="matplotlib")  # fmt: skip
    every = -(-len(parts) // 10)
    for number, label in enumerate(axes.get_xticklabels()):
        label.set_visible(number % every == 0)
    return _finished(axes, "day, UTC", "$ a day", values_on="y")


def _stacked(axes: Axes, parts: pd.DataFrame) -> None:
    """Bars from the top down, in the order of the rows."""
    parts.plot.barh(stacked=True, ax=axes, color=list(_PALETTE), width=0.75, backend="matplotlib")
    axes.invert_yaxis()


def _axes(ax: Axes | None, frame: pd.DataFrame, title: str, rows: int = 0) -> Axes:
    """Empty axes with a title and the source below it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ConfigError("pictures need matplotlib", hint="pip install 'vastnb[plots]'", original=error) from error
    if frame.empty:
        raise InputError("there is nothing to draw: the frame has no rows")
    if ax is None:
        height = max(_HEIGHT / 2, 0.8 + 0.26 * rows) if rows else _HEIGHT
        figure, ax = plt.subplots(figsize=(_WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0)
    ax.patch.set_alpha(0)
    about = about_of(frame)
    ax.set_title(title, loc="left", size=11, color=_GREY, pad=18 if "source" in about else 6)
    if "source" in about:
        ax.annotate(plain(source_of(about)).replace("$", r"\$"), (0, 1), xytext=(0, 5), xycoords="axes fraction",
                    textcoords="offset points", size=8, color=_GREY)  # fmt: skip
    return ax


def _finished(axes: Axes, across: str, up: str, values_on: str = "both") -> Axes:
    axes.set(xlabel=across, ylabel=up)
    axes.tick_params(colors=_GREY, which="both", labelsize=9)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set(color=_GREY, size=9)
    for side, spine in axes.spines.items():
        spine.set(color=_GREY, visible=side in ("left", "bottom"))
    axes.grid(visible=True, axis=values_on, color=_GREY, alpha=0.22, linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    _, names = axes.get_legend_handles_labels()
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, labelcolor=_GREY)
    if len(names) < 2:
        legend.remove()
    return axes


def _machines(frame: pd.DataFrame) -> list[str]:
    """What each row is called: ``2 x RTX 4090``."""
    return [f"{count} x {_said(name)}" for count, name in zip(frame["num_gpus"], frame["gpu_name"], strict=True)]


def _said(text: object) -> str:
    """A stranger's words: one printable line, no mathematics, and not hidden from the legend."""
    return plain(str(text), 32).replace("$", r"\$").lstrip("_") or "?"


_PICTURES: dict[str, Callable[..., Axes]] = {
    "frontier": price_performance,
    "supply": supply,
    "parts": price_parts,
    "history": price_band,
    "spend": spend_by_day,
}
_SUITS: dict[str, set[str]] = {
    "history": {"time", "hour_utc", "usd_per_gpu_hour_median"},
    "spend": {"day"},
    "parts": {"usd_total", "gpu_usd", "offer_id"},
    "supply": {"country", "machines", "rented_share"},
    "frontier": {"usd_per_hour", "dlperf"},
}
"""Which picture suits a frame with these columns; the first that does."""
