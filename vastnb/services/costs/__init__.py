"""What a job costs, and what follows from it. Pure, but for looking up an offer by its id."""

from vastnb.services.costs.analysis import cheapest_for, compare, frontier, sensitivity, usd_per_job
from vastnb.services.costs.quoting import Job, Quote, differences, quote, quote_of_row, quotes_of

__all__ = [
    "Job",
    "Quote",
    "cheapest_for",
    "compare",
    "differences",
    "frontier",
    "quote",
    "quote_of_row",
    "quotes_of",
    "sensitivity",
    "usd_per_job",
]
