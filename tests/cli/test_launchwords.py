"""What the nodes of a launch are told, out of what was typed for all of them."""

import json
from pathlib import Path

import pytest

from madrun.cli.launchwords import given_files, node_words, told_to_nodes, typed_again
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.request import make_request
from madrun.cli.saved import first_run
from madrun.errors import UsageError
from madrun.spec.launch import LAUNCH


def words(private=None, at_head=(), show=None, repository=None, files=None, more=(), **options):
    groups = (repository or RepositoryOptions(), files or RunFiles(), show or Show())
    return node_words(RunOptions(tags=["one"], **options), groups, more, {} if private is None else private, at_head)


def test_what_names_something_of_this_host_alone_is_not_carried():
    said = words(repo="/r", results="/x", site="s.yaml", additional_context_file="c.json", timeout="2h", arg=["--lr 1"])
    assert said == ["--tags", "one", "--arg", "--lr 1", "--timeout", "2h"]


def test_how_much_is_said_and_how_often_is_for_the_nodes():
    assert words(show=Show(quiet=True, as_json=True), more=("--repeat", "3")) == [
        *("--tags", "one", "--quiet", "--json", "--repeat", "3")
    ]


def test_values_that_nobody_may_see_go_another_way(monkeypatch):
    monkeypatch.setenv("FROM_HERE", "here")
    private = {}
    said = words(private, env=["HF_TOKEN=hush", "FROM_HERE", "PLAIN=a=b"])
    assert said == ["--tags", "one", "--env", "HF_TOKEN", "--env", "FROM_HERE", "--env", "PLAIN=a=b"]
    assert private == {"HF_TOKEN": "hush", "FROM_HERE": "here"}


def test_what_node_0_writes_it_writes_where_the_user_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = RunFiles(output="o.csv", summary_output="~/s.json", mad_files=True)
    said = words(files=files)
    assert said == [
        *("--tags", "one", "--output", f"{tmp_path}/o.csv", "--mad-files"),
        *("--summary-output", str(Path("~/s.json").expanduser())),
    ]
    assert "--output" not in words(files=files, at_head=("output",))


def test_files_that_are_read_go_along_as_text(tmp_path, repository):
    data, context, plan = tmp_path / "my data.json", tmp_path / "c.yaml", tmp_path / "plan.json"
    for file in (data, context, plan):
        file.write_text(f"of {file.name}")
    options = RunOptions(additional_context_file=str(context), results=str(tmp_path))
    given, texts = given_files(
        make_request(RunOptions(results=str(tmp_path)), str(plan), repository=RepositoryOptions(data_config=str(data))),
        repository,
    )
    assert given == {"--data-config": "data-config.json", "--plan": "plan.json"}
    assert texts == {"data-config.json": "of my data.json", "plan.json": "of plan.json"}
    given, texts = given_files(make_request(options, repository=RepositoryOptions(manifest_file=str(plan))), repository)
    assert texts == {"additional-context-file.yaml": "of c.yaml", "manifest-file.json": "of plan.json"}
    assert words(repository=RepositoryOptions(data_config=str(data), pull=True)) == ["--tags", "one", "--pull"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named_with_its_flag(tmp_path, repository, content):
    file = tmp_path / "x.json"
    if content is not None:
        file.write_bytes(content)
    request = make_request(RunOptions(tags=["one"]), repository=RepositoryOptions(tools_config=str(file)))
    with pytest.raises(UsageError, match=f"^--tools-config: {file}"):
        given_files(request, repository)


def test_files_beside_the_run_directory_are_node_0s_alone(monkeypatch):
    files = RunFiles(output="o", summary_output="s", manifest_output="m", mad_files=True)
    for rank, mine in ((None, files), ("0", files), ("1", RunFiles(mad_files=True))):
        monkeypatch.setenv(LAUNCH, "ssh:id")
        monkeypatch.delenv("MADRUN_NODE_RANK", raising=False)
        if rank is not None:
            monkeypatch.setenv("MADRUN_NODE_RANK", rank)
        assert make_request(RunOptions(tags=["one"]), files=files).files == mine
    monkeypatch.delenv(LAUNCH)
    assert make_request(RunOptions(tags=["one"]), files=files).files == files


def test_a_rendered_launch_is_typed_again_as_a_run():
    assert typed_again(("madrun", "render", "--on", "ssh", "--to", "d", "-t", "x")) == (
        ("madrun", "run", "--on", "ssh", "-t", "x")
    )
    assert typed_again(("madrun", "render", "--to=d", "--on", "slurm")) == ("madrun", "run", "--on", "slurm")
    assert typed_again(("madrun", "run", "--arg", "--to")) == ("madrun", "run", "--arg", "--to")


def test_a_variable_that_no_shell_could_set_is_left_out(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("BASH_FUNC_MAD_SECRETS%%", "() { :; }")  # as bash exports a function
    monkeypatch.setenv("MAD_SECRETS_A", "hush")
    options = RunOptions(tags=["one"], results=str(tmp_path))
    groups = (RepositoryOptions(), RunFiles(), Show())
    told = told_to_nodes(options, groups, (), (make_request(options), repository), ())
    assert {name for name in told.private if "MAD_SECRETS" in name} == {"MAD_SECRETS_A"}


def test_a_saved_plan_has_with_it_what_a_node_compares_with_its_run(tmp_path, repository):
    run, brought = tmp_path / "results/runs/the-run", tmp_path / "brought"
    run.mkdir(parents=True)
    (run / "plan.json").write_text("{}")
    node = {"node": 1, "facts": {"kernel": "6.1"}, "image_identity": "sha256:1", "console": "/left/out"}
    record = {"run_id": "the-run", "command": ["left", "out"], "provenance": {"git_commit": "c1"}, "nodes": [node]}
    (run / "record.json").write_text(json.dumps(record))
    _, texts = given_files(make_request(RunOptions(results=str(tmp_path / "results")), "the-run"), repository)
    assert "left" not in texts["record.json"]
    brought.mkdir()
    for name, text in texts.items():
        (brought / name).write_text(text)
    first = first_run(brought / "plan.json", "0.1", 1)
    assert (first.run_id, first.commit.commit) == ("the-run", "c1")
    assert (first.facts, first.image) == ({"kernel": "6.1"}, "sha256:1")


def test_secrets_of_a_saved_plan_go_along(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hush")
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"job": {"secrets": ["HF_TOKEN"], "image": {"build_args": {}}}}))
    options = RunOptions(results=str(tmp_path))
    groups = (RepositoryOptions(), RunFiles(), Show())
    told = told_to_nodes(options, groups, (), (make_request(options, str(plan)), repository), ())
    assert told.private["HF_TOKEN"] == "hush"
    assert "hush" not in repr((told.words, told.files))
