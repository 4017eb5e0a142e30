"""Whose status an answer is: that of a go-eCharger, and of the configured one. Pure.

Other devices answer with JSON objects too, and DHCP gives a charger's address to another one
(docs/protocol.md §5.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from goe_exporter.errors import ChargerError

WITNESSES = frozenset(("car", "nrg", "eto", "amp"))
"""Every status of a go-eCharger holds at least one of these keys, with a value or null."""

MAX_LENGTH = 200
SENTENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,.:;'/_-]{0,79}")
"""Text that may be shown: others may contain keys and passwords (docs/protocol.md §3.13)."""

_CHARGER = re.compile("go-?e.?charger", re.IGNORECASE)
_MESSAGES = ("error", "message", "reason")


def check(
    status: Mapping[str, object], serial: str, cleaned: Callable[[str], str] = lambda text: text
) -> None:
    """Raise `ChargerError` with reason `wrong_device` unless `status` is that of the charger.

    `status` is as the device sent it, by either API; `serial` is the configured serial number, or
    "". `cleaned` removes secrets from a text before it is cut.
    """
    typ = status.get("typ")
    name = typ.strip() if type(typ) is str else typ
    if name and not (type(name) is str and _CHARGER.match(name)):
        shown = _shown(str(name), cleaned)
        raise ChargerError("wrong_device", f"not a go-eCharger but a {shown}")
    if WITNESSES.isdisjoint(status):
        what = object_with(status, cleaned)
        raise ChargerError("wrong_device", f"not the status of a go-eCharger but {what}")
    if serial and (reported := _serial(status)) != serial:
        shown = _shown(reported, cleaned) if reported else "none"
        raise ChargerError(
            "wrong_device", f"another charger answered: its serial number is {shown}, not {serial}"
        )


def object_with(answer: Mapping[str, object], cleaned: Callable[[str], str]) -> str:
    """Return a description of a JSON object: its keys, and its error message if it has one."""
    keys = _printable(cleaned(", ".join(answer)))[:MAX_LENGTH]
    message = next((answer[key] for key in _MESSAGES if key in answer), None)
    if isinstance(message, str) and SENTENCE.fullmatch(message):
        return f"an object with {keys}: {cleaned(message)!r}"
    return f"an object with {keys or 'no keys'}"


def _serial(status: Mapping[str, object]) -> str:
    serial = status.get("sse")
    return str(serial).strip() if type(serial) in (str, int) else ""


def _shown(text: str, cleaned: Callable[[str], str]) -> str:
    return repr(_printable(cleaned(text))[:80])


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
