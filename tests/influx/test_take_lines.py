"""Lines that are handed to the push agent: accepted only when they are on disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from goe_exporter.influx.agent import Agent
from goe_exporter.influx.write_api import Access, ServerV1
from goe_exporter.spool.segments import survey

LIMIT = 1024 * 1024
LINES = [
    f"goe_session,charger=garage energy_wh={number}.0 {1_780_000_000_000}" for number in (1, 2)
]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """Yield an agent that has delivered a line, and delivers no other."""
    server = ServerV1("http://127.0.0.1:9", "goe", "", "", Access())
    opened = Agent(tmp_path / "spool", LIMIT, server, {}, 5000)
    opened.sender.written = 1
    yield opened
    opened.stop(0)


def failing(number: int) -> object:
    """Return a call of the system that always fails."""

    def fail(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


def waiting(agent: Agent) -> list[str]:
    return [line.decode() for line in agent.store.queue.read(100_000).lines]


def test_lines_on_disk(agent: Agent, tmp_path: Path) -> None:
    """Accepted lines are on disk, in order, and wait for delivery."""
    assert agent.take_lines(LINES) == 2
    assert survey(tmp_path / "spool").pending == 2
    assert waiting(agent) == LINES


def test_server_that_fails(agent: Agent) -> None:
    """Nothing is accepted before the server has accepted a line, and while delivery fails."""
    agent.sender.written = 0
    assert agent.take_lines(LINES) == 0
    agent.sender.written = 1
    agent.store.queue.append(b"goe_charger up=true 1780000000000")
    agent.sender.deliver_once()
    assert agent.stats().failing == "refused"
    assert agent.take_lines(LINES) == 0
    assert agent.stats().spooled == 1


def test_no_room(agent: Agent) -> None:
    """No other line is dropped for them, and none of them counts as dropped."""
    queue = agent.store.queue
    while queue.extend([b"x" * 1000 + b" 1780000000000"], make_room=False):
        pass
    count = queue.pending
    assert agent.take_lines(["y" * 1000, *LINES]) == 0
    # A short line may have room where a long one has none; the first one that has none is the last.
    assert (queue.pending, queue.dropped) == (count, 0)
    queue.commit(queue.end)
    assert agent.take_lines(LINES) == 2


def test_full_disk(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk they are not accepted; later they are."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing(errno.ENOSPC))
        assert agent.take_lines(LINES) == 0
    assert (agent.store.queue.dropped, waiting(agent)) == (0, [])
    assert agent.take_lines(LINES) == 2


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_disk_that_fails(agent: Agent, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A line in memory is not accepted, and while the disk fails no further line gets there."""
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.EIO))
        assert agent.take_lines(LINES) == 0
        before = agent.store.queue.pending
        assert agent.take_lines(LINES) == 0
        assert agent.store.queue.pending == before <= 2
    monkeypatch.setattr(agent.store.queue._availability, "_retry_at", 0.0)
    assert agent.take_lines(LINES) == 2
    assert set(waiting(agent)) == set(LINES)


def test_agent_that_has_stopped(agent: Agent, tmp_path: Path) -> None:
    """A stopped agent accepts nothing."""
    agent.stop(0)
    assert agent.take_lines(LINES) == 0
    assert survey(tmp_path / "spool").pending == 0
