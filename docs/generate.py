"""``python docs/generate.py`` writes what of the docs can be read off the code; ``--check`` only says what is out of date.

* `PAGES`: whole pages, from the tables that the program itself uses.
* Outputs: in a page written by hand, a ```` ```text ```` block below the comment ``<!-- output -->`` holds what the Python block
  above it shows in a sandbox (with a fixed start, so it is the same everywhere).
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vastnb import errors
from vastnb.api.commands import COMMANDS, OTHER_NAMES, Command
from vastnb.infra.config import Settings
from vastnb.sandbox.endpoints import ENDPOINTS
from vastnb.sandbox.faults import KINDS as FAULTS
from vastnb.vast.client.answers import STATUS_ERRORS
from vastnb.vast.types import DROPPED, FIELDS, KINDS, Column, asked_as

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(
    r"((?:^<!--[^\n]*-->\n)*)^```python\n(.*?)^```\n(?:\n<!-- output -->\n```text\n(.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
"""A Python block with the comments right above it, and its output if one is shown."""


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(text: object) -> str:
    """`text` as code, nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def columns() -> str:
    """The columns of every frame."""
    left_out = table(("wire field", "why"), ((code(name), why) for name, why in DROPPED.items()))
    parts = [COLUMNS.format(offers=offer_columns(KINDS["offers"]), more=offer_columns(FIELDS), left_out=left_out)]
    for kind in (kind for kind in KINDS if kind != "offers"):
        rows = ((code(c.name), c.dtype, c.unit, c.meaning) for c in KINDS[kind])
        parts.append(
            f"## {kind.capitalize()}\n\n{WHOSE.get(kind, '')}\n\n" + table(("name", "dtype", "unit", "meaning"), rows)
        )
    return "\n\n".join(parts)


COLUMNS = """\
# Columns

Every frame is a plain `pandas.DataFrame` with a RangeIndex and these columns, dtypes and order, also when it is empty. Names carry their
unit. The service's own names and values come with `raw=True`.

What the service did not say is NA, never 0. What is impossible is NA as well: a negative speed, CUDA 580. The column *possible* gives the
range outside of which a value is not believed; infinite measures are never believed. A text where a number belongs is a `ResponseError`.

*In a query* is what may be written in a [search](searching.md); the names in a row mean the same.

## Offers

What `vastnb.search` returns.

{offers}

`cpu_cores` of the frame is your share. In a query `cpu_cores` keeps the official meaning, the threads of the whole machine; your share is
`cpu_cores_effective` there. `duration_s` is seconds; in a query `duration` is days. `inet_down_mbps` and `inet_up_mbps` are megabits a second,
`disk_mbps` is megabytes a second. `verified=true` in a query is the same as `verification=verified`; `=` and `in` on GPU memory mean the size on the box.

### More fields of an offer

In the frame after those above, if the service sent them. A field that is in neither table is kept under its own name, after these.

{more}

### Fields left out

`raw=True` has them.

{left_out}"""
WHOSE = {
    "cache": "What `vastnb.cache_info` and `%vast cache` return.",
    **{
        kind: f'What `vastnb.show("{kind}")` and `%vast show {kind}` return.'
        for kind in ("templates", "benchmarks", "metrics", "trends", "locations", "volumes", "ssh-keys", "user")
    },
    "jobs": "What `Instance.jobs` and `%vast jobs` return.",
    "keeps": "What `vastnb.keeps`, `Instance.keep` and `Instance.keeps` return, and `%vast keeps`.",
    "calls": "What `vastnb.calls()` and `%vast calls --all` return.",
    "call summary": "What `vastnb.calls(summary=True)` and `%vast calls` return.",
    "quotes": "What `vastnb.quote` returns for a frame, and `%vast quote` for a query.",
    "choices": "What `vastnb.cheapest_for` returns.",
    "job costs": "What `vastnb.usd_per_job` returns.",
    "groups": "What `vastnb.compare` returns.",
    "variations": "What `vastnb.sensitivity` returns.",
    "market groups": "What `vastnb.market` returns.",
    "spending groups": "What `vastnb.spend` and `%vast spend` return by name, label, GPU or notebook.",
    "spending days": 'What `vastnb.spend(by="day")` and `%vast spend --by day` return.',
    "spending contracts": 'What `vastnb.spend(by="instance")` and `%vast spend --by instance` return.',
    "reconciled launches": "What `vastnb.reconcile` and `%vast spend --reconcile` return.",
    "gpus": "What `vastnb.gpus` and `%vast gpus` return.",
    "fields": "What `vastnb.fields` and `%vast fields` return.",
    "config": "What `%vast config` returns.",
    "faults": "What `%vast sandbox --fault list` returns.",
    "health": "What `to_frame()` of the report of `vastnb.health` and `vastnb.Instance.health` returns.",
    "history": "What `vastnb.history` and `%vast history` return.",
    "machine life": "What `vastnb.history(machine=...)` and `%vast history --machine` return: one row for each time that an offer kept its price.",
    "alerts": "What `vastnb.alerts` and `%vast watch price` return.",
    "samples": "What `vastnb.sample` returns.",
    "snapshots": "What `vastnb.import_history` returns, and the Parquet files below `snapshots/`: one row an answer of the service.",
    "observations": "The Parquet files below `offers/`: one row an offer in an answer. See [prices over time](history.md).",
}


def offer_columns(some: Iterable[Column]) -> str:
    """A table of columns of an offer."""
    rows = (
        (code(c.name), c.dtype, c.unit, c.meaning, asked(c), code(c.source) or "computed", possible(c)) for c in some
    )
    return table(("name", "dtype", "unit", "meaning", "in a query", "wire field", "possible"), rows)


def asked(column: Column) -> str:
    """What may be written in a query; the sizes on the box are asked for by the same names as the memory they stand for."""
    names = [
        name for name, found in asked_as().items() if found is column or name == column.name == "gpu_ram_nominal_gb"
    ]
    return ", ".join(
        map(code, ["cpu_ram_gb"] if column.name == "cpu_ram_gb" else sorted(names, key=lambda n: n != column.name))
    )


def possible(column: Column) -> str:
    """The range outside of which a value becomes NA."""
    low, high = (("" if bound is None else f"{bound:g}") for bound in (column.low, column.high))
    return f"{low} to {high}" if high else f"from {low}" if low else ""


def magic() -> str:
    """The commands, behind both doors."""
    words = table(
        ("word", "in a notebook", "in a shell", "what it gives"),
        (
            (f"[{c.word}](#{c.word})", *("yes" if d in c.doors else "" for d in ("notebook", "shell")), c.summary)
            for c in COMMANDS.values()
        ),
    )
    ours = dict.fromkeys(OTHER_NAMES.values())
    others = table(
        ("word", "also"),
        ((code(word), ", ".join(code(o) for o in OTHER_NAMES if OTHER_NAMES[o] == word)) for word in ours),
    )
    return "\n\n".join([MAGIC_HEAD.format(words=words, others=others), *map(command_page, COMMANDS.values())])


MAGIC_HEAD = """\
# `%vast` and `vastnb`

One table of commands has two doors: `%vast WORD ...` in a notebook, `vastnb WORD ...` in a shell.

```python
%load_ext vastnb
%vast use sandbox start=2026-06-01T09:00 machines=true
```

{words}

In a notebook the value is returned: `df = %vast search ...` assigns it, `_` holds it, and a trailing `;` hides the display only.
An option may be written as an argument (`hours=3`), hours and days as a time (`2h`, `30d`).
`$name` and `{{expression}}` are expanded on the line. In a cell that begins with `%%vast search`, the lines below are more of the query;
nothing is expanded there, blank lines and comments (`#`) are left out.

In a shell a frame is printed as a table, with `--json` as JSON and with `--csv` as CSV. Put a query in single quotes there: a shell
takes `<`, `>` and `$` for itself. The exit status is 0, 1 for an error, 2 for a word or option that does not exist, 130 after Ctrl-C.
Every word takes `--help`. `vastnb --version` prints the version. `python -m vastnb` is the same as `vastnb`.

Other programs' names are understood; any other word, option or argument is answered with the one that is likely meant.

{others}"""


def command_page(command: Command) -> str:
    """One command in full."""
    parts = [f"## {command.word}", f"{command.summary[0].upper()}{command.summary[1:]}."]
    if command.details:
        parts.append(command.details)
    shown = [arg for arg in command.args if arg.help != argparse.SUPPRESS]
    if shown:
        parts.append(table(("argument", "meaning", "default"), ((arg_names(a), a.help, arg_default(a)) for a in shown)))
    lines = [example for example in command.examples if "%vast" in example]
    shell = [example for example in command.examples if "%vast" not in example]
    parts += [f"```python\n{NEWLINE.join(lines)}\n```"] if lines else []
    parts += [f"```sh\n{NEWLINE.join(shell)}\n```"] if shell else []
    if command.function:
        parts.append(f"The same as a function: `{command.function}`.")
    return "\n\n".join(parts)


NEWLINE = "\n"


def arg_names(arg: Any) -> str:
    """The names of an argument, with what it takes."""
    takes = arg.options.get("metavar", "") if arg.names[0].startswith("-") else ""
    return ", ".join(code(name) for name in arg.names) + (f" {takes}" if takes else "")


def arg_default(arg: Any) -> str:
    """The default of an argument, where there is one to tell."""
    default = arg.options.get("default")
    return "" if default is None or "const" in arg.options else code(default)


def settings() -> str:
    """Every setting."""
    rows = [setting_row(name, info) for name, info in leaves(Settings)]
    return f"{SETTINGS_HEAD}\n\n{table(('name', 'type', 'default', 'range', 'environment', 'meaning'), rows)}\n\n{SETTINGS_TAIL}"


SETTINGS_HEAD = """\
# Settings

`%vast config` (or `vastnb config`) shows what is in force and where each value comes from. [SETUP](SETUP.md) says which source goes
before which. A name that is not in this table is an error."""
SETTINGS_TAIL = """\
In a settings file a dotted name is a table: `cache.offers_ttl_s` is `offers_ttl_s` below `[default.cache]` or
`[profiles.NAME.cache]`. In `vastnb.use` it is a dict: `use("production", cache={"offers_ttl_s": 60})`; the values of `sandbox` may be given
directly: `use("sandbox", seed=7)`. In `%vast use` it is written with the dot: `%vast use production cache.offers_ttl_s=60`.

Two more variables say which settings are read: `VASTNB_PROFILE` chooses a profile, `VASTNB_CONFIG` names another file than the user's.
`VASTNB_TEST_...` is left to tests."""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and field of every setting, tables opened."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from leaves(info.annotation, f"{prefix}{name}.")
        elif not info.exclude:
            yield prefix + name, info


def setting_row(name: str, info: Any) -> tuple[str, ...]:
    """One row of the table of settings."""
    kind = re.sub(r"typing\.|Literal|NoneType|<class '|'>|SecretStr", "", inspect.formatannotation(info.annotation))
    kind = {" | None": "text", "pydantic.types. | None": "text, secret", "str": "text", "str | None": "text"}.get(
        kind, kind
    )
    kind = " or ".join(code(word) for word in re.findall(r"'(\w+)'", kind)) or kind
    also = {"url": ", `VAST_URL`", "api_key": ", `VAST_API_KEY`"}.get(name, "")
    default = "" if info.default is None else code(info.default)
    return (
        code(name),
        kind,
        default,
        limits(info),
        code("VASTNB_" + name.upper().replace(".", "__")) + also,
        info.description,
    )


def limits(info: Any) -> str:
    """What range a number must be in."""
    found = {name: getattr(m, name) for m in info.metadata for name in ("ge", "gt", "le") if hasattr(m, name)}
    low = f"{found['ge']:g}" if "ge" in found else f"above {found['gt']:g}" if "gt" in found else ""
    return f"{low} to {found['le']:g}" if "le" in found else f"from {low}" if low else ""


def errors_page() -> str:
    """The tree of errors, and each of them."""
    tree = inspect.cleandoc((errors.__doc__ or "").split("::\n", 1)[1].split("\n\nImported", 1)[0])
    rows = (
        (
            code(kind.__name__),
            code(kind.code),
            "yes" if kind.retryable else "",
            first_line(kind),
            kind.default_hint or "",
        )
        for kind in (getattr(errors, name) for name in tree_names(tree))
    )
    statuses = ((str(status), code(kind.__name__)) for status, kind in sorted(STATUS_ERRORS.items()))
    return ERRORS.format(
        tree=tree,
        classes=table(("class", "`code`", "`retryable`", "when", "`hint`"), rows),
        more=table(("class", "further attributes"), more_attributes(tree)),
        statuses=table(("status", "class"), statuses),
    )


ERRORS = """\
# Errors

Everything that vastnb raises on purpose is a `VastError`. In a notebook it shows as one line and a hint, and the cell fails; `%tb` then
shows the whole traceback. It is an ordinary exception: `except vastnb.errors.RateLimitError as error` catches it.

```text
{tree}
```

Every error has `message`, `code` (a short stable word for programs), `retryable` (whether the same call may succeed later without a
change), `original` (the error of the lower library, or None) and `hint` (the next step, or None). A single error may carry another code,
hint or `retryable` than its class.

{classes}

{more}

## What a status means

The service's body is asked first: its `error` word, then its text. This is what a status means when the body says nothing; any other
status from 500 is a `ServerError`, any other below that a `ResponseError`.

{statuses}

Reads are repeated before you see an error (see [caching](caching.md) for what may stand in for an answer): after a lost connection, a time-out
and the statuses 429, 502, 503 and 504, `retries` times, with growing random pauses. `QuotaError` is not repeated."""


def tree_names(tree: str) -> list[str]:
    """The classes of the tree, in its order."""
    return re.findall(r"\b\w+Error\b", tree)


def first_line(kind: type) -> str:
    """The first line of a class's docstring."""
    return inspect.cleandoc(kind.__doc__ or "").splitlines()[0].replace("``", "`")


def more_attributes(tree: str) -> Iterator[tuple[str, str]]:
    """What a class has beyond its base."""
    for name in tree_names(tree):
        kind = getattr(errors, name)
        own = [fact for fact in vars(kind).get("__annotations__", ()) if kind is not errors.VastError]
        if own:
            yield code(name), ", ".join(map(code, own))


def sandbox_reference() -> str:
    """The sandbox's faults and endpoints."""
    faults = (
        (code(name), kind.stage, kind.meaning, ", ".join(code(f"{n}={v!r}") for n, v in kind.options.items()))
        for name, kind in FAULTS.items()
    )
    served, rest = ([e for e in ENDPOINTS if (e.state == "served") is wanted] for wanted in (True, False))
    return SANDBOX.format(
        faults=table(("fault", "spoils", "what happens", "options"), faults),
        served=table(
            ("endpoint", "what", "known from"), ((code(f"{e.method} {e.path}"), e.what, e.basis) for e in served)
        ),
        rest=table(("endpoint", "what", "known from"), ((code(f"{e.method} {e.path}"), e.what, e.basis) for e in rest)),
        counts=f"{len(served)} of {len(ENDPOINTS)}",
        limits=table(
            ("endpoint", "seconds between two requests"),
            ((code(f"{e.method} {e.path}"), f"{e.min_interval_s:g}") for e in served if e.min_interval_s),
        ),
    )


SANDBOX = """\
# Sandbox: faults and endpoints

[The sandbox](sandbox.md) says how to use them.

## Faults

A fault of the *answer* replaces, delays or spoils what is sent. A fault of the *offers* changes the data in it. One of what is *rented*
is met by the next create request. With `acts=True` the request is carried out all the same.

{faults}

## Endpoints

Every endpoint of the official client (vastai 1.9.1). The sandbox serves {counts}. One that it does not serve answers as the real service
does for a path it does not know: with the console's HTML page. *Known from* says what the shape of the answer rests on: `recorded` (an answer of the
real service), `documented` (Vast's documentation), `client only` (the source of the official client).

### Served

{served}

### Not served yet

{rest}

## Rate limits

With `strict=True` the documented limits hold: ten searches a minute, and these intervals. Otherwise there are none.

{limits}"""


PAGES: dict[str, Callable[[], str]] = {
    "columns.md": columns,
    "errors.md": errors_page,
    "magic.md": magic,
    "sandbox-reference.md": sandbox_reference,
    "settings.md": settings,
}
"""Each generated page, and what it is made by."""


def generated(name: str) -> str:
    """The text of a generated page."""
    return f"<!-- Generated by docs/generate.py: do not edit. -->\n\n{PAGES[name]().rstrip()}\n"


def handwritten() -> list[Path]:
    """The pages in which outputs are kept."""
    return [HERE.parent / "README.md", *sorted(p for p in HERE.glob("*.md") if p.name not in PAGES)]


def with_outputs(text: str, shell: Any) -> str:
    """`text` with the outputs of its blocks as they are now; blocks of one page run in one shell, in order."""

    def renewed(found: re.Match[str]) -> str:
        shown = output(shell, found[2])
        return found[0] if found[3] is None else found[0].replace(f"```text\n{found[3]}```", f"```text\n{shown}```")

    return BLOCK.sub(renewed, text)


def output(shell: Any, source: str) -> str:
    """What a cell shows, as text."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        shell.run_cell(source)
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue())
    return (
        "\n".join(line.rstrip() for line in re.sub(r"^Out\[\d+\]: ?\n?", "", text, flags=re.MULTILINE).splitlines())
        + "\n"
    )


def new_shell() -> Any:
    """An IPython shell."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    return InteractiveShell.instance(config=config, colors="NoColor")


def without_the_users_settings(home: str) -> None:
    """Outputs must not depend on who runs this."""
    for name in [name for name in os.environ if name.startswith(("VAST", "XDG_"))]:
        del os.environ[name]
    os.environ |= {f"XDG_{kind}_HOME": home for kind in ("CONFIG", "CACHE", "STATE", "DATA")} | {
        "IPYTHONDIR": home,
        "HOME": home,
    }
    os.chdir(home)


def main(words: list[str]) -> int:
    """Write what is out of date, or with ``--check`` say it; 1 if something was."""
    with tempfile.TemporaryDirectory(prefix="vastnb-docs-") as home:
        without_the_users_settings(home)
        wanted = {HERE / name: generated(name) for name in PAGES}
        for page in handwritten():
            text = page.read_text("utf-8")
            wanted[page] = with_outputs(text, new_shell()) if "<!-- output -->" in text else text
        os.chdir(HERE)
    old = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in old:
        print("out of date:" if "--check" in words else "written:", path.relative_to(HERE.parent))
        if "--check" not in words:
            path.write_text(wanted[path], "utf-8")
    return 1 if old and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
