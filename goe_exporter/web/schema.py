"""Building blocks of the OpenAPI description: JSON schemas, parameters and operations."""

from __future__ import annotations

from collections.abc import Sequence

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


def reference(schema: str) -> Json:
    """Return a reference to the schema with this name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def list_of(schema: str) -> Json:
    """Return the schema of a list whose items have the schema with this name."""
    return {"type": "array", "items": reference(schema)}


def parameter(
    name: str, description: str, schema: Json, *, place: str = "query", required: bool = False
) -> Json:
    """Return the description of a parameter of a URL."""
    described: Json = {"name": name, "in": place, "description": description, "schema": schema}
    return described | ({"required": True} if required else {})


def answer(description: str, schema: str) -> Json:
    """Return the description of a JSON response, which has the schema with this name."""
    return {
        "description": description,
        "content": {"application/json": {"schema": reference(schema)}},
    }


def operation(summary: str, parameters: Sequence[Json], responses: Json) -> Json:
    """Return the description of a path, which is read with GET; `responses` are by status."""
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}
