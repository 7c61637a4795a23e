"""Rows of perf.csv as a pandas frame of text: filtered, shown, written. Text stays text: 007 stays 007."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from madrun.errors import UsageError
from madrun.results.perfcsv import COLUMNS, Row
from madrun.spec.validation import did_you_mean
from madrun.units import DURATION_FORMS, parse_duration

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("SUCCESS", "FAILURE", "SKIPPED")
SHOWN = (
    "started_at",
    "model",
    "nnodes",
    "gpus_per_node",
    "runtime",
    "status",
    "performance",
    "metric",
    "unit",
)
Filters = dict[str, str | None]
_RUN_ID = re.compile(r"[^-]+-(.+)-[^-]+-[0-9]+")


def frame_of(rows: list[Row], filters: Filters, now: datetime) -> pd.DataFrame:
    """The rows that pass every filter given: model (a row's or its card's exact name), tag, status, since."""
    import pandas as pd

    extra = list(dict.fromkeys(name for row in rows for name in row if name not in COLUMNS))
    frame: Any = pd.DataFrame(rows, columns=[*COLUMNS, *extra], dtype=str).fillna("")
    if model := filters.get("model"):
        cards = [_card(run_id) for run_id in frame["run_id"]]
        known = sorted({*frame["model"], *filter(None, cards)})
        if model not in known:
            raise UsageError(
                f"--model: no row of {model!r}{did_you_mean(model, known)}; known: {', '.join(known) or 'none'}"
            )
        frame = frame[[model in names for names in zip(frame["model"], cards, strict=True)]]
    if tag := filters.get("tag"):
        frame = frame[[tag in tags.split(",") for tags in frame["tags"]]]
    if status := filters.get("status"):
        if status.upper() not in STATUSES:
            raise UsageError(f"--status: found {status!r}, allowed: {', '.join(STATUSES)}")
        frame = frame[frame["status"] == status.upper()]
    if since := filters.get("since"):
        frame = frame[frame["started_at"] >= since_text(since, now)]
    kept: pd.DataFrame = frame
    return kept


def _card(run_id: str) -> str:
    """The card that a run id names: rows of `multiple_results` have a model of their own behind it."""
    match = _RUN_ID.fullmatch(run_id)
    return match[1] if match else ""


def since_text(text: str, now: datetime) -> str:
    """The moment meant by `2h`, `7d` or a date, spelled as `started_at` is; compares as text."""
    try:
        moment = _date(text) or now - timedelta(seconds=parse_duration(text))
        return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        raise UsageError(f"--since: found {text!r}, allowed: a date such as 2026-11-21, or {DURATION_FORMS}") from None


def _date(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def primary_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The row of the primary metric of each run; every row of a run that has none."""
    primary = frame["primary"] == "true"
    kept: pd.DataFrame = frame[primary | ~frame["run_id"].isin(set(frame["run_id"][primary]))]
    return kept


def csv_text(frame: pd.DataFrame) -> str:
    """The rows as CSV with every column."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def table_text(frame: pd.DataFrame, width: int) -> str:
    """The rows as a table that fits `width` columns where it can."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for name in SHOWN:
        right = name in ("nnodes", "gpus_per_node", "performance")
        table.add_column(
            _HEADERS.get(name, name),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=name == "started_at",
        )
    for row in frame[list(SHOWN)].itertuples(index=False):
        table.add_row(*(_shown(name, str(cell)) for name, cell in zip(SHOWN, row, strict=True)))
    target = io.StringIO()
    Console(file=target, width=width, highlight=False, markup=False).print(table)
    return target.getvalue()


_HEADERS = {"gpus_per_node": "procs", "nnodes": "nodes", "started_at": "started (UTC)"}


def _shown(name: str, cell: str) -> str:
    return cell.replace("T", " ").removesuffix("Z") if name == "started_at" else cell
