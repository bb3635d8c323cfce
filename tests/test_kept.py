"""Finished frames: the next kernel gets them without parsing; what is no whole frame is none."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vastnb.sandbox import Sandbox
from vastnb.services.offers import search
from vastnb.vast.client import Client
from vastnb.vast.client.kept import KeptFrames
from vastnb.vast.types import columnfile

MakeClient = Callable[..., Client]
FRAME = pd.DataFrame(
    {
        "number": [1.5, None, -0.0],
        "count": pd.array([1, None, 2**62], dtype="Int64"),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "text": pd.array(["a", None, "ü" * 1000], dtype="str"),
        "time": pd.to_datetime(["2026-06-01", None, "2100-01-01"], utc=True).as_unit("us"),
        "lists": [[1, 2], None, {"a": 1}],
    }
)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_frame_comes_back_as_it_was_and_can_be_changed(tmp_path: Path, rows: int) -> None:
    frame = FRAME.head(rows).reset_index(drop=True)

    assert columnfile.write(tmp_path / "f", frame, {"x": 1})
    found = columnfile.read(tmp_path / "f")

    assert found is not None
    pd.testing.assert_frame_equal(found[0], frame)
    assert found[1] == {"x": 1}
    found[0]["number"] += 1
    found[0].loc[:, "count"] = 7


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), max_size=20))
def test_any_texts_come_back(words: list[str | None]) -> None:
    import tempfile

    frame = pd.DataFrame(
        {"text": pd.array([w if w is None else w.encode("utf-8", "replace").decode() for w in words], dtype="str")}
    )
    with tempfile.TemporaryDirectory() as folder:
        assert columnfile.write(Path(folder) / "f", frame, {})
        found = columnfile.read(Path(folder) / "f")

    assert found is not None
    pd.testing.assert_frame_equal(found[0], frame)


def test_a_part_of_a_frame_is_kept_right(tmp_path: Path) -> None:
    part = pd.concat([FRAME] * 4, ignore_index=True).iloc[5:9].reset_index(drop=True)

    columnfile.write(tmp_path / "f", part, {})
    found = columnfile.read(tmp_path / "f")

    assert found is not None
    pd.testing.assert_frame_equal(found[0], part)


@pytest.mark.parametrize("cut", [0, 5, 30, 200, -1])
def test_a_cut_file_is_no_frame(tmp_path: Path, cut: int) -> None:
    columnfile.write(tmp_path / "f", FRAME, {})
    whole = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(whole[:cut] if cut >= 0 else whole[: len(whole) // 2])

    assert columnfile.read(tmp_path / "f") is None


@given(data=st.binary(max_size=300), at=st.integers(0, 2000))
def test_a_scribbled_file_is_a_frame_or_none_and_never_an_error(data: bytes, at: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        columnfile.write(path, FRAME, {})
        whole = bytearray(path.read_bytes())
        whole[at : at + len(data)] = data
        path.write_bytes(whole)

        found = columnfile.read(path)

    assert found is None or len(found[0].columns) <= len(FRAME.columns)


def test_a_pickle_in_its_place_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    (tmp_path / "f").write_bytes(pickle.dumps(Trap()))

    assert columnfile.read(tmp_path / "f") is None
    assert not (tmp_path / "ran").exists()


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert columnfile.write(tmp_path / "file" / "f", FRAME, {}) is False


def test_the_next_kernel_gets_its_frame_without_asking_or_parsing(
    make_client: MakeClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search("num_gpus=8", client=make_client(sandbox))
    next_kernel = make_client(sandbox)
    monkeypatch.setattr(Client, "page", lambda *_, **__: pytest.fail("asked"))

    second = search("num_gpus=8", client=next_kernel)

    pd.testing.assert_frame_equal(first, second)
    assert second.attrs["vastnb"] == {**first.attrs["vastnb"], "from_cache": True}


def test_frames_are_kept_for_their_time_apart_by_account_and_forgotten_with_the_market(
    make_client: MakeClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    now = [1000.0]
    frames = KeptFrames(tmp_path / "frames", clock=lambda: now[0])
    frames.put("q", FRAME, until=1030.0)
    others = [KeptFrames(tmp_path / "frames", clock=lambda: now[0]) for _ in range(2)]

    assert others[0].get("q") is not None
    now[0] = 1030.0
    assert (frames.get("q"), others[0].get("q"), others[1].get("q")) == (None, None, None)
    client = make_client(sandbox)
    search("num_gpus=8", client=client)
    client.invalidate("offers")
    assert search("num_gpus=8", client=client).attrs["vastnb"]["from_cache"] is False


def test_there_are_never_more_than_a_few_dozen(tmp_path: Path) -> None:
    frames = KeptFrames(tmp_path / "frames")

    for number in range(80):
        frames.put(number, FRAME, until=9e9)

    assert len(list((tmp_path / "frames").iterdir())) == 64
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "frames").iterdir()} == {0o600}
    assert frames.get(79) is not None
