"""The words of ``%vast`` and of the ``vastnb`` console script: two doors to one table (`table`).

A door splits a line into words (`split_line`); `run` finds the command, parses, calls its function and returns the value; the
door shows it.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from vastnb.api.commands.meant import OTHER_NAMES, OURS_ALONE, in_our_options, in_our_words, option_hint, word_hint
from vastnb.api.commands.model import Arg, Command, Door, Text, Word
from vastnb.api.commands.table import COMMANDS
from vastnb.errors import CommandError

__all__ = ["COMMANDS", "OTHER_NAMES", "Arg", "Command", "Text", "help_for", "parser_for", "run", "split_line"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        word = self.prog.split()[-1]
        raise CommandError(f"{word}: {message}", hint=f"%vast help {word}")


def parser_for(command: Command) -> argparse.ArgumentParser:
    """The argparse parser of one command."""
    parser = _Parser(prog=command.word, add_help=False, allow_abbrev=False)
    for arg in command.args:
        parser.add_argument(*arg.names, help=arg.help, **arg.options)
    return parser


def run(words: Sequence[str], door: Door) -> Any:
    """Find the command that `words` begin with, and call it.

    Raises
    ------
    CommandError
        No such word or option; the nearest is named.
    VastError
        Whatever the command's function raises.
    """
    if not words or words[0] in ("-h", "--help"):
        return help_for("", door)
    word, *rest = in_our_words(words)
    command = COMMANDS.get(word)
    if command is None or door not in command.doors:
        raise _unknown(word, door)
    rest, tail = _parted(command, rest)
    if "--help" in rest or "-h" in rest:
        return help_for(command.word, door)
    rest = in_our_options(command, rest, COMMANDS)
    _check_options(command, [*rest, *(word for word in tail if word in OURS_ALONE)], door)
    args = parser_for(command).parse_intermixed_args(rest)
    if command.tail:
        setattr(args, command.tail, tail)
    return help_for(" ".join(args.word), door) if command.call is None else command.call(args, door)


def _parted(command: Command, words: list[str]) -> tuple[list[str], list[str]]:
    """The command's own words, plain, and those of its tail, which begin with the second that is no option."""
    if not command.tail:
        return [str(word) for word in words], []
    valued = {name for arg in command.args for name in arg.names if "action" not in arg.options}
    place = seen = 0
    while place < len(words) and seen < 2:
        is_option = words[place].startswith("-")
        seen += not is_option
        if seen < 2:
            place += 2 if is_option and words[place] in valued else 1
    return [str(word) for word in words[:place]], words[place:]


def _unknown(word: str, door: Door) -> CommandError:
    if re.search(r"[=<>]", word):
        program = "%vast" if door == "notebook" else "vastnb"
        return CommandError(f"no such word: {word}", hint=f"{program} search {word} ...?")
    return CommandError(f"no such word: {word}", hint=word_hint(word, COMMANDS, door))


def _check_options(command: Command, words: Sequence[str], door: Door) -> None:
    """An unknown option is told what was meant; argparse alone would only say that it is unknown."""
    known = [name for arg in command.args for name in arg.names if name.startswith("-")]
    for word in words:
        name = word.partition("=")[0]
        if re.fullmatch(r"--?[A-Za-z][\w-]*", name) and name not in known:
            hint = option_hint(command, name, COMMANDS, door)
            raise CommandError(f"{command.word}: no such option: {name}", hint=hint)


def split_line(line: str) -> list[str]:
    """A line into words, as a shell would, but quotes and brackets inside a condition stay as written.

    ``gpu_name="RTX 4090" geolocation in [US, CA] 'num_gpus>=2 dph<1' -n`` gives ``gpu_name="RTX 4090"``, ``geolocation``,
    ``in``, ``[US, CA]``, ``num_gpus>=2 dph<1``, ``-n``.
    """
    return [Word(_unquoted(word), word) for word in re.findall(r"""(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^\s])+""", line)]


def _unquoted(word: str) -> str:
    whole = re.fullmatch(r"""(["'])(.*)\1""", word, re.DOTALL)
    return whole[2] if whole and whole[1] not in whole[2] else word


def help_for(word: str, door: Door) -> Text:
    """Help on one command, or on all."""
    if not word:
        return Text(_overview(door))
    command = COMMANDS.get(in_our_words(word.split())[0])
    if command is None or door not in command.doors:
        raise _unknown(word, door)
    return Text(_page(command, door))


def _overview(door: Door) -> str:
    program = "%vast" if door == "notebook" else "vastnb"
    mine = [c for c in COMMANDS.values() if door in c.doors]
    width = max(len(c.word) for c in mine)
    lines = [f"{program} WORD ...: the Vast.ai GPU market", ""]
    lines += [f"  {c.word:{width}}  {c.summary}" for c in sorted(mine, key=lambda c: not c.first)]
    example = (
        "df = %vast search gpu_name=RTX_4090 num_gpus>=2"
        if door == "notebook"
        else "vastnb search 'gpu_name=RTX_4090 num_gpus>=2' --csv"
    )
    return "\n".join([*lines, "", f"{program} WORD --help says more.  Begin with: {example}"])


def _page(command: Command, door: Door) -> str:
    program = "%vast" if door == "notebook" else "vastnb"
    shown = [arg for arg in command.args if arg.help is not argparse.SUPPRESS]
    lines = [f"{program} {command.word}: {command.summary}", ""]
    names = [", ".join(arg.names) for arg in shown]
    width = max(map(len, names), default=0)
    lines += [f"  {name:{width}}  {arg.help}" for name, arg in zip(names, shown, strict=True)]
    if command.details:
        lines += ["", inspect.cleandoc(command.details)]
    if command.examples:
        lines += ["", "Examples:", *(f"  {example}" for example in command.examples)]
    if command.function:
        lines += ["", f"The same as a function: {command.function}"]
    return "\n".join(lines)
