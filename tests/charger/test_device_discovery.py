"""Devices found by multicast DNS: what an announcement means, and hostile ones."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from zeroconf import IPVersion, ServiceInfo, Zeroconf

from goe_exporter.charger import discovery
from goe_exporter.charger.discovery import (
    MAX_TEXT_LENGTH,
    Device,
    address,
    device,
    discover,
    merged,
)
from goe_exporter.config import values
from goe_exporter.errors import GoeExporterError

V3 = "_go-e_go-eCharger._tcp.local."
V4 = "_go-e_go-eCharger_V4._tcp.local."
CONTROLLER = "_go-e_controller._tcp.local."
HTTP = "_http._tcp.local."

TXT = {
    b"manufacturer": b"go-e",
    b"serial": b"123456",
    b"devicetype": b"go-eCharger_V4",
    b"friendly_name": "Garage Süd".encode(),
    b"version": b"56.9",
}


def found(
    service_type: str, txt: dict[bytes, bytes | None], name: str = "x", host: str = "h.local."
) -> Device | None:
    return device(service_type, f"{name}.{service_type}", host, txt, "192.0.2.7")


@pytest.mark.parametrize("service_type", [V3, V4, HTTP])
def test_a_charger(service_type: str) -> None:
    """A charger is known by its service type, or as a web server by its manufacturer."""
    expected = ("charger", "Garage Süd", "123456", "go-eCharger_V4", "56.9", "192.0.2.7")
    assert found(service_type, TXT) == expected


def test_a_controller() -> None:
    """A Controller is known by its service type, or by its device type."""
    expected = ("controller", "House", "654321", "controller", "1.0.6", "192.0.2.7")
    txt = {
        b"manufacturer": b"go-e",
        b"serial": b"654321",
        b"devicetype": b"controller",
        b"friendly_name": b"House",
        b"version": b"1.0.6",
    }
    assert found(CONTROLLER, txt) == found(HTTP, txt) == expected


def test_a_wattpilot() -> None:
    """Fronius' charger has the same scheme with another manufacturer."""
    txt: dict[bytes, bytes | None] = {b"manufacturer": b"Fronius", b"devicetype": b"wattpilot"}
    wattpilot = found(HTTP, txt, "Wattpilot_1")
    assert wattpilot == ("wattpilot", "Wattpilot_1", "", "wattpilot", "", "192.0.2.7")


@pytest.mark.parametrize(
    "txt",
    [
        {},
        {b"manufacturer": b"HP", b"devicetype": b"printer"},
        {b"manufacturer": b"Fronius"},
        {b"manufacturer": None},
        {b"devicetype": b"go-eCharger"},
    ],
)
def test_other_web_servers_are_ignored(txt: dict[bytes, bytes | None]) -> None:
    """A web server that does not name go-e as its manufacturer is no charger."""
    assert found(HTTP, txt) is None


def test_missing_fields() -> None:
    """Without a TXT record the names of the service and of the host tell the rest."""
    charger = found(V3, {}, "go-eCharger_123456", "go-echarger_123456.local.")
    assert charger == ("charger", "go-eCharger_123456", "123456", "", "", "192.0.2.7")
    assert found(V3, {}, "Box", "box.local.") == ("charger", "Box", "", "", "", "192.0.2.7")


@pytest.mark.parametrize("serial", [b"", b"12 34", b"\x1b[31m", b"1" * 33, b"\xff", None])
def test_a_serial_number_that_is_none(serial: bytes | None) -> None:
    """What no configuration accepts as a serial number is not shown as one."""
    charger = found(V3, TXT | {b"serial": serial})
    assert charger is not None
    assert charger.serial == ""


def test_long_and_undecodable_text() -> None:
    """A text of 10 kB is cut, and invalid UTF-8 is replaced."""
    txt = TXT | {b"friendly_name": b"a\xff\xfeb", b"version": b"9" * 10_000}
    charger = found(V3, txt)
    assert charger is not None
    assert charger.name == "a\ufffd\ufffdb"
    assert charger.firmware == "9" * MAX_TEXT_LENGTH


def test_two_services_of_a_device_are_one() -> None:
    """Services at the same address are one device; what the first does not tell, others do."""
    first = Device("controller", "go-econtroller_1", "", "", "", "192.0.2.9")
    second = Device("charger", "House", "654321", "", "1.0.6", "192.0.2.9")
    other = Device("charger", "House", "654321", "", "1.0.6", "192.0.2.10")
    one = Device("controller", "go-econtroller_1", "654321", "", "1.0.6", "192.0.2.9")
    assert merged([first, other, second]) == [one, other]


def test_the_case_of_a_key_does_not_matter() -> None:
    """Keys of TXT records differ in case only, and the first value counts (RFC 6763 §6.4)."""
    charger = found(HTTP, {b"Manufacturer": b"go-e", b"SERIAL": b"123456", b"serial": b"654321"})
    assert charger is not None
    assert charger.serial == "123456"


@pytest.mark.parametrize(
    ("hosts", "port", "expected"),
    [
        (["192.0.2.7"], 80, "192.0.2.7"),
        (["192.0.2.7"], None, "192.0.2.7"),
        (["192.0.2.7"], 0, "192.0.2.7"),
        (["192.0.2.7"], 8080, "192.0.2.7:8080"),
        (["127.0.0.1", "169.254.3.5", "fe80::5", "192.0.2.7"], 80, "192.0.2.7"),
        (["2001:db8::7", "192.0.2.7"], 80, "192.0.2.7"),
        (["169.254.3.5", "2001:db8::7"], 8080, "[2001:db8::7]:8080"),
        (["fe80::5%2"], 80, "[fe80::5%2]"),
        (["0.0.0.0", "255.255.255.255", "224.0.0.251", "::", "ff02::fb"], 80, ""),
        ([], 80, ""),
    ],
)
def test_address(hosts: list[str], port: int | None, expected: str) -> None:
    """The address is one that the configuration accepts, and that reaches the device."""
    assert address(hosts, port) == expected
    assert not expected or values.host(expected) == expected


# On the network


def test_ipv6_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are found by IPv4 and IPv6, and by IPv4 alone on a system without IPv6."""
    versions = []

    def refuse(ip_version: IPVersion | None = None, **_others: object) -> Zeroconf:
        versions.append(ip_version)
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(discovery, "Zeroconf", refuse)
    with pytest.raises(GoeExporterError, match=r"^cannot use multicast DNS: Address family not"):
        discover(0.1)
    assert versions == [IPVersion.All, None]


@pytest.fixture
def announced() -> Iterator[None]:
    """Announce a charger twice, a Controller, a Wattpilot, a printer and a hostile charger."""
    network = Zeroconf(interfaces=["127.0.0.1"])
    printer = {b"manufacturer": b"HP", b"serial": b"1"}
    wattpilot = {b"manufacturer": b"fronius", b"devicetype": b"wattpilot", b"serial": b"33"}
    hostile = [b"serial=\x00\xff", b"serial=777777", b"", b"=", b"friendly_name=\x1b]0;\xff\x07\n"]
    hostile += [b"x%d=%s" % (number, b"\xfe" * 240) for number in range(30)]
    raw = b"".join(bytes([len(each)]) + each for each in hostile)
    try:
        for service_type, name, port, properties, host in (
            (V4, "Garage", 80, {}, "go-echarger_123456"),
            (HTTP, "Garage", 80, TXT, "go-echarger_123456"),
            (CONTROLLER, "House", 8081, {b"version": b"1.0.6"}, "go-econtroller_654321"),
            (HTTP, "Wattpilot_33", 8082, wattpilot, "wattpilot"),
            (HTTP, "Printer", 8083, printer, "printer"),
            (V3, "evil", 8084, raw, "evil"),
        ):
            service = ServiceInfo(
                service_type,
                f"{name}.{service_type}",
                addresses=[socket.inet_aton("127.0.0.1")],
                port=port,
                properties=properties,  # type: ignore[arg-type]
                server=f"{host}.local.",
            )
            network.register_service(service, strict=False)
        yield
    finally:
        network.close()


@pytest.mark.usefixtures("announced")
def test_devices_on_the_network() -> None:
    """The devices are found, each once, and the printer is not."""
    devices = {each.address: each for each in discover(3.0, ["127.0.0.1"])}
    assert devices["127.0.0.1"] == (
        *("charger", "Garage", "123456", "go-eCharger_V4", "56.9"),
        "127.0.0.1",
    )
    assert devices["127.0.0.1:8081"] == (
        *("controller", "House", "654321", "", "1.0.6"),
        "127.0.0.1:8081",
    )
    assert devices["127.0.0.1:8082"] == (
        *("wattpilot", "Wattpilot_33", "33", "wattpilot", ""),
        "127.0.0.1:8082",
    )
    evil = devices["127.0.0.1:8084"]
    assert (evil.kind, evil.name, evil.serial) == ("charger", "\x1b]0;\ufffd\x07", "")
    assert "127.0.0.1:8083" not in devices
