"""`--web.config.file`: accepted and rejected settings, and reloads."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest
from servers import binary, self_signed

from goe_exporter.errors import ConfigError
from goe_exporter.http_server.web_config import WebSettings

HASH = "$2b$10$VEuYi/A.UFkbPa/NNm9AWeWP4UdN161zXWdRQ2xT9nBW.EDEKxB1O"

TLS = "tls_server_config:\n  cert_file: both.pem\n  key_file: both.pem\n"

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
    "unknown": ("tls: {}", "tls: unknown key; did you mean 'tls_server_config'?"),
    "unknown_below": (
        "tls_server_config: {certificate: a}",
        "tls_server_config.certificate: unknown key; did you mean 'cert_file'?",
    ),
    "unknown_header": (
        "http_server_config: {headers: {X-Powered-By: me}}",
        "http_server_config.headers.X-Powered-By: unknown key; allowed are Content-Security-Pol",
    ),
    "no_hash": (
        "basic_auth_users: {alice: secret}",
        "basic_auth_users.alice: must be a bcrypt hash",
    ),
    "no_cert": (
        "tls_server_config: {key_file: a}",
        "tls_server_config: exactly one of cert and cert_file is required",
    ),
    "two_keys": (
        "tls_server_config: {cert_file: a, key_file: a, key: b}",
        "tls_server_config: exactly one of key and key_file is required",
    ),
    "old_tls": (
        "tls_server_config: {cert_file: a, key_file: a, min_version: TLS10}",
        "tls_server_config.min_version: must be 'TLS12' or 'TLS13', not 'TLS10'",
    ),
    "versions": (
        "tls_server_config: {cert_file: a, key_file: a, min_version: TLS13, max_version: TLS12}",
        "tls_server_config: min_version must not be above max_version",
    ),
    "unverified": (
        "tls_server_config: {cert_file: a, key_file: a, client_auth_type: RequireAnyClientCert}",
        "tls_server_config.client_auth_type: must be 'NoClientCert', 'RequestClientCert', 'Verify",
    ),
    "curves": (
        "tls_server_config: {cert_file: a, key_file: a, curve_preferences: [X25519, CurveP256]}",
        "tls_server_config.curve_preferences: must be a list of one curve, not of 2",
    ),
    "curve": (
        "tls_server_config: {cert_file: a, key_file: a, curve_preferences: [P256]}",
        "tls_server_config.curve_preferences[0]: must be 'CurveP256', 'CurveP384', 'CurveP521' or",
    ),
    "suites_no_list": (
        "tls_server_config: {cert_file: a, key_file: a, cipher_suites: TLS_AES_128_GCM_SHA256}",
        "tls_server_config.cipher_suites: must be a list, not a single value",
    ),
    "no_allowed_name": (
        "tls_server_config: {cert_file: a, key_file: a, client_allowed_sans: []}",
        "tls_server_config.client_allowed_sans: must not be empty; without it every verified cl",
    ),
    "empty_certificate": (
        "tls_server_config: {cert_file: '', key_file: a}",
        "tls_server_config: exactly one of cert and cert_file is required",
    ),
    "no_client_ca": (
        f"{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: web.yaml",
        "tls_server_config: client CA cannot be used: no certificate or crl found",
    ),
    "inline_no_pem": (
        "tls_server_config: {cert: a, key: b}",
        "tls_server_config: certificate and key cannot be used: invalid PEM",
    ),
    "empty_header": (
        "http_server_config: {headers: {X-Frame-Options: ''}}",
        "http_server_config.headers.X-Frame-Options: must be 'deny' or 'sameorigin', not ''",
    ),
    "null_header": (
        "http_server_config: {headers: {X-Content-Type-Options: }}",
        "http_server_config.headers.X-Content-Type-Options: must not be empty; set it or remove",
    ),
    "quoted_burst": (
        "rate_limit: {interval: 1s, burst: '2'}",
        "rate_limit.burst: must be a whole number, not '2'",
    ),
    "authority_alone": (
        "tls_server_config: {cert_file: a, key_file: a, client_ca_file: a}",
        "tls_server_config: client_ca_file or client_ca is not allowed with client_auth_type",
    ),
    "empty": (
        "basic_auth_users:",
        "basic_auth_users: must not be empty; set it or remove it",
    ),
    "null_unknown": (
        'http_server_config: {"\\x85": }',
        "http_server_config.\\x85: unknown key; allowed are http2, headers",
    ),
    "sans_of_nobody": (
        "tls_server_config: {cert_file: a, key_file: a, client_allowed_sans: [b]}",
        "tls_server_config: client_allowed_sans requires client_auth_type RequireAndVerifyClient",
    ),
    "weak_cipher": (
        "tls_server_config: {cert_file: a, key_file: a, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}",
        "tls_server_config.cipher_suites[0]: must be one of TLS_ECDHE_ECDSA_WITH_AES_128_",
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
        "http_server_config.headers.Content-Security-Policy: must be one line of ASCII text",
    ),
    "a_list": ("[]", "must be a mapping, not a list"),
    "list_of_users": (
        "basic_auth_users: [alice]",
        "basic_auth_users: must be a mapping such as {prometheus: HASH}, not a list",
    ),
}


HEADERS = "http_server_config.headers"
SECTIONS = "tls_server_config, http_server_config, basic_auth_users, rate_limit"

COMPARISONS = {
    "null_users": ("basic_auth_users:", True, False),  # otherwise the server would be open
    "null_tls": ("tls_server_config:", True, False),
    "empty_tls": ("tls_server_config: {}", True, False),
    "curve": (f"{TLS}  curve_preferences: [X25519]\n", True, True),
    "curves": (f"{TLS}  curve_preferences: [CurveP384, X25519]\n", True, False),  # not in Python
    "no_curve": (f"{TLS}  curve_preferences: [CurveP257]\n", False, False),
    "tls13_suite": (f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", True, True),
    "cbc": (f"{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n", True, True),
    "rsa_exchange": (f"{TLS}  cipher_suites: [TLS_RSA_WITH_AES_256_GCM_SHA384]\n", True, True),
    "insecure": (f"{TLS}  cipher_suites: [TLS_RSA_WITH_3DES_EDE_CBC_SHA]\n", False, False),
    "cbc_sha256": (f"{TLS}  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA256]\n", False, False),
    "no_suite": (f"{TLS}  cipher_suites: [TLS_NONE]\n", False, False),
    "no_client": (f"{TLS}  client_auth_type: NoClientCert\n", True, True),
    "request": (f"{TLS}  client_auth_type: RequestClientCert\n", True, True),
    "any": (f"{TLS}  client_auth_type: RequireAnyClientCert\n", True, False),
    "if_given": (
        f"{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: both.pem\n",
        True,
        True,
    ),
    "no_authority": (f"{TLS}  client_auth_type: VerifyClientCertIfGiven\n", True, True),
    "required": (f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n", True, True),
    "empty_texts": (f"{TLS}  client_auth_type: ''\n  client_ca_file: ''\n", True, True),
    "empty_version": (f"{TLS}  min_version: ''\n", False, False),
    "empty_file": ("tls_server_config: {cert_file: '', key_file: both.pem}", False, False),
    "bogus_auth": (f"{TLS}  client_auth_type: Bogus\n", False, False),
    "authority_alone": (f"{TLS}  client_ca_file: both.pem\n", False, False),
    "tls10": (f"{TLS}  min_version: TLS10\n", True, False),  # the minimum is TLS 1.2
    "tls14": (f"{TLS}  max_version: TLS14\n", False, False),
    "header_value": ("http_server_config: {headers: {X-Frame-Options: allow}}", False, False),
    "header_number": ("http_server_config: {headers: {X-XSS-Protection: 1}}", True, True),
    "header_empty": ("http_server_config: {headers: {X-Frame-Options: ''}}", False, False),
    "header_name": ("http_server_config: {headers: {X-Powered-By: me}}", False, False),
    "http2": ("http_server_config: {http2: true}", True, True),
    "http2_text": ("http_server_config: {http2: 'true'}", False, False),
    "http2_number": ("http_server_config: {http2: 1}", False, False),
    "preference_text": (f"{TLS}  prefer_server_cipher_suites: 'false'\n", False, False),
    "number": (f"basic_auth_users: {{1: {HASH}}}", True, True),
    "hash_2a": (f"basic_auth_users: {{a: {HASH.replace('2b', '2a')}}}", True, True),
    "hash_2y": (f"basic_auth_users: {{a: {HASH.replace('2b', '2y')}}}", True, True),
    "no_hash": ("basic_auth_users: {a: secret}", False, False),
    "cheap_hash": (f"basic_auth_users: {{a: {HASH.replace('$10$', '$03$')}}}", False, False),
    "twice": (f"basic_auth_users: {{a: {HASH}, a: {HASH}}}", False, False),
    "two_certificates": (f"{TLS}  cert: abc\n", False, False),
    "no_file": ("tls_server_config: {cert_file: gone, key_file: gone}", False, False),
    "unknown": ("tls: {}", False, False),
}
"""A file, whether `promtool check web-config` accepts it, and whether the exporter does.

Where they differ the exporter is stricter, and `docs/configuration.md` has the reason. promtool
2.42 does not know `cert`, `key`, `client_ca`, `client_allowed_sans` and `rate_limit`.
"""


@pytest.fixture
def folder(tmp_path: Path, certificates: Path) -> Path:
    """Return a folder with a certificate and its key in `both.pem`."""
    (tmp_path / "both.pem").write_bytes(certificates.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory, processes: None) -> Path:  # noqa: ARG001
    return self_signed(tmp_path_factory.mktemp("tls"))


def written(folder: Path, text: str) -> Path:
    path = folder / "web.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(folder: Path, name: str) -> None:
    """The exporter and promtool accept each example."""
    path = written(folder, EXAMPLES[name])
    settings = WebSettings(str(path))
    assert (settings.tls is not None) == ("tls_server_config" in EXAMPLES[name])
    check = [binary("promtool"), "check", "web-config", str(path)]
    assert "SUCCESS" in subprocess.run(check, check=True, capture_output=True, text=True).stderr


@pytest.mark.parametrize("name", COMPARISONS)
def test_promtool_accepts_no_less(folder: Path, name: str) -> None:
    """The exporter rejects what promtool rejects, and what the table lists besides."""
    text, by_promtool, by_exporter = COMPARISONS[name]
    path = written(folder, text)
    done = subprocess.run([binary("promtool"), "check", "web-config", str(path)], check=False)
    assert (done.returncode == 0) == by_promtool
    assert by_promtool or not by_exporter
    try:
        WebSettings(str(path))
    except ConfigError:
        assert not by_exporter
    else:
        assert by_exporter


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5s", 5), ("1m30s", 90), ("500us", 0.0005), ("1.5h", 5400), ("100ms", 0.1)],
)
def test_rate(folder: Path, text: str, seconds: float) -> None:
    """An interval is a duration in Go's format."""
    path = written(folder, f"rate_limit: {{interval: {text}, burst: 3}}")
    assert WebSettings(str(path)).config.rate_limit.interval == pytest.approx(seconds)


@pytest.mark.parametrize("name", ["cert_file", "key_file", "client_ca_file"])
def test_fifo(folder: Path, name: str) -> None:
    """A FIFO is refused at once; to open it would wait for a writer."""
    os.mkfifo(folder / "fifo")
    files = {"cert_file": "both.pem", "key_file": "both.pem", "client_ca_file": "both.pem"}
    section = "".join(f"  {key}: {file}\n" for key, file in (files | {name: "fifo"}).items())
    path = written(
        folder, f"tls_server_config:\n  client_auth_type: RequireAndVerifyClientCert\n{section}"
    )
    with pytest.raises(ConfigError, match=r"fifo: not a regular file"):
        WebSettings(str(path))


@pytest.mark.parametrize("text", ["5", "-1s", "1d", "true", "s", "''"])
def test_bad_rate(folder: Path, text: str) -> None:
    """Anything else is rejected."""
    path = written(folder, f"rate_limit: {{interval: {text}}}")
    with pytest.raises(ConfigError, match=r"rate_limit.interval: must be a duration such as"):
        WebSettings(str(path))


def test_suites_of_tls_13_alone(folder: Path) -> None:
    """With TLS 1.3 suites only, TLS 1.2 is disabled, and must not be the maximum."""
    path = written(folder, f"{TLS}  cipher_suites: [TLS_AES_256_GCM_SHA384]\n")
    tls = WebSettings(str(path)).tls
    assert tls is not None
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_3
    path.write_text(f"{TLS}  cipher_suites: [TLS_AES_256_GCM_SHA384]\n  max_version: TLS12\n")
    with pytest.raises(ConfigError, match=r"max_version TLS12 requires a TLS 1\.2 suite"):
        WebSettings(str(path))


@pytest.mark.parametrize(
    ("allowed", "kind", "name", "expected"),
    [
        ("a.example", "DNS", "a.example", True),
        ("a.example", "DNS", "b.example", False),
        ("::1", "IP Address", "0:0:0:0:0:0:0:1", True),  # as Python spells it
        ("127.0.0.1", "IP Address", "127.0.0.1", True),
        ("a@b.example", "email", "a@b.example", True),
        ("spiffe://home/prometheus", "URI", "spiffe://home/prometheus", True),
        ("1.2.3", "Registered ID", "1.2.3", False),
    ],
)
def test_allowed_names_of_clients(
    folder: Path, allowed: str, kind: str, name: str, *, expected: bool
) -> None:
    """A client's certificate is allowed by any of its DNS, email, URI and IP names."""
    path = written(
        folder,
        f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: both.pem\n"
        f"  client_allowed_sans: ['{allowed}']\n",
    )
    section = WebSettings(str(path)).config.tls_server_config
    assert section is not None
    assert section.allows({"subjectAltName": ((kind, name),)}) == expected
    assert not section.allows({})


@pytest.mark.parametrize(
    "text",
    [
        "my-password",
        "[my-password]",
        "basic_auth_users: [alice:my-password]",
        "basic_auth_users: {alice: [my-password]}",
        "basic_auth_users: {alice: *my-password}",
        "basic_auth_users: {alice: !my-password x}",
        "basic_auth_users: {alice: &my-password x, bob: &my-password y}",
        "basic_auth_users: my-password",
        "tls_server_config: {cert: [a], key: [my-password]}",
        "tls_server_config: {cert: a, key: {my-password: b}}",
        "tls_server_config: {cert_file: both.pem, key: my-password}",
    ],
)
def test_no_error_shows_a_secret(folder: Path, text: str) -> None:
    """No error message contains a value that may be a password."""
    with pytest.raises(ConfigError) as caught:
        WebSettings(str(written(folder, text)))
    assert "my-password" not in str(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_errors(folder: Path, name: str) -> None:
    """An error is one line with the file, the place and what is allowed."""
    text, message = BAD[name]
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        WebSettings(str(path))
    assert str(caught.value).startswith(f"{path}:")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_errors(folder: Path) -> None:
    """Every mistake of a file is a line, unknown keys first; no line shows a secret."""
    path = written(
        folder,
        "rate_limit: {interval: soon, burst: -1}\n"
        "basic_auth_users: {alice: my-password, NO: my-password}\n"
        "tls_server_config: {cert_fiel: both.pem, key: [my-password], min_version: TLS10}\n"
        "http_server_config:\n"
        "  headers: {x-frame-options: deny}\n"
        "basic_auth_user: {}\n",
    )
    with pytest.raises(ConfigError) as caught:
        WebSettings(str(path))
    assert [line.removeprefix(f"{path}:") for line in caught.value.lines] == [
        "3:21: tls_server_config.cert_fiel: unknown key; did you mean 'cert_file'?",
        f"5:13: {HEADERS}.x-frame-options: unknown key; did you mean 'X-Frame-Options'?",
        f"6:1: basic_auth_user: unknown key; allowed are {SECTIONS}",
        "1:24: rate_limit.interval: must be a duration such as 5s, 500ms or 1m30s, not 'soon'",
        "1:37: rate_limit.burst: must be 0 or more, not -1",
        "2:27: basic_auth_users.alice: must be a bcrypt hash, as `htpasswd -nBC 10 USER` prints it",
        "2:40: basic_auth_users.NO: write it in quotes",
        "2:44: basic_auth_users.NO: must be a bcrypt hash, as `htpasswd -nBC 10 USER` prints it",
        "3:47: tls_server_config.key: must be text",
        "3:75: tls_server_config.min_version: must be 'TLS12' or 'TLS13', not 'TLS10'",
    ]


def test_no_hash_is_shown(folder: Path) -> None:
    """A wrong hash, which may be a password, is in no error and no `repr`."""
    with pytest.raises(ConfigError) as caught:
        WebSettings(str(written(folder, "basic_auth_users: {alice: my-password}")))
    assert "my-password" not in str(caught.value)
    good = WebSettings(str(written(folder, EXAMPLES["users"])))
    assert HASH not in repr(good.config)


def test_inline(folder: Path) -> None:
    """The file itself can contain the certificate, the key and the client CA."""
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
    """An encrypted key is an error; OpenSSL does not ask for its password."""
    locked = folder / "locked.pem"
    command = "ec -aes256 -passout pass:word -in both.pem -out locked.pem"
    subprocess.run(
        [binary("openssl"), *command.split()], cwd=folder, check=True, capture_output=True
    )
    text = f"tls_server_config: {{cert_file: both.pem, key_file: {locked}}}"
    with pytest.raises(ConfigError, match="cannot be used"):
        WebSettings(str(written(folder, text)))


def test_reload(folder: Path) -> None:
    """A new certificate with the same file name is used without a restart."""
    settings = WebSettings(str(written(folder, EXAMPLES["tls"])))
    before = settings.tls
    settings.refresh()
    assert settings.tls is before
    self_signed(folder)
    settings.refresh()
    assert settings.tls is not before


@pytest.mark.parametrize("broken", ["tls_server_config: [", "tls: {}", None])
def test_failed_reload(folder: Path, broken: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """If a change cannot be loaded, the last configuration stays and one line is logged."""
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
    assert [record.getMessage() for record in caplog.records] == ["web configuration reload failed"]
    self_signed(folder)
    written(folder, EXAMPLES["users"])
    settings.refresh()
    assert settings.tls is None
    assert list(settings.config.basic_auth_users) == ["alice"]


def test_same_size_and_time(folder: Path) -> None:
    """A replaced file is noticed even if its time and size are unchanged."""
    path = written(folder, EXAMPLES["users"])
    settings = WebSettings(str(path))
    status = path.stat()
    other = folder / "other.yaml"
    other.write_text(EXAMPLES["users"].replace("alice", "carol"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    settings.refresh()
    assert list(settings.config.basic_auth_users) == ["carol"]
