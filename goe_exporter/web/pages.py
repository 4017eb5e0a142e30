"""The live page as HTML: templates, and the files they refer to (the only door to Jinja2)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined

from goe_exporter import __version__
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.locale import Language
from goe_exporter.web.view_model import SENSORS, portrait

CONTENT_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files the page refers to."""

SHORTEST_DUE_SECONDS = 0.2
LONGEST_DUE_SECONDS = 60.0


@dataclass(frozen=True)
class Asset:
    """A file of the page; `path` names its version, so that it may be kept for ever."""

    name: str
    content_type: str
    body: bytes

    @cached_property
    def version(self) -> str:
        """A digest of the content."""
        return hashlib.blake2b(self.body, digest_size=6).hexdigest()

    @property
    def path(self) -> str:
        """Where it is, seen from the exporter's root."""
        return f"assets/{self.name}?v={self.version}"


@cache
def assets() -> Mapping[str, Asset]:
    """Return the files that the page refers to, by name."""
    return {name: Asset(name, kind, _file("static", name)) for name, kind in CONTENT_TYPES.items()}


def overview(views: Sequence[ChargerView], language: Language) -> str:
    """Return the page with a row per charger."""
    chargers = [portrait(view, language) for view in views]
    title = f"{language.say('label.chargers')} – goe-exporter"
    return _render("overview", language, "", title, views, chargers=chargers)


def charger(view: ChargerView, language: Language, *, root: str, several: bool) -> str:
    """Return the page of one charger; `root` leads from its URL to the exporter's root."""
    shown = portrait(view, language)
    state = f"{shown.state}, {shown.power.text}" if shown.power.unit else shown.state
    title = f"{state} – {shown.name}"
    return _render(
        "charger",
        language,
        root,
        title,
        [view],
        charger=shown,
        several=several,
        charts=_charts(language),
    )


def missing(language: Language) -> str:
    """Return the page that stands where no charger is."""
    return _render("missing", language, "../", language.say("page.not_found"), [])


def fingerprint(views: Sequence[ChargerView], language: Language) -> str:
    """Return an entity tag that changes whenever the page says something new, but for ages."""
    known = [
        (view.name, view.stats.up, view.stats.polls, view.age is None, view.snapshot is None)
        for view in views
    ]
    text = repr((_process(), language.tag, known))
    return f'W/"{hashlib.blake2b(text.encode(errors="replace"), digest_size=9).hexdigest()}"'


@cache
def _process() -> str:
    """Return what tells this run of the exporter from others, whose polls count from 0 too."""
    return secrets.token_hex(8)


def due_seconds(views: Sequence[ChargerView]) -> float:
    """Return in how many seconds to ask again: once the next answer of a charger is due.

    Several chargers are asked for together, once in the shortest of their intervals.
    """
    due = shortest_interval(views)
    if len(views) == 1:
        view = views[0]
        due = due - view.age if view.stats.up and view.age is not None else 1.0
    return min(max(due, SHORTEST_DUE_SECONDS), LONGEST_DUE_SECONDS)


def shortest_interval(views: Sequence[ChargerView]) -> float:
    """Return the shortest refresh interval there is, in seconds."""
    return min((view.interval_seconds for view in views), default=LONGEST_DUE_SECONDS)


class _Line(NamedTuple):
    """A line of a chart: where its values stand in the history, its name and its colour."""

    channel: str
    part: str
    label: str
    colour: str


class _Chart(NamedTuple):
    """A chart; values are divided by `divide`, the axis spans `least` at the least.

    `height` is in em.
    """

    label: str
    unit: str
    divide: int
    decimals: int
    least: float
    height: float
    lines: tuple[_Line, ...]


def _charts(language: Language) -> tuple[_Chart, ...]:
    say = language.say
    phases = ("L1", "L2", "L3")
    total = _Line("power", "", say("chart.total"), "total")
    powers = (total, *(_Line("phase_power", part, part, part) for part in phases))
    currents = tuple(_Line("phase_current", part, part, part) for part in phases)
    sensors = tuple(
        _Line("temperature", sensor, say(f"sensor.{sensor}"), f"t{number}")
        for number, sensor in enumerate(SENSORS, 1)
    )
    return (
        _Chart(say("chart.power"), "kW", 1000, 2, 1, 20, powers),
        _Chart(say("chart.current"), "A", 1, 1, 6, 14, currents),
        _Chart(say("chart.temperature"), "°C", 1, 1, 10, 12, sensors),
    )


def _render(
    name: str,
    language: Language,
    root: str,
    title: str,
    views: Sequence[ChargerView],
    **more: object,
) -> str:
    return (
        _environment()
        .get_template(f"{name}.html")
        .render(
            language=language,
            say=language.say,
            root=root,
            title=title,
            version=__version__,
            edition=_edition(name, language),
            assets=assets(),
            interval=shortest_interval(views),
            due=f"{due_seconds(views):.1f}",
            **more,
        )
    )


def _edition(name: str, language: Language) -> str:
    """Return what a page cannot change but by being loaded anew: its kind, language and files."""
    versions = (asset.version for asset in assets().values())
    return " ".join((name, language.tag, __version__, *versions))


@cache
def _environment() -> Environment:
    loader = FunctionLoader(lambda name: _file("templates", name).decode())
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _file(folder: str, name: str) -> bytes:
    return (resources.files("goe_exporter.web") / folder / name).read_bytes()
