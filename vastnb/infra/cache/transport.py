"""The cache in the path of a request.

1. What may not be kept goes straight through.
2. One flight for many callers: who asks what is being asked already waits for that answer.
3. A fresh entry answers, unless a refresh is wanted.
4. Otherwise the request goes down (retry, pacing, signer, wire).
5. A good answer is kept; if none came, an entry that is not too old answers, marked stale.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import orjson

from vastnb.errors import RateLimitError
from vastnb.infra._httpx import httpx
from vastnb.infra.cache.entry import Entry
from vastnb.infra.cache.keys import cache_key, tag_prefix
from vastnb.infra.cache.store import Store, nothing
from vastnb.infra.calls import Answer, Call, Keep, answer_of, call_of

__all__ = ["CachingTransport"]

_KEPT_HEADERS = ("content-type", "date", "etag", "x-vastnb-sandbox")
_FAILED = frozenset({429, 500, 502, 503, 504})
_CLOCK_SKEW_S = 5.0
_READ_WHOLE = 1 << 16
_FAILURE = re.compile(rb'"success"\s*:\s*false')


class _InterruptedFlightError(Exception):
    """The caller that was fetching got a Ctrl-C; those who waited fetch for themselves."""


class CachingTransport(httpx.BaseTransport):
    """Answers from a store what was asked before.

    Parameters
    ----------
    inner
        The transport below.
    account
        The `identity` of the account: two accounts never share an entry.
    disk, memory
        Stores for public market data and for what must not touch a disk.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport,
        account: str,
        *,
        disk: Store,
        memory: Store,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner, self._account, self._clock = inner, account, clock
        self._stores = {Keep.DISK: disk, Keep.MEMORY: memory}
        self._flights: dict[tuple[str, bool], Future[httpx.Response]] = {}
        self._epochs: dict[str, int] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer `request`, from the cache where its `Call` allows."""
        call = call_of(request)
        if not call.cacheable:
            return self._sent(request)
        request.read()
        key = cache_key(request, self._account, call.tag)
        while True:
            try:
                return _copy(self._one_flight(request, call, key))
            except _InterruptedFlightError:
                continue

    def invalidate(self, *tags: str) -> None:
        """Forget the answers of `tags`; one that is under way now is not kept either."""
        with self._lock:
            for tag in tags:
                self._epochs[tag] = self._epochs.get(tag, 0) + 1
        for tag in tags:
            for store in self._stores.values():
                store.drop(tag_prefix(self._account, tag))

    def epoch(self, tag: str) -> int:
        """How often `tag` was invalidated."""
        with self._lock:
            return self._epochs.get(tag, 0)

    def close(self) -> None:
        """Close the stores and the transport below."""
        for store in self._stores.values():
            store.close()
        self._inner.close()

    def _one_flight(self, request: httpx.Request, call: Call, key: str) -> httpx.Response:
        slot = (key, call.refresh)
        with self._lock:
            flight = self._flights.get(slot)
            leads = flight is None
            if flight is None:
                flight = self._flights[slot] = Future()
        if not leads:
            return flight.result()
        try:
            response = self._looked_up(request, call, key)
        except BaseException as error:
            self._land(slot)
            flight.set_exception(error if isinstance(error, Exception) else _InterruptedFlightError())
            raise
        self._land(slot)
        flight.set_result(response)
        return response

    def _land(self, slot: tuple[str, bool]) -> None:
        with self._lock:
            self._flights.pop(slot, None)

    def _looked_up(self, request: httpx.Request, call: Call, key: str) -> httpx.Response:
        store = self._stores[call.keep]
        fresh = None if call.refresh else self._kept(store.load(key), call.ttl_s, stale=False)
        if fresh is not None:
            return fresh
        try:
            response = self._fetched(request, call, key, store)
        except (httpx.TransportError, RateLimitError):
            older = self._stand_in(store, key, call)
            if older is None:
                raise
            return older
        older = self._stand_in(store, key, call) if response.status_code in _FAILED else None
        return response if older is None else older

    def _stand_in(self, store: Store, key: str, call: Call) -> httpx.Response | None:
        return self._kept(store.load(key, again=True), call.ttl_s + call.stale_if_error_s, stale=True)

    def _kept(self, entry: Entry | None, seconds: float, *, stale: bool) -> httpx.Response | None:
        if entry is None or not self._younger(entry, seconds):
            return None
        return _replay(entry, stale=stale)

    def _fetched(self, request: httpx.Request, call: Call, key: str, store: Store) -> httpx.Response:
        epoch, asked_at = self.epoch(call.tag), self._clock()

        def look() -> httpx.Response | None:
            """For the pacing below: what another kernel has fetched while this one waited."""
            entry = store.load(key, again=True)
            if entry is None or (call.refresh and entry.created < asked_at):
                return None
            return self._kept(entry, call.ttl_s, stale=False)

        request.extensions["vastnb.question"], request.extensions["vastnb.look"] = key, look
        kept = None
        try:
            response = self._sent(request)
            if epoch == self.epoch(call.tag):
                kept = _entry_of(response)
        finally:
            done = request.extensions.pop("vastnb.done", nothing)
            if kept is None:
                done()
        if kept is not None:
            url = str(request.url.copy_with(query=None))
            store.save(key, kept, keep_s=call.ttl_s + call.stale_if_error_s, url=url, then=done)
        return response

    def _sent(self, request: httpx.Request) -> httpx.Response:
        sent_at = self._clock()
        response = self._inner.handle_request(request)
        told = answer_of(response)
        if not told.from_cache:
            response.extensions["vastnb"] = replace(told, fetched_at=sent_at)
        return response

    def _younger(self, entry: Entry, seconds: float) -> bool:
        return -_CLOCK_SKEW_S <= self._clock() - entry.created < seconds


def _entry_of(response: httpx.Response) -> Entry | None:
    """What is to be kept of an answer, or None."""
    told = answer_of(response)
    if told.from_cache or not _worth_keeping(response):
        return None
    headers = tuple((k, response.headers[k]) for k in _KEPT_HEADERS if k in response.headers)
    return Entry(200, headers, response.content, told.fetched_at)


def _replay(entry: Entry, *, stale: bool) -> httpx.Response:
    told = Answer(entry.created, from_cache=True, stale=stale)
    return httpx.Response(entry.status, headers=list(entry.headers), content=entry.body, extensions={"vastnb": told})


def _copy(response: httpx.Response) -> httpx.Response:
    """One answer for several callers."""
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        content=response.content,
        extensions=dict(response.extensions),
    )


def _worth_keeping(response: httpx.Response) -> bool:
    """A 200 with ``success: false`` is an error of Vast's; a cut or non-JSON body is no answer.

    A long body is looked at from both ends only: reading it twice would cost more than asking again. If it turns out to be
    unreadable after all, the client has it forgotten.
    """
    content = response.content
    if response.status_code != 200 or content[:1] not in (b"{", b"["):
        return False
    if len(content) > _READ_WHOLE:
        return content[-64:].rstrip()[-1:] in (b"}", b"]") and not _FAILURE.search(content[:2000])
    try:
        body = orjson.loads(content)
    except ValueError:
        return False
    return not (isinstance(body, dict) and body.get("success") is False)
