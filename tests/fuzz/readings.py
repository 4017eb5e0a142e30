"""Statuses, and the output of the sinks for them."""

from __future__ import annotations

import json
import math

from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import api_v1
from goe_exporter.charger.client import _parse as parse_json
from goe_exporter.errors import ChargerError
from goe_exporter.influx import line_protocol
from goe_exporter.polling.view import ChargerView, Poll, PollStats
from goe_exporter.prometheus.exposition import render_readings
from goe_exporter.web import json_api, pages
from goe_exporter.web.history import History
from goe_exporter.web.locale import Locale
from tests.fuzz.source import Source
from tests.tools.line_parser import parsed

KEYS = tuple(dict.fromkeys(key for channel in CHANNELS for key in channel.key.split()))
KEYS_V1 = tuple(
    "car err amp ama amt rbc rbt ast uby alw adi amx cbl eto dws nrg pha fwv sse stp dwo loe loa"
    " tma tmp eca ecr ecd ec4 ec5 ec6 ec7 ec8 ec9 ec1".split()
)
_SOURCES = {
    (channel.name, part.label): {str(path[0]) for path in part.paths}
    for channel in CHANNELS
    for part in channel.parts
}
NRG = (230, 231, 229, 2, 16, 15.9, 16.1, 3680, 3.5, 3700, 0, 11_000, 98, 99, 97, 0)


def _status(source: Source, keys: tuple[str, ...]) -> dict[str, object]:
    """Return a status with some keys, mostly with values of the right type."""
    status: dict[str, object] = {}
    for _ in range(source.below(12)):
        key = source.pick(keys)
        kind = source.below(4)
        if kind == 0 and key == "nrg":
            found: list[object] = list(NRG)
            found[source.below(16)] = source.json(1)
            status[key] = found[: source.below(18)] if source.below(2) else found
        elif kind == 1:
            status[key] = source.byte()
        elif kind == 2:
            status[key] = str(source.number())
        else:
            status[key] = source.json()
    return status


def status_v2(data: bytes) -> None:
    """Decoding accepts anything; a key never changes readings of other keys' channels."""
    source = Source(data)
    status = _status(source, KEYS)
    changed = dict(status, **{source.pick(KEYS): source.json()})
    _check(status, changed, 2)


def status_v1(data: bytes) -> None:
    """The same for the translation of API v1, in which some keys belong together."""
    source = Source(data)
    status = _status(source, KEYS_V1)
    key = source.pick(KEYS_V1)
    changed = dict(status, **{key: source.json()})
    _check(api_v1.status(status), api_v1.status(changed), 1)


def body(data: bytes) -> None:
    """A body is a status that decodes, or an error; lenient JSON too."""
    try:
        found = parse_json(data)
    except ChargerError:
        return
    if isinstance(found, dict):
        decode(found, 2)
        decode(api_v1.status(found), 1)


def _check(status: dict[str, object], changed: dict[str, object], api: int) -> None:
    """Assert that only channels of the changed keys differ, and that readings keep their bounds."""
    different = {
        key
        for key in {*status, *changed}
        if repr(status.get(key, ...)) != repr(changed.get(key, ...))
    }
    before, after = decode(status, api), decode(changed, api)
    if "fwv" in different:
        different.add("err")
    for rows in (before.readings, after.readings):
        assert len({(row.channel.name, row.label) for row in rows}) == len(rows)
        for reading in rows:
            _plausible(reading)
    untouched = [
        repr([row for row in rows if not different & _SOURCES[row.channel.name, row.label]])
        for rows in (before.readings, after.readings)
    ]
    assert untouched[0] == untouched[1], different
    # Of several keys the first with a value counts; the others are ignored.
    rivals = set().union(*(keys for keys in _SOURCES.values() if keys & different))
    assert before.failed - rivals == after.failed - rivals, different
    assert before.failed <= set(status)


def _plausible(reading: Reading) -> None:
    channel, value = reading.channel, reading.value
    if channel.kind is Kind.TEXT:
        assert isinstance(value, str)
        value.encode()
        assert 0 < len(value) <= 512
    elif channel.kind is Kind.FLAG:
        assert value is True or value is False
    elif channel.kind in (Kind.STATE, Kind.REASON):
        assert channel.states is not None
        assert value in channel.states.names
        assert type(reading.code) is int
    else:
        assert type(value) is float
        assert math.isfinite(value)
        low, high = channel.bounds
        assert low <= value * channel.divide * (1 + 1e-12) or low <= value * channel.divide
        assert value * channel.divide <= high * (1 + 1e-9)


def outputs(data: bytes) -> None:
    """A second parser reads names, tags, readings back from the line; JSON and text are valid."""
    source = Source(data)
    name = source.text().encode("utf-8", "replace").decode() or "x"
    tags = {source.text(12): source.text(20) for _ in range(source.below(4))}
    tags = {key: text for key, text in tags.items() if key not in ("", "charger", "serial")}
    api = 1 + source.below(2)
    status = _status(source, KEYS if api == 2 else KEYS_V1)
    if api == 1:
        status = api_v1.status(status)
    readings = decode(status, api).readings
    time = source.below(65_536) * 1e6 + source.byte() / 7
    snapshot = Snapshot(name, api, time, 0.0, readings)
    poll = Poll(name, source.text(12), time, snapshot if source.below(8) else None)
    _check_line(poll, tags)
    view = ChargerView(name, "h", PollStats(up=True), snapshot, 0.0)
    json.loads(json.dumps(json_api.as_json(view), allow_nan=False).encode("ascii"))
    past = History()
    past.take(poll)
    timeline = past.timeline(name, 60, 5.0)
    json.dumps(json_api.history_json(view, 60, timeline), allow_nan=False)
    dear = source.below(8)  # these are the most expensive
    if dear in (0, 1):
        _check_text(render_readings([view]), len(readings))
    elif dear == 2:
        page = pages.charger(view, Locale(source.pick(("de", "en"))), root="", several=True)
        page.encode()
        assert "<b>" not in page
        assert pages.overview([view], Locale("en")).encode()


def _check_line(poll: Poll, tags: dict[str, str]) -> None:
    raw = line_protocol.line(poll, tags).encode()
    assert b"\n" not in raw
    assert b"\0" not in raw
    point = parsed(raw.decode())
    assert point.measurement == "goe_charger"
    assert (
        point.stamp
        == line_protocol.milliseconds(poll.time)
        == round((line_protocol.timestamp(raw) or 0.0) * 1000)
    )
    allowed = {"charger": poll.charger, "serial": poll.serial, **tags}
    for key, text in point.tags.items():
        assert any(
            line_protocol.tag_text(other) == key and line_protocol.tag_text(value) == text
            for other, value in allowed.items()
        ), (key, text)
    assert ("charger" in point.tags) == (line_protocol.tag_text(poll.charger) != "")
    wanted: dict[str, object] = {"up": poll.snapshot is not None}
    if line_protocol.tag_text(poll.charger) != poll.charger:
        wanted["charger_name"] = _kept(poll.charger)
    for reading in poll.snapshot.readings if poll.snapshot else ():
        channel, value = reading.channel, reading.value
        field = channel.field(reading.label if channel.label else "")
        if channel.kind is Kind.TEXT:
            if channel.name != "serial":
                wanted[channel.name] = _kept(str(value))
        else:
            wanted[field] = value
            if reading.code is not None:
                wanted[f"{field}_code"] = float(reading.code)
    assert point.fields == wanted, (point.fields, wanted)
    assert {key: type(value) for key, value in point.fields.items()} == {
        key: type(value) for key, value in wanted.items()
    }


def _kept(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", " ").replace("\n", "\\n")


def _check_text(text: str, readings: int) -> None:
    """Assert that each line of an exposition is a comment or a sample, without duplicates."""
    text.encode()
    assert text.endswith("\n")
    series = set()
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            continue
        head, _space, value = line.rpartition(" ")
        float(value)
        assert head not in series, head
        series.add(head)
        name, brace, labels = head.partition("{")
        assert name.startswith("goe_"), line
        assert not brace or _labels_end(labels), line
    assert len(series) >= readings // 8


def _labels_end(text: str) -> bool:
    """Return whether `name="…",…}` is well-formed to its end."""
    while True:
        name, equals, text = text.partition('="')
        if not (equals and name.replace("_", "a").isalnum() and name.isascii()):
            return False
        place = 0
        while place < len(text) and text[place] != '"':
            if text[place] == "\\" and text[place + 1 : place + 2] not in ("\\", '"', "n"):
                return False
            place += 2 if text[place] == "\\" else 1
        text = text[place + 1 :]
        if text == "}":
            return True
        if not text.startswith(","):
            return False
        text = text[1:]
