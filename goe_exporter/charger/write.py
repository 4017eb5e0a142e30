"""Send a write to a charger, and confirm it by reading the value back.

Only the value that the charger reports afterwards counts: a v1 charger refuses a write by leaving
the value unchanged (docs/protocol.md §1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from goe_exporter.channels.model import Range
from goe_exporter.channels.writable import Change, Write, same
from goe_exporter.charger.client import Client
from goe_exporter.errors import ChargerError, RefusedError

READ_BACK_SECONDS = 10.0
"""Firmware 050 shows a written `alw` after 7 s (docs/protocol.md §5.2)."""

READ_BACK_PAUSE_SECONDS = 0.5


class Written(NamedTuple):
    """A confirmed write: its API, and the seconds until the charger reported the value."""

    api: int
    write: Write
    seconds: float


def write(
    client: Client,
    change: Change,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Written:
    """Write a change, and wait up to 10 s until the charger reports the value.

    The charger's own limit is read first. Raises `UsageError`, before anything is written, if the
    charger's API or its limit does not allow the value; `RefusedError` if the charger refuses the
    write or does not apply it; and `ChargerError` if it does not answer.
    """
    specs = change.channel.write.values()
    limits = {spec.limit for spec in specs if isinstance(spec, Range)} - {""}
    answer = client.status(tuple(limits) or ("car",))
    chosen = change.through(answer.api)
    chosen.check_limit(answer.status)
    client.write(answer.api, chosen.key, chosen.value)
    started = clock()
    while True:
        try:
            reported = client.status((chosen.key,)).status.get(chosen.key)
            if same(reported, chosen.value):
                return Written(answer.api, chosen, clock() - started)
            failure: Exception = RefusedError(
                f"{change.channel.option} did not change: the charger accepted the request but"
                f" still reports {chosen.describe(reported)}"
            )
        except ChargerError as error:
            failure = error
        if clock() - started > READ_BACK_SECONDS:
            raise failure
        sleep(READ_BACK_PAUSE_SECONDS)
