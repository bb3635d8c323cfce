"""What was meant by a word, an option or a name of ``vastnb`` that is none: other programs' names, and near misses.

`OTHER_NAMES` can mean one thing only, so they do it. Words that may end something, or mean several things, are answered with the
right one instead (`_INSTEAD`, `_SAID`), for the user to say it himself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from vastnb.api.commands.model import Command, Door

__all__ = ["OTHER_NAMES", "OURS_ALONE", "in_our_options", "in_our_words", "name_hint", "option_hint", "word_hint"]

OTHER_NAMES: dict[str, str] = {
    "find": "search",
    "offers": "search",
    "instances": "ps",
    "list": "ps",
    "ls": "ps",
    "machines": "ps",
    "search offers": "search",
    "show instances": "ps",
    "rent": "launch",
    "create instance": "launch",
    "destroy instance": "destroy",
    "reboot instance": "reboot",
    "start instance": "start",
    "stop instance": "stop",
    "change bid": "bid",
    "ssh-url": "ssh",
    "ssh-config": "ssh --config",
    "bash": "run --shell",
    "exec": "run",
    "execute": "run",
    "job": "run --detach",
    "submit": "run --detach",
    "upload": "put",
    "download": "get",
    "top": "health",
    "syncs": "keeps",
    "bills": "spend",
    "costs": "spend",
    "invoices": "spend",
    "spending": "spend",
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
    "label": "launch ... --label TEXT",
    "pause": "stop",
    "price": "quote",
    "prices": "history",
    "remove": "destroy",
    "restart": "reboot",
    "resume": "start",
    "rm": "destroy",
    "status": "ps",
    "stop_idle": "stop",
    "terminate": "destroy",
    "copy": "put",
    "rsync": "put",
    "scp": "put",
    "tail": "logs",
}
"""Other words, and the line of ours to say instead."""

_KEY = "a key goes into VAST_API_KEY or your settings file, not into a notebook; {program} config shows which is used"
_CAPS = "{program} launch ... --max-usd 5 caps a machine; the settings budget.* cap them all, see {program} config"
_PORT = (
    "{program} launch ... --port 8080 opens one; {program} ssh NAME is the command to which you can add "
    "-L 8080:localhost:8080 for one of a machine that runs"
)
_KEEP = (
    "{program} keep NAME FOLDER --to FOLDER --every 10min copies home again and again; vastnb sync, in a shell, watches"
)
_SAID: dict[str, str] = {
    **dict.fromkeys(("api-key", "api_key", "auth", "key", "login", "set", "set_api_key"), _KEY),
    **dict.fromkeys(("budget", "caps", "limit"), _CAPS),
    **dict.fromkeys(("forward", "port", "ports", "tunnel"), _PORT),
    "kill": "{program} jobs NAME JOB --stop ends a job, {program} stop or destroy NAME a machine",
    "pip": "{program} run NAME pip install ...",
    **dict.fromkeys(("backup", "sync"), _KEEP),
    "version": "vastnb.__version__, or vastnb --version in a shell",
}
"""Words for which we have no word, and what to do."""

_IDLE = (
    "{program} ps says which machines idle, {program} stop NAME NAME stops them, "
    "{program} launch ... --idle-minutes 30 lets one end itself"
)
_EACH = "name them: {program} {word} NAME NAME; {program} ps lists them"
_TRAFFIC = "{program} launch ... --max-usd 5 caps it: a copy whose traffic costs more than the cap leaves is refused"
_OPTION_SAID: dict[tuple[str, str], str] = {
    ("destroy", "--all"): _EACH,
    ("destroy", "--idle"): _IDLE,
    **dict.fromkeys([(word, cap) for word in ("put", "get") for cap in ("--max-cost", "--max-usd")], _TRAFFIC),
    ("run", "--on-outbid"): "did you mean {program} launch ... --on-outbid move, and i.keep(..., job=job)?",
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
OURS_ALONE = ("--on-outbid",)
"""Options that no program of a machine has: behind its command they were meant for us."""
_NEAR = 0.75
"""Nearer than this, a name is taken for a slip of the finger."""


def in_our_words(words: Sequence[str]) -> list[str]:
    """`words` with another program's name at their beginning replaced by ours."""
    for count in (2, 1):
        ours = OTHER_NAMES.get(" ".join(words[:count]))
        if ours is not None and len(words) >= count:
            return [*ours.split(), *words[count:]]
    return list(words)


def in_our_options(command: Command, words: Sequence[str], commands: Mapping[str, Command]) -> list[str]:
    """`words` with what is written as an argument of a function, ``hours=3``, or is only a time, ``3h``, as options.

    What may be a condition of a query stays one. What is an option elsewhere becomes one too, so that it is refused with its hint.
    """
    mine, found = _options(command), list[str]()
    theirs = {name for c in commands.values() for name in _options(c)} if "--type" in mine else set()
    theirs.update(name for word, name in _OPTION_SAID if word == command.word)
    flags = {name for arg in command.args for name in arg.names if "action" in arg.options}
    for word in words:
        is_value = bool(found) and found[-1] in mine and found[-1] not in flags
        option, value = ("", "") if is_value else _as_argument(word) or _as_time(word, mine)
        if option in flags and value.lower() in ("true", "false"):
            found += [option] if value.lower() == "true" else []
        else:
            found += [option, value] if option in mine or option in theirs else [word]
    return found


def _as_argument(word: str) -> tuple[str, str] | None:
    from vastnb.vast.types import asked_as

    written = re.fullmatch(r"""([a-z_]+)=(["']?)([^=].*)\2""", word)
    if written is None or written[1] in asked_as():
        return None
    return f"--{written[1].removesuffix('_gb').replace('_', '-')}", written[3]


def _as_time(word: str, options: Sequence[str]) -> tuple[str, str]:
    from vastnb.vast.query import seconds_of

    unit = next((unit for unit in ("--hours", "--days") if unit in options), "")
    if not unit or re.fullmatch(r"\d+(\.\d+)?[a-z]+", word) is None:
        return "", ""
    try:
        return unit, f"{seconds_of(word) / (3600 if unit == '--hours' else 86_400):g}"
    except ValueError:
        return "", ""


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
