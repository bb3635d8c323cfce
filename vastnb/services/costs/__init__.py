"""What a job costs, and what follows from it. Pure, but for looking up an offer by its id."""

from vastnb.services.costs.quoting import Job, Quote, differences, quote, quote_of_row

__all__ = ["Job", "Quote", "differences", "quote", "quote_of_row"]
