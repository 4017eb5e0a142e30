"""What is removed from a status that its owner publishes: all but what is known to be harmless."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from paths import FIXTURES

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import redaction
from goe_exporter.charger.redaction import redacted

PRIVATE = """
fna host sse wifis scan wsm wsl ccw cce wcb wpb dns ctrls mcu mtp mht data dll cle mlr ocppu ocpple
ocppd ocpptt ocppti tsi lri evt pco ct tzt log smd ccd mia ccn isn usn
c0n c1n c9n c0i c9i
wss wke wak mcs mck rca rcr rcd rc4 rc1 rna rnm rne rn4 rn1 sch
""".split()
"""Keys that can hold names, keys, tokens, card ids, serial numbers, addresses or free text."""

# What each key of a real status may hold, and what is left of it.
CASES: list[tuple[str, object, object, tuple[str, ...]]] = [
    ("amp", 16, 16, ()),
    ("amp", "16", "16", ()),
    ("tmp", "-15", "-15", ()),
    ("fhz", 49.94041061, 49.94041061, ()),
    ("rbt", "3560814760", "3560814760", ()),
    ("alw", True, True, ()),
    ("lccfi", None, None, ()),
    ("nrg", [228, 0.5, None], [228, 0.5, None], ()),
    ("pha", [True, False], [True, False], ()),
    ("awcp", {"start": 1, "marketprice": 8.7}, {"start": 1, "marketprice": 8.7}, ()),
    ("cdi", "1", "1", ()),
    ("cdi", {"type": 1, "value": 0}, {"type": 1, "value": 0}, ()),
    ("pha", "56", "56", ()),
    ("lot", 32, 32, ()),
    ("lot", {"amp": 32, "id": 218042}, {"amp": 32}, ("lot: a member with its value",)),
    ("cll", {"loadLimit": 10, "s3cr3t": 6}, {"loadLimit": 10}, ("cll: a member with its value",)),
    ("fwv", "055.7", "055.7", ()),
    ("fwv", "020-rc1", "020-rc1", ()),
    ("ocu", ["055.8 BETA", "V 054.0 OUTDATED"], ["055.8 BETA", "V 054.0 OUTDATED"], ()),
    ("typ", "go-eCharger_Phoenix", "go-eCharger_Phoenix", ()),
    ("cid", "#FF00DA", "#FF00DA", ()),
    ("cid", "13436852", "13436852", ()),
    ("loc", "2023-03-01T09:02:34.779 +01:00", "2023-03-01T09:02:34.779 +01:00", ()),
    ("utc", "2023-03-01T08:02:34.774.000", "2023-03-01T08:02:34.774.000", ()),
    ("ct", "", "", ()),
    ("wifis", [], [], ()),
    ("new", False, False, ()),
    ("new", None, None, ()),
    ("fna", "Anna", "[removed: text]", ("fna: text",)),
    ("sse", "218042", "[removed: text]", ("sse: text",)),
    ("rca", "1", "[removed: text]", ("rca: text",)),
    ("rca", 123456, "[removed: number]", ("rca: number",)),
    ("ocppti", 815, "[removed: number]", ("ocppti: number",)),
    ("wifis", [{"ssid": "x", "key": True}], "[removed: list]", ("wifis: list",)),
    ("ccw", {"ip": "192.0.2.1"}, "[removed: object]", ("ccw: object",)),
    ("mcs", "mqtt.example", "[removed: text]", ("mcs: text",)),
    ("mcs", False, False, ()),
    ("new", "a", "[removed: text]", ("new: text",)),
    ("new", 48.2082, "[removed: number]", ("new: number",)),
    ("new", [1], "[removed: list]", ("new: list",)),
    ("new", {"lat": 48.2}, "[removed: object]", ("new: object",)),
    ("amp", "Anna", "[removed: text]", ("amp: text",)),
    ("amp", "1" * 11, "[removed: text]", ("amp: text",)),
    ("amp", {"lat": 48.2}, "[removed: object]", ("amp: object",)),
    ("amp", 10**17, "[removed: number]", ("amp: number",)),
    ("amp", float("nan"), "[removed: number]", ("amp: number",)),
    ("amp", float("inf"), "[removed: number]", ("amp: number",)),
    ("tma", [1, "Anna", {"a": "b"}], [1, "[removed: text]", "[removed: object]"],
     ("tma[]: text", "tma[]: object")),
    ("lot", {"amp": 32, "id": "x", "Anna's": 1}, {"amp": 32}, ("lot: a member with its value",)),
    ("fwv", "055.7 of Anna", "[removed: text]", ("fwv: text",)),
    ("fwv", "192.168.1.36", "[removed: text]", ("fwv: text",)),
    ("typ", "Anna", "[removed: text]", ("typ: text",)),
    ("oem", "Anna", "[removed: text]", ("oem: text",)),
    ("cid", "#anna", "[removed: text]", ("cid: text",)),
    ("loc", "Vienna", "[removed: text]", ("loc: text",)),
    ("ocu", ["https://example.net/x"], ["[removed: text]"], ("ocu[]: text",)),
    ("ocu", "https://example.net/x", "[removed: text]", ("ocu: text",)),
    (
        "cards",
        [
            {"name": "Anna", "energy": 5, "cardId": "04A1"},
            {"name": "", "energy": 0, "cardId": True},
        ],
        [
            {"name": "[removed: text]", "energy": 5, "cardId": "[removed: text]"},
            {"name": "", "energy": 0, "cardId": True},
        ],
        ("cards[].name: text", "cards[].cardId: text"),
    ),
    ("typ", "controller", "controller", ()),
    ("ccp", [2823.99, None, "Anna"], [2823.99, None, "[removed: text]"], ("ccp[]: text",)),
    ("cec", [[1.5, 0], ["Anna"], 3], [[1.5, 0], ["[removed: text]"], "[removed: number]"],
     ("cec[][]: text", "cec[]: number")),
    ("usv", [{"u1": 230.5, "uN": None, "Anna": 1}], [{"u1": 230.5, "uN": None}],
     ("usv[]: a member with its value",)),
    ("isv", [{"i": 1, "p": -2.5, "f": 1}, None], [{"i": 1, "p": -2.5, "f": 1}, None], ()),
    ("ccn", ["Anna's flat"], "[removed: list]", ("ccn: list",)),
    ("cards", ["Anna"], ["[removed: text]"], ("cards[]: text",)),
    ("cards", "Anna", "[removed: text]", ("cards: text",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "kept", "removed"), CASES, ids=[f"{case[0]}-{case[1]!r:.20}" for case in CASES]
)
def test_a_value(key: str, value: object, kept: object, removed: tuple[str, ...]) -> None:
    """A value is kept if its key is known and its form is known for the key."""
    assert redacted({key: value}) == ({key: kept}, removed)


@pytest.mark.parametrize("key", PRIVATE)
@pytest.mark.parametrize("value", ["Anna", 218042, 48.2082, ["Anna"], {"a": "Anna"}, [218042]])
def test_a_private_key(key: str, value: object) -> None:
    """Nothing is left of a private key's value, whatever its type."""
    found = redacted({key: value})
    assert re.fullmatch(r"\[removed: (text|number|list|object)\]", str(found.status[key]))
    assert [place.partition(":")[0] for place in found.removed] == [key]


@pytest.mark.parametrize("key", ["Anna's phone", "00:11:22:33:44:55", "DEADBEEF0011", "", "a b"])
def test_a_key_that_is_private(key: str) -> None:
    """An unknown key that does not look like a key of the charger is left out, and counted once."""
    assert redacted({key: 1, "car": 2, f"{key}!": 3}) == ({"car": 2}, ("a key with its value",))


def test_every_channel_is_kept() -> None:
    """A capture shows the keys of every channel, except for serial number and names."""
    private = {"sse", "fna", "styp", "ccn", "isn"}
    channels = (*CHANNELS, *CONTROLLER.channels)
    keys = {key for channel in channels for key in channel.key.split()}
    assert keys - private <= redaction._KEPT.keys()
    assert not private & redaction._KEPT.keys()


def test_order_is_kept() -> None:
    """The keys keep the charger's order."""
    assert list(redacted({"rbt": 1, "fna": "x", "amp": 6}).status) == ["rbt", "fna", "amp"]


def leaves(value: object) -> list[object]:
    """Return the values in a status that are neither lists nor objects."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


HARMLESS = re.compile(
    r"|\[removed: (text|number|list|object)\]|-?[0-9.]{1,17}|#[0-9A-Fa-f]{6}|B|go-e"
    r"|go-eCharger(_V[34]|_Phoenix)?|controller|(V )?[0-9.]{2,7}( BETA| OUTDATED)?"
    r"|[0-9]{4}-[0-9-]{5}T[0-9:.]{8,16}( \+[0-9:]{5})?"
)


def test_real_statuses(captures_folder: Path) -> None:
    """No text of a real status is left but numbers, colours, times, versions and models."""
    for path in sorted(captures_folder.glob("v*.json")):
        body = json.loads(path.read_bytes())
        for status in body if isinstance(body, list) else [body]:
            found = redacted(status)
            for leaf in leaves(found.status):
                if isinstance(leaf, str):
                    assert HARMLESS.fullmatch(leaf), (path.name, leaf)
            text = json.dumps(found.status)
            assert "ssid" not in text
            assert "192.0.2" not in text
            assert redacted(found.status).status.keys() == found.status.keys()


@pytest.mark.parametrize(
    "name",
    ["v1_v2hardware_charging", "v1_legacy_v3_idle", "v2_evil", "v2_v3_charging_three_phases"],
)
def test_readings_are_kept(name: str) -> None:
    """The measured values of a status are all there, unchanged."""
    status: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_bytes())
    found = redacted(status).status
    for key in {"car", "amp", "nrg", "eto", "err", "alw", "rbt", "dwo", "pha"} & status.keys():
        if name != "v2_evil":
            assert found[key] == status[key]
    for secret in ("Fritz", "not-to-be-seen", "04A1B2C3", "Ada", "Grace", "012345"):
        assert secret not in json.dumps(found)


MARKED = st.text(max_size=6).map(lambda text: f"{text}ge-heim{text}")
VALUES = st.recursive(
    MARKED | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "energy", "a", "id"]) | MARKED, inner, max_size=3
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted({*redaction._KEPT, *PRIVATE, "new"})) | MARKED


@given(st.dictionaries(KEYS, VALUES, max_size=8))
@examples(500)
def test_no_text_survives(status: dict[str, object]) -> None:
    """No free text is left, wherever it stands: in values, in lists, in names of members."""
    found = redacted(status)
    assert "ge-heim" not in json.dumps(found)


def test_a_deep_status() -> None:
    """A deeply nested value is removed."""
    deep: object = "Anna"
    for _ in range(200):
        deep = [deep]
    assert redacted({"tma": deep}) == ({"tma": ["[removed: list]"]}, ("tma[]: list",))
