"""Forty tasks, each with two first guesses of somebody fresh who had seen no more than the README's first screen.

A guess does the right thing, or the answer names the right word. Two machines run, ``lora`` and ``eval``; ``i`` is the first of
them, ``job`` a job on it. When the guesses came in, 15 of the 40 lines of ``%vast`` and 15 of the 40 of Python worked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from remote_ground import require_programs

import vastnb
from vastnb.api.commands import COMMANDS, OTHER_NAMES, help_for
from vastnb.api.commands.meant import _INSTEAD, _OPTION_INSTEAD, name_hint, word_hint
from vastnb.errors import CommandError, InputError, VastError


class Guess(NamedTuple):
    """Two cells, and what the answer must name where one does not work."""

    task: str
    magic: str
    python: str
    magic_meant: str = ""
    python_meant: str = ""


CHOOSING = [
    Guess("which GPUs are there, and what do they cost", "%vast gpus", "vastnb.gpus()"),
    Guess(
        "the cheapest machine with 48 GB for 10 hours", "%vast search gpu_ram>=48 hours=10 limit=1",
        'vastnb.search("gpu_ram>=48", hours=10, limit=1)', "%vast quote ... --hours", "vastnb.quote(..., hours=...)",
    ),
    Guess("4090s below 50 cents", "%vast search gpu_name=RTX_4090 dph<0.5", 'vastnb.search("gpu_name=RTX_4090 dph<0.5")'),
    Guess(
        "interruptible 4090s", "%vast search gpu_name=RTX_4090 --interruptible",
        'vastnb.search("gpu_name=RTX_4090", type="interruptible")', "", "rental",
    ),
    Guess(
        "in Europe, most work for a dollar first", "%vast search region=Europe --sort dlperf_per_dollar",
        'vastnb.search("region=EU", sort="dlperf_per_dollar")', "", "order",
    ),
    Guess(
        "what ten hours cost with disk and data", "%vast quote hours=10 disk=100 download_gb=50",
        "vastnb.quote(df, hours=10, disk=100, download_gb=50)", "", "disk_gb",
    ),
    Guess(
        "rent a 4090 for three hours", "%vast rent gpu_name=RTX_4090 hours=3", 'vastnb.rent("gpu_name=RTX_4090", hours=3)',
        "", "with vastnb.rent(...) as i",
    ),
    Guess(
        "see before what would be rented", "%vast rent gpu_name=RTX_4090 hours=3 --dry-run",
        'vastnb.rent("gpu_name=RTX_4090", hours=3, dry_run=True)', "", "vastnb.launch(..., dry_run=True)",
    ),
    Guess("what do I have", "%vast instances", "vastnb.instances()"),
    Guess("log into a machine", "%vast ssh lora", "i.ssh()", "", "ssh_command"),
    Guess("keep a machine two hours longer", "%vast extend lora 2h", "i.extend(hours=2)"),
    Guess(
        "stop everything that idles", "%vast stop --idle", "vastnb.stop_idle()", "%vast ps says which machines idle",
        "vastnb.instance(name).stop",
    ),
    Guess("stop one machine", "%vast stop lora", "i.stop()"),
    Guess("end two machines", "%vast destroy lora eval", 'vastnb.destroy("lora", "eval")', "", "vastnb.instance(name).destroy"),
    Guess("does anything still cost money", "%vast audit", "vastnb.audit()"),
    Guess("what did I spend in a month", "%vast spending 30d", "vastnb.spending(days=30)", "", "vastnb.spend"),
    Guess("how much credit is left", "%vast credit", "vastnb.credit()", "", 'vastnb.show("user")'),
    Guess("how did the price go in two weeks", "%vast history RTX_4090 14d", 'vastnb.history("RTX_4090", days=14)'),
    Guess("what can be asked in a search", "%vast fields", "vastnb.fields()"),
    Guess("set the key", "%vast set api-key MYKEY", 'vastnb.set_api_key("MYKEY")', "VAST_API_KEY", "VAST_API_KEY"),
]  # fmt: skip
WORKING = [
    Guess("run a command", "%vast run lora nvidia-smi", 'i.run("nvidia-smi")'),
    Guess(
        "start a job that goes on without me", "%vast job lora python train.py", 'job = i.submit("python train.py")', "",
        "run(..., detach=True)",
    ),
    Guess("is my job still running", "%vast jobs lora", "i.jobs()"),
    Guess("stop the job", "%vast kill lora", "job.stop()", "%vast jobs NAME JOB --stop"),
    Guess(
        "bring a folder there", "%vast upload lora ./project /workspace/project", 'i.upload("./project", "/workspace/project")',
        "", "put(...)",
    ),
    Guess(
        "bring results home", "%vast download lora /workspace/results ./results",
        'i.download("/workspace/results", "./results")', "", "get(...)",
    ),
    Guess("run a cell there", "%%vast run lora\nprint(1+1)", 'i.run_python("print(1+1)")', "", "cell(..., push={...}"),
    Guess(
        "with a variable of mine, and one back", "%%vast run lora -i x -o z\nz = x.describe()",
        'z = i.run_python("z = x.describe()", inputs={"x": x}, outputs=["z"])', "", "cell(..., push={...}",
    ),
    Guess(
        "several lines of shell",
        "%%vast bash lora\ncd /workspace\npip install -r requirements.txt\npython prep.py",
        r'i.run("cd /workspace\npip install -r requirements.txt\npython prep.py")',
    ),
    Guess(
        "copy checkpoints home every ten minutes", "%vast sync lora /workspace/ckpt ./ckpt every=10m",
        'i.sync("/workspace/ckpt", "./ckpt", every="10m")', "keep", "keep(...)",
    ),
    Guess("what is copied, and how it goes", "%vast syncs", "i.syncs()", "", "keeps()"),
    Guess(
        "move the job when I am outbid", "%vast run lora python train.py --on-outbid move", 'i.on_outbid("move")',
        "%vast launch ... --on-outbid move", 'vastnb.launch(..., on_outbid="move")',
    ),
    Guess("how busy are its GPUs, how full its disk", "%vast top lora", "i.stats()", "", "health()"),
    Guess("install a package", "%vast pip lora install einops", 'i.run("pip install einops")', "%vast run NAME pip install"),
    Guess("open a port of it", "%vast forward lora 8080", "i.forward(8080)", "%vast ssh NAME", "ssh_command"),
    Guess("what did it print", "%vast logs lora", "i.logs()"),
    Guess("open it in my editor", "%vast ssh-config lora", "i.ssh_config()"),
    Guess(
        "spend a dollar on the copy at most", "%vast upload lora ./data /workspace/data max_cost=1",
        'i.upload("./data", "/workspace/data", max_usd=1)', "--max-usd", "put(...)",
    ),
    Guess("follow its log", "%vast logs lora -f", "job.logs(follow=True)", "", "log()"),
    Guess(
        "end it, results home first", "%vast destroy lora --download /workspace/out", 'i.destroy(download="/workspace/out")',
        "", "fetch",
    ),
]  # fmt: skip

USE = 'import vastnb; _ = vastnb.use("sandbox", offers=600, seed=3, start="2026-06-01")'
THERE = """
import pandas as pd, vastnb
_ = vastnb.use("sandbox", offers=100, start="2026-06-01", machines=True)
i = vastnb.launch("num_gpus=1", name="lora", max_hours=0.5).wait()
_ = i.run("mkdir -p workspace/results workspace/out; touch workspace/requirements.txt workspace/prep.py")
_ = i.put("train.py")
job, x = i.run("sleep 600", detach=True), pd.Series([1.0, 2.0])
"""
RENT = """
for name in ("lora", "eval"):
    offers = vastnb.search("num_gpus=1 gpu_name=RTX_3090", refresh=True)
    _ = vastnb.launch(offers, name=name, max_hours=3).wait()
df = vastnb.search("gpu_name=RTX_4090 num_gpus=1", refresh=True)
i = vastnb.instance("lora")
"""
END = "_ = [vastnb.instance(number).destroy() for number in vastnb.instances().instance_id]"


@pytest.fixture
def practice(ip: Any) -> Iterator[Any]:
    """A shell in the sandbox, with two machines and a frame of offers."""
    assert ip.run_cell(USE + RENT).success
    yield ip
    assert ip.run_cell(f"{USE}\n{END}").success


def answer(ip: Any, cell: str) -> str:
    """What the user reads: the error with its hint, or what the cell gave."""
    result = ip.run_cell(cell)
    error = result.error_before_exec or result.error_in_exec
    if error is None:
        return f"works: {result.result!r}"
    assert isinstance(error, VastError | AttributeError), error
    return f"{error} {getattr(error, 'hint', '')}"


@pytest.mark.parametrize(
    ("cell", "meant"), [cells for g in CHOOSING for cells in ((g.magic, g.magic_meant), (g.python, g.python_meant))]
)
def test_a_first_guess_works_or_is_told_the_right_word(practice: Any, cell: str, meant: str) -> None:
    said = answer(practice, cell)

    assert meant in said if meant else said.startswith("works: ")


@pytest.fixture
def machine(ip: Any) -> Iterator[Any]:
    """A shell in the sandbox, with a machine that really runs, and what is to be brought there."""
    require_programs()
    for name in ("project", "data"):
        Path(name).mkdir()
        Path(name, "some.txt").write_text(name)
    Path("train.py").write_text("print('trained')")
    assert ip.run_cell(THERE).success
    yield ip
    assert ip.run_cell(USE).success


@pytest.mark.parametrize("door", ["magic", "python"])
def test_a_first_guess_on_a_machine_works_or_is_told_the_right_word(machine: Any, door: str) -> None:
    wrong = {}
    for guess in WORKING:
        if vastnb.instances().empty:  # as two of the guesses leave it
            assert machine.run_cell(THERE).success
        # Paths of a practice machine are those of this computer, but for what begins in its home; nor may it ask a package index.
        cell = getattr(guess, door).replace("/workspace", "workspace").replace("install einops", "install --help")
        said, meant = answer(machine, cell), getattr(guess, f"{door}_meant")
        if not (meant in said if meant else said.startswith("works: ")):
            wrong[cell] = said

    assert wrong == {}


@pytest.mark.parametrize(("tasks", "right"), [(CHOOSING, 17), (WORKING, 16)], ids=["choosing", "working"])
def test_most_tasks_are_done_at_once_by_one_of_the_two_guesses(tasks: list[Guess], right: int) -> None:
    assert len({guess.task for guess in tasks}) == 20
    assert sum(not (guess.magic_meant and guess.python_meant) for guess in tasks) == right


def run(ip: Any, cell: str) -> Any:
    """The cell's value; its error is raised."""
    result = ip.run_cell(cell)
    if result.error_before_exec or result.error_in_exec:
        raise result.error_before_exec or result.error_in_exec
    return result.result


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("find num_gpus=8 --limit 2", "search num_gpus=8 --limit 2"),
        ("search offers num_gpus=8 --limit 2", "search num_gpus=8 --limit 2"),
        ("show instances", "ps"),
        ("ssh-url lora", "ssh lora"),
        ("columns price", "fields price"),
        ("account", "show user"),
    ],
)
def test_another_name_gives_what_ours_gives(practice: Any, theirs: str, ours: str) -> None:
    assert str(run(practice, f"%vast {theirs}")) == str(run(practice, f"%vast {ours}"))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("search gpu_name=RTX_4090 limit=2", "search gpu_name=RTX_4090 --limit 2"),
        ("quote num_gpus=8 hours=2 disk_gb=20 download=5", "quote num_gpus=8 --hours 2 --disk 20 --download 5"),
        ("spend 7d by=day", "spend --days 7 --by day"),
        (
            "launch num_gpus=8 name='a' 2h --env limit=3 dry_run=true wait=false",
            "launch num_gpus=8 --name a --max-hours 2 --env limit=3 --dry-run",
        ),
        ("show templates name=pytorch limit=2", "show templates name=pytorch --limit 2"),
    ],
)
def test_an_option_may_be_written_as_an_argument_or_a_time(practice: Any, theirs: str, ours: str) -> None:
    shown = [re.sub("vnb-[0-9a-f]+", "", str(run(practice, f"%vast {line}"))) for line in (theirs, ours)]

    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    "line", ["search limit=x", "search disk=-1", "extend lora 2parsecs", "launch num_gpus=1 name=a hours=x"]
)
def test_what_looks_like_an_option_and_is_none_is_refused(practice: Any, line: str) -> None:
    with pytest.raises(VastError):
        run(practice, f"%vast {line}")


def test_rent_without_a_block_rents_nothing_and_an_attribute_of_ours_keeps_its_own_error(practice: Any) -> None:
    assert "Nothing is rented yet" in repr(run(practice, 'vastnb.rent("num_gpus=1", max_hours=1)'))
    assert len(run(practice, "vastnb.instances()")) == 2
    assert run(practice, "hasattr(i, 'state'), hasattr(i, 'sate'), hasattr(i, '_repr_png_')") == (True, False, False)


def test_the_official_clients_two_words_end_the_machine_that_they_name(practice: Any) -> None:
    assert run(practice, "%vast destroy instance lora").is_final
    assert run(practice, "vastnb.instances().name.tolist()") == ["eval"]


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        ("vastnb.search(gpu_name='RTX 4090')", '"gpu_name=..." in the query'),
        ("vastnb.search('num_gpus=1', disc_gb=50)", "disk_gb"),
        ("vastnb.search(interruptible=True)", 'rental="bid"'),
        ("vastnb.spend(day=30)", "days"),
        ("vastnb.history('RTX 4090', day=3)", "days"),
        ("vastnb.launch(df, max_hour=3)", "max_hours"),
        ("i.put('a', 'b', max_usd=1)", "vastnb.launch(..., max_usd=...), which copies count against"),
        ("i.keep('a', to='b', evry='1h')", "every"),
        ("i.extend(hour=1)", "hours"),
    ],
)
def test_an_argument_that_a_function_has_not_names_the_right_one(practice: Any, call: str, hint: str) -> None:
    with pytest.raises(InputError, match="has no argument") as caught:
        run(practice, call)

    assert caught.value.hint == f"did you mean {hint}?"


@pytest.mark.parametrize("query", ["RTX 4090", "RTX_4090", "num_gpus=2 rtx4090"])
def test_a_bare_gpu_name_is_told_how_it_is_asked_for(practice: Any, query: str) -> None:
    with pytest.raises(VastError) as caught:
        run(practice, f"%vast search {query}")

    assert caught.value.hint == 'did you mean gpu_name="RTX 4090"?'


@pytest.mark.parametrize("option", _OPTION_INSTEAD)
def test_an_option_of_other_programs_is_told_ours(practice: Any, option: str) -> None:
    with pytest.raises(CommandError, match="no such option") as caught:
        run(practice, f"%vast search {option} 1")

    assert _OPTION_INSTEAD[option] in str(caught.value.hint)


@pytest.mark.parametrize(
    ("slip", "ours"), [("lunch", "launch"), ("doctr", "health"), ("instnces", "ps"), ("copy", "put")]
)
def test_a_slip_of_the_finger_is_told_our_word(slip: str, ours: str) -> None:
    assert word_hint(slip, COMMANDS, "notebook") == f"did you mean %vast {ours}?"


def test_every_other_name_stands_for_a_word_and_is_none() -> None:
    meant = {line.split()[0] for line in OTHER_NAMES.values()}

    assert meant <= set(COMMANDS)
    assert not (set(OTHER_NAMES) | set(_INSTEAD)) & set(COMMANDS)
    assert not set(OTHER_NAMES) & set(_INSTEAD)


@pytest.mark.parametrize("word", [*COMMANDS, *OTHER_NAMES])
def test_help_knows_a_word_by_all_its_names(word: str) -> None:
    door = "shell" if word in COMMANDS and "shell" in COMMANDS[word].doors else "notebook"
    assert help_for(word, door)


@pytest.mark.parametrize("word", _INSTEAD)
def test_a_word_that_may_spend_or_end_something_is_never_taken_for_ours(word: str) -> None:
    line = _INSTEAD[word]

    hint = word_hint(word, COMMANDS, "notebook")

    assert (f"did you mean %vast {line}?" == hint) == (line.split()[0] in COMMANDS)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("serch", "did you mean vastnb.search?"),
        ("cheapest", "did you mean vastnb.cheapest_for?"),
        ("ssh", "did you mean vastnb.instance(name).ssh_command?"),
        ("templates", 'did you mean vastnb.show("templates")?'),
        ("costs", "did you mean vastnb.spend?"),
        ("login", "VAST_API_KEY"),
        ("xyzzy", ""),
    ],
)
def test_a_name_that_the_package_has_not_names_the_right_one(name: str, hint: str) -> None:
    assert hint in name_hint(name, vastnb.__all__)
    with pytest.raises(AttributeError, match="has no attribute"):
        getattr(vastnb, name)
