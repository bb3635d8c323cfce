"""Where the observatory keeps what it saw.

::

    <state folder>/history/
        format.json                 which form the files have, and what this store is called
        lock.sqlite                 one at a time packs
        spool/<date>/*.arrows       what was seen since it was last packed: a stream for each writer
    <state folder>/history, or any fsspec URL/
        offers/date=YYYY-MM-DD/<store>.parquet
        snapshots/month=YYYY-MM/<store>.parquet
        rollups/month=YYYY-MM/<store>.parquet

A store writes only files that carry its name, so several computers may share one URL without a lock.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from vastnb.errors import ConfigError, NewerStateError, StateError

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = [
    "FORMAT",
    "FORMAT_KEY",
    "Dataset",
    "Store",
    "arrow_schema",
    "make_private",
    "packing",
    "pinned",
    "require",
    "store_of",
]

FORMAT = 1
FORMAT_KEY = b"vastnb.history"
"""Where Arrow streams and Parquet files say which form they have."""
_ARROW = {"float64": "float64", "Int64": "int64", "boolean": "bool", "str": "string"}


def require() -> None:
    """Raise `ConfigError` unless the packages of the extra ``history`` are here."""
    try:
        import duckdb  # noqa: F401
        import fsspec  # noqa: F401
        import pyarrow as pa  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the history needs the package {error.name}, which is not installed",
            original=error,
            hint='pip install "vastnb[history]", then restart the kernel',
        ) from error


@cache
def arrow_schema(kind: str) -> Any:
    """The Arrow schema of the stored columns of `kind`."""
    import pyarrow as pa

    from vastnb.vast.types import KINDS

    stamp = pa.timestamp("us", "UTC")
    fields = [
        (c.name, stamp if c.dtype.startswith("datetime") else getattr(pa, _arrow(c.dtype))()) for c in KINDS[kind]
    ]
    return pa.schema(fields, metadata={FORMAT_KEY: str(FORMAT).encode()})


def _arrow(dtype: str) -> str:
    return "bool_" if dtype == "boolean" else _ARROW[dtype]


def pinned(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    """`frame` with the pinned columns of `kind`, their order and dtypes."""
    from vastnb.vast.types import KINDS

    columns = KINDS[kind]
    return frame[[c.name for c in columns]].astype({c.name: c.dtype for c in columns})


def make_private(folder: Path) -> None:
    """Make a folder and what is missing above it, for their owner only (`mkdir` gives parents the usual rights)."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Store:
    """One store: the folder of its spool, and where its packed files are."""

    folder: Path
    url: str
    max_bytes: float = float("inf")

    @property
    def spool(self) -> Path:
        """The folder of the streams."""
        return self.folder / "spool"

    def name(self) -> str:
        """What this store is called in the names of its packed files; made at first use.

        Raises
        ------
        NewerStateError
            A newer vastnb wrote it.
        StateError
            It cannot be used.
        """
        file = self.folder / "format.json"
        try:
            if not file.exists():
                self._make(file)
            said = orjson.loads(file.read_bytes())
            number, name = int(said["format"]), str(said["store"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise StateError(f"the history in {self.folder} cannot be used: {error}", original=error) from error
        if number > FORMAT:
            raise NewerStateError(f"the history in {self.folder} was written by a newer vastnb (form {number})")
        return name

    def _make(self, file: Path) -> None:
        token = secrets.token_hex(4)
        new = self.folder / f"format.{token}"
        self.put(new.name, orjson.dumps({"format": FORMAT, "store": token}))
        try:
            os.link(new, file)  # fails where another process was faster; a rename would replace its name by ours
        except FileExistsError:
            pass
        finally:
            new.unlink()

    def put(self, name: str, content: bytes) -> None:
        """Put a small private file into the folder, whole or not at all."""
        make_private(self.folder)
        new = self.folder / f".{name}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(content)
        new.replace(self.folder / name)

    def dataset(self) -> Dataset:
        """The packed files."""
        return Dataset(self.url)


def store_of(client: Client) -> Store:
    """The store of what `client` sees: what a sandbox said lies apart, by its run."""
    settings, folder = client.settings.history, client.state_folder / "history"
    return Store(folder, settings.url or str(folder), settings.max_mb * 1e6)


@contextmanager
def packing(store: Store) -> Iterator[bool]:
    """Whether this process may pack now: one at a time does, and a killed one holds up nobody."""
    make_private(store.folder)
    file = store.folder / "lock.sqlite"
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("begin exclusive")
        except sqlite3.OperationalError:  # another process has it
            yield False
            return
        yield True


class Dataset:
    """Parquet files below an fsspec URL.

    Parameters
    ----------
    url
        A folder, or what fsspec understands: ``s3://bucket/prices``, ``memory://prices``.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            self.fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"history.url cannot be used: {error}", original=error) from error
        self.root = root.rstrip("/")
        self.is_local = "file" in ([self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol)

    def files(self, table: str, first: str = "", last: str = "~") -> list[tuple[str, str]]:
        """Partition and path of the files of `table`, from partition `first` to `last`, in their order."""
        found = self._found(table)
        named = sorted((path.split("/")[-2].partition("=")[2], path) for path in found)
        return [(part, path) for part, path in named if first <= part <= last]

    def _found(self, table: str) -> list[str]:
        """Of a year of days, fsspec needs ten times as long for a folder on this computer."""
        if self.is_local:
            return [path.as_posix() for path in Path(self.root, table).glob("*/*.parquet")]
        return list(self.fs.glob(f"{self.root}/{table}/*/*.parquet"))

    def relation(self, db: Any, paths: list[str]) -> Any:
        """Files as one relation of a DuckDB."""
        if self.is_local:
            return db.read_parquet(paths)
        db.register_filesystem(self.fs)
        return db.read_parquet([self.fs.unstrip_protocol(path) for path in paths])

    def path(self, table: str, partition: str, store: str) -> str:
        """Where the file of a store is."""
        key = "date" if table == "offers" else "month"
        return f"{self.root}/{table}/{key}={partition}/{store}.parquet"

    def read(self, path: str, columns: list[str] | None = None) -> Any:
        """A file as an Arrow table, None if there is none.

        Raises
        ------
        NewerStateError
            A newer vastnb wrote it.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self.fs.open(path, "rb") as file:
                parquet = pq.ParquetFile(file)
                _check_form(parquet.schema_arrow.metadata, path)
                return parquet.read(columns)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            raise StateError(f"{path} cannot be read: {error}", original=error) from error

    def write(self, path: str, table: Any, writer: str) -> None:
        """Put a file there, whole or not at all: another name first, then the right one."""
        import pyarrow.parquet as pq

        token = f"{self.root}/.writing/{writer}-{secrets.token_hex(4)}"
        try:
            self._make_folder(token)
            self._make_folder(path)
            with self.fs.open(token, "wb") as file:
                pq.write_table(table, file, compression="zstd", compression_level=6, row_group_size=1 << 17)
            self._move(token, path)
        except OSError as error:
            raise StateError(
                f"{path} cannot be written: {error}", original=error, hint="nothing is lost: make room, and ask again"
            ) from error

    def remove(self, path: str) -> None:
        """Take a file away."""
        self.fs.rm_file(path)

    def sweep(self, writer: str) -> None:
        """Take away what a killed `writer` had half written; its lock must be held."""
        for path in self.fs.glob(f"{self.root}/.writing/{writer}-*"):
            self.fs.rm_file(path)

    def _make_folder(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if self.is_local:
            make_private(Path(folder))
        else:
            self.fs.makedirs(folder, exist_ok=True)

    def _move(self, source: str, target: str) -> None:
        if self.is_local:
            Path(source).chmod(0o600)
            Path(source).replace(target)
        else:
            self.fs.mv(source, target)


def _check_form(metadata: dict[bytes, bytes] | None, path: str) -> None:
    number = int((metadata or {}).get(FORMAT_KEY, b"0"))
    if number > FORMAT:
        raise NewerStateError(f"{path} was written by a newer vastnb (form {number})")
