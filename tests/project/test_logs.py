"""Logs: one line per event, whatever the values contain."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from logfmt import fields

from goe_exporter import logs

HOSTILE = (
    'a\nlevel=error event="forged"',
    "a\r\nb",
    'say "hi"',
    "\x1b[31mred\x1b[0m",
    "back\\slash",
    "a=b",
    "a=b c=d",
    "tab\tnull\x00bell\x07",
    "\u2028line\u2029paragraph\x85next",
    "\x9b31mC1",
    "\u202eright to left",
    "half \ud800 a pair",
    "delete\x7f",
    "",
    " ",
)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Restore the loggers, which other tests read."""
    targets = [logging.getLogger(name) for name in ("goe_exporter", "uvicorn")]
    before = [(target.handlers, target.propagate, target.level) for target in targets]
    yield
    for target, (handlers, propagate, level) in zip(targets, before, strict=True):
        target.handlers, target.propagate = handlers, propagate
        target.setLevel(level)


def line(captured: pytest.CaptureFixture[str]) -> str:
    """Return the only line that was written, to stderr."""
    out, err = captured.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err[:-1]


def test_logfmt(capsys: pytest.CaptureFixture[str]) -> None:
    """A logfmt line has time, level, event and the values; plain values are not quoted."""
    logs.configure("logfmt", "info")
    values = {"charger": "garage", "reason": "timeout", "failures": 3, "seconds": 0.25}
    logs.logger("goe_exporter.test").warning("poll failed", **values)
    text = line(capsys)
    assert re.match(r"time=20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ level=warning ", text)
    assert text.endswith(
        ' event="poll failed" charger=garage reason=timeout failures=3 seconds=0.250'
    )


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON line is an object with the same names; numbers remain numbers."""
    logs.configure("json", "info")
    logs.logger("goe_exporter.test").info("started", charger="garage", failures=3, seconds=0.25)
    found = json.loads(line(capsys))
    assert list(found) == ["time", "level", "event", "charger", "failures", "seconds"]
    assert found["level"] == "info"
    assert found["event"] == "started"
    assert (found["charger"], found["failures"], found["seconds"]) == ("garage", 3, 0.25)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_hostile_value_stays_on_its_line_and_in_its_field(
    capsys: pytest.CaptureFixture[str], log_format: logs.LogFormat, value: str
) -> None:
    """No value can start a line, forge a field or send control characters to a terminal."""
    logs.configure(log_format, "info")
    logs.logger("goe_exporter.test").warning("poll failed", charger=value, reason="dns")
    text = line(capsys)
    assert text.isprintable()
    found = json.loads(text) if log_format == "json" else fields(text)
    assert list(found) == ["time", "level", "event", "charger", "reason"]
    assert found["charger"] == value
    assert found["level"] == "warning"
    assert found["reason"] == "dns"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(max_size=40))
@example(value="%s %(name)s {}")
@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_any_text_comes_back_as_it_was(
    capsys: pytest.CaptureFixture[str], log_format: logs.LogFormat, value: str
) -> None:
    """Any value and any event can be parsed back from the line."""
    logs.configure(log_format, "info")
    logs.logger("goe_exporter.test").info(value, charger=value)
    text = line(capsys)
    found = json.loads(text) if log_format == "json" else fields(text)
    assert (found["event"], found["charger"]) == (value, value)


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_traceback_is_on_the_same_line(
    capsys: pytest.CaptureFixture[str], log_format: logs.LogFormat
) -> None:
    """The traceback of an exception is a field of the line."""
    logs.configure(log_format, "info")
    log = logs.logger("goe_exporter.test")
    try:
        raise ZeroDivisionError("hostile\nlevel=info\x1b[31m")  # noqa: TRY301
    except ZeroDivisionError:
        log.exception("poll aborted by an internal error", charger="garage")
    text = line(capsys)
    assert text.isprintable()
    found = json.loads(text) if log_format == "json" else fields(text)
    assert found["level"] == "error"
    assert "ZeroDivisionError: hostile\nlevel=info" in found["traceback"]
    assert "test_logs.py" in found["traceback"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning"]),
        ("info", ["info", "warning"]),
        ("warning", ["warning"]),
    ],
)
def test_level(capsys: pytest.CaptureFixture[str], level: str, expected: list[str]) -> None:
    """Events below the level are not written."""
    logs.configure("json", level)
    log = logs.logger("goe_exporter.test")
    log.debug("one")
    log.info("two")
    log.warning("three")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(each)["level"] for each in lines] == expected


def test_configured_twice_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A second configuration replaces the first."""
    logs.configure("json", "info")
    logs.configure("logfmt", "info")
    logs.logger("goe_exporter.test").info("once")
    assert " event=once" in line(capsys)


def test_losses(capsys: pytest.CaptureFixture[str]) -> None:
    """Dropping is logged when it begins, with a count each hour, and when it ends."""
    logs.configure("json", "info")
    now = [0.0]
    losses = logs.Losses(logs.logger("goe_exporter.test"), lambda: now[0])

    def said(seconds: float, dropped: int, *, full: bool = False) -> list[tuple[str, int]]:
        now[0] = seconds
        losses.note(dropped, full=full)
        found = map(json.loads, capsys.readouterr().err.splitlines())
        return [(each["event"], each["dropped"]) for each in found]

    assert said(0, 0) == []
    assert said(10, 3) == [("points dropped", 3)]
    assert said(20, 5) == []
    assert said(3609, 9) == []
    assert said(3610, 12) == [("points dropped in the last hour", 9)]
    assert said(7209, 12, full=True) == []
    assert said(7210, 12, full=True) == []
    assert said(20_000, 20, full=True) == [("points dropped in the last hour", 8)]
    assert said(23_599, 20) == []
    assert said(23_600, 20) == [("no more points dropped", 20)]
    assert said(30_000, 20) == []
    assert said(30_005, 21) == [("points dropped", 1)]
    assert said(33_605, 21) == [("no more points dropped", 1)]


def test_events_are_not_written_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Handlers of the root logger do not write the exporter's events again."""
    others: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = others.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        logs.configure("logfmt", "info")
        logs.logger("goe_exporter.test").info("once")
    finally:
        logging.getLogger().removeHandler(handler)
    assert " event=once" in line(capsys)
    assert others == []


@pytest.mark.parametrize(
    ("environment", "log_format", "begins"),
    [
        ({}, "logfmt", ["time=", "\x1b[33mtime=", "\x1b[31mtime="]),
        ({"NO_COLOR": ""}, "logfmt", ["time=", "\x1b[33mtime=", "\x1b[31mtime="]),
        ({"NO_COLOR": "1"}, "logfmt", ["time="] * 3),
        ({"TERM": "dumb"}, "logfmt", ["time="] * 3),
        ({}, "json", ['{"time": '] * 3),
    ],
    ids=["terminal", "empty", "NO_COLOR", "dumb", "json"],
)
def test_colours_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    log_format: logs.LogFormat,
    begins: list[str],
) -> None:
    """On a terminal, warnings are yellow and errors red, each line for itself; JSON never."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    terminal, line = pty.openpty()
    with open(line, "w", encoding="utf-8", buffering=1) as stderr:  # noqa: PTH123, a descriptor
        monkeypatch.setattr("sys.stderr", stderr)
        logs.configure(log_format, "info")
        log = logs.logger("goe_exporter.test")
        log.info("started")
        log.warning("poll failed", charger="\x1b[31mgarage")
        logging.getLogger("goe_exporter.test").error("poll aborted by an internal error")
    read = bytearray()
    with contextlib.suppress(OSError):  # Linux reports a terminal without a writer this way
        while piece := os.read(terminal, 65536):
            read += piece
    os.close(terminal)
    written = read.decode().splitlines()
    assert len(written) == 3
    for text, begin in zip(written, begins, strict=True):
        assert text.startswith(begin)
        assert text.endswith("\x1b[0m") == ("\x1b" in begin)
        assert text.removeprefix(begin).removesuffix("\x1b[0m").isprintable()


def test_web_server_errors_have_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of the web server are logged in the same format; its other events are not."""
    logs.configure("logfmt", "info")
    server = logging.getLogger("uvicorn.error")
    server.info("Started server process [%d]", 1)
    server.warning("Invalid HTTP request received.")
    server.error("Exception in ASGI application")
    assert line(capsys).endswith(' level=error event="Exception in ASGI application"')
