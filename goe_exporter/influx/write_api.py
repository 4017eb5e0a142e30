"""The write endpoints of time-series servers that accept line protocol, and their answers.

v2 (`/api/v2/write`: InfluxDB 2, 1.8 and later, 3 Core, VictoriaMetrics, Telegraf) has the request
of influxdb-client's `WriteService`; v1 (`/write?db=`) is for InfluxDB 1.x before 1.8. Lines are
sent gzipped, which both accept. The only module that imports influxdb-client.
"""

from __future__ import annotations

import email.utils
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from goe_exporter.errors import TransportError
from goe_exporter.transport.http import Transport, credentials

MAX_MESSAGE_LENGTH = 500
MIN_SECRET_LENGTH = 4
GZIP_LEVEL = 1
"""The fastest: 8 MB take a twentieth of a second, and become a fifth larger than at the best."""


MIN_WINDOW_BITS = 9
TABLE_BITS = zlib.MAX_WBITS - zlib.DEF_MEM_LEVEL
"""Difference between the window's size and zlib's level of memory, both as powers of two."""

GZIP = 16
"""Added to the size of the window for the format of gzip."""


class WriteResult(NamedTuple):
    """The result of a write.

    `outcome` is `written`, `rejected` (the server does not accept these lines), `too_large` (send
    fewer at once) or `retry` (keep them). `reason` is the cause as a label of the metrics,
    `message` the server's text. `retry_after_seconds` and `server_time` (Unix) are from the
    answer's headers; `answered` is False if there was no answer.
    """

    outcome: str
    reason: str = ""
    message: str = ""
    retry_after_seconds: float | None = None
    server_time: float | None = None
    answered: bool = True

    @property
    def too_slow(self) -> bool:
        """Whether a smaller request may succeed."""
        return self.reason in ("timeout", "truncated")

    @property
    def server_failed(self) -> bool:
        """Whether the server failed in a way that a line may have caused."""
        return self.too_slow or self.reason == "server_error"


class Access(NamedTuple):
    """How to reach a server: the time limit of a request, and TLS."""

    timeout_seconds: float = 10.0
    verify_tls: bool = True
    ca_file: str | None = None


class WriteServer(Protocol):
    """A server that accepts lines."""

    def write(self, lines: Sequence[bytes]) -> WriteResult:
        """Send lines in one request; never raises."""


class _Server:
    """A server at `url`, whose messages are reported without `secrets`.

    `_target` and `_headers` are those of every request.
    """

    _target = ""
    _headers: Mapping[str, str] = {}

    def __init__(
        self, url: str, access: Access, *secrets: str, login: tuple[str, str] | None = None
    ) -> None:
        self._transport = Transport(
            url.rstrip("/"),
            login=login,
            deadline_seconds=access.timeout_seconds,
            verify_tls=access.verify_tls,
            ca_file=access.ca_file,
        )
        # To hide a very short secret would only garble messages.
        self._secrets = [text for text in secrets if len(text) >= MIN_SECRET_LENGTH]

    def write(self, lines: Sequence[bytes]) -> WriteResult:
        """Send lines in one request, the same bytes for the same lines; never raises."""
        body = _gzipped(b"\n".join(lines))
        try:
            status, headers, answer = self._transport.post(self._target, body, self._headers)
        except TransportError as error:
            return WriteResult("retry", error.reason, str(error), answered=False)
        text = answer.decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return result(status, headers, text)


class ServerV2(_Server):
    """A v2 write endpoint at `url`; `token` may be "user:password" for InfluxDB 1.8.

    influxdb-client makes one request, which goes to `request` in place of its `PoolManager`. Its
    target and headers are then sent with every body: the client has no deadline, reads and
    interprets the whole answer of an error, and takes a third of the time of a request.
    """

    def __init__(self, url: str, org: str, bucket: str, token: str, access: Access) -> None:
        from influxdb_client import InfluxDBClient, WriteService  # type: ignore[attr-defined]  # noqa: PLC0415

        super().__init__(url, access, token, *token.partition(":")[2:])
        client: Any = InfluxDBClient(self._transport.host, token or "-").api_client
        client.rest_client.pool_manager = self
        WriteService(client).post_write(  # type: ignore[no-untyped-call]
            # InfluxDB 2 answers 400 to an empty org, as to bad lines, but 404 to an unknown one.
            org or "-",
            bucket,
            b"",
            precision="ms",
            content_type="text/plain; charset=utf-8",
            content_encoding="gzip",
        )

    def request(
        self, _method: str, url: str, *, headers: Mapping[str, str], **_: Any
    ) -> SimpleNamespace:
        """Take the request of influxdb-client, and answer it."""
        self._target, self._headers = url.removeprefix(self._transport.host), headers
        return SimpleNamespace(status=204, reason="", data=b"")


class ServerV1(_Server):
    """A v1 write endpoint: database `bucket` at `url`, with basic authentication if configured."""

    def __init__(
        self, url: str, database: str, username: str, password: str, access: Access
    ) -> None:
        login = (username, password) if username else None
        super().__init__(url, access, credentials(*login) if login else "", password, login=login)
        self._target = f"/write?{urlencode({'db': database, 'precision': 'ms'})}"
        self._headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}


def _gzipped(data: bytes) -> bytes:
    """Compress data, with a window and tables of its size.

    For the usual 32 kB, zlib clears memory for longer than it takes to compress a point.
    """
    bits = min(max(len(data).bit_length(), MIN_WINDOW_BITS), zlib.MAX_WBITS)
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP + bits, bits - TABLE_BITS)
    return compressor.compress(data) + compressor.flush()


def result(status: int, headers: Mapping[str, str], body: str) -> WriteResult:
    """Return what an answer means: only 204, and 200 without a body, are success."""
    lower = {key.lower(): value for key, value in headers.items()}
    server_time = _date(lower.get("date"))
    text = " ".join(body.split())[:MAX_MESSAGE_LENGTH]
    if status == 204 or (status == 200 and not text):
        return WriteResult("written", server_time=server_time)
    outcome, reason = "retry", "http_status"
    if status in (400, 422):
        outcome = reason = "rejected"
    elif status == 413:
        outcome = reason = "too_large"
    elif status in _REASONS:
        reason = _REASONS[status]
    elif status >= 500:
        reason = "server_error"
    wait = _retry_after(lower.get("retry-after"), server_time)
    return WriteResult(outcome, reason, f"HTTP {status}: {text}", wait, server_time)


_REASONS = {
    200: "unexpected_answer",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "too_many_requests",
}


def _date(text: str | None) -> float | None:
    """Return the Unix time of an HTTP date; one without a time zone is in UTC."""
    try:
        moment = email.utils.parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _retry_after(text: str | None, server_time: float | None) -> float | None:
    """Return the seconds of a `Retry-After`, given as seconds or as a date."""
    if not text:
        return None
    number = text.strip()
    if number.isdecimal() and len(number) < 10:
        return float(number)
    until = _date(text)
    if until is None or server_time is None:
        return None
    return max(until - server_time, 0.0)
