"""Lines that a server refused, each with the server's words: a spool of their own, of JSON.

So they are synced, bounded by bytes (the oldest go and are counted), and kept through whatever a
spool is kept through.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from goe_exporter.influx.line_protocol import timestamp
from goe_exporter.spool import segments
from goe_exporter.spool.queue import Spool

SHARE = 16
"""Dead letters and parked lines take at most one part in so many of the limit, half of it each."""

AT_ONCE = 500


class Letter(NamedTuple):
    """A line that was refused at `time` (Unix), with the server's words."""

    time: float
    words: str
    line: str


class Requeued(NamedTuple):
    """How many lines were put back, stay for want of a timestamp, or for want of room."""

    put_back: int
    without_time: int
    without_room: int


class DeadLetters:
    """The letters in `directory`, of which the newest `limit_bytes` are kept."""

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        """Open them; raises `UsageError`."""
        self.spool = Spool(directory, limit_bytes)

    def put(self, line: bytes, words: str) -> None:
        """Keep a line beside the server's words, on disk when this returns."""
        self.extend([(line, words)])

    def extend(self, refused: list[tuple[bytes, str]]) -> None:
        """Keep several lines with one sync."""
        self.spool.extend(_letter(line, words) for line, words in refused)

    def requeue(self, queue: Spool) -> Requeued:
        """Move the letters' lines back into a queue, as far as it has room for them.

        Nothing is dropped for them. A line without a timestamp would get the server's time of
        now, so it stays.
        """
        put_back, staying, last = 0, 0, self.spool.end
        self.spool.limit_bytes *= 2  # letters that stay are moved to the end, not added
        while (batch := self.spool.read(AT_ONCE)).lines and batch.ends[0] <= last:
            stored = batch.lines[: bisect_right(batch.ends, last)]
            lines = list(map(_line, stored))
            dated = [place for place, line in enumerate(lines) if timestamp(line) is not None]
            taken = queue.extend((lines[place] for place in dated), make_room=False)
            upto = dated[taken] if taken < len(dated) else len(lines)
            timeless = [stored[place] for place in range(upto) if place not in dated]
            put_back += taken
            staying += self.spool.extend(timeless, make_room=False)
            if upto:
                self.spool.commit(batch.ends[upto - 1])
            if upto < len(lines):
                return Requeued(put_back, staying, self.spool.pending - staying)
        return Requeued(put_back, staying, 0)

    def close(self) -> None:
        """Release the files."""
        self.spool.close()


def letters(directory: Path) -> Iterator[Letter]:
    """Yield the letters in a directory, oldest first, also while it is in use."""
    for stored in segments.lines(directory):
        letter = unpacked(stored)
        if letter is not None:
            yield letter


def packed(letter: Letter) -> bytes:
    """Return a letter as it is stored."""
    return json.dumps(letter._asdict()).encode()


def unpacked(stored: bytes) -> Letter | None:
    """Return a stored letter, None for what is none."""
    try:
        letter = Letter(**json.loads(stored))
    except (TypeError, ValueError, RecursionError):
        return None
    texts = isinstance(letter.words, str) and isinstance(letter.line, str)
    return letter if texts else None


def _letter(line: bytes, words: str) -> bytes:
    return packed(Letter(time.time(), words, line.decode("utf-8", "replace")))


def _line(stored: bytes) -> bytes:
    letter = unpacked(stored)
    return b"" if letter is None else letter.line.encode("utf-8", "replace")
