"""The price observatory: what counts, what a window holds, what people see of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vastnb import errors
from vastnb.sandbox import Sandbox
from vastnb.services.history import append, history, import_history
from vastnb.services.history.judging import judged
from vastnb.services.history.packing import pack
from vastnb.services.history.store import store_of
from vastnb.services.offers import search
from vastnb.services.sampling import sample
from vastnb.vast.client import Client
from vastnb.vast.query import parse_query
from vastnb.vast.types import KINDS

MakeClient = Callable[..., Client]
START = "2026-06-01T09:00:00+00:00"


@pytest.fixture
def box() -> Any:
    """A small market of the test's own, whose clock may be stepped."""
    with Sandbox(offers=600, seed=7, start=START) as running:
        yield running


@pytest.fixture
def there(make_client: MakeClient, box: Sandbox) -> Client:
    return make_client(box, cache={"backend": "off"})


def notes(frame: pd.DataFrame) -> list[str]:
    return list(frame.attrs["vastnb"]["notes"])


def truth(box: Sandbox, name: str) -> pd.DataFrame:
    """All offers of a model, as the sandbox knows them."""
    return pd.DataFrame(box.offers(parse_query(f'gpu_name="{name}"').to_api()))


# ---------------------------------------------------------------- what counts


@pytest.mark.parametrize(
    ("query", "options", "complete", "holds", "models"),
    [
        ("gpu_name=RTX_4090", {}, True, "whole", ("RTX 4090",)),
        ("gpu_name in [RTX_4090,H200]", {}, True, "whole", ("RTX 4090", "H200")),
        ("", {}, True, "whole", ()),
        ("gpu_name!=H200", {}, True, "sample", ()),
        ("gpu_name=A100_SXM4 gpu_ram=80", {}, True, "sample", ("A100 SXM4",)),
        ("gpu_name=RTX_4090", {}, False, "part", ("RTX 4090",)),
        ("gpu_name=RTX_4090", {"limit": 20}, True, "part", ("RTX 4090",)),
        ("gpu_name=RTX_4090 dph<0.5", {}, True, "part", ("RTX 4090",)),
        ("gpu_name=RTX_4090 num_gpus=2", {}, True, "part", ("RTX 4090",)),
        ("gpu_name=RTX_4090 cpu_ram_gb<64", {}, True, "part", ("RTX 4090",)),
        ("gpu_name=RTX_4090 verified=any", {}, True, "part", ("RTX 4090",)),
        ("gpu_name=RTX_4090 offer_id>900000100", {"order": "offer_id"}, False, "sample", ("RTX 4090",)),
    ],
)
def test_what_an_answer_holds_follows_from_what_was_asked(
    query: str, options: dict[str, Any], complete: bool, holds: str, models: tuple[str, ...]
) -> None:
    verdict = judged(parse_query(query, **options).to_api(), query, complete=complete)

    assert (verdict.holds, verdict.models) == (holds, models)
    assert bool(verdict.why) == (holds == "part")


def test_a_search_leaves_its_answer_behind_and_the_history_has_its_figures(there: Client, box: Sandbox) -> None:
    search("gpu_name=RTX_3090", client=there)

    frame = history("RTX 3090", client=there)

    whole = truth(box, "RTX 3090")
    price = whole.dph_total / whole.num_gpus
    assert [c.name for c in KINDS["history"]] == frame.columns.tolist()
    assert frame.time.tolist() == [pd.Timestamp("2026-06-01 09:00", tz="UTC")]
    assert (frame.n[0], frame.supply[0], frame.snapshots[0]) == (len(whole), len(whole), 1)
    got = frame.loc[0, [f"usd_per_gpu_hour_{name}" for name in ("p10", "median", "p90", "min")]].astype(float).tolist()
    assert got == pytest.approx([price.quantile(0.1), price.median(), price.quantile(0.9), price.min()])


def test_prices_compare_whatever_disk_was_asked_for(there: Client) -> None:
    search("gpu_name=RTX_3090", disk_gb=10, client=there)
    small = history("RTX 3090", client=there)
    search("gpu_name=RTX_3090", disk_gb=500, client=there)

    both = history("RTX 3090", client=there)

    assert both.n[0] == 2 * small.n[0]
    assert both.usd_per_gpu_hour_median[0] == pytest.approx(small.usd_per_gpu_hour_median[0], rel=1e-6)


def test_what_a_price_chose_counts_nowhere_and_is_named(there: Client) -> None:
    search("gpu_name=RTX_3090 dph<0.2", client=there)
    search("gpu_name=RTX_3090 num_gpus=1", client=there)

    frame = history("RTX 3090", client=there)

    assert frame.empty
    assert frame.dtypes.astype(str).tolist() == [c.dtype for c in KINDS["history"]]
    said = "\n".join(notes(frame))
    assert "chosen by dph_total" in said
    assert "chosen by num_gpus" in said
    assert 'vastnb.sample("RTX 3090")' in said


def test_on_day_one_it_says_what_to_run_and_that_works(ip: Any) -> None:
    ip.run_line_magic("vast", "use sandbox offers=300 start=2026-06-01")
    empty = ip.run_line_magic("vast", "history RTX_4090")
    assert empty.empty
    (line,) = [note for note in notes(empty) if "%vast history" in note]

    frame = ip.run_line_magic("vast", line.partition("%vast ")[2].partition(" takes")[0])

    assert frame.gpu_name.unique().tolist() == ["RTX 4090"]
    assert "supply" in frame.columns


def test_an_answer_from_the_cache_is_not_written_down_again(make_client: MakeClient, box: Sandbox) -> None:
    client = make_client(box)
    for _ in range(3):
        search("gpu_name=RTX_3090", client=client)

    assert history("RTX 3090", client=client).snapshots.tolist() == [1]


def test_the_same_answer_twice_counts_once(there: Client) -> None:
    frame = search("gpu_name=RTX_3090", client=there)
    append(frame, client=there)
    pack(store_of(there), today=True)
    append(frame, client=there)

    assert history("RTX 3090", client=there).n.tolist() == [len(frame)]


def test_what_is_no_search_is_refused(there: Client) -> None:
    with pytest.raises(errors.InputError, match="the frame of a search"):
        append(pd.DataFrame({"a": [1]}), client=there)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"days": 0}, "days"), ({"days": -1}, "days"), ({"by": "week"}, "by"), ({"rental": "free"}, "rental")],
)
def test_a_value_out_of_range_is_named(there: Client, options: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InputError, match=f"{words} must be"):
        history("RTX 4090", client=there, **options)


def test_switched_off_it_keeps_nothing_and_says_so(make_client: MakeClient, box: Sandbox) -> None:
    client = make_client(box, history={"enabled": False})
    search("gpu_name=RTX_3090", client=client)

    assert not store_of(client).folder.exists()
    with pytest.raises(errors.InputError, match=r"history\.enabled"):
        sample("RTX 3090", client=client)


# ---------------------------------------------------------------- time


def observe(box: Sandbox, client: Client, hours: int, *names: str) -> None:
    """A sample each hour, the first one now."""
    for number in range(hours):
        if number:
            box.clock.step(hours=1)
        sample(names, client=client)


def test_every_way_to_group_gives_the_same_figures_packed_or_not(there: Client, box: Sandbox) -> None:
    observe(box, there, 40, "RTX 3090", "H100 SXM")
    before = {by: history(by=by, client=there) for by in ("hour", "day", "clock", "model")}
    store = store_of(there)
    assert [path.name for path in store.spool.iterdir()] == ["2026-06-03"]

    pack(store, today=True)

    assert list(store.spool.iterdir()) == []
    for by, frame in before.items():
        after = history(by=by, client=there)  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(after, frame)
    assert before["hour"].groupby("gpu_name").time.nunique().tolist() == [40, 40]
    assert len(before["clock"]) == 24 * before["hour"].groupby(["gpu_name", "gpu_ram_nominal_gb"]).ngroups
    assert before["model"].n.sum() == before["day"].n.sum() == before["hour"].n.sum()


def test_days_and_models_limit_what_is_shown(there: Client, box: Sandbox) -> None:
    observe(box, there, 60, "RTX 3090", "H100 SXM")

    last = history("rtx3090", days=1, client=there)
    everything = history("RTX 3090", days=None, client=there)

    assert set(last.gpu_name) == {"RTX 3090"}
    assert (last["time"].nunique(), everything["time"].nunique()) == (25, 60)
    assert last["time"].max() == everything["time"].max()


def test_the_cheapest_hours_are_named_once_there_are_days_to_tell_from(there: Client, box: Sandbox) -> None:
    observe(box, there, 10, "RTX 3090")
    assert history("RTX 3090", client=there).attrs["vastnb"]["cheapest_hours_utc"] == {}
    observe(box, there, 50, "RTX 3090")

    frame = history("RTX 3090", client=there)

    medians = frame.groupby("hour_utc").usd_per_gpu_hour_median.median().sort_values(kind="stable")
    cheapest = [int(hour) for hour in medians.index[:3]]
    assert frame.attrs["vastnb"]["cheapest_hours_utc"] == {"RTX 3090 24 GB": cheapest}
    assert notes(frame) == [f"RTX 3090 24 GB: cheapest at {', '.join(f'{hour:02d}' for hour in cheapest)} h UTC."]


def test_a_clock_that_jumps_back_and_gaps_lose_nothing(there: Client, make_client: MakeClient, box: Sandbox) -> None:
    search("gpu_name=RTX_3090", client=there)
    box.clock.step(days=3)
    search("gpu_name=RTX_3090", client=there)
    late = search("gpu_name=RTX_3090 dph<100", client=there)
    late.attrs["vastnb"] |= {"seen_at": "2026-06-02T12:00:00+00:00", "body": parse_query("gpu_name=RTX_3090").to_api()}
    history("RTX 3090", client=there)

    append(late, client=there)

    days = history("RTX 3090", by="day", client=there)
    assert days["time"].dt.day.tolist() == [1, 2, 4]


def test_what_lies_before_the_window_is_pointed_at(there: Client, tmp_path: Path) -> None:
    offer = {
        "id": 1,
        "machine_id": 7,
        "gpu_name": "RTX 3090",
        "num_gpus": 1,
        "gpu_ram": 24576,
        "dph_total": 0.2,
        "dph_base": 0.2,
    }
    (tmp_path / "old.json").write_text(json.dumps({"seen_at": "2020-01-01", "offers": [offer]}))
    live = Client(there.settings.model_copy(update={"url": "https://console.vast.ai"}), cache_folder=tmp_path / "live")
    import_history(tmp_path / "old.json", holds="sample", client=live)

    frame = history("RTX 3090", client=live)

    assert (
        notes(frame)[0]
        == "Nothing as new as that: the newest answer is of 2020-01-01. days=None goes back to the first."
    )
    assert history("RTX 3090", days=None, client=live).n.tolist() == [1]


def test_a_sample_without_models_is_refused(ip: Any) -> None:
    ip.run_line_magic("vast", "use sandbox offers=300 start=2026-06-01")

    with pytest.raises(errors.CommandError, match="needs GPU models"):
        ip.run_line_magic("vast", "history --sample")


# ---------------------------------------------------------------- one machine


def test_the_life_of_a_machine_has_a_row_for_each_price(there: Client, box: Sandbox) -> None:
    prices: list[tuple[float, int]] = []
    machine = int(search("gpu_name=RTX_3090", client=there).machine_id[0])
    for _ in range(40):
        found = search("gpu_name=RTX_3090", client=there)
        prices += [(row.usd_per_hour, row.offer_id) for row in found[found.machine_id == machine].itertuples()]
        box.clock.step(hours=3)

    life = history(machine=machine, client=there)

    runs = pd.DataFrame(prices, columns=["usd", "offer"]).groupby("offer").usd.apply(lambda p: (p != p.shift()).sum())
    assert [c.name for c in KINDS["machine life"]] == life.columns.tolist()
    assert len(life) == runs.sum()
    assert life.seen.sum() == len(prices)
    assert history(machine=1, client=there).empty


# ---------------------------------------------------------------- files


def test_the_files_are_private_and_the_folder_is_the_runs_own(there: Client, box: Sandbox, private_home: Path) -> None:
    observe(box, there, 30, "RTX 3090")
    history("RTX 3090", client=there)

    folder = store_of(there).folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".arrows", ".parquet", ".json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_dir()} == {0o700}
    assert "local" in folder.parts
    assert not list(private_home.rglob("history"))


def test_a_newer_store_is_left_alone(there: Client) -> None:
    search("gpu_name=RTX_3090", client=there)
    file = store_of(there).folder / "format.json"
    file.write_text(json.dumps({"format": 99, "store": "ab"}))
    before = sorted(store_of(there).folder.rglob("*"))

    with pytest.raises(errors.NewerStateError):
        history("RTX 3090", client=there)
    assert len(search("gpu_name=H200", client=there)) > 0
    assert sorted(store_of(there).folder.rglob("*")) == before


def test_packed_days_may_lie_at_any_fsspec_url(make_client: MakeClient, box: Sandbox) -> None:
    import fsspec

    client = make_client(box, cache={"backend": "off"}, history={"url": "memory://prices"})
    observe(box, client, 40, "RTX 3090")
    pack(store_of(client), today=True)
    other = make_client(box, api_key=None, history={"url": "memory://prices"})

    frame = history("RTX 3090", client=client)

    there = fsspec.filesystem("memory").glob("/prices/offers/*/*.parquet")
    assert [path.split("/")[-2] for path in there] == ["date=2026-06-01", "date=2026-06-02", "date=2026-06-03"]
    assert store_of(other).folder != store_of(client).folder
    pd.testing.assert_frame_equal(history("RTX 3090", client=other), frame)
    fsspec.filesystem("memory").rm("/prices", recursive=True)


# ---------------------------------------------------------------- samples


def test_a_pass_takes_the_next_part_of_a_large_model_until_all_were_seen(make_client: MakeClient) -> None:
    with Sandbox(offers=5000, seed=7, start=START) as box:
        client = make_client(box, cache={"backend": "off"})
        whole = truth(box, "RTX 3090")
        assert 128 < len(whole) < 320

        passes = [sample("RTX 3090", max_requests=2, client=client)]
        while passes[-1].note[0] != "the last part of them":
            passes.append(sample("RTX 3090", max_requests=2, client=client))

        frame = history("RTX 3090", client=client)
    first = passes[0]
    assert first.columns.tolist() == [c.name for c in KINDS["samples"]]
    assert (first.holds[0], first.requests[0], first.note[0]) == (
        "sample",
        2,
        "a part of them; the next pass goes on behind it",
    )
    assert len(passes) < 5
    assert frame.n.sum() == len(whole)
    assert frame.usd_per_gpu_hour_median[0] == pytest.approx((whole.dph_total / whole.num_gpus).median())
    assert frame.supply.isna().all()


def test_a_used_up_quota_ends_the_pass_and_says_so(there: Client, box: Sandbox) -> None:
    box.faults.add("429-quota")

    frame = sample(["RTX 3090", "H200"], client=there)

    assert (frame.holds.tolist(), box.requests("/bundles")) == (["", ""], 1)
    assert frame.note.str.startswith("not asked for").all()
