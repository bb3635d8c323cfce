"""A fresh kernel does not load requests-cache before its first answer is shown; what it then keeps, the others find."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests_cache import BaseCache

from vastnb.infra.cache import Entry, Store
from vastnb.infra.cache.large import WORTH_A_FILE
from vastnb.infra.cache.late import LateStore, may_hold
from vastnb.infra.cache.local import open_local, open_memory
from vastnb.sandbox import Sandbox


class Opener:
    """Opens a backend, and says when."""

    def __init__(self, made: Callable[[], BaseCache] = open_memory) -> None:
        self.opened, self._made = threading.Event(), made

    def __call__(self) -> BaseCache:
        self.opened.set()
        return self._made()


def late(opener: Opener, *, holds: bool = False) -> LateStore:
    return LateStore(opener, lambda _key: holds, is_loaded=lambda: False)


def entry(body: bytes = b"{}", age_s: float = 0.0) -> Entry:
    return Entry(200, (("etag", "x"),), body, int(time.time()) - age_s)


def keep(store: Store, key: str, kept: Entry, *, keep_s: float = 60.0, **then: Any) -> None:
    store.save(key, kept, keep_s=keep_s, url="http://127.0.0.1/", **then)


def writers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "vastnb-cache"]


def test_what_waits_to_be_written_is_there_already_and_is_written_at_the_end(tmp_path: Path) -> None:
    opener = Opener(lambda: open_local(tmp_path / "http.sqlite"))
    store, first, second = late(opener), entry(b"[1]"), entry(b"[2]")

    missing = store.load("k")
    keep(store, "k", first)
    keep(store, "k", second)
    found, opened_before = store.load("k"), opener.opened.is_set()
    store.close()

    next_kernel = Store(open_local(tmp_path / "http.sqlite"))
    assert (missing, found, opened_before) == (None, second, False)
    assert (next_kernel.load("k"), store.hits, store.misses, writers()) == (second, 1, 1, [])


def test_it_is_written_by_itself_a_moment_later_and_then_at_once(tmp_path: Path) -> None:
    opener, written = Opener(), threading.Event()
    store = late(opener)

    keep(store, "k", entry(), then=written.set)
    at_once = written.is_set()
    assert written.wait(10)
    later = threading.Event()
    store.close()
    keep(store, "other", entry(), then=later.set)

    assert (at_once, opener.opened.is_set(), later.is_set()) == (False, True, True)
    assert store.info().entries == 2


def test_where_requests_cache_is_loaded_nothing_is_late() -> None:
    opener, written = Opener(), threading.Event()
    store = LateStore(opener, lambda _key: False, is_loaded=lambda: True)

    keep(store, "k", entry(), then=written.set)

    assert (written.is_set(), writers()) == (True, [])


def test_who_waits_for_an_answer_is_told_when_it_is_kept_or_never_will_be(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> BaseCache:
        raise OSError("no")

    told: list[str] = []
    store = late(Opener(broken))
    for name in ("one", "other"):
        keep(store, name, entry(), then=lambda name=name: told.append(name))
    keep(store, "too long", entry(bytes((64 << 20) + 1)), then=lambda: told.append("too long"))
    store.close()

    assert told == ["one", "other", "too long"]
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]


@pytest.mark.parametrize("how", ["drop", "clear"])
def test_what_waits_is_forgotten_too(how: str) -> None:
    store = late(Opener())
    keep(store, "v1-me-offers-1", entry())

    store.drop("v1-me-offers-") if how == "drop" else store.clear()

    assert (store.load("v1-me-offers-1"), store.info().entries, writers()) == (None, 0, [])


def test_a_store_that_was_not_needed_is_never_opened() -> None:
    opener = Opener()
    store = late(opener)

    assert store.load("k") is None
    store.close()

    assert not opener.opened.is_set()


def test_what_may_be_there_is_looked_for(tmp_path: Path) -> None:
    there, kept = tmp_path / "http.sqlite", entry()
    keep(Store(open_local(there)), "k", kept)

    store = late(Opener(lambda: open_local(there)), holds=True)

    assert store.load("k") == kept


def test_whether_a_file_may_hold_an_entry_is_found_out_without_opening_it(tmp_path: Path) -> None:
    file = tmp_path / "a folder" / "http.sqlite"
    absent = may_hold(file, "k")
    store = Store(open_local(file))
    keep(store, "k", entry())
    keep(store, "over", entry(age_s=100), keep_s=50)
    keep(store, "long", entry(bytes(WORTH_A_FILE)))

    while_open = [may_hold(file, key) for key in ("k", "other", "over", "long")]
    store.close()
    closed = [may_hold(file, key) for key in ("k", "other", "over", "long")]
    file.write_bytes(b"garbage" * 1000)

    assert (absent, while_open, closed) == (False, [True, False, False, True], [True, False, False, True])
    assert may_hold(file, "other")


# ---------------------------------------------------------------- a kernel

KERNEL = """
import json, sys
import vastnb
before = "requests_cache" in sys.modules
frame = vastnb.search("num_gpus=8", limit=5)
about = frame.attrs["vastnb"]
page = vastnb.services.session.current().client.search_offers("num_gpus=8", limit=5)
print(json.dumps({"loaded": "requests_cache" in sys.modules, "from_cache": about["from_cache"], "ids": page.offer_id.tolist()}))
"""


def test_a_fresh_kernel_shows_its_answer_first_and_the_next_one_finds_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, private_home: Path
) -> None:
    monkeypatch.setenv("VAST_URL", sandbox.url)
    monkeypatch.setenv("VAST_API_KEY", sandbox.api_key)

    def kernel() -> dict[str, Any]:
        done = subprocess.run([sys.executable, "-c", KERNEL], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    first = kernel()
    asked = sandbox.requests()
    for frames in private_home.rglob("*.frame"):
        frames.unlink()
    second = kernel()

    assert (first["loaded"], second["loaded"], second["from_cache"]) == (False, True, True)
    assert (first["ids"], sandbox.requests()) == (second["ids"], asked)
