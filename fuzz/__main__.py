"""`python -m fuzz TARGET [libFuzzer's options]`: fuzz one target, from its kept inputs on.

`python -m fuzz --list` names the targets. Inputs that reach new code are gathered in
`build/fuzz/TARGET`; `--keep TARGET` puts the smallest set of them that reaches as much into
`fuzz/corpus`. A finding ends the run with its traceback, and its input stands in `build/fuzz`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["goe_exporter", "fuzz.source", "http.client", "email", "yaml"]
):
    import fuzz.targets

from fuzz import corpus

BUILD = Path("build/fuzz")


def main(arguments: list[str]) -> None:
    """Run what the arguments ask for."""
    if arguments[:1] == ["--list"]:
        print(*fuzz.targets.TARGETS, sep="\n")
        return
    name, *options = arguments
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    for data in corpus.inputs(name):
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    words = corpus.words(name)
    if words.exists():
        options.append(f"-dict={words}")
    target = fuzz.targets.TARGETS[name]
    prefix = f"-artifact_prefix={BUILD}/{name}-"
    os.environ["TZ"] = "Asia/Kolkata"  # so that local time taken for UTC shows
    atheris.Setup([sys.argv[0], *options, prefix, str(folder)], target)
    atheris.Fuzz()


main(sys.argv[1:])
