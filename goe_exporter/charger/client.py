"""The client of one charger: detect its API, read its status, write a value (docs/protocol.md §1).

Callers use API v2's terms only: `api_v1` translates the status and the writes of a v1 charger. A
charger serves one request at a time, so at most one is in flight, whichever thread sends it.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn
from urllib.parse import quote

from goe_exporter.channels.model import Table
from goe_exporter.channels.snapshot import Answer
from goe_exporter.channels.table import CHARGER
from goe_exporter.charger import api_v1, cloud, device
from goe_exporter.charger.acceptance import accepted
from goe_exporter.charger.cloud import MAX_AGE_SECONDS
from goe_exporter.errors import ChargerError, RefusedError, TransportError
from goe_exporter.transport.http import Transport
from goe_exporter.transport.steps import Exchange, Request, answered, sent

Api = Literal["auto", "1", "2"]

OLD_FILTER_KEYS = 10
_COMPACT = (",", ":")
ANSWERS_BEFORE_V2_IS_TRIED = 100
MAX_INTEGER_CHARACTERS = 300
_NOT_FOUND = (b"Not found:", b"This URI does not exist")


class Client:
    """One charger at `host` ("192.168.1.36", "box.local:8080", "https://SERIAL.api.v3.go-e.io").

    `token` is sent as a bearer token, which the vendor's cloud requires. With a `serial`, an answer
    of a charger with another serial number is a failure, and nothing is written to that charger.
    With `api` "auto", the client requests v2, and v1 if the charger answers that it has no v2; only
    an answer decides. After a failure the API is detected again, and v2 is retried regularly while
    v1 answers, because it may be enabled later. `deadline_seconds` limits a status, which may take
    several requests, and each key of a write with the check of the serial number before it.
    `environment_proxies` uses the proxy set in HTTP_PROXY, HTTPS_PROXY and NO_PROXY. `table` is
    that of the kind of device. Safe to call from several threads.
    """

    def __init__(
        self,
        host: str,
        api: Api = "auto",
        *,
        token: str | None = None,
        serial: str = "",
        deadline_seconds: float = 4.0,
        environment_proxies: bool = False,
        table: Table = CHARGER,
    ) -> None:
        self.host = host
        self._table = table
        self.serial = serial
        self._token = token
        self._fixed = None if api == "auto" else int(api)
        self._found: int | None = None
        self._old_filter = False
        self._v1_answers = 0
        self._until = 0.0
        self._age_seconds = 0.0
        self._max_age_seconds = MAX_AGE_SECONDS
        self._first = 2
        self.deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._transport = Transport(
            host,
            token=token,
            deadline_seconds=deadline_seconds,
            environment_proxies=environment_proxies,
        )

    @property
    def cloud(self) -> bool:
        """Whether the charger is reached through the vendor's cloud, which requires a token."""
        return self._token is not None

    @property
    def api(self) -> int | None:
        """The API in use: the configured or detected one, None before the first answer."""
        return self._fixed or self._found

    def status(self, keys: Sequence[str], *, max_age_seconds: int = MAX_AGE_SECONDS) -> Answer:
        """Request `keys` (in v2's terms; v1 returns everything) and return the answer.

        The answer also holds the keys that tell whose it is. The cloud is asked for values of at
        most `max_age_seconds`. Raises `ChargerError`, also for values that are too old.
        """
        self._lock.acquire()
        return answered(self._status_and_release(keys, max_age_seconds), sent)

    def begin(self, keys: Sequence[str]) -> Exchange[Answer] | None:
        """Return what `status` does for a `Loop`, to be run at once; None if a thread must wait.

        A thread must wait for TLS and proxies, and while the charger serves another request.
        """
        if not self._transport.direct or not self._lock.acquire(blocking=False):
            return None
        return self._status_and_release(keys, MAX_AGE_SECONDS)

    def write(self, api: int, key: str, value: object, *, serial_checked: bool = False) -> None:
        """Write `value` to `key`, both in v2's terms, through `api`.

        With a `serial`, the serial number is read immediately before, unless the caller has just
        checked it: `serial_checked`. Raises `RefusedError` with
        the charger's message, or `ChargerError`. v1 refuses a write by leaving the value unchanged,
        which only a read-back shows.
        """
        for target in write_targets(api, key, value):
            with self._lock, self._transport.one_address():
                try:
                    self._until = time.monotonic() + self.deadline_seconds
                    if self.serial and not serial_checked:
                        answered(self._request(api, self._with_identity(("typ",))), sent)
                    status, answer, text = self._get_any(target)
                    if api == 1:
                        _as_object(answer)
                except ChargerError as error:
                    raise self._named(error) from error
            if api == 1:
                continue
            if not accepted(status, answer, text, key):
                message = _refusal(answer, text, key, self._without_token)
                raise RefusedError(f"{self.host} refused {key}={json.dumps(value)}: {message}")

    def _status_and_release(self, keys: Sequence[str], max_age_seconds: int) -> Exchange[Answer]:
        """Request a status by the API that answered last, first v2; if it is lacking, the other."""
        try:
            keys = self._with_identity(keys)
            self._until = time.monotonic() + self.deadline_seconds
            self._max_age_seconds = max_age_seconds
            api = self._fixed or self._next_api()
            try:
                return (yield from self._request(api, keys))
            except ChargerError as error:
                if self._fixed:
                    raise
                if self._found == 1:
                    self._found = None  # the next answer may be of another charger, which has v2
                if error.reason != "not_found":
                    raise
            self._first = 3 - api  # if the deadline leaves no time for it now
            return (yield from self._request(3 - api, keys))
        except ChargerError as error:
            raise self._named(error) from error
        finally:
            self._lock.release()

    def _with_identity(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Return `keys` with those that tell whose status the answer is."""
        witnesses = self._table.witnesses
        own = sorted(witnesses) if witnesses.isdisjoint(keys) else ()
        serial = ("sse",) if self.serial and "sse" not in keys else ()
        return (*keys, *own, *serial) if own or serial else tuple(keys)

    def _named(self, error: ChargerError) -> ChargerError:
        """Add the host to an error about an answer; network errors have it already."""
        text = self._without_token(str(error))
        return ChargerError(error.reason, text if self.host in text else f"{self.host}: {text}")

    def _without_token(self, text: str) -> str:
        """Return a text without the token, which a proxy or the cloud may echo."""
        return text.replace(self._token, "[token]") if self._token else text

    def _next_api(self) -> int:
        """Return the API that answered last, or v2 if it is time to retry it."""
        api, self._first = self._found or self._first, 2
        if self._v1_answers >= ANSWERS_BEFORE_V2_IS_TRIED:
            api, self._v1_answers = 2, 0
        return api

    def _request(self, api: int, keys: Sequence[str]) -> Exchange[Answer]:
        self._age_seconds = 0.0
        if api == 1:
            raw = yield from self._object("/status")
        else:
            # `filter=a,b`, or `filter=["a","b"]` of ten keys with firmware before 051.4. Each
            # firmware answers {} to the form of the other.
            raw = yield from self._filtered(keys, self._old_filter)
            if not raw and keys:
                raw = yield from self._filtered(keys, not self._old_filter)
                self._old_filter ^= bool(raw)
        device.check(raw, self.serial, self._without_token, self._table)
        status = api_v1.status(raw) if api == 1 else raw
        self._found = api
        self._v1_answers = self._v1_answers + 1 if api == 1 else 0
        if self._age_seconds > MAX_AGE_SECONDS:
            raise ChargerError("outdated", f"the values are {self._age_seconds:.0f} s old")
        return Answer(api, status, api == 1, self._age_seconds)

    @property
    def _age_limit(self) -> str:
        """The parameter with which the cloud returns values of this age, in seconds."""
        return f"&age={self._max_age_seconds}" if self.cloud else ""

    def _filtered(self, keys: Sequence[str], old_form: bool) -> Exchange[dict[str, object]]:
        if old_form:
            return self._filtered_old(keys)
        return self._object(f"/api/status?filter={','.join(keys)}{self._age_limit}")

    def _filtered_old(self, keys: Sequence[str]) -> Exchange[dict[str, object]]:
        merged: dict[str, object] = {}
        for start in range(0, len(keys), OLD_FILTER_KEYS):
            some = json.dumps(keys[start : start + OLD_FILTER_KEYS], separators=_COMPACT)
            target = f"/api/status?filter={quote(some)}{self._age_limit}"
            merged |= yield from self._object(target)
        return merged

    def _object(self, target: str) -> Exchange[dict[str, object]]:
        """Return the JSON object of a 200, or of a 400, the status of PRO for an unknown key."""
        try:
            status, headers, body = yield Request(self._transport, target, self._until)
        except TransportError as error:
            raise ChargerError(error.reason, str(error)) from error
        self._age_seconds = max(self._age_seconds, cloud.age_seconds(headers))
        if status == 200:
            return _as_object(_parse(body))
        if status == 400:
            with contextlib.suppress(ChargerError):
                return _as_object(_parse(body))
        raise _failure(status, body)

    def _get_any(self, target: str) -> tuple[int, object, str]:
        """Return the answer to a write: its status, its JSON (None if it is not JSON), its text."""
        try:
            status, _headers, body = sent(Request(self._transport, target, self._until))
        except TransportError as error:
            raise ChargerError(error.reason, str(error)) from error
        text = body.decode("utf-8", "replace").strip()
        if status not in (200, 202, 400, 422, 500) or "api lock" in text:
            raise _failure(status, body)
        try:
            return status, _parse(body), text
        except ChargerError:
            return status, None, text


def write_targets(api: int, key: str, value: object) -> list[str]:
    """Return the request targets that write `value` to `key`, in v2's terms, through `api`.

    Raises `UsageError` for a key or value that API v1 cannot write.
    """
    if api == 1:
        return [f"/mqtt?payload={payload}" for payload in api_v1.writes(key, value)]
    return [f"/api/set?{key}={quote(json.dumps(value, separators=_COMPACT), safe='')}"]


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> float:
    return int(text) if len(text) <= MAX_INTEGER_CHARACTERS else float(text)


_WHITE_SPACE = " \t\n\r"
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_DECODE_LONG: Callable[[str], object]
_DECODE_LONG = json.JSONDecoder(parse_constant=_no_constant, parse_int=_integer).decode
"""Also reads integers that are too long for Python's `int`, but is slower."""


def _parse(body: bytes) -> object:
    """Parse JSON strictly; the text "not found" means that the charger lacks the API."""
    try:
        return _decoded(body.removeprefix(codecs.BOM_UTF8).decode())
    except (ValueError, RecursionError) as error:
        if body.startswith(_NOT_FOUND):
            raise ChargerError("not_found", _summary(body)) from error
        if not body:
            raise ChargerError("truncated", "empty answer") from error
        raise ChargerError("not_json", f"not JSON: {_summary(body)}") from error


def _decoded(text: str) -> object:
    try:
        if text.startswith("{"):
            # Unlike `decode`, this searches for white space only if something is there.
            value, end = _DECODER.raw_decode(text)
            if not text[end:].strip(_WHITE_SPACE):
                return value
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _DECODE_LONG(text)


def _as_object(answer: object) -> dict[str, object]:
    if not isinstance(answer, dict):
        raise ChargerError("not_an_object", f"expected a JSON object, got {type(answer).__name__}")
    return answer


def _refusal(answer: object, text: str, key: str, cleaned: Callable[[str], str]) -> str:
    """Return the charger's message of a refusal, or the keys of an object without a message.

    A status contains keys and passwords (docs/protocol.md §3.13). The message is `cleaned` before
    it is cut, or half a token might remain.
    """
    if not isinstance(answer, dict):
        return cleaned(_summary(text.encode()))
    message = answer.get(key) or cloud.refusal(answer, key)
    if isinstance(message, str) and message:
        return repr(cleaned(message)[: device.MAX_LENGTH])
    return device.object_with(answer, cleaned)


_BY_STATUS = {401: "unauthorized", 403: "offline", 404: "not_found"}


def _failure(status: int, body: bytes) -> ChargerError:
    """Return the error that an unsuccessful answer means (docs/protocol.md §1)."""
    text = body.decode("utf-8", "replace")
    reason = _BY_STATUS.get(status, "http_status")
    if status == 404 and "outdated" in text:
        reason = "outdated"
    elif status >= 500 and "api lock" in text:
        reason = "busy"
    return ChargerError(reason, f"HTTP {status}: {_summary(body)}")


def _summary(body: bytes) -> str:
    """Return a body if it is a plain sentence, else its size and type.

    Other bodies may contain keys and passwords, and the result is logged (docs/protocol.md §3.13).
    """
    text = body.decode("utf-8", "replace").strip()
    if device.SENTENCE.fullmatch(text):
        return repr(text)
    kind = "HTML" if text.startswith("<") else f"beginning with {text[:1]!r}"
    return f"{len(body)} bytes, {kind}" if text else "empty"
