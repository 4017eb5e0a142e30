"""How a charger is named and reached, from the command line or from the configuration."""

from __future__ import annotations

from typing import NamedTuple

from goe_exporter.channels.model import Table
from goe_exporter.channels.table import CHARGER
from goe_exporter.charger.client import Api, Client
from goe_exporter.config.quoting import shown
from goe_exporter.config.values import holds_a_secret, host, read_token, text_fault
from goe_exporter.errors import ConfigError

MAX_NAME_CHARACTERS = 500


class Connection(NamedTuple):
    """How the charger `name` at `host` is reached: by which API, token and proxies.

    `serial` is the serial number that the charger must have, or ""; `table` is that of the device.
    """

    name: str
    host: str
    api: Api = "auto"
    token: str | None = None
    environment_proxies: bool = False
    serial: str = ""
    table: Table = CHARGER

    @property
    def url(self) -> str:
        """The address of the charger's API."""
        return self.host if "://" in self.host else f"http://{self.host}"

    def client(self) -> Client:
        """Return a client that reaches the charger this way."""
        return Client(
            self.host,
            self.api,
            token=self.token,
            serial=self.serial,
            environment_proxies=self.environment_proxies,
            table=self.table,
        )


def connection(text: str, api: Api = "auto", token_file: str | None = None) -> Connection:
    """Return the connection to a command line's `[NAME=]HOST`; raises `ConfigError`."""
    name, place = charger_argument(text)
    return Connection(name, place, api, None if token_file is None else read_token(token_file))


def charger_argument(text: str) -> tuple[str, str]:
    """Return name and host of a command line's `[NAME=]HOST`; raises `ConfigError`."""
    name, separator, place = text.partition("=")
    if not separator or "?" in name:  # a URL whose query may hold a token
        name, place = text, text
    field = "name"
    try:
        name = charger_name(_sound(name))
        field = "host"
        return name, host(_sound(place))
    except ValueError as error:
        named = "" if holds_a_secret(text) else f" {text!r:.80}"
        raise ConfigError(f"charger{named}: {field}: {error}") from None


def _sound(text: str) -> str:
    """Return a text that files and headers can hold; raises `ValueError` for any other."""
    if fault := text_fault(text):
        raise ValueError(f"{fault}, not {shown(text)}")
    return text


def charger_name(value: object) -> str:
    """Return a charger's name; raises `ValueError`."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {shown(value)}")  # noqa: TRY004, pydantic's
    if not value.strip() or len(value) > MAX_NAME_CHARACTERS:
        raise ValueError(f"must be 1 to {MAX_NAME_CHARACTERS} characters, not {shown(value)}")
    if value in (".", ".."):
        raise ValueError(f"must not be {shown(value)}, which a URL cannot contain")
    return value
