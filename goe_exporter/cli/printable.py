"""Untrusted text made safe for a terminal."""

from __future__ import annotations


def printable(text: str, longest: int = 200) -> str:
    """Return `text` with control characters escaped and cut to `longest` characters."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
