"""What a reload changes: chargers, their intervals and connections; the stores need a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from goe_exporter.charger.client import Client
from goe_exporter.charger.connection import Connection
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.errors import UsageError
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.view import Poll
from goe_exporter.service.config import RunConfig, controlled

Clients = Mapping[Connection, Client]


def clients(config: RunConfig, current: Clients) -> Clients:
    """Return a client per device, in order: the current one if the connection is unchanged.

    Raises `ConfigError` for a token file.
    """
    connections = [device.connection(config.environment_proxies) for device in config.devices]
    return {each: current.get(each) or each.client() for each in connections}


def pollers(
    config: RunConfig,
    clients: Clients,
    current: Iterable[Poller],
    sink: Callable[[Poll], None],
) -> tuple[Poller, ...]:
    """Return a poller per device: the current one if name, host, serial and kind are unchanged.

    One that takes the place of another of the same name goes on with its log.
    """
    current = tuple(current)
    known = {(each.name, each.host, each.serial, each.table): each for each in current}
    logs = {(each.name, each.table): each.log for each in current}
    found = []
    for device, client in zip(config.devices, clients.values(), strict=True):
        poller = known.get((device.name, device.host, device.serial, device.table))
        if poller is None:
            poller = Poller(
                device.name,
                device.host,
                client,
                serial=device.serial,
                table=device.table,
                deadline_seconds=client.deadline_seconds,
                sink=sink,
                sink_waits=config.influxdb is not None,  # each point is synchronised to disk
                log=logs.get((device.name, device.table)),
            )
        poller.client = client
        poller.interval_seconds = device.refresh_interval or config.interval_seconds
        poller.labels = device.labels
        found.append(poller)
    return tuple(found)


def check_restart_only(old: RunConfig, new: RunConfig) -> None:
    """Raise `UsageError` for a change of the spool or of the session store, which are in use."""
    for section, keys in (
        ("influxdb", ("spool", "spool_limit")),
        ("sessions", ("store", "time_zone", "web")),
    ):
        before, after = getattr(old, section), getattr(new, section)
        if (before is None) != (after is None):
            raise UsageError(f"adding or removing the {section} section requires a restart")
        for key in keys:
            if getattr(before, key, None) != getattr(after, key, None):
                raise UsageError(f"{section}.{key}: a change requires a restart")


def check_surplus(old: RunConfig, new: RunConfig) -> None:
    """Raise `UsageError` for a change of what the control loop began with."""
    if old.surplus != new.surplus:
        raise UsageError("surplus: a change requires a restart")
    if old.surplus is not None and _settings(old) != _settings(new):
        raise UsageError(f"surplus: a change of {old.surplus.charger!r} requires a restart")


def _settings(config: RunConfig) -> tuple[ChargerConfig, float] | None:
    """Return the controlled charger without its labels, and its interval, None without it."""
    charger = controlled(config.surplus, config.chargers)
    if charger is None:
        return None
    interval = charger.refresh_interval or config.interval_seconds
    return charger.model_copy(update={"labels": {}}), interval
