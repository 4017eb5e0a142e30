"""Escapes untrusted text for a terminal."""

from __future__ import annotations


def printable(text: str, max_length: int = 200) -> str:
    """Return `text` with control characters escaped, cut to `max_length` characters first."""
    if len(text) > max_length:
        text = text[: max_length - 1] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
