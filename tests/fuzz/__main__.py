"""`python -m tests.fuzz TARGET [libFuzzer's options]`: fuzz one target, starting from its corpus.

`python -m tests.fuzz --list` lists the targets. Inputs that reach new code are collected in
`build/fuzz/TARGET`; `--keep TARGET…` adds the smallest of them with the same coverage, and those
that found a bug, to `tests/fuzz/corpus`. A finding ends the run with its traceback; its input is
in `build/fuzz`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["goe_exporter", "tests.fuzz.source", "http.client", "email", "yaml"]
):
    from tests.fuzz import targets

from tests.fuzz import corpus

BUILD = Path("build/fuzz")
MAX_KEPT = 60
LONGEST_KEPT = 400


def main(arguments: list[str]) -> None:
    """Run the target or the action of the arguments."""
    if arguments[:1] == ["--list"]:
        print(*targets.TARGETS, sep="\n")
    elif arguments[:1] == ["--keep"]:
        for name in arguments[1:]:
            keep(name)
    else:
        run(*arguments)


def run(name: str, *options: str) -> None:
    """Fuzz a target; ends the process."""
    os.environ["TZ"] = "Asia/Kolkata"  # so that local time mistaken for UTC is noticed
    time.tzset()
    logging.disable(logging.WARNING)
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    for data in corpus.inputs(name):
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    words = corpus.words(name)
    known = [f"-dict={words}"] if words.exists() else []
    prefix = f"-artifact_prefix={BUILD}/{name}-"
    arguments = [sys.argv[0], *known, prefix, *options, str(folder)]
    atheris.Setup(arguments, targets.TARGETS[name])
    atheris.Fuzz()


def keep(name: str) -> None:
    """Reduce the inputs that a target collected, and keep them with those that found a bug."""
    smallest = BUILD / f"{name}-smallest"
    shutil.rmtree(smallest, ignore_errors=True)
    smallest.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "-merge=1", str(smallest)], check=True
    )
    reaching = sorted((path.read_bytes() for path in smallest.iterdir()), key=len)
    breaking = [path.read_bytes() for path in BUILD.glob(f"{name}-crash-*")]
    found = [*breaking, *reaching[:MAX_KEPT]]
    corpus.keep(name, [data for data in found if len(data) <= LONGEST_KEPT])


if __name__ == "__main__":
    main(sys.argv[1:])
