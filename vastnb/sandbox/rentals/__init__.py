"""Rented machines: what is rented, how it lives, and what it costs."""
