"""What can be set: plain, frozen values, checked. Nothing else is consulted here; `load` asks environment and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vastnb.errors import ModeError

__all__ = ["VAST_URL", "BudgetSettings", "CacheSettings", "HistorySettings", "SandboxSettings", "Settings"]

VAST_URL = "https://console.vast.ai"
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"})
_SIGNING_KEY_LENGTH = 16
_MAKE_A_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def _port(parts: SplitResult) -> bool:
    """Whether the port can be one."""
    try:
        return parts.port != 0
    except ValueError:
        return False


class CacheSettings(BaseModel):
    """How long answers are kept, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    backend: Literal["sqlite", "memory", "redis", "off"] = Field(
        "sqlite", description="where public market data is kept; `off` keeps nothing"
    )
    offers_ttl_s: float = Field(30, ge=0, le=3600, description="seconds for which a search answer counts as fresh")
    catalogue_ttl_s: float = Field(300, ge=0, le=86400, description="seconds for names, templates and metrics")
    account_ttl_s: float = Field(2, ge=0, le=60, description="seconds for account data, in memory only")
    stale_if_error_s: float = Field(
        600, ge=0, le=86400, description="seconds beyond that for which an old answer may stand in when none comes"
    )
    max_mb: int = Field(
        200, ge=1, le=100_000, description="megabytes that the local file may hold; beyond, the oldest entries go"
    )
    redis_url: SecretStr | None = Field(
        None, description="the Redis that a team shares, like `rediss://user:password@host:6379/0`; never shown"
    )
    signing_key: SecretStr | None = Field(
        None, description="what all who share that Redis sign entries with, 16 characters or more; never shown"
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _names_a_redis(value.get_secret_value()):
            options = ", ".join(sorted(_TLS_OPTIONS))
            raise ValueError(
                f"must be like rediss://user:password@host:6379/0, signs in the password percent-encoded; options: {options}"
            )
        return value

    @field_validator("signing_key")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().strip()) < _SIGNING_KEY_LENGTH:
            raise PydanticCustomError(
                "signing_key", f"must have at least {_SIGNING_KEY_LENGTH} characters", {"hint": _MAKE_A_KEY}
            )
        return value

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        if self.backend == "redis" and self.redis_url is None:
            raise ValueError("backend redis needs redis_url, like rediss://user:password@host:6379/0")
        if self.backend == "redis" and self.signing_key is None:
            raise PydanticCustomError(
                "signing_key", "backend redis needs signing_key, the same for all who share it", {"hint": _MAKE_A_KEY}
            )
        return self


def _names_a_redis(url: str) -> bool:
    """Whether `url` leads to a Redis without touching what a client relies on: its time-outs, a checked certificate."""
    try:
        parts = urlsplit(url)
        there = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text holds a part of the URL, perhaps of the password
        return False
    options = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    known = options <= (_TLS_OPTIONS if parts.scheme == "rediss" else set())
    plain = not parts.fragment and not any(c.isspace() for c in url) and not parts.path.strip("/0123456789")
    return parts.scheme in ("redis", "rediss") and there and known and plain


class BudgetSettings(BaseModel):
    """What renting may cost. A cap that is not set does not hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_usd_per_hour: float | None = Field(None, gt=0, description="dollars an hour, for one machine with its disk")
    max_usd_per_day: float | None = Field(
        None,
        gt=0,
        description="dollars that the whole account may cost on a day (UTC), what was made elsewhere included",
    )
    max_usd_total: float | None = Field(
        None, gt=0, description="dollars for all machines of vastnb together, from the first on"
    )


class HistorySettings(BaseModel):
    """The price observatory."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: bool = Field(True, description="whether fresh answers to searches are kept for `history`")
    max_mb: int = Field(
        500, ge=1, le=1_000_000, description="megabytes that its packed days may hold; beyond, the oldest go"
    )
    url: str | None = Field(
        None, description="where its packed days go: a folder, or what fsspec understands, like `s3://bucket/prices`"
    )


class SandboxSettings(BaseModel):
    """The practice market that ``use("sandbox")`` starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offers: int = Field(2000, ge=1, le=20_000, description="how many offers can be rented at any time")
    seed: int = Field(0, ge=0, description="the same seed gives the same market")
    start: str | None = Field(None, description="its clock's beginning, an ISO time; without it, now")
    strict: bool = Field(False, description="with Vast's rate limits")
    machines: bool = Field(
        False, description="machines really run: shells on this computer that one logs in to (needs an OpenSSH server)"
    )


class Settings(BaseModel):
    """Everything that can be set, frozen. `sources` says where each value came from.

    Examples
    --------
    >>> import vastnb
    >>> vastnb.Settings(url="http://127.0.0.1:8080", timeout_s=5).timeout_s
    5.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    profile: str | None = Field(None, description="the profile that was chosen")
    url: str = Field(VAST_URL, description="the service")
    api_key: SecretStr | None = Field(None, description="the account's key; never shown")
    timeout_s: float = Field(30, gt=0, le=600, description="seconds to wait for one answer")
    retries: int = Field(3, ge=0, le=10, description="how often a call that is safe to repeat is sent again")
    display: Literal["vastnb", "pandas"] = Field(
        "vastnb", description="how our frames look in a notebook: our table, or pandas' own"
    )
    pacing: Literal["on", "off"] = Field(
        "on", description="whether requests are spaced as the service asks; `off` only for a service on this computer"
    )
    cache: CacheSettings = Field(CacheSettings(), description="how long answers are kept, and where")
    budget: BudgetSettings = Field(BudgetSettings(), description="what renting may cost")
    history: HistorySettings = Field(HistorySettings(), description="the price observatory")
    sandbox: SandboxSettings = Field(SandboxSettings(), description="the practice market")
    said: bool = Field(True, exclude=True, repr=False)
    sources: Mapping[str, str] = Field({}, exclude=True, repr=False)

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)
        # The port is looked at last: a wrong one would be named in the error, and it may be part of a password.
        odd = (
            parts.query or parts.fragment or "@" in parts.netloc or any(c.isspace() for c in value) or not _port(parts)
        )
        if parts.scheme not in ("http", "https") or not parts.hostname or odd:
            raise ValueError("must be like https://console.vast.ai")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("must be https, except for this computer (127.0.0.1)")
        return value.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value is not None else "-"
        if not text or not text.isascii() or any(c.isspace() or not c.isprintable() for c in text):
            raise ValueError("must be printable ASCII without spaces")
        return value

    @field_validator("pacing")
    @classmethod
    def _may_be_off(cls, value: str, info: ValidationInfo) -> str:
        here = urlsplit(info.data.get("url", "")).hostname in _LOOPBACK or info.data.get("profile") == "sandbox"
        if value == "off" and not here:
            raise ValueError("may be off only for a service on this computer")
        return value

    @property
    def local(self) -> bool:
        """Whether the service is on this computer: a sandbox, never Vast itself."""
        return urlsplit(self.url).hostname in _LOOPBACK

    @property
    def key(self) -> str | None:
        """The API key in the clear, for the signer alone."""
        return self.api_key.get_secret_value() if self.api_key is not None else None

    def require_mode(self) -> None:
        """Raise `ModeError` unless it was said where this notebook runs."""
        if not self.said:
            raise ModeError(
                "this needs an account, and it was not said whether to practise or to use the real one",
                hint="%vast use sandbox   (practice, free)   or   %vast use production   (your Vast.ai account)",
            )
