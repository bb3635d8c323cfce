"""A rented machine that ends itself: the script for it, what fits into an on-start script, and who ends a machine in which state. Pure.

1. `script` puts the watchdog (``watchdog.sh``, with the values of a `Watchdog`) in front of the user's on-start script.
2. `packed` makes the whole short enough for the service.
3. The machine runs it at each start. The end is an absolute time, so a stop, a start or a reboot does not move it.
4. A later end in the machine's label (`vastnb.services.instances.labels`) moves it.
"""

from __future__ import annotations

import base64
import gzip
import math
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vastnb.errors import InputError

__all__ = ["Ending", "Watchdog", "endings", "packed", "script"]

_LONGEST = 4048
"""Characters of an on-start script that the service takes (its create call's documentation)."""
_NEVER = 9_999_999_999
_ONLY = re.compile(r"^ *# only (\w+)\n(.*?)^ *# end\n", re.MULTILINE | re.DOTALL)
_SHEBANG = re.compile(r"#![^\n]*\n?")
_SHELLS = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?(?:\S*/)?(?:ba|da|a|k|mk|z)?sh\b")


class Watchdog(BaseModel):
    """When a machine ends itself, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ends_at: float | None = Field(
        gt=0, lt=_NEVER, description="by the service's clock, seconds since 1970; None: no time"
    )
    at_end: Literal["destroy", "stop"] = Field("destroy", description="a stopped machine goes on costing its disk")
    before_end: str | None = Field(None, description="a shell command that runs before")
    before_end_timeout_s: float = Field(
        300, ge=1, le=86_400, description="it begins so long before the end, and is killed then"
    )
    max_traffic_usd: float | None = Field(
        None, ge=0, description="it also ends once its traffic cost more than so much"
    )
    usd_per_gb_down: float | None = Field(
        None, ge=0, description="the price of traffic in; needed for `max_traffic_usd`"
    )
    usd_per_gb_up: float | None = Field(
        None, ge=0, description="the price of traffic out; needed for `max_traffic_usd`"
    )
    idle_minutes: float | None = Field(
        None, gt=0, description="it also ends after so long without GPU use, once there was some"
    )
    url: str = Field("https://console.vast.ai", description="where the machine reaches the service")

    @model_validator(mode="after")
    def _traffic_has_prices(self) -> Self:
        if self.max_traffic_usd is not None and None in (self.usd_per_gb_down, self.usd_per_gb_up):
            raise InputError("max_traffic_usd cannot hold without usd_per_gb_down and usd_per_gb_up")
        return self


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends a machine in one state, and what it costs until then."""

    state: str
    ended_by: str
    usd_worst_per_day: float | None
    """Without traffic; None if a price is not known."""

    def __str__(self) -> str:
        worst = "price unknown" if self.usd_worst_per_day is None else f"${self.usd_worst_per_day:,.2f}/day at worst"
        return f"{self.state}: {self.ended_by}; {worst}"


def script(watchdog: Watchdog, onstart: str = "") -> str:
    """An on-start script that starts the watchdog in the background and then is the user's, unchanged.

    Parameters
    ----------
    watchdog
        When and how it ends.
    onstart
        The user's on-start script. A shell's runs in the very shell that the service chose; another interpreter's (by its first line,
        ``#!``) is written to a file that the shell turns into.
    """
    first = _SHEBANG.match(onstart)
    if first is None:
        return _start(watchdog) + onstart
    if _SHELLS.match(onstart):
        return f"{first[0].rstrip()}\n{_start(watchdog)}{onstart[first.end() :]}"
    return f'{_start(watchdog)}f=${{HOME:-/root}}/.vastnb-onstart\nprintf %s {shlex.quote(onstart)} >"$f" && chmod +x "$f" && exec "$f"\n'


def _start(watchdog: Watchdog) -> str:
    """A shell line that starts it, in a session of its own, and no child of the user's shell, whose ``wait`` must not wait for it.

    The substitution lasts until the watchdog closes its output: by then nothing that the user's script kills takes it along.
    """
    values = _values(watchdog)
    source = Path(__file__).with_name("watchdog.sh").read_text("utf-8")
    source = _ONLY.sub(lambda part: part[2] if part[1] in values else "", source)
    lines = [f"{name}={shlex.quote(str(value))}" for name, value in values.items()]
    lines += [line.lstrip() for line in source.splitlines()]
    code = "\n".join(line for line in lines if line and not line.startswith("#"))
    return (
        f': "$(s=$(command -v setsid);VASTNB_WATCHDOG={shlex.quote(code)} $s sh -c '
        '\'exec >&2;eval "$VASTNB_WATCHDOG"\' vastnb-watchdog </dev/null 2>/dev/null &)"\n'
    )


def _values(watchdog: Watchdog) -> dict[str, str | int]:
    """The shell variables that ``watchdog.sh`` begins with."""
    values: dict[str, str | int] = {
        "URL": watchdog.url.rstrip("/"),
        "END": _NEVER if watchdog.ends_at is None else int(watchdog.ends_at),
        "ASK": "DELETE" if watchdog.at_end == "destroy" else 'PUT {"state":"stopped"}',
        "LIMIT": int(watchdog.before_end_timeout_s) if watchdog.before_end else 0,
    }
    if watchdog.before_end:
        values["BEFORE"] = watchdog.before_end
    if watchdog.idle_minutes is not None:
        values["IDLE"] = math.ceil(watchdog.idle_minutes * 60)
    if watchdog.max_traffic_usd is not None:
        down, up = (round((price or 0) * 1e6) for price in (watchdog.usd_per_gb_down, watchdog.usd_per_gb_up))
        values |= {"SPEND": int(watchdog.max_traffic_usd * 1e9), "DOWN": down, "UP": up}
    return values


def packed(script: str) -> str:
    """`script` if the service takes it as it is, else a shorter one that unpacks and runs it.

    Unpacking needs ``base64`` and ``gzip``, or Python.

    Raises
    ------
    InputError
        It is too long even so.
    """
    if len(script.encode()) <= _LONGEST:
        return script
    text = base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()
    unzip = "import base64,gzip,os;os.write(1,gzip.decompress(base64.b64decode(open(0).read())))"
    first = _SHEBANG.match(script)
    head = f"{first[0].rstrip()}\n" if first else ""
    short = (
        f"{head}eval \"$(p(){{ printf %s {text};}};(p|base64 -d|gzip -dc||p|python3 -c '{unzip}'||p|python -c '{unzip}')2>/dev/null"
        "||echo 'echo vastnb: no gzip, no Python: on-start script not run>&2;exit 127')\"\n"
    )
    if len(short) > _LONGEST:
        raise InputError(
            f"the on-start script has {len(script)} characters, packed {len(short)}; the service takes {_LONGEST}",
            hint="put the long part into the image, or let the script download it",
        )
    return short


def endings(
    watchdog: Watchdog | None, runtype: str, *, usd_per_hour: float | None, disk_usd_per_hour: float | None
) -> list[Ending]:
    """Who ends a machine in each state, and what a day in it costs at worst.

    Parameters
    ----------
    watchdog
        What its on-start script holds; None without one.
    runtype
        ``"ssh"``, ``"jupyter"`` or ``"args"``; with the last there is no on-start script.
    usd_per_hour
        GPUs and disk, while it runs.
    disk_usd_per_hour
        The disk alone.
    """
    running, stopped = (None if price is None else price * 24 for price in (usd_per_hour, disk_usd_per_hour))
    watched = watchdog is not None and runtype != "args"
    rows = {
        "loading": ("only you: nothing runs on it yet", running),
        "running": (_ended_when(watchdog) if watchdog and watched else "only you", running),
        "stopped": ("only you: nothing runs on it", stopped),
        "exited": ("only you: nothing runs on it any more", running),
        "offline": ("only you; its watchdog, once it is back" if watched else "only you", 0.0),
        "unknown": (
            "its watchdog, if it still runs and has a network; else only you" if watched else "only you",
            running,
        ),
    }
    return [Ending(state, by, worst) for state, (by, worst) in rows.items()]


def _ended_when(watchdog: Watchdog) -> str:
    """When its watchdog ends a running machine, in words."""
    when = []
    if watchdog.ends_at is not None:
        when.append(f"at {datetime.fromtimestamp(watchdog.ends_at, UTC):%Y-%m-%d %H:%M} UTC")
    if watchdog.max_traffic_usd is not None:
        when.append(f"after ${watchdog.max_traffic_usd:,.2f} of traffic")
    if watchdog.idle_minutes is not None:
        when.append(f"after {watchdog.idle_minutes:g} min without GPU use")
    act = "destroys itself" if watchdog.at_end == "destroy" else "stops itself, and then costs its disk,"
    return f"{act} {' or '.join(when)}" if when else "only you"
