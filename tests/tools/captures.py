"""Real chargers' answers, by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goe_exporter.channels.decode import Decoded, decode
from goe_exporter.charger import api_v1

FULL = """
v1_01_akleber-charging v1_01_akleber-nocable v1_022.1_IPSCoyote v1_033_MK2001-iobroker
v1_033_openhab v1_041.0_markus-k-rs v1_041.0_oleplay v1_050_apidoc-V3
v1_051.4_evcc1609-charging-1p-a v1_051.4_evcc1609-idle
v2_051.4_evcc1609-charging-3p v2_053.x_evcc2644-complete v2_055.0_goe132-charging-3p-tma1
v2_055.2_syssi-mqtt-V3 v2_055.5_syssi-mqtt-V3 v2_055.6_syssi-mqtt-V3 v2_055.7_supermihi-V4-full
v2_56.2_syssi-mqtt-V3
""".split()
"""Captures with at least all keys that openHAB requests."""


def load(folder: Path, name: str) -> dict[str, object]:
    """Return the status called `name`, as in `v2_tma-glitches_goe161[2]`."""
    file, _, index = name.removesuffix("]").partition("[")
    path = folder / f"{file}.json"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    body = json.loads(path.read_text(encoding="utf-8"))
    return dict(body[int(index)] if index else body)


def decoded(name: str, status: dict[str, object]) -> Decoded:
    if name.startswith("v1"):
        return decode(api_v1.status(status), 1)
    return decode(status, 2)
