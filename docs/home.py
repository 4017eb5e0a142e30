"""Set the owner of the repository in every file that has its URL or its image's name.

`python -m docs.home OWNER` rewrites `github.com/OWNER/goe-exporter` and, in lower case,
`ghcr.io/OWNER/goe-exporter` in all files of the checkout, generated ones included. OWNER is a user
or an organization of GitHub. The current owner is that of `Source` in pyproject.toml.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWNER = re.compile(r"(?!.*--)[A-Za-z0-9][A-Za-z0-9-]{0,38}(?<!-)")


def owner(text: str) -> str:
    """Return an owner, or raise `ArgumentTypeError`."""
    if OWNER.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a GitHub user or organization: up to 39 letters, digits and single "
            "hyphens between them"
        )
    return text


def current() -> str:
    """Return the owner in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["urls"]["Source"].split("/")[-2])


def forms(name: str) -> list[bytes]:
    """Return how an owner's URLs are written: on GitHub, in the man page, and the image's name."""
    in_manual = name.replace("-", "\\-")
    written = (
        f"github.com/{name}/goe-exporter",
        f"github.com/{in_manual}/goe\\-exporter",
        f"ghcr.io/{name.lower()}/goe-exporter",
    )
    return [each.encode() for each in written]


def files() -> list[Path]:
    """Return the files of the checkout that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True)  # noqa: S603, a constant
    return [ROOT / name for name in sorted(set(names.split("\0"))) if (ROOT / name).is_file()]


def main() -> None:
    """Rewrite the files, and list those that changed."""
    parser = argparse.ArgumentParser("docs.home", description="Set the owner of the repository.")
    parser.add_argument("owner", type=owner, help="a user or an organization of GitHub")
    pairs = list(zip(forms(current()), forms(parser.parse_args().owner), strict=True))
    for file in files():
        old = new = file.read_bytes()
        for before, after in pairs:
            new = new.replace(before, after)
        if new != old:
            file.write_bytes(new)
            print(f"{file.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
