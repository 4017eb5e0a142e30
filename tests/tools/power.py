"""A disk that loses what was not synced: the contents of a directory after a power cut."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WAYS = ("nothing", "names", "halves")
"""What else may have reached the disk than what was synced: nothing, all names, half the bytes."""


class _File:
    """A file's bytes: as programs see them, and as they certainly are on disk."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.synced = data

    def after_a_cut(self, way: str) -> bytes:
        if way != "halves" or not self.data.startswith(self.synced):
            return self.synced
        return self.data[: (len(self.synced) + len(self.data)) // 2]


class Disk:
    """Watches changes below `root` and calls `at_each_step` after each of them.

    What exists at the beginning counts as synced.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, root: Path, at_each_step: Callable[[], None]
    ) -> None:
        self.steps = 0
        self._root = root
        self._at_each_step = at_each_step
        self._watching = True
        self._open_files: dict[int, _File | Path] = {}
        self._names: dict[Path, _File | None] = {
            path: _File(path.read_bytes()) if path.is_file() else None for path in root.rglob("*")
        }
        self._synced_names = dict(self._names)
        for (
            name
        ) in "open write ftruncate fsync fdatasync dup close replace rename unlink mkdir".split():
            real = getattr(os, name)
            monkeypatch.setattr(os, name, self._watched(real, getattr(self, f"_{name}")))

    def left(self, folder: Path, way: str) -> Path:
        """Create in `folder` what a power cut leaves of the root, and return it."""
        names = self._synced_names if way == "nothing" else self._names
        folder.mkdir()
        for path, file in sorted(names.items()):
            copy = folder / path.relative_to(self._root)
            if not copy.parent.is_dir():
                continue  # its directory did not reach the disk
            if file is None:
                copy.mkdir()
            else:
                copy.write_bytes(file.after_a_cut(way))
        return folder

    def _watched(self, real: Callable[..., Any], note: Callable[..., bool]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not self._watching:
                return None if real.__name__ in ("fsync", "fdatasync") else real(*args, **options)
            result = real(*args, **options)
            if note(result, *args):
                self.steps += 1
                self.cut()
            return result

        return call

    def cut(self) -> None:
        """Simulate a power cut now."""
        self._watching = False
        try:
            self._at_each_step()
        finally:
            self._watching = True

    def _below(self, path: Any) -> bool:
        return isinstance(path, str | Path) and self._root in Path(path).parents

    def _open(self, fd: int, path: Any, flags: int, *_mode: Any) -> bool:
        path = Path(path) if isinstance(path, str | Path) else None
        if path is None or not (path == self._root or self._below(path)):
            return False
        if path == self._root or self._names.get(path, 0) is None:
            self._open_files[fd] = path
            return False
        file = self._names.setdefault(path, _File())
        assert file is not None
        if flags & os.O_TRUNC:
            file.data = b""
        self._open_files[fd] = file
        return bool(flags & os.O_CREAT)

    def _write(self, written: int, fd: int, content: bytes) -> bool:
        file = self._open_files.get(fd)
        if isinstance(file, _File):
            file.data += bytes(content[:written])
        return isinstance(file, _File)

    def _ftruncate(self, _result: None, fd: int, length: int) -> bool:
        file = self._open_files.get(fd)
        if isinstance(file, _File):
            file.data = file.data[:length]
        return isinstance(file, _File)

    def _fsync(self, _result: None, fd: int) -> bool:
        file = self._open_files.get(fd)
        if isinstance(file, _File):
            file.synced = file.data
        elif file is not None:
            kept = {path: f for path, f in self._synced_names.items() if path.parent != file}
            here = {path: f for path, f in self._names.items() if path.parent == file}
            self._synced_names = kept | here
        return file is not None

    _fdatasync = _fsync

    def _dup(self, copy: int, fd: int) -> bool:
        if fd in self._open_files:
            self._open_files[copy] = self._open_files[fd]
        return False

    def _close(self, _result: None, fd: int) -> bool:
        self._open_files.pop(fd, None)
        return False

    def _replace(self, _result: None, source: Any, target: Any) -> bool:
        if self._below(source):
            self._names[Path(target)] = self._names.pop(Path(source))
        return self._below(source)

    _rename = _replace

    def _unlink(self, _result: None, path: Any) -> bool:
        if self._below(path):
            self._names.pop(Path(path), None)
        return self._below(path)

    def _mkdir(self, _result: None, path: Any, *_mode: Any) -> bool:
        if self._below(path):
            self._names[Path(path)] = None
        return self._below(path)
