"""What `madrun doctor` prints: a table for each node, what to do below what is not well, and the last lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from madrun.doctor.report import Examination, counted, overall_line
from madrun.spec.finding import Finding

_COLOURS = {"PASS": "\x1b[32m", "WARN": "\x1b[33m", "FAIL": "\x1b[31m", "UNKNOWN": "\x1b[35m"}
_PLAIN = "\x1b[0m"
_WIDE, _NARROW = 100, 40  # characters of what was found and what to do on a line, as a rule and at least
_STATE = max(map(len, _COLOURS))


def tables(
    examination: Examination, brief: bool = False, coloured: bool = False, columns: int | None = None
) -> list[str]:
    """The lines for a person; `brief`: what is well is counted and not shown. `columns`: of a terminal."""
    lines: list[str] = []
    for node in examination.nodes:
        lines += [*_table(node.name, node.findings, brief, (coloured, columns)), ""]
    if examination.together:
        lines += [*_table("all nodes", examination.together, brief, (coloured, columns)), ""]
    lines += [f"{node.name}: {counted(node.findings)}" for node in examination.nodes]
    lines.append(examination.overall or overall_line(examination))
    return lines


def _table(title: str, findings: Sequence[Finding], brief: bool, terminal: tuple[bool, int | None]) -> list[str]:
    shown = [finding for finding in findings if not brief or finding.state != "PASS"]
    width = max([len(finding.name) for finding in shown] + [len("NAME")])
    lines = [title, f"  {'NAME':<{width}}  {'STATE':<{_STATE}}  FOUND"] if shown else [title]
    for finding in shown:
        lines += _rows(finding, width, *terminal)
    left_out = len(findings) - len(shown)
    return [*lines, f"  {left_out} PASS"] if left_out else lines


def _rows(finding: Finding, width: int, coloured: bool, columns: int | None) -> list[str]:
    wide = _WIDE if columns is None else max(columns - width - _STATE - 6, _NARROW)
    state = f"{finding.state:<{_STATE}}"
    if coloured:
        state = f"{_COLOURS[finding.state]}{state}{_PLAIN}"
    first, *more = [part for line in finding.text.splitlines() or [""] for part in _wrapped(line, wide)]
    below = " " * (width + _STATE + 6)
    rows = [f"  {finding.name:<{width}}  {state}  {first}".rstrip(), *(f"{below}{part}" for part in more)]
    if finding.state == "PASS":
        return rows
    for word, text in (("do", finding.advice), ("source", finding.source)):
        if text:
            start, *rest = _wrapped(text, wide - len(f"{word}: "))
            rows += [f"{below}{word}: {start}", *(f"{below}  {part}" for part in rest)]
    return rows


def _wrapped(text: str, wide: int) -> list[str]:
    """Lines that fit beside the columns; an address or a path is never broken."""
    return textwrap.wrap(text, wide, break_long_words=False, break_on_hyphens=False) or [""]
