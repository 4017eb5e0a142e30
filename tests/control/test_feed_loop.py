"""Mode `feed` with a simulated charger and meter, over real sockets, in a time of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from log_records import recorded
from surplus_home import SERIAL, Clock, ClockedSource, Street

from goe_exporter.charger.client import Client
from goe_exporter.control.feed_loop import Feed
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.place import Place
from goe_exporter.errors import ChargerError
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.view import Poll
from goe_exporter.surplus.config import GridConfig, SourceConfig
from goe_exporter.surplus.feed import FeedRule
from goe_exporter.surplus.json_source import JsonSource
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.surplus.source import Reading, Source, SourceError

REFRESH_S = 5.0
MAX_GAP_S = 5.0
"""The charger needs the powers at least this often (docs/protocol.md §3.12)."""


class Busy(Client):
    """A client of a charger that is busy with a poll until `busy_until`, and may hang.

    `accepted` are the times at which the charger has accepted powers, `hanging` the times between
    which a request to it takes 4 s and fails, `failing` whether each fails at once.
    """

    def __init__(self, clock: Clock, host: str) -> None:
        super().__init__(host, serial=SERIAL)
        self.clock = clock
        self.busy_until = 0.0
        self.hanging = (0.0, 0.0)
        self.hung = 0
        self.failing = False
        self.failures = 0
        self.accepted: list[float] = []

    @property
    def is_hanging(self) -> bool:
        return self.hanging[0] <= self.clock.now < self.hanging[1]

    def write(self, api: int, key: str, value: object, *, serial_checked: bool = False) -> None:
        self.clock.now = max(self.clock.now, self.busy_until)
        if self.is_hanging:
            self.clock.now += 4
            self.hung += 1
            raise ChargerError("timeout", "no answer within 4 s")
        if self.failing:
            self.failures += 1
            raise ChargerError("http_status", "HTTP 403")
        super().write(api, key, value, serial_checked=serial_checked)
        self.accepted.append(self.clock.now)


class Fed:
    """An exporter's poller and feeding loop; a poll every 5 s keeps the charger busy `poll_s`."""

    def __init__(self, street: Street, *, known_age: bool = True, poll_s: float = 0.0) -> None:
        self.street, self.clock, self.poll_s = street, street.clock, poll_s
        self.slept_s = 0.0
        host, meter = street.box.address, f"http://{street.meter.address}"
        self.client = Busy(self.clock, host)
        self.inputs = Inputs(self._sources(meter, known_age=known_age), self.clock)
        self.rule = FeedRule(60.0, REFRESH_S)
        place = Place("garage", host, lambda: self.client, lambda: self.client)
        self.feed = Feed(
            place, self.rule, self.inputs, self.clock, self._wait, lambda: self.slept_s
        )
        self.poller = Poller(
            "garage",
            host,
            self.client,
            REFRESH_S,
            serial=SERIAL,
            clock=self.clock,
            wall=self.clock.wall,
            sink=self.feed.take,
        )
        self.polled_at = self.clock.now
        self.until = self.clock.now
        self.shown: list[tuple[float, float | None]] = []

    def _sources(self, meter: str, *, known_age: bool) -> dict[str, Any]:
        if known_age:
            return {
                name: ClockedSource(
                    PrometheusSource(
                        name,
                        SourceConfig(prometheus=meter, query=f"house_{power}_power_watts"),
                    ),
                    self.clock,
                )
                for name, power in (("grid", "grid"), ("battery", "battery"), ("pv", "solar"))
            }
        document = GridConfig(json=f"{meter}/rpc/EM.GetStatus?id=0", path="total_act_power")
        return {"grid": ClockedSource(JsonSource("grid", document), self.clock)}

    def _wait(self, seconds: float) -> bool:
        """Let time pass, with the polls that are due."""
        end = self.clock.now + seconds
        while self.polled_at <= end:
            self.clock.now = max(self.clock.now, self.polled_at)
            self.polled_at += REFRESH_S
            self.poller.poll()
            poll_s = 4.0 if self.client.is_hanging else self.poll_s
            self.client.busy_until = self.clock.now + poll_s
            snapshot = self.poller.view().snapshot
            self.shown += [
                (self.clock.now, each.value)
                for each in (snapshot.readings if snapshot is not None else ())
                if each.channel.name == "pv_grid_power"
            ]
        self.clock.now = max(self.clock.now, end)
        return self.clock.now >= self.until

    def run(self, seconds: float) -> None:
        """Run for a time; the loop begins anew, as it would after its end."""
        self.until = self.clock.now + seconds
        self.feed.run()

    @property
    def state(self) -> str:
        return self.feed.vitals().state

    @property
    def reason(self) -> str:
        return self.feed.vitals().reason

    def gap(self) -> float:
        """Return the longest time (s) without powers since the first ones."""
        return max(after - before for before, after in pairwise(self.client.accepted))

    def sent(self) -> int:
        """Return the number of requests with powers that the charger has received."""
        targets = [target for _, target in self.street.box.log]
        assert all("/api/set" not in each or "/api/set?ids=" in each for each in targets)
        return sum("/api/set" in each for each in targets)


@pytest.fixture
def street() -> Iterator[Street]:
    """A house at 11 o'clock on a sunny day, with a car."""
    street = Street("sunny", start_hour=11)
    yield street
    street.close()


def events(kept: list[Any], event: str) -> list[dict[str, Any]]:
    return [getattr(record, "values", {}) for record in kept if record.getMessage() == event]


def test_the_charger_gets_the_powers(street: Street) -> None:
    """They are those of the meter, and the only thing that is written; each request is counted."""
    fed = Fed(street)
    fed.run(600)
    vitals = fed.feed.vitals()
    assert fed.state == "feeding"
    assert dict(street.charger.writes) == {"ids": fed.sent()} == dict(vitals.writes)
    assert street.box.requests == fed.poller.view().stats.polls + fed.sent()
    assert not vitals.write_failures
    target = next(target for _, target in street.box.log if "/api/set" in target)
    number = r"-?[0-9]+\.[0-9]"
    assert re.fullmatch(
        rf"/api/set\?ids=%7B%22pGrid%22%3A{number}%2C%22pPv%22%3A{number}%2C%22pAkku%22%3A{number}%7D",
        target,
    )
    measured = street.house.meter.shown
    assert measured is not None
    assert set(street.charger.pv_w) == {"pGrid", "pPv", "pAkku"}
    assert street.charger.pv_w["pPv"] == pytest.approx(measured.solar_w, abs=100)
    assert measured.solar_w > 1000
    assert [(each.name, each.up) for each in vitals.sources] == [
        ("grid", True),
        ("battery", True),
        ("pv", True),
    ]


def test_gap_while_polls_take_long(street: Street) -> None:
    """A poll may take 0.9 s of every 5 s: the charger never waits longer than 5 s."""
    fed = Fed(street, poll_s=0.9)
    fed.run(1200)
    assert len(fed.client.accepted) > 280
    assert fed.gap() <= MAX_GAP_S
    first = fed.client.accepted[0] + 2
    assert len([at for at, _ in fed.shown if at > first]) > 200
    assert None not in [grid_w for at, grid_w in fed.shown if at > first]
    assert fed.state == "feeding"


@pytest.mark.parametrize("fault", ["busy", "reset", "unavailable", "truncated", "html"])
def test_gap_with_a_fault(street: Street, fault: str) -> None:
    """Every fourth request fails at once, and is repeated before 5 s have passed."""
    fed = Fed(street)
    fed.run(60)
    street.box.fault, street.box.fault_every = fault, 4
    fed.run(300)
    assert fed.gap() <= MAX_GAP_S
    vitals = fed.feed.vitals()
    assert dict(vitals.writes) == {"ids": len(fed.client.accepted)}
    # With the checks of the serial number that failed, after which nothing is sent.
    assert sum(vitals.write_failures.values()) >= fed.sent() - len(fed.client.accepted) > 10


def test_an_outage_is_not_named_twice(street: Street) -> None:
    """A charger that does not answer at all is unreachable; nothing is missing in its polls."""
    fed = Fed(street)
    fed.run(60)
    street.box.fault = "reset"
    with recorded() as kept:
        fed.run(60)
    assert fed.state == "unreachable"
    assert not events(kept, "surplus write not confirmed, repeated")


def test_a_charger_that_hangs_during_a_poll(street: Street) -> None:
    """A request that waits 4 s for a poll and then takes 4 s to fail is no fault of the meters."""
    fed = Fed(street)
    fed.run(60)
    hangs_at = fed.clock.now + 20
    fed.client.hanging = (hangs_at, hangs_at + 5)
    with recorded() as kept:
        fed.run(60)
    assert fed.client.hung
    assert not events(kept, "surplus unknown")
    assert fed.state == "feeding"


def test_a_fault_that_lasts(street: Street) -> None:
    """Each 4 s the powers are read once, and sent twice: the repetition has had its chance.

    The polls succeed, as they do when the charger or something before it refuses only writes.
    """
    fed = Fed(street)
    fed.run(60)
    fed.client.failing = True
    read, failed_at = street.meter.requests, fed.clock.now
    fed.run(300)
    assert fed.client.failures == pytest.approx(2 * 300 / 4, abs=2)
    assert street.meter.requests - read <= 3 * (300 / 4 + 1)
    assert (fed.state, fed.feed.vitals().write_failures["http_status"]) == (
        "unconfirmed",
        fed.client.failures,
    )
    fed.client.failing = False
    fed.run(60)
    assert fed.state == "feeding"
    assert fed.client.accepted[-1] > failed_at + 340


def test_a_charger_that_hangs(street: Street) -> None:
    """Powers that take 4 s to fail are read and sent again at once."""
    fed = Fed(street)
    fed.run(60)
    hangs_at = fed.clock.now
    fed.client.hanging = (hangs_at, hangs_at + 3)
    fed.run(60)
    assert fed.client.hung == 1
    assert fed.gap() == pytest.approx(4 + 4)
    assert dict(fed.feed.vitals().write_failures) == {"timeout": 1}


@pytest.mark.parametrize("fault", ["dead", "frozen", "repeating"])
def test_a_meter_that_fails(street: Street, fault: str) -> None:
    """Nothing is sent after 10 s without a value, 60 s with an old one, 5 minutes with one value.

    Then the charger shows no power, and nothing is left behind.
    """
    fed = Fed(street, known_age=fault != "repeating")
    fed.run(60)
    street.house.meter.fault = fault
    failed_at = fed.clock.now
    with recorded() as kept:
        fed.run(600)
    limit_s = {"dead": 14, "frozen": 64, "repeating": 310}[fault]
    assert fed.client.accepted[-1] - failed_at <= limit_s
    assert fed.client.accepted[-1] - failed_at >= limit_s - 16
    assert fed.state == "blind"
    assert fed.reason == ("frozen" if fault == "repeating" else "stale")
    assert fed.shown[-1][0] < failed_at + limit_s + 8
    assert len(events(kept, "surplus unknown")) == 1
    street.house.meter.fault = None
    fed.run(60)
    assert fed.state == "feeding"


class Late:
    """A source that does not answer within its time from a moment on."""

    name = "grid"

    def __init__(self, inner: Source, clock: Clock, since: float) -> None:
        self._inner, self._clock, self._since = inner, clock, since

    def read(self, until: float) -> Reading:
        if self._clock.now < self._since:
            return self._inner.read(until)
        assert until == self._clock.now + 2
        self._clock.now = until
        raise SourceError("timeout", "grid: no answer within 2 s")


def test_a_meter_that_hangs_delays_nothing(street: Street) -> None:
    """The powers are sent when they are due, for 10 s with the value before."""
    fed = Fed(street)
    since = fed.clock.now + 60
    fed.inputs._sources["grid"] = Late(fed.inputs._sources["grid"], fed.clock, since)
    fed.run(120)
    assert [at for at in fed.client.accepted if since < at <= since + 8]
    assert fed.client.accepted[-1] < since + 12
    assert fed.gap() <= MAX_GAP_S
    assert fed.state == "blind"


def test_a_source_that_is_late_at_the_start(street: Street) -> None:
    """It is no fault: a source may be this process, whose Controller has not answered yet."""
    fed = Fed(street)
    inner, reads = fed.inputs._sources["grid"], 0

    class Starting(Late):
        def read(self, until: float) -> Reading:
            nonlocal reads
            reads += 1
            if reads == 1:
                raise SourceError("no_value", "grid: the answer has no value")
            return inner.read(until)

    fed.inputs._sources["grid"] = Starting(inner, fed.clock, 0.0)
    with recorded() as kept:
        fed.run(20)
    assert fed.state == "feeding"
    assert not [
        event for event in ("surplus source failed", "surplus unknown") if events(kept, event)
    ]
    assert [dict(each.failures) for each in fed.feed.vitals().sources] == [{}, {}, {}]


def test_a_battery_that_fails(street: Street) -> None:
    """It is left out, and is no 0."""
    fed = Fed(street)
    fed.run(60)
    assert "pAkku" in street.charger.pv_w
    del fed.inputs._sources["battery"]
    fed.run(60)
    assert set(street.charger.pv_w) == {"pGrid", "pPv"}


def test_without_a_car(street: Street) -> None:
    """Neither the meter nor the charger receives anything but polls."""
    street.leave()
    fed = Fed(street)
    fed.run(120)
    assert fed.state == "no_car"
    assert (fed.sent(), street.meter.requests) == (0, 0)


def test_a_firmware_that_does_not_know_the_key(street: Street) -> None:
    """It is named once, after three requests, and tried once a minute."""
    street.charger.refused_keys.add("ids")
    fed = Fed(street)
    with recorded() as kept:
        fed.run(600)
    assert fed.state == "not_supported"
    assert 11 <= fed.sent() <= 13
    assert dict(fed.feed.vitals().write_failures) == {"rejected": fed.sent()}
    lines = events(kept, "powers not accepted by the charger, mode feed not supported")
    assert len(lines) == 1
    failed = events(kept, "surplus write failed")
    assert len(failed) == 1
    assert failed[0]["reason"] == "rejected"
    assert "refused ids=" in failed[0]["error"]
    street.charger.refused_keys.clear()
    fed.run(90)
    assert fed.state == "feeding"


def test_a_charger_without_api_v2(street: Street) -> None:
    """Nothing is sent to it."""
    street.box.api = "1"
    fed = Fed(street)
    fed.run(60)
    assert fed.state == "not_supported"
    assert fed.sent() == 0


def test_a_charger_without_the_state_of_the_car(street: Street) -> None:
    """The log says why nothing is sent, although the charger answers every poll."""
    fed = Fed(street)

    def without(poll: Poll) -> None:
        snapshot = poll.snapshot
        assert snapshot is not None
        readings = (each for each in snapshot.readings if each.channel.name != "car_state")
        fed.feed.take(replace(poll, snapshot=snapshot._replace(readings=tuple(readings))))

    fed.poller._sink = without
    with recorded() as kept:
        fed.run(60)
    assert fed.sent() == 0
    (line,) = events(kept, "values for surplus charging missing")
    assert (line["charger"], line["reason"]) == ("garage", "car_state")


def test_another_charger_at_the_address(street: Street) -> None:
    """It gets nothing: no poll succeeds."""
    street.charger.serial = "999999"
    fed = Fed(street)
    fed.run(60)
    assert fed.state == "unreachable"
    assert fed.sent() == 0


def test_another_charger_takes_the_address(street: Street) -> None:
    """It gets nothing from the first poll that fails on: the serial number is checked."""
    fed = Fed(street)
    fed.run(60)
    street.charger.serial = "999999"
    fed.poller.poll()
    sent = fed.sent()
    fed.run(60)
    assert fed.sent() == sent
    assert set(fed.feed.vitals().write_failures) == {"wrong_device"}
    assert fed.state == "unreachable"
    street.charger.serial = SERIAL
    fed.run(60)
    assert fed.state == "feeding"


def test_polls_that_fail_now_and_then(street: Street) -> None:
    """A failed poll right after a good one hides nothing from the loop."""
    fed = Fed(street)
    fed.run(60)
    take, failed = fed.feed.take, replace(fed.poller.last_poll(), snapshot=None)

    def twice(poll: Poll) -> None:
        take(poll)
        take(failed)

    fed.poller._sink = twice
    with recorded() as kept:
        fed.run(120)
    assert fed.state == "feeding"
    assert not events(kept, "surplus charging suspended, charger unreachable")
    assert fed.gap() <= MAX_GAP_S


def test_sleep(street: Street) -> None:
    """What was read before the machine slept is not sent afterwards, also if no source answers.

    The clock of the loop does not count the time asleep, so every value seems to be fresh.
    """
    fed = Fed(street)
    fed.run(60)
    street.house.meter.fault = "dead"
    fed.slept_s = 3600.0
    sent = fed.sent()
    fed.run(60)
    assert fed.sent() == sent
    assert fed.state == "blind"
    street.house.meter.fault = None
    fed.run(60)
    assert fed.state == "feeding"


def test_sleep_between_read_and_request(street: Street) -> None:
    """Powers that were read before are not sent, and the charger is polled before any are."""
    fed = Fed(street)
    fed.run(60)
    sent, polls = fed.sent(), fed.poller.view().stats.polls
    inner = fed.inputs._sources["grid"]

    class Last(Late):
        def read(self, until: float) -> Reading:
            reading = inner.read(until)
            if self._clock.now >= self._since and not fed.slept_s:
                fed.slept_s = 3600.0
            return reading

    fed.inputs._sources["grid"] = Last(inner, fed.clock, fed.clock.now)
    fed.run(3.5)
    assert (fed.sent(), fed.poller.view().stats.polls) == (sent, polls)
    assert fed.state == "feeding"
    fed.run(30)
    assert fed.sent() > sent
    assert fed.poller.view().stats.polls > polls


def test_a_charger_that_accepts_and_ignores(street: Street) -> None:
    """After three polls the state says that the charger does not show the powers."""
    street.charger.ignored_keys.add("ids")
    fed = Fed(street)
    with recorded() as kept:
        fed.run(60)
    assert fed.state == "unconfirmed"
    assert len(events(kept, "surplus write not confirmed, repeated")) == 1
    assert fed.gap() <= MAX_GAP_S


def test_preconditions(street: Street) -> None:
    """Each setting with which the charger ignores the powers is named once, until it changes."""
    street.write("amp", 6)
    street.write("frc", 2)
    fed = Fed(street)
    with recorded() as kept:
        fed.run(240)
    hints = [line["hint"] for line in events(kept, "charger not prepared for surplus charging")]
    force = "force-state is on, so the charger does not decide itself."
    assert sorted(hints) == [
        f"{force} goe-exporter set garage force-state neutral",
        "logic-mode is default; set it to Eco in the app, which is awattar here.",
        "max-current is 6 A, and the charger never exceeds it.",
        "pv-surplus-enabled is off; switch it on in the app.",
    ]
    for key, value in (("lmo", 4), ("fup", True), ("amp", 16), ("frc", 0)):
        street.write(key, value)
    fed.run(240)
    with recorded() as kept:
        street.write("frc", 1)
        fed.run(60)
    hints = [line["hint"] for line in events(kept, "charger not prepared for surplus charging")]
    assert len(hints) == 1
    assert hints[0].startswith("force-state is off")


def test_preconditions_after_an_outage(street: Street) -> None:
    """They are not named again, although the first polls after it lack some settings."""
    fed = Fed(street)
    with recorded() as kept:
        fed.run(240)
        for fault in ("reset", None, "reset", None):
            street.box.fault = fault
            fed.run(240)
    hints = [line["hint"] for line in events(kept, "charger not prepared for surplus charging")]
    assert sorted(hints) == [
        "logic-mode is default; set it to Eco in the app, which is awattar here.",
        "pv-surplus-enabled is off; switch it on in the app.",
    ]


def test_end(street: Street) -> None:
    """The loop ends at once, without another request, and the charger forgets the powers."""
    fed = Fed(street)
    fed.run(60)
    requests = street.box.requests
    ended = Feed(
        Place("garage", "", lambda: fed.client, lambda: fed.client), fed.rule, fed.inputs, fed.clock
    )
    ended.stop(fed.clock.now)
    ended.run()
    assert street.box.requests == requests
    fed.clock.now += 8
    fed.poller.poll()
    assert "pv_grid_power" not in {
        each.channel.name
        for each in fed.poller.last_poll().snapshot.readings  # type: ignore[union-attr]
    }


def test_internal_error(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged and counted, and nothing is sent any more."""
    fed = Fed(street)

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fed.rule, "decided", broken)
    with recorded() as kept:
        fed.until = fed.clock.now + 60
        fed.feed._run()
    assert len([record for record in kept if record.exc_info]) == 1
    assert (fed.state, fed.feed.vitals().internal_errors) == ("unknown", 1)
    assert not fed.feed.is_stalled()
    assert fed.sent() == 0
