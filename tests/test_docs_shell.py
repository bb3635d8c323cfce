"""Every line of the pages' ``sh`` blocks is typed into a real shell, on a sandbox; of those that cannot be, where they run is said."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_docs import ROOT, blocks

from vastnb import Sandbox
from vastnb.api.commands import COMMANDS, parser_for

RUN, TEST = (
    re.search(rf"^python3 -m venv .*{end}$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)[0]
    for end in ("vastnb lab", "-m tests")
)
CI = "`.ci/run` is this, on a bare machine"
HAND = "minutes or an hour, and the package index: the page says when somebody runs it"
SYSTEM = "it changes the session of whoever runs the tests; the unit that it starts is verified below"
INSTALLED = "the package index: the campaign below types it"
ELSEWHERE = {
    RUN: INSTALLED,
    TEST: CI,
    TEST.partition(" && ")[2]: CI,
    "sudo apt-get install -y git python3-venv": CI,
    'pip install "vastnb[history]"': INSTALLED,
    'pip install "vastnb[redis]"': INSTALLED,
    "systemctl --user enable --now vastnb-sync": SYSTEM,
    "loginctl enable-linger": SYSTEM,
    "journalctl --user -u vastnb-sync": SYSTEM,
    "python -m tests.release --draft": HAND,
    "python -m tests.versions lowest": HAND,
    "python -m tests.versions httpx2": HAND,
    "python -m tests.browser.kernels": HAND,
    "python -m pytest -q -m campaign tests": HAND,
    "python -m pytest -m campaign tests/browser/test_binder.py": HAND,
    "python -m pytest -m campaign tests/browser/test_environments.py": HAND,
}
"""Lines that are not typed here, and where they are."""

MEASURING = {
    line for block in blocks("sh") for line in re.findall(r"^python tests/benchmarks/\w+\.py", block, re.MULTILINE)
}
"""Minutes each: a campaign below runs them."""

SERVING = {
    "vastnb lab": ("To access the server", signal.SIGTERM),
    "vastnb sandbox": ("The sandbox is open until Ctrl-C.", signal.SIGINT),
    "vastnb sync --handlers": ("Watching every 30 s until Ctrl-C.", signal.SIGINT),
    "vastnb webhook serve": ("Deliveries are taken at http://127.0.0.1:8787/webhook", signal.SIGINT),
}
"""Lines that stay: what they say when they are ready, and what ends them."""

STATUS = {"vastnb sync --status": 1}
"""Exit statuses that the pages promise: nobody looks here."""


@pytest.fixture
def typing(private_home: Path) -> Iterator[dict[str, str]]:
    """The variables of a shell in which `vastnb` is found and means a sandbox whose clock runs."""
    (private_home / "my_handlers.py").write_text("import vastnb\n\nvastnb.on('instance.outbid')(print)\n")
    jupyter = {f"JUPYTER_{kind}_DIR": str(private_home / "jupyter") for kind in ("CONFIG", "DATA", "RUNTIME")}
    with Sandbox(offers=600, seed=7, start="2026-06-01T09:00") as sandbox:
        sandbox.clock.run(600)
        yield os.environ | jupyter | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "BROWSER": "true",
            "VAST_URL": sandbox.url, "VAST_API_KEY": sandbox.api_key,
        }  # fmt: skip


def lines(block: str) -> list[str]:
    """What is typed, without what is remarked on it."""
    return [line.partition(" #")[0].strip() for line in block.splitlines()]


def shell(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: lines(block)[0])
def test_what_the_pages_say_to_type_can_be_typed(block: str, typing: dict[str, str]) -> None:
    for line in lines(block):
        waited = next((waited for start, waited in SERVING.items() if line.startswith(start)), None)
        if waited and line not in ELSEWHERE:
            serve(line, *waited, typing)
        elif line not in ELSEWHERE and line not in MEASURING:
            done = shell(line, env=typing, timeout=120)
            assert done.returncode == STATUS.get(line, 0), done.stdout + done.stderr


def serve(line: str, ready: str, ending: signal.Signals, env: dict[str, str]) -> None:
    """Start what stays until it is ended; wait until it is ready, end all of it as a terminal does, and see it go."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {line}"], env=env, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        late = threading.Timer(90, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        said = process.stdout.readline()
        while ready not in said and (heard := process.stdout.readline()):
            said += heard
        os.killpg(process.pid, ending)
        said += process.stdout.read()
        late.cancel()
    assert ready in said, said
    assert process.returncode in (0, 130, -signal.SIGTERM), said


def test_only_lines_of_the_pages_are_said_to_run_elsewhere() -> None:
    assert set(ELSEWHERE) <= {line for block in blocks("sh") for line in lines(block)}


def test_what_ci_types_is_the_readmes_own_line() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    assert re.search(re.search(r"grep -E '([^']+)' README.md", script)[1], TEST)
    assert all(name in script for name in ("apt-get install", "git", "python3-venv"))


@pytest.mark.parametrize("line", [line for line in ELSEWHERE if line.startswith("python -m")])
def test_what_is_run_by_hand_is_there(line: str) -> None:
    words = [word for word in shlex.split(line) if word.startswith("tests")]
    path = ROOT / words[0].replace(".py", "").replace(".", "/")
    assert path.is_dir() or path.with_suffix(".py").is_file()


def test_no_line_to_type_hides_in_a_block_of_text() -> None:
    programs = {line.split()[0] for block in blocks("sh") for line in lines(block)} | {
        "curl",
        "docker",
        "export",
        "ssh",
    }
    found = [line for block in blocks("text") for line in block.splitlines() if line.partition(" ")[0] in programs]
    assert found == []


def test_the_unit_for_systemd_is_one(private_home: Path) -> None:
    (unit,) = blocks("ini")
    path = private_home / "vastnb-sync.service"
    path.write_text(unit)
    read = configparser.RawConfigParser()
    read.optionxform = str
    read.read(path)

    program, word, *words = shlex.split(read["Service"]["ExecStart"])
    assert program.endswith("/vastnb")
    parser_for(COMMANDS[word]).parse_intermixed_args(words)
    if shutil.which("systemd-analyze"):
        (private_home / ".local/bin").mkdir(parents=True)
        (private_home / ".local/bin/vastnb").symlink_to(Path(sys.executable).parent / "vastnb")
        done = shell(f"systemd-analyze --user verify {path}", env=os.environ | {"XDG_RUNTIME_DIR": str(private_home)})
        assert (done.returncode, path.name in done.stderr) == (0, False), done.stderr


@pytest.mark.campaign
def test_a_strangers_first_lines(typing: dict[str, str], private_home: Path) -> None:
    """The README's line in a copy of the checkout, and what other pages add to its environment."""
    copy = private_home / "vastnb"
    listed = shell("git ls-files -z --cached --others --exclude-standard", cwd=ROOT).stdout.split("\0")
    for name in filter(None, listed):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    install, _, last = RUN.rpartition(" && ")
    env = typing | {"PATH": f"{copy / '.venv/bin'}:{typing['PATH']}"}

    done = shell(install, cwd=copy, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    serve(f"{copy}/{last}", *SERVING["vastnb lab"], env)
    for line in (line for line in ELSEWHERE if line.startswith("pip install")):
        done = shell(line, env=env)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.campaign
@pytest.mark.parametrize("line", sorted(MEASURING))
def test_the_figures_of_the_pages_can_be_measured(line: str, typing: dict[str, str]) -> None:
    env = {name: value for name, value in typing.items() if not name.startswith("VAST")}
    done = shell(line, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
