"""The notebook door: ``%vast``, ``%%vast``, and how our frames look.

The magic splits a line, calls one command and returns its value, so ``df = %vast search ...`` and ``_`` work. A trailing
``;`` hides the display and nothing else. In ``%%vast`` the cell's body is more of the query; ``$name`` and ``{expr}`` are
expanded on the line and never in the body.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vastnb.api import completion
from vastnb.api.cells import show_message
from vastnb.api.commands import COMMANDS, run, split_line
from vastnb.api.commands.meant import in_our_words
from vastnb.errors import CommandError
from vastnb.services import notices

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_FRAME = ("pandas", "DataFrame")
_before: dict[str, Any] = {}
_last_cell: list[str] = [""]
_warming: list[Callable[..., None]] = []


def load_ipython_extension(ip: InteractiveShell) -> None:
    """``%load_ext vastnb``: register ``%vast``, ``%%vast``, their completion and our frames' look. Again changes nothing."""
    unload_ipython_extension(ip)
    ip.magics_manager.register_function(_Magic(ip), "line_cell", "vast")
    completion.register(ip)
    ip.events.register("pre_run_cell", _remember_cell)
    for mime, show in (("text/html", _html), ("text/plain", _text)):
        _before[mime] = _look(_formatter(ip, mime), show)
    notices.announce, notices.show_progress, notices.show_output = _show_wait, _ProgressLine(), _show_output
    notices.show_message = show_message
    _warm_up_after(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """``%unload_ext vastnb``: take back what `load_ipython_extension` did."""
    ip.magics_manager.magics["line"].pop("vast", None)
    ip.magics_manager.magics["cell"].pop("vast", None)
    completion.unregister(ip)
    notices.announce = notices.show_progress = notices.show_output = notices.show_message = None
    if _remember_cell in ip.events.callbacks["pre_run_cell"]:
        ip.events.unregister("pre_run_cell", _remember_cell)
    for mime, before in list(_before.items()):
        formatter = _formatter(ip, mime)
        formatter.pop(".".join(_FRAME), None)
        if before is not None:
            _look(formatter, before)
        del _before[mime]
    for start in _warming:
        ip.events.unregister("post_run_cell", start)
    _warming.clear()


def _formatter(ip: InteractiveShell, mime: str) -> Any:
    return ip.display_formatter.formatters[mime] if ip.display_formatter is not None else {}


def _look(formatter: Any, show: Any) -> Any:
    """Show frames by `show` from now on; what showed them before. Does not import pandas to do so."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return formatter.for_type_by_name(*_FRAME, show)
    return formatter.for_type(pandas.DataFrame, show)


def _remember_cell(info: Any) -> None:
    _last_cell[0] = info.raw_cell or ""


class _Magic:
    """``%vast``: the words of the table of commands."""

    def __init__(self, ip: InteractiveShell) -> None:
        self.__name__ = "vast"
        self.__doc__ = "The Vast.ai GPU market. %vast help lists the words."
        self._ip = ip

    def __call__(self, line: str, cell: str | None = None) -> Any:
        quiet = cell is None and line.rstrip().endswith(";")
        words = split_line(line.rstrip().rstrip(";") if quiet else line)
        if cell is not None:
            words = _with_body(in_our_words(words) or ["search"], cell)
        value = run(words, "notebook")
        if quiet:
            self._hide_display()
        return value

    def _hide_display(self) -> None:
        """What IPython does for a ``;`` it sees itself: it does not see one inside a magic's line."""
        if not _last_cell[0].rstrip().endswith(";"):
            return
        hook, events = self._ip.displayhook, self._ip.events
        hook.__dict__["quiet"] = lambda: True

        def show_again(*_: object) -> None:
            hook.__dict__.pop("quiet", None)
            events.unregister("post_run_cell", show_again)

        events.register("post_run_cell", show_again)


def _show_wait(wait: Any) -> None:
    """A line in the cell that waits; a background thread shows nothing."""
    if wait.seconds >= 1 and threading.current_thread() is threading.main_thread():
        sys.stdout.write(f"Waiting {wait.seconds:.0f} s: {wait.reason}.\n")
        sys.stdout.flush()


def _show_output(stream: str, text: str) -> None:
    """What a command on a machine prints, in the cell that waits for it; a background thread shows nothing."""
    if threading.current_thread() is threading.main_thread():
        out = sys.stderr if stream == "stderr" else sys.stdout
        out.write(text)
        out.flush()


class _ProgressLine:
    """How far a machine is, in one line of the cell that waits for it, which changes until the last is told."""

    def __init__(self) -> None:
        self._shown: Any = None

    def __call__(self, progress: Any) -> None:
        """Show it; a background thread shows nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        from IPython.display import display

        line = {"text/plain": str(progress)}
        if self._shown is None:
            self._shown = display(line, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._shown.update(line, raw=True)
        if progress.is_last:
            self._shown = None


def _warm_up_after(ip: InteractiveShell) -> None:
    """Load what the first search needs while the user reads on: in the background, and not before this cell has ended."""

    def start(*_: object) -> None:
        ip.events.unregister("post_run_cell", start)
        _warming.clear()
        threading.Thread(target=_warm_up, daemon=True, name="vastnb-warm-up").start()

    _warming.append(start)
    ip.events.register("post_run_cell", start)


def _warm_up() -> None:
    """Without pandas: it asks while it is imported whether a notebook runs it, and outside a cell takes that for a terminal."""
    for name in ("numpy", "vastnb.services.session", "vastnb.infra.cache.local"):
        try:
            importlib.import_module(name)
        except ImportError:  # the first search will say it where somebody reads it
            return


def _with_body(words: list[str], cell: str) -> list[str]:
    """The words with a cell as more of them: whole for an option, or line by line, without blank ones and ``#`` comments."""
    command = COMMANDS.get(words[0])
    if command is not None and command.body:
        place = 1 if command.tail else len(words)  # behind the first word of a tail it would be another's option
        return [*words[:place], f"{command.body}={cell}", *words[place:]]
    if command is not None and not any("query" in arg.names for arg in command.args):
        raise CommandError(f"{words[0]} takes no cell", hint=f"write %vast {words[0]} with one %")
    lines = (line.partition(" #")[0].strip() for line in cell.splitlines())
    return [*words, *(word for line in lines if line and not line.startswith("#") for word in split_line(line))]


def _html(frame: Any) -> Any:
    return _shown(frame, "frame_html", "text/html", frame._repr_html_)


def _text(frame: Any, printer: Any, cycle: bool) -> None:
    shown = _shown(frame, "frame_text", "text/plain", lambda: None, printer, cycle)
    if shown is not None:
        printer.text(shown)


def _shown(frame: Any, ours: str, mime: str, theirs: Callable[[], Any], *printing: Any) -> Any:
    """Our table for a frame of ours; for any other what would have been shown without us."""
    from vastnb.services.session import display_style
    from vastnb.vast import render

    if render.is_ours(frame) and display_style() == "vastnb":
        return getattr(render, ours)(frame)
    before = _before.get(mime)
    if before is not None:
        return before(frame, *printing)
    if printing:
        printing[0].text(repr(frame))
        return None
    return theirs()
