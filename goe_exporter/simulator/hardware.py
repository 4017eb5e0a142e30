"""The chargers that can be simulated: one row per model (docs/protocol.md §1 and §2)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """What distinguishes one hardware generation from the next.

    ``firmware`` is a typical one, ``type_name`` is what the key ``typ`` says, ``variant`` the usual
    rating in kW (11 or 22). ``fine_meter`` means that ``nrg`` carries decimals, ``noise`` that
    phases without a load show 0.04 to 0.08 A (docs/protocol.md §3.2). ``sensors`` is the length of
    ``tma``. ``strict_filter`` answers an unknown key with HTTP 400 (docs/protocol.md §1).
    """

    name: str
    firmware: str
    type_name: str
    variant: int
    v2: bool
    sensors: int
    fine_meter: bool = False
    noise: bool = False
    strict_filter: bool = False
    knows_cable: bool = True


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("V2", "041.0", "go-eCharger", 11, v2=False, sensors=4),
        Model("V3", "055.7", "go-eCharger", 11, v2=True, sensors=2),
        Model("V4", "56.9", "go-eCharger_V4", 22, v2=True, sensors=2, fine_meter=True, noise=True),
        Model(
            "PRO",
            "60.5",
            "go-eCharger_Phoenix",
            22,
            v2=True,
            sensors=6,
            fine_meter=True,
            strict_filter=True,
            knows_cable=False,
        ),
    )
}
"""Every model by its name."""


def version(firmware: str) -> tuple[int, ...]:
    """Return a firmware's numbers for comparing: "055.7" is (55, 7), "020-rc1" is (20,)."""
    leading = re.match(r"\d+(\.\d+)*", firmware)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
