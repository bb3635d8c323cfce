"""Events: durable, once by their id, at least once to each handler, and no handler in another's way."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import vastnb
from vastnb.errors import InputError, NewerStateError, StateError
from vastnb.services.events import Bus, Event, Queue, default_bus

AT = datetime(2026, 6, 1, 9, tzinfo=UTC)
NO_PAUSES = (0.0, 0.0, 0.0)


def event(number: int = 1, kind: str = "instance.outbid", **data: Any) -> Event:
    return Event(f"event-{number}", kind, str(number), AT, data)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path / "state" / "events.sqlite", "an account")
    yield made
    made.close()


@pytest.fixture
def make_bus(queue: Queue) -> Iterator[Callable[..., Bus]]:
    made: list[Bus] = []

    def make(**options: Any) -> Bus:
        made.append(Bus(Queue(queue.path, queue.account), **{"poll_s": 0.05, "pauses_s": NO_PAUSES, **options}))
        return made[-1]

    yield make
    for bus in made:
        bus.close()


# --- the queue ----------------------------------------------------------------------------------------------------------


def test_an_event_is_written_once_and_comes_back_as_it_was(queue: Queue) -> None:
    queue.subscribe("h", ["*"])

    first, again = queue.add([event(usd=0.4)], source="webhook"), queue.add([event()], source="watcher")

    assert (first, again) == ([event(usd=0.4)], [])
    claim = Queue(queue.path, queue.account).claim("h", ["*"])
    assert claim is not None
    assert claim.event == event(usd=0.4)


def test_accounts_share_a_file_and_no_event(queue: Queue) -> None:
    queue.add([event()], source="user")
    other = Queue(queue.path, "another")

    assert other.rows() == []
    assert other.add([event()], source="user") == [event()]
    other.close()


def test_the_file_and_its_folder_are_private(queue: Queue) -> None:
    queue.add([event()], source="user")

    files = list(queue.path.parent.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(queue.path.parent.stat().st_mode) == 0o700


def test_a_file_of_a_newer_vastnb_is_left_alone(queue: Queue) -> None:
    import sqlite3

    queue.add([event()], source="user")
    queue.close()
    with sqlite3.connect(queue.path) as db:
        db.execute("pragma user_version = 99")
    db.close()

    with pytest.raises(NewerStateError, match="newer vastnb"):
        queue.rows()


def test_a_file_that_is_none_is_a_state_error(queue: Queue) -> None:
    queue.path.parent.mkdir()
    queue.path.write_bytes(b"not a database, but long enough to look at" * 99)

    with pytest.raises(StateError, match="cannot be used"):
        queue.add([event()], source="user")


def test_a_note_that_changed_meanwhile_keeps_its_events_out(queue: Queue) -> None:
    assert queue.add([event(1)], source="watcher", note=("seen", "one", 0)) == [event(1)]
    assert queue.add([event(2)], source="watcher", note=("seen", "two", 0)) == []

    assert queue.note("seen") == ("one", 1)
    assert [row["event_id"] for row in queue.rows()] == ["event-1"]


def test_a_handler_sees_what_came_after_it_was_first_named(queue: Queue) -> None:
    queue.add([event(1)], source="user")
    queue.subscribe("h", ["*"])
    queue.add([event(2)], source="user")
    queue.subscribe("h", ["*"])

    assert queue.depth("h") == 1
    claim = queue.claim("h", ["*"])
    assert claim is not None
    assert claim.event.id == "event-2"


def test_what_one_kernel_is_at_another_leaves_alone(queue: Queue) -> None:
    queue.subscribe("h", ["*"])
    queue.add([event()], source="user")
    other = Queue(queue.path, queue.account)

    assert queue.claim("h", ["*"]) is not None
    assert other.claim("h", ["*"]) is None
    other.close()


PROGRAM = """
import sys
from pathlib import Path
from vastnb.services.events import Queue
queue = Queue(Path(sys.argv[1]), "an account")
queue.subscribe("h", ["*"])
queue.claim("h", ["*"])
print("claimed", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_kernel_was_at_is_taken_up_again(queue: Queue) -> None:
    queue.subscribe("h", ["*"])
    queue.add([event()], source="user")
    words = [sys.executable, "-c", PROGRAM, str(queue.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert queue.claim("h", ["*"]) is None
        other.send_signal(signal.SIGKILL)
        other.wait()

    claim = queue.claim("h", ["*"])
    assert claim is not None
    assert (claim.event, claim.tries) == (event(), 2)


def test_many_processes_that_begin_at_once_all_write(queue: Queue) -> None:
    program = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from vastnb.services.events import Event, Queue
queue = Queue(Path(sys.argv[1]), "an account")
for n in range(20):
    queue.add([Event(f"{sys.argv[2]}-{n}", "k", "", datetime.fromtimestamp(0, UTC)), Event(f"all-{n}", "k", "", datetime.fromtimestamp(0, UTC))], source="user")
"""
    words = [sys.executable, "-c", program, str(queue.path)]
    running = [subprocess.Popen([*words, str(number)]) for number in range(4)]

    assert [process.wait(60) for process in running] == [0] * 4
    assert len(queue.rows()) == 4 * 20 + 20


# --- handlers -----------------------------------------------------------------------------------------------------------


def test_a_handler_is_told_of_its_kinds_alone(make_bus: Callable[..., Bus]) -> None:
    bus, told, all_told = make_bus(), list[str](), list[str]()
    bus.on(["instance.*", "account.low_credit"], lambda e: told.append(e.kind), name="some")
    bus.on(["*"], lambda e: all_told.append(e.kind), name="all")

    bus.publish(event(1, "instance.outbid"), event(2, "account.billing_failed"), event(3, "account.low_credit"))

    assert bus.wait(20)
    assert told == ["instance.outbid", "account.low_credit"]
    assert len(all_told) == 3


def test_a_slow_handler_holds_no_other_up(make_bus: Callable[..., Bus]) -> None:
    bus, release, quick = make_bus(), threading.Event(), list[str]()
    all_there = threading.Event()
    bus.on(["*"], lambda _: release.wait(30), name="slow")
    bus.on(["*"], lambda e: (quick.append(e.id), len(quick) == 5 and all_there.set()), name="quick")

    bus.publish(*(event(number) for number in range(5)))

    assert all_there.wait(20)
    release.set()
    assert bus.wait(20)


def test_a_handler_that_raises_is_tried_again_and_then_left_with_its_reason(make_bus: Callable[..., Bus]) -> None:
    bus, tries, told = make_bus(), list[str](), list[str]()

    def fails(given: Event) -> None:
        tries.append(given.id)
        if given.id == "event-1" or len(tries) == 2:
            raise ValueError("no such thing")

    bus.on(["*"], fails, name="fails")
    bus.on(["*"], lambda e: told.append(e.id), name="works")
    bus.publish(event(1), event(2))

    assert bus.wait(20)
    assert told == ["event-1", "event-2"]
    assert tries.count("event-1") == len(NO_PAUSES) + 1
    last = {row["event_id"]: row["deliveries"][0] for row in bus.queue.rows()}
    assert last["event-1"] == ("fails", "dead", 4, "ValueError: no such thing")
    assert last["event-2"][1] == "done"


def test_a_handler_that_ends_its_process_each_time_is_given_up(queue: Queue, make_bus: Callable[..., Bus]) -> None:
    told = list[str]()
    queue.subscribe("deadly", ["*"])
    queue.add([event()], source="user")
    program = f"""
import os
from pathlib import Path
from vastnb.services.events import Bus, Queue
bus = Bus(Queue(Path({str(queue.path)!r}), "an account"), poll_s=0.05, pauses_s=(0, 0, 0))
bus.on(["*"], lambda e: os._exit(9), name="deadly")
bus.wait(20)
bus.close()
"""
    ends = [subprocess.run([sys.executable, "-c", program], check=False).returncode for _ in range(5)]

    assert ends == [9, 9, 9, 9, 0]
    assert told == []
    assert queue.rows()[0]["deliveries"][0][1] == "dead"


def test_a_handler_that_fails_writes_into_no_cell(tmp_path: Path) -> None:
    program = f"""
from datetime import UTC, datetime
from pathlib import Path
from vastnb.services.events import Bus, Event, Queue
with Bus(Queue(Path({str(tmp_path / "e.sqlite")!r}), "an account"), pauses_s=()) as bus:
    bus.on(["*"], lambda e: 1 / 0, name="[odd] name")
    bus.publish(Event("1", "k", "", datetime.now(UTC)))
    assert bus.wait(20)
    print(bus.queue.rows()[0]["deliveries"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[('[odd] name', 'dead', 1, 'ZeroDivisionError: division by zero')]\n"
    assert done.stderr == ""


def test_what_happened_while_no_kernel_ran_is_told_to_the_next(queue: Queue, make_bus: Callable[..., Bus]) -> None:
    first, told = make_bus(), list[str]()
    first.on(["*"], lambda e: told.append(e.id), name="h")
    first.close()
    queue.add([event(7)], source="webhook")

    second = make_bus()
    second.on(["*"], lambda e: told.append(e.id), name="h")

    assert second.wait(20)
    assert told == ["event-7"]


def test_what_another_process_wrote_is_seen(queue: Queue, make_bus: Callable[..., Bus]) -> None:
    bus, there = make_bus(), threading.Event()
    bus.on(["*"], lambda _: there.set(), name="h")

    queue.add([event()], source="webhook")

    assert there.wait(20)


def test_another_choice_of_kinds_goes_on_where_the_handler_was(queue: Queue) -> None:
    queue.subscribe("h", ["instance.*"])
    queue.add([event(1), event(2, "account.low_credit")], source="user")
    claim = queue.claim("h", ["instance.*"])
    assert claim is not None
    queue.settle(claim, "h")
    assert queue.claim("h", ["instance.*"]) is None
    queue.add([event(3, "account.low_credit"), event(4)], source="user")

    queue.subscribe("h", ["account.*"])

    told = []
    while (claim := queue.claim("h", ["account.*"])) is not None:
        told.append(claim.event.id)
        queue.settle(claim, "h")
    assert told == ["event-3"]
    assert queue.depth() == queue.depth("h") == 1


def test_two_kernels_with_one_handler_share_the_work(queue: Queue, make_bus: Callable[..., Bus]) -> None:
    told = list[str]()
    one, two = make_bus(), make_bus()
    for bus in (one, two):
        bus.on(["*"], lambda e: told.append(e.id), name="h")

    one.publish(*(event(number) for number in range(60)))

    assert one.wait(30)
    assert two.wait(30)
    assert sorted(told) == sorted(f"event-{number}" for number in range(60))


def test_closing_ends_every_thread(make_bus: Callable[..., Bus]) -> None:
    bus = make_bus()
    bus.on(["*"], lambda _: None, name="one")
    bus.on(["*"], lambda _: None, name="two")

    bus.close()

    assert [t.name for t in threading.enumerate() if t.name in ("vastnb-one", "vastnb-two")] == []


def test_a_handler_waits_while_another_account_is_in_force(make_bus: Callable[..., Bus]) -> None:
    asked, in_force, told = threading.Event(), [False], threading.Event()

    def is_in_force() -> bool:
        asked.set()
        return in_force[0]

    bus = make_bus(is_in_force=is_in_force)
    bus.on(["*"], lambda _: told.set(), name="h")
    bus.publish(event())
    assert asked.wait(20)
    assert not told.is_set()

    in_force[0] = True

    assert told.wait(20)


# --- in a notebook ------------------------------------------------------------------------------------------------------


def test_on_and_events_in_a_notebook(ip: Any) -> None:
    ip.run_cell("%vast use sandbox start=2026-06-01 offers=50").raise_error()
    ip.run_cell(
        "import vastnb\nseen = []\n"
        "@vastnb.on('instance.*')\ndef tell(event):\n    seen.append((event.kind, event.subject))\n"
        "@vastnb.on('account.*', name='grumpy')\ndef grumpy(event):\n    raise SystemExit('no')\n"
    ).raise_error()
    bus = default_bus()
    bus.publish(event(12, message="Somebody <b>bids</b> more"), event(13, "account.low_credit"))
    bus.off("grumpy")  # it would be tried again for some minutes
    assert bus.wait(20)

    frame = ip.run_line_magic("vast", "events --kind instance.*")

    assert ip.user_ns["seen"] == [("instance.outbid", "12")]
    assert (frame.kind.tolist(), frame.subject.tolist()) == (["instance.outbid"], ["12"])
    assert frame.handled.tolist() == ["__main__.tell: done"]
    assert frame.message.tolist() == ["Somebody <b>bids</b> more"]
    assert list(frame.columns) == list(vastnb.events(limit=0).columns)
    ip.run_cell("vastnb.use('sandbox', start='2026-06-02', offers=50)").raise_error()
    assert default_bus() is not bus
    assert not any(thread.name.startswith("vastnb-__main__") for thread in threading.enumerate())


def test_on_without_a_kind_is_refused() -> None:
    with pytest.raises(InputError, match="needs kinds"):
        vastnb.on()
    with pytest.raises(InputError, match="needs kinds"):
        vastnb.on(print)  # type: ignore[arg-type]


def test_no_thread_and_no_file_before_something_is_asked() -> None:
    program = "import vastnb, threading; vastnb.on; vastnb.events; print(threading.active_count())"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )

    assert done.stdout.strip() == "1"
