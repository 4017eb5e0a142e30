"""The responses of the JSON API."""

from __future__ import annotations

import time

from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Reading
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.history import Timeline
from goe_exporter.web.schema import Json
from goe_exporter.web.surplus import surplus_json


def as_json(view: ChargerView, surplus: SurplusVitals | None = None) -> Json:
    """Return a device as JSON; numbers are in the channel table's units (V, A, W, Wh, °C, s).

    A channel with several parts is an object, of objects for two labels, and so is a state: its
    name and its code. Absent readings are left out, and so is `labels` for a device without labels.
    A device that does not answer keeps its API and the readings that name it. `surplus` is what
    controls the charger, if anything does.
    """
    readings: Json = {}
    for reading in view.readings:
        if not reading.channel.info_only:
            _put(readings, reading)
    return {
        "name": view.name,
        "host": view.host,
        **({"labels": dict(view.labels)} if view.labels else {}),
        "up": view.stats.up,
        "failure": view.stats.reason or None,
        "api": view.snapshot.api if view.snapshot else view.api,
        "age_seconds": view.snapshot_age,
        "last_success_timestamp_seconds": view.stats.last_success,
        "readings": readings,
        **({"surplus": surplus_json(surplus)} if surplus is not None else {}),
    }


def history_json(view: ChargerView, minutes: int, timeline: Timeline) -> Json:
    """Return a charger's last minutes as JSON, with one list of values per channel and part."""
    return {
        "charger": view.name,
        "minutes": minutes,
        "interval_seconds": view.interval_seconds,
        "now_timestamp_seconds": round(time.time(), 1),
        "timestamps_seconds": timeline.times,
        "series": {
            name: parts[""] if list(parts) == [""] else parts
            for name, parts in timeline.series.items()
        },
    }


def _put(readings: Json, reading: Reading) -> None:
    channel = reading.channel
    if channel.kind in (Kind.STATE, Kind.REASON):
        readings[channel.name] = {"state": reading.value, "code": reading.code}
    else:
        *outer, last = channel.name, *reading.label.split()
        for name in outer:
            inner = readings.setdefault(name, {})
            assert isinstance(inner, dict)
            readings = inner
        readings[last] = reading.value
