"""Tab completion: as a pure function, and through a real IPython shell."""

from __future__ import annotations

import argparse
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from vastnb.api import completion
from vastnb.api.commands import COMMANDS
from vastnb.api.completion import completions
from vastnb.infra import config
from vastnb.sandbox import Sandbox
from vastnb.vast.query import GPU_NAMES, parse_query
from vastnb.vast.types import asked_as

VALUES = {
    "flag": "true",
    "gpu": "RTX_4090",
    "country": "US",
    "region": "EU",
    "version": "535.86",
    "text": "x",
    "share": "0.5",
}


@pytest.mark.parametrize(
    ("line", "fragment", "found"),
    [
        ("%vast sea", "sea", ["search"]),
        ("  %vast SEA", "SEA", ["search"]),
        ("df = %vast sea", "sea", ["search"]),
        ("a, b['x'] = %vast gp", "gp", ["gpus"]),
        ("%%vast ", "", ["search", "quote", "launch", "run", "gpus", "show"]),
        ("%vast search --o", "--o", ["--on-demand", "--order"]),
        ("%vast search num_gpus=2 --li", "--li", ["--limit"]),
        ("%vast config ", "", ["--trust"]),
        ("%vast sandbox -", "-", ["--step", "--fault", "--help"]),
        ("%vast help se", "se", ["search"]),
        ("%vast fields gpu_arc", "gpu_arc", ["gpu_arch"]),
    ],
)
def test_words_and_their_options(line: str, fragment: str, found: list[str]) -> None:
    assert completions(line, body=False) == (fragment, found)


@pytest.mark.parametrize(
    ("query", "fragment", "found"),
    [
        ("geo", "geo", ["geolocation="]),
        ("num_gpus>=2 data", "data", ["datacenter="]),
        ("num_gpus>=2,data", "data", ["datacenter="]),
        ("num", "num", ["num_gpus"]),
        (
            "verification",
            "verification",
            ["verification=", "verification!=", "verification in [", "verification notin ["],
        ),
        ("gpu_name ", "", ["=", "!=", "in [", "notin ["]),
        ("num_gpus ", "", [">=", "<=", "=", "<", ">", "!=", "in [", "notin ["]),
        ("num_gpus >", "", []),
        ("gpu_name no", "no", ["notin ["]),
        ("static_ip ", "", ["=", "!="]),
        ("cpu_ram_gb", "cpu_ram_gb", ["cpu_ram_gb>=", "cpu_ram_gb<=", "cpu_ram_gb>", "cpu_ram_gb<"]),
        ("'num_gpus>=2 geo", "geo", ["geolocation="]),
        ("-b -o dph --limit 3 geo", "geo", ["geolocation="]),
        ("gpu_name=RTX_4090 xyz", "xyz", []),
    ],
)
def test_fields_and_operators_of_a_query(query: str, fragment: str, found: list[str]) -> None:
    assert completions(f"%vast search {query}", body=False) == (fragment, found)


@pytest.mark.parametrize(
    ("query", "fragment", "found"),
    [
        ("gpu_name=H100", "H100", ["H100_NVL", "H100_PCIE", "H100_SXM"]),
        ("gpu=h100", "h100", ["H100_NVL", "H100_PCIE", "H100_SXM"]),
        ("gpu_name = H100", "H100", ["H100_NVL", "H100_PCIE", "H100_SXM"]),
        ("'gpu_name=H100", "H100", ["H100_NVL", "H100_PCIE", "H100_SXM"]),
        ('gpu_name="RTX 409', "RTX 409", ["RTX 4090", "RTX 4090D"]),
        ("gpu_name!=4090", "4090", ["RTX_4090", "RTX_4090D"]),
        ("gpu_name in [H100_SXM, H100", "H100", ["H100_NVL", "H100_PCIE"]),
        ('gpu_name notin ["H100 SXM","H100', "H100", ["H100 NVL", "H100 PCIE"]),
        ("gpu_name in H100_NVL,H100", "H100", ["H100_PCIE", "H100_SXM"]),
        ("geolocation=u", "u", ["UA", "US", "UG", "UY", "UZ"]),
        ("geolocation=ger", "ger", ["DE"]),
        ("country in [US, C", "C", [c for c in completion._countries() if c.startswith("C")]),
        ("region=", "", ["AF", "AS", "EU", "NA", "LA", "OC"]),
        ("region in [EU,A", "A", ["AF", "AS"]),
        ("verified=", "", ["true", "false", "any"]),
        ("static_ip!=", "", ["true", "false"]),
        ("datacenter=T", "T", ["true"]),
        ("verification=", "", ["verified", "unverified", "deverified", "any"]),
        ("verification in [verified, ", "", ["unverified", "deverified"]),
        ("num_gpus>=", "", []),
        ("nonsense=", "", []),
        ("-o dlp", "dlp", ["dlperf", "dlperf_per_usd", "dlperf_per_dphtotal", "dlperf_usd", "dlperf_per_dollar"]),
        ("--order=usd_per_hour,dlperf_per_usd", "dlperf_per_usd", ["dlperf_per_usd", "dlperf_per_usd-"]),
        ("-o -rel", "rel", ["reliability", "reliability2"]),
        ("gpu_name=H100 --type ", "", ["on-demand", "bid", "reserved"]),
    ],
)
def test_values(query: str, fragment: str, found: list[str]) -> None:
    assert completions(f"%vast search {query}", body=False) == (fragment, found)


def test_every_model_is_offered_in_the_spelling_that_needs_no_quotes() -> None:
    _, found = completions("%vast search gpu_name=", body=False)

    assert found == [name.replace(" ", "_") for name in GPU_NAMES]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", ["gpu_name=", "num_gpus", "gpu_ram"]),
        ("num_gpus>=2 gpu_name=H100_S", ["H100_SXM"]),
        ("geolocation in [US, UA", ["UA"]),
        ("# gpu_name=", []),
        ("num_gpus>=2 # gpu_", []),
    ],
)
def test_a_body_is_more_of_the_query(line: str, found: list[str]) -> None:
    assert completions(line, body=True)[1][:3] == found


def test_the_options_in_a_body_are_those_of_its_word() -> None:
    assert completions("--or", body=True) == ("--or", ["--order"])
    assert completions("--or", body=True, word="gpus") == ("--or", [])


@pytest.mark.parametrize(
    "line", ["", "print(1)", "x % vast s", "vast sea", "%vastly s", "%vast nonsense x", "%vast init x"]
)
def test_what_is_not_ours_has_no_answer(line: str) -> None:
    assert completions(line, body=False)[1] == []


def test_profiles_are_the_built_in_ones_and_those_of_the_settings_files(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("vastnb.toml").write_text("[profiles.lab-7]\nurl = 'https://example.org'\n[profiles.'two words']\n")
    Path("mine.toml").write_text("[profiles.night]\n[profiles.sandbox]\n")
    monkeypatch.setenv("VASTNB_CONFIG", "mine.toml")

    assert completions("%vast use ", body=False) == ("", [*config.PROFILES, "lab-7", "night"])


@pytest.mark.parametrize("text", ["profiles = 3", "not toml", "\udcff", "profiles = ['a']"])
def test_a_settings_file_that_cannot_be_read_is_left_out(text: str) -> None:
    Path("vastnb.toml").write_bytes(text.encode("utf-8", "surrogateescape"))

    assert completions("%vast use ", body=False) == ("", list(config.PROFILES))


@pytest.mark.parametrize(
    ("line", "fragment", "found"),
    [
        ("use sandbox s", "s", ["seed=", "start=", "strict=", "sandbox.offers=", "sandbox.seed=", "sandbox.start=", "sandbox.strict=", "sandbox.machines="]),
        ("use production s", "s", ["sandbox.offers=", "sandbox.seed=", "sandbox.start=", "sandbox.strict=", "sandbox.machines="]),
        ("use sandbox seed=7 strict=", "", ["true", "false"]),
        ("use production cache.backend=m", "m", ["memory"]),
        ("use production timeout_s=", "", []),
    ],
)  # fmt: skip
def test_settings_and_their_values(line: str, fragment: str, found: list[str]) -> None:
    assert completions(f"%vast {line}", body=False) == (fragment, found)


def test_the_settings_and_files_are_those_of_the_settings_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matcher must not import pydantic, so it has a list of its own: a new setting belongs there too."""
    assert dict(settings(config.Settings)) == completion._SETTINGS
    assert completion._PROFILES == config.PROFILES
    assert list(completion._settings_files()) == [Path("vastnb.toml"), config.config_file()]
    monkeypatch.setenv("VASTNB_CONFIG", "~/mine.toml")
    assert list(completion._settings_files())[1] == config.config_file()


def settings(model: Any, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every setting that is no secret, and its values if they are few."""
    for name, info in model.model_fields.items():
        if hasattr(info.annotation, "model_fields"):
            yield from settings(info.annotation, f"{prefix}{name}.")
        elif not info.exclude and name != "profile" and SecretStr not in typing.get_args(info.annotation):
            is_choice = typing.get_origin(info.annotation) is typing.Literal
            choices = typing.get_args(info.annotation) if is_choice else ()
            yield prefix + name, ("true", "false") if info.annotation is bool else choices


def test_faults_are_those_of_the_sandbox() -> None:
    names = list(Sandbox().faults.names())

    assert completions("%vast sandbox --fault ", body=False) == ("", ["list", *names])
    assert completions("%vast sandbox --fault auth-404", body=False) == ("auth-404", ["auth-404"])


def test_whatever_is_offered_is_understood() -> None:
    for name in {*asked_as(), "verified", "region", "cpu_ram_gb"}:
        kind = completion._kinds()[name]
        value = VALUES.get(kind, "2")
        _, found = completions(f"%vast search {name}", body=False)
        for condition in found[: len(completion._operators(name))]:
            query = parse_query(f"{condition}{value}{']' if '[' in condition else ''}", defaults=False)
            assert query.filters or query.residuals
    _, orders = completions("%vast search -o d", body=False)
    assert parse_query(order=",".join(orders)).order


def test_every_option_of_a_notebook_is_offered_unless_help_hides_it() -> None:
    for command in (c for c in COMMANDS.values() if "notebook" in c.doors):
        _, found = completions(f"%vast {command.word} --", body=False)
        shown = [arg for arg in command.args if arg.help is not argparse.SUPPRESS]
        names = [n for arg in shown for n in arg.names if n.startswith("--")]
        of_shell = [n for arg in command.args for n in arg.names if arg.help.startswith("shell:")]
        assert found == [*(n for n in names if n not in of_shell), "--help"]


def asked(ip: Any, cell: str, *, at: int | None = None) -> list[str]:
    """What the shell offers at the cursor, each with the text that it replaces."""
    from IPython.core.completer import provisionalcompleter

    offset = len(cell) if at is None else at
    with provisionalcompleter():
        found = list(ip.Completer.completions(cell, offset))
    return [f"{cell[c.start : c.end]}>{c.text}" for c in found]


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("%vast sea", ["sea>search"]),
        ("import os\ndf = %vast search geo", ["geo>geolocation="]),
        ("%%vast\ngpu_name=H100_N", ["H100_N>H100_NVL"]),
        ("\n%%vast gpus --refresh\n# cards\ngeolocation in [US,   # here\n  HK", ["HK>HK"]),
        ("%vast search num_gpus>=2 \\\n  geo", ["geo>geolocation="]),
        ("%vast search num_gpus>=", []),
        ("%%vast search\nnum_gpus>=", []),
    ],
)
def test_the_shell_offers_our_words_and_nothing_else(ip: Any, cell: str, found: list[str], jedi: bool) -> None:
    ip.Completer.use_jedi = jedi

    assert asked(ip, cell) == found


def test_the_cursor_may_stand_before_the_end(ip: Any) -> None:
    cell = "x = 1\n%vast search geo num_gpus=2\ny = 2"

    assert asked(ip, cell, at=cell.index("geo") + 3) == ["geo>geolocation="]


@pytest.mark.parametrize(
    ("cell", "offered"),
    [
        ("%vast search gpu_name=$my_g", "my_g>my_gpu"),
        ("%vast search num_gpus>={my_g", "my_g>my_gpu"),
        ("my_g", "my_g>my_gpu"),
        ("%%vast run work\nmy_g", "my_g>my_gpu"),
    ],
)
def test_python_completes_its_own_names(ip: Any, cell: str, offered: str) -> None:
    ip.Completer.use_jedi = False
    ip.user_ns["my_gpu"] = "RTX_4090"

    assert offered in asked(ip, cell)


def test_variables_are_offered_to_be_pushed_one_after_the_other(ip: Any) -> None:
    ip.run_cell("import os\nclass Net: pass\ndef train(): pass\nrate, rows, _hidden = 0.1, [1], 2")

    assert asked(ip, "%%vast run work --push ") == [">rate", ">rows"]
    assert asked(ip, "%%vast run work --push ra") == ["ra>rate"]
    assert asked(ip, "%vast run work --pull x --push=rate,") == [">rows"]
    assert asked(ip, "%vast run work --push rate,_h") == ["_h>_hidden"]


def test_loading_twice_asks_once_and_unloading_takes_it_back(ip: Any) -> None:
    def ours() -> list[Any]:
        return [m for m in ip.Completer.custom_matchers if getattr(m, "matcher_identifier", "") == "vastnb.words"]

    ip.run_line_magic("reload_ext", "vastnb")
    assert len(ours()) == 1

    ip.run_line_magic("unload_ext", "vastnb")
    assert ours() == []
    ip.run_line_magic("load_ext", "vastnb")


def test_an_error_of_ours_is_not_printed_into_the_session(
    ip: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(completion._ANSWERS, "query", lambda text: {}[text])
    ip.Completer.use_jedi = False

    asked(ip, "%vast search geo")

    assert capsys.readouterr() == ("", "")


def test_completing_imports_nothing_heavy_and_opens_no_connection() -> None:
    program = """
import socket, sys
def refuse(*_): raise AssertionError("a connection")
socket.socket.connect = refuse
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config(); config.HistoryManager.enabled = False
ip = InteractiveShell.instance(config=config)
theirs = set(sys.modules)
ip.run_line_magic("load_ext", "vastnb")
cells = ["%vast ", "%vast search ", "%vast search gpu_name=", "%vast search gpu_name in [x", "%vast search geolocation=",
         "%vast search -o ", "%vast search num_gpus", "%vast use ", "%vast use sandbox ", "%vast sandbox --fault ", "%%vast\\nregion="]
with provisionalcompleter():
    print([len(list(ip.Completer.completions(cell, len(cell)))) > 0 for cell in cells].count(True), len(cells))
print([m for m in ("pandas", "numpy", "httpx", "pydantic", "requests_cache", "ipywidgets", "tornado", "ssl") if m in set(sys.modules) - theirs])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["11 11", "[]"]


def test_names_of_machines_come_from_the_record_on_disk_without_asking(ip: Any) -> None:
    sandbox = ip.run_cell("%vast use sandbox offers=300 seed=43 start=2026-06-01").result.sandbox
    for name in ("lora-7b", "lora-13b", "eval"):
        ip.run_cell(f"%vast launch num_gpus=1 --name {name} --max-usd-per-hour 9")
    ip.run_cell("%vast destroy eval")
    asked_before = sandbox.requests()

    assert asked(ip, "%%vast run l") == asked(ip, "%vast destroy l") == ["l>lora-13b", "l>lora-7b"]
    assert asked(ip, "%vast ssh lora-7") == ["lora-7>lora-7b"]
    assert completions("%vast stop lora-7b lora-1", body=False) == ("lora-1", ["lora-13b"])
    assert sandbox.requests() == asked_before
