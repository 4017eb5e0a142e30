"""Sessions as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import pytest
from session_stores import BERLIN, session, slots

from goe_exporter.sessions import rows
from goe_exporter.sessions.ledger import Period, entry, lines
from goe_exporter.sessions.tariff import Rates


def row(**more: object) -> rows.Row:
    found = session(
        *("2026-10-25 01:30", "2026-10-25 03:00", 1_234_567, slots("2026-10-25 01:30", 2, 617)),
        **more,
    )
    each = entry(found, Period(None, None, BERLIN))
    assert each is not None
    (line,) = lines(None, [each], Rates([], BERLIN))
    return rows.session_row(line, BERLIN, {"1": "@Anna"}, "EUR")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@A1", "\tx", "\rx"])
def test_formulas_are_defused(name: str) -> None:
    """Text that could be a formula is prefixed with an apostrophe; numbers are not."""
    text = rows.as_csv([row(charger=name, flags=("=x",))], rows.SESSION_COLUMNS)
    (found,) = csv.DictReader(io.StringIO(text, newline=""))
    shown = name.replace("\r", " ")
    assert (found["charger"], found["card_name"]) == (f"'{shown}", "'@Anna")
    assert found["flags"] == "'=x"
    assert found["energy_kwh"] == "1.234"


def test_negative_numbers_are_numbers() -> None:
    """A correction in JSON and a number in CSV keep their sign."""
    text = rows.as_csv([{"a": Decimal("-1.5"), "b": -2, "c": None}], ("a", "b", "c"), german=True)
    assert text == "a;b;c\n-1,5;-2;\n"


def test_cells_that_need_quotes() -> None:
    """A separator, a quote or a line break in a name stays in its cell."""
    name = 'a;b,c"d\ne'
    for german in (False, True):
        text = rows.as_csv([row(charger=name)], ("id", "charger"), german=german)
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=";" if german else ","))
        assert found[1][1] == name


def test_times() -> None:
    """Times have their offset, summer and winter; in German they are local, without one."""
    assert rows.as_csv([row()], ("start", "end")) == (
        "start,end\n2026-10-25T01:30:00+02:00,2026-10-25T03:00:00+01:00\n"
    )
    assert rows.as_csv([row()], ("start", "energy_kwh"), german=True) == (
        "start;energy_kwh\n2026-10-25 01:30:00;1,234\n"
    )


def test_json_has_numbers() -> None:
    """Energies are numbers in kWh, and what is unknown is null."""
    found = json.loads(json.dumps(rows.as_json(row(card=None))))
    assert (found["energy_kwh"], found["meter_start_kwh"]) == (1.234, 1234.567)
    assert (found["card"], found["amount"], found["solar_kwh"]) == (None, None, None)
    assert found["unpriced_kwh"] == 1.234
    assert found["plugged_s"] == 9_000
