"""The query language: the official client's, made strict. Text in, request body out; nothing is sent from here."""

from vastnb.vast.query.check import kept_rows
from vastnb.vast.query.names import GPU_NAMES, REGIONS
from vastnb.vast.query.options import DEFAULT_DISK_GB, DEFAULT_ORDER, RENTALS, Rental
from vastnb.vast.query.parse import Filters, Query, Residual, parse_filters, parse_query
from vastnb.vast.query.values import seconds_of

__all__ = [
    "DEFAULT_DISK_GB",
    "DEFAULT_ORDER",
    "GPU_NAMES",
    "REGIONS",
    "RENTALS",
    "Filters",
    "Query",
    "Rental",
    "Residual",
    "kept_rows",
    "parse_filters",
    "parse_query",
    "seconds_of",
]
