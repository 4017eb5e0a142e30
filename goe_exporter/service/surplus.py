"""The control loop of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from goe_exporter.charger.client import Client
from goe_exporter.control.energy import Energy
from goe_exporter.control.feed_loop import Feed
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.control.loop import Control
from goe_exporter.control.place import Place
from goe_exporter.control.rules import ControlRule, FollowRule, Rule
from goe_exporter.logs import logger
from goe_exporter.service.config import RunConfig, controlled
from goe_exporter.surplus.config import SurplusConfig
from goe_exporter.surplus.feed import FeedRule
from goe_exporter.surplus.meters import open_sources

_log = logger(__name__)


def open_control(config: RunConfig, client: Callable[[str], Client]) -> Control | Feed:
    """Return the loop of the configuration's section `surplus`.

    `client` returns the present client of a charger. Raises `ConfigError` for a secret, and
    `UsageError` if the state directory cannot be used.
    """
    section, charger = config.surplus, controlled(config.surplus, config.chargers)
    assert section is not None
    assert charger is not None
    in_amperes = section.available is not None and section.available.base_unit == "A"
    inputs = Inputs(open_sources(section), in_amperes=in_amperes)
    connection = charger.connection(config.environment_proxies)
    refresh_s = charger.refresh_interval or config.interval_seconds
    place = Place(charger.name, charger.host, lambda: client(section.charger), connection.client)
    if section.mode == "feed":
        return Feed(place, FeedRule(section.stale_after, refresh_s), inputs)
    lease_file = LeaseFile(Path(section.state), charger.serial)
    try:
        rule = _rule(section, lease_file, refresh_s)
    except BaseException:
        lease_file.close()
        raise
    includes = section.grid is None or section.grid.includes_charger
    energy = Energy(includes_charger=includes)
    return Control(place, rule, inputs, lease_file, energy)


def _rule(section: SurplusConfig, lease_file: LeaseFile, refresh_s: float) -> Rule:
    lease = lease_file.load()
    if section.mode == "follow":
        return FollowRule(section.follow_settings(refresh_s), lease)
    return ControlRule(section.settings(refresh_s), lease)


def log_start(section: SurplusConfig) -> None:
    """Log which charger is controlled, and the kinds of its sources."""
    kinds = {name: each.kind for name, each in section.sources().items()}
    _log.info("surplus started", mode=section.mode, charger=section.charger, **kinds)
