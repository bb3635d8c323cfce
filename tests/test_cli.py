"""The shell door: the same words, as a process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from vastnb.api.cli import main
from vastnb.api.commands import COMMANDS
from vastnb.sandbox import Sandbox
from vastnb.vast.query import parse_query


@pytest.fixture
def there(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setenv("VAST_URL", sandbox.url)
    monkeypatch.setenv("VAST_API_KEY", sandbox.api_key)
    return sandbox


def truth(sandbox: Sandbox, text: str) -> list[int]:
    return [offer["id"] for offer in sandbox.offers(parse_query(text).to_api())]


def test_a_search_prints_a_table(there: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "gpu_name=RTX_4090 num_gpus>=2", "--limit", "3"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines[2:5]] == truth(there, "gpu_name=RTX_4090 num_gpus>=2")[:3]
    assert lines[5].startswith("3 offers")


def test_json_and_csv_have_every_column(there: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    main(["search", "num_gpus=8", "--json"])
    as_json = json.loads(capsys.readouterr().out)
    main(["search", "num_gpus=8", "--csv"])
    as_csv = pd.read_csv(io.StringIO(capsys.readouterr().out))

    assert [row["offer_id"] for row in as_json] == as_csv.offer_id.tolist() == truth(there, "num_gpus=8")
    assert list(as_json[0]) == list(as_csv.columns)


def test_a_value_that_the_shell_took_the_quotes_of_is_understood(
    there: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "gpu_name=RTX 4090", "num_gpus>=2", "--csv"]) == 0

    assert set(pd.read_csv(io.StringIO(capsys.readouterr().out)).gpu_name) == {"RTX 4090"}


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["serch"], 2, "did you mean vastnb search?"),
        (["search", "--nope"], 2, "no such option: --nope"),
        (["search", "gpu_nme=1"], 1, "did you mean gpu_name?"),
        (["use", "nowhere"], 1, "no such profile"),
    ],
)
def test_an_error_is_short_on_stderr_with_its_exit_status(
    words: list[str], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status

    captured = capsys.readouterr()
    assert captured.out == ""
    assert line in captured.err
    assert "Traceback" not in captured.err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    overview = capsys.readouterr().out
    for word in (c.word for c in COMMANDS.values() if "shell" in c.doors):
        assert f"  {word} " in overview
        assert main([word, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"vastnb {word}: ")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("vastnb ")


def test_help_is_quick_to_import() -> None:
    program = "import sys; from vastnb.api.cli import main; main(['--help']); print([m for m in ('pandas', 'numpy', 'httpx', 'pydantic') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_leaves_early_is_no_error(there: Sandbox) -> None:
    program = "from vastnb.api.cli import main; raise SystemExit(main(['search', '--csv']))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()

    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.wait()
    process.stderr.close()
    assert "Traceback" not in errors


def test_the_sandbox_serves_other_programs_until_ctrl_c() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vastnb", "sandbox", "--offers", "50", "--seed", "5", "--start", "2026-06-01"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    said = [process.stdout.readline() for _ in range(3)]
    url = said[1].split("=", 1)[1].strip()
    request = urllib.request.Request(f"{url}/api/v0/bundles/", b"{}", {"Content-Type": "application/json"})

    with urllib.request.urlopen(request) as answer:
        offers = json.load(answer)["offers"]
    process.send_signal(signal.SIGINT)
    status = process.wait(10)

    assert len(offers) == 64
    assert (status, process.stderr.read()) == (0, "")
    process.stdout.close()
    process.stderr.close()


def test_init_writes_private_settings_and_a_notebook_and_never_overwrites(
    private_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "work"]) == 0
    settings, notebook = private_home / "config/vastnb/config.toml", private_home / "work/first.ipynb"
    assert (settings.stat().st_mode & 0o777, settings.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    notebook.write_text("mine")
    capsys.readouterr()

    assert main(["init", "work"]) == 0

    assert capsys.readouterr().out.count("There already:") == 4
    assert notebook.read_text() == "mine"
    assert main(["config"]) == 0


def test_the_first_notebook_of_init_runs(private_home: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    main(["init", "."])
    notebook = nbformat.read(private_home / "first.ipynb", as_version=4)
    nbformat.validate(notebook)

    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    NotebookClient(notebook, timeout=60, extra_arguments=["--KernelManager.transport=ipc"]).execute()

    assert "RTX 4090" in notebook.cells[2].outputs[0]["data"]["text/plain"]


def test_lab_without_jupyterlab_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    assert main(["lab"]) == 2
    assert 'pip install "vastnb[lab]"' in capsys.readouterr().err
