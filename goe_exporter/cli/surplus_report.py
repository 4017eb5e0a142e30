"""What `goe-exporter surplus --once` found, as text for a person or as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from goe_exporter.channels.model import option_name
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.cli.printable import printable
from goe_exporter.control.preconditions import unsuitable, unsuitable_to_feed, values_of
from goe_exporter.surplus.config import SurplusConfig
from goe_exporter.surplus.settings import MAX_OPERATIONS
from goe_exporter.surplus.situation import CHARGING, FORCE, IDLE, Decision, View, Write
from goe_exporter.surplus.source import Reading, SourceError

COLUMNS = 80
LABEL = 11
"""Width of the first column."""

WAITING = {
    "": "until there has been enough surplus for {seconds:.0f} s",
    "min_pause": "until min_pause has passed since the last pause",
    "contactor_limit": f"because the contactor was operated {MAX_OPERATIONS} times in an hour",
    "current_limit": "because the charger's limits are below min_current",
}
"""Reason of the states `waiting` and `paused` → how long or why charging is off."""

DECISIONS = {
    "feeding": "pass the powers on; the charger decides",
    "not_supported": "none: mode: feed requires API v2",
    "no_car": "wait for a car",
    "charger_error": "wait until the charger's error has cleared",
    "not_allowed": "wait until the charger allows charging",
    "car_full": "wait until the car draws current again",
    "unreachable": "wait until the charger answers",
}
"""Other states → decision."""


DIRECTIONS = {
    "grid": ("exporting", "importing"),
    "battery": ("charging", "discharging"),
    "pv": ("consuming", "producing"),
}
"""Source → what a negative and a positive power mean."""


class Found(NamedTuple):
    """What was found at `now` (s of the monotonic clock).

    `snapshot` and `view` are those of the charger `name` at `host`; without them, `error` says why.
    `offer` is the phases and the current (A) that the surplus is enough for, None if it is not
    enough; then `minimum_w` is what is needed. `lease_error` says why the state was not read.
    """

    section: SurplusConfig
    name: str
    host: str
    now: float
    readings: Mapping[str, Reading]
    failures: Mapping[str, SourceError]
    snapshot: Snapshot | None = None
    view: View | None = None
    error: str = ""
    decision: Decision | None = None
    surplus_w: float | None = None
    offer: tuple[int, int] | None = None
    minimum_w: float = 0.0
    lease_error: str = ""


def text(found: Found) -> str:
    """Return a report of up to 80 columns."""
    blocks = [_row(printable(found.name), _charger(found))]
    for name in found.section.sources():
        reading = found.readings.get(name)
        says = printable(str(found.failures[name])) if reading is None else _says(found, name)
        blocks.append(_row(name, says.removeprefix(f"{name}: ")))
    if found.surplus_w is not None:
        blocks.append(_row("surplus", _surplus(found)))
    if found.decision is not None:
        verb = "send" if found.section.mode == "feed" else "set"
        writes = ", ".join(_sent(found.decision)) or "nothing"
        blocks += [_row("decision", _decided(found)), _row(f"would {verb}", writes)]
    unsafe = [_filled("- ", each) for each in notes(found)]
    return "\n".join([*blocks, "", *unsafe] if unsafe else blocks)


def as_json(found: Found) -> dict[str, object]:
    """Return what was found as an object of JSON."""
    view, decision, offer = found.view, found.decision, found.offer
    return {
        "charger": {"name": found.name, "host": found.host, "error": found.error or None}
        | ({} if view is None else {"car_state": view.car, "power_watts": view.power_w}),
        "sources": {name: _source(found, name) for name in found.section.sources()},
        "surplus_watts": found.surplus_w,
        "enough_for": offer and {"phases": offer[0], "current_amperes": offer[1]},
        "decision": decision
        and {
            "state": decision.state,
            "reason": decision.reason,
            "writes": [
                {"channel": write.channel, "value": write.value} for write in decision.writes
            ]
            + ([] if decision.ids is None else [{"channel": "ids", "value": dict(decision.ids)}]),
        },
        "notes": list(notes(found)),
    }


def notes(found: Found) -> Iterator[str]:
    """Yield what is unsafe or missing."""
    section = found.section
    for name, source in section.sources().items():
        reading = found.readings.get(name)
        if not source.may_have_age and section.mode == "control":
            yield (
                f"The age of {name} is unknown: if the meter fails and the device repeats its last"
                " value, charging pauses only after 5 minutes. Set time_path if the device reports"
                " a time."
            )
        elif not source.may_have_age and section.mode == "feed":
            yield (
                f"The age of {name} is unknown: if the meter fails and its last value is repeated,"
                " it is passed on for 5 minutes. Give time_path if the device reports a time."
            )
        elif not source.may_have_age:
            yield (
                f"The age of {name} is unknown: if the device repeats an old value, the current"
                " follows it indefinitely."
            )
        elif reading is not None and found.now - reading.measured_at > section.stale_after:
            yield f"The value of {name} is older than stale_after, {section.stale_after:.0f} s."
    if section.mode == "follow":
        yield (
            "Mode follow never pauses charging: if the number is below min_current, the car draws"
            " the rest from the grid."
        )
        return
    if section.battery is None:
        yield "If there is a house battery, configure it under surplus.battery."
    if found.lease_error:
        yield f"The saved state of the exporter could not be read: {found.lease_error}."
    if found.snapshot is not None:
        check = unsuitable_to_feed if section.mode == "feed" else unsuitable
        yield from check(values_of(found.snapshot), printable(found.name))


def _row(label: str, content: str) -> str:
    """Return a line, continued below its second column."""
    if len(label) < LABEL:
        return _filled(label.ljust(LABEL), content)
    return f"{_filled('', label)}\n{_filled(' ' * LABEL, content)}"


def _filled(start: str, content: str) -> str:
    """Return lines, of which all but the first begin with spaces."""
    return textwrap.fill(
        content,
        COLUMNS,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )


def _charger(found: Found) -> str:
    if found.view is None or found.snapshot is None:
        return printable(found.error)
    view = found.view
    car = {IDLE: "no car"}.get(view.car, f"car plugged in, {view.car}")
    if view.car == CHARGING:
        car = f"charging with {_watts(view.power_w)} on {_phases(view.closed_phases)}"
    force = f", force-state {view.force}" if found.snapshot.api == 2 else ""
    return f"{printable(found.host)}, API v{found.snapshot.api}: {car}; {view.amps} A{force}"


def _says(found: Found, name: str) -> str:
    """Return a reading as a sentence, such as `exporting 3,210 W, 4 s old`."""
    value, measured_at, age_known = found.readings[name]
    age = f"{max(found.now - measured_at, 0):.0f} s old" if age_known else "age unknown"
    if name == "available":
        unit = found.section.sources()[name].base_unit
        amount = f"{value:.1f} A" if unit == "A" else f"{value:,.0f} W"
        return f"{amount}, {age}"
    falling, rising = DIRECTIONS[name]
    flow = rising if value > 0 else falling if value < 0 else "idle"
    return f"{flow} {_watts(value)}, {age}"


def _surplus(found: Found) -> str:
    amount = f"{round(found.surplus_w or 0):,} W"
    if found.offer is None:
        return f"{amount}: not enough, charging needs {_watts(found.minimum_w)}"
    phases, amps = found.offer
    return f"{amount}: enough for {_phases(phases)} with {amps} A"


def _decided(found: Found) -> str:
    decision = found.decision
    assert decision is not None
    if decision.state == "charging":
        return f"charge on {_phases(decision.phases or 1)} with {decision.amps} A"
    if decision.state == "following" or (decision.state == "blind" and decision.amps is not None):
        why = "" if decision.state == "following" else " because there is no recent value"
        return f"set the current to {decision.amps} A{why}"
    if decision.state == "handed_over":
        key = option_name(decision.reason)
        until = " or it is neutral" if decision.reason == FORCE else ""
        return f"none: somebody else changed {key}, which is respected until the car leaves{until}"
    if decision.state in ("waiting", "paused"):
        return f"{_off(found)} {WAITING[decision.reason]}".format(seconds=found.section.start_after)
    if decision.state == "blind":
        action = "pass nothing on" if found.section.mode == "feed" else _off(found)
        return f"{action} because there is no recent value"
    return DECISIONS[decision.state]


def _off(found: Found) -> str:
    charging = found.view is not None and found.view.car == CHARGING
    return "pause charging" if charging else "keep charging off"


def _sent(decision: Decision) -> Iterator[str]:
    yield from map(_written, decision.writes)
    for name, power_w in (decision.ids or {}).items():
        yield f"{name} {power_w} W"


def _written(write: Write) -> str:
    return f"{option_name(write.channel)} {write.value}"


def _watts(power_w: float) -> str:
    return f"{round(abs(power_w)):,} W"


def _phases(number: int) -> str:
    return f"{number} phase{'' if number == 1 else 's'}"


def _source(found: Found, name: str) -> dict[str, object]:
    failure, source = found.failures.get(name), found.section.sources()[name]
    kind = {"kind": source.kind}
    if failure is not None:
        return kind | {"error": {"reason": failure.reason, "message": str(failure)}}
    value, measured_at, age_known = found.readings[name]
    age = round(max(found.now - measured_at, 0.0), 3) if age_known else None
    return kind | {"value": value, "unit": source.base_unit, "age_seconds": age}
