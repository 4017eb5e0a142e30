"""What can go wrong, in the project's own words.

Foreign exceptions are translated into these once, at the door: `client.py` for the network and
the charger, `config.py` for files, `writer.py` for what a person asked to write.
"""

from __future__ import annotations

REASONS = (
    "timeout",
    "refused",
    "unreachable",
    "dns",
    "tls",
    "http_status",
    "busy",
    "not_found",
    "too_large",
    "truncated",
    "not_json",
    "not_an_object",
    "unauthorized",
    "offline",
    "outdated",
)
"""Why a request to a charger can fail: the closed set behind `goe_poll_failures_total{reason}`."""


class GoeExporterError(Exception):
    """Base of all errors that a user sees; its text is one line without a traceback."""

    exit_status = 1


class TransportError(GoeExporterError):
    """An HTTP request failed; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason with the message."""
        super().__init__(message)
        self.reason = reason


class ChargerError(GoeExporterError):
    """A request failed or its answer is no status; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason beside the message; `reason` must be one of `REASONS`."""
        assert reason in REASONS, reason
        super().__init__(message)
        self.reason = reason


class RefusedError(GoeExporterError):
    """The charger refused a write, or took it without effect; the text holds its own words."""


class UsageError(GoeExporterError):
    """What a person asked for cannot be done as asked; the text says what is allowed."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration is wrong; the text names the place and what is allowed there."""


class UnreadableError(ValueError):
    """A value of a status is not what its channel holds: it costs the channel, never the poll."""
