"""Records, column tables, and JSON into frames. Units are converted here and nowhere else.

Only the column tables are imported with this package; `frames` needs pandas and is imported where frames are made.
"""

from vastnb.vast.types.columns import DROPPED, FIELDS, OFFERS, Ask, Column, asked_as
from vastnb.vast.types.kinds import GPUS, KINDS

__all__ = ["DROPPED", "FIELDS", "GPUS", "KINDS", "OFFERS", "Ask", "Column", "asked_as"]
