"""`goe-exporter set` against simulated chargers: writes, read-back, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from goe_exporter.channels.table import CHANNELS
from goe_exporter.channels.writable import find
from goe_exporter.charger import write
from goe_exporter.simulator import Box, Charger, Simulator
from goe_exporter.simulator.settings import SETTINGS, Setting

if TYPE_CHECKING:
    from commands import Goe, Launch

# Name here or in openHAB, value, printed value, the simulated charger's attribute and its value,
# the requests.
ON_V3 = [
    ("max-current", "10A", "10 A", "amp", 10, "/api/set?amp=10"),
    ("maxCurrent", "6", "6 A", "amp", 6, "/api/set?amp=6"),
    ("session-energy-limit", "5kWh", "5000 Wh", "energy_limit_wh", 5000.0, "/api/set?dwo=5000"),
    ("sessionChargeEnergyLimit", "750", "750 Wh", "energy_limit_wh", 750.0, "/api/set?dwo=750"),
    ("session-energy-limit", "off", "off", "energy_limit_wh", None, "/api/set?dwo=null"),
    ("force-state", "off", "off", "force", 1, "/api/set?frc=1"),
    ("forceState", "on", "on", "force", 2, "/api/set?frc=2"),
    ("forceState", "1", "off", "force", 1, "/api/set?frc=1"),
    ("phases", "1", "1", "phase_mode", 1, "/api/set?psm=1"),
    ("phases", "3", "3", "phase_mode", 2, "/api/set?psm=2"),
    ("access", "wait", "wait", "access", 1, "/api/set?acs=1"),
    ("accessConfiguration", "evcms", "evcms", "access", 2, "/api/set?acs=2"),
    ("accessConfiguration", "RFID", "wait", "access", 1, "/api/set?acs=1"),
    ("sessionChargeEnergyLimit", "0", "off", "energy_limit_wh", None, "/api/set?dwo=null"),
    ("transaction", "3", "3", "transaction", 3, "/api/set?trx=3"),
    ("transaction", "off", "off", "transaction", None, "/api/set?trx=null"),
    ("awattar-max-price", "12.5", "12.5 ct", "price_limit_ct", 12.5, "/api/set?awp=12.5"),
    ("awattar-max-price", "-5", "-5 ct", "price_limit_ct", -5, "/api/set?awp=-5"),
    ("max-current-temporary", "8", "8 A", "tcl", 8, "/api/set?tcl=8"),
    ("maxCurrentTemp", "off", "off", "tcl", None, "/api/set?tcl=null"),
]
# The same, without the printed value.
ON_V2 = [
    ("max-current", "10A", "amp", 10, "/mqtt?payload=amp=10"),
    ("maxCurrentTemp", "8", "amx", 8, "/mqtt?payload=amx=8"),
    (
        "session-energy-limit",
        "5kWh",
        "energy_limit_wh",
        5000.0,
        "/mqtt?payload=dwo=50 /mqtt?payload=stp=2",
    ),
    (
        "sessionChargeEnergyLimit",
        "off",
        "energy_limit_wh",
        None,
        "/mqtt?payload=dwo=0 /mqtt?payload=stp=0",
    ),
    ("charging-allowed", "off", "force", 1, "/mqtt?payload=alw=0"),
    ("allowCharging", "on", "force", 0, "/mqtt?payload=alw=1"),
    ("access", "scheduler", "access", 3, "/mqtt?payload=ast=3"),
    ("accessConfiguration", "automatic", "access", 2, "/mqtt?payload=ast=2"),
    ("accessConfiguration", "TIMER", "access", 3, "/mqtt?payload=ast=3"),
    ("allowCharging", "OFF", "force", 1, "/mqtt?payload=alw=0"),
]


MAX_CURRENT = "max-current: this charger accepts 6 to 16 A in whole amperes"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read back often, with a timeout of half a second, which is ten simulated seconds."""
    monkeypatch.setattr(write, "READ_BACK_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(write, "READ_BACK_SECONDS", 0.5)


def test_alw_on_launch_firmware(
    simulator: Simulator, goe: Goe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Firmware 050 shows `alw` after 7 s, which `set` waits for (here 350 ms)."""
    monkeypatch.undo()
    assert write.READ_BACK_SECONDS > 7
    monkeypatch.setattr(write, "READ_BACK_PAUSE_SECONDS", 0.02)
    box = simulator.add(Charger("V3", firmware="050"), api="1")
    outcome = goe("set", "--api", "1", box.address, "charging-allowed", "off")
    assert (outcome.status, outcome.err) == (0, "")
    assert box.charger.allowed is False


def contrary(model: str, firmware: str | None = None) -> Charger:
    """Return a charger with other settings than those that the tests write."""
    charger = Charger(model, firmware)
    charger.tcl, charger.tcl_until_s = 10, 600.0
    charger.energy_limit_wh, charger.limit_memory = 3000.0, 30
    charger.transaction = 7 if charger.hardware.v2 else None
    charger.advance(2)
    return charger


def writes(box: Box) -> list[str]:
    """Return the write requests that a box received."""
    return [target for _time, target in box.log if target.startswith(("/api/set", "/mqtt"))]


@pytest.mark.parametrize(("channel", "text", "shown", "attribute", "value", "requests"), ON_V3)
def test_on_v3(
    simulator: Simulator,
    goe: Goe,
    channel: str,
    text: str,
    shown: str,
    attribute: str,
    value: object,
    requests: str,
) -> None:
    """On V3 each channel is written through API v2, takes effect, and is reported."""
    box = simulator.add(contrary("V3", "60.5"))
    outcome = goe("set", f"garage={box.address}", channel, text)
    assert (outcome.status, outcome.err) == (0, "")
    name = find(CHANNELS, channel).option
    assert outcome.out.startswith(f"garage: {name} is now {shown} (reported by the charger after ")
    assert " s, API v2)" in outcome.out
    assert getattr(box.charger, attribute) == value
    assert writes(box) == requests.split()


@pytest.mark.parametrize(("channel", "text", "attribute", "value", "requests"), ON_V2)
def test_on_v2_hardware(
    simulator: Simulator,
    goe: Goe,
    channel: str,
    text: str,
    attribute: str,
    value: object,
    requests: str,
) -> None:
    """On V2 hardware each channel is written through API v1, in its values and scalings."""
    charger = contrary("V2")
    charger.force = 1 if text == "on" else 0
    charger.advance(2)
    box = simulator.add(charger)
    outcome = goe("set", f"garage={box.address}", channel, text)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.endswith(" s, API v1)\n")
    assert getattr(box.charger, attribute) == value
    assert writes(box) == requests.split()


@pytest.mark.parametrize("text", ["AWATTAR", "TIMER"])
def test_modes_of_v2_hardware_on_v4(simulator: Simulator, goe: Goe, text: str) -> None:
    """Through API v1, V4 keeps its access mode, and `set` says which modes every hardware knows."""
    box = simulator.add(Charger("V4"))
    outcome = goe("set", "--api", "1", box.address, "accessConfiguration", text)
    message = (
        "access did not change: the charger accepted the request but still reports open;"
        " some hardware only knows open and wait"
    )
    assert outcome == (1, "", f"goe-exporter: {message}\n")
    assert box.charger.access == 0


def test_the_cases_cover_the_table() -> None:
    """Every writable channel is written above, through each of its APIs."""
    tried = {
        (find(CHANNELS, name).option, api)
        for api, cases in ((2, ON_V3), (1, ON_V2))
        for name, *_rest in cases
    }
    assert tried == {(channel.option, api) for channel in CHANNELS for api in channel.write}


@pytest.mark.parametrize("model", ["V3", "V2"])
def test_the_chargers_own_limit(simulator: Simulator, goe: Goe, model: str) -> None:
    """More than the charger's `ama` is rejected with that limit, and nothing is written."""
    box = simulator.add(Charger(model, variant=11))
    outcome = goe("set", box.address, "max-current", "20")
    assert outcome.status == 2
    assert outcome.err == (
        "goe-exporter: max-current: this charger accepts 6 to 16 A in whole amperes, not '20'\n"
    )
    assert box.requests > 0
    assert writes(box) == []
    assert goe("set", box.address, "max-current", "16").status == 0


def test_a_charger_of_22_kw(simulator: Simulator, goe: Goe) -> None:
    """A charger that allows 32 A accepts 20 A."""
    box = simulator.add(Charger("V4", variant=22))
    assert goe("set", box.address, "max-current", "20A").status == 0
    assert box.charger.amp == 20


def test_a_silent_refusal_of_api_v1(simulator: Simulator, goe: Goe) -> None:
    """API v1 refuses with an unchanged value (docs/protocol.md §1): exit 1 with that value."""
    box = simulator.add(Charger("V2", firmware="033"))
    outcome = goe("set", box.address, "max-current-temporary", "10")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "goe-exporter: max-current-temporary did not change:"
        " the charger accepted the request but still reports max-current 16 A\n"
    )
    assert writes(box) == ["/mqtt?payload=amx=10"]


def test_a_v2_charger_that_ignores_a_write(goe: Goe) -> None:
    """A response of true is not trusted; only the read-back counts."""
    with Simulator(clock=lambda: 1000.0) as standing_still:
        box = standing_still.add(Charger("V3"))
        outcome = goe("set", box.address, "max-current", "10")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "goe-exporter: max-current did not change:"
        " the charger accepted the request but still reports 16 A\n"
    )
    assert writes(box) == ["/api/set?amp=10"]


def test_a_refusal_with_a_reason(
    simulator: Simulator, goe: Goe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The charger's refusal is quoted, with exit 1."""
    box = simulator.add(Charger("V3"))
    never = Setting(lambda _charger, _value: False, lambda _charger, _value: None)
    monkeypatch.setitem(SETTINGS, "amp", never)
    outcome = goe("set", box.address, "max-current", "10")
    assert (outcome.status, outcome.out) == (1, "")
    words = "'amp: failed: value not allowed (10)'"
    assert outcome.err == f"goe-exporter: {box.address} refused amp=10: {words}\n"
    assert box.charger.amp == 16


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("busy", "couldn't take api lock in 3s, please try again later"),
        ("unauthorized", "Unauthorized"),
        ("not_found", "This URI does not exist"),
        ("unavailable", "Service Unavailable"),
        ("html", "44 bytes, HTML"),  # with any value
        ("reset", "closed the connection before the answer was complete"),
    ],
)
def test_a_write_that_fails(simulator: Simulator, goe: Goe, fault: str, words: str) -> None:
    """A failed write request is one line, with exit 1."""
    box = simulator.add(Charger("V3"))
    box.fault, box.fault_every = fault, 2
    outcome = goe("set", box.address, "max-current", "10")
    assert (outcome.status, outcome.out) == (1, "")
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert len(writes(box)) == 1


def test_firmware_that_only_counts(simulator: Simulator, goe: Goe) -> None:
    """Firmware before 051.4 reports `1 succeeded and 0 failed.`, which is success."""
    box = simulator.add(Charger("V3", firmware="050.0"))
    outcome = goe("set", box.address, "max-current", "10")
    assert (outcome.status, outcome.err) == (0, "")
    assert box.charger.amp == 10


def test_a_charger_that_is_off(simulator: Simulator, goe: Goe) -> None:
    """A charger that does not respond is exit 1 and one line."""
    box = simulator.add(Charger("V3"))
    box.close()
    outcome = goe("set", box.address, "max-current", "10")
    assert outcome == (1, "", f"goe-exporter: {box.address} refuses the connection\n")


@pytest.mark.parametrize("channel", ["phases", "force-state", "transaction", "awattar-max-price"])
def test_a_v2_channel_on_a_v1_charger(simulator: Simulator, goe: Goe, channel: str) -> None:
    """A channel of API v2 is rejected on a v1 charger, and nothing is written."""
    box = simulator.add(Charger("V2"))
    text = "off" if channel == "force-state" else "1"
    outcome = goe("set", box.address, channel, text)
    message = f"{channel} cannot be written through API v1, only through API v2"
    if channel == "force-state":
        message += "; use charging-allowed (off or on) instead"
    assert outcome == (2, "", f"goe-exporter: {message}\n")
    assert writes(box) == []


def test_a_v1_channel_on_a_v2_charger(simulator: Simulator, goe: Goe) -> None:
    """A channel of API v1 is rejected too, unless `--api 1` selects the legacy API."""
    box = simulator.add(Charger("V3"))
    outcome = goe("set", box.address, "charging-allowed", "on")
    message = (
        "charging-allowed cannot be written through API v2, only through API v1;"
        " use force-state (neutral, off or on) instead"
    )
    assert outcome == (2, "", f"goe-exporter: {message}\n")
    assert writes(box) == []
    assert goe("set", "--api", "1", box.address, "allowCharging", "off").status == 0
    assert box.charger.force == 1


def test_a_temporary_current_on_v2_hardware(simulator: Simulator, goe: Goe) -> None:
    """V2 hardware shows the temporary current as max-current (docs/protocol.md §5.1)."""
    box = simulator.add(Charger("V2", firmware="041.0"))
    outcome = goe("set", f"garage={box.address}", "max-current-temporary", "10")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(
        "garage: max-current-temporary is now 10 A (reported by the charger as max-current after "
    )
    assert outcome.out.endswith(" s, API v1)\n")
    assert (box.charger.amp, box.charger.amx) == (16, 10)


def test_a_temporary_current_above_the_current(simulator: Simulator, goe: Goe) -> None:
    """With 042, max-current bounds the temporary current; the output says so."""
    charger = Charger("V2", firmware="042.0")
    charger.amp = 6
    box = simulator.add(charger)
    outcome = goe("set", f"garage={box.address}", "max-current-temporary", "10")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("garage: max-current-temporary is now 10 A (reported by")
    assert outcome.out.endswith(" s, API v1); max-current still limits the current to 6 A\n")


def test_a_temporary_current_of_api_v2(simulator: Simulator, goe: Goe) -> None:
    """With API v2 the temporary current expires; the output says so."""
    box = simulator.add(Charger("PRO"))
    outcome = goe("set", box.address, "max-current-temporary", "8")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.endswith(
        " s, API v2); it expires after 10 minutes unless it is set again, then max-current"
        " applies\n"
    )
    assert box.charger.allowed_a is None or box.charger.allowed_a <= 8
    refused = goe("set", simulator.add(Charger("V3", "055.7")).address, "maxCurrentTemp", "8")
    assert refused.status == 1
    assert refused.err.endswith(
        "refused tcl=8: 'tcl: tried to set api key without setter (8)';"
        " use max-current (6 to 16 A in whole amperes) instead\n"
    )


@pytest.mark.parametrize(
    ("channel", "text", "message"),
    [
        ("power", "1", "power is read-only; writable channels: session-energy-limit, "),
        ("powerAll", "1", "power is read-only; writable channels: session-energy-limit, "),
        ("nosuch", "1", "unknown channel 'nosuch'; writable channels: session-energy-limit, "),
        ("maxcurrent", "1", "unknown channel 'maxcurrent'; did you mean max-current?; writable "),
        ("max-current", "NaN", f"{MAX_CURRENT}, not 'NaN'\n"),
        ("max-current", "10 bananas", f"{MAX_CURRENT}, not '10 bananas'\n"),
        ("max-current", "33", f"{MAX_CURRENT}, not '33'\n"),
        ("max-current", "", f"{MAX_CURRENT}, not ''\n"),
        ("max-current", "-6", f"{MAX_CURRENT}, not '-6'\n"),
        (
            "force-state",
            "\x1b[31mon",
            "force-state: this charger accepts neutral, off or on, not '\\x1b[31mon'\n",
        ),
        ("phases", "2", "phases: this charger accepts auto, 1 or 3, not '2'\n"),
        (
            "access",
            "scheduler",
            "access: this charger accepts open, wait or evcms, not 'scheduler'\n",
        ),
        ("access", "closed", "access: this charger accepts open, wait or evcms, not 'closed'\n"),
    ],
)
def test_a_value_that_no_charger_accepts(
    simulator: Simulator, goe: Goe, channel: str, text: str, message: str
) -> None:
    """A value that this charger does not accept is exit 2 and one line, without a write."""
    box = simulator.add(Charger("V3"))
    outcome = goe("set", box.address, channel, text)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"goe-exporter: {message}")
    assert outcome.err.count("\n") == 1
    assert writes(box) == []


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["maxCurrent", "10A"],
            [
                "API v1: GET http://HOST/mqtt?payload=amp=10",
                "API v2: GET http://HOST/api/set?amp=10",
            ],
        ),
        (
            ["session-energy-limit", "5kWh", "--api", "1"],
            [
                "API v1: GET http://HOST/mqtt?payload=dwo=50",
                "API v1: GET http://HOST/mqtt?payload=stp=2",
            ],
        ),
        (
            ["session-energy-limit", "off", "--api", "2"],
            ["API v2: GET http://HOST/api/set?dwo=null"],
        ),
        (["phases", "1"], ["API v2: GET http://HOST/api/set?psm=1"]),
    ],
    ids=["both", "v1", "v2", "v2 only"],
)
def test_dry_run(simulator: Simulator, goe: Goe, arguments: list[str], lines: list[str]) -> None:
    """`--dry-run` prints the requests and sends nothing."""
    box = simulator.add(Charger("V3"))
    outcome = goe("set", box.address, *arguments, "--dry-run")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.replace(box.address, "HOST").splitlines() == lines
    assert box.requests == 0


def test_dry_run_of_a_bad_value(simulator: Simulator, goe: Goe) -> None:
    """A dry run rejects the same values."""
    box = simulator.add(Charger("V3"))
    outcome = goe("set", box.address, "max-current", "33", "--dry-run")
    assert outcome.status == 2
    assert outcome.err == "goe-exporter: max-current: 6 to 32 A in whole amperes, not '33'\n"
    outcome = goe("set", box.address, "phases", "1", "--api", "1", "--dry-run")
    assert outcome.status == 2
    assert box.requests == 0


def test_a_token(simulator: Simulator, goe: Goe) -> None:
    """An unreadable token file is exit 2 and one line, before any request."""
    box = simulator.add(Charger("V3"))
    token = ("--token-file", "/nonexistent/token")
    outcome = goe("set", *token, box.address, "max-current", "10")
    message = "cannot read the token file /nonexistent/token: No such file or directory"
    assert outcome == (2, "", f"goe-exporter: {message}\n")
    assert box.requests == 0


def test_as_a_process(launch: Launch) -> None:
    """The command writes, waits and exits as a process too."""
    with Simulator(speed=5) as simulator:
        box = simulator.add(Charger("V3"))
        outcome = launch("set", box.address, "max-current", "10A").end()
        assert (outcome.status, outcome.err) == (0, "")
        assert box.charger.amp == 10
        assert launch("set", box.address, "max-current", "ten").end().status == 2
        box.close()
        assert launch("set", box.address, "max-current", "12A").end().status == 1


# A charger of the configuration


@pytest.mark.parametrize("model", ["V2", "V4"])
def test_swapped_addresses_are_never_written(
    goe: Goe, simulator: Simulator, tmp_path: Path, model: str
) -> None:
    """After DHCP swapped two chargers, a write by name or host reaches neither of them."""
    garage, carport = (simulator.add(Charger(model, serial=n)) for n in ("012345", "222222"))
    file = tmp_path / "goe.yaml"
    file.write_text(
        f"""chargers:
        - {{name: garage, host: '{garage.address}', serial: "012345"}}
        - {{name: carport, host: '{carport.address}', serial: "222222"}}"""
    )
    config = ("--config", str(file))
    done = goe("set", "garage", "max-current", "10", *config)
    assert (done.status, garage.charger.amp, carport.charger.amp) == (0, 10, 16), done.err
    assert done.out.startswith("garage: max-current is now 10 A")
    garage.charger, carport.charger = carport.charger, garage.charger
    for named in ("garage", garage.address):
        before = [*garage.log, *carport.log]
        refused = goe("set", named, "max-current", "8", *config)
        assert (refused.status, refused.out) == (1, "")
        assert refused.err == (
            f"goe-exporter: {garage.address}: another charger answered:"
            " its serial number is '222222', not 012345\n"
        )
        asked = [target for _time, target in [*garage.log, *carport.log][len(before) :]]
        assert not any("set?" in target or "mqtt?" in target for target in asked)
    assert (garage.charger.amp, carport.charger.amp) == (16, 10)


def test_charger_that_is_not_in_the_configuration(goe: Goe, tmp_path: Path) -> None:
    """An unknown name is an error with the known ones; nothing is sent."""
    file = tmp_path / "goe.yaml"
    file.write_text("chargers:\n- {name: garage, host: 192.0.2.1}\n- {name: yard, host: x}\n")
    failed = goe("set", "garge", "max-current", "8", "--config", str(file))
    assert (failed.status, failed.out) == (2, "")
    assert failed.err == (f"goe-exporter: {file}: no charger 'garge'; it has 'garage', 'yard'\n")


def test_configured_api_and_dry_run(goe: Goe, tmp_path: Path) -> None:
    """The request is the one for the configured host and API."""
    file = tmp_path / "goe.yaml"
    file.write_text("chargers:\n- {name: garage, host: 192.0.2.1, api: 1}\n")
    shown = goe("set", "garage", "max-current", "8", "--dry-run", "--config", str(file))
    assert shown.out == "API v1: GET http://192.0.2.1/mqtt?payload=amp=8\n"
    both = goe("set", "garage", "max-current", "8", "--api", "2", "--config", str(file))
    assert both.status == 2
    assert "--api" in both.err
