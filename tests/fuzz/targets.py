"""All targets by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import disk, network, readings, settings, web

TARGETS: dict[str, Callable[[bytes], None]] = {
    "http": network.answer,
    "answers": network.answers,
    "delivery": network.delivery,
    "headers": network.headers,
    "status_v1": readings.status_v1,
    "status_v2": readings.status_v2,
    "body": readings.body,
    "outputs": readings.outputs,
    "spool": disk.spool,
    "remains": disk.remains,
    "clock": disk.clock,
    "held": disk.held,
    "letters": disk.letters,
    "config_file": settings.config_file,
    "config_values": settings.config_values,
    "web_config_file": settings.web_config_file,
    "web_config_values": settings.web_config_values,
    "values": settings.values,
    "writes": settings.writes,
    "arguments": settings.arguments,
    "texts": settings.texts,
    "requests": web.requests,
}
