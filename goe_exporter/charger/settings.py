"""The section `chargers` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from goe_exporter.charger.connection import Connection, charger_name
from goe_exporter.config import values
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.config.values import read_token


def _api(value: object) -> object:
    return str(value) if value in (1, 2) and not isinstance(value, bool) else value


class ChargerConfig(Strict):
    """One charger: its name for the sinks, its host, and how it is polled.

    `refresh_interval` is in seconds once loaded, None for the common one; `token_file` holds the
    bearer token of the vendor's cloud.
    """

    name: Annotated[str, BeforeValidator(charger_name)]
    host: Annotated[str, BeforeValidator(values.host)]
    api: Annotated[Literal["auto", "1", "2"], BeforeValidator(_api)] = "auto"
    refresh_interval: Annotated[float, BeforeValidator(values.interval)] | None = None
    token_file: str | None = Field(default=None, repr=False)

    def connection(self, environment_proxies: bool = False) -> Connection:
        """Return how the charger is reached; raises `ConfigError` for its token file."""
        token = None if self.token_file is None else read_token(self.token_file)
        return Connection(self.name, self.host, self.api, token, environment_proxies)
