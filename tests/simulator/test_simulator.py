"""The simulated charger behaves as docs/protocol.md describes real ones."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from clocks import Clock
from servers import PATIENCE_SECONDS, wait_for

from goe_exporter.simulator import FAULTS, MODELS, Box, Car, Charger, Simulator, story
from goe_exporter.simulator.responses import set_v1, set_v2, status_v1, status_v2

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED = (ConnectionRefusedError, ConnectionResetError)
LOCKED = b"couldn't take api lock in 3s, please try again later"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Iterator[Simulator]:
    with Simulator(clock=clock) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Box:
    return simulator.add(charging("V4"))


def charging(model: str = "V4", **options: object) -> Charger:
    """Return a charger that has charged a three-phase car for a minute."""
    charger = Charger(model, **options)  # type: ignore[arg-type]
    charger.plug(Car(battery_wh=60_000, soc=0.2))
    charger.advance(60)
    return charger


def opened(box: Box, *targets: str, method: str = "GET") -> socket.socket:
    """Return a connection on which a request for each target was sent at once."""
    host, port = box.address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
    requests = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n" for target in targets]
    connection.sendall("".join(requests).encode())
    return connection


def everything(connection: socket.socket) -> bytes:
    """Return all bytes until the end of the connection, which the charger must close."""
    received = bytearray()
    while piece := connection.recv(65536):
        received += piece
    return bytes(received)


def asked(box: Box, target: str, method: str = "GET") -> tuple[int, bytes, bytes]:
    """Return status, header bytes and body of a request."""
    with closing(opened(box, target, method=method)) as connection:
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


def status(box: Box, target: str = "/api/status?filter=car,amp") -> dict[str, object]:
    answer = json.loads(asked(box, target)[2])
    assert isinstance(answer, dict)
    return answer


# The physics


def test_energy_is_the_integral_of_power() -> None:
    """Session and total energy are the sum of the power of every second."""
    charger = Charger("V4", seed=3)
    charger.energy_wh = 5000.0
    charger.plug(Car())
    joules = 0.0
    for _ in range(600):
        charger.advance(1)
        joules += charger.power_w
    assert charger.session_wh == pytest.approx(joules / 3600)
    assert charger.energy_wh == pytest.approx(5000 + joules / 3600)
    assert 1500 < charger.session_wh < 1900


def test_power_is_voltage_times_current_times_factor() -> None:
    """The power of a phase is U * I * power factor; the total is the sum of the phases."""
    charger = charging()
    for phase in range(3):
        volts, amperes = charger.phase_voltage_v[phase], charger.phase_current_a[phase]
        assert charger.phase_power_w[phase] == volts * amperes * charger.power_factor[phase]
    assert charger.power_w == pytest.approx(sum(charger.phase_power_w))
    assert 10_000 < charger.power_w < 11_100


def test_car_waits_then_ramps_up() -> None:
    """A plugged-in car waits (3), then its current rises over several seconds (2)."""
    charger = Charger()
    assert charger.car_state == 1
    charger.plug(Car(wait_s=10))
    charger.advance(9)
    assert (charger.car_state, charger.power_w) == (3, 0)
    currents = []
    for _ in range(5):
        charger.advance(1)
        currents.append(charger.phase_current_a[0])
    assert charger.car_state == 2
    assert currents[0] < 5
    assert currents == sorted(currents)
    assert currents[-1] == pytest.approx(15.5, abs=0.2)


def test_voltage_sags_under_load() -> None:
    """The voltage drops by about 1.5 V at 16 A."""
    idle, loaded = Charger(seed=5), Charger(seed=5)
    loaded.plug(Car())
    idle.advance(60)
    loaded.advance(60)
    assert 1.0 < idle.phase_voltage_v[0] - loaded.phase_voltage_v[0] < 2.0


@pytest.mark.parametrize(
    ("change", "amperes"),
    [
        ({"amp": 10}, 10),
        ({"amp": 32}, 32),
        ({"amp": 32, "amx": 8}, 8),
        ({"amp": 32, "adapter": True}, 16),
        ({"amp": 32, "cable_a": 20}, 20),
        ({"amp": 32, "load_limit_a": 7}, 7),
    ],
)
def test_allowed_current_is_the_smallest_limit(change: dict[str, int], amperes: int) -> None:
    """The allowed current is the minimum of setting, cable, adapter, load balancing, hardware."""
    charger = Charger("V4")
    charger.plug(Car(max_current_a=32, soc=0.1))
    for name, value in change.items():
        setattr(charger, name, value)
    charger.advance(60)
    assert charger.allowed_a == amperes
    assert max(charger.phase_current_a) <= amperes
    assert max(charger.phase_current_a) > amperes * 0.9


def test_temporary_current_is_forgotten() -> None:
    """`amx` overrides `amp` until a reboot; while unset, the legacy API reports `amp` for it."""
    charger = charging("V4")
    set_v1(charger, "amx=8")
    charger.advance(10)
    assert (charger.allowed_a, status_v1(charger)["amx"], status_v1(charger)["amp"]) == (
        8,
        "8",
        "16",
    )
    charger.reboot()
    charger.advance(10)
    assert (charger.allowed_a, status_v1(charger)["amx"]) == (16, "16")


def test_temporary_current_of_old_hardware() -> None:
    """V2 hardware shows `amx` as `amp` until a reboot, and has no key `amx` (protocol §5.1)."""
    charger = charging("V2")
    answer = set_v1(charger, "amx=10")
    assert (answer["amp"], "amx" in answer) == ("10", False)
    assert status_v1(charger)["amp"] == "16"
    charger.advance(10)
    assert (charger.allowed_a, charger.amp) == (10, 16)
    assert status_v1(charger)["amp"] == "10"
    assert "amx" not in status_v1(charger)
    charger.reboot()
    charger.advance(10)
    assert (charger.allowed_a, status_v1(charger)["amp"]) == (16, "16")


@pytest.mark.parametrize(("amx", "amperes"), [(8, 8), (16, 10)])
def test_temporary_current_since_042(amx: int, amperes: int) -> None:
    """Since 042 `amx` cannot raise the current above `amp` (docs/protocol.md §5.1)."""
    charger = Charger("V2", "042.0")
    charger.amp = 10
    charger.plug(Car(max_current_a=32, soc=0.1))
    charger.advance(60)
    set_v1(charger, f"amx={amx}")
    charger.advance(10)
    assert charger.allowed_a == amperes
    assert status_v1(charger)["amp"] == "10"


def test_temporary_limit_of_api_v2() -> None:
    """`tcl` limits the current for ten minutes and does not touch `amp` (protocol §5.1)."""
    charger = Charger("V4", "59.4")
    charger.plug(Car(max_current_a=32, soc=0.1, battery_wh=90_000))
    assert set_v2(charger, "tcl=8") == (200, {"tcl": True})
    charger.advance(60)
    assert (charger.allowed_a, status_v2(charger, ["amp", "tcl"])) == (8, {"amp": 16, "tcl": 8})
    assert set_v2(charger, "tcl=20") == (200, {"tcl": True})
    charger.advance(60)
    assert charger.allowed_a == 16
    charger.advance(600)
    assert status_v2(charger, ["tcl"]) == {"tcl": None}
    assert set_v2(charger, "tcl=8")[0] == 200
    charger.advance(2)
    assert set_v2(charger, "tcl=null")[0] == 200
    charger.advance(2)
    assert (charger.allowed_a, status_v2(charger, ["tcl"])) == (16, {"tcl": None})


def test_temporary_limit_before_59() -> None:
    """Before 59.4 `tcl` is null and has no setter."""
    charger = Charger("V4", "56.9")
    assert status_v2(charger, ["tcl"]) == {"tcl": None}
    assert set_v2(charger, "tcl=8") == (
        500,
        {"tcl": "tcl: tried to set api key without setter (8)"},
    )


def test_variant_limits_the_current() -> None:
    """An 11 kW charger allows 16 A, a 22 kW charger 32 A, and refuses higher settings."""
    assert Charger("V4", variant=11).ama == 16
    assert Charger("V4", variant=22).ama == 32
    with pytest.raises(ValueError, match="not allowed"):
        Charger("V4", variant=11).write("amp", 20)


def test_temperature_rises_and_falls() -> None:
    """Charging heats board and socket with the square of the current; then they cool down."""
    charger = charging(seed=1)
    cold = charger.board_c, charger.type2_c
    charger.advance(1200)
    warm = charger.board_c, charger.type2_c
    charger.unplug()
    charger.advance(3600)
    assert warm[0] > cold[0] + 3
    assert warm[1] > cold[1] + 4
    assert charger.board_c < warm[0] - 3
    assert charger.type2_c == pytest.approx(20, abs=0.5)


def test_heat_lowers_the_current_and_then_stops_it() -> None:
    """Above 70 °C `amt` falls; above 83 °C charging stops (modelStatus 1)."""
    charger = charging()
    charger.board_c = charger.ambient_c = 78.0
    charger.advance(5)
    assert charger.temperature_limit_a == 15
    assert charger.allowed_a == 15
    charger.board_c = 90.0
    charger.advance(1)
    assert (charger.model_status, charger.power_w) == (1, 0)


def test_car_fills_and_tapers() -> None:
    """The current falls near full; when full, the state is 4 and the contactor open."""
    charger = Charger()
    car = Car(battery_wh=3000, soc=0.85)
    charger.plug(car)
    charger.advance(60)
    full_current = charger.phase_current_a[0]
    while car.soc < 0.97:
        charger.advance(1)
    assert charger.phase_current_a[0] < full_current / 2
    charger.advance(1800)
    assert (charger.car_state, car.soc) == (4, 1.0)
    assert charger.phase_current_a == [0, 0, 0]
    # 15 % of 3 kWh at 90 % efficiency
    assert charger.session_wh == pytest.approx(500, abs=5)


def test_session_energy_stays_until_the_next_car() -> None:
    """The session's energy is kept until the next car resets it; the total goes on."""
    charger = charging()
    session, total = charger.session_wh, charger.energy_wh
    charger.unplug()
    charger.advance(100)
    assert (charger.session_wh, charger.energy_wh, charger.car_state) == (session, total, 1)
    charger.plug(Car())
    assert (charger.session_wh, charger.energy_wh) == (0, total)


def test_energy_limit_stops_the_charge() -> None:
    """Charging stops at 500 Wh with modelStatus 6, and continues with a higher limit."""
    charger = Charger("V4")
    charger.plug(Car())
    charger.write("dwo", 500)
    charger.advance(600)
    assert 500 <= charger.session_wh < 504
    assert (charger.model_status, charger.power_w, charger.allowed) == (6, 0, False)
    assert status_v2(charger, ["alw", "acu"]) == {"alw": False, "acu": None}
    charger.write("dwo", None)
    charger.advance(30)
    assert charger.power_w > 10_000


def test_error_stops_the_charge() -> None:
    """An error opens the contactor at once: car 5, modelStatus 26, all currents 0."""
    charger = charging()
    charger.inject(8)
    assert (charger.car_state, charger.model_status, charger.error) == (5, 26, 8)
    assert (charger.phase_current_a, charger.power_w) == ([0, 0, 0], 0)
    charger.advance(60)
    assert charger.power_w == 0
    charger.clear_error()
    charger.advance(20)
    assert charger.car_state == 2


def test_force_state() -> None:
    """Off (1) stops charging, on (2) overrides the energy limit, neutral (0) follows it."""
    charger = charging()
    charger.energy_limit_wh = 10.0
    for force, reason in ((1, 4), (2, 3), (0, 6)):
        charger.write("frc", force)
        charger.advance(20)
        assert charger.model_status == reason
        assert (charger.power_w > 0) is (force == 2)


def test_access_needs_a_transaction() -> None:
    """With access "wait" charging needs a card, whose energy is counted."""
    charger = Charger("V4")
    charger.access = 1
    charger.plug(Car())
    charger.advance(30)
    assert (charger.car_state, charger.model_status) == (3, 2)
    charger.write("trx", 2)
    charger.advance(60)
    assert charger.car_state == 2
    assert charger.card_wh[1] == pytest.approx(charger.session_wh)
    charger.unplug()
    assert charger.transaction is None


def test_phase_switch() -> None:
    """The contactor opens (23), the session counter restarts, then only L1 is loaded."""
    charger = charging("V4")
    charger.write("psm", 1)
    charger.advance(2)
    assert (charger.model_status, charger.contactor_phases) == (23, 0)
    assert charger.session_wh == -0.0015
    charger.advance(30)
    assert charger.contactor_phases == 1
    assert status_v2(charger, ["pha", "pnp"]) == {
        "pha": [True, False, False, True, True, True],
        "pnp": 1,
    }
    assert charger.phase_power_w[1:] == [0, 0, 0]
    assert 3300 < charger.power_w < 3700


def test_phase_switch_takes_ten_seconds() -> None:
    """Meanwhile `car` is 4, and 1 at the end (docs/protocol.md §5.3)."""
    charger = charging("V3")
    charger.write("psm", 1)
    charger.advance(2)
    states = []
    while charger.switching_phases:
        states.append(charger.car_state)
        charger.advance(1)
    assert states == [*(4,) * 6, *(1,) * 3]
    assert charger.car_state == 3


def test_unplugging_ends_a_forced_state() -> None:
    """`frc` is 0 after the car was unplugged (docs/protocol.md §5.3)."""
    charger = charging("V4")
    charger.force = 2
    charger.unplug()
    assert status_v2(charger, ["frc", "car"]) == {"frc": 0, "car": 1}


def test_noise_on_unused_phases() -> None:
    """On V4, phases without a load show 0.04 to 0.08 A while charging, and 0 otherwise."""
    for model, noisy in (("V4", True), ("V3", False)):
        charger = Charger(model)
        charger.plug(Car(phases=1))
        charger.advance(60)
        for current in charger.phase_current_a[1:]:
            assert (0.04 <= current <= 0.08) if noisy else current == 0
        charger.unplug()
        charger.advance(1)
        assert charger.phase_current_a == [0, 0, 0]


def test_same_seed_same_state() -> None:
    """The state depends on the seed and on what was done, not on how often it is read."""
    first, second, other = charging(seed=7), Charger(seed=7), charging(seed=8)
    second.plug(Car(battery_wh=60_000, soc=0.2))
    for _ in range(240):
        second.advance(0.25)
    assert status_v2(first) == status_v2(second)
    assert first.phase_voltage_v != other.phase_voltage_v


def test_time_does_not_go_back() -> None:
    """A negative or infinite time is rejected."""
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds"):
            Charger().advance(seconds)


def test_reboot() -> None:
    """The uptime restarts, the reboot counter rises, then charging continues."""
    charger = charging("V4")
    charger.reboot()
    charger.advance(2)
    assert status_v2(charger, ["rbt", "rbc", "car"]) == {"rbt": 2000, "rbc": 2, "car": 6}
    charger.advance(20)
    assert charger.car_state == 2


# Writes


def test_writes_take_effect_a_second_later() -> None:
    """A write takes effect after one second, not before."""
    charger = Charger("V4")
    charger.advance(0.4)
    charger.write("amp", 10)
    charger.advance(0.9)
    assert status_v2(charger, ["amp"]) == {"amp": 16}
    charger.advance(0.1)
    assert status_v2(charger, ["amp"]) == {"amp": 10}


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("amp=16", {"amp": True}),
        ("dwo=null", {"dwo": True}),
        ("fna=%22my%20charger%22", {"fna": True}),
        ("amp=8&frc=1", {"amp": True, "frc": True}),
        ("ids=%7B%22pGrid%22%3A-500%7D", {"ids": True}),
    ],
)
def test_v2_accepts_a_write(query: str, answer: dict[str, bool]) -> None:
    """An accepted key has the value true, with HTTP 200."""
    assert set_v2(Charger("V4"), query) == (200, answer)


@pytest.mark.parametrize(
    ("query", "key", "why"),
    [
        ("fsp=false", "fsp", "fsp: tried to set api key without setter (false)"),
        ('cid="', "cid", 'cid: tried to set api key with invalid json IncompleteInput (")'),
        ("fna=%22", "fna", 'fna: tried to set api key with invalid json IncompleteInput (")'),
        ("fna=garage", "fna", None),
        ("amp=5", "amp", None),
        ("amp=33", "amp", None),
        ("amp=16.5", "amp", None),
        ("amp=true", "amp", None),
        ("amp=NaN", "amp", None),
        ("amp=" + "[" * 5000, "amp", None),
        ("psm=3", "psm", None),
        ("dwo=-1", "dwo", None),
        ("alw=1", "alw", None),
        ("nosuchkey=1", "nosuchkey", None),
        ("amx=10", "amx", None),
    ],
)
def test_v2_refuses(query: str, key: str, why: str | None) -> None:
    """A refusal is HTTP 500 with a string as the key's value; nothing changes."""
    charger = Charger("V4")
    before = status_v2(charger, ["amp", "psm", "dwo", "fna"])
    code, answer = set_v2(charger, query)
    charger.advance(0.0)
    assert code == 500
    assert isinstance(answer, dict)
    assert str(answer[key]).startswith(f"{key}: ")
    assert why is None or answer[key] == why
    charger.advance(3)
    assert status_v2(charger, ["amp", "psm", "dwo", "fna"]) == before


def test_v1_answers_a_write_with_the_new_value() -> None:
    """`/mqtt` returns the new value at once, `/status` a second later."""
    charger = Charger("V2")
    assert set_v1(charger, "amp=10")["amp"] == "10"
    assert status_v1(charger)["amp"] == "16"
    charger.advance(1)
    assert status_v1(charger)["amp"] == "10"


@pytest.mark.parametrize(
    "payload", ["amp=40", "amp=x", "amp=" + "9" * 5000, "amp=", "nokey=1", "alw=7", "stp=1", ""]
)
def test_v1_refuses_silently(payload: str) -> None:
    """A refusal is the unchanged status."""
    charger = Charger("V2")
    before = status_v1(charger)
    assert set_v1(charger, payload) == before
    charger.advance(2)
    after = status_v1(charger)
    assert [after[key] for key in ("amp", "alw", "stp", "dwo")] == ["16", "1", "0", "0"]


def test_v1_energy_limit() -> None:
    """`dwo` is in 0.1 kWh, and in effect only with `stp` 2."""
    charger = Charger("V2")
    set_v1(charger, "dwo=35")
    charger.advance(1)
    assert charger.energy_limit_wh is None
    set_v1(charger, "stp=2")
    charger.advance(1)
    assert charger.energy_limit_wh == 3500
    shown = status_v1(charger)
    assert (shown["stp"], shown["dwo"]) == ("2", "35")


def test_v1_allow() -> None:
    """`alw` 0 stops charging; on later hardware it sets `frc` (1 off, 2 on)."""
    for model, on in (("V2", 0), ("V4", 2)):
        charger = charging(model)
        set_v1(charger, "alw=0")
        charger.advance(1)
        assert (charger.force, charger.power_w) == (1, 0)
        set_v1(charger, "alw=1")
        charger.advance(1)
        assert charger.force == on


def test_launch_firmware_shows_alw_late() -> None:
    """Firmware 050 shows a written `alw` after 7 s; other writes still take one."""
    charger = Charger("V3", firmware="050")
    set_v1(charger, "alw=0")
    set_v1(charger, "amp=8")
    charger.advance(1)
    assert (status_v1(charger)["alw"], status_v1(charger)["amp"]) == ("1", "8")
    charger.advance(5.9)
    assert status_v1(charger)["alw"] == "1"
    charger.advance(0.1)
    assert status_v1(charger)["alw"] == "0"


def test_surplus_is_forgotten() -> None:
    """The PV powers are null unless written in the last 6 s."""
    charger = Charger("V4")
    charger.write("ids", {"pGrid": -500, "pPv": 5000})
    charger.advance(2)
    keys = ["pgrid", "ppv", "pakku"]
    assert status_v2(charger, keys) == {"pgrid": -500, "ppv": 5000, "pakku": None}
    charger.advance(6)
    assert status_v2(charger, keys) == {"pgrid": None, "ppv": None, "pakku": None}


# The status


def metered(model: str) -> Charger:
    """Return a charger whose meter shows known numbers."""
    charger = Charger(model)
    charger.contactor_phases, charger.car_state = 3, 2
    charger.phase_voltage_v = [230.4, 229.6, 231.2, 1.1]
    charger.phase_current_a = [15.8, 15.7, 0.06]
    charger.phase_power_w = [3612.3, 3580.1, 0.0, 0.0]
    charger.power_w = 7192.4
    charger.power_factor = [0.99, 0.98, 0.0, 0.0]
    charger.energy_wh = 123_456.0
    charger.session_wh = 2_500.0
    charger.board_c, charger.type2_c = 31.3, 27.6
    return charger


def test_v1_scalings_on_old_hardware() -> None:
    """Units: 0.1 A, 0.1 kW, 0.01 kW, deca-watt-seconds, whole kWh in 0.1 kWh, contactor bits."""
    shown = status_v1(metered("V2"))
    assert shown["nrg"] == [230, 230, 231, 1, 158, 157, 1, 36, 36, 0, 0, 719, 99, 98, 0, 0]
    assert shown["dws"] == "900000"
    assert shown["eto"] == "1230"
    assert shown["pha"] == "63"
    assert shown["tmp"] == "31"
    assert shown["tma"] == [31.25, 30.5, 30.0, 27.62, -0.13, -0.13]
    assert (shown["stp"], shown["dwo"], shown["amt"]) == ("0", "0", "32")
    assert shown["fwv"] == "041.0"


def test_v1_scalings_on_later_hardware() -> None:
    """The legacy API: floats on V4 (still scaled), 0.1 kWh, no `tmp`, and 180 without a limit."""
    shown = status_v1(metered("V4"))
    assert shown["nrg"] == [
        *(230.4, 229.6, 231.2, 1.1, 158.0, 157.0, 0.6, 36.12, 35.8, 0.0, 0.0, 719.24),
        *(99.0, 98.0, 0.0, 0.0),
    ]
    assert shown["eto"] == "1234"
    assert shown["tma"] == [27.625, 31.25]
    assert "tmp" not in shown
    assert (shown["stp"], shown["dwo"], shown["amx"]) == ("0", "180", "16")
    assert status_v1(metered("V3"))["nrg"] == status_v1(metered("V2"))["nrg"]


def test_v1_types() -> None:
    """All values are strings, except `nrg`, `tma` and some of `lo*` and `mc*`."""
    for model in MODELS:
        for key, value in status_v1(Charger(model)).items():
            assert isinstance(value, str) or key in ("nrg", "tma") or key[:2] in ("lo", "mc", "lc")


def test_v2_scalings() -> None:
    """V, A, W, % and Wh without scaling; the meter of V3 is coarser than that of V4."""
    shown = status_v2(metered("V4"))
    assert shown["nrg"] == [
        *(230.4, 229.6, 231.2, 1.1, 15.8, 15.7, 0.06, 3612.3, 3580.1, 0.0, 0.0, 7192.4),
        *(99.0, 98.0, 0.0, 0.0),
    ]
    assert (shown["wh"], shown["eto"], shown["tma"]) == (2500.0, 123456, [27.625, 31.25])
    assert status_v2(metered("V3"), ["nrg"])["nrg"] == [
        *(230, 230, 231, 1, 15.8, 15.7, 0.1, 3600, 3600, 0, 0, 7190, 99, 98, 0, 0)
    ]


def test_pro_has_other_keys() -> None:
    """PRO has no cable, six temperatures with two nulls, and card energies beside `cards`."""
    shown = status_v2(Charger("PRO"))
    assert not {"cbl", "cus", "ust"} & set(shown)
    assert shown["adi"] is True
    assert set_v2(Charger("PRO"), "ust=1")[0] == 500
    assert [value is None for value in shown["tma"]] == [  # type: ignore[attr-defined]
        *(True, True, False, False, False, False)
    ]
    assert {"c0e", "c9e", "c0n", "c9n", "cards"} <= set(shown)
    assert "c0e" not in status_v2(Charger("V4"))


def test_pro_has_a_mid_meter() -> None:
    """A certified meter counts the same energy, by session and in total; others have none."""
    charger = charging("PRO")
    shown = status_v2(charger, ["eto", "eto_mid", "wh", "wh_mid", "cert"])
    assert shown["eto_mid"] == shown["eto"] == int(charger.energy_wh)
    assert shown["wh_mid"] == pytest.approx(shown["wh"])
    assert shown["cert"] == 1
    assert status_v2(charging("V4", firmware="60.5"), ["eto_mid", "wh_mid", "cert"]) == {}


def test_energy_by_source() -> None:
    """Since 59.4 a session is split; it is grid energy unless surplus values are written."""
    charger = charging("V4", firmware="59.4")
    grid = charger.session_wh
    charger.write("ids", {"pGrid": 0, "pPv": 8000, "pAkku": 1000})
    charger.advance(5)
    shown = status_v2(charger, ["whs", "whg", "whb", "who"])
    assert shown["whg"] == pytest.approx(grid, rel=0.1)
    assert shown["whs"] == pytest.approx(8 * shown["whb"], rel=0.2)  # type: ignore[operator]
    assert shown["who"] == 0
    assert sum(map(float, shown.values())) == pytest.approx(charger.session_wh)  # type: ignore[arg-type]
    assert status_v2(charging("V4", firmware="58.0"), ["whs"]) == {}


def test_plug_in_time() -> None:
    """`lccfi` is null after a start, then the uptime at which the last car was plugged in."""
    charger = Charger("V4")
    assert status_v2(charger, ["lccfi"]) == {"lccfi": None}
    charger.advance(30)
    charger.plug(Car())
    charger.advance(30)
    charger.unplug()
    assert status_v2(charger, ["lccfi", "rbt"]) == {"lccfi": 30_000, "rbt": 60_000}
    charger.reboot()
    assert status_v2(charger, ["lccfi"]) == {"lccfi": None}


def test_current_limits() -> None:
    """`cll` names each limit that applies, 0 A for one that forbids charging."""
    charger = Charger("V4", firmware="56.9")
    charger.load_limit_a, charger.access, charger.amp = 10, 1, 13
    charger.plug(Car(cable_a=20))
    assert status_v2(charger, ["cll"])["cll"] == {
        "requestedCurrent": 13,
        "currentLimitMax": 32,
        "minChargingCurrent": 6,
        "temperatureCurrentLimit": 32,
        "unsymetryCurrentLimit": 32,
        "cableCurrentLimit": 20,
        "loadLimit": 10,
        "accessControl": 0,
    }
    assert status_v2(Charger("V3", firmware="055.7"), ["cll"]) == {}


def test_full_status_is_large() -> None:
    """The unfiltered status has 8 to 12 kB, as real ones, and no real secrets."""
    for model in ("V3", "V4", "PRO"):
        shown = status_v2(charging(model))
        assert len(shown) >= 70
        assert 8_000 < len(json.dumps(shown, separators=(",", ":"))) < 12_000
        assert shown["wifis"][0]["key"] == "***"  # type: ignore[index]
        assert shown["dwo"] is None


def test_no_cable() -> None:
    """Without a cable `cbl` is null on v2 and 0 on v1, and the lock is open."""
    charger = Charger("V3")
    assert status_v2(charger, ["cbl", "cus"]) == {"cbl": None, "cus": 1}
    assert status_v1(charger)["cbl"] == "0"
    charger.plug(Car(cable_a=20))
    assert status_v2(charger, ["cbl", "cus"]) == {"cbl": 20, "cus": 3}
    assert status_v1(charger)["cbl"] == "20"


# Behaviour on the network


def test_old_hardware_has_no_v2(simulator: Simulator) -> None:
    """V2 hardware returns 404 with the path, whichever APIs are enabled."""
    box = simulator.add(Charger("V2"))
    assert asked(box, "/api/status?filter=car")[::2] == (404, b"Not found: /api/status")
    assert status(box, "/status")["car"] == "1"


def test_api_switched_off(simulator: Simulator) -> None:
    """A disabled API returns 404; it can be enabled at any time."""
    box = simulator.add(Charger("V4"), api="2")
    assert asked(box, "/status")[::2] == (404, b"This URI does not exist")
    assert asked(box, "/mqtt?payload=amp=10")[0] == 404
    box.api = "1"
    assert status(box, "/status")["amp"] == "16"
    assert asked(box, "/api/status")[::2] == (404, b"This URI does not exist")
    with pytest.raises(ValueError, match="api"):
        box.api = "3"


def test_only_get(box: Box) -> None:
    """Any method but GET is rejected."""
    code, _, body = asked(box, "/mqtt?payload=amp=10", "POST")
    assert (code, body) == (405, b"Request method for this URI is not handled by server")


def test_filter(box: Box) -> None:
    """The requested keys in their order, with commas escaped or not; unknown keys are left out."""
    assert list(status(box, "/api/status?filter=amp,car,nosuchkey")) == ["amp", "car"]
    assert list(status(box, "/api/status?filter=amp%2Ccar")) == ["amp", "car"]
    assert status(box, "/api/status?filter=" + quote('["car","amp"]')) == {}
    assert status(box, "/api/status?filter=") == {}


def test_pro_complains_about_unknown_keys(simulator: Simulator) -> None:
    """PRO returns 400 with the known keys if one is unknown, and without a filter."""
    box = simulator.add(Charger("PRO"))
    code, _, body = asked(box, "/api/status?filter=car,cbl")
    assert (code, json.loads(body)) == (400, {"car": 1})
    assert asked(box, "/api/status?filter=car,amp")[0] == 200
    assert asked(box, "/api/status")[0] == 400


def test_old_firmware_needs_a_json_filter(simulator: Simulator) -> None:
    """Before 051.4: a JSON array of at most 10 keys; `{}` for any other filter."""
    box = simulator.add(Charger("V3", firmware="050"))
    keys = ["car", "amp", "err", "alw", "wh", "eto", "psm", "frc", "fwv", "nrg", "tma"]
    ten, eleven = json.dumps(keys[:10]), json.dumps(keys)
    assert len(status(box, "/api/status?filter=" + quote(ten))) == 10
    assert status(box, "/api/status?filter=" + quote(eleven)) == {}
    assert status(box, "/api/status?filter=car,amp") == {}
    assert asked(box, "/api/set?amx=16")[::2] == (500, b"0 succeeded and 0 failed.")
    assert asked(box, "/api/set?fsp=true")[::2] == (500, b"0 succeeded and 1 failed.")
    assert asked(box, "/api/set?amp=10")[::2] == (200, b"1 succeeded and 0 failed.")


def test_one_answer_per_connection(box: Box) -> None:
    """Two requests on one connection get one response; then the connection ends."""
    both = ("/api/status?filter=car", "/api/status?filter=amp")
    with closing(opened(box, *both)) as connection:
        received = everything(connection)
    assert received.count(b"HTTP/1.1 200 OK") == 1
    assert b'"amp"' not in received


def test_every_third_response_does_not_announce_its_close(box: Box) -> None:
    """Every connection is closed, but every third response does not announce it."""
    announced = [b"connection: close" in asked(box, "/status")[1].lower() for _ in range(6)]
    assert announced == [True, True, False, True, True, False]


def test_request_in_pieces(box: Box) -> None:
    """A request may arrive byte by byte."""
    host, port = box.address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /api/status?filter=car HTTP/1.1\r\nHost: x\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert everything(connection).endswith(b'{"car":2}')


def test_time_passes_with_the_clock(simulator: Simulator, clock: Clock) -> None:
    """A request shows the present state; `speed` makes simulated time faster."""
    simulator.speed = 10.0
    box = simulator.add(Charger("V4"))
    clock.now += 12.5
    assert status(box, "/api/status?filter=rbt") == {"rbt": 125_000}
    with box.lock:
        box.charger.plug(Car())
    clock.now += 3
    box.catch_up()
    assert box.charger.car_state == 2


def test_write_over_the_network(box: Box, clock: Clock) -> None:
    """A write is answered at once and takes effect a second later."""
    assert status(box, "/api/set?amp=10") == {"amp": True}
    assert status(box)["amp"] == 16
    clock.now += 1
    assert status(box)["amp"] == 10
    code, _, body = asked(box, "/api/set?amp=99")
    assert code == 500
    assert isinstance(json.loads(body)["amp"], str)


def test_log_and_count(box: Box, clock: Clock) -> None:
    """Requests are counted, and logged with the clock and their targets."""
    status(box)
    clock.now += 5
    status(box, "/status")
    assert box.requests == 2
    assert list(box.log) == [(1000.0, "/api/status?filter=car,amp"), (1005.0, "/status")]
    assert box.max_concurrent == 1


def test_swapped_hardware(box: Box) -> None:
    """The device at an address can be replaced at any time."""
    box.charger = Charger("V2", serial="000001")
    assert asked(box, "/api/status")[0] == 404
    assert status(box, "/status")["sse"] == "000001"


def test_charger_dies_and_comes_back(simulator: Simulator) -> None:
    """A closed box refuses connections and resets open ones; the address can be used again."""
    box = simulator.add(Charger("V4"))
    host, port = box.address.split(":")
    status(box)
    box.fault = "hang"
    with closing(opened(box, "/status")) as waiting:
        while box.requests < 2:
            threading.Event().wait(0.005)
        box.close()
        assert everything(waiting) == b""
    with pytest.raises(REFUSED):
        opened(box, "/status")
    simulator.remove(box)
    again = simulator.add(Charger("V3"), host=host, port=int(port))
    assert again.address == box.address
    assert status(again) == {"car": 1, "amp": 16}


def test_many_chargers(simulator: Simulator) -> None:
    """Chargers on their own addresses share one thread."""
    boxes = [simulator.add(Charger("V4", serial=f"{n:06}"), host=f"127.1.0.{n}") for n in range(50)]
    serials = [status(box, "/api/status?filter=sse")["sse"] for box in boxes]
    assert serials == [f"{n:06}" for n in range(50)]
    assert sum(thread.name == "simulator" for thread in threading.enumerate()) == 1


def test_simulator_needs_its_context() -> None:
    """Outside its context a simulator rejects chargers."""
    with pytest.raises(RuntimeError, match="with"):
        Simulator().add(Charger())


def test_requests_wait_for_each_other(box: Box) -> None:
    """Only one request is processed at a time; the others wait and are all answered."""
    box.latency = 0.05
    connections = [opened(box, "/api/status?filter=car") for _ in range(4)]
    for connection in connections:
        with closing(connection):
            assert everything(connection).endswith(b'{"car":2}')
    assert box.max_concurrent == 4


def test_api_lock(box: Box) -> None:
    """A request that waits too long for the lock gets 500 with the charger's message."""
    assert box.lock_wait_s == 3.0
    box.lock_wait_s = 0.1
    box.latency = 30.0
    with closing(opened(box, "/status")):
        while box.requests < 1:
            threading.Event().wait(0.005)
        assert asked(box, "/status")[::2] == (500, LOCKED)
    assert box.max_concurrent == 2


def test_lock_is_free_after_a_client_disconnects(box: Box) -> None:
    """A client that disconnects during its request does not block the next one."""
    box.latency = 30.0
    with closing(opened(box, "/status")):
        while box.requests < 1:
            threading.Event().wait(0.005)
    box.latency = 0.0
    assert status(box) == {"car": 2, "amp": 16}


# Faults


def test_faults_are_described() -> None:
    """There are twenty faults, each with a description."""
    assert sorted(FAULTS) == sorted(
        "hang drip reset empty truncated huge html array string null nan deep invalid_utf8 busy "
        "unavailable unauthorized not_found redirect bad_request foreign".split()
    )
    assert all(FAULTS.values())


def test_unknown_fault(box: Box) -> None:
    """An unknown fault is rejected."""
    with pytest.raises(ValueError, match="fault"):
        box.fault = "gremlins"


@pytest.mark.parametrize(
    ("fault", "code", "body"),
    [
        ("array", 200, b'[{"car":1},{"amp":16}]'),
        ("string", 200, b'"car"'),
        ("null", 200, b"null"),
        ("foreign", 200, b'{"error":"not authenticated"}'),
        ("deep", 200, b"[" * 100_000),
        ("busy", 500, LOCKED),
        ("unavailable", 503, b"Service Unavailable"),
        ("unauthorized", 401, b"Unauthorized"),
        ("not_found", 404, b"This URI does not exist"),
        ("bad_request", 400, b'{"car":2,"amp":16}'),
    ],
)
def test_fault_answers(box: Box, fault: str, code: int, body: bytes) -> None:
    """Each of these faults is a complete response of the described kind."""
    box.fault = fault
    assert asked(box, "/api/status?filter=car,amp")[::2] == (code, body)
    box.fault = None
    assert status(box) == {"car": 2, "amp": 16}


def test_fault_html(box: Box) -> None:
    """A page with status 200."""
    box.fault = "html"
    code, head, body = asked(box, "/status")
    assert (code, b"text/html" in head, body[:6]) == (200, True, b"<html>")


def test_fault_nan(box: Box) -> None:
    """An object that only lenient parsers accept."""
    box.fault = "nan"
    assert b"NaN" in asked(box, "/status")[2]
    assert json.loads(asked(box, "/status")[2])["amp"] == float("inf")


def test_fault_invalid_utf8(box: Box) -> None:
    """Bytes that are not UTF-8."""
    box.fault = "invalid_utf8"
    with pytest.raises(UnicodeDecodeError):
        asked(box, "/status")[2].decode()


def test_fault_redirect(box: Box) -> None:
    """302 to an address that refuses connections."""
    box.fault = "redirect"
    code, head, _ = asked(box, "/status")
    assert (code, b"Location: http://127.0.0.1:1/" in head) == (302, True)


def test_fault_empty(box: Box) -> None:
    """The connection ends without a byte."""
    box.fault = "empty"
    with closing(opened(box, "/status")) as connection:
        assert everything(connection) == b""


def test_fault_reset(box: Box) -> None:
    """The connection is reset, not closed."""
    box.fault = "reset"
    with closing(opened(box, "/status")) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_fault_truncated(box: Box) -> None:
    """The body is shorter than announced, and ends in the middle of the JSON."""
    box.fault = "truncated"
    _, head, body = asked(box, "/api/status?filter=car,amp")
    announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert announced == 18
    assert body == b'{"car":2,'


def test_fault_huge(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """32 MB of JSON, for every request."""
    box.fault = "huge"
    for _ in range(5):
        body = asked(box, "/status")[2]
    assert not [record for record in caplog.records if record.exc_info]
    assert len(body) == 33_554_432
    assert json.loads(body)["car"] == 1


def test_fault_huge_to_a_client_that_gives_up(box: Box) -> None:
    """A client that stops reading uses no memory and does not affect others."""
    box.fault = "huge"
    with closing(opened(box, "/status")) as connection:
        assert connection.recv(10)
    box.fault = None
    assert status(box) == {"car": 2, "amp": 16}


def test_fault_drip(box: Box) -> None:
    """A correct response, one byte at a time, headers included."""
    box.fault = "drip"
    with closing(opened(box, "/status")) as connection:
        assert [connection.recv(100) for _ in range(4)] == [b"H", b"T", b"T", b"P"]


def test_fault_hang(box: Box) -> None:
    """No response, the connection stays open, and a client that disconnects is removed."""
    box.fault = "hang"
    with closing(opened(box, "/status")) as connection:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    for _ in range(400):
        if not box.connections:
            break
        threading.Event().wait(0.005)
    assert not box.connections


def test_stopping_ends_hanging_requests() -> None:
    """Leaving the context closes all connections and ends the thread."""
    with Simulator() as simulator:
        box = simulator.add(Charger())
        box.fault = "hang"
        connection = opened(box, "/status")
        while box.requests < 1:
            threading.Event().wait(0.005)
    with closing(connection):
        assert everything(connection) == b""
    assert all(thread.name != "simulator" for thread in threading.enumerate())


def test_fault_every_nth(box: Box) -> None:
    """With `fault_every` 3 the fault affects every third request."""
    box.fault, box.fault_every = "unavailable", 3
    codes = [asked(box, "/status")[0] for _ in range(6)]
    assert codes == [200, 200, 503, 200, 200, 503]


# The story


@pytest.mark.parametrize("model", list(MODELS))
def test_story_shows_everything(simulator: Simulator, clock: Clock, model: str) -> None:
    """Within an hour: idle, waiting, charging on 3 and 1 phases, a fault, complete; then again."""
    charger = Charger(model)
    box = simulator.add(charger, story=story(charger))
    seen, plugged = set(), []
    previous = None
    for second in range(0, 2 * 3600, 10):
        clock.now += 10
        box.catch_up()
        seen.add((charger.car_state, charger.contactor_phases, charger.error))
        if charger.car is not None and charger.car is not previous:
            plugged.append(second)
        previous = charger.car
    single = {(2, 1, 0)} if MODELS[model].v2 else set()
    assert {(1, 0, 0), (3, 0, 0), (2, 3, 0), (5, 0, 8), (4, 0, 0)} | single <= seen
    assert 45 * 60 <= plugged[2] - plugged[0] <= 60 * 60


def test_the_end_does_not_wait_for_requests(clock: Clock) -> None:
    """At its end, the network responds to no request that waits, of whichever charger."""
    entered, released = threading.Event(), threading.Event()

    def busy() -> Iterator[float]:
        entered.set()
        released.wait(PATIENCE_SECONDS)
        yield 1e9

    with Simulator(clock=clock) as network:
        first, second = network.add(charging(), story=busy()), network.add(charging())
        waiting = opened(second)
        wait_for(lambda: bool(second.connections), "the connection")
        with closing(opened(first, "/status")), closing(waiting):
            assert entered.wait(PATIENCE_SECONDS)
            waiting.sendall(b"GET /status HTTP/1.1\r\n\r\n")
            ending = threading.Thread(target=network.__exit__, args=(None, None, None))
            ending.start()
            wait_for(lambda: first not in network.boxes, "the end to begin")
            released.set()
            ending.join()
    assert second.requests == 0
