"""Deadlines for a charger's client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from goe_exporter.charger.client import Client

SHORT_SECONDS = 0.4
"""The deadline of a request that must not get its answer; all others have plenty of time."""


@contextmanager
def impatient(asker: Client) -> Iterator[None]:
    """Give the requests of a block a short deadline."""
    before = asker.deadline_seconds
    asker.deadline_seconds = asker._transport._deadline_seconds = SHORT_SECONDS
    yield
    asker.deadline_seconds = asker._transport._deadline_seconds = before
