"""The grammar of values: durations, sizes, hosts, URLs, addresses and secrets in files.

The command line, the configuration and the web configuration share it. Every parser returns the
value or raises `ValueError` with what is allowed.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from goe_exporter.config.quoting import one_line, os_reason, shown
from goe_exporter.errors import ConfigError, UsageError

MIN_INTERVAL_SECONDS = 1.0
MAX_INTERVAL_SECONDS = 86_400.0
MIN_TIMEOUT_SECONDS = 0.1
MAX_TIMEOUT_SECONDS = 600.0
MAX_PORT = 65_535
MAX_DURATION_CHARACTERS = 100
MAX_SECRET_BYTES = 64 * 1024

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+")
_BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"([0-9]{1,6})(KiB|MiB|GiB)")

_PORT = r"(?::(?P<port>[0-9]{1,5}))?"
_HOST = re.compile(
    r"(?:https?://)?(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)(?:%[A-Za-z0-9_]+)?\]"
    rf"|(?P<name>\w[\w-]*(?:\.[\w-]+)*\.?)){_PORT}/?"
)
_URL = re.compile(
    rf"https?://(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+)){_PORT}(?:/[^\s?#@]*)?"
)
_REQUEST = re.compile(
    rf"https?://(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+)){_PORT}(?:/[!-~]*)?"
)
_PATH = re.compile(r"(?:/[\w~-][\w.~-]*)+", re.ASCII)
_LISTEN = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]*)):(?P<port>[0-9]{1,5})")
_ANCESTOR = re.compile(
    r"https?:(?://(?:\*\.)?(?P<name>[\w-]+(?:\.[\w-]+)*)(?::(?P<port>[0-9]{1,5}|\*))?)?"
)
_ANCESTOR_RULE = (
    "must be self, none, a scheme such as https:, or an origin without a path,"
    " such as https://homeassistant.lan:8123"
)
_LOGIN = re.compile(r"(?:\w+://)?[^:/]*:(?![/0-9]|$)[^:]*$")
"""`USER:PASSWORD` in the place of `HOST:PORT`."""


def seconds(text: object) -> float:
    """Return the seconds of a duration such as `5s`, `500ms`, `1.5m` or `1m30s`."""
    if text == "0":
        return 0.0
    if (
        not isinstance(text, str)
        or len(text) > MAX_DURATION_CHARACTERS
        or not _DURATION.fullmatch(text)
    ):
        raise ValueError(f"must be a duration such as 5s, 500ms or 1m30s, not {shown(text)}")
    parts = re.findall(r"([0-9.]+)([a-zµ]+)", text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def seconds_between(low: float, high: float, text: object, rule: str) -> float:
    """Return the seconds of a duration from `low` to `high` (s); `rule` is what an error allows."""
    value = seconds(text)
    if not low <= value <= high:
        raise ValueError(f"must be {rule}, not {shown(text)}")
    return value


def interval(text: object) -> float:
    """Return a refresh interval in seconds, 1 s to 24 h."""
    return seconds_between(MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS, text, "1s to 24h")


def timeout_seconds(text: object) -> float:
    """Return a time limit in seconds, 100 ms to 10 min."""
    return seconds_between(MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS, text, "100ms to 10m")


def size(text: object) -> int:
    """Return the bytes of a size such as `512MiB`, at least 1 MiB."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) * _BYTES[match[2]] < _BYTES["MiB"]:
        raise ValueError(f"must be a size of 1MiB or more, such as 512MiB, not {shown(text)}")
    return int(match[1]) * _BYTES[match[2]]


def host(text: object) -> str:
    """Return a host for the client: a name or address, optionally with a scheme and a port."""
    return _checked(
        _HOST,
        text,
        "must be a host name or address with an optional port",
        "a password or token does not belong here",
    ).removesuffix("/")


def url(text: object) -> str:
    """Return the URL of a server, without a trailing slash."""
    return _checked(
        _URL,
        text,
        "must be a URL such as http://HOST:PORT or https://HOST",
        "user and password have their own keys",
    ).rstrip("/")


def request_url(text: object) -> str:
    """Return the URL of a GET request, with a query if need be; user and password are rejected."""
    rule = "must be a URL such as http://HOST/PATH"
    if isinstance(text, str) and ("@" in text or "#" in text):
        raise ValueError(f"{rule}, without @ and #; user and password have their own keys")
    return _checked(_REQUEST, text, rule, "user and password have their own keys")


def path(text: object) -> str:
    """Return the path of a URL, such as `/metrics`: segments without escapes, none empty."""
    if not isinstance(text, str) or not _PATH.fullmatch(text):
        raise ValueError(
            "must be a path such as /goe/metrics, of letters, digits, -, ., _ and ~, not"
            f" {shown(text)}"
        )
    return text


def path_prefix(text: object) -> str:
    """Return a path that others begin with, `""` for `/`; a trailing slash is removed."""
    if text == "/":
        return ""
    return path(text.removesuffix("/") if isinstance(text, str) else text)


def external_url(text: object) -> str:
    """Return the URL under which readers reach a server, without a trailing slash."""
    rule = "must be a URL such as https://example.org/goe"
    found = _checked(_URL, text, rule, "user, password and query are not allowed").rstrip("/")
    path_prefix(urlsplit(found).path or "/")
    return found


def file_name(text: object) -> object:
    """Return the name of a file; an empty one, as of an unset variable, would mean no file."""
    if text == "":
        raise ValueError("must be the name of a file, not ''")
    return text


def listen_address(text: object) -> tuple[str, int]:
    """Return (host, port) of `ADDR:PORT`; the host is empty for all interfaces."""
    rule = "must be ADDR:PORT or :PORT, such as 127.0.0.1:10332"
    match = _LISTEN.fullmatch(str(text))
    if match is None or not _is_ipv6(match["ipv6"]) or int(match["port"]) > MAX_PORT:
        raise ValueError(f"{rule}, not {shown(text)}")
    address = _in_ascii(str(text), match["name"] or None, rule).rpartition(":")[0]
    return match["ipv6"] or address, int(match["port"])


def listen_addresses(texts: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return each text's `listen_address`, none twice; port 0 is another one each time."""
    found: list[tuple[str, int]] = []
    for text in texts:
        address = listen_address(text)
        if address[1] and address in found:
            raise ValueError(f"{text} is given twice")
        found.append(address)
    return tuple(found)


def frame_ancestors(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the sources of the directive `frame-ancestors` that space-separated texts name.

    `self` and `none` may lack the quotes that they have in the directive: shells and environment
    files remove them. Browsers match no path and no IPv6 address, so these are rejected.
    """
    names = [name for text in texts for name in text.split()]
    sources = tuple(dict.fromkeys(map(_frame_ancestor, names)))
    if not sources:
        raise ValueError(f"{_ANCESTOR_RULE}, not an empty value")
    if "'none'" in sources and len(sources) > 1:
        raise ValueError("none must be the only value")
    return sources


def _frame_ancestor(text: str) -> str:
    """Return one source, with its name encoded for DNS."""
    if (keyword := text.strip("'")) in {"none", "self"}:
        return f"'{keyword}'"
    match = _ANCESTOR.fullmatch(text)
    if match is None or int((match["port"] or "0").replace("*", "0")) > MAX_PORT:
        raise ValueError(f"{_ANCESTOR_RULE}, not {shown(text)}")
    return _in_ascii(text, match["name"], _ANCESTOR_RULE)


def not_listening(option: str, host: str, port: int, error: OSError) -> UsageError:
    """Return the error for an address on which the server cannot listen."""
    # `socket.create_server` turns a `gaierror` into an OSError, but keeps its negative number.
    number = error.errno or 0
    reason = os.strerror(number) if number > 0 else "the name cannot be resolved"
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return UsageError(f"{option}: cannot listen on {address}: {reason}")


def holds_a_secret(text: str) -> bool:
    """Return whether a URL has a part that may be a secret, and must not be shown."""
    return any(char in text for char in "@?#%") or _LOGIN.match(text) is not None


def text_fault(text: str) -> str:
    """Return the rule that a text breaks, "" if none: files and headers hold UTF-8 without NUL."""
    if text.encode("utf-8", "replace").decode() != text:
        return "must be UTF-8 text"
    return "must be text without NUL" if "\0" in text else ""


def read_token(path: str) -> str:
    """Return the secret in a file; raises `ConfigError` if it cannot be read or is not one line."""
    try:
        name = f"the token file {one_line(path)}"
        token = content(path, name, MAX_SECRET_BYTES).decode().strip()
    except (OSError, ValueError) as error:
        # A relative name of no file may be the secret itself, given instead of its file.
        known = Path(path).is_absolute() or os.path.lexists(path)
        named = f"the token file {one_line(path)}" if known else "the token file"
        raise ConfigError(f"cannot read {named}: {os_reason(error)}") from error
    if not token.isascii() or not token.isprintable() or not token:
        raise ConfigError(f"the token file {one_line(path)} must hold one line of ASCII text")
    return token


def check_regular(path: str) -> None:
    """Raise `OSError` for a FIFO or a device, which could block or act when it is opened."""
    if _is_special(path):
        raise OSError(errno.EINVAL, "not a regular file", path)


def _is_special(path: str) -> bool:
    kind = os.stat(path).st_mode  # noqa: PTH116, as open, without opening
    return not stat.S_ISREG(kind) and not stat.S_ISDIR(kind)


def content(path: str, name: str, max_bytes: int) -> bytes:
    """Return the content of a small regular file.

    Raises `OSError`, and `ConfigError` with `name` for a larger file or one of another kind.
    """
    refusal = ConfigError(f"{name} must be a regular file of at most {max_bytes // 1024} KiB")
    if _is_special(path):
        raise refusal
    # With O_NONBLOCK, a FIFO that has replaced the file since cannot block.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        found = file.read(max_bytes + 1) or b""
    if len(found) > max_bytes:
        raise refusal
    return found


def _checked(pattern: re.Pattern[str], text: object, rule: str, secret: str) -> str:
    """Return a host or URL that matches a pattern, with its name encoded for DNS."""
    match = pattern.fullmatch(text) if isinstance(text, str) else None
    if match is None or not _is_ipv6(match["ipv6"]) or int(match["port"] or 0) > MAX_PORT:
        if isinstance(text, str) and holds_a_secret(text):
            raise ValueError(f"{rule}; {secret}")
        raise ValueError(f"{rule}, not {shown(text)}")
    return _in_ascii(match[0], match["name"], rule)


def _in_ascii(text: str, name: str | None, rule: str) -> str:
    """Return a URL or host with its `name` encoded for DNS."""
    if name is None:
        return text
    try:
        return text.replace(name, name.encode("idna").decode(), 1)
    except UnicodeError:
        raise ValueError(f"{rule}, not {shown(text)}") from None


def _is_ipv6(text: str | None) -> bool:
    """Return whether a bracketed address, if there is one, is an IPv6 address."""
    try:
        return text is None or bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False
