"""What a renter asks for: the body of a create request, read and checked, with its template merged in."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MIN_DISK_GB = 8.0
DEFAULT_DISK_GB = 10.0
MOST_ONSTART = 4048
"""Characters of an on-start script; documented."""
MOST_LABEL = 256
BIDS_USD = (0.001, 128.0)
_STATES = ("running", "stopped")


class RefusedError(Exception):
    """A request about rented machines that is not carried out.

    Attributes
    ----------
    status, body
        Of the answer.
    """

    def __init__(self, status: int, error: str, msg: str, **more: Any) -> None:
        super().__init__(msg)
        self.status = status
        self.body: dict[str, Any] = {"success": False, "error": error, "msg": msg, **more}


@dataclass(frozen=True)
class Wish:
    """What is to be rented on an offer."""

    image: str
    disk_gb: float
    bid: float | None
    """Dollars per hour for all its GPUs; ``None``: on demand."""
    label: str | None
    env: tuple[tuple[str, str], ...]
    """Pairs as they are listed: ``("-p 80:80", "1")`` is a port."""
    onstart: str | None
    args: tuple[str, ...]
    runtype: str
    template: tuple[int, str, str] | None
    """Its id, hash and name."""
    wants_running: bool
    cancel_unavail: bool
    volume: Mapping[str, Any] | None


def wish(body: Any, template: Callable[[Any], Mapping[str, Any] | None]) -> Wish:
    """Return what a create request asks for; ``template`` finds one by its hash.

    Raises
    ------
    RefusedError
        If it cannot be meant.
    """
    if not isinstance(body, Mapping):
        raise bad("Invalid json body")
    given, used = _merged(body, template)
    image = _text(given, "image")
    if not image or " " in image.strip():
        raise bad("Invalid args: 'image' is required and must be a docker image")
    args = _args(given)
    price = body.get("price")
    return Wish(
        image=image.strip(),
        disk_gb=_disk(given.get("disk")),
        bid=None if price is None else bid(price),
        label=label(body.get("label")),
        env=_env(given),
        onstart=_onstart(given),
        args=args,
        runtype=_text(given, "runtype") or ("args" if args else "ssh"),
        template=used,
        wants_running=_one_of(body, "target_state", _STATES) != "stopped",
        cancel_unavail=bool(body.get("cancel_unavail")),
        volume=_volume(body.get("volume_info")),
    )


def bad(msg: str, error: str = "invalid_args", **more: Any) -> RefusedError:
    """Return the refusal of a request that cannot be meant."""
    return RefusedError(400, error, msg, **more)


def bid(price: Any) -> float:
    """Return a bid in dollars per hour for a whole machine."""
    low, high = BIDS_USD
    if isinstance(price, bool) or not isinstance(price, int | float) or not low <= price <= high:
        raise bad(f"Please set a bid price >= {low} and <= {high}", "invalid_price")
    return float(price)


def label(text: Any) -> str | None:
    """Return a label; no text is none."""
    if text is not None and not isinstance(text, str):
        raise bad("label: Input should be a valid string")
    if text and len(text) > MOST_LABEL:
        raise bad(f"label: String should have at most {MOST_LABEL} characters")
    return text or None


def pairs(env: Any) -> dict[str, str]:
    """Return environment and ports as they are kept: a dict as the client sends it, or the flags of docker."""
    if isinstance(env, Mapping):
        return {str(name): str(value) for name, value in env.items()}
    if env is None or env == "":
        return {}
    if not isinstance(env, str):
        raise bad("env: Input should be a valid string or object")
    try:
        words = shlex.split(env)
    except ValueError:
        raise bad("env: unbalanced quotes") from None
    return _flags(words)


def _flags(words: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for flag, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if flag in ("-e", "--env"):
            name, _, text = value.partition("=")
            found[name] = text
        elif flag in ("-p", "-h", "-v", "--hostname"):
            found[f"{flag} {value}"] = "1"
        else:
            raise bad(f"env: {flag!r} is not one of -e, -p, -h, -v")
    return found


def _merged(
    body: Mapping[str, Any], template: Callable[[Any], Mapping[str, Any] | None]
) -> tuple[dict[str, Any], tuple[int, str, str] | None]:
    """Return the body over its template: a value that is sent wins, environments are merged by name."""
    wanted = body.get("template_hash_id")
    if wanted is None:
        return dict(body), None
    row = template(wanted)
    if row is None:
        raise bad(f"Invalid template hash or id {wanted!r}", "invalid_template")
    own = {
        "image": f"{row['image']}:{row['tag']}",
        "disk": row["recommended_disk_space"],
        "runtype": row["runtype"],
        "onstart": row["onstart"] or None,
        "args_str": row["args_str"] or None,
    }
    sent = {name: value for name, value in body.items() if value not in (None, "", {}, [])}
    merged = own | sent | {"env": pairs(row["env"]) | pairs(body.get("env"))}
    return merged, (row["id"], row["hash_id"], row["name"])


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise bad(f"{name}: Input should be a valid string")
    return value


def _one_of(given: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str | None:
    value = _text(given, name)
    if value is not None and value not in known:
        raise bad(f"{name}: Input should be one of {', '.join(known)}")
    return value


def _disk(value: Any) -> float:
    if value is None:
        return DEFAULT_DISK_GB
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= MIN_DISK_GB:
        raise bad(f"Invalid args: disk must be at least {MIN_DISK_GB:g} GB")
    return float(value)


def _onstart(given: Mapping[str, Any]) -> str | None:
    script = _text(given, "onstart")
    if script and len(script) > MOST_ONSTART:
        raise bad(f"Invalid args: onstart must be at most {MOST_ONSTART} characters")
    return script


def _args(given: Mapping[str, Any]) -> tuple[str, ...]:
    args, text = given.get("args"), _text(given, "args_str")
    if args is None:
        return tuple(shlex.split(text)) if text else ()
    if not isinstance(args, list) or not all(isinstance(word, str) for word in args):
        raise bad("args: Input should be a list of strings")
    return tuple(args)


def _env(given: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    env = pairs(given.get("env"))
    folder = _text(given, "jupyter_dir")
    return tuple((env | {"JUPYTER_DIR": folder} if folder else env).items())


def _volume(info: Any) -> Mapping[str, Any] | None:
    if not info:
        return None
    if not isinstance(info, Mapping) or not isinstance(info.get("volume_id"), int) or not info.get("mount_path"):
        raise bad("Invalid args: volume_info needs volume_id and mount_path")
    return info
