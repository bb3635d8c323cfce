"""The notebook door, through a real IPython shell."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pandas as pd
import pytest

from vastnb.vast.types import OFFERS

USE = "%vast use sandbox offers=400 seed=3 start=2026-06-01"


def run(ip: Any, cell: str) -> Any:
    """The cell's value; its error is raised."""
    result = ip.run_cell(cell)
    if result.error_before_exec or result.error_in_exec:
        raise result.error_before_exec or result.error_in_exec
    return result.result


def test_a_search_gives_a_frame_that_can_be_named(ip: Any) -> None:
    run(ip, USE)
    run(ip, "df = %vast search gpu_name=RTX_4090 num_gpus>=2")

    frame = ip.user_ns["df"]
    assert type(frame) is pd.DataFrame
    assert list(frame.columns)[: len(OFFERS)] == [c.name for c in OFFERS]
    assert set(frame.gpu_name) == {"RTX 4090"}


def test_the_value_is_underscore(ip: Any, capsys: Any) -> None:
    run(ip, USE)

    shown = run(ip, "%vast search num_gpus=8 --limit 2")

    assert ip.user_ns["_"] is shown
    assert "2 offers" in capsys.readouterr().out


def test_a_semicolon_hides_the_display_and_nothing_else(ip: Any, capsys: Any) -> None:
    run(ip, USE + ";")
    run(ip, "%vast search num_gpus=8 --limit 2;")
    assert capsys.readouterr().out == ""

    run(ip, "df = %vast search num_gpus=8 --limit 2;")
    assert len(ip.user_ns["df"]) == 2

    run(ip, "x = %vast search num_gpus=8 --limit 1;\nlen(x)")
    assert capsys.readouterr().out.strip().endswith("1")


def test_the_body_of_a_cell_is_more_of_the_query(ip: Any) -> None:
    run(ip, USE)
    ip.user_ns["n"] = 99

    frame = run(ip, "%%vast search --limit 3\ngpu_name=RTX_4090   # the card\n# a comment\n\nnum_gpus>=2 dph<$9")

    assert (set(frame.gpu_name), len(frame)) == ({"RTX 4090"}, 3)


def test_variables_are_expanded_on_the_line(ip: Any) -> None:
    run(ip, USE)
    ip.user_ns.update(gpu="RTX_4090", price=0.9)

    frame = run(ip, "%vast search gpu_name=$gpu num_gpus>={1 + 1} dph<{price}")

    assert frame.attrs["vastnb"]["query"] == "gpu_name=RTX_4090 num_gpus>=2 dph<0.9"


def test_variables_are_not_expanded_in_the_body(ip: Any) -> None:
    run(ip, USE)
    ip.user_ns["gpu"] = "RTX_4090"

    frame = run(ip, "%%vast search\ngpu_name={gpu}")

    assert frame.attrs["vastnb"]["query"] == "gpu_name={gpu}"


@pytest.mark.parametrize(
    ("line", "query"),
    [
        ('gpu_name="RTX 4090" num_gpus=2', 'gpu_name="RTX 4090" num_gpus=2'),
        ("'gpu_name=RTX_4090 num_gpus=2' -o dph", "gpu_name=RTX_4090 num_gpus=2"),
        ("gpu_name in [RTX 4090, RTX_3090] --limit 1", "gpu_name in [RTX 4090, RTX_3090]"),
        ("--limit 1 num_gpus = 2 -b gpu_ram > 8", "num_gpus = 2 gpu_ram > 8"),
    ],
)  # fmt: skip
def test_quotes_brackets_and_options_are_told_apart(ip: Any, line: str, query: str) -> None:
    run(ip, USE)

    assert run(ip, f"%vast search {line}").attrs["vastnb"]["query"] == query


def test_the_words_and_flags_of_the_official_client_work(ip: Any) -> None:
    run(ip, USE)

    body = run(ip, "%vast search num_gpus>=1 -o dph,num_gpus- -b --storage 100 --limit 20 -n").attrs["vastnb"]["body"]

    assert body == {
        "num_gpus": {"gte": 1}, "order": [["dph_total", "asc"], ["num_gpus", "desc"]], "type": "bid",
        "allocated_storage": 100.0, "limit": 20,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "error", "hint"),
    [
        ("serch gpu_name=X", "CommandError: no such word: serch", "did you mean %vast search?"),
        ("gpu_name=RTX_4090", "CommandError: no such word", "%vast search gpu_name=RTX_4090 ...?"),
        ("search --limt 3", "CommandError: search: no such option: --limt", "did you mean --limit?"),
        ("search --limit many", "CommandError: search: argument --limit: invalid int value", "%vast help search"),
        ("search gpu_nme=X", "QueryError: no such field: gpu_nme", "did you mean gpu_name?"),
        ("use sandbx", "ConfigError: no such profile: sandbx", "did you mean sandbox?"),
        ("use sandbox offres=3", "ConfigError: no such setting: offres", "sandbox.offers"),
        ("sandbox --step soon", "CommandError: sandbox --step", "30min"),
        ("sandbox --fault nonsense", "CommandError: no such fault", "--fault list"),
        ("init", "CommandError: no such word: init", ""),
    ],
)
def test_an_error_is_one_line_and_a_hint_and_the_cell_fails(
    ip: Any, capsys: Any, line: str, error: str, hint: str
) -> None:
    run(ip, USE)
    capsys.readouterr()

    result = ip.run_cell(f"%vast {line}")
    shown = capsys.readouterr().out

    assert not result.success
    assert shown.startswith(error)
    assert hint in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) <= 5


def test_the_whole_traceback_comes_on_demand(ip: Any, capsys: Any) -> None:
    ip.run_cell("%vast search gpu_nme=X")
    capsys.readouterr()

    ip.run_cell("%tb")

    assert "Traceback" in capsys.readouterr().out


def test_an_error_is_an_ordinary_exception(ip: Any) -> None:
    run(
        ip,
        "import vastnb\ntry:\n    %vast search gpu_nme=X\nexcept vastnb.errors.QueryError as e:\n    caught = e.position",
    )

    assert ip.user_ns["caught"] == 0


def test_foreign_frames_keep_their_look(ip: Any) -> None:
    run(ip, USE)
    html, text = (ip.display_formatter.formatters[mime] for mime in ("text/html", "text/plain"))
    foreign = pd.DataFrame({"a": [1, 2]})

    assert html(foreign) == foreign._repr_html_()
    assert text(foreign) == repr(foreign)


def test_a_formatter_that_was_there_before_is_used_for_foreign_frames_and_restored(ip: Any) -> None:
    run(ip, "%unload_ext vastnb")
    html = ip.display_formatter.formatters["text/html"]
    html.for_type(pd.DataFrame, lambda _: "somebody's table")
    run(ip, "%load_ext vastnb")
    run(ip, USE)

    ours = html(run(ip, "%vast search num_gpus=8 --limit 1"))

    assert html(pd.DataFrame({"a": [1]})) == "somebody's table"
    assert "vastnb-frame" in ours
    run(ip, "%unload_ext vastnb")
    assert html(pd.DataFrame({"a": [1]})) == "somebody's table"
    run(ip, "%load_ext vastnb")


def test_one_switch_turns_our_look_off(ip: Any) -> None:
    run(ip, USE + " display=pandas")
    html = ip.display_formatter.formatters["text/html"]

    frame = run(ip, "%vast search num_gpus=8 --limit 1")

    assert html(frame) == frame._repr_html_()


def test_loading_twice_and_unloading_leave_no_trace(ip: Any) -> None:
    run(ip, "%load_ext vastnb\n%reload_ext vastnb")
    callbacks = ip.events.callbacks["pre_run_cell"]
    assert [c.__module__ for c in callbacks].count("vastnb.api.magics") == 1

    run(ip, "%unload_ext vastnb")

    assert "vast" not in ip.magics_manager.magics["line"]
    assert [c.__module__ for c in callbacks].count("vastnb.api.magics") == 0
    run(ip, "%load_ext vastnb")


def test_use_again_with_the_same_wishes_keeps_the_market(ip: Any) -> None:
    first = run(ip, USE).sandbox
    second = run(ip, USE).sandbox
    other = run(ip, USE + " seed=4").sandbox

    assert first is second
    assert other is not first


def test_help_names_every_word_and_each_has_its_page(ip: Any) -> None:
    from vastnb.api.commands import COMMANDS

    overview = run(ip, "%vast help")
    for command in COMMANDS.values():
        if "notebook" in command.doors:
            assert f"  {command.word} " in overview
            page = run(ip, f"%vast {command.word} --help")
            assert page.startswith(f"%vast {command.word}: ")
            assert page == run(ip, f"%vast help {command.word}")
    assert run(ip, "%vast") == overview


def test_the_sandbox_can_be_looked_at_stepped_and_made_to_fail(ip: Any) -> None:
    run(ip, USE)

    assert "2026-06-01 00:00 UTC" in run(ip, "%vast sandbox")
    assert "2026-06-01 02:30 UTC" in run(ip, "%vast sandbox --step 150min")
    assert "429-text" in run(ip, "%vast sandbox --fault list").fault.tolist()
    run(ip, "%vast sandbox --fault auth-404")
    assert type(ip.run_cell("%vast search num_gpus=8").error_in_exec).__name__ == "AuthError"


def test_config_shows_values_and_sources_and_never_the_key(ip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", "SECRETKEY123")
    monkeypatch.setenv("VASTNB_TIMEOUT_S", "12")
    run(ip, "%vast use production")

    table = run(ip, "%vast config").set_index("setting")

    assert table.loc["timeout_s", ["value", "source"]].tolist() == ["12", "environment"]
    assert table.loc["api_key", ["value", "source"]].tolist() == ["set", "environment"]
    assert "SECRETKEY123" not in table.to_string()


def test_load_ext_and_help_import_nothing_heavy() -> None:
    program = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config(); config.HistoryManager.enabled = False
ip = InteractiveShell.instance(config=config)
ip.run_line_magic("load_ext", "vastnb")
ip.run_line_magic("vast", "help")
ip.run_line_magic("vast", "search --help")
print([m for m in ("pandas", "numpy", "httpx", "pydantic", "requests_cache", "ipywidgets", "tornado") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_wait_is_shown_in_the_cell_that_waits(ip: Any, capsys: Any) -> None:
    from vastnb.infra.calls import Wait
    from vastnb.services import notices

    assert notices.announce is not None
    capsys.readouterr()

    notices.announce(Wait("search offers", 6.4, "the service allows search offers 10 times in 60 s"))
    notices.announce(Wait("search offers", 0.2, "short"))
    thread = threading.Thread(target=notices.announce, args=(Wait("x", 9.0, "in the background"),))
    thread.start()
    thread.join()

    assert capsys.readouterr().out == "Waiting 6 s: the service allows search offers 10 times in 60 s.\n"


def test_after_load_ext_the_first_search_is_warmed_up_in_the_background_and_not_before() -> None:
    program = """
import sys, threading
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config(); config.HistoryManager.enabled = False
ip = InteractiveShell.instance(config=config)
ip.run_cell("%load_ext vastnb\\nimport sys; loaded = 'vastnb.vast.client' in sys.modules")
print(ip.user_ns["loaded"])
for thread in threading.enumerate():
    if thread.name == "vastnb-warm-up":
        thread.join()
print("pandas" in sys.modules, "vastnb.vast.client" in sys.modules)
ip.run_cell("%unload_ext vastnb")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    # pandas is left to the cell that needs it: imported elsewhere it would show every frame as in a terminal
    assert done.stdout.split() == ["False", "False", "True"]
