"""The grammar of values: durations, hosts, addresses, and secrets in files."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goe_exporter.config import values
from goe_exporter.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the token file PATH must hold one line of ASCII text"),
        (b" \n\n", "the token file PATH must hold one line of ASCII text"),
        (b"one\ntwo\n", "the token file PATH must hold one line of ASCII text"),
        ("Schlüssel".encode(), "the token file PATH must hold one line of ASCII text"),
        (b"a\x00b", "the token file PATH must hold one line of ASCII text"),
        (b"\xff\xfe", "cannot read the token file PATH: not UTF-8"),
    ],
    ids=["empty", "blank", "two lines", "not ASCII", "NUL", "not UTF-8"],
)
def test_a_bad_token_file(tmp_path: Path, content: bytes, message: str) -> None:
    """A token that no header can hold is rejected, and never shown."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        values.read_token(str(path))
    assert str(refused.value) == message.replace("PATH", str(path))


FILE_RULE = "must be a regular file of at most 64 KiB"


@pytest.fixture
def special_file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the name of a file that is not a small regular file."""
    path = tmp_path / "secret"
    if request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif request.param == "large":
        path.write_bytes(b"x" * (64 * 1024 + 1))
    elif request.param == "huge":
        with path.open("wb") as file:
            file.truncate(10 * 1024**4)
    else:
        path.symlink_to(request.param)
    return str(path)


@pytest.mark.parametrize(
    "special_file",
    ["fifo", "socket", "large", "huge", "/dev/zero", "/dev/null", "/dev/tty"],
    indirect=True,
)
def test_a_token_file_that_is_not_a_small_regular_file(special_file: str) -> None:
    """A file that could block, never end or fill the memory is rejected at once."""
    with pytest.raises(ConfigError) as refused:
        values.read_token(special_file)
    assert str(refused.value) == f"the token file {special_file} {FILE_RULE}"


def test_a_fifo_that_is_written_to(tmp_path: Path) -> None:
    """A FIFO is rejected even with a writer: it would be empty at the next reload."""
    os.mkfifo(tmp_path / "token")
    descriptor = os.open(tmp_path / "token", os.O_RDWR)
    os.write(descriptor, b"abc\n")
    with pytest.raises(ConfigError, match=FILE_RULE):
        values.read_token(str(tmp_path / "token"))
    os.close(descriptor)


def test_a_file_that_becomes_a_fifo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO that replaces the file before it is opened does not block."""
    path = tmp_path / "token"
    path.write_text("abc")
    kind = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(values.os, "stat", lambda _path: kind)
    with pytest.raises(ConfigError, match="must hold one line of ASCII text"):
        values.read_token(str(path))


def test_the_largest_token_file(tmp_path: Path) -> None:
    """A file of 64 KiB is read."""
    path = tmp_path / "token"
    path.write_text("x" * 64 * 1024)
    assert values.read_token(str(path)) == "x" * 64 * 1024


def test_a_name_of_no_token_file() -> None:
    """The error does not repeat a relative name, which may be the secret itself."""
    with pytest.raises(ConfigError) as refused:
        values.read_token("verySecret")
    assert str(refused.value) == "cannot read the token file: No such file or directory"


def test_a_token_directory(tmp_path: Path) -> None:
    """A directory is rejected with the system's reason."""
    with pytest.raises(ConfigError) as refused:
        values.read_token(str(tmp_path))
    assert str(refused.value) == f"cannot read the token file {tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("500ms", 0.5),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("0s", 0.0),
        ("0.25s", 0.25),
        ("1h30m", 5400.0),
    ],
)
def test_seconds(text: str, seconds: float) -> None:
    """A duration is one or more numbers, each with its unit."""
    assert values.seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *"5|s|5 s|-5s|+5s|1e3s|5S|5s\n|.5s|5.s|nan|nans|infs|٣s|5d|1h 30m||5,5s".split("|"),
        *(None, 5, 5.0, True, [], b"5s"),
    ],
)
def test_an_invalid_duration(text: object) -> None:
    """A number without a unit, another unit or another notation is rejected with examples."""
    with pytest.raises(ValueError, match=r"^must be a duration such as 5s, 500ms or 1m30s, not "):
        values.seconds(text)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1.0), ("1000ms", 1.0), ("5m", 300.0)])
def test_interval(text: str, seconds: float) -> None:
    """The shortest interval is one second."""
    assert values.interval(text) == seconds


@pytest.mark.parametrize("text", ["0s", "999ms", "0.999s", "0.01m"])
def test_too_short_an_interval(text: str) -> None:
    """An interval below one second is rejected, never rounded up."""
    with pytest.raises(ValueError, match=rf"^must be 1s to 24h, not '{text}'$"):
        values.interval(text)


@pytest.mark.parametrize("text", ["9" * 90 + "s", "25h", "99999999h"])
def test_too_long_an_interval(text: str) -> None:
    """An interval above a day is rejected."""
    with pytest.raises(ValueError, match=r"^must be 1s to 24h, not "):
        values.interval(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("192.168.1.36", "192.168.1.36"),
        ("192.168.1.36:8080", "192.168.1.36:8080"),
        ("go-echarger_218042.local", "go-echarger_218042.local"),
        ("[fe80::1]", "[fe80::1]"),
        ("[fe80::1%2]:80", "[fe80::1%2]:80"),
        ("http://192.168.1.36/", "http://192.168.1.36"),
        ("https://218042.api.v3.go-e.io", "https://218042.api.v3.go-e.io"),
        ("charger:65535", "charger:65535"),
    ],
)
def test_host(text: str, host: str) -> None:
    """A host is an address or a name, with optional scheme and port; a final slash is removed."""
    assert values.host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "192.168.1.36/status",
        "http://",
        "http://a/b",
        "ftp://a",
        "user@charger",
        "user:secret@charger",
        "a b",
        "a\nb",
        "fe80::1",
        "charger:",
        "charger:port",
        "charger:65536",
        "charger:99999",
        "charger:123456",
        "a?b",
        "a#b",
        None,
        12,
        ["a"],
    ],
)
def test_an_invalid_host(text: object) -> None:
    """Anything that could lead to another request than the intended one is rejected."""
    with pytest.raises(
        ValueError,
        match=r"^must be a host name or address with an optional port(, not |; a password)",
    ):
        values.host(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":10332", ("", 10332)),
        ("127.0.0.1:10332", ("127.0.0.1", 10332)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:8080", ("::1", 8080)),
        ("[::]:65535", ("::", 65535)),
    ],
)
def test_listen_address(text: str, address: tuple[str, int]) -> None:
    """ADDR:PORT, with an empty address for all interfaces and IPv6 in brackets."""
    assert values.listen_address(text) == address


@pytest.mark.parametrize(
    "text",
    "|:|10332|127.0.0.1|127.0.0.1:|:65536|:-1|:1e3|:٣|::1:8080|[::1]|a b:1|a:b:1|"
    "http://127.0.0.1:1|x:1\n|[:::]:1|[1.2.3.4]:1|..:1".split("|"),
)
def test_an_invalid_listen_address(text: str) -> None:
    """Anything else is rejected with an example, and shown as it was given."""
    with pytest.raises(ValueError, match="must be ADDR:PORT") as refused:
        values.listen_address(text)
    assert str(refused.value) == (
        f"must be ADDR:PORT or :PORT, such as 127.0.0.1:10332, not {text!r}"
    )


@pytest.mark.parametrize(
    ("host", "shown"), [("::1", "[::1]:80"), ("127.0.0.1", "127.0.0.1:80"), ("", ":80")]
)
def test_an_address_that_cannot_be_used(host: str, shown: str) -> None:
    """The error has the address as the option has it, IPv6 in brackets."""
    error = values.not_listening("--listen", host, 80, OSError(errno.EADDRINUSE, ""))
    assert str(error) == f"--listen: cannot listen on {shown}: Address already in use"


@pytest.mark.parametrize(
    ("texts", "sources"),
    [
        (["none"], ["'none'"]),
        (["'none'"], ["'none'"]),
        (["self"], ["'self'"]),
        (["'self' https:", " http://ha.lan:8123\n"], ["'self'", "https:", "http://ha.lan:8123"]),
        (["http:"], ["http:"]),
        (["https://ha", "self", "https://ha"], ["https://ha", "'self'"]),
        (["http://192.168.1.5:8123"], ["http://192.168.1.5:8123"]),
        (["https://*.example.org:*"], ["https://*.example.org:*"]),
        (["https://müller.example:65535"], ["https://xn--mller-kva.example:65535"]),
    ],
)
def test_frame_ancestors(texts: list[str], sources: list[str]) -> None:
    """Origins, schemes, `self` or `none`, in one or several texts; the order is kept."""
    assert values.frame_ancestors(texts) == tuple(sources)


@pytest.mark.parametrize(
    "text",
    [
        *("ha.lan", "ha.lan:8123", "*", "//ha.lan", "https", "https://", "https://*", "ftp://a"),
        *("https://ha.lan/", "https://ha.lan:8123/lovelace", "https://ha.lan?", "https://ha.lan#a"),
        *("https://ha.lan:", "https://ha.lan:65536", "https://ha.lan:port", "https://ha..lan"),
        *("https://[::1]:8123", "https://user@ha.lan", "https://a,https://b", "self,https://a"),
        *("https://a;script-src", "https:;", "https://a\x00", "https://a\x7f", "'unsafe-inline'"),
        *("data:", "blob:", "SELF", "https://" + "a" * 64),
    ],
)
def test_an_invalid_frame_ancestor(text: str) -> None:
    """Anything that browsers would ignore, or that could extend the policy, is rejected."""
    with pytest.raises(ValueError, match=r"^must be self, none, a scheme such as https:, or an "):
        values.frame_ancestors(["self", text])


def test_no_frame_ancestors() -> None:
    """An empty value is rejected, and so is `none` beside an origin."""
    with pytest.raises(ValueError, match=r"not an empty value$"):
        values.frame_ancestors(["", " "])
    with pytest.raises(ValueError, match=r"^none must be the only value$"):
        values.frame_ancestors(["none", "https://a"])


@given(st.text())
def test_any_text(text: str) -> None:
    """The parsers raise nothing but `ValueError`."""
    for parser in (values.seconds, values.interval, values.host, values.listen_address):
        with contextlib.suppress(ValueError):
            parser(text)
    with contextlib.suppress(ValueError):
        policy = " ".join(values.frame_ancestors([text]))
        assert policy.isascii()
        assert policy.isprintable()
        assert ";" not in policy
