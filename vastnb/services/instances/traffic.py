"""What a copy costs, and whether a machine's cap allows it. Pure."""

from __future__ import annotations

from vastnb.errors import BudgetError
from vastnb.services.journal import Rental
from vastnb.vast.types.records import InstanceRecord

__all__ = ["price_of"]


def price_of(
    size_bytes: int, record: InstanceRecord | None, row: Rental | None, *, to_machine: bool, is_over_allowed: bool
) -> float | None:
    """Dollars for so many bytes, by the machine's prices; None if they are not known.

    Raises
    ------
    BudgetError
        What the cap ``max_usd`` leaves for traffic is not enough. What was moved before counts.
    """
    if record is None:
        return None
    usd = _usd(size_bytes, record.inet_down_usd_per_gb if to_machine else record.inet_up_usd_per_gb)
    allowed = _allowed(row) if row is not None else None
    before = (_usd(1e6 * (record.downloaded_mb or 0.0), record.inet_down_usd_per_gb) or 0.0) + (
        _usd(1e6 * (record.uploaded_mb or 0.0), record.inet_up_usd_per_gb) or 0.0
    )
    needed = before + (usd or 0.0)
    if allowed is not None and needed > allowed + 1e-9 and usd and not is_over_allowed:
        raise BudgetError(
            f"max_usd leaves ${allowed:.2f} of machine {record.id} for traffic, of which ${before:.2f} is used; this would cost ${usd:.2f}",
            cap="max_usd", limit_usd=allowed, needed_usd=needed,
            hint="move less, or say over_max_usd=True: the machine may then end itself before its time",
        )  # fmt: skip
    return usd


def _usd(size_bytes: float, usd_per_gb: float | None) -> float | None:
    return None if usd_per_gb is None else usd_per_gb * size_bytes / 1e9


def _allowed(row: Rental) -> float | None:
    """What a cap in all leaves beside the hours that it pays for."""
    cap = row.terms.get("max_usd")
    if cap is None or row.ends_at is None:
        return None
    return max(0.0, float(cap) - row.usd_per_hour * (row.ends_at - row.sent_at) / 3600)
