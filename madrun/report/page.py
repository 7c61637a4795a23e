"""Rows as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = (
    "body{font-family:sans-serif}table{border-collapse:collapse;font-size:90%}"
    "th,td{border:1px solid #bbb;padding:2px 6px;text-align:left;white-space:nowrap}th{background:#eee}"
    "tr.FAILURE{background:#fdd}tr.SKIPPED{background:#ffd}"
)


def html_text(rows: Sequence[dict[str, str]], title: str) -> str:
    """The page: a column for each name that any row has, every cell as text; failed and skipped rows have a colour."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "\n".join(
        f'<tr class="{escape(row.get("status", ""))}">'
        + "".join(f"<td>{escape(row.get(name, ''))}</td>" for name in columns)
        + "</tr>"
        for row in rows
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        f"<table>\n<tr>{head}</tr>\n{body}\n</table></body></html>\n"
    )
