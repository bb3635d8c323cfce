"""What machines print, and the commands that run on stopped ones; both are fetched from a URL (see :mod:`uploads`).

Behind a machine that really runs (see :mod:`machines`) its processes print, and the commands run in its folder. For
any other both are made up: its log tells what happened to it.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .books import Books
from .rentals import Backend, Rentals
from .rentals.guard import guarded
from .rentals.rental import Rental
from .rentals.terms import RefusedError, bad
from .replies import Answer, Request, decoded, reply
from .uploads import Uploads

Handler = Callable[[Request], Answer]
COMMANDS = ("ls", "rm", "du")
"""What may be run on a stopped machine; documented."""
_USUAL_LINES = 1000
"""How many lines of a log are sent if the request does not say; from the help of the official client."""
_MOST_COMMAND = 512
_OPTION = re.compile(r"--?[A-Za-z0-9][A-Za-z0-9-]*")
_TIMEOUT_S = 10.0
_WRITEABLE_PATH = "/var/lib/docker/overlay2/{:x}/merged"
_ROOT = (
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
)
_DAEMON = {
    "provisioning": "contract accepted",
    "created": "docker create {image}",
    "loading": "docker pull {image}",
    "running": "docker start C.{id}",
    "stopping": "docker stop C.{id}",
    "ending": "C.{id} exited",
    "outbid": "docker stop C.{id}: its GPUs went to a higher bid",
    "queued": "start of C.{id} is queued: its GPUs are in use",
    "accepted": "start of C.{id} accepted",
    "rebooting": "docker restart C.{id}",
    "recycling": "docker rm C.{id}",
}
"""What the host's daemon says of each phase."""


class Logs:
    """The handlers."""

    def __init__(self, *, rentals: Rentals, books: Books, uploads: Uploads, machines: Backend | None) -> None:
        self._rentals, self._books, self._uploads, self._machines = rentals, books, uploads, machines
        self.handlers: dict[tuple[str, str], Handler] = {
            ("PUT", "/api/v0/instances/request_logs/{id}/"): guarded(rentals, self.request_logs),
            ("PUT", "/api/v0/instances/command/{id}/"): guarded(rentals, self.command),
        }

    def request_logs(self, request: Request) -> Answer:
        """Upload the log of a machine, or its host's log of it, and answer where."""
        rental = self._find(request)
        if rental is None:
            return reply({"success": False, "error": "invalid_id", "msg": "Invalid instance id."}, 404)
        body = decoded(request.body or b"{}")
        if not isinstance(body, dict):
            raise bad("Invalid json body")
        printed = self._machines.output(rental.id) if self._machines else None
        text = container_log(rental) if printed is None else printed.decode(errors="replace")
        text = daemon_log(rental) if body.get("daemon_logs") == "true" else text
        url = self._uploads.put(_chosen(text, body).encode(errors="replace"))
        return reply({"success": True, "result_url": url, "msg": "Logs are being uploaded, wait a few seconds"})

    def command(self, request: Request) -> Answer:
        """Run one of :data:`COMMANDS` on the disk of a stopped machine, upload what it prints, and answer where."""
        body = decoded(request.body)
        if not isinstance(body, dict):
            raise RefusedError(483, "invalid_args", "Invalid json_body")
        words = _words(body.get("command"))
        rental = self._find(request)
        if rental is None:
            raise bad("Invalid instance id.", "invalid_container_id")
        if rental.holds:
            raise bad("The instance must be stopped for commands to be executed.", "invalid_container")
        disk = self._machines.disk(rental.id) if self._machines else None
        try:
            output = _made_up(words) if disk is None else _run(words, disk)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            # Links in a circle, a disk that was removed, a disk that takes too long.
            raise bad("Invalid command given.") from None
        return reply(
            {
                "success": True,
                "result_url": self._uploads.put(output),
                "writeable_path": _WRITEABLE_PATH.format(rental.id) if disk is None else str(disk),
                "msg": "Command is executing, wait a few seconds and then view the result_url",
            }
        )

    def _find(self, request: Request) -> Rental | None:
        number = request.last_part
        account_id = self._books.owner(request.key).id
        return self._rentals.contracts.find(int(number), account_id) if number.isdecimal() else None


def container_log(rental: Rental) -> str:
    """Return what a container that only exists by its states would have printed so far."""
    wish, lines, was_up = rental.contract.wish, list[str](), False
    starting = [f"C.{rental.id}: starting {wish.image}"]
    starting += [] if wish.runtype == "args" else ["Starting OpenBSD Secure Shell server: sshd."]
    starting += ["Jupyter Server is running at port 8080"] if "jupyter" in wish.runtype else []
    starting += ["running /root/onstart.sh", "onstart.sh: done"] if wish.onstart and wish.runtype != "args" else []
    for moment in rental.moments:
        is_up = moment.status.actual == "running"
        lines += starting if is_up and not was_up else ["received SIGTERM"] if was_up and not is_up else []
        was_up = is_up
    return "\n".join([*lines, ""])


def daemon_log(rental: Rental) -> str:
    """Return what the host's daemon says of a machine: a line for each change."""
    lines = []
    for moment in rental.moments:
        at = datetime.fromtimestamp(moment.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = _DAEMON.get(moment.phase, f"C.{{id}} is {moment.phase}")
        said = "lost the connection to the host" if moment.status.actual == "offline" else said
        lines.append(f"{at} {said.format(image=rental.contract.wish.image, id=rental.id)}")
    return "\n".join([*lines, ""])


def _chosen(text: str, body: dict[str, Any]) -> str:
    """Return the lines that a request wants: first those that fit its filter, of them the last ones."""
    lines = text.splitlines(keepends=True)
    if body.get("filter"):
        fits = _pattern(str(body["filter"]))
        lines = [line for line in lines if fits.search(line)]
    tail = str(body.get("tail") or _USUAL_LINES)
    if not tail.isdecimal() or len(tail) > 9:
        raise bad("Invalid args: tail must be a number of lines")
    return "".join(lines[-int(tail) :] if int(tail) else [])


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error:
        return re.compile(re.escape(text))


def _words(command: Any) -> list[str]:
    """Return the words of a command that may be run."""
    try:
        words = shlex.split(command) if isinstance(command, str) and len(command) <= _MOST_COMMAND else []
    except ValueError:
        words = []
    if not words or words[0] not in COMMANDS or any("\0" in word for word in words):
        raise bad("Invalid command given.")
    if not all(_OPTION.fullmatch(word) for word in words[1:] if word.startswith("-")):
        raise bad("Invalid command given.")
    return words


def _run(words: list[str], disk: Path) -> bytes:
    """Run a command; the paths in it begin at the root of the machine's disk and do not lead out of it."""
    options = [word for word in words[1:] if word.startswith("-")]
    paths = [disk / word.lstrip("/") for word in words[1:] if not word.startswith("-")]
    if not all(path.resolve().is_relative_to(disk.resolve()) for path in paths):
        raise bad("Invalid command given.")
    done = subprocess.run(  # noqa: S603 one of three commands, on a folder of ours
        [words[0], *options, "--", *map(str, paths)],
        cwd=disk,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return done.stdout


def _made_up(words: list[str]) -> bytes:
    """Return what a command would print on the disk of a new Ubuntu."""
    paths = [word.strip("/") for word in words[1:] if not word.startswith("-")] or [""]
    known = {"": _ROOT, "root": ("onstart.sh",), "workspace": ()}
    lines: list[str] = []
    for path in paths:
        if path not in known:
            lines.append(f"{words[0]}: cannot access '{path}': No such file or directory")
        elif words[0] == "ls":
            lines += known[path]
        elif words[0] == "du":
            lines.append(f"4\t{path or '.'}")
    return "".join(f"{line}\n" for line in lines).encode()
