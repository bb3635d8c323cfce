"""What was seen, written down as it comes: one Arrow stream a day for each writer, one batch for each answer.

1. `spool`, the hook of `offers.search`, takes fresh answers only, and never fails a search.
2. `append` makes a batch of an answer, with all that is known of it as the batch's metadata.
3. A batch goes to the file in one piece. A process that is killed loses at most the piece it was writing; a full disk takes the
   piece back. No file has two writers.
4. `read` gives the whole batches of every stream of a day; what is torn at the end is left.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from vastnb.errors import InputError, NewerStateError, StateError, VastError
from vastnb.infra.processes import is_alive
from vastnb.services.history.judging import Holds, judged
from vastnb.services.history.store import FORMAT, FORMAT_KEY, Store, arrow_schema, make_private, store_of
from vastnb.services.session import current

if TYPE_CHECKING:
    import pandas as pd

    from vastnb.vast.client import Client

__all__ = [
    "Seen",
    "Snapshot",
    "Stream",
    "append",
    "close",
    "dates",
    "is_over",
    "put",
    "read",
    "snapshot_of",
    "spool",
    "streams",
]

log = logging.getLogger("vastnb.history")
_DISK_GB = 10.0
"""With so much disk a GPU's price is kept, whatever was asked for."""
_ROUNDED = {"inet_down_mbps": 0, "inet_up_mbps": 0, "reliability": 4, "dlperf": 1, "cpu_ram_gb": 1, "disk_max_gb": 0}
"""Decimals of what is measured anew all the time: its noise would be most of what is stored."""
_META = b"snapshot"
_ENDED = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""How an Arrow stream ends that was closed."""
_SILENT_S = 2 * 86400.0
_lock = threading.RLock()
_open: dict[Path, Stream] = {}
"""The stream that this process writes, for each store; of the stores that were used last."""
_MOST_OPEN = 8
_TRIES = 100
_told: set[str] = set()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One answer, without its offers."""

    snapshot: int
    seen_at: datetime
    holds: Holds
    offers: int
    query: str = ""
    body: str = "{}"
    models: str = ""
    rental: str = "on-demand"
    disk_gb: float = _DISK_GB
    why: str = ""
    complete: bool = False
    requests: int = 1
    origin: str = ""

    @property
    def date(self) -> str:
        """The UTC day it belongs to."""
        return f"{self.seen_at:%Y-%m-%d}"


class Seen(NamedTuple):
    """One answer with its offers, as an Arrow batch."""

    snapshot: Snapshot
    batch: Any


# ---------------------------------------------------------------- an answer into a batch


def spool(frame: pd.DataFrame, client: Client) -> None:
    """Write down a fresh answer to a search if that is wanted and possible; no failure of it reaches the search."""
    if not client.settings.history.enabled or find_spec("pyarrow") is None:
        return
    try:
        append(frame, client=client)
    except (VastError, OSError, ValueError, TypeError) as error:
        _say_once(f"searches are not written down for the history: {error}")


def _say_once(message: str) -> None:
    if message not in _told:
        _told.add(message)
        log.warning(message)


def append(snapshot: pd.DataFrame, *, client: Client | None = None) -> Snapshot:
    """Write down the answer to a search, as `vastnb.search` gave it.

    Parameters
    ----------
    snapshot
        The frame, with its ``attrs``.
    client
        Whose store it goes to, if not the default one's.

    Returns
    -------
    Snapshot
        What was written down of it; the same answer again is the same snapshot, and counts once.

    Raises
    ------
    InputError
        Not the frame of a search.
    StateError
        It cannot be written; nothing of it is there.
    """
    about = snapshot.attrs.get("vastnb", {})
    if about.get("kind") != "offers" or "body" not in about:
        raise InputError("history: expected the frame of a search, with its attrs")
    verdict = judged(about["body"], about["query"], complete=bool(about["complete"]))
    known = {name: about[name] for name in ("query", "rental", "disk_gb", "requests")}
    seen = snapshot_of(
        snapshot,
        seen_at=datetime.fromisoformat(about["seen_at"]),
        holds=verdict.holds,
        models="|".join(verdict.models),
        why=verdict.why,
        complete=bool(about["complete"]),
        body=orjson.dumps(about["body"]).decode(),
        origin=about["source"],
        **known,
    )
    put(store_of(client if client is not None else current().client), [seen])
    return seen.snapshot


def snapshot_of(offers: pd.DataFrame, *, seen_at: datetime, holds: Holds, **known: Any) -> Seen:
    """A batch of `offers` that were seen together."""
    import numpy as np

    offers = offers.copy(deep=False)
    offers.attrs = {}  # pandas copies them for each column that is looked at
    prices = np.asarray(offers["usd_per_hour"], np.float64).tobytes()
    ids = offers["offer_id"].to_numpy(np.int64, na_value=-1).tobytes()
    digest = hashlib.blake2b(digest_size=8)
    for part in (seen_at.isoformat().encode(), str(known.get("body")).encode(), ids, prices):
        digest.update(part)
    number = int.from_bytes(digest.digest(), "big") >> 1
    snapshot = Snapshot(number, seen_at.astimezone(UTC), holds, len(offers), **known)
    return Seen(snapshot, _batch(offers, snapshot))


def _batch(offers: pd.DataFrame, snapshot: Snapshot) -> Any:
    import pyarrow as pa

    schema = arrow_schema("observations")
    total, gpus = offers["usd_per_hour"], offers["gpu_usd_per_hour"]
    scale = _DISK_GB / snapshot.disk_gb if snapshot.disk_gb else 0.0
    price = total if scale == 1 else gpus + (total - gpus) * scale
    made: dict[str, Any] = {
        "snapshot": snapshot.snapshot,
        "seen_at": snapshot.seen_at,
        "holds": snapshot.holds,
        "rental": snapshot.rental,
        "disk_gb": snapshot.disk_gb,
        "usd_per_gpu_hour": price / offers["num_gpus"].astype("float64"),
    }
    made |= {name: offers[name].round(digits) for name, digits in _ROUNDED.items()}
    columns = [_column(pa, made.get(f.name, offers.get(f.name)), f.type, len(offers)) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(pa: Any, values: Any, kind: Any, count: int) -> Any:
    if values is None:
        return pa.nulls(count, kind)
    if isinstance(values, (int, float, str, datetime)):
        return pa.repeat(pa.scalar(values, kind), count)
    made = pa.array(values, kind, from_pandas=True)
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


# ---------------------------------------------------------------- batches into streams


class Stream:
    """The stream of one writer for one day.

    Parameters
    ----------
    folder
        The spool.
    date
        The day of everything in it.
    """

    def __init__(self, folder: Path, date: str) -> None:
        import pyarrow as pa

        self.date, self.pid = date, os.getpid()
        self.path = folder / date / f"{_host()}.{self.pid}.{secrets.token_hex(4)}.arrows"
        self._fd = _created(self.path)
        self._piece = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        self._arrow = pa.ipc.new_stream(pa.PythonFile(self._piece, "w"), arrow_schema("observations"), options=options)

    def write(self, seen: Seen) -> None:
        """Add an answer, whole or not at all."""
        told = orjson.dumps(asdict(seen.snapshot))
        self._arrow.write_batch(seen.batch, custom_metadata={_META: told})
        self._flush()

    def close(self) -> None:
        """End it, so that it may be packed and taken away; a full disk keeps it without a last word."""
        self._arrow.close()
        with suppress(OSError):
            self._flush()
        os.close(self._fd)

    def leave(self) -> None:
        """Let go of it without a last word: it is another process's, or cannot be written."""
        os.close(self._fd)

    def _flush(self) -> None:
        piece = self._piece.getvalue()
        self._piece.seek(0)
        self._piece.truncate()
        before = os.fstat(self._fd).st_size
        try:
            _write_all(self._fd, piece)
        except OSError:
            os.ftruncate(self._fd, before)
            raise


def _write_all(fd: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]


def put(store: Store, answers: Iterable[Seen]) -> None:
    """Write down answers.

    Raises
    ------
    NewerStateError
        The store is a newer vastnb's.
    StateError
        They cannot be written.
    """
    with _lock:
        for seen in answers:
            stream = _stream(store, seen.snapshot.date)
            try:
                stream.write(seen)
            except OSError as error:
                _open.pop(store.folder).leave()
                raise StateError(f"{stream.path} cannot be written: {error}", original=error) from error


def _created(path: Path) -> int:
    """A new file, open for writing. Who packs removes a day's folder as soon as it is empty: it is made again."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            make_private(path.parent)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    raise FileNotFoundError(errno.ENOENT, "its folder is taken away whenever it is made", str(path))


def _stream(store: Store, date: str) -> Stream:
    """The stream for `date`; a forked process must not go on with its parent's."""
    found = _open.get(store.folder)
    if found is not None and found.pid == os.getpid() and found.date == date and found.path.exists():
        return found
    if found is not None or len(_open) >= _MOST_OPEN:
        _end(store.folder if found is not None else next(iter(_open)))
    store.name()
    _make_room(store)
    try:
        made = _open[store.folder] = Stream(store.spool, date)
    except OSError as error:
        raise StateError(f"{store.spool} cannot be written: {error}", original=error) from error
    return made


def _make_room(store: Store) -> None:
    """Take the oldest streams away where nobody ever packs them and they have become too many."""
    paths = [path for date in dates(store) for path in streams(store, date)]
    with suppress(FileNotFoundError):  # another process is packing: it makes room
        sizes = [path.stat().st_size for path in paths]
        excess = sum(sizes) - store.max_bytes
        for path, size in zip(paths, sizes, strict=True):
            if excess > 0 and is_over(path):
                path.unlink()
                excess -= size
                _say_once(
                    "the history is full (history.max_mb): its oldest answers are gone; vastnb.history() packs them"
                )


def close(store: Store, date: str = "") -> None:
    """End the stream that this process writes, if it has one; with `date`, only that of that day."""
    with _lock:
        found = _open.get(store.folder)
        if found is not None and date in ("", found.date):
            _end(store.folder)


def _end(folder: Path) -> None:
    """A forked process lets go of its parent's stream without a last word."""
    stream = _open.pop(folder)
    if stream.pid == os.getpid():
        stream.close()
    else:
        stream.leave()


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:40] or "host"


# ---------------------------------------------------------------- streams into batches


def dates(store: Store) -> list[str]:
    """The days of which something is not packed yet, oldest first."""
    if not store.spool.is_dir():
        return []
    return sorted(folder.name for folder in store.spool.iterdir() if folder.is_dir())


def streams(store: Store, date: str) -> list[Path]:
    """The streams of a day."""
    return sorted((store.spool / date).glob("*.arrows"))


def read(paths: Sequence[Path]) -> list[Seen]:
    """The whole batches of streams, each answer once, oldest first; a stream that was packed meanwhile has none.

    Raises
    ------
    NewerStateError
        A newer vastnb wrote one of them.
    """
    found: dict[int, Seen] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            found.update((seen.snapshot.snapshot, seen) for seen in _read(path))
    return sorted(found.values(), key=lambda seen: (seen.snapshot.seen_at, seen.snapshot.snapshot))


def _read(path: Path) -> Iterator[Seen]:
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(path.read_bytes()) as stream:
            _check_form(stream.schema.metadata, path)
            while True:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                if batch is None or metadata is None:
                    return
                yield Seen(_snapshot(metadata[_META]), batch)
    except (StopIteration, pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        return  # where it was torn: a killed writer, or one that is just writing


def _check_form(metadata: dict[bytes, bytes] | None, path: Path) -> None:
    number = int((metadata or {}).get(FORMAT_KEY, b"0"))
    if number > FORMAT:
        raise NewerStateError(f"{path} was written by a newer vastnb (form {number})")


def _snapshot(told: bytes) -> Snapshot:
    said = orjson.loads(told)
    return Snapshot(**{**said, "seen_at": datetime.fromisoformat(said["seen_at"])})


def is_over(path: Path) -> bool:
    """Whether nobody writes to a stream any more."""
    host, pid, _, _ = path.name.rsplit(".", 3)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_ENDED)))
        if file.read() == _ENDED:
            return True
    if host == _host() and int(pid) == os.getpid():
        with _lock:
            return all(stream.path != path for stream in _open.values())
    if host == _host() and os.name != "nt":
        return not is_alive(int(pid))
    return time.time() - path.stat().st_mtime > _SILENT_S
