"""`--web.config.file`: what it takes, what it refuses by name, and how it takes up changes."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest
from servers import binary

from goe_exporter.errors import ConfigError
from goe_exporter.web_config import WebSettings

HASH = "$2b$10$VEuYi/A.UFkbPa/NNm9AWeWP4UdN161zXWdRQ2xT9nBW.EDEKxB1O"

EXAMPLES = {
    "users": f"basic_auth_users:\n  alice: {HASH}\n",
    "tls": "tls_server_config: {cert_file: both.pem, key_file: both.pem, min_version: TLS13}\n",
    "client": (
        "tls_server_config:\n  cert_file: both.pem\n  key_file: both.pem\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: both.pem\n"
    ),
    "ciphers": (
        "tls_server_config:\n  cert_file: both.pem\n  key_file: both.pem\n"
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"
        "  prefer_server_cipher_suites: true\n"
    ),
    "headers": (
        "tls_server_config:\n  cert_file: both.pem\n  key_file: both.pem\n"
        "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n"
        "    Strict-Transport-Security: max-age=31536000\n"
    ),
    "nothing": "",
}

BAD = {
    "unknown": ("tls: {}", "tls: unknown key; allowed are tls_server_config, http_server_config,"),
    "unknown_below": (
        "tls_server_config: {certificate: a}",
        "tls_server_config.certificate: unknown key; allowed are cert_file, key_file, cert, key,",
    ),
    "unknown_header": (
        "http_server_config: {headers: {X-Powered-By: me}}",
        "http_server_config.headers.X-Powered-By: unknown key; allowed are Content-Security-Pol",
    ),
    "no_hash": ("basic_auth_users: {alice: secret}", "basic_auth_users.alice: a bcrypt hash"),
    "no_cert": ("tls_server_config: {key_file: a}", "tls_server_config: one of cert and cert_file"),
    "two_keys": (
        "tls_server_config: {cert_file: a, key_file: a, key: b}",
        "tls_server_config: one of key and key_file is wanted",
    ),
    "old_tls": (
        "tls_server_config: {cert_file: a, key_file: a, min_version: TLS10}",
        "tls_server_config.min_version: 'TLS12' or 'TLS13', not 'TLS10'",
    ),
    "versions": (
        "tls_server_config: {cert_file: a, key_file: a, min_version: TLS13, max_version: TLS12}",
        "tls_server_config: min_version is above max_version",
    ),
    "unverified": (
        "tls_server_config: {cert_file: a, key_file: a, client_auth_type: RequireAnyClientCert}",
        "tls_server_config.client_auth_type: 'NoClientCert', 'VerifyClientCertIfGiven' or",
    ),
    "no_authority": (
        "tls_server_config: {cert_file: a, key_file: a, client_auth_type: VerifyClientCertIfGiven}",
        "tls_server_config: client_auth_type and client_ca_file or client_ca go together",
    ),
    "sans_of_nobody": (
        "tls_server_config: {cert_file: a, key_file: a, client_allowed_sans: [b]}",
        "tls_server_config: client_allowed_sans wants RequireAndVerifyClientCert",
    ),
    "weak_cipher": (
        "tls_server_config: {cert_file: a, key_file: a, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}",
        "tls_server_config.cipher_suites[0]: one of TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,",
    ),
    "no_file": (
        "tls_server_config: {cert_file: gone.pem, key_file: gone.pem}",
        "gone.pem: No such file or directory",
    ),
    "no_pem": (
        "tls_server_config: {cert_file: web.yaml, key_file: web.yaml}",
        "tls_server_config: certificate and key cannot be used:",
    ),
    "forged_header": (
        'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: b"}}',
        "http_server_config.headers: Content-Security-Policy: one line of ASCII text",
    ),
    "a_list": ("[]", "keys and values are wanted, not []"),
}


@pytest.fixture
def folder(tmp_path: Path, certificates: Path) -> Path:
    """Return a folder with a certificate and its key in `both.pem`."""
    (tmp_path / "both.pem").write_bytes(certificates.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


def certificate(folder: Path, name: str = "prometheus.example") -> Path:
    """Return a file with a new self-signed certificate for a name, and its key."""
    key, public, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    request = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    )
    names = ["-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"]
    options = [*request.split(), *names, "-keyout", str(key), "-out", str(public)]
    subprocess.run([binary("openssl"), *options], check=True, capture_output=True)
    both.write_text(key.read_text() + public.read_text())
    return both


def written(folder: Path, text: str) -> Path:
    path = folder / "web.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(folder: Path, name: str) -> None:
    """Each example is taken, by Prometheus' own checker too."""
    path = written(folder, EXAMPLES[name])
    settings = WebSettings(str(path))
    assert (settings.tls is not None) == ("tls_server_config" in EXAMPLES[name])
    check = [binary("promtool"), "check", "web-config", str(path)]
    assert "SUCCESS" in subprocess.run(check, check=True, capture_output=True, text=True).stderr


@pytest.mark.parametrize("name", BAD)
def test_mistakes(folder: Path, name: str) -> None:
    """A mistake is one line that names the file, the place and what is allowed."""
    text, message = BAD[name]
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        WebSettings(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_hash_is_shown(folder: Path) -> None:
    """A wrong hash, which may be a password, stands in no message and no representation."""
    with pytest.raises(ConfigError) as caught:
        WebSettings(str(written(folder, "basic_auth_users: {alice: my-password}")))
    assert "my-password" not in str(caught.value)
    good = WebSettings(str(written(folder, EXAMPLES["users"])))
    assert HASH not in repr(good.config)


def test_inline(folder: Path) -> None:
    """Certificate, key and authority may stand in the file itself."""
    pem = (folder / "both.pem").read_text().replace("\n", "\n    ")
    text = (
        f"tls_server_config:\n  cert: |\n    {pem}\n  key: |\n    {pem}\n"
        f"  client_ca: |\n    {pem}\n  client_auth_type: VerifyClientCertIfGiven\n"
    )
    tls = WebSettings(str(written(folder, text))).tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_OPTIONAL
    assert len(tls.get_ca_certs()) == 1


def test_an_encrypted_key_asks_nobody(folder: Path) -> None:
    """A key that wants a password is an error, not a question on the terminal."""
    locked = folder / "locked.pem"
    command = "ec -aes256 -passout pass:word -in both.pem -out locked.pem"
    subprocess.run(
        [binary("openssl"), *command.split()], cwd=folder, check=True, capture_output=True
    )
    text = f"tls_server_config: {{cert_file: both.pem, key_file: {locked}}}"
    with pytest.raises(ConfigError, match="cannot be used"):
        WebSettings(str(written(folder, text)))


def test_a_change_is_taken_up(folder: Path) -> None:
    """A new certificate under the same name is used, without a restart."""
    settings = WebSettings(str(written(folder, EXAMPLES["tls"])))
    before = settings.tls
    settings.refresh()
    assert settings.tls is before
    certificate(folder)
    settings.refresh()
    assert settings.tls is not before


@pytest.mark.parametrize("broken", ["tls_server_config: [", "tls: {}", None])
def test_a_broken_change_is_left_alone(
    folder: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be loaded leaves the last good configuration, with one line in the log."""
    path = written(folder, EXAMPLES["tls"])
    settings = WebSettings(str(path))
    before = settings.config, settings.tls
    if broken is None:
        (folder / "both.pem").write_text("half a certif")
    else:
        path.write_text(broken)
    settings.refresh()
    settings.refresh()
    assert (settings.config, settings.tls) == before
    assert [record.getMessage() for record in caplog.records] == ["web configuration not taken up"]
    certificate(folder)
    written(folder, EXAMPLES["users"])
    settings.refresh()
    assert settings.tls is None
    assert list(settings.config.basic_auth_users) == ["alice"]


def test_same_size_and_time(folder: Path) -> None:
    """A file that was replaced is seen even if its time and size are the old ones'."""
    path = written(folder, EXAMPLES["users"])
    settings = WebSettings(str(path))
    status = path.stat()
    other = folder / "other.yaml"
    other.write_text(EXAMPLES["users"].replace("alice", "carol"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    settings.refresh()
    assert list(settings.config.basic_auth_users) == ["carol"]
