"""A JSON file that a user wrote: what it holds, or in one sentence why it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Unreadable(Exception):
    """The sentence begins with the file, with line and column where it is not JSON; it quotes nothing of the file."""


def read_json(file: Path) -> tuple[str, Any]:
    """The text of the file, without a byte order mark, and what it holds; `FileNotFoundError`, else `Unreadable`."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        what = f"{error.strerror}; make it readable for the user who runs madrun"
        raise Unreadable(f"{file}: cannot be read: {what}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"{file}: found bytes that are not UTF-8 at {error.start}, allowed: UTF-8 text") from None
    try:
        return text, json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{file}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise Unreadable(f"{file}: not JSON that can be read: nested too deeply") from None
    except ValueError:  # a number of more digits than Python reads
        raise Unreadable(f"{file}: not JSON that can be read: a number has too many digits") from None
