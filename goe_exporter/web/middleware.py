"""Middleware of the web application: how paths are routed, and the headers of every response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NO_STORE = "no-store"


def policy(frame_ancestors: Sequence[str], style: str = "'self'") -> str:
    """Return the content security policy of a page whose styles come from the source `style`."""
    return (
        f"default-src 'none'; script-src 'self'; style-src {style}; connect-src 'self';"
        " img-src 'self' data:; base-uri 'none'; form-action 'none';"
        f" frame-ancestors {' '.join(frame_ancestors)}"
    )


def undecoded_path(app: ASGIApp) -> ASGIApp:
    """Return middleware that routes by the path as sent: `%2F` is not treated as a slash."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        raw: Any = scope.get("raw_path")
        if raw:
            scope = dict(scope, path=raw.decode("ascii", "replace"))
        await app(scope, receive, send)

    return call


def security_headers(app: ASGIApp, frame_ancestors: Sequence[str]) -> ASGIApp:
    """Return middleware that adds the security headers to every response.

    A response without a `Cache-Control` header must not be cached; one without a policy gets that
    of the live page.
    """
    of_pages = policy(frame_ancestors)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Content-Security-Policy", of_pages)
                headers.setdefault("Cache-Control", NO_STORE)
            await send(message)

        await app(scope, receive, secured)

    return call
