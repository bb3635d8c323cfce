"""The words about what happens: what did, who looks, and who may call."""

from __future__ import annotations

import argparse
import logging
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vastnb.api.commands.model import Command, Door, Text, arg
from vastnb.errors import CommandError

if TYPE_CHECKING:
    from vastnb.services.events import Event

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
    act = _WATCH_WORDS.get(args.what[0] if args.what else "")
    if act is None:
        raise CommandError(f"watch: no such word: {args.what[0]}", hint="market, price, or nothing for your machines")
    return act(args, door)


def _watch_all(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services import sync

    if args.stop:
        return Text("This kernel watches no more." if sync.stop_watching() else "This kernel did not watch.")
    return _sync(args, door)


def _sync(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services import sync

    if args.status:
        return sync.sync_status()
    if args.handlers:
        runpy.run_path(args.handlers)
    if args.once:
        return _look_now()
    if door == "shell":
        return _watch_here(args.interval)
    watcher = sync.start_watching(interval_s=args.interval)
    return Text(
        f"Watching every {watcher.interval_s:g} s, while no other kernel of yours does. %vast events shows what happened."
    )


def _look_now() -> Text:
    from vastnb.services import sync

    return Text("\n".join(_line(event) for event in sync.look_now()) or "Nothing new.")


def _watch_market(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services import sync
    from vastnb.services.events import default_bus

    models = _models(args.what[1:])
    if not models and not args.stop:
        return sync.sync_status()
    queue = default_bus().queue
    plan = sync.put_plan(queue, [] if args.stop else models, every_s=_seconds(args.every))
    if args.stop:
        return Text("No GPU models are looked at any more; price alerts stay.")
    said = f"{', '.join(plan.models)}: to be looked at every {plan.every_s / 60:g} min, for the history."
    return Text("\n".join((said, *_doubts(plan.models), _who_looks(args.interval, door))))


def _models(words: Sequence[str]) -> list[str]:
    """Names of models: with commas, or one after the other, quoted or not."""
    from vastnb.vast.query.names import gpu_canonical

    if any("," in word for word in words):
        return [name for group in " ".join(words).split(",") for name in _models(group.split())]
    found: list[str] = []
    rest = list(words)
    while rest:
        length = next((n for n in (4, 3, 2) if gpu_canonical(" ".join(rest[:n]))), 1)
        found.append(" ".join(rest[:length]))
        rest = rest[length:]
    return found


def _doubts(models: Sequence[str]) -> list[str]:
    from vastnb.vast.query.names import gpu_canonical, gpu_suggestions

    unknown = [name for name in models if gpu_canonical(name) is None]
    return [
        f"No GPU named {name} was seen before; did you mean {', '.join(gpu_suggestions(name))}?" for name in unknown
    ]


def _seconds(text: str | None) -> float | None:
    from vastnb.vast.query import seconds_of

    try:
        return None if text is None else seconds_of(text)
    except ValueError as error:
        raise CommandError(f"watch --every: {error}, got {text!r}", hint="for example 15min or 1h") from error


def _who_looks(interval_s: float, door: Door) -> str:
    """In a notebook this kernel does from now on, or stands by; in a shell it is said whether anybody does."""
    from vastnb.services import sync

    if door == "notebook":
        sync.start_watching(interval_s=interval_s)
    status = sync.sync_status()
    if status.watched_by is None:
        return "Nobody looks yet: vastnb sync does."
    return f"{'This kernel' if status.here else status.watched_by} looks, from now on."


def _watch_price(args: argparse.Namespace, door: Door) -> Any:
    from vastnb.services import alerts

    text = " ".join(args.what[1:])
    if args.stop:
        alerts.drop_alert(text)
        return Text("It is forgotten.")
    if not text:
        return alerts.alerts()
    if args.below is None:
        raise CommandError("watch price needs a price", hint=f"%vast watch price {text} --below 0.4")
    made = alerts.alert(text, below_usd_per_hour=args.below, rental=args.rental, disk_gb=args.storage, name=args.name)
    _look_soon(_seconds(args.every))
    said = f"{made.name}: the event market.price comes when an offer costs at most ${made.below_usd_per_hour:g}/h."
    return Text(f"{said}\n{_who_looks(args.interval, door)}")


def _look_soon(every_s: float | None) -> None:
    """Let the next pass begin at once, and the others follow at this distance."""
    from vastnb.services import sync
    from vastnb.services.events import default_bus

    queue = default_bus().queue
    sync.put_plan(queue, sync.plan_of(queue).models, every_s=every_s)


_WATCH_WORDS: dict[str, Callable[[argparse.Namespace, Door], Any]] = {
    "": _watch_all,
    "market": _watch_market,
    "price": _watch_price,
}


def _watch_here(interval_s: float) -> None:
    """Watch in the foreground, a line an event, until Ctrl-C or SIGTERM."""
    from vastnb.infra.processes import until_ended
    from vastnb.services import sync
    from vastnb.services.events import default_bus

    _log_to_stderr()
    logging.getLogger("vastnb.sync").setLevel(logging.INFO)
    with until_ended() as wait:
        sync.start_watching(interval_s=interval_s, tell=lambda event: _say(_line(event)), patient=True)
        _say(f"Watching every {interval_s:g} s until Ctrl-C.")
        wait()
        sync.stop_watching()
        default_bus().close()


def _line(event: Event) -> str:
    return f"{event.at:%Y-%m-%d %H:%M:%S} {event.kind} {event.data.get('message', '')}"


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

_WATCH = (
    arg("--interval", type=float, default=30.0, metavar="S", help="seconds from look to look at the machines"),
    arg("--handlers", metavar="FILE", help="a Python file that registers handlers with @vastnb.on"),
    arg("--once", action="store_true", help="look now, tell the handlers, and end: for cron"),
    arg("--status", action="store_true", help="who looks, since when, what is due, what is kept and what is wrong"),
)
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
        "look at your machines and the market again and again, and tell handlers what changed",
        _watch,
        (
            arg("what", nargs="*", help="nothing for your machines; market and GPU models; price and a query"),
            arg("--every", metavar="TIME", help="market, price: from pass to pass, like 15min"),
            arg("--below", type=float, metavar="USD", help="price: tell when an offer costs at most so much an hour"),
            arg("--name", help="price: a name for it; its query without one"),
            arg("-t", "--type", dest="rental", default="on-demand", help="price: on-demand, bid or reserved"),
            arg("--storage", type=float, default=10.0, metavar="GB", help="price: disk that the price includes"),
            *_WATCH,
            arg("--stop", action="store_true", help="watch no more in this kernel; market: these models; price: the alert of this name"),
        ),
        "vastnb.watch",
        ("%vast watch", '%vast watch market "RTX 4090" H100_SXM --every 15min', "%vast watch price gpu_name=RTX_4090 num_gpus>=2 --below 0.4"),
        "In a notebook it goes on in the background; in a shell it is sync. Of all that watch an account on this computer, one looks. What is "
        "to be looked for on the market is kept: whoever looks goes on with it.",
    ),
    Command(
        "sync",
        "the watcher as a program of its own, until Ctrl-C or SIGTERM: machines, market and price alerts",
        _sync,
        _WATCH,
        "vastnb.watch",
        ("vastnb sync --handlers my_handlers.py", "vastnb sync --status"),
        "A line an event on standard output, what went wrong on standard error. vastnb watch market and price say what else to look for.",
        doors=("shell",),
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
