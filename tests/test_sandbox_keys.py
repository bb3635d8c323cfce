"""The sandbox's keys, variables, logs and templates: over HTTP, and by the official client, unchanged."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vastnb.sandbox import Sandbox
from vastnb.sandbox.books import FIRST_SSH_KEY_ID
from vastnb.sandbox.machines import Machines

START = "2026-06-01T12:00:00Z"
SECRET = "key-of-the-account"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA0 me@laptop"
OTHER_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAA1 me@desk"


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(url: str, method: str, body: Any = None, **headers: str) -> Reply:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=20)
    try:
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        connection.request(method, url.removeprefix(f"{parts.scheme}://{parts.netloc}"), data, headers)
        response = connection.getresponse()
        return Reply(response.status, response.read())
    finally:
        connection.close()


def ask(sandbox: Sandbox, method: str, path: str, body: Any = None, *, key: str = SECRET) -> Reply:
    return send(sandbox.url + path, method, body, Authorization=f"Bearer {key}")


def rent(sandbox: Sandbox, **more: Any) -> int:
    """Rent the cheapest offer, and let it run."""
    offer = sandbox.offers({"order": [["dph_total", "asc"]], "rentable": {"eq": True}})[0]
    body = {"image": "ubuntu:24.04", "disk": 10, "runtype": "ssh_direct"} | more
    answer = ask(sandbox, "PUT", f"/api/v0/asks/{offer['id']}/", body).json
    sandbox.clock.step(minutes=30)
    return int(answer["new_contract"])


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Look again and again at what another process does."""
    give_up_at, pause = time.monotonic() + timeout_s, threading.Event()
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come"
        pause.wait(0.01)


def stop(sandbox: Sandbox, number: int) -> None:
    assert ask(sandbox, "PUT", f"/api/v0/instances/{number}/", {"state": "stopped"}).status == 200
    sandbox.clock.step(minutes=5)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(offers=60, seed=5, start=START, api_key=SECRET) as sandbox:
        yield sandbox


# Logs.


def uploaded(url: str) -> str:
    """Fetch a file that was just uploaded: the first time it is not there yet."""
    assert send(url, "GET").status == 404
    reply = send(url, "GET")
    assert reply.status == 200 and reply == send(url, "GET")
    return reply.body.decode()


def logs(sandbox: Sandbox, number: int, **body: Any) -> str:
    reply = ask(sandbox, "PUT", f"/api/v0/instances/request_logs/{number}/", body)
    assert reply.status == 200 and reply.json["success"] is True
    return uploaded(reply.json["result_url"])


def test_the_log_of_a_made_up_machine_tells_its_life(sandbox: Sandbox) -> None:
    number = rent(sandbox, onstart="echo hello", runtype="jupyter_direct ssh_direct")
    first = logs(sandbox, number)
    assert first.splitlines() == [
        f"C.{number}: starting ubuntu:24.04",
        "Starting OpenBSD Secure Shell server: sshd.",
        "Jupyter Server is running at port 8080",
        "running /root/onstart.sh",
        "onstart.sh: done",
    ]
    stop(sandbox, number)

    assert logs(sandbox, number) == first + "received SIGTERM\n"
    assert logs(sandbox, number, tail="2") == "onstart.sh: done\nreceived SIGTERM\n"
    assert logs(sandbox, number, filter="onstart", tail=1) == "onstart.sh: done\n"
    assert logs(sandbox, number, filter="s.hd|SIG") == (
        "Starting OpenBSD Secure Shell server: sshd.\nreceived SIGTERM\n"
    )
    assert logs(sandbox, number, filter="(") == ""
    daemon = logs(sandbox, number, daemon_logs="true").splitlines()
    assert daemon[0] == "2026-06-01T12:00:00.000Z contract accepted"
    assert [line.split(" ", 1)[1] for line in daemon] == [
        "contract accepted",
        "docker create ubuntu:24.04",
        "docker pull ubuntu:24.04",
        f"docker start C.{number}",
        f"docker stop C.{number}",
        f"C.{number} exited",
        f"C.{number} is stopped",
    ]


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_the_log_of_a_real_machine_is_what_its_processes_print() -> None:
    script = "seq 1500; printf '\\377 odd'; sleep 600"
    with Sandbox(offers=30, start=START, api_key=SECRET, machines=Machines()) as sandbox:
        number = rent(sandbox, onstart=script)
        until(lambda: logs(sandbox, number, tail=1) == "\N{REPLACEMENT CHARACTER} odd")
        stop(sandbox, number)
        lines = [str(n) for n in range(1, 1501)]
        assert logs(sandbox, number, tail="5000").splitlines() == [*lines, "\N{REPLACEMENT CHARACTER} odd"]
        assert logs(sandbox, number).splitlines() == [*lines[-999:], "\N{REPLACEMENT CHARACTER} odd"]
        assert logs(sandbox, number, filter="^14.9$", tail=3).split() == ["1479", "1489", "1499"]
        assert logs(sandbox, number, daemon_logs="true").startswith("2026-06-01T12:00:00.000Z contract accepted")


def test_a_signed_url_is_foreign_needs_no_key_and_refuses_one(sandbox: Sandbox) -> None:
    url = ask(sandbox, "PUT", f"/api/v0/instances/request_logs/{rent(sandbox)}/", {}).json["result_url"]
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname == "localhost" and not url.startswith(sandbox.url)
    assert (parts.port, parts.path[:23]) == (int(sandbox.url.rsplit(":", 1)[1]), "/vast.ai/instance_logs/")

    sandbox.log.clear()
    leaked = send(url, "GET", Authorization=f"Bearer {SECRET}")
    assert leaked.status == 400 and b"Only one auth mechanism allowed" in leaked.body
    assert [record.key_digest is not None for record in sandbox.log] == [True]
    forged, odd = (url.replace("Signature=", f"Signature={mark}") for mark in ("x", "%C3%A9"))
    assert send(forged, "GET").status == send(odd, "GET").status == send(url.partition("?")[0], "GET").status == 403
    assert uploaded(url)
    sandbox.clock.step(hours=2)
    assert send(url, "GET").status == 403
    assert parts.query.split("Signature=")[1][:20] not in repr(sandbox.log)


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("request_logs/1", {}, 404, "invalid_id"),
        ("request_logs/abc", {}, 404, "invalid_id"),
        ("request_logs/{}", {"tail": "-3"}, 400, "invalid_args"),
        ("request_logs/{}", b"[", 400, "invalid_args"),
        ("command/1", {"command": "ls"}, 400, "invalid_container_id"),
        ("command/{}", {"command": "ls"}, 400, "invalid_container"),
        ("command/{}", {"command": "cat /etc/passwd"}, 400, "invalid_args"),
        ("command/{}", {"command": "ls 'unbalanced"}, 400, "invalid_args"),
        ("command/{}", {"command": "ls " + "x" * 600}, 400, "invalid_args"),
        ("command/{}", {"command": 7}, 400, "invalid_args"),
        ("command/{}", b"ls", 483, "invalid_args"),
    ],
)
def test_logs_and_commands_are_refused_as_documented(
    sandbox: Sandbox, path: str, body: Any, status: int, error: str
) -> None:
    reply = ask(sandbox, "PUT", f"/api/v0/instances/{path.format(rent(sandbox))}/", body)
    assert (reply.status, reply.json["error"]) == (status, error)


def test_another_accounts_machine_is_none(sandbox: Sandbox) -> None:
    number, key = rent(sandbox), sandbox.add_account()
    for method, path, status in (
        ("PUT", f"/api/v0/instances/request_logs/{number}/", 404),
        ("PUT", f"/api/v0/instances/command/{number}/", 400),
        ("GET", f"/api/v0/instances/{number}/ssh/", 404),
        ("POST", f"/api/v0/instances/{number}/ssh/", 404),
        ("DELETE", f"/api/v0/instances/{number}/ssh/1/", 404),
    ):
        body = None if method == "GET" else {"command": "ls", "ssh_key": KEY}
        assert ask(sandbox, method, path, body, key=key).status == status, path


# Commands.


def execute(sandbox: Sandbox, number: int, command: str) -> tuple[int, str]:
    """Run a command as the official client does, and return status and text."""
    reply = ask(sandbox, "PUT", f"/api/v0/instances/command/{number}/", {"command": command})
    if reply.status != 200:
        return reply.status, reply.json["error"]
    return 200, uploaded(reply.json["result_url"]).replace(reply.json["writeable_path"], "")


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_commands_run_on_the_disk_of_a_stopped_machine_and_nowhere_else(tmp_path: Path) -> None:
    machines, outside = Machines(), tmp_path / "precious"
    outside.write_text("x")
    with Sandbox(offers=30, start=START, api_key=SECRET, machines=machines) as sandbox:
        number = rent(sandbox)
        stop(sandbox, number)
        machines.settle()
        disk = machines.disk(number)
        assert disk is not None
        (disk / "workspace" / "out").mkdir()
        (disk / "workspace" / "out" / "a file").write_text("x")
        (disk / "way").symlink_to(tmp_path)
        (disk / "circle").symlink_to("circle")

        assert execute(sandbox, number, "ls") == (200, "circle\nroot\ntmp\nway\nworkspace\n")
        assert execute(sandbox, number, "ls /workspace/out") == (200, "a file\n")
        assert execute(sandbox, number, "du -d0 workspace")[1].endswith("\t/workspace\n")
        assert execute(sandbox, number, "rm 'workspace/out/a file'") == (200, "")
        assert "No such file" in execute(sandbox, number, "ls workspace/gone")[1]
        for refused in (
            f"rm {outside}",
            "rm -r ../../..",
            "rm way/precious",
            "ls circle/x",
            "ls --hide=x",
            "du --files0-from=/etc/passwd",
            "ls; rm -r /",
        ):
            status, said = execute(sandbox, number, refused)
            assert (status, said) == (400, "invalid_args") or "No such file" in said, refused
        assert outside.exists() and {p.name for p in disk.iterdir()} == {"circle", "root", "tmp", "way", "workspace"}
        assert execute(sandbox, number, "rm -rf /") == (200, "")
        ask(sandbox, "PUT", f"/api/v0/instances/{number}/", {"state": "running"})
        sandbox.clock.step(minutes=5)
        assert sorted(p.name for p in disk.iterdir()) == ["root", "tmp", "workspace"]


def test_commands_on_a_made_up_machine_see_a_new_disk(sandbox: Sandbox) -> None:
    number = rent(sandbox)
    stop(sandbox, number)
    assert execute(sandbox, number, "ls -l /")[1].split()[:3] == ["bin", "boot", "dev"]
    assert execute(sandbox, number, "ls /root /nothing")[1].splitlines() == [
        "onstart.sh",
        "ls: cannot access 'nothing': No such file or directory",
    ]
    assert execute(sandbox, number, "du -h workspace") == (200, "4\tworkspace\n")


# Public keys.


def attached(sandbox: Sandbox, number: int) -> list[str]:
    reply = ask(sandbox, "GET", f"/api/v0/instances/{number}/ssh/").json
    assert reply["success"] is True
    return [row["public_key"] for row in json.loads(reply["ssh_keys"])]


def test_a_public_key_reaches_the_machines_that_are_rented_after_it(sandbox: Sandbox) -> None:
    before = rent(sandbox)
    made = ask(sandbox, "POST", "/api/v0/ssh/", {"ssh_key": f" {KEY}\n"}).json
    after = rent(sandbox)

    assert made == {
        "success": True,
        "key": {
            "id": made["key"]["id"],
            "user_id": ask(sandbox, "GET", "/api/v0/users/current/").json["id"],
            "public_key": KEY,
            "created_at": "2026-06-01T12:30:00Z",
            "deleted_at": None,
        },
    }
    assert (attached(sandbox, before), attached(sandbox, after)) == ([], [KEY])

    number = made["key"]["id"]
    assert ask(sandbox, "PUT", f"/api/v0/ssh/{number}/", {"id": number, "ssh_key": OTHER_KEY}).json["success"]
    assert [(r["id"], r["key"]) for r in ask(sandbox, "GET", "/api/v0/ssh/").json] == [(number, OTHER_KEY)]
    assert attached(sandbox, after) == [KEY]
    assert ask(sandbox, "DELETE", f"/api/v0/ssh/{number}/").json == {"success": True}
    assert ask(sandbox, "GET", "/api/v0/ssh/").status == 404
    assert ask(sandbox, "DELETE", f"/api/v0/ssh/{number}/").json["error"] == "no_ssh_key"
    again = ask(sandbox, "POST", "/api/v0/ssh/", {"ssh_key": KEY}).json["key"]["id"]
    assert again > number


def test_a_key_is_attached_to_a_machine_and_detached(sandbox: Sandbox) -> None:
    number = rent(sandbox)
    known = ask(sandbox, "POST", "/api/v0/ssh/", {"ssh_key": KEY}).json["key"]["id"]
    path = f"/api/v0/instances/{number}/ssh/"
    assert ask(sandbox, "POST", path, {"ssh_key": KEY}).json["success"]
    assert ask(sandbox, "POST", path, {"ssh_key": OTHER_KEY}).json["success"]
    assert attached(sandbox, number) == [KEY, OTHER_KEY]
    assert ask(sandbox, "DELETE", f"{path}{known}/").json["success"]
    assert attached(sandbox, number) == [OTHER_KEY]
    assert ask(sandbox, "DELETE", f"{path}{known}/").json["error"] == "no_such_ssh_key"


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (None, "no_ssh_key"),
        ("", "no_ssh_key"),
        ("id_ed25519.pub", "invalid_ssh_key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "invalid_ssh_key"),
        (f"{KEY}\n{OTHER_KEY}", "invalid_ssh_key"),
        (["ssh-rsa AAAA"], "invalid_ssh_key"),
    ],
)
def test_what_is_no_public_key_is_refused(sandbox: Sandbox, key: Any, error: str) -> None:
    reply = ask(sandbox, "POST", "/api/v0/ssh/", {"ssh_key": key})
    assert (reply.status, reply.json["error"]) == (400, error)
    assert b"PRIVATE" not in reply.body and ask(sandbox, "GET", "/api/v0/ssh/").status == 404


# Variables and API keys.


def test_variables_are_kept_in_capitals_changed_and_removed(sandbox: Sandbox) -> None:
    path = "/api/v0/secrets/"
    for method, body, status, error in (
        ("POST", {"key": "hf_token", "value": "hf_1"}, 200, None),
        ("POST", {"key": "HF_TOKEN", "value": "hf_2"}, 400, "existing_key"),
        ("POST", {"key": "x"}, 400, "missing_input"),
        ("POST", {"key": "1x", "value": "a"}, 400, "invalid_characters"),
        ("POST", {"key": "x", "value": "a b"}, 400, "invalid_characters"),
        ("POST", {"key": "x", "value": "a" * 5000}, 400, "input_too_long"),
        ("PUT", {"key": "hf_token", "value": "hf_3"}, 200, None),
        ("PUT", {"key": "other", "value": "hf_3"}, 400, "nonexistent_key"),
        ("POST", {"key": "WANDB", "value": "w"}, 200, None),
        ("DELETE", {"key": "wandb"}, 200, None),
        ("DELETE", {"key": "wandb"}, 400, "nonexistent_key"),
        ("DELETE", {}, 400, "missing_input"),
    ):
        reply = ask(sandbox, method, path, body)
        assert (reply.status, reply.json.get("error")) == (status, error), (method, body)
    assert ask(sandbox, "GET", path).json == {"success": True, "secrets": {"HF_TOKEN": "hf_3"}}
    assert ask(sandbox, "GET", path, key=sandbox.add_account()).json["secrets"] == {}


def test_there_is_an_end_to_the_number_of_variables(sandbox: Sandbox) -> None:
    replies = [ask(sandbox, "POST", "/api/v0/secrets/", {"key": f"V{n}", "value": "1"}) for n in range(101)]
    assert {reply.status for reply in replies[:-1]} == {200} and replies[-1].json["error"] == "max_secrets"


def test_an_api_key_acts_for_its_account_until_it_is_deleted(sandbox: Sandbox) -> None:
    path, other = "/api/v0/auth/apikeys/", sandbox.add_account(credit_usd=7)
    made = ask(sandbox, "POST", path, {"name": "ci", "permissions": {"api": {"misc": {}}}}).json

    assert made["permissions"] == {"api": {"misc": {}}} and len(made["key"]) == 64
    user, same = (ask(sandbox, "GET", "/api/v0/users/current/", key=key).json for key in (SECRET, made["key"]))
    assert same == user | {"key_id": made["id"]}
    rows = ask(sandbox, "GET", path).json["apikeys"]
    assert [(row["id"], row["user_id"]) for row in rows] == [(1, user["id"]), (made["id"], user["id"])]
    assert made["key"] not in json.dumps(rows)
    assert ask(sandbox, "GET", f"{path}{made['id']}/").json == rows[1]
    assert len(sandbox.books.accounts()) == 2

    assert ask(sandbox, "DELETE", f"{path}{made['id']}/", key=other).status == 404
    assert ask(sandbox, "DELETE", f"{path}{made['id']}/").json == "Successfully Deleted API Key"
    assert ask(sandbox, "GET", "/api/v0/users/current/", key=made["key"]).status == 404
    assert ask(sandbox, "DELETE", f"{path}{made['id']}/").status == 404
    assert ask(sandbox, "POST", path, {}).status == ask(sandbox, "DELETE", f"{path}x/").status == 400
    assert ask(sandbox, "POST", path, {"name": "x", "permissions": "all"}).json["error"] == "invalid_permissions"


# Templates.


def test_a_template_is_made_listed_rented_by_and_deleted(sandbox: Sandbox) -> None:
    path, other = "/api/v0/template/", sandbox.add_account()
    body = {"name": "mine", "image": "pytorch/pytorch:2.6.0", "env": "-e A=1 -e B=2 -p 80:80", "private": True}
    body |= {"onstart": "echo on", "runtype": "ssh", "recommended_disk_space": "24", "readme": None}
    made = ask(sandbox, "POST", path, body).json

    assert made["msg"] == f"Template Created Successfully! New Template ID: {made['template']['id']}"
    assert ask(sandbox, "POST", path, body).json["template"] == made["template"]
    query = "?select_filters=" + urllib.parse.quote('{"name": {"eq": "mine"}}')
    (row,) = ask(sandbox, "GET", path + query).json["templates"]
    public = ask(sandbox, "GET", path, key=other).json["templates"]
    assert set(row) == set(public[0]) and all(one["name"] != "mine" for one in public)
    assert (row["image"], row["tag"], row["recommended_disk_space"]) == ("pytorch/pytorch", "2.6.0", 24.0)

    number = rent(sandbox, image=None, disk=None, runtype=None, template_hash_id=row["hash_id"], env={"B": "3"})
    (rented,) = [one for one in sandbox.instances if one["id"] == number]
    assert rented["image_uuid"] == "pytorch/pytorch:2.6.0" and rented["disk_space"] == 24.0
    assert rented["extra_env"] == [["A", "1"], ["B", "3"], ["-p 80:80", "1"]]
    assert (rented["onstart"], rented["template_id"]) == ("echo on", made["template"]["id"])

    gone = {"template_id": made["template"]["id"]}
    assert ask(sandbox, "DELETE", path, gone, key=other).status == 404
    assert ask(sandbox, "DELETE", path, gone).json == {"success": True}
    assert ask(sandbox, "DELETE", path, {"hash_id": row["hash_id"]}).status == 404
    assert ask(sandbox, "GET", path + query).json["templates"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        {"image": "x"},
        {"name": " ", "image": "x"},
        {"name": "x", "image": 3},
        {"name": "x", "image": "x", "recommended_disk_space": "much"},
        {"name": "x", "image": "x", "onstart": ["echo"]},
        {"name": "x", "image": "x", "extra_filters": "gpu_ram>=24"},
    ],
)
def test_a_template_that_cannot_be_meant_is_refused(sandbox: Sandbox, body: Any) -> None:
    reply = ask(sandbox, "POST", "/api/v0/template/", body)
    assert (reply.status, reply.json["error"]) == (400, "invalid_args")


# The official client, unchanged.


_CLI = """
import json, os, sys
from vastai.cli.main import main
for words in json.loads(sys.argv[1]):
    if os.fork() == 0:
        sys.argv = ["vastai", *words]
        sys.exit(main())
    if os.wait()[1]:
        sys.exit(" ".join(words))
    print("\\0", flush=True)
"""


def cli(sandbox: Sandbox, home: Path, *commands: list[str]) -> list[str]:
    """Run commands of the official CLI with a home of its own, and return what each printed.

    Each runs in a fork of one process, for most of a start of the CLI is imports.
    """
    environment = {name: text for name, text in os.environ.items() if not name.startswith("VAST")}
    environment |= {"HOME": str(home), "VASTAI_NO_UPDATE_CHECK": "1", "NO_COLOR": "1", "COLUMNS": "400"}
    environment |= {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "STATE", "DATA")}
    environment |= {"VAST_URL": sandbox.url, "VAST_API_KEY": SECRET, "PYTHONIOENCODING": "utf-8"}
    program = [sys.executable, "-c", _CLI, json.dumps(commands)]
    run = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0 and "Traceback" not in run.stderr, (run.stdout, run.stderr)
    return run.stdout.split("\0\n")[:-1]


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_the_official_cli_drives_keys_variables_and_logs(sandbox: Sandbox, tmp_path: Path) -> None:
    pytest.importorskip("vastai", reason="the official client is not installed")
    number = rent(sandbox, onstart="echo hello")
    created, listed, attached_, deleted, _, variables, printed, templates, made = cli(
        sandbox,
        tmp_path,
        ["create", "ssh-key", KEY],
        ["show", "ssh-keys", "--raw"],
        ["attach", "ssh", str(number), OTHER_KEY],
        ["delete", "ssh-key", str(FIRST_SSH_KEY_ID)],
        ["create", "env-var", "hf_token", "hf_1"],
        ["show", "env-vars", "-s"],
        ["logs", str(number), "--tail", "2"],
        ["search", "templates", "name=ComfyUI"],
        ["create", "template", "--name", "mine", "--image", "ubuntu:24.04", "--ssh", "--disk_space", "16.0"],
    )

    assert "'success': True" in created
    assert [(row["id"], row["key"]) for row in json.loads(listed)] == [(FIRST_SSH_KEY_ID, KEY)]
    assert "attached successfully" in attached_ and attached(sandbox, number) == [OTHER_KEY]
    assert deleted.strip() == "{'success': True}" and ask(sandbox, "GET", "/api/v0/ssh/").status == 404
    assert variables.splitlines()[:2] == ["Name: HF_TOKEN", "Value: hf_1"]
    assert printed.rstrip().splitlines()[-2:] == ["running /root/onstart.sh", "onstart.sh: done"]
    assert "vastai/comfy" in templates and "New Template: {" in made


def test_the_official_sdk_executes_and_reads_logs(sandbox: Sandbox) -> None:
    vastai = pytest.importorskip("vastai", reason="the official client is not installed")
    client = vastai.VastAI(api_key=SECRET, server_url=sandbox.url)
    number = rent(sandbox)
    assert "docker start" in client.logs(number, daemon_logs=True, filter="start")
    stop(sandbox, number)
    assert client.execute(number, "ls /root") == "onstart.sh\n"
    made = client.create_api_key("ci", permissions={"api": {"misc": {}}})
    assert [row["id"] for row in client.show_api_keys()] == [1, made["id"]]
