"""Twenty tasks, each with the first guess of somebody who read the README's first screen and knows the official client.

A guess does the right thing, or the error names the right word. Two machines run: ``lora`` and ``eval``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from vastnb.api.commands import COMMANDS, OTHER_NAMES, help_for
from vastnb.api.commands.meant import _INSTEAD, _OPTION_INSTEAD, name_hint, word_hint
from vastnb.errors import CommandError, InputError, VastError


class Guess(NamedTuple):
    """A cell, and what the error must name if it is wrong; without `meant` it must work."""

    task: str
    cell: str
    meant: str = ""


MAGIC = [
    Guess("which GPUs are there, and what do they cost", "%vast gpus"),
    Guess("the cheapest machine with 48 GB for 10 hours", "%vast search gpu_ram>=48 --hours 10", "%vast quote ... --hours"),
    Guess("4090s below 50 cents", "%vast search gpu=RTX_4090 price<0.5"),
    Guess("interruptible 4090s", "%vast search gpu_name=RTX_4090 --interruptible"),
    Guess("in Europe, most work for a dollar first", "%vast search geolocation=EU --sort dlperf_per_usd-"),
    Guess("what ten hours cost with disk and data", "%vast quote gpu_name=RTX_4090 --hours 10 --disk 100 --download 50"),
    Guess("rent a 4090 for three hours", "%vast rent gpu_name=RTX_4090 --hours 3", "%vast launch"),
    Guess("see before what would be rented", "%vast launch gpu_name=RTX_4090 --name new --max-hours 3 --dry-run"),
    Guess("what do I have", "%vast instances"),
    Guess("log into a machine", "%vast ssh lora"),
    Guess("keep a machine two hours longer", "%vast extend lora --hours 2"),
    Guess("stop everything that idles", "%vast stop --idle", "%vast ps says which machines idle"),
    Guess("stop one machine", "%vast stop lora"),
    Guess("end two machines", "%vast destroy lora eval"),
    Guess("does anything still cost money", "%vast audit"),
    Guess("what did I spend in a month", "%vast costs --days 30"),
    Guess("how much credit is left", "%vast balance"),
    Guess("how did the price go in two weeks", "%vast history RTX_4090 --days 14"),
    Guess("what can be asked in a search", "%vast fields"),
    Guess("set the key", "%vast login 0123456789abcdef", "VAST_API_KEY"),
]  # fmt: skip
PYTHON = [
    Guess(MAGIC[0].task, "vastnb.gpus()"),
    Guess(MAGIC[1].task, 'vastnb.search("gpu_ram>=48", hours=10)', "vastnb.quote(..., hours=...)"),
    Guess(MAGIC[2].task, 'vastnb.search("gpu_name=RTX_4090 dph<0.5")'),
    Guess(MAGIC[3].task, 'vastnb.search("gpu_name=RTX_4090", rental="interruptible")'),
    Guess(MAGIC[4].task, 'vastnb.search("geolocation=EU", sort="dlperf_per_usd-")', "order"),
    Guess(MAGIC[5].task, "vastnb.quote(df, hours=10, disk_gb=100, download_gb=50)"),
    Guess(MAGIC[6].task, 'vastnb.launch("gpu_name=RTX_4090", max_hours=3)'),
    Guess(MAGIC[7].task, 'vastnb.launch(df, name="new", max_hours=3, dry_run=True)'),
    Guess(MAGIC[8].task, "vastnb.instances()"),
    Guess(MAGIC[9].task, 'vastnb.instance("lora").ssh_command'),
    Guess(MAGIC[10].task, 'vastnb.instance("lora").extend(hours=2)'),
    Guess(MAGIC[11].task, "[vastnb.instance(name).stop() for name in vastnb.instances().query('gpu_util < 0.05').name]"),
    Guess(MAGIC[12].task, 'vastnb.stop("lora")', "vastnb.instance(name).stop"),
    Guess(MAGIC[13].task, '[vastnb.instance(name).destroy() for name in ("lora", "eval")]'),
    Guess(MAGIC[14].task, "vastnb.audit()"),
    Guess(MAGIC[15].task, "vastnb.spend(days=30)"),
    Guess(MAGIC[16].task, "vastnb.balance()", 'vastnb.show("user")'),
    Guess(MAGIC[17].task, 'vastnb.history("RTX 4090", days=14)'),
    Guess(MAGIC[18].task, "vastnb.fields()"),
    Guess(MAGIC[19].task, 'vastnb.use("production", api_key="0123456789abcdef")'),
]  # fmt: skip
RIGHT = 16
"""Of twenty guesses at least so many work at once."""


USE = 'import vastnb; _ = vastnb.use("sandbox", offers=600, seed=3, start="2026-06-01")'
RENT = """
for name in ("lora", "eval"):
    offers = vastnb.search("num_gpus=1 gpu_name=RTX_3090", refresh=True)
    _ = vastnb.launch(offers, name=name, max_hours=3).wait()
df = vastnb.search("gpu_name=RTX_4090 num_gpus=1", refresh=True)
"""
END = "_ = [vastnb.instance(number).destroy() for number in vastnb.instances().instance_id]"


@pytest.fixture
def practice(ip: Any) -> Iterator[Any]:
    """A shell in the sandbox, with two machines and a frame of offers."""
    assert ip.run_cell(USE + RENT).success
    yield ip
    assert ip.run_cell(f"{USE}\n{END}").success


@pytest.mark.parametrize("guess", [*MAGIC, *PYTHON], ids=lambda guess: guess.cell)
def test_a_first_guess_works_or_is_told_the_right_word(practice: Any, guess: Guess, capsys: Any) -> None:
    result = practice.run_cell(guess.cell)

    error = result.error_before_exec or result.error_in_exec
    if guess.meant:
        assert isinstance(error, VastError | AttributeError)
        assert guess.meant in f"{error} {getattr(error, 'hint', '')}"
    else:
        assert error is None
        assert result.result is not None


@pytest.mark.parametrize("door", [MAGIC, PYTHON], ids=["magic", "python"])
def test_most_first_guesses_work(door: list[Guess]) -> None:
    assert len(door) == len({guess.task for guess in door}) == 20
    assert sum(not guess.meant for guess in door) >= RIGHT


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
    ("slip", "ours"), [("lunch", "launch"), ("doctr", "health"), ("instnces", "ps"), ("upload", "put")]
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
    import vastnb

    assert hint in name_hint(name, vastnb.__all__)
    with pytest.raises(AttributeError, match="has no attribute"):
        getattr(vastnb, name)
