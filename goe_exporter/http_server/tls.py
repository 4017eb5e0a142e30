"""Section `tls_server_config`: TLS versions, cipher suites, and certificates of both sides."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from goe_exporter.config.quoting import one_line, shown
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.config.values import check_regular
from goe_exporter.errors import ConfigError

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
"""Secure cipher suites of TLS 1.2: Go's name → OpenSSL's."""

_SUITES_13 = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
"""Cipher suites of TLS 1.3. A file may name them, but they are always enabled, as in Go."""

_NAME_KINDS = ("DNS", "email", "URI", "IP Address")
"""The kinds of subject alternative names that are compared, as Python calls them."""


def _suite(text: object) -> str:
    if not isinstance(text, str) or (text not in _SUITES and text not in _SUITES_13):
        raise ValueError(f"must be one of {', '.join((*_SUITES, *_SUITES_13))}, not {shown(text)}")
    return str(text)


class TlsServer(Strict):
    """Section `tls_server_config`: the server's certificate, and requirements on clients."""

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
    def _consistent(self) -> Self:
        """Reject settings that contradict each other."""
        for name in ("cert", "key"):
            if (getattr(self, name) is None) == (getattr(self, f"{name}_file") is None):
                raise ValueError(f"exactly one of {name} and {name}_file is required")
            if "-----" in (getattr(self, f"{name}_file") or ""):
                raise ValueError(f"{name}_file must be a file name; use {name} for the content")
        if self.client_ca is not None and self.client_ca_file is not None:
            raise ValueError("client_ca and client_ca_file are mutually exclusive")
        verifies = self.client_auth_type != "NoClientCert"
        if verifies != (self.client_ca is not None or self.client_ca_file is not None):
            rule = "is required with" if verifies else "is not allowed with"
            raise ValueError(
                f"client_ca_file or client_ca {rule} client_auth_type {self.client_auth_type}"
            )
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError(
                "client_allowed_sans requires client_auth_type RequireAndVerifyClientCert"
            )
        if (self.min_version, self.max_version) == ("TLS13", "TLS12"):
            raise ValueError("min_version must not be above max_version")
        only_13 = self.cipher_suites and not set(self.cipher_suites) & set(_SUITES)
        if only_13 and self.max_version == "TLS12":
            raise ValueError("max_version TLS12 requires a TLS 1.2 suite in cipher_suites")
        return self

    def context(self, config_file: str) -> ssl.SSLContext:
        """Return the server's TLS context; file names are relative to the configuration file.

        Raises `ConfigError` if a certificate or key cannot be used.
        """
        directory = Path(config_file).parent
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.min_version]
        context.maximum_version = _VERSIONS[self.max_version]
        context.verify_mode = _VERIFY[self.client_auth_type]
        context.options |= ssl.OP_NO_RENEGOTIATION
        suites_12 = [_SUITES[name] for name in self.cipher_suites if name in _SUITES]
        if suites_12:
            context.set_ciphers(":".join(suites_12))
        elif self.cipher_suites:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.prefer_server_cipher_suites:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            with (
                _on_disk(self.cert_file, self.cert, directory) as cert,
                _on_disk(self.key_file, self.key, directory) as key,
            ):
                # An empty password keeps OpenSSL from asking for one on the terminal.
                context.load_cert_chain(cert, key, password=lambda: "")
            if context.verify_mode is not ssl.CERT_NONE:
                with _on_disk(self.client_ca_file, self.client_ca, directory) as authority:
                    context.load_verify_locations(authority)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{config_file}: tls_server_config: {_reason(error)}") from error
        return context

    def files(self) -> list[str]:
        """Return the names of the files that the section refers to."""
        return [name for name in (self.cert_file, self.key_file, self.client_ca_file) if name]

    def allows(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a client's verified certificate has an allowed name."""
        allowed = set(map(_name, self.client_allowed_sans))
        names = (certificate or {}).get("subjectAltName", ())
        return not allowed or any(
            kind in _NAME_KINDS and _name(name) in allowed for kind, name in names
        )


def _name(text: str) -> str:
    """Return a subject alternative name in the form that is compared: addresses shortened."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


@contextmanager
def _on_disk(name: str | None, text: str | None, directory: Path) -> Iterator[str]:
    """Yield the path of the file `name`, or of a temporary file with `text`.

    Python's `ssl` loads certificates from files only.
    """
    if name is not None:
        check_regular(str(directory / name))
        (directory / name).open("rb").close()  # OpenSSL's error does not name the missing file
        yield str(directory / name)
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text or "")
        file.flush()
        yield file.name


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or error).lower().replace("_", " ")
        return f"certificate and key cannot be used: {reason}"
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error)
    return f"{one_line(str(name))}: {reason}" if name else reason
