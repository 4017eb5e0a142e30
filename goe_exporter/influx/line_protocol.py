"""Cycles → InfluxDB line protocol (DESIGN §7): one point per charger and cycle.

Measurement `goe_charger`, tags `charger` and `serial` (and those of the configuration), timestamps
in ms. The serializer is ours because types must never change: every number is a float, a flag a
boolean, a state a string with its number beside it; what is absent is no field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Reading
from goe_exporter.polling.view import Poll

MEASUREMENT = "goe_charger"
LONGEST_STAMP = 19
"""Digits of the largest timestamp that a server can hold."""

_TAG_ESCAPES = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_TREACHEROUS = re.compile(r"\\+(?=[\\ ,=]|$)")
_STRING_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\"})


def point(cycle: Poll, tags: Mapping[str, str]) -> str:
    """Return a cycle's point without its timestamp; a failed poll's is `up=false` alone.

    A name that no tag can hold (`tag_text`) stands unchanged in the field `charger_name`, beside
    the tag that comes closest.
    """
    own = {"charger": cycle.charger, "serial": cycle.serial, **cycle.labels}
    all_tags: dict[str, str] = {}
    for key, value in [*own.items(), *sorted(tags.items())]:
        # Names that differ only in what no tag can hold are one; ours come first.
        all_tags.setdefault(tag_text(key), tag_text(value))
    pairs = (f"{_tag(key)}={_tag(text)}" for key, text in sorted(all_tags.items()) if key and text)
    names = [MEASUREMENT, *pairs]
    fields = ["up=true" if cycle.snapshot else "up=false"]
    if tag_text(cycle.charger) != cycle.charger:
        fields.append(f"charger_name={string(cycle.charger)}")
    for reading in cycle.snapshot.readings if cycle.snapshot else ():
        fields += _fields(reading)
    return f"{','.join(names)} {','.join(fields)}"


def line(cycle: Poll, tags: Mapping[str, str], *, nanoseconds: bool = False) -> str:
    """Return a cycle's point with its timestamp, in ms or, as Telegraf reads it, in ns."""
    stamp = milliseconds(cycle.time) * (1_000_000 if nanoseconds else 1)
    return f"{point(cycle, tags)} {stamp}"


def milliseconds(unix_seconds: float) -> int:
    """Return a timestamp as it stands at the end of a line."""
    return round(unix_seconds * 1000)


def timestamp(line: bytes) -> float | None:
    """Return the Unix time at the end of a line in ms, None where there is none."""
    stamp = line.rpartition(b" ")[2]
    return int(stamp) / 1000 if stamp.isdigit() and len(stamp) <= LONGEST_STAMP else None


def tag_text(text: str) -> str:
    """Return what a tag can hold of a text: printable, no backslash where it means something.

    No server takes a line break in a tag. A backslash at the end, before a comma, a space, an
    equals sign or another one is its escape to InfluxDB 1.x or to VictoriaMetrics, which then
    takes the line for another one or, answering 204, for none.
    """
    clean = "".join(char if char.isprintable() else " " for char in text)
    return _TREACHEROUS.sub("", clean).strip()


def string(text: str) -> str:
    r"""Return a text as a string field, a line break in it as the two characters `\n`.

    InfluxDB would take the break itself, but VictoriaMetrics ends the line there, loses the point,
    and takes what follows for another: whoever names a charger could write any point. NUL, which
    no server stores, becomes a space; half a surrogate pair, as an argument that is no UTF-8 has
    it, becomes `?`.
    """
    sound = text.encode("utf-8", "replace").decode().replace("\0", " ").replace("\n", "\\n")
    return f'"{sound.translate(_STRING_ESCAPES)}"'


def _tag(text: str) -> str:
    return text.translate(_TAG_ESCAPES)


def _fields(reading: Reading) -> list[str]:
    channel, value = reading.channel, reading.value
    if channel.info_only:
        return []
    name = channel.field(reading.label if channel.label else "")
    if channel.kind is Kind.TEXT:
        return [] if channel.name == "serial" else [f"{channel.name}={string(str(value))}"]
    if isinstance(value, bool):
        return [f"{name}={'true' if value else 'false'}"]
    if isinstance(value, float):
        return [f"{name}={value!r}"]
    assert reading.code is not None
    return [f"{name}={string(value)}", f"{name}_code={float(reading.code)!r}"]
