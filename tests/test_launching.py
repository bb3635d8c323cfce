"""Renting: once, for what was agreed, under the caps, by name; against the sandbox over HTTP."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from renting import Yard, yard

from vastnb import errors
from vastnb.services.instances import Instance, Plan
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on


def launched(*args: Any, **options: Any) -> Instance:
    made = launch_on(*args, **options)
    assert isinstance(made, Instance)
    return made


# --- what is rented -----------------------------------------------------------------------------------------------------


def test_a_quoted_offer_is_rented_with_one_request_and_written_down(there: Yard, kernel: Fleet) -> None:
    chosen = there.quotes(kernel).iloc[0]

    machine = launched(kernel, chosen, name="lora", max_hours=3, image="a/b:1")

    (row,) = there.machines
    assert there.rent_requests == 1
    assert (row["id"], row["disk_space"], row["image_uuid"]) == (machine.id, 20, "a/b:1")
    assert row["dph_total"] == pytest.approx(chosen.usd_per_hour)
    (rental,) = kernel.journal.rows()
    assert (rental.state, rental.instance_id, rental.name, rental.label) == (
        "created",
        machine.id,
        "lora",
        row["label"],
    )
    assert row["label"].startswith(rental.token)


@pytest.mark.parametrize("what", ["quote row", "offer row", "id", "frame of offers", "frame of quotes", "quote"])
def test_whatever_stands_for_an_offer_is_rented(there: Yard, kernel: Fleet, what: str) -> None:
    from vastnb.services.costs import quote

    offers, quotes = there.offers(kernel), there.quotes(kernel)
    given = {
        "quote row": quotes.iloc[0], "offer row": offers.iloc[0], "id": int(offers.offer_id[0]), "frame of offers": offers,
        "frame of quotes": quotes, "quote": quote(offers.iloc[0], hours=1),
    }[what]  # fmt: skip

    launched(kernel, given)

    assert len(there.machines) == 1


def test_a_dry_run_shows_the_exact_request_without_secrets_and_sends_nothing(there: Yard, kernel: Fleet) -> None:
    env = {"HF_TOKEN": "hf_secret", "MODE": "x", "DSN": "hf_secret"}
    plan = launch_on(kernel, there.quotes(kernel).iloc[0], env=env, secrets="DSN", dry_run=True)

    assert isinstance(plan, Plan)
    assert plan.body["env"] == {"HF_TOKEN": "***", "MODE": "x", "DSN": "***"}
    assert "hf_secret" not in repr(plan) + plan._repr_html_()
    with pytest.raises(errors.InputError, match="DNS: no such variable"):
        launch_on(kernel, there.quotes(kernel).iloc[0], env=env, secrets=["DNS"], dry_run=True)
    assert (there.rent_requests, kernel.journal.rows()) == (0, [])


def test_secrets_are_in_no_file_of_ours(there: Yard, kernel: Fleet) -> None:
    machine = launched(kernel, there.quotes(kernel).iloc[0], env={"HF_TOKEN": "hf_secret"})

    files = [path.read_bytes() for path in there.folder.rglob("*") if path.is_file()]
    assert not any(b"hf_secret" in content or there.sandbox.api_key.encode() in content for content in files)
    assert "hf_secret" not in repr(machine) + machine._repr_html_()


def test_a_frame_falls_through_to_the_next_only_after_a_certain_refusal(there: Yard, kernel: Fleet) -> None:
    offers = there.offers(kernel)
    there.sandbox.faults.add("success-false", path="/asks/", method="PUT", times=2)

    machine = launched(kernel, offers)

    assert there.rent_requests == 3
    assert kernel.journal.rows("created")[0].offer_id == offers.offer_id[2]
    assert [row.state for row in kernel.journal.rows()] == ["refused", "refused", "created"]
    assert machine.id == there.machines[0]["id"]


def test_what_is_not_certain_ends_the_search_for_an_offer(there: Yard, kernel: Fleet) -> None:
    there.sandbox.faults.add("cut-before", path="/asks/", method="PUT")

    with pytest.raises(errors.LaunchUncertainError):
        launch_on(kernel, there.offers(kernel))

    assert there.rent_requests == 1


def test_a_machine_that_cannot_be_looked_at_is_rented_all_the_same(there: Yard, kernel: Fleet) -> None:
    offers = there.offers(kernel)
    there.sandbox.faults.add("503", path="/api/v0/instances/", method="GET")

    machine = launched(kernel, offers, name="lora")

    assert machine.state == "provisioning"
    assert [row["id"] for row in there.machines] == [machine.refresh().id]


# --- what is refused -------------------------------------------------------------------------------------------------------


def test_without_an_ssh_key_and_a_way_to_make_one_nothing_is_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with yard(tmp_path, ssh_keys=[]) as there:
        kernel = there.kernel()
        with pytest.raises(errors.LaunchError, match="ssh key"):
            launch_on(kernel, there.offers(kernel).iloc[0])
        launched(kernel, there.offers(kernel).iloc[0], runtype="jupyter")
        assert len(there.machines) == 1


def test_a_bid_offer_without_a_bid_is_refused(there: Yard, kernel: Fleet) -> None:
    bids = there.offers(kernel, rental="bid")

    with pytest.raises(errors.InputError, match="no bid"):
        launch_on(kernel, bids.iloc[0])
    with pytest.raises(errors.PriceChangedError, match="must be bid"):
        launch_on(kernel, bids.iloc[0], bid_usd_per_hour=float(bids.min_bid_usd_per_hour[0]) * 0.5)
    with pytest.raises(errors.InputError, match="bid goes with"):
        launch_on(kernel, there.offers(kernel).iloc[0], bid_usd_per_hour=1.0)

    assert there.rent_requests == 0


def test_a_bid_that_is_no_cheaper_than_on_demand_is_warned_of(there: Yard, kernel: Fleet) -> None:
    bids = there.offers(kernel, rental="bid")
    price = float(there.offers(kernel, f"id={bids.offer_id[0]}").gpu_usd_per_hour[0])

    dear, fine = (
        launch_on(kernel, bids.iloc[0], bid_usd_per_hour=bid, dry_run=True)
        for bid in (price * 1.1, float(bids.min_bid_usd_per_hour[0]))
    )

    assert isinstance(dear, Plan)
    assert isinstance(fine, Plan)
    assert "on demand its GPUs cost" in dear.quote.uncertain[-1]
    assert not any("on demand its GPUs cost" in doubt for doubt in fine.quote.uncertain)


def test_an_unknown_argument_names_its_nearest(there: Yard, kernel: Fleet) -> None:
    with pytest.raises(errors.InputError) as caught:
        launch_on(kernel, 900_000_001, max_usd_per_hr=1)

    assert caught.value.hint == "did you mean max_usd_per_hour?"


@pytest.mark.parametrize("what", [None, "RTX 4090", 3.5, True, {}])
def test_what_is_no_offer_is_refused(there: Yard, kernel: Fleet, what: Any) -> None:
    with pytest.raises(errors.InputError, match="launch takes"):
        launch_on(kernel, what)


def test_a_live_profile_rents_nothing_without_a_quote_or_a_cap(there: Yard, kernel: Fleet) -> None:
    from vastnb.infra.config import Settings
    from vastnb.vast.client import Client

    live = Fleet(Client(Settings(api_key="k" * 64), cache_folder=there.folder / "live"))
    with pytest.raises(errors.BudgetError, match="without a quote or a cap") as caught:
        launch_on(live, 1234)
    assert "vastnb.launch(1234, ..., max_usd_per_hour=" in (caught.value.hint or "")
    with pytest.raises(errors.SandboxOfferError):
        launch_on(live, int(there.offers(kernel).offer_id[0]), max_usd_per_hour=1)


def test_a_cap_refuses_what_is_dearer(there: Yard, kernel: Fleet) -> None:
    offers = there.offers(kernel)

    with pytest.raises(errors.BudgetError, match="max_usd_per_hour"):
        launch_on(kernel, offers.iloc[0], max_usd_per_hour=0.001)
    with pytest.raises(errors.BudgetError, match="too little"):
        launch_on(kernel, offers.iloc[0], max_usd=0.001, max_hours=10)

    assert there.rent_requests == 0


# --- a saved quote refuses whatever is not as it says --------------------------------------------------------------------------


def _dearer(there: Yard, kernel: Fleet, saved: Any) -> Any:
    there.sandbox.reprice(saved.offer_id, 1.05)
    return saved


def _gone(there: Yard, kernel: Fleet, saved: Any) -> Any:
    launched(there.kernel(folder="another"), saved)
    there.sandbox.log.clear()
    return saved


def _other_account(there: Yard, kernel: Fleet, saved: Any) -> Any:
    return saved.model_copy(update={"account": "key 123456"})


MUTATIONS: dict[str, Any] = {
    "price": _dearer,
    "offer gone": _gone,
    "account": _other_account,
    "mode": lambda there, kernel, saved: saved.model_copy(update={"url": "https://console.vast.ai"}),
    "machine": lambda there, kernel, saved: saved.model_copy(update={"machine_id": saved.machine_id + 1}),
    "model": lambda there, kernel, saved: saved.model_copy(update={"gpu_name": "B300"}),
    "number of GPUs": lambda there, kernel, saved: saved.model_copy(update={"num_gpus": 8}),
    "promised price": lambda there, kernel, saved: saved.model_copy(update={"usd_per_hour": saved.usd_per_hour * 0.99}),
    "promised disk price": lambda there, kernel, saved: saved.model_copy(update={"disk_usd": saved.disk_usd * 0.5}),
    "offer": lambda there, kernel, saved: saved.model_copy(update={"offer_id": int(there.offers(kernel).offer_id[5])}),
    "rental": lambda there, kernel, saved: saved.model_copy(update={"rental": "reserved"}),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_saved_quote_refuses_a_difference(there: Yard, kernel: Fleet, mutation: str) -> None:
    from vastnb.services.costs import Quote, quote_of_row

    saved = quote_of_row(there.quotes(kernel, download_gb=10).iloc[0])
    saved = Quote.model_validate_json(saved.model_dump_json())
    changed = MUTATIONS[mutation](there, kernel, saved)

    with pytest.raises((errors.PriceChangedError, errors.OfferGoneError, errors.InputError)):
        launch_on(kernel, changed)

    assert there.rent_requests == 0


@pytest.mark.parametrize("asked", [{"disk_gb": 60}, {"bid_usd_per_hour": 1.0}, {"hours": 9}, {"upload_gb": 5}])
def test_a_quote_refuses_another_job_than_its_own(there: Yard, kernel: Fleet, asked: dict[str, Any]) -> None:
    with pytest.raises(errors.PriceChangedError, match="quote is for"):
        launch_on(kernel, there.quotes(kernel).iloc[0], **asked)


def test_a_cheaper_offer_is_no_difference(there: Yard, kernel: Fleet) -> None:
    chosen = there.quotes(kernel).iloc[0]
    there.sandbox.reprice(int(chosen.offer_id), 0.9)

    launched(kernel, chosen)

    assert len(there.machines) == 1


# --- by name ---------------------------------------------------------------------------------------------------------------------


def test_the_same_name_again_is_the_living_machine(there: Yard, kernel: Fleet) -> None:
    offers = there.offers(kernel)
    first = launched(kernel, offers, name="lora", max_hours=3)

    again = [launched(there.kernel(), there.offers(kernel), name="lora", max_hours=3) for _ in range(3)]

    assert {machine.id for machine in again} == {first.id}
    assert (there.rent_requests, len(there.machines)) == (1, 1)


def test_another_computer_without_the_record_gets_it_too(there: Yard, kernel: Fleet) -> None:
    first = launched(kernel, there.offers(kernel), name="lora")

    laptop = there.kernel(folder="laptop")

    assert launched(laptop, there.offers(kernel), name="lora").id == first.id
    assert there.rent_requests == 1


@pytest.mark.parametrize(
    "other", [{"image": "a/b:2"}, {"disk_gb": 30}, {"env": {"A": "2"}}, {"onstart": "echo 2"}, {"ports": [1]}]
)
def test_a_name_with_another_spec_is_refused_and_says_what_differs(
    there: Yard, kernel: Fleet, other: dict[str, Any]
) -> None:
    launched(kernel, there.offers(kernel), name="lora", image="a/b:1")

    with pytest.raises(errors.NameTakenError, match=next(iter(other))):
        launch_on(kernel, there.offers(kernel), name="lora", **{"image": "a/b:1", **other})

    assert there.rent_requests == 1


def test_new_makes_another_of_the_name(there: Yard, kernel: Fleet) -> None:
    first = launched(kernel, there.offers(kernel), name="lora")
    second = launched(kernel, there.offers(kernel), name="lora", new=True)
    third = launched(kernel, there.offers(kernel), name="lora", new=True)

    assert [first.name, second.name, third.name] == ["lora", "lora-2", "lora-3"]
    assert len(there.machines) == 3


def test_a_name_is_free_again_when_its_machine_is_gone(there: Yard, kernel: Fleet) -> None:
    first = launched(kernel, there.offers(kernel), name="lora")
    first.destroy()
    second = launched(kernel, there.offers(kernel), name="lora")
    kernel.machines.destroy(second.id)  # as the console would
    there.sandbox.clock.step(minutes=5)
    third = launched(kernel, there.offers(kernel), name="lora")

    assert len({first.id, second.id, third.id}) == 3
    assert [row["id"] for row in there.machines] == [third.id]


def test_many_kernels_at_once_rent_one_machine_of_a_name(there: Yard) -> None:
    kernels, start = [there.kernel() for _ in range(6)], threading.Barrier(6)
    offers = there.offers(kernels[0])
    got: list[int] = []

    def run(kernel: Fleet) -> None:
        start.wait()
        got.append(launched(kernel, offers, name="lora").id)

    threads = [threading.Thread(target=run, args=(kernel,)) for kernel in kernels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 6
    assert len(set(got)) == 1
    assert (there.rent_requests, len(there.machines)) == (1, 1)


# --- the caps of a profile --------------------------------------------------------------------------------------------------------


def test_two_kernels_cannot_both_pass_a_cap(there: Yard) -> None:
    price = float(there.offers(there.kernel()).usd_per_hour.max())
    kernels = [there.kernel(budget={"max_usd_total": price * 2 * 1.5}) for _ in range(4)]
    offers, start = there.offers(kernels[0]), threading.Barrier(4)
    outcomes: list[str] = []

    def run(number: int) -> None:
        start.wait()
        try:
            launched(kernels[number], offers.sort_values("usd_per_hour").iloc[-1 - number], max_hours=2)
            outcomes.append("rented")
        except errors.BudgetError as error:
            outcomes.append(error.cap)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("rented") == len(there.machines) <= 2
    assert set(outcomes) == {"rented", "budget.max_usd_total"}


def test_what_the_console_made_counts_against_the_cap_of_a_day(there: Yard, kernel: Fleet) -> None:
    offers = there.offers(kernel)
    dear = float(offers.usd_per_hour[0])
    kernel.machines.create(int(offers.offer_id[1]), {"client_id": "me", "image": "a:1", "disk": 10, "label": "by hand"})
    capped = there.kernel(budget={"max_usd_per_day": dear * 24 * 1.2})

    with pytest.raises(errors.BudgetError, match="max_usd_per_day"):
        launch_on(capped, offers.iloc[0])
    launched(there.kernel(budget={"max_usd_per_day": dear * 24 * 50}), offers.iloc[0])
