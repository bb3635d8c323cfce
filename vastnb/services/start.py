"""The first minutes: a folder to work in (`init`), and JupyterLab on the tutorials (`lab`). Both never overwrite."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from vastnb.errors import CommandError, ConfigError
from vastnb.infra.config import config_file

__all__ = ["init", "lab"]

_FIRST_TUTORIAL = "01-search-the-market.ipynb"
_SETTINGS = """\
# Settings of vastnb; `vastnb config` shows what is in force and why.
# Where a notebook runs is said in it: %vast use sandbox, or %vast use production.
# A name chosen here is used where a notebook says nothing:
# profile = "sandbox"

[default]
timeout_s = 30

[profiles.sandbox.sandbox]
offers = 2000

[profiles.production]
# The key is best kept in VAST_API_KEY or in the official client's key file; both are read.
# api_key = "..."
retries = 3

[profiles.production.cache]
offers_ttl_s = 30
"""
_CELLS = (
    ("markdown", "# My first search\n\nRun the cells from top to bottom. The first one decides where this notebook works: in the sandbox\nnothing is real and nothing costs money. For the real market change `sandbox` to `production`."),
    ("code", "%load_ext vastnb\n%vast use sandbox"),
    ("code", "df = %vast search gpu_name=RTX_4090 num_gpus>=2\ndf"),
    ("code", 'df.groupby("country").usd_per_gpu_hour.describe()[["count", "min", "50%"]]'),
    ("markdown", "`pytest` runs this notebook from top to bottom (`pip install nbval`). It fails where a cell fails, so say what must hold:"),
    ("code", "assert (df.num_gpus >= 2).all()\nassert df.usd_per_hour.is_monotonic_increasing"),
)  # fmt: skip
_PYTEST = """\
# `pytest` runs each notebook here, and fails where a cell fails. It needs nbval: pip install nbval
[pytest]
addopts = --nbval-lax
"""
_SECRETS = ("vastnb.toml", ".env", "vast_api_key", ".vast_api_key", "id_rsa*", "id_ed25519*", "*.pem")
_GITIGNORE = f"""\
# Keys, and files that may hold one: never into git
{chr(10).join(_SECRETS)}

.ipynb_checkpoints/
__pycache__/
.pytest_cache/
"""


def init(folder: str = ".") -> str:
    """Write the settings file with profiles, and in `folder` a first notebook, its test and a ``.gitignore``; what exists stays.

    Returns
    -------
    str
        What was written, what was there, and the next step.

    Raises
    ------
    ConfigError
        A file cannot be written.
    """
    there = Path(folder)
    notebook = there / "first.ipynb"
    said = [
        _written(config_file(), _SETTINGS, private=True),
        _written(notebook, _notebook()),
        _written(there / "pytest.ini", _PYTEST),
        _written(there / ".gitignore", _GITIGNORE),
        *_unprotected(there / ".gitignore"),
    ]
    return "\n".join([*said, f"Next: jupyter lab {notebook}"])


def _unprotected(ignoring: Path) -> list[str]:
    """What a ``.gitignore`` that was there should hold as well."""
    lines = ignoring.read_text("utf-8", errors="replace").split()
    missing = [name for name in _SECRETS if name not in lines]
    return [f"Add to it, so that no key gets into git: {' '.join(missing)}"] if missing else []


def _written(path: Path, text: str, *, private: bool = False) -> str:
    try:
        path.parent.mkdir(mode=0o700 if private else 0o755, parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o644)
    except FileExistsError:
        return f"There already: {path}"
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", original=error) from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return f"Written: {path}"


def _notebook() -> str:
    cells: list[dict[str, Any]] = [
        {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        | ({"execution_count": None, "outputs": []} if kind == "code" else {})
        for number, (kind, text) in enumerate(_CELLS)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def lab(folder: str = "vastnb-tutorials", *, browser: bool = True) -> int:
    """Open JupyterLab on a copy of the tutorials, in the sandbox whatever keys there are.

    Parameters
    ----------
    folder
        Where the copies go; notebooks that are there already stay as they are.
    browser
        Whether to open a window.

    Returns
    -------
    int
        JupyterLab's exit status.

    Raises
    ------
    CommandError
        JupyterLab is not installed.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise CommandError("JupyterLab is not installed", hint='pip install "vastnb[lab]"')
    target = Path(folder)
    _copy_tutorials(target)
    command = [sys.executable, "-m", "jupyter", "lab", str(target / _FIRST_TUTORIAL)]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    return subprocess.call(command, env={**os.environ, "VASTNB_PROFILE": "sandbox"})


def _copy_tutorials(target: Path) -> None:
    source = _tutorials()
    target.mkdir(parents=True, exist_ok=True)
    for notebook in sorted(source.glob("*.ipynb")):
        if not (target / notebook.name).exists():
            shutil.copy(notebook, target / notebook.name)


def _tutorials() -> Path:
    """In an installed package beside the modules, in a checkout beside the package."""
    package = Path(__file__).parent.parent
    for place in (package / "notebooks", package.parent / "notebooks"):
        if (place / _FIRST_TUTORIAL).exists():
            return place
    raise CommandError("the tutorial notebooks are not there", hint="pip install --force-reinstall vastnb")
