"""The row about charging with the PV surplus, in the dashboard of one charger for Prometheus."""

from __future__ import annotations

from dashboards import looks, promql
from dashboards.grafana import Json, Panel, Row
from dashboards.panels import STEPS, colored, override, stat, state_timeline, time_series, values
from goe_exporter.control.vitals import STATES

NOT_CONTROLLED = "Not charged with the surplus"
"""What a panel shows for a charger that the configuration's section `surplus` does not name."""

JOULES_PER_WH = "3600"
ORIGINS = {"sun": looks.YELLOW, "battery": looks.PURPLE, "grid": looks.RED}

TEXTS = {
    "no_car": ("No car", looks.GREY),
    "waiting": ("Waits for the surplus", looks.YELLOW),
    "charging": ("Charging", looks.GREEN),
    "paused": ("Paused", looks.ORANGE),
    "following": ("Following", looks.GREEN),
    "feeding": ("Powers passed on", looks.GREEN),
    "blind": ("No usable value", looks.RED),
    "handed_over": ("Handed over", looks.PURPLE),
    "not_allowed": ("Not allowed", looks.ORANGE),
    "car_full": ("Car is full", looks.BLUE),
    "charger_error": ("Error", looks.RED),
    "unreachable": ("Does not answer", looks.SILENT),
    "unconfirmed": ("Not confirmed", looks.RED),
    "not_supported": ("Not supported", looks.RED),
    "unknown": ("Unknown", looks.DARK),
}
"""State → its text and colour."""

STATE = [values({str(number): TEXTS[name] for number, name in enumerate(STATES)})]


def row() -> Row:
    """Return the row."""
    return Row("PV surplus", [[_power(), _current()], [_states()], [_budget(), *_totals()]])


def state() -> str:
    """Return the state as its place in `STATES`."""
    numbered = (
        f"({promql.polled('goe_surplus_state', state=name)} == 1) * {number}"
        for number, name in enumerate(STATES)
    )
    return f"max {promql.OF_CHARGER} ({' or '.join(numbered)})"


def _power() -> Panel:
    grid = promql.exporter("goe_surplus_source_power_watts", source="grid")
    of_charger = promql.polled("goe_surplus_state")
    return time_series(
        title="Surplus and charging power",
        description="Power that the car may use, power of the charger, and power at the grid "
        "connection: below 0 it is exported.",
        targets=[
            promql.past(promql.polled("goe_surplus_available_watts"), "surplus"),
            promql.past(promql.series("power"), "charger"),
            promql.past(f"{grid} and on (job, instance) {of_charger}", "grid"),
        ],
        unit="watt", width=12, height=8, defaults={"noValue": NOT_CONTROLLED},
        overrides=colored({"surplus": looks.YELLOW, "charger": looks.GREEN, "grid": looks.RED}),
    )  # fmt: skip


def _current() -> Panel:
    drawn = f"max {promql.OF_CHARGER} ({promql.series('phase_current', phase=looks.L123)})"
    offered = promql.polled("goe_surplus_target_current_amperes")
    return time_series(
        title="Offered current",
        description="Current that the car is offered, and the highest current of a phase. Nothing "
        "is offered in a pause.",
        targets=[promql.past(offered, "offered"), promql.past(drawn, "drawn")],
        unit="amp", width=12, height=8, custom=STEPS,
        overrides=colored({"offered": looks.BLUE, "drawn": looks.GREEN}),
        defaults={"min": 0, "noValue": NOT_CONTROLLED},
    )  # fmt: skip


def _states() -> Panel:
    phases = promql.polled("goe_surplus_target_phases")
    return state_timeline(
        title="Surplus history",
        description="What the control does or waits for, and the phases that the car is offered.",
        targets=[promql.past(state(), "Surplus"), promql.past(phases, "Phases")],
        unit="none", width=24, height=6, defaults={"noValue": NOT_CONTROLLED},
        overrides=[
            override("Surplus", mappings=STATE), override("Phases", mappings=looks.PHASE_COUNT),
        ],
    )  # fmt: skip


def _budget() -> Panel:
    budget = f"{promql.polled('goe_surplus_pause_budget_joules')} / {JOULES_PER_WH}"
    return time_series(
        title="Energy left before a pause",
        description="Energy that may still be drawn beyond the surplus. Charging pauses at 0.",
        targets=[promql.past(budget, "left")], unit="watth", width=8, height=6,
        overrides=colored({"left": looks.YELLOW}),
        defaults={"min": 0, "noValue": NOT_CONTROLLED},
    )  # fmt: skip


def _totals() -> list[Panel]:
    energy = "goe_surplus_energy_joules_total"
    sun = f"sum({_increase(energy, origin='sun')})"
    counts = {
        "starts": "goe_surplus_starts_total",
        "pauses": "goe_surplus_pauses_total",
        "phase switches": "goe_surplus_phase_switches_total",
    }
    return [
        stat(
            title="Share of sun",
            description="Share of the charged energy that came from the sun, in the time range.",
            targets=[promql.now(f"{sun} / sum({_increase(energy)})")], unit="percentunit",
            width=4, height=6, thresholds=looks.GOOD,
            defaults={"decimals": 0, "noValue": NOT_CONTROLLED},
        ),
        stat(
            title="Charged by origin",
            description="Charged energy by origin, in the time range.",
            targets=[
                _total(f"{_increase(energy, origin=origin)} / {promql.JOULES_PER_KWH}", origin)
                for origin in ORIGINS
            ],
            unit=looks.KWH, width=6, height=6, thresholds=looks.COUNT, overrides=colored(ORIGINS),
            defaults={"decimals": 1, "noValue": NOT_CONTROLLED},
        ),
        stat(
            title="Starts, pauses and phase switches",
            description="Each start and pause operates the contactor once, a phase switch twice.",
            targets=[_total(_increase(name), word) for word, name in counts.items()],
            unit="none", width=6, height=6, thresholds=looks.COUNT,
            defaults={"decimals": 0, "noValue": NOT_CONTROLLED},
        ),
    ]  # fmt: skip


def _increase(name: str, **labels: str) -> str:
    return f"increase({promql.polled(name, **labels)}[$__range])"


def _total(expression: str, legend: str) -> Json:
    return promql.now(f"sum({expression})", legend)
