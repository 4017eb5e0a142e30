"""Which devices a command means: hosts of the command line, or devices of a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from goe_exporter.charger.client import Api
from goe_exporter.charger.connection import Connection, connection
from goe_exporter.errors import UsageError

if TYPE_CHECKING:
    from goe_exporter.charger.settings import DeviceConfig
    from goe_exporter.service.config import Config


D = TypeVar("D", bound="DeviceConfig")


class Chosen(NamedTuple):
    """A charger or Controller: how it is reached, and the labels of the configuration.

    `is_configured` is whether the configuration has it, and so says what it is.
    """

    connection: Connection
    labels: Mapping[str, str]
    is_configured: bool = True


def chosen(
    arguments: tuple[str, ...], config_file: str | None, api: Api, token_file: str | None
) -> list[Chosen]:
    """Return the devices of the arguments; without arguments, all of the configuration.

    An argument is the name or the host of a device in the configuration, or `[NAME=]HOST`. Raises
    `UsageError` without a charger, and `ConfigError` for a bad configuration or argument.
    """
    config = None if config_file is None else _loaded(config_file)
    devices: list[DeviceConfig] = []
    if config is not None:
        devices = [*config.chargers, *config.controllers]
    proxies = config is not None and config.environment_proxies
    found = [Chosen(each.connection(proxies), each.labels) for each in devices if not arguments]
    elsewhere = False
    for text in arguments:
        if matching := _matching(devices, text):
            found.append(Chosen(matching[-1].connection(proxies), matching[-1].labels))
            continue
        place = connection(text, api, token_file)
        if same := [each for each in devices if each.name == place.name]:
            what = f"a {same[0].table.device} of {config_file}"
            raise UsageError(f"{place.name!r:.80} is {what}: give its name alone")
        elsewhere = True
        found.append(Chosen(place, {}, is_configured=False))
    if found and not elsewhere:
        _check_options(api, token_file)
    if not found:
        raise UsageError("no charger: give [NAME=]HOST, or --config.file FILE with chargers")
    names = [each.connection.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"chargers: duplicate charger name {name!r:.80}")
    return found


def configured(text: str, config_file: str, api: Api, token_file: str | None) -> Connection:
    """Return the connection to the charger with this name or host in the configuration.

    Raises `UsageError` unless it is exactly one, and `ConfigError` for a bad configuration.
    """
    _check_options(api, token_file)
    config = _loaded(config_file)
    found = _matching(config.chargers, text)
    if not found and _matching(config.controllers, text):
        what = "is a go-e Controller, on which nothing can be set"
        raise UsageError(f"{config_file}: {text!r:.80} {what}")
    if len(found) != 1:
        names = ", ".join(repr(each.name) for each in config.chargers) or "no chargers"
        raise UsageError(f"{config_file}: no charger {text!r:.80}; it has {names}")
    return found[0].connection(config.environment_proxies)


def _loaded(config_file: str) -> Config:
    # Imported here: without a configuration, pydantic is not needed, and start-up is fast.
    from goe_exporter.service.config import load  # noqa: PLC0415

    return load(config_file)


def _matching(devices: Sequence[D], text: str) -> list[D]:
    """Return the device with a name, else those with a host."""
    return [each for each in devices if each.name == text] or [
        each for each in devices if each.host == text
    ]


def _check_options(api: Api, token_file: str | None) -> None:
    if api != "auto" or token_file is not None:
        raise UsageError("--config.file: --api and --token-file are not allowed with it")
