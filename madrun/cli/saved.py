"""Finds what earlier runs have left: by path, or by the id of a run below --results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from madrun.errors import UsageError
from madrun.results.rundir import PLAN
from madrun.spec.validation import nearest


def find_run(word: str, results: Path, flag: str) -> Path:
    """The run directory that a path or an id means; `UsageError` names ids that are near."""
    for path in (Path(word).expanduser(), results / "runs" / word):
        if path.is_dir():
            return path
    raise UsageError(f"{flag}: {_nothing(word, results)}")


def find_plan(word: str, results: Path) -> Path:
    """The file of a saved plan: the file itself, that of a run directory, or that of a run by its id."""
    file = Path(word).expanduser()
    if file.is_file():
        return file
    for folder in (file, results / "runs" / word):
        if folder.is_dir():
            if (folder / PLAN).is_file():
                return folder / PLAN
            raise UsageError(f"--plan: {folder} holds no {PLAN}; allowed: the directory of a run, or its {PLAN}")
    raise UsageError(f"--plan: {_nothing(word, results)}")


def _nothing(word: str, results: Path) -> str:
    runs = results / "runs"
    ids = sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []
    near = nearest(word, ids)
    hint = f"the nearest: {', '.join(near)}" if near else f"the newest: {', '.join(ids[-3:]) or 'none'}"
    return f"{word!r} is neither a file nor a directory nor the id of a run below {runs}; {hint}"


def read_json(path: Path, flag: str) -> Any:
    """The JSON of a file; `UsageError` where it cannot be read or is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{flag}: {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{flag}: {path} is no JSON: {error}; was it cut or edited?") from None


def read_if_there(path: Path) -> Any:
    """The JSON of a file that an older or unfinished run may lack; an empty map then."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
