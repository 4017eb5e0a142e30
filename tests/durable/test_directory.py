"""A directory of one process: its lock, its version, and where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from goe_exporter.durable.directory import Directory
from goe_exporter.errors import UsageError


def refusal(path: Path, noun: str, version: int, mount_point: Path | None = None) -> str:
    """Return the message with which a directory is refused."""
    with pytest.raises(UsageError) as refused:
        Directory(path, noun, version, mount_point)
    return str(refused.value)


def test_one_owner(tmp_path: Path) -> None:
    """A second owner is refused with the noun and the path, until the first one closes it."""
    store = tmp_path / "above" / "sessions"
    opened = Directory(store, "session store", 3)
    assert refusal(store, "session store", 3) == (
        f"the session store {store} is in use by another process; give each its own directory"
    )
    opened.close()
    Directory(store, "session store", 3).close()


def test_version(tmp_path: Path) -> None:
    """A new directory gets the given version, and keeps it; only a newer one is refused."""
    Directory(tmp_path, "session store", 3).close()
    assert (tmp_path / "version").read_bytes() == b"3\n"
    Directory(tmp_path, "session store", 4).close()
    assert (tmp_path / "version").read_bytes() == b"3\n"
    assert refusal(tmp_path, "session store", 2) == (
        f"the session store {tmp_path} has version 3, and this release reads versions up to 2:"
        " use a newer release, or another directory"
    )
    Directory(tmp_path, "session store", 3).close()


def test_unusable_path(tmp_path: Path) -> None:
    """A path that cannot be a directory, or is not below its mount point, is refused."""
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file", "lease", 1) == (
        f"cannot use the lease {tmp_path / 'file'}: Not a directory"
    )
    assert refusal(tmp_path / "new", "lease", 1, Path("/proc")) == (
        f"cannot use the lease {tmp_path / 'new'}: nothing is mounted on /proc"
    )
    assert not (tmp_path / "new").exists()


def test_moved_and_deleted(tmp_path: Path) -> None:
    """A moved directory is found at its new path; a deleted one nowhere."""
    opened = Directory(tmp_path / "lease", "lease", 1)
    assert opened.in_place()
    (tmp_path / "lease").rename(tmp_path / "moved")
    assert not opened.in_place()
    assert opened.found_at() == tmp_path / "moved"
    assert not opened.deleted()
    for name in ("lock", "version"):
        (tmp_path / "moved" / name).unlink()
    (tmp_path / "moved").rmdir()
    assert opened.deleted()
    assert opened.found_at() is None
    opened.close()
