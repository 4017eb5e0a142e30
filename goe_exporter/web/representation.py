"""Which representation a client gets: compression, language, and whether it has the page."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from goe_exporter.prometheus.negotiation import choices
from goe_exporter.web.locale import Locale, preferred

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def encoding(accept_encoding: str) -> str:
    """Return `gzip` if an `Accept-Encoding` header prefers it to `identity`, else `identity`.

    A client that accepts neither gets `identity`, as RFC 9110 §12.4.1 allows. `x-gzip` is gzip
    (§8.4.1.3).
    """
    weights = {choice.name: choice.weight for choice in choices(accept_encoding)}
    others = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", others))
    return "gzip" if gzip and gzip >= weights.get("identity", others) else "identity"


def is_current(if_none_match: str, tag: str) -> bool:
    """Return whether an `If-None-Match` header has an entity tag, or is `*`.

    The comparison is weak (RFC 9110 §13.1.2): `W/"a"` and `"a"` are the same.
    """
    known = _TAG.findall(if_none_match)
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in known


def combined(headers: Headers, name: str) -> str:
    """Return a list header that may have been sent in several lines (RFC 9110 §5.3)."""
    return ", ".join(headers.getlist(name))


def reader_locale(headers: Headers) -> Locale:
    """Return the locale that the reader of a page prefers."""
    return preferred(combined(headers, "accept-language"))
