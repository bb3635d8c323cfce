"""What was meant by a word, an option or a name of ``vastnb`` that is none: other programs' names, and near misses.

`OTHER_NAMES` look only, or were written out in full, so they do what they say. Words that may spend or end something are
answered with the right one instead (`_INSTEAD`), for the user to say it himself.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from vastnb.api.commands.model import Command, Door

__all__ = ["OTHER_NAMES", "in_our_words", "name_hint", "option_hint", "word_hint"]

OTHER_NAMES: dict[str, str] = {
    "find": "search",
    "offers": "search",
    "instances": "ps",
    "list": "ps",
    "ls": "ps",
    "machines": "ps",
    "search offers": "search",
    "show instances": "ps",
    "create instance": "launch",
    "destroy instance": "destroy",
    "reboot instance": "reboot",
    "start instance": "start",
    "stop instance": "stop",
    "change bid": "bid",
    "ssh-url": "ssh",
    "bills": "spend",
    "costs": "spend",
    "invoices": "spend",
    "show invoices": "spend",
    "account": "show user",
    "balance": "show user",
    "credit": "show user",
    "templates": "show templates",
    "search templates": "show templates",
    "check": "health",
    "doctor": "health",
    "columns": "fields",
    "models": "gpus",
}
"""What other programs call our words, and ours."""

_INSTEAD: dict[str, str] = {
    "buy": "launch",
    "cheapest": "quote",
    "clear": "cache --clear",
    "compare": "quote 'gpu_name in [A, B]' --hours 1",
    "cost": "quote",
    "create": "launch",
    "delete": "destroy",
    "estimate": "quote",
    "kill": "destroy",
    "label": "launch ... --label TEXT",
    "pause": "stop",
    "price": "quote",
    "prices": "history",
    "remove": "destroy",
    "rent": "launch",
    "restart": "reboot",
    "resume": "start",
    "rm": "destroy",
    "status": "ps",
    "stop_idle": "stop",
    "terminate": "destroy",
    "copy": "put",
    "download": "get",
    "exec": "run",
    "execute": "run",
    "rsync": "put",
    "scp": "put",
    "tail": "logs",
    "upload": "put",
}
"""Other words, and the line of ours to say instead."""

_KEY = "a key goes into VAST_API_KEY or your settings file, not into a notebook; {program} config shows which is used"
_CAPS = "{program} launch ... --max-usd 5 caps a machine; the settings budget.* cap them all, see {program} config"
_SAID: dict[str, str] = {
    **dict.fromkeys(("api-key", "auth", "key", "login", "set"), _KEY),
    **dict.fromkeys(("budget", "caps", "limit"), _CAPS),
    "version": "vastnb.__version__, or vastnb --version in a shell",
}
"""Words for which we have no word, and what to do."""

_IDLE = (
    "{program} ps says which machines idle, {program} stop NAME NAME stops them, "
    "{program} launch ... --idle-minutes 30 lets one end itself"
)
_EACH = "name them: {program} {word} NAME NAME; {program} ps lists them"
_OPTION_SAID: dict[tuple[str, str], str] = {
    ("destroy", "--all"): _EACH,
    ("destroy", "--idle"): _IDLE,
    ("stop", "--all"): _EACH,
    ("stop", "--idle"): _IDLE,
}
_OPTION_INSTEAD = {
    "--gpu": "gpu_name=...",
    "--max-dph": "dph<...",
    "--max-price": "dph<...",
    "--price": "dph<...",
    "--region": "geolocation=...",
}
_NEAR = 0.75
"""Nearer than this, a name is taken for a slip of the finger."""


def in_our_words(words: Sequence[str]) -> list[str]:
    """`words` with another program's name at their beginning replaced by ours."""
    for count in (2, 1):
        ours = OTHER_NAMES.get(" ".join(words[:count]))
        if ours is not None and len(words) >= count:
            return [*ours.split(), *words[count:]]
    return list(words)


def word_hint(word: str, commands: Mapping[str, Command], door: Door) -> str:
    """What to say to a word that is no command of this door."""
    program = "%vast" if door == "notebook" else "vastnb"
    if word in _SAID:
        return _SAID[word].format(program=program)
    known = [c.word for c in commands.values() if door in c.doors]
    line = _INSTEAD.get(word, "")
    if line.split(" ", maxsplit=1)[0] not in known:
        line = OTHER_NAMES.get(_nearest(word, list(OTHER_NAMES), _NEAR)) or _nearest(word, known, 0.5)
    return f"did you mean {program} {line}?" if line else f"{program} help lists the words"


def option_hint(command: Command, name: str, commands: Mapping[str, Command], door: Door) -> str:
    """What to say to an option that `command` has not: a near one, a condition of its query, or whose it is."""
    program = "%vast" if door == "notebook" else "vastnb"
    said = _OPTION_SAID.get((command.word, name))
    if said is not None:
        return said.format(program=program, word=command.word)
    mine = _options(command)
    asks = any("query" in arg.names for arg in command.args)
    owner = next((c.word for c in commands.values() if door in c.doors and name in _options(c)), "")
    found = (
        _nearest(name, mine, _NEAR)
        or (_OPTION_INSTEAD.get(name, "") if asks else "")
        or (_condition(name) if asks else "")
        or (f"{program} {owner} ... {name}" if owner else "")
        or _nearest(name, mine, 0.5)
    )
    return f"did you mean {found}?" if found else f"{command.word} --help lists them"


def _options(command: Command) -> list[str]:
    return [name for arg in command.args for name in arg.names if name.startswith("-")]


def _condition(name: str) -> str:
    from vastnb.vast.types import asked_as

    field = name.lstrip("-").replace("-", "_")
    return f"{field}=..." if field in asked_as() else ""


def name_hint(name: str, public: Sequence[str]) -> str:
    """What to say to a name that ``vastnb`` has not: the function of the command that is called so, or a near name."""
    from vastnb.api.commands.table import COMMANDS

    if name in _SAID:
        return _SAID[name].format(program="%vast")
    near = _nearest(name, public, _NEAR)
    line = OTHER_NAMES.get(name) or _INSTEAD.get(name, name)
    command = None if near else COMMANDS.get(line.split(" ", maxsplit=1)[0])
    if command is not None and command.function:
        return f"did you mean {_call(command.function, line)}?"
    near = near or _nearest(name, public, 0.6)
    return f"did you mean vastnb.{near}?" if near else ""


def _call(function: str, line: str) -> str:
    """A public function as it is called; what an instance has is asked of one."""
    method = function.removeprefix("vastnb.Instance.")
    if method != function:
        return f"vastnb.instance(name).{method}"
    return f'{function}("{line.split()[1]}")' if line.startswith("show ") else function


def _nearest(name: str, known: Sequence[str], cutoff: float) -> str:
    return next(iter(difflib.get_close_matches(name, known, 1, cutoff)), "")
