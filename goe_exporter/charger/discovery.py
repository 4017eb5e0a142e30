"""Find go-e devices by multicast DNS (docs/protocol.md §3.14 and §5.5), with zeroconf.

Only this module imports zeroconf, which is optional. Whatever a service announces is foreign text:
it is decoded leniently here, and escaped where it is shown.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from zeroconf import (
    Error,
    InterfaceChoice,
    IPVersion,
    ServiceBrowser,
    ServiceInfo,
    ServiceStateChange,
    Zeroconf,
)

from goe_exporter.charger.device import SERIAL
from goe_exporter.errors import GoeExporterError

CHARGER, CONTROLLER, WATTPILOT = "charger", "controller", "wattpilot"

TYPES = {
    "_go-e_go-eCharger._tcp.local.": CHARGER,
    "_go-e_go-eCharger_V4._tcp.local.": CHARGER,
    "_go-e_controller._tcp.local.": CONTROLLER,
    "_http._tcp.local.": "",
}
"""Service types, and what announces them; anything may announce HTTP, and is told by its TXT."""

MAX_SERVICES = 1000
MAX_TEXT_LENGTH = 200

_HOST_NAME = re.compile(rf"go-e(?:charger|controller)_({SERIAL.pattern})", re.IGNORECASE)
_HTTP_PORT = 80
_BROADCAST = IPv4Address("255.255.255.255")


class Device(NamedTuple):
    """A device: `kind` is `charger`, `controller` or `wattpilot`; other texts may be "".

    `address` is what `host` of a configuration accepts; `name`, `type` and `firmware` are foreign
    text of at most `MAX_TEXT_LENGTH` characters.
    """

    kind: str
    name: str
    serial: str
    type: str
    firmware: str
    address: str


def discover(
    seconds: float, interfaces: InterfaceChoice | list[str] = InterfaceChoice.All
) -> list[Device]:
    """Return the devices that announce themselves within `seconds`, by address.

    Takes up to twice that time, if devices do not say all at once. Raises `GoeExporterError` if
    multicast cannot be used.
    """
    names: dict[tuple[str, str], None] = {}

    def on_change(
        zeroconf: Zeroconf,  # noqa: ARG001, the names are zeroconf's
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        if state_change is not ServiceStateChange.Removed and len(names) < MAX_SERVICES:
            names[service_type, name] = None

    with _silence(), closing(_network(interfaces)) as network:
        browser = ServiceBrowser(network, list(TYPES), handlers=[on_change])
        time.sleep(seconds)
        browser.cancel()
        return merged(_devices(network, list(names), time.monotonic() + seconds))


def device(
    service_type: str, name: str, host: str, txt: Mapping[bytes, bytes | None], place: str
) -> Device | None:
    """Return the device that announces a service, None if it is none of go-e's.

    `name` is the full name of the service, `host` the host name, both with their domain; `place`
    is the device's address. The case of the keys of `txt` does not matter (RFC 6763 §6.4), and the
    first value of a key counts.
    """
    texts: dict[bytes, str] = {}
    for key, value in txt.items():
        texts.setdefault(key.lower(), _text(value or b""))
    maker = texts.get(b"manufacturer", "").lower()
    found = texts.get(b"devicetype", "")
    if maker == "fronius" and found:
        kind = WATTPILOT
    else:
        kind = TYPES.get(service_type, "") or (CHARGER if maker == "go-e" else "")
        if kind and found.lower() == CONTROLLER:
            kind = CONTROLLER
    if not kind:
        return None
    serial = texts.get(b"serial", "")
    if not SERIAL.fullmatch(serial):
        by_name = _HOST_NAME.match(host)
        serial = by_name[1] if by_name else ""
    instance = _text(name.removesuffix(f".{service_type}").encode("utf-8", "replace"))
    called = texts.get(b"friendly_name") or instance
    return Device(kind, called, serial, found, texts.get(b"version", ""), place)


def merged(devices: Iterable[Device]) -> list[Device]:
    """Return one device for each address; each text is the first that is not empty."""
    found: dict[str, Device] = {}
    for each in devices:
        known = found.get(each.address, each)
        texts = (first or second for first, second in zip(known, each, strict=True))
        found[each.address] = Device(*texts)
    return [found[place] for place in sorted(found, key=_in_order)]


def address(hosts: Iterable[str], port: int | None) -> str:
    """Return where a service is reached, with its port unless that is 80; "" if nowhere.

    `hosts` are its IP addresses, some with a zone (`fe80::1%2`). An address that other networks can
    reach is preferred, and IPv4 to IPv6. Port 0 counts as none.
    """
    addresses = [each for each in map(ip_address, hosts) if _is_usable(each)]
    if not addresses:
        return ""
    best = min(addresses, key=lambda each: (each.is_loopback, each.is_link_local, each.version))
    host = str(best) if best.version == 4 else f"[{best}]"
    return host if port in (None, 0, _HTTP_PORT) else f"{host}:{port}"


def _is_usable(found: IPv4Address | IPv6Address) -> bool:
    return not (found.is_unspecified or found.is_multicast or found == _BROADCAST)


def _in_order(text: str) -> list[str | int]:
    """Return a key that sorts texts with the numbers in them by value."""
    return [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", text)]


def _network(interfaces: InterfaceChoice | list[str]) -> Zeroconf:
    """Open multicast DNS over IPv4 and IPv6, or over IPv4 alone where IPv6 cannot be used.

    Raises `GoeExporterError` if neither can be used.
    """
    version = IPVersion.All if interfaces is InterfaceChoice.All else None
    with suppress(OSError, RuntimeError):
        return Zeroconf(interfaces=interfaces, ip_version=version)
    try:
        return Zeroconf(interfaces=interfaces)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise GoeExporterError(f"cannot use multicast DNS: {reason}") from error
    except RuntimeError as error:  # zeroconf's, if no interface has an address
        raise GoeExporterError("cannot use multicast DNS: no network interface is up") from error


def _devices(
    network: Zeroconf, names: Iterable[tuple[str, str]], deadline: float
) -> Iterator[Device]:
    """Yield the devices, those of go-e's own service types first; those without address have none.

    What a service has not told yet is requested until `deadline`.
    """
    for service_type, name in sorted(names, key=lambda pair: not TYPES.get(pair[0])):
        try:
            info = ServiceInfo(service_type, name)
            left = deadline - time.monotonic()
            known = info.load_from_cache(network)
            if not known and left > 0:
                known = info.request(network, min(left, 1.0) * 1000)
        except Error:
            continue
        place = address(info.parsed_scoped_addresses(), info.port) if known else ""
        if place:
            host = info.server or ""
            found = device(service_type, name, host, info.properties, place)
            if found:
                yield found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()[:MAX_TEXT_LENGTH]


@contextmanager
def _silence() -> Iterator[None]:
    """Let nothing be logged: zeroconf and asyncio log malformed packets, with tracebacks."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
