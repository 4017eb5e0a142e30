"""The simulator answers other clients' requests with what they understand.

The requests are those of three Python clients (goecharger 0.1.0, goe 0.3.2, goechargerv2 0.2.2),
recorded while they talked to the simulator; none of them is needed here.
"""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from typing import Any

import pytest
from servers import PATIENCE_SECONDS

from goe_exporter.simulator import Box, Car, Charger, Simulator

# goecharger: the keys that it converts with int() or looks up as text.
V1_INTEGERS = """
amp ama cbl ust pha dws dwo uby eto eca ecr ecd ec4 ec5 ec6 ec7 ec8 ec9 ec1 tof tds
""".split()
V1_LOOKUPS = {
    "car": {"1", "2", "3", "4"},
    "err": {"0", "1", "3", "8", "10"},
    "ast": {"0", "1", "2"},
    "alw": {"0", "1"},
    "stp": {"0", "2"},
    "adi": {"0", "1"},
    "wst": {"3"},
    "wen": {"0", "1"},
}

# goe: the filter of each part of the status, and the types of the keys.
GOE_PARTS: dict[str, dict[str, tuple[type, ...]]] = {
    "meta": {"sse": (str,), "fna": (str,), "fwv": (str,)},
    "time": {
        "tse": (bool,),
        "tsss": (int,),
        "tof": (int,),
        "tds": (int,),
        "utc": (str,),
        "loc": (str,),
    },
    "config": {
        "dwo": (float, type(None)),
        "psm": (int,),
        "spl3": (int,),
        "clp": (list,),
        "lck": (int,),
    },
    "status": {
        "alw": (bool,),
        "acu": (int, type(None)),
        "tpa": (float, int),
        "car": (int,),
        "err": (int,),
        "cus": (int,),
        "modelStatus": (int,),
        "wh": (float, int),
        "nrg": (list,),
        "pnp": (int,),
    },
    "stats": {"eto": (int,), "rbc": (int,), "rbt": (int,)},
}

# goechargerv2: the keys that it converts with int() or float(), null and missing being 0.
V2_NUMBERS = "amp frc mca ama err cbl ust psm pnp dwo eto wh fmt cco rssi trx tof tds".split()


def charging(model: str) -> Charger:
    """Return a charger of serial number 218042 that charges."""
    charger = Charger(model, serial="218042", name="box")
    charger.plug(Car(battery_wh=60_000, soc=0.2))
    charger.advance(60)
    return charger


def asked(box: Box, target: str, **headers: str) -> Any:
    """Return the JSON of an answer with HTTP status 200."""
    request = urllib.request.Request(f"http://{box.address}{target}", headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize("model", ["V2", "V3", "V4"])
def test_goecharger_reads(standing_still: Simulator, model: str) -> None:
    """`GET /status`: whole numbers as text, codes that it knows, 16 measurements."""
    found = asked(standing_still.add(charging(model), api="1"), "/status")
    for key in V1_INTEGERS:
        int(found[key])
    for key, texts in V1_LOOKUPS.items():
        assert found[key] in texts, key
    assert len(found["nrg"]) == 16
    assert 10 <= int(found["nrg"][11]) / 100 <= 11, "kW"
    assert 15 <= int(found["nrg"][4]) / 10 <= 16, "A"
    assert all(isinstance(value, float | int) for value in found["tma"])
    assert (found["sse"], found["car"]) == ("218042", "2")


@pytest.mark.parametrize(
    ("payload", "key", "value"),
    [
        ("amp=10", "amp", "10"),
        ("amx=8", "amp", "8"),
        ("alw=0", "alw", "0"),
        ("dwo=50", "dwo", "50"),
        ("stp=2", "stp", "2"),
        ("ast=1", "ast", "1"),
        ("ust=2", "ust", "2"),
        ("lbr=100", "lbr", "100"),
        ("cid=255", "cid", "255"),
        ("al1=6", "al1", "6"),
    ],
)
def test_goecharger_writes(standing_still: Simulator, payload: str, key: str, value: str) -> None:
    """`GET /mqtt?payload=…` answers with the whole status and the new value."""
    found = asked(standing_still.add(charging("V2")), f"/mqtt?payload={payload}")
    assert found[key] == value
    for each in V1_INTEGERS:
        int(found[each])


@pytest.mark.parametrize("model", ["V3", "V4"])
@pytest.mark.parametrize("part", GOE_PARTS)
def test_goe_reads(standing_still: Simulator, model: str, part: str) -> None:
    """`GET /api/status?filter=…` with encoded commas: exactly these keys, of these types."""
    types = GOE_PARTS[part]
    box = standing_still.add(charging(model))
    found = asked(box, f"/api/status?filter={'%2C'.join(types)}")
    assert found.keys() == types.keys()
    for key, kinds in types.items():
        assert isinstance(found[key], kinds), key
    if part == "time":
        datetime.fromisoformat(found["utc"])
        assert datetime.fromisoformat(found["loc"].replace(" +", "+")).utcoffset() is not None
    if part == "status":
        assert found["car"] in range(6)
        assert found["cus"] in range(6)
        assert found["modelStatus"] in {*range(21), 22, 23, 24}
        assert len(found["nrg"]) == 16


@pytest.mark.parametrize("model", ["V3", "V4"])
def test_goechargerv2_reads(standing_still: Simulator, model: str) -> None:
    """`GET /api/status` without a filter, with a login that the charger ignores."""
    box = standing_still.add(charging(model))
    found = asked(box, "/api/status", Authorization="Basic token")
    for key in V2_NUMBERS:
        float(found[key] or 0)
    assert "success" not in found
    assert (found["car"], found["alw"], found["acs"]) == (2, True, 0)
    assert len(found["nrg"]) == 16
    assert len(found["pha"]) == 6
    for value in found["tma"]:
        float(value)


@pytest.mark.parametrize(
    ("key", "value"), [("amp", 12), ("frc", 1), ("frc", 2), ("psm", 1), ("acs", 1), ("trx", 0)]
)
def test_goechargerv2_writes(simulator: Simulator, key: str, value: int) -> None:
    """`GET /api/set?…` answers with an object; the value shows in the status a second later."""
    box = simulator.add(charging("V3"))
    answer = asked(box, f"/api/set?{key}={value}", Authorization="Basic token")
    assert answer == {key: True}
    with box.lock:
        box.charger.advance(2)
    assert asked(box, "/api/status")[key] == value
