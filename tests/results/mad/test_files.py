"""perf_entry, perf_super and common_info, as those who read MAD's results expect them."""

import csv
import json

import pytest

from madrun.results.mad import files
from madrun.results.perfcsv import COLUMNS, MAD_COLUMNS

ROW = dict.fromkeys(COLUMNS, "") | {"model": "m", "performance": "7", "metric": "tok", "status": "SUCCESS"}


def loaded(folder, name):
    return json.loads((folder / name).read_text())


def test_entries_describe_the_last_run_and_super_grows(tmp_path):
    files.write(tmp_path, [ROW], {"lr": 1}, tmp_path / "results")
    files.write(tmp_path, [ROW | {"model": "n", "tp": "8", "machine_name": "alpha"}], None, tmp_path / "results")
    assert list(loaded(tmp_path, "perf_entry.json")) == MAD_COLUMNS
    assert loaded(tmp_path, "perf_entry.json")["model"] == "n"
    one, two = loaded(tmp_path, "perf_super.json")
    assert (one["model"], one["configs"], one["multi_results"]) == ("m", {"lr": 1}, None)
    assert (two["model"], two["configs"], two["multi_results"]) == ("n", None, {"tp": "8"})
    assert loaded(tmp_path, "perf_entry_super.json") == [two]
    assert loaded(tmp_path, "common_info.json")["machine_name"] == "alpha"
    assert "performance" not in loaded(tmp_path, "common_info.json")
    with (tmp_path / "perf_super.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    assert [json.loads(row["configs"] or "null") for row in rows] == [{"lr": 1}, None]
    assert json.loads(rows[1]["multi_results"]) == {"tp": "8"}
    with (tmp_path / "perf_entry.csv").open(newline="") as source:
        assert [row["tp"] for row in csv.DictReader(source)] == ["8"]


def test_several_rows_are_a_list(tmp_path):
    files.write(tmp_path, [ROW, ROW | {"model": "n"}], None, tmp_path)
    assert [row["model"] for row in loaded(tmp_path, "perf_entry.json")] == ["m", "n"]


@pytest.mark.parametrize("text", ["{", '{"a": 1}', ""])
def test_a_perf_super_that_cannot_be_read_is_kept_aside(tmp_path, text):
    (tmp_path / "perf_super.json").write_text(text)
    files.write(tmp_path, [ROW], None, tmp_path)
    assert len(loaded(tmp_path, "perf_super.json")) == 1
    assert (tmp_path / "perf_super.json.unreadable").read_text() == text


def test_cleaning_up_leaves_the_tables_that_grow(tmp_path):
    files.write(tmp_path, [ROW], None, tmp_path / "results")
    (tmp_path / "perf.csv").touch()
    files.remove_entries(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert left == ["perf.csv", "perf_super.csv", "perf_super.json"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("c.json", '{"a": [1]}', {"a": [1]}),
        ("c.yaml", "a: 1\nday: 2026-11-21\n", {"a": 1, "day": "2026-11-21"}),
        ("c.csv", "model,bs\nx,1\ny,2\n", [{"model": "x", "bs": "1"}, {"model": "y", "bs": "2"}]),
    ],
)
@pytest.mark.parametrize("form", ["--x 1 --config configs/{}", "--config=configs/{} --y", "--config 'configs/{}'"])
def test_configs_are_what_the_named_file_holds(tmp_path, name, text, value, form):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / name).write_text(text)
    assert files.configs_of(form.format(name), [tmp_path / "no", tmp_path]) == (value, "")


@pytest.mark.parametrize(
    "args", ["", "--configs x.json", "--config", "--config base", "--config 'x.json", "config.json"]
)
def test_without_such_a_file_there_are_none(tmp_path, args):
    assert files.configs_of(args, [tmp_path]) == (None, "")


def test_a_file_that_is_missing_or_broken_is_named(tmp_path):
    value, note = files.configs_of("--config x.yaml", [tmp_path])
    assert (value, "no such file" in note) == (None, True)
    (tmp_path / "x.yaml").write_text("a: [")
    value, note = files.configs_of("--config x.yaml", [tmp_path])
    assert (value, "cannot be read" in note) == (None, True)
