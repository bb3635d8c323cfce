"""The first hour: the folder that ``vastnb init`` makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vastnb.api.cli import main

SECRETS = [
    "vastnb.toml",
    ".env",
    "vast_api_key",
    ".vast_api_key",
    "id_ed25519",
    "id_ed25519.pub",
    "id_rsa",
    "cloud.pem",
]


@pytest.fixture
def project(private_home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder, fresh."""
    assert main(["init", "project"]) == 0
    capsys.readouterr()
    return private_home / "project"


def own_test(project: Path) -> subprocess.CompletedProcess[str]:
    """The folder's own test, as the user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=project, capture_output=True, text=True, check=False
    )


def test_the_folders_own_test_passes_and_runs_every_cell(project: Path) -> None:
    done = own_test(project)

    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (0, "4 passed"), (
        done.stdout + done.stderr
    )


def test_the_folders_own_test_fails_where_a_cell_fails(project: Path) -> None:
    notebook = project / "first.ipynb"
    cells = json.loads(notebook.read_text("utf-8"))
    cells["cells"][2]["source"] = ["df = %vast search gpu_nme=RTX_4090\n", "df"]
    notebook.write_text(json.dumps(cells), "utf-8")

    done = own_test(project)

    assert done.returncode == 1
    assert "no such field: gpu_nme" in done.stdout
    assert "did you mean gpu_name?" in done.stdout


def test_git_takes_the_notebook_and_no_file_that_may_hold_a_key(project: Path) -> None:
    for name in SECRETS:
        (project / name).touch()
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)

    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=project, check=True, capture_output=True, text=True
    )

    assert listed.stdout.split() == [".gitignore", "first.ipynb", "pytest.ini"]


def test_a_gitignore_that_was_there_stays_and_is_told_what_it_lacks(
    private_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (private_home / ".gitignore").write_text(".env\n*.pem\n")

    assert main(["init", "."]) == 0

    assert (private_home / ".gitignore").read_text() == ".env\n*.pem\n"
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Add to it")]
    assert said == [
        "Add to it, so that no key gets into git: vastnb.toml vast_api_key .vast_api_key id_rsa* id_ed25519*"
    ]
