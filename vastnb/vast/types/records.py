"""Single things as typed records. Unknown fields are ignored: Vast adds some every few months."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["User"]


class User(BaseModel):
    """The account behind a key, without the key."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: int
    email: str | None = Field(None, description="as registered")
    username: str | None = None
    balance_usd: float | None = Field(None, alias="balance", description="what is left, in dollars")
    credit_usd: float | None = Field(None, alias="credit", description="prepaid, in dollars")
