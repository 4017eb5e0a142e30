"""The command line: help, environment, exit status, and what each command prints."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import click
import pytest
from bad_configs import BAD, errors_of
from paths import FIXTURES, ROOT
from servers import PATIENCE_SECONDS, free_port

from goe_exporter.channels.table import CHANNELS
from goe_exporter.cli import main
from goe_exporter.simulator import FAULTS, Car, Charger, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commands import Goe, Launch, Outcome
    from speaker import Speak

    from goe_exporter.simulator import Box

COMMANDS = (
    *("serve", "demo", "read", "set", "capture", "channels", "discover", "simulate", "surplus"),
)


def command(name: str) -> click.Command:
    """Return a command by its name."""
    found = main.command.get_command(click.Context(main.command), name)
    assert found is not None
    return found


# Each command's options and their variables, as documented in docs/command-line.md.
VARIABLES = {
    "serve": {
        "--config.file": "CONFIG_FILE",
        "--config.check": "CONFIG_CHECK",
        "--refresh-interval": "REFRESH_INTERVAL",
        "--api": "API",
        "--token-file": "TOKEN_FILE",
        "--environment-proxies": "ENVIRONMENT_PROXIES",
        "--web.listen-address": "WEB_LISTEN_ADDRESS",
        "--web.telemetry-path": "WEB_TELEMETRY_PATH",
        "--web.external-url": "WEB_EXTERNAL_URL",
        "--web.route-prefix": "WEB_ROUTE_PREFIX",
        "--web.config.file": "WEB_CONFIG_FILE",
        "--web.open-health": "WEB_OPEN_HEALTH",
        "--web.max-connections": "WEB_MAX_CONNECTIONS",
        "--web.request-timeout": "WEB_REQUEST_TIMEOUT",
        "--web.frame-ancestors": "WEB_FRAME_ANCESTORS",
        "--shard": "SHARD",
        "--log.format": "LOG_FORMAT",
        "--log.level": "LOG_LEVEL",
    },
    "demo": {
        "--web.listen-address": "DEMO_WEB_LISTEN_ADDRESS",
        "--chargers": "DEMO_CHARGERS",
        "--speed": "DEMO_SPEED",
        "--house": "DEMO_HOUSE",
        "--web.frame-ancestors": "WEB_FRAME_ANCESTORS",
        "--log.format": "LOG_FORMAT",
        "--log.level": "LOG_LEVEL",
    },
    "read": {
        "--config.file": "CONFIG_FILE",
        "--api": "API",
        "--token-file": "TOKEN_FILE",
        "--format": "FORMAT",
    },
    "capture": {"--api": "API", "--token-file": "TOKEN_FILE", "--output": "CAPTURE_OUTPUT"},
    "set": {
        "--config.file": "CONFIG_FILE",
        "--api": "API",
        "--token-file": "TOKEN_FILE",
        "--dry-run": "DRY_RUN",
    },
    "channels": {
        "--format": "CHANNELS_FORMAT",
        "--check": "CHANNELS_CHECK",
        "--update": "CHANNELS_UPDATE",
    },
    "discover": {"--seconds": "DISCOVER_SECONDS", "--format": "DISCOVER_FORMAT"},
    "simulate": {
        "--api": "SIMULATE_API",
        "--model": "SIMULATE_MODEL",
        "--firmware": "SIMULATE_FIRMWARE",
        "--speed": "SIMULATE_SPEED",
        "--listen": "SIMULATE_LISTEN",
        "--fault": "SIMULATE_FAULT",
        "--no-story": "SIMULATE_NO_STORY",
        "--house": "SIMULATE_HOUSE",
        "--meter-listen": "SIMULATE_METER_LISTEN",
        "--meter-fault": "SIMULATE_METER_FAULT",
    },
    "surplus": {
        "--config.file": "CONFIG_FILE",
        "--once": "SURPLUS_ONCE",
        "--release": "SURPLUS_RELEASE",
        "--format": "SURPLUS_FORMAT",
    },
}


def one_line(text: str) -> bool:
    """Return whether an error is one line with the program's name."""
    return text.startswith("goe-exporter: ") and text.count("\n") == 1 and text.endswith("\n")


# Help and start-up


@pytest.mark.parametrize("name", COMMANDS)
def test_help(goe: Goe, name: str) -> None:
    """The help fits into 80 columns and shows each option's variable."""
    outcome = goe(name, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert max(map(len, outcome.out.splitlines())) <= 80
    words = " ".join(outcome.out.split())
    for option, variable in VARIABLES[name].items():
        assert option in words
        assert f"[env var: GOE_EXPORTER_{variable}" in words
    assert goe(name, "-h") == outcome


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_without_a_variable(name: str) -> None:
    """The list above is complete: no command has another option."""
    options = {
        each.opts[0]: each.envvar
        for each in command(name).params
        if each.param_type_name == "option"
    }
    variables = {key: f"GOE_EXPORTER_{value}" for key, value in VARIABLES[name].items()}
    assert options == variables


def test_every_command_and_option_has_help() -> None:
    """Every command has a help text, and each option a help text and a variable."""
    for name, summary in main.COMMANDS.items():
        each = command(name)
        assert each.help, name
        assert summary in each.help.replace("\n", " "), name
        for parameter in each.params:
            if parameter.param_type_name == "option":
                assert str(parameter.envvar).startswith("GOE_EXPORTER_"), (name, parameter.name)
                assert getattr(parameter, "help", None), (name, parameter.name)


def test_the_hosts_variable_is_named(goe: Goe) -> None:
    """The help names the variable for the hosts."""
    assert "GOE_EXPORTER_HOSTS" in goe("serve", "--help").out


def test_the_list_of_commands(goe: Goe) -> None:
    """`--help` lists the commands, as does a call without arguments, which is wrong usage."""
    outcome = goe("--help")
    assert outcome.status == 0
    for name in COMMANDS:
        assert f"\n  {name} " in outcome.out
    empty = goe()
    assert empty.status == 2
    assert "Commands:" in empty.out


def test_version(goe: Goe) -> None:
    """`--version` prints name and version."""
    outcome = goe("--version")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("goe-exporter ")


WEB = ["starlette", "uvicorn", "jinja2", "bcrypt"]
SINKS = ["influxdb_client", "prometheus_client"]
SERVING = ["asyncio", "pydantic", "yaml", *WEB]
HTTP = ["requests", "urllib3"]


@pytest.mark.system
@pytest.mark.parametrize(
    ("arguments", "absent", "present"),
    [
        (["--help"], [*SERVING, *SINKS, *HTTP], []),
        (["channels", "--format", "markdown"], [*SERVING, *HTTP], []),
        (["read", "127.0.0.1:1"], [*SERVING, *SINKS], HTTP),
        (["capture", "CHARGER"], [*SERVING, *SINKS], HTTP),
        (["read", "CHARGER", "--format", "json"], [*SERVING, *SINKS], HTTP),
        (["read", "CHARGER", "--format", "table"], [*SERVING, *SINKS], HTTP),
        (["set", "CHARGER", "max-current", "10"], [*SERVING, *SINKS], HTTP),
        (["push", "--config", "/nonexistent"], WEB, ["pydantic"]),
    ],
    ids=["help", "channels", "failed-read", "capture", "json", "table", "set", "push"],
)
def test_a_command_imports_only_what_it_needs(
    simulator: Simulator, arguments: list[str], absent: list[str], present: list[str]
) -> None:
    """Start-up is fast: a command imports no library that it does not use."""
    box = simulator.add(Charger("V4"))
    program = (
        "import sys; sys.argv[0] = 'goe-exporter'\n"
        "from goe_exporter.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print('modules:', *sys.modules)"
    )
    given = [box.address if each == "CHARGER" else each for each in arguments]
    command = [sys.executable, "-c", program, *given]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    modules = set(out.rpartition("modules:")[2].split())
    assert not modules & set(absent)
    assert modules >= set(present)
    assert bool(box.requests) == ("CHARGER" in arguments)


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "No such command 'nosuch'."),
        (["serve"], "no charger: give [NAME=]HOST, or --config.file FILE with chargers"),
        (["serve", "a", "a"], "chargers: duplicate charger name 'a'"),
        (["serve", "x=a", "x=b"], "chargers: duplicate charger name 'x'"),
        (
            ["serve", "a b"],
            "charger 'a b': host: must be a host name or address with an optional port, not 'a b'",
        ),
        (
            ["serve", "a", "--web.listen-address", "nonsense"],
            (
                "--web.listen-address: must be ADDR:PORT or :PORT, such as 127.0.0.1:10332,"
                " not 'nonsense'"
            ),
        ),
        (
            ["serve", "a", "--refresh-interval", "5"],
            "--refresh-interval: must be a duration such as 5s, 500ms or 1m30s, not '5'",
        ),
        (
            ["serve", "a", "--refresh-interval", "100ms"],
            "--refresh-interval: must be 1s to 24h, not '100ms'",
        ),
        (
            ["serve", "a", "--web.request-timeout", "0s"],
            "--web.request-timeout: must be 100ms to 10m, not '0s'",
        ),
        (
            ["serve", "a", "--web.frame-ancestors", "self", "--web.frame-ancestors", "ha.lan"],
            (
                "--web.frame-ancestors: must be self, none, a scheme such as https:, or an origin"
                " without a path, such as https://homeassistant.lan:8123, not 'ha.lan'"
            ),
        ),
        (
            ["demo", "--web.frame-ancestors", "none self"],
            "--web.frame-ancestors: none must be the only value",
        ),
        (
            ["serve", "--config", "/nonexistent"],
            "cannot read /nonexistent: No such file or directory",
        ),
        (
            ["serve", "a", "--config.check", "--token-file", "/nonexistent"],
            "cannot read the token file /nonexistent: No such file or directory",
        ),
        (["read"], "no charger: give [NAME=]HOST, or --config.file FILE with chargers"),
        (["read", "a", "a"], "chargers: duplicate charger name 'a'"),
        (["read", "x=a", "x=b"], "chargers: duplicate charger name 'x'"),
        (
            ["read", "--config", "/nonexistent"],
            "cannot read /nonexistent: No such file or directory",
        ),
        (
            ["read", "a:99999"],
            (
                "charger 'a:99999': host: must be a host name or address with an optional port,"
                " not 'a:99999'"
            ),
        ),
        (
            ["read", "a", "--token-file", "/nonexistent"],
            "cannot read the token file /nonexistent: No such file or directory",
        ),
        (["set", "a", "max-current"], "Missing argument 'VALUE'."),
        (
            ["simulate", "--fault", "nosuch"],
            f"--fault: must be one of {', '.join(FAULTS)}, not 'nosuch'",
        ),
        (
            ["simulate", "--fault", "hang=often"],
            "--fault: EVERY must be a whole number of 1 or more, not 'often'",
        ),
        (
            ["simulate", "--fault", "hang=0"],
            "--fault: EVERY must be a whole number of 1 or more, not '0'",
        ),
        (
            ["simulate", "--model", "V2", "--api", "2"],
            "--api: must be 1 for V2, which has no API v2",
        ),
        (
            ["simulate", "--meter-fault", "dead"],
            "--meter-fault: needs --house, which has the meter",
        ),
        (
            ["simulate", "--meter-listen", "127.0.0.1:0"],
            "--meter-listen: needs --house, which has the meter",
        ),
        (
            ["simulate", "--model", "Controller", "--house", "small", "--meter-listen", ":0"],
            (
                "--model: Controller cannot be combined with --api 1, --no-story, --meter-listen,"
                " --meter-fault"
            ),
        ),
        (
            ["simulate", "--house", "sunny", "--no-story"],
            "--no-story: cannot be combined with --house, which plugs in a car",
        ),
        (
            ["serve", "x\udcff=a"],
            "charger 'x\\udcff=a': name: must be UTF-8 text, not 'x\\udcff'",
        ),
        (
            ["demo", "--web.listen-address", ":0"],
            "--web.listen-address: must be a loopback address",
        ),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_usage(goe: Goe, arguments: list[str], message: str) -> None:
    """Wrong usage is exit 2 and one line with the option or argument and what is allowed."""
    assert goe(*arguments) == (2, "", f"goe-exporter: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["serve", "--nosuch"], ["No such option", "--nosuch"]),
        (["serve", "a", "--api", "3"], ["--api", "'3'", "'auto', '1', '2'"]),
        (["read", "a", "--format", "xml"], ["--format", "'xml'", "'table'", "'json'"]),
        (["simulate", "--model", "V5"], ["--model", "'V5'", "'V2', 'V3', 'V4', 'PRO'"]),
        (["simulate", "--speed", "0"], ["--speed", "0.0", "0.01<=x<=1000"]),
        (["simulate", "--speed", "nan", "--fault", "list"], ["--speed", "nan"]),
        (["demo", "--speed", "nan", "--web.listen-address", ":0"], ["--speed", "nan"]),
        (
            ["demo", "--chargers", "1000", "--speed", "1000"],
            ["--speed: must be at most 10 for 1000 chargers, not 1000"],
        ),
        (["demo", "--chargers", "0"], ["--chargers", "0", "1<=x<=1000"]),
        (["demo", "--chargers", "1001"], ["--chargers", "1001", "1<=x<=1000"]),
        (["demo", "--chargers", "many"], ["--chargers", "'many'", "integer"]),
        (["serve", "a", "--log.level", "loud"], ["--log.level", "'loud'", "'warn'"]),
        (["serve", "a", "--log-level", "loud"], ["--log.level", "'loud'", "'warn'"]),
    ],
    ids=lambda value: " ".join(value[-2:]),
)
def test_a_wrong_choice(goe: Goe, arguments: list[str], names: list[str]) -> None:
    """An unknown option or choice is rejected; the error lists the choices."""
    outcome = goe(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert one_line(outcome.err)
    for name in names:
        assert name in outcome.err


def test_a_demo_with_too_few_files(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of more chargers than open files are allowed for is rejected with the most."""
    monkeypatch.setattr("goe_exporter.cli.demo.set_limits", lambda: None)
    monkeypatch.setattr("resource.getrlimit", lambda _kind: (256, 256))
    rule = "must be at most 52 with a limit of 256 open files"
    message = f"goe-exporter: --chargers: {rule}, not 53\n"
    assert goe("demo", "--chargers", "53", "--web.listen-address", "127.0.0.1:0") == (
        2,
        "",
        message,
    )


def test_an_internal_error_is_one_line(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An internal error shows no traceback unless requested."""

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("goe_exporter.cli.channel_table.rows", broken)
    message = "goe-exporter: internal error, please report it: ZeroDivisionError: by zero\n"
    assert goe("channels") == (1, "", message)
    monkeypatch.setenv("GOE_EXPORTER_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        goe("channels")


def test_as_a_process(launch: Launch) -> None:
    """The exit status is that of the process, and errors go to standard error."""
    outcome = launch("serve", "a", "--web.listen-address", "nonsense").end()
    assert (outcome.status, outcome.out) == (2, "")
    assert one_line(outcome.err)


def test_a_closed_pipe(launch: Launch) -> None:
    """`channels | head -1` succeeds and prints nothing on standard error."""
    shell = (
        f"'{sys.executable}' -m goe_exporter.cli channels --format markdown | head -1 >/dev/null"
    )
    arguments = ["bash", "-c", f"set -o pipefail; {shell}"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert launch("channels", "--format", "markdown").end().status == 0


# --config.check


def test_config_check(goe: Goe, tmp_path: Path) -> None:
    """`--config.check` reads the same files as `serve`, prints the result, and starts nothing."""
    path = tmp_path / "config.yaml"
    path.write_text("chargers: [{name: garage, host: 192.168.1.36}]\n")
    outcome = goe("serve", "--config", str(path), "carport=192.168.1.37", "--config.check")
    assert outcome == (0, "the configuration is valid: 2 charger(s)\n", "")
    outcome = goe("serve", "--config", str(path), "garage=192.168.1.37", "--config.check")
    both = "[NAME=]HOST: duplicate charger name 'garage', as in the configuration"
    assert outcome == (2, "", f"goe-exporter: {both}\n")
    path.write_text("chargers: [{name: garage}]\n")
    outcome = goe("serve", "--config", str(path), "--config.check")
    assert outcome == (2, "", f"goe-exporter: {path}:1:12: chargers[0].host is required\n")


def test_config_check_names_directories(goe: Goe, tmp_path: Path) -> None:
    """It names each directory that cannot be used, creates none, and goes on."""
    (tmp_path / "file").write_text("")
    path = tmp_path / "config.yaml"

    def checked(folder: Path) -> Outcome:
        path.write_text(
            "chargers: [{name: garage, host: 192.168.1.36, serial: '218042'}]\n"
            "surplus: {mode: control, charger: garage, phases: auto, max_current: 16A,"
            f" grid: {{json: 'http://192.168.1.50/x', path: a}}, state: '{folder}/state'}}\n"
            f"sessions: {{store: '{folder}/sessions.db'}}\n"
            "influxdb: {url: 'http://192.168.1.51:8086', bucket: goe, api: v1,"
            f" spool: '{folder}/above/spool'}}\n"
        )
        return goe("serve", "--config.file", str(path), "--config.check")

    valid = "the configuration is valid: 1 charger(s)\n"
    assert checked(tmp_path / "new") == (0, valid, "")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.yaml", "file"]
    folder = tmp_path / "file"
    lines = (
        f"{key}: this user cannot write in {place}: Not a directory\n"
        for key, place in (
            ("influxdb.spool", folder / "above" / "spool"),
            ("surplus.state", folder / "state"),
            ("sessions.store", folder),
        )
    )
    assert checked(folder) == (0, valid, "".join(lines))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_config_check_of_a_bad_file(goe: Goe, path: Path) -> None:
    """A bad file is exit 2 and the errors in the file's first lines, one a line."""
    outcome = goe("serve", "--config", str(path), "--config.check")
    assert outcome == (2, "", "".join(f"goe-exporter: {line}\n" for line in errors_of(path)))


# The environment


def test_variables_of_serve(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment can set hosts and options; the command line overrides it."""
    monkeypatch.setenv("GOE_EXPORTER_HOSTS", "garage=192.168.1.36 carport=192.168.1.37")
    monkeypatch.setenv("GOE_EXPORTER_CONFIG_CHECK", "true")
    assert goe("serve").out == "the configuration is valid: 2 charger(s)\n"
    assert goe("serve", "a").out == "the configuration is valid: 1 charger(s)\n"
    monkeypatch.setenv("GOE_EXPORTER_REFRESH_INTERVAL", "5")
    outcome = goe("serve")
    assert outcome.status == 2
    assert "--refresh-interval: must be a duration such as" in outcome.err
    assert goe("serve", "--refresh-interval", "5s").status == 0


def test_variables_of_read_and_set(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment can set the options of `read` and `set` too."""
    monkeypatch.setenv("GOE_EXPORTER_FORMAT", "json")
    monkeypatch.setenv("GOE_EXPORTER_API", "1")
    monkeypatch.setenv("GOE_EXPORTER_DRY_RUN", "1")
    with Simulator() as simulator:
        box = simulator.add(Charger("V4"))
        assert json.loads(goe("read", box.address).out)["api"] == 1
        asked = box.requests
        outcome = goe("set", box.address, "max-current", "10")
        assert box.requests == asked
    assert outcome.out == f"API v1: GET http://{box.address}/mqtt?payload=amp=10\n"


# read


def charging(model: str) -> Charger:
    """Return a charger during a session, with its own settings."""
    charger = Charger(model, serial="218042", name="Kabel 1", seed=4)
    charger.plug(Car(battery_wh=60_000, soc=0.2, cable_a=20))
    charger.energy_wh = 1_234_567.0
    charger.amp = 13
    charger.advance(300)
    return charger


def standing_still() -> Simulator:
    """Return a simulator in which no time passes, so that the state stays as read."""
    return Simulator(clock=lambda: 1000.0)


# Model: API, and the steps in which it measures V, A, W, °C and Wh (docs/protocol.md §2 and §3).
MODELS = {
    "V2": (1, 1, 0.1, 10, 1, 1000),
    "V3": (2, 1, 0.1, 10, 0.125, 1),
    "V4": (2, 0.01, 0.001, 0.01, 0.125, 1),
    "PRO": (2, 0.01, 0.001, 0.01, 0.125, 1),
}


def samples(text: str) -> dict[str, float]:
    """Return the samples of an exposition by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.mark.parametrize("model", MODELS)
def test_read_for_prometheus(goe: Goe, model: str) -> None:
    """`--format prometheus` prints the charger's readings in base units."""
    charger = charging(model)
    with standing_still() as simulator:
        box = simulator.add(charger)
        outcome = goe("read", f"garage={box.address}", "--format", "prometheus")
    assert (outcome.status, outcome.err) == (0, "")
    found = samples(outcome.out)
    api, volt, ampere, watt, degree, watt_hour = MODELS[model]

    def near(value: float, step: float) -> Any:
        return pytest.approx(value, abs=step * 1.001, rel=1e-6)

    def value(name: str, labels: str = "") -> float:
        return found[f'{name}{{charger="garage"{labels}}}']

    for index, phase in enumerate(("L1", "L2", "L3")):
        label = f',phase="{phase}"'
        volts, amperes = charger.phase_voltage_v[index], charger.phase_current_a[index]
        assert value("goe_phase_voltage_volts", label) == near(volts, volt)
        assert value("goe_phase_current_amperes", label) == near(amperes, ampere)
        assert value("goe_phase_contactor_closed", label) == 1
    assert charger.power_w > 8000
    assert value("goe_power_watts") == near(charger.power_w, watt)
    energy = value("goe_energy_joules_total") / 3600
    assert energy <= charger.energy_wh < energy + watt_hour
    assert energy > 1_233_000
    session = charger.session_wh * 3600
    assert value("goe_session_energy_joules") == near(session, 10)
    assert value("goe_car_state", ',state="charging"') == 1
    assert value("goe_error", ',error="none"') == 1
    assert value("goe_max_current_amperes") == 13
    assert value("goe_absolute_max_current_amperes") == charger.ama
    assert value("goe_phases") == 3
    assert value("goe_charging_allowed") == 1
    label = ',sensor="board"' if model != "PRO" else ',sensor="current_sensor"'
    assert value("goe_temperature_celsius", label) == near(charger.board_c, degree)
    assert value("goe_uptime_seconds") == 300
    assert value("goe_up") == 1
    if model != "PRO":
        assert value("goe_cable_current_amperes") == 20
    (info,) = (name for name in found if name.startswith("goe_device_info"))
    assert 'serial="218042"' in info
    assert f'firmware="{charger.firmware}"' in info
    assert f'api="{api}"' in info
    assert ('name="Kabel 1"' in info) == (api == 2)


@pytest.mark.parametrize("model", MODELS)
def test_read_as_json(goe: Goe, model: str) -> None:
    """`--format json` prints the readings in the table's units, as `/api/v1/chargers` does."""
    charger = charging(model)
    with standing_still() as simulator:
        box = simulator.add(charger)
        outcome = goe("read", f"garage={box.address}", "--format", "json")
    found = json.loads(outcome.out)
    readings = found["readings"]
    api, volt, _ampere, watt, _degree, _watt_hour = MODELS[model]
    assert (found["name"], found["host"], found["up"]) == ("garage", box.address, True)
    assert (found["api"], found["failure"]) == (api, None)
    assert readings["power"] == pytest.approx(charger.power_w, abs=watt, rel=1e-6)
    assert readings["phase_voltage"]["L2"] == pytest.approx(charger.phase_voltage_v[1], abs=volt)
    assert readings["session_energy"] == pytest.approx(charger.session_wh, abs=0.01)
    assert readings["car_state"] == {"state": "charging", "code": 2}
    assert readings["charging_allowed"] is True
    assert (readings["serial"], readings["firmware"]) == ("218042", charger.firmware)
    assert "session_energy_limit" not in readings


@pytest.mark.parametrize("model", MODELS)
def test_read_as_a_table(goe: Goe, model: str) -> None:
    """The table shows every reading, one channel per line, within 80 columns."""
    charger = charging(model)
    with standing_still() as simulator:
        box = simulator.add(charger)
        outcome = goe("read", f"garage={box.address}")
        names = json.loads(goe("read", box.address, "--format", "json").out)["readings"]
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == f"garage  API v{MODELS[model][0]}"
    assert max(map(len, lines)) <= 80
    words = {line.split()[0]: line.split()[1:] for line in lines[3:] if line[:1].strip()}
    # Labels of goe_device_info, which firmware 60.4 added and JSON leaves out.
    info_only = {"revision", "style"} if model == "PRO" else set()
    assert set(words) == {name.replace("_", "-") for name in names} | info_only
    assert words["car-state"] == ["charging", "(2)"]
    assert words["max-current"] == ["13", "A"]
    assert words["charging-allowed"] == ["yes"]
    assert words["serial"] == ["218042"]
    assert words["phase-voltage"][0] == "L1"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Box, Box, str]]:
    """Yield two chargers, and the path of a configuration with both."""
    with standing_still() as simulator:
        garage, carport = simulator.add(charging("V4")), simulator.add(charging("V2"))
        path = tmp_path / "config.yaml"
        path.write_text(
            "chargers:\n"
            f"- {{name: garage, host: '{garage.address}', labels: {{site: home}}}}\n"
            f"- {{name: carport, host: '{carport.address}'}}\n"
        )
        yield garage, carport, str(path)


def test_read_several(goe: Goe, two: tuple[Box, Box, str]) -> None:
    """Several hosts are read at once, in the given order, in every format."""
    garage, carport, _path = two
    hosts = (f"garage={garage.address}", f"carport={carport.address}")
    outcome = goe("read", *hosts)
    assert (outcome.status, outcome.err) == (0, "")
    assert [line for line in outcome.out.splitlines() if "  API v" in line] == [
        "garage  API v2",
        "carport  API v1",
    ]
    found = json.loads(goe("read", *hosts, "--format", "json").out)["chargers"]
    assert [(each["name"], each["readings"]["max_current"]) for each in found] == [
        ("garage", 13),
        ("carport", 13),
    ]
    found = samples(goe("read", *hosts, "--format", "prometheus").out)
    assert found['goe_max_current_amperes{charger="garage"}'] == 13
    assert found['goe_max_current_amperes{charger="carport"}'] == 13
    lines = goe("read", *hosts, "--format", "influx").out.splitlines()
    assert [line.split(",")[1] for line in lines] == ["charger=garage", "charger=carport"]


def test_read_a_configuration(goe: Goe, two: tuple[Box, Box, str]) -> None:
    """`--config` reads all chargers of a configuration with their labels, or those named."""
    garage, carport, path = two
    found = json.loads(goe("read", "--config", path, "--format", "json").out)["chargers"]
    assert [each["name"] for each in found] == ["garage", "carport"]
    assert found[0]["labels"] == {"site": "home"}
    asked = carport.requests
    found = json.loads(goe("read", "garage", "--config", path, "--format", "json").out)
    assert (found["name"], found["host"], found["labels"]) == (
        "garage",
        garage.address,
        {"site": "home"},
    )
    both = goe("read", "garage", f"other={carport.address}", "--config", path, "--format", "influx")
    assert [line.split(",")[1] for line in both.out.splitlines()] == [
        "charger=garage",
        "charger=other",
    ]
    assert carport.requests == asked + 2  # it was polled once, after API v2 was not found


def test_read_by_host_what_a_configuration_has(goe: Goe, two: tuple[Box, Box, str]) -> None:
    """A host of the configuration is its charger there, with its name, labels and serial."""
    garage, _carport, path = two
    found = json.loads(goe("read", garage.address, "--config", path, "--format", "json").out)
    assert (found["name"], found["labels"]) == ("garage", {"site": "home"})
    outcome = goe("read", f"garage={garage.address}", "--config", path)
    assert (outcome.status, outcome.err) == (
        2,
        f"goe-exporter: 'garage' is a charger of {path}: give its name alone\n",
    )
    outcome = goe("read", "garage", "--config", path, "--api", "2")
    assert (outcome.status, outcome.err) == (
        2,
        "goe-exporter: --config.file: --api and --token-file are not allowed with it\n",
    )


def test_read_several_of_which_some_fail(goe: Goe, two: tuple[Box, Box, str]) -> None:
    """A charger that fails does not hide the others: exit 1, with one line for all failures."""
    garage, carport, path = two
    carport.close()
    words = (
        f"goe-exporter: 1 of 2 chargers failed: carport: {carport.address} refuses the connection\n"
    )
    outcome = goe("read", "--config", path)
    assert (outcome.status, outcome.err) == (1, words)
    assert outcome.out.startswith("garage  API v2\n")
    assert "carport" not in outcome.out
    outcome = goe("read", "--config", path, "--format", "json")
    found = json.loads(outcome.out)["chargers"]
    assert [(each["up"], each["failure"]) for each in found] == [(True, None), (False, "refused")]
    found = samples(goe("read", "--config", path, "--format", "prometheus").out)
    assert (found['goe_up{charger="garage"}'], found['goe_up{charger="carport"}']) == (1, 0)
    garage.close()
    outcome = goe("read", "--config", path)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("goe-exporter: 2 of 2 chargers failed: garage: ")
    assert outcome.err.count("\n") == 1


def test_read_an_empty_configuration(goe: Goe, tmp_path: Path) -> None:
    """A configuration without chargers is wrong usage."""
    path = tmp_path / "config.yaml"
    path.write_text("refresh_interval: 10s\n")
    outcome = goe("read", "--config", str(path))
    message = "no charger: give [NAME=]HOST, or --config.file FILE with chargers"
    assert outcome == (2, "", f"goe-exporter: {message}\n")


def test_requests_of_a_read(goe: Goe) -> None:
    """A read takes a few consecutive requests, each with at most 35 keys."""
    with standing_still() as simulator:
        box = simulator.add(charging("V4"))
        goe("read", box.address)
    assert box.requests <= 5
    assert box.max_concurrent == 1
    for _time, target in box.log:
        assert target.replace("%2C", ",").count(",") < 35


def test_read_through_the_legacy_api(goe: Goe) -> None:
    """`--api 1` reads a newer charger through its legacy API only."""
    with standing_still() as simulator:
        box = simulator.add(charging("V4"))
        outcome = goe("read", "--api", "1", f"garage={box.address}")
    assert outcome.out.startswith("garage  API v1\n")
    assert {target for _time, target in box.log} == {"/status"}


@pytest.mark.parametrize("output", ["table", "json", "prometheus"])
def test_read_of_a_dead_host(goe: Goe, output: str) -> None:
    """A charger that does not respond is exit 1 and one line, without output."""
    address = f"127.0.0.1:{free_port()}"
    outcome = goe("read", address, "--format", output)
    assert outcome == (1, "", f"goe-exporter: {address} refuses the connection\n")


@pytest.mark.system
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("output", ["table", "prometheus", "influx"])
def test_read_on_an_old_terminal(simulator: Simulator, encoding: str, output: str) -> None:
    """A character that the terminal cannot show is escaped; the rest is unchanged."""
    name = f"garage ⚡={simulator.add(Charger()).address}"
    command = [sys.executable, "-m", "goe_exporter.cli", "read", name, "--format", output]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    assert done.stderr == b""
    assert b"garage" in done.stdout


@pytest.mark.system
def test_no_room_for_the_output() -> None:
    """A full disk behind the output is an error of one line."""
    command = [sys.executable, "-m", "goe_exporter.cli", "channels"]
    with open("/dev/full", "w") as full:  # noqa: PTH123, a device
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "goe-exporter: the output: No space left on device\n",
    )


def test_read_of_a_host_without_address(goe: Goe) -> None:
    """The error names a host name that cannot be resolved."""
    outcome = goe("read", "charger.invalid")
    assert outcome == (1, "", "goe-exporter: charger.invalid: the host name cannot be resolved\n")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("html", "not JSON: 44 bytes, HTML"),
        ("unauthorized", "Unauthorized"),
        ("busy", "couldn't take api lock"),
        ("not_found", "This URI does not exist"),
        ("huge", "an answer of more than 1048576 bytes"),
        ("deep", "not JSON"),
        ("array", "expected a JSON object"),
        ("reset", "closed the connection before the answer was complete"),
    ],
)
def test_read_of_a_faulty_response(goe: Goe, fault: str, words: str) -> None:
    """Any response that is not a status is exit 1 and one line with the reason."""
    with standing_still() as simulator:
        box = simulator.add(charging("V4"))
        box.fault = fault
        outcome = goe("read", box.address)
    assert (outcome.status, outcome.out) == (1, "")
    assert one_line(outcome.err)
    assert words in outcome.err


OTHERS = json.loads((FIXTURES / "answers" / "other_devices.json").read_text())


@pytest.mark.parametrize("output", ["table", "json", "prometheus", "influx"])
@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other["what"])
def test_read_of_another_device(goe: Goe, speak: Speak, other: dict[str, Any], output: str) -> None:
    """No reading, exit status 1, and an error that says what answered, by either API."""
    body = json.dumps(other["body"]).encode()
    box = speak(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    for api in ("auto", "1", "2"):
        outcome = goe("read", box.address, "--api", api, "--format", output)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.startswith(f"goe-exporter: {box.address}: not ")
        assert outcome.err.endswith(f"{other['shown']}\n")


def test_a_failing_read_as_a_process(launch: Launch) -> None:
    """As a process too, standard error has only that line."""
    address = f"127.0.0.1:{free_port()}"
    outcome = launch("read", address).end()
    assert outcome == (1, "", f"goe-exporter: {address} refuses the connection\n")


# channels


def test_channels(goe: Goe) -> None:
    """`channels` shows all names of every channel within 80 columns."""
    outcome = goe("channels")
    assert (outcome.status, outcome.err) == (0, "")
    assert max(map(len, outcome.out.splitlines())) <= 80
    words = outcome.out.split()
    for channel in CHANNELS:
        assert channel.option in words
        metric = f"{channel.sample}{{{channel.label}}}" if channel.label else channel.sample
        assert metric in words
        assert set(channel.openhab.split()) <= set(words)
    # A metric that is too long is broken between its labels.
    assert {"goe_controller_energy_joules_total{category,", "direction}"} <= set(words)


# simulate


def test_simulate_lists_its_faults(goe: Goe) -> None:
    """`--fault list` lists every fault with its description."""
    outcome = goe("simulate", "--fault", "list")
    assert (outcome.status, outcome.err) == (0, "")
    assert [line.split()[0] for line in outcome.out.splitlines()] == list(FAULTS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate(launch: Launch, number: signal.Signals) -> None:
    """`simulate` prints its address, responds there, and stops on SIGINT and SIGTERM."""
    running = launch("simulate", "--listen", "127.0.0.1:0", "--model", "V3", "--api", "2")
    address = running.line(r"Simulated V3 at (http://127\.0\.0\.1:\d+)/")[1]
    with urllib.request.urlopen(
        f"{address}/api/status?filter=car,fwv", timeout=PATIENCE_SECONDS
    ) as response:
        assert json.load(response) == {"car": 1, "fwv": "055.7"}
    outcome = running.end(number)
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "charger"),
    [
        (
            ["simulate", "--listen", "127.0.0.1:0", "--meter-listen", "127.0.0.1:0"],
            r"Simulated V4 at (http://127\.0\.0\.1:\d+)/",
        ),
        (["demo", "--web.listen-address", "127.0.0.1:0"], r"Page: +(http://127\.0\.0\.1:\d+)/"),
    ],
    ids=["simulate", "demo"],
)
def test_house(launch: Launch, arguments: list[str], charger: str) -> None:
    """With `--house` a meter responds too."""
    running = launch(*arguments, "--house", "scattered")
    meter = running.line(r"Simulated meter.*(http://127\.0\.0\.1:\d+)/")[1]
    running.line(charger)
    with urllib.request.urlopen(
        f"{meter}/rpc/EM.GetStatus?id=0", timeout=PATIENCE_SECONDS
    ) as response:
        assert -8_000 < json.load(response)["total_act_power"] < 15_000
    assert running.end(signal.SIGINT).status == 0


def test_simulate_a_faulty_meter(launch: Launch) -> None:
    """`--meter-fault dead` is a meter without a value."""
    running = launch(
        *("simulate", "--listen", "127.0.0.1:0", "--meter-listen", "127.0.0.1:0"),
        *("--house", "sunny", "--meter-fault", "dead"),
    )
    meter = running.line(r"Simulated meter at (http://127\.0\.0\.1:\d+)/")[1]
    target = f"{meter}/api/v1/query?query=house_grid_power_watts"
    with urllib.request.urlopen(target, timeout=PATIENCE_SECONDS) as response:
        assert json.load(response)["data"]["result"] == []
    assert running.end(signal.SIGTERM).status == 0


def test_simulate_by_the_environment(launch: Launch) -> None:
    """The environment can set its options too."""
    running = launch(
        "simulate",
        GOE_EXPORTER_SIMULATE_LISTEN="127.0.0.1:0",
        GOE_EXPORTER_SIMULATE_MODEL="PRO",
        GOE_EXPORTER_SIMULATE_FIRMWARE="60.3",
        GOE_EXPORTER_SIMULATE_FAULT="html=2",
        GOE_EXPORTER_NO_STORY="1",
    )
    address = running.line(r"Simulated PRO at (http://127\.0\.0\.1:\d+)/")[1]
    answers = []
    for _ in range(2):
        with urllib.request.urlopen(
            f"{address}/api/status?filter=fwv", timeout=PATIENCE_SECONDS
        ) as response:
            answers.append(response.read())
    assert answers[0] == b'{"fwv":"60.3"}'
    assert answers[1].startswith(b"<html>")
    assert running.end(signal.SIGINT).status == 0


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["simulate", "--listen"], "--listen"),
        (
            ["simulate", "--listen", "127.0.0.1:0", "--house", "sunny", "--meter-listen"],
            "--meter-listen",
        ),
        (["serve", "192.0.2.1", "--web.listen-address"], "--web.listen-address"),
        (["demo", "--web.listen-address"], "--web.listen-address"),
    ],
    ids=["simulate", "meter", "serve", "demo"],
)
def test_an_unusable_address(launch: Launch, arguments: list[str], option: str) -> None:
    """An unusable address is exit 2 and one line with the option, the address and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        outcome = launch(*arguments, address).end()
    message = f"{option}: cannot listen on {address}: Address already in use"
    assert outcome == (2, "", f"goe-exporter: {message}\n")
    outcome = launch(*arguments, "127.0.0.1.invalid:80").end()
    message = f"{option}: cannot listen on 127.0.0.1.invalid:80: the name cannot be resolved"
    if arguments[0] == "demo":
        message = f"{option}: must be a loopback address"
    assert outcome == (2, "", f"goe-exporter: {message}\n")
