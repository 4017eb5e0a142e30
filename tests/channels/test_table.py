"""Properties of every row of the channel table, and the names that must not change."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from paths import GOLDEN

from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import Channel, Choices, Kind, Range
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.influx.line_protocol import point
from goe_exporter.polling.view import ChargerView, Poll, PollStats
from goe_exporter.prometheus.exposition import render_readings
from goe_exporter.web.json_api import as_json

GOLDEN = GOLDEN / "channels.txt"

BY_NAME = {channel.name: channel for channel in CHANNELS}

OPENHAB = {
    "maxCurrent": ("max_current", "", Kind.GAUGE, "A"),
    "maxCurrentTemp": ("max_current_temporary", "", Kind.GAUGE, "A"),
    "pwmSignal": ("car_state", "", Kind.STATE, ""),
    "error": ("error", "", Kind.STATE, ""),
    "voltageL1": ("phase_voltage", "L1", Kind.GAUGE, "V"),
    "voltageL2": ("phase_voltage", "L2", Kind.GAUGE, "V"),
    "voltageL3": ("phase_voltage", "L3", Kind.GAUGE, "V"),
    "currentL1": ("phase_current", "L1", Kind.GAUGE, "A"),
    "currentL2": ("phase_current", "L2", Kind.GAUGE, "A"),
    "currentL3": ("phase_current", "L3", Kind.GAUGE, "A"),
    "powerL1": ("phase_power", "L1", Kind.GAUGE, "W"),
    "powerL2": ("phase_power", "L2", Kind.GAUGE, "W"),
    "powerL3": ("phase_power", "L3", Kind.GAUGE, "W"),
    "powerAll": ("power", "", Kind.GAUGE, "W"),
    "phases": ("phases", "", Kind.COUNT, ""),
    "sessionChargeEnergyLimit": ("session_energy_limit", "", Kind.GAUGE, "Wh"),
    "sessionChargedEnergy": ("session_energy", "", Kind.GAUGE, "Wh"),
    "totalChargedEnergy": ("energy", "", Kind.COUNTER, "Wh"),
    "allowCharging": ("charging_allowed", "", Kind.FLAG, ""),
    "cableCurrent": ("cable_current", "", Kind.GAUGE, "A"),
    "temperature": ("temperature", "board", Kind.GAUGE, "°C"),
    "temperatureType2Port": ("temperature", "type2_port", Kind.GAUGE, "°C"),
    "firmware": ("firmware", "", Kind.TEXT, ""),
    "accessConfiguration": ("access", "", Kind.STATE, ""),
    "forceState": ("force_state", "", Kind.STATE, ""),
}
"""openHAB's channel → row, part, kind and unit (docs/protocol.md §2)."""

METRICS = """
goe_phase_voltage_volts{phase} goe_phase_current_amperes{phase} goe_phase_power_watts{phase}
goe_phase_power_factor_ratio{phase} goe_power_watts goe_power_average_watts goe_grid_frequency_hertz
goe_energy_joules_total goe_session_energy_joules goe_session_energy_limit_joules
goe_card_energy_joules_total{card}
goe_session_source_energy_joules{source} goe_mid_energy_joules_total goe_mid_session_energy_joules
goe_meter_certification{state} goe_current_limit_amperes{limit} goe_plug_in_timestamp_seconds
goe_max_current_amperes goe_max_current_temporary_amperes goe_absolute_max_current_amperes
goe_allowed_current_amperes goe_cable_current_amperes goe_temperature_current_limit_amperes
goe_load_balancing_current_amperes goe_adapter_connected
goe_temperature_celsius{sensor} goe_charging_allowed goe_phases
goe_phase_contactor_closed{phase} goe_phase_energized{phase}
goe_car_state{state} goe_error{error} goe_force_state{state} goe_phase_mode{mode} goe_access{mode}
goe_cable_lock{state} goe_logic_mode{mode}
goe_charging_reason_info{reason}
goe_pv_grid_power_watts goe_pv_power_watts goe_pv_battery_power_watts
goe_uptime_seconds goe_reboots_total goe_wifi_signal_dbm
goe_device_info{serial} goe_device_info{model} goe_device_info{variant} goe_device_info{firmware}
goe_device_info{name} goe_device_info{revision} goe_device_info{style}
"""
"""The promised metrics of a charger's readings."""

FIELDS = """
phase_voltage_l1_v phase_voltage_l2_v phase_voltage_l3_v phase_voltage_n_v
phase_current_l1_a phase_current_l2_a phase_current_l3_a
phase_power_l1_w phase_power_l2_w phase_power_l3_w phase_power_n_w power_w
energy_wh session_energy_wh session_energy_limit_wh temperature_board_c temperature_type2_port_c
grid_frequency_hz max_current_a uptime_s car_state
"""
"""The promised InfluxDB fields."""

WRITABLE = {
    "max-current": {1, 2},
    "max-current-temporary": {1, 2},
    "phases": {2},
    "session-energy-limit": {1, 2},
    "charging-allowed": {1},
    "access": {1, 2},
    "force-state": {2},
    "transaction": {2},
    "awattar-max-price": {2},
}

LABELS = {
    "phase": {"L1", "L2", "L3", "N"},
    "sensor": set(
        "board type2_port grid_connector current_sensor type2_terminals mid_meter"
        " internal_1 internal_2 internal_3 internal_4".split()
    ),
    "card": set("1 2 3 4 5 6 7 8 9 10".split()),
    "source": {"solar", "grid", "battery", "other"},
    "limit": set(
        "requested maximum minimum temperature adapter cable load unbalanced awattar access".split()
    ),
}

SUFFIXES = {
    "V": ("volts", "v", 1),
    "A": ("amperes", "a", 1),
    "W": ("watts", "w", 1),
    "Wh": ("joules", "wh", 3600),
    "°C": ("celsius", "c", 1),
    "Hz": ("hertz", "hz", 1),
    "s": ("seconds", "s", 1),
    "dBm": ("dbm", "dbm", 1),
    "ct": ("cents", "ct", 1),
}

each_row = pytest.mark.parametrize("row", CHANNELS, ids=[channel.name for channel in CHANNELS])


@each_row
def test_instead(row: Channel) -> None:
    """The channel to write instead is another one, which can be written."""
    assert not row.instead or (row.instead != row.name and BY_NAME[row.instead].write)


def metric(row: Channel) -> str:
    """Return a row's sample name with its label, as in `goe_phase_power_watts{phase}`."""
    return f"{row.sample}{{{row.label}}}" if row.label else row.sample


def fields(row: Channel) -> list[str]:
    """Return the names and types of a row's Influx fields, as in `power_w float`."""
    if row.info_only:
        return []
    if row.name == "serial":
        return ["serial tag"]
    if row.kind in {Kind.STATE, Kind.REASON}:
        return [f"{row.field()} string", f"{row.field()}_code float"]
    kind = {Kind.TEXT: "string", Kind.FLAG: "boolean"}.get(row.kind, "float")
    return [f"{row.field(part.label)} {kind}" for part in row.parts]


def repeated(names: list[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def test_names_are_unique() -> None:
    """Names are unique: on the command line, in openHAB, as metrics and as fields."""
    assert repeated([row.name for row in CHANNELS]) == []
    assert repeated([row.option for row in CHANNELS]) == []
    assert repeated([name for row in CHANNELS for name in row.openhab.split()]) == []
    assert repeated([metric(row) for row in CHANNELS]) == []
    assert repeated([name for row in CHANNELS for name in fields(row)]) == []


def test_families_are_unique() -> None:
    """Only texts share a family, `goe_device_info`; no other family has two rows."""
    families = [row.metric for row in CHANNELS if row.kind is not Kind.TEXT]
    coded = [row for row in CHANNELS if row.kind in {Kind.STATE, Kind.REASON}]
    numbers = [f"goe_{row.name}_code" for row in coded]
    assert repeated([*families, *numbers, "goe_device_info"]) == []


def test_revision_and_style_are_labels_only() -> None:
    """Hardware revision and subtype (firmware 60.4) are labels of `goe_device_info` alone."""
    status = {"rev": "V2.1", "styp": "fixed", "amp": 16}
    snapshot = Snapshot("garage", 2, 1.0, 1.0, decode(status, 2).readings)
    view = ChargerView("garage", "192.0.2.1", PollStats(up=True), snapshot, 0.0)
    assert 'revision="V2.1",serial="",style="fixed",variant=""' in render_readings([view])
    assert as_json(view)["readings"] == {"max_current": 16.0}
    poll = Poll("garage", "", 1.0, snapshot)
    assert point(poll, {}) == "goe_charger,charger=garage up=true,max_current_a=16.0"


def test_our_names_are_nobody_elses_openhab_ids() -> None:
    """A name that is also an openHAB channel means the same row, such as `error`."""
    for row in CHANNELS:
        for other in CHANNELS:
            if row.name in other.openhab.split():
                assert other is row


@each_row
def test_texts_are_fit_to_print(row: Channel) -> None:
    """Names are snake case; the help is one line with a capital letter and a full stop."""
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", row.name)
    assert re.fullmatch(r"[A-Z1-9][^\n|`]*\.", row.help)
    assert row.option == row.name.replace("_", "-")


@each_row
def test_metric_ends_in_its_base_unit(row: Channel) -> None:
    """A metric's name is `goe_`, the row's name and the base unit, `_total` for counters only."""
    suffix, field, factor = SUFFIXES.get(row.unit.symbol, (row.unit.metric, row.unit.field, 1))
    assert suffix in {*(row[0] for row in SUFFIXES.values()), "ratio", ""}
    assert (row.unit.metric, row.unit.field, row.unit.factor) == (suffix, field, factor)
    expected = f"goe_{row.name}_{suffix}".rstrip("_")
    if row.kind is Kind.TEXT:
        expected = "goe_device_info"
    elif row.kind is Kind.REASON:
        expected = f"goe_{row.name}_info"
    elif row.kind is Kind.COUNTER:
        expected += "_total"
    assert row.sample == expected
    assert row.sample.endswith("_total") is (row.kind is Kind.COUNTER)


@each_row
def test_parts_have_labels(row: Channel) -> None:
    """Several parts have labels of a closed set; a single part has none."""
    labels = [part.label for part in row.parts]
    assert repeated(labels) == []
    if len(labels) > 1:
        assert set(labels) <= LABELS[row.label]
    else:
        assert labels == [""]
        needs_label = {Kind.STATE, Kind.REASON, Kind.TEXT}
        assert bool(row.label) is (row.kind in needs_label)


@each_row
def test_paths_start_at_the_rows_keys(row: Channel) -> None:
    """A row reads exactly the keys that it requests."""
    read = {path[0] for part in row.parts for path in part.paths}
    assert read == set(row.key.split())
    assert row.keys == (tuple(row.key.split()) if 2 in row.apis else ())


@each_row
def test_states_stand_where_a_state_is(row: Channel) -> None:
    """States and reasons have names; other rows have none."""
    assert (row.states is not None) is (row.kind in {Kind.STATE, Kind.REASON})


@each_row
def test_plausible_range_is_a_range(row: Channel) -> None:
    """A row's bounds are ordered, a counter's start at 0, and no number is divided by 0."""
    low = row.unit.low if row.low is None else row.low
    high = row.unit.high if row.high is None else row.high
    assert low < high
    assert row.divide > 0
    if row.kind is Kind.COUNTER:
        assert low == 0


@each_row
def test_writable_row_is_coherent(row: Channel) -> None:
    """Writable rows have known APIs and a non-empty range or choices."""
    assert set(row.write) <= set(row.apis) <= {1, 2}
    assert row.apis
    for spec in row.write.values():
        if isinstance(spec, Range):
            assert 0 < spec.step <= spec.high - spec.low
        else:
            assert isinstance(spec, Choices)
            assert spec.values
            assert all(word == word.lower() for word in spec.values)


def test_openhab_channels() -> None:
    """All 25 channels of openHAB's binding exist with their types, and no other one."""
    got = {}
    for row in CHANNELS:
        names = row.openhab.split()
        for name, part in zip(names, row.parts, strict=False):
            got[name] = (row.name, part.label, row.kind, row.unit.symbol)
        assert len(names) <= len(row.parts)
    assert got == OPENHAB
    assert len(got) == 25


def test_promised_metrics() -> None:
    """Every promised metric has a row with its label."""
    assert set(METRICS.split()) - {metric(row) for row in CHANNELS} == set()


def test_promised_fields() -> None:
    """Every promised InfluxDB field has a row."""
    got = {row.field(part.label) for row in CHANNELS for part in row.parts}
    assert set(FIELDS.split()) - got == set()


def test_parts_of_the_labelled_rows() -> None:
    """The labels are complete, in the charger's order, and at the right elements."""
    parts = {
        row.name: [(part.label, part.paths[0]) for part in row.parts]
        for row in CHANNELS
        if len(row.parts) > 1
    }
    assert parts == {
        "phase_voltage": [
            ("L1", ("nrg", 0)),
            ("L2", ("nrg", 1)),
            ("L3", ("nrg", 2)),
            ("N", ("nrg", 3)),
        ],
        "phase_current": [("L1", ("nrg", 4)), ("L2", ("nrg", 5)), ("L3", ("nrg", 6))],
        "phase_power": [
            ("L1", ("nrg", 7)),
            ("L2", ("nrg", 8)),
            ("L3", ("nrg", 9)),
            ("N", ("nrg", 10)),
        ],
        "phase_power_factor": [
            ("L1", ("nrg", 12)),
            ("L2", ("nrg", 13)),
            ("L3", ("nrg", 14)),
            ("N", ("nrg", 15)),
        ],
        "phase_contactor_closed": [("L1", ("pha", 0)), ("L2", ("pha", 1)), ("L3", ("pha", 2))],
        "phase_energized": [("L1", ("pha", 3)), ("L2", ("pha", 4)), ("L3", ("pha", 5))],
        "temperature": [
            ("type2_port", ("tma", 0)),
            ("board", ("tma", 1)),
            ("grid_connector", ("tma", 2)),
            ("current_sensor", ("tma", 3)),
            ("type2_terminals", ("tma", 4)),
            ("mid_meter", ("tma", 5)),
            ("internal_1", ("tma", 6)),
            ("internal_2", ("tma", 7)),
            ("internal_3", ("tma", 8)),
            ("internal_4", ("tma", 9)),
        ],
        "session_source_energy": [
            ("solar", ("whs",)),
            ("grid", ("whg",)),
            ("battery", ("whb",)),
            ("other", ("who",)),
        ],
        "current_limit": [
            ("requested", ("cll", "requestedCurrent")),
            ("maximum", ("cll", "currentLimitMax")),
            ("minimum", ("cll", "minChargingCurrent")),
            ("temperature", ("cll", "temperatureCurrentLimit")),
            ("adapter", ("cll", "adapterCurrentLimit")),
            ("cable", ("cll", "cableCurrentLimit")),
            ("load", ("cll", "loadLimit")),
            ("unbalanced", ("cll", "unsymetryCurrentLimit")),
            ("awattar", ("cll", "awattar")),
            ("access", ("cll", "accessControl")),
        ],
        "card_energy": [
            ("1", ("c0e",)),
            ("2", ("c1e",)),
            ("3", ("c2e",)),
            ("4", ("c3e",)),
            ("5", ("c4e",)),
            ("6", ("c5e",)),
            ("7", ("c6e",)),
            ("8", ("c7e",)),
            ("9", ("c8e",)),
            ("10", ("c9e",)),
        ],
    }


def test_what_may_be_written() -> None:
    """Exactly these rows may be written, each through exactly these APIs."""
    assert {row.option: set(row.write) for row in CHANNELS if row.write} == WRITABLE


@pytest.mark.parametrize(
    ("name", "api", "low", "high", "step", "off"),
    [
        ("max_current", 1, 6, 32, 1, False),
        ("max_current", 2, 6, 32, 1, False),
        ("max_current_temporary", 1, 6, 32, 1, False),
        ("session_energy_limit", 1, 100, 1_000_000, 100, True),
        ("session_energy_limit", 2, 1, 1_000_000, 1, True),
        ("transaction", 2, 0, 10, 1, True),
        ("awattar_max_price", 2, -50, 400, 0.1, False),
    ],
)
def test_written_numbers(
    name: str, api: int, low: float, high: float, step: float, *, off: bool
) -> None:
    """The writable ranges; v1 accepts an energy limit in steps of 100 Wh."""
    spec = BY_NAME[name].write[api]
    assert isinstance(spec, Range)
    assert (spec.low, spec.high, spec.step, spec.off, spec.key) == (low, high, step, off, "")


@pytest.mark.parametrize("name", ["max_current", "max_current_temporary"])
def test_written_current_is_limited_by_the_charger(name: str) -> None:
    """The limit of the charging current is `ama`: 16 A on a charger with 11 kW."""
    for spec in BY_NAME[name].write.values():
        assert isinstance(spec, Range)
        assert spec.limit == "ama"


@pytest.mark.parametrize(
    ("name", "api", "key", "values"),
    [
        ("phases", 2, "psm", {"auto": 0, "1": 1, "3": 2}),
        ("charging_allowed", 1, "", {"off": False, "on": True}),
        ("access", 1, "", {"open": 0, "wait": 1, "automatic": 2, "scheduler": 3}),
        ("access", 2, "", {"open": 0, "wait": 1, "evcms": 2}),
        ("force_state", 2, "", {"neutral": 0, "off": 1, "on": 2}),
    ],
)
def test_written_words(name: str, api: int, key: str, values: dict[str, object]) -> None:
    """The writable choices, and the value that each one sends."""
    spec = BY_NAME[name].write[api]
    assert isinstance(spec, Choices)
    assert (dict(spec.values), spec.key) == (values, key)


def test_keys_fit_into_one_request() -> None:
    """Live keys leave room for slow ones within the 35 keys that all firmware accepts."""
    live = {key for row in CHANNELS if not row.slow for key in row.keys}
    slow = {key for row in CHANNELS if row.slow for key in row.keys}
    assert len(live) + 4 <= 35
    assert live & slow == set()
    # A cycle of 5 s must come around all slow keys within their 60 s.
    assert (35 - len(live)) * 12 >= len(slow)


def test_live_rows() -> None:
    """Values that change within seconds are requested in every poll."""
    live = {row.name for row in CHANNELS if not row.slow}
    assert live >= {
        *("phase_voltage", "phase_current", "phase_power", "power", "energy", "session_energy"),
        *("car_state", "error", "charging_allowed", "phases", "max_current", "temperature"),
    }


def test_no_secret_is_asked_for() -> None:
    """No row reads WiFi names or keys, card ids, tokens, passwords, or ambiguous keys."""
    asked = {key for row in CHANNELS for key in row.key.split()}
    secret = set("wss wke wak wifis scan ccw wsl wsm rca rcr rcd cak mcu mck loc utc cch".split())
    assert asked & (secret | {"cdi", "lot", "log"}) == set()


def test_names_and_types_are_frozen(update_golden: bool) -> None:
    """No metric and no InfluxDB field changes its name or type: users build on them.

    `pytest --update-golden` writes the list anew; a line that was removed or changed breaks users.
    """
    metrics = dict.fromkeys(f"{metric(row)} {row.kind.value}" for row in CHANNELS)
    lines = ["# Metrics", *metrics, "", "# InfluxDB fields"]
    lines += [line for row in CHANNELS for line in fields(row)]
    text = "\n".join(lines) + "\n"
    if update_golden:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
