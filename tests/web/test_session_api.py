"""Charging sessions as JSON and CSV, against their OpenAPI description."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from session_stores import autumn, unix, write
from sites import Site

from goe_exporter.config.strict_yaml import validated
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web import session_api
from goe_exporter.web.content import SessionLog

HOSTILE = '=HYPERLINK("x"),;<b>\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a site with the sessions of two chargers."""
    store = write(tmp_path_factory.mktemp("store") / "sessions.db", autumn())
    raw = {
        "store": str(store), "time_zone": "Europe/Berlin", "web": True,
        "tariffs": [{"since": "2026-11-01", "price": 0.31}],
    }  # fmt: skip
    settings = validated(SessionSettings, raw, "FILE")
    log = SessionLog(lambda: settings, lambda: {"3": HOSTILE}, lambda: unix("2026-12-02 12:00"))
    with Site(list, sessions=log) as running:
        yield running


@pytest.fixture(scope="module")
def description(site: Site) -> dict[str, Any]:
    """Return the description as the server sends it."""
    found: dict[str, Any] = json.loads(site.ask("/api/v1/openapi.json").body)
    return found


def sessions(site: Site, description: dict[str, Any], query: str = "") -> tuple[list[Any], Any]:
    """Return the sessions of a query, which match the description, and the id to continue after."""
    reply = site.ask(f"/api/v1/sessions{query}")
    assert reply.status == 200, reply.body
    found = json.loads(reply.body)
    reference = {"$ref": "#/components/schemas/Sessions"} | description
    Draft202012Validator(reference).validate(found)
    return found["sessions"], found["next"]


def test_description(description: dict[str, Any]) -> None:
    """The description with sessions is valid OpenAPI and has their paths."""
    validate(description)
    assert {"/api/v1/sessions", "/api/v1/sessions.csv"} <= set(description["paths"])


def test_all(site: Site, description: dict[str, Any]) -> None:
    """All sessions are there, the one under way first, then by their end."""
    found, following = sessions(site, description)
    assert following is None
    assert [(each["charger"], each["end"]) for each in found] == [
        ("garage", None),
        ("=yard;", "2026-11-20T16:00:00+01:00"),
        ("garage", "2026-11-05T23:00:00+01:00"),
        ("garage", "2026-11-05T20:00:40+01:00"),
        ("garage", "2026-11-01T08:00:00+01:00"),
    ]
    assert found[2] == {
        "id": f"212234_{unix('2026-11-05 20:00:40')}",
        "charger": "garage",
        "serial": "212234",
        "start": "2026-11-05T20:00:40+01:00",
        "end": "2026-11-05T23:00:00+01:00",
        "plugged_s": 10_760,
        "charging_s": 10_800,
        "part": "",
        "energy_kwh": 3.0,
        "meter_start_kwh": 1013.6,
        "meter_end_kwh": 1016.6,
        "card": 3,
        "card_name": HOSTILE,
        "solar_kwh": 1.0,
        "grid_kwh": 2.0,
        "battery_kwh": None,
        "other_kwh": None,
        "max_power_kw": 11.04,
        "unobserved_kwh": 0.75,
        "unobserved_s": 2_700,
        "amount": 0.93,
        "currency": "EUR",
        "unpriced_kwh": 0.0,
        "flags": "card_changed end_not_seen",
    }


@pytest.mark.parametrize(
    ("query", "starts"),
    [
        ("?from=2026-11-06", ["2026-12-01T10:00", "2026-11-20T12:00"]),
        ("?to=2026-10-31", ["2026-10-31T20:00"]),
        ("?from=2026-11-05&to=2026-11-05", ["2026-11-05T20:00", "2026-11-05T18:00"]),
        ("?month=2026-12", ["2026-12-01T10:00"]),
        ("?charger=%3Dyard%3B", ["2026-11-20T12:00"]),
        ("?charger=%3Dyard%3B&charger=garage&card=3", ["2026-11-05T20:00"]),
        ("?card=0&card=3", ["2026-12-01T10:00", "2026-11-05T20:00"]),
        ("?charger=nobody", []),
        ("?charger=garage'%20OR%201--", []),
        ("?from=&to=&before=&unknown=x&month=2020-01", []),
    ],
)
def test_selected(site: Site, description: dict[str, Any], query: str, starts: list[str]) -> None:
    """Days, months, chargers and cards select sessions."""
    found, _next = sessions(site, description, query)
    assert [each["start"][:16] for each in found] == starts


def test_part_of_a_session(site: Site, description: dict[str, Any]) -> None:
    """A session over the end of the period has its part of energy and amount."""
    ((first,), _next) = sessions(site, description, "?to=2026-10-31")
    assert (first["part"], first["energy_kwh"], first["amount"]) == ("first", 4.0, None)
    found, _next = sessions(site, description, "?month=2026-11")
    last = found[-1]
    assert (last["part"], last["energy_kwh"], last["amount"]) == ("last", 4.0, 1.24)


def test_parts_of_the_list(site: Site, description: dict[str, Any]) -> None:
    """With a limit, `next` leads through all sessions, once each."""
    found, following = sessions(site, description, "?limit=1")
    assert len(found) == 2  # one under way, too
    while following:
        more, following = sessions(site, description, f"?limit=1&before={following}")
        assert len(more) == 1
        found += more
    assert [each["id"] for each in found] == [
        each["id"] for each in sessions(site, description, "?limit=1000")[0]
    ]


@pytest.mark.parametrize("path", ["/api/v1/sessions", "/api/v1/sessions.csv"])
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", "limit: must be a whole number from 1 to 1000, not '0'"),
        ("limit=1001", "limit: must be a whole number from 1 to 1000, not '1001'"),
        ("limit=x", "limit: must be a whole number from 1 to 1000, not 'x'"),
        ("limit=" + "9" * 5000, "limit: must be a whole number from 1 to 1000, not '999"),
        ("card=11", "card: must be a whole number from 0 to 10, not '11'"),
        ("from=today", "from: must be a date such as 2026-01-31, not 'today'"),
        ("from=2026-02-30", "from: must be a date such as 2026-01-31, not '2026-02-30'"),
        ("to=9999-01-01", "to: must be a date such as 2026-01-31, not '9999-01-01'"),
        ("month=2026-13", "month: must be a month such as 2026-11, not '2026-13'"),
        ("month=2026-11&to=2026-11-02", "month: must not be given with from or to"),
        ("from=2026-11-02&to=2026-11-01", "to: must not be before from, 2026-11-02"),
        ("from=2026-11-02&from=2026-11-03", "from: must be given once"),
        ("style=fr", "style: must be de or en, not 'fr'"),
    ],
)
def test_invalid(
    site: Site, description: dict[str, Any], path: str, query: str, error: str
) -> None:
    """An invalid parameter is 400 with its name and the rule."""
    reply = site.ask(f"{path}?{query}")
    assert reply.status == 400
    found = json.loads(reply.body)
    Draft202012Validator({"$ref": "#/components/schemas/Error"} | description).validate(found)
    assert found["error"].startswith(error)
    assert len(found["error"]) < 150


def test_unknown_session(site: Site) -> None:
    """A `before` that is no session's id is 400."""
    reply = site.ask(f"/api/v1/sessions?before={quote(HOSTILE)}")
    assert reply.status == 400
    assert json.loads(reply.body)["error"].startswith("before: no session has the id '=HYPER")


def test_csv(site: Site) -> None:
    """The file has the columns of the command, the earliest session first, without formulas."""
    reply = site.ask("/api/v1/sessions.csv?month=2026-11")
    assert reply.type == "text/csv; charset=utf-8"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="sessions.csv"'
    header, *lines = csv.reader(io.StringIO(reply.body.decode()))
    assert header[:5] == ["id", "charger", "serial", "start", "end"]
    table = [dict(zip(header, line, strict=True)) for line in lines]
    assert [each["start"] for each in table] == [
        "2026-10-31T20:00:00+01:00",
        "2026-11-05T18:00:20+01:00",
        "2026-11-05T20:00:40+01:00",
        "2026-11-20T12:00:00+01:00",
    ]
    assert table[2]["card_name"] == f"'{HOSTILE}"
    assert table[3]["charger"] == "'=yard;"
    assert [each["energy_kwh"] for each in table] == ["4.000", "5.600", "3.000", "10.050"]


def test_german_csv(site: Site) -> None:
    """`style=de` has a mark of UTF-8, semicolons, decimal commas and local times."""
    body = site.ask("/api/v1/sessions.csv?month=2026-11&style=de").body
    assert body.startswith(b"\xef\xbb\xbfid;charger;")
    rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig")), delimiter=";"))
    assert [each["start"] for each in rows][1] == "2026-11-05 18:00:20"
    assert [each["amount"] for each in rows] == ["1,24", "1,74", "0,93", "3,12"]


def test_csv_of_too_many(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has all requested sessions, or there is none."""
    monkeypatch.setattr(session_api, "MAX_ROWS", 2)
    reply = site.ask("/api/v1/sessions.csv")
    assert reply.status == 400
    assert json.loads(reply.body) == {
        "error": "from, to: there are more than 2 sessions; choose a shorter period"
    }
