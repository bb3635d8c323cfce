"""Where this process works: the settings in force and the one default client.

Nothing here connects by itself; the client opens its first connection with its first request.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from vastnb.infra.calls import Wait
from vastnb.infra.config import VAST_URL, SandboxSettings, Settings, load_settings
from vastnb.services import notices
from vastnb.services.practice import running_sandbox
from vastnb.vast.client import Client

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Session", "config_table", "current", "display_style", "in_force", "pause", "use"]

_lock = threading.RLock()
_current: Session | None = None
_followed: Any = None


@dataclass(frozen=True)
class Session:
    """What is in force: settings, client and, in practice mode, the sandbox.

    `sandbox` is the running `vastnb.Sandbox` (its ``clock`` can be stepped), or None.
    """

    settings: Settings
    client: Client
    sandbox: Any = None

    @property
    def place(self) -> str:
        """Where requests go, in words."""
        if self.sandbox is not None:
            return "the sandbox"
        if self.settings.local:
            return "a service on this computer"
        return "Vast.ai" if self.settings.url == VAST_URL else self.settings.url

    def __repr__(self) -> str:
        if self.sandbox is not None:
            count = self.settings.sandbox.offers
            return f"The sandbox: a practice market of {count:,} offers on this computer. Nothing here is real or costs money."
        key = "an API key" if self.settings.api_key is not None else "no API key"
        return f"{self.place} with {key}, profile {self.settings.profile or 'none'}"


def current() -> Session:
    """The session in force; made from environment and settings files at first use."""
    global _current
    with _lock:
        if _current is None:
            _current = _made(load_settings())
        return _current


def use(profile: str | None = None, **values: Any) -> Session:
    """Say where this notebook runs.

    Parameters
    ----------
    profile
        ``"sandbox"`` (practice: a market on this computer, free) or the name of a live profile such as ``"production"``. None
        keeps what the environment and the settings file say.
    **values
        Settings for this session, nested ones as dicts: ``use("sandbox", sandbox={"seed": 7}, display="pandas")``. For the
        sandbox its own may be given directly: ``use("sandbox", seed=7, start="2026-06-01")``.

    Returns
    -------
    Session
        What is now in force.

    Raises
    ------
    ConfigError
        No such profile or setting.

    Examples
    --------
    >>> import vastnb
    >>> vastnb.use("sandbox", seed=7).place
    'the sandbox'
    """
    global _current
    if profile == "sandbox" or "sandbox" in values:
        values = _nested(values)
    settings = load_settings(profile, **values)
    with _lock:
        before, _current = _current, _made(settings)
        if before is not None and before.client is not _current.client:
            before.client.close()
        return _current


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """Sandbox settings may be given without their table's name."""
    own = set(SandboxSettings.model_fields)
    direct = {name: value for name, value in values.items() if name in own}
    rest = {name: value for name, value in values.items() if name not in own}
    return {**rest, "sandbox": {**direct, **rest.get("sandbox", {})}} if direct else rest


def _made(settings: Settings) -> Session:
    if settings.profile != "sandbox":
        return Session(settings, Client(settings, on_wait=_tell))
    sandbox, folder = running_sandbox(settings.sandbox)
    sources = {**settings.sources, "url": "the sandbox", "api_key": "the sandbox"}
    there = settings.model_copy(update={"url": sandbox.url, "api_key": SecretStr(sandbox.api_key), "sources": sources})
    global _followed
    if sandbox is not _followed:
        sandbox.clock.subscribe(_market_moved)
        _followed = sandbox
    return Session(there, Client(there, on_wait=_tell, cache_folder=folder), sandbox)


def _market_moved(_now: float) -> None:
    """The sandbox's clock was stepped: what was fetched before is of another time."""
    with _lock:
        if _current is not None:
            _current.client.invalidate("offers", "catalogue", "account")


def _tell(wait: Wait) -> None:
    if notices.announce is not None:
        notices.announce(wait)


@atexit.register
def _close() -> None:
    with _lock:
        if _current is not None:
            _current.client.close()


def pause(seconds: float) -> None:
    """Wait so long by the service's clock: a sandbox that stands still is stepped instead."""
    clock = current().sandbox.clock if current().sandbox is not None else None
    if clock is not None and not clock.speed:
        clock.step(seconds=seconds)
    else:
        time.sleep(seconds / clock.speed if clock is not None else seconds)


def in_force() -> Session | None:
    """The session in force, None if nothing has asked for one yet; it makes none."""
    with _lock:
        return _current


def display_style() -> str:
    """``vastnb`` or ``pandas``: how our frames are to look. Asks for no settings that are not there yet."""
    there = in_force()
    return "vastnb" if there is None else there.settings.display


def config_table() -> pd.DataFrame:
    """The settings in force.

    Returns
    -------
    DataFrame
        Columns setting, value, source, meaning. The API key's value is ``set`` or ``not set``.
    """
    from vastnb.vast.types.frames import frame_of

    settings = current().settings
    rows = [
        (name, _worded(value), settings.sources.get(name, "default"), meaning)
        for name, value, meaning in _leaves(settings)
    ]
    names = ("setting", "value", "source", "meaning")
    frame = frame_of("config", {name: [row[i] for row in rows] for i, name in enumerate(names)})
    frame.attrs["vastnb"] = {"kind": "config"}
    return frame


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        elif not info.exclude:
            yield prefix + name, value, info.description or ""


def _worded(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "set"
    if isinstance(value, float):
        return f"{value:g}"
    return "not set" if value is None else str(value)
