"""Files: whether a directory can be written in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from goe_exporter.durable.files import unwritable


def test_a_writable_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is writable if it can be created in its nearest parent; it is not created."""
    assert unwritable(tmp_path) == ""
    assert unwritable(tmp_path / "a" / "b") == ""
    assert list(tmp_path.iterdir()) == []
    monkeypatch.chdir(tmp_path)
    assert unwritable(Path("a")) == ""
    assert unwritable(Path()) == ""


def test_a_directory_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is that of the nearest parent that exists."""
    path = tmp_path / "file"
    path.write_text("")
    assert unwritable(path) == "Not a directory"
    assert unwritable(path / "a") == "Not a directory"
    monkeypatch.setattr(os, "access", lambda place, mode: (place, mode) != (tmp_path, 3))  # W + X
    assert unwritable(tmp_path / "a") == "Permission denied"
