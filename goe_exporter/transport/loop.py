"""Many requests at a time in one thread, over plain HTTP to the hosts themselves.

The results are those of `Transport.get`: a connection for each request, an absolute deadline, the
limits of an answer, and the same reasons of a failure.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from goe_exporter.transport.answer import AnswerReader, HttpAnswer, whole
from goe_exporter.transport.failures import FAILURES, translated
from goe_exporter.transport.readiness import Poll, Readiness
from goe_exporter.transport.resolver import Found, Resolver
from goe_exporter.transport.sockets import Race
from goe_exporter.transport.steps import Exchange, Request

RECEIVE_BYTES = 64 * 1024
MILLISECOND = 0.001

Done = Callable[[Any, Exception | None], None]
Work = Callable[..., HttpAnswer | None]


class Loop:
    """Runs the exchanges of one thread, which calls `turn` again and again.

    Other threads may call `call` and `wake` only.
    """

    def __init__(self) -> None:
        self._readiness = Readiness()
        self._unregisters = isinstance(self._readiness, Poll)
        self._woken, self._waker = socket.socketpair()
        for each in (self._woken, self._waker):
            each.setblocking(False)
        self._readiness.register(self._woken.fileno(), select.POLLIN)
        self._watched: dict[int, tuple[socket.SocketType, _Progress]] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, _Progress]] = []
        self._numbers = itertools.count()
        self._resolver = Resolver(self.call)

    def run(self, exchange: Exchange[Any], done: Done) -> None:
        """Begin an exchange; `done` gets its result, or the error that ended it, in a later turn.

        If it needs no answer, or its first request fails at once, that may be now.
        """
        self._advance(exchange, done, None)

    def call(self, function: Callable[[], None]) -> None:
        """Let the thread of the loop call a function soon."""
        self._calls.append(function)
        self.wake()

    def wake(self) -> None:
        """End the wait of the turn in progress, or of the next one."""
        with contextlib.suppress(OSError):  # closed, or full: then it will wake up anyway
            self._waker.send(b"\0")

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` until something happens, and handle it."""
        # Handling one may close another's descriptor, which a new socket may then get.
        for watched in [self._watched.get(number) for number, _events in self._wait(seconds)]:
            if watched is None:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(RECEIVE_BYTES)
                continue
            ready, progress = watched
            if ready.fileno() >= 0:  # it may have lost its race
                self._handle(progress, self._ready, ready)
        while self._calls:
            self._calls.popleft()()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            progress = heapq.heappop(self._timers)[2]
            self._handle(progress, self._expired, now)

    def close(self) -> None:
        """Release the descriptors; no exchange is in progress."""
        self._readiness.close()
        self._woken.close()
        self._waker.close()

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        timers = self._timers
        while timers and timers[0][2].ended:
            heapq.heappop(timers)
        now = time.monotonic()
        end = now + seconds
        if timers and timers[0][0] < end:
            end = timers[0][0]
        # The system counts whole milliseconds, rounded up, which would make each poll late.
        ready = self._readiness.poll(None if end == math.inf else max(end - now - MILLISECOND, 0))
        if not ready and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, MILLISECOND))
        return ready

    def _advance(
        self, exchange: Exchange[Any], done: Done, answer: HttpAnswer | Exception | None
    ) -> None:
        """Continue an exchange with an answer or an error, up to its next request or its end."""
        try:
            if isinstance(answer, Exception):
                request = exchange.throw(answer)
            else:
                request = exchange.send(answer)  # type: ignore[arg-type]  # None begins it
        except StopIteration as end:
            done(end.value, None)
        except Exception as error:  # noqa: BLE001, `done` counts and logs it
            done(None, error)
        else:
            progress = _Progress(exchange, done, request)
            self._at(request.until, progress)
            self._handle(progress, self._begin)

    def _handle(self, progress: _Progress, work: Work, *arguments: Any) -> None:
        """Do some work of a request, and end the request if that returns an answer or raises."""
        if progress.ended:
            return
        answer: HttpAnswer | Exception | None
        try:
            answer = work(progress, *arguments)
        except BlockingIOError:
            return
        except Exception as error:  # noqa: BLE001, raised again in the exchange
            answer = error
        if answer is not None:
            self._end(progress, answer)

    def _end(self, progress: _Progress, answer: HttpAnswer | Exception) -> None:
        """Close the connection, and continue with the answer, or with the failure."""
        progress.ended = True
        if progress.connection is not None:
            self._forget(progress.connection.fileno())
            progress.connection.close()
        self._leave_race(progress)
        if isinstance(answer, Exception) and isinstance(answer, FAILURES):
            request = progress.request
            answer = translated(answer, request.transport.host, request.until)
        exchange, done = progress.exchange, progress.done
        progress.forget()
        self._advance(exchange, done, answer)

    def _at(self, moment: float, progress: _Progress) -> None:
        heapq.heappush(self._timers, (moment, next(self._numbers), progress))

    def _begin(self, progress: _Progress) -> None:
        transport, target, _until = progress.request
        progress.unsent = transport.request(target)
        if transport.address is not None:
            self._connect(progress, [transport.address])
        else:
            self._resolver.find(transport.place, partial(self._handle, progress, self._connect))

    def _connect(self, progress: _Progress, found: Found) -> None:
        if isinstance(found, OSError):
            raise found
        progress.race = Race(found)
        self._try_next(progress)

    def _try_next(self, progress: _Progress) -> None:
        """Begin to connect to the next address; raises `OSError` if that was the last hope."""
        race = progress.race
        assert race is not None
        if attempt := race.begin():
            number = attempt.fileno()
            self._readiness.register(number, select.POLLOUT)
            self._watched[number] = attempt, progress
            if race.addresses:
                now = time.monotonic()
                progress.next_attempt = now + race.head_start(progress.request.until - now)
                self._at(progress.next_attempt, progress)
        elif not race.attempts:
            raise race.failure

    def _expired(self, progress: _Progress, now: float) -> None:
        """Try the next address if it is time for that; raises `OSError` at the deadline."""
        if now < progress.request.until:
            if progress.connection is None and progress.next_attempt <= now:
                self._try_next(progress)
        elif progress.race is None:
            raise socket.gaierror("no answer of a name server")
        elif progress.connection is None:
            raise progress.race.failure
        else:
            raise TimeoutError("deadline passed")

    def _ready(self, progress: _Progress, ready: socket.SocketType) -> HttpAnswer | None:
        """Connect, send or receive; return the answer once it is complete."""
        if progress.connection is None:
            assert progress.race is not None
            number = ready.fileno()
            if not progress.race.accepted(ready):
                self._forget(number)
                self._try_next(progress)
                return None
            progress.connection = ready
            self._leave_race(progress)
        if progress.unsent:
            progress.unsent = progress.unsent[ready.send(progress.unsent) :]
            if not progress.unsent:
                self._readiness.modify(ready.fileno(), select.POLLIN)
            return None
        data = ready.recv(RECEIVE_BYTES)
        if progress.reader is None:
            if (answer := whole(data)) is not None:
                return answer
            progress.reader = AnswerReader()
        return progress.reader.feed(data) if data else progress.reader.end()

    def _forget(self, number: int) -> None:
        """Stop watching a socket that is closed or about to be; `epoll` does so by itself."""
        del self._watched[number]
        if self._unregisters:
            self._readiness.unregister(number)

    def _leave_race(self, progress: _Progress) -> None:
        if progress.race is not None and progress.race.attempts:
            for attempt in progress.race.attempts:
                self._forget(attempt.fileno())
            progress.race.close()


def fetched(request: Request) -> HttpAnswer:
    """Make one request over plain HTTP, and wait for its answer; raises `TransportError`.

    The result is that of `Transport.get`, for half of its CPU. A host name that cannot be looked up
    in time ends the wait, too.
    """
    results: list[tuple[HttpAnswer | None, Exception | None]] = []
    with contextlib.closing(Loop()) as loop:
        loop.run(_one(request), lambda answer, error: results.append((answer, error)))
        while not results:
            loop.turn(math.inf)
    answer, error = results[0]
    if error is not None:
        raise error
    assert answer is not None
    return answer


def _one(request: Request) -> Exchange[HttpAnswer]:
    return (yield request)


class _Progress:
    """How far a request is, and the exchange that it belongs to."""

    __slots__ = (
        *("connection", "done", "ended", "exchange", "next_attempt", "race", "reader", "request"),
        "unsent",
    )

    def __init__(self, exchange: Exchange[Any], done: Done, request: Request) -> None:
        self.exchange = exchange
        self.done = done
        self.request = request
        self.race: Race | None = None
        self.next_attempt = math.inf
        self.connection: socket.SocketType | None = None
        self.unsent = b""
        self.reader: AnswerReader | None = None
        self.ended = False

    def forget(self) -> None:
        """Release what the timers need not keep until the deadline."""
        del self.exchange, self.done, self.request, self.race, self.connection, self.reader
