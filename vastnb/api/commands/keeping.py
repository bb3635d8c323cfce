"""The words about what comes home by itself: keep, keeps."""

from __future__ import annotations

import argparse
from typing import Any

from vastnb.api.commands.model import Command, Door, arg
from vastnb.errors import CommandError

__all__ = ["KEEPING_COMMANDS"]


def _keep(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.instances import instance

    machine = instance(args.machine)
    if args.stop:
        return machine.stop_keeping(args.source)
    if args.source is None or args.to is None:
        raise CommandError(
            "keep: expected a folder of the machine, and where it is to come home",
            hint=f"for example %vast keep {args.machine} work --to results/; %vast keeps tells what is kept",
        )
    job = machine.job(args.job) if args.job is not None else None
    return machine.keep(
        args.source, to=args.to, every=args.every, job=job, cwd=args.cwd, then=args.then, patience=args.patience
    )


def _keeps(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.instances.keeping import keeps

    return keeps(args.machine)


KEEPING_COMMANDS: tuple[Command, ...] = (
    Command(
        "keep",
        "copy a folder of a machine home again and again, from now on",
        _keep,
        (
            arg("machine", help="its name or number"),
            arg("source", nargs="?", help="the folder there, from the home on; with --stop, without one all of them"),
            arg("--to", metavar="FOLDER", help="the folder here that always is the last whole copy"),
            arg("--every", default="10min", metavar="TIME", help="from copy to copy"),
            arg("--job", metavar="JOB", help="one of its jobs, which is started again if the machine is moved or started anew"),
            arg("--cwd", default=".", metavar="FOLDER", help="the folder that the job was started in"),
            arg("--then", choices=("keep", "destroy"), default="keep", help="what becomes of the machine when the job has ended and all is home"),
            arg("--patience", metavar="TIME", help="how long a host that is offline is waited for before the machine is moved; 15min without it"),
            arg("--stop", action="store_true", help="copy no more; what was copied stays"),
        ),
        "vastnb.Instance.keep",
        ("%vast keep lora-7b work --to kept/ --every 10min", "%vast keep lora-7b --stop"),
        "This kernel copies while it lives; %vast watch, and vastnb sync in a shell, go on with it. Rented with --on-outbid move, the machine "
        "is given up when it is outbid or its host is lost, and its job goes on on another, from the copies.",
    ),
    Command(
        "keeps",
        "what is kept of your machines: the last copy, the next one, and what is wrong",
        _keeps,
        (arg("machine", nargs="?", help="of one machine"),),
        "vastnb.keeps",
        ("%vast keeps",),
    ),
)  # fmt: skip
"""Copies that come home, and how they go."""
