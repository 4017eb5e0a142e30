"""The lease on disk: it survives, is not trusted when damaged, and belongs to one process."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from power import WAYS, Disk

from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.errors import UsageError
from goe_exporter.surplus.lease import Baseline, Lease
from goe_exporter.surplus.wear import Wear

WEAR = Wear(operations=(880.0, 940.0), started_at=880.0, paused_at=940.0, pause_s=360.0)
LEASE = Lease(Baseline(16, 0, "neutral"), frozenset({"force_state", "phases"}), WEAR, 5.0, True)


def opened(path: Path, now: float = 1000.0, wall: float = 1_780_000_000.0) -> LeaseFile:
    """Open the file of a charger at a moment of both clocks."""
    return LeaseFile(path, "218042", lambda: now, lambda: wall)


def test_saved_and_loaded(tmp_path: Path) -> None:
    """Another process, with another monotonic clock, finds the same lease 100 s later."""
    file = opened(tmp_path / "state")
    assert file.load() == Lease()
    file.save(LEASE)
    file.close()
    again = opened(tmp_path / "state", now=50.0, wall=1_780_000_100.0)
    found = again.load()
    assert (found.baseline, found.owned) == (LEASE.baseline, LEASE.owned)
    assert (found.plugged_at, found.proven) == (5.0, True)
    assert found.wear == Wear((-170.0, -110.0), -170.0, -110.0, None, 360.0)


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    """A lease that is on disk is not written again."""
    file = opened(tmp_path / "state")
    file.save(LEASE)
    path = tmp_path / "state" / "218042.json"
    path.unlink()
    file.save(LEASE)
    assert not path.exists()
    file.save(Lease())
    assert path.exists()


def test_clock_that_is_set(tmp_path: Path) -> None:
    """The times are written again when the wall clock is set, or a crash would lose the wear."""
    wall = [1_780_000_000.0]
    file = LeaseFile(tmp_path / "state", "218042", lambda: 1000.0, lambda: wall[0])
    file.save(LEASE)
    wall[0] += 7200
    file.save(LEASE)
    file.close()
    again = opened(tmp_path / "state", now=50.0, wall=1_780_007_200.0)
    assert again.load().wear == Wear((-70.0, -10.0), -70.0, -10.0, None, 360.0)


def test_one_process(tmp_path: Path) -> None:
    """A second process cannot use the directory."""
    file = opened(tmp_path / "state")
    with pytest.raises(UsageError, match="is in use by another process"):
        opened(tmp_path / "state")
    file.close()
    opened(tmp_path / "state").close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version": 1, "owned": ["amp"]}',
        b"[" * 100_000,
        b" " * 70_000,
        json.dumps(LEASE.saved(0, 0) | {"version": 2}).encode(),
        json.dumps(LEASE.saved(0, 0) | {"baseline": {"current": 40}}).encode(),
        json.dumps(LEASE.saved(0, 0) | {"plugged_at": 10**400}).encode(),
    ],
)
def test_damaged(tmp_path: Path, records: list[logging.LogRecord], content: bytes) -> None:
    """A damaged file is set aside and named; nothing is on loan then, and the pause is long."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "218042.json").write_bytes(content)
    assert opened(folder).load() == Lease(
        wear=Wear(paused_at=1000.0, switched_at=1000.0, pause_s=900.0)
    )
    assert (folder / "218042.damaged").read_bytes() == content
    assert not (folder / "218042.json").exists()
    assert [record.getMessage() for record in records] == ["lease file damaged"]


def test_unreadable(tmp_path: Path) -> None:
    """A file that cannot be read is an error, not an empty lease."""
    folder = tmp_path / "state"
    (folder / "218042.json").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"cannot read .*218042\.json: Is a directory"):
        opened(folder).load()


def test_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut at any moment leaves the old or the new lease, and the new one once saved."""
    folder = tmp_path / "disk"
    file = opened(folder)
    file.save(LEASE)
    left: list[Path] = []

    def cut() -> None:
        for way in WAYS:
            left.append(disk.left(tmp_path / f"cut-{len(left)}", way))

    disk = Disk(monkeypatch, folder, cut)
    file.save(Lease(LEASE.baseline))
    cut()
    monkeypatch.undo()
    owned = [opened(each).load().owned for each in left]
    assert set(owned) == {LEASE.owned, frozenset()}
    assert owned[-1] == frozenset()
