"""Settings with which a charger decides by itself, or waits for a card. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.surplus.situation import NEUTRAL

ECO, ECO_IN_APP = "awattar", "Eco"
"""The logic mode with which the charger uses the surplus (docs/protocol.md §5.4)."""

MIN_USEFUL_A = 7
"""The configured current limits what the charger's own logic chooses."""

SCHEDULED = {"scheduler", "fallback_goe_scheduler"}
"""Charging reasons that are those of the charger's own schedule."""


def values_of(snapshot: Snapshot) -> dict[str, object]:
    """Return the values of a snapshot by channel."""
    return {each.channel.name: each.value for each in snapshot.readings}


def unsuitable(values: Mapping[str, object], name: str) -> Iterator[str]:
    """Yield, as sentences, what must be changed on the charger `name`.

    `values` are those of its channels by name.
    """
    logic, access = values.get("logic_mode", "default"), values.get("access", "open")
    if logic != "default":
        yield f"logic-mode is {logic}; set it to default in the app."
    if values.get("pv_surplus_enabled") is True:
        yield "pv-surplus-enabled is on; switch it off in the app, or the charger decides too."
    if values.get("charging_reason") in SCHEDULED or access == "scheduler":
        yield "The charger's scheduler is on; switch it off in the app."
    elif access != "open":
        yield (
            f"access is {access}: after a pause, the charger may wait for a card."
            f" goe-exporter set {name} access open"
        )


def unsuitable_to_feed(values: Mapping[str, object], name: str) -> Iterator[str]:
    """Yield, as sentences, why the charger `name` does not use the powers that it is sent.

    Settings that the charger has not reported yet are taken as suitable.
    """
    logic, force = values.get("logic_mode", ECO), values.get("force_state", NEUTRAL)
    if logic != ECO:
        yield f"logic-mode is {logic}; set it to {ECO_IN_APP} in the app, which is {ECO} here."
    if values.get("pv_surplus_enabled") is False:
        yield "pv-surplus-enabled is off; switch it on in the app."
    if force != NEUTRAL:
        yield (
            f"force-state is {force}, so the charger does not decide itself."
            f" goe-exporter set {name} force-state {NEUTRAL}"
        )
    amps = values.get("max_current")
    if isinstance(amps, float) and amps < MIN_USEFUL_A:
        yield f"max-current is {amps:.0f} A, and the charger never exceeds it."
