"""Settings: which source wins, where each value came from, which key goes to which URL, and what is refused in which words."""

from __future__ import annotations

import os
import pickle
import stat
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from vastnb.errors import ConfigError, ModeError
from vastnb.infra.config import (
    PROFILES,
    VAST_URL,
    CacheSettings,
    Settings,
    config_file,
    load_settings,
    trust_folder_file,
)
from vastnb.services.session import config_table, use

KEY = "key-of-the-tests-0123456789"
OTHER_KEY = "another-key-9876543210"
LOCAL = "http://127.0.0.1:8080"
FOREIGN = "https://staging.example.com"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def user_file(text: str, mode: int = 0o600) -> Path:
    return write(config_file(), text, mode)


def folder_file(text: str, *, trusted: bool = True) -> Path:
    path = write(Path("vastnb.toml"), text)
    if trusted:
        trust_folder_file()
    return path


def key_file(key: str = KEY) -> Path:
    return write(Path(os.environ["XDG_CONFIG_HOME"]) / "vastai" / "vast_api_key", key + "\n")


def refused(profile: str | None = None, **values: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(profile, **values)
    return caught.value


# --- plain settings -------------------------------------------------------------------------------------------------


def test_settings_alone_consult_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_TIMEOUT_S", "5")
    monkeypatch.setenv("VAST_API_KEY", KEY)
    key_file()
    user_file("[default]\nretries = 1\n")

    settings = Settings()

    assert (settings.timeout_s, settings.retries, settings.key, settings.url) == (30, 3, None, VAST_URL)


def test_without_any_source_the_defaults_hold() -> None:
    settings = load_settings()

    assert (settings, dict(settings.sources), settings.said) == (Settings(said=False), {}, False)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().timeout_s = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    [
        VAST_URL,
        "https://console.vast.ai/",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:1",
        "https://a.b/c/",
    ],
)
def test_a_url_of_vast_or_of_this_computer_is_taken(url: str) -> None:
    assert Settings(url=url).url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    ["", "console.vast.ai", "ftp://console.vast.ai", "https://", "https://console.vast.ai?api_key=x", "https://a.b/#c",
     "https://user:secret@console.vast.ai", "https://:secret@console.vast.ai", "https://console.vast.ai ",
     "https://con sole.vast.ai", "https://console.vast.ai\n", "https://a.b:99999", "https://a.b:x", "https://[::1",
     "http://console.vast.ai", "http://127.0.0.1.evil.example", "http://localhost.evil.example"],
)  # fmt: skip
def test_any_other_url_is_refused_without_repeating_it(url: str) -> None:
    error = refused(url=url)

    assert error.message.startswith("url (from argument): ")
    assert "secret" not in error.message


@pytest.mark.parametrize("key", ["", "two words", "tab\tkey", "new\nline", "schlüssel", "bell\a"])
def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it(key: str) -> None:
    error = refused(api_key=key, url=LOCAL)

    assert error.message == "api_key (from argument): must be printable ASCII without spaces"
    assert not key or key not in "".join(traceback.format_exception(error))


# --- which source wins ----------------------------------------------------------------------------------------------

Put = Callable[[pytest.MonkeyPatch, str], None]


def _into_file(which: str, table: str) -> Put:
    """Adds a line to a settings file of the test."""

    def put(patch: pytest.MonkeyPatch, line: str) -> None:
        path = Path("vastnb.toml") if which == "folder" else config_file()
        before = path.read_text("utf-8") if path.exists() else ""
        write(path, f"{before}[{table}]\n{line}\n")
        if which == "folder":
            trust_folder_file()

    return put


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


SOURCES_OF_URL: list[tuple[str, Put]] = [
    ("environment", lambda patch, line: patch.setenv("VASTNB_URL", line.split('"')[1])),
    ("environment", lambda patch, line: patch.setenv("VAST_URL", line.split('"')[1])),
    ("vastnb.toml [profiles.staging]", _into_file("folder", "profiles.staging")),
    ("{user} [profiles.staging]", _into_file("user", "profiles.staging")),
    ("vastnb.toml [default]", _into_file("folder", "default")),
    ("{user} [default]", _into_file("user", "default")),
]
"""From the strongest to the weakest, below arguments."""


@pytest.mark.parametrize("first", range(len(SOURCES_OF_URL)))
def test_the_first_source_in_the_order_wins(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_PROFILE", "staging")
    for port, (_, put) in enumerate(SOURCES_OF_URL[first:], 8000 + first):
        put(monkeypatch, f'url = "{_url(port)}"')

    settings = load_settings()

    source = SOURCES_OF_URL[first][0].format(user=config_file())
    assert (settings.url, settings.sources["url"]) == (_url(8000 + first), source)


@pytest.mark.parametrize("second", range(len(SOURCES_OF_URL)))
def test_an_argument_beats_every_other_source(second: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_PROFILE", "staging")
    SOURCES_OF_URL[second][1](monkeypatch, f'url = "{_url(8000)}"')

    settings = load_settings(url=_url(1))

    assert (settings.url, settings.sources["url"]) == (_url(1), "argument")


SOURCES_OF_KEY: list[tuple[str, Put]] = [
    ("environment", lambda patch, key: patch.setenv("VASTNB_API_KEY", key)),
    ("environment", lambda patch, key: patch.setenv("VAST_API_KEY", key)),
    ("{user} [profiles.production]", lambda patch, key: _into_file("user", "profiles.production")(patch, f'api_key = "{key}"')),
    ("{user} [default]", lambda patch, key: _into_file("user", "default")(patch, f'api_key = "{key}"')),
    ("{home}/config/vastai/vast_api_key", lambda patch, key: write(Path(os.environ["XDG_CONFIG_HOME"]) / "vastai" / "vast_api_key", key)),
    ("{home}/.vast_api_key", lambda patch, key: write(Path.home() / ".vast_api_key", key)),
]  # fmt: skip


@pytest.mark.parametrize("first", range(len(SOURCES_OF_KEY)))
def test_the_first_key_in_the_order_goes_to_vast(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_PROFILE", "production")
    for number, (_, put) in enumerate(SOURCES_OF_KEY[first:], first):
        put(monkeypatch, f"key-{number}")

    settings = load_settings()

    source = SOURCES_OF_KEY[first][0].format(user=config_file(), home=Path.home())
    assert (settings.key, settings.sources["api_key"]) == (f"key-{first}", source)


def test_a_profile_chosen_by_use_beats_the_official_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", OTHER_KEY)
    user_file(f'[profiles.production]\napi_key = "{KEY}"\n')

    named, unnamed = load_settings("production"), load_settings()

    assert (named.key, named.sources["api_key"]) == (KEY, f"{config_file()} [profiles.production]")
    assert (unnamed.key, unnamed.sources["api_key"]) == (OTHER_KEY, "environment")


def test_our_own_variables_beat_a_profile_chosen_by_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_RETRIES", "1")
    user_file("[profiles.production]\nretries = 7\ntimeout_s = 9\n")

    settings = load_settings("production")

    assert (settings.retries, settings.timeout_s) == (1, 9)


def test_the_official_variables_beat_the_default_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", OTHER_KEY)
    user_file(f'[default]\napi_key = "{KEY}"\n')

    assert load_settings("production").key == OTHER_KEY


def test_nested_tables_are_merged_value_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_CACHE__OFFERS_TTL_S", "5")
    user_file('[default.cache]\noffers_ttl_s = 9\ncatalogue_ttl_s = 60\nbackend = "memory"\n')

    settings = load_settings(cache={"backend": "off"})

    assert settings.cache == CacheSettings(backend="off", offers_ttl_s=5, catalogue_ttl_s=60)
    assert dict(settings.sources) == {
        "cache.backend": "argument",
        "cache.offers_ttl_s": "environment",
        "cache.catalogue_ttl_s": f"{config_file()} [default]",
    }


def test_a_table_may_be_given_as_a_model() -> None:
    user_file("[default.cache]\noffers_ttl_s = 9\n")

    settings = load_settings(cache=CacheSettings(backend="memory"))

    assert settings.cache == CacheSettings(backend="memory", offers_ttl_s=9)


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("VASTNB_TIMEOUT_S", "2.5", "timeout_s", 2.5),
        ("VASTNB_RETRIES", "0", "retries", 0),
        ("VASTNB_DISPLAY", "pandas", "display", "pandas"),
        ("VASTNB_CACHE__BACKEND", "off", "cache.backend", "off"),
        ("VASTNB_CACHE__ACCOUNT_TTL_S", "0", "cache.account_ttl_s", 0),
        ("VASTNB_SANDBOX__STRICT", "yes", "sandbox.strict", True),
        ("VASTNB_SANDBOX__SEED", "7", "sandbox.seed", 7),
    ],
)
def test_a_variable_sets_a_value_and_a_table_in_it_by_two_underscores(
    name: str, value: str, path: str, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    found: Any = load_settings()
    assert found.sources == {path: "environment"}
    for part in path.split("."):
        found = getattr(found, part)
    assert found == expected


def test_variables_of_the_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_TEST_SHARED", "somewhere")

    assert dict(load_settings().sources) == {}


def test_an_argument_that_is_none_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_TIMEOUT_S", "5")

    settings = load_settings(timeout_s=None, url=None, api_key=None)

    assert (settings.timeout_s, settings.said) == (5, False)


# --- profiles, and whether it was said where this runs --------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_four_profiles_exist_without_a_file(profile: str) -> None:
    settings = load_settings(profile)

    assert (settings.profile, settings.said, settings.sources["profile"]) == (profile, True, "argument")


def test_a_file_adds_a_profile() -> None:
    user_file("[profiles.lab]\ntimeout_s = 7\n")

    assert (load_settings("lab").timeout_s, load_settings().timeout_s) == (7, 30)


@pytest.mark.parametrize(
    ("environment", "folder", "user", "profile", "source"),
    [
        ("staging", "sandbox", "production", "staging", "environment"),
        ("", "sandbox", "production", "sandbox", "settings file"),
        (None, None, "production", "production", "settings file"),
        (None, None, None, None, None),
    ],
)
def test_the_profile_is_named_by_variable_folder_file_or_user_file(
    environment: str | None, folder: str | None, user: str | None, profile: str | None, source: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if environment is not None:
        monkeypatch.setenv("VASTNB_PROFILE", environment)
    if folder:
        folder_file(f'profile = "{folder}"\n', trusted=False)
    if user:
        user_file(f'profile = "{user}"\n')

    settings = load_settings()

    assert (settings.profile, settings.sources.get("profile")) == (profile, source)


def test_an_empty_profile_name_is_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_URL", LOCAL)

    assert (load_settings("").profile, load_settings("").url) == (None, LOCAL)


def test_an_unknown_profile_names_the_nearest() -> None:
    user_file("[profiles.laboratory]\n")

    near, far = refused("labratory"), refused("xxx")

    assert (near.message, near.hint) == ("no such profile: labratory", "did you mean laboratory?")
    assert (far.message, far.hint) == (
        "no such profile: xxx", "there are: development, laboratory, production, sandbox, staging",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["profile = 3\n", "profile = true\n", 'profile = ["sandbox"]\n'])
def test_a_profile_that_is_no_name_is_refused(text: str) -> None:
    user_file(text)

    assert refused().message.startswith("no such profile: ")


@pytest.mark.parametrize(
    ("said", "environment", "values", "profile"),
    [
        (False, {}, {}, None),
        (False, {"VAST_API_KEY": KEY}, {}, None),
        (False, {"VASTNB_API_KEY": KEY, "VASTNB_TIMEOUT_S": "5"}, {}, None),
        (False, {"VAST_URL": FOREIGN, "VAST_API_KEY": KEY}, {}, None),
        (False, {}, {"timeout_s": 5}, None),
        (True, {"VASTNB_PROFILE": "production"}, {}, None),
        (True, {"VAST_URL": LOCAL}, {}, None),
        (True, {"VASTNB_URL": LOCAL}, {}, None),
        (True, {}, {"url": FOREIGN}, None),
        (True, {}, {"api_key": KEY}, None),
        (True, {}, {}, "production"),
    ],
)
def test_where_it_runs_is_said_by_name_address_or_argument_and_never_by_a_key(
    said: bool, environment: dict[str, str], values: dict[str, Any], profile: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert load_settings(profile, **values).said is said


def test_an_account_is_refused_until_it_was_said_where_this_runs() -> None:
    with pytest.raises(ModeError) as caught:
        load_settings().require_mode()

    assert caught.value.hint == (
        "%vast use sandbox   (practice, free)   or   %vast use production   (your Vast.ai account)"
    )
    load_settings("production").require_mode()
    Settings().require_mode()


@pytest.mark.parametrize(
    ("url", "local"), [(LOCAL, True), ("http://[::1]:1", True), (VAST_URL, False), (FOREIGN, False)]
)
def test_only_this_computer_is_local(url: str, local: bool) -> None:
    assert Settings(url=url).local is local


# --- the key goes with its URL --------------------------------------------------------------------------------------


def test_the_key_of_the_environment_does_not_go_to_a_profiles_foreign_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", KEY)
    user_file(f'[profiles.staging]\nurl = "{FOREIGN}"\n')

    settings = load_settings("staging")

    assert (settings.url, settings.key) == (FOREIGN, None)
    assert settings.sources["api_key"] == (
        f"not used: it comes from environment, the URL from {config_file()} [profiles.staging]"
    )


def test_the_official_key_file_does_not_go_to_a_url_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file()
    monkeypatch.setenv("VAST_URL", LOCAL)

    settings = load_settings()

    assert settings.key is None
    assert settings.sources["api_key"] == f"not used: it comes from {path}, the URL from environment"


@pytest.mark.parametrize("url", [LOCAL, FOREIGN, VAST_URL, VAST_URL + "/"])
@pytest.mark.parametrize(("key_name", "url_name"), [("VAST_API_KEY", "VAST_URL"), ("VASTNB_API_KEY", "VASTNB_URL")])
def test_key_and_url_of_the_environment_go_together(
    key_name: str, url_name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(key_name, KEY)
    monkeypatch.setenv(url_name, url)

    settings = load_settings()

    assert (settings.url, settings.key, settings.sources["api_key"]) == (url.rstrip("/"), KEY, "environment")


@pytest.mark.parametrize("url", [VAST_URL, VAST_URL + "/"])
def test_any_key_goes_to_vast_itself(url: str) -> None:
    path = key_file()
    user_file(f'[profiles.production]\nurl = "{url}"\n')

    settings = load_settings("production")

    assert (settings.key, settings.sources["api_key"]) == (KEY, str(path))


def test_key_and_url_of_one_profile_go_together() -> None:
    user_file(f'[profiles.staging]\nurl = "{FOREIGN}"\napi_key = "{KEY}"\n')

    assert load_settings("staging").key == KEY


def test_a_key_that_does_not_belong_makes_room_for_the_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """``VAST_API_KEY`` is exported for the official client; a profile that is complete in itself must work all the same."""
    monkeypatch.setenv("VASTNB_PROFILE", "staging")
    monkeypatch.setenv("VAST_API_KEY", OTHER_KEY)
    key_file(OTHER_KEY)
    user_file(f'[profiles.staging]\nurl = "{FOREIGN}"\napi_key = "{KEY}"\n')

    settings = load_settings()

    assert (settings.key, settings.sources["api_key"]) == (KEY, f"{config_file()} [profiles.staging]")


def test_a_key_given_as_argument_is_never_exchanged_for_another() -> None:
    user_file(f'[profiles.staging]\nurl = "{FOREIGN}"\napi_key = "{OTHER_KEY}"\n')

    settings = load_settings("staging", api_key=KEY)

    assert settings.key is None
    assert settings.sources["api_key"].startswith("not used: it comes from argument, the URL from ")


def test_the_key_of_the_default_table_does_not_go_to_a_profiles_url() -> None:
    user_file(f'[default]\napi_key = "{KEY}"\n[profiles.staging]\nurl = "{FOREIGN}"\n')

    assert load_settings("staging").key is None


def test_a_key_for_another_server_is_not_sent_to_vast(monkeypatch: pytest.MonkeyPatch) -> None:
    """``VAST_URL`` and ``VAST_API_KEY`` point at a sandbox; ``use("production")`` leaves that URL, so it leaves that key."""
    monkeypatch.setenv("VAST_URL", LOCAL)
    monkeypatch.setenv("VAST_API_KEY", OTHER_KEY)

    alone = load_settings("production")
    key_file(KEY)
    with_file = load_settings("production")

    assert (alone.url, alone.key) == (VAST_URL, None)
    assert alone.sources["api_key"] == "not used: it comes from environment, the URL from the chosen profile"
    assert (with_file.url, with_file.key) == (VAST_URL, KEY)


def test_a_key_for_another_server_is_not_sent_to_a_url_given_as_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_URL", LOCAL)
    monkeypatch.setenv("VAST_API_KEY", KEY)

    assert [load_settings(url=url).key for url in (VAST_URL, FOREIGN, LOCAL)] == [None, None, KEY]


def test_the_key_of_vast_itself_goes_with_a_named_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_URL", VAST_URL)
    monkeypatch.setenv("VAST_API_KEY", KEY)

    assert load_settings("production").key == KEY


def test_an_argument_url_takes_no_key_of_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", KEY)

    assert load_settings(url=LOCAL).key is None
    assert load_settings(url=LOCAL, api_key=OTHER_KEY).key == OTHER_KEY


def test_an_empty_variable_or_key_file_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", "")
    monkeypatch.setenv("VAST_URL", "")
    key_file("")
    write(Path.home() / ".vast_api_key", KEY)

    settings = load_settings()

    assert (settings.url, settings.key, settings.sources["api_key"]) == (VAST_URL, KEY, f"{Path.home()}/.vast_api_key")


def test_a_key_file_that_cannot_be_read_is_passed_over() -> None:
    (Path.home() / ".vast_api_key").mkdir()
    path = write(Path(os.environ["XDG_CONFIG_HOME"]) / "vastai" / "vast_api_key", "")
    path.write_bytes(b"\xff\xfe\x00")

    assert load_settings().key is None


def test_a_broken_key_file_is_named_and_not_repeated() -> None:
    path = key_file("two words")

    assert refused().message == f"api_key (from {path}): must be printable ASCII without spaces"


# --- a key is never shown -------------------------------------------------------------------------------------------


def test_a_key_is_in_no_repr_text_or_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", KEY)
    settings = load_settings("production")

    shown = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        str(settings.model_dump()),
        str(settings.sources),
    ]

    assert settings.key == KEY
    assert [text for text in shown if KEY in text] == []


@pytest.mark.parametrize("extra", [{"timeout_s": 0}, {"timout_s": 1}, {"url": "nonsense"}, {"cache": {"backend": "x"}}])
def test_a_key_is_in_no_error(extra: dict[str, Any]) -> None:
    error = refused("production", api_key=KEY, **extra)

    shown = [str(error), repr(error), str(error.hint), str(error.original), "".join(traceback.format_exception(error))]
    assert [text for text in shown if KEY in text] == []


@pytest.mark.parametrize(
    "text", ['[default]\napi_key = "{}\n', "[default]\napi_key = 12{}\n", '[defualt]\napi_key = "{}"\n']
)
def test_a_key_is_in_no_error_about_its_file(text: str) -> None:
    user_file(text.replace("{}", KEY))

    error = refused()

    assert KEY not in "".join(traceback.format_exception(error))


def test_the_table_of_settings_says_set_and_where_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", KEY)
    use("production", timeout_s=5)

    frame = config_table()

    rows = {row.setting: (row.value, row.source) for row in frame.itertuples()}
    assert [rows[name] for name in ("profile", "url", "api_key", "timeout_s", "retries")] == [
        ("production", "argument"), (VAST_URL, "default"), ("set", "environment"), ("5", "argument"), ("3", "default"),
    ]  # fmt: skip
    assert KEY not in frame.to_csv() + frame.to_html() + repr(frame) + str(frame.attrs)


def test_the_table_of_settings_says_why_a_key_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", KEY)
    use(url=LOCAL)

    [row] = [row for row in config_table().itertuples() if row.setting == "api_key"]

    assert (row.value, row.source) == ("not set", "not used: it comes from environment, the URL from argument")


def test_a_secret_may_be_given_as_one() -> None:
    assert load_settings("production", api_key=SecretStr(KEY)).key == KEY


# --- what is misspelt or out of range -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "name", "path", "hint"),
    [
        ("argument", "timout_s", "timout_s", "did you mean timeout_s?"),
        ("argument", "backend", "backend", "did you mean cache.backend?"),
        ("argument", "said", "said", "vastnb config lists them all"),
        ("argument", "sources", "sources", "vastnb config lists them all"),
        ("environment", "VASTNB_TIMEOUT", "timeout", "did you mean timeout_s?"),
        ("environment", "VASTNB_CACHE__BAKEND", "cache.bakend", "did you mean cache.backend?"),
        ("environment", "VASTNB_SAID", "said", "vastnb config lists them all"),
        ("environment", "VASTNB_ZZZZZZZZ", "zzzzzzzz", "vastnb config lists them all"),
        ("file", "retry = 1", "retry", "did you mean retries?"),
        ("file", "cache = {offer_ttl_s = 1}", "cache.offer_ttl_s", "did you mean cache.offers_ttl_s?"),
        ("file", 'profile = "sandbox"', "profile", "profile stands alone, above the tables of the file"),
    ],
)
def test_an_unknown_name_is_refused_with_its_source_and_the_nearest(
    where: str, name: str, path: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"{config_file()} [default]" if where == "file" else where
    if where == "environment":
        monkeypatch.setenv(name, "1")
    if where == "file":
        user_file(f"[default]\n{name}\n")

    error = refused(**({name: 1} if where == "argument" else {}))

    assert (error.message, error.hint) == (f"no such setting: {path} (from {source})", hint)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout_s": 0}, "timeout_s (from argument): Input should be greater than 0, got '0'"),
        ({"timeout_s": 601}, "timeout_s (from argument): Input should be less than or equal to 600, got '601'"),
        ({"timeout_s": "soon"},
         "timeout_s (from argument): Input should be a valid number, unable to parse string as a number, got 'soon'"),
        ({"retries": -1}, "retries (from argument): Input should be greater than or equal to 0, got '-1'"),
        ({"retries": 11}, "retries (from argument): Input should be less than or equal to 10, got '11'"),
        ({"display": "html"}, "display (from argument): Input should be 'vastnb' or 'pandas', got 'html'"),
        ({"cache": {"backend": "disk"}},
         "cache.backend (from argument): Input should be 'sqlite', 'memory', 'redis' or 'off', got 'disk'"),
        ({"cache": {"offers_ttl_s": -1}},
         "cache.offers_ttl_s (from argument): Input should be greater than or equal to 0, got '-1'"),
        ({"cache": "off"},
         "cache (from argument): Input should be a valid dictionary or instance of CacheSettings, got 'off'"),
        ({"sandbox": {"offers": 0}},
         "sandbox.offers (from argument): Input should be greater than or equal to 1, got '0'"),
        ({"sandbox": {"strict": "maybe"}},
         "sandbox.strict (from argument): Input should be a valid boolean, unable to interpret input, got 'maybe'"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_with_its_source_and_itself(values: dict[str, Any], message: str) -> None:
    assert refused(**values).message == message


@pytest.mark.parametrize("values", [{"url": LOCAL}, {"profile": "sandbox"}])
def test_pacing_may_be_off_on_this_computer(values: dict[str, Any]) -> None:
    assert load_settings(pacing="off", **values).pacing == "off"


@pytest.mark.parametrize("values", [{}, {"url": FOREIGN}, {"profile": "production"}])
def test_pacing_may_be_off_nowhere_else(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_PACING", "off")

    assert refused(**values).message == (
        "pacing (from environment): may be off only for a service on this computer, got 'off'"
    )


def test_a_value_out_of_range_names_its_variable_or_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_RETRIES", "many")
    from_environment = refused().message
    monkeypatch.delenv("VASTNB_RETRIES")
    user_file("[profiles.production]\nretries = 99\n")

    assert from_environment.startswith("retries (from environment): ")
    assert refused("production").message.startswith(f"retries (from {config_file()} [profiles.production]): ")


@pytest.mark.parametrize(
    "variables",
    [{"VASTNB_CACHE": "off", "VASTNB_CACHE__BACKEND": "memory"}, {"VASTNB_CACHE": "off"}],
)
def test_a_value_in_place_of_a_table_is_refused(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    user_file('[default.cache]\nbackend = "memory"\n')

    assert refused().message.startswith("cache (from environment): Input should be a valid dictionary")


def test_a_value_in_place_of_a_table_is_refused_from_a_weaker_source_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_CACHE__BACKEND", "memory")
    user_file('[default]\ncache = "off"\n')

    assert refused().message.startswith(f"cache (from {config_file()} [default]): Input should be a valid dictionary")


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[default\n", "cannot be read: "),
        ("[default]\ntimeout_s = \n", "cannot be read: "),
        ("[default]\ntimeout_s = 1\ntimeout_s = 2\n", "cannot be read: "),
        ("timeout_s = 5\n", ": no such table: timeout_s"),
        ("[defaults]\n", ": no such table: defaults"),
        ("profiles = 3\n", ": [profiles] must be a table"),
        ("default = 3\n", ": [default] must be a table"),
        ("[profiles]\nproduction = 3\n", ": [profiles.production] must be a table"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused_by_name(text: str, problem: str) -> None:
    path = user_file(text)

    assert refused("production").message.replace(" cannot", "cannot").startswith(f"{path}{problem}")


def test_a_misspelt_table_names_the_nearest() -> None:
    user_file("[profile.production]\n[defualt]\n")

    assert refused().hint == "did you mean default?"


def test_a_file_that_is_no_text_is_refused() -> None:
    user_file("").write_bytes(b"profile = '\xff'\n")

    assert refused().message.startswith(f"{config_file()} cannot be read: ")


def test_a_folder_in_place_of_a_file_is_refused() -> None:
    config_file().mkdir(parents=True)

    assert refused().message.startswith(f"{config_file()} cannot be read: ")


def test_the_users_file_may_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(Path.home() / "mine.toml", "[default]\nretries = 5\n")
    monkeypatch.setenv("VASTNB_CONFIG", "~/mine.toml")

    assert (config_file(), load_settings().retries) == (path, 5)


def test_a_named_file_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_CONFIG", "elsewhere.toml")

    error = refused()

    assert (error.message, error.hint) == (
        "VASTNB_CONFIG names elsewhere.toml, and there is no such file", "vastnb init writes one",
    )  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="the rights of files are POSIX")
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620])
def test_a_file_with_a_key_that_others_can_read_is_refused(mode: int) -> None:
    path = user_file(f'[profiles.production]\napi_key = "{KEY}"\n', mode)

    error = refused("production")

    assert (error.message, error.hint) == (f"{path} holds a key and others can read it", f"chmod 600 {path}")


@pytest.mark.parametrize(
    ("text", "mode", "found"),
    [(f'[default]\napi_key = "{KEY}"\n', 0o600, (KEY, 3)), ("[default]\nretries = 5\n", 0o644, (None, 5))],
)
def test_a_private_file_and_one_without_a_key_are_read(text: str, mode: int, found: tuple[Any, int]) -> None:
    user_file(text, mode)

    settings = load_settings("production")

    assert (settings.key, settings.retries) == found


# --- a file that came with the folder -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f'[default]\nurl = "{FOREIGN}"\n', "url"),
        (f'[default]\napi_key = "{KEY}"\n', "api_key"),
        (f'[profiles.other]\nurl = "{FOREIGN}"\napi_key = "{KEY}"\n', "api_key, url"),
    ],
)
def test_a_folders_file_may_not_set_where_to_or_as_whom(text: str, what: str) -> None:
    folder_file(text, trusted=False)

    error = refused()

    assert (error.message, error.hint) == (
        f"vastnb.toml of this folder sets {what}, and a file that came with a folder may not do that unasked",
        "read the file; if it is yours: %vast config --trust",
    )


def test_a_folders_file_may_set_what_neither_sends_nor_spends() -> None:
    folder_file('profile = "sandbox"\n[default]\ntimeout_s = 9\n[default.cache]\nbackend = "off"\n', trusted=False)

    settings = load_settings()

    assert (settings.profile, settings.timeout_s, settings.cache.backend) == ("sandbox", 9, "off")


def test_a_folders_file_is_trusted_once_as_it_is() -> None:
    path = folder_file(f'[default]\nurl = "{LOCAL}"\n', trusted=False)

    trusted = trust_folder_file()
    before = load_settings().url
    write(path, f'[default]\nurl = "{FOREIGN}"\n')
    after = refused()
    trust_folder_file()

    assert (trusted, before) == (path.resolve(), LOCAL)
    assert after.message.startswith("vastnb.toml of this folder sets url")
    assert load_settings().url == FOREIGN


def test_trust_is_for_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_file(f'[default]\nurl = "{LOCAL}"\n')
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    folder_file(f'[default]\nurl = "{LOCAL}"\n', trusted=False)

    assert refused().message.startswith("vastnb.toml of this folder sets url")


def test_the_record_of_trusted_files_is_private_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_file(f'[default]\nurl = "{LOCAL}"\n')
    first = Path.cwd()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    folder_file(f'[default]\nurl = "{LOCAL}"\n')
    monkeypatch.chdir(first)

    record = Path(os.environ["XDG_STATE_HOME"]) / "vastnb" / "trusted.json"
    assert load_settings().url == LOCAL
    assert [stat.S_IMODE(path.stat().st_mode) for path in (record, record.parent)] == [0o600, 0o700]


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", '{"a": '])
def test_a_broken_record_trusts_nothing_and_can_be_written_again(text: str) -> None:
    write(Path(os.environ["XDG_STATE_HOME"]) / "vastnb" / "trusted.json", text)
    folder_file(f'[default]\nurl = "{LOCAL}"\n', trusted=False)

    assert refused().message.startswith("vastnb.toml of this folder sets url")
    trust_folder_file()
    assert load_settings().url == LOCAL


def test_there_must_be_a_file_to_trust() -> None:
    with pytest.raises(ConfigError, match=r"^there is no vastnb\.toml in this folder$"):
        trust_folder_file()


def test_a_record_that_cannot_be_written_is_an_error_of_ours() -> None:
    write(Path(os.environ["XDG_STATE_HOME"]), "a file in place of the folder")
    folder_file("", trusted=False)

    with pytest.raises(ConfigError, match=r"vastnb\.toml cannot be trusted: "):
        trust_folder_file()


def test_settings_survive_pickling() -> None:
    settings = load_settings("production", api_key=KEY, timeout_s=5)

    assert pickle.loads(pickle.dumps(settings)) == settings
