"""Options of several commands; each can also be set by an environment variable."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import click

from goe_exporter.config import values

Command = Callable[..., Any]


class FiniteRange(click.FloatRange):
    """A finite number in a range; click's own range accepts NaN."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail with the name of the option."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def option(*names: str, command: str = "", **attributes: Any) -> Callable[[Command], Command]:
    """Return a click option that can also be set by the variable `GOE_EXPORTER_` and its name.

    `command` is a part of that name if other commands have an option of the same name.
    """
    long = next(name for name in names if name.startswith("--"))
    name = f"{command} {long.split('/')[0].lstrip('-')}".strip()
    variable = re.sub("[-. ]", "_", name).upper()
    return click.option(*names, envvar=f"GOE_EXPORTER_{variable}", show_envvar=True, **attributes)


def parsed(parser: Callable[[object], Any]) -> Callable[..., Any]:
    """Return a click callback that parses an option's value; `parser` raises `ValueError`."""

    def callback(_context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            return parser(value)
        except ValueError as error:
            raise click.UsageError(f"{parameter.opts[0]}: {error}") from None

    return callback


def _frame_ancestors(
    _context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    """Parse all values of the option at once: `none` must be the only one."""
    try:
        return values.frame_ancestors(texts)
    except ValueError as error:
        raise click.UsageError(f"{parameter.opts[0]}: {error}") from None


api = option(
    "--api", type=click.Choice(["auto", "1", "2"]), default="auto", show_default=True,
    help="API version to use; auto detects it.",
)  # fmt: skip
token_file = option(
    "--token-file", metavar="FILE", help="File with the bearer token for the vendor's cloud."
)
refresh_interval = option(
    "--refresh-interval", metavar="DURATION", callback=parsed(values.interval),
    help="Interval between polls of a charger.  [default: 5s]",
)  # fmt: skip
web_config = option(
    "--web.config.file", "web_config", metavar="FILE",
    help="TLS and authentication, in the format of the Prometheus exporter toolkit.",
)  # fmt: skip
open_health = option(
    "--web.open-health",
    "open_health",
    is_flag=True,
    help="Serve the health endpoints without authentication.",
)
frame_ancestors = option(
    "--web.frame-ancestors", "frame_ancestors", metavar="ORIGIN", multiple=True,
    default=("none",), show_default=True, callback=_frame_ancestors,
    help="Origins of pages that may show this page in a frame, or self; may be repeated.",
)  # fmt: skip
log_format = option(
    "--log-format", type=click.Choice(["logfmt", "json"]), default="logfmt", show_default=True,
    help="Format of log lines.",
)  # fmt: skip
log_level = option(
    "--log-level", type=click.Choice(["debug", "info", "warning"]), default="info",
    show_default=True, help="Minimum log level.",
)  # fmt: skip
hosts = click.argument("hosts", nargs=-1, metavar="[NAME=]HOST...", envvar="GOE_EXPORTER_HOSTS")
