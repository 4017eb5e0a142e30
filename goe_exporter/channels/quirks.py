"""Values in a status that were never measured or have no meaning (docs/protocol.md §5.2). Pure."""

from __future__ import annotations

import re
from itertools import zip_longest

from goe_exporter.channels.snapshot import Status

CAR_CHARGING = 2
VOLTAGES = 3
PRO_SENSORS = 6
_PRO_TYPE = re.compile(r"phoenix|[ _](pro|core)", re.IGNORECASE)


def corrected(status: Status) -> tuple[Status, frozenset[str]]:
    """Return `status`, in v2's terms, without values that the charger did not measure.

    The keys of those that count as failures are returned, too.
    Zeros of `nrg` beside three voltages of 0 are none: L1 supplies the charger itself. While the
    car is not charging, zero currents and powers are right nevertheless. `adi` has no meaning on
    PRO and CORE. The energies of a Controller's category are none where it measures no power either
    (docs/protocol.md §5.5).
    """
    changes: dict[str, object] = {}
    failed: frozenset[str] = frozenset()
    nrg = status.get("nrg")
    if isinstance(nrg, list) and len(nrg) >= VOLTAGES and all(map(_is_zero, nrg[:VOLTAGES])):
        charging = status.get("car") == CAR_CHARGING
        unmeasured = nrg if charging else nrg[: VOLTAGES + 1]
        kept = [None if _is_zero(value) else value for value in unmeasured]
        changes["nrg"] = kept + nrg[len(kept) :]
        failed = frozenset({"nrg"})
        if charging and _is_zero(status.get("tpa")):
            changes["tpa"] = None  # the mean of these powers
    if "adi" in status and _is_pro(status):
        changes["adi"] = None
    if "cec" in status:
        changes["cec"] = _used(status["cec"], status.get("ccp"))
    return {**status, **changes} if changes else status, failed


def _used(energies: object, powers: object) -> object:
    """Return the energies of a Controller's categories, null for those that are not used."""
    if not isinstance(energies, list):
        return energies
    measured = powers[: len(energies)] if isinstance(powers, list) else []
    return [
        None if _is_unused(energy, power) else energy
        for energy, power in zip_longest(energies, measured)
    ]


def _is_unused(energy: object, power: object) -> bool:
    return power is None and isinstance(energy, list) and all(map(_is_zero, energy))


def _is_zero(value: object) -> bool:
    return type(value) in (int, float) and value == 0


def _is_pro(status: Status) -> bool:
    """Return whether it is the status of a PRO or CORE, by its type or its sensors."""
    model, sensors = status.get("typ"), status.get("tma")
    if isinstance(model, str):
        return _PRO_TYPE.search(model) is not None
    return isinstance(sensors, list) and len(sensors) == PRO_SENSORS and sensors[:2] == [None, None]
