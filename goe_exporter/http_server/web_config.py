"""`--web.config.file`: TLS, basic authentication, rate limit and headers of the web server.

The format is that of Prometheus' exporter-toolkit, so node_exporter can use the same file.
Settings that Python's TLS does not support are rejected. The file and the files that it refers to
are checked for changes while the server runs; if a changed file cannot be loaded, this is logged
and the last good configuration stays in use.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from goe_exporter.config import strict_yaml, yaml_file
from goe_exporter.config.quoting import shape
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.config.values import seconds
from goe_exporter.errors import ConfigError
from goe_exporter.http_server.tls import TlsServer
from goe_exporter.logs import logger

_BCRYPT = re.compile(
    r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
)
"""The 22nd character encodes the last two bits of the salt; bcrypt rejects other characters."""

_log = logger(__name__)


def _hash(text: object) -> str:
    if not isinstance(text, str) or not _BCRYPT.fullmatch(text):
        raise ValueError("must be a bcrypt hash, as `htpasswd -nBC 10 USER` prints it")
    return text


def _users(value: object) -> object:
    if value is not None and not isinstance(value, Mapping):
        rule = "must be a mapping such as {prometheus: HASH}"
        raise ValueError(f"{rule}, not {shape(value)}")
    return value


def _interval(value: object) -> float:
    """Return the seconds of a duration, 0 as a number too."""
    return seconds("0" if value == 0 and value is not False else value)


def _text(value: object) -> object:
    """Return a whole number as text, as exporter-toolkit does."""
    return str(value) if type(value) is int else value


class _Section(Strict):
    @field_validator("*", mode="before")
    @classmethod
    def _no_empty_value(cls, given: object) -> object:
        """Reject a key without a value, which may be a limit on access that was never filled in."""
        if given is None:
            raise ValueError("must not be empty; set it or remove it")
        return given


class Headers(_Section):
    """Section `http_server_config.headers`: headers that are added to every response."""

    content_security_policy: str = Field(default="", alias="Content-Security-Policy")
    frame_options: Literal["deny", "sameorigin"] | None = Field(
        default=None, alias="X-Frame-Options"
    )
    content_type_options: Literal["nosniff"] | None = Field(
        default=None, alias="X-Content-Type-Options"
    )
    xss_protection: Annotated[str, BeforeValidator(_text)] = Field(
        default="", alias="X-XSS-Protection"
    )
    transport_security: str = Field(default="", alias="Strict-Transport-Security")

    @field_validator("*")
    @classmethod
    def _one_line(cls, text: str) -> str:
        if not (text.isascii() and text.isprintable()):
            raise ValueError("must be one line of ASCII text")
        return text

    def by_name(self) -> dict[str, str]:
        """Return the headers that are set."""
        return {name: text for name, text in self.model_dump(by_alias=True).items() if text}


class HttpServer(_Section):
    """Section `http_server_config`; `http2` is accepted, but the server speaks only HTTP/1.1."""

    http2: bool = True
    headers: Headers = Headers()


class RateLimit(Strict):
    """Section `rate_limit`: one request every `interval` seconds, `burst` of them at once."""

    interval: Annotated[float, BeforeValidator(_interval)] = 0.0
    burst: int = Field(default=0, ge=0, strict=True)


class WebConfig(_Section):
    """The whole file; `basic_auth_users` holds bcrypt hashes by user."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: Annotated[
        Mapping[Annotated[str, BeforeValidator(_text)], Annotated[str, BeforeValidator(_hash)]],
        BeforeValidator(_users),
    ] = Field(default_factory=dict, repr=False)
    rate_limit: RateLimit = RateLimit()


class WebSettings:
    """The current configuration: `config`, and `tls`, its TLS context or None.

    Without a file (`path` is None) the server speaks plain HTTP and needs no password.
    """

    def __init__(self, path: str | None) -> None:
        """Load the file; raises `ConfigError`."""
        self._path = path
        self._last_error = ""
        self.config = WebConfig()
        self.tls: ssl.SSLContext | None = None
        if path is not None:
            self._load(path)
            self._seen = self._signature()

    def refresh(self) -> None:
        """Reload changed files; if this fails, log the error once and keep the configuration."""
        if self._path is None or self._signature() == self._seen:
            return
        try:
            self._load(self._path)
        except ConfigError as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                _log.warning("web configuration reload failed", error=str(error))
        else:
            self._seen, self._last_error = self._signature(), ""
            _log.info("web configuration reloaded")

    def _load(self, path: str) -> None:
        found = strict_yaml.validated(WebConfig, *yaml_file.read(path))
        section = found.tls_server_config
        self.tls = None if section is None else section.context(path)
        self.config = found

    def _signature(self) -> list[object]:
        """Return a value that changes when the file or one that it refers to changes."""
        assert self._path is not None
        path, section = Path(self._path), self.config.tls_server_config
        named = [] if section is None else section.files()
        return [_stamp(path), *(_stamp(path.parent / name) for name in named)]


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
