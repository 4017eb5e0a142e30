"""A strict parser of InfluxDB's line protocol, independent of the code that writes it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Point(NamedTuple):
    """A line read back; an integer among the fields would be one, for no line should have any."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | bool | str]
    stamp: int | None


def parsed(line: str) -> Point:
    """Read one line as InfluxDB does; raises `ValueError` for whatever is not one valid line."""
    head, rest = _until(line, 0, " ")
    parts = _split(head, ",")
    tags: dict[str, str] = {}
    for part in parts[1:]:
        key, *value = _split(part, "=")
        if len(value) != 1 or not key or not value[0] or key in tags:
            raise ValueError(f"tag {part!r}")
        tags[_plain(key)] = _plain(value[0])
    if "\n" in head or not parts[0]:
        raise ValueError(f"head {head!r}")
    fields, place = _fields(line, rest + 1)
    stamp = line[place + 1 :]
    if line[place : place + 1] not in ("", " ") or (stamp and not re.fullmatch(r"-?\d+", stamp)):
        raise ValueError(f"end {line[place:]!r}")
    return Point(_plain(parts[0]), tags, fields, int(stamp) if stamp else None)


def _until(text: str, place: int, ends: str) -> tuple[str, int]:
    """Return what stands before the next of `ends` that no backslash escapes, and its place."""
    start = place
    while place < len(text) and not (text[place] in ends and text[place - 1] != "\\"):
        place += 1
    return text[start:place], place


def _split(text: str, separator: str) -> list[str]:
    pieces, place = [], -1
    while place < len(text):
        piece, place = _until(text, place + 1, separator)
        pieces.append(piece)
    return pieces


def _plain(text: str) -> str:
    return re.sub(r"\\([ ,=])", r"\1", text)


def _fields(line: str, place: int) -> tuple[dict[str, float | bool | str], int]:
    fields: dict[str, float | bool | str] = {}
    while True:
        key, place = _until(line, place, "=")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", key) or key in fields:
            raise ValueError(f"field {key!r}")
        if line[place + 1 : place + 2] == '"':
            fields[key], place = _string(line, place + 2)
        else:
            text, place = _until(line, place + 1, ", ")
            if text in ("true", "false"):
                fields[key] = text == "true"
            elif re.fullmatch(r"-?\d+\.\d+(e[+-]\d+)?|-?\de[+-]\d+", text):
                fields[key] = float(text)
            else:
                raise ValueError(f"value {text!r}")
        if line[place : place + 1] != ",":
            return fields, place
        place += 1


def _string(line: str, place: int) -> tuple[str, int]:
    text = ""
    while line[place] != '"':
        if line[place] == "\\":
            place += 1
            if line[place] not in '"\\':
                raise ValueError("escape")
        text += line[place]
        place += 1
    return text, place + 1
