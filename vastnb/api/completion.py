"""Tab completion: what can stand at the cursor of a ``%vast`` line, a ``df = %vast ...`` line or a ``%%vast`` cell.

IPython asks in the kernel's main thread while the user waits, so the answers come from our own tables and from the names of
profiles and machines in files of ours: nothing here asks the network, or imports pandas, httpx or pydantic. What it imports, it
imports with the first Tab, not with ``%load_ext``. The order of work:

1. `_place` finds the line that the cursor is in; the body of a cell so far counts as one line.
2. `completions` finds the command, `_argument` which of its arguments stands under the cursor.
3. `_ANSWERS` says what that may be, by the argument's name. One more kind of argument is one more entry there.
4. `_matcher` hands it to IPython in place of whatever Python would offer there.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from vastnb.api.commands import COMMANDS, Arg, Command

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.core.completer import CompletionContext
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["completions", "register", "unregister"]

Found = tuple[str, list[str]]
"""The characters before the cursor that are replaced, and what may replace them."""

_IDENTIFIER = "vastnb.words"
_LINE = re.compile(r"(?:[^=#%]+=)?\s*%(?P<cell>%)?vast\s+(?P<words>.*)", re.DOTALL)
_COMMENT = re.compile(r"(?:^\s*| )#")
_EXPANDED = re.compile(r"\$\w*$|\{[^}]*$")
"""Python's own names belong here: ``$name`` and ``{expr}`` are expanded on a line, though not in a body."""
_OPTION = re.compile(r"(?<!\S)-[\w-]*$")
_OPTION_VALUE = re.compile(r"(?<!\S)(?P<name>--?[A-Za-z][\w-]*)(?:=|\s+)(?P<typed>\S*)$")
_FIELD = re.compile(r"(?:^|(?<=[\s,&\"']))\w*$")
_NAMED = re.compile(r"(?:^|(?<=[\s,&\"']))(?P<name>\w+)\s+(?P<typed>[=<>!]+|[a-z]*)$", re.IGNORECASE)
_OF_SHELL = "shell:"
"""How the help of an option begins that does nothing in a notebook."""

_PROFILES = ("sandbox", "development", "staging", "production")
_SETTINGS: dict[str, tuple[str, ...]] = {
    "url": (),
    "timeout_s": (),
    "retries": (),
    "display": ("vastnb", "pandas"),
    "pacing": ("on", "off"),
    "cache.backend": ("sqlite", "memory", "redis", "off"),
    "cache.offers_ttl_s": (),
    "cache.catalogue_ttl_s": (),
    "cache.account_ttl_s": (),
    "cache.stale_if_error_s": (),
    "cache.max_mb": (),
    "budget.max_usd_per_hour": (),
    "budget.max_usd_per_day": (),
    "budget.max_usd_total": (),
    "history.enabled": ("true", "false"),
    "history.max_mb": (),
    "history.url": (),
    "sandbox.offers": (),
    "sandbox.seed": (),
    "sandbox.start": (),
    "sandbox.strict": ("true", "false"),
    "sandbox.machines": ("true", "false"),
}
"""Every setting of `vastnb.infra.config` and the values of those with few, written out since that module needs pydantic; a
test compares the two. Without secrets such as ``api_key``: they do not belong in a notebook."""
_LARGEST_FILE = 1_000_000

_FLAGS = ("true", "false")
_TEXTS: dict[str, tuple[str, ...]] = {
    "verification": ("verified", "unverified", "deverified"),
    "cpu_arch": ("amd64", "arm64"),
    "gpu_arch": ("nvidia", "amd"),
}
_MANY = ("=", "!=", "in [", "notin [")
_SORTED = (">=", "<=", "=", "<", ">", "!=", "in [", "notin [")
_OPERATORS_OF: dict[str, tuple[str, ...]] = {
    "number": _SORTED, "integer": _SORTED, "offer": _SORTED, "version": _SORTED, "share": (">=", "<=", ">", "<"),
    "flag": ("=", "!="),
}  # fmt: skip
"""By the kind of a field; the likeliest first. A kind that is not here has no order: `_MANY`."""


def completions(line_before_cursor: str, *, body: bool, word: str = "search") -> Found:
    """What may stand at the cursor.

    Parameters
    ----------
    line_before_cursor
        The line as typed, up to the cursor: ``df = %vast search geo``, or the first line of a ``%%vast`` cell. Of a body all
        that stands before the cursor, in one line.
    body
        Whether it is the body of a ``%%vast`` cell.
    word
        The command of that cell.

    Returns
    -------
    tuple
        The last characters of the line, which are to be replaced, and their replacements, the likeliest first. A line that
        is not ours has none.
    """
    line = f"%%vast {word} {line_before_cursor}" if body else line_before_cursor
    ours = _LINE.fullmatch(line)
    if ours is None or (body and _COMMENT.search(line_before_cursor)):
        return "", []
    first = (ours["words"].split() or [""])[0]
    if first == ours["words"]:
        return first, _beginning(_words(of_cell=bool(ours["cell"])), first)
    command = COMMANDS.get(first)
    if command is None or "notebook" not in command.doors:
        return "", []
    return _argument(command, ours["words"].removeprefix(first))


def _words(*, of_cell: bool = False) -> list[str]:
    """The words of a notebook, those that help shows first in front; of a cell, those that do something with its body."""
    mine = sorted((c for c in COMMANDS.values() if "notebook" in c.doors), key=lambda c: not c.first)
    return [c.word for c in mine if not of_cell or c.body or any("query" in arg.names for arg in c.args)]


def _beginning(words: Iterable[str], typed: str) -> list[str]:
    return [word for word in words if word.lower().startswith(typed.lower())]


def _argument(command: Command, rest: str) -> Found:
    """`rest` is what stands behind the command's word, up to the cursor."""
    options = dict(_options(command))
    opened = _OPTION_VALUE.search(rest)
    if opened and opened["name"] in options and _takes_value(options[opened["name"]]):
        return _answer(command, options[opened["name"]].names, opened["typed"])
    if option := _OPTION.search(rest):
        return option[0], _beginning([*options, "--help"], option[0])
    rest = _without_options(rest, options)
    places = [arg for arg in command.args if not arg.names[0].startswith("-")]
    finished = len(rest.removesuffix(_last_word(rest)).split())
    fragment, found = _answer(command, places[min(finished, len(places) - 1)].names, rest) if places else ("", [])
    return fragment, found if rest.strip() else [*found, *(name for name in options if name.startswith("--"))]


def _last_word(text: str) -> str:
    """What stands behind the last blank; nothing behind a blank at the end."""
    return text[len(re.sub(r"\S*$", "", text)) :]


def _options(command: Command) -> Iterator[tuple[str, Arg]]:
    for arg in command.args:
        if arg.help is not argparse.SUPPRESS and not arg.help.startswith(_OF_SHELL):
            yield from ((name, arg) for name in arg.names if name.startswith("-"))


def _takes_value(option: Arg) -> bool:
    return "action" not in option.options


def _without_options(rest: str, options: dict[str, Arg]) -> str:
    """Flags, and options with their values, say nothing about the words around them."""
    valued = "|".join(re.escape(name) for name, option in options.items() if _takes_value(option))
    rest = re.sub(rf"(?<!\S)(?:{valued})(?:=|\s+)\S+(?=\s)", "", rest) if valued else rest
    return re.sub(r"(?<!\S)--?[A-Za-z][\w-]*(?=\s)", "", rest)


def _answer(command: Command, names: tuple[str, ...], text: str) -> Found:
    keys = (key for name in names for key in (f"{command.word} {name}", name))
    return next((_ANSWERS[key](text) for key in keys if key in _ANSWERS), ("", []))


def _setting(text: str) -> Found:
    """``name=value`` behind the profile; the sandbox's own settings need no table in front of them there."""
    typed = _last_word(text)
    own = {name.removeprefix("sandbox."): values for name, values in _SETTINGS.items() if name.startswith("sandbox.")}
    known = {**own, **_SETTINGS} if text.split()[:1] == ["sandbox"] else _SETTINGS
    name, equals, value = typed.partition("=")
    if equals:
        return value, _beginning(known.get(name, ()), value)
    return typed, _beginning([f"{name}=" for name in known], typed)


def _profiles() -> list[str]:
    """The built-in profiles and those of the settings files; of a file only names are read, so it needs no trust."""
    named = [name for file in _settings_files() for name in _profiles_of(file)]
    return list(dict.fromkeys([*_PROFILES, *named]))


def _settings_files() -> Iterator[Path]:
    """As `vastnb.infra.config` finds them, which needs pydantic; a test compares the two."""
    from pathlib import Path

    import platformdirs

    yield Path("vastnb.toml")
    named = os.environ.get("VASTNB_CONFIG")
    yield Path(named).expanduser() if named else platformdirs.user_config_path("vastnb") / "config.toml"


def _profiles_of(file: Path) -> list[str]:
    import tomllib

    try:
        if not file.is_file() or file.stat().st_size > _LARGEST_FILE:
            return []
        profiles = tomllib.loads(file.read_text("utf-8")).get("profiles")
    except (OSError, ValueError):
        return []
    return [name for name in profiles if re.fullmatch(r"[\w.-]+", name)] if isinstance(profiles, dict) else []


def _faults() -> list[str]:
    """A fault is named where a sandbox runs, and there its module is loaded."""
    loaded = sys.modules.get("vastnb.sandbox.faults")
    return ["list", *(loaded.Faults.names() if loaded is not None else ())]


def _machines() -> list[str]:
    """Names of living machines, from the record on disk; only where this kernel has a session, for it says which record."""
    session = sys.modules.get("vastnb.services.session")
    there = session.in_force() if session is not None else None
    if there is None:
        return []
    from vastnb.errors import StateError
    from vastnb.services.journal import Journal

    file = there.client.state_folder / "journal.sqlite"
    try:
        rows = Journal(file, there.client.account).rows("created") if file.exists() else []
    except StateError:
        return []
    return sorted({row.name or str(row.instance_id) for row in rows})


def _pushed(text: str) -> Found:
    """The notebook's variables, joined by commas. Modules and functions are no values."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    *done, typed = text.split(",")
    names = shell.user_ns.keys() - shell.user_ns_hidden.keys() - set(done)
    values = sorted(name for name in names if not isinstance(shell.user_ns[name], (ModuleType, FunctionType, type)))
    return typed, [name for name in _beginning(values, typed) if typed or not name.startswith("_")]


def _rentals() -> Iterable[str]:
    from vastnb.vast.query import RENTALS

    return dict.fromkeys(RENTALS.values())


def _order(text: str) -> Found:
    """Columns, joined by commas; behind a whole name also ``-`` for descending."""
    typed = text.rpartition(",")[2].lstrip("+-\"'")
    short, every = _sortable()
    if not typed:
        return typed, list(short)
    return typed, [
        *([typed, f"{typed}-"] if typed in every else []),
        *(n for n in _beginning(every, typed) if n != typed),
    ]


@lru_cache(maxsize=1)
def _sortable() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The pinned columns that the service sorts by, and every name it sorts by."""
    from vastnb.errors import QueryError
    from vastnb.vast.query.options import order_of
    from vastnb.vast.types import FIELDS, OFFERS, asked_as

    names = asked_as()

    def is_sortable(name: str) -> bool:
        try:
            return bool(order_of(name, names))
        except QueryError:
            return False

    every = [n for n in dict.fromkeys([*(c.name for c in (*OFFERS, *FIELDS)), *names]) if is_sortable(n)]
    return tuple(c.name for c in OFFERS if c.name in every), tuple(every)


def _query(text: str) -> Found:
    """A name, an operator or a value, whichever the last condition of `text` ends in."""
    lists, values = _patterns()
    if opened := lists.search(text):
        return _item(opened["name"], opened["items"])
    if (opened := values.search(text)) and not _is_next(opened):
        return _value(opened["name"], opened["operator"].lower(), opened["quote"] or "", opened["typed"])
    named = _NAMED.search(text)
    if named and named["name"].lower() in _kinds():
        return named["typed"], _beginning(_operators(named["name"]), named["typed"])
    field = _FIELD.search(text)
    return (field[0], _fields(field[0])) if field else ("", [])


def _is_next(opened: re.Match[str]) -> bool:
    """Whether a comma has ended the value, and the next condition begins."""
    return "," in opened["typed"] and not opened["quote"] and not opened["operator"].lower().endswith("in")


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A list that is still open, and a value."""
    from vastnb.vast.query.scan import OPERATORS

    spelt = sorted((o.replace(" ", r"\s+") for o in OPERATORS if o[0].isalpha()), key=len, reverse=True)
    operator = rf"\s*(?P<operator>[=<>!]+|(?<!\w)(?:{'|'.join(spelt)})(?=[\s\[\"']))\s*"
    name = r"(?<!\w)(?P<name>[A-Za-z_]\w*)"
    typed = r"(?P<quote>[\"'])?(?P<typed>(?(quote)[^\"']*|[^\s\"'=<>!\[\]]*))"
    return (
        re.compile(rf"{name}{operator}\[(?P<items>[^\]]*)$", re.IGNORECASE),
        re.compile(rf"{name}{operator}{typed}$", re.IGNORECASE),
    )


def _item(name: str, items: str) -> Found:
    *done, last = items.split(",")
    typed = last.lstrip()
    taken = {_plain(item) for item in done}
    found = _values(name, typed.lstrip("\"'"), quoted=typed[:1] in ("'", '"'))
    return typed.lstrip("\"'"), [value for value in found if _plain(value) not in taken]


def _plain(item: str) -> str:
    return item.strip(" \"'").replace("_", " ").lower()


def _value(name: str, operator: str, quote: str, typed: str) -> Found:
    if operator.endswith("in") and not quote:
        return _item(name, typed)
    more = ("any",) if operator in ("=", "==") and _kinds().get(name.lower()) in ("flag", "verification") else ()
    return typed, [*_values(name, typed, quoted=bool(quote)), *_beginning(more, typed)]


def _values(name: str, typed: str, *, quoted: bool = False) -> list[str]:
    """The values that a field may have, as far as they can be known."""
    from vastnb.vast.query import GPU_NAMES, REGIONS
    from vastnb.vast.query.names import gpu_suggestions

    kind = _kinds().get(name.lower(), "")
    if kind == "gpu":
        names = _beginning(GPU_NAMES, typed.replace("_", " ")) or gpu_suggestions(typed)
        return names if quoted else [gpu.replace(" ", "_") for gpu in names]
    if kind == "country":
        return _beginning(_countries(), typed) or _countries_called(typed)
    return _beginning({"flag": _FLAGS, "region": tuple(REGIONS), **_TEXTS}.get(kind, ()), typed)


@lru_cache(maxsize=1)
def _countries() -> list[str]:
    """Every country, those with much on the market first."""
    from vastnb.vast.query.names import COUNTRY_NAMES, REGIONS

    named = set(COUNTRY_NAMES.values())
    return sorted({code for codes in REGIONS.values() for code in codes}, key=lambda code: (code not in named, code))


def _countries_called(typed: str) -> list[str]:
    """``ger`` is DE."""
    from vastnb.vast.query.names import COUNTRY_NAMES

    called = (code for name, code in COUNTRY_NAMES.items() if name.startswith(typed.lower().replace("_", " ")))
    return list(dict.fromkeys(called))


@lru_cache(maxsize=1)
def _kinds() -> dict[str, str]:
    """Every name that a query may use, and its kind; a text whose values are known is a kind of its own."""
    from vastnb.vast.types import asked_as

    kinds = {name: column.ask.kind for name, column in asked_as().items() if column.ask is not None}
    return kinds | {name: name for name in _TEXTS} | {"verified": "flag", "region": "region", "cpu_ram_gb": "share"}


def _operators(name: str) -> tuple[str, ...]:
    return _OPERATORS_OF.get(_kinds()[name.lower()], _MANY)


def _fields(typed: str) -> list[str]:
    """Names, with ``=`` where little else is asked; a whole name comes with each of its operators."""
    from vastnb.vast.types import FIELDS, OFFERS

    if not typed:
        asked = (c.ask.field for c in (*OFFERS, *FIELDS) if c.ask is not None and c.ask.kind != "offer")
        return [_begun(name) for name in dict.fromkeys((*asked, "verified", "region", "cpu_ram_gb"))]
    names = _beginning(_kinds(), typed)
    operators = _operators(typed) if typed in names else ()
    whole = [f"{typed} {operator}" if operator[0].isalpha() else f"{typed}{operator}" for operator in operators]
    return [*whole, *(_begun(name) for name in names if name != typed)]


def _begun(name: str) -> str:
    return name if _kinds()[name] in _OPERATORS_OF and _kinds()[name] != "flag" else f"{name}="


def _one_of(words: Callable[[], Iterable[str]]) -> Callable[[str], Found]:
    """The answer where one of `words` may stand."""

    def answer(text: str) -> Found:
        typed = _last_word(text)
        return typed, _beginning(words(), typed)

    return answer


_ANSWERS: dict[str, Callable[[str], Found]] = {
    "query": _query,
    "--order": _order,
    "--type": _one_of(_rentals),
    "--fault": _one_of(_faults),
    "--push": _pushed,
    "machine": _one_of(_machines),
    "use profile": _one_of(_profiles),
    "use settings": _setting,
    "help word": _one_of(_words),
    "fields word": _one_of(_kinds),
}
"""What may stand there, by an argument's name, or by the command's word and that; given is the text up to the cursor."""


class _Place(NamedTuple):
    """The arguments of `completions`."""

    line: str
    body: bool = False
    word: str = "search"


class _Nothing:
    """No answer, and nobody else's: IPython silences Python's names only beside an answer that seems to have some."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def register(ip: InteractiveShell) -> None:
    """Let `ip` ask us. A second call changes nothing."""
    from IPython.core.completer import context_matcher

    unregister(ip)
    ip.Completer.custom_matchers.append(context_matcher(identifier=_IDENTIFIER, priority=100)(_matcher))


def unregister(ip: InteractiveShell) -> None:
    """Take back what `register` did."""
    matchers = ip.Completer.custom_matchers
    matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", None) != _IDENTIFIER]


def _matcher(context: CompletionContext) -> Any:
    try:
        return _answer_at(context)
    except Exception:  # noqa: BLE001  IPython would print it into the cell that is being written
        return {"completions": []}


def _answer_at(context: CompletionContext) -> dict[str, Any]:
    from IPython.core.completer import SimpleCompletion

    before = "\n".join([*context.full_text.split("\n")[: context.cursor_line], context.text_until_cursor])
    place = _place(before)
    if place is None:
        return {"completions": []}
    fragment, found = completions(place.line, body=place.body, word=place.word)
    if not before.endswith(fragment):
        return {"completions": []}
    offered = [SimpleCompletion(text=text, type="vast") for text in found]
    return {
        "completions": offered or _Nothing(),
        "matched_fragment": fragment,
        "ordered": True,
        "suppress": True,
    }


def _place(before: str) -> _Place | None:
    """Where the cursor behind `before`, the cell's text up to it, is among our lines; None if it is not there."""
    first, *others = before.lstrip().split("\n")
    magic, *words = first.split() or [""]
    if magic == "%%vast" and others:
        word = (words or ["search"])[0]
        if word in COMMANDS and COMMANDS[word].body:
            return None  # somebody else's code: Python's own completion is of more use there
        *done, last = others
        said = [line for line in (_COMMENT.split(line)[0] for line in done) if line.strip()]
        return _Place(" ".join([*said, last]), body=True, word=word)
    line = before.replace("\\\n", " ").rpartition("\n")[2]
    ours = _LINE.fullmatch(line)
    return None if ours is None or _EXPANDED.search(ours["words"]) else _Place(line)
