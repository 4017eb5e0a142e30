"""`goe-exporter discover`: its formats, and what it says if it finds nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from goe_exporter.charger import discovery
from goe_exporter.charger.discovery import Device
from goe_exporter.service import config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from commands import Goe

CHARGER = Device("charger", "Garage", "123456", "go-eCharger_V4", "56.9", "192.0.2.7")
CONTROLLER = Device("controller", "House", "654321", "controller", "1.0.6", "192.0.2.8:8080")
WATTPILOT = Device("wattpilot", "Watt\x1b[2Jpilot", "33", "wattpilot", "", "192.0.2.9")

ROWS = """\
chargers:
  - name: "Garage"
    host: "192.0.2.7"
    serial: "123456"
controllers:
  - name: "House"
    host: "192.0.2.8:8080"
    serial: "654321"
"""
"""The configuration of `CHARGER` and `CONTROLLER`."""


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Device]], None]:
    """Return a function that sets what is found."""

    def find(devices: Sequence[Device]) -> None:
        monkeypatch.setattr(discovery, "discover", lambda _seconds: list(devices))

    return find


def test_table(
    goe: Goe, finds: Callable[[Sequence[Device]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table has a line for each device, without control characters."""
    monkeypatch.setenv("COLUMNS", "120")
    finds([CHARGER, CONTROLLER, WATTPILOT])
    outcome = goe("discover")
    assert (outcome.status, outcome.err) == (0, "")
    words = " ".join(outcome.out.split())
    assert "Garage 123456 go-eCharger_V4 56.9 192.0.2.7 charger" in words
    assert "House 654321 controller 1.0.6 192.0.2.8:8080 Controller" in words
    assert "Watt\\x1b[2Jpilot 33 wattpilot 192.0.2.9 Wattpilot: not supported" in words
    assert "\x1b" not in outcome.out


def test_json(goe: Goe, finds: Callable[[Sequence[Device]], None]) -> None:
    """What a device does not tell is null."""
    finds([WATTPILOT])
    outcome = goe("discover", "--format", "json")
    assert json.loads(outcome.out) == {
        "devices": [
            {
                "kind": "wattpilot",
                "name": "Watt\x1b[2Jpilot",
                "serial": "33",
                "type": "wattpilot",
                "firmware": None,
                "address": "192.0.2.9",
            }
        ]
    }
    assert outcome.out.isascii()


def test_yaml(goe: Goe, finds: Callable[[Sequence[Device]], None], tmp_path: Path) -> None:
    """The sections can be pasted into a configuration; a Wattpilot is a comment."""
    finds([CHARGER, CONTROLLER, WATTPILOT])
    text = goe("discover", "--format", "yaml").out
    assert text == f"{ROWS}# Watt\\x1b[2Jpilot at 192.0.2.9 is a Wattpilot: not supported\n"
    path = tmp_path / "config.yaml"
    path.write_text(text, "utf-8")
    loaded = config.load(str(path))
    assert [each.serial for each in (*loaded.chargers, *loaded.controllers)] == ["123456", "654321"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (('x"]\n- evil: {', "a"), ('x"]\\n- evil: {', "a")),
        (("🚗 \x85\u2028\ufeff", "a"), ("🚗 \\x85\\u2028\\ufeff", "a")),
        (("", "."), ("1", "2")),
        (("Box", "Box"), ("Box", "Box 2")),
        (("Box 2", "Box"), ("Box 2", "Box")),
        (("~", "yes"), ("~", "yes")),
    ],
)
def test_hostile_names_in_yaml(
    goe: Goe,
    finds: Callable[[Sequence[Device]], None],
    names: tuple[str, str],
    expected: tuple[str, str],
) -> None:
    """Names are quoted, printable and unique, whatever a device calls itself."""
    finds(
        [
            Device("charger", name, str(number), "", "", f"192.0.2.{number}")
            for number, name in enumerate(names, 1)
        ]
    )
    text = goe("discover", "--format", "yaml").out
    assert yaml.safe_load(text) == {
        "chargers": [
            {"name": name, "host": f"192.0.2.{number}", "serial": str(number)}
            for number, name in enumerate(expected, 1)
        ]
    }


def test_same_names_without_serial_numbers(
    goe: Goe, finds: Callable[[Sequence[Device]], None]
) -> None:
    """Devices without a serial number are told apart by their addresses."""
    finds([Device("charger", "Box", "", "", "", f"192.0.2.{number}") for number in (1, 2)])
    found = yaml.safe_load(goe("discover", "--format", "yaml").out)["chargers"]
    assert found == [
        {"name": "Box", "host": "192.0.2.1"},
        {"name": "Box 192.0.2.2", "host": "192.0.2.2"},
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("\x01" * 200, "\x01" * 200, "\U000e0001" * 60),
        ("Box 3", "Box 192.0.2.3", "Box"),
        ("Box", "Box 3", "Box 192.0.2.3", "Box", "Box 192.0.2.5", "Box"),
    ],
)
def test_any_names_can_be_loaded(
    goe: Goe,
    finds: Callable[[Sequence[Device]], None],
    tmp_path: Path,
    names: tuple[str, ...],
) -> None:
    """Long names and names that equal the fallbacks of others give a valid configuration."""
    found = [
        Device("charger", name, str(number), "", "", f"192.0.2.{number}")
        for number, name in enumerate(names, 1)
    ]
    finds(found)
    path = tmp_path / "config.yaml"
    path.write_text(goe("discover", "--format", "yaml").out, "utf-8")
    assert [each.host for each in config.load(str(path)).chargers] == [
        each.address for each in found
    ]


def test_the_table_is_not_widened_by_a_hostile_name(
    goe: Goe, finds: Callable[[Sequence[Device]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, an escaped name takes 200 columns at most."""
    monkeypatch.delenv("COLUMNS", raising=False)
    finds([Device("charger", "\x01" * 200, "1", "", "", "192.0.2.1")])
    lines = goe("discover").out.splitlines()
    assert max(map(len, lines)) == 244


def test_a_serial_number_with_two_addresses(
    goe: Goe, finds: Callable[[Sequence[Device]], None]
) -> None:
    """A charger with two addresses has one row: polled at both, its energy would count twice."""
    finds([CHARGER, CHARGER._replace(name="Garage LAN", address="192.0.2.17"), CONTROLLER])
    comment = (
        "# Garage LAN at 192.0.2.17 has the serial number of 192.0.2.7, too: list a device once"
    )
    assert goe("discover", "--format", "yaml").out == f"{ROWS}{comment}\n"


def test_nothing_found(goe: Goe, finds: Callable[[Sequence[Device]], None]) -> None:
    """Exit 1, with the reasons why that may be."""
    finds([])
    outcome = goe("discover", "--seconds", "2.5")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("goe-exporter: no go-e device announced itself within 2.5 s\n")
    for reason in ("another subnet", "container", "V1 and V2", "switched off"):
        assert reason in outcome.err


def test_without_zeroconf(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional dependency, the command says what to install: exit 2."""
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    monkeypatch.delitem(sys.modules, "goe_exporter.charger.discovery")
    message = "run pip install '.[discover]' in the clone, since it is not on a package index yet"
    assert goe("discover") == (2, "", f"goe-exporter: discover needs zeroconf: {message}\n")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(19, "No such device"), "No such device"),
        (RuntimeError("No interfaces to listen on"), "no network interface is up"),
    ],
)
def test_without_a_network(
    goe: Goe, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """A machine on which multicast cannot be used is exit 1 and one line."""

    def refuse(**_arguments: object) -> None:
        raise error

    monkeypatch.setattr(discovery, "Zeroconf", refuse)
    message = f"cannot use multicast DNS: {reason}"
    assert goe("discover") == (1, "", f"goe-exporter: {message}\n")
