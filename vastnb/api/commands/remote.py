"""The words about work on a machine: run, put, get, logs, jobs, ssh."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Literal

from vastnb.api.cells import machine_of, run_cell
from vastnb.api.commands.model import Command, Door, Text, arg
from vastnb.errors import CommandError

__all__ = ["REMOTE_COMMANDS"]

_MACHINE = arg("machine", help="its name or number")


def _named(machine: str) -> Any:
    from vastnb.services.instances import instance

    return instance(machine)


def _run(args: argparse.Namespace, door: Door) -> Any:
    if args.end_kernel:
        return machine_of(args.machine).end_kernel(args.kernel)
    if args.push or args.pull or args.pickle or args.kernel or args.python or (args.cell and not args.shell):
        return _run_python(args)
    command = args.cell or _shell_line(args.command)
    if not command.strip():
        raise CommandError("run: expected a command", hint="for example %vast run lora-7b nvidia-smi")
    machine = _named(args.machine)
    if args.detach:
        return machine.run(command, detach=True, cwd=args.cwd)
    return machine.run(command, cwd=args.cwd, timeout_s=args.timeout_s)


def _run_python(args: argparse.Namespace) -> Any:
    if args.command or args.shell:
        raise CommandError(
            "run: expected Python (a body, --push, --pull, --kernel, --python) or the shell (a command, --shell), got both"
        )
    if args.detach or args.timeout_s is not None or args.cwd != ".":
        raise CommandError(
            "run: --detach, --cwd and --timeout are for commands of the shell",
            hint=f"%%vast run {args.machine} --shell",
        )
    how = {name: getattr(args, name) for name in ("push", "pull", "pickle", "kernel", "python")}
    return run_cell(args.machine, args.cell, **how)


def _names(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _shell_line(words: Sequence[str]) -> str:
    """The command as it was written; quotes around all of it are the line's."""
    return str(words[0]) if len(words) == 1 else " ".join(getattr(word, "written", word) for word in words)


def _jobs(args: argparse.Namespace, door: Door) -> Any:
    machine = _named(args.machine)
    if args.job is None:
        return machine.jobs()
    job = machine.job(args.job)
    if args.stop:
        return job.stop()
    if args.forget:
        return job.forget()
    if args.wait:
        return job.wait()
    return job if args.tail is None else Text(job.log(args.tail))


def _logs(args: argparse.Namespace, door: Door) -> Any:
    return _named(args.machine).logs(tail=args.tail, follow=args.follow, grep=args.grep, daemon=args.daemon)


def _copying(way: Literal["put", "get"], source: str, to: str, example: str, details: str) -> Command:
    """The word that copies one way; `source` and `to` say where its ends are."""

    def copy(args: argparse.Namespace, door: Door) -> Any:
        act = getattr(_named(args.machine), way)
        return act(args.source, args.to, checksum=args.checksum, over_max_usd=args.over_max_usd)

    return Command(
        way,
        f"copy files {'to' if way == 'put' else 'from'} a machine; size and price are said first",
        copy,
        (
            _MACHINE,
            arg("source", help=f"a file or folder {source}; with a slash at its end, what is in the folder"),
            arg("to", nargs="?", default=".", help=f"where {to}; with a slash at its end a folder, which is made"),
            arg("--checksum", action="store_true", help="compare what files hold, not only their sizes and times"),
            arg("--over-max-usd", action="store_true", help="although the traffic costs more than max_usd leaves for it"),
        ),
        f"vastnb.Instance.{way}",
        (example,),
        details,
    )  # fmt: skip


def _ssh(args: argparse.Namespace, door: Door) -> Any:
    machine = _named(args.machine)
    if args.config:
        return Text(f"ssh {machine.ssh_config()}")
    if machine.ssh_command is None:
        raise CommandError(
            f"ssh: machine {machine.id} is {machine.state} and cannot be reached yet", hint=f"%vast wait {args.machine}"
        )
    return Text(machine.ssh_command)


REMOTE_COMMANDS: tuple[Command, ...] = (
    Command(
        "run",
        "run a command or a cell on a machine, and see what it shows",
        _run,
        (
            _MACHINE,
            arg("command", nargs="*", help="a command of its shell, with its own options; it comes last"),
            arg("--detach", action="store_true", help="give a job at once, which runs on by itself"),
            arg("--cwd", default=".", metavar="FOLDER", help="the folder it runs in, without one the home"),
            arg("--timeout", dest="timeout_s", type=float, metavar="S", help="seconds; then it is ended"),
            arg("--shell", action="store_true", help="with %%vast: the body of the cell is a script of its shell, not Python"),
            arg("-i", "--push", type=_names, default="", metavar="NAMES", help="with %%vast: variables x,y of the notebook go there before"),
            arg("-o", "--pull", type=_names, default="", metavar="NAMES", help="with %%vast: variables z of the machine's Python come here after"),
            arg("--pickle", action="store_true", help="pickle what no safe format takes; a machine's pickle can run code here"),
            arg("--kernel", default="", metavar="NAME", help="a Python of that name there, without one this notebook's own"),
            arg("--python", default="", metavar="PATH", help="the program on the machine that it is started from"),
            arg("--end-kernel", action="store_true", help="end that Python and free its memory"),
            arg("--cell", default="", help=argparse.SUPPRESS),
        ),
        "vastnb.Instance.run",
        ("%vast run lora-7b nvidia-smi -L", "%vast run lora-7b --detach 'python train.py >log.txt 2>&1'"),
        "Quotes around the whole command keep it as it is. Ctrl-C ends it there. If the connection breaks it runs on, and is followed again. "
        "With two %, the body of the cell is Python for one that lives on the machine: what one cell defines the next one has. That is "
        "vastnb.Instance.cell.",
        body="--cell",
        tail="command",
    ),
    Command(
        "jobs",
        "what runs on a machine by itself, or one of it",
        _jobs,
        (
            _MACHINE,
            arg("job", nargs="?", help="one of them"),
            arg("--wait", action="store_true", help="wait until it ends, and show all that it printed"),
            arg("--tail", type=int, metavar="LINES", help="the last lines that it printed"),
            arg("--stop", action="store_true", help="end it"),
            arg("--forget", action="store_true", help="end it, and remove what the machine keeps of it"),
        ),
        "vastnb.Instance.jobs",
        ("%vast jobs lora-7b",),
    ),
    _copying(
        "put", "here", "there, without it the home", "%vast put lora-7b ./ work/",
        "What is there already, and the same, is not copied again. If the connection breaks it goes on where it was.",
    ),
    _copying(
        "get", "there", "here, without it this folder", "%vast get lora-7b work/ results/",
        "The files of a machine end with it: %vast destroy lora-7b --fetch /workspace/out brings them home first.",
    ),
    Command(
        "logs",
        "what a machine printed, without ssh",
        _logs,
        (
            _MACHINE,
            arg("--tail", type=int, default=100, metavar="LINES", help="how many lines at most"),
            arg("-f", "--follow", action="store_true", help="show what comes until Ctrl-C"),
            arg("--grep", default="", metavar="PATTERN", help="only lines that match"),
            arg("--daemon", action="store_true", help="what the host says of the machine instead"),
        ),
        "vastnb.Instance.logs",
        ("%vast logs lora-7b --tail 20",),
        first=True,
    ),
    Command(
        "ssh",
        "how to reach a machine",
        _ssh,
        (_MACHINE, arg("--config", action="store_true", help="make it known to your own ssh and to editors, and say by which name")),
        "vastnb.Instance.ssh_command",
        ("%vast ssh lora-7b",),
        first=True,
    ),
)  # fmt: skip
"""Run, copy, look."""
