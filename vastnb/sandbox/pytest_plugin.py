"""A pytest fixture for anything that talks to Vast: a fresh sandbox, and an environment that points at it.

Registered under the ``pytest11`` entry point, so it is there wherever the package is installed; until a test asks for
the fixture it costs nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from . import Sandbox


@pytest.fixture
def vastnb_sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Iterator[Sandbox]":
    """Start a :class:`~vastnb.sandbox.Sandbox` that ``VAST_URL`` and ``VAST_API_KEY`` point at.

    Nothing of the user reaches the test: other ``VAST*`` variables are unset, and home and configuration folders are
    temporary ones.
    """
    from . import Sandbox

    for name in [name for name in os.environ if name.startswith("VAST")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    folders = {"HOME": home, "USERPROFILE": home, "APPDATA": home / "appdata", "LOCALAPPDATA": home / "appdata"}
    folders |= {f"XDG_{kind.upper()}_HOME": home / kind for kind in ("config", "cache", "state", "data")}
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(folder))
    with Sandbox() as sandbox:
        monkeypatch.setenv("VAST_URL", sandbox.url)
        monkeypatch.setenv("VAST_API_KEY", sandbox.api_key)
        monkeypatch.setenv("VASTAI_NO_UPDATE_CHECK", "1")
        yield sandbox
