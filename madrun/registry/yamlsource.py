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
        return _plain(text, path)
    except (ValueError, RecursionError) as error:  # a date such as 2026-02-31; nested too deeply
        raise CardError(f"{path}: cannot be read as YAML: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CardError(f"{where}: not YAML: {what}") from None


def _plain(text: str, path: Path) -> Any:
    """What yaml.load gives, but a key that stands twice is an error: YAML forbids it, and PyYAML takes the last."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_repeats(root, path)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _refuse_repeats(root: yaml.Node, path: Path) -> None:
    """Looks at the nodes before data is made of them, which would mix merged (`<<`) keys with a map's own."""
    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if isinstance(node, yaml.ScalarNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
            continue
        todo += [value for _, value in node.value]
        if len({key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}) < len(node.value):
            _name_repeat(node, path)


def _name_repeat(node: yaml.Node, path: Path) -> None:
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        line = key.start_mark.line + 1
        if (key.tag, key.value) in first:
            before = first[key.tag, key.value]
            raise CardError(f"{path}:{line}: {key.value}: found again, first in line {before}; allowed: each key once")
        first[key.tag, key.value] = line


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
