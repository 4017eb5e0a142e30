"""One charger's two APIs (PROTOCOL.md §1): which one it has, what it says, how to write.

Above this module there is one vocabulary, v2's: a v1 charger's status and writes are translated
here by `dialect_v1`. A charger serves one request at a time, so one is in flight, whoever asks.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn
from urllib.parse import quote

from goe_exporter.channels.model import Answer
from goe_exporter.charger import api_v1
from goe_exporter.errors import ChargerError, RefusedError, TransportError
from goe_exporter.transport.http import HttpAnswer, Transport

Api = Literal["auto", "1", "2"]

OLD_FILTER_KEYS = 10
ANSWERS_BEFORE_V2_IS_TRIED = 100
HTTP_ACCEPTED = 202
LONGEST_REFUSAL = 200
_COUNTED = re.compile(r"[1-9][0-9]* succeeded and 0 failed\.?")
_NOT_FOUND = (b"Not found:", b"This URI does not exist")
_SENTENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,.:;'/_-]{0,79}")


class Client:
    """One charger at `host` ("192.168.1.36", "box.local:8080", "https://SERIAL.api.v3.go-e.io").

    `token` is sent as a bearer token, which the vendor's cloud wants. `api` "auto" asks v2, and
    v1 where the charger says that it has no v2; only an answer decides. A failure opens the
    question again, and v2 is asked for now and then while v1 answers, for it may be switched on.
    `deadline_seconds` bounds a status, however many requests it takes, and each request of a
    write; `environment_proxies` lets `HTTP_PROXY` and the like count. Safe to call from several
    threads.
    """

    def __init__(
        self,
        host: str,
        api: Api = "auto",
        *,
        token: str | None = None,
        deadline_seconds: float = 4.0,
        environment_proxies: bool = False,
    ) -> None:
        self.host = host
        self._token = token
        self._fixed = None if api == "auto" else int(api)
        self._found: int | None = None
        self._old_filter = False
        self._v1_answers = 0
        self._until = 0.0
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._transport = Transport(
            host,
            token=token,
            deadline_seconds=deadline_seconds,
            environment_proxies=environment_proxies,
        )

    @property
    def api(self) -> int | None:
        """The API in use: the one asked for or found, None while none has answered."""
        return self._fixed or self._found

    def status(self, keys: Sequence[str]) -> Answer:
        """Ask for `keys` (v2's; v1 sends all it has) and return the answer.

        Raises `ChargerError`.
        """
        with self._lock:
            self._until = time.monotonic() + self._deadline_seconds
            try:
                if self._fixed:
                    return self._ask(self._fixed, keys)
                return self._ask_what_it_has(keys)
            except ChargerError as error:
                raise self._named(error) from error

    def write(self, api: int, key: str, value: object) -> None:
        """Write `value` (in v2's words) to `key` through `api`.

        Raises `RefusedError` with the charger's own words, or `ChargerError`. v1 refuses by
        leaving the value as it was, so only a read-back tells.
        """
        for target in write_targets(api, key, value):
            with self._lock:
                try:
                    status, answer, text = self._get_any(target)
                    if api == 1:
                        _as_object(answer)
                except ChargerError as error:
                    raise self._named(error) from error
            if api == 1:
                continue
            if status != HTTP_ACCEPTED and not _accepted(answer, text, key):
                wanted = f"{key}={json.dumps(value)}"
                refusal = _refusal(answer, text, key, self._without_token)
                raise RefusedError(f"{self.host} refused {wanted}: {refusal}")

    def _named(self, error: ChargerError) -> ChargerError:
        """Name the charger in an error about its answer; those of the network name it already."""
        text = self._without_token(str(error))
        return ChargerError(error.reason, text if self.host in text else f"{self.host}: {text}")

    def _without_token(self, text: str) -> str:
        """Return a text without the token, which a proxy or a cloud may send back."""
        return text.replace(self._token, "[token]") if self._token else text

    def _ask_what_it_has(self, keys: Sequence[str]) -> Answer:
        """Ask v2, or v1 if that answered last; and where the charger has none of it, the other."""
        api = self._found or 2
        if self._v1_answers >= ANSWERS_BEFORE_V2_IS_TRIED:
            api, self._v1_answers = 2, 0
        try:
            return self._ask(api, keys)
        except ChargerError as error:
            if self._found == 1:
                self._found = None  # what answers next may be another charger, and have v2
            if error.reason != "not_found":
                raise
            return self._ask(3 - api, keys)

    def _ask(self, api: int, keys: Sequence[str]) -> Answer:
        status = self._status_v1() if api == 1 else self._status_v2(keys)
        self._found = api
        self._v1_answers = self._v1_answers + 1 if api == 1 else 0
        return Answer(api, status)

    def _status_v1(self) -> dict[str, object]:
        return api_v1.status(_as_object(self._get("/status")))

    def _status_v2(self, keys: Sequence[str]) -> dict[str, object]:
        """Ask with `filter=a,b`; firmware before 051.4 wants `filter=["a","b"]`, ten at a time."""
        ask, ask_otherwise = self._filtered, self._filtered_old
        if self._old_filter:
            ask, ask_otherwise = ask_otherwise, ask
        # Each firmware answers {} to the other's form.
        status = ask(keys)
        if not status and keys and (status := ask_otherwise(keys)):
            self._old_filter = not self._old_filter
        return status

    def _filtered(self, keys: Sequence[str]) -> dict[str, object]:
        return _as_object(self._get(f"/api/status?filter={','.join(keys)}"))

    def _filtered_old(self, keys: Sequence[str]) -> dict[str, object]:
        merged: dict[str, object] = {}
        for start in range(0, len(keys), OLD_FILTER_KEYS):
            some = json.dumps(keys[start : start + OLD_FILTER_KEYS], separators=(",", ":"))
            merged |= _as_object(self._get(f"/api/status?filter={quote(some)}"))
        return merged

    def _fetch(self, target: str, until: float | None = None) -> HttpAnswer:
        """Make a GET request; a failure of the network is a `ChargerError` of the same reason."""
        try:
            return self._transport.get(target, until)
        except TransportError as error:
            raise ChargerError(error.reason, str(error)) from error

    def _get(self, target: str) -> object:
        """Return the JSON of a 200, or of a 400, which is how PRO marks an unknown key."""
        status, _headers, body = self._fetch(target, self._until)
        if status == 200:
            return _parse(body)
        if status == 400:
            with contextlib.suppress(ChargerError):
                return _as_object(_parse(body))
        raise _failure(status, body)

    def _get_any(self, target: str) -> tuple[int, object, str]:
        """Return a write's answer: its status, its JSON (None if it is none), its text."""
        status, _headers, body = self._fetch(target)
        text = body.decode("utf-8", "replace").strip()
        if status not in (200, 202, 400, 422, 500) or "api lock" in text:
            raise _failure(status, body)
        try:
            return status, _parse(body), text
        except ChargerError:
            return status, None, text


def write_targets(api: int, key: str, value: object) -> list[str]:
    """Return the request targets that write `value` (in v2's words) to `key` through `api`.

    Raises `UsageError` for what API v1 cannot write.
    """
    if api == 1:
        return [f"/mqtt?payload={payload}" for payload in api_v1.writes(key, value)]
    return [f"/api/set?{key}={quote(json.dumps(value), safe='')}"]


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_DECODE: Callable[[str], object] = json.JSONDecoder(parse_constant=_no_constant).decode


def _parse(body: bytes) -> object:
    """Parse JSON strictly; a text that says "not found" is taken at its word."""
    try:
        return _DECODE(body.decode())
    except (ValueError, RecursionError) as error:
        if body.startswith(_NOT_FOUND):
            raise ChargerError("not_found", _words(body)) from error
        if not body:
            raise ChargerError("truncated", "an answer without a body") from error
        raise ChargerError("not_json", f"no JSON: {_words(body)}") from error


def _as_object(answer: object) -> dict[str, object]:
    if not isinstance(answer, dict):
        raise ChargerError("not_an_object", f"no JSON object but {type(answer).__name__}")
    return answer


def _accepted(answer: object, text: str, key: str) -> bool:
    """Tell whether a v2 charger took a write; firmware before 051.4 only counts."""
    if isinstance(answer, dict):
        return answer.get(key) is True
    return _COUNTED.fullmatch(text) is not None


def _refusal(answer: object, text: str, key: str, cleaned: Callable[[str], str]) -> str:
    """Return the charger's words for a refusal; of an object without them only the keys.

    A status, whole or broken, holds keys and passwords (PROTOCOL.md §3.13). The words are
    `cleaned` before they are cut, or half a token would stay.
    """
    if not isinstance(answer, dict):
        return cleaned(_words(text.encode()))
    words = answer.get(key)
    if isinstance(words, str) and words:
        return repr(cleaned(words)[:LONGEST_REFUSAL])
    keys = "".join(char if char.isprintable() else "?" for char in cleaned(", ".join(answer)))
    return f"an object with {keys[:LONGEST_REFUSAL] or 'nothing'}"


_BY_STATUS = {401: "unauthorized", 403: "offline", 404: "not_found"}


def _failure(status: int, body: bytes) -> ChargerError:
    """Return what an answer other than success means (PROTOCOL.md §1)."""
    text = body.decode("utf-8", "replace")
    reason = _BY_STATUS.get(status, "http_status")
    if status == 404 and "outdated" in text:
        reason = "outdated"
    elif status >= 500 and "api lock" in text:
        reason = "busy"
    return ChargerError(reason, f"HTTP {status}: {_words(body)}")


def _words(body: bytes) -> str:
    """Return what the charger says if it is a plain sentence, else how much and what it is.

    Anything else may hold keys and passwords, and what is returned here is logged
    (PROTOCOL.md §3.13).
    """
    text = body.decode("utf-8", "replace").strip()
    if _SENTENCE.fullmatch(text):
        return repr(text)
    kind = "HTML" if text.startswith("<") else f"beginning with {text[:1]!r}"
    return f"{len(body)} bytes, {kind}" if text else "nothing"
