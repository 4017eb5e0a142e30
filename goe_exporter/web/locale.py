"""The reader's language: which it is, and how it writes words and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from goe_exporter.web.translations import LANGUAGES, WORDS

_RANGE = re.compile(r"([A-Za-z]{2,3}|\*)(?:-[A-Za-z]{4})?(?:-([A-Za-z]{2}))?(?:-[A-Za-z0-9-]*)?")
_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)")
NO_BREAK_SPACE = "\u00a0"


class Signs(NamedTuple):
    """What stands between thousands, and before decimals."""

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
"""Language, or language and region where the region differs → its signs."""


@dataclass(frozen=True)
class Language:
    """A language with a region, such as `de-AT`, or without one."""

    tag: str

    @property
    def signs(self) -> Signs:
        """What stands between thousands and before decimals."""
        return _SIGNS.get(self.tag) or _SIGNS[self.tag[:2]]

    def say(self, key: str, *, number: int | None = None) -> str:
        """Return the word of `key`, with a number behind it if there is one."""
        word = WORDS[key][LANGUAGES.index(self.tag[:2])]
        return word if number is None else f"{word} ({number})"

    def number(self, value: float, decimals: int = 0) -> str:
        """Return a number with the reader's signs and a true minus sign."""
        text = f"{value:,.{decimals}f}"
        if not float(text.replace(",", "")):
            text = text.removeprefix("-")
        return text.translate(str.maketrans(",.-", "".join((*self.signs, "−"))))


def preferred(accept_language: str) -> Language:
    """Return the best language for an `Accept-Language` header; English if there is none of ours.

    Of equal weights the first counts (RFC 9110 §12.5.4); a weight of 0 excludes.
    """
    ranked = sorted(_ranges(accept_language), key=lambda found: -found[0])
    for _quality, language, region in ranked:
        if language == "*":
            return Language("en")
        if language in LANGUAGES:
            return Language(f"{language}-{region}" if region else language)
    return Language("en")


def _ranges(header: str) -> Iterator[tuple[float, str, str]]:
    """Yield (quality, language, region) of what is wanted; nonsense is passed over."""
    for item in header[:1000].split(","):
        tag, _semicolon, parameter = (part.strip() for part in item.partition(";"))
        found = _RANGE.fullmatch(tag)
        quality = _QUALITY.fullmatch(parameter) if parameter else None
        if found is None or (parameter and quality is None):
            continue
        weight = float(quality[1]) if quality else 1.0
        if weight:
            yield weight, found[1].lower(), (found[2] or "").upper()
