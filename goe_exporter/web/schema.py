"""Building blocks of the JSON schemas in the OpenAPI description."""

from __future__ import annotations

Json = dict[str, object]


def object_of(required: Json, optional: Json | None = None) -> Json:
    """Return the schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def mapping_of(schema: Json) -> Json:
    """Return the schema of an object whose keys are names, each with a value of this schema."""
    return {"type": "object", "additionalProperties": schema}


def nullable(description: str) -> Json:
    """Return the schema of a number that may be unknown."""
    return {"type": ["number", "null"], "description": description}
