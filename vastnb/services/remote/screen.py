"""How much of a text is still to be seen where it is shown. Pure."""

from __future__ import annotations

__all__ = ["Screen"]


class Screen:
    """Counts the characters that a screen keeps: a line that begins anew with a carriage return, as a progress bar does, is one line."""

    def __init__(self) -> None:
        self._above = self._width = self._column = 0

    @property
    def chars(self) -> int:
        """So many are to be seen."""
        return self._above + self._width

    def take(self, text: str) -> None:
        """More text."""
        for number, line in enumerate(text.split("\n")):
            if number:
                self._above += self._width + 1
                self._width = self._column = 0
            first, *again = line.split("\r")
            self._width = max(self._width, self._column + len(first), *map(len, again))
            self._column = len(again[-1]) if again else self._column + len(first)
