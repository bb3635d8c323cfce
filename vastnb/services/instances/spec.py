"""What is to run on a machine: `LaunchSpec`, and the body of the request that rents one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from vastnb.errors import InputError

__all__ = ["DEFAULT_IMAGE", "LaunchSpec", "Volume", "spec_of"]

DEFAULT_IMAGE = "vastai/base-image:@vastai-automatic-tag"
"""What the documentation names as the default; the service picks the tag that fits the machine."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(?:^|_)KEY|_PAT$|API_?KEY", re.IGNORECASE)
_PORT = re.compile(r"(\d{1,5})(?::(\d{1,5}))?(?:/(tcp|udp))?")
_MOUNT = re.compile(r"/(?:[^/\0]+/?)+")
_RUNTYPES = {"ssh": "ssh_direct", "jupyter": "jupyter_direct", "args": "args"}
HIDDEN = "***"


class Volume(BaseModel):
    """A volume to mount: one that exists, or a new one made from an offer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume_id: int = Field(description="an existing volume, or the offer of a new one")
    mount: str = Field(description="where, like /workspace")
    new_gb: int | None = Field(None, ge=1, description="make it new, of this size in GB")
    name: str | None = None

    @field_validator("mount")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not _MOUNT.fullmatch(value):
            raise ValueError("must be an absolute path, like /workspace")
        return value

    def body(self) -> dict[str, Any]:
        """As the service takes it."""
        size = {"size": self.new_gb} if self.new_gb is not None else {}
        named = {"name": self.name} if self.name is not None else {}
        return {
            "mount_path": self.mount,
            "create_new": self.new_gb is not None,
            "volume_id": self.volume_id,
            **size,
            **named,
        }


class LaunchSpec(BaseModel):
    """What is to run on a machine.

    Values of `env` that are secret (their name says so, or they are given as ``SecretStr``) are never shown nor written down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    image: str | None = Field(
        None, description="Docker image with its tag; without one, that of the template, or Vast's own"
    )
    template: str | None = Field(None, description="hash id of a template (`%vast show templates`)")
    disk_gb: float = Field(10, ge=8, le=100_000, description="disk, in GB; it cannot be enlarged later")
    bid_usd_per_hour: float | None = Field(
        None, ge=0.001, le=128, description="for an interruptible machine: the bid for all its GPUs together"
    )
    env: Mapping[str, SecretStr] = Field({}, description="environment variables")
    secrets: frozenset[str] = Field(
        frozenset(),
        description="those of them that are never shown; names with TOKEN, KEY, PASSWORD ... are among them",
    )
    ports: tuple[str, ...] = Field((), description="ports to open, like 8080, 8080:80 or 8080/udp")
    onstart: str = Field("", description="a shell script that runs at each start")
    runtype: Literal["ssh", "jupyter", "args"] = Field("ssh", description="how it is reached")
    args: tuple[str, ...] = Field((), description="with runtype args: the arguments of the image's entry point")
    volume: Volume | None = Field(None, description="a volume to mount")
    label: str = Field("", max_length=120, description="a text of yours beside it in every list")
    cancel_unavail: bool = Field(
        True, description="refuse rather than wait, stopped and billed, for GPUs that are not free"
    )

    @field_validator("image")
    @classmethod
    def _has_tag(cls, value: str | None) -> str | None:
        if value is None:
            return None
        last = value.rpartition("/")[2]
        if not value or any(c.isspace() for c in value):
            raise ValueError("must be the name of an image without blanks")
        if ":" not in last and "@" not in last:
            raise ValueError("must name its tag, like pytorch/pytorch:2.6.0-cuda12.6-cudnn9-runtime")
        return value

    @model_validator(mode="before")
    @classmethod
    def _mark_secrets(cls, values: Any) -> Any:
        env = values.get("env") if isinstance(values, Mapping) else None
        if not isinstance(env, Mapping):
            return values
        marked = {n for n, v in env.items() if isinstance(v, SecretStr) or (isinstance(n, str) and _SECRET.search(n))}
        named = values.get("secrets", ())
        named = frozenset([named] if isinstance(named, str) else named)
        if not named <= set(env):
            raise ValueError(f"secrets: {', '.join(sorted(named - set(env)))}: no such variable in env")
        return {**values, "secrets": named | marked}

    @field_validator("env", mode="before")
    @classmethod
    def _are_texts(cls, value: Any) -> Any:
        return (
            {k: str(v) if isinstance(v, int | float) else v for k, v in value.items()}
            if isinstance(value, Mapping)
            else value
        )

    @field_validator("env")
    @classmethod
    def _have_names(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, text in value.items():
            if not _ENV_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of an environment variable")
            if "\0" in text.get_secret_value():
                raise ValueError(f"{name} holds a zero byte")
        return value

    @field_validator("ports", mode="before")
    @classmethod
    def _are_many(cls, value: Any) -> Any:
        many = (value,) if isinstance(value, str | int) else value
        return (
            tuple(str(port) if isinstance(port, int) else port for port in many)
            if isinstance(many, list | tuple)
            else many
        )

    @field_validator("ports")
    @classmethod
    def _are_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for port in value:
            match = _PORT.fullmatch(port)
            if not match or not all(0 < int(n) < 65536 for n in match.groups()[:2] if n):
                raise ValueError(f"{port!r} is no port: expected 8080, 8080:80 or 8080/udp")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.args and self.runtype != "args":
            raise ValueError("args go with runtype='args'")
        if self.runtype == "args" and self.onstart:
            raise ValueError("onstart does not run with runtype='args'; put it into args")
        return self

    def body(self, *, label: str, onstart: str) -> dict[str, Any]:
        """The request that rents a machine for it, secrets in the clear.

        Parameters
        ----------
        label
            What the machine is found by.
        onstart
            The on-start script as it is sent.
        """
        env = {name: text.get_secret_value() for name, text in self.env.items()}
        opened = {f"-p {_mapped(port)}": "1" for port in self.ports}
        body = {
            "client_id": "me",
            "image": self.image or (None if self.template else DEFAULT_IMAGE),
            "template_hash_id": self.template,
            "env": {**env, **opened},
            "price": self.bid_usd_per_hour,
            "disk": self.disk_gb,
            "label": label,
            "onstart": onstart or None,
            "runtype": _RUNTYPES[self.runtype],
            "use_jupyter_lab": self.runtype == "jupyter",
            "args": list(self.args) if self.runtype == "args" else None,
            "volume_info": self.volume.body() if self.volume is not None else None,
            "cancel_unavail": self.cancel_unavail,
            "target_state": "running",
        }
        return {name: value for name, value in body.items() if value is not None}

    def shown(self) -> dict[str, Any]:
        """What may be shown and written down: everything but the secrets."""
        plain = self.model_dump(mode="json", exclude={"env", "secrets"})
        return {**plain, "env": self._hidden({name: text.get_secret_value() for name, text in self.env.items()})}

    def redacted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request's body without the secrets."""
        return {**body, "env": self._hidden(body["env"])}

    def _hidden(self, env: Mapping[str, str]) -> dict[str, str]:
        return {name: HIDDEN if name in self.secrets else value for name, value in env.items()}


def _mapped(port: str) -> str:
    number, slash, protocol = port.partition("/")
    return f"{number if ':' in number else f'{number}:{number}'}{slash}{protocol}"


def check_name(name: str) -> str:
    """A name of a machine, if it can be one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"name must be up to 64 letters, digits, dots, dashes and underscores, got {name!r}")
    return name


def spec_of(**values: Any) -> LaunchSpec:
    """A spec of these values.

    Raises
    ------
    InputError
        One of them cannot be right; its value is not shown, it may be a secret.
    """
    try:
        return LaunchSpec(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "launch"
        raise InputError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
