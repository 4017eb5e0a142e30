"""The refresh cycle: what is asked when, what a failure costs, and what a sink is shown."""

from __future__ import annotations

import logging
import threading
from urllib.parse import unquote

import pytest
from clocks import Clock

from goe_exporter.channels.snapshot import Answer, Snapshot
from goe_exporter.charger.client import Client
from goe_exporter.errors import ChargerError
from goe_exporter.polling.poller import Poller
from goe_exporter.simulator import Box, Car, Charger, Simulator

SLOW_KEYS = {
    *("ama", "adi", "typ", "var", "fna", "acs", "lmo", "awp", "fup", "rbc", "cards", "rev", "styp"),
    *("c0e", "c1e", "c2e", "c3e", "c4e", "c5e", "c6e", "c7e", "c8e", "c9e"),
}
LIVE_KEYS = {"nrg", "eto", "wh", "dwo", "car", "err", "alw", "frc", "amp", "acu", "tma", "sse"}
ONLY_V2 = {"model", "device_name", "grid_frequency", "wifi_signal", "force_state", "pv_power"}


class Script:
    """A client that gives what it was told to, one thing a cycle, the last for ever."""

    def __init__(self, *answers: dict[str, object] | str, api: int = 2) -> None:
        self._answers = list(answers)
        self._api = api

    def status(self, _keys: tuple[str, ...]) -> Answer:
        """Return the next answer; a text is the reason of a failure."""
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, str):
            raise ChargerError(answer, f"scripted failure: {answer}")
        return Answer(self._api, dict(answer), complete=self._api == 1)


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def wall() -> Clock:
    return Clock(1_750_000_000.0)


@pytest.fixture
def box(simulator: Simulator) -> Box:
    """Return a charging V4 named "garage" with only API v2 switched on."""
    charger = Charger("V4", name="garage", serial="111111")
    charger.plug(Car(battery_wh=60_000))
    charger.advance(60)
    return simulator.add(charger, api="2")


def collector(
    client: Client | Script | Box, clock: Clock, wall: Clock, interval_seconds: float = 5.0
) -> Poller:
    if isinstance(client, Box):
        client = Client(client.address, deadline_seconds=0.3)
    return Poller("garage", "192.0.2.1", client, interval_seconds, clock=clock, wall=wall)


def cycles(polled: Poller, clock: Clock, count: int) -> None:
    """Let cycles begin one interval after the other; the clock stands at the next one's begin."""
    for _ in range(count):
        polled.poll()
        clock.now += polled.interval_seconds


def asked(box: Box) -> list[set[str]]:
    """Return the keys of each v2 request, in order."""
    filters = (unquote(target).partition("filter=")[2] for _time, target in box.log)
    return [set(keys.split(",")) for keys in filters if keys]


def snapshot(polled: Poller) -> Snapshot:
    found = polled.view().snapshot
    assert found is not None
    return found


def values(polled: Poller) -> dict[str, object]:
    """Return what a sink is shown, by the rows' names; of several parts the last."""
    shown = polled.view().snapshot
    return {each.channel.name: each.value for each in shown.readings} if shown else {}


# What is asked when


def test_request_holds_at_most_35_keys(box: Box, clock: Clock, wall: Clock) -> None:
    """No request is longer than what all firmware takes, and each asks for every live key."""
    cycles(collector(box, clock, wall), clock, 30)
    assert len(asked(box)) == 30
    for keys in asked(box):
        assert len(keys) <= 35
        assert keys >= LIVE_KEYS


@pytest.mark.parametrize("interval_seconds", [1.0, 5.0, 15.0, 20.0, 60.0, 300.0])
def test_slow_keys_come_within_four_cycles(
    box: Box, clock: Clock, wall: Clock, interval_seconds: float
) -> None:
    """Whatever the interval, after four cycles every key has been asked for."""
    polled = collector(box, clock, wall, interval_seconds)
    cycles(polled, clock, 4)
    assert set().union(*asked(box)) >= SLOW_KEYS
    shown = values(polled)
    assert {"device_name", "model", "variant", "reboots", "card_energy"} <= shown.keys()


def test_slow_keys_come_again_after_a_minute_and_not_before(
    box: Box, clock: Clock, wall: Clock
) -> None:
    """A slow key is asked for every 60 s: in the first four cycles, then from 60 s on."""
    polled = collector(box, clock, wall)
    cycles(polled, clock, 24)
    times = {key: [5 * n for n, keys in enumerate(asked(box)) if key in keys] for key in SLOW_KEYS}
    for key, seconds in times.items():
        first, *rest = seconds
        assert first <= 15, key
        assert rest == [first + 60], key


def test_completeness(box: Box, clock: Clock, wall: Clock) -> None:
    """A collector is complete once every slow key was asked for."""
    polled = collector(box, clock, wall)
    seen = []
    for _ in range(5):
        seen.append(polled.complete)
        cycles(polled, clock, 1)
    assert seen == [False, False, False, False, True]


def test_v1_is_complete_at_once(simulator: Simulator, clock: Clock, wall: Clock) -> None:
    """A v1 charger says everything in one answer."""
    box = simulator.add(Charger("V2"))
    polled = collector(box, clock, wall)
    polled.poll()
    assert polled.complete
    assert box.requests == 2


def test_slow_readings_stay_between_the_answers(box: Box, clock: Clock, wall: Clock) -> None:
    """What was asked a moment ago is shown in every cycle until it is asked again."""
    polled = collector(box, clock, wall)
    cycles(polled, clock, 4)
    for _ in range(20):
        cycles(polled, clock, 1)
        assert values(polled)["device_name"] == "garage"


def test_slow_reading_that_went_away_is_absent(clock: Clock, wall: Clock) -> None:
    """A slow key that the next answer lacks is no reading any more."""
    polled = collector(Script({"fna": "garage", "car": 1}, {"car": 1}), clock, wall, 60)
    polled.poll()
    assert values(polled)["device_name"] == "garage"
    clock.now += 60
    for _cycle in range(4):
        polled.poll()
    assert "device_name" not in values(polled)
    assert values(polled)["car_state"] == "idle"


def test_another_charger_at_the_same_address(clock: Clock, wall: Clock) -> None:
    """With another serial number, nothing that the former charger said is shown any more."""
    first = {"sse": "111111", "fna": "garage", "typ": "go-eCharger_V4"}
    polled = collector(Script(first, {"sse": "222222"}), clock, wall, 5)
    polled.poll()
    assert values(polled)["device_name"] == "garage"
    clock.now += 5
    polled.poll()
    assert values(polled)["serial"] == "222222"
    assert {"device_name", "model"}.isdisjoint(values(polled))


# A good poll


def test_before_the_first_poll(clock: Clock, wall: Clock) -> None:
    """Nothing is known yet: neither up nor down, no snapshot, no counts."""
    view = collector(Script({}), clock, wall).view()
    assert (view.name, view.host) == ("garage", "192.0.2.1")
    assert (view.snapshot, view.age) == (None, None)
    stats = view.stats
    assert (stats.up, stats.polls, stats.failures) == (None, 0, {})
    assert (stats.last_success, stats.last_duration) == (None, None)


def test_good_poll(clock: Clock, wall: Clock) -> None:
    """A good poll is up, stamped with the time at which the answer came, and its duration kept."""

    class Slow(Script):
        def status(self, keys: tuple[str, ...]) -> Answer:
            clock.now += 0.25
            wall.now += 0.25
            return super().status(keys)

    polled = collector(Slow({"amp": 16, "car": 2}), clock, wall)
    polled.poll()
    clock.now += 2
    view = polled.view()
    assert (view.stats.up, view.stats.polls, view.stats.failures) == (True, 1, {})
    assert view.stats.last_success == 1_750_000_000.25
    assert view.stats.last_duration == 0.25
    assert view.age == 2
    assert snapshot(polled).time == 1_750_000_000.25
    assert (snapshot(polled).charger, snapshot(polled).api) == ("garage", 2)
    assert values(polled) == {"max_current": 16.0, "car_state": "charging"}


# A failed poll


def test_failed_poll_is_down_at_once(box: Box, clock: Clock, wall: Clock) -> None:
    """The first failed poll is `up` False with its reason, and keeps the last success' time."""
    polled = collector(box, clock, wall)
    cycles(polled, clock, 1)
    box.fault = "busy"
    polled.poll()
    stats = polled.view().stats
    assert (stats.up, stats.reason, stats.failures_in_row) == (False, "busy", 1)
    assert "api lock" in stats.message
    assert (stats.polls, stats.failures) == (2, {"busy": 1})
    assert stats.last_success == 1_750_000_000.0


def test_failures_are_counted_by_reason(box: Box, clock: Clock, wall: Clock) -> None:
    """Each failed poll counts once, under its own reason."""
    polled = collector(box, clock, wall)
    for fault in ("busy", "hang", "html", "busy", None, "unauthorized"):
        box.fault = fault
        cycles(polled, clock, 1)
    box.close()
    cycles(polled, clock, 2)
    stats = polled.view().stats
    expected = {"busy": 2, "timeout": 1, "not_json": 1, "unauthorized": 1, "refused": 2}
    assert stats.failures == expected
    assert (stats.polls, stats.failures_in_row) == (8, 3)


def test_charger_that_is_off_at_the_start(box: Box, clock: Clock, wall: Clock) -> None:
    """A charger that never answered is down, without a snapshot, and no exception."""
    box.close()
    polled = collector(box, clock, wall)
    cycles(polled, clock, 3)
    view = polled.view()
    assert (view.stats.up, view.snapshot, view.age) == (False, None, None)
    assert view.stats.last_success is None


@pytest.mark.parametrize("interval_seconds", [1.0, 5.0, 30.0])
def test_snapshot_goes_after_three_intervals(
    box: Box, clock: Clock, wall: Clock, interval_seconds: float
) -> None:
    """The last good readings are shown for three intervals and not a moment longer."""
    polled = collector(box, clock, wall, interval_seconds)
    polled.poll()
    box.fault = "busy"
    for _ in range(2):
        clock.now += interval_seconds
        polled.poll()
        assert values(polled)["max_current"] == 16
    clock.now = 1000 + 3 * interval_seconds
    assert values(polled)["max_current"] == 16
    clock.now += 0.001
    assert polled.view().snapshot is None
    assert polled.view().age == pytest.approx(3 * interval_seconds + 0.001)


def test_snapshot_goes_even_if_nobody_polls(clock: Clock, wall: Clock) -> None:
    """Readings grow old by the clock, not by the next poll, which may hang."""
    polled = collector(Script({"amp": 16}), clock, wall)
    polled.poll()
    clock.now += 15.001
    assert polled.view().snapshot is None
    assert polled.view().stats.up is True


def test_recovery(box: Box, clock: Clock, wall: Clock) -> None:
    """One good poll after an outage is up with new readings; the counts stay."""
    polled = collector(box, clock, wall)
    cycles(polled, clock, 1)
    box.fault = "unavailable"
    cycles(polled, clock, 5)
    box.fault = None
    box.charger.amp = 10
    wall.now += 1000
    polled.poll()
    view = polled.view()
    assert (view.stats.up, view.stats.reason, view.stats.message) == (True, "", "")
    assert (view.stats.failures, view.stats.failures_in_row) == ({"http_status": 5}, 0)
    assert view.stats.last_success == 1_750_001_000.0
    assert values(polled)["max_current"] == 10


def test_slow_readings_are_forgotten_after_an_outage(box: Box, clock: Clock, wall: Clock) -> None:
    """After an outage another charger may stand there: nothing old is shown beside the new."""
    polled = collector(box, clock, wall)
    cycles(polled, clock, 4)
    assert values(polled)["device_name"] == "garage"
    box.fault = "busy"
    cycles(polled, clock, 4)
    box.charger = Charger("V4", name="carport", serial="222222")
    box.fault = None
    for _ in range(4):
        cycles(polled, clock, 1)
        assert values(polled)["serial"] == "222222"
        assert values(polled).get("device_name") in (None, "carport")
    assert values(polled)["device_name"] == "carport"


def test_slow_readings_outlive_one_failure(box: Box, clock: Clock, wall: Clock) -> None:
    """One failed poll costs one cycle and no slow reading."""
    polled = collector(box, clock, wall)
    cycles(polled, clock, 4)
    box.fault = "busy"
    cycles(polled, clock, 1)
    box.fault = None
    cycles(polled, clock, 1)
    assert values(polled)["device_name"] == "garage"


# Another charger


def test_v2_then_v1_leaves_no_v2_reading(box: Box, clock: Clock, wall: Clock) -> None:
    """After a swap for V2 hardware nothing is shown that only v2 says."""
    polled = collector(box, clock, wall)
    cycles(polled, clock, 4)
    assert ONLY_V2 - {"pv_power"} <= values(polled).keys()
    box.charger, box.api = Charger("V2", serial="333333"), "both"
    cycles(polled, clock, 1)
    assert snapshot(polled).api == 1
    assert values(polled)["serial"] == "333333"
    assert not ONLY_V2 & values(polled).keys()


def test_v1_then_v2_shows_nothing_of_an_earlier_v2(box: Box, clock: Clock, wall: Clock) -> None:
    """What a v2 charger said before a time of v1 is not shown when v2 is back."""
    polled = collector(box, clock, wall)
    box.charger.reboots = 77
    cycles(polled, clock, 4)
    box.api = "1"
    cycles(polled, clock, 30)
    box.charger, box.api = Charger("V3", name="carport", serial="222222"), "2"
    for _ in range(4):
        cycles(polled, clock, 1)
        shown = values(polled)
        assert (snapshot(polled).api, shown["serial"]) == (2, "222222")
        assert shown.get("device_name") in (None, "carport")
        assert shown.get("model") in (None, "go-eCharger")
        assert shown.get("variant") in (None, "11")
        assert shown.get("reboots") in (None, 1)
    assert values(polled)["device_name"] == "carport"


# Bad values


def test_bad_value_costs_one_channel(clock: Clock, wall: Clock) -> None:
    """A value that is no reading is absent and counted by its key; the others stay."""
    polled = collector(
        Script(
            {"amp": "sixteen", "car": 2, "fhz": -5},
            {"amp": 16, "car": 2, "fhz": [50]},
            {"amp": 16, "car": 2, "fhz": 50},
        ),
        clock,
        wall,
    )
    polled.poll()
    assert values(polled) == {"car_state": "charging"}
    polled.poll()
    polled.poll()
    stats = polled.view().stats
    assert stats.decode_failures == {"amp": 1, "fhz": 2}
    assert (stats.up, stats.failures) == (True, {})
    assert values(polled) == {"max_current": 16, "car_state": "charging", "grid_frequency": 50}


def test_bad_slow_value_counts_when_it_was_sent(clock: Clock, wall: Clock) -> None:
    """A slow key that is unreadable counts once for each answer that held it."""

    class OnlyAsked(Script):
        def status(self, keys: tuple[str, ...]) -> Answer:
            return Answer(2, {"fna": 5.5} if "fna" in keys else {})

    polled = collector(OnlyAsked({}), clock, wall)
    cycles(polled, clock, 24)
    assert polled.view().stats.decode_failures == {"fna": 2}


def test_bad_value_of_v1_counts_too(clock: Clock, wall: Clock) -> None:
    """The same holds for what v1 says."""
    polled = collector(Script({"amp": "x", "car": 2}, api=1), clock, wall)
    cycles(polled, clock, 2)
    assert polled.view().stats.decode_failures == {"amp": 2}
    assert values(polled) == {"car_state": "charging"}


# Back-off


@pytest.mark.parametrize(
    ("interval_seconds", "waits"),
    [
        (5.0, [5, 5, 10, 20, 40, 60, 60]),
        (1.0, [1, 1, 2, 4, 8, 16, 32]),
        (45.0, [45, 45, 60, 60, 60, 60, 60]),
        (60.0, [60, 60, 60, 60, 60, 60, 60]),
        (90.0, [90, 90, 90, 90, 90, 90, 90]),
    ],
)
def test_back_off(clock: Clock, wall: Clock, interval_seconds: float, waits: list[float]) -> None:
    """From the third failure in a row the wait doubles up to 60 s; a longer interval stays."""
    polled = collector(Script("timeout"), clock, wall, interval_seconds)
    assert polled.wait_seconds == interval_seconds
    seen = []
    for _ in waits:
        polled.poll()
        seen.append(polled.wait_seconds)
    assert seen == waits


def test_back_off_never_overflows(clock: Clock, wall: Clock) -> None:
    """Thousands of failures later the wait is still 60 s."""
    polled = collector(Script("refused"), clock, wall)
    for _ in range(3000):
        polled.poll()
    assert polled.wait_seconds == 60


def test_one_success_ends_the_back_off(clock: Clock, wall: Clock) -> None:
    """After a success the next failures begin to count from one."""
    script = Script(*["timeout"] * 5, {"amp": 16}, *["timeout"] * 3)
    polled = collector(script, clock, wall)
    seen = []
    for _ in range(9):
        polled.poll()
        seen.append(polled.wait_seconds)
    assert seen == [5, 5, 10, 20, 40, 5, 5, 5, 10]


# The log


def test_outage_is_logged_when_it_begins_and_when_it_ends(
    records: list[logging.LogRecord], clock: Clock, wall: Clock
) -> None:
    """A persisting failure is two lines, whatever its reasons, not one every cycle."""
    good: dict[str, object] = {"amp": 16}
    outage = ("timeout", "timeout", "refused", "busy")
    polled = collector(Script(good, good, *outage, good, good, "dns", good), clock, wall)
    cycles(polled, clock, 2)
    assert records == []
    cycles(polled, clock, 4)
    assert [(each.levelname, each.getMessage()) for each in records] == [("WARNING", "poll failed")]
    assert records[0].__dict__["values"] == {
        "charger": "garage",
        "reason": "timeout",
        "error": "scripted failure: timeout",
    }
    cycles(polled, clock, 2)
    assert [(each.levelname, each.getMessage()) for each in records[1:]] == [
        ("INFO", "poll succeeded again")
    ]
    assert records[1].__dict__["values"] == {"charger": "garage", "failures": 4}
    cycles(polled, clock, 2)
    assert len(records) == 4


def test_charger_off_at_the_start_is_logged_once(
    records: list[logging.LogRecord], clock: Clock, wall: Clock
) -> None:
    """An outage that began before us is one line too."""
    cycles(collector(Script("refused"), clock, wall), clock, 5)
    assert [each.getMessage() for each in records] == ["poll failed"]


def test_unreadable_value_is_logged_once(
    records: list[logging.LogRecord], clock: Clock, wall: Clock
) -> None:
    """A key that cannot be read is a line at its first time, without the value."""
    polled = collector(Script({"amp": "s3cret", "car": "s3cret"}), clock, wall)
    cycles(polled, clock, 5)
    assert [each.getMessage() for each in records] == ["value could not be decoded"] * 2
    assert sorted(each.__dict__["values"]["key"] for each in records) == ["amp", "car"]
    assert "s3cret" not in str([each.__dict__ for each in records])


# Several at once


def test_view_is_consistent(clock: Clock, wall: Clock) -> None:
    """A view taken at any moment belongs to one cycle: stats and snapshot fit each other."""

    class Turns(Script):
        polls = 0

        def status(self, keys: tuple[str, ...]) -> Answer:
            self.polls += 1
            wall.now += 1
            if self.polls % 3 == 0:
                raise ChargerError("busy", "every third")
            return super().status(keys)

    polled = collector(Turns({"amp": 16}), clock, wall)
    ended = threading.Event()
    torn: list[object] = []

    def look() -> None:
        while not ended.is_set():
            view = polled.view()
            failures = sum(view.stats.failures.values())
            polls = view.stats.polls
            fits = (
                failures == polls // 3
                and (view.stats.up is not False) == (polls % 3 != 0 or polls == 0)
                and (view.snapshot and view.snapshot.time) == view.stats.last_success
            )
            if not fits:
                torn.append(view)

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    for _ in range(600):
        polled.poll()
    ended.set()
    for watcher in watchers:
        watcher.join()
    assert torn == []
    assert polled.view().stats.polls == 600


@pytest.mark.parametrize("interval_seconds", [60.0, 600.0])
def test_rare_cycles_ask_for_everything(
    box: Box, clock: Clock, wall: Clock, interval_seconds: float
) -> None:
    """With a minute or more between cycles each has all rows, in two requests of few keys."""
    asker = Client(box.address)
    collector = Poller("garage", box.address, asker, interval_seconds, clock=clock, wall=wall)
    for cycle in range(1, 4):
        collector.poll()
        assert collector.complete
        assert box.requests == 2 * cycle
        asked = [unquote(target).partition("filter=")[2].split(",") for _, target in box.log]
        assert set(asked[-1] + asked[-2]) >= SLOW_KEYS | LIVE_KEYS
        assert max(map(len, asked)) <= 35
        clock.now += interval_seconds
