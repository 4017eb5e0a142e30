"""Files of chargers: found by patterns, checked by row, and read again when they change."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest
from commands import Goe, Launch
from exporters import LISTEN, Exporter, charging
from tickers import Led, Ticker

from goe_exporter.cli.run_config import run_config
from goe_exporter.errors import ConfigError
from goe_exporter.polling.poller import Poller
from goe_exporter.service import charger_files, reload
from goe_exporter.service.config import ConfigFile, RunConfig, load
from goe_exporter.service.service import Service
from goe_exporter.simulator import Simulator


def row(name: str, host: str = "192.0.2.1") -> str:
    """Return the row of a charger."""
    return f"- {{name: {name}, host: '{host}'}}\n"


def rows(names: Iterable[str]) -> str:
    """Return the content of a file of chargers."""
    return "".join(map(row, names)) or "[]\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration of one charger and the files in `depots`, of which there are two."""
    path = tmp_path / "config.yaml"
    path.write_text(f"chargers:\n{row('garage')}charger_files: [depots/*.yaml]\n")
    (tmp_path / "depots").mkdir()
    (tmp_path / "depots/north.yaml").write_text(rows(["n1", "n2"]))
    (tmp_path / "depots/south.yaml").write_text(rows(["s1"]))
    return path


def names(config: Path) -> list[str]:
    """Return the names of the chargers of a configuration."""
    return [charger.name for charger in load(str(config)).chargers]


# What is read


def test_all_files_are_read(config: Path) -> None:
    """Relative patterns are below the directory of the configuration; a file is read once."""
    assert names(config) == ["garage", "n1", "n2", "s1"]
    depots = config.parent / "depots"
    config.write_text(f"charger_files: [depots/s*, '{depots}/*th.yaml', depots/*.yml]\n")
    assert names(config) == ["n1", "n2", "s1"]
    # An absolute name and a relative one of the same file are two names.
    config.write_text(f"charger_files: ['{depots}/north.yaml', nothing/*.yaml]\n")
    assert names(config) == ["n1", "n2"]


def test_rows_are_those_of_the_configuration(config: Path) -> None:
    """A row has every key of `chargers`."""
    text = "- {name: a, host: b, api: 1, refresh_interval: 1m, serial: '12', labels: {site: x}}\n"
    (config.parent / "depots/north.yaml").write_text(text)
    charger = load(str(config)).chargers[1]
    assert (charger.name, charger.host, charger.api, charger.refresh_interval) == (
        *("a", "b", "1", 60.0),
    )
    assert (charger.serial, charger.labels) == ("12", {"site": "x"})


def test_a_folder_with_special_characters(config: Path) -> None:
    """Only the pattern is one, not the directory of the configuration."""
    folder = config.parent.rename(config.parent.with_name("conf[1]*"))
    assert names(folder / "config.yaml") == ["garage", "n1", "n2", "s1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {name: x}\n", "FILE:1:3: [0].host is required"),
        (f"{row('x')}- {{name: y, host: 'a b'}}\n", "FILE:2:19: [1].host: must be a host name or"),
        (
            f"{row('x')}- nothing\n",
            "FILE:2:3: [1]: must be a mapping such as {name: garage, host: 192.168.1.36}",
        ),
        (
            f"{row('x')}- {{name: y, host: z, token_file: /nowhere}}\n",
            "FILE:2:34: [1].token_file: cannot read the token file /nowhere: No such file",
        ),
        ("chargers: []\n", "FILE: must be a list, not a mapping"),
        ("garage\n", "FILE: must be a list, not a single value"),
        ("", "FILE: must be a list, not empty; write [] for no chargers"),
        ("# none\n", "FILE: must be a list, not empty; write [] for no chargers"),
        (
            "- {nam: x, host: y}\n- {name: y, host: z, api: 3}\n",
            "FILE:1:4: [0].nam: unknown key; did you mean 'name'?; FILE:2:27: [1].api: must be",
        ),
        ("- {name: x, host: 192.\n", "FILE:2:1: "),
        (rows(["x", "x"]), "FILE: [1]: duplicate charger name 'x', as in FILE: [0]"),
        (
            rows(["x", "garage"]),
            "FILE: [1]: duplicate charger name 'garage', as in CONFIG: chargers[0]",
        ),
        (rows(["n2"]), "FILE: [0]: duplicate charger name 'n2', as in NORTH: [1]"),
        ("\udc80", "cannot read FILE: not UTF-8"),
        ("#" * (1024 * 1024 + 1), "FILE must be a regular file of at most 1024 KiB"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_file(config: Path, text: str, message: str) -> None:
    """The error names the file, the row and what is allowed; of a duplicate name, both places."""
    path = config.parent / "depots/south.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    places = {"FILE": path, "CONFIG": config, "NORTH": path.with_name("north.yaml")}
    for name, place in places.items():
        message = message.replace(name, str(place))
    with pytest.raises(ConfigError) as refused:
        load(str(config))
    assert str(refused.value).startswith(message)


def test_a_file_that_cannot_be_read(config: Path) -> None:
    """A FIFO is not opened, and a broken link is an error, not an absent file."""
    path = config.parent / "depots/south.yaml"
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"^cannot read .*south.yaml: No such file"):
        load(str(config))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=r"south.yaml must be a regular file of at most 1024 KiB"):
        load(str(config))


@pytest.mark.parametrize("pattern", ["depots/*.yaml", "dep*/*.yaml", "dep*/../depots/*.yaml"])
def test_a_directory_that_cannot_be_read(
    config: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for an empty one, which would remove its chargers; the error may pass."""
    config.write_text(f"charger_files: ['{pattern}']\n")
    file, scandir = ConfigFile(str(config)), os.scandir
    assert len(file.load().chargers) == 3

    def refusing(path: str) -> object:
        if os.path.basename(path) == "depots":  # noqa: PTH119, glob gives a text
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", refusing)
        assert file.has_changed()
        with pytest.raises(ConfigError, match=r"^cannot read the directory .*depots: Permission"):
            file.load()
        assert not file.has_changed()
    assert file.has_changed()
    assert len(file.load().chargers) == 3


def test_a_named_file_needs_no_list_of_its_directory(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that may be entered but not listed is enough; one that may not is an error."""
    config.write_text("charger_files: [depots/north.yaml]\n")

    def refusing(path: str) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refusing)
    assert names(config) == ["n1", "n2"]
    monkeypatch.setattr("os.lstat", refusing)
    with pytest.raises(ConfigError, match=r"^cannot read the directory .*depots: Permission"):
        load(str(config))


def test_the_files_are_bounded(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit to their number, and to their size together."""
    monkeypatch.setattr(charger_files, "MAX_FILES", 2)
    assert len(names(config)) == 4
    (config.parent / "depots/west.yaml").write_text("[]\n")
    with pytest.raises(ConfigError) as refused:
        load(str(config))
    assert str(refused.value) == "charger_files: must match at most 2 files, not 3"
    monkeypatch.setattr(charger_files, "MAX_FILES", 1000)
    monkeypatch.setattr(charger_files, "MAX_BYTES", 2 * 1024 * 1024)
    for name in ("north", "south", "west"):
        (config.parent / f"depots/{name}.yaml").write_text("[]\n" + "#" * (1024 * 1024 - 3))
    file = ConfigFile(str(config))
    with pytest.raises(ConfigError) as refused:
        file.load()
    assert str(refused.value) == "charger_files: the files must have at most 2 MiB together"
    assert not file.has_changed()
    (config.parent / "depots/west.yaml").write_text("[]\n")
    assert file.has_changed()


# What is a change


def test_contents_and_names_count(config: Path) -> None:
    """Another content, a new, removed or unreadable file is a change; a touched file is none."""
    file, depots = ConfigFile(str(config)), config.parent / "depots"
    north, west = depots / "north.yaml", depots / "west.yaml"
    file.load()
    assert not file.has_changed()
    os.utime(north, (1, 1))
    north.write_bytes(north.read_bytes())
    assert not file.has_changed()

    for change in (
        lambda: north.write_text(rows(["n1", "n3"])),
        lambda: west.write_text("[]\n"),
        lambda: west.rename(depots / "east.yaml"),
        (depots / "east.yaml").unlink,
    ):
        change()
        assert file.has_changed()
        file.load()
        assert not file.has_changed()
    north.write_text("- {name: ")
    for _ in range(2):
        with pytest.raises(ConfigError):
            file.load()
        assert not file.has_changed()
    north.unlink()
    north.symlink_to("nowhere")
    assert file.has_changed()


def test_a_change_during_the_reading_is_a_change(config: Path) -> None:
    """The content that counts is the one before the files are read."""
    file = ConfigFile(str(config))
    file.load()
    read, north = charger_files.rows, config.parent / "depots/north.yaml"

    def slow(patterns: Iterable[str]) -> list[charger_files.Row]:
        found = list(read(patterns))
        north.write_text("[]\n")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charger_files, "rows", slow)
        file.load()
    assert file.has_changed()


def test_a_bad_configuration_is_no_change_of_the_files(config: Path) -> None:
    """While it is wrong, only a change of the files has it read again."""
    file = ConfigFile(str(config))
    file.load()
    good = config.read_text()
    config.write_text("chargers: {}\n")
    with pytest.raises(ConfigError):
        file.load()
    assert not file.has_changed()
    (config.parent / "depots/north.yaml").write_text("[]\n")
    config.write_text(good)
    assert file.has_changed()


# A running service


class Running:
    """A service of a configuration, without its threads."""

    def __init__(self, config: Path) -> None:
        file = ConfigFile(str(config))
        self.service = Service(
            self.loaded(file), lambda: self.loaded(file), changed=file.has_changed
        )

    def loaded(self, file: ConfigFile) -> RunConfig:
        """Return what is to be run."""
        return run_config(file.load(), (), "auto", None, None)

    @property
    def names(self) -> list[str]:
        """The names of the chargers that are polled."""
        return [each.name for each in self.pollers]

    @property
    def pollers(self) -> tuple[Poller, ...]:
        """The pollers of the chargers."""
        return self.service._scheduler.pollers


def test_a_replaced_config_map_is_read(config: Path, records: list[logging.LogRecord]) -> None:
    """As kubelet does it: the files are links through `..data`, which is replaced at once."""
    folder = config.parent / "depots"
    for path in folder.iterdir():
        path.unlink()
    for version, names in (("..1", ["n1", "n2"]), ("..2", ["n2", "n3"])):
        (folder / version).mkdir()
        (folder / version / "depot.yaml").write_text(rows(names))
    (folder / "..data").symlink_to("..1")
    (folder / "depot.yaml").symlink_to("..data/depot.yaml")
    running = Running(config)
    assert running.names == ["garage", "n1", "n2"]
    kept = running.pollers[2]
    running.service.check_files()
    assert texts(records) == []
    (folder / "..new").symlink_to("..2")
    (folder / "..new").rename(folder / "..data")
    for _ in range(3):
        running.service.check_files()
    assert running.names == ["garage", "n2", "n3"]
    assert running.pollers[1] is kept
    assert texts(records) == ["charger files changed", "configuration reloaded"]


def texts(records: list[logging.LogRecord]) -> list[str]:
    """Return the events in a log."""
    return [record.getMessage() for record in records]


def test_a_wrong_file_is_logged_once(config: Path, records: list[logging.LogRecord]) -> None:
    """The running configuration stays until the file is right; each content is logged once."""
    running = Running(config)
    before = running.pollers
    north, south = (config.parent / f"depots/{name}.yaml" for name in ("north", "south"))
    for text in ("- {name: n1, ho", rows(["n1", "s1"])):
        north.write_text(text)
        for _ in range(3):
            running.service.check_files()
    failed = [each for each in records if each.getMessage() == "configuration reload failed"]
    first, second = (each.values["error"] for each in failed)  # type: ignore[attr-defined]
    assert first.startswith(f"{north}:1:16: ")
    assert second == f"{south}: [0]: duplicate charger name 's1', as in {north}: [1]"
    assert running.pollers == before
    north.write_text(rows(["n1"]))
    running.service.check_files()
    assert running.names == ["garage", "n1", "s1"]
    assert running.pollers[0] is before[0]


class EnoughError(Exception):
    """Ends a loop that never returns."""


def test_the_files_are_checked_again_and_again(config: Path) -> None:
    """The watching thread checks them, and reloads after a change only."""
    loaded = Running(config).loaded(ConfigFile(str(config)))
    reloads, changes = [], iter([False, True, False, True])

    def load() -> RunConfig:
        reloads.append(1)
        return loaded

    def changed() -> bool:
        for change in changes:
            return change
        raise EnoughError

    with pytest.raises(EnoughError):
        Service(loaded, load, changed=changed, files_seconds=0.001).watch()
    assert len(reloads) == 2


def test_a_pattern_without_a_file_is_logged(config: Path, records: list[logging.LogRecord]) -> None:
    """A pattern that matches no file is allowed, and a configuration without a charger then too."""
    config.write_text("charger_files: [yards/*.yaml, depots/*.yaml]\n")
    running = Running(config)
    assert running.names == ["n1", "n2", "s1"]
    for path in (config.parent / "depots").iterdir():
        path.unlink()
    running.service.reload()
    assert running.names == []
    found = [each for each in records if each.getMessage() == "charger_files: no file matches"]
    assert [each.values["pattern"] for each in found] == [  # type: ignore[attr-defined]
        f"{config.parent}/yards/*.yaml",
        f"{config.parent}/depots/*.yaml",
    ]


def test_the_check_names_a_pattern_without_a_file(goe: Goe, config: Path) -> None:
    """It is allowed, but may be misspelt: the check says so as the running exporter does."""
    config.write_text("charger_files: [depot/*.yaml, depots/*.yaml]\n")
    outcome = goe("serve", f"--config.file={config}", "--config.check")
    assert outcome == (
        0,
        "the configuration is valid: 3 charger(s)\n",
        f"charger_files: no file matches {config.parent}/depot/*.yaml\n",
    )


def test_a_charger_of_a_file_and_of_the_command_line(goe: Goe, config: Path) -> None:
    """The error tells that the name is given in both places."""
    outcome = goe("serve", "s1=192.0.2.9", f"--config.file={config}", "--config.check")
    assert outcome.err == (
        "goe-exporter: [NAME=]HOST: duplicate charger name 's1', as in the configuration\n"
    )


def test_a_large_reload_skips_no_poll(config: Path) -> None:
    """1,000 chargers come, 500 of 1,000 go, and the others are polled at each of their ticks."""
    config.write_text("charger_files: [depots/*.yaml]\n")
    north, south = (config.parent / f"depots/{name}.yaml" for name in ("north", "south"))

    def pollers(current: Iterable[Poller]) -> tuple[Poller, ...]:
        loaded = run_config(load(str(config)), (), "auto", None, None)
        return reload.pollers(loaded, reload.clients(loaded, {}), current, lambda _poll: None)

    north.write_text(rows(f"a{number}" for number in range(1000)))
    south.write_text("[]\n")
    before = pollers(())
    north.write_text(rows(f"a{number}" for number in range(0, 1000, 2)))
    south.write_text(rows(f"b{number}" for number in range(1000)))
    after = pollers(before)
    assert len(after) == 1500
    assert after[:500] == before[::2]

    # In steps of 1/8 s, so that fewer polls are due at once than there are threads.
    led = Led(*[1.0] * 1000)
    for step in range(11):
        led.to(step / 8)
    staying = led.tickers[::2]
    led.scheduler.replace((*staying, *(Ticker(1.0, clock=led.clock) for _ in range(1000))))  # type: ignore[arg-type]
    led.settle()
    for step in range(11, 25):
        led.to(step / 8)
    led.scheduler.stop(1)
    assert staying[0].begun == [0.0, 1.0, 2.0, 3.0]
    for number, ticker in enumerate(staying[1:], 1):
        first = math.ceil(number / 500 * 8) / 8
        assert ticker.begun == [first, first + 1, first + 2]


# As a process


def test_a_reload_by_signal(launch: Launch, config: Path, simulator: Simulator) -> None:
    """SIGHUP reads the files of a running exporter again; a charger that stays keeps counting."""
    boxes = {name: simulator.add(charging("V4")) for name in ("n1", "n2", "n3")}
    north = config.parent / "depots/north.yaml"
    config.write_text("refresh_interval: 1s\ncharger_files: [depots/north.yaml]\n")
    north.write_text("".join(row(name, boxes[name].address) for name in ("n1", "n2")))
    exporter = Exporter(launch("serve", f"--config.file={config}", *LISTEN))
    exporter.wait('goe_up{charger="n1"}', 1)
    polls = exporter.count('goe_polls_total{charger="n1"}')
    north.write_text("".join(row(name, boxes[name].address) for name in ("n1", "n3")))
    exporter.command.process.send_signal(signal.SIGHUP)
    exporter.command.line("event=.configuration reloaded.")
    exporter.wait('goe_up{charger="n3"}', 1)
    shown = json.loads(exporter.get("api/v1/chargers"))["chargers"]
    assert [each["name"] for each in shown] == ["n1", "n3"]
    assert exporter.count('goe_polls_total{charger="n1"}') >= polls
    assert exporter.command.end(signal.SIGTERM).status == 0


def test_read_and_set_find_the_chargers(goe: Goe, config: Path, simulator: Simulator) -> None:
    """A charger of a file is found by its name, as one of the configuration is."""
    box = simulator.add(charging("V4"))
    (config.parent / "depots/south.yaml").write_text(row("s1", box.address))
    outcome = goe("read", "s1", f"--config.file={config}", "--format=json")
    assert json.loads(outcome.out)["host"] == box.address
    outcome = goe("set", "s1", "max-current", "10", f"--config.file={config}")
    assert outcome.status == 0, outcome
    assert box.charger.amp == 10
    outcome = goe("serve", f"--config.file={config}", "--config.check")
    assert outcome.out == "the configuration is valid: 4 charger(s)\n"
