"""What was spent, and why it is not what was quoted: a month of the sandbox, whose bill adds up to the last millionth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest
from renting import Yard, yard
from sandbox_doors import Renter, offers

from vastnb.errors import InputError, ResponseError
from vastnb.services.instances import Instance, instance, launch
from vastnb.services.instances.fleet import Fleet
from vastnb.services.offers import search
from vastnb.services.pictures import plot
from vastnb.services.spending import By, charge_of, reconcile, reconciled, spend
from vastnb.vast.types import KINDS

mpl.use("agg")
COLUMNS = {"gpu": "gpu_usd", "disk": "disk_usd", "bwd": "download_usd", "bwu": "upload_usd"}
LONG = "num_gpus=1 duration>=40 disk_space>=100 inet_down_cost>0 inet_up_cost>0"
PARTS = ["gpu_usd", "disk_usd", "download_usd", "upload_usd", "other_usd"]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A month of one account: machines that run, stop, move data, are outbid and bid again, one of the console, a volume."""
    with pytest.MonkeyPatch.context() as patch, yard(tmp_path_factory.mktemp("month"), credit_usd=5000.0) as place:
        patch.setenv("JPY_SESSION_NAME", "work/train.ipynb")
        yield _lived(place)


def rented(what: Any, **wanted: Any) -> Instance:
    machine = launch(what, **wanted)
    assert isinstance(machine, Instance)
    return machine


def _lived(place: Yard) -> SimpleNamespace:
    fleet = place.kernel()
    renter, client = Renter(place.sandbox), fleet.client
    ours = place.quotes(fleet, LONG, hours=48, download_gb=10).drop_duplicates("machine_id")
    bids = search(LONG, rental="bid", client=client).drop_duplicates("machine_id")
    bids = bids[~bids.machine_id.isin(ours.machine_id[:4])]
    terms: dict[str, Any] = {"image": "a/b:1", "client": client}
    long = rented(ours.iloc[0], name="long", label="thesis", **terms)
    short = rented(ours.iloc[1], name="short", **terms)
    stopped = rented(ours.iloc[2], name="stopped", label="thesis", **terms)
    least = bids.iloc[0].min_bid_usd_per_hour
    bid = rented(bids.iloc[0], name="bid", bid_usd_per_hour=round(least * 1.5, 4), hours=48, disk_gb=20, **terms)
    place.sandbox.clock.step(days=1)
    console = renter.rent(next(o for o in offers(place.sandbox) if o["avail_vol_ask_id"]), label="by hand")
    shelf = next(o for o in offers(place.sandbox)[5:] if o["avail_vol_ask_id"])
    volume = {"mount_path": "/data", "create_new": True, "volume_id": shelf["avail_vol_ask_id"], "size": 5}
    with_volume = renter.rent(shelf, volume_info=volume)
    short.destroy()
    place.sandbox.clock.step(days=1)
    place.sandbox.traffic(long.id, down_gb=64, up_gb=3)
    stopped.stop()
    place.sandbox.clock.step(days=3.3)
    place.sandbox.outbid(bid.id)
    place.sandbox.clock.step(days=4)
    instance("bid", client=client).change_bid(round(least * 3, 4))
    renter.destroy(with_volume)
    place.sandbox.clock.step(days=7.7)
    long.destroy()
    place.sandbox.clock.step(days=8)
    return SimpleNamespace(place=place, client=client, renter=renter, long=long.id, short=short.id, stopped=stopped.id, bid=bid.id,
                           console=console, with_volume=with_volume, before=5000.0)  # fmt: skip


def billed(sandbox: Any, key: Any) -> dict[Any, float]:
    """The sandbox's own lines, added up by `key`."""
    sums: defaultdict[Any, int] = defaultdict(int)
    for line in sandbox.bill():
        if line["item"] in COLUMNS:
            sums[key(line)] += line["micro_usd"]
    return {found: micro / 1e6 for found, micro in sums.items() if micro}


def test_the_days_of_a_month_add_up_to_what_the_balance_lost(month: SimpleNamespace) -> None:
    df = spend(by="day", client=month.client)

    assert df.usd_total.sum() == pytest.approx(month.before - month.renter.credit, abs=1e-6)
    assert df.usd_total.sum() > 10
    by_item = df.melt("day", list(COLUMNS.values()), "item", "usd").query("usd > 0").set_index(["day", "item"]).usd
    lines = billed(month.place.sandbox, lambda line: (pd.Timestamp(line["day"], tz="UTC"), COLUMNS[line["item"]]))
    assert by_item.to_dict() == pytest.approx(lines, abs=1e-9)
    assert df.day.is_monotonic_increasing and len(df) == 26
    assert (df[PARTS].sum(axis=1) - df.usd_total).abs().max() < 1e-9


def test_each_contract_has_its_items_and_what_is_known_of_it(month: SimpleNamespace) -> None:
    df = spend(by="instance", client=month.client).set_index("instance_id")

    by_item = df.melt(None, list(COLUMNS.values()), "item", "usd", ignore_index=False).query("usd > 0")
    lines = billed(month.place.sandbox, lambda line: (line["contract_id"], COLUMNS[line["item"]]))
    assert {(i, row["item"]): row.usd for i, row in by_item.iterrows()} == pytest.approx(lines, abs=1e-9)
    assert df.loc[month.long, ["what", "name", "label", "notebook"]].tolist() == [
        "machine",
        "long",
        "thesis",
        "work/train.ipynb",
    ]
    assert df.loc[month.console, ["what", "name", "label", "notebook"]].tolist() == ["machine", "", "by hand", ""]
    assert df.loc[month.console].gpu_name and df.loc[month.long].gpu_name
    assert df.what.value_counts().to_dict() == {"machine": 6, "volume": 1}
    assert df.usd_total.is_monotonic_decreasing


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("name", {"long": 1, "short": 1, "stopped": 1, "bid": 1, "": 2, "volume": 1}),
        ("label", {"thesis": 2, "by hand": 1, "": 3, "volume": 1}),
        ("notebook", {"work/train.ipynb": 4, "": 2, "volume": 1}),
    ],
)
def test_groups_hold_everything_machines_of_the_console_and_volumes_too(
    month: SimpleNamespace, by: By, groups: dict[str, int]
) -> None:
    df = spend(by=by, client=month.client)

    assert df.groupby("group").contracts.sum().to_dict() == groups
    assert df.usd_total.sum() == pytest.approx(month.before - month.renter.credit, abs=1e-6)


def test_by_gpu_a_machine_that_nobody_remembers_has_no_model(month: SimpleNamespace) -> None:
    df = spend(by="gpu", client=month.client)

    assert df[df.group == ""].contracts.tolist() == [1]  # made in the console, and destroyed
    assert df[df.what == "volume"].group.tolist() == ["volume"]
    assert df.contracts.sum() == 7


def test_it_is_said_up_to_when_and_that_charges_may_come_late(month: SimpleNamespace) -> None:
    notes = spend(days=31, client=month.client).attrs["vastnb"]["notes"]

    total = month.before - month.renter.credit
    assert notes == [f"Together ${total:,.2f} in 31 days, 2026-05-27 to 2026-06-26 09:00 UTC.", "Charges may come late: the last hours can still grow."]  # fmt: skip


def test_fewer_days_are_only_those(month: SimpleNamespace) -> None:
    whole, few = (spend(days=days, by="day", client=month.client) for days in (30, 5))

    assert few.day.tolist() == whole.day.tolist()[-5:]
    assert few.usd_total.tolist() == pytest.approx(whole.usd_total.tolist()[-5:])


def test_the_picture_of_the_days_is_drawn_from_it(month: SimpleNamespace) -> None:
    legend = plot(spend(by="day", client=month.client)).get_legend()

    assert legend is not None and {text.get_text() for text in legend.get_texts()} == {
        "GPUs",
        "disk",
        "download",
        "upload",
    }


def test_a_reconciliation_names_every_difference(month: SimpleNamespace) -> None:
    df = reconcile(client=month.client).set_index("name")

    assert df.index.tolist() == ["long", "short", "stopped", "bid"]
    lines = billed(month.place.sandbox, lambda line: line["contract_id"])
    assert df.billed_usd.tolist() == pytest.approx([lines[number] for number in df.instance_id], abs=1e-9)
    for name, row in df.iterrows():
        said = sum(float(amount.replace(",", "")) for amount in re.findall(r": ([+-][\d,.]+)(?:;|$)", row.why))
        assert said == pytest.approx(row.difference_usd, abs=1e-3), (name, row.why)
        parts = [f"{part}_{{}}_usd" for part in ("gpu", "disk", "idle", "download", "upload")]
        assert sum(row[part.format("quoted")] for part in parts) == pytest.approx(row.quoted_usd)
        assert sum(row[part.format("billed")] for part in parts) == pytest.approx(row.billed_usd)
    assert df.final.tolist() == [True, True, False, False]


def test_the_words_of_a_reconciliation_are_about_what_happened(month: SimpleNamespace) -> None:
    why = {
        row["name"]: re.sub(r"[+-][\d,]+\.\d{4}", "$", row.why) for _, row in reconcile(client=month.client).iterrows()
    }

    for name, word in (("long", "GPUs ran 4"), ("long", "64 GB downloaded, 10 GB quoted"), ("long", "3 GB uploaded, 0 GB quoted"), ("short", "GPUs ran 23."), ("short", "0 GB downloaded, 10 GB quoted"), ("stopped", "h without GPUs, 0 h quoted"), ("bid", "the bid was changed")):  # fmt: skip
        assert word in why[name], why
    assert "uploaded" not in why["short"] and "at $" not in why["long"] + why["short"] + why["stopped"]


def test_what_is_left_out_of_a_reconciliation_is_said(month: SimpleNamespace) -> None:
    df = reconcile(days=3, client=month.client)

    assert df.empty and [(name, str(dtype)) for name, dtype in df.dtypes.items()] == [(c.name, c.dtype) for c in KINDS["reconciled launches"]]  # fmt: skip
    assert df.attrs["vastnb"]["notes"] == ["2 launched before these 3 days are left out."]
    assert (
        reconcile(client=month.client).attrs["vastnb"]["notes"][1]
        == "What is not final lives: its bill is that so far."
    )


def test_days_are_asked_for_only_where_something_lived_on_several(tmp_path: Path) -> None:
    with yard(tmp_path) as place:
        client = place.kernel().client
        machine = rented(place.quotes(place.kernel()).iloc[0], name="brief", client=client)
        place.sandbox.clock.step(hours=2)
        machine.destroy()
        place.sandbox.clock.step(days=9)
        place.sandbox.log.clear()
        df = spend(by="day", client=client)

        assert place.sandbox.requests("/charges/") == 1
        assert df.usd_total.tolist() == pytest.approx([100 - Renter(place.sandbox).credit], abs=1e-9)
        assert df.day.tolist() == [datetime(2026, 6, 1, tzinfo=UTC)]


def test_a_machine_without_charges_is_named_and_one_rented_elsewhere_has_no_quote(tmp_path: Path) -> None:
    with yard(tmp_path) as place:
        here, there = place.kernel(folder="here"), place.kernel(folder="there")
        machine = rented(place.quotes(here).iloc[0], name="far", client=here.client)

        assert (
            spend(client=there.client).attrs["vastnb"]["notes"][-1] == f"Nothing is told yet for machine {machine.id}."
        )
        assert reconcile(client=there.client).attrs["vastnb"]["notes"] == ["1 of 1 launches are left out: nothing is charged for them yet."]  # fmt: skip
        place.sandbox.clock.step(hours=3)
        (row,) = reconcile(client=there.client).to_dict("records")
        assert (row["name"], row["quoted_usd"] == row["quoted_usd"]) == ("far", False)
        assert row["why"] == "its quote is not known here: it was rented on another computer"
        assert spend(client=there.client).group.tolist() == ["far"]


@pytest.mark.parametrize("by", ["name", "day", "instance"])
def test_nothing_spent_is_an_empty_frame_with_the_same_columns(tmp_path: Path, by: By) -> None:
    kind = {"name": "spending groups", "day": "spending days", "instance": "spending contracts"}[by]
    with yard(tmp_path) as place:
        df = spend(by=by, client=place.kernel().client)

    assert df.empty
    assert [(name, str(dtype)) for name, dtype in df.dtypes.items()] == [(c.name, c.dtype) for c in KINDS[kind]]
    assert df.attrs["vastnb"]["notes"] == ["Together $0.00 in 30 days, 2026-05-03 to 2026-06-01 09:00 UTC."]


@pytest.mark.parametrize("days", [0, -1, 367, 1.5, True, "30"])
def test_days_that_there_are_not_are_refused(days: Any) -> None:
    with pytest.raises(InputError, match="days must be a whole number, 1 to 366"):
        spend(days)
    with pytest.raises(InputError, match="days must be a whole number, 1 to 366"):
        reconcile(days)


def test_a_grouping_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="by must be one of name, label, day"):
        spend(by="week")  # type: ignore[arg-type]


def test_money_of_an_item_that_nobody_knows_is_not_lost() -> None:
    row = {"source": "serverless-7", "type": "serverless", "amount": 3.0, "items": [
        {"type": "gpu", "amount": 1.0, "description": "1,200.5 hours at $0.001/hour"}, {"type": "tax", "amount": 2.0}]}  # fmt: skip

    charge = charge_of(row)

    assert (charge.what, charge.id, charge.usd_total, charge.usd["other_usd"], charge.used["gpu_usd"]) == ("serverless", 7, 3.0, 2.0, 1200.5)  # fmt: skip
    assert charge.is_whole and not charge_of({**row, "amount": 3.002}).is_whole
    assert charge_of({"source": None, "amount": 0.5}).usd["other_usd"] == 0.5


@pytest.mark.parametrize(
    "wrong",
    [{"amount": None}, {"amount": "1.5"}, {"amount": True}, {"items": ["gpu"]}, {"items": 3}, {"metadata": "x"}],
)
def test_a_charge_that_cannot_be_read_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ResponseError):
        charge_of({"source": "instance-1", "type": "instance", "amount": 1.0, "items": [], **wrong})


def test_where_the_service_does_not_say_how_much_was_used_the_amounts_are_said(month: SimpleNamespace) -> None:
    row = next(row for row in Fleet(month.client).journal.rows() if row.name == "long")
    items = [{"type": item, "amount": 5.0, "description": "as agreed"} for item in COLUMNS]
    bill = charge_of({"source": f"instance-{month.long}", "type": "instance", "amount": 20.0, "items": items})

    why = reconciled(row, bill, final=True)["why"]

    assert why.startswith("GPUs cost $5.0000, $1.6640 quoted: +3.3360; disk cost $5.0000, $0.5333 quoted: +4.4667; ")


def test_the_command_is_the_function(ip: Any) -> None:
    ip.run_line_magic("vast", "use sandbox start=2026-06-01T09:00")

    assert ip.run_line_magic("vast", "spend --days 7 --by day").attrs["vastnb"]["kind"] == "spending days"
    assert ip.run_line_magic("vast", "spend --reconcile").attrs["vastnb"]["kind"] == "reconciled launches"
