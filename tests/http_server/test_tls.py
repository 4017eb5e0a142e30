"""TLS as `tls_server_config` sets it, in handshakes between two ends in memory."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
from servers import self_signed

from goe_exporter.http_server.web_config import WebSettings

SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": ("ec", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": ("ec", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": ("ec", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": ("ec", "ECDHE-ECDSA-AES128-SHA"),
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": ("ec", "ECDHE-ECDSA-AES256-SHA"),
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": ("rsa", "ECDHE-RSA-AES128-GCM-SHA256"),
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": ("rsa", "ECDHE-RSA-AES256-GCM-SHA384"),
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": ("rsa", "ECDHE-RSA-CHACHA20-POLY1305"),
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": ("rsa", "ECDHE-RSA-AES128-SHA"),
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": ("rsa", "ECDHE-RSA-AES256-SHA"),
    "TLS_RSA_WITH_AES_128_GCM_SHA256": ("rsa", "AES128-GCM-SHA256"),
    "TLS_RSA_WITH_AES_256_GCM_SHA384": ("rsa", "AES256-GCM-SHA384"),
    "TLS_RSA_WITH_AES_128_CBC_SHA": ("rsa", "AES128-SHA"),
    "TLS_RSA_WITH_AES_256_CBC_SHA": ("rsa", "AES256-SHA"),
}
"""The name of a suite, the key it needs, and its name in openssl-ciphers(1)."""

CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
"""The name of a curve, and its name in OpenSSL."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, processes: None) -> Path:  # noqa: ARG001
    """Return a folder with certificates and keys: ec.pem and rsa.pem, client.pem, stranger.pem."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ec", "client", "stranger"):
        self_signed(folder).rename(folder / f"{name}.pem")
    self_signed(folder, kind="rsa:2048").rename(folder / "rsa.pem")
    return folder


def server(folder: Path, settings: str = "", key: str = "ec") -> ssl.SSLContext:
    """Return the server's context for further settings of the section."""
    path = folder / "web.yaml"
    files = f"cert_file: {key}.pem, key_file: {key}.pem"
    path.write_text(f"tls_server_config: {{{files}, {settings}}}")
    tls = WebSettings(str(path)).tls
    assert tls is not None
    return tls


def client(folder: Path, own: str = "", ciphers: str = "ALL") -> ssl.SSLContext:
    """Return the context of a client with an own certificate and a list of TLS 1.2 suites."""
    context = ssl.create_default_context()
    for key in ("ec", "rsa"):
        context.load_verify_locations(folder / f"{key}.pem")
    context.set_ciphers(ciphers)
    if own:
        context.load_cert_chain(folder / f"{own}.pem")
    return context


def tls_12(context: ssl.SSLContext) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def handshake(serving: ssl.SSLContext, asking: ssl.SSLContext) -> tuple[str, str]:
    """Perform a handshake; return its cipher suite and TLS version, or raise `ssl.SSLError`."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = asking.wrap_bio(down, up, server_hostname="prometheus.example")
    ours = serving.wrap_bio(up, down, server_side=True)
    pending = [theirs, ours]
    for _ in range(5):
        for end in tuple(pending):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                pending.remove(end)
    assert pending == []
    cipher = ours.cipher()
    assert cipher is not None
    return cipher[0], cipher[1]


@pytest.mark.parametrize("name", SUITES)
def test_cipher_suites(folder: Path, name: str) -> None:
    """Each suite of TLS 1.2 can be the only one; TLS 1.3 has its own."""
    key, expected = SUITES[name]
    tls = server(folder, f"cipher_suites: [{name}]", key)
    assert handshake(tls, tls_12(client(folder)))[0] == expected
    assert handshake(tls, client(folder))[1] == "TLSv1.3"


@pytest.mark.parametrize("name", [name for name in SUITES if "CBC" in name or "TLS_RSA" in name])
def test_older_suites_are_off(folder: Path, name: str) -> None:
    """A suite without forward secrecy or authenticated encryption works only if it is named."""
    key, offered = SUITES[name]
    with pytest.raises(ssl.SSLError, match=r"(?i)no.shared.cipher"):
        handshake(server(folder, key=key), tls_12(client(folder, ciphers=offered)))


@pytest.mark.parametrize("limit", [tls_12, lambda context: context], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("name", CURVES)
def test_curve(folder: Path, name: str, limit: type) -> None:
    """Only a client that supports the curve is served."""
    tls = server(folder, f"curve_preferences: [{name}]", "rsa")
    for other, curve in CURVES.items():
        asking = limit(client(folder))
        asking.set_ecdh_curve(curve)
        if other == name:
            handshake(tls, asking)
        else:
            with pytest.raises(ssl.SSLError):
                handshake(tls, asking)


@pytest.mark.parametrize("limit", [tls_12, lambda context: context], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ("client_auth_type: NoClientCert", {"", "client", "stranger"}),
        ("client_auth_type: ''", {"", "client", "stranger"}),
        ("client_auth_type: RequestClientCert", {"", "client", "stranger"}),
        ("client_auth_type: VerifyClientCertIfGiven", {""}),
        ("client_auth_type: VerifyClientCertIfGiven, client_ca_file: client.pem", {"", "client"}),
        ("client_auth_type: RequireAndVerifyClientCert", set()),
        ("client_auth_type: RequireAndVerifyClientCert, client_ca_file: client.pem", {"client"}),
    ],
)
def test_client_certificates(folder: Path, settings: str, served: set[str], limit: type) -> None:
    """The certificate of a client is ignored, verified if there is one, or required."""
    found = set()
    for own in ("", "client", "stranger"):
        with contextlib.suppress(ssl.SSLError):
            handshake(server(folder, settings), limit(client(folder, own)))
            found.add(own)
    assert found == served


@pytest.mark.parametrize("policy", ["VerifyClientCertIfGiven", "RequireAndVerifyClientCert"])
def test_authorities_of_the_system(
    folder: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a client CA, the system's CAs verify the certificates of clients."""
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "client.pem"))
    tls = server(folder, f"client_auth_type: {policy}")
    handshake(tls, client(folder, "client"))
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.verify.failed"):
        handshake(tls, client(folder, "stranger"))
