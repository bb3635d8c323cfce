"""``%%vast run NAME``: the body of a cell runs on a machine, and what it shows there is shown here.

What comes from a machine is displayed as any kernel's output is; the browser's own rules for untrusted output hold. Widgets of
the machine have no kernel here: their text is shown.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vastnb.errors import CommandError, NotFoundError, NotRunningError

if TYPE_CHECKING:
    from vastnb.services.instances import Instance
    from vastnb.services.remote.cells import CellRan

__all__ = ["machine_of", "run_cell", "show_message"]

_WIDGET = "application/vnd.jupyter.widget-view+json"
_machines: dict[str, tuple[Any, Instance]] = {}
"""By the name that was asked for: the client that found it, and the machine with its connections. To ask the service for each cell
would take longer than most cells."""


def run_cell(name: str, code: str, *, push: Sequence[str], pull: Sequence[str], **how: Any) -> CellRan:
    """Run Python on a machine; variables of the notebook go there by their names, and come back so.

    Raises
    ------
    CommandError
        A variable that is to be pushed is not there.
    VastError
        As `Instance.cell`.
    """
    variables = _variables()
    missing = [word for word in push if word not in variables]
    if missing:
        raise CommandError(f"run: there is no {missing[0]} here to push", hint="--push takes names of variables: x,y")
    ran = machine_of(name).cell(code, push={word: variables[word] for word in push}, pull=pull, **how)
    variables.update(ran.values)
    # The notebook keeps what a cell gave, in Out: a large value would stay in memory after its variable is gone.
    return replace(ran, values={})


def machine_of(name: str) -> Instance:
    """The machine of that name, as it was last seen if it still runs.

    Raises
    ------
    NotFoundError
        There is none.
    """
    from vastnb.services import session
    from vastnb.services.instances import instance

    client = session.current().client
    known, machine = _machines.get(name, (None, None))
    if machine is not None:
        if known is client and _runs(machine):
            return machine
        machine.close_kernels()
    _machines[name] = (client, instance(name))
    return _machines[name][1]


def _runs(machine: Instance) -> bool:
    """Whether it does; the service is asked only if its connection is gone."""
    try:
        return machine.has_kernel or machine.refresh().state == "running"
    except (NotFoundError, NotRunningError):
        return False


def _variables() -> dict[str, Any]:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise CommandError(
            "run: a cell of Python runs from a notebook", hint="vastnb.instance(...).cell(...) runs anywhere"
        )
    variables: dict[str, Any] = shell.user_ns
    return variables


def show_message(kind: str, content: dict[str, Any]) -> None:
    """Show what a cell of a machine shows, a Jupyter message, as an output of the cell that runs here; a background thread shows nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    if kind == "stream":
        stream = sys.stderr if content["name"] == "stderr" else sys.stdout
        stream.write(content["text"])
        stream.flush()
    elif kind == "clear_output":
        from IPython.display import clear_output

        clear_output(wait=content["wait"])  # type: ignore[no-untyped-call]
    elif "data" in content:
        _display(kind, content)


def _display(kind: str, content: dict[str, Any]) -> None:
    from IPython.display import publish_display_data

    data = {mime: part for mime, part in content["data"].items() if mime != _WIDGET}
    publish_display_data(  # type: ignore[no-untyped-call]
        data, content.get("metadata"), transient=content.get("transient"), update=kind == "update_display_data"
    )
