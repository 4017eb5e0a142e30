"""The lines of the control loop: one for each change, with its numbers."""

from __future__ import annotations

import pytest

from goe_exporter.control.log_lines import Line, Step, lines
from goe_exporter.surplus.lease import Baseline
from goe_exporter.surplus.situation import Decision, View, Write
from goe_exporter.surplus.wear import Wear

VIEW = View(1000.0, "charging", "neutral", 1, 9, 2000.0, (9.0,))
REST = Wear(paused_at=100.0)
STARTED = Wear(started_at=1000.0, paused_at=100.0)


def step(state: str, wear: Wear = REST, **values: object) -> Step:
    """Return a step at 1000 s."""
    return Step(1000.0, Decision(state, **values), wear, VIEW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (
            step("paused"),
            step("charging", STARTED, surplus_w=2190.4, phases=1, amps=9),
            ("info", "surplus charging started", {"phases": 1, "current": 9, "surplus": 2190}),
        ),
        (
            step("charging", STARTED),
            step("charging", STARTED.switched(1000.0, closed=True), phases=3, amps=7),
            ("info", "phases switched for surplus charging", {"phases": 3, "current": 7}),
        ),
        (
            step("charging", Wear(started_at=-1820.0)),
            step("paused", Wear(paused_at=1000.0), reason="pause_budget", surplus_w=310.0),
            (
                "info",
                "surplus charging paused",
                {
                    "because": "more energy was drawn beyond the surplus than pause_budget allows",
                    "surplus": 310,
                    "charged_for": "47m",
                },
            ),
        ),
        (
            step("unknown", Wear()),
            step("waiting", Wear(paused_at=1000.0)),
            ("info", "surplus charging paused", {"because": "a car was plugged in"}),
        ),
        (
            step("paused"),
            step("blind", reason="frozen"),
            ("warning", "surplus unknown", {"because": "the meter keeps repeating one value"}),
        ),
        (
            step("charging"),
            step("not_allowed", reason="access_control_wait"),
            (
                "warning",
                "charging not allowed by the charger",
                {
                    "reason": "access_control_wait",
                    "hint": "set access to open, or present the card",
                },
            ),
        ),
        (step("charging"), step("car_full"), ("info", "car full", {})),
        (step("charging"), step("no_car"), ("info", "no car for surplus charging", {})),
        (step("blind"), step("paused"), ("info", "surplus known again", {})),
        (
            step("handed_over"),
            step("waiting"),
            ("info", "surplus charging resumed", {}),
        ),
        (
            step("unreachable"),
            step("charging"),
            ("info", "charger reachable again", {}),
        ),
    ],
)
def test_line(before: Step, after: Step, line: tuple[str, str, dict[str, object]]) -> None:
    """Each change has its line."""
    assert list(lines(before, after)) == [Line(*line)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (step("unknown"), step("no_car")),
        (step("charging", amps=8), step("charging", amps=9, reason="current")),
        (step("paused"), step("waiting")),
        (step("blind", reason="stale"), step("blind", reason="stale")),
    ],
)
def test_no_line(before: Step, after: Step) -> None:
    """A step that changes no state has no line, nor has the first state without a car."""
    assert list(lines(before, after)) == []


def test_pause_without_a_value() -> None:
    """A pause because of a failed source has two warnings: the pause, and its cause."""
    before = step("charging", Wear(started_at=400.0))
    found = list(lines(before, step("blind", Wear(paused_at=1000.0), reason="stale")))
    assert [(line.level, line.event) for line in found] == [
        ("warning", "surplus charging paused"),
        ("warning", "surplus unknown"),
    ]
    assert found[0].values["charged_for"] == "10m"


def test_hand_over() -> None:
    """The line says what a person changed, and what was given back."""
    decision = Decision(
        "handed_over", "force_state", (Write("max_current", 16), Write("phases", "auto"))
    )
    seen, expected = VIEW._replace(force="on"), Baseline(9, 1, "neutral")
    (line,) = lines(step("charging"), Step(1000.0, decision, REST, seen, expected))
    assert line.event == (
        "setting changed by somebody else, surplus charging suspended until the car leaves or"
        " force-state is neutral"
    )
    assert line.values == {
        "key": "force-state",
        "from": "neutral",
        "to": "on",
        "given_back": "max-current=16 phases=auto",
    }
    changed = Decision("handed_over", "phases")
    seen = VIEW._replace(mode=0)
    (line,) = lines(step("charging"), Step(1000.0, changed, REST, seen, expected))
    assert line.event.endswith("until the car leaves")
    assert line.values == {"key": "phases", "from": 1, "to": "auto"}
