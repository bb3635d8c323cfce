"""A real OpenSSH server for one machine of :mod:`machines`: on a loopback port, for its public keys alone.

It runs without privileges and logs in nobody but the user who started the sandbox (on a real machine: root). Each session
begins in the machine's home with the variables of its container; paths that begin with ``/`` are those of this computer.
"""

import contextlib
import os
import random
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from .relay import Relay

ADDRESS = "127.0.0.1"
_PLACES = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"))
_PORTS = range(20000, 32768)
_SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")
_PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Where Debian's sshd wants an empty folder if it is started by root."""
_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{authorized_keys}"
ForceCommand "{folder}/session"
Subsystem sftp {sftp_server}
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
PrintMotd no
LogLevel ERROR
"""
_SESSION = """\
#!/bin/sh
cd {home} || exit
set -- {shell}
[ -z "$SSH_ORIGINAL_COMMAND" ] || set -- "$@" -c "$SSH_ORIGINAL_COMMAND"
exec env -i SSH_CONNECTION="$SSH_CONNECTION" TERM="$TERM" USER="$USER" {variables} "$@"
"""


def program() -> str:
    """Return the path of this computer's sshd; an ``OSError`` if there is none, or no ``ssh-keygen``."""
    found = shutil.which("sshd", path=os.environ.get("PATH", os.defpath) + os.pathsep + _PLACES)
    if found is None or shutil.which("ssh-keygen") is None:
        raise OSError("there is no OpenSSH server on this computer (Debian: apt-get install openssh-server)")
    return str(Path(found).resolve())


class Sshd:
    """The files of one machine's server; the machine's first process runs :attr:`command`."""

    def __init__(self, folder: Path, authorized_keys: Path, latency_s: float = 0.0) -> None:
        self._folder, self._authorized_keys, self._latency_s = folder, authorized_keys, latency_s
        self._sshd = program()
        self.port = _free_port()
        self._inner_port = _free_port() if latency_s else self.port
        self._relay: Relay | None = None

    @property
    def command(self) -> list[str]:
        """What runs the server until it is ended."""
        return [self._sshd, "-D", "-e", "-f", str(self._folder / "sshd_config")]

    def prepare(self, environment: Mapping[str, str], shell: str) -> None:
        """Write what the server needs; the host key is made once and stays."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self._folder / "host_key").exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self._folder / "host_key")]
            subprocess.run(words, check=True, capture_output=True)  # noqa: S603 words of ours; program() looked it up
        home, variables = shlex.quote(environment["HOME"]), (f"{name}={value}" for name, value in environment.items())
        session = self._folder / "session"
        session.write_text(
            _SESSION.format(home=home, shell=shlex.quote(shell), variables=shlex.join(variables)), "utf-8"
        )
        session.chmod(0o700)
        config = _CONFIG.format(
            port=self._inner_port,
            address=ADDRESS,
            folder=self._folder,
            authorized_keys=self._authorized_keys,
            sftp_server=next(filter(os.path.exists, _SFTP_SERVERS), "internal-sftp"),
        )
        (self._folder / "sshd_config").write_text(config, "utf-8")
        if self._latency_s and self._relay is None:
            self._relay = Relay(ADDRESS, self.port, self._inner_port, self._latency_s)
        if os.geteuid() == 0:
            with contextlib.suppress(OSError):
                _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)

    def close(self) -> None:
        """Close what is in front of it; its program has ended."""
        if self._relay is not None:
            self._relay.close()
            self._relay = None


def authorize(path: Path, keys: Iterable[str], before: Iterable[str] = ()) -> None:
    """Let public keys log in, those of ``before`` no more; what else the machine has written into the file stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []
    wanted = [*(line for line in lines if line not in set(before)), *keys]
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(wanted)), "utf-8", "surrogateescape")
    path.chmod(0o600)


def _free_port() -> int:
    """Return a port that is free now, below those that systems hand out: none is taken from it before its server starts."""
    for port in random.SystemRandom().sample(_PORTS, k=100):
        with contextlib.suppress(OSError), socket.create_server((ADDRESS, port)):
            return port
    raise OSError("a hundred ports were tried for a machine, and all are in use")
