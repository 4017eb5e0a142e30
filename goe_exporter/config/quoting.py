"""Quoting of values in error messages: short, on one line, and without secrets."""

from __future__ import annotations

MAX_SHOWN = 80
"""Length to which a quoted value is cut."""


def shown(value: object) -> str:
    """Return a value for an error message, cut to `MAX_SHOWN`, hidden if it may be a secret."""
    if isinstance(value, dict | list):
        return shape(value)
    try:
        text = repr(value)
    except ValueError:
        return "a number with thousands of digits"
    if "@" in text:
        return "a value with an @"  # in a URL, the password precedes it
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def one_line(text: str) -> str:
    """Return a text, escaped if it contains line breaks or control characters."""
    return text if text.isprintable() else repr(text)[1:-1]


def os_reason(error: OSError | ValueError) -> str:
    """Return the reason why a file cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, ValueError):
        return "not a valid file name"
    return error.strerror or type(error).__name__


def shape(value: object) -> str:
    """Return the kind of a value of the wrong kind, without its content."""
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else "a single value"
