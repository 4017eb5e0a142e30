"""The simulated models, one row each (docs/protocol.md §1 and §2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Model:
    """The differences between hardware generations.

    `firmware` is a typical version, `type_name` the value of the key `typ`, `variant` the usual
    rating in kW (11 or 22). With `fine_meter`, `nrg` has decimals; with `noise`, phases without a
    load show 0.04 to 0.08 A (docs/protocol.md §3.2). `sensors` is the number of temperature
    sensors. With `strict_filter`, an unknown key leads to HTTP 400 (docs/protocol.md §1). Without
    `knows_cable`, the keys `cbl`, `cus` and `ust` are absent, and `adi` is always true
    (docs/protocol.md §5.2). `mid` is the certification of a MID meter (`cert`), None without one.
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
    mid: int | None = None


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
            mid=1,
        ),
    )
}
"""The models by name."""


@cache
def version(firmware: str) -> tuple[int, ...]:
    """Return a firmware version for comparisons: "055.7" is (55, 7), "020-rc1" is (20,)."""
    leading = re.match(r"\d+(\.\d+)*", firmware)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
