"""`goe-exporter sessions`: the table, CSV and JSON, the report, the books and the copy."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from paths import GOLDEN
from session_stores import autumn, renamed, unix, write

from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Book, Session, Unassigned

if TYPE_CHECKING:
    from commands import Goe

CONFIG = """
cards: {1: Anna, 3: "ABC-E 123 (company car)"}
sessions:
  store: STORE
  time_zone: Europe/Berlin
  tariffs:
    - {since: 2026-11-01, price: 0.31, windows: [{from: 22:00, to: 06:00, price: 0.22}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Return a configuration whose store has the sessions of an autumn."""
    store = write(tmp_path / "sessions.db", autumn())
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("STORE", str(store)))
    return str(path)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sessions.txt", ()),
        ("sessions_by_day.txt", ("--by", "day", "--from", "2026-10-31", "--to", "2026-11-05")),
        ("sessions_by_card.txt", ("--by", "card", "--month", "2026-11")),
        ("sessions.csv", ("--format", "csv", "--month", "2026-11")),
        ("sessions_de.csv", ("--format", "csv-de", "--month", "2026-11")),
        ("sessions_by_month.csv", ("--format", "csv", "--by", "month")),
        ("sessions.json", ("--format", "json", "--month", "2026-11", "--charger", "garage")),
    ],
)
def test_golden(
    goe: Goe, config: str, name: str, arguments: tuple[str, ...], update_golden: bool
) -> None:
    """The whole output at 80 columns; `pytest --update-golden` updates it."""
    outcome = goe("sessions", "--config.file", config, *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    text = outcome.out
    if update_golden:
        (GOLDEN / name).write_text(text, encoding="utf-8", newline="\n")
    assert text == (GOLDEN / name).read_text("utf-8")
    if name.endswith(".txt"):
        assert max(map(len, text.splitlines())) <= 80


def test_list_is_the_default(goe: Goe, config: str) -> None:
    """`sessions` and `sessions list` are the same."""
    short, long = (goe("sessions", *each, "--config.file", config) for each in ((), ("list",)))
    assert short == long
    assert short.status == 0


def test_csv_of_a_spreadsheet(goe: Goe, config: str) -> None:
    """A charger named like a formula is a text; the file has a byte order mark, as Excel needs."""
    text = goe("sessions", "--config.file", config, "--format", "csv-de").out
    assert text.startswith("\ufeffid;")
    rows = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    assert [row["charger"] for row in rows][-2:] == ["'=yard;", "garage"]
    assert rows[0]["energy_kwh"] == "8,000"
    assert rows[-1]["end"] == ""
    assert rows[-1]["flags"] == "under_way"


def test_last_sessions(goe: Goe, tmp_path: Path, config: str) -> None:
    """Without a period, the table has the last 20 sessions; CSV and sums have all."""
    template = next(each for each in autumn() if isinstance(each, Session))
    days = [unix(f"2026-09-{day:02} 10:00") for day in range(1, 31)]
    sessions = [
        Session(f"1_{day}", "garage", "1", 2, day, day + 60, 0, 0, 0, flags=template.flags)
        for day in days
    ]
    (tmp_path / "sessions.db").unlink()
    write(tmp_path / "sessions.db", sessions)
    text = goe("sessions", "--config.file", config).out
    assert "2026-09-11 10:00" in text
    assert "2026-09-10 10:00" not in text
    assert "20 sessions" in text
    assert len(goe("sessions", "--config.file", config, "--format", "csv").out.splitlines()) == 31
    assert "30" in goe("sessions", "--config.file", config, "--by", "charger").out


def test_selection(goe: Goe, config: str) -> None:
    """Sessions are selected by card and charger; energy in no session belongs to no card."""
    arguments = ("sessions", "--config.file", config, "--format", "json")
    found = json.loads(goe(*arguments, "--card", "3", "--card", "0").out)
    assert [each["card"] for each in found["sessions"]] == [3, 0]
    assert found["total"]["energy_kwh"] == 7.0
    assert found["total"]["unassigned_kwh"] is None
    found = json.loads(goe(*arguments, "--charger", "=yard;", "--by", "charger").out)
    assert [(each["charger"], each["energy_kwh"]) for each in found["sums"]] == [("=yard;", 10.05)]
    assert found["total"]["unassigned_kwh"] == 0
    found = json.loads(goe(*arguments, "--month", "2026-11").out)
    assert found["total"]["unassigned_kwh"] == 0.31
    assert found["total"]["corrections_kwh"] == -1000.0


def test_renamed_charger(goe: Goe, tmp_path: Path, config: str) -> None:
    """A charger that was renamed has its former sessions, in lists, sums and the report."""
    (tmp_path / "sessions.db").unlink()
    write(tmp_path / "sessions.db", renamed())
    chosen = ("--config.file", config, "--month", "2026-11", "--charger", "home")
    found = json.loads(goe("sessions", *chosen, "--format", "json").out)
    assert [each["energy_kwh"] for each in found["sessions"]] == [4.0, 5.6, 3.0]
    assert found["total"]["energy_kwh"] == 12.6
    assert found["total"]["unassigned_kwh"] == 0.31
    assert "12.600 kWh" in goe("sessions", "report", *chosen).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--month", "2026-13"], "--month: must be a month such as 2026-11, not '2026-13'"),
        (["--month", "9999-12"], "--month: must be a month such as 2026-11, not '9999-12'"),
        (["--to", "9999-12-31"], "--to: must be a date such as 2026-01-31, not '9999-12-31'"),
        (["--from", "1.11.2026"], "--from: must be a date such as 2026-01-31, not '1.11.2026'"),
        (
            ["--month", "2026-11", "--to", "2026-11-03"],
            "--month cannot be combined with --from or --to",
        ),
        (
            ["--from", "2026-11-03", "--to", "2026-11-02"],
            "--to: must not be before --from, 2026-11-03",
        ),
        (["--card", "11"], "--card: must be 1 to 10, or 0 for no card, not '11'"),
        (
            ["--charger", "gargae"],
            "--charger: no charger 'gargae' in the store; known are =yard;, garage",
        ),
        (
            ["report", "--month", "2026-09"],
            "--month: no charger was recorded in 2026-09",
        ),
        (
            ["report"],
            "Missing option '--month' (env var: 'GOE_EXPORTER_SESSIONS_MONTH').",
        ),
        (["chek"], "No such command 'chek'. Did you mean 'check'?"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_usage(goe: Goe, config: str, arguments: list[str], message: str) -> None:
    """Wrong usage has exit status 2 and prints one line."""
    outcome = goe(
        "sessions", *arguments, *([] if "chek" in arguments else ["--config.file", config])
    )
    assert outcome == (2, "", f"goe-exporter: {message}\n")


def test_without_sessions(goe: Goe, tmp_path: Path, config: str) -> None:
    """A configuration without the section, or a missing store, is an error of one line."""
    empty = tmp_path / "empty.yaml"
    empty.write_text("{}")
    outcome = goe("sessions", "check", "--config.file", str(empty))
    assert outcome == (2, "", f"goe-exporter: {empty} has no sessions section\n")
    store = tmp_path / "sessions.db"
    store.unlink()
    for command in ("list", "check", "report --month 2026-11"):
        outcome = goe("sessions", *command.split(), "--config.file", config)
        reason = "there is no such file; serve and push create it"
        message = f"goe-exporter: cannot read the session store {store}: {reason}\n"
        assert outcome == (2, "", message)
    assert not store.exists()


def test_report(goe: Goe, tmp_path: Path, config: str) -> None:
    """The report is written to a file or to standard output, in the chosen language."""
    path = tmp_path / "report.html"
    arguments = ("sessions", "report", "--config.file", config, "--month", "2026-11")
    outcome = goe(*arguments, "--language", "de", "--output", str(path))
    assert outcome == (0, "", "")
    assert "<h1>Ladebericht November 2026</h1>" in path.read_text("utf-8")
    assert "<h1>Charging report November 2026</h1>" in goe(*arguments).out
    outcome = goe(*arguments, "--output", str(tmp_path / "nowhere/x.html"))
    reason = "No such file or directory"
    assert outcome == (2, "", f"goe-exporter: cannot write {tmp_path}/nowhere/x.html: {reason}\n")


def test_books_that_close(goe: Goe, config: str) -> None:
    """The account of each charger is shown, and the exit status is 0."""
    outcome = goe("sessions", "check", "--config.file", config)
    assert outcome == (
        0,
        """\
=yard; (999)
  meter on 2026-11-19         52.000 kWh
  meter on 2026-12-02         62.000 kWh
  difference                  10.000 kWh
  in 1 session                10.000 kWh
  in no session                0.000 kWh
  corrections                  0.000 kWh
  missing                      0.000 kWh
  session counter             10.050 kWh, agrees (+0.050 kWh)
garage (212234)
  meter on 2026-10-30      1,000.000 kWh
  meter on 2026-12-02         20.910 kWh
  difference                -979.090 kWh
  in 4 sessions               20.600 kWh
  in no session                0.310 kWh
  corrections             -1,000.000 kWh
  missing                      0.000 kWh
""",
        "",
    )


def test_books_that_do_not_close(goe: Goe, tmp_path: Path, config: str) -> None:
    """The exit status is 1, and a line for each fault names the charger and the place."""
    (tmp_path / "sessions.db").unlink()
    extra = [
        Unassigned("garage", "212234", unix("2026-12-02 08:00"), 12),
        Book("attic", "7", 2, unix("2026-11-01 00:00"), 0, unix("2026-11-02 00:00"), 5),
    ]
    write(tmp_path / "sessions.db", [*autumn(), *extra])
    outcome = goe("sessions", "check", "--config.file", config)
    assert outcome.status == 1
    assert outcome.err == (
        "goe-exporter: attic (7): +5 Wh of the meter are in no account, after the reading of the"
        " first poll\n"
        "goe-exporter: garage (212234): -12 Wh of the meter are in no account, after the reading"
        " of 2026-12-01\n"
    )
    assert outcome.out.count("  missing ") == 3


def test_backup(goe: Goe, tmp_path: Path, config: str) -> None:
    """The copy can be read, and an existing file is not replaced."""
    copy = tmp_path / "copy.db"
    outcome = goe("sessions", "backup", "--config.file", config, str(copy))
    assert outcome == (0, f"{tmp_path}/sessions.db copied to {copy}\n", "")
    with Records(copy) as records:
        assert len(list(records.sessions())) == 4
    outcome = goe("sessions", "backup", "--config.file", config, str(copy))
    assert outcome == (2, "", f"goe-exporter: cannot write {copy}: the file exists\n")
    outcome = goe("sessions", "backup", "--config.file", config, f"{tmp_path}/a\0b")
    assert outcome.status == 2
    assert outcome.err.endswith("a\\x00b: not a valid file name\n")


def test_backup_of_a_damaged_store(goe: Goe, tmp_path: Path, config: str) -> None:
    """A store whose pages are damaged is not copied."""
    store = tmp_path / "sessions.db"
    content = bytearray(store.read_bytes())
    content[4096 + 8 : 8192] = b"\xff" * 4088
    store.write_bytes(content)
    outcome = goe("sessions", "backup", "--config.file", config, f"{tmp_path}/copy.db")
    assert outcome.status == 2
    assert f"cannot copy the session store {store} to {tmp_path}/copy.db: " in outcome.err
    assert "damaged" in outcome.err or "malformed" in outcome.err
    assert not list(tmp_path.glob("copy*"))


def test_while_another_process_writes(goe: Goe, tmp_path: Path, config: str) -> None:
    """All commands work while a writer has the store open, between its transactions."""
    writer = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode = TRUNCATE")
    writer.execute("UPDATE tracked SET last_time = last_time + 1")
    copy = str(tmp_path / "copy.db")
    for command in ("list", "check", "report --month 2026-11", f"backup {copy}"):
        assert goe("sessions", *command.split(), "--config.file", config).status == 0
        writer.execute("UPDATE tracked SET last_time = last_time + 1")
    writer.close()
