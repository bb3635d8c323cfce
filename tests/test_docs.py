"""Docs that cannot rot: generated pages are current, nothing is left out, every block runs, every link leads somewhere."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from remote_ground import require_programs

import vastnb
from vastnb import errors
from vastnb.api.commands import COMMANDS, OTHER_NAMES
from vastnb.infra.config import load_settings
from vastnb.sandbox.endpoints import ENDPOINTS
from vastnb.sandbox.faults import KINDS as FAULTS
from vastnb.services.session import config_table
from vastnb.vast.query.scan import OPERATORS
from vastnb.vast.query.values import _UNITS
from vastnb.vast.types import DROPPED, FIELDS, KINDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _generate() -> Any:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = _generate()


def blocks(language: str) -> list[str]:
    """The blocks of a language on all pages, each once."""
    text = "".join(path.read_text("utf-8") for path in PAGES)
    return list(dict.fromkeys(re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)))


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


@pytest.mark.parametrize("name", GENERATE.PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    assert page(name) == GENERATE.generated(name), "run: python docs/generate.py"


def missing(words: Any, name: str) -> list[str]:
    text = page(name)
    return [word for word in words if f"`{word}`" not in text]


def test_every_command_and_option_is_on_the_page() -> None:
    text = page("magic.md")
    assert [word for word in COMMANDS if f"\n## {word}\n" not in text] == []
    shown = [arg for c in COMMANDS.values() for arg in c.args if arg.help != "==SUPPRESS=="]
    assert missing([name for arg in shown for name in arg.names], "magic.md") == []
    assert missing(OTHER_NAMES, "magic.md") == []


def test_every_column_is_on_the_page() -> None:
    columns = [c.name for c in (*(c for kind in KINDS.values() for c in kind), *FIELDS)]
    assert missing([*columns, *DROPPED], "columns.md") == []


def test_every_public_name_is_on_the_page() -> None:
    text = page("api.md")
    assert [name for name in vastnb.__all__ if f"vastnb.{name}" not in text] == []


def test_every_module_is_in_the_table_of_layers() -> None:
    modules = [
        m.name.rpartition(".")[2] for m in pkgutil.walk_packages(vastnb.__path__, "vastnb.") if m.name.count(".") == 2
    ]
    inside = {p.stem for p in (ROOT / "vastnb/sandbox").iterdir()}
    assert missing([name for name in modules if name not in inside], "architecture.md") == []


def test_every_setting_is_on_the_page() -> None:
    assert missing(config_table().setting, "settings.md") == []


def test_every_error_is_on_the_page() -> None:
    assert missing(errors.__all__, "errors.md") == []
    assert missing([getattr(errors, name).code for name in errors.__all__], "errors.md") == []


def test_every_kind_of_event_is_on_the_page() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "vastnb/services").rglob("*.py"))
    kinds = sorted(set(re.findall(r'"((?:account|instance|market)\.[a-z_]+)"', source)))
    text = page("events.md")
    assert "instance.outbid" in kinds
    assert [kind for kind in kinds if f"`{kind}`" not in text and f"`.{kind.partition('.')[2]}`" not in text] == []


def test_every_fault_and_endpoint_is_on_the_page() -> None:
    assert missing([*FAULTS, *(f"{e.method} {e.path}" for e in ENDPOINTS)], "sandbox-reference.md") == []


def test_every_operator_and_unit_is_on_the_page() -> None:
    known = set(re.findall(r"`([^`\n]+)`", page("searching.md").lower()))
    assert [word for word in OPERATORS if word not in known] == []
    assert [unit for units in _UNITS.values() for unit in units if unit not in known | {"", "$"}] == []


def test_every_dependency_has_a_line() -> None:
    extras = PROJECT["optional-dependencies"].values()
    names = [re.split(r"[<>=]", line)[0] for lines in (PROJECT["dependencies"], *extras) for line in lines]
    assert missing(names, "dependencies.md") == []


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")  # dask's own, with pandas 3.1
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_python_blocks_run(path: Path, ip: Any, capsys: Any) -> None:
    text = path.read_text("utf-8")
    if "machines=true" in text:
        require_programs()
    for comments, source, *_ in GENERATE.BLOCK.findall(text):
        result = ip.run_cell(source)
        failed = result.error_before_exec or result.error_in_exec
        assert (failed is not None) == ("<!-- raises -->" in comments), f"{source}\n{failed}"
        ip.displayhook.flush()


def test_no_block_is_overlooked() -> None:
    text = "".join(path.read_text("utf-8") for path in PAGES)
    assert text.count("```python") == len(GENERATE.BLOCK.findall(text))


def test_no_block_is_of_a_language_that_no_test_knows() -> None:
    text = "".join(path.read_text("utf-8") for path in PAGES)
    assert set(re.findall(r"^```(\w*)$", text, re.MULTILINE)) <= {"", "python", "text", "sh", "toml", "ini"}


@pytest.mark.parametrize("settings", blocks("toml"))
def test_the_settings_shown_can_be_loaded(settings: str, tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "shown.toml"
    file.write_text(settings, "utf-8")
    file.chmod(0o600)
    monkeypatch.setenv("VASTNB_CONFIG", str(file))

    shown = tomllib.loads(settings)
    profile = next(iter(shown.get("profiles", {})), None)
    loaded = load_settings(profile)

    wanted = {**shown.get("default", {}), **shown.get("profiles", {}).get(profile, {})}
    given = loaded.model_dump()
    assert {name: flat(given[name], value) for name, value in wanted.items()} == wanted


def flat(given: Any, wanted: Any) -> Any:
    """Of `given` what is wanted, secrets as they are."""
    if isinstance(wanted, dict):
        return {name: flat(given[name], value) for name, value in wanted.items()}
    return given.get_secret_value() if hasattr(given, "get_secret_value") else given


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_relative_links_and_images_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    assert [link for link in links if not (path.parent / link.partition("#")[0]).exists()] == []


def test_the_tables_of_contents_name_every_page() -> None:
    listed = re.findall(r"^([\w/-]+)$", page("index.md"), re.MULTILINE)
    there = [p.stem for p in DOCS.glob("*.md") if p.stem != "index"]
    there += [f"notebooks/{p.stem}" for p in (ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(listed) == sorted(there)
