"""`kill -9` at every write of a day: the next process goes on where the lease ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import TESTS
from surplus_home import REFRESH_S, SERIAL, Street

from goe_exporter.simulator import Box

HOUR_S = 3600.0
MAX_OPERATIONS = 20
MIN_PAUSE_S = 180.0


class KillingBox(Box):
    """A charger during whose answer to a write the client is killed, before or after its effect.

    `pid` is the client's, `kills` counts the kills; nobody is killed unless `armed`.
    """

    pid = 0
    armed = False
    kills = 0

    def request_received(self, target: str) -> str | None:
        """Kill the client that writes; half of these writes are lost."""
        fault = super().request_received(target)
        if not (target.startswith("/api/set?") and self.armed):
            return fault
        os.kill(self.pid, signal.SIGKILL)
        self.kills += 1
        return "reset" if self.kills % 2 else fault


class Lives:
    """The program of `surplus_lives.py`, whose time a test lets pass."""

    def __init__(self, street: Street, state: Path) -> None:
        self.street = street
        assert isinstance(street.box, KillingBox)
        self.box = street.box
        self.log = state.parent / "log"
        self._log = self.log.open("wb")
        command = [sys.executable, str(TESTS / "tools" / "surplus_lives.py")]
        self._program = subprocess.Popen(
            [*command, street.box.address, street.meter.address, str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        self.state = ""
        self.lives = 0
        self._read()

    def _read(self) -> str:
        """Read a line, and let the charger know whom to kill."""
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        if line.startswith("FORKED"):
            self.lives += 1
            self.box.pid = int(line.split()[1])
        elif line.startswith("done"):
            self.state = line.split()[1]
        return line

    def step(self) -> None:
        """Let a poll and a step pass; the process may be killed in it."""
        clock = self.street.clock
        clock.now += REFRESH_S
        assert self._program.stdin is not None
        self._program.stdin.write(f"{clock.now}\n")
        self._program.stdin.flush()
        line = self._read()
        assert line, self.log.read_text()
        if line.startswith("DIED"):
            assert self._read().startswith("FORKED")

    def end(self) -> None:
        self._program.kill()
        self._program.communicate()
        self._log.close()


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    """A house on a day with broken clouds, from 11 o'clock on, with a car."""
    monkeypatch.setattr("surplus_home.Simulator.box", KillingBox)
    street = Street("broken", start_hour=11)
    yield street
    street.close()


@pytest.mark.parametrize("proven", [False, True])
def test_kill_at_every_write(street: Street, tmp_path: Path, proven: bool) -> None:
    """Killed at each write of some hours, it never takes its own pause for a person's.

    The contactor is operated at most 20 times in any hour, and every pause lasts three minutes. The
    meter has no time to prove itself, unless the kills begin after that; then the car is charged.
    """
    lives = Lives(street, tmp_path / "state")
    lease = tmp_path / "state" / f"{SERIAL}.json"
    charger, clock = street.charger, street.clock
    operations: list[float] = []
    paused_at: float | None = None
    pauses = []
    try:
        while clock.now < 1000 + 3 * HOUR_S:
            before, off = charger.contactor_operations, charger.force == 1
            lives.step()
            if not lives.box.armed and lease.exists():
                lives.box.armed = not proven or json.loads(lease.read_text())["proven"]
            street.box.catch_up()
            operations += [clock.now] * (charger.contactor_operations - before)
            if charger.force == 1 and not off:
                paused_at = clock.now
            elif off and charger.force == 0 and paused_at is not None:
                pauses.append(clock.now - paused_at)
    finally:
        lives.end()
    log = lives.log.read_text()
    worst = max(sum(at <= each < at + HOUR_S for each in operations) for at in operations)
    print(f"{lives.lives} lives, {worst} operations an hour, {charger.energy_wh / 1000:.1f} kWh")
    assert lives.box.kills > 30
    assert worst <= MAX_OPERATIONS
    assert min(pauses) >= MIN_PAUSE_S - 2 * REFRESH_S
    assert charger.energy_wh > (2000 if proven else 0)
    assert "changed by somebody else" not in log
    assert "Traceback" not in log
