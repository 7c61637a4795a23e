"""Where rows go beside the run directory, and whether scripts are heard."""

from types import SimpleNamespace

import pytest

from madrun.cli.madoptions import RunFiles
from madrun.cli.outputs import heard, outputs_of
from madrun.errors import UsageError
from madrun.spec.context import Context


def prepared(folder, **context):
    return SimpleNamespace(repository=folder, planned=[SimpleNamespace(context=Context(**context))])


def asking(tmp_path, **files):
    return SimpleNamespace(files=RunFiles(**files), results=tmp_path / "results")


@pytest.mark.parametrize(
    ("option", "context", "is_heard"),
    [(None, None, True), (None, False, False), (True, False, True), (False, True, False), (None, True, True)],
)
def test_the_option_stands_over_the_context_and_scripts_are_heard_otherwise(tmp_path, option, context, is_heard):
    assert heard(asking(tmp_path, live_output=option), prepared(tmp_path, live_output=context)) == is_heard


def test_only_a_mad_repository_has_a_default_for_the_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert outputs_of(asking(tmp_path), prepared(tmp_path)).csv is None
    (tmp_path / "models.json").write_text("[]")
    assert outputs_of(asking(tmp_path), prepared(tmp_path)).csv == tmp_path / "perf.csv"
    assert outputs_of(asking(tmp_path, output="x.csv"), prepared(tmp_path)).csv == tmp_path / "x.csv"


def test_it_is_said_where_the_rows_have_gone(tmp_path, make_record, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = outputs_of(asking(tmp_path, output="x.csv", mad_files=True), prepared(tmp_path))
    assert made.told == ""
    made.mad_files = False
    made.add(SimpleNamespace(run_id="r", node=lambda rank: tmp_path), make_record(), None)
    assert made.told == f"{made.added} row{'s' * (made.added > 1)} added to x.csv"
    made.mad_files = True
    assert made.told.endswith("x.csv, and MAD's files beside it")
    made.csv = None
    assert made.told == ""


def test_a_default_that_cannot_be_written_is_a_note_and_a_named_one_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.json").write_text("[]")
    (tmp_path / "perf.csv").mkdir()
    made = outputs_of(asking(tmp_path), prepared(tmp_path))
    assert made.csv is None
    assert "no rows here: perf.csv: " in made.notes[0]
    with pytest.raises(UsageError, match="--output"):
        outputs_of(asking(tmp_path, output="perf.csv"), prepared(tmp_path))


@pytest.mark.parametrize(
    ("option", "context", "wanted"), [(None, None, False), (None, True, True), (False, True, False), (True, None, True)]
)
def test_the_table_of_the_environment_is_made_where_it_is_asked_for(tmp_path, option, context, wanted):
    made = outputs_of(asking(tmp_path, sys_env_details=option), prepared(tmp_path))
    planned = SimpleNamespace(context=Context(gen_sys_env_details=context))
    assert made._wants_env(planned) == wanted


def test_a_folder_that_takes_no_files_is_a_warning_for_the_run_stands(tmp_path, make_record, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = outputs_of(asking(tmp_path, output="x.csv"), prepared(tmp_path))
    (tmp_path / "x.csv").mkdir()
    run = SimpleNamespace(run_id="r", node=lambda rank: tmp_path)
    made.add(run, make_record(), None)
    assert "x.csv lacks what r says" in made.warnings[0]
    assert made.failed  # it was asked for by name
