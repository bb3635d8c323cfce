"""The selector without a browser: the front end's messages come in, its state goes out, the notebook keeps a copy."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.utils.capture import capture_output
from ipywidgets.widgets.widget import _instances

import vastnb
from vastnb.errors import ConfigError, InputError, QueryError, RateLimitError
from vastnb.sandbox import Sandbox
from vastnb.vast.client import Client

QUERY = "gpu_name=RTX_4090"


def said(selector: vastnb.OfferSelector, **message: Any) -> None:
    """What the front end says, as it arrives from the comm."""
    selector._handle_custom_msg(message, [])


def searched(selector: vastnb.OfferSelector, line: str = "") -> None:
    """The button Search, until the answer or the error is on the screen."""
    done = threading.Event()
    selector.observe(lambda change: done.set() if change["new"] == "" else None, "_busy")
    said(selector, do="search", line=line, seq=1)
    assert done.wait(10)
    selector.unobserve_all("_busy")


def column(selector: vastnb.OfferSelector, name: str) -> np.ndarray[Any, Any]:
    found = next(c for c in selector._table["columns"] if c["name"] == name)
    return np.frombuffer(found["data"], dtype=f"<{found['type']}")


@pytest.fixture
def selector(client: Client) -> Any:
    made = vastnb.OfferSelector(QUERY, hours=10, client=client)
    yield made
    made.close()


@pytest.fixture
def frame(client: Client) -> pd.DataFrame:
    return vastnb.search("num_gpus>=1", client=client)


# ---------------------------------------------------------------- asking


def test_nobody_is_asked_before_it_is_on_a_screen(selector: vastnb.OfferSelector, sandbox: Sandbox) -> None:
    assert repr(selector).strip() == f"OfferSelector: {QUERY} · not searched yet"
    assert selector._repr_mimebundle_() is not None
    assert sandbox.requests() == 0


def test_search_puts_the_same_offers_on_the_screen_that_a_search_finds(
    selector: vastnb.OfferSelector, client: Client
) -> None:
    searched(selector, "gpu_name in [RTX_4090,RTX_3090] num_gpus>=2 --storage 50 --type bid")

    found = vastnb.search("gpu_name in [RTX_4090,RTX_3090] num_gpus>=2", disk_gb=50, rental="bid", client=client)
    assert column(selector, "offer_id").tolist() == found.offer_id.tolist() != []
    assert (selector.query, selector.rental, selector.disk_gb) == (
        "gpu_name in [RTX_4090,RTX_3090] num_gpus>=2",
        "bid",
        50,
    )
    assert selector._about["asked"] == {"query": selector.query, "rental": "bid", "disk_gb": 50}


def test_the_price_of_the_job_is_the_quotes(selector: vastnb.OfferSelector) -> None:
    selector.search()
    said(selector, do="ask", query=QUERY, rental="on-demand", disk_gb=200, hours=24, seq=1)

    quotes = vastnb.quote(selector.frame, hours=24, disk_gb=200).set_index("offer_id").usd_total
    assert np.allclose(column(selector, "job_usd"), quotes[selector.frame.offer_id])
    assert selector._question["seq"] == 1


def test_the_query_can_be_set_and_observed_from_both_sides(selector: vastnb.OfferSelector) -> None:
    seen: list[str] = []
    selector.observe(lambda change: seen.append(change["new"]), "query")

    selector.query = "num_gpus>=4 cuda>=12"
    said(selector, do="line", seq=1, line="%vast search dph<=0.5")

    assert seen == ["num_gpus>=4 cuda>=12", "dph<=0.5"]
    assert (selector._question["state"], selector._question["rest"]) == ({"usd_per_hour": {"<=": 0.5}}, "")


def test_a_query_that_cannot_be_right_raises_in_python_and_is_shown_to_the_front_end(
    selector: vastnb.OfferSelector, sandbox: Sandbox
) -> None:
    with pytest.raises(QueryError, match="no such field"):
        selector.query = "gpu_nme=RTX_4090"
    assert selector._error is None

    said(selector, do="search", line="gpu_nme=RTX_4090", seq=1)

    assert selector._error == {
        "name": "QueryError", "message": "no such field: gpu_nme\n  gpu_nme=RTX_4090\n  ^", "hint": "did you mean gpu_name?",
    }  # fmt: skip
    assert (selector.query, sandbox.requests()) == (QUERY, 0)


def test_conditions_that_no_control_shows_are_judged_in_the_kernel(selector: vastnb.OfferSelector) -> None:
    selector.search()
    selector.query = f"{QUERY} cpu_ram_gb>=48"

    fits = np.frombuffer(selector._question["fits"], dtype=bool)
    assert (fits == (selector.frame.cpu_ram_gb >= 48).to_numpy()).all()
    assert 0 < fits.sum() < len(fits)


def test_numbers_out_of_range_and_unknown_rentals_are_refused(selector: vastnb.OfferSelector) -> None:
    with pytest.raises(InputError, match="disk_gb must be 8 to 100000, got 4"):
        selector.disk_gb = 4
    with pytest.raises(InputError, match="hours must be"):
        vastnb.OfferSelector(hours=0)
    with pytest.raises(QueryError, match="no such rental"):
        selector.rental = "stolen"


def test_models_of_the_whole_market_are_counted_when_asked_for(selector: vastnb.OfferSelector, client: Client) -> None:
    said(selector, do="models")
    settle(selector)

    models = vastnb.gpus(client=client)
    assert set(selector._models) == set(models.gpu_name)
    assert selector._models["RTX 4090"][0] == models[models.gpu_name == "RTX 4090"].offers.sum()


# ---------------------------------------------------------------- errors and threads


def settle(selector: vastnb.OfferSelector) -> None:
    while (worker := selector._worker) is not None:
        worker.join(10)


def test_an_error_of_the_service_is_shown_and_the_next_search_takes_it_away(
    selector: vastnb.OfferSelector, sandbox: Sandbox
) -> None:
    selector.search()
    sandbox.faults.add("429-text")
    searched(selector, "num_gpus=2")

    assert selector._error["name"] == "RateLimitError"
    assert selector._error["hint"]
    assert len(selector.frame) > 0

    searched(selector, QUERY)
    assert selector._error is None


def test_the_same_question_again_asks_the_service_again(selector: vastnb.OfferSelector, sandbox: Sandbox) -> None:
    searched(selector, QUERY)
    once = sandbox.requests()
    searched(selector, "gpu_name=RTX_3090")
    twice = sandbox.requests()
    searched(selector, QUERY)
    assert sandbox.requests() == twice  # from the cache
    searched(selector, QUERY)

    assert sandbox.requests() == twice + once


def test_search_as_a_function_raises(selector: vastnb.OfferSelector, sandbox: Sandbox) -> None:
    sandbox.faults.add("429-text")

    with pytest.raises(RateLimitError):
        selector.search()


def test_an_error_of_somebody_who_observes_is_shown_as_well(selector: vastnb.OfferSelector) -> None:
    selector.search()
    selector.log.disabled = True
    selector.observe(lambda _: {}["no such key"], "value")

    said(selector, do="select", rows=[0], version=selector._table["version"])
    selector.log.disabled = False

    assert selector._error == {"name": "KeyError", "message": "'no such key'", "hint": None}


def test_of_searches_that_wait_only_the_newest_is_made(selector: vastnb.OfferSelector, sandbox: Sandbox) -> None:
    sandbox.faults.add("slow", seconds=0.3)
    for number in range(1, 7):
        said(selector, do="search", line=f"num_gpus={number}", seq=number)
    settle(selector)

    asked = list(dict.fromkeys(str(record.body["num_gpus"]) for record in sandbox.log))
    assert len(asked) <= 2
    assert asked[-1] == "{'eq': 6}"
    assert set(selector.frame.num_gpus) == {6}


def test_an_answer_that_comes_after_the_end_is_thrown_away(client: Client, sandbox: Sandbox) -> None:
    selector = vastnb.OfferSelector(QUERY, client=client)
    sandbox.faults.add("slow", seconds=0.3)
    said(selector, do="search", line=QUERY, seq=1)
    worker = selector._worker
    selector.close()

    assert worker is not None
    worker.join(10)
    assert (worker.is_alive(), len(selector.frame), selector._worker) == (False, 0, None)


def test_twenty_that_come_and_go_leave_no_thread_and_no_comm(client: Client) -> None:
    before, comms = threading.active_count(), len(_instances)
    vastnb.search(QUERY, client=client)
    for _ in range(20):
        selector = vastnb.OfferSelector(QUERY, client=client)
        searched(selector, QUERY)
        settle(selector)
        selector.close()

    assert threading.active_count() == before
    assert len(_instances) == comms


# ---------------------------------------------------------------- choosing


def test_what_is_chosen_is_a_frame_and_can_be_observed(selector: vastnb.OfferSelector) -> None:
    selector.search()
    seen: list[int] = []
    selector.observe(lambda change: seen.append(len(change["new"])), "value")

    said(selector, do="select", rows=[3, 1], version=selector._table["version"])

    pd.testing.assert_frame_equal(selector.value, selector.frame.iloc[[1, 3]].reset_index(drop=True))
    assert selector.value.attrs["vastnb"]["source"] == "sandbox"
    assert seen == [2]


def test_a_choice_in_a_table_that_is_no_longer_there_is_dropped(selector: vastnb.OfferSelector) -> None:
    selector.search()
    old = selector._table["version"]
    selector.search(refresh=True)

    said(selector, do="select", rows=[0], version=old)

    assert len(selector.value) == 0


def test_what_was_chosen_stays_chosen_while_it_is_there(selector: vastnb.OfferSelector) -> None:
    selector.search()
    said(selector, do="select", rows=[0, 5], version=selector._table["version"])
    chosen = selector.value.offer_id.tolist()

    searched(selector, f"{QUERY} num_gpus>=1")
    assert selector.value.offer_id.tolist() == chosen

    searched(selector, "gpu_name=RTX_3090")
    assert (len(selector.value), selector._selected) == (0, [])


def test_more_columns_are_sent_when_they_are_chosen(selector: vastnb.OfferSelector) -> None:
    selector.search()
    assert "driver_version" not in [c["name"] for c in selector._table["columns"]]

    said(selector, do="columns", names=["gpu_name", "driver_version"])

    shown = next(c for c in selector._table["columns"] if c["name"] == "driver_version")
    assert shown["words"][1:] == list(dict.fromkeys(selector.frame.driver_version))


# ---------------------------------------------------------------- a frame of the user's


def test_a_frame_is_filtered_here_and_nobody_is_asked(frame: pd.DataFrame, sandbox: Sandbox) -> None:
    asked = sandbox.requests()
    mine = frame.set_index(frame.offer_id + 7).assign(score=1.5)
    selector = vastnb.OfferSelector(mine, query="num_gpus>=2")

    said(selector, do="select", rows=[4], version=selector._table["version"])
    said(selector, do="search", line="", seq=1)
    settle(selector)

    pd.testing.assert_frame_equal(selector.value, mine.iloc[[4]])
    assert "score" in [c["name"] for c in selector._table["choices"]]
    assert selector._about["market"] is False
    assert selector._error["name"] == "InputError"
    assert sandbox.requests() == asked
    selector.close()


def test_a_frame_may_hold_an_offer_twice_and_lack_most_columns(frame: pd.DataFrame) -> None:
    twice = pd.concat([frame.head(3), frame.head(3)])
    assert np.allclose(
        column(vastnb.OfferSelector(twice), "job_usd")[:3], column(vastnb.OfferSelector(twice), "job_usd")[3:]
    )

    few = vastnb.OfferSelector(frame[["offer_id", "gpu_name", "usd_per_hour"]], query="reliability>=0.9")
    assert "job_usd" not in [c["name"] for c in few._table["columns"]]
    assert few._question["unanswerable"] == ["reliability>=0.9"]


def test_a_frame_that_lost_its_attrs_is_still_known_as_practice(frame: pd.DataFrame) -> None:
    bare = frame.copy()
    bare.attrs = {}

    assert vastnb.OfferSelector(bare)._about["source"] == "Sandbox: practice, not real"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (pd.DataFrame({"a": [1]}), "no column offer_id"),
        ([1, 2], "got list"),
        (pd.DataFrame([[1, 2]], columns=["offer_id", "offer_id"]), "two columns of one name"),
    ],
)
def test_what_holds_no_offers_is_refused(what: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vastnb.OfferSelector(what)


# ---------------------------------------------------------------- what it says about itself


def test_an_empty_answer_and_a_capped_one_say_so(client: Client) -> None:
    selector = vastnb.OfferSelector("gpu_name=RTX_4090 dph<0.01", client=client)
    selector.search()
    assert selector._about["empty"][1].startswith("dph<0.01: removes")

    everything = vastnb.OfferSelector(client=client)
    everything.search()
    assert (everything._about["complete"], len(everything.frame)) == (False, 127)


def test_what_the_front_end_gets_is_below_a_megabyte_at_5000_offers(frame: pd.DataFrame) -> None:
    many = pd.concat([frame] * (5000 // len(frame) + 1), ignore_index=True).head(5000)
    selector = vastnb.OfferSelector(many)

    sizes = [len(c["data"]) for c in selector._table["columns"]]
    texts = (
        len(str({k: v for k, v in selector.get_state().items() if k != "_table"}))
        + len(selector._esm)
        + len(selector._css)
    )
    assert (len(many), sum(sizes) + texts < 400_000) == (5000, True)


# ---------------------------------------------------------------- without a front end


def test_the_notebook_keeps_text_and_html_beside_the_widget(selector: vastnb.OfferSelector) -> None:
    selector.search()
    said(selector, do="select", rows=[0, 1], version=selector._table["version"])

    data, _ = selector._repr_mimebundle_()

    title = f"OfferSelector: {QUERY} · 2 of {len(selector.frame)} chosen · Sandbox: practice, not real · 2026-06-01 09:00:00 UTC"
    assert data["text/plain"].splitlines()[0] == title
    assert set(data) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    assert data["text/html"].startswith(f"<p><b>{title}</b></p>")
    assert data["text/html"].count("<tr>") == 3
    assert selector.model_id not in data["text/html"] + data["text/plain"]


def test_words_of_hosts_are_escaped_in_the_copy(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add("hostile", times=None)
    selector = vastnb.OfferSelector("verified=any", client=client)
    selector.search()
    mine = vastnb.OfferSelector(
        selector.frame.assign(note="<img src=x onerror=alert(1)>").drop(columns=["gpu_name"]).assign(gpu_name="<b>")
    )

    for made in (selector, mine):
        data, _ = made._repr_mimebundle_()
        assert "<script>" not in data["text/html"]
        assert "<img" not in data["text/html"]
        assert "\x1b" not in data["text/plain"]


def test_a_notebook_shows_it_under_a_name_and_replaces_the_copy(ip: Any, sandbox: Sandbox, client: Client) -> None:
    ip.push({"selector": vastnb.OfferSelector(QUERY, client=client)})

    with capture_output() as first:
        ip.run_cell("selector")
    with capture_output() as second:
        ip.run_cell("selector.search()")
    with capture_output() as third:
        said(ip.user_ns["selector"], do="left")

    (shown,), (kept,) = first.outputs, second.outputs
    assert "not searched yet" in shown.data["text/plain"]
    assert "offers, none chosen" in kept.data["text/plain"]
    assert kept._repr_mimebundle_()[0].keys() == shown.data.keys()
    assert third.outputs == []


def test_an_executed_notebook_holds_the_answer_for_github_and_nbconvert(private_home: Any) -> None:
    from nbconvert import HTMLExporter

    cells = ["import vastnb\n_ = vastnb.use('sandbox', offers=300, seed=3, start='2026-06-01')",
             f"selector = vastnb.OfferSelector({QUERY!r}, hours=10)\nselector.search()\nselector"]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=60, store_widget_state=False).execute()

    (output,) = notebook.cells[1].outputs
    assert "RTX 4090" in output.data["text/plain"]
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert "none chosen" in page
    assert "RTX 4090</td>" in page


def test_without_the_package_it_needs_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["anywidget"] = None
import vastnb
try:
    vastnb.OfferSelector
except vastnb.errors.ConfigError as error:
    print(error, "|", error.hint)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("the widgets need a package that is not here: anywidget | pip install anywidget")
    assert issubclass(ConfigError, vastnb.errors.VastError)


def test_all_widgets_bring_the_same_rules() -> None:
    """On a page with several the rules of the one that was drawn last win over equal ones."""
    panels = [vastnb.OfferSelector(), vastnb.LaunchPanel(1), vastnb.FleetPanel(), vastnb.HealthPanel()]

    assert len({panel._css for panel in panels}) == 1
    for panel in panels:
        panel.close()
