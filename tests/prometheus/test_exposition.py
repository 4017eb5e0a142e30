"""The exposition of `/metrics`: complete outputs, and their properties."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pytest
from exposed import FIXTURES, OPENMETRICS, TIME, Samples, down, lint, samples, view
from hostile import TEXTS
from hypothesis import given
from hypothesis import strategies as st
from paths import GOLDEN
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from goe_exporter import __version__
from goe_exporter.channels.model import Kind
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import REASONS
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import Exposition, render_readings
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service.self_metrics import polling

BAD_KEYS_OF_EVIL = set(
    """
    nrg tpa fhz eto wh dwo modelStatus alw frc psm cus trx pnp pha amp acu cbl amt loa ama adi tma
    rbt rssi pgrid ppv var awp fup rbc c0e c1e cards
    """.split()
)


def value(found: Samples, name: str, **labels: str) -> float | None:
    """Return the sample of the charger `garage` with exactly these further labels."""
    return found.get((name, frozenset({"charger": "garage", **labels}.items())))


def labels_of(found: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for sample, labels in found if sample == name]


def exposition(views: Iterable[ChargerView]) -> Exposition:
    """Return an endpoint with these chargers, the polling's families and those of the process."""
    views = tuple(views)
    own = partial(polling, Scheduler(()))
    return Exposition(lambda: views, [own, process_metrics()])


# Whole outputs


@pytest.mark.parametrize("fixture", FIXTURES)
def test_golden(fixture: str, update_golden: bool) -> None:
    """A status gives exactly this exposition; `pytest --update-golden` updates it."""
    golden = GOLDEN / f"{fixture}.prom"
    text = render_readings([view(fixture)])
    if update_golden:
        golden.write_text(text, encoding="utf-8", newline="\n")
    assert text == golden.read_bytes().decode("utf-8")


def test_golden_of_two_chargers_and_one_that_is_down(update_golden: bool) -> None:
    """Several chargers share families, each with its name."""
    golden = GOLDEN / "three_chargers.prom"
    text = render_readings(
        [view("v2_v4_one_phase_noise", "left"), down("middle"), view("v1_legacy_v3_idle", "right")]
    )
    if update_golden:
        golden.write_text(text, encoding="utf-8", newline="\n")
    assert text == golden.read_bytes().decode("utf-8")


def test_every_golden_file_has_its_test() -> None:
    """Every golden file has a fixture."""
    assert len(FIXTURES) == 6
    names = {path.stem for path in (GOLDEN).glob("*.prom")}
    assert names == {*FIXTURES, "three_chargers", "controller_house", "controller_evil"}


@pytest.mark.system
@pytest.mark.parametrize("golden", [*FIXTURES, "three_chargers"])
def test_promtool_finds_nothing_in_golden_files(golden: str) -> None:
    """`promtool check metrics` accepts every golden file."""
    lint((GOLDEN / f"{golden}.prom").read_bytes().decode("utf-8"))


@pytest.mark.system
def test_promtool_finds_nothing_on_the_endpoint() -> None:
    """`promtool check metrics` accepts all of `/metrics`, including process metrics."""
    views = [view(fixture, fixture) for fixture in FIXTURES]
    lint(exposition([*views, down()]).render()[0].decode("utf-8"))


@pytest.mark.system
@pytest.mark.parametrize("name", [text for text in TEXTS if text.isprintable() or "\n" in text])
def test_promtool_reads_hostile_names(name: str) -> None:
    """Prometheus' parser accepts hostile names of chargers."""
    lint(render_readings([view("v2_v4_one_phase_noise", name)]))


# Numbers, typed by hand

DEVICE_OF_NOBODY = dict.fromkeys(
    ("serial", "model", "variant", "firmware", "name", "revision", "style"), ""
)


@pytest.mark.parametrize(
    ("fixture", "sample", "expected"),
    [
        # 45670 * 100 Wh * 3600 J/Wh
        ("v1_v2hardware_charging", "goe_energy_joules_total", 16_441_200_000),
        # 540000 * 10 Ws
        ("v1_v2hardware_charging", "goe_session_energy_joules", 5_400_000),
        # 125 * 100 Wh * 3600
        ("v1_v2hardware_charging", "goe_session_energy_limit_joules", 45_000_000),
        # 12000, 3301 and 7 * 100 Wh * 3600
        ("v1_v2hardware_charging", "goe_card_energy_joules_total card=1", 4_320_000_000),
        ("v1_v2hardware_charging", "goe_card_energy_joules_total card=2", 1_188_360_000),
        ("v1_v2hardware_charging", "goe_card_energy_joules_total card=10", 2_520_000),
        ("v1_v2hardware_charging", "goe_phase_voltage_volts phase=L3", 231),
        ("v1_v2hardware_charging", "goe_phase_current_amperes phase=L1", 9.9),
        ("v1_v2hardware_charging", "goe_phase_power_watts phase=L3", 2300),
        ("v1_v2hardware_charging", "goe_phase_power_factor_ratio phase=L3", 0.99),
        ("v1_v2hardware_charging", "goe_power_watts", 6780),
        ("v1_v2hardware_charging", "goe_temperature_celsius sensor=board", 31),
        ("v1_v2hardware_charging", "goe_temperature_celsius sensor=type2_port", None),
        ("v1_v2hardware_charging", "goe_max_current_amperes", 13),
        ("v1_v2hardware_charging", "goe_max_current_temporary_amperes", 10),
        ("v1_v2hardware_charging", "goe_absolute_max_current_amperes", 32),
        ("v1_v2hardware_charging", "goe_cable_current_amperes", 20),
        ("v1_v2hardware_charging", "goe_load_balancing_current_amperes", 14),
        ("v1_v2hardware_charging", "goe_uptime_seconds", 2_259_000.5),
        ("v1_v2hardware_charging", "goe_reboots_total", 41),
        ("v1_v2hardware_charging", "goe_transaction", 2),
        ("v1_v2hardware_charging", "goe_phases", 3),
        ("v1_v2hardware_charging", "goe_charging_allowed", 1),
        ("v1_v2hardware_charging", "goe_adapter_connected", 0),
        ("v1_v2hardware_charging", "goe_car_state state=charging", 1),
        ("v1_v2hardware_charging", "goe_access mode=wait", 1),
        ("v1_v2hardware_charging", "goe_error error=none", 1),
        # 901 * 100 Wh * 3600; 450 * 100 Wh * 3600
        ("v1_legacy_v3_idle", "goe_energy_joules_total", 324_360_000),
        ("v1_legacy_v3_idle", "goe_card_energy_joules_total card=2", 162_000_000),
        ("v1_legacy_v3_idle", "goe_session_energy_joules", 0),
        ("v1_legacy_v3_idle", "goe_session_energy_limit_joules", None),
        ("v1_legacy_v3_idle", "goe_cable_current_amperes", None),
        ("v1_legacy_v3_idle", "goe_max_current_temporary_amperes", None),
        ("v1_legacy_v3_idle", "goe_load_balancing_current_amperes", None),
        ("v1_legacy_v3_idle", "goe_phase_voltage_volts phase=L1", 233.5),
        ("v1_legacy_v3_idle", "goe_phase_voltage_volts phase=N", 4.25),
        ("v1_legacy_v3_idle", "goe_temperature_celsius sensor=type2_port", 24.25),
        ("v1_legacy_v3_idle", "goe_temperature_celsius sensor=board", 29.5),
        ("v1_legacy_v3_idle", "goe_uptime_seconds", 86_400.25),
        ("v1_legacy_v3_idle", "goe_phases", 0),
        ("v1_legacy_v3_idle", "goe_phase_energized phase=L1", 1),
        ("v1_legacy_v3_idle", "goe_phase_energized phase=L2", 0),
        ("v1_legacy_v3_idle", "goe_car_state state=idle", 1),
        ("v1_legacy_v3_idle", "goe_error error=phase", 1),
        ("v1_legacy_v3_idle", "goe_error_code", 3),
        # 2345678, 5123.25, 20000 and 120000.5 Wh * 3600
        ("v2_v3_charging_three_phases", "goe_energy_joules_total", 8_444_440_800),
        ("v2_v3_charging_three_phases", "goe_session_energy_joules", 18_443_700),
        ("v2_v3_charging_three_phases", "goe_session_energy_limit_joules", 72_000_000),
        ("v2_v3_charging_three_phases", "goe_card_energy_joules_total card=1", 432_001_800),
        ("v2_v3_charging_three_phases", "goe_card_energy_joules_total card=2", 0),
        ("v2_v3_charging_three_phases", "goe_card_energy_joules_total card=3", None),
        ("v2_v3_charging_three_phases", "goe_phase_current_amperes phase=L2", 15.5),
        ("v2_v3_charging_three_phases", "goe_phase_power_watts phase=N", 10),
        ("v2_v3_charging_three_phases", "goe_phase_power_factor_ratio phase=L2", 0.98),
        ("v2_v3_charging_three_phases", "goe_power_average_watts", 10_640),
        ("v2_v3_charging_three_phases", "goe_grid_frequency_hertz", 49.985),
        ("v2_v3_charging_three_phases", "goe_temperature_current_limit_amperes", 28),
        ("v2_v3_charging_three_phases", "goe_allowed_current_amperes", 16),
        ("v2_v3_charging_three_phases", "goe_wifi_signal_dbm", -67),
        ("v2_v3_charging_three_phases", "goe_pv_grid_power_watts", -1250.5),
        ("v2_v3_charging_three_phases", "goe_pv_power_watts", 11_800),
        ("v2_v3_charging_three_phases", "goe_pv_battery_power_watts", 0),
        ("v2_v3_charging_three_phases", "goe_charging_reason_info reason=pv_surplus", 1),
        ("v2_v3_charging_three_phases", "goe_charging_reason_code", 12),
        ("v2_v3_charging_three_phases", "goe_force_state state=on", 1),
        ("v2_v3_charging_three_phases", "goe_phase_mode mode=three", 1),
        ("v2_v3_charging_three_phases", "goe_cable_lock state=locked", 1),
        ("v2_v3_charging_three_phases", "goe_logic_mode mode=awattar", 1),
        ("v2_v3_charging_three_phases", "goe_pv_surplus_enabled", 1),
        # -0.0015 and 98765.4 Wh * 3600
        ("v2_v4_one_phase_noise", "goe_session_energy_joules", -5.4),
        ("v2_v4_one_phase_noise", "goe_energy_joules_total", 355_555_440),
        ("v2_v4_one_phase_noise", "goe_phases", 1),
        ("v2_v4_one_phase_noise", "goe_phase_current_amperes phase=L3", 0.04),
        ("v2_v4_one_phase_noise", "goe_phase_contactor_closed phase=L1", 1),
        ("v2_v4_one_phase_noise", "goe_phase_contactor_closed phase=L2", 0),
        ("v2_v4_one_phase_noise", "goe_grid_frequency_hertz", None),
        ("v2_v4_one_phase_noise", "goe_temperature_celsius sensor=type2_port", 33),
        ("v2_v4_one_phase_noise", "goe_temperature_celsius sensor=board", None),
        ("v2_v4_one_phase_noise", "goe_pv_power_watts", None),
        ("v2_v4_one_phase_noise", "goe_charging_reason_info reason=unknown", 1),
        ("v2_v4_one_phase_noise", "goe_charging_reason_code", 77),
        ("v2_v4_one_phase_noise", "goe_uptime_seconds", 1.5),
        # 1250.5, 33 and 1 Wh * 3600: c0e stands before `cards`, which still says 7
        ("v2_pro_fault_firmware_60", "goe_card_energy_joules_total card=1", 4_501_800),
        ("v2_pro_fault_firmware_60", "goe_card_energy_joules_total card=3", None),
        ("v2_pro_fault_firmware_60", "goe_card_energy_joules_total card=4", 118_800),
        ("v2_pro_fault_firmware_60", "goe_card_energy_joules_total card=10", 3600),
        ("v2_pro_fault_firmware_60", "goe_error error=fi_unknown", 1),
        ("v2_pro_fault_firmware_60", "goe_error error=no_communication", 0),
        ("v2_pro_fault_firmware_60", "goe_error_code", 14),
        ("v2_pro_fault_firmware_60", "goe_car_state state=error", 1),
        ("v2_pro_fault_firmware_60", "goe_cable_lock state=power_out", 1),
        ("v2_pro_fault_firmware_60", "goe_access mode=evcms", 1),
        ("v2_pro_fault_firmware_60", "goe_temperature_celsius sensor=type2_port", None),
        ("v2_pro_fault_firmware_60", "goe_temperature_celsius sensor=board", None),
        ("v2_pro_fault_firmware_60", "goe_temperature_celsius sensor=grid_connector", 44.5),
        ("v2_pro_fault_firmware_60", "goe_temperature_celsius sensor=mid_meter", 39.75),
        ("v2_pro_fault_firmware_60", "goe_cable_current_amperes", None),
        ("v2_pro_fault_firmware_60", "goe_allowed_current_amperes", None),
        ("v2_pro_fault_firmware_60", "goe_transaction", None),
        ("v2_pro_fault_firmware_60", "goe_load_balancing_current_amperes", 12),
        # What is left of the evil one
        ("v2_evil", "goe_phase_voltage_volts phase=L1", 230),
        ("v2_evil", "goe_phase_voltage_volts phase=L2", None),
        ("v2_evil", "goe_phase_power_watts phase=L2", 7.5),
        ("v2_evil", "goe_power_watts", None),
        ("v2_evil", "goe_phase_power_factor_ratio phase=L1", 0.98),
        ("v2_evil", "goe_phase_power_factor_ratio phase=L2", None),
        ("v2_evil", "goe_energy_joules_total", None),
        ("v2_evil", "goe_car_state state=unknown", 1),
        ("v2_evil", "goe_car_state_code", 99),
        ("v2_evil", "goe_error error=unknown", 1),
        ("v2_evil", "goe_error_code", 24),
        ("v2_evil", "goe_temperature_celsius sensor=board", 31.5),
        ("v2_evil", "goe_temperature_celsius sensor=type2_port", None),
        ("v2_evil", "goe_pv_battery_power_watts", -7),
        # 10 and 20 Wh * 3600, where c0e and c1e are broken
        ("v2_evil", "goe_card_energy_joules_total card=1", 36_000),
        ("v2_evil", "goe_card_energy_joules_total card=2", 72_000),
        ("v2_evil", "goe_card_energy_joules_total card=4", None),
        ("v2_evil", "goe_charging_allowed", None),
        ("v2_evil", "goe_access_code", 3),
        ("v2_evil", "goe_access mode=unknown", 1),
        ("v2_evil", "goe_phase_contactor_closed phase=L1", 1),
        ("v2_evil", "goe_phases", None),
    ],
)
def test_number(fixture: str, sample: str, expected: float | None) -> None:
    """A number of a fixture is exported in base units; None means no sample."""
    name, *label = sample.split()
    labels = dict(pair.split("=") for pair in label)
    got = value(samples(render_readings([view(fixture)])), name, **labels)
    assert got == (None if expected is None else pytest.approx(expected, rel=1e-9))


@pytest.mark.parametrize(
    ("fixture", "expected"),
    [
        ("v1_v2hardware_charging", {"serial": "012345", "firmware": "040.0", "api": "1"}),
        (
            "v2_v3_charging_three_phases",
            {
                "serial": "201234",
                "model": "go-eCharger_V3",
                "variant": "11",
                "firmware": "055.7",
                "name": "Carport",
                "api": "2",
            },
        ),
        (
            "v2_evil",
            {
                "serial": "? half",
                "model": "<script>alert(1)</script>",
                "firmware": '60.5"}\ngoe_up{charger="forged"} 1',
                "name": "back\\slash\n# HELP goe_up forged\n🚗",
                "api": "2",
            },
        ),
    ],
)
def test_device(fixture: str, expected: dict[str, str]) -> None:
    """One sample identifies the device; unknown labels are empty."""
    found = samples(render_readings([view(fixture)]))
    assert labels_of(found, "goe_device_info") == [
        {"charger": "garage", **DEVICE_OF_NOBODY, **expected}
    ]


# Families


@pytest.mark.parametrize("fixture", FIXTURES)
def test_state_sets(fixture: str) -> None:
    """A state set has one series per state, including `unknown`; exactly one is 1."""
    found = samples(render_readings([view(fixture)]))
    present = {reading.channel.name for reading in view(fixture).snapshot.readings}  # type: ignore[union-attr]
    seen = 0
    for row in CHANNELS:
        series = {
            dict(labels)[row.label]: number
            for (name, labels), number in found.items()
            if row.states is not None and name == row.metric
        }
        if row.kind is Kind.STATE and row.name in present:
            assert row.states is not None
            assert set(series) == set(row.states.names)
            assert "unknown" in series
            assert sorted(series.values()) == [0.0] * (len(series) - 1) + [1.0]
            seen += 1
        elif row.kind is Kind.REASON and row.name in present:
            assert list(series.values()) == [1.0]
        else:
            assert series == {}
    assert seen >= 2


def test_states_of_the_car_and_of_forcing() -> None:
    """The series of a state set, typed."""
    found = samples(render_readings([view("v2_v3_charging_three_phases")]))
    assert {labels["state"] for labels in labels_of(found, "goe_car_state")} == set(
        "unknown idle charging waiting_for_car complete error initializing".split()
    )
    assert {labels["state"] for labels in labels_of(found, "goe_force_state")} == set(
        "neutral off on unknown".split()
    )
    assert {labels["mode"] for labels in labels_of(found, "goe_phase_mode")} == set(
        "auto single three unknown".split()
    )
    assert value(found, "goe_car_state", state="charging") == 1
    assert value(found, "goe_car_state", state="idle") == 0


@pytest.mark.parametrize("fixture", FIXTURES)
def test_types_and_help(fixture: str) -> None:
    """Each family has HELP and TYPE once; only names with `_total` are counters."""
    text = render_readings([view(fixture)])
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helped = re.findall(r"^# HELP (\S+) \S.*\.$", text, re.MULTILINE)
    assert len(helped) == len(set(helped)) == len(kinds)
    assert set(helped) == set(kinds)
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        name for name in kinds if name.endswith("_total")
    }
    assert set(kinds.values()) == {"gauge", "counter"}
    assert all(name.startswith("goe_") for name in kinds)


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_series_carries_the_charger(fixture: str) -> None:
    """Every series of a charger has its name as a label, and every number is finite."""
    found = samples(render_readings([view(fixture, "links")]))
    assert {dict(labels).get("charger") for _, labels in found} == {"links"}
    assert all(math.isfinite(number) for number in found.values())


def test_families_are_not_torn() -> None:
    """The samples of a family are contiguous, as the text format requires."""
    text = render_readings([view(fixture, fixture) for fixture in FIXTURES])
    names = [line.split("{")[0] for line in text.splitlines() if line.startswith("goe_")]
    runs = [name for name, before in zip(names, ["", *names], strict=False) if name != before]
    assert len(runs) == len(set(runs))


def test_secrets_do_not_reach_the_exposition() -> None:
    """WiFi names, keys and card ids of the fixtures are not on `/metrics`."""
    text = exposition([view(fixture, fixture) for fixture in FIXTURES]).render()[0].decode("utf-8")
    for secret in ("not-to-be-seen", "Fritz", "04A1B2C3", "Grace"):
        assert secret not in text


# Poll statistics


def test_a_charger_without_snapshot_has_poll_statistics_only() -> None:
    """A charger that is down has no readings, and `goe_up` is 0."""
    found = samples(render_readings([down()]))
    assert {name for name, _ in found} == {
        "goe_up",
        "goe_last_success_timestamp_seconds",
        "goe_snapshot_age_seconds",
        "goe_poll_duration_seconds",
        "goe_polls_total",
        "goe_poll_failures_total",
    }
    assert value(found, "goe_up") == 0
    assert value(found, "goe_last_success_timestamp_seconds") == TIME
    assert value(found, "goe_snapshot_age_seconds") == 300.0
    assert value(found, "goe_poll_duration_seconds") == 4.0
    assert value(found, "goe_polls_total") == 9
    assert value(found, "goe_poll_failures_total", reason="timeout") == 4
    assert value(found, "goe_poll_failures_total", reason="dns") == 0


def test_a_charger_without_snapshot_keeps_its_identity() -> None:
    """`goe_device_info` stays as it was, and is the only reading."""
    live = view("v2_v3_charging_three_phases")
    assert live.snapshot is not None
    texts = tuple(each for each in live.snapshot.readings if each.channel.kind is Kind.TEXT)
    dead = replace(down(live.name), identity=texts, api=2)
    lines = [
        line
        for shown in (live, dead)
        for line in render_readings([shown]).splitlines()
        if line.startswith("goe_device_info{")
    ]
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert not any(name.startswith("goe_phase") for name, _ in samples(render_readings([dead])))


def test_a_charger_that_was_never_polled() -> None:
    """Before the first poll has ended there is no `goe_up`, only counters of zero."""
    found = samples(render_readings([ChargerView("garage", "192.0.2.7", PollStats(), None, None)]))
    assert {name for name, _ in found} == {"goe_polls_total", "goe_poll_failures_total"}
    assert set(found.values()) == {0.0}


def test_poll_statistics_of_a_healthy_charger() -> None:
    """Failure counters exist from the start, one per reason of the closed set."""
    found = samples(render_readings([view("v2_evil")]))
    assert value(found, "goe_up") == 1
    assert value(found, "goe_polls_total") == 120
    assert value(found, "goe_poll_failures_total", reason="timeout") == 2
    assert value(found, "goe_poll_failures_total", reason="busy") == 1
    reasons = [labels["reason"] for labels in labels_of(found, "goe_poll_failures_total")]
    assert reasons == [
        *("timeout", "refused", "unreachable", "dns", "tls", "http_status", "busy", "not_found"),
        *("too_large", "truncated", "not_json", "not_an_object", "wrong_device", "unauthorized"),
        *("offline", "outdated"),
    ]
    assert set(reasons) == set(REASONS)


def test_decode_failures_are_counted_by_key() -> None:
    """Each key with an undecodable value has a counter, and no other key."""
    found = samples(render_readings([view("v2_evil")]))
    keys = {labels["key"] for labels in labels_of(found, "goe_decode_failures_total")}
    assert keys == BAD_KEYS_OF_EVIL
    assert value(found, "goe_decode_failures_total", key="tma") == 3
    healthy = samples(render_readings([view("v2_v4_one_phase_noise")]))
    assert labels_of(healthy, "goe_decode_failures_total") == []


def labeled(name: str, **labels: str) -> ChargerView:
    """Return a charger with labels that was never polled."""
    return ChargerView(name, "192.0.2.9", PollStats(), None, None, labels=labels)


def test_labels_are_one_series_per_charger() -> None:
    """Every charger has `goe_charger_info` with all label names; no other series has labels."""
    views = [labeled("a", site='"depot"', feeder="A1"), labeled("b", site="home"), labeled("c")]
    found = samples(render_readings(views))
    assert {dict(labels)["charger"]: dict(labels) for name, labels in found if "info" in name} == {
        "a": {"charger": "a", "feeder": "A1", "site": '"depot"'},
        "b": {"charger": "b", "feeder": "", "site": "home"},
        "c": {"charger": "c", "feeder": "", "site": ""},
    }
    others = [dict(labels) for name, labels in found if name != "goe_charger_info"]
    assert not any({"site", "feeder"} & set(labels) for labels in others)
    assert (
        found["goe_charger_info", frozenset(labels_of(found, "goe_charger_info")[0].items())] == 1
    )


def test_labels_as_text() -> None:
    """The family, typed by hand."""
    text = render_readings([labeled("a", site="depot", feeder="A1")])
    assert text.endswith(
        "# HELP goe_charger_info Labels of the charger in the configuration.\n"
        "# TYPE goe_charger_info gauge\n"
        'goe_charger_info{charger="a",feeder="A1",site="depot"} 1.0\n'
    )


@pytest.mark.system
def test_promtool_accepts_labels() -> None:
    """`promtool check metrics` accepts chargers with and without labels."""
    lint(render_readings([labeled("a", site='a "b" \\ \n ä'), view(FIXTURES[0], "b")]))


def test_no_chargers_no_output() -> None:
    """Without chargers the text is empty."""
    assert render_readings([]) == ""


def test_nothing_is_kept_between_scrapes() -> None:
    """A charger whose snapshot is too old has no readings in the next scrape."""
    views = [view("v2_v4_one_phase_noise")]
    endpoint = Exposition(lambda: views)
    assert b"goe_power_watts{" in endpoint.render()[0]
    views[:] = [down()]
    text = endpoint.render()[0]
    assert b"goe_power_watts" not in text
    assert b'goe_up{charger="garage"} 0.0' in text
    views.clear()
    assert b'charger="garage"' not in endpoint.render()[0]


# The endpoint


def test_endpoint_in_the_text_format() -> None:
    """Without an Accept header the body and its content type are Prometheus' text format."""
    body, content_type = exposition([view("v2_v4_one_phase_noise")]).render()
    assert content_type.startswith("text/plain; version=")
    assert "charset=utf-8" in content_type
    text = body.decode("utf-8")
    assert render_readings([view("v2_v4_one_phase_noise")]) in text
    found = samples(text)
    assert found["goe_exporter_build_info", frozenset({("version", __version__)})] == 1
    assert found["goe_exporter_defects_total", frozenset()] == 0
    assert ("process_start_time_seconds", frozenset()) in found
    assert any(name == "python_info" for name, _ in found)


@pytest.mark.parametrize("fixture", FIXTURES)
def test_openmetrics(fixture: str) -> None:
    """A scraper that accepts OpenMetrics gets it, and the strict parser accepts the body."""
    body, content_type = exposition([view(fixture), down("other")]).render(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    text = body.decode("utf-8")
    assert text.endswith("# EOF\n")
    families: list[Metric] = list(openmetrics_families(text))
    kinds = {family.name: family.type for family in families}
    assert kinds["goe_up"] == "gauge"
    assert kinds["goe_polls"] == "counter"
    assert kinds["goe_exporter_build"] == "info"
    assert kinds["goe_exporter_poll_duration_seconds"] == "histogram"
    if fixture != "v2_evil":
        assert kinds["goe_energy_joules"] == "counter"


def test_both_formats_say_the_same() -> None:
    """A charger's samples are the same in the text format and in OpenMetrics."""
    endpoint = exposition([view("v2_evil")])
    parsed = openmetrics_families(endpoint.render(OPENMETRICS)[0].decode("utf-8"))
    strict = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed
        for sample in family.samples
        if "charger" in sample.labels
    }
    assert strict == samples(render_readings([view("v2_evil")]))


# Names


@pytest.mark.parametrize(
    "name", [text for text in TEXTS if "\ud83d" not in text and "\udc00" not in text]
)
def test_hostile_charger_name(name: str) -> None:
    """Any name of a charger can be parsed back from the text format."""
    found = samples(render_readings([view("v2_v4_one_phase_noise", name)]))
    assert {dict(labels)["charger"] for _, labels in found} == {name}
    assert len(found) == len(samples(render_readings([view("v2_v4_one_phase_noise")])))


def test_hostile_charger_name_in_openmetrics() -> None:
    """A hostile name can be parsed back from OpenMetrics."""
    name = 'a"b\\c\n} 1 # {x="🚗"}'
    body = exposition([view("v2_v4_one_phase_noise", name)]).render(OPENMETRICS)[0]
    named = {
        sample.labels["charger"]
        for family in openmetrics_families(body.decode("utf-8"))
        for sample in family.samples
        if "charger" in sample.labels
    }
    assert named == {name}


@given(st.text(max_size=30))
def test_any_charger_name(name: str) -> None:
    """Any text as a name can be parsed back."""
    found = samples(render_readings([down(name)]))
    assert {dict(labels)["charger"] for _, labels in found} == {name}


def test_chargers_do_not_mix() -> None:
    """Each charger's numbers have its own name."""
    found = samples(
        render_readings(
            [view("v2_v4_one_phase_noise", "a"), view("v1_v2hardware_charging", "b"), down("c")]
        )
    )
    power = {
        dict(labels)["charger"]: n
        for (name, labels), n in found.items()
        if name == "goe_power_watts"
    }
    up = {dict(labels)["charger"]: n for (name, labels), n in found.items() if name == "goe_up"}
    assert power == {"a": 3180.5, "b": 6780.0}
    assert up == {"a": 1.0, "b": 1.0, "c": 0.0}


# Polls come first


def test_a_rendering_waits_for_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rendering waits before each charger's lines while a poll is due, up to a time limit."""
    shown = [view(fixture, fixture) for fixture in FIXTURES]
    due = iter([True, True, *[False] * 2 * len(shown)])
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    body, _content_type = Exposition(lambda: shown, busy=lambda: next(due)).render()
    assert waits == [0.001, 0.001]
    assert next(due, None) is None
    now = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    assert Exposition(lambda: shown, busy=lambda: True).render()[0] == body
    assert len(waits) == 3
