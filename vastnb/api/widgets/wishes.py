"""What is wanted in a launch panel, by the names of `vastnb.launch`'s arguments; what is not given is not in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vastnb.errors import InputError
from vastnb.services.costs import Quote
from vastnb.services.instances.launching import parted

__all__ = ["arguments", "changed", "form", "job_in", "job_of_quote", "name_for", "numbered", "wish_of"]

_JOB = ("hours", "disk_gb", "download_gb", "upload_gb", "bid_usd_per_hour")
_FIELDS = frozenset(
    {
        "name", "image", *_JOB, "max_usd", "max_usd_per_hour", "max_hours", "at_end", "idle_minutes", "runtype", "label", "onstart",
        "env", "ports",
    }
)  # fmt: skip
"""What can be changed in the panel; the rest is given where it is made."""
_USUAL = {"image": "Vast's own", "hours": 1, "disk_gb": 10, "download_gb": 0, "upload_gb": 0}
_LONGEST = 60


def wish_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """A wish of these arguments.

    Raises
    ------
    InputError
        `vastnb.launch` has no such argument.
    """
    wish = {name: value for name, value in given.items() if value not in (None, "", (), {})}
    parted({name: value for name, value in wish.items() if name != "name"})
    return wish


def changed(wish: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A wish with other values of the fields, as they were written; what is empty is no longer wanted."""
    new = {name: value for name, value in values.items() if name in _FIELDS}
    return wish_of({**wish, **new})


def arguments(wish: Mapping[str, Any]) -> dict[str, Any]:
    """What `vastnb.launch` is given for a wish, but for the name.

    Raises
    ------
    InputError
        A line of environment variables is none.
    """
    given = {name: value for name, value in wish.items() if name != "name"}
    if isinstance(given.get("env"), str):
        given["env"] = dict(_pairs(given["env"]))
    if isinstance(given.get("ports"), str):
        given["ports"] = tuple(given["ports"].replace(",", " ").split())
    return given


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        name, sign, value = line.partition("=")
        if line.strip() and not sign:
            raise InputError(f"env: line {number} is no NAME=value")
        if sign:
            yield name.strip(), value


def form(wish: Mapping[str, Any], quote: Quote | None) -> dict[str, Any]:
    """What the fields hold, what they mean if they are empty, and the names of environment variables; their values stay here."""
    job = quote.job if quote is not None else None
    later = {"max_hours": job.hours, "bid_usd_per_hour": job.bid_usd_per_hour} if job is not None else {}
    ports, env = wish.get("ports", ()), wish.get("env", ())
    values = {name: value for name, value in wish.items() if name in _FIELDS and name != "env"}
    written = {"ports": ports if isinstance(ports, str) else ", ".join(map(str, ports)), "hours": job_in(wish)["hours"]}
    return {
        "values": {**values, **written},
        "usual": {**_USUAL, "name": name_for(quote), **later},
        "env": [line.partition("=")[0].strip() for line in env.splitlines() if line.strip()]
        if isinstance(env, str)
        else sorted(env),
    }


def job_in(wish: Mapping[str, Any]) -> dict[str, Any]:
    """The job of a wish, as `vastnb.quote` takes it."""
    return {"hours": 1.0, "disk_gb": 10.0, **{name: wish[name] for name in _JOB if name in wish}}


def job_of_quote(quote: Quote) -> dict[str, Any]:
    """The wish that a quote is the answer to."""
    return {name: value for name, value in quote.job.model_dump().items() if name in _JOB and value}


def name_for(quote: Quote | None) -> str:
    """What a machine is called if nobody says: its GPUs, so that the same cell finds it again."""
    if quote is None or not quote.gpu_name:
        return "gpu"
    model = re.sub(r"[^a-z0-9]+", "-", quote.gpu_name.lower()[:_LONGEST]).strip("-") or "gpu"
    return model if quote.num_gpus in (None, 1) else f"{model}-x{quote.num_gpus}"


def numbered(name: str) -> str:
    """The name of one more machine."""
    known = re.fullmatch(r"(.+)-(\d{1,2})", name)
    return f"{known[1]}-{int(known[2]) + 1}" if known else f"{name[:60]}-2"
