"""The words about prices over time."""

from __future__ import annotations

import argparse
from typing import Any

from vastnb.api.commands.model import Command, Door, arg
from vastnb.errors import CommandError

__all__ = ["OBSERVING_COMMANDS"]


def _history(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.history import history
    from vastnb.services.sampling import sample

    names = [name.strip() for name in " ".join(args.model).split(",") if name.strip()]
    if args.sample and not names:
        raise CommandError("history: --sample needs GPU models", hint="%vast history RTX_4090 --sample")
    if args.sample:
        sample(names, rental=args.rental, max_requests=args.max_requests)
    days = None if args.all else args.days
    return history(names, days=days, by=args.by, rental=args.rental, machine=args.machine)


OBSERVING_COMMANDS: tuple[Command, ...] = (
    Command(
        "history",
        "what GPUs cost over time, from the answers that searches left behind",
        _history,
        (
            arg("model", nargs="*", help="GPU models, with commas; all without it"),
            arg("--days", type=float, default=14.0, metavar="DAYS", help="how far back"),
            arg("--all", action="store_true", help="everything there is"),
            arg("--by", choices=("hour", "day", "clock", "model"), default="hour", help="clock: the hours of a day; model: the whole time"),
            arg("-t", "--type", dest="rental", default="on-demand", help="on-demand, bid or reserved"),
            arg("--machine", type=int, metavar="ID", help="the life of one machine instead"),
            arg("--sample", action="store_true", help="look at the market of these models once, before"),
            arg("--max-requests", type=int, default=5, help="how often the service may be asked for each model of a sample"),
        ),
        "vastnb.history",
        ("%vast history RTX_4090 --sample", "%vast history RTX_4090, H100_SXM --days 30 --by day", "%vast history --machine 49927 --all"),
        "Only answers count whose offers no price chose. --sample makes one; done every quarter of an hour, it makes a history.",
    ),
)  # fmt: skip
"""Look back."""
