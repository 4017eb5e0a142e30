"""The power fails after each step that changes the disk: no session that was written is lost.

SQLite writes its files itself, so its calls of the system are recorded with `strace`, and what a
power cut leaves is made from them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import session_stores
import session_writer
from servers import binary

from goe_exporter.sessions.records import Records
from goe_exporter.sessions.store import Store

WAYS = ("nothing", "all", "some")
"""What else may have reached the disk than what was synced: nothing, all, or every other write."""

_CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,unlink"
_LINE = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_FILE = re.compile(r"^-?\w+<([^>]*)>")


class Change(NamedTuple):
    """A change of a file: bytes written at a position, or its new length if there are none."""

    position: int
    content: bytes | None


class File:
    """A file: what is certainly on disk, and the changes that may be."""

    def __init__(self) -> None:
        self.synced = b""
        self.changes: list[Change] = []

    def left(self, way: str) -> bytes:
        """Return what a power cut leaves."""
        if way == "nothing":
            return self.synced
        return applied(self.synced, self.changes[:: 1 if way == "all" else 2])


def applied(content: bytes, changes: list[Change]) -> bytes:
    data = bytearray(content)
    for position, new in changes:
        if new is None:
            data = data[:position].ljust(position, b"\0")
        else:
            data = data.ljust(position, b"\0")
            data[position : position + len(new)] = new
    return bytes(data)


def recorded(path: Path, tmp_path: Path, second: int, transactions: int) -> list[str]:
    """Run a writer under strace until it has written some transactions; return its calls."""
    trace = tmp_path / "trace"
    environment = {**os.environ, "PYTHONPATH": str(Path(session_writer.__file__).parent)}
    process = subprocess.run(
        [
            *(binary("strace"), "-f", "-y", "-xx", "-s", "100000"),
            *("-e", f"trace={_CALLS}", "-o", trace),
            *(sys.executable, session_writer.__file__, path, str(second), str(transactions)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return trace.read_text("ascii").splitlines()


class Replay:
    """The files below a directory, as the recorded calls change them."""

    def __init__(self, root: Path) -> None:
        self.files: dict[str, File] = {}
        for path in root.iterdir():
            self.files[str(path)] = File()
            self.files[str(path)].synced = path.read_bytes()
        self.second = -1
        """The second that the writer printed last."""
        self._root = str(root)

    def steps(self, lines: list[str]) -> Iterator[None]:
        """Apply all calls, and yield after each that changes the disk."""
        for line in lines:
            match = _LINE.match(line)
            if match and self._apply(match[1], match[2], int(match[3])):
                yield

    def _apply(self, call: str, arguments: str, result: int) -> bool:
        place = _FILE.match(arguments)
        name = bytes.fromhex(place[1].replace("\\x", "")).decode() if place else ""
        if call == "write" and arguments.startswith("1<"):
            text = bytes.fromhex(arguments.split('"')[1].replace("\\x", "")).decode()
            self.second = int(text.strip() or self.second)
            return False
        if not name.startswith(self._root) or result < 0:
            return False
        file = self.files.setdefault(name, File())
        if call in ("write", "pwrite64"):
            text = arguments.split('"')
            content = bytes.fromhex(text[1].replace("\\x", ""))
            position = int(text[2].rpartition(",")[2]) if call == "pwrite64" else 0
            file.changes.append(Change(position, content))
        elif call == "ftruncate":
            file.changes.append(Change(int(arguments.rpartition(",")[2]), None))
        elif call in ("fsync", "fdatasync"):
            file.synced, file.changes = applied(file.synced, file.changes), []
        else:
            return False
        return True

    def leave(self, folder: Path, way: str) -> None:
        """Create what a power cut leaves in a folder."""
        folder.mkdir()
        for name, file in self.files.items():
            (folder / Path(name).name).write_bytes(file.left(way))


def checked(path: Path, without_line: int) -> int:
    """Open what a power cut left, check the books, and return the number of sessions.

    All except the first ones have a line for the other sink.
    """
    store = Store(path)
    store.write([], {})
    store.close()
    assert store.damaged == 0
    with Records(path) as records:
        sessions = list(records.sessions())
        for book in records.books():
            under_way = book.under_way.energy_wh if book.under_way else 0
            booked = sum(session.energy_wh for session in sessions)
            assert booked + under_way == book.last_wh - book.first_wh
    assert len({session.started for session in sessions}) == len(sessions)
    lines = [*session_writer.accepted(path), *session_stores.outbox(path).values()]
    assert {*lines} == {f"{session.id} {session.ended}" for session in sessions[without_line:]}
    return len(sessions)


def cut_at_every_step(path: Path, tmp_path: Path, second: int, transactions: int) -> int:
    """Cut the power after every step of a writer from a second on; return the sessions at the end.

    Sessions that are in the store before have no line.
    """
    before = session_writer.closed_until(second)
    replay, cuts = Replay(path.parent), 0
    for _ in replay.steps(recorded(path, tmp_path, second, transactions)):
        for way in WAYS:
            cuts += 1
            folder = tmp_path / f"cut{cuts}"
            replay.leave(folder, way)
            found = checked(folder / path.name, before)
            assert found >= max(session_writer.closed_until(replay.second), before)
            shutil.rmtree(folder)
    assert cuts > 50
    assert session_writer.closed_until(replay.second) == before + 1
    return checked(path, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk" / "sessions.db"


@pytest.mark.system
def test_power_cut_at_every_step(path: Path, tmp_path: Path) -> None:
    """Whatever a power cut leaves can be opened, has what was written, and its books close.

    No line about a session is lost on its way to the other sink.
    """
    assert cut_at_every_step(path, tmp_path, 200, 6) == 1


@pytest.mark.system
def test_power_cut_while_upgrading(path: Path, tmp_path: Path) -> None:
    """The same holds while a store of version 1 is upgraded; its session gets no line."""
    session_stores.of_version_1(path)
    assert cut_at_every_step(path, tmp_path, 525, 4) == 2
