"""Rented machines and volumes: what is rented, how it lives, and what it costs."""

from .backend import Backend, Instance
from .desk import Desk
from .engine import Rentals
from .levers import Levers
from .statements import Statements, bill
from .volume_desk import VolumeDesk

__all__ = ["Backend", "Desk", "Instance", "Levers", "Rentals", "Statements", "VolumeDesk", "bill"]
