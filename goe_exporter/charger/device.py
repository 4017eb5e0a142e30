"""Whose status an answer is: that of the expected kind of device, and of the configured one. Pure.

Other devices answer with JSON objects too, and DHCP gives a charger's address to another one
(docs/protocol.md §5.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.model import Table
from goe_exporter.channels.table import CHARGER
from goe_exporter.errors import ChargerError

TABLES = (CHARGER, CONTROLLER)
SERIAL = re.compile(r"[A-Za-z0-9]{1,32}")
"""A serial number."""

_TYPES = {table: re.compile(table.type, re.IGNORECASE) for table in TABLES}

MAX_LENGTH = 200
SENTENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,.:;'/_-]{0,79}")
"""Text that may be shown: others may contain keys and passwords (docs/protocol.md §3.13)."""

_MESSAGES = ("error", "message", "reason")


def check(
    status: Mapping[str, object],
    serial: str,
    cleaned: Callable[[str], str] = lambda text: text,
    table: Table = CHARGER,
) -> None:
    """Raise `ChargerError` with reason `wrong_device` unless `status` is that of the device.

    `status` is as the device sent it, by either API; `serial` is the configured serial number, or
    "", and `table` that of the expected kind. `cleaned` removes secrets from a text before it is
    cut.
    """
    typ = status.get("typ")
    name = typ.strip() if type(typ) is str else typ
    if name and not _is_type_of(table, name):
        other = next((each for each in TABLES if _is_type_of(each, name)), None)
        if other is not None:
            what = f"this is a {other.title}: in the configuration it belongs under {other.section}"
            raise ChargerError("wrong_device", what)
        shown = _shown(str(name), cleaned)
        raise ChargerError("wrong_device", f"not a {table.title} but a {shown}")
    if table.witnesses.isdisjoint(status):
        what = object_with(status, cleaned)
        raise ChargerError("wrong_device", f"not the status of a {table.title} but {what}")
    if serial and (reported := _serial(status)) != serial:
        shown = _shown(reported, cleaned) if reported else "none"
        what = f"another {table.device} answered: its serial number is {shown}, not {serial}"
        raise ChargerError("wrong_device", what)


def object_with(answer: Mapping[str, object], cleaned: Callable[[str], str]) -> str:
    """Return a description of a JSON object: its keys, and its error message if it has one."""
    keys = _printable(cleaned(", ".join(answer)))[:MAX_LENGTH]
    message = next((answer[key] for key in _MESSAGES if key in answer), None)
    if isinstance(message, str) and SENTENCE.fullmatch(message):
        return f"an object with {keys}: {cleaned(message)!r}"
    return f"an object with {keys or 'no keys'}"


def _is_type_of(table: Table, name: object) -> bool:
    return type(name) is str and _TYPES[table].match(name) is not None


def _serial(status: Mapping[str, object]) -> str:
    serial = status.get("sse")
    return str(serial).strip() if type(serial) in (str, int) else ""


def _shown(text: str, cleaned: Callable[[str], str]) -> str:
    return repr(_printable(cleaned(text))[:80])


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
