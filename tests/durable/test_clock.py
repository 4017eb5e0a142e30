"""When the clock is trusted, and that no point is sent with a wrong time."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import shutil
import subprocess
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from clocks import Clocks
from fake_influx import FakeInflux, Reply
from log_records import recorded
from paths import FIXTURES
from servers import PATIENCE_SECONDS, wait_for

from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.durable import clock
from goe_exporter.durable.clock import EARLIEST, TrustedClock
from goe_exporter.errors import UsageError
from goe_exporter.influx import agent as agent_module
from goe_exporter.influx import store as store_module
from goe_exporter.influx.agent import Agent, open_agent, open_server
from goe_exporter.influx.dead_letters import letters
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.influx.write_api import ServerV1, ServerV2, WriteResult
from goe_exporter.polling.view import Poll
from goe_exporter.spool.segments import survey

WITHOUT_VERSION = FIXTURES / "spool_without_version" / "spool"
NOW = 1_780_000_000.0
DAY = 86_400.0
YEAR = 365 * DAY
POWER = next(channel for channel in CHANNELS if channel.name == "power")


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


Keep = Callable[[], TrustedClock]


@pytest.fixture
def keep(tmp_path: Path, clocks: Clocks) -> Keep:
    """Return a function that creates a timekeeper, as a start of the process does."""
    return lambda: TrustedClock(
        tmp_path / "clock",
        clocks.boot_id,
        lambda: clocks.wall,
        lambda: clocks.up,
        lambda: clocks.synchronised,
    )


# The timekeeper


def test_first_start(keep: Keep, clocks: Clocks) -> None:
    """At the very first start the clock is not trusted until the server's time agrees."""
    keeper = keep()
    assert not keeper.trusted()
    clocks.go(3600)
    assert not keeper.trusted()
    keeper.compare(clocks.wall + 2)
    assert keeper.trusted()


@pytest.mark.parametrize("difference", [-DAY, -30, 0, 30, DAY])
def test_within_a_day_the_server_agrees(keep: Keep, clocks: Clocks, difference: float) -> None:
    """A difference of up to a day is agreement: servers' clocks are not exact either."""
    keeper = keep()
    keeper.compare(clocks.wall + difference)
    assert keeper.trusted()


@pytest.mark.parametrize("difference", [-5 * YEAR, -DAY - 1, DAY + 1, 100 * DAY])
def test_beyond_a_day_it_does_not(keep: Keep, clocks: Clocks, difference: float) -> None:
    """A clock that is off by more than a day is not trusted, even if it was before."""
    keeper = keep()
    keeper.compare(clocks.wall - difference)
    assert not keeper.trusted()
    keeper.compare(clocks.wall)
    assert keeper.trusted()
    keeper.compare(clocks.wall - difference)
    assert not keeper.trusted()


@pytest.mark.parametrize("rest", [0, 60, DAY, 29 * DAY])
def test_restart_in_the_same_boot(keep: Keep, clocks: Clocks, rest: float) -> None:
    """After a restart of the process the saved time confirms a clock that ran on."""
    keep().compare(clocks.wall)
    clocks.go(rest)
    assert keep().trusted()


@pytest.mark.parametrize("jump", [-YEAR, -DAY - 1, DAY + 1, 30 * DAY, 5 * YEAR])
def test_jump_while_the_process_was_down(keep: Keep, clocks: Clocks, jump: float) -> None:
    """A clock that jumped against the uptime meanwhile is not trusted until confirmed."""
    keep().compare(clocks.wall)
    clocks.go(3600)
    clocks.wall += jump
    keeper = keep()
    assert not keeper.trusted()
    keeper.compare(clocks.wall)
    assert (keeper.trusted() is not None) == (clocks.wall >= EARLIEST)


@pytest.mark.parametrize("rest", [0, 30, DAY, 10 * DAY, 5 * YEAR, -DAY])
def test_another_boot(keep: Keep, clocks: Clocks, rest: float) -> None:
    """After a boot the saved time confirms nothing: a fake clock resumes at the last shutdown."""
    keep().compare(clocks.wall)
    clocks.boot(clocks.wall + rest)
    keeper = keep()
    assert not keeper.trusted()
    keeper.compare(clocks.wall)
    assert keeper.trusted()
    assert keep().trusted()


def test_clock_that_the_kernel_vouches_for(keep: Keep, clocks: Clocks) -> None:
    """A clock that NTP synchronises is trusted at once, after a jump once NTP has corrected it."""
    clocks.boot(NOW + 40 * DAY)
    clocks.synchronised = True
    keeper = keep()
    assert keeper.trusted()
    clocks.wall -= 20 * DAY
    clocks.synchronised = False
    assert not keeper.trusted()
    clocks.synchronised = True
    assert keeper.trusted()


def test_kernel_that_vouches_for_1970(keep: Keep, clocks: Clocks) -> None:
    """A time before the first release is never trusted, whoever confirms it."""
    clocks.boot(60.0)
    clocks.synchronised = True
    assert not keep().trusted()


def test_kernel_and_server_disagree(keep: Keep, clocks: Clocks) -> None:
    """If NTP synchronises the clock, a server whose clock is off by days has no effect."""
    clocks.synchronised = True
    keeper = keep()
    keeper.compare(clocks.wall + 3 * DAY)
    assert keeper.trusted()
    assert keeper.disagreement == (clocks.wall, clocks.wall + 3 * DAY)


def test_disagreement_is_logged_once(
    keep: Keep, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """If clock and server are days apart, both times are logged once."""
    caplog.set_level(logging.INFO, "goe_exporter")
    keeper = keep()
    for _ in range(5):
        keeper.compare(clocks.wall + 2 * DAY)
    clocks.go(60)
    keeper.compare(clocks.wall)
    begun, ended = caplog.records
    assert (begun.levelname, begun.getMessage()) == ("WARNING", "clock and server disagree")
    assert vars(begun)["values"] == {
        "clock": "2026-05-28 20:26:40 UTC", "server": "2026-05-30 20:26:40 UTC"
    }  # fmt: skip
    assert ended.getMessage() == "clock and server agree"
    assert keeper.disagreement is None


def test_servers_that_disagree_in_turns(
    keep: Keep, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """Two servers behind one address, one of them days off: at most one line a minute."""
    caplog.set_level(logging.INFO, "goe_exporter")
    keeper = keep()
    for _ in range(300):
        keeper.compare(clocks.wall + 2 * DAY)
        keeper.compare(clocks.wall)
        clocks.go(1)
    assert [each.getMessage() for each in caplog.records] == [
        "clock and server disagree",
        *["clock and server disagree"] * 4,
    ]
    assert vars(caplog.records[4])["values"] == {
        "clock": "2026-05-28 20:30:40 UTC",
        "server": "2026-05-30 20:30:40 UTC",
        "times": 60,
        "recoveries": 60,
    }


def test_stamp(keep: Keep, clocks: Clocks) -> None:
    """A poll keeps its own time, unless the clock was corrected after it."""
    now = keep().now()
    assert now.stamp(clocks.wall - 0.5) == clocks.wall - 0.5
    for wrong in (100.0, clocks.wall - 3600, clocks.wall + 9 * YEAR):
        assert now.stamp(wrong) == clocks.wall


def test_boot_in_1970(keep: Keep, clocks: Clocks) -> None:
    """A clock in 1970 is not trusted, even if a server agrees; once corrected, it is."""
    keep().compare(clocks.wall)
    clocks.boot(0.0)
    keeper = keep()
    assert not keeper.trusted()
    keeper.compare(NOW)
    assert not keeper.trusted()
    keeper.compare(5.0)
    assert not keeper.trusted()
    clocks.wall = NOW
    assert not keeper.trusted()
    keeper.compare(NOW + 1)
    assert keeper.trusted()


def test_jump_while_running(keep: Keep, clocks: Clocks) -> None:
    """A jump against the uptime ends the trust; after a jump back a confirmation restores it."""
    keeper = keep()
    keeper.compare(clocks.wall)
    for jump in (-YEAR, -2 * DAY, 2 * DAY, 12 * YEAR):
        assert keeper.trusted()
        clocks.wall += jump
        assert not keeper.trusted()
        clocks.wall -= jump
        clocks.go(5)
        assert not keeper.trusted()
        keeper.compare(clocks.wall)
        assert keeper.trusted()


def test_jump_to_the_right_time(keep: Keep, clocks: Clocks) -> None:
    """After a jump to the server's time the clock is trusted again."""
    keeper = keep()
    keeper.compare(clocks.wall)
    assert keeper.trusted()
    clocks.wall += 3 * DAY
    assert not keeper.trusted()
    keeper.compare(clocks.wall)
    assert keeper.trusted()


def test_small_steps(keep: Keep, clocks: Clocks) -> None:
    """A clock that is corrected often, for months, stays trusted."""
    keeper = keep()
    keeper.compare(clocks.wall)
    for _ in range(400):
        clocks.go(DAY / 2)
        clocks.wall += 600
        assert keeper.trusted()


def test_suspended(keep: Keep, clocks: Clocks) -> None:
    """A week of sleep is not a jump: the uptime includes sleep."""
    keeper = keep()
    keeper.compare(clocks.wall)
    assert keeper.trusted()
    clocks.go(7 * DAY)
    assert keeper.trusted()


def test_server_without_a_date(keep: Keep, clocks: Clocks) -> None:
    """An answer without a date confirms a plausible clock, never one in 1970."""
    keeper = keep()
    keeper.compare(None)
    assert keeper.trusted()
    clocks.wall = 100.0
    assert not keeper.trusted()
    keeper.compare(None)
    assert not keeper.trusted()


def test_server_without_a_date_ends_no_trust(keep: Keep, clocks: Clocks) -> None:
    """An answer without a date does not end the trust."""
    keeper = keep()
    keeper.compare(clocks.wall)
    keeper.compare(None)
    assert keeper.trusted()


def test_server_in_1970(keep: Keep, clocks: Clocks) -> None:
    """A server whose own clock is wrong neither confirms the clock nor ends the trust."""
    keeper = keep()
    keeper.compare(12.0)
    assert not keeper.trusted()
    keeper.compare(clocks.wall)
    keeper.compare(12.0)
    assert keeper.trusted()


@pytest.mark.parametrize(
    "content",
    [b"", b"soon", b"\xff", b"1780000000", b"a b c", b"nan nan boot-1", b"inf 0 boot-1",
     b"1e400 1 boot-1", b"1780000000 1000 boot-1 more", b"1780000000 1000"],
)  # fmt: skip
def test_kept_time_that_is_none(keep: Keep, tmp_path: Path, clocks: Clocks, content: bytes) -> None:
    """A damaged file is ignored."""
    (tmp_path / "clock").write_bytes(content)
    keeper = keep()
    assert not keeper.trusted()
    keeper.compare(clocks.wall)
    assert keeper.trusted()
    assert keep().trusted()


def test_version_of_the_file(keep: Keep, tmp_path: Path, clocks: Clocks) -> None:
    """The file has a version; a newer one is refused, and not changed."""
    keep().compare(clocks.wall)
    assert (tmp_path / "clock").read_text() == "v1 1780000000 1000 boot-1\n"
    (tmp_path / "clock").write_text("v2 whatever comes\n")
    with pytest.raises(UsageError) as refused:
        keep()
    assert str(refused.value) == (
        f"the clock file {tmp_path / 'clock'} has version 2, and this release reads versions up to"
        " 1: use a newer release, or delete the file"
    )
    assert (tmp_path / "clock").read_text() == "v2 whatever comes\n"


def test_file_without_a_version(keep: Keep, tmp_path: Path) -> None:
    """A file older than versions is read."""
    (tmp_path / "clock").write_text("1779999000 0 boot-1\n")
    keeper = keep()
    assert keeper.last_trusted == 1_780_000_000
    assert keeper.trusted()
    assert (tmp_path / "clock").read_text() == "v1 1780000000 1000 boot-1\n"


def test_kept_time_follows(keep: Keep, tmp_path: Path, clocks: Clocks) -> None:
    """While the clock is trusted, the saved time is at most ten minutes old, and rarely written."""
    keeper = keep()
    keeper.compare(clocks.wall)
    written = set()
    for _ in range(1000):
        clocks.go(5)
        assert keeper.trusted()
        kept = float((tmp_path / "clock").read_text().split()[1])
        written.add(kept)
        assert clocks.wall - kept <= 600
    assert len(written) <= 10


def test_kept_time_is_never_a_wrong_one(keep: Keep, tmp_path: Path, clocks: Clocks) -> None:
    """A clock that is not trusted is never saved."""
    keeper = keep()
    keeper.compare(clocks.wall)
    before = (tmp_path / "clock").read_text()
    clocks.wall += 10 * YEAR
    for _ in range(300):
        clocks.go(5)
        assert not keeper.trusted()
    assert (tmp_path / "clock").read_text() == before


def test_file_that_cannot_be_written(tmp_path: Path, clocks: Clocks) -> None:
    """The clock is trusted even if its time cannot be saved."""
    missing = tmp_path / "missing" / "clock"
    keeper = TrustedClock(missing, "boot-1", lambda: clocks.wall, lambda: clocks.up, lambda: False)
    keeper.compare(clocks.wall)
    assert keeper.trusted()


def test_time_at(keep: Keep, clocks: Clocks) -> None:
    """An uptime of this boot is converted with what the clock shows now."""
    keeper = keep()
    clocks.boot(0.0)
    measured = clocks.up
    clocks.go(100)
    clocks.wall = NOW
    assert keeper.now().time_at(measured) == NOW - 100
    assert keeper.now().time_at(clocks.up) == NOW


def test_real_clocks() -> None:
    """Uptime advances with the monotonic clock, a boot has an identifier, the kernel a state."""
    before, first = time.monotonic(), clock.uptime()
    begun = time.monotonic()
    time.sleep(0.05)
    ended, last = time.monotonic(), clock.uptime()
    after = time.monotonic()
    # A machine that sleeps here would count more; none does within a test.
    assert ended - begun - 0.001 <= last - first <= after - before + 0.001
    assert len(clock.boot()) == 36
    assert clock.boot() == clock.boot()
    assert clock.synchronised() in (True, False)


@pytest.mark.parametrize(("state", "right"), [(0, True), (1, True), (5, False), (-1, False)])
def test_word_of_the_kernel(monkeypatch: pytest.MonkeyPatch, state: int, right: bool) -> None:
    """adjtimex(2) returns 5 for an unsynchronised clock; -1, or no such call, confirms nothing."""
    libc = types.SimpleNamespace(adjtimex=lambda _buffer: state)
    monkeypatch.setattr(clock.ctypes, "CDLL", lambda _name: libc)
    assert clock.synchronised() is right
    monkeypatch.setattr(clock.ctypes, "CDLL", lambda _name: types.SimpleNamespace())
    assert clock.synchronised() is False


# The agent


class Server:
    """A server that accepts everything; its clock is right, or what the test sets."""

    def __init__(self, clock: Callable[[], float | None]) -> None:
        self.clock = clock
        self.up = True
        self.taken: list[bytes] = []
        self.pings = 0

    def write(self, lines: Sequence[bytes]) -> WriteResult:
        if not self.up:
            return WriteResult("retry", "refused", answered=False)
        self.taken += lines
        self.pings += not lines
        return WriteResult("written", server_time=self.clock())


class World:
    """A machine with its clocks and disk, the true time, a server, and the agent."""

    def __init__(self, folder: Path, clocks: Clocks) -> None:
        self.folder = folder
        self.clocks = clocks
        self.true = NOW
        self.server = Server(lambda: self.true)
        self.agent: Agent | None = None
        self.measured: list[int] = []

    def start(self) -> Agent:
        self.stop()
        self.agent = Agent(self.folder, 16 * 1024 * 1024, self.server, {"site": "home"}, 5000)
        return self.agent

    def stop(self) -> None:
        if self.agent is not None:
            self.agent.stop(0)
            self.agent = None

    def poll(self, times: int = 1) -> None:
        """Let 5 s pass and record a poll with the time of the machine's clock."""
        assert self.agent is not None
        for _ in range(times):
            self.clocks.go(5)
            self.true += 5
            value = float(len(self.measured))
            self.measured.append(round(self.true * 1000))
            snapshot = Snapshot("garage", 2, self.clocks.wall, 0.0, (Reading(POWER, "", value),))
            self.agent.take(Poll("garage", "012345", self.clocks.wall, snapshot))

    def deliver(self) -> None:
        """Let the sender work until it would wait."""
        assert self.agent is not None
        for _ in range(20):
            if self.agent.sender.deliver_once():
                return

    def points(self) -> list[tuple[int, int]]:
        """Return (number, timestamp) of the points that the server has, in its order."""
        found = []
        for line in self.server.taken:
            head, _, stamp = line.rpartition(b" ")
            assert head.startswith(b"goe_charger,charger=garage,serial=012345,site=home up=true,")
            found.append((int(float(head.rpartition(b"power_w=")[2])), int(stamp)))
        return found

    def right(self, first: int, last: int) -> list[tuple[int, int]]:
        return [(number, self.measured[number]) for number in range(first, last)]


@pytest.fixture
def world(tmp_path: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    keeper = functools.partial(
        TrustedClock,
        wall=lambda: clocks.wall,
        since_boot=lambda: clocks.up,
        synchronised=lambda: clocks.synchronised,
    )
    monkeypatch.setattr(store_module, "TrustedClock", keeper)
    monkeypatch.setattr(store_module, "boot", lambda: clocks.boot_id)
    made = World(tmp_path / "spool", clocks)
    yield made
    made.stop()


def test_right_clock(world: World) -> None:
    """With a trusted clock, points are sent at once."""
    started = world.start()
    world.poll(3)
    world.deliver()
    world.poll(3)
    world.deliver()
    assert world.points() == world.right(0, 6)
    stats = started.stats()
    assert (stats.written, stats.spooled, stats.dropped, stats.rejected) == (6, 0, 0, 0)


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("reading", range(1, 9))
def test_jump_between_two_readings(world: World, reading: int, waiting: bool) -> None:
    """A clock that jumps at any of its readings while a point is stamped gives no wrong time."""
    agent = world.start()
    if waiting:
        world.poll(2)
    world.server.up = not waiting
    world.deliver()
    readings: Iterator[int] = itertools.repeat(0)

    def wall() -> float:
        return world.clocks.wall - (3 * DAY if next(readings) >= reading else 0)

    agent.store.clock = TrustedClock(
        world.folder / "clock", "boot-1", wall, lambda: world.clocks.up, lambda: False
    )
    agent.store.clock.compare(wall())
    readings = itertools.count(1)
    if not waiting:
        world.poll()
    agent.store.stamp_some()
    lines = agent.store.queue.read(10).lines
    stamps = [int(line.rpartition(b" ")[2]) for line in lines]
    assert stamps == world.measured[: len(stamps)]


def test_restart_with_a_right_clock(world: World) -> None:
    """After a restart points are stamped at once, even while the server is down."""
    world.start()
    world.poll()
    world.deliver()
    world.server.up = False
    started = world.start()
    world.poll(5)
    assert not started.store.has_unstamped
    assert started.store.queue.pending == 5
    world.server.up = True
    world.deliver()
    assert world.points() == world.right(0, 6)


def test_agent_boots_in_1970(world: World) -> None:
    """Points measured in 1970 are sent with the right time once the clock is corrected."""
    world.clocks.boot(0.0)
    started = world.start()
    for _ in range(3):
        world.poll(4)
        world.deliver()
    assert world.server.pings > 0
    assert world.points() == []
    assert started.store.has_unstamped
    assert started.stats().spooled == 12
    world.clocks.wall = world.true
    world.poll(2)
    assert world.points() == []
    world.deliver()
    world.poll(2)
    world.deliver()
    assert world.points() == world.right(0, 16)
    assert not started.store.has_unstamped
    assert started.stats().spooled == 0


def test_agent_years_ahead(world: World) -> None:
    """Points of a clock that is years ahead wait until it is corrected."""
    world.start()
    world.poll(2)
    world.deliver()
    world.clocks.boot(world.true + 9 * YEAR)
    world.start()
    world.poll(5)
    world.deliver()
    world.poll(5)
    world.deliver()
    assert len(world.points()) == 2
    world.clocks.wall = world.true
    world.deliver()
    world.poll(1)
    world.deliver()
    assert world.points() == world.right(0, 13)


@pytest.mark.parametrize("jump", [-50 * YEAR, -30 * DAY, 30 * DAY, 12 * YEAR])
def test_jump_under_the_agent(world: World, jump: float) -> None:
    """A clock that jumps away and back while the agent runs stamps no point wrongly."""
    world.start()
    world.poll(3)
    world.deliver()
    world.poll(3)
    world.clocks.wall += jump
    world.poll(4)
    world.deliver()
    world.poll(4)
    world.deliver()
    world.clocks.wall = world.true
    world.poll(2)
    world.deliver()
    world.poll(2)
    world.deliver()
    assert world.points() == world.right(0, 18)


def test_server_away_while_the_clock_is_wrong(world: World) -> None:
    """Without the server's time points keep waiting; a restart in the same boot keeps them."""
    world.clocks.boot(0.0)
    world.server.up = False
    world.start()
    world.poll(5)
    world.deliver()
    world.start()
    world.clocks.wall = world.true
    world.poll(5)
    world.deliver()
    assert world.agent is not None
    assert world.agent.store.has_unstamped
    assert world.agent.sender.failing == "refused"
    world.server.up = True
    world.deliver()
    world.deliver()
    assert world.points() == world.right(0, 10)


def restarted(world: World, wall: float) -> Agent:
    """Boot the machine with its clock at a given time, and start the agent."""
    world.clocks.boot(wall)
    return world.start()


def letters_of(world: World) -> list[tuple[str, str]]:
    """Return the points without a time, as (number, message)."""
    found = letters(world.folder / "dead")
    return [(letter.line.rpartition("power_w=")[2], letter.message) for letter in found]


def test_held_in_1970_by_an_earlier_boot(world: World) -> None:
    """Points of a boot whose clock was never right become dead letters: their time is unknown."""
    restarted(world, 0.0)
    world.poll(3)
    started = restarted(world, 0.0)
    assert started.store.has_unstamped
    world.poll(2)
    world.clocks.wall = world.true
    world.deliver()
    world.deliver()
    assert world.points() == world.right(3, 5)
    assert letters_of(world) == [
        (f"{n}.0", f"measured before a restart, when the clock showed 1970-01-01 00:00:{s} UTC")
        for n, s in enumerate(("05", "10", "15"))
    ]
    assert started.stats().rejected == 3
    assert started.store.dead_letters.requeue(started.store.queue) == (0, 3, 0)


def test_held_by_an_earlier_boot_with_a_clock_of_its_own(world: World) -> None:
    """After a restart with the server down, the times of a real-time clock are used."""
    world.server.up = False
    world.start()
    world.poll(20)
    started = restarted(world, world.true)
    world.poll(5)
    world.server.up = True
    world.deliver()
    world.deliver()
    assert world.points() == world.right(0, 25)
    assert letters_of(world) == []
    assert (started.stats().rejected, started.stats().spooled) == (0, 0)


@pytest.mark.parametrize("off", [-3 * DAY, 2 * DAY, 9 * YEAR], ids=["before", "days", "years"])
def test_held_by_an_earlier_boot_with_an_impossible_clock(world: World, off: float) -> None:
    """A time before the last trusted one, or in the future, is not used."""
    world.start()
    world.poll(3)
    world.deliver()
    world.server.up = False
    restarted(world, world.true + off)
    world.poll(3)
    restarted(world, world.true + off)
    world.poll(2)
    restarted(world, world.true)
    world.server.up = True
    world.deliver()
    world.deliver()
    assert world.points() == world.right(0, 3)
    assert [number for number, _ in letters_of(world)] == ["3.0", "4.0", "5.0", "6.0", "7.0"]
    assert all("when the clock showed 20" in words for _, words in letters_of(world))


def test_killed_while_points_of_an_earlier_boot_are_stamped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill stamping resumes where it stopped, with the same times."""
    world.server.up = False
    world.start()
    world.poll(1200)
    started = restarted(world, world.true)
    monkeypatch.setattr(started.store.unstamped.spool, "commit", denied)
    with pytest.raises(OSError, match="killed"):
        started._answered(WriteResult("written", server_time=world.true))
    world.start()
    world.server.up = True
    for _ in range(3):
        world.deliver()
    assert sorted(set(world.points())) == world.right(0, 1200)
    assert letters_of(world) == []


def denied(*_args: object) -> None:
    raise OSError(5, "killed")


def test_fake_clock_after_ten_days(world: World) -> None:
    """A clock that resumes at the last shutdown stamps nothing, though it seems plausible."""
    world.start()
    world.poll(2)
    world.deliver()
    turned_off = world.clocks.wall
    world.true += 10 * DAY
    world.server.up = False
    started = restarted(world, turned_off + 30)
    world.poll(5)
    assert started.store.has_unstamped
    world.clocks.wall = world.true
    world.poll(1)
    world.server.up = True
    world.deliver()
    world.deliver()
    assert world.points() == world.right(0, 8)


def test_server_whose_clock_is_off(world: World) -> None:
    """The reason is `clock` while points wait because the clocks disagree."""
    started = world.start()
    world.server.clock = lambda: world.true + 3 * DAY
    world.poll(3)
    world.deliver()
    assert (started.stats().failing, started.stats().spooled) == ("clock", 3)
    assert started.drain(lambda _waiting: None) == (
        "the clock shows 2026-05-28 20:26:55 UTC, the server's 2026-05-31 20:26:55 UTC"
    )
    world.server.clock = lambda: world.true
    world.deliver()
    world.deliver()
    assert (started.stats().failing, started.stats().spooled) == ("", 0)
    assert world.points() == world.right(0, 3)


def test_clock_put_right_between_poll_and_stamp(world: World) -> None:
    """A poll whose time was read before the clock was corrected gets the right time."""
    started = world.start()
    world.poll()
    world.deliver()
    world.clocks.go(5)
    world.clocks.synchronised = True
    started.take(Poll("garage", "012345", 75.0, None))
    world.deliver()
    assert world.server.taken[-1].endswith(b" up=false %d" % round(world.clocks.wall * 1000))


def test_polls_go_on_while_points_are_stamped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of points are stamped in order with few syncs, without blocking polls."""
    restarted(world, 0.0)
    world.poll(2500)
    world.clocks.wall = world.true
    started = world.agent
    assert started is not None
    syncs, real = [0], os.fdatasync
    batches, extend = [0], started.store.queue.extend

    def counted(descriptor: int) -> None:
        syncs[0] += 1
        real(descriptor)

    def polled(lines: list[bytes]) -> int:
        """Let a poll arrive during a batch of the sender."""
        batches[0] += 1
        if threading.current_thread() is threading.main_thread():
            waiting.append(threading.Thread(target=world.poll))
            waiting[-1].start()
        return extend(lines)

    def let_in(_seconds: float) -> None:
        waiting[-1].join(PATIENCE_SECONDS)
        assert not waiting[-1].is_alive()

    waiting: list[threading.Thread] = []
    monkeypatch.setattr(agent_module.time, "sleep", let_in)
    monkeypatch.setattr(os, "fdatasync", counted)
    monkeypatch.setattr(started.store.queue, "extend", polled)
    world.agent.store.clock.compare(world.true)
    started._answered(WriteResult("written", server_time=world.true))
    monkeypatch.undo()
    assert batches[0] >= 5
    assert syncs[0] < 100
    world.deliver()
    world.deliver()
    assert [number for number, _ in world.points()] == list(range(len(world.measured)))


def test_points_of_a_right_clock_are_stamped_when_measured(world: World) -> None:
    """A poll stamps the points that wait before it, so that their order is kept."""
    world.start()
    world.poll(1)
    world.deliver()
    world.clocks.wall += 3 * YEAR
    world.poll(2)
    world.clocks.wall = world.true
    assert world.agent is not None
    world.agent.store.clock.compare(world.true)
    world.poll(2)
    world.deliver()
    assert world.points() == world.right(0, 5)


@pytest.mark.parametrize("server_clock", [lambda: None, lambda: 60.0], ids=["no_date", "1970"])
def test_server_that_knows_no_time(world: World, server_clock: Callable[[], float | None]) -> None:
    """A server without a date confirms a plausible clock; a server in 1970 does not."""
    world.server.clock = server_clock
    world.start()
    world.poll(3)
    world.deliver()
    world.deliver()
    if server_clock() is None:
        assert world.points() == world.right(0, 3)
    else:
        assert world.points() == []
        world.server.clock = lambda: world.true
        world.deliver()
        assert world.points() == world.right(0, 3)


def test_stop_while_points_are_stamped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that is still stamping when the agent stops deletes nothing that it cannot move."""
    restarted(world, 0.0)
    world.poll(20)
    started = world.agent
    assert started is not None
    stamping: list[threading.Thread] = []
    close = started.store.queue.close

    def late() -> None:
        """Begin to stamp while the store is being closed."""
        close()
        stamping.append(threading.Thread(target=started._answered, args=(answer,)))
        stamping[0].start()
        stamping[0].join(0.2)

    world.clocks.wall = world.true
    answer = WriteResult("written", server_time=world.true)
    monkeypatch.setattr(started.store.queue, "close", late)
    monkeypatch.setattr(agent_module, "PAUSE_SECONDS", 0.0)
    started.stop(0)
    monkeypatch.undo()
    stamping[0].join(PATIENCE_SECONDS)
    assert not stamping[0].is_alive()
    world.agent = None
    assert survey(world.folder / "held").pending == 20


def test_error_without_a_time(world: World) -> None:
    """An error without a date, from any sender, does not confirm the clock."""
    started = world.start()
    world.poll(3)
    started._answered(
        WriteResult("rejected", "rejected", "HTTP 400: HTTP request to an HTTPS server")
    )
    assert started.store.has_unstamped
    started._answered(WriteResult("written"))
    assert not started.store.has_unstamped


def test_many_held_points(world: World) -> None:
    """Hours of unstamped points are sent in order, with even intervals."""
    world.clocks.boot(0.0)
    world.start()
    world.poll(2500)
    world.clocks.wall = world.true
    world.deliver()
    world.deliver()
    assert world.points() == world.right(0, 2500)


def on_disk(world: World) -> int:
    return sum(path.stat().st_size for path in world.folder.rglob("*.log"))


def test_held_points_are_bounded(world: World) -> None:
    """Unstamped points dropped for room are counted."""
    world.clocks.boot(0.0)
    world.agent = Agent(world.folder, 128 * 1024, world.server, {"site": "home"}, 5000)
    world.poll(1500)
    assert 90 * 1024 < on_disk(world) <= 128 * 1024
    dropped = world.agent.stats().dropped
    assert dropped > 0
    world.clocks.wall = world.true
    world.deliver()
    world.deliver()
    assert world.points() == world.right(dropped, 1500)


def test_the_bound_is_one(world: World) -> None:
    """Queue, unstamped points and dead letters together never exceed the limit."""
    limit = 128 * 1024
    started = world.agent = Agent(world.folder, limit, world.server, {"site": "home"}, 5000)
    world.poll()
    world.deliver()
    world.server.up = False
    for number in range(500):
        started.store.dead_letters.put(b"goe_charger x=%d 1" % number, "no")
    worst = 0
    for jump in (0.0, 10 * YEAR, -10 * YEAR):
        world.clocks.wall += jump
        if jump < 0:
            started.store.clock.compare(world.true)
        for _ in range(1300):
            world.poll()
            worst = max(worst, started.stats().spool_bytes)
        assert on_disk(world) <= limit
    assert 0.9 * limit < worst <= limit
    stats = started.stats()
    assert stats.spool_bytes == on_disk(world)
    world.server.up = True
    world.deliver()
    world.deliver()
    assert len(world.points()) + stats.dropped - started.store.dead_letters.spool.dropped == len(
        world.measured
    )


def test_points_that_cannot_be_deleted_once_stamped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has one time, though the clock is corrected before the disk is back."""
    started = world.start()
    world.clocks.synchronised = False
    world.poll(5)
    held = started.store.unstamped.spool
    with monkeypatch.context() as patch:
        patch.setattr(held, "commit", lambda _end: False)
        world.deliver()
    world.clocks.wall += 0.02
    for _ in range(3):
        world.poll()
        world.deliver()
    assert held.pending == 0
    numbers = [number for number, _stamp in {*world.points()}]
    assert sorted(numbers) == list(range(8))


def test_spool_that_fails_costs_no_point(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk fails, points wait in memory and are delivered from there."""
    started = world.start()
    world.poll()
    world.deliver()

    def fail(*_args: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        world.poll(5)
        assert "Input/output error" in started.unavailable()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        world.poll(2)
    world.poll(3)
    world.deliver()
    assert started.stats().dropped == 0
    assert [number for number, _ in world.points()] == list(range(11))


def test_failed_polls_are_points(world: World) -> None:
    """A failed poll is a point too, with the serial number of the successful ones."""
    started = world.start()
    world.poll()
    world.deliver()
    world.clocks.go(5)
    started.take(Poll("garage", "012345", world.clocks.wall, None))
    world.deliver()
    assert world.server.taken[-1] == (
        b"goe_charger,charger=garage,serial=012345,site=home up=false %d"
        % round(world.clocks.wall * 1000)
    )


def test_newline_in_a_name_reaches_the_server(world: World) -> None:
    """A text with a line break survives the disk."""
    started = world.start()
    world.poll()
    world.deliver()
    started.take(Poll("two\nlines", "", world.clocks.wall, None))
    world.deliver()
    assert (
        b'charger=two\\ lines,site=home up=false,charger_name="two\\\\nlines"'
        in (world.server.taken[-1])
    )


def test_vitals(world: World) -> None:
    """The statistics count the waiting points, the oldest one, and the failures."""
    started = world.start()
    world.poll()
    world.deliver()
    world.server.up = False
    world.poll(4)
    world.deliver()
    world.deliver()
    stats = started.stats()
    assert (stats.written, stats.spooled, stats.rejected, stats.dropped) == (1, 4, 0, 0)
    assert stats.oldest == world.measured[1] / 1000
    assert stats.failing == "refused"
    assert stats.failures == {"refused": 2}
    assert stats.spool_bytes > 400
    assert stats.damaged == 0


def test_second_agent(world: World) -> None:
    """A second agent on the same directory is refused with the directory's name."""
    world.start()
    with pytest.raises(UsageError, match=str(world.folder)):
        Agent(world.folder, 128 * 1024, world.server, {}, 5000)


def test_holding_is_logged_once(world: World) -> None:
    """The beginning and the end of waiting for the clock are logged once."""
    with recorded("goe_exporter.influx.store") as records:
        world.clocks.boot(0.0)
        world.start()
        world.poll(50)
        world.clocks.wall = world.true
        world.deliver()
        world.poll(5)
        world.deliver()
    assert [record.getMessage() for record in records] == [
        "points kept until the clock is confirmed",
        "clock confirmed, waiting points stamped",
    ]


# Directories that an agent finds, or loses


def test_spool_of_the_release_before(
    world: World, settings: tuple[InfluxSettings, FakeInflux]
) -> None:
    """A store of a release without versions is delivered: waiting, unstamped, rejected points."""
    made, fake = settings
    shutil.copytree(WITHOUT_VERSION, made.spool)
    world.clocks.wall = 1_769_905_000.0
    fake.rule = lambda _request: Reply(date=1_769_905_000.0)
    pusher = open_agent(made)
    assert pusher.stats().spooled == 14
    while pusher.sender.deliver_once() is not None:
        pass
    start = b"goe_charger,charger=garage,serial=012345,site=home up=true,power_w="
    assert [line.removeprefix(start) for line in fake.taken] == [
        b"6.0 1769904035000",
        b"7.0 1769904040000",
        b"8.0 1769904045000",
        b"9.0 1769904050000",
        b"10.0 1769904055000",
        b"11.0 1769904060000",
        b"12.0 1769904065000",
        b"13.0 1769904070000",
        b"14.0 1769904075000",
        b"15.0 1769904080000",
        b"16.0 1769904085000",
        b"17.0 1769904190000",
        b"18.0 1769904195000",
        b"19.0 1769904200000",
    ]
    (letter,) = letters(Path(made.spool) / "dead")
    assert letter.message == "HTTP 400: field type conflict"
    assert pusher.store.dead_letters.requeue(pusher.store.queue) == (1, 0, 0)
    assert pusher.sender.deliver_once() == 0.0
    assert fake.taken[14:] == [start + b"3.0 1769904020000"]
    pusher.stop(0)
    for part in (".", "held", "dead"):
        assert (Path(made.spool) / part / "version").read_text() == "1\n"


@pytest.mark.parametrize("part", [".", "held", "dead", "clock"])
def test_spool_of_a_newer_release(world: World, part: str) -> None:
    """A store with any newer part is refused, and stays unlocked and unchanged."""
    world.start()
    world.poll()
    world.stop()
    file = world.folder / part / "version" if part != "clock" else world.folder / "clock"
    stored = file.read_bytes() if file.exists() else b""
    file.write_text("v2\n" if part == "clock" else "2\n")
    with pytest.raises(UsageError, match="version 2, and this release reads versions up to 1"):
        world.start()
    assert file.read_text() in ("2\n", "v2\n")
    file.write_bytes(stored)
    world.start()
    assert world.agent is not None
    assert world.agent.stats().spooled == 1


@pytest.mark.system
@pytest.mark.parametrize("part", [".", "held", "dead"])
def test_part_that_is_moved(world: World, part: str) -> None:
    """A moved part of the store is created anew without a loss; the moved one keeps its lines."""
    started = world.start()
    world.poll()
    world.deliver()
    started.store.dead_letters.put(b"goe_charger x=1 1", "no")
    world.server.up = False
    world.clocks.wall -= 10 * YEAR
    started.store.clock.compare(world.true)
    world.poll(5)
    assert started.store.has_unstamped
    elsewhere = world.folder.with_name("elsewhere")
    subprocess.run(["mv", "-T", str(world.folder / part), str(elsewhere)], check=True)
    world.poll(5)
    stats = started.stats()
    assert (stats.dropped, started.unavailable()) == (0, "")
    assert stats.spooled == (10 if part == "dead" else 5)
    world.stop()
    moved = {".": elsewhere / "held", "held": elsewhere, "dead": elsewhere}[part]
    assert survey(moved).pending == (1 if part == "dead" else 5)
    assert survey(world.folder / "held").pending == (10 if part == "dead" else 5)


# The agent with a real server and real threads


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[tuple[InfluxSettings, FakeInflux]]:
    with FakeInflux() as fake:
        made = InfluxSettings(url=fake.url, bucket="goe", spool=str(tmp_path / "spool"))
        yield made, fake


def test_agent_over_http(settings: tuple[InfluxSettings, FakeInflux]) -> None:
    """Every point of eight chargers in eight threads reaches a real server once."""
    made, fake = settings
    pusher = open_agent(made)
    pusher.start()

    def poll(name: str) -> None:
        for number in range(50):
            snapshot = Snapshot(name, 2, time.time(), 0.0, (Reading(POWER, "", float(number)),))
            pusher.take(Poll(name, name, time.time(), snapshot))

    threads = [threading.Thread(target=poll, args=(f"box-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(fake.taken) >= 400, "the points")
    pusher.stop(PATIENCE_SECONDS)
    assert len(fake.taken) == 400
    for name in range(8):
        mine = [line for line in fake.taken if b"charger=box-%d," % name in line]
        values = [float(line.split(b"power_w=")[1].split(b" ")[0]) for line in mine]
        assert values == [float(number) for number in range(50)]
    assert pusher.stats().written == 400


def test_stop_in_an_outage(settings: tuple[InfluxSettings, FakeInflux]) -> None:
    """During an outage the agent stops at once, and the next one delivers what it left."""
    made, fake = settings
    fake.play(Reply(503, headers=(("Retry-After", "600"),)))
    Path(made.spool).mkdir()
    kept = f"{time.time():.0f} {clock.uptime():.0f} {clock.boot()}"
    (Path(made.spool) / "clock").write_text(kept)
    pusher = open_agent(made)
    pusher.start()
    for _ in range(10):
        pusher.take(Poll("garage", "", time.time(), None))
    wait_for(lambda: bool(fake.received), "a request")
    pusher.stop(PATIENCE_SECONDS)
    assert not pusher.sender._thread.is_alive()
    fake.play(Reply())
    pusher = open_agent(made)
    pusher.start()
    wait_for(lambda: len(fake.taken) == 10, "the points")
    pusher.stop(PATIENCE_SECONDS)


def test_server_of_a_configuration(tmp_path: Path) -> None:
    """`api` selects the endpoint."""
    spool = str(tmp_path)
    assert isinstance(open_server(InfluxSettings(bucket="b", spool=spool)), ServerV2)
    assert isinstance(open_server(InfluxSettings(bucket="b", spool=spool, api="v1")), ServerV1)
