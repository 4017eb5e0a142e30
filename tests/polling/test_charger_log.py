"""The log of a charger: at most one line a minute, and nothing stays unsaid."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from log_records import recorded

from goe_exporter import logs
from goe_exporter.channels.snapshot import Answer
from goe_exporter.charger.client import Client
from goe_exporter.errors import ChargerError
from goe_exporter.polling.charger_log import ChargerLog
from goe_exporter.polling.poller import Poller
from goe_exporter.simulator import Charger, Simulator

Line = tuple[float, str, dict[str, Any]]


class Watched:
    """A charger's log and its lines, each with the time, the event and its values."""

    def __init__(self) -> None:
        self.clock = Clock(0.0)
        self.log = ChargerLog("garage", self.clock)
        self.lines: list[Line] = []
        self.records: list[logging.LogRecord] = []

    def after(self, step: Callable[[], object], seconds: float = 1.0) -> None:
        """Take a step, collect its lines, and let time pass."""
        with recorded() as kept:
            step()
        self.records += kept
        for each in kept:
            values = dict(each.__dict__["values"])
            assert values.pop("charger") == "garage"
            self.lines.append((self.clock.now, each.getMessage(), values))
        self.clock.now += seconds

    def poll(self, outcome: str = "", keys: Iterable[str] = (), seconds: float = 1.0) -> None:
        """Log a poll that failed for a reason, or succeeded."""
        if outcome:
            self.after(lambda: self.log.failed(ChargerError(outcome, f"{outcome}!")), seconds)
        else:
            self.after(lambda: self.log.succeeded(keys), seconds)

    def told(self) -> str:
        """Return the reason of the last line about the polls, "" if they succeed."""
        about = [values for _time, event, values in self.lines if event.startswith("poll ")]
        return about[-1].get("reason", "") if about else ""


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_every_second_poll_fails() -> None:
    """A charger that fails every second poll for ten minutes gets ten lines, with counts."""
    watched, wall = Watched(), Clock(1_780_000_000.0)
    with Simulator(clock=lambda: 1000.0) as simulator:
        box = simulator.add(Charger("V4"), api="2")
        box.fault, box.fault_every = "unauthorized", 2
        polled = Poller(
            "garage", box.address, Client(box.address), 1.0,
            log=watched.log, clock=watched.clock, wall=wall,
        )  # fmt: skip
        for _ in range(600):
            watched.after(polled.poll)
        message = f"{box.address}: HTTP 401: 'Unauthorized'"
    first = {"reason": "unauthorized", "error": message}
    assert polled.view().stats.failures == {"unauthorized": 300}
    # Polls 2, 4, 6, … fail, the first of them at 1 s; 31 of them have failed at 61 s.
    assert watched.lines == [
        (1.0, "poll failed", first),
        (61.0, "poll failed", first | {"failures": 31, "recoveries": 30}),
        (121.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
        (181.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
        (241.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
        (301.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
        (361.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
        (421.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
        (481.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
        (541.0, "poll failed", first | {"failures": 30, "recoveries": 30}),
    ]


def test_long_outage(watched: Watched) -> None:
    """The first failure and the recovery an hour later are logged at once."""
    watched.poll()
    for _ in range(3600):
        watched.poll("timeout")
    for _ in range(3600):
        watched.poll()
    assert watched.lines == [
        (1.0, "poll failed", {"reason": "timeout", "error": "timeout!"}),
        (3601.0, "poll succeeded again", {"failures": 3600}),
    ]
    assert [each.levelname for each in watched.records] == ["WARNING", "INFO"]


def test_short_outage(watched: Watched) -> None:
    """A recovery within the minute is logged when the minute is over."""
    for _ in range(3):
        watched.poll("timeout")
    for _ in range(600):
        watched.poll()
    assert watched.lines == [
        (0.0, "poll failed", {"reason": "timeout", "error": "timeout!"}),
        (60.0, "poll succeeded again", {"failures": 3}),
    ]


def test_one_poll_in_25_fails(watched: Watched) -> None:
    """A charger that mostly answers gets a line a minute that says how often and why it failed."""
    for number in range(180):
        watched.poll("busy" if number % 25 == 10 else "")
    assert watched.lines == [
        (10.0, "poll failed", {"reason": "busy", "error": "busy!"}),
        # Failures at 10, 35 and 60 s, then at 85 and 110 s.
        (70.0, "poll succeeded again", {"failures": 3, "recoveries": 3}),
        (130.0, "poll succeeded again", {"failures": 2, "recoveries": 2, "reasons": "busy 2"}),
    ]
    # The third line is the first about its failures.
    assert [each.levelname for each in watched.records] == ["WARNING", "INFO", "WARNING"]


def test_reason_changes(watched: Watched) -> None:
    """A reason that changes during an outage is logged, at once after a minute."""
    for reason, polls in (("timeout", 100), ("refused", 20), ("dns", 100)):
        for _ in range(polls):
            watched.poll(reason)
    watched.poll()
    assert watched.lines == [
        (0.0, "poll failed", {"reason": "timeout", "error": "timeout!"}),
        (
            100.0, "poll failed",
            {"reason": "refused", "error": "refused!"}
            | {"failures": 101, "reasons": "timeout 100, refused 1"},
        ),
        (
            160.0, "poll failed",
            {"reason": "dns", "error": "dns!", "failures": 60, "reasons": "dns 41, refused 19"},
        ),
        (220.0, "poll succeeded again", {"failures": 59}),
    ]  # fmt: skip


def test_a_change_that_is_over(watched: Watched) -> None:
    """A reason that was there for a moment only is in the counts of the next line."""
    for reason in ("timeout", "wrong_device", *["timeout"] * 200):
        watched.poll(reason)
    error = {"reason": "timeout", "error": "timeout!"}
    assert watched.lines == [
        (0.0, "poll failed", error),
        (60.0, "poll failed", error | {"failures": 61, "reasons": "timeout 60, wrong_device 1"}),
    ]


def test_undecodable_values_share_the_minute(watched: Watched) -> None:
    """New keys are one line; of a charger that flaps too, they are logged first."""
    watched.poll(keys=["tma", "amp"])
    watched.poll("timeout")
    watched.poll(keys=["car"])
    for _ in range(200):
        watched.poll()
    assert watched.lines == [
        (0.0, "value could not be decoded", {"key": "amp,tma"}),
        (60.0, "value could not be decoded", {"key": "car"}),
        (120.0, "poll succeeded again", {"failures": 1, "reasons": "timeout 1"}),
    ]
    # The last line is the only one about the failure.
    assert {each.levelname for each in watched.records} == {"WARNING"}


def test_flush(watched: Watched) -> None:
    """At the end, what is held back is logged at once; there may be nothing."""
    watched.after(watched.log.flush)
    assert watched.lines == []
    watched.poll("timeout")
    watched.poll(keys=["amp"])
    watched.after(watched.log.flush)
    watched.after(watched.log.flush)
    assert watched.lines == [
        (1.0, "poll failed", {"reason": "timeout", "error": "timeout!"}),
        (3.0, "value could not be decoded", {"key": "amp"}),
        (3.0, "poll succeeded again", {"failures": 1}),
    ]


REASONS = ("", "", "timeout", "refused", "wrong_device")
STEPS = st.tuples(
    st.sampled_from(REASONS),
    st.sampled_from((1.0, 1.0, 1.0, 5.0, 59.5, 60.0, 3600.0)),
    st.frozensets(st.sampled_from(("amp", "car", "tma")), max_size=2),
)


@given(steps=st.lists(STEPS, max_size=80))
def test_any_behaviour(steps: list[tuple[str, float, frozenset[str]]]) -> None:
    """Lines are a minute apart, the last state and all keys are told, and all failures counted."""
    watched = Watched()
    for reason, seconds, keys in steps:
        watched.poll(reason, () if reason else keys, seconds)
    last = steps[-1][0] if steps else ""
    for _ in range(4):
        watched.poll(last, seconds=60.0)
    _check(watched)
    assert watched.told() == last
    shown = [values["key"].split(",") for _, event, values in watched.lines if "key" in values]
    expected = {key for reason, _seconds, keys in steps for key in keys if not reason}
    assert {key for keys in shown for key in keys} == expected
    watched.poll(seconds=60.0)
    watched.poll(seconds=60.0)
    failures = sum(reason != "" for reason, _seconds, _keys in steps) + 4 * (last != "")
    counts = [values.get("failures", 0) for _time, _event, values in watched.lines]
    assert sum(counts) == failures


def _check(watched: Watched) -> None:
    """Check that the lines are at least a minute apart."""
    times = [moment for moment, _event, _values in watched.lines]
    assert all(later - earlier >= 60 for earlier, later in pairwise(times)), watched.lines


def test_a_thousand_chargers() -> None:
    """Each of 1,000 chargers that flap for five minutes has five lines."""
    clock, chance = Clock(0.0), Random(14)
    chargers = [ChargerLog(f"charger-{number}", clock) for number in range(1000)]
    counts: Counter[str] = Counter()
    with recorded() as kept:
        for _ in range(300):
            for charger in chargers:
                if chance.random() < 0.5:
                    charger.failed(ChargerError(chance.choice(("timeout", "busy")), "!"))
                else:
                    charger.succeeded()
            clock.now += 1
        counts.update(each.__dict__["values"]["charger"] for each in kept)
    assert len(counts) == 1000
    assert {*counts.values()} <= {4, 5}


def test_as_lines(capsys: pytest.CaptureFixture[str], watched: Watched) -> None:
    """The counts are fields of the line, numbers in JSON."""
    target = logging.getLogger("goe_exporter")
    before = target.handlers, target.propagate, target.level
    try:
        logs.configure("json", "info")
        for reason in ("timeout", "", "refused"):
            watched.poll(reason, seconds=30.0)
        watched.poll()
    finally:
        target.handlers, target.propagate = before[:2]
        target.setLevel(before[2])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [each["event"] for each in lines] == ["poll failed", "poll failed"]
    assert list(lines[1])[3:] == ["charger", "reason", "error", "failures", "recoveries", "reasons"]
    assert (lines[1]["failures"], lines[1]["recoveries"]) == (2, 1)
    assert lines[1]["reasons"] == "timeout 1, refused 1"


def test_poller_counts_new_keys_only() -> None:
    """A key that fails to decode again and again is logged once."""
    watched = Watched()

    class Turns:
        number = 0

        def status(self, _keys: tuple[str, ...]) -> Answer:
            self.number += 1
            return Answer(2, {"car": 2, "amp": "text" if self.number % 2 else 16}, complete=True)

    polled = Poller("garage", "192.0.2.1", Turns(), 1.0, log=watched.log, clock=watched.clock)
    for _ in range(300):
        watched.after(polled.poll)
    assert watched.lines == [(0.0, "value could not be decoded", {"key": "amp"})]
