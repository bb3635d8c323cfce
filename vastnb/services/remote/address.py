"""Where a machine is reached by ssh: at its own port if one is open, else through the service's proxy. Pure but for `ssh_user`.

Source: the official client's ``ssh-url``.
"""

from __future__ import annotations

import getpass
import shlex
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from vastnb.vast.types.records import InstanceRecord

__all__ = ["Address", "address_of"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where one logs in to a machine, and as whom."""

    instance_id: int
    host: str
    port: int

    @property
    def user(self) -> str:
        """Root, but on a practice machine: that is this computer, and lets in nobody but who started it."""
        return getpass.getuser() if self.is_loopback else "root"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this computer: a practice machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def alias(self) -> str:
        """The name by which ssh knows it: its host's address is another machine's tomorrow."""
        return f"vastnb-{self.instance_id}"

    def command(self, key: Path | None = None) -> str:
        """The shortest command that logs in, with `key` or one of the user's own."""
        named = () if key is None else ("-i", str(key))
        return shlex.join(("ssh", *named, "-p", str(self.port), f"{self.user}@{self.host}"))


def address_of(record: InstanceRecord) -> Address | None:
    """The address in a machine's record, None while it tells none."""
    direct = (record.ports or {}).get("22/tcp")
    if record.public_ip and isinstance(direct, list) and direct and isinstance(direct[0], dict):
        port = str(direct[0].get("HostPort", ""))
        if port.isdecimal():
            return Address(record.id, record.public_ip, int(port))
    if record.ssh_host is None or record.ssh_port is None:
        return None
    behind_jupyter = "jupyter" in (record.runtype or "")
    return Address(record.id, record.ssh_host, record.ssh_port + behind_jupyter)
