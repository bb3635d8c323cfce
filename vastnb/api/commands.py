"""The one table of commands. ``%vast`` and the ``vastnb`` console script are two doors to it.

A `Command` has a word, the arguments it takes, what it calls, and its help. A door splits a line into words (`split_line`),
`run` finds the command, parses, calls its function and returns the value; the door shows it. Whatever a command can do, a
function can: each names it.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from vastnb.errors import CommandError

__all__ = ["COMMANDS", "Arg", "Command", "Text", "help_for", "run", "split_line"]

Door = Literal["notebook", "shell"]


class Text(str):
    """Words to be read, shown as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


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
    call: Callable[[argparse.Namespace, Door], Any]
    args: tuple[Arg, ...] = ()
    function: str = ""
    """The public function that does the same."""
    examples: tuple[str, ...] = ()
    details: str = ""
    doors: tuple[Door, ...] = ("notebook", "shell")
    first: bool = False
    """Whether it is among the words that help shows first."""


def _arg(*names: str, help: str, **options: Any) -> Arg:
    return Arg(names, help, options)


_QUERY = _arg("query", nargs="*", help="conditions, for example: gpu_name=RTX_4090 num_gpus>=2 dph<0.5")
_RENTAL = (
    _arg("-t", "--type", dest="rental", default="on-demand", help="on-demand, bid or reserved"),
    _arg("-b", "--bid", dest="rental", action="store_const", const="bid", help="the same as --type bid"),
    _arg("-i", "--interruptible", dest="rental", action="store_const", const="bid", help="the same as --type bid"),
    _arg("-r", "--reserved", dest="rental", action="store_const", const="reserved", help="the same as --type reserved"),
    _arg(
        "-d", "--on-demand", dest="rental", action="store_const", const="on-demand", help="the same as --type on-demand"
    ),
)
_REFRESH = _arg("--refresh", action="store_true", help="ask the service even if a fresh answer is here")


def _search(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.offers import search

    return search(
        _joined(args.query),
        rental=args.rental,
        disk_gb=args.storage,
        order=args.order,
        limit=args.limit,
        refresh=args.refresh,
        raw=args.raw,
        defaults=not args.no_default,
        max_requests=args.max_requests,
    )


def _quote(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.costs import quote
    from vastnb.services.offers import search

    job = {"hours": args.hours, "disk_gb": args.storage, "download_gb": args.download, "upload_gb": args.upload,
           "idle_hours": args.idle, "bid_usd_per_hour": args.bid_price}  # fmt: skip
    if len(args.query) == 1 and args.query[0].isdigit():
        return quote(int(args.query[0]), rental=args.rental, **job)
    return quote(search(_joined(args.query), rental=args.rental, disk_gb=args.storage, refresh=args.refresh), **job)


def _gpus(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.offers import gpus

    return gpus(_joined(args.query), rental=args.rental, refresh=args.refresh)


def _fields(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.offers import fields

    return fields(" ".join(args.word))


def _use(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.session import use

    return use(args.profile, **_settings(args.settings))


def _config(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.infra.config import trust_folder_file
    from vastnb.services.session import config_table

    if args.trust:
        return Text(f"{trust_folder_file()} is trusted as it is now")
    return config_table()


def _show(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.catalogue import show

    options: dict[str, Any] = {name: str(value) for name, value in _settings(args.set or []).items()}
    return show(args.what, _joined(args.query), limit=args.limit, refresh=args.refresh, **options)


def _cache(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.usage import cache_info, clear_cache

    return clear_cache() if args.clear else cache_info()


def _calls(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.usage import calls

    return calls(summary=not args.all)


def _sandbox(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services import practice

    if door == "shell":
        if args.step or args.fault:
            raise CommandError(
                "sandbox: --step and --fault are for a notebook", hint="vastnb sandbox serves until Ctrl-C"
            )
        return practice.serve(**{name: getattr(args, name) for name in ("port", "offers", "seed", "start", "strict")})
    if args.fault == "list":
        return practice.faults()
    if args.fault:
        return Text(practice.fault(args.fault))
    return Text(practice.step(args.step) if args.step else practice.status())


def _help(args: argparse.Namespace, door: Door) -> Any:
    return help_for(" ".join(args.word), door)


def _init(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.start import init

    return Text(init(args.folder))


def _lab(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.start import lab

    return lab(args.folder, browser=not args.no_browser)


COMMANDS: dict[str, Command] = {
    command.word: command
    for command in (
        Command(
            "search",
            "offers on the market, as a DataFrame",
            _search,
            (
                _QUERY,
                *_RENTAL,
                _arg("-o", "--order", default="usd_per_hour", help="columns to sort by, with - behind for descending"),
                _arg("--limit", type=int, help="at most so many offers; without it, all"),
                _arg(
                    "--storage", "--disk", type=float, default=10.0, metavar="GB", help="disk that the price includes"
                ),
                _arg(
                    "-n", "--no-default", action="store_true", help="also what is unverified, external or not rentable"
                ),
                _REFRESH,
                _arg("--raw", action="store_true", help="official names, values and units"),
                _arg("--max-requests", type=int, default=5, help="how often the service may be asked for this"),
                _arg("--new", action="store_true", help=argparse.SUPPRESS),
            ),
            "vastnb.search",
            (
                "df = %vast search gpu_name=RTX_4090 num_gpus>=2",
                "%vast search gpu_ram>=48 dph<1.5 geolocation in [US,CA] -o dlperf_per_usd-",
                "%vast search 'gpu_name=H100_SXM' --bid --storage 200 --limit 20",
            ),
            "Conditions are name, operator and value, separated by blanks; all must hold. Operators: = != < <= > >= in notin. "
            "%vast fields lists the names. Verified, rentable and not external are assumed; verified=any takes that back.",
            first=True,
        ),
        Command(
            "quote",
            "what a job costs: GPUs, disk, traffic and time stopped",
            _quote,
            (
                _arg("query", nargs="*", help="an offer's id, or conditions"),
                *_RENTAL,
                _arg("--hours", type=float, default=1.0, help="hours that the machine runs"),
                _arg(
                    "--storage",
                    "--disk",
                    type=float,
                    default=10.0,
                    metavar="GB",
                    help="disk, as long as the machine exists",
                ),
                _arg("--download", type=float, default=0.0, metavar="GB", help="data to the machine"),
                _arg("--upload", type=float, default=0.0, metavar="GB", help="data from the machine"),
                _arg("--idle", type=float, default=0.0, metavar="HOURS", help="hours that it stands stopped"),
                _arg(
                    "--bid-price",
                    type=float,
                    default=None,
                    metavar="USD",
                    help="the bid an hour, for all GPUs together",
                ),
                _REFRESH,
            ),
            "vastnb.quote",
            ("%vast quote gpu_name=RTX_4090 num_gpus=1 --hours 10 --storage 50 --download 100 --upload 5",),
            first=True,
        ),
        Command(
            "gpus",
            "GPU models on the market, with counts and prices",
            _gpus,
            (_QUERY, *_RENTAL, _REFRESH),
            "vastnb.gpus",
            ("%vast gpus", "%vast gpus gpu_ram>=48 datacenter=true"),
        ),
        Command(
            "fields",
            "what can be asked in a query",
            _fields,
            (_arg("word", nargs="*", help="only fields with this word in them"),),
            "vastnb.fields",
            ("%vast fields", "%vast fields price"),
        ),
        Command(
            "use",
            "say where this notebook runs: sandbox, or a live profile",
            _use,
            (
                _arg("profile", nargs="?", help="sandbox, development, staging, production, or one of yours"),
                _arg(
                    "settings", nargs="*", metavar="name=value", help="settings for this session, such as timeout_s=60"
                ),
            ),
            "vastnb.use",
            ("%vast use sandbox", "%vast use sandbox seed=7 start=2026-06-01", "%vast use production"),
        ),
        Command(
            "config",
            "the settings in force, and where each comes from",
            _config,
            (_arg("--trust", action="store_true", help="trust the vastnb.toml of this folder as it is now"),),
            "",
            ("%vast config",),
            "The API key is never shown, only where it comes from.",
        ),
        Command(
            "show",
            "templates, benchmarks, market metrics, trends, locations, volumes, ssh-keys, user",
            _show,
            (
                _arg("what", help="templates, benchmarks, metrics, trends, locations, volumes, ssh-keys or user"),
                _arg("query", nargs="*", help="conditions; for trends names of GPU models, with commas"),
                _arg("--limit", type=int, help="at most so many rows"),
                _arg(
                    "--set",
                    action="append",
                    metavar="name=value",
                    help="for metrics and trends: verified=yes, step=3600",
                ),
                _REFRESH,
            ),
            "vastnb.show",
            (
                "%vast use sandbox",
                "%vast show templates recommended=true",
                "%vast show trends RTX_4090 --set step=3600",
                "%vast show user",
            ),
            "All of it needs an account. Vast may keep metrics, trends and locations for hosts; the error then says what else helps.",
        ),
        Command(
            "cache",
            "what is kept, where, and how often it helped",
            _cache,
            (_arg("--clear", action="store_true", help="forget everything that is kept for this account"),),
            "vastnb.cache_info",
            ("%vast cache", "%vast cache --clear"),
        ),
        Command(
            "calls",
            "what this kernel asked the service, and how long it took",
            _calls,
            (_arg("--all", action="store_true", help="each call instead of a summary"),),
            "vastnb.calls",
            ("%vast calls", "%vast calls --all"),
            doors=("notebook",),
        ),
        Command(
            "sandbox",
            "the practice market: look at it, step its clock, make it fail; in a shell, run it for other programs",
            _sandbox,
            (
                _arg("--step", metavar="TIME", help="move its clock on: 30min, 2h, 3days"),
                _arg("--fault", metavar="NAME", help="make the next answer fail in this way; 'list' names the ways"),
                _arg("--port", type=int, default=0, help="shell: the port to serve on; 0 is any"),
                _arg("--offers", type=int, default=2000, help="shell: how many offers it has"),
                _arg("--seed", type=int, default=0, help="shell: the same seed gives the same market"),
                _arg("--start", default=None, help="shell: its clock's beginning, an ISO time"),
                _arg("--strict", action="store_true", help="shell: with Vast's rate limits"),
            ),
            "vastnb.Sandbox",
            ("%vast sandbox", "%vast sandbox --step 2h", "vastnb sandbox --port 8080 --offers 5000 --seed 7"),
        ),
        Command(
            "init",
            "write a settings file with profiles, and a first notebook",
            _init,
            (_arg("folder", nargs="?", default=".", help="where the notebook goes"),),
            "",
            ("vastnb init",),
            doors=("shell",),
        ),
        Command(
            "lab",
            "open JupyterLab on the tutorials, in the sandbox",
            _lab,
            (
                _arg("folder", nargs="?", default="vastnb-tutorials", help="where your copies of the notebooks go"),
                _arg("--no-browser", action="store_true", help="do not open a browser window"),
            ),
            "",
            ("vastnb lab",),
            doors=("shell",),
        ),
        Command(
            "help",
            "the words, or one of them in full",
            _help,
            (_arg("word", nargs="*", help="a word"),),
            "",
            ("%vast help", "%vast help search"),
        ),
    )
}
"""Every command, by its word."""


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
    command = COMMANDS.get(words[0])
    if command is None or door not in command.doors:
        raise _unknown(words[0], door)
    rest = list(words[1:])
    if "--help" in rest or "-h" in rest:
        return help_for(command.word, door)
    _check_options(command, rest)
    return command.call(parser_for(command).parse_intermixed_args(rest), door)


def _unknown(word: str, door: Door) -> CommandError:
    known = [c.word for c in COMMANDS.values() if door in c.doors]
    near = difflib.get_close_matches(word, known, 1, 0.5)
    program = "%vast" if door == "notebook" else "vastnb"
    hint = f"did you mean {program} {near[0]}?" if near else f"{program} help lists the words"
    if re.search(r"[=<>]", word):
        hint = f"{program} search {word} ...?"
    return CommandError(f"no such word: {word}", hint=hint)


def _check_options(command: Command, words: Sequence[str]) -> None:
    """An unknown option names its nearest; argparse alone would only say that it is unknown."""
    known = [name for arg in command.args for name in arg.names if name.startswith("-")]
    for word in words:
        name = word.partition("=")[0]
        if re.fullmatch(r"--?[A-Za-z][\w-]*", name) and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"{command.word} --help lists them"
            raise CommandError(f"{command.word}: no such option: {name}", hint=hint)


def split_line(line: str) -> list[str]:
    """A line into words, as a shell would, but quotes and brackets inside a condition stay as written.

    ``gpu_name="RTX 4090" geolocation in [US, CA] 'num_gpus>=2 dph<1' -n`` gives ``gpu_name="RTX 4090"``, ``geolocation``,
    ``in``, ``[US, CA]``, ``num_gpus>=2 dph<1``, ``-n``.
    """
    return [_unquoted(word) for word in re.findall(r"""(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^\s])+""", line)]


def _unquoted(word: str) -> str:
    whole = re.fullmatch(r"""(["'])(.*)\1""", word, re.DOTALL)
    return whole[2] if whole and whole[1] not in whole[2] else word


def _joined(words: Sequence[str]) -> str:
    """The query that a shell has cut into words; a value that lost its quotes there gets them back."""
    return " ".join(_requoted(word) for word in words)


def _requoted(word: str) -> str:
    lost = re.fullmatch(r"(\w+\s*(?:==?|!=))([^\"'\[=<>!]*\s[^\"'\[=<>!]*)", word)
    return f'{lost[1]}"{lost[2].strip()}"' if lost else word


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``cache.backend=memory`` and the like into nested settings."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"use: expected name=value, got {pair}", hint="for example timeout_s=60")
        *tables, last = name.split(".")
        place = found
        for table in tables:
            place = place.setdefault(table, {})
        place[last] = value
    return found


def help_for(word: str, door: Door) -> Text:
    """Help on one command, or on all."""
    if not word:
        return Text(_overview(door))
    command = COMMANDS.get(word.split(maxsplit=1)[0])
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
