"""Files that survive a power cut: everything is on disk when a function returns."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


def make(directory: Path) -> None:
    """Create a directory and its parents if they do not exist."""
    try:
        directory.mkdir(DIRECTORY_MODE)
    except FileNotFoundError:
        make(directory.parent)
        directory.mkdir(DIRECTORY_MODE)
    except FileExistsError:
        if directory.is_dir():
            return
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    # A parent that can be written to but not listed cannot be synced.
    with contextlib.suppress(PermissionError):
        sync_directory(directory.parent)


def unwritable(directory: Path) -> str:
    """Return why this user cannot write in a directory, "" if it can; creates nothing.

    A directory that does not exist is judged by the nearest parent that does.
    """
    for place in (directory, *directory.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return str(error.strerror)
        if not stat.S_ISDIR(mode):
            return os.strerror(errno.ENOTDIR)
        if os.access(place, os.W_OK | os.X_OK):
            return ""
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
        return os.strerror(errno.EROFS if read_only else errno.EACCES)
    return os.strerror(errno.ENOENT)


def replace(path: Path, content: bytes) -> None:
    """Replace a file's content atomically: a power cut leaves the old or the new content."""
    temporary = path.with_suffix(".tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        try:
            write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105, as the calls around it
        sync_directory(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write(descriptor: int, content: bytes) -> None:
    """Write all of the content; raises `OSError` if the disk fills meanwhile."""
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])


def sync_and_close(descriptor: int) -> None:
    """Write a file's data to disk, and close it even if that fails."""
    try:
        sync_data(descriptor)
    finally:
        os.close(descriptor)


def sync_data(descriptor: int) -> None:
    """Write a file's data to disk."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:  # macOS
        os.fsync(descriptor)


def sync_directory(directory: Path) -> None:
    """Write the names in a directory, and their removal, to disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
