"""Renders responses one after the other, for all requests that wait for the same one.

Python executes one thread at a time. Renderings in many threads would be ready no earlier, and each
thread would delay the polls further.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import threading
from collections.abc import Awaitable, Callable, Hashable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from goe_exporter.web.representation import combined, encoding

MIN_COMPRESSED_BYTES = 1024
COMPRESSION_LEVEL = 4

Handler = Callable[[Request], Response]
Variant = Callable[[Request], Hashable]


def _only_one(_request: Request) -> Hashable:
    return None


class Renderer:
    """Calls handlers in one thread at a time, and compresses what they return.

    A request never gets a response whose rendering began before the request arrived: while one is
    rendered, all requests for the same response wait for the next rendering, and share it. Belongs
    to one event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, _Rendering] = {}
        self._busy = False

    def shared(
        self, handler: Handler, variant: Variant = _only_one
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return a coroutine function that shares what `handler` returns for a path and query.

        `variant` returns what the response depends on in the headers of a request, apart from the
        compression.
        """

        async def respond(request: Request) -> Response:
            key = request.scope["path"], request.scope["query_string"], variant(request)
            compress = encoding(combined(request.headers, "accept-encoding")) == "gzip"
            return await self._response(key, partial(handler, request), compress)

        return respond

    async def _response(
        self, key: Hashable, render: Callable[[], Response], compress: bool
    ) -> Response:
        rendering = self._waiting.get(key)
        if rendering is None:
            rendering = self._waiting[key] = _Rendering(render)
        rendering.compress |= compress
        self._begin_next()
        # Shielded, because the other requests wait for it too.
        await asyncio.shield(rendering.ended)
        return rendering.response(compress)

    def _begin_next(self) -> None:
        """Begin the rendering that has waited the longest, unless one is in progress."""
        if self._waiting and not self._busy:
            rendering = self._waiting.pop(next(iter(self._waiting)))
            loop = asyncio.get_running_loop()
            # A daemon, because a large rendering must not delay the exit.
            threading.Thread(
                target=self._render, args=(rendering, loop), name="render", daemon=True
            ).start()
            self._busy = True

    def _render(self, rendering: _Rendering, loop: asyncio.AbstractEventLoop) -> None:
        rendering.render()
        with contextlib.suppress(RuntimeError):  # the exporter stops, and the loop is closed
            loop.call_soon_threadsafe(self._end, rendering)

    def _end(self, rendering: _Rendering) -> None:
        self._busy = False
        rendering.end()
        self._begin_next()


class _Rendering:
    """One call of `render`; `compress` is whether a request that waits for it accepts gzip."""

    def __init__(self, render: Callable[[], Response]) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self.compress = False
        self._render = render
        self._rendered = Response()
        self._compressed = b""
        self._error: Exception | None = None

    @property
    def _large(self) -> bool:
        return len(self._rendered.body) >= MIN_COMPRESSED_BYTES

    def render(self) -> None:
        """Render, and compress the body once; an error is raised in the requests that wait."""
        try:
            self._rendered = self._render()
            if self.compress and self._large:
                self._compressed = gzip.compress(self._rendered.body, COMPRESSION_LEVEL, mtime=0)
        except Exception as error:  # noqa: BLE001, the top of a thread
            self._error = error

    def end(self) -> None:
        """Wake the requests that wait."""
        if self._error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(self._error)

    def response(self, compress: bool) -> Response:
        """Return the response to one of the requests."""
        rendered = self._rendered
        headers = {
            name: text for name, text in rendered.headers.items() if name != "content-length"
        }
        response = Response(
            self._compressed if compress and self._large else rendered.body,
            rendered.status_code,
            headers,
        )
        if self._large:
            response.headers.add_vary_header("Accept-Encoding")
            if compress:
                response.headers["Content-Encoding"] = "gzip"
        return response
