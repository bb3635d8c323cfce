"""What happened, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from vastnb.services import session
from vastnb.services.events.queue import queue_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["events"]


def events(kind: str = "*", *, subject: int | str | None = None, limit: int = 1000) -> pd.DataFrame:
    """What happened, newest first, and what handlers made of it.

    Parameters
    ----------
    kind
        Like ``instance.outbid``; ``instance.*`` stands for several.
    subject
        The number of a machine.
    limit
        At most so many.

    Returns
    -------
    DataFrame
        A row an event; columns as documented under ``events``.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> vastnb.events().empty
    True
    """
    from vastnb.vast.types.frames import frame_of

    client = session.current().client
    queue = queue_of(client)
    try:
        rows = queue.rows(kind, None if subject is None else str(subject), limit)
    finally:
        queue.close()
    shown = [_shown(row) for row in rows]
    names = shown[0] if shown else {}
    frame = frame_of("events", {name: [row[name] for row in shown] for name in names})
    frame.attrs["vastnb"] = {"kind": "events", "account": client.account_name, "returned": len(rows)}
    return frame


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    from vastnb.vast.render import plain

    told = row["deliveries"]
    data = orjson.loads(row["data"])
    return {
        "event_id": row["event_id"],
        "kind": row["kind"],
        "subject": row["subject"],
        "at": datetime.fromtimestamp(row["at"], UTC),
        "message": plain(str(data.get("message") or "")),
        "handled": ", ".join(f"{name}: {_outcome(state, tries)}" for name, state, tries, _ in told),
        "reason": plain("; ".join(reason for *_, reason in told if reason)),
        "source": row["source"],
        "received_at": datetime.fromtimestamp(row["received_at"], UTC),
        "data": row["data"],
    }


def _outcome(state: str, tries: int) -> str:
    words = {"done": "done", "claimed": "begun", "again": "failed, will be tried again", "dead": "failed for good"}
    return words[state] + (f" (try {tries})" if tries > 1 else "")
