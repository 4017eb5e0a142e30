"""What sources over HTTP have in common: requests, numbers and times."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

from goe_exporter.config.quoting import one_line, shown
from goe_exporter.config.values import read_token
from goe_exporter.errors import TransportError
from goe_exporter.surplus.config import SourceConfig
from goe_exporter.surplus.source import READ_SECONDS, Reading, SourceError
from goe_exporter.transport.answer import HttpAnswer
from goe_exporter.transport.http import Transport
from goe_exporter.transport.loop import fetched
from goe_exporter.transport.steps import Request

SAME_SECONDS = 0.5
"""Times closer than this are of one measurement: a computed time varies with the request's."""

MAX_AHEAD_SECONDS = 5.0
MAX_MESSAGE_LENGTH = 200
MAX_NUMBER_CHARACTERS = 40

_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_FACTORS = {"W": 1.0, "kW": 1000.0, "A": 1.0}
_MOST = {"W": 1e6, "A": 5e3}
"""The most that is plausible for a house: 1 MW, and the current of about as much."""

_BY_STATUS = {401: "unauthorized", 403: "unauthorized", 404: "not_found"}


class HttpSource(ABC):
    """Reads one number from the server at `url`; `name` is the key of the section.

    Raises `ConfigError` for a token or password that cannot be read. `clock` is the monotonic
    clock.
    """

    def __init__(
        self,
        name: str,
        config: SourceConfig,
        url: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.clock = clock
        self._factor, self._unit = _FACTORS[config.unit], config.base_unit
        self._inverted = config.inverted
        token = None if config.token_file is None else read_token(config.token_file)
        password = None if config.password_file is None else read_token(config.password_file)
        self._secrets = [each for each in (token, password) if each]
        self._transport = Transport(
            url,
            token=token,
            login=None if password is None else (config.username, password),
            deadline_seconds=READ_SECONDS,
            verify_tls=config.verify_tls,
            ca_file=config.ca_file,
        )
        self._measured_at: float | None = None

    def read(self, until: float) -> Reading:
        """Return the number as of now, before `until` on the monotonic clock.

        Raises `SourceError`, whose message begins with the name.
        """
        try:
            value, measured_at, age_known = self._read(until)
        except SourceError as error:
            raise SourceError(error.reason, f"{self.name}: {error}") from error
        last = self._measured_at
        if age_known and last is not None and abs(measured_at - last) < SAME_SECONDS:
            measured_at = last
        self._measured_at = measured_at
        return Reading(value, measured_at, age_known)

    @abstractmethod
    def _read(self, until: float) -> Reading:
        """Return the number; raises `SourceError` without the name."""

    def _get(self, target: str, until: float) -> HttpAnswer:
        """Return the answer to a GET request, whatever its status; raises `SourceError`."""
        transport = self._transport
        try:
            if transport.direct:
                return fetched(Request(transport, target, until))
            return transport.get(target, until)
        except TransportError as error:
            raise SourceError(error.reason, str(error)) from error

    def _document(self, answer: HttpAnswer) -> object:
        """Return the JSON document in an answer; raises `SourceError`."""
        try:
            document: object = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            reason = "not_json" if answer.body else "truncated"
            raise SourceError(reason, f"{self._transport.host}: the answer is not JSON") from error
        return document

    def _failed(self, status: int) -> NoReturn:
        """Raise the `SourceError` of an answer without success, such as a redirect."""
        reason = _BY_STATUS.get(status, "http_status")
        raise SourceError(reason, f"{self._transport.host} answers with HTTP status {status}")

    def _cleaned(self, text: str) -> str:
        """Return a server's message in one line, without the token or password."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return one_line(" ".join(text.split()))[:MAX_MESSAGE_LENGTH]

    def _value(self, given: object) -> float:
        """Return a value in W or A, with the sign of a reading; raises `SourceError`."""
        value = number(given) * self._factor
        if abs(value) > _MOST[self._unit]:
            text = f"{value:.4g} {self._unit} is implausible for a house; check the unit"
            raise SourceError("implausible", text)
        return -value if self._inverted else value


def number(given: object) -> float:
    """Return a JSON number, or a text with a decimal number; raises `SourceError`."""
    if isinstance(given, str) and len(given) <= MAX_NUMBER_CHARACTERS and _NUMBER.fullmatch(given):
        given = float(given)
    if type(given) not in (int, float):
        raise SourceError("not_a_number", f"{shown(given)} is not a number")
    try:
        value = float(given)  # type: ignore[arg-type]
    except OverflowError:
        value = float("inf")
    if not abs(value) < float("inf"):
        raise SourceError("not_a_number", f"{value} is not a finite number")
    return value


def checked_age(age_s: float) -> float:
    """Return an age (s), 0 if it is a little below that; raises `SourceError` for a future time."""
    if age_s < -MAX_AHEAD_SECONDS:
        raise SourceError(
            "not_a_time", f"the time of the value is {-age_s:.0f} s in the future; check the clocks"
        )
    return max(age_s, 0.0)
