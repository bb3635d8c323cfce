"""The whole way: from the market that outbids to the bid that is raised; and several kernels and a daemon of one user."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from renting import Yard

import vastnb
from vastnb import handlers
from vastnb.api import webhook
from vastnb.infra.config import Settings
from vastnb.services import sync
from vastnb.services.events import Queue, default_bus, queue_of
from vastnb.services.instances.fleet import Fleet
from vastnb.services.sync.lease import Held, held
from vastnb.services.webhooks import Webhooks
from vastnb.vast.client import Client

# --- from outbid to running again ---------------------------------------------------------------------------------------

EVERY = ["client:instance_created", "client:instance_started", "client:instance_stopped", "client:instance_offline", "client:outbid"]  # fmt: skip
THE_STORY = ["instance.created", "instance.running", "instance.outbid", "instance.running"]


def told_by_webhook(there: Any) -> Callable[[], object]:
    """Let the sandbox call; how to wait for what it says."""
    Webhooks().create(webhook.serve_here(there.client, address="127.0.0.1", port=0), EVERY)

    def wait() -> None:
        assert there.sandbox.wait_for_deliveries()
        default_bus().wake()
        assert default_bus().wait(30)

    return wait


def told_by_watcher(there: Any) -> Callable[[], object]:
    """Look; the first look only remembers."""
    sync.look_now()
    return sync.look_now


@pytest.mark.parametrize(("how", "seed"), [(told_by_webhook, 1), (told_by_watcher, 2)], ids=["webhook", "watcher"])
def test_a_machine_that_is_outbid_runs_again_and_both_ways_tell_the_same(
    how: Callable[[Any], Callable[[], object]], seed: int
) -> None:
    there = vastnb.use("sandbox", start="2026-06-01T09:00", offers=400, seed=seed)
    wait = how(there)
    vastnb.on("instance.outbid")(handlers.rebid(max_usd_per_hour=50.0))
    offer = vastnb.search("num_gpus=1", rental="bid").iloc[0]
    machine = vastnb.launch(offer, name="lora", max_hours=5, bid_usd_per_hour=float(offer.min_bid_usd_per_hour) * 1.1)
    assert isinstance(machine, vastnb.Instance)
    machine.wait()
    wait()

    there.sandbox.outbid(machine.id)
    there.sandbox.clock.step(minutes=1)
    wait()
    there.sandbox.clock.step(minutes=10)
    wait()

    assert machine.refresh().state == "running"
    happened = vastnb.events()[::-1]
    assert happened.kind.tolist() == THE_STORY
    assert happened.subject.tolist() == [str(machine.id)] * 4
    assert happened[happened.kind == "instance.outbid"].handled.tolist() == ["vastnb.services.handlers.rebid 50: done"]
    webhook.stop_here()


# --- two kernels and a daemon -------------------------------------------------------------------------------------------

INTERVAL_S = 2
HANDLER = """
import os, vastnb
@vastnb.on("*", name="told")
def told(event):
    with open("told", "a") as file:
        file.write(f"{event.kind} {event.subject} {event.id}\\n")
"""


class Crowd:
    """Two Jupyter kernels and a daemon of one user, all of which watch."""

    def __init__(self, there: Yard, home: Path, stack: ExitStack) -> None:
        self.there, self.home = there, home
        (home / "mine.py").write_text(HANDLER)
        self.env = {**os.environ, "VAST_URL": there.sandbox.url, "VAST_API_KEY": there.sandbox.api_key}
        self.queue: Queue = queue_of(Client(Settings(url=there.sandbox.url, api_key=there.sandbox.api_key)))
        stack.callback(self.queue.close)
        self.pids = {stack.enter_context(self._kernel()), stack.enter_context(self._kernel())}
        self.pids.add(stack.enter_context(self._daemon()))

    @contextmanager
    def _kernel(self) -> Iterator[int]:
        from jupyter_client.manager import start_new_kernel

        manager, client = start_new_kernel(kernel_name="python3", env=self.env, cwd=str(self.home))
        try:
            watching = f"%load_ext vastnb\n%vast watch --interval {INTERVAL_S} --handlers mine.py"
            answer = client.execute_interactive(watching, timeout=60, output_hook=lambda _: None)
            assert answer["content"]["status"] == "ok", answer["content"]
            yield manager.provisioner.pid  # type: ignore[union-attr]
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)

    @contextmanager
    def _daemon(self) -> Iterator[int]:
        words = [sys.executable, "-m", "vastnb", "sync", "--interval", str(INTERVAL_S), "--handlers", "mine.py"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=self.env, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"Watching every {INTERVAL_S} s until Ctrl-C.\n"
            yield process.pid
            process.terminate()
            assert process.wait(20) in (0, -signal.SIGKILL)

    @property
    def looks(self) -> int:
        return self.there.sandbox.requests("/api/v1/instances/")

    @property
    def leader(self) -> int:
        lease = held(self.queue, time.time())
        assert isinstance(lease, Held)
        return int(lease.owner.split()[-2])

    def kill_leader(self) -> None:
        pid = self.leader
        assert pid in self.pids
        os.kill(pid, signal.SIGKILL)
        self.pids.remove(pid)

    def until(self, is_so: Callable[[], bool], seconds: float) -> float:
        """How long it took."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < seconds
            threading.Event().wait(0.02)
        return time.monotonic() - began

    def until_told(self, *kinds: str) -> None:
        self.until(lambda: self.told[-len(kinds) :] == list(kinds) and not self.queue.depth("told"), 30)

    @property
    def told(self) -> list[str]:
        file = self.home / "told"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def crowd(there: Yard, private_home: Path) -> Iterator[Crowd]:
    pytest.importorskip("ipykernel")
    with ExitStack() as stack:
        yield Crowd(there, private_home, stack)


def rented(there: Yard, kernel: Fleet, name: str) -> vastnb.Instance:
    from vastnb.services.instances.launching import launch_on

    offer = there.offers(kernel, "num_gpus=1", rental="bid").iloc[0]
    bid = float(offer.min_bid_usd_per_hour) * 1.1
    made = launch_on(kernel, offer, name=name, image="a/b:1", max_hours=5, bid_usd_per_hour=bid)
    assert isinstance(made, vastnb.Instance)
    return made.wait()


def the_rate_is_that_of_one(crowd: Crowd, looks: int) -> None:
    """Also right after a start or a take-over, which may bring one more."""
    first = crowd.looks
    assert crowd.until(lambda: crowd.looks >= first + looks, 60) > (looks - 1) * INTERVAL_S * 0.9


def someone_takes_over(crowd: Crowd) -> None:
    before = crowd.looks
    crowd.kill_leader()
    assert crowd.until(lambda: crowd.looks > before, 30) < 2 * INTERVAL_S + 1.5  # a busy computer is late


def test_two_kernels_and_a_daemon_look_as_often_as_one_and_tell_each_event_once(
    there: Yard, kernel: Fleet, crowd: Crowd
) -> None:
    machine = rented(there, kernel, "lora")
    the_rate_is_that_of_one(crowd, 2)
    crowd.until_told("instance.created", "instance.running")

    there.sandbox.outbid(machine.id)
    there.pause(60)
    someone_takes_over(crowd)

    crowd.until_told("instance.outbid")
    assert crowd.told == ["instance.created", "instance.running", "instance.outbid"]
    assert len(crowd.queue.rows()) == 3


@pytest.mark.campaign
def test_as_long_as_one_is_left_nothing_is_missed_and_nothing_doubled(there: Yard, kernel: Fleet, crowd: Crowd) -> None:
    machine = rented(there, kernel, "lora")
    the_rate_is_that_of_one(crowd, 10)
    someone_takes_over(crowd)
    for _ in range(5):
        there.sandbox.outbid(machine.id)
        there.pause(60)
        crowd.until_told("instance.outbid")
        machine.refresh().change_bid(machine.record.min_bid_usd_per_hour * 1.1)  # type: ignore[union-attr, operator]
        there.pause(600)
        crowd.until_told("instance.running")
    the_rate_is_that_of_one(crowd, 10)
    someone_takes_over(crowd)
    machine.destroy()

    crowd.until_told("instance.gone")

    assert crowd.told == [
        "instance.created",
        "instance.running",
        *["instance.outbid", "instance.running"] * 5,
        "instance.gone",
    ]
    assert len({row["event_id"] for row in crowd.queue.rows()}) == len(crowd.told)
    assert all(first != second for first, second in itertools.pairwise(crowd.told))
