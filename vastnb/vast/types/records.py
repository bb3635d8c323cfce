"""Single things as typed records. Unknown fields are ignored: Vast adds some every few months."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

__all__ = ["InstanceRecord", "User"]


class User(BaseModel):
    """The account behind a key, without the key."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: int
    key_id: int | None = Field(None, description="the number of the key that asked")
    email: str | None = Field(None, description="as registered")
    username: str | None = None
    balance_usd: float | None = Field(None, alias="balance", description="what is left, in dollars")
    credit_usd: float | None = Field(None, alias="credit", description="prepaid, in dollars")

    @property
    def left_usd(self) -> float | None:
        """What can still be spent; None if the service told neither figure."""
        if self.balance_usd is None and self.credit_usd is None:
            return None
        return (self.balance_usd or 0.0) + (self.credit_usd or 0.0)


def _or_unknown(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """A host's odd measurement is unknown; it must not keep anybody from ending the machine."""
    try:
        return handler(value)
    except ValidationError:
        return None


def _scaled(factor: float) -> Callable[[Any], Any]:
    def scale(value: Any) -> Any:
        return value * factor if isinstance(value, int | float) and not isinstance(value, bool) else value

    return scale


def _measured(value: Any) -> Any:
    """-1 is how the service writes that nothing was measured."""
    return None if isinstance(value, int | float) and (value < 0 or math.isnan(value)) else value


_Odd = WrapValidator(_or_unknown)
_Measure = Annotated[float | None, BeforeValidator(_measured), _Odd]
_Text = Annotated[str | None, _Odd]
_MbAsGb = Annotated[float | None, BeforeValidator(_scaled(1e-3)), _Odd]
_Share = Annotated[float | None, BeforeValidator(_scaled(1e-2)), BeforeValidator(_measured), _Odd]


class InstanceRecord(BaseModel):
    """A rented machine as the service tells it, without the secrets in it (tokens, environment, on-start script).

    What matters for money and for what it does is read strictly: if it is no number where a number belongs, the list is
    unreadable. A measurement that is none is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, populate_by_name=True)

    id: int
    label: str | None = None
    actual_status: str | None = Field(None, description="what the container does; None while it is being made")
    cur_state: str | None = Field(None, description="what the contract is: running or stopped")
    intended_status: str | None = Field(None, description="what was asked of it")
    next_state: str | None = None
    status_msg: _Text = None
    gpu_usd_per_hour: float | None = Field(None, alias="dph_base")
    usd_per_hour: float | None = Field(None, alias="dph_total", description="GPUs and disk, while it runs")
    disk_usd_per_hour: float | None = Field(None, alias="storage_total_cost", description="as long as it exists")
    inet_down_usd_per_gb: float | None = Field(None, alias="inet_down_cost")
    inet_up_usd_per_gb: float | None = Field(None, alias="inet_up_cost")
    is_bid: bool | None = None
    min_bid_usd_per_hour: float | None = Field(None, alias="min_bid", description="what must be bid now, for all GPUs")
    start_date: float | None = Field(None, description="seconds since 1970")
    end_date: float | None = Field(None, description="when the host takes it back, seconds since 1970")
    gpu_name: _Text = None
    num_gpus: int | None = None
    gpu_ram_gb: _MbAsGb = Field(None, alias="gpu_ram")
    gpu_ram_used_gb: _Measure = Field(None, alias="vmem_usage")
    machine_id: int | None = None
    host_id: int | None = None
    image: _Text = Field(None, alias="image_uuid")
    runtype: _Text = Field(None, alias="image_runtype")
    geolocation: _Text = None
    disk_gb: float | None = Field(None, alias="disk_space")
    disk_used_gb: _Measure = Field(None, alias="disk_usage")
    gpu_util: _Share = Field(None, description="0 to 1")
    gpu_temp_c: _Measure = Field(None, alias="gpu_temp")
    cpu_util: _Measure = None
    mem_used_gb: _Measure = Field(None, alias="mem_usage")
    mem_limit_gb: _Measure = Field(None, alias="mem_limit")
    downloaded_mb: _Measure = Field(None, alias="inet_down_billed")
    uploaded_mb: _Measure = Field(None, alias="inet_up_billed")
    inet_down_mbps: _Measure = Field(None, alias="inet_down", description="as the service measured it")
    inet_up_mbps: _Measure = Field(None, alias="inet_up", description="as the service measured it")
    dlperf: _Measure = None
    reliability: _Measure = Field(None, alias="reliability2", description="0 to 1")
    public_ip: _Text = Field(None, alias="public_ipaddr")
    ssh_host: _Text = None
    ssh_port: int | None = None
    ports: Annotated[Mapping[str, Any] | None, _Odd] = Field(None, description="the container's ports to those outside")
