"""A parser of line protocol that shares nothing with the serializer."""

from __future__ import annotations

import re
from typing import NamedTuple

_KEY = re.compile(r"((?:\\.|[^\\, =])+)=", re.DOTALL)
_TAG = re.compile(r"((?:\\.|[^\\, ])+)", re.DOTALL)
_HEAD = re.compile(r"((?:\\.|[^\\, ])+)", re.DOTALL)
_STRING = re.compile(r'"((?:\\.|[^\\"])*)"', re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")
_BOOLEAN = re.compile(r"true|false")
_STAMP = re.compile(r" (-?[0-9]{1,19})")


class Point(NamedTuple):
    """The content of a line; `stamp` in its own unit."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | bool | str]
    stamp: int


def parsed(line: str) -> Point:
    """Return a line's point; raises `ValueError` for a line that no server accepts."""
    measurement, place = _one(_HEAD, line, 0)
    tags: dict[str, str] = {}
    while line[place] == ",":
        key, place = _one(_KEY, line, place + 1)
        text, place = _one(_TAG, line, place)
        if _plain(key) in tags:
            raise ValueError(f"duplicate tag {key!r}")
        tags[_plain(key)] = _plain(text)
    fields: dict[str, float | bool | str] = {}
    if line[place] != " ":
        raise ValueError(f"no fields at {place}")
    while line[place] == (" " if not fields else ","):
        key, place = _one(_KEY, line, place + 1)
        if _plain(key) in fields:
            raise ValueError(f"duplicate field {key!r}")
        fields[_plain(key)], place = _value(line, place)
    stamp = _STAMP.fullmatch(line, place)
    if stamp is None:
        raise ValueError(f"no timestamp at {place}: {line[place:]!r}")
    return Point(_plain(measurement), tags, fields, int(stamp[1]))


def _one(pattern: re.Pattern[str], line: str, place: int) -> tuple[str, int]:
    match = pattern.match(line, place)
    if match is None:
        raise ValueError(f"nothing sound at {place}: {line[place : place + 40]!r}")
    return match[1] if pattern.groups else match[0], match.end()


def _value(line: str, place: int) -> tuple[float | bool | str, int]:
    if line[place] == '"':
        text, place = _one(_STRING, line, place)
        return re.sub(r'\\(["\\])', r"\1", text), place
    if line[place] in "tf":
        text, place = _one(_BOOLEAN, line, place)
        return text == "true", place
    text, place = _one(_NUMBER, line, place)
    return float(text), place


def _plain(text: str) -> str:
    return re.sub(r"\\([, =])", r"\1", text)
