"""A machine by its name, and a machine for the length of a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vastnb.errors import InputError
from vastnb.services.instances.fleet import fleet_of
from vastnb.services.instances.handle import Instance
from vastnb.services.instances.launching import launch, offers_for

if TYPE_CHECKING:
    from vastnb.vast.client import Client

__all__ = ["instance", "rent"]


def instance(what: str | int, *, client: Client | None = None) -> Instance:
    """A machine by its name or id, also after a restart and on another computer.

    Raises
    ------
    NotFoundError
        There is none.
    """
    fleet = fleet_of(client)
    record, row, sight = fleet.find(what)
    return Instance(fleet, record, row, sight.now)


class _Renting(AbstractContextManager[Instance]):
    """What `rent` gives. It rents nothing before its block begins, and whoever forgot the block reads so."""

    def __init__(self, block: AbstractContextManager[Instance]) -> None:
        self._block = block

    def __enter__(self) -> Instance:
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._block.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return "Nothing is rented yet. For the length of a block: with vastnb.rent(...) as i: ...; to keep it: vastnb.launch(...)"


def rent(
    what: Any, *, wait: bool = True, fetch: str | None = None, to: str | Path = ".", order: str = "usd_per_hour",
    client: Client | None = None, **wanted: Any,
) -> AbstractContextManager[Instance]:  # fmt: skip
    """A machine for the length of a ``with`` block: destroyed, and seen to be gone, whatever ends the block.

    Parameters
    ----------
    what
        Conditions of a search, as text; or what `vastnb.launch` takes.
    wait
        Wait until it runs before the block begins.
    fetch, to
        A file or folder of the machine that is brought home before it ends, and where to, as in `Instance.destroy`.
    order
        For conditions: which offer is tried first.
    **wanted
        Those of `vastnb.launch`.

    Raises
    ------
    VastError
        As `vastnb.launch`, `Instance.wait` and `Instance.destroy`.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> with vastnb.rent("gpu_name=RTX_4090", max_hours=1, max_usd_per_hour=0.6) as i:
    ...     i.state
    'running'
    >>> vastnb.instances().empty
    True
    """
    if wanted.get("dry_run"):
        raise InputError("rent has no dry_run", hint="vastnb.launch(..., dry_run=True)")
    return _Renting(_rented(what, wanted, wait=wait, fetch=fetch, to=to, order=order, client=client))


@contextmanager
def _rented(
    what: Any, wanted: dict[str, Any], *, wait: bool, fetch: str | None, to: str | Path, order: str, client: Client | None
) -> Iterator[Instance]:  # fmt: skip
    what = offers_for(what, wanted, order=order, client=client)
    machine = launch(what, client=client, **wanted)
    assert isinstance(machine, Instance)
    brings_home = None
    try:
        machine = machine.wait() if wait else machine
        brings_home = fetch  # from a machine that never ran there is nothing to bring
        yield machine
    finally:
        machine.destroy(fetch=brings_home, to=to)
