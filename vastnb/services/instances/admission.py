"""vastnb's ssh key is registered before a machine is rented: a machine takes the keys that are there when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vastnb.errors import ApiError, LaunchError, ReachError
from vastnb.services.remote import public_key

if TYPE_CHECKING:
    from vastnb.services.instances.fleet import Fleet

__all__ = ["register_key"]


def register_key(fleet: Fleet) -> None:
    """Let vastnb in to what is rented from now on.

    Raises
    ------
    LaunchError
        It cannot be registered, and no other key is: the machine would be paid for nothing.
    """
    from vastnb.services.catalogue import show

    known = {_bare(key) for key in show("ssh-keys", client=fleet.client)["public_key"]}
    try:
        own = public_key(fleet.client.state_folder)
        if _bare(own) not in known:
            fleet.machines.register_key(own)
    except (ReachError, ApiError) as error:
        if not known:
            raise LaunchError(
                f"the account has no ssh key, a machine takes the keys that are there when it is made, and: {error}", code="no_ssh_key",
                hint="register one in Vast's console under Keys, or use runtype='jupyter'", original=error,
            ) from error  # fmt: skip


def _bare(key: str) -> str:
    """A public key without its comment."""
    return " ".join(key.split()[:2])
