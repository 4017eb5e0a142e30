"""A copy of this checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from paths import ROOT
from servers import binary


def names() -> list[str]:
    """Return the files that git does not ignore, sorted."""
    # In CI the checkout may be another user's.
    git = (binary("git"), "-c", "safe.directory=*", "ls-files", "-z")
    listed = subprocess.check_output(
        [*git, "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    return [name for name in sorted(set(listed.split("\0"))) if (ROOT / name).is_file()]


def copied(folder: Path) -> Path:
    """Copy those files to `folder`, as a repository of its own, and return it."""
    for name in names():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    subprocess.run([binary("git"), "init", "--quiet", str(folder)], check=True)
    return folder
