"""The file with the reader's position: each commit appends a record, and the last sound one counts.

To append and sync a record costs a fraction of what replacing the file does, which happens once for
hundreds of commits.
"""

from __future__ import annotations

import os
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.spool import segments

MAX_BYTES = 4096
"""Maximum size of the file."""


class CursorFile:
    """The file `cursor` in a directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / segments.CURSOR
        self._size: int | None = None

    def store(self, segment: int, offset: int) -> None:
        """Write a position to disk; raises `OSError`, and then the earlier one still counts.

        The file is replaced at first, and after an error: its end may be torn.
        """
        record = segments.record(b"%d %d" % (segment, offset))
        size, self._size = self._size, None
        if size is None or size + len(record) > MAX_BYTES:
            files.replace(self._path, record)
            size = 0
        else:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                files.write(descriptor, record)
                files.sync_data(descriptor)
            finally:
                os.close(descriptor)
        self._size = size + len(record)
