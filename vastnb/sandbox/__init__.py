"""An embedded stand-in for Vast's HTTP API, for tutorials, teaching and tests of anything that talks to Vast.

``with Sandbox() as sandbox:`` serves a generated market at ``sandbox.url`` on this machine alone. It is reached over
HTTP like the real service and imports nothing of the package around it. Importing it is cheap: numpy and tornado
come with the first market and the first start.
"""

import functools
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from .clock import Start
    from .market import Market
    from .rentals import Backend, Levers, Rentals
    from .server import Server, Site
    from .webhooks import Notices

__all__ = ["Sandbox", "serve"]

_KEYWORDS = (
    "offers", "seed", "start", "strict", "page_cap", "defaults", "latency_s", "gzip", "api_key", "credit_usd", "port",
    "ssh_keys", "metrics", "listing_lag_s", "machines",
)  # fmt: skip


class Sandbox:
    """The marketplace: a server on 127.0.0.1 with a generated market and a clock of its own.

    A context manager; or call :meth:`start` and :meth:`stop`. One sandbox is started once.

    Parameters
    ----------
    offers
        How many offers are rentable at any time, at least; some 40 % more are listed and rented by others.
    seed
        The same seed and start give the same market.
    start
        When its clock begins: ``None`` (the wall clock's now), epoch seconds, ISO text or an aware datetime. The
        clock stands still until it is stepped or run.
    strict
        Whether the documented rate limits hold.
    page_cap
        The most offers in one answer; 64 or 80 were seen on the real service.
    defaults
        What a search without a filter on verified, rentable and rented means: ``"recorded"``: any; ``"openapi"``:
        what the documentation says (true, true, false).
    latency_s
        Seconds before each answer.
    gzip
        Whether answers are compressed for clients that accept it.
    api_key
        The key of its one account; ``None`` for a new random one.
    credit_usd
        What that account has.
    port
        Where to listen; 0 for any free port.
    ssh_keys
        The public keys of the account, each the line of a ``.pub`` file.
    metrics
        What the account sees of the market's metrics: ``"allowed"``: all; ``"needs-machine"``: nothing, as a host
        without a machine; ``"refused"``: a 403.
    listing_lag_s
        Sandbox seconds before a new instance is listed; 5 to 10 were seen on the real service.
    machines
        What stands behind rented machines (a :class:`~.rentals.Backend`, such as :class:`~.machines.Machines`, which
        runs their on-start scripts); ``None``: nothing, their states are made up.

    Attributes
    ----------
    clock, faults, market, books
        Its time, what goes wrong in it, its offers, and its accounts with their ledger.
    log
        A list of the last 10,000 requests, oldest first: method, path, body, status, key_digest, at.
    limits
        The rate limits in force (with their count of refusals), ``None`` unless strict.
    run_id, api_key
        The value of the ``X-Vastnb-Sandbox`` header of every answer (``; strict`` follows where that holds); the key.

    Examples
    --------
    >>> with Sandbox(offers=200, seed=1, start="2026-06-01") as sandbox:
    ...     url, cheapest = sandbox.url, sandbox.offers({"order": [["dph_total", "asc"]]})[0]
    """

    def __init__(
        self,
        *,
        offers: int = 2000,
        seed: int = 0,
        start: "Start" = None,
        strict: bool = False,
        page_cap: int = 64,
        defaults: str = "recorded",
        latency_s: float = 0.0,
        gzip: bool = False,
        api_key: str | None = None,
        credit_usd: float = 100.0,
        port: int = 0,
        ssh_keys: "Sequence[str]" = (),
        metrics: str = "allowed",
        listing_lag_s: float = 0.0,
        machines: "Backend | None" = None,
        **unknown: Any,
    ) -> None:
        # Imported here and below: importing this package costs next to nothing.
        from secrets import token_hex
        from threading import RLock

        from .books import METRICS, Account, Books
        from .clock import Clock
        from .faults import Faults
        from .limits import Limits
        from .log import Log

        _refuse(unknown)
        _check(page_cap=page_cap, defaults=defaults, latency_s=latency_s, credit_usd=credit_usd, port=port)
        self.run_id, self.api_key = token_hex(8), _key(api_key or token_hex(32))
        self.clock: Clock = Clock(start)
        self.faults: Faults = Faults()
        self.log: Log = Log()
        self.limits: Limits | None = Limits() if strict else None
        keys = _public_keys(ssh_keys)
        account = Account(
            id=1_000_001,
            email="sandbox@example.com",
            api_key=self.api_key,
            credit_usd=credit_usd,
            ssh_key=keys[0] if keys else "",
            metrics=_one_of("metrics", metrics, METRICS),
        )
        self.books: Books = Books()
        self.books.add(account, self.clock.now())
        for key in keys:
            self.books.add_ssh_key(account.id, key, self.clock.now())
        self._listing_lag_s, self._machines = float(listing_lag_s), machines
        self._offers, self._seed, self._page_cap, self._defaults = offers, seed, page_cap, defaults
        self._latency_s, self._gzip, self._port = float(latency_s), bool(gzip), port
        self._lock = RLock()
        self._url = ""
        self._server: Server | None = None
        self._stopped = False

    @functools.cached_property
    def market(self) -> "Market":
        """The offers, generated when first asked for."""
        from .market import Market

        return Market(offers=self._offers, seed=self._seed)

    @functools.cached_property
    def rentals(self) -> "Rentals":
        """What is rented, made when first asked for."""
        from secrets import token_hex

        from .rentals import Rentals

        return Rentals(
            market=self.market,
            clock=self.clock,
            books=self.books,
            secret=token_hex(16),
            backend=self._machines,
            listing_lag_s=self._listing_lag_s,
        )

    @functools.cached_property
    def _notices(self) -> "Notices":
        from .webhooks import Notices

        return Notices(rentals=self.rentals, books=self.books)

    @property
    def instances(self) -> "list[dict[str, Any]]":
        """Every rented machine of every account as the list would answer it: no page, no lag, no fault."""
        return self.rentals.rows()

    @functools.cached_property
    def _control(self) -> "Levers":
        from .rentals import Levers

        return Levers(self.rentals)

    def bill(self, api_key: str | None = None) -> list[dict[str, Any]]:
        """Return every line of the bill of an account, its own or that of ``api_key``.

        Charges are positive, what was paid in is negative: the lines' ``micro_usd`` add up to minus the credit, but for
        lines that are ``prepaid``, which a deposit has paid.
        """
        from .rentals import bill

        return bill(self.rentals, self.books, self.books.owner(api_key or self.api_key).id)

    def add_account(self, *, credit_usd: float = 100.0, can_pay: bool = True) -> str:
        """Open another account, and return its key; ``can_pay``: whether it has a saved card."""
        from secrets import token_hex

        from .books import Account

        _check_credit(credit_usd)
        number, key = 1_000_001 + len(self.books.accounts()), token_hex(32)
        email = f"sandbox+{number}@example.com"
        account = Account(id=number, email=email, api_key=key, credit_usd=credit_usd, can_pay=can_pay)
        self.books.add(account, self.clock.now())
        return key

    def outbid(self, instance_id: int, usd_per_hour: float | None = None) -> None:
        """Let somebody bid more for the GPUs of an interruptible instance, until its own bid is at least that."""
        self._control.outbid(instance_id, usd_per_hour)

    def offline(self, instance_id: int, seconds: float | None = None) -> None:
        """Let the host of an instance vanish, for ``seconds`` of the sandbox's clock or for good."""
        self._control.offline(instance_id, seconds)

    def stick(self, instance_id: int) -> None:
        """Let an instance never get through loading."""
        self._control.stick(instance_id)

    def ends_itself(self, instance_id: int, at: float, *, stop: bool = False) -> None:
        """Let an instance destroy (or stop) itself at a time, epoch seconds, as a script on it would; it must run to do so."""
        self._control.ends_itself(instance_id, at, stop)

    def traffic(self, instance_id: int, *, down_gb: float = 0.0, up_gb: float = 0.0) -> None:
        """Let an instance move data over the internet, all at once, now."""
        self._control.traffic(instance_id, down_gb, up_gb)

    def reprice(self, offer_id: int, factor: float) -> None:
        """Multiply what the machine of an offer asks, on demand and at least, from now on; contracts stay as they are."""
        self._control.reprice(offer_id, factor)

    def notify(self, notif_type: str, subject: str = "", message: str = "", data: dict[str, Any] | None = None) -> None:
        """Notify the account of anything, by the webhooks that want it; what happens to its instances is told without."""
        from .webhooks import TYPES

        _one_of("notif_type", notif_type, tuple(TYPES))
        self._notices.notify(self.books.owner(self.api_key).id, notif_type, subject, message, data)

    @property
    def deliveries(self) -> list[dict[str, Any]]:
        """Every webhook delivery so far, oldest first: event_id, webhook_id, body, the status of each attempt, and its state."""
        return [letter.shown() for letter in tuple(self._notices.postman.letters)]

    def wait_for_deliveries(self, timeout_s: float = 30.0) -> bool:
        """Wait, in real time, until every webhook delivery is accepted or given up, and return whether that came in time."""
        return self._notices.postman.wait(timeout_s)

    def history(self, instance_id: int) -> list[dict[str, Any]]:
        """Return every change in the life of an instance, oldest first: when, its states, and what is billed from then."""
        return self._control.history(instance_id)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        if not self._url:
            raise RuntimeError(
                "the sandbox has no url before it is started: use it as a context manager or call start()"
            )
        return self._url

    def start(self) -> Self:
        """Listen; a sandbox that listens already is left as it is."""
        from .server import ADDRESS, Server

        with self._lock:
            if self._stopped:
                raise RuntimeError("this sandbox was stopped; make a new Sandbox()")
            if self._server is None:
                server = Server(self._site(), port=self._port)
                self._url = f"http://{ADDRESS}:{server.start()}"
                self._server = server
                if self._machines is not None:
                    self._machines.opened(self._url)
        return self

    def stop(self) -> None:
        """Stop listening; returns when connections, sockets and thread are gone. May be called again."""
        with self._lock:
            self._stopped = True
            server, self._server = self._server, None
        if server is not None:
            server.stop()
            self._notices.postman.stop()
            if self._machines is not None:
                self._machines.closed()

    def offers(self, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return every offer that a search body asks for, in order: no page cap, no limit, no fault.

        Parameters
        ----------
        body
            As it would be sent to ``/api/v0/bundles/``; ``None`` for all that is listed.
        """
        from .answers import offers

        return offers(self.market, body or {}, self.clock.now(), self._defaults)

    def requests(self, path: str = "") -> int:
        """Return how many logged requests had ``path`` in their path."""
        return sum(path in record.path for record in tuple(self.log))

    def info(self) -> dict[str, Any]:
        """Return what this sandbox is, without its key."""
        return {
            "run_id": self.run_id,
            "offers": self._offers,
            "seed": self._seed,
            "strict": self.limits is not None,
            "page_cap": self._page_cap,
            "defaults": self._defaults,
            "latency_s": self._latency_s,
            "gzip": self._gzip,
            "now": self.clock.now(),
            "speed": self.clock.speed,
            "requests": len(self.log),
            "refused": self.limits.refused if self.limits else 0,
        }

    def _mark(self) -> str:
        """What each answer says of this sandbox: which run it is, and whether it minds how often it is asked."""
        return f"{self.run_id}; strict" if self.limits is not None else self.run_id

    def _site(self) -> "Site":
        from .answers import Service
        from .control import Control
        from .server import Site

        service = Service(
            market=self.market,
            clock=self.clock,
            books=self.books,
            faults=self.faults,
            rentals=self.rentals,
            page_cap=self._page_cap,
            defaults=self._defaults,
            machines=self._machines,
            url=lambda: self._url,
            notices=self._notices,
        )
        control = Control(
            clock=self.clock,
            faults=self.faults,
            books=self.books,
            log=self.log,
            info=self.info,
            shows={"instances": lambda key: self.instances, "bill": self.bill},
            levers={
                "accounts": self.add_account,
                **{
                    name: getattr(self, name)
                    for name in ("outbid", "offline", "stick", "traffic", "reprice", "history", "notify")
                },
            },
        )
        return Site(service, control, self._mark(), self.log, self.limits, self._latency_s, self._gzip)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "stopped" if self._stopped else (self._url or "not started")
        return f"Sandbox({where}, offers={self._offers}, seed={self._seed}, run_id={self.run_id!r})"


def serve(*, on_ready: "Callable[[Sandbox], object] | None" = None, **options: Any) -> None:
    """Run a sandbox until SIGINT or SIGTERM: the stand-alone command, for the main thread.

    Parameters
    ----------
    on_ready
        Called with the listening sandbox, to tell its url and key.
    options
        The keywords of :class:`Sandbox`.
    """
    import signal
    import threading

    ended = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: ended.set()) for number in numbers]
    try:
        with Sandbox(**options) as sandbox:
            if on_ready is not None:
                on_ready(sandbox)
            # With a time-out, because a wait without one cannot be interrupted on Windows.
            while not ended.wait(0.5):
                pass
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _refuse(unknown: dict[str, Any]) -> None:
    from .faults import nearest

    for name in unknown:
        raise TypeError(f"Sandbox() has no keyword {name!r}{nearest(name, _KEYWORDS)}")


def _key(api_key: str) -> str:
    if not isinstance(api_key, str) or not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise ValueError("api_key must be printable ASCII without blanks")
    return api_key


def _public_keys(ssh_keys: "Sequence[str]") -> list[str]:
    from .books import public_key

    if isinstance(ssh_keys, str):
        raise ValueError("ssh_keys must be a list of public keys, got a single text")
    return [public_key(key) for key in ssh_keys]


def _one_of(name: str, value: str, known: "Sequence[str]") -> str:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value


def _check(*, page_cap: int, defaults: str, latency_s: float, credit_usd: float, port: int) -> None:
    known = ("recorded", "openapi")
    wrong = {
        f"page_cap must be a whole number from 1, got {page_cap!r}": not _whole(page_cap, 1, 10**9),
        f"defaults must be one of {', '.join(known)}, got {defaults!r}": defaults not in known,
        f"latency_s must be from 0 to 3600, got {latency_s!r}": not 0 <= latency_s <= 3600,
        f"port must be a whole number from 0 to 65535, got {port!r}": not _whole(port, 0, 65535),
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(message)
    _check_credit(credit_usd)


def _check_credit(credit_usd: float) -> None:
    if not 0 <= credit_usd <= 1e9:
        raise ValueError(f"credit_usd must be from 0 to 1,000,000,000, got {credit_usd!r}")


def _whole(number: Any, low: int, high: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and low <= number <= high
