"""Work on a machine through the two doors: ``%vast`` in a real IPython shell and ``vastnb`` in a shell; and its logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from remote_ground import require_programs, until
from renting import Yard

import vastnb
from vastnb.api.cli import main
from vastnb.errors import CommandError, InputError, NotFoundError
from vastnb.services.instances.fleet import Fleet
from vastnb.services.instances.launching import launch_on
from vastnb.services.instances.logs import news


@pytest.fixture
def practice() -> Iterator[Any]:
    """A machine called ``work`` in a sandbox of this process whose machines really run."""
    require_programs()
    vastnb.use("sandbox", offers=100, start="2026-06-01", machines=True)
    yield vastnb.launch("num_gpus=1", name="work", max_hours=5, onstart="echo begun").wait()
    vastnb.use("sandbox", offers=100, start="2026-06-01")


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("work echo -n a b", "a b"),
        ("work 'echo \"$CONTAINER_LABEL\" | tr C c'", "c.{id}\n"),
        ("work printf '%s|' 'a b' c", "a b|c|"),
        ("work --cwd /tmp pwd -P", "/tmp\n"),
        ("work --timeout 30 echo --detach", "--detach\n"),
    ],
)
def test_run_takes_a_command_as_it_is_written_and_shows_what_it_prints(
    practice: Any, ip: Any, capsys: pytest.CaptureFixture[str], line: str, printed: str
) -> None:
    assert ip.run_cell(f"ran = get_ipython().run_line_magic('vast', {f'run {line}'!r})").success
    assert ip.user_ns["ran"].stdout == printed.format(id=practice.id)
    assert capsys.readouterr().out == printed.format(id=practice.id)


def test_a_cell_is_a_script_of_the_machines_shell(practice: Any, ip: Any, capsys: pytest.CaptureFixture[str]) -> None:
    body = 'for n in 1 2; do\n  echo "$n {n}"\ndone  # all\n'
    done = ip.run_cell_magic("vast", "run work --shell", body)
    assert done.stdout == capsys.readouterr().out == "1 {n}\n2 {n}\n"


def test_what_is_shown_has_an_end_and_the_result_has_all(
    practice: Any, ip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ip.run_line_magic("vast", "run work seq 1 300000")
    shown = capsys.readouterr().out
    assert len(shown) < 210_000 and shown.endswith("the result says where all of it is ...]\n")
    assert done.stdout_file.stat().st_size == sum(len(str(n)) + 1 for n in range(1, 300_001))


def test_a_progress_bar_is_shown_to_its_end(practice: Any, ip: Any, capsys: pytest.CaptureFixture[str]) -> None:
    body = 'for n in $(seq 3000); do printf "\\r%s of 3000 %80s" $n ""; done\necho; echo after\n'
    done = ip.run_cell_magic("vast", "run work --shell", body)
    shown = capsys.readouterr().out
    assert len(shown) > 250_000 and shown == done.stdout
    assert shown.splitlines()[-1] == "after" and "\r3000 of 3000" in shown


def test_jobs_files_and_the_way_in_have_words(practice: Any, ip: Any) -> None:
    def vast(line: str) -> Any:
        return ip.run_line_magic("vast", line)

    job = vast("run work --detach echo up")
    assert vast(f"jobs work {job.id} --wait").stdout == "up\n"
    assert str(vast(f"jobs work {job.id} --tail 5")) == "up\n"
    assert vast("jobs work")["state"].tolist() == ["done"]
    assert vast(f"jobs work {job.id} --forget") is None and vast("jobs work").empty

    Path("notes.txt").write_text("mine")
    assert vast("put work notes.txt there/").files == 1
    assert vast("get work there/notes.txt back/").files == 1
    assert Path("back/notes.txt").read_text() == "mine"
    assert str(vast("ssh work")) == practice.ssh_command
    assert str(vast("ssh work --config")) == "ssh vast-work"
    vast("destroy work --fetch there --to results/")
    assert Path("results/there/notes.txt").read_text() == "mine"


def test_a_shell_gets_the_commands_output_and_exit_status(practice: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "work", "echo in; echo no >&2; exit 7"]) == 7
    out, err = capfd.readouterr()
    assert out.startswith("in\nexit status 7 after ") and err == "no\n"


@pytest.mark.parametrize("line", ["run work", "run work --dettach ls", "run", "put work"])
def test_words_that_are_no_command_are_told_so(line: str, ip: Any) -> None:
    assert isinstance(ip.run_cell(f"%vast {line}").error_in_exec, CommandError)


def test_the_words_of_a_line_are_plain_texts_in_what_comes_of_them(ip: Any) -> None:
    """What remembers how it was written must not get into a frame: it cannot be copied with it."""
    ip.run_cell("%vast use sandbox offers=100 start=2026-06-01")
    frame = ip.run_line_magic("vast", "show templates recommended=true")
    assert type(frame.attrs["vastnb"]["kind"]) is str and frame.head(2).attrs == frame.attrs


# Logs.


def test_a_machine_that_runs_prints_and_its_host_tells_of_it(practice: Any, ip: Any) -> None:
    assert until(lambda: str(ip.run_line_magic("vast", "logs work"))) == "begun"
    assert "docker start" in str(ip.run_line_magic("vast", "logs work --daemon --grep start"))


def test_logs_need_no_ssh_and_the_address_gets_no_key(there: Yard, kernel: Fleet) -> None:
    machine: Any = launch_on(kernel, there.offers(kernel), max_hours=2, onstart="true").wait()
    whole = machine.logs().splitlines()
    assert len(whole) > 2 and machine.logs(tail=2).splitlines() == whole[-2:]
    assert machine.logs(grep="onstart.sh: d").splitlines() == ["onstart.sh: done"]
    fetched = [record for record in there.sandbox.log if "/instance_logs/" in record.path]
    assert len(fetched) == 6 and {record.key_digest for record in fetched} == {None}
    assert [record.status for record in fetched] == [404, 200] * 3
    with pytest.raises(InputError, match="tail must be"):
        machine.logs(tail=0)


def test_a_log_is_followed_until_the_machine_ends(there: Yard, kernel: Fleet) -> None:
    machine: Any = launch_on(kernel, there.offers(kernel), max_hours=2).wait()
    told: list[str] = []

    def tell(_stream: str, text: str) -> None:
        told.append(text)
        if len(told) == 1:
            there.kernel().machines.destroy(machine.id)

    assert machine.logs(follow=True, on_output=tell) is None
    assert told[0].startswith("C.")


def test_the_log_of_a_machine_that_is_not_there_is_an_error(there: Yard, kernel: Fleet) -> None:
    machine: Any = launch_on(kernel, there.offers(kernel), max_hours=2)
    machine.destroy()
    with pytest.raises(NotFoundError):
        machine.logs()


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a", "b"], ["x", "y"], ["x", "y"]),
        (["a", "b", "c"], [], []),
    ],
)
def test_new_lines_are_those_behind_what_was_seen(before: list[str], now: list[str], expected: list[str]) -> None:
    assert news(before, now) == expected
