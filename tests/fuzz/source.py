"""Choices from bytes, for targets whose inputs are not raw bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

HUGE = 10**400
NUMBERS: tuple[int | float, ...] = (
    *(0, 1, -1, 2, 3, 6, 10, 16, 32, 63, 64, 255, 65_535, 10**12, 2**63, HUGE, -HUGE),
    *(-0.0, 0.1, -0.0015, 2.5, -16_843.01, 1e15, 1e300, 5e-324, 230.0),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS = (
    *("", " ", "0", "1", "-15", "16", "180", "055.7", "60.0", "1e5", "nan", "inf", "9" * 19),
    *("off", "on", "auto", "10A", "5 kWh", "V4", "back\\", "a=b, c", '"', "\n", "\0", "\x1b[31m"),
    *("\ud83d", "\udc00", "\u2028", "\x85", "🚗", "é" * 600, "<b>", "#", "%2F", "..", "²", "٣"),
)


class Source:
    """Yields choices until the bytes are used up; then always the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """The number of unused bytes."""
        return max(len(self._data) - self._at, 0)

    def byte(self) -> int:
        """Return the next byte, 0 after the last."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, limit: int) -> int:
        """Return a number below `limit`, at most 65,536."""
        return (self.byte() if limit <= 256 else self.byte() << 8 | self.byte()) % limit

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of several."""
        return choices[self.below(len(choices))]

    def take(self, most: int = 64) -> bytes:
        """Return up to `most` bytes; their number comes first."""
        count = self.below(most + 1)
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        """Return all unused bytes."""
        start, self._at = self._at, max(self._at, len(self._data))
        return self._data[start:]

    def text(self, most: int = 40) -> str:
        """Return a known unusual text, or one made of the bytes."""
        kind = self.below(4)
        if kind == 0:
            return self.pick(TEXTS)
        raw = self.take(most)
        if kind == 1:
            return raw.decode("latin-1")
        return raw.decode("utf-8", "surrogateescape" if kind == 2 else "replace")

    def number(self) -> int | float:
        """Return a known unusual number, a small one, or one with decimals."""
        kind = self.below(4)
        if kind == 0:
            return self.pick(NUMBERS)
        if kind == 1:
            return self.byte()
        number = (self.byte() << 8 | self.byte()) - 32_768
        return number if kind == 2 else number / 10 ** self.below(8)

    def json(self, depth: int = 3) -> object:
        """Return anything that a JSON parser can return."""
        kind = self.below(8 if depth else 6)
        if kind == 0:
            return None
        if kind == 1:
            return bool(self.below(2))
        if kind in (2, 3):
            return self.number()
        if kind in (4, 5):
            return self.text()
        if kind == 6:
            return [self.json(depth - 1) for _ in range(self.below(17))]
        return {self.text(8): self.json(depth - 1) for _ in range(self.below(5))}
