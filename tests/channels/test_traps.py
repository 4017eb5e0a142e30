"""Tests for each trap of docs/protocol.md §3 that concerns decoding."""

from __future__ import annotations

import pytest
from hostile import TEXTS
from prometheus_client.parser import text_string_to_metric_families

from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import api_v1
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import render_readings

BY_NAME = {row.name: row for row in CHANNELS}


def v1(**status: object) -> dict[str, object]:
    """Return the values of a v1 status, by name or name.part."""
    return _values(api_v1.status(status), 1)


def v2(**status: object) -> dict[str, object]:
    """Return the values of a v2 status, by name or name.part."""
    return _values(status, 2)


def _values(status: dict[str, object], api: int) -> dict[str, object]:
    return {
        f"{row.name}.{label}" if label else row.name: value
        for row, label, value, _ in decode(status, api).readings
    }


def scraped(status: dict[str, object], api: int = 2) -> str:
    """Return the exposition of a v2 status."""
    snapshot = Snapshot("garage", api, 1.7e9, 0.0, decode(status, api).readings)
    return render_readings([ChargerView("garage", "192.0.2.1", PollStats(), snapshot, 0.0)])


# 1: nrg's length, nulls and floats


def test_trap_1_sixteen_entries() -> None:
    """The sixteenth entry of `nrg` is the neutral's power factor, on v1 too."""
    assert v1(nrg=[0] * 15 + [97])["phase_power_factor.N"] == pytest.approx(0.97)
    assert v2(nrg=[0] * 15 + [97])["phase_power_factor.N"] == pytest.approx(0.97)


def test_trap_1_fifteen_entries() -> None:
    """The fifteen documented entries of v1 give all values except the neutral's power factor."""
    got = v1(nrg=[230, 230, 230, 0, 160, 160, 160, 36, 36, 36, 0, 1080, 98, 98, 99])
    assert got["phase_power_factor.L3"] == pytest.approx(0.99)
    assert got["power"] == 10_800.0
    assert "phase_power_factor.N" not in got


def test_trap_1_short_and_null_holding_arrays() -> None:
    """Missing elements and nulls are absent: neither zeros nor failures."""
    decoded = decode({"nrg": [230, None, 229, None]}, 2)
    assert [(reading.label, reading.value) for reading in decoded.readings] == [
        ("L1", 230.0),
        ("L3", 229.0),
    ]
    assert decoded.failed == frozenset()
    assert v2(nrg=[]) == v1(nrg=[]) == v2(nrg=[None] * 16) == v1(nrg=[None] * 16) == {}


def test_trap_1_floats_in_v1_are_still_scaled() -> None:
    """A current of 230.0 means 23.0 A, as 230 does."""
    nrg = [236.35, 0.0, 0.0, 0.0, 230.0, 0.0, 0.0, 52.5, 0.0, 0.0, 0.0, 525.5, 99.0]
    got = v1(nrg=nrg)
    assert got["phase_voltage.L1"] == 236.35
    assert got["phase_current.L1"] == 23.0
    assert got["phase_power.L1"] == 5250.0
    assert got["power"] == 5255.0
    assert got["phase_power_factor.L1"] == pytest.approx(0.99)


# 2: noise current on unused phases


def test_trap_2_noise_is_no_phase() -> None:
    """Currents of 0.04 to 0.08 A on unused phases are exported and not counted as phases."""
    nrg = [231, 230, 229, 1, 13.9, 0.06, 0.04, 3200, 0, 0, 0, 3200, 99, 0, 0, 0]
    got = v2(nrg=nrg, pha=[True, False, False, True, True, True])
    assert got["phases"] == 1.0
    assert got["phase_current.L2"] == 0.06
    assert v2(nrg=nrg, pnp=1)["phases"] == 1.0
    assert "phases" not in v2(nrg=nrg)


# 3: v1's dwo without stp


@pytest.mark.parametrize("stp", ["0", 0, "1", "", None, "junk"])
def test_trap_3_no_limit_unless_stp_is_2(stp: object) -> None:
    """`dwo=180` without `stp=2` means no limit, rather than 18 kWh."""
    decoded = decode(api_v1.status({"dwo": "180", "stp": stp}), 1)
    assert "session_energy_limit" not in {row.name for row, *_ in decoded.readings}
    assert decoded.failed == frozenset()
    assert "session_energy_limit" not in v1(dwo="180")


@pytest.mark.parametrize("stp", ["2", 2])
def test_trap_3_a_limit_with_stp_2(stp: object) -> None:
    """With `stp=2` the limit is `dwo` in 100 Wh."""
    assert v1(dwo="180", stp=stp)["session_energy_limit"] == 18_000.0


def test_trap_3_no_limit_on_v2() -> None:
    """On v2 a null means no limit."""
    assert v2(dwo=None) == {}
    assert v2(dwo=3500) == {"session_energy_limit": 3500.0}


# 4: temperatures


def test_trap_4_two_entries() -> None:
    """On V3 and V4 the port comes first, then the board."""
    assert v2(tma=[28.5, 23]) == {"temperature.type2_port": 28.5, "temperature.board": 23.0}
    assert v1(tma=[28.5, 23]) == {"temperature.type2_port": 28.5, "temperature.board": 23.0}


def test_trap_4_one_entry() -> None:
    """A single entry is the port."""
    assert v2(tma=[28.5]) == {"temperature.type2_port": 28.5}


@pytest.mark.parametrize("glitch", [-16_843.01, -16_842.9, -1e9, 1e9])
def test_trap_4_glitch(glitch: float) -> None:
    """A glitch of about -16843 is absent and counted; the other temperature is kept."""
    decoded = decode({"tma": [glitch, 31.5]}, 2)
    assert [(reading.label, reading.value) for reading in decoded.readings] == [("board", 31.5)]
    assert decoded.failed == frozenset({"tma"})


def test_trap_4_six_entries_of_the_pro() -> None:
    """PRO and CORE have six sensors, the first two null: no failure, no zero."""
    decoded = decode({"tma": [None, None, 30.25, 31.5, 29, 33.75]}, 2)
    assert {reading.label: reading.value for reading in decoded.readings} == {
        "grid_connector": 30.25,
        "current_sensor": 31.5,
        "type2_terminals": 29.0,
        "mid_meter": 33.75,
    }
    assert decoded.failed == frozenset()


@pytest.mark.parametrize("tma", [None, [], [20.5], [20.5, 21]])
def test_trap_4_v1_hardware_has_its_board_alone(tma: object) -> None:
    """On V1 and V2 hardware `tmp` is the board; fewer than four entries have no known meaning."""
    assert v1(tmp="28", tma=tma) == {"temperature.board": 28.0}


@pytest.mark.parametrize("more", [[], [8.5, 9.0], [-0.13, -0.13]])
def test_trap_4_v2_hardware_has_four_sensors(more: list[float]) -> None:
    """Four or six entries on v1 are sensors without a known place, never port and board."""
    internal = {
        "temperature.internal_1": 6.5,
        "temperature.internal_2": 5.63,
        "temperature.internal_3": -12.0,
        "temperature.internal_4": 78.12,
    }
    tma = [6.5, 5.63, -12, 78.12, *more]
    assert v1(tmp="28", tma=tma) == {"temperature.board": 28.0} | internal
    assert v1(tma=tma) == internal


@pytest.mark.parametrize("filler", [-0.13, -0.125, -0.12])
def test_trap_4_a_filler_is_no_temperature(filler: float) -> None:
    """The filler of a sensor that is not there is absent; the others keep their numbers."""
    decoded = decode(api_v1.status({"tma": [filler, 22.5, 23.13, filler, filler, filler]}), 1)
    assert {reading.label: reading.value for reading in decoded.readings} == {
        "internal_2": 22.5,
        "internal_3": 23.13,
    }
    assert decoded.failed == frozenset()


def test_trap_4_a_glitch_of_v2_hardware() -> None:
    """A glitch costs one of the four sensors and is counted."""
    decoded = decode(api_v1.status({"tmp": "20", "tma": [-16_843.01, 22.5, 23, None]}), 1)
    assert [reading.label for reading in decoded.readings] == ["board", "internal_2", "internal_3"]
    assert decoded.failed == frozenset({"tma"})


def test_trap_4_the_pro_over_the_legacy_api() -> None:
    """Six entries that begin with two nulls are those of PRO on v1, too."""
    got = v1(tma=[None, None, 30.25, 31.5, 29, 33.75])
    assert got == v2(tma=[None, None, 30.25, 31.5, 29, 33.75])
    assert got["temperature.mid_meter"] == 33.75


@pytest.mark.parametrize("tmp", ["0", "-15", 0])
def test_trap_4_a_sensor_that_is_not_there(tmp: object) -> None:
    """On some V2 hardware `tmp` is always 0 or -15: no reading."""
    got = v1(tmp=tmp, tma=[6.5, 5.63, 5.63, 5.63, 8.5, 9.0])
    assert "temperature.board" not in got
    assert got["temperature.internal_1"] == 6.5


def test_trap_4_a_cold_v1() -> None:
    """On V1 hardware, which has no `tma`, 0 °C is a temperature."""
    assert v1(tmp="0") == {"temperature.board": 0.0}
    assert v1(tmp="-4") == {"temperature.board": -4.0}


# 5: energies


def test_trap_5_session_energy_is_a_gauge_that_dips() -> None:
    """`wh` restarts and may be below zero: a gauge, and -0.0015 is a reading."""
    assert v2(wh=-0.0015) == {"session_energy": -0.0015}
    assert BY_NAME["session_energy"].kind is Kind.GAUGE
    assert "# TYPE goe_session_energy_joules gauge" in scraped({"wh": -0.0015})
    assert 'goe_session_energy_joules{charger="garage"} -5.4\n' in scraped({"wh": -0.0015})


def test_trap_5_total_energy_is_a_counter() -> None:
    """`eto` is a counter, also on V1 and V2 hardware, which count whole kWh."""
    assert BY_NAME["energy"].kind is Kind.COUNTER
    text = scraped({"eto": 1_000})
    assert "# TYPE goe_energy_joules_total counter" in text
    # 1000 Wh = 3.6 MJ
    assert 'goe_energy_joules_total{charger="garage"} 3.6e+06\n' in text
    assert v1(eto="73980") == {"energy": 7_398_000.0}


def test_trap_5_a_counter_may_jump_back() -> None:
    """A smaller number after a firmware update is exported as it is."""
    assert v2(eto=5_000_000) == {"energy": 5_000_000.0}
    assert v2(eto=12) == {"energy": 12.0}


# 6: pha


def test_trap_6_after_then_before_the_contactor() -> None:
    """v2's list holds L1 to L3 after the contactor, then L1 to L3 before it."""
    got = v2(pha=[True, False, False, False, True, True])
    assert got["phases"] == 1.0
    assert got["phase_contactor_closed.L1"] is True
    assert got["phase_contactor_closed.L3"] is False
    assert got["phase_energized.L1"] is False
    assert got["phase_energized.L2"] is True


@pytest.mark.parametrize(
    ("pha", "phases", "closed", "energized"),
    [
        ("0", 0, "", ""),
        ("8", 0, "", "L1"),
        ("9", 1, "L1", "L1"),
        ("56", 0, "", "L1 L2 L3"),
        ("57", 1, "L1", "L1 L2 L3"),
        ("59", 2, "L1 L2", "L1 L2 L3"),
        ("63", 3, "L1 L2 L3", "L1 L2 L3"),
        (36, 1, "L3", "L3"),
    ],
)
def test_trap_6_bits_of_v1(pha: object, phases: int, closed: str, energized: str) -> None:
    """v1's bits 0 to 2 are after the contactor, 3 to 5 before it."""
    got = v1(pha=pha)
    assert got.pop("phases") == phases
    expected = {f"phase_contactor_closed.{phase}": phase in closed for phase in ("L1", "L2", "L3")}
    expected |= {f"phase_energized.{phase}": phase in energized for phase in ("L1", "L2", "L3")}
    assert got == expected


# 7: same key, other meaning


def test_trap_7_ambiguous_keys_are_not_read() -> None:
    """`cdi` and `lot` differ between the APIs: no row reads them."""
    for status in ({"cdi": 1, "lot": 32}, {"cdi": {"type": 1, "value": 0}, "lot": {"amp": 32}}):
        assert decode(status, 2) == ((), frozenset())
        assert decode(api_v1.status(status), 1) == ((), frozenset())


def test_trap_7_access_means_two_things() -> None:
    """`ast` 2 is automatic, `acs` 2 is EVCMS."""
    assert v1(ast="2") == {"access": "automatic"}
    assert v2(acs=2) == {"access": "evcms"}


def test_trap_7_v2_keys_in_a_v1_answer_are_not_taken_over() -> None:
    """A v1 status is read by v1's keys only."""
    assert v1(acs=2, wh=5, trx=1, c0e=9, tpa=100, frc=1, psm=1, modelStatus=3, pnp=3) == {}


# 8: times


def test_trap_8_milliseconds_since_boot() -> None:
    """`rbt` is in milliseconds since the start: 114 835 892 ms are 114 835.892 s."""
    assert v2(rbt=114_835_892) == {"uptime": pytest.approx(114_835.892)}
    assert v1(rbt="3560814760") == {"uptime": pytest.approx(3_560_814.76)}


def test_trap_8_clock_texts_are_not_read() -> None:
    """`loc`, `utc` and `tme` have several formats: no row reads them."""
    status = {"loc": "2023-09-30T10:54:11.350.000 +02:00", "utc": "2023-09-30T08:54:11.347"}
    assert decode(status, 2) == decode(api_v1.status({"tme": "0908221122"}), 1)


# 9: odd plugs


def test_trap_9_swapped_plug() -> None:
    """15 V on L1 and 220 V on N, a swapped plug, are read as they are."""
    got = v2(nrg=[15, 0, 0, 220], err=0)
    assert got["phase_voltage.L1"] == 15.0
    assert got["phase_voltage.N"] == 220.0
    assert got["error"] == "none"


def test_trap_9_single_phase() -> None:
    """Two zero voltages are readings of zero, not failures."""
    decoded = decode({"nrg": [231, 0, 0, 0]}, 2)
    assert [reading.value for reading in decoded.readings] == [231.0, 0.0, 0.0, 0.0]
    assert decoded.failed == frozenset()


# 11 to 13


def test_trap_11_permission_is_written_on_v1_only() -> None:
    """`alw` is read-only on v2: it is read through both APIs and written through v1."""
    assert v1(alw="1") == v2(alw=True) == {"charging_allowed": True}
    assert set(BY_NAME["charging_allowed"].write) == {1}
    assert set(BY_NAME["force_state"].write) == {2}


def test_trap_12_photovoltaics_keep_their_sign() -> None:
    """`pgrid` < 0 means feeding in; null values are absent."""
    assert v2(pgrid=-3500, ppv=4200, pakku=-100) == {
        "pv_grid_power": -3500.0,
        "pv_power": 4200.0,
        "pv_battery_power": -100.0,
    }
    assert v2(pgrid=None, ppv=None, pakku=None) == {}


@pytest.mark.parametrize("text", TEXTS)
def test_trap_13_a_name_cannot_forge_a_sample(text: str) -> None:
    """Any name of a charger is the value of one label of one sample."""
    exposition = scraped({"fna": text, "amp": 16})
    samples = [
        sample for family in text_string_to_metric_families(exposition) for sample in family.samples
    ]
    assert not [sample for sample in samples if sample.labels.get("charger") == "forged"]
    (info,) = [sample for sample in samples if sample.name == "goe_device_info"]
    assert set(info.labels) == {
        *("charger", "serial", "model", "variant", "firmware", "name", "api", "revision", "style"),
    }
    assert len(info.labels["name"]) <= 512
    assert (
        text.strip()
        .encode("utf-8", "replace")
        .decode()
        .startswith(info.labels["name"].removesuffix("…"))
    )


def test_trap_13_secrets_are_not_read() -> None:
    """WiFi names and keys, card ids and tokens are in no reading and no exposition."""
    secret = "geheim"
    hidden = ["wss", "wke", "wak", "rca", "rcr", "rna", "cak", "ocppck", "mcu", "mck", "mcs", "log"]
    status: dict[str, object] = dict.fromkeys(hidden, secret)
    status |= {"wifis": [{"ssid": secret, "key": secret}], "ccw": {"ssid": secret}}
    status |= {"cards": [{"name": secret, "energy": 5, "cardId": secret}], "c0n": secret}
    assert secret not in scraped(status)
    assert secret not in repr(decode(api_v1.status(status), 1).readings)
