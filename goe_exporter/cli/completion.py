"""What the shell completes: devices of a configuration, channels and their values."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, FishComplete, add_completion_class

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.model import Choices, Table
from goe_exporter.channels.table import CHANNELS, CHARGER
from goe_exporter.channels.writable import find
from goe_exporter.charger import api_v1
from goe_exporter.errors import GoeExporterError


class _Fish(FishComplete):
    """Click's completion for fish, but a comma in a name or a description does not end it."""

    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )


def register() -> None:
    """Let click use the completion of this module."""
    add_completion_class(_Fish)


def chargers(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the names of the chargers in the file of --config.file; none if it cannot be read."""
    return _named(context, incomplete, CHARGER)


def devices(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the same of the chargers and Controllers."""
    return _named(context, incomplete, CHARGER, CONTROLLER)


def _named(context: click.Context, incomplete: str, *tables: Table) -> list[CompletionItem]:
    config_file = context.params.get("config_file")
    if not config_file:
        return []
    from goe_exporter.service.config import load  # noqa: PLC0415, needs pydantic

    try:
        config = load(config_file)
    except GoeExporterError:
        return []
    return [
        CompletionItem(each.name, help=each.host)
        for each in (*config.chargers, *config.controllers)
        if each.table in tables and each.name.startswith(incomplete)
    ]


def channels(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the writable channels."""
    return [
        CompletionItem(each.option, help=each.help)
        for each in CHANNELS
        if each.write and each.option.startswith(incomplete)
    ]


def values(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the texts that the channel accepts; numbers are not completed."""
    try:
        channel = find(CHANNELS, context.params.get("channel") or "", api_v1.KEYS)
    except GoeExporterError:
        return []
    texts: dict[str, None] = {}
    for allowed in channel.write.values():
        if isinstance(allowed, Choices):
            texts |= dict.fromkeys(allowed.values)
        elif allowed.off:
            texts["off"] = None
    return [CompletionItem(text) for text in texts if text.startswith(incomplete)]
