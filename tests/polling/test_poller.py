"""Polling a charger: requested keys, failures, and the view of a sink."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from urllib.parse import unquote

import pytest
from clients import impatient
from clocks import Clock
from servers import PATIENCE_SECONDS
from speaker import Speak

from goe_exporter.channels.snapshot import Answer, Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.client import Client
from goe_exporter.errors import ChargerError
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.slow_rows import keys_of
from goe_exporter.polling.view import Poll
from goe_exporter.simulator import Box, Car, Charger, Simulator

SLOW_KEYS = {
    *("ama", "adi", "typ", "var", "fna", "acs", "lmo", "awp", "fup", "rbc", "cards", "rev", "styp"),
    *("c0e", "c1e", "c2e", "c3e", "c4e", "c5e", "c6e", "c7e", "c8e", "c9e"),
    *("whs", "whg", "whb", "who", "eto_mid", "wh_mid", "cert", "cll", "tcl"),
}
LIVE_KEYS = {"nrg", "eto", "wh", "dwo", "car", "err", "alw", "frc", "amp", "acu", "tma", "sse"}
ONLY_V2 = {"model", "device_name", "grid_frequency", "wifi_signal", "force_state", "pv_power"}


class Script:
    """A client with scripted answers, one per poll; the last one repeats."""

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
    """Return a charging V4 named "garage" with only API v2 enabled."""
    charger = Charger("V4", name="garage", serial="111111")
    charger.plug(Car(battery_wh=60_000))
    charger.advance(60)
    return simulator.add(charger, api="2")


def poller(
    client: Client | Script | Box, clock: Clock, wall: Clock, interval_seconds: float = 5.0
) -> Poller:
    if isinstance(client, Box):
        client = Client(client.address, deadline_seconds=PATIENCE_SECONDS)
    return Poller("garage", "192.0.2.1", client, interval_seconds, clock=clock, wall=wall)


def polls(polled: Poller, clock: Clock, count: int) -> None:
    """Poll `count` times, and set the clock one interval ahead after each."""
    for _ in range(count):
        polled.poll()
        clock.now += polled.interval_seconds


def requested(box: Box) -> list[set[str]]:
    """Return the keys of each v2 request, in order."""
    filters = (unquote(target).partition("filter=")[2] for _time, target in box.log)
    return [set(keys.split(",")) for keys in filters if keys]


def snapshot(polled: Poller) -> Snapshot:
    found = polled.view().snapshot
    assert found is not None
    return found


def values(polled: Poller) -> dict[str, object]:
    """Return the values in the view by channel; of several parts, the last one."""
    shown = polled.view().snapshot
    return {each.channel.name: each.value for each in shown.readings} if shown else {}


# Requested keys


def test_request_holds_at_most_35_keys(box: Box, clock: Clock, wall: Clock) -> None:
    """No request has more keys than all firmware accepts, and each has every live key."""
    polls(poller(box, clock, wall), clock, 30)
    assert len(requested(box)) == 30
    for keys in requested(box):
        assert len(keys) <= 35
        assert keys >= LIVE_KEYS


def test_budget_of_live_keys() -> None:
    """At most 30 keys are live, so that a request has room for five slow ones."""
    live = keys_of(row for row in CHANNELS if not row.slow)
    assert len(live) <= 30
    assert {"lccfi", "rbt", "sse", "fwv"} <= set(live)


@pytest.mark.parametrize("interval_seconds", [1.0, 5.0, 10.0, 15.0, 17.5, 20.0, 60.0, 300.0])
def test_slow_keys_are_requested_within_seven_polls_or_at_once(
    box: Box, clock: Clock, wall: Clock, interval_seconds: float
) -> None:
    """Every key is requested within two minutes; with a long interval in the first poll."""
    polled = poller(box, clock, wall, interval_seconds)
    polls(polled, clock, 7 if interval_seconds < 17 else 1)
    assert clock.now - 1000 <= max(120, interval_seconds)
    assert set().union(*requested(box)) >= SLOW_KEYS
    assert all(len(keys) <= 35 for keys in requested(box))
    shown = values(polled)
    assert {"device_name", "model", "variant", "reboots", "card_energy"} <= shown.keys()


def test_slow_keys_are_requested_once_a_minute(box: Box, clock: Clock, wall: Clock) -> None:
    """A slow key is requested in one of the first seven polls, and 60 s later again."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 24)
    times = {
        key: [5 * n for n, keys in enumerate(requested(box)) if key in keys] for key in SLOW_KEYS
    }
    for key, seconds in times.items():
        first, *rest = seconds
        assert first <= 30, key
        assert rest == [first + 60], key


@pytest.mark.parametrize("interval_seconds", [7.5, 10.0, 17.0, 20.0, 45.0, 59.0])
def test_slow_keys_are_requested_within_two_minutes(
    box: Box, clock: Clock, wall: Clock, interval_seconds: float
) -> None:
    """Between two requests of a slow key there are 120 s at the most, in the long run too."""
    polled = poller(box, clock, wall, interval_seconds)
    times: dict[str, list[float]] = {key: [] for key in SLOW_KEYS}
    for _ in range(60):
        box.log.clear()
        polled.poll()
        for key in SLOW_KEYS.intersection(*[set().union(*requested(box))]):
            times[key].append(clock.now)
        clock.now += interval_seconds
    for key, moments in times.items():
        assert moments[0] <= 1120, key
        gaps = [after - before for before, after in pairwise(moments)]
        assert 60 <= min(gaps) <= max(gaps) <= 120, key


def test_identity_comes_first(box: Box, clock: Clock, wall: Clock) -> None:
    """The first poll already shows the name and the model."""
    polled = poller(box, clock, wall, 1)
    polled.poll()
    assert {"model", "variant", "device_name"} <= values(polled).keys()


def test_completeness(box: Box, clock: Clock, wall: Clock) -> None:
    """A poller is complete once every slow key was requested."""
    polled = poller(box, clock, wall)
    seen = []
    for _ in range(8):
        seen.append(polled.complete)
        polls(polled, clock, 1)
    assert seen.index(True) in (6, 7)


def test_v1_is_complete_at_once(simulator: Simulator, clock: Clock, wall: Clock) -> None:
    """An answer of API v1 is complete."""
    box = simulator.add(Charger("V2"))
    polled = poller(box, clock, wall)
    polled.poll()
    assert polled.complete
    assert box.requests == 2


def test_slow_readings_stay_between_the_answers(box: Box, clock: Clock, wall: Clock) -> None:
    """A slow reading is in every snapshot until its key is requested again."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 4)
    for _ in range(30):
        polls(polled, clock, 1)
        assert values(polled)["device_name"] == "garage"


def test_slow_reading_missing_in_the_next_answer_is_absent(clock: Clock, wall: Clock) -> None:
    """A slow key that the next answer lacks has no reading any more."""
    polled = poller(Script({"fna": "garage", "car": 1}, {"car": 1}), clock, wall, 60)
    polled.poll()
    assert values(polled)["device_name"] == "garage"
    clock.now += 60
    for _poll in range(4):
        polled.poll()
    assert "device_name" not in values(polled)
    assert values(polled)["car_state"] == "idle"


def test_another_charger_at_the_same_address(clock: Clock, wall: Clock) -> None:
    """With another serial number, all readings of the former charger are dropped."""
    first = {"sse": "111111", "fna": "garage", "typ": "go-eCharger_V4"}
    polled = poller(Script(first, {"sse": "222222"}), clock, wall, 5)
    polled.poll()
    assert values(polled)["device_name"] == "garage"
    clock.now += 5
    polled.poll()
    assert values(polled)["serial"] == "222222"
    assert {"device_name", "model"}.isdisjoint(values(polled))


def test_swapped_chargers_reach_no_sink(simulator: Simulator, clock: Clock, wall: Clock) -> None:
    """With configured serial numbers, no reading of the other charger reaches a sink."""
    points: list[Poll] = []
    boxes = [simulator.add(Charger("V4", serial=n)) for n in ("111111", "222222")]
    pollers = [
        Poller(
            name, box.address, Client(box.address, serial=serial), serial=serial,
            sink=points.append, clock=clock, wall=wall,
        )
        for name, box, serial in zip(("a", "b"), boxes, ("111111", "222222"), strict=True)
    ]  # fmt: skip
    for polled in pollers:
        polled.poll()
    boxes[0].charger, boxes[1].charger = boxes[1].charger, boxes[0].charger
    for _ in range(4):
        clock.now += 5
        for polled in pollers:
            polled.poll()
    assert [(point.charger, point.serial, point.snapshot is None) for point in points] == [
        ("a", "111111", False), ("b", "222222", False),
        *4 * [("a", "111111", True), ("b", "222222", True)],
    ]  # fmt: skip
    for polled in pollers:
        view = polled.view()
        assert (view.stats.up, view.stats.reason, view.snapshot) == (False, "wrong_device", None)
        assert view.stats.failures == {"wrong_device": 4}
    boxes[0].charger, boxes[1].charger = boxes[1].charger, boxes[0].charger
    for polled in pollers:
        polled.poll()
        assert polled.view().stats.up is True


def test_foreign_type_stays_down(clock: Clock, wall: Clock, speak: Speak) -> None:
    """The type is a slow key, but another device is up in no poll in between."""
    body = b'{"car":1,"amp":16,"typ":"controller"}'

    class Recorded(Client):
        def status(self, keys: Sequence[str]) -> Answer:
            requested.append("typ" in keys)
            return super().status(keys)

    requested: list[bool] = []
    speaker = speak(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    polled = poller(Recorded(speaker.address, "2"), clock, wall)
    polls(polled, clock, 5)
    assert requested == 5 * [True]
    assert polled.view().stats.failures == {"wrong_device": 5}


# A good poll


def test_before_the_first_poll(clock: Clock, wall: Clock) -> None:
    """Before the first poll: neither up nor down, no snapshot, no counts."""
    view = poller(Script({}), clock, wall).view()
    assert (view.name, view.host) == ("garage", "192.0.2.1")
    assert (view.snapshot, view.age) == (None, None)
    stats = view.stats
    assert (stats.up, stats.polls, stats.failures) == (None, 0, {})
    assert (stats.last_success, stats.last_duration) == (None, None)


def test_good_poll(clock: Clock, wall: Clock) -> None:
    """A good poll is up; the snapshot has the arrival time of the answer."""

    class Slow(Script):
        def status(self, keys: tuple[str, ...]) -> Answer:
            clock.now += 0.25
            wall.now += 0.25
            return super().status(keys)

    polled = poller(Slow({"amp": 16, "car": 2}), clock, wall)
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


def test_values_of_the_cloud_have_the_time_of_their_measurement(clock: Clock, wall: Clock) -> None:
    """Points and snapshots have the time of measurement; staleness counts from the arrival."""

    class Cloud(Script):
        def status(self, keys: tuple[str, ...]) -> Answer:
            return super().status(keys)._replace(age_seconds=30.0)

    points: list[Poll] = []
    polled = Poller(
        "garage",
        "h",
        Cloud({"amp": 16}, "timeout"),
        5.0,
        sink=points.append,
        clock=clock,
        wall=wall,
    )
    polled.poll()
    taken = snapshot(polled)
    assert (taken.time, taken.taken, taken.age_seconds) == (1_749_999_970.0, 1000.0, 30.0)
    assert points[-1].time == 1_749_999_970.0
    view = polled.view()
    assert view.stats.last_success == 1_750_000_000.0
    assert (view.age, view.snapshot_age) == (0.0, 30.0)
    clock.now, wall.now = 1015.0, 1_750_000_015.0
    assert values(polled) == {"max_current": 16.0}
    polled.poll()
    assert points[-1].time == 1_750_000_015.0
    clock.now += 1
    view = polled.view()
    assert (view.snapshot, view.age, view.snapshot_age) == (None, 16.0, 46.0)


def test_labels_reach_every_sink(clock: Clock, wall: Clock) -> None:
    """The view and every poll, good or failed, carry the current labels of the charger."""
    polled = poller(Script({"amp": 16}, "busy"), clock, wall)
    assert (polled.view().labels, polled.last_poll().labels) == ({}, {})
    for labels in ({"site": "depot"}, {"feeder": "A1"}):
        polled.labels = labels
        polled.poll()
        assert (polled.view().labels, polled.last_poll().labels) == (labels, labels)
    assert polled.last_poll().snapshot is None


# Identity

IDENTITY = {"serial", "model", "variant", "device_name", "firmware"}


def names(polled: Poller) -> dict[str, object]:
    """Return the texts that a view shows, by channel."""
    readings = polled.view().readings
    return {each.channel.name: each.value for each in readings if each.channel.name in IDENTITY}


def test_identity_stays_while_the_charger_does_not_answer(
    box: Box, clock: Clock, wall: Clock
) -> None:
    """Serial number, model, firmware and name stay during an outage and after it; values do not."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 4)
    assert names(polled) == {
        "serial": "111111",
        "model": "go-eCharger_V4",
        "variant": "22",
        "device_name": "garage",
        "firmware": "56.9",
    }
    before = names(polled)
    box.fault = "busy"
    for _ in range(30):
        polls(polled, clock, 1)
        assert names(polled) == before
    assert (polled.view().snapshot, polled.view().api) == (None, 2)
    assert {each.channel.name for each in polled.view().readings} >= IDENTITY
    assert "power" not in {each.channel.name for each in polled.view().readings}
    assert (polled.last_poll().serial, polled.last_poll().snapshot) == ("111111", None)
    box.fault = None
    for _ in range(20):
        polls(polled, clock, 1)
        assert names(polled) == before


def test_identity_stays_after_an_answer_without_it(clock: Clock, wall: Clock) -> None:
    """An answer without a serial number is not that of another device."""
    whole = {"car": 1, "sse": "111111", "typ": "go-eCharger_V4", "fna": "garage", "fwv": "56.9"}
    polled = poller(Script(whole, {"car": None}, {"car": None, "sse": None}), clock, wall)
    polls(polled, clock, 1)
    before = names(polled)
    assert before["serial"] == "111111"
    polls(polled, clock, 4)
    assert names(polled) == before
    assert polled.last_poll().serial == "111111"


@pytest.mark.parametrize("outage", [0, 1, 10])
@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"sse": "222222", "fwv": "60.5"}, {"serial": "222222", "firmware": "60.5"}),
        ({"sse": "222222"}, {"serial": "222222"}),
    ],
)
def test_another_device_has_nothing_of_the_former_identity(
    clock: Clock, wall: Clock, outage: int, other: dict[str, object], expected: dict[str, object]
) -> None:
    """When another device answers, what was known of the former one is dropped."""
    first = {"car": 1, "sse": "111111", "fwv": "56.9", "fna": "garage", "typ": "go-eCharger_V4"}
    failures = ["timeout"] * outage
    polled = poller(Script(first, *failures, {"car": 1, **other}), clock, wall)
    polls(polled, clock, 1 + outage)
    assert names(polled)["serial"] == "111111"
    polls(polled, clock, 1)
    assert names(polled) == expected
    assert polled.last_poll().serial == expected.get("serial", "")


def test_update_of_the_firmware_during_an_outage(clock: Clock, wall: Clock) -> None:
    """The same charger with other firmware keeps its name and model."""
    first = {"car": 1, "sse": "111111", "fwv": "56.9", "fna": "garage"}
    polled = poller(
        Script(first, "timeout", {"car": 1, "sse": "111111", "fwv": "60.5"}), clock, wall
    )
    polls(polled, clock, 1)
    clock.now += 100
    polls(polled, clock, 2)
    assert names(polled)["firmware"] == "60.5"
    assert names(polled)["serial"] == "111111"


# A failed poll


def test_failed_poll_is_down_at_once(box: Box, clock: Clock, wall: Clock) -> None:
    """The first failed poll sets `up` to False, and keeps the time of the last success."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 1)
    box.fault = "busy"
    polled.poll()
    stats = polled.view().stats
    assert (stats.up, stats.reason, stats.failures_in_row) == (False, "busy", 1)
    assert "api lock" in stats.message
    assert (stats.polls, stats.failures) == (2, {"busy": 1})
    assert stats.last_success == 1_750_000_000.0


def test_failures_are_counted_by_reason(box: Box, clock: Clock, wall: Clock) -> None:
    """Each failed poll is counted once, by its reason."""
    polled = poller(box, clock, wall)
    for fault in ("busy", "hang", "html", "busy", None, "unauthorized"):
        box.fault = fault
        with impatient(polled.client) if fault == "hang" else nullcontext():
            polls(polled, clock, 1)
    box.close()
    polls(polled, clock, 2)
    stats = polled.view().stats
    expected = {"busy": 2, "timeout": 1, "not_json": 1, "unauthorized": 1, "refused": 2}
    assert stats.failures == expected
    assert (stats.polls, stats.failures_in_row) == (8, 3)


def test_charger_that_is_off_at_the_start(box: Box, clock: Clock, wall: Clock) -> None:
    """A charger that never answered is down, has no snapshot, and raises nothing."""
    box.close()
    polled = poller(box, clock, wall)
    polls(polled, clock, 3)
    view = polled.view()
    assert (view.stats.up, view.snapshot, view.age) == (False, None, None)
    assert view.stats.last_success is None


@pytest.mark.parametrize("interval_seconds", [2.0, 5.0, 30.0])
def test_snapshot_is_dropped_after_three_intervals(
    box: Box, clock: Clock, wall: Clock, interval_seconds: float
) -> None:
    """The last readings are shown for exactly three intervals."""
    polled = poller(box, clock, wall, interval_seconds)
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


@pytest.mark.parametrize(
    ("interval_seconds", "seconds"), [(1.0, 5.0), (1.5, 5.5), (2.0, 6.0), (2.5, 7.5), (5.0, 15.0)]
)
def test_slow_answers_do_not_make_readings_flicker(
    clock: Clock, wall: Clock, interval_seconds: float, seconds: float
) -> None:
    """A snapshot stays until the next answer, which may take 4 s after one interval."""
    polled = poller(Script({"amp": 16}), clock, wall, interval_seconds)
    polled.poll()
    clock.now += seconds
    assert values(polled) == {"max_current": 16.0}
    clock.now += 0.01
    assert values(polled) == {}


def test_charger_that_needs_longer_than_three_intervals(clock: Clock, wall: Clock) -> None:
    """With answers after 3.5 s and an interval of 1 s, the readings are always there."""
    shown: list[dict[str, object]] = []

    class Slow(Script):
        def status(self, keys: tuple[str, ...]) -> Answer:
            for _ in range(35):
                clock.now += 0.1
                shown.append(values(polled))
            return super().status(keys)

    polled = poller(Slow({"amp": 16}), clock, wall, 1.0)
    for _ in range(4):
        polled.poll()
        clock.now += 0.5
        shown.append(values(polled))
    assert shown == 35 * [{}] + (len(shown) - 35) * [{"max_current": 16.0}]


def test_snapshot_is_dropped_while_a_poll_hangs(clock: Clock, wall: Clock) -> None:
    """The age of readings depends on the clock, not on the next poll, which may hang."""
    polled = poller(Script({"amp": 16}), clock, wall)
    polled.poll()
    clock.now += 15.001
    assert polled.view().snapshot is None
    assert polled.view().stats.up is True


def test_busy_second_request(clock: Clock, wall: Clock) -> None:
    """At a long interval a second request fetches slow keys; its failure costs no live value."""

    class Busy(Script):
        def status(self, keys: tuple[str, ...]) -> Answer:
            if "amp" not in keys:
                raise ChargerError("busy", "couldn't take api lock")
            return super().status(keys)

    polled = poller(Busy({"car": 1, "amp": 16}), clock, wall, 60.0)
    polls(polled, clock, 3)
    assert (polled.view().stats.up, values(polled)["max_current"]) == (True, 16.0)


def test_recovery(box: Box, clock: Clock, wall: Clock) -> None:
    """After an outage one good poll is up with new readings; the counts remain."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 1)
    box.fault = "unavailable"
    polls(polled, clock, 5)
    box.fault = None
    box.charger.amp = 10
    wall.now += 1000
    polled.poll()
    view = polled.view()
    assert (view.stats.up, view.stats.reason, view.stats.message) == (True, "", "")
    assert (view.stats.failures, view.stats.failures_in_row) == ({"http_status": 5}, 0)
    assert view.stats.last_success == 1_750_001_000.0
    assert values(polled)["max_current"] == 10


def test_slow_readings_are_dropped_after_an_outage(box: Box, clock: Clock, wall: Clock) -> None:
    """After an outage, which may have replaced the charger, no old reading is shown."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 4)
    assert values(polled)["device_name"] == "garage"
    box.fault = "busy"
    polls(polled, clock, 4)
    box.charger = Charger("V4", name="carport", serial="222222")
    box.fault = None
    for _ in range(4):
        polls(polled, clock, 1)
        assert values(polled)["serial"] == "222222"
        assert values(polled).get("device_name") in (None, "carport")
    assert values(polled)["device_name"] == "carport"


def test_slow_readings_survive_one_failure(box: Box, clock: Clock, wall: Clock) -> None:
    """One failed poll drops no slow reading."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 4)
    box.fault = "busy"
    polls(polled, clock, 1)
    box.fault = None
    polls(polled, clock, 1)
    assert values(polled)["device_name"] == "garage"


# Another charger


def test_v2_then_v1_leaves_no_v2_reading(box: Box, clock: Clock, wall: Clock) -> None:
    """After a replacement by V2 hardware, no reading is shown that only API v2 has."""
    polled = poller(box, clock, wall)
    polls(polled, clock, 4)
    assert ONLY_V2 - {"pv_power"} <= values(polled).keys()
    box.charger, box.api = Charger("V2", serial="333333"), "both"
    polls(polled, clock, 1)
    assert snapshot(polled).api == 1
    assert values(polled)["serial"] == "333333"
    assert not ONLY_V2 & values(polled).keys()


def test_v1_then_v2_shows_nothing_of_an_earlier_v2(box: Box, clock: Clock, wall: Clock) -> None:
    """Readings of a v2 charger are not shown again after a time with v1."""
    polled = poller(box, clock, wall)
    box.charger.reboots = 77
    polls(polled, clock, 4)
    box.api = "1"
    polls(polled, clock, 30)
    box.charger, box.api = Charger("V3", name="carport", serial="222222"), "2"
    for _ in range(4):
        polls(polled, clock, 1)
        shown = values(polled)
        assert (snapshot(polled).api, shown["serial"]) == (2, "222222")
        assert shown.get("device_name") in (None, "carport")
        assert shown.get("model") in (None, "go-eCharger")
        assert shown.get("variant") in (None, "11")
        assert shown.get("reboots") in (None, 1)
    assert values(polled)["device_name"] == "carport"


# Bad values


def test_bad_value_affects_one_channel(clock: Clock, wall: Clock) -> None:
    """A value that cannot be decoded is absent and counted by key; other values remain."""
    polled = poller(
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


def test_bad_slow_value_is_counted_per_answer(clock: Clock, wall: Clock) -> None:
    """An undecodable slow key is counted once for each answer that contains it."""

    class OnlyAsked(Script):
        def status(self, keys: tuple[str, ...]) -> Answer:
            return Answer(2, {"fna": 5.5} if "fna" in keys else {})

    polled = poller(OnlyAsked({}), clock, wall)
    polls(polled, clock, 24)
    assert polled.view().stats.decode_failures == {"fna": 2}


def test_bad_value_of_v1_is_counted(clock: Clock, wall: Clock) -> None:
    """An undecodable value of API v1 is counted by its v2 key."""
    polled = poller(Script({"amp": "x", "car": 2}, api=1), clock, wall)
    polls(polled, clock, 2)
    assert polled.view().stats.decode_failures == {"amp": 2}
    assert values(polled) == {"car_state": "charging"}


# The time of plug-in


def test_time_of_plug_in(clock: Clock, wall: Clock) -> None:
    """It is the same in every poll, although answers take more or less time."""
    answers = [
        {"lccfi": 30_000, "rbt": 60_000 + milliseconds}
        for milliseconds in (0, 4_700, 10_400, 15_000, 19_100)
    ]
    polled = poller(Script(*answers), clock, wall)
    found = set()
    for _ in answers:
        polled.poll()
        found.add(values(polled)["plug_in_timestamp"])
        clock.now += 5
        wall.now += 5
    # started 60 s before the first poll, plugged in 30 s later
    assert found == {1_750_000_000.0 - 60 + 30}


def test_time_of_plug_in_after_a_restart(clock: Clock, wall: Clock) -> None:
    """After a restart it is absent, until the next car is plugged in."""
    answers: list[dict[str, object]] = [
        {"lccfi": 30_000, "rbt": 60_000},
        {"lccfi": None, "rbt": 5_000},
        {"lccfi": 95_000, "rbt": 105_000},
    ]
    polled = poller(Script(*answers), clock, wall)
    found = []
    for _ in answers:
        polled.poll()
        found.append(values(polled).get("plug_in_timestamp"))
        clock.now += 100
        wall.now += 100
    assert found == [1_749_999_970.0, None, 1_750_000_190.0]


def test_time_of_plug_in_of_a_simulated_car(
    simulator: Simulator, clock: Clock, wall: Clock
) -> None:
    """A car plugged in a minute ago, by the charger's own clock."""
    charger = Charger("V4")
    charger.advance(100)
    charger.plug(Car())
    charger.advance(60)
    polled = poller(simulator.add(charger, api="2"), clock, wall)
    polled.poll()
    found = values(polled)["plug_in_timestamp"]
    assert isinstance(found, float)
    # The simulated charger's clock runs on, twenty times as fast, until it answers.
    assert 1_750_000_000 - 60 - 20 * PATIENCE_SECONDS <= found <= 1_750_000_000 - 60


# Meters


def energies(polled: Poller, clock: Clock, count: int) -> list[object]:
    """Return the energy after each of `count` polls, one interval apart."""
    found: list[object] = []
    for _ in range(count):
        polled.poll()
        found.append(values(polled).get("energy"))
        clock.now += polled.interval_seconds
    return found


@pytest.mark.parametrize("api", [1, 2])
def test_meter_that_rises_too_fast(clock: Clock, wall: Clock, api: int) -> None:
    """A value that no power explains is absent and counted once; other readings stay."""
    answers = [{"eto": eto, "amp": 16} for eto in (1000, 1010, 9_000_000, 1020)]
    polled = poller(Script(*answers, api=api), clock, wall)
    assert energies(polled, clock, 3) == [1000, 1010, None]
    assert values(polled) == {"max_current": 16.0}
    assert polled.view().stats.decode_failures == {"eto": 1}
    assert energies(polled, clock, 1) == [1020]
    assert polled.view().stats.decode_failures == {"eto": 1}


def test_meter_that_was_replaced(clock: Clock, wall: Clock) -> None:
    """The third poll that agrees is accepted, and counted once."""
    polled = poller(Script({"eto": 1000}, {"eto": 9_000_000}), clock, wall)
    assert energies(polled, clock, 5) == [1000, None, None, 9_000_000, 9_000_000]
    assert polled.view().stats.decode_failures == {"eto": 1}


def test_slow_meter_that_rises_too_fast(clock: Clock, wall: Clock) -> None:
    """The energy of a card, requested once a minute, is checked in that poll only."""
    energy_by_minute = [1000, 1300, 9_000_000, 9_000_000, 9_000_000]

    class Minutes(Script):
        def status(self, _keys: tuple[str, ...]) -> Answer:
            return Answer(2, {"car": 2, "c0e": energy_by_minute[int(clock.now - 1000) // 60]})

    polled = poller(Minutes({}), clock, wall, 60)
    found = []
    for _ in energy_by_minute:
        polled.poll()
        found.append(values(polled).get("card_energy"))
        clock.now += 60
    assert found == [1000, 1300, None, None, 9_000_000]
    assert polled.view().stats.decode_failures == {"c0e": 1}


@pytest.mark.parametrize("device", ["111111", "222222"])
def test_meter_is_not_checked_across_a_gap(clock: Clock, wall: Clock, device: str) -> None:
    """After three intervals without an answer, any value is accepted; so is another charger's."""
    first, second = {"eto": 1000, "sse": "111111"}, {"eto": 9_000_000, "sse": device}
    failures = ["timeout"] * 3 if device == "111111" else []
    polled = poller(Script(first, *failures, second), clock, wall)
    energies(polled, clock, 1 + len(failures))
    clock.now += 0.001
    assert energies(polled, clock, 1) == [9_000_000]
    assert polled.view().stats.decode_failures == {}


def test_meter_is_checked_after_one_failure(clock: Clock, wall: Clock) -> None:
    """A single failed poll is not a gap."""
    polled = poller(Script({"eto": 1000}, "busy", {"eto": 9_000_000}), clock, wall)
    assert energies(polled, clock, 3) == [1000, 1000, None]


def test_meter_is_not_checked_across_a_restart(clock: Clock, wall: Clock) -> None:
    """When the charger has restarted, a firmware update may have corrected its meter."""
    before, after = {"eto": 1000, "rbt": 90_000_000}, {"eto": 9_000_000, "rbt": 20_000}
    polled = poller(Script(before, after), clock, wall)
    assert energies(polled, clock, 2) == [1000, 9_000_000]


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
    """From the third failure in a row the wait doubles, up to 60 s or a longer interval."""
    polled = poller(Script("timeout"), clock, wall, interval_seconds)
    assert polled.wait_seconds == interval_seconds
    seen = []
    for _ in waits:
        polled.poll()
        seen.append(polled.wait_seconds)
    assert seen == waits


def test_back_off_never_overflows(clock: Clock, wall: Clock) -> None:
    """After thousands of failures the wait is 60 s."""
    polled = poller(Script("refused"), clock, wall)
    for _ in range(3000):
        polled.poll()
    assert polled.wait_seconds == 60


def test_one_success_ends_the_back_off(clock: Clock, wall: Clock) -> None:
    """After a success the failures are counted from one again."""
    script = Script(*["timeout"] * 5, {"amp": 16}, *["timeout"] * 3)
    polled = poller(script, clock, wall)
    seen = []
    for _ in range(9):
        polled.poll()
        seen.append(polled.wait_seconds)
    assert seen == [5, 5, 10, 20, 40, 5, 5, 5, 10]


# The log


def test_outage_is_logged_when_it_begins_and_when_it_ends(
    records: list[logging.LogRecord], clock: Clock, wall: Clock
) -> None:
    """An outage is logged when it begins and when it ends."""
    good: dict[str, object] = {"amp": 16}
    outage = ["timeout"] * 12
    polled = poller(Script(good, good, *outage, *[good] * 12, *["dns"] * 12, good), clock, wall)
    polls(polled, clock, 2)
    assert records == []
    polls(polled, clock, 12)
    assert [(each.levelname, each.getMessage()) for each in records] == [("WARNING", "poll failed")]
    assert records[0].__dict__["values"] == {
        "charger": "garage",
        "reason": "timeout",
        "error": "scripted failure: timeout",
    }
    polls(polled, clock, 2)
    assert [(each.levelname, each.getMessage()) for each in records[1:]] == [
        ("INFO", "poll succeeded again")
    ]
    assert records[1].__dict__["values"] == {"charger": "garage", "failures": 12}
    polls(polled, clock, 23)
    assert len(records) == 4


def test_charger_off_at_the_start_is_logged_once(
    records: list[logging.LogRecord], clock: Clock, wall: Clock
) -> None:
    """An outage that began before the start is logged once."""
    polls(poller(Script("refused"), clock, wall), clock, 5)
    assert [each.getMessage() for each in records] == ["poll failed"]


def test_undecodable_value_is_logged_once(
    records: list[logging.LogRecord], clock: Clock, wall: Clock
) -> None:
    """Undecodable keys are logged the first time, without their values."""
    polled = poller(Script({"amp": "s3cret", "car": "s3cret"}), clock, wall)
    polls(polled, clock, 5)
    assert [each.getMessage() for each in records] == ["value could not be decoded"]
    assert records[0].__dict__["values"] == {"charger": "garage", "key": "amp,car"}
    assert "s3cret" not in str([each.__dict__ for each in records])


# Concurrency


def test_view_is_consistent(clock: Clock, wall: Clock) -> None:
    """A view always belongs to one poll: its statistics and its snapshot fit together."""

    class Turns(Script):
        polls = 0

        def status(self, keys: tuple[str, ...]) -> Answer:
            self.polls += 1
            wall.now += 1
            if self.polls % 3 == 0:
                raise ChargerError("busy", "every third")
            return super().status(keys)

    polled = poller(Turns({"amp": 16}), clock, wall)
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
def test_rare_polls_request_everything(
    box: Box, clock: Clock, wall: Clock, interval_seconds: float
) -> None:
    """With an interval of a minute or more, each poll requests all rows in two requests."""
    client = Client(box.address)
    poller = Poller("garage", box.address, client, interval_seconds, clock=clock, wall=wall)
    for count in range(1, 4):
        poller.poll()
        assert poller.complete
        assert box.requests == 2 * count
        requested = [unquote(target).partition("filter=")[2].split(",") for _, target in box.log]
        assert set(requested[-1] + requested[-2]) >= SLOW_KEYS | LIVE_KEYS
        assert max(map(len, requested)) <= 35
        clock.now += interval_seconds
