"""The shell door: ``vastnb WORD ...``, the same words as ``%vast``.

A frame is printed as a table, as JSON (``--json``) or as CSV (``--csv``). An error is one line and a hint on stderr, and exit
status 1, which a report that is unhealthy has too; a word or option that does not exist is exit status 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from vastnb.api.commands import run
from vastnb.errors import CommandError, VastError
from vastnb.services import notices

__all__ = ["main"]

_FORMS = ("--json", "--csv")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and print what it returns.

    Parameters
    ----------
    argv
        Words after the program's name; None means those of this process.

    Returns
    -------
    int
        The exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    forms = [word for word in words if word in _FORMS]
    try:
        _tell_of_waits()
        value = run(_without_version(word for word in words if word not in _FORMS), "shell")
        _print(value, forms[-1] if forms else "")
        return getattr(value, "exit_status", 0)
    except VastError as error:
        print(
            f"{type(error).__name__}: {error}",
            *([f"  → {error.hint}"] if error.hint else []),
            sep="\n",
            file=sys.stderr,
        )
        return 2 if isinstance(error, CommandError) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _tell_of_waits() -> None:
    notices.announce = lambda wait: print(f"waiting {wait.seconds:.0f} s: {wait.reason}", file=sys.stderr)
    notices.show_progress = lambda progress: print(progress, file=sys.stderr)
    notices.show_output = _show_output


def _show_output(stream: str, text: str) -> None:
    print(text, end="", flush=True, file=sys.stderr if stream == "stderr" else sys.stdout)


def _without_version(words: Any) -> list[str]:
    from vastnb.version import __version__

    rest = list(words)
    if rest[:1] == ["--version"]:
        print(f"vastnb {__version__}")
        raise SystemExit(0)
    return rest


def _print(value: Any, form: str) -> None:
    if value is None:
        return
    if not hasattr(value, "columns"):
        print(value.to_json() if form == "--json" and hasattr(value, "to_json") else value)
        return
    if form == "--json":
        print(value.to_json(orient="records", date_format="iso", indent=1))
    elif form == "--csv":
        print(value.to_csv(index=False), end="")
    else:
        from vastnb.vast import render

        print(render.frame_text(value) if render.is_ours(value) else value.to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
