"""The files that MAD's tools leave beside perf.csv, by their names: perf_entry, perf_super, common_info."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from madrun.locks import locked
from madrun.results.perfcsv import COLUMNS, MAD_COLUMNS, Row
from madrun.results.rundir import write_atomically

ENTRIES = ("perf_entry.json", "perf_entry.csv", "perf_entry_super.json", "perf_entry_super.csv", "common_info.json")
_OF_ONE_ROW = {"model", "performance", "metric", "relative_change", "status", "unit", "primary", "valid", "reasons"}
LOCK = ".mad_files.lock"


def write(folder: Path, rows: list[Row], configs: Any, results: Path) -> None:
    """Writes all of them for the rows of the run that has just ended; perf_super alone grows from run to run.

    The lock lies in `results`, so that nothing of ours is left beside them.
    """
    supers = [_super(row, configs) for row in rows]
    entries = [{name: row.get(name, "") for name in MAD_COLUMNS} for row in rows]
    common = {name: rows[0].get(name, "") for name in COLUMNS if name not in _OF_ONE_ROW}
    with locked(results / LOCK):
        _write_json(folder / "perf_entry.json", entries[0] if len(entries) == 1 else entries)
        _write_csv(folder / "perf_entry.csv", rows)
        _write_json(folder / "common_info.json", common)
        _write_both(folder, "perf_entry_super", supers)
        _write_both(folder, "perf_super", [*_before(folder / "perf_super.json"), *supers])


def remove_entries(folder: Path) -> None:
    """Removes what describes the last run alone; perf.csv and perf_super stay."""
    for name in ENTRIES:
        (folder / name).unlink(missing_ok=True)


def _super(row: Row, configs: Any) -> dict[str, Any]:
    """One record of perf_super: the 29 columns and madrun's own, the configuration, further columns apart."""
    own = {name: row.get(name, "") for name in COLUMNS}
    more = {name: value for name, value in row.items() if name not in COLUMNS}
    return {**own, "configs": configs, "multi_results": more or None}


def _before(file: Path) -> list[Any]:
    """The records that the file has; a file that cannot be read is kept under another name, and none are taken."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        found = None
    if not isinstance(found, list):
        file.replace(file.with_name(f"{file.name}.unreadable"))
        return []
    return found


def _write_both(folder: Path, name: str, records: list[Any]) -> None:
    _write_json(folder / f"{name}.json", records)
    flat = [{key: _cell(value) for key, value in record.items()} for record in records if isinstance(record, dict)]
    _write_csv(folder / f"{name}.csv", flat)


def _cell(value: Any) -> str:
    """What is no text stands in its cell as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _write_json(file: Path, value: Any) -> None:
    write_atomically(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n", durable=False)


def _write_csv(file: Path, rows: list[Row]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, text.getvalue(), durable=False)


def configs_of(args: str, places: Iterable[Path]) -> tuple[Any, str]:
    """What the file behind `--config` in the arguments holds, and a note where it cannot be read; None without one.

    `places`: folders that a relative name may count from, the likeliest first.
    """
    name = _config_name(args)
    if not name:
        return None, ""
    file = next((place / name for place in places if (place / name).is_file()), None)
    if file is None:
        return None, f"--config {name}: no such file beside the script or in the repository; configs stay empty"
    try:
        return _parsed(file), ""
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return None, f"--config {name}: cannot be read: {first}; configs stay empty"


def _config_name(args: str) -> str:
    try:
        words = shlex.split(args)
    except ValueError:
        return ""
    for word, following in itertools.pairwise([*words, ""]):
        if word == "--config" and Path(following).suffix.lower() in _SUFFIXES:
            return following
        if word.startswith("--config=") and Path(word).suffix.lower() in _SUFFIXES:
            return word.partition("=")[2]
    return ""


_SUFFIXES = (".csv", ".json", ".yaml", ".yml")


def _parsed(file: Path) -> Any:
    """CSV as a list of rows, JSON and YAML as they are."""
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix.lower() == ".csv":
        return list(csv.DictReader(io.StringIO(text)))
    if file.suffix.lower() == ".json":
        return json.loads(text)
    import yaml

    try:
        return json.loads(json.dumps(yaml.safe_load(text), default=str))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
