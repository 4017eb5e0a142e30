"""The sections `chargers`, `controllers` and `cards` of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.model import Table
from goe_exporter.channels.table import CHARGER
from goe_exporter.charger.client import Api
from goe_exporter.charger.connection import Connection, charger_name
from goe_exporter.charger.device import SERIAL, TABLES
from goe_exporter.config import values
from goe_exporter.config.quoting import shape, shown
from goe_exporter.config.strict_yaml import Strict, usable
from goe_exporter.config.values import read_token

CARDS = 10
MAX_LABELS = 16
MAX_LABEL_CHARACTERS = 200

_CARD_NUMBERS = {str(number) for number in range(1, CARDS + 1)}
_LABEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_RESERVED = {
    *("instance", "job", "le", "quantile", "serial", "time", "up"),
    *(name for table in TABLES for name in (table.device, f"{table.device}_name")),
    *(row.field(part.label) for table in TABLES for row in table.channels for part in row.parts),
}
"""Labels, tags and fields that the exporter, Prometheus or InfluxDB set; no label replaces one."""


def _api(value: object) -> object:
    return str(value) if value in (1, 2) and not isinstance(value, bool) else value


def _serial(value: object) -> str:
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not SERIAL.fullmatch(text):
        raise ValueError(f"must be 1 to 32 letters and digits, not {shown(value)}")
    return text


def _labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > MAX_LABELS:
        raise ValueError(f"must have at most {MAX_LABELS} labels, not {len(labels)}")
    return labels


def _label_name(name: str) -> str:
    if not _LABEL_NAME.fullmatch(name):
        raise ValueError(
            "a label name must have up to 63 letters, digits and _, and begin with a letter,"
            f" not {shown(name)}"
        )
    if name.removesuffix("_code") in _RESERVED:
        raise ValueError("this label name is reserved")
    return name


def _label_value(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    if len(value) > MAX_LABEL_CHARACTERS:
        raise ValueError(f"must have at most {MAX_LABEL_CHARACTERS} characters, not {len(value)}")
    return value


def _cards(cards: object) -> object:
    if not isinstance(cards, Mapping):
        raise ValueError(f"must be a mapping such as {{1: Anna}}, not {shape(cards)}")  # noqa: TRY004, pydantic's
    return cards


def _card_number(card: object) -> str:
    number = str(card) if type(card) in (int, str) else ""
    if number not in _CARD_NUMBERS:
        raise ValueError(f"a card number must be 1 to {CARDS}, not {shown(card)}")
    return number


def _card_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_LABEL_CHARACTERS:
        raise ValueError(f"must be 1 to {MAX_LABEL_CHARACTERS} characters, not {shown(name)}")
    return name


CardNames = Annotated[
    dict[Annotated[str, BeforeValidator(_card_number)], Annotated[str, AfterValidator(_card_name)]],
    BeforeValidator(_cards),
]
"""The names of RFID cards by number, "1" to "10"."""


class DeviceConfig(Strict):
    """One device of `table`: its name for the sinks, its host, and how it is polled.

    `refresh_interval` is in seconds once loaded, None for the common one; `token_file` holds the
    bearer token of the vendor's cloud. `serial` is the serial number that the device must have, or
    "". `labels` describe the device in every sink.
    """

    table: ClassVar[Table]

    name: Annotated[str, BeforeValidator(charger_name)]
    host: Annotated[str, BeforeValidator(values.host)]
    refresh_interval: Annotated[float, BeforeValidator(values.interval)] | None = None
    token_file: Annotated[str | None, usable(read_token)] = Field(default=None, repr=False)
    serial: Annotated[str, BeforeValidator(_serial)] = ""
    labels: Annotated[
        dict[
            Annotated[str, AfterValidator(_label_name)],
            Annotated[str, AfterValidator(_label_value)],
        ],
        AfterValidator(_labels),
    ] = Field(default_factory=dict)

    def connection(self, environment_proxies: bool = False) -> Connection:
        """Return how the device is reached; raises `ConfigError` for its token file."""
        token = None if self.token_file is None else read_token(self.token_file)
        return Connection(
            self.name,
            self.host,
            self._version,
            token,
            environment_proxies,
            self.serial,
            self.table,
        )

    @property
    def _version(self) -> Api:
        return "2"


class ChargerConfig(DeviceConfig):
    """One charger, and the API through which it is polled."""

    table = CHARGER

    api: Annotated[Literal["auto", "1", "2"], BeforeValidator(_api)] = "auto"

    @property
    def _version(self) -> Api:
        return self.api


class ControllerConfig(DeviceConfig):
    """One go-e Controller, which has API v2 only."""

    table = CONTROLLER
