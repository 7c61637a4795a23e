"""Reads the file that multi_node_args.CONFIG_FILE names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from madrun.errors import ContextError
from madrun.planning.runnerfile import RunnerFile
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.context import MultiNodeArgs

_KEY = "multi_node_args.CONFIG_FILE"
_MOST = 1 << 20  # bytes


def runner_file(card: Card, args: MultiNodeArgs) -> RunnerFile | None:
    """What the file holds, None where none is named; a relative path counts from the card's folder.

    `ContextError` where the runner reads none, or where it is not there, not to be read, or no map of names to values.
    """
    if args.CONFIG_FILE is None:
        return None
    if args.RUNNER in RUNNERS and not RUNNERS[args.RUNNER].reads_config:
        able = ", ".join(name for name, runner in RUNNERS.items() if runner.reads_config)
        raise ContextError(
            f"{_KEY}: found {args.CONFIG_FILE!r} with RUNNER {args.RUNNER!r}, which reads no such file; allowed with: "
            f"{able}; a file for the script itself belongs to the card's files"
        )
    try:
        path = Path(card.folder) / Path(args.CONFIG_FILE).expanduser()
    except RuntimeError:
        raise ContextError(f"{_KEY}: found {args.CONFIG_FILE!r}, whose user is not known here; give a path") from None
    content = _content(path, args.CONFIG_FILE)
    suffix = ".json" if path.suffix == ".json" or args.RUNNER == "deepspeed" else ".yaml"
    values = _parsed(content, suffix, path)
    if not isinstance(values, dict):
        raise ContextError(f"{_KEY}: {path}: found {type(values).__name__}, allowed: a map of names to values")
    named = {str(key): value for key, value in values.items()}
    return RunnerFile(path=str(path), suffix=suffix, digest=hashlib.sha256(content).hexdigest(), values=named)


def _content(path: Path, said: str) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > _MOST:
            raise ContextError(f"{_KEY}: {path} is larger than 1 MiB, allowed: a configuration file")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ContextError(
            f"{_KEY}: found {said!r}, but there is no {path} on this host; give an absolute path that every node has, "
            "or one relative to the card's folder"
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ContextError(f"{_KEY}: {path} cannot be read: {why}; give a readable file") from None


def _parsed(content: bytes, suffix: str, path: Path) -> Any:
    try:
        text = content.decode("utf-8")
        return json.loads(text) if suffix == ".json" else _yaml(text, path)
    except json.JSONDecodeError as error:
        raise ContextError(f"{_KEY}: {path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ContextError(f"{_KEY}: {path}: found bytes that are not UTF-8 at {error.start}; allowed: UTF-8") from None
    except (ValueError, RecursionError) as error:  # too many digits, a date that is none, nested too deeply
        raise ContextError(f"{_KEY}: {path}: not {suffix[1:].upper()} that can be read: {error}") from None


def _yaml(text: str, path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise ContextError(f"{_KEY}: {path}{place}: not YAML: {getattr(error, 'problem', None) or error}") from None
