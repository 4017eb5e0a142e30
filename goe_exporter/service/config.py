"""The whole configuration: the sections of the file, and what the command line adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field

from goe_exporter.charger.device import TABLES
from goe_exporter.charger.settings import CardNames, ChargerConfig, ControllerConfig, DeviceConfig
from goe_exporter.config import mistakes, strict_yaml, yaml_file
from goe_exporter.config.mistakes import Mistake
from goe_exporter.config.quoting import one_line, shown
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.config.values import interval
from goe_exporter.config.yaml_file import NOWHERE, Places
from goe_exporter.durable import files
from goe_exporter.errors import ConfigError
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.service import charger_files
from goe_exporter.service.charger_files import Row
from goe_exporter.service.sharding import Shard
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.surplus.config import SurplusConfig

MAX_REFRESH_S = 10.0
"""Maximum refresh interval of a charger that uses the surplus."""

MAX_NAMES = 10
"""Number of chargers that an error names."""


class Config(Strict):
    """The configuration file; `refresh_interval` is in seconds once loaded.

    With `environment_proxies`, requests to chargers use the proxy in the environment. `cards` holds
    the names of RFID cards by number. `charger_files` are patterns of files with more chargers,
    which `chargers` has too once they are loaded. `controllers` are go-e Controllers.
    """

    refresh_interval: Annotated[float, BeforeValidator(interval)] = 5.0
    environment_proxies: bool = False
    chargers: tuple[ChargerConfig, ...] = Field(default=())
    controllers: tuple[ControllerConfig, ...] = Field(default=())
    charger_files: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    cards: CardNames = Field(default_factory=dict)
    influxdb: InfluxSettings | None = None
    surplus: SurplusConfig | None = None
    sessions: SessionSettings | None = None


class RunConfig(NamedTuple):
    """What the service runs: the configuration file and the command line combined.

    `chargers` and `controllers` are those of this process; `configured` counts the chargers of all
    processes of a `shard`. `surplus` is None unless its charger is one of them.
    """

    chargers: tuple[ChargerConfig, ...]
    interval_seconds: float
    environment_proxies: bool = False
    influxdb: InfluxSettings | None = None
    cards: Mapping[str, str] = MappingProxyType({})
    charger_files: Sequence[str] = ()
    shard: Shard | None = None
    configured: int = 0
    surplus: SurplusConfig | None = None
    sessions: SessionSettings | None = None
    controllers: tuple[ControllerConfig, ...] = ()

    @property
    def devices(self) -> tuple[DeviceConfig, ...]:
        """The chargers and the Controllers."""
        return (*self.chargers, *self.controllers)

    def unwritable(self) -> Iterator[str]:
        """Yield which directories this user cannot write in, and why; creates nothing."""
        places = {
            "influxdb.spool": self.influxdb and Path(self.influxdb.spool),
            "surplus.state": self.surplus and Path(self.surplus.state),
            "sessions.store": self.sessions and Path(self.sessions.store).parent,
        }
        for key, directory in places.items():
            if directory and (reason := files.unwritable(directory)):
                yield f"{key}: this user cannot write in {one_line(str(directory))}: {reason}"

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of chargers, and of Controllers if there are any, for the log."""
        counts = {"chargers": len(self.chargers), "controllers": len(self.controllers)}
        return {name: count for name, count in counts.items() if count or name == "chargers"}

    @property
    def extent(self) -> str:
        """The number of chargers, with a shard of how many, and of Controllers if there are any."""
        own = f"{len(self.chargers)}"
        if self.shard is not None:
            own = f"shard {self.shard} has {own} of {self.configured}"
        others = f", {len(self.controllers)} Controller(s)" if self.controllers else ""
        return f"{own} charger(s){others}"


class ConfigFile:
    """A configuration file, and the charger files that it names."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._patterns: list[str] = []
        self._fingerprint = b""

    def load(self) -> Config:
        """Load all files; raises `ConfigError` with the file, the place and the rule."""
        # Taken before the files are read: what changes meanwhile is a change.
        self._fingerprint = charger_files.fingerprint(self._patterns)
        document = yaml_file.read(self._path)
        config = parse(*document)
        patterns = charger_files.beside(self._path, config.charger_files)
        if patterns != self._patterns:
            self._patterns, self._fingerprint = patterns, charger_files.fingerprint(patterns)
        rows = [
            *(Row(f"{self._path}: chargers[{n}]", each) for n, each in enumerate(config.chargers)),
            *charger_files.rows(patterns),
        ]
        others = [
            (f"{self._path}: controllers[{n}]", each) for n, each in enumerate(config.controllers)
        ]
        charger_files.check_names([*rows, *others])
        chargers = tuple(row.charger for row in rows)
        config = config.model_copy(update={"chargers": chargers, "charger_files": patterns})
        if lines := mistakes.listed(*document, surplus_mistakes(config)):
            raise ConfigError(*lines)
        return config

    def has_changed(self) -> bool:
        """Return whether the charger files differ from those that `load`, failed or not, found."""
        return charger_files.fingerprint(self._patterns) != self._fingerprint


def load(path: str) -> Config:
    """Load a configuration file and its charger files.

    Raises `ConfigError` with the place and rule of each mistake.
    """
    return ConfigFile(path).load()


def parse(document: object, source: str, places: Places = NOWHERE) -> Config:
    """Return the configuration of a parsed document; raises `ConfigError` naming `source`."""
    return strict_yaml.validated(Config, document, source, places, _names_given_twice(document))


def check_names(chargers: tuple[ChargerConfig, ...], source: str) -> None:
    """Raise `ConfigError` if two chargers have the same name."""
    seen: set[str] = set()
    for charger in chargers:
        if charger.name in seen:
            raise ConfigError(f"{source}: duplicate charger name {charger.name!r}")
        seen.add(charger.name)


def controlled(
    surplus: SurplusConfig | None, chargers: Iterable[ChargerConfig]
) -> ChargerConfig | None:
    """Return the one of `chargers` that the section `surplus` names, None if it is none of them."""
    name = None if surplus is None else surplus.charger
    return next((each for each in chargers if each.name == name), None)


def surplus_mistakes(config: Config) -> Iterator[Mistake]:
    """Yield why the charger of the section `surplus` cannot be controlled."""
    if config.surplus is None:
        return
    charger = controlled(config.surplus, config.chargers)
    names = ", ".join(shown(each.name) for each in config.chargers[:MAX_NAMES])
    rule = ""
    if charger is None:
        rule = f"must be the name of a charger ({names or 'there is none'})"
    elif charger.token_file is not None:
        rule = "must be a charger in the local network; the cloud is too slow"
    elif not charger.serial:
        rule = "must be a charger with a serial in the configuration"
    elif config.surplus.mode != "follow" and charger.api == "1":
        rule = "must be a charger with API v2; mode: follow supports API v1"
    elif (charger.refresh_interval or config.refresh_interval) > MAX_REFRESH_S:
        rule = f"must be a charger with a refresh_interval of {MAX_REFRESH_S:.0f}s or less"
    if rule:
        yield Mistake(("surplus", "charger"), f": {rule}, not {shown(config.surplus.charger)}")


def _names_given_twice(document: object) -> Iterator[Mistake]:
    """Yield the names in a document that an earlier device has, even if others are invalid."""
    seen: set[str] = set()
    for table in TABLES:
        devices = document.get(table.section) if isinstance(document, dict) else None
        for index, device in enumerate(devices if isinstance(devices, list) else ()):
            name = device.get("name") if isinstance(device, dict) else None
            if isinstance(name, str) and name in seen:
                rule = f": duplicate {table.device} name {shown(name)}"
                yield Mistake((table.section, index, "name"), rule)
            elif isinstance(name, str):
                seen.add(name)
