"""What a selector says about its frame: where it comes from, of when it is, whether it is whole. Pure.

And what it shows to readers without a front end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vastnb.api.widgets.panel import Snapshot
from vastnb.vast.render import frame_html, frame_text, is_ours, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["snapshot", "told"]

_SANDBOX_IDS = 900_000_000
_ROWS_SHOWN, _COLUMNS_SHOWN = 20, 12


def told(frame: pd.DataFrame, *, asked: dict[str, Any] | None, market: bool) -> dict[str, Any]:
    """What the line above the table says.

    Parameters
    ----------
    frame
        The offers on the screen.
    asked
        What they are the answer to; None if nobody was asked yet, or the frame is the user's.
    market
        Whether the market can be asked.

    Returns
    -------
    dict
        JSON-safe: ``market``, ``asked``, ``source``, ``practice``, ``complete``, ``seen_at`` (the service's clock), ``fetched_at`` (this
        computer's), ``kept``, ``notes``, and ``empty``: why there is nothing.
    """
    known = frame.attrs.get("vastnb", {}) if asked or not market else {}
    practice = _practice(frame, known)
    return {
        "market": market,
        "asked": asked,
        "source": _source(known, practice=practice),
        "practice": practice,
        "complete": known.get("complete") if len(frame) == known.get("returned") else None,
        "seen_at": _seen_at(frame, known),
        "fetched_at": known.get("fetched_at"),
        "kept": known.get("from_cache", False),
        "notes": _notes(known),
        "empty": [plain(line) for line in known.get("why_empty", ())],
    }


def _practice(frame: pd.DataFrame, known: dict[str, Any]) -> bool:
    """A merge loses where a frame came from; the ids of the sandbox tell it still."""
    if "source" in known:
        return bool(known["source"] == "sandbox")
    return len(frame) > 0 and bool((frame["offer_id"] > _SANDBOX_IDS).all())


def _source(known: dict[str, Any], *, practice: bool) -> str:
    if practice:
        return "Sandbox: practice, not real"
    url = known.get("url", "")
    return "Vast.ai" if url == "https://console.vast.ai" else plain(url)


def _seen_at(frame: pd.DataFrame, known: dict[str, Any]) -> str:
    first = str(frame["seen_at"].min()) if "seen_at" in frame.columns and frame["seen_at"].notna().any() else ""
    seen = (first or known.get("seen_at", ""))[:19].replace("T", " ")
    return f"{seen} UTC" if seen else ""


def _notes(known: dict[str, Any]) -> list[str]:
    notes = [plain(note) for note in known.get("notes", ())]
    if known.get("stale"):
        notes.append("The service did not answer; this is an older answer.")
    if dropped := known.get("dropped_by_recheck", 0):
        notes.append(f"{dropped} left out: the service sent them although they do not meet the query.")
    return notes


def snapshot(known: dict[str, Any], query: str, fitting: pd.DataFrame, chosen: pd.DataFrame) -> Snapshot:
    """The chosen offers, or if none is chosen those that fit, with what was asked and of when it is."""
    parts = [f"OfferSelector: {plain(query) or 'no conditions'}"]
    if known["market"] and known["asked"] is None:
        return Snapshot.of(" · ".join([*parts, "not searched yet"]), "", "")
    parts.append(
        f"{len(chosen):,} of {len(fitting):,} chosen" if len(chosen) else f"{len(fitting):,} offers, none chosen"
    )
    parts += [part for part in (known["source"], known["seen_at"]) if part]
    text, html = _tables(chosen if len(chosen) else fitting)
    return Snapshot.of(" · ".join(parts), text, html)


def _tables(frame: pd.DataFrame) -> tuple[str, str]:
    if is_ours(frame):
        return frame_text(frame), frame_html(frame)
    return frame.to_string(max_rows=_ROWS_SHOWN, max_cols=_COLUMNS_SHOWN), frame.to_html(
        max_rows=_ROWS_SHOWN, max_cols=_COLUMNS_SHOWN
    )
