"""Fetch everything that a device reports, without private values, to attach it to a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from goe_exporter.charger.connection import Connection
from goe_exporter.charger.device import TABLES
from goe_exporter.charger.redaction import redacted
from goe_exporter.errors import GoeExporterError, TransportError
from goe_exporter.transport.http import Transport

DEADLINE_SECONDS = 15.0
"""A complete status is long, and a busy charger waits for its lock."""

TARGETS = {2: "/api/status", 1: "/status"}
MAX_DIGITS = 18


class Captured(NamedTuple):
    """The answer to one request: the HTTP status and the redacted status, or why there is none."""

    api: int
    http_status: int | None
    status: dict[str, object] | None
    removed: Sequence[str]
    failure: str = ""

    def document(self) -> dict[str, object]:
        """Return the answer as JSON."""
        found: dict[str, object] = {"api": self.api, "request": TARGETS[self.api]}
        if self.http_status is not None:
            found["http_status"] = self.http_status
        if self.status is None:
            return found | {"failure": self.failure}
        return found | {"status": self.status, "removed": list(self.removed)}


def capture(place: Connection) -> list[Captured]:
    """Request the complete status through each API and return the answers without private values.

    Raises `GoeExporterError` if no answer is the status of a charger or Controller.
    """
    transport = Transport(
        place.host,
        token=place.token,
        deadline_seconds=DEADLINE_SECONDS,
        environment_proxies=place.environment_proxies,
    )
    apis = (2, 1) if place.api == "auto" else (int(place.api),)
    found = [_captured(transport, api) for api in apis]
    if all(each.status is None for each in found):
        reasons = ", ".join(f"API v{each.api}: {each.failure}" for each in found)
        raise GoeExporterError(f"{place.host}: no status to capture ({reasons})")
    return found


def _captured(transport: Transport, api: int) -> Captured:
    try:
        code, _headers, body = transport.get(TARGETS[api])
    except TransportError as error:
        return Captured(api, None, None, (), error.reason)
    # PRO answers a request without a filter with 400 and a status (docs/protocol.md §1).
    if code not in (200, 400):
        return Captured(api, code, None, (), f"HTTP status {code}")
    try:
        status = _parsed(body)
    except (ValueError, RecursionError):
        return Captured(api, code, None, (), "not JSON")
    if not isinstance(status, dict) or all(each.witnesses.isdisjoint(status) for each in TABLES):
        return Captured(api, code, None, (), "not the status of a charger or Controller")
    return Captured(api, code, *redacted(status))


def _parsed(body: bytes) -> object:
    return json.loads(body.decode("utf-8-sig"), parse_int=_integer)


def _integer(text: str) -> int | str:
    """Return a number; a long one stays text, which is removed, since `int` would reject it."""
    return int(text) if len(text) <= MAX_DIGITS else text
