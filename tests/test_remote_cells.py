"""Cells on a machine, against a real ssh server and a real ipykernel: what they show, what goes and comes, and what breaks."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import tempfile
import threading
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from remote_ground import Cutter, Ground, processes, small_disk, until

from vastnb.errors import CellError, InputError, NotFoundError, NotRunningError, ReachError
from vastnb.services.remote.cells import Prices
from vastnb.services.remote.screen import Screen


@pytest.fixture(scope="module", autouse=True)
def _this_python() -> Iterator[None]:
    """Machines find this Python first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


class Notebook:
    """Runs cells on a machine and notes what they show."""

    opened: ClassVar[list[Notebook]] = []

    def __init__(self, ground: Ground, **how: Any) -> None:
        self.ground, self.how = ground, how
        self.machine = ground.again()
        self.opened.append(self)
        self.shown: list[tuple[str, dict[str, Any]]] = []

    def run(self, code: str, **how: Any) -> Any:
        self.shown.clear()
        return self.machine.cell(code, **{"on_message": lambda *told: self.shown.append(told), **self.how, **how})

    def value(self, name: str) -> Any:
        return self.run("", pull=[name]).values[name]

    @property
    def printed(self) -> str:
        return "".join(content["text"] for kind, content in self.shown if kind == "stream")

    @property
    def files(self) -> list[Path]:
        """What the machine keeps for its Pythons."""
        return [
            path for path in (self.ground.home / ".vastnb/kernels").rglob("*") if path.name.startswith(("in-", "out-"))
        ]


@pytest.fixture(autouse=True)
def _all_closed() -> Iterator[None]:
    yield
    while Notebook.opened:
        Notebook.opened.pop().machine.close_kernels()


@pytest.fixture
def notebook(shared: Ground) -> Notebook:
    """With the Python of this file's tests."""
    return Notebook(shared, kernel="tests")


@contextlib.contextmanager
def ctrl_c(when: Callable[[], Any], times: int = 1) -> Iterator[None]:
    """Inside, Ctrl-C is pressed as soon as something is so."""

    def press() -> None:
        until(when)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.5)

    thread = threading.Thread(target=press)
    thread.start()
    yield
    thread.join()


# What a cell shows.


def test_what_one_cell_defines_the_next_one_has_and_all_it_shows_is_told(notebook: Notebook) -> None:
    ran = notebook.run("x = 41\nprint('out')")
    assert notebook.printed.endswith("out\n")
    assert ran.seconds > 0 and ran.usd == pytest.approx(ran.seconds / 3600 * notebook.machine.usd_per_hour)

    notebook.run(
        "import sys\nfrom IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))\nprint('err', file=sys.stderr)\nx + 1"
    )

    told = {kind: content for kind, content in notebook.shown if kind != "status"}
    assert told["display_data"]["data"]["text/html"] == "<b>x</b>"
    assert told["stream"] == {"name": "stderr", "text": "err\n"}
    assert told["execute_result"]["data"] == {"text/plain": "42"}


def test_a_plot_of_the_machine_is_a_picture_here(notebook: Notebook) -> None:
    notebook.run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    (picture,) = [content["data"] for kind, content in notebook.shown if kind == "display_data"]
    assert picture["image/png"].startswith("iVBOR")


def test_huge_output_is_bounded_and_whole_in_a_file(notebook: Notebook) -> None:
    ran = notebook.run("for i in range(30_000): print('line', i)")
    assert 100_000 < len(notebook.printed) < 120_000
    assert notebook.printed.endswith("line 29999\n") and str(ran.file) in notebook.printed
    assert ran.file.read_text() == "".join(f"line {i}\n" for i in range(30_000))
    assert ran.file.stat().st_mode & 0o777 == 0o600


BAR = """
try:
    from tqdm import tqdm
except ImportError:
    import sys
    def tqdm(steps, mininterval):
        for step in steps:
            print(f"\\r{step / len(steps):4.0%}|{'#' * 70}| {step}/{len(steps)}", end="", file=sys.stderr, flush=True)
            yield step
        print(f"\\r100%|{'#' * 70}| {len(steps)}/{len(steps)}", file=sys.stderr)
for _ in tqdm(range(3000), mininterval=0):
    pass
print("after")
"""


def test_a_progress_bar_is_one_line_however_often_it_moves(notebook: Notebook) -> None:
    ran = notebook.run(BAR)
    assert len(notebook.printed) > 200_000 and ran.file is None
    told = [content for kind, content in notebook.shown if kind == "stream"]
    bar = "".join(content["text"] for content in told if content["name"] == "stderr")
    assert bar.count("\n") == 1 and bar.rpartition("\r")[2].startswith("100%|") and "3000/3000" in bar
    assert {"name": "stdout", "text": "after\n"} in told


@pytest.mark.parametrize(
    ("text", "chars"),
    [
        ("", 0), ("ab\ncd", 5), ("ab\r\ncd\n", 6), ("\r 1%\r 2%\r100%", 4), ("long line\rab", 9), ("\n\n", 2), ("ab\rc\rde\nf\r", 4),
    ],
)  # fmt: skip
def test_what_a_line_overwrites_is_not_counted(text: str, chars: int) -> None:
    whole, parts = Screen(), Screen()
    whole.take(text)
    for part in text:
        parts.take(part)
    assert whole.chars == parts.chars == chars


def test_a_picture_that_is_too_much_for_a_notebook_is_a_file(notebook: Notebook) -> None:
    notebook.run("from IPython.display import Image\nImage(b'\\x89PNG' * 5_000_000, format='png')")
    assert "execute_result" not in dict(notebook.shown)
    (path,) = [Path(word[:-1]) for word in notebook.printed.split() if word.endswith(".png]")]
    assert path.read_bytes() == b"\x89PNG" * 5_000_000


def test_output_that_is_no_text_does_no_harm(notebook: Notebook) -> None:
    notebook.run("!printf '\\0\\1\\377'\nprint('\\udcff after')")
    assert "after" in notebook.printed


def test_an_error_is_short_with_its_place_and_the_machines_traceback_follows(notebook: Notebook) -> None:
    with pytest.raises(CellError) as caught:
        notebook.run("def f(n):\n    return 1 / n\n\nf(0)")
    error = caught.value
    assert (error.code, error.ename, error.evalue) == ("cell", "ZeroDivisionError", "division by zero")
    assert error._render_traceback_() == [
        "CellError: ZeroDivisionError: division by zero\n  line 2 of the cell: return 1 / n",
        "  → %tb shows the machine's traceback",
    ]
    assert "Traceback (most recent call last)" in "\n".join(error._render_traceback_())
    with pytest.raises(CellError, match=r"SyntaxError: .*\n  line 1 of the cell: x = \("):
        notebook.run("x = (")
    with pytest.raises(CellError, match="StdinNotImplementedError"):
        notebook.run("input()")


# What goes and comes.

VALUES: dict[str, Any] = {
    "frame": pd.DataFrame(
        {"a": [1, 2], "s": ["x", None], "t": pd.to_datetime(["2026-01-01", None], utc=True), "c": pd.Categorical(["u", "v"])},
        index=["p", "q"],
    ),
    "empty": pd.DataFrame({"a": pd.array([], dtype="Int64")}),
    "series": pd.Series([1.5, 2.5]),
    "named": pd.Series([1], name="n", index=["z"]),
    "array": np.arange(6).reshape(2, 3),
    "scalar": np.float32(1.5),
    "text": "text \N{SNOWMAN} \ud83d",
    "bytes": bytes(range(256)),
    "nested": {"a": [1, 2.5, None, True], "b": {"c": ["d"]}},
    "nothing": None,
    "blank": "",
    "no_bytes": b"",
}  # fmt: skip


@pytest.mark.parametrize("size", ["little", "large"])
def test_values_go_and_come_back_as_they_were(notebook: Notebook, size: str) -> None:
    values = VALUES | (
        {"frame": VALUES["frame"].take(np.arange(40_000) % 2), "bytes": os.urandom(200_000)} if size == "large" else {}
    )
    ran = notebook.run("", push=values, pull=list(values))
    for name, value in values.items():
        back = ran.values[name]
        assert type(back) is type(value), name
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(back, value)
        elif isinstance(value, pd.Series):
            pd.testing.assert_series_equal(back, value)
        else:
            assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value
    assert not notebook.files
    ran.values["frame"].iloc[0, 0] = 7


def test_what_no_safe_format_takes_goes_by_pickle_when_that_is_asked_for(notebook: Notebook) -> None:
    for how, said in (
        ({"push": {"v": {1}}}, "v is not pushed: a builtins.set"),
        ({"pull": ["w"]}, "w is not pulled: a builtins.set"),
    ):
        with pytest.raises(CellError, match=said) as caught:
            notebook.run("w = {1, 2}", **how)
        assert caught.value.code == "not_carried" and "pickle" in str(caught.value.hint)
    ran = notebook.run("w |= v", push={"v": {3}}, pull=["w"], pickle=True)
    assert ran.values == {"w": {1, 2, 3}}


def test_a_frame_that_arrow_does_not_take_says_why(notebook: Notebook) -> None:
    with pytest.raises(CellError, match=r"mixed is not pulled: .*Could not convert") as caught:
        notebook.run("import pandas as pd\nmixed = pd.DataFrame({'a': [1, 'x', b'y']}, dtype=object)", pull=["mixed"])
    assert caught.value.code == "not_carried"


def test_on_a_full_disk_there_values_do_not_come_nor_go_and_leave_nothing_behind(own: Ground) -> None:
    notebook, large = Notebook(own), os.urandom(600_000)
    with small_disk(own.home / ".vastnb") as fill:
        notebook.run("x = 1")
        for how in ({"push": {"v": large}}, {"pull": ["w"]}):
            with pytest.raises(CellError, match="No space left on device") as caught:
                notebook.run("import os; w = os.urandom(600_000)", **how)
            assert caught.value.code == "not_carried" and "machine's disk is full" in str(caught.value.hint)
            assert not notebook.files and notebook.value("x") == 1
        fill()
        for how in ({"push": {"v": 1}}, {"pull": ["x"]}):
            with pytest.raises(CellError, match="No space left on device"):
                notebook.run("", **how)
        notebook.run("print(x)")
        assert notebook.printed == "1\n"
        with pytest.raises(CellError, match=r"did not start: .*No space left on device"):
            notebook.run("", kernel="other")
        notebook.machine.end_kernel()


def test_on_a_full_disk_here_a_cell_runs_on_and_no_value_comes(own: Ground, tmp_path: Path) -> None:
    notebook = Notebook(own)
    with small_disk(own.folder / "output") as fill:
        fill()
        ran = notebook.run("for i in range(30_000): print('line', i)\nx = 1", pull=["x"])
        assert ran.values == {"x": 1} and ran.file is None
        assert "cannot be kept on this computer: [Errno 28]" in notebook.printed
        assert len(notebook.printed) < 120_000 and notebook.printed.endswith("line 29999\n")
    with small_disk(tmp_path / "tmp") as fill, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        for how in ({"push": {"v": os.urandom(600_000)}}, {"pull": ["w"]}):
            with pytest.raises(CellError, match=r"this computer cannot keep it: .*No space left on device"):
                notebook.run("import os; w = os.urandom(600_000)", **how)
        fill()
        with pytest.raises(CellError, match="this computer cannot keep it") as caught:
            notebook.run("", pull=["x"])
        assert caught.value.code == "not_carried" and str(tmp_path) in str(caught.value.hint)
    assert notebook.value("x") == 1


def test_names_that_are_none_are_refused(notebook: Notebook) -> None:
    with pytest.raises(InputError, match="expected a variable's name, got 'a;b'"):
        notebook.run("", pull=["a;b"])
    with pytest.raises(CellError, match="absent is not pulled: there is no absent there"):
        notebook.run("", pull=["absent"])
    with pytest.raises(InputError, match="a kernel's name has letters"):
        notebook.run("", kernel="../x")


def test_traffic_is_in_the_price() -> None:
    prices = Prices(usd_per_hour=3.6, inet_down_usd_per_gb=0.01, inet_up_usd_per_gb=0.02)
    assert prices.of(10.0, pushed=10**9, pulled=2 * 10**9) == pytest.approx(0.01 + 0.01 + 0.04)
    assert Prices(3.6).of(10.0, 0, 0) == pytest.approx(0.01)
    assert Prices(3.6).of(10.0, 1, 0) is None


# Interrupts.


def test_ctrl_c_interrupts_the_cell_there_and_its_python_lives_on(notebook: Notebook) -> None:
    notebook.run("kept = 1\nimport time")
    with (
        ctrl_c(lambda: "begun" in notebook.printed),
        pytest.raises(CellError, match=r"interrupted after .* s\n  line 3") as caught,
    ):
        notebook.run("print('begun')\nwhile True:\n    time.sleep(1)")
    assert caught.value.code == "interrupted"
    assert notebook.value("kept") == 1


def test_a_cell_that_will_not_end_is_left_alone_at_the_second_ctrl_c(own: Ground) -> None:
    notebook = Notebook(own)
    stubborn = (
        "print('begun')\nimport time\nwhile True:\n    try:\n        time.sleep(9)\n    except KeyboardInterrupt: pass"
    )
    with (
        ctrl_c(lambda: "begun" in notebook.printed, times=2),
        pytest.raises(CellError, match="may run on there") as caught,
    ):
        notebook.run(stubborn)
    assert caught.value.code == "left" and signal.getsignal(signal.SIGINT) is signal.default_int_handler

    notebook.machine.end_kernel()

    notebook.run("'x' in globals()")
    assert "A new Python" in notebook.printed


# Lives of a Python.


def test_a_python_outlives_the_kernel_here_and_each_notebook_has_its_own(
    shared: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/one.ipynb")
    before = Notebook(shared)
    before.run("x = 'one'")
    before.machine.close_kernels()
    after = Notebook(shared)
    assert after.value("x") == "one" and "from before" in after.printed

    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/two.ipynb")
    other = Notebook(shared)
    with pytest.raises(CellError, match="there is no x"):
        other.value("x")

    for notebook in (after, other):
        notebook.run("y = 'both'" if notebook is after else "", kernel="common")
    assert other.run("", kernel="common", pull=["y"]).values == {"y": "both"}
    for name, notebook in (("one", after), ("two", other)):
        monkeypatch.setenv("JPY_SESSION_NAME", f"/home/me/{name}.ipynb")
        notebook.machine.end_kernel()
    assert [path.name for path in (shared.home / ".vastnb/kernels").glob("notebook-*")] == []


def test_a_python_that_dies_says_so_and_the_next_cell_starts_another(own: Ground) -> None:
    notebook = Notebook(own)
    notebook.run("x = 1")
    with pytest.raises(CellError, match="its Python ended while a cell ran") as caught:
        notebook.run("import os; os.kill(os.getpid(), 9)")
    assert caught.value.code == "kernel_gone"
    notebook.run("print('x' in globals())")
    assert "What the one before held is gone." in notebook.printed and notebook.printed.endswith("False\n")


def test_a_machine_that_is_stopped_runs_no_cell_and_after_a_start_a_new_python(own: Ground) -> None:
    notebook = Notebook(own)
    notebook.run("x = 1")
    notebook.machine.stop()
    with pytest.raises(NotRunningError):
        notebook.run("x")
    notebook.machine.start().wait()
    notebook.run("'x' in globals()")
    assert "What the one before held is gone." in notebook.printed


def test_a_machine_without_a_python_says_so(notebook: Notebook) -> None:
    with pytest.raises(CellError, match=r"there is no /nowhere/python") as caught:
        notebook.run("1", kernel="none", python="/nowhere/python")
    assert caught.value.code == "no_python"


def test_the_program_that_is_asked_for_is_the_one_that_runs_or_the_cell_does_not(
    shared: Ground, tmp_path: Path
) -> None:
    for program in (tmp_path / "one", tmp_path / "two", shared.home / "three"):
        program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        program.chmod(0o755)
    notebook = Notebook(shared, kernel="asked")

    notebook.run("x = 1", python=str(tmp_path / "one"))
    assert f"({tmp_path / 'one'})" in notebook.printed
    assert notebook.run("", pull=["x"], python=str(tmp_path / "one")).values == notebook.run("", pull=["x"]).values
    for asker in (notebook, Notebook(shared, kernel="asked")):
        with pytest.raises(CellError, match=f"was started from {tmp_path / 'one'}, and not from") as caught:
            asker.run("x", python=str(tmp_path / "two"))
        assert caught.value.code == "no_python" and "--kernel NAME" in str(caught.value.hint)
    assert notebook.value("x") == 1

    notebook.run("", kernel="home", python="~/three")
    assert f"({shared.home}/three)" in notebook.printed
    for name in ("asked", "home"):
        notebook.machine.end_kernel(name)


def test_ipykernel_is_installed_beside_a_python_that_lacks_it(shared: Ground, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    bare = tmp_path / "bare" / "bin" / "python"
    notebook = Notebook(shared, kernel="bare", python=str(bare))
    with pytest.raises(CellError, match="has no ipykernel, and it could not be installed: there is no pip") as caught:
        notebook.run("1")
    assert caught.value.code == "no_ipykernel"

    site = next((tmp_path / "bare/lib").glob("python*/site-packages"))
    theirs = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (site / "pip.py").write_text(
        "import os, sys\n"
        "if '--target' in sys.argv:\n"
        "    there = sys.argv[sys.argv.index('--target') + 1]\n"
        f"    for name in os.listdir({str(theirs)!r}):\n"
        f"        os.path.exists(there + '/' + name) or os.symlink({str(theirs)!r} + '/' + name, there + '/' + name)\n"
    )
    notebook.run("import sys; print(sys.executable)")
    assert "Installing it there" in notebook.printed and notebook.printed.endswith(f"{bare}\n")
    notebook.machine.end_kernel("bare")


def test_a_machine_that_nobody_holds_any_more_leaves_no_tunnel(shared: Ground) -> None:
    def tunnels() -> set[int]:
        return {*processes("-L /")} & {*processes(str(shared.folder))}

    machine = shared.again()
    machine.cell("x = 1", kernel="dropped", on_message=lambda *_: None)
    assert until(tunnels)
    del machine
    gc.collect()
    until(lambda: not tunnels())
    Notebook(shared).machine.end_kernel("dropped")


# Broken connections.


def test_a_cell_runs_on_when_the_connection_breaks_and_is_reached_again(notebook: Notebook, shared: Ground) -> None:
    go = shared.home / "go"
    notebook.run("import pathlib, time\nn = 0")
    cut = threading.Thread(
        target=lambda: (until(lambda: "begun" in notebook.printed), Cutter(shared, 0, most=1).cut(), go.touch())
    )
    cut.start()
    notebook.run("print('begun')\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\ntime.sleep(0.2)\nn += 1")
    cut.join()
    assert "The connection was lost. The cell runs on" in notebook.printed
    assert "what it showed meanwhile is lost" in notebook.printed
    assert notebook.value("n") == 1


def test_another_host_key_between_two_cells_is_an_error_and_the_cell_does_not_run(own: Ground) -> None:
    notebook = Notebook(own)
    notebook.run("x = 1")
    notebook.machine.stop()
    own.machines.settle()
    (own.disk.parent / "sshd" / "host_key").unlink()
    notebook.machine.start().wait()
    with pytest.raises(ReachError, match="another host key") as caught:
        notebook.run("open('ran', 'w')")
    assert caught.value.code == "host_key" and not (own.home / "ran").exists()
    notebook.machine.connect().forget_host_key()
    notebook.run("print('in')")
    assert notebook.printed.endswith("in\n")


def test_a_machine_that_ends_while_a_cell_runs_is_gone(own: Ground) -> None:
    notebook = Notebook(own)
    notebook.run("import time")

    def end(kind: str, _content: dict[str, Any]) -> None:
        if kind == "stream" and own.yard.machines:
            own.again().destroy()
            own.machines.settle()

    with pytest.raises(NotFoundError, match="is gone"):
        notebook.run("print('begun')\ntime.sleep(600)", on_message=end)
    with pytest.raises(NotFoundError, match="is gone"):
        notebook.run("1")


def test_two_notebooks_share_a_python_one_cell_after_the_other(shared: Ground) -> None:
    one, two = (Notebook(shared, kernel="both") for _ in range(2))
    one.run("import time\nn = 0")

    def counted(notebook: Notebook) -> list[str]:
        told = []
        for _ in range(2):
            notebook.run("m = n; time.sleep(0.1); n = m + 1; print(n)")
            told.append(notebook.printed[-2:])
        return told

    with ThreadPoolExecutor(2) as pool:
        told = [printed for printeds in pool.map(counted, (one, two)) for printed in printeds]
    assert sorted(told) == ["1\n", "2\n", "3\n", "4\n"] and two.value("n") == 4
    one.machine.end_kernel("both")


def broken_at_random(notebook: Notebook, seed: int, most: int) -> None:
    """Cells with values both ways, while connections break: no cell runs twice, no value is cut short."""
    notebook.run("n = 0")
    frame = pd.DataFrame(
        {"a": np.random.default_rng(seed).integers(0, 1 << 40, 50_000)}
    )  # large, also when it is packed
    done = 0
    with Cutter(notebook.ground, seed, most=most) as cutter:
        while cutter.cuts < most or not done:  # all cuts may fall into the first cell
            with contextlib.suppress(ReachError):
                code = f"n += 1; assert n == {done + 1}, n; back = frame * n"
                ran = notebook.run(code, push={"frame": frame}, pull=["back"])
                done += 1
                pd.testing.assert_frame_equal(ran.values["back"], frame * done)
    assert notebook.value("n") == done > 0 and not notebook.files


def test_connections_break_at_random(notebook: Notebook) -> None:
    broken_at_random(notebook, seed=3, most=8)


@pytest.mark.campaign
def test_connections_break_at_random_again_and_again(notebook: Notebook) -> None:
    for seed in range(10):
        broken_at_random(notebook, seed, most=20)
