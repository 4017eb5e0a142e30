"""Assemble the image's file system: the interpreter, its libraries and the exporter.

    python deploy/image.py ENVIRONMENT FOLDER

Copies the following to FOLDER, under their present paths: the virtual environment ENVIRONMENT, its
Python without the modules for development, the shared libraries that the dynamic loader lists for
both, and the trusted certificates. Adds files that name the user. The image contains no shell, no
package manager and no other program.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

UNWANTED = (
    *("site-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests"),
    *("tkinter", "turtledemo", "turtle.py", "venv", "__pycache__", "config-*"),
)
"""Modules of the standard library for development."""

FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ld.so.cache")
"""The trusted certificates, and the dynamic loader's cache."""

USER = 10001
TEXTS = {
    "etc/passwd": f"goe-exporter:x:{USER}:{USER}::/var/lib/goe-exporter:\n",
    "etc/group": f"goe-exporter:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def main(environment: Path, folder: Path) -> None:
    """Copy everything into `folder`."""
    interpreter = (environment / "bin" / "python").resolve()
    standard_library = Path(sysconfig.get_path("stdlib"))
    copy(interpreter, folder)
    tree(standard_library, folder, UNWANTED)
    tree(environment, folder, ("__pycache__", "*.pyc"))
    for program in below(environment / "bin", folder).iterdir():
        if program.name != "goe-exporter":
            program.unlink()
    (below(environment / "bin", folder) / "python").symlink_to(interpreter)
    for library in sorted(set(libraries(interpreter, standard_library, environment))):
        copy(library, folder)
    for name in FILES:
        copy(Path(name), folder)
    # The image is read-only at run time, and compiling at each start would take seconds.
    compileall.compile_dir(
        folder, maxlevels=99, quiet=1, stripdir=folder, prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def below(path: Path, folder: Path) -> Path:
    """Return the copy of a path in the folder."""
    return folder / path.relative_to("/")


def copy(file: Path, folder: Path) -> None:
    """Copy a file, or the target of a link, into the folder."""
    target = below(file, folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, target)


def tree(source: Path, folder: Path, unwanted: tuple[str, ...]) -> None:
    """Copy a tree without the unwanted names; links are copied as links."""
    ignore = shutil.ignore_patterns(*unwanted)
    shutil.copytree(source, below(source, folder), symlinks=True, ignore=ignore)


def libraries(interpreter: Path, *trees: Path) -> Iterator[Path]:
    """Yield the shared libraries of the interpreter and its extensions, and the loader."""
    extensions = [file for each in trees for file in each.rglob("*.so*") if wanted(file, each)]
    for file in (interpreter, *extensions):
        said = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
        assert "not found" not in said, said
        yield from map(Path, re.findall(r"(?m)^\s(?:\S+ => )?(/\S+) \(", said))


def wanted(file: Path, source: Path) -> bool:
    """Return whether a file of a tree is copied."""
    steps = file.relative_to(source).parts[:1]
    return file.is_file() and not any(Path(steps[0]).match(pattern) for pattern in UNWANTED)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
