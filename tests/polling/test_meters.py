"""A meter that rises faster than power allows is rejected (docs/protocol.md §5.2)."""

from __future__ import annotations

import pytest

from goe_exporter.channels.snapshot import Answer
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import api_v1
from goe_exporter.polling.meters import Meters
from goe_exporter.simulator import Car, Charger
from goe_exporter.simulator.responses import status_v1, status_v2


def checked(*values: object, api: int = 2, seconds: float = 5.0) -> list[tuple[object, bool]]:
    """Return, for values of `eto` in successive polls, what remains and whether it is counted."""
    meters = Meters(CHANNELS)
    found = []
    for number, value in enumerate(values):
        answer, new = meters.check(Answer(api, {"eto": value, "car": 2}), number * seconds)
        assert answer.status["car"] == 2
        found.append((answer.status["eto"], new == {"eto"}))
    return found


def test_a_meter_at_full_power() -> None:
    """22 kW for 5 s are 30 Wh: always accepted."""
    values = [1000 + 30 * poll for poll in range(50)]
    assert checked(*values) == [(value, False) for value in values]


def test_a_meter_that_jumps_for_one_poll() -> None:
    """The value is absent for that poll, counted once, and the next is accepted."""
    assert checked(1000, 1005, 9_000_000, 1010) == [
        *((1000, False), (1005, False), (None, True), (1010, False))
    ]


def test_a_meter_that_was_corrected() -> None:
    """The third consistent poll is accepted; the first alone is counted."""
    assert checked(1000, 2_000_000, 2_000_010, 2_000_020, 2_000_030) == [
        *((1000, False), (None, True), (None, False), (2_000_020, False), (2_000_030, False))
    ]


def test_a_meter_that_jumps_again_and_again() -> None:
    """Values that do not agree are never accepted, and each is counted."""
    assert checked(1000, 5_000_000, 9_000_000, 7_000_000, 1010, 8_000_000)[1:] == [
        *((None, True), (None, True), (None, True), (1010, False), (None, True))
    ]


def test_a_meter_may_fall() -> None:
    """A reset is a reading at once; the way back up is not."""
    assert checked(5_000_000, 12, 13, 5_000_000) == [
        *((5_000_000, False), (12, False), (13, False), (None, True))
    ]


def test_a_meter_that_shows_zero() -> None:
    """A zero is not believed for two polls: a counter that falls and rises is energy twice."""
    assert checked(5_000_000, 0, 5_000_000) == [
        *((5_000_000, False), (None, True), (5_000_000, False))
    ]
    assert [value for value, _new in checked(5_000_000, 0, 0, 0, 4)] == [
        5_000_000,
        None,
        None,
        0,
        4,
    ]


@pytest.mark.parametrize(("api", "step"), [(1, 1000), (2, 1)])
def test_the_steps_of_a_meter(api: int, step: int) -> None:
    """V1 and V2 hardware counts whole kWh, v2 single Wh."""
    values = [7_000_000, 7_000_000, 7_000_000 + step]
    assert checked(*values, api=api, seconds=1) == [(value, False) for value in values]


def test_a_step_of_api_v1_on_api_v2() -> None:
    """1 kWh within 5 s is more than any charger supplies."""
    assert checked(7_000_000, 7_001_000) == [(7_000_000, False), (None, True)]


def test_time_between_polls_counts() -> None:
    """What takes a minute is plausible after a minute, also after polls without a value."""
    assert checked(1000, 1370, seconds=60) == [(1000, False), (1370, False)]
    values = [1000, None, None, None, 1400]
    assert checked(*values, seconds=15) == [(value, False) for value in values]


def test_an_answer_that_is_late() -> None:
    """After an answer 30 s old, a new one shows the energy of 35 s: 214 Wh at 22 kW."""
    assert checked(1000, 1214) == [(1000, False), (1214, False)]


def test_a_rate_that_no_charger_has() -> None:
    """Three polls that rise too fast themselves do not agree."""
    values = [1000, *range(1_000_000, 10_000_000, 1_000_000)]
    assert checked(*values)[1:] == [(None, True)] * 9


@pytest.mark.parametrize("odd", [None, "1000", True, [], {}, -1, 1e10, float("nan"), 10**400])
def test_what_is_no_meter_value_is_left_to_the_decoder(odd: object) -> None:
    """Other values are neither rejected nor remembered."""
    got = checked(1000, odd, 1010)
    assert got[0] == (1000, False)
    assert got[1][1] is False
    assert got[2] == (1010, False)


def test_the_chargers_own_clock_counts() -> None:
    """A simulated charger may be a thousand times as fast; its uptime shows that."""
    meters = Meters(CHANNELS)
    for poll in range(5):
        answer = Answer(2, {"eto": 1000 + 3055 * poll, "rbt": 1_000_000 * poll})
        assert meters.check(answer, poll) == (answer, frozenset())
    answer = Answer(2, {"eto": 1000 + 3055 * 5 + 20_000, "rbt": 5_000_000})
    assert meters.check(answer, 5)[1] == {"eto"}


@pytest.mark.parametrize("rbt", [None, "1", True, -1, 1e16, float("nan"), 5_000_000])
def test_a_clock_that_does_not_count(rbt: object) -> None:
    """Without an uptime, or with one that stands still, only the exporter's clock counts."""
    meters = Meters(CHANNELS)
    meters.check(Answer(2, {"eto": 1000, "rbt": 5_000_000}), 0.0)
    assert meters.check(Answer(2, {"eto": 1030, "rbt": rbt}), 5.0)[1] == frozenset()
    assert meters.check(Answer(2, {"eto": 2030, "rbt": rbt}), 10.0)[1] == {"eto"}


def test_no_check_across_a_restart() -> None:
    """When the uptime falls, any value is accepted."""
    meters = Meters(CHANNELS)
    meters.check(Answer(1, {"eto": 1000, "rbt": 4_294_967_000}), 0.0)
    answer = Answer(1, {"eto": 9_000_000, "rbt": 4_000})
    assert meters.check(answer, 5.0) == (answer, frozenset())


def test_every_meter_on_its_own() -> None:
    """The energy of each card is checked, too; a bad one does not cost the others."""
    meters = Meters(CHANNELS)
    meters.check(Answer(2, {"eto": 1000, "c0e": 10, "c9e": 20}), 0.0)
    answer, new = meters.check(Answer(2, {"eto": 1001, "c0e": 9_000_000, "c9e": 21}), 5.0)
    assert answer.status == {"eto": 1001, "c0e": None, "c9e": 21}
    assert new == {"c0e"}


def test_no_check_after_a_gap() -> None:
    """Once the values are forgotten, any value is accepted."""
    meters = Meters(CHANNELS)
    meters.check(Answer(2, {"eto": 1000}), 0.0)
    meters.forget()
    answer = Answer(2, {"eto": 9_000_000})
    assert meters.check(answer, 5.0) == (answer, frozenset())


@pytest.mark.parametrize("seconds", [1.0, 5.0])
@pytest.mark.parametrize(("model", "api"), [("V2", 1), ("V4", 1), ("V4", 2), ("PRO", 2)])
def test_no_meter_of_a_simulated_charger_is_rejected(model: str, api: int, seconds: float) -> None:
    """A charge of 22 kW for ten minutes, with the steps of each hardware's meter."""
    charger, meters = Charger(model, variant=22), Meters(CHANNELS)
    charger.amp = 32
    charger.energy_wh = 7_000_900.0
    charger.plug(Car(battery_wh=100_000, max_current_a=32))
    values = set()
    for poll in range(int(600 / seconds)):
        status = api_v1.status(status_v1(charger)) if api == 1 else status_v2(charger)
        answer = Answer(api, status)
        assert meters.check(answer, poll * seconds) == (answer, frozenset())
        values.add(status["eto"])
        charger.advance(seconds)
    assert len(values) >= 4
