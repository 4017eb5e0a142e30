"""Contents of the spool's directory after a power cut, a failing card or a manual change."""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import shutil
import tempfile
import zlib
from pathlib import Path

from goe_exporter.durable.clock import EARLIEST, TrustedClock
from goe_exporter.errors import UsageError
from goe_exporter.influx import dead_letters, line_protocol
from goe_exporter.influx.dead_letters import DeadLetters
from goe_exporter.influx.unstamped import UnstampedPoints
from goe_exporter.spool import segments
from goe_exporter.spool.queue import Spool
from tests.fuzz.source import Source

LIMIT = 1024 * 1024

_ROOT = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
atexit.register(shutil.rmtree, _ROOT, ignore_errors=True)


def _fresh() -> Path:
    """Return an empty directory."""
    folder = _ROOT / "spool"
    if not folder.exists():
        folder.mkdir()
    _clear(folder)
    return folder


def _clear(folder: Path) -> None:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir():
                _clear(Path(entry.path))
                Path(entry.path).rmdir()
            else:
                Path(entry.path).unlink()


def _drained(spool: Spool) -> list[bytes]:
    """Return all waiting lines, and commit them."""
    found: list[bytes] = []
    while True:
        batch = spool.read(7)
        assert len(batch.lines) == len(batch.ends) <= 7
        spool.commit(batch.end)
        if not batch.lines:
            return found
        found += batch.lines


def spool(data: bytes) -> None:
    """Damage costs only the records that it touches; nothing damaged is delivered."""
    source, folder = Source(data), _fresh()
    lines, written = _segments(source)
    sound: list[bytes] = []
    damaged = False
    for number, segment in enumerate(written, 1):
        raw, kept = _damaged(source, segment)
        damaged |= raw != b"".join(segment)
        sound += kept
        (folder / f"{number:012}.log").write_bytes(raw)
    opened = Spool(folder, LIMIT)
    try:
        assert opened.append(b"behind all")
        survey = list(segments.lines(folder))
        found = _drained(opened)
        assert found[-1:] == [b"behind all"]
        assert survey == found, "what a passer-by sees is something else"
        assert _in_order(sound, found), (sound, found)
        # The fuzzer sees comparisons, and so can produce a matching checksum.
        made = {line for line in found if segments.record(line)[: segments.HEADER_BYTES] in data}
        assert set(found) <= {*lines, *made, b"", b"behind all"}, "a damaged record was delivered"
        assert opened.dropped == 0
        assert damaged or opened.damaged == 0
        assert opened.pending == 0
    finally:
        opened.close()
    again = Spool(folder, LIMIT)
    try:
        assert again.read(10).lines == []
        assert again.append(b"a new one")
        assert _drained(again) == [b"a new one"]
    finally:
        again.close()


def _segments(source: Source) -> tuple[list[bytes], list[list[bytes]]]:
    """Return distinct lines, and segments with their records."""
    lines: list[bytes] = []
    found: list[list[bytes]] = []
    for _ in range(1 + source.below(3)):
        segment = []
        for _ in range(source.below(5)):
            line = b"%d %b" % (len(lines), source.take(24).replace(b"\0", b"0"))
            lines.append(line)
            segment.append(segments.record(line))
        found.append(segment)
    return lines, found


def _damaged(source: Source, segment: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Return a segment's bytes with damage, and the lines that are still intact."""
    raw = b"".join(segment)
    for _ in range(source.below(4)):
        start = source.below(len(raw) + 1)
        span = source.below(40)
        kind = source.below(4)
        new = (source.take(40), b"\0" * span, b"", source.take(40)[:span].ljust(span, b"\xff"))
        raw = raw[:start] + new[kind] + raw[start + (0 if kind == 0 else span) :]
    kept, place = [], 0
    for record in segment:
        at = raw.find(record, place)
        if at >= 0:
            kept.append(segments.restored(record[segments.HEADER_BYTES : -1]))
            place = at + len(record)
    return raw, kept


def _in_order(some: list[bytes], others: list[bytes]) -> bool:
    """Return whether some lines are among others, in the same order."""
    rest = iter(others)
    return all(line in rest for line in some)


_NAMES = (
    *("000000000001.log", "000000000002.log", "000000000009.log", "999999999999.log", "1.log"),
    *("cursor.tmp", "0000000000010.log", "x"),
)


def remains(data: bytes) -> None:
    """Whatever files exist, a spool opens and loses nothing that it accepts from then on."""
    source, folder = Source(data), _fresh()
    if source.below(2):
        place = source.pick((b"0 0", b"1 0", b"1 5", b"2 0", b"9 9", b"-1 3", b"1 -7"))
        place = place if source.below(2) else source.take(24)
        (folder / "cursor").write_bytes(b"%08x %b\n" % (zlib.crc32(place), place))
    elif source.below(2):
        (folder / "cursor").write_bytes(source.take())
    for _ in range(source.below(4)):
        path = folder / source.pick(_NAMES)
        if path.exists():
            continue
        if path.suffix == ".log" and source.below(16) == 1:
            path.mkdir()
        else:
            path.write_bytes(source.take(100))
    with contextlib.suppress(OSError):
        list(segments.lines(folder))
        segments.survey(folder)
    try:
        opened = Spool(folder, LIMIT)
    except UsageError:
        assert any(path.is_dir() for path in folder.iterdir())
        return
    try:
        opened.newest()
        opened.read(1)
        if source.below(2):
            _drained(opened)
        assert opened.append(b"kept for ever")
        assert opened.newest() == b"kept for ever"
    finally:
        opened.close()
    again = Spool(folder, LIMIT)
    try:
        assert _drained(again)[-1:] == [b"kept for ever"]
        assert again.pending == 0
    finally:
        again.close()


_BOOT = "0f8fad5b-d9cb-469f-a165-70867728950e"
_NOW = 1_800_000_000.0
_WALLS = (_NOW, EARLIEST, 0.0, EARLIEST - 1, _NOW - 86_400, _NOW + 86_400)


def clock(data: bytes) -> None:
    """A file with the last trusted time never makes the clock raise or trust a damaged value.

    A file of a newer version is rejected.
    """
    folder = _fresh()
    (folder / "clock").write_bytes(data)
    for wall in _WALLS[:2]:
        try:
            keeper = TrustedClock(
                folder / "clock",
                _BOOT,
                lambda: wall,  # noqa: B023
                lambda: 5000.0,
                lambda: False,
            )
        except UsageError:
            assert data.split()[0].startswith(b"v")
            return
        assert math.isfinite(keeper.last_trusted)
        keeper.trusted()
        assert math.isfinite(keeper.now().time_at(10.0))
        keeper.compare(_NOW)
        assert (keeper.trusted() is not None) == (abs(wall - _NOW) <= 86_400)
        held = UnstampedPoints(folder / "held", LIMIT, keeper, 0.0)
        try:
            assert held.record("p f=1").endswith(b" p f=1")
        finally:
            held.spool.close()


_RECORDS = (
    f"{_BOOT} 4000.000 1799999000.000 1799990000.000 goe_charger,charger=a up=true",
    "another-boot 4000.000 1799999000.000 1799990000.000 goe_charger,charger=a up=true",
    "another-boot 4000.000 0.000 1799990000.000 goe_charger,charger=a up=true",
)


def held(data: bytes) -> None:
    """Each unstamped record becomes a line with a time, is set aside without one, or is damaged."""
    source, folder = Source(data), _fresh()
    stored: list[bytes] = []
    for _ in range(1 + source.below(3)):
        raw = source.pick(_RECORDS).encode()
        for _ in range(source.below(3)):
            place = source.below(len(raw) + 1)
            raw = raw[:place] + source.take(20) + raw[place + source.below(20) :]
        stored.append(raw.replace(b"\0", b"0"))
    keeper = TrustedClock(folder / "clock", _BOOT, lambda: _NOW, lambda: 5000.0, lambda: True)
    opened = UnstampedPoints(folder / "held", LIMIT, keeper, 0.0)
    try:
        opened.spool.extend(stored)
        found, end = opened.stamped(keeper.now())
        opened.done(end)
        assert opened.spool.pending == 0
    finally:
        opened.spool.close()
    assert len(found.lines) + len(found.untimed) == len(stored)
    for line in found.lines:
        stamp = line_protocol.timestamp(line)
        assert stamp is not None, line
        assert 0 <= stamp <= 1e11, line


_LETTER = {"time": 1.8e9, "words": "partial write", "line": "goe_charger up=true 1800000000000"}


def letters(data: bytes) -> None:
    """Invalid dead letters are skipped; the others are shown and requeued."""
    source, folder = Source(data), _fresh()
    stored: list[bytes] = []
    for _ in range(1 + source.below(3)):
        kind = source.below(4)
        letter: object = dict(_LETTER)
        if kind == 0:
            assert isinstance(letter, dict)
            letter[source.pick(("time", "words", "line", "x"))] = source.json(2)
        elif kind == 1:
            letter = source.json()
        stored.append(source.take(200) if kind == 2 else json.dumps(letter).encode())
    (folder / "dead").mkdir()
    stored = [letter.replace(b"\0", b"0") for letter in stored]
    (folder / "dead" / "000000000001.log").write_bytes(b"".join(map(segments.record, stored)))
    for shown in dead_letters.letters(folder / "dead"):
        assert isinstance(shown.message, str)
        assert isinstance(shown.line, str)
        shown.line.encode("utf-8", "backslashreplace")
    queue = Spool(folder / "queue", LIMIT)
    opened = DeadLetters(folder / "dead", LIMIT)
    try:
        moved = opened.requeue(queue)
        assert moved.put_back == queue.pending
        assert opened.spool.pending == moved.without_time
        assert moved.without_room == 0
        for line in _drained(queue):
            assert line_protocol.timestamp(line) is not None, line
    finally:
        opened.close()
        queue.close()
