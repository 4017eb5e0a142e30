"""The page as HTML: a charger in both languages and in every condition."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from sites import Site

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import REASONS
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.web import pages
from goe_exporter.web.locale import Locale
from goe_exporter.web.units import duration, energy, power
from goe_exporter.web.view_model import ChargerViewModel, view_model

STATUS = {
    "nrg": [229.4, 230, 231, 1, 15.5, 15.6, 0.06, 3480, 3580, 0, 0, 7060, 99, 98, 0, 0],
    "eto": 4321000,
    "wh": 3220.5,
    "dwo": 12000,
    "car": 2,
    "err": 0,
    "modelStatus": 15,
    "alw": True,
    "frc": 0,
    "psm": 0,
    "cus": 3,
    "pha": [True, True, False, True, True, True],
    "amp": 16,
    "acu": 13,
    "cbl": 13,
    "tma": [27.24, 28.6],
    "fwv": "56.9",
    "rssi": -61,
    "rbt": 7_300_000,
    "fhz": 49.98,
    "acs": 0,
    "lmo": 3,
    "fna": "Kabel 1",
    "sse": "218042",
}
V1 = {"nrg": STATUS["nrg"], "car": 1, "err": 0, "alw": True, "acs": 0, "amp": 16, "fwv": "041.0"}
GERMAN, ENGLISH = Locale("de-DE"), Locale("en")


def view(
    status: Mapping[str, object] | None = STATUS,
    *,
    api: int = 2,
    up: bool | None = True,
    age: float | None = 1.2,
    reason: str = "",
) -> ChargerView:
    snapshot = None
    if status is not None:
        readings = decode(status, api, CHANNELS).readings
        snapshot = Snapshot("garage", api, 1_750_000_000.0, 0.0, readings)
    return ChargerView(
        "garage", "192.0.2.1", PollStats(up=up, reason=reason, polls=9), snapshot, age
    )


def shown(locale: Locale = ENGLISH, api: int = 2, **status: object) -> ChargerViewModel:
    """Return the view model of a charger with these values."""
    return view_model(view({**STATUS, **status}, api=api), locale)


def plain(page: str) -> str:
    """Return the visible text of a page."""
    body = re.sub(r"<(symbol|script|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(
        html.unescape(re.sub("<[^>]*>", " ", body)).replace("\u00a0", " ").split()
    ).replace(" : ", ": ")


# A whole page


def test_a_charging_charger_in_german() -> None:
    """All values are on the page, typed here as a reader sees them."""
    page = plain(pages.charger(view(), GERMAN, root="", several=False))
    for text in (
        "garage Lädt Freigegeben: nichts hält das Laden zurück Leistung: 7,06 kW",
        "Gemessen vor 1 s",
        "Dieser Ladevorgang 3,22 kWh von 12,00 kWh Limit",
        "Erlaubter Strom 13 A begrenzt durch das Kabel",
        "Phasen 2 Automatisch",
        "Insgesamt 4.321 kWh seit der Herstellung",
        "L1 229 V 15,5 A 3,48 kW 0,99",
        "L2 230 V 15,6 A 3,58 kW 0,98",
        "L3 231 V 0,1 A 0 W 0,00",
        "N 1 V – 0 W 0,00",
        "Platine 28,6 °C Typ-2-Buchse 27,2 °C",
        "Störung Keine Störung (0)",
        "Kabelverriegelung Verriegelt",
        "WLAN −61 dBm (gut)",
        "Netzfrequenz 49,98 Hz",
        "Name in der App Kabel 1",
        "Firmware 56.9 Seriennummer 218042 Läuft seit 2 h",
        "Adresse 192.0.2.1 (API v2)",
        "Diese Seite liest nur; sie ändert nichts an der Wallbox.",
    ):
        assert text in page


def test_a_charging_charger_in_english() -> None:
    """The English page has English texts and numbers."""
    page = pages.charger(view(), ENGLISH, root="", several=False)
    assert '<html lang="en">' in page
    assert "<title>Charging, 7.06\u00a0kW – garage</title>" in page
    words = plain(page)
    assert "Allowed current 13 A limited by the cable" in words
    assert "Total energy 4,321 kWh over its lifetime" in words
    assert not set("äöüß") & set(words)


# States and reasons


@pytest.mark.parametrize("code", [*range(7), 42])
def test_every_state_of_the_car(code: int) -> None:
    """Each state has a text and an icon on the page; an unknown one shows its code."""
    found = shown(car=code)
    page = pages.charger(view({**STATUS, "car": code}), ENGLISH, root="", several=False)
    assert f'<symbol id="{found.mood}"' in page
    assert f'href="#{found.mood}"' in page
    assert found.state
    if code == 42:
        assert (found.state, found.mood) == ("Unknown state (42)", "unknown")


@pytest.mark.parametrize("code", range(42))
def test_every_reason_begins_with_whether_it_allows_charging(code: int) -> None:
    """The text begins with whether the reason allows charging (docs/protocol.md §2)."""
    charges = code in {3, *range(7, 16), 19, 20, 33}
    for locale, yes, no in (
        (ENGLISH, "Allowed: ", "Not allowed: "),
        (GERMAN, "Freigegeben: ", "Nicht freigegeben: "),
    ):
        why = shown(locale, modelStatus=code).why
        if code in {21, 25}:
            assert why.endswith(f"({code})")
        else:
            assert why.startswith(yes if charges else no)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"alw": True}, "Allowed; the charger gives no reason"),
        ({"alw": False}, "Not allowed; the charger gives no reason"),
        ({"alw": False, "acs": 1}, "Not allowed; this charger requires a card or the app first"),
        ({"alw": None}, ""),
    ],
)
def test_why_without_a_reason(status: dict[str, object], why: str) -> None:
    """Without a charging reason the page shows what other channels tell, whichever API it is."""
    assert view_model(view(V1 | status, api=1), ENGLISH).why == why
    assert shown(modelStatus=None, **status).why == why


def test_current_once_charging_is_allowed() -> None:
    """While charging is not allowed the label says that the current applies later."""
    label, value, note, _share = shown(alw=False, acu=None, amp=10).tiles[1]
    assert (label, value) == ("Current once charging is allowed", "10\u00a0A")
    assert note == "limited by the setting"


@pytest.mark.parametrize(
    ("session", "limit", "note", "share"),
    [
        (3000, None, "no energy limit", None),
        (3000, 12000, "of 12.00\u00a0kWh limit", 0.25),
        (-0.0015, 12000, "of 12.00\u00a0kWh limit", 0),
        (13000, 12000, "of 12.00\u00a0kWh limit", 1),
        (None, None, "", None),
    ],
)
def test_session(
    session: float | None, limit: float | None, note: str, share: float | None
) -> None:
    """The bar of the session stays between 0 and 1."""
    tile = shown(wh=session, dwo=limit).tiles[0]
    assert (tile.note, tile.share) == (note, share)


# Errors


@pytest.mark.parametrize(
    ("status", "title", "code"),
    [
        ({"err": 8}, "Ground fault", "code 8"),
        ({"err": 13, "fwv": "56.9"}, "Too hot", "code 13"),
        ({"err": 13, "fwv": "60.5"}, "Cable lock stuck closed", "code 13"),
        ({"err": 99}, "Unknown error", "code 99"),
    ],
)
def test_errors(status: dict[str, object], title: str, code: str) -> None:
    """An error is named by its firmware's numbering, with its code and a help text."""
    found = shown(**status)
    assert found.error is not None
    assert (found.error.title, found.error.code) == (title, code)
    assert found.error.help
    assert found.mood == "error"
    page = plain(pages.charger(view(STATUS | status), ENGLISH, root="", several=False))
    assert f"{title} {code} {found.error.help}" in page


@pytest.mark.parametrize("locale", [GERMAN, ENGLISH])
def test_every_code_makes_a_page(locale: Locale) -> None:
    """All codes of all states, known or not, render a page for both APIs."""
    for number in range(45):
        same = {
            channel.keys[0]: number
            for channel in CHANNELS
            if channel.states is not None and channel.keys
        }
        for api, firmware in ((1, "041.0"), (2, "56.9"), (2, "60.5"), (2, None)):
            status = STATUS | same | {"fwv": firmware}
            page = pages.charger(view(status, api=api), locale, root="", several=True)
            assert "</html>" in page


@pytest.mark.parametrize(("code", "firmware"), [(12, "56.9"), (15, "60.5"), (99, "60.5")])
def test_an_error_without_a_name(code: int, firmware: str) -> None:
    """The help text fits codes without a name and those that the vendor calls unknown."""
    error = shown(err=code, fwv=firmware).error
    assert error is not None
    assert error.help == "This code has no known name; the go-e app may show one."


# Conditions


@pytest.mark.parametrize(
    ("charger", "condition", "state", "fresh"),
    [
        (view(), "live", "Charging", "Measured 1 s ago"),
        (
            view(up=False, reason="timeout", age=8),
            *("stale", "Charging", "Last answer 8 s ago: the request timed out"),
        ),
        (
            view(None, up=False, reason="refused", age=700),
            *("unreachable", "Does not answer"),
            "Last answer 12 min ago: the connection was refused",
        ),
        (
            view(None, up=True, age=30),
            *("unreachable", "Does not answer", "Last answer 30 s ago"),
        ),
        (
            view(None, up=False, reason="dns", age=None),
            *("never", "No answer yet"),
            "No data yet: its host name cannot be resolved",
        ),
        (view(None, up=None, age=None), "waiting", "Not polled yet", "No data yet"),
        (view({}), "blank", "No state reported", "Measured 1 s ago"),
        (view({"amp": 16}), "live", "No state reported", "Measured 1 s ago"),
    ],
)
def test_conditions(charger: ChargerView, condition: str, state: str, fresh: str) -> None:
    """Each condition has its text on the charger's page and on the overview."""
    found = view_model(charger, ENGLISH)
    assert (found.condition, found.state) == (condition, state)
    page = plain(pages.charger(charger, ENGLISH, root="", several=False))
    assert f"{state} " in page
    assert fresh in page
    row = f"garage {state} {fresh.partition(': ')[2]}".strip()
    assert f"{row} " in plain(pages.overview([charger, charger], ENGLISH))


def test_old_values_are_hidden() -> None:
    """A charger that has not answered for too long shows no values, not even dashes."""
    page = pages.charger(
        view(None, up=False, reason="timeout", age=60), ENGLISH, root="", several=False
    )
    assert set(re.findall(r"data-reading>([^<]*)<", page)) == {"192.0.2.1"}


def silent(reason: str, age: float | None = 700.0) -> ChargerView:
    """Return a charger that does not answer any more, with its identity."""
    status = {"sse": "218042", "typ": "go-eCharger_V4", "fwv": "56.9", "fna": "Cable <1>"}
    identity = decode(status, 2, CHANNELS).readings
    before = view(None, up=False, reason=reason, age=age)
    return replace(before, identity=identity, api=2)


def test_identity_stays() -> None:
    """A charger that stopped answering keeps its name in the app, model, firmware and serial."""
    page = plain(pages.charger(silent("timeout"), ENGLISH, root="", several=False))
    for text in (
        "Does not answer",
        "Name in the app Cable <1> Model go-eCharger_V4 Firmware 56.9 Serial number 218042",
        "Address 192.0.2.1 (API v2)",
    ):
        assert text in page


@pytest.mark.parametrize(
    ("reason", "titles", "text"),
    [
        ("timeout", ["Power", "Wi-Fi", "Local API"], "Are the LEDs of the charger lit?"),
        ("unreachable", ["Power", "Wi-Fi", "Local API"], "check the signal and the router"),
        ("refused", ["Local API", "Address"], "“Allow access to local HTTP API” must be on"),
        ("not_found", ["Local API", "Address"], "Is 192.0.2.1 still the charger's address?"),
        ("wrong_device", ["Address"], "Another device answers at 192.0.2.1"),
        ("unauthorized", ["Token"], "The cloud rejects the token."),
        ("outdated", ["Power", "Wi-Fi", "Cloud"], "the cloud API must be on"),
        ("busy", ["Other programs"], "one request at a time"),
    ],
)
@pytest.mark.parametrize("age", [700.0, None])
def test_advice(reason: str, titles: list[str], text: str, age: float | None) -> None:
    """A charger that does not answer has advice by the reason, instead of its values."""
    charger = silent(reason, age)
    assert [each.title for each in view_model(charger, ENGLISH).advice] == titles
    page = pages.charger(charger, ENGLISH, root="", several=False)
    assert text in plain(page)
    assert "What to check" in page
    assert 'class="power"' not in page
    german = plain(pages.charger(charger, GERMAN, root="", several=False))
    assert "Was zu prüfen ist" in german


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_advice(reason: str) -> None:
    """Whatever the reason, the page says what to check."""
    assert view_model(silent(reason), GERMAN).advice


def test_no_advice_while_there_are_values() -> None:
    """A charger whose values are still recent, or that was not polled yet, has no advice."""
    for charger in (view(), view(up=False, reason="timeout"), view(None, up=None, age=None)):
        assert view_model(charger, ENGLISH).advice == ()
        page = pages.charger(charger, ENGLISH, root="", several=False)
        assert 'class="power"' in page


def test_zero_is_not_absent() -> None:
    """A reading of 0 is shown as 0, an absent one as a dash."""
    assert shown(nrg=[230, *[0] * 15]).power.text == "0\u00a0W"
    assert shown(nrg=None).power.text == "–"
    assert shown(wh=0).session == "0\u00a0Wh"


@pytest.mark.parametrize(
    ("amperes", "value", "note"),
    [
        ((15.5, 0.1, 0.1), "1", "3 connected, 1 in use"),
        ((15.5, 15.6, 15.5), "3", "3 connected, 3 in use"),
        ((0, 0, 0), "0", "3 connected, 0 in use"),
        ((None, None, None), "3", ""),
    ],
)
def test_phases_of_api_v1(amperes: tuple[float | None, ...], value: str, note: str) -> None:
    """API v1 tells the phases that are connected to the car; its currents tell which it uses."""
    nrg = [229, 230, 231, 1, *amperes, 3480, 0, 0, 0, 3480]
    status: Mapping[str, object] = V1 | {"nrg": nrg, "car": 2, "pha": [True] * 6}
    (tile,) = (tile for tile in view_model(view(status, api=1), ENGLISH).tiles
               if tile.label == "Phases")  # fmt: skip
    assert (tile.value, tile.note) == (value, note)
    (tile,) = (tile for tile in view_model(view(status, api=1), GERMAN).tiles
               if tile.label == "Phasen")  # fmt: skip
    assert tile.note == note.replace("connected", "verbunden").replace("in use", "genutzt")


def test_phases_of_others() -> None:
    """API v2 tells the phases in use itself, and on v1 an open contactor leaves none."""
    tiles = {tile.label: tile for tile in shown(pnp=3, psm=0).tiles}
    assert tiles["Phases"][1:3] == ("3", "Automatic")
    closed: Mapping[str, object] = V1 | {"pha": [False] * 3 + [True] * 3}
    tiles = {tile.label: tile for tile in view_model(view(closed, api=1), ENGLISH).tiles}
    assert tiles["Phases"][1:3] == ("0", "")


@pytest.mark.parametrize(
    ("code", "text"), [(1, "MID"), (2, "MID and calibration law"), (9, "Unknown (9)"), (0, None)]
)
def test_certification_of_the_meter(code: int, text: str | None) -> None:
    """A certified meter is among the details."""
    facts = {fact.label: fact.value for fact in shown(cert=code).facts}
    assert facts.get("Meter certification") == text


# Numbers


@pytest.mark.parametrize(
    ("watts", "text"),
    [
        (0, "0 W"),
        (-0.2, "0 W"),
        (999.4, "999 W"),
        (999.6, "1.00 kW"),
        (7260.5, "7.26 kW"),
        (-4200, "−4.20 kW"),
        (123456, "123.5 kW"),
        (None, "–"),
    ],
)
def test_power(watts: float | None, text: str) -> None:
    """A power is in W below 1 kW, else in kW."""
    assert power(watts, ENGLISH).text.replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("watt_hours", "text"),
    [
        (0, "0 Wh"),
        (702.1, "702 Wh"),
        (12345, "12.35 kWh"),
        (123456, "123.5 kWh"),
        (4321000, "4,321 kWh"),
        (None, "–"),
    ],
)
def test_energy(watt_hours: float | None, text: str) -> None:
    """Larger energies have fewer decimals."""
    assert energy(watt_hours, ENGLISH).text.replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """A duration is in the largest unit that it has two of."""
    assert duration(seconds).replace("\u00a0", " ") == text


# HTTP


def test_root() -> None:
    """With one charger the root is its page; with several it is an overview with links."""
    views = [view()]
    with Site(lambda: views) as site:
        assert 'class="power"' in site.ask("/").body.decode()
        views.append(ChargerView('a/b "c"', "192.0.2.2", PollStats(), None, None))
        page = site.ask("/").body.decode()
        assert 'href="charger/garage"' in page
        assert 'href="charger/a%2Fb%20%22c%22"' in page
        other = site.ask("/charger/a%2Fb%20%22c%22")
        assert other.status == 200
        assert "<h1>a/b &#34;c&#34;</h1>" in other.body.decode()
        assert 'href="../"' in other.body.decode()
        assert 'data-history="../api/v1/chargers/a%2Fb%20%22c%22/history"' in other.body.decode()
        views.clear()
        assert "No chargers are configured." in site.ask("/").body.decode()


def test_language_by_header() -> None:
    """`Accept-Language` selects the language, and `Vary` names it."""
    with Site(lambda: [view()]) as site:
        german = site.ask("/", Accept_Language="de-AT,de;q=0.9,en;q=0.8")
        english = site.ask("/", Accept_Language="fr")
        missing = site.ask("/charger/x", Accept_Language="de")
    assert '<html lang="de-AT">' in german.body.decode()
    assert german.headers["Content-Language"] == "de-AT"
    assert "Accept-Language" in str(german.headers.get_all("Vary"))
    assert '<html lang="en">' in english.body.decode()
    assert missing.status == 404
    assert "Diese Wallbox gibt es nicht." in missing.body.decode()


def test_unchanged_page_is_not_sent_again() -> None:
    """An unchanged page is 304 without a body; another language or condition changes it."""
    views = [view()]
    with Site(lambda: views) as site:
        tag = site.ask("/").headers["ETag"]
        same = site.ask("/", If_None_Match=tag)
        assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
        assert site.ask("/", If_None_Match=tag, Accept_Language="de").status == 200
        assert site.ask("/charger/garage", If_None_Match=f'"x", {tag}').status == 304
        assert same.headers["Vary"] == "Accept-Language, Accept-Encoding"
        for condition in (tag.removeprefix("W/"), "*"):
            assert site.ask("/", If_None_Match=condition).status == 304
        assert site.ask("/", If_None_Match=tag.replace('"', "")).status == 200
        views[0] = view(None)
        assert site.ask("/", If_None_Match=tag).status == 200


def test_a_page_is_not_cached() -> None:
    """A browser that reloads gets current ages, although the page's tag is the same."""
    with Site(lambda: [view()]) as site:
        tag = site.ask("/").headers["ETag"]
        for reply in (site.ask("/"), site.ask("/", If_None_Match=tag)):
            assert reply.headers["Cache-Control"] == "no-store"


def test_a_restart_changes_the_tag() -> None:
    """After a restart the same number of polls has another tag."""
    before = pages.fingerprint([view()], ENGLISH)
    assert pages.fingerprint([view()], ENGLISH) == before
    pages._process.cache_clear()
    assert pages.fingerprint([view()], ENGLISH) != before


def test_security_headers() -> None:
    """Every response has the security headers, and the page needs no exception from them."""
    with Site(lambda: [view()]) as site:
        for path in (
            *("/", "/charger/garage", "/charger/nobody", "/assets/live.js", "/nothing"),
            *("/api/v1/chargers", "/api/v1/chargers/nobody", "/assets/nothing", "/metrics"),
        ):
            headers = site.ask(path).headers
            assert headers["Content-Security-Policy"] == (
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
                " img-src 'self' data:; base-uri 'none'; form-action 'none';"
                " frame-ancestors 'none'"
            )
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
        page = site.ask("/").body.decode()
    assert not re.search(r"<form|<input|<button|style=|\son\w+=\"|javascript:", page)
    assert re.findall("<script[^>]*>", page) == re.findall(
        r'<script defer src="assets/[^"]*">', page
    )
    assert len(re.findall("<script", page)) == 2


def test_frame_ancestors() -> None:
    """Every response names who may show it in a frame, in an unchanged policy otherwise."""
    allowed = ("'self'", "https://homeassistant.lan:8123")
    with Site(lambda: [view()], frame_ancestors=allowed) as site:
        for path in ("/", "/charger/garage", "/assets/live.js", "/nothing"):
            assert site.ask(path).headers["Content-Security-Policy"] == (
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
                " img-src 'self' data:; base-uri 'none'; form-action 'none';"
                " frame-ancestors 'self' https://homeassistant.lan:8123"
            )


def test_files_are_cached_by_their_version() -> None:
    """The current version of a file may be cached forever; other URLs must be revalidated."""
    with Site(lambda: [view()]) as site:
        page = site.ask("/").body.decode()
        paths = re.findall(r'"(assets/[^"]+)"', page)
        assert len(paths) == 4
        for path in paths:
            reply = site.ask(f"/{path}")
            assert "immutable" in reply.headers["Cache-Control"]
            assert reply.type == pages.CONTENT_TYPES[path.split("/")[1].partition("?")[0]]
        assert site.ask("/assets/live.js?v=old").headers["Cache-Control"] == "no-cache"
        assert site.ask("/assets/live.js").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(("age", "due"), [(0.0, 5.0), (3.2, 1.8), (7.0, 0.2), (None, 1.0)])
def test_when_the_page_is_fetched_again(age: float | None, due: float) -> None:
    """The page contains the time until the next poll, or a short time if that is unknown."""
    assert pages.due_seconds([view(age=age)]) == pytest.approx(due)
    assert pages.due_seconds([view(age=age), view(age=0.1)]) == 5
    assert pages.due_seconds([]) == 60
