"""The exporter is killed at any moment: nothing that was written is lost or counted twice."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import session_stores
import session_writer

from goe_exporter.sessions.records import Records

KILLS = 6


@pytest.mark.system
def test_kill_at_any_moment(tmp_path: Path) -> None:
    """After each kill the sessions that were written are there, and the books close at the end.

    The other sink has the line about each session, or it waits.
    """
    path, chance = tmp_path / "sessions.db", random.Random(1)
    known: dict[str, str] = {}
    second = 0
    for _ in range(KILLS):
        second = killed(path, second, chance)
        with Records(path) as records:
            found = {session.id: session.to_json() for session in records.sessions()}
            (book,) = records.books()
            booked = sum(session.energy_wh for session in records.sessions())
            unassigned = sum(each.energy_wh for each in records.unassigned())
            sessions = list(records.sessions())
        # Killed between a transaction and the line about it.
        second = max(second, book.last_time - session_writer.START)
        second += chance.choice([5, 30, 400])
        assert known.items() <= found.items()
        lines = [*session_writer.accepted(path), *session_stores.outbox(path).values()]
        assert {*lines} == {f"{session.id} {session.ended}" for session in sessions}
        known = found
        under_way = book.under_way.energy_wh if book.under_way else 0
        assert booked + under_way + unassigned == book.last_wh - book.first_wh
        ends = [(session.started, session.ended) for session in sessions]
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))
    assert len(known) > KILLS


def killed(path: Path, second: int, chance: random.Random) -> int:
    """Run the writer, kill it at some moment, and return the second it wrote last."""
    tools = str(Path(session_writer.__file__).parent)
    process = subprocess.Popen(
        [sys.executable, session_writer.__file__, str(path), str(second)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": tools},
    )
    assert process.stdout is not None
    lines = chance.randrange(3, 60)
    last = second
    for _, line in zip(range(lines), process.stdout, strict=False):
        last = int(line)
    process.send_signal(signal.SIGKILL)
    for line in process.stdout.read().splitlines():
        last = int(line)
    process.wait()
    process.stdout.close()
    return last
