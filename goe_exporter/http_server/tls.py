"""Section `tls_server_config`: TLS versions, cipher suites, and certificates of both sides.

`docs/configuration.md` lists what exporter-toolkit accepts and this module rejects, with the
reasons.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from goe_exporter.config.quoting import one_line, shape, shown
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.config.values import check_regular
from goe_exporter.errors import ConfigError

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
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
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""Cipher suites of TLS 1.2 that promtool 2.42 accepts: Go's name → OpenSSL's.

The last eight lack forward secrecy or authenticated encryption; only a file that names them
enables them.
"""

_DEFAULT_SUITES = tuple(_SUITES.values())[:6]
"""Cipher suites of TLS 1.2 without `cipher_suites`: OpenSSL's names."""

_SUITES_13 = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
"""Cipher suites of TLS 1.3. A file may name them, but they are always enabled, as in Go."""

_CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
"""Curves of the key exchange: Go's name → OpenSSL's."""

_TEXTS = {
    *("cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type")
}
"""Keys for which an empty text is the same as no key, as in exporter-toolkit."""

_NAME_KINDS = ("DNS", "email", "URI", "IP Address")
"""The kinds of subject alternative names that are compared, as Python calls them."""


def _suite(text: object) -> str:
    if not isinstance(text, str) or (text not in _SUITES and text not in _SUITES_13):
        raise ValueError(f"must be one of {', '.join((*_SUITES, *_SUITES_13))}, not {shown(text)}")
    return str(text)


def _list(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    raise ValueError(f"must be a list, not {shape(value)}")


def _one_curve(value: object) -> list[object]:
    """Reject several curves: Python's `ssl` restricts a context to one or to none."""
    if len(curves := _list(value)) > 1:
        raise ValueError(f"must be a list of one curve, not of {len(curves)}")
    return curves


def _names(value: object) -> object:
    """Reject an empty list: it would allow every client, in exporter-toolkit none."""
    if not _list(value):
        raise ValueError("must not be empty; without it every verified client is allowed")
    return value


class TlsServer(Strict):
    """Section `tls_server_config`: the server's certificate, and requirements on clients."""

    cert_file: str | None = None
    key_file: str | None = Field(default=None, repr=False)
    cert: str | None = Field(default=None, repr=False)
    key: str | None = Field(default=None, repr=False)
    client_auth_type: Literal[
        "NoClientCert",
        "RequestClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = "NoClientCert"
    client_ca_file: str | None = None
    client_ca: str | None = None
    client_allowed_sans: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: Annotated[
        tuple[Annotated[str, BeforeValidator(_suite)], ...], BeforeValidator(_list)
    ] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: Annotated[
        tuple[Literal["CurveP256", "CurveP384", "CurveP521", "X25519"], ...],
        BeforeValidator(_one_curve),
    ] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_empty_texts(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value != "" or key not in _TEXTS}

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
        has_authority = self.client_ca is not None or self.client_ca_file is not None
        if has_authority and self.client_auth_type == "NoClientCert":
            raise ValueError(
                "client_ca_file or client_ca is not allowed with client_auth_type NoClientCert"
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
        named = [_SUITES[name] for name in self.cipher_suites if name in _SUITES]
        # Python's default list may contain older suites, depending on how Python was built.
        context.set_ciphers(":".join(named or _DEFAULT_SUITES))
        if self.cipher_suites and not named:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.prefer_server_cipher_suites:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        for name in self.curve_preferences:
            context.set_ecdh_curve(_CURVES[name])
        part = "certificate and key"
        try:
            with (
                _on_disk(self.cert_file, self.cert, directory) as cert,
                _on_disk(self.key_file, self.key, directory) as key,
            ):
                # An empty password keeps OpenSSL from asking for one on the terminal.
                context.load_cert_chain(cert, key, password=lambda: "")
            part = "client CA"
            self._trust_clients(context, directory)
        except (OSError, ValueError) as error:
            reason = _reason(part, error)
            raise ConfigError(f"{config_file}: tls_server_config: {reason}") from error
        return context

    def _trust_clients(self, context: ssl.SSLContext, directory: Path) -> None:
        """Load the client CA, or those of the system, as Go does if there is none."""
        if self.client_ca is not None or self.client_ca_file is not None:
            with _on_disk(self.client_ca_file, self.client_ca, directory) as authority:
                context.load_verify_locations(authority)
        elif context.verify_mode is not ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)

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


def _reason(part: str, error: OSError | ValueError) -> str:
    """Return why the certificate and key, or the client CA, cannot be used."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason.lower().replace("_", " ") if error.reason else "invalid PEM"
        return f"{part} cannot be used: {reason}"
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error)
    return f"{one_line(str(name))}: {reason}" if name else reason
