"""The JSON API: its responses, and their OpenAPI description, generated from the channel table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache

from goe_exporter import __version__
from goe_exporter.channels.model import Channel, Kind, Table
from goe_exporter.channels.snapshot import Reading
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.errors import REASONS
from goe_exporter.polling.view import ChargerView
from goe_exporter.web import session_api
from goe_exporter.web.history import CHANNELS as KEPT
from goe_exporter.web.history import MAX_MINUTES, Timeline
from goe_exporter.web.schema import Json, mapping_of, nullable, object_of
from goe_exporter.web.surplus import surplus_json, surplus_schema


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


@cache
def openapi(
    chargers: Table, controllers: Table, root: str = "/", *, sessions: bool = False
) -> Json:
    """Return the OpenAPI 3.1 description of the JSON API; `root` is the URL of the exporter.

    With `sessions`, charging sessions are a part of it.
    """
    paths, schemas = _paths(), _schemas(chargers, controllers)
    if sessions:
        paths |= session_api.paths()
        schemas |= session_api.schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "goe-exporter",
            "version": __version__,
            "description": "Readings of go-eCharger wallboxes. Read-only.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _paths() -> Json:
    name: Json = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "Name of the charger, percent-encoded (a slash is %2F).",
        "schema": {"type": "string"},
    }
    minutes: Json = {
        "name": "minutes",
        "in": "query",
        "description": "Length of the history in minutes.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_MINUTES, "default": MAX_MINUTES},
    }
    unknown: Json = {"404": _answer("No charger has this name.", "Error")}
    return {
        "/api/v1/chargers": _get("All chargers.", "All chargers and their readings.", "Chargers"),
        "/api/v1/chargers/{name}": _get(
            "One charger.", "The charger and its readings.", "Charger", [name], unknown
        ),
        "/api/v1/chargers/{name}/history": _get(
            "The last hour of one charger.",
            "Power, currents and temperatures; null marks a gap.",
            "History",
            [name, minutes],
            {"400": _answer(f"`minutes` is not a whole number from 1 to {MAX_MINUTES}.", "Error")}
            | unknown,
        ),
        "/api/v1/controllers": _get(
            "All go-e Controllers.", "All Controllers and their readings.", "Controllers"
        ),
        "/api/v1/controllers/{name}": _get(
            "One go-e Controller.",
            "The Controller and its readings.",
            "Controller",
            [{**name, "description": "Name of the Controller, percent-encoded."}],
            {"404": _answer("No Controller has this name.", "Error")},
        ),
        "/probe": _probe(),
        "/sd": _get("Prometheus' HTTP service discovery.", "A target for each device.", "Targets"),
        "/api/v1/influx": _get(
            "Delivery to InfluxDB.", "State of the delivery; null without InfluxDB.", "Influx"
        ),
    }


def _probe() -> Json:
    target: Json = {
        "name": "target",
        "in": "query",
        "required": True,
        "description": "Name of the charger or Controller.",
        "schema": {"type": "string", "minLength": 1},
    }
    descriptions = {
        "200": "The metrics of the charger, as Prometheus text or OpenMetrics.",
        "400": "`target` is missing or repeated.",
        "404": "No charger has this name.",
    }
    text: Json = {"text/plain": {"schema": {"type": "string"}}}
    answers = {each: {"description": of, "content": text} for each, of in descriptions.items()}
    summary = "The metrics of one charger."
    return {"get": {"summary": summary, "parameters": [target], "responses": answers}}


def _get(
    summary: str,
    description: str,
    schema: str,
    parameters: Sequence[Json] = (),
    failures: Json | None = None,
) -> Json:
    responses = {"200": _answer(description, schema)} | (failures or {})
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}


def _answer(description: str, schema: str) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _device(table: Table, more: Json | None = None) -> Json:
    text: Json = {"type": "string"}
    shown: Json = {each.name: _reading(each) for each in table.channels if not each.info_only}
    device = {
        "name": text,
        "host": text,
        "up": {
            "type": ["boolean", "null"],
            "description": "Result of the last poll; null before the first one.",
        },
        "failure": {"enum": [*REASONS, None], "description": "Reason why the last poll failed."},
        "api": {"enum": [1, 2, None]},
        "age_seconds": nullable("Seconds since the values were measured."),
        "last_success_timestamp_seconds": nullable("Unix time of the last good answer."),
        "readings": object_of({}, shown),
    }
    described = f"Labels of the {table.device} in the configuration; absent without any."
    labels: Json = mapping_of(text) | {"description": described}
    return object_of(device, {"labels": labels} | (more or {}))


def _schemas(chargers: Table, controllers: Table) -> Json:
    text: Json = {"type": "string"}
    count: Json = {"type": "integer", "minimum": 0}
    addresses: Json = {"type": "array", "items": text, "minItems": 1, "maxItems": 1}
    target = object_of(
        dict.fromkeys(("__scheme__", "__metrics_path__", "__param_target"), text),
        {f"__meta_goe_{name}": text for name in ("serial", "model", "firmware")},
    )
    values: Json = {"type": "array", "items": {"type": ["number", "null"]}}
    history = {
        "charger": text,
        "minutes": {"type": "integer", "minimum": 1, "maximum": MAX_MINUTES},
        "interval_seconds": {"type": "number", "exclusiveMinimum": 0},
        "now_timestamp_seconds": {"type": "number"},
        "timestamps_seconds": {"type": "array", "items": {"type": "number"}},
        "series": object_of(
            {}, {each.name: _parts(each, values) for each in chargers.channels if each.name in KEPT}
        ),
    }
    influx: Json = {
        **dict.fromkeys(("written", "rejected", "dropped", "damaged", "spooled"), count),
        "spool_bytes": count,
        "oldest": nullable("Unix time of the oldest queued point."),
        "failing": text,
        "failures": mapping_of(count),
    }
    return {
        "Charger": _device(chargers, {"surplus": surplus_schema()}),
        "Chargers": _list("chargers", "Charger"),
        "Controller": _device(controllers),
        "Controllers": _list("controllers", "Controller"),
        "History": object_of(history),
        "Targets": {"type": "array", "items": object_of({"targets": addresses, "labels": target})},
        "Influx": {"anyOf": [object_of(influx), {"type": "null"}]},
        "Error": object_of({"error": text}),
    }


def _list(name: str, schema: str) -> Json:
    items = {"$ref": f"#/components/schemas/{schema}"}
    return object_of({name: {"type": "array", "items": items}})


def _reading(channel: Channel) -> Json:
    """Return the schema of a channel's reading, with its help text and unit."""
    unit = channel.unit.symbol
    described: Json = {"description": f"{channel.help} In {unit}." if unit else channel.help}
    if channel.kind in (Kind.STATE, Kind.REASON):
        assert channel.states is not None
        state = {"enum": list(channel.states.names)}
        return described | object_of({"state": state, "code": {"type": "integer"}})
    if channel.kind is Kind.TEXT:
        return described | _parts(channel, {"type": "string"})
    return described | _parts(
        channel, {"type": "boolean" if channel.kind is Kind.FLAG else "number"}
    )


def _parts(channel: Channel, schema: Json) -> Json:
    """Return `schema`, or for a channel with parts an object with this schema for each part."""

    def nested(labels: Sequence[Sequence[str]]) -> Json:
        if labels == [[]]:
            return schema
        firsts = dict.fromkeys(each[0] for each in labels)
        return object_of(
            {},
            {first: nested([each[1:] for each in labels if each[0] == first]) for first in firsts},
        )

    return nested([part.label.split() for part in channel.parts])
