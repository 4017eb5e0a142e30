"""The two write endpoints of time-series servers that take line protocol, and what they answer.

v2 (`/api/v2/write`: InfluxDB 2, 1.8 and later, 3 Core, VictoriaMetrics, Telegraf) goes through
influxdb-client's synchronous service, without its retries; v1 (`/write?db=`) is for InfluxDB 1.x
before 1.8. Lines are sent gzipped, a fourth to a tenth of their size, which both take. Every
request ends by a deadline. The only module with influxdb-client.
"""

from __future__ import annotations

import base64
import email.utils
import gzip
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from goe_exporter.errors import TransportError
from goe_exporter.transport.http import Transport, bounded
from goe_exporter.transport.sockets import pools, tls_context

ANSWER_BYTES = 64 * 1024
SHORTEST_SECRET = 4
FASTEST = 1
"""Gzip's level: a batch of 8 MB in a twentieth of a second, a fifth larger than the best can do."""


class Verdict(NamedTuple):
    """What a write came to.

    `outcome` is one of `written`, `rejected` (these lines, never again), `too_large` (fewer at
    once) and `later` (keep them); `reason` says why in a word for the metrics, `words` are the
    server's own. `retry_after_seconds` and `server_time` (Unix) are the answer's, if it had them;
    `answered` is False where nothing came back.
    """

    outcome: str
    reason: str = ""
    words: str = ""
    retry_after_seconds: float | None = None
    server_time: float | None = None
    answered: bool = True


class Access(NamedTuple):
    """How a server is reached: the whole of a request in `timeout_seconds`, and its TLS."""

    timeout_seconds: float = 10.0
    verify_tls: bool = True
    ca_file: str | None = None


class WriteServer(Protocol):
    """Something that takes lines."""

    def write(self, lines: Sequence[bytes]) -> Verdict:
        """Send lines in one request; never raises."""


class ServerV2:
    """A v2 write endpoint at `url`; `token` may be "user:password" for InfluxDB 1.8."""

    def __init__(
        self,
        url: str,
        org: str,
        bucket: str,
        token: str,
        access: Access,
    ) -> None:
        tls = tls_context(access.verify_tls, access.ca_file) if url.startswith("https:") else None
        from influxdb_client import InfluxDBClient  # type: ignore[attr-defined]
        from influxdb_client.service.write_service import WriteService

        # InfluxDB 2 answers 400 to an empty org, as to bad lines, but 404 to an unknown one.
        self._org, self._bucket = org or "-", bucket
        self._secrets = _secrets(token, *token.partition(":")[2:])
        self._timeout_seconds = access.timeout_seconds
        self._client = InfluxDBClient(
            url.rstrip("/"),
            token or "-",
            timeout=int(access.timeout_seconds * 1000),
            retries=False,
            verify_ssl=access.verify_tls,
            ssl_ca_cert=access.ca_file,
            ssl_context=tls,
        )
        manager: Any = self._client.api_client.rest_client.pool_manager
        manager.pool_classes_by_scheme = pools()
        self._send, manager.request = manager.request, self._request
        self._answer: tuple[int, Mapping[str, str], bytes] = (0, {}, b"")
        self._service = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]

    def write(self, lines: Sequence[bytes]) -> Verdict:
        """Send lines in one request; never raises."""
        from influxdb_client.rest import ApiException

        def send() -> Verdict:
            try:
                self._service.post_write_with_http_info(  # type: ignore[no-untyped-call]
                    self._org,
                    self._bucket,
                    _packed(lines),
                    precision="ms",
                    content_type="text/plain; charset=utf-8",
                    content_encoding="gzip",
                    _preload_content=False,
                )
            except ApiException as error:
                if error.headers is None:
                    # What the client makes of a failure of TLS; it lets all others through.
                    raise OSError(error.reason) from error.__context__
            status, headers, body = self._answer
            return judge(status, headers, _words(body, self._secrets))

        return _tried(send, self._timeout_seconds)

    def _request(self, *arguments: Any, **options: Any) -> Any:
        """Make a request for the client, and keep of the answer what `judge` wants.

        The client would read an error's body whole, however long, and guess at its words.
        """
        response = self._send(*arguments, **options)
        self._answer = (response.status, response.headers, response.read(ANSWER_BYTES))
        response.close()
        return type(response)(status=response.status, headers=response.headers)


class ServerV1:
    """A v1 write endpoint: database `bucket` at `url`, with basic authentication if wanted."""

    def __init__(
        self,
        url: str,
        database: str,
        username: str,
        password: str,
        access: Access,
    ) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        self._secrets: tuple[str, ...] = ()
        if username:
            secret = base64.b64encode(f"{username}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {secret}"
            self._secrets = _secrets(secret, password)
        self._timeout_seconds = access.timeout_seconds
        self._target = f"/write?{urlencode({'db': database, 'precision': 'ms'})}"
        self._transport = Transport(
            url.rstrip("/"),
            headers=headers,
            deadline_seconds=access.timeout_seconds,
            verify_tls=access.verify_tls,
            ca_file=access.ca_file,
        )

    def write(self, lines: Sequence[bytes]) -> Verdict:
        """Send lines in one request; never raises."""

        def send() -> Verdict:
            answer = self._transport.post(self._target, _packed(lines))
            return judge(answer.status, answer.headers, _words(answer.body, self._secrets))

        return _tried(send, self._timeout_seconds)


def judge(status: int, headers: Mapping[str, str], body: str) -> Verdict:
    """Return what an answer means (DESIGN §7): only 204, and 200 without a body, are success."""
    lower = {key.lower(): value for key, value in headers.items()}
    server_time = _date(lower.get("date"))
    words = " ".join(body.split())[:500]
    if status == 204 or (status == 200 and not words):
        return Verdict("written", server_time=server_time)
    outcome, reason = "later", "http_status"
    if status in (400, 422):
        outcome, reason = "rejected", "rejected"
    elif status == 413:
        outcome, reason = "too_large", "too_large"
    elif status in _REASONS:
        reason = _REASONS[status]
    elif status >= 500:
        reason = "server_error"
    wait = _retry_after(lower.get("retry-after"), server_time)
    return Verdict(outcome, reason, f"HTTP {status}: {words}", wait, server_time)


_REASONS = {
    200: "unexpected_answer",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "too_many_requests",
}


def _packed(lines: Sequence[bytes]) -> bytes:
    """Return the body of a request, the same bytes for the same lines."""
    return gzip.compress(b"\n".join(lines), FASTEST, mtime=0)


def _tried(send: Callable[[], Verdict], timeout_seconds: float) -> Verdict:
    """Run a request within its deadline; a failure of the network is a `later`."""
    try:
        with bounded("the InfluxDB server", timeout_seconds):
            return send()
    except TransportError as error:
        return Verdict("later", error.reason, str(error), answered=False)


def _secrets(*texts: str) -> tuple[str, ...]:
    """Return what must not be repeated; a word or two is no secret, and would spoil sentences."""
    return tuple(text for text in texts if len(text) >= SHORTEST_SECRET)


def _words(body: bytes, secrets: Sequence[str]) -> str:
    """Return an answer's text without the secrets that a server, or a proxy, sent back."""
    text = body.decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _date(text: str | None) -> float | None:
    """Return the Unix time of a date; one without a zone is in UTC, as HTTP's all are."""
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
