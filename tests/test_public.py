"""The public face: names, imports in any order, laziness, stability."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import subprocess
import sys

import pytest

import vastnb

PUBLIC = [
    "Client", "Event", "FleetPanel", "HealthPanel", "Instance", "LaunchPanel", "LaunchSpec", "OfferSelector", "Quote", "Sandbox", "Settings", "__version__",
    "alert", "alerts", "audit", "cache_info", "calls", "cheapest_for", "clear_cache", "compare", "drop_alert", "errors", "events", "fields",
    "frontier", "gpus", "handlers", "health", "history", "import_history", "instance", "instances", "keeps", "launch",
    "load_ipython_extension", "market", "on", "parse_query", "plot", "quote", "reconcile", "rent", "sample", "search", "searches",
    "sensitivity", "show", "spend", "stop_watching", "unload_ipython_extension", "usd_per_job", "use", "verify_webhook", "watch",
]  # fmt: skip


def submodules() -> list[str]:
    found = pkgutil.walk_packages(vastnb.__path__, "vastnb.")
    return [m.name for m in found if not m.name.endswith("__main__")]


def test_the_public_names_are_these_and_sorted() -> None:
    assert vastnb.__all__ == PUBLIC == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(vastnb))
    assert {*vastnb._HOMES, *vastnb._MODULES} == set(PUBLIC)


def test_no_public_function_has_the_name_of_a_submodule() -> None:
    below = {m.name for m in pkgutil.iter_modules(vastnb.__path__)}
    assert below & set(PUBLIC) == {"errors"}


@pytest.mark.parametrize("seed", range(3))
def test_every_submodule_imported_in_random_order_leaves_every_function_a_function(seed: int) -> None:
    names = submodules()
    random.Random(seed).shuffle(names)
    program = f"""
import importlib, inspect
for name in {names!r}:
    importlib.import_module(name)
import vastnb
s = vastnb.use("sandbox", offers=100, start="2026-06-01")
assert len(vastnb.search(limit=2)) == 2
assert len(vastnb.gpus("num_gpus=1")) > 0
assert len(vastnb.fields("price")) > 0
assert vastnb.parse_query("num_gpus=1").to_api()["num_gpus"] == {{"eq": 1}}
with vastnb.Sandbox(offers=50) as box, vastnb.Client(vastnb.Settings(url=box.url)) as client:
    assert len(client.search_offers(limit=1)) == 1
for name in vastnb.__all__:
    value = getattr(vastnb, name)
    assert inspect.isfunction(value) or inspect.isclass(value) or name in ("errors", "handlers", "__version__"), name
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = (
        "pandas",
        "numpy",
        "httpx",
        "requests_cache",
        "pydantic",
        "ipywidgets",
        "IPython",
        "tornado",
        "vastnb.errors",
    )
    program = f"import sys, vastnb; dir(vastnb); print([m for m in {heavy!r} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'serch'"):
        vastnb.serch  # noqa: B018


def test_every_public_definition_has_a_docstring() -> None:
    lacking = []
    for name in submodules():
        module = importlib.import_module(name)
        assert module.__doc__, name
        for public in getattr(module, "__all__", []):
            value = getattr(module, public)
            if (inspect.isfunction(value) or inspect.isclass(value)) and not inspect.getdoc(value):
                lacking.append(f"{name}.{public}")
    assert lacking == []


def test_every_list_of_public_names_is_sorted_and_true() -> None:
    for name in submodules():
        module = importlib.import_module(name)
        names = getattr(module, "__all__", [])
        assert all(hasattr(module, public) for public in names), name
        assert len(set(names)) == len(names), name
