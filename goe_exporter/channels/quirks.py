"""Values in a status that were never measured or have no meaning (docs/protocol.md §5.2). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from goe_exporter.channels.snapshot import Status

CAR_CHARGING = 2
VOLTAGES = 3
PRO_SENSORS = 6
_PRO_TYPE = re.compile(r"phoenix|[ _](pro|core)", re.IGNORECASE)


class Corrected(NamedTuple):
    """A status without such values, and the keys of those that count as failures."""

    status: Status
    failed: frozenset[str]


def corrected(status: Status) -> Corrected:
    """Return `status`, in v2's terms, without values that the charger did not measure.

    Zeros of `nrg` beside three voltages of 0 are none: L1 supplies the charger itself. While the
    car is not charging, zero currents and powers are right nevertheless. `adi` has no meaning on
    PRO and CORE.
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
    return Corrected({**status, **changes} if changes else status, failed)


def _is_zero(value: object) -> bool:
    return type(value) in (int, float) and value == 0


def _is_pro(status: Status) -> bool:
    """Return whether it is the status of a PRO or CORE, by its type or its sensors."""
    model, sensors = status.get("typ"), status.get("tma")
    if isinstance(model, str):
        return _PRO_TYPE.search(model) is not None
    return isinstance(sensors, list) and len(sensors) == PRO_SENSORS and sensors[:2] == [None, None]
