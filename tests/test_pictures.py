"""Pictures: what is drawn, and what is written beside it."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from vastnb import errors
from vastnb.services import pictures
from vastnb.services.costs import cheapest_for, frontier, quote, usd_per_job
from vastnb.services.market import market
from vastnb.services.offers import search
from vastnb.services.pictures import plot
from vastnb.vast.client import Client

JOB: dict[str, Any] = {"hours": 10, "disk_gb": 50, "download_gb": 100, "idle_hours": 12}


@pytest.fixture(autouse=True)
def _no_windows() -> Iterator[None]:
    mpl.use("agg")
    yield
    plt.close("all")


@pytest.fixture
def offers(client: Client) -> pd.DataFrame:
    return search("gpu_name in [RTX_4090,RTX_3090,RTX_5090]", client=client)


def prices_in_time() -> pd.DataFrame:
    """Two models by hour, one of them not seen for five hours."""
    hours = pd.date_range("2026-06-01", periods=24, freq="h", tz="UTC").as_unit("us")
    price = 0.4 + 0.1 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    one = pd.DataFrame({"time": hours, "hour_utc": pd.array([None] * 24, dtype="Int64"), "gpu_name": "RTX 4090",
                        "gpu_ram_nominal_gb": 24.0, "usd_per_gpu_hour_p10": price * 0.8,
                        "usd_per_gpu_hour_median": price, "usd_per_gpu_hour_p90": price * 1.3})  # fmt: skip
    return pd.concat([one.drop(index=range(8, 13)), one.assign(gpu_name="RTX 5090")], ignore_index=True)


def spent() -> pd.DataFrame:
    days = pd.to_datetime(["2026-06-01", "2026-06-01", "2026-06-02", "2026-06-05"], utc=True)
    return pd.DataFrame({"day": days, "gpu_usd": [1.0, 2, 3, 4], "disk_usd": [0.1, 0.2, 0.3, 0.4], "upload_usd": 0.0})


FRAMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "frontier": lambda df: df,
    "supply": lambda df: market(df, by="country"),
    "parts": lambda df: quote(df, **JOB),  # type: ignore[dict-item, return-value]
    "history": lambda _: prices_in_time(),
    "spend": lambda _: spent(),
}


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.findobj(Text) if text.get_text()]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- what all of them promise


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_finds_its_picture_with_units_on_the_axes(offers: pd.DataFrame, name: str) -> None:
    frame = FRAMES[name](offers)
    before, attrs = frame.copy(deep=True), str(frame.attrs)

    axes = frame.pipe(plot)

    expected = {
        "frontier": ("price of GPUs and disk, $/h", "DLPerf, Vast's score of deep learning"),
        "supply": ("machines", ""),
        "parts": ("$ for the job", ""),
        "history": ("UTC", "$/h for one GPU"),
        "spend": ("day, UTC", "$ a day"),
    }
    assert (axes.get_xlabel(), axes.get_ylabel()) == expected[name]
    assert axes.get_title(loc="left")
    pd.testing.assert_frame_equal(frame, before)
    assert str(frame.attrs) == attrs


@pytest.mark.parametrize("name", ["frontier", "supply", "parts"])
def test_a_priced_picture_says_where_it_comes_from(offers: pd.DataFrame, name: str) -> None:
    assert "sandbox: practice, not real" in words(plot(FRAMES[name](offers)))


@pytest.mark.parametrize("name", FRAMES)
def test_it_is_readable_on_white_and_on_black(offers: pd.DataFrame, name: str) -> None:
    axes = plot(FRAMES[name](offers))
    axes.figure.canvas.draw()

    assert axes.patch.get_alpha() == 0
    assert axes.figure.patch.get_alpha() == 0  # type: ignore[union-attr]
    written = [text for text in axes.findobj(Text) if text.get_text() and text.get_visible()]  # type: ignore[attr-defined]
    assert written
    for text in written:
        for page in ("white", "#111111"):
            assert contrast(text.get_color(), page) > 4, text


def contrast(one: Any, other: Any) -> float:
    """The contrast ratio of WCAG."""

    def light(color: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "seen",
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ],
    ids=["without red", "without green"],
)
def test_colours_differ_for_those_who_do_not_see_red_or_green(seen: list[list[float]]) -> None:
    as_seen = [np.array(seen) @ to_rgb(color) for color in pictures._PALETTE]

    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(as_seen, 2)) > 0.15


@pytest.mark.parametrize("name", FRAMES)
def test_the_same_frame_gives_the_same_picture(offers: pd.DataFrame, name: str) -> None:
    def drawn() -> bytes:
        file = io.BytesIO()
        plot(FRAMES[name](offers)).figure.savefig(file, format="png")
        return file.getvalue()

    assert drawn() == drawn()


@pytest.mark.parametrize("name", FRAMES)
def test_several_pictures_fit_in_one(offers: pd.DataFrame, name: str) -> None:
    figure, (left, right) = plt.subplots(1, 2)

    axes = plot(FRAMES[name](offers), ax=right)

    assert axes is right
    assert not left.has_data()
    assert len(figure.axes) == 2


@pytest.mark.parametrize("name", FRAMES)
def test_nothing_to_draw_is_said(offers: pd.DataFrame, name: str) -> None:
    with pytest.raises(errors.InputError, match="nothing to draw"):
        plot(FRAMES[name](offers).head(0), name)


@pytest.mark.parametrize(
    ("frame", "picture", "message"),
    [
        (None, None, "expected a frame"),
        (pd.DataFrame({"a": [1]}), None, "there is no picture of a frame with these columns"),
        (pd.DataFrame({"a": [1]}), "pie", "no such picture: pie"),
        (pd.DataFrame({"a": [1]}), "parts", "there is no column usd_total"),
        (pd.DataFrame({"a": [1]}), "history", "there is no column time"),
    ],
)
def test_what_cannot_be_drawn_is_refused(frame: Any, picture: str | None, message: str) -> None:
    with pytest.raises(errors.InputError) as raised:
        plot(frame, picture)

    assert message in str(raised.value)


def test_without_matplotlib_it_says_what_to_install(offers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)

    with pytest.raises(errors.ConfigError) as raised:
        plot(offers)

    assert raised.value.hint == "pip install 'vastnb[plots]'"


def test_a_name_that_would_be_mathematics_is_written_as_it_is(offers: pd.DataFrame) -> None:
    offers["gpu_name"] = "_$\\frac$ \x1b[31mRTX"

    for axes in (plot(offers), plot(quote(offers, **JOB))):  # type: ignore[arg-type]
        axes.figure.canvas.draw()

        assert any(r"\$\frac\$ RTX" in text for text in words(axes))


# ---------------------------------------------------------------- each of them


def test_every_offer_with_a_price_is_a_point_and_the_line_is_the_frontier(offers: pd.DataFrame) -> None:
    offers.loc[0, "usd_per_hour"] = 0
    offers.loc[1, "dlperf"] = np.nan

    axes = plot(offers)

    points = np.concatenate([np.asarray(group.get_offsets()) for group in axes.collections])
    those = offers.iloc[2:]
    expected = sorted(zip(those.usd_per_hour.tolist(), those.dlperf.tolist(), strict=True))
    assert sorted(map(tuple, points.tolist())) == expected
    best = frontier(those, less="usd_per_hour", more="dlperf")
    assert axes.lines[0].get_xydata().tolist() == best[["usd_per_hour", "dlperf"]].to_numpy().tolist()  # type: ignore[union-attr]
    assert axes.get_title(loc="left") == f"Price and performance of {len(those)} offers"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert {"RTX 4090", "RTX 3090", "RTX 5090"} < {text.get_text() for text in axes.get_legend().get_texts()}


def test_many_models_are_six_and_others(client: Client) -> None:
    axes = plot(search(client=client))

    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[0] == "other models"
    assert legend[-1] == "nothing is better for less"
    assert len(legend) == 8


def test_machines_of_a_country_are_free_or_rented(client: Client) -> None:
    places = market(by="country", client=client)

    axes = plot(places)

    shown = [label.get_text() for label in axes.get_yticklabels()]
    free, rented = ([bar.get_width() for bar in part] for part in axes.containers)
    assert shown[:14] == places.group[:14].tolist()
    assert shown[14] == f"{len(places) - 14} others"
    assert free[:14] == places.machines_free[:14].tolist()
    assert sum(free) == places.machines_free.sum()
    assert sum(free) + sum(rented) == places.machines.sum()
    assert axes.yaxis_inverted()


def test_offers_are_counted_by_country(offers: pd.DataFrame) -> None:
    axes = plot(offers, "supply")

    assert axes.get_title(loc="left") == f"{offers.machine_id.nunique()} machines by country"
    assert axes.get_legend() is None


def test_the_market_by_model_is_drawn_by_model(offers: pd.DataFrame) -> None:
    axes = plot(market(offers))

    assert axes.get_title(loc="left") == f"{offers.machine_id.nunique()} machines"
    assert axes.get_yticklabels()[0].get_text() == market(offers).group[0]


@pytest.mark.parametrize(
    "made",
    [
        lambda df: quote(df, **JOB),
        lambda df: cheapest_for(df, **JOB),
        lambda df: usd_per_job(df, {"RTX 4090": 1.0}, units=1e5, disk_gb=50, download_gb=10),
    ],
    ids=["quotes", "choices", "job costs"],
)
def test_a_quote_is_shown_by_its_parts(offers: pd.DataFrame, made: Any) -> None:
    quotes = made(offers)

    axes = plot(quotes)

    first = quotes.head(15)
    ends = [bar.get_x() + bar.get_width() for bar in axes.containers[-1]]
    assert ends == pytest.approx(first.usd_total.tolist())
    assert [bar.get_width() for bar in axes.containers[0]] == pytest.approx(first.gpu_usd.tolist())
    assert axes.get_yticklabels()[0].get_text() == f"{first.num_gpus[0]} x {first.gpu_name[0]}  {first.offer_id[0]}"
    assert f"{first.usd_total[0]:,.2f}" in words(axes)
    hours = ": 10 h, 50 GB of disk" if quotes.hours.nunique() == 1 and quotes.hours[0] == 10 else ""
    assert axes.get_title(loc="left").startswith(f"What the job costs{hours}")


def test_quotes_without_any_total_are_nothing_to_draw(offers: pd.DataFrame) -> None:
    with pytest.raises(errors.InputError, match="nothing to draw"):
        plot(quote(offers.assign(gpu_usd_per_hour=np.nan)))  # type: ignore[arg-type]


def test_a_line_does_not_bridge_what_was_not_seen() -> None:
    frame = prices_in_time()

    axes = plot(frame)

    gap, whole = (np.asarray(line.get_ydata(), float) for line in axes.lines)
    assert np.isnan(gap).sum() == 1
    assert np.isnan(whole).sum() == 0
    assert whole.tolist() == frame.usd_per_gpu_hour_median[frame.gpu_name == "RTX 5090"].tolist()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["RTX 4090 24 GB", "RTX 5090 24 GB"]
    assert len(axes.collections) == 2


def test_two_kinds_of_rental_are_two_lines_and_a_row_that_is_there_twice_is_one_point() -> None:
    frame = prices_in_time().assign(rental="on-demand")
    both = pd.concat([frame, frame.head(3), frame.assign(rental="bid")], ignore_index=True)

    axes = plot(both)

    assert {text.get_text() for text in axes.get_legend().get_texts()} == {
        f"RTX {model} 24 GB, {rental}" for model in (4090, 5090) for rental in ("on-demand", "bid")
    }
    assert len(axes.lines[0].get_xdata()) == len(axes.lines[2].get_xdata())  # type: ignore[arg-type]


def test_prices_by_the_hour_of_the_day() -> None:
    frame = prices_in_time()[lambda df: df.gpu_name == "RTX 5090"]
    by_clock = frame.assign(hour_utc=frame.time.dt.hour.astype("Int64"), time=pd.NaT)

    axes = plot(by_clock)

    assert axes.get_xlabel() == "hour of the day, UTC"
    assert axes.lines[0].get_xdata().tolist() == list(range(24))  # type: ignore[union-attr]


def test_what_was_spent_adds_up_by_day_and_a_day_without_is_empty() -> None:
    axes = plot(spent())

    assert axes.get_title(loc="left") == "Spent in 5 days: $11.00"
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"0{day} Jun" for day in range(1, 6)]
    gpu, disk = ([bar.get_height() for bar in part] for part in axes.containers)
    assert gpu == [3, 3, 0, 0, 4]
    assert disk == pytest.approx([0.3, 0.3, 0, 0, 0.4])


def test_spending_known_only_as_a_total_is_drawn_as_one() -> None:
    axes = plot(pd.DataFrame({"day": ["2026-06-01", "2026-06-02"], "usd_total": [1.5, 2.0]}))

    assert [bar.get_height() for bar in axes.containers[0]] == [1.5, 2.0]
    assert axes.get_legend() is None
