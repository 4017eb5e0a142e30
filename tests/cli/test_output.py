"""Output of the command line: within 80 columns, and without control sequences."""

from __future__ import annotations

import os
import pty
import sys
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from servers import wait_for

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.cli.printable import printable
from goe_exporter.cli.tables import print_readings
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.simulator import Charger, Simulator

if TYPE_CHECKING:
    from commands import Goe

HOSTILE = [
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "line\nline\r\nline\u2028line",
    "\x9b31m\x90q\x9c",
    "back\b\b\b\bspace\x7f",
    "right\u202eleft\u2066",
    "[red]markup[/red] :smile: {brace}",
    "x" * 10_000,
    "漢" * 10_000,
    "quote\"s 'and' \\ | } {",
    "car 🚗 in the Büro",
    "half \ud800 a pair",
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("garage", "garage"),
        ("Büro 🚗 漢", "Büro 🚗 漢"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x9b\x7f", r"\x9b\x7f"),
        ("\u202e", r"\u202e"),
        ("\ud800", r"\ud800"),
        ("", ""),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """Control characters are escaped, other text is unchanged, and long text is cut."""
    assert printable(text) == shown


def test_printable_of_a_given_length() -> None:
    """The maximum length can be chosen."""
    assert printable("abcdef", max_length=4) == "abc…"


@given(st.text())
def test_printable_of_any_text(text: str) -> None:
    """The result has no control or direction characters, and can be encoded."""
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown


def columns(line: str) -> int:
    """Return the number of columns of a line; wide characters count two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:8]))
def test_a_hostile_name_in_the_table(goe: Goe, name: str) -> None:
    """A hostile charger name is one reading of printable text within 80 columns."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4", name=name))
        outcome = goe("read", f"garage={box.address}")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.split("\n")
    assert all(line.isprintable() for line in lines)
    assert max(map(columns, lines)) <= 80
    names = [line.split()[0] for line in lines if line[:1].strip()]
    assert names.count("device-name") == 1
    start = next(index for index, line in enumerate(lines) if "device-name" in line)
    assert any("access" in line for line in lines[start + 1 : start + 14])


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:8]))
def test_a_hostile_name_in_json(goe: Goe, name: str) -> None:
    """JSON on a terminal is ASCII."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4", name=name))
        outcome = goe("read", f"garage={box.address}", "--format", "json")
    assert outcome.status == 0
    assert all(line.isascii() and line.isprintable() for line in outcome.out.split("\n"))


def on_a_terminal(*arguments: str) -> bytes:
    """Return what a command writes to a terminal."""
    terminal, line = pty.openpty()
    null = os.open(os.devnull, os.O_RDONLY)
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "goe_exporter.cli", *arguments],
        {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, line, 1),
            (os.POSIX_SPAWN_DUP2, line, 2),
        ],
    )
    os.close(line)
    os.close(null)
    written = bytearray()
    try:
        while piece := os.read(terminal, 65536):
            written += piece
    except OSError:
        pass  # Linux reports a terminal without a writer this way
    finally:
        os.close(terminal)
        wait_for(lambda: os.waitpid(process, os.WNOHANG)[0] != 0, "the end of the command")
    return bytes(written)


@pytest.mark.system
@pytest.mark.parametrize("output", ["table", "json", "prometheus"])
def test_a_hostile_name_on_a_terminal(output: str) -> None:
    """No control sequence of a name reaches the terminal, in any format."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4", name=HOSTILE[0]))
        written = on_a_terminal("read", f"\x1b]0;ours\x07={box.address}", "--format", output)
    assert b"owned" in written
    assert b"\x1b]0;" not in written
    assert b"\x07" not in written
    assert b"\x1b[2J" not in written


def test_hostile_text_in_an_error(goe: Goe) -> None:
    """An error quotes hostile text in one printable line."""
    outcome = goe("read", "\x1b[31m\nhost\u202e")
    assert outcome.status == 2
    assert outcome.err.endswith("\n")
    assert outcome.err[:-1].isprintable()


def test_a_hostile_refusal(goe: Goe) -> None:
    """A charger's message is untrusted text too."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4"))
        box.fault = "invalid_utf8"
        outcome = goe("read", box.address)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err[:-1].isprintable()


def test_numbered_parts_have_a_colon(capsys: pytest.CaptureFixture[str]) -> None:
    """A card number has a colon, since "1 0" would read as two values; a phase needs none."""
    status = {"cards": [{"energy": 1500}, {"energy": 0}], "nrg": [230, 231, 229] + [0] * 13}
    readings = decode(status, 2).readings
    snapshot = Snapshot("garage", 2, 1.0, 1.0, readings)
    print_readings([ChargerView("garage", "192.0.2.1", PollStats(), snapshot, 0.0)])
    shown = capsys.readouterr().out
    assert "1: 1500  2: 0" in shown
    assert "L1 230  L2 231  L3 229" in shown
