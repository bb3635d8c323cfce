"""What is done on a machine: commands, files, logs. `Instance` is one of these; the work itself is in `services.remote`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from vastnb.errors import InputError, MachineError, NotFoundError, NotRunningError
from vastnb.services import notices
from vastnb.services.arguments import only_known
from vastnb.services.instances import logs
from vastnb.services.instances.logs import Log
from vastnb.services.instances.seen import Seen
from vastnb.services.instances.traffic import price_of
from vastnb.services.remote import (
    Connection,
    Copied,
    Copy,
    Job,
    Moving,
    Ran,
    address_of,
    find_job,
    follow,
    jobs_frame,
    public_key,
    read_jobs,
    running,
    scripts,
    write_entry,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from vastnb.services.remote import OnOutput

__all__ = ["Working"]

_MOST_LINES = 100_000
_LOG_PAUSE_S = 3.0


class Working(Seen):
    """The part of `Instance` that works on the machine, by ssh."""

    def connect(self) -> Connection:
        """The machine's connection, which is opened by its first use.

        Raises
        ------
        NotRunningError
            It does not run.
        """
        if self.state != "running":
            self.refresh()
        self._require_running()
        address = address_of(self.record) if self.record is not None else None
        settings = self._fleet.client.settings
        if address is None:
            raise MachineError(f"machine {self.id} runs, and tells no address for ssh", instance_id=self.id)
        if settings.local and not address.is_loopback:
            raise MachineError(
                f"nothing really runs on machine {self.id}: it is one of a sandbox", instance_id=self.id,
                hint='vastnb.use("sandbox", machines=True): machines are then shells on this computer',
            )  # fmt: skip
        return Connection(
            address, self._fleet.client.state_folder, patience_s=4 * settings.timeout_s, admit=self._admit, check=self._check
        )  # fmt: skip

    def _require_running(self) -> None:
        if self.state != "running":
            raise NotRunningError(
                f"machine {self.id} is {self.state}, and nothing can be done on it", instance_id=self.id,
                hint="wait() waits until it runs, start() starts it again",
            )  # fmt: skip

    def _check(self) -> None:
        self.refresh()
        self._require_running()

    def _admit(self, public_key: str) -> None:
        """A machine that was rented before vastnb's key was registered gets it now."""
        self._fleet.machines.attach_key(self.id, public_key)

    @property
    def _spools(self) -> Path:
        return self._fleet.client.state_folder / "output"

    def ssh_config(self) -> str:
        """Make it known to your own ssh, and to editors that use it; what it is called there.

        An entry is written into a file of vastnb's, and ``~/.ssh/config`` includes it from then on. The entry goes when the
        machine is destroyed.

        Raises
        ------
        NotRunningError
            It does not run.
        StateError
            The files cannot be written.
        """
        host, folder = f"vast-{self.name or self.id}", self._fleet.client.state_folder
        public_key(folder)
        write_entry(folder, self.id, host, self.connect().options, users=Path.home() / ".ssh" / "config")
        return host

    # -------------------------------------------------------- commands

    @overload
    def run(
        self, command: str, *, detach: Literal[False] = False, cwd: str = ".", timeout_s: float | None = None,
        on_output: OnOutput | None = None,
    ) -> Ran: ...  # fmt: skip

    @overload
    def run(self, command: str, *, detach: Literal[True], cwd: str = ".") -> Job: ...

    def run(
        self, command: str, *, detach: bool = False, cwd: str = ".", timeout_s: float | None = None,
        on_output: OnOutput | None = None,
    ) -> Ran | Job:  # fmt: skip
        """Run a command of the machine's shell.

        If the connection breaks, it runs on, and is followed again: nothing runs twice, no output is lost. Ctrl-C ends it there.

        Parameters
        ----------
        command
            One line or a whole script.
        detach
            Give a `Job` at once; it runs on whatever becomes of this kernel and its connection.
        cwd
            The folder it runs in, without one the home.
        timeout_s
            For how long, in seconds; then it is ended.
        on_output
            Told ``stdout`` or ``stderr``, and what was printed there; without one, a notebook shows it.

        Returns
        -------
        Ran or Job
            Exit status, output, errors and seconds; a status that is not 0 is no error of ours.

        Raises
        ------
        NotRunningError, ReachError
            The machine does not run, or cannot be reached.
        WaitTimeoutError
            It took longer than `timeout_s`, and was ended.
        """
        connection, token = self.connect(), running.new_token()
        begin = running.start(command, token=token, cwd=cwd)
        if detach:
            running.begin(connection, begin)
            return self.job(token)
        return follow(
            connection, token, begin=begin, timeout_s=timeout_s, on_output=on_output, spools=self._spools
        )  # fmt: skip

    def jobs(self) -> pd.DataFrame:
        """What runs on the machine by itself, and what has ended, oldest first.

        Returns
        -------
        DataFrame
            Columns as in the columns page, also when it is empty.
        """
        return jobs_frame(read_jobs(self.connect().run(scripts.listing()).stdout))

    def job(self, job_id: str) -> Job:
        """One of `jobs`, by its ``job_id``.

        Raises
        ------
        NotFoundError
            There is none.
        """
        return Job(self.connect, find_job(self.connect(), job_id), self._spools)

    # -------------------------------------------------------- files

    @only_known
    def put(
        self, source: str | Path, to: str = ".", *, checksum: bool = False, over_max_usd: bool = False,
        on_progress: Callable[[Moving], None] | None = None,
    ) -> Copied:  # fmt: skip
        """Copy a file or a folder to the machine; what is there already, and the same, is not copied again.

        Size and price are said first. If the connection breaks it goes on where it was, and so does the same call later.

        Parameters
        ----------
        source
            On this computer. With a slash at its end, what is in the folder; without one, the folder itself.
        to
            On the machine, from its home on; with a slash at its end a folder, which is made.
        checksum
            Compare what files hold, not only their sizes and times.
        over_max_usd
            Copy although the traffic costs more than ``max_usd`` leaves for it.
        on_progress
            Told how far it is; without one, a notebook shows it.

        Raises
        ------
        BudgetError
            The traffic costs more than ``max_usd`` leaves for it; nothing was copied.
        CopyError
            It was not copied, or not whole: a disk is full, something may not be read or written.
        NotRunningError, ReachError
            The machine does not run, or cannot be reached.
        """
        return self._copied(Copy(self.connect(), "put", source, to, checksum=checksum), over_max_usd, on_progress)

    @only_known
    def get(
        self, source: str, to: str | Path = ".", *, checksum: bool = False, over_max_usd: bool = False,
        on_progress: Callable[[Moving], None] | None = None,
    ) -> Copied:  # fmt: skip
        """Copy a file or a folder from the machine; arguments and errors as those of `put`."""
        return self._copied(Copy(self.connect(), "get", source, to, checksum=checksum), over_max_usd, on_progress)

    def _copied(self, copy: Copy, is_over_allowed: bool, on_progress: Callable[[Moving], None] | None) -> Copied:
        record = self.refresh().record  # what was moved before counts

        def allow(size_bytes: int) -> float | None:
            return price_of(
                size_bytes, record, self._row, to_machine=copy.way == "put", is_over_allowed=is_over_allowed
            )

        return copy.run(allow, on_progress or notices.show_progress)

    # -------------------------------------------------------- logs

    def logs(
        self, *, tail: int = 100, follow: bool = False, grep: str = "", daemon: bool = False, on_output: OnOutput | None = None
    ) -> Log | None:  # fmt: skip
        """What the machine printed, as the service tells it; it needs no ssh, and the machine need not run.

        What a job printed is `Job.log`.

        Parameters
        ----------
        tail
            How many lines at most, of the last ones.
        follow
            Show them, and what comes, until Ctrl-C or the machine's end; then there is nothing to return.
        grep
            Only lines that match this regular expression.
        daemon
            What the host says of the machine, instead of what it printed itself.
        on_output
            With `follow`: told ``stdout`` and the lines; without one, a notebook shows them.

        Raises
        ------
        NotFoundError
            There is no log, or no such machine.

        Source: ``PUT /api/v0/instances/request_logs/{id}/``.
        """
        if not 1 <= tail <= _MOST_LINES:
            raise InputError(f"tail must be 1 to {_MOST_LINES:,} lines, got {tail}")

        def look() -> list[str]:
            return logs.fetched(self._fleet, self.id, tail=tail, grep=grep, daemon=daemon)

        if not follow:
            return Log("\n".join(look()))
        tell = on_output or notices.show_output or (lambda _stream, _text: None)
        with contextlib.suppress(KeyboardInterrupt):
            logs.follow(look, lambda text: tell("stdout", text), self._goes_on)
        return None

    def _goes_on(self) -> bool:
        """Wait a little; whether the machine may print more."""
        self._fleet.pause(_LOG_PAUSE_S)
        try:
            return self.refresh().state in ("provisioning", "loading", "running")
        except NotFoundError:
            return False
