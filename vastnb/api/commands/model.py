"""What a command is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

__all__ = ["Arg", "Command", "Door", "Text", "Word", "arg"]

Door = Literal["notebook", "shell"]


class Text(str):
    """Words to be read, shown as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Word(str):
    """A word of a line without the quotes around it, and how it was written."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, text: str, written: str) -> Self:
        """A word."""
        made = super().__new__(cls, text)
        made.written = written
        return made


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument: names as for `argparse`, and its help."""

    names: tuple[str, ...]
    help: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """One word, and what it does."""

    word: str
    summary: str
    call: Callable[[argparse.Namespace, Door], Any] | None
    """None for ``help``, which needs the whole table."""
    args: tuple[Arg, ...] = ()
    function: str = ""
    """The public function that does the same."""
    examples: tuple[str, ...] = ()
    details: str = ""
    doors: tuple[Door, ...] = ("notebook", "shell")
    first: bool = False
    """Whether it is among the words that help shows first."""
    tail: str = ""
    """The argument that takes every word from its first on, whatever looks like an option: somebody else's command."""
    body: str = ""
    """The option that takes a cell's body whole; a command without one reads it as more of its query, if it has one."""


def arg(*names: str, help: str, **options: Any) -> Arg:
    """An `Arg`, written shortly."""
    return Arg(names, help, options)
