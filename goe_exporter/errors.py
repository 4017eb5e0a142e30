"""The project's errors.

Exceptions of other libraries are translated into these once, where the library is called.
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
    "wrong_device",
    "unauthorized",
    "offline",
    "outdated",
)
"""The reasons why a request to a charger fails: the values of `goe_poll_failures_total{reason}`."""


class GoeExporterError(Exception):
    """Base of all errors shown to a user, without a traceback.

    `lines` are shown on the terminal; the text, which is for the log, has them all in one line.
    """

    exit_status = 1

    def __init__(self, *lines: str) -> None:
        """Keep the lines, mostly one."""
        super().__init__("; ".join(lines))
        self.lines = lines


class TransportError(GoeExporterError):
    """An HTTP request failed; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason with the message."""
        super().__init__(message)
        self.reason = reason


class ChargerError(GoeExporterError):
    """A request failed, or its answer is not a status; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason with the message; `reason` must be one of `REASONS`."""
        assert reason in REASONS, reason
        super().__init__(message)
        self.reason = reason


class RefusedError(GoeExporterError):
    """The charger refused a write, or accepted it without effect; the text says how."""


class UsageError(GoeExporterError):
    """The user's input is invalid; the text says what is allowed."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration is invalid; each line names a place and what is allowed there."""


class UnreadableError(ValueError):
    """A value of a status does not fit its channel; the channel is absent from the poll."""
