"""The last hour: what is kept, how rows are shared, and the memory of a ring."""

from __future__ import annotations

import random
import sys

import pytest
from clocks import Clocks

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.polling.view import Poll
from goe_exporter.web.history import BLOCK_ROWS, ROWS, History

PRO = {
    "nrg": [230, 231, 229, 2, 15.54, 15.55, 15.46, 3497.5, 3576.25, 3459.7, 0, 10533.24, 99, 98, 0],
    "tma": [23.125, 24.9, 20, 21, 22, 19],
}
IDLE: dict[str, list[float]] = {"nrg": [230.0, 231, 229, *[0] * 13], "tma": [23.0, 24]}
WALL = 1_750_000_000.0


def test_removed_chargers_are_deleted() -> None:
    """The history of a charger is deleted when the charger is removed."""
    history = History()
    for name in ("garage", "yard"):
        history.take(Poll(name, "", WALL, None))
    history.keep(["yard", "carport"])
    assert history.timeline("garage", 60, 5.0).times == []
    assert len(history.timeline("yard", 60, 5.0).times) == 1


class Past:
    """A history on a clock of its own."""

    def __init__(self, **options: float) -> None:
        self.clocks = Clocks(WALL)
        clocks = {"clock": lambda: self.clocks.up, "wall": lambda: self.clocks.wall}
        self.history = History(**clocks, **options)  # type: ignore[arg-type]

    def take(self, power: float | None, wait: float = 5.0, status: dict[str, object] = PRO) -> None:
        """Take a poll with a power, or a failed one, and let time pass."""
        snapshot = None
        if power is not None:
            nrg = list(status["nrg"])  # type: ignore[call-overload]
            nrg[11] = power
            readings = decode(status | {"nrg": nrg}, 2, CHANNELS).readings
            snapshot = Snapshot("garage", 2, 0.0, 0.0, readings)
        self.history.take(Poll("garage", "", 0.0, snapshot))
        self.clocks.go(wait)

    def power(self, minutes: int = 60, interval: float = 5.0) -> list[float | None]:
        series = self.history.timeline("garage", minutes, interval).series
        return series.get("power", {}).get("", [])


def test_what_is_kept() -> None:
    """Power is kept in 0.1 W, currents and temperatures in hundredths; N is left out."""
    past = Past()
    past.take(10533.24)
    times, series = past.history.timeline("garage", 60, 5.0)
    assert times == [WALL]
    assert series == {
        "power": {"": [10533.2]},
        "phase_power": {"L1": [3497.5], "L2": [3576.2], "L3": [3459.7]},
        "phase_current": {"L1": [15.54], "L2": [15.55], "L3": [15.46]},
        "temperature": {
            "type2_port": [23.12],
            "board": [24.9],
            "grid_connector": [20.0],
            "current_sensor": [21.0],
            "type2_terminals": [22.0],
            "mid_meter": [19.0],
        },
    }


def test_a_failed_poll_is_a_gap() -> None:
    """A failed poll between two good ones is a row without values."""
    past = Past()
    for power in (100.0, None, 0.0):
        past.take(power)
    assert past.power() == [100.0, None, 0.0]
    assert past.history.timeline("garage", 60, 5.0).times == [WALL, WALL + 5, WALL + 10]


def test_a_silence_is_a_gap() -> None:
    """Three intervals without a poll become an empty row, so the line has a gap."""
    past = Past()
    past.take(100, wait=16)
    past.take(200, wait=14)
    past.take(300)
    assert past.power() == [100.0, None, 200.0, 300.0]
    assert past.history.timeline("garage", 60, 5.0).times[1] == WALL + 8
    assert past.power(interval=10) == [100.0, 200.0, 300.0]


def test_an_absent_value() -> None:
    """A sensor that is absent in one answer is a gap in its own line only."""
    past = Past()
    past.take(100)
    past.take(200, status={"nrg": PRO["nrg"]})
    past.take(300)
    series = past.history.timeline("garage", 60, 5.0).series
    assert series["power"][""] == [100.0, 200.0, 300.0]
    assert series["temperature"]["board"] == [24.9, None, 24.9]


def test_polls_every_second_share_rows() -> None:
    """At an interval of 1 s a row holds the last of five polls."""
    past = Past()
    for power in range(12):
        past.take(power, wait=1)
    assert past.power(interval=1) == [4.0, 9.0, 11.0]
    assert past.history.timeline("garage", 60, 1.0).times == [WALL, WALL + 5, WALL + 10]


def test_a_finer_history() -> None:
    """With a shorter spacing each poll of a 1 s interval has a row, for twelve minutes."""
    past = Past(spacing_seconds=0.9)
    for power in range(1000):
        past.take(power, wait=1)
    assert past.power(interval=1) == [float(power) for power in range(280, 1000)]


def test_a_failure_in_a_shared_row() -> None:
    """A row holds the values of its last good poll; it is a gap if all its polls failed."""
    past = Past()
    for power in (1, 2, None, 4, None, *[None] * 5, None, 12, None):
        past.take(power, wait=1)
    assert past.power(interval=1) == [4.0, None, 12.0]


def test_a_gap_in_a_ring_that_is_full() -> None:
    """A failed poll clears the old row that it replaces."""
    past = Past()
    for power in [*range(ROWS), None]:
        past.take(power, wait=4.9)
    assert past.power()[-2:] == [ROWS - 1.0, None]


@pytest.mark.parametrize("interval", [1.0, 5.0, 30.0])
def test_an_hour_is_kept_and_no_more(interval: float) -> None:
    """At any interval the ring holds the last hour and nothing older."""
    past = Past()
    for second in range(0, 5400, int(interval)):
        past.take(second, wait=interval)
    times = past.history.timeline("garage", 60, interval).times
    now = past.clocks.wall
    assert len(times) <= ROWS
    assert times == sorted(times)
    assert now - 3600 <= times[0] <= now - 3600 + 2 * max(interval, 5)
    assert len(times) == pytest.approx(3600 / max(interval, 5), abs=1)


def test_minutes() -> None:
    """The timeline covers only the requested minutes."""
    past = Past()
    for power in range(120):
        past.take(power)
    assert past.power(minutes=1) == [float(power) for power in range(108, 120)]
    assert len(past.power(minutes=10)) == 120


def test_a_clock_that_is_set() -> None:
    """When the system clock is set, all rows move with it."""
    past = Past()
    past.take(1)
    past.take(2)
    past.clocks.wall += 86_400
    past.take(3)
    assert past.history.timeline("garage", 60, 5.0).times == [
        *(WALL + 86_400, WALL + 86_405, WALL + 86_410),
    ]


def test_an_implausible_value_is_no_value() -> None:
    """A value that does not fit into its column is absent; the others are kept."""
    past = Past()
    past.take(100, status={"nrg": [230, 230, 230, 0, 900, 5, -900, 0, 0, 0, 0, 0], "tma": []})
    series = past.history.timeline("garage", 60, 5.0).series
    assert series["phase_current"] == {"L2": [5.0]}
    assert series["power"] == {"": [100.0]}


def test_an_unknown_charger() -> None:
    """A charger that was never polled has an empty timeline."""
    assert History().timeline("nobody", 60, 5.0) == ([], {})


def test_memory_of_a_ring() -> None:
    """A full ring uses less than 27 kB even if every value is random, else much less."""
    sizes = {}
    for kind, status in (("idle", IDLE), ("PRO", PRO)):
        past, noise = Past(), random.Random(1)
        for _row in range(2 * ROWS):
            values = {
                key: [each and each * noise.random() for each in status[key]] for key in status
            }
            past.take(5000.0 * noise.random() if kind == "PRO" else 0.0, status=values)
        ring = past.history._rings["garage"]
        blocks = [block.compressed for block in ring._blocks]
        assert sum(block.rows for block in ring._blocks) <= ROWS + BLOCK_ROWS
        sizes[kind] = sum(map(sys.getsizeof, [ring._open, *blocks]))
    assert sizes["idle"] < 9_000
    assert sizes["PRO"] < 27_000


def test_new_sensors_begin_a_block() -> None:
    """A sensor that appears in a shared row, or later, is absent in the rows before."""
    past = Past()
    past.take(1.0, wait=1, status={"nrg": PRO["nrg"]})
    past.take(2.0, wait=5)
    past.take(3.0, status=PRO | {"tma": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]})
    past.take(4.0, status={"nrg": PRO["nrg"]})
    series = past.history.timeline("garage", 60, 5.0).series
    assert series["power"][""] == [2.0, 3.0, 4.0]
    assert series["temperature"]["board"] == [24.9, 2.0, None]
    assert series["temperature"]["internal_1"] == [None, 7.0, None]
