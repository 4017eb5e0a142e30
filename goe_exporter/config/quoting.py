"""How values are quoted in error messages: short, on one line, and without secrets."""

from __future__ import annotations

MAX_SHOWN = 80
"""Characters of a value that an error message repeats."""


def shown(value: object) -> str:
    """Return a value as an error shows it, not too long, and without what may be a secret in it."""
    if isinstance(value, dict | list):
        return shape(value)
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    if "@" in text:
        return "a text with an @"  # what stands before it in a URL is a password
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def one_line(text: str) -> str:
    """Return a text, escaped if it would break a line or colour a terminal."""
    return text if text.isprintable() else repr(text)[1:-1]


def os_reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be read, in a few words."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, ValueError):
        return "no name of a file"
    return error.strerror or type(error).__name__


def shape(value: object) -> str:
    """Return what kind of thing stands where another was wanted; its content may be anything."""
    if isinstance(value, dict):
        return "keys and values"
    return "a list" if isinstance(value, list) else "a single value"
