"""A number in a JSON document, of devices as their vendors document them."""

from __future__ import annotations

import base64
import contextlib
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speaker import Speak, Speaker

from goe_exporter.surplus.config import BatteryConfig, GridConfig, SourceConfig
from goe_exporter.surplus.http_source import number
from goe_exporter.surplus.json_source import JsonSource, found, unix_time
from goe_exporter.surplus.source import Reading, SourceError

SHELLY_GEN1 = """{"wifi_sta":{"connected":true,"ssid":"home","ip":"192.168.1.50","rssi":-62},
"cloud":{"enabled":false,"connected":false},"mqtt":{"connected":false},"time":"14:03",
"unixtime":1782820980,"serial":4711,"has_update":false,"mac":"A4CF12F0E1D2","cfg_changed_cnt":0,
"relays":[{"ison":false,"has_timer":false,"overpower":false,"is_valid":true,"source":"input"}],
"emeters":[{"power":-1070.12,"pf":-0.98,"current":4.71,"voltage":232.8,"is_valid":true,
"total":123456.7,"total_returned":65432.1},{"power":-1069.9,"pf":-0.98,"current":4.7,
"voltage":233.1,"is_valid":true,"total":1234.5,"total_returned":654.3},{"power":-1070.42,
"pf":-0.98,"current":4.7,"voltage":232.2,"is_valid":true,"total":1.0,"total_returned":2.0}],
"total_power":-3210.44,"fs_mounted":true,"v_data":1,"ct_calst":0,"ram_total":49440,"uptime":812}"""
SHELLY_PRO_3EM = """{"id":0,"a_current":4.029,"a_voltage":236.1,"a_act_power":951.2,
"a_aprt_power":951.9,"a_pf":1,"a_freq":50,"b_current":4.027,"b_voltage":236.201,
"b_act_power":-951.1,"b_aprt_power":951.8,"b_pf":1,"b_freq":50,"c_current":3.03,
"c_voltage":236.402,"c_act_power":715.4,"c_aprt_power":716.2,"c_pf":1,"c_freq":50,
"n_current":null,"total_current":11.083,"total_act_power":715.5,"total_aprt_power":2486.782,
"user_calibrated_phase":[],"errors":["phase_sequence"]}"""
FRONIUS = """{"Body":{"Data":{"Inverters":{"1":{"Battery_Mode":"normal","DT":1,"E_Day":null,
"E_Total":17201000,"P":4120.5,"SOC":61.2}},"SecondaryMeters":{},"Site":{"BackupMode":false,
"BatteryStandby":true,"E_Day":null,"E_Total":17201000,"Meter_Location":"grid",
"Mode":"bidirectional","P_Akku":-1200.5,"P_Grid":-2380.1,"P_Load":-540.4,"P_PV":4121.0,
"rel_Autonomy":100.0,"rel_SelfConsumption":42.2},"Smartloads":{"Ohmpilots":{}},"Version":"12"}},
"Head":{"RequestArguments":{},"Status":{"Code":0,"Reason":"","UserMessage":""},
"Timestamp":"2026-06-30T14:03:02+02:00"}}"""
EVCC = """{"auth":{"vehicles":{}},"battery":{"power":-310.5,"capacity":10.2,"soc":88},
"grid":{"power":-1505.3,"energy":1234.5,"currents":[-2.2,-2.1,-2.3]},"homePower":410,
"loadpoints":[{"mode":"off","charging":false}],"pvPower":2226,"siteTitle":"Home"}"""
HOME_ASSISTANT = """{"entity_id":"sensor.grid_power","state":"-1234.5","attributes":
{"state_class":"measurement","unit_of_measurement":"W","device_class":"power",
"friendly_name":"Grid power"},"last_changed":"2026-06-30T12:02:58.500000+00:00",
"last_reported":"2026-06-30T12:03:01.250000+00:00",
"last_updated":"2026-06-30T12:02:58.500000+00:00",
"context":{"id":"01JZ0000000000000000000000","parent_id":null,"user_id":null}}"""

NOW = 1782820983.0
"""14:03:03 in Vienna on 30 June 2026, as Unix time."""


def raw(body: str, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


def source(
    speaker: Speaker,
    path: str,
    kind: type[SourceConfig] = GridConfig,
    target: str = "/status",
    **keys: Any,
) -> JsonSource:
    """Return a source whose clocks stand still: 100 on the monotonic one, and `NOW`."""
    config = kind(json=f"http://{speaker.address}{target}", path=path, **keys)
    return JsonSource("grid", config, lambda: 100.0, lambda: NOW)


UNTIL = time.monotonic() + 100_000
"""So late that only what hangs takes it."""


@pytest.mark.parametrize(
    ("body", "path", "keys", "reading"),
    [
        (SHELLY_GEN1, "total_power", {}, Reading(-3210.44, 100.0, False)),
        (SHELLY_GEN1, "emeters[1].power", {}, Reading(-1069.9, 100.0, False)),
        (SHELLY_GEN1, "total_power", {"time_path": "unixtime"}, Reading(-3210.44, 97.0, True)),
        (SHELLY_PRO_3EM, "total_act_power", {}, Reading(715.5, 100.0, False)),
        (
            FRONIUS,
            "Body.Data.Site.P_Grid",
            {"time_path": "Head.Timestamp"},
            Reading(-2380.1, 99.0, True),
        ),
        (EVCC, "grid.power", {}, Reading(-1505.3, 100.0, False)),
        (EVCC, "grid.power", {"positive": "export"}, Reading(1505.3, 100.0, False)),
        ('{"kw":-3.21}', "kw", {"unit": "kW"}, Reading(-3210.0, 100.0, False)),
        (
            HOME_ASSISTANT,
            "state",
            {"time_path": "last_reported"},
            Reading(-1234.5, 98.25, True),
        ),
        (
            '[{"t":1782820981500,"w":"12"}]',
            "[0].w",
            {"time_path": "[0].t"},
            Reading(12, 98.5, True),
        ),
        ('{"em:0":{"power":0}}', "em:0.power", {}, Reading(0.0, 100.0, False)),
        ('{"w":12.5,"t":1782820985}', "w", {"time_path": "t"}, Reading(12.5, 100.0, True)),
    ],
)
def test_number(speak: Speak, body: str, path: str, keys: dict[str, str], reading: Reading) -> None:
    """A number or a decimal text at a path, with its time in s, in ms or as RFC 3339."""
    assert source(speak(raw(body)), path, **keys).read(UNTIL) == reading


def test_battery(speak: Speak) -> None:
    """A battery's power is positive while it discharges, whatever sign the device uses."""
    speaker = speak(raw(FRONIUS))
    path = "Body.Data.Site.P_Akku"
    assert source(speaker, path, BatteryConfig).read(UNTIL).value == -1200.5
    assert source(speaker, path, BatteryConfig, positive="charge").read(UNTIL).value == 1200.5


HOST = "http://HOST"
"""Stands for the address of the server."""


@pytest.mark.parametrize(
    ("answer", "path", "reason", "text"),
    [
        (raw(SHELLY_PRO_3EM), "total_power", "no_value", "the answer has no 'total_power'"),
        (raw(SHELLY_GEN1), "emeters[3].power", "no_value", "the answer has no 'emeters[3].power'"),
        (raw("[1]"), "x", "no_value", "the answer has no 'x'"),
        (raw('{"w":null}'), "w", "not_a_number", "None is not a number"),
        (raw('{"w":true}'), "w", "not_a_number", "True is not a number"),
        (raw('{"w":"unavailable"}'), "w", "not_a_number", "'unavailable' is not a number"),
        (raw('{"w":"1,5"}'), "w", "not_a_number", "'1,5' is not a number"),
        (raw('{"w":"1_0"}'), "w", "not_a_number", "'1_0' is not a number"),
        (raw('{"w":"nan"}'), "w", "not_a_number", "'nan' is not a number"),
        (raw('{"w":{"w":1}}'), "w", "not_a_number", "a mapping is not a number"),
        (raw('{"w":NaN}'), "w", "not_a_number", "nan is not a finite number"),
        (raw('{"w":-Infinity}'), "w", "not_a_number", "-inf is not a finite number"),
        (raw('{"w":1e999}'), "w", "not_a_number", "inf is not a finite number"),
        (raw(f'{{"w":1{"0" * 400}}}'), "w", "not_a_number", "inf is not a finite number"),
        (
            raw('{"w":1000001}'),
            "w",
            "implausible",
            "1e+06 W is implausible for a house; check the unit",
        ),
        (raw("<html>"), "w", "not_json", f"{HOST}: the answer is not JSON"),
        (raw("[" * 100_000), "w", "not_json", f"{HOST}: the answer is not JSON"),
        (raw(""), "w", "truncated", f"{HOST}: the answer is not JSON"),
        (
            raw("{}", "401 Unauthorized"),
            "w",
            "unauthorized",
            f"{HOST} answers with HTTP status 401",
        ),
        (raw("{}", "404 Not Found"), "w", "not_found", f"{HOST} answers with HTTP status 404"),
        (
            raw("", "302 Found", "Location: http://192.0.2.9/\r\n"),
            "w",
            "http_status",
            f"{HOST} answers with HTTP status 302",
        ),
        (
            raw('{"w":1}')[:-3],
            "w",
            "truncated",
            f"{HOST} closed the connection before the answer was complete",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
def test_no_number(speak: Speak, answer: bytes, path: str, reason: str, text: str) -> None:
    """Anything but a finite decimal number that is plausible is an error, never a 0."""
    speaker = speak(answer)
    with pytest.raises(SourceError) as failed:
        source(speaker, path).read(UNTIL)
    expected = f"grid: {text.replace(HOST, f'http://{speaker.address}')}"
    assert (failed.value.reason, str(failed.value)) == (reason, expected)
    assert speaker.accepted == 1


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        (f"{NOW + 3600}", "the time of the value is 3600 s in the future; check the clocks"),
        ('"2026-06-30T14:03:02"', "'2026-06-30T14:03:02' is not a time with a time zone"),
        ('"14:03"', "'14:03' is not a time with a time zone"),
        ("null", "None is not a time with a time zone"),
        ("1e999", "inf is not a time with a time zone"),
    ],
)
def test_no_time(speak: Speak, stamp: str, text: str) -> None:
    """A value with a time that cannot be right is not used."""
    with pytest.raises(SourceError) as failed:
        source(speak(raw(f'{{"w":1,"t":{stamp}}}')), "w", time_path="t").read(UNTIL)
    assert (failed.value.reason, str(failed.value)) == ("not_a_time", f"grid: {text}")


def test_one_measurement_has_one_time(speak: Speak) -> None:
    """The time varies with that of the request; it is kept while the measurement is the same."""
    clock = iter([100.0, 100.0, 110.2, 110.2, 120.0, 120.0])
    wall = iter([NOW, NOW + 10.0, NOW + 20.0])
    speaker = speak(raw(f'{{"w":1,"t":{NOW - 2}}}'))
    config = GridConfig(json=f"http://{speaker.address}/", path="w", time_path="t")  # type: ignore[call-arg]
    read = JsonSource("grid", config, lambda: next(clock), lambda: next(wall)).read
    assert [read(UNTIL).measured_at for _ in range(2)] == [98.0, 98.0]


def test_clock_that_is_set_back(speak: Speak) -> None:
    """A value of a dead meter gets no younger when this machine's clock is set back by 50 s."""
    clock = iter([100.0, 100.0, 110.0, 110.0])
    wall = iter([NOW, NOW - 40.0])
    speaker = speak(raw(f'{{"w":1,"t":{NOW - 55}}}'))
    config = GridConfig(json=f"http://{speaker.address}/", path="w", time_path="t")  # type: ignore[call-arg]
    read = JsonSource("grid", config, lambda: next(clock), lambda: next(wall)).read
    assert [read(UNTIL).measured_at for _ in range(2)] == [45.0, 45.0]


def test_bearer_token(speak: Speak, tmp_path: Path) -> None:
    """The token in a file is sent as a bearer token, with the query of the URL."""
    (tmp_path / "token").write_text("abc.def\n")
    speaker = speak(raw(HOME_ASSISTANT))
    found = source(speaker, "state", target="/x?a=b", token_file=str(tmp_path / "token"))
    assert found.read(UNTIL).value == -1234.5
    assert speaker.requests[0].startswith("GET /x?a=b HTTP/1.1\r\n")
    assert "Authorization: Bearer abc.def\r\n" in speaker.requests[0]


def test_basic_authentication(speak: Speak, tmp_path: Path) -> None:
    """User name and password are sent as basic authentication, in UTF-8."""
    (tmp_path / "password").write_text("s3cret")
    speaker = speak(raw('{"w":1}'))
    password = str(tmp_path / "password")
    source(speaker, "w", username="Jörg", password_file=password).read(UNTIL)
    encoded = base64.b64encode("Jörg:s3cret".encode()).decode()
    assert f"Authorization: Basic {encoded}\r\n" in speaker.requests[0]


def test_refused_connection(speak: Speak) -> None:
    """A device that is off is an error with the transport's reason."""
    speaker = speak(raw("{}"))
    found = source(speaker, "w")
    speaker.server_close()
    speaker.shutdown()
    with pytest.raises(SourceError) as failed:
        found.read(UNTIL)
    assert failed.value.reason == "refused"
    assert str(failed.value) == f"grid: http://{speaker.address} refuses the connection"


def test_slow_device(speak: Speak) -> None:
    """Reading ends at the deadline, even if the device sends its answer byte by byte."""
    speaker = speak(endless=b" ", pause_seconds=0.05)
    with pytest.raises(SourceError) as failed:
        source(speaker, "w").read(0.0)
    assert failed.value.reason == "timeout"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
)


@given(JSON, st.sampled_from(["a", "a.b", "a[0]", "[1].b", "b[0][1].a"]))
def test_any_document(document: object, path: str) -> None:
    """Whatever is at a path is a finite number, a time, or an error."""
    with contextlib.suppress(SourceError):
        value = found(document, path)
        for read in (number, unix_time):
            with contextlib.suppress(SourceError):
                assert math.isfinite(read(value))
