"""Where the controlled charger is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from goe_exporter.charger.client import Client


class Place(NamedTuple):
    """The controlled charger: its name, its host, and its client, which a reload may replace.

    `connect` returns a client of its own, for the give-back.
    """

    charger: str
    host: str
    client: Callable[[], Client]
    connect: Callable[[], Client]
