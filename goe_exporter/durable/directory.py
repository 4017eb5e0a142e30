"""A directory that one process owns: locked, of a known version, and identified by its inode.

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


class InUseError(UsageError):
    """Another process uses a directory or file."""


class Directory:
    """The directory at `path`, which other processes cannot use until `close`.

    `mount_point` is the root of the file system that holds it.
    """

    def __init__(
        self, path: Path, noun: str, version: int, mount_point: Path | None = None
    ) -> None:
        """Create the directory if it does not exist, and lock it.

        `noun` is what errors call it, `version` the version of the files in it. With a
        `mount_point`, the file systems above it are refused, so that nothing is written below an
        unmounted mount point. Raises `UsageError`.
        """
        self.path = path
        self._name = f"the {noun} {path}"
        try:
            self.mount_point = _mount_point(path)
            if mount_point and _is_below(mount_point, self.mount_point):
                raise UsageError(f"cannot use {self._name}: nothing is mounted on {mount_point}")
            files.make(path)
            with contextlib.ExitStack() as opened:
                self._open(opened, has_version(path, noun, version), version)
                self._opened = opened.pop_all()
        except OSError as error:
            raise UsageError(f"cannot use {self._name}: {error.strerror}") from error

    def _open(self, opened: contextlib.ExitStack, versioned: bool, version: int) -> None:
        # While these are open, no other file can get their inode numbers.
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, self._descriptor)
        self._lock = lock(self.path / "lock", self._name, "directory")
        opened.callback(os.close, self._lock)
        if not versioned:
            with contextlib.suppress(OSError):  # such as a full disk
                files.replace(self.path / "version", b"%d\n" % version)

    def in_place(self) -> bool:
        """Return whether the path still leads to this directory, and the lock was not deleted."""
        return self.at_its_path() and _links(self._lock) > 0

    def at_its_path(self) -> bool:
        """Return whether the path still leads to this directory, whatever is in it."""
        return leads_to(self.path, self._descriptor)

    def deleted(self) -> bool:
        """Return whether the directory was deleted; it may also have been moved, or unmounted."""
        return _links(self._descriptor) == 0

    def close(self) -> None:
        """Let other processes use it."""
        self._opened.close()

    def found_at(self) -> Path | None:
        """Return a path that leads to the directory now, None if there is none."""
        try:
            path = Path(f"/proc/self/fd/{self._descriptor}").readlink()
        except OSError:  # no /proc, as on macOS
            path = self.path
        return path if leads_to(path, self._descriptor) else None


def lock(file: Path, name: str, noun: str) -> int:
    """Lock a file, which is created if it does not exist, and return its descriptor.

    Closing the descriptor ends the lock. Raises `InUseError` if another process has the lock on
    what is called `name`, a `noun`.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, files.FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InUseError(f"{name} is in use by another process; give each its own {noun}") from None
    return descriptor


def has_version(path: Path, noun: str, supported: int) -> bool:
    """Return whether the directory has a version; a damaged version counts as none.

    Raises `UsageError` if the version is newer than the `supported` one.
    """
    try:
        version = int((path / "version").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    refuse_newer(version, supported, f"the {noun} {path}", "another directory")
    return True


def refuse_newer(version: int, supported: int, name: str, remedy: str) -> None:
    """Raise `UsageError` for files that a newer release wrote."""
    if version > supported:
        raise UsageError(
            f"{name} has version {version}, and this release reads versions up to {supported}:"
            f" use a newer release, or {remedy}"
        )


def leads_to(path: Path, descriptor: int) -> bool:
    """Return whether a path leads to an open file or directory."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _links(descriptor: int) -> int:
    """Return the number of links to an open file; 1 if its file system cannot tell."""
    try:
        return os.fstat(descriptor).st_nlink
    except OSError:
        return 1


def _is_below(path: Path, other: Path) -> bool:
    return path != other and path.is_relative_to(other)


def _mount_point(path: Path) -> Path:
    """Return the root of the file system that a directory is on, or would be created on."""
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
