"""A file system that a test fills."""

from __future__ import annotations

import contextlib
from pathlib import Path


class Disk:
    """A small file system, and a file that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Use all free bytes."""
        with (
            contextlib.suppress(OSError),
            self._ballast.open("ab", buffering=0) as file,
        ):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """Free the bytes that `fill` used."""
        self._ballast.unlink()
