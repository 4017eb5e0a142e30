"""A directory that one process owns: locked, of a known version, and known by its identity.

While it is in use it can be moved, deleted or replaced, and its file system can be unmounted. Its
path then leads elsewhere or nowhere; the descriptors held here still lead to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.errors import UsageError
from goe_exporter.spool import segments


class Directory:
    """The directory at `path`, which other processes are kept from using until `close`.

    `mount_point` is the root of the file system that holds it.
    """

    def __init__(self, path: Path, mount_point: Path | None = None) -> None:
        """Make the directory unless it exists, and lock it.

        With a `mount_point` it is used only on a file system mounted there, so that nothing is
        written below a mount that has gone. Raises `UsageError`.
        """
        self.path = path
        try:
            self.mount_point = _mount_point(path)
            if mount_point not in (None, self.mount_point):
                raise UsageError(
                    f"cannot use the spool {path}: nothing is mounted on {mount_point}"
                )
            files.make(path)
            with contextlib.ExitStack() as opened:
                self._open(opened)
                self._opened = opened.pop_all()
        except OSError as error:
            raise UsageError(f"cannot use the spool {path}: {error.strerror}") from error

    def _open(self, opened: contextlib.ExitStack) -> None:
        has_version = segments.check_version(self.path)
        # As long as it is open, no other directory can get its inode number.
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, self._descriptor)
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, files.FILE_MODE)
        opened.callback(os.close, self._lock)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"the spool {self.path} is in use by another process; give each its own directory"
            ) from None
        if not has_version:
            with contextlib.suppress(OSError):  # such as a full disk
                files.replace(self.path / "version", b"%d\n" % segments.VERSION)

    def in_place(self) -> bool:
        """Return whether the path still leads to this directory, and the lock was not deleted."""
        return self.at_its_path() and os.fstat(self._lock).st_nlink > 0

    def at_its_path(self) -> bool:
        """Return whether the path still leads to this directory, whatever is in it."""
        return leads_to(self.path, self._descriptor)

    def deleted(self) -> bool:
        """Return whether the directory was deleted; it may also have been moved, or unmounted."""
        return os.fstat(self._descriptor).st_nlink == 0

    def close(self) -> None:
        """Let other processes use it."""
        self._opened.close()

    def found_at(self) -> Path | None:
        """Return a path that leads to the directory now, None if there is none."""
        try:
            path = Path(f"/proc/self/fd/{self._descriptor}").readlink()
        except OSError:
            return None
        return path if leads_to(path, self._descriptor) else None


def leads_to(path: Path, descriptor: int) -> bool:
    """Return whether a path leads to an open file or directory."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _mount_point(path: Path) -> Path:
    """Return the root of the file system that a directory is on, or would be made on."""
    root = Path(os.path.realpath(path))
    while (device := _device(root)) is None:
        root = root.parent
    while root != root.parent and _device(root.parent) == device:
        root = root.parent
    return root


def _device(path: Path) -> int | None:
    """Return the number of a directory's file system, None if there is no directory."""
    try:
        return path.stat().st_dev if path.is_dir() else None
    except FileNotFoundError:
        return None
