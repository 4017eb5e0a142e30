"""A simulated go-e Controller: what it measures of a house, by API v2 (docs/protocol.md §5.5)."""

from __future__ import annotations

from .box import Box
from .endpoint import Endpoint, Network
from .house import House
from .responses import Response, as_json, parameter, plain_text

CATEGORIES = 16
NAMES = ["Home", "Grid", "Car", "Relais", "Solar", "Akku"]
NAMES += [f"Custom {number}" for number in range(1, 11)]
PLACES = {"home": 0, "grid": 1, "car": 2, "solar": 4, "battery": 5}
"""The categories of a house that are measured, and their places in the arrays."""

FIRMWARE = "1.0.6"
VOLTS, NEUTRAL_VOLTS = 230.0, 0.8
PHASES = 3


class Controller:
    """A Controller in a house; `serial` and `name` are its own.

    The car is the charger of the house. The battery is measured only if the house has one.
    """

    def __init__(
        self,
        house: House,
        serial: str = "000000",
        name: str = "go-e Controller",
        firmware: str | None = None,
    ) -> None:
        """Create a Controller that was switched on when the house was created."""
        self.house = house
        self.serial, self.name, self.firmware = serial, name, firmware or FIRMWARE
        self.category_names = list(NAMES)
        self._started_s = house.time_s

    def status(self) -> dict[str, object]:
        """Return all keys."""
        house = self.house
        powers = house.powers_w
        if house.battery is None:
            del powers["battery"]
        sensors = [powers[name] / PHASES for name in ("grid", "solar") for _phase in range(PHASES)]
        return {
            "sse": self.serial,
            "fna": self.name,
            "fwv": self.firmware,
            "typ": "controller",
            "oem": "go-e",
            "host": f"go-econtroller_{self.serial}",
            "nif": "en",
            "rssi": None,
            "rbc": 1,
            "rbt": int((house.time_s - self._started_s) * 1000),
            "ccn": self.category_names,
            "ccp": _placed({name: _single(watts) for name, watts in powers.items()}, None),
            "cec": _placed(
                {name: [_single(energy) for energy in house.energy_wh[name]] for name in powers},
                [0, 0],
            ),
            "cpc": _placed(
                {name: [_amperes(watts)] * PHASES + [None] for name, watts in powers.items()},
                [None] * (PHASES + 1),
            ),
            "usn": ["Internal 1"],
            "usv": [{"u1": VOLTS, "u2": VOLTS, "u3": VOLTS, "uN": NEUTRAL_VOLTS}],
            "isn": [f"Internal {number}" for number in range(1, len(sensors) + 1)],
            "isv": [
                {"i": _single(abs(watts) / VOLTS), "p": _single(watts), "f": _sign(watts)}
                for watts in sensors
            ],
            "ips": [*range(PHASES), *range(PHASES)],
            "iim": [False] * len(sensors),
        }


class ControllerBox(Endpoint):
    """A Controller with an address, created by `Simulator.add_controller`.

    Time passes in the house as it does for the charger of `box`, which plays `House.live`.
    """

    def __init__(
        self, network: Network, controller: Controller, box: Box, address: tuple[str, int]
    ) -> None:
        """Create a Controller on a network; use `Simulator.add_controller`."""
        super().__init__(network, address)
        self.controller = controller
        self.box = box

    def respond(self, method: str, target: str) -> Response:
        """Return the Controller's response to a request now; it has only API v2."""
        path, _, query = target.partition("?")
        if method != "GET":
            return plain_text(405, "Request method for this URI is not handled by server")
        if path == "/api/set":
            return plain_text(500, "not simulated")
        if path != "/api/status":
            return plain_text(404, "This URI does not exist")
        with self.box.lock:
            self.box.catch_up()
            status = self.controller.status()
        wanted = parameter(query, "filter")
        if wanted is not None:
            status = {key: status[key] for key in wanted.split(",") if key in status}
        return as_json(200, status)


def _placed(values: dict[str, object], empty: object) -> list[object]:
    """Return an array of all categories with the values of those that are measured."""
    placed: list[object] = [empty] * CATEGORIES
    for name, value in values.items():
        placed[PLACES[name]] = value
    return placed


def _single(value: float) -> float:
    """Return a number with seven digits, as the device prints its 32-bit floats."""
    return float(f"{value:.7g}")


def _amperes(watts: float) -> float:
    return _single(abs(watts) / PHASES / VOLTS)


def _sign(watts: float) -> float:
    return 1.0 if watts >= 0 else -1.0
