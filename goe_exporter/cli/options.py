"""The options that commands share; each can also be set by an environment variable."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


class FiniteRange(click.FloatRange):
    """Numbers between two bounds; click itself lets NaN pass."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail naming the option."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


def option(*names: str, of: str = "", **attributes: Any) -> Callable[[Command], Command]:
    """Return a click option that can also be set by `GOE_EXPORTER_` and its name.

    `of` is the command whose own option this is, and stands in the variable, where another
    command has one of the same name and another meaning.
    """
    long = next(name for name in names if name.startswith("--"))
    words = f"{of} {long.split('/')[0].lstrip('-')}".strip()
    variable = re.sub("[-. ]", "_", words).upper()
    return click.option(*names, envvar=f"GOE_EXPORTER_{variable}", show_envvar=True, **attributes)


def by(parser_name: str) -> Callable[..., Any]:
    """Return a click callback that reads a text by a parser of `config`."""

    def callback(_context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        from goe_exporter.config import values

        if value is None:
            return None
        try:
            return getattr(values, parser_name)(value)
        except ValueError as error:
            raise click.UsageError(f"{parameter.opts[0]}: {error}") from None

    return callback


api = option(
    "--api", type=click.Choice(["auto", "1", "2"]), default="auto", show_default=True,
    help="API to speak; auto asks the charger.",
)  # fmt: skip
token_file = option("--token-file", help="File with the bearer token for the vendor's cloud.")
refresh_interval = option(
    "--refresh-interval", metavar="DURATION", callback=by("interval"),
    help="How often each charger is asked.  [default: 5s]",
)  # fmt: skip
log_format = option(
    "--log-format", type=click.Choice(["logfmt", "json"]), default="logfmt", show_default=True,
    help="How log lines look on stderr.",
)  # fmt: skip
log_level = option(
    "--log-level", type=click.Choice(["debug", "info", "warning"]), default="info",
    show_default=True, help="The least that is logged.",
)  # fmt: skip
hosts = click.argument("hosts", nargs=-1, metavar="[NAME=]HOST...", envvar="GOE_EXPORTER_HOSTS")
