"""`madrun explain`: every value of a run that is to be, or of one that was, and where it came from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.cli.saved import find_run, read_if_there, read_json
from madrun.errors import UsageError
from madrun.planning.explain import Explained, chosen, of_the_image, reached
from madrun.results.rundir import ENVIRONMENT, EXPLAINED, PLAN, RECORD
from madrun.spec.codec import from_plain, to_json, to_plain
from madrun.spec.masking import MASK
from madrun.spec.validation import Invalid

_WIDEST, _FEW = 60, 8


def explain_cards(options: RunOptions, keys: list[str], as_json: bool) -> None:
    """Explains the selected cards as they would be run now; nothing is started."""
    from madrun.cli.prepare import prepare

    cards = [(one.plan.job.card, chosen(one.explained, keys)) for one in prepare(make_request(options)).planned]
    if as_json:
        documents = [{"card": card, "values": to_plain(rows)} for card, rows in cards]
        sys.stdout.write(to_json(documents[0] if len(documents) == 1 else documents))
        return
    for card, rows in cards:
        head = f"card {card}\n" if len(cards) > 1 else ""
        sys.stdout.write(head + _table(rows, {}))


def explain_run(options: RunOptions, which: tuple[str, int], keys: list[str], as_json: bool) -> None:
    """Explains one node of a run that was, and says of each variable whether it stood in the container."""
    given = [name for name in options.__dataclass_fields__ if getattr(options, name) and name != "results"]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"explain --run: found {flags} beside it; the run has been: allowed: --results and --node")
    run = find_run(which[0], Path(options.results).absolute(), "--run")
    rows, environment = _read(run, which[1])
    rows = [*rows, *of_the_image(rows, environment)] if environment else rows
    rows = chosen(rows, keys)
    run_id = run.resolve().name
    left_out = _left_out(run, which[1])
    state = {row.key: reached(row, environment, run_id) if environment else "" for row in rows}
    state |= {row.key: "left out" for row in rows if row.key in left_out}
    if as_json:
        values = [{**to_plain(row), "reached": state[row.key]} for row in rows]
        known = {"run_id": run_id, "node": which[1], "environment_known": bool(environment)}
        sys.stdout.write(to_json({**known, "values": values}))
        return
    sys.stdout.write(_table(rows, state))
    if not environment:
        sys.stderr.write(f"{run}/node-{which[1]} holds no {ENVIRONMENT}: its container did not come to start\n")


def _read(run: Path, node: int) -> tuple[list[Explained], dict[str, str]]:
    folder = run / f"node-{node}"
    if not folder.is_dir():
        have = ", ".join(sorted(path.name.removeprefix("node-") for path in run.glob("node-*"))) or "none"
        raise UsageError(f"--node: found {node}, but {run} holds node {have}")
    try:
        rows = from_plain(list[Explained], read_json(folder / EXPLAINED, "--run"))
    except Invalid as invalid:
        raise UsageError(f"--run: {folder / EXPLAINED}: {invalid}; it is of another version of madrun") from None
    return rows, dict(read_if_there(folder / ENVIRONMENT))


def _left_out(run: Path, node: int) -> set[str]:
    """Keys that the engine could not be asked for, or refused: the plan's notes and the record say so."""
    parts = [part for part in read_if_there(run / PLAN).get("nodes", []) if part.get("node_rank") == node]
    outcomes = [part for part in read_if_there(run / RECORD).get("nodes", []) if part.get("node") == node]
    notes = [note for part in parts for note in part.get("notes", [])]
    notes += [note for part in outcomes for note in part.get("deviations", [])]
    return {note.split(" ", 1)[0] for note in notes if " left out: " in note}


def _table(rows: list[Explained], state: Mapping[str, str]) -> str:
    head = ("KEY", "VALUE", "FROM", *(("IN CONTAINER",) if any(state.values()) else ()), "OVERRODE")
    table = [head, *(_cells(row, state, len(head)) for row in rows)]
    widest = _WIDEST if len(rows) > _FEW else sys.maxsize  # few rows are shown whole, many so that they can be read
    widths = [min(widest, max(len(line[column]) for line in table)) for column in range(len(head))]
    lines = ("  ".join(_cell(cell, width) for cell, width in zip(line, widths, strict=True)) for line in table)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _cell(text: str, width: int) -> str:
    return f"{text:<{width}}" if len(text) <= width else text[: width - 3] + "..."


def _cells(row: Explained, state: Mapping[str, str], count: int) -> tuple[str, ...]:
    source = f"{row.layer}: {row.why}" if row.why else row.layer
    overrode = ", ".join(f"{_shown(value)} ({layer})" for layer, value in row.overrode)
    middle = (state[row.key],) if count == 5 else ()
    return (row.key, _shown(row.value), source, *middle, overrode)


def _shown(value: Any) -> str:
    if value is None or value in ([], {}, ()):
        return "-"
    text = value if isinstance(value, str) else str(value)
    return MASK if text == MASK else " ".join(text.split("\n")) or "''"
