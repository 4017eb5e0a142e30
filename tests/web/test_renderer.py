"""The renderer: who shares a rendering, and what it is not shared with."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from servers import PATIENCE_SECONDS, wait_for
from starlette.requests import Request
from starlette.responses import Response

from goe_exporter.web import renderer
from goe_exporter.web.renderer import Renderer

CROWD = 100
LARGE = "reading " * 1000


def request(path: str = "/metrics", query: str = "", **headers: str) -> Request:
    """Return a GET request."""
    fields = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {"type": "http", "path": path, "query_string": query.encode(), "headers": fields}
    return Request(scope)


class Counting:
    """A handler that counts its calls, and whose first call waits for `release`.

    The response of call N is N, and a text that is worth compressing.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.begun = threading.Event()
        self.release = threading.Event()

    def __call__(self, _request: Request) -> Response:
        self.calls += 1
        number = self.calls
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        if number == 1:
            self.begun.set()
            assert self.release.wait(PATIENCE_SECONDS)
        self.at_once -= 1
        return Response(f"{number} {LARGE}", headers={"X-Number": str(number)})


Respond = Callable[[Request], Awaitable[Response]]


async def answered(handler: Counting, respond: Respond, requests: list[Request]) -> list[Response]:
    """Return the responses to the first request, and to others that arrive during its rendering."""

    async def response(each: Request) -> Response:
        return await respond(each)

    tasks = [asyncio.create_task(response(requests[0]))]
    assert await asyncio.to_thread(handler.begun.wait, PATIENCE_SECONDS)
    tasks += [asyncio.create_task(response(each)) for each in requests[1:]]
    await asyncio.sleep(0)  # all have begun to wait
    handler.release.set()
    return await asyncio.gather(*tasks)


def numbers(responses: list[Response]) -> list[str]:
    return [each.headers["X-Number"] for each in responses]


@pytest.fixture
def handler() -> Counting:
    """Return a handler that has not been called."""
    return Counting()


def run(test: Coroutine[Any, Any, list[Response]]) -> list[Response]:
    """Run a coroutine in a new event loop."""
    return asyncio.run(test)


def test_a_crowd_shares_one_rendering(handler: Counting) -> None:
    """Requests during a rendering wait for the next one, which is fresh, and share it."""
    respond = Renderer().shared(handler)
    found = run(answered(handler, respond, [request() for _ in range(1 + CROWD)]))
    assert numbers(found) == ["1", *["2"] * CROWD]
    assert handler.calls == 2
    assert {bytes(each.body) for each in found[1:]} == {f"2 {LARGE}".encode()}


def test_a_later_request_gets_a_new_rendering(handler: Counting) -> None:
    """Nothing is kept for a request that arrives after a rendering."""
    handler.release.set()
    respond = Renderer().shared(handler)

    async def one_after_the_other() -> list[Response]:
        return [await respond(request()) for _ in range(3)]

    assert numbers(run(one_after_the_other())) == ["1", "2", "3"]


def test_a_body_is_compressed_once(handler: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients with and without gzip share a rendering, and those with it one compression."""
    compressed: list[bytes] = []

    def compress(body: bytes, *arguments: int, **options: int) -> bytes:
        compressed.append(body)
        return gzip.compress(body, *arguments, **options)

    monkeypatch.setattr(renderer, "gzip", type("gzip", (), {"compress": staticmethod(compress)}))
    respond = Renderer().shared(handler)
    crowd = [request(), *(request(accept_encoding="gzip"), request()) * CROWD]
    first, *found = run(answered(handler, respond, crowd))
    assert handler.calls == 2
    assert compressed == [f"2 {LARGE}".encode()]
    assert "Content-Encoding" not in first.headers
    for packed, plain in zip(found[::2], found[1::2], strict=True):
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body == f"2 {LARGE}".encode()
        assert packed.headers["Content-Length"] == str(len(packed.body))
        assert plain.headers["Content-Length"] == str(len(plain.body))
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_different_responses_are_not_shared(handler: Counting) -> None:
    """Another path, query or variant is another response, rendered in the order of arrival."""
    respond = Renderer().shared(handler, lambda each: each.headers.get("accept"))
    crowd = [
        *(request(), request("/"), request(query="chargers=none"), request(accept="text/plain")),
        *(request("/"), request(query="chargers=none"), request(accept="text/plain")),
    ]
    assert numbers(run(answered(handler, respond, crowd))) == list("1234234")


def test_renderings_take_turns(handler: Counting) -> None:
    """At most one handler of a renderer runs at a time, of whatever route."""
    shared = Renderer().shared
    one, other = shared(handler), shared(handler)

    async def respond(each: Request) -> Response:
        return await (one if each.scope["path"] == "/" else other)(each)

    run(answered(handler, respond, [request(f"/{number % 7}") for number in range(CROWD)]))
    assert handler.most_at_once == 1
    assert handler.calls == 1 + 7


def test_an_error_costs_its_rendering_only() -> None:
    """All requests that share a rendering that fails get the error; the next one is rendered."""
    outcomes = [Response("1"), ValueError("a bug"), Response("3")]

    def handler(_request: Request) -> Response:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    respond = Renderer().shared(handler)

    async def test() -> list[object]:
        crowd = [asyncio.ensure_future(respond(request())) for _ in range(4)]
        found = await asyncio.gather(*crowd, return_exceptions=True)
        return [*found, await respond(request())]

    first, *shared, last = asyncio.run(test())
    assert isinstance(first, Response)
    assert [repr(each) for each in shared] == ["ValueError('a bug')"] * 3
    assert isinstance(last, Response)
    assert last.body == b"3"


def test_a_request_that_ends_does_not_end_the_others(handler: Counting) -> None:
    """A cancelled request leaves the rendering to those that share it."""
    respond = Renderer().shared(handler)

    async def test() -> list[Response]:
        first = asyncio.ensure_future(respond(request()))
        await asyncio.to_thread(handler.begun.wait, PATIENCE_SECONDS)
        crowd = [asyncio.ensure_future(respond(request())) for _ in range(3)]
        await asyncio.sleep(0)
        crowd[0].cancel()
        handler.release.set()
        assert await asyncio.gather(crowd[0], return_exceptions=True) != []
        assert crowd[0].cancelled()
        return [await first, await crowd[1], await crowd[2]]

    assert numbers(run(test())) == ["1", "2", "2"]


def test_a_rendering_outlives_the_event_loop(handler: Counting) -> None:
    """A rendering in progress neither delays the end of the event loop nor fails after it."""
    failures: list[object] = []
    before, threading.excepthook = threading.excepthook, failures.append
    respond = Renderer().shared(handler)

    async def test() -> list[Response]:
        asyncio.ensure_future(respond(request()))  # noqa: RUF006, the loop ends before it
        assert await asyncio.to_thread(handler.begun.wait, PATIENCE_SECONDS)
        return []

    try:
        run(test())
        handler.release.set()
        wait_for(lambda: "render" not in {each.name for each in threading.enumerate()}, "its end")
    finally:
        threading.excepthook = before
    assert failures == []
