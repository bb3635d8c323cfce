"""A store whose backend is opened late, as long as requests-cache is not loaded.

Loading it takes a tenth of a second, three where redis is installed. The first search of a kernel need not wait for that: what is
certainly not there is not looked for, and the first answers are written a moment later, in the background. If this process is
killed before, they are a miss for the others.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vastnb.infra.cache.entry import Entry
from vastnb.infra.cache.large import LargeEntries
from vastnb.infra.cache.store import Store, StoreInfo, nothing

if TYPE_CHECKING:
    from requests_cache import BaseCache

__all__ = ["LateStore", "may_hold"]

_AFTERWARDS_S = 0.3
"""The cell that asked is to show its answer first: loading would take half of its processor."""


class _Waiting(NamedTuple):
    key: str
    entry: Entry
    write: Callable[[], None]


class LateStore(Store):
    """A `Store` that opens its backend when an entry may be there, when it is asked about all, or after its first answers.

    Parameters
    ----------
    opener
        Opens the backend.
    may_hold
        Whether there may be an entry at a key; asked as long as opening takes long.
    is_loaded
        Whether opening takes no time.
    """

    def __init__(
        self,
        opener: Callable[[], BaseCache],
        may_hold: Callable[[str], bool],
        *,
        is_loaded: Callable[[], bool] = lambda: "requests_cache" in sys.modules,
    ) -> None:
        super().__init__(opener)
        self._may_hold, self._is_loaded = may_hold, is_loaded
        self._queue: list[_Waiting] = []
        self._queueing = threading.Lock()
        self._writer: threading.Thread | None = None
        self._hurry = threading.Event()

    def load(self, key: str, *, again: bool = False) -> Entry | None:
        """As `Store.load`; what waits to be written is there already."""
        with self._queueing:
            waiting = next((kept.entry for kept in reversed(self._queue) if kept.key == key), None)
        if waiting is None and (self._is_quick() or self._may_hold(key)):
            return super().load(key, again=again)
        return self._counted(waiting, again)

    def save(self, key: str, entry: Entry, *, keep_s: float, url: str, then: Callable[[], object] = nothing) -> None:
        """As `Store.save`, a moment later as long as opening takes long."""
        write = partial(super().save, key, entry, keep_s=keep_s, url=url, then=then)
        with self._queueing:
            writes = self._writer is not None and self._writer.is_alive()  # after a fork it does not
            late = writes or bool(self._queue) or not self._is_quick()
            if late:
                self._queue.append(_Waiting(key, entry, write))
            if late and not writes:
                self._writer = threading.Thread(target=self._write, daemon=True, name="vastnb-cache")
                self._writer.start()
        if not late:
            write()

    def drop(self, prefix: str) -> None:
        """As `Store.drop`, of what waits to be written too."""
        self._settle()
        super().drop(prefix)

    def clear(self) -> None:
        """As `Store.clear`, of what waits to be written too."""
        self._settle()
        super().clear()

    def info(self) -> StoreInfo:
        """As `Store.info`."""
        self._settle()
        return super().info()

    def close(self) -> None:
        """Write what waits, and close the backend."""
        self._settle()
        super().close()

    def _is_quick(self) -> bool:
        return self.is_open or self._is_loaded()

    def _write(self) -> None:
        self._hurry.wait(_AFTERWARDS_S)
        while True:
            with self._queueing:
                if not self._queue:
                    self._writer = None
                    return
                waiting = self._queue[0]
            try:
                waiting.write()
            finally:
                with self._queueing:
                    self._queue.remove(waiting)

    def _settle(self) -> None:
        """Have what waits written now."""
        self._hurry.set()
        with self._queueing:
            writer = self._writer
        if writer is not None:
            writer.join()


def may_hold(file: Path, key: str) -> bool:
    """Whether the cache at `file` may have an entry at `key` that is not over, found out without requests-cache."""
    if LargeEntries(file).path(key).exists():
        return True
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)) as db:
            query = "select 1 from responses where key = ? and (expires is null or expires >= ?)"
            return db.execute(query, (key, int(time.time()))).fetchone() is not None
    except sqlite3.Error:
        return True
