"""The command line under test: in this process, or as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from paths import ROOT
from servers import PATIENCE_SECONDS, wait_for


class Outcome(NamedTuple):
    """What a finished command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Goe = Callable[..., Outcome]

PROGRAM = (sys.executable, "-m", "goe_exporter.cli")


class Command:
    """The command line as a process of its own, whose lines are read as they come."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        within: tuple[str, ...] = (),
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        kept = {key: value for key, value in os.environ.items() if "GOE_EXPORTER_" not in key}
        self.process = subprocess.Popen(
            [*within, *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=kept | {"COLUMNS": "80"} | environment,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        streams = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._readers = [threading.Thread(target=_collect, args=each) for each in streams]
        for reader in self._readers:
            reader.start()

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of output in which `pattern` is found."""

        def found() -> re.Match[str] | None:
            matches = (re.search(pattern, line) for line in [*self.out, *self.err])
            return next((match for match in matches if match), None)

        wait_for(lambda: found() is not None or self.process.poll() is not None, pattern)
        match = found()
        assert match is not None, (pattern, self.out, self.err)
        return match

    def end(
        self, number: signal.Signals | None = None, seconds: float = PATIENCE_SECONDS
    ) -> Outcome:
        """Send a signal, if one is given, and return what is left after at most `seconds`."""
        if number is not None:
            self.process.send_signal(number)
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join()
        return Outcome(status, "".join(self.out), "".join(self.err))

    def kill(self) -> None:
        """Make sure that nothing is left of it."""
        self.process.kill()
        self.end()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def _collect(stream: Iterator[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # noqa: PERF402, each one at once


Launch = Callable[..., Command]
