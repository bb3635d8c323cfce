"""Every error vastnb raises, in one tree.

::

    VastError
    ├── ConfigError             settings: misspelt name, unreadable file, value out of range
    │   └── ModeError           it was never said where this notebook runs
    ├── CommandError            a word or an option that no command has
    ├── InputError              a value given to a function is out of range
    ├── QueryError              a filter that cannot be right; nothing was sent
    ├── StateError              a file of ours that cannot be used
    │   └── NewerStateError     ... because a newer vastnb wrote it
    ├── WebhookError            a delivery that is not Vast's, is too old, or is not what it should be
    ├── SandboxOfferError       an offer of the sandbox shown to a live account
    ├── LaunchError             a machine was not rented, or not as agreed
    │   ├── BudgetError         a cap would not hold
    │   ├── PriceChangedError   the offer is not what the quote says, or dearer
    │   ├── NameTakenError      a machine of this name lives, and is not what was asked for
    │   └── LaunchUncertainError    nobody knows yet whether a machine was rented
    ├── MachineError            a rented machine did not do what it should
    │   ├── NotRunningError     it does not run, and will not by itself
    │   ├── WaitTimeoutError    it was not ready in time
    │   ├── DestroyUncertainError   it could not be seen that it is gone
    │   ├── NotOursError        it was not made by vastnb, and ``force`` was not said
    │   ├── ReachError          it could not be reached by ssh, or the connection was lost
    │   ├── CopyError           files were not copied, or not whole
    │   └── CellError           a cell failed on it, or could not run there
    └── ApiError                the service was asked
        ├── NetworkError        no answer came
        │   └── AnswerTimeoutError
        ├── ResponseError       an answer came that is not what the documentation says
        ├── AuthError           the key is missing, wrong or revoked
        ├── PermissionDeniedError   the key is right but may not do this
        ├── InvalidRequestError the service could not accept what was asked
        │   └── InsufficientCreditError
        ├── NotFoundError       no such thing, or not yours
        │   └── OfferGoneError  somebody else took it
        ├── EndpointGoneError   the service has retired this call
        ├── RateLimitError      too many requests; waiting helps
        │   └── QuotaError      the day's searches are used up; waiting until midnight UTC helps
        └── ServerError         the service or its gateway failed

Imported by all layers, imports nothing of ours. In a notebook an error shows as one line and a hint; the whole traceback follows on ``%tb``.
"""

from __future__ import annotations

import traceback
from typing import Any, ClassVar

__all__ = [
    "AnswerTimeoutError", "ApiError", "AuthError", "BudgetError", "CellError", "CommandError", "ConfigError",
    "CopyError", "DestroyUncertainError", "EndpointGoneError", "InputError", "InsufficientCreditError",
    "InvalidRequestError", "LaunchError", "LaunchUncertainError", "MachineError", "ModeError", "NameTakenError",
    "NetworkError", "NewerStateError", "NotFoundError", "NotOursError", "NotRunningError", "OfferGoneError",
    "PermissionDeniedError", "PriceChangedError", "QueryError", "QuotaError", "RateLimitError", "ReachError",
    "ResponseError", "SandboxOfferError", "ServerError", "StateError", "VastError", "WaitTimeoutError",
    "WebhookError",
]  # fmt: skip


_AROUND = 80
"""Characters of a long query that an error shows before and behind the place."""


class VastError(Exception):
    """What went wrong, whether a repeat may help, and what to do next.

    Parameters
    ----------
    message
        What was asked and what came, with the value.
    code
        A short stable word for programs; each class has its own default.
    retryable
        Whether the same call may succeed later without a change.
    original
        The error of the lower library, if there was one.
    hint
        The next step, as a sentence or a line to paste.
    facts
        What a class tells besides: its attributes, each with a default.
    """

    code: str = "vast_error"
    retryable: bool = False
    default_hint: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        original: BaseException | None = None,
        hint: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = type(self).code if code is None else code
        self.retryable = type(self).retryable if retryable is None else retryable
        self.original = original
        self.hint = type(self).default_hint if hint is None else hint
        self._shown = False
        for name, value in facts.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} tells no {name!r}")
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.message

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message and a hint, then, when asked again with ``%tb``, the whole chain."""
        if self._shown:
            return traceback.format_exception(type(self), self, self.__traceback__)
        self._shown = True
        lines = [f"{type(self).__name__}: {self.message}"]
        if self.hint:
            lines.append(f"  → {self.hint}")
        return lines


class ConfigError(VastError):
    """The settings cannot be used as they are."""

    code = "config"


class ModeError(ConfigError):
    """An account was needed, and it was never said whether this is the sandbox or the real service."""

    code = "mode_unsaid"


class CommandError(VastError):
    """The words after ``%vast`` or ``vastnb`` are not those of a command."""

    code = "command"


class InputError(VastError):
    """A value that was given to a function is out of range, or of another kind than it takes."""

    code = "input"


class QueryError(VastError):
    """A filter that cannot be right. Nothing was sent.

    Parameters
    ----------
    text
        The query as written.
    position
        Where in `text` it went wrong, in characters from 0; a caret is drawn there.
    suggestion
        The nearest thing that would have been right.
    """

    code = "query"
    text: str = ""
    position: int | None = None
    suggestion: str | None = None

    def __init__(
        self, message: str, *, text: str = "", position: int | None = None, suggestion: str | None = None, **more: Any
    ) -> None:
        more |= {"text": text, "position": position, "suggestion": suggestion}
        if position is not None and text:
            message = f"{message}\n{_pointed(text, position)}"
        if suggestion is not None:
            more.setdefault("hint", f"did you mean {suggestion}?")
        super().__init__(message, **more)


def _pointed(text: str, position: int) -> str:
    """The part of `text` around `position`, and a caret below it; one printable character for each of `text`."""
    start = max(0, position - _AROUND)
    part = "".join(c if c.isprintable() else " " for c in text[start : position + _AROUND])
    cut = "…" if start else ""
    return f"  {cut}{part}\n  {' ' * (len(cut) + position - start)}^"


class StateError(VastError):
    """A file that vastnb keeps cannot be used."""

    code = "state"


class NewerStateError(StateError):
    """A file was written by a newer vastnb than this one."""

    code = "newer_state"
    default_hint = "pip install --upgrade vastnb"


class SandboxOfferError(VastError):
    """An offer of the sandbox was given to a live account."""

    code = "sandbox_offer"
    default_hint = "search again after vastnb.use(...): sandbox offers exist in the sandbox only"


class WebhookError(VastError):
    """A webhook delivery must not be believed.

    Parameters
    ----------
    reason
        ``signature``, ``age`` or ``body``.
    """

    code = "webhook"
    reason: str = ""


class LaunchError(VastError):
    """A machine was not rented, or not as agreed."""

    code = "launch"


class BudgetError(LaunchError):
    """A cap would not hold; nothing was sent.

    Parameters
    ----------
    cap
        Its name, as an argument or a setting.
    limit_usd, needed_usd
        What it allows, and what this would take.
    """

    code = "budget"
    cap: str = ""
    limit_usd: float | None = None
    needed_usd: float | None = None


class PriceChangedError(LaunchError):
    """The offer is not what the quote says, or it is dearer; nothing was sent."""

    code = "price_changed"
    default_hint = "search and quote again"


class NameTakenError(LaunchError):
    """A machine of this name lives, and it is not what was asked for; nothing was sent."""

    code = "name_taken"


class LaunchUncertainError(LaunchError):
    """The answer to a paying call was lost, and it could not be seen yet whether a machine was rented.

    Nothing is sent again. The machine, if there is one, carries `label`; every later `vastnb.instances()`, launch or audit
    looks for it and takes it over.

    Parameters
    ----------
    label
        What the machine would be called in the list.
    offer_id
        The offer that was asked for.
    """

    code = "launch_uncertain"
    default_hint = "%vast audit looks for it; do not rent again before it is settled"
    label: str = ""
    offer_id: int | None = None


class MachineError(VastError):
    """A rented machine did not do what it should.

    Parameters
    ----------
    instance_id
        The machine.
    """

    code = "machine"
    instance_id: int | None = None


class NotRunningError(MachineError):
    """The machine does not run, and will not by itself."""

    code = "not_running"


class WaitTimeoutError(MachineError):
    """The machine was not ready in time; it still exists, and costs."""

    code = "wait_timeout"
    retryable = True


class DestroyUncertainError(MachineError):
    """It could not be seen that the machine is gone; it may still cost."""

    code = "destroy_uncertain"
    retryable = True
    default_hint = "run it again; Vast's console shows what exists"


class NotOursError(MachineError):
    """The machine was not made by vastnb."""

    code = "not_ours"
    default_hint = "force=True (or --force) touches it all the same"


class ReachError(MachineError):
    """The machine could not be reached by ssh, or the connection was lost.

    `code` says more: ``no_program`` (ssh or rsync is missing here), ``host_key`` (another one than before), ``key_refused``,
    ``unreachable`` (no answer), ``lost``.
    """

    code = "unreachable"


class CopyError(MachineError):
    """Files were not copied, or not whole; what arrived stays, and the same call goes on from there.

    `code` says more: ``disk_full``, ``changed`` (while they were copied), ``refused`` (missing, or not to be read or written).

    Parameters
    ----------
    files
        Those concerned, as far as they are known.
    """

    code = "copy"
    default_hint = "run it again: it goes on where it was"
    files: tuple[str, ...] = ()


class CellError(MachineError):
    """A cell failed on a machine, or could not run there.

    `code` says more: ``cell`` (it raised), ``interrupted``, ``left`` (it may run on there), ``not_carried`` (a value that was to
    come or go), ``kernel_gone`` (its Python ended), ``no_python``, ``no_ipykernel``.

    Parameters
    ----------
    ename
        The name of the exception's class there.
    evalue
        The exception's own words.
    traceback
        As the machine's Python shows it; ``%tb`` shows it here.
    """

    code = "cell"
    ename: str = ""
    evalue: str = ""
    traceback: tuple[str, ...] = ()

    def _render_traceback_(self) -> list[str]:
        """As any other error; with ``%tb`` what the machine's Python says of it."""
        return list(self.traceback) if self._shown and self.traceback else super()._render_traceback_()


class ApiError(VastError):
    """The service was asked and this is what came of it.

    Parameters
    ----------
    status
        The HTTP status, if an answer came.
    endpoint
        What was asked, for example ``POST /api/v0/bundles/``.
    told
        The fields of the answer, if it was the service's JSON; not shown.
    """

    code = "api_error"
    status: int | None = None
    endpoint: str = ""
    told: dict[str, Any] | None = None


class NetworkError(ApiError):
    """No answer came: no network, no such host, a closed connection, a refused certificate.

    Parameters
    ----------
    unsent
        Whether not one byte of the request has left, so that the service cannot have acted.
    """

    code = "network"
    retryable = True
    default_hint = "check the network (and HTTPS_PROXY, if you need one), then run the cell again"
    unsent: bool = False


class AnswerTimeoutError(NetworkError):
    """The service did not answer in time."""

    code = "timeout"
    default_hint = "run the cell again; for a slow link raise timeout_s in the settings"


class ResponseError(ApiError):
    """An answer that is not what the documentation says.

    Parameters
    ----------
    path
        Where in the JSON, for example ``$.offers[3].gpu_ram``.
    """

    code = "bad_response"
    default_hint = "the service answered something unexpected; try again, and report it if it stays"
    path: str = "$"


class AuthError(ApiError):
    """The API key is missing, wrong or revoked."""

    code = "auth_error"
    default_hint = "%vast config shows where the key comes from; make a new one in Vast's console under Keys"


class PermissionDeniedError(ApiError):
    """The API key is right but may not do this."""

    code = "not_authorized"
    default_hint = "give the key this permission in Vast's console under Keys, or use another key"


class InvalidRequestError(ApiError):
    """The service could not accept what was asked."""

    code = "invalid_request"
    default_hint = "the words are the service's own; change what it names and ask again"


class InsufficientCreditError(InvalidRequestError):
    """The account has too little credit for this."""

    code = "insufficient_credit"
    default_hint = "add credit in Vast's console under Billing"


class NotFoundError(ApiError):
    """There is no such thing, or it is not yours."""

    code = "not_found"


class OfferGoneError(NotFoundError):
    """The offer is no longer there: somebody rented it, or the host withdrew it."""

    code = "no_such_ask"
    default_hint = "search again with refresh=True and take the next offer"


class EndpointGoneError(ApiError):
    """The service has retired this call."""

    code = "deprecated_endpoint"
    default_hint = "pip install --upgrade vastnb"


class RateLimitError(ApiError):
    """Too many requests. Waiting helps.

    Parameters
    ----------
    retry_after_s
        How long to wait, in seconds, if the service said so.
    """

    code = "rate_limited"
    retryable = True
    default_hint = "wait a few seconds and run the cell again"
    retry_after_s: float | None = None


class QuotaError(RateLimitError):
    """The account's searches of today are used up."""

    code = "search_quota_exceeded"
    retryable = False
    default_hint = "the quota starts again at midnight UTC; frames already fetched stay usable"


class ServerError(ApiError):
    """The service or its gateway failed."""

    code = "server_error"
    retryable = True
    default_hint = "this is on Vast's side and usually short; run the cell again"
