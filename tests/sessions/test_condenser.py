"""Which polls are left out, because they have nothing new."""

from __future__ import annotations

import pytest
from session_writer import status

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.sessions.condenser import Condenser
from goe_exporter.sessions.observation import Moment, Observation

START = 1_767_225_600
POWER = [230, 230, 230, 0, 16, 16, 16, 3_680, 3_680, 3_680, 0, 11_040, 99, 99, 99, 0]


def take(condenser: Condenser, time: float, **changes: object) -> tuple[Observation, ...]:
    """Let a car charge 2 Wh a second; return what is to be tracked."""
    plain = status(100) | {"nrg": POWER, "eto": 1_000 + 2 * int(time), "wh": 2.0 * time}
    found = plain | {"rbt": 1_000_000_000 + time * 1_000} | changes
    readings = decode(found, 2, boot_time=0.0).readings
    snapshot = Snapshot("garage", 2, START + time, 0.0, readings, boot_time=0.0)
    return condenser.take(snapshot, Moment(time, START + time, "boot-1", trusted=True), 5.0)


def test_a_minute_of_charging() -> None:
    """The first poll and one a minute later are enough; the highest power is kept."""
    condenser = Condenser()
    assert len(take(condenser, 100)) == 1
    for time in range(105, 160, 5):
        power = [*POWER[:11], 12_000 if time == 130 else 11_040, *POWER[12:]]
        assert take(condenser, time, nrg=power) == ()
    left_out, now = take(condenser, 160)
    assert (left_out.moment.uptime, left_out.meter_wh, left_out.power_w) == (155, 1_310, 12_000)
    assert (now.moment.uptime, now.meter_wh, now.gap_seconds) == (160, 1_320, 15.1)
    assert left_out.gap_seconds > 1e9


@pytest.mark.parametrize(
    "changes",
    [
        {"car": 3},
        {"car": None},
        {"trx": 7},
        {"lccfi": 1_000_099_000},
        {"modelStatus": 23},
        {"eto": 1_100},
        {"eto": 2_400},
        {"eto": None},
        {"wh": 199.0},
        {"rbt": 5_000},
        {"cbl": 32},
    ],
    ids=str,
)
def test_what_is_new(changes: dict[str, object]) -> None:
    """A changed state, or a meter that fell or jumped, is tracked at once, after the last poll."""
    condenser = Condenser()
    take(condenser, 100)
    assert take(condenser, 105) == ()
    found = take(condenser, 110, **changes)
    assert [each.moment.uptime for each in found] == [105, 110]


def test_quarter_hour_and_gap() -> None:
    """The last poll of a quarter hour, and the last one before a gap, are tracked."""
    condenser = Condenser()
    take(condenser, 885)
    assert take(condenser, 890) == take(condenser, 895) == ()
    assert [each.moment.uptime for each in take(condenser, 900)] == [895, 900]
    assert take(condenser, 905) == ()
    assert [each.moment.uptime for each in take(condenser, 925)] == [905, 925]
    assert condenser.rest() == ()
    take(condenser, 930)
    assert [each.moment.uptime for each in condenser.rest()] == [930]
    assert condenser.rest() == ()
