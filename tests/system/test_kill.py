"""`kill -9` at any moment loses no poll but the one in progress."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from servers import InfluxDB, push_config, wait_for

from goe_exporter.simulator import Car, Charger, Simulator
from goe_exporter.spool.segments import survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from commands import Launch

    from goe_exporter.simulator import Box

KILLS = 25
KILLS_PER_STATE = 3
"""Kills of the agent before the server is stopped or started."""

CHARGERS = 10
LOG_LENGTH = 1000
"""Requests in the simulator's log."""

STRINGS = set(
    "access cable_lock car_state charging_reason device_name error firmware force_state logic_mode"
    " model phase_mode variant".split()
)
FLAGS = set(
    "adapter_connected charging_allowed pv_surplus_enabled up"
    " phase_contactor_closed_l1 phase_contactor_closed_l2 phase_contactor_closed_l3"
    " phase_energized_l1 phase_energized_l2 phase_energized_l3".split()
)


def charging(number: int) -> Charger:
    """Return a charger during a session."""
    charger = Charger("V4", serial=f"{number:06}")
    charger.plug(Car(battery_wh=1e9, soc=0.0))
    charger.advance(600)
    return charger


def killed_again_and_again(
    launch: Launch, influxdb: InfluxDB, config: Path
) -> tuple[list[float], list[float]]:
    """Start and kill an agent 25 times; return the monotonic times before and after the starts."""
    chance = random.Random(3)
    starts: list[float] = []
    started: list[float] = []
    while len(starts) < KILLS:
        server_is_up = len(starts) // KILLS_PER_STATE % 2 == 1
        with influxdb.up() if server_is_up else contextlib.nullcontext():
            for _ in range(min(KILLS_PER_STATE, KILLS - len(starts))):
                starts.append(time.monotonic())
                agent = launch("push", "--config", str(config))
                agent.line("event=started")
                started.append(time.monotonic())
                end = started[-1] + chance.uniform(0.05, 1.3)
                wait_for(lambda end=end: time.monotonic() >= end, "the moment")  # type: ignore[misc]
                agent.process.kill()
                assert agent.end().status == -signal.SIGKILL
                warnings = [line for line in agent.err if "level=warning" in line]
                assert all("reason=refused" in line for line in warnings), agent.err
    starts.append(time.monotonic())
    return starts, [*started, starts[-1]]


def polled_and_delivered(launch: Launch, config: Path, boxes: Iterable[Box]) -> None:
    """Run an agent for two more polls of each charger, stop it, and deliver all points."""
    goals = [(box, box.requests + 2) for box in boxes]
    agent = launch("push", "--config", str(config))
    wait_for(lambda: all(box.requests >= goal for box, goal in goals), "two more polls of each")
    assert agent.end(signal.SIGTERM).status == 0
    drained = launch("spool", "drain", "--config", str(config)).end()
    assert drained.status == 0, drained.err


def test_kill(launch: Launch, tmp_path: Path) -> None:
    """After 25 kills, with the server up and down, each answered poll is one point, in order.

    The last poll of a charger before each kill is exempt, since it may have been in progress; most
    of them were complete and have a point.
    """
    influxdb = InfluxDB(tmp_path)
    # Twenty simulated seconds pass between two polls, so that no two have equal readings.
    with Simulator(speed=20) as simulator:
        boxes = {
            f"c{number}": simulator.add(charging(number), api="2", latency=0.03)
            for number in range(CHARGERS)
        }
        chargers = {name: box.address for name, box in boxes.items()}
        config = push_config(tmp_path, influxdb.url, chargers, spool_limit="1MiB")
        starts, started = killed_again_and_again(launch, influxdb, config)
        with influxdb.up():
            polled_and_delivered(launch, config, boxes.values())
            points = influxdb.points()
            kinds = influxdb.query("SHOW FIELD KEYS")
    monotonic_to_wall = time.time() - time.monotonic()
    answered = lost = last_ones = 0
    for name, box in boxes.items():
        polls = [moment for moment, target in box.log if target.startswith("/api/status?")]
        assert len(polls) == box.requests < LOG_LENGTH
        mine = [point for point in points if point["charger"] == name]
        missing = unaccounted(polls, mine, monotonic_to_wall)
        last = last_of_each(polls, starts)
        # A busy simulator may note the last request only while the next agent starts.
        assert set(missing) <= last | last_of_each(polls, started), (name, missing)
        assert all(point["up"] for point in mine)
        assert rising([point["uptime_s"] for point in mine])
        assert rising([point["energy_wh"] for point in mine])
        answered, lost = answered + len(polls), lost + len(missing)
        last_ones += len(last)
    print(f"{answered} polls, {answered - lost} points, {lost} under way at {KILLS} kills")
    assert answered >= CHARGERS * KILLS // 2
    assert lost <= last_ones // 2
    for row in kinds:
        name = row["fieldKey"]
        wanted = "string" if name in STRINGS else "boolean" if name in FLAGS else "float"
        assert row["fieldType"] == wanted, row
    assert len(kinds) == len({row["fieldKey"] for row in kinds})
    assert survey(tmp_path / "spool" / "dead").pending == 0


def unaccounted(
    polls: Sequence[float], points: Sequence[dict[str, Any]], monotonic_to_wall: float
) -> list[float]:
    """Return the polls without a point; fails for two points of a poll or a point without one.

    The timestamp of a poll's point is between its request and the next one.
    """
    stamps = [point["time"] / 1000 - monotonic_to_wall for point in points]
    bounds = [bisect_left(stamps, poll - 0.005) for poll in polls] + [len(stamps)]
    counts = [after - before for before, after in itertools.pairwise(bounds)]
    assert bounds[0] == 0
    assert max(counts) == 1, counts
    return [poll for poll, count in zip(polls, counts, strict=True) if not count]


def last_of_each(polls: Sequence[float], starts: Sequence[float]) -> set[float]:
    """Return the last poll of each killed agent, given the starts of it and of the next one."""
    lives = (polls[bisect_left(polls, first) : bisect_left(polls, then)]
             for first, then in itertools.pairwise(starts))  # fmt: skip
    return {life[-1] for life in lives if life}


def rising(values: Sequence[float]) -> bool:
    """Return whether each value is greater than the one before."""
    return all(before < after for before, after in itertools.pairwise(values))
