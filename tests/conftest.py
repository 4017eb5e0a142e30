"""What several test modules share."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import PROGRAM, Command, Goe, Launch, Outcome
from fake_influx import FakeInflux, Fakes, Received, Reply
from hypothesis import HealthCheck, settings
from log_records import recorded
from paths import TESTS
from speaker import Speak, Speaker

from goe_exporter.cli import main
from goe_exporter.simulator import Simulator

PROFILES = {"dev": 10, "ci": 100}
for profile, number in PROFILES.items():
    # How long an example takes is the machine's matter.
    settings.register_profile(
        profile,
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden files anew from what the code gives now",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start processes: those in tests/system, and those that say so."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if TESTS / "system" in item.path.parents or "processes" in names:
            item.add_marker("system")


_STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
_guarded = False


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if _guarded and event in _STARTS:
        pytest.fail(f"a test without the marker `system` starts a process: {event} {arguments}")


sys.addaudithook(_guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let no test start a process that is not marked as one that does."""
    global _guarded  # noqa: PLW0603, an audit hook cannot be removed
    _guarded = item.get_closest_marker("system") is None
    try:
        return (yield)
    finally:
        _guarded = False


@pytest.fixture(scope="session")
def processes() -> None:
    """Be requested by each fixture that starts processes: its tests are marked `system`."""


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


@pytest.fixture
def standing_still() -> Iterator[Simulator]:
    """Yield a simulator in which no time passes: a charger keeps saying what it said."""
    with Simulator(clock=lambda: 1000.0) as running:
        yield running


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


@pytest.fixture
def launch(processes: None) -> Iterator[Launch]:  # noqa: ARG001
    """Yield a function that starts the command line as a process; all end with the test.

    `within` is a command that runs the command that follows it, such as `env`; `program` is the
    command line, if it is not the one of this environment.
    """
    started: list[Command] = []

    def start(
        *arguments: str,
        within: tuple[str, ...] = (),
        program: tuple[str, ...] = PROGRAM,
        **environment: str,
    ) -> Command:
        started.append(Command(arguments, environment, within, program))
        return started[-1]

    yield start
    for command in started:
        command.kill()


@pytest.fixture
def speak() -> Iterator[Speak]:
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


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    """Return a function that starts a server which answers by a rule."""
    with contextlib.ExitStack() as stack:

        def start(rule: Callable[[Received], Reply]) -> FakeInflux:
            server = stack.enter_context(FakeInflux())
            server.rule = rule
            return server

        yield start


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """Yield the exporter's log records from now on."""
    with recorded() as kept:
        yield kept
