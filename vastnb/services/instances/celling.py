"""What is done in a machine's Python: cells. `Instance` is one of these; the work itself is in `services.remote`."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from vastnb.services import notices
from vastnb.services.instances.working import Working
from vastnb.services.journal import notebook_of_kernel
from vastnb.services.remote.cells import Prices, run_cell
from vastnb.services.remote.kernels import Kernel
from vastnb.services.remote.pythons import name_of

if TYPE_CHECKING:
    from vastnb.services.remote.cells import CellRan
    from vastnb.services.remote.kernels import OnMessage

__all__ = ["Celling"]


class Celling(Working):
    """The part of `Instance` that runs cells on the machine."""

    @cached_property
    def _kernels(self) -> dict[str, Kernel]:
        return {}

    @property
    def has_kernel(self) -> bool:
        """Whether a Python of the machine is connected with this process now."""
        return any(kernel.is_open for kernel in self._kernels.values())

    def cell(
        self, code: str, *, push: Mapping[str, Any] | None = None, pull: Sequence[str] = (), pickle: bool = False,
        kernel: str = "", python: str = "", on_message: OnMessage | None = None,
    ) -> CellRan:  # fmt: skip
        """Run Python in a Python that lives on the machine: what one cell defines the next one has.

        It is started by the first cell and lives until `end_kernel` or the machine's end, whatever becomes of this process. If the
        connection breaks, the cell runs on and is reached again. Ctrl-C interrupts it there.

        Parameters
        ----------
        code
            A cell as in a notebook.
        push
            Values that get names there before.
        pull
            Names there whose values come back after.
        pickle
            Whether what neither Arrow, npy, JSON nor text takes may be pickled, both ways. What a machine pickled can run code here.
        kernel
            The name of the Python; without one it is this notebook's own, and no other's.
        python
            The program that it is started from, on the machine; without one, the first that is found.
        on_message
            Told the type and content of each Jupyter message of the cell; without one, a notebook shows them.

        Returns
        -------
        CellRan
            The values that were pulled, how long it took and what the machine cost meanwhile.

        Raises
        ------
        CellError
            It raised, or was interrupted; a value could not be carried; or there is no Python to run it.
        NotRunningError, ReachError
            The machine does not run, or cannot be reached.
        """
        there = self._kernel(kernel, python)
        tell = on_message or notices.show_message or (lambda _kind, _content: None)
        there.say = partial(_say, tell, self.name or f"machine {self.id}")
        return run_cell(
            there, code, push=push or {}, pull=pull, pickle=pickle, on_message=tell, prices=self._prices, spools=self._spools
        )  # fmt: skip

    def close_kernels(self) -> None:
        """Take the connections of this process away; the machine's Pythons live on."""
        for kernel in self._kernels.values():
            kernel.close()

    def end_kernel(self, kernel: str = "") -> None:
        """End the machine's Python of this notebook, or the one of that name, and free its memory.

        Raises
        ------
        CellError
            It did not end.
        """
        self._kernel(kernel, "").end()

    def _kernel(self, kernel: str, python: str) -> Kernel:
        name = name_of(kernel, f"{platform.node()} {notebook_of_kernel() or os.getpid()}")
        there = self._kernels.get(name)
        if there is not None and python not in ("", there.python):  # the machine knows whether it is another program
            there.close()
            there = None
        if there is None:
            there = self._kernels[name] = Kernel(self.connect(), name, python=python)
        elif self.state != "running" or not there.is_open:
            # It may be stopped, or answer at another port since it was started again.
            there.connection = self.connect()
        return there

    @property
    def _prices(self) -> Prices:
        record = self.record
        if record is None:
            return Prices(self.usd_per_hour)
        return Prices(self.usd_per_hour, record.inet_down_usd_per_gb, record.inet_up_usd_per_gb)


def _say(tell: OnMessage, who: str, words: str) -> None:
    tell("stream", {"name": "stdout", "text": f"{who}: {words}\n"})
