"""The examples in docstrings, run under the fixtures of all tests: nothing of the user's, and no further than this computer."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import vastnb

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = [
    "vastnb",
    *(m.name for m in pkgutil.walk_packages(vastnb.__path__, "vastnb.") if not m.name.endswith("__main__")),
]


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name), name)]
    return sorted((test for test in found if test.examples), key=lambda test: test.name)


@pytest.mark.parametrize("example", [pytest.param(test, id=test.name) for test in examples()])
def test_an_example_does_what_it_says(example: doctest.DocTest) -> None:
    said: list[str] = []

    failed, tried = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append)

    assert tried
    assert not failed, "".join(said)


def test_the_public_functions_have_examples() -> None:
    shown = {test.name.rpartition(".")[2] for test in examples()}
    assert {"search", "gpus", "fields", "parse_query", "use", "Settings", "Client", "Sandbox"} <= shown
