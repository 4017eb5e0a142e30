"""One segment of a spool: a file, or memory while the directory is unusable."""

from __future__ import annotations

from pathlib import Path

from goe_exporter.spool import segments


class Segment:
    """A segment: its size in bytes, and the number of records behind the cursor.

    A segment in memory has no `path`; its bytes are `data`.
    """

    def __init__(self, path: Path | None, size: int = 0, records: int = 0) -> None:
        self.path = path
        self.size = size
        self.records = records
        self.data = bytearray()

    def read(self, start: int, size: int) -> bytes:
        """Return the bytes from `start` to `size`."""
        if self.path is None:
            return bytes(self.data[start:size])
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(max(size - start, 0))

    def count(self, offset: int) -> int:
        """Return the number of records behind an offset."""
        if self.path is None:
            return self.data.count(b"\n", offset)
        return segments.count(self.path, offset)

    def delete(self) -> None:
        """Delete the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
