"""The reader's locale: its language, the translated texts, and how it writes numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

LANGUAGES = ("en", "de")
"""Languages with a file of texts in `translations`."""

NO_BREAK_SPACE = "\u00a0"
MAX_HEADER_LENGTH = 1000

_RANGE = re.compile(r"([A-Za-z]{2,3}|\*)(?:-[A-Za-z]{4})?(?:-([A-Za-z]{2}))?(?:-[A-Za-z0-9-]*)?")
_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)")


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
    ranked = sorted(_ranges(accept_language), key=lambda found: -found[0])
    for _quality, language, region in ranked:
        if language == "*":
            break
        if language in LANGUAGES:
            return Locale(f"{language}-{region}" if region else language)
    return Locale("en")


def _ranges(header: str) -> Iterator[tuple[float, str, str]]:
    """Yield (quality, language, region) of each language range; skip malformed ones."""
    for item in header[:MAX_HEADER_LENGTH].split(","):
        tag, _semicolon, parameter = (part.strip() for part in item.partition(";"))
        found = _RANGE.fullmatch(tag)
        quality = _QUALITY.fullmatch(parameter) if parameter else None
        if found is None or (parameter and quality is None):
            continue
        weight = float(quality[1]) if quality else 1.0
        if weight:
            yield weight, found[1].lower(), (found[2] or "").upper()
