"""Names that a public function or object has not: refused with the one that was meant, a value too many with the names."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Collection
from typing import ParamSpec, TypeVar

from vastnb.errors import InputError

__all__ = ["only_known", "unknown_argument", "unknown_attribute"]

P = ParamSpec("P")
R = TypeVar("R")

_INSTEAD = {
    "bid": 'rental="bid"',
    "disk": "disk_gb",
    "download": "fetch",
    "hours": "vastnb.quote(..., hours=...)",
    "interruptible": 'rental="bid"',
    "max_usd": "vastnb.launch(..., max_usd=...), which copies count against",
    "n": "limit",
    "sort": "order",
    "sort_by": "order",
    "storage": "disk_gb",
    "timeout": "timeout_s",
    "type": "rental",
}
"""Names that other programs have for it, and ours."""
_MEMBERS = {
    "delete": "destroy()",
    "download": "get(...)",
    "exec": "run(...)",
    "execute": "run(...)",
    "forward": "ssh_command: with -L 8080:localhost:8080 behind it, it forwards a port; launch(..., ports=[8080]) opens one",
    "kill": "stop()",
    "logs": "log(); wait() shows what comes",
    "on_outbid": 'vastnb.launch(..., on_outbid="move")',
    "pull": "get(...)",
    "push": "put(...)",
    "run_python": "cell(..., push={...}, pull=[...])",
    "ssh": "ssh_command",
    "stats": "health()",
    "status": "state",
    "submit": "run(..., detach=True)",
    "sync": "keep(...)",
    "syncs": "keeps()",
    "terminate": "destroy()",
    "top": "health()",
    "upload": "put(...)",
}
"""The same for what a machine and a job have."""


def only_known(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which answers an argument that it has not with an `InputError` instead of Python's ``TypeError``."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    known = frozenset((*positional, *named))

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not known.issuperset(kwargs):
            raise unknown_argument(function.__name__, min(set(kwargs) - known), known)
        if len(args) > len(positional):
            names = ", ".join(name for name in positional if name != "self")
            taken = f"takes {names}" if names else "takes names only"
            raise InputError(
                f"{function.__name__} {taken}, got {len(args)} values",
                hint=f"give by name: {', '.join(f'{name}=...' for name in named)}",
            )
        return function(*args, **kwargs)

    return checked


def unknown_argument(function: str, name: str, known: Collection[str]) -> InputError:
    """The error for an argument that `function` has not."""
    meant = _meant(name, known)
    return InputError(f"{function} has no argument {name}", hint=f"did you mean {meant}?" if meant else None)


def unknown_attribute(owner: object, name: str) -> AttributeError:
    """The error for something that `owner` has not; what Python and IPython probe for is nobody's guess."""
    there = [known for known in dir(type(owner)) if not known.startswith("_")]
    meant = _MEMBERS.get(name) or next(iter(difflib.get_close_matches(name, there, 1, 0.75)), "")
    said = f"{type(owner).__name__!r} object has no attribute {name!r}"
    return AttributeError(said if name.startswith("_") or not meant else f"{said}; did you mean {meant}?")


def _meant(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1, 0.75)
    if near or (name in _INSTEAD and _INSTEAD[name] in known):
        return near[0] if near else _INSTEAD[name]
    if "query" in known and _is_field(name):
        return f'"{name}=..." in the query'
    return _INSTEAD.get(name) or next(iter(difflib.get_close_matches(name, sorted(known), 1, 0.5)), "")


def _is_field(name: str) -> bool:
    from vastnb.vast.types import asked_as

    return name in asked_as()
