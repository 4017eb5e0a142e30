"""Raw bytes as requests to the web server: its real protocol and application, without a socket."""

from __future__ import annotations

import asyncio
import atexit
import gzip
import json
import logging
from typing import Any

import h11
import uvicorn

from goe_exporter.channels import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.http_server import server
from goe_exporter.http_server.auth import Authentication
from goe_exporter.http_server.conformance import conforming
from goe_exporter.http_server.connection import Protocol
from goe_exporter.http_server.server import MAX_HEAD_BYTES, Limits
from goe_exporter.http_server.web_config import WebConfig, WebSettings
from goe_exporter.polling.view import ChargerView, Poll, PollStats
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.web.app import application
from goe_exporter.web.content import Content
from goe_exporter.web.history import History
from tests.fuzz.source import Source

_STATUS = {"car": 2, "amp": 16, "nrg": [230] * 16, "fna": "<b>&\u2028", "fwv": "055.7"}
_SNAPSHOT = Snapshot("a/b <ü>", 2, 1.8e9, 0.0, decode.decode(_STATUS, 2).readings)
_VIEW = ChargerView("a/b <ü>", "box", PollStats(up=True, polls=1), _SNAPSHOT, 1.0)
_LOOP = asyncio.new_event_loop()
atexit.register(_LOOP.close)


class _Defects(logging.Handler):
    """Collects the internal errors that the server logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


def _application() -> Any:
    past = History()
    past.take(Poll(_VIEW.name, "1", 1.8e9, _SNAPSHOT))
    exposition = Exposition(lambda: [_VIEW])
    return application(Content(lambda: [_VIEW], exposition, past))


class _Transport(asyncio.Transport):
    """Collects what the server writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = False
        self.protocol: Protocol | None = None

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: Any) -> None:
        if not self.ended:
            self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        if not self.ended and self.protocol is not None:
            _LOOP.call_soon(self.protocol.connection_lost, None)
        self.ended = True

    def abort(self) -> None:
        self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, *_limits: Any) -> None: ...


_CONFIG = uvicorn.Config(
    conforming(Authentication(_application(), WebConfig)),
    http="h11", log_config=None, access_log=False, server_header=False, proxy_headers=False,
    lifespan="off", ws="none", h11_max_incomplete_event_size=MAX_HEAD_BYTES,
)  # fmt: skip
_CONFIG.load()
_SERVER = server._Uvicorn(_CONFIG, WebSettings(None), Limits())
_SERVER.lifespan = _CONFIG.lifespan_class(_CONFIG)


def requests(data: bytes) -> None:
    """Whatever a client sends, the response is valid HTTP and no 5xx."""
    source = Source(data)
    cut, raw = source.below(256), source.rest()
    log, defects = logging.getLogger("uvicorn.error"), _Defects()
    log.addHandler(defects)
    try:
        _LOOP.run_until_complete(_exchange([raw[:cut], raw[cut:]] if cut else [raw]))
    finally:
        log.removeHandler(defects)
    assert not defects.found, defects.found


async def _exchange(pieces: list[bytes]) -> None:
    transport = _Transport()
    protocol = Protocol(_SERVER, None, 10.0)
    transport.protocol = protocol
    protocol.connection_made(transport)
    for piece in pieces:
        if not transport.ended and piece:
            protocol.data_received(piece)
    while _SERVER.server_state.tasks:
        await asyncio.wait(_SERVER.server_state.tasks, timeout=5)
        await asyncio.sleep(0)
    if not transport.ended:
        protocol.eof_received()
    transport.close()
    await asyncio.sleep(0)
    _check(transport.written, b"".join(pieces))


def _check(written: bytes, sent: bytes) -> None:
    """Assert that another parser accepts the responses, and that none is an internal error."""
    method = sent.lstrip(b"\r\n").split(b" ", 1)[0]
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="HEAD" if method == b"HEAD" else "GET", target="/",
                            headers=[("Host", "x")]))  # fmt: skip
    client.send(h11.EndOfMessage())
    client.receive_data(written)
    if not written:
        return
    body = b""
    head = client.next_event()
    assert isinstance(head, h11.Response), head
    assert head.status_code in (200, 204, 304, 400, 404, 405), head
    for name, text in head.headers:
        assert name.isascii()
        assert text.isascii() or name == b"content-language", text
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    headers = dict(head.headers)
    if headers.get(b"content-encoding") == b"gzip" and body:
        body = gzip.decompress(body)
    if headers.get(b"content-type") == b"application/json" and body:
        json.loads(body)
