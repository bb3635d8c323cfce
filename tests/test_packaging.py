"""The wheel and the source archive: what is in them, what an installer reads, and that nothing stays behind."""

from __future__ import annotations

import configparser
import email.parser
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from vastnb import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(dist.glob("*.whl")))


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


def test_the_source_archive_holds_what_git_holds_and_nothing_else(dist: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()

    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}

    assert held == {name for name in listed if (ROOT / name).exists()} | {"PKG-INFO"}


def test_what_is_installed_runs_and_goes_without_a_trace(dist: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "environment")
    pip = [sys.executable, "-m", "pip", "-q", "--python", str(tmp_path / "environment/bin/python")]
    before = sorted((tmp_path / "environment").rglob("*"))

    subprocess.run([*pip, "install", "--no-deps", "--no-index", next(dist.glob("*.whl"))], check=True)
    said = subprocess.run(
        [tmp_path / "environment/bin/vastnb", "--version"], check=True, capture_output=True, text=True
    ).stdout
    subprocess.run([*pip, "uninstall", "-y", "vastnb"], check=True)

    assert said == f"vastnb {__version__}\n"
    assert sorted((tmp_path / "environment").rglob("*")) == before


def test_the_changelog_has_this_version_first() -> None:
    heads = re.findall(
        r"^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )

    assert heads[0][0] == __version__
    assert [version for version, day in heads[1:] if day == "unreleased"] == []
