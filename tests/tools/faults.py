"""The simulator's faults, and the failure reason that each must cause (docs/protocol.md §1)."""

from __future__ import annotations

REASON_BY_FAULT = {
    "array": "not_an_object",
    "busy": "busy",
    "deep": "not_json",
    "drip": "timeout",
    "empty": "truncated",
    "foreign": "wrong_device",
    "hang": "timeout",
    "html": "not_json",
    "huge": "too_large",
    "invalid_utf8": "not_json",
    "nan": "not_json",
    "not_found": "not_found",
    "null": "not_an_object",
    "redirect": "http_status",
    "reset": "truncated",
    "string": "not_an_object",
    "truncated": "truncated",
    "unauthorized": "unauthorized",
    "unavailable": "http_status",
}
HARMLESS = {"bad_request"}
"""Faults that still give an answer: status 400 with a JSON object, as PRO does."""
