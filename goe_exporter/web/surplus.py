"""What the page and the JSON API show of charging with the surplus. Pure."""

from __future__ import annotations

from goe_exporter.control.vitals import STATES, SurplusVitals
from goe_exporter.web.locale import NO_BREAK_SPACE, Locale
from goe_exporter.web.schema import Json, mapping_of, nullable, object_of
from goe_exporter.web.units import ABSENT, energy, power

WITH_POWER = ("waiting", "charging", "paused")
"""States whose text begins with the surplus, if it is known."""

OF_MODES = ("blind_feed", "blind_follow", "unconfirmed_feed")
"""States with modes in which they have a text of their own."""


def surplus_line(vitals: SurplusVitals, locale: Locale) -> str:
    """Return the line under the charger's state, in the reader's language."""
    text = locale.text
    if vitals.internal_errors:
        return text("surplus.line").format(text("surplus.ended"))
    parts = []
    if vitals.state in WITH_POWER and vitals.surplus_w is not None:
        parts.append(power(vitals.surplus_w, locale).text)
    parts.append(_sentence(vitals, locale))
    if vitals.budget_wh is not None and vitals.state == "charging":
        parts.append(text("surplus.budget").format(energy(vitals.budget_wh, locale).text))
    return text("surplus.line").format(", ".join(parts))


def _sentence(vitals: SurplusVitals, locale: Locale) -> str:
    name = f"{vitals.state}_{vitals.mode}"
    sentence = locale.text(f"surplus.{name if name in OF_MODES else vitals.state}")
    amps = ABSENT if vitals.amps is None else f"{vitals.amps}{NO_BREAK_SPACE}A"
    phases = locale.text(f"surplus.phases_{vitals.phases}") if vitals.phases else ABSENT
    return sentence.format(amps=amps, phases=phases)


def surplus_json(vitals: SurplusVitals) -> Json:
    """Return the state as JSON: powers in W, the current in A, energies in Wh, ages in s.

    An unknown number is null; a source without a value has neither `power` nor `age_seconds`.
    """
    return {
        "mode": vitals.mode,
        "state": vitals.state,
        "reason": vitals.reason or None,
        "available_power": vitals.surplus_w,
        "target_current": vitals.amps,
        "target_phases": vitals.phases,
        "pause_budget": vitals.budget_wh,
        "energy": dict(vitals.energy_wh),
        "sources": {
            source.name: {"up": source.up}
            | ({} if source.power_w is None else {"power": source.power_w})
            | ({} if source.age_s is None else {"age_seconds": source.age_s})
            for source in vitals.sources
        },
    }


def surplus_schema() -> Json:
    """Return the schema of `surplus_json`."""
    number: Json = {"type": "number"}
    up: Json = {
        "type": ["boolean", "null"],
        "description": "Whether the last read gave a number; null before the first one.",
    }
    power_w = number | {"description": "Import, discharging of the battery, or production. In W."}
    source = object_of({"up": up}, {"power": power_w, "age_seconds": number})
    energies = object_of({}, dict.fromkeys(("sun", "battery", "grid"), number))
    energies["description"] = "Charged energy by origin since the start of the exporter. In Wh."
    surplus = object_of(
        {
            "mode": {"enum": ["control", "follow", "feed"]},
            "state": {"enum": list(STATES)},
            "reason": {"type": ["string", "null"]},
            "available_power": nullable("Power that the charger may use. In W."),
            "target_current": nullable("Current that is offered. In A."),
            "target_phases": {"enum": [1, 3, None], "description": "Phases that are offered."},
            "pause_budget": nullable("Energy that may be drawn beyond the surplus first. In Wh."),
            "energy": energies,
            "sources": mapping_of(source),
        }
    )
    described = "Charging with the PV surplus; absent unless this charger is controlled."
    return surplus | {"description": described}
