"""The price observatory: what searches saw, kept, and what it says of prices over time.

1. `spool`: `offers.search` hands over its fresh answers; each becomes one batch of the day's Arrow stream.
2. `judging`: what an answer may be used for, from what was asked.
3. `packing`: days that are over become sorted Parquet, with the figures of their hours (`store` has the layout).
4. `window`, `figures`: what there is of a stretch of time, and its statistics, with DuckDB.
5. `reading`: `history`, for people. `importing`: records of others become the same.

It never asks the service; `services.sampling` does.
"""

from vastnb.services.history.importing import import_history
from vastnb.services.history.reading import history
from vastnb.services.history.spool import append

__all__ = ["append", "history", "import_history"]
