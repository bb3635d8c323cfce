"""The sandbox of this process: started once, looked at, stepped, made to fail.

`_start` is the one hook through which the embedded marketplace is started; all else reaches it over HTTP, as it would Vast.
"""

from __future__ import annotations

import atexit
import importlib
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vastnb.errors import CommandError, ConfigError
from vastnb.infra.config import SandboxSettings
from vastnb.vast.query import seconds_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["act_for_watchdog", "fault", "faults", "running_sandbox", "serve", "status", "step"]

_SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGsaEb73p96+V0MTJJ6NwS8ZBaRaJEwmo+wwnsGFOVFZ practice"
"""A public key whose other half was thrown away, so that machines can be rented; nobody gets in by it."""
_running: tuple[SandboxSettings, Any, Path] | None = None


def running_sandbox(wanted: SandboxSettings) -> tuple[Any, Path]:
    """The sandbox of this process and the folder for what is kept of it.

    For the same wishes it is the same one, so that running a cell again changes nothing; for others it is replaced.
    """
    global _running
    if _running is not None and _running[0] == wanted:
        return _running[1], _running[2]
    _stop()
    sandbox = _start(**wanted.model_dump(), ssh_keys=[_SSH_KEY])
    folder = Path(tempfile.mkdtemp(prefix="vastnb-sandbox-"))
    _running = (wanted, sandbox, folder)
    return sandbox, folder


def _start(*, machines: bool, **options: Any) -> Any:
    try:
        behind = importlib.import_module("vastnb.sandbox.machines").Machines(ssh=True) if machines else None
        return importlib.import_module("vastnb.sandbox").Sandbox(machines=behind, **options).start()
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(f"the sandbox cannot be started: {error}", original=error) from error


@atexit.register
def _stop() -> None:
    global _running
    if _running is not None:
        _, sandbox, folder = _running
        _running = None
        sandbox.stop()
        shutil.rmtree(folder, ignore_errors=True)


def act_for_watchdog(instance_id: int, at: float, at_end: str) -> None:
    """Let a machine of the practice market end itself: nothing really runs on it, so its watchdog cannot."""
    _the_sandbox().ends_itself(instance_id, at, stop=at_end == "stop")


def _the_sandbox() -> Any:
    if _running is None:
        raise CommandError("no sandbox is running in this kernel", hint="%vast use sandbox starts it")
    return _running[1]


def status() -> str:
    """What the sandbox of this process is and what its clock says."""
    sandbox = _the_sandbox()
    now = datetime.fromtimestamp(sandbox.clock.now(), UTC)
    info = sandbox.info()
    moving = (
        f"runs {sandbox.clock.speed:g} times as fast as ours" if sandbox.clock.speed else "stands still until stepped"
    )
    strict = "with Vast's rate limits" if info["strict"] else "without rate limits"
    return f"The sandbox: {info['offers']:,} offers, seed {info['seed']}, {strict}.\nIts clock says {now:%Y-%m-%d %H:%M} UTC and {moving}."


def step(time: str) -> str:
    """Move the sandbox's clock on by a time such as ``2h``; prices and offers change as they would in that time."""
    sandbox = _the_sandbox()
    try:
        seconds = seconds_of(time)
    except ValueError as error:
        raise CommandError(f"sandbox --step: {error}, got {time!r}", hint="for example 30min, 2h or 3days") from error
    sandbox.clock.step(seconds=seconds)
    return status()


def fault(name: str) -> str:
    """Make the next answer fail in the way called `name`."""
    sandbox = _the_sandbox()
    if name not in _possible():
        raise CommandError(f"no such fault: {name}", hint="%vast sandbox --fault list names them")
    sandbox.faults.add(name)
    return f"The next answer that can will fail so: {name} ({_possible()[name]})."


def faults() -> pd.DataFrame:
    """The ways in which the sandbox can fail.

    Returns
    -------
    DataFrame
        Columns fault, meaning.
    """
    from vastnb.vast.types.frames import frame_of

    names = _possible()
    frame = frame_of("faults", {"fault": list(names), "meaning": list(names.values())})
    frame.attrs["vastnb"] = {"kind": "faults"}
    return frame


def _possible() -> dict[str, str]:
    """Faults that can happen now; some wait for machines to rent."""
    kinds = importlib.import_module("vastnb.sandbox.faults").KINDS
    return {name: kind.meaning for name, kind in kinds.items() if kind.stage != "later"}


def serve(**options: Any) -> None:
    """Run a sandbox for other programs until Ctrl-C; its address and key are printed first, for this is a server.

    Parameters
    ----------
    **options
        Those of `vastnb.Sandbox`.
    """
    try:
        importlib.import_module("vastnb.sandbox").serve(on_ready=_announce, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the sandbox cannot be started: {error}", original=error) from error


def _announce(sandbox: Any) -> None:
    lines = (
        "The sandbox is open until Ctrl-C. In another shell:",
        f"  export VAST_URL={sandbox.url}",
        f"  export VAST_API_KEY={sandbox.api_key}",
    )
    print("\n".join(lines), flush=True)
