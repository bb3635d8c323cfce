"""The one table of commands, and what each calls. Whatever a command can do, a function can: each names it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from vastnb.api.commands.health import HEALTH_COMMANDS
from vastnb.api.commands.machines import MACHINE_COMMANDS
from vastnb.api.commands.model import Command, Door, Text, arg
from vastnb.api.commands.observing import OBSERVING_COMMANDS
from vastnb.api.commands.paying import PAYING_COMMANDS
from vastnb.api.commands.watching import WATCHING_COMMANDS
from vastnb.errors import CommandError

__all__ = ["COMMANDS"]

_QUERY = arg("query", nargs="*", help="conditions, for example: gpu_name=RTX_4090 num_gpus>=2 dph<0.5")
_RENTAL = (
    arg("-t", "--type", dest="rental", default="on-demand", help="on-demand, bid or reserved"),
    arg("-b", "--bid", dest="rental", action="store_const", const="bid", help="the same as --type bid"),
    arg("-i", "--interruptible", dest="rental", action="store_const", const="bid", help="the same as --type bid"),
    arg("-r", "--reserved", dest="rental", action="store_const", const="reserved", help="the same as --type reserved"),
    arg(
        "-d", "--on-demand", dest="rental", action="store_const", const="on-demand", help="the same as --type on-demand"
    ),
)
_REFRESH = arg("--refresh", action="store_true", help="ask the service even if a fresh answer is here")


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


def _init(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.start import init

    return Text(init(args.folder))


def _lab(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.start import lab

    return lab(args.folder, browser=not args.no_browser)


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
                arg(
                    "-o",
                    "--order",
                    "--sort",
                    default="usd_per_hour",
                    help="columns to sort by, with - behind for descending",
                ),
                arg("--limit", type=int, help="at most so many offers; without it, all"),
                arg("--storage", "--disk", type=float, default=10.0, metavar="GB", help="disk that the price includes"),
                arg(
                    "-n", "--no-default", action="store_true", help="also what is unverified, external or not rentable"
                ),
                _REFRESH,
                arg("--raw", action="store_true", help="official names, values and units"),
                arg("--max-requests", type=int, default=5, help="how often the service may be asked for this"),
                arg("--new", action="store_true", help=argparse.SUPPRESS),
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
                arg("query", nargs="*", help="an offer's id, or conditions"),
                *_RENTAL,
                arg("--hours", type=float, default=1.0, help="hours that the machine runs"),
                arg(
                    "--storage",
                    "--disk",
                    type=float,
                    default=10.0,
                    metavar="GB",
                    help="disk, as long as the machine exists",
                ),
                arg("--download", type=float, default=0.0, metavar="GB", help="data to the machine"),
                arg("--upload", type=float, default=0.0, metavar="GB", help="data from the machine"),
                arg("--idle", type=float, default=0.0, metavar="HOURS", help="hours that it stands stopped"),
                arg(
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
        *MACHINE_COMMANDS,
        *PAYING_COMMANDS,
        *HEALTH_COMMANDS,
        *OBSERVING_COMMANDS,
        *WATCHING_COMMANDS,
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
            (arg("word", nargs="*", help="only fields with this word in them"),),
            "vastnb.fields",
            ("%vast fields", "%vast fields price"),
        ),
        Command(
            "use",
            "say where this notebook runs: sandbox, or a live profile",
            _use,
            (
                arg("profile", nargs="?", help="sandbox, development, staging, production, or one of yours"),
                arg(
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
            (arg("--trust", action="store_true", help="trust the vastnb.toml of this folder as it is now"),),
            "",
            ("%vast config",),
            "The API key is never shown, only where it comes from.",
        ),
        Command(
            "show",
            "templates, benchmarks, market metrics, trends, locations, volumes, ssh-keys, user",
            _show,
            (
                arg("what", help="templates, benchmarks, metrics, trends, locations, volumes, ssh-keys or user"),
                arg("query", nargs="*", help="conditions; for trends names of GPU models, with commas"),
                arg("--limit", type=int, help="at most so many rows"),
                arg(
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
            (arg("--clear", action="store_true", help="forget everything that is kept for this account"),),
            "vastnb.cache_info",
            ("%vast cache", "%vast cache --clear"),
        ),
        Command(
            "calls",
            "what this kernel asked the service, and how long it took",
            _calls,
            (arg("--all", action="store_true", help="each call instead of a summary"),),
            "vastnb.calls",
            ("%vast calls", "%vast calls --all"),
            doors=("notebook",),
        ),
        Command(
            "sandbox",
            "the practice market: look at it, step its clock, make it fail; in a shell, run it for other programs",
            _sandbox,
            (
                arg("--step", metavar="TIME", help="move its clock on: 30min, 2h, 3days"),
                arg("--fault", metavar="NAME", help="make the next answer fail in this way; 'list' names the ways"),
                arg("--port", type=int, default=0, help="shell: the port to serve on; 0 is any"),
                arg("--offers", type=int, default=2000, help="shell: how many offers it has"),
                arg("--seed", type=int, default=0, help="shell: the same seed gives the same market"),
                arg("--start", default=None, help="shell: its clock's beginning, an ISO time"),
                arg("--strict", action="store_true", help="shell: with Vast's rate limits"),
            ),
            "vastnb.Sandbox",
            ("%vast sandbox", "%vast sandbox --step 2h", "vastnb sandbox --port 8080 --offers 5000 --seed 7"),
        ),
        Command(
            "init",
            "write a settings file with profiles, and a folder with a first notebook, its test and a .gitignore",
            _init,
            (arg("folder", nargs="?", default=".", help="where notebook, pytest.ini and .gitignore go"),),
            "",
            ("vastnb init",),
            doors=("shell",),
        ),
        Command(
            "lab",
            "open JupyterLab on the tutorials, in the sandbox",
            _lab,
            (
                arg("folder", nargs="?", default="vastnb-tutorials", help="where your copies of the notebooks go"),
                arg("--no-browser", action="store_true", help="do not open a browser window"),
            ),
            "",
            ("vastnb lab",),
            doors=("shell",),
        ),
        Command(
            "help",
            "the words, or one of them in full",
            None,
            (arg("word", nargs="*", help="a word"),),
            "",
            ("%vast help", "%vast help search"),
        ),
    )
}
"""Every command, by its word."""
