"""The files of certificates that a configuration names."""

from __future__ import annotations

import ssl

from goe_exporter.config import values
from goe_exporter.config.quoting import one_line
from goe_exporter.errors import ConfigError


def check_certificates(name: str) -> None:
    """Raise `ConfigError` unless a file holds certificates to trust."""
    try:
        values.check_regular(name)
        ssl.create_default_context(cafile=name)
    except OSError as error:
        reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"cannot use {one_line(name)}: {reason}") from error
