"""Dead letters: lines that the server rejected for good, each with the server's message.

They are kept in a spool as JSON, so they are on disk when accepted, and limited in bytes: the
oldest are dropped and counted.
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

MAX_BATCH_LETTERS = 500


class Letter(NamedTuple):
    """A line that was rejected at `time` (Unix), with the server's message."""

    time: float
    message: str
    line: str


class Requeued(NamedTuple):
    """How many lines were put back, and how many stay: without a timestamp, or without room."""

    put_back: int
    without_time: int
    without_room: int


class DeadLetters:
    """The letters in `directory`, of which the newest `limit_bytes` are kept."""

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        """Open the letters; raises `UsageError`."""
        self.spool = Spool(directory, limit_bytes)

    def put(self, line: bytes, message: str) -> None:
        """Keep a line with the server's message, on disk when this returns."""
        self.extend([(line, message)])

    def extend(self, rejected: list[tuple[bytes, str]]) -> None:
        """Keep several lines with one sync."""
        now = time.time()
        self.spool.extend(
            packed(line.decode("utf-8", "replace"), text, now) for line, text in rejected
        )

    def requeue(self, queue: Spool) -> Requeued:
        """Move the letters' lines back into a queue until it is full; drops nothing.

        A line without a timestamp stays, because the server would give it the current time.
        """
        put_back, staying, last = 0, 0, self.spool.end
        while (batch := self.spool.read(MAX_BATCH_LETTERS)).lines and batch.ends[0] <= last:
            stored = batch.lines[: bisect_right(batch.ends, last)]
            lines = list(map(_line, stored))
            timed = [place for place, line in enumerate(lines) if timestamp(line) is not None]
            taken = queue.extend((lines[place] for place in timed), make_room=False)
            upto = timed[taken] if taken < len(timed) else len(lines)
            untimed = [stored[place] for place in range(upto) if place not in timed]
            put_back += taken
            if upto and not self.spool.rotate(untimed, batch.ends[upto - 1]):
                upto, untimed = 0, []
            staying += len(untimed)
            if upto < len(lines):
                return Requeued(put_back, staying, self.spool.pending - staying)
        return Requeued(put_back, staying, 0)

    def close(self) -> None:
        """Release the files."""
        self.spool.close()


def letters(directory: Path) -> Iterator[Letter]:
    """Yield the letters in a directory, oldest first, also while it is in use."""
    yield from filter(None, map(unpacked, segments.lines(directory)))


def packed(line: str, message: str, rejected: float) -> bytes:
    """Return the record of a letter that was `rejected` at a Unix time in seconds."""
    return json.dumps({"time": rejected, "words": message, "line": line}).encode()


def unpacked(stored: bytes) -> Letter | None:
    """Return the letter of a record, None if it is damaged."""
    try:
        found = json.loads(stored)
        letter = Letter(found["time"], found["words"], found["line"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    texts = isinstance(letter.message, str) and isinstance(letter.line, str)
    return letter if texts else None


def _line(stored: bytes) -> bytes:
    letter = unpacked(stored)
    return b"" if letter is None else letter.line.encode("utf-8", "replace")
