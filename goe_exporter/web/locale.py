"""The reader's locale: its language, the translated texts, and how it writes numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from goe_exporter.prometheus.negotiation import choices

LANGUAGES = ("en", "de")
"""Languages with a file of texts in `translations`."""

NO_BREAK_SPACE = "\u00a0"
MAX_HEADER_LENGTH = 1000

_RANGE = re.compile(r"([a-z]{2,3})(?:-[a-z]{4})?(?:-([a-z]{2}))?(?:-[a-z0-9-]*)?")


@cache
def translations(language: str) -> Mapping[str, str]:
    """Return the texts in `translations/LANGUAGE.json` by `group.name`.

    The names of states and errors are those in `channels.codes`. `{}` stands for a value.
    """
    file = resources.files("goe_exporter.web") / "translations" / f"{language}.json"
    groups = json.loads(file.read_text("utf-8"))
    return {f"{group}.{name}": groups[group][name] for group in groups for name in groups[group]}


class Signs(NamedTuple):
    """The thousands separator and the decimal mark."""

    group: str
    decimal: str


_SIGNS = {
    "en": Signs(",", "."),
    "en-ZA": Signs(NO_BREAK_SPACE, ","),
    "de": Signs(".", ","),
    "de-AT": Signs(NO_BREAK_SPACE, ","),
    "de-CH": Signs("’", "."),
    "de-LI": Signs("’", "."),
}
"""Signs by language, and by language and region where the region differs."""


@dataclass(frozen=True)
class Locale:
    """A language with a region, such as `de-AT`, or without one."""

    tag: str

    @property
    def signs(self) -> Signs:
        """The thousands separator and the decimal mark."""
        return _SIGNS.get(self.tag) or _SIGNS[self.tag[:2]]

    def text(self, key: str, *, code: int | None = None) -> str:
        """Return the text of `key`, followed by `code` in parentheses if there is one."""
        found = translations(self.tag[:2])[key]
        return found if code is None else f"{found} ({code})"

    def number(self, value: float, decimals: int = 0) -> str:
        """Return a number with the locale's signs and a true minus sign."""
        text = f"{value:,.{decimals}f}"
        if not float(text.replace(",", "")):
            text = text.removeprefix("-")
        return text.translate(str.maketrans(",.-", "".join((*self.signs, "−"))))


def preferred(accept_language: str) -> Locale:
    """Return the best supported locale for an `Accept-Language` header, English by default.

    Of equal weights the first wins (RFC 9110 §12.5.4); a weight of 0 excludes a language.
    """
    accepted = choices(accept_language[:MAX_HEADER_LENGTH])
    for choice in sorted(accepted, key=lambda each: -each.weight):
        if choice.name == "*" or not choice.weight:
            break
        found = None if choice.parameters else _RANGE.fullmatch(choice.name)
        if found and found[1] in LANGUAGES:
            return Locale(f"{found[1]}-{found[2].upper()}" if found[2] else found[1])
    return Locale("en")
