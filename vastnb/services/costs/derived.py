"""Frames made of frames: pinned columns, what the source says of itself, and how many rows were left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vastnb.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["about_of", "derived", "kept", "labels", "need", "numbers"]

_CARRIED = ("source", "url", "account")
_SAMPLE = "From an incomplete answer: its first rows are not the market. A narrower query comes whole."


def need(frame: pd.DataFrame, *names: str) -> None:
    """Refuse what is no frame, or lacks one of these columns.

    Raises
    ------
    InputError
        Which column is missing.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"expected a frame, got {type(frame).__name__}", hint="vastnb.search(...) gives one")
    lacking = [name for name in names if name not in frame.columns]
    if lacking:
        there = ", ".join(map(str, frame.columns[:8]))
        raise InputError(f"there is no column {lacking[0]}; the frame has {there} ...")


def numbers(frame: pd.DataFrame, name: str) -> Any:
    """A column as an array, NaN where it is NA or absent."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return frame[name].astype("float64").to_numpy()


def kept(count: int, reasons: Iterable[tuple[Any, str]]) -> tuple[Any, list[str]]:
    """Which of `count` rows no reason leaves out, and for each reason how many it did that no earlier one had."""
    stay, notes = np.ones(count, bool), []
    for where, words in reasons:
        out = int((stay & where).sum())
        if out:
            notes.append(f"{out:,} of {count:,} left out: {words}")
        stay &= ~where
    return stay, notes


def about_of(frame: pd.DataFrame) -> Mapping[str, Any]:
    """What a frame of ours says of itself; nothing for any other."""
    about = frame.attrs.get("vastnb")
    return about if isinstance(about, dict) else {}


def derived(
    kind: str, columns: Mapping[str, Any] | pd.DataFrame, of: pd.DataFrame, notes: Sequence[str] = ()
) -> pd.DataFrame:
    """A frame of `kind`, made of the frame `of`."""
    from vastnb.vast.types.frames import frame_of

    frame, about = frame_of(kind, {str(name): values for name, values in columns.items()}), about_of(of)
    sample = [_SAMPLE] if about.get("complete") is False else []
    told = {name: about[name] for name in _CARRIED if name in about}
    # Where it is not known whether prices are real, it is not shown as a table of ours.
    named = {"kind": kind, "returned": len(frame)} if "source" in told else {}
    frame.attrs["vastnb"] = {**named, **told, "notes": [*notes, *sample]}
    return frame


def labels(frame: pd.DataFrame, names: Sequence[str]) -> pd.Series[str]:
    """What each row is called in a group by these columns: ``RTX 4090 24 GB, US``."""
    import pandas as pd

    words = pd.Series("", index=frame.index, dtype="str")
    for name in names:
        sizes = name == "gpu_ram_nominal_gb"
        part = frame[name].map("{:g} GB".format, na_action="ignore") if sizes else frame[name]
        between = "" if name == names[0] else " " if sizes else ", "
        words = words + between + part.astype("str").fillna("unknown")
    return words
