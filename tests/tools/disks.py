"""A small file system that a test fills."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_LAZILY = 2
"""MNT_DETACH of umount2(2)."""


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


@contextlib.contextmanager
def mounted(folder: Path, size: bytes) -> Iterator[Disk]:
    """Mount a tmpfs of a size such as `512k` on a new folder; skip the test where it cannot be.

    No process is started, which is only for tests with the marker `system`.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tmpfs")
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=" + size) != 0:
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    yield Disk(folder)
    assert libc.umount2(bytes(folder), _LAZILY) == 0
