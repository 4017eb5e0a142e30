"""The log lines of the control loop: one for each change, none for a step without one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from goe_exporter.channels.model import option_name
from goe_exporter.surplus.lease import Baseline
from goe_exporter.surplus.situation import FORCE, NEUTRAL, OFF, Decision, View, Write
from goe_exporter.surplus.wear import Wear
from goe_exporter.surplus.writes import shown

PAUSES = {
    "pause_budget": "more energy was drawn beyond the surplus than pause_budget allows",
    "current_limit": "the charger's limits are below min_current",
    "no_response": "the meter does not show the charger's power",
    "unproven": "the meter did not prove itself in time",
    "stale": "no source has a recent value",
    "frozen": "the meter keeps repeating one value",
}
NOT_ALLOWED = {
    "access_control_wait": "set access to open, or present the card",
    "energy_limit": "the session has reached its energy limit",
    "min_pause_duration": "the charger's own pause is not over; simulated unplugging may be on",
    "scheduler": "the charger's own schedule does not allow it",
}
"""Charging reason → what a person can do about it."""

BEGUN = {
    "blind": ("warning", "surplus unknown"),
    "unconfirmed": ("warning", "surplus write not confirmed, repeated"),
    "not_allowed": ("warning", "charging not allowed by the charger"),
    "car_full": ("info", "car full"),
    "charger_error": ("warning", "surplus charging suspended by an error of the charger"),
    "unreachable": ("warning", "surplus charging suspended, charger unreachable"),
    "no_car": ("info", "no car for surplus charging"),
    "following": ("info", "current follows the available power"),
    "feeding": ("info", "powers passed on to the charger"),
    "not_supported": ("warning", "powers not accepted by the charger, mode feed not supported"),
}
"""State → the level and the event of the line when it begins."""

ENDED = {
    "handed_over": ("info", "surplus charging resumed"),
    "blind": ("info", "surplus known again"),
    "unreachable": ("info", "charger reachable again"),
}
"""State → the line when it ends, unless the next state has a line."""


class Line(NamedTuple):
    """A line: its level, the event, and its values."""

    level: str
    event: str
    values: dict[str, object]


class Step(NamedTuple):
    """A step at `now` (s): what was decided, and the wear after it.

    `expected` is what the charger should have shown before it, and `view` what it showed.
    """

    now: float
    decision: Decision
    wear: Wear = Wear()
    view: View | None = None
    expected: Baseline | None = None


def lines(before: Step, after: Step) -> Iterator[Line]:
    """Yield what changed from one step to the next; the first one follows the state `unknown`."""
    decision, old, new = after.decision, before.wear, after.wear
    off = after.view is not None and after.view.force == OFF
    if new.started_at not in (None, old.started_at):
        yield Line("info", "surplus charging started", _numbers(decision))
    elif new.switched_at != old.switched_at and not off:
        yield Line("info", "phases switched for surplus charging", _numbers(decision))
    elif new.paused_at != old.paused_at:
        yield _pause(old, after)
    state = before.decision.state
    if decision.state != state and (line := _state(state, after)) is not None:
        yield line


def _pause(wear: Wear, after: Step) -> Line:
    values: dict[str, object] = {
        "because": PAUSES.get(after.decision.reason, "a car was plugged in")
    }
    values |= _numbers(after.decision)
    if wear.started_at is not None:
        values["charged_for"] = f"{(after.now - wear.started_at) / 60:.0f}m"
    level = "warning" if after.decision.state == "blind" else "info"
    return Line(level, "surplus charging paused", values)


def _state(before: str, after: Step) -> Line | None:
    """Return the line about a new state."""
    decision = after.decision
    if decision.state == "handed_over":
        return _handed_over(after)
    if decision.state == "no_car" and before == "unknown":
        return None
    found = BEGUN.get(decision.state) or ENDED.get(before)
    if found is None:
        return None
    values: dict[str, object] = {}
    if decision.state == "blind":
        values["because"] = PAUSES.get(decision.reason, decision.reason)
    elif decision.state == "not_allowed":
        values["reason"] = decision.reason
        if hint := NOT_ALLOWED.get(decision.reason):
            values["hint"] = hint
    return Line(*found, values)


def _handed_over(after: Step) -> Line:
    """Return the line about a person's change."""
    channel, decision = after.decision.reason, after.decision
    values: dict[str, object] = {"key": option_name(channel)}
    if after.expected is not None:
        values["from"] = shown(after.expected, channel)
    if after.view is not None:
        values["to"] = shown(after.view, channel)
    if decision.writes:
        values["given_back"] = " ".join(map(written, decision.writes))
    forced = channel == FORCE and values.get("to") != NEUTRAL
    until = " or force-state is neutral" if forced else ""
    event = (
        f"setting changed by somebody else, surplus charging suspended until the car leaves{until}"
    )
    return Line("info", event, values)


def written(write: Write) -> str:
    """Return a write with its name on the command line, as in `max-current=16`."""
    return f"{option_name(write.channel)}={write.value}"


def _numbers(decision: Decision) -> dict[str, object]:
    """Return what is known of the target (phases, A) and of the surplus (W)."""
    surplus_w = None if decision.surplus_w is None else round(decision.surplus_w)
    known = {"phases": decision.phases, "current": decision.amps, "surplus": surplus_w}
    return {name: value for name, value in known.items() if value is not None}
