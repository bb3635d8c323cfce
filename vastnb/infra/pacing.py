"""Requests spaced as the service wants them, by all kernels of a user together.

One small SQLite file holds, for each account and endpoint, when requests were let through. `Pacer.reserve` says how long to wait
for the next slot and takes it in the same transaction, so two kernels never take the same one. Nothing is held while waiting
or asking: a kernel that dies or is suspended blocks nobody. When the file cannot be used, this process paces itself alone.

`Pacer.claim` tells other kernels that a question is being asked, so that they wait for the shared cache instead of asking it
again. `PacingTransport` puts both into the path of a request:

1. Another kernel asks the same, or did a moment ago: its answer is in the cache, or will be.
2. Wait for a slot; look into the cache again, somebody may have asked meanwhile.
3. Send. A 429 pushes everybody back; the daily quota ends searching until midnight UTC.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

from vastnb.errors import QuotaError, RateLimitError
from vastnb.infra._httpx import httpx
from vastnb.infra.calls import Call, Limit, Wait, answer_of, call_of, pause_asked_s
from vastnb.infra.processes import is_alive
from vastnb.infra.statefiles import open_private, transaction

__all__ = ["Pacer", "PacingTransport"]

log = logging.getLogger("vastnb.pacing")
_T = TypeVar("_T")

_MARGIN = 0.1
_MARGIN_S = 0.25
"""Requests let through in order may arrive closer together than they left: a tenth of a limit's time is added, and no less than this."""
_LEASE_S = 10.0
"""Who asks longer than this, and does not say so, may have been stopped: another kernel with the same question asks too."""
_HORIZON_S = 120.0
"""No limit reaches further: what seems to is a clock that was set back."""
_PUSH_BACK = 1.5
_PAUSE_S = 60.0
_POLL_S = 0.05
_SCHEMA = """
create table if not exists slots (bucket text primary key, times text not null, not_before real not null default 0);
create table if not exists flights (question text primary key, pid integer not null, until real not null);
"""


class Pacer:
    """Slots for requests, shared through the file at `path`.

    Parameters
    ----------
    path
        The file; None paces this process alone.
    clock
        Seconds since 1970, the same for all kernels of this computer.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._alone_until = 0.0
        self._warned = False

    def reserve(self, bucket: str, limits: tuple[Limit, ...], shared: str = "") -> float:
        """Take the next slot of `bucket`; how long to wait for it, in seconds.

        Parameters
        ----------
        bucket
            Account and endpoint.
        limits
            All of them hold: so many requests in so many seconds.
        shared
            Another bucket whose `push_back` holds here too.
        """

        def act(db: sqlite3.Connection, now: float) -> float:
            times, not_before = _read(db, bucket, now)
            not_before = max(not_before, _read(db, shared, now)[1])
            at = max([now, not_before, *(times[-n] + _apart(s) for n, s in limits if len(times) >= n)])
            oldest = now - max((_apart(s) for _, s in limits), default=0.0)
            _write(db, bucket, [*(t for t in times if t > oldest), at], not_before)
            return at - now

        return self._do(act)

    def release(self, bucket: str) -> None:
        """Give back the slot that was taken last and not used."""

        def act(db: sqlite3.Connection, now: float) -> None:
            times, not_before = _read(db, bucket, now)
            _write(db, bucket, times[:-1], not_before)

        self._do(act)

    def push_back(self, bucket: str, seconds: float) -> None:
        """Let nobody through in `bucket` for so long."""

        def act(db: sqlite3.Connection, now: float) -> None:
            times, not_before = _read(db, bucket, now)
            _write(db, bucket, times, max(not_before, now + seconds))

        self._do(act)

    def close_until(self, bucket: str, until: float) -> None:
        """Close `bucket` until a time, in seconds since 1970: a quota is used up."""
        self._do(lambda db, _now: _write(db, "closed " + bucket, [], until))

    def closed_until(self, bucket: str) -> float | None:
        """Until when `bucket` is closed, in seconds since 1970, or None if it is open."""

        def act(db: sqlite3.Connection, now: float) -> float | None:
            row = db.execute("select not_before from slots where bucket = ?", ("closed " + bucket,)).fetchone()
            return float(row[0]) if row is not None and row[0] > now else None

        return self._do(act)

    def claim(self, question: str, seconds: float) -> bool:
        """Whether this process may ask `question`; False if another one is asking it now."""

        def act(db: sqlite3.Connection, now: float) -> bool:
            row = db.execute("select pid, until from flights where question = ?", (question,)).fetchone()
            if row is not None and now < row[1] <= now + _HORIZON_S and row[0] != os.getpid() and is_alive(row[0]):
                return False
            db.execute("insert or replace into flights values (?, ?, ?)", (question, os.getpid(), now + seconds))
            return True

        return self._do(act)

    def drop_claim(self, question: str) -> None:
        """Say that this process is done asking `question`."""
        self._do(
            lambda db, _now: db.execute("delete from flights where question = ? and pid = ?", (question, os.getpid()))
        )

    def shut(self) -> None:
        """Close the file."""
        with self._lock:
            self._drop()

    def _do(self, act: Callable[[sqlite3.Connection, float], _T]) -> _T:
        """Run `act` in one transaction; without the file this process still paces itself, and tries the file again later."""
        with self._lock:
            if self._alone_until and self._clock() > self._alone_until:
                self._drop()
            try:
                return self._in_transaction(act)
            except (OSError, sqlite3.Error) as error:
                self._go_alone(error)
            return self._in_transaction(act)

    def _in_transaction(self, act: Callable[[sqlite3.Connection, float], _T]) -> _T:
        if self._connection is None:
            self._connection = _connect(self._path)
        with transaction(self._connection) as db:
            return act(db, self._clock())

    def _go_alone(self, error: Exception) -> None:
        if not self._warned:
            log.warning("the file %s cannot be used (%s); pacing this kernel alone", self._path, error)
            self._warned = True
        self._drop()
        self._connection = _connect(None)
        self._alone_until = self._clock() + _PAUSE_S

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._alone_until = None, 0.0


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is None:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    else:
        db = open_private(path, timeout_s=1.0)
    try:
        db.execute("pragma synchronous = off")
        if path is not None:
            db.execute("pragma journal_mode = wal")
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _apart(seconds: float) -> float:
    return seconds + max(seconds * _MARGIN, _MARGIN_S)


def _read(db: sqlite3.Connection, bucket: str, now: float) -> tuple[list[float], float]:
    row = db.execute("select times, not_before from slots where bucket = ?", (bucket,)).fetchone()
    if row is None:
        return [], 0.0
    times = [t for t in json.loads(row[0]) if t < now + _HORIZON_S]
    return times, row[1] if row[1] < now + _HORIZON_S else 0.0


def _write(db: sqlite3.Connection, bucket: str, times: list[float], not_before: float) -> None:
    db.execute("insert or replace into slots values (?, ?, ?)", (bucket, json.dumps(times), not_before))


class PacingTransport(httpx.BaseTransport):
    """Lets requests through as the service wants them.

    Parameters
    ----------
    inner
        The transport below.
    pacer
        The shared slots.
    account
        The `identity` of the account.
    longest_wait_s
        A request that would wait longer is refused here.
    on_wait
        Told of each wait before it.
    sleep, clock
        Time, for tests.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport,
        pacer: Pacer,
        account: str,
        *,
        longest_wait_s: float = 30.0,
        on_wait: Callable[[Wait], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner, self._pacer, self._account = inner, pacer, account
        self._longest, self._on_wait, self._sleep, self._clock = longest_wait_s, on_wait, sleep, clock
        self._needless = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for a slot, look into the cache again, and send."""
        call = call_of(request)
        if self._needless or not call.limits:
            return self._inner.handle_request(request)
        self._refuse_if_closed(call)
        question = request.extensions.get("vastnb.question")
        if question is None:
            return self._paced(request, call)
        found = self._by_another(request, question)
        if found is not None:
            return found
        # The cache above calls this once the answer is kept: before that, another kernel would find nothing and ask too.
        request.extensions["vastnb.done"] = lambda: self._pacer.drop_claim(question)
        return self._paced(request, call)

    def close(self) -> None:
        """Close the file and the transport below."""
        self._pacer.shut()
        self._inner.close()

    def _by_another(self, request: httpx.Request, question: str) -> httpx.Response | None:
        """The answer that another kernel is fetching just now, once it is in the cache."""
        patience = float(request.extensions.get("timeout", {}).get("read") or 30.0) + 5.0
        deadline = self._clock() + patience
        while not self._pacer.claim(question, min(patience, _LEASE_S)):
            self._sleep(_POLL_S)
            found = _looked_up(request)
            if found is not None or self._clock() > deadline:
                return found
        # Another kernel may have asked and been answered after the cache was looked at and before this claim.
        found = _looked_up(request)
        if found is not None:
            self._pacer.drop_claim(question)
        return found

    def _paced(self, request: httpx.Request, call: Call) -> httpx.Response:
        bucket = f"{self._account} {call.endpoint}"
        seconds = self._pacer.reserve(bucket, call.limits, shared=self._account)
        if seconds > self._longest:
            self._pacer.release(bucket)
            raise RateLimitError(
                f"{call.endpoint}: the service's limit would make this wait {seconds:.0f} s",
                retry_after_s=seconds,
                hint=f"run it again in {seconds:.0f} s, or ask for less at once",
            )
        found = self._waited(request, call, bucket, seconds) if seconds > 0 else None
        response = found if found is not None else self._inner.handle_request(request)
        response.extensions["vastnb"] = replace(answer_of(response), waited_s=seconds)
        if found is None:
            self._learn(response, call, bucket)
        return response

    def _waited(self, request: httpx.Request, call: Call, bucket: str, seconds: float) -> httpx.Response | None:
        if self._on_wait is not None:
            self._on_wait(Wait(call.endpoint, seconds, _reason(call)))
        if "vastnb.question" in request.extensions:
            self._pacer.claim(request.extensions["vastnb.question"], seconds + _LEASE_S)
        self._sleep(seconds)
        found = _looked_up(request)
        if found is not None:
            self._pacer.release(bucket)
        return found

    def _learn(self, response: httpx.Response, call: Call, bucket: str) -> None:
        said = response.headers.get("x-vastnb-sandbox")
        if said is not None and "strict" not in said:
            self._needless = True
            self._pacer.release(bucket)
        if response.status_code != 429:
            return
        if b"search_quota_exceeded" in response.content[:2000]:
            self._pacer.close_until(bucket, self._clock() + _to_midnight_s(response))
            return
        slowest = max(s / n for n, s in call.limits)
        pause = pause_asked_s(response) or _PUSH_BACK * slowest
        self._pacer.push_back(bucket, pause)
        if "x-ratelimit-remaining" in response.headers:  # the budget that all endpoints share
            self._pacer.push_back(self._account, pause)

    def _refuse_if_closed(self, call: Call) -> None:
        until = self._pacer.closed_until(f"{self._account} {call.endpoint}")
        if until is not None:
            at = datetime.fromtimestamp(until, UTC)
            raise QuotaError(
                f"{call.endpoint}: today's quota is used up; it starts again at {at:%H:%M} UTC on {at:%Y-%m-%d}",
                retry_after_s=until - self._clock(),
            )


def _looked_up(request: httpx.Request) -> httpx.Response | None:
    look = request.extensions.get("vastnb.look")
    return look() if look is not None else None


def _reason(call: Call) -> str:
    count, seconds = max(call.limits, key=lambda limit: limit[1] / limit[0])
    return f"the service allows {call.endpoint} {count} times in {seconds:g} s"


def _to_midnight_s(response: httpx.Response) -> float:
    """Seconds to midnight UTC by the service's clock."""
    try:
        now = parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds()
