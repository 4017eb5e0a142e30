"""Charging with the surplus: the product's decision against openHAB's rules and evcc's algorithm.

Twelve reference days, the seeds fixed: on a light model of a charger, which reproduces the first
draft of the design, and on the product's simulator. The figures depend on no machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.surplus.days import HARD, REFERENCE, Setup, run
from benchmarks.surplus.figures import Summary
from benchmarks.surplus.ours import Surplus
from benchmarks.surplus.rivals import Evcc, OpenHab, Rule

NOON, AFTERNOON = int(12.5 * 3600), 15 * 3600

RIVALS: dict[str, Callable[[], Rule]] = {
    "openHAB 3.3": lambda: OpenHab(knows_charger=False),
    "openHAB 4.x": lambda: OpenHab(knows_charger=True),
    "evcc as described": Evcc,
}
ALL: dict[str, Callable[[], Rule]] = {**RIVALS, "goe-exporter": Surplus}


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    for name, rule in ALL.items():
        yield row(f"light model: {name}", rule, REFERENCE, light=True)
    for name, rule in ALL.items():
        yield row(f"simulator: {name}", rule, REFERENCE)
    yield from _meters()
    yield from _cars()
    yield from _faults()


def row(
    what: str, rule: Callable[[], Rule], setups: tuple[Setup, ...], *, light: bool = False
) -> tuple[str, str, str]:
    """Return a row for several days."""
    summary = Summary([run(setup, rule(), light=light) for setup in setups])
    energy = (
        f"{summary.solar_share:.1%} of the ideal, import {summary.import_share:.1%}"
        f" ({summary.imported:.2f} kWh a day), worst quarter {summary.worst_quarter_wh:.0f} Wh"
    )
    wear = (
        f"{summary.operations:.1f} contactor operations a day (at most"
        f" {summary.hourly_operations} an hour), {summary.switches:.1f} phase switches,"
        f" {summary.writes:.0f} writes an hour (currents at most {summary.hourly_currents})"
    )
    return what, energy, wear


def _changed(setups: tuple[Setup, ...], **changes: object) -> tuple[Setup, ...]:
    return tuple(replace(setup, **changes) for setup in setups)  # type: ignore[arg-type]


def _meters() -> Iterator[tuple[str, str, str]]:
    for meter_s, late_s in ((15, 5), (60, 5)):
        setups = _changed(REFERENCE, meter_s=meter_s, late_s=late_s)
        what = f"simulator, a value every {meter_s} s, {late_s} s late"
        yield row(f"{what}: evcc as described", Evcc, setups)
        yield row(f"{what}: goe-exporter", Surplus, setups)


def _cars() -> Iterator[tuple[str, str, str]]:
    for phases in (1, 2):
        setups = _changed(HARD, phases=phases)
        for name in ("openHAB 4.x", "evcc as described", "goe-exporter"):
            yield row(f"simulator, hard days, {phases}-phase car: {name}", ALL[name], setups)
    setups = _changed(HARD, battery=True)
    for first in ("house", "car"):
        what = f"simulator, hard days, 10 kWh house battery, {first} first: goe-exporter"
        yield row(what, lambda first=first: Surplus(battery=first), setups)  # type: ignore[misc]


def _faults() -> Iterator[tuple[str, str, str]]:
    """Yield what a faulty meter costs: import beyond that of the same days without the fault."""
    setups = tuple(setup for setup in REFERENCE if setup.weather in ("sunny", "broken"))
    noon = {"fault_from": NOON, "fault_to": AFTERNOON}
    for name in ("openHAB 4.x", "goe-exporter"):
        healthy = [run(setup, ALL[name]()).imported for setup in setups]
        for fault, times in (
            ("blind", {}),
            ("wrong_sign", {}),
            ("frozen", noon),
            ("repeating", noon),
        ):
            rule = ALL[name]
            if rule is Surplus and fault == "repeating":
                rule = _without_ages
            faulty = [run(each, rule()).imported for each in _changed(setups, fault=fault, **times)]
            extra = [after - before for after, before in zip(faulty, healthy, strict=True)]
            when = "from 12:30 to 15:00" if times else "all day"
            yield (
                f"simulator, meter {fault} {when}: {name}",
                f"{sum(extra) / len(extra):+.2f} kWh of import a day",
                f"at most {max(extra):+.2f} kWh",
            )


def _without_ages() -> Rule:
    return Surplus(age_known=False)
