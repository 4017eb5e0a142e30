"""The queue on disk loses no accepted line to a kill, a power cut, damage or a full disk."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import Disk, mounted
from hypothesis import given
from hypothesis import strategies as st
from servers import PATIENCE_SECONDS, wait_for

from goe_exporter.errors import UsageError
from goe_exporter.spool import availability, recovery, storage
from goe_exporter.spool import queue as spool_module
from goe_exporter.spool.queue import MAX_LINE_BYTES, Spool
from goe_exporter.spool.segments import stored_cursor, stored_dropped, survey

LIMIT = 1024 * 1024
SMALL = 16 * 4096
"""A limit at which a segment holds 4 KiB."""

Open = Callable[..., Spool]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def opened(folder: Path) -> Iterator[Open]:
    """Return a function that opens the spool, after closing the previous one."""
    spools: list[Spool] = []

    def start(limit: int = LIMIT, directory: Path = folder) -> Spool:
        for spool in spools:
            spool.close()
        spools.append(Spool(directory, limit))
        return spools[-1]

    yield start
    for spool in spools:
        spool.close()


def line(number: int) -> bytes:
    """Return a line like a charger's point; `J` and `*` differ from a newline by one bit."""
    return b'goe_charger,charger=J*garage power_w=%d.5,car_state="idle" %d' % (
        number,
        10**12 + number,
    )


def lines(first: int, last: int) -> list[bytes]:
    return [line(number) for number in range(first, last)]


def record(text: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(text), text)


def fill(spool: Spool, first: int, last: int) -> None:
    for text in lines(first, last):
        assert spool.append(text)


def drained(spool: Spool, most: int = 1000) -> list[bytes]:
    """Read and commit until nothing is left; return the lines."""
    found: list[bytes] = []
    while (batch := spool.read(most)).lines:
        found += batch.lines
        spool.commit(batch.end)
    spool.commit(batch.end)
    return found


def in_order(found: list[bytes]) -> list[bytes]:
    """Return lines in the order of their timestamps, each once: a repetition does no harm."""
    return sorted({*found}, key=lambda each: int(each.rpartition(b" ")[2]))


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in segments(folder))


# Order


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_first_in_first_out_across_segments(opened: Open, folder: Path, most: int) -> None:
    """Lines come out in order, across segments, at any batch size."""
    spool = opened(SMALL)
    fill(spool, 0, 500)
    assert len(segments(folder)) > 5
    assert spool.pending == 500
    assert drained(spool, most) == lines(0, 500)
    assert (spool.pending, spool.dropped, spool.damaged) == (0, 0, 0)


def test_segments_hold_what_they_should(opened: Open, folder: Path) -> None:
    """No segment exceeds its share, and a record is `crc32 line` and a newline."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    assert all(path.stat().st_size <= 4096 for path in segments(folder))
    content = b"".join(path.read_bytes() for path in segments(folder))
    assert content == b"".join(map(record, lines(0, 100)))


def test_reading_again_gives_the_same(opened: Open) -> None:
    """Without a commit, a read returns the same lines and ends again."""
    spool = opened(SMALL)
    fill(spool, 0, 200)
    assert spool.read(150) == spool.read(150)
    assert spool.read(150).lines == lines(0, 150)


def test_a_batch_holds_at_most_what_is_asked_for(opened: Open) -> None:
    """A batch holds up to `most` lines, and an end for each line."""
    spool = opened(SMALL)
    assert spool.read(5).lines == []
    fill(spool, 0, 3)
    assert spool.read(2).lines == lines(0, 2)
    batch = spool.read(5)
    assert batch.lines == lines(0, 3)
    assert len(batch.ends) == 3
    assert batch.ends[-1] == batch.end


def test_commit_of_every_end(opened: Open) -> None:
    """A commit may be at the end of any line; the next read begins behind it."""
    spool = opened(SMALL)
    fill(spool, 0, 120)
    for number, end in enumerate(spool.read(120).ends, 1):
        spool.commit(end)
        assert spool.pending == 120 - number
        assert spool.read(1).lines == lines(number, 120)[:1]


def test_an_old_commit_changes_nothing(opened: Open) -> None:
    """A commit before the cursor does not move it back."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    ends = spool.read(100).ends
    spool.commit(ends[80])
    spool.commit(ends[10])
    assert spool.read(100).lines == lines(81, 100)


def test_delivered_segments_go(opened: Open, folder: Path) -> None:
    """Delivered segments are deleted, except the one that is written to."""
    spool = opened(SMALL)
    fill(spool, 0, 500)
    before = len(segments(folder))
    spool.commit(spool.read(250).end)
    assert len(segments(folder)) <= before // 2 + 1
    assert spool.size_bytes == on_disk(folder)
    drained(spool)
    assert len(segments(folder)) == 1


def test_appending_while_reading(opened: Open) -> None:
    """Lines appended between a read and its commit are neither lost nor repeated."""
    spool = opened(SMALL)
    found: list[bytes] = []
    for number in range(300):
        fill(spool, 2 * number, 2 * number + 2)
        batch = spool.read(3)
        fill(spool, 0, 0)
        found += batch.lines
        spool.commit(batch.end)
    assert found + drained(spool) == lines(0, 600)


@pytest.mark.parametrize(
    "text", [b"", b"a\nb", b"\n", b"\n\n", b"x" * 5000, b"\xff\xfe \x01", b" "]
)
def test_any_line(opened: Open, text: bytes) -> None:
    """Empty lines, newlines, arbitrary bytes and lines longer than a segment are unchanged."""
    spool = opened(SMALL)
    assert spool.append(text)
    assert spool.append(b"after")
    assert drained(opened(SMALL)) == [text, b"after"]


def test_nul_becomes_a_newline(opened: Open) -> None:
    """A NUL, which no line contains, becomes a newline, because it stands for one on disk."""
    spool = opened(SMALL)
    spool.append(b"a\0b")
    assert drained(spool) == [b"a\nb"]


def test_line_beyond_all_measure(opened: Open) -> None:
    """A line of more than 1 MiB is dropped and counted; waiting lines are kept."""
    spool = opened(4 * LIMIT)
    spool.append(b"before")
    assert not spool.append(b"x" * (MAX_LINE_BYTES + 1))
    assert spool.append(b"x" * MAX_LINE_BYTES)
    assert spool.dropped == 1
    assert [len(text) for text in drained(spool)] == [6, MAX_LINE_BYTES]


def test_line_larger_than_the_spool(opened: Open) -> None:
    """A line that can never fit is dropped, not the waiting ones."""
    spool = opened(SMALL)
    fill(spool, 0, 10)
    assert not spool.append(b"x" * SMALL)
    assert spool.dropped == 1
    assert drained(spool) == lines(0, 10)


# Restart


@pytest.mark.parametrize("delivered", [0, 1, 37, 40, 99, 100])
def test_restart_goes_on(opened: Open, delivered: int) -> None:
    """After a restart the next line is the first uncommitted one."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    if delivered:
        spool.commit(spool.read(delivered).end)
    spool = opened(SMALL)
    assert spool.pending == 100 - delivered
    fill(spool, 100, 120)
    assert drained(spool) == lines(delivered, 120)
    assert spool.damaged == 0


def test_restart_with_nothing_left(opened: Open) -> None:
    """After delivery and restart, repeatedly, only new lines come out."""
    for round_ in range(5):
        spool = opened(SMALL)
        assert spool.pending == 0
        fill(spool, round_ * 60, round_ * 60 + 60)
        assert drained(spool) == lines(round_ * 60, round_ * 60 + 60)


@pytest.mark.system
def test_restart_without_a_close(folder: Path, opened: Open) -> None:
    """Lines accepted before `kill -9` are there for the next process."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from goe_exporter.spool.queue import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 65536)\n"
        "for n in range(100): spool.append(b'line %d' % n)\n"
        "spool.commit(spool.read(30).end)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert done.returncode < 0
    assert drained(opened(SMALL)) == [b"line %d" % number for number in range(30, 100)]


def test_each_line_is_synced_before_it_counts(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every append ends after an `fdatasync` of its segment with its whole record."""
    synced: list[tuple[int, int]] = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fdatasync", watched)
    spool = opened(SMALL)
    for number in range(100):
        synced.clear()
        fill(spool, number, number + 1)
        last = segments(folder)[-1].stat()
        assert (last.st_ino, last.st_size) in synced


def test_cursor_is_on_disk_before_a_segment_goes(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment is deleted only when the synced cursor on disk is behind it."""
    spool = opened(SMALL)
    fill(spool, 0, 200)
    seen: list[tuple[int, int]] = []
    real = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".log":
            seen.append((int(path.stem), stored_cursor(folder).segment))
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    drained(spool, 50)
    assert len(seen) > 2
    assert all(deleted <= cursor for deleted, cursor in seen)


# Damage


def test_torn_tail_at_every_byte(tmp_path: Path) -> None:
    """A spool cut within its last record opens, loses at most that record, and counts it.

    Cut before its first byte, the record leaves no trace; without only its newline it is complete.
    """
    content = b"".join(map(record, lines(0, 5)))
    size = len(record(line(4)))
    for missing in range(size + 1):
        folder = tmp_path / str(missing)
        folder.mkdir()
        (folder / "000000000001.log").write_bytes(content[: len(content) - missing])
        spool = Spool(folder, LIMIT)
        fill(spool, 5, 7)
        assert spool.damaged == (1 < missing < size), missing
        expected = lines(0, 5 if missing <= 1 else 4) + lines(5, 7)
        assert spool.pending == len(expected)
        assert drained(spool) == expected, missing
        assert spool.damaged == (1 < missing < size), missing
        spool.close()


def test_torn_tails_are_counted_once(opened: Open, folder: Path) -> None:
    """A torn tail is repaired on disk: the next start finds no damage."""
    fill(opened(), 0, 5)
    path = segments(folder)[0]
    os.truncate(path, path.stat().st_size - 10)
    assert opened().damaged == 1
    spool = opened()
    assert spool.damaged == 0
    assert drained(spool) == lines(0, 4)


def test_every_bit_flip(tmp_path: Path) -> None:
    """A flipped bit in the middle record costs that record only, and it is counted.

    Flips that create or remove a newline are included.
    """
    first, middle, last = (record(text) for text in lines(1, 4))
    folder = tmp_path / "spool"
    for bit in range(len(middle) * 8):
        flipped = bytearray(middle)
        flipped[bit // 8] ^= 1 << bit % 8
        folder.mkdir(exist_ok=True)
        (folder / "000000000001.log").write_bytes(first + bytes(flipped) + last)
        spool = Spool(folder, LIMIT)
        batch = spool.read(10)
        # The newline alone may be lost without any harm to the record, but that cannot be known.
        assert batch.lines == [line(1), line(3)], bit
        assert spool.damaged == 1, bit
        spool.read(10)
        assert spool.damaged == 1, "reading again counts again"
        spool.commit(batch.end)
        assert spool.read(10).lines == []
        spool.close()
        for path in folder.iterdir():
            path.unlink()


def test_damage_among_many(opened: Open, folder: Path) -> None:
    """Several damaged records in several segments cost only themselves, at every batch size."""
    fill(opened(SMALL), 0, 300)
    lost = set()
    for path in segments(folder):
        content = bytearray(path.read_bytes())
        place = len(content) // 2
        start = content.rfind(b"\n", 0, place) + 1
        match = re.search(rb" ([0-9]+)\n", bytes(content[start:]))
        assert match is not None
        lost.add(int(match[1]) - 10**12)
        content[start + 20] ^= 0x10
        path.write_bytes(bytes(content))
    spool = opened(SMALL)
    assert drained(spool, 7) == [line(number) for number in range(300) if number not in lost]
    assert spool.damaged == len(lost) > 3


def test_only_damage(opened: Open, folder: Path) -> None:
    """A spool of damaged records only is empty, and accepts new lines."""
    folder.mkdir()
    (folder / "000000000001.log").write_bytes(b"damaged\nall over\n" * 100)
    spool = opened()
    assert drained(spool) == []
    assert spool.damaged >= 1
    fill(spool, 0, 5)
    assert drained(spool) == lines(0, 5)


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 5000,
        b"\0",
        random.Random(1).randbytes(3000),
        random.Random(2).randbytes(3000).replace(b"\n", b"x"),
        b"deadbeef half a rec",
        b"\xff" * 700,
        b"00000000 " * 300,
    ],
    ids=["zeros", "zero", "random", "random_line", "half", "ones", "headers"],
)
def test_garbage_at_the_end(opened: Open, folder: Path, tail: bytes) -> None:
    """Zeros or garbage behind the last record, as left by a power cut, cost no sound record."""
    fill(opened(), 0, 20)
    with segments(folder)[-1].open("ab") as file:
        file.write(tail)
    spool = opened()
    fill(spool, 20, 25)
    assert drained(spool) == lines(0, 25)
    assert spool.damaged >= 1
    assert opened().pending == 0


def test_empty_segments(opened: Open, folder: Path) -> None:
    """Empty segment files, at any place, are ignored."""
    fill(opened(SMALL), 0, 100)
    numbers = [int(path.stem) for path in segments(folder)]
    (folder / "000000000000.log").touch()
    segments(folder)[2].write_bytes(b"")
    (folder / f"{numbers[-1] + 5:012}.log").touch()
    spool = opened(SMALL)
    fill(spool, 100, 110)
    found = drained(spool)
    assert found == sorted(found, key=lambda text: int(text.rpartition(b" ")[2]))
    assert found[-10:] == lines(100, 110)
    assert (spool.pending, spool.damaged) == (0, 0)
    assert opened(SMALL).pending == 0


def test_foreign_files(opened: Open, folder: Path) -> None:
    """Foreign files are neither read, counted nor deleted."""
    folder.mkdir()
    names = ["1.log", "notes.log", "000000000001.log.bak", "0000000000001.log", "README", "cursor~"]
    for name in names:
        (folder / name).write_bytes(record(b"foreign"))
    (folder / "folder.log").mkdir()
    spool = opened(SMALL)
    fill(spool, 0, 100)
    assert drained(spool) == lines(0, 100)
    fill(spool, 100, 900)
    assert opened(SMALL).damaged == 0
    assert all((folder / name).read_bytes() == record(b"foreign") for name in names)
    assert (folder / "folder.log").is_dir()


@pytest.mark.parametrize(
    "cursor",
    [None, b"", b"\0" * 40, b"1 500", b"xyz", record(b"1 2 3"), record(b"one two"), record(b""),
     record(b"1 200")[:-4], b"00000000 1 200\n", b"\xff\xfe"],
)  # fmt: skip
def test_damaged_cursor(opened: Open, folder: Path, cursor: bytes | None) -> None:
    """Without a sound cursor all lines on disk are repeated; none is lost."""
    spool = opened()
    fill(spool, 0, 50)
    spool.commit(spool.read(20).end)
    spool.close()
    path = folder / "cursor"
    path.unlink() if cursor is None else path.write_bytes(cursor)
    spool = opened()
    assert drained(spool) == lines(0, 50)
    assert spool.damaged == 0


def test_cursor_without_its_newline(opened: Open, folder: Path) -> None:
    """A cursor that lacks only its newline is sound."""
    spool = opened()
    fill(spool, 0, 50)
    spool.commit(spool.read(20).end)
    spool.close()
    (folder / "cursor").write_bytes((folder / "cursor").read_bytes().rstrip(b"\n"))
    assert drained(opened()) == lines(20, 50)


def test_cursor_with_a_torn_end(opened: Open, folder: Path) -> None:
    """A kill while a commit is appended leaves the one before valid; then lines are repeated."""
    spool = opened()
    fill(spool, 0, 50)
    ends = spool.read(50).ends
    for end in (ends[9], ends[19], ends[29]):
        spool.commit(end)
    spool.close()
    path = folder / "cursor"
    os.truncate(path, path.stat().st_size - 5)
    assert survey(folder).pending == 30
    spool = opened()
    assert spool.read(1).lines == lines(20, 21)
    spool.commit(spool.read(5).end)
    spool.close()
    assert drained(opened()) == lines(25, 50)


def test_cursor_stays_small(opened: Open, folder: Path) -> None:
    """A thousand commits leave a small file with the last position."""
    spool = opened()
    fill(spool, 0, 1100)
    for end in spool.read(1000).ends:
        assert spool.commit(end)
        assert (folder / "cursor").stat().st_size <= 4096
    spool.close()
    assert drained(opened()) == lines(1000, 1100)


def test_commit_is_one_sync(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit within a segment syncs the cursor's data once: that is most of its cost."""
    spool = opened()
    fill(spool, 0, 50)
    ends = spool.read(50).ends
    spool.commit(ends[0])
    synced: list[str] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _descriptor, name=name: synced.append(name))
    spool.commit(ends[1])
    assert synced == ["fdatasync"]


def test_commit_after_one_that_was_cut_off(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit half of which found room on the disk does not damage the next one."""
    spool = opened()
    fill(spool, 0, 50)
    ends = spool.read(50).ends
    spool.commit(ends[0])
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        real(descriptor, content[:12])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        spool.commit(ends[9])
    spool.commit(ends[19])
    spool.commit(ends[29])
    spool.close()
    assert drained(opened()) == lines(30, 50)


def test_cursor_left_half_written(opened: Open, folder: Path) -> None:
    """A kill while the new cursor is written leaves the old one valid."""
    spool = opened()
    fill(spool, 0, 50)
    spool.commit(spool.read(20).end)
    spool.close()
    (folder / "cursor.tmp").write_bytes(b"0000")
    spool = opened()
    assert drained(spool) == lines(20, 50)
    assert drained(opened()) == []


def test_cursor_beyond_the_end(opened: Open, folder: Path) -> None:
    """A cursor behind the end of a truncated segment means its start."""
    spool = opened()
    fill(spool, 0, 50)
    spool.commit(spool.read(40).end)
    spool.close()
    path = segments(folder)[0]
    os.truncate(path, sum(map(len, map(record, lines(0, 10)))))
    spool = opened()
    assert survey(folder).pending == spool.pending == 10
    fill(spool, 50, 55)
    assert drained(spool) == lines(0, 10) + lines(50, 55)


def test_cursor_of_a_segment_that_is_gone(opened: Open, folder: Path) -> None:
    """A cursor in a deleted segment means the start of the next; numbers continue."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    spool.commit(spool.read(10).end)
    spool.close()
    first = segments(folder)[0]
    held = first.read_bytes().count(b"\n")
    first.unlink()
    spool = opened(SMALL)
    fill(spool, 100, 110)
    assert drained(spool) == lines(held, 110)
    for path in segments(folder):
        path.unlink()
    spool = opened(SMALL)
    fill(spool, 0, 10)
    assert drained(opened(SMALL)) == lines(0, 10)


@given(st.lists(st.binary(max_size=300) | st.just(record(line(7))), max_size=4), st.binary())
def test_arbitrary_bytes(contents: list[bytes], cursor: bytes) -> None:
    """Whatever the files contain, the spool opens, reads, and keeps new lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, content in enumerate(contents, 1):
            (folder / f"{number:012}.log").write_bytes(content)
        (folder / "cursor").write_bytes(cursor)
        survey(folder)
        spool = Spool(folder, LIMIT)
        assert spool.append(line(1))
        found = drained(spool, 2)
        assert found[-1] == line(1)
        assert spool.pending == 0
        spool.close()


# The bound


@pytest.mark.parametrize("limit", [SMALL, 10 * 4096, 3 * 4096, 5000])
def test_bound(opened: Open, folder: Path, limit: int) -> None:
    """The segments never exceed the limit; the oldest are dropped whole, and counted."""
    spool = opened(limit)
    for number in range(1200):
        fill(spool, number, number + 1)
        assert spool.size_bytes <= limit
    assert on_disk(folder) == spool.size_bytes <= limit
    assert spool.dropped > 0
    found = drained(spool)
    assert spool.dropped + len(found) == 1200
    assert found == lines(spool.dropped, 1200)
    # What is kept is near the bound, not a small part of it.
    assert len(found) * len(record(line(1))) > limit - 2 * 4096


def test_bound_holds_after_a_restart(opened: Open, folder: Path) -> None:
    """With a lower limit than before, the oldest are dropped at the next append."""
    fill(opened(SMALL), 0, 700)
    spool = opened(SMALL // 4)
    fill(spool, 700, 701)
    assert on_disk(folder) <= SMALL // 4
    assert spool.dropped + len(drained(spool)) == 701


def test_dropped_counts_only_what_was_not_delivered(opened: Open) -> None:
    """Delivered lines of a dropped segment are not counted: appended = delivered + dropped."""
    spool = opened(SMALL)
    fill(spool, 0, 300)
    spool.commit(spool.read(10).end)
    fill(spool, 300, 1500)
    found = drained(spool)
    assert 10 + spool.dropped + len(found) == 1500
    assert found == lines(1500 - len(found), 1500)


def test_reader_in_a_segment_that_is_dropped(opened: Open) -> None:
    """Lines dropped after they were read are still delivered; their commit moves nothing back."""
    spool = opened(SMALL)
    fill(spool, 0, 300)
    batch = spool.read(20)
    fill(spool, 300, 1500)
    assert spool.dropped > 20
    dropped = spool.dropped
    spool.commit(batch.end)
    assert drained(spool) == lines(dropped, 1500)
    assert spool.dropped == dropped


def test_reader_of_what_was_dropped_altogether(opened: Open) -> None:
    """If all segments were dropped, a commit of lines read before affects no new line."""
    spool = opened(SMALL)
    fill(spool, 0, 150)
    batch = spool.read(150)
    assert batch.end.segment > 2
    with spool._write:
        while spool._drop_oldest():
            pass
    assert spool.dropped == 150
    fill(spool, 150, 300)
    spool.commit(batch.end)
    assert drained(opened(SMALL)) == lines(150, 300)


def test_reader_and_writers_at_the_bound(opened: Open) -> None:
    """While the spool is full, a reader gets lines in order, and none twice."""
    spool = opened(SMALL)
    done = threading.Event()
    found: list[bytes] = []

    def deliver() -> None:
        while not done.is_set() or spool.pending:
            batch = spool.read(50)
            found.extend(batch.lines)
            spool.commit(batch.end)

    reader = threading.Thread(target=deliver)
    reader.start()
    fill(spool, 0, 1200)
    done.set()
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()
    numbers = [int(text.rpartition(b" ")[2]) - 10**12 for text in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 1199
    assert len(numbers) + spool.dropped >= 1200
    assert spool.damaged == 0


# Many at once


def test_extend(opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many lines at once, over several segments, are accepted with one sync for each segment."""
    synced: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), real(fd)))
    spool = opened(SMALL)
    assert spool.extend(lines(0, 100)) == 100
    assert len(synced) == len(segments(folder)) > 1
    assert drained(opened(SMALL)) == lines(0, 100)


def test_extend_a_full_spool(opened: Open) -> None:
    """Without `make_room`, lines are accepted while there is room."""
    spool = opened(SMALL)
    fill(spool, 0, 600)
    waiting = spool.pending
    taken = spool.extend(lines(600, 1500), make_room=False)
    assert 0 < taken < 900
    assert (spool.pending, spool.dropped) == (waiting + taken, 0)
    assert spool.extend(lines(0, 1), make_room=False) == 0
    assert spool.extend(lines(600 + taken, 1500)) == 900 - taken
    assert spool.dropped > 0
    assert drained(spool) == lines(spool.dropped, 1500)


def test_shared_limit(folder: Path) -> None:
    """What other queues use of the limit counts at every append, and at once in `make_room`."""
    used = [0]
    spool = Spool(folder, SMALL, lambda: used[0])
    fill(spool, 0, 600)
    used[0] = SMALL - 4 * 4096
    assert spool.append(line(600))
    assert on_disk(folder) <= 4 * 4096
    assert on_disk(folder) > 2 * 4096
    spool.make_room(4096)
    assert on_disk(folder) <= 3 * 4096
    assert spool.dropped > 0
    assert drained(spool) == lines(spool.dropped, 601)
    used[0] = SMALL
    assert not spool.append(line(601))
    spool.close()


def test_rotate(opened: Open, folder: Path) -> None:
    """At the limit too, rotated lines are not counted twice, and no line is dropped."""
    spool = opened(SMALL)
    while not spool.dropped:
        fill(spool, 0, 100)
    before, limit = spool.read(10_000).lines, on_disk(folder)
    spool.dropped = 0
    for _ in range(3 * len(before) // 10):
        batch = spool.read(10)
        assert spool.rotate(batch.lines, batch.end)
        assert on_disk(folder) <= limit + 4096 + 1000
    turned = 10 * (3 * len(before) // 10) % len(before)
    assert opened(SMALL).read(10_000).lines == before[turned:] + before[:turned]
    assert spool.dropped == 0


def test_rotate_on_a_full_disk(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that cannot be written at the end stay where they are."""
    spool = opened(SMALL)
    fill(spool, 0, 10)
    batch = spool.read(5)

    def full(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert not spool.rotate(batch.lines, batch.end)
    assert drained(spool) == lines(0, 10)


def test_newest(opened: Open) -> None:
    """The newest line is the one accepted last, while it waits."""
    spool = opened(SMALL)
    assert spool.newest() is None
    fill(spool, 0, 100)
    spool.append(b"two\nlines")
    assert spool.newest() == b"two\nlines"
    spool.commit(spool.read(50).end)
    assert spool.newest() == b"two\nlines"
    drained(spool)
    assert spool.newest() is None


# A directory that is not where it was


def move(source: Path, target: Path) -> None:
    subprocess.run(["mv", "-T", str(source), str(target)], check=True)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def umount(directory: Path) -> None:
    subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.system
def test_spool_that_is_moved(opened: Open, folder: Path, said: Callable[[], list[str]]) -> None:
    """A moved spool is replaced by a new one; its lines are not lost, and others may open it."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    spool.commit(spool.read(10).end)
    batch = spool.read(100)
    elsewhere = folder.with_name("elsewhere")
    move(folder, elsewhere)
    fill(spool, 100, 150)
    assert (spool.dropped, spool.pending, spool.unavailable) == (0, 50, "")
    spool.commit(batch.end)
    assert spool.pending == 50
    assert said() == ["spool moved"]
    moved = Spool(elsewhere, SMALL)
    assert drained(moved) == lines(10, 100)
    moved.close()
    assert drained(opened(SMALL)) == lines(100, 150)


@pytest.mark.system
def test_move_that_a_reader_sees_first(opened: Open, folder: Path) -> None:
    """A line that a reader misses because the spool was moved is not counted as dropped."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    move(folder, folder.with_name("elsewhere"))
    assert spool.read(100).lines == []
    assert (spool.dropped, spool.pending) == (0, 0)


@pytest.mark.system
def test_spool_that_is_replaced(opened: Open, folder: Path) -> None:
    """A spool put in its place is used; positions in the first one are not valid in it."""
    other = folder.with_name("other")
    fill(opened(SMALL, other), 500, 600)
    spool = opened(SMALL)
    fill(spool, 0, 300)
    batch = spool.read(300)
    spool.mark_in_flight(batch.ends)
    move(folder, folder.with_name("elsewhere"))
    move(other, folder)
    spool.commit(batch.ends[150])
    assert spool.mark_in_flight(batch.ends) == 300
    fill(spool, 600, 610)
    spool.commit(batch.end)
    assert drained(spool) == lines(500, 610)
    assert spool.dropped == 0
    assert drained(opened(SMALL, folder.with_name("elsewhere"))) == lines(0, 300)


@pytest.mark.system
def test_file_in_place_of_the_spool(
    opened: Open, folder: Path, said: Callable[[], list[str]]
) -> None:
    """While a file is in its place, lines wait in memory, and can be delivered from there."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    move(folder, folder.with_name("elsewhere"))
    folder.write_text("in the way")
    fill(spool, 100, 150)
    assert spool.unavailable == f"cannot use the spool {folder}: Not a directory"
    assert spool.pending == 50
    assert spool.newest() == line(149)
    spool.commit(spool.read(20).end)
    assert spool.read(100).lines == lines(120, 150)
    assert said() == ["spool moved", "spool unavailable, points wait in memory"]
    assert folder.read_text() == "in the way"
    folder.unlink()
    fill(spool, 150, 160)
    assert said() == ["spool available again"]
    assert (spool.unavailable, spool.dropped) == ("", 0)
    assert drained(opened(SMALL)) == lines(120, 160)


@pytest.mark.system
def test_spool_of_a_newer_release_in_its_place(opened: Open, folder: Path) -> None:
    """It is not changed; lines wait in memory until it is removed."""
    spool = opened(SMALL)
    move(folder, folder.with_name("elsewhere"))
    folder.mkdir()
    (folder / "version").write_text("2\n")
    fill(spool, 0, 10)
    assert "has version 2" in spool.unavailable
    assert [path.name for path in folder.iterdir()] == ["version"]
    shutil.rmtree(folder)
    fill(spool, 10, 20)
    assert drained(opened(SMALL)) == lines(0, 20)


@pytest.mark.system
@pytest.mark.parametrize("place", [".", "spool", "deep/er/spool"])
def test_unmounted(small_disk: Path, said: Callable[[], list[str]], place: str) -> None:
    """Nothing is written below an unmounted mount point; mounted again, the spool is used."""
    kept = small_disk.with_name("kept")
    kept.mkdir()
    mount("--bind", str(small_disk), str(kept))
    spool = Spool(small_disk / place, SMALL)
    try:
        fill(spool, 0, 100)
        spool.commit(spool.read(10).end)
        umount(small_disk)
        fill(spool, 100, 150)
        assert [*small_disk.iterdir()] == []
        assert spool.unavailable == (
            f"cannot use the spool {small_disk / place}: nothing is mounted on {small_disk}"
        )
        assert (spool.pending, spool.dropped) == (50, 0)
        assert spool.read(100).lines == lines(100, 150)
        assert said() == ["spool unmounted", "spool unavailable, points wait in memory"]
        mount("--bind", str(kept), str(small_disk))
        fill(spool, 150, 160)
        assert said() == ["spool available again"]
        assert drained(spool) == lines(10, 160)
        assert spool.dropped == 0
    finally:
        spool.close()
        umount(kept)


@pytest.mark.system
def test_another_disk_is_mounted(small_disk: Path) -> None:
    """A new file system on the same mount point is used at once, also for lines in memory."""
    spool = Spool(small_disk / "spool", SMALL)
    fill(spool, 0, 10)
    umount(small_disk)
    fill(spool, 10, 20)
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small_disk))
    spool.check_directory()
    assert survey(small_disk / "spool").pending == 10
    spool.close()
    spool = Spool(small_disk / "spool", SMALL)
    assert drained(spool) == lines(10, 20)
    spool.close()


@pytest.mark.system
def test_disk_that_is_mounted_late(tmp_path: Path, small_disk: Path) -> None:
    """A file system mounted below the old one is used: it was mounted after the start."""
    place = tmp_path / "data"
    place.mkdir()
    spool = Spool(place / "spool", SMALL)
    fill(spool, 0, 10)
    mount("--bind", str(small_disk), str(place))
    try:
        fill(spool, 10, 20)
        assert (spool.unavailable, spool.dropped) == ("", 0)
        assert survey(small_disk / "spool").pending == 10
    finally:
        umount(place)
    fill(spool, 20, 30)
    assert "nothing is mounted on" in spool.unavailable
    spool.close()
    assert survey(place / "spool").pending == 10


@pytest.mark.system
def test_memory_is_bounded(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    """Lines in memory are dropped at the limit and counted, as are those left at the close."""
    monkeypatch.setattr(spool_module, "MAX_MEMORY_BYTES", 20_000)
    spool = opened(SMALL)
    move(folder, folder.with_name("elsewhere"))
    folder.write_text("in the way")
    fill(spool, 0, 1000)
    assert 10_000 < spool.size_bytes <= 20_000
    assert spool.dropped + spool.pending == 1000
    assert spool.read(1000).lines == lines(spool.dropped, 1000)
    said()
    spool.close()
    assert spool.dropped == 1000
    assert said() == ["points in memory lost"]
    assert folder.read_text() == "in the way"


@pytest.mark.system
def test_memory_is_written_at_the_end(opened: Open, folder: Path) -> None:
    """Lines in memory are written at the close if the directory is back."""
    spool = opened(SMALL)
    move(folder, folder.with_name("elsewhere"))
    folder.write_text("in the way")
    fill(spool, 0, 10)
    folder.unlink()
    spool.close()
    assert spool.dropped == 0
    assert drained(opened(SMALL)) == lines(0, 10)


def test_lock_that_is_deleted(opened: Open, folder: Path) -> None:
    """A spool whose lock was deleted is locked again without losing a line."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    spool.commit(spool.read(10).end)
    (folder / "lock").unlink()
    fill(spool, 100, 110)
    with pytest.raises(UsageError, match="in use"):
        Spool(folder, SMALL)
    assert spool.dropped == 0
    assert drained(spool) == lines(10, 110)


@pytest.mark.system
def test_segment_that_is_moved(opened: Open, folder: Path) -> None:
    """The loss of the current segment is noticed at the next line, which is kept."""
    spool = opened(SMALL)
    fill(spool, 0, 10)
    move(segments(folder)[0], folder.with_name("elsewhere"))
    fill(spool, 10, 20)
    assert spool.dropped == 10
    assert drained(opened(SMALL)) == lines(10, 20)


# The version, and what was dropped


def test_version(opened: Open, folder: Path) -> None:
    """A spool has a version; a missing or damaged one is written anew."""
    fill(opened(SMALL), 0, 10)
    assert (folder / "version").read_bytes() == b"1\n"
    for damage in (None, b"", b"\0\0", b"\xff1"):
        (folder / "version").unlink()
        if damage is not None:
            (folder / "version").write_bytes(damage)
        assert opened(SMALL).pending == 10
        assert (folder / "version").read_bytes() == b"1\n"


def test_newer_version(opened: Open, folder: Path) -> None:
    """A spool of a newer release is not opened or inspected, and not changed."""
    fill(opened(SMALL), 0, 10)
    opened(SMALL, folder.with_name("other"))
    (folder / "version").write_bytes(b"2\n")
    (folder / "lock").unlink()
    content = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    message = (
        f"the spool {folder} has version 2, and this release reads versions up to 1:"
        " use a newer release, or another directory"
    )
    for read in (lambda: Spool(folder, SMALL), lambda: survey(folder)):
        with pytest.raises(UsageError) as refused:
            read()
        assert str(refused.value) == message
    assert content == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()
    }


def test_dropped_on_disk(opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count on disk survives restarts; it is written at the first drop, then once a minute."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    before = int(time.time())
    spool = opened(SMALL)
    assert not spool.append(b"x" * SMALL)
    assert stored_dropped(folder).lines == 1
    now[0] = 59.0
    assert not spool.append(b"x" * SMALL)
    assert stored_dropped(folder).lines == 1
    now[0] = 60.0
    fill(spool, 0, 1)
    assert stored_dropped(folder).lines == 2
    assert not spool.append(b"x" * SMALL)
    spool = opened(SMALL)
    assert spool.dropped == 0
    assert not spool.append(b"x" * SMALL)
    count, last = stored_dropped(folder)
    assert count == 4
    assert before <= last <= time.time()
    (folder / "dropped").write_bytes(b"damaged")
    assert stored_dropped(folder) == (0, 0)


# Files that are lost while they are in use


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that returns the events logged since its last call."""
    caplog.set_level(logging.INFO, "goe_exporter")

    def events() -> list[str]:
        found = [event.getMessage() for event in caplog.records]
        caplog.clear()
        return found

    return events


def test_spool_that_is_deleted(opened: Open, folder: Path, said: Callable[[], list[str]]) -> None:
    """A deleted spool is created anew; its waiting lines are counted once."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    spool.commit(spool.read(10).end)
    batch = spool.read(100)
    shutil.rmtree(folder)
    assert spool.read(10).lines == []
    spool.commit(batch.end)
    fill(spool, 100, 150)
    assert spool.dropped == 90
    assert said() == ["spool deleted"]
    with pytest.raises(UsageError, match="in use"):
        Spool(folder, SMALL)
    assert drained(opened(SMALL)) == lines(100, 150)


@pytest.mark.parametrize("touched", [False, True])
def test_deleted_spool_without_a_segment(opened: Open, folder: Path, touched: bool) -> None:
    """The same if nothing was written yet, or nothing waits."""
    spool = opened(SMALL)
    if touched:
        fill(spool, 0, 10)
        drained(spool)
    shutil.rmtree(folder)
    fill(spool, 10, 20)
    assert spool.dropped == 0
    assert drained(opened(SMALL)) == lines(10, 20)


def test_segment_that_is_deleted(opened: Open, folder: Path) -> None:
    """A segment deleted by someone else costs its lines, which are counted."""
    spool = opened(SMALL)
    fill(spool, 0, 200)
    second = segments(folder)[1]
    held = second.read_bytes().count(b"\n")
    second.unlink()
    segments(folder)[-1].unlink()
    fill(spool, 200, 210)
    found = drained(spool)
    assert found[-10:] == lines(200, 210)
    assert len(found) + spool.dropped == 210
    assert spool.dropped > held


def unreadable(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let the disk fail at a file."""
    opens, reads = Path.open, Path.read_bytes

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Path, *args: Any, **options: Any) -> Any:
            if self == path:
                raise OSError(errno.EIO, "Input/output error")
            return real(self, *args, **options)

        return read

    monkeypatch.setattr(Path, "open", failing(opens))
    monkeypatch.setattr(Path, "read_bytes", failing(reads))


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("renamed", [True, False], ids=["renamed", "stuck"])
def test_segment_that_cannot_be_read(
    opened: Open,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[], list[str]],
    which: int,
    renamed: bool,
) -> None:
    """A segment on a bad sector is set aside after five minutes, and its lines are counted."""
    monkeypatch.setattr(storage, "UNREADABLE_SECONDS", 0.0)
    spool = opened(SMALL)
    fill(spool, 0, 200)
    bad = segments(folder)[which]
    held = bad.read_bytes().count(b"\n")
    with monkeypatch.context() as patch:
        unreadable(patch, bad)
        if not renamed:
            patch.setattr(Path, "rename", denied)
        fill(spool, 200, 205)
        found = drained(spool, 10)
        assert spool.damaged in (held, held + 5)
        fill(spool, 205, 300)
        found += drained(spool, 10)
        assert said() == ["unreadable segment set aside"]
        assert bad.exists() != renamed
    assert found[-95:] == lines(205, 300)
    assert len(found) + spool.damaged == 300
    assert spool.dropped == 0


def test_disk_that_cannot_read_for_a_moment(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is set aside: new lines wait in memory, and the old ones until the disk is back."""
    spool = opened(SMALL)
    fill(spool, 0, 200)
    with monkeypatch.context() as patch:
        for each in segments(folder):
            unreadable(patch, each)
        assert spool.read(1000).lines == []
        assert "Input/output error" in spool.unavailable
        for number in range(200, 210):
            monkeypatch.setattr(spool._availability, "_retry_at", 0.0)
            fill(spool, number, number + 1)
        assert spool.read(1000).lines == lines(200, 210)
    assert (spool.damaged, spool.dropped, [*folder.glob("*.bad")]) == (0, 0, [])
    monkeypatch.setattr(spool._availability, "_retry_at", 0.0)
    assert in_order(drained(spool)) == lines(0, 210)


def test_disk_is_tried_once_a_minute(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which the segments cannot be read is not read again at each call."""
    spool = opened(SMALL)
    fill(spool, 0, 200)
    reads: list[Path] = []

    def failing(path: Path) -> bytes:
        reads.append(path)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", denied)
    fill(spool, 200, 201)
    monkeypatch.setattr(Path, "read_bytes", failing)
    monkeypatch.setattr(spool._availability, "_retry_at", 0.0)
    fill(spool, 201, 230)
    assert len(reads) <= 2  # the version and one segment
    assert spool.dropped == 0


def test_sync_that_fails_for_want_of_space(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk reports a full quota at the sync only, no line is dropped either."""
    spool = opened(SMALL)
    real, failing = os.fdatasync, iter([True])

    def full(descriptor: int) -> None:
        if spool._storage.end.offset > 4000 and next(failing, False):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", full)
    with spool._write:
        for text in lines(0, 100):
            assert spool._put(record(text))
    assert spool.unavailable
    monkeypatch.setattr(spool._availability, "_retry_at", 0.0)
    spool.check_directory()
    assert (spool.dropped, in_order(drained(spool))) == (0, lines(0, 100))


def test_close_on_a_disk_that_fails(
    opened: Open, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    """The close raises nothing; lines that are not on disk are counted."""
    spool = opened(SMALL)
    fill(spool, 0, 10)
    with spool._write:
        assert spool._put(record(line(10)))  # not synced
    said()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", denied)
        spool.close()
    assert spool.dropped == 1
    assert said() == ["spool unavailable, points wait in memory", "points in memory lost"]
    assert drained(opened(SMALL)) == lines(0, 10)


def denied(*_args: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_segment_that_cannot_be_read_at_the_start(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start sets it aside, and keeps only the last of such segments."""
    monkeypatch.setattr(recovery, "MAX_SET_ASIDE", 1)
    spool = opened(SMALL)
    fill(spool, 0, 200)
    for number in (1, 2):
        bad = segments(folder)[1]
        with monkeypatch.context() as patch:
            unreadable(patch, bad)
            spool = opened(SMALL)
            assert spool.damaged == 1
            fill(spool, 100 + 100 * number, 200 + 100 * number)
        assert [path.name for path in folder.glob("*.bad")] == [f"{bad.name}.bad"]
    assert opened(SMALL).damaged == 0
    assert drained(opened(SMALL))[-200:] == lines(200, 400)


def test_directory_in_place_of_a_segment(opened: Open, folder: Path) -> None:
    """A directory in place of a segment does not prevent a start."""
    (folder / "000000000001.log").mkdir(parents=True)
    fill(opened(SMALL), 0, 10)
    assert drained(opened(SMALL)) == lines(0, 10)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_disk_that_fails(
    opened: Open, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]], call: str
) -> None:
    """Lines wait in memory and are delivered from there; the disk is tried again a minute later."""
    spool = opened(SMALL)
    fill(spool, 0, 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, denied)
        fill(spool, 3, 20)
        assert spool.unavailable == f"cannot use the spool {spool.directory}: Input/output error"
        batch = spool.read(10)
        assert batch.lines == lines(3, 13)
        spool.commit(batch.end)
        assert survey(spool.directory).pending == 3
    fill(spool, 20, 21)
    assert (spool.pending, spool.dropped) == (8, 0)  # the minute has not passed
    assert said() == ["spool unavailable, points wait in memory"]
    monkeypatch.setattr(spool._availability, "_retry_at", 0.0)
    fill(spool, 21, 22)
    assert said() == ["spool available again"]
    assert (spool.unavailable, spool.dropped) == ("", 0)
    spool.close()
    assert in_order(drained(opened(SMALL))) == lines(0, 3) + lines(13, 22)


def test_disk_that_fails_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails whenever it is tried costs no line."""
    monkeypatch.setattr(availability, "RETRY_SECONDS", 0.0)
    spool = opened(SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", denied)
        for number in range(50):
            fill(spool, number, number + 1)
            assert spool.unavailable
    assert spool.dropped == 0
    assert in_order(drained(spool)) == lines(0, 50)


def test_commit_on_a_disk_that_fails(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was delivered is delivered again when the disk can be used; nothing is raised."""
    spool = opened(SMALL)
    fill(spool, 0, 10)
    end = spool.read(5).end
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", denied)
        spool.commit(end)
        assert spool.unavailable
        fill(spool, 10, 12)
    spool.close()
    assert drained(opened(SMALL)) == lines(0, 12)


def test_next_segment_that_cannot_be_begun(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing syncs leave no descriptor behind, and lose nothing."""
    monkeypatch.setattr(availability, "RETRY_SECONDS", 0.0)
    spool = opened(SMALL)
    fill(spool, 0, 3)
    before = len([*Path("/proc/self/fd").iterdir()])
    for first, failing in ((3, "fdatasync"), (23, "fsync")):
        spool._storage.segment_bytes = 1
        with monkeypatch.context() as patch:
            patch.setattr(os, failing, denied)
            fill(spool, first, first + 20)
        assert len([*Path("/proc/self/fd").iterdir()]) <= before
    spool._storage.segment_bytes = 4096
    fill(spool, 43, 50)
    assert spool.dropped == 0
    assert in_order(drained(opened(SMALL))) == lines(0, 50)


def test_no_right_to_read_a_segment(
    opened: Open, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Rights that were taken away are no damage: nothing is set aside, and the lines wait."""
    spool = opened(SMALL)
    fill(spool, 0, 100)

    def forbidden(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", forbidden)
        assert spool.read(10).lines == []
        fill(spool, 100, 110)
        assert "Permission denied" in spool.unavailable
        assert spool.read(10).lines == lines(100, 110)
    assert (spool.damaged, spool.dropped, [*folder.glob("*.bad")]) == (0, 0, [])
    monkeypatch.setattr(spool._availability, "_retry_at", 0.0)
    assert in_order(drained(spool)) == lines(0, 110)


def test_stale_descriptors(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system that has lost the directory is an unmounted one."""
    spool = opened(SMALL)
    fill(spool, 0, 10)

    def stale(*_args: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        patch.setattr(Path, "stat", stale)
        fill(spool, 10, 20)
        assert spool.pending == 10
        assert "Stale file handle" in spool.unavailable
    spool.close()
    assert (spool.dropped, drained(opened(SMALL))) == (0, lines(0, 20))


def test_full_disk_when_the_spool_is_back(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines stay in memory until the disk has room for them."""
    spool = opened(SMALL)
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("in the way")
    fill(spool, 0, 50)
    folder.unlink()
    usage = shutil.disk_usage(folder.parent)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=100))
        fill(spool, 50, 60)
        assert spool.unavailable == f"cannot use the spool {folder}: No space left on device"
        assert (spool.pending, spool.dropped) == (60, 0)
    fill(spool, 60, 61)
    assert spool.unavailable == ""
    assert drained(opened(SMALL)) == lines(0, 61)


def test_nothing_changes_after_the_close(opened: Open, folder: Path) -> None:
    """A late thread writes and commits nothing: another process may use the spool."""
    spool = opened(SMALL)
    fill(spool, 0, 50)
    end = spool.read(20).end
    spool.close()
    content = {path: path.read_bytes() for path in folder.iterdir()}
    spool.commit(end)
    assert not spool.append(line(50))
    assert spool.extend(lines(51, 53)) == 0
    assert spool.dropped == 3
    assert {path: path.read_bytes() for path in folder.iterdir()} == content


# A full disk


def test_full_disk(opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills within a record, the oldest segment is dropped and the line accepted.

    The partial record is removed, and dropped lines are counted.
    """
    spool = opened(SMALL)
    fill(spool, 0, 200)
    most = on_disk(folder) + 1000
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        room = most - on_disk(folder)
        if room < 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content[:room])

    monkeypatch.setattr(os, "write", write)
    fill(spool, 200, 400)
    monkeypatch.undo()
    assert spool.dropped > 0
    assert spool.damaged == 0
    dropped = spool.dropped
    fill(spool, 400, 450)
    spool = opened(SMALL)
    assert drained(spool) == lines(dropped, 450)
    assert spool.damaged == 0


def test_no_descriptor_is_no_damage(opened: Open) -> None:
    """If no file can be opened, nothing is set aside; all lines can be read later."""
    spool = opened(SMALL)
    fill(spool, 0, 300)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            spool.read(10)
        with pytest.raises(UsageError, match="Too many open files"):
            Spool(spool.directory.parent / "other", SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    batch = spool.read(100)
    assert batch.lines == lines(0, 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        spool.commit(batch.end)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert drained(spool) == lines(100, 300)
    assert (spool.damaged, spool.dropped) == (0, 0)


def test_full_disk_with_nothing_to_give(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that others have filled, lines are dropped and counted until there is room."""
    spool = opened()
    fill(spool, 0, 5)

    def write(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert [spool.append(line(number)) for number in range(5, 8)] == [False] * 3
    assert spool.dropped == 8
    fill(spool, 8, 20)
    assert drained(spool) == lines(8, 20)
    fill(spool, 20, 30)
    assert drained(opened()) == lines(20, 30)


def test_cursor_on_a_full_disk(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delivery continues without a cursor on disk; after a restart lines may be repeated."""
    spool = opened(SMALL)
    fill(spool, 0, 100)
    ends = spool.read(100).ends
    spool.commit(ends[9])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        patch.setattr(os, "fdatasync", full)
        spool.commit(ends[79])
        assert spool.read(100).lines == lines(80, 100)
    found = drained(opened(SMALL))
    assert found == lines(100 - len(found), 100)
    assert len(found) >= 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 256 KiB."""
    with mounted(tmp_path / "disk", b"256k") as disk:
        yield disk.folder


def test_real_full_disk(small_disk: Path) -> None:
    """On a full disk of 256 KiB appending continues: the oldest lines are dropped and counted."""
    folder = small_disk / "spool"
    spool = Spool(folder, 8 * LIMIT)
    spool._storage.segment_bytes = (
        27_000  # no whole number of pages: the disk fills within a record
    )
    fill(spool, 0, 6000)
    assert spool.dropped > 2000
    dropped = spool.dropped
    spool.close()
    spool = Spool(folder, 8 * LIMIT)
    assert spool.pending == 6000 - dropped
    assert drained(spool) == lines(dropped, 6000)
    assert spool.damaged == 0
    fill(spool, 6000, 6500)
    assert drained(spool) == lines(6000, 6500)
    spool.close()


def test_real_full_disk_of_others(small_disk: Path) -> None:
    """While others fill the disk, lines are dropped and counted; then writing resumes."""
    folder = small_disk / "spool"
    spool = Spool(folder, 8 * LIMIT)
    fill(spool, 0, 100)
    others = Disk(small_disk)
    others.fill()
    assert os.statvfs(small_disk).f_bavail == 0
    taken = [spool.append(line(number)) for number in range(100, 1000)]
    assert all(taken) or spool.dropped > 0
    others.free()
    fill(spool, 1000, 1100)
    found = drained(spool)
    assert found[-100:] == lines(1000, 1100)
    assert spool.dropped + len(found) == 1100
    spool.close()
    spool = Spool(folder, 8 * LIMIT)
    assert (spool.pending, spool.damaged) == (0, 0)
    spool.close()


# One owner, many threads


def test_second_opener(opened: Open, folder: Path) -> None:
    """A second opener of the same directory is refused with its name, without effect."""
    spool = opened()
    fill(spool, 0, 5)
    with pytest.raises(UsageError, match=re.escape(str(folder))) as refused:
        Spool(folder, LIMIT)
    assert "another process" in str(refused.value)
    fill(spool, 5, 7)
    assert drained(opened()) == lines(0, 7)


@pytest.mark.system
def test_second_process(opened: Open, folder: Path) -> None:
    """A second process is refused, and accepted once the first has ended."""
    program = (
        "import sys; from pathlib import Path; from goe_exporter.spool.queue import Spool\n"
        "Spool(Path(sys.argv[1]), 65536)"
    )
    command = [sys.executable, "-c", program, str(folder)]
    spool = opened()
    refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert refused.returncode != 0
    assert str(folder) in refused.stderr
    spool.close()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """A path that is not a readable directory is a usage error."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=re.escape(str(path))):
            Spool(path, LIMIT)


def test_segments_of_another_user(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that only another user can read are not damaged: they are refused unchanged."""
    fill(opened(), 0, 5)

    def denied(_path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        with pytest.raises(UsageError, match="Permission denied"):
            opened()
    assert drained(opened()) == lines(0, 5)


def test_eight_threads(opened: Open) -> None:
    """Lines of eight threads come out complete, in each thread's order."""
    spool = opened(64 * SMALL)
    failed: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for number in range(500):
                assert spool.append(b"%d %d %b" % (name, number, b"x" * (number % 97)))
        except BaseException as error:  # noqa: BLE001, a thread's failure must be seen
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    spool = opened(64 * SMALL)
    found = drained(spool)
    assert spool.damaged == 0
    for name in range(8):
        mine = [text for text in found if text.startswith(b"%d " % name)]
        assert mine == [b"%d %d %b" % (name, n, b"x" * (n % 97)) for n in range(500)]


def test_next_segment_during_a_sync(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread with a slow sync is not affected by another one that begins a segment."""
    spool = opened(SMALL)
    real = os.fdatasync
    slow, syncing, begun = threading.current_thread(), threading.Event(), threading.Event()

    def sync(descriptor: int) -> None:
        if threading.current_thread() is not slow:
            syncing.set()
            assert begun.wait(PATIENCE_SECONDS)
        real(descriptor)

    failed: list[BaseException] = []

    def work() -> None:
        try:
            assert spool.append(b"first")
        except BaseException as error:  # noqa: BLE001, a thread's failure must be seen
            failed.append(error)

    monkeypatch.setattr(os, "fdatasync", sync)
    thread = threading.Thread(target=work)
    thread.start()
    assert syncing.wait(PATIENCE_SECONDS)
    with spool._write:
        assert spool._put(record(b"x" * 4090))
    begun.set()
    thread.join(PATIENCE_SECONDS)
    assert failed == []
    assert drained(spool) == [b"first", b"x" * 4090]


def test_close_while_appending(opened: Open) -> None:
    """A close waits for a write in progress, and the accepted lines are on disk."""
    spool = opened(64 * SMALL)
    taken: list[bytes] = []

    def work() -> None:
        number = 0
        while not spool._closed and number < 100_000:
            if spool.append(line(number)):
                taken.append(line(number))
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: len(taken) > 20, "some lines")
    spool.close()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    spool.close()
    assert drained(opened(64 * SMALL)) == taken


# A passer-by


def test_survey(opened: Open, folder: Path) -> None:
    """A survey finds the same as the spool, also while it is in use, and changes nothing."""
    assert survey(folder) == (0, 0, None)
    spool = opened(SMALL)
    assert survey(folder) == (0, 0, None)
    fill(spool, 0, 200)
    assert survey(folder) == (200, spool.size_bytes, line(0))
    spool.commit(spool.read(70).end)
    content = {path: path.read_bytes() for path in folder.iterdir()}
    assert survey(folder) == (130, spool.size_bytes, line(70))
    assert {path: path.read_bytes() for path in folder.iterdir()} == content
    drained(spool)
    assert survey(folder) == (0, spool.size_bytes, None)


def test_survey_of_a_spool_in_motion(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that is delivered between listing and reading is skipped."""
    spool = opened(SMALL)
    fill(spool, 0, 200)
    real = Path.read_bytes

    def late(path: Path) -> bytes:
        if path.stem == "000000000001":
            drained(spool)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", late)
    assert survey(folder).pending <= 200


def test_survey_skips_damage(opened: Open, folder: Path) -> None:
    """The first line of a survey is the first sound one."""
    fill(opened(), 0, 5)
    path = segments(folder)[0]
    content = bytearray(path.read_bytes())
    content[12] ^= 1
    path.write_bytes(bytes(content))
    assert survey(folder).first == line(1)


# Against a model

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.binary(max_size=600).map(lambda b: b.replace(b"\0", b""))),
        st.tuples(st.just("read"), st.integers(1, 12)),
        st.tuples(st.just("commit"), st.integers(1, 12)),
        st.tuples(st.just("reopen"), st.none()),
        st.tuples(st.just("kill"), st.none()),
    ),
    max_size=60,
)


@given(_STEPS)
def test_against_a_list(steps: list[tuple[str, bytes | int | None]]) -> None:
    """Any sequence of appends, reads, commits and restarts behaves like a list of lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool = Spool(folder, LIMIT)
        spool._storage.segment_bytes = 1000
        model: list[bytes] = []
        for step, value in steps:
            if isinstance(value, bytes):
                assert spool.append(value)
                model.append(value)
            elif isinstance(value, int):
                batch = spool.read(value)
                assert batch.lines == model[:value]
                if step == "commit" and batch.lines:
                    spool.commit(batch.ends[len(batch.lines) // 2])
                    del model[: len(batch.lines) // 2 + 1]
            else:
                if step == "reopen":
                    spool.close()
                else:
                    # As a kill does it: nothing is flushed, only the descriptors go.
                    if spool._storage.descriptor is not None:
                        os.close(spool._storage.descriptor)
                    assert spool._storage._home is not None
                    spool._storage._home.close()
                spool = Spool(folder, LIMIT)
                spool._storage.segment_bytes = 1000
            assert spool.pending == len(model)
            assert survey(folder).pending == len(model)
            assert spool.size_bytes == on_disk(folder)
        assert drained(spool, 3) == model
        assert (spool.dropped, spool.damaged) == (0, 0)
        spool.close()
