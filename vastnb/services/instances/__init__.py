"""Rented machines: launch, wait, list, stop, end. What pays is sent once; what was bought is never lost track of.

``spec`` (what runs on it), ``terms`` (what it may cost) and ``states`` (what it does) are pure; ``buying`` sends the one paying
call; ``fleet`` is the account's machines with the record of them; ``launching``, ``handle`` and ``listing`` are what is offered.
``lasting`` lets none end itself while its files are fetched. ``keeping`` says what comes home by itself, ``keeps`` where that is
written down, ``keeper`` does it and ``moving`` moves machines.
"""

from vastnb.services.instances.handle import Instance
from vastnb.services.instances.keeper import Keeper
from vastnb.services.instances.launching import launch
from vastnb.services.instances.listing import audit, instances
from vastnb.services.instances.looks import Progress
from vastnb.services.instances.renting import instance, rent
from vastnb.services.instances.spec import LaunchSpec, Volume
from vastnb.services.instances.terms import Plan

__all__ = [
    "Instance",
    "Keeper",
    "LaunchSpec",
    "Plan",
    "Progress",
    "Volume",
    "audit",
    "instance",
    "instances",
    "launch",
    "rent",
]
