"""A script of the repository that fetches data into the directory that it is started in."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madrun.data.manifest import Expected, sizes
from madrun.data.work import Progress, Unreachable
from madrun.errors import DataError
from madrun.spec.credentials import Credentials
from madrun.spec.data import Fetch

LIMIT_S = 20 * 60.0


def read(settings: Mapping[str, Any], repository: Path, _credentials: Credentials) -> Fetch:
    """The script's path below the repository, and its arguments as shell text."""
    path = settings["path"]
    if not (repository / path).is_file():
        raise Unreachable(f"{repository / path} is no file")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise Unreachable(f"{path}: allowed: a path below the repository")
    return Fetch(provider="custom", place=path, more=str(settings.get("args") or ""))


def fetch(fetch: Fetch, progress: Progress) -> dict[str, Expected]:
    """Runs the script over what an earlier attempt left; where it cannot go on with that, once more from nothing."""
    script = progress.means.script
    if script is None:
        raise Unreachable("no script can be run here")
    again = progress.data.exists() and any(progress.data.iterdir())
    progress.data.mkdir(exist_ok=True)
    code, said = script(fetch, progress.data, progress.alive)
    progress.alive()  # a script whose process stood still has ended, too
    if code and again:
        progress.means.tell(f"{fetch.place} ended with exit code {code} over what an earlier attempt left; starts anew")
        shutil.rmtree(progress.data)
        progress.data.mkdir()
        code, said = script(fetch, progress.data, progress.alive)
    if code:
        raise DataError(f"the script ended with exit code {code}{f'; it said last: {said}' if said else ''}")
    files = sizes(progress.data)
    if not files:
        raise DataError(
            f"the script ended with exit code 0 and left no file{f'; it said last: {said}' if said else ''}"
        )
    return files
