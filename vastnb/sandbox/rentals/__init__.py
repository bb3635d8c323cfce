"""Rented machines: what is rented, how it lives, and what it costs."""

from .backend import Backend, Instance
from .desk import Desk
from .engine import Rentals

__all__ = ["Backend", "Desk", "Instance", "Rentals"]
