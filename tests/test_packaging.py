"""The wheel: what is in it, and what an installer reads from it."""

from __future__ import annotations

import configparser
import email.parser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vastnb import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"vastnb-{__version__}.dist-info/{name}").decode()


def test_the_wheel_holds_modules_scripts_and_notebooks_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    modules = {
        str(path.relative_to(ROOT))
        for kind in ("py", "sh", "js", "css")
        for path in (ROOT / "vastnb").rglob(f"*.{kind}")
    }
    notebooks = {f"vastnb/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert notebooks
    assert held == modules | notebooks | {"vastnb/py.typed"}


def test_an_installer_finds_the_console_script_and_the_pytest_plugin(wheel: zipfile.ZipFile) -> None:
    entries = configparser.ConfigParser()
    entries.read_string(metadata(wheel, "entry_points.txt"))

    assert {section: dict(entries[section]) for section in entries.sections()} == {
        "console_scripts": {"vastnb": "vastnb.api.cli:main"},
        "pytest11": {"vastnb_sandbox": "vastnb.sandbox.pytest_plugin"},
    }


def test_version_python_license_and_readme_are_told(wheel: zipfile.ZipFile) -> None:
    told = email.parser.Parser().parsestr(metadata(wheel, "METADATA"))

    assert (told["Name"], told["Version"], told["Requires-Python"]) == ("vastnb", __version__, ">=3.11")
    assert told["License-Expression"] == "MIT"
    assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text("utf-8")
    assert told.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()
    assert {"lab", "docs", "test"} <= set(told.get_all("Provides-Extra"))
