"""The word about what was paid."""

from __future__ import annotations

import argparse
from typing import Any

from vastnb.api.commands.model import Command, Door, arg

__all__ = ["PAYING_COMMANDS"]


def _spend(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.spending import reconcile, spend

    return reconcile(args.days) if args.reconcile else spend(args.days, by=args.by)


PAYING_COMMANDS: tuple[Command, ...] = (
    Command(
        "spend",
        "what was charged: by name, day, GPU, label, machine or notebook; or beside what was quoted",
        _spend,
        (
            arg("--days", type=int, default=30, metavar="DAYS", help="today and the days before it, in all"),
            arg("--by", choices=("name", "label", "day", "gpu", "instance", "notebook"), default="name", help="what to add up"),
            arg("--reconcile", action="store_true", help="each launch of these days: quoted, billed, and why they differ"),
        ),
        "vastnb.spend",
        ("%vast spend", "%vast spend --days 7 --by day", "%vast spend --reconcile"),
        "Machines of the console and volumes are in it. --reconcile is vastnb.reconcile.",
    ),
)  # fmt: skip
"""Look at the bill."""
