"""Where values come from: arguments, environment, files, in this order.

1. arguments;
2. the environment: ``VASTNB_*``, then ``VAST_API_KEY`` and ``VAST_URL``;
3. the chosen profile's table, then the ``[default]`` table (``vastnb.toml`` of the working folder before the user's file);
4. the official client's key file (read, never written);
5. the defaults of the model.

A profile that was chosen by an explicit ``use(...)`` is asked before ``VAST_*``. The key is used only with the URL it belongs
to: the one that the same source gives, or Vast's own where it gives none (`_choose_key`). A file found in the working folder
may not set what spends or sends (`_NEEDS_TRUST`) until the user has trusted it once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import BaseModel, ValidationError

from vastnb.errors import ConfigError
from vastnb.infra.config.model import VAST_URL, Settings

__all__ = ["PROFILES", "config_file", "load_settings", "trust_folder_file"]

PROFILES = ("sandbox", "development", "staging", "production")
"""The profiles that exist without a settings file; a file may add others."""

_ENV = "VASTNB_"
_NOT_SETTINGS = frozenset({"PROFILE", "CONFIG"})
_TEST_ENV = "VASTNB_TEST_"
_FOLDER_FILE = "vastnb.toml"
_SECRETS = frozenset({"api_key", "redis_url", "signing_key"})
_NEEDS_TRUST = _SECRETS | {"url", "budget"}
_NOT_SAID_HERE = frozenset({"profile", "said", "sources"})
"""Fields of `Settings` that are found out, not set."""
_UNSHOWN = frozenset({"api_key", "url", "cache.redis_url", "cache.signing_key"})
"""Settings whose wrong value may hold a secret."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values that one source gives, as a nested dict."""

    source: str
    values: dict[str, Any]
    url: str | None = None
    """The URL that the source gives but that is not among `values`, because something else was said explicitly."""


def config_file() -> Path:
    """The user's settings file, whether it exists or not."""
    named = os.environ.get(_ENV + "CONFIG")
    return Path(named).expanduser() if named else platformdirs.user_config_path("vastnb") / "config.toml"


def load_settings(profile: str | None = None, **values: Any) -> Settings:
    """The settings of this process.

    Parameters
    ----------
    profile
        An explicitly chosen profile; None means what ``VASTNB_PROFILE`` or the settings file say.
    **values
        Settings given as arguments, nested ones as dicts.

    Raises
    ------
    ConfigError
        A misspelt name, a value out of range, an unreadable file, an unknown profile.
    """
    files = [_read_toml(path) for path in (Path(_FOLDER_FILE), config_file())]
    explicit = profile or None
    name = explicit or os.environ.get(_ENV + "PROFILE") or _first(files, "profile")
    _check_profile(name, files)
    layers = [_Layer("argument", _plain(values)), *_profile_layers(explicit, name, files)]
    merged, sources = _merge(layers)
    _choose_key(layers, merged, sources)
    settings = _validated({**merged, "profile": name}, sources)
    if name is not None:
        sources["profile"] = _source_of_profile(explicit)
    said = name is not None or settings.local or sources.get("url") == "argument" or "api_key" in layers[0].values
    return settings.model_copy(update={"said": said, "sources": sources})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments without those that are None; a model given for a table counts as what was set in it."""
    given = {name: value for name, value in values.items() if value is not None}
    return {n: v.model_dump(exclude_unset=True) if isinstance(v, BaseModel) else v for n, v in given.items()}


def _source_of_profile(explicit: str | None) -> str:
    if explicit is not None:
        return "argument"
    return "environment" if os.environ.get(_ENV + "PROFILE") else "settings file"


def _profile_layers(explicit: str | None, name: str | None, files: list[_Layer]) -> Iterator[_Layer]:
    of_vast = _vast_environment(explicit)
    yield _Layer("environment", _own_environment())
    if explicit is None:
        yield of_vast
    for file in files:
        yield _Layer(f"{file.source} [profiles.{name}]", _table(file, "profiles", name or ""))
    if explicit is not None:
        yield of_vast
    for file in files:
        yield _Layer(f"{file.source} [default]", _table(file, "default"))
    yield from _official_key()


def _own_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sorted(os.environ.items()):
        if name.startswith(_ENV) and not name.startswith(_TEST_ENV) and name[len(_ENV) :] not in _NOT_SETTINGS:
            _put(found, name[len(_ENV) :].lower().replace("__", "."), value)
    return found


def _vast_environment(explicit: str | None) -> _Layer:
    """The official client's variables; a profile that was chosen by name is not led elsewhere by ``VAST_URL``."""
    names = {"api_key": "VAST_API_KEY", "url": "VAST_URL"}
    values = {name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)}
    return _Layer("environment", values, values.pop("url", None) if explicit is not None else None)


def _official_key() -> Iterator[_Layer]:
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for path in (config_home / "vastai" / "vast_api_key", Path.home() / ".vast_api_key"):
        try:
            key = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if key:
            yield _Layer(str(path), {"api_key": key})


def _read_toml(path: Path) -> _Layer:
    try:
        raw = path.read_bytes()
        data = tomllib.loads(raw.decode("utf-8"))
    except FileNotFoundError as error:
        if os.environ.get(_ENV + "CONFIG") and path == config_file():
            raise ConfigError(
                f"{_ENV}CONFIG names {path}, and there is no such file", original=error, hint="vastnb init writes one"
            ) from error
        return _Layer(str(path), {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", original=error) from error
    unknown = set(data) - {"profile", "default", "profiles"}
    if unknown:
        name = min(unknown)
        known = ["profile", "default", "profiles"]
        raise ConfigError(
            f"{path}: no such table: {name}", hint=_nearest(name, known) or f"there are: {', '.join(known)}"
        )
    _check_trust(path, raw, data)
    _check_private(path, data)
    return _Layer(str(path), data)


def _check_trust(path: Path, raw: bytes, data: dict[str, Any]) -> None:
    if path.name != _FOLDER_FILE or path.is_absolute():
        return
    wanted = sorted(_NEEDS_TRUST & set(_names(data)))
    if wanted and _trusted().get(str(path.resolve())) != _digest(raw):
        raise ConfigError(
            f"{path} of this folder sets {', '.join(wanted)}, and a file that came with a folder may not do that unasked",
            hint="read the file; if it is yours: %vast config --trust",
        )


def trust_folder_file() -> Path:
    """Trust the ``vastnb.toml`` of the working folder as it is now; a later change asks again.

    Returns
    -------
    Path
        The file that is now trusted.

    Raises
    ------
    ConfigError
        There is none, or the record of trusted files cannot be written.
    """
    path = Path(_FOLDER_FILE).resolve()
    if not path.exists():
        raise ConfigError(f"there is no {_FOLDER_FILE} in this folder")
    record = _trust_file()
    try:
        trusted = {**_trusted(), str(path): _digest(path.read_bytes())}
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(record, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(trusted, file, indent=1)
        record.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"{path} cannot be trusted: {error}", original=error) from error
    return path


def _trust_file() -> Path:
    return platformdirs.user_state_path("vastnb") / "trusted.json"


def _trusted() -> dict[str, str]:
    try:
        found = json.loads(_trust_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=20).hexdigest()


def _check_private(path: Path, data: dict[str, Any]) -> None:
    if _SECRETS & set(_names(data)) and os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path} holds a key and others can read it", hint=f"chmod 600 {path}")


def _names(data: Mapping[str, Any]) -> Iterator[str]:
    """The last part of every name in `data`: TOML's ``"cache.redis_url"`` in quotes sets the same as the table does."""
    for name, value in data.items():
        yield name.rpartition(".")[2]
        if isinstance(value, dict):
            yield from _names(value)


def _table(layer: _Layer, *path: str) -> dict[str, Any]:
    place: Any = layer.values
    for name in path:
        place = place.get(name, {}) if isinstance(place, dict) else {}
    if not isinstance(place, dict):
        raise ConfigError(f"{layer.source}: [{'.'.join(path)}] must be a table")
    return place


def _first(files: list[_Layer], name: str) -> str | None:
    return next((file.values[name] for file in files if name in file.values), None)


def _check_profile(name: str | None, files: list[_Layer]) -> None:
    known = sorted({*PROFILES, *(n for file in files for n in _table(file, "profiles"))})
    if name is not None and name not in known:
        raise ConfigError(
            f"no such profile: {name}", hint=_nearest(str(name), known) or f"there are: {', '.join(known)}"
        )


def _merge(layers: list[_Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """The first layer that has a value wins; nested tables are merged value by value."""
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for path, value in _leaves(layer.values):
            if path.partition(".")[0] in _NOT_SAID_HERE:
                raise _no_such_setting(path, layer.source)
            if path not in sources:
                sources[path] = layer.source
                _put(merged, path, value)
    return merged, sources


def _choose_key(layers: list[_Layer], merged: dict[str, Any], sources: dict[str, str]) -> None:
    """The first key that belongs to the URL; none if the arguments hold one that does not."""
    merged.pop("api_key", None)
    url = str(merged.get("url", VAST_URL)).rstrip("/")
    holders = [layer for layer in layers if layer.values.get("api_key") is not None]
    for layer in holders[:1] if "api_key" in layers[0].values else holders:
        if _home_of_key(layer, layers) == url:
            merged["api_key"], sources["api_key"] = layer.values["api_key"], layer.source
            return
    if holders:
        where = sources.get("url", "the default" if holders[0].url is None else "the chosen profile")
        sources["api_key"] = f"not used: it comes from {holders[0].source}, the URL from {where}"


def _home_of_key(layer: _Layer, layers: list[_Layer]) -> str:
    """The URL that the key of `layer` was given with."""
    same = [other.values["url"] for other in layers if other.source == layer.source and "url" in other.values]
    return str(same[0] if same else layer.url or VAST_URL).rstrip("/")


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path. Where a single value stands in place of a table, it stays and is reported as wrong."""
    *tables, last = path.split(".")
    place: Any = values
    for table in tables:
        place = place.setdefault(table, {})
        if not isinstance(place, dict):
            return
    place[last] = value


def _validated(values: dict[str, Any], sources: Mapping[str, str]) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _as_config_error(error, sources) from error


def _as_config_error(error: ValidationError, sources: Mapping[str, str]) -> ConfigError:
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    source = sources.get(path) or next((s for name, s in sources.items() if name.startswith(path + ".")), "")
    if first["type"] == "extra_forbidden":
        return _no_such_setting(path, source, original=error)
    message = f"{path}{_from(source)}: {first['msg'].removeprefix('Value error, ')}{_got(path, first['input'])}"
    return ConfigError(message, original=error, hint=first.get("ctx", {}).get("hint"))


def _got(path: str, value: Any) -> str:
    """The wrong value, unless it may hold a secret: a whole table, a URL."""
    text = str(value)
    hidden = path in _UNSHOWN or isinstance(value, Mapping) or "://" in text
    return "" if hidden else f", got {text[:60]!r}"


def _no_such_setting(path: str, source: str, original: Exception | None = None) -> ConfigError:
    hint = _nearest(path, list(_all_names())) or "vastnb config lists them all"
    if path == "profile":
        hint = "profile stands alone, above the tables of the file"
    return ConfigError(f"no such setting: {path}{_from(source)}", hint=hint, original=original)


def _from(source: str) -> str:
    return f" (from {source})" if source else ""


def _all_names(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _all_names(kind, f"{prefix}{name}.")
        elif not field.exclude:
            yield prefix + name


def _nearest(name: str, known: list[str]) -> str | None:
    found = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean {found[0]}?" if found else None
