"""`--web.config.file`: TLS, basic authentication and headers of the web server.

The format is that of Prometheus' exporter-toolkit, so one file serves node_exporter and this. What
Python's TLS cannot do is refused by name instead of being ignored. The file and all that it names
are looked at again while the server runs; a broken change is logged and the last good one stays.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from goe_exporter.config import strict_yaml
from goe_exporter.config.quoting import one_line, shown
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.config.values import seconds
from goe_exporter.errors import ConfigError
from goe_exporter.logs import logger

_BCRYPT = re.compile(
    r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
)
"""The 22nd character holds the salt's last two bits; another one bcrypt refuses to hash with."""

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""The cipher suites of TLS 1.2 that are still good, by Go's names, with OpenSSL's."""

_SUITES_13 = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
"""Those of TLS 1.3, which are always on, there as here; a file may name them."""

_log = logger(__name__)


def _suite(text: object) -> str:
    if not isinstance(text, str) or (text not in _SUITES and text not in _SUITES_13):
        raise ValueError(f"one of {', '.join((*_SUITES, *_SUITES_13))}, not {shown(text)}")
    return str(text)


def _hash(text: object) -> str:
    if not isinstance(text, str) or not _BCRYPT.fullmatch(text):
        raise ValueError("a bcrypt hash, as `htpasswd -nBC 10 USER` prints it")
    return text


def _interval(value: object) -> float:
    """Return the seconds of a duration, 0 as a number too."""
    return seconds("0" if value == 0 and value is not False else value)


class TlsServer(Strict):
    """Section `tls_server_config`: the server's certificate and what it wants of clients."""

    cert_file: str | None = None
    key_file: str | None = Field(default=None, repr=False)
    cert: str | None = Field(default=None, repr=False)
    key: str | None = Field(default=None, repr=False)
    client_auth_type: Literal[
        "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
    ] = "NoClientCert"
    client_ca_file: str | None = None
    client_ca: str | None = None
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: tuple[Annotated[str, BeforeValidator(_suite)], ...] = ()
    prefer_server_cipher_suites: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse what contradicts itself."""
        for what in ("cert", "key"):
            if (getattr(self, what) is None) == (getattr(self, f"{what}_file") is None):
                raise ValueError(f"one of {what} and {what}_file is wanted")
            if "-----" in (getattr(self, f"{what}_file") or ""):
                raise ValueError(
                    f"{what}_file wants the name of a file; its content goes to {what}"
                )
        if self.client_ca is not None and self.client_ca_file is not None:
            raise ValueError("client_ca and client_ca_file exclude each other")
        verifies = self.client_auth_type != "NoClientCert"
        if verifies != (self.client_ca is not None or self.client_ca_file is not None):
            raise ValueError("client_auth_type and client_ca_file or client_ca go together")
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans wants RequireAndVerifyClientCert")
        if (self.min_version, self.max_version) == ("TLS13", "TLS12"):
            raise ValueError("min_version is above max_version")
        only_13 = self.cipher_suites and not set(self.cipher_suites) & set(_SUITES)
        if only_13 and self.max_version == "TLS12":
            raise ValueError("no cipher suite of TLS 1.2 is left, and max_version is TLS12")
        return self

    def context(self, directory: Path) -> ssl.SSLContext:
        """Return a server's TLS context; files are found from `directory`.

        Raises `ConfigError` for the certificates.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.min_version]
        context.maximum_version = _VERSIONS[self.max_version]
        context.verify_mode = _VERIFY[self.client_auth_type]
        context.options |= ssl.OP_NO_RENEGOTIATION
        old = [_SUITES[name] for name in self.cipher_suites if name in _SUITES]
        if old:
            context.set_ciphers(":".join(old))
        elif self.cipher_suites:
            context.minimum_version = ssl.TLSVersion.TLSv1_3  # nothing is left of TLS 1.2
        if self.prefer_server_cipher_suites:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            with (
                _on_disk(self.cert_file, self.cert, directory) as cert,
                _on_disk(self.key_file, self.key, directory) as key,
            ):
                context.load_cert_chain(cert, key, password=_no_password)
            if context.verify_mode is not ssl.CERT_NONE:
                with _on_disk(self.client_ca_file, self.client_ca, directory) as authority:
                    context.load_verify_locations(authority)
        except (OSError, ValueError) as error:
            raise ConfigError(f"tls_server_config: {_tls_reason(error)}") from error
        return context

    def files(self) -> list[str]:
        """Return the files that it names."""
        return [name for name in (self.cert_file, self.key_file, self.client_ca_file) if name]


class Headers(Strict):
    """Section `http_server_config.headers`: what every answer carries besides its own."""

    content_security_policy: str = Field(default="", alias="Content-Security-Policy")
    frame_options: Literal["", "deny", "sameorigin"] = Field(default="", alias="X-Frame-Options")
    content_type_options: Literal["", "nosniff"] = Field(default="", alias="X-Content-Type-Options")
    xss_protection: str = Field(default="", alias="X-XSS-Protection")
    transport_security: str = Field(default="", alias="Strict-Transport-Security")

    @model_validator(mode="after")
    def _one_line(self) -> Self:
        for name, text in self.by_name().items():
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name}: one line of ASCII text")
        return self

    def by_name(self) -> dict[str, str]:
        """Return the headers that are set."""
        return {name: text for name, text in self.model_dump(by_alias=True).items() if text}


class HttpServer(Strict):
    """Section `http_server_config`; `http2` is allowed, but HTTP/1.1 is spoken."""

    http2: bool = True
    headers: Headers = Headers()


class RateLimit(Strict):
    """Section `rate_limit`: a request every `interval` seconds, `burst` of them at once."""

    interval: Annotated[float, BeforeValidator(_interval)] = 0.0
    burst: int = Field(default=0, ge=0)


class WebConfig(Strict):
    """The whole file; `basic_auth_users` holds bcrypt hashes by user."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: Mapping[str, Annotated[str, BeforeValidator(_hash)]] = Field(
        default_factory=dict, repr=False
    )
    rate_limit: RateLimit = RateLimit()

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: object) -> object:
        """Refuse a section with nothing in it, which may have been meant to shut the door."""
        for name, section in given.items() if isinstance(given, dict) else ():
            if section is None:
                raise ValueError(f"{name}: nothing in it; fill it or leave it out")
        return given

    def welcomes(self, certificate: Mapping[str, Any] | None) -> bool:
        """Tell whether a client's certificate, verified already, bears a name that is wanted."""
        section = self.tls_server_config
        if section is None or not section.client_allowed_sans:
            return True
        wanted = set(map(_name, section.client_allowed_sans))
        names = (certificate or {}).get("subjectAltName", ())
        return any(kind in _NAMES and _name(name) in wanted for kind, name in names)


class WebSettings:
    """What the web server goes by now: `config`, and `tls`, its context or None.

    Without a file (`path` None) it is the default: plain HTTP, open to all.
    """

    def __init__(self, path: str | None) -> None:
        """Load the file; raises `ConfigError`."""
        self._path = path
        self._broken = ""
        self.config = WebConfig()
        self.tls: ssl.SSLContext | None = None
        if path is not None:
            self._load(path)
            self._seen = self._signature()

    def refresh(self) -> None:
        """Take up what changed on disk; what cannot be loaded is logged once and left alone."""
        if self._path is None or self._signature() == self._seen:
            return
        try:
            self._load(self._path)
        except ConfigError as error:
            if str(error) != self._broken:
                self._broken = str(error)
                _log.warning("web configuration not taken up", error=str(error))
        else:
            self._seen, self._broken = self._signature(), ""
            _log.info("web configuration taken up")

    def _load(self, path: str) -> None:
        found = strict_yaml.validated(WebConfig, strict_yaml.document(path), path)
        section = found.tls_server_config
        try:
            tls = None if section is None else section.context(Path(path).parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        self.config, self.tls = found, tls

    def _signature(self) -> list[object]:
        """Return what changes when the file or one that it names does."""
        assert self._path is not None
        path, section = Path(self._path), self.config.tls_server_config
        named = [] if section is None else section.files()
        return [_stamp(path), *(_stamp(path.parent / name) for name in named)]


_NAMES = ("DNS", "email", "URI", "IP Address")
"""The kinds of alternative names that count, as Python calls them."""


def _name(text: str) -> str:
    """Return an alternative name as it is compared: an address in its shortest form."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@contextmanager
def _on_disk(name: str | None, text: str | None, directory: Path) -> Iterator[str]:
    """Yield the path of a file, `name` or one with `text`, for a library that wants a path."""
    if name is not None:
        (directory / name).open("rb").close()  # OpenSSL would not say which one it missed
        yield str(directory / name)
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text or "")
        file.flush()
        yield file.name


def _no_password() -> str:
    """Say nothing where OpenSSL would ask for an encrypted key's password on the terminal."""
    return ""


def _tls_reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        words = str(error.reason or error).lower().replace("_", " ")
        return f"certificate and key cannot be used: {words}"
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error)
    return f"{one_line(str(name))}: {reason}" if name else reason
