"""Decoding returns the readings of a status, each of its type, and never raises."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest
from examples import examples
from hostile import ANY_JSON, HUGE, ODD, SCALARS, TEXTS
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from goe_exporter.channels.decode import Decoded, Decoder, decode
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import api_v1
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import render_readings

BY_NAME = {row.name: row for row in CHANNELS}

V2_KEYS = """
nrg tpa fhz eto wh dwo car err modelStatus alw frc psm cus trx pnp pha amp acu cbl amt loa ama adi
tcl tma rbt rssi fwv sse pgrid ppv pakku typ var fna rev styp acs lmo awp fup rbc
c0e c1e c2e c3e c4e c5e c6e c7e c8e c9e cards whs whg whb who eto_mid wh_mid cert cll lccfi
""".split()
V1_KEYS = """
version rbc rbt car amp amx err ast alw stp cbl pha tmp tma dws dwo adi uby eto nrg fwv sse ama amt
eca ecr ecd ec4 ec5 ec6 ec7 ec8 ec9 ec1 loe loa lot cdi ust
""".split()

NO_NUMBERS = [True, False, "16", "", "junk", [], [16], {}, {"a": 16}]
NOT_FINITE = [math.nan, math.inf, -math.inf, HUGE, -HUGE]


def values(status: Mapping[str, object], api: int = 2) -> dict[str, object]:
    """Return what a status decodes to, as `name` or `name.part` → value."""
    return {
        f"{row.name}.{label}" if label else row.name: value
        for row, label, value, _ in decode(status, api).readings
    }


def failed(status: Mapping[str, object]) -> set[str]:
    return set(decode(status, 2).failed)


def test_nothing_gives_nothing() -> None:
    """An empty status has no readings and no failures: what is absent is absent."""
    assert decode({}, 1) == decode({}, 2) == Decoded((), frozenset())


@pytest.mark.parametrize("key", V2_KEYS)
def test_null_is_absent(key: str) -> None:
    """A null has no reading and is not a failure, for every key of the table."""
    assert decode({key: None}, 2) == Decoded((), frozenset())


@pytest.mark.parametrize("key", [key for key in V2_KEYS if key != "cll"])
def test_object_is_unreadable(key: str) -> None:
    """A value of a wrong type has no reading, and its key is returned."""
    assert decode({key: {"no": "charger"}}, 2) == Decoded((), frozenset({key}))


def test_keys_of_the_table() -> None:
    """These tests cover every key of the table."""
    assert {key for row in CHANNELS for key in row.key.split()} == set(V2_KEYS)


def test_unknown_keys_are_ignored() -> None:
    """A key outside of the table has neither a reading nor a failure, whatever its value."""
    assert decode({"wss": "ssid", "lot": {"amp": 32}, "cdi": HUGE}, 2) == Decoded((), frozenset())


def test_readings_come_in_the_tables_order() -> None:
    """Readings have the order of the rows, not of the status."""
    readings = decode({"rbc": 8, "amp": 16, "car": 2, "nrg": [230, 231, 232, 0]}, 2).readings
    assert [(reading.channel.name, reading.label) for reading in readings] == [
        ("phase_voltage", "L1"),
        ("phase_voltage", "L2"),
        ("phase_voltage", "L3"),
        ("phase_voltage", "N"),
        ("car_state", ""),
        ("max_current", ""),
        ("reboots", ""),
    ]


def test_channels_may_be_chosen() -> None:
    """Only the given rows are decoded; a bad value of another row is not a failure."""
    assert decode({"amp": 16, "acs": "junk"}, 2, (BY_NAME["max_current"],)) == Decoded(
        (Reading(BY_NAME["max_current"], "", 16.0),), frozenset()
    )


# Numbers


@pytest.mark.parametrize(
    ("key", "raw", "name", "value"),
    [
        ("amp", 16, "max_current", 16.0),
        ("amp", 16.0, "max_current", 16.0),
        ("tpa", 4140, "power_average", 4140.0),
        ("fhz", 50.022, "grid_frequency", 50.022),
        ("eto", 1_234_567, "energy", 1_234_567.0),
        ("wh", 12_345.678, "session_energy", 12_345.678),
        ("dwo", 3500, "session_energy_limit", 3500.0),
        ("tcl", 8, "max_current_temporary", 8.0),
        ("acu", 16, "allowed_current", 16.0),
        ("cbl", 32, "cable_current", 32.0),
        ("amt", 32, "temperature_current_limit", 32.0),
        ("loa", 20, "load_balancing_current", 20.0),
        ("ama", 16, "absolute_max_current", 16.0),
        ("rbt", 114_835_892, "uptime", 114_835.892),
        ("rssi", -86, "wifi_signal", -86.0),
        ("pgrid", -2500.5, "pv_grid_power", -2500.5),
        ("ppv", 4000, "pv_power", 4000.0),
        ("pakku", -300, "pv_battery_power", -300.0),
        ("awp", 3.5, "awattar_max_price", 3.5),
        ("rbc", 8, "reboots", 8.0),
        ("trx", 0, "transaction", 0.0),
        ("trx", 3, "transaction", 3.0),
        ("c0e", 1500, "card_energy.1", 1500.0),
        ("c9e", 2, "card_energy.10", 2.0),
        ("wh", 0, "session_energy", 0.0),
    ],
)
def test_number(key: str, raw: float, name: str, value: float) -> None:
    """A number is a float in the unit of its row."""
    got = values({key: raw})
    assert got == {name: pytest.approx(value, rel=1e-12)}
    assert type(got[name]) is float


def test_array_of_the_grid() -> None:
    """`nrg` holds 4 voltages, 3 currents, 4 powers and their sum, 4 power factors in %."""
    status = {
        "nrg": [229, 230.5, 231, 1, 15.5, 15.6, 15.7, 3500, 3600, 3700, 2, 10800, 98, 97, 96, 0]
    }
    assert values(status) == {
        "phase_voltage.L1": 229.0,
        "phase_voltage.L2": 230.5,
        "phase_voltage.L3": 231.0,
        "phase_voltage.N": 1.0,
        "phase_current.L1": 15.5,
        "phase_current.L2": 15.6,
        "phase_current.L3": 15.7,
        "phase_power.L1": 3500.0,
        "phase_power.L2": 3600.0,
        "phase_power.L3": 3700.0,
        "phase_power.N": 2.0,
        "phase_power_factor.L1": 0.98,
        "phase_power_factor.L2": 0.97,
        "phase_power_factor.L3": 0.96,
        "phase_power_factor.N": 0.0,
        "power": 10800.0,
    }


@pytest.mark.parametrize("raw", [*NO_NUMBERS, *NOT_FINITE, *TEXTS])
@pytest.mark.parametrize("key", ["amp", "wh", "rbt", "pgrid", "rbc", "c3e", "trx", "fhz"])
def test_no_number(key: str, raw: object) -> None:
    """A bool, text, list, object, NaN, infinity or huge integer is not a number."""
    assert decode({key: raw}, 2) == Decoded((), frozenset({key}))


def following(*statuses: Mapping[str, object], api: int = 2) -> list[dict[str, object]]:
    """Return what statuses of one charger decode to, one after another, as `values` does."""
    decoder = Decoder(CHANNELS)
    return [
        {
            f"{row.name}.{label}" if label else row.name: value
            for row, label, value, _ in decoder.decode(status, api).readings
        }
        for status in statuses
    ]


def test_equal_values_of_different_types() -> None:
    """1, 1.0 and true are told apart, although a value that repeats is not read again."""
    current, enabled = {"max_current": 1.0}, {"pv_surplus_enabled": True}
    assert following({"amp": 1, "fup": True}, {"amp": True, "fup": 1}, {"amp": 1.0}) == [
        {**current, **enabled},
        {},
        current,
    ]
    assert following({"fup": 1.0}, {"fup": True}, {"fup": 1}) == [{}, enabled, {}]
    closed = dict.fromkeys(("L1", "L2", "L3"), True)
    after = {f"phase_contactor_closed.{phase}": value for phase, value in closed.items()}
    assert following({"pha": [1] * 3}, {"pha": [True] * 3}, {"pha": [1.0] * 3}) == [
        {},
        {"phases": 3.0, **after},
        {},
    ]


def test_zeros_of_both_signs() -> None:
    """A zero keeps its sign, although 0.0 and -0.0 are equal, and equal values are not read."""
    found = following(*({"pakku": raw} for raw in (0.0, -0.0, 0.0)))
    assert [str(each["pv_battery_power"]) for each in found] == ["0.0", "-0.0", "0.0"]


def test_a_value_that_becomes_absent_and_returns() -> None:
    """A key that a later status lacks has no reading then, whatever it was before."""
    assert following({"amp": 6}, {}, {"amp": None}, {"amp": 6}) == [
        {"max_current": 6.0},
        {},
        {},
        {"max_current": 6.0},
    ]


def test_an_alternative_counts_when_the_first_key_becomes_absent() -> None:
    """`pha` gives the phases as soon as `pnp` does not, although `pha` is the same array."""
    pha = [True, True, False, True, True, True]
    found = following({"pnp": 1, "pha": pha}, {"pnp": None, "pha": pha}, {"pnp": 1, "pha": pha})
    assert [each["phases"] for each in found] == [1.0, 2.0, 1.0]


def test_an_error_is_named_anew_by_other_firmware() -> None:
    """The same number means another error to another firmware, and to another API."""
    decoder = Decoder(CHANNELS)
    names: list[object] = []
    for firmware, api in [("055.7", 2), ("60.5", 2), ("60.5", 1)]:
        readings = decoder.decode({"err": 14, "fwv": firmware}, api).readings
        names += [each.value for each in readings if each.channel.name == "error"]
    assert names == ["no_communication", "fi_unknown", "internal"]


def test_a_time_of_plug_in_follows_the_start_and_the_uptime() -> None:
    """The same `lccfi` is another moment after a restart, and none if it is in the future."""
    decoder = Decoder((BY_NAME["plug_in_timestamp"],))
    answers = [(9000, 1e9), (9000, 2e9), (4000, 2e9)]
    found = [decoder.decode({"lccfi": 5000, "rbt": rbt}, 2, start) for rbt, start in answers]
    assert [[each.value for each in decoded.readings] for decoded in found] == [
        [1e9 + 5],
        [2e9 + 5],
        [],
    ]
    assert found[2].failed == {"lccfi"}


def test_a_failure_lasts_as_long_as_the_value() -> None:
    """A bad value that repeats fails in each status, and no longer once it is good."""
    decoder = Decoder(CHANNELS)
    statuses: list[dict[str, object]] = [{"amp": 9999}, {"amp": 9999}, {"amp": 6}, {}]
    failures = [decoder.decode(status, 2).failed for status in statuses]
    assert failures == [{"amp"}, {"amp"}, set(), set()]


@pytest.mark.parametrize(
    ("key", "lowest", "highest", "step"),
    [
        ("amp", -1000, 1000, 0.01),
        ("tpa", -45_000, 45_000, 1),
        ("fhz", 0.1, 1000, 0.1),
        ("eto", 0, 1e9, 1),
        ("wh", -1, 1e9, 1),
        ("rbt", 0, 1e15, 1),
        ("rssi", -200, 50, 1),
        ("awp", -10_000, 10_000, 1),
        ("trx", 0, 255, 1),
        ("rbc", 0, 1e9, 1),
    ],
)
def test_range(key: str, lowest: float, highest: float, step: float) -> None:
    """The bounds of the plausible range are readings; values beyond are glitches."""
    assert len(values({key: lowest})) == len(values({key: highest})) == 1
    assert failed({key: lowest}) | failed({key: highest}) == set()
    assert decode({key: highest + step}, 2) == Decoded((), frozenset({key}))
    if key != "fhz":  # whose 0 means unknown
        assert decode({key: lowest - step}, 2) == Decoded((), frozenset({key}))


def test_current_limits() -> None:
    """Each known member of `cll` is a part; 0 forbids charging; others are ignored."""
    limits = {
        "requestedCurrent": 13,
        "currentLimitMax": 32,
        "minChargingCurrent": 6,
        "loadLimit": 10,
        "temperatureCurrentLimit": 32,
        "adapterCurrentLimit": 16,
        "cableCurrentLimit": 20,
        "unsymetryCurrentLimit": 31.5,
        "awattar": 0,
        "accessControl": None,
        "new": 7,
    }
    assert values({"cll": limits}) == {
        "current_limit.requested": 13.0,
        "current_limit.maximum": 32.0,
        "current_limit.minimum": 6.0,
        "current_limit.temperature": 32.0,
        "current_limit.adapter": 16.0,
        "current_limit.cable": 20.0,
        "current_limit.load": 10.0,
        "current_limit.unbalanced": 31.5,
        "current_limit.awattar": 0.0,
    }
    assert failed({"cll": limits}) == set()


@pytest.mark.parametrize("odd", ["16", True, -1, 1e6, [], {}])
def test_a_bad_limit_costs_itself(odd: object) -> None:
    """The others stay, and `cll` is counted."""
    decoded = decode({"cll": {"requestedCurrent": odd, "loadLimit": 10}}, 2)
    assert [(label, value) for _, label, value, _ in decoded.readings] == [("load", 10.0)]
    assert decoded.failed == {"cll"}


def test_energy_by_source() -> None:
    """`whs`, `whg`, `whb` and `who` are the session's energy from each source."""
    got = values({"whs": 3000.5, "whg": 2000.25, "whb": 100, "who": 0})
    assert got == {
        "session_source_energy.solar": 3000.5,
        "session_source_energy.grid": 2000.25,
        "session_source_energy.battery": 100.0,
        "session_source_energy.other": 0.0,
    }
    assert failed({"whs": "x", "whg": 1}) == {"whs"}


@pytest.mark.parametrize(
    ("code", "state"),
    [(0, "none"), (1, "mid"), (2, "mid_and_calibration_law"), (3, "unknown")],
)
def test_mid_meter(code: int, state: str) -> None:
    """The MID meter's total, its session, and its certification."""
    status = {"eto_mid": 998_877, "wh_mid": 5100.5, "cert": code}
    assert [(row.name, value, code) for row, _, value, code in decode(status, 2).readings] == [
        ("mid_energy", 998_877.0, None),
        ("mid_session_energy", 5100.5, None),
        ("meter_certification", state, code),
    ]


BOOT = 1_750_000_000.0


def plugged_in(**status: object) -> Decoded:
    return decode(status, 2, CHANNELS, BOOT)


def test_time_of_plug_in() -> None:
    """`lccfi` is in ms since the charger started; the reading is a Unix time."""
    row = BY_NAME["plug_in_timestamp"]
    for lccfi in (3_600_250, 3_600_250.0):
        found = plugged_in(lccfi=lccfi, rbt=7_200_000)
        assert (row, "", 1_750_003_600.25, None) in found.readings
    assert not plugged_in(lccfi=None, rbt=7_200_000).failed


def test_time_of_plug_in_needs_the_start() -> None:
    """Without the uptime or the time of the start, it is absent."""
    assert (
        plugged_in(lccfi=3_600_000) == decode({"lccfi": 3_600_000}, 2) == Decoded((), frozenset())
    )
    assert plugged_in(lccfi=3_600_000, rbt="x").failed == {"rbt"}


@pytest.mark.parametrize("lccfi", [-1, 7_200_001, math.nan, math.inf, HUGE, True, "1", [], {}])
def test_a_bad_time_of_plug_in(lccfi: object) -> None:
    """A car was plugged in after the start and before now."""
    found = plugged_in(lccfi=lccfi, rbt=7_200_000)
    assert [reading.channel.name for reading in found.readings] == ["uptime"]
    assert found.failed == {"lccfi"}


@pytest.mark.parametrize(
    ("index", "highest", "beyond"),
    [(0, 290, 1001), (4, 50, 50.1), (7, 15_000, 15_001), (11, 45_000, 45_001)],
)
def test_range_of_the_meter(index: int, highest: float, beyond: float) -> None:
    """No phase has more than 50 A or 15 kW, no charger 45 kW; 290 V is a broken neutral."""
    nrg: list[object] = [None] * 16
    nrg[index] = highest
    assert list(values({"nrg": nrg}).values()) == [highest]
    nrg[index] = beyond
    assert decode({"nrg": nrg}, 2) == Decoded((), frozenset({"nrg"}))
    if index:
        nrg[index] = -beyond
        assert decode({"nrg": nrg}, 2) == Decoded((), frozenset({"nrg"}))


@pytest.mark.parametrize(
    ("raw", "readable"), [(-60, True), (200, True), (-61, False), (201, False)]
)
def test_range_of_a_temperature(raw: float, *, readable: bool) -> None:
    """No charger is colder than -60 °C or hotter than 200 °C."""
    assert values({"tma": [raw]}) == ({"temperature.type2_port": float(raw)} if readable else {})
    assert failed({"tma": [raw]}) == (set() if readable else {"tma"})


@pytest.mark.parametrize("raw", [0, 0.0, -0.0])
def test_a_frequency_of_zero_is_unknown(raw: float) -> None:
    """`fhz` 0 means unknown: no reading and no failure."""
    assert decode({"fhz": raw}, 2) == Decoded((), frozenset())


def test_zero_is_a_reading_elsewhere() -> None:
    """A measured zero is exported, unless the row declares zero as absent."""
    got = values({"tpa": 0, "ppv": 0, "amp": 0, "rbc": 0, "c0e": 0, "nrg": [0]})
    assert got == {
        "power_average": 0.0,
        "pv_power": 0.0,
        "max_current": 0.0,
        "reboots": 0.0,
        "card_energy.1": 0.0,
        "phase_voltage.L1": 0.0,
    }


# Flags, counts, states, texts


@pytest.mark.parametrize(
    ("key", "name"),
    [("alw", "charging_allowed"), ("adi", "adapter_connected"), ("fup", "pv_surplus_enabled")],
)
def test_flag(key: str, name: str) -> None:
    """A flag is true or false in JSON, nothing similar."""
    assert values({key: True}) == {name: True}
    assert values({key: False}) == {name: False}
    for raw in (0, 1, 1.0, "1", "true", [], {}, math.nan, HUGE):
        assert decode({key: raw}, 2) == Decoded((), frozenset({key}))


def test_flags_of_the_contactor() -> None:
    """`pha` holds L1 to L3 after the contactor, then L1 to L3 before it."""
    assert values({"pha": [True, False, False, True, True, False]}) == {
        "phases": 1.0,
        "phase_contactor_closed.L1": True,
        "phase_contactor_closed.L2": False,
        "phase_contactor_closed.L3": False,
        "phase_energized.L1": True,
        "phase_energized.L2": True,
        "phase_energized.L3": False,
    }


@pytest.mark.parametrize(
    ("status", "phases"),
    [
        ({"pnp": 0}, 0.0),
        ({"pnp": 1}, 1.0),
        ({"pnp": 3.0}, 3.0),
        ({"pnp": 1, "pha": [True] * 6}, 1.0),
        ({"pnp": None, "pha": [True] * 6}, 3.0),
        ({"pnp": "junk", "pha": [True, True, False, True, True, True]}, 2.0),
        ({"pnp": 4, "pha": [False] * 6}, 0.0),
        ({"pha": [True, True, True]}, 3.0),
        ({"pnp": 4}, None),
        ({"pnp": -1}, None),
        ({"pnp": 1.5}, None),
        ({"pnp": True}, None),
        ({"pnp": math.nan}, None),
        ({"pnp": math.inf}, None),
        ({"pnp": HUGE}, None),
        ({"pha": []}, None),
        ({"pha": [True, True]}, None),
        ({"pha": [True, None, True, True, True, True]}, None),
        ({"pha": [1, 1, 1, 1, 1, 1]}, None),
    ],
)
def test_phases(status: dict[str, object], phases: float | None) -> None:
    """`pnp` is the number of phases in use; without it the closed contactors are counted."""
    assert values(status).get("phases") == phases


def test_a_key_that_another_one_replaces_is_counted_still() -> None:
    """A bad value of the first key is a failure, even if the second key has a good one."""
    assert failed({"pnp": "junk", "pha": [True] * 6}) == {"pnp"}
    status = {"c0e": "junk", "cards": [{"name": "a", "energy": 700}]}
    assert values(status) == {"card_energy.1": 700.0}
    assert failed(status) == {"c0e"}


@pytest.mark.parametrize(
    ("key", "raw", "name", "word", "code"),
    [
        ("car", 2, "car_state", "charging", 2),
        ("car", 2.0, "car_state", "charging", 2),
        ("car", 0, "car_state", "unknown", 0),
        ("car", 77, "car_state", "unknown", 77),
        ("car", 65_535, "car_state", "unknown", 65_535),
        ("err", 0, "error", "none", 0),
        ("frc", 1, "force_state", "off", 1),
        ("psm", 2, "phase_mode", "three", 2),
        ("cus", 3, "cable_lock", "locked", 3),
        ("lmo", 3, "logic_mode", "default", 3),
        ("acs", 1, "access", "wait", 1),
        ("modelStatus", 12, "charging_reason", "pv_surplus", 12),
        ("modelStatus", 21, "charging_reason", "unknown", 21),
    ],
)
def test_state(key: str, raw: float, name: str, word: str, code: int) -> None:
    """A state has its name and its code; an unlisted code is `unknown`."""
    assert decode({key: raw}, 2) == Decoded((Reading(BY_NAME[name], "", word, code),), frozenset())
    assert type(decode({key: raw}, 2).readings[0].code) is int


@pytest.mark.parametrize("raw", [*NO_NUMBERS, *NOT_FINITE, *TEXTS, 2.5, -1, 65_536, 1e300])
@pytest.mark.parametrize("key", ["car", "err", "modelStatus", "acs"])
def test_no_state(key: str, raw: object) -> None:
    """The code of a state is an integer; other values have no reading."""
    assert decode({key: raw}, 2) == Decoded((), frozenset({key}))


@pytest.mark.parametrize(
    ("firmware", "code", "word"),
    [
        ("055.7", 14, "no_communication"),
        ("56.9", 13, "over_temperature"),
        ("60.5", 14, "fi_unknown"),
        ("60.5", 16, "over_temperature"),
        ("59.0", 23, "rdc_self_test_failed"),
        (None, 14, "unknown"),
        ("junk", 14, "unknown"),
        (60.5, 14, "unknown"),
        ("junk", 8, "gnd_invalid"),
    ],
)
def test_error_depends_on_the_firmware(firmware: object, code: int, word: str) -> None:
    """Above 10 the name of an error follows the firmware's numbering; the code is exported."""
    readings = decode({"err": code, "fwv": firmware}, 2, (BY_NAME["error"],)).readings
    assert readings == (Reading(BY_NAME["error"], "", word, code),)


@pytest.mark.parametrize(
    ("code", "word"), [(0, "none"), (1, "fi_ac"), (2, "internal"), (14, "internal")]
)
def test_error_depends_on_the_api(code: int, word: str) -> None:
    """v1 has three names of errors and calls the other ones internal."""
    readings = decode({"err": code, "fwv": "041.0"}, 1).readings
    assert Reading(BY_NAME["error"], "", word, code) in readings


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("go-eCharger_V4", "go-eCharger_V4"),
        ("  my charger ", "my charger"),
        (22, "22"),
        (11.0, "11"),
        ("half \ud83d", "half ?"),
        ("🚗🔌", "🚗🔌"),
        ('say "hi"\n', 'say "hi"'),
        ("x" * 512, "x" * 512),
        ("x" * 513, "x" * 511 + "…"),
        ("🚗" * 10_000, "🚗" * 511 + "…"),
    ],
)
@pytest.mark.parametrize(
    ("key", "name"),
    [("typ", "model"), ("fna", "device_name"), ("sse", "serial"), ("fwv", "firmware")],
)
def test_text(key: str, name: str, raw: object, text: str) -> None:
    """A text is stripped, cut to 512 characters, and has no half surrogate pairs."""
    assert values({key: raw}) == {name: text}


@pytest.mark.parametrize("raw", ["", " ", "\n\t"])
def test_an_empty_text_is_absent(raw: str) -> None:
    """An empty name has no reading and is not a failure."""
    assert decode({"fna": raw}, 2) == Decoded((), frozenset())


@pytest.mark.parametrize("raw", [True, 1.5, [], ["a"], {}, *NOT_FINITE, 10**12])
def test_no_text(raw: object) -> None:
    """A text is a string or an integer; other values have no reading."""
    assert decode({"var": raw}, 2) == Decoded((), frozenset({"var"}))


# Arrays and objects


def test_a_bad_element_costs_itself() -> None:
    """A bad element of an array affects its own reading only; the key is returned once."""
    status = {"nrg": [230, "junk", None, 1, math.nan, 6.5, True]}
    assert values(status) == {
        "phase_voltage.L1": 230.0,
        "phase_voltage.N": 1.0,
        "phase_current.L2": 6.5,
    }
    assert failed(status) == {"nrg"}


@pytest.mark.parametrize("raw", ["230", 230, True, {"0": 230}])
def test_no_array(raw: object) -> None:
    """A key that should be an array is undecodable otherwise, even if it can be indexed."""
    assert decode({"nrg": raw, "tma": raw}, 2) == Decoded((), frozenset({"nrg", "tma"}))


def test_card_energies() -> None:
    """Since firmware 60 each card has its key; before, `cards` is a list of objects."""
    cards = [{"name": "User 1", "energy": 1000, "cardId": True}, {"name": "n/a", "energy": 0}]
    assert values({"cards": cards}) == {"card_energy.1": 1000.0, "card_energy.2": 0.0}
    # Firmware 60.3 returns both.
    assert values({"c0e": 1001, "cards": cards}) == {
        "card_energy.1": 1001.0,
        "card_energy.2": 0.0,
    }


@pytest.mark.parametrize("cards", [["x"], [[1]], [3], [{"energy": "1"}], [{"energy": -5}], "x", 5])
def test_broken_cards(cards: object) -> None:
    """Cards of another shape affect the card energies only."""
    assert decode({"cards": cards, "amp": 6}, 2) == Decoded(
        (Reading(BY_NAME["max_current"], "", 6.0),), frozenset({"cards"})
    )


def test_cards_without_an_energy() -> None:
    """A card without an energy has no reading."""
    assert decode({"cards": [{}, {"energy": None}, None]}, 2) == Decoded((), frozenset())


# Whatever comes


def statuses(keys: list[str]) -> st.SearchStrategy[dict[str, object]]:
    """Draw a status with any values of any keys, and with arrays of any values."""
    arrays = st.lists(SCALARS | st.fixed_dictionaries({"energy": SCALARS}), max_size=18)
    return st.builds(
        lambda some, lists: some | lists,
        st.dictionaries(st.sampled_from(keys), ANY_JSON, max_size=5),
        st.dictionaries(st.sampled_from(["nrg", "tma", "pha", "cards"]), arrays, max_size=2),
    )


def check(decoded: Decoded) -> None:
    """Check each reading's type, bounds and text, and that no part has two readings."""
    assert len({(row.name, label) for row, label, _, _ in decoded.readings}) == len(
        decoded.readings
    )
    for reading in decoded.readings:
        check_reading(reading.channel, reading)


def check_reading(row: Channel, reading: Reading) -> None:
    assert reading.label in {part.label for part in row.parts}
    low = row.unit.low if row.low is None else row.low
    high = row.unit.high if row.high is None else row.high
    value = reading.value
    if row.kind is Kind.FLAG:
        assert type(value) is bool
    elif row.kind is Kind.TEXT:
        assert type(value) is str
        assert value.encode("utf-8").decode("utf-8") == value
        assert 0 < len(value) <= 512
    elif row.kind in {Kind.STATE, Kind.REASON}:
        assert row.states is not None
        assert value in row.states.names
        assert type(reading.code) is int
        assert 0 <= reading.code <= 65_535
    else:
        assert type(value) is float
        assert math.isfinite(value)
        assert low <= value <= high
        assert reading.code is None
        if row.kind is Kind.COUNT:
            assert value in {0.0, 1.0, 2.0, 3.0}


def check_exposition(decoded: Decoded, api: int) -> None:
    """Check that a scrape of these readings parses and holds finite numbers only."""
    snapshot = Snapshot("garage", api, 1.7e9, 100.0, decoded.readings)
    stats = PollStats(up=True, polls=1, decode_failures=dict.fromkeys(decoded.failed, 1))
    text = render_readings([ChargerView("garage", "192.0.2.1", stats, snapshot, 0.0)])
    text.encode("utf-8")
    samples = [
        sample for family in text_string_to_metric_families(text) for sample in family.samples
    ]
    assert all(math.isfinite(sample.value) for sample in samples)
    assert {sample.labels["charger"] for sample in samples} == {"garage"}
    identities = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize("key", V2_KEYS)
def test_odd_values_in_every_place_of_v2(key: str) -> None:
    """Every known oddity, as a value and as an array element, is handled."""
    for odd in ODD:
        arrays = [[0] * index + [odd] for index in range(17)]
        for raw in (odd, *arrays, [odd] * 16, {"energy": odd}, [{"energy": odd}] * 10):
            decoded = decode({"fwv": "60.5"} | {key: raw}, 2)
            check(decoded)
            assert decoded.failed <= {key}


@pytest.mark.parametrize("key", V1_KEYS)
def test_odd_values_in_every_place_of_v1(key: str) -> None:
    """Every known oddity is handled through v1's translation too."""
    for odd in ODD:
        arrays = [[0] * index + [odd] for index in range(17)]
        for raw in (odd, *arrays, [odd] * 16, {"energy": odd}):
            check(decode(api_v1.status({"stp": "2", "loe": 1} | {key: raw}), 1))


@pytest.mark.parametrize("api", [1, 2])
def test_odd_values_in_all_keys_are_exported_soundly(api: int) -> None:
    """A status with the same oddity in all keys gives a valid exposition."""
    for odd in ODD:
        status: dict[str, object] = dict.fromkeys(V2_KEYS if api == 2 else V1_KEYS, odd)
        decoded = decode(status if api == 2 else api_v1.status(status), api)
        check_exposition(decoded, api)


@examples(300)
@given(statuses(V2_KEYS))
def test_any_v2_status_decodes(status: dict[str, object]) -> None:
    """Any v2 status decodes to valid readings and a valid exposition."""
    decoded = decode(status, 2)
    check(decoded)
    assert decoded.failed <= set(status)
    check_exposition(decoded, 2)


@examples(300)
@given(statuses(V1_KEYS))
def test_any_v1_status_decodes(status: dict[str, object]) -> None:
    """Any v1 status decodes to valid readings and a valid exposition."""
    decoded = decode(api_v1.status(status), 1)
    check(decoded)
    assert decoded.failed <= set(V2_KEYS)
    check_exposition(decoded, 1)


@examples(50)
@given(statuses([*V2_KEYS, "wss", "", "nrg "]))
def test_decoding_leaves_the_status_alone(status: dict[str, object]) -> None:
    """Decoding twice gives the same readings: nothing is changed or kept."""
    before = repr(status)
    assert decode(status, 2) == decode(status, 2)
    assert repr(status) == before


@examples(300)
@given(st.lists(st.tuples(statuses(V2_KEYS), st.sampled_from([1, 2]), st.booleans()), max_size=6))
def test_what_came_before_does_not_matter(some: list[tuple[dict[str, object], int, bool]]) -> None:
    """Each status decodes as it does by itself, even if it changes only some of the values."""
    decoder = Decoder(CHANNELS)
    status: dict[str, object] = {}
    for new, api, changes in [each for pair in zip(some, some, strict=True) for each in pair]:
        # A copy: an equal value is another object in the next answer.
        status = json.loads(json.dumps(status | new)) if changes else new
        decoded, by_itself = decoder.decode(status, api, 1e9), decode(status, api, CHANNELS, 1e9)
        assert repr(decoded.readings) == repr(by_itself.readings)
        assert decoded.failed == by_itself.failed
