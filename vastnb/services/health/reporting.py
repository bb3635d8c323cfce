"""The report on the account in force, whatever is missing."""

from __future__ import annotations

from datetime import UTC, datetime

from vastnb.errors import ConfigError
from vastnb.services import session
from vastnb.services.checks import HealthReport, failed
from vastnb.services.health.judging import judged, notebook
from vastnb.services.health.measuring import Seen, look, versions
from vastnb.vast.client import Client
from vastnb.vast.render import source_of

__all__ = ["health"]


def health(*, client: Client | None = None) -> HealthReport:
    """Whether all is well: network, key, balance, search, limits, what is kept here, the notebook; each with what to do.

    Sends five requests at most (two without an account), each once, and takes some seconds at most, also where nothing answers. A check that
    fails stops no other.

    Parameters
    ----------
    client
        Another client than the default one.

    Returns
    -------
    HealthReport
        ``word`` is healthy, degraded or unhealthy; ``checks`` say what was seen, how long it took, and what to do; `to_json`, `to_frame`.

    Examples
    --------
    >>> import vastnb
    >>> _ = vastnb.use("sandbox", start="2026-06-01")
    >>> report = vastnb.health()
    >>> report.word, report["search"].seen
    ('healthy', 'it works')

    Source: ``GET /api/v0/gpu_names/unique/``, ``/users/current/``, ``/auth/apikeys/``, ``/api/v1/instances/``, ``POST /api/v0/bundles/``.
    """
    try:
        seen = look(client if client is not None else session.current().client)
    except ConfigError as error:
        broken = failed("settings", error.message, error.hint or "%vast config")
        return HealthReport(
            subject="the account",
            checks=(broken, *notebook(versions())),
            at=datetime.now(UTC),
            source="nobody was asked",
        )
    return _report(seen)


def _report(seen: Seen) -> HealthReport:
    times = [told.seen_at for told, _ in seen.told]
    about = {"source": "sandbox" if seen.is_practice else "vast", "url": seen.settings.url, "account": seen.account}
    return HealthReport(
        subject="the account" if "user" in seen.tries else "without an account",
        checks=tuple(judged(seen)),
        at=max(times, default=datetime.now(UTC)),
        source=source_of(about),
    )
