"""A Redis that a team shares: whoever else can write there is not believed, and one that hangs or is gone is a miss."""

from __future__ import annotations

import ast
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_cache
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from redis import Redis
from redis.exceptions import NoPermissionError
from test_cache import SIGNING_KEY, RedisServer, World, told

import vastnb
from vastnb.errors import ConfigError
from vastnb.infra.cache import Entry
from vastnb.infra.cache.codec import EntryCodec, response_of
from vastnb.infra.cache.shared import namespace, open_shared
from vastnb.infra.config import CacheSettings, Settings, config_file, load_settings, trust_folder_file
from vastnb.sandbox import Sandbox
from vastnb.services.session import config_table
from vastnb.vast.client import Client

_shared_redis, redis_server = test_cache._shared_redis, test_cache.redis_server
PACKAGE = Path(vastnb.__file__).parent
SECRET_URL = "rediss://vastnb:HIDDEN-word@cache.example/1"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop and kill."""
    server = RedisServer(tmp_path)
    yield server
    server.close()


def opened(server: RedisServer, *, signing_key: str = SIGNING_KEY, space: str = "vastnb:me", url: str = "") -> Any:
    return open_shared(SecretStr(url or server.url), SecretStr(signing_key), space)


@pytest.fixture
def world(redis_server: RedisServer) -> Iterator[World]:
    made = World(opened(redis_server))
    yield made
    made.cache.close()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said on any logger, at WARNING or above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# ---------------------------------------------------------------- what is kept


def test_an_entry_is_signed_packed_and_goes_by_itself(world: World, redis_server: RedisServer) -> None:
    world.service.answer = test_cache.httpx.Response(200, json={"offers": [7] * 5000})

    world.ask()

    ((key, value),) = redis_server.contents().items()
    with Redis(port=redis_server.port) as client:
        seconds = client.ttl(key)
    assert key.startswith(b"vastnb:me:v1-me-offers-")
    assert (value[:4], len(value) < 2000) == (b"VNB2", True)
    assert 600 < seconds <= 630


def test_a_second_kernel_finds_the_answers_of_the_first(world: World, redis_server: RedisServer) -> None:
    world.ask()
    other = World(opened(redis_server))

    found = told(other.ask())
    other.cache.close()

    assert found == ([1], True, False)


def test_what_is_over_when_it_comes_is_not_kept_for_ever(world: World, redis_server: RedisServer) -> None:
    for age_s, keep_s in ((0.0, 0.0), (0.0, 0.3), (700.0, 630.0)):
        world.store.save("k", Entry(200, (), b"{}", time.time() - age_s), keep_s=keep_s, url="u")

    assert redis_server.contents() == {}


def test_one_account_is_cleared_and_dropped_and_the_others_stay(world: World, redis_server: RedisServer) -> None:
    redis_server.put(b"of somebody else", b"1")
    theirs = World(opened(redis_server, space="vastnb:them"), account="them")
    theirs.ask()
    world.ask()

    world.cache.invalidate("offers")
    dropped = world.store.info().entries
    world.ask()
    world.store.clear()

    assert (dropped, world.store.info().entries) == (0, 0)
    assert told(theirs.ask())[1] is True
    assert b"of somebody else" in redis_server.contents()
    theirs.cache.close()


def test_where_it_is_kept_is_told_without_secrets() -> None:
    backend = open_shared(SecretStr(SECRET_URL), SecretStr(SIGNING_KEY), "vastnb:me")

    where = backend.where
    shown = f"{backend!r} {vars(backend)} {backend.responses.connection!r}"

    assert where == "rediss://cache.example:6379/1 vastnb:me:*"
    assert all(secret not in shown for secret in ("HIDDEN-word", SIGNING_KEY))


def test_a_service_on_this_computer_has_a_part_of_its_own(tmp_path: Path) -> None:
    names = [namespace("a", file=tmp_path / f, local=local) for f, local in (("1", True), ("2", True), ("1", False))]

    assert (len(set(names)), names[2]) == (3, "vastnb:a")
    assert all(name.startswith("vastnb:local-") for name in names[:2])


# ---------------------------------------------------------------- who else can write there


class Bomb:
    """What a planted pickle does to whoever loads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def forged(key: bytes, value: bytes, how: str, tmp_path: Path) -> bytes:
    """What somebody without the signing key can put where `value` was."""
    lie = Entry(200, (("x-vastnb-key", key.decode().removeprefix("vastnb:me:")),), b'{"offers": ["free"]}', time.time())
    response = response_of(lie, {"expires": time.time() + 999, "url": "http://127.0.0.1/"})
    return {
        "pickle": pickle.dumps(Bomb(tmp_path / "planted")),
        "unsigned": EntryCodec().dumps(response),
        "signed with another key": EntryCodec("somebody else's key", 1).dumps(response),
        "changed": value[:-1] + bytes([value[-1] ^ 1]),
        "cut short": value[:-3],
        "cut in the signature": value[:20],
        "of another version": b"VNB9" + value[4:],
        "empty": b"",
        "text": b'{"offers": ["free"]}',
    }[how]


WAYS = ["pickle", "unsigned", "signed with another key", "changed", "cut short", "cut in the signature",
        "of another version", "empty", "text"]  # fmt: skip


@pytest.mark.parametrize("how", WAYS)
def test_a_planted_entry_is_a_miss_with_one_warning(
    world: World, redis_server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    world.ask()
    ((key, value),) = redis_server.contents().items()
    planted = forged(key, value, how, tmp_path)

    answers = []
    for _ in range(3):
        redis_server.put(key, planted)
        answers.append(told(world.ask()))

    assert answers == [([2], False, False), ([3], False, False), ([4], False, False)]
    assert [text.partition(",")[0] for text in warnings_of(caplog)] == ["an entry in the cache is not one of ours"]
    assert told(world.ask()) == ([4], True, False)
    assert not (tmp_path / "planted").exists()


def test_a_planted_pickle_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "planted")))
    assert (tmp_path / "planted").exists()


def test_an_entry_copied_to_another_key_is_a_miss_with_one_warning(
    world: World, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    world.ask({"gpu_name": "H100"})
    (h100,) = redis_server.contents().items()
    world.ask({"gpu_name": "RTX 3060"})
    other = next(key for key in redis_server.contents() if key != h100[0])
    redis_server.put(other, h100[1])

    answer = told(world.ask({"gpu_name": "RTX 3060"}))

    assert (answer, len(warnings_of(caplog))) == (([3], False, False), 1)


def test_an_old_entry_that_is_put_back_is_as_old_as_it_is(world: World, redis_server: RedisServer) -> None:
    world.ask()
    (old,) = redis_server.contents().items()
    world.now += 31
    world.ask()
    redis_server.put(*old)

    assert told(world.ask())[:2] == ([3], False)


def test_another_signing_key_shares_nothing(world: World, redis_server: RedisServer) -> None:
    world.ask()
    other = World(opened(redis_server, signing_key=SIGNING_KEY + "!"))

    assert told(other.ask())[1] is False
    other.cache.close()


def test_a_long_signing_key_counts_whole() -> None:
    response = response_of(Entry(200, (), b"{}", 0.0), {"expires": None, "url": "u"})
    one, other = (EntryCodec("k" * 64 + end) for end in "ab")

    assert one.loads(one.dumps(response)) is not None
    assert other.loads(one.dumps(response)) is None


@given(body=st.binary(max_size=2000), place=st.integers(0, 10**6), flip=st.integers(1, 255), level=st.integers(0, 1))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_byte_of_a_signed_entry_can_be_changed(body: bytes, place: int, flip: int, level: int) -> None:
    codec = EntryCodec(SIGNING_KEY, level)
    raw = bytearray(codec.dumps(response_of(Entry(200, (("etag", "x"),), body, 1.5), {"expires": 9, "url": "u"})))

    came = codec.loads(bytes(raw))
    raw[place % len(raw)] ^= flip

    assert came is not None
    assert (came.content, came.headers, came.created_at.timestamp(), came.expires_unix) == (body, {"etag": "x"}, 1.5, 9)
    assert codec.loads(bytes(raw)) is None


def test_what_unpacks_to_more_than_it_states_is_not_unpacked() -> None:
    head = b'{"status":200,"headers":{},"url":"u","created":1,"expires":9,"length":10,"packed":true}'
    bomb = zlib.compress(bytes(50_000_000))

    tracemalloc.start()
    found = EntryCodec().loads(b"VNB2" + len(head).to_bytes(4, "big") + head + bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (found, peak < 2_000_000) == (None, True)


# ---------------------------------------------------------------- a Redis that hangs, or is gone


def eight_calls(world: World) -> tuple[set[int], float]:
    started = time.monotonic()
    statuses = {world.ask({"limit": number}).status_code for number in range(8)}
    return statuses, time.monotonic() - started


@pytest.mark.parametrize("before", [True, False], ids=["in between", "from the beginning"])
def test_a_frozen_redis_costs_misses_one_warning_and_less_than_four_seconds(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture, before: bool
) -> None:
    world = World(opened(own_redis))
    if before:
        world.ask()
    own_redis.send(signal.SIGSTOP)

    statuses, seconds = eight_calls(world)

    own_redis.send(signal.SIGCONT)
    assert (statuses, seconds < 4) == ({200}, True)
    assert [text.split()[:4] for text in warnings_of(caplog)] == [["reading", "the", "cache", "failed"]]
    world.ticks += 61
    assert [told(world.ask({"limit": 99}))[1] for _ in range(2)] == [False, True]
    world.cache.close()


def test_a_redis_that_is_gone_costs_misses_and_one_warning(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(opened(own_redis))
    world.ask()
    found = told(world.ask())[1]
    own_redis.close()

    statuses, seconds = eight_calls(world)
    info = world.store.info()
    world.store.clear()
    world.cache.invalidate("offers")
    world.cache.close()

    assert (found, statuses, seconds < 1) == (True, {200}, True)
    assert [text.split()[:4] for text in warnings_of(caplog)] == [["reading", "the", "cache", "failed"]]
    assert (info.backend, info.entries, info.size_bytes) == ("redis", None, None)


def test_a_wrong_password_is_a_miss_and_is_not_shown(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.url.replace("//", "//somebody:HIDDEN-word@")
    world = World(opened(redis_server, url=url))

    with caplog.at_level(logging.DEBUG):
        statuses, _ = eight_calls(world)
    world.cache.close()

    assert statuses == {200}
    assert "HIDDEN-word" not in caplog.text


# ---------------------------------------------------------------- as little as a user there may have

LEAST = "~vastnb:* -@all +get +set +del +scan +ping +hello"
MORE = "~vastnb:* -@all +get +set +setex +del +exists +scan +hget +hscan +hdel +ping +auth +hello +client"


@pytest.mark.parametrize("rights", [LEAST, MORE], ids=["least", "more"])
def test_a_user_with_few_rights_is_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture, rights: str) -> None:
    file = tmp_path / "users.acl"
    file.write_text(f"user default off\nuser admin on >root ~* +@all\nuser vastnb on >team-word {rights}\n")
    server = RedisServer(tmp_path, "--aclfile", str(file))
    url = server.url.replace("//", "//vastnb:team-word@")
    world = World(opened(server, url=url))

    with caplog.at_level(logging.DEBUG, "vastnb.cache"):
        first, second = told(world.ask()), told(world.ask())
        info = world.store.info()
        world.cache.invalidate("offers")
        after = told(world.ask())
        world.store.clear()
    with Redis.from_url(url) as client:
        for denied in (client.flushall, client.keys, client.config_get, lambda: client.set("other", "1")):
            with pytest.raises(NoPermissionError):
                denied()
    left = server.contents(username="admin", password="root")
    world.cache.close()
    server.close()

    assert (first[1], second[1], info.entries, after[1], left) == (False, True, 1, False, {})
    assert [record.getMessage() for record in caplog.records if record.name == "vastnb.cache"] == []


def test_the_docs_name_the_user_with_the_fewest_rights() -> None:
    page = (PACKAGE.parent / "docs" / "caching.md").read_text("utf-8")
    assert f"user vastnb on >PASSWORD {LEAST}\n" in page


# ---------------------------------------------------------------- through the client


@pytest.fixture
def shared_client(
    make_client: Callable[..., Client], sandbox: Sandbox, redis_server: RedisServer
) -> Callable[[], Client]:
    cache = {"backend": "redis", "redis_url": redis_server.url, "signing_key": SIGNING_KEY}
    return lambda: make_client(sandbox, retries=0, pacing="off", cache=cache)


def test_two_clients_share_a_redis(shared_client: Callable[[], Client], sandbox: Sandbox) -> None:
    query = vastnb.parse_query("num_gpus>=2", limit=5)
    pages = [shared_client().page(query) for _ in range(2)]

    assert [page.answer.from_cache for page in pages] == [False, True]
    assert pages[0].frame.equals(pages[1].frame)


def test_neither_a_key_nor_anything_of_an_account_reaches_redis_or_a_file(
    shared_client: Callable[[], Client], sandbox: Sandbox, redis_server: RedisServer, tmp_path: Path
) -> None:
    client = shared_client()

    users = [client.user() for _ in range(2)]
    client.search_offers("num_gpus>=2", limit=5)
    client.gpu_names()

    codec, kept = EntryCodec(SIGNING_KEY, 1), redis_server.contents()
    plain = b"".join(response.content + repr(response.headers).encode() for response in map(codec.loads, kept.values()))
    raw = b"".join(key + value for key, value in kept.items())
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    secrets = [sandbox.api_key, users[0].email, SIGNING_KEY, "-account-"]
    assert sorted(key.split(b"-")[3] for key in kept) == [b"catalogue", b"offers"]
    assert [s for s in secrets if s is None or s.encode() in plain + raw + files] == []
    assert b"offers" in plain


@pytest.mark.parametrize("backend", ["sqlite", "redis", "memory"])
def test_what_an_account_says_is_kept_in_memory_alone(
    make_client: Callable[..., Client], sandbox: Sandbox, redis_server: RedisServer, tmp_path: Path, backend: str
) -> None:
    cache = {"backend": backend, "redis_url": redis_server.url, "signing_key": SIGNING_KEY}
    client = make_client(sandbox, retries=0, pacing="off", cache=cache)

    email = client.user().email
    client.user()

    assert email
    assert [call.path for call in sandbox.log] == ["/api/v0/users/current/"]
    assert redis_server.contents() == {}
    assert all(email.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


# ---------------------------------------------------------------- settings


def given_cache(**values: Any) -> Any:
    return load_settings(cache={"backend": "redis", **values})


def refused(**values: Any) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        given_cache(**values)
    return raised.value


def test_redis_needs_a_signing_key_and_the_error_makes_one() -> None:
    error = refused(redis_url=SECRET_URL)

    assert error.message == "cache (from argument): backend redis needs signing_key, the same for all who share it"
    assert error.hint == 'python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
    assert "HIDDEN" not in f"{error} {error.original} {error.original!r}"


def test_redis_needs_a_url() -> None:
    message = "cache (from argument): backend redis needs redis_url, like rediss://user:password@host:6379/0"
    assert refused(signing_key=SIGNING_KEY).message == message


def test_a_short_signing_key_is_refused_and_not_shown() -> None:
    error = refused(redis_url=SECRET_URL, signing_key="SHORT-HIDDEN")

    assert error.message == "cache.signing_key (from argument): must have at least 16 characters"
    assert error.hint is not None
    assert "HIDDEN" not in f"{error} {error.original} {error.original!r}"


@pytest.mark.parametrize(
    "url",
    [
        "", "redis", "http://h:6379", "redis://", "unix:///HIDDEN", "redis://u:HIDDEN/word@h:6379/0", "redis://u:HIDDEN#word@h/0",
        "redis://u:HIDDEN@h:port/0", "redis://u:HIDDEN@h:0/0", "redis://u:HIDDEN@h/name", "redis://u:HIDDEN word@h/0",
        "redis://u:HIDDEN@h/0?socket_timeout=60", "rediss://u:HIDDEN@h/0?ssl_cert_reqs=none", "redis://h/?ssl_ca_certs=f",
        "redis://u:HIDDEN@[h/0", "redis://u:HIDDEN\u2100@h/0", "rediss://h/0?db",
    ],
)  # fmt: skip
def test_what_is_no_redis_url_is_refused_and_not_shown(url: str) -> None:
    error = refused(redis_url=url, signing_key=SIGNING_KEY)

    assert error.message.startswith("cache.redis_url (from argument): must be like rediss://user:password@host:6379/0")
    assert "HIDDEN" not in f"{error} {error.original} {error.original!r}"


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:1/15", "redis://:p%2F%23@[::1]:6379/", "rediss://h/0?ssl_ca_certs=/etc/ca.pem"]
)
def test_a_redis_url_is_taken_as_it_is(url: str) -> None:
    found = given_cache(redis_url=url, signing_key=SIGNING_KEY).cache.redis_url
    assert found == SecretStr(url)


def test_a_url_in_the_wrong_place_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTNB_CACHE", SECRET_URL)

    with pytest.raises(ConfigError) as raised:
        load_settings()

    assert "HIDDEN" not in f"{raised.value} {raised.value.original}"


def test_plain_models_show_no_secret_either() -> None:
    cache = CacheSettings(backend="redis", redis_url=SECRET_URL, signing_key=SIGNING_KEY)
    with pytest.raises(ValidationError) as raised:
        CacheSettings(backend="redis", redis_url=SECRET_URL, signing_key="SHORT-HIDDEN")

    shown = f"{cache!r} {Settings(cache=cache)!r} {cache.model_dump_json()} {raised.value}"
    assert all(secret not in shown for secret in ("HIDDEN", SIGNING_KEY))


def test_the_table_of_settings_shows_no_secret() -> None:
    vastnb.use(cache={"backend": "redis", "redis_url": SECRET_URL, "signing_key": SIGNING_KEY})

    shown = config_table().set_index("setting").value

    assert (shown["cache.redis_url"], shown["cache.signing_key"]) == ("set", "set")


@pytest.mark.parametrize(
    "text",
    [
        f'[default.cache]\nredis_url = "{SECRET_URL}"\n',
        f'[profiles.production.cache]\nsigning_key = "{SIGNING_KEY}"\n',
        f'[default]\n"cache.redis_url" = "{SECRET_URL}"\n',
        f'[default]\ncache = {{signing_key = "{SIGNING_KEY}"}}\n',
    ],
)
def test_a_folders_file_may_not_set_a_redis_unasked(private_home: Path, text: str) -> None:
    file = private_home / "vastnb.toml"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(ConfigError, match="may not do that unasked"):
        load_settings()

    trust_folder_file()
    load_settings()


def test_a_settings_file_with_a_signing_key_must_be_private(private_home: Path) -> None:
    file = config_file()
    file.parent.mkdir(parents=True)
    file.write_text(f'[default.cache]\nsigning_key = "{SIGNING_KEY}"\n')
    file.chmod(0o644)

    with pytest.raises(ConfigError, match="holds a key and others can read it"):
        load_settings()


# ---------------------------------------------------------------- the package redis


def test_without_the_package_the_error_says_how_to_install_it(sandbox: Sandbox, tmp_path: Path) -> None:
    program = f"""
import sys, pathlib
sys.modules["redis"] = None
import vastnb
from vastnb.errors import ConfigError
cache = {{"backend": "redis", "redis_url": "redis://127.0.0.1", "signing_key": "{SIGNING_KEY}"}}
for settings in ({{}}, {{"cache": cache}}):
    with vastnb.Client(vastnb.Settings(url="{sandbox.url}", **settings), cache_folder=pathlib.Path("{tmp_path}")) as client:
        try:
            print(len(client.search_offers(limit=3)))
        except ConfigError as error:
            print(error.message, error.hint, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    expected = [
        "3",
        'cache.backend is redis, and the package redis is not installed|pip install "vastnb[redis]", then restart the kernel',
    ]
    assert (done.stdout.splitlines(), done.returncode) == (expected, 0)


def imports_redis(file: Path) -> bool:
    found = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    names = [alias.name for node in found if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in found if isinstance(node, ast.ImportFrom)]
    return any(name.split(".")[0] == "redis" for name in names)


def test_one_module_imports_redis() -> None:
    there = [str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if imports_redis(file)]
    assert there == [str(Path("infra", "cache", "shared.py"))]
