"""What the shell completes, by click's protocol, and by bash with the installed file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Goe
from paths import ROOT

from goe_exporter.cli import main

BASH = ROOT / "share/bash-completion/completions/goe-exporter"


class Shell:
    """Completes a command line whose last word is incomplete."""

    def __init__(self, goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
        self._goe = goe
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("_GOE_EXPORTER_COMPLETE", "bash_complete")

    def complete(self, line: str) -> list[str]:
        """Return the kinds and words, as in `plain,max-current`."""
        self._monkeypatch.setenv("COMP_WORDS", line)
        self._monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        outcome = self._goe()
        assert (outcome.status, outcome.err) == (0, "")
        return outcome.out.split()


@pytest.fixture
def shell(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(goe, monkeypatch)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("goe-exporter s", ["serve", "sessions", "set", "simulate", "spool", "surplus"]),
        ("goe-exporter spool d", ["dead", "drain"]),
        ("goe-exporter sessions ", ["backup", "check", "list", "report"]),
        ("goe-exporter --v", ["--version"]),
        ("goe-exporter set --", ["--api", "--token-file", "--config.file", "--dry-run", "--help"]),
        ("goe-exporter read --format ", ["table", "json", "prometheus", "influx"]),
        ("goe-exporter set 192.0.2.1 max", ["max-current", "max-current-temporary"]),
        ("goe-exporter set 192.0.2.1 p", ["phases"]),
        ("goe-exporter set 192.0.2.1 force-state ", ["neutral", "off", "on"]),
        ("goe-exporter set 192.0.2.1 forceState o", ["off", "on"]),
        ("goe-exporter set 192.0.2.1 phases ", ["auto", "1", "3"]),
        ("goe-exporter set 192.0.2.1 session-energy-limit ", ["off"]),
        ("goe-exporter set 192.0.2.1 max-current ", []),
        ("goe-exporter set 192.0.2.1 power ", []),
        ("goe-exporter set 192.0.2.1 nosuch ", []),
        ("goe-exporter set ", []),
    ],
)
def test_words(shell: Shell, line: str, words: list[str]) -> None:
    """Commands, options, choices, writable channels and their values are completed."""
    assert shell.complete(line) == [f"plain,{word}" for word in words]


@pytest.mark.parametrize(
    "line",
    [
        "goe-exporter read --config.file ",
        "goe-exporter serve --web.config.file /etc/g",
        "goe-exporter capture --output ",
        "goe-exporter spool drain --config.file ",
        "goe-exporter channels --check docs/",
    ],
)
def test_files(shell: Shell, line: str) -> None:
    """For the path of a file, the shell lists its files."""
    assert shell.complete(line) == [f"file,{line.rpartition(' ')[2]}"]


def test_controllers(shell: Shell, tmp_path: Path) -> None:
    """`read` completes the names of Controllers too; on these nothing can be set."""
    path = tmp_path / "goe.yaml"
    path.write_text(
        "chargers: [{name: hut, host: 192.0.2.1}]\ncontrollers: [{name: house, host: 192.0.2.2}]\n"
    )
    assert shell.complete(f"goe-exporter read --config.file {path} h") == [
        "plain,hut",
        "plain,house",
    ]
    assert shell.complete(f"goe-exporter set --config.file {path} h") == ["plain,hut"]


def test_chargers(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a configuration, `read` and `set` complete the names of its chargers."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "chargers:\n"
        "- {name: garage, host: 192.0.2.1}\n"
        "- {name: gartenhaus, host: 192.0.2.2}\n"
        "- {name: carport, host: 192.0.2.3}\n"
    )
    both = ["plain,garage", "plain,gartenhaus"]
    assert shell.complete(f"goe-exporter read --config.file {path} ga") == both
    assert shell.complete(f"goe-exporter read --config.file {path} carport gar") == both
    assert shell.complete(f"goe-exporter set --config.file {path} c") == ["plain,carport"]
    monkeypatch.setenv("GOE_EXPORTER_CONFIG", str(path))
    assert shell.complete("goe-exporter set g") == both
    path.write_text("chargers: [{name: garage}]\n")
    assert shell.complete("goe-exporter set g") == []


def test_commands_are_not_imported(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completing a command imports none of them, so that it is fast."""
    monkeypatch.setattr(main.importlib, "import_module", lambda _name: pytest.fail("an import"))
    assert "plain,serve" in shell.complete("goe-exporter ")


@pytest.mark.system
def test_bash(tmp_path: Path) -> None:
    """The file for bash defines the completion by what the program on the path says."""
    program = tmp_path / "goe-exporter"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m goe_exporter.cli \"$@\"\n")
    program.chmod(0o755)
    script = (
        f"source '{BASH}'; complete -p goe-exporter\n"
        "COMP_WORDS=(goe-exporter set 192.0.2.1 max); COMP_CWORD=3\n"
        "_goe_exporter_completion goe-exporter max 192.0.2.1; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _goe_exporter_completion goe-exporter",
        "max-current",
        "max-current-temporary",
    ]


@pytest.mark.system
def test_bash_without_the_program(tmp_path: Path) -> None:
    """Where the program is not on the path, the file is silent."""
    done = subprocess.run(
        ["/bin/bash", "--norc", str(BASH)],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_comma_for_fish(goe: Goe, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fish, a name or a description with a comma is not cut there."""
    monkeypatch.setenv("_GOE_EXPORTER_COMPLETE", "fish_source")
    outcome = goe()
    assert (outcome.status, outcome.err) == (0, "")
    assert '(string split --max 1 "," $completion)' in outcome.out


def test_each_shell_has_a_file() -> None:
    """The files of the wheel are where bash, zsh, fish and man look, below one prefix."""
    share = ROOT / "share"
    files = {str(path.relative_to(share)) for path in share.rglob("*") if path.is_file()}
    assert files == {
        "bash-completion/completions/goe-exporter",
        "fish/vendor_completions.d/goe-exporter.fish",
        "man/man1/goe-exporter.1",
        "zsh/site-functions/_goe-exporter",
    }
    assert '[tool.hatch.build.targets.wheel.shared-data]\n"share" = "share"' in (
        (ROOT / "pyproject.toml").read_text()
    )
