"""What to check when a charger does not answer."""

from __future__ import annotations

SILENT = ("power", "wifi", "api")
_CLOUD = ("power", "wifi", "cloud")
TOPICS = {
    "dns": ("address", "power", "wifi"),
    "refused": ("api", "address"),
    "not_found": ("api", "address"),
    "wrong_device": ("device",),
    "busy": ("busy",),
    "tls": ("address",),
    "http_status": ("address", "busy"),
    "too_large": ("address",),
    "not_json": ("address",),
    "not_an_object": ("address",),
    "unauthorized": ("token",),
    "offline": _CLOUD,
    "outdated": _CLOUD,
}
"""Reason of the last failed poll → what to check, if that is not `SILENT`."""
