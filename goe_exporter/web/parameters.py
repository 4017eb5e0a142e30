"""Numbers in the parameters of a URL. Pure."""

from __future__ import annotations


def whole_number(name: str, text: str, least: int, most: int) -> int:
    """Return the number in a parameter; raises `ValueError` with the name and the rule."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    number = int(text) if is_number else least - 1
    if not least <= number <= most:
        rule = f"must be a whole number from {least} to {most}"
        raise ValueError(f"{name}: {rule}, not {text!r:.80}")
    return number
