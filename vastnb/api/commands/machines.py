"""The words about rented machines. What spends or ends says its price first, in the quote or in the error."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from vastnb.api.commands.keeping import KEEPING_COMMANDS
from vastnb.api.commands.model import Command, Door, arg
from vastnb.api.commands.remote import REMOTE_COMMANDS
from vastnb.errors import CommandError

__all__ = ["MACHINE_COMMANDS"]

_MACHINE = arg("machine", help="its name or number")
_MACHINES = arg("machine", nargs="+", help="names or numbers")
_FORCE = arg("--force", action="store_true", help="also a machine that vastnb did not make")


def _launch(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.instances import launch

    given = {
        name: value
        for name, value in vars(args).items()
        if name not in ("query", "env", "wait") and value not in (None, False)
    }
    machine: Any = launch(_offer_id(args.query) or " ".join(args.query), env=_pairs(args.env or []), **given)
    return machine.wait() if args.wait and not args.dry_run else machine


def _offer_id(words: Sequence[str]) -> int | None:
    return int(words[0]) if len(words) == 1 and words[0].isdigit() else None


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals:
            raise CommandError(f"launch: expected NAME=value, got {name}", hint="for example --env WANDB_PROJECT=lora")
    return {name: value for name, _, value in pairs}


def _ps(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.instances import instances

    return instances()


def _audit(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.instances import audit

    return audit()


def _selfcheck(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.selfcheck import selfcheck

    return selfcheck(max_usd=args.max_usd, live=args.live)


def _named(machine: str) -> Any:
    from vastnb.services.instances import instance

    return instance(machine)


def _act(verb: str) -> Callable[[argparse.Namespace, Door], Any]:
    """Call the method `verb` of a machine, or of several, with the command's options."""

    def act(args: argparse.Namespace, door: Door) -> Any:
        options = {name: value for name, value in vars(args).items() if name != "machine"}
        if isinstance(args.machine, str):
            return getattr(_named(args.machine), verb)(**options)
        done = [getattr(_named(machine), verb)(**options) for machine in args.machine]
        return done[0] if len(done) == 1 else done

    return act


MACHINE_COMMANDS: tuple[Command, ...] = (
    Command(
        "launch",
        "rent a machine, once; the same name again gives the living one",
        _launch,
        (
            arg("query", nargs="+", help="an offer's id, or conditions: then the cheapest that meets them"),
            arg("--name", default="", help="what it is called; a machine of this name that lives is given instead of a second one"),
            arg("--image", help="Docker image with its tag"),
            arg("--template", metavar="HASH", help="hash id of a template"),
            arg("--storage", "--disk", dest="disk_gb", type=float, metavar="GB", help="disk; it cannot be enlarged later"),
            arg("--max-usd-per-hour", type=float, metavar="USD", help="cap: GPUs and disk, an hour"),
            arg("--max-usd", type=float, metavar="USD", help="cap in all, traffic included; it ends itself before"),
            arg("--max-hours", "--hours", type=float, metavar="HOURS", help="it ends itself then"),
            arg("--at-end", choices=("destroy", "stop"), help="what it does then; a stopped one goes on costing its disk"),
            arg("--before-end", metavar="COMMAND", help="what it runs before, for five minutes at most"),
            arg("--idle-minutes", type=float, metavar="MIN", help="it also ends after so long without GPU use, once there was some"),
            arg("--bid-price", dest="bid_usd_per_hour", type=float, metavar="USD", help="interruptible: the bid an hour, all GPUs together"),
            arg("--on-outbid", choices=("wait", "raise", "destroy", "move"), help="interruptible: what is done when somebody bids more; move needs a name and --bid-price"),
            arg("--env", action="append", metavar="NAME=value", help="an environment variable; may be repeated"),
            arg("--port", dest="ports", action="append", help="a port to open, like 8080 or 8080:80; may be repeated"),
            arg("--runtype", choices=("ssh", "jupyter"), help="how it is reached; ssh without it"),
            arg("--label", help="a text of yours beside it in every list"),
            arg("--onstart", default="", help="a script that runs at each start; in a notebook, the body of the cell"),
            arg("--new", action="store_true", help="rent another although one of this name lives"),
            arg("--dry-run", action="store_true", help="ask and check, show the exact request, rent nothing"),
            arg("--wait", action="store_true", help="wait until it runs"),
        ),
        "vastnb.launch",
        (
            "%vast launch gpu_name=RTX_4090 num_gpus=1 --name lora-7b --max-usd-per-hour 0.6 --max-hours 3 --dry-run",
            "%vast launch gpu_name=RTX_4090 num_gpus=1 --name lora-7b --max-usd-per-hour 0.6 --max-hours 3 --wait",
        ),
        "A real account rents nothing without a cap or a quote. With %%vast the body of the cell is the script that runs at each start.",
        first=True,
        body="--onstart",
    ),
    Command("ps", "the account's machines, and what they cost", _ps, (), "vastnb.instances", ("%vast ps",), first=True),
    Command(
        "wait",
        "wait until a machine runs",
        _act("wait"),
        (_MACHINE, arg("--timeout", dest="timeout_s", type=float, default=1800.0, metavar="S", help="seconds, at most")),
        "vastnb.Instance.wait",
        ("%vast wait lora-7b",),
    ),
    *REMOTE_COMMANDS,
    *KEEPING_COMMANDS,
    Command(
        "stop",
        "stop a machine; its disk stays, and is billed",
        _act("stop"),
        (_MACHINES, _FORCE),
        "vastnb.Instance.stop",
        ("%vast stop lora-7b",),
        "Its GPUs may go to somebody else; then starting it again has to wait.",
    ),
    Command("start", "start a stopped machine", _act("start"), (_MACHINES, _FORCE), "vastnb.Instance.start", ("%vast start lora-7b",)),
    Command("reboot", "restart a machine's container", _act("reboot"), (_MACHINES, _FORCE), "vastnb.Instance.reboot", ("%vast reboot lora-7b",)),
    Command(
        "extend",
        "let a machine live longer than it was rented for",
        _act("extend"),
        (
            _MACHINE,
            arg("--hours", type=float, required=True, help="how much longer"),
            arg("--max-usd", type=float, metavar="USD", help="the new cap in all, where there is one"),
        ),
        "vastnb.Instance.extend",
        ("%vast extend lora-7b --hours 2",),
    ),
    Command(
        "bid",
        "bid anew for an interruptible machine",
        _act("change_bid"),
        (_MACHINE, arg("usd_per_hour", type=float, help="dollars an hour, for all its GPUs together"), _FORCE),
        "vastnb.Instance.change_bid",
        (
            "%vast launch gpu_name=RTX_4090 num_gpus=1 --name spot --bid-price 0.6 --max-hours 2",
            "%vast bid spot 0.65",
        ),
    ),
    Command(
        "destroy",
        "end a machine and its disk, see that it is gone, and give its bill",
        _act("destroy"),
        (
            _MACHINES,
            arg("--fetch", "--download", metavar="PATH", help="a file or folder on it that is brought home first; if it does not come whole, the machine is kept"),
            arg("--to", default=".", metavar="FOLDER", help="where it goes, without it this folder"),
            _FORCE,
        ),
        "vastnb.Instance.destroy",
        ("%vast destroy lora-7b spot",),
        "There is no way back: what is on its disk is lost.",
        first=True,
    ),
    Command(
        "audit",
        "everything that costs money now, and the line that ends it",
        _audit,
        (),
        "vastnb.audit",
        ("%vast audit",),
        "What was made in the console or on another computer is in it.",
        first=True,
    ),
    Command(
        "selfcheck",
        "rent the cheapest machine for minutes, and report what only an account can tell",
        _selfcheck,
        (
            arg("--live", action="store_true", help="needed for a real account: it spends real money, a few cents"),
            arg("--max-usd", type=float, default=0.25, metavar="USD", help="what it may cost at most"),
        ),
        "",
        ("vastnb selfcheck --live --max-usd 0.25",),
        "Is the label kept, how long does a list lag, does the watchdog end its machine, is the bill what the quote said. The report holds no secrets.",
        doors=("shell",),
    ),
)  # fmt: skip
"""Launch, look, work, change, end."""
