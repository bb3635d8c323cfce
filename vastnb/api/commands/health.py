"""The word that says whether all is well."""

from __future__ import annotations

import argparse
from typing import Any

from vastnb.api.commands.model import Command, Door, arg

__all__ = ["HEALTH_COMMANDS"]


def _health(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.health import health
    from vastnb.services.instances import instance

    return instance(args.machine).health() if args.machine else health()


HEALTH_COMMANDS: tuple[Command, ...] = (
    Command(
        "health",
        "whether all is well: network, key, balance, search, limits, files, notebook; or a machine",
        _health,
        (arg("machine", nargs="?", help="a machine's name or number; without it, the account"),),
        "vastnb.health",
        ("%vast health",),
        "Works without a key and without a network too, and sends five requests at most. In a shell, --json is for machines, and the exit status is 1 if it is unhealthy.",
    ),
)
"""Look whether all is well."""
