"""Draws a sunny day anew: `python tests/tools/surplus_picture.py docs/images/surplus-day.svg`.

The exporter's poller and control loop charge a simulated car at a simulated house, over real
sockets, from 6 to 21 o'clock in a time of their own. This takes a few minutes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from surplus_home import Home, Street

START_HOUR, END_HOUR = 6, 21
STEP_S = 60
WIDTH, HEIGHT = 960, 430
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 58, 72
TOP_W, LOW_W = 9_000, -4_000

STATES = {
    "no_car": ("no car", "#c7c7cf"),
    "waiting": ("waiting", "#e0b400"),
    "charging": ("charging", "#56a64b"),
    "paused": ("paused", "#ff9830"),
}


class Minute(NamedTuple):
    """Powers in W, and the state, at a time of the day in hours."""

    hour: float
    solar_w: float
    load_w: float
    charger_w: float
    grid_w: float
    state: str
    phases: int | None


def minutes(street: Street, home: Home) -> Iterator[Minute]:
    """Live through the day, and yield every minute of it."""
    for step in range((END_HOUR - START_HOUR) * 3600 // STEP_S):
        home.run(STEP_S)
        house, vitals = street.house, home.control.vitals()
        yield Minute(
            START_HOUR + (step + 1) * STEP_S / 3600,
            *(house.solar_w, house.load_w, house.charger_w, house.grid_w),
            vitals.state,
            vitals.phases,
        )


def x_of(hour: float) -> float:
    return LEFT + (hour - START_HOUR) / (END_HOUR - START_HOUR) * (WIDTH - LEFT - RIGHT)


def y_of(watts: float) -> float:
    return TOP + (TOP_W - watts) / (TOP_W - LOW_W) * (HEIGHT - TOP - BOTTOM)


def path(points: Sequence[tuple[float, float]], *, area: bool = False) -> str:
    """Return the path of a line of hours and W, or of the area between it and 0 W."""
    line = "L".join(f"{x_of(hour):.1f} {y_of(watts):.1f}" for hour, watts in points)
    if not area:
        return f"M{line}"
    zero = f"{y_of(0):.1f}"
    return f"M{x_of(points[0][0]):.1f} {zero}L{line}L{x_of(points[-1][0]):.1f} {zero}Z"


def axes() -> Iterator[str]:
    """Yield the grid of hours and kW."""
    for watts in range(LOW_W, TOP_W, 2000):
        y = y_of(watts)
        colour = "#888" if watts == 0 else "#e4e4e8"
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{colour}"/>'
        label = f"{watts // 1000}".replace("-", "−")
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    for hour in range(START_HOUR, END_HOUR + 1):
        x = x_of(hour)
        yield f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{hour}</text>'
    yield f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">kW</text>'


def states(day: Sequence[Minute]) -> Iterator[str]:
    """Yield the strip of states, with the number of phases while charging."""
    y, start = HEIGHT - BOTTOM + 14, 0
    for end in range(1, len(day) + 1):
        first = day[start]
        key = first.state, first.phases
        if end < len(day) and (day[end].state, day[end].phases) == key:
            continue
        x = x_of(first.hour - STEP_S / 3600)
        width = x_of(day[end - 1].hour) - x
        text, colour = STATES[first.state]
        yield (
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="24" fill="{colour}"'
            f' fill-opacity="{0.6 if first.phases == 1 else 1}"/>'
        )
        if first.phases:
            text = f"{first.phases} phase{'s' * (first.phases > 1)}"
        if width > 8 * len(text):
            yield (
                f'<text x="{x + width / 2:.1f}" y="{y + 16}" text-anchor="middle" fill="#111">'
                f"{text}</text>"
            )
        start = end


def drawn(day: Sequence[Minute]) -> str:
    """Return the picture."""
    solar = [(each.hour, each.solar_w) for each in day]
    charger = [(each.hour, each.charger_w) for each in day]
    load = [(each.hour, each.load_w) for each in day]
    grid = [(each.hour, each.grid_w) for each in day]
    lines = (
        ("solar power", "#e0b400", path(solar, area=True), 0.35),
        ("charger", "#56a64b", path(charger, area=True), 0.55),
        ("house without the charger", "#5794f2", path(load), 0.0),
        ("grid: import above 0, export below", "#e02f44", path(grid), 0.0),
    )
    font = 'font-family="system-ui, sans-serif" font-size="13" fill="#333"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {font}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *axes(),
    ]
    x = LEFT
    for name, colour, line, opacity in lines:
        fill = f'fill="{colour}" fill-opacity="{opacity}"' if opacity else 'fill="none"'
        parts.append(f'<path d="{line}" {fill} stroke="{colour}" stroke-width="1.3"/>')
        parts.append(f'<rect x="{x}" y="12" width="14" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="24">{name}</text>')
        x += 40 + 7 * len(name)
    return "\n".join([*parts, *states(day), "</svg>"]) + "\n"


def main(target: Path) -> None:
    """Live through the day and draw it."""
    street = Street("sunny", start_hour=START_HOUR)
    with tempfile.TemporaryDirectory() as folder:
        try:
            day = list(minutes(street, street.home(Path(folder))))
        finally:
            street.close()
    target.write_text(drawn(day), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
