"""``%%vast run`` in a real IPython shell: a cell's body runs in a machine's Python, and what it shows is shown here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from remote_ground import require_programs

import vastnb
from vastnb.errors import CellError, CommandError, NotFoundError


def launched() -> Any:
    """A machine called ``work`` that runs."""
    machine: Any = vastnb.launch("num_gpus=1", name="work", max_hours=5)
    return machine.wait()


@pytest.fixture
def work(ip: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A machine called ``work`` with this Python, in a sandbox of this process."""
    require_programs()
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    vastnb.use("sandbox", offers=100, start="2026-06-01", machines=True)
    yield launched()
    ip.run_line_magic("vast", "run work --end-kernel")
    vastnb.use("sandbox", offers=100, start="2026-06-01")


def failure(ip: Any, line: str, cell: str = "1") -> Any:
    """What a cell of the notebook raises."""
    return ip.run_cell(f"%%vast {line}\n{cell}").error_in_exec


def test_values_go_and_come_and_what_the_cell_shows_is_shown(
    work: Any, ip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ip.user_ns["frame"], ip.user_ns["factor"] = pd.DataFrame({"a": [1, 2]}), 3
    body = """
import sys
from IPython.display import clear_output, display, Image
print("printed $factor {factor}")
print("told", file=sys.stderr)
scaled, total = frame * factor, int(frame.a.sum())
handle = display({"image/png": "iVBORw0KGgo=", "text/plain": "<picture>"}, raw=True, display_id=True)
handle.update({"text/plain": "<other picture>"}, raw=True)
display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "<slider>"}, raw=True)
clear_output(wait=True)
scaled
"""
    shown: list[tuple[Any, bool]] = []
    ip.display_pub.publish = lambda data, metadata=None, *, update=False, **_: shown.append((data, update))
    result = ip.run_cell(f"%%vast run work --push frame,factor --pull scaled,total\n{body}")

    assert result.success
    pd.testing.assert_frame_equal(ip.user_ns["scaled"], pd.DataFrame({"a": [3, 6]}))
    assert ip.user_ns["total"] == 3 and "handle" not in ip.user_ns
    out, err = capsys.readouterr()
    assert "printed $factor {factor}\n" in out and "told\n" in err
    pictures = [(data["text/plain"], "image/png" in data, update) for data, update in shown[:3]]
    assert pictures == [("<picture>", True, False), ("<other picture>", False, True), ("<slider>", False, False)]
    assert all("widget" not in mime for data, _ in shown for mime in data)
    assert "<table" in shown[-1][0]["text/html"] and len(shown) == 4
    assert result.result.seconds > 0 and result.result.usd > 0 and result.result.values == {}
    assert repr(result.result) in out and " s, $" in repr(result.result)

    # The same connection and the same Python again; a line without a body brings a value of it home.
    assert failure(ip, "run work --pull handle").code == "not_carried"
    assert failure(ip, "run work --pull handle --pickle", "pass") is None
    assert ip.run_cell("%vast run work --pull total").success
    assert "A new Python" not in capsys.readouterr().out
    ip.run_cell("%%vast run work --kernel other\nprint('total' in globals())")
    assert "False\n" in capsys.readouterr().out
    ip.run_cell("%vast run work --kernel other --end-kernel")
    ip.run_cell(f"%%vast run work --kernel other --python {sys.executable}\nimport sys; print(sys.executable)")
    assert f"{sys.executable})." in (out := capsys.readouterr().out) and out.count(sys.executable) == 2
    ip.run_cell("%vast run work --kernel other --end-kernel")


def test_an_exception_is_short_and_the_machines_traceback_is_there_on_demand(
    work: Any, ip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    error = failure(ip, "run work", "def deep():\n    return {}['key']\ndeep()")
    assert isinstance(error, CellError)
    shown = capsys.readouterr().out
    assert "KeyError: 'key'" in shown and "line 2 of the cell" in shown
    assert "Traceback" not in shown and "deep()" not in shown
    ip.run_cell("%tb")
    assert "deep()" in re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)


def test_the_name_is_looked_up_again_when_its_machine_ended(
    work: Any, ip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ip.run_cell("%%vast run work\nx = 1").success
    work.destroy()
    assert isinstance(failure(ip, "run work"), NotFoundError)
    later = launched()
    assert later.id != work.id
    assert ip.run_cell("%%vast run work\nimport os; print(os.environ['CONTAINER_ID'])").success
    assert f"{later.id}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run work --push absent", "there is no absent here to push"),
        ("run work ls", "got both"),
        ("run work --shell --pull x", "got both"),
        ("run work --python python3 ls", "got both"),
        ("run work --detach", "are for commands of the shell"),
        ("run work --timeout 3", "are for commands of the shell"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_asked(ip: Any, line: str, said: str) -> None:
    error = failure(ip, line)
    assert isinstance(error, CommandError) and said in str(error)
