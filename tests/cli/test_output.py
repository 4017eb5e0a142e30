"""Output of the command line: rounded, within its columns, without control sequences."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from captures import FULL, decoded, load
from fake_influx import FakeInflux
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from servers import push_config, wait_for

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.cli.printable import printable
from goe_exporter.cli.tables import print_readings, print_rows, progress
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.spool.queue import Spool

if TYPE_CHECKING:
    from commands import Goe, Launch
    from speaker import Speak

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


def on_a_terminal(*arguments: str, **environment: str) -> bytes:
    """Return what a command writes to a terminal."""
    kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    terminal, line = pty.openpty()
    null = os.open(os.devnull, os.O_RDONLY)
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "goe_exporter.cli", *arguments],
        {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"} | environment,
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


@pytest.mark.system
def test_the_progress_bar(tmp_path: Path) -> None:
    """`spool drain` shows on a terminal how many points it has delivered."""
    spool = Spool(tmp_path / "spool", 1024**2)
    for number in range(250):
        assert spool.append(b"m v=1 %d" % (1_780_000_000_000 + number))
    spool.close()
    with FakeInflux() as server:
        config = push_config(tmp_path, server.url, {}, batch=100)
        written = on_a_terminal("spool", "drain", "--config.file", str(config)).decode()
    assert re.findall(r"delivering.*?(\d+)/250", written)[-1] == "250"
    assert written.endswith("250 points delivered, 0 rejected\r\n")


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


def view(status: Mapping[str, object], name: str = "garage") -> ChargerView:
    """Return the view of a charger that has just answered with a status."""
    snapshot = Snapshot(name, 2, 1.0, 1.0, decode(status, 2).readings)
    return ChargerView(name, "192.0.2.1", PollStats(), snapshot, 0.0)


def shown(capsys: pytest.CaptureFixture[str], *views: ChargerView) -> str:
    """Return the table of chargers."""
    capsys.readouterr()
    print_readings(views)
    return capsys.readouterr().out


def rows(table: str) -> dict[str, str]:
    """Return the readings of an unbroken table by channel, each with its unit."""
    lines = [re.split(" {2,}", line.rstrip(), maxsplit=1) for line in table.splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def test_numbered_parts_have_a_colon(capsys: pytest.CaptureFixture[str]) -> None:
    """A card number has a colon, since "1 0" would read as two values; a phase needs none."""
    status = {"cards": [{"energy": 1500}, {"energy": 0}], "nrg": [230, 231, 229] + [0] * 13}
    table = shown(capsys, view(status))
    assert "1: 1500  2: 0" in table
    assert "L1 230  L2 231  L3 229" in table


PRECISE = {
    "nrg": [
        *(233.7412, 0.04999, 229.95, 0.02, 15.5449, 0.9902875, 16, 3497.5449, -0.04, 0.25, 0),
        *(10_533.26, 99.02875, -98.6, 100, 0),
    ],
    "wh": 3200.825,
    "eto": 1_234_567.89,
    "tma": [29.875, 23.04],
    "fhz": 49.84700012,
    "rbt": 1_678_385_505,
    "rssi": -61.4,
    "awp": 3.456,
}


def test_rounded_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """The table rounds to what people read of each unit, without trailing zeros or -0."""
    monkeypatch.delenv("COLUMNS", raising=False)
    found = rows(shown(capsys, view(PRECISE)))
    expected = {
        "phase-voltage": "L1 233.7  L2 0  L3 229.9  N 0   V",
        "phase-current": "L1 15.54  L2 0.99  L3 16   A",
        "phase-power": "L1 3497.5  L2 0  L3 0.2  N 0   W",
        "power": "10533.3   W",
        "phase-power-factor": "L1 0.99  L2 -0.99  L3 1  N 0",
        "session-energy": "3200.8   Wh",
        "energy": "1234567.9   Wh",
        "temperature": "type2_port 29.9  board 23   °C",
        "grid-frequency": "49.85   Hz",
        "uptime": "1678386   s",
        "wifi-signal": "-61   dBm",
        "awattar-max-price": "3.46   ct",
    }
    squeezed = {name: " ".join(text.split()) for name, text in found.items()}
    for name, text in expected.items():
        assert squeezed[name] == " ".join(text.split()), name


def test_other_formats_are_exact(goe: Goe, speak: Speak) -> None:
    """JSON, metrics and line protocol have all digits."""
    body = json.dumps({"car": 1, **PRECISE}).encode()
    box = speak(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    place = ("read", f"garage={box.address}", "--api", "2", "--format")
    readings = json.loads(goe(*place, "json").out)["readings"]
    assert readings["phase_current"]["L2"] == 0.9902875
    assert readings["grid_frequency"] == 49.84700012
    assert 'phase_current_amperes{charger="garage",phase="L2"} 0.9902875\n' in (
        goe(*place, "prometheus").out
    )
    assert "phase_current_l2_a=0.9902875," in goe(*place, "influx").out


def pieces(table: str) -> list[str]:
    """Return what two spaces separate in a table, in alphabetical order."""
    return sorted(re.split(" {2,}|\n", table.replace("─", "")))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", FULL)
def test_captures_at_any_width(
    captures_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    width: int,
) -> None:
    """The table of every capture fits its columns, and no label is left without its value."""
    readings = decoded(name, load(captures_folder, name)).readings
    snapshot = Snapshot("Büro", 2, 1.0, 1.0, readings)
    seen = ChargerView("Büro", "192.0.2.1", PollStats(), snapshot, 0.0)
    monkeypatch.delenv("COLUMNS", raising=False)
    piped = shown(capsys, seen)
    monkeypatch.setenv("COLUMNS", str(width))
    table = shown(capsys, seen)
    assert max(map(columns, table.splitlines())) <= width
    assert "…" not in table
    assert re.findall(r"\d+:\s*(?:\n|$)", table) == []
    if width >= 60:
        assert [each for each in pieces(table) if each] == [each for each in pieces(piped) if each]


@pytest.mark.parametrize("width", ["0", "1", "12", "20"])
def test_no_reading_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    """A width that holds no table, such as 0 before a terminal has a size, hides no reading."""
    monkeypatch.setenv("COLUMNS", width)
    table = shown(capsys, view({"nrg": [231, 232, 233, 4], "eto": 4321}))
    for text in ("231", "232", "233", "4321", "Wh"):
        assert text in table


def test_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are broken at hyphens, texts at spaces; what is too long by itself is broken too."""
    monkeypatch.setenv("COLUMNS", "40")
    status = {"amt": 32, "nrg": [230] * 4, "tma": [20.5] * 5, "fna": "Ladesäule am Gartenhaus"}
    assert shown(capsys, view(status)).splitlines() == [
        "garage  API v2",
        "channel           reading           unit",
        "────────────────────────────────────────",
        "phase-voltage     L1 230  L2 230    V",
        "                  L3 230  N 230",
        "temperature-      32                A",
        "current-limit",
        "temperature       type2_port 20.5   °C",
        "                  board 20.5",
        "                  grid_connector",
        "                  20.5",
        "                  current_sensor",
        "                  20.5",
        "                  type2_terminals",
        "                  20.5",
        "device-name       Ladesäule am",
        "                  Gartenhaus",
    ]


def test_an_output_without_box_characters(launch: Launch, speak: Speak) -> None:
    """The rule below the headings is of hyphens where the encoding has no line for it."""
    box = speak(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n" + b'{"car":1,"eto":250}')
    arguments = ("read", f"garage={box.address}", "--api", "2")
    outcome = launch(*arguments, PYTHONIOENCODING="iso-8859-1").end()
    assert outcome.out.splitlines() == [
        "garage  API v2",
        "channel     reading    unit",
        "---------------------------",
        "energy      250        Wh",
        "car-state   idle (1)",
    ]


def test_wide_and_combining_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line has as many as fit: a wide character takes two columns, a combining one none."""
    monkeypatch.setenv("COLUMNS", "40")
    table = shown(capsys, view({"fna": "漢字漢字漢字漢 Bu\u0308ro 漢字漢字"}))
    assert table.splitlines()[2:] == [
        "────────────────────────────────────────",
        "device-name   漢字漢字漢字漢 Bu\u0308ro",
        "              漢字漢字",
    ]


def test_columns_stay_aligned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows a wide or combining character begins in the same column."""
    monkeypatch.setenv("COLUMNS", "40")
    print_rows(
        ("name", "kWh"), [("漢字", "1.5"), ("Bu\u0308ro", "12"), ("yard", "3")], numbers=("kWh",)
    )
    assert capsys.readouterr().out.splitlines() == [
        "name  kWh",
        "─────────",
        "漢字  1.5",
        "Bu\u0308ro   12",
        "yard    3",
    ]


def test_progress_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar fits its line, which a step overwrites; a line that wraps would stay."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with progress(10) as show:
        show(3)
        show(10)
    lines = re.sub(r"\x1b\[\?25[lh]", "", capsys.readouterr().out).split("\r")
    steps = [line.rstrip("\n") for line in lines if line.strip()]
    assert [step.split("  ")[-1] for step in steps] == ["0/10", "3/10", "10/10"]
    assert [columns(step) for step in steps] == [40, 40, 40]
    assert max(map(columns, lines)) <= 41  # with the line's end


def test_piped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, each channel is one line, whatever its length, without colours."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    cards = {f"c{number}e": 1_000_000 + number for number in range(10)}
    limits = dict.fromkeys(
        ("requestedCurrent", "currentLimitMax", "minChargingCurrent", "temperatureCurrentLimit",
         "adapterCurrentLimit", "cableCurrentLimit", "loadLimit", "unsymetryCurrentLimit",
         "awattar", "accessControl"), 16,
    )  # fmt: skip
    name = "Ladesäule Bürogebäude Süd, Außenstellplatz 7 (Gäste)"
    table = shown(capsys, view(cards | {"cll": limits, "tma": [20] * 10, "fna": name}, name))
    assert "\x1b" not in table
    found = rows(table)
    assert found["card-energy"].startswith("1: 1000000  2: 1000001  3: 1000002  4: 1000003  5: ")
    assert re.search(r"  10: 1000009 +Wh$", found["card-energy"])
    assert re.search(r"  awattar 16  access 16 +A$", found["current-limit"])
    assert re.search(r"^type2_port 20 .* internal_4 20 +°C$", found["temperature"])
    assert found["device-name"] == name
    assert table.startswith(f"{name}  API v2\n")


def test_a_controller_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The readings of a line take 160 columns; each line has the channel and the unit."""
    monkeypatch.delenv("COLUMNS", raising=False)
    names = [f"Category {number:02}" for number in range(1, 17)]
    status = {"ccn": names, "cec": [[100_000 + number, 0] for number in range(16)]}
    status["ccp"] = [1] * 16
    readings = decode(status, 2, CONTROLLER.channels).readings
    snapshot = Snapshot("house", 2, 1.0, 1.0, readings)
    table = shown(
        capsys, ChargerView("house", "192.0.2.1", PollStats(), snapshot, 0.0, table=CONTROLLER)
    )
    lines = table.splitlines()[1:]
    assert max(map(len, lines)) <= 160 + 20 + 3 + 3 + 4
    energy = [line for line in lines if line.startswith("energy ")]
    assert len(energy) > 2
    assert all(line.endswith(" Wh") for line in energy)
    assert re.findall(r"custom_10 in (\d+)", table) == ["100015"]
    assert "home: Category 01  grid: Category 02  " in table


# Colours

RED, YELLOW, NONE, BOLD = b"\x1b[31m", b"\x1b[33m", b"\x1b[0m", b"\x1b[1m"


@pytest.mark.system
@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
    ids=["terminal", "empty", "1", "0", "dumb"],
)
def test_colours_on_a_terminal(environment: dict[str, str], coloured: bool) -> None:
    """Errors are red and headings bold, unless NO_COLOR is not empty or the terminal has none."""
    written = on_a_terminal("read", "a b", **environment)
    words = b"goe-exporter: charger 'a b': host: must be a host name or address"
    assert written.startswith(RED + words if coloured else words)
    assert written.endswith(NONE + b"\r\n") == coloured
    assert on_a_terminal("nosuch", **environment).startswith(RED) == coloured
    with Simulator() as simulator:
        box = simulator.add(Charger("V4"))
        written = on_a_terminal("read", box.address, **environment)
    assert (BOLD + b"channel" in written) == coloured
    assert (b"\x1b" in written) == coloured


def test_no_colours_without_a_terminal(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error into a file or a pipe has no colours, even if another program would force them."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.setenv(name, "1")
    outcome = goe("read", "a b")
    assert outcome.status == 2
    assert "\x1b" not in outcome.err
