"""The OpenAPI description of the JSON API, generated from the channel tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from goe_exporter import __version__
from goe_exporter.channels.model import Channel, Kind, Table
from goe_exporter.errors import REASONS
from goe_exporter.web import session_api
from goe_exporter.web.history import CHANNELS as KEPT
from goe_exporter.web.history import MAX_MINUTES
from goe_exporter.web.schema import (
    Json,
    answer,
    list_of,
    mapping_of,
    nullable,
    object_of,
    operation,
    parameter,
)
from goe_exporter.web.surplus import surplus_schema


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
    text: Json = {"type": "string"}
    name = parameter(
        "name", "Name of the charger, percent-encoded (a slash is %2F).", text,
        place="path", required=True,
    )  # fmt: skip
    minutes = parameter(
        "minutes",
        "Length of the history in minutes.",
        {"type": "integer", "minimum": 1, "maximum": MAX_MINUTES, "default": MAX_MINUTES},
    )
    unknown: Json = {"404": answer("No charger has this name.", "Error")}
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
            {"400": answer(f"`minutes` is not a whole number from 1 to {MAX_MINUTES}.", "Error")}
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
            {"404": answer("No Controller has this name.", "Error")},
        ),
        "/probe": _probe(),
        "/sd": _get("Prometheus' HTTP service discovery.", "A target for each device.", "Targets"),
        "/api/v1/influx": _get(
            "Delivery to InfluxDB.", "State of the delivery; null without InfluxDB.", "Influx"
        ),
    }


def _probe() -> Json:
    name: Json = {"type": "string", "minLength": 1}
    target = parameter("target", "Name of the charger or Controller.", name, required=True)
    descriptions = {
        "200": "The metrics of the charger, as Prometheus text or OpenMetrics.",
        "400": "`target` is missing or repeated.",
        "404": "No charger has this name.",
    }
    text: Json = {"text/plain": {"schema": {"type": "string"}}}
    answers: Json = {
        each: {"description": of, "content": text} for each, of in descriptions.items()
    }
    return operation("The metrics of one charger.", [target], answers)


def _get(
    summary: str,
    description: str,
    schema: str,
    parameters: Sequence[Json] = (),
    failures: Json | None = None,
) -> Json:
    responses = {"200": answer(description, schema)} | (failures or {})
    return operation(summary, parameters, responses)


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
        "Chargers": object_of({"chargers": list_of("Charger")}),
        "Controller": _device(controllers),
        "Controllers": object_of({"controllers": list_of("Controller")}),
        "History": object_of(history),
        "Targets": {"type": "array", "items": object_of({"targets": addresses, "labels": target})},
        "Influx": {"anyOf": [object_of(influx), {"type": "null"}]},
        "Error": object_of({"error": text}),
    }


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
