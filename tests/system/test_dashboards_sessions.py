"""Recorded charging sessions in the energy dashboard, in a real Prometheus.

Where the viewer is, it is an hour later than in UTC. On 1 June 2026, each minute,

- `garage` has recorded sessions. The last one before ended on 30 May. A car that came at 7:00:10
  leaves at 10:00:20 with 12.5 kWh, after two hours of charging; another one is there from 10:02:00
  to 10:05:40 and takes 0.25 kWh. A third one takes 7 kWh and leaves at 13:00:00, while Prometheus
  gets no samples, from 12:00 to 15:00.
- `yard` has no recorded sessions. A car is there from 7:00 to 10:00 and takes 9 kWh.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dashboard_queries import Moment, ask, query_of, unix
from prometheus_server import Prometheus, Sample

FIRST = unix(2026, 6, 1)
DAY = Moment(FIRST, FIRST + 18 * 3600, 60)
OF_JOB = {"job": "goe", "instance": "localhost:10332"}


def at(hour: int, minute: int = 0, second: int = 0) -> float:
    """Return the Unix time of a local time of the day."""
    return FIRST + hour * 3600 + minute * 60 + second


SESSIONS = (
    # from when on it is exported, end, kWh, seconds plugged in, seconds of charging
    (FIRST, unix(2026, 5, 30), 99.0, 4_000.0, 3_000.0),
    (at(10, 1), at(10, 0, 20), 12.5, 10_810.0, 7_200.0),
    (at(10, 6), at(10, 5, 40), 0.25, 220.0, 200.0),
    (at(15), at(13), 7.0, 5_400.0, 3_600.0),
)


def samples() -> Iterator[Sample]:
    """Yield the samples of a day."""
    for minute in range(18 * 60):
        time = FIRST + 60 * minute
        if not at(12) <= time < at(15):
            yield from garage(time)
        yield from yard(time)


def garage(time: float) -> Iterator[Sample]:
    """Yield the samples of the charger with recorded sessions."""
    of = OF_JOB | {"charger": "garage"}
    *_, (_since, end, energy, plugged_in, charging) = (each for each in SESSIONS if each[0] <= time)
    yield Sample("goe_last_session_end_timestamp_seconds", of, end, time)
    yield Sample("goe_last_session_energy_joules", of, 3.6e6 * energy, time)
    yield Sample("goe_last_session_duration_seconds", of, plugged_in, time)
    yield Sample("goe_last_session_charging_seconds", of, charging, time)
    yield Sample("goe_unassigned_energy_joules_total", of, 0.0, time)
    there = at(7) < time <= at(10) or at(10, 2) <= time <= at(10, 5)
    yield from derived(of, time, there=there, energy=12.5 if time > at(10) else 0.0)


def yard(time: float) -> Iterator[Sample]:
    """Yield the samples of the charger without."""
    of = OF_JOB | {"charger": "yard"}
    energy = 9.0 * min(max(time - at(7), 0) / (at(9) - at(7)), 1)
    yield from derived(of, time, there=at(7) <= time < at(10), energy=energy)


def derived(of: dict[str, str], time: float, *, there: bool, energy: float) -> Iterator[Sample]:
    """Yield what sessions are derived from."""
    identity = {"api": "2", "firmware": "060.3", "model": "V4", "serial": of["charger"]}
    yield Sample("goe_car_state", of | {"state": "idle"}, float(not there), time)
    yield Sample("goe_energy_joules_total", of, 3.6e6 * (1000 + energy), time)
    yield Sample("goe_session_energy_joules", of, 3.6e6 * energy, time)
    yield Sample("goe_device_info", of | identity, 1.0, time)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Yield a Prometheus with the samples."""
    server = Prometheus(tmp_path_factory.mktemp("sessions"))
    server.remember(samples())
    with server.up():
        yield server


def column(server: Prometheus, letter: str) -> dict[str, dict[float, float]]:
    """Return a column of the table of sessions: values by time, by charger."""
    found = ask(server, query_of("prometheus/energy.json", "Sessions", letter), DAY)
    return {each.labels["charger"]: each.values for each in found}


def test_recorded_sessions(prometheus: Prometheus) -> None:
    """Each recorded session is a row with its own end, once; none is derived beside it."""
    rows = at(10, 1), at(10, 6), at(15)
    assert column(prometheus, "A")["garage"] == pytest.approx(
        dict(zip(rows, (12.5, 0.25, 7), strict=True))
    )
    assert column(prometheus, "B")["garage"] == pytest.approx(
        dict(zip(rows, (3.125, 0.0625, 1.75), strict=True))
    )
    assert column(prometheus, "C")["garage"] == dict(zip(rows, (10_810, 220, 5_400), strict=True))
    ends = [1000 * each for each in (at(10, 0, 20), at(10, 5, 40), at(13))]
    assert column(prometheus, "D")["garage"] == dict(zip(rows, ends, strict=True))
    charging = column(prometheus, "E")
    assert charging == {"garage": dict(zip(rows, (7_200, 200, 3_600), strict=True))}


def test_derived_sessions(prometheus: Prometheus) -> None:
    """A charger without recorded sessions has derived ones, which end at a step."""
    assert column(prometheus, "A")["yard"] == pytest.approx({at(10): 9})
    assert column(prometheus, "B")["yard"] == pytest.approx({at(10): 2.25})
    assert column(prometheus, "C")["yard"] == {at(10): 10_860}
    assert column(prometheus, "D")["yard"] == {at(10): 1000 * at(10)}
