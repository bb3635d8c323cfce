"""What all widgets share: their front end, work beside the kernel's loop, errors on the screen, the last state for later readers.

A message of the front end comes in whatever thread the kernel chooses, perhaps while a cell runs. So:

1. `_said` finds the door that the message names. Doors are short: they set traits, or start work.
2. `_start` gives work that waits (for the service) to one thread of the widget's own; of what else comes meanwhile only the newest is
   done. The thread ends with its work.
3. What goes wrong in either is shown in the widget: nobody sees what a callback raises.
4. `_keep` puts a new snapshot into the notebook, in place of the one that the cell's output began with.
"""

from __future__ import annotations

import contextvars
import html
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any, ClassVar, Self

import anywidget
import traitlets
from IPython.display import publish_display_data

from vastnb.errors import VastError

__all__ = ["Panel", "Snapshot"]

_FRONT = "vastnb.api.widgets"
_STYLES = ("panel", "fleet", "health", "launch")
"""Each widget brings all of them: of equal rules the last on the page wins, whichever widget was drawn last."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a widget says where no front end draws it."""

    text: str
    html: str

    @classmethod
    def of(cls, title: str, text: str, html_text: str) -> Snapshot:
        """A snapshot with a title above it."""
        return cls(f"{title}\n{text}", f"<p><b>{html.escape(title)}</b></p>\n{html_text}")


class Panel(anywidget.AnyWidget):
    """The base of the widgets. A widget names its parts of the front end and its doors, and says what it looks like without one."""

    front: ClassVar[tuple[str, ...]] = ()
    """Scripts of the front end, besides ``panel.js``, in the order in which they build on one another."""

    _lock: threading.RLock
    _worker: threading.Thread | None
    _next: tuple[str, Callable[[], None]] | None
    _closed: bool
    _kept: Snapshot | None

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    _busy = traitlets.Unicode().tag(sync=True)
    """What is being done, in words; empty: nothing."""
    _error: Any = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    """What went wrong last: ``name``, ``message`` and ``hint``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Before anything can raise: a widget whose making was refused is closed like any other."""
        made: Self = super().__new__(cls, *args, **kwargs)
        made._lock = threading.RLock()
        made._worker = None
        made._next = None
        made._closed = False
        made._kept = None
        return made

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(self._said)

    @traitlets.default("_esm")
    def _read_scripts(self) -> str:
        return "".join(_read(f"{name}.js") for name in ("panel", *self.front))

    @traitlets.default("_css")
    def _read_style(self) -> str:
        return "".join(_read(f"{name}.css") for name in _STYLES)

    # ------------------------------------------------------------ what a widget defines

    def _doors(self) -> Mapping[str, Callable[[dict[str, Any]], None]]:
        """What the front end may ask for, and what does it."""
        return {}

    def _snapshot(self) -> Snapshot:
        """The state now, for readers without a front end. Asks nobody."""
        raise NotImplementedError

    # ------------------------------------------------------------ messages and work

    def _said(self, _: Any, message: Any, __: Any) -> None:
        with self._showing_errors():
            door = self._doors()[message["do"]]
            with self._lock:
                door(message)

    def _start(self, words: str, work: Callable[[], None]) -> None:
        """Do `work` beside the kernel's loop, while the widget says `words`."""
        with self._lock:
            self._next = (words, work)
            if self._worker is None and not self._closed:
                here = contextvars.copy_context()  # ipykernel 7.0 sends nothing from a thread that has none
                worker = threading.Thread(target=here.run, args=(self._work,), name=type(self).__name__, daemon=True)
                worker.start()
                self._worker = worker

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            self._error = None
            self._busy, work = taken
            with self._showing_errors():
                work()

    def _take(self) -> tuple[str, Callable[[], None]] | None:
        with self._lock:
            taken, self._next = self._next, None
            if taken is None or self._closed:
                self._worker = None
                self._busy = ""
                return None
            return taken

    @contextmanager
    def _showing_errors(self) -> Iterator[None]:
        try:
            yield
        except VastError as error:
            self._error = {"name": type(error).__name__, "message": error.message, "hint": error.hint}
        except Exception as error:  # ours or of somebody who observes: unless it is shown here, nobody sees it
            self.log.warning("in a callback of %s", type(self).__name__, exc_info=True)
            self._error = {"name": type(error).__name__, "message": str(error), "hint": None}

    # ------------------------------------------------------------ the notebook's own copy

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        made = super()._repr_mimebundle_(**kwargs)
        if made is None:
            return None
        data, *more = made if isinstance(made, tuple) else (made,)
        self._kept = self._snapshot()
        return {**data, "text/plain": self._kept.text, "text/html": self._kept.html}, *(more or [{}])

    @property
    def is_shown(self) -> bool:
        """Whether it was put into a notebook."""
        return self._kept is not None

    def _ipython_display_(self) -> None:
        """Shown under a name, so that the snapshot can be replaced later."""
        self._publish(update=False)

    def _publish(self, *, update: bool) -> None:
        made = self._repr_mimebundle_()
        publish: Any = publish_display_data
        if made is not None:
            publish(*made, transient={"display_id": f"vastnb-{self.model_id}"}, update=update)

    def _keep(self) -> None:
        """Bring the snapshot in the notebook up to date, if it was shown at all and differs."""
        if self._kept is not None and not self._closed and self._kept != self._snapshot():
            self._publish(update=True)

    def close(self) -> None:
        """Take the widget away. What it waits for is not cut off, but its answer is thrown away and its thread ends."""
        with self._lock:
            self._closed, self._next = True, None
        self.layout.close()
        super().close()

    def __repr__(self) -> str:
        return self._snapshot().text


def _read(name: str) -> str:
    return resources.files(_FRONT).joinpath("front", name).read_text("utf-8")
