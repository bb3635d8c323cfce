"""The column tables of what happened, and of who is told of it."""

from __future__ import annotations

from vastnb.vast.types.columns import Column

__all__ = ["ALERTS", "EVENTS", "NOTIFICATION_TYPES", "WEBHOOKS"]

EVENTS: tuple[Column, ...] = (
    Column("event_id", "str", "its own; the same never comes twice"),
    Column("at", "datetime64[us, UTC]", "when, by the service's clock", "UTC", head="At"),
    Column("kind", "str", "what happened, like instance.outbid", head="Event"),
    Column("subject", "str", "number of the machine; empty if it is about the account", head="Machine"),
    Column("message", "str", "what is said of it", head="Says", form="long"),
    Column("handled", "str", "what became of it, for each handler", head="Handled", form="long"),
    Column("reason", "str", "why a handler failed", head="Reason", form="long"),
    Column("source", "str", "who said so: webhook, watcher, keeper or user"),
    Column("received_at", "datetime64[us, UTC]", "when it was written down, by this computer's clock", "UTC"),
    Column("data", "str", "all that is known, JSON"),
)
"""Columns of `vastnb.events`."""

ALERTS: tuple[Column, ...] = (
    Column("name", "str", "its own; its query if no other was given", head="Alert", form="long"),
    Column("query", "str", "what is looked for"),
    Column("below_usd_per_hour", "float64", "the price that is told of", "$/h", head="At most", form=".3f"),
    Column("usd_per_hour", "float64", "the cheapest at the last look", "$/h", head="Cheapest", form=".3f"),
    Column("reached", "boolean", "whether the price was reached, and not missed since", head="Reached"),
    Column("times", "Int64", "how often it was told of", head="Times told", form="d"),
    Column("rental", "str", "on-demand, bid or reserved", head="Rental"),
    Column("disk_gb", "float64", "disk that the price includes", "GB"),
    Column("looked_at", "datetime64[us, UTC]", "when that was, by the service's clock", "UTC", head="Looked at"),
)
"""Columns of `vastnb.alerts`."""

WEBHOOKS: tuple[Column, ...] = (
    Column("webhook_id", "Int64", "its number", head="Webhook", form="d"),
    Column("name", "str", "its name", head="Name"),
    Column("url", "str", "where the service delivers", head="Delivers to", form="long"),
    Column("kinds", "str", "what it notifies of", head="Notifies of", form="long"),
    Column("has_secret", "boolean", "whether its secret is on this computer", head="Secret here"),
    Column("created_at", "datetime64[us, UTC]", "since when it exists", "UTC"),
)
"""Columns of ``%vast webhook list``."""

NOTIFICATION_TYPES: tuple[Column, ...] = (
    Column("key", "str", "what to ask for", head="Kind", source="key"),
    Column("display_name", "str", "what it is", head="Meaning", form="long", source="display_name"),
    Column("topic", "str", "what it belongs to", head="Topic", source="topic"),
    Column("category", "str", "group in the console", source="category"),
    Column("context", "str", "for renters (client) or hosts", source="context"),
    Column("slug", "str", "how a delivery calls it", source="slug"),
)
"""Columns of ``%vast webhook types``."""
