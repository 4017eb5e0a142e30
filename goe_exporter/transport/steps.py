"""Work in steps, which yields its requests and is sent the answers: it never waits itself.

A thread answers with `answered`, one request after another. A `Loop` answers many at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from goe_exporter.errors import GoeExporterError
from goe_exporter.transport.answer import HttpAnswer
from goe_exporter.transport.http import Transport

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
Result = TypeVar("Result")


class Request(NamedTuple):
    """A GET request of a target through a transport, until a moment of the monotonic clock."""

    transport: Transport
    target: str
    until: float


Exchange = Generator[Request, HttpAnswer, Result]
"""Steps that yield requests; one that fails raises its `TransportError` there."""


def sent(request: Request) -> HttpAnswer:
    """Make a request and wait for its answer; raises `TransportError`."""
    return request.transport.get(request.target, request.until)


def answered(
    steps: Generator[Asked, Answered, Result],
    answer: Callable[[Asked], Answered],
    asked: Asked | None = None,
) -> Result:
    """Run steps to their end, and return their result; errors of `answer` are raised inside.

    Steps that have begun are continued with what they `asked` last.
    """
    try:
        asked = next(steps) if asked is None else asked
        while True:
            try:
                given = answer(asked)
            except GoeExporterError as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(given)
    except StopIteration as end:
        result: Result = end.value
        return result
