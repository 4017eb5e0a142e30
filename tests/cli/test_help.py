"""The help and the man page: every default and every variable once, for every command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from commands import Goe

from docs import command_line, man_page

COMMANDS = {context.info_name or "": context for context in command_line.commands()}
LOG = {"--log.format": "logfmt", "--log.level": "info"}
PATHS = {
    "--web.telemetry-path": "/metrics",
    "--web.route-prefix": "path of --web.external-url",
}
DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "capture": {"--api": "auto", "--output": "standard output"},
    "channels": {"--format": "table"},
    "demo": {
        "--web.listen-address": "127.0.0.1:10332",
        "--chargers": "3",
        "--speed": "5",
        "--web.frame-ancestors": "none",
        **LOG,
    },
    "discover": {"--seconds": "3", "--format": "table"},
    "push": {
        "--refresh-interval": "5s",
        "--api": "auto",
        "--web.listen-address": "no web server",
        **PATHS,
        **LOG,
    },
    "read": {"--api": "auto", "--format": "table"},
    "serve": {
        "--refresh-interval": "5s",
        "--api": "auto",
        "--web.listen-address": ":10332",
        **PATHS,
        "--web.max-connections": "512",
        "--web.request-timeout": "10s",
        "--web.frame-ancestors": "none",
        **LOG,
    },
    "sessions backup": {},
    "sessions check": {},
    "sessions list": {"--format": "table"},
    "sessions report": {"--language": "en", "--output": "standard output"},
    "set": {"--api": "auto"},
    "simulate": {
        "--api": "both",
        "--model": "V4",
        "--firmware": "a typical one of the model",
        "--speed": "1.0",
        "--listen": "127.0.0.1:8080",
        "--meter-listen": "127.0.0.1:8081",
    },
    "spool dead": {},
    "spool drain": {},
    "spool status": {},
    "surplus": {"--format": "text"},
}
"""The defaults of each command's options, as docs/command-line.md lists them."""


def entries(text: str) -> list[str]:
    """Return the help of each option, on one line."""
    found: list[list[str]] = []
    for line in text.partition("\nOptions:\n")[2].splitlines():
        if line.startswith("  -"):
            found.append([])
        found[-1] += line.split()
    return [" ".join(words) for words in found]


def options(name: str) -> list[click.Option]:
    """Return the options of a command that its help shows, except `--help`."""
    found = COMMANDS[f"goe-exporter {name}"].command.params
    return [each for each in found if isinstance(each, click.Option) and not each.hidden]


def default(name: str, option: click.Option) -> list[str]:
    """Return the default of a command's option, as typed above, in a list; empty without one."""
    return [text for each, text in DEFAULTS[name].items() if each in option.opts]


def test_every_command_is_listed() -> None:
    """The defaults above are those of all commands."""
    assert {f"goe-exporter {name}" for name in DEFAULTS} == set(COMMANDS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_and_variables_once(goe: Goe, name: str) -> None:
    """At 80 columns, the help has each default and each variable exactly once, in one bracket."""
    text = goe(*name.split(), "--help").out
    assert max(map(len, text.splitlines())) <= 80
    *found, last = entries(text)
    assert last == "-h, --help Show this message and exit."
    assert len(DEFAULTS[name]) == sum(len(default(name, each)) for each in options(name))
    for option, entry in zip(options(name), found, strict=True):
        assert entry.startswith(", ".join(option.opts)), entry
        assert entry.count("[env var: GOE_EXPORTER_") == entry.count("GOE_EXPORTER_") == 1, entry
        assert entry.count("default: ") == len(default(name, option)), entry
        assert re.findall(r"; default: ([^;\]]+)[;\]]", entry) == default(name, option)
    variables = re.findall("GOE_EXPORTER_[A-Z_]+", text)
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize("name", DEFAULTS)
def test_reference_has_defaults_in_their_column(name: str) -> None:
    """In docs/command-line.md, a default is in its column, and not in the description."""
    page = command_line.PAGE.read_text("utf-8")
    section = page.partition(f"\n## goe-exporter {name}\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `--")]
    for option, row in zip(options(name), rows, strict=True):
        assert row[0].startswith(f"| `{option.opts[0]}")
        assert [text for text in [row[1].strip(" `")] if text] == default(name, option)
        assert "default" not in row[3]


# The man page


def man() -> str:
    """Return the man page as text without the marks of roff."""
    text = man_page.PAGE.read_text("utf-8")
    return " ".join(re.sub(r"\\f[BIR]|\\&", "", text).replace(r"\-", "-").split())


def test_man_page_is_current() -> None:
    """The page in the repository is what the commands give."""
    assert command_line.generated()[man_page.PAGE] == man_page.PAGE.read_text("utf-8")


def test_man_page_has_every_command() -> None:
    """Each command has a section with its options, their defaults and variables once."""
    text = man()
    for name in DEFAULTS:
        section = text.partition(f'.SS "goe-exporter {name} ')[2].partition(" .S")[0]
        found = section.split(" .TP ")[1:]
        for option, entry in zip(options(name), found, strict=True):
            assert entry.startswith(", ".join(option.opts))
            assert entry.count("Environment: GOE_EXPORTER_") == 1
            assert re.findall(r" Default: (.+?)\.(?: |$)", entry) == default(name, option)


def test_man_page_can_be_read_by_roff() -> None:
    """No text is taken for a request or an escape, and lines are short."""
    lines = man_page.PAGE.read_text("utf-8").splitlines()
    requests = {".TH", ".nh", ".ad", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".I", ".RI"}
    requests |= {".EX", ".EE", ".UR", ".UE", '.\\"'}
    assert {line.split()[0] for line in lines if line.startswith(".")} <= requests
    assert [line for line in lines if line.startswith("'")] == []
    assert all(line.isascii() and len(line) <= 80 for line in lines)
    for line in lines[1:]:
        assert re.sub(r"\\(?:-|f[BIR]|&|e|\(dq|\[u[0-9A-F]{4}\])", "", line).count("\\") == 0, line
    assert "  " not in "".join(lines)


def test_roff_is_escaped() -> None:
    """What roff would interpret is escaped, on every line."""
    assert man_page._text('a\\b --c `d-e` "f" ü') == r"a\eb \-\-c \fBd\-e\fR \(dqf\(dq \[u00FC]"
    assert man_page._text(".x") == r"\&.x"
    assert man_page._text("x" * 70 + " 'y .z" + "w" * 20) == "x" * 70 + " 'y\n\\&.z" + "w" * 20


def test_man_page_has_the_date_of_the_release(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The date is that of the latest release in the changelog; none before the first."""
    changelog = tmp_path / "CHANGELOG.md"
    monkeypatch.setattr(man_page, "CHANGELOG", changelog)
    changelog.write_text("## Unreleased\n\n## 1.1.0 - 2027-02-03\n\n## 1.0.0 - 2026-12-01\n")
    assert '.TH GOE\\-EXPORTER 1 "2027-02-03" ' in man_page.page("do", ())
    changelog.write_text("## Unreleased\n")
    assert '.TH GOE\\-EXPORTER 1 "" ' in man_page.page("do", ())
