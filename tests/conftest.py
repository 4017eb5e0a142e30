"""What several test modules share."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fake_influx import FakeInflux, Received, Reply
from paths import ROOT
from servers import wait_for

from goe_exporter.cli import main
from goe_exporter.simulator import Simulator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden files anew from what the code gives now",
    )


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Tell whether golden files are to be written anew instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def captures_folder(request: pytest.FixtureRequest) -> Path:
    """Return the folder of real chargers' answers, which is kept beside the project."""
    folder = Path(request.config.rootpath, "..", "shared", "captures").resolve()
    if not folder.is_dir():
        pytest.skip(f"no captures of real chargers: {folder} is missing")
    return folder


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Yield a running simulator on fast-forward: a second takes 50 ms."""
    with Simulator(speed=20) as running:
        yield running


class Outcome(NamedTuple):
    """What a finished command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Goe = Callable[..., Outcome]


@pytest.fixture
def goe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Goe:
    """Return the command line as a function, run in this process on a terminal of 80 columns."""
    for name in list(os.environ):
        if name.startswith("GOE_EXPORTER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["goe-exporter", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, *capsys.readouterr())

    return run


class Command:
    """The command line as a process of its own, whose lines are read as they come."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        within: tuple[str, ...] = (),
    ) -> None:
        kept = {key: value for key, value in os.environ.items() if "GOE_EXPORTER_" not in key}
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "goe_exporter.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=kept | {"COLUMNS": "80"} | environment,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        streams = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._readers = [threading.Thread(target=_collect, args=each) for each in streams]
        for reader in self._readers:
            reader.start()

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of output in which `pattern` is found."""

        def found() -> re.Match[str] | None:
            matches = (re.search(pattern, line) for line in [*self.out, *self.err])
            return next((match for match in matches if match), None)

        wait_for(lambda: found() is not None or self.process.poll() is not None, pattern)
        match = found()
        assert match is not None, (pattern, self.out, self.err)
        return match

    def end(self, number: signal.Signals | None = None, seconds: float = 20.0) -> Outcome:
        """Send a signal, if one is given, and return what is left after at most `seconds`."""
        if number is not None:
            self.process.send_signal(number)
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join()
        return Outcome(status, "".join(self.out), "".join(self.err))

    def kill(self) -> None:
        """Make sure that nothing is left of it."""
        self.process.kill()
        self.end()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def _collect(stream: Iterator[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # noqa: PERF402, each one at once


Launch = Callable[..., Command]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Return a function that starts the command line as a process; all are gone at the end.

    `within` is a command that runs the command that follows it, such as `env`.
    """
    started: list[Command] = []

    def start(*arguments: str, within: tuple[str, ...] = (), **environment: str) -> Command:
        started.append(Command(arguments, environment, within))
        return started[-1]

    yield start
    for command in started:
        command.kill()


class Speaker(socketserver.ThreadingTCPServer):
    """A server on loopback that says the same bytes to every request, whatever it is.

    It says `pieces`, then `endless` again and again, and waits `pause_seconds` after each.
    `accepted` counts connections, `requests` holds what was asked, `sent` counts the bytes that
    went out.
    """

    def __init__(
        self,
        *pieces: bytes,
        endless: bytes = b"",
        pause_seconds: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.pieces, self.endless, self.pause_seconds = pieces, endless, pause_seconds
        self.tls = tls
        self.accepted = 0
        self.sent = 0
        self.requests: list[str] = []
        self.stopping = threading.Event()


def _whole(received: bytes) -> bool:
    """Tell whether a request is there with all of its body."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def _text(received: bytes) -> str:
    """Return a request as text, its body unpacked."""
    head, end, body = received.partition(b"\r\n\r\n")
    packed = b"content-encoding: gzip" in head.lower()
    return (head + end + (gzip.decompress(body) if packed else body)).decode()


class _Conversation(socketserver.BaseRequestHandler):
    server: Speaker

    def handle(self) -> None:
        self.server.accepted += 1
        with contextlib.suppress(OSError), self._connection() as connection:
            connection.settimeout(5)
            received = b""
            while not _whole(received):
                piece = connection.recv(65536)
                if not piece:
                    return
                received += piece
            self.server.requests.append(_text(received))
            for piece in self._pieces():
                connection.sendall(piece)
                self.server.sent += len(piece)
                if self.server.stopping.wait(self.server.pause_seconds):
                    return

    def _connection(self) -> socket.socket:
        tls = self.server.tls
        connection: socket.socket = self.request
        return connection if tls is None else tls.wrap_socket(connection, server_side=True)

    def _pieces(self) -> Iterator[bytes]:
        yield from self.server.pieces
        while self.server.endless:
            yield self.server.endless


@pytest.fixture
def speak() -> Iterator[Callable[..., Speaker]]:
    """Return a function that starts a `Speaker`; all are stopped when the test ends."""
    with contextlib.ExitStack() as stack:

        def start(*pieces: bytes, **options: object) -> Speaker:
            speaker = stack.enter_context(Speaker(*pieces, **options))  # type: ignore[arg-type]
            thread = threading.Thread(target=speaker.serve_forever, args=(0.02,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(speaker.shutdown)
            stack.callback(speaker.stopping.set)
            return speaker

        yield start


Fakes = Callable[[Callable[[Received], Reply]], FakeInflux]


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    """Return a function that starts a server which answers by a rule."""
    with contextlib.ExitStack() as stack:

        def start(rule: Callable[[Received], Reply]) -> FakeInflux:
            server = stack.enter_context(FakeInflux())
            server.rule = rule
            return server

        yield start
