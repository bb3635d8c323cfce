"""A machine by its name, and a machine for the length of a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def rent(
    what: Any, *, wait: bool = True, fetch: str | None = None, to: str | Path = ".", order: str = "usd_per_hour",
    client: Client | None = None, **wanted: Any,
) -> Iterator[Instance]:  # fmt: skip
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
