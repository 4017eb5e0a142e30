"""The metrics of charging with the surplus: a new one is a line here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from goe_exporter.channels.table import WH
from goe_exporter.control.vitals import STATES, SurplusVitals
from goe_exporter.prometheus.families import Family, labelled

Values = float | Mapping[str, float] | None


def surplus(vitals: SurplusVitals) -> Iterator[Family]:
    """Yield the families of the controlled charger, then those of the sources."""
    charger = {"charger": vitals.charger}
    states = {state: float(state == vitals.state) for state in STATES}
    budget = None if vitals.budget_wh is None else vitals.budget_wh * WH.factor
    energy = {origin: wh * WH.factor for origin, wh in vitals.energy_wh.items()}
    rows: tuple[tuple[str, str, str, Values, str], ...] = (
        ("gauge", "state", "State of charging with the surplus.", states, "state"),
        ("gauge", "available_watts", "Power that the charger may use.", vitals.surplus_w, ""),
        ("gauge", "target_current_amperes", "Current that is offered.", vitals.amps, ""),
        ("gauge", "target_phases", "Phases that are offered.", vitals.phases, ""),
        (
            "gauge",
            "pause_budget_joules",
            "Energy that may be drawn beyond the surplus before a pause.",
            budget,
            "",
        ),
        ("counter", "starts", "Starts of charging.", vitals.starts, ""),
        ("counter", "pauses", "Pauses of charging.", vitals.pauses, ""),
        ("counter", "phase_switches", "Phase switches.", vitals.phase_switches, ""),
        ("counter", "hand_overs", "Changes by somebody else that ended the control for a car.",
         vitals.hand_overs, ""),
        ("counter", "writes", "Values written to the charger.", vitals.writes, "key"),
        ("counter", "write_failures", "Failed writes by reason.", vitals.write_failures, "reason"),
        ("counter", "energy_joules", "Charged energy by origin.", energy, "origin"),
    )  # fmt: skip
    for kind, name, help_text, values, label in rows:
        if values is None:
            continue
        pairs = values.items() if isinstance(values, Mapping) else (("", values),)
        samples = ((charger | ({label: text} if label else {}), each) for text, each in pairs)
        yield from labelled(kind, f"goe_surplus_{name}", help_text, samples)
    yield from _sources(vitals)


def _sources(vitals: SurplusVitals) -> Iterator[Family]:
    sources = vitals.sources
    for name, help_text, values in (
        ("up", "Whether the last read of the source gave a value.", [each.up for each in sources]),
        ("power_watts", "Power: import, discharging, production, or the followed number.",
         [each.power_w for each in sources]),
        ("age_seconds", "Age of the source's value.", [each.age_s for each in sources]),
    ):  # fmt: skip
        found = (
            ({"source": source.name}, float(value))
            for source, value in zip(sources, values, strict=True)
            if value is not None
        )
        yield from labelled("gauge", f"goe_surplus_source_{name}", help_text, found)
    failures = (
        ({"source": source.name, "reason": reason}, float(count))
        for source in sources
        for reason, count in sorted(source.failures.items())
    )
    help_text = "Failed reads of a source by reason."
    yield from labelled("counter", "goe_surplus_source_failures", help_text, failures)
