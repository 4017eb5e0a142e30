"""The web application on a server in this process, and an HTTP client for tests."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

import uvicorn
from servers import PATIENCE_SECONDS, wait_for

from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.web.app import NO_FRAMES, application
from goe_exporter.web.content import Content
from goe_exporter.web.history import History
from goe_exporter.web.paths import AT_ROOT, Paths


class Site:
    """A server of the web application on a free port of loopback, in a thread.

    `more` is what else its content has.
    """

    def __init__(
        self,
        views: Callable[[], Sequence[ChargerView]],
        history: History | None = None,
        port: int = 0,
        paths: Paths = AT_ROOT,
        frame_ancestors: Sequence[str] = NO_FRAMES,
        **more: Any,
    ) -> None:
        content = Content(views, Exposition(views), history or History(), **more)
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        config = uvicorn.Config(
            application(content, paths, frame_ancestors),
            log_config=None,
            lifespan="off",
            ws="none",
        )
        self._server = uvicorn.Server(config)
        sockets = [self._socket]
        self._thread = threading.Thread(target=self._server.run, args=(sockets,))

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started, "the web server")
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    @property
    def requests(self) -> int:
        """The number of requests that are being answered."""
        return len(self._server.server_state.tasks)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Send one request over a new connection."""
        return ask(self.port, path, method, **headers)


class Reply:
    """A response: status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.type = response.headers.get("Content-Type", "")


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, headers=named)
        return Reply(connection.getresponse())
    finally:
        connection.close()
