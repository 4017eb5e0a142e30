"""Translation of API v1 into v2's terms: every key's scaling, and writes."""

from __future__ import annotations

import pytest
from examples import examples
from hostile import ANY_JSON, ODD
from hypothesis import given
from hypothesis import strategies as st

from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import api_v1
from goe_exporter.errors import UsageError

V1_KEYS = """
car err amp amx ama amt rbc rbt ast uby alw adi cbl eto dws dwo stp nrg pha fwv sse tma tmp loe loa
eca ecr ecd ec4 ec5 ec6 ec7 ec8 ec9 ec1
""".split()


def said(status: dict[str, object]) -> dict[str, object]:
    """Return the translation without empty keys."""
    return {key: value for key, value in api_v1.status(status).items() if value is not None}


@pytest.mark.parametrize(
    ("v1", "v2"),
    [
        ({"car": "2"}, {"car": 2}),
        ({"err": "14"}, {"err": 14}),
        ({"amp": "16"}, {"amp": 16}),
        ({"amx": "12"}, {"tcl": 12}),
        ({"ama": "32"}, {"ama": 32}),
        ({"amt": "32"}, {"amt": 32}),
        ({"rbc": "30"}, {"rbc": 30}),
        ({"rbt": "3560814760"}, {"rbt": 3_560_814_760}),
        ({"ast": "2"}, {"acs": 2}),
        ({"uby": "0"}, {"trx": 0}),
        ({"uby": "3"}, {"trx": 3}),
        ({"alw": "1"}, {"alw": True}),
        ({"alw": "0"}, {"alw": False}),
        ({"adi": "1"}, {"adi": True}),
        ({"cbl": "20"}, {"cbl": 20}),
        ({"eto": "1234"}, {"eto": 123_400}),
        ({"dws": "360000"}, {"wh": 1000}),
        ({"dws": "1"}, {"wh": 0.002_777_777_777_8}),
        ({"dwo": "51", "stp": "2"}, {"dwo": 5100}),
        ({"pha": "0"}, {"pha": [False] * 6}),
        ({"pha": "8"}, {"pha": [False, False, False, True, False, False]}),
        ({"pha": "63"}, {"pha": [True] * 6}),
        ({"pha": "57"}, {"pha": [True, False, False, True, True, True]}),
        ({"fwv": "041.0"}, {"fwv": "041.0"}),
        ({"sse": "000123"}, {"sse": "000123"}),
        ({"tmp": "28"}, {"tma": [None, 28]}),
        ({"tma": [29.875, 34.375]}, {"tma": [29.875, 34.375]}),
        ({"loe": 1, "loa": 16}, {"loa": 16}),
        ({"eca": "10"}, {"c0e": 1000}),
        ({"ecr": "20"}, {"c1e": 2000}),
        ({"ecd": "30"}, {"c2e": 3000}),
        ({"ec4": "40"}, {"c3e": 4000}),
        ({"ec5": "50"}, {"c4e": 5000}),
        ({"ec6": "60"}, {"c5e": 6000}),
        ({"ec7": "70"}, {"c6e": 7000}),
        ({"ec8": "80"}, {"c7e": 8000}),
        ({"ec9": "90"}, {"c8e": 9000}),
        ({"ec1": "100"}, {"c9e": 10_000}),
    ],
)
def test_key_and_scale(v1: dict[str, object], v2: dict[str, object]) -> None:
    """Each key of v1 becomes v2's key, of v2's type and in v2's unit."""
    got = said(v1)
    assert got == {
        key: pytest.approx(value, rel=1e-9) if type(value) in {int, float} else value
        for key, value in v2.items()
    }


@pytest.mark.parametrize(
    "v1",
    [
        {"amx": "0"},
        {"cbl": "0"},
        {"cbl": 0},
        {"dwo": "180", "stp": "0"},
        {"dwo": "180"},
        {"loe": 0, "loa": 32},
        {"loe": "0", "loa": "32"},
        {"amp": ""},
        {"amp": None},
        {"nrg": None},
        {},
    ],
)
def test_none(v1: dict[str, object]) -> None:
    """Values by which v1 means "none" are absent: no 0, no stale number."""
    assert said(v1) == {}


def test_array_of_the_grid() -> None:
    """V unchanged, 0.1 A, 0.1 kW per phase, 0.01 kW in total, power factors unchanged."""
    nrg = [229, 230, 231, 1, 155, 156, 157, 35, 36, 37, 0, 1080, 98, 97, 96, 0]
    assert said({"nrg": nrg}) == {
        "nrg": [229, 230, 231, 1, 15.5, 15.6, 15.7, 3500, 3600, 3700, 0, 10_800, 98, 97, 96, 0]
    }


@pytest.mark.parametrize("length", range(17))
def test_array_of_any_length(length: int) -> None:
    """A shorter array remains short."""
    got = said({"nrg": [10] * length}).get("nrg")
    assert got == [10, 10, 10, 10, 1, 1, 1, 1000, 1000, 1000, 1000, 100, 10, 10, 10, 10][:length]


def scaled(*nrg: object) -> list[object]:
    """Return the currents and powers that an array means: L1 to L3, L1 to L3, all."""
    found = api_v1.status({"nrg": [*nrg]})["nrg"]
    assert isinstance(found, list)
    return [*found[4:10], *found[11:12]]


@pytest.mark.parametrize(
    ("nrg", "meant"),
    [
        # 052.2 at 15 A on three phases, at 6 A on one, in standby, and without the total
        (
            (219, 225, 222, 1, 15.1, 15.2, 15.1, 3300, 3400, 3400, 0, 10300),
            [15.1, 15.2, 15.1, 3300, 3400, 3400, 10300],
        ),
        ((230, 0, 0, 0, 6, 0, 0, 1380, 0, 0, 0, 1380), [6, 0, 0, 1380, 0, 0, 1380]),
        ((230, 230, 230, 0, 0.3, 0, 0, 40, 0, 0, 0, 40), [0.3, 0, 0, 40, 0, 0, 40]),
        ((230, 230, 230, 0, 16, 16, 16, 3600, 3650, 3580), [16, 16, 16, 3600, 3650, 3580]),
        # standby with reactive current, and without a measured current
        (
            (230, 230, 230, 0, 0.32, 0.51, 0.67, 8, 1, 1, 0, 10),
            [0.32, 0.51, 0.67, 8, 1, 1, 10],
        ),
        ((230, 230, 230, 0, 0, 0, 0, 40, 0, 0, 0, 40), [0, 0, 0, 40, 0, 0, 40]),
        # only the total
        ((0, 0, 0, 0, 16, 16, 16, None, None, None, None, 10800), [16, 16, 16, *[None] * 3, 10800]),
    ],
)
def test_array_in_amperes_and_watts(nrg: tuple[object, ...], meant: list[object]) -> None:
    """Firmware 052.2 does not scale the array; where current flows, its power shows that."""
    assert scaled(*nrg) == meant


@pytest.mark.parametrize(
    ("nrg", "meant"),
    [
        # 051.4 at 16 A with one wrong power
        (
            (230, 230, 230, 0, 160, 160, 160, 9999, 36, 36, 0, 1104),
            [16, 16, 16, 999900, 3600, 3600, 11040],
        ),
        (
            (230, 230, 230, 0, 160, 160, 160, 36, 36, 36, 0, 65535),
            [16, 16, 16, 3600, 3600, 3600, 655350],
        ),
        # 022.1, 01 and 051.4, from captures
        ((224, 226, 222, 1, 101, 1, 1, 23, 0, 0, 0, 232), [10.1, 0.1, 0.1, 2300, 0, 0, 2320]),
        (
            (226, 226, 227, 2, 93, 92, 92, 17, 17, 17, 0, 516),
            [9.3, 9.2, 9.2, 1700, 1700, 1700, 5160],
        ),
        ((226, 227, 226, 1, 58, 0, 0, 13, 0, 0, 0, 134), [5.8, 0, 0, 1300, 0, 0, 1340]),
        # the least that the meter shows, and a lagging current
        ((230, 230, 230, 0, 1, 0, 0, 1, 0, 0, 0, 5), [0.1, 0, 0, 100, 0, 0, 50]),
        ((230, 230, 230, 0, 3, 3, 3, 1, 1, 1, 0, 21), [0.3, 0.3, 0.3, 100, 100, 100, 210]),
        # L and N swapped, a broken neutral, and noise on V4
        ((15, 0, 0, 220, 150, 0, 0, 33, 0, 0, 0, 330), [15, 0, 0, 3300, 0, 0, 3300]),
        ((290, 180, 230, 60, 160, 0, 0, 46, 0, 0, 0, 464), [16, 0, 0, 4600, 0, 0, 4640]),
        ((236.35, 0, 0, 0, 0.4, 0.6, 0.5, 0, 0, 0, 0, 0), [0.04, 0.06, 0.05, 0, 0, 0, 0]),
        # without a current, nothing shows the form
        ((230, 230, 230, 0, 0, 0, 0, 0, 0, 0, 0, 0), [0, 0, 0, 0, 0, 0, 0]),
        ((230, 230, 230, 0, None, None, None, 36, 0, 0, 0, 360), [*[None] * 3, 3600, 0, 0, 3600]),
    ],
)
def test_array_in_tenths(nrg: tuple[object, ...], meant: list[object]) -> None:
    """All other firmware scales it: 0.1 A, 0.1 kW per phase, 0.01 kW in total."""
    assert scaled(*nrg) == pytest.approx(meant)


def test_array_with_odd_elements() -> None:
    """What is no number does not decide which form an array has."""
    nrg = [230, 230, 230, 0, 160, True, "x", 36, 10**400, [], 0, 360]
    assert scaled(*nrg) == [16, True, "x", 3600, 10**400, [], 3600]


def test_junk_stays_junk() -> None:
    """A value that cannot be translated is passed on, so that decoding rejects and counts it."""
    junk = {"amp": "sixteen", "eto": [1], "alw": "yes", "pha": "64", "nrg": "x", "dws": True}
    assert said(junk) == {
        "amp": "sixteen",
        "eto": [1],
        "alw": "yes",
        "pha": 64,
        "nrg": "x",
        "wh": True,
    }


@pytest.mark.parametrize(
    "text",
    ["1e5", "0x10", "1_000", " 16", "16 ", "+16", "١٦", "nan", "inf", "9" * 5000, "--1", "."],
)
def test_only_plain_decimals_are_numbers(text: str) -> None:
    """A text that is not a plain decimal remains a text."""
    assert said({"amp": text}) == {"amp": text}


def test_the_translation_knows_only_the_tables_keys() -> None:
    """The translated keys are exactly those of the rows that v1 has."""
    everything: dict[str, object] = dict.fromkeys(V1_KEYS, "2")
    everything |= {"nrg": [1], "tma": [1, 2], "loe": 1}
    known = {key for row in CHANNELS if 1 in row.apis for key in row.key.split()}
    assert set(api_v1.status(everything)) == known - {"pnp", "cards"}


@examples(300)
@given(st.dictionaries(st.sampled_from(V1_KEYS), ANY_JSON, max_size=6))
def test_any_status_is_translated(status: dict[str, object]) -> None:
    """The translation raises for no answer and does not change it."""
    before = repr(status)
    api_v1.status(status)
    assert repr(status) == before


@pytest.mark.parametrize("key", V1_KEYS)
def test_odd_values_are_translated(key: str) -> None:
    """The translation raises for no known oddity in any key or array."""
    for odd in ODD:
        for raw in (odd, [odd] * 16, [16, odd], {"energy": odd}):
            api_v1.status({"stp": "2", "loe": 1, "tmp": "20"} | {key: raw})
            api_v1.status({key: raw})


@pytest.mark.parametrize(
    ("key", "value", "payloads"),
    [
        ("amp", 16, ["amp=16"]),
        ("tcl", 6, ["amx=6"]),
        ("acs", 3, ["ast=3"]),
        ("alw", True, ["alw=1"]),
        ("alw", False, ["alw=0"]),
        ("dwo", 5100, ["dwo=51", "stp=2"]),
        ("dwo", 100, ["dwo=1", "stp=2"]),
        ("dwo", 1_000_000, ["dwo=10000", "stp=2"]),
        ("dwo", None, ["dwo=0", "stp=0"]),
    ],
)
def test_writes(key: str, value: object, payloads: list[str]) -> None:
    """A value in v2's terms becomes v1's payloads; an energy limit also needs `stp`."""
    assert api_v1.writes(key, value) == payloads


@pytest.mark.parametrize(
    "key", ["psm", "frc", "trx", "awp", "eto", "ast", "wss", "", "amp=16&payload"]
)
def test_writes_only_what_v1_can(key: str) -> None:
    """A key that v1 does not have is refused by name."""
    if key == "ast":
        assert api_v1.writes(key, 1) == ["ast=1"]  # v1's own name for `acs`
        return
    with pytest.raises(UsageError, match="API v1 cannot write"):
        api_v1.writes(key, 1)


@pytest.mark.parametrize(
    "row", [row for row in CHANNELS if 1 in row.write], ids=lambda row: row.name
)
def test_every_row_that_may_be_written_can_be(row: object) -> None:
    """Every row that is writable through v1 can be translated."""
    key = row.key.split()[0]  # type: ignore[attr-defined]
    assert api_v1.writes(key, 100)
