"""What a machine printed, as the service tells it: without ssh, and of machines that do not run any more too.

The service uploads the log and says where it will be; it is asked for until it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vastnb.errors import NotFoundError
from vastnb.services.instances.fleet import Fleet
from vastnb.vast.client.external import fetch_external

__all__ = ["Log", "fetched", "follow", "news"]

_PAUSES_S = (0.5, 1, 1, 2, 2, 4, 4, 8, 8)


class Log(str):
    """Lines that a machine printed, shown as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def fetched(fleet: Fleet, instance_id: int, *, tail: int, grep: str = "", daemon: bool = False) -> list[str]:
    """The last lines of a machine's log, as they are now.

    Raises
    ------
    NotFoundError
        The service did not upload it in time, or there is no such machine.
    """
    url = fleet.machines.request_logs(instance_id, tail=tail, grep=grep, daemon=daemon)
    for pause_s in _PAUSES_S:
        try:
            return _lines(fetch_external(url))
        except NotFoundError:
            fleet.pause(pause_s)
    return _lines(fetch_external(url))


def _lines(content: bytes) -> list[str]:
    return content.decode(errors="replace").splitlines()


def follow(look: Callable[[], list[str]], tell: Callable[[str], None], goes_on: Callable[[], bool]) -> None:
    """Tell what is new each time, until nothing more comes.

    Parameters
    ----------
    look
        The last lines as they are now.
    tell
        Told the new lines.
    goes_on
        Asked when there were none: waits, and says whether more may come.
    """
    seen = look()
    new = seen
    while True:
        if new:
            tell("".join(f"{line}\n" for line in new))
        elif not goes_on():
            return
        try:
            lines = look()
        except NotFoundError:  # it is gone by now
            return
        new, seen = news(seen, lines), lines


def news(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """The lines of `now` that come after those of `before`, of which the first ones may have gone."""
    for start in range(len(before)):
        if list(before[start:]) == list(now[: len(before) - start]):
            return list(now[len(before) - start :])
    return list(now)
