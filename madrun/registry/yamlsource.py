"""YAML with the line of every key, so that an error can say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from madrun.errors import CardError

Lines = dict[tuple[str | int, ...], int]
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """The plain data of a YAML file; `CardError` with file, line and column where it is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: cannot be read: {error}") from None
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CardError(f"{where}: not YAML: {what}") from None


def line_of(path: Path, keys: tuple[str | int, ...]) -> int:
    """The line (from 1) of the longest part of `keys` that the file holds. Read again: errors are rare."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    lines: Lines = {(): 1}
    if root is not None:
        _collect(root, (), lines, len(keys))
    while keys not in lines:
        keys = keys[:-1]
    return lines[keys]


def _collect(node: yaml.Node, at: tuple[str | int, ...], lines: Lines, depth: int) -> None:
    """Down to the depth that is asked for: an alias may lead back to where it stands."""
    if depth < 1:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, str(key.value))
            lines[place] = key.start_mark.line + 1
            _collect(value, place, lines, depth - 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            place = (*at, index)
            lines[place] = value.start_mark.line + 1
            _collect(value, place, lines, depth - 1)
