"""The configuration file and the texts that options share with it: strict, and clear about it."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goe_exporter.charger.connection import connection
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.config import values
from goe_exporter.errors import ConfigError
from goe_exporter.service import config as service_config
from goe_exporter.service.config import Config, check_names

GOOD = """
refresh_interval: 2.5s
environment_proxies: true
chargers:
  - {name: garage, host: 192.168.1.36}
  - name: "Büro, oben"
    host: https://218042.api.v3.go-e.io/
    api: 2
    refresh_interval: 1m
    token_file: TOKEN
  - &old {name: old, host: "[fe80::1]:8080", api: auto}
  - {<<: *old, name: older, api: "1"}
"""
BAD = sorted(Path(__file__).with_name("bad_config").glob("*.yaml"))


def test_a_good_file() -> None:
    """Every key arrives in its type, durations in seconds; what is left out is standard."""
    document = GOOD.replace("TOKEN", str(_secret(b" abc.def-1 \n")))
    loaded = service_config.load(str(_file(document.encode())))
    garage, office, old, older = loaded.chargers
    assert loaded.refresh_interval == 2.5
    assert loaded.environment_proxies is True
    assert garage == ChargerConfig(
        name="garage", host="192.168.1.36", api="auto", refresh_interval=None, token_file=None
    )
    assert garage.connection().url == "http://192.168.1.36"
    assert garage.connection().token is None
    assert (office.name, office.api, office.refresh_interval) == ("Büro, oben", "2", 60.0)
    assert office.connection().url == "https://218042.api.v3.go-e.io"
    assert office.connection().token == "abc.def-1"
    assert (old.host, old.api) == ("[fe80::1]:8080", "auto")
    assert (older.name, older.host, older.api) == ("older", "[fe80::1]:8080", "1")


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"{}\n", b"chargers: []\n"])
def test_a_file_without_settings(text: bytes) -> None:
    """A file that sets nothing is good: 5 s, no proxies, no chargers."""
    loaded = service_config.load(str(_file(text)))
    assert (loaded.refresh_interval, loaded.environment_proxies, loaded.chargers) == (
        5.0,
        False,
        (),
    )


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file(path: Path) -> None:
    """Each bad file gives the message in its first line: the place, the rule, what stands there."""
    expected = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
    with pytest.raises(ConfigError) as refused:
        service_config.load(str(path))
    assert str(refused.value) == expected.replace("FILE", str(path))
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.yaml", "No such file or directory"), ("", "Is a directory")],
    ids=["missing", "directory"],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    """The file and the system's reason are named."""
    with pytest.raises(ConfigError) as refused:
        service_config.load(str(tmp_path / name))
    assert str(refused.value) == f"cannot read {tmp_path / name}: {message}"


@pytest.mark.parametrize("content", [b"chargers: \xff\n", "chargers: []\n".encode("utf-16")])
def test_a_file_in_another_encoding(content: bytes) -> None:
    """A file that is no UTF-8 is refused as such."""
    path = _file(content)
    with pytest.raises(ConfigError) as refused:
        service_config.load(str(path))
    assert str(refused.value) == f"cannot read {path}: not UTF-8"


@pytest.mark.parametrize(
    "content",
    [b"a: " + b"[" * 5000, b"a: \x01\n"],
    ids=["deep", "control character"],
)
def test_a_file_that_breaks_the_parser(content: bytes) -> None:
    """What the YAML library stumbles over is a refusal of one line that names the file."""
    path = _file(content)
    with pytest.raises(ConfigError) as refused:
        service_config.load(str(path))
    assert str(refused.value).startswith(f"{path}: no YAML: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("9" * 5000, "int"),
        ("!!timestamp 2024-99-99", "timestamp"),
        ("!!timestamp soon", "timestamp"),
        ("!!int ''", "int"),
        ("!!bool perhaps", "bool"),
        ("!!float x", "float"),
    ],
)
def test_a_value_that_is_not_what_its_tag_says(text: str, kind: str) -> None:
    """The library breaks over it with errors of many kinds; the refusal names the place."""
    path = _file(f"a: {text}".encode())
    with pytest.raises(ConfigError) as refused:
        service_config.load(str(path))
    assert str(refused.value) == f"{path}:1:4: no {kind}; a text wants quotes"


def test_what_is_not_ambiguous() -> None:
    """Quoted, tagged and plainly spelled values are taken for what they look like."""
    text = """
refresh_interval: "90s"
environment_proxies: True
chargers:
  - {name: "NO", host: 192.168.1.36, api: 2}
  - {name: 'y', host: 192.168.1.37}
  - {name: 10e3, host: 192.168.1.38}
influxdb:
  bucket: "007"
  batch: !!int 0100
  verify_tls: !!bool NO
  tags: {country: !!str NO, since: "2026-01-01"}
"""
    loaded = service_config.load(str(_file(text.encode())))
    assert [charger.name for charger in loaded.chargers] == ["NO", "y", "10e3"]
    assert loaded.environment_proxies is True
    influxdb = loaded.influxdb
    assert influxdb is not None
    assert (influxdb.bucket, influxdb.batch, influxdb.verify_tls) == ("007", 64, False)
    assert influxdb.tags == {"country": "NO", "since": "2026-01-01"}


@pytest.mark.parametrize(
    "number",
    ["07" * 3000, "0b" + "1" * 9000, "0x" + "f" * 9000, "1_" * 3000 + "1", "1:" * 3000 + "1"],
    ids=["octal", "binary", "hexadecimal", "underscores", "sexagesimal"],
)
def test_an_ambiguous_number_of_thousands_of_digits(number: str) -> None:
    """However long such a number is, the refusal is one short line."""
    path = _file(f"influxdb: {{bucket: goe, batch: {number}}}".encode())
    with pytest.raises(ConfigError) as refused:
        service_config.load(str(path))
    assert str(refused.value).startswith(f"{path}: influxdb.batch: a whole number, not '")
    assert len(str(refused.value)) < len(str(path)) + 150


@pytest.mark.parametrize(
    "document",
    [
        {"chargers": [{"name": "x" * 10_000, "host": "192.168.1.36"}]},
        {"chargers": [{"name": "garage", "host": "/" * 10_000}]},
        {"chargers": [{"name": "garage", "host": "192.168.1.36", "api": "x" * 10_000}]},
        {"refresh_interval": "x" * 10_000},
        {"chargers": "x" * 10_000},
        {"x" * 10_000: 1},
    ],
    ids=["name", "host", "api", "interval", "chargers", "key"],
)
def test_a_value_of_ten_kilobytes(document: object) -> None:
    """A message stays readable, however long the value it refuses."""
    with pytest.raises(ConfigError) as refused:
        service_config.parse(document, "config.yaml")
    assert len(str(refused.value)) < 250


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
    ids=["empty", "blank", "two lines", "no ASCII", "NUL", "no UTF-8"],
)
def test_a_bad_token_file(content: bytes, message: str) -> None:
    """A token that could not travel in a header is refused, and never shown."""
    path = _secret(content)
    with pytest.raises(ConfigError) as refused:
        values.read_token(str(path))
    assert str(refused.value) == message.replace("PATH", str(path))


RULE = "must be a regular file of at most 64 KiB"


@pytest.fixture
def stranger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the name of something that is not a file to read a secret from."""
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


strangers = pytest.mark.parametrize(
    "stranger",
    ["fifo", "socket", "large", "huge", "/dev/zero", "/dev/null", "/dev/tty"],
    indirect=True,
)


@strangers
def test_a_token_file_that_is_none(stranger: str) -> None:
    """What would block, never end or fill the memory is refused at once, with what is allowed."""
    with pytest.raises(ConfigError) as refused:
        values.read_token(stranger)
    assert str(refused.value) == f"the token file {stranger} {RULE}"


@strangers
@pytest.mark.parametrize("key", ["token_file", "password_file"])
def test_a_secret_of_the_influxdb_section_that_is_none(stranger: str, key: str) -> None:
    """It holds for each file of a secret."""
    section = {"bucket": "goe", "username": "bob", key: stranger}
    with pytest.raises(ConfigError, match=RULE):
        service_config.parse({"influxdb": section}, "config.yaml")
    with pytest.raises(ConfigError, match=rf"^config.yaml: chargers\[0\].token_file: .*{RULE}"):
        service_config.parse(
            {"chargers": [{"name": "a", "host": "b", "token_file": stranger}]}, "config.yaml"
        )


def test_a_fifo_that_is_written_to(tmp_path: Path) -> None:
    """A FIFO is refused though somebody writes to it: the next reload would find it empty."""
    os.mkfifo(tmp_path / "token")
    descriptor = os.open(tmp_path / "token", os.O_RDWR)
    os.write(descriptor, b"abc\n")
    with pytest.raises(ConfigError, match=RULE):
        values.read_token(str(tmp_path / "token"))
    os.close(descriptor)


def test_a_file_that_becomes_a_fifo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that takes a file's place while it is opened keeps the program waiting."""
    path = tmp_path / "token"
    path.write_text("abc")
    kind = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(values.os, "stat", lambda _path: kind)
    with pytest.raises(ConfigError, match="must hold one line of ASCII text"):
        values.read_token(str(path))


def test_the_largest_token_file() -> None:
    """64 KiB are read."""
    assert values.read_token(str(_secret(b"x" * 64 * 1024))) == "x" * 64 * 1024


def test_a_token_directory(tmp_path: Path) -> None:
    """A token file that is a directory is named with the system's reason."""
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
    """A duration is a number with its unit, or several in a row."""
    assert values.seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *"5|s|5 s|-5s|+5s|1e3s|5S|5s\n|.5s|5.s|nan|nans|infs|٣s|5d|1h 30m||5,5s".split("|"),
        *(None, 5, 5.0, True, [], b"5s"),
    ],
)
def test_what_is_no_duration(text: object) -> None:
    """Nothing but a plain number with its unit is a duration."""
    with pytest.raises(ValueError, match=r"^a duration such as 5s, 500ms or 1m30s, not "):
        values.seconds(text)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1.0), ("1000ms", 1.0), ("5m", 300.0)])
def test_interval(text: str, seconds: float) -> None:
    """One second is the least (DESIGN §3)."""
    assert values.interval(text) == seconds


@pytest.mark.parametrize("text", ["0s", "999ms", "0.999s", "0.01m"])
def test_too_short_an_interval(text: str) -> None:
    """Faster than once a second is refused, never rounded up."""
    with pytest.raises(ValueError, match=rf"^1s or longer, not '{text}'$"):
        values.interval(text)


@pytest.mark.parametrize("text", ["9" * 90 + "s", "25h", "99999999h"])
def test_too_long_an_interval(text: str) -> None:
    """What no clock can wait for is refused: the schedule must not break over it."""
    with pytest.raises(ValueError, match=r"^24h or shorter, not "):
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
    """A host may be an address or a name, with scheme and port; a slash at its end is dropped."""
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
def test_what_is_no_host(text: object) -> None:
    """What could turn into another request than the one meant is refused."""
    with pytest.raises(
        ValueError,
        match=r"^a host name or address, with an optional port(, not |; a password or token)",
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
    """ADDR:PORT, the address empty for all interfaces, IPv6 in brackets."""
    assert values.listen_address(text) == address


@pytest.mark.parametrize(
    "text",
    "|:|10332|127.0.0.1|127.0.0.1:|:65536|:-1|:1e3|:٣|::1:8080|[::1]|a b:1|a:b:1|"
    "http://127.0.0.1:1|x:1\n".split("|"),
)
def test_what_is_no_listen_address(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ValueError, match=r"^ADDR:PORT or :PORT, as in 127\.0\.0\.1:10332, not "):
        values.listen_address(text)


@pytest.mark.parametrize(
    ("text", "name", "host"),
    [
        ("192.168.1.36", "192.168.1.36", "192.168.1.36"),
        ("garage=192.168.1.36", "garage", "192.168.1.36"),
        ("my garage=charger.local:8080", "my garage", "charger.local:8080"),
        ("cloud=https://218042.api.v3.go-e.io/", "cloud", "https://218042.api.v3.go-e.io"),
    ],
)
def test_charger_argument(text: str, name: str, host: str) -> None:
    """`[NAME=]HOST`: without a name the host is the name."""
    charger = connection(text)
    assert (charger.name, charger.host, charger.api) == (name, host, "auto")


def test_a_long_name() -> None:
    """A name may have 500 characters, of any kind, and no more."""
    name = "ä<'\"&\n" * 84
    assert ChargerConfig(name=name[:500], host="a").name == name[:500]
    with pytest.raises(ConfigError, match="a text of 1 to 500 characters, not"):
        connection(f"{'x' * 501}=a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=a", "charger '=a': name: a text of 1 to 500 characters, not ''"),
        ("a=", "charger 'a=': host: a host name or address, with an optional port, not ''"),
        (
            "a=b=c",
            "charger 'a=b=c': host: a host name or address, with an optional port, not 'b=c'",
        ),
        (
            "a=b/c",
            "charger 'a=b/c': host: a host name or address, with an optional port, not 'b/c'",
        ),
        ("", "charger '': name: a text of 1 to 500 characters, not ''"),
    ],
)
def test_a_bad_charger_argument(text: str, message: str) -> None:
    """The argument is shown, and what of it is wrong."""
    with pytest.raises(ConfigError) as refused:
        connection(text)
    assert str(refused.value) == message


def test_names_are_compared_across_file_and_arguments() -> None:
    """Two chargers of one name are refused wherever they come from."""
    twice = (ChargerConfig(name="a", host="b"), ChargerConfig(name="a", host="c"))
    with pytest.raises(ConfigError) as refused:
        check_names(twice, "chargers")
    assert str(refused.value) == "chargers: two chargers are named 'a'"


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
    | st.sampled_from(["5s", "garage", "192.168.1.36", "auto", 1, 2])
)  # fmt: skip
KEYS = st.text() | st.sampled_from(
    ["chargers", "refresh_interval", "environment_proxies", "name", "host", "api", "token_file"]
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(DOCUMENTS)
@settings(deadline=None)
def test_any_document(document: object) -> None:
    """Whatever a document holds, it is a configuration or a `ConfigError`."""
    with contextlib.suppress(ConfigError):
        assert isinstance(service_config.parse(document, "config.yaml"), Config)


@given(st.binary(max_size=60) | st.text(alphabet="[]{}:,&*!|>-'\"# \n\tax1~<=%@", max_size=40))
@settings(deadline=None)
def test_any_file(content: bytes | str) -> None:
    """Whatever bytes a file holds, it is a configuration or a `ConfigError`."""
    path = _file(content if isinstance(content, bytes) else content.encode())
    with contextlib.suppress(ConfigError):
        assert isinstance(service_config.load(str(path)), Config)


@given(st.text())
@settings(deadline=None)
def test_any_text(text: str) -> None:
    """The parsers of options raise nothing but their refusal."""
    for parser in (values.seconds, values.interval, values.host, values.listen_address):
        with contextlib.suppress(ValueError):
            parser(text)
    with contextlib.suppress(ConfigError):
        connection(text)


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give the module one folder for all its files; hypothesis wants none per test."""
    global FOLDER  # noqa: PLW0603
    FOLDER = tmp_path_factory.mktemp("config")


FOLDER = Path()


def _file(content: bytes) -> Path:
    path = FOLDER / "config.yaml"
    path.write_bytes(content)
    return path


def _secret(content: bytes) -> Path:
    path = FOLDER / "token"
    path.write_bytes(content)
    return path
