"""Polls as InfluxDB line protocol (docs/influxdb.md): one point per device and poll.

Measurement `goe_charger`, tags `charger` and `serial` and those of the configuration, timestamps in
ms; for a Controller measurement `goe_controller` and tag `controller`. The types of fields never
change: every number is a float, a flag a boolean, a state a string with its code as a second field;
an absent value has no field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from goe_exporter.channels.model import Channel, Kind
from goe_exporter.polling.view import Poll

MAX_TIMESTAMP_DIGITS = 19
"""Digits of the largest timestamp that a server accepts."""

MAX_SERIES = 10_000
"""Maximum number of series whose text is kept: the points of a charger usually share one."""

_TAG_ESCAPES = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_ESCAPING_BACKSLASHES = re.compile(r"\\+(?=[\\ ,=]|$)")
_STRING_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\"})


def point(poll: Poll, tags: Mapping[str, str]) -> str:
    """Return a poll's point without its timestamp; that of a failed poll is `up=false` only.

    The field `charger_name` holds a name that a tag cannot hold (`tag_text`).
    """
    device = poll.table.device
    own = {device: poll.charger, "serial": poll.serial, **poll.labels}
    fields = ["up=true" if poll.snapshot else "up=false"]
    if tag_text(poll.charger) != poll.charger:
        fields.append(f"{device}_name={string(poll.charger)}")
    for channel, label, value, code in poll.snapshot.readings if poll.snapshot else ():
        if name := _field_name(channel, label):
            if type(value) is float:  # most values are
                fields.append(f"{name}={value!r}")
            else:
                fields.append(_other_field(name, channel, value, code))
    return f"{series(poll.table.measurement, own, tags)} {','.join(fields)}"


def series(measurement: str, own: Mapping[str, str], tags: Mapping[str, str]) -> str:
    """Return a measurement with tags, those of the device and those of the configuration."""
    return _series(measurement, (*own.items(), *sorted(tags.items())))


@lru_cache(MAX_SERIES)
def _series(measurement: str, tags: tuple[tuple[str, str], ...]) -> str:
    all_tags: dict[str, str] = {}
    for key, value in tags:
        # Names may be equal once they are tags; the first one wins.
        all_tags.setdefault(tag_text(key), tag_text(value))
    pairs = (f"{_tag(key)}={_tag(text)}" for key, text in sorted(all_tags.items()) if key and text)
    return ",".join([measurement, *pairs])


def line(poll: Poll, tags: Mapping[str, str], *, nanoseconds: bool = False) -> str:
    """Return a poll's point with its timestamp, in ms or, as Telegraf reads it, in ns."""
    stamp = milliseconds(poll.time) * (1_000_000 if nanoseconds else 1)
    return f"{point(poll, tags)} {stamp}"


def milliseconds(unix_seconds: float) -> int:
    """Return a timestamp in the unit of a line."""
    return round(unix_seconds * 1000)


def timestamp(line: bytes) -> float | None:
    """Return the Unix time of a line with a timestamp in ms, None if it has no timestamp."""
    stamp = line.rpartition(b" ")[2]
    return int(stamp) / 1000 if stamp.isdigit() and len(stamp) <= MAX_TIMESTAMP_DIGITS else None


def tag_text(text: str) -> str:
    """Return a text without what a tag cannot hold: unprintable characters and some backslashes.

    No server accepts a line break in a tag. InfluxDB 1.x and VictoriaMetrics read a backslash at
    the end, or before a comma, a space, an equals sign or another backslash, as an escape; the line
    then becomes another one, or is dropped with a 204.
    """
    clean = "".join(char if char.isprintable() else " " for char in text)
    return _ESCAPING_BACKSLASHES.sub("", clean).strip()


def string(text: str) -> str:
    r"""Return a text as a string field, with line breaks as the two characters `\n`.

    InfluxDB accepts a line break, but VictoriaMetrics ends the line there, drops the point and
    reads what follows as another one, so that a charger's name could inject points. NUL, which no
    server stores, becomes a space; a lone surrogate, from an argument that is not UTF-8, becomes
    `?`.
    """
    sound = text.encode("utf-8", "replace").decode().replace("\0", " ").replace("\n", "\\n")
    return f'"{sound.translate(_STRING_ESCAPES)}"'


def _tag(text: str) -> str:
    return text.translate(_TAG_ESCAPES)


@cache
def _field_name(channel: Channel, label: str) -> str:
    """Return the name of a reading's field, "" if it is none."""
    return channel.field(label if channel.label else "") if channel.has_field else ""


def _other_field(name: str, channel: Channel, value: float | bool | str, code: int | None) -> str:
    """Return the field of a text or a flag, or the two of a state."""
    if channel.kind is Kind.TEXT:
        return f"{name}={string(str(value))}"
    if isinstance(value, bool):
        return f"{name}={'true' if value else 'false'}"
    assert code is not None
    return f"{name}={string(str(value))},{name}_code={float(code)!r}"
