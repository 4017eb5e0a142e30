"""Sends the writes of a decision: only values that `set` accepts, and never "on"."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from goe_exporter.channels import writable
from goe_exporter.channels.model import option_name
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.client import Client
from goe_exporter.errors import ChargerError, GoeExporterError, RefusedError, UsageError
from goe_exporter.surplus.situation import CURRENT, FORCE, ON, Write

REFUSED = "rejected"
"""The reason of a write that the charger, or the table of channels, refuses."""

TEMPORARY = "max_current_temporary"


def actual(write: Write, api: int) -> Write:
    """Return the write for an API: through v1, the current that is not written to flash."""
    is_current = write.channel == CURRENT
    return write._replace(channel=TEMPORARY) if api == 1 and is_current else write


def change(write: Write, api: int) -> writable.Change:
    """Return a write, checked as those of `set` are; raises `UsageError`."""
    if write == Write(FORCE, ON):
        raise UsageError("the surplus never forces charging")
    channel, value = actual(write, api)
    return writable.parse(writable.find(CHANNELS, channel), str(value))


def request(write: Write, api: int, highest_a: float | None) -> writable.Write:
    """Return the key and the value of a write through an API.

    `highest_a` is the highest current that can be configured on the charger, None if it is unknown.
    Raises `UsageError`.
    """
    return change(write, api).through(api, {} if highest_a is None else {"ama": highest_a})


def reason(error: GoeExporterError) -> str:
    """Return why a write failed: a reason of failed requests, or `rejected`."""
    return error.reason if isinstance(error, ChargerError) else REFUSED


def by_hand(host: str, write: Write, api: int) -> str:
    """Return the command that does a write by hand."""
    channel, value = actual(write, api)
    return f"goe-exporter set {host} {option_name(channel)} {value}"


def give_back(
    client: Client,
    api: int,
    writes: Iterable[Write],
    highest_a: float | None,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Write, str]:
    """Send writes until `deadline` (s of the clock) and return the error of each, "" if it is sent.

    The serial number is checked before the first one.
    """
    results: dict[Write, str] = {}
    checked = False
    for write in writes:
        client.deadline_seconds = deadline - clock()
        if client.deadline_seconds <= 0:
            results[write] = "no time was left"
            continue
        try:
            each = request(write, api, highest_a)
            client.write(api, each.key, each.value, serial_checked=checked)
        except (ChargerError, RefusedError, UsageError) as error:
            results[write] = str(error)
            continue
        results[write], checked = "", True
    return results
