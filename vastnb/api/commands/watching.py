"""The words about what happens: what did, who looks, and who may call."""

from __future__ import annotations

import argparse
import logging
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

from vastnb.api.commands.model import Command, Door, Text, arg
from vastnb.errors import CommandError

__all__ = ["WATCHING_COMMANDS"]

_KINDS = (
    "client:outbid",
    "client:low_credit",
    "client:instance_started",
    "client:instance_stopped",
    "client:instance_offline",
)
"""What a webhook notifies of unless it is said."""


def _events(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services.events import events

    return events(args.kind, subject=args.machine, limit=args.limit)


def _watch(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services import sync

    if args.stop:
        return Text("This kernel watches no more." if sync.stop_watching() else "This kernel did not watch.")
    if args.handlers:
        runpy.run_path(args.handlers)
    if door == "shell":
        return _watch_here(args.interval)
    watcher = sync.watch(interval_s=args.interval)
    return Text(
        f"Watching every {watcher.interval_s:g} s, while no other kernel of yours does. %vast events shows what happened."
    )


def _watch_here(interval_s: float) -> None:
    """Watch in the foreground, a line an event, until Ctrl-C."""
    from vastnb.infra.processes import until_ended
    from vastnb.services import sync
    from vastnb.services.events import default_bus

    _log_to_stderr()
    with until_ended() as wait:
        sync.watch(
            interval_s=interval_s,
            tell=lambda event: _say(f"{event.at:%Y-%m-%d %H:%M:%S} {event.kind} {event.data.get('message', '')}"),
        )
        _say(f"Watching every {interval_s:g} s until Ctrl-C.")
        wait()
        sync.stop_watching()
        default_bus().close()


def _log_to_stderr() -> None:
    """In a shell what went wrong is told while it serves."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _webhook(args: argparse.Namespace, door: Door) -> Any:
    act = _WEBHOOK_WORDS.get(args.word)
    if act is None:
        raise CommandError(f"webhook: no such word: {args.word}", hint=f"one of {', '.join(_WEBHOOK_WORDS)}")
    return act(args, door)


def _serve(args: argparse.Namespace, door: Door) -> Text | None:
    from vastnb.api import webhook
    from vastnb.services.session import current

    client = current().client
    if door == "notebook":
        url = webhook.serve_here(client, address=args.address, port=args.port or 0)
        return Text(f"Deliveries are taken at {url}, as long as this kernel runs.")
    _log_to_stderr()
    port = args.port if args.port is not None else 8787
    webhook.serve(
        client,
        address=args.address,
        port=port,
        on_ready=lambda url: _say(f"Deliveries are taken at {url} until Ctrl-C."),
    )
    return None


def _enable(args: argparse.Namespace, door: Door) -> Text:
    from vastnb.api.webhook import enable

    file = enable(args.word == "enable")
    if args.word == "disable":
        return Text(f"Jupyter Server will not load the webhook from its next start on ({file} is gone).")
    return Text(
        f"Jupyter Server will take deliveries below its address at vastnb/webhook, from its next start on ({file})."
    )


def _list(args: argparse.Namespace, door: Door) -> Any:
    return _webhooks().table()


def _types(args: argparse.Namespace, door: Door) -> Any:
    return _webhooks().kinds()


def _create(args: argparse.Namespace, door: Door) -> Text:
    url = _needed(args, "the public https address that deliveries are to come to")
    number = _webhooks().create(url, args.kind or _KINDS, args.name)
    return Text(
        f"Webhook {number} delivers to {url}. Its secret is kept on this computer. Try it: %vast webhook test {number}"
    )


def _test(args: argparse.Namespace, door: Door) -> Text:
    return Text(_webhooks().test(_number(args)) or "It was sent.")


def _rotate(args: argparse.Namespace, door: Door) -> Text:
    _webhooks().rotate(_number(args))
    return Text("It has a new secret, which is kept on this computer.")


def _delete(args: argparse.Namespace, door: Door) -> Text:
    _webhooks().delete(_number(args))
    return Text("It is gone.")


def _keep(args: argparse.Namespace, door: Door) -> Text:
    """A secret is read from standard input: on a command line others could see it."""
    number = _number(args)
    secret = sys.stdin.readline().strip() if door == "shell" else ""
    if not secret:
        raise CommandError(
            "webhook keep reads the secret from standard input, in a shell", hint=f"vastnb webhook keep {number} < file"
        )
    webhooks = _webhooks()
    webhooks.secrets.keep(number, secret, time.time())
    return Text("It is kept on this computer.")


def _webhooks() -> Any:
    from vastnb.services.webhooks import Webhooks

    return Webhooks()


def _needed(args: argparse.Namespace, what: str) -> str:
    if not args.value:
        raise CommandError(f"webhook {args.word} needs {what}", hint="%vast webhook --help")
    return str(args.value)


def _number(args: argparse.Namespace) -> int:
    text = _needed(args, "the webhook's number")
    if not text.isdecimal():
        raise CommandError(f"webhook {args.word}: expected a number, got {text}", hint="%vast webhook list shows them")
    return int(text)


_WEBHOOK_WORDS: dict[str, Callable[[argparse.Namespace, Door], Any]] = {
    "list": _list,
    "types": _types,
    "create": _create,
    "test": _test,
    "rotate": _rotate,
    "delete": _delete,
    "keep": _keep,
    "serve": _serve,
    "enable": _enable,
    "disable": _enable,
}

WATCHING_COMMANDS: tuple[Command, ...] = (
    Command(
        "events",
        "what happened, newest first, and what handlers made of it",
        _events,
        (
            arg("--kind", default="*", help="like instance.outbid; instance.* stands for several"),
            arg("--machine", metavar="NUMBER", help="of one machine"),
            arg("--limit", type=int, default=1000, help="at most so many"),
        ),
        "vastnb.events",
        ("%vast events", "%vast events --kind instance.*"),
    ),
    Command(
        "watch",
        "look at your machines again and again, and tell handlers what changed",
        _watch,
        (
            arg("--interval", type=float, default=30.0, metavar="S", help="seconds from look to look"),
            arg("--handlers", metavar="FILE", help="a Python file that registers handlers with @vastnb.on"),
            arg("--stop", action="store_true", help="watch no more in this kernel"),
        ),
        "vastnb.on",
        ("%vast watch", "vastnb watch --handlers my_handlers.py"),
        "In a notebook it goes on in the background; in a shell until Ctrl-C. Of all that watch an account on this computer, one looks.",
    ),
    Command(
        "webhook",
        "let Vast call instead: the account's webhooks, and the endpoint that takes their deliveries",
        _webhook,
        (
            arg("word", nargs="?", default="list", help="list, types, create, test, rotate, delete, keep, serve, enable or disable"),
            arg("value", nargs="?", help="create: the public https address; test, rotate, delete, keep: the webhook's number"),
            arg("--kind", action="append", help="create: what it notifies of, like client:outbid; may be repeated"),
            arg("--name", help="create: a name for it"),
            arg("--address", default="127.0.0.1", help="serve: where it listens"),
            arg("--port", type=int, help="serve: its port; 8787 in a shell, any in a notebook"),
        ),
        "vastnb.verify_webhook",
        ("%vast webhook types", "%vast webhook create https://example.com/webhook --kind client:outbid", "vastnb webhook serve"),
        "Secrets stay in a private file. serve takes deliveries on a port of its own; enable does so next to the notebook, from the next start "
        "of Jupyter on. Either needs a public https address in front of it.",
    ),
)  # fmt: skip
"""Know what happens."""
