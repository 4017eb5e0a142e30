"""Settings with which a charger decides by itself, or waits for a card. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from goe_exporter.channels.snapshot import Snapshot

SCHEDULED = {"scheduler", "fallback_goe_scheduler"}
"""Charging reasons that are those of the charger's own schedule."""


def unsuitable(snapshot: Snapshot, name: str) -> Iterator[str]:
    """Yield, as sentences, what must be changed on the charger `name`."""
    values = {each.channel.name: each.value for each in snapshot.readings}
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
