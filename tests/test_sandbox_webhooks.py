"""The sandbox's notifications: managed, signed, sent again as documented, and told of what happens to machines."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from renting import Yard, yard

from vastnb.api.webhook import Endpoint, Server
from vastnb.errors import InputError, InvalidRequestError, NotFoundError
from vastnb.services import session
from vastnb.services.events import default_bus
from vastnb.services.handlers import rebid
from vastnb.services.instances import Instance
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on
from vastnb.services.webhooks import Webhooks

EVERY = ["client:instance_created", "client:instance_started", "client:instance_stopped", "client:instance_offline", "client:outbid", "client:low_credit"]  # fmt: skip


class Receiver:
    """Somebody's server, that keeps what it is sent and answers with the statuses it was told to."""

    def __init__(self) -> None:
        receiver = self
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append((dict(self.headers), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?x=1"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def slugs(self) -> list[str]:
        return [json.loads(body)["notif_type"] for _, body in self.seen]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def rented(there: Yard, kernel: Fleet) -> Instance:
    offers = there.offers(kernel, "num_gpus=1", rental="bid")
    bid = float(offers.min_bid_usd_per_hour[0]) * 1.1
    made = launch_on(kernel, offers.iloc[0], name="lora", image="a/b:1", max_hours=5, bid_usd_per_hour=bid)
    assert isinstance(made, Instance)
    return made.wait()


# --- management ---------------------------------------------------------------------------------------------------------


def test_webhooks_are_made_listed_changed_and_ended_and_their_secret_is_never_shown(there: Yard, kernel: Fleet) -> None:
    hooks = Webhooks(kernel.client)
    assert "client:outbid" in hooks.kinds().key.tolist()

    number = hooks.create("https://example.com/hook", ["client:outbid"], "mine")
    hooks.change(number, name="renamed", kinds=EVERY)
    (before,) = hooks.secrets.good(time.time())
    hooks.rotate(number)

    frame = hooks.table()
    assert frame[["webhook_id", "name", "url", "has_secret"]].values.tolist() == [
        [number, "renamed", "https://example.com/hook", True]
    ]
    assert frame.kinds[0] == ", ".join(EVERY)
    new, old = hooks.secrets.good(time.time())
    assert (old, len({new, old})) == (before, 2)
    assert not any(new in str(value) for value in (frame.to_dict(), kernel.client.log, there.sandbox.log))
    hooks.delete(number)
    assert hooks.table().empty
    assert hooks.secrets.good(time.time()) == []
    with pytest.raises(NotFoundError):
        hooks.test(number)


def test_the_documented_limits_hold(there: Yard, kernel: Fleet) -> None:
    hooks = Webhooks(kernel.client)
    for wrong in ("ftp://example.com", "http://example.com/x", "https://", "https://example.com/" + "x" * 2048):
        with pytest.raises((InputError, InvalidRequestError)):
            hooks.create(wrong, ["client:outbid"])
    with pytest.raises(InvalidRequestError, match="valid notification type"):
        hooks.create("https://example.com/x", ["outbid"])
    with pytest.raises(InputError, match="needs kinds"):
        hooks.create("https://example.com/x", [])
    with pytest.raises(InputError, match="120"):
        hooks.create("https://example.com/x", EVERY, "x" * 121)
    for _ in range(4):
        hooks.create("https://example.com/x", EVERY)
    with pytest.raises(InvalidRequestError, match="At most 4"):
        hooks.create("https://example.com/x", EVERY)


def test_another_account_sees_and_touches_nothing(there: Yard, kernel: Fleet) -> None:
    number = Webhooks(kernel.client).create("https://example.com/x", EVERY)
    other = Webhooks(there.kernel(folder="other", api_key=there.sandbox.add_account()).client)

    assert other.table().empty
    with pytest.raises(NotFoundError):
        other.delete(number)


# --- deliveries ---------------------------------------------------------------------------------------------------------


def test_a_delivery_is_signed_as_documented(there: Yard, kernel: Fleet, receiver: Receiver) -> None:
    hooks = Webhooks(kernel.client)
    number = hooks.create(receiver.url, EVERY)

    assert hooks.test(number) == "Test webhook delivered"

    assert there.sandbox.wait_for_deliveries()
    ((headers, body),) = receiver.seen
    content = json.loads(body)
    assert (content["notif_type"], content["data"], content["data_truncated"]) == ("webhook_test", None, False)
    assert headers["X-Vast-Event-Id"] == content["event_id"]
    assert (headers["Content-Type"], headers["X-Vast-Delivery-Attempt"]) == ("application/json", "1")
    signed = f"{headers['X-Vast-Timestamp']}.".encode() + body
    (secret,) = hooks.secrets.good(time.time())
    made = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Vast-Signature-256"] == f"sha256={made}"
    assert abs(time.time() - int(headers["X-Vast-Timestamp"])) < 60


@pytest.mark.parametrize(
    ("statuses", "attempts", "state"),
    [
        ([500, 429, 408, 204], 4, "accepted"),
        ([404], 1, "failed"),
        ([302], 1, "failed"),
        ([401], 1, "failed"),
        ([200], 1, "accepted"),
    ],
)
def test_what_is_sent_again_is_what_the_documentation_says(
    statuses: list[int], attempts: int, state: str, there: Yard, kernel: Fleet, receiver: Receiver
) -> None:
    Webhooks(kernel.client).create(receiver.url, EVERY)
    receiver.statuses = list(statuses)

    there.sandbox.notify("low_credit", "Low", "Your balance is low", {"balance": 1.0})

    assert there.sandbox.wait_for_deliveries()
    (delivery,) = there.sandbox.deliveries
    assert (delivery["attempts"], delivery["state"]) == (statuses[:attempts], state)
    assert [headers["X-Vast-Delivery-Attempt"] for headers, _ in receiver.seen] == [str(n + 1) for n in range(attempts)]
    assert len({body for _, body in receiver.seen}) == 1


def test_a_test_delivery_is_not_sent_again_and_nothing_leaves_this_computer(
    there: Yard, kernel: Fleet, receiver: Receiver
) -> None:
    hooks = Webhooks(kernel.client)
    receiver.statuses = [500]
    hooks.test(hooks.create(receiver.url, EVERY))
    hooks.test(hooks.create("https://example.com/x", EVERY))

    assert there.sandbox.wait_for_deliveries()
    assert [(d["attempts"], d["state"]) for d in there.sandbox.deliveries] == [([500], "failed"), ([403], "failed")]


def test_details_that_are_too_long_are_dropped_and_said_to_be(there: Yard, kernel: Fleet, receiver: Receiver) -> None:
    Webhooks(kernel.client).create(receiver.url, EVERY)

    there.sandbox.notify("low_credit", data={"x": "x" * 5000})

    assert there.sandbox.wait_for_deliveries()
    content = json.loads(receiver.seen[0][1])
    assert (content["data"], content["data_truncated"]) == (None, True)


def test_the_life_of_a_machine_is_told(there: Yard, kernel: Fleet, receiver: Receiver) -> None:
    before = rented(there, kernel)
    Webhooks(kernel.client).create(receiver.url, EVERY)
    before.destroy()
    machine = rented(there, kernel)
    there.sandbox.outbid(machine.id)
    there.pause(120)
    machine.refresh().change_bid(machine.record.min_bid_usd_per_hour * 1.01)  # type: ignore[union-attr, operator]
    there.pause(600)
    machine.refresh().stop()
    there.pause(60)
    machine.start()
    there.pause(600)
    there.sandbox.offline(machine.id)
    there.pause(60)

    assert there.sandbox.wait_for_deliveries()
    assert receiver.slugs == [
        "instance_created", "instance_started", "outbid", "instance_started", "instance_stopped", "instance_started", "instance_offline",
    ]  # fmt: skip
    contents = [json.loads(body) for _, body in receiver.seen]
    assert {content["data"]["instance_id"] for content in contents} == {machine.id}
    assert [content["timestamp"] for content in contents] == sorted(content["timestamp"] for content in contents)


def test_one_long_step_tells_the_same_as_many_short_ones(tmp_path: Path, receiver: Receiver) -> None:
    told = []
    for steps in (1, 48):
        with yard(tmp_path / str(steps)) as made:
            kernel = made.kernel()
            Webhooks(kernel.client).create(receiver.url, EVERY)
            rented(made, kernel)
            for _ in range(steps):
                made.pause(48 * 3600 / steps)
            assert made.sandbox.wait_for_deliveries()
        told.append([(json.loads(b)["notif_type"], json.loads(b)["timestamp"]) for _, b in receiver.seen])
        receiver.seen.clear()

    assert told[0] == told[1]
    assert len(told[0]) >= 2


def test_low_credit_is_told_once(tmp_path: Path, receiver: Receiver) -> None:
    with yard(tmp_path, credit_usd=5.05) as poor:
        kernel = poor.kernel()
        Webhooks(kernel.client).create(receiver.url, ["client:low_credit"])
        rented(poor, kernel)
        for _ in range(5):
            poor.pause(3600)
        assert poor.sandbox.wait_for_deliveries()

    assert receiver.slugs == ["low_credit"]


def test_notify_works_over_http_too(there: Yard, kernel: Fleet, receiver: Receiver) -> None:
    Webhooks(kernel.client).create(receiver.url, ["client:upcoming_downtime"])
    body = json.dumps({"notif_type": "upcoming_downtime", "subject": "Soon"}).encode()
    headers = {"Authorization": f"Bearer {there.sandbox.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{there.sandbox.url}/_sandbox/notify", body, headers)

    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200

    assert there.sandbox.wait_for_deliveries()
    assert receiver.slugs == ["upcoming_downtime"]
    with pytest.raises(ValueError, match="notif_type must be one of"):
        there.sandbox.notify("nonsense")


# --- end to end ---------------------------------------------------------------------------------------------------------


def test_outbid_is_delivered_handled_and_bid_again_within_the_cap(
    there: Yard, kernel: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_current", session.Session(kernel.client.settings, kernel.client, there.sandbox))
    server = Server(Endpoint(kernel.client))
    hooks = Webhooks(kernel.client)
    hooks.create(server.start(), EVERY)
    machine = rented(there, kernel)
    bus = default_bus()
    bus.on(["instance.outbid"], rebid(max_usd_per_hour=50.0), name="rebid")

    there.sandbox.outbid(machine.id)
    there.pause(60)

    assert there.sandbox.wait_for_deliveries()
    bus.wake()
    assert bus.wait(30)
    there.pause(600)
    assert there.sandbox.wait_for_deliveries()
    assert machine.refresh().state == "running"
    kinds = [row["kind"] for row in reversed(bus.queue.rows())]
    assert kinds == ["instance.created", "instance.running", "instance.outbid", "instance.running"]
    assert {row["subject"] for row in bus.queue.rows()} == {str(machine.id)}
    bus.close()
    server.stop()
