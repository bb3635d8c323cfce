"""The client: one method an endpoint, each a typed answer or a typed error.

A request passes, in this order:

1. the cache (`infra.cache`): a fresh answer ends the way here;
2. the retry (`infra.calls`): repeats what is safe to repeat;
3. the pacing (`infra.pacing`): waits for a slot that all kernels of the user share;
4. the signer (`infra._httpx`): adds the key, for our origin only;
5. the wire.

Each call is measured (`infra.monitoring`). Then the answer becomes an error (`answers`, the only place) or a frame (`vast.types.frames`).
"""

from __future__ import annotations

import email.utils
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson
import platformdirs
from pydantic import ValidationError

from vastnb.errors import AuthError, OfferGoneError, ResponseError, SandboxOfferError, VastError
from vastnb.infra._httpx import FRESH, Signer, httpx, open_wire
from vastnb.infra.cache import CachingTransport, Store, identity, market_store, memory_store
from vastnb.infra.calls import Answer, Effect, RetryPolicy, RetryTransport, Wait, answer_of
from vastnb.infra.config import Settings
from vastnb.infra.monitoring import CallLog, CallRecord
from vastnb.infra.pacing import Pacer, PacingTransport
from vastnb.vast.client.answers import error_of, network_error
from vastnb.vast.client.endpoints import ENDPOINTS, Endpoint
from vastnb.vast.client.judge import Judge
from vastnb.vast.client.kept import KeptFrames
from vastnb.vast.query import Query, parse_query
from vastnb.vast.types.records import User
from vastnb.version import __version__

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("vastnb.client")

__all__ = ["FIRST_SANDBOX_ID", "Client", "Page", "Told"]

_ROWS_BELOW = {"metrics": "gpus", "volumes": "offers", "ssh-keys": "", "charges": "results", "own volumes": "volumes"}
_FRESHNESS = ("offers_ttl_s", "catalogue_ttl_s", "account_ttl_s")
FIRST_SANDBOX_ID = 900_000_001
"""The sandbox numbers its offers from here; Vast's ids of 2026 are below 50 million."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a search."""

    frame: pd.DataFrame
    received: int
    """Rows in the answer, before any was left out."""
    contradicting: int
    """Rows left out because they do not meet the filter they answer."""
    values: list[float]
    """The wire values of the first column of the order, of all rows; empty if any is no number."""
    unknown: tuple[str, ...]
    """Fields that no table of ours knows."""
    body: bytes
    answer: Answer
    sandbox: bool
    seen_at: datetime


class Told(NamedTuple):
    """An answer in JSON."""

    content: Any
    sandbox: bool
    seen_at: datetime
    """The service's clock when it answered."""


class Client:
    """A connection to the service, shared by everything in this process that uses the same settings.

    Safe to use from several threads. Opens nothing before its first request.

    Parameters
    ----------
    settings
        Where to, as whom, how patiently.
    on_wait
        Told of each wait before it.
    cache_folder
        Where the cache file lies; None means the user's cache folder.
    longest_wait_s
        A request that would have to wait longer for its turn is refused.

    Examples
    --------
    >>> import vastnb
    >>> with vastnb.Sandbox() as s, vastnb.Client(vastnb.Settings(url=s.url, api_key=s.api_key)) as client:
    ...     len(client.search_offers("num_gpus>=2", limit=5))
    5
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_wait: Callable[[Wait], None] | None = None,
        cache_folder: Path | None = None,
        longest_wait_s: float = 30.0,
    ) -> None:
        self.settings = settings
        self.account = identity(settings.key, settings.url)
        self.log = CallLog()
        """The calls made through this client."""
        self._on_wait, self._cache_folder, self._longest_wait_s = on_wait, cache_folder, longest_wait_s
        on_disk = settings.cache.backend not in ("memory", "off")
        self.kept = KeptFrames(self._folder() / "frames" / self.account if on_disk else None)
        """Finished frames, by what was asked."""
        self._opened: tuple[httpx.Client, CachingTransport] | None = None
        self._pacer: Pacer | None = None
        self.stores: dict[str, Store] = {}
        """Where answers are kept, by what they hold; empty until the first request."""
        self._lock = threading.Lock()

    @property
    def account_name(self) -> str:
        """A name for the account that does not give its key away."""
        if self.settings.profile == "sandbox":
            return "sandbox"
        key = self.settings.key
        return "none" if key is None else "key " + hashlib.blake2b(key.encode(), digest_size=3).hexdigest()

    def page(self, query: Query, *, body: Mapping[str, Any] | None = None, form: str = "bundles", refresh: bool = False,
             raw: bool = False) -> Page:  # fmt: skip
        """One answer to `query`, checked against it.

        Parameters
        ----------
        query
            What must hold for every row that stays.
        body
            What to send instead of ``query.to_api()``, for the next part of a long answer.
        form
            ``bundles`` or ``asks``: the two documented ways to ask the same.
        refresh
            Ask the service even if a fresh answer is here.
        raw
            Official names and values instead of ours.
        """
        from vastnb.vast.types import frames

        sent = dict(query.to_api() if body is None else body)
        endpoint = ENDPOINTS["search offers" if form == "bundles" else "search asks"]
        payload = sent if form == "bundles" else {"select_cols": ["*"], "q": sent}
        response = self._ask(endpoint, json=payload, refresh=refresh)
        seen_at = _server_time(response)
        judge = Judge(query)
        try:
            read = frames.read_offers(
                response.content, rental=query.rental, seen_at=seen_at, judge=judge, watch=query.order[0][0]
            )
            frame = frames.raw_frame(frames.decode(response.content, "offers")) if raw else read.frame
        except ResponseError as error:
            error.endpoint = f"{endpoint.method} {endpoint.path}"
            self.invalidate(endpoint.tag)
            raise
        return Page(
            frame=frame[judge.rows].reset_index(drop=True) if raw else frame,
            received=read.received,
            contradicting=judge.contradicting,
            values=read.watched,
            unknown=read.unknown,
            body=response.content,
            answer=answer_of(response),
            sandbox="x-vastnb-sandbox" in response.headers,
            seen_at=seen_at,
        )

    def search_offers(self, query: Query | str = "", *, form: str = "bundles", refresh: bool = False, raw: bool = False,
                      limit: int | None = None) -> pd.DataFrame:  # fmt: skip
        """One page of offers, as the service answers it; `vastnb.search` also fetches what a page leaves out.

        Parameters
        ----------
        query
            A query as text, or from `vastnb.parse_query`.
        form
            ``bundles`` or ``asks``: the two documented ways to ask the same.
        refresh
            Ask the service even if a fresh answer is here.
        raw
            Official names and values instead of ours.
        limit
            For a query given as text: at most so many offers.

        Returns
        -------
        DataFrame
            As `vastnb.search`.

        Raises
        ------
        QueryError
            The query cannot be right.
        ApiError
            The service refused or could not be reached.
        """
        asked = parse_query(query, limit=limit) if isinstance(query, str) else query
        return self.page(asked, form=form, refresh=refresh, raw=raw).frame

    def get_offer(
        self, offer_id: int, *, rental: str = "on-demand", disk_gb: float = 10.0, query: str = ""
    ) -> pd.DataFrame:
        """One offer as it is now, asked anew: a frame of one row. `query` is what must still hold for it.

        Raises
        ------
        OfferGoneError
            It is no longer there, or no longer meets the query.
        SandboxOfferError
            It is an offer of the sandbox, and this account is not.
        """
        if offer_id >= FIRST_SANDBOX_ID and not self.settings.local:
            raise SandboxOfferError(f"offer {offer_id} is one of the sandbox, and this account is a real one")
        asked = parse_query(f"{query} id={int(offer_id)} rentable=true", rental=rental, disk_gb=disk_gb, defaults=False)
        page = self.page(asked, refresh=True)
        if page.frame.empty:
            raise OfferGoneError(f"offer {offer_id} is no longer there{', or no longer as asked for' if query else ''}")
        page.frame.attrs["vastnb"] = {"account": self.account_name, "url": self.settings.url}
        return page.frame

    def answer(
        self, what: str, *, params: Mapping[str, Any] | None = None, json: Any = None, refresh: bool = False
    ) -> tuple[Any, bool]:
        """The JSON answer of the endpoint called `what`, and whether a sandbox gave it; arguments as `told`."""
        told = self.told(what, params=params, json=json, refresh=refresh)
        return told.content, told.sandbox

    def told(
        self,
        what: str,
        *,
        at: int | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        refresh: bool = False,
    ) -> Told:
        """What the endpoint called `what` answers.

        Parameters
        ----------
        what
            A name of the table of endpoints.
        at
            The id in its path, where it has one.
        params
            Query parameters; what is not a text is sent as JSON, as the service wants it.
        json
            The body.
        refresh
            Ask the service even if a fresh answer is here.
        """
        endpoint = ENDPOINTS[what]
        sent = {k: v if isinstance(v, str) else orjson.dumps(v).decode() for k, v in (params or {}).items()}
        try:
            response = self._ask(endpoint, at=at, params=sent or None, json=json, refresh=refresh)
        finally:
            if endpoint.effect is not Effect.READ:
                self.invalidate("offers", "account")
        told = answer_of(response)
        if told.stale:
            seen = datetime.fromtimestamp(told.fetched_at, UTC)
            log.warning("%s: no answer came; an older one of %s stands in", what, f"{seen:%Y-%m-%d %H:%M} UTC")
        try:
            content = orjson.loads(response.content)
        except ValueError as error:
            self.invalidate(endpoint.tag)
            raise ResponseError(f"{what}: expected JSON", original=error) from error
        return Told(content, "x-vastnb-sandbox" in response.headers, _server_time(response))

    def fields(self, what: str, **asked: Any) -> tuple[dict[str, Any], bool]:
        """The fields of `answer`, and whether a sandbox gave them."""
        found, sandbox = self.answer(what, **asked)
        if not isinstance(found, dict):
            raise ResponseError(f"{what}: expected an object", path="$")
        return found, sandbox

    def rows(self, what: str, **asked: Any) -> tuple[list[dict[str, Any]], bool]:
        """The rows of `answer`, and whether a sandbox gave them."""
        found, sandbox = self.answer(what, **asked)
        return self.rows_of(what, found), sandbox

    @staticmethod
    def rows_of(what: str, answer: Any) -> list[dict[str, Any]]:
        """The rows in an answer of the endpoint called `what`."""
        key = _ROWS_BELOW.get(what, what)
        rows = answer.get(key) if key and isinstance(answer, dict) else answer
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ResponseError(f"{what}: expected a list of objects", path=f"$.{key}" if key else "$")
        return rows

    def gpu_names(self, *, refresh: bool = False) -> list[str]:
        """The GPU models that the service knows, as it writes them."""
        found, _ = self.fields("gpu names", refresh=refresh)
        names = found.get("gpu_names")
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ResponseError("gpu names: expected a list of names", path="$.gpu_names")
        return names

    def user(self, *, refresh: bool = False) -> User:
        """The account behind the key.

        Raises
        ------
        ModeError
            It was not said whether to use the sandbox or the real service.
        AuthError
            There is no key, or it is not accepted.
        """
        found, _ = self.answer("user", refresh=refresh)
        try:
            return User.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            path = "$." + ".".join(map(str, first["loc"]))
            raise ResponseError(f"user: {path}: {first['msg']}", path=path, original=error) from error

    def invalidate(self, *tags: str) -> None:
        """Forget what is kept of ``offers``, ``catalogue`` or ``account``."""
        self.kept.clear()
        if self._opened is not None:
            self._opened[1].invalidate(*tags)

    def closed_until(self) -> dict[str, float]:
        """Operations whose daily quota is used up, and until when, in seconds since 1970."""
        pacer = self._pacer
        found = {e.name: pacer.closed_until(f"{self.account} {e.name}") for e in ENDPOINTS.values()} if pacer else {}
        return {name: until for name, until in found.items() if until is not None}

    def impatient(self, timeout_s: float) -> Client:
        """Another client of the same account, pace and files, open: it asks once, waits no longer than this, and keeps no answer."""
        cache = self.settings.cache.model_copy(update=dict.fromkeys(_FRESHNESS, 0.0))
        settings = self.settings.model_copy(update={"timeout_s": timeout_s, "retries": 0, "cache": cache})
        made = Client(settings, cache_folder=self._cache_folder, longest_wait_s=timeout_s)
        made._http()
        return made

    def close(self) -> None:
        """Close connections and cache. A later request opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened[0].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.settings.url} account {self.account_name}>"

    def _ask(
        self,
        endpoint: Endpoint,
        *,
        at: int | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        refresh: bool = False,
    ) -> httpx.Response:
        if endpoint.account:
            self._require_account()
        what = f"{endpoint.method} {endpoint.path}"
        with self._measured(endpoint, what) as measured:
            call = endpoint.call(self.settings.cache, refresh=refresh)
            try:
                path = endpoint.path if at is None else endpoint.path.format(id=int(at))
                extensions = {"vastnb": call, FRESH: endpoint.effect is Effect.UNSAFE}
                response = self._http().request(endpoint.method, path, params=params, json=json, extensions=extensions)
            except httpx.HTTPError as error:
                raise network_error(error, what) from error
            measured.append(response)
            problem = error_of(response, what)
            if problem is not None:
                raise self._without_key(problem)
        return response

    @contextmanager
    def _measured(self, endpoint: Endpoint, what: str) -> Iterator[list[httpx.Response]]:
        """Note the call, whatever becomes of it."""
        at, started, code = time.time(), time.perf_counter(), ""
        came: list[httpx.Response] = []
        try:
            yield came
        except VastError as error:
            code = error.code
            raise
        except BaseException as error:
            code = type(error).__name__
            raise
        finally:
            told = answer_of(came[0]) if came else Answer()
            status, size = (came[0].status_code, len(came[0].content)) if came else (None, 0)
            self.log.add(
                CallRecord(
                    at=at,
                    operation=endpoint.name,
                    endpoint=what,
                    status=status,
                    latency_ms=(time.perf_counter() - started) * 1000,
                    from_cache=told.from_cache,
                    stale=told.stale,
                    repeats=told.repeats,
                    waited_s=told.waited_s,
                    size=size,
                    error=code,
                )
            )

    def _require_account(self) -> None:
        self.settings.require_mode()
        if self.settings.api_key is None:
            why = self.settings.sources.get("api_key", "none was found")
            raise AuthError(f"this needs an API key ({why})")

    def _without_key(self, problem: Exception) -> Exception:
        """A service that repeats our key in a message does not get it shown."""
        key = self.settings.key
        if key and key in str(problem):
            problem.args = (str(problem).replace(key, "***"),)
            problem.__dict__["message"] = problem.args[0]
        return problem

    def _http(self) -> httpx.Client:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened[0]

    def _open(self) -> tuple[httpx.Client, CachingTransport]:
        settings = self.settings
        signer = Signer(open_wire(settings.url), settings.api_key, settings.url)
        paced = self._paced(signer) if settings.pacing == "on" else signer
        retry = RetryTransport(paced, RetryPolicy(attempts=settings.retries + 1), on_wait=self._on_wait)
        disk = market_store(settings.cache, self._cache_file(), account=self.account, local=settings.local)
        self.stores = {"market data": disk, "account data": memory_store()}
        cache = CachingTransport(retry, self.account, disk=disk, memory=self.stores["account data"])
        timeout = httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s))
        http = httpx.Client(
            transport=cache,
            base_url=settings.url,
            timeout=timeout,
            headers={"User-Agent": f"vastnb/{__version__}", "Accept": "application/json"},
            trust_env=False,
        )
        return http, cache

    def _paced(self, below: httpx.BaseTransport) -> PacingTransport:
        self._pacer = Pacer(self._folder() / "pacing.sqlite")
        longest = self._longest_wait_s
        return PacingTransport(below, self._pacer, self.account, longest_wait_s=longest, on_wait=self._on_wait)

    def _cache_file(self) -> Path:
        return self._folder() / "http.sqlite"

    @property
    def state_folder(self) -> Path:
        """Where what must not be lost is kept: what was rented through this client."""
        return self._own(self._cache_folder or platformdirs.user_state_path("vastnb"))

    def _folder(self) -> Path:
        return self._own(self._cache_folder or platformdirs.user_cache_path("vastnb"))

    def _own(self, folder: Path) -> Path:
        """A service on this computer is a sandbox or a test: what it says never mixes with what Vast says."""
        return folder / "local" / self.account if self.settings.local else folder


def _server_time(response: httpx.Response) -> datetime:
    """The service's clock; ours only if it did not say."""
    try:
        told = email.utils.parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return datetime.fromtimestamp(answer_of(response).fetched_at, UTC)
    return told.astimezone(UTC)
