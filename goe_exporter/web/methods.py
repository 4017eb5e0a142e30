"""The methods of the web application: GET and HEAD to read, OPTIONS to list them."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "HEAD", "OPTIONS")


class ReadOnlyRoute(Route):
    """A route for GET and HEAD that answers OPTIONS with the allowed methods."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; any other method gets 405."""
        app = _allowed() if scope["method"] == "OPTIONS" else super().handle
        await app(scope, receive, send)


def options_of_server(app: ASGIApp) -> ASGIApp:
    """Return middleware that answers `OPTIONS *`, which is about the whole server."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await (_allowed() if scope["path"] == "*" else app)(scope, receive, send)

    return call


def _allowed() -> Response:
    return Response(status_code=204, headers={"Allow": ", ".join(METHODS)})
