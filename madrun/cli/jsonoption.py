"""The JSON file that an option names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from madrun.errors import UsageError
from madrun.spec.jsonfile import Unreadable, read_json


def read_option(flag: str, file: str) -> tuple[Path, Any]:
    """Where the file lies and what it holds; `UsageError` with the flag where it cannot be read."""
    path = Path(file).expanduser()
    try:
        return path, read_json(path)[1]
    except FileNotFoundError:
        raise UsageError(f"{flag}: {path} does not exist") from None
    except Unreadable as error:
        raise UsageError(f"{flag}: {error}") from None
